//! Whole runs from start to end: wall time and peak memory, the two programs in turn.
//! Unsafe: waits for a child with its resource usage.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, bail};

use super::Contestants;
use super::report::{head, median, row};

/// A script, and how often the slower program runs it.
struct Row {
    name: &'static str,
    script: &'static str,
    /// Arguments of the workload that runs under `-c`.
    workload: Option<&'static str>,
    /// At most that many runs: some take the peer many seconds.
    most_runs: usize,
    /// What the printing alone takes, by a second script beside the first.
    printing: Option<Printing>,
}

struct Printing {
    script: &'static str,
    /// How often more than the first one it prints.
    more: f64,
}

const ROWS: &[Row] = &[
    Row { name: "BEGIN { exit(); }", script: "BEGIN { exit(); }", workload: None, most_runs: 50, printing: None },
    Row {
        name: "hello",
        script: "BEGIN { printf(\"%s %d\\n\", \"hi\", 1 + 2 * 3); exit(); }",
        workload: None,
        most_runs: 50,
        printing: None,
    },
    Row {
        name: "one tracepoint, first event",
        script: "tracepoint:syscalls:sys_enter_getppid { @ = count(); exit(); }",
        workload: Some("getppid 1"),
        most_runs: 11,
        printing: None,
    },
    Row {
        name: "all sys_enter_*",
        script: "tracepoint:syscalls:sys_enter_* { @[probe] = count(); }",
        workload: Some("getppid 1"),
        most_runs: 1,
        printing: None,
    },
    Row {
        name: "a million printf",
        script: "tracepoint:syscalls:sys_enter_getppid { printf(\"%d %d\\n\", tid, nsecs); }",
        workload: Some("threads 2 500000"),
        most_runs: 3,
        printing: None,
    },
    Row {
        name: "a map of a million keys",
        script: "config = { max_map_keys = 1000000 } BEGIN { for ($i : 0..1000000) { @[$i] = count(); } exit(); }",
        workload: None,
        most_runs: 5,
        // The time to make such a map differs by more than one printing.
        printing: Some(Printing {
            script: "config = { max_map_keys = 1000000 } BEGIN { for ($i : 0..1000000) { @[$i] = count(); } \
                     print(@); print(@); print(@); print(@); exit(); }",
            more: 4.0,
        }),
    },
    Row {
        name: "10,000 user stacks",
        script: "config = { max_map_keys = 20000 } uprobe:WORKLOAD:branch_end { @[ustack] = count(); }",
        workload: Some("branches 10000"),
        most_runs: 7,
        // Names that are known are not looked up again.
        printing: Some(Printing {
            script: "config = { max_map_keys = 20000; print_maps_on_exit = 0 } uprobe:WORKLOAD:branch_end { @[ustack] = count(); }",
            more: -1.0,
        }),
    },
];

pub fn measure(contestants: &Contestants, runs: usize, chosen: &dyn Fn(&str) -> bool) -> Result<()> {
    for row_of in ROWS.iter().filter(|row| chosen(row.name)) {
        let runs = runs.min(row_of.most_runs);
        let mut ours = Vec::new();
        let mut theirs = Vec::new();
        for _ in 0..runs {
            ours.push(run_both(&contestants.rtrace, row_of, &contestants.workload)?);
            if let Some(peer) = &contestants.peer {
                theirs.push(run_both(peer, row_of, &contestants.workload)?);
            }
        }
        let pick = |runs: &[Usage], f: fn(&Usage) -> f64| {
            if runs.is_empty() { None } else { Some(median(runs.iter().map(f).collect())) }
        };
        head("ms and MiB, whole process");
        row(
            &format!("{}: wall ms", row_of.name),
            pick(&ours, |usage| usage.wall_ms).unwrap_or(f64::NAN),
            pick(&theirs, |usage| usage.wall_ms),
        );
        row(
            &format!("{}: peak MiB", row_of.name),
            pick(&ours, |usage| usage.peak_mib).unwrap_or(f64::NAN),
            pick(&theirs, |usage| usage.peak_mib),
        );
        if row_of.printing.is_some() {
            row(
                &format!("{}: printing ms", row_of.name),
                pick(&ours, |usage| usage.printing_ms).unwrap_or(f64::NAN),
                pick(&theirs, |usage| usage.printing_ms),
            );
        }
    }
    Ok(())
}

struct Usage {
    wall_ms: f64,
    peak_mib: f64,
    /// Zero where it is not asked for.
    printing_ms: f64,
}

/// The script of a row, and then the one beside it.
fn run_both(program: &Path, row: &Row, workload: &Path) -> Result<Usage> {
    let mut usage = run(program, row, row.script, workload)?;
    if let Some(printing) = &row.printing {
        let other = run(program, row, printing.script, workload)?;
        usage.printing_ms = (other.wall_ms - usage.wall_ms) / printing.more;
    }
    Ok(usage)
}

fn run(program: &Path, row: &Row, script: &str, workload: &Path) -> Result<Usage> {
    let mut command = Command::new(program);
    command.args(["-e", &script.replace("WORKLOAD", &workload.to_string_lossy())]);
    if let Some(arguments) = row.workload {
        command.args(["-c", &format!("{} {arguments}", workload.display())]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let child = command.spawn()?;
    let (mut status, pid) = (0, child.id() as i32);
    // SAFETY: waits for our own child, whose handle is not waited on elsewhere; both structures outlive the call.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        if libc::wait4(pid, &mut status, 0, &mut usage) != pid {
            bail!("cannot wait for {}", program.display());
        }
        usage
    };
    let wall_ms = start.elapsed().as_secs_f64() * 1e3;
    if !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) != 0 {
        bail!("{} -e '{}' failed", program.display(), script);
    }
    Ok(Usage { wall_ms, peak_mib: usage.ru_maxrss as f64 / 1024.0, printing_ms: 0.0 })
}
