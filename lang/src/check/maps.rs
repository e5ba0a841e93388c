//! What is known about each map of a script, and how two uses of a map agree on its types.

use std::collections::HashMap;

use crate::diagnostic::{Code, Diagnostic};
use crate::entries::KEPT;
use crate::expand::{THREAD, written_map};
use crate::hir::{Map, MapId, MapValue, Owner};
use crate::limits::{CALLS_AT_ONCE, MAX_KEY_BYTES, SMALL_KEY_BYTES};
use crate::span::Span;
use crate::types::Type;

use super::items::DeclaredMap;
use super::literals::Literals;

/// A map that another program has made, and that this one uses as well: its types stand.
#[derive(Clone, Debug)]
pub struct FixedMap {
    pub map: Map,
    /// The program, and where it assigns the map.
    pub by: String,
    pub text: String,
    /// What to do where the types do not fit.
    pub help: String,
}

#[derive(Default)]
pub struct MapTable {
    by_name: HashMap<String, MapId>,
    rows: Vec<Row>,
    fixed: Vec<FixedMap>,
}

struct Row {
    name: String,
    key: Option<(Vec<Type>, Span)>,
    key_spans: Vec<Span>,
    value: Option<(MapValue, Span)>,
    /// The first place that names it.
    span: Span,
    /// A statement assigns it, whether or not that went well.
    is_assigned: bool,
    /// What stands from the beginning.
    fixed: Option<FixedMap>,
    /// What it is assigned, as long as these are numbers that are written out.
    literals: Option<Literals>,
}

impl MapTable {
    /// A table in which some maps have their types from the beginning.
    pub fn with(fixed: &[FixedMap]) -> MapTable {
        MapTable { fixed: fixed.to_vec(), ..MapTable::default() }
    }

    pub fn id(&mut self, name: &str, span: Span) -> MapId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = MapId(self.rows.len() as u32);
        let fixed = self.fixed.iter().find(|fixed| fixed.map.owner == Owner::Script && fixed.map.name == name).cloned();
        self.rows.push(Row {
            name: name.to_string(),
            key: fixed.as_ref().map(|fixed| (fixed.map.key.clone(), span)),
            key_spans: Vec::new(),
            value: fixed.as_ref().map(|fixed| (fixed.map.value.clone(), span)),
            span,
            is_assigned: fixed.is_some(),
            fixed,
            literals: None,
        });
        self.by_name.insert(name.to_string(), id);
        id
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Takes out what has come since there were so many, and has no value.
    pub fn forget_unknown(&mut self, count: usize) {
        while self.rows.len() > count && self.rows.last().is_some_and(|row| row.value.is_none() && !row.is_assigned) {
            self.rows.pop();
            self.by_name.retain(|_, id| id.index() < self.rows.len());
        }
    }

    pub fn value(&self, id: MapId) -> Option<&MapValue> {
        self.rows[id.index()].value.as_ref().map(|(value, _)| value)
    }

    pub fn named(&self, name: &str) -> Option<MapId> {
        self.by_name.get(name).copied()
    }

    pub fn key(&self, id: MapId) -> Option<&[Type]> {
        self.rows[id.index()].key.as_ref().map(|(key, _)| key.as_slice())
    }

    pub fn note_assigned(&mut self, id: MapId) {
        self.rows[id.index()].is_assigned = true;
    }

    pub fn is_assigned(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|id| self.rows[id.index()].is_assigned)
    }

    pub fn name(&self, id: MapId) -> &str {
        &self.rows[id.index()].name
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().filter(|row| row.value.is_some()).map(|row| row.name.as_str())
    }

    /// A use of the map with keys of these types, which stand at those places. True if the known types widened.
    pub fn unify_key(&mut self, id: MapId, key: &[(Type, Span)], span: Span) -> Result<bool, Box<Diagnostic>> {
        let row = &mut self.rows[id.index()];
        if key.iter().any(|(ty, _)| *ty == Type::Unknown) {
            return Ok(false);
        }
        let (key, spans): (Vec<Type>, Vec<Span>) = key.iter().cloned().unzip();
        if row.key_spans.is_empty() {
            row.key_spans = spans;
        }
        let Some((known, first)) = &mut row.key else {
            row.key = Some((key, span));
            return Ok(true);
        };
        if let Some(fixed) = &row.fixed {
            let fits = known.len() == key.len() && known.iter().zip(&key).all(|(old, new)| takes(old, new));
            let has = |keys: &[Type]| match keys.len() {
                0 => "no keys".to_string(),
                _ => format!("keys of type {}", keys.iter().map(Type::to_string).collect::<Vec<_>>().join(", ")),
            };
            return match fits {
                true => Ok(false),
                false => Err(disagrees(fixed, Code::KeyMismatch, span, &has(known), has(&key))),
            };
        }
        let mismatch = |what: String, known: &[Type], first: Span| {
            Box::new(
                Diagnostic::error(Code::KeyMismatch, span, what)
                    .label(match key.len() {
                        0 => "no key here".to_string(),
                        _ => format!("keys of type {}", list(&key)),
                    })
                    .other(
                        first,
                        if known.is_empty() {
                            "used without keys here".to_string()
                        } else {
                            format!("keys of type {} here", list(known))
                        },
                    )
                    .help("all uses of a map take the same keys; use another map for the other keys"),
            )
        };
        if known.len() != key.len() {
            let count = |keys: usize| match keys {
                0 => "no key".to_string(),
                1 => "1 key".to_string(),
                n => format!("{n} keys"),
            };
            let message =
                format!("{} is used with {} and with {}", written_map(&row.name), count(known.len()), count(key.len()));
            return Err(mismatch(message, known, *first));
        }
        let mut widened = Vec::new();
        for (old, new) in known.iter().zip(&key) {
            match unify(old, new) {
                Some(ty) => widened.push(ty),
                None => {
                    let name = written_map(&row.name);
                    let message = format!("{name} has keys of type {old:#} and of type {new:#}");
                    return Err(mismatch(message, known, *first));
                }
            }
        }
        let changed = *known != widened;
        *known = widened;
        Ok(changed)
    }

    pub fn literals(&self, id: MapId) -> Option<Literals> {
        self.rows[id.index()].literals
    }

    pub fn set_literals(&mut self, id: MapId, literals: Option<Literals>) {
        self.rows[id.index()].literals = literals;
    }

    /// What is not written out is of that type, which holds what is.
    pub fn narrow(&mut self, id: MapId, ty: &Type) {
        let row = &mut self.rows[id.index()];
        row.literals = None;
        if let Some((value, _)) = &mut row.value {
            *value = MapValue::Plain(ty.clone());
        }
    }

    /// An assignment of that kind of value. True if the known type widened.
    pub fn unify_value(&mut self, id: MapId, value: MapValue, span: Span) -> Result<bool, Box<Diagnostic>> {
        let row = &mut self.rows[id.index()];
        if value == MapValue::Plain(Type::Unknown) {
            return Ok(false);
        }
        row.literals = None;
        let Some((known, first)) = &mut row.value else {
            row.value = Some((value, span));
            return Ok(true);
        };
        if let Some(fixed) = &row.fixed {
            let fits = match (&*known, &value) {
                (MapValue::Plain(old), MapValue::Plain(new)) => takes(old, new),
                (MapValue::Aggregation(old), MapValue::Aggregation(new)) => {
                    old.kind == new.kind && old.shape == new.shape
                }
                (MapValue::Plain(_), MapValue::Aggregation(_)) | (MapValue::Aggregation(_), MapValue::Plain(_)) => {
                    false
                }
            };
            return match fits {
                true => Ok(false),
                false => Err(disagrees(fixed, Code::TypeMismatch, span, &describe(known), describe(&value))),
            };
        }
        let widened = match (&*known, &value) {
            (MapValue::Plain(old), MapValue::Plain(new)) => unify(old, new).map(MapValue::Plain),
            (MapValue::Aggregation(old), MapValue::Aggregation(new))
                if old.kind == new.kind && old.shape == new.shape =>
            {
                let mut merged = *old;
                merged.signed |= new.signed;
                Some(MapValue::Aggregation(merged))
            }
            _ => None,
        };
        let Some(widened) = widened else {
            return Err(Box::new(
                Diagnostic::error(
                    Code::TypeMismatch,
                    span,
                    format!(
                        "{} holds {} and is assigned {}",
                        written_map(&row.name),
                        describe(known),
                        describe(&value)
                    ),
                )
                .label(describe(&value))
                .other(*first, format!("{} here", describe(known)))
                .help("it keeps one type of value; use another name"),
            ));
        };
        let changed = *known != widened;
        *known = widened;
        Ok(changed)
    }

    /// The maps as the program has them. `large_keys` tells whether the kernel takes keys above `SMALL_KEY_BYTES`.
    pub fn finish(
        &self,
        diagnostics: &mut Vec<Diagnostic>,
        declared: &HashMap<&str, DeclaredMap>,
        entries: u64,
        large_keys: impl Fn() -> bool,
    ) -> Vec<Map> {
        let mut maps = Vec::new();
        for row in &self.rows {
            let key = row.key.as_ref().map_or(Vec::new(), |(key, _)| key.clone());
            let (value, span) = row.value.clone().unwrap_or((MapValue::Plain(Type::Unknown), row.span));
            let declaration = declared.get(row.name.as_str());
            if let Some(declaration) = declaration
                && key.is_empty()
            {
                diagnostics.push(
                    Diagnostic::error(Code::KeyMismatch, span, format!("@{} is declared with keys", row.name))
                        .label("used without a key")
                        .other(declaration.span, "declared here")
                        .help("drop the declaration: a map without keys needs none"),
                );
            }
            if let (Some(declaration), Some(fixed)) = (declaration, &row.fixed) {
                diagnostics.push(
                    Diagnostic::error(Code::DeclaredTwice, declaration.span, format!("@{} is there already", row.name))
                        .label(format!("{} has it: `{}`", fixed.by, fixed.text))
                        .help(fixed.help.clone()),
                );
            }
            let entries = match (key.is_empty(), declaration, &row.fixed) {
                (true, ..) => 1,
                (false, _, Some(fixed)) => fixed.map.entries,
                (false, Some(declaration), None) => declaration.entries,
                (false, None, None) => entries,
            };
            let owner = match (row.name.starts_with(THREAD), key.is_empty()) {
                (false, _) if row.name.starts_with(KEPT) => Owner::Calls,
                (false, _) => Owner::Script,
                (true, true) => Owner::Thread,
                (true, false) => Owner::ThreadByKey,
            };
            let entries = if owner == Owner::Calls { entries.max(CALLS_AT_ONCE) } else { entries };
            // Calls that never return (exit) leave something behind.
            let evicts = matches!(owner, Owner::ThreadByKey | Owner::Calls)
                || declaration.is_some_and(|declaration| declaration.evicts)
                || row.fixed.as_ref().is_some_and(|fixed| fixed.map.evicts);
            let mut map = Map {
                name: row.name.clone(),
                entries,
                evicts,
                owner,
                key,
                key_spans: row.key_spans.clone(),
                value,
                span,
            };
            if map.kept_key_bytes() > SMALL_KEY_BYTES && !large_keys() {
                cut_strings(&mut map);
            }
            if map.key_bytes() > MAX_KEY_BYTES {
                diagnostics.push(
                    Diagnostic::error(
                        Code::TooLarge,
                        row.key.as_ref().map_or(row.span, |(_, span)| *span),
                        format!("a key of @{} takes {} bytes", row.name, map.key_bytes()),
                    )
                    .label("too large for a key")
                    .help(format!("keys take at most {MAX_KEY_BYTES} bytes; shorten strings with str(x, length)")),
                );
            }
            maps.push(map);
        }
        maps
    }
}

/// Whether a place of that type has room for a value of the other, without becoming another type.
fn takes(kept: &Type, value: &Type) -> bool {
    let both_integers = matches!((kept, value), (Type::Int { .. }, Type::Int { .. } | Type::Bool | Type::Enum(_)));
    both_integers || unify(kept, value).is_some_and(|both| both == *kept)
}

fn disagrees(fixed: &FixedMap, code: Code, span: Span, has: &str, wanted: String) -> Box<Diagnostic> {
    let message = format!("@{} has {has} in {}, which runs: `{}`", fixed.map.name, fixed.by, fixed.text);
    Box::new(Diagnostic::error(code, span, message).label(wanted).help(fixed.help.clone()))
}

/// Cuts the longest strings of a key until it is small enough.
fn cut_strings(map: &mut Map) {
    let mut most = SMALL_KEY_BYTES;
    while map.kept_key_bytes() > SMALL_KEY_BYTES && most > 8 {
        most -= 8;
        for part in &mut map.key {
            if let Type::Str(capacity) = part {
                *capacity = (*capacity).min(most);
            }
        }
    }
}

/// What is computed with the integer, and what holds it beside an integer of another width.
pub fn widened(ty: &Type) -> Type {
    match ty {
        Type::Int { .. } if *ty != Type::U64 => Type::I64,
        other => other.clone(),
    }
}

/// A type that holds values of both. Integers of one width keep it.
pub fn unify(a: &Type, b: &Type) -> Option<Type> {
    if a == b {
        return Some(a.clone());
    }
    match (a, b) {
        (Type::Unknown, other) | (other, Type::Unknown) => Some(other.clone()),
        // Points of several clocks, and numbers among them, are numbers.
        (Type::Timestamp(_), Type::Timestamp(_)) => Some(Type::U64),
        (Type::Timestamp(_), other) => unify(&Type::U64, other),
        (other, Type::Timestamp(_)) => unify(other, &Type::U64),
        (Type::Int { .. }, Type::Int { .. }) => {
            Some(if *a == Type::U64 || *b == Type::U64 { Type::U64 } else { Type::I64 })
        }
        (Type::Int { .. }, Type::Bool | Type::Enum(_)) => Some(widened(a)),
        (Type::Bool | Type::Enum(_), Type::Int { .. }) => Some(widened(b)),
        (Type::Bool | Type::Enum(_), Type::Bool | Type::Enum(_)) => Some(Type::I64),
        (Type::Pointer { .. }, Type::Int { .. }) => Some(a.clone()),
        (Type::Int { .. }, Type::Pointer { .. }) => Some(b.clone()),
        (Type::Pointer { .. }, Type::Pointer { .. }) => Some(a.clone()),
        (Type::Str(a), Type::Str(b)) => Some(Type::Str(*a.max(b))),
        // Names of several kinds, and strings among them, are strings.
        (Type::Str(_), name) if name.has_text() => Some(a.clone()),
        (name, Type::Str(_)) if name.has_text() => Some(b.clone()),
        (a, b) if a.has_text() && b.has_text() => Some(Type::Str(1)),
        (Type::Buffer(a), Type::Buffer(b)) => Some(Type::Buffer(*a.max(b))),
        (Type::Stack { user: u, frames: m, mode: a }, Type::Stack { user: v, frames: n, mode: b })
            if u == v && a == b =>
        {
            Some(Type::Stack { user: *u, frames: *m.max(n), mode: *a })
        }
        (Type::Tuple(a), Type::Tuple(b)) if a.len() == b.len() => a
            .iter()
            .zip(b.iter())
            .map(|(a, b)| unify(a, b))
            .collect::<Option<Vec<Type>>>()
            .map(|parts| Type::Tuple(parts.into())),
        (Type::Record(a), Type::Record(b)) if a.len() == b.len() => a
            .iter()
            .zip(b.iter())
            .map(|((name, a), (other, b))| (name == other).then(|| Some((name.clone(), unify(a, b)?)))?)
            .collect::<Option<Vec<_>>>()
            .map(|parts| Type::Record(parts.into())),
        _ => None,
    }
}

fn describe(value: &MapValue) -> String {
    match value {
        MapValue::Plain(ty) => format!("a value of type {ty:#}"),
        MapValue::Aggregation(aggregation) => aggregation.to_string(),
    }
}

fn list(types: &[Type]) -> String {
    types.iter().map(|ty| format!("{ty:#}")).collect::<Vec<_>>().join(", ")
}
