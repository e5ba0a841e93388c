//! `fentry:bpf:...`: functions of BPF programs that are in the kernel, whoever has loaded them. Their types are in the
//! BTF that they were loaded with; one without has no functions that could be named.

use std::os::fd::AsFd;
use std::sync::Arc;

use rtrace_lang::probe::wildcard_match;
use rtrace_lang::target::{
    Argument, Attach, Layout, Location, ProbeSite, ProgramKind, ResolveError, ResolveErrorKind, ResolveOptions, Target,
    TracingKind,
};
use rtrace_lang::types::{StructKind, Type};

use super::Trampoline;
use crate::kernel::bpf::{self, InKernel};
use crate::kernel::btf::{Access, Btf, Parameter, SOURCE_SHIFT};
use crate::kernel::{KernelError, features};
use crate::machine::Machine;
use crate::nearest::near_matches;
use crate::provider::{Provider, full_name, is_pattern, no_privilege, not_found};

/// What stands in the place of a module.
pub(super) const MODULE: &str = "bpf";

/// What a program takes for its context, and what it is given in fact (include/linux/bpf_types.h).
const CONTEXTS: &[(&str, &str)] = &[
    ("__sk_buff", "sk_buff"),
    ("xdp_md", "xdp_buff"),
    ("bpf_sock", "sock"),
    ("bpf_sock_addr", "bpf_sock_addr_kern"),
    ("bpf_sock_ops", "bpf_sock_ops_kern"),
    ("sk_msg_md", "sk_msg"),
    ("bpf_cgroup_dev_ctx", "bpf_cgroup_dev_ctx"),
    ("bpf_perf_event_data", "bpf_perf_event_data_kern"),
    ("sk_reuseport_md", "sk_reuseport_kern"),
    ("bpf_sk_lookup", "bpf_sk_lookup_kern"),
];

/// Where a trampoline has the return value of a function whose types the verifier does not trust
/// (include/linux/bpf.h, `MAX_BPF_FUNC_REG_ARGS`).
const UNTRUSTED_WORDS: u32 = 5;

const ITSELF_TRACING: &str =
    "Programs that are themselves attached by fentry or fexit can't be traced before Linux 6.8.";

/// A function of a program.
struct Function<'a> {
    program: &'a InKernel,
    types: Arc<Btf>,
    source: u32,
    id: u32,
    name: String,
}

impl Trampoline {
    /// The functions of that name or pattern, in the programs of that number, name or pattern, or in all.
    pub(super) fn sites_in_programs(
        &self,
        machine: &Machine,
        program: Option<&str>,
        pattern: &str,
        options: &ResolveOptions,
    ) -> Result<Vec<ProbeSite>, ResolveError> {
        let part = if program.is_some() { 3 } else { 2 };
        let programs = programs(program).map_err(|error| self.not_readable(&error))?;
        if programs.is_empty() {
            let mut error =
                not_found(format!("there is no BPF program `{}`", program.unwrap_or("*")), &[], program.and(Some(2)));
            error.label = "no such program".to_string();
            error.help.push("`bpftool prog` shows the programs that are loaded, with their numbers.".to_string());
            return Err(error);
        }
        let functions: Vec<Function<'_>> = programs.iter().flat_map(|program| functions(machine, program)).collect();
        let mut sites = Vec::new();
        let (mut refused, mut misdescribed) = (None, None);
        for function in functions.iter().filter(|function| wildcard_match(pattern, &function.name)) {
            let attached = features::takes_trampoline(function.program.fd.as_fd(), function.id, self.is_return, None);
            match attached {
                Ok(()) if is_misdescribed(function) => misdescribed = Some(function.program.id),
                Ok(()) => sites.extend(self.site_in_program(machine, function, options)),
                Err(error) => {
                    machine.note_left_out(full_name(
                        self.name(),
                        Some(&format!("{MODULE}:{}", function.program.id)),
                        &function.name,
                    ));
                    refused = refused.or_else(|| Some((function.program.id, reason(&error))));
                }
            }
        }
        match (refused, misdescribed) {
            _ if !sites.is_empty() => Ok(sites),
            (Some((_, reason)), _) if is_pattern(pattern) => {
                let message = format!("none of the functions of BPF programs that match `{pattern}` can be traced");
                let mut error = not_found(message, &[], Some(part));
                error.label = format!("refused: {reason}");
                error.help.push(ITSELF_TRACING.to_string());
                Err(error)
            }
            (Some((id, reason)), _) => Err(self.refused(id, pattern, &reason, part)),
            (None, Some(id)) => Err(self.refused(id, pattern, "its types leave out its context", part)),
            (None, None) => Err(self.no_function(&programs, &functions, pattern, part)),
        }
    }

    fn site_in_program(
        &self,
        machine: &Machine,
        function: &Function<'_>,
        options: &ResolveOptions,
    ) -> Option<ProbeSite> {
        let attach = if self.is_return { TracingKind::Fexit } else { TracingKind::Fentry };
        Some(ProbeSite {
            name: format!("{}:{MODULE}:{}:{}", self.name(), function.program.id, function.name).into(),
            function: function.name.as_str().into(),
            provider: self.name(),
            program: ProgramKind::Tracing { attach, btf_id: function.id | function.source << SOURCE_SHIFT },
            layout: Arc::new(self.layout_in_program(machine, function, options)?),
            selector: None,
            attach: Attach::Trampoline,
        })
    }

    /// As that of a kernel function, with no more arguments than registers.
    fn layout_in_program(
        &self,
        machine: &Machine,
        function: &Function<'_>,
        options: &ResolveOptions,
    ) -> Option<Layout> {
        let prototype = function.types.prototype(function.id)?;
        let words = prototype.parameters.len() as u32;
        let mut arguments = Vec::new();
        for (word, Parameter { name, ty, access }) in prototype.parameters.into_iter().enumerate() {
            if options.uses_arguments && !name.is_empty() && ty.is_scalar() {
                arguments.push(Argument { name, ty: given(machine, ty), at: place(access, word as u32) });
            }
        }
        let Parameter { ty, access, .. } = prototype.returns;
        let return_value = (self.is_return && ty.is_scalar()).then(|| {
            // The word behind that of the value is loaded only where the verifier takes all registers for arguments.
            let is_trusted = words >= UNTRUSTED_WORDS
                || features::takes_trampoline(function.program.fd.as_fd(), function.id, true, Some(words + 1)).is_err();
            let word = if is_trusted { words } else { UNTRUSTED_WORDS };
            Argument { name: "retval".into(), ty: given(machine, ty), at: place(access, word) }
        });
        Some(Layout { arguments, return_value, ..Layout::default() })
    }

    fn not_readable(&self, error: &KernelError) -> ResolveError {
        let message = format!("{} needs to list BPF programs: {error}", self.name());
        if error.is_privilege() {
            return no_privilege(message, "the capability CAP_SYS_ADMIN", Some(1));
        }
        ResolveError {
            kind: ResolveErrorKind::Unsupported,
            message,
            label: "programs can't be listed".to_string(),
            help: vec!["Functions of the kernel are named without `bpf`: `fentry:FUNCTION`.".to_string()],
            part: Some(1),
        }
    }

    fn refused(&self, program: u32, pattern: &str, reason: &str, part: usize) -> ResolveError {
        ResolveError {
            kind: ResolveErrorKind::Unsupported,
            message: format!(
                "{} cannot attach to the function `{pattern}` of BPF program {program}: {reason}",
                self.name()
            ),
            label: "refused".to_string(),
            help: vec![ITSELF_TRACING.to_string()],
            part: Some(part),
        }
    }

    fn no_function(
        &self,
        programs: &[InKernel],
        functions: &[Function<'_>],
        pattern: &str,
        part: usize,
    ) -> ResolveError {
        let near = near_matches(pattern, functions.iter().map(|function| function.name.as_str()), 3);
        let near: Vec<String> = near.iter().map(|name| format!("{}:{MODULE}:{name}", self.name())).collect();
        let message = match programs {
            [program] => format!("BPF program {} ({}) has no function `{pattern}`", program.id, program.name),
            _ => format!("no BPF program has a function `{pattern}`"),
        };
        let mut error = not_found(message, &near, Some(part));
        error.label = "no such function".to_string();
        if programs.iter().any(|program| program.functions.is_empty()) {
            error.help.push("Functions of programs that were loaded without BTF have no names.".to_string());
        }
        error
    }
}

/// Why the kernel refuses it, in the verifier's words.
fn reason(error: &KernelError) -> String {
    match error {
        KernelError::Refused { log, .. } => {
            log.lines().find(|line| !line.trim().is_empty()).map_or_else(|| error.to_string(), str::to_string)
        }
        KernelError::Call { .. }
        | KernelError::File { .. }
        | KernelError::Absent(_)
        | KernelError::Malformed { .. } => error.to_string(),
    }
}

/// Each program takes a context. Where its types leave that out and the verifier trusts them (before 6.8), a trampoline
/// would not keep it, and the program would go on with garbage, which crashes the kernel.
fn is_misdescribed(function: &Function<'_>) -> bool {
    let is_main = function.program.functions.first() == Some(&function.id);
    let takes_none = || function.types.prototype(function.id).is_some_and(|prototype| prototype.parameters.is_empty());
    is_main
        && takes_none()
        && features::takes_trampoline(function.program.fd.as_fd(), function.id, false, Some(0)).is_err()
}

/// The programs of that number, name or pattern.
fn programs(wanted: Option<&str>) -> Result<Vec<InKernel>, KernelError> {
    let by_number = wanted.and_then(|wanted| wanted.parse().ok());
    let ids = match by_number {
        Some(id) => vec![id],
        None => bpf::program_ids()?,
    };
    let mut programs = Vec::new();
    for id in ids {
        // A program that has gone since its number was given is none.
        let Some(program) = bpf::program_in_kernel(id)? else { continue };
        let is_meant = |name| wildcard_match(name, &program.name);
        if by_number.is_some() || wanted.is_none_or(is_meant) {
            programs.push(program);
        }
    }
    Ok(programs)
}

/// The functions of a program, each name once.
fn functions<'a>(machine: &Machine, program: &'a InKernel) -> Vec<Function<'a>> {
    if program.functions.is_empty() {
        return Vec::new();
    }
    let Some((types, source)) = machine.types_of_program(program) else { return Vec::new() };
    let mut found: Vec<Function<'_>> = Vec::new();
    for id in &program.functions {
        let Some(name) = types.record(*id).map(|record| types.name(&record).to_string()) else { continue };
        if !found.iter().any(|function| function.name == name) {
            found.push(Function { program, types: types.clone(), source, id: *id, name });
        }
    }
    found
}

/// Pointers are read from memory: which of them a program may load differs.
fn place(access: Access, word: u32) -> Location {
    let offset = word * 8;
    match access {
        Access::Load => Location::Context { offset },
        Access::LoadIfIntegerPointer | Access::Never => Location::ContextCopy { offset },
    }
}

/// The type of what is passed in fact: the kernel's own struct, where the program names what stands for it.
fn given(machine: &Machine, ty: Type) -> Type {
    let Type::Pointer { to, space } = &ty else { return ty };
    let Type::Struct(named) = &**to else { return ty };
    let Some((_, kernel)) = CONTEXTS.iter().find(|(context, _)| *context == &*named.name) else { return ty };
    match machine.struct_named(StructKind::Struct, kernel) {
        Some(of) => Type::pointer(Type::Struct(of), *space),
        None => ty,
    }
}

/// Whether the parts after the provider are of this form, as the program and the function.
pub(super) fn parse(parts: &[String]) -> Option<(Option<&str>, &str)> {
    match parts {
        [module, function] if module == MODULE && !function.is_empty() => Some((None, function)),
        [module, program, function] if module == MODULE && !program.is_empty() && !function.is_empty() => {
            Some((Some(program), function))
        }
        _ => None,
    }
}
