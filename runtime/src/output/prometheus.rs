//! Maps as metrics of Prometheus, in its text exposition format 0.0.4: for a scrape, or for a file at the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Write};

use rtrace_lang::aggregations::{AggregationKind, percent};

use crate::event::{Cell, Event, MapEvent, Value};

use super::buckets::Buckets;
use super::stacks::plain;
use super::text::integer;
use super::{Sink, notices};

/// What the response to a scrape is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Keeps each map as it was last shown, and writes all at the end.
pub struct Prometheus {
    writer: Box<dyn Write>,
    maps: BTreeMap<String, MapEvent>,
}

impl Prometheus {
    pub fn new(writer: Box<dyn Write>) -> Prometheus {
        Prometheus { writer, maps: BTreeMap::new() }
    }
}

impl Sink for Prometheus {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        notices::tell_all_but_maps(event);
        if let Event::Map(map) = event {
            self.maps.insert(map.name.clone(), map.clone());
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        let (text, left_out) = exposition(self.maps.values());
        left_out.iter().for_each(|what| notices::warn(what));
        self.writer.write_all(text.as_bytes())?;
        self.writer.flush()
    }
}

/// The text, and what is left out of it: a sentence each.
pub fn exposition<'m>(maps: impl Iterator<Item = &'m MapEvent>) -> (String, Vec<String>) {
    let (mut text, mut left_out, mut taken) = (String::new(), Vec::new(), BTreeSet::new());
    for map in maps {
        let Some(first) = map.rows.first() else { continue };
        let Some(kind) = Kind::of(map.aggregation, &first.1) else {
            left_out.push(format!("{} is left out: its values are no numbers that metrics have", map.name));
            continue;
        };
        let Some(samples) = samples(map) else {
            left_out.push(format!("{} is left out: some of its counts are negative", map.name));
            continue;
        };
        let name = unique(&map.name, kind, &mut taken);
        text.push_str(&format!("# HELP {name} The map {} of the script.\n# TYPE {name} {}\n", map.name, kind.name()));
        for (sample, value) in samples {
            let labels = if sample.labels.is_empty() { String::new() } else { format!("{{{}}}", sample.labels) };
            text.push_str(&format!("{name}{}{labels} {value}\n", sample.suffix));
        }
    }
    (text, left_out)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Summary,
    Histogram,
}

impl Kind {
    /// None for values that are no numbers.
    fn of(aggregation: Option<AggregationKind>, cell: &Cell) -> Option<Kind> {
        match cell {
            Cell::Value(value) => gauge(value).map(|_| Kind::Gauge),
            Cell::Number { .. } => {
                let only_grows = matches!(aggregation, Some(AggregationKind::Count | AggregationKind::Sum));
                Some(if only_grows { Kind::Counter } else { Kind::Gauge })
            }
            Cell::Stats { .. } | Cell::Quantiles { .. } => Some(Kind::Summary),
            Cell::Hist { .. } | Cell::Lhist { .. } | Cell::Distribution { .. } => Some(Kind::Histogram),
            Cell::Series { .. } => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Summary => "summary",
            Kind::Histogram => "histogram",
        }
    }
}

fn gauge(value: &Value) -> Option<i128> {
    match value {
        Value::Int(number) => Some((*number).into()),
        Value::Uint(number) => Some((*number).into()),
        Value::Bool(is_true) => Some((*is_true).into()),
        Value::Enum { number, .. } | Value::Named { number, .. } => Some((*number).into()),
        Value::Str(_)
        | Value::Buffer(_)
        | Value::Pointer(_)
        | Value::Stack { .. }
        | Value::Symbol(_)
        | Value::Tuple(_)
        | Value::Record(_)
        | Value::Array(_) => None,
    }
}

/// The name of a map's metric, which no other has, nor a part of one.
fn unique(map: &str, kind: Kind, taken: &mut BTreeSet<String>) -> String {
    let map = map.trim_start_matches('@');
    let mut name = format!("rtrace_{}", if map.is_empty() { "map".to_string() } else { identifier(map) });
    if kind == Kind::Counter {
        name.push_str("_total");
    }
    let parts = |name: &str| ["", "_bucket", "_sum", "_count"].map(|part| format!("{name}{part}"));
    while parts(&name).iter().any(|part| taken.contains(part)) {
        name.push('_');
    }
    taken.extend(parts(&name));
    name
}

/// Letters, digits and single underscores.
fn identifier(text: &str) -> String {
    let parts = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("_")
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Sample {
    suffix: &'static str,
    labels: String,
}

/// The samples of a map, a key's behind one another. None where a count is negative.
fn samples(map: &MapEvent) -> Option<Vec<(Sample, i128)>> {
    let names = label_names(map);
    let mut all: Vec<(Sample, i128)> = Vec::new();
    let mut places: HashMap<Sample, usize> = HashMap::new();
    for row in map.rows.iter() {
        let (key, cell) = &*row;
        let key = key.iter().zip(&names).map(|(part, name)| label(name, &String::from_utf8_lossy(&plain(part))));
        let key: Vec<String> = key.collect();
        for (suffix, own, value) in of_cell(cell)? {
            let labels: Vec<String> = key.iter().cloned().chain(own).collect();
            let sample = Sample { suffix, labels: labels.join(",") };
            // Keys that differ, and read alike, are one series.
            match places.get(&sample) {
                Some(place) => {
                    let known = &mut all[*place].1;
                    *known = combined(map.aggregation, suffix, *known, value);
                }
                None => {
                    places.insert(sample.clone(), all.len());
                    all.push((sample, value));
                }
            }
        }
    }
    Some(all)
}

fn combined(aggregation: Option<AggregationKind>, suffix: &str, a: i128, b: i128) -> i128 {
    match aggregation {
        Some(AggregationKind::Min) => a.min(b),
        Some(AggregationKind::Max | AggregationKind::Avg | AggregationKind::Stddev) => a.max(b),
        Some(AggregationKind::Quantiles) if suffix.is_empty() => a.max(b),
        None
        | Some(
            AggregationKind::Count
            | AggregationKind::Sum
            | AggregationKind::Stats
            | AggregationKind::Hist
            | AggregationKind::Lhist
            | AggregationKind::Quantize
            | AggregationKind::Lquantize
            | AggregationKind::Llquantize
            | AggregationKind::Quantiles
            | AggregationKind::Tseries,
        ) => a + b,
    }
}

/// Suffix of the name, label of its own, value.
type Part = (&'static str, Option<String>, i128);

fn of_cell(cell: &Cell) -> Option<Vec<Part>> {
    match cell {
        Cell::Value(value) => Some(gauge(value).map(|number| ("", None, number)).into_iter().collect()),
        Cell::Number { value, signed } => Some(vec![("", None, integer(*value, *signed))]),
        Cell::Stats { count, total, signed, .. } => {
            Some(vec![("_sum", None, integer(*total, *signed)), ("_count", None, (*count).into())])
        }
        Cell::Quantiles { count, points, signed } => {
            let point = |(point, value): &(u32, i64)| {
                // Of a percentile in thousandths the part of one.
                let part = (percent(*point).parse::<f64>().unwrap_or_default() * 1e7).round() / 1e9;
                ("", Some(label("quantile", &part.to_string())), integer(*value, *signed))
            };
            Some(points.iter().map(point).chain([("_count", None, (*count).into())]).collect())
        }
        Cell::Hist { .. } | Cell::Lhist { .. } | Cell::Distribution { .. } => {
            let buckets = Buckets::of(cell)?;
            let (mut parts, mut sum) = (Vec::new(), 0);
            for (_, to, count) in &buckets.all {
                if *count < 0 {
                    return None;
                }
                sum += count;
                if let Some(to) = to {
                    parts.push(("_bucket", Some(label("le", &to.to_string())), buckets.divided(sum)));
                }
            }
            parts.push(("_bucket", Some(label("le", "+Inf")), buckets.divided(sum)));
            parts.push(("_count", None, buckets.divided(sum)));
            Some(parts)
        }
        Cell::Series { .. } => Some(Vec::new()),
    }
}

fn label_names(map: &MapEvent) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (number, text) in map.key_names.iter().enumerate() {
        let mut name = identifier(text);
        // Those two have a meaning, and a digit begins no name.
        if matches!(name.as_str(), "le" | "quantile") || name.starts_with(|c: char| c.is_ascii_digit()) {
            name = format!("key_{name}");
        }
        let is_new = !name.is_empty() && !names.contains(&name);
        names.push(if is_new { name } else { format!("key{number}") });
    }
    names
}

fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &str, aggregation: Option<AggregationKind>, keys: &[&str], rows: Vec<(Vec<Value>, Cell)>) -> MapEvent {
        let key_names = keys.iter().map(ToString::to_string).collect();
        MapEvent {
            name: name.into(),
            keyed: !keys.is_empty(),
            key_names,
            aggregation,
            rows: rows.into(),
            is_unset: false,
            at_end: false,
        }
    }

    #[test]
    fn names_and_labels_are_valid_and_each_is_once() {
        let text = |bytes: &[u8]| Value::Str(bytes.to_vec());
        let number = |value| Cell::Number { value, signed: true };
        let count = Some(AggregationKind::Count);
        let rows = vec![
            (vec![text(b"a\"\\\n"), Value::Int(1), Value::Int(2)], number(3)),
            (vec![text(b"\xff"), Value::Int(1), Value::Int(2)], number(4)),
            (vec![text(b"\xfe"), Value::Int(1), Value::Int(2)], number(5)),
        ];
        let maps = [
            map("@", count, &["str(args.le)", "le", "le"], rows),
            map("@map_total", None, &[], vec![(Vec::new(), Cell::Value(Value::Int(-7)))]),
            map("@text", None, &[], vec![(Vec::new(), Cell::Value(text(b"x")))]),
        ];
        let (text, left_out) = exposition(maps.iter());
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                "rtrace_map_total{str_args_le=\"a\\\"\\\\\\n\",key_le=\"1\",key2=\"2\"} 3",
                "rtrace_map_total{str_args_le=\"\u{fffd}\",key_le=\"1\",key2=\"2\"} 9",
                "rtrace_map_total_ -7",
            ]
        );
        assert_eq!(left_out, ["@text is left out: its values are no numbers that metrics have"]);
    }

    #[test]
    fn buckets_are_cumulative() {
        let cell = Cell::Lhist { buckets: vec![1, 2, 0, 4], min: 0, max: 20, step: 10, divisor: 1 };
        let (text, _) = exposition([map("@h", Some(AggregationKind::Lhist), &[], vec![(Vec::new(), cell)])].iter());
        assert_eq!(
            text,
            "# HELP rtrace_h The map @h of the script.\n# TYPE rtrace_h histogram\n\
             rtrace_h_bucket{le=\"-1\"} 1\nrtrace_h_bucket{le=\"9\"} 3\nrtrace_h_bucket{le=\"19\"} 3\n\
             rtrace_h_bucket{le=\"+Inf\"} 7\nrtrace_h_count 7\n"
        );
        let rows = vec![crate::event::Bucket { label: "0".into(), from: Some(0), to: Some(0), count: -1 }];
        let cell = Cell::Distribution { rows, divisor: 1 };
        let (text, left_out) =
            exposition([map("@q", Some(AggregationKind::Quantize), &[], vec![(Vec::new(), cell)])].iter());
        assert_eq!((text.as_str(), left_out.len()), ("", 1));
    }
}
