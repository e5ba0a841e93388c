//! Names of addresses, in the kernel and in processes. Resolves when something is printed, never while events come in.

mod jit;
mod kernel;
mod lines;
mod mappings;
mod memory_file;
mod process;
mod user;
mod vdso;

pub use kernel::KernelSymbols;
pub use lines::SourcePlace;
pub use mappings::{MappingEvent, MappingEvents, NewMapping};
pub use user::{MappedCode, UserSymbols};

use std::fmt;

/// A place by name; shown as `name+offset`, the offset in decimal, or as `[file]+0xoffset`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Symbol {
    /// The function's name, demangled; None where the file has no name for the place.
    pub name: Option<String>,
    /// Bytes from the start of the function, or else of the file.
    pub offset: u64,
    /// The kernel module, or the file of a program or library; None for the kernel itself.
    pub module: Option<String>,
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.module) {
            (Some(name), _) => write!(f, "{name}+{}", self.offset),
            (None, Some(module)) => write!(f, "[{}]+{:#x}", module.rsplit('/').next().unwrap_or(module), self.offset),
            (None, None) => write!(f, "{:#x}", self.offset),
        }
    }
}
