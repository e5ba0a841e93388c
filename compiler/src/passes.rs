//! The passes over a function, in their order. Each keeps what `ir::verify` demands.

mod callbacks;
mod cse;
mod dead;
mod fold;
mod merge;
mod settle;

use crate::ir::{Function, Value};

/// What a pass does to a function.
pub type Run = fn(&mut Function);

/// Name and function of each pass; every one is verified after it ran, and timed.
pub static PASSES: &[(&str, Run)] = &[
    ("merge", merge::run),
    ("fold", fold::run),
    ("cse", cse::run),
    ("settle", settle::run),
    ("dead", dead::run),
    ("settle again", settle::run),
    ("callbacks", callbacks::run),
];

/// Which value stands for another one.
struct Replacements {
    of: Vec<Option<Value>>,
}

impl Replacements {
    fn new(function: &Function) -> Replacements {
        Replacements { of: vec![None; function.values.len()] }
    }

    fn set(&mut self, value: Value, by: Value) {
        if value != by {
            self.of[value.index()] = Some(by);
        }
    }

    fn get(&self, mut value: Value) -> Value {
        while let Some(by) = self.of[value.index()] {
            value = by;
        }
        value
    }

    /// Rewrites every use in the function.
    fn apply(&self, function: &mut Function) {
        for block in &mut function.blocks {
            for inst in &mut block.insts {
                inst.kind.map_uses(&mut |value| self.get(value));
            }
            if let Some(terminator) = &mut block.terminator {
                terminator.map_uses(&mut |value| self.get(value));
            }
        }
    }
}
