//! Programs that anybody has loaded: which there are, their functions and types. Never changes one.
//!
//! Unsafe: the unions that the system call's attribute is made of.

use std::ffi::CStr;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use aya_obj::generated::{bpf_btf_info, bpf_cmd, bpf_prog_info};

use super::{address, bpf, bpf_fd, empty_attribute, raw};
use crate::kernel::KernelError;

/// A program in the kernel.
pub struct InKernel {
    pub id: u32,
    /// Keeps it there.
    pub fd: Arc<OwnedFd>,
    /// As its owner called it, up to 15 characters.
    pub name: String,
    /// The id of the BTF object that describes it; 0 for none.
    pub btf: u32,
    /// The ids of its functions in that BTF, the main one first; none where it was loaded without.
    pub functions: Vec<u32>,
}

/// The ids of all programs. Takes CAP_SYS_ADMIN.
pub fn program_ids() -> Result<Vec<u32>, KernelError> {
    let mut ids = Vec::new();
    loop {
        let mut attribute = empty_attribute();
        attribute.__bindgen_anon_6.__bindgen_anon_1.start_id = ids.last().copied().unwrap_or(0);
        match bpf(bpf_cmd::BPF_PROG_GET_NEXT_ID, &mut attribute) {
            // SAFETY: the member that the command wrote its answer to.
            Ok(_) => ids.push(unsafe { attribute.__bindgen_anon_6.next_id }),
            Err(error) if error.errno() == Some(libc::ENOENT) => return Ok(ids),
            Err(error) => return Err(error),
        }
    }
}

/// The program of that id; None if it has gone. Gap: aya tells no types of functions.
pub fn program_in_kernel(id: u32) -> Result<Option<InKernel>, KernelError> {
    /// Bytes of a `struct bpf_func_info`: an instruction and a type.
    const RECORD: usize = 8;
    let mut attribute = empty_attribute();
    attribute.__bindgen_anon_6.__bindgen_anon_1.prog_id = id;
    let fd = match bpf_fd(bpf_cmd::BPF_PROG_GET_FD_BY_ID, &mut attribute) {
        Ok(fd) => fd,
        Err(error) if error.errno() == Some(libc::ENOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    // SAFETY: bpf_prog_info is a struct of plain integers; with its lengths zero the kernel copies no arrays.
    let mut info: bpf_prog_info = unsafe { mem::zeroed() };
    let info_bytes = size_of::<bpf_prog_info>() as u32;
    read_info(fd.as_fd(), address(&raw mut info), info_bytes)?;
    let (btf, count) = (info.btf_id, info.nr_func_info);
    let name = info.name.map(|byte| byte as u8);
    let name = CStr::from_bytes_until_nul(&name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut records = vec![[0_u32; RECORD / 4]; count as usize];
    if count > 0 {
        // SAFETY: as above; the kernel copies `nr_func_info` records to the list, which has room for them.
        info = unsafe { mem::zeroed() };
        info.nr_func_info = count;
        info.func_info_rec_size = RECORD as u32;
        info.func_info = address(records.as_mut_ptr());
        read_info(fd.as_fd(), address(&raw mut info), info_bytes)?;
    }
    Ok(Some(InKernel { id, fd: Arc::new(fd), name, btf, functions: records.iter().map(|[_, id]| *id).collect() }))
}

/// The bytes of a BTF object that was loaded with a program.
pub fn btf_bytes(id: u32) -> Result<Vec<u8>, KernelError> {
    let mut attribute = empty_attribute();
    attribute.__bindgen_anon_6.__bindgen_anon_1.btf_id = id;
    let btf = bpf_fd(bpf_cmd::BPF_BTF_GET_FD_BY_ID, &mut attribute)?;
    let info_bytes = size_of::<bpf_btf_info>() as u32;
    // SAFETY: bpf_btf_info is a struct of plain integers; with a length of zero the kernel copies no types.
    let mut info: bpf_btf_info = unsafe { mem::zeroed() };
    read_info(btf.as_fd(), address(&raw mut info), info_bytes)?;
    let mut bytes = vec![0; info.btf_size as usize];
    // SAFETY: as above; the kernel copies `btf_size` bytes.
    info = unsafe { mem::zeroed() };
    info.btf = address(bytes.as_mut_ptr());
    info.btf_size = bytes.len() as u32;
    read_info(btf.as_fd(), address(&raw mut info), info_bytes)?;
    Ok(bytes)
}

/// Fills the information struct at `info`, which is live and as long as `bytes` says.
fn read_info(of: BorrowedFd<'_>, info: u64, bytes: u32) -> Result<(), KernelError> {
    let mut attribute = empty_attribute();
    // SAFETY: this is the member that the command reads.
    let request = unsafe { &mut attribute.info };
    request.bpf_fd = raw(of);
    request.info_len = bytes;
    request.info = info;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attribute).map(|_| ())
}
