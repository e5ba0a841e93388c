//! What the tool says of itself, on stderr, as text or as lines of JSON. That nobody reads it is no reason to stop.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rtrace_lang::diagnostic::{Diagnostic, render};
use rtrace_lang::source::Source;

use crate::controls::escape_controls;
use crate::event::{Event, Place};

use super::text::render as rendered;
use super::{messages, trials};

/// One thing that the tool says.
#[derive(Clone, Debug)]
pub struct Notice {
    pub level: Level,
    pub message: String,
    pub place: Option<Place>,
    pub help: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    Error,
    Warning,
    Note,
    /// What the script prints, where its output is maps alone.
    Output,
}

impl Notice {
    fn new(level: Level, message: impl Into<String>) -> Notice {
        Notice { level, message: message.into(), place: None, help: Vec::new() }
    }

    /// The notice that an event is; None for what the script prints.
    fn of(event: &Event) -> Option<Notice> {
        match event {
            Event::Text { .. }
            | Event::Value(_)
            | Event::Map(_)
            | Event::Cleared(_)
            | Event::Trials(_)
            | Event::Ending => None,
            Event::Attached(count) => {
                let plural = if *count == 1 { "" } else { "s" };
                Some(Notice::new(Level::Note, format!("Attached {count} probe{plural}")))
            }
            Event::Message { is_error, text, place } => {
                let level = if *is_error { Level::Error } else { Level::Warning };
                let message = String::from_utf8_lossy(text).trim_end().to_string();
                // The script says it in its own words.
                let place = Place { text: String::new(), ..place.clone() };
                Some(Notice { place: Some(place), ..Notice::new(level, message) })
            }
            Event::Lost { count, in_total, place } => {
                let plural = if *count == 1 { "" } else { "s" };
                let message = format!("lost {count} event{plural}{}: the buffer was full", total(*in_total));
                Some(Notice { place: Some(place.clone()), ..Notice::new(Level::Warning, message) })
            }
            Event::Problem { message, helper: _, place, count, in_total } => {
                let message = match count {
                    1 => message.clone(),
                    count => format!("{message} ({count} times{})", total(*in_total)),
                };
                Some(Notice { place: place.clone(), ..Notice::new(Level::Warning, message) })
            }
        }
    }

    pub fn text(&self) -> String {
        let word = match self.level {
            Level::Error => "error: ",
            Level::Warning => "warning: ",
            Level::Note | Level::Output => "",
        };
        let mut text = format!("{word}{}\n", self.message);
        if let Some(place) = &self.place {
            text.push_str(&format!("  --> {}:{}:{}", place.file, place.line, place.column));
            text.push_str(&if place.text.is_empty() { "\n".to_string() } else { format!(": {}\n", place.text) });
        }
        self.help.iter().for_each(|help| text.push_str(&format!("  = help: {help}\n")));
        text
    }

    pub fn tell(&self) {
        match is_json() {
            true => tell_line(&messages::of_notice(self)),
            false => tell_text(self.text().into_bytes()),
        }
    }
}

fn total(in_total: bool) -> &'static str {
    if in_total { " in total" } else { "" }
}

/// Says something that is neither an error nor a warning; the text ends its lines itself.
pub fn tell(text: &str) {
    match text.is_empty() || !is_json() {
        true => tell_text(text.as_bytes().to_vec()),
        false => Notice::new(Level::Note, text.trim_end()).tell(),
    }
}

pub fn warn(message: &str) {
    Notice::new(Level::Warning, message).tell();
}

/// An error that is none of the script's text.
pub fn error(message: &str, help: &[String]) -> Notice {
    Notice { help: help.to_vec(), ..Notice::new(Level::Error, message) }
}

/// What an event is beside what the script prints.
pub fn tell_event(event: &Event) {
    if let Some(notice) = Notice::of(event) {
        notice.tell();
    }
}

/// The same as text; None for what the script prints.
pub fn text_of(event: &Event) -> Option<String> {
    Notice::of(event).map(|notice| notice.text())
}

/// What is to be said about a script.
pub fn report(diagnostics: &[Diagnostic], source: &Source, colour: bool) {
    match is_json() {
        true => diagnostics.iter().for_each(|diagnostic| tell_line(&messages::of_diagnostic(diagnostic, source))),
        false => {
            let rendered: String = diagnostics.iter().map(|diagnostic| render(diagnostic, source, colour)).collect();
            tell_bytes(rendered.as_bytes());
        }
    }
}

/// For formats whose output is maps alone: what else there is goes to stderr.
pub fn tell_all_but_maps(event: &Event) {
    match event {
        Event::Text { text, .. } => tell_output(text),
        Event::Value(value) => tell_output(&[&rendered(value)[..], b"\n"].concat()),
        Event::Trials(of) => tell_output(trials::text(of, false).as_bytes()),
        Event::Map(_) | Event::Cleared(_) | Event::Ending => {}
        Event::Attached(_) | Event::Message { .. } | Event::Lost { .. } | Event::Problem { .. } => tell_event(event),
    }
}

fn tell_output(bytes: &[u8]) {
    match is_json() {
        true => Notice::new(Level::Output, String::from_utf8_lossy(bytes)).tell(),
        false => tell_text(bytes.to_vec()),
    }
}

/// Everything is told as JSON from now on.
pub fn tell_json() {
    IS_JSON.store(true, Ordering::Relaxed);
}

pub fn is_json() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

static IS_JSON: AtomicBool = AtomicBool::new(false);

fn tell_line(line: &serde_json::Value) {
    // One write, so that lines of several threads do not mix.
    tell_bytes(format!("{line}\n").as_bytes());
}

/// Where notices go in place of stderr.
static ELSEWHERE: OnceLock<Tell> = OnceLock::new();

type Tell = Box<dyn Fn(&[u8]) + Send + Sync>;

/// Hands what is told from now on to `tell`: for a tool that shares its terminal with a line that is being edited.
pub fn tell_through(tell: impl Fn(&[u8]) + Send + Sync + 'static) {
    let _ = ELSEWHERE.set(Box::new(tell));
}

/// On a terminal without the control characters that it would obey.
fn tell_text(bytes: Vec<u8>) {
    let is_shown = ELSEWHERE.get().is_some() || io::stderr().is_terminal();
    tell_bytes(&if is_shown { escape_controls(bytes) } else { bytes });
}

fn tell_bytes(bytes: &[u8]) {
    match ELSEWHERE.get() {
        Some(tell) => tell(bytes),
        None => _ = io::stderr().write_all(bytes),
    }
}
