//! `cargo test` over the cases: builds what they run, then hands each to the test harness.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use rtrace_tests::environment::{Environment, Programs};
use rtrace_tests::plan::{Outcome, Plan, Test};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    match trials(&arguments) {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn trials(arguments: &Arguments) -> Result<Vec<Trial>> {
    let root = root();
    let plan = Plan {
        environment: Arc::new(Environment::detect()?),
        programs: Arc::new(if arguments.list { not_needed() } else { programs(&root)? }),
    };
    let tests = plan.tests(&root.join("tests/cases"), &|_| true)?;
    Ok(tests.into_iter().map(trial).collect())
}

fn trial(test: Test) -> Trial {
    let kind = format!("tier {}", test.tier);
    let name = test.name.clone();
    let run = move || match test.run() {
        Ok(Outcome::Passed) => Ok(Completion::Completed),
        Ok(Outcome::Skipped(reason)) => Ok(Completion::ignored_with(reason)),
        Err(error) => Err(Failed::from(format!("{error:#}"))),
    };
    Trial::ignorable_test(name, run).with_kind(kind)
}

/// Builds rtrace and the workloads where the environment does not name them.
fn programs(root: &Path) -> Result<Programs> {
    let rtrace = match std::env::var_os("RTRACE_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let directory = build_directory()?;
            let mut words = vec!["build", "--quiet", "--package", "rtrace-runtime", "--bin", "rtrace"];
            // The directory of a profile has its name, and `dev` builds in `debug`.
            let profile = directory.file_name().and_then(|name| name.to_str()).unwrap_or("debug");
            words.extend(["--profile", if profile == "debug" { "dev" } else { profile }]);
            cargo(root, &words)?;
            directory.join("rtrace")
        }
    };
    let workloads = match std::env::var_os("RTRACE_WORKLOADS") {
        Some(path) => PathBuf::from(path),
        None => {
            cargo(root, &["run", "--quiet", "--package", "xtask", "--", "workloads"])?;
            let profile = build_directory()?;
            profile.parent().context("the build directory has no parent")?.join("workloads")
        }
    };
    Programs { rtrace, workloads }.checked()
}

fn not_needed() -> Programs {
    Programs { rtrace: PathBuf::new(), workloads: PathBuf::new() }
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(arguments).current_dir(root).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("`cargo {}` failed with {status}", arguments.join(" "));
    }
    Ok(())
}

/// `target/debug`: this test is in its directory `deps`.
fn build_directory() -> Result<PathBuf> {
    let program = std::env::current_exe().context("this test does not know its path")?;
    let directory = program.parent().and_then(Path::parent).context("this test is in no build directory")?;
    Ok(directory.to_path_buf())
}

fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}
