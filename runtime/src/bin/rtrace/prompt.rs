//! The interactive prompt: a program at a time, which runs until it ends or Ctrl-C ends it.

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use rtrace_lang::aggregations::AGGREGATIONS;
use rtrace_lang::builtins;
use rtrace_lang::parse::is_complete;

use crate::arguments::Arguments;
use crate::listing;
use crate::script::{fail, run_text};

const HELP: &str = "\
A program is probes and what to do:  BEGIN { printf(\"hi\\n\"); exit(); }
It runs until exit(), its end, or Ctrl-C. A program may go over several lines.

  :list PATTERN   the probes that match
  :builtins       the builtin values and functions
  :help           this text
  :quit           leave (or Ctrl-D)
";

pub fn run(arguments: &Arguments) -> i32 {
    let mut editor = match DefaultEditor::new() {
        Ok(editor) => editor,
        Err(error) => return fail(&format!("cannot read from the terminal: {error}"), &[]),
    };
    println!("rtrace {}: type a program, or :help", env!("CARGO_PKG_VERSION"));
    let mut text = String::new();
    loop {
        let prompt = if text.is_empty() { "> " } else { ". " };
        match editor.readline(prompt) {
            Ok(line) if text.is_empty() && line.trim().is_empty() => {}
            Ok(line) if text.is_empty() && line.trim_start().starts_with(':') => {
                let _ = editor.add_history_entry(&line);
                if !command(line.trim(), arguments) {
                    return 0;
                }
            }
            Ok(line) => {
                // An empty line ends a program that the grammar still waits for.
                let is_last = line.trim().is_empty();
                text.push_str(&line);
                text.push('\n');
                if is_complete(&text) || is_last {
                    let _ = editor.add_history_entry(text.trim_end());
                    run_text(arguments, "prompt", text.trim_end(), false);
                    text.clear();
                }
            }
            Err(ReadlineError::Interrupted) => text.clear(),
            Err(ReadlineError::Eof) => return 0,
            Err(error) => return fail(&format!("cannot read from the terminal: {error}"), &[]),
        }
    }
}

/// Runs a command of the prompt; false to leave.
fn command(line: &str, arguments: &Arguments) -> bool {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match name {
        ":quit" | ":q" => return false,
        ":help" | ":h" => print!("{HELP}"),
        ":list" | ":l" => {
            let pattern = rest.trim();
            listing::run(arguments, (!pattern.is_empty()).then_some(pattern));
        }
        ":builtins" => {
            let aggregations = AGGREGATIONS.iter().map(|row| (row.signature, row.doc));
            for (signature, doc) in builtins::all().map(|row| (row.signature, row.doc)).chain(aggregations) {
                println!("{signature:<44} {doc}");
            }
        }
        _ => {
            fail(&format!("there is no command {name}"), &["commands: :list, :builtins, :help, :quit".to_string()]);
        }
    }
    true
}
