//! Every aggregation: one row each, from which the checker, the compiler, the merging of per-CPU parts and the printing
//! follow. A cell is an array of 64-bit slots, one such array per processor.

use crate::limits::{LHIST_MAX_BUCKETS, QUANTILE_BITS};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AggregationKind {
    Count,
    Sum,
    Avg,
    Min,
    Max,
    Stats,
    Stddev,
    Hist,
    Lhist,
    Quantize,
    Lquantize,
    Llquantize,
    Quantiles,
    Tseries,
}

/// What is read of an aggregation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AggregationPart {
    /// The one number that it stands for.
    Value,
    /// How many values there were.
    Count,
    Total,
}

/// How a value enters the slots of a cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fold {
    /// Slot 0 counts.
    Count,
    /// Slot 0 adds the value.
    Sum,
    /// Slot 0 keeps the smallest value, slot 1 is 1 once there is one.
    Min,
    /// Slot 0 keeps the largest value, slot 1 is 1 once there is one.
    Max,
    /// Slot 0 counts, slot 1 adds the value.
    CountAndSum,
    /// The same, and slots 2 and 3 add its square: the low half and the high one.
    Squares,
    /// Slot 0 counts the negative values, slot 1 + `power_bucket()` all others.
    Powers,
    /// Slot `power_bucket()` counts; those of negative values lie behind all others, in the same order.
    MirroredPowers,
    /// The slot of the value's step counts; the first and last slots take what is outside.
    Linear,
    /// The slot of the value's magnitude and step counts, as `Magnitudes` says; negative values lie behind all others.
    Magnitudes,
    /// A ring of intervals of `SERIES_SLOTS` slots each: the number of the interval, the value, and what the function
    /// needs beside it.
    Series,
}

/// How the parts of the processors become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Merge {
    /// Slot by slot, added.
    Add,
    /// The same; slots 2 and 3 are one number.
    AddSquares,
    /// The smallest slot 0 among those with slot 1 set.
    Smallest,
    Largest,
    /// Interval by interval; the newest one that shares a place stays.
    Series,
}

/// What one place of a time series takes.
pub const SERIES_SLOTS: u32 = 3;

#[derive(Debug)]
pub struct AggregationRow {
    pub kind: AggregationKind,
    pub name: &'static str,
    /// Arguments, the value included.
    pub arguments: (usize, usize),
    pub signature: &'static str,
    pub doc: &'static str,
    /// A whole script that uses it.
    pub example: &'static str,
    pub fold: Fold,
    pub merge: Merge,
}

pub static AGGREGATIONS: &[AggregationRow] = &[
    AggregationRow {
        kind: AggregationKind::Count,
        name: "count",
        arguments: (0, 0),
        signature: "count()",
        doc: "Counts how often it is reached.",
        example: "BEGIN { @[comm] = count(); }",
        fold: Fold::Count,
        merge: Merge::Add,
    },
    AggregationRow {
        kind: AggregationKind::Sum,
        name: "sum",
        arguments: (1, 1),
        signature: "sum(value)",
        doc: "Adds the values.",
        example: "BEGIN { @ = sum(5); @ = sum(6); }",
        fold: Fold::Sum,
        merge: Merge::Add,
    },
    AggregationRow {
        kind: AggregationKind::Avg,
        name: "avg",
        arguments: (1, 1),
        signature: "avg(value)",
        doc: "The mean of the values, as an integer.",
        example: "BEGIN { @ = avg(5); @ = avg(7); }",
        fold: Fold::CountAndSum,
        merge: Merge::Add,
    },
    AggregationRow {
        kind: AggregationKind::Min,
        name: "min",
        arguments: (1, 1),
        signature: "min(value)",
        doc: "The smallest value.",
        example: "BEGIN { @ = min(5); @ = min(7); }",
        fold: Fold::Min,
        merge: Merge::Smallest,
    },
    AggregationRow {
        kind: AggregationKind::Max,
        name: "max",
        arguments: (1, 1),
        signature: "max(value)",
        doc: "The largest value.",
        example: "BEGIN { @ = max(5); @ = max(7); }",
        fold: Fold::Max,
        merge: Merge::Largest,
    },
    AggregationRow {
        kind: AggregationKind::Stats,
        name: "stats",
        arguments: (1, 1),
        signature: "stats(value)",
        doc: "Count, mean and total of the values.",
        example: "BEGIN { @ = stats(5); @ = stats(7); }",
        fold: Fold::CountAndSum,
        merge: Merge::Add,
    },
    AggregationRow {
        kind: AggregationKind::Stddev,
        name: "stddev",
        arguments: (1, 1),
        signature: "stddev(value)",
        doc: "The standard deviation of the values, as an integer. The sum of the squares has 128 bits.",
        example: "BEGIN { @ = stddev(5); @ = stddev(9); }",
        fold: Fold::Squares,
        merge: Merge::AddSquares,
    },
    AggregationRow {
        kind: AggregationKind::Hist,
        name: "hist",
        arguments: (1, 2),
        signature: "hist(value, bits = 0)",
        doc: "A histogram by powers of two, each split into 2^bits buckets; bits is a constant from 0 to 5.",
        example: "BEGIN { @ = hist(100); @fine[comm] = hist(100, 3); }",
        fold: Fold::Powers,
        merge: Merge::Add,
    },
    AggregationRow {
        kind: AggregationKind::Lhist,
        name: "lhist",
        arguments: (4, 4),
        signature: "lhist(value, min, max, step)",
        doc: "A histogram with steps of equal size. min, max and step are constants.",
        example: "BEGIN { @ = lhist(42, 0, 100, 10); }",
        fold: Fold::Linear,
        merge: Merge::Add,
    },
    AggregationRow {
        kind: AggregationKind::Quantize,
        name: "quantize",
        arguments: (1, 2),
        signature: "quantize(value, weight = 1)",
        doc: "A histogram by powers of two of both signs, drawn as D draws it. The weight is added instead of 1.",
        example: "BEGIN { @ = quantize(100); @ = quantize(-7, 3); }",
        fold: Fold::MirroredPowers,
        merge: Merge::Add,
    },
    AggregationRow {
        kind: AggregationKind::Lquantize,
        name: "lquantize",
        arguments: (3, 5),
        signature: "lquantize(value, min, max, step = 1, weight = 1)",
        doc: "A histogram with steps of equal size, drawn as D draws it. min, max and step are constants; the weight is added instead of 1.",
        example: "BEGIN { @ = lquantize(42, 0, 100, 10); }",
        fold: Fold::Linear,
        merge: Merge::Add,
    },
    AggregationRow {
        kind: AggregationKind::Llquantize,
        name: "llquantize",
        arguments: (4, 6),
        signature: "llquantize(value, factor, low, high, steps = factor, weight = 1)",
        doc: "A histogram with equal steps inside each magnitude, from factor^low up to factor^(high + 1), of both signs, drawn as D draws it. All but the value and the weight are constants.",
        example: "BEGIN { @ = llquantize(42, 10, 0, 6, 20); }",
        fold: Fold::Magnitudes,
        merge: Merge::Add,
    },
    AggregationRow {
        kind: AggregationKind::Quantiles,
        name: "quantiles",
        arguments: (1, 2),
        signature: "quantiles(value, \"50,90,99,99.9\")",
        doc: "Count and percentiles of the values. A percentile is exact below 64, and off by at most 1/64 of itself above.",
        example: "BEGIN { for ($i : 0..100) { @ = quantiles($i); } print(@); }",
        fold: Fold::MirroredPowers,
        merge: Merge::Add,
    },
    AggregationRow {
        kind: AggregationKind::Tseries,
        name: "tseries",
        arguments: (3, 4),
        signature: "tseries(value, interval, count, \"last\")",
        doc: "The values of the last `count` intervals of so many nanoseconds: the last one of each, or its \"avg\", \"max\", \"min\" or \"sum\". At most 1,000,000 intervals, or 1365 for each key.",
        example: "BEGIN { @ = tseries(5, 100ms, 20); @most = tseries(5, 1s, 60, \"max\"); }",
        fold: Fold::Series,
        merge: Merge::Series,
    },
];

pub fn named(name: &str) -> Option<&'static AggregationRow> {
    AGGREGATIONS.iter().find(|row| row.name == name)
}

/// An aggregation with its constants: what a map holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Aggregation {
    pub kind: AggregationKind,
    /// The values are signed.
    pub signed: bool,
    /// A slot of its own, behind the value, tells 0 from no value: that of a sum without keys.
    pub is_marked: bool,
    pub shape: Shape,
}

/// The constants of an aggregation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Shape {
    /// It has none.
    Plain,
    /// Each power of two is split into 2^bits buckets.
    Powers {
        bits: u32,
    },
    /// Smallest value, end, size of a step.
    Linear {
        min: i64,
        max: i64,
        step: i64,
    },
    Magnitudes(Magnitudes),
    Quantiles(Percentiles),
    Series {
        interval: u64,
        count: u32,
        function: SeriesFunction,
    },
}

impl Aggregation {
    pub fn row(&self) -> &'static AggregationRow {
        AGGREGATIONS.iter().find(|row| row.kind == self.kind).expect("every kind has a row")
    }

    /// 64-bit slots of one cell.
    pub fn slots(&self) -> u32 {
        match self.row().fold {
            Fold::Count | Fold::Sum => 1 + u32::from(self.is_marked),
            Fold::Min | Fold::Max | Fold::CountAndSum => 2,
            Fold::Squares => 4,
            Fold::Powers => 1 + self.one_sign(),
            Fold::MirroredPowers | Fold::Magnitudes if self.signed => 2 * self.one_sign(),
            Fold::MirroredPowers | Fold::Magnitudes => self.one_sign(),
            Fold::Linear => self.linear_steps() as u32 + 2,
            Fold::Series => self.intervals() * SERIES_SLOTS,
        }
    }

    /// Intervals that a time series keeps.
    pub fn intervals(&self) -> u32 {
        match self.shape {
            Shape::Series { count, .. } => count,
            Shape::Plain | Shape::Powers { .. } | Shape::Linear { .. } | Shape::Magnitudes(_) | Shape::Quantiles(_) => {
                0
            }
        }
    }

    /// Slots of the values of one sign, where those of the two signs are alike.
    pub fn one_sign(&self) -> u32 {
        match self.shape {
            Shape::Magnitudes(magnitudes) => magnitudes.buckets(),
            Shape::Plain | Shape::Powers { .. } | Shape::Linear { .. } | Shape::Quantiles(_) | Shape::Series { .. } => {
                power_buckets(self.power_bits())
            }
        }
    }

    /// Each power of two has 2^bits buckets.
    pub fn power_bits(&self) -> u32 {
        match self.shape {
            Shape::Powers { bits } => bits,
            Shape::Quantiles(_) => QUANTILE_BITS,
            Shape::Plain | Shape::Linear { .. } | Shape::Magnitudes(_) | Shape::Series { .. } => 0,
        }
    }

    /// Smallest value, end and step of a histogram with steps of equal size.
    pub fn linear(&self) -> (i64, i64, i64) {
        match self.shape {
            Shape::Linear { min, max, step } => (min, max, step),
            Shape::Plain | Shape::Powers { .. } | Shape::Magnitudes(_) | Shape::Quantiles(_) | Shape::Series { .. } => {
                (0, 0, 1)
            }
        }
    }

    /// Steps between the ends of a histogram with steps of equal size.
    pub fn linear_steps(&self) -> u64 {
        let (min, max, step) = self.linear();
        let width = (i128::from(max) - i128::from(min)).max(0) as u128;
        let steps = width.div_ceil(step.max(1) as u128);
        steps.min(u128::from(LHIST_MAX_BUCKETS) + 1) as u64
    }
}

/// The function with its constants, as a message names it.
impl std::fmt::Display for Aggregation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}()", self.row().name)?;
        match self.shape {
            Shape::Plain | Shape::Powers { bits: 0 } => Ok(()),
            Shape::Powers { bits } => write!(f, " with {bits} bits"),
            Shape::Linear { min, max, step } => write!(f, " from {min} to {max} by {step}"),
            Shape::Magnitudes(Magnitudes { factor, low, high, steps }) => {
                write!(f, " of {factor} from {low} to {high} by {steps}")
            }
            Shape::Quantiles(percentiles) => {
                let names: Vec<String> = percentiles.iter().map(percent).collect();
                write!(f, " of {}", names.join(","))
            }
            Shape::Series { interval, count, function } => {
                let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1000, "us")];
                let unit = units.into_iter().find(|(unit, _)| interval.is_multiple_of(*unit));
                let (unit, name) = unit.unwrap_or((1, "ns"));
                write!(f, " of {count} times {}{name}, {}", interval / unit, function.name())
            }
        }
    }
}

/// What a time series keeps of the values of an interval.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SeriesFunction {
    /// The third slot is the time of the value.
    Last,
    /// The third slot counts.
    Avg,
    /// The third slot is 1 once there is a value.
    Max,
    Min,
    Sum,
}

impl SeriesFunction {
    pub const ALL: &'static [SeriesFunction] =
        &[SeriesFunction::Last, SeriesFunction::Avg, SeriesFunction::Max, SeriesFunction::Min, SeriesFunction::Sum];

    pub fn name(self) -> &'static str {
        match self {
            SeriesFunction::Last => "last",
            SeriesFunction::Avg => "avg",
            SeriesFunction::Max => "max",
            SeriesFunction::Min => "min",
            SeriesFunction::Sum => "sum",
        }
    }
}

/// Percentiles in thousandths, in the order in which they are shown; unused places are 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Percentiles(pub [u32; Percentiles::MOST]);

impl Percentiles {
    /// Percentiles that one map shows.
    pub const MOST: usize = 8;

    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied().filter(|thousandths| *thousandths > 0)
    }
}

/// A percentile as it is written: 99.9
pub fn percent(thousandths: u32) -> String {
    let (whole, below) = (thousandths / 1000, thousandths % 1000);
    if below == 0 { whole.to_string() } else { format!("{whole}.{:03}", below).trim_end_matches('0').to_string() }
}

/// The buckets of `llquantize`: one below factor^low, then those of each magnitude from `low` to `high`, then one for
/// all that is factor^(high + 1) or more. A magnitude has `steps` buckets less those of the magnitudes below it, and
/// never a bucket narrower than 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Magnitudes {
    pub factor: u32,
    pub low: u32,
    pub high: u32,
    pub steps: u32,
}

/// One magnitude: values from `from` to below `end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Magnitude {
    pub from: u64,
    pub end: u64,
    /// The width of a bucket.
    pub width: u64,
    /// The number of its first bucket.
    pub first: u32,
}

impl Magnitudes {
    /// Each magnitude, small ones first. The checker has seen that factor^(high + 1) fits.
    pub fn each(self) -> Vec<Magnitude> {
        let power = |exponent: u32| u64::from(self.factor).saturating_pow(exponent);
        let mut first = 1;
        let mut all = Vec::new();
        for order in self.low..=self.high {
            let (from, end) = (power(order), power(order + 1));
            let width = (end / u64::from(self.steps)).max(1);
            all.push(Magnitude { from, end, width, first });
            first += ((end - from) / width) as u32;
        }
        all
    }

    /// All buckets of one sign.
    pub fn buckets(self) -> u32 {
        self.each().last().map_or(1, |last| last.first + ((last.end - last.from) / last.width) as u32) + 1
    }

    /// The smallest value of a bucket.
    pub fn start(self, bucket: u32) -> u64 {
        let all = self.each();
        match all.iter().rev().find(|magnitude| magnitude.first <= bucket) {
            Some(magnitude) => magnitude.from + u64::from(bucket - magnitude.first) * magnitude.width,
            None => 0,
        }
    }
}

/// Buckets of the values of one sign where each power of two has 2^bits of them.
pub fn power_buckets(bits: u32) -> u32 {
    (65 - bits) << bits
}

/// The bucket of a value where each power of two has 2^bits of them: below 2^bits each value has its own.
pub fn power_bucket(value: u64, bits: u32) -> u32 {
    let power = value.checked_ilog2().unwrap_or(0);
    match power.checked_sub(bits) {
        Some(above) => (above << bits) + (value >> above) as u32,
        None => value as u32,
    }
}

/// The smallest value of a bucket, and the largest.
pub fn power_range(bucket: u32, bits: u32) -> (u64, u64) {
    if bucket < 2 << bits {
        return (u64::from(bucket), u64::from(bucket));
    }
    let above = (bucket >> bits) - 1;
    let from = u64::from(bucket - (above << bits)) << above;
    (from, from + ((1 << above) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_in_the_range_of_its_bucket() {
        let ends = (0..64).flat_map(|power| [(1u64 << power) - 1, 1 << power, (1 << power) + 1]);
        for value in ends.chain([u64::MAX, 1000, 12345]) {
            for bits in 0..=QUANTILE_BITS {
                let bucket = power_bucket(value, bits);
                let (from, to) = power_range(bucket, bits);
                assert!(from <= value && value <= to, "{value} with {bits} bits: {bucket} is {from} to {to}");
                assert!(bucket < power_buckets(bits));
                // What the documentation of quantiles() promises: half the width of a bucket.
                assert!(bits < QUANTILE_BITS || (to - from) / 2 <= from / 64, "{from} to {to}");
            }
        }
        assert_eq!(power_range(power_buckets(5) - 1, 5).1, u64::MAX);
    }

    #[test]
    fn magnitudes() {
        let plain = Magnitudes { factor: 10, low: 0, high: 2, steps: 10 };
        // 0, 1 to 9, 10 to 90, 100 to 900, 1000 and more.
        assert_eq!(plain.buckets(), 1 + 9 + 9 + 9 + 1);
        assert_eq!((plain.start(0), plain.start(1), plain.start(10), plain.start(19)), (0, 1, 10, 100));
        assert_eq!(plain.start(28), 1000);
        // Steps of less than 1 are none.
        let fine = Magnitudes { factor: 10, low: 0, high: 1, steps: 20 };
        assert_eq!(fine.buckets(), 1 + 9 + 18 + 1);
        assert_eq!((fine.start(10), fine.start(11), fine.start(28)), (10, 15, 100));
    }

    #[test]
    fn percentiles_are_written_as_people_write_them() {
        assert_eq!([50_000, 99_900, 99_990, 99_999, 1].map(percent), ["50", "99.9", "99.99", "99.999", "0.001"]);
    }
}
