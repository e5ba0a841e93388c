//! Numbers that outlive a call of a function of the program, or of a helper that calls one, go through the scratch memory.
//!
//! A verifier keeps a number apart from others where a branch depends on it. Before Linux 6.4 it looks for where the
//! number was made with one set of registers and stack slots for all functions that run (`__mark_chain_precision`): going
//! back through a callee it takes what the callee writes for the caller's number, takes states for alike that differ in
//! it, and leaves out code that is needed. Of what is loaded behind the call it knows nothing that it could confuse.
//!
//! The number of a round is one that the verifier must know. Loops that enter functions are therefore functions
//! themselves; where no helper calls them nothing is kept, and the verifiers of such kernels keep all numbers apart.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rtrace_lang::span::Span;

use crate::ir::{Block, BlockData, Function, Inst, InstKind, Terminator, Value, ValueKind};

/// Bytes of scratch memory that a number takes.
const BYTES: u32 = 8;

/// A place in a function: a block, and how many of its instructions come before.
type Point = (Block, usize);

/// Where a number is kept, and what it is at most, if the verifier has to know that.
#[derive(Clone, Copy)]
struct Kept {
    offset: i32,
    most: Option<u32>,
}

/// Rewrites a program and all its functions; gives how much scratch memory is taken then.
pub fn run(program: &mut Function) -> u32 {
    let mut next = program.scratch_bytes;
    program.for_each(&mut |function| keep_in(function, &mut next));
    next
}

fn keep_in(function: &mut Function, next: &mut u32) {
    let Some(scratch) = function.scratch else { return };
    let outliving = outliving(function);
    if outliving.is_empty() {
        return;
    }
    let definitions = definitions(function);
    let usable = usable_from(function, scratch, &definitions);
    let dominators = function.dominators();
    let mut kept: HashMap<Value, Kept> = HashMap::new();
    let mut stores: BTreeMap<Point, Vec<Value>> = BTreeMap::new();
    for value in outliving {
        let (at, most) = definitions[&value];
        kept.insert(value, Kept { offset: *next as i32, most });
        *next += BYTES;
        stores.entry(if precedes(usable, at, &dominators) { at } else { usable }).or_default().push(value);
    }
    let lost = lost_at(function, &kept);
    for block in function.reverse_postorder() {
        let data = std::mem::take(&mut function.blocks[block.index()]);
        let mut writer = Writer {
            values: &mut function.values,
            scratch,
            kept: &kept,
            lost: lost[block.index()].clone(),
            loaded: HashMap::new(),
            insts: Vec::with_capacity(data.insts.len()),
        };
        let mut number = 0;
        for inst in data.insts {
            writer.store(stores.get(&(block, number)), inst.span);
            writer.inst(inst);
            number += 1;
        }
        writer.store(stores.get(&(block, number)), data.span);
        let mut terminator = data.terminator;
        terminator.iter_mut().for_each(|terminator| terminator.map_uses(&mut |value| writer.found(value, data.span)));
        let insts = writer.insts;
        function.blocks[block.index()] = BlockData { params: data.params, insts, terminator, span: data.span };
    }
}

/// Writes the instructions of a block anew.
struct Writer<'a> {
    values: &'a mut Vec<ValueKind>,
    scratch: Value,
    kept: &'a HashMap<Value, Kept>,
    /// Those whose register does not count any more.
    lost: HashSet<Value>,
    /// What has been loaded of them since.
    loaded: HashMap<Value, Value>,
    insts: Vec<Inst>,
}

impl Writer<'_> {
    fn store(&mut self, values: Option<&Vec<Value>>, span: Span) {
        for value in values.into_iter().flatten() {
            let kind = InstKind::Store { base: self.scratch, offset: self.kept[value].offset, bytes: 8, value: *value };
            self.insts.push(Inst { kind, result: None, span });
        }
    }

    fn inst(&mut self, mut inst: Inst) {
        inst.kind.map_uses(&mut |value| self.found(value, inst.span));
        if let Some(result) = inst.result {
            self.lost.remove(&result);
        }
        if enters_functions(&inst.kind, self.values) {
            self.lost.extend(self.kept.keys());
            self.loaded.clear();
        }
        self.insts.push(inst);
    }

    /// The value, wherever it is now.
    fn found(&mut self, value: Value, span: Span) -> Value {
        if !self.lost.contains(&value) {
            return value;
        }
        if let Some(loaded) = self.loaded.get(&value) {
            return *loaded;
        }
        let Kept { offset, most } = self.kept[&value];
        let mut loaded = self.define(InstKind::Load { base: self.scratch, offset, bytes: 8, signed: false }, span);
        if let Some(most) = most {
            loaded = self.define(InstKind::Bounded { value: loaded, most }, span);
        }
        self.loaded.insert(value, loaded);
        loaded
    }

    fn define(&mut self, kind: InstKind, span: Span) -> Value {
        let result = Value(self.values.len() as u32);
        self.values.push(ValueKind::Int);
        self.insts.push(Inst { kind, result: Some(result), span });
        result
    }
}

/// Whether other functions of the program run in the middle of it.
fn enters_functions(kind: &InstKind, values: &[ValueKind]) -> bool {
    match kind {
        InstKind::CallSubprogram { .. } => true,
        InstKind::Call { arguments, .. } => {
            arguments.iter().any(|argument| values[argument.index()] == ValueKind::Callback)
        }
        _ => false,
    }
}

/// The numbers that are read behind such a call and made before it, but constants, which are made where they are read.
fn outliving(function: &Function) -> BTreeSet<Value> {
    let order = function.reverse_postorder();
    let mut constants = HashSet::new();
    for inst in order.iter().flat_map(|block| &function.blocks[block.index()].insts) {
        if let (InstKind::Const(_), Some(result)) = (&inst.kind, inst.result) {
            constants.insert(result);
        }
    }
    let mut outliving = BTreeSet::new();
    // What is read in a block or behind it and not made in it.
    let mut live_before: Vec<HashSet<Value>> = vec![HashSet::new(); function.blocks.len()];
    let mut is_changed = true;
    while is_changed {
        is_changed = false;
        for &block in order.iter().rev() {
            let data = &function.blocks[block.index()];
            let mut live: HashSet<Value> = HashSet::new();
            for to in function.successors(block) {
                live.extend(&live_before[to.index()]);
            }
            let read = |live: &mut HashSet<Value>, value: Value| {
                if function.kind(value) == ValueKind::Int && !constants.contains(&value) {
                    live.insert(value);
                }
            };
            data.terminator.iter().for_each(|terminator| terminator.for_each_use(|value| read(&mut live, value)));
            for inst in data.insts.iter().rev() {
                if let Some(result) = inst.result {
                    live.remove(&result);
                }
                if enters_functions(&inst.kind, &function.values) {
                    outliving.extend(&live);
                }
                inst.kind.for_each_use(|value| read(&mut live, value));
            }
            data.params.iter().for_each(|param| _ = live.remove(param));
            is_changed |= live.len() > live_before[block.index()].len();
            live_before[block.index()] = live;
        }
    }
    outliving
}

/// The place behind which each value is there, and what it is at most if it was bounded.
fn definitions(function: &Function) -> HashMap<Value, (Point, Option<u32>)> {
    let mut definitions = HashMap::new();
    for block in function.reverse_postorder() {
        let data = &function.blocks[block.index()];
        definitions.extend(data.params.iter().map(|param| (*param, ((block, 0), None))));
        for (number, inst) in data.insts.iter().enumerate() {
            let Some(result) = inst.result else { continue };
            let most = match inst.kind {
                InstKind::Bounded { most, .. } => Some(most),
                _ => None,
            };
            definitions.insert(result, ((block, number + 1), most));
        }
    }
    definitions
}

/// From where on the scratch memory can be used: in a program, where it has been looked up and found.
fn usable_from(function: &Function, scratch: Value, definitions: &HashMap<Value, (Point, Option<u32>)>) -> Point {
    let (made, _) = definitions[&scratch];
    match &function.blocks[made.0.index()].terminator {
        Some(Terminator::Branch { left, then, .. }) if *left == scratch => (*then, 0),
        _ => made,
    }
}

/// Whether the first place, one of which is before the other on every way, is the earlier.
fn precedes(first: Point, second: Point, dominators: &[Option<Block>]) -> bool {
    if first.0 == second.0 {
        return first.1 <= second.1;
    }
    let mut at = second.0;
    while let Some(up) = dominators[at.index()].filter(|up| *up != at) {
        if up == first.0 {
            return true;
        }
        at = up;
    }
    false
}

/// The numbers behind whose making a call may have come, at the beginning of each block.
fn lost_at(function: &Function, kept: &HashMap<Value, Kept>) -> Vec<HashSet<Value>> {
    let order = function.reverse_postorder();
    let mut lost_at: Vec<HashSet<Value>> = vec![HashSet::new(); function.blocks.len()];
    let mut is_changed = true;
    while is_changed {
        is_changed = false;
        for &block in &order {
            let data = &function.blocks[block.index()];
            let mut lost = lost_at[block.index()].clone();
            for inst in &data.insts {
                if enters_functions(&inst.kind, &function.values) {
                    lost.extend(kept.keys());
                }
                inst.result.iter().for_each(|result| _ = lost.remove(result));
            }
            for to in function.successors(block) {
                let before = lost_at[to.index()].len();
                let params = &function.blocks[to.index()].params;
                lost_at[to.index()].extend(lost.iter().filter(|value| !params.contains(value)));
                is_changed |= lost_at[to.index()].len() > before;
            }
        }
    }
    lost_at
}
