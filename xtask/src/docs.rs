//! `cargo xtask docs`: the documents in `docs/reference` and the files in `docs/editors`, made from the tables of the code. What is in them is for
//! `tests/src/reference.rs` to say.

use anyhow::{Context, Result};
use clap::Args;

use crate::process;
use crate::workspace;

#[derive(Args)]
pub struct DocsArguments {
    /// Change nothing; fail where a document is not what the tables give
    #[arg(long)]
    check: bool,
}

pub fn main(arguments: &DocsArguments) -> Result<()> {
    if arguments.check { check() } else { run(&[]) }
}

/// Fails where a document is not what the tables give.
pub fn check() -> Result<()> {
    run(&["--check"]).context("run `cargo xtask docs`")
}

fn run(arguments: &[&str]) -> Result<()> {
    let mut words = vec!["run", "--quiet", "--package", "rtrace-tests", "--example", "reference", "--"];
    words.extend(arguments);
    process::show(process::command(workspace::cargo(), &words).current_dir(workspace::root()))
}
