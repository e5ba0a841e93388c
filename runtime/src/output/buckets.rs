//! The buckets of a histogram of any kind: their ends, and how many values each holds.

use rtrace_lang::aggregations::power_range;

use crate::event::Cell;

/// The smallest and the largest value of a bucket, where it has one, and its count.
pub type Bucket = (Option<i128>, Option<i128>, i128);

pub struct Buckets {
    /// Their counts are not divided.
    pub all: Vec<Bucket>,
    pub divisor: u64,
}

impl Buckets {
    /// None for a cell that is no histogram.
    pub fn of(cell: &Cell) -> Option<Buckets> {
        let with_ends = |counts: &[u64], ends: &dyn Fn(usize) -> (Option<i128>, Option<i128>)| {
            let bucket = |(number, count): (usize, &u64)| {
                let (from, to) = ends(number);
                (from, to, i128::from(*count))
            };
            counts.iter().enumerate().map(bucket).collect()
        };
        match cell {
            Cell::Hist { buckets, bits, divisor } => {
                let ends = |bucket: usize| match bucket.checked_sub(1) {
                    None => (None, Some(-1)),
                    Some(bucket) => {
                        let (from, to) = power_range(bucket as u32, *bits);
                        (Some(from.into()), Some(to.into()))
                    }
                };
                Some(Buckets { all: with_ends(buckets, &ends), divisor: *divisor })
            }
            Cell::Lhist { buckets, min, max, step, divisor } => {
                let (min, max, step) = (i128::from(*min), i128::from(*max), i128::from(*step));
                let ends = |bucket: usize| match bucket {
                    0 => (None, Some(min - 1)),
                    last if last == buckets.len() - 1 => (Some(max), None),
                    bucket => {
                        let from = min + (bucket as i128 - 1) * step;
                        (Some(from), Some((from + step).min(max) - 1))
                    }
                };
                Some(Buckets { all: with_ends(buckets, &ends), divisor: *divisor })
            }
            Cell::Distribution { rows, divisor } => {
                let all = rows.iter().map(|row| (row.from, row.to, row.count.into())).collect();
                Some(Buckets { all, divisor: *divisor })
            }
            Cell::Value(_)
            | Cell::Number { .. }
            | Cell::Stats { .. }
            | Cell::Quantiles { .. }
            | Cell::Series { .. } => None,
        }
    }

    /// From the first bucket that is not empty to the last, counts divided.
    pub fn shown(&self) -> Vec<Bucket> {
        let first = self.all.iter().position(|(_, _, count)| *count != 0).unwrap_or(self.all.len());
        let last = self.all.iter().rposition(|(_, _, count)| *count != 0).map_or(first, |last| last + 1);
        self.all[first..last].iter().map(|(from, to, count)| (*from, *to, self.divided(*count))).collect()
    }

    pub fn divided(&self, count: i128) -> i128 {
        count / i128::from(self.divisor.max(1))
    }
}
