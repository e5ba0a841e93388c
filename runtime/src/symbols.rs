//! Names of addresses, in the kernel and in processes. Resolves when something is printed, never while events come in.

mod jit;
mod kernel;
mod lines;
mod mappings;
mod memory_file;
mod process;
mod processes;
mod user;
mod vdso;

pub use kernel::KernelSymbols;
pub use lines::SourcePlace;
pub use mappings::{MappingEvent, MappingEvents, NewMapping};
pub use process::mapped_as;
pub use user::{MappedCode, Unknown, UserSymbols};

use std::sync::Arc;

/// A place by name. Thousands of stacks share it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Symbol {
    /// The function's name, demangled; None where the file has no name for the place.
    pub name: Option<Arc<str>>,
    /// The kernel module, or the file of a program or library; None for the kernel itself.
    pub module: Option<Arc<str>>,
    /// `name+offset`, the offset in decimal, or `[file]+0xoffset`.
    pub shown: Arc<str>,
}

impl Symbol {
    /// A place so many bytes behind the start of the function, or else of the file.
    fn new(name: Option<&str>, offset: u64, module: Option<Arc<str>>) -> Symbol {
        let shown = match (name, &module) {
            (Some(name), _) => format!("{name}+{offset}"),
            (None, Some(module)) => format!("[{}]+{offset:#x}", module.rsplit('/').next().unwrap_or(module)),
            (None, None) => format!("{offset:#x}"),
        };
        Symbol { name: name.map(Arc::from), module, shown: shown.into() }
    }
}
