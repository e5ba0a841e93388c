//! The example of every row in the tables of builtins is a script that the kernel takes. Loads them; what each gives is
//! for the cases to say.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rtrace_lang::builtins::{self, Builtin};

use crate::child::Child;
use crate::environment::{Need, Programs};

/// How long loading may take, under emulation too.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A name, what it needs, and what loads the example.
type Test = (String, Vec<Need>, Box<dyn FnOnce() -> Result<()> + Send>);

pub fn tests(programs: &Arc<Programs>) -> Vec<Test> {
    builtins::all()
        .map(|row| {
            let programs = programs.clone();
            let run: Box<dyn FnOnce() -> Result<()> + Send> = Box::new(move || load(row, &programs));
            let is_kprobe = row.example.starts_with("kprobe:") || row.example.starts_with("kretprobe:");
            let needs = match row.name {
                _ if is_kprobe => vec![Need::Kprobes],
                "len" => vec![Need::MapLoops],
                "percpu_kaddr" => vec![Need::KernelVariables],
                _ => Vec::new(),
            };
            (format!("builtins::{}", row.name), needs, run)
        })
        .collect()
}

fn load(row: &Builtin, programs: &Programs) -> Result<()> {
    let mut command = Command::new(&programs.rtrace);
    command.args(["--dry-run", "--unsafe", "-e", row.example]);
    let ended = Child::start(&mut command, Instant::now() + TIMEOUT)?.finish()?;
    if !ended.status.success() {
        bail!("{}\n{}: {}", row.example, ended.status, String::from_utf8_lossy(&ended.errors));
    }
    if !ended.errors.is_empty() {
        bail!("{}\n{}", row.example, String::from_utf8_lossy(&ended.errors));
    }
    Ok(())
}
