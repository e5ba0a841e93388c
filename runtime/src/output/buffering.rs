//! When what is printed is written out: as events come, a moment's worth of them together, or not before it fills the buffer.

use std::io;
use std::path::Path;

use crate::event::Event;

use super::Sink;

/// `-B`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Buffering {
    /// Events that come together are written together, some milliseconds after the first.
    #[default]
    Line,
    /// Only when the buffer is full, and at the end.
    Full,
    /// Each event on its own.
    None,
}

/// A sink that is written out at other times.
pub struct Buffered {
    pub inner: Box<dyn Sink>,
    pub buffering: Buffering,
}

impl Sink for Buffered {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.inner.event(event)?;
        match self.buffering {
            Buffering::None => self.inner.flush(),
            Buffering::Line | Buffering::Full => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.buffering {
            Buffering::Full => Ok(()),
            Buffering::Line | Buffering::None => self.inner.flush(),
        }
    }

    fn reopen(&mut self, path: Option<&Path>) -> io::Result<io::Result<()>> {
        self.inner.reopen(path)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.inner.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// Notes what it is asked for.
    struct Noted(Rc<RefCell<String>>);

    impl Sink for Noted {
        fn event(&mut self, _: &Event) -> io::Result<()> {
            self.0.borrow_mut().push('e');
            Ok(())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.borrow_mut().push('f');
            Ok(())
        }
    }

    #[test]
    fn when_it_is_written_out() {
        for (buffering, expected) in [(Buffering::Line, "eeff"), (Buffering::Full, "eef"), (Buffering::None, "efefff")]
        {
            let noted = Rc::new(RefCell::new(String::new()));
            let mut sink = Buffered { inner: Box::new(Noted(noted.clone())), buffering };
            sink.event(&Event::Ending).unwrap();
            sink.event(&Event::Ending).unwrap();
            sink.flush().unwrap();
            sink.finish().unwrap();
            assert_eq!(*noted.borrow(), expected, "{buffering:?}");
        }
    }
}
