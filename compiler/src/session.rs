//! Two programs as one that a single attachment runs at the entries and at the returns of functions: it asks the kernel which of
//! both it is, and calls the one that is meant. Knows no program's content.

use rtrace_lang::hir::BinaryOp;
use rtrace_lang::span::Span;
use rtrace_lang::target::{MultiKind, ProgramKind};

use crate::encode::{ALU64, CALL, EXIT, JMP, MOV, PSEUDO_CALL, PSEUDO_KERNEL_CALL, X, alu_code, jump_code, word};
use crate::machine::AluOp;
use crate::object::{Depth, FunctionStart, ProgramObject, Relocation};

/// Instructions before the two programs.
const OWN: u32 = 11;

/// What the kernel counts of the stack for a function that uses none.
const OWN_DEPTH: Depth = Depth { functions: 1, bytes: 32 };

/// Joins the program of the entries and that of the returns. `is_return` is the number of the kernel's function that tells them
/// apart. An error is one of size, in words.
pub fn join(
    entries: ProgramObject,
    returns: ProgramObject,
    is_return: u32,
    span: Span,
) -> Result<ProgramObject, String> {
    let depth = entries.depth.max(returns.depth).below(OWN_DEPTH);
    depth.check()?;
    let (first, second) = (OWN, OWN + entries.instructions.len() as u32);
    let calls = |at: u32, start: u32| word(JMP | CALL, 0, PSEUDO_CALL, 0, start as i32 - at as i32 - 1);
    let zero = word(ALU64 | MOV, 0, 0, 0, 0);
    let exit = word(JMP | EXIT, 0, 0, 0, 0);
    let own: [u64; OWN as usize] = [
        word(ALU64 | MOV | X, 6, 1, 0, 0),
        // It takes the context where it takes anything, and gives a byte.
        word(JMP | CALL, 0, PSEUDO_KERNEL_CALL, 0, is_return as i32),
        word(ALU64 | MOV | X, 1, 6, 0, 0),
        word(ALU64 | alu_code(AluOp::And), 0, 0, 0, 0xff),
        word(JMP | jump_code(BinaryOp::Equal), 0, 0, 3, 0),
        calls(5, second),
        zero,
        exit,
        calls(8, first),
        // Anything else would keep the return from the program.
        zero,
        exit,
    ];
    let mut joined = ProgramObject {
        name: entries.name.clone(),
        kind: ProgramKind::Kprobe { multi: MultiKind::KprobeSession, user: false },
        sites: Vec::new(),
        wants_cookie: entries.wants_cookie || returns.wants_cookie,
        depth,
        instructions: own.to_vec(),
        relocations: Vec::new(),
        lines: vec![(0, span)],
        functions: vec![FunctionStart { instruction: 0, name: entries.name.clone(), is_global: false }],
    };
    for (program, start) in [(entries, first), (returns, second)] {
        joined.sites.extend(program.sites);
        joined.instructions.extend(program.instructions);
        joined.lines.extend(program.lines.into_iter().map(|(at, span)| (start + at, span)));
        let moved = |relocation: Relocation| Relocation { instruction: start + relocation.instruction, ..relocation };
        joined.relocations.extend(program.relocations.into_iter().map(moved));
        let moved = |function: FunctionStart| FunctionStart { instruction: start + function.instruction, ..function };
        joined.functions.extend(program.functions.into_iter().map(moved));
    }
    Ok(joined)
}
