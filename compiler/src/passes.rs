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
    ("merge", |function| _ = merge::run(function)),
    ("fold", |function| _ = fold::run(function)),
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

    /// Rewrites the uses that `map_uses` goes through; says whether any changed.
    fn rewrite(&self, map_uses: impl FnOnce(&mut dyn FnMut(Value) -> Value)) -> bool {
        let mut is_changed = false;
        map_uses(&mut |value| {
            let by = self.get(value);
            is_changed |= by != value;
            by
        });
        is_changed
    }

    /// Rewrites every use in the function; says whether any changed.
    fn apply(&self, function: &mut Function) -> bool {
        self.of.iter().any(Option::is_some)
            && self.rewrite(|get| {
                function.scratch = function.scratch.map(&mut *get);
                for block in &mut function.blocks {
                    block.insts.iter_mut().for_each(|inst| inst.kind.map_uses(get));
                    block.terminator.iter_mut().for_each(|terminator| terminator.map_uses(get));
                }
            })
    }
}
