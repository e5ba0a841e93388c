//! `software`: events that the kernel itself counts (page faults, context switches).

use std::os::fd::BorrowedFd;
use std::sync::LazyLock;

use aya_obj::generated::{perf_sw_ids, perf_type_id};
use rtrace_lang::probe::ProbeSpec;
use rtrace_lang::target::{ProbeSite, ResolveError, ResolveOptions};

use crate::counters::{self, Counter};
use crate::listing::{self, ListedProbe};
use crate::machine::Machine;
use crate::provider::{AttachError, Documentation, Link, Provider};

pub static SOFTWARE: Software = Software;

static EVENTS: LazyLock<Vec<Counter>> = LazyLock::new(|| {
    let event = |name: &str, aliases, config: perf_sw_ids, period| Counter {
        name: name.to_string(),
        aliases,
        kind: perf_type_id::PERF_TYPE_SOFTWARE as u32,
        config: config as u64,
        period,
    };
    vec![
        event("alignment-faults", &[], perf_sw_ids::PERF_COUNT_SW_ALIGNMENT_FAULTS, 1),
        event("bpf-output", &[], perf_sw_ids::PERF_COUNT_SW_BPF_OUTPUT, 1),
        event("context-switches", &["cs"], perf_sw_ids::PERF_COUNT_SW_CONTEXT_SWITCHES, 1000),
        event("cpu-clock", &["cpu"], perf_sw_ids::PERF_COUNT_SW_CPU_CLOCK, 1_000_000),
        event("cpu-migrations", &[], perf_sw_ids::PERF_COUNT_SW_CPU_MIGRATIONS, 1),
        event("dummy", &[], perf_sw_ids::PERF_COUNT_SW_DUMMY, 1),
        event("emulation-faults", &[], perf_sw_ids::PERF_COUNT_SW_EMULATION_FAULTS, 1),
        event("major-faults", &[], perf_sw_ids::PERF_COUNT_SW_PAGE_FAULTS_MAJ, 1),
        event("minor-faults", &[], perf_sw_ids::PERF_COUNT_SW_PAGE_FAULTS_MIN, 100),
        event("page-faults", &["faults"], perf_sw_ids::PERF_COUNT_SW_PAGE_FAULTS, 100),
        event("task-clock", &[], perf_sw_ids::PERF_COUNT_SW_TASK_CLOCK, 1),
    ]
});

pub struct Software;

impl Provider for Software {
    fn name(&self) -> &'static str {
        "software"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["s"]
    }

    fn documentation(&self) -> &'static Documentation {
        &Documentation {
            summary: "Fires each COUNT events of a kind that the kernel counts in software.",
            usage: &["software:EVENT", "software:EVENT:COUNT"],
            example: "software:page-faults:1 { @[comm] = count(); }",
        }
    }

    fn resolve(&self, _: &Machine, spec: &ProbeSpec, options: &ResolveOptions) -> Result<Vec<ProbeSite>, ResolveError> {
        counters::resolve(self, &EVENTS, |_| None, spec, options)
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
