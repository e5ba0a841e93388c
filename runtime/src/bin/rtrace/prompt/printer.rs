//! What programs print while a line is being edited: above it, in whole lines. Knows nothing of programs.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use rustyline::ExternalPrinter;

type Print = Box<dyn FnMut(&[u8]) -> io::Result<()> + Send>;

/// Shared by all who print.
#[derive(Clone)]
pub struct Printer(Arc<Mutex<Print>>);

impl Printer {
    pub fn plain() -> Printer {
        let print = |text: &[u8]| {
            let mut out = io::stdout().lock();
            out.write_all(text)?;
            out.flush()
        };
        Printer(Arc::new(Mutex::new(Box::new(print))))
    }

    /// Above the line of an editor.
    pub fn above(mut external: impl ExternalPrinter + Send + 'static) -> Printer {
        let print = move |text: &[u8]| {
            external
                .print(String::from_utf8_lossy(text).into_owned())
                .map_err(|error| io::Error::other(error.to_string()))
        };
        Printer(Arc::new(Mutex::new(Box::new(print))))
    }

    pub fn print(&self, text: &[u8]) -> io::Result<()> {
        (self.0.lock().expect("no holder panics"))(text)
    }

    /// A writer of its own for one program.
    pub fn lines(&self) -> Lines {
        Lines { printer: self.clone(), kept: Vec::new() }
    }
}

/// Keeps the beginning of a line until its end comes: lines of several programs do not mix.
pub struct Lines {
    printer: Printer,
    kept: Vec<u8>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.kept.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.kept.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => {
                let rest = self.kept.split_off(end + 1);
                let whole = std::mem::replace(&mut self.kept, rest);
                self.printer.print(&whole)
            }
            None => Ok(()),
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.kept.is_empty() {
            self.kept.push(b'\n');
            // Nobody is left to be told.
            let _ = self.flush();
        }
    }
}
