//! What one event costs, by the kernel's own counters of the time that programs run (`kernel.bpf_stats_enabled`): the
//! total over all programs of a script, divided by the events of the workload. A program that also sees the events of
//! others and turns them away pays for that too.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};

use super::Contestants;
use super::report::{geometric_mean, head, median, row};
use crate::workspace;

/// Runs of each script; the median counts.
const RUNS: usize = 3;

/// How long a tracer may take to attach.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn measure(contestants: &Contestants, chosen: &dyn Fn(&str) -> bool) -> Result<()> {
    let directory = workspace::root().join("benches/events");
    let mut names: Vec<String> = fs::read_dir(&directory)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".rt").map(str::to_string))
        .filter(|name| chosen(name))
        .collect();
    names.sort();
    if names.is_empty() {
        return Ok(());
    }
    let _stats = enable_stats(Stats::RunTime).context("cannot switch on the kernel's run-time counters")?;
    head("ns per event, kernel counters");
    let mut ratios = Vec::new();
    for name in names {
        let script = fs::read_to_string(directory.join(format!("{name}.rt")))?;
        let workload = script
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("// workload: "))
            .context("no workload")?
            .to_string();
        let events: f64 = workload.split(' ').nth(1).context("no number of events")?.parse()?;
        let script = script.replace("WORKLOAD", &contestants.workload.to_string_lossy());
        let cost = |tracer: &Path| -> Result<f64> {
            let runs = (0..RUNS)
                .map(|_| run(tracer, &script, &contestants.workload, &workload))
                .collect::<Result<Vec<_>>>()?;
            Ok(median(runs) / events)
        };
        let ours = cost(&contestants.rtrace)?;
        let theirs = contestants.peer.as_ref().map(|peer| cost(peer)).transpose()?;
        row(&name, ours, theirs);
        ratios.extend(theirs.map(|theirs| ours / theirs));
    }
    if !ratios.is_empty() {
        println!("geometric mean of the ratios: {:.3}", geometric_mean(&ratios));
    }
    Ok(())
}

/// Total run time of the tracer's programs while the workload runs, nanoseconds.
fn run(tracer: &Path, script: &str, workload: &Path, arguments: &str) -> Result<f64> {
    let before = programs()?;
    let mut held = Command::new(workload)
        .arg("--wait")
        .args(arguments.split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(held.stdout.take().context("piped")?).lines();
    let mut gate = held.stdin.take().context("piped")?;
    lines.next().context("the workload says its pid")??;
    let mut tracing = Command::new(tracer)
        .args(["-p", &held.id().to_string(), "-e", script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let result = wait_attached(&mut tracing).and_then(|()| {
        gate.write_all(b"\n")?;
        lines.next().context("the workload says when it is done")??;
        let after = programs()?;
        Ok(after.iter().filter(|(id, _)| !before.contains_key(id)).map(|(_, time)| time.as_nanos() as f64).sum())
    });
    interrupt(&tracing);
    drop(gate);
    held.wait()?;
    tracing.wait()?;
    result
}

fn wait_attached(tracer: &mut Child) -> Result<()> {
    let start = Instant::now();
    let mut said = String::new();
    let mut reader = BufReader::new(tracer.stderr.take().context("piped")?);
    while start.elapsed() < PATIENCE {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            break;
        }
        if line.starts_with("Attached") {
            // Whatever else it says must not stop it.
            std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
            // Attaching goes on for a moment in the kernel.
            std::thread::sleep(Duration::from_millis(300));
            return Ok(());
        }
        said.push_str(&line);
    }
    bail!("the tracer did not attach:\n{said}")
}

/// Ends our own tracer as Ctrl-C does.
fn interrupt(tracer: &Child) {
    let _ = Command::new("kill").args(["-INT", &tracer.id().to_string()]).status();
}

/// Run times of all programs in the kernel, by their ids.
fn programs() -> Result<HashMap<u32, Duration>> {
    loaded_programs()
        .map(|program| program.map(|program| (program.id(), program.run_time())))
        .collect::<Result<_, _>>()
        .map_err(Into::into)
}
