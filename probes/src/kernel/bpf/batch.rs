//! Maps walked many keys at a time.
//!
//! Unsafe: the unions that the system call's attribute is made of.

use std::collections::HashSet;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::resume_unwind;
use std::sync::OnceLock;
use std::thread;

use aya_obj::generated::{bpf_cmd, bpf_map_type};

use super::{
    MapConfig, address, bpf, empty_attribute, map_create, map_delete, map_lookup, map_next_key, map_update, raw,
};
use crate::kernel::KernelError;

/// The kernel's own, internal "not supported" (include/linux/errno.h), which reaches user space from map operations.
const ENOTSUPP: i32 = 524;

/// Keys that one batch call asks for; the time per key does not fall further beyond this.
const BATCH_KEYS: usize = 4096;

/// Bytes of keys and values that one batch call asks for, where the values are large.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// A map for fewer is walked by one thread.
const FEWEST_IN_HALVES: u32 = 1 << 16;

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

/// As `map_lookup_batch`, of a hash map (per processor or not) for many entries on two threads: some elements go to `first` and the others to
/// `second`. The kernel waits for memory during most of such a walk. Where that can't be, all go to `first`.
pub fn map_lookup_halves(
    map: BorrowedFd<'_>,
    key_bytes: usize,
    value_bytes: usize,
    entries: u32,
    first: &mut dyn FnMut(&[u8], &[u8]),
    second: &mut (dyn FnMut(&[u8], &[u8]) + Send),
) -> Result<(), KernelError> {
    let is_alone = thread::available_parallelism().is_ok_and(|threads| threads.get() == 1);
    if entries < FEWEST_IN_HALVES || is_alone || !starts_at_buckets() {
        return map_lookup_batch(map, key_bytes, value_bytes, first);
    }
    let walk = || Walk::new(bpf_cmd::BPF_MAP_LOOKUP_BATCH, map, key_bytes, value_bytes);
    // The kernel has as many buckets as entries, rounded up to a power of two (htab_map_alloc in kernel/bpf/hashtab.c).
    let middle = entries.next_power_of_two() / 2;
    let mut upper = walk();
    upper.start_at(middle);
    upper.read()?;
    upper.visit(second);
    // The last call for the lower half begins below the middle and reads as many elements as this one, so that it ends no farther.
    let shared: HashSet<Vec<u8>> = upper.keys().map(<[u8]>::to_vec).collect();
    thread::scope(|scope| {
        let rest = scope.spawn(move || {
            while !upper.is_ended {
                upper.read()?;
                upper.visit(second);
            }
            Ok(())
        });
        let mut lower = walk();
        while !lower.is_ended && lower.bucket() < middle {
            lower.read()?;
            let mut is_lower = true;
            lower.visit(&mut |key, value| {
                is_lower = is_lower && !(lower.bucket() >= middle && shared.contains(key));
                if is_lower {
                    first(key, value);
                }
            });
        }
        rest.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Whether a walk over a hash map can start at any bucket by its number. So it has been since there are batch commands, but the kernel
/// promises nothing: it is tried once, with a small map.
fn starts_at_buckets() -> bool {
    const KEYS: u32 = 64;
    static ANSWER: OnceLock<bool> = OnceLock::new();
    let is_so = || -> Result<bool, KernelError> {
        let kind = bpf_map_type::BPF_MAP_TYPE_HASH as u32;
        let config = MapConfig { kind, key_bytes: 4, value_bytes: 4, entries: KEYS, ..MapConfig::default() };
        let map = map_create(&config)?;
        for key in 0..KEYS {
            map_update(map.as_fd(), &key.to_ne_bytes(), &[0; 4], 0)?;
        }
        let from = |bucket: u32| {
            let mut walk = Walk::new(bpf_cmd::BPF_MAP_LOOKUP_BATCH, map.as_fd(), 4, 4);
            walk.start_at(bucket);
            walk.read().map(|_| walk.keys().map(<[u8]>::to_vec).collect::<Vec<_>>())
        };
        let all: Vec<_> = (0..=KEYS).map(from).collect::<Result<_, _>>()?;
        // What a walk has not read is what one reads that starts where it has ended.
        let mut part = Walk::new(bpf_cmd::BPF_MAP_LOOKUP_BATCH, map.as_fd(), 4, 4);
        part.capacity = KEYS as usize / 2;
        part.read()?;
        let parts = [part.keys().map(<[u8]>::to_vec).collect(), from(part.bucket())?].concat();
        let is_tail = all.windows(2).all(|pair| pair[0].ends_with(&pair[1]));
        Ok(all[0].len() == KEYS as usize && all[0] == parts && is_tail && all[KEYS as usize].is_empty())
    };
    *ANSWER.get_or_init(|| is_so().unwrap_or(false))
}

fn batch(
    command: bpf_cmd,
    map: BorrowedFd<'_>,
    key_bytes: usize,
    value_bytes: usize,
    visit: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<(), KernelError> {
    let mut walk = Walk::new(command, map, key_bytes, value_bytes);
    while !walk.is_ended {
        match walk.read() {
            Err(error) if walk.at.is_none() && is_unknown(&error) => {
                return one_by_one(command, map, key_bytes, value_bytes, visit);
            }
            other => other?,
        }
        walk.visit(visit);
    }
    Ok(())
}

/// Whether a kernel, or a kind of map, has no batch commands.
fn is_unknown(error: &KernelError) -> bool {
    matches!(error.errno(), Some(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP))
}

/// A walk over a map by a batch command.
struct Walk<'a> {
    command: bpf_cmd,
    map: BorrowedFd<'a>,
    key_bytes: usize,
    value_bytes: usize,
    /// Elements that the buffers have room for.
    capacity: usize,
    keys: Vec<u8>,
    values: Vec<u8>,
    /// Where the next call begins: a bucket's number of 4 bytes in a hash and a key in an array; None where the map begins.
    at: Option<Vec<u8>>,
    /// Elements that the last call has read.
    count: usize,
    is_ended: bool,
}

impl<'a> Walk<'a> {
    fn new(command: bpf_cmd, map: BorrowedFd<'a>, key_bytes: usize, value_bytes: usize) -> Walk<'a> {
        let capacity = (BATCH_BYTES / (key_bytes + value_bytes).max(1)).clamp(16, BATCH_KEYS);
        let (keys, values) = (vec![0; capacity * key_bytes], vec![0; capacity * value_bytes]);
        Walk { command, map, key_bytes, value_bytes, capacity, keys, values, at: None, count: 0, is_ended: false }
    }

    /// Reads the next elements.
    fn read(&mut self) -> Result<(), KernelError> {
        let mut next = vec![0_u8; self.key_bytes.max(8)];
        loop {
            let mut attribute = empty_attribute();
            // SAFETY: this is the member that the batch commands read and write. The buffers hold `capacity` elements.
            let request = unsafe { &mut attribute.batch };
            request.in_batch = self.at.as_ref().map_or(0, |at| address(at.as_ptr()));
            request.out_batch = address(next.as_mut_ptr());
            request.keys = address(self.keys.as_mut_ptr());
            request.values = address(self.values.as_mut_ptr());
            request.count = self.capacity as u32;
            request.map_fd = raw(self.map);
            let result = bpf(self.command, &mut attribute);
            // SAFETY: the same member; the kernel has written the number of elements that it copied.
            self.count = (unsafe { attribute.batch.count } as usize).min(self.capacity);
            match result {
                Err(error) if error.errno() == Some(libc::ENOENT) => self.is_ended = true,
                // A bucket holds more keys than the buffer: nothing of it was copied.
                Err(error) if error.errno() == Some(libc::ENOSPC) && self.capacity < BATCH_KEYS << 8 => {
                    self.capacity *= 2;
                    self.keys.resize(self.capacity * self.key_bytes, 0);
                    self.values.resize(self.capacity * self.value_bytes, 0);
                    continue;
                }
                other => _ = other?,
            }
            self.at = Some(next);
            return Ok(());
        }
    }

    /// Of a hash map: the next call begins at the bucket of that number.
    fn start_at(&mut self, bucket: u32) {
        self.at = Some([bucket.to_ne_bytes().as_slice(), &vec![0; self.key_bytes]].concat());
    }

    /// Of a hash map: where the next call begins.
    fn bucket(&self) -> u32 {
        self.at.as_ref().and_then(|at| at.first_chunk()).map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    }

    /// The keys that the last call has read.
    fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.chunks_exact(self.key_bytes).take(self.count)
    }

    /// Calls `visit` with each element that the last call has read.
    fn visit(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        self.keys().zip(self.values.chunks_exact(self.value_bytes)).for_each(|(key, value)| visit(key, value));
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
    use std::collections::HashMap;
    use std::os::fd::OwnedFd;
    use std::sync::atomic::{AtomicBool, Ordering};

    const KEYS: u64 = 10_000;

    fn filled(kind: bpf_map_type, key_bytes: u32, value_bytes: usize, entries: u32, keys: u64) -> Option<OwnedFd> {
        let config = MapConfig { kind: kind as u32, key_bytes, value_bytes: 8, entries, ..MapConfig::default() };
        let map = match map_create(&config) {
            Ok(map) => map,
            Err(error) => {
                println!("skipped: {error}");
                return None;
            }
        };
        for key in 0..keys {
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
            let Some(map) = filled(kind, key_bytes, value_bytes, KEYS as u32, KEYS) else { return };
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
            let Some(map) = filled(bpf_map_type::BPF_MAP_TYPE_HASH, 8, 8, KEYS as u32, KEYS) else { return };
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
    fn every_key_once_in_halves() {
        let cpus = system::possible_cpus().unwrap().len();
        for (kind, value_bytes, keys) in [
            (bpf_map_type::BPF_MAP_TYPE_HASH, 8, 60_000),
            (bpf_map_type::BPF_MAP_TYPE_PERCPU_HASH, 8 * cpus, 60_000),
            (bpf_map_type::BPF_MAP_TYPE_HASH, 8, 9_000),
            (bpf_map_type::BPF_MAP_TYPE_HASH, 8, 3),
            (bpf_map_type::BPF_MAP_TYPE_HASH, 8, 0),
        ] {
            let Some(map) = filled(kind, 8, value_bytes, FEWEST_IN_HALVES, keys) else { return };
            assert!(starts_at_buckets());
            let (mut lower, mut upper) = (Vec::new(), Vec::new());
            let mut to_lower = |key: &[u8], value: &[u8]| lower.push((number(key), number(&value[..8])));
            let mut to_upper = |key: &[u8], value: &[u8]| upper.push((number(key), number(&value[..8])));
            map_lookup_halves(map.as_fd(), 8, value_bytes, FEWEST_IN_HALVES, &mut to_lower, &mut to_upper).unwrap();
            if keys > 1000 {
                let few = keys as usize / 3;
                assert!(lower.len() > few && upper.len() > few, "{} and {}", lower.len(), upper.len());
            }
            let mut all = [lower, upper].concat();
            all.sort_unstable();
            assert!(all.into_iter().eq((0..keys).map(|key| (key, key * 3))), "{kind:?} of {keys}");
        }
    }

    /// Some elements come and go while others stay: those are seen, once each.
    #[test]
    fn what_stays_is_seen_in_halves() {
        let keys = 40_000;
        let Some(map) = filled(bpf_map_type::BPF_MAP_TYPE_HASH, 8, 8, FEWEST_IN_HALVES, keys) else { return };
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for key in (0..keys).step_by(2).cycle().take_while(|_| !is_done.load(Ordering::Relaxed)) {
                    if map_delete(map.as_fd(), &key.to_ne_bytes()).unwrap() {
                        map_update(map.as_fd(), &(key + (1 << 32)).to_ne_bytes(), &[0; 8], 0).unwrap();
                    } else {
                        map_delete(map.as_fd(), &(key + (1 << 32)).to_ne_bytes()).unwrap();
                        map_update(map.as_fd(), &key.to_ne_bytes(), &[0; 8], 0).unwrap();
                    }
                }
            });
            for _ in 0..20 {
                let (mut lower, mut upper) = (Vec::new(), Vec::new());
                let mut to_lower = |key: &[u8], _: &[u8]| lower.push(number(key));
                let mut to_upper = |key: &[u8], _: &[u8]| upper.push(number(key));
                map_lookup_halves(map.as_fd(), 8, 8, FEWEST_IN_HALVES, &mut to_lower, &mut to_upper).unwrap();
                let mut all = [lower, upper].concat();
                all.retain(|key| key % 2 == 1);
                all.sort_unstable();
                assert!(all.into_iter().eq((1..keys).step_by(2)));
            }
            is_done.store(true, Ordering::Relaxed);
        });
    }
}
