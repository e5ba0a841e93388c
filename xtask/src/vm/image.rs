//! The guest's disk: a small userland of static programs, and the ext4 image made of a directory.
//! It knows nothing of rtrace; what a particular run adds is the payload's business.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::debian::{Suite, unpack};
use crate::host_packages;
use crate::process;
use crate::workspace;

/// Any release would do: the programs are static.
const USERLAND_SUITE: &str = "trixie";

const INIT: &str = include_str!("init.sh");

const DIRECTORIES: &[&str] = &[
    "bin",
    "dev",
    "etc",
    "lib64",
    "lib/x86_64-linux-gnu",
    "proc",
    "root",
    "rtrace",
    "run",
    "sbin",
    "sys",
    "tmp",
    "usr/bin",
    "usr/local/bin",
    "usr/sbin",
    "var/tmp",
];

/// The directory with busybox, its applets, bash and `/etc`, made if it is not there yet. Call it with the cache locked.
pub fn userland() -> Result<PathBuf> {
    let directory = workspace::guests().join("userland");
    if directory.join("bin/bash").exists() {
        return Ok(directory);
    }
    eprintln!("fetching busybox and bash of Debian {USERLAND_SUITE}");
    let unpacked = workspace::guests().join("userland-packages");
    let files = Suite::open(USERLAND_SUITE)?.download(&["busybox-static", "bash-static"], &unpacked)?;
    unpack(&files, &unpacked)?;
    let unfinished = workspace::guests().join("userland-unfinished");
    workspace::create_empty_directory(&unfinished)?;
    for name in DIRECTORIES {
        workspace::create_directory(&unfinished.join(name))?;
    }
    install(&unpacked, &["usr/bin/busybox", "bin/busybox"], &unfinished.join("bin/busybox"))?;
    install(&unpacked, &["usr/bin/bash-static", "bin/bash-static"], &unfinished.join("bin/bash"))?;
    let applets = process::output(&mut process::command(unfinished.join("bin/busybox"), ["--list"]))?;
    for applet in applets.lines() {
        let link = unfinished.join("bin").join(applet);
        if !link.exists() {
            symlink("busybox", &link).with_context(|| format!("cannot create {}", link.display()))?;
        }
    }
    fs::write(
        unfinished.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    )?;
    fs::write(unfinished.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
    fs::write(unfinished.join("etc/hosts"), "127.0.0.1 localhost guest\n::1 localhost guest\n")?;
    fs::write(unfinished.join("etc/nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files\n")?;
    fs::remove_dir_all(&unpacked)?;
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::rename(&unfinished, &directory)?;
    Ok(directory)
}

/// Starts a new root directory from the userland.
pub fn stage(userland: &Path, root: &Path) -> Result<()> {
    process::output(&mut process::command("cp", [Path::new("-a"), userland, root]))?;
    // Written for each run, so that a change of init.sh needs no new userland.
    let init = root.join("init");
    fs::write(&init, INIT).with_context(|| format!("cannot write {}", init.display()))?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Makes an ext4 image of a directory, with room to write. The file is sparse: the room costs nothing.
pub fn make(root: &Path, disk: &Path) -> Result<()> {
    const ROOM_MIB: u64 = 256;
    let listing = process::output(&mut process::command("du", [Path::new("-sm"), root]))?;
    let used_mib: u64 = listing.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0);
    let size = format!("{}M", used_mib + used_mib / 4 + ROOM_MIB);
    let mut command = process::command(host_packages::path_of("mke2fs"), ["-q", "-t", "ext4", "-O", "^has_journal"]);
    command.args(["-m", "0", "-E", "root_owner=0:0", "-d"]).arg(root).arg(disk).arg(size);
    process::output(&mut command)?;
    Ok(())
}

fn install(unpacked: &Path, candidates: &[&str], target: &Path) -> Result<()> {
    let Some(found) = candidates.iter().map(|path| unpacked.join(path)).find(|path| path.is_file()) else {
        bail!("none of {} is in the packages of Debian {USERLAND_SUITE}", candidates.join(", "));
    };
    fs::copy(&found, target).with_context(|| format!("cannot copy {}", found.display()))?;
    Ok(())
}
