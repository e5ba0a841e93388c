//! One QEMU: started, watched until its command ended, and never left behind.
//! It reports what happened; what a status means is for the caller to say.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::payload::Copy;
use crate::host_packages;
use crate::kernels::Kernel;
use crate::workspace;

/// What to run and where.
pub struct Guest {
    pub kernel: Kernel,
    /// The command and its arguments; it starts in /rtrace.
    pub command: Vec<String>,
    /// `NAME=VALUE` for the command.
    pub environment: Vec<String>,
    /// What else the guest gets.
    pub copies: Vec<Copy>,
    pub memory_mib: u32,
    pub cpus: u32,
    pub timeout: Duration,
    /// Show the console on standard error.
    pub verbose: bool,
    /// Bring the guest's programs up to date before.
    pub build: bool,
}

impl Guest {
    /// A guest of the usual size that runs one command.
    pub fn new(kernel: Kernel, command: &[&str]) -> Self {
        Self {
            kernel,
            command: command.iter().map(|word| word.to_string()).collect(),
            environment: Vec::new(),
            copies: Vec::new(),
            memory_mib: 1024,
            cpus: 2,
            timeout: Duration::from_secs(600),
            verbose: false,
            build: true,
        }
    }
}

/// How a guest ended whose command ran to its end.
#[derive(Debug)]
pub struct Report {
    /// The command's exit status; 128 and more for a signal, as a shell says it.
    pub status: u8,
    /// From the start of QEMU until the command started.
    pub ready_after: Duration,
    /// From the start of QEMU until it was gone.
    pub ended_after: Duration,
}

/// The files that QEMU is started with.
pub struct Boot {
    pub qemu: PathBuf,
    pub kernel: PathBuf,
    pub disk: PathBuf,
    pub directory: PathBuf,
}

/// A guest that dies before its command started has done nothing yet, so it may try again.
const BOOT_ATTEMPTS: u32 = 3;

/// How often files that QEMU writes are looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How many lines of the console an error shows.
const CONSOLE_LINES: usize = 40;

static RUNS: AtomicU32 = AtomicU32::new(0);

/// A new directory for one run; those that dead processes left are removed first.
pub fn run_directory() -> Result<PathBuf> {
    let runs = workspace::guests().join("runs");
    workspace::create_directory(&runs)?;
    for entry in fs::read_dir(&runs)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            // Another task may be removing it at the same time.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let directory = runs.join(format!("{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed)));
    workspace::create_empty_directory(&directory)?;
    Ok(directory)
}

/// Boots the guest and stays until it is gone.
pub fn boot(guest: &Guest, boot: &Boot, output: &mut (dyn Write + Send)) -> Result<Report> {
    let mut attempt = 1;
    loop {
        match boot_once(guest, boot, output)? {
            Outcome::Ended(report) => return Ok(report),
            Outcome::Failed { error, command_started } if command_started || attempt == BOOT_ATTEMPTS => {
                return Err(error);
            }
            Outcome::Failed { .. } => {
                eprintln!("note: the guest with kernel {} died while booting; trying again", guest.kernel.version);
                attempt += 1;
            }
        }
    }
}

enum Outcome {
    Ended(Report),
    Failed { error: anyhow::Error, command_started: bool },
}

fn boot_once(guest: &Guest, boot: &Boot, output: &mut (dyn Write + Send)) -> Result<Outcome> {
    let console = boot.directory.join("console");
    let control = boot.directory.join("control");
    for file in [&console, &control] {
        fs::write(file, "").with_context(|| format!("cannot write {}", file.display()))?;
    }
    let started = Instant::now();
    let mut child = qemu_command(guest, boot, &console, &control).spawn().context("cannot start QEMU")?;
    let mut port = child.stdout.take().context("QEMU has no standard output")?;
    let mut ready_after = None;
    let mut in_time = true;
    let status = thread::scope(|scope| {
        // Writing may block for as long as the reader of our output likes: the watch for the time limit goes on.
        let copier = scope.spawn(move || copy_output(&mut port, output));
        let mut shown = 0;
        let status = loop {
            if guest.verbose {
                shown = show_console(&console, shown);
            }
            if ready_after.is_none() && read_text(&control).starts_with("ready") {
                ready_after = Some(started.elapsed());
            }
            match child.try_wait() {
                Ok(Some(status)) => break Ok(status),
                Ok(None) => {}
                Err(error) => break Err(error),
            }
            if started.elapsed() > guest.timeout {
                in_time = false;
                break stop(&mut child);
            }
            thread::sleep(POLL_INTERVAL);
        };
        if guest.verbose {
            show_console(&console, shown);
        }
        match copier.join() {
            Ok(copied) => copied?,
            Err(_) => bail!("the reader of the guest's output panicked"),
        }
        status.context("cannot wait for QEMU")
    })?;
    let said = read_text(&control);
    let command_status = said.lines().find_map(|line| line.strip_prefix("status ")?.trim().parse().ok());
    if let Some(command_status) = command_status {
        let ended_after = started.elapsed();
        let ready_after = ready_after.unwrap_or(ended_after);
        return Ok(Outcome::Ended(Report { status: command_status, ready_after, ended_after }));
    }
    let command_started = said.starts_with("ready");
    let reason = if !in_time {
        format!("the time limit of {} s ran out (--timeout)", guest.timeout.as_secs())
    } else if !status.success() {
        format!("QEMU ended with {status}")
    } else if command_started {
        "it died while the command ran".to_string()
    } else {
        "it died before the command started".to_string()
    };
    let tail = tail(&read_text(&console));
    let error = anyhow!("the guest with kernel {} gave no exit status: {reason}\n{tail}", guest.kernel.version);
    // A second try would only take as long again.
    Ok(Outcome::Failed { error, command_started: command_started || !in_time })
}

fn qemu_command(guest: &Guest, boot: &Boot, console: &Path, control: &Path) -> Command {
    // setpriv: should this process be killed, QEMU goes too.
    let mut command = Command::new(host_packages::path_of("setpriv"));
    command.args(["--pdeathsig", "KILL"]).arg(&boot.qemu);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    if let Some(root) = boot.qemu.parent().map(|directory| directory.join("root")) {
        // Private QEMU: its firmware is beside it.
        for directory in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(root.join(directory));
        }
    }
    command.args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", CPU]);
    command.args(["-smp", &guest.cpus.to_string(), "-m", &guest.memory_mib.to_string()]);
    command.arg("-kernel").arg(&boot.kernel).args(["-append", KERNEL_COMMAND_LINE]);
    command.arg("-drive").arg(format!("if=none,id=root,format=raw,cache=unsafe,file={}", option_path(&boot.disk)));
    command.args(["-device", "nvme,serial=root,drive=root"]);
    // The first serial port is the console, the second the command's output, the third says ready and status.
    command.arg("-chardev").arg(format!("file,id=console,path={}", option_path(console)));
    command.args(["-serial", "chardev:console"]);
    command.args(["-chardev", "stdio,id=output,signal=off", "-serial", "chardev:output"]);
    command.arg("-chardev").arg(format!("file,id=control,path={}", option_path(control)));
    command.args(["-serial", "chardev:control"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// Without -cx16 kernels die at random: emulated cmpxchg16b is not atomic. Without -la57 they would have five-level page
/// tables, which hardly any host has. Strings of bytes (-erms) are emulated a byte at a time and wide vectors by calls:
/// without them the kernel and libc copy by words, and a guest compiles and loads a script in less than half the time.
const CPU: &str = "max,-cx16,-la57,-erms,-fsrm,-avx,-avx2,-fma,-f16c,-vaes,-vpclmulqdq";

/// `panic=-1` with -no-reboot ends QEMU at once. Mitigations stay on: the verifier is laxer without them.
const KERNEL_COMMAND_LINE: &str = "root=/dev/nvme0n1 rootfstype=ext4 rw init=/init console=ttyS0 quiet loglevel=3 \
                                   panic=-1 oops=panic random.trust_cpu=on";

/// A comma ends an option of QEMU unless it is doubled.
fn option_path(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

fn copy_output(port: &mut impl Read, output: &mut (dyn Write + Send)) -> Result<()> {
    let mut buffer = [0; 65536];
    loop {
        let length = port.read(&mut buffer).context("cannot read the guest's output")?;
        if length == 0 {
            return Ok(());
        }
        let written = output.write_all(&buffer[..length]).and_then(|()| output.flush());
        // The reader went away, as `| head` does: the command still runs to its end.
        if written.is_err() {
            std::io::copy(port, &mut std::io::sink())?;
            return Ok(());
        }
    }
}

fn stop(child: &mut Child) -> std::io::Result<std::process::ExitStatus> {
    child.kill()?;
    child.wait()
}

/// Copies what is new on the console to standard error; gives how much has been shown by now.
fn show_console(console: &Path, shown: u64) -> u64 {
    let mut text = Vec::new();
    let read = fs::File::open(console).and_then(|mut file| {
        file.seek(SeekFrom::Start(shown))?;
        file.read_to_end(&mut text)
    });
    match read.and_then(|length| std::io::stderr().write_all(&text).map(|()| length)) {
        Ok(length) => shown + length as u64,
        Err(_) => shown,
    }
}

fn read_text(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The end of the console, each line set off from our own words.
fn tail(console: &str) -> String {
    let lines: Vec<&str> = console.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return "  the console is empty".to_string();
    }
    let first = lines.len().saturating_sub(CONSOLE_LINES);
    let shown: Vec<String> = lines[first..].iter().map(|line| format!("  | {line}")).collect();
    format!("  the end of its console:\n{}", shown.join("\n"))
}
