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

    /// Adds all entries of another one of the same shape, before they are put in order.
    pub fn append(&mut self, mut other: Packed) {
        self.keys.append(&mut other.keys);
        self.words.append(&mut other.words);
        self.word_count = self.word_count.max(other.word_count);
        self.order = (0..(self.order.len() + other.order.len()) as u32).collect();
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

    /// Puts the entries in order: by two numbers of each first, as `rank` gives them, which settles most; the one of the value is asked for
    /// without a key, too.
    pub fn sort(&mut self, rank: impl Fn(&[Value], &Cell) -> (i128, u64)) {
        let cell = |place: u32| self.shape.cell(self.words_at(place));
        let Some(smallest) = self.order.iter().map(|place| rank(&[], &cell(*place)).0).min() else { return };
        let ranked = |place: &u32| {
            let key = self.shape.first_part(self.key_at(*place));
            let (value, key) = rank(key.as_slice(), &cell(*place));
            // They are all of one type.
            ((value - smallest) as u64, key)
        };
        let mut ranks: Vec<(u64, u64)> = self.order.iter().map(ranked).collect();
        number(&mut ranks);
        ranks.sort_unstable();
        for same in ranks.chunk_by_mut(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
            same.sort_by(|a, b| self.shape.compare(self.key_at(a.1 as u32), self.key_at(b.1 as u32)));
        }
        // They are read one behind the other, which is faster where they lie so.
        self.keys = in_order(&self.keys, self.key_bytes, &ranks);
        self.words = in_order(&self.words, self.word_count, &ranks);
    }
}

/// Parts of `each` elements in the order of the places beside the ranks.
fn in_order<T: Copy>(all: &[T], each: usize, ranks: &[(u64, u64)]) -> Vec<T> {
    // A length that is known when this is compiled takes no call for each.
    fn parts<T: Copy, const EACH: usize>(all: &[T], ranks: &[(u64, u64)]) -> Vec<T> {
        let parts = all.as_chunks::<EACH>().0;
        ranks.iter().map(|(_, place)| parts[*place as usize]).collect::<Vec<_>>().into_flattened()
    }
    match each {
        1 => parts::<T, 1>(all, ranks),
        8 => parts::<T, 8>(all, ranks),
        16 => parts::<T, 16>(all, ranks),
        _ => {
            let mut sorted = Vec::with_capacity(all.len());
            ranks.iter().for_each(|(_, place)| sorted.extend_from_slice(&all[*place as usize * each..][..each]));
            sorted
        }
    }
}

/// Makes one number of the two that entries are in order by, and puts the place of each beside it. Of the second there are as many bits
/// in it as the first leaves room for; the first is whole.
fn number(ranks: &mut [(u64, u64)]) {
    let bits = |number: u64| u64::BITS - number.leading_zeros();
    let keys = ranks.iter().map(|(_, key)| *key);
    let (smallest, largest) = (keys.clone().min().unwrap_or(0), keys.max().unwrap_or(0));
    let value_bits = bits(ranks.iter().map(|(value, _)| *value).max().unwrap_or(0));
    let key_bits = bits(largest - smallest);
    let room = key_bits.min(u64::BITS - value_bits);
    for (place, rank) in ranks.iter_mut().enumerate() {
        let (value, key) = (rank.0, rank.1 - smallest);
        // All bits of 64 are gone where there is nothing to keep.
        let (value, key) = (value.checked_shl(room), key.checked_shr(key_bits - room));
        *rank = (value.unwrap_or(0) | key.unwrap_or(0), place as u64);
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
        packed.sort(|key, cell| match (key, cell) {
            ([], Cell::Value(Value::Int(value))) => ((*value).into(), 0),
            ([Value::Int(number)], Cell::Value(Value::Int(value))) => ((*value).into(), *number as u64 ^ (1 << 63)),
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
    fn one_number_has_the_order_of_two() {
        let mut state = 88_172_645_463_325_252_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for (value_bits, key_bits) in [(0, 20), (8, 64), (40, 30), (64, 8), (64, 64), (0, 64), (0, 0)] {
            let some = |bits: u32, random: u64| random.checked_shr(u64::BITS - bits).unwrap_or(0);
            let ranks: Vec<(u64, u64)> =
                (0..10_000).map(|_| (some(value_bits, random()), some(key_bits, random()))).collect();
            let mut numbers = ranks.clone();
            number(&mut numbers);
            for (pair, numbers) in ranks.windows(2).zip(numbers.windows(2)) {
                let (order, of_numbers) = (pair[0].cmp(&pair[1]), numbers[0].0.cmp(&numbers[1].0));
                let is_cut = of_numbers.is_eq() && pair[0].0 == pair[1].0 && value_bits + key_bits > u64::BITS;
                assert!(order == of_numbers || is_cut, "{value_bits} and {key_bits} bits: {pair:?}");
            }
            assert!(numbers.iter().map(|(_, place)| *place).eq(0..10_000));
        }
        number(&mut []);
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
