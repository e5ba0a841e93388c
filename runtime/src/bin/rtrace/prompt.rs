//! The interactive prompt: programs that stay while one goes on typing, values that are answered, and commands. Without
//! a terminal the same lines come from standard input.

mod commands;
pub mod complete;
pub mod editor;
mod keys;
mod names;
mod printer;
mod programs;
mod text;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rustyline::config::{BellStyle, CompletionType, Configurer};
use rustyline::error::ReadlineError;
use rustyline::hint::HistoryHinter;
use rustyline::history::FileHistory;

use rtrace_lang::ast::{Expr, ExprKind};
use rtrace_lang::diagnostic::{did_you_mean, near_misses};
use rtrace_lang::hir::Table;
use rtrace_runtime::event::{Event, MapEvent};
use rtrace_runtime::output::{format_named, keys as key_text, notices};

use crate::arguments::Arguments;
use crate::script::{self, Sharing, Typed, fail, prepare};

use complete::{Completion, Known, type_of_value};
use editor::Editor;
use keys::Kept;
use printer::Printer;
use programs::{Programs, run_here};
use text::{BEFORE, Meaning, is_whole};

/// Lines that are kept from one prompt to the next.
const MOST_HISTORY: usize = 10_000;

pub struct Prompt {
    arguments: Arguments,
    programs: Programs,
    completion: Completion,
    is_terminal: bool,
}

/// What follows a line.
pub enum Flow {
    Stay,
    Leave,
    /// The next line begins as that text, and takes the place of a program.
    Edit {
        name: String,
        text: String,
    },
}

pub fn run(mut arguments: Arguments) -> i32 {
    let of_a_script = [
        ("-c", arguments.command.is_some()),
        ("-o", arguments.output.is_some()),
        ("--flame", arguments.flame.is_some()),
        ("--listen", arguments.listen.is_some()),
        ("--check", arguments.check),
        ("--check-rate", arguments.check_rate.is_some()),
        ("--bug-report", arguments.bug_report.is_some()),
        ("--message-format", notices::is_json()),
    ];
    if let Some((option, _)) = of_a_script.iter().find(|(_, is_given)| *is_given) {
        return fail(&format!("{option} takes a script"), &["give a FILE, or -e PROGRAM".to_string()]);
    }
    if let Err(status) = script::processes_are_there(&arguments) {
        return status;
    }
    // The prompt says in its own words what is attached.
    arguments.quiet = true;
    if let Err(status) = script::format(&arguments) {
        return status;
    }
    let completion = match script::machine(&arguments) {
        Ok(machine) => Completion::new(machine, arguments.pid),
        Err(status) => return status,
    };
    if !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        let mut prompt =
            Prompt { arguments, programs: Programs::new(Printer::plain()), completion, is_terminal: false };
        let status = prompt.plain_lines();
        prompt.programs.stop_all();
        return status;
    }
    let mut editor = match rustyline::Editor::<Editor, FileHistory>::new() {
        Ok(editor) => editor,
        Err(error) => return fail(&format!("cannot read from the terminal: {error}"), &[]),
    };
    let printer = match editor.create_external_printer() {
        Ok(external) => Printer::above(external),
        Err(_) => Printer::plain(),
    };
    let above = printer.clone();
    notices::tell_through(move |text| _ = above.print(text));
    editor.set_helper(Some(Editor {
        completion: completion.clone(),
        history: HistoryHinter::new(),
        is_coloured: std::env::var_os("NO_COLOR").is_none(),
    }));
    editor.set_completion_type(CompletionType::List);
    // Between two Tabs nothing could be printed above the line.
    editor.set_completion_show_all_if_ambiguous(true);
    editor.set_bell_style(BellStyle::None);
    let _ = editor.set_max_history_size(MOST_HISTORY);
    let history = history_file();
    if let Some(history) = &history {
        // There may be none yet.
        let _ = editor.load_history(history);
    }
    let mut prompt = Prompt { arguments, programs: Programs::new(printer), completion, is_terminal: true };
    prompt.print(&format!("rtrace {}: type a program, or :help\n", env!("CARGO_PKG_VERSION")));
    let status = prompt.lines(&mut editor);
    prompt.programs.stop_all();
    if let Some(history) = &history {
        if let Some(directory) = history.parent() {
            let _ = std::fs::create_dir_all(directory);
        }
        if let Err(error) = editor.append_history(history) {
            notices::warn(&format!("cannot keep the history in {}: {error}", history.display()));
        }
    }
    status
}

/// Where lines are kept: in the user's directory of states.
fn history_file() -> Option<PathBuf> {
    let directory = std::env::var_os("XDG_STATE_HOME").filter(|directory| !directory.is_empty()).map(PathBuf::from);
    let directory = directory.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(directory.join("rtrace/history"))
}

impl Prompt {
    fn lines(&mut self, editor: &mut rustyline::Editor<Editor, FileHistory>) -> i32 {
        let mut edited: Option<(String, String)> = None;
        let mut is_told = false;
        loop {
            self.tell_completion();
            let line = match &edited {
                Some((name, text)) => editor.readline_with_initial(&format!("{name}> "), (text, "")),
                None => editor.readline("> "),
            };
            match line {
                Ok(line) if line.trim().is_empty() => edited = None,
                Ok(line) => {
                    let _ = editor.add_history_entry(line.trim_end());
                    let kept = Kept::new();
                    let flow = self.line(line.trim_end(), edited.take().map(|(name, _)| name));
                    drop(kept);
                    match flow {
                        Flow::Stay => {}
                        Flow::Leave => return 0,
                        Flow::Edit { name, text } => edited = Some((name, text)),
                    }
                }
                Err(ReadlineError::Interrupted) => {
                    edited = None;
                    if !std::mem::replace(&mut is_told, true) {
                        self.print("(:quit or Ctrl-D leaves)\n");
                    }
                }
                Err(ReadlineError::Eof) => return 0,
                Err(error) => return fail(&format!("cannot read from the terminal: {error}"), &[]),
            }
        }
    }

    /// Lines of standard input. What its end leaves open is told as the mistake that it is.
    fn plain_lines(&mut self) -> i32 {
        let mut text = String::new();
        let mut edited: Option<String> = None;
        let mut is_empty = true;
        let mut lines = std::io::stdin().lines();
        loop {
            let line = match lines.next() {
                Some(Ok(line)) => line,
                Some(Err(error)) => return fail(&format!("cannot read standard input: {error}"), &[]),
                None if is_empty => {
                    let help = "give a FILE, or -e PROGRAM; programs are read from standard input, too".to_string();
                    return fail("there is no script, and standard input is empty", &[help]);
                }
                None if text.trim().is_empty() => return 0,
                None => String::new(),
            };
            is_empty &= line.trim().is_empty();
            text.push_str(&line);
            if !is_whole(&text) {
                text.push('\n');
                continue;
            }
            let whole = std::mem::take(&mut text);
            if whole.trim().is_empty() {
                continue;
            }
            match self.line(whole.trim_end(), edited.take()) {
                Flow::Stay => {}
                Flow::Leave => return 0,
                Flow::Edit { name, .. } => edited = Some(name),
            }
        }
    }

    fn line(&mut self, line: &str, edited: Option<String>) -> Flow {
        if line.trim_start().starts_with(':') {
            return commands::run(self, line.trim());
        }
        match line.trim() {
            "help" | "?" => return commands::run(self, ":help"),
            "exit" | "quit" => return Flow::Leave,
            asked if asked.starts_with("help ") => return commands::run(self, &format!(":{asked}")),
            word if commands::COMMANDS.iter().any(|command| command.name[1..] == *word) => {
                fail(&format!("`{word}` is no value"), &[format!("the command has a colon: :{word}")]);
                return Flow::Stay;
            }
            _ => {}
        }
        match (text::meaning(line), edited) {
            (Meaning::Program, Some(name)) => self.programs.run_as(&self.arguments, &name, line),
            (Meaning::Program, None) => self.programs.run(&self.arguments, line),
            (Meaning::Mistake(script), _) => self.programs.run(&self.arguments, &script),
            (Meaning::Expression(value), _) if self.has_value(line, &value) => self.answer(line, &value),
            (Meaning::Expression(_) | Meaning::Statements, _) => self.programs.run_statements(&self.arguments, line),
        }
        Flow::Stay
    }

    /// False for an action, such as printf().
    fn has_value(&self, line: &str, value: &Expr) -> bool {
        let is_call = matches!(value.kind, ExprKind::Call { .. });
        let fixed = self.programs.sharing(None).fixed;
        !is_call || type_of_value(&text::valued(line), self.completion.machine(), self.arguments.pid, &fixed).is_some()
    }

    /// Shows a map of the programs that run, or any other value.
    fn answer(&mut self, line: &str, value: &Expr) {
        let ExprKind::Map { name, keys } = &value.kind else {
            if let Some(text) = self.value_text(line) {
                self.print(&text);
            }
            return;
        };
        let map = format!("@{name}");
        let key = match (keys.first(), keys.last()) {
            (Some(first), Some(last)) => {
                let start = first.span.range().start - BEFORE.len();
                let text = &line[start..last.span.range().end - BEFORE.len()];
                // A tuple prints as the key does, in parentheses.
                let written = if keys.len() > 1 { format!("({text})") } else { text.to_string() };
                let Some(value) = self.value_text(&written) else { return };
                let value = value.trim_end_matches('\n');
                let inner = value.strip_prefix('(').and_then(|value| value.strip_suffix(')'));
                Some(inner.filter(|_| keys.len() > 1).unwrap_or(value).to_string())
            }
            _ => None,
        };
        self.show_map(&map, key.as_deref(), Table::default());
    }

    /// What an expression is worth, as print() shows it; None where it has a mistake, which is told.
    fn value_text(&self, expression: &str) -> Option<String> {
        let mut arguments = self.arguments.clone();
        arguments.format = "text".to_string();
        let (text, sharing) = self.printing(expression);
        let prepared = prepare(&arguments, "prompt", &text, sharing).ok()?;
        let out = Captured::default();
        run_here(*prepared, Box::new(out.clone())).ok()?;
        Some(out.text())
    }

    /// A script that prints an expression; messages show what was typed.
    fn printing(&self, expression: &str) -> (String, Sharing) {
        let before = "BEGIN { print(";
        let typed = Some(Typed { text: expression.to_string(), at: before.len() });
        (format!("{before}{expression}); }}"), Sharing { typed, ..self.programs.sharing(None) })
    }

    /// Tells what is wrong with an expression.
    fn explain_expression(&self, expression: &str) {
        let (text, sharing) = self.printing(expression);
        if prepare(&self.arguments, "prompt", &text, sharing).is_ok() {
            fail("this has no type of its own", &[]);
        }
    }

    /// The rows of a map in all programs that have it; those with that key alone, if there is one.
    fn show_map(&self, map: &str, key: Option<&str>, table: Table) {
        if let Some(text) = self.map_text(map, key, table) {
            self.print(&text);
        }
    }

    fn map_text(&self, map: &str, key: Option<&str>, table: Table) -> Option<String> {
        let mut found: Vec<(String, MapEvent)> = Vec::new();
        for (program, remote) in self.programs.running() {
            // What several programs share is shown once.
            if self.programs.has_before(program, map) {
                continue;
            }
            let maps = remote.maps(Some(map), table).unwrap_or_default();
            found.extend(maps.into_iter().map(|map| (program.name.clone(), map)));
        }
        if found.is_empty() {
            self.no_map(map);
            return None;
        }
        let (several, mut text) = (found.len() > 1, String::new());
        for (program, mut event) in found {
            if let Some(key) = key {
                event.rows.retain(|row| key_text(&row.0) == key);
            }
            if several {
                text.push_str(&format!("{program}:\n"));
            }
            match (event.rows.is_empty(), key) {
                (true, Some(key)) => text.push_str(&format!("{map}[{key}] is not set\n")),
                (true, None) => text.push_str(&format!("{map} is empty\n")),
                (false, _) => text.push_str(&self.rendered(event)),
            }
        }
        Some(text)
    }

    fn rendered(&self, event: MapEvent) -> String {
        let out = Captured::default();
        if let Some(format) = format_named(&self.arguments.format) {
            let mut sink = (format.make)(Box::new(out.clone()), script::bars(&self.arguments));
            // Nothing that is kept in memory fails.
            let _ = sink.event(&Event::Map(event)).and_then(|()| sink.finish());
        }
        out.text()
    }

    /// Tells that no program has such a map, and which there are.
    fn no_map(&self, map: &str) {
        let names = self.map_names();
        let near = near_misses(map, names.iter().map(String::as_str));
        let help = did_you_mean(&near).unwrap_or_else(|| match names.is_empty() {
            true => format!("a map goes with its program; one that stays: interval:s:1 {{ {map} = count(); }}"),
            false => format!("maps: {}", names.join(", ")),
        });
        fail(&format!("no program that runs has a map {map}"), &[help]);
    }

    fn map_names(&self) -> Vec<String> {
        let top = Table { top: Some(0), ..Table::default() };
        let maps = self.programs.running().filter_map(|(_, remote)| remote.maps(None, top)).flatten();
        maps.map(|map| map.name).collect()
    }

    fn tell_completion(&self) {
        let programs = self.programs.all.iter().map(|program| program.name.clone()).collect();
        let fixed = self.programs.sharing(None).fixed;
        self.completion.update(Known { programs, maps: self.map_names().into_iter().collect(), fixed });
    }

    /// That nobody reads is told by the next line.
    fn print(&self, text: &str) {
        let _ = self.programs.printer.print(text.as_bytes());
    }
}

/// Keeps what is written.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no holder panics")).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no holder panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
