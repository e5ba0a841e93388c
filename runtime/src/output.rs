//! Where events go. One file per format; a sink only formats, and never asks where a value came from.

mod at_end;
mod bars;
mod buckets;
pub mod buffering;
mod csv;
pub mod difference;
mod distribution;
pub mod flame;
pub mod flame_graph;
mod flame_page;
pub(crate) mod folded;
mod histogram;
mod json;
pub mod messages;
pub mod notices;
pub(crate) mod pprof;
pub mod printa;
pub mod printf;
pub mod prometheus;
pub mod redirected;
mod series;
pub mod stack_files;
pub mod stacks;
mod text;
pub(crate) mod tree;
mod trials;

use std::io::Write;
use std::path::Path;

use crate::event::Event;

pub use bars::Bars;
pub use text::keys;

/// Takes events in the order in which they happened.
pub trait Sink {
    /// An error of the writer ends the session (a pipe that was closed, a full disk).
    fn event(&mut self, event: &Event) -> std::io::Result<()>;

    /// Everything is written out.
    fn flush(&mut self) -> std::io::Result<()>;

    /// What follows is added to that file, or goes where it went at first. The inner error is that of the file, and changes
    /// nothing; the outer one is that of the writer before it.
    fn reopen(&mut self, _: Option<&Path>) -> std::io::Result<std::io::Result<()>> {
        Ok(Err(std::io::Error::new(std::io::ErrorKind::Unsupported, "the output has its one place here")))
    }

    /// No event follows. A format that tells of maps as a whole writes here.
    fn finish(&mut self) -> std::io::Result<()> {
        self.flush()
    }
}

/// A format by its name, and how its sink is made.
pub struct Format {
    pub name: &'static str,
    pub doc: &'static str,
    /// No text: not for a terminal.
    pub is_binary: bool,
    pub make: fn(Box<dyn Write>, Bars) -> Box<dyn Sink>,
}

const fn text_format(name: &'static str, doc: &'static str, make: fn(Box<dyn Write>, Bars) -> Box<dyn Sink>) -> Format {
    Format { name, doc, is_binary: false, make }
}

pub static FORMATS: &[Format] = &[
    text_format("text", "for people", |writer, bars| Box::new(text::Text::new(writer, bars))),
    text_format("json", "one object a line", |writer, _| Box::new(json::Json::new(writer))),
    text_format("csv", "maps as tables", |writer, _| Box::new(csv::Csv::new(writer))),
    text_format("folded", "stacks for a flame graph", |writer, _| Box::new(at_end::AtEnd::new(writer, folded::folded))),
    Format {
        name: "pprof",
        doc: "stacks as a profile of pprof's",
        is_binary: true,
        make: |writer, _| Box::new(at_end::AtEnd::new(writer, pprof::profile)),
    },
    text_format("tree", "stacks as call trees", |writer, _| Box::new(at_end::AtEnd::new(writer, tree::trees))),
    text_format("prometheus", "maps as metrics", |writer, _| Box::new(prometheus::Prometheus::new(writer))),
];

pub fn format_named(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}
