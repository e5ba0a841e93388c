//! `cargo xtask bpftrace`: two releases of bpftrace to measure rtrace against, unpacked privately.
//! It only fetches them; what is traced with them, and where, is for the benchmarks to say.

use std::path::PathBuf;

use anyhow::Result;

use crate::debian::{self, Program};
use crate::host_packages;
use crate::workspace;

/// The newest bpftrace of Debian, and the one of Debian 12, which many hosts run. sid moves on: its directory is not
/// named after a version.
const PROGRAMS: &[Program] = &[
    Program { name: "bpftrace-sid", suite: "sid", package: "bpftrace", binary: "usr/bin/bpftrace" },
    Program { name: "bpftrace-bookworm", suite: "bookworm", package: "bpftrace", binary: "usr/bin/bpftrace" },
];

/// Fetches what is not there yet; gives the wrappers, newest first.
pub fn fetch() -> Result<Vec<PathBuf>> {
    host_packages::ensure(host_packages::FOR_GUESTS)?;
    let _lock = workspace::lock_guests()?;
    PROGRAMS.iter().map(debian::program).collect()
}
