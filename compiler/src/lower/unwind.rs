//! The way up a user stack by the tables of `rtrace_lang::unwind`: a loop that a helper calls, a frame each round. The tables
//! are those of one process; its mappings are kept twice, so that the tool can change them while programs read.

use rtrace_lang::calls;
use rtrace_lang::hir::BinaryOp;
use rtrace_lang::limits::{UNWIND_MAPPINGS, UNWIND_ROWS};
use rtrace_lang::span::Span;
use rtrace_lang::unwind::{
    AT_FRAME, BP_AT_FRAME, BP_AT_TOP, FROM_FRAME, FROM_STACK, LINKAGE, OUTERMOST, SIGNAL, UNKNOWN,
};

use crate::ir::{Block, MapRef, Memory, Value, ValueKind};
use crate::object::ErrorKind;

use super::{Lower, Place};

// What is known of the frame that is next, in words: where it runs, its stack and frame pointers, whether its address is that
// of the next instruction and not where a call returns to, and how many frames there are.
const IP: i32 = 0;
const SP: i32 = 8;
const BP: i32 = 16;
const IS_EXACT: i32 = 24;
const COUNT: i32 = 32;
const STATE_BYTES: u32 = 40;

// Where registers lie in those that the kernel keeps of a task (arch/x86/include/asm/ptrace.h, `struct pt_regs`).
const KEPT_BP: i32 = 32;
const KEPT_IP: i32 = 128;
const KEPT_SP: i32 = 152;

// Where they lie above the stack pointer that a signal handler returns to (arch/x86/include/uapi/asm/sigcontext.h).
const SIGNAL_BP: i64 = 120;
const SIGNAL_SP: i64 = 160;
const SIGNAL_IP: i64 = 168;

/// Frames that the memory for them has room for, a power of two: an index is masked with one less.
const ROOM: u32 = 128;

/// The frame that a round looks at, and where the round ends.
struct Round {
    state: Place,
    ip: Value,
    sp: Value,
    bp: Value,
    /// A word on the stack: the key of a map, then what is read.
    word: Place,
    /// The stack goes on, and how is not known.
    lost: Block,
    end: Block,
}

impl Lower<'_> {
    /// Puts the frames into memory, behind a word; gives that memory, and their bytes.
    pub(super) fn frames_by_tables(&mut self, frames: u32, span: Span) -> (Place, Value) {
        let memory = self.scratch_memory(8 + ROOM * 8);
        let state = self.scratch_memory(STATE_BYTES);
        let task = self.b.call_pointer(calls::GET_CURRENT_TASK_BTF, &[], Memory::Object);
        let kept = self.b.call_pointer(calls::TASK_PT_REGS, &[task], Memory::Object);
        for (from, to) in [(KEPT_IP, IP), (KEPT_SP, SP), (KEPT_BP, BP)] {
            let register = self.b.load(kept, from, 8, false);
            self.b.store(state.base, state.offset + to, 8, register);
        }
        let (one, zero) = (self.b.int(1), self.b.int(0));
        self.b.store(state.base, state.offset + IS_EXACT, 8, one);
        self.b.store(state.base, state.offset + COUNT, 8, zero);
        let callback = self.callback(2, |lower, parameters| {
            let inside = |place: Place, lower: &Self| Place { base: lower.scratch, offset: place.offset };
            let (memory, state) = (inside(memory, lower), inside(state, lower));
            lower.one_frame(parameters[0], memory, state, span);
        });
        let rounds = self.b.int(i64::from(frames));
        self.call_loop(rounds, callback);
        let count = self.b.load(state.base, state.offset + COUNT, 8, false);
        let bytes = self.b.binary_int(BinaryOp::ShiftLeft, count, 3);
        (memory, bytes)
    }

    /// Notes a frame, and goes to its caller.
    fn one_frame(&mut self, number: Value, memory: Place, state: Place, span: Span) {
        let load = |lower: &mut Self, at: i32| lower.b.load(state.base, state.offset + at, 8, false);
        let (ip, sp, bp) = (load(self, IP), load(self, SP), load(self, BP));
        let is_exact = load(self, IS_EXACT);
        let word = self.temporary(8);
        let round = Round { state, ip, sp, bp, word, lost: self.b.block(), end: self.b.block() };

        let go = self.b.block();
        self.b.branch_nonzero(ip, go, round.end);
        self.b.enter(go);
        let slot = self.b.binary_int(BinaryOp::BitAnd, number, i64::from(ROOM) - 1);
        let slot = self.b.binary_int(BinaryOp::ShiftLeft, slot, 3);
        let slot = self.b.pointer_add(memory.base, slot);
        self.b.store(slot, memory.offset + 8, 8, ip);
        let count = self.b.binary_int(BinaryOp::Add, number, 1);
        self.b.store(state.base, state.offset + COUNT, 8, count);

        // The call is before where it returns to, which may be another function.
        let place = self.b.binary(BinaryOp::Add, ip, is_exact);
        let place = self.b.binary_int(BinaryOp::Subtract, place, 1);
        let way = self.way_from(place, &round);
        self.go_up(way, &round);

        self.b.enter(round.lost);
        self.count_error(ErrorKind::Unwind, span);
        self.b.jump(round.end, &[]);
        self.b.enter(round.end);
        let stop = self.b.int(1);
        self.b.ret(stop);
    }

    /// The second word of the row for an address.
    fn way_from(&mut self, place: Value, round: &Round) -> Value {
        let (header, mappings, rows) = self.shared.unwind_tables();
        let header = self.b.map_value_address(self.shared.globals_map, header);
        let header = self.b.load(header, 0, 8, false);
        let mapping = self.last_up_to(mappings, header, UNWIND_MAPPINGS, place, round);
        let start = self.b.load(mapping, 0, 8, false);
        let end = self.b.load(mapping, 8, 8, false);
        let bias = self.b.load(mapping, 16, 8, false);
        let of_file = self.b.load(mapping, 24, 8, false);
        for (low, high) in [(start, end), (place, end)] {
            self.or_lost(BinaryOp::LessUnsigned, low, high, round);
        }
        self.or_lost(BinaryOp::LessEqualUnsigned, start, place, round);
        let address = self.b.binary(BinaryOp::Subtract, place, bias);
        let row = self.last_up_to(rows, of_file, UNWIND_ROWS, address, round);
        let first = self.b.load(row, 0, 8, false);
        self.or_lost(BinaryOp::LessEqualUnsigned, first, address, round);
        self.b.load(row, 8, 8, false)
    }

    fn or_lost(&mut self, op: BinaryOp, left: Value, right: Value, round: &Round) {
        let go = self.b.block();
        self.b.branch(op, left, right, go, round.lost);
        self.b.enter(go);
    }

    /// Of the entries of an array that a word names (the first, and above 32 bits how many), sorted by their first words: the
    /// last whose first word is not above what is wanted. It computes instead of branching, so that the verifier sees one way.
    fn last_up_to(&mut self, map: MapRef, entries: Value, most: u32, wanted: Value, round: &Round) -> Value {
        let mut at = self.b.extend(entries, 4, false);
        let count = self.b.binary_int(BinaryOp::ShiftRightUnsigned, entries, 32);
        let end = self.b.binary(BinaryOp::Add, at, count);
        for step in (0..most.ilog2()).rev().map(|bit| 1i64 << bit) {
            let next = self.b.binary_int(BinaryOp::Add, at, step);
            // 1 where the first is below the second: both are far below 2^63.
            let is_inside = self.is_below(next, end);
            let index = self.b.binary(BinaryOp::Multiply, next, is_inside);
            let entry = self.entry_at(map, index, round);
            let first = self.b.load(entry, 0, 8, false);
            let is_above = self.is_below(wanted, first);
            let is_not_above = self.b.binary_int(BinaryOp::BitXor, is_above, 1);
            let is_next = self.b.binary(BinaryOp::BitAnd, is_inside, is_not_above);
            let step = self.b.binary_int(BinaryOp::Multiply, is_next, step);
            at = self.b.binary(BinaryOp::Add, at, step);
        }
        self.entry_at(map, at, round)
    }

    fn is_below(&mut self, left: Value, right: Value) -> Value {
        let difference = self.b.binary(BinaryOp::Subtract, left, right);
        self.b.binary_int(BinaryOp::ShiftRightUnsigned, difference, 63)
    }

    fn entry_at(&mut self, map: MapRef, index: Value, round: &Round) -> Value {
        self.b.store(round.word.base, round.word.offset, 8, index);
        let (map, key) = (self.b.map(map), self.pointer(round.word));
        let entry = self.b.call_nullable(calls::MAP_LOOKUP_ELEM, &[map, key], Memory::MapValue);
        let go = self.b.block();
        self.b.branch_nonzero(entry, go, round.lost);
        self.b.enter(go);
        entry
    }

    /// A word of the process.
    fn user_word(&mut self, address: Value, round: &Round) -> Value {
        let (to, size) = (self.pointer(round.word), self.b.int(8));
        let failed = self.b.call(calls::PROBE_READ_USER, &[to, size, address]);
        let go = self.b.block();
        self.b.branch_nonzero(failed, round.lost, go);
        self.b.enter(go);
        self.b.load(round.word.base, round.word.offset, 8, false)
    }

    fn user_word_at(&mut self, base: Value, offset: i64, round: &Round) -> Value {
        let address = self.b.binary_int(BinaryOp::Add, base, offset);
        self.user_word(address, round)
    }

    /// Makes the caller the frame that is next.
    fn go_up(&mut self, way: Value, round: &Round) {
        let kind = self.b.extend(way, 1, false);
        let bp_kind = self.b.binary_int(BinaryOp::ShiftRightUnsigned, way, 8);
        let bp_kind = self.b.extend(bp_kind, 1, false);
        let bp_offset = self.b.binary_int(BinaryOp::ShiftRightUnsigned, way, 16);
        let bp_offset = self.b.extend(bp_offset, 2, true);
        let offset = self.b.binary_int(BinaryOp::ShiftRightUnsigned, way, 32);
        let offset = self.b.extend(offset, 4, true);
        let (have_top, top) = self.b.block_with(ValueKind::Int);

        self.on_kind(kind, OUTERMOST, |lower| lower.b.jump(round.end, &[]));
        self.on_kind(kind, UNKNOWN, |lower| lower.b.jump(round.lost, &[]));
        self.on_kind(kind, SIGNAL, |lower| {
            let ip = lower.user_word_at(round.sp, SIGNAL_IP, round);
            let bp = lower.user_word_at(round.sp, SIGNAL_BP, round);
            let sp = lower.user_word_at(round.sp, SIGNAL_SP, round);
            let is_exact = lower.b.int(1);
            lower.next_frame(ip, sp, bp, is_exact, round);
        });
        self.on_kind(kind, FROM_STACK, |lower| {
            let top = lower.b.binary(BinaryOp::Add, round.sp, offset);
            lower.b.jump(have_top, &[top]);
        });
        self.on_kind(kind, FROM_FRAME, |lower| {
            let top = lower.b.binary(BinaryOp::Add, round.bp, offset);
            lower.b.jump(have_top, &[top]);
        });
        self.on_kind(kind, AT_FRAME, |lower| {
            let at = lower.b.binary(BinaryOp::Add, round.bp, offset);
            let top = lower.user_word(at, round);
            lower.b.jump(have_top, &[top]);
        });
        self.on_kind(kind, LINKAGE, |lower| {
            let byte = lower.b.binary_int(BinaryOp::BitAnd, round.ip, 15);
            let is_before = lower.is_below(byte, bp_offset);
            let is_behind = lower.b.binary_int(BinaryOp::BitXor, is_before, 1);
            let pushed = lower.b.binary_int(BinaryOp::ShiftLeft, is_behind, 3);
            let top = lower.b.binary(BinaryOp::Add, round.sp, offset);
            let top = lower.b.binary(BinaryOp::Add, top, pushed);
            lower.b.jump(have_top, &[top]);
        });
        self.b.jump(round.lost, &[]);

        self.b.enter(have_top);
        // Upwards, or it would go round for ever.
        self.or_lost(BinaryOp::LessUnsigned, round.sp, top, round);
        let ip = self.user_word_at(top, -8, round);
        let (have_bp, bp) = self.b.block_with(ValueKind::Int);
        for (wanted, base) in [(BP_AT_TOP, top), (BP_AT_FRAME, round.bp)] {
            self.on_kind(bp_kind, wanted, |lower| {
                let at = lower.b.binary(BinaryOp::Add, base, bp_offset);
                let bp = lower.user_word(at, round);
                lower.b.jump(have_bp, &[bp]);
            });
        }
        self.b.jump(have_bp, &[round.bp]);
        self.b.enter(have_bp);
        let is_exact = self.b.int(0);
        self.next_frame(ip, top, bp, is_exact, round);
    }

    /// Runs `then`, which goes elsewhere, where the kind is that one; goes on where it is not.
    fn on_kind(&mut self, kind: Value, wanted: u64, then: impl FnOnce(&mut Self)) {
        let (yes, no) = (self.b.block(), self.b.block());
        let wanted = self.b.int(wanted as i64);
        self.b.branch(BinaryOp::Equal, kind, wanted, yes, no);
        self.b.enter(yes);
        then(self);
        self.b.enter(no);
    }

    fn next_frame(&mut self, ip: Value, sp: Value, bp: Value, is_exact: Value, round: &Round) {
        for (at, value) in [(IP, ip), (SP, sp), (BP, bp), (IS_EXACT, is_exact)] {
            self.b.store(round.state.base, round.state.offset + at, 8, value);
        }
        let go_on = self.b.int(0);
        self.b.ret(go_on);
    }
}
