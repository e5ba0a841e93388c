//! Probes at lines of source code: `uprobe:PATH@FILE:LINE`.

use std::collections::BTreeMap;

use rtrace_lang::target::{ResolveError, ResolveErrorKind};

use crate::dwarf::DebugError;
use crate::elf::Binary;
use crate::machine::Machine;
use crate::nearest::near_misses;
use crate::provider::not_found;

/// A line as a specification names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line<'a> {
    pub file: &'a str,
    pub line: u64,
    pub column: Option<u64>,
}

/// The target, and the line in one of its sources, of `PATH@FILE`, `LINE` and, where it is given, `COLUMN`. None if the
/// parts are no such form.
pub fn parse<'a>(target: &'a str, line: &str, column: Option<&str>) -> Option<(&'a str, Line<'a>)> {
    let (target, file) = target.rsplit_once('@')?;
    let column = match column {
        None => None,
        Some(text) => Some(text.parse().ok()?),
    };
    let line = line.parse().ok()?;
    (!file.is_empty()).then_some((target, Line { file, line, column }))
}

/// The addresses in the file at which the line begins: in each function the first one, as a debugger stops there.
pub fn addresses(machine: &Machine, binary: &Binary, wanted: Line<'_>) -> Result<Vec<u64>, ResolveError> {
    let Line { file, line, column } = wanted;
    let program = binary.path().display();
    let no_code = |message: String, label: &str, help: Vec<String>, part: usize| ResolveError {
        kind: ResolveErrorKind::NotFound,
        message,
        label: label.to_string(),
        help,
        part: Some(part),
    };
    let info = machine.debug_info(binary.path()).map_err(|error| match error {
        DebugError::None => no_code(
            format!("{program} has no debug information, which says where lines are"),
            "no debug information",
            vec!["Build it with -g, or install the package with its debug information.".to_string()],
            1,
        ),
        DebugError::Unreadable { reason } => {
            no_code(format!("where lines are can't be read: {reason}"), "not readable", Vec::new(), 1)
        }
    })?;
    let found = info.code_of_line(file, line, column);
    if found.files.is_empty() {
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_string();
        let names: Vec<String> = found.others.iter().map(|path| name(path)).collect();
        let near = near_misses(&name(file), names.iter().map(String::as_str), 3);
        return Err(not_found(format!("{program} has no code of a file `{file}`"), &near, Some(1)));
    }
    if found.addresses.is_empty() {
        if column.is_some() && found.lines.contains(&line) {
            let columns: Vec<String> = found.columns.iter().map(u64::to_string).collect();
            let help = format!("Its code begins in the columns {}; the column may be left out.", columns.join(", "));
            let message = format!("nothing that has code begins in that column of line {line} of {file}");
            return Err(no_code(message, "no such column", vec![help], 3));
        }
        let before = found.lines.range(..line).next_back();
        let after = found.lines.range(line + 1..).next();
        let near: Vec<String> = before.into_iter().chain(after).map(u64::to_string).collect();
        let help = vec![format!("The nearest lines with code: {}.", near.join(" and "))];
        return Err(no_code(format!("line {line} of {file} has no code"), "no code", help, 2));
    }
    let mut first: BTreeMap<u64, u64> = BTreeMap::new();
    let functions = binary.functions_at(&found.addresses.iter().copied().collect());
    for address in found.addresses {
        let function = functions.get(&address).map_or(address, |function| function.address);
        first.entry(function).or_insert(address);
    }
    Ok(first.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let line = |line, column| Line { file: "a.c", line, column };
        assert_eq!(parse("/bin/app@a.c", "42", None), Some(("/bin/app", line(42, None))));
        assert_eq!(parse("@a.c", "42", Some("7")), Some(("", line(42, Some(7)))));
        assert_eq!(parse("/bin/app", "42", None), None);
        assert_eq!(parse("/bin/app@a.c", "main", None), None);
        assert_eq!(parse("/bin/app@a.c", "4", Some("x")), None);
    }
}
