//! The example of every row in the tables of builtins and of aggregations is a script that the kernel takes. Loads them; what each gives is
//! for the cases to say.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rtrace_lang::aggregations::AGGREGATIONS;
use rtrace_lang::builtins;

use crate::child::Child;
use crate::environment::{Need, Programs};

/// How long loading may take, under emulation too.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A name, what it needs, and what loads the example.
type Test = (String, Vec<Need>, Box<dyn FnOnce() -> Result<()> + Send>);

pub fn tests(programs: &Arc<Programs>) -> Vec<Test> {
    let builtins = builtins::all().map(|row| ("builtins", row.name, row.example));
    let aggregations = AGGREGATIONS.iter().map(|row| ("aggregations", row.name, row.example));
    builtins
        .chain(aggregations)
        .map(|(table, name, example)| {
            let programs = programs.clone();
            let run: Box<dyn FnOnce() -> Result<()> + Send> = Box::new(move || load(name, example, &programs));
            let is_kprobe = example.starts_with("kprobe:") || example.starts_with("kretprobe:");
            let needs = match name {
                "override" => vec![Need::Kprobes, Need::Override],
                "write_user" | "copyout" | "copyoutstr" => vec![Need::WriteUser],
                _ if is_kprobe => vec![Need::Kprobes],
                "len" => vec![Need::MapLoops],
                "percpu_kaddr" => vec![Need::KernelVariables],
                _ => Vec::new(),
            };
            (format!("{table}::{name}"), needs, run)
        })
        .collect()
}

fn load(name: &str, example: &str, programs: &Programs) -> Result<()> {
    let mut command = Command::new(&programs.rtrace);
    command.args(["--dry-run", "--unsafe", "-e", example]);
    if name == "dw_ustack" {
        // It is of one process.
        command.args(["-p", &std::process::id().to_string()]);
    }
    let ended = Child::start(&mut command, Instant::now() + TIMEOUT)?.finish()?;
    if !ended.status.success() {
        bail!("{}\n{}: {}", example, ended.status, String::from_utf8_lossy(&ended.errors));
    }
    if !ended.errors.is_empty() {
        bail!("{}\n{}", example, String::from_utf8_lossy(&ended.errors));
    }
    Ok(())
}
