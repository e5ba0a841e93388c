//! Assembles, by hand, a program that counts what its site's layout says: hits, the sum of the attach cookies, and the
//! sum of each register, argument and return value that fits one.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya_obj::generated::{bpf_attach_type, bpf_map_type, bpf_prog_type};
use rtrace_lang::target::{
    Argument, Feature, Layout, Location, MultiKind, ProbeSite, ProgramKind, Target, TracingKind, Word,
};
use rtrace_probes::Machine;
use rtrace_probes::kernel::bpf::{self, MapConfig, ProgramConfig};

const SLOTS: u32 = 32;
const GET_PID_TGID: i32 = 14;
const LOOKUP: i32 = 1;
const GET_ATTACH_COOKIE: i32 = 174;
const PROBE_READ_KERNEL: i32 = 113;

fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    u64::from(code)
        | u64::from(destination) << 8
        | u64::from(source) << 12
        | u64::from(offset as u16) << 16
        | u64::from(immediate as u32) << 32
}

/// What the program has counted.
pub struct Count {
    map: OwnedFd,
    names: Vec<String>,
}

impl Count {
    fn slot(&self, at: u32) -> u64 {
        let mut value = [0; 8];
        assert!(bpf::map_lookup(self.map.as_fd(), &at.to_ne_bytes(), &mut value).unwrap());
        u64::from_ne_bytes(value)
    }

    pub fn hits(&self) -> u64 {
        self.slot(0)
    }

    pub fn cookie_sum(&self) -> u64 {
        self.slot(1)
    }

    pub fn register_sum(&self, name: &str) -> u64 {
        let at = self.names.iter().position(|known| known == name).unwrap();
        self.slot(at as u32 + 2)
    }
}

/// Jumps whose target is the end of the program.
struct Assembler {
    code: Vec<u64>,
    to_end: Vec<usize>,
}

impl Assembler {
    fn push(&mut self, code: u8, destination: u8, source: u8, offset: i16, immediate: i32) {
        self.code.push(instruction(code, destination, source, offset, immediate));
    }

    fn jump_to_end(&mut self, code: u8, register: u8, other: u8) {
        self.to_end.push(self.code.len());
        self.push(code, register, other, 0, 0);
    }

    fn constant(&mut self, register: u8, value: u64) {
        self.push(0x18, register, 0, 0, value as u32 as i32);
        self.code.push(value >> 32 << 32);
    }

    /// Loads `bytes` at the location into r1; the context is in r6. What has no fixed place or size is left out.
    fn read(&mut self, at: &Location, bytes: u8) -> bool {
        let load = match bytes {
            1 => 0x71,
            2 => 0x69,
            4 => 0x61,
            8 => 0x79,
            _ => return false,
        };
        match at {
            Location::Context { offset } => self.push(load, 1, 6, *offset as i16, 0),
            Location::Behind { pointer, offset, direct: true } => {
                self.push(0x79, 1, 6, *pointer as i16, 0);
                self.push(load, 1, 1, *offset as i16, 0);
            }
            Location::ContextCopy { offset } => {
                self.push(0xbf, 3, 6, 0, 0);
                self.push(0x07, 3, 0, 0, *offset as i32);
                self.push(0xbf, 1, 10, 0, 0);
                self.push(0x07, 1, 0, 0, -16);
                self.push(0xb7, 2, 0, 0, 8);
                self.push(0x7a, 10, 0, -16, 0);
                self.push(0x85, 0, 0, 0, PROBE_READ_KERNEL);
                self.push(0x79, 1, 10, -16, 0);
            }
            Location::Behind { pointer, offset, direct: false } => {
                self.push(0x79, 3, 6, *pointer as i16, 0);
                self.push(0x07, 3, 0, 0, *offset as i32);
                self.push(0x7a, 10, 0, -16, 0);
                self.push(0xbf, 1, 10, 0, 0);
                self.push(0x07, 1, 0, 0, -16);
                self.push(0xb7, 2, 0, 0, i32::from(bytes));
                self.push(0x85, 0, 0, 0, PROBE_READ_KERNEL);
                self.push(0x79, 1, 10, -16, 0);
            }
            Location::DataLocation { offset, base: _ } => self.push(0x61, 1, 6, *offset as i16, 0),
            Location::UserMemory(_) | Location::UserAddress(_) => return false,
        }
        true
    }

    /// Adds r1 to a slot of the map.
    fn add(&mut self, map: &OwnedFd, slot: u32) {
        self.push(0xbf, 7, 1, 0, 0);
        self.push(0x62, 10, 0, -4, slot as i32);
        self.push(0x18, 1, 1, 0, map.as_raw_fd());
        self.code.push(0);
        self.push(0xbf, 2, 10, 0, 0);
        self.push(0x07, 2, 0, 0, -4);
        self.push(0x85, 0, 0, 0, LOOKUP);
        self.jump_to_end(0x15, 0, 0);
        self.push(0xdb, 0, 7, 0, 0);
    }

    fn finish(mut self) -> Vec<u64> {
        let end = self.code.len();
        for at in self.to_end {
            self.code[at] |= u64::from((end - at - 1) as u16) << 16;
        }
        self.code.push(instruction(0xb7, 0, 0, 0, 0));
        self.code.push(instruction(0x95, 0, 0, 0, 0));
        self.code
    }
}

fn readable(layout: &Layout) -> Vec<&Argument> {
    layout.arguments.iter().chain(&layout.registers).chain(&layout.return_value).collect()
}

/// Loads a program for the site that counts only in this process.
pub fn load(machine: &Machine, site: &ProbeSite, pid: u32) -> (OwnedFd, Count) {
    let map = bpf::map_create(&MapConfig {
        kind: bpf_map_type::BPF_MAP_TYPE_ARRAY as u32,
        key_bytes: 4,
        value_bytes: 8,
        entries: SLOTS,
        name: "rtrace_test",
        ..MapConfig::default()
    })
    .unwrap();
    let mut code = Assembler { code: Vec::new(), to_end: Vec::new() };
    code.push(0xbf, 6, 1, 0, 0);
    code.push(0x85, 0, 0, 0, GET_PID_TGID);
    code.push(0x77, 0, 0, 0, 32);
    code.constant(1, u64::from(pid));
    code.jump_to_end(0x5d, 0, 1);
    let mut require = |word: &Word, value: u64| {
        assert!(code.read(&word.at, word.bytes));
        code.constant(2, value);
        code.jump_to_end(0x5d, 1, 2);
    };
    if let Some((word, value)) = &site.layout.guard {
        require(word, *value);
    }
    if let (Some(word), Some(value)) = (&site.layout.selector, site.selector) {
        require(word, value);
    }
    let mut names = Vec::new();
    for argument in readable(&site.layout) {
        // A pointer must not be added to a map of numbers where the verifier follows its type.
        if code.read(&argument.at, argument.ty.size().min(255) as u8) {
            if is_number(site.program, argument) {
                code.add(&map, names.len() as u32 + 2);
            }
            names.push(argument.name.to_string());
        }
    }
    if site.program.cookie_feature().is_none_or(|feature| machine.has(feature))
        && site.selector.is_none()
        && machine.has(Feature::AttachCookie)
    {
        code.push(0xbf, 1, 6, 0, 0);
        code.push(0x85, 0, 0, 0, GET_ATTACH_COOKIE);
        code.push(0xbf, 1, 0, 0, 0);
        code.add(&map, 1);
    }
    code.push(0xb7, 1, 0, 0, 1);
    code.add(&map, 0);
    let instructions = code.finish();
    let (program_type, expected_attach_type, btf_id) = kind(site.program);
    let (attach_btf_id, object) = machine.btf_attachment(btf_id).unwrap();
    let config = ProgramConfig {
        program_type,
        expected_attach_type,
        attach_btf_id,
        attach_btf_obj_fd: object.as_ref().map(AsFd::as_fd),
        instructions: &instructions,
        name: "rtrace_test",
        ..ProgramConfig::default()
    };
    match bpf::program_load(&config) {
        Ok(program) => (program.fd, Count { map, names }),
        Err(rtrace_probes::kernel::KernelError::Refused { errno, log, .. }) => {
            panic!("{}: errno {errno}\n{log}\n{site:?}", site.name)
        }
        Err(error) => panic!("{}: {error}", site.name),
    }
}

fn is_number(program: ProgramKind, argument: &Argument) -> bool {
    !matches!(program, ProgramKind::Tracing { .. })
        || !matches!(argument.at, Location::Context { .. })
        || argument.ty.is_integer() && !argument.name.starts_with("arg")
}

fn kind(program: ProgramKind) -> (bpf_prog_type, Option<u32>, u32) {
    match program {
        ProgramKind::TestRun | ProgramKind::RawTracepoint => (bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT, None, 0),
        ProgramKind::Kprobe { multi, user: _ } => {
            let attach_type = match multi {
                MultiKind::Single => None,
                MultiKind::KprobeMulti => Some(bpf_attach_type::BPF_TRACE_KPROBE_MULTI as u32),
                MultiKind::KprobeSession => Some(bpf::TRACE_KPROBE_SESSION),
                MultiKind::UprobeMulti => Some(bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32),
            };
            (bpf_prog_type::BPF_PROG_TYPE_KPROBE, attach_type, 0)
        }
        ProgramKind::Tracepoint => (bpf_prog_type::BPF_PROG_TYPE_TRACEPOINT, None, 0),
        ProgramKind::Tracing { attach, btf_id } => {
            let attach_type = match attach {
                TracingKind::RawTracepoint => bpf_attach_type::BPF_TRACE_RAW_TP,
                TracingKind::Fentry => bpf_attach_type::BPF_TRACE_FENTRY,
                TracingKind::Fexit => bpf_attach_type::BPF_TRACE_FEXIT,
                TracingKind::Iterator => bpf_attach_type::BPF_TRACE_ITER,
            };
            (bpf_prog_type::BPF_PROG_TYPE_TRACING, Some(attach_type as u32), btf_id)
        }
        ProgramKind::PerfEvent => (bpf_prog_type::BPF_PROG_TYPE_PERF_EVENT, None, 0),
    }
}
