//! Loads, attaches, collects and prints. Never decides what a script means: that is the checker's, and what a probe is:
//! that is the provider's.

mod cells;
pub mod child;
mod clock;
pub mod controls;
mod decode;
pub mod driver;
pub mod event;
pub mod identity;
mod imports;
mod maps;
pub mod metrics;
mod names;
pub mod output;
mod packets;
pub mod recordings;
mod rows;
pub mod session;
pub mod signals;
pub mod symbols;
