//! Lines of source code of addresses in files, and the functions that the compiler has inlined there: from DWARF, in the
//! file itself or in the one that its build id or debug link names. Read only for scripts that ask for it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{CodeInfo, Input, Symbolized, Symbolizer};
use rtrace_probes::elf::Binary;
use rtrace_probes::elf::{debug_file, unpacked};

use super::memory_file;
use super::process::{FileId, Files};

/// Where an address is in the source.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SourcePlace {
    /// `file.c:12`; None where it is unknown.
    pub line: Option<String>,
    /// Functions that were inlined there, and their lines: the innermost first.
    pub inlined: Vec<(String, Option<String>)>,
}

/// A file with debug information.
struct Debugged {
    /// Turns offsets in it into addresses.
    binary: Binary,
    /// The file with the debug information.
    path: PathBuf,
    /// What the path leads to, where it had to be unpacked.
    _unpacked: Option<File>,
}

impl Debugged {
    fn open(path: &Path) -> Option<Debugged> {
        let (binary, path) = (Binary::open(path).ok()?, debug_file(path)?);
        let whole = unpacked(&path).and_then(|bytes| memory_file::holding(&bytes));
        let path = whole.as_ref().map_or(path, memory_file::path);
        Some(Debugged { binary, path, _unpacked: whole })
    }
}

/// The debug information of files.
pub(super) struct SourceLines {
    /// None for files that have no debug information.
    files: HashMap<FileId, Option<Debugged>>,
    known: HashMap<(FileId, u64), SourcePlace>,
    symbolizer: Symbolizer,
}

impl SourceLines {
    pub(super) fn new() -> SourceLines {
        let symbolizer = Symbolizer::builder()
            .enable_auto_reload(false)
            .enable_code_info(true)
            .enable_inlined_fns(true)
            .enable_demangling(true)
            .build();
        SourceLines { files: HashMap::new(), known: HashMap::new(), symbolizer }
    }

    /// The place of each offset in a file, in the same order.
    pub(super) fn find(&mut self, places: &[Option<(FileId, u64)>], files: &Files) -> Vec<SourcePlace> {
        let mut wanted: BTreeMap<FileId, Vec<u64>> = BTreeMap::new();
        for (file, offset) in places.iter().flatten() {
            if !self.known.contains_key(&(*file, *offset)) {
                wanted.entry(*file).or_default().push(*offset);
            }
        }
        for (file, mut offsets) in wanted {
            offsets.sort_unstable();
            offsets.dedup();
            for (offset, place) in offsets.iter().zip(self.look_up(file, &offsets, files)) {
                self.known.insert((file, *offset), place);
            }
        }
        let known = |place: &Option<(FileId, u64)>| self.known.get(place.as_ref()?).cloned();
        places.iter().map(|place| known(place).unwrap_or_default()).collect()
    }

    fn look_up(&mut self, file: FileId, offsets: &[u64], files: &Files) -> Vec<SourcePlace> {
        let debug = self.files.entry(file).or_insert_with(|| Debugged::open(&files.path(file)?));
        let Some(Debugged { binary, path, .. }) = debug else { return vec![SourcePlace::default(); offsets.len()] };
        let addresses: Vec<u64> = offsets.iter().map(|offset| binary.address_at(*offset).unwrap_or(0)).collect();
        let source = Source::Elf(Elf::new(path.clone()));
        // What can't be read has no lines.
        let found = self.symbolizer.symbolize(&source, Input::VirtOffset(&addresses)).unwrap_or_default();
        let mut places: Vec<SourcePlace> = found.iter().map(place).collect();
        places.resize(offsets.len(), SourcePlace::default());
        places
    }
}

fn place(found: &Symbolized<'_>) -> SourcePlace {
    match found {
        Symbolized::Sym(symbol) => {
            let inlined = symbol.inlined.iter().rev();
            SourcePlace {
                line: symbol.code_info.as_deref().and_then(line),
                inlined: inlined.map(|f| (f.name.to_string(), f.code_info.as_ref().and_then(line))).collect(),
            }
        }
        Symbolized::Unknown(_) => SourcePlace::default(),
    }
}

/// `file.c:12`, without the directory.
fn line(info: &CodeInfo<'_>) -> Option<String> {
    let name = Path::new(&*info.file).file_name()?.to_string_lossy().into_owned();
    Some(format!("{name}:{}", info.line?))
}

#[cfg(test)]
mod tests {
    use super::super::UserSymbols;

    #[inline(never)]
    extern "C" fn lines_target(x: u64) -> u64 {
        std::hint::black_box(x.rotate_left(13) + 5)
    }

    #[test]
    fn own_lines() {
        let first = line!() - 6;
        assert_ne!(std::hint::black_box(lines_target)(1), 0);
        let start = lines_target as *const () as u64;
        let mut symbols = UserSymbols::new();
        let found = symbols.source_places(std::process::id(), &[start, 1]);
        let (file, line) = found[0].line.as_deref().and_then(|line| line.split_once(':')).expect("tests have lines");
        let line: u32 = line.parse().expect("a number");
        assert!(file == "lines.rs" && (first..first + 4).contains(&line), "{found:?}, not near {first}");
        assert_eq!(found[1].line, None);
    }
}
