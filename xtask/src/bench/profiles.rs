//! `rtrace profile` and perf on the same work: the shares that each finds, the time from the end of sampling to the picture, and
//! the bytes on disk until then. Of perf's way only what must be done is counted, `perf script`; drawing comes on top of it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Contestants;
use super::report::median;
use crate::debian::{self, Program};
use crate::host_packages;
use crate::workspace;

/// The name of the rows, for `--only`.
const NAME: &str = "profile beside perf";
const PERF: Program =
    Program { name: "perf-bookworm", suite: "bookworm", package: "linux-perf", binary: "usr/bin/perf" };

const FREQUENCY: &str = "199";
/// Of processor time, three quarters of it in `burn_most` and the rest in `burn_rest`.
const MILLISECONDS: &str = "4000";
const RUNS: usize = 5;
/// What a tracer may take until it samples. The work waits for it.
const START: Duration = Duration::from_secs(2);

/// One of a run's figures.
type Figure = fn(&Run) -> f64;

/// What a run gave.
struct Run {
    samples: f64,
    share: f64,
    picture_ms: f64,
    bytes: u64,
}

pub fn measure(
    contestants: &Contestants,
    perf: Option<&Path>,
    runs: usize,
    chosen: &dyn Fn(&str) -> bool,
) -> Result<()> {
    // With rtrace alone perf is measured only if it is named.
    if !chosen(NAME) || contestants.peer.is_none() && perf.is_none() {
        return Ok(());
    }
    let perf = match perf {
        Some(path) => path.to_path_buf(),
        None => {
            host_packages::ensure(host_packages::FOR_GUESTS)?;
            let _lock = workspace::lock_guests()?;
            debian::program(&PERF)?
        }
    };
    let directory = workspace::target().join("bench");
    workspace::create_empty_directory(&directory)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..runs.min(RUNS) {
        ours.push(by_rtrace(contestants, &directory)?);
        theirs.push(by_perf(&perf, &contestants.workload, &directory)?);
    }
    println!("{:<34} {:>14} {:>14}", "[a known share of 75 %]", "rtrace", "perf");
    let pick = |runs: &[Run], of: Figure| median(runs.iter().map(of).collect());
    let rows: [(&str, Figure); 4] = [
        ("samples", |run| run.samples),
        ("share found, %", |run| 100.0 * run.share),
        ("end of sampling to picture, ms", |run| run.picture_ms),
        ("KiB on disk", |run| run.bytes as f64 / 1024.0),
    ];
    for (name, of) in rows {
        println!("{name:<34} {:>14.2} {:>14.2}", pick(&ours, of), pick(&theirs, of));
    }
    let error = |run: &Run| 100.0 * (0.75f64 * 0.25 / run.samples).sqrt();
    println!("{:<34} {:>14.2} {:>14.2}", "standard error of a share, %", pick(&ours, error), pick(&theirs, error));
    println!(
        "perf's picture is not drawn: its time ends with the text of perf script, its bytes are perf.data and that text"
    );
    Ok(())
}

fn by_rtrace(contestants: &Contestants, directory: &Path) -> Result<Run> {
    let picture = directory.join("rtrace.svg");
    let mut command = Command::new(&contestants.rtrace);
    command.args(["profile", "-F", FREQUENCY, "-o"]).arg(&picture);
    let ended = sampled(&mut command, &contestants.workload)?;
    let picture_ms = ended.elapsed().as_secs_f64() * 1e3;
    let text = fs::read_to_string(&picture).with_context(|| format!("cannot read {}", picture.display()))?;
    let weight = |name: &str| weight(&text, name);
    let (most, rest) = (weight("burn_most")?, weight("burn_rest")?);
    Ok(Run { samples: most + rest, share: most / (most + rest), picture_ms, bytes: text.len() as u64 })
}

/// What the title of a frame says: `burn_most (597 samples, 75.00%)`.
fn weight(graph: &str, name: &str) -> Result<f64> {
    let start = format!("<title>{name} (");
    let rest = graph.split(&start).nth(1).with_context(|| format!("the graph has no {name}"))?;
    let number: String = rest.chars().take_while(|character| *character != ' ').filter(char::is_ascii_digit).collect();
    number.parse().with_context(|| format!("the title of {name} has no number"))
}

fn by_perf(perf: &Path, workload: &Path, directory: &Path) -> Result<Run> {
    let (data, text) = (directory.join("perf.data"), directory.join("perf.txt"));
    let mut command = Command::new(perf);
    command.args(["record", "-q", "-g", "-e", "cpu-clock", "-F", FREQUENCY, "-o"]).arg(&data);
    let ended = sampled(&mut command, workload)?;
    let file = fs::File::create(&text).with_context(|| format!("cannot create {}", text.display()))?;
    let script = Command::new(perf).args(["script", "-i"]).arg(&data).stdout(file).stderr(Stdio::null()).status()?;
    let picture_ms = ended.elapsed().as_secs_f64() * 1e3;
    ensure!(script.success(), "perf script failed with {script}");
    let samples = fs::read_to_string(&text).with_context(|| format!("cannot read {}", text.display()))?;
    let through = |name: &str| {
        let frame = format!(" {name}+");
        samples.split("\n\n").filter(|sample| sample.contains(&frame)).count() as f64
    };
    let (most, rest) = (through("burn_most"), through("burn_rest"));
    ensure!(most + rest > 0.0, "perf has no sample of the work");
    let bytes = fs::metadata(&data)?.len() + samples.len() as u64;
    Ok(Run { samples: most + rest, share: most / (most + rest), picture_ms, bytes })
}

/// Lets a tracer of a process follow the work, and waits for its end; gives the moment at which the work was done.
fn sampled(tracer: &mut Command, workload: &Path) -> Result<Instant> {
    let mut held = Command::new(workload)
        .args(["--wait", "burn", MILLISECONDS])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(held.stdout.take().context("piped")?).lines();
    let mut gate = held.stdin.take().context("piped")?;
    lines.next().context("the workload says its pid")??;
    let tracing = tracer
        .args(["-p", &held.id().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let done =
        tracing.as_ref().map(|_| ()).map_err(|error| anyhow::anyhow!("cannot start a tracer: {error}")).and_then(
            |()| {
                sleep(START);
                gate.write_all(b"go\n")?;
                lines.next().context("the workload says when it is done")??;
                Ok(Instant::now())
            },
        );
    // Its end is that of the tracer.
    drop(gate);
    held.wait()?;
    let output = tracing?.wait_with_output()?;
    if !output.status.success() {
        bail!("{:?} failed with {}: {}", tracer.get_program(), output.status, String::from_utf8_lossy(&output.stderr));
    }
    done
}
