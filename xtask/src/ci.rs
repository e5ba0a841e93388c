//! `cargo xtask ci`: every check of the project, step after step, with a count at the end.
//! A step must never pass because something it needs is missing: it installs it, or it fails.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::debian::{self, Program};
use crate::docs;
use crate::host_packages;
use crate::kernels;
use crate::process;
use crate::tidy;
use crate::vm::{self, Guest};
use crate::workloads;
use crate::workspace;

#[derive(Args)]
pub struct CiArguments {
    /// Run only the steps whose name contains TEXT; may be given several times
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
}

/// A named part of the whole.
struct Step {
    name: &'static str,
    run: fn() -> Result<()>,
}

/// What needs no test: form, lints, the project's own rules, documents made from tables.
const CHECKS: &[Step] = &[
    Step { name: "format", run: format },
    Step { name: "clippy", run: clippy },
    Step { name: "tidy", run: tidy::main },
    Step { name: "documents", run: docs::check },
];

/// The tiers of tests: 0 to 2 on this machine, 1 to 3 in guests.
const TIERS: &[Step] = &[
    Step { name: "tests of tiers 0, 1, 2", run: tests_here },
    Step { name: "tests of tiers 1, 2, 3 on kernel 6.1", run: || tests_in_guest("6.1") },
    Step { name: "tests of tiers 1, 2, 3 on kernel 6.12", run: || tests_in_guest("6.12") },
];

/// The tiers of which a skipped test is a failure.
const TIERS_HERE: &str = "0,1,2";
const TIERS_IN_GUESTS: &str = "1,2,3";

/// For all tests in a guest, whose processors are computed: twice what they have taken at most.
const TIME_IN_GUESTS: Duration = Duration::from_secs(1800);

/// Runs all steps, a failure notwithstanding, and prints how many passed.
pub fn main(arguments: &CiArguments) -> Result<()> {
    let chosen =
        |step: &&Step| arguments.only.is_empty() || arguments.only.iter().any(|text| step.name.contains(text.as_str()));
    let mut passed = 0;
    let mut failed = Vec::new();
    for step in CHECKS.iter().chain(TIERS).filter(chosen) {
        println!("==== {}", step.name);
        let started = Instant::now();
        let outcome = (step.run)();
        let seconds = started.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => {
                passed += 1;
                println!("==== {}: passed in {seconds:.1} s", step.name);
            }
            Err(error) => {
                failed.push(step.name);
                println!("error: {error:#}");
                println!("==== {}: FAILED in {seconds:.1} s", step.name);
            }
        }
    }
    for name in &failed {
        println!("failed: {name}");
    }
    println!("{passed} passed, {} failed", failed.len());
    match failed.len() {
        0 if passed == 0 => bail!("no step has such a name"),
        0 => Ok(()),
        count => bail!("{count} of {} steps failed", passed + count),
    }
}

fn format() -> Result<()> {
    process::show(&mut cargo(&["fmt", "--all", "--check"])).context("run `cargo fmt --all`")
}

fn clippy() -> Result<()> {
    process::show(&mut cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn tests_here() -> Result<()> {
    host_packages::ensure(host_packages::FOR_BROWSERS)?;
    workloads::build()?;
    let mut command = cargo(&["test", "--workspace"]);
    command.env("RTRACE_REQUIRE_TIERS", TIERS_HERE).env("RTRACE_WORKLOADS", workloads::directory());
    command.env("RTRACE_PROMETHEUS", unpacked(&PROMETHEUS)?);
    command.env("RTRACE_PROMTOOL", unpacked(&PROMTOOL)?);
    command.env("RTRACE_PPROF", unpacked(&PPROF)?);
    // Cargo has built it for the tests of its package, and the cases need not build it once more with fewer features.
    command.env("RTRACE_BIN", workspace::target().join("debug/rtrace"));
    process::show(&mut command)
}

/// A Prometheus that scrapes what the tests serve.
const PROMETHEUS: Program =
    Program { name: "prometheus", suite: "bookworm", package: "prometheus", binary: "usr/bin/prometheus" };

/// What checks the text of metrics.
const PROMTOOL: Program =
    Program { name: "promtool", suite: "bookworm", package: "prometheus", binary: "usr/bin/promtool" };

/// `go tool pprof`, which opens the profiles that the tests write.
const PPROF: Program = Program {
    name: "pprof",
    suite: "bookworm",
    package: "golang-1.19-go",
    binary: "usr/lib/go-1.19/pkg/tool/linux_amd64/pprof",
};

/// Unpacked beside everything else: the package itself might start a server on the machine.
fn unpacked(program: &Program) -> Result<PathBuf> {
    let _lock = workspace::lock_guests()?;
    debian::program(program)
}

fn tests_in_guest(version: &str) -> Result<()> {
    let kernel = kernels::parse(version).map_err(anyhow::Error::msg)?;
    let mut guest = Guest::new(kernel, &["rtrace-cases", "--tiers", TIERS_IN_GUESTS]);
    guest.timeout = TIME_IN_GUESTS;
    guest.environment.push(format!("RTRACE_REQUIRE_TIERS={TIERS_IN_GUESTS}"));
    let report = vm::run(&guest, &mut io::stdout())?;
    match report.status {
        0 => Ok(()),
        status => bail!("the command in the guest ended with status {status}"),
    }
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = process::command(workspace::cargo(), arguments);
    command.current_dir(workspace::root());
    command
}
