//! `rtrace-cases`: the tests of the cases without cargo, for guests. Runs them one after the other and prints a line for
//! each; the exit status is 1 if one fails.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rtrace_tests::environment::{Environment, Programs, parse_tiers};
use rtrace_tests::plan::{Outcome, Plan};

const USAGE: &str = "\
usage: rtrace-cases [--tiers 1,2,3] [--filter TEXT]... [--list] [DIRECTORY]

Runs the cases in DIRECTORY (tests/cases, or /rtrace/tests/cases): those of the tiers whose names contain a TEXT.";

struct Arguments {
    tiers: BTreeSet<u8>,
    filters: Vec<String>,
    is_list: bool,
    directory: PathBuf,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// True if nothing failed.
fn run() -> Result<bool> {
    let Some(arguments) = arguments()? else {
        println!("{USAGE}");
        return Ok(true);
    };
    let plan = Plan { environment: Arc::new(Environment::detect()?), programs: Arc::new(Programs::installed()?) };
    let mut tests = plan.tests(&arguments.directory, &|tier| arguments.tiers.contains(&tier))?;
    tests.retain(|test| arguments.filters.is_empty() || arguments.filters.iter().any(|text| test.name.contains(text)));
    if arguments.is_list {
        for test in &tests {
            println!("tier {} {}", test.tier, test.name);
        }
        return Ok(true);
    }
    let (mut passed, mut skipped, mut failed) = (0, 0, Vec::new());
    for test in tests {
        let name = test.name.clone();
        match test.run() {
            Ok(Outcome::Passed) => {
                passed += 1;
                println!("test {name} ... ok");
            }
            Ok(Outcome::Skipped(reason)) => {
                skipped += 1;
                println!("test {name} ... skipped, {reason}");
            }
            Err(error) => {
                println!("test {name} ... FAILED\n{error:#}");
                failed.push(name);
            }
        }
    }
    for name in &failed {
        println!("failed: {name}");
    }
    println!("{passed} passed, {} failed, {skipped} skipped", failed.len());
    if passed + skipped + failed.len() == 0 {
        bail!("no case has such a name");
    }
    Ok(failed.is_empty())
}

/// None where only help is wanted.
fn arguments() -> Result<Option<Arguments>> {
    let mut arguments = Arguments {
        tiers: BTreeSet::from([0, 1, 2, 3]),
        filters: Vec::new(),
        is_list: false,
        directory: default_directory(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--tiers" => arguments.tiers = parse_tiers(&words.next().context("--tiers takes a list")?)?,
            "--filter" => arguments.filters.push(words.next().context("--filter takes a text")?),
            "--list" => arguments.is_list = true,
            "-h" | "--help" => return Ok(None),
            word if word.starts_with('-') => bail!("there is no option {word}\n{USAGE}"),
            word => arguments.directory = PathBuf::from(word),
        }
    }
    Ok(Some(arguments))
}

fn default_directory() -> PathBuf {
    let here = Path::new("tests/cases");
    if here.is_dir() { here.to_path_buf() } else { PathBuf::from("/rtrace/tests/cases") }
}
