//! DWARF of programs: the parameters of their functions, and their types. Opened only when a script asks for either,
//! and then read piece by piece: the unit of a function, the types that it leads to. Never touches a process.

mod convention;
mod convert;
mod files;
mod lines;
mod search;
mod unpacked;
mod view;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

pub use convention::{Function, Parameter, Passed};
use files::Sections;
pub use files::{debug_file, debug_files, search_debug_files_in};
use search::Known;
pub use search::{Found, Sought};
pub use unpacked::unpacked;
use view::{Entry, View};

/// Why a program's debug information can't be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DebugError {
    /// There is none.
    None,
    Unreadable {
        reason: String,
    },
}

/// The functions of a unit: their addresses, and the offsets of their entries.
type Functions = HashMap<u64, usize>;

/// The debug information of one program or library.
pub struct DebugInfo {
    sections: Sections,
    /// The number of this source of types in the ids that it gives.
    source: u32,
    unit_starts: OnceLock<Vec<usize>>,
    /// By `.debug_aranges`, and by what the units themselves say.
    listed_code: OnceLock<Vec<Code>>,
    all_code: OnceLock<Vec<Code>>,
    functions: Mutex<HashMap<usize, Arc<Functions>>>,
    ids: Mutex<convert::Ids>,
    known: Mutex<HashMap<Known, Option<Found>>>,
}

/// Addresses, and the unit whose code is there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Code {
    start: u64,
    end: u64,
    unit: usize,
}

impl DebugInfo {
    /// Of the program, wherever it is. `source` goes into the upper bits of the ids of its types.
    pub fn open(program: &Path, source: u32) -> Result<DebugInfo, DebugError> {
        Ok(DebugInfo::of_sections(Sections::of_program(program)?, source))
    }

    fn of_sections(sections: Sections, source: u32) -> DebugInfo {
        DebugInfo {
            sections,
            source,
            unit_starts: OnceLock::new(),
            listed_code: OnceLock::new(),
            all_code: OnceLock::new(),
            functions: Mutex::default(),
            ids: Mutex::default(),
            known: Mutex::default(),
        }
    }

    fn section(&self, id: gimli::SectionId) -> &[u8] {
        self.sections.get(id.name())
    }

    /// Where the units begin in `.debug_info`, ascending.
    fn unit_starts(&self, view: &View<'_>) -> &[usize] {
        self.unit_starts.get_or_init(|| {
            let mut starts = Vec::new();
            let mut headers = view.dwarf.units();
            while let Ok(Some(header)) = headers.next() {
                starts.extend(header.debug_info_offset().map(|offset| offset.0));
            }
            starts
        })
    }

    /// The function that begins at an address; None where the debug information has none there.
    pub fn function_at(&self, address: u64) -> Option<Function> {
        let view = View::new(self);
        let entry = self.entry_of_function(&view, address)?;
        Some(self.function(&view, &entry))
    }

    /// True where the code at the address is described in a file of its own (`-gsplit-dwarf`).
    pub fn is_split_at(&self, address: u64) -> bool {
        let view = View::new(self);
        let units = self.units_of(&view, address);
        units.iter().filter_map(|start| view.unit(*start)).any(|unit| unit.dwo_name().is_ok_and(|name| name.is_some()))
    }

    fn entry_of_function<'a>(&'a self, view: &View<'a>, address: u64) -> Option<Entry<'a>> {
        let units = self.units_of(view, address);
        let at = units.into_iter().find_map(|unit| self.functions_of(view, unit).get(&address).copied())?;
        view.entry(at)
    }

    /// The units that may have the code at an address, each once.
    fn units_of(&self, view: &View<'_>, address: u64) -> Vec<usize> {
        let listed = self.listed_code.get_or_init(|| listed_code(view));
        let mut units = units_at(listed, address);
        // Not every compiler lists the code of its units.
        if units.is_empty() {
            units = units_at(self.all_code.get_or_init(|| self.code_of_units(view)), address);
        }
        units
    }

    fn code_of_units(&self, view: &View<'_>) -> Vec<Code> {
        let mut code = Vec::new();
        for start in self.unit_starts(view) {
            // Many units are seen once here and never again: they are not kept.
            let header = view.dwarf.unit_header(gimli::DebugInfoOffset(*start));
            let Ok(unit) = header.and_then(|header| view.dwarf.unit(header)) else { continue };
            let Ok(mut ranges) = view.dwarf.unit_ranges(&unit) else { continue };
            while let Ok(Some(range)) = ranges.next() {
                code.push(Code { start: range.begin, end: range.end, unit: *start });
            }
        }
        code.sort_unstable();
        code
    }

    /// The functions of a unit that have code of their own.
    fn functions_of(&self, view: &View<'_>, start: usize) -> Arc<Functions> {
        if let Some(known) = self.functions.lock().expect("no holder panics").get(&start) {
            return known.clone();
        }
        let mut found = Functions::new();
        if let Some(unit) = view.unit(start) {
            let is_function = |tag| tag == gimli::DW_TAG_subprogram;
            // What can't be read ends the unit: the functions before it are known.
            let _ = view.each(&unit, &is_function, &mut |glance| {
                if let Some(entry) = view.entry(glance.at).filter(|_| !glance.is_declaration)
                    && let Some(address) = entry_address(view, &entry)
                {
                    found.entry(address).or_insert(glance.at);
                }
                false
            });
        }
        let found = Arc::new(found);
        self.functions.lock().expect("no holder panics").insert(start, found.clone());
        found
    }
}

/// Where a function is entered: its first range is the one that begins with it.
fn entry_address<'a>(view: &View<'a>, of: &Entry<'a>) -> Option<u64> {
    view.address(of, gimli::DW_AT_low_pc).or_else(|| view.address(of, gimli::DW_AT_entry_pc)).or_else(|| {
        let mut ranges = view.dwarf.die_ranges(&of.unit, &of.raw).ok()?;
        ranges.next().ok().flatten().map(|range| range.begin)
    })
}

fn listed_code(view: &View<'_>) -> Vec<Code> {
    let mut code = Vec::new();
    let mut headers = view.dwarf.debug_aranges.headers();
    while let Ok(Some(header)) = headers.next() {
        let unit = header.debug_info_offset().0;
        let mut entries = header.entries();
        while let Ok(Some(entry)) = entries.next() {
            let range = entry.range();
            code.push(Code { start: range.begin, end: range.end, unit });
        }
    }
    code.sort_unstable();
    code
}

/// The units whose code has the address. Ranges hardly ever overlap: those that begin last before the address are few.
fn units_at(code: &[Code], address: u64) -> Vec<usize> {
    const MOST_OVERLAPPING: usize = 16;
    let after = code.partition_point(|part| part.start <= address);
    let candidates = code[after.saturating_sub(MOST_OVERLAPPING)..after].iter().rev();
    let mut units: Vec<usize> = candidates.filter(|part| address < part.end).map(|part| part.unit).collect();
    units.dedup();
    units
}

#[cfg(test)]
mod tests;
