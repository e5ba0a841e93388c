//! Very many probes at once: how long they take, and what is seen meanwhile.
//!
//! Unsafe: openpty(3), for a terminal to show things on; kill(2) on a child of our own.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::child::Child;
use crate::environment::Programs;

/// What a thousand uprobes may take from the start of the tool to its end.
const BUDGET: Duration = Duration::from_secs(1);
/// Guests compute in software.
const BUDGET_IN_GUEST: Duration = Duration::from_secs(10);
/// Probes that count as many.
const MANY: u32 = 1000;

/// Attaches to a thousand functions and more of a program that nobody runs, and ends.
pub fn check_uprobes(programs: &Programs, in_guest: bool) -> Result<()> {
    let copy = std::env::temp_dir().join(format!("rtrace-many-{}", std::process::id()));
    fs::copy(&programs.rtrace, &copy).context("cannot copy a program")?;
    let result = attach_many(programs, &copy, if in_guest { BUDGET_IN_GUEST } else { BUDGET });
    fs::remove_file(&copy).context("cannot remove the copy")?;
    result
}

fn attach_many(programs: &Programs, program: &Path, budget: Duration) -> Result<()> {
    let script = format!("uprobe:{}:*rtrace* {{ @ = count(); }} interval:ms:1 {{ exit(); }}", program.display());
    let start = Instant::now();
    let mut command = Command::new(&programs.rtrace);
    let child = Child::start(command.args(["-e", &script]), start + Duration::from_secs(60))?;
    let line = child.await_error("Attached ")?;
    let ended = child.finish()?;
    let elapsed = start.elapsed();
    let Some(line) = line else { bail!("it did not attach: {}", String::from_utf8_lossy(&ended.errors)) };
    let count: u32 = line.split(' ').nth(1).and_then(|word| word.parse().ok()).context("no number of probes")?;
    if count < MANY || !ended.status.success() {
        bail!("{line}, and the status {}", ended.status);
    }
    if elapsed > budget {
        bail!("{count} uprobes took {elapsed:?}");
    }
    Ok(())
}

/// Attaches kprobes one by one, as it does where the module is a pattern, which takes seconds; sees a bar on the terminal, and ends it with Ctrl-C before it is done.
pub fn check_bar(programs: &Programs) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut master, slave) = terminal()?;
    let mut child = Command::new(&programs.rtrace)
        .args(["-e", "kprobe:vmlinu*:s* { } BEGIN { @begun = 1; } END { @ended = 1; }"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(slave)
        .spawn()
        .context("cannot start rtrace")?;
    let mut shown = String::new();
    let mut output = String::new();
    let mut is_interrupted = false;
    let status = loop {
        let mut bytes = [0; 4096];
        match master.read(&mut bytes) {
            Ok(count) => shown.push_str(&String::from_utf8_lossy(&bytes[..count])),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // The other side is closed.
            Err(_) => {}
        }
        // A second one would end it on the spot.
        if shown.contains("Attaching [") && !is_interrupted {
            is_interrupted = true;
            // SAFETY: two numbers; the child is not waited for yet, so the id is its own.
            unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        }
        if let Some(status) = child.try_wait()? {
            child.stdout.take().context("no pipe")?.read_to_string(&mut output)?;
            break status;
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("it did not end; it showed {shown:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let bar = shown.split('\r').rfind(|text| text.starts_with("Attaching ["));
    let bar = bar.with_context(|| format!("it showed no bar, but {shown:?}"))?;
    let (done, all) = bar.rsplit(' ').next().and_then(|numbers| numbers.split_once('/')).context("no numbers")?;
    let (done, all): (u32, u32) = (done.parse()?, all.trim().parse()?);
    if done >= all || all < MANY || shown.contains("Attached ") || !shown.ends_with("\r\u{1b}[K") {
        bail!("it showed {shown:?}");
    }
    let lines: Vec<&str> = output.lines().filter(|line| !line.is_empty()).collect();
    if lines != ["@begun: 1", "@ended: 1"] || !status.success() {
        bail!("it ended with {status} and printed {output}");
    }
    Ok(())
}

/// Both sides of a terminal; the first does not wait.
pub fn terminal() -> Result<(File, Stdio)> {
    let (mut master, mut slave) = (0, 0);
    let null = std::ptr::null_mut();
    // SAFETY: the call writes two descriptors, which are there; it takes no name, modes or size.
    let result = unsafe { libc::openpty(&mut master, &mut slave, null, null.cast(), null.cast()) };
    if result != 0 {
        return Err(std::io::Error::last_os_error()).context("cannot open a terminal");
    }
    // SAFETY: both descriptors are new and ours.
    let (master, slave) = unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    // SAFETY: flags of our own descriptor.
    unsafe {
        libc::fcntl(master.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK);
        libc::fcntl(master.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC);
    }
    Ok((master, Stdio::from(slave)))
}
