//! `cargo xtask fuzz`: generated scripts, as many as one likes, on this kernel and on those of guests. Each must mean the
//! same to a reading of the language's rules, to the interpreter and to the kernel, which refuses none.
//! With `--text` changed scripts instead, most of them full of mistakes, through everything before the compiler.
//! It only builds and starts the tests that do so; what a script is and what it means is theirs.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::kernels::{self, Kernel};
use crate::process;
use crate::vm::{self, Guest};
use crate::workspace;

/// The test that takes generated scripts through all stages.
const TEST: &str = "differential";

/// The part of it that asks the kernel.
const IN_KERNEL: &str = "generated_programs_do_the_same_in_the_kernel";

/// Where a guest gets it.
const IN_GUEST: &str = "/usr/local/bin/generated";

/// The test of the language that changes the repository's scripts at random.
const TEXT_TEST: &str = "mutations";

#[derive(Args)]
pub struct FuzzArguments {
    /// Changed scripts through lexer, parser, checker, formatter and messages, so many; asks no kernel
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["cases", "guests", "guests_only", "timeout"])]
    text: Option<u64>,
    /// With --text: the number of the first one; the same number is the same text
    #[arg(long, value_name = "NUMBER", default_value_t = 1, requires = "text")]
    seed: u64,
    /// Scripts for each kernel
    #[arg(long, value_name = "COUNT", default_value_t = 20_000)]
    cases: u32,
    /// Kernels of guests besides this one: 5.10, 6.1, 6.12 or 7.2; may be given several times
    #[arg(long = "kernel", value_name = "KERNEL", value_parser = kernels::parse)]
    guests: Vec<Kernel>,
    /// Leave this machine's own kernel out
    #[arg(long)]
    guests_only: bool,
    /// Seconds after which a guest is ended, with an error
    #[arg(long, value_name = "SECONDS", default_value_t = 4 * 3600)]
    timeout: u64,
}

/// Runs all kernels, a failure notwithstanding.
pub fn main(arguments: &FuzzArguments) -> Result<()> {
    if let Some(count) = arguments.text {
        return texts(count, arguments.seed);
    }
    let test = build()?;
    let mut failed = Vec::new();
    if !arguments.guests_only {
        let mut command = Command::new(&test);
        for (name, value) in environment(arguments.cases) {
            command.env(name, value);
        }
        note("this kernel", &mut failed, || process::show(&mut command));
    }
    for kernel in &arguments.guests {
        note(kernel.version, &mut failed, || in_guest(*kernel, &test, arguments));
    }
    match failed.len() {
        0 => Ok(()),
        _ => bail!("generated scripts fail on {}", failed.join(", ")),
    }
}

fn texts(count: u64, first: u64) -> Result<()> {
    let words = ["test", "--package", "rtrace-lang", "--test", TEXT_TEST, "--", "--nocapture"];
    let mut command = process::command(workspace::cargo(), words);
    command.current_dir(workspace::root());
    process::show(command.env("RTRACE_TEXTS", count.to_string()).env("RTRACE_SEED", first.to_string()))
}

/// The tests' variables: how many scripts, and that none may be left out.
fn environment(cases: u32) -> [(&'static str, String); 2] {
    [("PROPTEST_CASES", cases.to_string()), ("RTRACE_REQUIRE_TIERS", "1".to_string())]
}

/// Runs one kernel, and tells how long it took.
fn note(name: &str, failed: &mut Vec<String>, run: impl FnOnce() -> Result<()>) {
    println!("==== {name}");
    let started = Instant::now();
    let outcome = run();
    let seconds = started.elapsed().as_secs_f64();
    match outcome {
        Ok(()) => println!("==== {name}: passed in {seconds:.0} s"),
        Err(error) => {
            println!("error: {error:#}\n==== {name}: FAILED in {seconds:.0} s");
            failed.push(name.to_string());
        }
    }
}

fn in_guest(kernel: Kernel, test: &std::path::Path, arguments: &FuzzArguments) -> Result<()> {
    // What needs no kernel is the same everywhere, and has been run here.
    let mut guest = Guest::new(kernel, &[IN_GUEST, IN_KERNEL]);
    guest.copies.push(vm::Copy { from: test.to_path_buf(), to: PathBuf::from(IN_GUEST) });
    guest.environment.extend(environment(arguments.cases).map(|(name, value)| format!("{name}={value}")));
    guest.timeout = Duration::from_secs(arguments.timeout);
    let report = vm::run(&guest, &mut io::stdout())?;
    match report.status {
        0 => Ok(()),
        status => bail!("the tests in the guest ended with status {status}"),
    }
}

/// Builds the test as guests need it, without libraries; gives the program.
fn build() -> Result<PathBuf> {
    let mut command = vm::static_cargo("test");
    command.args([
        "--no-run",
        "--message-format",
        "json-render-diagnostics",
        "--package",
        "rtrace-tests",
        "--test",
        TEST,
    ]);
    let messages = process::output(&mut command).context("the tests do not build")?;
    let named = format!("\"name\":\"{TEST}\"");
    let program = messages
        .lines()
        .filter(|line| line.contains("\"reason\":\"compiler-artifact\"") && line.contains(&named))
        .find_map(|line| line.split_once("\"executable\":\"")?.1.split('"').next());
    program.map(PathBuf::from).context("cargo does not say where it has put the tests")
}
