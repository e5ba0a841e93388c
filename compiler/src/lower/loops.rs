//! Loops. Few rounds of a known number that enter no other function are plain jumps, which the kernel's verifier follows
//! one by one. All others are functions of their own that a helper calls for each round, so that the verifier sees their
//! body once, or global functions, which it verifies by themselves: see `functions.rs`.

use rtrace_lang::aggregations::AggregationPart;
use rtrace_lang::calls;
use rtrace_lang::hir::{
    BinaryOp, Expr, ExprKind, LocalId, LoopKind, MapId, MapValue, Stmt, StmtKind, for_each_statement,
};
use rtrace_lang::limits::{
    MOST_GLOBAL_ROUNDS, MOST_OLD_ROUNDS, MOST_OLD_ROUNDS_TOGETHER, MOST_PLAIN_ROUNDS, MOST_ROUNDS,
};
use rtrace_lang::span::Span;
use rtrace_lang::types::Type;

use crate::ir::{Block, Value, ValueKind};
use crate::object::ErrorKind;

use super::apart::Apart;
use super::expr::variable;
use super::functions::{Parameters, RoundBody};
use super::turns::Turn;
use super::{Lower, Place};

/// What `break` and `continue` do.
#[derive(Clone, Copy)]
pub(super) enum LoopEnds {
    /// Jump: to the next round, or behind the loop.
    Jump { next: Block, after: Block },
    /// Give the helper 0 for a next round and 1 for the end.
    Return,
}

/// Whether the body of a loop becomes a function that is called for each round.
pub(super) fn is_called(kind: &LoopKind, body: &[Stmt], rounds: u64, apart: &Apart) -> bool {
    match kind {
        LoopKind::Map { .. } => true,
        LoopKind::While(_) => apart.can_call(kind, body),
        LoopKind::Range { from, to, .. } => {
            let is_long = known_rounds(from, to, rounds).is_none();
            apart.can_call(kind, body) && (is_long || enters_functions(body, rounds_of(kind, rounds), apart))
        }
        LoopKind::Unroll(_) => false,
    }
}

/// Whether statements that are verified so often enter other functions: the number of a round, which the verifier has to
/// know, does not outlive that (see `keep.rs`).
pub(super) fn enters_functions(statements: &[Stmt], rounds: u64, apart: &Apart) -> bool {
    let mut found = false;
    for_each_statement(statements, &mut |statement| {
        found |= match &statement.kind {
            StmtKind::Call(_) => true,
            StmtKind::Loop { kind, body } => is_called(kind, body, rounds, apart),
            StmtKind::Expr(_)
            | StmtKind::SetLocal { .. }
            | StmtKind::SetMap { .. }
            | StmtKind::Aggregate { .. }
            | StmtKind::Emit { .. }
            | StmtKind::KernelLine { .. }
            | StmtKind::Exit { .. }
            | StmtKind::Result(_)
            | StmtKind::If { .. }
            | StmtKind::Break
            | StmtKind::Continue
            | StmtKind::Return => false,
        };
        statement.for_each_expr(&mut |e| found |= is_a_loop(e));
    });
    found
}

/// Whether an expression, or a part of it, is a loop that a helper calls.
fn is_a_loop(e: &Expr) -> bool {
    let mut found = matches!(e.kind, ExprKind::Len { .. } | ExprKind::StackByTables { .. });
    e.for_each_part(&mut |part| found |= is_a_loop(part));
    found
}

/// How often a loop goes round, where it is so seldom that all of it can be verified.
fn known_rounds(from: &Expr, to: &Expr, outer: u64) -> Option<u64> {
    let rounds = to.constant()?.checked_sub(from.constant()?)?.max(0) as u64;
    (rounds.saturating_mul(outer) <= MOST_PLAIN_ROUNDS).then_some(rounds)
}

/// How often the body of a plain loop is verified.
pub(super) fn rounds_of(kind: &LoopKind, outer: u64) -> u64 {
    match kind {
        LoopKind::Range { from, to, .. } => match known_rounds(from, to, outer) {
            Some(rounds) => rounds.max(1) * outer,
            None => most_rounds(outer) * outer,
        },
        LoopKind::While(_) => most_rounds(outer) * outer,
        LoopKind::Map { .. } => 1,
        LoopKind::Unroll(count) => u64::from(*count) * outer,
    }
}

/// Rounds that a plain loop of an unknown number of rounds may take.
fn most_rounds(outer: u64) -> u64 {
    (MOST_OLD_ROUNDS_TOGETHER / outer).clamp(4, MOST_OLD_ROUNDS)
}

/// Whether the body may end more than itself: the function around it, or the whole program.
fn may_end(body: &[Stmt], calls_may_exit: bool) -> bool {
    let mut found = false;
    for_each_statement(body, &mut |statement| {
        found |= match statement.kind {
            StmtKind::Return | StmtKind::Exit { .. } => true,
            StmtKind::Call(_) => calls_may_exit,
            StmtKind::Expr(_)
            | StmtKind::SetLocal { .. }
            | StmtKind::SetMap { .. }
            | StmtKind::Aggregate { .. }
            | StmtKind::Emit { .. }
            | StmtKind::KernelLine { .. }
            | StmtKind::If { .. }
            | StmtKind::Loop { .. }
            | StmtKind::Break
            | StmtKind::Result(_)
            | StmtKind::Continue => false,
        };
    });
    found
}

impl Lower<'_> {
    pub(super) fn repeat(&mut self, kind: &LoopKind, body: &[Stmt], span: Span) {
        if is_called(kind, body, self.rounds, self.apart) {
            match kind {
                LoopKind::While(condition) => self.called_while(condition, body, span),
                LoopKind::Range { variable, from, to } => self.called_range(*variable, from, to, body, span),
                LoopKind::Map { map, key, value } => self.each_entry(*map, *key, *value, body),
                LoopKind::Unroll(_) => unreachable!("is never called"),
            }
            if may_end(body, self.calls_may_exit) {
                self.end_if_ended();
            }
            return;
        }
        let outer = self.rounds;
        self.rounds = rounds_of(kind, outer);
        match kind {
            LoopKind::While(condition) => self.plain_while(condition, body, outer, span),
            LoopKind::Range { variable, from, to } => self.plain_range(*variable, from, to, body, outer, span),
            LoopKind::Unroll(count) => self.unroll(*count, body),
            LoopKind::Map { .. } => unreachable!("is always called"),
        }
        self.rounds = outer;
    }

    pub(super) fn end_round(&mut self, is_last: bool) {
        match self.loops.last().expect("the checker lets break and continue stand in loops only") {
            LoopEnds::Jump { next, after } => {
                let to = if is_last { *after } else { *next };
                self.b.jump(to, &[]);
            }
            LoopEnds::Return => {
                let answer = self.b.int(i64::from(is_last));
                self.b.ret(answer);
            }
        }
    }

    fn body(&mut self, body: &[Stmt], ends: LoopEnds) {
        self.loops.push(ends);
        self.statements(body);
        self.loops.pop();
    }

    /// The body as many times as it is to run; nothing is compared.
    fn unroll(&mut self, count: u32, body: &[Stmt]) {
        let after = self.b.block();
        for _ in 0..count {
            let next = self.b.block();
            self.body(body, LoopEnds::Jump { next, after });
            self.b.jump(next, &[]);
            self.b.enter(next);
        }
        self.b.jump(after, &[]);
        self.b.enter(after);
    }

    fn plain_range(&mut self, local: LocalId, from: &Expr, to: &Expr, body: &[Stmt], outer: u64, span: Span) {
        let is_known = known_rounds(from, to, outer).is_some();
        let (from, to) = (self.value(from), self.value(to));
        // What is counted is the rounds, a number that the verifier knows: of rounds that it cannot tell apart it takes
        // the second for an endless loop.
        let (head, round) = self.b.block_with(ValueKind::Int);
        let (inside, next, after) = (self.b.block(), self.b.block(), self.b.block());
        let zero = self.b.int(0);
        self.b.jump(head, &[zero]);
        self.b.enter_unsealed(head);
        let index = self.b.binary(BinaryOp::Add, from, round);
        self.b.branch(BinaryOp::LessSigned, index, to, inside, after);
        self.b.enter(inside);
        if !is_known {
            self.only_rounds_below(round, most_rounds(outer), after, span);
        }
        self.put_local(local, index);
        self.body(body, LoopEnds::Jump { next, after });
        self.b.jump(next, &[]);
        self.b.enter(next);
        let following = self.b.binary_int(BinaryOp::Add, round, 1);
        self.b.jump(head, &[following]);
        self.b.seal(head);
        self.b.enter(after);
    }

    fn plain_while(&mut self, condition: &Expr, body: &[Stmt], outer: u64, span: Span) {
        let (head, round) = self.b.block_with(ValueKind::Int);
        let (inside, next, after) = (self.b.block(), self.b.block(), self.b.block());
        let zero = self.b.int(0);
        self.b.jump(head, &[zero]);
        self.b.enter_unsealed(head);
        self.condition(condition, inside, after);
        self.b.enter(inside);
        self.only_rounds_below(round, most_rounds(outer), after, span);
        self.body(body, LoopEnds::Jump { next, after });
        self.b.jump(next, &[]);
        self.b.enter(next);
        let following = self.b.binary_int(BinaryOp::Add, round, 1);
        self.b.jump(head, &[following]);
        self.b.seal(head);
        self.b.enter(after);
    }

    /// Goes behind the loop, which is counted, where it takes more rounds than this kernel allows.
    fn only_rounds_below(&mut self, round: Value, most: u64, after: Block, span: Span) {
        let most = self.b.int(most as i64);
        let (go, stop) = (self.b.block(), self.b.block());
        self.b.branch(BinaryOp::LessUnsigned, round, most, go, stop);
        self.b.enter(stop);
        self.count_error(ErrorKind::Loop, span);
        self.b.jump(after, &[]);
        self.b.enter(go);
    }

    fn called_while(&mut self, condition: &Expr, body: &[Stmt], span: Span) {
        let callback = self.round(|lower, _| {
            let (go, stop) = (lower.b.block(), lower.b.block());
            lower.condition(condition, go, stop);
            lower.b.enter(stop);
            let one = lower.b.int(1);
            lower.b.ret(one);
            lower.b.enter(go);
            lower.body(body, LoopEnds::Return);
        });
        let rounds = self.b.int(self.most_called_rounds());
        let taken = self.call_loop(rounds, callback);
        let (all, after) = (self.b.block(), self.b.block());
        let most = self.b.int(self.most_called_rounds());
        self.b.branch(BinaryOp::Equal, taken, most, all, after);
        self.b.enter(all);
        self.count_error(ErrorKind::Loop, span);
        self.b.jump(after, &[]);
        self.b.enter(after);
    }

    fn called_range(&mut self, local: LocalId, from: &Expr, to: &Expr, body: &[Stmt], span: Span) {
        let start = self.scratch_memory(8);
        let (from, to) = (self.value(from), self.value(to));
        self.b.store(start.base, start.offset, 8, from);
        let callback = self.round(|lower, round| {
            let start = lower.b.load(lower.scratch, start.offset, 8, false);
            let index = lower.b.binary(BinaryOp::Add, start, round);
            lower.put_local(local, index);
            lower.body(body, LoopEnds::Return);
        });
        let (run, after) = (self.b.block(), self.b.block());
        self.b.branch(BinaryOp::LessSigned, from, to, run, after);
        self.b.enter(run);
        let rounds = self.b.binary(BinaryOp::Subtract, to, from);
        let most = self.most_called_rounds();
        let taken = self.at_most(rounds, most as u32);
        let taken = self.call_loop(taken, callback);
        let (all, cut) = (self.b.block(), self.b.block());
        let most = self.b.int(most);
        self.b.branch(BinaryOp::LessUnsigned, taken, most, after, all);
        self.b.enter(all);
        self.b.branch(BinaryOp::LessUnsigned, most, rounds, cut, after);
        self.b.enter(cut);
        self.count_error(ErrorKind::Loop, span);
        self.b.jump(after, &[]);
        self.b.enter(after);
    }

    /// Rounds that a loop may take whose body is a function.
    fn most_called_rounds(&self) -> i64 {
        if self.apart.has_helper { MOST_ROUNDS } else { MOST_GLOBAL_ROUNDS }
    }

    /// Calls a function for each round; gives how many it was called for.
    pub(super) fn call_loop(&mut self, rounds: Value, body: RoundBody) -> Value {
        match body {
            RoundBody::Callback(callback) => {
                let (frame, flags) = (self.frame_address(), self.b.int(0));
                self.b.call(calls::LOOP, &[rounds, callback, frame, flags])
            }
            RoundBody::Global(number) => self.call_rounds(rounds, number),
        }
    }

    /// What the helper does: the verifier goes round it, but sees nothing of the body.
    fn call_rounds(&mut self, rounds: Value, number: u32) -> Value {
        let slot = self.slot_number();
        let (head, round) = self.b.block_with(ValueKind::Int);
        let (after, taken) = self.b.block_with(ValueKind::Int);
        let (more, inside, again, stopped, done) =
            (self.b.block(), self.b.block(), self.b.block(), self.b.block(), self.b.block());
        let zero = self.b.int(0);
        self.b.jump(head, &[zero]);
        self.b.enter_unsealed(head);
        let most = self.b.int(MOST_GLOBAL_ROUNDS);
        self.b.branch(BinaryOp::LessUnsigned, round, most, more, done);
        self.b.enter(more);
        self.b.branch(BinaryOp::LessUnsigned, round, rounds, inside, done);
        self.b.enter(inside);
        let answer = self.b.call_subprogram(number, &[slot, round]);
        let next = self.b.binary_int(BinaryOp::Add, round, 1);
        self.b.branch_nonzero(answer, stopped, again);
        self.b.enter(stopped);
        self.b.jump(after, &[next]);
        self.b.enter(again);
        self.b.jump(head, &[next]);
        self.b.seal(head);
        self.b.enter(done);
        self.b.jump(after, &[round]);
        self.b.enter(after);
        taken
    }

    fn each_entry(&mut self, map: MapId, key: LocalId, value: LocalId, body: &[Stmt]) {
        // What the body reads of an entry is in the map that the entry is in.
        let turn = self.turn_of(map);
        let which = self.shared.turns(map).map(|_| {
            let (place, which) = (self.scratch_memory(8), self.which(turn));
            self.b.store(place.base, place.offset, 8, which);
            place
        });
        let callback = self.callback(Parameters::Entry, |lower, parameters| {
            let (key_pointer, value_pointer) = (parameters[0], parameters[1]);
            let is_meant = match which {
                Some(place) => lower.b.load(lower.scratch, place.offset, 8, false),
                None => lower.b.int(0),
            };
            let turn = lower.same_turn(map, is_meant);
            lower.take_key(map, turn, key, key_pointer);
            match lower.hir.maps[map.index()].value.clone() {
                MapValue::Plain(ty) => lower.take_local(value, &ty, value_pointer),
                MapValue::Aggregation(_) => {
                    let bytes = lower.hir.maps[map.index()].kept_key_bytes();
                    let place = lower.temporary(bytes);
                    lower.copy(Place { base: key_pointer, offset: 0 }, place, bytes);
                    let key = lower.pointer(place);
                    let merged = lower.merged(map, turn, key, AggregationPart::Value);
                    lower.put_local(value, merged);
                }
            }
            lower.body(body, LoopEnds::Return);
        });
        self.call_for_each(turn, callback);
    }

    /// How many entries a map has.
    pub(super) fn length(&mut self, map: MapId) -> Value {
        let callback = self.callback(Parameters::Entry, |_, _| {});
        let turn = self.turn_of(map);
        self.call_for_each(turn, callback)
    }

    /// Gives how many entries the callback has seen.
    fn call_for_each(&mut self, turn: Turn, callback: Value) -> Value {
        let (frame, flags) = (self.frame_address(), self.b.int(0));
        self.call_on(turn, calls::FOR_EACH_MAP_ELEM, &[callback, frame, flags])
    }

    fn take_key(&mut self, map: MapId, turn: Turn, local: LocalId, pointer: Value) {
        match self.memory_of(local) {
            Some(place) if self.hir.maps[map.index()].has_short_keys() => self.whole_key(map, turn, pointer, place),
            Some(_) | None => {
                let ty = self.program.locals[local.index()].ty.clone();
                self.take_local(local, &ty, pointer);
            }
        }
    }

    /// Sets a variable to what lies behind a pointer, as maps keep it.
    fn take_local(&mut self, local: LocalId, ty: &Type, pointer: Value) {
        let from = Place { base: pointer, offset: 0 };
        match self.memory_of(local) {
            Some(place) => self.copy(from, place, ty.stored_bytes()),
            None => {
                let value = self.b.load(pointer, 0, 8, false);
                self.b.write(variable(local), value);
            }
        }
    }

    /// Sets a variable that holds a number.
    pub(super) fn put_local(&mut self, local: LocalId, value: Value) {
        match self.memory_of(local) {
            Some(place) => self.b.store(place.base, place.offset, 8, value),
            None => self.b.write(variable(local), value),
        }
    }
}
