//! All types of a blob by their names, for who looks up many: a look at each of them takes half a millisecond.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Btf, Kind};

/// After so many walks the table has paid for itself.
pub(super) const MOST_WALKS: usize = 64;

/// Sorted hashes of names, each with the id of its type.
pub(super) struct Names(Vec<(u64, u32)>);

impl Names {
    pub(super) fn of(btf: &Btf) -> Names {
        let named = btf.records().filter(|record| record.name_offset != 0);
        let mut names: Vec<_> = named.map(|record| (hash(btf.name(&record)), record.id)).collect();
        names.sort_unstable();
        Names(names)
    }

    /// The first type of that kind and name.
    pub(super) fn find(&self, btf: &Btf, kind: Kind, name: &str) -> Option<u32> {
        let wanted = hash(name);
        let first = self.0.partition_point(|(hash, _)| *hash < wanted);
        let mut alike = self.0[first..].iter().take_while(|(hash, _)| *hash == wanted).map(|(_, id)| *id);
        alike.find(|id| btf.record(*id).is_some_and(|record| record.kind == kind && btf.name(&record) == name))
    }
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
