//! Attaching a program to many places, of which the kernel may refuse some.

use std::collections::HashSet;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rtrace_lang::diagnostic::{Code, Diagnostic};
use rtrace_lang::hir::Hir;
use rtrace_lang::source::Source;
use rtrace_lang::span::Span;
use rtrace_lang::target::{Attach, ProbeSite};
use rtrace_probes::{AttachError, Link, Machine, Provider};

/// Attaches to sites of one kind. Of many functions the kernel may refuse some, of programs for the instruction that they
/// begin with, its own for their arguments: those are left out, and the rest is attached in parts.
pub fn attach_to_all(
    provider: &dyn Provider,
    machine: &Machine,
    program: BorrowedFd<'_>,
    sites: &[(u64, &ProbeSite)],
    is_one_of_many: bool,
    refused: &mut Vec<Arc<str>>,
) -> Result<Vec<Link>, AttachError> {
    let may_be_left = |site: &ProbeSite| matches!(site.attach, Attach::Uprobe { .. } | Attach::Trampoline);
    let may_be_left = sites.iter().all(|(_, site)| may_be_left(site));
    match provider.attach(machine, program, sites) {
        Err(error) if may_be_left && is_one_of_many && error.source.errno() == Some(ENOTSUPP) => match sites {
            [(_, only)] => {
                refused.push(only.name.clone());
                Ok(Vec::new())
            }
            _ => {
                let (first, rest) = sites.split_at(sites.len() / 2);
                let mut links = attach_to_all(provider, machine, program, first, is_one_of_many, refused)?;
                links.extend(attach_to_all(provider, machine, program, rest, is_one_of_many, refused)?);
                Ok(links)
            }
        },
        result => result,
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
