//! Names and addresses of the kernel's symbols, from /proc/kallsyms, which takes the kernel 65 ms to write: it is read
//! as a stream, once for a whole list, and never kept. `runtime` resolves the few addresses of a run faster.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};

use rtrace_lang::probe::wildcard_match;

use super::KernelError;

const KALLSYMS: &str = "/proc/kallsyms";

/// Bytes of one read: the kernel fills a buffer of this size at once.
const READ_BYTES: usize = 64 * 1024;

/// A place in the kernel by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KernelSymbol {
    pub name: String,
    /// Bytes from the symbol's start.
    pub offset: u64,
    /// The module that has it.
    pub module: Option<String>,
}

/// One line of the file: `ffffffff81000000 T _text` and `\t[module]` after it.
struct Line<'a> {
    address: u64,
    kind: u8,
    name: &'a str,
    module: Option<&'a str>,
}

fn parse_line(line: &str) -> Option<Line<'_>> {
    let (address, rest) = line.split_once(' ')?;
    let address = u64::from_str_radix(address, 16).ok()?;
    let (kind, rest) = rest.split_once(' ')?;
    let (name, module) = match rest.split_once('\t') {
        Some((name, module)) => (name, module.trim().strip_prefix('[').and_then(|module| module.strip_suffix(']'))),
        None => (rest.trim_end(), None),
    };
    Some(Line { address, kind: *kind.as_bytes().first()?, name, module })
}

/// Calls `visit` for each line until it gives false.
fn each_line(mut visit: impl FnMut(&Line<'_>) -> bool) -> Result<(), KernelError> {
    let failed = |source| KernelError::File { path: KALLSYMS.into(), source };
    let mut reader = BufReader::with_capacity(READ_BYTES, File::open(KALLSYMS).map_err(failed)?);
    let mut text = String::new();
    while reader.read_line(&mut text).map_err(failed)? > 0 {
        if let Some(line) = parse_line(&text)
            && !visit(&line)
        {
            break;
        }
        text.clear();
    }
    Ok(())
}

/// The address of the first symbol of that name; None where there is none, or where the kernel hides addresses from
/// the caller (`kernel.kptr_restrict`).
pub fn address_of(name: &str) -> Result<Option<u64>, KernelError> {
    let mut found = None;
    each_line(|line| {
        if line.name == name && line.address != 0 {
            found = Some(line.address);
        }
        found.is_none()
    })?;
    Ok(found)
}

/// True if the kernel or a module has a function of that name; works where addresses are hidden too.
pub fn has_function(name: &str) -> Result<bool, KernelError> {
    let mut found = false;
    each_line(|line| {
        found = line.name == name && matches!(line.kind, b't' | b'T' | b'w' | b'W');
        !found
    })?;
    Ok(found)
}

/// Where the functions of each of these names are, in the kernel's order; nothing where the kernel hides that.
pub fn places_of<'a>(names: impl Iterator<Item = &'a str>) -> Result<HashMap<&'a str, Vec<u64>>, KernelError> {
    let mut places: HashMap<&str, Vec<u64>> = names.map(|name| (name, Vec::new())).collect();
    each_line(|line| {
        if line.address != 0
            && matches!(line.kind, b't' | b'T' | b'w' | b'W')
            && let Some(found) = places.get_mut(line.name)
        {
            found.push(line.address);
        }
        true
    })?;
    Ok(places)
}

/// Those of the names that no function of the kernel or a module has.
pub fn missing_functions<'a>(names: impl Iterator<Item = &'a str>) -> Result<HashSet<&'a str>, KernelError> {
    let mut missing: HashSet<&str> = names.collect();
    each_line(|line| {
        if matches!(line.kind, b't' | b'T' | b'w' | b'W') {
            missing.remove(line.name);
        }
        !missing.is_empty()
    })?;
    Ok(missing)
}

/// The functions of the kernel and its modules that a pattern matches, sorted, each once; not what the compiler has made of others.
pub fn functions_matching(pattern: &str, module: Option<&str>) -> Result<Vec<String>, KernelError> {
    let mut found = Vec::new();
    each_line(|line| {
        let is_function = matches!(line.kind, b't' | b'T' | b'w' | b'W');
        let is_written = !line.name.contains('.') && !line.name.starts_with("__pfx_");
        let is_of_module = module.is_none_or(|module| wildcard_match(module, line.module.unwrap_or("vmlinux")));
        if is_function && is_written && is_of_module && wildcard_match(pattern, line.name) {
            found.push(line.name.to_string());
        }
        true
    })?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The symbol that each address lies in, in the same order.
pub fn symbols_at(addresses: &[u64]) -> Result<Vec<Option<KernelSymbol>>, KernelError> {
    let mut sorted: Vec<u64> = addresses.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    // The file is sorted only in parts. A symbol belongs to the first address that is not below it; of those that
    // belong to one, the highest counts, and it serves the following addresses that have none of their own.
    let mut nearest: Vec<Option<(u64, KernelSymbol)>> = vec![None; sorted.len()];
    each_line(|line| {
        let at = sorted.partition_point(|address| *address < line.address);
        let is_code = matches!(line.kind, b't' | b'T' | b'w' | b'W');
        if at < sorted.len() && line.address != 0 && is_code {
            let known = &mut nearest[at];
            if known.as_ref().is_none_or(|(address, _)| *address < line.address) {
                let module = line.module.map(str::to_string);
                *known = Some((line.address, KernelSymbol { name: line.name.to_string(), offset: 0, module }));
            }
        }
        true
    })?;
    for index in 1..nearest.len() {
        if nearest[index].is_none() {
            nearest[index] = nearest[index - 1].clone();
        }
    }
    Ok(addresses
        .iter()
        .map(|address| {
            let at = sorted.binary_search(address).ok()?;
            let (start, symbol) = nearest[at].as_ref()?;
            Some(KernelSymbol { offset: address - start, ..symbol.clone() })
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_and_without_modules() {
        let line = parse_line("ffffffffc0001000 t helper\t[nf_tables]\n").unwrap();
        assert_eq!((line.address, line.name, line.module), (0xffff_ffff_c000_1000, "helper", Some("nf_tables")));
        let line = parse_line("ffffffff81000000 T _text\n").unwrap();
        assert_eq!((line.kind, line.name, line.module), (b'T', "_text", None));
        assert!(parse_line("nonsense").is_none());
    }

    #[test]
    fn addresses_and_names_agree() {
        let Ok(Some(address)) = address_of("vfs_read") else {
            println!("skipped: no kernel addresses to be seen");
            return;
        };
        let symbols = symbols_at(&[address + 4, address, 1]).unwrap();
        assert_eq!(symbols[0].as_ref().map(|symbol| (&symbol.name[..], symbol.offset)), Some(("vfs_read", 4)));
        assert_eq!(symbols[1].as_ref().map(|symbol| (&symbol.name[..], symbol.offset)), Some(("vfs_read", 0)));
        assert_eq!(symbols[2], None);
        assert!(has_function("vfs_read").unwrap());
    }
}
