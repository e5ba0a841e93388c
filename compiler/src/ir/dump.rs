//! A function as text, one instruction a line.

use std::fmt::Write;

use super::{Function, InstKind, Terminator, Value, ValueKind};

pub fn dump(function: &Function) -> String {
    let mut out = format!("function {} stack {}\n", function.name, function.stack_bytes);
    for block in function.reverse_postorder() {
        let data = &function.blocks[block.index()];
        let params: Vec<String> = data
            .params
            .iter()
            .map(|value| match function.kind(*value) {
                ValueKind::Int => format!("v{}", value.0),
                kind => format!("v{}: {kind:?}", value.0),
            })
            .collect();
        let _ = writeln!(out, "b{}({}):", block.0, params.join(", "));
        for inst in &data.insts {
            let result = inst.result.map_or(String::new(), |value| format!("v{} = ", value.0));
            let _ = writeln!(out, "    {result}{}", text(&inst.kind));
        }
        let _ = match &data.terminator {
            Some(Terminator::Jump { to, arguments }) => writeln!(out, "    jump b{}({})", to.0, list(arguments)),
            Some(Terminator::Branch { op, left, right, then, otherwise }) => {
                writeln!(out, "    if v{} {} v{} b{} else b{}", left.0, op.symbol(), right.0, then.0, otherwise.0)
            }
            Some(Terminator::Return(value)) => writeln!(out, "    return v{}", value.0),
            None => writeln!(out, "    (open)"),
        };
    }
    for inner in function.callbacks.iter().chain(&function.subprograms) {
        out.push_str(&dump(inner));
    }
    out
}

fn list(values: &[Value]) -> String {
    values.iter().map(|value| format!("v{}", value.0)).collect::<Vec<_>>().join(", ")
}

fn text(kind: &InstKind) -> String {
    let sign = |signed: bool| if signed { "s" } else { "u" };
    match kind {
        InstKind::Const(value) => value.to_string(),
        InstKind::Binary { op, left, right } => format!("v{} {} v{}", left.0, op.symbol(), right.0),
        InstKind::Extend { value, bytes, signed } => {
            format!("extend {}{} v{}", sign(*signed), u32::from(*bytes) * 8, value.0)
        }
        InstKind::ByteSwap { value, bytes } => format!("swap{} v{}", u32::from(*bytes) * 8, value.0),
        InstKind::Bounded { value, most } => format!("bounded v{} {most}", value.0),
        InstKind::PointerAdd { pointer, offset } => format!("pointer v{} + v{}", pointer.0, offset.0),
        InstKind::Address(pointer) => format!("address v{}", pointer.0),
        InstKind::Owned(pointer) => format!("owned v{}", pointer.0),
        InstKind::Load { base, offset, bytes, signed } => {
            format!("load {}{} [v{} + {offset}]", sign(*signed), u32::from(*bytes) * 8, base.0)
        }
        InstKind::LoadObject { base, offset } => format!("load object [v{} + {offset}]", base.0),
        InstKind::Store { base, offset, bytes, value } => {
            format!("store {} [v{} + {offset}], v{}", u32::from(*bytes) * 8, base.0, value.0)
        }
        InstKind::AtomicAdd { base, offset, value } => format!("atomic add [v{} + {offset}], v{}", base.0, value.0),
        InstKind::AtomicFetchAdd { base, offset, value } => {
            format!("atomic fetch add [v{} + {offset}], v{}", base.0, value.0)
        }
        InstKind::Context => "context".to_string(),
        InstKind::Parameter(number) => format!("parameter {number}"),
        InstKind::Callback(number) => format!("callback {number}"),
        InstKind::StackAddress { offset } => format!("stack + {offset}"),
        InstKind::Map(map) => format!("map {}", map.0),
        InstKind::MapValueAddress { map, offset } => format!("map {} value + {offset}", map.0),
        InstKind::Call { helper, arguments } => format!("call {helper}({})", list(arguments)),
        InstKind::Checkpoint => "checkpoint".to_owned(),
        InstKind::CallSubprogram { number, arguments } => format!("call subprogram {number}({})", list(arguments)),
    }
}
