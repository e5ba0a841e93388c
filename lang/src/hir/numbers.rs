//! What the numbers of sites, errors, signals and system calls stand for, and which sites look the same to programs and to
//! their readers.

use std::collections::HashMap;

use crate::names;
use crate::target::ProbeSite;
use crate::types::{Shown, Type};

use super::{Hir, SiteId};

/// What a value of that type shows of a site, if it shows one.
pub fn site_name<'a>(site: &'a ProbeSite, ty: &Type) -> Option<&'a str> {
    if let Type::ProbeName = ty {
        Some(&site.name)
    } else if let Type::FunctionName = ty {
        Some(&site.function)
    } else if let Type::ModuleName = ty {
        Some(site.module())
    } else if let Type::EventName = ty {
        Some(site.event())
    } else {
        None
    }
}

/// What values of a type with a text show, by their numbers; None for other types. Numbers above the last one show what it does.
pub fn texts<'a>(sites: &'a [ProbeSite], ty: &Type) -> Option<Vec<&'a str>> {
    match ty {
        Type::Shown(Shown::ErrorText) => Some(names::errno_texts()),
        Type::Shown(Shown::SignalName) => Some(names::signal_names()),
        Type::Shown(Shown::SystemCallName) => Some(names::syscall_names()),
        _ => sites.iter().map(|site| site_name(site, ty)).collect::<Option<_>>().filter(|all: &Vec<_>| !all.is_empty()),
    }
}

impl Hir {
    /// `Hir::numbers` of these sites.
    pub fn numbers(sites: &[ProbeSite]) -> Vec<SiteId> {
        let mut known = HashMap::new();
        let number = |(at, site): (usize, &ProbeSite)| {
            *known.entry((site.name.clone(), site.function.clone())).or_insert(SiteId(at as u32))
        };
        sites.iter().enumerate().map(number).collect()
    }

    /// For each site the one whose number stands for its name in values of that type: the first of the same name. So a function's
    /// name is the same key at its entry and at its return.
    pub fn numbers_as(&self, ty: &Type) -> Vec<SiteId> {
        let mut known = HashMap::new();
        let number = |(at, site)| match site_name(site, ty) {
            Some(name) => *known.entry(name).or_insert(SiteId(at as u32)),
            None => self.numbers[at],
        };
        self.sites.iter().enumerate().map(number).collect()
    }
}
