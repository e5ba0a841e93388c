//! Machine instructions with their registers as the kernel takes them: 8 bytes each
//! (Documentation/bpf/standardization/instruction-set.rst). Also reads them back as text.

mod text;

pub use text::disassemble;

use regalloc2::{Allocation as Place, Edit, Inst, InstOrEdit};
use rtrace_lang::hir::BinaryOp;
use rtrace_lang::limits::BPF_STACK_BYTES;
use rtrace_lang::span::Span;

use crate::machine::{AluOp, Base, Callee, MachineFunction, MachineKind, Source};
use crate::object::Relocation;
use crate::regalloc::Allocation;

/// The frame pointer.
const FRAME: u8 = 10;

// Classes, sizes and modes of opcodes.
const LD: u8 = 0x00;
const LDX: u8 = 0x01;
const ST: u8 = 0x02;
const STX: u8 = 0x03;
const ALU: u8 = 0x04;
pub(crate) const JMP: u8 = 0x05;
pub(crate) const ALU64: u8 = 0x07;
const DW: u8 = 0x18;
const IMM: u8 = 0x00;
const MEM: u8 = 0x60;
const ATOMIC: u8 = 0xc0;
pub(crate) const X: u8 = 0x08;
pub(crate) const MOV: u8 = 0xb0;
/// With X: to the byte order of networks, which is the other one here.
const END: u8 = 0xd0;
pub(crate) const CALL: u8 = 0x80;
pub(crate) const EXIT: u8 = 0x90;
const JA: u8 = 0x00;
/// Pseudo source registers of the 16-byte load: a map, a map's value, or a function of this program.
const PSEUDO_MAP: u8 = 1;
const PSEUDO_MAP_VALUE: u8 = 2;
const PSEUDO_FUNCTION: u8 = 4;
pub(crate) const PSEUDO_CALL: u8 = 1;
/// Of a call: a function of the kernel that is no helper.
pub(crate) const PSEUDO_KERNEL_CALL: u8 = 2;
/// With the branch, the count and the jump around it, more than the eight instructions and two jumps after which the
/// verifier keeps a state again.
const CHECKPOINT_INSTRUCTIONS: usize = 4;
/// In the immediate of an atomic operation: the old value comes back.
const FETCH: i32 = 1;

pub struct Encoded {
    pub instructions: Vec<u64>,
    pub relocations: Vec<Relocation>,
    pub lines: Vec<(u32, Span)>,
    /// Instructions that load the address of a callback, and which one.
    pub callbacks: Vec<(u32, u32)>,
    /// Instructions that call a subprogram, and which one.
    pub calls: Vec<(u32, u32)>,
    pub stack_bytes: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("its values and temporaries take {0} bytes of stack, and the kernel gives {BPF_STACK_BYTES}")]
    Stack(u32),
    #[error("it has {0} instructions, and a jump reaches 32767 of them")]
    Jump(usize),
}

pub fn encode(function: &MachineFunction, allocation: &Allocation) -> Result<Encoded, EncodeError> {
    let stack_bytes = function.stack_bytes.next_multiple_of(8) + allocation.output.num_spillslots as u32 * 8;
    if stack_bytes > BPF_STACK_BYTES {
        return Err(EncodeError::Stack(stack_bytes));
    }
    let mut encoder = Encoder {
        function,
        allocation,
        out: Encoded {
            instructions: Vec::new(),
            relocations: Vec::new(),
            lines: Vec::new(),
            callbacks: Vec::new(),
            calls: Vec::new(),
            stack_bytes,
        },
        jumps: Vec::new(),
        block_starts: vec![0; function.blocks.len()],
        forwards: (0..function.blocks.len()).collect(),
        order: Vec::new(),
        slots_bytes: function.stack_bytes.next_multiple_of(8) as i32,
    };
    encoder.lay_out();
    for position in 0..encoder.order.len() {
        encoder.block(position);
    }
    encoder.patch_jumps()?;
    Ok(encoder.out)
}

struct Encoder<'a> {
    function: &'a MachineFunction,
    allocation: &'a Allocation,
    out: Encoded,
    /// Instructions whose offset waits for the start of a block.
    jumps: Vec<(usize, usize)>,
    block_starts: Vec<usize>,
    /// Where one gets who goes to a block: to itself, or past blocks that only jump on.
    forwards: Vec<usize>,
    /// The blocks that are written, in this order.
    order: Vec<usize>,
    slots_bytes: i32,
}

/// One instruction as a word.
pub(crate) fn word(opcode: u8, to: u8, from: u8, offset: i16, immediate: i32) -> u64 {
    u64::from(opcode)
        | u64::from(to) << 8
        | u64::from(from) << 12
        | u64::from(offset as u16) << 16
        | u64::from(immediate as u32) << 32
}

impl Encoder<'_> {
    fn push(&mut self, opcode: u8, to: u8, from: u8, offset: i16, immediate: i32) {
        self.out.instructions.push(word(opcode, to, from, offset, immediate));
    }

    /// Leaves out blocks that do nothing but jump.
    fn lay_out(&mut self) {
        let output = &self.allocation.output;
        let count = self.function.blocks.len();
        let only_jumps = |number: usize| {
            let block = &self.function.blocks[number];
            let [only] = &block.insts[..] else { return None };
            let MachineKind::Jump { to, .. } = &only.kind else { return None };
            let moves = self.range(number).items(output).iter().any(|item| match item {
                InstOrEdit::Edit(Edit::Move { from, to }) => from != to,
                InstOrEdit::Inst(_) => false,
            });
            (number != 0 && !moves).then_some(*to)
        };
        let next: Vec<Option<usize>> = (0..count).map(only_jumps).collect();
        for number in 0..count {
            let mut to = number;
            // A loop of empty blocks would have no end; programs have none, and the count keeps it that way.
            for _ in 0..count {
                match next[to] {
                    Some(further) => to = further,
                    None => break,
                }
            }
            self.forwards[number] = to;
        }
        self.order = (0..count).filter(|number| self.forwards[*number] == *number).collect();
    }

    /// The instructions of a block, as the allocation counts them.
    fn range(&self, number: usize) -> RangeView {
        let (first, end) = (self.allocation.starts[number], self.allocation.starts[number + 1]);
        RangeView { range: regalloc2::InstRange::new(Inst::new(first), Inst::new(end)) }
    }

    fn block(&mut self, position: usize) {
        let number = self.order[position];
        self.block_starts[number] = self.out.instructions.len();
        let first = self.allocation.starts[number];
        let view = self.range(number);
        let output = &self.allocation.output;
        for item in view.items(output) {
            match item {
                InstOrEdit::Edit(Edit::Move { from, to }) => self.move_between(*from, *to),
                InstOrEdit::Inst(inst) => {
                    let data = &self.function.blocks[number].insts[inst.index() - first];
                    let at = self.out.instructions.len() as u32;
                    if self.out.lines.last().is_none_or(|(_, span)| *span != data.span) && !data.span.is_empty() {
                        match self.out.lines.last_mut() {
                            Some((last, span)) if *last == at => *span = data.span,
                            _ => self.out.lines.push((at, data.span)),
                        }
                    }
                    let places: Vec<Place> = output.inst_allocs(inst).to_vec();
                    self.inst(&data.kind, &places, position);
                }
            }
        }
    }

    /// The offset of a spill slot from the frame pointer.
    fn spill_offset(&self, slot: usize) -> i16 {
        (-self.slots_bytes - (slot as i32 + 1) * 8) as i16
    }

    fn move_between(&mut self, from: Place, to: Place) {
        match (from.as_reg(), to.as_reg()) {
            (Some(from), Some(to)) if from == to => {}
            (Some(from), Some(to)) => self.push(ALU64 | MOV | X, to.hw_enc() as u8, from.hw_enc() as u8, 0, 0),
            (Some(from), None) => {
                let slot = self.spill_offset(to.as_stack().expect("a register or a slot").index());
                self.push(STX | MEM | DW, FRAME, from.hw_enc() as u8, slot, 0);
            }
            (None, Some(to)) => {
                let slot = self.spill_offset(from.as_stack().expect("a register or a slot").index());
                self.push(LDX | MEM | DW, to.hw_enc() as u8, FRAME, slot, 0);
            }
            (None, None) => unreachable!("moves go through a register"),
        }
    }

    /// The register and offset of an access; `place` is used up where the base is a register.
    fn address(&self, base: &Base, offset: i16, place: &mut impl Iterator<Item = u8>) -> (u8, i16) {
        match base {
            Base::Register(_) => (place.next().expect("a base has a place"), offset),
            Base::Stack(slot) => (FRAME, (*slot as i32 - self.slots_bytes + i32::from(offset)) as i16),
        }
    }

    fn inst(&mut self, kind: &MachineKind, places: &[Place], position: usize) {
        let mut place = places.iter().map(|place| place.as_reg().expect("operands are in registers").hw_enc() as u8);
        let mut next = || place.next().expect("each operand has a place");
        match kind {
            MachineKind::Parameters { .. } => {}
            MachineKind::Callback { number, .. } => {
                let to = next();
                self.out.callbacks.push((self.out.instructions.len() as u32, *number));
                self.push(LD | IMM | DW, to, PSEUDO_FUNCTION, 0, 0);
                self.push(0, 0, 0, 0, 0);
            }
            MachineKind::Immediate { value, .. } => {
                let to = next();
                self.immediate(to, *value);
            }
            MachineKind::Map { map, .. } => {
                let to = next();
                self.relocated(to, PSEUDO_MAP, map.0, 0);
            }
            MachineKind::MapValue { map, offset, .. } => {
                let to = next();
                self.relocated(to, PSEUDO_MAP_VALUE, map.0, *offset);
            }
            MachineKind::StackAddress { offset, .. } => {
                let to = next();
                self.push(ALU64 | MOV | X, to, FRAME, 0, 0);
                self.push(ALU64, to, 0, 0, *offset as i32 - self.slots_bytes);
            }
            MachineKind::Move { .. } => {
                let (from, to) = (next(), next());
                if from != to {
                    self.push(ALU64 | MOV | X, to, from, 0, 0);
                }
            }
            MachineKind::Low32 { .. } => {
                let (from, to) = (next(), next());
                self.push(ALU | MOV | X, to, from, 0, 0);
            }
            MachineKind::ByteSwap { bytes, .. } => {
                let (_, to) = (next(), next());
                self.push(ALU | END | X, to, 0, 0, i32::from(*bytes) * 8);
            }
            MachineKind::Bounded { most, .. } => {
                let (_, to) = (next(), next());
                // The mask first: where a path can't be taken, kernel 6.1 may take the least for above the most, and
                // refuses addresses that are made with such a number. In one register, since it forgets the bounds of
                // what lies in memory.
                let mask = (u64::from(*most) + 1).next_power_of_two() - 1;
                self.push(ALU64 | alu_code(AluOp::And), to, 0, 0, mask as i32);
                if mask != u64::from(*most) {
                    self.push(JMP | jump_code(BinaryOp::LessEqualUnsigned), to, 0, 1, *most as i32);
                    self.push(ALU64 | MOV, to, 0, 0, *most as i32);
                }
            }
            MachineKind::Alu { op, right, .. } => {
                let (_, to) = (next(), next());
                let code = alu_code(*op);
                match right {
                    Source::Register(_) => {
                        let from = next();
                        self.push(ALU64 | code | X, to, from, 0, 0);
                    }
                    Source::Immediate(n) => self.push(ALU64 | code, to, 0, 0, *n),
                }
            }
            MachineKind::SetIf { op, right, .. } => {
                let (left, to) = (next(), next());
                let right = match right {
                    Source::Register(_) => Ok(next()),
                    Source::Immediate(n) => Err(*n),
                };
                self.push(ALU64 | MOV, to, 0, 0, 1);
                let code = jump_code(*op);
                match right {
                    Ok(right) => self.push(JMP | code | X, left, right, 1, 0),
                    Err(n) => self.push(JMP | code, left, 0, 1, n),
                }
                self.push(ALU64 | MOV, to, 0, 0, 0);
            }
            MachineKind::Load { base, offset, bytes, .. } => {
                let to = next();
                let (from, offset) = self.address(base, *offset, &mut place);
                self.push(LDX | MEM | size(*bytes), to, from, offset, 0);
            }
            MachineKind::Store { base, offset, bytes, value } => {
                let (to, offset) = self.address(base, *offset, &mut place);
                match value {
                    Source::Register(_) => {
                        let from = place.next().expect("a value has a place");
                        self.push(STX | MEM | size(*bytes), to, from, offset, 0);
                    }
                    Source::Immediate(n) => self.push(ST | MEM | size(*bytes), to, 0, offset, *n),
                }
            }
            MachineKind::AtomicAdd { base, offset, .. } => {
                let (to, offset) = self.address(base, *offset, &mut place);
                let from = place.next().expect("a value has a place");
                self.push(STX | ATOMIC | DW, to, from, offset, 0);
            }
            MachineKind::AtomicFetchAdd { base, offset, .. } => {
                let (_, value) = (next(), next());
                let (to, offset) = self.address(base, *offset, &mut place);
                self.push(STX | ATOMIC | DW, to, value, offset, FETCH);
            }
            MachineKind::Call { callee: Callee::Helper(helper), .. } => self.push(JMP | CALL, 0, 0, 0, *helper as i32),
            MachineKind::Call { callee: Callee::Subprogram(number), .. } => {
                self.out.calls.push((self.out.instructions.len() as u32, *number));
                self.push(JMP | CALL, 0, PSEUDO_CALL, 0, 0);
            }
            MachineKind::Checkpoint { .. } => {
                let to = next();
                for _ in 0..CHECKPOINT_INSTRUCTIONS {
                    self.push(ALU64 | MOV, to, 0, 0, 0);
                }
            }
            MachineKind::Jump { to, .. } => self.jump(self.forwards[*to], position),
            MachineKind::Branch { op, right, then, otherwise, .. } => {
                let left = next();
                let (then, otherwise) = (self.forwards[*then], self.forwards[*otherwise]);
                let (op, target, other) = if self.order.get(position + 1) == Some(&then) {
                    (negated_code(*op), otherwise, then)
                } else {
                    (jump_code(*op), then, otherwise)
                };
                self.jumps.push((self.out.instructions.len(), target));
                match right {
                    Source::Register(_) => {
                        let right = next();
                        self.push(JMP | op | X, left, right, 0, 0);
                    }
                    Source::Immediate(n) => self.push(JMP | op, left, 0, 0, *n),
                }
                self.jump(other, position);
            }
            MachineKind::Return { .. } => self.push(JMP | EXIT, 0, 0, 0, 0),
        }
    }

    fn immediate(&mut self, to: u8, value: i64) {
        match (i32::try_from(value), u32::try_from(value)) {
            (Ok(n), _) => self.push(ALU64 | MOV, to, 0, 0, n),
            // The 32-bit move clears the upper half.
            (_, Ok(n)) => self.push(ALU | MOV, to, 0, 0, n as i32),
            _ => {
                self.push(LD | IMM | DW, to, 0, 0, value as i32);
                self.push(0, 0, 0, 0, (value >> 32) as i32);
            }
        }
    }

    fn relocated(&mut self, to: u8, pseudo: u8, map: u32, offset: u32) {
        let instruction = self.out.instructions.len() as u32;
        self.out.relocations.push(Relocation { instruction, map, value: pseudo == PSEUDO_MAP_VALUE });
        self.push(LD | IMM | DW, to, pseudo, 0, map as i32);
        self.push(0, 0, 0, 0, offset as i32);
    }

    /// A jump, unless the target comes next.
    fn jump(&mut self, to: usize, position: usize) {
        if self.order.get(position + 1) != Some(&to) {
            self.jumps.push((self.out.instructions.len(), to));
            self.push(JMP | JA, 0, 0, 0, 0);
        }
    }

    fn patch_jumps(&mut self) -> Result<(), EncodeError> {
        for (at, block) in &self.jumps {
            let distance = self.block_starts[*block] as i64 - *at as i64 - 1;
            let offset = i16::try_from(distance).map_err(|_| EncodeError::Jump(self.out.instructions.len()))?;
            self.out.instructions[*at] |= u64::from(offset as u16) << 16;
        }
        Ok(())
    }
}

/// The instructions of one block with the moves between them, in order.
struct RangeView {
    range: regalloc2::InstRange,
}

impl RangeView {
    fn items<'a>(&self, output: &'a regalloc2::Output) -> Vec<InstOrEdit<'a>> {
        use regalloc2::ProgPoint;
        let (first, end) = (self.range.first(), self.range.first().index() + self.range.len());
        let start = output.edits.partition_point(|(point, _)| *point < ProgPoint::before(first));
        let mut edits = output.edits[start..].iter().peekable();
        let mut items = Vec::new();
        for number in first.index()..end {
            let inst = Inst::new(number);
            while let Some((_, edit)) = edits.next_if(|(point, _)| *point <= ProgPoint::before(inst)) {
                items.push(InstOrEdit::Edit(edit));
            }
            items.push(InstOrEdit::Inst(inst));
            while let Some((_, edit)) = edits.next_if(|(point, _)| *point <= ProgPoint::after(inst)) {
                items.push(InstOrEdit::Edit(edit));
            }
        }
        items
    }
}

fn size(bytes: u8) -> u8 {
    match bytes {
        1 => 0x10,
        2 => 0x08,
        4 => 0x00,
        _ => DW,
    }
}

pub(crate) fn alu_code(op: AluOp) -> u8 {
    match op {
        AluOp::Add => 0x00,
        AluOp::Subtract => 0x10,
        AluOp::Multiply => 0x20,
        AluOp::Divide => 0x30,
        AluOp::Or => 0x40,
        AluOp::And => 0x50,
        AluOp::ShiftLeft => 0x60,
        AluOp::ShiftRight => 0x70,
        AluOp::Remainder => 0x90,
        AluOp::Xor => 0xa0,
        AluOp::ArithmeticShiftRight => 0xc0,
    }
}

pub(crate) fn jump_code(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Equal => 0x10,
        BinaryOp::NotEqual => 0x50,
        BinaryOp::LessUnsigned => 0xa0,
        BinaryOp::LessEqualUnsigned => 0xb0,
        BinaryOp::LessSigned => 0xc0,
        BinaryOp::LessEqualSigned => 0xd0,
        _ => unreachable!("only comparisons decide a jump"),
    }
}

/// The jump that is taken where the comparison does not hold.
fn negated_code(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Equal => 0x50,
        BinaryOp::NotEqual => 0x10,
        BinaryOp::LessUnsigned => 0x30,
        BinaryOp::LessEqualUnsigned => 0x20,
        BinaryOp::LessSigned => 0x70,
        BinaryOp::LessEqualSigned => 0x60,
        _ => unreachable!("only comparisons decide a jump"),
    }
}
