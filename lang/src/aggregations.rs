//! Every aggregation: one row each, from which the checker, the compiler, the merging of per-CPU parts and the printing
//! follow. A cell is an array of 64-bit slots, one such array per processor.

use crate::limits::{HIST_BUCKETS, LHIST_MAX_BUCKETS};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AggregationKind {
    Count,
    Sum,
    Avg,
    Min,
    Max,
    Stats,
    Hist,
    Lhist,
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
    /// The slot of the value's power of two counts.
    Log2,
    /// The slot of the value's step counts; the first and last slots take what is outside.
    Linear,
}

/// How the parts of the processors become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Merge {
    /// Slot by slot, added.
    Add,
    /// The smallest slot 0 among those with slot 1 set.
    Smallest,
    Largest,
}

#[derive(Debug)]
pub struct AggregationRow {
    pub kind: AggregationKind,
    pub name: &'static str,
    /// Arguments, the value included.
    pub arguments: (usize, usize),
    pub signature: &'static str,
    pub doc: &'static str,
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
        fold: Fold::Count,
        merge: Merge::Add,
    },
    AggregationRow {
        kind: AggregationKind::Sum,
        name: "sum",
        arguments: (1, 1),
        signature: "sum(value)",
        doc: "Adds the values.",
        fold: Fold::Sum,
        merge: Merge::Add,
    },
    AggregationRow {
        kind: AggregationKind::Avg,
        name: "avg",
        arguments: (1, 1),
        signature: "avg(value)",
        doc: "The mean of the values, as an integer.",
        fold: Fold::CountAndSum,
        merge: Merge::Add,
    },
    AggregationRow {
        kind: AggregationKind::Min,
        name: "min",
        arguments: (1, 1),
        signature: "min(value)",
        doc: "The smallest value.",
        fold: Fold::Min,
        merge: Merge::Smallest,
    },
    AggregationRow {
        kind: AggregationKind::Max,
        name: "max",
        arguments: (1, 1),
        signature: "max(value)",
        doc: "The largest value.",
        fold: Fold::Max,
        merge: Merge::Largest,
    },
    AggregationRow {
        kind: AggregationKind::Stats,
        name: "stats",
        arguments: (1, 1),
        signature: "stats(value)",
        doc: "Count, mean and total of the values.",
        fold: Fold::CountAndSum,
        merge: Merge::Add,
    },
    AggregationRow {
        kind: AggregationKind::Hist,
        name: "hist",
        arguments: (1, 1),
        signature: "hist(value)",
        doc: "A histogram by powers of two.",
        fold: Fold::Log2,
        merge: Merge::Add,
    },
    AggregationRow {
        kind: AggregationKind::Lhist,
        name: "lhist",
        arguments: (4, 4),
        signature: "lhist(value, min, max, step)",
        doc: "A histogram with steps of equal size. min, max and step are constants.",
        fold: Fold::Linear,
        merge: Merge::Add,
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
    /// `lhist` only: smallest value, end, step.
    pub range: (i64, i64, i64),
}

impl Aggregation {
    pub fn row(&self) -> &'static AggregationRow {
        AGGREGATIONS.iter().find(|row| row.kind == self.kind).expect("every kind has a row")
    }

    /// 64-bit slots of one cell.
    pub fn slots(&self) -> u32 {
        match self.row().fold {
            Fold::Count | Fold::Sum => 1,
            Fold::Min | Fold::Max | Fold::CountAndSum => 2,
            Fold::Log2 => HIST_BUCKETS,
            Fold::Linear => self.linear_steps() as u32 + 2,
        }
    }

    /// Steps between the ends of an `lhist`.
    pub fn linear_steps(&self) -> u64 {
        let (min, max, step) = self.range;
        let width = (i128::from(max) - i128::from(min)).max(0) as u128;
        let steps = width.div_ceil(step.max(1) as u128);
        steps.min(u128::from(LHIST_MAX_BUCKETS) + 1) as u64
    }
}
