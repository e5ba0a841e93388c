//! Events that the kernel counts: what `software` and `hardware` share, and how every perf event that counts is attached.

use std::fs;
use std::os::fd::BorrowedFd;

use aya_obj::generated::perf_type_id;
use rtrace_lang::probe::{ProbeSpec, wildcard_match};
use rtrace_lang::target::{Attach, ProbeSite, ProgramKind, ResolveError, ResolveOptions};

use crate::kernel::perf::{self, PerfKind, PerfScope};
use crate::kernel::{KernelError, system};
use crate::nearest::near_misses;
use crate::provider::{AttachError, Link, Provider, empty_layout, is_pattern, link_perf_event, not_found, wrong_form};

/// A message names no more events than this.
const MOST_NAMED: usize = 12;

/// A kind of event that is counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Counter {
    pub(crate) name: String,
    pub(crate) aliases: &'static [&'static str],
    /// `type` and `config` of perf_event_open(2).
    pub(crate) kind: u32,
    pub(crate) config: u64,
    /// Events between two firings where the script does not say; what scripts written for bpftrace expect.
    pub(crate) period: u64,
}

/// The counters that `EVENT` or `EVENT:COUNT` means. `unlisted` knows those that are in no list.
pub(crate) fn resolve(
    provider: &dyn Provider,
    counters: &[Counter],
    unlisted: impl Fn(&str) -> Option<Counter>,
    spec: &ProbeSpec,
    options: &ResolveOptions,
) -> Result<Vec<ProbeSite>, ResolveError> {
    let (pattern, count) = match spec.parts.as_slice() {
        [] => return Err(wrong_form(provider, "an event is missing", None)),
        [event] => (event.as_str(), ""),
        [event, count] => (event.as_str(), count.as_str()),
        [_, _, ..] => return Err(wrong_form(provider, "too many parts", Some(3))),
    };
    let period = match count {
        "" => None,
        count => match count.replace('_', "").parse::<u64>() {
            Ok(period) if period > 0 => Some(period),
            Ok(_) | Err(_) => return Err(wrong_form(provider, "no whole number above zero", Some(2))),
        },
    };
    let matches = |counter: &Counter| {
        if is_pattern(pattern) {
            wildcard_match(pattern, &counter.name)
        } else {
            counter.name == pattern || counter.aliases.contains(&pattern)
        }
    };
    let site = |counter: &Counter| ProbeSite {
        name: format!("{}:{}:{count}", provider.name(), counter.name).into(),
        function: counter.name.as_str().into(),
        provider: provider.name(),
        program: ProgramKind::PerfEvent,
        layout: empty_layout(),
        selector: None,
        attach: Attach::PerfEvent {
            kind: counter.kind,
            config: counter.config,
            period: period.unwrap_or(counter.period),
            frequency: false,
            pid: options.only_pid(),
        },
    };
    let listed: Vec<ProbeSite> = counters.iter().filter(|counter| matches(counter)).map(site).collect();
    if !listed.is_empty() {
        return Ok(listed);
    }
    if let Some(counter) = unlisted(pattern) {
        return Ok(vec![site(&counter)]);
    }
    let names = || counters.iter().map(|counter| counter.name.as_str());
    let near = near_misses(pattern, names(), 3);
    let mut error = not_found(format!("there is no {} event `{pattern}`", provider.name()), &near, Some(1));
    error.help.push(if counters.len() <= MOST_NAMED {
        format!("Events of {} are {}.", provider.name(), names().collect::<Vec<_>>().join(", "))
    } else {
        format!("`rtrace -l '{}:*'` lists them.", provider.name())
    });
    Err(error)
}

/// Attaches to counters: on every online processor, or for one process on each of its threads, the later ones
/// included.
pub(crate) fn attach(program: BorrowedFd<'_>, sites: &[(u64, &ProbeSite)]) -> Result<Vec<Link>, AttachError> {
    let mut links = Vec::new();
    for (cookie, site) in sites {
        let Attach::PerfEvent { kind, config, period, frequency, pid } = site.attach else { continue };
        let counter = PerfKind::Counter { kind, config, period, frequency };
        let is_software = kind == perf_type_id::PERF_TYPE_SOFTWARE as u32;
        let failed = |source: KernelError| match source.errno() {
            Some(libc::EINVAL) if frequency => AttachError::new(site, source)
                .with_help("The highest rate is that of `sysctl kernel.perf_event_max_sample_rate`."),
            Some(libc::ENOENT | libc::EOPNOTSUPP | libc::ENXIO | libc::EINVAL | libc::ENODEV) if !is_software => {
                let absent = KernelError::Absent("this machine has no such counter".to_string());
                AttachError::new(site, absent).with_help(
                    "Virtual machines seldom have counters of the processor; `software:cpu-clock` and `profile` work everywhere.",
                )
            }
            _ => AttachError::new(site, source),
        };
        attach_scopes(program, counter, pid, *cookie, is_software, &mut links).map_err(failed)?;
    }
    Ok(links)
}

/// Opens an event for each processor, or each thread of a process, and attaches to it. With `may_be_offline` a
/// processor that does not know the event has gone offline since it was listed.
pub(crate) fn attach_scopes(
    program: BorrowedFd<'_>,
    event: PerfKind<'_>,
    pid: Option<u32>,
    cookie: u64,
    may_be_offline: bool,
    links: &mut Vec<Link>,
) -> Result<(), KernelError> {
    for scope in scopes(pid)? {
        let event = match perf::perf_event_open(event, scope) {
            Ok(event) => event,
            // The thread has ended since it was listed.
            Err(error) if pid.is_some() && error.errno() == Some(libc::ESRCH) => continue,
            Err(error) if pid.is_none() && may_be_offline && error.errno() == Some(libc::ENODEV) => continue,
            Err(error) => return Err(error),
        };
        links.push(link_perf_event(program, event, cookie, false)?);
    }
    Ok(())
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
