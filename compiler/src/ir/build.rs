//! Builds a function block by block. Variables become SSA values as they are read (Braun and others: Simple and Efficient
//! Construction of Static Single Assignment Form). Optimizes nothing.

use std::collections::HashMap;

use rtrace_lang::hir::BinaryOp;
use rtrace_lang::span::Span;

use super::{Block, BlockData, Function, Inst, InstKind, MapRef, Memory, Terminator, Value, ValueKind, Values};

/// A variable that is not in SSA form yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Variable(pub u32);

pub struct Builder {
    pub function: Function,
    current: Block,
    pub span: Span,
    constants: HashMap<Value, i64>,
    definitions: HashMap<(Block, Variable), Value>,
    /// Parameters of blocks whose predecessors are not all known.
    incomplete: HashMap<Block, Vec<(Variable, Value)>>,
    sealed: Vec<bool>,
    predecessors: Vec<Vec<Block>>,
}

impl Builder {
    /// A function with its entry block, which is current.
    pub fn new(name: &str) -> Builder {
        let mut builder = Builder {
            function: Function { name: name.to_string(), ..Function::default() },
            current: Block(0),
            span: Span::default(),
            constants: HashMap::new(),
            definitions: HashMap::new(),
            incomplete: HashMap::new(),
            sealed: Vec::new(),
            predecessors: Vec::new(),
        };
        let entry = builder.block();
        builder.seal(entry);
        builder
    }

    pub fn block(&mut self) -> Block {
        let block = Block(self.function.blocks.len() as u32);
        self.function.blocks.push(BlockData::default());
        self.sealed.push(false);
        self.predecessors.push(Vec::new());
        block
    }

    /// A block with one parameter.
    pub fn block_with(&mut self, kind: ValueKind) -> (Block, Value) {
        let block = self.block();
        let value = self.value(kind);
        self.function.blocks[block.index()].params.push(value);
        (block, value)
    }

    pub fn current(&self) -> Block {
        self.current
    }

    /// Goes on in that block, all of whose predecessors are known.
    pub fn enter(&mut self, block: Block) {
        self.seal(block);
        self.current = block;
    }

    /// Goes on in a block that later jumps will lead to as well (the head of a loop); `seal` it when they are there.
    pub fn enter_unsealed(&mut self, block: Block) {
        self.current = block;
    }

    pub fn value(&mut self, kind: ValueKind) -> Value {
        let value = Value(self.function.values.len() as u32);
        self.function.values.push(kind);
        value
    }

    fn push(&mut self, kind: InstKind, result: Option<ValueKind>) -> Option<Value> {
        let result = result.map(|kind| self.value(kind));
        let span = self.span;
        let block = &mut self.function.blocks[self.current.index()];
        if block.terminator.is_none() {
            block.insts.push(Inst { kind, result, span });
        }
        result
    }

    fn define(&mut self, kind: InstKind, result: ValueKind) -> Value {
        self.push(kind, Some(result)).expect("a result was asked for")
    }

    pub fn int(&mut self, value: i64) -> Value {
        let result = self.define(InstKind::Const(value), ValueKind::Int);
        self.constants.insert(result, value);
        result
    }

    /// The number that a value always is, where that is plain to see.
    pub fn constant(&self, value: Value) -> Option<i64> {
        self.constants.get(&value).copied()
    }

    pub fn binary(&mut self, op: BinaryOp, left: Value, right: Value) -> Value {
        self.define(InstKind::Binary { op, left, right }, ValueKind::Int)
    }

    pub fn binary_int(&mut self, op: BinaryOp, left: Value, right: i64) -> Value {
        let right = self.int(right);
        self.binary(op, left, right)
    }

    pub fn extend(&mut self, value: Value, bytes: u8, signed: bool) -> Value {
        if bytes == 8 { value } else { self.define(InstKind::Extend { value, bytes, signed }, ValueKind::Int) }
    }

    pub fn bounded(&mut self, value: Value, most: u32) -> Value {
        self.define(InstKind::Bounded { value, most }, ValueKind::Int)
    }

    pub fn byte_swap(&mut self, value: Value, bytes: u8) -> Value {
        self.define(InstKind::ByteSwap { value, bytes }, ValueKind::Int)
    }

    pub fn pointer_add(&mut self, pointer: Value, offset: Value) -> Value {
        let kind = self.function.kind(pointer);
        self.define(InstKind::PointerAdd { pointer, offset }, kind)
    }

    pub fn address(&mut self, pointer: Value) -> Value {
        self.define(InstKind::Address(pointer), ValueKind::Int)
    }

    pub fn owned(&mut self, pointer: Value) -> Value {
        let kind = self.function.kind(pointer);
        self.define(InstKind::Owned(pointer), kind)
    }

    pub fn load(&mut self, base: Value, offset: i32, bytes: u8, signed: bool) -> Value {
        self.define(InstKind::Load { base, offset, bytes, signed }, ValueKind::Int)
    }

    /// A pointer into that memory, from where it is kept.
    pub fn load_pointer(&mut self, base: Value, offset: i32, memory: Memory) -> Value {
        self.define(InstKind::LoadObject { base, offset }, ValueKind::Pointer(memory))
    }

    pub fn store(&mut self, base: Value, offset: i32, bytes: u8, value: Value) {
        self.push(InstKind::Store { base, offset, bytes, value }, None);
    }

    pub fn atomic_add(&mut self, base: Value, offset: i32, value: Value) {
        self.push(InstKind::AtomicAdd { base, offset, value }, None);
    }

    pub fn checkpoint(&mut self) {
        self.push(InstKind::Checkpoint, None);
    }

    pub fn atomic_fetch_add(&mut self, base: Value, offset: i32, value: Value) -> Value {
        self.define(InstKind::AtomicFetchAdd { base, offset, value }, ValueKind::Int)
    }

    pub fn context(&mut self) -> Value {
        self.define(InstKind::Context, ValueKind::Pointer(Memory::Context))
    }

    pub fn parameter(&mut self, number: u8, kind: ValueKind) -> Value {
        self.define(InstKind::Parameter(number), kind)
    }

    /// Takes in a callback of this function; gives its address.
    pub fn callback(&mut self, callback: Function) -> Value {
        let number = self.function.callbacks.len() as u32;
        self.function.callbacks.push(callback);
        self.define(InstKind::Callback(number), ValueKind::Callback)
    }

    /// Calls one of the program's functions; gives its answer.
    pub fn call_subprogram(&mut self, number: u32, arguments: &[Value]) -> Value {
        self.define(InstKind::CallSubprogram { number, arguments: arguments.into() }, ValueKind::Int)
    }

    pub fn stack_address(&mut self, offset: u32) -> Value {
        self.define(InstKind::StackAddress { offset }, ValueKind::Pointer(Memory::Stack))
    }

    pub fn map(&mut self, map: MapRef) -> Value {
        self.define(InstKind::Map(map), ValueKind::Map)
    }

    pub fn map_value_address(&mut self, map: MapRef, offset: u32) -> Value {
        self.define(InstKind::MapValueAddress { map, offset }, ValueKind::Pointer(Memory::MapValue))
    }

    /// A helper call that gives a number.
    pub fn call(&mut self, helper: u32, arguments: &[Value]) -> Value {
        self.define(InstKind::Call { helper, arguments: arguments.into() }, ValueKind::Int)
    }

    /// A helper call that gives a pointer.
    pub fn call_pointer(&mut self, helper: u32, arguments: &[Value], memory: Memory) -> Value {
        self.define(InstKind::Call { helper, arguments: arguments.into() }, ValueKind::Pointer(memory))
    }

    /// A helper call that gives a pointer, or null.
    pub fn call_nullable(&mut self, helper: u32, arguments: &[Value], memory: Memory) -> Value {
        self.define(InstKind::Call { helper, arguments: arguments.into() }, ValueKind::Nullable(memory))
    }

    fn terminate(&mut self, terminator: Terminator) {
        let from = self.current;
        if self.function.blocks[from.index()].terminator.is_some() {
            return;
        }
        for to in terminator.successors() {
            self.predecessors[to.index()].push(from);
        }
        let block = &mut self.function.blocks[from.index()];
        block.terminator = Some(terminator);
        block.span = self.span;
    }

    pub fn jump(&mut self, to: Block, arguments: &[Value]) {
        self.terminate(Terminator::Jump { to, arguments: arguments.into() });
    }

    pub fn branch(&mut self, op: BinaryOp, left: Value, right: Value, then: Block, otherwise: Block) {
        self.terminate(Terminator::Branch { op, left, right, then, otherwise });
    }

    /// Branches on a value that is not zero.
    pub fn branch_nonzero(&mut self, value: Value, then: Block, otherwise: Block) {
        let zero = self.int(0);
        self.branch(BinaryOp::NotEqual, value, zero, then, otherwise);
    }

    pub fn ret(&mut self, value: Value) {
        self.terminate(Terminator::Return(value));
    }

    pub fn is_terminated(&self) -> bool {
        self.function.blocks[self.current.index()].terminator.is_some()
    }

    pub fn write(&mut self, variable: Variable, value: Value) {
        self.definitions.insert((self.current, variable), value);
    }

    /// The variable's value here; zero where nothing wrote it.
    pub fn read(&mut self, variable: Variable) -> Value {
        self.read_in(self.current, variable)
    }

    fn read_in(&mut self, block: Block, variable: Variable) -> Value {
        if let Some(value) = self.definitions.get(&(block, variable)) {
            return *value;
        }
        let value = if !self.sealed[block.index()] {
            let value = self.param(block);
            self.incomplete.entry(block).or_default().push((variable, value));
            value
        } else if let [only] = self.predecessors[block.index()][..] {
            self.read_in(only, variable)
        } else if self.predecessors[block.index()].is_empty() {
            self.zero_in(block)
        } else {
            let value = self.param(block);
            self.definitions.insert((block, variable), value);
            self.fill_param(block, variable);
            value
        };
        self.definitions.insert((block, variable), value);
        value
    }

    fn param(&mut self, block: Block) -> Value {
        let value = self.value(ValueKind::Int);
        self.function.blocks[block.index()].params.push(value);
        value
    }

    /// A zero at the start of a block without predecessors.
    fn zero_in(&mut self, block: Block) -> Value {
        let value = self.value(ValueKind::Int);
        let inst = Inst { kind: InstKind::Const(0), result: Some(value), span: self.span };
        self.function.blocks[block.index()].insts.insert(0, inst);
        value
    }

    /// Passes the variable's value along each edge into the block, as the next argument.
    fn fill_param(&mut self, block: Block, variable: Variable) {
        for number in 0..self.predecessors[block.index()].len() {
            let from = self.jump_into(block, number);
            let value = self.read_in(from, variable);
            match &mut self.function.blocks[from.index()].terminator {
                Some(Terminator::Jump { arguments, .. }) => arguments.push(value),
                Some(Terminator::Branch { .. } | Terminator::Return(_)) | None => {
                    unreachable!("a block with parameters is entered by jumps")
                }
            }
        }
    }

    /// The predecessor of that number. A branch passes no arguments: where one leads here, a block that jumps on is put
    /// on its way.
    fn jump_into(&mut self, block: Block, number: usize) -> Block {
        let from = self.predecessors[block.index()][number];
        let Some(Terminator::Branch { .. }) = self.function.blocks[from.index()].terminator else { return from };
        let edge = self.block();
        self.sealed[edge.index()] = true;
        self.predecessors[edge.index()].push(from);
        self.predecessors[block.index()][number] = edge;
        let span = self.function.blocks[from.index()].span;
        let data = &mut self.function.blocks[edge.index()];
        (data.terminator, data.span) = (Some(Terminator::Jump { to: block, arguments: Values::new() }), span);
        if let Some(Terminator::Branch { then, otherwise, .. }) = &mut self.function.blocks[from.index()].terminator {
            *(if *then == block { then } else { otherwise }) = edge;
        }
        edge
    }

    /// All jumps to the block are there.
    pub fn seal(&mut self, block: Block) {
        if std::mem::replace(&mut self.sealed[block.index()], true) {
            return;
        }
        for (variable, _) in self.incomplete.remove(&block).unwrap_or_default() {
            self.fill_param(block, variable);
        }
    }

    /// Puts instructions at the start of the entry block.
    pub fn prepend(&mut self, insts: Vec<Inst>) {
        self.function.blocks[0].insts.splice(0..0, insts);
    }
}
