//! Whether a run leaves something in the kernel, and what becomes of it when its program is replaced. Looks for one map by its name, which no other process uses, so that
//! it is right on a machine where others trace too.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rtrace_probes::elf::Binary;

use crate::child::Child;
use crate::directives::{Workload, WorkloadMode};
use crate::environment::Programs;
use crate::workload;

/// The kernel takes up to 130 ms for each attachment to go, in a process that outlives the tool.
const PATIENCE: Duration = Duration::from_secs(10);

/// Files in which probes that outlive their makers are listed.
const EVENT_LISTS: &[&str] = &["/sys/kernel/tracing/uprobe_events", "/sys/kernel/tracing/kprobe_events"];

/// Runs a script of several kinds of probes, sees that it is in the kernel, ends it with `signal`, and waits until
/// nothing of it is there any more.
pub fn check(programs: &Programs, signal: i32) -> Result<()> {
    let name = format!("l{}_{signal}", std::process::id());
    let script = format!(
        "uprobe:workload:workload_call, uretprobe:workload:workload_call, software:page-faults:1, \
         tracepoint:syscalls:sys_enter_getppid, tracepoint:sched:sched_switch {{ @{name}[probe] = count(); }}"
    );
    let listed = event_lists();
    let deadline = Instant::now() + Duration::from_secs(60);
    let wanted = Workload {
        mode: WorkloadMode::Process,
        program: "workload".into(),
        arguments: vec!["calls".into(), "3".into()],
    };
    let mut waiting = workload::start(&wanted, programs, deadline)?;
    let mut command = Command::new(&programs.rtrace);
    command.env("PATH", &programs.workloads).args(["-p", &waiting.pid.to_string(), "-e", &script]);
    let child = Child::start(&mut command, deadline)?;
    child.await_error("Attached ")?.context("it did not attach")?;
    waiting.go()?;
    let (maps, used_by) = in_kernel(&name)?;
    if maps.is_empty() || used_by.is_empty() {
        bail!("the map and the programs of a running script are not seen, so this test could not fail");
    }
    child.signal(signal);
    let ended = child.finish()?;
    let gone_by = Instant::now() + PATIENCE;
    loop {
        let (maps, programs) = in_kernel(&name)?;
        if maps.is_empty() && programs.is_empty() {
            break;
        }
        if Instant::now() > gone_by {
            bail!(
                "{} s after its end ({}) the maps {maps:?} and the programs {programs:?} are still there",
                PATIENCE.as_secs(),
                ended.status
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    waiting.finish()?;
    let left: Vec<String> = event_lists().difference(&listed).filter(|line| line.contains("rtrace")).cloned().collect();
    if !left.is_empty() {
        bail!("probes are left behind: {left:?}");
    }
    Ok(())
}

/// Signals at every moment of a run: while it compiles, loads, attaches, runs and ends, the second one on the heels of the first.
/// It ends at once, by the signal or by itself, without a panic, and nothing of it stays.
pub fn check_any_time(programs: &Programs) -> Result<()> {
    let name = format!("m{}", std::process::id());
    let script = format!(
        "uprobe:workload:workload_call, software:page-faults:1, tracepoint:syscalls:sys_enter_getppid \
         {{ @{name}[probe] = count(); }} interval:ms:1 {{ @ticks++; printf(\"%d\\n\", @ticks); }} END {{ print(@{name}); }}"
    );
    let signals = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE, libc::SIGQUIT, libc::SIGKILL];
    for signal in signals {
        for delay in (0..30).step_by(3) {
            let mut command = Command::new(&programs.rtrace);
            command.env("PATH", &programs.workloads).args(["-p", &std::process::id().to_string(), "-e", &script]);
            let child = Child::start(&mut command, Instant::now() + PATIENCE)?;
            std::thread::sleep(Duration::from_millis(delay));
            child.signal(signal);
            // SIGPIPE is passed over: a write tells that nobody reads.
            if delay % 2 == 1 || signal == libc::SIGPIPE {
                child.signal(libc::SIGINT);
            }
            let ended = child.finish().with_context(|| format!("signal {signal} after {delay} ms"))?;
            let errors = String::from_utf8_lossy(&ended.errors);
            if errors.contains("panicked") || ended.status.code().is_some_and(|code| code != 0) {
                bail!("sent signal {signal} after {delay} ms it ended with {}: {errors}", ended.status);
            }
        }
    }
    let gone_by = Instant::now() + PATIENCE;
    while in_kernel(&name)? != (BTreeSet::new(), BTreeSet::new()) {
        if Instant::now() > gone_by {
            bail!("something is still in the kernel: {:?}", in_kernel(&name)?);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// The counter that the workload `usdt` looks at before it fires one of its probes.
const SEMAPHORE: &str = "workload_gated_semaphore";

/// Attaches to a probe that has a semaphore, sees that it is raised, ends rtrace with `signal`, and waits until the
/// semaphore is lowered again, in the same process.
pub fn check_semaphore(programs: &Programs, signal: i32) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let wanted = Workload {
        mode: WorkloadMode::Process,
        program: "workload".into(),
        arguments: vec!["usdt".into(), "3".into()],
    };
    let waiting = workload::start(&wanted, programs, deadline)?;
    let program = programs.workloads.join("workload");
    let address = Binary::open(&program)?.symbol(SEMAPHORE).context("the workload has no semaphore")?.address;
    let raised = || -> Result<u16> {
        let mut bytes = [0; 2];
        let memory = format!("/proc/{}/mem", waiting.pid);
        let file = File::open(&memory).with_context(|| format!("cannot open {memory}"))?;
        file.read_exact_at(&mut bytes, address).with_context(|| format!("cannot read {memory}"))?;
        Ok(u16::from_ne_bytes(bytes))
    };
    if raised()? != 0 {
        bail!("the semaphore is raised before anything is attached");
    }
    let mut command = Command::new(&programs.rtrace);
    let script = "usdt:workload:workload:gated { @ = count(); }";
    command.env("PATH", &programs.workloads).args(["-p", &waiting.pid.to_string(), "-e", script]);
    let child = Child::start(&mut command, deadline)?;
    child.await_error("Attached ")?.context("it did not attach")?;
    if raised()? != 1 {
        bail!("the semaphore is {} while one probe is attached", raised()?);
    }
    child.signal(signal);
    let ended = child.finish()?;
    let lowered_by = Instant::now() + PATIENCE;
    while raised()? != 0 {
        if Instant::now() > lowered_by {
            bail!("{} s after its end ({}) the semaphore is {}", PATIENCE.as_secs(), ended.status, raised()?);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    waiting.finish()
}

/// Replaces a program while it is traced: it goes on, counts what still runs the old file, and says what happened.
pub fn check_replaced(programs: &Programs) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let directory = std::env::temp_dir().join(format!("rtrace-replaced-{}", std::process::id()));
    std::fs::create_dir(&directory).context("cannot make a directory")?;
    let result = replace_while_traced(programs, &directory, deadline);
    std::fs::remove_dir_all(&directory).context("cannot remove the directory")?;
    result
}

fn replace_while_traced(programs: &Programs, directory: &Path, deadline: Instant) -> Result<()> {
    let (program, next) = (directory.join("traced"), directory.join("next"));
    std::fs::copy(programs.workloads.join("workload"), &program)?;
    std::fs::copy(programs.workloads.join("workload-pie"), &next)?;
    let call = |count: &str| -> Result<()> {
        let mut command = Command::new(&program);
        let ended = Child::start(command.args(["calls", count]), deadline)?.finish()?;
        if ended.status.success() { Ok(()) } else { bail!("the program ended with {}", ended.status) }
    };
    let script = format!("uprobe:{}:workload_call {{ @ = count(); }}", program.display());
    let child = Child::start(Command::new(&programs.rtrace).arg("-e").arg(script), deadline)?;
    child.await_error("Attached ")?.context("it did not attach")?;
    call("4")?;
    std::fs::rename(&next, &program)?;
    call("3")?;
    let message = format!("warning: {} was replaced", program.display());
    child.await_error(&message)?.context("it does not say that the program was replaced")?;
    child.signal(libc::SIGINT);
    let ended = child.finish()?;
    let output = String::from_utf8_lossy(&ended.output);
    if !ended.status.success() || output.trim() != "@: 4" {
        bail!("it ended with {} and printed {output}", ended.status);
    }
    Ok(())
}

/// Ids of the maps of a script's map of that name, and of the programs that use one.
fn in_kernel(name: &str) -> Result<(BTreeSet<u32>, BTreeSet<u32>)> {
    let mut maps = BTreeSet::new();
    // `@x` is `at_x` in the kernel, where names have 15 bytes.
    let name = format!("at_{name}");
    // A map or program may go while it is looked at: that is no mistake.
    for map in aya::maps::loaded_maps().flatten() {
        if map.name_as_str() == Some(name.as_str()) {
            maps.insert(map.id());
        }
    }
    let mut programs = BTreeSet::new();
    for program in aya::programs::loaded_programs().flatten() {
        if let Ok(Some(used)) = program.map_ids()
            && used.iter().any(|id| maps.contains(id))
        {
            programs.insert(program.id());
        }
    }
    Ok((maps, programs))
}

fn event_lists() -> BTreeSet<String> {
    let read = |path: &&str| std::fs::read_to_string(path).unwrap_or_default();
    EVENT_LISTS.iter().map(read).flat_map(|text| text.lines().map(str::to_string).collect::<Vec<_>>()).collect()
}
