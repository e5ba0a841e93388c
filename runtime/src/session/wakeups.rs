//! Timers and signals at which the tool runs programs itself while it traces.

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use rtrace_lang::hir::SiteId;
use rtrace_lang::target::Attach;

use crate::output::Sink;
use crate::signals::{self, Ending, SignalWaiter, Timer};

use super::{Session, SessionError};

/// What makes the tool run programs itself while it traces.
pub(super) enum Wakeup {
    Timer(Timer, SiteId),
    Signal(SignalWaiter),
}

/// Ticks that came while the tool was held up are made up for as long, or so many of them; those that are left then are missed.
const CATCHING_UP: Duration = Duration::from_millis(100);
const LEAST_RUNS: u64 = 16;

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

    /// Runs the programs of those that are due, as often as they are, and reads what they print.
    pub(super) fn run_due(
        &mut self,
        wakeups: &[(Vec<usize>, Wakeup)],
        is_ready: impl Fn(usize) -> bool,
        ending: &Ending,
        sink: &mut dyn Sink,
    ) -> Result<(), SessionError> {
        let is_ending = || {
            let ready = signals::wait(&[ending.as_raw_fd()], Duration::ZERO);
            ready.map(|ready| ready[0]).map_err(|error| SessionError::System("poll", error))
        };
        for (number, (programs, wakeup)) in wakeups.iter().enumerate() {
            if !is_ready(number) {
                continue;
            }
            let (times, start) = (wakeup.take(), Instant::now());
            for run in 1..=times {
                if self.exit_called() {
                    break;
                }
                programs.iter().try_for_each(|program| self.test_run(*program))?;
                // What it prints may take longer than the ticks are apart.
                self.drain(sink)?;
                let Wakeup::Timer(_, site) = wakeup else { continue };
                if run == times || start.elapsed() < CATCHING_UP {
                    continue;
                }
                // What would come behind the end is not missed.
                if is_ending()? {
                    break;
                }
                if run >= LEAST_RUNS {
                    *self.missed_ticks.entry(*site).or_default() += times - run;
                    break;
                }
            }
        }
        Ok(())
    }
}
