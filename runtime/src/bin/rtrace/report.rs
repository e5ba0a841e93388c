//! `rtrace report`: what is in a recording, as text in a terminal.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use rtrace_runtime::recordings::report::{ReportOptions, Sort, report};

use crate::arguments::parsed;
use crate::recording;
use crate::script::fail;

/// Show what is in a recording: the functions that it was in, and the calls that led there
#[derive(Parser, Debug)]
#[command(
    name = "rtrace report",
    bin_name = "rtrace report",
    disable_version_flag = true,
    after_help = "Read are folded stacks, the text of `perf script`, and profiles of pprof's, those of rtrace among them.\n\n\
        Examples:\n  \
        rtrace report hot.pb.gz\n  \
        perf script | rtrace report -\n  \
        rtrace report hot.pb.gz --by comm --callers --search malloc"
)]
struct Words {
    /// The recording; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Split it by a part of the samples' keys, such as comm, pid or cpu, where the recording has that
    #[arg(long, value_name = "PART")]
    by: Option<String>,

    /// Begin with the functions in which it was, and show below each who called it
    #[arg(long)]
    callers: bool,

    /// The order of the functions
    #[arg(long, value_enum, default_value_t = Order::Own)]
    sort: Order,

    /// Only stacks with a function that has TEXT in its name
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,

    /// How many functions
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,

    /// Of a file with several kinds of samples, those of this name
    #[arg(long, value_name = "NAME")]
    sample: Option<String>,

    /// Plain text, which is all that there is
    #[arg(long)]
    stdio: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Order {
    /// What a function was in itself
    Own,
    /// What it and all that it called were in
    Total,
    Name,
}

/// Shows a recording; gives the exit status.
pub fn run(words: impl Iterator<Item = String>) -> i32 {
    let words: Words = match parsed(words) {
        Ok(words) => words,
        Err(status) => return status,
    };
    let file = if words.file.as_os_str() == "-" { PathBuf::from("/dev/stdin") } else { words.file };
    let map = match recording::read(&file, words.sample.as_deref()) {
        Ok(map) => map,
        Err(status) => return status,
    };
    let sort = match words.sort {
        Order::Own => Sort::Own,
        Order::Total => Sort::Total,
        Order::Name => Sort::Name,
    };
    let by = words.by.clone().unwrap_or_default();
    let options = ReportOptions { by: words.by, callers: words.callers, sort, search: words.search, top: words.top };
    match report(&map, &options) {
        Ok(text) => recording::write(text.as_bytes(), None),
        Err(parts) if parts.is_empty() => fail("the samples of this recording have no parts to split it by", &[]),
        Err(parts) => {
            fail(&format!("the samples have no part called {by}"), &[format!("there are: {}", parts.join(", "))])
        }
    }
}
