//! Pairs of programs that one attachment can serve: at the entries and at the returns of the same functions of the kernel.
//! Looks only.

use std::sync::Arc;

use crate::target::{Attach, MultiKind, ProgramKind};

use super::{Dispatch, Hir, Program};

/// Two programs, by their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session {
    pub entries: usize,
    pub returns: usize,
    /// What the number of a return's site has more than that of its entry, where a program asks for it.
    pub distance: i64,
}

impl Hir {
    /// Each program is in one at most.
    pub fn sessions(&self) -> Vec<Session> {
        let mut sessions: Vec<Session> = Vec::new();
        for (returns, program) in self.programs.iter().enumerate().filter(|(_, program)| is_at(program, self, true)) {
            let is_free = |number: usize| sessions.iter().all(|session| session.entries != number);
            let mut entries = self.programs.iter().enumerate().filter(|(_, program)| is_at(program, self, false));
            let found = entries.find_map(|(number, other)| {
                let distance = self.distance(other, program).filter(|_| is_free(number))?;
                Some(Session { entries: number, returns, distance })
            });
            sessions.extend(found);
        }
        sessions
    }

    /// None where the functions are not the same, or their sites can't be told apart by one number.
    fn distance(&self, entries: &Program, returns: &Program) -> Option<i64> {
        if entries.sites.len() != returns.sites.len() || !self.functions(entries).eq(self.functions(returns)) {
            return None;
        }
        let number = |program: &Program, at: usize| i64::from(self.numbers[program.sites[at].index()].0);
        let distance = number(returns, 0) - number(entries, 0);
        let is_same = |at| number(returns, at) - number(entries, at) == distance;
        let is_asked = [entries, returns].iter().any(|program| program.dispatch == Dispatch::Cookie);
        (!is_asked || (1..entries.sites.len()).all(is_same)).then_some(distance)
    }

    fn functions<'a>(&'a self, program: &'a Program) -> impl Iterator<Item = Option<&'a Arc<str>>> {
        program.sites.iter().map(|site| {
            if let Attach::Kprobe { function, .. } = &self.sites[site.index()].attach { Some(function) } else { None }
        })
    }
}

/// Whether it is attached to many functions at once, all at their entries or all at their returns.
fn is_at(program: &Program, hir: &Hir, returns: bool) -> bool {
    let is_wanted = |attach: &Attach| matches!(attach, Attach::Kprobe { is_return, .. } if *is_return == returns);
    program.kind == ProgramKind::Kprobe { multi: MultiKind::KprobeMulti, user: false }
        && program.sites.iter().all(|site| is_wanted(&hir.sites[site.index()].attach))
}
