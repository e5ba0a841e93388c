//! Instructions of the machine before registers are known: what `select` makes, `regalloc` reads and `encode` writes.

use rtrace_lang::hir::BinaryOp;
use rtrace_lang::span::Span;
use smallvec::{SmallVec, smallvec};

use crate::ir::MapRef;

/// A virtual register.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Register(pub u32);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    Register(Register),
    Immediate(i32),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Base {
    Register(Register),
    /// Bytes above the lowest stack slot.
    Stack(u32),
}

/// Arithmetic of the machine (Documentation/bpf/standardization/instruction-set.rst), 64 bits wide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AluOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Or,
    And,
    ShiftLeft,
    ShiftRight,
    Remainder,
    Xor,
    ArithmeticShiftRight,
}

/// The registers that a call or a jump takes; without memory of their own up to what a helper takes.
pub type Registers = SmallVec<[Register; 5]>;

/// What a call goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Callee {
    /// The kernel's helper of that number.
    Helper(u32),
    /// The program's own function of that number.
    Subprogram(u32),
}

#[derive(Clone, PartialEq, Debug)]
pub enum MachineKind {
    /// What the function is called with: parameter n, counted from 0, arrives in r(n + 1).
    Parameters {
        to: Vec<(u8, Register)>,
    },
    /// One of the function's callbacks.
    Callback {
        to: Register,
        number: u32,
    },
    Immediate {
        to: Register,
        value: i64,
    },
    Map {
        to: Register,
        map: MapRef,
    },
    MapValue {
        to: Register,
        map: MapRef,
        offset: u32,
    },
    StackAddress {
        to: Register,
        offset: u32,
    },
    Move {
        to: Register,
        from: Register,
    },
    /// `to` is the register of `left`.
    Alu {
        op: AluOp,
        to: Register,
        left: Register,
        right: Source,
    },
    /// `to` is the register of `from`.
    ByteSwap {
        to: Register,
        from: Register,
        bytes: u8,
    },
    /// `to` is the register of `from`, which is `most` at most.
    Bounded {
        to: Register,
        from: Register,
        most: u32,
    },
    /// The low 32 bits, zero-extended.
    Low32 {
        to: Register,
        from: Register,
    },
    /// 1 if the comparison holds, else 0.
    SetIf {
        op: BinaryOp,
        to: Register,
        left: Register,
        right: Source,
    },
    Load {
        to: Register,
        base: Base,
        offset: i16,
        bytes: u8,
    },
    Store {
        base: Base,
        offset: i16,
        bytes: u8,
        value: Source,
    },
    AtomicAdd {
        base: Base,
        offset: i16,
        value: Register,
    },
    /// `to` is the register of `value`.
    AtomicFetchAdd {
        to: Register,
        base: Base,
        offset: i16,
        value: Register,
    },
    Call {
        callee: Callee,
        to: Register,
        arguments: Registers,
    },
    /// Instructions that set `to`, which nothing reads.
    Checkpoint {
        to: Register,
    },
    Jump {
        to: usize,
        arguments: Registers,
    },
    Branch {
        op: BinaryOp,
        left: Register,
        right: Source,
        then: usize,
        otherwise: usize,
    },
    Return {
        value: Register,
    },
}

#[derive(Clone, PartialEq, Debug)]
pub struct MachineInst {
    pub kind: MachineKind,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct MachineBlock {
    pub params: Vec<Register>,
    pub insts: Vec<MachineInst>,
}

/// Blocks in the order in which they are laid out; the first is the entry. Edges from a block with several successors to
/// one with several predecessors do not occur.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct MachineFunction {
    pub blocks: Vec<MachineBlock>,
    pub registers: u32,
    /// Bytes of stack that slots take.
    pub stack_bytes: u32,
}

impl MachineKind {
    pub fn successors(&self) -> SmallVec<[usize; 2]> {
        match self {
            MachineKind::Jump { to, .. } => smallvec![*to],
            MachineKind::Branch { then, otherwise, .. } => smallvec![*then, *otherwise],
            _ => SmallVec::new(),
        }
    }
}
