//! Timers and signals at which the tool runs programs itself while it traces.

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::time::Duration;

use rtrace_lang::hir::SiteId;
use rtrace_lang::target::Attach;

use crate::output::Sink;
use crate::signals::{SignalWaiter, Timer};

use super::{Session, SessionError};

/// What makes the tool run programs itself while it traces.
pub(super) enum Wakeup {
    Timer(Timer, SiteId),
    Signal(SignalWaiter),
}

/// Of a timer that could not be waited for, programs run so often at once; what is beyond that is missed.
const MOST_RUNS: u64 = 10_000;

/// After so many runs their output is read.
const RUNS_BETWEEN_READS: u64 = 64;

impl Wakeup {
    pub(super) fn as_raw_fd(&self) -> RawFd {
        match self {
            Wakeup::Timer(timer, _) => timer.as_raw_fd(),
            Wakeup::Signal(signal) => signal.as_raw_fd(),
        }
    }

    /// How often it has become due since the last call.
    pub(super) fn take(&self) -> u64 {
        match self {
            Wakeup::Timer(timer, _) => timer.take(),
            Wakeup::Signal(signal) => u64::from(signal.take()),
        }
    }
}

impl Session<'_> {
    /// The programs of probes that the tool itself runs while it traces, and when.
    pub(super) fn wakeups(&self) -> Result<Vec<(Vec<usize>, Wakeup)>, SessionError> {
        let mut wakeups = Vec::new();
        // Of several descriptors for one signal only one would see it.
        let mut signals: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for (number, program) in self.object.programs.iter().enumerate() {
            for site in &program.sites {
                match self.hir.sites[site.index()].attach {
                    Attach::Timer { nanoseconds } => {
                        let timer = Timer::new(Duration::from_nanos(nanoseconds))
                            .map_err(|error| SessionError::System("timerfd", error))?;
                        wakeups.push((vec![number], Wakeup::Timer(timer, *site)));
                    }
                    Attach::Signal { number: signal } => signals.entry(signal).or_default().push(number),
                    Attach::Begin
                    | Attach::End
                    | Attach::Trial(_)
                    | Attach::Kprobe { .. }
                    | Attach::Uprobe { .. }
                    | Attach::Tracepoint { .. }
                    | Attach::RawTracepoint { .. }
                    | Attach::Trampoline
                    | Attach::Iterator { .. }
                    | Attach::PerfEvent { .. }
                    | Attach::Watchpoint { .. } => {}
                }
            }
        }
        for (number, programs) in signals {
            let signal = SignalWaiter::new(&[number]).map_err(|error| SessionError::System("signalfd", error))?;
            wakeups.push((programs, Wakeup::Signal(signal)));
        }
        Ok(wakeups)
    }

    /// Runs the programs of those that are due, as often as they are; true if any has run.
    pub(super) fn run_due(
        &mut self,
        wakeups: &[(Vec<usize>, Wakeup)],
        is_ready: impl Fn(usize) -> bool,
        sink: &mut dyn Sink,
    ) -> Result<bool, SessionError> {
        let mut has_run = false;
        for (number, (programs, wakeup)) in wakeups.iter().enumerate() {
            if !is_ready(number) {
                continue;
            }
            let times = wakeup.take();
            if let (Wakeup::Timer(_, site), true) = (wakeup, times > MOST_RUNS) {
                *self.missed_ticks.entry(*site).or_default() += times - MOST_RUNS;
            }
            for run in 1..=times.min(MOST_RUNS) {
                if self.exit_called() {
                    break;
                }
                programs.iter().try_for_each(|program| self.test_run(*program))?;
                has_run = true;
                if run % RUNS_BETWEEN_READS == 0 {
                    self.drain(sink)?;
                }
            }
        }
        Ok(has_run)
    }
}
