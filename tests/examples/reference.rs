//! Writes the documents in `docs/reference` and the files for editors, or with `--check` fails where they are not what the tables give. The program
//! behind `cargo xtask docs`; it starts in the root of the checkout.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use rtrace_tests::reference::DOCUMENTS;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let root = Path::new("");
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => DOCUMENTS.iter().try_for_each(|document| document.write(root)),
        ["--check"] => DOCUMENTS.iter().try_for_each(|document| document.check(root)),
        _ => bail!("usage: reference [--check]"),
    }
}
