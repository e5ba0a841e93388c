//! Formats that are nothing but the maps of stacks: what is shown of them is kept, and written when no event follows. What
//! else the script prints goes to stderr.

use std::io::{self, Write};

use crate::clock;
use crate::event::Event;

use super::stacks::{StackMap, Stacks};
use super::{Sink, notices};

/// All maps as the file that the format is, of a script that has begun so many nanoseconds after 1970.
pub type Written = Box<dyn Fn(&[StackMap], i64) -> io::Result<Vec<u8>>>;

pub struct AtEnd {
    writer: Box<dyn Write>,
    stacks: Stacks,
    started: i64,
    written: Written,
}

impl AtEnd {
    pub fn new(writer: Box<dyn Write>, written: impl Fn(&[StackMap], i64) -> io::Result<Vec<u8>> + 'static) -> AtEnd {
        AtEnd { writer, stacks: Stacks::default(), started: clock::now(), written: Box::new(written) }
    }
}

impl Sink for AtEnd {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        notices::tell_all_but_maps(event);
        self.stacks.event(event);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.stacks.others().iter().for_each(|what| notices::warn(what));
        let (maps, problems) = self.stacks.take();
        problems.iter().for_each(|what| notices::warn(what));
        self.writer.write_all(&(self.written)(&maps, self.started)?)?;
        self.writer.flush()
    }
}
