//! `--test` and `--bench`: the probes that wait for it are run one by one. The kernel's own statistics say how long they take.

use std::cell::RefCell;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rtrace_compiler::object::{EXIT_CALLED, EXIT_OFFSET, RESULT_OFFSET, STOPPED_OFFSET};
use rtrace_lang::target::{Attach, Trial};
use rtrace_probes::kernel::bpf;

use crate::event::{Event, TrialEvent};
use crate::output::{Bars, Sink, format_named, notices};

use super::{Session, SessionError};

/// How long one probe is measured, about.
const MEASURED: Duration = Duration::from_millis(200);

/// Runs between two looks at the clock and at what was printed.
const RUNS_AT_ONCE: u64 = 100;

/// What a test prints, and whether it has said itself that it fails.
struct Captured {
    text: Box<dyn Sink>,
    bytes: Shared,
    has_failed: bool,
}

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Captured {
    fn new() -> Captured {
        let bytes = Shared::default();
        let text = format_named("text").expect("there is such a format");
        Captured { text: (text.make)(Box::new(bytes.clone()), Bars::Ascii), bytes, has_failed: false }
    }

    fn into_bytes(mut self) -> io::Result<Vec<u8>> {
        self.text.flush()?;
        Ok(self.bytes.0.take())
    }
}

impl Sink for Captured {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.has_failed |= matches!(event, Event::Message { is_error: true, .. });
        match notices::text_of(event) {
            Some(notice) => {
                self.text.flush()?;
                self.bytes.write_all(notice.as_bytes())
            }
            None => self.text.event(event),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.text.flush()
    }
}

impl Session<'_> {
    /// Runs them in their order. True if none has failed.
    pub(super) fn run_trials(&mut self, trial: Trial, sink: &mut dyn Sink) -> Result<bool, SessionError> {
        let is_wanted = |number: &usize| {
            let mut sites = self.object.programs[*number].sites.iter();
            sites.any(|site| self.hir.sites[site.index()].attach == Attach::Trial(trial))
        };
        let programs: Vec<usize> = (0..self.programs.len()).filter(is_wanted).collect();
        tell(sink, TrialEvent::Started { trial, count: programs.len() })?;
        // They cost every program of the machine a little, so that nobody leaves them on.
        let statistics = bpf::enable_stats()?;
        let (mut passed, mut failed) = (0, Vec::new());
        for program in programs {
            let site = self.object.programs[program].sites[0];
            let name = self.hir.sites[site.index()].event().to_string();
            let event = match trial {
                Trial::Test => self.tested(program, name.clone())?,
                Trial::Bench => self.measured(program, name.clone())?,
            };
            match &event {
                TrialEvent::Tested { has_passed: false, .. } => failed.push(name),
                _ => passed += 1,
            }
            tell(sink, event)?;
        }
        drop(statistics);
        let has_passed = failed.is_empty();
        tell(sink, TrialEvent::Finished { trial, passed, failed })?;
        Ok(has_passed)
    }

    fn tested(&mut self, program: usize, name: String) -> Result<TrialEvent, SessionError> {
        self.globals.set(RESULT_OFFSET, 0);
        let mut captured = Captured::new();
        let before = self.run_time(program)?;
        self.test_run(program)?;
        let after = self.run_time(program)?;
        self.drain(&mut captured)?;
        let exit = self.take_exit();
        let has_passed = self.globals.get(RESULT_OFFSET) == 0 && exit & !EXIT_CALLED == 0 && !captured.has_failed;
        let output = captured.into_bytes().map_err(SessionError::Output)?;
        Ok(TrialEvent::Tested { name, nanoseconds: after.0 - before.0, has_passed, output })
    }

    fn measured(&mut self, program: usize, name: String) -> Result<TrialEvent, SessionError> {
        let before = self.run_time(program)?;
        let started = Instant::now();
        while started.elapsed() < MEASURED {
            for _ in 0..RUNS_AT_ONCE {
                self.test_run(program)?;
            }
            // Nobody reads the same line ten thousand times.
            self.drain(&mut Captured::new())?;
            self.take_exit();
        }
        let after = self.run_time(program)?;
        let runs = after.1 - before.1;
        Ok(TrialEvent::Measured { name, nanoseconds: (after.0 - before.0) / runs.max(1), runs })
    }

    /// Nanoseconds that a program has run so far, and how often.
    fn run_time(&self, program: usize) -> Result<(u64, u64), SessionError> {
        let statistics = bpf::program_stats(self.programs[program].fd.as_fd())?;
        Ok((statistics.run_time_ns, statistics.run_count))
    }

    /// exit() ends one trial, and not the others.
    fn take_exit(&self) -> u64 {
        let word = self.globals.get(EXIT_OFFSET);
        self.globals.set(EXIT_OFFSET, 0);
        self.globals.set(STOPPED_OFFSET, 0);
        word
    }
}

fn tell(sink: &mut dyn Sink, event: TrialEvent) -> Result<(), SessionError> {
    sink.event(&Event::Trials(event)).map_err(SessionError::Output)
}
