//! Addresses of processes to names: from the symbol tables of what they had mapped, and from the map files that
//! just-in-time compilers write. Never stops a process.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use blazesym::helper::read_elf_build_id;
use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{Input, Symbolized, Symbolizer};

use rtrace_probes::elf::{Binary, Function, shown_name};

use super::Symbol;
use super::jit::JitMap;
use super::lines::{SourceLines, SourcePlace};
use super::mappings::MappingEvent;
use super::process::{FileId, Files};
use super::processes::{Missing, Processes};

/// For so long what was not found is not looked for again: the ends of many stacks are no addresses of code.
const MISSING_FOR: Duration = Duration::from_millis(50);

/// Code of a file in the memory of a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MappedCode {
    pub start: u64,
    pub end: u64,
    pub file_offset: u64,
    /// Where the file can be read.
    pub path: PathBuf,
    /// As the process names it.
    pub name: PathBuf,
}

/// The symbol tables of processes.
pub struct UserSymbols {
    files: Files,
    processes: Processes,
    /// By file and file offset: processes that run the same file share them.
    known: HashMap<(FileId, u64), Symbol>,
    /// In hexadecimal; None for files that have none.
    build_ids: HashMap<FileId, Option<String>>,
    /// Functions of files that the first look gives no name for, by their offsets in the file.
    elsewhere: HashMap<FileId, Vec<Function>>,
    /// None until a script asks for lines.
    lines: Option<SourceLines>,
    /// None until a name is asked for.
    symbolizer: Option<Symbolizer>,
    /// Names are shown as the file has them.
    mangled: bool,
    unknown: Option<Unknown>,
}

/// A process of which a stack has no name at all, since nobody knows what it had mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unknown {
    pub pid: u32,
    /// It may not be looked at; otherwise it has ended.
    pub is_refused: bool,
}

fn symbolizer(mangled: bool) -> Symbolizer {
    // The open files that the paths stand for never change.
    Symbolizer::builder()
        .enable_auto_reload(false)
        .enable_code_info(false)
        .enable_inlined_fns(false)
        .enable_demangling(!mangled)
        .build()
}

/// A function's name as it is shown.
fn shown(name: &str, mangled: bool) -> String {
    if mangled { name.to_string() } else { shown_name(name).into_owned() }
}

impl Unknown {
    /// None for a process that can be looked at.
    fn of(pid: u32) -> Option<Unknown> {
        let is_refused = match fs::read(format!("/proc/{pid}/maps")) {
            Ok(text) if !text.is_empty() => return None,
            // One that has ended and is not waited for yet maps nothing.
            Ok(_) => false,
            Err(error) => error.kind() == ErrorKind::PermissionDenied,
        };
        Some(Unknown { pid, is_refused })
    }
}

impl Default for UserSymbols {
    fn default() -> UserSymbols {
        UserSymbols::new()
    }
}

impl UserSymbols {
    pub fn new() -> UserSymbols {
        UserSymbols::named(false)
    }

    /// `mangled`: names are shown as the files have them.
    pub fn named(mangled: bool) -> UserSymbols {
        UserSymbols {
            files: Files::default(),
            processes: Processes::default(),
            known: HashMap::new(),
            build_ids: HashMap::new(),
            elsewhere: HashMap::new(),
            lines: None,
            symbolizer: None,
            mangled,
            unknown: None,
        }
    }

    /// Remembers what the process has mapped, so that its addresses can be resolved after it has ended. Costs nothing
    /// for a process that is known; call it for each process as soon as one of its addresses is seen.
    pub fn note_process(&mut self, pid: u32) {
        self.processes.note(pid, &mut self.files);
    }

    /// A file that processes will have mapped, as the tool itself names it: another root may be theirs.
    pub fn expect_file(&mut self, path: &Path) {
        self.files.expect(path.to_path_buf());
    }

    /// The first such process since the last call.
    pub fn take_unknown(&mut self) -> Option<Unknown> {
        self.unknown.take()
    }

    /// Takes in what the kernel says of a process's code: exact also for one that has ended.
    pub fn note_mapping(&mut self, event: MappingEvent) {
        self.processes.take_in(event, &mut self.files);
    }

    /// The function that each address of the process lies in, in the same order.
    pub fn resolve(&mut self, pid: u32, addresses: &[u64]) -> Vec<Option<Symbol>> {
        let mut places = self.locate(pid, addresses);
        let process = self.processes.note(pid, &mut self.files);
        let outdated = process.newest().is_some_and(|snapshot| snapshot.is_outdated(pid));
        let missing = process.missing.take().filter(|missing| !outdated && missing.since.elapsed() <= MISSING_FOR);
        let mut missing =
            missing.unwrap_or_else(|| Box::new(Missing { since: Instant::now(), addresses: HashSet::new() }));
        let is_new = |(place, address): (&Option<_>, &u64)| place.is_none() && !missing.addresses.contains(address);
        if outdated || places.iter().zip(addresses).any(is_new) {
            self.processes.refresh(pid, &mut self.files);
            places = self.locate(pid, addresses);
        }
        self.look_up(&places);
        let process = self.processes.note(pid, &mut self.files);
        let mut found = Vec::with_capacity(addresses.len());
        for (place, address) in places.iter().zip(addresses) {
            let symbol = match place {
                Some(place) => self.known.get(place).cloned(),
                None if missing.addresses.contains(address) => None,
                None => process.jitted.get_or_insert_with(|| Box::new(JitMap::new(pid))).find(*address),
            };
            if place.is_none() && symbol.is_none() {
                missing.addresses.insert(*address);
            }
            found.push(symbol);
        }
        process.missing = Some(missing);
        if self.unknown.is_none() && found.iter().all(Option::is_none) && !found.is_empty() {
            self.unknown = Unknown::of(pid);
        }
        found
    }

    /// What the process has mapped of code now, as far as it is known, by address.
    pub fn code(&self, pid: u32) -> Vec<MappedCode> {
        let newest = self.processes.get(pid).and_then(|process| process.newest());
        newest.map_or_else(Vec::new, |snapshot| snapshot.code(&self.files))
    }

    /// `BUILDID 0xOFFSET` of each address of the process: the file that it lies in, and where.
    pub fn build_ids(&mut self, pid: u32, addresses: &[u64]) -> Vec<Option<Arc<str>>> {
        let places = self.locate(pid, addresses);
        let mut show = |(file, offset): (FileId, u64)| {
            let files = &self.files;
            let id = self.build_ids.entry(file).or_insert_with(|| {
                let id = read_elf_build_id(&files.path(file)?).ok().flatten()?;
                Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
            });
            Some(format!("{} {offset:#x}", id.as_ref()?).into())
        };
        places.into_iter().map(|place| show(place?)).collect()
    }

    /// Where in the source each address of the process is.
    pub fn source_places(&mut self, pid: u32, addresses: &[u64]) -> Vec<SourcePlace> {
        let places = self.locate(pid, addresses);
        self.lines.get_or_insert_with(SourceLines::new).find(&places, &self.files)
    }

    fn locate(&mut self, pid: u32, addresses: &[u64]) -> Vec<Option<(FileId, u64)>> {
        let process = self.processes.note(pid, &mut self.files);
        addresses.iter().map(|address| process.locate(*address)).collect()
    }

    /// Adds what is not known yet, file by file.
    fn look_up(&mut self, places: &[Option<(FileId, u64)>]) {
        let mut wanted: BTreeMap<FileId, Vec<u64>> = BTreeMap::new();
        for (file, offset) in places.iter().flatten() {
            if !self.known.contains_key(&(*file, *offset)) {
                wanted.entry(*file).or_default().push(*offset);
            }
        }
        for (file, mut offsets) in wanted {
            offsets.sort_unstable();
            offsets.dedup();
            let module: Arc<str> = self.files.name(file).display().to_string().into();
            let path = self.files.path(file);
            let symbolizer = self.symbolizer.get_or_insert_with(|| symbolizer(self.mangled));
            let found = path.and_then(|path| {
                let mut elf = Elf::new(path);
                elf.debug_syms = false;
                symbolizer.symbolize(&Source::Elf(elf), Input::FileOffset(&offsets)).ok()
            });
            // A file that can't be read, or is no ELF file, has no names.
            let named = |symbol: &Symbolized<'_>| match symbol {
                Symbolized::Sym(symbol) => Some((shown(&symbol.name, self.mangled), symbol.offset as u64)),
                Symbolized::Unknown(_) => None,
            };
            let mut found: Vec<Option<(String, u64)>> = found.unwrap_or_default().iter().map(named).collect();
            found.resize(offsets.len(), None);
            for (found, offset) in found.into_iter().zip(&offsets) {
                let symbol = match found.or_else(|| self.find_elsewhere(file, *offset)) {
                    Some((name, from)) => Symbol::new(Some(&name), from, Some(module.clone())),
                    None => Symbol::new(None, *offset, Some(module.clone())),
                };
                self.known.insert((file, *offset), symbol);
            }
        }
    }
}

impl UserSymbols {
    /// The function that has the code at an offset of a stripped file, by what `.gnu_debugdata` or a file with debug
    /// information has kept of its names, and the bytes from its start.
    fn find_elsewhere(&mut self, file: FileId, offset: u64) -> Option<(String, u64)> {
        let mangled = self.mangled;
        let functions = self
            .elsewhere
            .entry(file)
            .or_insert_with(|| self.files.path(file).map_or_else(Vec::new, |path| by_offset(&path)));
        let at = functions.partition_point(|function| function.address <= offset).checked_sub(1)?;
        let function = &functions[at];
        let from = offset - function.address;
        (from < function.size).then(|| (shown(&function.name, mangled), from))
    }
}

/// The functions of a file, their addresses turned into offsets in it, in this order, and each by one name.
fn by_offset(path: &Path) -> Vec<Function> {
    let Ok(binary) = Binary::open(path) else { return Vec::new() };
    let place = |function: &Function| {
        let address = binary.file_offset(function.address)?;
        Some(Function { address, ..function.clone() })
    };
    let mut functions: Vec<Function> = binary.functions().iter().filter_map(place).collect();
    functions.sort_unstable_by(|a, b| (a.address, a.plainness()).cmp(&(b.address, b.plainness())));
    functions.dedup_by_key(|function| function.address);
    functions
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[inline(never)]
    extern "C" fn symbols_target(x: u64) -> u64 {
        std::hint::black_box(x.rotate_left(11) + 3)
    }

    #[test]
    fn own_functions_have_names() {
        assert_ne!(std::hint::black_box(symbols_target)(1), 0);
        let mut symbols = UserSymbols::new();
        let start = symbols_target as *const () as u64;
        let started = std::time::Instant::now();
        let found = symbols.resolve(std::process::id(), &[start + 4, libc::getpid as *const () as u64, 1]);
        println!("first time: {:?}", started.elapsed());
        assert!(found[0].as_ref().is_some_and(|symbol| symbol.shown.ends_with("::symbols_target+4")), "{found:?}");
        assert!(found[1].as_ref().is_some_and(|symbol| symbol.shown.contains("getpid")), "{found:?}");
        assert_eq!(found[2], None);
        let rust = symbols.resolve(std::process::id(), &[UserSymbols::new as *const () as u64]);
        let name = rust[0].as_ref().and_then(|symbol| symbol.name.clone()).expect("it has a name");
        assert!(name.ends_with("UserSymbols::new"), "{name}");
    }

    #[test]
    fn ended_processes_keep_their_names() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // The program is running once it answers.
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        std::io::Write::write_all(&mut input, b"x").unwrap();
        std::io::Read::read_exact(&mut output, &mut [0]).unwrap();
        let mut symbols = UserSymbols::new();
        symbols.note_process(child.id());
        let maps = fs::read_to_string(format!("/proc/{}/maps", child.id())).unwrap();
        let Some(libc_line) = maps.lines().find(|line| line.contains("/libc") && line.contains("r-xp")) else {
            println!("skipped: cat is linked without the C library here");
            _ = child.kill();
            child.wait().unwrap();
            return;
        };
        let start = u64::from_str_radix(libc_line.split('-').next().unwrap(), 16).unwrap();
        drop(input);
        child.wait().unwrap();
        let addresses: Vec<u64> = (0..64).map(|index| start + 0x20000 + index * 4096).collect();
        let found = symbols.resolve(child.id(), &addresses);
        // A stripped library names only what it exports.
        assert!(found.iter().flatten().filter(|symbol| symbol.name.is_some()).count() > 4, "{found:?}");
        let unnamed =
            found.iter().flatten().find(|symbol| symbol.name.is_none()).map(|symbol| symbol.shown.to_string());
        assert!(unnamed.is_none_or(|place| place.starts_with("[libc") && place.contains("]+0x")), "{found:?}");
        assert!(found.iter().flatten().all(|symbol| symbol.module.as_ref().unwrap().contains("libc")));
    }
}
