//! BTF of programs of ours: functions, the maps of an object file, and for each place of the script its line, so that
//! the kernel's verifier and its tools quote the script (Documentation/bpf/btf.rst). Describes no type of the kernel.

use std::collections::HashMap;

use rtrace_lang::source::Source;

use super::{FunctionStart, ProgramObject};

/// What the kernel wants to know of one program's lines.
#[derive(Clone, Debug)]
pub struct DebugInfo {
    types: Types,
    /// `struct bpf_func_info`, one for each function: instruction and type id.
    pub func_info: Vec<u8>,
    /// `struct bpf_line_info` of 16 bytes each.
    pub line_info: Vec<u8>,
}

/// Lines longer than this are cut: the kernel quotes them in its log.
const LONGEST_LINE: usize = 200;

/// Columns share a word with lines (`BPF_LINE_INFO_LINE_COL`).
const LARGEST_COLUMN: u32 = 1023;

impl DebugInfo {
    /// The lines of a program of that script.
    pub fn of(program: &ProgramObject, source: &Source) -> DebugInfo {
        let mut types = Types::default();
        let int = types.int();
        let word = types.unsigned_long();
        let signatures = types.signatures(int, word);
        // Static functions, but for those that are to be verified by themselves.
        let functions: Vec<[u32; 2]> = program
            .functions
            .iter()
            .map(|function| {
                let linkage = if function.is_global { Linkage::Global } else { Linkage::Static };
                [function.instruction, types.function(&function.name, signatures.of(function), linkage).0]
            })
            .collect();
        let line_info = lines(&mut types, program, source);
        DebugInfo {
            types,
            func_info: words(functions.as_flattened()),
            line_info: line_info.iter().flat_map(|line| words(&line.0)).collect(),
        }
    }
}

/// The BTF that goes with the info.
pub fn btf(info: &DebugInfo) -> Vec<u8> {
    info.types.bytes()
}

/// Numbers of the types of the key and of the value in what `storage` describes.
pub const STORAGE_KEY: u32 = 1;
pub const STORAGE_VALUE: u32 = 3;

/// The BTF of a map of threads' values: the kernel wants keys of type int, and values of any type of the right size.
pub fn storage(value_bytes: u32) -> Vec<u8> {
    let mut types = Types::default();
    let int = types.int();
    let word = types.unsigned_long();
    types.array(word, int, value_bytes.div_ceil(8));
    types.bytes()
}

/// One `struct bpf_line_info`: instruction, offsets of the file's name and of the line's text, line and column.
pub struct LineInfo(pub [u32; 4]);

/// A line for each place of the script that the program comes from; the strings go to `types`.
pub fn lines(types: &mut Types, program: &ProgramObject, source: &Source) -> Vec<LineInfo> {
    let mut places = program.lines.clone();
    // The kernel wants a line for the first instruction of each function.
    for function in &program.functions {
        let at = places.partition_point(|(instruction, _)| *instruction < function.instruction);
        if let Some(first) = places.get_mut(at) {
            first.0 = function.instruction;
        }
    }
    let mut infos = Vec::new();
    for (instruction, span) in places {
        let place = source.locate(span);
        let (file, line) = (types.string(&clean(place.file)), types.string(&clean(place.whole_line)));
        infos.push(LineInfo([instruction, file, line, place.line << 10 | place.column.min(LARGEST_COLUMN)]));
    }
    infos
}

/// Control characters would end the kernel's line.
fn clean(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(LONGEST_LINE).collect()
}

/// Whether others may refer to a function or variable by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Linkage {
    Static = 0,
    Global = 1,
}

/// A type by its number; they count from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TypeId(pub u32);

/// A part of a section: which variable, where, and how large, in bytes.
pub struct SectionPart {
    pub variable: TypeId,
    pub offset: u32,
    pub bytes: u32,
}

/// The types of a program's functions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signatures {
    main: TypeId,
    function: TypeId,
    global: TypeId,
}

impl Signatures {
    pub fn of(&self, function: &FunctionStart) -> TypeId {
        match (function.instruction, function.is_global) {
            (0, _) => self.main,
            (_, false) => self.function,
            (_, true) => self.global,
        }
    }
}

/// Types and strings, in the order in which they are added.
#[derive(Clone, Debug)]
pub struct Types {
    records: Vec<u8>,
    count: u32,
    strings: Vec<u8>,
    known: HashMap<String, u32>,
}

impl Default for Types {
    fn default() -> Types {
        Types { records: Vec::new(), count: 0, strings: vec![0], known: HashMap::new() }
    }
}

// Kinds (include/uapi/linux/btf.h).
const INT: u32 = 1;
const POINTER: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
/// In the description of an int.
const SIGNED: u32 = 1 << 24;

impl Types {
    /// Offset of a string; the same text is kept once.
    fn string(&mut self, text: &str) -> u32 {
        if let Some(offset) = self.known.get(text) {
            return *offset;
        }
        let offset = self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        self.known.insert(text.to_string(), offset);
        offset
    }

    /// Offset of the name of a section of the file, which `.BTF.ext` refers to.
    pub fn section_name(&mut self, name: &str) -> u32 {
        self.string(name)
    }

    /// `kind`, its number of members or linkage, its size or type, and what follows.
    fn add(&mut self, name: &str, kind: u32, members: u32, size: u32, rest: &[u32]) -> TypeId {
        let name = if name.is_empty() { 0 } else { self.string(name) };
        self.records.extend(words(&[name, kind << 24 | members, size]));
        self.records.extend(words(rest));
        self.count += 1;
        TypeId(self.count)
    }

    pub fn int(&mut self) -> TypeId {
        self.add("int", INT, 0, 4, &[SIGNED | 32])
    }

    pub fn unsigned_long(&mut self) -> TypeId {
        self.add("unsigned long", INT, 0, 8, &[64])
    }

    pub fn array(&mut self, of: TypeId, index: TypeId, length: u32) -> TypeId {
        self.add("", ARRAY, 0, 0, &[of.0, index.0, length])
    }

    pub fn pointer(&mut self, to: TypeId) -> TypeId {
        self.add("", POINTER, 0, to.0, &[])
    }

    /// A struct without a name whose members are pointers.
    pub fn struct_of_pointers(&mut self, members: &[(&str, TypeId)]) -> TypeId {
        let mut rest = Vec::new();
        for (number, (name, ty)) in members.iter().enumerate() {
            rest.extend([self.string(name), ty.0, number as u32 * 64]);
        }
        self.add("", STRUCT, members.len() as u32, members.len() as u32 * 8, &rest)
    }

    /// What programs and their functions take. Whoever attaches to one of them (fentry) keeps only those registers over its
    /// own program that the types say are arguments: a function that takes more would go on with garbage. So functions
    /// have as many as there can be. Of global ones each must be given.
    pub fn signatures(&mut self, int: TypeId, word: TypeId) -> Signatures {
        let mut signature = |names: &[&str]| {
            let parameters: Vec<u32> = names.iter().flat_map(|name| [self.string(name), word.0]).collect();
            self.add("", FUNC_PROTO, names.len() as u32, int.0, &parameters)
        };
        Signatures {
            main: signature(&["context"]),
            function: signature(&["r1", "r2", "r3", "r4", "r5"]),
            global: signature(&["slot", "round"]),
        }
    }

    pub fn function(&mut self, name: &str, signature: TypeId, linkage: Linkage) -> TypeId {
        self.add(&identifier(name), FUNC, linkage as u32, signature.0, &[])
    }

    pub fn variable(&mut self, name: &str, of: TypeId) -> TypeId {
        self.add(&identifier(name), VAR, 0, of.0, &[Linkage::Global as u32])
    }

    pub fn section(&mut self, name: &str, bytes: u32, parts: &[SectionPart]) -> TypeId {
        let rest: Vec<u32> = parts.iter().flat_map(|part| [part.variable.0, part.offset, part.bytes]).collect();
        self.add(name, DATASEC, parts.len() as u32, bytes, &rest)
    }

    /// The whole, as the kernel and the `.BTF` section take it.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = header();
        let types = self.records.len() as u32;
        out.extend(words(&[24, 0, types, types, self.strings.len() as u32]));
        out.extend_from_slice(&self.records);
        out.extend_from_slice(&self.strings);
        out
    }
}

/// Magic, version and flags: what BTF and its extension both begin with.
pub fn header() -> Vec<u8> {
    let mut out = 0xeb9fu16.to_le_bytes().to_vec();
    out.extend_from_slice(&[1, 0]);
    out
}

/// The kernel takes names that C could have.
pub fn identifier(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

pub fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
