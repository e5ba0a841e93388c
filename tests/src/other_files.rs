//! Processes whose files are not where their names say: below another root, as in a container, or deleted.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::child::Child;
use crate::directory::Directory;
use crate::environment::Programs;

/// Where the files of a process are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// The process has changed its root.
    OtherRoot,
    /// It runs a file that has no name any more.
    Deleted,
}

/// Follows a process whose program is in such a place, by all names that leave the place out.
pub fn check(programs: &Programs, place: Place) -> Result<()> {
    let directory = std::env::temp_dir().join(format!("rtrace-{place:?}-{}", std::process::id()));
    fs::create_dir(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let result = follow(programs, place, &directory);
    fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    result
}

/// `--debuginfo`: a program finds its debug information in a directory of that name, and not without it.
pub fn check_debuginfo(programs: &Programs) -> Result<()> {
    let directory = Directory::create("debuginfo")?;
    let (program, elsewhere) = (directory.path.join("traced"), directory.path.join("elsewhere"));
    fs::create_dir(&elsewhere)?;
    fs::copy(programs.workloads.join("workload-split"), &program)?;
    fs::copy(programs.workloads.join("workload-split-debug"), elsewhere.join("workload-split-debug"))?;
    let parameters = |arguments: &[&str]| -> Result<String> {
        let pattern = format!("uprobe:{}:workload_call", program.display());
        let mut command = Command::new(&programs.rtrace);
        let ended = command.args(arguments).args(["-lv", &pattern]).output()?;
        Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
    };
    let named = format!("/nowhere:+{}", elsewhere.display());
    let (without, with) = (parameters(&[])?, parameters(&["--debuginfo", &named])?);
    if without.contains("int number") || !with.contains("int number") {
        bail!("without: {without}\nwith: {with}");
    }
    Ok(())
}

fn follow(programs: &Programs, place: Place, directory: &Path) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let file = directory.join("other");
    fs::copy(programs.workloads.join("workload"), &file)?;
    let mut command = match place {
        Place::OtherRoot => {
            let mut command = Command::new("chroot");
            command.arg(directory).arg("/other");
            command
        }
        Place::Deleted => Command::new(&file),
    };
    let mut process = Child::start(command.args(["--wait", "usdt", "3"]), deadline)?;
    process.await_output("pid ")?;
    let by_path = match place {
        Place::OtherRoot => "uprobe:/other:fire_probes, usdt:/other:workload:gated",
        Place::Deleted => {
            fs::remove_file(&file)?;
            "uprobe:fire_probes"
        }
    };
    let script = format!(
        "{by_path} {{ @path = count(); }} uretprobe:fire_probes {{ @executable = count(); }}\n\
         usdt:tick, usdt:*:gated {{ @mapped = count(); }} pid$target:a.out:fire_probes:entry {{ @d = count(); }}"
    );
    let mut tracer = Command::new(&programs.rtrace);
    let tracer = Child::start(tracer.args(["-p", &process.pid().to_string(), "-e", &script]), deadline)?;
    tracer.await_error("Attached ")?.context("it did not attach")?;
    process.send_line("go")?;
    process.await_output("done")?;
    tracer.signal(libc::SIGINT);
    let ended = tracer.finish()?;
    process.finish()?;
    let output = String::from_utf8_lossy(&ended.output);
    let path = if place == Place::OtherRoot { 6 } else { 3 };
    let expected = format!("@d: 3\n@executable: 3\n@mapped: 6\n@path: {path}");
    if output.trim() != expected {
        bail!("expected {expected}\nfound {output}\n{}", String::from_utf8_lossy(&ended.errors));
    }
    Ok(())
}

/// Whether this machine has a program that changes roots, and this user may.
pub fn can_change_root() -> bool {
    let directories: Vec<PathBuf> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    let is_there = directories.iter().any(|directory| directory.join("chroot").is_file());
    // Only root may.
    is_there && fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
