//! Functions beside the program itself: the functions of the script, and the bodies of loops. What they share with their
//! callers (variables, parameters, results) lives in the scratch memory; they find that, and the context, through a frame on
//! the program's stack. Global functions (`apart.rs`) get the number of the slot of that memory instead, and no context.

use rtrace_lang::hir::{BinaryOp, FunctionId, StmtKind, for_each_statement};

use crate::ir::{Builder, Function, Memory, Value, ValueKind};

use super::gate::MARK_BYTES;
use super::{Lower, close};

/// Where words of the frame lie: the context, the scratch memory. No numbers: see `keep.rs`.
const FRAME_CONTEXT: i32 = 0;
const FRAME_SCRATCH: i32 = 8;
/// Bytes of the frame.
pub(super) const FRAME_BYTES: u32 = 16;

/// Where words of the scratch memory lie, behind a mark: what is to end, the site, the number of its slot.
const ENDED: i32 = MARK_BYTES as i32;
const SITE: i32 = ENDED + 8;
const SLOT: i32 = SITE + 8;
/// Bytes of scratch memory before all that variables take.
pub(super) const SHARED_BYTES: u32 = MARK_BYTES + 24;

/// What that word says is to end: nothing, the whole program, or the function of the script that runs.
const ENDED_PROGRAM: i64 = 1;
const ENDED_FUNCTION: i64 = 2;

/// Where in a program the code stands that is lowered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    Program,
    /// A function of the script.
    Function,
    /// The body of a loop that is called for each round, in a function of the script or not.
    Callback {
        in_function: bool,
    },
}

impl Inside {
    fn callback(self) -> Inside {
        match self {
            Inside::Program => Inside::Callback { in_function: false },
            Inside::Function => Inside::Callback { in_function: true },
            Inside::Callback { in_function } => Inside::Callback { in_function },
        }
    }
}

/// Stands for the context where there is none: no function has so many values.
const NO_CONTEXT: Value = Value(u32::MAX);

/// What a function beside the program gets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Parameters {
    /// The frame alone; so is the last of the others.
    Frame,
    /// The number of the round.
    Round,
    /// A mapping of a process, behind the process.
    Mapping,
    /// An entry's key and value, behind the map.
    Entry,
    /// The number of the slot of scratch memory and that of the round, and no frame: of a global function.
    Numbers,
}

/// The body of a loop as a function.
#[derive(Clone, Copy)]
pub(super) enum RoundBody {
    /// What a helper calls.
    Callback(Value),
    /// The number of a global function.
    Global(u32),
}

impl Lower<'_> {
    /// The functions of the script that this program calls.
    pub(super) fn lower_functions(&mut self, rounds: &[u64]) {
        let program = self.program;
        for (number, function) in program.functions.iter().enumerate() {
            let name = format!("{}_{}", program.name, function.name);
            let rounds = rounds[number];
            let parameters =
                if self.apart.is_global(FunctionId(number as u32)) { Parameters::Numbers } else { Parameters::Frame };
            let lowered = self.function_apart(&name, Inside::Function, parameters, |lower, _| {
                lower.rounds = rounds;
                lower.statements(&function.body);
            });
            let number = self.subprogram(lowered);
            self.functions.push(number);
            // What a caller builds in the scratch memory must not lie where the function builds something.
            self.scratch_next = self.scratch_used;
        }
    }

    /// Whether a function of the script can end the program.
    pub(super) fn functions_may_exit(&self) -> bool {
        let mut found = false;
        for function in &self.program.functions {
            for_each_statement(&function.body, &mut |statement| {
                found |= matches!(statement.kind, StmtKind::Exit { .. });
            });
        }
        found
    }

    pub(super) fn call_function(&mut self, function: FunctionId) {
        let number = self.functions[function.index()];
        if self.apart.is_global(function) {
            let (slot, round) = (self.slot_number(), self.b.int(0));
            self.b.call_subprogram(number, &[slot, round]);
        } else {
            let frame = self.frame_address();
            self.b.call_subprogram(number, &[frame]);
        }
        if self.calls_may_exit {
            self.end_if_ended();
        }
    }

    /// Ends the program.
    pub(super) fn leave(&mut self) {
        let answer = match self.inside {
            Inside::Program => return self.way_out(),
            Inside::Function => self.note_ended(ENDED_PROGRAM, 0),
            Inside::Callback { .. } => self.note_ended(ENDED_PROGRAM, 1),
        };
        let answer = self.b.int(answer);
        self.b.ret(answer);
    }

    /// Ends the function of the script, or else the program.
    pub(super) fn end_function(&mut self) {
        let answer = match self.inside {
            Inside::Program | Inside::Callback { in_function: false } => return self.leave(),
            Inside::Function => 0,
            Inside::Callback { in_function: true } => self.note_ended(ENDED_FUNCTION, 1),
        };
        let answer = self.b.int(answer);
        self.b.ret(answer);
    }

    /// Gives `answer`, which says to whoever called whether to call again.
    fn note_ended(&mut self, what: i64, answer: i64) -> i64 {
        let what = self.b.int(what);
        self.b.store(self.scratch, ENDED, 8, what);
        answer
    }

    /// Behind a call: ends this function, too, if what was called has noted so.
    pub(super) fn end_if_ended(&mut self) {
        let ended = self.b.load(self.scratch, ENDED, 8, false);
        let (leave, after) = (self.b.block(), self.b.block());
        self.b.branch_nonzero(ended, leave, after);
        self.b.enter(leave);
        match self.inside {
            Inside::Program => self.way_out(),
            Inside::Callback { .. } => {
                let answer = self.b.int(1);
                self.b.ret(answer);
            }
            Inside::Function => {
                // The caller goes on if only this function has ended.
                let left = self.b.binary_int(BinaryOp::BitAnd, ended, ENDED_PROGRAM);
                self.b.store(self.scratch, ENDED, 8, left);
                let answer = self.b.int(0);
                self.b.ret(answer);
            }
        }
        self.b.enter(after);
    }

    /// Puts where they find it what functions need.
    pub(super) fn fill_frame(&mut self) {
        let frame = self.b.stack_address(0);
        let (context, scratch, site, zero) = (self.context, self.scratch, self.site(), self.b.int(0));
        self.b.store(frame, FRAME_CONTEXT, 8, context);
        self.b.store(frame, FRAME_SCRATCH, 8, scratch);
        self.b.store(scratch, ENDED, 8, zero);
        self.b.store(scratch, SITE, 8, site);
        if !self.apart.has_helper {
            let slot = self.slot_number();
            self.b.store(scratch, SLOT, 8, slot);
        }
    }

    /// The number of the slot of scratch memory, for global functions.
    pub(super) fn slot_number(&mut self) -> Value {
        match self.slot_number {
            Some(number) => number,
            None => self.b.load(self.scratch, SLOT, 8, false),
        }
    }

    /// Takes in a function that is called; gives its number.
    fn subprogram(&mut self, function: Function) -> u32 {
        self.subprograms.push(function);
        self.subprograms.len() as u32 - 1
    }

    pub(super) fn frame_address(&mut self) -> Value {
        match self.frame {
            Some(frame) => frame,
            None => self.b.stack_address(0),
        }
    }

    /// The body of a loop, called for each round: by a helper, or, where there is none, as a global function. `fill` gets the
    /// number of the round.
    pub(super) fn round(&mut self, fill: impl FnOnce(&mut Self, Value)) -> RoundBody {
        let fill = |lower: &mut Self, given: &[Value]| fill(lower, given[0]);
        if self.apart.has_helper {
            return RoundBody::Callback(self.callback(Parameters::Round, fill));
        }
        let function = self.body_apart(Parameters::Numbers, fill);
        RoundBody::Global(self.subprogram(function))
    }

    /// A function that a helper calls; gives its address. `fill` gets the parameters that matter.
    pub(super) fn callback(&mut self, parameters: Parameters, fill: impl FnOnce(&mut Self, &[Value])) -> Value {
        let function = self.body_apart(parameters, fill);
        self.b.callback(function)
    }

    fn body_apart(&mut self, parameters: Parameters, fill: impl FnOnce(&mut Self, &[Value])) -> Function {
        self.callbacks += 1;
        let name = format!("{}_loop{}", self.program.name, self.callbacks);
        self.function_apart(&name, self.inside.callback(), parameters, fill)
    }

    /// A function of its own.
    fn function_apart(
        &mut self,
        name: &str,
        inside: Inside,
        parameters: Parameters,
        fill: impl FnOnce(&mut Self, &[Value]),
    ) -> Function {
        let mut b = Builder::new(name);
        b.span = self.b.span;
        b.function.is_global = parameters == Parameters::Numbers;
        let outer = (
            std::mem::replace(&mut self.b, b),
            self.context,
            self.scratch,
            self.site,
            self.frame.take(),
            std::mem::take(&mut self.loops),
            std::mem::take(&mut self.stack_used),
            std::mem::take(&mut self.stack_next),
            std::mem::replace(&mut self.rounds, 1),
            std::mem::replace(&mut self.inside, inside),
            self.slot_number.take(),
        );
        let scratch_next = self.scratch_next;
        let given = self.arrive(parameters);
        self.site = Some(self.b.load(self.scratch, SITE, 8, false));
        fill(self, &given);
        let zero = self.b.int(0);
        self.b.ret(zero);
        self.scratch_next = scratch_next;
        let (stack_bytes, scratch) = (self.stack_used, self.scratch);
        let mut function = std::mem::replace(&mut self.b, outer.0).function;
        (
            self.context,
            self.scratch,
            self.site,
            self.frame,
            self.loops,
            self.stack_used,
            self.stack_next,
            self.rounds,
            self.inside,
            self.slot_number,
        ) = (outer.1, outer.2, outer.3, outer.4, outer.5, outer.6, outer.7, outer.8, outer.9, outer.10);
        function.stack_bytes = stack_bytes;
        function.scratch = self.keeps.then_some(scratch);
        close(&mut function, self.program.span);
        function
    }

    /// Finds what the function needs that begins here; gives the parameters that matter.
    fn arrive(&mut self, parameters: Parameters) -> Vec<Value> {
        let b = &mut self.b;
        let (given, frame) = match parameters {
            Parameters::Frame => (Vec::new(), 0),
            Parameters::Round => (vec![b.parameter(0, ValueKind::Int)], 1),
            Parameters::Mapping => (vec![b.parameter(1, ValueKind::Pointer(Memory::Object))], 2),
            Parameters::Entry => {
                let key = b.parameter(1, ValueKind::Pointer(Memory::MapKey));
                (vec![key, b.parameter(2, ValueKind::Pointer(Memory::MapValue))], 3)
            }
            Parameters::Numbers => {
                self.context = NO_CONTEXT;
                let (slot, round) = (b.parameter(0, ValueKind::Int), b.parameter(1, ValueKind::Int));
                self.slot_number = Some(slot);
                self.scratch = self.look_up_slot(slot);
                let (there, gone) = (self.b.block(), self.b.block());
                self.b.branch_nonzero(self.scratch, there, gone);
                self.b.enter(gone);
                let stop = self.b.int(1);
                self.b.ret(stop);
                self.b.enter(there);
                return vec![round];
            }
        };
        let frame = b.parameter(frame, ValueKind::Pointer(Memory::Stack));
        self.frame = Some(frame);
        self.context = b.load_pointer(frame, FRAME_CONTEXT, Memory::Context);
        self.scratch = b.load_pointer(frame, FRAME_SCRATCH, Memory::MapValue);
        given
    }
}
