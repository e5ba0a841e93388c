//! Who the tool itself is: its process and its users.
//! Unsafe: asks the C library.

/// The tool's own numbers.
pub struct Identity {
    pub pid: i64,
    pub ppid: i64,
    pub pgid: i64,
    pub sid: i64,
    pub uid: i64,
    pub euid: i64,
    pub gid: i64,
    pub egid: i64,
}

pub fn identity() -> Identity {
    // SAFETY: none of these calls takes a pointer, and none can fail for the calling process.
    unsafe {
        Identity {
            pid: i64::from(libc::getpid()),
            ppid: i64::from(libc::getppid()),
            pgid: i64::from(libc::getpgid(0)),
            sid: i64::from(libc::getsid(0)),
            uid: i64::from(libc::getuid()),
            euid: i64::from(libc::geteuid()),
            gid: i64::from(libc::getgid()),
            egid: i64::from(libc::getegid()),
        }
    }
}
