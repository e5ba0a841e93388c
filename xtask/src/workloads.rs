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

/// A way a program is built.
struct Variant {
    suffix: &'static str,
    flags: &'static [&'static str],
    then: Then,
}

/// What becomes of a program after it is linked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    Nothing,
    /// Its debug information goes into a file beside it, compressed by zstd.
    SplitPacked,
    /// It keeps nothing but the names of its functions, compressed (`.gnu_debugdata`).
    Strip,
    /// It gets a mark that programs of Go have.
    MarkAsGo,
}

const VARIANTS: &[Variant] = &[
    Variant { suffix: "", flags: &["-static", "-no-pie", "-DIS_STATIC"], then: Then::Nothing },
    // Its debug information is compressed.
    Variant { suffix: "-pie", flags: &["-fPIE", "-pie", "-gz=zlib"], then: Then::Nothing },
    Variant { suffix: "-bare", flags: &["-fPIE", "-pie", "-Wl,--strip-debug"], then: Then::Nothing },
    Variant { suffix: "-split", flags: &["-fPIE", "-pie"], then: Then::SplitPacked },
    Variant { suffix: "-stripped", flags: &["-fPIE", "-pie"], then: Then::Strip },
    // What distributions ship: no frame pointers.
    Variant { suffix: "-lean", flags: &["-O2", "-g0", "-fomit-frame-pointer", "-fPIE", "-pie"], then: Then::Nothing },
    Variant { suffix: "-go", flags: &["-fPIE", "-pie"], then: Then::MarkAsGo },
];

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
        // Of `workload` alone there are all.
        let variants = if name == "workload" { VARIANTS } else { &VARIANTS[..1] };
        for Variant { suffix, flags, then } in variants {
            let program = directory.join(format!("{name}{suffix}"));
            compile(&source, flags, &program, *then)?;
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
fn compile(source: &Path, flags: &[&str], program: &Path, then: Then) -> Result<()> {
    let text = fs::read_to_string(source).with_context(|| format!("cannot read {}", source.display()))?;
    let made_from = format!("{}\n{} {then:?}\n{text}", FLAGS.join(" "), flags.join(" "));
    let stamp = program.with_extension("made-from");
    if program.exists() && fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == made_from) {
        return Ok(());
    }
    // A program that a test runs right now keeps its file: the new one takes over the name when it is complete.
    let unfinished = program.with_extension(format!("unfinished-{}", std::process::id()));
    let mut command = process::command("gcc", FLAGS);
    command.args(flags).arg("-o").arg(&unfinished).arg(source);
    process::output(&mut command)?;
    match then {
        Then::Nothing => {}
        Then::SplitPacked => split(&unfinished, program)?,
        Then::Strip => strip(&unfinished)?,
        Then::MarkAsGo => mark_as_go(&unfinished)?,
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
    let keep = ["--only-keep-debug", "--compress-debug-sections=zstd"];
    process::output(process::command("objcopy", keep).arg(unfinished).arg(&debug))?;
    let mut link = std::ffi::OsString::from("--add-gnu-debuglink=");
    link.push(&debug);
    process::output(process::command("objcopy", ["--strip-debug"]).arg(link).arg(unfinished))?;
    Ok(())
}

/// Leaves the names of functions in `.gnu_debugdata` alone, as Fedora's packages do.
fn strip(program: &Path) -> Result<()> {
    let names = program.with_extension("names");
    process::output(process::command("objcopy", ["--only-keep-debug"]).arg(program).arg(&names))?;
    process::output(process::command("objcopy", ["--strip-debug"]).arg(&names))?;
    process::output(process::command("xz", ["--force", "--check=crc32"]).arg(&names))?;
    let packed = program.with_extension("names.xz");
    let mut section = std::ffi::OsString::from("--add-section=.gnu_debugdata=");
    section.push(&packed);
    process::output(process::command("objcopy", ["--strip-all"]).arg(section).arg(program))?;
    fs::remove_file(&packed).with_context(|| format!("cannot remove {}", packed.display()))
}

fn mark_as_go(program: &Path) -> Result<()> {
    let note = program.with_extension("note");
    fs::write(&note, "no program of Go").with_context(|| format!("cannot write {}", note.display()))?;
    let mut section = std::ffi::OsString::from("--add-section=.note.go.buildid=");
    section.push(&note);
    process::output(process::command("objcopy", [&section]).arg(program))?;
    fs::remove_file(&note).with_context(|| format!("cannot remove {}", note.display()))
}
