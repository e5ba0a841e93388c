//! What numbers stand for: users, errors, signals, system calls, addresses of networks and devices.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rtrace_lang::names;
use rtrace_lang::target::Target;
use rtrace_lang::types::Shown;

use crate::clock;

const AF_INET6: u64 = 10;

/// The name of a process that there is not.
const NO_PROCESS: &str = "N/A";

/// Names of users, read when the first is asked for.
#[derive(Default)]
pub struct Names {
    users: Option<HashMap<u64, Arc<str>>>,
    /// Paths of cgroups by their ids; read again when one is missing.
    cgroups: HashMap<u64, Arc<str>>,
}

impl Names {
    /// The text of a number.
    pub fn show(&mut self, shown: &Shown, number: u64, target: &dyn Target) -> Arc<str> {
        let known = match shown {
            Shown::ErrorText => names::errno_text(number as i64).map(Arc::from),
            Shown::SignalName => names::signal_name(number as i64).map(Arc::from),
            Shown::SystemCallName => names::syscall_name(number as i64).map(Arc::from),
            Shown::ProcessName => Some(process_name(number).unwrap_or_else(|| NO_PROCESS.into())),
            Shown::CgroupPath => self.cgroup(number),
            Shown::AllocationFlags => Some(flags(number, &target.allocation_flags()).into()),
            Shown::UserName => self.users.get_or_insert_with(users).get(&number).cloned(),
            Shown::Mac => {
                let bytes = number.to_le_bytes();
                let parts: Vec<String> = bytes[..6].iter().map(|byte| format!("{byte:02X}")).collect();
                Some(parts.join(":").into())
            }
            Shown::Time(format) => Some(clock::format(format, clock::wall_of_boot(number)).into()),
            Shown::Date(format) => Some(clock::format(format, number as i64).into()),
        };
        known.unwrap_or_else(|| (number as i64).to_string().into())
    }
}

impl Names {
    fn cgroup(&mut self, id: u64) -> Option<Arc<str>> {
        if !self.cgroups.contains_key(&id) {
            // Where version 1 is mounted, too, version 2 stands beside it.
            for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
                read_cgroups(Path::new(root), "", &mut self.cgroups);
            }
        }
        self.cgroups.get(&id).cloned()
    }
}

/// A directory of cgroups and all below it, by their inodes' numbers, which are their ids.
fn read_cgroups(root: &Path, path: &str, known: &mut HashMap<u64, Arc<str>>) {
    let directory = root.join(path.trim_start_matches('/'));
    let Ok(metadata) = directory.metadata() else { return };
    known.entry(metadata.ino()).or_insert_with(|| if path.is_empty() { "/".into() } else { path.into() });
    for entry in directory.read_dir().into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            read_cgroups(root, &format!("{path}/{}", entry.file_name().to_string_lossy()), known);
        }
    }
}

/// The names of flags, joined as the kernel does: each row that is all there takes its bits; those without a name come last.
fn flags(mut number: u64, rows: &[(Arc<str>, u64)]) -> String {
    if number == 0 {
        return "none".to_string();
    }
    let mut names = Vec::new();
    for (name, bits) in rows {
        if number & bits == *bits {
            names.push(name.to_string());
            number &= !bits;
        }
    }
    if number != 0 {
        names.push(format!("{number:#x}"));
    }
    names.join("|")
}

fn process_name(pid: u64) -> Option<Arc<str>> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end_matches('\n').into())
}

/// An address of that family; `bytes` holds 16 of them, of which IPv4 takes the first four.
pub fn internet(family: u64, bytes: &[u8]) -> String {
    let mut all = [0; 16];
    let length = bytes.len().min(16);
    all[..length].copy_from_slice(&bytes[..length]);
    match family {
        AF_INET6 => Ipv6Addr::from(all).to_string(),
        _ => Ipv4Addr::new(all[0], all[1], all[2], all[3]).to_string(),
    }
}

/// Users of /etc/passwd (passwd(5)).
fn users() -> HashMap<u64, Arc<str>> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut parts = line.split(':');
            let (name, number) = (parts.next()?, parts.nth(1)?);
            Some((number.parse().ok()?, name.into()))
        })
        .collect()
}
