//! `software`: events that the kernel itself counts (page faults, context switches), and how perf events are attached.

use std::fs;
use std::os::fd::BorrowedFd;

use aya_obj::generated::{perf_sw_ids, perf_type_id};
use rtrace_lang::probe::{ProbeSpec, wildcard_match};
use rtrace_lang::target::{Attach, ProbeSite, ProgramKind, ResolveError, ResolveOptions};

use crate::kernel::perf::{self, PerfKind, PerfScope};
use crate::kernel::{KernelError, system};
use crate::listing::{self, ListedProbe};
use crate::machine::Machine;
use crate::nearest::near_misses;
use crate::provider::{
    AttachError, Documentation, Link, Provider, empty_layout, is_pattern, link_perf_event, not_found, wrong_form,
};

pub static SOFTWARE: Software = Software;

struct SoftwareEvent {
    name: &'static str,
    alias: Option<&'static str>,
    config: perf_sw_ids,
    /// Events between two firings where the script does not say; what scripts written for bpftrace expect.
    period: u64,
}

const fn event(name: &'static str, alias: Option<&'static str>, config: perf_sw_ids, period: u64) -> SoftwareEvent {
    SoftwareEvent { name, alias, config, period }
}

static EVENTS: &[SoftwareEvent] = &[
    event("alignment-faults", None, perf_sw_ids::PERF_COUNT_SW_ALIGNMENT_FAULTS, 1),
    event("bpf-output", None, perf_sw_ids::PERF_COUNT_SW_BPF_OUTPUT, 1),
    event("context-switches", Some("cs"), perf_sw_ids::PERF_COUNT_SW_CONTEXT_SWITCHES, 1000),
    event("cpu-clock", Some("cpu"), perf_sw_ids::PERF_COUNT_SW_CPU_CLOCK, 1_000_000),
    event("cpu-migrations", None, perf_sw_ids::PERF_COUNT_SW_CPU_MIGRATIONS, 1),
    event("dummy", None, perf_sw_ids::PERF_COUNT_SW_DUMMY, 1),
    event("emulation-faults", None, perf_sw_ids::PERF_COUNT_SW_EMULATION_FAULTS, 1),
    event("major-faults", None, perf_sw_ids::PERF_COUNT_SW_PAGE_FAULTS_MAJ, 1),
    event("minor-faults", None, perf_sw_ids::PERF_COUNT_SW_PAGE_FAULTS_MIN, 100),
    event("page-faults", Some("faults"), perf_sw_ids::PERF_COUNT_SW_PAGE_FAULTS, 100),
    event("task-clock", None, perf_sw_ids::PERF_COUNT_SW_TASK_CLOCK, 1),
];

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
        let (pattern, count) = match spec.parts.as_slice() {
            [] => return Err(wrong_form(self, "an event is missing", None)),
            [event] => (event, ""),
            [event, count] => (event, count.as_str()),
            [_, _, ..] => return Err(wrong_form(self, "too many parts", Some(3))),
        };
        let period = match count {
            "" => None,
            count => match count.replace('_', "").parse::<u64>() {
                Ok(period) if period > 0 => Some(period),
                Ok(_) | Err(_) => return Err(wrong_form(self, "no whole number above zero", Some(2))),
            },
        };
        let matching = |event: &&SoftwareEvent| {
            if is_pattern(pattern) {
                wildcard_match(pattern, event.name)
            } else {
                event.name == pattern || event.alias == Some(pattern)
            }
        };
        let sites: Vec<ProbeSite> = EVENTS
            .iter()
            .filter(matching)
            .map(|event| ProbeSite {
                name: format!("{}:{}:{count}", self.name(), event.name).into(),
                function: event.name.into(),
                provider: self.name(),
                program: ProgramKind::PerfEvent,
                layout: empty_layout(),
                selector: None,
                attach: Attach::PerfEvent {
                    kind: perf_type_id::PERF_TYPE_SOFTWARE as u32,
                    config: event.config as u64,
                    period: period.unwrap_or(event.period),
                    frequency: false,
                    pid: options.pid,
                },
            })
            .collect();
        if sites.is_empty() {
            let near = near_misses(pattern, EVENTS.iter().map(|event| event.name), 3);
            let mut error = not_found(format!("there is no software event `{pattern}`"), &near, Some(1));
            let all: Vec<&str> = EVENTS.iter().map(|event| event.name).collect();
            error.help.push(format!("Software events are {}.", all.join(", ")));
            return Err(error);
        }
        Ok(sites)
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
        attach_perf_events(program, sites)
    }
}

/// Attaches to counters: on every online processor, or for one process on each of its threads, the later ones
/// included.
pub(crate) fn attach_perf_events(
    program: BorrowedFd<'_>,
    sites: &[(u64, &ProbeSite)],
) -> Result<Vec<Link>, AttachError> {
    let mut links = Vec::new();
    for (cookie, site) in sites {
        let Attach::PerfEvent { kind, config, period, frequency, pid } = site.attach else { continue };
        let counter = PerfKind::Counter { kind, config, period, frequency };
        let failed = |source: KernelError| {
            let too_often = frequency && source.errno() == Some(libc::EINVAL);
            let error = AttachError::new(site, source);
            if too_often {
                error.with_help("The highest rate is that of `sysctl kernel.perf_event_max_sample_rate`.")
            } else {
                error
            }
        };
        for scope in scopes(pid).map_err(failed)? {
            let event = match perf::perf_event_open(counter, scope) {
                Ok(event) => event,
                // The thread has ended since it was listed.
                Err(error) if pid.is_some() && error.errno() == Some(libc::ESRCH) => continue,
                // The processor has gone offline since it was listed.
                Err(error) if pid.is_none() && error.errno() == Some(libc::ENODEV) => continue,
                Err(error) => return Err(failed(error)),
            };
            links.push(link_perf_event(program, event, *cookie, false).map_err(failed)?);
        }
    }
    Ok(links)
}

fn scopes(pid: Option<u32>) -> Result<Vec<PerfScope>, KernelError> {
    let Some(pid) = pid else {
        return Ok(system::online_cpus()?.into_iter().map(PerfScope::Cpu).collect());
    };
    let path = format!("/proc/{pid}/task");
    let entries = fs::read_dir(&path).map_err(|source| KernelError::File { path: path.into(), source })?;
    let thread = |entry: std::io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    Ok(entries.filter_map(thread).map(PerfScope::Thread).collect())
}
