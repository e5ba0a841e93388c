//! What a program leaves behind: its maps, its records, its errors. The form in which all ways of running a program are
//! compared.

use std::collections::BTreeMap;
use std::fmt;

use rtrace_compiler::object::{ErrorKind, Object};
use rtrace_lang::hir::{Hir, Map, MapValue};
use rtrace_lang::types::Type;

/// A value without its representation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Datum {
    Int(i64),
    /// Without the NUL.
    Str(Vec<u8>),
    /// Of a tuple or a record.
    Tuple(Vec<Datum>),
    /// An array, as it lies in memory.
    Bytes(Vec<u8>),
}

impl Datum {
    /// The value as the type keeps it: strings lose what there is no room for.
    pub fn encode(&self, ty: &Type) -> Vec<u8> {
        match (self, ty) {
            (Datum::Str(text), Type::Str(capacity)) => {
                let mut bytes = text[..text.len().min(*capacity as usize - 1)].to_vec();
                bytes.resize(ty.stored_bytes() as usize, 0);
                bytes
            }
            (Datum::Tuple(parts), Type::Tuple(types)) => {
                parts.iter().zip(types.iter()).flat_map(|(part, ty)| part.encode(ty)).collect()
            }
            (Datum::Tuple(parts), Type::Record(types)) => {
                parts.iter().zip(types.iter()).flat_map(|(part, (_, ty))| part.encode(ty)).collect()
            }
            (Datum::Bytes(bytes), _) => {
                let mut bytes = bytes.clone();
                bytes.resize(ty.stored_bytes() as usize, 0);
                bytes
            }
            (Datum::Int(value), _) => value.to_le_bytes().to_vec(),
            (datum, ty) => panic!("{datum:?} is no {ty}"),
        }
    }

    pub fn decode(bytes: &[u8], ty: &Type) -> Datum {
        match ty {
            Type::Str(capacity) => {
                let bytes = &bytes[..*capacity as usize];
                Datum::Str(bytes[..bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len())].to_vec())
            }
            Type::Tuple(types) => Datum::Tuple(Datum::decode_all(bytes, types)),
            Type::Record(parts) => {
                let types: Vec<Type> = parts.iter().map(|(_, ty)| ty.clone()).collect();
                Datum::Tuple(Datum::decode_all(bytes, &types))
            }
            Type::Array { .. } => Datum::Bytes(bytes[..ty.size() as usize].to_vec()),
            _ => Datum::Int(i64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"))),
        }
    }

    /// Values that follow one another.
    pub fn decode_all(bytes: &[u8], types: &[Type]) -> Vec<Datum> {
        let mut at = 0;
        let one = |ty: &Type| {
            let datum = Datum::decode(&bytes[at..], ty);
            at += ty.stored_bytes() as usize;
            datum
        };
        types.iter().map(one).collect()
    }
}

/// Keys and values of a map; aggregations are their slots.
pub type Rows = BTreeMap<Vec<Datum>, Vec<Datum>>;

#[derive(Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    pub maps: BTreeMap<String, Rows>,
    /// Number of each record, and its parts.
    pub records: Vec<(u64, Vec<Datum>)>,
    /// Divisions by zero and indexes outside of arrays, by where they stand in the script.
    pub errors: BTreeMap<(u32, u32), u64>,
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, rows) in &self.maps {
            writeln!(f, "@{name}: {rows:?}")?;
        }
        writeln!(f, "records: {:?}", self.records)?;
        writeln!(f, "errors: {:?}", self.errors)
    }
}

impl Outcome {
    /// From what maps and records hold. `entries` gives the entries of a map by its number in the object.
    pub fn decode(
        hir: &Hir,
        object: &Object,
        entries: impl Fn(usize) -> Vec<(Vec<u8>, Vec<u8>)>,
        records: &[Vec<u8>],
    ) -> Outcome {
        let mut outcome = Outcome::default();
        for (number, map) in hir.maps.iter().enumerate() {
            let beside = object.maps[number].whole_keys.map_or(Vec::new(), |beside| entries(beside as usize));
            let beside: BTreeMap<Vec<u8>, Vec<u8>> = beside.into_iter().collect();
            let rows = entries(number).iter().map(|(key, value)| row(map, &beside, key, value)).collect();
            outcome.maps.insert(map.name.clone(), rows);
        }
        for record in records {
            let number = u64::from_le_bytes(record[..8].try_into().expect("8 bytes"));
            let parts = Datum::decode_all(&record[8..], &hir.records[number as usize].parts);
            outcome.records.push((number, parts));
        }
        let globals = &entries(object.manifest.globals_map as usize)[0].1;
        for (site, offset) in &object.manifest.globals.errors {
            let at = *offset as usize;
            let count = u64::from_le_bytes(globals[at..at + 8].try_into().expect("8 bytes"));
            match site.kind {
                ErrorKind::DivisionByZero | ErrorKind::Index if count > 0 => {
                    *outcome.errors.entry((site.span.start, site.span.end)).or_default() += count;
                }
                ErrorKind::DivisionByZero | ErrorKind::Index => {}
                ErrorKind::Read(_)
                | ErrorKind::MapFull(_)
                | ErrorKind::KeyCut(_)
                | ErrorKind::Stack
                | ErrorKind::Unwind
                | ErrorKind::Loop
                | ErrorKind::Nested
                | ErrorKind::Copy => {
                    assert_eq!(count, 0, "{site:?}");
                }
            }
        }
        outcome
    }
}

fn row(map: &Map, beside: &BTreeMap<Vec<u8>, Vec<u8>>, key: &[u8], value: &[u8]) -> (Vec<Datum>, Vec<Datum>) {
    let value = match &map.value {
        MapValue::Plain(ty) => vec![Datum::decode(value, ty)],
        MapValue::Aggregation(_) => Datum::decode_all(value, &vec![Type::U64; value.len() / 8]),
    };
    let whole = map.whole_key(key, |key| beside.get(key).cloned());
    (Datum::decode_all(&whole, &map.key), value)
}
