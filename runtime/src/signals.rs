//! Signals that end the tool, and timers, as descriptors that a loop can wait for. Never runs anything itself.
//! Unsafe: calls signalfd, timerfd, poll and fork.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn owned(result: RawFd) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given this descriptor to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

/// What ends the tool in good order.
const ENDING: [i32; 2] = [libc::SIGINT, libc::SIGTERM];

fn set_of(numbers: &[i32]) -> libc::sigset_t {
    // SAFETY: sigemptyset initializes the set; the other calls only write to it.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for number in numbers {
            libc::sigaddset(&mut set, *number);
        }
        set
    }
}

/// Becomes readable when one of some signals arrives, which then has no other effect on the tool.
pub struct SignalWaiter {
    fd: OwnedFd,
    set: libc::sigset_t,
}

impl SignalWaiter {
    pub fn new(numbers: &[i32]) -> io::Result<SignalWaiter> {
        let set = set_of(numbers);
        // SAFETY: the set is initialized and outlives both calls.
        let fd = unsafe {
            libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        Ok(SignalWaiter { fd: owned(fd)?, set })
    }

    pub fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// True if a signal has arrived.
    pub fn take(&self) -> bool {
        self.take_info().is_some()
    }

    /// The number of a signal that has arrived, and whether a process has sent it: not the terminal.
    fn take_info(&self) -> Option<(i32, bool)> {
        // SAFETY: a struct of plain integers; all zeroes is a value of it.
        let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let bytes = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the struct is as long as said.
        let read = unsafe { libc::read(self.fd.as_raw_fd(), (&raw mut info).cast(), bytes) };
        (read > 0).then_some((info.ssi_signo as i32, info.ssi_code <= 0))
    }

    /// Gives the next one its usual effect.
    fn unblock(&self) {
        // SAFETY: the set is initialized.
        unsafe {
            libc::sigprocmask(libc::SIG_UNBLOCK, &self.set, std::ptr::null_mut());
        }
    }
}

impl Drop for SignalWaiter {
    fn drop(&mut self) {
        // One that came while the session was ending anyway must not end the tool as well.
        self.take();
        self.unblock();
    }
}

/// Another thread that may end a session. Its bytes are read by who answers it.
pub struct Asked {
    pub wakeups: UnixStream,
    pub is_ended: Arc<AtomicBool>,
}

/// What ends a session.
pub enum Ending {
    /// SIGINT or SIGTERM. From then on a second one ends the process at once.
    Signals {
        waiter: SignalWaiter,
        /// The signal that a process has sent to the tool.
        sent: Cell<i32>,
    },
    Asked(Asked),
}

impl Ending {
    pub fn by_signals() -> io::Result<Ending> {
        Ok(Ending::Signals { waiter: SignalWaiter::new(&ENDING)?, sent: Cell::new(libc::SIGTERM) })
    }

    /// Becomes readable when the session may have to end.
    pub fn as_raw_fd(&self) -> RawFd {
        match self {
            Ending::Signals { waiter, sent: _ } => waiter.as_raw_fd(),
            Ending::Asked(asked) => asked.wakeups.as_raw_fd(),
        }
    }

    /// Leaves the signals without effect until the process ends, unless one has arrived before.
    pub fn keep_blocked(self) {
        std::mem::forget(self);
    }

    /// True if the session is to end. Gives the next signal its usual effect.
    pub fn take(&self) -> bool {
        match self {
            Ending::Signals { waiter, sent } => {
                let arrived = waiter.take_info();
                if let Some((number, is_sent)) = arrived {
                    waiter.unblock();
                    // A terminal's Ctrl-C reaches the command without the tool.
                    if is_sent {
                        sent.set(number);
                    }
                }
                arrived.is_some()
            }
            Ending::Asked(asked) => asked.is_ended.load(Ordering::Acquire),
        }
    }

    /// What ends the command of `-c`: the signal that a process has sent to the tool, or SIGTERM.
    pub fn pass_on(&self) -> i32 {
        match self {
            Ending::Signals { waiter: _, sent } => sent.get(),
            Ending::Asked(_) => libc::SIGTERM,
        }
    }
}

/// Leaves the ending signals to other threads.
pub fn block_ending() {
    let set = set_of(&ENDING);
    // SAFETY: the set is initialized.
    unsafe {
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
}

/// Lets the ending signals have their usual effect, in this process and those it starts.
pub fn unblock_ending() {
    let set = set_of(&ENDING);
    // SAFETY: the set is initialized.
    unsafe {
        libc::sigprocmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
    }
}

/// Ctrl-C while a tool waits for something, which it then no longer does.
pub struct Interrupt(Option<SignalWaiter>);

impl Interrupt {
    /// Takes Ctrl-C from here on. Without a descriptor to be had it has its usual effect.
    pub fn awaited() -> Interrupt {
        Interrupt(SignalWaiter::new(&[libc::SIGINT]).ok())
    }

    /// Waits so long; true if Ctrl-C has come meanwhile.
    pub fn within(&self, time: Duration) -> bool {
        match &self.0 {
            Some(waiter) => wait(&[waiter.as_raw_fd()], time).is_ok_and(|ready| ready[0]) && waiter.take(),
            None => {
                std::thread::sleep(time);
                false
            }
        }
    }
}

/// A timer that becomes readable every `period`.
pub struct Timer {
    fd: OwnedFd,
}

impl Timer {
    pub fn new(period: Duration) -> io::Result<Timer> {
        // SAFETY: plain system calls; the specification outlives the call.
        let fd = owned(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) })?;
        let time = libc::timespec { tv_sec: period.as_secs() as i64, tv_nsec: i64::from(period.subsec_nanos()) };
        let specification = libc::itimerspec { it_interval: time, it_value: time };
        // SAFETY: as above.
        if unsafe { libc::timerfd_settime(fd.as_raw_fd(), 0, &specification, std::ptr::null_mut()) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Timer { fd })
    }

    pub fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// How often the period has passed since the last call.
    pub fn take(&self) -> u64 {
        let mut count = [0u8; 8];
        // SAFETY: a timer gives 8 bytes.
        let read = unsafe { libc::read(self.fd.as_raw_fd(), count.as_mut_ptr().cast(), 8) };
        if read == 8 { u64::from_ne_bytes(count) } else { 0 }
    }
}

/// Becomes readable when the process ends.
pub fn process_fd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: a plain system call.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
    owned(fd as RawFd)
}

/// Waits until one of the descriptors is readable, at most that long; gives which are.
pub fn wait(fds: &[RawFd], timeout: Duration) -> io::Result<Vec<bool>> {
    let mut polls: Vec<libc::pollfd> =
        fds.iter().map(|fd| libc::pollfd { fd: *fd, events: libc::POLLIN, revents: 0 }).collect();
    // SAFETY: the array is as long as said.
    let result = unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, timeout.as_millis() as i32) };
    if result < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted { Ok(vec![false; fds.len()]) } else { Err(error) };
    }
    Ok(polls.iter().map(|poll| poll.revents != 0).collect())
}

/// Keeps attachments whose end takes long away from the caller: a child process holds them and lets them go.
pub fn close_elsewhere(fds: &[BorrowedFd<'_>]) -> bool {
    if fds.is_empty() {
        return true;
    }
    // SAFETY: whatever other threads hold, the child needs none of it: it calls only setsid, close and _exit.
    unsafe {
        match libc::fork() {
            0 => {
                libc::setsid();
                for fd in 0..3 {
                    libc::close(fd);
                }
                libc::_exit(0)
            }
            -1 => false,
            _ => true,
        }
    }
}
