//! Common subexpressions: what was computed before on every way to a place is not computed again. Helper calls whose
//! answer cannot change while a program runs count as computations.

use std::collections::HashMap;

use rtrace_lang::calls;

use crate::ir::{Block, Function, InstKind, Memory, Value, ValueKind, Values};

use super::Replacements;

/// Helpers that give the same as long as the program runs.
const STEADY_HELPERS: &[u32] = &[
    calls::GET_CURRENT_PID_TGID,
    calls::GET_CURRENT_UID_GID,
    calls::GET_CURRENT_TASK,
    calls::GET_CURRENT_CGROUP_ID,
    calls::GET_SMP_PROCESSOR_ID,
    calls::GET_NUMA_NODE_ID,
    calls::GET_ATTACH_COOKIE,
];

/// A computation by what it depends on.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Const(i64),
    Binary(u8, Value, Value),
    Extend(Value, u8, bool),
    ByteSwap(Value, u8),
    PointerAdd(Value, Value),
    Address(Value),
    Load(Value, i32, u8, bool),
    LoadObject(Value, i32),
    StackAddress(u32),
    Map(u32),
    MapValueAddress(u32, u32),
    Call(u32, Values),
}

pub fn run(function: &mut Function) {
    let dominators = function.dominators();
    let order = function.reverse_postorder();
    let mut replacements = Replacements::new(function);
    // What is known at the end of each block, by the block that made it known.
    let mut known: HashMap<Block, HashMap<Key, Value>> = HashMap::new();
    for &block in &order {
        let mut here: HashMap<Key, Value> = HashMap::new();
        let mut data = std::mem::take(&mut function.blocks[block.index()]);
        for inst in &mut data.insts {
            replacements.rewrite(|get| inst.kind.map_uses(get));
            let (Some(result), Some(key)) = (inst.result, key(&inst.kind, function)) else { continue };
            match look_up(&key, block, &here, &known, &dominators) {
                Some(before) => replacements.set(result, before),
                None => {
                    here.insert(key, result);
                }
            }
        }
        function.blocks[block.index()] = data;
        known.insert(block, here);
    }
    replacements.apply(function);
}

fn look_up(
    key: &Key,
    block: Block,
    here: &HashMap<Key, Value>,
    known: &HashMap<Block, HashMap<Key, Value>>,
    dominators: &[Option<Block>],
) -> Option<Value> {
    if let Some(value) = here.get(key) {
        return Some(*value);
    }
    let mut at = block;
    while let Some(up) = dominators[at.index()].filter(|up| *up != at) {
        if let Some(value) = known.get(&up).and_then(|values| values.get(key)) {
            return Some(*value);
        }
        at = up;
    }
    None
}

fn key(kind: &InstKind, function: &Function) -> Option<Key> {
    Some(match kind {
        InstKind::Const(n) => Key::Const(*n),
        InstKind::Binary { op, left, right } => Key::Binary(*op as u8, *left, *right),
        InstKind::Extend { value, bytes, signed } => Key::Extend(*value, *bytes, *signed),
        InstKind::ByteSwap { value, bytes } => Key::ByteSwap(*value, *bytes),
        InstKind::PointerAdd { pointer, offset } => Key::PointerAdd(*pointer, *offset),
        InstKind::Address(value) => Key::Address(*value),
        // The context and kernel objects behind it do not change while a program runs; other memory does.
        InstKind::Load { base, offset, bytes, signed } => match function.kind(*base) {
            ValueKind::Pointer(Memory::Context | Memory::Object) => Key::Load(*base, *offset, *bytes, *signed),
            _ => return None,
        },
        InstKind::LoadObject { base, offset } => Key::LoadObject(*base, *offset),
        InstKind::StackAddress { offset } => Key::StackAddress(*offset),
        InstKind::Map(map) => Key::Map(map.0),
        InstKind::MapValueAddress { map, offset } => Key::MapValueAddress(map.0, *offset),
        InstKind::Call { helper, arguments } if STEADY_HELPERS.contains(helper) => {
            Key::Call(*helper, arguments.clone())
        }
        // Right before its use, or the bounds are forgotten on the way.
        InstKind::Bounded { .. }
        | InstKind::Owned(_)
        | InstKind::Context
        | InstKind::Parameter(_)
        | InstKind::Callback(_)
        | InstKind::Store { .. }
        | InstKind::AtomicAdd { .. }
        | InstKind::AtomicFetchAdd { .. }
        | InstKind::Call { .. }
        | InstKind::CallSubprogram { .. }
        | InstKind::Checkpoint => return None,
    })
}
