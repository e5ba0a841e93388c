//! The intermediate representation: one function of SSA values with block parameters. What holds in it is written at the
//! top of `ir/verify.rs`. Knows nothing of registers or encodings.

mod build;
mod dump;
pub mod interpret;
mod verify;

pub use build::{Builder, Variable};
pub use dump::dump;
pub use verify::verify;

use rtrace_lang::hir::BinaryOp;
use rtrace_lang::span::Span;
use smallvec::{SmallVec, smallvec};

macro_rules! ids {
    ($($name:ident $doc:literal;)*) => {
        $(
            #[doc = $doc]
            #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
            pub struct $name(pub u32);

            impl $name {
                pub fn index(self) -> usize {
                    self.0 as usize
                }
            }
        )*
    };
}

ids! {
    Value "An SSA value: a 64-bit word.";
    Block "A block of a function.";
    MapRef "A map of the object, counted as `object::Object::maps` counts.";
}

/// The values that a call or a jump takes; without memory of their own up to what a helper takes.
pub type Values = SmallVec<[Value; 5]>;

/// Where a block may go on.
pub type Successors = SmallVec<[Block; 2]>;

/// What a value is, for the verifier of the representation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ValueKind {
    /// A number; addresses of kernel and user memory are numbers too, read through helpers only.
    Int,
    /// Points into memory that loads and stores may touch.
    Pointer(Memory),
    /// A pointer that a helper may have left null; tested before use.
    Nullable(Memory),
    /// A map itself, as helpers take it.
    Map,
    /// A function, as helpers take it.
    Callback,
}

/// The memory that a pointer points into.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Memory {
    Stack,
    /// A value of a map: also the global data and the per-CPU scratch.
    MapValue,
    /// A reserved record of the ring buffer.
    Record,
    /// The program's context.
    Context,
    /// A kernel object whose type the kernel's verifier knows.
    Object,
    /// The key of a map's entry, as a loop over the map hands it to its body.
    MapKey,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct Function {
    pub name: String,
    pub blocks: Vec<BlockData>,
    pub values: Vec<ValueKind>,
    /// Bytes of stack that slots take.
    pub stack_bytes: u32,
    /// The address of the scratch memory, where numbers that outlive a call are to be kept.
    pub scratch: Option<Value>,
    /// Bytes of scratch memory that lowering has used in a program and its functions.
    pub scratch_bytes: u32,
    /// The kernel verifies it by itself, whatever its callers know: it takes numbers alone.
    pub is_global: bool,
    /// Functions that helpers call from this one: the bodies of loops.
    pub callbacks: Vec<Function>,
    /// Functions that this one, its callbacks and these functions themselves call. Only a program has some.
    pub subprograms: Vec<Function>,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct BlockData {
    pub params: Vec<Value>,
    pub insts: Vec<Inst>,
    pub terminator: Option<Terminator>,
    /// The place of the terminator.
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Inst {
    pub kind: InstKind,
    pub result: Option<Value>,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub enum InstKind {
    Const(i64),
    /// Divisors are not zero and unsigned; shifts are below 64; comparisons give 0 or 1.
    Binary {
        op: BinaryOp,
        left: Value,
        right: Value,
    },
    /// The low bytes (1, 2 or 4), extended.
    Extend {
        value: Value,
        bytes: u8,
        signed: bool,
    },
    /// The low bytes (2, 4 or 8) in the other order, zero-extended.
    ByteSwap {
        value: Value,
        bytes: u8,
    },
    /// The same number, which is `most` at most: the kernel's verifier learns it here.
    Bounded {
        value: Value,
        most: u32,
    },
    /// Moves a pointer.
    PointerAdd {
        pointer: Value,
        offset: Value,
    },
    /// The bits of a pointer, as a number.
    Address(Value),
    /// The same pointer, to memory that is the program's own from here on: nothing of it is used earlier.
    Owned(Value),
    Load {
        base: Value,
        offset: i32,
        bytes: u8,
        signed: bool,
    },
    /// Like `Load`, of a word that the kernel's verifier knows for a pointer: to a kernel object, or one that this
    /// program has put on its stack.
    LoadObject {
        base: Value,
        offset: i32,
    },
    Store {
        base: Value,
        offset: i32,
        bytes: u8,
        value: Value,
    },
    /// Adds to memory in one step, 8 bytes wide.
    AtomicAdd {
        base: Value,
        offset: i32,
        value: Value,
    },
    /// The same; the result is what was there before.
    AtomicFetchAdd {
        base: Value,
        offset: i32,
        value: Value,
    },
    Context,
    /// The parameter of that number of a callback, counted from 0.
    Parameter(u8),
    /// One of the function's callbacks, as helpers take it.
    Callback(u32),
    /// `offset` bytes above the lowest byte of the function's stack slots.
    StackAddress {
        offset: u32,
    },
    Map(MapRef),
    /// A byte of the only value of an array map.
    MapValueAddress {
        map: MapRef,
        offset: u32,
    },
    Call {
        helper: u32,
        arguments: Values,
    },
    /// Calls one of the program's functions.
    CallSubprogram {
        number: u32,
        arguments: Values,
    },
    /// Does nothing, for so long that the kernel's verifier keeps the state of the program where paths join next: it
    /// does so only some instructions after the last time.
    Checkpoint,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Terminator {
    Jump {
        to: Block,
        arguments: Values,
    },
    /// The targets take no parameters.
    Branch {
        op: BinaryOp,
        left: Value,
        right: Value,
        then: Block,
        otherwise: Block,
    },
    Return(Value),
}

impl Function {
    pub fn entry(&self) -> Block {
        Block(0)
    }

    /// Calls `f` with this function and then with all callbacks and subprograms, theirs included.
    pub fn for_each(&mut self, f: &mut dyn FnMut(&mut Function)) {
        f(self);
        for inner in self.callbacks.iter_mut().chain(&mut self.subprograms) {
            inner.for_each(f);
        }
    }

    pub fn kind(&self, value: Value) -> ValueKind {
        self.values[value.index()]
    }

    pub fn successors(&self, block: Block) -> Successors {
        self.blocks[block.index()].terminator.as_ref().map_or_else(Successors::new, Terminator::successors)
    }

    pub fn predecessors(&self) -> Vec<Vec<Block>> {
        let mut predecessors = vec![Vec::new(); self.blocks.len()];
        for number in 0..self.blocks.len() {
            let block = Block(number as u32);
            for to in self.successors(block) {
                predecessors[to.index()].push(block);
            }
        }
        predecessors
    }

    /// Blocks that can be reached, each before its successors where there is no loop.
    pub fn reverse_postorder(&self) -> Vec<Block> {
        let mut seen = vec![false; self.blocks.len()];
        let mut order = Vec::new();
        let mut work = vec![(self.entry(), false)];
        while let Some((block, done)) = work.pop() {
            if done {
                order.push(block);
                continue;
            }
            if std::mem::replace(&mut seen[block.index()], true) {
                continue;
            }
            work.push((block, true));
            for to in self.successors(block).into_iter().rev() {
                if !seen[to.index()] {
                    work.push((to, false));
                }
            }
        }
        order.reverse();
        order
    }

    /// The immediate dominator of each block that can be reached; the entry is its own.
    /// (Cooper, Harvey and Kennedy: A Simple, Fast Dominance Algorithm.)
    pub fn dominators(&self) -> Vec<Option<Block>> {
        let order = self.reverse_postorder();
        let mut number = vec![usize::MAX; self.blocks.len()];
        for (n, block) in order.iter().enumerate() {
            number[block.index()] = n;
        }
        let predecessors = self.predecessors();
        let mut dominators: Vec<Option<Block>> = vec![None; self.blocks.len()];
        dominators[self.entry().index()] = Some(self.entry());
        let mut changed = true;
        while changed {
            changed = false;
            for &block in order.iter().skip(1) {
                let mut new: Option<Block> = None;
                for &from in &predecessors[block.index()] {
                    if dominators[from.index()].is_none() {
                        continue;
                    }
                    new = Some(match new {
                        None => from,
                        Some(mut a) => {
                            let mut b = from;
                            while a != b {
                                while number[a.index()] > number[b.index()] {
                                    a = dominators[a.index()].expect("processed");
                                }
                                while number[b.index()] > number[a.index()] {
                                    b = dominators[b.index()].expect("processed");
                                }
                            }
                            a
                        }
                    });
                }
                if new.is_some() && dominators[block.index()] != new {
                    dominators[block.index()] = new;
                    changed = true;
                }
            }
        }
        dominators
    }
}

impl InstKind {
    /// Calls `f` with each value that is read.
    pub fn for_each_use(&self, mut f: impl FnMut(Value)) {
        self.clone().map_uses(&mut |value| {
            f(value);
            value
        });
    }

    /// Replaces each value that is read.
    pub fn map_uses(&mut self, f: &mut dyn FnMut(Value) -> Value) {
        match self {
            InstKind::Const(_)
            | InstKind::Context
            | InstKind::Parameter(_)
            | InstKind::Callback(_)
            | InstKind::StackAddress { .. }
            | InstKind::Map(_)
            | InstKind::MapValueAddress { .. }
            | InstKind::Checkpoint => {}
            InstKind::Binary { left, right, .. } => {
                *left = f(*left);
                *right = f(*right);
            }
            InstKind::Extend { value, .. }
            | InstKind::ByteSwap { value, .. }
            | InstKind::Bounded { value, .. }
            | InstKind::Address(value)
            | InstKind::Owned(value) => {
                *value = f(*value);
            }
            InstKind::PointerAdd { pointer, offset } => {
                *pointer = f(*pointer);
                *offset = f(*offset);
            }
            InstKind::Load { base, .. } | InstKind::LoadObject { base, .. } => *base = f(*base),
            InstKind::Store { base, value, .. }
            | InstKind::AtomicAdd { base, value, .. }
            | InstKind::AtomicFetchAdd { base, value, .. } => {
                *base = f(*base);
                *value = f(*value);
            }
            InstKind::Call { arguments, .. } | InstKind::CallSubprogram { arguments, .. } => {
                arguments.iter_mut().for_each(|argument| *argument = f(*argument));
            }
        }
    }
}

impl Terminator {
    pub fn for_each_use(&self, mut f: impl FnMut(Value)) {
        self.clone().map_uses(&mut |value| {
            f(value);
            value
        });
    }

    pub fn successors(&self) -> Successors {
        match self {
            Terminator::Jump { to, .. } => smallvec![*to],
            Terminator::Branch { then, otherwise, .. } => smallvec![*then, *otherwise],
            Terminator::Return(_) => Successors::new(),
        }
    }

    pub fn map_uses(&mut self, f: &mut dyn FnMut(Value) -> Value) {
        match self {
            Terminator::Jump { arguments, .. } => arguments.iter_mut().for_each(|argument| *argument = f(*argument)),
            Terminator::Branch { left, right, .. } => {
                *left = f(*left);
                *right = f(*right);
            }
            Terminator::Return(value) => *value = f(*value),
        }
    }
}
