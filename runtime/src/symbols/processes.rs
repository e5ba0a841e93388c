//! What processes have mapped, over their lives: as the kernel tells it, and as /proc has it where nothing was told.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::iter::successors;
use std::sync::Arc;
use std::time::Instant;

use super::jit::JitMap;
use super::mappings::MappingEvent;
use super::process::{FileId, Files, Snapshot};

/// Processes that are remembered; beyond that those that have ended are forgotten, the ones known longest first.
const MOST_PROCESSES: usize = 32_768;

/// Old processes that are looked at, to forget those that have ended, when a new one needs room: more than one, so that those
/// that live do not keep the others, and few, so that a new process costs little however many live.
const LOOKS: usize = 8;

/// Looks at one process over its life (exec, dlopen) that are kept.
const MOST_SNAPSHOTS: usize = 4;

/// Processes by whose root a file is looked for: the one that has mapped it, and if it has ended who made it, and so on.
const MOST_ROOTS: usize = 4;

/// Addresses of one process that nothing was found for.
pub(super) struct Missing {
    pub(super) since: Instant,
    pub(super) addresses: HashSet<u64>,
}

/// What is known of one process.
#[derive(Default)]
pub(super) struct Process {
    /// Newest last. A process that was made without running a program of its own shares its parent's.
    snapshots: Vec<Arc<Snapshot>>,
    /// Who made it, where that was told.
    parent: Option<u32>,
    // Few have them.
    pub(super) missing: Option<Box<Missing>>,
    pub(super) jitted: Option<Box<JitMap>>,
}

impl Process {
    fn push(&mut self, snapshot: Arc<Snapshot>) {
        if self.snapshots.len() == MOST_SNAPSHOTS {
            self.snapshots.remove(0);
        }
        self.snapshots.push(snapshot);
    }

    pub(super) fn newest(&self) -> Option<&Arc<Snapshot>> {
        self.snapshots.last()
    }

    /// The file that has the code at an address, and where in the file it is.
    pub(super) fn locate(&self, address: u64) -> Option<(FileId, u64)> {
        self.snapshots.iter().rev().find_map(|snapshot| snapshot.locate(address))
    }
}

/// All processes that an address or the kernel has told of.
#[derive(Default)]
pub(super) struct Processes {
    known: HashMap<u32, Process>,
    /// Those, the ones that have been known longest first.
    order: VecDeque<u32>,
}

impl Processes {
    /// Remembers what the process has mapped. Costs nothing for one that is known.
    pub(super) fn note(&mut self, pid: u32, files: &mut Files) -> &mut Process {
        if !self.known.contains_key(&pid) {
            let snapshot = Snapshot::read(pid, files).map(Arc::new);
            self.of(pid).snapshots.extend(snapshot);
        }
        self.of(pid)
    }

    /// Looks at a process again, if it still lives.
    pub(super) fn refresh(&mut self, pid: u32, files: &mut Files) {
        if let Some(snapshot) = Snapshot::read(pid, files) {
            self.of(pid).push(Arc::new(snapshot));
        }
    }

    pub(super) fn get(&self, pid: u32) -> Option<&Process> {
        self.known.get(&pid)
    }

    /// Takes in what the kernel says of a process's code: exact also for one that has ended.
    pub(super) fn take_in(&mut self, event: MappingEvent, files: &mut Files) {
        match event {
            MappingEvent::Forked { pid, parent } => {
                let inherited = self.note(parent, files).newest().cloned();
                let process = self.of(pid);
                process.missing = None;
                process.parent = Some(parent);
                // Stacks of the one that had the number before may still wait: what it had mapped stays behind.
                process.push(inherited.unwrap_or_default());
            }
            // Its addresses keep their names.
            MappingEvent::Ended { .. } => {}
            MappingEvent::Exec { pid } => {
                let process = self.of(pid);
                process.missing = None;
                process.push(Arc::default());
            }
            MappingEvent::Mapped { pid, mapping } => {
                // One that was there before, and whose turn has not come yet, has more than this.
                self.note(pid, files);
                let parent = |pid: &u32| self.known.get(pid).and_then(|process| process.parent);
                let file = files.mapped(&mapping, successors(Some(pid), parent).take(MOST_ROOTS));
                let process = self.of(pid);
                process.missing = None;
                if process.snapshots.is_empty() {
                    process.push(Arc::default());
                }
                if let Some(newest) = process.snapshots.last_mut() {
                    Arc::make_mut(newest).add(&mapping, file);
                }
            }
        }
    }

    /// What is known of a process, with room for it where it is a new one.
    fn of(&mut self, pid: u32) -> &mut Process {
        if !self.known.contains_key(&pid) {
            for _ in 0..LOOKS {
                if self.known.len() < MOST_PROCESSES {
                    break;
                }
                let Some(oldest) = self.order.pop_front() else { break };
                if fs::exists(format!("/proc/{oldest}")).unwrap_or(false) {
                    self.order.push_back(oldest);
                } else {
                    self.known.remove(&oldest);
                }
            }
            self.order.push_back(pid);
        }
        self.known.entry(pid).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::NewMapping;

    // No process has such numbers.
    const FIRST: u32 = 4_000_000_000;
    const SECOND: u32 = FIRST + 1;

    /// Code at an address, of a file that is nowhere.
    fn code(pid: u32, start: u64, inode: u64) -> MappingEvent {
        let path = format!("/nowhere/{inode}").into();
        MappingEvent::Mapped {
            pid,
            mapping: NewMapping { start, bytes: 0x1000, file_offset: 0, device: 1, inode, path },
        }
    }

    /// The last part of the name of the file that has the code at the address.
    fn file_at(processes: &Processes, files: &Files, pid: u32, address: u64) -> Option<String> {
        let (file, _) = processes.get(pid)?.locate(address)?;
        Some(files.name(file).file_name()?.to_str()?.to_string())
    }

    #[test]
    fn children_have_what_their_parent_had() {
        let (mut processes, mut files) = (Processes::default(), Files::default());
        let events = [
            MappingEvent::Exec { pid: FIRST },
            code(FIRST, 0x1000, 1),
            MappingEvent::Forked { pid: SECOND, parent: FIRST },
            // Neither of them changes what the other one has.
            MappingEvent::Exec { pid: FIRST },
            code(FIRST, 0x1000, 2),
            code(SECOND, 0x5000, 3),
        ];
        for event in events {
            processes.take_in(event, &mut files);
        }
        let at = |pid, address| file_at(&processes, &files, pid, address);
        assert_eq!(at(SECOND, 0x1800).as_deref(), Some("1"));
        assert_eq!(at(SECOND, 0x5800).as_deref(), Some("3"));
        assert_eq!(at(FIRST, 0x1800).as_deref(), Some("2"));
        assert_eq!(at(FIRST, 0x5800), None);
    }

    #[test]
    fn a_number_that_is_used_again_means_the_new_process() {
        let (mut processes, mut files) = (Processes::default(), Files::default());
        let events = [
            code(SECOND, 0x1000, 1),
            code(SECOND, 0x9000, 2),
            code(FIRST, 0x1000, 3),
            MappingEvent::Forked { pid: SECOND, parent: FIRST },
        ];
        for event in events {
            processes.take_in(event, &mut files);
        }
        assert_eq!(file_at(&processes, &files, SECOND, 0x1800).as_deref(), Some("3"));
        // Stacks of the old one may still wait.
        assert_eq!(file_at(&processes, &files, SECOND, 0x9800).as_deref(), Some("2"));
    }

    #[test]
    fn code_that_a_process_adds_is_not_all_that_it_has() {
        let (mut processes, mut files) = (Processes::default(), Files::default());
        let own = std::process::id();
        processes.take_in(code(own, 0x1000, 1), &mut files);
        assert_eq!(file_at(&processes, &files, own, 0x1800).as_deref(), Some("1"));
        assert!(processes.get(own).unwrap().locate(Processes::take_in as *const () as u64).is_some());
    }

    #[test]
    fn the_vdso_is_no_file() {
        let (mut processes, mut files) = (Processes::default(), Files::default());
        let mapping =
            NewMapping { start: 0x1000, bytes: 0x1000, file_offset: 0, device: 0, inode: 0, path: "[vdso]".into() };
        processes.take_in(MappingEvent::Mapped { pid: FIRST, mapping }, &mut files);
        assert_eq!(file_at(&processes, &files, FIRST, 0x1800).as_deref(), Some("[vdso]"));
    }

    #[test]
    fn the_oldest_that_have_ended_are_forgotten() {
        let (mut processes, mut files) = (Processes::default(), Files::default());
        let own = std::process::id();
        processes.note(own, &mut files);
        let last = FIRST + 2 * MOST_PROCESSES as u32;
        for pid in FIRST..=last {
            processes.take_in(MappingEvent::Forked { pid, parent: own }, &mut files);
        }
        assert!(processes.known.len() <= MOST_PROCESSES && processes.order.len() == processes.known.len());
        assert!(processes.get(FIRST).is_none() && processes.get(own).is_some() && processes.get(last).is_some());
    }
}
