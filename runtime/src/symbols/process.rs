//! What a process has mapped, as read once from /proc, so that its addresses keep their meaning when it has gone. Holds
//! the mapped files open: a file that was deleted or replaced, or lies in another mount namespace, can still be read.

use std::collections::HashMap;
use std::fs::{self, File};
use std::iter;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rtrace_probes::kernel::mapping::FileBytes;
use rtrace_probes::kernel::system;

use super::mappings::NewMapping;
use super::user::MappedCode;
use super::vdso;

/// Number of a file in `Files`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct FileId(u32);

/// Every file that some process has mapped, each once.
#[derive(Default)]
pub(super) struct Files {
    by_inode: HashMap<(u64, u64), FileId>,
    files: Vec<MappedFile>,
    /// Files that the script has probes in.
    probed: Vec<PathBuf>,
    open_count: usize,
    most_open: Option<usize>,
}

struct MappedFile {
    /// As the process names it.
    name: PathBuf,
    inode: u64,
    opened: Option<File>,
}

/// True if that is what the path leads to.
fn has_inode(path: &Path, inode: u64) -> bool {
    fs::metadata(path).is_ok_and(|found| found.ino() == inode)
}

impl Files {
    /// A file that processes will have mapped, as the tool itself names it: another root may be theirs.
    pub(super) fn expect(&mut self, path: PathBuf) {
        if !self.probed.contains(&path) {
            self.probed.push(path);
        }
    }

    /// Where the file can be read. None for one that could not be opened, where its name does not lead to it.
    pub(super) fn path(&self, id: FileId) -> Option<PathBuf> {
        let file = &self.files[id.0 as usize];
        match &file.opened {
            Some(opened) => Some(PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()))),
            None => has_inode(&file.name, file.inode).then(|| file.name.clone()),
        }
    }

    pub(super) fn name(&self, id: FileId) -> &Path {
        &self.files[id.0 as usize].name
    }

    /// The functions that the kernel maps into each process.
    fn vdso(&mut self) -> FileId {
        // No device has that number.
        *self.by_inode.entry((u64::MAX, 0)).or_insert_with(|| {
            self.files.push(MappedFile { name: PathBuf::from(vdso::NAME), inode: 0, opened: vdso::copy() });
            FileId(self.files.len() as u32 - 1)
        })
    }

    /// The file of code that was mapped since. `processes`: the one that has mapped it and, in case that it has ended, others
    /// whose root may be the same.
    pub(super) fn mapped(&mut self, new: &NewMapping, processes: impl Iterator<Item = u32>) -> FileId {
        if new.path.as_os_str() == vdso::NAME {
            return self.vdso();
        }
        let range = format!("{:x}-{:x}", new.start, new.start.saturating_add(new.bytes));
        self.add(processes, new.device, new.inode, &range, &new.path.to_string_lossy())
    }

    fn add(
        &mut self,
        processes: impl Iterator<Item = u32>,
        device: u64,
        inode: u64,
        range: &str,
        name: &str,
    ) -> FileId {
        let name = name.strip_suffix(" (deleted)").unwrap_or(name);
        let known = self.by_inode.get(&(device, inode)).copied();
        // The number of a file that is not held open may be another file's by now.
        let known = known.filter(|id| self.is_open(*id) || self.name(*id) == Path::new(name));
        if let Some(id) = known
            && (self.is_open(id) || self.open_count >= self.most_open())
        {
            return id;
        }
        let opened =
            if self.open_count < self.most_open() { open(processes, &self.probed, inode, range, name) } else { None };
        self.open_count += usize::from(opened.is_some());
        if let Some(id) = known {
            self.files[id.0 as usize].opened = opened;
            return id;
        }
        let id = FileId(self.files.len() as u32);
        self.files.push(MappedFile { name: PathBuf::from(name), inode, opened });
        self.by_inode.insert((device, inode), id);
        id
    }

    fn is_open(&self, id: FileId) -> bool {
        self.files[id.0 as usize].opened.is_some()
    }

    /// Files that are kept open at most, half of what the tool may open; what is mapped beyond them is looked for by its name.
    fn most_open(&mut self) -> usize {
        *self.most_open.get_or_insert_with(|| system::file_limit() / 2)
    }
}

/// Opens a file that the first of the processes has mapped, which may have ended; then one of the others or of the probed files may
/// lead to it.
fn open(
    mut processes: impl Iterator<Item = u32>,
    probed: &[PathBuf],
    inode: u64,
    range: &str,
    name: &str,
) -> Option<File> {
    let pid = processes.next()?;
    // The first is the mapped file itself but takes CAP_SYS_ADMIN; the others are right if they still are that file.
    if let Ok(file) = File::open(format!("/proc/{pid}/map_files/{range}")) {
        return Some(file);
    }
    let roots = iter::once(pid).chain(processes).map(|pid| PathBuf::from(format!("/proc/{pid}/root{name}")));
    let probed = probed.iter().filter(|path| path.file_name() == Path::new(name).file_name()).cloned();
    roots.chain([PathBuf::from(name)]).chain(probed).find_map(|path| {
        // Looked at first: what else may be there, a pipe or a device, is not to be opened.
        if !has_inode(&path, inode) {
            return None;
        }
        let file = File::open(path).ok()?;
        (file.metadata().ok()?.ino() == inode).then_some(file)
    })
}

/// Code of a file in a process's memory.
#[derive(Clone, Copy, Debug)]
struct Mapping {
    start: u64,
    end: u64,
    file_offset: u64,
    file: FileId,
}

/// The code that a process had mapped when it was looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    /// Sorted by address.
    mappings: Vec<Mapping>,
    /// What the process ran: another file after exec.
    executable: Option<PathBuf>,
}

impl Snapshot {
    /// None where the process has gone, or may not be looked at.
    pub(super) fn read(pid: u32, files: &mut Files) -> Option<Snapshot> {
        let text = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
        let mut mappings = Vec::new();
        for line in text.lines() {
            if let Some((range, permissions, file_offset, device, inode, name)) = parse_mapping(line)
                && permissions.contains('x')
                && (inode != 0 || name == vdso::NAME)
                && let Some((start, end)) = parse_range(range)
            {
                let file =
                    if inode == 0 { files.vdso() } else { files.add(iter::once(pid), device, inode, range, name) };
                mappings.push(Mapping { start, end, file_offset, file });
            }
        }
        // One that has ended and is not waited for yet maps nothing: it must not take the place of what it had.
        if mappings.is_empty() {
            return None;
        }
        mappings.sort_unstable_by_key(|mapping| mapping.start);
        Some(Snapshot { mappings, executable: executable(pid) })
    }

    /// Adds code of a file that was mapped since; it takes the place of what was there.
    pub(super) fn add(&mut self, new: &NewMapping, file: FileId) {
        let (start, end) = (new.start, new.start.saturating_add(new.bytes));
        self.mappings.retain(|mapping| mapping.end <= start || mapping.start >= end);
        let at = self.mappings.partition_point(|mapping| mapping.start < start);
        self.mappings.insert(at, Mapping { start, end, file_offset: new.file_offset, file });
    }

    /// The file that has the code at an address, and where in the file it is.
    pub(super) fn locate(&self, address: u64) -> Option<(FileId, u64)> {
        let at = self.mappings.partition_point(|mapping| mapping.end <= address);
        let mapping = self.mappings.get(at).filter(|mapping| mapping.start <= address)?;
        Some((mapping.file, address - mapping.start + mapping.file_offset))
    }

    /// All of it that can be read, by address.
    pub(super) fn code(&self, files: &Files) -> Vec<MappedCode> {
        let code = |mapping: &Mapping| {
            Some(MappedCode {
                start: mapping.start,
                end: mapping.end,
                file_offset: mapping.file_offset,
                path: files.path(mapping.file)?,
                name: files.name(mapping.file).to_path_buf(),
            })
        };
        self.mappings.iter().filter_map(code).collect()
    }

    /// True if the process runs another program by now.
    pub(super) fn is_outdated(&self, pid: u32) -> bool {
        executable(pid).is_some_and(|now| self.executable.as_ref() != Some(&now))
    }
}

fn executable(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

fn parse_range(range: &str) -> Option<(u64, u64)> {
    let (start, end) = range.split_once('-')?;
    Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
}

/// `7f00-7f01 r-xp 00001000 08:01 1234    /usr/lib/x.so`: range, permissions, file offset, device, inode, name.
fn parse_mapping(line: &str) -> Option<(&str, &str, u64, u64, u64, &str)> {
    let mut rest = line;
    let mut word = || {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = after.trim_start();
        word
    };
    let (range, permissions, offset, device, inode) = (word(), word(), word(), word(), word());
    let (major, minor) = device.split_once(':')?;
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let device = number(major)? << 32 | number(minor)?;
    Some((range, permissions, number(offset)?, device, inode.parse().ok()?, rest))
}

/// The device and the inode of a file that this process has mapped, as the kernel names them in mappings: file systems may give
/// stat(2) others.
pub fn mapped_as(bytes: &FileBytes) -> Option<(u64, u64)> {
    let start = bytes.as_slice().as_ptr() as u64;
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let mut mappings = maps.lines().filter_map(parse_mapping);
    let (_, _, _, device, inode, _) =
        mappings.find(|(range, ..)| parse_range(range).is_some_and(|(from, _)| from == start))?;
    (inode > 0).then_some((device, inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps() {
        let line = "7f3a8c028000-7f3a8c1bd000 r-xp 00028000 fe:01 918241                     /usr/lib/my lib.so";
        let (range, permissions, offset, device, inode, name) = parse_mapping(line).unwrap();
        assert_eq!(parse_range(range), Some((0x7f3a_8c02_8000, 0x7f3a_8c1b_d000)));
        assert_eq!((permissions, offset, device, inode), ("r-xp", 0x28000, 0xfe << 32 | 1, 918_241));
        assert_eq!(name, "/usr/lib/my lib.so");
        assert_eq!(parse_mapping("7ffd0000-7ffd1000 r-xp 00000000 00:00 0").map(|parts| parts.4), Some(0));
        assert!(parse_mapping("").is_none());
    }

    #[test]
    fn own_code_is_in_own_file() {
        let mut files = Files::default();
        let snapshot = Snapshot::read(std::process::id(), &mut files).unwrap();
        let (file, offset) = snapshot.locate(own_code_is_in_own_file as *const () as u64).unwrap();
        assert_eq!(files.name(file), fs::read_link("/proc/self/exe").unwrap());
        assert!(offset > 0 && files.path(file).unwrap().exists());
        assert!(snapshot.locate(1).is_none());
        assert!(!snapshot.is_outdated(std::process::id()));
    }
    #[test]
    fn a_file_of_an_ended_process_is_found_by_who_made_it() {
        let own = std::process::id();
        // No process has such a number.
        let ended = 4_000_000_000;
        let path = fs::read_link("/proc/self/exe").unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        let mut files = Files::default();
        let mut mapped = |inode, processes: &[u32]| {
            let new = NewMapping { start: 0, bytes: 4096, file_offset: 0, device: 1, inode, path: path.clone() };
            let file = files.mapped(&new, processes.iter().copied());
            (file, files.is_open(file), files.path(file).is_some())
        };
        // Another file has taken its place: better no name than one of that file.
        let (first, is_open, has_path) = mapped(inode + 1, &[ended, own]);
        assert!(!is_open && !has_path);
        let (second, is_open, has_path) = mapped(inode, &[ended, own]);
        assert!(first != second && is_open && has_path);
        assert_eq!(mapped(inode, &[ended]).0, second);
    }

    #[test]
    fn a_file_below_the_root_of_an_ended_process_is_found_by_its_probes() {
        let path = fs::read_link("/proc/self/exe").unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        let name = Path::new("/elsewhere").join(path.file_name().unwrap());
        let is_open = |inode, expected: Option<&PathBuf>| {
            let mut files = Files::default();
            expected.into_iter().for_each(|path| files.expect(path.clone()));
            let new = NewMapping { start: 0, bytes: 4096, file_offset: 0, device: 1, inode, path: name.clone() };
            // No process has such a number.
            let file = files.mapped(&new, iter::once(4_000_000_000));
            files.is_open(file)
        };
        assert!(!is_open(inode, None) && is_open(inode, Some(&path)));
        assert!(!is_open(inode + 1, Some(&path)), "another file of that name");
    }

    #[test]
    fn a_file_that_could_not_be_opened_is_tried_again() {
        let path = std::env::temp_dir().join(format!("rtrace-mapped-{}", std::process::id()));
        fs::write(&path, "x").unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        let new = NewMapping { start: 0, bytes: 4096, file_offset: 0, device: 1, inode, path: path.clone() };
        let moved = path.with_extension("moved");
        fs::rename(&path, &moved).unwrap();
        let mut files = Files::default();
        let first = files.mapped(&new, iter::once(std::process::id()));
        assert!(!files.is_open(first));
        fs::rename(&moved, &path).unwrap();
        assert_eq!(files.mapped(&new, iter::once(std::process::id())), first);
        fs::remove_file(&path).unwrap();
        assert!(files.is_open(first));
    }
}
