//! What `-v` says of attachments: in which way each probe is attached, and under which symbol a function was found.

use std::collections::BTreeMap;
use std::sync::Arc;

use rtrace_lang::target::{Attach, MultiKind, ProbeSite, ProgramKind, TracingKind};
use rtrace_probes::Link;

/// So many names stand in a line.
const NAMED: usize = 3;

/// What was attached so far.
#[derive(Default)]
pub struct Ways {
    /// Names of sites, by their way.
    sites: BTreeMap<&'static str, Vec<Arc<str>>>,
    /// Names of sites, and the symbols of their functions.
    renamed: Vec<(Arc<str>, Arc<str>)>,
}

impl Ways {
    /// Notes the links that have come of the sites of one program.
    pub fn note<'a>(&mut self, kind: ProgramKind, sites: impl Iterator<Item = &'a ProbeSite>, links: &[Link]) {
        let mut last = None;
        for site in sites {
            self.sites.entry(way(kind, site)).or_default().push(site.name.clone());
            last = Some(&site.name);
        }
        // Such a link is of one site.
        if let Some(name) = last {
            self.renamed.extend(links.iter().filter_map(|link| Some((name.clone(), link.renamed()?.clone()))));
        }
    }

    /// A line for each way, and for each function that has another symbol.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (way, names) in &self.sites {
            let named: Vec<&str> = names.iter().take(NAMED).map(|name| &**name).collect();
            let more = match names.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            text.push_str(&format!("attached by {way}: {}{more}\n", named.join(", ")));
        }
        for (name, symbol) in &self.renamed {
            text.push_str(&format!("symbol of {name} in this kernel: {symbol}\n"));
        }
        text
    }
}

fn way(kind: ProgramKind, site: &ProbeSite) -> &'static str {
    match (kind, &site.attach) {
        (ProgramKind::Kprobe { multi: MultiKind::KprobeMulti, user: _ }, _) if is_trampoline(site) => {
            "kprobe_multi, since fentry does not work here"
        }
        (ProgramKind::Kprobe { multi: MultiKind::KprobeMulti, user: _ }, _) => "kprobe_multi",
        (ProgramKind::Kprobe { multi: MultiKind::KprobeSession, user: _ }, _) => "kprobe sessions",
        (ProgramKind::Kprobe { multi: MultiKind::UprobeMulti, user: _ }, _) => "uprobe_multi",
        (ProgramKind::Kprobe { multi: MultiKind::Single, user: _ }, Attach::Kprobe { .. }) if is_trampoline(site) => {
            "single kprobes, since fentry does not work here"
        }
        (ProgramKind::Kprobe { multi: MultiKind::Single, user: _ }, Attach::Kprobe { .. }) if is_event(site) => {
            "kprobes of what fires them, since raw tracepoints pass over events here"
        }
        (ProgramKind::Kprobe { multi: MultiKind::Single, user: _ }, Attach::Kprobe { .. }) => "single kprobes",
        (ProgramKind::Kprobe { multi: MultiKind::Single, user: _ }, _) => "single uprobes",
        (ProgramKind::Tracing { attach: TracingKind::Fentry | TracingKind::Fexit, btf_id: _ }, _) => {
            if is_trampoline(site) { "trampolines" } else { "trampolines, since this kernel has no kprobes" }
        }
        (ProgramKind::Tracing { attach: TracingKind::RawTracepoint, btf_id: _ }, _) => "typed raw tracepoints",
        (ProgramKind::Tracing { attach: TracingKind::Iterator, btf_id: _ }, _) => "iterators",
        (ProgramKind::RawTracepoint, _) => "raw tracepoints",
        (ProgramKind::Tracepoint, _) => "perf tracepoints",
        (ProgramKind::PerfEvent, _) => "perf events",
        (ProgramKind::TestRun, _) => "the tool itself",
    }
}

/// Whether the script asks for an event.
fn is_event(site: &ProbeSite) -> bool {
    site.provider == "tracepoint"
}

/// Whether the script asks for fentry or fexit.
fn is_trampoline(site: &ProbeSite) -> bool {
    matches!(site.provider, "fentry" | "fexit")
}
