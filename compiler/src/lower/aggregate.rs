//! Aggregations: a value enters the cell of this processor.

use rtrace_lang::aggregations::{Aggregation, Fold};
use rtrace_lang::calls;
use rtrace_lang::hir::{BinaryOp, Expr, MapId, MapValue};
use rtrace_lang::limits::HIST_BUCKETS;

use crate::ir::{MapRef, Memory, Value, ValueKind};

use super::Lower;
use super::shared::DE_BRUIJN;

impl Lower<'_> {
    pub(super) fn aggregate(&mut self, map: MapId, key: &[Expr], value: Option<&Expr>) {
        let MapValue::Aggregation(aggregation) = self.hir.maps[map.index()].value else {
            unreachable!("the checker folds into aggregations only")
        };
        let value = value.map(|value| self.value(value));
        let bytes = aggregation.slots() * 8;
        let after = self.b.block();
        let cell = if self.hir.maps[map.index()].key.is_empty() {
            let place = self.temporary(8);
            let zero = self.b.int(0);
            self.b.store(place.base, place.offset, 8, zero);
            let (map, key) = (self.b.map(MapRef(map.0)), self.pointer(place));
            let cell = self.b.call_nullable(calls::MAP_LOOKUP_ELEM, &[map, key], Memory::MapValue);
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
        let atomic = self.may_interleave(map);
        self.fold(&aggregation, cell, value, atomic);
        self.b.jump(after, &[]);
        self.b.enter(after);
    }

    /// What an aggregation holds, the parts of all processors merged.
    pub(super) fn aggregation_value(&mut self, map: MapId, key: &[Expr]) -> Value {
        let key = if self.hir.maps[map.index()].key.is_empty() {
            let place = self.temporary(8);
            let zero = self.b.int(0);
            self.b.store(place.base, place.offset, 8, zero);
            self.pointer(place)
        } else {
            self.key(map, key)
        };
        self.merged(map, key)
    }

    /// The same for a key that is in memory: goes through the processors, one after the other.
    pub(super) fn merged(&mut self, map: MapId, key: Value) -> Value {
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
        let map_value = self.b.map(MapRef(map.0));
        let cell = self.b.call_nullable(calls::MAP_LOOKUP_PERCPU_ELEM, &[map_value, key, cpu], Memory::MapValue);
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
            Fold::Log2 | Fold::Linear => unreachable!("the checker does not read histograms"),
        }
        self.b.seal(head);
        self.b.enter(done);
        if aggregation.row().fold != Fold::CountAndSum {
            return first;
        }
        let op = if aggregation.signed { BinaryOp::DivideSigned } else { BinaryOp::DivideUnsigned };
        self.if_found(first, |lower, count| lower.divide(op, second, count), |lower| lower.b.int(0))
    }

    fn fold(&mut self, aggregation: &Aggregation, cell: Value, value: Option<Value>, atomic: bool) {
        let value = match value {
            Some(value) => value,
            None => self.b.int(1),
        };
        match aggregation.row().fold {
            Fold::Count | Fold::Sum => self.add(cell, 0, value, atomic),
            Fold::CountAndSum => {
                let one = self.b.int(1);
                self.add(cell, 0, one, atomic);
                self.add(cell, 8, value, atomic);
            }
            Fold::Min => self.extreme(aggregation, cell, value, true),
            Fold::Max => self.extreme(aggregation, cell, value, false),
            Fold::Log2 => {
                let bucket = self.log2_bucket(value, aggregation.signed);
                self.bump(cell, bucket, HIST_BUCKETS, atomic);
            }
            Fold::Linear => {
                let bucket = self.linear_bucket(value, aggregation);
                self.bump(cell, bucket, aggregation.slots(), atomic);
            }
        }
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

    fn extreme(&mut self, aggregation: &Aggregation, cell: Value, value: Value, smallest: bool) {
        let (compare, set, after) = (self.b.block(), self.b.block(), self.b.block());
        let known = self.b.load(cell, 8, 8, false);
        let first = self.b.block();
        self.b.branch_nonzero(known, compare, first);
        self.b.enter(first);
        self.b.jump(set, &[]);
        self.b.enter(compare);
        let before = self.b.load(cell, 0, 8, false);
        let op = if aggregation.signed { BinaryOp::LessSigned } else { BinaryOp::LessUnsigned };
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

    /// Adds one to a slot by its number.
    fn bump(&mut self, cell: Value, bucket: Value, slots: u32, atomic: bool) {
        // The bucket is in range by its making; the kernel's verifier wants to see it.
        let last = self.b.int(i64::from(slots) - 1);
        let (inside, after) = (self.b.block(), self.b.block());
        self.b.branch(BinaryOp::LessEqualUnsigned, bucket, last, inside, after);
        self.b.enter(inside);
        let offset = self.b.binary_int(BinaryOp::ShiftLeft, bucket, 3);
        let slot = self.b.pointer_add(cell, offset);
        let one = self.b.int(1);
        self.add(slot, 0, one, atomic);
        self.b.jump(after, &[]);
        self.b.enter(after);
    }

    /// 0 for negative values, 1 for zero, then 2 + floor(log2(value)).
    fn log2_bucket(&mut self, value: Value, signed: bool) -> Value {
        let (after, result) = self.b.block_with(ValueKind::Int);
        let zero = self.b.int(0);
        if signed {
            let (negative, rest) = (self.b.block(), self.b.block());
            self.b.branch(BinaryOp::LessSigned, value, zero, negative, rest);
            self.b.enter(negative);
            self.b.jump(after, &[zero]);
            self.b.enter(rest);
        }
        let (none, some) = (self.b.block(), self.b.block());
        self.b.branch(BinaryOp::Equal, value, zero, none, some);
        self.b.enter(none);
        let one = self.b.int(1);
        self.b.jump(after, &[one]);
        self.b.enter(some);
        // All bits below the highest one set, times the sequence: the top six bits name the highest.
        let mut ones = value;
        for by in [1, 2, 4, 8, 16, 32] {
            let shifted = self.b.binary_int(BinaryOp::ShiftRightUnsigned, ones, by);
            ones = self.b.binary(BinaryOp::BitOr, ones, shifted);
        }
        let product = self.b.binary_int(BinaryOp::Multiply, ones, DE_BRUIJN as i64);
        let index = self.b.binary_int(BinaryOp::ShiftRightUnsigned, product, 58);
        let table = self.shared.log2_table();
        let table = self.b.map_value_address(self.shared.globals_map, table);
        let entry = self.b.pointer_add(table, index);
        let power = self.b.load(entry, 0, 1, false);
        let bucket = self.b.binary_int(BinaryOp::Add, power, 2);
        self.b.jump(after, &[bucket]);
        self.b.enter(after);
        result
    }

    /// 0 below the smallest value, 1 + its step inside, the last slot above.
    fn linear_bucket(&mut self, value: Value, aggregation: &Aggregation) -> Value {
        let (min, max, step) = aggregation.range;
        let (after, result) = self.b.block_with(ValueKind::Int);
        let (min_value, max_value) = (self.b.int(min), self.b.int(max));
        let less = if aggregation.signed { BinaryOp::LessSigned } else { BinaryOp::LessUnsigned };
        let (below, not_below) = (self.b.block(), self.b.block());
        self.b.branch(less, value, min_value, below, not_below);
        self.b.enter(below);
        let zero = self.b.int(0);
        self.b.jump(after, &[zero]);
        self.b.enter(not_below);
        let (inside, above) = (self.b.block(), self.b.block());
        self.b.branch(less, value, max_value, inside, above);
        self.b.enter(above);
        let last = self.b.int(i64::from(aggregation.slots()) - 1);
        self.b.jump(after, &[last]);
        self.b.enter(inside);
        let from_min = self.b.binary(BinaryOp::Subtract, value, min_value);
        let steps = self.b.binary_int(BinaryOp::DivideUnsigned, from_min, step);
        let bucket = self.b.binary_int(BinaryOp::Add, steps, 1);
        self.b.jump(after, &[bucket]);
        self.b.enter(after);
        result
    }
}
