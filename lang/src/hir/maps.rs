//! What follows from the type of a map: how its keys and values are kept. Holds no types of its own.

use crate::aggregations::Merge;
use crate::keys;
use crate::limits::LARGE_CELL_BYTES;
use crate::types::Type;

use super::{Map, MapValue, Owner};

impl MapValue {
    /// Bytes of one value of the map on one processor.
    pub fn bytes(&self) -> u32 {
        match self {
            MapValue::Plain(ty) => ty.stored_bytes(),
            MapValue::Aggregation(aggregation) => aggregation.slots() * 8,
        }
    }
}

impl Map {
    /// An entry takes so much memory that the number of keys must not decide alone how much the map takes.
    pub fn has_large_cells(&self) -> bool {
        let is_aggregation = matches!(self.value, MapValue::Aggregation(_));
        is_aggregation && !self.key.is_empty() && self.value.bytes() > LARGE_CELL_BYTES
    }

    /// Of a time series without keys: how many intervals it keeps, each an entry of the kernel's map, so that there may be
    /// many. With keys a cell holds them all.
    pub fn intervals(&self) -> Option<u32> {
        match &self.value {
            MapValue::Aggregation(aggregation) if self.key.is_empty() => {
                Some(aggregation.intervals()).filter(|count| *count > 0)
            }
            MapValue::Aggregation(_) | MapValue::Plain(_) => None,
        }
    }

    /// Of a plain value without keys: where the word lies, behind the value, that tells 0 from no value.
    pub fn mark_offset(&self) -> Option<u32> {
        match &self.value {
            MapValue::Plain(ty) if self.key.is_empty() && self.owner == Owner::Script => {
                Some(ty.stored_bytes().next_multiple_of(8))
            }
            MapValue::Plain(_) | MapValue::Aggregation(_) => None,
        }
    }

    /// All processors share one cell: a large one that values are only ever added to.
    pub fn is_shared(&self) -> bool {
        match &self.value {
            MapValue::Aggregation(aggregation) => self.has_large_cells() && aggregation.row().merge == Merge::Add,
            MapValue::Plain(_) => true,
        }
    }

    /// Whether what is in it means the same to another program: no numbers of probes, and no types that a script or a
    /// program defines.
    pub fn means_the_same_elsewhere(&self) -> bool {
        let value = match &self.value {
            MapValue::Plain(ty) => ty.means_the_same_elsewhere(),
            MapValue::Aggregation(_) => true,
        };
        self.owner == Owner::Script && value && self.key.iter().all(Type::means_the_same_elsewhere)
    }

    /// As the script writes it.
    pub fn written(&self) -> String {
        match self.owner {
            Owner::Script => format!("@{}", self.name),
            Owner::Thread | Owner::ThreadByKey => self.name.clone(),
            Owner::Calls => "entry()".to_string(),
        }
    }

    /// Bytes of a whole key.
    pub fn key_bytes(&self) -> u32 {
        self.key.iter().map(Type::stored_bytes).sum()
    }

    /// Its keys are kept short, and whole ones beside: see `keys`. What gives up entries by itself would not give up both.
    pub fn has_short_keys(&self) -> bool {
        !self.evicts && self.key.iter().any(keys::has_text)
    }

    /// The whole of a key that the kernel's map has; `beside` gives what lies under it in the map beside.
    pub fn whole_key(&self, kept: &[u8], beside: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
        if self.has_short_keys() { keys::whole(&self.key, kept, beside) } else { kept.to_vec() }
    }

    /// Bytes of a key as the kernel's map has it.
    pub fn kept_key_bytes(&self) -> u32 {
        if self.has_short_keys() { keys::short_bytes(&self.key) } else { self.key_bytes() }
    }
}
