//! A checked program: every name resolved, every expression typed, every cast, probe and format piece explicit. What the
//! compiler and the runtime share. Holds data; `hir/verify.rs` states what holds between them.

mod clearing;
mod dump;
mod maps;
mod numbers;
mod sessions;
mod uses;
mod verify;

pub use clearing::{cleared_meanwhile, prints_before_clears};
pub use dump::dump;
pub use numbers::{site_name, texts};
pub use uses::{Uses, aggregating_programs, for_each_statement};
pub use verify::verify;

use std::sync::Arc;

use crate::aggregations::{Aggregation, AggregationPart};
use crate::format::Piece;
use crate::script_types::ScriptTypes;
use crate::settings::Settings;
use crate::span::Span;
use crate::target::{Layout, Location, ProbeSite, Processes, ProgramKind};
use crate::types::{Space, Type};

#[derive(Clone, PartialEq, Debug, Default)]
pub struct Hir {
    /// Every place that a program attaches to; `SiteId` counts them.
    pub sites: Vec<ProbeSite>,
    /// For each site the specification in the script that means it.
    pub specified: Vec<Span>,
    /// For each site the one whose number stands for it: the first of the same names. So the same probe is the same key,
    /// whichever of its places, or of the clauses that name it, it fired for.
    pub numbers: Vec<SiteId>,
    pub programs: Vec<Program>,
    pub maps: Vec<Map>,
    pub records: Vec<Record>,
    /// Structs and enums that the script defines.
    pub types: ScriptTypes,
    pub settings: Settings,
}

macro_rules! ids {
    ($($name:ident $doc:literal;)*) => {
        $(
            #[doc = $doc]
            #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
            pub struct $name(pub u32);

            impl $name {
                pub fn index(self) -> usize {
                    self.0 as usize
                }
            }
        )*
    };
}

ids! {
    SiteId "A row of `Hir::sites`.";
    MapId "A row of `Hir::maps`.";
    RecordId "A row of `Hir::records`.";
    LocalId "A row of `Program::locals`.";
    FunctionId "A row of `Program::functions`.";
}

/// One program: one clause for one kind of program and layout of arguments.
#[derive(Clone, PartialEq, Debug)]
pub struct Program {
    pub name: String,
    pub kind: ProgramKind,
    pub layout: Arc<Layout>,
    pub sites: Vec<SiteId>,
    pub dispatch: Dispatch,
    /// Only events of these processes count; None where the attachment itself filters.
    pub processes: Option<Processes>,
    /// Only events of the tasks of one cgroup and those below it count.
    pub in_cgroup: bool,
    pub locals: Vec<Local>,
    /// Functions of the script that it calls; each calls only those before it.
    pub functions: Vec<Function>,
    /// Where `speculate()` keeps the speculation that what the program prints belongs to; 0 is none.
    pub speculation: Option<LocalId>,
    pub predicate: Option<Expr>,
    pub body: Vec<Stmt>,
    pub span: Span,
}

impl Program {
    /// Whether its predicate is known to be false.
    pub fn never_runs(&self) -> bool {
        self.predicate.as_ref().is_some_and(|predicate| predicate.constant() == Some(0))
    }
}

/// `fn name(...) { ... }`, as one program runs it. The caller sets the locals that are its parameters, and finds what it
/// gives in another.
#[derive(Clone, PartialEq, Debug)]
pub struct Function {
    pub name: String,
    pub parameters: Vec<LocalId>,
    /// None if it gives no value.
    pub result: Option<LocalId>,
    pub body: Vec<Stmt>,
    pub span: Span,
}

/// How a program learns which of its sites has fired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dispatch {
    /// It has one site, or does not ask.
    Known,
    /// By the attach cookie, which is the site's number.
    Cookie,
    /// By the layout's selector; events that no site selects are not meant.
    Selector,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Local {
    pub name: String,
    pub ty: Type,
    /// It is memory that the script was given by alloca(): so many bytes of it. The type has twice as many, up to a power of two.
    pub allocated: Option<u32>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Map {
    /// Without `@`.
    pub name: String,
    /// Empty for a map without keys.
    pub key: Vec<Type>,
    /// The parts of its key where it is used first: their text names them.
    pub key_spans: Vec<Span>,
    pub value: MapValue,
    pub entries: u64,
    /// Gives up the entry that was used least recently when it is full.
    pub evicts: bool,
    pub owner: Owner,
    /// Where it is first assigned.
    pub span: Span,
}

/// What a map's values belong to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// `@m`: all probes of the script.
    Script,
    /// `self->x`: the thread that runs, and they go away with it. Has no keys.
    Thread,
    /// The same on kernels that cannot do it: the key is the thread.
    ThreadByKey,
    /// `entry(e)`: the calls that have not returned yet.
    Calls,
}

#[derive(Clone, PartialEq, Debug)]
pub enum MapValue {
    Plain(Type),
    Aggregation(Aggregation),
}

/// An event that a program sends to the tool.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    pub kind: RecordKind,
    /// Types of the values that travel, in order.
    pub parts: Vec<Type>,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub enum RecordKind {
    Printf(Vec<Piece>),
    /// What join() prints, a line.
    Join(Vec<Piece>),
    System(Vec<Piece>),
    /// freopen(): the name of a file; what is printed goes there, or where it went at first if the name is empty.
    Reopen(Vec<Piece>),
    /// The contents of a file.
    Cat(Vec<Piece>),
    /// errorf() and warnf()
    Message {
        is_error: bool,
        pieces: Vec<Piece>,
    },
    /// The time of day, as strftime(3) writes it.
    Time(String),
    /// print(value)
    Print,
    PrintMap {
        map: MapId,
        table: Table,
    },
    /// printa(): the maps joined by key, a line for each key; without a format in columns.
    PrintAggregations {
        maps: Vec<MapId>,
        pieces: Option<Vec<Piece>>,
    },
    ClearMap(MapId),
    ZeroMap(MapId),
    /// normalize(): all values of the map are shown divided by the only part.
    Normalize(MapId),
    Denormalize(MapId),
    /// trunc(): keeps as many entries as the only part says, the largest ones, or the smallest ones if it is negative.
    Truncate(MapId),
    /// What was printed for the speculation, whose number is the only part, is printed at last, or forgotten.
    Commit,
    Discard,
    /// pcap(): its time by the boot clock, the length of the packet, and what there is of it.
    Packet {
        path: String,
    },
    /// unwatch(address); the address is the only part.
    Unwatch,
    /// exit(code); the code is the only part.
    Exit,
}

/// Where text goes that the kernel formats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KernelText {
    /// debugf(): the kernel's trace buffer.
    TraceBuffer,
    /// printf() in an iterator that is pinned: the file that is read.
    Iterator,
}

/// Stands for a speculation that is never committed: what is printed for it is dropped.
pub const NO_SPECULATION: u32 = u32::MAX;

impl RecordKind {
    /// Whether a speculation can hold it back: it prints something, and changes nothing.
    pub fn is_printed(&self) -> bool {
        match self {
            RecordKind::Printf(_)
            | RecordKind::Join(_)
            | RecordKind::Cat(_)
            | RecordKind::Message { .. }
            | RecordKind::Time(_)
            | RecordKind::Print
            | RecordKind::PrintMap { .. }
            | RecordKind::PrintAggregations { .. } => true,
            RecordKind::System(_)
            | RecordKind::Reopen(_)
            | RecordKind::Packet { .. }
            | RecordKind::Normalize(_)
            | RecordKind::Denormalize(_)
            | RecordKind::Truncate(_)
            | RecordKind::ClearMap(_)
            | RecordKind::ZeroMap(_)
            | RecordKind::Commit
            | RecordKind::Discard
            | RecordKind::Unwatch
            | RecordKind::Exit => false,
        }
    }

    /// Whether something comes of it that people read, or that is kept: it prints, runs a command or writes a packet.
    pub fn is_output(&self) -> bool {
        self.is_printed() || matches!(self, RecordKind::System(_) | RecordKind::Packet { .. })
    }
}

/// How print() shows a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Table {
    /// The last so many entries of the order alone.
    pub top: Option<u64>,
    pub by: SortBy,
    /// The largest first.
    pub descending: bool,
    /// Values are shown divided.
    pub divisor: u64,
}

impl Default for Table {
    fn default() -> Table {
        Table { top: None, by: SortBy::Usual, descending: false, divisor: 1 }
    }
}

/// What decides the order of a map's entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SortBy {
    /// The value where it is a number or a histogram, else the key.
    Usual,
    Key,
    Value,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Stmt {
    pub kind: StmtKind,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub enum StmtKind {
    /// Evaluated for its effect.
    Expr(Expr),
    SetLocal {
        local: LocalId,
        value: Expr,
    },
    SetMap {
        map: MapId,
        key: Vec<Expr>,
        value: Expr,
    },
    /// A value enters an aggregation; None for count(). A histogram may add a weight instead of 1.
    Aggregate {
        map: MapId,
        key: Vec<Expr>,
        value: Option<Expr>,
        weight: Option<Expr>,
    },
    Emit {
        record: RecordId,
        parts: Vec<Expr>,
    },
    /// Text that the kernel formats; the format is as it reads it, with its NUL.
    KernelLine {
        to: KernelText,
        format: Vec<u8>,
        values: Vec<Expr>,
    },
    /// Ends the program and then the tool.
    Exit {
        record: RecordId,
        code: Expr,
    },
    If {
        condition: Expr,
        then: Vec<Stmt>,
        otherwise: Vec<Stmt>,
    },
    /// `Break` and `Continue` in the body mean the innermost loop around them.
    Loop {
        kind: LoopKind,
        body: Vec<Stmt>,
    },
    Break,
    Continue,
    /// Runs a function; its parameters are set before.
    Call(FunctionId),
    /// Ends the function around it, or else the program.
    Return,
    /// What a `test:` probe returns, before it does.
    Result(Expr),
}

#[derive(Clone, PartialEq, Debug)]
pub enum LoopKind {
    /// As long as the condition holds.
    While(Expr),
    /// The variable goes from `from` to the last number before `to`; both are evaluated once.
    Range { variable: LocalId, from: Expr, to: Expr },
    /// Each entry of a map with keys, in no order. Several keys come as a tuple, an aggregation as its merged value.
    Map { map: MapId, key: LocalId, value: LocalId },
    /// That many times, written out one behind the other.
    Unroll(u32),
}

#[derive(Clone, PartialEq, Debug)]
pub struct Expr {
    pub kind: ExprKind,
    pub ty: Type,
    pub span: Span,
}

#[derive(Clone, PartialEq, Debug)]
pub enum ExprKind {
    Int(i64),
    Str(Arc<[u8]>),
    Local(LocalId),
    /// A missing key reads as zero.
    MapGet {
        map: MapId,
        key: Vec<Expr>,
    },
    HasKey {
        map: MapId,
        key: Vec<Expr>,
    },
    Delete {
        map: MapId,
        key: Vec<Expr>,
    },
    /// The number of entries of a map with keys.
    Len {
        map: MapId,
    },
    /// 64 bits wide; the operands are integers or pointers.
    Binary {
        op: BinaryOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// Compares the contents of two strings.
    StrEqual {
        negated: bool,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// Whether two kept values are the same bit by bit, both as that type.
    Same {
        negated: bool,
        left: Box<Expr>,
        right: Box<Expr>,
        ty: Type,
    },
    Negate(Box<Expr>),
    Complement(Box<Expr>),
    Not(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Ternary {
        condition: Box<Expr>,
        then: Box<Expr>,
        otherwise: Box<Expr>,
    },
    /// To the type of this expression: integers are cut and extended, everything else keeps its bits.
    Convert(Box<Expr>),
    /// `$x += e` and the like as a value: the new one, or the old one.
    UpdateLocal {
        local: LocalId,
        op: BinaryOp,
        operand: Box<Expr>,
        old: bool,
    },
    UpdateMap {
        map: MapId,
        key: Vec<Expr>,
        op: BinaryOp,
        operand: Box<Expr>,
        old: bool,
    },
    /// A helper without arguments: `(result >> shift)`, the low `bits` of it.
    Helper {
        id: u32,
        shift: u8,
        bits: u8,
    },
    /// A value in the program's context.
    Context(Location),
    /// The context itself as a pointer.
    ContextPointer,
    /// Memory behind a pointer, at a constant offset.
    Deref {
        pointer: Box<Expr>,
        offset: i64,
        bits: Option<BitField>,
    },
    /// The string behind a pointer, at most `limit` bytes of it where given.
    ReadString {
        pointer: Box<Expr>,
        space: Space,
        limit: Option<Box<Expr>>,
    },
    Comm,
    CurrentTask,
    /// What a register held when the current task left user mode, by its byte offset in `struct pt_regs`.
    TaskRegister {
        offset: u32,
    },
    /// The number of a new speculation.
    Speculation,
    /// The time at which the tool started, to count `elapsed` from.
    StartTime,
    /// What is added to the boot clock for nanoseconds since 1970.
    WallOffset,
    /// The id of the site that fired.
    Site,
    /// The second frame of a stack.
    Caller {
        user: bool,
    },
    /// By frame pointers.
    Stack {
        user: bool,
        frames: u32,
    },
    /// The user stack by the tables in which compilers note where each function keeps what it returns to.
    StackByTables {
        frames: u32,
        /// Where it begins: the instruction, stack and frame pointers with which the process came into the kernel.
        registers: Box<[Expr; 3]>,
    },
    /// What the traced function returns, instead of running.
    Override(Box<Expr>),
    /// Copies bytes into memory of alloca(), at most so many; 1 where all of that is possible.
    CopyBytes {
        from: Box<Expr>,
        to: Box<Expr>,
        length: Box<Expr>,
        most: u32,
    },
    /// Writes a buffer into the memory of the process; 1 where that is possible.
    WriteUser {
        address: Box<Expr>,
        buffer: Box<Expr>,
    },
    /// To the process, or to the thread alone.
    Signal {
        number: Box<Expr>,
        thread: bool,
    },
    /// The parts of a tuple or a record, in order.
    Tuple(Vec<Expr>),
    /// A part of a tuple or a record that is kept in memory, that many bytes from its start.
    Part {
        base: Box<Expr>,
        offset: u32,
    },
    /// The same of a struct or an array, which are kept as C lays them out.
    Member {
        base: Box<Expr>,
        offset: u32,
        bits: Option<BitField>,
    },
    /// Statements that run first, then the value.
    Block {
        statements: Vec<Stmt>,
        value: Box<Expr>,
    },
    /// An element of a kept string, array or buffer, by a number that is known only when the program runs. Outside of a
    /// string it is 0; outside of an array it is counted, too.
    Element {
        base: Box<Expr>,
        index: Box<Expr>,
    },
    /// Where a value lies: behind a pointer, in the context, or in the tool's own memory.
    AddressOf(Box<Expr>),
    /// Bytes of a string up to the NUL, or frames of a stack.
    Length(Box<Expr>),
    /// Below zero, zero or above it, as the first string comes before the second in the order of bytes; at most so many
    /// bytes count.
    StringOrder {
        left: Box<Expr>,
        right: Box<Expr>,
        limit: Option<u32>,
    },
    Concatenate(Box<Expr>, Box<Expr>),
    /// The bytes in the other order, that many of them.
    ByteSwap {
        value: Box<Expr>,
        bytes: u8,
    },
    /// Bytes behind a pointer, at most as many as the type holds.
    ReadBytes {
        pointer: Box<Expr>,
        length: Box<Expr>,
    },
    /// `bytes` bytes behind a pointer, or with 0 the number itself.
    Inet {
        family: Box<Expr>,
        address: Box<Expr>,
        bytes: u32,
    },
    /// What an aggregation holds now, the parts of all processors merged.
    AggregationValue {
        map: MapId,
        key: Vec<Expr>,
        part: AggregationPart,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BitField {
    /// Bits below it in the storage unit that the expression's type gives.
    pub shift: u8,
    pub width: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BinaryOp {
    Add,
    Subtract,
    Multiply,
    DivideSigned,
    DivideUnsigned,
    RemainderSigned,
    RemainderUnsigned,
    BitAnd,
    BitOr,
    BitXor,
    ShiftLeft,
    ShiftRightSigned,
    ShiftRightUnsigned,
    Equal,
    NotEqual,
    LessSigned,
    LessUnsigned,
    LessEqualSigned,
    LessEqualUnsigned,
}

impl BinaryOp {
    /// What the operation gives, 64 bits wide. A shift by 64 or more gives 0 (or the sign), a division by zero 0.
    pub fn apply(self, a: i64, b: i64) -> i64 {
        match self {
            BinaryOp::Add => a.wrapping_add(b),
            BinaryOp::Subtract => a.wrapping_sub(b),
            BinaryOp::Multiply => a.wrapping_mul(b),
            BinaryOp::DivideSigned => a.checked_div(b).unwrap_or(if b == 0 { 0 } else { a }),
            BinaryOp::DivideUnsigned => (a as u64).checked_div(b as u64).unwrap_or(0) as i64,
            BinaryOp::RemainderSigned => a.checked_rem(b).unwrap_or(0),
            BinaryOp::RemainderUnsigned => (a as u64).checked_rem(b as u64).unwrap_or(0) as i64,
            BinaryOp::BitAnd => a & b,
            BinaryOp::BitOr => a | b,
            BinaryOp::BitXor => a ^ b,
            BinaryOp::ShiftLeft => u32::try_from(b).ok().and_then(|b| a.checked_shl(b)).unwrap_or(0),
            BinaryOp::ShiftRightSigned => a >> (b as u64).min(63),
            BinaryOp::ShiftRightUnsigned => {
                u32::try_from(b).ok().and_then(|b| (a as u64).checked_shr(b)).unwrap_or(0) as i64
            }
            BinaryOp::Equal => i64::from(a == b),
            BinaryOp::NotEqual => i64::from(a != b),
            BinaryOp::LessSigned => i64::from(a < b),
            BinaryOp::LessUnsigned => i64::from((a as u64) < (b as u64)),
            BinaryOp::LessEqualSigned => i64::from(a <= b),
            BinaryOp::LessEqualUnsigned => i64::from((a as u64) <= (b as u64)),
        }
    }

    pub fn is_comparison(self) -> bool {
        match self {
            BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::LessSigned
            | BinaryOp::LessUnsigned
            | BinaryOp::LessEqualSigned
            | BinaryOp::LessEqualUnsigned => true,
            BinaryOp::Add
            | BinaryOp::Subtract
            | BinaryOp::Multiply
            | BinaryOp::DivideSigned
            | BinaryOp::DivideUnsigned
            | BinaryOp::RemainderSigned
            | BinaryOp::RemainderUnsigned
            | BinaryOp::BitAnd
            | BinaryOp::BitOr
            | BinaryOp::BitXor
            | BinaryOp::ShiftLeft
            | BinaryOp::ShiftRightSigned
            | BinaryOp::ShiftRightUnsigned => false,
        }
    }

    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Subtract => "-",
            BinaryOp::Multiply => "*",
            BinaryOp::DivideSigned => "/s",
            BinaryOp::DivideUnsigned => "/u",
            BinaryOp::RemainderSigned => "%s",
            BinaryOp::RemainderUnsigned => "%u",
            BinaryOp::BitAnd => "&",
            BinaryOp::BitOr => "|",
            BinaryOp::BitXor => "^",
            BinaryOp::ShiftLeft => "<<",
            BinaryOp::ShiftRightSigned => ">>s",
            BinaryOp::ShiftRightUnsigned => ">>u",
            BinaryOp::Equal => "==",
            BinaryOp::NotEqual => "!=",
            BinaryOp::LessSigned => "<s",
            BinaryOp::LessUnsigned => "<u",
            BinaryOp::LessEqualSigned => "<=s",
            BinaryOp::LessEqualUnsigned => "<=u",
        }
    }
}

impl Expr {
    pub fn int(value: i64, span: Span) -> Expr {
        Expr { kind: ExprKind::Int(value), ty: Type::I64, span }
    }

    /// The value, where it is a constant integer.
    pub fn constant(&self) -> Option<i64> {
        match &self.kind {
            ExprKind::Int(value) => Some(*value),
            ExprKind::Convert(inner) if self.ty.is_scalar() && self.ty.size() == 8 => inner.constant(),
            _ => None,
        }
    }
}

impl Program {
    /// The statements of the program itself, then those of each function.
    pub fn bodies(&self) -> impl Iterator<Item = &[Stmt]> {
        std::iter::once(&self.body[..]).chain(self.functions.iter().map(|function| &function.body[..]))
    }
}
