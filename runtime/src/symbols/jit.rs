//! Functions that just-in-time compilers make, from the map files that they write. A file is read again only when it has changed.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use super::Symbol;

/// One function: start, length, name.
type Function = (u64, u64, String);

/// The map file of a process.
pub(super) struct JitMap {
    /// Where it may be, the process's own view first.
    paths: [PathBuf; 2],
    /// Which of them was read, its length and when it was written.
    read: Option<(usize, u64, SystemTime)>,
    /// Sorted.
    functions: Vec<Function>,
}

impl JitMap {
    /// /tmp/perf-PID.map (Linux, tools/perf/Documentation/jit-interface.txt). The number in the name is the one that the
    /// process knows itself by.
    pub(super) fn new(pid: u32) -> JitMap {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let own_pid = status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:")?.split_whitespace().last()?.parse().ok())
            .unwrap_or(pid);
        let inside = format!("/proc/{pid}/root/tmp/perf-{own_pid}.map");
        JitMap { paths: [inside.into(), format!("/tmp/perf-{pid}.map").into()], read: None, functions: Vec::new() }
    }

    /// The function that has the code at an address.
    pub(super) fn find(&mut self, address: u64) -> Option<Symbol> {
        self.read_changes();
        find(&self.functions, address)
    }

    /// Reads the file where it is not as it was. What a process that has ended had stays.
    fn read_changes(&mut self) {
        let state = |(number, path): (usize, &PathBuf)| {
            let metadata = fs::metadata(path).ok()?;
            Some((number, metadata.len(), metadata.modified().ok()?))
        };
        let Some(now) = self.paths.iter().enumerate().find_map(state) else { return };
        if self.read == Some(now) {
            return;
        }
        let Ok(text) = fs::read(&self.paths[now.0]) else { return };
        self.functions = String::from_utf8_lossy(&text).lines().filter_map(parse).collect();
        self.functions.sort_unstable();
        self.read = Some(now);
    }
}

/// `START SIZE name`, the numbers in hexadecimal.
fn parse(line: &str) -> Option<Function> {
    let (start, rest) = line.split_once(' ')?;
    let (length, name) = rest.split_once(' ')?;
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    Some((number(start)?, number(length)?, name.to_string()))
}

fn find(functions: &[Function], address: u64) -> Option<Symbol> {
    let at = functions.partition_point(|function| function.0 <= address).checked_sub(1)?;
    let (start, length, name) = &functions[at];
    let offset = address - start;
    (offset < *length).then(|| Symbol::new(Some(name), offset, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_by_address() {
        let functions: Vec<Function> =
            ["1000 20 one", "1020 10 two words"].iter().filter_map(|line| parse(line)).collect();
        assert_eq!(find(&functions, 0x1024).map(|symbol| symbol.shown).as_deref(), Some("two words+4"));
        assert_eq!(find(&functions, 0x1030), None);
        assert_eq!(find(&functions, 0xfff), None);
        assert!(parse("nonsense").is_none());
    }

    #[test]
    fn a_file_that_grows_is_read_again() {
        let path = std::env::temp_dir().join(format!("rtrace-jit-{}", std::process::id()));
        let mut map = JitMap { paths: ["/nowhere/at/all".into(), path.clone()], read: None, functions: Vec::new() };
        map.read_changes();
        assert_eq!(map.functions.len(), 0);
        fs::write(&path, "1000 20 one\n").unwrap();
        map.read_changes();
        assert_eq!(map.functions.len(), 1);
        fs::write(&path, "1000 20 one\n2000 20 two\n").unwrap();
        map.read_changes();
        assert_eq!(map.functions.len(), 2);
        fs::remove_file(&path).unwrap();
        map.read_changes();
        assert_eq!(map.functions.len(), 2);
    }
}
