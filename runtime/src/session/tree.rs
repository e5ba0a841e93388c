//! A process and its descendants: which numbers of processes programs let through. Those that there are come from /proc, those
//! that are forked later from a small program of our own at each fork. A number's byte is written at each fork, whoever
//! forks: what has ended needs no forgetting.

use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use aya_obj::generated::bpf_prog_type;
use rtrace_lang::calls;
use rtrace_lang::limits::PROCESS_NUMBERS;
use rtrace_lang::probe::ProbeSpec;
use rtrace_lang::span::Span;
use rtrace_lang::target::{Feature, ProbeSite, ProcessNamespace, ResolveOptions, Target};
use rtrace_lang::types::StructKind;
use rtrace_probes::kernel::KernelError;
use rtrace_probes::kernel::bpf::{self, ProgramConfig};
use rtrace_probes::kernel::features::instruction;
use rtrace_probes::{Link, Machine, provider_named};

use super::SessionError;
use super::globals::GlobalData;

/// Where the program at each fork finds the new task, the one that forks being the current one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum News {
    /// At the second parameter of the event sched_process_fork.
    Event,
    /// At the first of the function wake_up_new_task, which comes next: where raw tracepoints pass over events, a fork would be missed.
    Function,
}

impl News {
    fn of(machine: &Machine) -> News {
        match machine.avoids_raw_tracepoints() && machine.has(Feature::Kprobes) {
            true => News::Function,
            false => News::Event,
        }
    }

    fn program_type(self) -> bpf_prog_type {
        match self {
            News::Event => bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT,
            News::Function => bpf_prog_type::BPF_PROG_TYPE_KPROBE,
        }
    }

    /// The byte in the context: of an array of words, or of `struct pt_regs`.
    fn new_task(self) -> i16 {
        match self {
            News::Event => 8,
            News::Function => 112,
        }
    }

    fn attach(self, machine: &Machine, program: BorrowedFd<'_>) -> Result<Vec<Link>, SessionError> {
        if self == News::Event {
            let event = bpf::raw_tracepoint_open(Some(c"sched_process_fork"), program, None)?;
            return Ok(vec![Link::quick(event)]);
        }
        let provider = provider_named("kprobe").expect("there are kprobes");
        let spec = ProbeSpec::parse("kprobe:wake_up_new_task", Span::default());
        let sites = provider.resolve(machine, &spec, &ResolveOptions::default());
        let sites = sites.map_err(|error| KernelError::Absent(error.message))?;
        let sites: Vec<(u64, &ProbeSite)> = sites.iter().map(|site| (0, site)).collect();
        Ok(provider.attach(machine, program, &sites).map_err(|error| error.source)?)
    }
}

/// Byte offsets of members of the kernel's structs.
struct Offsets {
    pid: i16,
    tgid: i16,
    thread_pid: i16,
    level: i16,
    numbers: i16,
}

/// Lets through the process, its descendants that live, and what they will fork as long as the links live. The tool itself is left
/// out, and what it starts, where it is a descendant.
pub fn follow(machine: &Machine, map: BorrowedFd<'_>, process: u32) -> Result<Vec<Link>, SessionError> {
    let members =
        GlobalData::map(map, PROCESS_NUMBERS as usize).map_err(|error| SessionError::System("mmap", error))?;
    let news = News::of(machine);
    let instructions = at_fork(news, &offsets(machine)?, machine.process_namespace(), map);
    let program = bpf::program_load(&ProgramConfig {
        program_type: news.program_type(),
        instructions: &instructions,
        name: "rtrace_fork",
        ..ProgramConfig::default()
    })?;
    let links = news.attach(machine, program.fd.as_fd())?;
    members.set_byte(process, 1);
    // Who is forked from now on by those that are marked is seen at the fork; who was before is in /proc. A pass
    // that finds nobody new is the last.
    let own = std::process::id();
    loop {
        let parents = parents();
        let mut is_new = false;
        for (pid, parent) in &parents {
            let is_member = |number: u32| number < PROCESS_NUMBERS && members.byte(number) != 0;
            if *pid != own && is_member(*parent) && !is_member(*pid) {
                members.set_byte(*pid, 1);
                is_new = true;
            }
        }
        if !is_new {
            return Ok(links);
        }
    }
}

/// The processes that there are, each with its parent.
fn parents() -> HashMap<u32, u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter_map(|pid| Some((pid, parent(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?))).collect()
}

/// `17 (name) S 4 ...`: 4. The name may have anything in it.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn offsets(machine: &Machine) -> Result<Offsets, SessionError> {
    let offset = |of: &str, member: &str| {
        let found = machine.struct_named(StructKind::Struct, of).and_then(|found| {
            machine.fields(&found).into_iter().find(|field| &*field.name == member).map(|field| field.bit_offset / 8)
        });
        found.and_then(|offset| i16::try_from(offset).ok()).ok_or_else(|| {
            KernelError::Absent(format!("this kernel's types do not say where {member} is in struct {of}"))
        })
    };
    Ok(Offsets {
        pid: offset("task_struct", "pid")?,
        tgid: offset("task_struct", "tgid")?,
        thread_pid: offset("task_struct", "thread_pid")?,
        level: offset("pid", "level")?,
        numbers: offset("pid", "numbers")?,
    })
}

/// The new process's byte becomes that of the one that forks. A new thread is no new process.
fn at_fork(news: News, offsets: &Offsets, namespace: Option<ProcessNamespace>, map: BorrowedFd<'_>) -> Vec<u64> {
    const LOAD_1: u8 = 0x71;
    const LOAD_4: u8 = 0x61;
    const LOAD_8: u8 = 0x79;
    const STORE_1: u8 = 0x73;
    const STORE_8_IMMEDIATE: u8 = 0x7a;
    const MOVE: u8 = 0xbf;
    const SET: u8 = 0xb7;
    const ADD: u8 = 0x0f;
    const ADD_IMMEDIATE: u8 = 0x07;
    const SHIFT_LEFT: u8 = 0x67;
    const SHIFT_RIGHT: u8 = 0x77;
    const JUMP_IF_OTHER: u8 = 0x5d;
    const JUMP_IF_EQUAL: u8 = 0x15;
    const JUMP_FROM: u8 = 0x35;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    /// A load of two words; with this source the address of a map's first value.
    const LOAD_WIDE: u8 = 0x18;
    const MAP_VALUE: u8 = 2;
    const FRAME: u8 = 10;
    /// Registers that calls keep: the context, the new task, its number, the number of the process that forks.
    const CONTEXT: u8 = 6;
    const TASK: u8 = 7;
    const NUMBER: u8 = 8;
    const PARENT: u8 = 9;
    /// `struct upid` has a number and a pointer.
    const LOG_OF_UPID_BYTES: i32 = 4;
    let code = instruction;
    let wide =
        |register: u8, number: u64| [code(LOAD_WIDE, register, 0, 0, number as u32 as i32), (number >> 32) << 32];
    let mut program = vec![code(MOVE, CONTEXT, 1, 0, 0), code(LOAD_8, TASK, CONTEXT, news.new_task(), 0)];
    // *(FRAME - place) = the bytes at register + offset
    let read = |program: &mut Vec<u64>, place: i32, bytes: i32, register: u8, offset: i16| {
        program.extend([
            code(MOVE, 3, register, 0, 0),
            code(ADD_IMMEDIATE, 3, 0, 0, i32::from(offset)),
            code(MOVE, 1, FRAME, 0, 0),
            code(ADD_IMMEDIATE, 1, 0, 0, -place),
            code(SET, 2, 0, 0, bytes),
            code(CALL, 0, 0, 0, calls::PROBE_READ_KERNEL as i32),
        ]);
    };
    // Places of jumps to the end, whose distance is put in when it is known.
    let mut leaves = Vec::new();
    read(&mut program, 8, 4, TASK, offsets.pid);
    read(&mut program, 16, 4, TASK, offsets.tgid);
    program.extend([code(LOAD_4, NUMBER, FRAME, -8, 0), code(LOAD_4, 1, FRAME, -16, 0)]);
    leaves.push(program.len());
    program.push(code(JUMP_IF_OTHER, NUMBER, 1, 0, 0));
    match namespace {
        None => program.extend([
            code(CALL, 0, 0, 0, calls::GET_CURRENT_PID_TGID as i32),
            code(SHIFT_RIGHT, 0, 0, 0, 32),
            code(MOVE, PARENT, 0, 0, 0),
        ]),
        Some(namespace) => {
            program.push(code(STORE_8_IMMEDIATE, FRAME, 0, -8, 0));
            program.extend(wide(1, namespace.device));
            program.extend(wide(2, namespace.inode));
            program.extend([
                code(MOVE, 3, FRAME, 0, 0),
                code(ADD_IMMEDIATE, 3, 0, 0, -8),
                code(SET, 4, 0, 0, 8),
                code(CALL, 0, 0, 0, calls::GET_NS_CURRENT_PID_TGID as i32),
                // The thread's number lies before that of its process.
                code(LOAD_4, PARENT, FRAME, -4, 0),
            ]);
            // The new process's number at the level of the namespace of the one that forks.
            program.extend([code(CALL, 0, 0, 0, calls::GET_CURRENT_TASK as i32), code(MOVE, NUMBER, 0, 0, 0)]);
            read(&mut program, 8, 8, NUMBER, offsets.thread_pid);
            program.push(code(LOAD_8, NUMBER, FRAME, -8, 0));
            read(&mut program, 16, 4, NUMBER, offsets.level);
            program.extend([code(LOAD_4, NUMBER, FRAME, -16, 0), code(SHIFT_LEFT, NUMBER, 0, 0, LOG_OF_UPID_BYTES)]);
            read(&mut program, 8, 8, TASK, offsets.thread_pid);
            program.extend([code(LOAD_8, 1, FRAME, -8, 0), code(ADD, NUMBER, 1, 0, 0)]);
            read(&mut program, 16, 4, NUMBER, offsets.numbers);
            program.push(code(LOAD_4, NUMBER, FRAME, -16, 0));
        }
    }
    // 0 is a task outside of the namespace.
    leaves.push(program.len());
    program.push(code(JUMP_IF_EQUAL, PARENT, 0, 0, 0));
    for register in [NUMBER, PARENT] {
        leaves.push(program.len());
        program.push(code(JUMP_FROM, register, 0, 0, PROCESS_NUMBERS as i32));
    }
    program.extend([code(LOAD_WIDE, 1, MAP_VALUE, 0, map.as_raw_fd()), 0]);
    program.extend([
        code(MOVE, 2, 1, 0, 0),
        code(ADD, 2, PARENT, 0, 0),
        code(LOAD_1, 3, 2, 0, 0),
        code(ADD, 1, NUMBER, 0, 0),
        code(STORE_1, 1, 3, 0, 0),
    ]);
    let end = program.len();
    for at in leaves {
        program[at] |= u64::from((end - at - 1) as u16) << 16;
    }
    program.extend([code(SET, 0, 0, 0, 0), code(EXIT, 0, 0, 0, 0)]);
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_of_processes() {
        assert_eq!(parent("17 (a) b) S 4 17 17 0"), Some(4));
        assert_eq!(parent("17 (cat"), None);
        assert_eq!(parents().get(&std::process::id()), Some(&std::os::unix::process::parent_id()));
    }

    /// The program for namespaces is loaded as well, which no test runs in.
    #[test]
    fn the_kernel_takes_all_programs() {
        let machine = Machine::new();
        let Ok(map) = bpf::map_create(&bpf::MapConfig {
            kind: aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_ARRAY as u32,
            key_bytes: 4,
            value_bytes: PROCESS_NUMBERS,
            entries: 1,
            flags: 0,
            name: "rtrace_tree",
            btf: None,
            inner: None,
        }) else {
            println!("skipped: maps may not be made");
            return;
        };
        let offsets = offsets(&machine).unwrap();
        let namespaces = [None, Some(ProcessNamespace { device: 4, inode: 4_026_531_836 })];
        for (news, namespace) in
            [News::Event, News::Function].into_iter().flat_map(|news| namespaces.map(|of| (news, of)))
        {
            let instructions = at_fork(news, &offsets, namespace, map.as_fd());
            let loaded = bpf::program_load(&ProgramConfig {
                program_type: news.program_type(),
                instructions: &instructions,
                name: "rtrace_fork",
                ..ProgramConfig::default()
            });
            assert!(loaded.is_ok(), "{news:?}: {:?}", loaded.err());
        }
    }
}
