//! The bytes of a file: mapped where that is possible, read elsewhere. For files that are only ever replaced and never
//! changed in place (the kernel's BTF, programs and libraries): shrinking one that is mapped would end this process.
//!
//! Unsafe: mmap(2) and the slice over its result.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::Path;

/// A file's bytes, or a part of them.
pub struct FileBytes {
    bytes: Bytes,
    part: Range<usize>,
}

enum Bytes {
    Mapped { start: *const u8, length: usize },
    Owned(Vec<u8>),
}

// SAFETY: the mapping is private and read-only, and its pointer is never handed out but as a borrowed slice.
unsafe impl Send for Bytes {}
// SAFETY: as above; nobody writes to it.
unsafe impl Sync for Bytes {}

impl FileBytes {
    pub fn open(path: &Path) -> io::Result<FileBytes> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len() as usize;
        if length > 0 {
            // SAFETY: a new private mapping at an address of the kernel's choice; the result is checked.
            let start = unsafe {
                libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0)
            };
            if start != libc::MAP_FAILED {
                return Ok(FileBytes::whole(Bytes::Mapped { start: start.cast::<u8>().cast_const(), length }));
            }
        }
        // Kernels before 6.16 don't map their BTF.
        let mut bytes = Vec::with_capacity(length);
        file.read_to_end(&mut bytes)?;
        Ok(FileBytes::whole(Bytes::Owned(bytes)))
    }

    fn whole(bytes: Bytes) -> FileBytes {
        let part = 0..bytes.all().len();
        FileBytes { bytes, part }
    }

    /// Only these of the bytes; none where there are not so many.
    pub fn part(self, range: Range<usize>) -> FileBytes {
        let part = if range.end <= self.bytes.all().len() { range } else { 0..0 };
        FileBytes { bytes: self.bytes, part }
    }

    /// Where in the file they begin.
    pub fn start(&self) -> usize {
        self.part.start
    }

    pub fn as_slice(&self) -> &[u8] {
        self.bytes.all().get(self.part.clone()).unwrap_or_default()
    }
}

impl Bytes {
    fn all(&self) -> &[u8] {
        match self {
            // SAFETY: the mapping is that long and lives as long as `self`.
            Bytes::Mapped { start, length } => unsafe { std::slice::from_raw_parts(*start, *length) },
            Bytes::Owned(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for FileBytes {
    fn from(bytes: Vec<u8>) -> FileBytes {
        FileBytes::whole(Bytes::Owned(bytes))
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if let Bytes::Mapped { start, length } = self {
            // SAFETY: this is the mapping that `open` made, and no slice of it outlives `self`.
            unsafe { libc::munmap(start.cast_mut().cast(), *length) };
        }
    }
}
