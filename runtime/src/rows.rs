//! The entries of a map as they are shown. Those of numbers and texts stay as the kernel has them, and become values one by
//! one as they are read: there may be a million.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use rtrace_lang::aggregations::{Aggregation, AggregationKind};
use rtrace_lang::types::Type;

use crate::cells::{self, Slots};
use crate::controls::without_controls;
use crate::decode::{simple, word};
use crate::event::{Cell, Value};

/// A key, part by part, and what the map holds for it.
pub type Row = (Vec<Value>, Cell);

/// The entries of a map, in the order in which they are shown.
#[derive(Clone, PartialEq, Debug)]
pub struct Rows(Kept);

#[derive(Clone, PartialEq, Debug)]
enum Kept {
    Whole(Vec<Row>),
    Packed(Packed),
}

impl Rows {
    pub fn len(&self) -> usize {
        match &self.0 {
            Kept::Whole(rows) => rows.len(),
            Kept::Packed(packed) => packed.order.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn first(&self) -> Option<Cow<'_, Row>> {
        self.iter().next()
    }

    pub fn iter(&self) -> impl Iterator<Item = Cow<'_, Row>> {
        (0..self.len()).map(|number| match &self.0 {
            Kept::Whole(rows) => Cow::Borrowed(&rows[number]),
            Kept::Packed(packed) => Cow::Owned(packed.row(packed.order[number])),
        })
    }

    pub fn reverse(&mut self) {
        match &mut self.0 {
            Kept::Whole(rows) => rows.reverse(),
            Kept::Packed(packed) => packed.order.reverse(),
        }
    }

    /// Leaves the last `count` entries.
    pub fn keep_last(&mut self, count: usize) {
        let skip = self.len().saturating_sub(count);
        match &mut self.0 {
            Kept::Whole(rows) => _ = rows.drain(..skip),
            Kept::Packed(packed) => _ = packed.order.drain(..skip),
        }
    }

    /// Leaves the entries of which `wanted` is true.
    pub fn retain(&mut self, mut wanted: impl FnMut(&Row) -> bool) {
        match &mut self.0 {
            Kept::Whole(rows) => rows.retain(wanted),
            Kept::Packed(packed) => {
                let order = std::mem::take(&mut packed.order);
                packed.order = order.into_iter().filter(|place| wanted(&packed.row(*place))).collect();
            }
        }
    }
}

impl From<Vec<Row>> for Rows {
    fn from(rows: Vec<Row>) -> Rows {
        Rows(Kept::Whole(rows))
    }
}

impl FromIterator<Row> for Rows {
    fn from_iter<I: IntoIterator<Item = Row>>(rows: I) -> Rows {
        rows.into_iter().collect::<Vec<_>>().into()
    }
}

impl From<Packed> for Rows {
    fn from(packed: Packed) -> Rows {
        Rows(Kept::Packed(packed))
    }
}

/// What the bytes of an entry mean.
#[derive(Clone, PartialEq, Debug)]
pub struct Shape {
    pub key: Vec<Type>,
    pub value: PackedValue,
    /// Values are shown divided by it.
    pub divisor: u64,
    /// Control characters are escaped.
    pub for_terminal: bool,
}

/// What the value of an entry is.
#[derive(Clone, PartialEq, Debug)]
pub enum PackedValue {
    Number(Type),
    Merged(Aggregation),
}

/// Entries as bytes: of a key what its types say, of a value the number or the slots of all processors merged.
#[derive(Clone, PartialEq, Debug)]
pub struct Packed {
    shape: Arc<Shape>,
    keys: Vec<u8>,
    key_bytes: usize,
    words: Vec<u64>,
    /// Of each entry.
    word_count: usize,
    /// The numbers of the entries, in the order in which they are shown.
    order: Vec<u32>,
}

impl Shape {
    /// None where values take more than their bytes to be shown, or more bytes than what is shown of them.
    pub fn new(key: &[Type], value: PackedValue, divisor: u64, for_terminal: bool) -> Option<Shape> {
        let is_simple = |ty: &Type| simple(ty, &[]).is_some();
        let has_few_words = match &value {
            PackedValue::Number(ty) => ty.is_integer() && is_simple(ty),
            PackedValue::Merged(aggregation) => match aggregation.kind {
                AggregationKind::Count
                | AggregationKind::Sum
                | AggregationKind::Min
                | AggregationKind::Max
                | AggregationKind::Avg
                | AggregationKind::Stats
                | AggregationKind::Stddev => true,
                AggregationKind::Hist
                | AggregationKind::Lhist
                | AggregationKind::Quantize
                | AggregationKind::Lquantize
                | AggregationKind::Llquantize
                | AggregationKind::Quantiles
                | AggregationKind::Tseries => false,
            },
        };
        (has_few_words && key.iter().all(is_simple)).then(|| Shape { key: key.to_vec(), value, divisor, for_terminal })
    }

    /// What is kept of a value as the kernel has it; None where no processor has one.
    fn words(&self, value: &[u8]) -> Option<Slots> {
        match &self.value {
            PackedValue::Number(_) => Some([word(value, 0)].into_iter().collect()),
            PackedValue::Merged(aggregation) => cells::merge(aggregation, value),
        }
    }

    fn cell(&self, words: &[u64]) -> Cell {
        match &self.value {
            PackedValue::Number(ty) => {
                let value = simple(ty, &words[0].to_le_bytes()).expect("such a type was taken");
                Cell::Value(divide(value, self.divisor))
            }
            PackedValue::Merged(aggregation) => cells::cell(aggregation, words, self.divisor),
        }
    }

    fn key(&self, bytes: &[u8]) -> Vec<Value> {
        let mut rest = bytes;
        let part = |ty: &Type| {
            let (part, behind) = rest.split_at(ty.stored_bytes() as usize);
            rest = behind;
            let value = simple(ty, part).expect("such a type was taken");
            if self.for_terminal { without_controls(value) } else { value }
        };
        self.key.iter().map(part).collect()
    }

    /// The first part of a key, of which alone `maps::rank` makes something.
    fn first_part(&self, bytes: &[u8]) -> Option<Value> {
        let ty = self.key.first()?;
        simple(ty, &bytes[..ty.stored_bytes() as usize])
    }

    /// As `maps::order` compares the parts.
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        let mut at = 0;
        for ty in &self.key {
            let end = at + ty.stored_bytes() as usize;
            let (a, b) = (&a[at..end], &b[at..end]);
            let order = match ty {
                Type::Int { signed: true, .. } => (word(a, 0) as i64).cmp(&(word(b, 0) as i64)),
                Type::Str(_) | Type::Buffer(_) => simple(ty, a).map(bytes_of).cmp(&simple(ty, b).map(bytes_of)),
                _ => word(a, 0).cmp(&word(b, 0)),
            };
            if order.is_ne() {
                return order;
            }
            at = end;
        }
        Ordering::Equal
    }
}

fn bytes_of(value: Value) -> Vec<u8> {
    match value {
        Value::Str(bytes) | Value::Buffer(bytes) => bytes,
        _ => Vec::new(),
    }
}

impl Packed {
    pub fn new(shape: Shape) -> Packed {
        let key_bytes = shape.key.iter().map(|ty| ty.stored_bytes() as usize).sum();
        Packed {
            shape: Arc::new(shape),
            keys: Vec::new(),
            key_bytes,
            words: Vec::new(),
            word_count: 0,
            order: Vec::new(),
        }
    }

    /// Adds an entry as the kernel has it.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        if let Some(words) = self.shape.words(value) {
            self.keys.extend_from_slice(&key[..self.key_bytes]);
            self.word_count = words.len();
            self.words.extend(words);
            // A map of the kernel has fewer entries.
            self.order.push(self.order.len() as u32);
        }
    }

    fn key_at(&self, place: u32) -> &[u8] {
        &self.keys[place as usize * self.key_bytes..][..self.key_bytes]
    }

    fn words_at(&self, place: u32) -> &[u64] {
        &self.words[place as usize * self.word_count..][..self.word_count]
    }

    fn row(&self, place: u32) -> Row {
        (self.shape.key(self.key_at(place)), self.shape.cell(self.words_at(place)))
    }

    /// Puts the entries in order: by two numbers of each first, as `rank` gives them, which settles most.
    pub fn sort(&mut self, rank: impl Fn(&[Value], &Cell) -> (i128, u64)) {
        let ranked = |place: &u32| {
            let key = self.shape.first_part(self.key_at(*place));
            let (value, key) = rank(key.as_slice(), &self.shape.cell(self.words_at(*place)));
            (value, key, *place)
        };
        let mut ranks: Vec<Ranked> = self.order.iter().map(ranked).collect();
        by_numbers(&mut ranks);
        for same in ranks.chunk_by_mut(|a, b| (a.0, a.1) == (b.0, b.1)).filter(|same| same.len() > 1) {
            same.sort_by(|a, b| self.shape.compare(self.key_at(a.2), self.key_at(b.2)));
        }
        // They are read one behind the other, which is faster where they lie so.
        let (mut keys, mut words) = (Vec::with_capacity(self.keys.len()), Vec::with_capacity(self.words.len()));
        for (_, _, place) in ranks {
            keys.extend_from_slice(self.key_at(place));
            words.extend_from_slice(self.words_at(place));
        }
        (self.keys, self.words) = (keys, words);
    }
}

/// Two numbers that an entry is in order by, and which one it is.
type Ranked = (i128, u64, u32);

/// Fewer are sorted as soon by comparing them.
const FEWEST_SORTED_BY_DIGITS: usize = 4096;

/// Puts entries in order of their numbers; those of the same numbers stay in theirs. A million mostly differ in a few bytes alone, each of
/// which takes one pass.
fn by_numbers(ranks: &mut Vec<Ranked>) {
    let values = ranks.iter().map(|(value, ..)| *value);
    let (Some(smallest), Some(largest)) = (values.clone().min(), values.max()) else { return };
    let is_narrow = largest.checked_sub(smallest).is_some_and(|range| u64::try_from(range).is_ok());
    if ranks.len() < FEWEST_SORTED_BY_DIGITS || !is_narrow {
        ranks.sort_by_key(|(value, key, _)| (*value, *key));
        return;
    }
    let number = |(value, key, _): &Ranked| ((value - smallest) as u128) << 64 | u128::from(*key);
    let first = number(&ranks[0]);
    let differing = ranks.iter().fold(0, |bits, ranked| bits | (number(ranked) ^ first));
    let mut sorted = ranks.clone();
    for shift in (0..u128::BITS).step_by(8).filter(|shift| differing >> shift & 0xff != 0) {
        let digit = |ranked: &Ranked| (number(ranked) >> shift) as u8 as usize;
        let mut places = [0usize; 256];
        ranks.iter().for_each(|ranked| places[digit(ranked)] += 1);
        let mut next = 0;
        for place in &mut places {
            next += std::mem::replace(place, next);
        }
        for ranked in ranks.iter() {
            let place = &mut places[digit(ranked)];
            sorted[*place] = *ranked;
            *place += 1;
        }
        std::mem::swap(ranks, &mut sorted);
    }
}

/// A number as it is shown where a map is printed divided.
pub fn divide(value: Value, divisor: u64) -> Value {
    match value {
        Value::Int(n) if divisor > 1 => Value::Int((i128::from(n) / i128::from(divisor)) as i64),
        Value::Uint(n) if divisor > 1 => Value::Uint(n / divisor),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries of `@[int64, string]` that hold a signed number.
    fn packed(entries: &[(i64, &str, i64)]) -> Packed {
        let int = Type::I64;
        let key = [int.clone(), Type::Str(16)];
        let mut packed = Packed::new(
            Shape::new(&key, PackedValue::Number(int), 1, true).expect("numbers and texts stay as they are"),
        );
        for (number, text, value) in entries {
            let mut key = number.to_le_bytes().to_vec();
            key.extend_from_slice(text.as_bytes());
            key.resize(24, 0);
            packed.push(&key, &value.to_le_bytes());
        }
        packed
    }

    fn shown(rows: &Rows) -> Vec<(i64, String, i64)> {
        let shown = |row: Cow<'_, Row>| match &*row {
            (key, Cell::Value(Value::Int(value))) => match &key[..] {
                [Value::Int(number), Value::Str(text)] => (*number, String::from_utf8_lossy(text).into(), *value),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        rows.iter().map(shown).collect()
    }

    #[test]
    fn entries_are_in_order_of_the_rank_and_then_of_the_whole_key() {
        let mut packed = packed(&[(7, "b", -1), (-7, "z", 5), (7, "a", -1), (-8, "ab", -1), (-8, "", -1)]);
        packed.sort(|key, cell| match (&key[0], cell) {
            (Value::Int(number), Cell::Value(Value::Int(value))) => ((*value).into(), *number as u64 ^ (1 << 63)),
            other => panic!("{other:?}"),
        });
        let mut rows: Rows = packed.into();
        let of = |number: i64, text: &str, value: i64| (number, text.to_string(), value);
        let all = [of(-8, "", -1), of(-8, "ab", -1), of(7, "a", -1), of(7, "b", -1), of(-7, "z", 5)];
        assert_eq!(shown(&rows), all);
        rows.retain(|(key, _)| key[0] != Value::Int(-8));
        rows.keep_last(2);
        rows.reverse();
        assert_eq!(shown(&rows), [of(-7, "z", 5), of(7, "b", -1)]);
    }

    #[test]
    fn many_are_in_the_order_of_few() {
        let mut state = 88_172_645_463_325_252_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for (value_bits, key_bits) in [(0, 20), (8, 64), (64, 8), (64, 64), (120, 64), (0, 0)] {
            let mut ranks: Vec<Ranked> = Vec::new();
            for place in 0..3 * FEWEST_SORTED_BY_DIGITS as u32 {
                let value = (i128::from(random()) << 64 | i128::from(random())) & ((1 << value_bits) - 1);
                ranks.push((value - 1000, random() & ((1_u128 << key_bits) - 1) as u64, place));
            }
            let mut expected = ranks.clone();
            expected.sort_by_key(|(value, key, _)| (*value, *key));
            by_numbers(&mut ranks);
            assert!(ranks == expected, "{value_bits} and {key_bits} bits");
        }
        by_numbers(&mut Vec::new());
    }

    #[test]
    fn control_characters_are_escaped_where_they_are_shown() {
        let rows: Rows = packed(&[(1, "\u{1b}[2J", 3)]).into();
        assert!(!shown(&rows)[0].1.contains('\u{1b}'));
    }

    #[test]
    fn what_takes_more_than_its_bytes_does_not_stay() {
        let stack = Type::Stack { user: true, mode: rtrace_lang::types::StackMode::Bpftrace, frames: 1 };
        let int = Type::U64;
        assert_eq!(Shape::new(&[stack], PackedValue::Number(int), 1, false), None);
    }
}
