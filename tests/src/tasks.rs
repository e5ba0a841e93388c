//! Which tasks count: those of a cgroup and of the cgroups below it, and by which numbers those of a process namespace
//! are known.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rtrace_lang::target::{Feature, Target};
use rtrace_probes::Machine;
use rtrace_probes::kernel::cgroup;

use crate::child::{Child, Ended};
use crate::directives::{Workload, WorkloadMode};
use crate::environment::Programs;
use crate::workload::{self, Waiting};

/// What the id of a container that the tests make up ends with.
const ID_END: &str = "5ca1ab1e0123456789abcdef0123456789abcdef0123456789abcdef";
/// Pages that the workload `faults` touches for the first time; it makes few page faults besides.
const PAGES: &str = "1000";

/// How a cgroup is named on the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CgroupBy {
    Path,
    Container,
}

/// Whether cgroups can be made here.
pub fn can_make_cgroups() -> bool {
    cgroup::mount_point().is_some_and(|mount| {
        let directory = mount.join(format!("rtrace-test-{}", std::process::id()));
        fs::create_dir(&directory).is_ok() && fs::remove_dir(&directory).is_ok()
    })
}

/// Cgroups of a test: one, and one in it. They are removed with this value.
struct Cgroups {
    outer: PathBuf,
    inner: PathBuf,
    id: String,
}

impl Cgroups {
    fn make(by: CgroupBy) -> Result<Cgroups> {
        let mount = cgroup::mount_point().context("no cgroups of version 2 are mounted")?;
        let outer = mount.join(format!("rtrace-{by:?}-{}", std::process::id()));
        // Tests run side by side.
        let id = format!("{:07x}{:x}{ID_END}", std::process::id(), by as u8);
        let inner = outer.join(format!("docker-{id}.scope"));
        let made = Cgroups { outer, inner, id };
        fs::create_dir(&made.outer).with_context(|| format!("cannot make {}", made.outer.display()))?;
        fs::create_dir(&made.inner).with_context(|| format!("cannot make {}", made.inner.display()))?;
        Ok(made)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let patience = Instant::now() + Duration::from_secs(5);
        // The kernel needs a moment for a process that has ended.
        while fs::remove_dir(&self.inner).is_err() && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = fs::remove_dir(&self.outer);
    }
}

/// Counts events of many providers, of processes in the cgroup and of the same ones outside of it.
pub fn check_cgroup(programs: &Programs, by: CgroupBy) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(100);
    let cgroups = Cgroups::make(by)?;
    let machine = Machine::new();
    let mut script = "BEGIN { @begin = count(); } \
         tracepoint:syscalls:sys_enter_getppid { @tracepoint = count(); } \
         rawtracepoint:sys_enter /arg1 == 110/ { @raw = count(); } \
         uprobe:workload:workload_call { @uprobe = count(); } \
         usdt:workload:workload:tick { @usdt = count(); } \
         software:page-faults:1 /comm == \"workload\"/ { @faults++; } \
         END { @faults = @faults >= 1000 && @faults < 1500; }"
        .to_string();
    let mut expected = vec!["@begin: 1", "@faults: 1", "@raw: 7", "@tracepoint: 7", "@uprobe: 5", "@usdt: 3"];
    if machine.has(Feature::Kprobes) {
        script.push_str(
            " kprobe:__x64_sys_getppid { @kprobe = count(); } kretprobe:*_sys_getppid { @returns = count(); }",
        );
        expected.extend(["@kprobe: 7", "@returns: 7"]);
    }
    if machine.has(Feature::Trampolines) {
        script.push_str(" fentry:vfs_write { @trampoline = count(); }");
        expected.push("@trampoline: 9");
    }
    expected.sort_unstable();
    let works: [&[&str]; 5] =
        [&["getppid", "7"], &["writes", "9", "1"], &["calls", "5"], &["usdt", "3"], &["faults", PAGES]];
    let mut waiting: Vec<Waiting> = Vec::new();
    for work in works {
        for is_inside in [true, false] {
            let wanted = Workload {
                mode: WorkloadMode::Beside,
                program: "workload".into(),
                arguments: work.iter().map(|word| word.to_string()).collect(),
            };
            let process = workload::start(&wanted, programs, deadline)?;
            if is_inside {
                move_into(&cgroups.inner, process.pid)?;
            }
            waiting.push(process);
        }
    }
    let mut tracer = Command::new(&programs.rtrace);
    match by {
        CgroupBy::Path => tracer.arg("--cgroup").arg(&cgroups.outer),
        CgroupBy::Container => tracer.args(["--container", &cgroups.id[..10]]),
    };
    tracer.env("PATH", &programs.workloads).args(["-e", &script]);
    let tracer = Child::start(&mut tracer, deadline)?;
    if tracer.await_error("Attached ")?.is_none() {
        bail!("it did not attach: {}", String::from_utf8_lossy(&tracer.finish()?.errors));
    }
    waiting.iter_mut().try_for_each(Waiting::go)?;
    tracer.signal(libc::SIGINT);
    let ended = tracer.finish()?;
    waiting.into_iter().try_for_each(Waiting::finish)?;
    expect(&ended, &expected.join("\n"))
}

fn move_into(cgroup: &Path, pid: u32) -> Result<()> {
    let file = cgroup.join("cgroup.procs");
    fs::write(&file, pid.to_string()).with_context(|| format!("cannot write {}", file.display()))
}

/// Runs the tool in a process namespace of its own: what `pid` says there is what -p and the namespace's programs mean.
pub fn check_namespace(programs: &Programs) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let script = "BEGIN { printf(\"%d %d\\n\", pid < 10, pid(init) > pid); } \
         tracepoint:syscalls:sys_enter_getppid { @[pid == cpid, tid == cpid, pid(init) == cpid] = count(); } \
         uprobe:workload:workload_call { @stacks[ustack(1)] = count(); }";
    let workload = programs.workloads.join("workload");
    for (work, expected) in [
        (format!("{} getppid 5", workload.display()), "1 1\n\n\n@[true, true, false]: 5"),
        (format!("{} calls 4", workload.display()), "1 1\n\n\n@stacks[\n        workload_call+0\n]: 4"),
    ] {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "--"]).arg(&programs.rtrace);
        command.args(["-c", &work, "-e", script]).env("RTRACE_BIN", &programs.rtrace);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let directories = std::iter::once(programs.workloads.clone()).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(directories)?);
        let ended = Child::start(&mut command, deadline)?.finish()?;
        expect(&ended, expected)?;
    }
    Ok(())
}

/// Whether this machine has a program that makes namespaces, and this user may.
pub fn can_make_namespaces() -> bool {
    Command::new("unshare").args(["--pid", "--fork", "--mount-proc", "true"]).output().is_ok_and(|o| o.status.success())
}

fn expect(ended: &Ended, expected: &str) -> Result<()> {
    let squeeze = |text: &str| text.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    let output = String::from_utf8_lossy(&ended.output);
    if squeeze(&output) != squeeze(expected) || !ended.status.success() {
        bail!("expected {expected}\nfound {output}\n{}", String::from_utf8_lossy(&ended.errors));
    }
    Ok(())
}
