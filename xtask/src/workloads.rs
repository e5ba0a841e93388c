//! Builds `tests/workloads/*.c`: the small programs whose events the tests count.
//! Each is built in several ways, static and dynamic, with and without debug information; it must never be built with flags that blur its functions.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::host_packages;
use crate::process;
use crate::workspace;

/// Debug information, frame pointers and every function on its own, so that stacks and arguments are exact.
const FLAGS: &[&str] = &[
    "-g",
    "-O1",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fno-omit-frame-pointer",
    "-fno-inline",
    "-fno-optimize-sibling-calls",
    "-fcf-protection=none",
];

/// The ways a program is built: the suffix of its name, and the flags. The debug information of the second is compressed,
/// the third has none, the fourth has it in a file beside it.
const VARIANTS: &[(&str, &[&str])] = &[
    ("", &["-static", "-no-pie"]),
    ("-pie", &["-fPIE", "-pie", "-gz=zlib"]),
    ("-bare", &["-fPIE", "-pie", "-Wl,--strip-debug"]),
    (SPLIT, &["-fPIE", "-pie"]),
];

const SPLIT: &str = "-split";

/// What a dynamic program needs beside it in a guest: the loader and the C library, at their usual places.
pub const LIBRARIES: &[(&str, &str)] =
    &[("ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2"), ("libc.so.6", "lib/x86_64-linux-gnu/libc.so.6")];

/// Builds what is out of date; gives the programs.
pub fn build() -> Result<Vec<PathBuf>> {
    host_packages::ensure(host_packages::FOR_WORKLOADS)?;
    let directory = directory();
    workspace::create_directory(&directory)?;
    let mut programs = Vec::new();
    for source in sources()? {
        let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for (suffix, flags) in VARIANTS {
            let program = directory.join(format!("{name}{suffix}"));
            compile(&source, flags, &program, *suffix == SPLIT)?;
            programs.push(program);
        }
    }
    Ok(programs)
}

/// Where the programs are.
pub fn directory() -> PathBuf {
    workspace::target().join("workloads")
}

/// The path of a library that the compiler links programs with, if the compiler knows it.
pub fn library(name: &str) -> Option<PathBuf> {
    let answer = process::output(&mut process::command("gcc", [format!("-print-file-name={name}")])).ok()?;
    fs::canonicalize(answer.trim()).ok()
}

fn sources() -> Result<Vec<PathBuf>> {
    let directory = workspace::root().join("tests/workloads");
    let entries = fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let mut sources: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "c"));
    sources.sort();
    Ok(sources)
}

/// Compiles unless the program was made from this very text with these flags.
fn compile(source: &Path, flags: &[&str], program: &Path, is_split: bool) -> Result<()> {
    let text = fs::read_to_string(source).with_context(|| format!("cannot read {}", source.display()))?;
    let made_from = format!("{}\n{}\n{text}", FLAGS.join(" "), flags.join(" "));
    let stamp = program.with_extension("made-from");
    if program.exists() && fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == made_from) {
        return Ok(());
    }
    // A program that a test runs right now keeps its file: the new one takes over the name when it is complete.
    let unfinished = program.with_extension(format!("unfinished-{}", std::process::id()));
    let mut command = process::command("gcc", FLAGS);
    command.args(flags).arg("-o").arg(&unfinished).arg(source);
    process::output(&mut command)?;
    if is_split {
        split(&unfinished, program)?;
    }
    fs::rename(&unfinished, program).with_context(|| format!("cannot create {}", program.display()))?;
    fs::write(&stamp, made_from).with_context(|| format!("cannot write {}", stamp.display()))
}

/// Moves the debug information of a program into a file beside it, as packages of distributions have it.
fn split(unfinished: &Path, program: &Path) -> Result<()> {
    let mut name = program.as_os_str().to_owned();
    // Without an extension: what has one is not copied into guests.
    name.push("-debug");
    let debug = PathBuf::from(name);
    process::output(process::command("objcopy", ["--only-keep-debug"]).arg(unfinished).arg(&debug))?;
    let mut link = std::ffi::OsString::from("--add-gnu-debuglink=");
    link.push(&debug);
    process::output(process::command("objcopy", ["--strip-debug"]).arg(link).arg(unfinished))?;
    Ok(())
}
