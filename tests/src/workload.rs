//! A workload that waits: started, let go when a tracer is attached, kept alive while the tracer prints, and ended. The
//! handshake is described in `tests/workloads/workload.c`.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::child::Child;
use crate::directives::Workload;
use crate::environment::Programs;

/// A workload between its first line and its last.
pub struct Waiting {
    child: Child,
    pub pid: u32,
}

/// A workload that did not get to its end.
#[derive(Debug)]
pub struct Unfinished {
    pub status: ExitStatus,
}

impl std::fmt::Display for Unfinished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the workload ended with {} before it was done", self.status)
    }
}

impl std::error::Error for Unfinished {}

/// Starts it; it waits for `go`.
pub fn start(workload: &Workload, programs: &Programs, deadline: Instant) -> Result<Waiting> {
    let mut command = Command::new(programs.workloads.join(&workload.program));
    command.arg("--wait").args(&workload.arguments);
    let child = Child::start(&mut command, deadline)?;
    let line = child.await_output("pid ")?;
    let pid: u32 = line["pid ".len()..].parse().with_context(|| format!("`{line}` has no pid"))?;
    if pid != child.pid() {
        bail!("the workload says that it is {pid}, and it is {}", child.pid());
    }
    Ok(Waiting { child, pid })
}

impl Waiting {
    /// Lets it do its work, and returns when that is done; the process still lives.
    pub fn go(&mut self) -> Result<()> {
        self.child.send_line("go")?;
        let done = self.child.await_output("done");
        match done.is_err().then(|| self.child.status()).flatten() {
            Some(status) => bail!(Unfinished { status }),
            None => done.map(drop),
        }
    }

    /// Lets it end, which it must do well.
    pub fn finish(self) -> Result<()> {
        let ended = self.child.finish()?;
        if !ended.status.success() {
            bail!("the workload failed with {}: {}", ended.status, String::from_utf8_lossy(&ended.errors));
        }
        Ok(())
    }

    /// Ends it as nothing else can.
    pub fn kill(self) -> Result<()> {
        self.child.signal(libc::SIGKILL);
        let status = self.child.finish()?.status;
        if status.signal() != Some(libc::SIGKILL) {
            bail!("the workload was not killed: {status}");
        }
        Ok(())
    }
}
