//! `rtrace profile` of a program that spends three quarters of its time in one function and a quarter in another: in every
//! form that can be read again the shares are these, but for the error of sampling. Stacks of a program without frame pointers
//! are whole.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::directory::Directory;
use crate::environment::Programs;
use crate::formats::read_flame_graph;

/// Of processor time: some 400 samples at 199 Hz, a few less on a machine that is busy.
const MILLISECONDS: &str = "2000";
const LEAST_SAMPLES: f64 = 200.0;

/// Four times the standard deviation of a share of 3/4 among 200 samples.
const ERROR: f64 = 0.12;

pub fn check(programs: &Programs) -> Result<()> {
    let directory = Directory::create("profile")?;
    for (file, shares) in
        [("out.folded", folded as fn(&Path) -> Result<(f64, f64)>), ("out.svg", graph), ("out.txt", call_tree)]
    {
        let path = directory.path.join(file);
        let output = Command::new(&programs.rtrace)
            .env("PATH", &programs.workloads)
            .args(["profile", "-F", "199", "-o", &path.display().to_string()])
            .args(["-c", &format!("workload burn {MILLISECONDS}")])
            .output()
            .context("cannot start rtrace")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "it ended with {}: {errors}", output.status);
        ensure!(errors.contains(&path.display().to_string()), "it does not say where the result is: {errors}");
        let (most, rest) = shares(&path).with_context(|| file.to_string())?;
        let share = most / (most + rest);
        ensure!((share - 0.75).abs() < ERROR, "{file}: {most} and {rest}, which is {share}");
        ensure!(file == "out.svg" || most + rest > LEAST_SAMPLES, "{file}: {most} and {rest} samples");
    }
    Ok(())
}

/// What a program without frame pointers calls, from its start to where it burns time; what lies in the C library between
/// them has no names everywhere.
const CHAIN: &[&str] = &[
    "_start",
    "main",
    "run_nested_spin",
    "nested_one",
    "nested_two",
    "nested_three",
    "nested_four",
    "nested_five",
    "nested_compare",
    "nested_end",
    "spin_outer",
    "spin_here",
];

/// Samples of a program without frame pointers have the whole chain, by its unwind tables; so do those of children.
pub fn check_tables(programs: &Programs) -> Result<()> {
    let spin = format!("nested_spin {MILLISECONDS}");
    // The first milliseconds of a command may lack the tables of its libraries.
    check_chain(programs, &["-c", &format!("workload-lean {spin}")], 0.95)?;
    let workload = programs.workloads.join("workload-lean").display().to_string();
    // The tables of what a child runs are read when it runs.
    let command = format!("/bin/sh -c '{workload} {spin} & {workload} {spin}; wait'");
    check_chain(programs, &["--children", "-c", &command], 0.8)
}

fn check_chain(programs: &Programs, of: &[&str], share: f64) -> Result<()> {
    let directory = Directory::create("profile_tables")?;
    let path = directory.path.join("out.folded");
    let output = Command::new(&programs.rtrace)
        .env("PATH", &programs.workloads)
        .args(["profile", "--dwarf", "--user", "-F", "199", "-o", &path.display().to_string()])
        .args(of)
        .output()
        .context("cannot start rtrace")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "it ended with {}: {errors}", output.status);
    let text = fs::read_to_string(&path)?;
    let (mut whole, mut all) = (0.0, 0.0);
    for (stack, weight) in text.lines().filter_map(|line| line.rsplit_once(' ')) {
        let mut frames = stack.split(';');
        let weight: f64 = weight.parse()?;
        if frames.clone().any(|frame| frame == "spin_here") {
            all += weight;
            let is_whole = CHAIN.iter().all(|wanted| frames.any(|frame| frame == *wanted));
            whole += if is_whole { weight } else { 0.0 };
        }
    }
    // Of time on the clock, on a machine that may be busy.
    ensure!(all > 30.0, "{all} samples of the loop: {text}");
    ensure!(whole > all * share, "{whole} of {all} samples have the whole chain: {text}\n{errors}");
    Ok(())
}

fn folded(path: &Path) -> Result<(f64, f64)> {
    let text = fs::read_to_string(path)?;
    Ok((through(&text, &["burn_most"]), through(&text, &["burn_rest"])))
}

/// What the folded stacks weigh that have all of these frames.
pub fn through(text: &str, names: &[&str]) -> f64 {
    let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    let through = lines.filter(|(stack, _)| names.iter().all(|name| stack.split(';').any(|frame| frame == *name)));
    through.filter_map(|(_, weight)| weight.parse::<f64>().ok()).sum()
}

fn graph(path: &Path) -> Result<(f64, f64)> {
    let widths = read_flame_graph(path)?;
    let of = |name: &str| widths.get(name).copied().with_context(|| format!("no frame {name} among {widths:?}"));
    Ok((of("burn_most")?, of("burn_rest")?))
}

/// `SHARE % SAMPLES  NAME`; the larger comes first.
fn call_tree(path: &Path) -> Result<(f64, f64)> {
    let text = fs::read_to_string(path)?;
    let at = |name: &str| text.find(name).with_context(|| format!("no {name} in {text}"));
    ensure!(at("burn_most")? < at("burn_rest")?, "the larger does not come first: {text}");
    let of = |name: &str| {
        let lines = text.lines().filter(|line| line.split_whitespace().next_back() == Some(name));
        lines.filter_map(|line| line.split_whitespace().nth(2)?.parse::<f64>().ok()).sum()
    };
    Ok((of("burn_most"), of("burn_rest")))
}
