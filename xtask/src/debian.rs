//! Debian packages without installing them: a private apt for any release, and programs unpacked beside their libraries.
//! It must never touch the machine's own package lists, caches or installed packages.

mod programs;
mod sources;
mod suite;

pub use programs::{Program, program};
pub use suite::{Suite, unpack};
