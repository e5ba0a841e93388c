//! Maps that are cleared while probes fire: two of the kernel's take turns for one of the script's. What programs have left stands
//! still, and is read and emptied without losing what is counted meanwhile, and without counting anything twice.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya_obj::generated::bpf_map_type;
use rtrace_lang::hir::{Hir, MapId, RecordId, prints_before_clears};
use rtrace_probes::kernel::KernelError;
use rtrace_probes::kernel::bpf::{self, MapConfig};

use super::{Session, SessionError};

pub struct Turns {
    /// Records that print a map, and the map, whose contents the record there clears.
    pairs: HashMap<(RecordId, MapId), RecordId>,
    /// What has been printed and is about to be cleared.
    held: HashMap<MapId, Held>,
    /// Maps without keys that hold zero because the script has set them to it.
    zeroed: HashSet<MapId>,
    fence: Option<Fence>,
}

/// A map that programs have left.
struct Held {
    /// Index into `Object::maps`.
    at: usize,
    /// Who printed it first, and who is to clear it.
    print: RecordId,
    clear: RecordId,
    /// How often that was printed and not cleared yet: a probe may fire on several processors.
    runs: u32,
}

impl Turns {
    pub fn new(hir: &Hir) -> Turns {
        Turns { pairs: prints_before_clears(hir), held: HashMap::new(), zeroed: HashSet::new(), fence: None }
    }
}

/// Waits until all programs that run now have ended: the kernel does so before it answers an update of a map of maps (`maybe_wait_bpf_programs`
/// in kernel/bpf/syscall.c), so that whoever changes one knows who may still use what was in it.
struct Fence {
    outer: OwnedFd,
    inner: OwnedFd,
}

impl Fence {
    fn new() -> Result<Fence, KernelError> {
        let array = |kind: bpf_map_type, inner: Option<&OwnedFd>| {
            bpf::map_create(&MapConfig {
                kind: kind as u32,
                key_bytes: 4,
                value_bytes: 4,
                entries: 1,
                name: "rtrace_fence",
                inner: inner.map(AsFd::as_fd),
                ..MapConfig::default()
            })
        };
        let inner = array(bpf_map_type::BPF_MAP_TYPE_ARRAY, None)?;
        let outer = array(bpf_map_type::BPF_MAP_TYPE_ARRAY_OF_MAPS, Some(&inner))?;
        Ok(Fence { outer, inner })
    }

    fn wait(&self) -> Result<(), KernelError> {
        bpf::map_update(self.outer.as_fd(), &[0; 4], &self.inner.as_raw_fd().to_ne_bytes(), 0)
    }
}

impl Session<'_> {
    /// The kernel's map that programs use for one of the script's, as an index into `Object::maps`.
    pub(super) fn in_use(&self, id: MapId) -> usize {
        match self.object.maps[id.index()].turns {
            Some(turns) if self.globals.get(turns.word) != 0 => turns.other as usize,
            Some(_) | None => id.index(),
        }
    }

    /// Whether a map without keys has no value: all of its bytes are zero, and it was not the script that made them so.
    pub(super) fn is_unset(&self, id: MapId, at: usize) -> Result<bool, SessionError> {
        let mut is_zero = true;
        self.maps[at].for_each(self.cpus, &mut |_, value| is_zero &= value.iter().all(|byte| *byte == 0))?;
        Ok(is_zero && !self.turns.zeroed.contains(&id))
    }

    /// The one that a print shows: what is about to be cleared.
    pub(super) fn shown_at(&self, id: MapId) -> usize {
        self.turns.held.get(&id).map_or_else(|| self.in_use(id), |held| held.at)
    }

    /// Lets programs use the other map of the two, which is empty, and waits until none uses this one. None where there is but
    /// one.
    fn swap(&mut self, id: MapId) -> Result<Option<usize>, SessionError> {
        let Some(turns) = self.object.maps[id.index()].turns else { return Ok(None) };
        let at = self.in_use(id);
        if self.turns.fence.is_none() {
            self.turns.fence = Some(Fence::new()?);
        }
        self.globals.set(turns.word, u64::from(at == id.index()));
        self.turns.fence.as_ref().expect("it was just made").wait()?;
        Ok(Some(at))
    }

    /// Before a record that prints a map which is cleared next: takes what is there out of the programs' reach.
    pub(super) fn hold_what_is_cleared_next(&mut self, print: RecordId) -> Result<(), SessionError> {
        let pairs = self.turns.pairs.iter().filter(|((record, _), _)| *record == print);
        let pairs: Vec<(MapId, RecordId)> = pairs.map(|((_, map), clear)| (*map, *clear)).collect();
        for (map, clear) in pairs {
            let mut runs = 1;
            if let Some(held) = self.turns.held.get(&map) {
                // A second print of the same contents before they are cleared.
                if held.print != print {
                    continue;
                }
                runs += held.runs;
                let at = held.at;
                self.clear_at(at)?;
            }
            if let Some(at) = self.swap(map)? {
                self.turns.held.insert(map, Held { at, print, clear, runs });
            }
        }
        Ok(())
    }

    /// Removes all entries of a map; one without keys becomes zero. Nothing that is counted from now on is lost.
    pub(super) fn clear(&mut self, id: MapId) -> Result<(), SessionError> {
        if let Some(held) = self.turns.held.remove(&id) {
            self.clear_at(held.at)?;
        }
        match self.swap(id)? {
            Some(at) => self.clear_at(at),
            None => self.clear_at(id.index()),
        }
    }

    /// What a record of clear() does: what was printed just before goes, and no more.
    pub(super) fn clear_by(&mut self, record: RecordId, id: MapId) -> Result<(), SessionError> {
        self.turns.zeroed.remove(&id);
        match self.end_of_hold(record, id) {
            Some(Some(at)) => self.clear_at(at),
            Some(None) => Ok(()),
            None => self.clear(id),
        }
    }

    /// What a record of zero() does: the same, but the keys stay, with values of zero.
    pub(super) fn zero_by(&mut self, record: RecordId, id: MapId) -> Result<(), SessionError> {
        if self.hir.maps[id.index()].key.is_empty() && !self.is_unset(id, self.shown_at(id))? {
            self.turns.zeroed.insert(id);
        }
        let at = match self.end_of_hold(record, id) {
            Some(at) => at,
            None => {
                if let Some(held) = self.turns.held.remove(&id) {
                    self.clear_at(held.at)?;
                }
                self.swap(id)?
            }
        };
        let Some(at) = at else {
            return match self.object.maps[id.index()].turns {
                // It is done when the last one clears.
                Some(_) => Ok(()),
                None => Ok(self.maps[id.index()].zero(self.cpus)?),
            };
        };
        let now = self.in_use(id);
        if !self.hir.maps[id.index()].key.is_empty() {
            self.maps[at].add_keys_to(&self.maps[now], self.cpus, true)?;
            if let (Some(from), Some(to)) = (self.whole_keys(at), self.whole_keys(now)) {
                from.add_keys_to(to, self.cpus, false)?;
            }
        }
        self.clear_at(at)
    }

    /// Of a record that clears what is held: the map to empty, if it is the last that is to come. None: nothing is held for it.
    fn end_of_hold(&mut self, record: RecordId, id: MapId) -> Option<Option<usize>> {
        let held = self.turns.held.get_mut(&id).filter(|held| held.clear == record)?;
        held.runs -= 1;
        if held.runs > 0 {
            return Some(None);
        }
        self.turns.held.remove(&id).map(|held| Some(held.at))
    }
}
