//! Modules of the kernel, in guests: loading them, and what becomes of a script whose module is unloaded.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::child::Child;
use crate::environment::Programs;

/// The module that cases trace, and that stays loaded.
pub const KEPT: &str = "tun";
/// The one that is unloaded, what it needs where that is a module too, the file that opens it, and the function that
/// this calls.
const UNLOADED: &str = "cuse";
const NEEDED: &str = "fuse";
const DEVICE: &str = "/dev/cuse";
const FUNCTION: &str = "cuse_channel_open";

/// Where guests have their modules.
const DIRECTORY: &str = "/lib/modules";

/// The kernel's answer may come a little later than what held the module has gone.
const PATIENCE: Duration = Duration::from_secs(10);

fn file(module: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{module}.ko"))
}

fn is_loaded(module: &str) -> bool {
    Path::new("/sys/module").join(module).join("refcnt").exists()
}

/// Tests run side by side, and load and unload the same modules.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Loads it, unless that is done.
pub fn load(module: &str) -> Result<()> {
    let _lock = ONE_AT_A_TIME.lock();
    insert(module)
}

fn insert(module: &str) -> Result<()> {
    if is_loaded(module) {
        return Ok(());
    }
    let file = file(module);
    if !file.exists() {
        bail!("there is no {}", file.display());
    }
    let status = Command::new("insmod").arg(&file).status().context("cannot run insmod")?;
    if status.success() { Ok(()) } else { bail!("insmod {} failed with {status}", file.display()) }
}

/// Whether the kernel lets it go.
fn unload(module: &str) -> Result<bool> {
    Ok(Command::new("rmmod").arg(module).output().context("cannot run rmmod")?.status.success())
}

fn open_device(programs: &Programs, times: u32, deadline: Instant) -> Result<()> {
    let mut command = Command::new(programs.workloads.join("workload"));
    let ended = Child::start(command.args(["opens", &times.to_string(), DEVICE]), deadline)?.finish()?;
    if ended.status.success() { Ok(()) } else { bail!("the workload ended with {}", ended.status) }
}

/// Takes the module away below a script. A kprobe is gone then, which is told; fentry keeps the module.
pub fn check_unloaded(programs: &Programs, provider: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let _lock = ONE_AT_A_TIME.lock();
    if file(NEEDED).exists() {
        insert(NEEDED)?;
    }
    insert(UNLOADED)?;
    let script = format!("{provider}:{UNLOADED}:{FUNCTION} {{ @ = count(); }}");
    let child = Child::start(Command::new(&programs.rtrace).arg("-e").arg(script), deadline)?;
    child.await_error("Attached ")?.context("it did not attach")?;
    open_device(programs, 5, deadline)?;
    let keeps = provider == "fentry";
    if unload(UNLOADED)? == keeps {
        bail!("the module should {}", if keeps { "stay while fentry is attached" } else { "go below a kprobe" });
    }
    let expected = if keeps {
        open_device(programs, 3, deadline)?;
        "@: 8"
    } else {
        let message = format!("warning: the module {UNLOADED} was unloaded: its probe is gone");
        child.await_error(&message)?.context("it does not say that the module was unloaded")?;
        insert(UNLOADED)?;
        open_device(programs, 3, deadline)?;
        "@: 5"
    };
    child.signal(libc::SIGINT);
    let ended = child.finish()?;
    let output = String::from_utf8_lossy(&ended.output);
    if !ended.status.success() || output.trim() != expected {
        bail!("it ended with {} and printed {output} instead of {expected}", ended.status);
    }
    let gone_by = Instant::now() + PATIENCE;
    while is_loaded(UNLOADED) && !unload(UNLOADED)? {
        if Instant::now() > gone_by {
            bail!("something still holds the module");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
