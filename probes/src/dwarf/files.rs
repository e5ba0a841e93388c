//! Which file has the debug information of a program, and its sections' bytes: in the program itself, or in a file of
//! its own that the build id or the debug link names.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use object::{CompressionFormat, Object, ObjectSection};

use super::DebugError;
use crate::elf::open_bytes;
use crate::kernel::mapping::FileBytes;

/// Where packages with debug information put it.
const DEBUG_DIRECTORY: &str = "/usr/lib/debug";

/// Directories that the command line names.
static NAMED: OnceLock<Vec<PathBuf>> = OnceLock::new();

/// Looks for files with debug information in these directories first. Said once, before any file is opened.
pub fn search_debug_files_in(directories: Vec<PathBuf>) {
    // A second word on it is passed over.
    let _ = NAMED.set(directories);
}

/// The sections that types and addresses are in. The others (where variables are, line by line) stay packed where they
/// are. Lines are among them because units refer to them.
const NEEDED: &[&str] = &[
    ".debug_info",
    ".debug_abbrev",
    ".debug_str",
    ".debug_str_offsets",
    ".debug_line_str",
    ".debug_line",
    ".debug_addr",
    ".debug_aranges",
    ".debug_ranges",
    ".debug_rnglists",
];

/// The sections of a file, by their names.
pub struct Sections {
    bytes: FileBytes,
    parts: HashMap<String, Part>,
}

enum Part {
    /// As it lies in the file.
    At { start: usize, length: usize },
    /// It was compressed.
    Unpacked(Vec<u8>),
}

impl Sections {
    /// The debug sections of the program, or of the file that has them for it.
    pub fn of_program(path: &Path) -> Result<Sections, DebugError> {
        let bytes = open_bytes(path).map_err(|error| unreadable(path, &error))?;
        let others = {
            let object = object::File::parse(bytes.as_slice()).map_err(|error| unreadable(path, &error))?;
            if has_debug_info(&object) { Vec::new() } else { debug_files(path, &object) }
        };
        if let Some(sections) = Sections::read(path, bytes)? {
            return Ok(sections);
        }
        for other in others {
            let Ok(bytes) = FileBytes::open(&other) else { continue };
            if let Some(sections) = Sections::read(&other, bytes)? {
                return Ok(sections);
            }
        }
        Err(DebugError::None)
    }

    /// None where the file has no debug information.
    fn read(path: &Path, bytes: FileBytes) -> Result<Option<Sections>, DebugError> {
        let mut parts = HashMap::new();
        {
            let object = object::File::parse(bytes.as_slice()).map_err(|error| unreadable(path, &error))?;
            if !has_debug_info(&object) {
                return Ok(None);
            }
            for section in object.sections() {
                let Some(name) = section.name().ok().filter(|name| NEEDED.contains(name)) else { continue };
                let range = section.compressed_file_range().map_err(|error| unreadable(path, &error))?;
                let part = if range.format == CompressionFormat::None {
                    Part::At { start: range.offset as usize, length: range.uncompressed_size as usize }
                } else {
                    let unpacked = section.uncompressed_data().map_err(|error| unreadable(path, &error))?;
                    Part::Unpacked(unpacked.into_owned())
                };
                parts.insert(name.to_string(), part);
            }
        }
        Ok(Some(Sections { bytes, parts }))
    }

    /// Empty where there is no such section.
    pub fn get(&self, name: &str) -> &[u8] {
        match self.parts.get(name) {
            Some(Part::At { start, length }) => {
                self.bytes.as_slice().get(*start..start.saturating_add(*length)).unwrap_or_default()
            }
            Some(Part::Unpacked(bytes)) => bytes,
            None => &[],
        }
    }

    #[cfg(test)]
    pub fn of_parts(parts: impl Iterator<Item = (String, Vec<u8>)>) -> Sections {
        let parts = parts.map(|(name, bytes)| (name, Part::Unpacked(bytes))).collect();
        Sections { bytes: FileBytes::from(Vec::new()), parts }
    }
}

fn unreadable(path: &Path, error: &dyn std::error::Error) -> DebugError {
    DebugError::Unreadable { reason: format!("{}: {error}", path.display()) }
}

/// A file stripped of its contents keeps the sections' headers, without bytes.
fn has_debug_info(object: &object::File<'_>) -> bool {
    object.section_by_name(".debug_info").is_some_and(|section| section.file_range().is_some_and(|range| range.1 > 0))
}

/// The file with the debug information of a program: the program itself, or one of the same build.
pub fn debug_file(path: &Path) -> Option<PathBuf> {
    let bytes = FileBytes::open(path).ok()?;
    let object = object::File::parse(bytes.as_slice()).ok()?;
    if has_debug_info(&object) {
        return Some(path.to_path_buf());
    }
    debug_files(path, &object).into_iter().find(|other| {
        let Ok(bytes) = FileBytes::open(other) else { return false };
        object::File::parse(bytes.as_slice())
            .is_ok_and(|other| has_debug_info(&other) && other.build_id().ok() == object.build_id().ok())
    })
}

/// Where the debug information of a program may be, best first.
pub fn debug_files(path: &Path, object: &object::File<'_>) -> Vec<PathBuf> {
    let build_id = object.build_id().ok().flatten();
    let link = object.gnu_debuglink().ok().flatten();
    let named = NAMED.get().map_or(&[][..], Vec::as_slice);
    candidate_paths(&real_path(path), named, build_id, link.map(|(name, _)| name))
}

fn candidate_paths(path: &Path, named: &[PathBuf], build_id: Option<&[u8]>, link: Option<&[u8]>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let directories = || named.iter().map(PathBuf::as_path).chain([Path::new(DEBUG_DIRECTORY)]);
    if let Some([first, rest @ ..]) = build_id {
        let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
        found.extend(directories().map(|directory| directory.join(format!(".build-id/{first:02x}/{rest}.debug"))));
    }
    if let (Some(link), Some(directory)) = (link, path.parent()) {
        let link = OsStr::from_bytes(link);
        let below = directory.strip_prefix("/").unwrap_or(directory);
        found.push(directory.join(link));
        found.push(directory.join(".debug").join(link));
        found.extend(directories().map(|directory| directory.join(below).join(link)));
        found.extend(named.iter().map(|directory| directory.join(link)));
        // A debug link that names the program itself would be followed in a circle.
        found.retain(|candidate| candidate != path);
    }
    found
}

/// Without links, unless they lead through another process's root to a file that is not this one.
fn real_path(path: &Path) -> PathBuf {
    let same = |a: &Path, b: &Path| match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        (Ok(_) | Err(_), _) => false,
    };
    fs::canonicalize(path).ok().filter(|real| same(real, path)).unwrap_or_else(|| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_debug_files_are() {
        let paths = candidate_paths(Path::new("/usr/bin/app"), &[], Some(&[0xab, 0x01, 0xff]), Some(b"app.debug"));
        let expected = [
            "/usr/lib/debug/.build-id/ab/01ff.debug",
            "/usr/bin/app.debug",
            "/usr/bin/.debug/app.debug",
            "/usr/lib/debug/usr/bin/app.debug",
        ];
        assert_eq!(paths, expected.map(PathBuf::from));
        assert!(candidate_paths(Path::new("/usr/bin/app"), &[], None, None).is_empty());
        assert_eq!(candidate_paths(Path::new("/bin/app"), &[], None, Some(b"app"))[0], Path::new("/bin/.debug/app"));
        let named = [PathBuf::from("/x")];
        let paths = candidate_paths(Path::new("/usr/bin/app"), &named, Some(&[0xab, 0x01]), Some(b"app.debug"));
        let expected = [
            "/x/.build-id/ab/01.debug",
            "/usr/lib/debug/.build-id/ab/01.debug",
            "/usr/bin/app.debug",
            "/usr/bin/.debug/app.debug",
            "/x/usr/bin/app.debug",
            "/usr/lib/debug/usr/bin/app.debug",
            "/x/app.debug",
        ];
        assert_eq!(paths, expected.map(PathBuf::from));
    }

    #[test]
    fn a_program_without_debug_information() {
        assert!(matches!(Sections::of_program(Path::new("/no/such/file")), Err(DebugError::Unreadable { .. })));
        assert!(matches!(Sections::of_program(Path::new("/etc/passwd")), Err(DebugError::Unreadable { .. })));
    }
}
