//! Maps as they are shown while a session runs: read, merged, sorted, joined with each other, cut.

use std::collections::HashMap;

use rtrace_lang::aggregations::Aggregation;
use rtrace_lang::format::Piece;
use rtrace_lang::hir::{Map, MapId, MapValue, SortBy, Table};
use rtrace_lang::limits::DEFAULT_STACK_FRAMES;
use rtrace_lang::source::Source;
use rtrace_lang::types::Type;

use crate::cells;
use crate::decode::word;
use crate::event::{Cell, MapEvent, Rows, Value};
use crate::maps::{self, LiveMap};
use crate::output::printa;
use crate::rows::{Packed, PackedValue, Shape, divide};

use super::{Session, SessionError};

/// An entry of a map: the bytes of its key where they are asked for, the key as it is shown, its value.
struct Row {
    bytes: Option<Box<KeyBytes>>,
    key: Vec<Value>,
    cell: Cell,
}

/// A key as the kernel's map has it, and the whole of it.
struct KeyBytes {
    kept: Vec<u8>,
    whole: Vec<u8>,
}

/// Whether the bytes of keys are needed. A map may have a million of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Keep {
    Bytes,
    Shown,
}

impl Session<'_> {
    /// A map as it is now.
    pub(super) fn map_event(&mut self, id: MapId, table: &Table) -> Result<MapEvent, SessionError> {
        self.map_event_of(id, self.in_use(id), table)
    }

    /// A map as one of the kernel's has it.
    pub(super) fn map_event_of(&mut self, id: MapId, at: usize, table: &Table) -> Result<MapEvent, SessionError> {
        self.name_kernel_stacks(id);
        let mut rows: Rows = match self.packed(id, at, table)? {
            Some(packed) => packed.into(),
            None => {
                let rows = self.rows(id, at, table.by, table.divisor, Keep::Shown)?;
                rows.into_iter().map(|row| (row.key, row.cell)).collect()
            }
        };
        if let Some(top) = table.top {
            rows.keep_last(usize::try_from(top).unwrap_or(usize::MAX));
        }
        if table.descending {
            rows.reverse();
        }
        let map = &self.hir.maps[id.index()];
        let aggregation = match &map.value {
            MapValue::Aggregation(aggregation) => Some(aggregation.kind),
            MapValue::Plain(_) => None,
        };
        let key_names = key_names(map, &self.options.source);
        let keyed = !map.key.is_empty();
        let is_unset = !keyed && self.is_unset(id, at)?;
        Ok(MapEvent { name: map.written(), keyed, key_names, aggregation, rows, is_unset, at_end: false })
    }

    /// Before the stacks of a map are named one by one.
    fn name_kernel_stacks(&mut self, id: MapId) {
        let has_some = self.hir.maps[id.index()].key.iter().any(|part| matches!(part, Type::Stack { user: false, .. }));
        let Some(stacks) = self.object.manifest.stacks.filter(|_| has_some) else { return };
        let (stacks, cpus) = (&self.maps[stacks as usize], self.cpus);
        self.decoder.name_kernel(|| {
            let mut addresses = Vec::new();
            // What cannot be read now is looked up by itself.
            let _ = stacks.for_each(cpus, &mut |_, value| {
                let count = (word(value, 0) as usize).min(value.len() / 8 - 1);
                let all = (1..=count).map(|number| word(value, number * 8));
                addresses.extend(all.filter(|address| address >> 63 == 1));
            });
            addresses
        });
    }

    /// The entries of a map in the order of the table, where they can stay as they are.
    fn packed(&self, id: MapId, at: usize, table: &Table) -> Result<Option<Packed>, SessionError> {
        let map = &self.hir.maps[id.index()];
        let value = match &map.value {
            MapValue::Aggregation(aggregation) => PackedValue::Merged(*aggregation),
            MapValue::Plain(ty) => PackedValue::Number(ty.clone()),
        };
        let divisor = table.divisor.saturating_mul(self.normals[id.index()]);
        let shape = Shape::new(&map.key, value, divisor, self.options.for_terminal);
        let may_be_cut = map.key.iter().any(|ty| self.decoder.may_be_cut(ty));
        let is_plain = !map.key.is_empty() && !map.has_short_keys() && !may_be_cut;
        let Some(shape) = shape.filter(|_| is_plain) else { return Ok(None) };
        let (mut packed, mut others) = (Packed::new(shape.clone()), Packed::new(shape));
        let mut push = |key: &[u8], value: &[u8]| packed.push(key, value);
        let mut push_other = |key: &[u8], value: &[u8]| others.push(key, value);
        self.maps[at].for_each_half(self.cpus, &mut push, &mut push_other)?;
        packed.append(others);
        packed.sort(|key, cell| maps::rank(map, table.by, key, cell));
        Ok(Some(packed))
    }

    /// The entries of a map in that order, their values divided by `divisor` and by what normalize() says.
    fn rows(&mut self, id: MapId, at: usize, by: SortBy, divisor: u64, keep: Keep) -> Result<Vec<Row>, SessionError> {
        let hir = self.hir.clone();
        let map = &hir.maps[id.index()];
        let divisor = divisor.saturating_mul(self.normals[id.index()]);
        let key_bytes = self.object.maps[id.index()].key_bytes as usize;
        let mut rows = Vec::new();
        match &map.value {
            MapValue::Aggregation(aggregation) if let Some(count) = map.intervals() => {
                let (live, cpus) = (&self.maps[at], self.cpus);
                let slots = cells::merge_places(aggregation, count, |visit| live.for_each(cpus, visit))?;
                let cell = cells::cell(aggregation, &slots, divisor);
                rows.push(Row { bytes: None, key: Vec::new(), cell });
            }
            MapValue::Aggregation(aggregation) if keep == Keep::Shown && map.key.iter().any(reads_alike) => {
                rows = self.merged_rows(id, at, aggregation, divisor)?;
            }
            MapValue::Aggregation(aggregation) => {
                // Only what is shown of a cell is kept: the cells of all processors may be large.
                let (mut keys, mut found) = (Vec::new(), Vec::new());
                self.maps[at].for_each(self.cpus, &mut |key, value| {
                    if let Some(slots) = cells::merge(aggregation, value) {
                        keys.extend_from_slice(key);
                        found.push(cells::cell(aggregation, &slots, divisor));
                    }
                })?;
                rows.reserve_exact(found.len());
                // From the last to the first, so that the memory of those that are done with can be given back.
                while let Some(cell) = found.pop() {
                    let number = found.len();
                    if number % GIVE_BACK == 0 {
                        found.shrink_to_fit();
                    }
                    rows.push(self.row(id, at, part(&keys, number, key_bytes), cell, keep));
                }
            }
            MapValue::Plain(ty) => {
                let value_bytes = self.object.maps[id.index()].value_bytes as usize;
                let (mut keys, mut found) = (Vec::new(), Vec::new());
                let mut count = 0;
                self.maps[at].for_each(self.cpus, &mut |key, value| {
                    keys.extend_from_slice(key);
                    found.extend_from_slice(&value[..value_bytes]);
                    count += 1;
                })?;
                rows.reserve_exact(count);
                for number in 0..count {
                    let value = part(&found, number, value_bytes);
                    let Some(value) = self.values(std::slice::from_ref(ty), value).pop() else { continue };
                    let cell = Cell::Value(divide(value, divisor));
                    rows.push(self.row(id, at, part(&keys, number, key_bytes), cell, keep));
                }
            }
        }
        sort(&mut rows, map, by);
        Ok(rows)
    }

    /// The entries of a map whose keys have addresses that are shown as names: keys that read alike are one row, in which
    /// the cells of all of them are merged, as those of processors are.
    fn merged_rows(
        &mut self,
        id: MapId,
        at: usize,
        aggregation: &Aggregation,
        divisor: u64,
    ) -> Result<Vec<Row>, SessionError> {
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        self.maps[at].for_each(self.cpus, &mut |key, value| found.push((key.to_vec(), value.to_vec())))?;
        let mut alike: HashMap<Vec<Value>, Vec<u8>> = HashMap::new();
        for (kept, value) in found {
            let (key, _) = self.whole_key(id, at, &kept);
            alike.entry(key).or_default().extend(value);
        }
        let row = |(key, values): (Vec<Value>, Vec<u8>)| {
            let slots = cells::merge(aggregation, &values)?;
            Some(Row { bytes: None, key, cell: cells::cell(aggregation, &slots, divisor) })
        };
        Ok(alike.into_iter().filter_map(row).collect())
    }

    fn row(&mut self, id: MapId, at: usize, kept: &[u8], cell: Cell, keep: Keep) -> Row {
        let (key, whole) = self.whole_key(id, at, kept);
        let bytes = (keep == Keep::Bytes).then(|| Box::new(KeyBytes { kept: kept.to_vec(), whole }));
        Row { bytes, key, cell }
    }

    /// A key as it is shown, and all of its bytes.
    fn whole_key(&mut self, id: MapId, at: usize, kept: &[u8]) -> (Vec<Value>, Vec<u8>) {
        let hir = self.hir.clone();
        let map = &hir.maps[id.index()];
        let beside = self.whole_keys(at);
        let whole = map.whole_key(kept, |key| beside?.get(key, self.cpus).ok().flatten());
        (self.values(&map.key, &whole), whole)
    }

    /// The map with the whole keys of one whose own are short.
    pub(super) fn whole_keys(&self, at: usize) -> Option<&LiveMap> {
        self.object.maps[at].whole_keys.map(|number| &self.maps[number as usize])
    }

    /// Removes all entries of one of the kernel's maps; one without keys becomes zero.
    pub(super) fn clear_at(&mut self, at: usize) -> Result<(), SessionError> {
        self.maps[at].clear(self.cpus)?;
        self.forget_keys(at)
    }

    fn forget_keys(&self, at: usize) -> Result<(), SessionError> {
        match self.whole_keys(at) {
            Some(beside) => Ok(beside.forget_keys(&self.maps[at], self.cpus)?),
            None => Ok(()),
        }
    }

    /// printa(): the entries of several maps joined by their keys, in the order of the first map's values.
    pub(super) fn joined(&mut self, ids: &[MapId], pieces: Option<&[Piece]>) -> Result<Vec<u8>, SessionError> {
        let missing: Vec<Cell> = ids.iter().map(|id| self.empty_cell(*id)).collect();
        let mut lines: Vec<(Vec<Value>, Vec<Cell>)> = Vec::new();
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        for (number, id) in ids.iter().enumerate() {
            let types = self.hir.maps[id.index()].key.clone();
            let at = self.shown_at(*id);
            for row in self.rows(*id, at, SortBy::Usual, 1, Keep::Bytes)? {
                let whole = row.bytes.map(|bytes| without_padding(&types, &bytes.whole)).unwrap_or_default();
                let place = *places.entry(whole).or_insert(lines.len());
                if place == lines.len() {
                    lines.push((row.key, missing.clone()));
                }
                lines[place].1[number] = row.cell;
            }
        }
        let hir = self.hir.clone();
        lines.sort_by(|a, b| {
            let each = ids.iter().enumerate().map(|(number, id)| {
                let map = &hir.maps[id.index()];
                maps::order(map, SortBy::Value, (&[], &a.1[number]), (&[], &b.1[number]))
            });
            let by_key = maps::order(&hir.maps[ids[0].index()], SortBy::Key, (&a.0, &a.1[0]), (&b.0, &b.1[0]));
            each.into_iter().find(|order| order.is_ne()).unwrap_or(by_key)
        });
        let mut out = Vec::new();
        for (key, cells) in &lines {
            match pieces {
                Some(pieces) => out.extend(printa::line(pieces, key, cells, self.options.for_terminal)),
                None => printa::columns(key, cells, &mut out),
            }
        }
        Ok(out)
    }

    /// What a key without an entry shows.
    fn empty_cell(&self, id: MapId) -> Cell {
        match &self.hir.maps[id.index()].value {
            MapValue::Aggregation(aggregation) => cells::cell(aggregation, &vec![0; aggregation.slots() as usize], 1),
            MapValue::Plain(Type::Str(_)) => Cell::Value(Value::Str(Vec::new())),
            MapValue::Plain(_) => Cell::Value(Value::Int(0)),
        }
    }

    /// trunc(): keeps the `count` largest entries, or the smallest ones where it is negative.
    pub(super) fn truncate(&mut self, id: MapId, count: i64) -> Result<(), SessionError> {
        if count == 0 {
            return self.clear(id);
        }
        if self.hir.maps[id.index()].key.is_empty() {
            return Ok(());
        }
        let at = self.in_use(id);
        let mut rows = self.rows(id, at, SortBy::Value, 1, Keep::Bytes)?;
        if count > 0 {
            rows.reverse();
        }
        for row in rows.iter().skip(usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX)) {
            if let Some(bytes) = &row.bytes {
                self.maps[at].delete(&bytes.kept)?;
            }
        }
        self.forget_keys(at)
    }
}

/// After so many rows memory is given back.
const GIVE_BACK: usize = 65_536;

/// Whether keys that differ may read alike: addresses of one name, and kernel stacks of which more was taken than is shown.
fn reads_alike(part: &Type) -> bool {
    match part {
        Type::Symbol { .. } => true,
        Type::Stack { user: false, frames, .. } => *frames < DEFAULT_STACK_FRAMES,
        _ => false,
    }
}

/// Puts rows in order: by two numbers of each first, which settles most, since there may be a million rows.
fn sort(rows: &mut [Row], map: &Map, by: SortBy) {
    let mut ranks: Vec<(i128, u64, u32)> = Vec::with_capacity(rows.len());
    for (number, row) in rows.iter().enumerate() {
        let (value, key) = maps::rank(map, by, &row.key, &row.cell);
        // A map of the kernel has fewer entries.
        ranks.push((value, key, number as u32));
    }
    ranks.sort_unstable_by(|a, b| {
        let rest = || {
            let (a, b) = (&rows[a.2 as usize], &rows[b.2 as usize]);
            maps::order(map, by, (&a.key, &a.cell), (&b.key, &b.cell))
        };
        (a.0, a.1).cmp(&(b.0, b.1)).then_with(rest).then(a.2.cmp(&b.2))
    });
    // Each row is moved once: to where the one stands that takes the place of a third, and so on, until the first is reached.
    for first in 0..rows.len() {
        let mut place = first;
        loop {
            let from = std::mem::replace(&mut ranks[place].2, place as u32) as usize;
            if from == first || from == place {
                break;
            }
            rows.swap(place, from);
            place = from;
        }
    }
}

/// One of many parts of the same length.
fn part(all: &[u8], number: usize, bytes: usize) -> &[u8] {
    &all[number * bytes..(number + 1) * bytes]
}

/// Longer texts name nothing.
const LONGEST_KEY_NAME: usize = 60;

fn key_names(map: &Map, source: &Source) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for number in 0..map.key.len() {
        let text = map.key_spans.get(number).map_or("", |span| source.text_of(*span));
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        // Parts of one tuple stand at the same place, and a constant says what the value is, not what it means.
        let is_name = text.len() <= LONGEST_KEY_NAME
            && text.starts_with(|c: char| c.is_alphabetic() || matches!(c, '$' | '_' | '(' | '@'))
            && !names.contains(&text);
        names.push(if is_name { text } else { format!("key{number}") });
    }
    names
}

/// A key as all maps have it: strings without what pads them to the longest one of the map.
fn without_padding(types: &[Type], bytes: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    for ty in types {
        let (part, behind) = rest.split_at((ty.stored_bytes() as usize).min(rest.len()));
        if let Type::Str(_) = ty {
            key.extend(part.iter().take_while(|byte| **byte != 0));
            key.push(0);
        } else {
            key.extend_from_slice(part);
        }
        rest = behind;
    }
    key
}
