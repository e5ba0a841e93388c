//! What the running kernel offers: its system calls, types, events, symbols and features. Knows no provider and no
//! script.

pub mod allocation;
pub mod bpf;
pub mod btf;
pub mod calls;
pub mod cgroup;
pub mod features;
pub mod functions;
pub mod mapping;
pub mod perf;
pub mod privileges;
pub mod symbols;
pub mod syscalls;
pub mod system;
pub mod tracefs;

use std::io;
use std::path::PathBuf;

/// Why the kernel did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A system call, or a command of bpf(2), failed.
    #[error("{call}: {}", io::Error::from_raw_os_error(*.errno))]
    Call { call: &'static str, errno: i32 },
    /// The verifier, or the check of a program's BTF, refused it. `log` is what it said; empty if it said nothing.
    #[error("{call}: {}", io::Error::from_raw_os_error(*.errno))]
    Refused { call: &'static str, errno: i32, log: String },
    /// A file of /proc or /sys could not be read.
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    /// The machine lacks what was asked for.
    #[error("{0}")]
    Absent(String),
    /// A file of /proc or /sys, or a BTF blob, does not hold what it should.
    #[error("{what}: {reason}")]
    Malformed { what: String, reason: String },
}

impl KernelError {
    /// The error of the system call that has just failed.
    pub(crate) fn last(call: &'static str) -> KernelError {
        KernelError::Call { call, errno: io::Error::last_os_error().raw_os_error().unwrap_or(0) }
    }

    /// The error number, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            KernelError::Call { errno, .. } | KernelError::Refused { errno, .. } => Some(*errno),
            KernelError::File { source, .. } => source.raw_os_error(),
            KernelError::Malformed { .. } | KernelError::Absent(_) => None,
        }
    }

    /// True where it is a perf event that was refused.
    pub fn is_of_perf_event(&self) -> bool {
        matches!(self, KernelError::Call { call: "perf_event_open", .. })
    }

    /// True where a missing privilege is the reason.
    pub fn is_privilege(&self) -> bool {
        matches!(self.errno(), Some(libc::EPERM | libc::EACCES))
    }
}
