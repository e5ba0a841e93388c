//! What this machine lets tests do: privileges, features, whether it is a guest, which tiers must not be skipped, and
//! where the programs under test are. Decides what a skip means; runs no case.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use rtrace_lang::calls;
use rtrace_lang::target::{Feature, Target, WatchMode};
use rtrace_lang::types::StructKind;
use rtrace_probes::Machine;
use rtrace_probes::kernel::bpf::{MapConfig, map_create};
use rtrace_probes::kernel::perf::{PerfKind, PerfScope, perf_event_open};

use crate::{browser, formats, grammar, modules, other_files, prometheus, real_programs, scrapes, tasks, typed_lines};

/// What a case needs beyond the right to load programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    Kprobes,
    /// fentry and fexit.
    Fentry,
    /// Counters of the processor.
    Hardware,
    /// Attachments that tell which of many sites fired.
    Cookies,
    /// Many functions of a program under one attachment.
    UprobeMulti,
    /// Loops over the entries of a map.
    MapLoops,
    /// Loops of any number of rounds.
    Loops,
    /// Programs can ask the kernel what a process has mapped.
    Mappings,
    /// Programs that read what other processors have counted.
    OtherProcessors,
    /// Programs read the clock of atomic time.
    AtomicClock,
    /// Addresses of the kernel's variables, not of its functions alone.
    KernelVariables,
    /// A program that changes its root.
    OtherRoot,
    /// Cgroups of version 2 that the user may make.
    Cgroups,
    /// A program that makes process namespaces.
    Namespaces,
    /// The distribution's Python, with probes of its own.
    Python,
    /// The distribution's PostgreSQL, with probes of its own.
    Postgresql,
    /// A bash that reads its lines itself.
    Bash,
    /// OpenSSL as a library and as a command.
    Openssl,
    /// The same, and a program that uses GnuTLS.
    Gnutls,
    /// The checker of metrics that Prometheus comes with.
    Promtool,
    Go,
    /// A browser without a window.
    Browser,
    /// Prometheus itself.
    Prometheus,
    /// Node.js, which writes down what it compiles.
    Node,
    /// The editor.
    Vim,
    /// Iterators over the mappings of processes.
    TaskMappings,
    /// Debug registers of the processor.
    Watchpoints,
    /// Functions that programs may keep from running.
    Override,
    /// Programs may write the memory of processes.
    WriteUser,
    /// The module tun, which guests have; it is loaded when a case needs it.
    Tun,
    /// The same, and the kernel shows the types of modules.
    TunTypes,
    /// Events of waits for locks.
    Contention,
    /// The disk is given its memory as a list, with an event for each.
    DmaLists,
    /// Iterators over the entries of a map.
    MapEntries,
}

const NEEDS: &[(&str, Need)] = &[
    ("kprobes", Need::Kprobes),
    ("fentry", Need::Fentry),
    ("hardware", Need::Hardware),
    ("cookies", Need::Cookies),
    ("uprobe_multi", Need::UprobeMulti),
    ("map_loops", Need::MapLoops),
    ("loops", Need::Loops),
    ("mappings", Need::Mappings),
    ("other_cpus", Need::OtherProcessors),
    ("atomic_clock", Need::AtomicClock),
    ("kernel_variables", Need::KernelVariables),
    ("chroot", Need::OtherRoot),
    ("cgroups", Need::Cgroups),
    ("namespaces", Need::Namespaces),
    ("python", Need::Python),
    ("postgresql", Need::Postgresql),
    ("bash", Need::Bash),
    ("openssl", Need::Openssl),
    ("gnutls", Need::Gnutls),
    ("promtool", Need::Promtool),
    ("go", Need::Go),
    ("browser", Need::Browser),
    ("prometheus", Need::Prometheus),
    ("node", Need::Node),
    ("vim", Need::Vim),
    ("task_vma", Need::TaskMappings),
    ("watchpoints", Need::Watchpoints),
    ("override", Need::Override),
    ("write_user", Need::WriteUser),
    ("tun", Need::Tun),
    ("tun_types", Need::TunTypes),
    ("contention", Need::Contention),
    ("dma_lists", Need::DmaLists),
    ("map_entries", Need::MapEntries),
];

impl Need {
    pub fn named(word: &str) -> Result<Need> {
        let found = NEEDS.iter().find(|(name, _)| *name == word).map(|(_, need)| *need);
        found.with_context(|| format!("there is nothing called `{word}` to need"))
    }

    fn name(self) -> &'static str {
        NEEDS.iter().find(|(_, need)| *need == self).map_or("", |(name, _)| *name)
    }

    fn is_met(self, machine: &Machine) -> bool {
        match self {
            Need::Kprobes => machine.has(Feature::Kprobes),
            Need::Fentry => machine.has(Feature::Trampolines),
            Need::Hardware => Path::new("/sys/bus/event_source/devices/cpu").exists(),
            Need::Cookies => machine.has(Feature::AttachCookie),
            Need::UprobeMulti => machine.has(Feature::UprobeMulti),
            Need::MapLoops => machine.has(Feature::Helper(calls::FOR_EACH_MAP_ELEM)),
            Need::Loops => machine.has(Feature::Helper(calls::LOOP)),
            Need::Mappings => machine.has(Feature::Helper(calls::FIND_VMA)),
            Need::OtherProcessors => machine.has(Feature::Helper(calls::MAP_LOOKUP_PERCPU_ELEM)),
            Need::AtomicClock => machine.has(Feature::Helper(calls::KTIME_GET_TAI_NS)),
            Need::Watchpoints => has_watchpoints(),
            Need::Override => machine.has(Feature::Helper(calls::OVERRIDE_RETURN)),
            Need::WriteUser => machine.has(Feature::Helper(calls::PROBE_WRITE_USER)),
            Need::Tun => modules::load(modules::KEPT).is_ok(),
            Need::TunTypes => modules::load(modules::KEPT).is_ok() && machine.module_btf(modules::KEPT).is_some(),
            Need::TaskMappings => machine.struct_named(StructKind::Struct, "bpf_iter__task_vma").is_some(),
            Need::Contention => machine.struct_named(StructKind::Struct, "trace_event_raw_contention_begin").is_some(),
            Need::DmaLists => {
                machine.struct_named(StructKind::Struct, "trace_event_raw_dma_map_sg").is_some()
                    && machine.struct_named(StructKind::Struct, "blk_dma_iter").is_none()
            }
            Need::MapEntries => machine.struct_named(StructKind::Struct, "bpf_iter__bpf_map_elem").is_some(),
            Need::KernelVariables => machine.kernel_symbol("__per_cpu_offset").is_some(),
            Need::OtherRoot => other_files::can_change_root(),
            Need::Cgroups => tasks::can_make_cgroups(),
            Need::Namespaces => tasks::can_make_namespaces(),
            Need::Python => real_programs::python().is_some(),
            Need::Postgresql => real_programs::postgresql().is_some(),
            Need::Bash => typed_lines::bash().is_some(),
            Need::Openssl => typed_lines::openssl().is_some(),
            Need::Gnutls => typed_lines::wget().is_some(),
            Need::Promtool => scrapes::promtool().is_some(),
            Need::Go => formats::go_pprof().is_some(),
            Need::Browser => browser::program().is_some(),
            Need::Prometheus => prometheus::server().is_some(),
            Need::Node => real_programs::node().is_some(),
            Need::Vim => grammar::vim().is_some(),
        }
    }

    /// Whether a machine without it may skip the case although its tier is required. What guests have is tested there,
    /// in their tier; no guest has a processor's counters.
    fn may_be_missing(self, in_guest: bool) -> bool {
        match self {
            Need::Kprobes | Need::Fentry | Need::KernelVariables | Need::WriteUser | Need::Tun => !in_guest,
            // Installed where all tests run; no guest has it.
            Need::Browser => in_guest,
            // Not every machine has them installed, and no guest has.
            Need::OtherRoot | Need::Cgroups | Need::Namespaces | Need::Python | Need::Postgresql => true,
            Need::Bash | Need::Openssl | Need::Gnutls | Need::Promtool | Need::Prometheus | Need::Go => true,
            Need::Node | Need::Vim => true,
            Need::Hardware | Need::Watchpoints => true,
            // Kernels before 5.11 have no types of modules.
            Need::TunTypes => true,
            // A matter of the kernel's configuration.
            Need::Override => true,
            // Kernels before 5.13, 5.15, 5.17, 5.19, 6.1 and 6.6 lack one or another of them.
            Need::Cookies
            | Need::UprobeMulti
            | Need::MapLoops
            | Need::Loops
            | Need::Mappings
            | Need::AtomicClock
            | Need::OtherProcessors
            | Need::Contention
            | Need::DmaLists
            | Need::MapEntries
            | Need::TaskMappings => true,
        }
    }
}

/// What is known of the machine, found out once.
pub struct Environment {
    pub in_guest: bool,
    /// Tiers in which a skip is a failure (RTRACE_REQUIRE_TIERS).
    required: BTreeSet<u8>,
    machine: Machine,
    /// Why no program can be loaded.
    cannot_load: OnceLock<Option<String>>,
}

impl Environment {
    pub fn detect() -> Result<Environment> {
        let required = match std::env::var("RTRACE_REQUIRE_TIERS") {
            Ok(text) => parse_tiers(&text).context("in RTRACE_REQUIRE_TIERS")?,
            Err(_) => BTreeSet::new(),
        };
        Ok(Environment {
            in_guest: std::env::var_os("RTRACE_GUEST").is_some(),
            required,
            machine: Machine::new(),
            cannot_load: OnceLock::new(),
        })
    }

    /// Why a case of that tier with these needs can't run here, if it can't.
    /// An error instead where the tier is required and nothing excuses the skip.
    pub fn reason_to_skip(&self, tier: u8, needs: &[Need]) -> Result<Option<String>> {
        if tier == 0 {
            return Ok(None);
        }
        if tier == 3 && !self.in_guest {
            return self.skip(tier, false, "runs in guests: `cargo xtask vm 6.12 -- rtrace-cases`".to_string());
        }
        if let Some(reason) = self.cannot_load.get_or_init(cannot_load) {
            return self.skip(tier, false, reason.clone());
        }
        match needs.iter().find(|need| !need.is_met(&self.machine)) {
            None => Ok(None),
            Some(need) => {
                let reason = format!("this machine lacks what `needs: {}` names", need.name());
                self.skip(tier, need.may_be_missing(self.in_guest), reason)
            }
        }
    }

    fn skip(&self, tier: u8, is_excused: bool, reason: String) -> Result<Option<String>> {
        if self.required.contains(&tier) && !is_excused {
            bail!("tier {tier} is required, and this case would be skipped: {reason}");
        }
        Ok(Some(reason))
    }
}

/// Whether the kernel and the processor watch an address of this process.
fn has_watchpoints() -> bool {
    let event = PerfKind::Breakpoint { address: 0x1000, bytes: 8, mode: WatchMode::Write };
    perf_event_open(event, PerfScope::Thread(std::process::id())).is_ok()
}

/// Whether maps may be made here: the first thing that a missing privilege forbids.
fn cannot_load() -> Option<String> {
    let config = MapConfig {
        // BPF_MAP_TYPE_ARRAY (include/uapi/linux/bpf.h)
        kind: 2,
        key_bytes: 4,
        value_bytes: 8,
        entries: 1,
        flags: 0,
        name: "rtrace_tests",
        btf: None,
        inner: None,
    };
    map_create(&config).err().map(|error| format!("programs can't be loaded here: {error}"))
}

/// `0,1,2`
pub fn parse_tiers(text: &str) -> Result<BTreeSet<u8>> {
    let one = |word: &str| match word.trim().parse() {
        Ok(tier @ 0..=3) => Ok(tier),
        _ => bail!("`{word}` is no tier: there are 0, 1, 2 and 3"),
    };
    text.split(',').filter(|word| !word.trim().is_empty()).map(one).collect()
}

/// The programs that cases run.
#[derive(Clone, Debug)]
pub struct Programs {
    pub rtrace: PathBuf,
    /// The directory of the workloads.
    pub workloads: PathBuf,
}

impl Programs {
    /// From RTRACE_BIN and RTRACE_WORKLOADS, else from the PATH.
    pub fn installed() -> Result<Programs> {
        let rtrace = match std::env::var_os("RTRACE_BIN") {
            Some(path) => PathBuf::from(path),
            None => on_path("rtrace").context("there is no `rtrace` on the PATH; RTRACE_BIN may name it")?,
        };
        let workloads = match std::env::var_os("RTRACE_WORKLOADS") {
            Some(path) => PathBuf::from(path),
            None => on_path("workload")
                .and_then(|path| path.parent().map(Path::to_path_buf))
                .context("there is no `workload` on the PATH; RTRACE_WORKLOADS may name its directory")?,
        };
        Programs { rtrace, workloads }.checked()
    }

    pub fn checked(self) -> Result<Programs> {
        for path in [self.rtrace.clone(), self.workloads.join("workload"), self.workloads.join("workload-pie")] {
            if !path.is_file() {
                bail!("there is no {}", path.display());
            }
        }
        Ok(self)
    }
}

/// A program by its name.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(required: &str, in_guest: bool, cannot_load: Option<&str>) -> Environment {
        Environment {
            in_guest,
            required: parse_tiers(required).expect("tiers"),
            machine: Machine::new(),
            cannot_load: OnceLock::from(cannot_load.map(str::to_string)),
        }
    }

    #[test]
    fn a_required_tier_is_never_skipped_for_a_privilege() {
        assert!(environment("0,1,2", false, Some("no")).reason_to_skip(2, &[]).is_err());
        assert!(matches!(environment("", false, Some("no")).reason_to_skip(2, &[]), Ok(Some(_))));
        assert!(matches!(environment("0,1,2", false, None).reason_to_skip(2, &[]), Ok(None)));
    }

    #[test]
    fn guests_excuse_this_machine_and_not_themselves() {
        for need in [Need::Kprobes, Need::Fentry] {
            assert!(need.may_be_missing(false) && !need.may_be_missing(true));
        }
        assert!(matches!(environment("0,1,2", false, None).reason_to_skip(3, &[]), Ok(Some(_))));
        assert!(environment("1,2,3", false, None).reason_to_skip(3, &[]).is_err());
    }
}
