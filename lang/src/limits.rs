//! Every constant, limit and buffer size, each with its reason. Nothing else decides a size.

/// Bytes of stack that the kernel gives a BPF program (include/linux/filter.h, `MAX_BPF_STACK`).
pub const BPF_STACK_BYTES: u32 = 512;

/// Functions of a program that may run at once, the program itself included (include/linux/bpf_verifier.h,
/// `MAX_CALL_FRAMES`).
pub const MOST_FUNCTIONS_AT_ONCE: u32 = 8;

/// Bytes of a task's name with its NUL (include/linux/sched.h, `TASK_COMM_LEN`).
pub const COMM_BYTES: u32 = 16;

/// Default capacity of `str()` in bytes with the NUL; what scripts written for bpftrace expect.
pub const DEFAULT_MAX_STRLEN: u32 = 1024;

/// The largest `max_strlen`: larger strings would not fit a per-CPU map value next to a key.
pub const LARGEST_MAX_STRLEN: u32 = 64 * 1024;

/// Default number of bytes that `cat()` prints of a file; what scripts written for bpftrace expect.
pub const DEFAULT_MAX_CAT_BYTES: u64 = 10_240;

/// Default number of keys of a map; what scripts written for bpftrace expect.
pub const DEFAULT_MAX_MAP_KEYS: u64 = 4096;

/// Default depth of `kstack` and `ustack`, and the kernel's own default (`kernel.perf_event_max_stack`).
pub const DEFAULT_STACK_FRAMES: u32 = 127;

/// Programs that may be in the middle of one another on a processor and have scratch memory of their own: of tasks that were taken
/// off, of interrupts, and of those that cannot be masked.
pub const SCRATCH_SLOTS: u32 = 4;

/// Distinct stacks kept at the same time, of about 1 KiB each: where the kernel takes that memory when it is used, and where it
/// takes all at the start.
pub const STACK_MAP_ENTRIES: u32 = 64 * 1024;
pub const STACK_MAP_ENTRIES_AT_START: u32 = 16 * 1024;

/// Places in code that `dw_ustack` has room for, a power of two, and different ways from there to the caller. They are 8 bytes each,
/// which are taken when a script starts that uses it.
pub const UNWIND_ROWS: u32 = 1 << 22;
pub const UNWIND_WAYS: u32 = 1 << 16;

/// Mappings of code that `dw_ustack` knows of a process at one time, a power of two, and of all of them, of 32 bytes each.
pub const UNWIND_MAPPINGS: u32 = 1024;
pub const UNWIND_MAPPINGS_IN_ALL: u32 = 64 * 1024;

/// Processes and files that `dw_ustack` knows at one time, and processes that it asks for between two looks of the tool.
pub const UNWIND_PROCESSES: u32 = 8192;
pub const UNWIND_FILES: u32 = 8192;
pub const UNWIND_WANTED: u32 = 1024;

/// What is printed for single events more often than that in a second is warned of by `--check-rate`: nobody reads it, and a
/// reader that is busy for a moment loses some.
pub const MOST_PRINTS_A_SECOND: u64 = 10_000;

/// Most bits of `hist()`: each power of two has 2^bits buckets, as in bpftrace.
pub const MOST_HIST_BITS: i64 = 5;

/// Bits of `quantiles()`: half a bucket is at most 1/64 of its values.
pub const QUANTILE_BITS: u32 = 5;

/// Steps of one `lhist()` or `lquantize()`, as in bpftrace.
pub const LHIST_MAX_BUCKETS: u64 = 1000;

/// Bytes of an aggregation's cell on one processor: the kernel's own limit of a per-CPU value (include/linux/percpu.h,
/// `PCPU_MIN_UNIT_SIZE`).
pub const LARGEST_CELL_BYTES: u32 = 32 * 1024;

/// Intervals of one `tseries()`, as in bpftrace.
pub const SERIES_MAX_INTERVALS: i64 = 1_000_000;

/// The same for each key of a map: so many of three words fit `LARGEST_CELL_BYTES`.
pub const SERIES_MAX_INTERVALS_OF_A_KEY: i64 = 1365;

/// The largest factor of `llquantize()`, and its most steps, as in D.
pub const LLQUANTIZE_MOST: i64 = 65_535;

/// Cells of maps with keys above this size are shared by all processors, and take their memory when a key is first
/// used, where the kernel can do that from everywhere. 4096 keys of this size take 8 MB.
pub const LARGE_CELL_BYTES: u32 = 2048;

/// Bytes of all large cells of a map, where they must be taken when the map is made: such a map takes fewer keys.
pub const MOST_MAP_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of the ring buffer through which events travel: a power of two and a multiple of the page size. Large enough
/// for 100,000 records of three numbers while the reader sleeps. The reader sees it mapped twice, all of it resident.
pub const RING_BYTES: u32 = 4 * 1024 * 1024;

/// The same where only BEGIN, END and timers send events, which are read as soon as they are sent: making and mapping
/// a large buffer takes longer than all the rest of a short run.
pub const SMALL_RING_BYTES: u32 = 256 * 1024;

/// The same where nothing but `exit()` sends any: what it sends first is enough.
pub const EXIT_RING_BYTES: u32 = 4096;

/// Bytes of a hash map's key; the kernel takes up to its `KMALLOC_MAX_SIZE`, and a preallocated map of the default
/// number of keys must stay small.
pub const MAX_KEY_BYTES: u32 = 64 * 1024;

/// The same on kernels that want a key to fit a program's stack (include/linux/filter.h, `MAX_BPF_STACK`): strings in
/// larger keys are cut.
pub const SMALL_KEY_BYTES: u32 = 512;

/// Most sites that one script may attach to, so that a slip of a wildcard does not trace the whole kernel.
pub const MAX_PROBES: usize = 65_536;

/// Most copies that `unroll` makes, as in bpftrace.
pub const MOST_UNROLLED: u32 = 100;

/// Rounds of a loop that the kernel lets one helper call take (kernel/bpf/bpf_iter.c, `BPF_MAX_LOOPS`).
pub const MOST_ROUNDS: i64 = 8 * 1024 * 1024;

/// Rounds of a loop whose number is known that are compiled as plain jumps: the kernel's verifier goes through each.
pub const MOST_PLAIN_ROUNDS: u64 = 256;

/// Rounds of any other loop on kernels without the helper that loops: the verifier goes through each there, but sees only that
/// a function is called.
pub const MOST_GLOBAL_ROUNDS: i64 = 1000;

/// The same where the body cannot be such a function, since it needs the probe's context: the verifier goes through all of it.
pub const MOST_OLD_ROUNDS: u64 = 100;

/// The same of loops in loops, all together.
pub const MOST_OLD_ROUNDS_TOGETHER: u64 = 1500;

/// Depth of nested expressions and blocks that the parser accepts: deeper input would exhaust a thread's stack.
pub const MAX_NESTING: usize = 200;

/// Calls whose values `entry()` keeps at once; beyond, those that have been under way longest lose theirs.
pub const CALLS_AT_ONCE: u64 = 16_384;

/// Numbers that processes have on any machine: 0 to one less (include/linux/threads.h, `PID_MAX_LIMIT`).
pub const PROCESS_NUMBERS: u32 = 4 << 20;

/// Bytes of a value that the kernel takes for a per-CPU array (include/linux/percpu.h, `PCPU_MIN_UNIT_SIZE`).
pub const MOST_PER_CPU_BYTES: u32 = 32 << 10;

/// Bytes that one alloca() gives: each takes up to four times as many of the memory that every processor keeps for programs.
pub const MOST_ALLOCATED_BYTES: u32 = 4096;
