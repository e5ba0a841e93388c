//! The tables by which programs go up user stacks: filled from the files that processes have mapped, and kept as they map more.
//! A process gets its own when it is chosen, when a program asks for it, or when one that has them forks it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rtrace_compiler::object::UnwindMaps;
use rtrace_lang::limits::{UNWIND_MAPPINGS, UNWIND_MAPPINGS_IN_ALL, UNWIND_ROWS, UNWIND_WAYS};
use rtrace_lang::unwind::{FAR_BITS, MAPPING_BYTES, ROW_BYTES, WAY_BYTES};
use rtrace_probes::elf::{Binary, locate_expected};
use rtrace_probes::kernel::bpf;
use rtrace_probes::kernel::mapping::FileBytes;
use rtrace_probes::unwind;

use crate::maps::LiveMap;
use crate::output::notices;
use crate::symbols::{MappedCode, mapped_as};

use super::SessionError;
use super::globals::GlobalData;

/// The tables in the kernel, and what is in them.
pub struct UnwindTables {
    /// By process, which mappings are its own.
    processes: LiveMap,
    /// Processes that programs have looked for.
    wanted: LiveMap,
    mappings: GlobalData,
    room: Room,
    /// The first mapping of each process that is in the tables; 0 for one that has none.
    known: HashMap<u32, u32>,
    rows: GlobalData,
    rows_used: u32,
    ways: GlobalData,
    /// The number of each way. Nothing is what number 0 says.
    way_numbers: HashMap<u64, u32>,
    /// What the programs look a file up in that the kernel names.
    by_file: Option<LiveMap>,
    /// By device and inode: the number of its first row and how many there are, as programs read them. None for files without any.
    files: HashMap<(u64, u64), Option<File>>,
    is_full: bool,
}

struct File {
    binary: Binary,
    /// The address of its first row.
    start: u64,
    rows: u64,
}

impl UnwindTables {
    pub fn new(at: UnwindMaps, maps: &[LiveMap]) -> Result<UnwindTables, SessionError> {
        let table = |map: u32, entry_bytes: u32| {
            let map = &maps[map as usize];
            GlobalData::map(map.fd(), (map.object.entries * entry_bytes) as usize)
                .map_err(|error| SessionError::System("mmap", error))
        };
        let same = |map: u32| {
            let map = &maps[map as usize];
            map.try_clone().map_err(|source| SessionError::Map { name: map.object.name.clone(), source })
        };
        Ok(UnwindTables {
            processes: same(at.processes)?,
            wanted: same(at.wanted)?,
            mappings: table(at.mappings, MAPPING_BYTES)?,
            // The mapping of number 0 is none.
            room: Room { taken: BTreeMap::from([(0, 1)]), next: 1, entries: UNWIND_MAPPINGS_IN_ALL },
            known: HashMap::new(),
            rows: table(at.rows, ROW_BYTES)?,
            rows_used: 0,
            ways: table(at.ways, WAY_BYTES)?,
            way_numbers: HashMap::from([(0, 0)]),
            by_file: at.files.map(same).transpose()?,
            files: HashMap::new(),
            is_full: false,
        })
    }

    /// Reads the tables of a program and of its libraries before it starts, so that they are at hand when it maps them.
    pub fn expect(&mut self, program: &Path) {
        for file in locate_expected("*", program).unwrap_or_default() {
            self.note(&file.path, &file.name);
        }
    }

    /// Whether the process is in the tables.
    pub fn knows(&self, process: u32) -> bool {
        self.known.contains_key(&process)
    }

    /// The processes that programs have looked for since the last time.
    pub fn wanted(&self) -> Vec<u32> {
        let mut wanted = Vec::new();
        let note = &mut |key: &[u8], _: &[u8]| wanted.extend(key.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)));
        let (key_bytes, value_bytes) = (self.wanted.object.key_bytes, self.wanted.object.value_bytes);
        // What is not read now is asked for again.
        let _ = bpf::map_lookup_and_delete_batch(self.wanted.fd(), key_bytes as usize, value_bytes as usize, note);
        wanted
    }

    /// Makes these the mappings of the process; they are sorted. Programs see the old ones or the new ones, never a mixture.
    pub fn set(&mut self, process: u32, code: &[MappedCode]) {
        let of_mapping = |mapping: &MappedCode| {
            let (bias, rows) = self.of_mapping(mapping)?;
            Some([mapping.start, mapping.end, bias, rows])
        };
        let mut mappings: Vec<[u64; 4]> = code.iter().filter_map(of_mapping).collect();
        if mappings.len() > UNWIND_MAPPINGS as usize {
            self.tell_full("a process maps more code than the tables of dw_ustack have room for");
            mappings.truncate(UNWIND_MAPPINGS as usize);
        }
        if !self.put(process, &mappings) {
            self.forget_ended();
            if !self.put(process, &mappings) {
                self.tell_full("there are more processes than the tables of dw_ustack have room for");
            }
        }
    }

    /// False where there is no room.
    fn put(&mut self, process: u32, mappings: &[[u64; 4]]) -> bool {
        let count = mappings.len() as u32;
        let Some(first) = self.room.take(count) else { return false };
        for (mapping, at) in mappings.iter().zip((first * MAPPING_BYTES..).step_by(MAPPING_BYTES as usize)) {
            for (word, at) in mapping.iter().zip((at..).step_by(8)) {
                self.mappings.set(at, *word);
            }
        }
        let word = u64::from(first) | u64::from(count) << 32;
        if bpf::map_update(self.processes.fd(), &key(process), &word.to_le_bytes(), 0).is_err() {
            self.room.give_back(first);
            return false;
        }
        if let Some(before) = self.known.insert(process, first) {
            self.room.give_back(before);
        }
        true
    }

    /// Makes room for others.
    pub fn forget(&mut self, process: u32) {
        if let Some(first) = self.known.remove(&process) {
            let _ = self.processes.delete(&key(process));
            self.room.give_back(first);
        }
    }

    /// Those whose end nothing has told of.
    fn forget_ended(&mut self) {
        let is_gone = |process: &u32| !fs::exists(format!("/proc/{process}")).unwrap_or(true);
        let ended: Vec<u32> = self.known.keys().copied().filter(is_gone).collect();
        ended.into_iter().for_each(|process| self.forget(process));
    }

    /// Where the first row of the file is, and its rows.
    fn of_mapping(&mut self, mapping: &MappedCode) -> Option<(u64, u64)> {
        let file = self.note(&mapping.path, &mapping.name)?;
        let file = self.files[&file].as_ref()?;
        let bias = file.binary.bias_of_code(mapping.start, mapping.file_offset)?;
        Some((bias.wrapping_add(file.start), file.rows))
    }

    /// Reads a file that is not known yet; gives its device and inode.
    fn note(&mut self, path: &Path, name: &Path) -> Option<(u64, u64)> {
        let metadata = fs::metadata(path).ok()?;
        let id = (metadata.dev(), metadata.ino());
        if !self.files.contains_key(&id) {
            let file = self.read(path, name);
            self.files.insert(id, file);
        }
        Some(id)
    }

    /// Puts the rows of a file behind the others.
    fn read(&mut self, path: &Path, name: &Path) -> Option<File> {
        let binary = Binary::open(path).ok()?;
        let mut rows = unwind::rows(path).ok()?;
        let start = rows.first()?.address;
        rows.retain(|row| (row.address - start) >> FAR_BITS == 0);
        let (first, count) = (self.rows_used, u32::try_from(rows.len()).unwrap_or(u32::MAX));
        if count > UNWIND_ROWS - first {
            self.tell_full(&format!(
                "{} has {count} places in its unwind table, more than the tables of dw_ustack have room for",
                name.display()
            ));
            return None;
        }
        for (row, at) in rows.iter().zip((first * ROW_BYTES..).step_by(ROW_BYTES as usize)) {
            let way = self.way_number(row.way());
            self.rows.set(at, (row.address - start) << 32 | u64::from(way));
        }
        self.rows_used += count;
        let rows = u64::from(first) | u64::from(count) << 32;
        let file = File { binary, start, rows };
        self.offer(path, &file);
        Some(file)
    }

    /// The number of a way; that of none where there is no room.
    fn way_number(&mut self, way: u64) -> u32 {
        let next = self.way_numbers.len() as u32;
        if let Some(number) = self.way_numbers.get(&way) {
            return *number;
        }
        if next == UNWIND_WAYS {
            self.tell_full("there are more ways to a caller than the tables of dw_ustack have room for");
            return 0;
        }
        self.ways.set(next * WAY_BYTES, way);
        self.way_numbers.insert(way, next);
        next
    }

    /// Lets programs find the file where the kernel has mapped it and the tool does not know that yet.
    fn offer(&self, path: &Path, file: &File) {
        let Some(files) = &self.by_file else { return };
        let known_as = FileBytes::open(path).ok().and_then(|bytes| mapped_as(&bytes));
        let (Some((device, inode)), Some(distance)) = (known_as, file.binary.code_distance()) else { return };
        // Numbers of devices as the kernel puts them together (include/linux/kdev_t.h).
        let device = (device >> 32) << 20 | device & 0xf_ffff;
        let key = [device.to_le_bytes(), inode.to_le_bytes()].concat();
        let value = [file.rows.to_le_bytes(), distance.wrapping_add(file.start).to_le_bytes()].concat();
        // Without it the stack ends there until the news has come.
        let _ = bpf::map_update(files.fd(), &key, &value, 0);
    }

    fn tell_full(&mut self, text: &str) {
        if !std::mem::replace(&mut self.is_full, true) {
            notices::warn(&format!("{text}: stacks end there"));
        }
    }
}

/// As programs look it up.
fn key(process: u32) -> [u8; 8] {
    u64::from(process).to_le_bytes()
}

/// Which entries of the array of mappings are taken. What was given back is taken again as late as possible: a program may still
/// be reading it.
struct Room {
    /// Number of the first entry, and how many.
    taken: BTreeMap<u32, u32>,
    /// Where the search for room begins.
    next: u32,
    entries: u32,
}

impl Room {
    /// The number of the first of so many entries; 0 for none of them. None where there are not so many in one piece.
    fn take(&mut self, count: u32) -> Option<u32> {
        if count == 0 {
            return Some(0);
        }
        let first = self.gap(self.next, count).or_else(|| self.gap(0, count))?;
        self.taken.insert(first, count);
        self.next = first + count;
        Some(first)
    }

    fn give_back(&mut self, first: u32) {
        if first != 0 {
            self.taken.remove(&first);
        }
    }

    /// From an entry on.
    fn gap(&self, from: u32, count: u32) -> Option<u32> {
        let before = self.taken.range(..from).next_back().map_or(0, |(first, count)| first + count);
        let mut start = from.max(before);
        for (first, taken) in self.taken.range(start..) {
            if first - start >= count {
                return Some(start);
            }
            start = first + taken;
        }
        (self.entries - start >= count).then_some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_goes_round() {
        let mut room = Room { taken: BTreeMap::from([(0, 1)]), next: 1, entries: 10 };
        assert_eq!([3, 3, 0].map(|count| room.take(count)), [Some(1), Some(4), Some(0)]);
        room.give_back(1);
        room.give_back(0);
        // The end first, though what was given back fits as well.
        assert_eq!([2, 2, 3, 1, 1].map(|count| room.take(count)), [Some(7), Some(1), None, Some(3), Some(9)]);
        assert_eq!(room.take(1), None);
        room.give_back(4);
        assert_eq!(room.take(3), Some(4));
    }
}
