//! A BPF program of one rtrace, traced by another: its runs are counted exactly, by the program's number and by the
//! name of its function; and what the verifier said of it. And one of the test's own, whose frame is in the stacks of what it
//! calls.

use std::os::fd::AsFd;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aya_obj::generated::{bpf_func_id, bpf_prog_type};
use rtrace_probes::kernel::bpf::{ProgramConfig, TestRun, program_load, program_test_run};
use rtrace_probes::kernel::features::instruction;

use crate::child::Child;
use crate::directives::{Workload, WorkloadMode};
use crate::environment::Programs;
use crate::workload;

/// How often the traced program runs.
const RUNS: u32 = 12;

/// What is traced: a program with a function of its own, which is called for every run.
const TRACED: &str = "fn rtrace_twice($a: int64): int64 { if ($a > 1000) { return 0; } return $a * 2; } \
                      uprobe:workload:workload_call { @ = sum(rtrace_twice(arg2)); }";

pub fn check(programs: &Programs) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let wanted = Workload {
        mode: WorkloadMode::Process,
        program: "workload".into(),
        arguments: vec!["calls".into(), RUNS.to_string()],
    };
    let mut waiting = workload::start(&wanted, programs, deadline)?;
    let pid = waiting.pid.to_string();
    let rtrace = |words: &[&str]| {
        let mut command = Command::new(&programs.rtrace);
        command.env("PATH", &programs.workloads).args(words);
        Child::start(&mut command, deadline)
    };
    let traced = rtrace(&["-p", &pid, "-e", TRACED])?;
    traced.await_error("Attached ")?.context("what should be traced did not attach")?;
    let listed = rtrace(&["-l", "fentry:bpf:*_rtrace_twice"])?.finish()?;
    let listed = String::from_utf8(listed.output)?;
    let name = listed.lines().next().with_context(|| "the function of the traced program is not listed")?;
    let [_, _, program, function] = name.split(':').collect::<Vec<_>>()[..] else {
        bail!("`{name}` is not fentry:bpf:PROGRAM:FUNCTION");
    };
    let script = format!(
        "fentry:bpf:{function} {{ @by_name = count(); }} \
         fentry:bpf:{program}:{function} {{ @by_number[probe, func] = count(); }} \
         fexit:bpf:{program}:* {{ @left[func, retval] = count(); }}"
    );
    let tracer = rtrace(&["-p", &pid, "-e", &script])?;
    tracer.await_error("Attached ")?.context("the tracer of the program did not attach")?;
    check_pattern(programs, deadline)?;
    waiting.go()?;
    tracer.signal(libc::SIGINT);
    let ended = tracer.finish()?;
    traced.signal(libc::SIGINT);
    let went_on = String::from_utf8(traced.finish()?.output)?;
    waiting.finish()?;
    let main = function.strip_suffix("_rtrace_twice").unwrap_or_default();
    let expected = [
        format!("@by_name: {RUNS}"),
        format!("@by_number[{name}, {function}]: {RUNS}"),
        format!("@left[{main}, 0]: {RUNS}"),
        format!("@left[{function}, 0]: {RUNS}"),
    ];
    let output = String::from_utf8_lossy(&ended.output);
    let mut found: Vec<&str> = output.lines().filter(|line| line.starts_with('@')).collect();
    found.sort_unstable();
    if found != expected {
        bail!("expected {expected:?}, found {found:?}\n{}", String::from_utf8_lossy(&ended.errors));
    }
    // Its arguments are the numbers from 0, and each counts twice.
    let sum = format!("@: {}", RUNS * (RUNS - 1));
    if went_on.trim() != sum {
        bail!("the traced program should have gone on to {sum}, and has {went_on}");
    }
    Ok(())
}

/// All BPF programs, while some of them are themselves attached by fentry: what the kernel takes of them is attached to and listed
/// (from 6.8 on also those), and the others are left out.
fn check_pattern(programs: &Programs, deadline: Instant) -> Result<()> {
    let run = |words: &[&str]| Child::start(Command::new(&programs.rtrace).args(words), deadline)?.finish();
    let listed = run(&["-l", "fentry:bpf:*"])?;
    let script = "fentry:bpf:* { @ = count(); } interval:ms:1 { exit(); }";
    let all = run(&["-v", "-e", script])?;
    let (listed, errors) = (String::from_utf8_lossy(&listed.output), String::from_utf8_lossy(&all.errors));
    ensure!(all.status.success(), "all BPF programs: it ended with {}: {errors}", all.status);
    let is_tracing = |line: &&str| line.rsplit(':').next().is_some_and(|function| function.starts_with("fe"));
    let left_out = errors.lines().find_map(|line| line.strip_prefix("Left out, ")).unwrap_or_default();
    let named = |text: &str| {
        text.split([' ', ',', '\n']).filter(|name| name.starts_with("fentry:bpf:")).filter(is_tracing).count()
    };
    // The two clauses of fentry and that of fexit, each of them once: in the list, or left out.
    ensure!(named(&listed) + named(left_out) >= 3, "neither listed nor left out:\n{listed}\n{errors}");
    ensure!(listed.lines().all(|line| !left_out.contains(line)), "listed and left out:\n{listed}\n{errors}");
    Ok(())
}

/// `-d verifier` loads, shows the log of each program with its lines of the script, and attaches nothing.
pub fn check_verifier_log(programs: &Programs) -> Result<()> {
    let mut command = Command::new(&programs.rtrace);
    command.args(["-d", "verifier,types", "-e", "BEGIN { @begun = pid; }\nEND { @gone = pid; }"]);
    let ended = Child::start(&mut command, Instant::now() + Duration::from_secs(60))?.finish()?;
    let (output, errors) = (String::from_utf8(ended.output)?, String::from_utf8(ended.errors)?);
    ensure!(ended.status.success() && errors.is_empty(), "it ended with {} and said {errors}", ended.status);
    let (checked, log) = output.split_once("==== verifier\n").context("there is no stage of the verifier")?;
    ensure!(checked.starts_with("==== hir\n"), "the stage before is {checked}");
    let logs: Vec<&str> = log.split("program ").skip(1).collect();
    ensure!(logs.len() == 2, "there are logs of {} programs: {log}", logs.len());
    for (log, line) in logs.iter().zip(["; BEGIN { @begun = pid; }", "; END { @gone = pid; }"]) {
        for part in [line, " exit\n", "processed "] {
            ensure!(log.contains(part), "`{part}` is not in the log {log}");
        }
    }
    // The log of two loops whose rounds the verifier goes through one by one: 3 MB on old kernels, more than 16 on new ones.
    let rounds = "$i = 0; while ($i < 1000) { $i++; @[$i] = $i; if (@[$i] == 7) { @b = $i; } }";
    let script = format!("BEGIN {{ {rounds} {rounds} }}");
    let mut command = Command::new(&programs.rtrace);
    command.args(["--without", "loop", "--emit", "verifier", "-e", &script]);
    let ended = Child::start(&mut command, Instant::now() + Duration::from_secs(60))?.finish()?;
    let log = String::from_utf8_lossy(&ended.output);
    let is_instruction = |line: &&str| {
        line.split_once(": (").is_some_and(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let instructions = log.lines().filter(is_instruction).count();
    let end = log.lines().last().unwrap_or_default();
    let looked_at: Option<usize> = end.strip_prefix("processed ").and_then(|rest| rest.split(' ').next()?.parse().ok());
    let is_whole = looked_at.is_some_and(|count| count > 5000 && instructions >= count / 2);
    ensure!(is_whole, "a log of {} bytes has {instructions} instructions and ends with {end}", log.len());
    Ok(())
}

/// What the program is called; its frame has a hash of its instructions before it.
const SENDER: &str = "rtrace_sender";

/// Runs a program that sends this process a signal that it ignores, and looks at the kernel's stack of the signal.
pub fn check_frames(programs: &Programs) -> Result<()> {
    const MOVE_IMMEDIATE: u8 = 0xb7;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    let instructions = [
        instruction(MOVE_IMMEDIATE, 1, 0, 0, libc::SIGWINCH),
        instruction(CALL, 0, 0, 0, bpf_func_id::BPF_FUNC_send_signal as i32),
        instruction(MOVE_IMMEDIATE, 0, 0, 0, 0),
        instruction(EXIT, 0, 0, 0, 0),
    ];
    let config = ProgramConfig {
        program_type: bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT,
        instructions: &instructions,
        license: c"GPL",
        name: SENDER,
        ..ProgramConfig::default()
    };
    let sender = program_load(&config)?.fd;

    let script = format!(
        "rawtracepoint:signal_generate /pid == {} && arg0 == {}/ {{ @[kstack] = count(); }}",
        std::process::id(),
        libc::SIGWINCH
    );
    let tracer =
        Child::start(Command::new(&programs.rtrace).args(["-e", &script]), Instant::now() + Duration::from_secs(60))?;
    tracer.await_error("Attached ")?.context("it did not attach")?;
    for _ in 0..RUNS {
        program_test_run(sender.as_fd(), TestRun::default())?;
    }
    tracer.signal(libc::SIGINT);
    let ended = tracer.finish()?;
    let output = String::from_utf8_lossy(&ended.output);
    let frames: Vec<&str> = output.lines().map(str::trim).collect();
    let is_ours = |frame: &&str| frame.starts_with("bpf_prog_") && frame.contains(&format!("_{SENDER}+"));
    let ours = frames.iter().position(is_ours).with_context(|| format!("no frame of {SENDER} in {output}"))?;
    ensure!(frames[..ours].iter().any(|frame| frame.contains("send_signal")), "no caller above it in {output}");
    ensure!(frames[ours..].iter().any(|frame| frame.contains("test_run")), "no caller below it in {output}");
    ensure!(frames.iter().any(|frame| frame.ends_with(&format!("]: {RUNS}"))), "not {RUNS} times: {output}");
    Ok(())
}
