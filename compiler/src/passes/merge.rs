//! Joins blocks: a block that one jump leads to becomes part of that one, and ways through empty blocks are cut short.

use crate::ir::{Block, BlockData, Function, Terminator};

use super::Replacements;

/// Says whether anything changed.
pub fn run(function: &mut Function) -> bool {
    skip_empty(function) | join(function) | clear_unreachable(function)
}

/// Where a block does nothing but jump on, those who lead to it lead to its target.
fn skip_empty(function: &mut Function) -> bool {
    let mut is_changed = false;
    for number in 0..function.blocks.len() {
        let mut terminator = function.blocks[number].terminator.take();
        let mut skip = |to: &mut Block| {
            let end = through(function, *to);
            is_changed |= *to != end;
            *to = end;
        };
        match &mut terminator {
            Some(Terminator::Branch { then, otherwise, .. }) => {
                skip(then);
                skip(otherwise);
            }
            Some(Terminator::Jump { to, arguments }) if arguments.is_empty() => skip(to),
            Some(Terminator::Jump { .. } | Terminator::Return(_)) | None => {}
        }
        function.blocks[number].terminator = terminator;
    }
    is_changed
}

/// The block that is reached from `block` without doing anything or passing a value.
fn through(function: &Function, mut block: Block) -> Block {
    for _ in 0..function.blocks.len() {
        let data = &function.blocks[block.index()];
        match &data.terminator {
            Some(Terminator::Jump { to, arguments })
                if data.insts.is_empty()
                    && data.params.is_empty()
                    && arguments.is_empty()
                    && block != function.entry() =>
            {
                block = *to;
            }
            _ => return block,
        }
    }
    block
}

fn join(function: &mut Function) -> bool {
    let mut is_changed = false;
    let mut replacements = Replacements::new(function);
    let order = function.reverse_postorder();
    let mut reachable = vec![false; function.blocks.len()];
    // How many ways lead into each block. Joining two blocks changes neither these numbers nor what can be reached.
    let mut entries = vec![0; function.blocks.len()];
    for block in &order {
        reachable[block.index()] = true;
        for to in function.successors(*block) {
            entries[to.index()] += 1;
        }
    }
    for number in 0..function.blocks.len() {
        let from = Block(number as u32);
        while let Some(Terminator::Jump { to, arguments }) = &function.blocks[number].terminator {
            let to = *to;
            if to == from || to == function.entry() || entries[to.index()] != 1 || !reachable[number] {
                break;
            }
            let arguments = arguments.clone();
            is_changed = true;
            let mut joined = std::mem::take(&mut function.blocks[to.index()]);
            reachable[to.index()] = false;
            for (param, argument) in joined.params.iter().zip(arguments) {
                replacements.set(*param, replacements.get(argument));
            }
            let data = &mut function.blocks[number];
            data.insts.append(&mut joined.insts);
            data.terminator = joined.terminator;
            data.span = joined.span;
        }
    }
    is_changed | replacements.apply(function)
}

fn clear_unreachable(function: &mut Function) -> bool {
    let mut is_changed = false;
    let mut reachable = vec![false; function.blocks.len()];
    for block in function.reverse_postorder() {
        reachable[block.index()] = true;
    }
    for (number, block) in function.blocks.iter_mut().enumerate() {
        if !reachable[number] && *block != BlockData::default() {
            *block = BlockData::default();
            is_changed = true;
        }
    }
    is_changed
}
