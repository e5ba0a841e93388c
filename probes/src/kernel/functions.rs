//! The kernel functions that ftrace can attach to, from one read of tracefs's list. Holds names only.

/// The list: `name` or `name [module]` a line, each name as often as there are functions of it.
pub struct FunctionList {
    text: String,
    /// Places of the names in the text, sorted by name, without duplicates.
    names: Vec<(u32, u16)>,
}

impl FunctionList {
    pub fn new(text: String) -> FunctionList {
        let mut names: Vec<(u32, u16)> = Vec::with_capacity(text.len() / 24);
        let mut at = 0;
        for line in text.lines() {
            let length = line.find([' ', '\t']).unwrap_or(line.len());
            // Names that the compiler or ftrace made up can't be asked for: `__ftrace_invalid_address___64`.
            if length > 0 && length <= usize::from(u16::MAX) && !line.starts_with("__ftrace_invalid") {
                names.push((at as u32, length as u16));
            }
            at += line.len() + 1;
        }
        let name = |place: &(u32, u16)| &text[place.0 as usize..][..usize::from(place.1)];
        names.sort_unstable_by(|a, b| name(a).cmp(name(b)));
        names.dedup_by(|a, b| name(a) == name(b));
        FunctionList { text, names }
    }

    fn name(&self, place: (u32, u16)) -> &str {
        &self.text[place.0 as usize..][..usize::from(place.1)]
    }

    /// All names, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|place| self.name(*place))
    }

    pub fn contains(&self, name: &str) -> bool {
        self.names.binary_search_by(|place| self.name(*place).cmp(name)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sorted_without_modules() {
        let text = "vfs_read\nfoo [nf_tables]\nvfs_open\nvfs_read\n__ftrace_invalid_address___64\n";
        let list = FunctionList::new(text.to_string());
        assert_eq!(list.iter().collect::<Vec<_>>(), ["foo", "vfs_open", "vfs_read"]);
        assert!(list.contains("foo") && !list.contains("fo") && !list.contains("nf_tables"));
    }
}
