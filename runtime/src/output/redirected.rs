//! freopen(): output that goes to another file for a while, in the same format. It never touches what is there in a file.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use crate::event::Event;

use super::bars::Bars;
use super::{Format, Sink};

/// A sink whose place may change.
pub struct Redirected {
    format: &'static Format,
    first: Box<dyn Sink>,
    /// The file that output goes to now.
    now: Option<Box<dyn Sink>>,
}

impl Redirected {
    pub fn new(format: &'static Format, writer: Box<dyn Write>, bars: Bars) -> Redirected {
        Redirected { format, first: (format.make)(writer, bars), now: None }
    }

    fn current(&mut self) -> &mut dyn Sink {
        match &mut self.now {
            Some(now) => &mut **now,
            None => &mut *self.first,
        }
    }
}

impl Sink for Redirected {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.current().event(event)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.current().flush()
    }

    fn reopen(&mut self, path: Option<&Path>) -> io::Result<io::Result<()>> {
        let next = match path {
            Some(path) => match OpenOptions::new().append(true).create(true).open(path) {
                Ok(file) => Some((self.format.make)(Box::new(file), Bars::Ascii)),
                Err(error) => return Ok(Err(error)),
            },
            None => None,
        };
        match &mut self.now {
            Some(before) => before.finish()?,
            None => self.first.flush()?,
        }
        self.now = next;
        Ok(Ok(()))
    }

    fn finish(&mut self) -> io::Result<()> {
        if let Some(now) = &mut self.now {
            now.finish()?;
        }
        self.first.finish()
    }
}
