//! `fentry` and `fexit`: the entry and the return of a kernel function, with typed arguments, through a trampoline of
//! the kernel's. Cheaper per event than a kprobe; one program for each function.

pub(crate) mod absent;
mod programs;

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use aya_obj::generated::bpf_attach_type;
use rtrace_lang::probe::{ProbeSpec, wildcard_match};
use rtrace_lang::target::{
    Argument, Attach, Feature, Layout, Location, ProbeSite, ProgramKind, ResolveError, ResolveOptions, Target,
    TracingKind,
};
use rtrace_lang::types::Type;

use crate::kernel::KernelError;
use crate::kernel::bpf;
use crate::kernel::btf::{Btf, Kind, Parameter, SOURCE_SHIFT};
use crate::kprobe::{KERNEL, Presence, no_such_module, symbol, untraceable};
use crate::listing::{self, ListedProbe};
use crate::machine::Machine;
use crate::nearest::near_matches;
use crate::provider::{
    AttachError, Documentation, Link, Provider, empty_layout, full_name, is_pattern, may_not_load, not_found,
    wrong_form,
};

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
        let reason = refusal(machine);
        if reason.is_some() && machine.btf().is_some() && machine.features().may_not_load() {
            return Err(may_not_load(self.name()));
        }
        match (reason, program) {
            (Some(reason), Some(_)) => return Err(absent::unsupported(self.name(), reason)),
            (Some(reason), None) => return absent::stand_in(self, machine, reason, spec, options),
            (None, Some((program, function))) => {
                return self.sites_in_programs(machine, program, function, options);
            }
            (None, None) => {}
        }
        let found = self.sites(machine, module, pattern, options, self.name());
        // The kernel's types have a function by its own name, whatever the compiler has made of it.
        let asked = || machine.presence(&symbol(module, pattern.as_str().into()));
        let is_renamed = !found.is_empty() && !is_pattern(pattern) && asked() == Some(Presence::Absent);
        if is_renamed {
            return absent::stand_in(self, machine, "the compiler has renamed the function", spec, options);
        }
        if found.is_empty() {
            let reason = "it passes neither structs nor so many arguments on";
            if machine.has(Feature::Kprobes)
                && let Ok(sites) = absent::stand_in(self, machine, reason, spec, options)
            {
                return Ok(sites);
            }
            if let Some(error) = module.and_then(|module| no_such_module(machine, module, self.name())) {
                return Err(error);
            }
            return Err(self.no_such_function(machine, module, pattern, spec.parts.len()));
        }
        Ok(found)
    }

    fn list(&self, machine: &Machine, parts: &[String], verbose: bool) -> Result<Vec<ListedProbe>, ResolveError> {
        let spec = listing::specification(self, parts, 1);
        let is_wide = programs::parse(&spec.parts).is_none() && spec.parts.iter().any(|part| is_pattern(part));
        let (module, pattern) = match spec.parts.as_slice() {
            [function] if is_wide => (None, function),
            [module, function] if is_wide => (Some(module.as_str()), function),
            _ => return listing::by_resolving(self, machine, parts, 1, verbose),
        };
        if verbose {
            return listing::by_resolving(self, machine, parts, 1, verbose);
        }
        if let Some(reason) = refusal(machine) {
            return absent::list(self, machine, reason, &spec.parts);
        }
        // The sites of all functions would take many times the memory of their names.
        let mut found = Vec::new();
        self.each_function(machine, module, pattern, |btf, module, name, id| {
            if argument_words(btf, id).is_some() {
                found.push(ListedProbe::named(full_name(self.name(), module, name)));
            }
        });
        Ok(found)
    }

    fn attach(
        &self,
        machine: &Machine,
        program: BorrowedFd<'_>,
        sites: &[(u64, &ProbeSite)],
    ) -> Result<Vec<Link>, AttachError> {
        let is_stand_in = |(_, site): &(u64, &ProbeSite)| matches!(site.attach, Attach::Kprobe { .. });
        if sites.first().is_some_and(is_stand_in) {
            return absent::attach(self, machine, program, sites);
        }
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
        self.each_function(machine, module, pattern, |btf, module, name, id| {
            let stands_in = provider != self.name();
            let Some(layout) = self.layout(machine, btf, id, options, stands_in) else { return };
            let kind = if self.is_return { TracingKind::Fexit } else { TracingKind::Fentry };
            let source = module.and_then(|module| machine.module_source(module)).unwrap_or(0);
            found.push(ProbeSite {
                name: full_name(provider, module, name).into(),
                function: name.into(),
                provider,
                program: ProgramKind::Tracing { attach: kind, btf_id: id | source << SOURCE_SHIFT },
                layout,
                selector: None,
                attach: Attach::Trampoline,
            });
        });
        found
    }

    fn no_such_function(&self, machine: &Machine, module: Option<&str>, pattern: &str, part: usize) -> ResolveError {
        if is_pattern(pattern)
            && let Some(error) = untraceable(module, pattern, part)
        {
            return error;
        }
        let btf = match module {
            None | Some(KERNEL) => machine.btf().cloned(),
            Some(module) => machine.module_btf(module),
        };
        let names = btf.iter().flat_map(|btf| {
            let functions = btf.records().filter(|record| record.kind == Kind::Func);
            functions.map(|record| btf.name(&record))
        });
        let near = near_matches(pattern, names, 3);
        let near: Vec<String> = near.iter().map(|function| full_name(self.name(), module, function)).collect();
        let message = format!("there is no kernel function `{pattern}` that {} can attach to", self.name());
        not_found(message, &near, Some(part))
    }

    /// The matching functions, those that take a trampoline and others: types, module, name and id of each.
    fn each_function(
        &self,
        machine: &Machine,
        module: Option<&str>,
        pattern: &str,
        mut found: impl FnMut(&Btf, Option<&str>, &str, u32),
    ) {
        let mut is_found = false;
        if let Some(vmlinux) = machine.btf()
            && module.is_none_or(|module| wildcard_match(module, "vmlinux"))
        {
            for (name, id) in functions_of(machine, vmlinux, None, pattern) {
                is_found |= argument_words(vmlinux, id).is_some();
                found(vmlinux, None, name, id);
            }
        }
        if !is_found || module.is_some() || is_pattern(pattern) {
            for name in machine.module_names() {
                let is_meant = module.is_none_or(|module| wildcard_match(module, &name));
                if is_meant && let Some(btf) = machine.module_btf(&name) {
                    for (function, id) in functions_of(machine, &btf, Some(&name), pattern) {
                        found(&btf, Some(&name), function, id);
                    }
                }
            }
        }
    }

    /// The context is an array of words: the arguments, a struct of up to 16 bytes in two of them, and behind them the
    /// return value. None for what a trampoline does not take.
    /// Where it stands in for a kprobe, the words have the numbers of the registers there.
    fn layout(
        &self,
        machine: &Machine,
        btf: &Btf,
        id: u32,
        options: &ResolveOptions,
        stands_in: bool,
    ) -> Option<Arc<Layout>> {
        let all = argument_words(btf, id)?;
        let is_numbered = options.uses_numbers && stands_in && !self.is_return;
        // Most functions of a wildcard are asked for nothing, and their types take longest.
        if !options.uses_arguments && !is_numbered {
            return Some(empty_layout());
        }
        let prototype = btf.prototype(id)?;
        let mut arguments = Vec::new();
        let mut registers = Vec::new();
        let mut words = 0;
        for parameter in prototype.parameters {
            let size = parameter.ty.size();
            for word in (words..words + size.div_ceil(8)).filter(|_| is_numbered) {
                // A number, whatever it points to: what the verifier knows as a pointer it does not let be computed with.
                let at = Location::ContextCopy { offset: word * 8 };
                registers.push(Argument { name: format!("arg{word}").into(), ty: Type::I64, at });
            }
            // A small struct travels in words and has no address.
            if !parameter.name.is_empty() && !matches!(parameter.ty, Type::Struct(_)) {
                let at = machine.context_word(parameter.access, words * 8);
                arguments.push(Argument { name: parameter.name, ty: parameter.ty, at });
            }
            words += size.div_ceil(8);
        }
        let Parameter { ty, access, .. } = prototype.returns;
        let return_value = (self.is_return && !matches!(ty, Type::Void | Type::Struct(_))).then(|| Argument {
            name: "retval".into(),
            ty,
            at: machine.context_word(access, all * 8),
        });
        Some(Arc::new(Layout { arguments, registers, return_value, ..Layout::default() }))
    }
}

/// Why no fentry or fexit program runs here.
fn refusal(machine: &Machine) -> Option<&'static str> {
    match machine.btf() {
        None => Some("this kernel has no BTF (CONFIG_DEBUG_INFO_BTF)"),
        Some(_) if machine.has(Feature::Trampolines) => None,
        Some(_) => Some("this kernel refuses fentry and fexit programs"),
    }
}

/// The functions of a blob that match: their names and ids.
fn functions_of<'a>(machine: &Machine, btf: &'a Btf, module: Option<&str>, pattern: &str) -> Vec<(&'a str, u32)> {
    if !is_pattern(pattern) {
        return btf.find(Kind::Func, pattern).map(|record| (btf.name(&record), record.id)).into_iter().collect();
    }
    let of_module: Vec<(u32, u32)>;
    let functions = match module {
        None => machine.kernel_functions(btf),
        Some(_) => {
            of_module = traceable_functions(machine, btf);
            &of_module
        }
    };
    let named = functions.iter().map(|(name, id)| (btf.string(*name), *id));
    named.filter(|(name, _)| wildcard_match(pattern, name)).collect()
}

/// The functions of a blob that can be traced, by name, each once: where its name is, and its id.
pub(crate) fn traceable_functions(machine: &Machine, btf: &Btf) -> Vec<(u32, u32)> {
    let functions = btf.records().filter(|record| record.kind == Kind::Func);
    let mut functions: Vec<(&str, u32, u32)> =
        functions.map(|record| (btf.name(&record), record.name_offset, record.id)).collect();
    functions.sort_unstable();
    functions.dedup_by_key(|function| function.0);
    // Without that list the kernel refuses some of them only when they are attached to. Both are sorted.
    if let Some(traceable) = machine.traceable_set() {
        let mut names = traceable.iter().peekable();
        functions.retain(|(name, ..)| {
            while names.next_if(|listed| listed < name).is_some() {}
            names.peek() == Some(name)
        });
    }
    functions.into_iter().map(|(_, name, id)| (name, id)).collect()
}

/// How many words the arguments of a function take; None for what a trampoline does not pass, a returned struct among it.
fn argument_words(btf: &Btf, id: u32) -> Option<u32> {
    if btf.returns_struct(id) {
        return None;
    }
    let mut words = 0;
    for size in btf.parameter_sizes(id)? {
        if size == 0 || size > 16 {
            return None;
        }
        words += size.div_ceil(8);
    }
    (words <= MOST_WORDS).then_some(words)
}

fn refused(site: &ProbeSite, error: KernelError) -> AttachError {
    let is_busy = error.errno() == Some(libc::EBUSY);
    let error = AttachError::new(site, error);
    match is_busy {
        true => error.with_help(
            "The kernel keeps this function from being traced (notrace, noinstr), or something else has changed its first \
             instruction.",
        ),
        false => error,
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
        links.push(Link::slow(fd.map_err(|error| refused(site, error))?));
    }
    Ok(links)
}
