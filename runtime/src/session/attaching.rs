//! Attaching a program to many places, of which the kernel may refuse some.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

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

/// What uprobes refuse an instruction with that they cannot step over, and trampolines more arguments than they take
/// (include/linux/errno.h): it is none of the errors that the C library knows.
const ENOTSUPP: i32 = 524;
