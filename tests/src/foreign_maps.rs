//! An iterator over the entries of a map that another program has made: this one, which knows what is in it.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rtrace_probes::kernel::bpf::{MapConfig, map_create, map_update};

use crate::environment::Programs;

const EXPECTED: &[&str] = &["@[1]: 11", "@[3]: 33", "@[2]: 22000000000", "@entries: 3"];

pub fn check(programs: &Programs) -> Result<()> {
    // BPF_MAP_TYPE_HASH (include/uapi/linux/bpf.h)
    let config =
        MapConfig { kind: 1, key_bytes: 4, value_bytes: 8, entries: 10, name: "foreign", ..MapConfig::default() };
    let map = map_create(&config)?;
    for (key, value) in [(1_u32, 11_u64), (2, 22_000_000_000), (3, 33)] {
        map_update(map.as_fd(), &key.to_ne_bytes(), &value.to_ne_bytes(), 0)?;
    }
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("map_id:")).context("the map has no number")?.trim();
    let script =
        format!("iter:bpf_map_elem:{id} {{ @[*(uint32 *)ctx.key] = *(uint64 *)ctx.value; @entries = count(); }}");
    let output = Command::new(&programs.rtrace).args(["-q", "-e", &script]).output().context("cannot start rtrace")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && errors.is_empty(), "it ended with {}: {errors}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    ensure!(lines == EXPECTED, "it prints {lines:?}, not {EXPECTED:?}");
    Ok(())
}
