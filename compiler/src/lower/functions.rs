//! Functions beside the program itself: the functions of the script, and the bodies of loops that a helper calls. What
//! they share with their callers (variables, parameters, results) lives in the scratch memory; they find that, and the
//! context, through a frame on the program's stack.

use rtrace_lang::hir::{BinaryOp, FunctionId, StmtKind, for_each_statement};

use crate::ir::{Builder, Function, Memory, Value, ValueKind};

use super::gate::MARK_BYTES;
use super::{Lower, close};

/// Where words of the frame lie: the context, the scratch memory. No numbers: see `keep.rs`.
const FRAME_CONTEXT: i32 = 0;
const FRAME_SCRATCH: i32 = 8;
/// Bytes of the frame.
pub(super) const FRAME_BYTES: u32 = 16;

/// Where words of the scratch memory lie, behind a mark: what is to end, the site.
const ENDED: i32 = MARK_BYTES as i32;
const SITE: i32 = ENDED + 8;
/// Bytes of scratch memory before all that variables take.
pub(super) const SHARED_BYTES: u32 = MARK_BYTES + 16;

/// What that word says is to end: nothing, the whole program, or the function of the script that runs.
const ENDED_PROGRAM: i64 = 1;
const ENDED_FUNCTION: i64 = 2;

/// Where in a program the code stands that is lowered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    Program,
    /// A function of the script.
    Function,
    /// The body of a loop that a helper calls, in a function of the script or not.
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

impl Lower<'_> {
    /// The functions of the script that this program calls.
    pub(super) fn subprograms(&mut self, rounds: &[u64]) {
        let program = self.program;
        for (number, function) in program.functions.iter().enumerate() {
            let name = format!("{}_{}", program.name, function.name);
            let rounds = rounds[number];
            let lowered = self.function_apart(&name, Inside::Function, 1, |lower, _| {
                lower.rounds = rounds;
                lower.statements(&function.body);
            });
            debug_assert_eq!(self.b.function.subprograms.len(), number);
            self.b.function.subprograms.push(lowered);
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
        let frame = self.frame_address();
        self.b.call_subprogram(function.0, frame);
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
    }

    pub(super) fn frame_address(&mut self) -> Value {
        match self.frame {
            Some(frame) => frame,
            None => self.b.stack_address(0),
        }
    }

    /// The body of a loop that a helper calls, whose last parameter, of so many, is the frame; gives its address. `fill`
    /// gets the parameters that matter: the number of the round, the mapping, or the key and the value.
    pub(super) fn callback(&mut self, parameters: u8, fill: impl FnOnce(&mut Self, &[Value])) -> Value {
        self.callbacks += 1;
        let name = format!("{}_loop{}", self.program.name, self.callbacks);
        let function = self.function_apart(&name, self.inside.callback(), parameters, fill);
        self.b.callback(function)
    }

    /// A function of its own with that many parameters, the last of which is the frame.
    fn function_apart(
        &mut self,
        name: &str,
        inside: Inside,
        parameters: u8,
        fill: impl FnOnce(&mut Self, &[Value]),
    ) -> Function {
        let mut b = Builder::new(name);
        b.span = self.b.span;
        let given: Vec<Value> = match parameters {
            1 => Vec::new(),
            2 => vec![b.parameter(0, ValueKind::Int)],
            3 => vec![b.parameter(1, ValueKind::Pointer(Memory::Object))],
            _ => vec![
                b.parameter(1, ValueKind::Pointer(Memory::MapKey)),
                b.parameter(2, ValueKind::Pointer(Memory::MapValue)),
            ],
        };
        let frame = b.parameter(parameters - 1, ValueKind::Pointer(Memory::Stack));
        let context = b.load_pointer(frame, FRAME_CONTEXT, Memory::Context);
        let scratch = b.load_pointer(frame, FRAME_SCRATCH, Memory::MapValue);
        let site = b.load(scratch, SITE, 8, false);
        let outer = (
            std::mem::replace(&mut self.b, b),
            std::mem::replace(&mut self.context, context),
            std::mem::replace(&mut self.scratch, scratch),
            self.site.replace(site),
            self.frame.replace(frame),
            std::mem::take(&mut self.loops),
            std::mem::take(&mut self.stack_used),
            std::mem::take(&mut self.stack_next),
            std::mem::replace(&mut self.rounds, 1),
            std::mem::replace(&mut self.inside, inside),
        );
        let scratch_next = self.scratch_next;
        fill(self, &given);
        let zero = self.b.int(0);
        self.b.ret(zero);
        self.scratch_next = scratch_next;
        let stack_bytes = self.stack_used;
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
        ) = (outer.1, outer.2, outer.3, outer.4, outer.5, outer.6, outer.7, outer.8, outer.9);
        function.stack_bytes = stack_bytes;
        function.scratch = self.keeps.then_some(scratch);
        close(&mut function, self.program.span);
        function
    }
}
