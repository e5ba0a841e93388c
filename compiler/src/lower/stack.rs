//! Stacks: taken into scratch memory, named by a hash of their frames, and kept once for each hash.

use rtrace_lang::calls;
use rtrace_lang::hir::{BinaryOp, Expr};
use rtrace_lang::limits::DEFAULT_STACK_FRAMES;
use rtrace_lang::span::Span;
use rtrace_lang::target::{ProgramKind, TracingKind};
use rtrace_lang::types::Type;

use crate::ir::{Memory, Value, ValueKind};
use crate::object::ErrorKind;

use super::{Lower, Place};

/// BPF_F_USER_STACK (include/uapi/linux/bpf.h)
const USER_STACK: i64 = 1 << 8;

impl Lower<'_> {
    /// The hash that names the current stack; 0 where none could be taken, which is counted.
    pub(super) fn stack(&mut self, user: bool, frames: u32, span: Span) -> Value {
        // A word for the number of frames, then the frames, as the map of stacks keeps them.
        let memory = self.scratch_memory(8 + DEFAULT_STACK_FRAMES * 8);
        let buffer = self.pointer(memory.at(8));
        let (own, more) = if user { (0, 0) } else { own_frames(self.program.kind) };
        let taken = (frames + more).min(DEFAULT_STACK_FRAMES);
        let size = self.b.int(i64::from(taken) * 8);
        let flags = self.b.int(if user { USER_STACK } else { own });
        let bytes = self.b.call(calls::GET_STACK, &[self.context, buffer, size, flags]);
        // A kernel thread has no user stack, and a sample of user code no kernel stack: that is no error.
        let may_be_empty = user || self.program.kind == ProgramKind::PerfEvent;
        self.stack_of(memory, bytes, taken, user, may_be_empty, span)
    }

    /// The hash of what was taken, if there is any; else 0.
    fn stack_of(
        &mut self,
        memory: Place,
        bytes: Value,
        frames: u32,
        user: bool,
        may_be_empty: bool,
        span: Span,
    ) -> Value {
        let (after, result) = self.b.block_with(ValueKind::Int);
        let (taken, failed) = (self.b.block(), self.b.block());
        let zero = self.b.int(0);
        self.b.branch(BinaryOp::LessSigned, zero, bytes, taken, failed);
        self.b.enter(failed);
        if !may_be_empty {
            self.count_error(ErrorKind::Stack, span);
        }
        self.b.jump(after, &[zero]);
        self.b.enter(taken);
        let hash = self.kept_stack(memory, bytes, frames, user, span);
        self.b.jump(after, &[hash]);
        self.b.enter(after);
        result
    }

    /// The second frame of the current stack; 0 where there is none.
    pub(super) fn caller(&mut self, user: bool) -> Value {
        let memory = self.temporary(16);
        let (zero, buffer, size) = (self.b.int(0), self.pointer(memory), self.b.int(16));
        // What a stack of one frame leaves as it is.
        self.b.store(memory.base, memory.offset, 8, zero);
        self.b.store(memory.base, memory.offset + 8, 8, zero);
        let flags = self.b.int(if user { USER_STACK } else { 0 });
        self.b.call(calls::GET_STACK, &[self.context, buffer, size, flags]);
        self.b.load(memory.base, memory.offset + 8, 8, false)
    }

    /// The same for the user stack by the tables of its process.
    pub(super) fn stack_by_tables(&mut self, frames: u32, registers: &[Expr; 3], span: Span) -> Value {
        let (memory, bytes) = self.frames_by_tables(frames, registers, span);
        self.stack_of(memory, bytes, frames, true, true, span)
    }

    /// The hash of the frames that lie in memory behind a word; they are kept under it. 0 where there is no room.
    fn kept_stack(&mut self, memory: Place, bytes: Value, frames: u32, user: bool, span: Span) -> Value {
        let (after, result) = self.b.block_with(ValueKind::Int);
        let zero = self.b.int(0);
        let (head, index) = self.b.block_with(ValueKind::Int);
        let hash_in = self.b.value(ValueKind::Int);
        self.b.function.blocks[head.index()].params.push(hash_in);
        let (body, done) = (self.b.block(), self.b.block());
        let (finished, hash) = self.b.block_with(ValueKind::Int);
        let seed = self.b.int(if user { 2 } else { 1 });
        self.b.jump(head, &[zero, seed]);
        self.b.enter_unsealed(head);
        self.b.branch(BinaryOp::LessUnsigned, index, bytes, body, done);
        self.b.enter(body);
        let frame = self.b.pointer_add(memory.base, index);
        let frame = self.b.load(frame, memory.offset + 8, 8, false);
        let mixed = self.mix(hash_in, frame);
        let next = self.b.binary_int(BinaryOp::Add, index, 8);
        // `bytes` is within the buffer; verifiers before 6.8 do not draw that conclusion and want to see a constant.
        let (again, full) = (self.b.block(), self.b.block());
        let end = self.b.int(i64::from(frames) * 8);
        self.b.branch(BinaryOp::LessUnsigned, next, end, again, full);
        self.b.enter(full);
        self.b.jump(finished, &[mixed]);
        self.b.enter(again);
        self.b.jump(head, &[next, mixed]);
        self.b.seal(head);
        self.b.enter(done);
        self.b.jump(finished, &[hash_in]);
        self.b.enter(finished);

        let map = self.shared.stacks();
        let key = self.temporary(8);
        self.b.store(key.base, key.offset, 8, hash);
        let (map_value, key_pointer) = (self.b.map(map), self.pointer(key));
        let known = self.b.call_nullable(calls::MAP_LOOKUP_ELEM, &[map_value, key_pointer], Memory::MapValue);
        let (have, new) = (self.b.block(), self.b.block());
        self.b.branch_nonzero(known, have, new);
        self.b.enter(have);
        self.b.jump(after, &[hash]);
        self.b.enter(new);
        let count = self.b.binary_int(BinaryOp::ShiftRightUnsigned, bytes, 3);
        self.b.store(memory.base, memory.offset, 8, count);
        let (map_value, key_pointer, value) = (self.b.map(map), self.pointer(key), self.pointer(memory));
        let any = self.b.int(0);
        let stored = self.b.call(calls::MAP_UPDATE_ELEM, &[map_value, key_pointer, value, any]);
        let (full, kept) = (self.b.block(), self.b.block());
        self.b.branch_nonzero(stored, full, kept);
        self.b.enter(full);
        self.count_error(ErrorKind::Stack, span);
        self.b.jump(after, &[zero]);
        self.b.enter(kept);
        self.b.jump(after, &[hash]);
        self.b.enter(after);
        result
    }

    /// How many frames a stack has, as they are kept.
    pub(super) fn stack_length(&mut self, stack: &Expr) -> Value {
        let hash = self.value(stack);
        let map = self.shared.stacks();
        let key = self.temporary(8);
        self.b.store(key.base, key.offset, 8, hash);
        let (map, key) = (self.b.map(map), self.pointer(key));
        let found = self.b.call_nullable(calls::MAP_LOOKUP_ELEM, &[map, key], Memory::MapValue);
        let Type::Stack { frames, .. } = stack.ty else { unreachable!("a stack") };
        let length = self.if_found(found, |lower, found| lower.b.load(found, 0, 8, false), |lower| lower.b.int(0));
        self.at_most(length, frames)
    }
}

/// How many frames of a kernel stack are the program's own and its caller's; and how many of those behind them may still be
/// between the program and the event, where that differs: a raw tracepoint calls a program through one function or two
/// (`__bpf_trace_`, and `__traceiter_` where several programs are attached). They are left out when the stack is shown.
fn own_frames(kind: ProgramKind) -> (i64, u32) {
    match kind {
        ProgramKind::RawTracepoint | ProgramKind::Tracing { attach: TracingKind::RawTracepoint, btf_id: _ } => (2, 2),
        ProgramKind::Tracing { attach: TracingKind::Fentry | TracingKind::Fexit, btf_id: _ } => (2, 0),
        // The stack begins with the registers of the event.
        ProgramKind::Tracing { attach: TracingKind::Iterator, btf_id: _ }
        | ProgramKind::Kprobe { .. }
        | ProgramKind::TestRun
        | ProgramKind::Tracepoint
        | ProgramKind::PerfEvent => (0, 0),
    }
}
