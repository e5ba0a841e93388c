//! The tables by which programs go up user stacks: filled from the files that the process has mapped, and kept as it maps more.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rtrace_compiler::object::UnwindMaps;
use rtrace_lang::limits::{UNWIND_MAPPINGS, UNWIND_ROWS};
use rtrace_lang::unwind::{MAPPING_BYTES, ROW_BYTES};
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
    header: u32,
    mappings: GlobalData,
    rows: GlobalData,
    rows_used: u32,
    /// What the programs look a file up in that the kernel names.
    by_file: Option<LiveMap>,
    /// Whose stacks they are for.
    pub process: Option<u32>,
    /// By device and inode: the number of its first row and how many there are, as programs read them. None for files without any.
    files: HashMap<(u64, u64), Option<File>>,
    /// The half of the mappings that counts.
    half: u32,
    is_full: bool,
}

struct File {
    binary: Binary,
    rows: u64,
}

impl UnwindTables {
    pub fn new(at: UnwindMaps, maps: &[LiveMap]) -> Result<UnwindTables, SessionError> {
        let table = |map: u32, bytes: u32| {
            let fd = maps[map as usize].fd();
            GlobalData::map(fd, bytes as usize).map_err(|error| SessionError::System("mmap", error))
        };
        let failed = |source| SessionError::Map { name: "files".to_string(), source };
        let by_file = at.files.map(|map| maps[map as usize].try_clone()).transpose().map_err(failed)?;
        Ok(UnwindTables {
            header: at.header,
            by_file,
            mappings: table(at.mappings, 2 * UNWIND_MAPPINGS * MAPPING_BYTES)?,
            rows: table(at.rows, UNWIND_ROWS * ROW_BYTES)?,
            rows_used: 0,
            process: None,
            files: HashMap::new(),
            half: 0,
            is_full: false,
        })
    }

    /// Reads the tables of a program and of its libraries before it starts, so that they are at hand when it maps them.
    pub fn expect(&mut self, program: &Path) {
        for file in locate_expected("*", program).unwrap_or_default() {
            self.note(&file.path, &file.name);
        }
    }

    /// Makes these the mappings that count; they are sorted. Programs see the old ones or the new ones, never a mixture.
    pub fn set(&mut self, code: &[MappedCode], globals: &GlobalData) {
        let first = (1 - self.half) * UNWIND_MAPPINGS;
        let mut count = 0;
        for mapping in code {
            let Some((bias, rows)) = self.of_mapping(mapping) else { continue };
            if count == UNWIND_MAPPINGS {
                self.tell_full("the process maps more code than the tables of dw_ustack have room for");
                break;
            }
            let at = (first + count) * MAPPING_BYTES;
            for (number, word) in [mapping.start, mapping.end, bias, rows].into_iter().enumerate() {
                self.mappings.set(at + number as u32 * 8, word);
            }
            count += 1;
        }
        globals.set(self.header, u64::from(first) | u64::from(count) << 32);
        self.half = 1 - self.half;
    }

    /// What is to be added to the addresses of the file, and its rows.
    fn of_mapping(&mut self, mapping: &MappedCode) -> Option<(u64, u64)> {
        let file = self.note(&mapping.path, &mapping.name)?;
        let file = self.files[&file].as_ref()?;
        Some((file.binary.bias_of_code(mapping.start, mapping.file_offset)?, file.rows))
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
        let rows = unwind::rows(path).ok().filter(|rows| !rows.is_empty())?;
        let (first, count) = (self.rows_used, u32::try_from(rows.len()).unwrap_or(u32::MAX));
        if count > UNWIND_ROWS - first {
            self.tell_full(&format!(
                "{} has {count} places in its unwind table, more than the tables of dw_ustack have room for",
                name.display()
            ));
            return None;
        }
        for (row, at) in rows.iter().zip((first * ROW_BYTES..).step_by(ROW_BYTES as usize)) {
            let [address, way] = row.words();
            self.rows.set(at, address);
            self.rows.set(at + 8, way);
        }
        self.rows_used += count;
        let rows = u64::from(first) | u64::from(count) << 32;
        self.offer(path, &binary, rows);
        Some(File { binary, rows })
    }

    /// Lets programs find the file where the kernel has mapped it and the tool does not know that yet.
    fn offer(&self, path: &Path, binary: &Binary, rows: u64) {
        let Some(files) = &self.by_file else { return };
        let known_as = FileBytes::open(path).ok().and_then(|bytes| mapped_as(&bytes));
        let (Some((device, inode)), Some(distance)) = (known_as, binary.code_distance()) else { return };
        // Numbers of devices as the kernel puts them together (include/linux/kdev_t.h).
        let device = (device >> 32) << 20 | device & 0xf_ffff;
        let key = [device.to_le_bytes(), inode.to_le_bytes()].concat();
        let value = [rows.to_le_bytes(), distance.to_le_bytes()].concat();
        // Without it the stack ends there until the news has come.
        let _ = bpf::map_update(files.fd(), &key, &value, 0);
    }

    fn tell_full(&mut self, text: &str) {
        if !std::mem::replace(&mut self.is_full, true) {
            notices::warn(&format!("{text}: stacks end there"));
        }
    }
}
