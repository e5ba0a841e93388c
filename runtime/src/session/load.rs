//! Maps, global data and programs of an object, made in the kernel.
//! Unsafe: reads a clock, moves a thread to a processor.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd};

use aya_obj::generated::{bpf_attach_type, bpf_prog_type};
use rtrace_compiler::object::btf::{self, DebugInfo};
use rtrace_compiler::object::{MapKind, Object, ProgramObject, START_OFFSET, WALL_OFFSET};
use rtrace_lang::target::{MultiKind, ProgramKind, TracingKind};
use rtrace_probes::Machine;
use rtrace_probes::kernel::{KernelError, bpf, system};

use crate::clock;
use crate::maps::LiveMap;

use super::globals::GlobalData;
use super::{SessionError, SessionOptions, refusal};

/// Makes all maps but those that others lend, by their numbers.
pub fn maps(object: &Object, mut lent: HashMap<usize, LiveMap>) -> Result<Vec<LiveMap>, SessionError> {
    let create = |map: &rtrace_compiler::object::MapObject| {
        LiveMap::create(map).map_err(|source| match &source {
            aya::maps::MapError::CreateError { io_error, .. } if io_error.raw_os_error() == Some(libc::EPERM) => {
                SessionError::Privilege(KernelError::Call { call: "BPF_MAP_CREATE", errno: libc::EPERM })
            }
            // Maps of the script go by the name that it gives them.
            _ => SessionError::Map { name: map.name.replacen("twin_", "at_", 1).replacen("at_", "@", 1), source },
        })
    };
    let is_new: Vec<bool> = (0..object.maps.len()).map(|number| !lent.contains_key(&number)).collect();
    let one = |(number, map)| lent.remove(&number).map_or_else(|| create(map), Ok);
    let maps = object.maps.iter().enumerate().map(one).collect::<Result<Vec<LiveMap>, SessionError>>()?;
    have_memory_ready(maps.iter().zip(is_new).filter(|(_, is_new)| *is_new).map(|(map, _)| map));
    Ok(maps)
}

/// Each processor gets memory for the first entries of maps that take it when they are used. The kernel begins with one
/// entry of more than 256 bytes, and brings the next by an interrupt: too late for the second stack of the first event
/// where interrupts are off (`prefill_mem_cache` and `bpf_irq_work` in kernel/bpf/memalloc.c). An entry made and removed
/// on each processor asks for more. What can't be done is left: the map is as good as the kernel made it.
fn have_memory_ready<'a>(maps: impl Iterator<Item = &'a LiveMap>) {
    let on_use = |map: &&LiveMap| map.object.allocate_on_use && map.object.kind == MapKind::Hash;
    let maps: Vec<&LiveMap> = maps.filter(on_use).collect();
    if maps.is_empty() {
        return;
    }
    // A thread of its own, so that this one stays where it may run. It is joined: one that still goes away would take the
    // signals that this one is going to wait for.
    std::thread::scope(|scope| {
        let warming = scope.spawn(|| {
            for cpu in system::online_cpus().unwrap_or_default() {
                if !move_to(cpu) {
                    continue;
                }
                for map in &maps {
                    let key = vec![0; map.object.key_bytes as usize];
                    let value = vec![0; map.object.value_bytes as usize];
                    if bpf::map_update(map.fd(), &key, &value, 0).is_ok() {
                        let _ = map.delete(&key);
                    }
                }
            }
        });
        let _ = warming.join();
    });
}

/// Whether the current thread runs on that processor now.
fn move_to(cpu: u32) -> bool {
    if cpu >= libc::CPU_SETSIZE as u32 {
        return false;
    }
    // SAFETY: a set of processors is plain numbers, this one has room for the processor, and the call reads it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu as usize, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) == 0
    }
}

/// Fills the global data, the start time included, and maps them.
pub fn globals(object: &Object, maps: &[LiveMap]) -> Result<GlobalData, SessionError> {
    let mut bytes = object.manifest.globals.bytes.clone();
    let at = START_OFFSET as usize;
    bytes[at..at + 8].copy_from_slice(&boot_clock().to_le_bytes());
    let at = WALL_OFFSET as usize;
    bytes[at..at + 8].copy_from_slice(&clock::boot_to_wall().to_le_bytes());
    let map = maps[object.manifest.globals_map as usize].fd();
    bpf::map_update(map, &[0; 4], &bytes, 0)?;
    GlobalData::map(map, bytes.len()).map_err(|error| SessionError::System("mmap", error))
}

/// Puts the cgroup of the command line where programs look for it.
pub fn cgroup(object: &Object, maps: &[LiveMap], options: &SessionOptions) -> Result<(), SessionError> {
    if let (Some(map), Some(cgroup)) = (object.manifest.cgroup, &options.cgroup) {
        let directory = cgroup.fd().as_raw_fd().to_ne_bytes();
        bpf::map_update(maps[map as usize].fd(), &[0; 4], &directory, 0)?;
    }
    Ok(())
}

/// Nanoseconds of the clock that runs on in suspend, which `nsecs` reads.
fn boot_clock() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes the specification.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

pub fn programs(
    machine: &Machine,
    object: &Object,
    maps: &[LiveMap],
    options: &SessionOptions,
) -> Result<Vec<bpf::LoadedProgram>, SessionError> {
    object.programs.iter().map(|program| load(machine, object, program, maps, options)).collect()
}

fn load(
    machine: &Machine,
    object: &Object,
    program: &ProgramObject,
    maps: &[LiveMap],
    options: &SessionOptions,
) -> Result<bpf::LoadedProgram, SessionError> {
    let mut instructions = program.instructions.clone();
    for relocation in &program.relocations {
        let at = relocation.instruction as usize;
        let fd = maps[relocation.map as usize].fd().as_raw_fd() as u32;
        instructions[at] = instructions[at] & 0xffff_ffff | u64::from(fd) << 32;
    }
    let (program_type, expected_attach_type, btf_id) = kinds(program.kind);
    let (attach_btf_id, attach_btf) = match btf_id {
        Some(id) => machine.btf_attachment(id)?,
        None => (0, None),
    };
    let config = bpf::ProgramConfig {
        program_type,
        expected_attach_type,
        attach_btf_id,
        attach_btf_obj_fd: attach_btf.as_ref().map(|fd| fd.as_fd()),
        instructions: &instructions,
        name: &program.name,
        log_level: if options.verifier_log { bpf::LOG_STATES | bpf::LOG_STATISTICS } else { 0 },
        ..Default::default()
    };
    let loaded = match with_lines(&config, program, options) {
        // The log is longer than there is room for.
        Err(error) if options.verifier_log && error.errno() == Some(libc::ENOSPC) => {
            let brief = bpf::ProgramConfig { log_level: bpf::LOG_STATISTICS, ..config };
            with_lines(&brief, program, options).map(|loaded| {
                let most = bpf::LARGEST_LOG_BYTES >> 20;
                let log = format!("its log is longer than {most} MiB; how much there was to look at:\n{}", loaded.log);
                bpf::LoadedProgram { log, ..loaded }
            })
        }
        loaded => loaded,
    };
    loaded.map_err(|error| refusal::of_program(error, object, program))
}

/// Loads with the program's own BTF, so that the verifier and the kernel's tools quote the script. BEGIN, END and timers
/// load in less time than their lines take: they get them only where the verifier has something to say, or where the
/// kernel must know the program's functions.
fn with_lines(
    config: &bpf::ProgramConfig<'_>,
    program: &ProgramObject,
    options: &SessionOptions,
) -> Result<bpf::LoadedProgram, KernelError> {
    if program.kind == ProgramKind::TestRun
        && program.functions.len() == 1
        && !options.verifier_log
        && let Ok(loaded) = bpf::program_load(config)
    {
        return Ok(loaded);
    }
    let debug = DebugInfo::of(program, &options.source);
    match bpf::btf_load(&btf::btf(&debug)) {
        Ok(fd) => bpf::program_load(&bpf::ProgramConfig {
            btf_fd: Some(fd.as_fd()),
            func_info: &debug.func_info,
            line_info: &debug.line_info,
            ..config.clone()
        }),
        // Older kernels may lack a kind of BTF; the lines are not worth failing for.
        Err(_) => bpf::program_load(config),
    }
}

/// The type, what it attaches to (`enum bpf_attach_type`), and the id of a type there.
fn kinds(kind: ProgramKind) -> (bpf_prog_type, Option<u32>, Option<u32>) {
    match kind {
        ProgramKind::TestRun | ProgramKind::RawTracepoint => (bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT, None, None),
        ProgramKind::Kprobe { multi, user: _ } => (
            bpf_prog_type::BPF_PROG_TYPE_KPROBE,
            match multi {
                MultiKind::Single => None,
                MultiKind::KprobeMulti => Some(bpf_attach_type::BPF_TRACE_KPROBE_MULTI as u32),
                MultiKind::KprobeSession => Some(bpf::TRACE_KPROBE_SESSION),
                MultiKind::UprobeMulti => Some(bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32),
            },
            None,
        ),
        ProgramKind::Tracepoint => (bpf_prog_type::BPF_PROG_TYPE_TRACEPOINT, None, None),
        ProgramKind::Tracing { attach, btf_id } => (
            bpf_prog_type::BPF_PROG_TYPE_TRACING,
            Some(match attach {
                TracingKind::RawTracepoint => bpf_attach_type::BPF_TRACE_RAW_TP as u32,
                TracingKind::Fentry => bpf_attach_type::BPF_TRACE_FENTRY as u32,
                TracingKind::Fexit => bpf_attach_type::BPF_TRACE_FEXIT as u32,
                TracingKind::Iterator => bpf_attach_type::BPF_TRACE_ITER as u32,
            }),
            Some(btf_id),
        ),
        ProgramKind::PerfEvent => (bpf_prog_type::BPF_PROG_TYPE_PERF_EVENT, None, None),
    }
}
