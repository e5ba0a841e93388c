//! What this kernel can do, each thing found out by trying it: a small program or link that only a kernel with the
//! feature accepts. Never looks at a version number. `Features` remembers the answers; a script pays only for what it
//! asks about.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, OnceLock};

use aya_obj::generated::{bpf_attach_type, bpf_map_type, bpf_prog_type};
use rtrace_lang::calls as lang_calls;
use rtrace_lang::target::{FEATURE_NAMES, Feature};

use super::bpf::{self, MapConfig, ProgramConfig};
use super::btf::{Btf, Kind};
use super::calls;
use super::{KernelError, perf};

/// Answers so far.
#[derive(Default)]
pub struct Features {
    known: Mutex<HashMap<Feature, bool>>,
    uprobe_multi_process: OnceLock<bool>,
    integer_pointers: OnceLock<bool>,
    may_not_load: OnceLock<bool>,
}

impl Features {
    /// From now on the kernel counts as one that lacks the feature.
    pub fn leave_out(&self, feature: Feature) {
        self.known.lock().expect("no holder panics").insert(feature, false);
    }

    /// Whether the kernel has the feature. `btf` is asked for only by features of tracing programs. Without the
    /// privilege to load programs every answer that takes a program is no.
    pub fn has<'a>(&self, feature: Feature, btf: impl FnOnce() -> Option<&'a Btf>) -> bool {
        if let Some(known) = self.known.lock().expect("no holder panics").get(&feature) {
            return *known;
        }
        // A session is a link of kprobe_multi; its programs load also where that is missing.
        let without_types: fn() -> Option<&'a Btf> = || None;
        let is_possible = feature != Feature::KprobeSession || self.has(Feature::KprobeMulti, without_types);
        let answer = is_possible && probe(feature, btf);
        self.known.lock().expect("no holder panics").insert(feature, answer);
        answer
    }

    /// Whether a `uprobe_multi` link for one process follows all of its threads: before 6.10 it followed only the
    /// thread whose number was given.
    pub fn uprobe_multi_follows_process(&self) -> bool {
        *self.uprobe_multi_process.get_or_init(uprobe_multi_follows_process)
    }

    /// Whether the caller may not load programs at all, so that every other answer is no.
    pub fn may_not_load(&self) -> bool {
        let probe = || load_kprobe(&RETURN_ZERO, None).is_err_and(|error| error.is_privilege());
        *self.may_not_load.get_or_init(probe)
    }

    /// Whether a typed program may load a pointer to integers, such as a string, from its context.
    pub fn loads_integer_pointers(&self, btf: &Btf) -> bool {
        *self.integer_pointers.get_or_init(|| loads_integer_pointer(btf))
    }
}

/// The feature of that name; helpers go by the kernel's names, without `bpf_`.
pub fn named(name: &str) -> Option<Feature> {
    let row = FEATURE_NAMES.iter().find(|(known, _)| *known == name).map(|(_, feature)| *feature);
    row.or_else(|| calls::helper_named(name).map(Feature::Helper))
}

/// One row a feature.
fn probe<'a>(feature: Feature, btf: impl FnOnce() -> Option<&'a Btf>) -> bool {
    match feature {
        // The PMU is there exactly if the kernel has kprobe events.
        Feature::Kprobes => perf::has_pmu("kprobe"),
        Feature::KprobeMulti => {
            let program = load_kprobe(&RETURN_ZERO, Some(bpf_attach_type::BPF_TRACE_KPROBE_MULTI as u32));
            program.is_ok_and(|program| bpf::knows_kprobe_multi(program.as_fd()))
        }
        Feature::KprobeSession => {
            let function = btf().and_then(|btf| btf.find(Kind::Func, rtrace_lang::calls::SESSION_IS_RETURN));
            function.is_some_and(|function| load_kprobe(&calling(function.id), Some(bpf::TRACE_KPROBE_SESSION)).is_ok())
        }
        Feature::UprobeMulti => uprobe_multi_errno(None) == Some(libc::EBADF),
        Feature::Trampolines => btf().is_some_and(attaches_trampoline),
        Feature::Iterators => btf().is_some_and(loads_iterator),
        Feature::Helper(number) => {
            let program_type = calls::program_type(number);
            let id =
                if program_type == bpf_prog_type::BPF_PROG_TYPE_TRACING { btf().and_then(test_function) } else { None };
            has_helper(number, program_type, id)
        }
        Feature::MapAllocator => takes_allocated_map(),
        Feature::TaskStorage => keeps_values_of_threads(),
        Feature::LargeKeys => takes_large_key(),
        Feature::AttachCookie => has_helper(calls::GET_ATTACH_COOKIE, bpf_prog_type::BPF_PROG_TYPE_KPROBE, None),
        Feature::TrampolineCookie => btf()
            .and_then(test_function)
            .is_some_and(|id| has_helper(calls::GET_ATTACH_COOKIE, bpf_prog_type::BPF_PROG_TYPE_TRACING, Some(id))),
        Feature::RawTracepointCookie => {
            has_helper(calls::GET_ATTACH_COOKIE, bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT, None)
        }
        // What fires system calls' events became functions in the version that began to leave their programs (7.0).
        Feature::RawTracepointNoPreempt => {
            btf().is_none_or(|btf| btf.find(Kind::Func, "trace_syscall_enter").is_none())
        }
        Feature::AtomicFetch => load_kprobe(&FETCH_ADD, None).is_ok(),
        Feature::CpuV4 => load_kprobe(&SIGN_EXTENDING_MOVE, None).is_ok(),
    }
}

/// An instruction as a word (include/uapi/linux/bpf.h, `struct bpf_insn`, little-endian).
pub const fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    code as u64
        | (destination as u64) << 8
        | (source as u64) << 12
        | (offset as u16 as u64) << 16
        | (immediate as u32 as u64) << 32
}

const MOV64_IMMEDIATE: u8 = 0xb7;
const MOV64_REGISTER: u8 = 0xbf;
const CALL: u8 = 0x85;
const KERNEL_FUNCTION: u8 = 2;
const STORE64_IMMEDIATE: u8 = 0x7a;
const ATOMIC64: u8 = 0xdb;
const LOAD64: u8 = 0x79;
const LOAD64_IMMEDIATE: u8 = 0x18;
const JUMP_NOT_EQUAL_IMMEDIATE: u8 = 0x55;
const EXIT: u64 = instruction(0x95, 0, 0, 0, 0);
const FRAME: u8 = 10;

pub(crate) const RETURN_ZERO: [u64; 2] = [instruction(MOV64_IMMEDIATE, 0, 0, 0, 0), EXIT];

/// `r1 = 1; *(u64 *)(r10 - 8) = 0; r1 = atomic_fetch_add(r10 - 8, r1); r0 = 0`
const FETCH_ADD: [u64; 5] = [
    instruction(MOV64_IMMEDIATE, 1, 0, 0, 1),
    instruction(STORE64_IMMEDIATE, FRAME, 0, -8, 0),
    instruction(ATOMIC64, FRAME, 1, -8, 0x01),
    RETURN_ZERO[0],
    EXIT,
];

/// `r0 = 0; r0 = (s8)r0`
const SIGN_EXTENDING_MOVE: [u64; 3] = [RETURN_ZERO[0], instruction(MOV64_REGISTER, 0, 0, 8, 0), EXIT];

/// Calls a function of the kernel that is not a helper.
fn calling(function: u32) -> [u64; 3] {
    [instruction(CALL, 0, KERNEL_FUNCTION, 0, function as i32), RETURN_ZERO[0], EXIT]
}

fn load_kprobe(instructions: &[u64], attach_type: Option<u32>) -> Result<OwnedFd, KernelError> {
    let config = ProgramConfig {
        program_type: bpf_prog_type::BPF_PROG_TYPE_KPROBE,
        expected_attach_type: attach_type,
        instructions,
        name: "rtrace_feature",
        ..ProgramConfig::default()
    };
    bpf::program_load(&config).map(|program| program.fd)
}

/// What a `uprobe_multi` link on a directory fails with: the kernel looks at the process first, then at the file.
fn uprobe_multi_errno(pid: Option<i32>) -> Option<i32> {
    let program = load_kprobe(&RETURN_ZERO, Some(bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32)).ok()?;
    let targets =
        bpf::UprobeTargets { path: c"/", offsets: &[0], cookies: &[], ref_ctr_offsets: &[], pid, is_return: false };
    bpf::link_create_uprobe_multi(program.as_fd(), &targets).err()?.errno()
}

/// Kernels that follow the process also check the number for sense, and first: -1 is EINVAL there, EBADF before.
fn uprobe_multi_follows_process() -> bool {
    uprobe_multi_errno(Some(-1)) == Some(libc::EINVAL)
}

/// A function that is there for programs to be tested on, and that nothing calls.
const TEST_FUNCTION: &str = "bpf_fentry_test1";

fn test_function(btf: &Btf) -> Option<u32> {
    btf.find(Kind::Func, TEST_FUNCTION).or_else(|| btf.find(Kind::Func, "vfs_read")).map(|function| function.id)
}

/// Loads an fentry program and attaches it for a moment, where the function for it is there; elsewhere loading must do.
fn attaches_trampoline(btf: &Btf) -> bool {
    let Some(id) = test_function(btf) else { return false };
    let config = ProgramConfig {
        program_type: bpf_prog_type::BPF_PROG_TYPE_TRACING,
        expected_attach_type: Some(bpf_attach_type::BPF_TRACE_FENTRY as u32),
        attach_btf_id: id,
        instructions: &RETURN_ZERO,
        name: "rtrace_feature",
        ..ProgramConfig::default()
    };
    let Ok(program) = bpf::program_load(&config) else { return false };
    btf.find(Kind::Func, TEST_FUNCTION).is_none() || bpf::raw_tracepoint_open(None, program.fd.as_fd(), None).is_ok()
}

/// Whether an fentry or fexit program for a function of another program passes the verifier, and why not. With `word`
/// it loads that word of its context.
pub(crate) fn takes_trampoline(
    program: BorrowedFd<'_>,
    function: u32,
    is_return: bool,
    word: Option<u32>,
) -> Result<(), KernelError> {
    let load = instruction(LOAD64, 1, 1, word.unwrap_or(0) as i16 * 8, 0);
    let instructions = [load, RETURN_ZERO[0], EXIT];
    let attach = if is_return { bpf_attach_type::BPF_TRACE_FEXIT } else { bpf_attach_type::BPF_TRACE_FENTRY };
    let config = ProgramConfig {
        program_type: bpf_prog_type::BPF_PROG_TYPE_TRACING,
        expected_attach_type: Some(attach as u32),
        attach_btf_id: function,
        attach_btf_obj_fd: Some(program),
        instructions: if word.is_some() { &instructions } else { &RETURN_ZERO },
        name: "rtrace_feature",
        ..ProgramConfig::default()
    };
    bpf::program_load(&config).map(|_| ())
}

fn loads_iterator(btf: &Btf) -> bool {
    let Some(function) = btf.find(Kind::Func, "bpf_iter_task") else { return false };
    let config = ProgramConfig {
        program_type: bpf_prog_type::BPF_PROG_TYPE_TRACING,
        expected_attach_type: Some(bpf_attach_type::BPF_TRACE_ITER as u32),
        attach_btf_id: function.id,
        instructions: &RETURN_ZERO,
        name: "rtrace_feature",
        ..ProgramConfig::default()
    };
    bpf::program_load(&config).is_ok()
}

/// Loads the argument of `bpf_test_finish(int *)`. Old kernels take only pointers to `char`, which is not told apart.
fn loads_integer_pointer(btf: &Btf) -> bool {
    let Some(id) = btf.trace_events().get("bpf_test_finish") else { return false };
    let config = ProgramConfig {
        program_type: bpf_prog_type::BPF_PROG_TYPE_TRACING,
        expected_attach_type: Some(bpf_attach_type::BPF_TRACE_RAW_TP as u32),
        attach_btf_id: *id,
        instructions: &[instruction(LOAD64, 1, 1, 0, 0), RETURN_ZERO[0], EXIT],
        name: "rtrace_feature",
        ..ProgramConfig::default()
    };
    bpf::program_load(&config).is_ok()
}

/// Whether a program of that type may call the helper, whatever its arguments: the verifier says so in words.
fn has_helper(number: u32, program_type: bpf_prog_type, attach_btf_id: Option<u32>) -> bool {
    let is_tracing = program_type == bpf_prog_type::BPF_PROG_TYPE_TRACING;
    if is_tracing && attach_btf_id.is_none() {
        return false;
    }
    let instructions = [instruction(CALL, 0, 0, 0, number as i32), EXIT];
    let config = ProgramConfig {
        program_type,
        expected_attach_type: is_tracing.then_some(bpf_attach_type::BPF_TRACE_FENTRY as u32),
        attach_btf_id: attach_btf_id.unwrap_or(0),
        instructions: &instructions,
        name: "rtrace_feature",
        ..ProgramConfig::default()
    };
    match bpf::program_load(&config) {
        Ok(_) => true,
        Err(KernelError::Refused { log, .. }) => {
            // `unknown func bpf_x#1`, `invalid func unknown#1`, and since 6.11 `program of this type cannot use helper`.
            let refusals = ["unknown func ", "invalid func ", "cannot use helper"];
            !log.is_empty() && !refusals.iter().any(|refusal| log.contains(refusal))
        }
        Err(
            KernelError::Call { .. }
            | KernelError::File { .. }
            | KernelError::Malformed { .. }
            | KernelError::Absent(_),
        ) => false,
    }
}

/// include/uapi/linux/bpf.h
const BPF_F_NO_PREALLOC: u32 = 1;
/// The immediate of a two-word load is a map's descriptor.
const BPF_PSEUDO_MAP_FD: u8 = 1;

/// Whether a program gets a value for the thread that runs it. It takes a run to know: since 7.0 the kernel takes the
/// memory in a way that some processors lack the instruction for (cmpxchg16b).
fn keeps_values_of_threads() -> bool {
    /// BTF with one type, `int`, of four bytes: header, type, strings (Documentation/bpf/btf.rst).
    const INT: [u8; 45] = [
        0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 16, 0, 0, 0, 5, 0, 0, 0, // header
        1, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 32, 0, 0, 1, // its name, kind, size and bits
        0, b'i', b'n', b't', 0,
    ];
    /// BPF_LOCAL_STORAGE_GET_F_CREATE
    const CREATE: i32 = 1;
    let answer = || -> Result<u32, KernelError> {
        let btf = bpf::btf_load(&INT)?;
        let map = bpf::map_create(&MapConfig {
            kind: bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE as u32,
            key_bytes: 4,
            value_bytes: 4,
            entries: 0,
            flags: BPF_F_NO_PREALLOC,
            name: "rtrace_feature",
            btf: Some((btf.as_fd(), 1, 1)),
            inner: None,
        })?;
        let instructions = [
            instruction(CALL, 0, 0, 0, lang_calls::GET_CURRENT_TASK_BTF as i32),
            instruction(MOV64_REGISTER, 2, 0, 0, 0),
            instruction(LOAD64_IMMEDIATE, 1, BPF_PSEUDO_MAP_FD, 0, map.as_raw_fd()),
            0,
            instruction(MOV64_IMMEDIATE, 3, 0, 0, 0),
            instruction(MOV64_IMMEDIATE, 4, 0, 0, CREATE),
            instruction(CALL, 0, 0, 0, lang_calls::TASK_STORAGE_GET as i32),
            instruction(JUMP_NOT_EQUAL_IMMEDIATE, 0, 0, 2, 0),
            RETURN_ZERO[0],
            EXIT,
            instruction(MOV64_IMMEDIATE, 0, 0, 0, 1),
            EXIT,
        ];
        let program = bpf::program_load(&ProgramConfig {
            program_type: bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT,
            instructions: &instructions,
            name: "rtrace_feature",
            ..ProgramConfig::default()
        })?;
        Ok(bpf::program_test_run(program.fd.as_fd(), bpf::TestRun::default())?.return_value)
    };
    answer().is_ok_and(|given| given == 1)
}

/// Before the BPF memory allocator (6.1) the verifier refused maps that allocate on use in programs of perf events.
fn takes_allocated_map() -> bool {
    let config = MapConfig {
        kind: bpf_map_type::BPF_MAP_TYPE_HASH as u32,
        key_bytes: 8,
        value_bytes: 8,
        entries: 1,
        flags: BPF_F_NO_PREALLOC,
        name: "rtrace_feature",
        btf: None,
        inner: None,
    };
    let Ok(map) = bpf::map_create(&config) else { return false };
    let load = instruction(LOAD64_IMMEDIATE, 1, BPF_PSEUDO_MAP_FD, 0, map.as_raw_fd());
    let instructions = [load, 0, RETURN_ZERO[0], EXIT];
    let config = ProgramConfig {
        program_type: bpf_prog_type::BPF_PROG_TYPE_PERF_EVENT,
        instructions: &instructions,
        name: "rtrace_feature",
        ..ProgramConfig::default()
    };
    bpf::program_load(&config).is_ok()
}

/// Before 5.11 a key had to fit the stack of a program.
fn takes_large_key() -> bool {
    let config = MapConfig {
        kind: bpf_map_type::BPF_MAP_TYPE_HASH as u32,
        key_bytes: 1024,
        value_bytes: 8,
        entries: 1,
        flags: 0,
        name: "rtrace_feature",
        btf: None,
        inner: None,
    };
    bpf::map_create(&config).is_ok()
}

/// How many instructions a program of this process may have: the kernel knows these two limits (BPF_MAXINSNS and
/// BPF_COMPLEXITY_LIMIT_INSNS).
pub fn most_instructions() -> u32 {
    const FEW: u32 = 4096;
    let mut instructions = vec![RETURN_ZERO[0]; FEW as usize];
    instructions.push(EXIT);
    if load_kprobe(&instructions, None).is_ok() { 1_000_000 } else { FEW }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_the_running_kernel() {
        let btf = Btf::open_vmlinux().ok();
        if load_kprobe(&RETURN_ZERO, None).is_err() {
            println!("skipped: programs may not be loaded here");
            return;
        }
        let features = Features::default();
        let all = [
            Feature::Kprobes,
            Feature::KprobeMulti,
            Feature::KprobeSession,
            Feature::UprobeMulti,
            Feature::Trampolines,
            Feature::Iterators,
            Feature::MapAllocator,
            Feature::TaskStorage,
            Feature::LargeKeys,
            Feature::AttachCookie,
            Feature::TrampolineCookie,
            Feature::RawTracepointCookie,
            Feature::RawTracepointNoPreempt,
            Feature::AtomicFetch,
            Feature::CpuV4,
            Feature::Helper(1),
            Feature::Helper(174),
            Feature::Helper(100_000),
        ];
        for feature in all {
            let started = std::time::Instant::now();
            let has = features.has(feature, || btf.as_ref());
            println!("{feature:?}: {has} after {:?}", started.elapsed());
        }
        println!("uprobe_multi follows processes: {}", features.uprobe_multi_follows_process());
        let (session, multi) = (Feature::KprobeSession, Feature::KprobeMulti);
        assert!(!features.has(session, || btf.as_ref()) || features.has(multi, || None));
        assert!([4096, 1_000_000].contains(&most_instructions()));
        // Map look-up is there since the first BPF kernel, and no kernel has that many helpers.
        assert!(features.has(Feature::Helper(1), || None));
        assert!(!features.has(Feature::Helper(100_000), || None));
    }
}
