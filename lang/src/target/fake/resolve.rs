//! The probes of a `FakeTarget`. Offsets and layouts are those of the real providers, on x86-64; which probes exist is
//! the description's to say.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{FakeFunction, FakeSyscall, FakeTarget, FakeTracepoint};
use crate::diagnostic::{did_you_mean, near_misses};
use crate::probe::{ProbeSpec, wildcard_match};
use crate::target::{
    Argument, Attach, Feature, Layout, Location, MultiKind, ProbeSite, Processes, ProgramKind, ResolveError,
    ResolveErrorKind, ResolveOptions, Step, TracingKind, Trial, WatchMode, Word,
};
use crate::types::{Field, Type};

/// Every provider with its short name.
const PROVIDERS: &[(&str, &str)] = &[
    ("BEGIN", "BEGIN"),
    ("bench", "bench"),
    ("END", "END"),
    ("fentry", "f"),
    ("fexit", "fr"),
    ("hardware", "h"),
    ("interval", "i"),
    ("iter", "it"),
    ("kprobe", "k"),
    ("kretprobe", "kr"),
    ("profile", "p"),
    ("rawtracepoint", "rt"),
    ("self", "self"),
    ("software", "s"),
    ("test", "test"),
    ("tracepoint", "t"),
    ("uprobe", "u"),
    ("uretprobe", "ur"),
    ("watchpoint", "w"),
];

/// Where a function's arguments are in `struct pt_regs`: di si dx cx r8 r9.
const FUNCTION_REGISTERS: [u32; 6] = [112, 104, 96, 88, 72, 64];
/// The same of a system call: di si dx r10 r8 r9.
const SYSCALL_REGISTERS: [u32; 6] = [112, 104, 96, 56, 72, 64];
const RETURN_REGISTER: u32 = 80;
const ORIG_AX: u32 = 120;
const CODE_SEGMENT: u32 = 136;
const USER_CODE_SEGMENT: u64 = 0x33;

/// What typed programs for `sys_enter` and `sys_exit` attach to.
const SYS_ENTER_ID: u32 = 4000;
const SYS_EXIT_ID: u32 = 4001;

/// `PERF_TYPE_SOFTWARE`, and `PERF_COUNT_SW_*` by name with the period that is used where none is given.
const SOFTWARE: u32 = 1;
const SOFTWARE_EVENTS: &[(&str, u64, u64)] =
    &[("cpu-clock", 0, 1_000_000), ("page-faults", 2, 100), ("context-switches", 3, 1000)];

/// `PERF_TYPE_HARDWARE`, and the same of `PERF_COUNT_HW_*`.
const HARDWARE: u32 = 0;
const HARDWARE_EVENTS: &[(&str, u64, u64)] = &[("cpu-cycles", 0, 1_000_000), ("cache-misses", 3, 1_000_000)];

type Sites = Result<Vec<ProbeSite>, ResolveError>;

pub(super) fn resolve(target: &FakeTarget, spec: &ProbeSpec, options: &ResolveOptions) -> Sites {
    let name = &spec.provider;
    let known = PROVIDERS.iter().find(|(full, short)| full.eq_ignore_ascii_case(name) || short == name);
    let Some((provider, _)) = known else {
        let near = near_misses(name, PROVIDERS.iter().map(|(full, _)| *full));
        return Err(error(ResolveErrorKind::UnknownProvider, format!("there is no probe provider `{name}`"), &near, 0));
    };
    let parts: Vec<&str> = spec.parts.iter().map(String::as_str).collect();
    let is_return = matches!(*provider, "kretprobe" | "uretprobe" | "fexit");
    match (*provider, parts.as_slice()) {
        ("BEGIN", []) => Ok(vec![plain(provider, "begin", ProgramKind::TestRun, Attach::Begin)]),
        ("END", []) => Ok(vec![plain(provider, "end", ProgramKind::TestRun, Attach::End)]),
        ("test" | "bench", [name]) => {
            let trial = if *provider == "test" { Trial::Test } else { Trial::Bench };
            Ok(vec![plain(provider, &format!("{provider}:{name}"), ProgramKind::TestRun, Attach::Trial(trial))])
        }
        ("self", ["signal", "SIGUSR1"]) => {
            Ok(vec![plain(provider, "self:signal:SIGUSR1", ProgramKind::TestRun, Attach::Signal { number: 10 })])
        }
        ("interval" | "profile", [unit, count]) => timer(provider, unit, count, options),
        ("kprobe" | "kretprobe", [function]) => kprobes(target, provider, function, is_return, options),
        ("fentry" | "fexit", [function]) => {
            if !target.features.contains(&Feature::Trampolines) {
                return Err(error(
                    ResolveErrorKind::Unsupported,
                    format!("this kernel refuses {provider} programs"),
                    &[],
                    0,
                ));
            }
            trampolines(target, provider, function, is_return, options)
        }
        ("iter", [kind]) => iterators(target, kind, None, options),
        ("iter", [kind, pin]) => iterators(target, kind, Some(pin), options),
        ("tracepoint", [category, event]) => tracepoints(target, category, event, options),
        ("rawtracepoint", [event]) => raw_tracepoints(target, event),
        ("software" | "hardware", [event, rest @ ..]) if rest.len() < 2 => {
            counter(provider, event, rest.first().copied(), options)
        }
        ("watchpoint", ["0x1000", "8", "w"]) => {
            let attach =
                Attach::Watchpoint { address: 0x1000, bytes: 8, mode: WatchMode::Write, pid: options.only_pid() };
            Ok(vec![plain(provider, "watchpoint:0x1000:8:w", ProgramKind::PerfEvent, attach)])
        }
        ("uprobe" | "uretprobe", [path, function]) => uprobes(target, provider, path, function, is_return, options),
        _ => {
            let message = format!("{provider} takes another number of parts");
            let help = vec![format!("`rtrace -l '{provider}:*'` lists those that there are.")];
            Err(ResolveError { part: None, help, ..error(ResolveErrorKind::Form, message, &[], 0) })
        }
    }
}

fn error(kind: ResolveErrorKind, message: String, near: &[&str], part: usize) -> ResolveError {
    ResolveError {
        kind,
        message,
        label: "in the described machine".to_string(),
        help: did_you_mean(near).into_iter().collect(),
        part: Some(part),
    }
}

fn not_found(what: &str, name: &str, names: &[&str], part: usize) -> ResolveError {
    let near = near_misses(name, names.iter().copied());
    error(ResolveErrorKind::NotFound, format!("there is no {what} `{name}`"), &near, part)
}

/// A site without arguments.
fn plain(provider: &'static str, name: &str, program: ProgramKind, attach: Attach) -> ProbeSite {
    ProbeSite {
        name: name.into(),
        function: provider.into(),
        provider,
        program,
        layout: Arc::default(),
        selector: None,
        attach,
    }
}

fn timer(provider: &'static str, unit: &str, count: &str, options: &ResolveOptions) -> Sites {
    let scale = match unit {
        "s" => Some(1_000_000_000),
        "ms" => Some(1_000_000),
        "us" => Some(1_000),
        "hz" => None,
        _ => return Err(error(ResolveErrorKind::Form, format!("`{unit}` is no unit of time"), &[], 1)),
    };
    let Some(count) = count.parse::<u64>().ok().filter(|count| (1..1_000_000_000).contains(count)) else {
        return Err(error(ResolveErrorKind::Form, format!("`{count}` is no rate"), &[], 2));
    };
    let name = format!("{provider}:{unit}:{count}");
    let nanoseconds = scale.map_or(1_000_000_000 / count, |scale: u64| count * scale);
    Ok(vec![if provider == "interval" {
        plain(provider, &name, ProgramKind::TestRun, Attach::Timer { nanoseconds })
    } else {
        let period = if scale.is_none() { count } else { nanoseconds };
        let attach = Attach::PerfEvent {
            kind: SOFTWARE,
            config: 0,
            period,
            frequency: scale.is_none(),
            pid: options.only_pid(),
        };
        plain(provider, &name, ProgramKind::PerfEvent, attach)
    }])
}

fn counter(provider: &'static str, event: &str, count: Option<&str>, options: &ResolveOptions) -> Sites {
    let (kind, events) = if provider == "software" { (SOFTWARE, SOFTWARE_EVENTS) } else { (HARDWARE, HARDWARE_EVENTS) };
    let Some((name, config, period)) = events.iter().find(|(name, ..)| *name == event) else {
        let names: Vec<&str> = events.iter().map(|(name, ..)| *name).collect();
        return Err(not_found(&format!("{provider} event"), event, &names, 1));
    };
    let period = match count.filter(|count| !count.is_empty()).map(str::parse::<u64>) {
        None => *period,
        Some(Ok(period)) if period > 0 => period,
        Some(_) => return Err(error(ResolveErrorKind::Form, "the count is no number above 0".to_string(), &[], 2)),
    };
    let attach = Attach::PerfEvent { kind, config: *config, period, frequency: false, pid: options.only_pid() };
    let name = format!("{provider}:{name}:{}", count.unwrap_or_default());
    Ok(vec![plain(provider, &name, ProgramKind::PerfEvent, attach)])
}

fn kprobes(
    target: &FakeTarget,
    provider: &'static str,
    pattern: &str,
    is_return: bool,
    options: &ResolveOptions,
) -> Sites {
    if !target.features.contains(&Feature::Kprobes) {
        if !options.uses_registers && !options.uses_numbers && target.features.contains(&Feature::Trampolines) {
            return trampolines(target, provider, pattern, is_return, options);
        }
        return Err(error(ResolveErrorKind::Unsupported, "this kernel has no kprobes".to_string(), &[], 0));
    }
    let (pattern, offset) = match pattern.split_once('+') {
        Some((function, offset)) => (function, offset.parse().unwrap_or(0)),
        None => (pattern, 0),
    };
    let found = functions(target, pattern, "kernel function")?;
    let is_multi = found.len() > 1 && target.features.contains(&Feature::KprobeMulti);
    let multi = if is_multi { MultiKind::KprobeMulti } else { MultiKind::Single };
    let site = |function: &FakeFunction| ProbeSite {
        name: match offset {
            0 => format!("{provider}:{}", function.name).into(),
            _ => format!("{provider}:{}+{offset}", function.name).into(),
        },
        function: function.name.as_str().into(),
        provider,
        program: ProgramKind::Kprobe { multi, user: false },
        layout: Arc::new(register_layout(is_return, Some(function).filter(|_| options.uses_arguments))),
        selector: None,
        attach: Attach::Kprobe { function: function.name.as_str().into(), offset, is_return, is_matched: false },
    };
    Ok(found.into_iter().map(site).collect())
}

/// Functions that match, in order.
fn functions<'a>(target: &'a FakeTarget, pattern: &str, what: &str) -> Result<Vec<&'a FakeFunction>, ResolveError> {
    let mut found: Vec<&FakeFunction> =
        target.functions.iter().filter(|function| wildcard_match(pattern, &function.name)).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    if found.is_empty() {
        let names: Vec<&str> = target.functions.iter().map(|function| function.name.as_str()).collect();
        return Err(not_found(what, pattern, &names, 1));
    }
    Ok(found)
}

/// `arg0` to `arg5`, or `retval`; with a function its parameters by name.
fn register_layout(is_return: bool, function: Option<&FakeFunction>) -> Layout {
    if is_return {
        let at = Location::Context { offset: RETURN_REGISTER };
        let return_value = Some(Argument { name: "retval".into(), ty: Type::I64, at });
        return Layout { return_value, ..Layout::default() };
    }
    let register = |(index, offset): (usize, u32)| Argument {
        name: format!("arg{index}").into(),
        ty: Type::I64,
        at: Location::Context { offset },
    };
    let parameters = function.map_or(&[][..], |function| &function.parameters);
    let argument = |((name, ty), offset): (&(Arc<str>, Type), u32)| Argument {
        name: name.clone(),
        ty: ty.clone(),
        at: Location::Context { offset },
    };
    Layout {
        arguments: parameters.iter().zip(FUNCTION_REGISTERS).map(argument).collect(),
        registers: FUNCTION_REGISTERS.into_iter().enumerate().map(register).collect(),
        ..Layout::default()
    }
}

fn trampolines(
    target: &FakeTarget,
    provider: &'static str,
    pattern: &str,
    is_return: bool,
    options: &ResolveOptions,
) -> Sites {
    let found = functions(target, pattern, "kernel function")?;
    let site = |function: &FakeFunction| {
        let words = word_arguments(&function.parameters);
        let at = Location::Context { offset: function.parameters.len() as u32 * 8 };
        let has_value = is_return && function.returns != Type::Void;
        let return_value = has_value.then(|| Argument { name: "retval".into(), ty: function.returns.clone(), at });
        let arguments = if options.uses_arguments { words } else { Vec::new() };
        let kind = if is_return { TracingKind::Fexit } else { TracingKind::Fentry };
        ProbeSite {
            name: match &function.module {
                None => format!("{provider}:{}", function.name).into(),
                Some(module) => format!("{provider}:{module}:{}", function.name).into(),
            },
            function: function.name.as_str().into(),
            provider,
            program: ProgramKind::Tracing { attach: kind, btf_id: function.btf_id },
            layout: Arc::new(Layout { arguments, return_value, ..Layout::default() }),
            selector: None,
            attach: Attach::Trampoline,
        }
    };
    Ok(found.into_iter().map(site).collect())
}

/// Arguments that follow one another in words of 8 bytes.
fn word_arguments(parameters: &[(Arc<str>, Type)]) -> Vec<Argument> {
    let argument = |(index, (name, ty)): (usize, &(Arc<str>, Type))| Argument {
        name: name.clone(),
        ty: ty.clone(),
        at: Location::Context { offset: index as u32 * 8 },
    };
    parameters.iter().enumerate().map(argument).collect()
}

/// An iterator is a struct of its name, whose members are words.
fn iterators(target: &FakeTarget, kind: &str, pin: Option<&str>, options: &ResolveOptions) -> Sites {
    let name = format!("bpf_iter__{kind}");
    let Some(context) = target.structs.iter().find(|found| *found.of.name == *name) else {
        return Err(not_found("iterator over", kind, &[], 1));
    };
    let argument = |field: &Field| Argument {
        name: field.name.clone(),
        ty: field.ty.clone(),
        at: Location::ContextCopy { offset: field.bit_offset / 8 },
    };
    let is_object = |field: &&Field| &*field.name != "meta" && matches!(field.ty, Type::Pointer { .. });
    let step = Step {
        objects: context.fields.iter().filter(is_object).map(|field| field.bit_offset / 8).collect(),
        output: 0,
        process: options.pid.map(|pid| (8, 1268, if options.children { Processes::Tree } else { Processes::One(pid) })),
        is_pinned: pin.is_some(),
    };
    let layout =
        Layout { arguments: context.fields.iter().map(argument).collect(), step: Some(step), ..Layout::default() };
    Ok(vec![ProbeSite {
        name: format!("iter:{kind}").into(),
        function: kind.into(),
        provider: "iter",
        program: ProgramKind::Tracing { attach: TracingKind::Iterator, btf_id: 1 },
        layout: Arc::new(layout),
        selector: None,
        attach: Attach::Iterator { pid: options.only_pid(), map: None, pin: pin.map(|pin| Path::new(pin).into()) },
    }])
}

fn raw_tracepoints(target: &FakeTarget, pattern: &str) -> Sites {
    let matching = target.raw_tracepoints.iter().filter(|event| wildcard_match(pattern, &event.name));
    let site = |event: &FakeFunction| {
        let arguments = word_arguments(&event.parameters);
        let registers = arguments.iter().enumerate().map(|(index, argument)| Argument {
            name: format!("arg{index}").into(),
            ty: Type::U64,
            at: argument.at.clone(),
        });
        let layout = Layout { registers: registers.collect(), arguments: arguments.clone(), ..Layout::default() };
        ProbeSite {
            name: format!("rawtracepoint:{}", event.name).into(),
            function: event.name.as_str().into(),
            provider: "rawtracepoint",
            program: ProgramKind::Tracing { attach: TracingKind::RawTracepoint, btf_id: event.btf_id },
            layout: Arc::new(layout),
            selector: None,
            attach: Attach::RawTracepoint { event: event.name.as_str().into() },
        }
    };
    let mut sites: Vec<ProbeSite> = matching.map(site).collect();
    if sites.is_empty() {
        let names: Vec<&str> = target.raw_tracepoints.iter().map(|event| event.name.as_str()).collect();
        return Err(not_found("raw tracepoint", pattern, &names, 1));
    }
    sites.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sites)
}

fn tracepoints(target: &FakeTarget, category: &str, event: &str, options: &ResolveOptions) -> Sites {
    let mut sites: Vec<ProbeSite> = target
        .tracepoints
        .iter()
        .filter(|known| wildcard_match(category, &known.category) && wildcard_match(event, &known.event))
        .map(|known| tracepoint(known, options))
        .collect();
    if wildcard_match(category, "syscalls") {
        for syscall in &target.syscalls {
            for is_exit in [false, true] {
                let name = syscall_event(syscall, is_exit);
                if wildcard_match(event, &name) {
                    sites.push(syscall_site(syscall, name, is_exit, options));
                }
            }
        }
    }
    if sites.is_empty() {
        let calls = target.syscalls.iter().flat_map(|call| [syscall_event(call, false), syscall_event(call, true)]);
        let events: Vec<String> = target.tracepoints.iter().map(|known| known.event.clone()).chain(calls).collect();
        let names: Vec<&str> = events.iter().map(String::as_str).collect();
        return Err(not_found(&format!("event of `{category}`"), event, &names, 2));
    }
    sites.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sites)
}

/// Without fields an event takes the cheaper raw form, as the real provider does.
fn tracepoint(known: &FakeTracepoint, options: &ResolveOptions) -> ProbeSite {
    let (program, attach, arguments) = if options.uses_arguments {
        (ProgramKind::Tracepoint, Attach::Tracepoint { id: known.id }, known.arguments.clone())
    } else {
        let attach = Attach::RawTracepoint { event: known.event.as_str().into() };
        (ProgramKind::RawTracepoint, attach, Vec::new())
    };
    ProbeSite {
        name: format!("tracepoint:{}:{}", known.category, known.event).into(),
        function: known.event.as_str().into(),
        provider: "tracepoint",
        program,
        layout: Arc::new(Layout { arguments, ..Layout::default() }),
        selector: None,
        attach,
    }
}

fn syscall_event(syscall: &FakeSyscall, is_exit: bool) -> String {
    format!("sys_{}_{}", if is_exit { "exit" } else { "enter" }, syscall.name)
}

/// All system calls share two typed raw tracepoints and are told apart by their numbers.
fn syscall_site(syscall: &FakeSyscall, event: String, is_exit: bool, options: &ResolveOptions) -> ProbeSite {
    let register = |offset| Location::Behind { pointer: 0, offset, direct: true };
    let second = Location::Context { offset: 8 };
    let number = if is_exit { Word { at: register(ORIG_AX), bytes: 4 } } else { Word { at: second.clone(), bytes: 8 } };
    let mut arguments = Vec::new();
    if options.uses_arguments {
        let nr =
            Argument { name: "__syscall_nr".into(), ty: Type::Int { bytes: 4, signed: true }, at: number.at.clone() };
        arguments.push(nr);
        if is_exit {
            arguments.push(Argument { name: "ret".into(), ty: Type::I64, at: second.clone() });
        } else {
            let parameters = syscall.parameters.iter().zip(SYSCALL_REGISTERS);
            arguments.extend(parameters.map(|((name, ty), offset)| Argument {
                name: name.clone(),
                ty: ty.clone(),
                at: register(offset),
            }));
        }
    }
    let places: Vec<Location> =
        if is_exit { vec![second.clone(); 2] } else { SYSCALL_REGISTERS.into_iter().map(register).collect() };
    let argument = |(index, at)| Argument { name: format!("arg{index}").into(), ty: Type::I64, at };
    let layout = Layout {
        arguments,
        registers: places.into_iter().enumerate().map(argument).collect(),
        selector: Some(number),
        guard: Some((Word { at: register(CODE_SEGMENT), bytes: 2 }, USER_CODE_SEGMENT)),
        ..Layout::default()
    };
    let btf_id = if is_exit { SYS_EXIT_ID } else { SYS_ENTER_ID };
    ProbeSite {
        name: format!("tracepoint:syscalls:{event}").into(),
        function: event.into(),
        provider: "tracepoint",
        program: ProgramKind::Tracing { attach: TracingKind::RawTracepoint, btf_id },
        layout: Arc::new(layout),
        selector: Some(syscall.number),
        attach: Attach::RawTracepoint { event: if is_exit { "sys_exit" } else { "sys_enter" }.into() },
    }
}

fn uprobes(
    target: &FakeTarget,
    provider: &'static str,
    path: &str,
    pattern: &str,
    is_return: bool,
    options: &ResolveOptions,
) -> Sites {
    let matches = |known: &str| known == path || known.rsplit('/').next() == Some(path);
    let Some(binary) = target.binaries.iter().find(|binary| matches(&binary.path)) else {
        return Err(not_found("file", path, &[], 1));
    };
    let multi =
        if target.features.contains(&Feature::UprobeMulti) { MultiKind::UprobeMulti } else { MultiKind::Single };
    let file = Arc::new(PathBuf::from(&binary.path));
    let matching = binary.functions.iter().filter(|(_, name)| wildcard_match(pattern, name));
    let mut sites: Vec<ProbeSite> = matching
        .map(|(offset, function)| ProbeSite {
            name: format!("{provider}:{path}:{function}").into(),
            function: function.as_str().into(),
            provider,
            program: ProgramKind::Kprobe { multi, user: true },
            layout: Arc::new(register_layout(is_return, None)),
            selector: None,
            attach: Attach::Uprobe {
                path: file.clone(),
                offset: *offset,
                is_return,
                pid: options.only_pid(),
                semaphore: None,
            },
        })
        .collect();
    if sites.is_empty() {
        let names: Vec<&str> = binary.functions.iter().map(|(_, name)| name.as_str()).collect();
        return Err(not_found(&format!("function of {path}"), pattern, &names, 2));
    }
    sites.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sites)
}
