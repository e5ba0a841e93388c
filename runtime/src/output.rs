//! Where events go. One file per format; a sink only formats, and never asks where a value came from.

mod buckets;
mod csv;
mod distribution;
mod folded;
mod histogram;
mod json;
mod notices;
pub mod printa;
pub mod printf;
mod series;
mod stacks;
mod text;

use std::io::Write;

use crate::event::Event;

/// Takes events in the order in which they happened.
pub trait Sink {
    /// An error of the writer ends the session (a pipe that was closed, a full disk).
    fn event(&mut self, event: &Event) -> std::io::Result<()>;

    /// Everything is written out.
    fn flush(&mut self) -> std::io::Result<()>;

    /// No event follows. A format that tells of maps as a whole writes here.
    fn finish(&mut self) -> std::io::Result<()> {
        self.flush()
    }
}

/// A format by its name, and how its sink is made.
pub struct Format {
    pub name: &'static str,
    pub doc: &'static str,
    pub make: fn(Box<dyn Write>) -> Box<dyn Sink>,
}

pub static FORMATS: &[Format] = &[
    Format { name: "text", doc: "for people", make: |writer| Box::new(text::Text::new(writer)) },
    Format { name: "json", doc: "one object a line", make: |writer| Box::new(json::Json::new(writer)) },
    Format { name: "folded", doc: "stacks for a flame graph", make: |writer| Box::new(folded::Folded::new(writer)) },
    Format { name: "csv", doc: "maps as tables", make: |writer| Box::new(csv::Csv::new(writer)) },
];

pub fn format_named(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}
