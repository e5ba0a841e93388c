//! Tiers 1 to 3: the `rtrace` binary as a child process, on a case's script. Traces only what the case starts, except
//! in tier 3. Output is compared as it is; what a case replaces is replaced in both texts' stead once, here.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

use crate::case::{Case, Expected};
use crate::child::{Child, Ended};
use crate::directives::WorkloadMode;
use crate::environment::{Need, Programs};
use crate::expectation::compare;
use crate::schema::Schema;
use crate::workload::{self, Unfinished};

/// How long a case may take where it does not say.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What rtrace says once everything is attached.
const ATTACHED: &str = "Attached ";
const ATTACHED_AS_JSON: &str = "{\"type\": \"attached_probes\"";

/// Tier 1: everything is loaded into the kernel, nothing attached.
pub fn load(case: &Case, programs: &Programs) -> Result<()> {
    let deadline = Instant::now() + case.directives.timeout.unwrap_or(TIMEOUT);
    let mut command = rtrace(programs, case);
    command.arg("--dry-run");
    // It waits until it is ended: nothing is attached.
    let mut waiting = None;
    match &case.directives.workload {
        Some(wanted) if wanted.mode != WorkloadMode::Beside => {
            let started = workload::start(wanted, programs, deadline)?;
            command.arg("-p").arg(started.pid.to_string());
            waiting = Some(started);
        }
        Some(_) | None => {}
    }
    command.args(&case.directives.flags).arg("--").arg(&case.script).args(&case.directives.arguments);
    let ended = Child::start(&mut command, deadline)?.finish()?;
    drop(waiting);
    if !ended.status.success() {
        bail!("it does not load: {}\n{}", ended.status, String::from_utf8_lossy(&ended.errors));
    }
    Ok(())
}

/// Tiers 2 and 3: attached, with exact output.
pub fn attached(case: &Case, programs: &Programs, stdout: Option<Expected>) -> Result<()> {
    let form = if stdout == Some(Expected::Json) { Form::Json } else { Form::Usual };
    check(case, programs, stdout, &run(case, programs, form)?)
}

/// The same with `-f json`, whatever comes: each line must be by the schema.
pub fn by_schema(case: &Case, programs: &Programs, schema: &Schema) -> Result<()> {
    let ended = run(case, programs, Form::Json)?;
    check_status(case, &ended, &String::from_utf8_lossy(&ended.errors))?;
    if ended.output.is_empty() && case.directives.exit == 0 {
        bail!("it writes no line, so that none can be wrong");
    }
    schema.check(&ended.output)
}

/// How often a case with watchpoints is begun at most.
const ATTEMPTS: usize = 3;

/// Held by cases with watchpoints: a processor has four for all that is traced at once.
static WATCHPOINTS: Mutex<()> = Mutex::new(());

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The one that the case asks for.
    Usual,
    Json,
}

fn run(case: &Case, programs: &Programs, form: Form) -> Result<Ended> {
    // One that has failed is over.
    let _alone = case.running.lock().unwrap_or_else(PoisonError::into_inner);
    if !case.directives.needs.contains(&Need::Watchpoints) {
        return run_once(case, programs, form);
    }
    let _watching = WATCHPOINTS.lock().unwrap_or_else(PoisonError::into_inner);
    // About one in a million times a virtual processor does not say which address was written, and the kernel sends SIGTRAP,
    // whoever watches.
    let is_spurious = |error: &anyhow::Error| {
        error.downcast_ref::<Unfinished>().is_some_and(|unfinished| unfinished.status.signal() == Some(libc::SIGTRAP))
    };
    for _ in 1..ATTEMPTS {
        match run_once(case, programs, form) {
            Err(error) if is_spurious(&error) => {}
            outcome => return outcome,
        }
    }
    run_once(case, programs, form)
}

fn run_once(case: &Case, programs: &Programs, form: Form) -> Result<Ended> {
    let directives = &case.directives;
    let deadline = Instant::now() + directives.timeout.unwrap_or(TIMEOUT);
    let mut command = rtrace(programs, case);
    if form == Form::Json {
        command.args(["-f", "json"]);
    }
    command.args(&directives.flags);
    let mut waiting = None;
    let mut parameters = Vec::new();
    if let Some(wanted) = &directives.workload {
        match wanted.mode {
            WorkloadMode::Command => {
                let words = std::iter::once(wanted.program.as_str()).chain(wanted.arguments.iter().map(String::as_str));
                command.arg("-c").arg(words.collect::<Vec<_>>().join(" "));
            }
            WorkloadMode::Process => {
                let started = workload::start(wanted, programs, deadline)?;
                command.arg("-p").arg(started.pid.to_string());
                waiting = Some(started);
            }
            WorkloadMode::Beside => {
                let started = workload::start(wanted, programs, deadline)?;
                parameters.push(started.pid.to_string());
                waiting = Some(started);
            }
        }
    }
    parameters.extend(directives.arguments.iter().cloned());
    command.arg("--").arg(&case.script).args(parameters);
    let child = Child::start(&mut command, deadline)?;
    let is_attached = match (&waiting, directives.interrupt) {
        (None, false) => false,
        // Without that line it has ended by itself, and its own messages say why.
        _ if form == Form::Json => child.await_output_or_end(ATTACHED_AS_JSON)?.is_some(),
        _ => child.await_error(ATTACHED)?.is_some(),
    };
    if is_attached {
        if let Some(waiting) = &mut waiting {
            waiting.go()?;
        }
        // The workload still lives, so that its symbols can be read at the end.
        child.signal(libc::SIGINT);
    }
    let ended = child.finish()?;
    if let Some(waiting) = waiting {
        waiting.finish()?;
    }
    Ok(ended)
}

fn check_status(case: &Case, ended: &Ended, errors: &str) -> Result<()> {
    if ended.status.code() != Some(case.directives.exit) {
        bail!("it ended with {}, not with status {}:\n{errors}", ended.status, case.directives.exit);
    }
    Ok(())
}

/// Compares status, output and errors.
fn check(case: &Case, programs: &Programs, stdout: Option<Expected>, ended: &Ended) -> Result<()> {
    let errors = prepare(case, programs, &ended.errors);
    check_status(case, ended, &errors)?;
    if let Some(kind) = stdout {
        // What it said may tell why.
        compare(case, kind, &prepare(case, programs, &ended.output))
            .map_err(|error| anyhow!("{error}\nit says on stderr:\n{errors}"))?;
    }
    if case.expects(Expected::Errors) {
        return compare(case, Expected::Errors, &errors);
    }
    // What nobody expects must not be said.
    let is_end = |line: &str| line.starts_with("Process ") && line.ends_with(" has ended");
    let is_expected = |line: &str| line.is_empty() || line.starts_with(ATTACHED) || is_end(line);
    let unexpected: Vec<&str> = errors.lines().filter(|line| !is_expected(line)).collect();
    if !unexpected.is_empty() {
        bail!("it says on stderr (a file {}.err would expect it):\n{}", case.name, unexpected.join("\n"));
    }
    Ok(())
}

/// The output as it is compared: WORKLOADS stands for the directory of the workloads, whose place is the machine's.
fn prepare(case: &Case, programs: &Programs, bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    if let Ok(directory) = programs.workloads.canonicalize() {
        text = text.replace(&format!("{}/", directory.display()), "WORKLOADS/");
    }
    for (pattern, replacement) in &case.directives.replace {
        text = pattern.replace_all(&text, replacement.as_str()).into_owned();
    }
    if case.directives.sort {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        text = lines.iter().map(|line| format!("{line}\n")).collect();
    }
    text
}

/// rtrace in the case's directory, with the workloads first on the PATH and nothing of the caller's that changes output.
fn rtrace(programs: &Programs, case: &Case) -> Command {
    let mut command = Command::new(&programs.rtrace);
    let mut path = vec![programs.workloads.clone()];
    path.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    if let Ok(path) = std::env::join_paths(path) {
        command.env("PATH", path);
    }
    command.env("NO_COLOR", "1").env("LANG", "C.UTF-8").env_remove("RUST_LOG").current_dir(&case.directory);
    command
}
