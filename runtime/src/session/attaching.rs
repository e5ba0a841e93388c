//! Attaching a program to many places, of which the kernel may refuse some.

use std::collections::HashSet;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rtrace_lang::diagnostic::{Code, Diagnostic};
use rtrace_lang::hir::Hir;
use rtrace_lang::source::Source;
use rtrace_lang::span::Span;
use rtrace_lang::target::{Attach, ProbeSite};
use rtrace_probes::kernel::symbols::missing_functions;
use rtrace_probes::{AttachError, Link, Machine, Provider};

use crate::output::notices;

/// Names of sites that are not attached to.
#[derive(Default)]
pub struct LeftOut {
    /// What the kernel has, and cannot trace.
    pub refused: Vec<Arc<str>>,
    /// Functions that a pattern has found in a list, and that the kernel does not have.
    pub missing: Vec<Arc<str>>,
}

/// Attaches to sites of one kind. Of many functions the kernel may refuse some, of programs for the instruction that they
/// begin with, its own for their arguments: those are left out, and the rest is attached in parts; and so are functions of
/// a list that the kernel does not have.
pub fn attach_to_all(
    provider: &dyn Provider,
    machine: &Machine,
    program: BorrowedFd<'_>,
    sites: &[(u64, &ProbeSite)],
    is_one_of_many: bool,
    left: &mut LeftOut,
) -> Result<Vec<Link>, AttachError> {
    let is_of_pattern = |site: &ProbeSite| matches!(site.attach, Attach::Kprobe { is_matched: true, .. });
    let is_of_pattern = sites.iter().all(|(_, site)| is_of_pattern(site));
    let may_be_left = |site: &ProbeSite| matches!(site.attach, Attach::Uprobe { .. } | Attach::Trampoline);
    let may_be_left = sites.iter().all(|(_, site)| may_be_left(site));
    match provider.attach(machine, program, sites) {
        Err(error) if may_be_left && is_one_of_many && error.source.errno() == Some(ENOTSUPP) => match sites {
            [(_, only)] => {
                left.refused.push(only.name.clone());
                Ok(Vec::new())
            }
            _ => {
                let (first, rest) = sites.split_at(sites.len() / 2);
                let mut links = attach_to_all(provider, machine, program, first, is_one_of_many, left)?;
                links.extend(attach_to_all(provider, machine, program, rest, is_one_of_many, left)?);
                Ok(links)
            }
        },
        // It takes all functions of a list or none: one that it has not, or no longer, is left out.
        Err(error) if is_of_pattern && error.source.errno() == Some(libc::ESRCH) => {
            let missing = missing_functions(sites.iter().map(|(_, site)| &*site.function)).unwrap_or_default();
            let (unknown, known): (Vec<_>, Vec<_>) =
                sites.iter().partition(|(_, site)| missing.contains(&*site.function));
            if unknown.is_empty() {
                return Err(error);
            }
            // Where nothing is attached the caller sees it.
            if !known.is_empty() {
                left.missing.extend(unknown.iter().map(|(_, site)| site.name.clone()));
            }
            provider.attach(machine, program, &known)
        }
        result => result,
    }
}

/// Says what patterns match and is not attached to, beside what there is a warning of.
pub fn tell_left_out(left_out: &[Arc<str>], machine: &Machine) {
    let mut names: Vec<String> = left_out.iter().map(|name| name.to_string()).collect();
    names.extend(machine.left_out());
    if !names.is_empty() {
        let names = names.join(", ");
        notices::tell(&format!("Left out, since the kernel does not let them be probed, or not by name: {names}\n"));
    }
}

/// What is to be said of each specification of which nothing is attached: all that it matches is among what was left out.
pub fn nothing_attached(hir: &Hir, left_out: &[Arc<str>], source: &Source) -> Vec<Diagnostic> {
    let left_out: HashSet<&Arc<str>> = left_out.iter().collect();
    let mut specified: Vec<(Span, Vec<&ProbeSite>)> = Vec::new();
    for (site, span) in hir.sites.iter().zip(&hir.specified) {
        match specified.iter_mut().find(|(known, _)| known == span) {
            Some((_, sites)) => sites.push(site),
            None => specified.push((*span, vec![site])),
        }
    }
    specified.retain(|(_, sites)| sites.iter().all(|site| left_out.contains(&site.name)));
    let diagnostic = |(span, sites): &(Span, Vec<&ProbeSite>)| {
        let message = format!("nothing that `{}` matches can be traced", source.text_of(*span));
        let label = match sites.as_slice() {
            [only] => format!("the kernel does not let `{}` be probed", only.name),
            sites => format!("the kernel does not let any of {} be probed", sites.len()),
        };
        Diagnostic::error(Code::ProbeNotFound, *span, message)
            .label(label)
            .help("`missing_probes = \"warn\"` in the config block lets the rest of the script run")
            .on_machine()
    };
    specified.iter().map(diagnostic).collect()
}

/// What uprobes refuse an instruction with that they cannot step over, and trampolines more arguments than they take
/// (include/linux/errno.h): it is none of the errors that the C library knows.
const ENOTSUPP: i32 = 524;
