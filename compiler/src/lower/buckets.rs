//! The buckets of histograms: which one a value belongs to.

use rtrace_lang::aggregations::{Aggregation, Magnitudes};
use rtrace_lang::hir::BinaryOp;

use crate::ir::{Value, ValueKind};

use super::Lower;
use super::shared::DE_BRUIJN;

impl Lower<'_> {
    /// The value without its sign: 2^63 for the smallest one.
    pub(super) fn magnitude(&mut self, value: Value) -> Value {
        let sign = self.b.binary_int(BinaryOp::ShiftRightSigned, value, 63);
        let flipped = self.b.binary(BinaryOp::BitXor, value, sign);
        self.b.binary(BinaryOp::Subtract, flipped, sign)
    }

    /// The bucket of the value's magnitude; those of negative values lie behind all others.
    pub(super) fn mirrored(
        &mut self,
        value: Value,
        aggregation: &Aggregation,
        bucket: impl FnOnce(&mut Self, Value) -> Value,
    ) -> Value {
        if !aggregation.signed {
            return bucket(self, value);
        }
        let magnitude = self.magnitude(value);
        let bucket = bucket(self, magnitude);
        let negative = self.b.binary_int(BinaryOp::ShiftRightUnsigned, value, 63);
        let offset = self.b.binary_int(BinaryOp::Multiply, negative, i64::from(aggregation.one_sign()));
        self.b.binary(BinaryOp::Add, bucket, offset)
    }

    /// 0 for negative values, else one more than the bucket.
    pub(super) fn power_bucket_or_negative(&mut self, value: Value, aggregation: &Aggregation) -> Value {
        let (after, result) = self.b.block_with(ValueKind::Int);
        if aggregation.signed {
            let zero = self.b.int(0);
            let (negative, rest) = (self.b.block(), self.b.block());
            self.b.branch(BinaryOp::LessSigned, value, zero, negative, rest);
            self.b.enter(negative);
            self.b.jump(after, &[zero]);
            self.b.enter(rest);
        }
        let bucket = self.power_bucket(value, aggregation.power_bits(), 1);
        self.b.jump(after, &[bucket]);
        self.b.enter(after);
        result
    }

    /// `rtrace_lang::aggregations::power_bucket` of a value without sign, and `behind` more.
    pub(super) fn power_bucket(&mut self, value: Value, bits: u32, behind: i64) -> Value {
        let (after, result) = self.b.block_with(ValueKind::Int);
        // Below 2^bits each value is a bucket of its own; without bits only 0 is.
        let (small, large) = (self.b.block(), self.b.block());
        if bits == 0 {
            let zero = self.b.int(0);
            self.b.branch(BinaryOp::Equal, value, zero, small, large);
        } else {
            let first = self.b.int(1 << bits);
            self.b.branch(BinaryOp::LessUnsigned, value, first, small, large);
        }
        self.b.enter(small);
        let bucket = match (bits, behind) {
            (0, _) => self.b.int(behind),
            (_, 0) => value,
            _ => self.b.binary_int(BinaryOp::Add, value, behind),
        };
        self.b.jump(after, &[bucket]);
        self.b.enter(large);
        let power = self.power(value);
        let bucket = if bits == 0 {
            self.b.binary_int(BinaryOp::Add, power, 1 + behind)
        } else {
            let above = self.b.binary_int(BinaryOp::Subtract, power, i64::from(bits));
            // The verifier does not know that the power is no smaller.
            let above = self.b.binary_int(BinaryOp::BitAnd, above, 63);
            let start = self.b.binary_int(BinaryOp::ShiftLeft, above, i64::from(bits));
            let step = self.b.binary(BinaryOp::ShiftRightUnsigned, value, above);
            let bucket = self.b.binary(BinaryOp::Add, start, step);
            if behind == 0 { bucket } else { self.b.binary_int(BinaryOp::Add, bucket, behind) }
        };
        self.b.jump(after, &[bucket]);
        self.b.enter(after);
        result
    }

    /// floor(log2(value)) of a value that is not 0.
    fn power(&mut self, value: Value) -> Value {
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
        self.b.load(entry, 0, 1, false)
    }

    /// The bucket of a value without sign: goes through the magnitudes, the smallest first.
    pub(super) fn magnitude_bucket(&mut self, value: Value, magnitudes: Magnitudes) -> Value {
        let (after, result) = self.b.block_with(ValueKind::Int);
        let each = magnitudes.each();
        let below = each.first().map_or(0, |first| first.from);
        let (small, rest) = (self.b.block(), self.b.block());
        let below = self.b.int(below as i64);
        self.b.branch(BinaryOp::LessUnsigned, value, below, small, rest);
        self.b.enter(small);
        let zero = self.b.int(0);
        self.b.jump(after, &[zero]);
        self.b.enter(rest);
        for magnitude in each {
            let (inside, larger) = (self.b.block(), self.b.block());
            let end = self.b.int(magnitude.end as i64);
            self.b.branch(BinaryOp::LessUnsigned, value, end, inside, larger);
            self.b.enter(inside);
            let from = self.b.binary_int(BinaryOp::Subtract, value, magnitude.from as i64);
            let step = self.b.binary_int(BinaryOp::DivideUnsigned, from, magnitude.width as i64);
            let bucket = self.b.binary_int(BinaryOp::Add, step, i64::from(magnitude.first));
            self.b.jump(after, &[bucket]);
            self.b.enter(larger);
        }
        let last = self.b.int(i64::from(magnitudes.buckets()) - 1);
        self.b.jump(after, &[last]);
        self.b.enter(after);
        result
    }

    /// 0 below the smallest value, 1 + its step inside, the last slot above.
    pub(super) fn linear_bucket(&mut self, value: Value, aggregation: &Aggregation) -> Value {
        let (min, max, step) = aggregation.linear();
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
