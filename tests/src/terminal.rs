//! rtrace on a terminal of its own, whose screen is read as a person would.
//! Unsafe: openpty(3), tcgetattr(3), kill(2) of the child, and what makes it the terminal of a child.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::environment::Programs;

/// Far more than any step takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// rtrace on a terminal, and what is on its screen.
pub struct Terminal {
    master: File,
    screen: vt100::Parser,
    child: Child,
    pub state: PathBuf,
    slave: OwnedFd,
    /// How it was before rtrace began.
    modes: libc::termios,
}

impl Terminal {
    /// With words of the command line, on a terminal of so many lines and columns.
    pub fn new(programs: &Programs, name: &str, words: &[&str], size: (u16, u16)) -> Result<Terminal> {
        let (mut master, mut slave) = (0, 0);
        let (lines, columns) = size;
        let size = libc::winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let null = std::ptr::null_mut();
        // SAFETY: the call writes two descriptors and reads the size, which are there; it takes no name or modes.
        let result = unsafe { libc::openpty(&mut master, &mut slave, null, null.cast(), &size) };
        ensure!(result == 0, "cannot open a terminal: {}", std::io::Error::last_os_error());
        // SAFETY: both descriptors are new and ours.
        let (master, slave) = unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
        // SAFETY: flags of our own descriptor.
        unsafe {
            libc::fcntl(master.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK);
            libc::fcntl(master.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC);
        }
        let state = std::env::temp_dir().join(format!("rtrace-test-{name}-{}", std::process::id()));
        let mut command = Command::new(&programs.rtrace);
        command.args(words).env("PATH", &programs.workloads);
        command.env("TERM", "xterm-256color").env("XDG_STATE_HOME", &state).env_remove("NO_COLOR");
        command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave.try_clone()?);
        // SAFETY: both calls may be made between fork and exec; standard input is the new terminal there.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let modes = modes(&slave)?;
        let child = command.spawn().context("cannot start rtrace")?;
        Ok(Terminal { master, screen: vt100::Parser::new(lines, columns, 0), child, state, slave, modes })
    }

    pub fn keys(&mut self, keys: &str) -> Result<()> {
        Ok(self.master.write_all(keys.as_bytes())?)
    }

    pub fn read(&mut self) {
        let mut bytes = [0; 4096];
        loop {
            match self.master.read(&mut bytes) {
                Ok(0) => return,
                Ok(count) => self.screen.process(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Nothing more for now, or the other side is closed.
                Err(_) => return,
            }
        }
    }

    /// Waits for what the screen is to show; gives how long that took.
    pub fn wait(&mut self, what: &str, is_there: impl Fn(&str) -> bool) -> Result<Duration> {
        let start = Instant::now();
        loop {
            self.read();
            let contents = self.screen.screen().contents();
            if is_there(&contents) {
                return Ok(start.elapsed());
            }
            if start.elapsed() > PATIENCE {
                bail!("no {what} on the screen:\n{contents}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn shows(&mut self, text: &str) -> Result<Duration> {
        self.wait(&format!("`{text}`"), |contents| contents.contains(text))
    }

    /// The line that is being edited: the last that is not empty.
    pub fn edits(&mut self, text: &str) -> Result<Duration> {
        self.wait(&format!("line `{text}`"), |contents| contents.trim_end().lines().last() == Some(text))
    }

    /// The most memory that it has had at a time, KiB.
    pub fn most_memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    pub fn signal(&self, number: i32) {
        // SAFETY: the child is ours, and nobody has waited for it yet.
        unsafe { libc::kill(self.child.id() as i32, number) };
    }

    pub fn contents(&self) -> String {
        self.screen.screen().contents()
    }

    /// The lines of the screen that are shown reversed.
    pub fn reversed(&self) -> Vec<String> {
        let screen = self.screen.screen();
        let (lines, columns) = screen.size();
        let is_reversed = |line: u16| screen.cell(line, 0).is_some_and(|cell| cell.inverse());
        let rows = screen.rows(0, columns).zip(0..lines).filter(|(_, line)| is_reversed(*line));
        rows.map(|(row, _)| row).collect()
    }

    /// The terminal is as it was: its modes, the cursor, and what was on the screen.
    pub fn is_restored(&mut self) -> Result<()> {
        self.read();
        let (before, now) = (self.modes, modes(&self.slave)?);
        let flags = |modes: &libc::termios| (modes.c_iflag, modes.c_oflag, modes.c_cflag, modes.c_lflag);
        ensure!(flags(&before) == flags(&now), "the terminal has other modes than before");
        let screen = self.screen.screen();
        ensure!(!screen.alternate_screen(), "the terminal still shows the other screen");
        ensure!(!screen.hide_cursor(), "the cursor is hidden");
        Ok(())
    }

    /// Closes it while rtrace runs.
    pub fn hang_up(&mut self) -> Result<()> {
        self.slave = File::open("/dev/null")?.into();
        self.master = File::open("/dev/null")?;
        Ok(())
    }

    pub fn ended(&mut self) -> Result<()> {
        let start = Instant::now();
        loop {
            self.read();
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "it ended with {status}");
                return Ok(());
            }
            ensure!(start.elapsed() < PATIENCE, "it did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// How a terminal takes what is typed.
fn modes(terminal: &OwnedFd) -> Result<libc::termios> {
    // SAFETY: a struct of plain integers; all zeroes is a value of it.
    let mut modes: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and the struct is written to during the call.
    let result = unsafe { libc::tcgetattr(terminal.as_raw_fd(), &mut modes) };
    ensure!(result == 0, "no modes of the terminal: {}", std::io::Error::last_os_error());
    Ok(modes)
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.state);
    }
}
