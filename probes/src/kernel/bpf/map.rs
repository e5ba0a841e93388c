//! Maps: made, read and written key by key. Knows nothing of what keys and values mean.
//!
//! Unsafe: the unions that the system call's attribute is made of.

use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya_obj::generated::{bpf_attr, bpf_cmd};

use super::{address, bpf, bpf_fd, empty_attribute, object_name, raw, slice_address, with_memory_limit};
use crate::kernel::KernelError;

/// What a map is made of. Gap: aya's typed maps need key and value types at compile time.
#[derive(Clone, Debug, Default)]
pub struct MapConfig<'a> {
    /// `bpf_map_type`
    pub kind: u32,
    pub key_bytes: u32,
    pub value_bytes: u32,
    pub entries: u32,
    /// `BPF_F_*`
    pub flags: u32,
    pub name: &'a str,
    /// A loaded BTF object with the ids of the key's and the value's type in it.
    pub btf: Option<(BorrowedFd<'a>, u32, u32)>,
    /// Of a map of maps: one that those in it are like.
    pub inner: Option<BorrowedFd<'a>>,
}

pub fn map_create(config: &MapConfig<'_>) -> Result<OwnedFd, KernelError> {
    with_memory_limit(|| {
        let mut attribute = empty_attribute();
        // SAFETY: this is the member that BPF_MAP_CREATE reads; the rest of the union stays zero.
        let map = unsafe { &mut attribute.__bindgen_anon_1 };
        map.map_type = config.kind;
        map.key_size = config.key_bytes;
        map.value_size = config.value_bytes;
        map.max_entries = config.entries;
        map.map_flags = config.flags;
        map.map_name = object_name(config.name);
        map.inner_map_fd = config.inner.map_or(0, raw);
        if let Some((fd, key_type, value_type)) = config.btf {
            map.btf_fd = raw(fd);
            map.btf_key_type_id = key_type;
            map.btf_value_type_id = value_type;
        }
        bpf_fd(bpf_cmd::BPF_MAP_CREATE, &mut attribute)
    })
}

/// A map that anybody has made: by its number, or by the file that it is pinned to. Gap: aya asks for its type first.
pub fn map_named(name: &str) -> Result<OwnedFd, KernelError> {
    let mut attribute = empty_attribute();
    if let Ok(id) = name.parse::<u32>() {
        attribute.__bindgen_anon_6.__bindgen_anon_1.map_id = id;
        return bpf_fd(bpf_cmd::BPF_MAP_GET_FD_BY_ID, &mut attribute);
    }
    let path = CString::new(name).map_err(|_| KernelError::Call { call: "BPF_OBJ_GET", errno: libc::EINVAL })?;
    // SAFETY: the member that this command reads; the text outlives the call.
    let object = unsafe { &mut attribute.__bindgen_anon_4 };
    object.pathname = address(path.as_ptr());
    bpf_fd(bpf_cmd::BPF_OBJ_GET, &mut attribute)
}

/// Names an object by a file of the kernel's file system for them, where it stays when nobody has it open.
pub fn pin(object: BorrowedFd<'_>, path: &Path) -> Result<(), KernelError> {
    let path = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| KernelError::Call { call: "BPF_OBJ_PIN", errno: libc::EINVAL })?;
    let mut attribute = empty_attribute();
    // SAFETY: the member that this command reads; the text outlives the call.
    let named = unsafe { &mut attribute.__bindgen_anon_4 };
    named.pathname = address(path.as_ptr());
    named.bpf_fd = raw(object);
    bpf(bpf_cmd::BPF_OBJ_PIN, &mut attribute)?;
    Ok(())
}

fn element(map: BorrowedFd<'_>, key: u64, value: u64, flags: u64) -> bpf_attr {
    let mut attribute = empty_attribute();
    // SAFETY: this is the member that the element commands read; `value` and `next_key` share one place.
    let element = unsafe { &mut attribute.__bindgen_anon_2 };
    element.map_fd = raw(map);
    element.key = key;
    element.__bindgen_anon_1.value = value;
    element.flags = flags;
    attribute
}

/// Reads the value of `key` into `value`; false where there is no such key. Both slices must be as long as the map's
/// key and value, the value of a per-CPU map one after the other for all possible CPUs, each rounded up to 8 bytes.
pub fn map_lookup(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> Result<bool, KernelError> {
    let mut attribute = element(map, slice_address(key), address(value.as_mut_ptr()), 0);
    match bpf(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attribute) {
        Ok(_) => Ok(true),
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sets the value of `key`; `flags` is BPF_ANY (0), BPF_NOEXIST (1) or BPF_EXIST (2).
pub fn map_update(map: BorrowedFd<'_>, key: &[u8], value: &[u8], flags: u64) -> Result<(), KernelError> {
    let mut attribute = element(map, slice_address(key), slice_address(value), flags);
    bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attribute).map(|_| ())
}

/// Removes `key`; false where there was no such key.
pub fn map_delete(map: BorrowedFd<'_>, key: &[u8]) -> Result<bool, KernelError> {
    let mut attribute = element(map, slice_address(key), 0, 0);
    match bpf(bpf_cmd::BPF_MAP_DELETE_ELEM, &mut attribute) {
        Ok(_) => Ok(true),
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes the key after `key` (the first one for None) to `next`; false at the end. A key that has gone meanwhile
/// counts as None, so that a walk over a map that changes may meet keys again.
pub fn map_next_key(map: BorrowedFd<'_>, key: Option<&[u8]>, next: &mut [u8]) -> Result<bool, KernelError> {
    let mut attribute = element(map, key.map_or(0, slice_address), address(next.as_mut_ptr()), 0);
    match bpf(bpf_cmd::BPF_MAP_GET_NEXT_KEY, &mut attribute) {
        Ok(_) => Ok(true),
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Forbids all later writes from user space. Gap: aya does this only for sections of an ELF file.
pub fn map_freeze(map: BorrowedFd<'_>) -> Result<(), KernelError> {
    let mut attribute = element(map, 0, 0, 0);
    bpf(bpf_cmd::BPF_MAP_FREEZE, &mut attribute).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aya_obj::generated::bpf_map_type;
    use std::os::fd::AsFd;

    #[test]
    fn absent_keys_and_frozen_maps() {
        let config = MapConfig {
            kind: bpf_map_type::BPF_MAP_TYPE_HASH as u32,
            key_bytes: 8,
            value_bytes: 8,
            entries: 8,
            ..MapConfig::default()
        };
        let map = match map_create(&config) {
            Ok(map) => map,
            Err(error) => return println!("skipped: {error}"),
        };
        let absent = 7_u64.to_ne_bytes();
        assert!(!map_lookup(map.as_fd(), &absent, &mut [0; 8]).unwrap());
        assert!(!map_delete(map.as_fd(), &absent).unwrap());
        map_freeze(map.as_fd()).unwrap();
        let refused = map_update(map.as_fd(), &absent, &[0; 8], 0).unwrap_err();
        assert_eq!(refused.errno(), Some(libc::EPERM));
        assert_eq!(refused.to_string(), "BPF_MAP_UPDATE_ELEM: Operation not permitted (os error 1)");
    }
}
