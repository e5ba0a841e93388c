//! What one run puts into a guest: rtrace, the test runner, scripts, cases, documents, and the command itself.
//! It must never write anywhere but below the guest's new root.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::guest::Guest;
use crate::kernels;
use crate::process;
use crate::workloads;
use crate::workspace;

/// Guests have no libraries, so their programs are linked statically, in a build of their own: the ordinary build
/// stays as it is.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The packages whose binaries a guest gets.
const PACKAGES: &[&str] = &["rtrace-runtime", "rtrace-tests"];

/// Where things are inside of the guest.
const PROGRAMS: &str = "usr/local/bin";
const HOME: &str = "rtrace";
const MODULES: &str = "lib/modules";

/// A file or directory of this machine and its absolute path in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    pub from: PathBuf,
    pub to: PathBuf,
}

/// Reads `PATH` or `PATH=GUESTPATH`.
pub fn parse_copy(text: &str) -> Result<Copy, String> {
    let (from, to) = text.split_once('=').unwrap_or((text, ""));
    let from = std::path::absolute(from).map_err(|error| error.to_string())?;
    if !from.exists() {
        return Err(format!("{} does not exist", from.display()));
    }
    let to = if to.is_empty() { from.clone() } else { Path::new("/rtrace").join(to) };
    if to.components().any(|component| component == Component::ParentDir) {
        return Err(format!("the guest path {} must not contain `..`", to.display()));
    }
    Ok(Copy { from, to })
}

/// Builds the static programs; cargo finds out by itself that nothing changed.
pub fn build() -> Result<()> {
    let mut command = static_cargo("build");
    command.args(["--quiet", "--bins"]);
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    process::show(&mut command).context("the programs for the guest do not build")?;
    workloads::build()?;
    Ok(())
}

/// Cargo for programs that run in a guest.
pub fn static_cargo(task: &str) -> Command {
    let mut command = Command::new(workspace::cargo());
    command.args([task, "--release", "--target", TARGET]);
    command.arg("--target-dir").arg(build_directory()).current_dir(workspace::root());
    command.env("RUSTFLAGS", "-C target-feature=+crt-static");
    // Half of the time to build, for a tenth more of the time that guests take.
    command.env("CARGO_PROFILE_RELEASE_LTO", "thin").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "4");
    command
}

/// Fills the guest's new root for one run.
pub fn stage(guest: &Guest, root: &Path) -> Result<()> {
    let programs = build_directory().join(TARGET).join("release");
    for name in ["rtrace", "rtrace-cases"] {
        let from = programs.join(name);
        if from.is_file() {
            copy(&from, &root.join(PROGRAMS).join(name))?;
        }
    }
    stage_workloads(root)?;
    for module in kernels::modules(guest.kernel) {
        let name = module.file_name().unwrap_or_default();
        copy(&module, &root.join(MODULES).join(name))?;
    }
    for name in ["README.md", "docs", "examples", "tests/cases"] {
        let from = workspace::root().join(name);
        if from.exists() {
            copy(&from, &root.join(HOME).join(name))?;
        }
    }
    for wanted in &guest.copies {
        let relative = wanted.to.strip_prefix("/").unwrap_or(&wanted.to);
        copy(&wanted.from, &root.join(relative))?;
    }
    let command = root.join("command");
    fs::write(&command, command_script(guest)?).with_context(|| format!("cannot write {}", command.display()))?;
    fs::set_permissions(&command, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// The workloads, and the libraries of those that are dynamic.
fn stage_workloads(root: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(workloads::directory()) else {
        return Ok(());
    };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_none()) {
        let name = path.file_name().unwrap_or_default();
        copy(&path, &root.join(PROGRAMS).join(name))?;
    }
    for (name, target) in workloads::LIBRARIES {
        if let Some(library) = workloads::library(name) {
            copy(&library, &root.join(target))?;
        }
    }
    Ok(())
}

/// A script that becomes the command, each argument exactly as given.
fn command_script(guest: &Guest) -> Result<String> {
    let mut script = String::from("cd /rtrace\nexport HOME=/root TERM=dumb LANG=C.UTF-8\n");
    script.push_str(&format!("export RTRACE_GUEST={}\n", guest.kernel.version));
    script.push_str(&format!("export RTRACE_WORKLOADS=/{PROGRAMS}\n"));
    for variable in &guest.environment {
        let Some((name, value)) = variable.split_once('=') else {
            bail!("`{variable}` is no NAME=VALUE for the guest's environment");
        };
        script.push_str(&format!("export {name}={}\n", quote(value)));
    }
    let words: Vec<String> = guest.command.iter().map(|word| quote(word)).collect();
    script.push_str(&format!("exec {}\n", words.join(" ")));
    Ok(script)
}

/// Quotes a word for a POSIX shell.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn build_directory() -> PathBuf {
    workspace::target().join("guest")
}

/// Copies a file or a directory tree, following a link only where it is named itself.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let context = || format!("cannot copy {} into the guest as {}", from.display(), to.display());
    if let Some(parent) = to.parent() {
        workspace::create_directory(parent)?;
    }
    if from.is_dir() {
        workspace::create_directory(to)?;
        for entry in fs::read_dir(from).with_context(context)? {
            let entry = entry.with_context(context)?;
            let target = to.join(entry.file_name());
            if entry.file_type().with_context(context)?.is_symlink() {
                symlink(fs::read_link(entry.path()).with_context(context)?, &target).with_context(context)?;
            } else {
                copy(&entry.path(), &target)?;
            }
        }
    } else {
        fs::copy(from, to).with_context(context)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_command_as_they_are() {
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn a_copy_keeps_its_path_or_takes_another() {
        let copy = parse_copy("/etc/passwd").expect("the file is there");
        assert_eq!(copy.to, Path::new("/etc/passwd"));
        let copy = parse_copy("/etc/passwd=/tmp/x").expect("the file is there");
        assert_eq!(copy.to, Path::new("/tmp/x"));
        let copy = parse_copy("/etc/passwd=x").expect("the file is there");
        assert_eq!(copy.to, Path::new("/rtrace/x"));
        assert!(parse_copy("/nowhere/at/all").is_err());
        assert!(parse_copy("/etc/passwd=/tmp/../x").is_err());
    }
}
