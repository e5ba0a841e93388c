//! The few Debian packages that must be on the machine itself, and their installation.
//! Everything else is unpacked privately below the target directory; nothing else may be installed here.

use std::env;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::process;

/// A program that a task starts, and the Debian package that has it.
pub struct HostProgram {
    pub program: &'static str,
    pub packages: &'static [&'static str],
}

/// What guests need of the machine: the image is made by mke2fs, QEMU dies with its parent through setpriv, modules are
/// packed by xz.
pub const FOR_GUESTS: &[HostProgram] = &[
    HostProgram { program: "mke2fs", packages: &["e2fsprogs"] },
    HostProgram { program: "setpriv", packages: &["util-linux"] },
    HostProgram { program: "dpkg-deb", packages: &["dpkg"] },
    HostProgram { program: "tar", packages: &["tar"] },
    HostProgram { program: "xz", packages: &["xz-utils"] },
];

/// What the workloads need: a C compiler with the static C library, and what moves and packs debug information.
pub const FOR_WORKLOADS: &[HostProgram] = &[
    HostProgram { program: "gcc", packages: &["gcc", "libc6-dev"] },
    HostProgram { program: "objcopy", packages: &["binutils"] },
    HostProgram { program: "xz", packages: &["xz-utils"] },
];

/// What shows pictures to the tests.
pub const FOR_BROWSERS: &[HostProgram] =
    &[HostProgram { program: "chromium-headless-shell", packages: &["chromium-headless-shell"] }];

/// Installs the packages of the programs that are missing, or says which command does it when not root.
pub fn ensure(programs: &[HostProgram]) -> Result<()> {
    let missing: Vec<&str> = programs
        .iter()
        .filter(|needed| find(needed.program).is_none())
        .flat_map(|needed| needed.packages)
        .copied()
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    if !is_root() {
        bail!("missing packages: {packages}\n  help: run `apt-get install --no-install-recommends {packages}` as root");
    }
    eprintln!("installing {packages}");
    let install = || {
        let mut command = process::command("apt-get", ["install", "--yes", "--quiet", "--no-install-recommends"]);
        command.args(&missing).env("DEBIAN_FRONTEND", "noninteractive");
        process::output(&mut command)
    };
    if install().is_err() {
        // A fresh machine has no package lists, or lists that name versions which are gone.
        process::output(&mut process::command("apt-get", ["update", "--quiet"]))?;
        install()?;
    }
    Ok(())
}

/// Whether this process may install packages.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Looks a program up in PATH and in the directories of administration, which a user's PATH lacks on Debian.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].iter().map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| Path::is_file(candidate))
}

/// The full path of a program that `ensure` has seen, or its bare name.
pub fn path_of(program: &str) -> PathBuf {
    find(program).unwrap_or_else(|| PathBuf::from(program))
}
