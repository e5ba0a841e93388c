//! Aggregations: a value enters the cell of this processor.

use rtrace_lang::aggregations::{Aggregation, AggregationPart, Fold, SERIES_SLOTS, SeriesFunction, Shape};
use rtrace_lang::calls;
use rtrace_lang::hir::{BinaryOp, Expr, MapId, MapValue};

use crate::ir::{Value, ValueKind};
use crate::object::WALL_OFFSET;

use super::Lower;
use super::turns::Turn;

/// An interval of a time series: the time, its number, counted from 1, and its place in the ring.
struct Interval {
    now: Value,
    number: Value,
    place: Value,
}

impl Lower<'_> {
    pub(super) fn aggregate(&mut self, map: MapId, key: &[Expr], value: Option<&Expr>, weight: Option<&Expr>) {
        let MapValue::Aggregation(aggregation) = self.hir.maps[map.index()].value else {
            unreachable!("the checker folds into aggregations only")
        };
        let value = value.map(|value| self.value(value));
        let weight = weight.map(|weight| self.value(weight));
        let bytes = aggregation.slots() * 8;
        let after = self.b.block();
        let of_series = match aggregation.shape {
            Shape::Series { interval, count, .. } => Some(self.interval(interval, count)),
            Shape::Plain | Shape::Powers { .. } | Shape::Linear { .. } | Shape::Magnitudes(_) | Shape::Quantiles(_) => {
                None
            }
        };
        let is_keyed = !self.hir.maps[map.index()].key.is_empty();
        let cell = if !is_keyed {
            let place = self.temporary(8);
            let number = match &of_series {
                Some(interval) => interval.place,
                None => self.b.int(0),
            };
            self.b.store(place.base, place.offset, 8, number);
            let (turn, key) = (self.turn_of(map), self.pointer(place));
            let cell = self.look_up_on(turn, key);
            let (found, missing) = (self.b.block(), self.b.block());
            self.b.branch_nonzero(cell, found, missing);
            self.b.enter(missing);
            self.b.jump(after, &[]);
            self.b.enter(found);
            cell
        } else {
            let key = self.key(map, key);
            self.entry_or_new(map, key, bytes, after)
        };
        let atomic = self.hir.maps[map.index()].is_shared() || self.shared.is_contended[map.index()];
        match of_series {
            Some(interval) => {
                let value = value.expect("a time series takes a value");
                let places = aggregation.slots() / SERIES_SLOTS;
                let slot = if is_keyed { self.slot(cell, interval.place, places, SERIES_SLOTS * 8) } else { cell };
                self.enter_interval(&aggregation, slot, value, &interval, atomic);
            }
            None => self.fold(&aggregation, cell, value, weight, atomic),
        }
        self.b.jump(after, &[]);
        self.b.enter(after);
    }

    /// What an aggregation holds, the parts of all processors merged.
    pub(super) fn aggregation_value(&mut self, map: MapId, key: &[Expr], part: AggregationPart) -> Value {
        let (turn, key) = if self.hir.maps[map.index()].key.is_empty() {
            let place = self.temporary(8);
            let zero = self.b.int(0);
            self.b.store(place.base, place.offset, 8, zero);
            (self.turn_of(map), self.pointer(place))
        } else {
            let key = self.key(map, key);
            (key.turn, key.pointer)
        };
        self.merged(map, turn, key, part)
    }

    /// The same for a key that is in memory: goes through the processors, one after the other.
    pub(super) fn merged(&mut self, map: MapId, turn: Turn, key: Value, part: AggregationPart) -> Value {
        let MapValue::Aggregation(aggregation) = self.hir.maps[map.index()].value else {
            unreachable!("the checker reads aggregations only")
        };
        let (head, cpu) = self.b.block_with(ValueKind::Int);
        let (first, second) = (self.b.value(ValueKind::Int), self.b.value(ValueKind::Int));
        self.b.function.blocks[head.index()].params.extend([first, second]);
        let (inside, done) = (self.b.block(), self.b.block());
        let zero = self.b.int(0);
        self.b.jump(head, &[zero, zero, zero]);
        self.b.enter_unsealed(head);
        let cpus = self.b.int(i64::from(self.options.cpus.max(1)));
        self.b.branch(BinaryOp::LessUnsigned, cpu, cpus, inside, done);
        self.b.enter(inside);
        let cell = self.look_up_in(turn, calls::MAP_LOOKUP_PERCPU_ELEM, &[key, cpu]);
        let following = self.b.binary_int(BinaryOp::Add, cpu, 1);
        let (found, missing) = (self.b.block(), self.b.block());
        self.b.branch_nonzero(cell, found, missing);
        self.b.enter(missing);
        self.b.jump(head, &[following, first, second]);
        self.b.enter(found);
        let slot = self.b.load(cell, 0, 8, false);
        match aggregation.row().fold {
            Fold::Count | Fold::Sum => {
                let sum = self.b.binary(BinaryOp::Add, first, slot);
                self.b.jump(head, &[following, sum, second]);
            }
            Fold::CountAndSum => {
                let total = self.b.load(cell, 8, 8, false);
                let (count, total) =
                    (self.b.binary(BinaryOp::Add, first, slot), self.b.binary(BinaryOp::Add, second, total));
                self.b.jump(head, &[following, count, total]);
            }
            Fold::Min | Fold::Max => {
                // `second` tells whether there is a value yet.
                let known = self.b.load(cell, 8, 8, false);
                let (has_value, none, compare, take, keep) =
                    (self.b.block(), self.b.block(), self.b.block(), self.b.block(), self.b.block());
                self.b.branch_nonzero(known, has_value, none);
                self.b.enter(none);
                self.b.jump(head, &[following, first, second]);
                self.b.enter(has_value);
                let another = self.b.block();
                self.b.branch_nonzero(second, compare, another);
                self.b.enter(another);
                self.b.jump(take, &[]);
                self.b.enter(compare);
                let less = if aggregation.signed { BinaryOp::LessSigned } else { BinaryOp::LessUnsigned };
                let is_min = aggregation.row().fold == Fold::Min;
                let (a, b) = if is_min { (slot, first) } else { (first, slot) };
                let better = self.b.block();
                self.b.branch(less, a, b, better, keep);
                self.b.enter(better);
                self.b.jump(take, &[]);
                self.b.enter(keep);
                self.b.jump(head, &[following, first, second]);
                self.b.enter(take);
                let one = self.b.int(1);
                self.b.jump(head, &[following, slot, one]);
            }
            Fold::Squares | Fold::Powers | Fold::MirroredPowers | Fold::Linear | Fold::Magnitudes | Fold::Series => {
                unreachable!("the checker reads what is one number")
            }
        }
        self.b.seal(head);
        self.b.enter(done);
        match part {
            AggregationPart::Value if aggregation.row().fold == Fold::CountAndSum => {}
            AggregationPart::Value | AggregationPart::Count => return first,
            AggregationPart::Total => return second,
        }
        let op = if aggregation.signed { BinaryOp::DivideSigned } else { BinaryOp::DivideUnsigned };
        self.if_found(first, |lower, count| lower.divide(op, second, count), |lower| lower.b.int(0))
    }

    fn fold(
        &mut self,
        aggregation: &Aggregation,
        cell: Value,
        value: Option<Value>,
        weight: Option<Value>,
        atomic: bool,
    ) {
        let one = self.b.int(1);
        let (value, weight) = (value.unwrap_or(one), weight.unwrap_or(one));
        let bucket = match aggregation.row().fold {
            Fold::Count | Fold::Sum => {
                self.add(cell, 0, value, atomic);
                if aggregation.is_marked {
                    self.b.store(cell, 8, 8, one);
                }
                return;
            }
            Fold::CountAndSum => {
                self.add(cell, 0, one, atomic);
                return self.add(cell, 8, value, atomic);
            }
            Fold::Squares => {
                self.add(cell, 0, one, atomic);
                self.add(cell, 8, value, atomic);
                return self.add_square(cell, 16, value, aggregation.signed, atomic);
            }
            Fold::Min => return self.extreme(cell, value, true, aggregation.signed),
            Fold::Max => return self.extreme(cell, value, false, aggregation.signed),
            Fold::Series => unreachable!("a value enters its interval"),
            Fold::Powers => self.power_bucket_or_negative(value, aggregation),
            Fold::MirroredPowers => {
                let bits = aggregation.power_bits();
                self.mirrored(value, aggregation, |lower, magnitude| lower.power_bucket(magnitude, bits, 0))
            }
            Fold::Magnitudes => {
                let Shape::Magnitudes(magnitudes) = aggregation.shape else {
                    unreachable!("the checker gives it its magnitudes")
                };
                self.mirrored(value, aggregation, |lower, magnitude| lower.magnitude_bucket(magnitude, magnitudes))
            }
            Fold::Linear => self.linear_bucket(value, aggregation),
        };
        self.bump(cell, bucket, aggregation.slots(), weight, atomic);
    }

    /// Adds to a slot of this processor's cell: in one step where another program may come in between.
    fn add(&mut self, cell: Value, offset: i32, value: Value, atomic: bool) {
        if atomic {
            self.b.atomic_add(cell, offset, value);
        } else {
            let before = self.b.load(cell, offset, 8, false);
            let after = self.b.binary(BinaryOp::Add, before, value);
            self.b.store(cell, offset, 8, after);
        }
    }

    fn extreme(&mut self, cell: Value, value: Value, smallest: bool, signed: bool) {
        let (compare, set, after) = (self.b.block(), self.b.block(), self.b.block());
        let known = self.b.load(cell, 8, 8, false);
        let first = self.b.block();
        self.b.branch_nonzero(known, compare, first);
        self.b.enter(first);
        self.b.jump(set, &[]);
        self.b.enter(compare);
        let before = self.b.load(cell, 0, 8, false);
        let op = if signed { BinaryOp::LessSigned } else { BinaryOp::LessUnsigned };
        let (left, right) = if smallest { (value, before) } else { (before, value) };
        let (better, worse) = (self.b.block(), self.b.block());
        self.b.branch(op, left, right, better, worse);
        self.b.enter(worse);
        self.b.jump(after, &[]);
        self.b.enter(better);
        self.b.jump(set, &[]);
        self.b.enter(set);
        self.b.store(cell, 0, 8, value);
        let one = self.b.int(1);
        self.b.store(cell, 8, 8, one);
        self.b.jump(after, &[]);
        self.b.enter(after);
    }

    /// Adds to a slot by its number.
    fn bump(&mut self, cell: Value, bucket: Value, slots: u32, weight: Value, atomic: bool) {
        let slot = self.slot(cell, bucket, slots, 8);
        self.add(slot, 0, weight, atomic);
    }

    /// The place of that number, of so many that take `bytes` each: it is in range by its making.
    fn slot(&mut self, cell: Value, number: Value, places: u32, bytes: u32) -> Value {
        let number = self.b.bounded(number, places - 1);
        let offset = if bytes.is_power_of_two() {
            self.b.binary_int(BinaryOp::ShiftLeft, number, i64::from(bytes.trailing_zeros()))
        } else {
            self.b.binary_int(BinaryOp::Multiply, number, i64::from(bytes))
        };
        self.b.pointer_add(cell, offset)
    }

    /// Adds the square of a value to a number of two words.
    fn add_square(&mut self, cell: Value, offset: i32, value: Value, signed: bool, atomic: bool) {
        let magnitude = if signed { self.magnitude(value) } else { value };
        let low = self.b.binary_int(BinaryOp::BitAnd, magnitude, 0xffff_ffff);
        let high = self.b.binary_int(BinaryOp::ShiftRightUnsigned, magnitude, 32);
        // (high * 2^32 + low)^2; the middle part has 64 bits, and counts twice.
        let low_square = self.b.binary(BinaryOp::Multiply, low, low);
        let middle = self.b.binary(BinaryOp::Multiply, low, high);
        let high_square = self.b.binary(BinaryOp::Multiply, high, high);
        let middle_low = self.b.binary_int(BinaryOp::ShiftLeft, middle, 33);
        let middle_high = self.b.binary_int(BinaryOp::ShiftRightUnsigned, middle, 31);
        let sum = self.b.binary(BinaryOp::Add, low_square, middle_low);
        let carry = self.b.binary(BinaryOp::LessUnsigned, sum, middle_low);
        let upper = self.b.binary(BinaryOp::Add, high_square, middle_high);
        let upper = self.b.binary(BinaryOp::Add, upper, carry);
        let before = if atomic && self.options.atomic_fetch {
            self.b.atomic_fetch_add(cell, offset, sum)
        } else {
            let before = self.b.load(cell, offset, 8, false);
            self.add(cell, offset, sum, atomic);
            before
        };
        let after = self.b.binary(BinaryOp::Add, before, sum);
        let carry = self.b.binary(BinaryOp::LessUnsigned, after, before);
        let upper = self.b.binary(BinaryOp::Add, upper, carry);
        self.add(cell, offset + 8, upper, atomic);
    }

    /// The interval of now, of so many that are kept.
    fn interval(&mut self, nanoseconds: u64, count: u32) -> Interval {
        let now = self.b.call(calls::KTIME_GET_BOOT_NS, &[]);
        // Intervals count from 1970, so that they begin at whole seconds.
        let wall_offset = self.global_word(WALL_OFFSET);
        let wall = self.b.binary(BinaryOp::Add, now, wall_offset);
        let number = self.b.binary_int(BinaryOp::DivideUnsigned, wall, nanoseconds as i64);
        let place = self.b.binary_int(BinaryOp::RemainderUnsigned, number, i64::from(count));
        // 0 is the number of a place that nothing has entered.
        let number = self.b.binary_int(BinaryOp::Add, number, 1);
        Interval { now, number, place }
    }

    /// A value enters its interval; a place of an earlier interval begins anew. A program that comes in between just
    /// there, on the same processor, may lose its value.
    fn enter_interval(
        &mut self,
        aggregation: &Aggregation,
        slot: Value,
        value: Value,
        interval: &Interval,
        atomic: bool,
    ) {
        let Shape::Series { function, .. } = aggregation.shape else {
            unreachable!("the checker gives it its function")
        };
        let Interval { now, number, .. } = *interval;
        let known = self.b.load(slot, 0, 8, false);
        let (fresh, ready) = (self.b.block(), self.b.block());
        let same = self.b.block();
        self.b.branch(BinaryOp::Equal, known, number, same, fresh);
        self.b.enter(same);
        self.b.jump(ready, &[]);
        self.b.enter(fresh);
        let zero = self.b.int(0);
        self.b.store(slot, 8, 8, zero);
        self.b.store(slot, 16, 8, zero);
        self.b.store(slot, 0, 8, number);
        self.b.jump(ready, &[]);
        self.b.enter(ready);
        match function {
            SeriesFunction::Last => {
                self.b.store(slot, 8, 8, value);
                self.b.store(slot, 16, 8, now);
            }
            SeriesFunction::Sum => self.add(slot, 8, value, atomic),
            SeriesFunction::Avg => {
                let one = self.b.int(1);
                self.add(slot, 8, value, atomic);
                self.add(slot, 16, one, atomic);
            }
            SeriesFunction::Min | SeriesFunction::Max => {
                let eight = self.b.int(8);
                let rest = self.b.pointer_add(slot, eight);
                self.extreme(rest, value, function == SeriesFunction::Min, aggregation.signed);
            }
        }
    }
}
