//! `fentry` and `fexit`: the entry and the return of a kernel function, with typed arguments, through a trampoline of
//! the kernel's. Cheaper per event than a kprobe; one program for each function.

mod programs;

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use aya_obj::generated::bpf_attach_type;
use rtrace_lang::probe::{ProbeSpec, wildcard_match};
use rtrace_lang::target::{
    Argument, Attach, Feature, Layout, ProbeSite, ProgramKind, ResolveError, ResolveErrorKind, ResolveOptions, Target,
    TracingKind,
};
use rtrace_lang::types::Type;

use crate::kernel::bpf;
use crate::kernel::btf::{Btf, Kind, Parameter, SOURCE_SHIFT};
use crate::listing::{self, ListedProbe};
use crate::machine::Machine;
use crate::nearest::near_matches;
use crate::provider::{AttachError, Documentation, Link, Provider, is_pattern, may_not_load, not_found, wrong_form};

pub static FENTRY: Trampoline = Trampoline { is_return: false };
pub static FEXIT: Trampoline = Trampoline { is_return: true };

/// Most words of arguments that a trampoline passes (include/linux/bpf.h, `MAX_BPF_FUNC_ARGS`).
const MOST_WORDS: u32 = 12;

pub struct Trampoline {
    is_return: bool,
}

impl Provider for Trampoline {
    fn name(&self) -> &'static str {
        if self.is_return { "fexit" } else { "fentry" }
    }

    fn aliases(&self) -> &'static [&'static str] {
        if self.is_return { &["fr", "kretfunc"] } else { &["f", "kfunc"] }
    }

    fn documentation(&self) -> &'static Documentation {
        if self.is_return {
            &Documentation {
                summary: "Fires when a function of the kernel returns, or of a BPF program; has its arguments and `retval`.",
                usage: &["fexit:FUNCTION", "fexit:MODULE:FUNCTION", "fexit:bpf:FUNCTION", "fexit:bpf:PROGRAM:FUNCTION"],
                example: "fexit:vfs_read { @bytes = hist(retval); }",
            }
        } else {
            &Documentation {
                summary: "Fires when a function of the kernel is entered, or of a BPF program (by number or name), with its arguments as \
                          `args.NAME`.",
                usage: &[
                    "fentry:FUNCTION",
                    "fentry:MODULE:FUNCTION",
                    "fentry:bpf:FUNCTION",
                    "fentry:bpf:PROGRAM:FUNCTION",
                ],
                example: "fentry:vfs_read { @[comm] = sum(args.count); }",
            }
        }
    }

    fn resolve(
        &self,
        machine: &Machine,
        spec: &ProbeSpec,
        options: &ResolveOptions,
    ) -> Result<Vec<ProbeSite>, ResolveError> {
        let program = programs::parse(&spec.parts);
        let (module, pattern) = match spec.parts.as_slice() {
            _ if program.is_some() => (None, &spec.parts[0]),
            [function] if !function.is_empty() => (None, function),
            [module, function] if !module.is_empty() && !function.is_empty() => (Some(module.as_str()), function),
            parts => return Err(wrong_form(self, "not a function", (parts.len() > 2).then_some(3))),
        };
        let Some(vmlinux) = machine.btf() else {
            return Err(unsupported(self.name(), "this kernel has no BTF (CONFIG_DEBUG_INFO_BTF)"));
        };
        if !machine.has(Feature::Trampolines) {
            if machine.features().may_not_load() {
                return Err(may_not_load(self.name()));
            }
            return Err(unsupported(self.name(), "this kernel refuses fentry and fexit programs"));
        }
        if let Some((program, function)) = program {
            return self.sites_in_programs(machine, program, function, options);
        }
        let found = self.sites(machine, module, pattern, options, self.name());
        if found.is_empty() {
            let functions = vmlinux.records().filter(|record| record.kind == Kind::Func);
            let names: Vec<&str> = functions.map(|record| vmlinux.name(&record)).collect();
            let near = near_matches(pattern, names.into_iter(), 3);
            let near: Vec<String> = near.iter().map(|function| format!("{}:{function}", self.name())).collect();
            let message = format!("there is no kernel function `{pattern}` that {} can attach to", self.name());
            return Err(not_found(message, &near, Some(spec.parts.len())));
        }
        Ok(found)
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
        attach_trampolines(machine, program, sites)
    }
}

impl Trampoline {
    /// The matching functions, named as probes of `provider`.
    pub(crate) fn sites(
        &self,
        machine: &Machine,
        module: Option<&str>,
        pattern: &str,
        options: &ResolveOptions,
        provider: &'static str,
    ) -> Vec<ProbeSite> {
        let mut found = Vec::new();
        if let Some(vmlinux) = machine.btf()
            && module.is_none_or(|module| wildcard_match(module, "vmlinux"))
        {
            self.sites_of(machine, vmlinux, None, pattern, options, provider, &mut found);
        }
        if found.is_empty() || module.is_some() || is_pattern(pattern) {
            for name in machine.module_names() {
                let is_meant = module.is_none_or(|module| wildcard_match(module, &name));
                if is_meant && let Some(btf) = machine.module_btf(&name) {
                    self.sites_of(machine, &btf, Some(&name), pattern, options, provider, &mut found);
                }
            }
        }
        found
    }

    #[allow(clippy::too_many_arguments)]
    fn sites_of(
        &self,
        machine: &Machine,
        btf: &Btf,
        module: Option<&str>,
        pattern: &str,
        options: &ResolveOptions,
        provider: &'static str,
        found: &mut Vec<ProbeSite>,
    ) {
        let mut functions: Vec<(&str, u32)> = if is_pattern(pattern) {
            let functions = btf.records().filter(|record| record.kind == Kind::Func);
            let mut functions: Vec<(&str, u32)> = functions
                .map(|record| (btf.name(&record), record.id))
                .filter(|(name, _)| wildcard_match(pattern, name))
                .collect();
            // Without that list the kernel refuses some of them only when they are attached to.
            if let Some(traceable) = machine.traceable_set() {
                functions.retain(|(name, _)| traceable.contains(name));
            }
            functions
        } else {
            btf.find(Kind::Func, pattern).map(|record| (btf.name(&record), record.id)).into_iter().collect()
        };
        functions.sort_unstable();
        functions.dedup_by_key(|function| function.0);
        let source = module.and_then(|module| machine.module_source(module)).unwrap_or(0);
        for (name, id) in functions {
            let Some(layout) = self.layout(machine, btf, id, options) else { continue };
            let kind = if self.is_return { TracingKind::Fexit } else { TracingKind::Fentry };
            found.push(ProbeSite {
                name: match module {
                    None => format!("{provider}:{name}").into(),
                    Some(module) => format!("{provider}:{module}:{name}").into(),
                },
                function: name.into(),
                provider,
                program: ProgramKind::Tracing { attach: kind, btf_id: id | source << SOURCE_SHIFT },
                layout: Arc::new(layout),
                selector: None,
                attach: Attach::Trampoline,
            });
        }
    }

    /// The context is an array of words: the arguments, a struct of up to 16 bytes in two of them, and behind them the
    /// return value. None for what a trampoline does not take.
    fn layout(&self, machine: &Machine, btf: &Btf, id: u32, options: &ResolveOptions) -> Option<Layout> {
        let prototype = btf.prototype(id)?;
        let mut arguments = Vec::new();
        let mut words = 0;
        for parameter in prototype.parameters {
            let size = match &parameter.ty {
                // A parameter of no type is the `...` of a variadic function.
                Type::Void => return None,
                ty => ty.size(),
            };
            if size > 16 {
                return None;
            }
            // A small struct travels in words and has no address.
            let is_struct = matches!(parameter.ty, Type::Struct(_));
            if options.uses_arguments && !parameter.name.is_empty() && !is_struct {
                let at = machine.context_word(parameter.access, words * 8);
                arguments.push(Argument { name: parameter.name, ty: parameter.ty, at });
            }
            words += size.div_ceil(8);
        }
        if words > MOST_WORDS {
            return None;
        }
        let Parameter { ty, access, .. } = prototype.returns;
        let return_value = (self.is_return && !matches!(ty, Type::Void | Type::Struct(_))).then(|| Argument {
            name: "retval".into(),
            ty,
            at: machine.context_word(access, words * 8),
        });
        Some(Layout { arguments, return_value, ..Layout::default() })
    }
}

pub(crate) fn attach_trampolines(
    machine: &Machine,
    program: BorrowedFd<'_>,
    sites: &[(u64, &ProbeSite)],
) -> Result<Vec<Link>, AttachError> {
    let mut links = Vec::new();
    for (cookie, site) in sites {
        let attach_type = match site.program {
            ProgramKind::Tracing { attach: TracingKind::Fentry, btf_id: _ } => bpf_attach_type::BPF_TRACE_FENTRY,
            ProgramKind::Tracing { attach: TracingKind::Fexit, btf_id: _ } => bpf_attach_type::BPF_TRACE_FEXIT,
            ProgramKind::Tracing { attach: TracingKind::RawTracepoint | TracingKind::Iterator, btf_id: _ }
            | ProgramKind::TestRun
            | ProgramKind::Kprobe { .. }
            | ProgramKind::Tracepoint
            | ProgramKind::RawTracepoint
            | ProgramKind::PerfEvent => continue,
        };
        let fd = if *cookie != 0 && machine.has(Feature::TrampolineCookie) {
            bpf::link_create_tracing(program, attach_type, *cookie)
        } else {
            bpf::raw_tracepoint_open(None, program, None)
        };
        links.push(Link::slow(fd.map_err(|error| AttachError::new(site, error))?));
    }
    Ok(links)
}

fn unsupported(provider: &str, reason: &str) -> ResolveError {
    ResolveError {
        kind: ResolveErrorKind::Unsupported,
        message: format!("{provider} does not work here: {reason}"),
        label: "not offered by this kernel".to_string(),
        help: vec!["`tracepoint` and `rawtracepoint` have events at many of the same places.".to_string()],
        part: Some(0),
    }
}
