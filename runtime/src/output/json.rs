//! Events as JSON, one object a line, in the shapes that bpftrace has; what it lacks has shapes alike.

use std::borrow::Cow;
use std::io::{self, Write};

use rtrace_lang::aggregations::{AggregationKind, percent};

use crate::clock;
use crate::event::{Cell, Event, Helper, MapEvent, Place, Row, TextKind, TrialEvent, Value};

use super::Sink;
use super::buckets::{Bucket, Buckets};
use super::text::{integer, render};

pub struct Json {
    writer: io::BufWriter<Box<dyn Write>>,
}

impl Json {
    pub fn new(writer: Box<dyn Write>) -> Json {
        Json { writer: io::BufWriter::with_capacity(64 * 1024, writer) }
    }
}

impl Sink for Json {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        let line = match event {
            Event::Text { kind, text } => {
                let name = match kind {
                    TextKind::Printf => "printf",
                    TextKind::Join => "join",
                    TextKind::Time => "time",
                    TextKind::Cat => "cat",
                    TextKind::System => "syscall",
                };
                let text = if *kind == TextKind::Join { text.strip_suffix(b"\n").unwrap_or(text) } else { text };
                format!("{{\"type\": \"{name}\", \"data\": {}}}", quoted(text))
            }
            Event::Value(inner) => format!("{{\"type\": \"value\", \"data\": {}}}", value(inner)),
            Event::Map(event) => match map(event) {
                Some(data) => {
                    let name = event.aggregation.map_or("map", type_name);
                    format!("{{\"type\": \"{name}\", \"data\": {{{}: {data}}}}}", quoted(event.name.as_bytes()))
                }
                None => return Ok(()),
            },
            Event::Attached(count) => {
                format!("{{\"type\": \"attached_probes\", \"count\": {count}, \"data\": {{\"probes\": {count}}}}}")
            }
            Event::Trials(TrialEvent::Tested { name, nanoseconds, has_passed, output }) => {
                let (name, output) = (quoted(name.as_bytes()), quoted(output));
                format!(
                    "{{\"type\": \"test_result\", \"data\": {{{name}: {{\"duration\": {nanoseconds}, \"passed\": {has_passed}, \
                     \"output\": {output}}}}}}}"
                )
            }
            Event::Trials(TrialEvent::Measured { name, nanoseconds, runs }) => {
                let name = quoted(name.as_bytes());
                format!(
                    "{{\"type\": \"benchmark_result\", \"data\": {{{name}: {{\"average\": {nanoseconds}, \"iters\": {runs}}}}}}}"
                )
            }
            Event::Trials(TrialEvent::Started { .. } | TrialEvent::Finished { .. })
            | Event::Ending
            | Event::Cleared(_) => return Ok(()),
            Event::Message { is_error, text, place } => {
                let name = if *is_error { "errorf" } else { "warnf" };
                format!("{{\"type\": \"{name}\", \"msg\": {}{}}}", quoted(text), at(place))
            }
            Event::Lost { count, in_total, place } => {
                let place = at(place);
                let total = total(*in_total);
                format!(
                    "{{\"type\": \"lost_events\", \"count\": {count}, \"data\": {{\"events\": {count}}}{total}{place}}}"
                )
            }
            Event::Problem { message, helper, place, count, in_total } => {
                let total = total(*in_total);
                let place = place.as_ref().map_or(String::new(), at);
                let message = quoted(message.as_bytes());
                let (name, helper) = match helper {
                    Some(Helper { name, error }) => {
                        ("helper_error", format!(", \"helper\": \"{name}\", \"retcode\": {error}"))
                    }
                    None => ("runtime_error", String::new()),
                };
                format!("{{\"type\": \"{name}\", \"msg\": {message}{helper}, \"count\": {count}{total}{place}}}")
            }
        };
        self.writer.write_all(line.as_bytes())?;
        self.writer.write_all(b"\n")?;
        // Who waits for it must see it now, and not only when the buffer is full or the script is over.
        if matches!(event, Event::Attached(_)) { self.writer.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn at(place: &Place) -> String {
    let file = quoted(place.file.as_bytes());
    format!(", \"filename\": {file}, \"line\": {}, \"col\": {}", place.line, place.column)
}

fn type_name(kind: AggregationKind) -> &'static str {
    match kind {
        AggregationKind::Count
        | AggregationKind::Sum
        | AggregationKind::Min
        | AggregationKind::Max
        | AggregationKind::Stddev => "map",
        AggregationKind::Avg | AggregationKind::Stats => "stats",
        AggregationKind::Hist
        | AggregationKind::Lhist
        | AggregationKind::Quantize
        | AggregationKind::Lquantize
        | AggregationKind::Llquantize => "hist",
        AggregationKind::Quantiles => "quantiles",
        AggregationKind::Tseries => "tseries",
    }
}

/// Marks a count that holds what was told before.
fn total(in_total: bool) -> &'static str {
    if in_total { ", \"total\": true" } else { "" }
}

/// What a map holds; None where that is nothing, but for the two kinds of which bpftrace says so.
fn map(event: &MapEvent) -> Option<String> {
    if event.shows_nothing() {
        let is_told = matches!(event.aggregation, Some(AggregationKind::Avg | AggregationKind::Stats));
        return is_told.then(|| "{}".to_string());
    }
    if !event.keyed {
        return event.rows.first().map(|row| cell(&row.1));
    }
    let entry = |row: Cow<'_, Row>| {
        let (key, inner) = &*row;
        let mut text: Vec<u8> = key.iter().map(render).collect::<Vec<_>>().join(&b","[..]);
        // As in bpftrace, which leaves out those of strings as well.
        text.retain(|byte| *byte != b' ');
        format!("{}: {}", quoted(&text), cell(inner))
    };
    let entries: Vec<String> = event.rows.iter().map(entry).collect();
    Some(format!("{{{}}}", entries.join(", ")))
}

fn cell(inner: &Cell) -> String {
    match inner {
        Cell::Value(inner) => value(inner),
        Cell::Number { value, signed } => number(integer(*value, *signed)),
        Cell::Stats { count, average, total, signed } => format!(
            "{{\"count\": {}, \"average\": {}, \"total\": {}}}",
            number((*count).into()),
            number(integer(*average, *signed)),
            number(integer(*total, *signed))
        ),
        Cell::Quantiles { count, points, signed } => {
            let point = |(point, value): &(u32, i64)| {
                format!(", \"p{}\": {}", percent(*point), number(integer(*value, *signed)))
            };
            let points: Vec<String> = points.iter().map(point).collect();
            format!("{{\"count\": {}{}}}", number((*count).into()), points.concat())
        }
        Cell::Hist { .. } | Cell::Lhist { .. } | Cell::Distribution { .. } => histogram(inner),
        Cell::Series { points, signed, .. } => {
            let point = |start: i64, value: i64| {
                let start = clock::format("%Y-%m-%d %H:%M:%S.%k", start);
                format!("{{\"interval_start\":\"{start}\",\"value\":{}}}", number(integer(value, *signed)))
            };
            let points: Vec<String> =
                points.iter().filter_map(|known| Some(point(known.start, known.value?))).collect();
            format!("[{}]", points.join(","))
        }
    }
}

fn histogram(cell: &Cell) -> String {
    let bucket = |(min, max, count): &Bucket| {
        let min = min.map_or(String::new(), |min| format!("\"min\": {}, ", number(min)));
        let max = max.map_or(String::new(), |max| format!("\"max\": {}, ", number(max)));
        format!("{{{min}{max}\"count\": {}}}", number(*count))
    };
    let shown = Buckets::of(cell).map_or(Vec::new(), |buckets| buckets.shown());
    list(shown.iter().map(bucket))
}

/// A number that a double cannot hold is a string.
fn number(value: i128) -> String {
    if value as f64 as i128 == value { value.to_string() } else { format!("\"{value}\"") }
}

fn value(inner: &Value) -> String {
    match inner {
        Value::Int(n) => number((*n).into()),
        Value::Uint(n) | Value::Pointer(n) => number((*n).into()),
        Value::Bool(b) => b.to_string(),
        Value::Str(text) => quoted(text),
        Value::Buffer(bytes) => list(bytes.iter().map(|byte| (*byte as i8).to_string())),
        Value::Enum { number: n, .. } => number((*n).into()),
        Value::Named { text, .. } | Value::Symbol(text) => quoted(text.as_bytes()),
        Value::Stack { .. } => quoted(&render(inner)),
        Value::Tuple(parts) | Value::Array(parts) => list(parts.iter().map(value)),
        Value::Record(parts) => {
            let part =
                |(name, part): &(std::sync::Arc<str>, Value)| format!("{}: {}", quoted(name.as_bytes()), value(part));
            let parts: Vec<String> = parts.iter().map(part).collect();
            format!("{{{}}}", parts.join(", "))
        }
    }
}

fn list(parts: impl Iterator<Item = String>) -> String {
    format!("[{}]", parts.collect::<Vec<_>>().join(","))
}

/// A string of JSON; bytes that are no UTF-8 become U+FFFD.
fn quoted(text: &[u8]) -> String {
    let mut out = String::from("\"");
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            // A terminal obeys those above the first 128 as well.
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        assert_eq!(value(&Value::Int(-5)), "-5");
        assert_eq!(value(&Value::Uint(1 << 53)), "9007199254740992");
        assert_eq!(value(&Value::Uint((1 << 53) + 1)), "\"9007199254740993\"");
        assert_eq!(value(&Value::Str(b"a\"\\\n\x01".to_vec())), "\"a\\\"\\\\\\n\\u0001\"");
        assert_eq!(value(&Value::Str(b"\xff".to_vec())), "\"\u{fffd}\"");
        assert_eq!(value(&Value::Buffer(vec![1, 255])), "[1,-1]");
        let record = Value::Record(vec![("x".into(), Value::Bool(true)), ("y".into(), Value::Tuple(Vec::new()))]);
        assert_eq!(value(&record), "{\"x\": true, \"y\": []}");
    }

    #[test]
    fn histograms() {
        let hist = Cell::Hist { buckets: vec![1, 0, 0, 4], bits: 0, divisor: 2 };
        assert_eq!(
            cell(&hist),
            "[{\"max\": -1, \"count\": 0},{\"min\": 0, \"max\": 0, \"count\": 0},{\"min\": 1, \"max\": 1, \"count\": 0},\
             {\"min\": 2, \"max\": 3, \"count\": 2}]"
        );
        let lhist = Cell::Lhist { buckets: vec![0, 1, 0, 2], min: 0, max: 15, step: 10, divisor: 1 };
        assert_eq!(
            cell(&lhist),
            "[{\"min\": 0, \"max\": 9, \"count\": 1},{\"min\": 10, \"max\": 14, \"count\": 0},{\"min\": 15, \"count\": 2}]"
        );
        assert_eq!(cell(&Cell::Hist { buckets: vec![0; 4], bits: 0, divisor: 1 }), "[]");
    }
}
