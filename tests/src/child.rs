//! A child process whose output is collected while it runs, with a deadline. It is ended by its id at the latest when
//! this value is dropped; no other process is ever touched.
//!
//! Unsafe: kill(2) on the child's own id, for signals that the standard library does not send; signal(2) in the child.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child as Process, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a child may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(5);
/// How often a child that should end is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// A running program.
pub struct Child {
    name: String,
    process: Process,
    input: Option<ChildStdin>,
    output: Stream,
    errors: Stream,
    deadline: Instant,
}

/// What a stream has given so far.
#[derive(Default)]
struct Collected {
    lines: Mutex<(Vec<u8>, bool)>,
    changed: Condvar,
}

struct Stream {
    collected: Arc<Collected>,
    reader: Option<JoinHandle<()>>,
}

/// How a child ended.
pub struct Ended {
    pub status: ExitStatus,
    pub output: Vec<u8>,
    pub errors: Vec<u8>,
}

impl Child {
    /// Starts a program; it may run until `deadline`.
    pub fn start(command: &mut Command, deadline: Instant) -> Result<Child> {
        let name = command.get_program().to_string_lossy().into_owned();
        // A shell that runs the tests in the background has them ignore SIGINT, nohup SIGHUP, and what they start as well.
        // SAFETY: the calls may be made between fork and exec.
        unsafe {
            command.pre_exec(|| {
                for signal in [libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
                    libc::signal(signal, libc::SIG_DFL);
                }
                Ok(())
            });
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let input = process.stdin.take();
        let output = Stream::collect(process.stdout.take().context("no pipe for the output")?);
        let errors = Stream::collect(process.stderr.take().context("no pipe for the errors")?);
        Ok(Child { name, process, input, output, errors, deadline })
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Writes a line to its standard input.
    pub fn send_line(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("its input is closed")?;
        input.write_all(format!("{line}\n").as_bytes()).with_context(|| format!("{} reads no line", self.name))
    }

    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// Waits for a line of its output that begins so, and gives the whole line.
    pub fn await_output(&self, start: &str) -> Result<String> {
        self.output.await_line(start, self.deadline)?.with_context(|| {
            format!("{} ended without a line `{start}...`; it wrote: {}", self.name, self.errors.text())
        })
    }

    /// Waits for a line of its output that begins so; None if the child ends without.
    pub fn await_output_or_end(&self, start: &str) -> Result<Option<String>> {
        self.output.await_line(start, self.deadline)
    }

    /// Waits for a line on stderr that begins so; None if the child ends without.
    pub fn await_error(&self, start: &str) -> Result<Option<String>> {
        self.errors.await_line(start, self.deadline)
    }

    /// Sends a signal to it.
    pub fn signal(&self, number: i32) {
        // SAFETY: kill takes two numbers. The child is ours and not yet waited for, so its id is still its own.
        unsafe { libc::kill(self.process.id() as i32, number) };
    }

    /// How it has ended, if it has or does so now.
    pub fn status(&mut self) -> Option<ExitStatus> {
        let patience = Instant::now() + GRACE;
        while Instant::now() < patience {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Some(status);
            }
            std::thread::sleep(LOOK);
        }
        None
    }

    /// Waits for its end; past the deadline it is ended, and that is an error.
    pub fn finish(mut self) -> Result<Ended> {
        self.input = None;
        let status = loop {
            if let Some(status) = self.process.try_wait().context("cannot wait")? {
                break status;
            }
            if Instant::now() >= self.deadline {
                self.end();
                bail!(
                    "{} ran out of time and was ended\nits output: {}\nits errors: {}",
                    self.name,
                    self.output.text(),
                    self.errors.text()
                );
            }
            std::thread::sleep(LOOK);
        };
        let output = self.output.join(self.deadline);
        let errors = self.errors.join(self.deadline);
        Ok(Ended { status, output, errors })
    }

    /// Ends it: asks first, so that it can detach what it has attached.
    fn end(&mut self) {
        if let Ok(Some(_)) = self.process.try_wait() {
            return;
        }
        self.signal(libc::SIGTERM);
        if self.status().is_some() {
            return;
        }
        // Nothing can be done about a child that even this does not end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}

impl Stream {
    fn collect(source: impl Read + Send + 'static) -> Stream {
        let collected = Arc::new(Collected::default());
        let into = collected.clone();
        let reader = std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            loop {
                let count = match source.fill_buf() {
                    Ok(bytes) => {
                        into.lines.lock().expect("no holder panics").0.extend_from_slice(bytes);
                        bytes.len()
                    }
                    Err(_) => 0,
                };
                source.consume(count);
                if count == 0 {
                    into.lines.lock().expect("no holder panics").1 = true;
                }
                into.changed.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        Stream { collected, reader: Some(reader) }
    }

    /// The first whole line that begins so; None at the end of the stream, an error past the deadline.
    fn await_line(&self, start: &str, deadline: Instant) -> Result<Option<String>> {
        let mut held = self.collected.lines.lock().expect("no holder panics");
        loop {
            let text = String::from_utf8_lossy(&held.0);
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            if let Some(line) = whole.lines().find(|line| line.starts_with(start)) {
                return Ok(Some(line.to_string()));
            }
            if held.1 {
                return Ok(None);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("no line `{start}...` in time, but: {text}");
            }
            held = self.collected.changed.wait_timeout(held, left).expect("no holder panics").0;
        }
    }

    /// Everything, once the stream is at its end. A process that the child has left behind may hold it open: then what
    /// came until the deadline.
    fn join(&mut self, deadline: Instant) -> Vec<u8> {
        let mut held = self.collected.lines.lock().expect("no holder panics");
        while !held.1 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            held = self.collected.changed.wait_timeout(held, left).expect("no holder panics").0;
        }
        if held.1 {
            drop(self.reader.take());
        }
        std::mem::take(&mut held.0)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.collected.lines.lock().expect("no holder panics").0).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn lines_are_awaited_and_everything_is_collected() {
        let mut command = Command::new("cat");
        let mut child = Child::start(&mut command, soon()).expect("cat starts");
        child.send_line("one").expect("cat reads");
        assert_eq!(child.await_output("on").expect("a line"), "one");
        child.send_line("two").expect("cat reads");
        let ended = child.finish().expect("cat ends with its input");
        assert_eq!((ended.output, ended.status.code()), (b"one\ntwo\n".to_vec(), Some(0)));
    }

    #[test]
    fn the_deadline_ends_a_child() {
        let mut command = Command::new("sleep");
        command.arg("1000");
        let child = Child::start(&mut command, Instant::now() + Duration::from_millis(50)).expect("sleep starts");
        let pid = child.pid();
        assert!(child.finish().is_err());
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}
