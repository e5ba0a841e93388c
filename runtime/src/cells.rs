//! Cells of aggregations: the parts of all processors merged, and what is shown of them.

use std::cmp::Ordering;

use rtrace_lang::aggregations::{
    Aggregation, AggregationKind, Magnitudes, Merge, SERIES_SLOTS, SeriesFunction, Shape, power_range,
};

use rtrace_probes::kernel::KernelError;
use smallvec::SmallVec;

use crate::decode::word;
use crate::event::{Bucket, Cell, Point};

/// The slots of a cell. There may be a million cells of a few.
pub type Slots = SmallVec<[u64; 4]>;

/// The slots of a cell, merged over processors: zeros where none has a value; None where there is no processor.
pub fn merge(aggregation: &Aggregation, values: &[u8]) -> Option<Slots> {
    let slots = aggregation.slots() as usize;
    let mut merged = Slots::from_elem(0, slots);
    let mut any = false;
    for part in values.chunks_exact(slots * 8) {
        match aggregation.row().merge {
            Merge::Add => {
                add(&mut merged, part);
                any = true;
            }
            Merge::AddSquares => {
                let low = merged[2];
                add(&mut merged, part);
                merged[3] = merged[3].wrapping_add(u64::from(merged[2] < low));
                any = true;
            }
            Merge::Smallest | Merge::Largest => {
                any = true;
                if word(part, 8) == 0 {
                    continue;
                }
                let (new, old) = (word(part, 0), merged[0]);
                let smallest = aggregation.row().merge == Merge::Smallest;
                if merged[1] == 0 || is_better(new, old, smallest, aggregation.signed) {
                    merged.copy_from_slice(&[new, 1]);
                }
            }
            Merge::Series => {
                let places = SERIES_SLOTS as usize;
                for (merged, part) in merged.chunks_exact_mut(places).zip(part.chunks_exact(places * 8)) {
                    merge_interval(aggregation, merged, part);
                }
                any = true;
            }
        }
    }
    any.then_some(merged)
}

fn add(merged: &mut [u64], part: &[u8]) {
    for (slot, merged) in merged.iter_mut().enumerate() {
        *merged = merged.wrapping_add(word(part, slot * 8));
    }
}

fn is_better(new: u64, old: u64, smallest: bool, signed: bool) -> bool {
    let order = if signed { (new as i64).cmp(&(old as i64)) } else { new.cmp(&old) };
    order == if smallest { Ordering::Less } else { Ordering::Greater }
}

/// The intervals of a time series that keeps each in an entry of its own: what `places` gives, merged.
pub fn merge_places(
    aggregation: &Aggregation,
    count: u32,
    places: impl FnOnce(&mut dyn FnMut(&[u8], &[u8])) -> Result<(), KernelError>,
) -> Result<Vec<u64>, KernelError> {
    let slots = SERIES_SLOTS as usize;
    let mut merged = vec![0; count as usize * slots];
    places(&mut |place, values| {
        let place = place.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)) as usize;
        let Some(merged) = merged.get_mut(place * slots..(place + 1) * slots) else { return };
        for part in values.chunks_exact(slots * 8) {
            merge_interval(aggregation, merged, part);
        }
    })?;
    Ok(merged)
}

/// The same interval of two processors becomes one; of two intervals the newer stays.
fn merge_interval(aggregation: &Aggregation, merged: &mut [u64], part: &[u8]) {
    let [number, value, beside] = [0, 8, 16].map(|offset| word(part, offset));
    if number > merged[0] {
        merged.copy_from_slice(&[number, value, beside]);
        return;
    }
    if number == 0 || number < merged[0] {
        return;
    }
    match function(aggregation) {
        SeriesFunction::Sum | SeriesFunction::Avg => {
            merged[1] = merged[1].wrapping_add(value);
            merged[2] = merged[2].wrapping_add(beside);
        }
        SeriesFunction::Last if beside > merged[2] => (merged[1], merged[2]) = (value, beside),
        SeriesFunction::Last => {}
        SeriesFunction::Min | SeriesFunction::Max => {
            let smallest = function(aggregation) == SeriesFunction::Min;
            if beside != 0 && (merged[2] == 0 || is_better(value, merged[1], smallest, aggregation.signed)) {
                (merged[1], merged[2]) = (value, 1);
            }
        }
    }
}

fn function(aggregation: &Aggregation) -> SeriesFunction {
    match aggregation.shape {
        Shape::Series { function, .. } => function,
        Shape::Plain | Shape::Powers { .. } | Shape::Linear { .. } | Shape::Magnitudes(_) | Shape::Quantiles(_) => {
            SeriesFunction::Last
        }
    }
}

/// What is shown of the merged slots, divided by `divisor` where it is not 1.
pub fn cell(aggregation: &Aggregation, slots: &[u64], divisor: u64) -> Cell {
    let signed = aggregation.signed;
    let divide = |value: u64| divided(value, divisor, signed);
    match aggregation.kind {
        AggregationKind::Count | AggregationKind::Sum | AggregationKind::Min | AggregationKind::Max => {
            Cell::Number { value: divide(slots[0]), signed }
        }
        AggregationKind::Avg => Cell::Number { value: divide(average(slots[0], slots[1], signed)), signed },
        AggregationKind::Stats => Cell::Stats {
            count: slots[0],
            average: divide(average(slots[0], slots[1], signed)),
            // bpftrace divides the average alone.
            total: slots[1] as i64,
            signed,
        },
        AggregationKind::Stddev => {
            let value = (deviation(slots, signed) / divisor.max(1)) as i64;
            Cell::Number { value, signed: false }
        }
        AggregationKind::Hist => Cell::Hist { buckets: slots.to_vec(), bits: aggregation.power_bits(), divisor },
        AggregationKind::Lhist => {
            let (min, max, step) = aggregation.linear();
            Cell::Lhist { buckets: slots.to_vec(), min, max, step, divisor }
        }
        AggregationKind::Quantize => {
            let zero = if signed { aggregation.one_sign() as usize - 1 } else { 0 };
            Cell::Distribution { rows: around(powers(aggregation, slots), (zero.max(1) - 1, zero + 1)), divisor }
        }
        AggregationKind::Lquantize => {
            Cell::Distribution { rows: around(steps(aggregation.linear(), slots), (0, 2)), divisor }
        }
        AggregationKind::Llquantize => match aggregation.shape {
            Shape::Magnitudes(shape) => Cell::Distribution { rows: magnitudes(shape, signed, slots), divisor },
            Shape::Plain | Shape::Powers { .. } | Shape::Linear { .. } | Shape::Quantiles(_) | Shape::Series { .. } => {
                unreachable!("llquantize() has its magnitudes")
            }
        },
        AggregationKind::Quantiles => quantiles(aggregation, slots, divisor),
        AggregationKind::Tseries => series(aggregation, slots, divisor),
    }
}

fn divided(value: u64, divisor: u64, signed: bool) -> i64 {
    if divisor <= 1 {
        value as i64
    } else if signed {
        (i128::from(value as i64) / i128::from(divisor)) as i64
    } else {
        (value / divisor) as i64
    }
}

fn average(count: u64, total: u64, signed: bool) -> u64 {
    match count {
        0 => 0,
        _ if signed => (i128::from(total as i64) / i128::from(count)) as u64,
        _ => total / count,
    }
}

/// The standard deviation of all values: of their count, their sum and the sum of their squares.
fn deviation(slots: &[u64], signed: bool) -> u64 {
    let (count, sum) = (u128::from(slots[0]), slots[1]);
    let squares = u128::from(slots[3]) << 64 | u128::from(slots[2]);
    if count == 0 {
        return 0;
    }
    let sum = if signed { (sum as i64).unsigned_abs() } else { sum };
    let of_sum = u128::from(sum) * u128::from(sum) / count;
    (squares.saturating_sub(of_sum) / count).isqrt() as u64
}

/// The buckets of both signs, the smallest values first.
fn powers(aggregation: &Aggregation, slots: &[u64]) -> Vec<Bucket> {
    let (one_sign, bits) = (aggregation.one_sign() as usize, aggregation.power_bits());
    let (positive, negative) = slots.split_at(one_sign);
    let mut all = Vec::with_capacity(slots.len());
    // Nothing is -0.
    for (number, count) in negative.iter().enumerate().skip(1).rev() {
        let (from, to) = power_range(number as u32, bits);
        let (from, to) = ((-i128::from(to)).max(i64::MIN.into()), -i128::from(from));
        all.push(Bucket { label: to.to_string(), from: Some(from), to: Some(to), count: *count as i64 });
    }
    for (number, count) in positive.iter().enumerate() {
        let (from, to) = power_range(number as u32, bits);
        let most = if aggregation.signed { i64::MAX as u64 } else { u64::MAX };
        let (label, to) = (from.to_string(), Some(to.min(most).into()));
        all.push(Bucket { label, from: Some(from.into()), to, count: *count as i64 });
    }
    all
}

fn steps((min, max, step): (i64, i64, i64), slots: &[u64]) -> Vec<Bucket> {
    let (min, max, step) = (i128::from(min), i128::from(max), i128::from(step));
    let last = slots.len() - 1;
    let bucket = |(number, count): (usize, &u64)| {
        let count = *count as i64;
        if number == 0 {
            return Bucket { label: format!("< {min}"), from: None, to: Some(min - 1), count };
        }
        if number == last {
            return Bucket { label: format!(">= {max}"), from: Some(max), to: None, count };
        }
        let from = min + (number as i128 - 1) * step;
        Bucket { label: from.to_string(), from: Some(from), to: Some((from + step).min(max) - 1), count }
    };
    slots.iter().enumerate().map(bucket).collect()
}

/// All buckets of an `llquantize`, and of those the ones that D shows.
fn magnitudes(shape: Magnitudes, signed: bool, slots: &[u64]) -> Vec<Bucket> {
    let one_sign = shape.buckets() as usize;
    let (positive, negative) = slots.split_at(one_sign);
    let last = one_sign - 1;
    let start = |number: usize| i128::from(shape.start(number as u32));
    let scale = start(1);
    let mut all = Vec::with_capacity(slots.len());
    for (number, count) in negative.iter().enumerate().skip(1).rev() {
        let label = if number == last { format!("<= -{}", start(number)) } else { format!("-{}", start(number)) };
        let from = (number < last).then(|| 1 - start(number + 1));
        all.push(Bucket { label, from, to: Some(-start(number)), count: *count as i64 });
    }
    let middle = all.len();
    for (number, count) in positive.iter().enumerate() {
        let mut bucket = Bucket {
            label: if number == last { format!(">= {}", start(number)) } else { start(number).to_string() },
            from: Some(start(number)),
            to: (number < last).then(|| start(number + 1) - 1),
            count: *count as i64,
        };
        if number == 0 && signed {
            bucket.from = Some(1 - scale);
            bucket.count = bucket.count.wrapping_add(negative[0] as i64);
        }
        all.push(bucket);
    }
    let has_negative = all[..middle].iter().any(|bucket| bucket.count != 0);
    let is_first = all[..=middle].last().is_some_and(|bucket| bucket.count != 0);
    if scale > 1 {
        // Where a negative row is shown above it, it holds values of both signs.
        all[middle].label =
            if has_negative || (signed && is_first) { format!("abs() < {scale}") } else { format!("< {scale}") };
    }
    around(all, (middle, middle + 2))
}

/// From one row before the first that is not empty to one behind the last; the rows `empty` where all are.
fn around(mut rows: Vec<Bucket>, empty: (usize, usize)) -> Vec<Bucket> {
    let first = rows.iter().position(|row| row.count != 0);
    let last = rows.iter().rposition(|row| row.count != 0);
    let (first, last) = match (first, last) {
        (Some(first), Some(last)) => (first.saturating_sub(1), last + 1),
        _ => empty,
    };
    rows.truncate(last + 1);
    rows.drain(..first.min(rows.len()));
    rows
}

fn quantiles(aggregation: &Aggregation, slots: &[u64], divisor: u64) -> Cell {
    let all = powers(aggregation, slots);
    let count: u64 = slots.iter().sum();
    let Shape::Quantiles(percentiles) = aggregation.shape else {
        return Cell::Quantiles { count, points: Vec::new(), signed: aggregation.signed };
    };
    let value_at = |thousandths: u32| {
        // The value below which, itself included, lie so many of all.
        let rank = (u128::from(count) * u128::from(thousandths)).div_ceil(100_000);
        let mut seen = 0u128;
        let found = all.iter().find(|bucket| {
            seen += u128::from(bucket.count as u64);
            bucket.count != 0 && seen >= rank
        })?;
        let (from, to) = (found.from?, found.to?);
        Some(((from + (to - from) / 2) / i128::from(divisor.max(1))) as i64)
    };
    let points = percentiles.iter().filter_map(|point| Some((point, value_at(point)?))).collect();
    Cell::Quantiles { count, points, signed: aggregation.signed }
}

fn series(aggregation: &Aggregation, slots: &[u64], divisor: u64) -> Cell {
    let signed = aggregation.signed;
    let Shape::Series { interval, count, function } = aggregation.shape else {
        return Cell::Series { interval: 1, points: Vec::new(), signed };
    };
    let intervals: Vec<&[u64]> = slots.chunks_exact(SERIES_SLOTS as usize).collect();
    let Some(newest) = intervals.iter().map(|slots| slots[0]).max().filter(|number| *number > 0) else {
        return Cell::Series { interval, points: Vec::new(), signed };
    };
    let oldest = newest.saturating_sub(u64::from(count) - 1).max(1);
    // The place of an interval is that of its number, which the slot keeps with 1 added.
    let value = |number: u64| {
        let slots = intervals[((number - 1) % u64::from(count)) as usize];
        let value = match function {
            SeriesFunction::Avg => average(slots[2], slots[1], signed),
            SeriesFunction::Last | SeriesFunction::Max | SeriesFunction::Min | SeriesFunction::Sum => slots[1],
        };
        (slots[0] == number).then(|| divided(value, divisor, signed))
    };
    let points = (oldest..=newest)
        .map(|number| Point { start: ((number - 1) * interval) as i64, value: value(number) })
        .skip_while(|point| point.value.is_none())
        .collect();
    Cell::Series { interval, points, signed }
}

/// What decides the order of cells by value.
pub fn weight(cell: &Cell) -> i128 {
    let number = |value: i64, signed: bool| if signed { i128::from(value) } else { i128::from(value as u64) };
    match cell {
        Cell::Value(_) => 0,
        Cell::Number { value, signed } => number(*value, *signed),
        Cell::Stats { average, signed, .. } => number(*average, *signed),
        Cell::Hist { buckets, .. } | Cell::Lhist { buckets, .. } => {
            buckets.iter().map(|count| i128::from(*count)).sum()
        }
        Cell::Distribution { rows, .. } => rows.iter().map(|row| i128::from(row.count)).sum(),
        Cell::Quantiles { count, .. } => i128::from(*count),
        Cell::Series { points, signed, .. } => {
            points.last().and_then(|point| point.value).map_or(i128::MIN, |value| number(value, *signed))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtrace_lang::aggregations::power_bucket;

    fn squares(values: &[i64]) -> Vec<u64> {
        let all: u128 = values.iter().map(|value| u128::from(value.unsigned_abs()).pow(2)).sum();
        let sum = values.iter().fold(0i64, |sum, value| sum.wrapping_add(*value));
        vec![values.len() as u64, sum as u64, all as u64, (all >> 64) as u64]
    }

    #[test]
    fn deviations() {
        assert_eq!(deviation(&squares(&[]), true), 0);
        assert_eq!(deviation(&squares(&[5]), true), 0);
        assert_eq!(deviation(&squares(&[2, 4, 4, 4, 5, 5, 7, 9]), true), 2);
        // Not 3, which the truncated mean would make of it.
        assert_eq!(deviation(&squares(&[10, 11, 11]), true), 0);
        assert_eq!(deviation(&squares(&[-1000, 1000]), true), 1000);
        assert_eq!(deviation(&squares(&[i64::MIN + 1, i64::MAX]), true), i64::MAX as u64);
    }

    #[test]
    fn a_carry_between_processors_is_not_lost() {
        let aggregation =
            Aggregation { kind: AggregationKind::Stddev, signed: true, is_marked: false, shape: Shape::Plain };
        let part: Vec<u8> = [1, 2, u64::MAX, 5].iter().flat_map(|slot: &u64| slot.to_le_bytes()).collect();
        let merged = merge(&aggregation, &[part.clone(), part].concat());
        assert_eq!(merged.as_deref(), Some([2, 4, u64::MAX - 1, 11].as_slice()));
    }

    #[test]
    fn intervals_of_two_processors() {
        let shape = |function| Shape::Series { interval: 10, count: 2, function };
        let merged = |function, parts: &[[u64; 6]]| {
            let aggregation =
                Aggregation { kind: AggregationKind::Tseries, signed: true, is_marked: false, shape: shape(function) };
            let bytes: Vec<u8> = parts.iter().flatten().flat_map(|slot| slot.to_le_bytes()).collect();
            merge(&aggregation, &bytes).expect("there are values")
        };
        // The second place of the first processor is of an older round.
        let parts = [[5, 70, 9, 2, 1, 1], [5, 60, 4, 4, 33, 2]];
        assert_eq!(merged(SeriesFunction::Last, &parts).as_slice(), [5, 70, 9, 4, 33, 2]);
        assert_eq!(merged(SeriesFunction::Sum, &parts)[..2], [5, 130]);
        assert_eq!(merged(SeriesFunction::Avg, &parts)[..3], [5, 130, 13]);
        assert_eq!(merged(SeriesFunction::Min, &parts)[..2], [5, 60]);
        assert_eq!(merged(SeriesFunction::Max, &parts)[..2], [5, 70]);
    }

    #[test]
    fn percentiles_stay_within_their_bound() {
        let shape =
            Shape::Quantiles(rtrace_lang::aggregations::Percentiles([1000, 50_000, 99_000, 100_000, 0, 0, 0, 0]));
        let aggregation = Aggregation { kind: AggregationKind::Quantiles, signed: true, is_marked: false, shape };
        let mut slots = vec![0; aggregation.slots() as usize];
        let values: Vec<i64> = (1..=1000).map(|n| (n - 300) * 12_345).collect();
        for value in &values {
            let behind = if *value < 0 { aggregation.one_sign() } else { 0 };
            slots[(power_bucket(value.unsigned_abs(), 5) + behind) as usize] += 1;
        }
        let Cell::Quantiles { count: 1000, points, .. } = cell(&aggregation, &slots, 1) else { panic!("a thousand") };
        for ((thousandths, found), exact) in points.iter().zip([9, 499, 989, 999].map(|rank| values[rank])) {
            assert!((found - exact).abs() <= exact.abs() / 64, "{thousandths}: {found} is not {exact}");
        }
    }
}
