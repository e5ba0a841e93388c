//! Folds and merges until nothing changes. Joining blocks can make a parameter a constant: a division by it must not
//! stay behind a branch that is never taken, since the kernel takes no such instruction.

use crate::ir::Function;

use super::{fold, merge};

pub fn run(function: &mut Function) {
    // Both have their turn, whatever the first says.
    while fold::run(function) | merge::run(function) {}
}
