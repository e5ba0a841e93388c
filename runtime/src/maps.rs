//! Maps of a running session: made, read as a whole with the parts of all processors merged, sorted, cleared.

use std::cmp::Ordering;
use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{MapData, MapError};
use rtrace_compiler::object::{MapKind, MapObject, btf};
use rtrace_lang::aggregations::{Aggregation, AggregationKind, Merge};
use rtrace_lang::hir::{Map, MapValue};
use rtrace_probes::kernel::{KernelError, bpf};

use crate::decode::word;
use crate::event::{Cell, Value};

/// BPF_F_NO_PREALLOC (include/uapi/linux/bpf.h)
const NO_PREALLOC: u32 = 1;
/// BPF_F_MMAPABLE
const MMAPABLE: u32 = 1 << 10;

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
                for key in self.keys(cpus)? {
                    bpf::map_delete(self.fd(), &key)?;
                }
                Ok(())
            }
            MapKind::RingBuffer | MapKind::TaskStorage => Ok(()),
        }
    }

    /// Sets all values to zero, and keeps the keys.
    pub fn zero(&self, cpus: u32) -> Result<(), KernelError> {
        let zero = vec![0; self.value_bytes(cpus)];
        for key in self.keys(cpus)? {
            bpf::map_update(self.fd(), &key, &zero, 0)?;
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
    };
    MapData::from_fd(bpf::map_create(&config).map_err(failed)?)
}

/// The slots of a cell, merged over processors; None where no processor has a value.
pub fn merge(aggregation: &Aggregation, values: &[u8]) -> Option<Vec<u64>> {
    let slots = aggregation.slots() as usize;
    let mut merged = vec![0u64; slots];
    let mut any = false;
    for part in values.chunks_exact(slots * 8) {
        match aggregation.row().merge {
            Merge::Add => {
                for (slot, merged) in merged.iter_mut().enumerate() {
                    *merged = merged.wrapping_add(word(part, slot * 8));
                }
                any = true;
            }
            Merge::Smallest | Merge::Largest => {
                if word(part, 8) == 0 {
                    continue;
                }
                let (new, old) = (word(part, 0), merged[0]);
                let order = if aggregation.signed { (new as i64).cmp(&(old as i64)) } else { new.cmp(&old) };
                let wanted =
                    if aggregation.row().merge == Merge::Smallest { Ordering::Less } else { Ordering::Greater };
                if !any || order == wanted {
                    merged = vec![new, 1];
                }
                any = true;
            }
        }
    }
    any.then_some(merged)
}

/// What is shown of the merged slots, divided by `divisor` where it is not 1.
pub fn cell(aggregation: &Aggregation, slots: &[u64], divisor: u64) -> Cell {
    let signed = aggregation.signed;
    let divide = |value: u64| {
        if signed { (value as i64).checked_div(divisor as i64).unwrap_or(0) } else { (value / divisor.max(1)) as i64 }
    };
    let average = |count: u64, total: u64| match count {
        0 => 0,
        _ if signed => (total as i64) / (count as i64),
        _ => (total / count) as i64,
    };
    match aggregation.kind {
        AggregationKind::Count | AggregationKind::Sum | AggregationKind::Min | AggregationKind::Max => {
            Cell::Number { value: divide(slots[0]), signed }
        }
        AggregationKind::Avg => Cell::Number { value: divide(average(slots[0], slots[1]) as u64), signed },
        AggregationKind::Stats => Cell::Stats {
            count: slots[0],
            average: divide(average(slots[0], slots[1]) as u64),
            total: divide(slots[1]),
            signed,
        },
        AggregationKind::Hist => Cell::Hist { buckets: slots.to_vec(), divisor },
        AggregationKind::Lhist => {
            let (min, max, step) = aggregation.range;
            Cell::Lhist { buckets: slots.to_vec(), min, max, step, divisor }
        }
    }
}

/// Sorts rows as they are shown: numbers by value, histograms by their total, everything else by key.
pub fn sort(map: &Map, rows: &mut [(Vec<Value>, Cell)]) {
    let by_key = |a: &(Vec<Value>, Cell), b: &(Vec<Value>, Cell)| compare_all(&a.0, &b.0);
    match &map.value {
        MapValue::Plain(ty) if ty.is_integer() => rows.sort_by(|a, b| match (&a.1, &b.1) {
            (Cell::Value(left), Cell::Value(right)) => compare(left, right).then_with(|| by_key(a, b)),
            _ => by_key(a, b),
        }),
        MapValue::Plain(_) => rows.sort_by(by_key),
        MapValue::Aggregation(_) => rows.sort_by(|a, b| weight(&a.1).cmp(&weight(&b.1)).then_with(|| by_key(a, b))),
    }
}

fn weight(cell: &Cell) -> i128 {
    let number = |value: i64, signed: bool| if signed { i128::from(value) } else { i128::from(value as u64) };
    match cell {
        Cell::Value(_) => 0,
        Cell::Number { value, signed } => number(*value, *signed),
        Cell::Stats { average, signed, .. } => number(*average, *signed),
        Cell::Hist { buckets, .. } | Cell::Lhist { buckets, .. } => {
            buckets.iter().map(|count| i128::from(*count)).sum()
        }
    }
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
