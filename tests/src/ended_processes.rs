//! Processes that nobody follows and that have ended, and whose files are gone, before anybody asks for names: of a program, of one
//! below another root, and of children that have run no program of their own.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::child::Child;
use crate::directory::Directory;
use crate::environment::Programs;

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
