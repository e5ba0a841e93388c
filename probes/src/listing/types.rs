//! Types for `-l`: `struct path`, with `-v` as C defines it.

use std::collections::{BTreeSet, HashSet};

use rtrace_lang::probe::wildcard_match;

use crate::kernel::btf::{Btf, Kind, Record};
use crate::machine::Machine;
use crate::provider::is_pattern;

/// What a pattern of types names, such as `struct sock`, `union *` or `enum pid_type`, of the kernel and its modules: names,
/// or definitions behind `vmlinux:` or the module's name. None where the pattern is not one of types.
pub fn list_types(machine: &Machine, pattern: &str, verbose: bool) -> Option<Vec<String>> {
    let (word, name) = pattern.trim().split_once(char::is_whitespace)?;
    let name = name.trim();
    let kinds: &[Kind] = match word {
        "struct" => &[Kind::Struct],
        "union" => &[Kind::Union],
        "enum" => &[Kind::Enum, Kind::Enum64],
        _ => return None,
    };
    let kernel = machine.btf().map(|btf| ("vmlinux".to_string(), btf.clone()));
    let modules =
        machine.module_names().into_iter().filter_map(|module| Some((module.clone(), machine.module_btf(&module)?)));
    let mut listed = BTreeSet::new();
    for (owner, btf) in kernel.into_iter().chain(modules) {
        listed.extend(matching(&btf, kinds, name).into_iter().filter_map(|record| match verbose {
            // An empty line is between them.
            true => Some(format!("{owner}: {}\n", btf.definition(&record)?)),
            false => Some(format!("{word} {}", btf.name(&record))),
        }));
    }
    Some(listed.into_iter().collect())
}

/// Types of those kinds by their names; of several with the same name the first, which is the one that scripts get.
fn matching<'a>(btf: &'a Btf, kinds: &[Kind], pattern: &str) -> Vec<Record<'a>> {
    if !is_pattern(pattern) {
        return kinds.iter().filter_map(|kind| btf.find(*kind, pattern)).take(1).collect();
    }
    let mut known = HashSet::new();
    let is_meant = |name: &str| !name.is_empty() && wildcard_match(pattern, name);
    btf.records()
        .filter(|record| kinds.contains(&record.kind))
        .filter(|record| is_meant(btf.name(record)) && known.insert(record.name_offset))
        .collect()
}
