//! Aggregations: `@m[k] = hist(e)` and its kin, with their constants.

use crate::aggregations::{
    self, Aggregation, AggregationKind, AggregationRow, Magnitudes, Percentiles, SeriesFunction, Shape,
};
use crate::ast;
use crate::diagnostic::{Code, Diagnostic, did_you_mean, near_misses};
use crate::hir::{Expr, MapId, MapValue, StmtKind};
use crate::limits::{
    LARGEST_CELL_BYTES, LHIST_MAX_BUCKETS, LLQUANTIZE_MOST, MOST_HIST_BITS, SERIES_MAX_INTERVALS,
    SERIES_MAX_INTERVALS_OF_A_KEY,
};
use crate::span::Span;
use crate::types::Type;

use super::body::Body;

/// What `quantiles()` shows unless it is told, in thousandths.
const USUAL_PERCENTILES: [u32; 4] = [50_000, 90_000, 99_000, 99_900];

impl Body<'_, '_, '_> {
    pub fn aggregate(
        &mut self,
        map: MapId,
        key: Vec<Expr>,
        function: &ast::Name,
        arguments: &[ast::Argument],
        span: Span,
    ) -> Option<StmtKind> {
        let row = aggregations::named(&function.text).expect("the caller has found it");
        if !self.no_names(row.name, arguments) {
            return None;
        }
        let about = format!("{}: {}", row.signature, row.doc);
        if !self.takes_as_many(row.name, row.arguments, arguments.len(), &about, span) {
            return None;
        }
        let value = match arguments.first() {
            None => None,
            Some(argument) => Some(self.folded(row, argument)?),
        };
        let shape = self.shape(row, arguments, key.is_empty(), span)?;
        let weight = match weight_at(row.kind).and_then(|at| arguments.get(at)) {
            None => None,
            Some(argument) => Some(self.folded(row, argument)?),
        };
        let signed = value.as_ref().is_none_or(|value| value.ty != Type::U64);
        let is_marked = row.kind == AggregationKind::Sum && key.is_empty();
        let aggregation = Aggregation { kind: row.kind, signed, is_marked, shape };
        let bytes = u64::from(aggregation.slots()) * 8;
        if bytes > u64::from(LARGEST_CELL_BYTES) && row.kind != AggregationKind::Tseries {
            self.report(
                Diagnostic::error(Code::TooLarge, span, format!("{} buckets of {}()", bytes / 8, row.name))
                    .label(format!("the kernel takes at most {}", LARGEST_CELL_BYTES / 8))
                    .help("use fewer steps, or a smaller range"),
            );
            return None;
        }
        self.set_map_type(map, MapValue::Aggregation(aggregation), span);
        Some(StmtKind::Aggregate { map, key, value, weight })
    }

    /// A value that is added; None where it is no integer, or not known yet.
    fn folded(&mut self, row: &AggregationRow, argument: &ast::Argument) -> Option<Expr> {
        let value = self.expr(&argument.value);
        if value.ty == Type::Unknown {
            return None;
        }
        if !value.ty.is_integer() {
            let ty = value.ty.clone();
            self.report(
                Diagnostic::error(
                    Code::TypeMismatch,
                    value.span,
                    format!("{}() takes an integer, not {ty:#}", row.name),
                )
                .label(format!("of type {ty:#}"))
                .help(row.signature),
            );
            return None;
        }
        Some(value)
    }

    /// The constants of an aggregation.
    fn shape(
        &mut self,
        row: &AggregationRow,
        arguments: &[ast::Argument],
        without_keys: bool,
        span: Span,
    ) -> Option<Shape> {
        match row.kind {
            AggregationKind::Count
            | AggregationKind::Sum
            | AggregationKind::Avg
            | AggregationKind::Min
            | AggregationKind::Max
            | AggregationKind::Stats
            | AggregationKind::Stddev => Some(Shape::Plain),
            AggregationKind::Quantize => Some(Shape::Powers { bits: 0 }),
            AggregationKind::Hist => {
                let Some(argument) = arguments.get(1) else { return Some(Shape::Powers { bits: 0 }) };
                let bits = self.constant_of(row, argument, "bits")?;
                if !(0..=MOST_HIST_BITS).contains(&bits) {
                    self.bad_shape(
                        row,
                        argument.value.span,
                        &format!("bits go from 0 to {MOST_HIST_BITS}, not {bits}"),
                    );
                    return None;
                }
                Some(Shape::Powers { bits: bits as u32 })
            }
            AggregationKind::Lhist => self.linear_range(row, &arguments[1..], span),
            AggregationKind::Lquantize => self.linear_range(row, &arguments[1..arguments.len().min(4)], span),
            AggregationKind::Llquantize => self.magnitudes(row, &arguments[1..arguments.len().min(5)], span),
            AggregationKind::Quantiles => self.percentiles(row, arguments.get(1)),
            AggregationKind::Tseries => self.series(row, arguments, without_keys),
        }
    }

    fn constant_of(&mut self, row: &AggregationRow, argument: &ast::Argument, name: &str) -> Option<i64> {
        let value = self.expr(&argument.value);
        if let Some(value) = value.constant() {
            return Some(value);
        }
        if value.ty != Type::Unknown {
            self.report(
                Diagnostic::error(
                    Code::NotConstant,
                    argument.value.span,
                    format!("{name} of {}() must be a constant", row.name),
                )
                .label("known only when the probe fires")
                .help("write a number or a positional parameter"),
            );
        }
        None
    }

    fn constants<const N: usize>(
        &mut self,
        row: &AggregationRow,
        arguments: &[ast::Argument],
        names: [&str; N],
    ) -> Option<Vec<i64>> {
        arguments.iter().zip(names).map(|(argument, name)| self.constant_of(row, argument, name)).collect()
    }

    fn bad_shape(&mut self, row: &AggregationRow, span: Span, wrong: &str) {
        let label = match row.kind {
            AggregationKind::Lhist | AggregationKind::Lquantize => "these ends and this step",
            AggregationKind::Llquantize => "these magnitudes",
            AggregationKind::Count
            | AggregationKind::Sum
            | AggregationKind::Avg
            | AggregationKind::Min
            | AggregationKind::Max
            | AggregationKind::Stats
            | AggregationKind::Stddev
            | AggregationKind::Hist
            | AggregationKind::Quantize
            | AggregationKind::Quantiles
            | AggregationKind::Tseries => "out of range",
        };
        let example = match row.kind {
            AggregationKind::Lhist => ", for example lhist($x, 0, 100, 10)",
            AggregationKind::Lquantize => ", for example lquantize($x, 0, 100, 10)",
            AggregationKind::Llquantize => ", for example llquantize($x, 10, 0, 6, 20)",
            AggregationKind::Quantiles => ", for example quantiles($x, \"50,99.9\")",
            AggregationKind::Tseries => ", for example tseries($x, 1s, 60)",
            AggregationKind::Hist => ", for example hist($x, 2)",
            AggregationKind::Count
            | AggregationKind::Sum
            | AggregationKind::Avg
            | AggregationKind::Min
            | AggregationKind::Max
            | AggregationKind::Stats
            | AggregationKind::Stddev
            | AggregationKind::Quantize => "",
        };
        self.report(
            Diagnostic::error(Code::BadValue, span, format!("{}(): {wrong}", row.name))
                .label(label)
                .help(format!("{}{example}", row.signature)),
        );
    }

    /// min, max and step of a histogram with steps of equal size.
    fn linear_range(&mut self, row: &AggregationRow, arguments: &[ast::Argument], span: Span) -> Option<Shape> {
        let constants = self.constants(row, arguments, ["min", "max", "step"])?;
        let (min, max, step) = (constants[0], constants[1], constants.get(2).copied().unwrap_or(1));
        let wrong = if step <= 0 {
            "step must be above 0".to_string()
        } else if max <= min {
            format!("max ({max}) must be above min ({min})")
        } else if (i128::from(max) - i128::from(min)) / i128::from(step) > i128::from(LHIST_MAX_BUCKETS) {
            format!("more than {LHIST_MAX_BUCKETS} steps")
        } else if i128::from(step) > i128::from(max) - i128::from(min) {
            format!("the step ({step}) is larger than the range")
        } else {
            // As in bpftrace and in D the last bucket begins where a whole step does not fit any more.
            let width = i128::from(max) - i128::from(min);
            let max = max - (width % i128::from(step)) as i64;
            return Some(Shape::Linear { min, max, step });
        };
        self.bad_shape(row, span, &wrong);
        None
    }

    /// factor, low, high and steps of `llquantize`, with the rules of D.
    fn magnitudes(&mut self, row: &AggregationRow, arguments: &[ast::Argument], span: Span) -> Option<Shape> {
        let constants = self.constants(row, arguments, ["factor", "low", "high", "steps"])?;
        let (factor, low, high) = (constants[0], constants[1], constants[2]);
        let steps = constants.get(3).copied().unwrap_or(factor);
        // The smallest power of the factor that holds all steps: it must be a multiple of them.
        let mut holds = i128::from(factor);
        while factor > 1 && holds < i128::from(steps) {
            holds *= i128::from(factor);
        }
        let end = || u32::try_from(high + 1).ok().and_then(|exponent| factor.checked_pow(exponent));
        let wrong = if !(2..=LLQUANTIZE_MOST).contains(&factor) {
            format!("the factor goes from 2 to {LLQUANTIZE_MOST}, not {factor}")
        } else if low < 0 {
            format!("low ({low}) must not be below 0")
        } else if high < low {
            format!("high ({high}) must not be below low ({low})")
        } else if high > 64 || end().is_none() {
            format!("{factor}^({high} + 1) is no 64-bit number")
        } else if !(factor..=LLQUANTIZE_MOST).contains(&steps) {
            format!("steps go from the factor to {LLQUANTIZE_MOST}, not {steps}")
        } else if steps % factor != 0 || holds % i128::from(steps) != 0 {
            format!("{steps} steps do not fit the factor {factor}: a multiple of it that divides a power of it does")
        } else {
            let (factor, low, high, steps) = (factor as u32, low as u32, high as u32, steps as u32);
            return Some(Shape::Magnitudes(Magnitudes { factor, low, high, steps }));
        };
        self.bad_shape(row, span, &wrong);
        None
    }

    fn percentiles(&mut self, row: &AggregationRow, argument: Option<&ast::Argument>) -> Option<Shape> {
        let mut all = [0; Percentiles::MOST];
        let Some(argument) = argument else {
            all[..USUAL_PERCENTILES.len()].copy_from_slice(&USUAL_PERCENTILES);
            return Some(Shape::Quantiles(Percentiles(all)));
        };
        let text = self.text_of(row, argument)?;
        let mut parts = text.split(',').map(str::trim);
        for place in &mut all {
            let Some(part) = parts.next() else { break };
            match thousandths(part) {
                Some(value) => *place = value,
                None => {
                    let wrong =
                        format!("`{part}` is no percentile: they are above 0, up to 100, with at most 3 decimals");
                    self.bad_shape(row, argument.value.span, &wrong);
                    return None;
                }
            }
        }
        if parts.next().is_some() {
            let wrong = format!("more than {} percentiles; use another map for the others", Percentiles::MOST);
            self.bad_shape(row, argument.value.span, &wrong);
            return None;
        }
        Some(Shape::Quantiles(Percentiles(all)))
    }

    fn series(&mut self, row: &AggregationRow, arguments: &[ast::Argument], without_keys: bool) -> Option<Shape> {
        let interval = self.constant_of(row, &arguments[1], "interval")?;
        let count = self.constant_of(row, &arguments[2], "count")?;
        if interval <= 0 {
            let wrong = format!("an interval takes 1 ns or more, not {interval}");
            self.bad_shape(row, arguments[1].value.span, &wrong);
            return None;
        }
        let (most, of_what) = match without_keys {
            true => (SERIES_MAX_INTERVALS, ""),
            false => (SERIES_MAX_INTERVALS_OF_A_KEY, " for each key"),
        };
        if !(1..=most).contains(&count) {
            let more = if count > most { "; a longer interval needs fewer" } else { "" };
            let wrong = format!("1 to {most} intervals are kept{of_what}, not {count}{more}");
            self.bad_shape(row, arguments[2].value.span, &wrong);
            return None;
        }
        let mut function = SeriesFunction::Last;
        if let Some(argument) = arguments.get(3) {
            let name = self.text_of(row, argument)?;
            match SeriesFunction::ALL.iter().find(|function| function.name() == name) {
                Some(found) => function = *found,
                None => {
                    let names = || SeriesFunction::ALL.iter().map(|function| function.name());
                    let help = did_you_mean(&near_misses(&name, names()))
                        .unwrap_or_else(|| format!("one of {}", names().collect::<Vec<_>>().join(", ")));
                    self.report(
                        Diagnostic::error(
                            Code::BadValue,
                            argument.value.span,
                            format!("tseries() keeps no `{name}` of an interval"),
                        )
                        .label("no such function")
                        .help(help),
                    );
                    return None;
                }
            }
        }
        Some(Shape::Series { interval: interval as u64, count: count as u32, function })
    }

    /// An argument that is a string in quotes.
    fn text_of(&mut self, row: &AggregationRow, argument: &ast::Argument) -> Option<String> {
        if let ast::ExprKind::Str(bytes) = &argument.value.kind {
            return Some(String::from_utf8_lossy(bytes).into_owned());
        }
        self.report(
            Diagnostic::error(Code::NotConstant, argument.value.span, "this must be a string in quotes")
                .label("not a string in quotes")
                .help(row.signature),
        );
        None
    }
}

/// The place of the weight among the arguments, where an aggregation takes one.
fn weight_at(kind: AggregationKind) -> Option<usize> {
    match kind {
        AggregationKind::Quantize => Some(1),
        AggregationKind::Lquantize => Some(4),
        AggregationKind::Llquantize => Some(5),
        AggregationKind::Count
        | AggregationKind::Sum
        | AggregationKind::Avg
        | AggregationKind::Min
        | AggregationKind::Max
        | AggregationKind::Stats
        | AggregationKind::Stddev
        | AggregationKind::Hist
        | AggregationKind::Lhist
        | AggregationKind::Quantiles
        | AggregationKind::Tseries => None,
    }
}

/// A percentile in thousandths.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, below) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(below) || below.len() > 3 {
        return None;
    }
    let value = whole.parse::<u32>().ok()?.checked_mul(1000)? + format!("{below:0<3}").parse::<u32>().ok()?;
    (1..=100_000).contains(&value).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        assert_eq!(["50", "99.9", "0.001", "100"].map(thousandths), [50_000, 99_900, 1, 100_000].map(Some));
        assert_eq!(["", "0", "101", "1.2345", "-5", "x", ".5", "4294968"].map(thousandths), [None; 8]);
    }
}
