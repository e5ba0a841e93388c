//! What holds in every function between two passes. A breach is a bug of rtrace, never the user's.
//!
//! - Block 0 is the entry, has no parameters and no predecessors.
//! - Every block that can be reached ends in exactly one terminator; jumps pass as many arguments as the target has
//!   parameters; targets of branches take none.
//! - Every value is defined once, and its definition dominates each use.
//! - Loads, stores and atomics have a base that is a pointer: a nullable one is tested before, and a number never is a
//!   base. Contexts and kernel objects are never stored to.
//! - Constant shifts are below 64 and constant divisors are not zero; there is no signed division.
//! - Of memory that becomes the program's own (`Owned`), nothing but the first word, which marks it, is used by its earlier address.
//! - A helper takes at most five arguments.
//! - Parameters stand at the start of the entry; a callback or subprogram that is named is there.
//! - Stack slots lie within the function's stack, and that within the kernel's limit.

use rtrace_lang::hir::BinaryOp;
use rtrace_lang::limits::BPF_STACK_BYTES;

use super::{Block, Function, InstKind, Memory, Terminator, Value, ValueKind};

/// The first breach found, in words.
pub fn verify(program: &Function) -> Result<(), String> {
    verify_one(program, program.subprograms.len())?;
    program.subprograms.iter().try_for_each(|function| verify_one(function, program.subprograms.len()))
}

/// A function of a program that has so many subprograms.
fn verify_one(function: &Function, subprograms: usize) -> Result<(), String> {
    function.callbacks.iter().try_for_each(|callback| verify_one(callback, subprograms))?;
    let at = |block: Block, what: String| Err(format!("{}, b{}: {what}", function.name, block.0));
    if function.stack_bytes > BPF_STACK_BYTES {
        return Err(format!("{}: {} bytes of stack", function.name, function.stack_bytes));
    }
    let order = function.reverse_postorder();
    let predecessors = function.predecessors();
    if !function.blocks[0].params.is_empty() || !predecessors[0].is_empty() {
        return at(Block(0), "the entry has parameters or predecessors".to_string());
    }
    // Where each value is defined: its block and its number there, parameters first.
    let mut defined: Vec<Option<(Block, usize)>> = vec![None; function.values.len()];
    let mut constants: Vec<Option<i64>> = vec![None; function.values.len()];
    for &block in &order {
        let data = &function.blocks[block.index()];
        let params = data.params.iter().map(|value| (0, *value));
        let results = data.insts.iter().enumerate().filter_map(|(n, inst)| Some((n + 1, inst.result?)));
        for (number, value) in params.chain(results) {
            if value.index() >= defined.len() || defined[value.index()].replace((block, number)).is_some() {
                return at(block, format!("v{} is defined twice or has no kind", value.0));
            }
        }
        for inst in &data.insts {
            if let (InstKind::Const(n), Some(value)) = (&inst.kind, inst.result) {
                constants[value.index()] = Some(*n);
            }
        }
    }
    if let Some((block, value)) = used_before_owned(function, &order) {
        return at(block, format!("what v{} points to is used before it is owned", value.0));
    }
    let dominators = function.dominators();
    let dominates = |a: Block, mut b: Block| loop {
        if a == b {
            return true;
        }
        match dominators[b.index()] {
            Some(up) if up != b => b = up,
            _ => return false,
        }
    };
    let check_use = |block: Block, number: usize, value: Value| -> Result<(), String> {
        match defined.get(value.index()).copied().flatten() {
            Some((home, at)) if home == block && at < number => Ok(()),
            Some((home, _)) if home != block && dominates(home, block) => Ok(()),
            _ => Err(format!("{}, b{}: v{} is used before it is defined", function.name, block.0, value.0)),
        }
    };
    for &block in &order {
        let data = &function.blocks[block.index()];
        for (number, inst) in data.insts.iter().enumerate() {
            let mut result = Ok(());
            inst.kind.for_each_use(|value| {
                if result.is_ok() {
                    result = check_use(block, number + 1, value);
                }
            });
            result?;
            if let Err(what) = check_inst(function, subprograms, &constants, &inst.kind) {
                return at(block, what);
            }
        }
        let Some(terminator) = &data.terminator else { return at(block, "has no end".to_string()) };
        let mut result = Ok(());
        terminator.for_each_use(|value| {
            if result.is_ok() {
                result = check_use(block, data.insts.len() + 1, value);
            }
        });
        result?;
        match terminator {
            Terminator::Jump { to, arguments } => {
                let params = &function.blocks[to.index()].params;
                if arguments.len() != params.len() {
                    return at(
                        block,
                        format!("{} arguments for {} parameters of b{}", arguments.len(), params.len(), to.0),
                    );
                }
            }
            Terminator::Branch { then, otherwise, .. } => {
                for to in [then, otherwise] {
                    if !function.blocks[to.index()].params.is_empty() {
                        return at(block, format!("a branch to b{}, which takes parameters", to.0));
                    }
                }
            }
            Terminator::Return(_) => {}
        }
    }
    Ok(())
}

/// An address of memory that is not the program's own yet, where more than its mark is used.
fn used_before_owned(function: &Function, order: &[Block]) -> Option<(Block, Value)> {
    let insts =
        || order.iter().flat_map(|block| function.blocks[block.index()].insts.iter().map(|inst| (*block, inst)));
    let owned: Vec<Value> = insts()
        .filter_map(|(_, inst)| if let InstKind::Owned(value) = inst.kind { Some(value) } else { None })
        .collect();
    insts().find_map(|(block, inst)| match inst.kind {
        InstKind::Load { base, offset: 1.., .. }
        | InstKind::Store { base, offset: 1.., .. }
        | InstKind::AtomicAdd { base, offset: 1.., .. }
        | InstKind::AtomicFetchAdd { base, offset: 1.., .. }
        | InstKind::PointerAdd { pointer: base, .. } => owned.contains(&base).then_some((block, base)),
        _ => None,
    })
}

fn check_inst(
    function: &Function,
    subprograms: usize,
    constants: &[Option<i64>],
    kind: &InstKind,
) -> Result<(), String> {
    let base = |value: Value, stored: bool| match function.kind(value) {
        ValueKind::Pointer(Memory::Context | Memory::Object | Memory::MapKey) if stored => {
            Err(format!("a store through v{}", value.0))
        }
        // A tested pointer keeps its kind; that it was tested is the kernel verifier's to prove.
        ValueKind::Pointer(_) | ValueKind::Nullable(_) => Ok(()),
        ValueKind::Int | ValueKind::Map | ValueKind::Callback => Err(format!("v{} is no pointer", value.0)),
    };
    match kind {
        InstKind::Load { base: value, .. } | InstKind::LoadObject { base: value, .. } => base(*value, false),
        InstKind::Store { base: value, .. }
        | InstKind::AtomicAdd { base: value, .. }
        | InstKind::AtomicFetchAdd { base: value, .. } => base(*value, true),
        InstKind::PointerAdd { pointer, .. } => base(*pointer, false),
        InstKind::Binary { op, right, .. } => {
            let constant = constants[right.index()];
            match op {
                BinaryOp::DivideSigned | BinaryOp::RemainderSigned => Err("a signed division".to_string()),
                BinaryOp::DivideUnsigned | BinaryOp::RemainderUnsigned if constant == Some(0) => {
                    Err("a division by zero".to_string())
                }
                BinaryOp::ShiftLeft | BinaryOp::ShiftRightSigned | BinaryOp::ShiftRightUnsigned
                    if constant.is_some_and(|n| !(0..64).contains(&n)) =>
                {
                    Err("a shift by 64 or more".to_string())
                }
                _ => Ok(()),
            }
        }
        InstKind::Call { arguments, .. } if arguments.len() > 5 => Err("a call with six arguments".to_string()),
        InstKind::Callback(number) if *number as usize >= function.callbacks.len() => {
            Err(format!("callback {number} of {}", function.callbacks.len()))
        }
        InstKind::CallSubprogram { number, .. } if *number as usize >= subprograms => {
            Err(format!("subprogram {number} of {subprograms}"))
        }
        InstKind::StackAddress { offset } if *offset >= function.stack_bytes => {
            Err(format!("stack + {offset} of {}", function.stack_bytes))
        }
        InstKind::Const(_)
        | InstKind::Extend { .. }
        | InstKind::ByteSwap { .. }
        | InstKind::Bounded { .. }
        | InstKind::Address(_)
        | InstKind::Owned(_)
        | InstKind::Context
        | InstKind::Parameter(_)
        | InstKind::Callback(_)
        | InstKind::StackAddress { .. }
        | InstKind::Map(_)
        | InstKind::MapValueAddress { .. }
        | InstKind::Call { .. }
        | InstKind::CallSubprogram { .. }
        | InstKind::Checkpoint => Ok(()),
    }
}
