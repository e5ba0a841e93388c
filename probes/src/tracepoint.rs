//! `tracepoint`: the kernel's static events, with the fields of their records. Attaches in the cheapest way that still
//! gives what the clause uses: system calls share one typed raw tracepoint, events without fields take an untyped one,
//! and only the rest takes a perf tracepoint, whose end costs the kernel 60-80 ms each. Where raw tracepoints pass over
//! events, all take what does not.

mod fields;
mod syscalls;
mod untold;

use std::ffi::CString;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rtrace_lang::probe::{ProbeSpec, wildcard_match};
use rtrace_lang::target::{Attach, Feature, Layout, ProbeSite, ProgramKind, ResolveError, ResolveOptions, Target};

use crate::kernel::KernelError;
use crate::kernel::bpf;
use crate::kernel::perf::{self, PerfKind, PerfScope};
use crate::kernel::tracefs::Tracefs;
use crate::listing::{self, ListedProbe};
use crate::machine::Machine;
use crate::nearest::{near_matches, near_misses};
use crate::provider::{
    AttachError, Documentation, Link, Provider, empty_layout, is_pattern, link_perf_event, no_privilege, not_found,
    wrong_form,
};

pub static TRACEPOINT: Tracepoint = Tracepoint;

/// Most near misses that a message names.
const NEAR_MISSES: usize = 3;

pub struct Tracepoint;

impl Provider for Tracepoint {
    fn name(&self) -> &'static str {
        "tracepoint"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["t"]
    }

    fn documentation(&self) -> &'static Documentation {
        &Documentation {
            summary: "Fires at a static event of the kernel; its fields are `args.NAME`.",
            usage: &["tracepoint:CATEGORY:EVENT"],
            example: "tracepoint:syscalls:sys_enter_openat { printf(\"%s\\n\", str(args.filename)); }",
        }
    }

    fn resolve(
        &self,
        machine: &Machine,
        spec: &ProbeSpec,
        options: &ResolveOptions,
    ) -> Result<Vec<ProbeSite>, ResolveError> {
        let (category, event) = match spec.parts.as_slice() {
            [category, event] if !category.is_empty() && !event.is_empty() => (category, event),
            [event] => return Err(category_missing(machine, event)),
            parts => return Err(wrong_form(self, "not a category and an event", (parts.len() > 2).then_some(3))),
        };
        let tracefs = match machine.tracefs_for(self.name()) {
            Ok(tracefs) => tracefs,
            // The names of system calls are known without it, and so is how to attach to them.
            Err(error) if machine.is_for_compiling() || category == "syscalls" && !options.uses_arguments => {
                return untold::sites(machine, category, event, options).ok_or(error);
            }
            Err(error) => return Err(error),
        };
        let matches = matching_events(tracefs, category, event).map_err(|error| unreadable(&error))?;
        let mut sites = Vec::with_capacity(matches.len());
        let is_wildcard = is_pattern(category) || is_pattern(event);
        for (category, event) in &matches {
            match site(machine, tracefs, category, event, options) {
                Ok(Some(site)) => sites.push(site),
                Ok(None) => {}
                // The event has gone with its module since it was listed.
                Err(KernelError::File { source, .. })
                    if is_wildcard && source.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(&error)),
            }
        }
        if sites.is_empty() { Err(no_such_event(tracefs, category, event)) } else { Ok(sites) }
    }

    fn list(&self, machine: &Machine, parts: &[String], verbose: bool) -> Result<Vec<ListedProbe>, ResolveError> {
        listing::by_resolving(self, machine, parts, 2, verbose)
    }

    fn attach(
        &self,
        machine: &Machine,
        program: BorrowedFd<'_>,
        sites: &[(u64, &ProbeSite)],
    ) -> Result<Vec<Link>, AttachError> {
        attach_events(machine, program, sites)
    }
}

/// Attaches to events in all ways. Sites that a selector tells apart share one attachment.
pub(crate) fn attach_events(
    machine: &Machine,
    program: BorrowedFd<'_>,
    sites: &[(u64, &ProbeSite)],
) -> Result<Vec<Link>, AttachError> {
    let mut links = Vec::new();
    let mut shared: Vec<&Attach> = Vec::new();
    for (cookie, site) in sites {
        let failed = |error| AttachError::new(site, error);
        if site.selector.is_some() {
            if shared.contains(&&site.attach) {
                continue;
            }
            shared.push(&site.attach);
        }
        match &site.attach {
            Attach::Tracepoint { id } => {
                // Every CPU runs the program, whichever the event was opened on.
                let event =
                    perf::perf_event_open(PerfKind::Tracepoint { id: *id }, PerfScope::Cpu(0)).map_err(failed)?;
                links.push(link_perf_event(program, event, *cookie, true).map_err(failed)?);
            }
            Attach::RawTracepoint { event } => {
                let is_typed = matches!(site.program, ProgramKind::Tracing { .. });
                let name = CString::new(event.as_bytes()).expect("names of events hold no NUL");
                let has_cookie = *cookie != 0 && site.selector.is_none() && machine.has(Feature::RawTracepointCookie);
                let fd = bpf::raw_tracepoint_open((!is_typed).then_some(&name), program, has_cookie.then_some(*cookie));
                links.push(Link::quick(fd.map_err(failed)?));
            }
            Attach::Kprobe { .. } => links.extend(syscalls::attach_to_function(machine, program, site)?),
            Attach::Begin
            | Attach::End
            | Attach::Trial(_)
            | Attach::Timer { .. }
            | Attach::Signal { .. }
            | Attach::Uprobe { .. }
            | Attach::Trampoline
            | Attach::Iterator { .. }
            | Attach::PerfEvent { .. }
            | Attach::Watchpoint { .. } => {}
        }
    }
    Ok(links)
}

/// One event; None for one that can't be attached to.
fn site(
    machine: &Machine,
    tracefs: &Tracefs,
    category: &str,
    event: &str,
    options: &ResolveOptions,
) -> Result<Option<ProbeSite>, KernelError> {
    let format = if options.uses_arguments { Some(tracefs.format(category, event)?) } else { None };
    if category == "syscalls"
        && let Some(site) = syscalls::site(machine, event, format.as_deref())
    {
        return Ok(Some(site));
    }
    let known = |event: &str| machine.btf().is_some_and(|btf| btf.trace_events().contains_key(event));
    // A perf tracepoint's program is not left in the middle.
    let passes_over = || machine.avoids_raw_tracepoints() && !is_without_preemption(category, event);
    if format.is_none() && !tracefs.is_dynamic(category, event) && known(event) && !passes_over() {
        return Ok(Some(bare_site(category, event)));
    }
    let Some(id) = tracefs.event_id(category, event)? else { return Ok(None) };
    let layout = match format {
        Some(format) => {
            let arguments = fields::arguments(machine, &format, fields::space_of(category));
            Arc::new(Layout { arguments, ..Layout::default() })
        }
        None => empty_layout(),
    };
    let attach = Attach::Tracepoint { id };
    Ok(Some(ProbeSite { program: ProgramKind::Tracepoint, layout, attach, ..bare_site(category, event) }))
}

/// An event for a clause that uses no arguments.
fn bare_site(category: &str, event: &str) -> ProbeSite {
    ProbeSite {
        name: format!("tracepoint:{category}:{event}").into(),
        function: event.into(),
        provider: TRACEPOINT.name(),
        program: ProgramKind::RawTracepoint,
        layout: empty_layout(),
        selector: None,
        attach: Attach::RawTracepoint { event: event.into() },
    }
}

/// Whether the event fires where no task can be taken off: in interrupts, and while the scheduler is at work on a queue. There a perf
/// tracepoint would miss what comes in the middle of the tool's own work on maps, and a raw one does not.
fn is_without_preemption(category: &str, event: &str) -> bool {
    match category {
        "irq" | "irq_vectors" | "ipi" => true,
        "sched" => ["sched_switch", "sched_wak", "sched_migrate_task", "sched_stat_"]
            .iter()
            .any(|first| event.starts_with(first)),
        _ => false,
    }
}

/// Categories and events that match, in order. Events of `ftrace` itself can't be attached to.
fn matching_events(tracefs: &Tracefs, category: &str, event: &str) -> Result<Vec<(String, String)>, KernelError> {
    if !is_pattern(category) && !is_pattern(event) {
        let exists = tracefs.has_event(category, event);
        return Ok(if exists { vec![(category.to_string(), event.to_string())] } else { Vec::new() });
    }
    let mut found = Vec::new();
    let categories: Vec<String> = if is_pattern(category) {
        tracefs
            .categories()?
            .iter()
            .filter(|name| wildcard_match(category, name) && *name != "ftrace")
            .cloned()
            .collect()
    } else {
        vec![category.to_string()]
    };
    for category in categories {
        let events = tracefs.events(&category)?;
        let matching = events.iter().flat_map(|events| events.iter()).filter(|name| wildcard_match(event, name));
        found.extend(matching.map(|event| (category.clone(), event.clone())));
    }
    Ok(found)
}

fn unreadable(error: &KernelError) -> ResolveError {
    if error.is_privilege() {
        let message = format!("tracepoint needs to read tracefs, which is not permitted ({error})");
        return no_privilege(message, "the capability CAP_DAC_READ_SEARCH", None);
    }
    not_found(format!("the event can't be read ({error})"), &[], None)
}

fn no_such_event(tracefs: &Tracefs, category: &str, event: &str) -> ResolveError {
    let known = tracefs.categories().unwrap_or_default();
    let is_known = known.iter().any(|name| wildcard_match(category, name));
    if is_known && (is_pattern(category) || is_pattern(event)) {
        let near = match tracefs.events(category) {
            Ok(Some(events)) => near_matches(event, events.iter().map(String::as_str), NEAR_MISSES),
            Ok(None) | Err(_) => Vec::new(),
        };
        let near: Vec<String> = near.iter().map(|event| format!("tracepoint:{category}:{event}")).collect();
        return not_found(format!("no tracepoint matches `{category}:{event}`"), &near, Some(2));
    }
    let Ok(Some(events)) = tracefs.events(category) else {
        let mut near = near_matches(category, known.iter().map(String::as_str), NEAR_MISSES);
        if near.is_empty() {
            // `kvmmmu` is of `kvm`.
            near = known.iter().filter(|known| category.starts_with(known.as_str())).cloned().collect();
        }
        let message = match is_pattern(category) {
            true => format!("no tracepoint category matches `{category}`"),
            false => format!("there is no tracepoint category `{category}`"),
        };
        return not_found(message, &near, Some(1));
    };
    let mut near = near_misses(event, events.iter().map(String::as_str), NEAR_MISSES);
    if near.is_empty() {
        near = elsewhere(tracefs, event);
    }
    let near: Vec<String> = near
        .into_iter()
        .map(|event| if event.contains(':') { event } else { format!("tracepoint:{category}:{event}") })
        .collect();
    not_found(format!("there is no tracepoint `{category}:{event}`"), &near, Some(2))
}

/// The event in other categories, as full names.
fn elsewhere(tracefs: &Tracefs, event: &str) -> Vec<String> {
    let categories = tracefs.categories().unwrap_or_default().iter();
    categories
        .filter(|category| *category != "ftrace" && tracefs.has_event(category, event))
        .map(|category| format!("tracepoint:{category}:{event}"))
        .collect()
}

fn category_missing(machine: &Machine, event: &str) -> ResolveError {
    let mut error = wrong_form(&TRACEPOINT, "only one part", Some(1));
    let Ok(tracefs) = machine.tracefs() else { return error };
    let near = elsewhere(tracefs, event);
    if !near.is_empty() {
        error.help.push(format!("Did you mean {}?", crate::provider::quoted_list(near.iter().map(String::as_str))));
    }
    error
}

/// Categories and events of everything that can be attached to, for messages.
pub(crate) fn all_events(machine: &Machine) -> Vec<(String, String)> {
    machine.tracefs().ok().and_then(|tracefs| matching_events(tracefs, "*", "*").ok()).unwrap_or_default()
}
