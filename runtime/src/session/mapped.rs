//! What processes map while the script runs: taken in as it happens, for the names of their frames and for the tables that programs
//! go up their stacks by.

use std::collections::BTreeSet;

use rtrace_lang::hir::{Hir, Map, MapValue};
use rtrace_lang::types::Type;
use rtrace_probes::kernel::system;

use crate::symbols::MappingEvents;

use super::Session;

impl Session<'_> {
    /// Asks for the news of one process, or of all, if the script has a use for it.
    pub(super) fn follow_mappings(&mut self, process: Option<u32>) {
        if !shows_user_addresses(&self.hir) && self.unwind.is_none() {
            return;
        }
        // Refused without the right to: /proc has to do then.
        self.mappings = MappingEvents::follow(process, self.cpus).ok();
        if process.is_none() && self.mappings.is_some() {
            // Files of all processes are held open.
            system::raise_file_limit();
        }
    }

    /// Learns what the followed process, or any, has mapped since the last time.
    pub(super) fn note_mappings(&mut self) {
        let Some(mappings) = &mut self.mappings else { return };
        let mut processes = BTreeSet::new();
        for event in mappings.read() {
            processes.insert(event.pid());
            self.decoder.note_mapping(event);
        }
        if self.unwind.as_ref().and_then(|unwind| unwind.process).is_some_and(|pid| processes.contains(&pid)) {
            self.fill_unwind_tables();
        }
    }

    /// Lets programs go up the stacks of the process through all that it has mapped by now.
    pub(super) fn fill_unwind_tables(&mut self) {
        if let Some(unwind) = &mut self.unwind
            && let Some(pid) = unwind.process
        {
            unwind.set(&self.decoder.code(pid), &self.globals);
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
            | Type::Timestamp
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
