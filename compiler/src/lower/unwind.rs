//! The way up a user stack by the tables of `rtrace_lang::unwind`: a loop that a helper calls, a frame each round. The tool keeps
//! the mappings of each process that it has been asked for; a process that it does not know is asked for here. Where the
//! mappings say nothing, the kernel is asked for the file, if it can be.

use rtrace_lang::calls;
use rtrace_lang::hir::{BinaryOp, Expr};
use rtrace_lang::limits::{UNWIND_MAPPINGS, UNWIND_ROWS};
use rtrace_lang::span::Span;
use rtrace_lang::unwind::{
    AT_FRAME, BP_AT_FRAME, BP_AT_TOP, FAR_BITS, FILE_KEY_BYTES, FROM_FRAME, FROM_STACK, LINKAGE, MappingFields,
    OUTERMOST, SIGNAL, UNKNOWN,
};

use crate::ir::{Block, MapRef, Memory, Value, ValueKind};
use crate::object::{ErrorKind, UnwindMaps};

use super::functions::Parameters;
use super::{Lower, Place};

// What is known of the frame that is next, in words: where it runs, its stack and frame pointers, whether its address is that
// of the next instruction and not where a call returns to, and how many frames there are.
const IP: i32 = 0;
const SP: i32 = 8;
const BP: i32 = 16;
const IS_EXACT: i32 = 24;
const COUNT: i32 = 32;
// Of the file that it is in: what was added to its addresses, and its rows as in a mapping.
const BIAS: i32 = 40;
const ROWS: i32 = 48;
// The mappings of its process, as in a word of `processes`.
const MAPPINGS: i32 = 56;
// The mapping of that file: most callers are in the same one.
const START: i32 = 64;
const BYTES: i32 = 72;
const STATE_BYTES: u32 = 80;

/// Bits of an address within a page.
const PAGE_BITS: i64 = 12;

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
    pub(super) fn frames_by_tables(&mut self, frames: u32, registers: &[Expr; 3], span: Span) -> (Place, Value) {
        let memory = self.scratch_memory(8 + ROOM * 8);
        let state = self.scratch_memory(STATE_BYTES);
        let [ip, sp, bp] = registers.each_ref().map(|register| self.value(register));
        for (register, to) in [(ip, IP), (sp, SP), (bp, BP)] {
            self.b.store(state.base, state.offset + to, 8, register);
        }
        let mappings = self.mappings_of_process(ip);
        self.b.store(state.base, state.offset + MAPPINGS, 8, mappings);
        let (one, zero) = (self.b.int(1), self.b.int(0));
        self.b.store(state.base, state.offset + IS_EXACT, 8, one);
        self.b.store(state.base, state.offset + COUNT, 8, zero);
        self.b.store(state.base, state.offset + BYTES, 8, zero);
        let callback = self.round(|lower, round| {
            let (memory, state) = (lower.here(memory), lower.here(state));
            lower.one_frame(round, memory, state, span);
        });
        let rounds = self.b.int(i64::from(frames));
        self.call_loop(rounds, callback);
        let count = self.b.load(state.base, state.offset + COUNT, 8, false);
        let bytes = self.b.binary_int(BinaryOp::ShiftLeft, count, 3);
        (memory, bytes)
    }

    /// Which mappings are those of the process; none where the tool does not know them, which is asked for them then. Threads of
    /// the kernel have no such process.
    fn mappings_of_process(&mut self, ip: Value) -> Value {
        let tables = self.unwind_tables();
        let (look, found, unknown) = (self.b.block(), self.b.block(), self.b.block());
        let (after, mappings) = self.b.block_with(ValueKind::Int);
        let none = self.b.int(0);
        let (skip, key) = (self.b.block(), self.temporary(8));
        self.b.branch_nonzero(ip, look, skip);
        self.b.enter(skip);
        self.b.jump(after, &[none]);
        self.b.enter(look);
        let both = self.process_and_thread();
        let process = self.b.binary_int(BinaryOp::ShiftRightUnsigned, both, 32);
        self.b.store(key.base, key.offset, 8, process);
        let (map, at) = (self.b.map(MapRef(tables.processes)), self.pointer(key));
        let known = self.b.call_nullable(calls::MAP_LOOKUP_ELEM, &[map, at], Memory::MapValue);
        self.b.branch_nonzero(known, found, unknown);
        self.b.enter(unknown);
        let (map, at, flags) = (self.b.map(MapRef(tables.wanted)), self.pointer(key), self.b.int(0));
        self.b.call(calls::MAP_UPDATE_ELEM, &[map, at, at, flags]);
        self.b.jump(after, &[none]);
        self.b.enter(found);
        let word = self.b.load(known, 0, 8, false);
        self.b.jump(after, &[word]);
        self.b.enter(after);
        mappings
    }

    fn unwind_tables(&mut self) -> UnwindMaps {
        self.shared.unwind_tables(self.options.mapping_fields.is_some())
    }

    /// The same place of the scratch memory, in the function that is being filled.
    fn here(&self, place: Place) -> Place {
        Place { base: self.scratch, ..place }
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

    /// The way from an address.
    fn way_from(&mut self, place: Value, round: &Round) -> Value {
        let tables = self.unwind_tables();
        let (search, known, unknown, after) = (self.b.block(), self.b.block(), self.b.block(), self.b.block());
        let [start, bytes] = [START, BYTES].map(|at| self.b.load(round.state.base, round.state.offset + at, 8, false));
        let inside = self.b.binary(BinaryOp::Subtract, place, start);
        self.b.branch(BinaryOp::LessUnsigned, inside, bytes, after, search);
        self.b.enter(search);
        let mappings = self.b.load(round.state.base, round.state.offset + MAPPINGS, 8, false);
        let mapping = self.last_up_to(MapRef(tables.mappings), mappings, UNWIND_MAPPINGS, place, round);
        let [start, end, bias, rows] = [0, 8, 16, 24].map(|at| self.b.load(mapping, at, 8, false));
        let bytes = self.b.binary(BinaryOp::Subtract, end, start);
        let inside = self.b.binary(BinaryOp::Subtract, place, start);
        self.b.branch(BinaryOp::LessUnsigned, inside, bytes, known, unknown);
        self.b.enter(known);
        for (word, to) in [(start, START), (bytes, BYTES), (bias, BIAS), (rows, ROWS)] {
            self.b.store(round.state.base, round.state.offset + to, 8, word);
        }
        self.b.jump(after, &[]);
        self.b.enter(unknown);
        let none = self.b.int(0);
        self.b.store(round.state.base, round.state.offset + BYTES, 8, none);
        match (self.options.mapping_fields, tables.files) {
            (Some(fields), Some(files)) => {
                self.ask_kernel(place, fields, MapRef(files), round);
                self.b.jump(after, &[]);
            }
            (_, _) => self.b.jump(round.lost, &[]),
        }
        self.b.enter(after);
        let bias = self.b.load(round.state.base, round.state.offset + BIAS, 8, false);
        let of_file = self.b.load(round.state.base, round.state.offset + ROWS, 8, false);
        let address = self.b.binary(BinaryOp::Subtract, place, bias);
        let above = self.b.binary_int(BinaryOp::ShiftRightUnsigned, address, i64::from(FAR_BITS));
        let none = self.b.int(0);
        self.or_lost(BinaryOp::Equal, above, none, round);
        // The last row that begins with that address or a lower one, whatever way it names.
        let wanted = self.b.binary_int(BinaryOp::ShiftLeft, address, 32);
        let wanted = self.b.binary_int(BinaryOp::BitOr, wanted, i64::from(u32::MAX));
        let row = self.last_up_to(MapRef(tables.rows), of_file, UNWIND_ROWS, wanted, round);
        let row = self.b.load(row, 0, 8, false);
        self.or_lost(BinaryOp::LessEqualUnsigned, row, wanted, round);
        let way = self.b.extend(row, 4, false);
        let way = self.entry_at(MapRef(tables.ways), way, round);
        self.b.load(way, 0, 8, false)
    }

    /// What the tool has not been told yet of the process, or has not read yet: the file that is mapped there, from the kernel.
    fn ask_kernel(&mut self, place: Value, fields: MappingFields, files: MapRef, round: &Round) {
        let state = round.state;
        let callback = self.callback(Parameters::Mapping, |lower, parameters| {
            let state = lower.here(state);
            let mapping = parameters[0];
            let file = lower.b.load_pointer(mapping, fields.file as i32, Memory::Object);
            let (is_file, none) = (lower.b.block(), lower.b.block());
            lower.b.branch_nonzero(file, is_file, none);
            lower.b.enter(is_file);
            let inode = lower.b.load_pointer(file, fields.inode as i32, Memory::Object);
            let on = lower.b.load_pointer(inode, fields.on as i32, Memory::Object);
            let device = lower.b.load(on, fields.device as i32, 4, false);
            let number = lower.b.load(inode, fields.number as i32, 8, false);
            let key = lower.temporary(FILE_KEY_BYTES);
            lower.b.store(key.base, key.offset, 8, device);
            lower.b.store(key.base, key.offset + 8, 8, number);
            let (files, key) = (lower.b.map(files), lower.pointer(key));
            let file = lower.b.call_nullable(calls::MAP_LOOKUP_ELEM, &[files, key], Memory::MapValue);
            let known = lower.b.block();
            lower.b.branch_nonzero(file, known, none);
            lower.b.enter(known);
            let rows = lower.b.load(file, 0, 8, false);
            lower.b.store(state.base, state.offset + ROWS, 8, rows);
            let start = lower.b.load(mapping, fields.start as i32, 8, false);
            let page = lower.b.load(mapping, fields.page as i32, 8, false);
            let offset = lower.b.binary_int(BinaryOp::ShiftLeft, page, PAGE_BITS);
            let bias = lower.b.binary(BinaryOp::Subtract, start, offset);
            let distance = lower.b.load(file, 8, 8, false);
            let bias = lower.b.binary(BinaryOp::Add, bias, distance);
            lower.b.store(state.base, state.offset + BIAS, 8, bias);
            lower.b.jump(none, &[]);
            lower.b.enter(none);
        });
        let zero = self.b.int(0);
        self.b.store(state.base, state.offset + ROWS, 8, zero);
        let task = self.b.call_pointer(calls::GET_CURRENT_TASK_BTF, &[], Memory::Object);
        let frame = self.frame_address();
        let flags = self.b.int(0);
        self.b.call(calls::FIND_VMA, &[task, place, callback, frame, flags]);
        // It has failed, or the file has no rows.
        let rows = self.b.load(state.base, state.offset + ROWS, 8, false);
        let go = self.b.block();
        self.b.branch_nonzero(rows, go, round.lost);
        self.b.enter(go);
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
            // 1 where the first is below the second: both are below 2^63.
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
