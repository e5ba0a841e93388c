//! What the checker must ask of the machine that a program is for, as a trait, and the data in which the answers come.
//! The compiler and the runtime take these data as they are: neither knows a provider. Never does IO itself.

pub mod fake;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::probe::ProbeSpec;
use crate::types::{EnumRef, Field, StructKind, StructRef, Type};

/// The machine, or a description of one, that a script is checked against.
pub trait Target {
    /// Every site that the specification means, wildcards expanded, in a stable order, without duplicates.
    /// Never an empty list.
    fn resolve(&self, spec: &ProbeSpec, options: &ResolveOptions) -> Result<Vec<ProbeSite>, ResolveError>;

    fn struct_named(&self, kind: StructKind, name: &str) -> Option<StructRef>;

    /// What a type's name that is no keyword means: a typedef (`pid_t`, `size_t`) or a C base type (`unsigned long`).
    fn type_named(&self, name: &str) -> Option<Type>;

    fn enum_named(&self, name: &str) -> Option<EnumRef>;

    /// The members, in order, anonymous ones included.
    fn fields(&self, of: &StructRef) -> Vec<Field>;

    /// Names and values, in order.
    fn enumerators(&self, of: &EnumRef) -> Vec<(Arc<str>, i64)>;

    /// The value of an enumerator by its name.
    fn enumerator(&self, name: &str) -> Option<(i64, EnumRef)>;

    /// Address of a kernel symbol.
    fn kernel_symbol(&self, name: &str) -> Option<u64>;

    /// The id of a cgroup (version 2) by its directory.
    fn cgroup_id(&self, path: &str) -> Option<u64>;

    /// The process namespace whose numbers `pid` and `tid` are; None for the first one of the kernel's.
    fn process_namespace(&self) -> Option<ProcessNamespace> {
        None
    }

    /// Names and values of the kernel's allocation flags (GFP_*), those of several bits first; none where the kernel does not
    /// tell them.
    fn allocation_flags(&self) -> Flags {
        Arc::default()
    }

    /// Ticks of the kernel's timer in a second (HZ).
    fn tick_rate(&self) -> Option<i64> {
        None
    }

    /// Processors that the kernel is built for (NR_CPUS).
    fn most_cpus(&self) -> Option<i64> {
        None
    }

    /// Whether the kernel's BTF knows a function of that name.
    fn has_kernel_function(&self, name: &str) -> bool;

    /// The number by which programs call a function of the kernel that is not a helper.
    fn kernel_call(&self, _name: &str) -> Option<u32> {
        None
    }

    /// Whether the kernel offers it: probed, never concluded from a version.
    fn has(&self, feature: Feature) -> bool;

    /// Names of structs, unions, enums and typedefs for a near-miss search.
    fn type_names(&self) -> Vec<(TypeTag, String)>;

    /// Processors that may ever be online; per-CPU values have that many parts.
    fn possible_cpus(&self) -> u32;

    /// Whether the process has loaded the file that a user-space probe is in. None for other probes, and where it can't be known.
    fn is_in_reach(&self, _site: &ProbeSite, _pid: u32) -> Option<bool> {
        None
    }

    /// A type of the program that a user-space probe is in. Asked after the script and the kernel know none.
    fn program_type(&self, _site: &ProbeSite, _tag: TypeTag, _name: &str) -> Option<Type> {
        None
    }

    /// The same for an enumerator.
    fn program_enumerator(&self, _site: &ProbeSite, _name: &str) -> Option<(i64, EnumRef)> {
        None
    }

    /// Names of structs of that program for a near-miss search.
    fn program_struct_names(&self, _site: &ProbeSite) -> Vec<String> {
        Vec::new()
    }

    /// A function or variable of the program that a user-space probe is in, or with `FILE:NAME` of another one.
    fn program_symbol(&self, _site: &ProbeSite, name: &str) -> Result<ProgramSymbol, Absence> {
        let message = format!("the program has no symbol `{name}`");
        Err(Absence { message, help: "its symbol table has its functions and variables".to_string() })
    }

    /// Whether the function that a user-space probe is at has that name, too.
    fn is_alias(&self, _site: &ProbeSite, _name: &str) -> bool {
        false
    }

    /// Why a site has no `args`, or not that one of them, where there is more to say than just this.
    fn absence(&self, _site: &ProbeSite, _argument: Option<&str>) -> Option<Absence> {
        None
    }
}

/// The inode of the first process namespace (include/linux/proc_ns.h, `PROC_PID_INIT_INO`).
pub const FIRST_PROCESS_NAMESPACE: u64 = 0xefff_fffc;

/// A process namespace, as the kernel tells it from others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcessNamespace {
    /// As programs write it: the major number above 20 bits of the minor one.
    pub device: u64,
    pub inode: u64,
}

/// The word before a type's name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TypeTag {
    Struct,
    Union,
    Enum,
    /// None: a typedef.
    Plain,
}

impl TypeTag {
    /// The type as C writes it.
    pub fn written(self, name: &str) -> String {
        match self {
            TypeTag::Struct => format!("struct {name}"),
            TypeTag::Union => format!("union {name}"),
            TypeTag::Enum => format!("enum {name}"),
            TypeTag::Plain => name.to_string(),
        }
    }
}

impl From<StructKind> for TypeTag {
    fn from(kind: StructKind) -> TypeTag {
        match kind {
            StructKind::Struct => TypeTag::Struct,
            StructKind::Union => TypeTag::Union,
        }
    }
}

/// A function or variable of a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProgramSymbol {
    /// As a program at the site that was asked for finds it.
    pub address: UserAddress,
    /// 0 where that is not known.
    pub bytes: u64,
}

/// Why a value of a probe is not there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Absence {
    /// One line, complete in itself.
    pub message: String,
    pub help: String,
}

#[derive(Clone, Debug, Default)]
pub struct ResolveOptions {
    /// Only this process (`-p`, or the child of `-c`).
    pub pid: Option<u32>,
    /// Its descendants, too: what is attached is so in all processes, and programs tell them apart.
    pub children: bool,
    /// The clause uses a register-only builtin: a provider that would stand in for another one without them (fentry for kprobe)
    /// must refuse.
    pub uses_registers: bool,
    /// The clause uses arguments by their numbers (`arg0`), which a provider that stands in for another one has as well as it can.
    pub uses_numbers: bool,
    /// The clause uses `args`: a provider may choose a cheaper attachment without typed arguments when it does not.
    pub uses_arguments: bool,
    /// Probes that can hurt (addresses inside functions) are allowed.
    pub allow_unsafe: bool,
    /// Functions of programs are named as their symbol tables have them.
    pub mangled_names: bool,
    /// A function of several names is found under each, instead of once: a listing of what can be named.
    pub with_aliases: bool,
}

impl ResolveOptions {
    /// The only process that an attachment is to follow.
    pub fn only_pid(&self) -> Option<u32> {
        self.pid.filter(|_| !self.children)
    }
}

/// One place that a program is attached to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProbeSite {
    /// The full name, as `probe` prints it and `-l` lists it: `tracepoint:syscalls:sys_enter_read`.
    pub name: Arc<str>,
    /// What `func` prints: the function's or the event's name.
    pub function: Arc<str>,
    /// The provider's full name: `kprobe`, `tracepoint`.
    pub provider: &'static str,
    pub program: ProgramKind,
    /// Shared by all sites of the same layout.
    pub layout: Arc<Layout>,
    /// The value that `Layout::selector` has when this very site fires. Several sites with a selector share one
    /// attachment (all system calls share `sys_enter`).
    pub selector: Option<u64>,
    pub attach: Attach,
}

impl ProbeSite {
    /// What stands between the provider and the function in its name: a module, a file, a category; or nothing. The module of a
    /// function of the kernel itself is `vmlinux`.
    pub fn module(&self) -> &str {
        let (_, rest) = self.name.split_once(':').unwrap_or(("", ""));
        match (rest.rsplit_once(':'), &self.attach) {
            (Some((module, _)), _) => module,
            // A function that is named without its module.
            (None, Attach::Kprobe { function, .. }) if function.is_empty() => "",
            (None, Attach::Kprobe { function, .. }) => function.split_once(':').map_or("vmlinux", |(module, _)| module),
            (None, Attach::Trampoline) => "vmlinux",
            (None, _) => "",
        }
    }

    /// The last part of its name; D's names of the first and the last.
    pub fn event(&self) -> &str {
        match self.attach {
            Attach::Begin => "BEGIN",
            Attach::End => "END",
            _ => self.name.rsplit(':').next().unwrap_or_default(),
        }
    }
}

/// The kind of BPF program that a site takes: decides the context and the helpers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ProgramKind {
    /// Run by the tool itself, through a test run: BEGIN, END, interval, self. The context is not read. BPF type
    /// raw tracepoint.
    TestRun,
    /// kprobe, kretprobe, uprobe, uretprobe in all attach forms: the context is `struct pt_regs`.
    Kprobe {
        /// The attach type that the program must be loaded with.
        multi: MultiKind,
        user: bool,
    },
    /// A perf tracepoint: the context is the event's record.
    Tracepoint,
    /// A raw tracepoint without types: the context is an array of u64.
    RawTracepoint,
    /// BPF_PROG_TYPE_TRACING: the context is an array of u64 with BTF types, `btf_id` names what it attaches to.
    Tracing { attach: TracingKind, btf_id: u32 },
    /// A perf event: the context is `struct bpf_perf_event_data`, which begins with `struct pt_regs`.
    PerfEvent,
}

impl ProgramKind {
    /// What the kernel must have for one program of this kind to learn from its attachment which site fired. Where it
    /// lacks it, each site needs a program of its own. None: the attachment always carries a cookie, or there is
    /// nothing to tell apart.
    pub fn cookie_feature(self) -> Option<Feature> {
        match self {
            ProgramKind::TestRun => None,
            ProgramKind::Kprobe {
                multi: MultiKind::KprobeMulti | MultiKind::KprobeSession | MultiKind::UprobeMulti,
                user: _,
            } => None,
            ProgramKind::Kprobe { multi: MultiKind::Single, user: _ }
            | ProgramKind::Tracepoint
            | ProgramKind::PerfEvent => Some(Feature::AttachCookie),
            ProgramKind::Tracing { attach: TracingKind::Fentry | TracingKind::Fexit, btf_id: _ } => {
                Some(Feature::TrampolineCookie)
            }
            ProgramKind::Tracing { attach: TracingKind::Iterator, btf_id: _ } => None,
            ProgramKind::RawTracepoint | ProgramKind::Tracing { attach: TracingKind::RawTracepoint, btf_id: _ } => {
                Some(Feature::RawTracepointCookie)
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MultiKind {
    /// One perf event per site.
    Single,
    /// BPF_TRACE_KPROBE_MULTI
    KprobeMulti,
    /// BPF_TRACE_KPROBE_SESSION: one program at the entries and at the returns. Only whole programs are of this kind, no site
    /// by itself.
    KprobeSession,
    /// BPF_TRACE_UPROBE_MULTI
    UprobeMulti,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TracingKind {
    /// tp_btf
    RawTracepoint,
    Fentry,
    Fexit,
    /// Called for each object that the kernel walks through.
    Iterator,
}

/// What a program finds in its context, provider by provider the same way.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Layout {
    /// `args.NAME`
    pub arguments: Vec<Argument>,
    /// `arg0`, `arg1`, ..., by these names; those that can't be read are left out.
    pub registers: Vec<Argument>,
    /// `retval`
    pub return_value: Option<Argument>,
    /// Where the number lies that tells the sites of one attachment apart.
    pub selector: Option<Word>,
    /// A value that must hold for the event to be meant at all (the code segment of a 64-bit system call).
    pub guard: Option<(Word, u64)>,
    /// What an iterator's program finds at each object.
    pub step: Option<Step>,
}

/// One step of an iterator, whose context is an array of words; the first points to `struct bpf_iter_meta`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Step {
    /// Byte offsets of the pointers to objects in the context. When there are no more objects, or one has gone, they
    /// are null, and the event is not meant.
    pub objects: Vec<u32>,
    /// Where `struct bpf_iter_meta` points to the file that is read: what a program writes there ends a short read, so
    /// that the tool gets to its events in between.
    pub output: u32,
    /// Only these processes: the byte offset of the pointer to a task in the context, that of the process's number in
    /// the task, and which are meant.
    pub process: Option<(u32, u32, Processes)>,
    /// What a clause prints goes there, for whoever reads the file that the iterator is pinned to.
    pub is_pinned: bool,
}

/// The processes whose events count.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Processes {
    One(u32),
    /// A process and its descendants, those to come among them.
    Tree,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Argument {
    pub name: Arc<str>,
    pub ty: Type,
    pub at: Location,
}

/// A bare number in the context, read with that width and zero-extended. The width matters: the verifier refuses a
/// read that is wider than the member it falls on (`cs` of `struct pt_regs` is 2 bytes in kernels with FRED).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Word {
    pub at: Location,
    /// 1, 2, 4 or 8.
    pub bytes: u8,
}

/// Where a value is, seen from the program's context.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Location {
    /// In the context itself, at a byte offset. Scalars of `ty.size()` bytes; arrays and structs in place. In a context
    /// of words the offset is that of a word, or of a byte in one (`ah`).
    Context { offset: u32 },
    /// A whole word of 8 bytes in the context, at a byte offset, that the verifier does not let a program load because
    /// of its type (a pointer to a function or to a pointer, say): a probe read of kernel memory from the context's own
    /// address gets it.
    ContextCopy { offset: u32 },
    /// The context holds a pointer at `pointer`; the value is at `offset` behind it. With `direct` the verifier knows
    /// the pointer's type and lets it be read as it is, otherwise it takes a probe read of kernel memory.
    Behind { pointer: u32, offset: u32, direct: bool },
    /// A 4-byte `__data_loc` or `__rel_loc` word at `offset` in a tracepoint's record: the data begin `base` plus its low
    /// half after the start of the context, its high half is their length in bytes. With a type of `Str` the value is
    /// the text there (its capacity is only the default), with a type of `Pointer` it is the address of the data.
    DataLocation { offset: u32, base: u32 },
    /// In the memory of the program that was interrupted, which takes a probe read of user memory.
    UserMemory(UserAddress),
    /// Such an address itself; without registers a constant.
    UserAddress(UserAddress),
}

/// An address as instructions of programs compute it: the sum of two registers and a number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct UserAddress {
    /// Where in the context the register is, as a byte offset.
    pub base: Option<u32>,
    /// The same, and the factor that it is taken times.
    pub index: Option<(u32, u8)>,
    pub displacement: i64,
}

/// Names of flags with their bits.
pub type Flags = Arc<[(Arc<str>, u64)]>;

/// Probes that are left out of a usual run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Trial {
    /// `test:NAME`: what the program returns says whether it passes.
    Test,
    /// `bench:NAME`: how long the program takes is measured.
    Bench,
}

impl Trial {
    pub const ALL: [Trial; 2] = [Trial::Test, Trial::Bench];

    /// The name of the provider, and of the option without its dashes.
    pub fn name(self) -> &'static str {
        match self {
            Trial::Test => "test",
            Trial::Bench => "bench",
        }
    }
}

/// What the provider needs to attach to the site. Its provider reads it and nothing else does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Attach {
    Begin,
    End,
    /// Run by the tool where it is asked for: `--test`, `--bench`.
    Trial(Trial),
    /// Driven from user space.
    Timer {
        nanoseconds: u64,
    },
    /// The tool itself has received a signal.
    Signal {
        number: i32,
    },
    /// `is_return`: at the function's return. `offset` in bytes into the function.
    /// `is_matched`: a wildcard has found it, which leaves out what the kernel refuses.
    Kprobe {
        function: Arc<str>,
        offset: u64,
        is_return: bool,
        is_matched: bool,
    },
    /// `offset` is the file offset of the instruction.
    Uprobe {
        path: Arc<PathBuf>,
        offset: u64,
        is_return: bool,
        pid: Option<u32>,
        /// The file offset of a counter that the program looks at, which the kernel raises while something is attached.
        semaphore: Option<u64>,
    },
    /// `id` is the number in the event's `id` file.
    Tracepoint {
        id: u32,
    },
    /// A raw tracepoint by its name, typed (tp_btf) or not.
    RawTracepoint {
        event: Arc<str>,
    },
    /// fentry and fexit: the program's own BTF id says where.
    Trampoline,
    /// Walks once, when everything is attached.
    Iterator {
        pid: Option<u32>,
        /// The map whose entries it goes through, by its number or the file that it is pinned to.
        map: Option<Arc<str>>,
        /// The file that it is pinned to: it walks when that is read, and stays when the tool ends.
        pin: Option<Arc<Path>>,
    },
    /// On every online CPU, or following one process. `frequency`: `period` is in Hz instead of events.
    PerfEvent {
        kind: u32,
        config: u64,
        period: u64,
        frequency: bool,
        pid: Option<u32>,
    },
    /// An address of the process, or of the kernel.
    Watchpoint {
        address: u64,
        /// 1, 2, 4 or 8.
        bytes: u8,
        mode: WatchMode,
        pid: Option<u32>,
    },
}

/// What a watchpoint fires at.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WatchMode {
    Write,
    ReadWrite,
    Execute,
}

/// What differs between kernels and a program depends on. `probes/src/kernel/features.rs` has the row that probes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Feature {
    /// kprobes are compiled in and may be created.
    Kprobes,
    /// BPF_TRACE_KPROBE_MULTI links.
    KprobeMulti,
    /// BPF_TRACE_KPROBE_SESSION links, and the function that tells their programs whether it is a return.
    KprobeSession,
    /// BPF_TRACE_UPROBE_MULTI links.
    UprobeMulti,
    /// fentry and fexit programs load and attach.
    Trampolines,
    /// Programs of iterators load.
    Iterators,
    /// The helper of that number can be called by a program of the kind that tracing uses.
    Helper(u32),
    /// Maps that allocate their elements on use are safe in all tracing programs (the BPF memory allocator).
    MapAllocator,
    /// Hash maps take keys of more than 512 bytes.
    LargeKeys,
    /// Programs keep values that belong to threads (task storage).
    TaskStorage,
    /// An attachment carries a number for its program: kprobes, uprobes, perf tracepoints and perf events.
    AttachCookie,
    /// The same for fentry and fexit.
    TrampolineCookie,
    /// The same for raw tracepoints, typed (tp_btf) and not.
    RawTracepointCookie,
    /// A task is not taken off its processor in the middle of a raw tracepoint's program. Where it may be, since 7.0, events that
    /// come to the program before it is back are passed over.
    RawTracepointNoPreempt,
    /// BPF_FETCH, BPF_CMPXCHG and the like.
    AtomicFetch,
    /// Instruction set v4: sign-extending loads and moves, signed division, `gotol`.
    CpuV4,
}

/// Names of features, for those who want to see what happens without one. Helpers have names of their own.
pub static FEATURE_NAMES: &[(&str, Feature)] = &[
    ("kprobes", Feature::Kprobes),
    ("kprobe_multi", Feature::KprobeMulti),
    ("kprobe_session", Feature::KprobeSession),
    ("uprobe_multi", Feature::UprobeMulti),
    ("fentry", Feature::Trampolines),
    ("iterators", Feature::Iterators),
    ("map_allocator", Feature::MapAllocator),
    ("large_keys", Feature::LargeKeys),
    ("task_storage", Feature::TaskStorage),
    ("attach_cookie", Feature::AttachCookie),
    ("fentry_cookie", Feature::TrampolineCookie),
    ("raw_tracepoint_cookie", Feature::RawTracepointCookie),
    ("raw_tracepoint_nopreempt", Feature::RawTracepointNoPreempt),
];

/// Why no site was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResolveError {
    pub kind: ResolveErrorKind,
    /// One line, complete in itself.
    pub message: String,
    /// What is at that place, for the underline.
    pub label: String,
    /// What to do, a sentence each.
    pub help: Vec<String>,
    /// Which part of the specification is at fault: 0 is the provider, 1 the first part after it; None is all of it.
    pub part: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ResolveErrorKind {
    UnknownProvider,
    /// The number or form of the parts is wrong.
    Form,
    NotFound,
    /// The kernel lacks something. The tool exits with status 2.
    Unsupported,
    /// A privilege is missing. The tool exits with status 2.
    Privilege,
}
