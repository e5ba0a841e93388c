//! Simulated maps, as the kernel's behave on a machine with one processor. Values are regions of the simulated memory.

use std::collections::BTreeMap;

use super::{Memory, Region, Space};
use crate::ir::MapRef;
use crate::object::{MapKind, MapObject, Object};

/// BPF_NOEXIST and BPF_EXIST (include/uapi/linux/bpf.h)
const NO_EXIST: u64 = 1;
const EXIST: u64 = 2;

// Errors of the kernel's maps (include/uapi/asm-generic/errno-base.h).
const ENOENT: i64 = -2;
const E2BIG: i64 = -7;
const EEXIST: i64 = -17;
const EINVAL: i64 = -22;

#[derive(Clone, Debug)]
pub struct Maps {
    maps: Vec<SimulatedMap>,
}

#[derive(Clone, Debug)]
struct SimulatedMap {
    object: MapObject,
    /// Addresses of the values.
    entries: BTreeMap<Vec<u8>, u64>,
}

impl Maps {
    pub fn new(object: &Object, memory: &mut Memory) -> Maps {
        let mut maps = Vec::new();
        for (number, map) in object.maps.iter().enumerate() {
            let mut entries = BTreeMap::new();
            if let MapKind::Array | MapKind::PerCpuArray = map.kind {
                for key in 0..map.entries {
                    let mut bytes = vec![0; map.value_bytes as usize];
                    if number as u32 == object.manifest.globals_map {
                        bytes.copy_from_slice(&object.manifest.globals.bytes);
                    }
                    entries.insert(key.to_le_bytes().to_vec(), memory.add(Space::MapValue, Region::of(bytes)));
                }
            }
            maps.push(SimulatedMap { object: map.clone(), entries });
        }
        Maps { maps }
    }

    fn map(&self, map: u64) -> Result<&SimulatedMap, String> {
        self.maps.get(map as usize).ok_or_else(|| format!("there is no map {map}"))
    }

    pub fn object(&self, map: u64) -> Result<&MapObject, String> {
        Ok(&self.map(map)?.object)
    }

    /// The address of the only value of an array.
    pub fn direct(&self, map: MapRef) -> Result<u64, String> {
        let found = self.map(u64::from(map.0))?;
        match (found.object.kind, found.object.entries) {
            (MapKind::Array, 1) => Ok(found.entries[&vec![0; 4]]),
            (kind, entries) => Err(format!("the value's address of a {kind:?} of {entries} entries")),
        }
    }

    fn key(&self, map: u64, key: u64, memory: &Memory) -> Result<Vec<u8>, String> {
        let bytes = self.object(map)?.key_bytes as usize;
        Ok(memory.read(key, bytes, None)?.to_vec())
    }

    /// Null where the key is missing.
    pub fn look_up(&self, map: u64, key: u64, memory: &Memory) -> Result<u64, String> {
        let key = self.key(map, key, memory)?;
        Ok(self.map(map)?.entries.get(&key).copied().unwrap_or(0))
    }

    pub fn update(&mut self, map: u64, key: u64, value: u64, flags: u64, memory: &mut Memory) -> Result<i64, String> {
        let key = self.key(map, key, memory)?;
        let object = self.object(map)?.clone();
        let value = memory.read(value, object.value_bytes as usize, None)?.to_vec();
        let entries = &mut self.maps[map as usize].entries;
        let known = entries.get(&key).copied();
        match (object.kind, known) {
            (MapKind::RingBuffer, _) => Err("an update of a ring buffer".to_string()),
            (MapKind::TaskStorage, _) => Err("an update of a thread's values".to_string()),
            (MapKind::Cgroups | MapKind::Programs, _) => Err("an update of a map of cgroups or programs".to_string()),
            (_, Some(_)) if flags == NO_EXIST => Ok(EEXIST),
            (_, None) if flags == EXIST => Ok(ENOENT),
            (MapKind::Array | MapKind::PerCpuArray, None) => Ok(E2BIG),
            (MapKind::Array | MapKind::PerCpuArray | MapKind::PerCpuHash | MapKind::LruPerCpuHash, Some(address)) => {
                memory.write(address, &value, None)?;
                Ok(0)
            }
            // A hash replaces the element: addresses of the old one are stale.
            (MapKind::Hash | MapKind::LruHash, Some(address)) => {
                memory.release(address);
                entries.insert(key, memory.add(Space::MapValue, Region::of(value)));
                Ok(0)
            }
            (MapKind::Hash | MapKind::PerCpuHash, None) if entries.len() >= object.entries as usize => Ok(E2BIG),
            // Which entry a full map gives up depends on the kernel; here there is always room.
            (MapKind::Hash | MapKind::PerCpuHash | MapKind::LruHash | MapKind::LruPerCpuHash, None) => {
                entries.insert(key, memory.add(Space::MapValue, Region::of(value)));
                Ok(0)
            }
        }
    }

    pub fn delete(&mut self, map: u64, key: u64, memory: &mut Memory) -> Result<i64, String> {
        let key = self.key(map, key, memory)?;
        match self.object(map)?.kind {
            MapKind::Array | MapKind::PerCpuArray => Ok(EINVAL),
            MapKind::RingBuffer => Err("a deletion from a ring buffer".to_string()),
            MapKind::TaskStorage => Err("a deletion of a thread's values".to_string()),
            MapKind::Cgroups | MapKind::Programs => Err("a deletion from a map of cgroups or programs".to_string()),
            MapKind::Hash | MapKind::PerCpuHash | MapKind::LruHash | MapKind::LruPerCpuHash => {
                match self.maps[map as usize].entries.remove(&key) {
                    Some(address) => {
                        memory.release(address);
                        Ok(0)
                    }
                    None => Ok(ENOENT),
                }
            }
        }
    }

    /// All keys of a map with the addresses of their values, as a loop over it finds them.
    pub fn addresses(&self, map: u64) -> Result<Vec<(Vec<u8>, u64)>, String> {
        Ok(self.map(map)?.entries.iter().map(|(key, address)| (key.clone(), *address)).collect())
    }

    /// All keys and values of a map, in the order of the keys.
    pub fn entries(&self, map: MapRef, memory: &Memory) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.maps.get(map.index()).map_or(Vec::new(), |map| {
            map.entries.iter().map(|(key, address)| (key.clone(), memory.bytes(*address).to_vec())).collect()
        })
    }
}
