//! Iterators over the entries of maps that another program has made: this one, which knows what is in them.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
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
    let id = number(map.as_fd())?;
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

/// The kernel's number of a map.
fn number(map: BorrowedFd<'_>) -> Result<String> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("map_id:")).context("the map has no number")?;
    Ok(id.trim().to_string())
}

/// Connections that lie in a map of sockets, and how often each is seen.
const CONNECTIONS: usize = 3;

/// Goes through the sockets of a sockmap, and of a sockhash; another kind of map is refused with the reason.
pub fn check_sockets(programs: &Programs) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let connections: Vec<TcpStream> =
        (0..CONNECTIONS).map(|_| TcpStream::connect(address)).collect::<Result<_, _>>()?;
    // BPF_MAP_TYPE_SOCKMAP and BPF_MAP_TYPE_SOCKHASH (include/uapi/linux/bpf.h)
    for (kind, name) in [(15, "sockmap"), (18, "sockhash")] {
        let config = MapConfig { kind, key_bytes: 4, value_bytes: 4, entries: 10, name, ..MapConfig::default() };
        let map = map_create(&config)?;
        for (key, connection) in (0_u32..).zip(&connections) {
            map_update(map.as_fd(), &key.to_ne_bytes(), &connection.as_raw_fd().to_ne_bytes(), 0)
                .with_context(|| format!("a socket in a {name}"))?;
        }
        let script = format!(
            "iter:sockmap:{} {{ @[*(uint32 *)ctx.key, bswap(ctx.sk.__sk_common.skc_dport)] = count(); }}",
            number(map.as_fd())?
        );
        let output = Command::new(&programs.rtrace).args(["-q", "-e", &script]).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && errors.is_empty(), "{name}: it ended with {}: {errors}", output.status);
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        lines.sort_unstable();
        let expected: Vec<String> = (0..CONNECTIONS).map(|key| format!("@[{key}, {}]: 1", address.port())).collect();
        ensure!(lines == expected, "{name}: it prints {lines:?}, not {expected:?}");
    }
    let config = MapConfig { kind: 1, key_bytes: 4, value_bytes: 4, entries: 1, name: "plain", ..MapConfig::default() };
    let map = map_create(&config)?;
    let script = format!("iter:sockmap:{} {{ }}", number(map.as_fd())?);
    let output = Command::new(&programs.rtrace).args(["-q", "-e", &script]).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2) && errors.contains("sockmaps and sockhashes alone"), "it says {errors}");
    Ok(())
}
