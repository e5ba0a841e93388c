//! Types of values, as the checker, the compiler and the printer all see them. Holds no layout decisions of maps or
//! records; those belong to the compiler.

use std::fmt;
use std::sync::Arc;

/// Which memory a pointer points into. Reading kernel or user memory goes through a probe read of the right kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Space {
    Kernel,
    User,
    /// Not known (a raw register argument): the address itself decides at run time.
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StructKind {
    Struct,
    Union,
}

/// Names one struct or union of one source of types. Its fields are asked from the target when needed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct StructRef {
    pub kind: StructKind,
    /// Empty for an anonymous one.
    pub name: Arc<str>,
    /// The source's own number of the type (a BTF id, say).
    pub id: u32,
    /// Bytes.
    pub size: u32,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct EnumRef {
    pub name: Arc<str>,
    pub id: u32,
    /// Bytes: 1, 2, 4 or 8.
    pub size: u8,
    pub signed: bool,
}

/// How the frames of a stack are printed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum StackMode {
    /// Names and offsets, indented.
    #[default]
    Bpftrace,
    /// Addresses, names, offsets and modules, as perf(1) prints them.
    Perf,
    /// Addresses.
    Raw,
    /// The build id of each file, and the offset in it.
    BuildId,
}

impl StackMode {
    /// As scripts write them.
    pub const ALL: &'static [(&'static str, StackMode)] = &[
        ("bpftrace", StackMode::Bpftrace),
        ("perf", StackMode::Perf),
        ("raw", StackMode::Raw),
        ("build_id", StackMode::BuildId),
    ];

    pub fn name(self) -> &'static str {
        StackMode::ALL.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| *name)
    }

    pub fn named(name: &str) -> Option<StackMode> {
        StackMode::ALL.iter().find(|(known, _)| *known == name).map(|(_, mode)| *mode)
    }
}

/// The clock of a point in time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Clock {
    /// Stands still in suspend: its points have no date.
    Monotonic,
    /// International atomic time, since 1970.
    Tai,
    /// Coordinated universal time, since 1970.
    Wall,
}

/// What a number stands for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Shown {
    /// An errno, as strerror(3) tells it.
    ErrorText,
    SignalName,
    SystemCallName,
    /// A user id.
    UserName,
    /// The id of a cgroup: its path below the directory of version 2; with a pattern, its paths in those hierarchies.
    CgroupPath(Option<Arc<str>>),
    /// The six bytes of a network device's address.
    Mac,
    /// Flags of an allocation in the kernel (GFP_*).
    AllocationFlags,
    /// Nanoseconds of the boot clock, as strftime(3) writes them.
    Time(Arc<str>),
    /// Nanoseconds since 1970, as strftime(3) writes them.
    Date(Arc<str>),
    /// Nanoseconds of the clock of atomic time, as strftime(3) writes them.
    AtomicTime(Arc<str>),
}

/// What of the place of an address is shown.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SymbolPart {
    /// The function or variable.
    Name,
    /// The module of the kernel, the program or the library.
    Module,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Type {
    /// What a statement-like call gives, and what `void *` points to.
    Void,
    Bool,
    /// An integer as it is stored; arithmetic is always 64 bits wide.
    Int {
        bytes: u8,
        signed: bool,
    },
    Enum(EnumRef),
    /// A string: NUL-terminated bytes in a buffer of that capacity, the NUL included.
    Str(u32),
    /// Raw bytes of that length.
    Buffer(u32),
    Pointer {
        to: Arc<Type>,
        space: Space,
    },
    Struct(StructRef),
    Array {
        of: Arc<Type>,
        len: u32,
    },
    Tuple(Arc<[Type]>),
    /// A tuple whose parts have names.
    Record(Arc<[(Arc<str>, Type)]>),
    /// A kernel or user stack of at most that many frames.
    Stack {
        user: bool,
        frames: u32,
        mode: StackMode,
    },
    /// An address that prints as a symbol of the kernel, or of the process that it was taken in.
    Symbol {
        user: bool,
        part: SymbolPart,
    },
    /// The number of a probe site, printed as the full name of the probe.
    ProbeName,
    /// The number of a probe site, printed as the name of its function.
    FunctionName,
    /// The number of a probe site, printed as what stands between the provider and the function in its name.
    ModuleName,
    /// The number of a probe site, printed as the last part of its name.
    EventName,
    /// A point in time, nanoseconds of another clock than that of `nsecs`. What is computed from it is a number.
    Timestamp(Clock),
    /// A number that is shown as what it stands for.
    Shown(Shown),
    /// An address of the internet: a word with its family (AF_INET, AF_INET6), then up to 16 bytes.
    Inet,
    /// Nothing is known yet: a map or variable that no statement has given a type.
    Unknown,
}

impl Type {
    pub const I64: Type = Type::Int { bytes: 8, signed: true };
    pub const U64: Type = Type::Int { bytes: 8, signed: false };
    pub const U32: Type = Type::Int { bytes: 4, signed: false };

    pub fn pointer(to: Type, space: Space) -> Type {
        Type::Pointer { to: Arc::new(to), space }
    }

    /// True where the value fits a register: it can be computed with.
    pub fn is_scalar(&self) -> bool {
        matches!(
            self,
            Type::Bool
                | Type::Int { .. }
                | Type::Enum(_)
                | Type::Pointer { .. }
                | Type::Symbol { .. }
                | Type::ProbeName
                | Type::FunctionName
                | Type::ModuleName
                | Type::EventName
                | Type::Timestamp(_)
                | Type::Shown(_)
                | Type::Stack { .. }
        )
    }

    /// True for numbers that stand for texts which the compiler knows (`hir::texts`): where a string is wanted, they are one.
    pub fn has_text(&self) -> bool {
        matches!(
            self,
            Type::ProbeName
                | Type::FunctionName
                | Type::ModuleName
                | Type::EventName
                | Type::Shown(Shown::ErrorText | Shown::SignalName | Shown::SystemCallName)
        )
    }

    /// True for what arithmetic accepts.
    pub fn is_integer(&self) -> bool {
        matches!(self, Type::Bool | Type::Int { .. } | Type::Enum(_) | Type::Timestamp(_))
    }

    /// True where comparison, division and right shift treat the value as signed.
    pub fn is_signed(&self) -> bool {
        match self {
            Type::Int { signed, .. } => *signed,
            Type::Enum(e) => e.signed,
            _ => false,
        }
    }

    /// Bytes that the value takes in memory it is read from (a struct's field, a pointer's target).
    pub fn size(&self) -> u32 {
        match self {
            Type::Void | Type::Unknown => 0,
            Type::Bool => 1,
            Type::Int { bytes, .. } => u32::from(*bytes),
            Type::Enum(e) => u32::from(e.size),
            Type::Str(n) | Type::Buffer(n) => *n,
            Type::Pointer { .. } => 8,
            Type::Struct(s) => s.size,
            Type::Array { of, len } => of.size().saturating_mul(*len),
            Type::Tuple(parts) => parts.iter().map(Type::size).sum(),
            Type::Record(parts) => parts.iter().map(|(_, ty)| ty.size()).sum(),
            Type::Shown(Shown::Mac) => 6,
            Type::Inet => 24,
            Type::Stack { .. }
            | Type::Symbol { .. }
            | Type::ProbeName
            | Type::FunctionName
            | Type::ModuleName
            | Type::EventName
            | Type::Timestamp(_)
            | Type::Shown(_) => 8,
        }
    }
}

impl Type {
    /// Bytes that the value takes in a key, a map value or a record: a multiple of 8, so that parts follow one another
    /// aligned. Scalars take 8 whatever their width; a stack travels as the hash that names it; a symbol of a process
    /// takes its address and its process.
    pub fn stored_bytes(&self) -> u32 {
        match self {
            Type::Void | Type::Unknown => 0,
            Type::Bool
            | Type::Int { .. }
            | Type::Enum(_)
            | Type::Pointer { .. }
            | Type::ProbeName
            | Type::FunctionName
            | Type::ModuleName
            | Type::EventName
            | Type::Timestamp(_)
            | Type::Shown(_)
            | Type::Symbol { user: false, .. }
            | Type::Stack { user: false, .. } => 8,
            Type::Symbol { user: true, .. } | Type::Stack { user: true, .. } => 16,
            // A word with its length goes before the bytes.
            Type::Buffer(_) => 8 + self.size().next_multiple_of(8),
            Type::Str(_) | Type::Struct(_) | Type::Array { .. } | Type::Inet => self.size().next_multiple_of(8),
            Type::Tuple(parts) => parts.iter().map(Type::stored_bytes).sum(),
            Type::Record(parts) => parts.iter().map(|(_, ty)| ty.stored_bytes()).sum(),
        }
    }
}

impl Type {
    /// Whether a value of the type means the same to another program: it is no number of a probe, and has nothing to do with
    /// types that only one of them may know.
    pub fn means_the_same_elsewhere(&self) -> bool {
        match self {
            Type::Bool
            | Type::Int { .. }
            | Type::Str(_)
            | Type::Buffer(_)
            | Type::Stack { .. }
            | Type::Symbol { .. }
            | Type::Timestamp(_)
            | Type::Shown(_)
            | Type::Inet => true,
            Type::Pointer { to, .. } => **to == Type::Void || to.means_the_same_elsewhere(),
            Type::Array { of, .. } => of.means_the_same_elsewhere(),
            Type::Tuple(_) | Type::Record(_) => self.parts().iter().all(Type::means_the_same_elsewhere),
            Type::Enum(_)
            | Type::Struct(_)
            | Type::ProbeName
            | Type::FunctionName
            | Type::ModuleName
            | Type::EventName
            | Type::Void
            | Type::Unknown => false,
        }
    }

    /// The types of a tuple's or a record's parts, in order; none of any other type.
    pub fn parts(&self) -> Vec<Type> {
        match self {
            Type::Tuple(parts) => parts.to_vec(),
            Type::Record(parts) => parts.iter().map(|(_, ty)| ty.clone()).collect(),
            _ => Vec::new(),
        }
    }
}

/// With `{:#}` as messages say it: without the room that a string takes, which is the compiler's alone.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Void => f.write_str("void"),
            Type::Bool => f.write_str("bool"),
            Type::Int { bytes, signed } => {
                write!(f, "{}int{}", if *signed { "" } else { "u" }, u32::from(*bytes) * 8)
            }
            Type::Enum(e) if e.name.is_empty() => f.write_str("enum"),
            Type::Enum(e) => write!(f, "enum {}", e.name),
            Type::Str(_) if f.alternate() => f.write_str("string"),
            Type::Str(n) => write!(f, "string[{n}]"),
            Type::Buffer(n) => write!(f, "buffer[{n}]"),
            Type::Pointer { to, .. } => write!(f, "{to} *"),
            Type::Struct(s) => {
                let word = match s.kind {
                    StructKind::Struct => "struct",
                    StructKind::Union => "union",
                };
                if s.name.is_empty() { f.write_str(word) } else { write!(f, "{word} {}", s.name) }
            }
            Type::Array { of, len } => write!(f, "{of}[{len}]"),
            Type::Tuple(parts) => {
                f.write_str("(")?;
                for (index, part) in parts.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    fmt::Display::fmt(part, f)?;
                }
                f.write_str(")")
            }
            Type::Record(parts) => {
                f.write_str("(")?;
                for (index, (name, part)) in parts.iter().enumerate() {
                    write!(f, "{}{name} = ", if index == 0 { "" } else { ", " })?;
                    fmt::Display::fmt(part, f)?;
                }
                f.write_str(")")
            }
            Type::Stack { user: false, .. } => f.write_str("kstack"),
            Type::Stack { user: true, .. } => f.write_str("ustack"),
            Type::Symbol { user: false, part: SymbolPart::Name } => f.write_str("ksym"),
            Type::Symbol { user: true, part: SymbolPart::Name } => f.write_str("usym"),
            Type::Symbol { part: SymbolPart::Module, .. } => f.write_str("module"),
            Type::ProbeName => f.write_str("probe name"),
            Type::FunctionName => f.write_str("function name"),
            Type::ModuleName => f.write_str("module name"),
            Type::EventName => f.write_str("event name"),
            Type::Timestamp(_) => f.write_str("uint64"),
            Type::Shown(Shown::ErrorText) => f.write_str("error"),
            Type::Shown(Shown::SignalName) => f.write_str("signal"),
            Type::Shown(Shown::SystemCallName) => f.write_str("system call"),
            Type::Shown(Shown::UserName) => f.write_str("user name"),
            Type::Shown(Shown::AllocationFlags) => f.write_str("allocation flags"),
            Type::Shown(Shown::CgroupPath(_)) => f.write_str("cgroup path"),
            Type::Shown(Shown::Mac) => f.write_str("macaddr"),
            Type::Shown(Shown::Time(format) | Shown::Date(format) | Shown::AtomicTime(format)) => {
                write!(f, "time as {format:?}")
            }
            Type::Inet => f.write_str("inet"),
            Type::Unknown => f.write_str("unknown"),
        }
    }
}

/// One member of a struct or union.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// Empty for an anonymous struct or union, whose members are reached through it.
    pub name: Arc<str>,
    pub ty: Type,
    /// From the start of the struct, in bits.
    pub bit_offset: u32,
    /// Width in bits where the member is a bit field.
    pub bit_width: Option<u8>,
}
