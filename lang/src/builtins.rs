//! Every builtin value and function: one row each, with its documentation and how it is lowered. Help, completion and
//! documentation follow from the rows; aggregations have a table of their own.

mod macros;

pub use macros::MACROS;

use crate::calls;

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
    Args,
    Buffer,
    ByteSwap,
    Cat,
    CgroupPath,
    Clear,
    Comm,
    CompareStrings,
    Concatenate,
    CurrentTask,
    Delete,
    Denormalize,
    Elapsed,
    ErrorMessage,
    ErrorText,
    Exit,
    Func,
    HasKey,
    Inet,
    KernelAddress,
    KernelPointer,
    KernelStack,
    KernelSymbol,
    Known(Known),
    Len,
    Mac,
    Normalize,
    Nsecs,
    PossibleCpus,
    Print,
    Printa,
    Printf,
    Probe,
    ProbeEvent,
    ProbeFunction,
    ProbeModule,
    ProcessId,
    Register,
    ReturnValue,
    Signal,
    SignalName,
    SignalThread,
    StaticAssert,
    Str,
    StringLength,
    System,
    SystemCallName,
    ThreadId,
    Time,
    TimeText,
    Truncate,
    UserMode,
    UserName,
    UserPointer,
    UserStack,
    UserSymbol,
    WallClock,
    WarningMessage,
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

use Intrinsic as I;

pub static BUILTINS: &[Builtin] = &[
    value(
        "args",
        "args: struct",
        "The probe's arguments by name.",
        "tracepoint:syscalls:sys_enter_read { @ = sum(args.count); }",
        Lowering::Intrinsic(I::Args),
    ),
    function(
        "assert_str",
        (1, 1),
        "assert_str(value)",
        "Refuses the script where the value is no string.",
        "BEGIN { assert_str(comm); }",
        I::Known(Known::AssertString),
    ),
    function(
        "bswap",
        (1, 1),
        "bswap(number): the same type",
        "The bytes of a number in the other order: 2, 4 or 8 of them, as its type has.",
        "BEGIN { printf(\"%x\\n\", bswap((uint16)0x1234)); }",
        I::ByteSwap,
    ),
    function(
        "buf",
        (1, 2),
        "buf(pointer, length) or buf(array): buffer",
        "Raw bytes from memory, printed with %r; at most max_strlen of them.",
        "BEGIN { printf(\"%r\\n\", buf(curtask.comm)); }",
        I::Buffer,
    ),
    function(
        "cat",
        (1, usize::MAX),
        "cat(\"format\", ...)",
        "Prints the contents of a file when the event reaches the tool: at most max_cat_bytes.",
        "BEGIN { cat(\"/proc/loadavg\"); }",
        I::Cat,
    ),
    value(
        "cgroup",
        "cgroup: uint64",
        "The id of the current task's cgroup (version 2).",
        "BEGIN { printf(\"%d\\n\", cgroup > 0); }",
        helper(calls::GET_CURRENT_CGROUP_ID, 0, 64),
    ),
    function(
        "cgroup_path",
        (1, 2),
        "cgroup_path(id): cgroup path",
        "A cgroup's id that prints as its path below /sys/fs/cgroup.",
        "BEGIN { print(cgroup_path(cgroup)); }",
        I::CgroupPath,
    ),
    function(
        "cgroupid",
        (1, 1),
        "cgroupid(\"path\"): uint64",
        "The id of a cgroup by its directory, found when the script is compiled.",
        "BEGIN { printf(\"%d\\n\", cgroup == cgroupid(\"/sys/fs/cgroup\")); }",
        I::Known(Known::Cgroup),
    ),
    function(
        "clear",
        (1, 1),
        "clear(@map)",
        "Removes all entries of a map, when the event reaches the tool.",
        "BEGIN { @x[1] = 1; clear(@x); }",
        I::Clear,
    ),
    bare(function(
        "comm",
        (0, 1),
        "comm: string[16], comm(pid): process name",
        "The name of the current thread; of a process id, a number that prints as its name.",
        "BEGIN { printf(\"%d\\n\", comm == \"rtrace\"); }",
        I::Comm,
    )),
    bare(function(
        "config",
        (0, 0),
        "config: record",
        "The settings of the script.",
        "BEGIN { print(config.max_map_keys); }",
        I::Known(Known::Config),
    )),
    bare(function(
        "cpid",
        (0, 0),
        "cpid: uint32",
        "The process id of the command of `-c`.",
        "BEGIN { if comptime has_cpid { print(cpid); } }",
        I::Known(Known::Child),
    )),
    value(
        "cpu",
        "cpu: uint32",
        "The number of the processor that runs the probe.",
        "BEGIN { printf(\"%d\\n\", cpu < ncpus); }",
        helper(calls::GET_SMP_PROCESSOR_ID, 0, 32),
    ),
    value(
        "curtask",
        "curtask: struct task_struct *",
        "The current task in the kernel.",
        "BEGIN { printf(\"%d\\n\", curtask.pid == tid); }",
        Lowering::Intrinsic(I::CurrentTask),
    ),
    bare(function(
        "default_str_length",
        (0, 0),
        "default_str_length(): int64",
        "Bytes that a string holds: max_strlen.",
        "BEGIN { print(default_str_length()); }",
        I::Known(Known::DefaultLength),
    )),
    function(
        "delete",
        (1, 2),
        "delete(@map[key]) or delete(@map, key): bool",
        "Removes one entry, or a map without keys; true if it was there.",
        "BEGIN { @x[1] = 1; delete(@x[1]); }",
        I::Delete,
    ),
    function(
        "denormalize",
        (1, 1),
        "denormalize(@map)",
        "Undoes normalize(), when the event reaches the tool.",
        "BEGIN { @x = sum(5000); normalize(@x, 1000); denormalize(@x); }",
        I::Denormalize,
    ),
    value(
        "elapsed",
        "elapsed: uint64",
        "Nanoseconds since rtrace started.",
        "BEGIN { printf(\"%d\\n\", elapsed > 0); }",
        Lowering::Intrinsic(I::Elapsed),
    ),
    function(
        "errorf",
        (1, usize::MAX),
        "errorf(\"format\", ...)",
        "Prints a message as an error, with its place in the script.",
        "BEGIN { errorf(\"odd: %d\", 3); }",
        I::ErrorMessage,
    ),
    bare(function(
        "exit",
        (0, 1),
        "exit(code = 0)",
        "Ends the probe at once and then the tool, with that exit status.",
        "BEGIN { exit(); }",
        I::Exit,
    )),
    function(
        "fail",
        (1, usize::MAX),
        "fail(\"message\")",
        "Refuses the script where it is reached: a place that `if comptime` has not left out.",
        "BEGIN { if comptime (sizeof(uint64) != 8) { fail(\"width\"); } }",
        I::Known(Known::Fail),
    ),
    value(
        "func",
        "func: string",
        "The name of the traced function.",
        "kprobe:vfs_read { @[func] = count(); }",
        Lowering::Intrinsic(I::Func),
    ),
    function(
        "getopt",
        (1, 3),
        "getopt(\"name\", default = false, \"help\")",
        "The parameter `--name` or `--name=VALUE` behind the script's own; of the type of the default.",
        "BEGIN { print(getopt(\"count\", 10, \"how many\")); }",
        I::Known(Known::Option),
    ),
    value(
        "gid",
        "gid: uint64",
        "The group id of the current task, in the first user namespace.",
        "BEGIN { printf(\"%d\\n\", gid); }",
        helper(calls::GET_CURRENT_UID_GID, 32, 32),
    ),
    bare(function(
        "has_cpid",
        (0, 0),
        "has_cpid: bool",
        "Whether there is a command of `-c`.",
        "BEGIN { print(has_cpid); }",
        I::Known(Known::HasChild),
    )),
    function(
        "has_key",
        (2, 2),
        "has_key(@map, key): bool",
        "True if the map has an entry of that key.",
        "BEGIN { @x[1] = 1; printf(\"%d\\n\", has_key(@x, 1)); }",
        I::HasKey,
    ),
    function(
        "is_array",
        (1, 1),
        "is_array(value): bool",
        "Whether the value is an array. Known when the script is compiled.",
        "BEGIN { print(is_array(1)); }",
        I::Known(Known::IsArray),
    ),
    function(
        "is_integer",
        (1, 1),
        "is_integer(value): bool",
        "Whether the value is an integer. Known when the script is compiled.",
        "BEGIN { print(is_integer(1)); }",
        I::Known(Known::IsInteger),
    ),
    function(
        "is_literal",
        (1, 1),
        "is_literal(value): bool",
        "Whether a number or a string is written there. Known when the script is compiled.",
        "BEGIN { print(is_literal(1)); }",
        I::Known(Known::IsLiteral),
    ),
    function(
        "is_ptr",
        (1, 1),
        "is_ptr(value): bool",
        "Whether the value is a pointer. Known when the script is compiled.",
        "BEGIN { print(is_ptr(curtask)); }",
        I::Known(Known::IsPointer),
    ),
    function(
        "is_scalar",
        (1, 1),
        "is_scalar(value): bool",
        "Whether the value fits a register. Known when the script is compiled.",
        "BEGIN { print(is_scalar(1)); }",
        I::Known(Known::IsScalar),
    ),
    function(
        "is_str",
        (1, 1),
        "is_str(value): bool",
        "Whether the value is a string. Known when the script is compiled.",
        "BEGIN { print(is_str(comm)); }",
        I::Known(Known::IsString),
    ),
    function(
        "is_unsigned_integer",
        (1, 1),
        "is_unsigned_integer(value): bool",
        "Whether the value is an integer without a sign. Known when the script is compiled.",
        "BEGIN { print(is_unsigned_integer(nsecs)); }",
        I::Known(Known::IsUnsigned),
    ),
    value(
        "jiffies",
        "jiffies: uint64",
        "The kernel's timer ticks since boot.",
        "BEGIN { printf(\"%d\\n\", jiffies > 0); }",
        helper(calls::JIFFIES64, 0, 64),
    ),
    function(
        "kaddr",
        (1, 1),
        "kaddr(\"symbol\"): uint64",
        "The address of a kernel symbol, found when the script is compiled.",
        "BEGIN { printf(\"%s\\n\", ksym(kaddr(\"vfs_read\"))); }",
        I::KernelAddress,
    ),
    function(
        "kfunc_allowed",
        (1, 1),
        "kfunc_allowed(\"function\"): bool",
        "Whether scripts may call the kernel's function: never, rtrace calls helpers only.",
        "BEGIN { print(kfunc_allowed(\"bpf_task_from_pid\")); }",
        I::Known(Known::KernelFunctionAllowed),
    ),
    function(
        "kfunc_exist",
        (1, 1),
        "kfunc_exist(\"function\"): bool",
        "Whether the kernel's BTF has the function. Known when the script is compiled.",
        "BEGIN { print(kfunc_exist(\"vfs_read\")); }",
        I::Known(Known::KernelFunction),
    ),
    function(
        "kptr",
        (1, 1),
        "kptr(pointer)",
        "The same pointer, known to point into the kernel.",
        "BEGIN { print(kptr(curtask).pid > 0); }",
        I::KernelPointer,
    ),
    bare(function(
        "kstack",
        (0, 2),
        "kstack(mode = bpftrace, frames = 127): kstack",
        "The kernel stack. Can be a key. Modes: bpftrace, perf, raw.",
        "profile:hz:99 { @[kstack] = count(); }",
        I::KernelStack,
    )),
    function(
        "ksym",
        (1, 1),
        "ksym(address): ksym",
        "A kernel address that prints as its symbol.",
        "BEGIN { printf(\"%s\\n\", ksym(kaddr(\"vfs_read\"))); }",
        I::KernelSymbol,
    ),
    function(
        "len",
        (1, 1),
        "len(@map): int64",
        "The number of entries of a map with keys.",
        "BEGIN { @x[1] = 1; printf(\"%d\\n\", len(@x)); }",
        I::Len,
    ),
    function(
        "macaddr",
        (1, 1),
        "macaddr(bytes): macaddr",
        "Six bytes in memory that print as the address of a network device.",
        "BEGIN { print(macaddr(curtask.comm)); }",
        I::Mac,
    ),
    value(
        "ncpus",
        "ncpus: uint64",
        "The number of processors that may come online.",
        "BEGIN { printf(\"%d\\n\", ncpus > 0); }",
        Lowering::Intrinsic(I::PossibleCpus),
    ),
    function(
        "normalize",
        (2, 2),
        "normalize(@map, n)",
        "From now on all values of the map are shown divided by n. What the map holds stays.",
        "BEGIN { @x = sum(5000); normalize(@x, 1000); print(@x); }",
        I::Normalize,
    ),
    bare(function(
        "nsecs",
        (0, 1),
        "nsecs(clock = boot): uint64",
        "Nanoseconds: of the clock `boot` (runs on in suspend), `monotonic` or `tai`.",
        "BEGIN { @start = nsecs; printf(\"%d\\n\", nsecs >= @start); }",
        I::Nsecs,
    )),
    function(
        "ntop",
        (1, 2),
        "ntop(family = by size, address): inet",
        "An address of the internet as text: of a number, or of 4 or 16 bytes in memory.",
        "BEGIN { print(ntop(0x0100007f)); }",
        I::Inet,
    ),
    value(
        "numaid",
        "numaid: uint32",
        "The number of the memory node of the current processor.",
        "BEGIN { printf(\"%d\\n\", numaid); }",
        helper(calls::GET_NUMA_NODE_ID, 0, 32),
    ),
    bare(function(
        "pid",
        (0, 1),
        "pid: uint32, pid(init): uint32",
        "The process id of the current task.",
        "BEGIN { printf(\"%d\\n\", pid > 0); }",
        I::ProcessId,
    )),
    function(
        "print",
        (1, 5),
        "print(value) or print(@map, top: all, div: 1, by: \"key\" or \"value\", order: \"asc\" or \"desc\")",
        "Prints a value, or a whole map: its `top` largest entries, values divided by `div`. `top` and `div` may stand without their names.",
        "BEGIN { @x[1] = 5; print(@x); print(@x, 10, order: \"desc\"); print((1, \"a\")); }",
        I::Print,
    ),
    function(
        "printa",
        (1, usize::MAX),
        "printa(\"format\", @map, ...) or printa(@map, ...)",
        "Prints a line for each key, as D does: %@d shows the value of the next map, every other conversion the next part of the key. Maps that it names are not printed again at the end.",
        "BEGIN { @a[1] = count(); @b[1] = sum(5); printa(\"%d %@d %@d\\n\", @a, @b); printa(@a); }",
        I::Printa,
    ),
    function(
        "printf",
        (1, usize::MAX),
        "printf(\"format\", ...)",
        "Prints formatted text: %d %i %u %x %X %o %c %p %s %%, with flags, width and precision.",
        "BEGIN { printf(\"%s %d\\n\", \"hi\", 1 + 2 * 3); }",
        I::Printf,
    ),
    value(
        "probe",
        "probe: string",
        "The full name of the probe that fired.",
        "BEGIN { printf(\"%s\\n\", probe); }",
        Lowering::Intrinsic(I::Probe),
    ),
    bare(function(
        "probefunc",
        (0, 0),
        "probefunc: string",
        "The function or event of the probe that fired, as D calls it.",
        "tracepoint:sched:sched_switch { @[probefunc] = count(); }",
        I::ProbeFunction,
    )),
    bare(function(
        "probemod",
        (0, 0),
        "probemod: string",
        "The module, file or category of the probe that fired, as D calls it.",
        "tracepoint:sched:sched_switch { @[probemod] = count(); }",
        I::ProbeModule,
    )),
    bare(function(
        "probename",
        (0, 0),
        "probename: string",
        "`entry` or `return` of a function, or the event, as D calls it.",
        "tracepoint:sched:sched_switch { @[probename] = count(); }",
        I::ProbeEvent,
    )),
    bare(function(
        "probeprov",
        (0, 0),
        "probeprov: string",
        "The provider of the probe that fired, as D calls it.",
        "BEGIN { print(probeprov); }",
        I::Known(Known::ProbeProvider),
    )),
    bare(function(
        "probetype",
        (0, 0),
        "probetype: string",
        "The provider of the probe that fired; `special` for BEGIN and END.",
        "BEGIN { print(probetype); }",
        I::Known(Known::ProbeType),
    )),
    function(
        "pton",
        (1, 1),
        "pton(\"address\"): uint8[4] or uint8[16]",
        "The bytes of an address of the internet, in the order of networks.",
        "BEGIN { print(pton(\"10.0.0.1\")); }",
        I::Known(Known::NetworkAddress),
    ),
    value(
        "rand",
        "rand: uint32",
        "A pseudo-random number.",
        "BEGIN { printf(\"%d\\n\", rand >= 0); }",
        helper(calls::GET_PRANDOM_U32, 0, 32),
    ),
    function(
        "reg",
        (1, 1),
        "reg(\"name\"): uint64",
        "A register of the processor, by its name: ax bx cx dx si di bp sp ip r8 ... r15 cs ss flags orig_ax.",
        "profile:hz:99 { @[ksym(reg(\"ip\"))] = count(); }",
        I::Register,
    ),
    value(
        "retval",
        "retval",
        "What the function returns, in kretprobe, uretprobe and fexit.",
        "kretprobe:vfs_read { @ = hist(retval); }",
        Lowering::Intrinsic(I::ReturnValue),
    ),
    needs_unsafe(function(
        "signal",
        (1, 1),
        "signal(number or \"NAME\")",
        "Sends a signal to the current process.",
        "BEGIN { signal(0); }",
        I::Signal,
    )),
    function(
        "signal_name",
        (1, 1),
        "signal_name(number): signal",
        "A signal's number that prints as its name.",
        "BEGIN { print(signal_name(9)); }",
        I::SignalName,
    ),
    needs_unsafe(function(
        "signal_thread",
        (1, 1),
        "signal_thread(number or \"NAME\")",
        "Sends a signal to the current thread.",
        "BEGIN { signal_thread(0); }",
        I::SignalThread,
    )),
    function(
        "static_assert",
        (2, 2),
        "static_assert(condition, \"message\")",
        "Refuses the script where the condition, a constant, is false.",
        "BEGIN { static_assert(sizeof(uint64) == 8, \"width\"); }",
        I::StaticAssert,
    ),
    function(
        "str",
        (1, 2),
        "str(pointer, length = max_strlen): string",
        "Reads a NUL-terminated string from kernel or user memory.",
        "tracepoint:syscalls:sys_enter_openat { printf(\"%s\\n\", str(args.filename)); }",
        I::Str,
    ),
    function(
        "str_concat",
        (2, 2),
        "str_concat(a, b): string",
        "Both strings, one behind the other. `+` is short for it.",
        "BEGIN { print(str_concat(\"ab\", \"cd\")); }",
        I::Concatenate,
    ),
    function(
        "strcap",
        (1, 1),
        "strcap(string): int64",
        "Bytes that the string has room for, its NUL included.",
        "BEGIN { print(strcap(comm)); }",
        I::Known(Known::StringCapacity),
    ),
    function(
        "strerror",
        (1, 1),
        "strerror(errno): error",
        "An error's number that prints as its text.",
        "BEGIN { print(strerror(ENOENT)); }",
        I::ErrorText,
    ),
    function(
        "strftime",
        (2, 2),
        "strftime(\"format\", nsecs): time",
        "A point in time that prints as strftime(3) writes it; %f are microseconds.",
        "BEGIN { print(strftime(\"%Y\", nsecs)); }",
        I::TimeText,
    ),
    function(
        "strlen",
        (1, 1),
        "strlen(string): int64",
        "Bytes of the string.",
        "BEGIN { print(strlen(\"abc\")); }",
        I::StringLength,
    ),
    function(
        "strncmp",
        (3, 3),
        "strncmp(a, b, length): int64",
        "Compares that many bytes of two strings: 0 where they are equal, below or above where not.",
        "BEGIN { print(strncmp(\"abc\", \"abd\", 2)); }",
        I::CompareStrings,
    ),
    function(
        "syscall_name",
        (1, 1),
        "syscall_name(number): system call",
        "A system call's number that prints as its name.",
        "BEGIN { print(syscall_name(0)); }",
        I::SystemCallName,
    ),
    needs_unsafe(function(
        "system",
        (1, usize::MAX),
        "system(\"format\", ...)",
        "Runs a shell command when the event reaches the tool.",
        "BEGIN { system(\"echo %d\", 1); }",
        I::System,
    )),
    bare(function(
        "tid",
        (0, 1),
        "tid: uint32, tid(init): uint32",
        "The thread id of the current task.",
        "BEGIN { printf(\"%d\\n\", tid > 0); }",
        I::ThreadId,
    )),
    function(
        "time",
        (0, 1),
        "time(\"format\" = \"%H:%M:%S\\n\")",
        "Prints the time of day when the event reaches the tool.",
        "BEGIN { time(\"%Y\\n\"); }",
        I::Time,
    ),
    function(
        "trunc",
        (1, 2),
        "trunc(@map, n = 0)",
        "Keeps the n entries with the largest values, or the smallest ones where n is negative, when the event reaches the tool.",
        "BEGIN { @x[1] = 1; @x[2] = 2; trunc(@x, 1); }",
        I::Truncate,
    ),
    value(
        "uid",
        "uid: uint64",
        "The user id of the current task, in the first user namespace.",
        "BEGIN { printf(\"%d\\n\", uid); }",
        helper(calls::GET_CURRENT_UID_GID, 0, 32),
    ),
    function(
        "uptr",
        (1, 1),
        "uptr(pointer)",
        "The same pointer, known to point into the process.",
        "tracepoint:syscalls:sys_enter_openat { @[str(uptr(args.filename))] = count(); }",
        I::UserPointer,
    ),
    value(
        "usermode",
        "usermode: uint8",
        "1 where the processor was running a program, 0 where it was in the kernel.",
        "profile:hz:99 { @[usermode] = count(); }",
        Lowering::Intrinsic(I::UserMode),
    ),
    value(
        "username",
        "username: user name",
        "The name of the current task's user, found when it is printed.",
        "BEGIN { print(username); }",
        Lowering::Intrinsic(I::UserName),
    ),
    bare(function(
        "ustack",
        (0, 2),
        "ustack(mode = bpftrace, frames = 127): ustack",
        "The user stack of the current thread. Can be a key. Modes: bpftrace, perf, raw, build_id.",
        "profile:hz:99 { @[ustack] = count(); }",
        I::UserStack,
    )),
    function(
        "usym",
        (1, 1),
        "usym(address): usym",
        "An address of the current process that prints as its symbol.",
        "profile:hz:99 { @[usym(reg(\"ip\"))] = count(); }",
        I::UserSymbol,
    ),
    bare(function(
        "walltimestamp",
        (0, 0),
        "walltimestamp: uint64",
        "Nanoseconds since 1970, as D calls it.",
        "BEGIN { printf(\"%d\\n\", walltimestamp > 0); }",
        I::WallClock,
    )),
    function(
        "warnf",
        (1, usize::MAX),
        "warnf(\"format\", ...)",
        "Prints a message as a warning, with its place in the script.",
        "BEGIN { warnf(\"odd: %d\", 3); }",
        I::WarningMessage,
    ),
    function(
        "zero",
        (1, 1),
        "zero(@map)",
        "Sets all values of a map to zero and keeps its keys, when the event reaches the tool.",
        "BEGIN { @x[1] = 1; zero(@x); }",
        I::Zero,
    ),
];

/// All rows.
pub fn all() -> impl Iterator<Item = &'static Builtin> {
    BUILTINS.iter().chain(MACROS)
}

/// The row of that name.
pub fn named(name: &str) -> Option<&'static Builtin> {
    [BUILTINS, MACROS].into_iter().find_map(|rows| {
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
        assert!(BUILTINS.is_sorted_by(|a, b| a.name < b.name));
        assert!(MACROS.is_sorted_by(|a, b| a.name < b.name));
    }
}
