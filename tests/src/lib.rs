//! The data-driven test runner of rtrace: cases are scripts with expected texts beside them (docs/testing.md). Holds no
//! case itself, and never compares anything loosely: what varies is replaced by a rule that the case states.

pub mod bpf_programs;
mod builtins;
pub mod case;
pub mod child;
pub mod clearing;
pub mod codes;
pub mod directives;
pub mod directory;
pub mod documents;
pub mod endings;
pub mod environment;
pub mod expectation;
pub mod flame_graphs;
mod foreign_maps;
pub mod formats;
pub mod kernel_functions;
pub mod language_server;
mod leftovers;
pub mod messages;
pub mod modules;
pub mod other_files;
mod packets;
pub mod plan;
pub mod profiles;
mod prompt;
mod rates;
mod real_programs;
pub mod reference;
pub mod run;
pub mod scale;
pub mod schema;
pub mod scrapes;
pub mod stages;
pub mod tasks;
mod terminal;
pub mod workload;
