//! Executables and libraries that user-space probes go into: which file a target means, which functions it has and
//! where in the file they are. Maps files and touches only the parts that are needed. Never touches a process's memory.

mod archive;
mod dlang;
mod locate;
mod names;
mod notes;
mod stripped;

pub use crate::dwarf::{debug_file, search_debug_files_in, unpacked};
pub use archive::{file_of, open as open_bytes};
pub use locate::{Located, has_mapped, locate, locate_expected, near_names};
pub use names::{Language, shown as shown_name};
pub use notes::Note;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use object::read::elf::ElfFile64;
use object::{Architecture, Object, ObjectKind, ObjectSegment, ObjectSymbol, SymbolKind};

use rtrace_lang::probe::wildcard_match;

use crate::kernel::mapping::FileBytes;

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is no executable or library: {reason}", .path.display())]
    NotAnElf { path: PathBuf, reason: String },
    #[error("no executable or library `{name}`")]
    NotFound { name: String },
    /// What is asked for in an archive is not there.
    #[error("{message}")]
    Archive { message: String, near: Vec<String> },
}

/// One function of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    /// As the symbol table has it.
    pub name: String,
    /// The file's own address of it.
    pub address: u64,
    /// Bytes; 0 where the symbol table does not say.
    pub size: u64,
    /// Whether other files may call it by this name.
    pub is_exported: bool,
}

impl Function {
    /// Of several names of one function the smallest is the one that it goes by: one that others call it by, then the plainest.
    pub fn plainness(&self) -> (bool, bool, usize, usize, &str) {
        let underscores = self.name.bytes().take_while(|byte| *byte == b'_').count();
        (self.size == 0, !self.is_exported, underscores, self.name.len(), &self.name)
    }
}

/// A part of the file that is mapped.
#[derive(Clone, Copy, Debug)]
struct Segment {
    address: u64,
    file_offset: u64,
    bytes: u64,
    is_code: bool,
}

impl Segment {
    fn offset_of(&self, address: u64) -> u64 {
        self.file_offset + (address - self.address)
    }
}

/// A function or a variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Symbol {
    /// The file's own address of it.
    pub address: u64,
    /// 0 where the symbol table does not say.
    pub bytes: u64,
}

/// An ELF file.
pub struct Binary {
    path: PathBuf,
    bytes: FileBytes,
    segments: Vec<Segment>,
    architecture: Architecture,
    is_relocatable: bool,
    functions: OnceCell<Vec<Function>>,
    chosen_at_start: OnceCell<BTreeSet<String>>,
}

impl Binary {
    pub fn open(path: &Path) -> Result<Binary, ElfError> {
        let bytes = archive::open(path)?;
        let before = bytes.start() as u64;
        let malformed =
            |error: object::Error| ElfError::NotAnElf { path: path.to_path_buf(), reason: error.to_string() };
        let (segments, architecture, is_relocatable) = {
            let object = object::File::parse(bytes.as_slice()).map_err(malformed)?;
            let is_code = |segment: &object::Segment<'_, '_>| match segment.flags() {
                object::SegmentFlags::Elf { p_flags, .. } => p_flags & object::elf::PF_X != 0,
                _ => false,
            };
            let segments = object.segments().map(|segment| {
                let (file_offset, bytes) = segment.file_range();
                let file_offset = file_offset + before;
                Segment { address: segment.address(), file_offset, bytes, is_code: is_code(&segment) }
            });
            (segments.collect(), object.architecture(), object.kind() == ObjectKind::Dynamic)
        };
        let path = path.to_path_buf();
        Ok(Binary {
            path,
            bytes,
            segments,
            architecture,
            is_relocatable,
            functions: OnceCell::new(),
            chosen_at_start: OnceCell::new(),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The functions that the file defines, from all symbol tables, sorted by name, without duplicates.
    pub fn functions(&self) -> &[Function] {
        self.functions.get_or_init(|| self.read_functions(|_, _| true))
    }

    /// Those of the functions that are wanted by their names and addresses: nothing is kept of the others.
    fn read_functions(&self, is_wanted: impl Fn(&[u8], Range<u64>) -> bool) -> Vec<Function> {
        let Ok(object) = object::File::parse(self.bytes.as_slice()) else { return Vec::new() };
        let mut functions = functions_of(&object, &is_wanted);
        functions.extend(stripped::functions(self, &object, &is_wanted));
        functions.retain(|function| self.file_offset(function.address).is_some());
        // The dynamic symbol table has some of them once more.
        let place = |function: &Function| (function.address, function.size, !function.is_exported);
        functions.sort_unstable_by(|a, b| a.name.cmp(&b.name).then_with(|| place(a).cmp(&place(b))));
        functions.dedup_by(|a, b| (&a.name, a.address, a.size) == (&b.name, b.address, b.size));
        functions
    }

    /// Whether the name is one that is bound to one of several functions when a program starts (STT_GNU_IFUNC): its own code only
    /// chooses. Such a name may be that of an older version's function as well.
    pub fn is_chosen_at_start(&self, name: &str) -> bool {
        let chosen = self.chosen_at_start.get_or_init(|| {
            let Ok(object) = object::File::parse(self.bytes.as_slice()) else { return BTreeSet::new() };
            let chooses = |symbol: object::Symbol<'_, '_>| {
                let object::SymbolFlags::Elf { st_info, .. } = symbol.flags() else { return None };
                if st_info & 0xf != STT_GNU_IFUNC || symbol.is_undefined() {
                    return None;
                }
                symbol.name().ok()?.split('@').next().map(str::to_string)
            };
            object.symbols().chain(object.dynamic_symbols()).filter_map(chooses).collect()
        });
        chosen.contains(name)
    }

    /// Functions of that name: as in the symbol table, or demangled, with or without its parameters.
    pub fn functions_named(&self, name: &str) -> Vec<Cow<'_, Function>> {
        let exact = self.read_functions(|known, _| known == name.as_bytes());
        if !exact.is_empty() {
            return exact.into_iter().map(Cow::Owned).collect();
        }
        let is_meant = |function: &&Function| names::is_demangled(name, &function.name);
        self.functions().iter().filter(is_meant).map(Cow::Borrowed).collect()
    }

    /// The names of C++ and Rust, as people write them.
    pub fn demangled_names(&self) -> Vec<String> {
        self.functions().iter().flat_map(|function| names::demangled(&function.name)).collect()
    }

    /// Functions whose names, as in the symbol table or demangled, match a pattern.
    pub fn functions_matching(&self, pattern: &str) -> Vec<&Function> {
        let matches = |function: &&Function| {
            wildcard_match(pattern, &function.name)
                || names::demangled(&function.name).iter().any(|name| wildcard_match(pattern, name))
        };
        self.functions().iter().filter(matches).collect()
    }

    /// The function whose code has that address, by its plainest name.
    pub fn function_at(&self, address: u64) -> Option<Function> {
        self.functions_at(&BTreeSet::from([address])).remove(&address)
    }

    /// The functions whose code has those addresses, by them.
    pub fn functions_at(&self, addresses: &BTreeSet<u64>) -> BTreeMap<u64, Function> {
        let mut found: BTreeMap<u64, Function> = BTreeMap::new();
        for function in self.read_functions(|_, code| addresses.range(code).next().is_some()) {
            for address in addresses.range(function.address..function.address.saturating_add(function.size)) {
                let known = found.get(address);
                if known.is_none_or(|known| function.plainness() < known.plainness()) {
                    found.insert(*address, function.clone());
                }
            }
        }
        found
    }

    /// Where in the file the code at an address is.
    pub fn file_offset(&self, address: u64) -> Option<u64> {
        self.segment_of(address).filter(|segment| segment.is_code).map(|segment| segment.offset_of(address))
    }

    /// Where in the file the initial value of a variable is.
    pub fn data_offset(&self, address: u64) -> Option<u64> {
        self.segment_of(address).map(|segment| segment.offset_of(address))
    }

    fn segment_of(&self, address: u64) -> Option<&Segment> {
        let inside = |segment: &&Segment| address.checked_sub(segment.address).is_some_and(|at| at < segment.bytes);
        self.segments.iter().find(inside)
    }

    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// True for libraries and programs that are loaded anywhere: their addresses begin at nearly 0.
    pub fn is_relocatable(&self) -> bool {
        self.is_relocatable
    }

    /// The address of a function or variable, by its name in the symbol table; None where the file has no such name, or
    /// several things of it.
    pub fn symbol(&self, name: &str) -> Option<Symbol> {
        let object = object::File::parse(self.bytes.as_slice()).ok()?;
        let is_meant = |symbol: &object::Symbol<'_, '_>| {
            symbol.is_definition()
                && matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Data | SymbolKind::Unknown)
                && symbol.name().is_ok_and(|known| known.split('@').next() == Some(name))
        };
        let found: Vec<Symbol> = object
            .symbols()
            .chain(object.dynamic_symbols())
            .filter(is_meant)
            .map(|symbol| Symbol { address: symbol.address(), bytes: symbol.size() })
            .collect();
        let first = *found.first()?;
        found.iter().all(|symbol| symbol.address == first.address).then_some(first)
    }

    /// The file's own address of the code at an offset in it.
    pub fn address_at(&self, offset: u64) -> Option<u64> {
        let inside = |segment: &&Segment| {
            segment.is_code && offset.checked_sub(segment.file_offset).is_some_and(|at| at < segment.bytes)
        };
        self.segments.iter().find(inside).map(|segment| segment.address + (offset - segment.file_offset))
    }

    /// Where an instruction of the function begins at the address (then twice), or the last one before it and the next
    /// one: a breakpoint anywhere else breaks the program. None where that can't be found out.
    pub fn instructions_at(&self, function: &Function, address: u64) -> Option<(u64, u64)> {
        let mut before = function.address;
        if address == before {
            return Some((before, before));
        }
        let is_whole = |at: u64| function.size == 0 || at < function.address + function.size;
        for next in self.instructions(function)? {
            if next >= address {
                let next = if is_whole(next) { next } else { before };
                return Some(if next == address { (next, next) } else { (before, next) });
            }
            before = next;
        }
        Some((before, before)).filter(|(at, _)| *at == address)
    }

    /// What was added to the file's own addresses where its code at that offset was mapped to `start`.
    pub fn bias_of_code(&self, start: u64, offset: u64) -> Option<u64> {
        // Mappings begin at whole pages, before the code itself.
        let covers = |segment: &&Segment| segment.is_code && offset <= segment.file_offset + segment.bytes;
        let segment = self.segments.iter().find(covers)?;
        Some(start.wrapping_sub(offset).wrapping_sub(segment.address.wrapping_sub(segment.file_offset)))
    }

    /// What is added to the start of a mapping of code less its offset in the file for that, where it is the same for all code.
    pub fn code_distance(&self) -> Option<u64> {
        let mut distances = self.segments.iter().filter(|segment| segment.is_code);
        let distance = |segment: &Segment| segment.file_offset.wrapping_sub(segment.address);
        let first = distance(distances.next()?);
        distances.all(|segment| distance(segment) == first).then_some(first)
    }

    /// True if an instruction of the function begins at the address.
    pub fn is_instruction(&self, function: &Function, address: u64) -> bool {
        self.instructions_at(function, address).is_some_and(|(before, _)| before == address)
    }

    /// The addresses behind each instruction of a function, as far as they can be told apart.
    fn instructions(&self, function: &Function) -> Option<impl Iterator<Item = u64>> {
        let mut decoder = self.decoder(function)?;
        let mut instruction = iced_x86::Instruction::default();
        Some(std::iter::from_fn(move || {
            if !decoder.can_decode() {
                return None;
            }
            decoder.decode_out(&mut instruction);
            (!instruction.is_invalid()).then(|| decoder.ip())
        }))
    }

    /// The addresses of the instructions at which a function returns; None where not all of it can be read.
    pub fn returns(&self, function: &Function) -> Option<Vec<u64>> {
        let mut found = Vec::new();
        let mut decoder = self.decoder(function)?;
        while decoder.can_decode() {
            let instruction = decoder.decode();
            if instruction.is_invalid() {
                return None;
            }
            if instruction.mnemonic() == iced_x86::Mnemonic::Ret {
                found.push(instruction.ip());
            }
        }
        Some(found)
    }

    fn decoder(&self, function: &Function) -> Option<iced_x86::Decoder<'_>> {
        if self.architecture != Architecture::X86_64 || function.size == 0 {
            return None;
        }
        let start = self.file_offset(function.address)? - self.bytes.start() as u64;
        let code = self.bytes.as_slice().get(start as usize..start.saturating_add(function.size) as usize)?;
        Some(iced_x86::Decoder::with_ip(64, code, function.address, iced_x86::DecoderOptions::NONE))
    }

    /// The names of the libraries that it is linked with.
    pub fn libraries(&self) -> Vec<String> {
        let file = ElfFile64::<object::LittleEndian>::parse(self.bytes.as_slice());
        let Ok(file) = file else { return Vec::new() };
        let (endian, sections) = (file.endian(), file.elf_section_table());
        let Ok(Some((entries, strings))) = sections.dynamic(endian, self.bytes.as_slice()) else { return Vec::new() };
        let Ok(strings) = sections.strings(endian, self.bytes.as_slice(), strings) else { return Vec::new() };
        let is_needed =
            |entry: &&object::elf::Dyn64<object::LittleEndian>| entry.d_tag.get(endian) == object::elf::DT_NEEDED;
        let name = |entry: &object::elf::Dyn64<object::LittleEndian>| {
            let name = strings.get(entry.d_val.get(endian) as u32).ok()?;
            Some(String::from_utf8_lossy(name).into_owned())
        };
        entries.iter().filter(is_needed).filter_map(name).collect()
    }

    /// True for programs that Go's compiler has made: they move their stacks, which no probe of returns survives.
    pub fn is_go(&self) -> bool {
        let Ok(object) = object::File::parse(self.bytes.as_slice()) else { return false };
        [".go.buildinfo", ".note.go.buildid"].iter().any(|name| object.section_by_name(name).is_some())
    }
}

/// The type of such a symbol (gABI supplement, elf.h).
const STT_GNU_IFUNC: u8 = 10;

/// The functions of the symbol tables of a file that are wanted by their names and addresses.
fn functions_of(object: &object::File<'_>, is_wanted: &impl Fn(&[u8], Range<u64>) -> bool) -> Vec<Function> {
    let is_function = |symbol: &object::Symbol<'_, '_>| {
        symbol.kind() == SymbolKind::Text && symbol.is_definition() && symbol.address() != 0
    };
    let function = |symbol: object::Symbol<'_, '_>, is_exported: bool| {
        // `memcpy@@GLIBC_2.14` of a linked file's table is `memcpy` in the dynamic one.
        let name = symbol.name_bytes().ok()?.split(|byte| *byte == b'@').next()?;
        let (address, size) = (symbol.address(), symbol.size());
        if name.is_empty() || !is_wanted(name, address..address.saturating_add(size)) {
            return None;
        }
        let name = str::from_utf8(name).ok()?.to_string();
        Some(Function { name, address, size, is_exported })
    };
    let own = object.symbols().filter(is_function).filter_map(|symbol| function(symbol, false));
    let exported = object.dynamic_symbols().filter(is_function).filter_map(|symbol| function(symbol, true));
    own.chain(exported).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    extern "C" fn elf_test_target(x: u64) -> u64 {
        std::hint::black_box(x.rotate_left(7) ^ 0x5bd1_e995)
    }

    #[test]
    fn own_functions() {
        assert_ne!(std::hint::black_box(elf_test_target)(1), 0);
        let own = Binary::open(Path::new("/proc/self/exe")).unwrap();
        let found = own.functions_named("rtrace_probes::elf::tests::elf_test_target");
        assert_eq!(found.len(), 1);
        let function = &found[0];
        let offset = own.file_offset(function.address);
        assert_eq!(offset.and_then(|offset| own.address_at(offset)), Some(function.address));
        assert_eq!(own.function_at(function.address).map(|found| found.address), Some(function.address));
        assert!(own.is_instruction(function, function.address));
        let starts = (0..function.size).filter(|at| own.is_instruction(function, function.address + at)).count();
        assert!(starts > 1 && (starts as u64) < function.size, "{starts} of {}", function.size);
        assert_eq!(own.functions_named("rtrace_probes::elf::tests::own_functions").len(), 1);
        assert!(own.functions_named("no_such_function_at_all").is_empty());
    }

    #[test]
    fn the_plainest_name() {
        let named = |name: &str, is_exported: bool| Function { name: name.into(), address: 1, size: 1, is_exported };
        let names = [
            named("__GI___libc_malloc", false),
            named("malloc", true),
            named("__libc_malloc", true),
            named("exact", false),
            named("malloc_", true),
        ];
        let plainest = names.iter().min_by_key(|function| function.plainness());
        assert_eq!(plainest.map(|function| &*function.name), Some("malloc"));
        // A name that is in both tables is exported, and there once.
        let libc = Binary::open(&locate("libc", None).unwrap()[0].path).unwrap();
        let found = libc.functions_named("malloc");
        assert!(found.len() == 1 && found[0].is_exported, "{found:?}");
        assert_eq!(libc.function_at(found[0].address).map(|function| function.name).as_deref(), Some("malloc"));
    }

    #[test]
    fn other_files_are_errors() {
        assert!(matches!(Binary::open(Path::new("/etc/passwd")), Err(ElfError::NotAnElf { .. })));
        assert!(matches!(Binary::open(Path::new("/proc")), Err(ElfError::NotAnElf { .. })));
        assert!(matches!(Binary::open(Path::new("/no/such/file")), Err(ElfError::File { .. })));
    }
}
