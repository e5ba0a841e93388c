//! Takes out callbacks that nothing names any more: the kernel takes no function that is never called.

use crate::ir::{Function, InstKind};

pub fn run(function: &mut Function) {
    let order = function.reverse_postorder();
    let mut new_number: Vec<Option<u32>> = vec![None; function.callbacks.len()];
    for block in &order {
        for inst in &function.blocks[block.index()].insts {
            if let InstKind::Callback(number) = inst.kind {
                new_number[number as usize] = Some(0);
            }
        }
    }
    for (next, number) in new_number.iter_mut().flatten().enumerate() {
        *number = next as u32;
    }
    let mut at = 0;
    function.callbacks.retain(|_| {
        at += 1;
        new_number[at - 1].is_some()
    });
    for block in &mut function.blocks {
        for inst in &mut block.insts {
            if let InstKind::Callback(number) = &mut inst.kind {
                *number = new_number[*number as usize].unwrap_or(0);
            }
        }
    }
}
