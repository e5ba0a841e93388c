//! The kernel functions that ftrace can attach to, from one read of tracefs's list: names, modules, and addresses where
//! the kernel lists them.

/// The list: `name` or `name [module]` a line, since 6.5 with the address before it; each name as often as there are
/// functions of it.
pub struct FunctionList {
    text: String,
    /// Places of the names in the text, sorted by name.
    names: Vec<(u32, u16)>,
}

/// A function of the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListedFunction<'a> {
    pub name: &'a str,
    /// None for one of the kernel itself.
    pub module: Option<&'a str>,
    pub address: Option<u64>,
}

impl FunctionList {
    pub fn new(text: String, has_addresses: bool) -> FunctionList {
        // With the first bytes of each name, which tell most of them apart.
        let mut names: Vec<(u64, (u32, u16))> = Vec::with_capacity(text.len() / 24);
        let mut at = 0;
        for line in text.lines() {
            let start = if has_addresses { line.find(' ').map_or(line.len(), |space| space + 1) } else { 0 };
            let name = &line[start..];
            let length = name.find([' ', '\t']).unwrap_or(name.len());
            // Names that the compiler or ftrace made up can't be asked for: `__ftrace_invalid_address___64`.
            if length > 0 && length <= usize::from(u16::MAX) && !name.starts_with("__ftrace_invalid") {
                names.push((first_bytes(&name[..length]), ((at + start) as u32, length as u16)));
            }
            at += line.len() + 1;
        }
        names.sort_by(|(a, at), (b, other)| a.cmp(b).then_with(|| name_at(&text, *at).cmp(name_at(&text, *other))));
        FunctionList { names: names.into_iter().map(|(_, place)| place).collect(), text }
    }

    fn function(&self, place: (u32, u16)) -> ListedFunction<'_> {
        let name = name_at(&self.text, place);
        let (before, behind) = self.text.split_at(place.0 as usize);
        let rest = behind[name.len()..].lines().next().unwrap_or("");
        let module = rest.trim().strip_prefix('[').and_then(|module| module.strip_suffix(']'));
        let line = before.rfind('\n').map_or(before, |end| &before[end + 1..]);
        let address = u64::from_str_radix(line.trim(), 16).ok().filter(|address| *address != 0);
        ListedFunction { name, module, address }
    }

    /// All functions, sorted by name; of one name all that there are.
    pub fn functions(&self) -> impl Iterator<Item = ListedFunction<'_>> {
        self.names.iter().map(|place| self.function(*place))
    }

    /// All names, sorted; a name that several functions have is there as often.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|place| name_at(&self.text, *place))
    }

    pub fn contains(&self, name: &str) -> bool {
        self.named(name).next().is_some()
    }

    /// All functions of that name.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = ListedFunction<'a>> {
        let first = self.names.partition_point(|place| name_at(&self.text, *place) < name);
        let functions = self.names[first..].iter().take_while(move |place| name_at(&self.text, **place) == name);
        functions.map(|place| self.function(*place))
    }
}

/// As a number that is less where the name is.
fn first_bytes(name: &str) -> u64 {
    let mut first = [0; 8];
    let length = name.len().min(8);
    first[..length].copy_from_slice(&name.as_bytes()[..length]);
    u64::from_be_bytes(first)
}

fn name_at(text: &str, place: (u32, u16)) -> &str {
    &text[place.0 as usize..][..usize::from(place.1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sorted() {
        let text =
            "vfs_read\nfoo [nf_tables]\nvfs_read_iter\nvfs_open\nvfs_read\n__ftrace_invalid_address___64\nvfs_readv\n";
        let list = FunctionList::new(text.to_string(), false);
        let names = ["foo", "vfs_open", "vfs_read", "vfs_read", "vfs_read_iter", "vfs_readv"];
        assert_eq!(list.iter().collect::<Vec<_>>(), names);
        assert!(list.contains("foo") && !list.contains("fo") && !list.contains("nf_tables"));
        let foo = ListedFunction { name: "foo", module: Some("nf_tables"), address: None };
        assert_eq!(list.named("foo").collect::<Vec<_>>(), [foo]);
    }

    #[test]
    fn addresses() {
        let text = "ffffffff81000010 vfs_read\nffffffffc0000000 foo [xfs]\nffffffff81000000 foo\n";
        let list = FunctionList::new(text.to_string(), true);
        let found: Vec<_> = list.functions().map(|found| (found.name, found.module, found.address)).collect();
        let expected = [
            ("foo", Some("xfs"), Some(0xffff_ffff_c000_0000)),
            ("foo", None, Some(0xffff_ffff_8100_0000)),
            ("vfs_read", None, Some(0xffff_ffff_8100_0010)),
        ];
        assert_eq!(found, expected);
    }
}
