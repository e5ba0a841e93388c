//! Files in memory, for readers that take paths.
//! Unsafe: makes one.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::PathBuf;

/// A file without a name that has these bytes.
pub(super) fn holding(bytes: &[u8]) -> Option<File> {
    // SAFETY: the name ends with a NUL; the descriptor that comes back belongs to nobody else.
    let mut file = unsafe {
        let fd = libc::memfd_create(c"rtrace".as_ptr(), libc::MFD_CLOEXEC);
        (fd >= 0).then(|| File::from_raw_fd(fd))?
    };
    file.write_all(bytes).ok()?;
    Some(file)
}

/// A path of an open file, good for as long as it is open.
pub(super) fn path(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}
