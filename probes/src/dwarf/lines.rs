//! Lines of source code, and the instructions that they begin with.

use std::collections::BTreeSet;

use super::DebugInfo;
use super::view::{Unit, View};

/// What the line tables know of a line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lines {
    /// Where its code begins, ascending: each place that a debugger would stop at.
    pub addresses: Vec<u64>,
    /// The files of that name, as the compiler saw them.
    pub files: BTreeSet<String>,
    /// Lines of these files that have code.
    pub lines: BTreeSet<u64>,
    /// Columns in which a part of that line begins.
    pub columns: BTreeSet<u64>,
    /// All files, where none has that name.
    pub others: BTreeSet<String>,
}

impl DebugInfo {
    /// The code of a line, in files whose paths end with `file`; with `column` only what begins there.
    pub fn code_of_line(&self, file: &str, line: u64, column: Option<u64>) -> Lines {
        let view = View::new(self);
        let mut found = Lines::default();
        for start in self.unit_starts(&view) {
            let Some(unit) = view.unit(*start) else { continue };
            // Damaged tables have what was read of them.
            let _ = of_unit(&view, &unit, file, line, column, &mut found);
        }
        found.addresses.sort_unstable();
        found.addresses.dedup();
        if !found.files.is_empty() {
            found.others.clear();
        }
        found
    }
}

fn of_unit(
    view: &View<'_>,
    unit: &Unit<'_>,
    wanted: &str,
    line: u64,
    column: Option<u64>,
    found: &mut Lines,
) -> gimli::Result<()> {
    let Some(program) = unit.line_program.clone() else { return Ok(()) };
    let mut meant = BTreeSet::new();
    let header = program.header();
    let first = if header.version() >= 5 { 0 } else { 1 };
    for index in first..first + header.file_names().len() as u64 {
        let Some(file) = header.file(index) else { continue };
        let mut path = view.dwarf.attr_string(unit, file.path_name())?.to_string_lossy().into_owned();
        if let Some(directory) = file.directory(header)
            && !path.starts_with('/')
        {
            path = format!("{}/{path}", view.dwarf.attr_string(unit, directory)?.to_string_lossy());
        }
        if is_path_end(wanted, &path) {
            meant.insert(index);
            found.files.insert(path);
        } else {
            found.others.insert(path);
        }
    }
    if meant.is_empty() {
        return Ok(());
    }
    let mut rows = program.rows();
    let mut before = None;
    while let Some((_, row)) = rows.next_row()? {
        let here = row.line().map(|line| line.get()).filter(|_| meant.contains(&row.file_index()));
        if row.end_sequence() {
            before = None;
            continue;
        }
        // A line that goes on is no second place.
        let is_new = before != Some((row.file_index(), here));
        before = Some((row.file_index(), here));
        // A column may be that of a part of a statement.
        let Some(here) = here.filter(|_| row.is_stmt() || column.is_some()) else { continue };
        found.lines.insert(here);
        if here == line
            && let gimli::ColumnType::Column(column) = row.column()
        {
            found.columns.insert(column.get());
        }
        let at_column = match (column, row.column()) {
            (None, _) => is_new,
            (Some(wanted), gimli::ColumnType::Column(column)) => column.get() == wanted,
            (Some(_), gimli::ColumnType::LeftEdge) => false,
        };
        // Code that the linker has thrown away is at 0.
        if here == line && at_column && row.address() != 0 {
            found.addresses.push(row.address());
        }
    }
    Ok(())
}

/// True if a path ends with these names: `net/socket.c` is the end of `/src/net/socket.c`, and `ocket.c` is not.
fn is_path_end(wanted: &str, path: &str) -> bool {
    let wanted = wanted.trim_start_matches("./");
    path == wanted || path.strip_suffix(wanted).is_some_and(|rest| rest.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_paths() {
        assert!(is_path_end("socket.c", "/src/net/socket.c") && is_path_end("./net/socket.c", "/src/net/socket.c"));
        assert!(!is_path_end("ocket.c", "/src/net/socket.c") && is_path_end("socket.c", "socket.c"));
    }
}
