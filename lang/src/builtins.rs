//! Every builtin value and function: one row each, with its documentation and how it is lowered. Help, completion and
//! documentation follow from the rows; aggregations have a table of their own.

mod absent;
mod actions;
mod d;
mod functions;
mod known;
mod macros;
mod values;

pub use absent::instead_of;

use actions::ACTIONS;
use d::D_WORDS;
use functions::FUNCTIONS;
use known::KNOWN;
use macros::MACROS;
use values::VALUES;

/// A row of the table.
#[derive(Debug)]
pub struct Builtin {
    pub name: &'static str,
    /// Fewest and most arguments; `BARE` functions may stand without parentheses.
    pub arguments: (usize, usize),
    pub bare: bool,
    pub signature: &'static str,
    pub doc: &'static str,
    /// A whole script that uses it.
    pub example: &'static str,
    /// What changes the system is refused without `--unsafe`.
    pub is_unsafe: bool,
    pub lowering: Lowering,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lowering {
    /// A helper call without arguments: `(result >> shift)`, of which the low `bits` count.
    Helper {
        id: u32,
        shift: u8,
        bits: u8,
    },
    Intrinsic(Intrinsic),
    /// A macro, or several forms of one, written in the language.
    Macro(&'static str),
}

/// Builtins that need code of their own, in the checker and in the compiler.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Intrinsic {
    Allocate,
    Args,
    Buffer,
    ByteSwap,
    Caller,
    Cat,
    CgroupPath,
    Clear,
    Comm,
    Commit,
    CompareStrings,
    Concatenate,
    CopyBytes,
    CurrentTask,
    DebugLine,
    Delete,
    Discard,
    Denormalize,
    Elapsed,
    Entry,
    ErrorMessage,
    ErrorText,
    Exit,
    Func,
    HasKey,
    Inet,
    KernelAddress,
    KernelModule,
    KernelPointer,
    KernelStack,
    KernelSymbol,
    Known(Known),
    Len,
    Mac,
    Normalize,
    Override,
    Packet,
    Nsecs,
    OpenFiles,
    PossibleCpus,
    ProcessNamespace,
    Print,
    Printa,
    Printf,
    PrintJoined,
    Probe,
    ProbeEvent,
    ProbeFunction,
    ProbeModule,
    ProcessId,
    Register,
    Reopen,
    ReturnValue,
    Signal,
    SignalName,
    SignalThread,
    Speculate,
    Speculation,
    StaticAssert,
    Str,
    StringLength,
    System,
    SystemCallName,
    SystemCallNumber,
    ThreadId,
    Time,
    TimeText,
    Truncate,
    Unwatch,
    UserCaller,
    UserMode,
    UserModule,
    UserName,
    UserPointer,
    UserRegisters,
    UserStack,
    UserStackByTables,
    UserAddress,
    UserSymbol,
    WallClock,
    WarningMessage,
    WriteUser,
    Zero,
}

/// Builtins whose values are known when a script is compiled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Known {
    AssertString,
    Cgroup,
    Child,
    Config,
    DefaultLength,
    Defined,
    Fail,
    HasChild,
    IsArray,
    IsInteger,
    IsLiteral,
    IsPointer,
    IsScalar,
    IsString,
    IsUnsigned,
    KernelFunction,
    KernelFunctionAllowed,
    NetworkAddress,
    Option,
    ProbeProvider,
    ProbeType,
    StringCapacity,
}

const fn helper(id: u32, shift: u8, bits: u8) -> Lowering {
    Lowering::Helper { id, shift, bits }
}

const fn value(
    name: &'static str,
    signature: &'static str,
    doc: &'static str,
    example: &'static str,
    lowering: Lowering,
) -> Builtin {
    Builtin { name, arguments: (0, 0), bare: true, signature, doc, example, is_unsafe: false, lowering }
}

const fn function(
    name: &'static str,
    arguments: (usize, usize),
    signature: &'static str,
    doc: &'static str,
    example: &'static str,
    intrinsic: Intrinsic,
) -> Builtin {
    Builtin {
        name,
        arguments,
        bare: false,
        signature,
        doc,
        example,
        is_unsafe: false,
        lowering: Lowering::Intrinsic(intrinsic),
    }
}

const fn bare(row: Builtin) -> Builtin {
    Builtin { bare: true, ..row }
}

const fn needs_unsafe(row: Builtin) -> Builtin {
    Builtin { is_unsafe: true, ..row }
}

/// The tables; each is sorted by name.
const TABLES: [&[Builtin]; 6] = [ACTIONS, D_WORDS, FUNCTIONS, KNOWN, MACROS, VALUES];

/// All rows.
pub fn all() -> impl Iterator<Item = &'static Builtin> {
    TABLES.into_iter().flatten()
}

/// The row of that name.
pub fn named(name: &str) -> Option<&'static Builtin> {
    TABLES.into_iter().find_map(|rows| {
        let at = rows.binary_search_by(|row| row.name.cmp(name)).ok()?;
        Some(&rows[at])
    })
}

/// The number of `argN`, if the name is one.
pub fn argument_number(name: &str) -> Option<usize> {
    let digits = name.strip_prefix("arg")?;
    if digits.is_empty() || digits.len() > 3 { None } else { digits.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_so_that_they_can_be_searched() {
        for table in TABLES {
            assert!(table.is_sorted_by(|a, b| a.name < b.name));
        }
    }
}
