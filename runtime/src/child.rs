//! The command of `-c`: started, held before it runs, let go when probes are attached, watched, ended. Knows no probe.
//! Unsafe: forks and executes.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::Duration;

use crate::signals;

/// Why a command could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    #[error("the command is empty")]
    Empty,
    #[error("the command has an open quote")]
    Quote,
    #[error("cannot find `{0}` on the PATH")]
    NotFound(String),
    #[error("{0}: {1}")]
    Call(&'static str, io::Error),
}

/// A process that waits to run the command.
pub struct Child {
    pub pid: u32,
    /// What it will run.
    pub program: PathBuf,
    gate: Option<OwnedFd>,
    process: OwnedFd,
    status: Option<i32>,
    is_asked: bool,
    /// The signal that has ended it, of itself.
    pub ended_by: Option<i32>,
}

impl Child {
    /// Forks a process that will run the command when `go` is called. Its descriptors are the tool's own.
    pub fn hold(command: &str) -> Result<Child, ChildError> {
        let words = split(command)?;
        let program = find(words.first().ok_or(ChildError::Empty)?)?;
        let path = PathBuf::from(&program);
        let program = CString::new(program).map_err(|_| ChildError::Quote)?;
        let words: Vec<CString> =
            words.into_iter().map(CString::new).collect::<Result<_, _>>().map_err(|_| ChildError::Quote)?;
        let mut arguments: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
        arguments.push(std::ptr::null());
        let mut pipe = [0 as RawFd; 2];
        // SAFETY: the array has room for two descriptors.
        if unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
            return Err(ChildError::Call("pipe2", io::Error::last_os_error()));
        }
        // SAFETY: the tool has one thread, and everything that the child touches was made before the fork.
        match unsafe { libc::fork() } {
            -1 => Err(ChildError::Call("fork", io::Error::last_os_error())),
            0 => {
                signals::unblock_ending();
                let mut byte = 0u8;
                // SAFETY: the child runs nothing but these calls; execv takes the NUL-terminated arguments above.
                unsafe {
                    libc::close(pipe[1]);
                    libc::signal(libc::SIGPIPE, libc::SIG_DFL);
                    if libc::read(pipe[0], (&raw mut byte).cast(), 1) == 1 {
                        libc::execv(program.as_ptr(), arguments.as_ptr());
                    }
                    libc::_exit(127)
                }
            }
            pid => {
                // SAFETY: both descriptors came from pipe2; the child has its own copies.
                let (read, write) = unsafe { (OwnedFd::from_raw_fd(pipe[0]), OwnedFd::from_raw_fd(pipe[1])) };
                drop(read);
                let process = signals::process_fd(pid as u32).map_err(|error| ChildError::Call("pidfd_open", error))?;
                Ok(Child {
                    pid: pid as u32,
                    program: path,
                    gate: Some(write),
                    process,
                    status: None,
                    is_asked: false,
                    ended_by: None,
                })
            }
        }
    }

    /// Lets the command run.
    pub fn go(&mut self) {
        if let Some(gate) = self.gate.take() {
            // SAFETY: one byte from a live buffer.
            unsafe { libc::write(gate.as_raw_fd(), [1u8].as_ptr().cast(), 1) };
        }
    }

    /// Readable when the command has ended.
    pub fn as_raw_fd(&self) -> RawFd {
        self.process.as_raw_fd()
    }

    /// The same, for another owner.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.process.try_clone()
    }

    /// Asks the command to end, if it still runs: once.
    pub fn ask_to_end(&mut self, signal: i32) {
        self.gate = None;
        let has_ended = || signals::wait(&[self.as_raw_fd()], Duration::ZERO).is_ok_and(|ready| ready[0]);
        if self.status.is_none() && !self.is_asked && !has_ended() {
            self.is_asked = true;
            // SAFETY: two numbers; the child is ours and not waited for yet, so the id is its own. One that has ended stays
            // as it is.
            unsafe { libc::kill(self.pid as i32, signal) };
        }
    }

    /// Waits for the end of the command, which is asked for if it still runs. Gives its status as a shell does: its exit
    /// code, or 128 and the signal.
    pub fn finish(&mut self) -> i32 {
        if let Some(status) = self.status {
            return status;
        }
        self.ask_to_end(libc::SIGTERM);
        let mut status = 0;
        // SAFETY: a plain call on our own child; the status outlives it.
        unsafe { libc::waitpid(self.pid as i32, &mut status, 0) };
        let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
        self.ended_by = (libc::WIFSIGNALED(status) && !self.is_asked).then(|| libc::WTERMSIG(status));
        self.status = Some(code);
        code
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Words as a shell splits them: single and double quotes, and backslashes.
fn split(command: &str) -> Result<Vec<String>, ChildError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = command.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (_, '\\') => word.get_or_insert_default().extend(characters.next()),
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(ChildError::Quote);
    }
    words.extend(word);
    Ok(words)
}

/// A word that only a shell gives a meaning to: the command is not run by one.
pub fn word_of_a_shell(command: &str) -> Option<&str> {
    let is_one = |word: &&str| {
        let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
        rest.starts_with(['|', '>', '<', '&']) || rest == ";" || *word == "cd" || word.ends_with(';')
    };
    // What is in quotes is the program's own.
    command.split(['\'', '"']).step_by(2).flat_map(str::split_whitespace).find(is_one)
}

/// The program's path: as it is with a slash, else the first on the PATH.
fn find(name: &str) -> Result<String, ChildError> {
    let runs = |path: &std::path::Path| {
        use std::os::unix::fs::PermissionsExt;
        path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return if runs(std::path::Path::new(name)) {
            Ok(name.to_string())
        } else {
            Err(ChildError::NotFound(name.to_string()))
        };
    }
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_string());
    path.split(':')
        .map(|directory| std::path::Path::new(directory).join(name))
        .find(|candidate| runs(candidate))
        .map(|found| found.to_string_lossy().into_owned())
        .ok_or_else(|| ChildError::NotFound(name.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_as_a_shell_splits_them() {
        let words = |text: &str| split(text).expect("closed quotes");
        assert_eq!(words("a 'b c' \"d e\" f\\ g"), ["a", "b c", "d e", "f g"]);
        assert_eq!(words("  ''  "), [""]);
        assert!(split("'a").is_err());
    }

    #[test]
    fn words_that_take_a_shell() {
        for (command, word) in [
            ("ls | head", Some("|")),
            ("ls 2>&1", Some("2>&1")),
            ("a && b", Some("&&")),
            ("cd /tmp; ls", Some("cd")),
            ("sleep 1; ls", Some("1;")),
            ("sh -c 'ls | head'", None),
            ("grep \"a | b\" x", None),
            ("workload calls 3", None),
        ] {
            assert_eq!(word_of_a_shell(command), word, "{command}");
        }
    }
}
