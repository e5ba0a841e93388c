//! The language of rtrace: text in, a checked and typed program (`hir::Hir`) out. Pure: it never does IO; what it must
//! know of the machine it asks through [`target::Target`].
#![forbid(unsafe_code)]

pub mod aggregations;
pub mod ast;
pub mod builtins;
pub mod calls;
pub mod check;
pub mod constants;
pub mod diagnostic;
pub mod dtrace;
mod entries;
mod expand;
pub mod format;
pub mod hir;
pub mod keys;
pub mod lexer;
pub mod limits;
pub mod names;
pub mod parse;
pub mod precedence;
pub mod pretty;
pub mod probe;
pub mod script_types;
pub mod settings;
pub mod source;
pub mod span;
pub mod target;
pub mod types;
pub mod unwind;
