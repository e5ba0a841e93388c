//! `--check-rate`: what would print too often is warned of, with a rate that is that of the events; nothing else is.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::child::Child;
use crate::environment::Programs;

const PATIENCE: Duration = Duration::from_secs(60);

/// One statement prints for each event; the others seldom, never, or by a timer.
const SCRIPT: &str = "tracepoint:syscalls:sys_enter_getppid { printf(\"%d\\n\", pid); }
tracepoint:syscalls:sys_enter_getppid /pid == 0/ { printf(\"never\\n\"); }
tracepoint:syscalls:sys_enter_getppid { if (@n++ % 1000000 == 0) { print(@n); } }
interval:ms:10 { print(1); }
";

/// More calls than are ever made: the workload is ended with the test.
const FOREVER: &str = "1000000000";

pub fn check(programs: &Programs) -> Result<()> {
    let mut command = Command::new(programs.workloads.join("workload"));
    let workload = Child::start(command.args(["getppid", FOREVER]), Instant::now() + PATIENCE)?;
    let pid = workload.pid().to_string();
    let rtrace = |words: &[&str]| -> Result<(Option<i32>, String, String)> {
        let mut command = Command::new(&programs.rtrace);
        command.env("NO_COLOR", "1").args(["-p", &pid]).args(words);
        let ended = Child::start(&mut command, Instant::now() + PATIENCE)?.finish()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((ended.status.code(), text(&ended.output), text(&ended.errors)))
    };
    let (status, output, errors) = rtrace(&["--check-rate=300ms", "--dry-run", "-e", SCRIPT])?;
    ensure!(status == Some(0) && output.is_empty(), "it ended with {status:?} and printed {output}");
    ensure!(errors.matches("warning[R0057]").count() == 1, "not one warning: {errors}");
    ensure!(errors.contains("program:1:41"), "it is at another place: {errors}");
    ensure!(errors.contains("Checked for 300ms: it prints "), "nothing is summed up: {errors}");
    let rate = number(&errors, "this would print ")?;
    // What the same events are, counted once more.
    let script = "tracepoint:syscalls:sys_enter_getppid { @ = count(); }";
    let (_, output, _) = rtrace(&["--duration", "300ms", "-e", script])?;
    let counted = number(&output, "@: ")? * 1000 / 300;
    ensure!(rate > counted / 5 && rate < counted * 5, "the rate is {rate}, and counted it is {counted}");

    // One that ends itself prints once, however early; and the script itself runs after the check.
    let script = "tracepoint:syscalls:sys_enter_getppid { printf(\"one\\n\"); exit(); }";
    let (status, output, errors) = rtrace(&["--check-rate=300ms", "-e", script])?;
    ensure!(status == Some(0) && output.starts_with("one\n"), "it ended with {status:?}: {output}{errors}");
    ensure!(!errors.contains("R0057"), "an early end is warned of: {errors}");

    let script = "tracepoint:syscalls:sys_enter_getppid { printf(\"a\\n\"); signal(\"KILL\"); }";
    let (status, _, errors) = rtrace(&["--check-rate", "--unsafe", "-e", script])?;
    ensure!(status == Some(1) && errors.contains("--check-rate runs the script once more"), "it said {errors}");
    // It still lives.
    let (status, ..) = rtrace(&["--dry-run", "-e", "BEGIN { exit(); }"])?;
    ensure!(status == Some(0), "the process was signalled");
    Ok(())
}

/// The number behind these words.
fn number(text: &str, before: &str) -> Result<u64> {
    let Some(at) = text.find(before) else { bail!("no {before:?} in {text}") };
    let digits: String = text[at + before.len()..].chars().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
    digits.replace(',', "").parse().with_context(|| format!("no number in {text}"))
}
