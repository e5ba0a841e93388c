//! Processes that nobody follows and that have ended, and whose files are gone, before anybody asks for names: of a program, of one
//! below another root, and of children that have run no program of their own. And what is said where names can't be had.
//! Unsafe: prctl(2) in a child.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::child::Child;
use crate::directives::{Workload, WorkloadMode};
use crate::directory::Directory;
use crate::environment::Programs;
use crate::workload;

/// How often the program below another root runs.
const RUNS: u32 = 5;

const PATIENCE: Duration = Duration::from_secs(60);

pub fn check(programs: &Programs) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let directory = Directory::create("ended")?;
    let (program, inner, forking) =
        (directory.path.join("program"), directory.path.join("inner"), directory.path.join("forking"));
    for file in [&program, &inner, &forking] {
        fs::copy(programs.workloads.join("workload"), file)?;
    }
    let probes = |function: &str| {
        let files = [&program, &inner].map(|file| format!("uprobe:{}:{function}", file.display()));
        files.join(", ")
    };
    let script = format!(
        "{} {{ @[comm, ustack(1)] = count(); }} uprobe:{}:_exit {{ @child[comm, ustack(1)] = count(); }}",
        probes("fire_probes"),
        forking.display()
    );
    let mut command = Command::new(&programs.rtrace);
    let tracer = Child::start(command.args(["-q", "-v", "-e", &script]), deadline)?;
    // With -q nothing says that it is attached; -v does.
    tracer.await_error("attached by")?.context("it did not attach")?;
    let run = |command: &mut Command| -> Result<()> {
        let ended = Child::start(command, deadline)?.finish()?;
        ensure!(ended.status.success(), "{command:?} ended with {}", ended.status);
        Ok(())
    };
    run(Command::new(&program).args(["usdt", "3"]))?;
    // One of them may end before its file can be opened, which names them all.
    for _ in 0..RUNS {
        run(Command::new("chroot").arg(&directory.path).args(["/inner", "usdt", "3"]))?;
    }
    run(Command::new(&forking).args(["forks", "3"]))?;
    for file in [&program, &inner, &forking] {
        fs::remove_file(file)?;
    }
    tracer.signal(libc::SIGINT);
    let ended = tracer.finish()?;
    let output: String = String::from_utf8_lossy(&ended.output).split_whitespace().collect::<Vec<_>>().join(" ");
    // The function has both names, and the order in which the linker has put them decides which is shown.
    let output = output.replace("_Exit", "_exit");
    // Stacks of different processes are different keys.
    let inner = output.matches("@[inner, fire_probes+0 ]: 3").count();
    ensure!(inner == RUNS as usize, "{inner} of {RUNS} runs below another root are named in {output}");
    for expected in ["@[program, fire_probes+0 ]: 3", "@child[forking, _exit+0 ]: "] {
        ensure!(output.contains(expected), "{expected} is not in {output}: {}", String::from_utf8_lossy(&ended.errors));
    }
    ensure!(!output.contains("0x"), "a frame without a name: {output}");
    Ok(())
}

/// A command that ends below another root at once: its file is known by the probe in it.
pub fn check_command(programs: &Programs) -> Result<()> {
    let directory = Directory::create("command")?;
    let inner = directory.path.join("inner");
    fs::copy(programs.workloads.join("workload"), &inner)?;
    let script = format!("uprobe:{}:middle_function {{ @[ustack(1)] = count(); }}", inner.display());
    let run = format!("chroot {} /inner chain 3", directory.path.display());
    for _ in 0..RUNS {
        let mut command = Command::new(&programs.rtrace);
        let ended =
            Child::start(command.args(["-q", "-c", &run, "-e", &script]), Instant::now() + PATIENCE)?.finish()?;
        let output = String::from_utf8_lossy(&ended.output).split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(output.contains("@[ middle_function+0 ]: 3"), "{output}: {}", String::from_utf8_lossy(&ended.errors));
    }
    Ok(())
}

const CAP_SYS_PTRACE: libc::c_int = 19;
const CAP_SYS_ADMIN: libc::c_int = 21;
const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";

/// Stacks are named, or it is said what keeps them from that: not all kernels refuse the same.
pub fn check_refused(programs: &Programs) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let file = programs.workloads.join("workload");
    let script = format!("uprobe:{}:middle_function {{ @[ustack(1)] = count(); }}", file.display());
    let without = |capabilities: &'static [libc::c_int], words: &[&str]| -> Result<Child> {
        let mut command = Command::new(&programs.rtrace);
        command.args(["-q", "-v", "-e", &script]).args(words).env("PATH", &programs.workloads);
        // SAFETY: a system call, which may be made between fork and exec.
        unsafe {
            command.pre_exec(move || {
                for capability in capabilities {
                    libc::prctl(libc::PR_CAPBSET_DROP, *capability, 0, 0, 0);
                }
                Ok(())
            });
        }
        Child::start(&mut command, deadline)
    };
    let judge = |tracer: Child, told: &str| -> Result<()> {
        let ended = tracer.finish()?;
        let (output, errors) = (String::from_utf8_lossy(&ended.output), String::from_utf8_lossy(&ended.errors));
        let (is_named, times) = (output.contains("middle_function+0"), errors.matches(told).count());
        ensure!(times == usize::from(!is_named), "{told:?} {times} times: {output}: {errors}");
        Ok(())
    };
    // A process that has rights which the tool lacks.
    let wanted = Workload {
        mode: WorkloadMode::Process,
        program: "workload".into(),
        arguments: ["chain", "3"].map(str::to_string).to_vec(),
    };
    let mut waiting = workload::start(&wanted, programs, deadline)?;
    let tracer = without(&[CAP_SYS_PTRACE, CAP_SYS_ADMIN], &["-p", &waiting.pid.to_string()])?;
    tracer.await_error("attached by")?.context("it did not attach")?;
    waiting.go()?;
    tracer.signal(libc::SIGINT);
    judge(tracer, "may not be read. That takes root or CAP_SYS_PTRACE")?;
    waiting.finish()?;
    // A command that has ended, where the kernel keeps its news to itself.
    let before = fs::read_to_string(PARANOID)?;
    fs::write(PARANOID, "3")?;
    let judged = without(&[CAP_SYS_ADMIN], &["-c", "workload chain 3"])
        .and_then(|tracer| judge(tracer, "kernel.perf_event_paranoid is 3"));
    fs::write(PARANOID, before.trim())?;
    judged
}
