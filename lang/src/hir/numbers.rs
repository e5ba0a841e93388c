//! Which sites look the same to programs and to their readers.

use std::collections::HashMap;

use crate::target::ProbeSite;

use super::{Hir, SiteId};

impl Hir {
    /// `Hir::numbers` of these sites.
    pub fn numbers(sites: &[ProbeSite]) -> Vec<SiteId> {
        let mut known = HashMap::new();
        let number = |(at, site): (usize, &ProbeSite)| {
            *known.entry((site.name.clone(), site.function.clone())).or_insert(SiteId(at as u32))
        };
        sites.iter().enumerate().map(number).collect()
    }
}
