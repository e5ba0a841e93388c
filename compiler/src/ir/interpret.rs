//! The reference interpreter: executes a function over simulated memory and maps, and stops at the first thing that the
//! representation does not allow. It is the judge of passes and code generation, so it is written to be obviously right,
//! never to be fast; it is deterministic and does no IO.

mod calls;
mod maps;
mod memory;

use rtrace_lang::calls::{FOR_EACH_MAP_ELEM, LOOP};
use rtrace_lang::hir::BinaryOp;

use super::{Block, Function, InstKind, Memory as Space, Terminator, Value, ValueKind};
use crate::object::Object;

pub use maps::Maps;
pub use memory::{Memory, Region};

/// What the world looks like to a program.
#[derive(Clone, Debug)]
pub struct Environment {
    pub context: Vec<u8>,
    pub pid_tgid: u64,
    pub uid_gid: u64,
    pub comm: [u8; 16],
    /// What the clocks say first; each question takes a nanosecond.
    pub nanoseconds: u64,
    pub cpu: u64,
    pub numa_node: u64,
    pub cgroup: u64,
    pub jiffies: u64,
    pub random: u64,
    pub cookie: u64,
    pub current_task: u64,
    /// Innermost first; without frames no stack can be taken.
    pub stack: Vec<u64>,
    /// Records that the ring buffer has room for.
    pub ring_records: usize,
}

impl Default for Environment {
    fn default() -> Environment {
        Environment {
            context: Vec::new(),
            pid_tgid: 1234 << 32 | 1235,
            uid_gid: 1001 << 32 | 1000,
            comm: *b"simulated\0\0\0\0\0\0\0",
            nanoseconds: 1_000_000_000,
            cpu: 0,
            numa_node: 0,
            cgroup: 1,
            jiffies: 4_300_000_000,
            random: 4,
            cookie: 0,
            current_task: 0,
            stack: Vec::new(),
            ring_records: usize::MAX,
        }
    }
}

/// Something that no function may do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{function}, b{block}: {what}")]
pub struct Fault {
    pub function: String,
    pub block: u32,
    pub what: String,
}

/// Instructions that one run may execute: far more than any loop of ours takes.
const BUDGET: u32 = 1_000_000;

/// Rounds that the kernel lets a loop take (`BPF_MAX_LOOPS`), and what it answers to more.
const MOST_ROUNDS: u64 = 8 * 1024 * 1024;
const TOO_BIG: u64 = -7i64 as u64;

/// A machine with one processor: maps and memory outlive the runs.
#[derive(Clone, Debug)]
pub struct Simulation {
    pub environment: Environment,
    pub memory: Memory,
    pub maps: Maps,
    /// What was sent through the ring buffer, oldest first. Bytes that nothing wrote are zero.
    pub records: Vec<Vec<u8>>,
}

impl Simulation {
    /// The maps of the object, as a session makes them.
    pub fn new(object: &Object, environment: Environment) -> Simulation {
        let mut memory = Memory::default();
        let maps = Maps::new(object, &mut memory);
        Simulation { environment, memory, maps, records: Vec::new() }
    }

    /// Runs a function to its end; gives what it returns.
    pub fn run(&mut self, function: &Function) -> Result<u64, Fault> {
        let context = self.memory.add(Space::Context, Region::of(self.environment.context.clone()));
        let result = self.call(function, &function.subprograms, context, &[], &mut 0);
        self.memory.release(context);
        let returned = result?;
        match self.memory.held(Space::Record) {
            0 => Ok(returned),
            held => Err(Fault {
                function: function.name.clone(),
                block: 0,
                what: format!("{held} records are neither sent nor dropped at the end"),
            }),
        }
    }

    /// Runs a function, or a callback or subprogram, which get `parameters`.
    fn call(
        &mut self,
        function: &Function,
        subprograms: &[Function],
        context: u64,
        parameters: &[u64],
        executed: &mut u32,
    ) -> Result<u64, Fault> {
        let stack = self.memory.add(Space::Stack, Region::unwritten(function.stack_bytes as usize));
        let values = vec![None; function.values.len()];
        let mut run = Run { function, subprograms, values, stack, context, parameters, block: Block(0) };
        let result = run.execute_all(self, executed);
        self.memory.release(stack);
        result.map_err(|what| Fault { function: function.name.clone(), block: run.block.0, what })
    }
}

struct Run<'a> {
    function: &'a Function,
    /// Those of the program.
    subprograms: &'a [Function],
    values: Vec<Option<u64>>,
    /// Addresses of the function's own memory.
    stack: u64,
    context: u64,
    parameters: &'a [u64],
    block: Block,
}

impl Run<'_> {
    fn execute_all(&mut self, machine: &mut Simulation, executed: &mut u32) -> Result<u64, String> {
        let function = self.function;
        loop {
            let data = &function.blocks[self.block.index()];
            for inst in &data.insts {
                *executed += 1;
                if *executed > BUDGET {
                    return Err("it does not end".to_string());
                }
                let result = self.execute(machine, &inst.kind, executed)?;
                if let Some(to) = inst.result {
                    self.values[to.index()] = Some(result);
                }
            }
            *executed += 1;
            match data.terminator.as_ref().ok_or("the block has no end")? {
                Terminator::Jump { to, arguments } => {
                    let values = arguments.iter().map(|value| self.get(*value)).collect::<Result<Vec<_>, _>>()?;
                    self.block = *to;
                    for (param, value) in function.blocks[to.index()].params.iter().zip(values) {
                        self.values[param.index()] = Some(value);
                    }
                }
                Terminator::Branch { op, left, right, then, otherwise } => {
                    if !op.is_comparison() {
                        return Err(format!("a branch on {op:?}"));
                    }
                    let holds = op.apply(self.get(*left)? as i64, self.get(*right)? as i64) != 0;
                    self.block = if holds { *then } else { *otherwise };
                }
                Terminator::Return(value) => return self.get(*value),
            }
        }
    }

    fn get(&self, value: Value) -> Result<u64, String> {
        self.values[value.index()].ok_or_else(|| format!("v{} has no value yet", value.0))
    }

    /// A pointer that is about to be used, with the memory that it must point into.
    fn pointer(&self, value: Value) -> Result<(u64, Space), String> {
        let address = self.get(value)?;
        match self.function.kind(value) {
            ValueKind::Pointer(space) | ValueKind::Nullable(space) if address != 0 => Ok((address, space)),
            ValueKind::Pointer(_) | ValueKind::Nullable(_) => Err(format!("v{} is null", value.0)),
            ValueKind::Int | ValueKind::Map | ValueKind::Callback => Err(format!("v{} is no pointer", value.0)),
        }
    }

    fn load(&self, machine: &Simulation, base: Value, offset: i32, bytes: u8) -> Result<u64, String> {
        let (address, space) = self.pointer(base)?;
        machine.memory.load(address.wrapping_add_signed(i64::from(offset)), bytes, space)
    }

    fn store(&self, machine: &mut Simulation, base: Value, offset: i32, bytes: u8, value: u64) -> Result<(), String> {
        let (address, space) = self.pointer(base)?;
        match space {
            Space::Stack | Space::MapValue | Space::Record => {
                machine.memory.store(address.wrapping_add_signed(i64::from(offset)), bytes, value, space)
            }
            Space::Context | Space::Object | Space::MapKey => Err(format!("a store into {space:?}")),
        }
    }

    fn execute(&self, machine: &mut Simulation, kind: &InstKind, executed: &mut u32) -> Result<u64, String> {
        Ok(match kind {
            InstKind::Const(n) => *n as u64,
            InstKind::Binary { op, left, right } => binary(*op, self.get(*left)?, self.get(*right)?)?,
            InstKind::Extend { value, bytes, signed } => extend(self.get(*value)?, *bytes, *signed),
            InstKind::ByteSwap { value, bytes } => self.get(*value)?.swap_bytes() >> (64 - u32::from(*bytes) * 8),
            InstKind::Bounded { value, most } => match self.get(*value)? {
                value if value <= u64::from(*most) => value,
                value => return Err(format!("{value} is bounded by {most}")),
            },
            InstKind::PointerAdd { pointer, offset } => self.pointer(*pointer)?.0.wrapping_add(self.get(*offset)?),
            InstKind::Address(pointer) | InstKind::Owned(pointer) => self.get(*pointer)?,
            InstKind::Load { base, offset, bytes, signed } => {
                extend(self.load(machine, *base, *offset, *bytes)?, *bytes, *signed)
            }
            InstKind::LoadObject { base, offset } => self.load(machine, *base, *offset, 8)?,
            InstKind::Store { base, offset, bytes, value } => {
                self.store(machine, *base, *offset, *bytes, self.get(*value)?)?;
                0
            }
            InstKind::AtomicAdd { base, offset, value } | InstKind::AtomicFetchAdd { base, offset, value } => {
                let before = self.load(machine, *base, *offset, 8)?;
                self.store(machine, *base, *offset, 8, before.wrapping_add(self.get(*value)?))?;
                before
            }
            InstKind::Context => self.context,
            InstKind::Parameter(number) => {
                *self.parameters.get(usize::from(*number)).ok_or_else(|| format!("there is no parameter {number}"))?
            }
            InstKind::Callback(number) => u64::from(*number),
            InstKind::StackAddress { offset } => self.stack + u64::from(*offset),
            InstKind::Map(map) => u64::from(map.0),
            InstKind::MapValueAddress { map, offset } => machine.maps.direct(*map)? + u64::from(*offset),
            InstKind::Call { helper: LOOP, arguments } => self.repeat(machine, arguments, executed)?,
            InstKind::Call { helper: FOR_EACH_MAP_ELEM, arguments } => {
                self.for_each_entry(machine, arguments, executed)?
            }
            InstKind::Call { helper, arguments } => {
                let arguments = arguments
                    .iter()
                    .map(|value| Ok((self.get(*value)?, self.function.kind(*value))))
                    .collect::<Result<Vec<_>, String>>()?;
                calls::call(machine, *helper, &arguments, self.context)?
            }
            InstKind::Checkpoint => 0,
            InstKind::CallSubprogram { number, arguments } => {
                let subprogram = self.subprograms.get(*number as usize).ok_or("there is no such subprogram")?;
                let parameters = arguments.iter().map(|value| self.get(*value)).collect::<Result<Vec<_>, String>>()?;
                machine
                    .call(subprogram, self.subprograms, self.context, &parameters, executed)
                    .map_err(|fault| fault.to_string())?
            }
        })
    }
}

impl Run<'_> {
    /// `bpf_loop`: the callback gets the number of the round and the frame, and ends the loop with 1.
    fn repeat(&self, machine: &mut Simulation, arguments: &[Value], executed: &mut u32) -> Result<u64, String> {
        let [rounds, callback, frame, _] = arguments else { return Err("bpf_loop takes four arguments".to_string()) };
        let (rounds, frame) = (self.get(*rounds)? & 0xffff_ffff, self.get(*frame)?);
        if rounds > MOST_ROUNDS {
            return Ok(TOO_BIG);
        }
        let callback = self.callback(*callback)?;
        for round in 0..rounds {
            if self.call_back(machine, callback, &[round, frame], executed)? != 0 {
                return Ok(round + 1);
            }
        }
        Ok(rounds)
    }

    /// `bpf_for_each_map_elem`: the callback gets the map, an entry's key and value, and the frame.
    fn for_each_entry(&self, machine: &mut Simulation, arguments: &[Value], executed: &mut u32) -> Result<u64, String> {
        let [map, callback, frame, _] = arguments else {
            return Err("bpf_for_each_map_elem takes four arguments".to_string());
        };
        let (map, frame) = (self.get(*map)?, self.get(*frame)?);
        let callback = self.callback(*callback)?;
        let mut count = 0;
        for (key, value) in machine.maps.addresses(map)? {
            let key = machine.memory.add(Space::MapKey, Region::of(key));
            let ended = self.call_back(machine, callback, &[map, key, value, frame], executed);
            machine.memory.release(key);
            count += 1;
            if ended? != 0 {
                break;
            }
        }
        Ok(count)
    }

    fn callback(&self, value: Value) -> Result<&Function, String> {
        let number = self.get(value)? as usize;
        self.function.callbacks.get(number).ok_or_else(|| format!("there is no callback {number}"))
    }

    fn call_back(
        &self,
        machine: &mut Simulation,
        callback: &Function,
        parameters: &[u64],
        executed: &mut u32,
    ) -> Result<u64, String> {
        let ended = machine.call(callback, self.subprograms, self.context, parameters, executed);
        match ended.map_err(|fault| fault.to_string())? {
            ended @ (0 | 1) => Ok(ended),
            other => Err(format!("a callback gives {other}")),
        }
    }
}

/// Operations as the processor has them: what the language adds (division by zero, wide shifts) is spelled out by then.
fn binary(op: BinaryOp, left: u64, right: u64) -> Result<u64, String> {
    match op {
        BinaryOp::DivideSigned | BinaryOp::RemainderSigned => return Err("a signed division".to_string()),
        BinaryOp::DivideUnsigned | BinaryOp::RemainderUnsigned if right == 0 => {
            return Err("a division by zero".to_string());
        }
        BinaryOp::ShiftLeft | BinaryOp::ShiftRightSigned | BinaryOp::ShiftRightUnsigned if right >= 64 => {
            return Err(format!("a shift by {right}"));
        }
        BinaryOp::Add
        | BinaryOp::Subtract
        | BinaryOp::Multiply
        | BinaryOp::DivideUnsigned
        | BinaryOp::RemainderUnsigned
        | BinaryOp::BitAnd
        | BinaryOp::BitOr
        | BinaryOp::BitXor
        | BinaryOp::ShiftLeft
        | BinaryOp::ShiftRightSigned
        | BinaryOp::ShiftRightUnsigned
        | BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::LessSigned
        | BinaryOp::LessUnsigned
        | BinaryOp::LessEqualSigned
        | BinaryOp::LessEqualUnsigned => {}
    }
    Ok(op.apply(left as i64, right as i64) as u64)
}

fn extend(value: u64, bytes: u8, signed: bool) -> u64 {
    let unused = 64 - u32::from(bytes) * 8;
    if signed { ((value << unused) as i64 >> unused) as u64 } else { value << unused >> unused }
}

#[cfg(test)]
mod tests;
