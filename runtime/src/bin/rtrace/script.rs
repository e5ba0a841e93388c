//! One script from its text to its end: what `rtrace FILE` and `rtrace -e` do, and each program at the prompt.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use clap::{Command, CommandFactory};
use regex::Regex;
use rtrace_compiler::object::Object;
use rtrace_lang::check::{CheckOptions, FixedMap};
use rtrace_lang::diagnostic::{Code, Diagnostic, did_you_mean, near_misses};
use rtrace_lang::settings;
use rtrace_lang::source::Source;
use rtrace_lang::span::Span;
use rtrace_lang::target::FEATURE_NAMES;
use rtrace_probes::Machine;
use rtrace_probes::kernel::cgroup::Cgroup;
use rtrace_runtime::child::{self, Child};
use rtrace_runtime::driver::{Stage, drive};
use rtrace_runtime::metrics::MetricsServer;
use rtrace_runtime::output::buffering::Buffered;
use rtrace_runtime::output::flame::Flame;
use rtrace_runtime::output::redirected::Redirected;
use rtrace_runtime::output::{Bars, FORMATS, Format, Sink, format_named, notices};
use rtrace_runtime::session::{Session, SessionError, SessionOptions, SharedMap, SharedStacks};

use crate::arguments::{Arguments, Mode, Origin};
use crate::bug_report::{self, BugReport};
use crate::emit;
use crate::manual;
use crate::parameters;
use crate::rates;

/// Exit status of a mistake in the script or on the command line.
const MISTAKE: i32 = 1;
/// Exit status of a machine that cannot do what is asked.
const MACHINE: i32 = 2;

pub fn run(arguments: &Arguments, origin: Origin<'_>) -> i32 {
    let (name, text) = match read(origin) {
        Ok(source) => source,
        Err(message) => return fail(&message, &origin.file().map_or_else(Vec::new, meant_by)),
    };
    run_text(arguments, &name, &text, true)
}

/// What a word may mean that is no file: a command, or an option.
fn meant_by(word: &str) -> Vec<String> {
    if word.contains(['/', '.']) || Path::new(word).exists() {
        return Vec::new();
    }
    let mut command = Arguments::command();
    // `--help` is put there by this.
    command.build();
    if command.get_arguments().any(|option| option.get_long() == Some(word)) {
        return vec![format!("the option is written `rtrace --{word}`")];
    }
    let commands = manual::commands();
    let near = near_misses(word, commands.iter().map(Command::get_name));
    did_you_mean(&near).into_iter().chain(["`rtrace --help` lists commands and options".to_string()]).collect()
}

/// The name and the text of a script.
pub fn read(origin: Origin<'_>) -> Result<(String, String), String> {
    let (name, bytes) = match origin {
        Origin::Text(text) => return Ok(("program".to_string(), text.to_string())),
        Origin::File(file) => {
            let bytes = std::fs::read(file).map_err(|error| format!("cannot read {file}: {error}"))?;
            (file.to_string(), bytes)
        }
        Origin::StandardInput => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).map_err(|error| format!("cannot read standard input: {error}"))?;
            ("stdin".to_string(), bytes)
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok((name, text)),
        Err(error) => {
            let line =
                error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            Err(format!("{name}:{}: the script is not UTF-8 text", line + 1))
        }
    }
}

/// Tells a mistake that is none of a script's text, with its help; gives the exit status of a mistake.
pub fn fail(message: &str, help: &[String]) -> i32 {
    notices::error(message, help).tell();
    MISTAKE
}

/// Prints what a command was asked for; gives its exit status.
pub fn print(text: &[u8]) -> i32 {
    let mut out = std::io::stdout();
    is_written(out.write_all(text).and_then(|()| out.flush()))
}

/// The exit status of a command that writes a text: whoever reads it may have seen enough, but a full disk is told.
pub fn is_written(result: std::io::Result<()>) -> i32 {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            fail(&format!("cannot write the output: {error}"), &["make room, or write it elsewhere".to_string()])
        }
        Ok(()) | Err(_) => 0,
    }
}

/// Whether messages have colours: on a terminal, and as the environment says.
pub fn is_coloured() -> bool {
    let asked = ["RTRACE_COLOR", "BPFTRACE_COLOR"].iter().find_map(|name| std::env::var(name).ok());
    match asked.as_deref() {
        Some("always") => true,
        Some("never") => false,
        _ => std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    }
}

/// The names that a mistaken word may mean, and all that there are.
pub fn near_and_all(word: &str, kind: &str, names: &[&str]) -> Vec<String> {
    let near = did_you_mean(&near_misses(word, names.iter().copied()));
    near.into_iter().chain([format!("{kind}: {}", names.join(", "))]).collect()
}

pub fn report(diagnostics: &[Diagnostic], source: &Source) {
    notices::report(diagnostics, source, is_coloured());
}

/// `--explain CODE`
pub fn explain(name: &str) -> i32 {
    match Code::named(name) {
        Some(code) => {
            let example = match code.example() {
                "" => String::new(),
                example => format!("\nFor example, this is refused with it:\n\n    {example}\n"),
            };
            let text = format!("{}: {}\n\n{}\n{example}", code.name(), code.title(), code.explanation());
            print(text.as_bytes())
        }
        None => {
            let near = did_you_mean(&near_misses(name, Code::ALL.iter().map(|code| code.name())));
            let help = near.unwrap_or_else(|| "a message shows its code behind `error`: R0011".to_string());
            fail(&format!("there is no code {name}"), &[help])
        }
    }
}

/// The machine, or what the command line leaves of it.
pub fn machine(arguments: &Arguments) -> Result<Machine, i32> {
    let mut machine = Machine::without(&arguments.without).map_err(|name| {
        let names: Vec<&str> = FEATURE_NAMES.iter().map(|(name, _)| *name).collect();
        let help = near_and_all(name, "features, beside helpers such as `loop`", &names);
        fail(&format!("there is no feature `{name}`"), &help)
    })?;
    if let Some(path) = TYPES_VARIABLES.iter().find_map(std::env::var_os) {
        let types = machine.use_types_of(Path::new(&path));
        types.map_err(|error| fail(&error.to_string(), &["RTRACE_BTF is a file of the kernel's types".to_string()]))?;
    }
    if let Some(path) = &arguments.traceable_functions {
        let text = std::fs::read_to_string(path);
        machine.use_traceable_functions(
            text.map_err(|error| fail(&format!("cannot read {}: {error}", path.display()), &[]))?,
        );
    }
    if let Some(pattern) = &arguments.probe_filter {
        let help = "for example --probe-filter '^kprobe:vfs_(read|write)$'".to_string();
        let regex = Regex::new(pattern)
            .map_err(|error| fail(&format!("--probe-filter is no regular expression: {error}"), &[help]))?;
        machine.use_filter(move |name| regex.is_match(name));
    }
    if is_only_shown(arguments) {
        machine.compile_only();
    }
    Ok(machine)
}

/// Where the environment says that the kernel's types are.
pub const TYPES_VARIABLES: [&str; 2] = ["RTRACE_BTF", "BPFTRACE_BTF"];

/// A program that is ready for the kernel.
pub struct Prepared {
    pub machine: Machine,
    pub object: Object,
    pub options: SessionOptions,
    pub format: &'static Format,
    pub bars: Bars,
}

/// The format that the command line names, if it can be written where it is to go.
pub fn format(arguments: &Arguments) -> Result<&'static Format, i32> {
    let Some(format) = format_named(&arguments.format) else {
        let names: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
        return Err(fail(
            &format!("there is no format `{}`", arguments.format),
            &near_and_all(&arguments.format, "formats", &names),
        ));
    };
    if format.is_binary && !is_only_shown(arguments) && arguments.output.is_none() && std::io::stdout().is_terminal() {
        let help = format!("write it to a file: -f {} -o FILE", format.name);
        return Err(fail(&format!("{} is no text, and is not written to a terminal", format.name), &[help]));
    }
    Ok(format)
}

/// The command of `-c`, which does not run yet: of a script that is only looked at, too, since probes may be of its process.
pub fn held_command(arguments: &Arguments) -> Result<Option<Child>, i32> {
    let held = arguments.command.as_deref().map(Child::hold).transpose();
    held.map_err(|error| fail(&error.to_string(), &no_shell(arguments).into_iter().collect::<Vec<_>>()))
}

/// What to do where the command of `-c` is one of a shell's.
fn no_shell(arguments: &Arguments) -> Option<String> {
    let command = arguments.command.as_deref()?;
    let word = child::word_of_a_shell(command)?;
    let quoted = command.replace('\'', "'\\''");
    Some(format!("no shell runs the command of -c, to which `{word}` means nothing: -c \"sh -c '{quoted}'\""))
}

/// Nothing is attached.
fn is_only_shown(arguments: &Arguments) -> bool {
    arguments.emit.is_some() || arguments.dry_run || arguments.check
}

/// The processes that the command line names; otherwise the exit status.
pub fn processes_are_there(arguments: &Arguments) -> Result<(), i32> {
    let is_missing = |pid: &&u32| !Path::new(&format!("/proc/{pid}")).exists();
    match arguments.pid.iter().chain(&arguments.dwarf_pids).find(is_missing) {
        Some(pid) => Err(fail(&format!("there is no process {pid}"), &[])),
        None => Ok(()),
    }
}

/// The cgroup that the command line names; it and the process are there.
fn scope(arguments: &Arguments) -> Result<Option<Cgroup>, i32> {
    processes_are_there(arguments)?;
    if arguments.children && arguments.pid.is_none() && arguments.command.is_none() {
        return Err(fail("--children is of a process", &["choose it with `-p PID` or `-c COMMAND`".to_string()]));
    }
    let cgroup = match (&arguments.cgroup, &arguments.container) {
        (Some(path), _) => Cgroup::at(path).map(Some),
        (None, Some(id)) => Cgroup::of_container(id).map(Some),
        (None, None) => Ok(None),
    };
    let cgroup = match cgroup {
        Ok(cgroup) => cgroup,
        Err(error) => {
            fail(&error.message, &error.help);
            return Err(if error.is_mistake { MISTAKE } else { MACHINE });
        }
    };
    if let Some(cgroup) = &cgroup
        && arguments.verbose
    {
        notices::tell(&format!("Only tasks of {}\n", cgroup.path.display()));
    }
    Ok(cgroup)
}

/// Runs a program to its end; gives the exit status. The tool ends with the last one.
pub fn run_text(arguments: &Arguments, name: &str, text: &str, is_last: bool) -> i32 {
    run_whole(arguments, name, text, is_last).unwrap_or_else(|status| status)
}

fn run_whole(arguments: &Arguments, name: &str, text: &str, is_last: bool) -> Result<i32, i32> {
    match arguments.mode {
        Some(Mode::Format) => {
            return Err(fail(
                "`--mode format` is a command here",
                &["print scripts in one style by `rtrace fmt FILE`".to_string()],
            ));
        }
        Some(Mode::CompilerBench) => {
            let help = "`rtrace -v` shows what comes of a script; there is no LLVM whose passes could be measured";
            return Err(fail("there is no `--mode compiler-bench`", &[help.to_string()]));
        }
        Some(Mode::Codegen | Mode::Test | Mode::Bench) | None => {}
    }
    format(arguments)?;
    let cgroup = scope(arguments)?;
    let child = held_command(arguments)?;
    match prepared(arguments, name, text, cgroup, child.as_ref(), Sharing::default())? {
        Outcome::Shown(status) => Ok(status),
        Outcome::Ready(mut prepared) => {
            prepared.options.is_last = is_last;
            run_prepared(arguments, prepared, child)
        }
    }
}

/// `:emit` of the prompt; gives the exit status.
pub fn emit_text(arguments: &Arguments, name: &str, text: &str, stage: &str, sharing: Sharing) -> i32 {
    let mut arguments = arguments.clone();
    arguments.emit = Some(stage.to_string());
    match prepared(&arguments, name, text, None, None, sharing) {
        Ok(Outcome::Shown(status)) | Err(status) => status,
        Ok(Outcome::Ready(prepared)) => run_prepared(&arguments, prepared, None).unwrap_or_else(|status| status),
    }
}

/// What comes of a text.
enum Outcome {
    /// All that was asked for is done.
    Shown(i32),
    Ready(Box<Prepared>),
}

/// What a program takes of others that run; nothing for a script.
#[derive(Default)]
pub struct Sharing {
    pub fixed: Vec<FixedMap>,
    pub maps: Vec<SharedMap>,
    pub stacks: Option<SharedStacks>,
    /// Others may come and use its maps.
    pub is_on: bool,
    pub typed: Option<Typed>,
}

/// What somebody has typed of a script: messages show that alone.
pub struct Typed {
    pub text: String,
    /// Where it begins in the script.
    pub at: usize,
}

impl Typed {
    /// The same messages of what was typed.
    fn shown(&self, diagnostics: &[Diagnostic]) -> Vec<Diagnostic> {
        let place = |at: u32| (at as usize).saturating_sub(self.at).min(self.text.len()) as u32;
        let moved = |span: Span| Span { start: place(span.start), end: place(span.end) };
        let one = |diagnostic: &Diagnostic| Diagnostic {
            span: moved(diagnostic.span),
            others: diagnostic.others.iter().map(|(span, label)| (moved(*span), label.clone())).collect(),
            ..diagnostic.clone()
        };
        diagnostics.iter().map(one).collect()
    }
}

/// Compiles a text that is to run beside others.
pub fn prepare(arguments: &Arguments, name: &str, text: &str, sharing: Sharing) -> Result<Box<Prepared>, i32> {
    match prepared(arguments, name, text, scope(arguments)?, None, sharing)? {
        Outcome::Shown(status) => Err(status),
        Outcome::Ready(prepared) => Ok(prepared),
    }
}

/// What D's macro variables are: the tool's own numbers.
fn of_tool() -> Vec<(&'static str, i64)> {
    use rtrace_runtime::identity::{Identity, identity};
    let Identity { pid, ppid, pgid, sid, uid, euid, gid, egid } = identity();
    let own = [("pid", pid), ("ppid", ppid), ("pgid", pgid), ("sid", sid)];
    let users = [("uid", uid), ("euid", euid), ("gid", gid), ("egid", egid)];
    own.into_iter().chain(users).collect()
}

fn prepared(
    arguments: &Arguments,
    name: &str,
    text: &str,
    cgroup: Option<Cgroup>,
    child: Option<&Child>,
    sharing: Sharing,
) -> Result<Outcome, i32> {
    let (named, positional) = parameters::split(arguments.parameters());
    let mut machine = machine(arguments)?;
    if let Some(child) = child {
        machine.expect_program(child.pid, child.program.clone());
    }
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let overrides = settings::of_environment(variables).map_err(|message| fail(&message, &[]))?;
    let options = CheckOptions {
        overrides,
        pid: arguments.pid.or(child.map(|child| child.pid)),
        in_cgroup: cgroup.is_some(),
        children: arguments.children,
        all_tasks: arguments.all_tasks,
        of_tool: of_tool(),
        positional,
        named,
        child: child.map(|child| child.pid),
        allow_unsafe: arguments.allow_unsafe,
        fixed_maps: sharing.fixed,
        shares_maps: sharing.is_on,
        serves_maps: arguments.listen.is_some(),
        trial: arguments.trial(),
        ..CheckOptions::default()
    };
    let stages = arguments.emit.as_deref().map(emit::stages).transpose()?;
    let stage = stages.as_ref().map_or(Stage::Compile, |stages| emit::needed(stages));
    let mut source = Source::new(name, text);
    let mut driven = drive(&mut source, &machine, &options, stage);
    if arguments.no_warnings {
        driven.diagnostics.retain(Diagnostic::is_error);
    }
    if let Some(status) = parameters::answer(&options.named, &driven.options, source.name()) {
        return Ok(Outcome::Shown(status));
    }
    match &sharing.typed {
        Some(typed) => report(&typed.shown(&driven.diagnostics), &Source::new(name, &*typed.text)),
        None => report(&driven.diagnostics, &source),
    }
    if driven.has_errors() {
        let only_machine = driven.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).all(|d| d.machine);
        return Err(if only_machine { MACHINE } else { MISTAKE });
    }
    let verifier_log = stages.as_ref().is_some_and(|stages| stages.contains(&emit::VERIFIER));
    if let Some(stages) = &stages {
        let status = emit::run(stages, &driven, &source);
        if !verifier_log || status != 0 {
            return Ok(Outcome::Shown(status));
        }
    }
    if arguments.check {
        return Ok(Outcome::Shown(0));
    }
    let Some(mut compiled) = driven.compiled else { return Err(MISTAKE) };
    if arguments.break_program {
        bug_report::break_programs(&mut compiled.object);
    }
    if arguments.verbose {
        emit::sizes(&compiled);
    }
    // Nobody draws lines among those of JSON.
    let on_terminal = std::io::stderr().is_terminal() && !notices::is_json();
    let options = SessionOptions {
        source,
        pid: arguments.pid,
        children: arguments.children,
        all_tasks: arguments.all_tasks,
        unwound: arguments.dwarf_pids.clone(),
        cgroup,
        progress: !arguments.quiet && on_terminal,
        // Where its output goes to the terminal, this is the command's.
        recording: (on_terminal && (arguments.command.is_none() || !std::io::stdout().is_terminal()))
            .then(|| arguments.stack_file.as_ref().map(|file| file.style.unit.clone()))
            .flatten(),
        quiet: arguments.quiet,
        verbose: arguments.verbose,
        verifier_log,
        is_last: false,
        duration: arguments.duration,
        count: arguments.count,
        trial: arguments.trial(),
        // JSON has escapes of its own.
        for_terminal: arguments.format != "json" && is_on_terminal(arguments),
        shared: sharing.maps,
        shared_stacks: sharing.stacks,
    };
    let bars = bars(arguments);
    let prepared = Prepared { machine, object: compiled.object, options, format: format(arguments)?, bars };
    Ok(Outcome::Ready(Box::new(prepared)))
}

fn is_on_terminal(arguments: &Arguments) -> bool {
    arguments.output.is_none() && std::io::stdout().is_terminal()
}

/// What the bars of pictures are drawn with.
pub fn bars(arguments: &Arguments) -> Bars {
    if is_on_terminal(arguments) && !arguments.ascii { Bars::of_locale() } else { Bars::Ascii }
}

fn run_prepared(arguments: &Arguments, prepared: Box<Prepared>, child: Option<Child>) -> Result<i32, i32> {
    let mut report = BugReport::begun(arguments, &prepared)?;
    let outcome = run_in_kernel(arguments, prepared, child, &mut report);
    report.finish(outcome.unwrap_or_else(|status| status));
    outcome
}

fn run_in_kernel(
    arguments: &Arguments,
    prepared: Box<Prepared>,
    child: Option<Child>,
    bug: &mut BugReport,
) -> Result<i32, i32> {
    if let Some(period) = arguments.check_rate {
        rates::check(&prepared, period, bug)?;
    }
    let Prepared { machine, object, options, format, bars } = *prepared;
    let source = options.source.clone();
    let failed = |error: &SessionError, bug: &mut BugReport| {
        bug.note_error(error);
        session_error(error, &source, arguments.verbose)
    };
    let mut session = match Session::load(&machine, object, options) {
        Ok(session) => session,
        Err(error) if arguments.dry_run && error.is_privilege() => {
            bug.note_error(&error);
            let mut help = error.help();
            help.push("`--check` compiles, and asks no kernel".to_string());
            fail(&format!("the script compiles, but the kernel was not asked whether it loads: {error}"), &help);
            return Err(error.exit_status());
        }
        Err(error) => return Err(failed(&error, bug)),
    };
    if let Some(stages) = &arguments.emit {
        return Ok(emit::verifier(&emit::stages(stages)?, &session));
    }
    if arguments.dry_run {
        return Ok(0);
    }
    let writer: Box<dyn Write> = match &arguments.output {
        Some(path) => match File::create(path) {
            Ok(file) => Box::new(file),
            Err(error) => return Err(fail(&format!("cannot write {}: {error}", path.display()), &[])),
        },
        None => Box::new(std::io::stdout()),
    };
    let mut sink: Box<dyn Sink> = match &arguments.stack_file {
        Some(file) => file.sink(writer),
        None => Box::new(Redirected::new(format, writer, bars)),
    };
    if let Some(buffering) = arguments.buffering {
        sink = Box::new(Buffered { inner: sink, buffering: buffering.into() });
    }
    if let Some(path) = &arguments.flame {
        sink = match Flame::new(sink, path) {
            Ok(flame) => Box::new(flame),
            Err(error) => return Err(fail(&format!("cannot write {}: {error}", path.display()), &[])),
        };
    }
    if let Some(address) = &arguments.listen {
        match MetricsServer::new(address).and_then(|server| Ok((server.address()?, server))) {
            Ok((at, server)) => {
                if !arguments.quiet {
                    notices::tell(&format!("Serving http://{at}/metrics\n"));
                }
                session.serve(server);
            }
            Err(error) => {
                let help = "--listen takes HOST:PORT, such as 127.0.0.1:9435 or [::1]:9435; port 0 is any free one";
                return Err(fail(&format!("cannot listen at {address}: {error}"), &[help.to_string()]));
            }
        }
    }
    match session.run(child, &mut *sink) {
        Ok(ended) => {
            if let (Some(1..), Some(help)) = (ended.child, no_shell(arguments)) {
                notices::warn(&format!("the command has failed; {help}"));
            }
            match (arguments.propagate_exit, ended.child, ended.code) {
                (true, Some(status), 0) => Ok(status),
                (_, _, code) => Ok(code),
            }
        }
        // Whoever reads has seen enough.
        Err(SessionError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(failed(&error, bug)),
    }
}

/// Tells why a session could not be, or is over; gives the exit status.
pub fn session_error(error: &SessionError, source: &Source, verbose: bool) -> i32 {
    match error.diagnostic() {
        Some(diagnostic) => report(std::slice::from_ref(diagnostic), source),
        None => _ = fail(&error.to_string(), &error.help()),
    }
    if let SessionError::Refused { log, .. } = error
        && verbose
    {
        notices::tell(log);
    }
    error.exit_status()
}
