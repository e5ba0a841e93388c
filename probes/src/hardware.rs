//! `hardware`: events that the processor counts (cycles, instructions, cache misses), by the names of bpftrace and of
//! perf, caches in perf's spelling, and raw numbers of events.

use std::os::fd::BorrowedFd;
use std::sync::LazyLock;

use aya_obj::generated::perf_type_id;
use rtrace_lang::probe::ProbeSpec;
use rtrace_lang::target::{ProbeSite, ResolveError, ResolveOptions};

use crate::counters::{self, Counter};
use crate::listing::{self, ListedProbe};
use crate::machine::Machine;
use crate::provider::{AttachError, Documentation, Link, Provider};

pub static HARDWARE: Hardware = Hardware;

/// What is usual for frequent events.
const PERIOD: u64 = 1_000_000;

/// `PERF_COUNT_HW_*` in the order of their numbers (include/uapi/linux/perf_event.h), with other names and the period.
const GENERAL: [(&str, &[&str], u64); 10] = [
    ("cpu-cycles", &["cycles"], PERIOD),
    ("instructions", &[], PERIOD),
    ("cache-references", &[], PERIOD),
    ("cache-misses", &[], PERIOD),
    ("branch-instructions", &["branches"], 100_000),
    ("branch-misses", &[], 100_000),
    ("bus-cycles", &[], 100_000),
    ("frontend-stalls", &["stalled-cycles-frontend", "idle-cycles-frontend"], PERIOD),
    ("backend-stalls", &["stalled-cycles-backend", "idle-cycles-backend"], PERIOD),
    ("ref-cycles", &[], PERIOD),
];

/// `PERF_COUNT_HW_CACHE_*` in the order of their numbers, with what can be counted of each.
const CACHES: [(&str, &[Operation]); 7] = [
    ("L1-dcache", &[LOAD, STORE, PREFETCH]),
    ("L1-icache", &[LOAD, PREFETCH]),
    ("LLC", &[LOAD, STORE, PREFETCH]),
    ("dTLB", &[LOAD, STORE, PREFETCH]),
    ("iTLB", &[LOAD]),
    ("branch", &[LOAD]),
    ("node", &[LOAD, STORE, PREFETCH]),
];

/// The number of `PERF_COUNT_HW_CACHE_OP_*`, the word for one such access, and for several.
type Operation = (u64, &'static str, &'static str);

const LOAD: Operation = (0, "load", "loads");
const STORE: Operation = (1, "store", "stores");
const PREFETCH: Operation = (2, "prefetch", "prefetches");

static EVENTS: LazyLock<Vec<Counter>> = LazyLock::new(|| {
    let general = GENERAL.iter().enumerate().map(|(number, (name, aliases, period))| Counter {
        name: name.to_string(),
        aliases,
        kind: perf_type_id::PERF_TYPE_HARDWARE as u32,
        config: number as u64,
        period: *period,
    });
    let mut events: Vec<Counter> = general.collect();
    for (cache, (name, operations)) in CACHES.iter().enumerate() {
        for (operation, one, several) in *operations {
            // PERF_COUNT_HW_CACHE_RESULT_ACCESS and _MISS
            for (result, event) in [(0, several.to_string()), (1, format!("{one}-misses"))] {
                events.push(Counter {
                    name: format!("{name}-{event}"),
                    aliases: &[],
                    kind: perf_type_id::PERF_TYPE_HW_CACHE as u32,
                    config: cache as u64 | operation << 8 | result << 16,
                    period: PERIOD,
                });
            }
        }
    }
    events
});

/// `r01c2`: the number of an event of this processor, in hexadecimal digits.
fn raw(name: &str) -> Option<Counter> {
    let digits = name.strip_prefix('r')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let config = u64::from_str_radix(digits, 16).ok().filter(|_| is_number)?;
    Some(Counter {
        name: name.to_string(),
        aliases: &[],
        kind: perf_type_id::PERF_TYPE_RAW as u32,
        config,
        period: PERIOD,
    })
}

pub struct Hardware;

impl Provider for Hardware {
    fn name(&self) -> &'static str {
        "hardware"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["h"]
    }

    fn documentation(&self) -> &'static Documentation {
        &Documentation {
            summary: "Fires each COUNT events of a kind that the processor counts, caches as perf names them; `rNNN` is a raw event.",
            usage: &["hardware:EVENT", "hardware:EVENT:COUNT", "hardware:rNNN", "hardware:rNNN:COUNT"],
            example: "hardware:LLC-load-misses:10000 { @[comm] = count(); }",
        }
    }

    fn resolve(&self, _: &Machine, spec: &ProbeSpec, options: &ResolveOptions) -> Result<Vec<ProbeSite>, ResolveError> {
        counters::resolve(self, &EVENTS, raw, spec, options)
    }

    fn list(&self, machine: &Machine, parts: &[String], verbose: bool) -> Result<Vec<ListedProbe>, ResolveError> {
        listing::by_resolving(self, machine, parts, 1, verbose)
    }

    fn attach(
        &self,
        _: &Machine,
        program: BorrowedFd<'_>,
        sites: &[(u64, &ProbeSite)],
    ) -> Result<Vec<Link>, AttachError> {
        counters::attach(program, sites)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtrace_lang::span::Span;
    use rtrace_lang::target::Attach;

    /// Type, `config` and period of what a specification means.
    fn event(text: &str) -> Option<(u32, u64, u64)> {
        let spec = ProbeSpec::parse(text, Span::default());
        let sites = HARDWARE.resolve(&Machine::new(), &spec, &ResolveOptions::default()).ok()?;
        assert_eq!(sites.len(), 1, "{text}");
        match sites[0].attach {
            Attach::PerfEvent { kind, config, period, .. } => Some((kind, config, period)),
            _ => None,
        }
    }

    #[test]
    fn names_of_events() {
        assert_eq!(event("hardware:cpu-cycles"), Some((0, 0, 1_000_000)));
        assert_eq!(event("h:cycles:5000"), Some((0, 0, 5000)));
        assert_eq!(event("hardware:branches:"), Some((0, 4, 100_000)));
        assert_eq!(event("hardware:branch-misses"), Some((0, 5, 100_000)));
        assert_eq!(event("hardware:backend-stalls"), Some((0, 8, 1_000_000)));
        assert_eq!(event("hardware:stalled-cycles-frontend"), Some((0, 7, 1_000_000)));
        assert_eq!(event("hardware:ref-cycles"), Some((0, 9, 1_000_000)));
        assert_eq!(event("hardware:no-such-event"), None);
    }

    #[test]
    fn caches_in_the_spelling_of_perf() {
        assert_eq!(event("hardware:L1-dcache-loads"), Some((3, 0, 1_000_000)));
        assert_eq!(event("hardware:L1-dcache-load-misses:100"), Some((3, 0x10000, 100)));
        assert_eq!(event("hardware:LLC-store-misses"), Some((3, 0x10102, 1_000_000)));
        assert_eq!(event("hardware:dTLB-prefetches"), Some((3, 0x203, 1_000_000)));
        assert_eq!(event("hardware:node-prefetch-misses"), Some((3, 0x10206, 1_000_000)));
        assert_eq!(event("hardware:iTLB-stores"), None);
    }

    #[test]
    fn raw_events() {
        assert_eq!(event("hardware:r01c2:7"), Some((4, 0x1c2, 7)));
        assert_eq!(event("hardware:r"), None);
        assert_eq!(event("hardware:r+1"), None);
        assert_eq!(event("hardware:rz"), None);
    }
}
