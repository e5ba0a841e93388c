//! The kernel's helpers, as a program sees them (include/uapi/linux/bpf.h tells what each takes and gives). A helper that
//! no lowering uses is a fault.

use rtrace_lang::calls;

use super::{Simulation, Space, ValueKind};
use crate::ir::interpret::Region;

/// EFAULT as helpers return it.
const FAULT: u64 = -14i64 as u64;

/// Calls a helper with its arguments and what each of them is.
pub fn call(
    machine: &mut Simulation,
    helper: u32,
    arguments: &[(u64, ValueKind)],
    context: u64,
) -> Result<u64, String> {
    let number = |at: usize| match arguments.get(at) {
        Some((value, ValueKind::Int)) => Ok(*value),
        other => Err(format!("argument {at} of helper {helper} is {other:?}, not a number")),
    };
    let pointer = |at: usize| match arguments.get(at) {
        Some((0, _)) => Err(format!("argument {at} of helper {helper} is null")),
        Some((value, ValueKind::Pointer(_) | ValueKind::Nullable(_))) => Ok(*value),
        other => Err(format!("argument {at} of helper {helper} is {other:?}, not a pointer")),
    };
    let map = |at: usize| match arguments.get(at) {
        Some((value, ValueKind::Map)) => Ok(*value),
        other => Err(format!("argument {at} of helper {helper} is {other:?}, not a map")),
    };
    let Simulation { environment, memory, maps, records } = machine;
    Ok(match helper {
        calls::MAP_LOOKUP_ELEM => maps.look_up(map(0)?, pointer(1)?, memory)?,
        // There is one processor.
        calls::MAP_LOOKUP_PERCPU_ELEM if number(2)? == 0 => maps.look_up(map(0)?, pointer(1)?, memory)?,
        calls::MAP_LOOKUP_PERCPU_ELEM => 0,
        calls::MAP_UPDATE_ELEM => maps.update(map(0)?, pointer(1)?, pointer(2)?, number(3)?, memory)? as u64,
        calls::MAP_DELETE_ELEM => maps.delete(map(0)?, pointer(1)?, memory)? as u64,
        calls::PROBE_READ | calls::PROBE_READ_KERNEL => read(machine, pointer(0)?, number(1)?, number(2)?)?,
        calls::PROBE_READ_STR | calls::PROBE_READ_KERNEL_STR => {
            read_string(machine, pointer(0)?, number(1)?, number(2)?)?
        }
        // There is no user memory.
        calls::PROBE_READ_USER | calls::PROBE_READ_USER_STR => read(machine, pointer(0)?, number(1)?, 0)?,
        calls::KTIME_GET_NS | calls::KTIME_GET_BOOT_NS | calls::KTIME_GET_TAI_NS => {
            environment.nanoseconds += 1;
            environment.nanoseconds
        }
        calls::GET_PRANDOM_U32 => environment.random & 0xffff_ffff,
        calls::GET_SMP_PROCESSOR_ID => environment.cpu,
        calls::GET_NUMA_NODE_ID => environment.numa_node,
        calls::GET_CURRENT_PID_TGID => environment.pid_tgid,
        calls::GET_CURRENT_UID_GID => environment.uid_gid,
        calls::GET_CURRENT_CGROUP_ID => environment.cgroup,
        calls::GET_CURRENT_TASK => environment.current_task,
        calls::JIFFIES64 => environment.jiffies,
        calls::GET_ATTACH_COOKIE if pointer(0)? == context => environment.cookie,
        calls::GET_CURRENT_COMM => {
            let bytes = (number(1)? as usize).min(environment.comm.len());
            memory.write(pointer(0)?, &environment.comm[..bytes], None)?;
            0
        }
        calls::GET_STACK if pointer(0)? == context => {
            let room = number(2)? as usize;
            memory.check_room(pointer(1)?, room)?;
            let frames: Vec<u8> =
                environment.stack.iter().take(room / 8).flat_map(|frame| frame.to_le_bytes()).collect();
            memory.write(pointer(1)?, &frames, None)?;
            if frames.is_empty() { FAULT } else { frames.len() as u64 }
        }
        calls::SEND_SIGNAL | calls::SEND_SIGNAL_THREAD => 0,
        calls::RINGBUF_RESERVE => {
            maps.object(map(0)?)?;
            if records.len() >= environment.ring_records {
                0
            } else {
                memory.add(Space::Record, Region::unwritten(number(1)? as usize))
            }
        }
        calls::RINGBUF_SUBMIT => {
            let record = pointer(0)?;
            memory.read(record, 8, Some(Space::Record)).map_err(|what| format!("a record is sent: {what}"))?;
            records.push(memory.release(record));
            0
        }
        _ => return Err(format!("there is no helper {helper} for these arguments")),
    })
}

/// Copies, or leaves zeros where the address cannot be read.
fn read(machine: &mut Simulation, to: u64, bytes: u64, from: u64) -> Result<u64, String> {
    let bytes = bytes as usize;
    machine.memory.check_room(to, bytes)?;
    let found = machine.memory.probe(from, bytes).map(<[u8]>::to_vec);
    let result = if found.is_some() { 0 } else { FAULT };
    machine.memory.write(to, &found.unwrap_or_else(|| vec![0; bytes]), None)?;
    Ok(result)
}

/// Copies up to the NUL, or as much as there is room for with a NUL behind it; gives the length with the NUL.
fn read_string(machine: &mut Simulation, to: u64, bytes: u64, from: u64) -> Result<u64, String> {
    let room = bytes as usize;
    machine.memory.check_room(to, room)?;
    let mut text = Vec::new();
    while text.len() + 1 < room {
        match machine.memory.probe(from.wrapping_add(text.len() as u64), 1) {
            None => {
                machine.memory.write(to, &vec![0; room], None)?;
                return Ok(FAULT);
            }
            Some([0]) => break,
            Some(byte) => text.push(byte[0]),
        }
    }
    text.push(0);
    // What lies behind the NUL stays as it was.
    text.truncate(room);
    machine.memory.write(to, &text, None)?;
    Ok(text.len() as u64)
}
