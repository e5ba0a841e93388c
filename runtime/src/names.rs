//! What numbers stand for: users, errors, signals, system calls, addresses of networks and devices.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rtrace_lang::names;
use rtrace_lang::probe::wildcard_match;
use rtrace_lang::target::Target;
use rtrace_lang::types::Shown;

use crate::clock;

const AF_INET6: u64 = 10;

/// Names of users, read when the first is asked for.
#[derive(Default)]
pub struct Names {
    users: Option<HashMap<u64, Arc<str>>>,
    /// Paths of cgroups by their ids; read again when one is missing.
    cgroups: Cgroups,
}

impl Names {
    /// The text of a number.
    pub fn show(&mut self, shown: &Shown, number: u64, target: &dyn Target) -> Arc<str> {
        let known = match shown {
            Shown::ErrorText => Some(error_text(number as i64)),
            Shown::SignalName => names::signal_name(number as i64).map(Arc::from),
            Shown::SystemCallName => names::syscall_name(number as i64).map(Arc::from),
            Shown::CgroupPath(None) => self.cgroup(number),
            Shown::CgroupPath(Some(pattern)) => Some(self.cgroup_in(number, pattern)),
            Shown::AllocationFlags => Some(flags(number, &target.allocation_flags()).into()),
            Shown::UserName => self.users.get_or_insert_with(users).get(&number).cloned(),
            Shown::Mac => {
                let bytes = number.to_le_bytes();
                let parts: Vec<String> = bytes[..6].iter().map(|byte| format!("{byte:02X}")).collect();
                Some(parts.join(":").into())
            }
            Shown::Time(format) => Some(clock::format(format, clock::wall_of_boot(number)).into()),
            Shown::AtomicTime(format) => Some(clock::format(format, clock::wall_of_tai(number)).into()),
            Shown::Date(format) => Some(clock::format(format, number as i64).into()),
        };
        known.unwrap_or_else(|| (number as i64).to_string().into())
    }
}

impl Names {
    /// The path in the hierarchy of version 2.
    fn cgroup(&mut self, id: u64) -> Option<Arc<str>> {
        self.cgroup_paths(id).iter().find(|(hierarchy, _)| &**hierarchy == UNIFIED).map(|(_, path)| path.clone())
    }

    /// The paths in all hierarchies that fit the pattern, each behind the name of its hierarchy.
    fn cgroup_in(&mut self, id: u64, pattern: &str) -> Arc<str> {
        let paths = self.cgroup_paths(id).iter().filter(|(hierarchy, _)| wildcard_match(pattern, hierarchy));
        paths.map(|(hierarchy, path)| format!("{hierarchy}:{path}")).collect::<Vec<_>>().join(",").into()
    }

    fn cgroup_paths(&mut self, id: u64) -> &[(Arc<str>, Arc<str>)] {
        if !self.cgroups.contains_key(&id) {
            self.cgroups.clear();
            for (hierarchy, root) in hierarchies() {
                read_cgroups(&hierarchy, &root, "", &mut self.cgroups);
            }
        }
        self.cgroups.get(&id).map_or(&[], Vec::as_slice)
    }
}

/// The name of the hierarchy of version 2.
const UNIFIED: &str = "unified";

/// Where hierarchies are mounted: that of version 2 alone, or beside those of version 1.
fn hierarchies() -> Vec<(Arc<str>, PathBuf)> {
    const ROOT: &str = "/sys/fs/cgroup";
    if Path::new(ROOT).join("cgroup.controllers").exists() {
        return vec![(UNIFIED.into(), ROOT.into())];
    }
    let directories = Path::new(ROOT).read_dir().into_iter().flatten().flatten();
    // Links are second names of hierarchies that are there already.
    let mut all: Vec<(Arc<str>, PathBuf)> = directories
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| (entry.file_name().to_string_lossy().into(), entry.path()))
        .collect();
    all.sort_by(|(a, _), (b, _)| (&**a != UNIFIED, a).cmp(&(&**b != UNIFIED, b)));
    all
}

/// The text of an error, as strerror(3) gives it. The kernel's functions return errors as negative numbers.
fn error_text(number: i64) -> Arc<str> {
    match number.saturating_abs() {
        0 => "Success".into(),
        positive => names::errno_text(positive).map_or_else(|| format!("Unknown error {number}").into(), Arc::from),
    }
}

/// Hierarchies and paths in them, by the ids of cgroups.
type Cgroups = HashMap<u64, Vec<(Arc<str>, Arc<str>)>>;

/// A directory of cgroups and all below it, by their inodes' numbers, which are their ids.
fn read_cgroups(hierarchy: &Arc<str>, root: &Path, path: &str, known: &mut Cgroups) {
    let directory = root.join(path.trim_start_matches('/'));
    let Ok(metadata) = directory.metadata() else { return };
    let shown: Arc<str> = if path.is_empty() { "/".into() } else { path.into() };
    known.entry(metadata.ino()).or_default().push((hierarchy.clone(), shown));
    for entry in directory.read_dir().into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            read_cgroups(hierarchy, root, &format!("{path}/{}", entry.file_name().to_string_lossy()), known);
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
