//! What the numbers do not hold: lost events, failed reads, full maps. Read from the global data, told with their places.

use std::os::fd::AsFd;
use std::sync::Arc;

use rtrace_compiler::object::{ErrorKind, ErrorSite};
use rtrace_lang::calls;
use rtrace_lang::hir::{Owner, RecordKind};
use rtrace_lang::span::Span;
use rtrace_probes::kernel::bpf;

use crate::event::{Event, Helper, Place};
use crate::symbols::MappingEvents;

use super::Session;
use super::replaced::newly_replaced;
use super::unloaded::newly_unloaded;

/// A key of its own: no counter of the global data is there.
const LOST_MAPPINGS: u32 = u32::MAX;

impl Session<'_> {
    /// One event for each thing that went wrong since the last time, with how often it did.
    pub(super) fn new_problems(&mut self) -> Vec<Event> {
        let mut events = self.problems(false);
        self.add_unknown(&mut events);
        self.add_vanished(&mut events);
        events
    }

    /// One event for each thing that went wrong at all.
    pub(super) fn all_problems(&mut self) -> Vec<Event> {
        let mut events = self.problems(true);
        self.add_missed(&mut events);
        self.add_unknown(&mut events);
        self.add_vanished(&mut events);
        events
    }

    fn add_vanished(&mut self, events: &mut Vec<Event>) {
        let event = |message| Event::Problem { message, helper: None, place: None, count: 1, in_total: false };
        events.extend(newly_replaced(&mut self.files).into_iter().map(event));
        events.extend(newly_unloaded(&mut self.modules).into_iter().map(event));
    }

    /// What a counter of the global data says: since the last time, or in total; and whether some of it was told before.
    fn tally(&mut self, offset: u32, at_end: bool) -> (u64, bool) {
        self.untold(offset, self.globals.get(offset), at_end)
    }

    /// The same of any counter.
    fn untold(&mut self, key: u32, count: u64, at_end: bool) -> (u64, bool) {
        let told = self.told.insert(key, count).unwrap_or(0);
        if at_end { (count, told > 0) } else { (count - told, false) }
    }

    /// How often each record was lost; of a program whose output is only counted, how often there would have been one.
    pub fn counts_of_records(&self) -> Vec<u64> {
        let lost = self.object.manifest.globals.lost;
        (0..self.hir.records.len() as u32).map(|number| self.globals.get(lost + number * 8)).collect()
    }

    fn problems(&mut self, at_end: bool) -> Vec<Event> {
        let mut events = Vec::new();
        let hir = self.hir.clone();
        for (number, record) in hir.records.iter().enumerate() {
            let (count, in_total) = self.tally(self.object.manifest.globals.lost + number as u32 * 8, at_end);
            // A lost exit() is no loss: the exit word tells it.
            if count == 0 || record.kind == RecordKind::Exit {
                continue;
            }
            events.push(Event::Lost { count, in_total, place: self.place(record.span) });
        }
        for (ErrorSite { kind, span }, offset) in self.object.manifest.globals.errors.clone() {
            let (count, in_total) = self.tally(offset, at_end);
            if count == 0 {
                continue;
            }
            let message = match kind {
                ErrorKind::DivisionByZero => "division by zero, which gave 0".to_string(),
                ErrorKind::Read(_) => "memory could not be read, which gave 0 or an empty string".to_string(),
                ErrorKind::MapFull(map) => {
                    let (map, object) = (&self.hir.maps[map.index()], &self.object.maps[map.index()]);
                    let name = map.written();
                    let entries = object.entries;
                    // A map of another size is declared.
                    let advice = if u64::from(entries) < map.entries {
                        "its values are large: fewer intervals or buckets leave room for more keys"
                    } else if map.entries == self.hir.settings.max_map_keys {
                        "raise max_map_keys"
                    } else {
                        "declare it larger, or as lruhash"
                    };
                    let or_else = if object.allocate_on_use { ", or there was no memory for a new key" } else { "" };
                    match map.owner {
                        Owner::Thread => format!("{name} could not be kept: the kernel has no memory for it"),
                        Owner::Script | Owner::ThreadByKey | Owner::Calls => {
                            format!("{name} is full at {entries} keys{or_else}: updates were dropped; {advice}")
                        }
                    }
                }
                ErrorKind::KeyCut(map) => {
                    let name = self.hir.maps[map.index()].written();
                    format!("there was no room for long keys of {name}, which show cut")
                }
                ErrorKind::Index => "an index was outside of its array, which gave 0".to_string(),
                ErrorKind::Copy => "a copy did not fit the memory of alloca() and was left out".to_string(),
                ErrorKind::Loop => "a loop was ended: it takes more rounds than this kernel allows".to_string(),
                ErrorKind::Nested => {
                    "an event was left out: it came in the middle of others on its processor, which have all the memory for that".to_string()
                }
                ErrorKind::Stack => "a stack could not be taken or kept".to_string(),
                ErrorKind::Unwind => {
                    "a user stack ends early: the code there has no unwind table, or has just been mapped, or the stack could not be read"
                        .to_string()
                }
            };
            events.push(Event::Problem {
                message,
                helper: self.helper(kind),
                place: Some(self.place(span)),
                count,
                in_total,
            });
        }
        let lost = self.mappings.as_ref().map_or(0, MappingEvents::lost);
        let (count, in_total) = self.untold(LOST_MAPPINGS, lost, at_end);
        if count > 0 {
            let message =
                "news of what processes map came too fast: frames of processes that have ended may have no names"
                    .to_string();
            events.push(Event::Problem { message, helper: None, place: None, count, in_total });
        }
        events
    }

    /// The helper that has failed, where there is one, and it can have failed for one reason only.
    fn helper(&self, kind: ErrorKind) -> Option<Helper> {
        match kind {
            ErrorKind::Read(helper) => Some(Helper { name: calls::name(helper)?, error: -libc::EFAULT }),
            ErrorKind::MapFull(map) => {
                let may_lack_memory = self.object.maps[map.index()].allocate_on_use;
                let name = calls::name(calls::MAP_UPDATE_ELEM)?;
                (!may_lack_memory).then_some(Helper { name, error: -libc::E2BIG })
            }
            ErrorKind::DivisionByZero
            | ErrorKind::KeyCut(_)
            | ErrorKind::Index
            | ErrorKind::Copy
            | ErrorKind::Loop
            | ErrorKind::Nested
            | ErrorKind::Stack
            | ErrorKind::Unwind => None,
        }
    }

    /// What the kernel and the tool itself have passed over.
    fn add_missed(&self, events: &mut Vec<Event>) {
        if self.speculations.dropped > 0 {
            events.push(Event::Problem {
                message: "what speculations hold back took too much memory: some of it was dropped".to_string(),
                helper: None,
                place: None,
                count: self.speculations.dropped,
                in_total: false,
            });
        }
        for (program, loaded) in self.object.programs.iter().zip(&self.programs) {
            let missed = bpf::program_stats(loaded.fd.as_fd()).map_or(0, |stats| stats.recursion_misses);
            if missed > 0 {
                let probe = program.sites.first().map_or("", |site| &self.hir.sites[site.index()].name);
                events.push(passed_over(
                    missed,
                    "event",
                    probe,
                    "it came while the program was still busy on that processor",
                ));
            }
        }
        for (site, missed) in &self.missed_ticks {
            let probe = &self.hir.sites[site.index()].name;
            events.push(passed_over(*missed, "tick", probe, "rtrace was busy with its output"));
        }
    }

    pub(super) fn place(&self, span: Span) -> Place {
        let place = self.options.source.locate(span);
        Place { file: Arc::from(place.file), line: place.line, column: place.column, text: place.text.to_string() }
    }
}

fn passed_over(missed: u64, what: &str, probe: &str, why: &str) -> Event {
    let plural = if missed == 1 { "" } else { "s" };
    let message = format!("missed {missed} {what}{plural} of {probe}: {why}");
    Event::Problem { message, helper: None, place: None, count: 1, in_total: false }
}
