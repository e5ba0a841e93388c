//! Takes out what nothing uses: computations without an effect, and parameters that are never read. An atomic addition
//! whose old value nobody asks for becomes a plain one.

use rtrace_lang::calls;

use crate::ir::{Function, InstKind, Terminator, Value};

/// Helpers that are called for their answer alone.
const PURE_HELPERS: &[u32] = &[
    calls::GET_CURRENT_PID_TGID,
    calls::GET_CURRENT_UID_GID,
    calls::GET_CURRENT_TASK,
    calls::GET_CURRENT_CGROUP_ID,
    calls::GET_SMP_PROCESSOR_ID,
    calls::GET_NUMA_NODE_ID,
    calls::GET_ATTACH_COOKIE,
    calls::KTIME_GET_NS,
    calls::KTIME_GET_BOOT_NS,
    calls::KTIME_GET_TAI_NS,
    calls::GET_PRANDOM_U32,
    calls::JIFFIES64,
    calls::MAP_LOOKUP_ELEM,
];

pub fn run(function: &mut Function) {
    let order = function.reverse_postorder();
    let mut reachable = vec![false; function.blocks.len()];
    for block in &order {
        reachable[block.index()] = true;
    }
    // Values that are needed, from those that instructions with an effect read.
    let mut needed = vec![false; function.values.len()];
    let mut work: Vec<Value> = function.scratch.into_iter().collect();
    let mut maker: Vec<Option<InstKind>> = vec![None; function.values.len()];
    let predecessors = function.predecessors();
    let mut param_of = vec![None; function.values.len()];
    for &block in &order {
        let data = &function.blocks[block.index()];
        for (number, param) in data.params.iter().enumerate() {
            param_of[param.index()] = Some((block, number));
        }
        for inst in &data.insts {
            if has_effect(&inst.kind) {
                inst.kind.for_each_use(|value| work.push(value));
            }
            if let Some(result) = inst.result {
                maker[result.index()] = Some(inst.kind.clone());
            }
        }
        match &data.terminator {
            Some(Terminator::Branch { left, right, .. }) => work.extend([*left, *right]),
            Some(Terminator::Return(value)) => work.push(*value),
            Some(Terminator::Jump { .. }) | None => {}
        }
    }
    while let Some(value) = work.pop() {
        if std::mem::replace(&mut needed[value.index()], true) {
            continue;
        }
        if let Some(kind) = &maker[value.index()] {
            kind.for_each_use(|value| work.push(value));
        }
        if let Some((block, number)) = param_of[value.index()] {
            for from in &predecessors[block.index()] {
                if let (true, Some(Terminator::Jump { arguments, .. })) =
                    (reachable[from.index()], &function.blocks[from.index()].terminator)
                {
                    work.push(arguments[number]);
                }
            }
        }
    }
    let kept: Vec<Vec<bool>> =
        function.blocks.iter().map(|block| block.params.iter().map(|param| needed[param.index()]).collect()).collect();
    for block in &mut function.blocks {
        block.params.retain(|param| needed[param.index()]);
        block.insts.retain(|inst| has_effect(&inst.kind) || inst.result.is_some_and(|result| needed[result.index()]));
        for inst in &mut block.insts {
            if let (InstKind::AtomicFetchAdd { base, offset, value }, Some(result)) = (&inst.kind, inst.result)
                && !needed[result.index()]
            {
                inst.kind = InstKind::AtomicAdd { base: *base, offset: *offset, value: *value };
                inst.result = None;
            }
        }
        if let Some(Terminator::Jump { to, arguments }) = &mut block.terminator {
            let kept = &kept[to.index()];
            let mut number = 0;
            arguments.retain(|_| {
                number += 1;
                kept[number - 1]
            });
        }
    }
}

fn has_effect(kind: &InstKind) -> bool {
    match kind {
        InstKind::Store { .. }
        | InstKind::AtomicAdd { .. }
        | InstKind::AtomicFetchAdd { .. }
        | InstKind::CallSubprogram { .. }
        | InstKind::Checkpoint => true,
        InstKind::Call { helper, .. } => !PURE_HELPERS.contains(helper),
        // The context is where the allocator finds its register: it stays at the entry.
        InstKind::Context | InstKind::Parameter(_) => true,
        InstKind::Const(_)
        | InstKind::Binary { .. }
        | InstKind::Extend { .. }
        | InstKind::ByteSwap { .. }
        | InstKind::Bounded { .. }
        | InstKind::PointerAdd { .. }
        | InstKind::Address(_)
        | InstKind::Owned(_)
        | InstKind::Load { .. }
        | InstKind::LoadObject { .. }
        | InstKind::Callback(_)
        | InstKind::StackAddress { .. }
        | InstKind::Map(_)
        | InstKind::MapValueAddress { .. } => false,
    }
}
