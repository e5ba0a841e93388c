//! What keeps this process from tracing: capabilities that it lacks, and settings of the kernel that ask for more. Reads; changes
//! nothing.

use std::fs;

use super::btf::{Btf, Kind};

/// Bits of a set of capabilities (include/uapi/linux/capability.h).
const SYS_ADMIN: u64 = 1 << 21;
const SYS_RESOURCE: u64 = 1 << 24;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

/// What decides whether a program may be loaded and attached.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Privileges {
    effective: u64,
    /// `kernel.perf_event_paranoid`: above 2, which only distributions' kernels know, perf events are left to CAP_SYS_ADMIN.
    paranoid: i32,
    /// RLIMIT_MEMLOCK, if there is a limit.
    locked_bytes: Option<u64>,
    /// The mode of the lockdown module, if it is on.
    pub lockdown: Option<Lockdown>,
}

/// What a kernel that is locked down keeps even from root (Documentation: kernel_lockdown(7)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lockdown {
    Integrity,
    /// Programs may not read the kernel's memory, and kprobes are not to be had.
    Confidentiality,
}

impl Privileges {
    pub fn read() -> Privileges {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Privileges {
            effective: effective(&text("/proc/self/status")).unwrap_or_default(),
            paranoid: text("/proc/sys/kernel/perf_event_paranoid").trim().parse().unwrap_or_default(),
            locked_bytes: locked_bytes(&text("/proc/self/limits")),
            lockdown: lockdown(&text("/sys/kernel/security/lockdown")),
        }
    }

    /// Whether perf events are refused to a process that has all capabilities for them but CAP_SYS_ADMIN.
    pub fn lacks_perf_events(&self) -> bool {
        self.paranoid > 2 && self.effective & SYS_ADMIN == 0
    }

    /// What would have to be different, a sentence each. `perf_event`: it is a perf event that was refused.
    pub fn help(&self, perf_event: bool) -> Vec<String> {
        let mut help = Vec::new();
        if self.lockdown == Some(Lockdown::Confidentiality) {
            help.push(
                "The kernel is locked down: programs may not read its memory, and kprobes are refused. It is booted with \
                 `lockdown=confidentiality`, or was told so in /sys/kernel/security/lockdown."
                    .to_string(),
            );
        }
        let missing: Vec<&str> = [("CAP_BPF", BPF), ("CAP_PERFMON", PERFMON)]
            .into_iter()
            .filter(|(_, bit)| self.effective & (SYS_ADMIN | bit) == 0)
            .map(|(name, _)| name)
            .collect();
        match &missing[..] {
            [] => {}
            [one] => help.push(format!("Run as root, or with the capability {one} as well.")),
            all => help.push(format!("Run as root, or with the capabilities {}.", all.join(" and "))),
        }
        if perf_event && self.lacks_perf_events() {
            help.push(format!(
                "Here perf events take CAP_SYS_ADMIN as well, since kernel.perf_event_paranoid is {}: `sysctl \
                 kernel.perf_event_paranoid=2` changes that.",
                self.paranoid
            ));
        } else if perf_event && missing.is_empty() && self.effective & SYS_ADMIN == 0 {
            help.push("This form of probe takes CAP_SYS_ADMIN as well.".to_string());
        }
        if help.is_empty()
            && let Some(bytes) = self.locked_bytes.filter(|_| self.effective & SYS_RESOURCE == 0)
            && memory_is_locked()
        {
            help.push(format!(
                "On this kernel, as on all before 5.11, maps and programs are locked memory, of which this process may have {} KiB \
                 (RLIMIT_MEMLOCK). `ulimit -l unlimited` as root, in the shell that starts it, raises that, and so does the \
                 capability CAP_SYS_RESOURCE.",
                bytes / 1024
            ));
        }
        if help.is_empty() {
            help.push("A security module or the container that rtrace runs in may forbid it.".to_string());
        }
        help
    }
}

fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// The first number is the one that counts: `Max locked memory   65536   65536   bytes`, or `unlimited`.
fn locked_bytes(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Whether the kernel counts what is loaded against RLIMIT_MEMLOCK: the struct that it counted in went with that.
fn memory_is_locked() -> bool {
    Btf::open_vmlinux().is_ok_and(|btf| btf.find(Kind::Struct, "bpf_map_memory").is_some())
}

/// The file has all modes, the one that counts in brackets: `none [integrity] confidentiality`.
fn lockdown(text: &str) -> Option<Lockdown> {
    let (_, rest) = text.split_once('[')?;
    match rest.split(']').next()? {
        "integrity" => Some(Lockdown::Integrity),
        "confidentiality" => Some(Lockdown::Confidentiality),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read() {
        assert_eq!(effective("Name:\tx\nCapEff:\t000000c000000000\n"), Some(PERFMON | BPF));
        let limits = "Limit   Soft Limit  Hard Limit  Units\nMax locked memory         65536      131072      bytes\n";
        assert_eq!(locked_bytes(limits), Some(65536));
        assert_eq!(locked_bytes("Max locked memory         unlimited  unlimited  bytes\n"), None);
        assert_eq!(lockdown("none integrity [confidentiality]\n"), Some(Lockdown::Confidentiality));
        assert_eq!(lockdown("[none] integrity confidentiality\n"), None);
        assert_eq!(lockdown(""), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let with = |effective, paranoid| Privileges { effective, paranoid, ..Privileges::default() };
        assert!(with(0, 2).help(false)[0].contains("CAP_BPF and CAP_PERFMON"));
        assert!(with(BPF, 2).help(false)[0].contains("capability CAP_PERFMON"));
        let help = with(BPF | PERFMON, 3).help(true);
        assert!(help.len() == 1 && help[0].contains("perf_event_paranoid is 3"), "{help:?}");
        assert!(with(SYS_ADMIN, 3).help(true)[0].contains("security module"));
        assert!(!with(SYS_ADMIN, 3).lacks_perf_events() && with(BPF, 3).lacks_perf_events());
    }
}
