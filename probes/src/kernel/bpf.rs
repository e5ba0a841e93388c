//! The one layer over bpf(2): each function fills a gap of aya 0.14, which it names. Takes and gives file descriptors
//! and bytes; every descriptor is close-on-exec (the kernel makes all of bpf(2)'s so). Never interprets a program, a map
//! or a probe. The attribute structs are those of include/uapi/linux/bpf.h, as `aya_obj` binds them; a kernel that does
//! not know a newer member accepts it as long as it is zero.
//!
//! Unsafe: the system call, and the unions that its attribute is made of.

mod batch;
mod link;
mod loaded;
mod map;
mod program;

pub use batch::*;
pub use link::*;
pub use loaded::*;
pub use map::*;
pub use program::*;

use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Once;

use aya_obj::generated::{bpf_attr, bpf_cmd};

use super::KernelError;

/// Bytes of an object's name with its NUL (include/uapi/linux/bpf.h, `BPF_OBJ_NAME_LEN`).
const NAME_BYTES: usize = 16;

fn call_name(command: bpf_cmd) -> &'static str {
    match command {
        bpf_cmd::BPF_MAP_CREATE => "BPF_MAP_CREATE",
        bpf_cmd::BPF_MAP_LOOKUP_ELEM => "BPF_MAP_LOOKUP_ELEM",
        bpf_cmd::BPF_MAP_UPDATE_ELEM => "BPF_MAP_UPDATE_ELEM",
        bpf_cmd::BPF_MAP_DELETE_ELEM => "BPF_MAP_DELETE_ELEM",
        bpf_cmd::BPF_MAP_GET_NEXT_KEY => "BPF_MAP_GET_NEXT_KEY",
        bpf_cmd::BPF_MAP_LOOKUP_BATCH => "BPF_MAP_LOOKUP_BATCH",
        bpf_cmd::BPF_MAP_LOOKUP_AND_DELETE_BATCH => "BPF_MAP_LOOKUP_AND_DELETE_BATCH",
        bpf_cmd::BPF_MAP_GET_FD_BY_ID => "BPF_MAP_GET_FD_BY_ID",
        bpf_cmd::BPF_OBJ_GET => "BPF_OBJ_GET",
        bpf_cmd::BPF_OBJ_PIN => "BPF_OBJ_PIN",
        bpf_cmd::BPF_MAP_FREEZE => "BPF_MAP_FREEZE",
        bpf_cmd::BPF_PROG_LOAD => "BPF_PROG_LOAD",
        bpf_cmd::BPF_PROG_TEST_RUN => "BPF_PROG_TEST_RUN",
        bpf_cmd::BPF_OBJ_GET_INFO_BY_FD => "BPF_OBJ_GET_INFO_BY_FD",
        bpf_cmd::BPF_RAW_TRACEPOINT_OPEN => "BPF_RAW_TRACEPOINT_OPEN",
        bpf_cmd::BPF_LINK_CREATE => "BPF_LINK_CREATE",
        bpf_cmd::BPF_ITER_CREATE => "BPF_ITER_CREATE",
        bpf_cmd::BPF_BTF_LOAD => "BPF_BTF_LOAD",
        bpf_cmd::BPF_ENABLE_STATS => "BPF_ENABLE_STATS",
        bpf_cmd::BPF_PROG_GET_NEXT_ID => "BPF_PROG_GET_NEXT_ID",
        bpf_cmd::BPF_PROG_GET_FD_BY_ID => "BPF_PROG_GET_FD_BY_ID",
        bpf_cmd::BPF_BTF_GET_NEXT_ID => "BPF_BTF_GET_NEXT_ID",
        bpf_cmd::BPF_BTF_GET_FD_BY_ID => "BPF_BTF_GET_FD_BY_ID",
        _ => "bpf",
    }
}

fn empty_attribute() -> bpf_attr {
    // SAFETY: bpf_attr is a union of plain integers; all zeroes is a value of every member.
    unsafe { mem::zeroed() }
}

/// Calls bpf(2) and gives its result, which is a descriptor for the commands that make something.
fn bpf(command: bpf_cmd, attribute: &mut bpf_attr) -> Result<i32, KernelError> {
    // SAFETY: the attribute is a live union of exactly the size that is passed; each caller keeps the memory that its
    // addresses name alive over the call, and as large as its lengths say.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_long, attribute as *mut bpf_attr, size_of::<bpf_attr>())
    };
    if result < 0 { Err(KernelError::last(call_name(command))) } else { Ok(result as i32) }
}

fn bpf_fd(command: bpf_cmd, attribute: &mut bpf_attr) -> Result<OwnedFd, KernelError> {
    let fd = bpf(command, attribute)?;
    // SAFETY: the command made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Repeats a call that failed with EPERM once after lifting the limit on locked memory, against which kernels before
/// 5.11 charge maps and programs.
fn with_memory_limit<T>(mut call: impl FnMut() -> Result<T, KernelError>) -> Result<T, KernelError> {
    match call() {
        Err(error) if error.errno() == Some(libc::EPERM) && raise_memory_limit() => call(),
        other => other,
    }
}

/// Lets the process lock as much memory as it wants, which kernels before 5.11 count maps against. True the first time.
pub fn raise_memory_limit() -> bool {
    static RAISED: Once = Once::new();
    let first = !RAISED.is_completed();
    RAISED.call_once(|| {
        let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: the struct is live. A refusal is ignored: the repeated call reports the real reason.
        unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) };
    });
    first
}

/// An object's name as the kernel takes it: at most 15 bytes of letters, digits, `_` and `.`.
fn object_name(name: &str) -> [libc::c_char; NAME_BYTES] {
    let mut bytes = [0; NAME_BYTES];
    for (to, from) in bytes[..NAME_BYTES - 1].iter_mut().zip(name.bytes()) {
        *to = if from.is_ascii_alphanumeric() || from == b'_' || from == b'.' { from } else { b'_' } as libc::c_char;
    }
    bytes
}

fn address<T: ?Sized>(of: *const T) -> u64 {
    of.cast::<u8>() as usize as u64
}

/// The address of a slice's first element, or 0 for an empty one: the kernel takes that for "not given".
fn slice_address<T>(slice: &[T]) -> u64 {
    if slice.is_empty() { 0 } else { address(slice.as_ptr()) }
}

/// The largest value of a `c_int` file descriptor field, as the kernel's unsigned one.
fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}
