//! The functions that the kernel maps into each process, as a file: those of the tool itself are the same.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use super::memory_file;

/// How /proc names the mapping.
pub(super) const NAME: &str = "[vdso]";

/// A copy that can be read like any other library; None where the kernel maps none.
pub(super) fn copy() -> Option<File> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with(NAME))?;
    let (start, end) = line.split(' ').next()?.split_once('-')?;
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let (start, end) = (number(start)?, number(end)?);
    let mut bytes = vec![0; (end - start) as usize];
    File::open("/proc/self/mem").ok()?.read_exact_at(&mut bytes, start).ok()?;
    memory_file::holding(&bytes)
}

#[cfg(test)]
mod tests {
    use super::super::UserSymbols;

    #[test]
    fn its_functions_have_names() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let Some(line) = maps.lines().find(|line| line.ends_with(super::NAME)) else {
            println!("skipped: there is none here");
            return;
        };
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let addresses: Vec<u64> = (number(start)..number(end)).step_by(16).collect();
        let found = UserSymbols::new().resolve(std::process::id(), &addresses);
        let named = found.iter().flatten().filter_map(|symbol| symbol.name.as_deref());
        assert!(named.clone().any(|name| name.ends_with("clock_gettime")), "{:?}", named.collect::<Vec<_>>());
        assert!(found.iter().flatten().all(|symbol| symbol.module.as_deref() == Some(super::NAME)));
    }
}
