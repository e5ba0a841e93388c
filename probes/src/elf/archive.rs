//! Libraries that lie in an archive as they are, as in Android's applications: `app.apk!/lib/x86_64/libx.so` is mapped
//! from the archive itself, so that its code is at a place in that file.

use std::ops::Range;
use std::path::{Path, PathBuf};

use rawzip::{CompressionMethod, ZipArchive};

use super::ElfError;
use crate::kernel::mapping::FileBytes;
use crate::nearest::near_misses;

/// Between the archive and what is in it.
const SEPARATOR: &str = "!/";

/// Most near names that a message has.
const MOST_NEAR: usize = 3;

/// The archive and the name in it, of a path that is no file itself.
fn split(path: &Path) -> Option<(PathBuf, &str)> {
    let (archive, member) = path.to_str()?.split_once(SEPARATOR)?;
    (!path.exists()).then(|| (PathBuf::from(archive), member))
}

/// The file that a path means to the kernel: the archive, where it names what is in one.
pub fn file_of(path: &Path) -> PathBuf {
    split(path).map_or_else(|| path.to_path_buf(), |(archive, _)| archive)
}

/// The bytes of a file, or of what is in an archive.
pub fn open(path: &Path) -> Result<FileBytes, ElfError> {
    let Some((archive, member)) = split(path) else { return open_file(path) };
    let bytes = open_file(&archive)?;
    let range = range_of(bytes.as_slice(), member).map_err(|(message, near)| ElfError::Archive {
        message: format!("{}: {message}", archive.display()),
        near: near.iter().map(|name| format!("{}{SEPARATOR}{name}", archive.display())).collect(),
    })?;
    Ok(bytes.part(range))
}

fn open_file(path: &Path) -> Result<FileBytes, ElfError> {
    let failed = |source| ElfError::File { path: path.to_path_buf(), source };
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(ElfError::NotAnElf { path: path.to_path_buf(), reason: "not a regular file".to_string() });
    }
    FileBytes::open(path).map_err(failed)
}

/// Where in an archive the bytes of that name are; why they are nowhere, and names that come near.
fn range_of(archive: &[u8], wanted: &str) -> Result<Range<usize>, (String, Vec<String>)> {
    let broken = |error: rawzip::Error| (format!("not an archive: {error}"), Vec::new());
    let archive = ZipArchive::from_slice(archive).map_err(broken)?;
    let mut entries = archive.entries();
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().map_err(broken)? {
        let name = String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
        if name != wanted {
            names.push(name);
            continue;
        }
        if entry.compression_method() != CompressionMethod::STORE {
            return Err((format!("`{wanted}` is compressed in it, and no process can map its code"), Vec::new()));
        }
        let (start, end) = archive.get_entry(entry.wayfinder()).map_err(broken)?.compressed_data_range();
        return Ok(start as usize..end as usize);
    }
    let near = near_misses(wanted, names.iter().map(String::as_str), MOST_NEAR);
    Err((format!("there is no `{wanted}` in it"), near))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive as zip(1) writes it: `stored`, and `packed`, which it has compressed.
    fn archive() -> Vec<u8> {
        let mut writer = rawzip::ZipArchiveWriter::new(Vec::new());
        for (name, method) in [("lib/stored", CompressionMethod::STORE), ("lib/packed", CompressionMethod::DEFLATE)] {
            let (mut entry, config) = writer.new_file(name).compression_method(method).start().unwrap();
            let mut data = config.wrap(&mut entry);
            std::io::Write::write_all(&mut data, b"some code").unwrap();
            let (_, descriptor) = data.finish().unwrap();
            entry.finish(descriptor).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_in_an_archive() {
        let archive = archive();
        let range = range_of(&archive, "lib/stored").unwrap();
        assert_eq!(&archive[range], b"some code");
        let (message, _) = range_of(&archive, "lib/packed").unwrap_err();
        assert!(message.contains("compressed"), "{message}");
        assert_eq!(range_of(&archive, "lib/stord").unwrap_err().1, ["lib/stored"]);
        assert!(range_of(b"\x7fELF", "lib/stored").unwrap_err().0.contains("not an archive"));
    }

    #[test]
    fn damaged_archives_are_harmless() {
        let archive = archive();
        for end in 0..archive.len() {
            let _ = range_of(&archive[..end], "lib/stored");
            let mut other = archive.clone();
            other[end] ^= 0xff;
            if let Ok(range) = range_of(&other, "lib/stored") {
                assert!(range.end <= other.len());
            }
        }
    }

    #[test]
    fn paths_of_archives() {
        assert_eq!(split(Path::new("a.apk!/lib/x.so")), Some((PathBuf::from("a.apk"), "lib/x.so")));
        assert_eq!(split(Path::new("/usr/lib/x.so")), None);
        assert_eq!(file_of(Path::new("/x/a.apk!/lib/x.so")), Path::new("/x/a.apk"));
        assert_eq!(file_of(Path::new("/x/a.so")), Path::new("/x/a.so"));
    }
}
