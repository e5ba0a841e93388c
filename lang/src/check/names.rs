//! Bare words: builtin values, register arguments, constants and enumerators.

use crate::aggregations;
use crate::builtins::{self, Builtin, Intrinsic, Lowering};
use crate::calls;
use crate::constants;
use crate::diagnostic::{Code, Diagnostic, did_you_mean, near_misses};
use crate::hir::{BinaryOp, Expr, ExprKind};
use crate::limits::COMM_BYTES;
use crate::span::Span;
use crate::target::{FIRST_PROCESS_NAMESPACE, Feature, ProcessNamespace, ProgramKind, TracingKind};
use crate::types::{Clock, Shown, Space, StackMode, StructKind, Type};

use super::body::Body;
use super::machine_constants::{machine_constant, machine_names};

/// Which stack is taken, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StackKind {
    Kernel,
    /// By frame pointers.
    User,
    UserByTables,
}

impl Body<'_, '_, '_> {
    pub fn name(&mut self, name: &str, span: Span) -> Expr {
        // What the script has defined goes before everything else.
        if let Some((value, of)) = self.checker.types.enumerator(name) {
            return Expr { kind: ExprKind::Int(value), ty: Type::Enum(of), span };
        }
        if let Some(row) = builtins::named(name) {
            if !row.bare {
                return self.fail(
                    Diagnostic::error(Code::Arguments, span, format!("{name} is a function"))
                        .label("called without parentheses")
                        .help(format!("{}: {}", row.signature, row.doc)),
                );
            }
            return self.builtin(row, span);
        }
        if let Some(number) = builtins::argument_number(name) {
            return self.register(number, span);
        }
        if aggregations::named(name).is_some() {
            return self.aggregation_out_of_place(name, span);
        }
        if name == "ctx" {
            return Expr {
                kind: ExprKind::ContextPointer,
                ty: Type::pointer(self.context_type(), Space::Kernel),
                span,
            };
        }
        // The first use of the kernel's BTF takes a millisecond, and it cannot say more about these.
        if let Some(value) = constants::fixed(name) {
            let ty = if constants::is_unsigned(name) { Type::U64 } else { Type::I64 };
            return Expr { kind: ExprKind::Int(value), ty, span };
        }
        if let Some((value, of)) = self.checker.target.enumerator(name) {
            return Expr { kind: ExprKind::Int(value), ty: Type::Enum(of), span };
        }
        if let Some(value) = machine_constant(self.checker.target, name) {
            return Expr { kind: ExprKind::Int(value), ty: Type::U64, span };
        }
        if let Some(value) = constants::enumerated(name) {
            return Expr::int(value, span);
        }
        if let Some((value, of)) = self.first_site().and_then(|site| self.checker.target.program_enumerator(site, name))
        {
            return Expr { kind: ExprKind::Int(value), ty: Type::Enum(of), span };
        }
        let names = builtins::all().map(|row| row.name).chain(aggregations::AGGREGATIONS.iter().map(|row| row.name));
        let mut diagnostic = Diagnostic::error(Code::UnknownName, span, format!("nothing is called `{name}`"))
            .label("no builtin, no constant");
        let instead = builtins::instead_of(name).map(str::to_string);
        diagnostic = match instead.or_else(|| did_you_mean(&near_misses(name, names))) {
            Some(help) => diagnostic.help(help),
            None if self.lookup(name).is_some() => diagnostic.help(format!("the variable is written `${name}`")),
            None => match did_you_mean(&near_constants(name)) {
                Some(help) => diagnostic.help(help),
                None => diagnostic.help("variables begin with `$`, maps with `@`"),
            },
        };
        self.fail(diagnostic)
    }

    /// What `ctx` points to, where the kernel's BTF says it.
    fn context_type(&self) -> Type {
        let is_iterator = matches!(self.group.kind, ProgramKind::Tracing { attach: TracingKind::Iterator, btf_id: _ });
        let site = self.first_site().filter(|_| is_iterator);
        let context = site.and_then(|site| {
            self.checker.target.struct_named(StructKind::Struct, &format!("bpf_iter__{}", site.function))
        });
        context.map_or(Type::Void, Type::Struct)
    }

    pub fn aggregation_out_of_place(&mut self, name: &str, span: Span) -> Expr {
        self.fail(
            Diagnostic::error(
                Code::AggregationPlace,
                span,
                format!("{name}() stands alone on the right side of a map's assignment"),
            )
            .label("not here")
            .help(format!("write `@x = {name}(...);` or, with a key, `@x[pid] = {name}(...);`")),
        )
    }

    /// A builtin value, or a bare function without arguments.
    pub fn builtin(&mut self, row: &'static Builtin, span: Span) -> Expr {
        let intrinsic = match row.lowering {
            Lowering::Helper { id, shift, bits } => {
                if !self.need_helper(row.name, id, span) {
                    return Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span };
                }
                let ty = if bits == 64 || matches!(row.name, "uid" | "gid") { Type::U64 } else { Type::U32 };
                return Expr { kind: ExprKind::Helper { id, shift, bits }, ty, span };
            }
            Lowering::Intrinsic(intrinsic) => intrinsic,
            // Its expansion has failed, which is reported.
            Lowering::Macro(_) => return Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span },
        };
        match intrinsic {
            Intrinsic::Args => self.all_arguments(span),
            Intrinsic::Comm => Expr { kind: ExprKind::Comm, ty: Type::Str(COMM_BYTES), span },
            Intrinsic::CurrentTask => match self.checker.target.struct_named(StructKind::Struct, "task_struct") {
                Some(task) => {
                    Expr { kind: ExprKind::CurrentTask, ty: Type::pointer(Type::Struct(task), Space::Kernel), span }
                }
                None => Expr { kind: ExprKind::CurrentTask, ty: Type::U64, span },
            },
            Intrinsic::Elapsed => {
                let now = self.clock(span);
                let start = Expr { kind: ExprKind::StartTime, ty: Type::U64, span };
                let kind = ExprKind::Binary { op: BinaryOp::Subtract, left: Box::new(now), right: Box::new(start) };
                Expr { kind, ty: Type::U64, span }
            }
            Intrinsic::Nsecs => self.clock(span),
            Intrinsic::OpenFiles => self.open_files_alone(span),
            Intrinsic::UserRegisters => self.user_registers_alone(span),
            // Uses in returns are replaced before; what is left stands in a function.
            Intrinsic::Entry => {
                self.not_here("entry()", "kretprobe, uretprobe, fexit and sys_exit probes themselves", span)
            }
            Intrinsic::Speculation => Expr { kind: ExprKind::Speculation, ty: Type::I64, span },
            Intrinsic::PossibleCpus => {
                let kind = ExprKind::Int(i64::from(self.checker.target.possible_cpus()));
                Expr { kind, ty: Type::U64, span }
            }
            Intrinsic::ProcessNamespace => {
                let inode = self.checker.target.process_namespace().map_or(FIRST_PROCESS_NAMESPACE, |own| own.inode);
                Expr { ty: Type::U64, ..Expr::int(inode as i64, span) }
            }
            Intrinsic::Probe => Expr { kind: ExprKind::Site, ty: Type::ProbeName, span },
            Intrinsic::Func => match self.group.kind {
                ProgramKind::Kprobe { .. } | ProgramKind::Tracing { .. } => {
                    Expr { kind: ExprKind::Site, ty: Type::FunctionName, span }
                }
                ProgramKind::TestRun
                | ProgramKind::Tracepoint
                | ProgramKind::RawTracepoint
                | ProgramKind::PerfEvent => {
                    self.not_here("func", "kprobe, uprobe and fentry probes, and their returns", span)
                }
            },
            Intrinsic::ReturnValue => match self.group.layout.return_value.clone() {
                Some(value) => Expr { kind: ExprKind::Context(value.at), ty: value.ty, span },
                None => self.not_here("retval", "kretprobe, uretprobe and fexit probes", span),
            },
            Intrinsic::SystemCallNumber => match self.group.layout.selector.clone() {
                Some(number) => Expr { kind: ExprKind::Context(number.at), ty: Type::U32, span },
                None => self.not_here("syscall_number", "tracepoints of system calls", span),
            },
            Intrinsic::UserMode => self.user_mode(span),
            Intrinsic::UserName => {
                let user = Expr {
                    kind: ExprKind::Helper { id: calls::GET_CURRENT_UID_GID, shift: 0, bits: 32 },
                    ty: Type::U64,
                    span,
                };
                Expr { kind: ExprKind::Convert(Box::new(user)), ty: Type::Shown(Shown::UserName), span }
            }
            Intrinsic::Caller => self.caller(false, span),
            Intrinsic::UserCaller => self.caller(true, span),
            Intrinsic::KernelStack => self.stack(StackKind::Kernel, None, None, span),
            Intrinsic::UserStack => self.stack(StackKind::User, None, None, span),
            Intrinsic::UserStackByTables => self.stack(StackKind::UserByTables, None, None, span),
            Intrinsic::Known(known) => self.known(known, row, &[], span),
            Intrinsic::ProcessId | Intrinsic::ThreadId => {
                self.process_id(intrinsic, self.checker.target.process_namespace(), span)
            }
            Intrinsic::ProbeFunction => Expr { kind: ExprKind::Site, ty: Type::FunctionName, span },
            Intrinsic::ProbeEvent => match self.group.provider {
                "kprobe" | "uprobe" | "fentry" => self.string(b"entry", span),
                "kretprobe" | "uretprobe" | "fexit" => self.string(b"return", span),
                "usdt" => Expr { kind: ExprKind::Site, ty: Type::EventName, span },
                _ => Expr { kind: ExprKind::Site, ty: Type::FunctionName, span },
            },
            Intrinsic::ProbeModule => Expr { kind: ExprKind::Site, ty: Type::ModuleName, span },
            Intrinsic::WallClock => {
                let (left, right) = (self.clock(span), Expr { kind: ExprKind::WallOffset, ty: Type::U64, span });
                let kind = ExprKind::Binary { op: BinaryOp::Add, left: Box::new(left), right: Box::new(right) };
                Expr { kind, ty: Type::Timestamp(Clock::Wall), span }
            }
            Intrinsic::CgroupPath
            | Intrinsic::Allocate
            | Intrinsic::Clear
            | Intrinsic::CopyBytes
            | Intrinsic::Delete
            | Intrinsic::Denormalize
            | Intrinsic::Commit
            | Intrinsic::Discard
            | Intrinsic::Speculate
            | Intrinsic::Normalize
            | Intrinsic::Printa
            | Intrinsic::Truncate
            | Intrinsic::Unwatch
            | Intrinsic::Exit
            | Intrinsic::HasKey
            | Intrinsic::KernelSymbol
            | Intrinsic::KernelModule
            | Intrinsic::UserModule
            | Intrinsic::KernelAddress
            | Intrinsic::Len
            | Intrinsic::Print
            | Intrinsic::Printf
            | Intrinsic::PrintJoined
            | Intrinsic::Signal
            | Intrinsic::SignalThread
            | Intrinsic::Str
            | Intrinsic::System
            | Intrinsic::UserAddress
            | Intrinsic::UserSymbol
            | Intrinsic::Buffer
            | Intrinsic::ByteSwap
            | Intrinsic::Cat
            | Intrinsic::Packet
            | Intrinsic::Override
            | Intrinsic::WriteUser
            | Intrinsic::DebugLine
            | Intrinsic::CompareStrings
            | Intrinsic::Concatenate
            | Intrinsic::ErrorMessage
            | Intrinsic::ErrorText
            | Intrinsic::Inet
            | Intrinsic::KernelPointer
            | Intrinsic::Mac
            | Intrinsic::Register
            | Intrinsic::Reopen
            | Intrinsic::SignalName
            | Intrinsic::StaticAssert
            | Intrinsic::StringLength
            | Intrinsic::SystemCallName
            | Intrinsic::Time
            | Intrinsic::TimeText
            | Intrinsic::UserPointer
            | Intrinsic::WarningMessage
            | Intrinsic::Zero => self.fail(
                Diagnostic::error(Code::TypeMismatch, span, format!("{}() gives no value", row.name))
                    .label("used as a value")
                    .help("call it as a statement of its own"),
            ),
        }
    }

    /// `args` as a whole: a record.
    fn all_arguments(&mut self, span: Span) -> Expr {
        let arguments = self.group.layout.arguments.clone();
        if arguments.is_empty() {
            if let Some(absence) = self.absence(None) {
                return self.absent(absence, span);
            }
            return self.not_here("args", "tracepoint, rawtracepoint, fentry and fexit probes", span);
        }
        let parts = arguments.iter().map(|argument| {
            let kind = ExprKind::Context(argument.at.clone());
            Expr { kind, ty: argument.ty.clone(), span }
        });
        let names = arguments.iter().map(|argument| (argument.name.clone(), argument.ty.clone()));
        Expr { kind: ExprKind::Tuple(parts.collect()), ty: Type::Record(names.collect()), span }
    }

    /// Whether the probe is at the first instruction of functions of programs: none at an offset or a line.
    fn is_at_entries(&self) -> bool {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_entry = |event: &str| {
            let is_behind = event.rsplit_once('+').is_some_and(|(_, offset)| is_number(offset));
            !is_behind && !is_number(event) && !event.starts_with("0x")
        };
        let mut sites = self.group.sites.iter().map(|site| &self.checker.sites[site.index()]);
        self.group.provider == "uprobe" && sites.all(|site| is_entry(site.event()))
    }

    /// What the traced function returns to.
    fn caller(&mut self, user: bool, span: Span) -> Expr {
        let has_registers = self.group.has_registers()
            && match self.group.kind {
                ProgramKind::Kprobe { user: in_program, .. } => in_program == user,
                _ => true,
            };
        if user && self.is_at_entries() {
            return self.return_address(span);
        }
        match self.group.provider {
            // The function has returned there.
            "uretprobe" if user => return self.register_at(128, "ucaller", span),
            "kretprobe" if !user => {
                return self.not_here("caller", "kprobe and profile probes; here it is entry(caller)", span);
            }
            _ => {}
        }
        match (has_registers, user) {
            (true, _) => Expr { kind: ExprKind::Caller { user }, ty: Type::U64, span },
            (false, true) => self.not_here("ucaller", "uprobe, usdt and profile probes", span),
            (false, false) => self.not_here("caller", "kprobe and profile probes", span),
        }
    }

    pub fn stack(&mut self, kind: StackKind, frames: Option<u32>, mode: Option<StackMode>, span: Span) -> Expr {
        let (name, user, by_tables) = match kind {
            StackKind::Kernel => ("kstack", false, false),
            StackKind::User => ("ustack", true, false),
            StackKind::UserByTables => ("dw_ustack", true, true),
        };
        if self.group.kind == ProgramKind::TestRun {
            return self.not_here(name, "probes that an event of the kernel or of a program fires", span);
        }
        let frames = frames.unwrap_or(crate::limits::DEFAULT_STACK_FRAMES);
        let mode = mode.unwrap_or(self.checker.items.settings.stack_mode);
        let ty = Type::Stack { user, frames, mode };
        if !by_tables {
            return Expr { kind: ExprKind::Stack { user, frames }, ty, span };
        }
        let registers = [KEPT_IP, KEPT_SP, KEPT_BP].map(|at| self.kept_register(at, "a stack by unwind tables", span));
        if registers.iter().any(|register| register.ty == Type::Unknown) {
            return Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span };
        }
        Expr { kind: ExprKind::StackByTables { frames, registers: Box::new(registers) }, ty, span }
    }

    pub fn clock(&mut self, span: Span) -> Expr {
        self.clock_of("boot", span)
    }

    pub fn clock_of(&mut self, clock: &str, span: Span) -> Expr {
        let (id, ty) = match clock {
            "boot" => (calls::KTIME_GET_BOOT_NS, Type::U64),
            "monotonic" => (calls::KTIME_GET_NS, Type::Timestamp(Clock::Monotonic)),
            "tai" | "sw_tai" => (calls::KTIME_GET_TAI_NS, Type::Timestamp(Clock::Tai)),
            _ => {
                return self.fail(
                    Diagnostic::error(Code::BadValue, span, format!("there is no clock `{clock}`"))
                        .label("not a clock")
                        .help("the clocks are boot, monotonic and tai"),
                );
            }
        };
        if !self.need_helper(&format!("nsecs({clock})"), id, span) {
            return Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span };
        }
        Expr { kind: ExprKind::Helper { id, shift: 0, bits: 64 }, ty, span }
    }

    /// The number of the current process or thread: in a namespace, or the kernel's own.
    pub fn process_id(&mut self, intrinsic: Intrinsic, namespace: Option<ProcessNamespace>, span: Span) -> Expr {
        let id = match namespace {
            Some(_) => calls::GET_NS_CURRENT_PID_TGID,
            None => calls::GET_CURRENT_PID_TGID,
        };
        let shift = if intrinsic == Intrinsic::ProcessId { 32 } else { 0 };
        Expr { kind: ExprKind::Helper { id, shift, bits: 32 }, ty: Type::U32, span }
    }

    /// False, with a message that names the helper, where the kernel lacks it.
    pub fn need_helper(&mut self, what: &str, id: u32, span: Span) -> bool {
        let since = NEWER_HELPERS.iter().find(|(helper, _, _)| *helper == id);
        let Some((_, name, version)) = since else { return true };
        if self.checker.target.has(Feature::Helper(id)) {
            return true;
        }
        self.report(
            Diagnostic::error(
                Code::ProbeUnsupported,
                span,
                format!("{what} needs the helper {name}, which this kernel lacks"),
            )
            .label("not on this kernel")
            .help(format!("the first kernel with {name} is {version}"))
            .on_machine(),
        );
        false
    }

    pub fn not_here(&mut self, name: &str, places: &str, span: Span) -> Expr {
        let provider = self.group.provider;
        self.fail(
            Diagnostic::error(Code::NotHere, span, format!("{name} has no value in {provider} probes"))
                .label("not available here")
                .help(format!("{name} is there in {places}")),
        )
    }

    fn register(&mut self, number: usize, span: Span) -> Expr {
        let layout = self.group.layout.clone();
        let name = format!("arg{number}");
        if let Some(argument) = layout.registers.iter().find(|argument| *argument.name == *name) {
            return Expr { kind: ExprKind::Context(argument.at.clone()), ty: argument.ty.clone(), span };
        }
        // What a probe of a program has depends on the program.
        if self.group.provider == "usdt"
            && let Some(absence) = self.absence(Some(&name))
        {
            return self.absent(absence, span);
        }
        if layout.registers.is_empty() {
            return self.not_here(&name, "kprobe, uprobe, usdt and rawtracepoint probes", span);
        }
        let last = layout.registers.len() - 1;
        self.fail(
            Diagnostic::error(Code::NotHere, span, format!("this probe has no arg{number}"))
                .label("beyond the last argument")
                .help(format!("arguments go from arg0 to arg{last}")),
        )
    }
}

/// Constants that may have been meant. A word in small letters is none, unless the letters are all that is wrong.
fn near_constants(name: &str) -> Vec<&'static str> {
    let is_small = !name.contains(|letter: char| letter.is_ascii_uppercase());
    near_misses(
        name,
        constants::names().chain(machine_names()).filter(|known| !is_small || known.eq_ignore_ascii_case(name)),
    )
}

/// Helpers that came after kernel 5.10, the oldest that is supported (include/uapi/linux/bpf.h by release).
// Where registers lie in those that the kernel keeps of a task (arch/x86/include/asm/ptrace.h, `struct pt_regs`).
const KEPT_BP: u32 = 32;
const KEPT_IP: u32 = 128;
const KEPT_SP: u32 = 152;

const NEWER_HELPERS: &[(u32, &str, &str)] = &[
    (calls::FOR_EACH_MAP_ELEM, "bpf_for_each_map_elem", "5.13"),
    (calls::GET_ATTACH_COOKIE, "bpf_get_attach_cookie", "5.15"),
    (calls::TASK_PT_REGS, "bpf_task_pt_regs", "5.15"),
    (calls::MAP_LOOKUP_PERCPU_ELEM, "bpf_map_lookup_percpu_elem", "5.19"),
    (calls::KTIME_GET_TAI_NS, "bpf_ktime_get_tai_ns", "6.1"),
];
