//! The `rtrace` command: reads the command line, drives a script to its end or formats scripts, and gives the exit
//! status.

mod arguments;
mod bug_report;
mod emit;
mod flame;
mod fmt;
mod info;
mod listing;
mod lsp;
mod manual;
mod parameters;
mod profile;
mod prompt;
mod rates;
mod recording;
mod report;
mod script;

use std::ffi::OsString;
use std::process::ExitCode;

use rtrace_runtime::output::notices;
use rtrace_runtime::signals;

use arguments::{Arguments, MessageForm, Origin};

fn main() -> ExitCode {
    signals::take_no_notice(libc::SIGUSR1);
    let words: Result<Vec<String>, OsString> = std::env::args_os().map(OsString::into_string).collect();
    let words = match words {
        Ok(words) => words,
        Err(word) => {
            let help = "bytes that are no text are written in the script: \"\\xff\"".to_string();
            return ExitCode::from(script::fail(&format!("the argument {word:?} is not UTF-8"), &[help]) as u8);
        }
    };
    let rest = || words.iter().skip(1).cloned();
    match words.get(1).map(String::as_str) {
        Some("fmt" | "--fmt") => return ExitCode::from(fmt::run(rest()) as u8),
        Some("profile") => return ExitCode::from(profile::run(rest()) as u8),
        Some("flame") => return ExitCode::from(flame::run(rest()) as u8),
        Some("report") => return ExitCode::from(report::run(rest()) as u8),
        Some("lsp") => return ExitCode::from(lsp::run() as u8),
        Some(_) | None => {}
    }
    let arguments = match Arguments::read(words.iter().cloned()) {
        Ok(arguments) => arguments,
        Err(error) => {
            if error.use_stderr() && Arguments::ask_for_json(words.iter().cloned()) {
                notices::tell_json();
                let text = error.to_string();
                let (message, help) = text.split_once('\n').unwrap_or((&text, ""));
                return ExitCode::from(script::fail(
                    message.trim_start_matches("error: "),
                    &[help.trim().to_string()].into_iter().filter(|help| !help.is_empty()).collect::<Vec<_>>(),
                ) as u8);
            }
            return ExitCode::from(arguments::answer(&error) as u8);
        }
    };
    if let Some(directories) = &arguments.debuginfo {
        // bpftrace's `+` before a directory asks for checksums; here build ids are compared.
        let directories = directories.split(':').map(|directory| directory.trim_start_matches('+').into());
        rtrace_probes::elf::search_debug_files_in(directories.collect());
    }
    // What `--check` has to say are messages alone.
    if arguments.message_format == MessageForm::Json || arguments.check && arguments.format == "json" {
        notices::tell_json();
    }
    let status = if arguments.fmt {
        fmt::run_option(&arguments)
    } else if arguments.info {
        info::run(&arguments)
    } else if let Some(manual) = arguments.manual {
        manual::run(manual)
    } else if let Some(pattern) = &arguments.list {
        // `-l -v PATTERN` means what `-l PATTERN -v` does.
        let pattern = pattern.as_deref().or(arguments.words.first().map(String::as_str));
        match (&arguments.program, pattern) {
            (Some(text), _) => listing::of_script(&arguments, Origin::Text(text)),
            (None, Some(file)) if std::path::Path::new(file).is_file() => {
                listing::of_script(&arguments, Origin::File(file))
            }
            (None, _) => listing::run(&arguments, pattern),
        }
    } else if let Some(code) = &arguments.explain {
        script::explain(code)
    } else if let Some(origin) = arguments.origin() {
        script::run(&arguments, origin)
    } else {
        prompt::run(arguments)
    };
    ExitCode::from(status as u8)
}
