//! What the tool says of itself, on stderr. That nobody reads it is no reason to stop.

use std::io::{self, Write};
use std::sync::OnceLock;

use crate::event::{Event, Place};

use super::text::render;

/// The message that an event is; None for what the script prints.
pub fn message(event: &Event) -> Option<String> {
    match event {
        Event::Text { .. } | Event::Value(_) | Event::Map(_) | Event::Cleared(_) | Event::Ending => None,
        Event::Attached(count) => Some(format!("Attached {count} probe{}\n", if *count == 1 { "" } else { "s" })),
        Event::Message { is_error, text, place } => {
            let word = if *is_error { "error" } else { "warning" };
            let text = String::from_utf8_lossy(text);
            let text = text.trim_end();
            Some(format!("{word}: {text}\n  --> {}:{}:{}\n", place.file, place.line, place.column))
        }
        Event::Lost { count, in_total, place } => {
            let plural = if *count == 1 { "" } else { "s" };
            let message = format!("lost {count} event{plural}{}: the buffer was full", total(*in_total));
            Some(warning(&message, Some(place)))
        }
        Event::Problem { message, place, count: 1, .. } => Some(warning(message, place.as_ref())),
        Event::Problem { message, place, count, in_total } => {
            Some(warning(&format!("{message} ({count} times{})", total(*in_total)), place.as_ref()))
        }
    }
}

pub fn warning(message: &str, place: Option<&Place>) -> String {
    let mut text = format!("warning: {message}\n");
    if let Some(place) = place {
        text.push_str(&format!("  --> {}:{}:{}: {}\n", place.file, place.line, place.column, place.text));
    }
    text
}

fn total(in_total: bool) -> &'static str {
    if in_total { " in total" } else { "" }
}

pub fn tell(text: &str) {
    tell_bytes(text.as_bytes());
}

/// For formats whose output is maps alone: what else there is goes to stderr.
pub fn tell_all_but_maps(event: &Event) {
    match event {
        Event::Text { text, .. } => tell_bytes(text),
        Event::Value(value) => tell_bytes(&[&render(value)[..], b"\n"].concat()),
        Event::Map(_) | Event::Cleared(_) | Event::Ending => {}
        Event::Attached(_) | Event::Message { .. } | Event::Lost { .. } | Event::Problem { .. } => {
            tell(&message(event).unwrap_or_default());
        }
    }
}

/// Where notices go in place of stderr.
static ELSEWHERE: OnceLock<Tell> = OnceLock::new();

type Tell = Box<dyn Fn(&[u8]) + Send + Sync>;

/// Hands what is told from now on to `tell`: for a tool that shares its terminal with a line that is being edited.
pub fn tell_through(tell: impl Fn(&[u8]) + Send + Sync + 'static) {
    let _ = ELSEWHERE.set(Box::new(tell));
}

fn tell_bytes(bytes: &[u8]) {
    match ELSEWHERE.get() {
        Some(tell) => tell(bytes),
        None => _ = io::stderr().write_all(bytes),
    }
}
