//! Timers and signals at which the tool runs programs itself while it traces.

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::time::Duration;

use rtrace_lang::target::Attach;

use crate::signals::{SignalWaiter, Timer};

use super::{Session, SessionError};

/// What makes the tool run programs itself while it traces.
pub(super) enum Wakeup {
    Timer(Timer),
    Signal(SignalWaiter),
}

impl Wakeup {
    pub(super) fn as_raw_fd(&self) -> RawFd {
        match self {
            Wakeup::Timer(timer) => timer.as_raw_fd(),
            Wakeup::Signal(signal) => signal.as_raw_fd(),
        }
    }

    /// Whether it is due; once for each time.
    pub(super) fn take(&self) -> bool {
        match self {
            Wakeup::Timer(timer) => timer.take() > 0,
            Wakeup::Signal(signal) => signal.take(),
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
                        wakeups.push((vec![number], Wakeup::Timer(timer)));
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
}
