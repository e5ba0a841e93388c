//! Links: programs attached to what makes them run. Never decides where to attach.
//!
//! Unsafe: the unions that the system call's attribute is made of.

use std::ffi::{CStr, CString};
use std::os::fd::{BorrowedFd, OwnedFd};

use aya_obj::generated::bpf_attr__bindgen_ty_14__bindgen_ty_3__bindgen_ty_1 as IteratorInfo;
use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd};

use super::{address, bpf_fd, call_name, empty_attribute, raw, slice_address};
use crate::kernel::KernelError;

/// Attaches a raw tracepoint program to the event of that name, or with None a tracing program (tp_btf, fentry, fexit)
/// to what it was loaded for. Gap: aya attaches only what it has loaded, and no cookies. A cookie takes
/// `Feature::RawTracepointCookie` (6.10) or, for fentry and fexit, `Feature::TrampolineCookie` (5.19); without it this
/// works on every kernel.
pub fn raw_tracepoint_open(
    name: Option<&CStr>,
    program: BorrowedFd<'_>,
    cookie: Option<u64>,
) -> Result<OwnedFd, KernelError> {
    let mut attribute = empty_attribute();
    attribute.raw_tracepoint.name = name.map_or(0, |name| address(name.as_ptr()));
    attribute.raw_tracepoint.prog_fd = raw(program);
    attribute.raw_tracepoint.cookie = cookie.unwrap_or(0);
    bpf_fd(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attribute)
}

/// Attaches a tracing program (tp_btf, fentry, fexit) with a cookie. `attach_type` is the one that it was loaded with.
pub fn link_create_tracing(
    program: BorrowedFd<'_>,
    attach_type: bpf_attach_type,
    cookie: u64,
) -> Result<OwnedFd, KernelError> {
    let mut attribute = link_attribute(program, attach_type as u32);
    attribute.link_create.__bindgen_anon_3.tracing.cookie = cookie;
    bpf_fd(bpf_cmd::BPF_LINK_CREATE, &mut attribute)
}

fn link_attribute(program: BorrowedFd<'_>, attach_type: u32) -> bpf_attr {
    let mut attribute = empty_attribute();
    attribute.link_create.__bindgen_anon_1.prog_fd = raw(program);
    attribute.link_create.attach_type = attach_type;
    attribute
}

/// Attaches a kprobe, uprobe, tracepoint or perf event program to an open perf event, with a cookie (5.15). The link
/// holds the event. Gap: aya passes no cookie.
pub fn link_create_perf_event(
    program: BorrowedFd<'_>,
    event: BorrowedFd<'_>,
    cookie: u64,
) -> Result<OwnedFd, KernelError> {
    let mut attribute = link_attribute(program, bpf_attach_type::BPF_PERF_EVENT as u32);
    attribute.link_create.__bindgen_anon_2.target_fd = raw(event);
    attribute.link_create.__bindgen_anon_3.perf_event.bpf_cookie = cookie;
    bpf_fd(bpf_cmd::BPF_LINK_CREATE, &mut attribute)
}

/// Makes a link of an iterator's program. `info` are the words of `union bpf_iter_link_info` that say which objects it
/// goes through; a kernel that takes none for that kind goes through all. Gap: aya passes none.
pub fn link_create_iterator(program: BorrowedFd<'_>, info: &[u32]) -> Result<OwnedFd, KernelError> {
    let mut attribute = link_attribute(program, bpf_attach_type::BPF_TRACE_ITER as u32);
    if !info.is_empty() {
        attribute.link_create.__bindgen_anon_3.__bindgen_anon_1 =
            IteratorInfo { iter_info: slice_address(info), iter_info_len: size_of_val(info) as u32 };
        match bpf_fd(bpf_cmd::BPF_LINK_CREATE, &mut attribute) {
            // Before 6.1 there is no such choice.
            Err(error) if matches!(error.errno(), Some(libc::EINVAL | libc::E2BIG | libc::EBADF)) => {}
            result => return result,
        }
        attribute = link_attribute(program, bpf_attach_type::BPF_TRACE_ITER as u32);
    }
    bpf_fd(bpf_cmd::BPF_LINK_CREATE, &mut attribute)
}

/// A file whose reading makes the kernel walk: the program runs for each object.
pub fn iterator_create(link: BorrowedFd<'_>) -> Result<OwnedFd, KernelError> {
    let mut attribute = empty_attribute();
    attribute.iter_create.link_fd = raw(link);
    bpf_fd(bpf_cmd::BPF_ITER_CREATE, &mut attribute)
}

/// Where a `kprobe_multi` link attaches.
#[derive(Clone, Copy, Debug)]
pub enum KprobeTargets<'a> {
    Symbols(&'a [CString]),
    Addresses(&'a [u64]),
}

/// When a program of such a link runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    Entry,
    Return,
    /// The program must have been loaded for `TRACE_KPROBE_SESSION`.
    Both,
}

/// `BPF_TRACE_KPROBE_SESSION` (6.10). Gap: aya's bindings are older.
pub const TRACE_KPROBE_SESSION: u32 = 56;

/// Attaches one program to many kernel functions (5.18). One cookie for each target, or none. Gap: aya has no
/// `kprobe_multi`.
pub fn link_create_kprobe_multi(
    program: BorrowedFd<'_>,
    targets: KprobeTargets<'_>,
    cookies: &[u64],
    moment: Moment,
) -> Result<OwnedFd, KernelError> {
    /// include/uapi/linux/bpf.h
    const BPF_F_KPROBE_MULTI_RETURN: u32 = 1;
    let (attach_type, flags) = match moment {
        Moment::Entry => (bpf_attach_type::BPF_TRACE_KPROBE_MULTI as u32, 0),
        Moment::Return => (bpf_attach_type::BPF_TRACE_KPROBE_MULTI as u32, BPF_F_KPROBE_MULTI_RETURN),
        Moment::Both => (TRACE_KPROBE_SESSION, 0),
    };
    let names: Vec<u64> = match targets {
        KprobeTargets::Symbols(symbols) => symbols.iter().map(|symbol| address(symbol.as_ptr())).collect(),
        KprobeTargets::Addresses(_) => Vec::new(),
    };
    let mut attribute = link_attribute(program, attach_type);
    // SAFETY: this is the member that the attach type reads; names, addresses and cookies outlive the call.
    let multi = unsafe { &mut attribute.link_create.__bindgen_anon_3.kprobe_multi };
    multi.flags = flags;
    match targets {
        KprobeTargets::Symbols(symbols) => {
            multi.cnt = symbols.len() as u32;
            multi.syms = slice_address(&names);
        }
        KprobeTargets::Addresses(addresses) => {
            multi.cnt = addresses.len() as u32;
            multi.addrs = slice_address(addresses);
        }
    }
    multi.cookies = matching(cookies, multi.cnt)?;
    bpf_fd(bpf_cmd::BPF_LINK_CREATE, &mut attribute)
}

/// The address of a list that must be empty or have `count` elements: the kernel reads that many.
fn matching(list: &[u64], count: u32) -> Result<u64, KernelError> {
    if list.is_empty() || list.len() == count as usize {
        Ok(slice_address(list))
    } else {
        Err(KernelError::Call { call: call_name(bpf_cmd::BPF_LINK_CREATE), errno: libc::EINVAL })
    }
}

/// True if the kernel knows `kprobe_multi` links: it then looks at the addresses, which are not readable.
pub fn knows_kprobe_multi(program: BorrowedFd<'_>) -> bool {
    let mut attribute = link_attribute(program, bpf_attach_type::BPF_TRACE_KPROBE_MULTI as u32);
    // SAFETY: this is the member that the attach type reads. The kernel copies from address 1 and finds no page.
    let multi = unsafe { &mut attribute.link_create.__bindgen_anon_3.kprobe_multi };
    multi.cnt = 1;
    multi.addrs = 1;
    bpf_fd(bpf_cmd::BPF_LINK_CREATE, &mut attribute).is_err_and(|error| error.errno() == Some(libc::EFAULT))
}

/// Where a `uprobe_multi` link attaches.
#[derive(Clone, Copy, Debug)]
pub struct UprobeTargets<'a> {
    pub path: &'a CStr,
    /// File offsets of the instructions.
    pub offsets: &'a [u64],
    /// One for each offset, or none.
    pub cookies: &'a [u64],
    /// File offsets of the counters that a USDT semaphore is, one for each offset, or none.
    pub ref_ctr_offsets: &'a [u64],
    /// Only this process.
    pub pid: Option<i32>,
    pub is_return: bool,
}

/// Attaches one program to many places of one file (6.6). Gap: aya 0.14 has no `uprobe_multi`.
pub fn link_create_uprobe_multi(program: BorrowedFd<'_>, targets: &UprobeTargets<'_>) -> Result<OwnedFd, KernelError> {
    /// include/uapi/linux/bpf.h
    const BPF_F_UPROBE_MULTI_RETURN: u32 = 1;
    let mut attribute = link_attribute(program, bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32);
    // SAFETY: this is the member that the attach type reads; the path and the lists outlive the call.
    let multi = unsafe { &mut attribute.link_create.__bindgen_anon_3.uprobe_multi };
    multi.path = address(targets.path.as_ptr());
    multi.cnt = targets.offsets.len() as u32;
    multi.offsets = slice_address(targets.offsets);
    multi.cookies = matching(targets.cookies, multi.cnt)?;
    multi.ref_ctr_offsets = matching(targets.ref_ctr_offsets, multi.cnt)?;
    multi.pid = targets.pid.unwrap_or(0) as u32;
    multi.flags = if targets.is_return { BPF_F_UPROBE_MULTI_RETURN } else { 0 };
    bpf_fd(bpf_cmd::BPF_LINK_CREATE, &mut attribute)
}
