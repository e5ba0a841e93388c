//! What the programs of an object share: maps, global data, tables. Grows while programs are lowered.

use std::collections::HashMap;
use std::rc::Rc;

use rtrace_lang::aggregations::SERIES_SLOTS;
use rtrace_lang::hir::{
    Hir, Map, MapId, MapValue, Owner, Record, RecordKind, SiteId, aggregating_programs, cleared_meanwhile,
};
use rtrace_lang::limits::{
    DEFAULT_STACK_FRAMES, EXIT_RING_BYTES, MOST_MAP_BYTES, PROCESS_NUMBERS, RING_BYTES, SCRATCH_SLOTS,
    SMALL_RING_BYTES, STACK_MAP_ENTRIES, STACK_MAP_ENTRIES_AT_START, UNWIND_FILES, UNWIND_MAPPINGS_IN_ALL,
    UNWIND_PROCESSES, UNWIND_ROWS, UNWIND_WANTED, UNWIND_WAYS,
};
use rtrace_lang::span::Span;
use rtrace_lang::target::MultiKind;
use rtrace_lang::types::Type;
use rtrace_lang::unwind;

use crate::CompileOptions;
use crate::ir::MapRef;
use crate::object::{ErrorKind, ErrorSite, Globals, HEADER_BYTES, MapKind, MapObject, Turns, UnwindMaps};

use super::gate::{Marks, may_interleave};

/// Records of the largest kind that the buffer has room for, where the script does not choose its size.
const RECORDS_AT_ONCE: u64 = 4;

/// Where the scratch memory of a processor lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scratch {
    /// In a per-CPU array, whose values the kernel keeps small.
    PerCpu,
    /// In an array with a value for each processor.
    ByCpu,
}

pub struct Shared {
    pub maps: Vec<MapObject>,
    pub globals: Globals,
    pub globals_map: MapRef,
    pub ring: Option<MapRef>,
    pub scratch_bytes: u32,
    /// For each map of the script: another program, or the same one, may put a value into it as an aggregation in the middle of
    /// one that does, on its processor.
    pub is_contended: Vec<bool>,
    scratch: Option<MapRef>,
    pub scratch_kind: Scratch,
    /// How programs mark their slot of the scratch memory, where several may run at once on a processor.
    pub marks: Option<Marks>,
    cpus: u32,
    stacks: Option<MapRef>,
    unwind: Option<UnwindMaps>,
    cgroup: Option<MapRef>,
    /// By how their programs are attached: the kernel wants those of one map to agree in that.
    no_programs: HashMap<MultiKind, MapRef>,
    tree: Option<MapRef>,
    log2_table: Option<u32>,
    zeros: Option<(u32, u32)>,
    /// Offsets of tables in the global data.
    tables: HashMap<Vec<u8>, u32>,
    numbers: HashMap<Type, Rc<Vec<SiteId>>>,
    allocate_on_use: bool,
}

/// Multiplied with 2^k * 2 - 1 it has another top six bits for each k (a de Bruijn sequence).
pub const DE_BRUIJN: u64 = 0x03f7_9d71_b4cb_0a89;

impl Shared {
    pub fn new(hir: &Hir, options: &CompileOptions, scratch_kind: Scratch) -> Shared {
        let mut maps = Vec::new();
        for map in &hir.maps {
            let keyed = !map.key.is_empty();
            let kind = match (&map.value, keyed, map.evicts) {
                _ if map.owner == Owner::Thread => MapKind::TaskStorage,
                (MapValue::Plain(_), false, _) => MapKind::Array,
                (MapValue::Plain(_), true, false) => MapKind::Hash,
                (MapValue::Plain(_), true, true) => MapKind::LruHash,
                (MapValue::Aggregation(_), false, _) => MapKind::PerCpuArray,
                (MapValue::Aggregation(_), true, false) if map.is_shared() => MapKind::Hash,
                (MapValue::Aggregation(_), true, true) if map.is_shared() => MapKind::LruHash,
                (MapValue::Aggregation(_), true, false) => MapKind::PerCpuHash,
                (MapValue::Aggregation(_), true, true) => MapKind::LruPerCpuHash,
            };
            // Where the kernel takes all cells at once, their memory bounds the number of keys. Large per-CPU cells cannot
            // be taken when they are used: the kernel has no such memory ready for more than one of them.
            let on_use = map.has_large_cells() && kind == MapKind::Hash && options.map_allocator;
            let mut entries = map.entries;
            if map.has_large_cells() && !on_use {
                let copies = if kind.is_per_cpu() { options.cpus.max(1) } else { 1 };
                let each = u64::from(map.value.bytes()) * u64::from(copies);
                entries = entries.min((MOST_MAP_BYTES / each).max(1));
            }
            let mut value_bytes = map.mark_offset().map_or(map.value.bytes().max(8), |mark| mark + 8);
            if let Some(count) = map.intervals() {
                (value_bytes, entries) = (SERIES_SLOTS * 8, u64::from(count));
            }
            maps.push(MapObject {
                name: format!("at_{}", map.name),
                kind,
                key_bytes: if keyed { map.kept_key_bytes() } else { 4 },
                value_bytes,
                // The kernel keeps no count of a thread's values.
                entries: match map.owner {
                    Owner::Thread => 0,
                    Owner::Script | Owner::ThreadByKey | Owner::Calls => u32::try_from(entries).unwrap_or(u32::MAX),
                },
                allocate_on_use: on_use || map.owner == Owner::Thread,
                is_mapped: false,
                whole_keys: None,
                turns: None,
            });
        }
        let globals_map = MapRef(maps.len() as u32);
        maps.push(MapObject { is_mapped: true, ..MapObject::new("globals", MapKind::Array, 4, 0, 1) });
        let mut shared = Shared {
            maps,
            globals: Globals { bytes: vec![0; HEADER_BYTES as usize], ..Globals::default() },
            globals_map,
            ring: None,
            scratch_bytes: 0,
            is_contended: aggregating_programs(hir)
                .into_iter()
                .map(|programs| options.shares_maps || may_interleave(hir, programs.into_iter()))
                .collect(),
            scratch: None,
            scratch_kind,
            marks: Marks::needed(hir, options),
            cpus: options.cpus,
            stacks: None,
            unwind: None,
            cgroup: None,
            no_programs: HashMap::new(),
            tree: None,
            log2_table: None,
            zeros: None,
            tables: HashMap::new(),
            numbers: HashMap::new(),
            allocate_on_use: options.map_allocator,
        };
        for (number, map) in hir.maps.iter().enumerate().filter(|(_, map)| map.has_short_keys()) {
            let beside = shared.add_whole_keys(map, "keys");
            shared.maps[number].whole_keys = Some(beside.0);
        }
        for map in cleared_meanwhile(hir) {
            let (name, first) = (&hir.maps[map.index()], &shared.maps[map.index()]);
            let mut second = MapObject { name: format!("twin_{}", name.name), ..first.clone() };
            if first.whole_keys.is_some() {
                second.whole_keys = Some(shared.add_whole_keys(name, "twin_keys").0);
            }
            let other = shared.add(second).0;
            let word = shared.global_bytes(&[0; 8]);
            shared.maps[map.index()].turns = Some(Turns { other, word });
        }
        shared.globals.lost = shared.global_bytes(&vec![0; hir.records.len() * 8]);
        if !hir.records.is_empty() {
            let largest = hir.records.iter().map(record_bytes).max().unwrap_or(0);
            let bytes = match hir.settings.perf_rb_pages {
                0 if hir.records.iter().all(|record| record.kind == RecordKind::Exit) => EXIT_RING_BYTES,
                0 if hir.uses().streams => RING_BYTES.max(ring_for(largest, RECORDS_AT_ONCE)),
                0 => SMALL_RING_BYTES.max(ring_for(largest, RECORDS_AT_ONCE)),
                pages => (pages * 4096).next_power_of_two().max(ring_for(largest, 1)),
            };
            shared.ring = Some(shared.add(MapObject::new("events", MapKind::RingBuffer, 0, 0, bytes)));
        }
        shared
    }

    fn add(&mut self, map: MapObject) -> MapRef {
        let number = MapRef(self.maps.len() as u32);
        self.maps.push(map);
        number
    }

    /// The map beside one with short keys.
    fn add_whole_keys(&mut self, map: &Map, name: &str) -> MapRef {
        let mut entries = map.entries;
        if !self.allocate_on_use {
            entries = entries.min((MOST_MAP_BYTES / u64::from(map.key_bytes())).max(1));
        }
        self.add(MapObject {
            name: format!("{name}_{}", map.name),
            kind: MapKind::Hash,
            key_bytes: map.kept_key_bytes(),
            value_bytes: map.key_bytes(),
            entries: u32::try_from(entries).unwrap_or(u32::MAX),
            allocate_on_use: self.allocate_on_use,
            is_mapped: false,
            whole_keys: None,
            turns: None,
        })
    }

    /// The map that has the whole keys of one with short keys.
    pub fn whole_keys(&self, map: MapRef) -> Option<MapRef> {
        self.maps[map.index()].whole_keys.map(MapRef)
    }

    /// The map that takes turns with that of the script, if there is one.
    pub fn turns(&self, map: MapId) -> Option<Turns> {
        self.maps[map.index()].turns
    }

    /// Appends to the global data; gives the offset.
    pub fn global_bytes(&mut self, bytes: &[u8]) -> u32 {
        let bytes_now = &mut self.globals.bytes;
        bytes_now.resize(bytes_now.len().next_multiple_of(8), 0);
        let offset = bytes_now.len() as u32;
        bytes_now.extend_from_slice(bytes);
        offset
    }

    /// The same, of what several may want: equal bytes are there once.
    pub fn table(&mut self, bytes: Vec<u8>) -> u32 {
        if let Some(offset) = self.tables.get(&bytes) {
            return *offset;
        }
        let offset = self.global_bytes(&bytes);
        self.tables.insert(bytes, offset);
        offset
    }

    /// `Hir::numbers_as`
    pub fn numbers_as(&mut self, hir: &Hir, ty: &Type) -> Rc<Vec<SiteId>> {
        self.numbers.entry(ty.clone()).or_insert_with(|| Rc::new(hir.numbers_as(ty))).clone()
    }

    /// The counter of an error at a place.
    pub fn error(&mut self, kind: ErrorKind, span: Span) -> u32 {
        let site = ErrorSite { kind, span };
        if let Some((_, offset)) = self.globals.errors.iter().find(|(known, _)| *known == site) {
            return *offset;
        }
        let offset = self.global_bytes(&[0; 8]);
        self.globals.errors.push((site, offset));
        offset
    }

    pub fn scratch(&mut self) -> MapRef {
        if let Some(map) = self.scratch {
            return map;
        }
        let (kind, entries) = match self.scratch_kind {
            Scratch::PerCpu => (MapKind::PerCpuArray, self.slots()),
            Scratch::ByCpu => (MapKind::Array, self.cpus.max(1) * self.slots()),
        };
        let map = self.add(MapObject::new("scratch", kind, 4, 0, entries));
        self.scratch = Some(map);
        map
    }

    /// Slots of scratch memory that a processor has.
    pub fn slots(&self) -> u32 {
        if self.marks.is_some() { SCRATCH_SLOTS } else { 1 }
    }

    /// Stacks by their hash: a word with the number of frames, then the frames.
    pub fn stacks(&mut self) -> MapRef {
        if let Some(map) = self.stacks {
            return map;
        }
        let map = self.add(MapObject {
            allocate_on_use: self.allocate_on_use,
            ..MapObject::new(
                "stacks",
                MapKind::Hash,
                8,
                8 + DEFAULT_STACK_FRAMES * 8,
                if self.allocate_on_use { STACK_MAP_ENTRIES } else { STACK_MAP_ENTRIES_AT_START },
            )
        });
        self.stacks = Some(map);
        map
    }

    pub fn stacks_map(&self) -> Option<MapRef> {
        self.stacks
    }

    /// What `dw_ustack` looks up.
    pub fn unwind_tables(&mut self, has_files: bool) -> UnwindMaps {
        if let Some(tables) = self.unwind {
            return tables;
        }
        let mut table = |name: &str, kind: MapKind, key_bytes: u32, value_bytes: u32, entries: u32| {
            let table = MapObject::new(name, kind, key_bytes, value_bytes, entries);
            self.add(MapObject { is_mapped: kind == MapKind::Array, ..table }).0
        };
        let processes = table("processes", MapKind::Hash, 8, 8, UNWIND_PROCESSES);
        let wanted = table("wanted", MapKind::Hash, 8, 8, UNWIND_WANTED);
        let mappings = table("mappings", MapKind::Array, 4, unwind::MAPPING_BYTES, UNWIND_MAPPINGS_IN_ALL);
        let rows = table("unwind_rows", MapKind::Array, 4, unwind::ROW_BYTES, UNWIND_ROWS);
        let ways = table("ways", MapKind::Array, 4, unwind::WAY_BYTES, UNWIND_WAYS);
        let files =
            has_files.then(|| table("files", MapKind::Hash, unwind::FILE_KEY_BYTES, unwind::FILE_BYTES, UNWIND_FILES));
        *self.unwind.insert(UnwindMaps { processes, wanted, mappings, rows, ways, files })
    }

    pub fn unwind_maps(&self) -> Option<UnwindMaps> {
        self.unwind
    }

    /// The map that holds the cgroup which events are restricted to.
    pub fn cgroup(&mut self) -> MapRef {
        if let Some(map) = self.cgroup {
            return map;
        }
        let map = self.add(MapObject::new("cgroup", MapKind::Cgroups, 4, 4, 1));
        self.cgroup = Some(map);
        map
    }

    /// A map of programs that stays empty.
    pub fn no_programs(&mut self, attached: MultiKind) -> MapRef {
        if let Some(map) = self.no_programs.get(&attached) {
            return *map;
        }
        let map = self.add(MapObject::new("no_programs", MapKind::Programs, 4, 4, 1));
        self.no_programs.insert(attached, map);
        map
    }

    pub fn cgroup_map(&self) -> Option<MapRef> {
        self.cgroup
    }

    /// The map that says of each process number whether its events count.
    pub fn tree(&mut self) -> MapRef {
        if let Some(map) = self.tree {
            return map;
        }
        let map =
            self.add(MapObject { is_mapped: true, ..MapObject::new("tree", MapKind::Array, 4, PROCESS_NUMBERS, 1) });
        self.tree = Some(map);
        map
    }

    pub fn tree_map(&self) -> Option<MapRef> {
        self.tree
    }

    /// For each value of the top six bits of `DE_BRUIJN * (2^(k+1) - 1)`: k.
    pub fn log2_table(&mut self) -> u32 {
        if let Some(offset) = self.log2_table {
            return offset;
        }
        let mut table = [0u8; 64];
        for k in 0..64u32 {
            let ones = u64::MAX >> (63 - k);
            table[(DE_BRUIJN.wrapping_mul(ones) >> 58) as usize] = k as u8;
        }
        let offset = self.global_bytes(&table);
        self.log2_table = Some(offset);
        offset
    }

    /// At least that many zero bytes.
    pub fn zeros(&mut self, bytes: u32) -> u32 {
        if let Some((offset, length)) = self.zeros
            && length >= bytes
        {
            return offset;
        }
        let offset = self.global_bytes(&vec![0; bytes as usize]);
        self.zeros = Some((offset, bytes));
        offset
    }

    /// Sizes that are known only when all programs are lowered.
    pub fn finish(&mut self) {
        let length = self.globals.bytes.len().next_multiple_of(8);
        self.globals.bytes.resize(length, 0);
        self.maps[self.globals_map.index()].value_bytes = length as u32;
        if let Some(map) = self.scratch {
            self.maps[map.index()].value_bytes = self.scratch_bytes.next_multiple_of(8);
        }
    }
}

/// Bytes that a record takes: a word with its number, then the parts.
fn record_bytes(record: &Record) -> u64 {
    8 + record.parts.iter().map(|part| u64::from(part.stored_bytes())).sum::<u64>()
}

/// Bytes of a ring buffer that has room for so many records of that size at once: the kernel puts a word before each, and never
/// fills the last byte (`bpf_ringbuf_reserve`).
fn ring_for(record: u64, count: u64) -> u32 {
    let bytes = (record.next_multiple_of(8) + 8) * count + 1;
    u32::try_from(bytes.next_power_of_two()).unwrap_or(1 << 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_tells_all_powers_apart() {
        let mut seen = [false; 64];
        for k in 0..64u32 {
            let index = (DE_BRUIJN.wrapping_mul(u64::MAX >> (63 - k)) >> 58) as usize;
            assert!(!std::mem::replace(&mut seen[index], true), "{k}");
        }
    }
}
