//! Maps of a running session: made, read as a whole, sorted, cut, cleared.

use std::cmp::Ordering;
use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{MapData, MapError};
use rtrace_compiler::object::{MapKind, MapObject, btf};
use rtrace_lang::aggregations::AggregationKind;
use rtrace_lang::hir::{Map, MapValue, SortBy};
use rtrace_probes::kernel::{KernelError, bpf};

use crate::cells::weight;
use crate::event::{Cell, Value};

/// BPF_F_NO_PREALLOC (include/uapi/linux/bpf.h)
const NO_PREALLOC: u32 = 1;
/// BPF_F_MMAPABLE
const MMAPABLE: u32 = 1 << 10;

/// An update adds, and changes nothing.
const BPF_NOEXIST: u64 = 1;

/// An update changes what is there, and adds nothing.
const BPF_EXIST: u64 = 2;

/// A map in the kernel.
pub struct LiveMap {
    pub data: MapData,
    pub object: MapObject,
}

impl LiveMap {
    pub fn create(object: &MapObject) -> Result<LiveMap, MapError> {
        let per_use =
            object.allocate_on_use && matches!(object.kind, MapKind::Hash | MapKind::PerCpuHash | MapKind::TaskStorage);
        let flags = if per_use {
            NO_PREALLOC
        } else if object.is_mapped {
            MMAPABLE
        } else {
            0
        };
        // The kernel takes 15 characters of letters, digits, `_` and `.`.
        let name: String = object.name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(15).collect();
        let create = || {
            if object.kind == MapKind::TaskStorage {
                return task_storage(object, flags, &name);
            }
            let description = aya_obj::Map::new_from_params(
                object.kind.number(),
                object.key_bytes,
                object.value_bytes,
                object.entries,
                flags,
            );
            MapData::create(description, &name, None)
        };
        let data = create().or_else(|error| match &error {
            // Before 5.11 maps count as locked memory of the process.
            MapError::CreateError { io_error, .. } if io_error.raw_os_error() == Some(libc::EPERM) => {
                bpf::raise_memory_limit();
                create()
            }
            _ => Err(error),
        })?;
        Ok(LiveMap { data, object: object.clone() })
    }

    /// The same map once more, for another session.
    pub fn try_clone(&self) -> Result<LiveMap, MapError> {
        let fd = self.fd().try_clone_to_owned().map_err(MapError::IoError)?;
        Ok(LiveMap { data: MapData::from_fd(fd)?, object: self.object.clone() })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.data.fd().as_fd()
    }

    /// Bytes that one look-up gives.
    fn value_bytes(&self, cpus: u32) -> usize {
        let one = self.object.value_bytes as usize;
        if self.object.kind.is_per_cpu() { one.next_multiple_of(8) * cpus as usize } else { one }
    }

    /// Calls `visit` with each key and the values of all processors, one behind the other.
    pub fn for_each(&self, cpus: u32, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), KernelError> {
        bpf::map_lookup_batch(self.fd(), self.object.key_bytes as usize, self.value_bytes(cpus), visit)
    }

    /// As `for_each`; of many entries some go to `first` and the others to `second`, at the same time.
    pub fn for_each_half(
        &self,
        cpus: u32,
        first: &mut dyn FnMut(&[u8], &[u8]),
        second: &mut (dyn FnMut(&[u8], &[u8]) + Send),
    ) -> Result<(), KernelError> {
        if !matches!(self.object.kind, MapKind::Hash | MapKind::PerCpuHash) {
            return self.for_each(cpus, first);
        }
        let (key_bytes, value_bytes) = (self.object.key_bytes as usize, self.value_bytes(cpus));
        bpf::map_lookup_halves(self.fd(), key_bytes, value_bytes, self.object.entries, first, second)
    }

    /// The value of one key.
    pub fn get(&self, key: &[u8], cpus: u32) -> Result<Option<Vec<u8>>, KernelError> {
        let mut value = vec![0; self.value_bytes(cpus)];
        Ok(bpf::map_lookup(self.fd(), key, &mut value)?.then_some(value))
    }

    /// Removes all entries; a map without keys becomes zero.
    pub fn clear(&self, cpus: u32) -> Result<(), KernelError> {
        match self.object.kind {
            MapKind::Array | MapKind::PerCpuArray => self.zero(cpus),
            MapKind::Hash | MapKind::PerCpuHash | MapKind::LruHash | MapKind::LruPerCpuHash => {
                let (key_bytes, value_bytes) = (self.object.key_bytes as usize, self.value_bytes(cpus));
                bpf::map_lookup_and_delete_batch(self.fd(), key_bytes, value_bytes, &mut |_, _| {})
            }
            MapKind::RingBuffer | MapKind::TaskStorage | MapKind::Cgroups | MapKind::Programs => Ok(()),
        }
    }

    /// Sets all values to zero, and keeps the keys. A key that a program removes meanwhile stays removed.
    pub fn zero(&self, cpus: u32) -> Result<(), KernelError> {
        let zero = vec![0; self.value_bytes(cpus)];
        for key in self.keys(cpus)? {
            match bpf::map_update(self.fd(), &key, &zero, BPF_EXIST) {
                Err(error) if error.errno() == Some(libc::ENOENT) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Removes one entry.
    pub fn delete(&self, key: &[u8]) -> Result<(), KernelError> {
        bpf::map_delete(self.fd(), key).map(|_| ())
    }

    fn has(&self, key: &[u8], cpus: u32) -> Result<bool, KernelError> {
        Ok(self.get(key, cpus)?.is_some())
    }

    /// Of a map with whole keys: removes those whose entries are gone from the map that they belong to.
    pub fn forget_keys(&self, of: &LiveMap, cpus: u32) -> Result<(), KernelError> {
        let mut all = Vec::new();
        self.for_each(cpus, &mut |key, whole| all.push((key.to_vec(), whole.to_vec())))?;
        for (key, whole) in all {
            if of.has(&key, cpus)? {
                continue;
            }
            self.delete(&key)?;
            // A program may have made the entry anew meanwhile.
            if of.has(&key, cpus)? {
                bpf::map_update(self.fd(), &key, &whole, 0)?;
            }
        }
        Ok(())
    }

    /// Gives `to` the keys that it lacks, with its own values or with zeros.
    pub fn add_keys_to(&self, to: &LiveMap, cpus: u32, is_zero: bool) -> Result<(), KernelError> {
        let mut entries = Vec::new();
        self.for_each(cpus, &mut |key, value| {
            entries.push((key.to_vec(), if is_zero { vec![0; value.len()] } else { value.to_vec() }));
        })?;
        for (key, value) in entries {
            match bpf::map_update(to.fd(), &key, &value, BPF_NOEXIST) {
                Err(error) if error.errno() == Some(libc::EEXIST) => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn keys(&self, cpus: u32) -> Result<Vec<Vec<u8>>, KernelError> {
        let mut keys = Vec::new();
        self.for_each(cpus, &mut |key, _| keys.push(key.to_vec()))?;
        Ok(keys)
    }
}

/// Values of threads. The kernel wants their type, which aya does not pass on for a map of ours.
fn task_storage(object: &MapObject, flags: u32, name: &str) -> Result<MapData, MapError> {
    let failed = |error: KernelError| MapError::CreateError {
        name: name.to_string(),
        io_error: match error {
            KernelError::Call { errno, .. } => std::io::Error::from_raw_os_error(errno),
            other => std::io::Error::other(other.to_string()),
        },
    };
    let types = bpf::btf_load(&btf::storage(object.value_bytes)).map_err(failed)?;
    let config = bpf::MapConfig {
        kind: object.kind.number(),
        key_bytes: object.key_bytes,
        value_bytes: object.value_bytes,
        entries: object.entries,
        flags,
        name,
        btf: Some((types.as_fd(), btf::STORAGE_KEY, btf::STORAGE_VALUE)),
        inner: None,
    };
    MapData::from_fd(bpf::map_create(&config).map_err(failed)?)
}

/// Whether a row is shown before another: numbers by value, histograms by their total, everything else by key, unless
/// it is asked for otherwise.
pub fn order(map: &Map, by: SortBy, a: (&[Value], &Cell), b: (&[Value], &Cell)) -> Ordering {
    let by_key = || compare_all(a.0, b.0);
    let by_value = || match (a.1, b.1) {
        (Cell::Value(left), Cell::Value(right)) => compare(left, right),
        (left, right) => weight(left).cmp(&weight(right)),
    };
    if is_value_first(map, by) { by_value().then_with(by_key) } else { by_key() }
}

fn is_value_first(map: &Map, by: SortBy) -> bool {
    match (by, &map.value) {
        (SortBy::Key, _) => false,
        (SortBy::Value, _) => true,
        (SortBy::Usual, MapValue::Plain(ty)) => ty.is_integer(),
        (SortBy::Usual, MapValue::Aggregation(aggregation)) => aggregation.kind != AggregationKind::Tseries,
    }
}

/// Two numbers of a row: of rows with different ones `order` puts the one with the smaller first, and says nothing about
/// those with equal ones.
pub fn rank(map: &Map, by: SortBy, key: &[Value], cell: &Cell) -> (i128, u64) {
    let value = match (is_value_first(map, by), cell) {
        (false, _) => 0,
        (true, Cell::Value(Value::Int(n))) => (*n).into(),
        (true, Cell::Value(Value::Uint(n))) => (*n).into(),
        // What follows it must not decide.
        (true, Cell::Value(_)) => return (0, 0),
        (true, cell) => weight(cell),
    };
    let key = match key.first() {
        Some(Value::Int(n)) => *n as u64 ^ (1 << 63),
        Some(Value::Uint(n)) => *n,
        Some(Value::Str(text)) => {
            let mut start = [0; 8];
            let there = text.len().min(8);
            start[..there].copy_from_slice(&text[..there]);
            u64::from_be_bytes(start)
        }
        Some(_) | None => 0,
    };
    (value, key)
}

fn compare_all(a: &[Value], b: &[Value]) -> Ordering {
    a.iter().zip(b).map(|(a, b)| compare(a, b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Uint(a), Value::Uint(b)) | (Value::Pointer(a), Value::Pointer(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Str(a), Value::Str(b)) | (Value::Buffer(a), Value::Buffer(b)) => a.cmp(b),
        (Value::Enum { number: a, .. }, Value::Enum { number: b, .. }) => a.cmp(b),
        (Value::Symbol(a), Value::Symbol(b)) => a.cmp(b),
        (Value::Named { number: a, .. }, Value::Named { number: b, .. }) => a.cmp(b),
        (Value::Stack { frames: a, .. }, Value::Stack { frames: b, .. }) => {
            a.iter().map(|frame| frame.address).cmp(b.iter().map(|frame| frame.address))
        }
        (Value::Tuple(a), Value::Tuple(b)) | (Value::Array(a), Value::Array(b)) => compare_all(a, b),
        (Value::Record(a), Value::Record(b)) => {
            let parts = a.iter().zip(b).map(|((_, a), (_, b))| compare(a, b));
            parts.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        }
        _ => Ordering::Equal,
    }
}
