//! `test:NAME` and `bench:NAME`: left out of a script unless they are asked for.

use crate::ast::{Item, Script};
use crate::span::Span;
use crate::target::Trial;

/// Takes the probes out that are of another trial than `wanted`, and clauses that have no other; gives which were there, and where.
pub fn leave_out(script: &mut Script, wanted: Option<Trial>) -> Vec<(Trial, Span)> {
    let mut found: Vec<(Trial, Span)> = Vec::new();
    script.items.retain_mut(|item| {
        let Item::Clause(clause) = item else { return true };
        clause.probes.retain(|probe| {
            let trial = Trial::ALL.into_iter().find(|trial| probe.provider.eq_ignore_ascii_case(trial.name()));
            let is_left_out = trial.filter(|trial| Some(*trial) != wanted);
            let is_new = |trial: &Trial| !found.iter().any(|(known, _)| known == trial);
            let new = is_left_out.filter(is_new);
            found.extend(new.map(|trial| (trial, probe.span)));
            is_left_out.is_none()
        });
        !clause.probes.is_empty()
    });
    found
}
