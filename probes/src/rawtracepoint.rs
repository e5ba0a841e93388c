//! `rawtracepoint`: the kernel's static events with the arguments of the traced code itself, before any record is made
//! of them. Typed where the kernel has BTF, plain words elsewhere.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rtrace_lang::probe::{ProbeSpec, wildcard_match};
use rtrace_lang::target::{
    Argument, Attach, Layout, Location, ProbeSite, ProgramKind, ResolveError, ResolveOptions, TracingKind,
};
use rtrace_lang::types::Type;

use crate::kernel::btf::{Btf, SOURCE_SHIFT};
use crate::listing::{self, ListedProbe};
use crate::machine::Machine;
use crate::nearest::near_misses;
use crate::provider::{AttachError, Documentation, Link, Provider, is_pattern, not_found, wrong_form};
use crate::tracepoint;

pub static RAWTRACEPOINT: RawTracepoint = RawTracepoint;

/// Most arguments that a raw tracepoint passes (include/linux/trace_events.h, `MAX_BPF_FUNC_ARGS`).
const MOST_ARGUMENTS: u32 = 12;

pub struct RawTracepoint;

impl Provider for RawTracepoint {
    fn name(&self) -> &'static str {
        "rawtracepoint"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["rt"]
    }

    fn documentation(&self) -> &'static Documentation {
        &Documentation {
            summary: "Fires at a static event of the kernel with the arguments of the traced code.",
            usage: &["rawtracepoint:EVENT", "rawtracepoint:MODULE:EVENT"],
            example: "rawtracepoint:sched_switch { @[args.next.comm] = count(); }",
        }
    }

    fn resolve(
        &self,
        machine: &Machine,
        spec: &ProbeSpec,
        options: &ResolveOptions,
    ) -> Result<Vec<ProbeSite>, ResolveError> {
        let (module, pattern) = match spec.parts.as_slice() {
            [event] if !event.is_empty() => (None, event),
            [module, event] if !module.is_empty() && !event.is_empty() => (Some(module.as_str()), event),
            parts => return Err(wrong_form(self, "not an event", (parts.len() > 2).then_some(3))),
        };
        let Some(vmlinux) = machine.btf() else { return self.untyped(machine, pattern, options) };
        let mut sites = BTreeMap::new();
        let in_vmlinux = module.is_none_or(|module| wildcard_match(module, "vmlinux"));
        if in_vmlinux {
            self.typed(machine, vmlinux, 0, None, pattern, &mut sites);
        }
        if sites.is_empty() || is_pattern(pattern) || module.is_some() {
            for name in machine.module_names() {
                if module.is_none_or(|module| wildcard_match(module, &name))
                    && let Some(btf) = machine.module_btf(&name)
                {
                    let source = machine.module_source(&name).unwrap_or(0);
                    self.typed(machine, &btf, source, Some(&name), pattern, &mut sites);
                }
            }
        }
        if sites.is_empty() {
            let near = near_misses(pattern, vmlinux.trace_events().keys().map(String::as_str), 3);
            let near: Vec<String> = near.iter().map(|event| format!("rawtracepoint:{event}")).collect();
            return Err(not_found(format!("there is no raw tracepoint `{pattern}`"), &near, Some(spec.parts.len())));
        }
        Ok(sites.into_values().collect())
    }

    fn list(&self, machine: &Machine, parts: &[String], verbose: bool) -> Result<Vec<ListedProbe>, ResolveError> {
        listing::by_resolving(self, machine, parts, 1, verbose)
    }

    fn attach(
        &self,
        machine: &Machine,
        program: BorrowedFd<'_>,
        sites: &[(u64, &ProbeSite)],
    ) -> Result<Vec<Link>, AttachError> {
        tracepoint::attach_events(machine, program, sites)
    }
}

impl RawTracepoint {
    /// Adds the matching events of one blob, by name.
    #[allow(clippy::too_many_arguments)]
    fn typed(
        &self,
        machine: &Machine,
        btf: &Btf,
        source: u32,
        module: Option<&str>,
        pattern: &str,
        sites: &mut BTreeMap<Arc<str>, ProbeSite>,
    ) {
        let events = btf.trace_events();
        let matching: Vec<(&String, &u32)> = if is_pattern(pattern) {
            events.iter().filter(|(event, _)| wildcard_match(pattern, event)).collect()
        } else {
            events.get_key_value(pattern).into_iter().collect()
        };
        for (event, id) in matching {
            let name: Arc<str> = match module {
                None => format!("{}:{event}", self.name()).into(),
                Some(module) => format!("{}:{module}:{event}", self.name()).into(),
            };
            let site = ProbeSite {
                name: name.clone(),
                function: event.as_str().into(),
                provider: self.name(),
                program: ProgramKind::Tracing {
                    attach: TracingKind::RawTracepoint,
                    btf_id: id | source << SOURCE_SHIFT,
                },
                layout: Arc::new(layout(machine, btf, event, *id)),
                selector: None,
                attach: Attach::RawTracepoint { event: event.as_str().into() },
            };
            sites.entry(name).or_insert(site);
        }
    }

    /// Without BTF: the events of tracefs, whose arguments are words of unknown number.
    fn untyped(
        &self,
        machine: &Machine,
        pattern: &str,
        options: &ResolveOptions,
    ) -> Result<Vec<ProbeSite>, ResolveError> {
        machine.tracefs_for(self.name())?;
        let mut events: Vec<String> = tracepoint::all_events(machine).into_iter().map(|(_, event)| event).collect();
        events.sort_unstable();
        events.dedup();
        let layout = Arc::new(Layout { registers: words(MOST_ARGUMENTS), ..Layout::default() });
        let found: Vec<ProbeSite> = events
            .iter()
            .filter(|event| wildcard_match(pattern, event))
            .map(|event| ProbeSite {
                name: format!("{}:{event}", self.name()).into(),
                function: event.as_str().into(),
                provider: self.name(),
                program: ProgramKind::RawTracepoint,
                layout: layout.clone(),
                selector: None,
                attach: Attach::RawTracepoint { event: event.as_str().into() },
            })
            .collect();
        if found.is_empty() {
            let near = near_misses(pattern, events.iter().map(String::as_str), 3);
            let near: Vec<String> = near.iter().map(|event| format!("rawtracepoint:{event}")).collect();
            return Err(not_found(format!("there is no raw tracepoint `{pattern}`"), &near, Some(1)));
        }
        if options.uses_arguments {
            let mut error = not_found("this kernel does not tell the types of raw tracepoints".to_string(), &[], None);
            error.kind = rtrace_lang::target::ResolveErrorKind::Unsupported;
            error.label = "no typed arguments".to_string();
            error.help = vec!["Use arg0, arg1 and so on, or `tracepoint` and its fields.".to_string()];
            return Err(error);
        }
        Ok(found)
    }
}

/// The context is an array of words, one for each parameter of the trace function but its first, the private data.
fn layout(machine: &Machine, btf: &Btf, event: &str, id: u32) -> Layout {
    let mut parameters = btf.prototype(id).map_or_else(Vec::new, |prototype| prototype.parameters);
    for (parameter, name) in parameters.iter_mut().zip(parameter_names(btf, event)) {
        if parameter.name.is_empty() {
            parameter.name = name;
        }
    }
    let mut layout = Layout::default();
    for (index, parameter) in parameters.iter().skip(1).take(MOST_ARGUMENTS as usize).enumerate() {
        let at = machine.context_word(parameter.access, index as u32 * 8);
        // A small struct travels in a word and has no address.
        if !parameter.name.is_empty() && !matches!(parameter.ty, Type::Struct(_) | Type::Void) {
            let (name, ty) = (parameter.name.clone(), parameter.ty.clone());
            layout.arguments.push(Argument { name, ty, at: at.clone() });
        }
        layout.registers.push(Argument { name: format!("arg{index}").into(), ty: Type::U64, at });
    }
    layout
}

/// The names of the trace function's parameters. Its type often has none, since compilers keep no names in types of
/// functions; the function that calls the event's programs has the same parameters, with names.
fn parameter_names(btf: &Btf, event: &str) -> Vec<Arc<str>> {
    let prototype = btf.trace_callers().get(event).and_then(|id| btf.prototype(*id));
    prototype.map_or_else(Vec::new, |prototype| prototype.parameters.into_iter().map(|found| found.name).collect())
}

/// `arg0` and so on, one word each.
fn words(count: u32) -> Vec<Argument> {
    (0..count.min(MOST_ARGUMENTS))
        .map(|index| Argument {
            name: format!("arg{index}").into(),
            ty: Type::U64,
            at: Location::Context { offset: index * 8 },
        })
        .collect()
}
