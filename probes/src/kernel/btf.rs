//! The kernel's type information (BTF), read lazily from a memory map: a look-up by name searches the string section
//! and then the types, through an index from ids to offsets that the first look-up makes. Never copies the blob and never
//! converts all of it. Format: Documentation/bpf/btf.rst.
//!
//! Damaged data never panic: every read is checked and a broken record ends the walk.

mod convert;
mod declare;
mod names;
#[cfg(test)]
mod tests;

pub use convert::{Access, Parameter, Prototype};

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use memchr::memmem;
use object::{Object, ObjectSection};

use super::KernelError;
use super::mapping::FileBytes;
use names::Names;

/// Where the kernel shows its own types and, in a file each, those of its modules.
pub const BTF_DIRECTORY: &str = "/sys/kernel/btf";

/// First half-word of a BTF blob in the host's byte order.
const MAGIC: u16 = 0xeb9f;

/// Bytes of `struct btf_header` and `struct btf_type`.
const HEADER_BYTES: usize = 24;
const TYPE_BYTES: usize = 12;

/// Ids of one blob stay below this (include/uapi/linux/btf.h, `BTF_MAX_TYPE`); the bits above it name the blob.
pub const SOURCE_SHIFT: u32 = 20;

/// `BTF_KIND_*`
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    Datasec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
}

/// All kinds, in the order of their numbers, which begin at 1.
const KINDS: [Kind; 19] = [
    Kind::Int,
    Kind::Ptr,
    Kind::Array,
    Kind::Struct,
    Kind::Union,
    Kind::Enum,
    Kind::Fwd,
    Kind::Typedef,
    Kind::Volatile,
    Kind::Const,
    Kind::Restrict,
    Kind::Func,
    Kind::FuncProto,
    Kind::Var,
    Kind::Datasec,
    Kind::Float,
    Kind::DeclTag,
    Kind::TypeTag,
    Kind::Enum64,
];

/// `Kind::tail` of each kind: a walk over 126,610 types takes 0.85 ms without a branch for each, and 1.0 with one.
const TAILS: [(u32, u32); KINDS.len()] = {
    let mut tails = [(0, 0); KINDS.len()];
    let mut at = 0;
    while at < KINDS.len() {
        tails[at] = KINDS[at].tail();
        at += 1;
    }
    tails
};

impl Kind {
    /// Bytes that follow the header of a type of this kind, and how many more for each of its parts.
    const fn tail(self) -> (u32, u32) {
        match self {
            Kind::Int | Kind::Var | Kind::DeclTag => (4, 0),
            Kind::Array => (12, 0),
            Kind::Struct | Kind::Union | Kind::Datasec | Kind::Enum64 => (0, 12),
            Kind::Enum | Kind::FuncProto => (0, 8),
            Kind::Ptr
            | Kind::Fwd
            | Kind::Typedef
            | Kind::Volatile
            | Kind::Const
            | Kind::Restrict
            | Kind::Func
            | Kind::Float
            | Kind::TypeTag => (0, 0),
        }
    }
}

/// One type as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub id: u32,
    pub kind: Kind,
    /// The kind's own flag: bit fields are encoded in members, an enum is signed, a forward is of a union.
    pub flag: bool,
    pub name_offset: u32,
    /// Bytes of the type, or the id of the type that this one refers to, as the kind has it.
    pub size_or_type: u32,
    /// What follows the header: members, enumerators, parameters.
    pub tail: &'a [u8],
}

impl Record<'_> {
    /// The `index`-th word of the part of `part_bytes` bytes with the number `part`.
    pub fn word(&self, part: usize, part_bytes: usize, index: usize) -> u32 {
        word_at(self.tail, part * part_bytes + index * 4).unwrap_or(0)
    }
}

fn word_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).map(|word| u32::from_ne_bytes(word.try_into().expect("four bytes")))
}

/// Answers to look-ups by name, None for what is not there.
type Known<K, V> = Mutex<HashMap<K, Option<V>>>;

/// The value of an enumerator and the id of its enum.
type Enumerator = (i64, u32);

/// The types of the kernel or, based on them, of one module.
pub struct Btf {
    bytes: FileBytes,
    types: Range<usize>,
    strings: Range<usize>,
    /// vmlinux, for a module.
    base: Option<Arc<Btf>>,
    first_id: u32,
    first_string: u32,
    /// Which blob this is, in the upper bits of the ids that leave this module: 0 is vmlinux.
    source: u32,
    /// Offsets of all types from `first_id` on, when the first one is looked for.
    index: OnceLock<Vec<u32>>,
    /// Ids of types that were looked up by name, while they are few.
    found: Known<(Kind, Box<str>), u32>,
    names: OnceLock<Names>,
    /// Whether pointers carry the tag `user`; kernels built by compilers without such tags don't say.
    has_user_tags: OnceLock<bool>,
    has_signed_enums: OnceLock<bool>,
    enumerators: Known<Box<str>, Enumerator>,
    trace_events: OnceLock<HashMap<String, u32>>,
    trace_callers: OnceLock<HashMap<String, u32>>,
}

impl Btf {
    /// The kernel's own types.
    pub fn open_vmlinux() -> Result<Btf, KernelError> {
        Btf::open(&PathBuf::from(BTF_DIRECTORY).join("vmlinux"))
    }

    /// The types of a kernel in a file: as they are, or as a section of an ELF file.
    pub fn open(path: &Path) -> Result<Btf, KernelError> {
        let bytes = FileBytes::open(path).map_err(|source| KernelError::File { path: path.to_path_buf(), source })?;
        let what = path.display().to_string();
        if !bytes.as_slice().starts_with(&object::elf::ELFMAG) {
            return Btf::new(bytes, None, 0, &what);
        }
        let malformed = |reason: String| KernelError::Malformed { what: what.clone(), reason };
        let part = {
            let file = object::File::parse(bytes.as_slice()).map_err(|error| malformed(error.to_string()))?;
            let section = file.section_by_name(".BTF").and_then(|section| section.file_range());
            section.ok_or_else(|| malformed("it has no section .BTF".to_string()))?
        };
        Btf::new(bytes.part(part.0 as usize..part.0.saturating_add(part.1) as usize), None, 0, &what)
    }

    /// The types of a module, which build on those of vmlinux; `source` is the number for its ids.
    pub fn open_module(module: &str, base: Arc<Btf>, source: u32) -> Result<Btf, KernelError> {
        let path = PathBuf::from(BTF_DIRECTORY).join(module);
        Btf::new(
            FileBytes::open(&path).map_err(|source| KernelError::File { path: path.clone(), source })?,
            Some(base),
            source,
            &path.display().to_string(),
        )
    }

    /// A blob that is in memory already, with types of its own alone; `source` is the number for its ids.
    pub fn from_bytes(bytes: Vec<u8>, source: u32) -> Result<Btf, KernelError> {
        Btf::new(FileBytes::from(bytes), None, source, "BTF")
    }

    fn new(bytes: FileBytes, base: Option<Arc<Btf>>, source: u32, what: &str) -> Result<Btf, KernelError> {
        let malformed = |reason: &str| KernelError::Malformed { what: what.to_string(), reason: reason.to_string() };
        let blob = bytes.as_slice();
        let header: &[u8] = blob.get(..HEADER_BYTES).ok_or_else(|| malformed("shorter than its header"))?;
        if header[..2] != MAGIC.to_ne_bytes() {
            return Err(malformed("no BTF magic number"));
        }
        let field = |index: usize| word_at(header, 4 + index * 4).expect("inside the header") as usize;
        let section = |offset: usize, length: usize| {
            let start = field(0).checked_add(offset)?;
            let end = start.checked_add(length)?;
            (end <= blob.len()).then_some(start..end)
        };
        let types = section(field(1), field(2)).ok_or_else(|| malformed("types beyond its end"))?;
        let strings = section(field(3), field(4)).ok_or_else(|| malformed("strings beyond its end"))?;
        let (first_id, first_string) = match &base {
            Some(base) => (base.first_id + base.index().len() as u32, base.first_string + base.strings.len() as u32),
            None => (1, 0),
        };
        Ok(Btf {
            bytes,
            types,
            strings,
            base,
            first_id,
            first_string,
            source,
            index: OnceLock::new(),
            found: Mutex::new(HashMap::new()),
            names: OnceLock::new(),
            has_user_tags: OnceLock::new(),
            has_signed_enums: OnceLock::new(),
            enumerators: Mutex::new(HashMap::new()),
            trace_events: OnceLock::new(),
            trace_callers: OnceLock::new(),
        })
    }

    fn types(&self) -> &[u8] {
        &self.bytes.as_slice()[self.types.clone()]
    }

    fn strings(&self) -> &[u8] {
        &self.bytes.as_slice()[self.strings.clone()]
    }

    /// The name at an offset of the string section; bytes that are not UTF-8 make it empty.
    pub fn string(&self, offset: u32) -> &str {
        let Some(own) = offset.checked_sub(self.first_string) else {
            return self.base.as_ref().map_or("", |base| base.string(offset));
        };
        let Some(rest) = self.strings().get(own as usize..) else { return "" };
        let end = memchr::memchr(0, rest).unwrap_or(rest.len());
        std::str::from_utf8(&rest[..end]).unwrap_or("")
    }

    pub fn name(&self, record: &Record<'_>) -> &str {
        self.string(record.name_offset)
    }

    /// The types of this blob, in the order of their ids; those of the base are not among them.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let types = self.types();
        self.index().iter().zip(self.first_id..).filter_map(|(at, id)| Some(read_record(types, *at as usize, id)?.0))
    }

    /// The type of that id, of this blob or its base.
    pub fn record(&self, id: u32) -> Option<Record<'_>> {
        let Some(own) = id.checked_sub(self.first_id) else {
            return self.base.as_ref()?.record(id);
        };
        let offset = *self.index().get(own as usize)?;
        read_record(self.types(), offset as usize, id).map(|(record, _)| record)
    }

    fn index(&self) -> &[u32] {
        self.index.get_or_init(|| {
            // A type takes 25 bytes on the average of a kernel.
            let mut offsets = Vec::with_capacity(self.types.len() / 25);
            let mut at = 0;
            while let Some((_, next)) = read_record(self.types(), at, 0) {
                offsets.push(at as u32);
                at = next;
            }
            offsets
        })
    }

    /// The first type of that kind and name in this blob.
    pub fn find(&self, kind: Kind, name: &str) -> Option<Record<'_>> {
        if name.is_empty() {
            return None;
        }
        let id = match self.names.get() {
            Some(names) => names.find(self, kind, name)?,
            None => self.remembered(kind, name)?,
        };
        self.record(id)
    }

    fn remembered(&self, kind: Kind, name: &str) -> Option<u32> {
        let key = (kind, Box::from(name));
        let known = self.found.lock().expect("no holder panics").get(&key).copied();
        if let Some(id) = known {
            return id;
        }
        let id = self.search(kind, name);
        let mut found = self.found.lock().expect("no holder panics");
        found.insert(key, id);
        if found.len() >= names::MOST_WALKS {
            self.names.get_or_init(|| Names::of(self));
        }
        id
    }

    /// The id of the first type of that kind and name.
    fn search(&self, kind: Kind, name: &str) -> Option<u32> {
        let own = string_offset(self.strings(), name).map(|at| at + self.first_string);
        let inherited = self.base.as_ref().and_then(|base| string_offset(base.strings(), name));
        if own.is_none() && inherited.is_none() {
            return None;
        }
        let is_named = |record: &Record<'_>| Some(record.name_offset) == own || Some(record.name_offset) == inherited;
        self.records().find(|record| is_named(record) && record.kind == kind).map(|record| record.id)
    }

    /// Tracepoints with a typed prototype: the name of the event and the id of its `btf_trace_EVENT` typedef.
    pub fn trace_events(&self) -> &HashMap<String, u32> {
        self.trace_events.get_or_init(|| {
            let events = self.beginning_with("btf_trace_", Kind::Typedef);
            events.into_iter().map(|(event, id)| (event.to_string(), id)).collect()
        })
    }

    /// The types of that kind whose names begin so, in the order of their ids: the rest of the name, and the id. Few of a
    /// kernel's names do, so that the names are searched before the types.
    pub fn beginning_with(&self, prefix: &str, kind: Kind) -> Vec<(&str, u32)> {
        let mut offsets =
            self.base.as_ref().map_or_else(Vec::new, |base| offsets_beginning_with(base.strings(), prefix));
        offsets.extend(offsets_beginning_with(self.strings(), prefix).iter().map(|at| at + self.first_string));
        let records = self.records().filter(|record| record.kind == kind);
        let named = records.filter(|record| offsets.binary_search(&record.name_offset).is_ok());
        named.filter_map(|record| Some((self.string(record.name_offset).strip_prefix(prefix)?, record.id))).collect()
    }
}

impl Btf {
    /// The functions that call the programs of tracepoints: the name of the event and the id of one of them.
    pub fn trace_callers(&self) -> &HashMap<String, u32> {
        self.trace_callers.get_or_init(|| {
            let prefixes = ["__traceiter_", "__probestub_"];
            let callers = prefixes.iter().flat_map(|prefix| self.beginning_with(prefix, Kind::Func));
            callers.map(|(event, id)| (event.to_string(), id)).collect()
        })
    }
}

/// Where a name begins in a string section: each string stands there once, between two NULs.
fn string_offset(strings: &[u8], name: &str) -> Option<u32> {
    let mut pattern = Vec::with_capacity(name.len() + 2);
    pattern.push(0);
    pattern.extend_from_slice(name.as_bytes());
    pattern.push(0);
    memmem::find(strings, &pattern).map(|at| at as u32 + 1)
}

/// Where the names that begin so do, in ascending order.
fn offsets_beginning_with(strings: &[u8], prefix: &str) -> Vec<u32> {
    memmem::find_iter(strings, &[b"\0", prefix.as_bytes()].concat()).map(|at| at as u32 + 1).collect()
}

/// The record at an offset, and the offset of the next one.
fn read_record(types: &[u8], at: usize, id: u32) -> Option<(Record<'_>, usize)> {
    let name_offset = word_at(types, at)?;
    let info = word_at(types, at + 4)?;
    let size_or_type = word_at(types, at + 8)?;
    let number = (info >> 24 & 0x1f).checked_sub(1)? as usize;
    let (kind, (fixed, each)) = (*KINDS.get(number)?, *TAILS.get(number)?);
    let tail = at + TYPE_BYTES;
    let next = tail + (fixed + each * (info & 0xffff)) as usize;
    let tail = types.get(tail..next)?;
    Some((Record { id, kind, flag: info >> 31 != 0, name_offset, size_or_type, tail }, next))
}
