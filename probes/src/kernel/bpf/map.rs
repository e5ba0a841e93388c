//! Maps: made, read, written, and walked many keys at a time. Knows nothing of what keys and values mean.
//!
//! Unsafe: the unions that the system call's attribute is made of.

use std::ffi::CString;
use std::mem;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya_obj::generated::{bpf_attr, bpf_cmd};

use super::{address, bpf, bpf_fd, empty_attribute, object_name, raw, slice_address, with_memory_limit};
use crate::kernel::KernelError;

/// The kernel's own, internal "not supported" (include/linux/errno.h), which reaches user space from map operations.
const ENOTSUPP: i32 = 524;

/// Keys that one batch call asks for; the time per key does not fall further beyond this.
const BATCH_KEYS: usize = 4096;

/// Bytes of keys and values that one batch call asks for, where the values are large.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

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

/// Calls `visit` with each key and value of a hash or array map, in the map's own order. `value_bytes` is the length
/// as `map_lookup` gives it (all CPUs of a per-CPU map). Many keys a call where the kernel can (5.6 for hashes), key by
/// key elsewhere. Gap: aya has no batch operations, which are six times faster.
pub fn map_lookup_batch(
    map: BorrowedFd<'_>,
    key_bytes: usize,
    value_bytes: usize,
    visit: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<(), KernelError> {
    batch(bpf_cmd::BPF_MAP_LOOKUP_BATCH, map, key_bytes, value_bytes, visit)
}

/// As `map_lookup_batch`, and removes each key before `visit` sees it; of a hash map, what is visited is exactly what
/// was removed where the kernel has the batch operation. An array's elements can't be removed: that is an error.
pub fn map_lookup_and_delete_batch(
    map: BorrowedFd<'_>,
    key_bytes: usize,
    value_bytes: usize,
    visit: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<(), KernelError> {
    batch(bpf_cmd::BPF_MAP_LOOKUP_AND_DELETE_BATCH, map, key_bytes, value_bytes, visit)
}

fn batch(
    command: bpf_cmd,
    map: BorrowedFd<'_>,
    key_bytes: usize,
    value_bytes: usize,
    visit: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<(), KernelError> {
    let mut capacity = (BATCH_BYTES / (key_bytes + value_bytes).max(1)).clamp(16, BATCH_KEYS);
    // The position is a bucket's number of 4 bytes in a hash and a key in an array.
    let mut position = vec![0_u8; key_bytes.max(8)];
    let mut next_position = position.clone();
    let mut keys = vec![0_u8; capacity * key_bytes];
    let mut values = vec![0_u8; capacity * value_bytes];
    let mut started = false;
    loop {
        let mut attribute = empty_attribute();
        // SAFETY: this is the member that the batch commands read and write. The buffers hold `capacity` elements.
        let request = unsafe { &mut attribute.batch };
        request.in_batch = if started { address(position.as_ptr()) } else { 0 };
        request.out_batch = address(next_position.as_mut_ptr());
        request.keys = address(keys.as_mut_ptr());
        request.values = address(values.as_mut_ptr());
        request.count = capacity as u32;
        request.map_fd = raw(map);
        let result = bpf(command, &mut attribute);
        // SAFETY: the same member; the kernel has written the number of elements that it copied.
        let count = unsafe { attribute.batch.count } as usize;
        let errno = result.as_ref().err().and_then(KernelError::errno);
        match errno {
            None | Some(libc::ENOENT) => {}
            // A bucket holds more keys than the buffer: nothing of it was copied.
            Some(libc::ENOSPC) if capacity < BATCH_KEYS << 8 => {
                capacity *= 2;
                keys.resize(capacity * key_bytes, 0);
                values.resize(capacity * value_bytes, 0);
                continue;
            }
            Some(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP) if !started => {
                return one_by_one(command, map, key_bytes, value_bytes, visit);
            }
            Some(_) => return result.map(|_| ()),
        }
        let count = count.min(capacity);
        for index in 0..count {
            visit(
                &keys[index * key_bytes..(index + 1) * key_bytes],
                &values[index * value_bytes..(index + 1) * value_bytes],
            );
        }
        if errno.is_some() {
            return Ok(());
        }
        mem::swap(&mut position, &mut next_position);
        started = true;
    }
}

/// What `batch` does, for a kernel or a kind of map without the batch commands.
fn one_by_one(
    command: bpf_cmd,
    map: BorrowedFd<'_>,
    key_bytes: usize,
    value_bytes: usize,
    visit: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<(), KernelError> {
    let delete = command == bpf_cmd::BPF_MAP_LOOKUP_AND_DELETE_BATCH;
    let mut key = vec![0_u8; key_bytes];
    let mut next = vec![0_u8; key_bytes];
    let mut value = vec![0_u8; value_bytes];
    let mut have_key = false;
    while map_next_key(map, have_key.then_some(&key[..]), &mut next)? {
        mem::swap(&mut key, &mut next);
        // After a removal the walk starts again: the removed key has no successor.
        have_key = !delete;
        if !map_lookup(map, &key, &mut value)? {
            continue;
        }
        if delete && !map_delete(map, &key)? {
            continue;
        }
        visit(&key, &value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::system;
    use aya_obj::generated::bpf_map_type;
    use std::collections::HashMap;
    use std::os::fd::AsFd;

    const KEYS: u64 = 10_000;

    fn filled(kind: bpf_map_type, key_bytes: u32, value_bytes: usize) -> Option<OwnedFd> {
        let config =
            MapConfig { kind: kind as u32, key_bytes, value_bytes: 8, entries: KEYS as u32, ..MapConfig::default() };
        let map = match map_create(&config) {
            Ok(map) => map,
            Err(error) => {
                println!("skipped: {error}");
                return None;
            }
        };
        for key in 0..KEYS {
            let value: Vec<u8> = (0..value_bytes / 8).flat_map(|cpu| (key * 3 + cpu as u64).to_ne_bytes()).collect();
            map_update(map.as_fd(), &key.to_ne_bytes()[..key_bytes as usize], &value, 0).unwrap();
        }
        Some(map)
    }

    fn number(bytes: &[u8]) -> u64 {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_ne_bytes(word)
    }

    #[test]
    fn every_key_once_in_all_kinds_of_maps() {
        let cpus = system::possible_cpus().unwrap().len();
        for (kind, key_bytes, value_bytes) in [
            (bpf_map_type::BPF_MAP_TYPE_HASH, 8, 8),
            (bpf_map_type::BPF_MAP_TYPE_PERCPU_HASH, 8, 8 * cpus),
            (bpf_map_type::BPF_MAP_TYPE_ARRAY, 4, 8),
            (bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8 * cpus),
        ] {
            let Some(map) = filled(kind, key_bytes, value_bytes) else { return };
            let mut seen = HashMap::new();
            let mut visit = |key: &[u8], value: &[u8]| {
                let key = number(key);
                let last_cpu = value_bytes / 8 - 1;
                assert_eq!(number(&value[..8]), key * 3);
                assert_eq!(number(&value[last_cpu * 8..]), key * 3 + last_cpu as u64);
                assert_eq!(seen.insert(key, ()), None, "{kind:?}");
            };
            let started = std::time::Instant::now();
            map_lookup_batch(map.as_fd(), key_bytes as usize, value_bytes, &mut visit).unwrap();
            println!("{kind:?}: {:?}", started.elapsed());
            assert_eq!(seen.len() as u64, KEYS);
        }
    }

    #[test]
    fn draining_leaves_nothing() {
        for is_batch in [true, false] {
            let Some(map) = filled(bpf_map_type::BPF_MAP_TYPE_HASH, 8, 8) else { return };
            let mut sum = 0;
            let mut visit = |_: &[u8], value: &[u8]| sum += number(value);
            if is_batch {
                map_lookup_and_delete_batch(map.as_fd(), 8, 8, &mut visit).unwrap();
            } else {
                one_by_one(bpf_cmd::BPF_MAP_LOOKUP_AND_DELETE_BATCH, map.as_fd(), 8, 8, &mut visit).unwrap();
            }
            assert_eq!(sum, 3 * KEYS * (KEYS - 1) / 2);
            assert!(!map_next_key(map.as_fd(), None, &mut [0; 8]).unwrap());
        }
    }

    #[test]
    fn absent_keys_and_frozen_maps() {
        let Some(map) = filled(bpf_map_type::BPF_MAP_TYPE_HASH, 8, 8) else { return };
        let absent = KEYS.to_ne_bytes();
        assert!(!map_lookup(map.as_fd(), &absent, &mut [0; 8]).unwrap());
        assert!(!map_delete(map.as_fd(), &absent).unwrap());
        map_freeze(map.as_fd()).unwrap();
        let refused = map_update(map.as_fd(), &absent, &[0; 8], 0).unwrap_err();
        assert_eq!(refused.errno(), Some(libc::EPERM));
        assert_eq!(refused.to_string(), "BPF_MAP_UPDATE_ELEM: Operation not permitted (os error 1)");
    }
}
