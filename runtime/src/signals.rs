//! Signals that end the tool, and timers, as descriptors that a loop can wait for. Never runs anything itself.
//! Unsafe: calls signalfd, eventfd, timerfd, poll and fork.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

fn owned(result: RawFd) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given this descriptor to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

const FOREVER: Duration = Duration::MAX;

/// What ends the tool in good order.
const ENDING: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// What a command of `-c` gets that was sent to the tool, and that ends neither by itself.
const PASSED_ON: [i32; 2] = [libc::SIGUSR1, libc::SIGUSR2];

/// The ending signals, but for SIGHUP where the tool was started to outlive its terminal, as nohup does.
fn ending() -> Vec<i32> {
    // SAFETY: only reads what is set, into a struct that is large enough.
    let outlives = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGHUP, std::ptr::null(), &mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    };
    ENDING.into_iter().filter(|number| *number != libc::SIGHUP || !outlives).collect()
}

/// Lets a signal pass without any effect, but for the probes of a script. Commands that are run have its usual effect.
pub fn take_no_notice(number: i32) {
    extern "C" fn nothing(_: i32) {}
    // SAFETY: the function does nothing at all.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(i32) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(number, &action, std::ptr::null_mut());
    }
}

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

    /// Gives up the descriptor, and leaves the signals blocked.
    fn into_fd(self) -> OwnedFd {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: the original is never dropped, and nothing else in it needs to be.
        unsafe { std::ptr::read(&raw const this.fd) }
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

/// A thread that takes the ending signals, so that they are noticed also while a session waits for who reads its output. From the
/// first one on a second one ends the process at once.
pub struct Listener {
    arrived: Arc<Arrived>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread tells.
struct Arrived {
    /// Readable from the first signal on.
    told: OwnedFd,
    /// Readable when the thread is to end.
    stop: OwnedFd,
    /// The signal that a process has sent to the tool.
    sent: AtomicI32,
}

impl Listener {
    /// `command`: a descriptor of the process of `-c`. `taken`: signals that the script has probes for.
    fn new(command: Option<OwnedFd>, taken: &[i32]) -> io::Result<Listener> {
        // SAFETY: plain system calls.
        let event = || owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) });
        let arrived = Arc::new(Arrived { told: event()?, stop: event()?, sent: AtomicI32::new(libc::SIGTERM) });
        let mut numbers = ending();
        if command.is_some() {
            numbers.extend(PASSED_ON);
        }
        numbers.retain(|number| !taken.contains(number));
        // The thread begins with all these blocked, as they are here from now on.
        block(taken);
        let fd = SignalWaiter::new(&numbers)?.into_fd();
        let telling = arrived.clone();
        let listen = move || listen(&telling, SignalWaiter { fd, set: set_of(&numbers) }, command);
        let thread = std::thread::Builder::new().name("signals".to_string()).spawn(listen)?;
        Ok(Listener { arrived, thread: Some(thread) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        add(&self.arrived.stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        unblock_ending();
    }
}

fn listen(arrived: &Arrived, waiter: SignalWaiter, command: Option<OwnedFd>) {
    while let Ok(ready) = wait(&[waiter.as_raw_fd(), arrived.stop.as_raw_fd()], FOREVER) {
        if ready[1] {
            // One that came while the session was ending anyway must not end the tool as well: dropping takes it.
            return;
        }
        if let Some((number, is_sent)) = waiter.take_info() {
            if let (Some(command), false) = (&command, ENDING.contains(&number)) {
                let (command, nothing) = (command.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
                // SAFETY: a descriptor of a process, which may have ended, and numbers.
                unsafe { libc::syscall(libc::SYS_pidfd_send_signal, command, number, nothing, 0) };
                continue;
            }
            // A terminal's Ctrl-C reaches the command without the tool.
            if is_sent {
                arrived.sent.store(number, Ordering::Release);
            }
            add(&arrived.told);
            break;
        }
    }
    unblock(&ENDING);
    let _ = wait(&[arrived.stop.as_raw_fd()], FOREVER);
}

/// Makes an eventfd readable.
fn add(event: &OwnedFd) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: the bytes are as long as said.
    unsafe {
        libc::write(event.as_raw_fd(), one.as_ptr().cast(), one.len());
    }
}

/// What ends a session.
pub enum Ending {
    /// SIGINT, SIGTERM or SIGHUP.
    Signals(Listener),
    Asked(Asked),
}

impl Ending {
    /// `command`: a descriptor of the process of `-c`. `taken`: signals that the script has probes for.
    pub fn by_signals(command: Option<OwnedFd>, taken: &[i32]) -> io::Result<Ending> {
        Ok(Ending::Signals(Listener::new(command, taken)?))
    }

    /// Becomes readable when the session may have to end.
    pub fn as_raw_fd(&self) -> RawFd {
        match self {
            Ending::Signals(listener) => listener.arrived.told.as_raw_fd(),
            Ending::Asked(asked) => asked.wakeups.as_raw_fd(),
        }
    }

    /// Leaves the first signal without effect until the process ends.
    pub fn keep_blocked(self) {
        std::mem::forget(self);
    }

    /// True if the session is to end.
    pub fn take(&self) -> bool {
        match self {
            Ending::Signals(listener) => {
                let mut count = [0u8; 8];
                // SAFETY: an eventfd gives 8 bytes.
                let read =
                    unsafe { libc::read(listener.arrived.told.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
                read == count.len() as isize
            }
            Ending::Asked(asked) => asked.is_ended.load(Ordering::Acquire),
        }
    }

    /// What ends the command of `-c`: the signal that a process has sent to the tool, or SIGTERM.
    pub fn pass_on(&self) -> i32 {
        match self {
            Ending::Signals(listener) => listener.arrived.sent.load(Ordering::Acquire),
            Ending::Asked(_) => libc::SIGTERM,
        }
    }
}

/// Leaves the ending signals to other threads.
pub fn block_ending() {
    block(&ENDING);
}

fn block(numbers: &[i32]) {
    let set = set_of(numbers);
    // SAFETY: the set is initialized.
    unsafe {
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
}

/// Lets the ending signals have their usual effect, in this process and those it starts.
pub fn unblock_ending() {
    unblock(&[&ENDING[..], &PASSED_ON].concat());
}

fn unblock(numbers: &[i32]) {
    let set = set_of(numbers);
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
    let milliseconds = if timeout == FOREVER { -1 } else { timeout.as_millis().try_into().unwrap_or(i32::MAX) };
    let mut polls: Vec<libc::pollfd> =
        fds.iter().map(|fd| libc::pollfd { fd: *fd, events: libc::POLLIN, revents: 0 }).collect();
    // SAFETY: the array is as long as said.
    let result = unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, milliseconds) };
    if result < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted { Ok(vec![false; fds.len()]) } else { Err(error) };
    }
    Ok(polls.iter().map(|poll| poll.revents != 0).collect())
}

/// Waits until one of some terminals is closed.
pub fn wait_for_hangup(terminals: &[RawFd]) {
    // That it is closed is told without being asked for.
    let mut polls: Vec<libc::pollfd> =
        terminals.iter().map(|fd| libc::pollfd { fd: *fd, events: 0, revents: 0 }).collect();
    // SAFETY: the array is as long as said.
    while unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, -1) } < 0
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
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
