//! Maps that several sessions use: one lends its own, another one takes them in place of those that it would make. What belongs
//! to a map, the whole keys beside it and the stacks in its keys, goes with it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use rtrace_compiler::object::Object;
use rtrace_lang::hir::{Map, MapId};
use rtrace_lang::source::Source;
use rtrace_lang::types::Type;

use crate::maps::LiveMap;

use super::{Session, SessionError, SessionOptions};

/// A map of a session, for another one.
#[derive(Clone)]
pub struct SharedMap {
    pub map: Map,
    /// The part of the script that first assigns it.
    pub text: String,
    live: Arc<LiveMap>,
    whole_keys: Option<Arc<LiveMap>>,
    /// Alive as long as a session uses it.
    users: Weak<()>,
}

/// The map in which sessions keep the stacks of their keys.
#[derive(Clone)]
pub struct SharedStacks(Arc<LiveMap>);

impl std::fmt::Debug for SharedMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SharedMap({})", self.map.written())
    }
}

impl std::fmt::Debug for SharedStacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SharedStacks")
    }
}

impl SharedMap {
    /// Whether both are one map of the kernel's.
    pub fn is(&self, other: &SharedMap) -> bool {
        self.users.ptr_eq(&other.users)
    }

    /// Whether a key has a stack in it.
    pub fn has_stacks(&self) -> bool {
        self.map.key.iter().any(has_stack)
    }
}

fn has_stack(ty: &Type) -> bool {
    matches!(ty, Type::Stack { .. }) || ty.parts().iter().any(has_stack)
}

/// What a session takes of others.
pub(super) struct Lent {
    /// By the numbers of its own maps.
    pub maps: HashMap<usize, LiveMap>,
    /// For each map of the script who uses it.
    pub users: Vec<Arc<()>>,
}

pub(super) fn lent(object: &mut Object, options: &SessionOptions) -> Result<Lent, SessionError> {
    let mut taken = HashMap::new();
    let mut users = Vec::new();
    let hir = object.manifest.hir.clone();
    for (number, map) in hir.maps.iter().enumerate() {
        let shared = options.shared.iter().find(|shared| shared.map.written() == map.written());
        // Who lends it may have ended since.
        let Some((shared, of_users)) = shared.and_then(|shared| Some((shared, shared.users.upgrade()?))) else {
            users.push(Arc::default());
            continue;
        };
        users.push(of_users);
        take(object, number, &shared.live, &mut taken)?;
        if let (Some(beside), Some(live)) = (object.maps[number].whole_keys, &shared.whole_keys) {
            take(object, beside as usize, live, &mut taken)?;
        }
    }
    if let (Some(number), Some(SharedStacks(live))) = (object.manifest.stacks, &options.shared_stacks) {
        take(object, number as usize, live, &mut taken)?;
    }
    Ok(Lent { maps: taken, users })
}

/// The map of that number is the live one, and as large as that.
fn take(
    object: &mut Object,
    number: usize,
    live: &LiveMap,
    taken: &mut HashMap<usize, LiveMap>,
) -> Result<(), SessionError> {
    let mut live =
        live.try_clone().map_err(|source| SessionError::Map { name: object.maps[number].name.clone(), source })?;
    let own = &mut object.maps[number];
    own.entries = live.object.entries;
    // What is beside it has another number here.
    live.object = own.clone();
    taken.insert(number, live);
    Ok(())
}

/// From the map's name to what it is given, as far as one line has both.
fn assignment(source: &Source, map: &Map) -> String {
    let place = source.locate(map.span);
    let line = place.whole_line;
    let at = line.char_indices().nth(place.column as usize - 1).map_or(line.len(), |(at, _)| at);
    let start = line[..at].rfind(&map.written()).unwrap_or(at);
    let end = (at + place.text.len()).min(line.len());
    line.get(start..end).unwrap_or(place.text).trim_end_matches(';').to_string()
}

impl Session<'_> {
    /// The maps that other sessions may use: those that mean the same to them, and that no probe clears. What is cleared in
    /// turns is known to the session's own programs alone.
    pub fn shared_maps(&self) -> Vec<SharedMap> {
        let maps = self.hir.maps.iter().enumerate();
        let maps =
            maps.filter(|(number, map)| map.means_the_same_elsewhere() && self.object.maps[*number].turns.is_none());
        let shared = maps.filter_map(|(number, map)| {
            let whole_keys = match self.object.maps[number].whole_keys {
                Some(beside) => Some(Arc::new(self.maps[beside as usize].try_clone().ok()?)),
                None => None,
            };
            Some(SharedMap {
                map: map.clone(),
                text: assignment(&self.options.source, map),
                live: Arc::new(self.maps[number].try_clone().ok()?),
                whole_keys,
                users: Arc::downgrade(&self.users[number]),
            })
        });
        shared.collect()
    }

    pub fn shared_stacks(&self) -> Option<SharedStacks> {
        let stacks = self.object.manifest.stacks?;
        self.maps[stacks as usize].try_clone().ok().map(|live| SharedStacks(Arc::new(live)))
    }

    /// Whether another session uses the map as well: it then prints it, when it ends.
    pub(super) fn is_used_elsewhere(&self, id: MapId) -> bool {
        Arc::strong_count(&self.users[id.index()]) > 1
    }
}
