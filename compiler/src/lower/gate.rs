//! The gate behind a program's entry, where its scratch memory is looked up, and the ways out. A program may come in the middle of
//! another one on its processor, and where tasks are taken off in the middle, of itself: then each takes a slot of the
//! scratch memory, which it marks until it leaves.

use rtrace_lang::calls;
use rtrace_lang::hir::{BinaryOp, Hir, Program};
use rtrace_lang::limits::SCRATCH_SLOTS;
use rtrace_lang::target::{Attach, ProgramKind};

use crate::CompileOptions;
use crate::ir::{Block, Function, Inst, InstKind, Memory, Value, ValueKind};
use crate::object::ErrorKind;

use super::{Lower, Scratch, close};

/// Bytes of a slot before all else, where programs mark theirs.
pub(super) const MARK_BYTES: u32 = 8;

/// How a program marks its slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Marks {
    /// What comes in the middle has left when the program goes on: a load and a store will do. From Linux 7.0 on a task may be taken
    /// off in raw tracepoints, too; between these two instructions, and with the other task's in the middle of its own, it would harm.
    Nested,
    /// Tasks take turns in the middle of it.
    Atomic,
}

impl Marks {
    /// None where no program of the object comes in the middle of another one.
    pub fn needed(hir: &Hir, options: &CompileOptions) -> Option<Marks> {
        let in_user_code = |program: &Program| matches!(program.kind, ProgramKind::Kprobe { user: true, .. });
        match may_interleave(hir, hir.programs.iter()) {
            false => None,
            true if options.atomic_fetch && hir.programs.iter().any(in_user_code) => Some(Marks::Atomic),
            true => Some(Marks::Nested),
        }
    }
}

/// Whether one of these programs may come in the middle of another one, or of itself, on the same processor.
pub(super) fn may_interleave<'a>(hir: &Hir, programs: impl Iterator<Item = &'a Program>) -> bool {
    let (mut by_turns, mut others) = (0, 0);
    for program in programs {
        match program.kind {
            // A task can be taken off in the middle, and the next one comes to the same probe.
            ProgramKind::Kprobe { user: true, .. } => others += 2,
            // The kernel runs one of these at a time on a processor (`bpf_prog_active`).
            ProgramKind::Kprobe { user: false, .. } | ProgramKind::Tracepoint | ProgramKind::PerfEvent => by_turns = 1,
            // And of these no program in the middle of itself.
            ProgramKind::RawTracepoint | ProgramKind::Tracing { .. } => others += 1,
            ProgramKind::TestRun => {
                let site = program.sites.first().map(|site| &hir.sites[site.index()].attach);
                // BEGIN and END run when nothing else does.
                others += i32::from(!matches!(site, Some(Attach::Begin | Attach::End)));
            }
        }
    }
    others > 0 && others + by_turns > 1
}

impl Lower<'_> {
    /// Completes the entry, the gate and the ways out, and hands the function out.
    pub(super) fn finish(mut self, gate: Block, body: Block) -> Function {
        let span = self.program.span;
        self.b.span = span;
        if self.scratch_used > self.marked_bytes() {
            self.open(gate, body);
        }
        self.b.function.subprograms = std::mem::take(&mut self.subprograms);
        self.b.prepend(vec![Inst { kind: InstKind::Context, result: Some(self.context), span }]);
        let mut function = self.b.function;
        function.stack_bytes = self.stack_used;
        function.scratch_bytes = self.scratch_used;
        close(&mut function, span);
        function
    }

    /// Bytes that marks take.
    pub(super) fn marked_bytes(&self) -> u32 {
        if self.shared.marks.is_some() { MARK_BYTES } else { 0 }
    }

    /// Looks up the scratch memory at the gate, which has led to the body so far.
    fn open(&mut self, gate: Block, body: Block) {
        self.b.function.blocks[gate.index()].terminator = None;
        self.b.enter_unsealed(gate);
        let leave = self.b.block();
        match self.shared.marks {
            None => {
                let zero = self.b.int(0);
                let found = self.look_up_slot(zero);
                let go = self.b.block();
                self.b.branch_nonzero(found, go, leave);
                self.b.enter(go);
                self.go_on(found, None, body);
            }
            Some(marks) => {
                self.take_slot(leave, body, marks);
                self.give_back(marks);
            }
        }
        self.b.enter(leave);
        let zero = self.b.int(0);
        self.b.ret(zero);
    }

    /// The slot of that number on this processor, or null.
    pub(super) fn look_up_slot(&mut self, number: Value) -> Value {
        let map = self.shared.scratch();
        let key = match self.shared.scratch_kind {
            Scratch::PerCpu => number,
            Scratch::ByCpu => {
                let cpu = self.b.call(calls::GET_SMP_PROCESSOR_ID, &[]);
                let first = self.b.binary_int(BinaryOp::Multiply, cpu, i64::from(self.shared.slots()));
                self.b.binary(BinaryOp::Add, first, number)
            }
        };
        // Shares the first slot of the stack: it is dead when the body begins, where a frame is filled.
        self.stack_used = self.stack_used.max(8);
        let place = self.b.stack_address(0);
        self.b.store(place, 0, 8, key);
        let map = self.b.map(map);
        self.b.call_pointer(calls::MAP_LOOKUP_ELEM, &[map, place], Memory::MapValue)
    }

    fn go_on(&mut self, slot: Value, number: Option<Value>, body: Block) {
        let (mut params, mut arguments) = (vec![self.scratch], vec![slot]);
        if let (Some(param), Some(number)) = (self.slot_number, number) {
            params.push(param);
            arguments.push(number);
        }
        self.b.function.blocks[body.index()].params.extend(params);
        self.b.jump(body, &arguments);
    }

    /// Marks the first slot that is not marked; where all are, the event is counted and left out.
    fn take_slot(&mut self, leave: Block, body: Block, marks: Marks) {
        let zero = self.b.int(0);
        let (head, number) = self.b.block_with(ValueKind::Int);
        let (there, free, taken, again, all) =
            (self.b.block(), self.b.block(), self.b.block(), self.b.block(), self.b.block());
        self.b.jump(head, &[zero]);
        self.b.enter_unsealed(head);
        let slot = self.look_up_slot(number);
        self.b.branch_nonzero(slot, there, leave);
        self.b.enter(there);
        let one = self.b.int(1);
        let mark = match marks {
            Marks::Nested => self.b.load(slot, 0, 8, false),
            Marks::Atomic => self.b.atomic_fetch_add(slot, 0, one),
        };
        self.b.branch_nonzero(mark, taken, free);
        self.b.enter(taken);
        if marks == Marks::Atomic {
            let less = self.b.int(-1);
            self.b.atomic_add(slot, 0, less);
        }
        let next = self.b.binary_int(BinaryOp::Add, number, 1);
        let end = self.b.int(i64::from(SCRATCH_SLOTS));
        self.b.branch(BinaryOp::LessUnsigned, next, end, again, all);
        self.b.enter(again);
        self.b.jump(head, &[next]);
        self.b.seal(head);
        self.b.enter(all);
        self.count_error(ErrorKind::Nested, self.program.span);
        self.b.jump(leave, &[]);
        self.b.enter(free);
        if marks == Marks::Nested {
            let one = self.b.int(1);
            self.b.store(slot, 0, 8, one);
        }
        let slot = self.b.owned(slot);
        self.go_on(slot, Some(number), body);
    }

    /// Takes the mark from the slot wherever the program leaves.
    fn give_back(&mut self, marks: Marks) {
        for block in std::mem::take(&mut self.ways_out) {
            let terminator = self.b.function.blocks[block.index()].terminator.take();
            self.b.enter_unsealed(block);
            match marks {
                Marks::Nested => {
                    let zero = self.b.int(0);
                    self.b.store(self.scratch, 0, 8, zero);
                }
                Marks::Atomic => {
                    let less = self.b.int(-1);
                    self.b.atomic_add(self.scratch, 0, less);
                }
            }
            self.b.function.blocks[block.index()].terminator = terminator;
        }
    }

    /// Ends the program.
    pub(super) fn way_out(&mut self) {
        if !self.b.is_terminated() {
            self.ways_out.push(self.b.current());
        }
        let answer = self.b.int(0);
        self.b.ret(answer);
    }
}
