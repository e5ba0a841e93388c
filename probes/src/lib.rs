//! What this machine offers to trace: one file per provider, and `kernel` for what they all need. Answers in the data
//! of `rtrace_lang::target`. Never compiles anything and never reads an event.

mod d_names;
mod dwarf;
pub mod elf;
pub mod kernel;
mod listing;
mod machine;
mod nearest;
mod provider;
pub mod unwind;

mod begin_end;
mod counters;
mod fentry;
mod hardware;
mod interval;
mod iter;
mod kprobe;
mod own_signal;
mod profile;
mod rawtracepoint;
mod software;
mod tracepoint;
mod trial;
mod uprobe;
mod usdt;
mod watchpoint;

pub use listing::{ListedProbe, list, list_types};
pub use machine::Machine;
pub use provider::{AttachError, Documentation, Link, PROVIDERS, Provider, provider_named};
