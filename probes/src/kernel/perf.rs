//! perf_event_open(2) and the ioctls of its descriptors: software events, tracepoints, and single kprobes and uprobes
//! through their PMUs. Never reads samples; programs do that. Descriptors are close-on-exec. Gap of aya 0.14: it opens
//! perf events for its own programs only, without `exclude_*` and, for some, without close-on-exec.
//!
//! Unsafe: two system calls and the struct that one of them takes.

use std::ffi::CStr;
use std::fs;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use aya_obj::generated::{
    PERF_EVENT_IOC_ENABLE, PERF_EVENT_IOC_SET_BPF, PERF_FLAG_FD_CLOEXEC, perf_event_attr, perf_type_id,
};

use rtrace_lang::target::WatchMode;

use super::KernelError;

/// include/uapi/linux/hw_breakpoint.h
const HW_BREAKPOINT_R: u32 = 1;
const HW_BREAKPOINT_W: u32 = 2;
const HW_BREAKPOINT_X: u32 = 4;

/// What a perf event counts.
#[derive(Clone, Copy, Debug)]
pub enum PerfKind<'a> {
    /// `PERF_TYPE_SOFTWARE`, `PERF_TYPE_HARDWARE` and so on with their `config`; overflows each `period` events or, with
    /// `frequency`, `period` times a second.
    Counter { kind: u32, config: u64, period: u64, frequency: bool },
    /// An address, and what is done there that counts.
    Breakpoint { address: u64, bytes: u8, mode: WatchMode },
    /// The number in the event's `id` file.
    Tracepoint { id: u32 },
    /// A kernel function and a byte offset into it.
    Kprobe { function: &'a CStr, offset: u64, is_return: bool },
    /// A kernel address.
    KprobeAddress { address: u64, is_return: bool },
    /// A file and the file offset of an instruction; `ref_ctr_offset` is that of a USDT semaphore, 0 for none.
    Uprobe { path: &'a CStr, offset: u64, ref_ctr_offset: u64, is_return: bool },
}

/// Whom a perf event follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PerfScope {
    /// One thread, on every CPU, and for a counter the threads that it makes later; before 5.13 the processes too, which
    /// only the program can leave out.
    Thread(u32),
    /// The process of that thread, on every CPU: kprobes and uprobes decide by the address space.
    Process(u32),
    /// Every process, on one CPU.
    Cpu(u32),
}

/// The directory in which the kernel lists its PMUs.
const DEVICES: &str = "/sys/bus/event_source/devices";

/// Opens a perf event. It does not run before `enable` is called.
pub fn perf_event_open(kind: PerfKind<'_>, scope: PerfScope) -> Result<OwnedFd, KernelError> {
    // SAFETY: perf_event_attr is a struct of plain integers; all zeroes is a value of it.
    let mut attribute: perf_event_attr = unsafe { mem::zeroed() };
    attribute.size = size_of::<perf_event_attr>() as u32;
    match kind {
        PerfKind::Counter { kind, config, period, frequency } => {
            attribute.type_ = kind;
            attribute.config = config;
            if frequency {
                attribute.set_freq(1);
                attribute.__bindgen_anon_1.sample_freq = period;
            } else {
                attribute.__bindgen_anon_1.sample_period = period;
            }
            // A program on an event without samples would never run.
            attribute.set_disabled(1);
        }
        PerfKind::Breakpoint { address, bytes, mode } => {
            attribute.type_ = perf_type_id::PERF_TYPE_BREAKPOINT as u32;
            let (kind, bytes) = match mode {
                WatchMode::Write => (HW_BREAKPOINT_W, u64::from(bytes)),
                WatchMode::ReadWrite => (HW_BREAKPOINT_R | HW_BREAKPOINT_W, u64::from(bytes)),
                // The kernel wants the size of a word for the first byte of an instruction.
                WatchMode::Execute => (HW_BREAKPOINT_X, size_of::<libc::c_long>() as u64),
            };
            attribute.bp_type = kind;
            attribute.__bindgen_anon_3.bp_addr = address;
            attribute.__bindgen_anon_4.bp_len = bytes;
            attribute.__bindgen_anon_1.sample_period = 1;
            attribute.set_disabled(1);
        }
        PerfKind::Tracepoint { id } => {
            attribute.type_ = perf_type_id::PERF_TYPE_TRACEPOINT as u32;
            attribute.config = u64::from(id);
            attribute.__bindgen_anon_1.sample_period = 1;
            attribute.set_disabled(1);
        }
        PerfKind::Kprobe { function, offset, is_return } => {
            probe_pmu(&mut attribute, "kprobe", is_return)?;
            attribute.__bindgen_anon_3.kprobe_func = function.as_ptr() as usize as u64;
            attribute.__bindgen_anon_4.probe_offset = offset;
        }
        PerfKind::KprobeAddress { address, is_return } => {
            probe_pmu(&mut attribute, "kprobe", is_return)?;
            attribute.__bindgen_anon_4.kprobe_addr = address;
        }
        PerfKind::Uprobe { path, offset, ref_ctr_offset, is_return } => {
            probe_pmu(&mut attribute, "uprobe", is_return)?;
            // The reference counter's offset takes the upper half of `config` (format/ref_ctr_offset).
            attribute.config |= ref_ctr_offset << 32;
            attribute.__bindgen_anon_3.uprobe_path = path.as_ptr() as usize as u64;
            attribute.__bindgen_anon_4.probe_offset = offset;
        }
    }
    if let PerfScope::Thread(_) = scope {
        attribute.set_inherit(1);
        attribute.set_inherit_thread(1);
        match open(&mut attribute, scope) {
            // Before 5.13 new threads can't be told from new processes: both are followed, so that nothing is lost.
            Err(error) if error.errno() == Some(libc::EINVAL) => attribute.set_inherit_thread(0),
            result => return result,
        }
    }
    open(&mut attribute, scope)
}

fn open(attribute: &mut perf_event_attr, scope: PerfScope) -> Result<OwnedFd, KernelError> {
    let (pid, cpu) = match scope {
        PerfScope::Thread(pid) | PerfScope::Process(pid) => (pid as i32, -1),
        PerfScope::Cpu(cpu) => (-1, cpu as i32),
    };
    let flags = u64::from(PERF_FLAG_FD_CLOEXEC);
    // SAFETY: the attribute is live and `size` is its length; a path or a name in it outlives the call.
    let fd =
        unsafe { libc::syscall(libc::SYS_perf_event_open, attribute as *mut perf_event_attr, pid, cpu, -1, flags) };
    if fd < 0 {
        return Err(KernelError::last("perf_event_open"));
    }
    // SAFETY: the call made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn probe_pmu(attribute: &mut perf_event_attr, name: &str, is_return: bool) -> Result<(), KernelError> {
    attribute.type_ = pmu_type(name)?;
    if is_return {
        attribute.config |= 1 << return_bit(name)?;
    }
    attribute.__bindgen_anon_1.sample_period = 1;
    attribute.set_disabled(1);
    Ok(())
}

/// The type number of a PMU (`kprobe`, `uprobe`): the kernel hands it out at boot.
pub fn pmu_type(name: &str) -> Result<u32, KernelError> {
    let path = format!("{DEVICES}/{name}/type");
    let text = read(&path)?;
    text.trim()
        .parse()
        .map_err(|_| KernelError::Malformed { what: path, reason: format!("no number: {}", text.trim()) })
}

/// True if this kernel has the PMU.
pub fn has_pmu(name: &str) -> bool {
    Path::new(DEVICES).join(name).join("type").exists()
}

/// Which bit of `config` asks for a return probe: `format/retprobe` says `config:0`.
fn return_bit(name: &str) -> Result<u32, KernelError> {
    let path = format!("{DEVICES}/{name}/format/retprobe");
    let text = read(&path)?;
    text.trim()
        .strip_prefix("config:")
        .and_then(|bit| bit.parse().ok())
        .filter(|bit| *bit < 64)
        .ok_or(KernelError::Malformed { what: path, reason: format!("no bit of config: {}", text.trim()) })
}

fn read(path: &str) -> Result<String, KernelError> {
    fs::read_to_string(path).map_err(|source| KernelError::File { path: path.into(), source })
}

/// Attaches a program to a perf event, without a cookie: what kernels before 5.15 have instead of perf links. The
/// attachment lasts as long as the event.
pub fn set_program(event: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), KernelError> {
    // SAFETY: both descriptors are open; the request takes the second one as a plain number.
    let result = unsafe { libc::ioctl(event.as_raw_fd(), PERF_EVENT_IOC_SET_BPF as _, program.as_raw_fd()) };
    if result < 0 { Err(KernelError::last("PERF_EVENT_IOC_SET_BPF")) } else { Ok(()) }
}

/// Lets a perf event run.
pub fn enable(event: BorrowedFd<'_>) -> Result<(), KernelError> {
    // SAFETY: the descriptor is open; the request takes no memory.
    let result = unsafe { libc::ioctl(event.as_raw_fd(), PERF_EVENT_IOC_ENABLE as _, 0) };
    if result < 0 { Err(KernelError::last("PERF_EVENT_IOC_ENABLE")) } else { Ok(()) }
}
