//! Ir to machine instructions: constants and addresses are made where they are used, so that they hold no register; what
//! the machine lacks is spelled out. Knows no physical register.

use std::collections::HashMap;

use rtrace_lang::hir::BinaryOp;
use rtrace_lang::span::Span;
use smallvec::SmallVec;

use crate::ir::{Block, Function, InstKind, MapRef, Terminator, Value};
use crate::machine::{
    AluOp, Base, Callee, MachineBlock, MachineFunction, MachineInst, MachineKind, Register, Registers, Source,
};

pub fn select(function: &Function) -> MachineFunction {
    let order = function.reverse_postorder();
    let mut number = HashMap::new();
    for (n, block) in order.iter().enumerate() {
        number.insert(*block, n);
    }
    let mut select = Select {
        number,
        cheap: vec![None; function.values.len()],
        out: MachineFunction {
            blocks: vec![MachineBlock::default(); order.len()],
            registers: function.values.len() as u32,
            stack_bytes: function.stack_bytes,
        },
        current: 0,
        span: Span::default(),
    };
    for &block in &order {
        for inst in &function.blocks[block.index()].insts {
            select.note_cheap(&inst.kind, inst.result);
        }
    }
    for (n, &block) in order.iter().enumerate() {
        select.current = n;
        let data = &function.blocks[block.index()];
        select.out.blocks[n].params = data.params.iter().map(|value| Register(value.0)).collect();
        for inst in &data.insts {
            select.span = inst.span;
            select.inst(&inst.kind, inst.result);
        }
        select.span = data.span;
        select.terminator(data.terminator.as_ref().expect("verified"));
    }
    split_critical_edges(&mut select.out);
    in_order(select.out)
}

/// A value that is made anew at each use.
#[derive(Clone, Copy)]
enum Cheap {
    Constant(i64),
    Stack(u32),
    Map(MapRef),
    MapValue(MapRef, u32),
    Callback(u32),
    /// A pointer and a constant offset from it.
    Offset(Value, i32),
}

struct Select {
    number: HashMap<Block, usize>,
    cheap: Vec<Option<Cheap>>,
    out: MachineFunction,
    current: usize,
    span: Span,
}

impl Select {
    fn note_cheap(&mut self, kind: &InstKind, result: Option<Value>) {
        let Some(result) = result else { return };
        self.cheap[result.index()] = match kind {
            InstKind::Const(n) => Some(Cheap::Constant(*n)),
            InstKind::StackAddress { offset } => Some(Cheap::Stack(*offset)),
            InstKind::Map(map) => Some(Cheap::Map(*map)),
            InstKind::Callback(number) => Some(Cheap::Callback(*number)),
            InstKind::MapValueAddress { map, offset } => Some(Cheap::MapValue(*map, *offset)),
            InstKind::PointerAdd { pointer, offset } => match (self.cheap[pointer.index()], self.cheap[offset.index()])
            {
                (Some(Cheap::Stack(base)), Some(Cheap::Constant(n))) => {
                    Some(Cheap::Stack((i64::from(base) + n) as u32))
                }
                (Some(Cheap::MapValue(map, base)), Some(Cheap::Constant(n))) => {
                    Some(Cheap::MapValue(map, (i64::from(base) + n) as u32))
                }
                (Some(Cheap::Offset(base, before)), Some(Cheap::Constant(n))) => {
                    i32::try_from(i64::from(before) + n).ok().map(|n| Cheap::Offset(base, n))
                }
                (None, Some(Cheap::Constant(n))) => i32::try_from(n).ok().map(|n| Cheap::Offset(*pointer, n)),
                _ => None,
            },
            _ => None,
        };
    }

    fn push(&mut self, kind: MachineKind) {
        self.out.blocks[self.current].insts.push(MachineInst { kind, span: self.span });
    }

    fn fresh(&mut self) -> Register {
        self.out.registers += 1;
        Register(self.out.registers - 1)
    }

    /// The value in a register.
    fn register(&mut self, value: Value) -> Register {
        let Some(cheap) = self.cheap[value.index()] else { return Register(value.0) };
        if let Cheap::Offset(base, offset) = cheap {
            let left = self.register(base);
            let to = self.fresh();
            self.push(MachineKind::Alu { op: AluOp::Add, to, left, right: Source::Immediate(offset) });
            return to;
        }
        let to = self.fresh();
        self.push(match cheap {
            Cheap::Constant(value) => MachineKind::Immediate { to, value },
            Cheap::Stack(offset) => MachineKind::StackAddress { to, offset },
            Cheap::Map(map) => MachineKind::Map { to, map },
            Cheap::Callback(number) => MachineKind::Callback { to, number },
            Cheap::MapValue(map, offset) => MachineKind::MapValue { to, map, offset },
            Cheap::Offset(..) => unreachable!("handled above"),
        });
        to
    }

    /// The value as an operand: small constants need no register.
    fn source(&mut self, value: Value) -> Source {
        if let Some(Cheap::Constant(n)) = self.cheap[value.index()]
            && let Ok(n) = i32::try_from(n)
        {
            return Source::Immediate(n);
        }
        Source::Register(self.register(value))
    }

    /// The base and offset of an access.
    fn address(&mut self, base: Value, offset: i32) -> (Base, i16) {
        match self.cheap[base.index()] {
            Some(Cheap::Stack(slot)) => (Base::Stack((slot as i32 + offset) as u32), 0),
            Some(Cheap::Offset(inner, before)) if i16::try_from(before + offset).is_ok() => {
                (Base::Register(self.register(inner)), (before + offset) as i16)
            }
            _ => {
                let register = self.register(base);
                match i16::try_from(offset) {
                    Ok(offset) => (Base::Register(register), offset),
                    Err(_) => {
                        let to = self.fresh();
                        self.push(MachineKind::Alu {
                            op: AluOp::Add,
                            to,
                            left: register,
                            right: Source::Immediate(offset),
                        });
                        (Base::Register(to), 0)
                    }
                }
            }
        }
    }

    fn inst(&mut self, kind: &InstKind, result: Option<Value>) {
        let to = result.map_or(Register(u32::MAX), |value| Register(value.0));
        match kind {
            InstKind::Const(_)
            | InstKind::StackAddress { .. }
            | InstKind::Map(_)
            | InstKind::Callback(_)
            | InstKind::MapValueAddress { .. } => {}
            InstKind::PointerAdd { pointer, offset } => {
                if self.cheap[to.0 as usize].is_none() {
                    let (left, right) = (self.register(*pointer), self.source(*offset));
                    self.push(MachineKind::Alu { op: AluOp::Add, to, left, right });
                }
            }
            InstKind::Binary { op, left, right } => self.binary(*op, to, *left, *right),
            InstKind::Extend { value, bytes, signed } => {
                let from = self.register(*value);
                match (bytes, signed) {
                    (4, false) => self.push(MachineKind::Low32 { to, from }),
                    (bytes, false) => {
                        let mask = if *bytes == 1 { 0xff } else { 0xffff };
                        self.push(MachineKind::Alu { op: AluOp::And, to, left: from, right: Source::Immediate(mask) });
                    }
                    (bytes, true) => self.sign_extend(to, from, *bytes),
                }
            }
            InstKind::ByteSwap { value, bytes } => {
                let from = self.register(*value);
                self.push(MachineKind::ByteSwap { to, from, bytes: *bytes });
            }
            InstKind::Bounded { value, most } => {
                let from = self.register(*value);
                self.push(MachineKind::Bounded { to, from, most: *most });
            }
            InstKind::Address(pointer) | InstKind::Owned(pointer) => {
                let from = self.register(*pointer);
                self.push(MachineKind::Move { to, from });
            }
            InstKind::Load { base, offset, bytes, signed } => {
                let (base, offset) = self.address(*base, *offset);
                if *signed && *bytes < 8 {
                    let raw = self.fresh();
                    self.push(MachineKind::Load { to: raw, base, offset, bytes: *bytes });
                    self.sign_extend(to, raw, *bytes);
                } else {
                    self.push(MachineKind::Load { to, base, offset, bytes: *bytes });
                }
            }
            InstKind::LoadObject { base, offset } => {
                let (base, offset) = self.address(*base, *offset);
                self.push(MachineKind::Load { to, base, offset, bytes: 8 });
            }
            InstKind::Store { base, offset, bytes, value } => {
                let value = self.source(*value);
                let (base, offset) = self.address(*base, *offset);
                self.push(MachineKind::Store { base, offset, bytes: *bytes, value });
            }
            InstKind::AtomicAdd { base, offset, value } => {
                let value = self.register(*value);
                let (base, offset) = self.address(*base, *offset);
                self.push(MachineKind::AtomicAdd { base, offset, value });
            }
            InstKind::AtomicFetchAdd { base, offset, value } => {
                let value = self.register(*value);
                let (base, offset) = self.address(*base, *offset);
                self.push(MachineKind::AtomicFetchAdd { to, base, offset, value });
            }
            InstKind::Context => self.parameter(0, to),
            InstKind::Parameter(number) => self.parameter(*number, to),
            InstKind::Call { helper, arguments } => {
                let arguments = arguments.iter().map(|argument| self.register(*argument)).collect();
                let to = if result.is_some() { to } else { self.fresh() };
                self.push(MachineKind::Call { callee: Callee::Helper(*helper), to, arguments });
            }
            InstKind::CallSubprogram { number, arguments } => {
                let arguments = arguments.iter().map(|argument| self.register(*argument)).collect();
                let to = if result.is_some() { to } else { self.fresh() };
                self.push(MachineKind::Call { callee: Callee::Subprogram(*number), to, arguments });
            }
            InstKind::Checkpoint => {
                let to = self.fresh();
                self.push(MachineKind::Checkpoint { to });
            }
        }
    }

    /// All parameters arrive at once, before anything else can take their registers.
    fn parameter(&mut self, number: u8, to: Register) {
        match self.out.blocks[self.current].insts.last_mut() {
            Some(MachineInst { kind: MachineKind::Parameters { to: all }, .. }) => all.push((number, to)),
            _ => self.push(MachineKind::Parameters { to: vec![(number, to)] }),
        }
    }

    fn sign_extend(&mut self, to: Register, from: Register, bytes: u8) {
        let shift = Source::Immediate(64 - i32::from(bytes) * 8);
        let up = self.fresh();
        self.push(MachineKind::Alu { op: AluOp::ShiftLeft, to: up, left: from, right: shift });
        self.push(MachineKind::Alu { op: AluOp::ArithmeticShiftRight, to, left: up, right: shift });
    }

    fn binary(&mut self, op: BinaryOp, to: Register, left: Value, right: Value) {
        let constant = match self.cheap[right.index()] {
            Some(Cheap::Constant(n)) => Some(n),
            _ => None,
        };
        if op.is_comparison() {
            let (left, right) = (self.register(left), self.source(right));
            self.push(MachineKind::SetIf { op, to, left, right });
            return;
        }
        // Powers of two: a shift or a mask instead of a multiplication or a division.
        let power =
            constant.filter(|n| *n > 1 && (*n as u64).is_power_of_two()).map(|n| (n as u64).trailing_zeros() as i32);
        let (op, immediate) = match (op, power, constant) {
            (BinaryOp::Multiply, Some(power), _) => (AluOp::ShiftLeft, Some(Source::Immediate(power))),
            (BinaryOp::DivideUnsigned, Some(power), _) => (AluOp::ShiftRight, Some(Source::Immediate(power))),
            (BinaryOp::RemainderUnsigned, Some(_), Some(n)) if n <= i64::from(i32::MAX) => {
                (AluOp::And, Some(Source::Immediate((n - 1) as i32)))
            }
            (BinaryOp::Add, ..) => (AluOp::Add, None),
            (BinaryOp::Subtract, ..) => (AluOp::Subtract, None),
            (BinaryOp::Multiply, ..) => (AluOp::Multiply, None),
            (BinaryOp::DivideUnsigned, ..) => (AluOp::Divide, None),
            (BinaryOp::RemainderUnsigned, ..) => (AluOp::Remainder, None),
            (BinaryOp::BitAnd, ..) => (AluOp::And, None),
            (BinaryOp::BitOr, ..) => (AluOp::Or, None),
            (BinaryOp::BitXor, ..) => (AluOp::Xor, None),
            (BinaryOp::ShiftLeft, ..) => (AluOp::ShiftLeft, None),
            (BinaryOp::ShiftRightUnsigned, ..) => (AluOp::ShiftRight, None),
            (BinaryOp::ShiftRightSigned, ..) => (AluOp::ArithmeticShiftRight, None),
            (
                BinaryOp::DivideSigned
                | BinaryOp::RemainderSigned
                | BinaryOp::Equal
                | BinaryOp::NotEqual
                | BinaryOp::LessSigned
                | BinaryOp::LessUnsigned
                | BinaryOp::LessEqualSigned
                | BinaryOp::LessEqualUnsigned,
                ..,
            ) => unreachable!("verified: {op:?} does not come here"),
        };
        let left = self.register(left);
        let right = match immediate {
            Some(immediate) => immediate,
            None => self.source(right),
        };
        self.push(MachineKind::Alu { op, to, left, right });
    }

    fn terminator(&mut self, terminator: &Terminator) {
        let kind = match terminator {
            Terminator::Jump { to, arguments } => {
                let arguments = arguments.iter().map(|argument| self.register(*argument)).collect();
                MachineKind::Jump { to: self.number[to], arguments }
            }
            Terminator::Branch { op, left, right, then, otherwise } => {
                let (left, right) = (self.register(*left), self.source(*right));
                MachineKind::Branch { op: *op, left, right, then: self.number[then], otherwise: self.number[otherwise] }
            }
            Terminator::Return(value) => MachineKind::Return { value: self.register(*value) },
        };
        self.push(kind);
    }
}

/// Puts an empty block on each edge from a block with several successors to one with several predecessors.
fn split_critical_edges(function: &mut MachineFunction) {
    let mut predecessors = vec![0; function.blocks.len()];
    for block in &function.blocks {
        for to in block.insts.last().map_or(SmallVec::new(), |inst| inst.kind.successors()) {
            predecessors[to] += 1;
        }
    }
    for number in 0..function.blocks.len() {
        let Some(mut last) = function.blocks[number].insts.pop() else { continue };
        if let MachineKind::Branch { then, otherwise, .. } = &mut last.kind {
            for target in [then, otherwise] {
                if predecessors[*target] > 1 {
                    let jump = MachineKind::Jump { to: *target, arguments: Registers::new() };
                    *target = function.blocks.len();
                    let insts = vec![MachineInst { kind: jump, span: last.span }];
                    function.blocks.push(MachineBlock { params: Vec::new(), insts });
                }
            }
        }
        function.blocks[number].insts.push(last);
    }
}

/// The blocks in reverse postorder, the new ones among the others: register allocation takes the order of blocks for
/// the order in which they run, and merges the ranges of values that do not overlap in it.
fn in_order(mut function: MachineFunction) -> MachineFunction {
    let successors: Vec<SmallVec<[usize; 2]>> = function
        .blocks
        .iter()
        .map(|block| block.insts.last().map_or(SmallVec::new(), |last| last.kind.successors()))
        .collect();
    let mut order = Vec::new();
    let mut seen = vec![false; function.blocks.len()];
    let mut work = vec![(0, false)];
    while let Some((block, is_done)) = work.pop() {
        if is_done {
            order.push(block);
        } else if !std::mem::replace(&mut seen[block], true) {
            work.push((block, true));
            work.extend(successors[block].iter().rev().filter(|to| !seen[**to]).map(|to| (*to, false)));
        }
    }
    order.reverse();
    let mut number = vec![0; function.blocks.len()];
    for (new, old) in order.iter().enumerate() {
        number[*old] = new;
    }
    let mut blocks: Vec<MachineBlock> = order.iter().map(|old| std::mem::take(&mut function.blocks[*old])).collect();
    for block in &mut blocks {
        match block.insts.last_mut().map(|last| &mut last.kind) {
            Some(MachineKind::Jump { to, .. }) => *to = number[*to],
            Some(MachineKind::Branch { then, otherwise, .. }) => {
                *then = number[*then];
                *otherwise = number[*otherwise];
            }
            _ => {}
        }
    }
    MachineFunction { blocks, ..function }
}
