//! Constants and identities: what is known is computed here, branches that are decided become jumps.

use rtrace_lang::hir::BinaryOp;

use crate::ir::{Function, InstKind, Terminator, Value, Values};

use super::Replacements;

/// Says whether anything changed.
pub fn run(function: &mut Function) -> bool {
    let mut is_changed = false;
    let mut replacements = Replacements::new(function);
    // How each value was made, as far as it matters here.
    let mut made: Vec<Option<InstKind>> = vec![None; function.values.len()];
    for block in function.reverse_postorder() {
        let data = &mut function.blocks[block.index()];
        for inst in &mut data.insts {
            is_changed |= replacements.rewrite(|get| inst.kind.map_uses(get));
            let Some(result) = inst.result else { continue };
            match simplify(&inst.kind, &made) {
                Simplified::Same => {}
                Simplified::Value(value) => {
                    replacements.set(result, value);
                    continue;
                }
                Simplified::Kind(kind) => (inst.kind, is_changed) = (kind, true),
            }
            made[result.index()] = Some(inst.kind.clone());
        }
        if let Some(terminator) = &mut data.terminator {
            is_changed |= replacements.rewrite(|get| terminator.map_uses(get));
            is_changed |= simplify_branch(terminator, &made);
        }
    }
    is_changed | replacements.apply(function)
}

enum Simplified {
    Same,
    Value(Value),
    Kind(InstKind),
}

fn constant(value: Value, made: &[Option<InstKind>]) -> Option<i64> {
    match made[value.index()] {
        Some(InstKind::Const(n)) => Some(n),
        _ => None,
    }
}

fn simplify(kind: &InstKind, made: &[Option<InstKind>]) -> Simplified {
    match kind {
        InstKind::Binary { op, left, right } => {
            let (a, b) = (constant(*left, made), constant(*right, made));
            if let (Some(a), Some(b)) = (a, b) {
                return Simplified::Kind(InstKind::Const(op.apply(a, b)));
            }
            // x + 0 and its kin; commutative operations keep their constant on the right.
            let Some(b) = b else {
                return match (op, a) {
                    (
                        BinaryOp::Add | BinaryOp::Multiply | BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor,
                        Some(_),
                    ) => Simplified::Kind(InstKind::Binary { op: *op, left: *right, right: *left }),
                    _ => Simplified::Same,
                };
            };
            match (op, b) {
                (
                    BinaryOp::Add
                    | BinaryOp::Subtract
                    | BinaryOp::BitOr
                    | BinaryOp::BitXor
                    | BinaryOp::ShiftLeft
                    | BinaryOp::ShiftRightSigned
                    | BinaryOp::ShiftRightUnsigned,
                    0,
                )
                | (BinaryOp::Multiply | BinaryOp::DivideUnsigned, 1)
                | (BinaryOp::BitAnd, -1) => Simplified::Value(*left),
                (BinaryOp::Multiply | BinaryOp::BitAnd, 0) => Simplified::Kind(InstKind::Const(0)),
                (BinaryOp::RemainderUnsigned, 1) => Simplified::Kind(InstKind::Const(0)),
                _ => reassociate(*op, *left, b, made),
            }
        }
        InstKind::Extend { value, bytes, signed } => match constant(*value, made) {
            Some(n) => {
                let shift = 64 - u32::from(*bytes) * 8;
                let n = if *signed { n << shift >> shift } else { ((n as u64) << shift >> shift) as i64 };
                Simplified::Kind(InstKind::Const(n))
            }
            None => match &made[value.index()] {
                // A narrow unsigned load is extended already.
                Some(InstKind::Load { bytes: loaded, signed: false, .. })
                    if loaded <= bytes && (!signed || loaded < bytes) =>
                {
                    Simplified::Value(*value)
                }
                _ => Simplified::Same,
            },
        },
        InstKind::PointerAdd { pointer, offset } if constant(*offset, made) == Some(0) => Simplified::Value(*pointer),
        InstKind::ByteSwap { value, bytes } => match constant(*value, made) {
            Some(n) => {
                let swapped = (n as u64).swap_bytes() >> (64 - u32::from(*bytes) * 8);
                Simplified::Kind(InstKind::Const(swapped as i64))
            }
            None => Simplified::Same,
        },
        InstKind::Const(_)
        | InstKind::Bounded { .. }
        | InstKind::PointerAdd { .. }
        | InstKind::Address(_)
        | InstKind::Owned(_)
        | InstKind::Load { .. }
        | InstKind::LoadObject { .. }
        | InstKind::Store { .. }
        | InstKind::AtomicAdd { .. }
        | InstKind::AtomicFetchAdd { .. }
        | InstKind::Context
        | InstKind::Parameter(_)
        | InstKind::Callback(_)
        | InstKind::StackAddress { .. }
        | InstKind::Map(_)
        | InstKind::MapValueAddress { .. }
        | InstKind::Call { .. }
        | InstKind::CallSubprogram { .. }
        | InstKind::Checkpoint => Simplified::Same,
    }
}

/// The negation of a comparison: `(a == b) == 0` and the like. Multiplications by powers of two would need a new
/// constant, which only the instruction selection makes.
fn reassociate(op: BinaryOp, left: Value, right: i64, made: &[Option<InstKind>]) -> Simplified {
    let Some(InstKind::Binary { op: inner, left: a, right: b }) = &made[left.index()] else { return Simplified::Same };
    if !inner.is_comparison() {
        return Simplified::Same;
    }
    match (op, right) {
        (BinaryOp::NotEqual, 0) | (BinaryOp::Equal, 1) => Simplified::Value(left),
        (BinaryOp::Equal, 0) => {
            let (op, a, b) = negate(*inner, *a, *b);
            Simplified::Kind(InstKind::Binary { op, left: a, right: b })
        }
        _ => Simplified::Same,
    }
}

/// The comparison that holds where this one does not.
fn negate(op: BinaryOp, a: Value, b: Value) -> (BinaryOp, Value, Value) {
    match op {
        BinaryOp::Equal => (BinaryOp::NotEqual, a, b),
        BinaryOp::NotEqual => (BinaryOp::Equal, a, b),
        BinaryOp::LessSigned => (BinaryOp::LessEqualSigned, b, a),
        BinaryOp::LessUnsigned => (BinaryOp::LessEqualUnsigned, b, a),
        BinaryOp::LessEqualSigned => (BinaryOp::LessSigned, b, a),
        BinaryOp::LessEqualUnsigned => (BinaryOp::LessUnsigned, b, a),
        _ => unreachable!("only comparisons are negated"),
    }
}

/// Says whether the branch changed.
fn simplify_branch(terminator: &mut Terminator, made: &[Option<InstKind>]) -> bool {
    let Terminator::Branch { op, left, right, then, otherwise } = terminator else { return false };
    let mut is_changed = false;
    // `if (a < b) != 0` compares directly.
    if let (BinaryOp::Equal | BinaryOp::NotEqual, Some(0)) = (&*op, constant(*right, made))
        && let Some(InstKind::Binary { op: inner, left: a, right: b }) = &made[left.index()]
        && inner.is_comparison()
    {
        if *op == BinaryOp::Equal {
            std::mem::swap(then, otherwise);
        }
        (*op, *left, *right) = (*inner, *a, *b);
        is_changed = true;
    }
    if let (Some(a), Some(b)) = (constant(*left, made), constant(*right, made)) {
        let to = if op.apply(a, b) != 0 { *then } else { *otherwise };
        *terminator = Terminator::Jump { to, arguments: Values::new() };
        is_changed = true;
    } else if then == otherwise {
        *terminator = Terminator::Jump { to: *then, arguments: Values::new() };
        is_changed = true;
    }
    is_changed
}
