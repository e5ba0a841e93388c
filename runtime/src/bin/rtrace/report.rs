//! `rtrace report`: what is in a recording, to be walked through with keys on a terminal, or as text.

mod screen;

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use rtrace_runtime::recordings::browser::{Browser, Direction, View};
use rtrace_runtime::recordings::report::{ReportOptions, Sort, parts_of, report};

use crate::arguments::parsed;
use crate::recording;
use crate::script::fail;

/// Show what is in a recording: the functions that it was in, and the calls that led there
#[derive(Parser, Debug)]
#[command(
    name = "rtrace report",
    bin_name = "rtrace report",
    disable_version_flag = true,
    after_help = "On a terminal arrows and Enter walk through the calls, and `?` lists all keys.\n\n\
        Read are folded stacks, the text of `perf script`, and profiles of pprof's, those of rtrace among them.\n\n\
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

    /// The order of the functions; own where nothing is said
    #[arg(long, value_enum)]
    sort: Option<Order>,

    /// Only stacks with a function that has TEXT in its name
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,

    /// How many functions the text has
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,

    /// Of a file with several kinds of samples, those of this name
    #[arg(long, value_name = "NAME")]
    sample: Option<String>,

    /// Text, also on a terminal
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

/// Its definition, for the manual.
pub fn command() -> clap::Command {
    <Words as clap::CommandFactory>::command()
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
    let sort = words.sort.map(|order| match order {
        Order::Own => Sort::Own,
        Order::Total => Sort::Total,
        Order::Name => Sort::Name,
    });
    let by = words.by.clone().unwrap_or_default();
    let is_known =
        words.by.is_none() || map.stacks.iter().any(|(stack, _)| parts_of(stack).any(|part| part.name == by));
    if !words.stdio && is_known && is_for_keys() {
        let view = View::Tree(if words.callers { Direction::Callers } else { Direction::Calls });
        return walk(Browser::new(&map, view, sort, words.by.as_deref(), &words.search.unwrap_or_default()));
    }
    let sort = sort.unwrap_or_default();
    let options = ReportOptions { by: words.by, callers: words.callers, sort, search: words.search, top: words.top };
    match report(&map, &options) {
        Ok(text) => recording::write(text.as_bytes(), None),
        Err(parts) if parts.is_empty() => fail("the samples of this recording have no parts to split it by", &[]),
        Err(parts) => {
            fail(&format!("the samples have no part called {by}"), &[format!("there are: {}", parts.join(", "))])
        }
    }
}

/// The screen is a terminal that can be drawn on.
fn is_for_keys() -> bool {
    let is_able = std::env::var("TERM").is_ok_and(|name| !name.is_empty() && name != "dumb");
    is_able && std::io::stdout().is_terminal()
}

/// Shows it until somebody leaves; gives the exit status.
fn walk(browser: Browser) -> i32 {
    match screen::walk(browser) {
        Ok(()) => 0,
        Err(error) => fail(&format!("cannot use the terminal: {error}"), &["--stdio shows it as text".to_string()]),
    }
}
