//! Hir to Ir: decides where each value lives and which helper reads it. Never looks at registers; optimizes only where the
//! choice is made here anyway (which map, which helper).

mod aggregate;
mod allocated;
mod apart;
mod buckets;
mod entry;
mod expr;
mod functions;
mod gate;
mod homes;
mod keys;
mod loops;
mod maps;
mod memory;
mod record;
mod shared;
mod stack;
mod string;
mod turns;
mod unwind;

use std::collections::{HashMap, HashSet};

use rtrace_lang::hir::{BinaryOp, Expr, Hir, LocalId, Program, Stmt, StmtKind};
use rtrace_lang::span::Span;
use rtrace_lang::types::Type;

use crate::CompileOptions;
use crate::ir::{Block, Builder, Function, Inst, InstKind, Memory, Terminator, Value, ValueKind};
use crate::object::ErrorKind;

use apart::Apart;
use functions::{FRAME_BYTES, Inside, SHARED_BYTES};
use loops::LoopEnds;

pub use shared::{Scratch, Shared};

/// The function of one program. What it needs beyond itself is added to `shared`; `cookie_distance` is what the number of
/// a site has more than the attach cookie.
pub fn lower(
    hir: &Hir,
    program: &Program,
    cookie_distance: i64,
    options: &CompileOptions,
    shared: &mut Shared,
) -> Function {
    let mut builder = Builder::new(&program.name);
    builder.span = program.span;
    let scratch = builder.value(ValueKind::Pointer(Memory::MapValue));
    let context = builder.value(ValueKind::Pointer(Memory::Context));
    let apart = Apart::new(program, options.loop_helper);
    let homes = homes::homes(program, &apart);
    let frame_bytes = if homes.is_alone { 0 } else { FRAME_BYTES };
    let mut lower = Lower {
        hir,
        program,
        options,
        shared,
        b: builder,
        context,
        scratch,
        scratch_used: 0,
        scratch_next: 0,
        stack_used: frame_bytes,
        stack_next: frame_bytes,
        slot_bytes: SLOT_BYTES,
        keeps: false,
        memory: HashMap::new(),
        cookie_distance,
        site: None,
        apart: &apart,
        subprograms: Vec::new(),
        functions: Vec::new(),
        slot_number: None,
        frame: None,
        loops: Vec::new(),
        rounds: 1,
        callbacks: 0,
        inside: Inside::Program,
        calls_may_exit: false,
        ways_out: Vec::new(),
    };
    lower.scratch_used = if homes.is_alone { lower.marked_bytes() } else { SHARED_BYTES };
    lower.scratch_next = lower.scratch_used;
    lower.calls_may_exit = lower.functions_may_exit();
    lower.entry();
    // What leaves before this has no scratch memory.
    lower.ways_out.clear();
    // Here the scratch memory is looked up, if anything behind uses it: events that are not meant do not pay for it.
    let (gate, body) = (lower.b.block(), lower.b.block());
    lower.b.jump(gate, &[]);
    lower.b.enter(gate);
    lower.b.jump(body, &[]);
    lower.b.enter(body);
    lower.locals(&homes.shared);
    if !homes.is_alone {
        // What lies on the stack while other functions run may be confused with what lies on theirs: see `keep.rs`.
        lower.slot_bytes = 0;
        lower.keeps = !homes.follows_calls;
        lower.b.function.scratch = lower.keeps.then_some(lower.scratch);
        lower.slot_number = Some(match lower.shared.marks {
            Some(_) => lower.b.value(ValueKind::Int),
            None => lower.b.int(0),
        });
        lower.fill_frame();
        lower.lower_functions(&homes.rounds);
    }
    if let Some(predicate) = &program.predicate {
        lower.b.span = predicate.span;
        let (run, skip) = (lower.b.block(), lower.b.block());
        lower.condition(predicate, run, skip);
        lower.b.enter(skip);
        lower.leave();
        lower.b.enter(run);
    }
    lower.statements(&program.body);
    lower.b.span = program.span;
    lower.leave();
    lower.finish(gate, body)
}

/// Bytes of stack that slots may take; the rest is for registers that must be kept.
const SLOT_BYTES: u32 = 256;

struct Lower<'a> {
    hir: &'a Hir,
    program: &'a Program,
    options: &'a CompileOptions,
    shared: &'a mut Shared,
    b: Builder,
    /// The program's context, defined at the entry.
    context: Value,
    /// The per-CPU scratch memory, looked up at the entry if anything uses it.
    scratch: Value,
    scratch_used: u32,
    scratch_next: u32,
    stack_used: u32,
    stack_next: u32,
    /// Bytes of stack that slots may take.
    slot_bytes: u32,
    /// Numbers that outlive calls are put aside: see `keep.rs`.
    keeps: bool,
    /// Where variables live in the scratch memory that do not fit a register, or that the bodies of loops share.
    memory: HashMap<LocalId, u32>,
    /// What is added to the attach cookie for the number of the site.
    cookie_distance: i64,
    /// The id of the site that fired, once the entry has found it.
    site: Option<Value>,
    /// What is lowered as functions beside the program.
    apart: &'a Apart,
    /// Those of them that are called and not given to a helper, so far; and by the number of a function of the script, which it is.
    subprograms: Vec<Function>,
    functions: Vec<u32>,
    /// In the program itself and in global functions: the number of the slot of scratch memory.
    slot_number: Option<Value>,
    /// In a function beside the program itself that is not global: the program's frame.
    frame: Option<Value>,
    /// The loops around, innermost last.
    loops: Vec<LoopEnds>,
    /// How often the verifier goes through the code here, for the plain loops around it.
    rounds: u64,
    /// Bodies of loops made so far.
    callbacks: u32,
    inside: Inside,
    /// A call of a function of the script may end the program.
    calls_may_exit: bool,
    /// Blocks that end the program.
    ways_out: Vec<Block>,
}

/// Memory that a value is built in.
#[derive(Clone, Copy)]
struct Place {
    base: Value,
    offset: i32,
}

impl Place {
    fn at(self, bytes: u32) -> Place {
        Place { base: self.base, offset: self.offset + bytes as i32 }
    }
}

impl Lower<'_> {
    /// Gives variables that do not fit a register, or that are shared, their memory, empty.
    fn locals(&mut self, shared: &HashSet<LocalId>) {
        for (number, local) in self.program.locals.iter().enumerate() {
            if local.ty.stored_bytes() > 8 || !local.ty.is_scalar() || shared.contains(&LocalId(number as u32)) {
                self.memory.insert(LocalId(number as u32), self.scratch_next);
                let place = Place { base: self.scratch, offset: self.scratch_next as i32 };
                // The first word is cleared, also of an empty tuple.
                self.scratch_next += local.ty.stored_bytes().max(8);
                self.scratch_used = self.scratch_used.max(self.scratch_next);
                self.fill_zero(place, 8);
            }
        }
    }

    /// The memory of a variable that has some.
    fn memory_of(&self, local: LocalId) -> Option<Place> {
        self.memory.get(&local).map(|offset| Place { base: self.scratch, offset: *offset as i32 })
    }

    fn statements(&mut self, statements: &[Stmt]) {
        for statement in statements {
            let (stack, scratch) = (self.stack_next, self.scratch_next);
            self.b.span = statement.span;
            self.statement(statement);
            (self.stack_next, self.scratch_next) = (stack, scratch);
            if self.b.is_terminated() {
                return;
            }
        }
    }

    fn statement(&mut self, statement: &Stmt) {
        match &statement.kind {
            StmtKind::Expr(e) => self.effect(e),
            StmtKind::SetLocal { local, value } => self.set_local(*local, value),
            StmtKind::SetMap { map, key, value } => self.set_map(*map, key, value),
            StmtKind::Aggregate { map, key, value, weight } => {
                self.aggregate(*map, key, value.as_ref(), weight.as_ref());
            }
            StmtKind::Emit { record, parts } => self.emit(*record, parts),
            StmtKind::KernelLine { to, format, values } => self.kernel_line(*to, format, values),
            StmtKind::Exit { record, code } => self.exit(*record, code),
            StmtKind::Result(value) => self.result(value),
            StmtKind::If { condition, then, otherwise } => {
                let (yes, no, after) = (self.b.block(), self.b.block(), self.b.block());
                self.condition(condition, yes, no);
                self.b.enter(yes);
                self.statements(then);
                self.b.jump(after, &[]);
                self.b.enter(no);
                self.statements(otherwise);
                self.b.jump(after, &[]);
                self.b.enter(after);
            }
            StmtKind::Loop { kind, body } => self.repeat(kind, body, statement.span),
            StmtKind::Break => self.end_round(true),
            StmtKind::Continue => self.end_round(false),
            StmtKind::Call(function) => self.call_function(*function),
            StmtKind::Return => self.end_function(),
        }
    }

    /// Memory for a value while one statement runs: on the stack while there is room, else in the scratch memory.
    fn temporary(&mut self, bytes: u32) -> Place {
        let bytes = bytes.next_multiple_of(8).max(8);
        if self.stack_next + bytes <= self.slot_bytes {
            let base = self.b.stack_address(self.stack_next);
            self.stack_next += bytes;
            self.stack_used = self.stack_used.max(self.stack_next);
            Place { base, offset: 0 }
        } else {
            self.scratch_memory(bytes)
        }
    }

    fn scratch_memory(&mut self, bytes: u32) -> Place {
        let offset = self.scratch_next;
        self.scratch_next += bytes.next_multiple_of(8);
        self.scratch_used = self.scratch_used.max(self.scratch_next);
        Place { base: self.scratch, offset: offset as i32 }
    }

    /// The pointer to a place, as helpers take it.
    fn pointer(&mut self, place: Place) -> Value {
        if place.offset == 0 {
            return place.base;
        }
        let offset = self.b.int(i64::from(place.offset));
        self.b.pointer_add(place.base, offset)
    }

    /// Counts one more of this error at this place.
    fn count_error(&mut self, kind: ErrorKind, span: Span) {
        let offset = self.shared.error(kind, span);
        let counter = self.b.map_value_address(self.shared.globals_map, offset);
        let one = self.b.int(1);
        self.b.atomic_add(counter, 0, one);
    }

    /// Runs `then` only if the value is negative (a helper's error), and goes on.
    fn if_negative(&mut self, value: Value, then: impl FnOnce(&mut Self)) {
        let (bad, after) = (self.b.block(), self.b.block());
        let zero = self.b.int(0);
        self.b.branch(BinaryOp::LessSigned, value, zero, bad, after);
        self.b.enter(bad);
        then(self);
        self.b.jump(after, &[]);
        self.b.enter(after);
    }

    /// Where a pointer is not null `found` gives a value, else `missing` does.
    fn if_found(
        &mut self,
        pointer: Value,
        found: impl FnOnce(&mut Self, Value) -> Value,
        missing: impl FnOnce(&mut Self) -> Value,
    ) -> Value {
        let (yes, no) = (self.b.block(), self.b.block());
        let (after, result) = self.b.block_with(ValueKind::Int);
        self.b.branch_nonzero(pointer, yes, no);
        self.b.enter(yes);
        let value = found(self, pointer);
        self.b.jump(after, &[value]);
        self.b.enter(no);
        let value = missing(self);
        self.b.jump(after, &[value]);
        self.b.enter(after);
        result
    }

    /// The smaller of the two, without signs: a bound that the kernel's verifier sees.
    fn at_most(&mut self, value: Value, most: u32) -> Value {
        let (fits, wide) = (self.b.block(), self.b.block());
        let (after, result) = self.b.block_with(ValueKind::Int);
        let most_value = self.b.int(i64::from(most));
        self.b.branch(BinaryOp::LessUnsigned, value, most_value, fits, wide);
        self.b.enter(fits);
        // The verifier may see a number that was kept elsewhere, of which it forgets what it has learned.
        let value = if most > 0 { self.b.bounded(value, most - 1) } else { value };
        self.b.jump(after, &[value]);
        self.b.enter(wide);
        let most_value = self.b.int(i64::from(most));
        self.b.jump(after, &[most_value]);
        self.b.enter(after);
        result
    }

    fn effect(&mut self, e: &Expr) {
        match &e.ty {
            Type::Void => {
                self.value(e);
            }
            Type::Str(bytes) => {
                let place = self.temporary(e.ty.stored_bytes().max(*bytes));
                self.write(e, place);
            }
            ty if ty.is_scalar() => {
                self.value(e);
            }
            _ => {
                let place = self.temporary(e.ty.stored_bytes());
                self.write(e, place);
            }
        }
    }
}

/// Nothing leads to blocks that were opened behind a return; they end like it.
fn close(function: &mut Function, span: Span) {
    for block in &mut function.blocks {
        if block.terminator.is_none() {
            let value = Value(function.values.len() as u32);
            function.values.push(ValueKind::Int);
            block.insts.push(Inst { kind: InstKind::Const(0), result: Some(value), span });
            block.terminator = Some(Terminator::Return(value));
        }
    }
}
