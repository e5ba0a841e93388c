//! Which file the target of a user-space probe means: a path, a program of PATH, a library by its short name, or what
//! a process has mapped. Reads the dynamic linker's cache,
//! and of programs that are yet to run the names of their libraries.

use std::env;
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rtrace_lang::probe::wildcard_match;

use super::{Binary, ElfError, file_of};
use crate::nearest::near_misses;

/// Most near names that a message has.
const MOST_NEAR: usize = 3;

/// Where libraries are looked for after the linker's cache.
const LIBRARY_DIRECTORIES: [&str; 8] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
    "/usr/local/lib64",
    "/usr/local/lib",
];

const LINKER_CACHE: &str = "/etc/ld.so.cache";

/// A file that a target means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Located {
    /// As probe names show it.
    pub name: PathBuf,
    /// Where it can be opened from here: below the process's own root if that is another one.
    pub path: PathBuf,
}

impl Located {
    fn here(path: PathBuf) -> Located {
        Located { name: path.clone(), path }
    }
}

/// The files that `target` means, at least one. With `pid` paths are those that the process sees, an empty target is
/// its executable and a pattern is matched with all code that it has mapped.
pub fn locate(target: &str, pid: Option<u32>) -> Result<Vec<Located>, ElfError> {
    let not_found = || ElfError::NotFound { name: target.to_string() };
    if let Some(pid) = pid {
        if target.is_empty() {
            let path = PathBuf::from(format!("/proc/{pid}/exe"));
            let name = fs::read_link(&path).map_err(|source| ElfError::File { path: path.clone(), source })?;
            return Ok(vec![Located { name, path }]);
        }
        if target.contains('*') {
            let mapped = mapped_files(pid)?;
            let found: Vec<Located> =
                mapped.into_iter().filter(|file| wildcard_match(target, &file.name.to_string_lossy())).collect();
            return if found.is_empty() { Err(not_found()) } else { Ok(found) };
        }
    }
    if target.contains('/') {
        if target.contains('*') {
            let found = matching_files(target);
            return if found.is_empty() { Err(not_found()) } else { Ok(found) };
        }
        return Ok(vec![of_process(pid, PathBuf::from(target))]);
    }
    if target.is_empty() || target.contains('*') {
        return Err(not_found());
    }
    // A library that the process has mapped is surely the one that is meant.
    if let Some(pid) = pid {
        let mapped = mapped_files(pid)?;
        let is_meant =
            |file: &Located| file.name.file_name().is_some_and(|name| is_library(target, &name.to_string_lossy()));
        if let Some(found) = mapped.into_iter().find(is_meant) {
            return Ok(vec![found]);
        }
    }
    let found = in_path(target).or_else(|| in_linker_cache(target)).or_else(|| in_library_directories(target));
    let found = found.or_else(|| Path::new(target).exists().then(|| PathBuf::from(target)));
    found.map(|path| vec![of_process(pid, path)]).ok_or_else(not_found)
}

/// The same of a process that does not run its program yet: what it will have mapped is the program and the libraries
/// that it is linked with.
pub fn locate_expected(target: &str, program: &Path) -> Result<Vec<Located>, ElfError> {
    let program = fs::canonicalize(program).unwrap_or_else(|_| program.to_path_buf());
    if target.is_empty() {
        return Ok(vec![Located::here(program)]);
    }
    if !target.contains('*') {
        return locate(target, None);
    }
    let mut found = vec![program];
    let mut seen = 0;
    while let Some(path) = found.get(seen) {
        seen += 1;
        let names = Binary::open(path).map(|binary| binary.libraries()).unwrap_or_default();
        for name in names {
            let library = in_linker_cache(&name).or_else(|| in_library_directories(&name));
            if let Some(library) = library.filter(|library| !found.contains(library)) {
                found.push(library);
            }
        }
    }
    found.retain(|path| wildcard_match(target, &path.to_string_lossy()));
    if found.is_empty() {
        return Err(ElfError::NotFound { name: target.to_string() });
    }
    Ok(found.into_iter().map(Located::here).collect())
}

/// The path as the process sees it.
fn of_process(pid: Option<u32>, path: PathBuf) -> Located {
    let Some(pid) = pid.filter(|pid| has_other_root(*pid)) else { return Located::here(path) };
    let inner = path.strip_prefix("/").map(Path::to_path_buf).unwrap_or_else(|_| path.clone());
    Located { path: PathBuf::from(format!("/proc/{pid}/root")).join(inner), name: path }
}

/// True for a process in a mount namespace, or below a root, that is not ours.
fn has_other_root(pid: u32) -> bool {
    let differs = |what: &str| {
        let theirs = fs::read_link(format!("/proc/{pid}/{what}"));
        let ours = fs::read_link(format!("/proc/self/{what}"));
        matches!((theirs, ours), (Ok(theirs), Ok(ours)) if theirs != ours)
    };
    differs("ns/mnt") || differs("root")
}

/// Whether a process has mapped code of a file. None where that can't be found out.
pub fn has_mapped(pid: u32, path: &Path) -> Option<bool> {
    let identity = |path: &Path| fs::metadata(file_of(path)).ok().map(|data| (data.dev(), data.ino()));
    let wanted = identity(path)?;
    let mapped = mapped_files(pid).ok().filter(|mapped| !mapped.is_empty())?;
    Some(mapped.iter().any(|file| identity(&file.path) == Some(wanted)))
}

/// The files whose code a process has mapped, each once, in the order of their addresses.
fn mapped_files(pid: u32) -> Result<Vec<Located>, ElfError> {
    let path = PathBuf::from(format!("/proc/{pid}/maps"));
    let text = fs::read_to_string(&path).map_err(|source| ElfError::File { path, source })?;
    let mut found: Vec<Located> = Vec::new();
    for line in text.lines() {
        // `7f00-7f01 r-xp 00001000 08:01 1234    /usr/lib/x.so`
        let mut words = line.split_whitespace();
        let (Some(range), Some(permissions)) = (words.next(), words.next()) else { continue };
        let inode = words.nth(2).and_then(|word| word.parse().ok());
        let Some(start) = line.find('/').filter(|_| permissions.contains('x')) else { continue };
        let name = &line[start..];
        let (name, is_gone) = name.strip_suffix(" (deleted)").map_or((name, false), |name| (name, true));
        let name = PathBuf::from(name);
        if !found.iter().any(|file| file.name == name) {
            let path = path_of_mapped(pid, &name, inode.filter(|_| !is_gone), range);
            found.push(Located { name, path });
        }
    }
    Ok(found)
}

/// Where a mapped file can be opened. Its name is as the process sees it if it has a mount namespace of its own, and as
/// we do if it has only another root; a file that is deleted has neither. `inode` is that of a file that is still there.
fn path_of_mapped(pid: u32, name: &Path, inode: Option<u64>, range: &str) -> PathBuf {
    let theirs = of_process(Some(pid), name.to_path_buf()).path;
    let places = [theirs, name.to_path_buf()];
    let is_same = |path: &&PathBuf| inode.is_some() && fs::metadata(path).ok().map(|data| data.ino()) == inode;
    let same = places.iter().find(is_same);
    // Some file systems number their files in one way here and in another there.
    let found = same.or_else(|| places.iter().find(|path| inode.is_some() && path.is_file()));
    found.cloned().unwrap_or_else(|| {
        // There the addresses have no leading zeros.
        let plain = |text: &str| format!("{:x}", u64::from_str_radix(text, 16).unwrap_or_default());
        let (start, end) = range.split_once('-').unwrap_or_default();
        PathBuf::from(format!("/proc/{pid}/map_files/{}-{}", plain(start), plain(end)))
    })
}

/// Files that match, in order; a `*` stays within a part of the path.
fn matching_files(target: &str) -> Vec<Located> {
    let mut found = vec![PathBuf::from(if target.starts_with('/') { "/" } else { "." })];
    let mut parts = target.split('/').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        let is_kind = |path: &Path| if is_last { path.is_file() } else { path.is_dir() };
        let below = |directory: &PathBuf| -> Vec<PathBuf> {
            if !part.contains('*') {
                return vec![directory.join(part)];
            }
            let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
            let matches = |entry: &fs::DirEntry| wildcard_match(part, &entry.file_name().to_string_lossy());
            entries.filter_map(Result::ok).filter(matches).map(|entry| entry.path()).collect()
        };
        found = found.iter().flat_map(below).filter(|path| is_kind(path)).collect();
    }
    found.sort_unstable();
    found.into_iter().map(Located::here).collect()
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// `libc`, `libc.so` and `libc.so.6` all are the file `libc.so.6`.
fn is_library(wanted: &str, file: &str) -> bool {
    let name = wanted.strip_suffix(".so").unwrap_or(wanted);
    file == wanted || file.strip_prefix(name).is_some_and(|rest| rest == ".so" || rest.starts_with(".so."))
}

/// Whether a file is what a library's name means: linkers find texts for themselves under some of these names.
fn is_binary(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == object::elf::ELFMAG
}

fn in_library_directories(name: &str) -> Option<PathBuf> {
    LIBRARY_DIRECTORIES.iter().find_map(|directory| {
        let mut names: Vec<PathBuf> = fs::read_dir(directory)
            .ok()?
            .filter_map(Result::ok)
            .filter(|entry| is_library(name, &entry.file_name().to_string_lossy()))
            .map(|entry| entry.path())
            .filter(|path| is_binary(path))
            .collect();
        names.sort_unstable();
        names.into_iter().next()
    })
}

/// Names that come near that of a file which could not be found: of libraries and programs, or in its directory.
pub fn near_names(error: &ElfError) -> Vec<String> {
    let names_in = |directory: &Path| {
        let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<String>>()
    };
    let near = |wanted: &str, names: &[String]| near_misses(wanted, names.iter().map(String::as_str), MOST_NEAR);
    match error {
        ElfError::File { path, source } if source.kind() == ErrorKind::NotFound => {
            let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
            let near = near(&name.to_string_lossy(), &names_in(directory));
            near.iter().map(|name| directory.join(name).display().to_string()).collect()
        }
        ElfError::NotFound { name } if !name.contains('/') => {
            let libraries = LIBRARY_DIRECTORIES.iter().flat_map(|directory| names_in(Path::new(directory)));
            let mut names: Vec<String> =
                libraries.filter_map(|file| file.split_once(".so").map(|(name, _)| name.to_string())).collect();
            let path = env::var_os("PATH").unwrap_or_default();
            names.extend(env::split_paths(&path).flat_map(|directory| names_in(&directory)));
            near(name, &names)
        }
        ElfError::Archive { message: _, near } => near.clone(),
        ElfError::File { .. } | ElfError::NotFound { .. } | ElfError::NotAnElf { .. } => Vec::new(),
    }
}

fn in_linker_cache(name: &str) -> Option<PathBuf> {
    let cache = fs::read(LINKER_CACHE).ok()?;
    let found = parse_linker_cache(&cache, name)?;
    found.is_file().then_some(found)
}

/// Finds a library of 64-bit x86 in the cache (glibc, sysdeps/generic/dl-cache.h: `struct cache_file_new`).
fn parse_linker_cache(cache: &[u8], name: &str) -> Option<PathBuf> {
    const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
    const HEADER_BYTES: usize = 48;
    const ENTRY_BYTES: usize = 24;
    /// FLAG_ELF_LIBC6 and FLAG_X8664_LIB64
    const X86_64: u32 = 0x0303;
    // The table of older releases may stand before it.
    let table = &cache[memchr::memmem::find(cache, MAGIC)?..];
    let word = |at: usize| Some(u32::from_ne_bytes(table.get(at..at + 4)?.try_into().ok()?));
    let text = |at: u32| {
        let rest = table.get(at as usize..)?;
        std::str::from_utf8(&rest[..memchr::memchr(0, rest)?]).ok()
    };
    let count = (word(MAGIC.len())? as usize).min(table.len() / ENTRY_BYTES);
    (0..count).map(|index| HEADER_BYTES + index * ENTRY_BYTES).find_map(|entry| {
        let is_meant = word(entry)? == X86_64 && is_library(name, text(word(entry + 4)?)?);
        if is_meant { text(word(entry + 8)?).map(PathBuf::from) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_of_libraries() {
        assert!(is_library("libc", "libc.so.6") && is_library("libc.so.6", "libc.so.6"));
        assert!(is_library("libc.so", "libc.so.6") && !is_library("libc.so.6", "libc.so.60"));
        assert!(!is_library("libc", "libcrypto.so.3") && !is_library("libc", "libc.a"));
    }

    #[test]
    fn finds_the_c_library_and_the_shell() {
        let libc = locate("libc", None).unwrap();
        // Where programs are compiled, one of that very name is a text for the linker.
        assert_eq!(locate("libc.so", None).unwrap(), libc);
        assert_eq!(
            locate("libc.so", Some(std::process::id())).unwrap(),
            locate("libc", Some(std::process::id())).unwrap()
        );
        assert!(libc[0].path.to_string_lossy().contains("libc.so"), "{libc:?}");
        assert_eq!(locate("libc", Some(std::process::id())).unwrap().len(), 1);
        assert!(locate("sh", None).unwrap()[0].path.is_absolute());
        assert!(matches!(locate("no-such-program", None), Err(ElfError::NotFound { .. })));
        assert!(!locate("/proc/self/e*e", None).unwrap().is_empty());
        assert_eq!(locate("/pro*/self/e*e", None).unwrap()[0].path, Path::new("/proc/self/exe"));
        assert!(locate("/proc/self/exe/*/x", None).is_err());
        assert!(!locate("*", Some(std::process::id())).unwrap().is_empty());
    }

    #[test]
    fn a_program_that_is_yet_to_run() {
        let own = std::env::current_exe().unwrap();
        let found = locate_expected("*", &own).unwrap();
        assert_eq!(found[0].path, fs::canonicalize(&own).unwrap());
        assert!(found.iter().any(|file| file.path.to_string_lossy().contains("libc.so")), "{found:?}");
        assert_eq!(locate_expected("", &own).unwrap().len(), 1);
        assert!(locate_expected("*/no-such-library*", &own).is_err());
    }

    #[test]
    fn damaged_caches_are_harmless() {
        let mut cache = b"glibc-ld.so.cache1.1".to_vec();
        cache.extend(u32::MAX.to_ne_bytes());
        cache.extend([0; 100]);
        assert_eq!(parse_linker_cache(&cache, "libc"), None);
    }
}
