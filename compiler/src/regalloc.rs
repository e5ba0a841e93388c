//! Virtual to physical registers. The one file that knows regalloc2; in debug builds its checker proves each allocation.

use regalloc2::checker::Checker;
use regalloc2::{
    Algorithm, Block, Function, Inst, InstRange, MachineEnv, Operand, Output, PReg, PRegSet, RegAllocError, RegClass,
    RegallocOptions, VReg,
};

use crate::machine::{Base, MachineFunction, MachineInst, MachineKind, Register, Source};

/// Registers r0 to r9; r10 is the frame pointer and never allocated.
fn physical(number: usize) -> PReg {
    PReg::new(number, RegClass::Int)
}

fn virtual_register(register: Register) -> VReg {
    VReg::new(register.0 as usize, RegClass::Int)
}

/// Where every operand is, and the moves between.
pub struct Allocation {
    pub output: Output,
    /// The number of the first instruction of each block, and of the one behind the last.
    pub starts: Vec<usize>,
}

/// Only a bug of ours makes this fail.
pub fn allocate(function: &MachineFunction) -> Result<Allocation, RegAllocError> {
    let view = View::new(function);
    let preferred = PRegSet::empty()
        .with(physical(0))
        .with(physical(1))
        .with(physical(2))
        .with(physical(3))
        .with(physical(4))
        .with(physical(5));
    let kept = PRegSet::empty().with(physical(6)).with(physical(7)).with(physical(8)).with(physical(9));
    let environment = MachineEnv {
        preferred_regs_by_class: [preferred, PRegSet::empty(), PRegSet::empty()],
        non_preferred_regs_by_class: [kept, PRegSet::empty(), PRegSet::empty()],
        scratch_by_class: [None, None, None],
        fixed_stack_slots: Vec::new(),
    };
    let options =
        RegallocOptions { verbose_log: false, validate_ssa: cfg!(debug_assertions), algorithm: Algorithm::Ion };
    let output = regalloc2::run(&view, &environment, &options)?;
    if cfg!(debug_assertions) {
        let mut checker = Checker::new(&view, &environment);
        checker.prepare(&output);
        if let Err(errors) = checker.run() {
            panic!("a wrong allocation of registers: {errors:?}");
        }
    }
    Ok(Allocation { output, starts: view.starts })
}

/// The function as regalloc2 wants to see it: instructions counted through all blocks.
struct View<'a> {
    function: &'a MachineFunction,
    starts: Vec<usize>,
    insts: Vec<&'a MachineInst>,
    operands: Vec<Operand>,
    /// Where the operands of each instruction end.
    ends: Vec<usize>,
    successors: Vec<Vec<Block>>,
    predecessors: Vec<Vec<Block>>,
    params: Vec<Vec<VReg>>,
    arguments: Vec<Vec<VReg>>,
    call_clobbers: PRegSet,
}

impl<'a> View<'a> {
    fn new(function: &'a MachineFunction) -> View<'a> {
        let blocks = function.blocks.len();
        let mut view = View {
            function,
            starts: Vec::new(),
            insts: Vec::new(),
            operands: Vec::new(),
            ends: Vec::new(),
            successors: vec![Vec::new(); blocks],
            predecessors: vec![Vec::new(); blocks],
            params: Vec::new(),
            arguments: vec![Vec::new(); blocks],
            call_clobbers: (1..=5).fold(PRegSet::empty(), |set, n| set.with(physical(n))),
        };
        for (number, block) in function.blocks.iter().enumerate() {
            view.starts.push(view.insts.len());
            view.params.push(block.params.iter().map(|register| virtual_register(*register)).collect());
            for inst in &block.insts {
                view.insts.push(inst);
                operands(&inst.kind, &mut view.operands);
                view.ends.push(view.operands.len());
            }
            if let Some(last) = block.insts.last() {
                for to in last.kind.successors() {
                    view.successors[number].push(Block::new(to));
                    view.predecessors[to].push(Block::new(number));
                }
                if let MachineKind::Jump { arguments, .. } = &last.kind {
                    view.arguments[number] = arguments.iter().map(|register| virtual_register(*register)).collect();
                }
            }
        }
        view.starts.push(view.insts.len());
        view
    }
}

/// The operands of an instruction, in the order in which `encode` reads their places.
fn operands(kind: &MachineKind, out: &mut Vec<Operand>) {
    let used = |register: &Register| Operand::reg_use(virtual_register(*register));
    let defined = |register: &Register| Operand::reg_def(virtual_register(*register));
    let source = |out: &mut Vec<Operand>, source: &Source| {
        if let Source::Register(register) = source {
            out.push(used(register));
        }
    };
    let base = |out: &mut Vec<Operand>, base: &Base| {
        if let Base::Register(register) = base {
            out.push(used(register));
        }
    };
    match kind {
        MachineKind::Parameters { to } => {
            for (number, register) in to {
                out.push(Operand::reg_fixed_def(virtual_register(*register), physical(usize::from(*number) + 1)));
            }
        }
        MachineKind::Callback { to, .. }
        | MachineKind::Immediate { to, .. }
        | MachineKind::Map { to, .. }
        | MachineKind::MapValue { to, .. }
        | MachineKind::StackAddress { to, .. }
        | MachineKind::Checkpoint { to } => out.push(defined(to)),
        MachineKind::Move { to, from } | MachineKind::Low32 { to, from } => {
            out.push(used(from));
            out.push(defined(to));
        }
        MachineKind::Alu { to, left, right, .. } => {
            out.push(used(left));
            out.push(Operand::reg_reuse_def(virtual_register(*to), 0));
            source(out, right);
        }
        MachineKind::ByteSwap { to, from, .. } | MachineKind::Bounded { to, from, .. } => {
            out.push(used(from));
            out.push(Operand::reg_reuse_def(virtual_register(*to), 0));
        }
        MachineKind::SetIf { to, left, right, .. } => {
            out.push(used(left));
            // Written before the comparison reads its operands.
            out.push(Operand::reg_def_at_start(virtual_register(*to)));
            source(out, right);
        }
        MachineKind::Load { to, base: from, .. } => {
            out.push(defined(to));
            base(out, from);
        }
        MachineKind::Store { base: to, value, .. } => {
            base(out, to);
            source(out, value);
        }
        MachineKind::AtomicAdd { base: to, value, .. } => {
            base(out, to);
            out.push(used(value));
        }
        MachineKind::AtomicFetchAdd { to, base: from, value, .. } => {
            out.push(used(value));
            out.push(Operand::reg_reuse_def(virtual_register(*to), 0));
            base(out, from);
        }
        MachineKind::Call { to, arguments, .. } => {
            out.push(Operand::reg_fixed_def(virtual_register(*to), physical(0)));
            for (number, argument) in arguments.iter().enumerate() {
                out.push(Operand::reg_fixed_use(virtual_register(*argument), physical(number + 1)));
            }
        }
        MachineKind::Jump { .. } => {}
        MachineKind::Branch { left, right, .. } => {
            out.push(used(left));
            source(out, right);
        }
        MachineKind::Return { value } => out.push(Operand::reg_fixed_use(virtual_register(*value), physical(0))),
    }
}

impl Function for View<'_> {
    fn num_insts(&self) -> usize {
        self.insts.len()
    }

    fn num_blocks(&self) -> usize {
        self.function.blocks.len()
    }

    fn entry_block(&self) -> Block {
        Block::new(0)
    }

    fn block_insns(&self, block: Block) -> InstRange {
        InstRange::new(Inst::new(self.starts[block.index()]), Inst::new(self.starts[block.index() + 1]))
    }

    fn block_succs(&self, block: Block) -> &[Block] {
        &self.successors[block.index()]
    }

    fn block_preds(&self, block: Block) -> &[Block] {
        &self.predecessors[block.index()]
    }

    fn block_params(&self, block: Block) -> &[VReg] {
        &self.params[block.index()]
    }

    fn is_ret(&self, inst: Inst) -> bool {
        matches!(self.insts[inst.index()].kind, MachineKind::Return { .. })
    }

    fn is_branch(&self, inst: Inst) -> bool {
        matches!(self.insts[inst.index()].kind, MachineKind::Jump { .. } | MachineKind::Branch { .. })
    }

    fn branch_blockparams(&self, block: Block, _: Inst, _: usize) -> &[VReg] {
        &self.arguments[block.index()]
    }

    fn inst_operands(&self, inst: Inst) -> &[Operand] {
        let start = inst.index().checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.operands[start..self.ends[inst.index()]]
    }

    fn inst_clobbers(&self, inst: Inst) -> PRegSet {
        match self.insts[inst.index()].kind {
            MachineKind::Call { .. } => self.call_clobbers,
            _ => PRegSet::empty(),
        }
    }

    fn num_vregs(&self) -> usize {
        self.function.registers as usize
    }

    fn spillslot_size(&self, _: RegClass) -> usize {
        1
    }
}
