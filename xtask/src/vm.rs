//! `cargo xtask vm`: one command in a guest that runs a given kernel.
//! This file ties image, payload and QEMU together; it must never itself decide what the command's output means.

mod guest;
mod image;
mod payload;

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

pub use guest::{Guest, Report};
pub use payload::{Copy, static_cargo};

use crate::debian::{self, Program};
use crate::host_packages;
use crate::kernels::{self, KERNELS, Kernel};
use crate::workspace;

/// Bookworm's QEMU 7.2 loses a race between translating code and the kernel patching it: attaching kprobes kills the
/// guest within seconds ("Oops: int3"). QEMU 10 has passed thousands of attachments.
const QEMU: Program =
    Program { name: "qemu", suite: "trixie", package: "qemu-system-x86", binary: "usr/bin/qemu-system-x86_64" };

#[derive(Args)]
pub struct VmArguments {
    /// The kernel to boot: 5.10, 6.1, 6.12 or 7.2
    #[arg(value_parser = kernels::parse)]
    kernel: Kernel,
    /// Memory of the guest in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    memory: u32,
    /// CPUs of the guest
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    cpus: u32,
    /// Seconds after which the guest is ended, with an error
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Copy a file or directory into the guest, to the same path or to GUESTPATH
    #[arg(long = "with", value_name = "PATH[=GUESTPATH]", value_parser = payload::parse_copy)]
    copies: Vec<payload::Copy>,
    /// Set a variable in the command's environment
    #[arg(long = "env", value_name = "NAME=VALUE")]
    environment: Vec<String>,
    /// Do not build: the guest gets only what is there already
    #[arg(long)]
    no_build: bool,
    /// Show the guest's console on standard error, the kernel's messages included
    #[arg(long)]
    verbose: bool,
    /// The command and its arguments; it starts in /rtrace
    #[arg(required = true, last = true)]
    command: Vec<String>,
}

/// Runs the command as asked on the command line; the exit code is the command's.
pub fn main(arguments: VmArguments) -> Result<ExitCode> {
    let guest = Guest {
        kernel: arguments.kernel,
        command: arguments.command,
        environment: arguments.environment,
        copies: arguments.copies,
        memory_mib: arguments.memory,
        cpus: arguments.cpus,
        timeout: Duration::from_secs(arguments.timeout),
        verbose: arguments.verbose,
        build: !arguments.no_build,
    };
    let report = run(&guest, &mut io::stdout())?;
    if guest.verbose {
        eprintln!(
            "guest {}: ready after {:.1} s, ended after {:.1} s with status {}",
            guest.kernel.version,
            report.ready_after.as_secs_f64(),
            report.ended_after.as_secs_f64(),
            report.status
        );
    }
    Ok(ExitCode::from(report.status))
}

/// Boots a guest, runs its command, and writes the command's output to `output` as it comes.
///
/// An error means that the guest failed: it could not be made, it panicked, or its time ran out. A command that fails
/// is no error, but a status.
pub fn run(guest: &Guest, output: &mut (dyn Write + Send)) -> Result<Report> {
    host_packages::ensure(host_packages::FOR_GUESTS)?;
    let (qemu, kernel, userland) = {
        let _lock = workspace::lock_guests()?;
        (debian::program(&QEMU)?, kernels::image(guest.kernel)?, image::userland()?)
    };
    if guest.build {
        payload::build()?;
    }
    let directory = guest::run_directory()?;
    let outcome = (|| {
        let root = directory.join("root");
        image::stage(&userland, &root)?;
        payload::stage(guest, &root)?;
        let disk = directory.join("root.img");
        image::make(&root, &disk)?;
        fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
        guest::boot(guest, &guest::Boot { qemu, kernel, disk, directory: directory.clone() }, output)
    })();
    // Nothing of a guest is kept; a failure here must not hide the guest's own outcome.
    let _ = fs::remove_dir_all(&directory);
    outcome
}

/// Fetches and installs everything that guests of all kernels need.
pub fn setup() -> Result<()> {
    host_packages::ensure(host_packages::FOR_GUESTS)?;
    host_packages::ensure(host_packages::FOR_WORKLOADS)?;
    let _lock = workspace::lock_guests()?;
    debian::program(&QEMU)?;
    image::userland()?;
    for kernel in KERNELS {
        let image: PathBuf = kernels::image(*kernel)?;
        eprintln!("kernel {}: {}", kernel.version, image.display());
    }
    Ok(())
}
