//! What processes map while the script runs: taken in as it happens, for the names of their frames and for the tables that programs
//! go up their stacks by.

use std::collections::BTreeSet;

use rtrace_lang::hir::{Hir, Map, MapValue};
use rtrace_lang::target::Attach;
use rtrace_lang::types::Type;
use rtrace_probes::kernel::privileges::Privileges;
use rtrace_probes::kernel::system;

use crate::child::Child;
use crate::event::Event;
use crate::symbols::{MappingEvent, MappingEvents, Unknown};

use super::Session;
use super::unwind::UnwindTables;

impl Session<'_> {
    /// Asks for the news of one process and of those that it forks, or of all, if the script has a use for it.
    pub(super) fn follow_mappings(&mut self, process: Option<u32>) {
        if !shows_user_addresses(&self.hir) && self.unwind.is_none() {
            return;
        }
        for site in &self.hir.clone().sites {
            if let Attach::Uprobe { path, .. } = &site.attach {
                self.decoder.expect_file(path);
            }
        }
        match MappingEvents::follow(process, self.cpus) {
            Ok(news) => self.mappings = Some(news),
            // /proc has to do then.
            Err(error) => self.refused_news = matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM)),
        }
        if self.mappings.as_ref().is_some_and(MappingEvents::are_of_all) {
            // Their files are held open.
            system::raise_file_limit();
        }
    }

    /// The processes that are known to be meant get their tables at once.
    pub(super) fn start_unwind_tables(&mut self, child: Option<&Child>) {
        let Some(unwind) = &mut self.unwind else { return };
        if let Some(child) = child {
            unwind.expect(&child.program);
            // What it maps now is the tool's.
            unwind.set(child.pid, &[]);
        }
        for process in self.options.pid.into_iter().chain(self.options.unwound.clone()) {
            self.decoder.note_process(process);
            self.fill_unwind_tables(process);
        }
    }

    /// Learns what the followed process, or any, has mapped since the last time.
    pub(super) fn note_mappings(&mut self) {
        let news = self.mappings.as_mut().map_or_else(Vec::new, MappingEvents::read);
        let mut changed = BTreeSet::new();
        for event in news {
            let pid = event.pid();
            if let Some(unwind) = &mut self.unwind {
                let like = if let MappingEvent::Forked { parent, .. } = event { parent } else { pid };
                if matches!(event, MappingEvent::Ended { .. }) {
                    unwind.forget(pid);
                    changed.remove(&pid);
                } else if unwind.knows(like) || changed.contains(&like) {
                    changed.insert(pid);
                }
            }
            self.decoder.note_mapping(event);
        }
        changed.into_iter().for_each(|pid| self.fill_unwind_tables(pid));
    }

    /// Once in a run: why a stack of a process was shown without any name.
    pub(super) fn add_unknown(&mut self, events: &mut Vec<Event>) {
        let Some(Unknown { pid, is_refused }) = self.decoder.take_unknown() else { return };
        let reason = match (is_refused, self.refused_news) {
            (true, _) => format!(
                "what process {pid} has mapped may not be read. That takes root or CAP_SYS_PTRACE, or a process of one's own that \
                 has no more rights"
            ),
            (false, true) => format!(
                "process {pid} has ended, and the kernel does not say what it had mapped. {}",
                Privileges::read().help(true).join(" ")
            ),
            // It was there too shortly.
            (false, false) => return,
        };
        if !std::mem::replace(&mut self.told_unknown, true) {
            let message = format!("frames of user stacks are addresses without names: {reason}");
            events.push(Event::Problem { message, helper: None, place: None, count: 1, in_total: false });
        }
    }

    /// Gives tables to the processes that programs have looked for.
    pub(super) fn answer_programs(&mut self) {
        let wanted = self.unwind.as_ref().map_or_else(Vec::new, UnwindTables::wanted);
        for process in wanted {
            self.decoder.note_process(process);
            self.fill_unwind_tables(process);
        }
    }

    /// Lets programs go up the stacks of the process through all that it has mapped by now.
    fn fill_unwind_tables(&mut self, process: u32) {
        if let Some(unwind) = &mut self.unwind {
            unwind.set(process, &self.decoder.code(process));
        }
    }
}

/// Whether user stacks or symbols are kept or sent: their names take the files that processes map.
fn shows_user_addresses(hir: &Hir) -> bool {
    fn is_user(ty: &Type) -> bool {
        match ty {
            Type::Stack { user, .. } | Type::Symbol { user, .. } => *user,
            Type::Tuple(parts) => parts.iter().any(is_user),
            Type::Record(parts) => parts.iter().any(|(_, ty)| is_user(ty)),
            Type::Void
            | Type::Bool
            | Type::Int { .. }
            | Type::Enum(_)
            | Type::Str(_)
            | Type::Buffer(_)
            | Type::Pointer { .. }
            | Type::Struct(_)
            | Type::Array { .. }
            | Type::ProbeName
            | Type::FunctionName
            | Type::ModuleName
            | Type::EventName
            | Type::Timestamp(_)
            | Type::Shown(_)
            | Type::Inet
            | Type::Unknown => false,
        }
    }
    let in_map = |map: &Map| {
        map.key.iter().any(is_user)
            || match &map.value {
                MapValue::Plain(ty) => is_user(ty),
                MapValue::Aggregation(_) => false,
            }
    };
    hir.maps.iter().any(in_map) || hir.records.iter().any(|record| record.parts.iter().any(is_user))
}
