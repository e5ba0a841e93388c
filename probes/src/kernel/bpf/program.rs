//! Programs and their BTF: loaded, run, measured. Never looks into the instructions.
//!
//! Unsafe: the unions that the system call's attribute is made of.

use std::ffi::CStr;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use aya_obj::generated::{bpf_btf_info, bpf_cmd, bpf_prog_info, bpf_prog_type};

use super::{address, bpf, bpf_fd, call_name, empty_attribute, object_name, raw, slice_address, with_memory_limit};
use crate::kernel::KernelError;

/// The verifier's log begins with this many bytes and grows to `LARGEST_LOG_BYTES`.
const FIRST_LOG_BYTES: usize = 64 * 1024;

/// A quarter of the kernel's limit (`UINT_MAX >> 2` since 5.2); a longer log helps nobody.
pub const LARGEST_LOG_BYTES: usize = 256 * 1024 * 1024 - 1;

/// `log_level`: each instruction as often as the verifier looked at it, with what it knew then (`BPF_LOG_LEVEL2`). What it knew
/// of a program that it takes is not in the log of level 1.
pub const LOG_STATES: u32 = 2;
/// `log_level`: how much there was to look at (`BPF_LOG_STATS`).
pub const LOG_STATISTICS: u32 = 4;

/// A program to load. Gaps: aya can't load instructions that are not in an ELF file, can't set the attach type of
/// `kprobe_multi` and `uprobe_multi`, wants all of the kernel's BTF parsed for typed programs, gives no log on success
/// and panics on a log that is not UTF-8.
#[derive(Clone, Debug)]
pub struct ProgramConfig<'a> {
    pub program_type: bpf_prog_type,
    /// `enum bpf_attach_type`
    pub expected_attach_type: Option<u32>,
    /// The BTF id of what a tracing program attaches to; 0 for none.
    pub attach_btf_id: u32,
    /// The module's BTF object that `attach_btf_id` belongs to; None for vmlinux.
    pub attach_btf_obj_fd: Option<BorrowedFd<'a>>,
    /// One instruction a word, in the byte order of the host (`struct bpf_insn`).
    pub instructions: &'a [u64],
    pub license: &'a CStr,
    pub name: &'a str,
    /// 0: only a refused program gets a log (of level 1). 1, 2 and 4 as for the kernel: the log comes on success too.
    pub log_level: u32,
    /// The program's own BTF with `func_info` and `line_info`, records of 8 and 16 bytes.
    pub btf_fd: Option<BorrowedFd<'a>>,
    pub func_info: &'a [u8],
    pub line_info: &'a [u8],
    /// `BPF_F_*`
    pub flags: u32,
}

impl Default for ProgramConfig<'_> {
    fn default() -> Self {
        ProgramConfig {
            program_type: bpf_prog_type::BPF_PROG_TYPE_UNSPEC,
            expected_attach_type: None,
            attach_btf_id: 0,
            attach_btf_obj_fd: None,
            instructions: &[],
            license: c"GPL",
            name: "",
            log_level: 0,
            btf_fd: None,
            func_info: &[],
            line_info: &[],
            flags: 0,
        }
    }
}

/// A program that the verifier has accepted.
#[derive(Debug)]
pub struct LoadedProgram {
    pub fd: OwnedFd,
    /// What the verifier said; empty unless the configuration asks for a log level.
    pub log: String,
}

/// Bytes of a `struct bpf_func_info` and a `struct bpf_line_info`.
const FUNC_INFO_BYTES: usize = 8;
const LINE_INFO_BYTES: usize = 16;

/// Loads a program. `KernelError::Refused` carries the verifier's log; a second load, with a log, is made only then.
pub fn program_load(config: &ProgramConfig<'_>) -> Result<LoadedProgram, KernelError> {
    let first = if config.log_level == 0 {
        match with_memory_limit(|| program_load_once(config, 0, &mut [])) {
            Ok(fd) => return Ok(LoadedProgram { fd, log: String::new() }),
            // Without the privilege the verifier is never reached, and has no log.
            Err(error) => error.errno(),
        }
    } else {
        None
    };
    let level = config.log_level.max(1);
    let mut log = vec![0_u8; FIRST_LOG_BYTES];
    loop {
        let result = with_memory_limit(|| program_load_once(config, level, &mut log));
        let errno = result.as_ref().err().and_then(KernelError::errno);
        if errno == Some(libc::ENOSPC) && log.len() < LARGEST_LOG_BYTES {
            log = vec![0; (log.len() * 8).min(LARGEST_LOG_BYTES)];
            continue;
        }
        let text = log_text(&log);
        return match result {
            Ok(fd) => Ok(LoadedProgram { fd, log: text }),
            Err(_) => Err(KernelError::Refused {
                call: call_name(bpf_cmd::BPF_PROG_LOAD),
                errno: match errno {
                    // A log that is still too long must not hide why the program was refused.
                    Some(libc::ENOSPC) => first.unwrap_or(libc::ENOSPC),
                    other => other.or(first).unwrap_or(0),
                },
                log: text,
            }),
        };
    }
}

/// The log up to its NUL; bytes that are not UTF-8 (they come from names in BTF) are replaced.
fn log_text(log: &[u8]) -> String {
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    String::from_utf8_lossy(&log[..end]).into_owned()
}

fn program_load_once(config: &ProgramConfig<'_>, level: u32, log: &mut [u8]) -> Result<OwnedFd, KernelError> {
    // A signal that arrives while the verifier works makes it give up with EAGAIN.
    const ATTEMPTS: u32 = 5;
    let mut attempt = 1;
    loop {
        let mut attribute = empty_attribute();
        // SAFETY: this is the member that BPF_PROG_LOAD reads; slices and strings of `config` outlive the call.
        let program = unsafe { &mut attribute.__bindgen_anon_3 };
        program.prog_type = config.program_type as u32;
        program.insn_cnt = config.instructions.len() as u32;
        program.insns = slice_address(config.instructions);
        program.license = address(config.license.as_ptr());
        program.log_level = level;
        program.log_size = log.len() as u32;
        program.log_buf = slice_address(log);
        program.prog_flags = config.flags;
        program.prog_name = object_name(config.name);
        program.expected_attach_type = config.expected_attach_type.unwrap_or(0);
        program.attach_btf_id = config.attach_btf_id;
        if let Some(fd) = config.attach_btf_obj_fd {
            program.__bindgen_anon_1.attach_btf_obj_fd = raw(fd);
        }
        if let Some(fd) = config.btf_fd {
            program.prog_btf_fd = raw(fd);
            if !config.func_info.is_empty() {
                program.func_info_rec_size = FUNC_INFO_BYTES as u32;
                program.func_info = slice_address(config.func_info);
                program.func_info_cnt = (config.func_info.len() / FUNC_INFO_BYTES) as u32;
            }
            if !config.line_info.is_empty() {
                program.line_info_rec_size = LINE_INFO_BYTES as u32;
                program.line_info = slice_address(config.line_info);
                program.line_info_cnt = (config.line_info.len() / LINE_INFO_BYTES) as u32;
            }
        }
        match bpf_fd(bpf_cmd::BPF_PROG_LOAD, &mut attribute) {
            Err(error) if error.errno() == Some(libc::EAGAIN) && attempt < ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}

/// How a test run is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct TestRun<'a> {
    /// What the program finds as its context: for a raw tracepoint its arguments, 8 bytes each.
    pub context: &'a [u8],
    /// The CPU to run on; None for the caller's.
    pub cpu: Option<u32>,
    /// How often; 0 and 1 are once. More than once is for program types other than raw tracepoints.
    pub repeat: u32,
}

/// What a test run gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TestRunResult {
    pub return_value: u32,
    /// The mean of all repetitions, nanoseconds; 0 where the program type does not measure it.
    pub duration_ns: u32,
}

/// Runs a program at once, in the caller's process. Gap: aya has no test run of BPF_PROG_TYPE_SYSCALL, and only for
/// programs that it has loaded itself.
pub fn program_test_run(program: BorrowedFd<'_>, run: TestRun<'_>) -> Result<TestRunResult, KernelError> {
    /// include/uapi/linux/bpf.h
    const BPF_F_TEST_RUN_ON_CPU: u32 = 1;
    let mut attribute = empty_attribute();
    // SAFETY: this is the member that BPF_PROG_TEST_RUN reads and writes; the context outlives the call.
    let test = unsafe { &mut attribute.test };
    test.prog_fd = raw(program);
    test.repeat = if run.repeat > 1 { run.repeat } else { 0 };
    test.ctx_size_in = run.context.len() as u32;
    test.ctx_in = slice_address(run.context);
    if let Some(cpu) = run.cpu {
        test.flags = BPF_F_TEST_RUN_ON_CPU;
        test.cpu = cpu;
    }
    bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attribute)?;
    // SAFETY: the same member; the kernel has written these two.
    let (return_value, duration_ns) = unsafe { (attribute.test.retval, attribute.test.duration) };
    Ok(TestRunResult { return_value, duration_ns })
}

/// What the kernel counts of one program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProgramStats {
    /// Nanoseconds spent in it, and how often it ran; both count only while statistics are enabled.
    pub run_time_ns: u64,
    pub run_count: u64,
    /// Runs that were left out because the program was running on that CPU already (5.12).
    pub recursion_misses: u64,
    /// Instructions that the verifier walked (5.16; 0 before).
    pub verified_instructions: u32,
    /// Bytes of the program before and after the JIT compiler.
    pub translated_bytes: u32,
    pub machine_bytes: u32,
    pub id: u32,
}

/// Gap: aya reads these only of programs that it has loaded itself.
pub fn program_stats(program: BorrowedFd<'_>) -> Result<ProgramStats, KernelError> {
    // SAFETY: bpf_prog_info is a struct of plain integers; with its lengths zero the kernel copies no arrays.
    let mut info: bpf_prog_info = unsafe { mem::zeroed() };
    let mut attribute = empty_attribute();
    // SAFETY: this is the member that the command reads; `info` is live and as long as `info_len` says.
    let request = unsafe { &mut attribute.info };
    request.bpf_fd = raw(program);
    request.info_len = size_of::<bpf_prog_info>() as u32;
    request.info = address(&raw mut info);
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attribute)?;
    Ok(ProgramStats {
        run_time_ns: info.run_time_ns,
        run_count: info.run_cnt,
        recursion_misses: info.recursion_misses,
        verified_instructions: info.verified_insns,
        translated_bytes: info.xlated_prog_len,
        machine_bytes: info.jited_prog_len,
        id: info.id,
    })
}

/// Makes the kernel count run times of all programs for as long as the descriptor is open (5.8).
pub fn enable_stats() -> Result<OwnedFd, KernelError> {
    let mut attribute = empty_attribute();
    attribute.enable_stats.type_ = aya_obj::generated::bpf_stats_type::BPF_STATS_RUN_TIME as u32;
    bpf_fd(bpf_cmd::BPF_ENABLE_STATS, &mut attribute)
}

/// Loads a program's own BTF. Gap: aya loads only what it found in an ELF file. `Refused` carries the kernel's log.
pub fn btf_load(btf: &[u8]) -> Result<OwnedFd, KernelError> {
    let load = |log: &mut [u8]| {
        with_memory_limit(|| {
            let mut attribute = empty_attribute();
            // SAFETY: this is the member that BPF_BTF_LOAD reads; both slices outlive the call.
            let request = unsafe { &mut attribute.__bindgen_anon_7 };
            request.btf = slice_address(btf);
            request.btf_size = btf.len() as u32;
            request.btf_log_buf = slice_address(log);
            request.btf_log_size = log.len() as u32;
            request.btf_log_level = u32::from(!log.is_empty());
            bpf_fd(bpf_cmd::BPF_BTF_LOAD, &mut attribute)
        })
    };
    load(&mut []).or_else(|first| {
        let mut log = vec![0; FIRST_LOG_BYTES];
        load(&mut log).map_err(|_| KernelError::Refused {
            call: call_name(bpf_cmd::BPF_BTF_LOAD),
            errno: first.errno().unwrap_or(0),
            log: log_text(&log),
        })
    })
}

/// The kernel's BTF object of a module, which a program that attaches to a function of it is loaded with. Gap: aya
/// attaches to vmlinux only.
pub fn btf_of_module(module: &str) -> Result<OwnedFd, KernelError> {
    let mut id = 0;
    loop {
        let mut attribute = empty_attribute();
        attribute.__bindgen_anon_6.__bindgen_anon_1.start_id = id;
        bpf(bpf_cmd::BPF_BTF_GET_NEXT_ID, &mut attribute)?;
        // SAFETY: the member that the command wrote its answer to.
        id = unsafe { attribute.__bindgen_anon_6.next_id };
        let mut attribute = empty_attribute();
        attribute.__bindgen_anon_6.__bindgen_anon_1.btf_id = id;
        let btf = match bpf_fd(bpf_cmd::BPF_BTF_GET_FD_BY_ID, &mut attribute) {
            Ok(btf) => btf,
            // It has gone since its number was given.
            Err(error) if error.errno() == Some(libc::ENOENT) => continue,
            Err(error) => return Err(error),
        };
        let mut name = [0_u8; 64];
        // SAFETY: bpf_btf_info is a struct of plain integers; with a length of zero the kernel copies no types.
        let mut info: bpf_btf_info = unsafe { mem::zeroed() };
        info.name = address(name.as_mut_ptr());
        info.name_len = name.len() as u32;
        let mut attribute = empty_attribute();
        // SAFETY: this is the member that the command reads; `info` is live and as long as `info_len` says.
        let request = unsafe { &mut attribute.info };
        request.bpf_fd = raw(btf.as_fd());
        request.info_len = size_of::<bpf_btf_info>() as u32;
        request.info = address(&raw mut info);
        bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attribute)?;
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        if info.kernel_btf == 1 && &name[..end] == module.as_bytes() {
            return Ok(btf);
        }
    }
}
