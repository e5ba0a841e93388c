//! `cargo xtask bench`: what rtrace costs, beside bpftrace (and perf, where profiles are made) in the same run, since machines differ. Prints figures and
//! ratios; it judges nothing, and traces no process but its own workloads.

mod events;
mod processes;
mod profiles;
mod report;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::bpftrace;
use crate::process;
use crate::workloads;
use crate::workspace;

#[derive(Args)]
pub struct BenchArguments {
    /// Only rows whose name contains TEXT; may be given several times
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,

    /// Compare with this program instead of fetching bpftrace
    #[arg(long, value_name = "PATH")]
    peer: Option<PathBuf>,

    /// Compare profiles with this perf instead of fetching one
    #[arg(long, value_name = "PATH")]
    perf: Option<PathBuf>,

    /// Measure rtrace alone
    #[arg(long)]
    alone: bool,

    /// Runs of each whole-process row; the median counts
    #[arg(long, default_value_t = 11)]
    runs: usize,
}

/// The programs that are measured.
struct Contestants {
    rtrace: PathBuf,
    peer: Option<PathBuf>,
    workload: PathBuf,
}

pub fn main(arguments: &BenchArguments) -> Result<()> {
    process::show(
        process::command(workspace::cargo(), ["build", "--release", "--package", "rtrace-runtime"])
            .current_dir(workspace::root()),
    )?;
    let peer = match (&arguments.peer, arguments.alone) {
        (_, true) => None,
        (Some(path), false) => Some(path.clone()),
        (None, false) => Some(bpftrace::fetch()?.into_iter().next().context("bpftrace is not to be had")?),
    };
    workloads::build()?;
    let contestants = Contestants {
        rtrace: workspace::target().join("release/rtrace"),
        peer,
        workload: workloads::directory().join("workload"),
    };
    let chosen =
        |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|text| name.contains(text.as_str()));
    processes::measure(&contestants, arguments.runs, &chosen)?;
    profiles::measure(&contestants, arguments.perf.as_deref(), arguments.runs, &chosen)?;
    events::measure(&contestants, &chosen)
}
