//! Names of addresses, in the kernel and in processes. Resolves when something is printed, never while events come in.

mod kernel;
mod mappings;
mod process;
mod user;

pub use kernel::KernelSymbols;
pub use mappings::{MappingEvent, MappingEvents, NewMapping};
pub use user::UserSymbols;

use std::fmt;

/// A place by name; shown as `name+offset`, the offset in decimal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Symbol {
    /// The function's name, demangled.
    pub name: String,
    /// Bytes from its start.
    pub offset: u64,
    /// The kernel module, or the file of a program or library; None for the kernel itself.
    pub module: Option<String>,
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.name, self.offset)
    }
}
