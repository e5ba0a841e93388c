//! All types of a blob by their names, for who looks up many: a walk over the types takes a third of a millisecond.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Btf, Kind, Place, read_record};

/// After so many walks the table has paid for itself.
pub(super) const MOST_WALKS: usize = 64;

/// Sorted hashes of names, each with the offset and the id of its type.
pub(super) struct Names(Vec<(u64, Place)>);

impl Names {
    pub(super) fn of(btf: &Btf) -> Names {
        let mut names = Vec::new();
        let mut records = btf.records();
        loop {
            let at = records.at as u32;
            let Some(record) = records.next() else { break };
            if record.name_offset != 0 {
                names.push((hash(btf.name(&record)), (at, record.id)));
            }
        }
        names.sort_unstable();
        Names(names)
    }

    /// The first type of that kind and name.
    pub(super) fn find(&self, btf: &Btf, kind: Kind, name: &str) -> Option<Place> {
        let wanted = hash(name);
        let first = self.0.partition_point(|(hash, _)| *hash < wanted);
        let alike = self.0[first..].iter().take_while(|(hash, _)| *hash == wanted).map(|(_, place)| *place);
        alike.into_iter().find(|(at, id)| {
            let record = read_record(btf.types(), *at as usize, *id);
            record.is_some_and(|(record, _)| record.kind == kind && btf.name(&record) == name)
        })
    }
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
