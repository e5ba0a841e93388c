//! What the compiler hands out: programs, maps, and the manifest that tells the runtime what each of them means. Same
//! input, same object. Holds data; writing it as an ELF file is `object/elf.rs`.

pub mod btf;
pub mod elf;

use std::sync::Arc;

use rtrace_lang::hir::{Hir, MapId, SiteId};
use rtrace_lang::span::Span;
use rtrace_lang::target::ProgramKind;

pub use crate::link::Depth;

/// Everything that the kernel gets, with what the runtime must know about it.
#[derive(Clone, Debug)]
pub struct Object {
    pub programs: Vec<ProgramObject>,
    /// The maps of the script first, in the order of `Hir::maps`, then those of the runtime.
    pub maps: Vec<MapObject>,
    pub manifest: Manifest,
}

#[derive(Clone, Debug)]
pub struct ProgramObject {
    pub name: String,
    pub kind: ProgramKind,
    pub sites: Vec<SiteId>,
    /// The attach cookie tells the site.
    pub wants_cookie: bool,
    /// What of the stack it takes.
    pub depth: Depth,
    /// 8 bytes each, as the kernel takes them. Map references hold the number of the map where the kernel expects a
    /// file descriptor; see `relocations`.
    pub instructions: Vec<u64>,
    pub relocations: Vec<Relocation>,
    /// For each instruction that begins another place of the script: its number and the place.
    pub lines: Vec<(u32, Span)>,
    /// Where each function begins: the program itself, then the bodies of its loops and its subprograms.
    pub functions: Vec<FunctionStart>,
}

/// The first instruction of a function of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FunctionStart {
    /// Verified by itself.
    pub is_global: bool,
    pub instruction: u32,
    pub name: String,
}

/// An instruction whose immediate is a map's file descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Relocation {
    pub instruction: u32,
    /// Index into `Object::maps`.
    pub map: u32,
    /// The address of the map's value, at the offset that the second half of the instruction holds.
    pub value: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub struct MapObject {
    pub name: String,
    pub kind: MapKind,
    pub key_bytes: u32,
    pub value_bytes: u32,
    pub entries: u32,
    /// Elements are taken when they are used, not when the map is made.
    pub allocate_on_use: bool,
    /// The runtime maps its memory.
    pub is_mapped: bool,
    /// Its keys are short (`rtrace_lang::keys`): index of the map that has the whole ones which they do not say.
    pub whole_keys: Option<u32>,
    /// It takes turns with another one.
    pub turns: Option<Turns>,
}

impl MapObject {
    /// One that the kernel makes as a whole and programs alone use, with keys that are no short ones.
    pub fn new(name: &str, kind: MapKind, key_bytes: u32, value_bytes: u32, entries: u32) -> MapObject {
        let name = name.to_string();
        let (allocate_on_use, is_mapped, whole_keys, turns) = (false, false, None, None);
        MapObject { name, kind, key_bytes, value_bytes, entries, allocate_on_use, is_mapped, whole_keys, turns }
    }
}

/// Two maps for one of the script's that is cleared while probes fire: programs use one of them from their start to their end. When
/// all that ran as the word was changed have ended, the other one stands still, and can be read and emptied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turns {
    /// Index into `Object::maps`.
    pub other: u32,
    /// Offset in the global data of a word that is not zero where programs use the other one.
    pub word: u32,
}

/// Kinds of kernel maps that programs use.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MapKind {
    Array,
    PerCpuArray,
    Hash,
    PerCpuHash,
    /// Gives up what was used least recently when it is full.
    LruHash,
    LruPerCpuHash,
    /// One value for each thread, which goes away with it.
    TaskStorage,
    RingBuffer,
    /// Cgroups, which the runtime puts in.
    Cgroups,
    /// Programs to go on with.
    Programs,
}

impl MapKind {
    /// The kernel's number (include/uapi/linux/bpf.h, `enum bpf_map_type`).
    pub fn number(self) -> u32 {
        match self {
            MapKind::Hash => 1,
            MapKind::Array => 2,
            MapKind::Programs => 3,
            MapKind::PerCpuHash => 5,
            MapKind::PerCpuArray => 6,
            MapKind::Cgroups => 8,
            MapKind::LruHash => 9,
            MapKind::LruPerCpuHash => 10,
            MapKind::RingBuffer => 27,
            MapKind::TaskStorage => 29,
        }
    }

    /// Values are kept once for each processor.
    pub fn is_per_cpu(self) -> bool {
        match self {
            MapKind::PerCpuArray | MapKind::PerCpuHash | MapKind::LruPerCpuHash => true,
            MapKind::Array
            | MapKind::Hash
            | MapKind::LruHash
            | MapKind::TaskStorage
            | MapKind::RingBuffer
            | MapKind::Cgroups
            | MapKind::Programs => false,
        }
    }
}

/// What the maps and records of an object mean.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub hir: Arc<Hir>,
    pub globals: Globals,
    /// Indices into `Object::maps`.
    pub ring: Option<u32>,
    pub globals_map: u32,
    pub stacks: Option<u32>,
    pub unwind: Option<UnwindMaps>,
    /// Holds the cgroup that events are restricted to.
    pub cgroup: Option<u32>,
    /// A byte for each process number, not zero where events of that process count (`Processes::Tree`).
    pub tree: Option<u32>,
}

/// Where the tables are by which programs go up user stacks (`rtrace_lang::unwind`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnwindMaps {
    /// Indices into `Object::maps`. By process: the number of its first mapping, and above 32 bits how many it has. The mapping of
    /// number 0 is none.
    pub processes: u32,
    /// Processes whose mappings programs have looked for and not found.
    pub wanted: u32,
    pub mappings: u32,
    pub rows: u32,
    pub ways: u32,
    /// By device and inode; where the kernel can be asked what a process has mapped.
    pub files: Option<u32>,
}

/// The one value of the global data map.
#[derive(Clone, Debug, Default)]
pub struct Globals {
    /// The bytes that the value begins with; the start time is put in by the runtime.
    pub bytes: Vec<u8>,
    /// Offset of a 64-bit counter for each record of `Hir::records`: how many were lost, or with
    /// `CompileOptions::counts_output` how many there would have been.
    pub lost: u32,
    /// What can go wrong, each with the offset of its 64-bit counter.
    pub errors: Vec<(ErrorSite, u32)>,
}

/// Offset of the exit word in the global data: 0 while running, then 1 << 32 with the exit code below.
pub const EXIT_OFFSET: u32 = 0;
/// Offset of the start time, nanoseconds of the boot clock.
pub const START_OFFSET: u32 = 8;
/// Offset of a word that is not zero once the tool has stopped or exit() was called: programs look at it whose attachment ends
/// slowly, or whose script has an exit().
pub const STOPPED_OFFSET: u32 = 16;
/// Offset of what is to be added to the boot clock for nanoseconds since 1970.
pub const WALL_OFFSET: u32 = 24;
/// Offset of a counter of speculations.
pub const SPECULATIONS_OFFSET: u32 = 32;
/// Offset of what a `test:` probe returned: anything but zero has failed.
pub const RESULT_OFFSET: u32 = 40;
/// Bytes of the global data before what belongs to the script.
pub const HEADER_BYTES: u32 = 48;
/// Set in the exit word once exit() was called.
pub const EXIT_CALLED: u64 = 1 << 32;

/// A place of the script where something can go wrong while it runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ErrorSite {
    pub kind: ErrorKind,
    pub span: Span,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ErrorKind {
    DivisionByZero,
    /// Memory that this helper could not read.
    Read(u32),
    /// The map had no room for a new key.
    MapFull(MapId),
    /// No room was left for the whole of a key with a long string.
    KeyCut(MapId),
    /// No stack could be taken, or no room was left to keep it.
    Stack,
    /// A user stack goes on where its tables do not say how.
    Unwind,
    /// An index outside of its array.
    Index,
    /// A copy that would go past the memory that it goes into, or where that memory is not the script's.
    Copy,
    /// A loop was ended because it took more rounds than the kernel allows.
    Loop,
    /// An event came in the middle of as many others on its processor as have scratch memory.
    Nested,
}
