//! Where the output goes, and what becomes of it: a full disk, a reader that has gone, a terminal, a burst of more events
//! than the buffer holds. And who may trace: a user with two capabilities and nothing else.
//! Unsafe: kill(2) on a child's own id; signal(2), setrlimit(2) and prctl(2) in it.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::child::{Child, Ended};
use crate::directives::{Workload, WorkloadMode};
use crate::environment::Programs;
use crate::scale;
use crate::workload;

type Check = fn(&Programs) -> Result<()>;

/// The tests by their names.
pub const ALL: &[(&str, Check)] = &[
    ("full_disk", check_full_disk),
    ("closed_pipe", check_closed_pipe),
    ("terminal", check_terminal),
    ("burst", check_burst),
    ("signal_passed_on", check_signal_passed_on),
    ("stubborn_command", check_stubborn_command),
    ("other_signals", check_other_signals),
    ("process_ends", check_process_ends),
    ("output_that_waits", check_output_that_waits),
    ("locked_memory", check_locked_memory),
    ("command_of_a_shell", check_command_of_a_shell),
];

/// Those that take util-linux' setpriv, which guests lack. Kernels before 5.11 want the right to lock memory, too.
pub const OUTSIDE_GUESTS: &[(&str, Check)] = &[
    ("capabilities", check_capabilities),
    ("no_capabilities", check_no_capabilities),
    ("few_files", check_few_files),
    ("dry_run_without_capabilities", check_dry_run_without_capabilities),
    ("compiling_without_capabilities", check_compiling_without_capabilities),
];

const PATIENCE: Duration = Duration::from_secs(60);
/// System calls of the burst: their records are many times as large as the buffer.
const CALLS: u64 = 100_000;

fn run(command: &mut Command) -> Result<Ended> {
    Child::start(command, Instant::now() + PATIENCE)?.finish()
}

fn errors(ended: &Ended) -> String {
    String::from_utf8_lossy(&ended.errors).into_owned()
}

/// What can't be written is told, and the status is 1: while the script runs, and at its end.
fn check_full_disk(programs: &Programs) -> Result<()> {
    for script in ["BEGIN { printf(\"x\\n\"); exit(); }", "interval:ms:1 { printf(\"x\\n\"); }", "BEGIN { @ = 1; }"] {
        let ended = run(Command::new(&programs.rtrace).args(["-o", "/dev/full", "-e", script]))?;
        if ended.status.code() != Some(1) || !errors(&ended).contains("cannot write the output: No space left") {
            bail!("{script} ended with {} and said: {}", ended.status, errors(&ended));
        }
    }
    let asked: [&[&str]; 11] = [
        &["-l", "software:*"],
        &["--info"],
        &["--explain", "R0001"],
        &["--emit", "ast", "-e", "BEGIN { }"],
        &["--help"],
        &["-V"],
        &["fmt", "--help"],
        &["fmt", "-e", "BEGIN { }"],
        &["--manual", "man"],
        &["profile", "--script"],
        &["flame", "on-cpu", "--script"],
    ];
    for words in asked {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
        let ended = Command::new(&programs.rtrace).args(words).stdout(full).output()?;
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(
            ended.status.code() == Some(1) && said.contains("No space left"),
            "{words:?}: {}, {said}",
            ended.status
        );
        // Nobody reads, which is no mistake.
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let ended = Command::new(&programs.rtrace).args(words).stdout(writer).output()?;
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.success() && said.is_empty(), "{words:?} in a closed pipe: {}, {said}", ended.status);
    }
    Ok(())
}

/// A reader that has seen enough ends rtrace with status 0, and nothing is said.
fn check_closed_pipe(programs: &Programs) -> Result<()> {
    for script in ["interval:ms:1 { printf(\"x\\n\"); }", "interval:ms:1 { @[nsecs] = 1; print(@); }"] {
        let deadline = Instant::now() + PATIENCE;
        let mut child = Command::new(&programs.rtrace)
            .args(["-q", "-e", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut output = child.stdout.take().context("no pipe")?;
        let read = output.read_exact(&mut [0; 2]);
        drop(output);
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                bail!("{script} did not end when its reader had gone");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut errors = String::new();
        child.stderr.take().context("no pipe")?.read_to_string(&mut errors)?;
        if read.is_err() || status.code() != Some(0) || !errors.is_empty() {
            bail!("{script} ended with {status} and said: {errors}");
        }
    }
    Ok(())
}

/// What a terminal gets of the output, or of what is said beside it; colours aside, which are rtrace's own.
fn on_terminal(programs: &Programs, words: &[&str], errors: bool) -> Result<String> {
    let (mut master, slave) = scale::terminal()?;
    let mut command = Command::new(&programs.rtrace);
    command.args(words).env("NO_COLOR", "1").stdin(Stdio::null());
    match errors {
        true => command.stdout(Stdio::null()).stderr(slave),
        false => command.stdout(slave).stderr(Stdio::null()),
    };
    let mut child = command.spawn()?;
    drop(command);
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("it did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut shown = [0; 4096];
    let count = master.read(&mut shown).context("the terminal shows nothing")?;
    Ok(String::from_utf8_lossy(&shown[..count]).into_owned())
}

/// Strings can't move the cursor of a terminal; in a pipe they are as they are.
fn check_terminal(programs: &Programs) -> Result<()> {
    let script = "BEGIN { printf(\"<%s>\\n\", \"a\\x1b[2Jb\"); @[\"k\\x07\"] = 1; exit(); }";
    let shown = on_terminal(programs, &["-q", "-e", script], false)?;
    if shown.contains(['\x1b', '\x07']) || !shown.contains("<a\\x1b[2Jb>") || !shown.contains("@[k\\x07]: 1") {
        bail!("a terminal is shown {shown:?}");
    }
    let numbers = "BEGIN { printf(\"<%c%c%c%c%c>\\n\", 27, 91, 109, 0xc3, 0xa9); exit(); }";
    let shown = on_terminal(programs, &["-q", "-e", numbers], false)?;
    ensure!(shown.contains("<\\x1b[m\u{e9}>"), "a terminal is shown {shown:?}");
    // What goes to stderr, the output among it where maps alone are the result.
    let said = "BEGIN { errorf(\"%s\", \"a\\x1b[2Jb\"); printf(\"<%s>\\n\", \"a\\x1b[2Jb\"); @ = 1; exit(); }";
    for format in ["text", "csv"] {
        let shown = on_terminal(programs, &["-q", "-f", format, "-e", said], true)?;
        let has_output = format == "text" || shown.contains("<a\\x1b[2Jb>");
        ensure!(!shown.contains('\x1b') && shown.contains("error: a\\x1b[2Jb") && has_output, "{format}: {shown:?}");
    }
    let shown =
        on_terminal(programs, &["-q", "-f", "json", "-e", "BEGIN { print(\"\\xc2\\x9b\\x7f\"); exit(); }"], false)?;
    ensure!(shown.contains("\\u009b\\u007f"), "JSON on a terminal: {shown:?}");
    let piped = run(Command::new(&programs.rtrace).args(["-q", "-e", script]))?;
    if !piped.output.starts_with(b"<a\x1b[2Jb>\n") {
        bail!("a pipe is given {:?}", String::from_utf8_lossy(&piped.output));
    }
    Ok(())
}

fn check_burst(programs: &Programs) -> Result<()> {
    count_burst(programs, &["getppid", &CALLS.to_string()], CALLS)
}

/// Of each of two probes, what was printed and what was lost are what fired while nobody read.
pub fn count_burst(programs: &Programs, work: &[&str], calls: u64) -> Result<()> {
    let script = "tracepoint:syscalls:sys_enter_getppid { printf(\"%r 1\\n\", buf(curtask, 200)); } \
                  tracepoint:syscalls:sys_exit_getppid { printf(\"%r 2\\n\", buf(curtask, 200)); }";
    let deadline = Instant::now() + PATIENCE;
    let wanted = Workload {
        mode: WorkloadMode::Process,
        program: "workload".into(),
        arguments: work.iter().map(|word| word.to_string()).collect(),
    };
    let mut waiting = workload::start(&wanted, programs, deadline)?;
    let mut command = Command::new(&programs.rtrace);
    command.args(["-f", "json", "-p", &waiting.pid.to_string(), "-e", script]);
    let child = Child::start(&mut command, deadline)?;
    child.await_output("{\"type\": \"attached_probes\"")?;
    // Nothing is read while the burst lasts.
    child.signal(libc::SIGSTOP);
    waiting.go()?;
    child.signal(libc::SIGCONT);
    child.signal(libc::SIGINT);
    let ended = child.finish()?;
    waiting.finish()?;
    if !ended.status.success() {
        bail!("it ended with {}: {}", ended.status, errors(&ended));
    }
    let mut printed = [0; 2];
    let mut lost: Vec<(u64, u64)> = Vec::new();
    for line in String::from_utf8_lossy(&ended.output).lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        match line["type"].as_str() {
            Some("printf") => match line["data"].as_str().map(str::trim_end).unwrap_or_default() {
                text if text.ends_with('1') => printed[0] += 1,
                text if text.ends_with('2') => printed[1] += 1,
                text => bail!("`{text}` was never printed"),
            },
            Some("lost_events") => {
                let (place, count) = (&line["col"], &line["count"]);
                let place = place.as_u64().context("no place")?;
                let count = count.as_u64().context("no count")?;
                // The last line of a place has its total.
                lost.retain(|(other, _)| *other != place);
                lost.push((place, count));
            }
            _ => {}
        }
    }
    lost.sort_unstable();
    let [(_, first), (_, second)] = lost[..] else { bail!("not each probe has lost some: {lost:?}") };
    if [printed[0] + first, printed[1] + second] != [calls; 2] || printed.contains(&0) {
        bail!("each probe fired {calls} times; printed {printed:?}, lost {lost:?}");
    }
    Ok(())
}

/// A signal that rtrace is sent reaches the command, whose status becomes that of rtrace.
fn check_signal_passed_on(programs: &Programs) -> Result<()> {
    let shell = "sh -c 'trap \"exit 7\" INT; trap \"exit 8\" TERM; trap \"exit 9\" HUP; trap \"exit 10\" USR1; \
                 trap \"exit 11\" USR2; echo ready; while :; do sleep 0.01; done'";
    let signals = [(libc::SIGINT, 7), (libc::SIGTERM, 8), (libc::SIGHUP, 9), (libc::SIGUSR1, 10), (libc::SIGUSR2, 11)];
    for (signal, status) in signals {
        let mut command = Command::new(&programs.rtrace);
        command.args(["-q", "--propagate-exit", "-e", "interval:s:100 { }", "-c", shell]);
        let child = Child::start(&mut command, Instant::now() + PATIENCE)?;
        child.await_output("ready")?;
        child.signal(signal);
        let ended = child.finish()?;
        if ended.status.code() != Some(status) {
            bail!("sent signal {signal}, it ended with {}: {}", ended.status, errors(&ended));
        }
    }
    Ok(())
}

/// A signal that no probe of the script asks for changes nothing; a terminal that is closed ends the script in good order.
fn check_other_signals(programs: &Programs) -> Result<()> {
    let mut command = Command::new(&programs.rtrace);
    command.args(["-e", "BEGIN { @ = 5; } interval:s:100 { } END { printf(\"ends\\n\"); }"]);
    let child = Child::start(&mut command, Instant::now() + PATIENCE)?;
    child.await_error("Attached")?;
    child.signal(libc::SIGUSR1);
    child.signal(libc::SIGHUP);
    let ended = child.finish()?;
    let output = String::from_utf8_lossy(&ended.output);
    if output != "ends\n\n\n@: 5\n" || !ended.status.success() {
        bail!("it ended with {} and printed {output:?}: {}", ended.status, errors(&ended));
    }
    Ok(())
}

/// Nobody reads the output, and it waits: a second signal ends it at once.
fn check_output_that_waits(programs: &Programs) -> Result<()> {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let (reader, writer) = std::io::pipe()?;
        let mut command = Command::new(&programs.rtrace);
        command.args(["-q", "-e", "interval:ms:1 { printf(\"%r\", buf(curtask, 1000)); }"]);
        // A shell that runs the tests in the background has them ignore SIGINT.
        // SAFETY: signal(2) may be called between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                Ok(())
            });
        }
        let mut child = command.stdout(writer).stderr(Stdio::null()).spawn()?;
        drop(command);
        let deadline = Instant::now() + PATIENCE;
        let is_waiting = || -> Result<bool> {
            let place = std::fs::read_to_string(format!("/proc/{}/syscall", child.id()))?;
            // write(2) is number 1; a process that runs has no number.
            Ok(place.starts_with("1 "))
        };
        let mut times = 0;
        while times < 20 {
            ensure!(Instant::now() < deadline, "its output never waits");
            times = if is_waiting()? { times + 1 } else { 0 };
            std::thread::sleep(Duration::from_millis(10));
        }
        let send = |number| {
            // SAFETY: two numbers; the child is ours and not waited for.
            unsafe { libc::kill(child.id() as i32, number) };
            std::thread::sleep(Duration::from_millis(200));
        };
        send(signal);
        send(signal);
        let status = child.try_wait()?;
        if status.is_none() {
            child.kill()?;
            child.wait()?;
        }
        drop(reader);
        ensure!(status.and_then(|status| status.signal()) == Some(signal), "sent signal {signal} twice: {status:?}");
    }
    Ok(())
}

/// Root without CAP_SYS_RESOURCE: kernels before 5.11 give maps little memory then, which is said.
fn check_locked_memory(programs: &Programs) -> Result<()> {
    const CAP_SYS_RESOURCE: i32 = 24;
    let mut command = Command::new(&programs.rtrace);
    command.args(["-q", "-e", "BEGIN { @[1] = 1; printf(\"begun\\n\"); exit(); }"]);
    // SAFETY: both are system calls, which may be made between fork and exec.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit { rlim_cur: 64 << 10, rlim_max: 64 << 10 };
            libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit);
            libc::prctl(libc::PR_CAPBSET_DROP, CAP_SYS_RESOURCE, 0, 0, 0);
            Ok(())
        });
    }
    let ended = run(&mut command)?;
    let errors = errors(&ended);
    if release()? >= (5, 11) {
        ensure!(ended.status.success() && ended.output.starts_with(b"begun\n"), "{}: {errors}", ended.status);
    } else {
        let is_told = errors.contains("may have 64 KiB (RLIMIT_MEMLOCK)") && errors.contains("CAP_SYS_RESOURCE");
        ensure!(ended.status.code() == Some(2) && is_told, "{}: {errors}", ended.status);
    }
    Ok(())
}

/// The first two numbers of the kernel's version.
fn release() -> Result<(u32, u32)> {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(second))) => Ok((first, second)),
        _ => bail!("the kernel's version is {text}"),
    }
}

/// A shell's words in a command that no shell runs: told where it fails.
fn check_command_of_a_shell(programs: &Programs) -> Result<()> {
    for (command, is_told) in [("ls / | head", true), ("ls /nowhere", false), ("echo | head", false)] {
        let ended = run(Command::new(&programs.rtrace).args(["-q", "-e", "BEGIN { }", "-c", command]))?;
        let errors = errors(&ended);
        let is_there = errors.contains("`|` means nothing: -c \"sh -c 'ls / | head'\"");
        ensure!(ended.status.success() && is_there == is_told, "{command}: {}, {errors}", ended.status);
    }
    Ok(())
}

/// What was collected is printed before a command has ended that does not want to.
fn check_stubborn_command(programs: &Programs) -> Result<()> {
    let shell = "sh -c 'trap \"\" TERM; echo ready; sleep 2; echo over'";
    let mut command = Command::new(&programs.rtrace);
    command.args(["-q", "-e", "BEGIN { @ = 5; } interval:s:100 { }", "-c", shell]);
    let child = Child::start(&mut command, Instant::now() + PATIENCE)?;
    child.await_output("ready")?;
    child.signal(libc::SIGTERM);
    let ended = child.finish()?;
    let output = String::from_utf8_lossy(&ended.output).into_owned();
    let lines: Vec<&str> = output.lines().filter(|line| !line.is_empty()).collect();
    if lines != ["ready", "@: 5", "over"] || !ended.status.success() {
        bail!("it ended with {} and printed {output}", ended.status);
    }
    Ok(())
}

/// The process of `-p` ends, by itself or killed: that is said once, and the maps are printed.
fn check_process_ends(programs: &Programs) -> Result<()> {
    for is_killed in [false, true] {
        let deadline = Instant::now() + PATIENCE;
        let arguments = vec!["getppid".into(), "7".into()];
        let wanted = Workload { mode: WorkloadMode::Process, program: "workload".into(), arguments };
        let mut waiting = workload::start(&wanted, programs, deadline)?;
        let pid = waiting.pid;
        let script = "tracepoint:syscalls:sys_enter_getppid { @ = count(); }";
        let mut command = Command::new(&programs.rtrace);
        let tracer = Child::start(command.args(["-p", &pid.to_string(), "-e", script]), deadline)?;
        tracer.await_error("Attached ")?.context("it did not attach")?;
        waiting.go()?;
        if is_killed {
            waiting.kill()?
        } else {
            waiting.finish()?
        }
        let ended = tracer.finish()?;
        let output = String::from_utf8_lossy(&ended.output);
        let said = errors(&ended);
        let lines: Vec<&str> = said.lines().skip_while(|line| !line.starts_with("Attached ")).skip(1).collect();
        if !ended.status.success() || output.trim() != "@: 7" || lines != [format!("Process {pid} has ended")] {
            bail!("killed: {is_killed}: it ended with {}, printed {output} and said {said}", ended.status);
        }
    }
    Ok(())
}

const COUNTS: &str = "tracepoint:syscalls:sys_enter_getppid { @ = count(); } BEGIN { printf(\"begun\\n\"); }";
/// It takes a helper that not all kernels have.
const LOOPS: &str = "BEGIN { @[1] = 1; } END { for $one : @ { print($one); } }";

/// rtrace as a user of no rights but these capabilities.
fn as_nobody(programs: &Programs, capabilities: &str, options: &[&str], script: &str) -> Result<Ended> {
    under_limit("true", programs, capabilities, options, script)
}

/// The same after that command of a shell, which sets a limit.
fn under_limit(limit: &str, programs: &Programs, capabilities: &str, options: &[&str], script: &str) -> Result<Ended> {
    let bounds = format!("-all{capabilities}");
    // The directories of a build may be closed to other users: the program is handed over as an open file.
    let program = std::fs::File::open(&programs.rtrace)?;
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{limit} && exec setpriv \"$@\""), "sh"])
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"])
        .args(["--inh-caps", &bounds, "--ambient-caps", &bounds, "/proc/self/fd/0"])
        .args(["-q", "--duration", "50ms"])
        .args(options)
        .args(["-e", script])
        .stdin(program);
    let output = command.output().context("cannot run setpriv")?;
    Ok(Ended { status: output.status, output: output.stdout, errors: output.stderr })
}

fn check_capabilities(programs: &Programs) -> Result<()> {
    let ended = as_nobody(programs, ",+bpf,+perfmon,+dac_read_search", &[], COUNTS)?;
    if ended.status.code() != Some(0) || !ended.output.starts_with(b"begun\n") {
        bail!("it ended with {}: {}", ended.status, errors(&ended));
    }
    Ok(())
}

/// A script that compiles and that the kernel was not asked of, and one that does not compile.
fn check_dry_run_without_capabilities(programs: &Programs) -> Result<()> {
    let tried = [
        ("BEGIN { @x = 1; }", 2, "error: the script compiles, but the kernel was not asked whether it loads"),
        ("BEGIN { @x = y; }", 1, "error[R0010]"),
    ];
    for (script, status, message) in tried {
        let ended = as_nobody(programs, "", &["--dry-run"], script)?;
        let errors = errors(&ended);
        if ended.status.code() != Some(status) || !errors.contains(message) {
            bail!("{script} ended with {}: {errors}", ended.status);
        }
    }
    Ok(())
}

/// Scripts compile into the same programs, also where neither tracefs may be read nor the kernel be asked what it can do.
fn check_compiling_without_capabilities(programs: &Programs) -> Result<()> {
    let as_for_root = [
        "tracepoint:sched:sched_switch { @[args.prev_comm, args.next_pid] = count(); }",
        "tracepoint:sched:sched_process_exec { @[str(args.filename)] = count(); }",
        "tracepoint:sched:sched_wakeup { @[args.comm, args.target_cpu] = count(); }",
        "tracepoint:sched:sched_process_* { @[comm] = count(); }",
        "tracepoint:syscalls:sys_enter_openat { printf(\"%s %d\\n\", str(args.filename), args.dfd); }",
        "tracepoint:syscalls:sys_exit_read /args.ret > 0/ { @ = sum(args.ret); }",
        "tracepoint:raw_syscalls:sys_enter { @[args.id, args.args[1]] = count(); }",
        "rawtracepoint:sched_switch { @ = count(); }",
        "syscall::openat:entry { @[copyinstr(arg1)] = count(); }",
    ];
    for script in as_for_root {
        let emitted = ["--emit", "manifest,bpf"];
        let ended = as_nobody(programs, "", &emitted, script)?;
        let of_root = run(Command::new(&programs.rtrace).args(emitted).args(["-e", script]))?;
        if ended.status.code() != Some(0) || ended.output != of_root.output || ended.output.is_empty() {
            let shown = String::from_utf8_lossy(&ended.output).into_owned();
            bail!("{script} ended with {}: {}{shown}", ended.status, errors(&ended));
        }
    }
    let others = [
        ("fentry:vfs_read { @ = sum(args.count); }", 0, ""),
        ("fexit:vfs_read { @ = sum(retval); }", 0, ""),
        ("iter:task { print(ctx.task.pid); }", 0, ""),
        ("tracepoint:sched:sched_switch { @ = count(args.nothing); }", 1, "error[R0"),
        ("tracepoint:sched:sched_switch { @ = sum(args.prev_pidd); }", 1, "no argument `prev_pidd`"),
        ("tracepoint:sched:* { @ = count(); }", 2, "needs to read /sys/kernel/tracing, which is not permitted"),
    ];
    for (script, status, message) in others {
        let ended = as_nobody(programs, "", &["--check"], script)?;
        if ended.status.code() != Some(status) || !errors(&ended).contains(message) {
            bail!("{script} ended with {}: {}", ended.status, errors(&ended));
        }
    }
    Ok(())
}

/// Without them the message names them.
fn check_no_capabilities(programs: &Programs) -> Result<()> {
    let both = "capabilities CAP_BPF and CAP_PERFMON";
    let tried = [
        ("", COUNTS, both),
        (",+bpf", COUNTS, "capability CAP_PERFMON"),
        (",+perfmon", COUNTS, "capability CAP_BPF"),
        ("", LOOPS, both),
    ];
    for (capabilities, script, missing) in tried {
        let ended = as_nobody(programs, capabilities, &[], script)?;
        let errors = errors(&ended);
        if ended.status.code() != Some(2) || !errors.contains(missing) {
            bail!("with `{capabilities}` and {script} it ended with {}: {errors}", ended.status);
        }
    }
    Ok(())
}

/// More programs than a process may have open files: the limit is raised, and where that may not be it is what is named.
fn check_few_files(programs: &Programs) -> Result<()> {
    let script = "BEGIN { @ = count(); }\n".repeat(300);
    let load = |limit| under_limit(limit, programs, ",+bpf,+perfmon,+dac_read_search", &["--dry-run"], &script);
    let loaded = load("ulimit -S -n 256")?;
    if !loaded.status.success() {
        bail!("under a soft limit it ended with {}: {}", loaded.status, errors(&loaded));
    }
    let refused = load("ulimit -n 256")?;
    let errors = errors(&refused);
    let lines = [
        "error[R0036]: cannot load the program of begin: BPF_PROG_LOAD: Too many open files",
        "the script takes 300 programs",
        "raise the limit of open files, which is 256 (`ulimit -n`)",
    ];
    if refused.status.code() != Some(2) || !lines.iter().all(|line| errors.contains(line)) {
        bail!("under a hard limit it ended with {}, and says not {lines:?}: {errors}", refused.status);
    }
    Ok(())
}
