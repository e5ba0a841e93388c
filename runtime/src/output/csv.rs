//! Maps as tables of comma-separated values (RFC 4180): a header, then a line for each entry, or for each of its buckets.

use std::io::{self, Write};

use rtrace_lang::aggregations::{AGGREGATIONS, AggregationKind, percent};

use crate::clock;
use crate::event::{Cell, Event, MapEvent};

use super::buckets::{Bucket, Buckets};
use super::stacks::plain;
use super::text::integer;
use super::{Sink, notices};

pub struct Csv {
    writer: io::BufWriter<Box<dyn Write>>,
    /// The map whose lines were last written, and their header.
    table: (String, Vec<String>),
}

impl Csv {
    pub fn new(writer: Box<dyn Write>) -> Csv {
        Csv { writer: io::BufWriter::with_capacity(64 * 1024, writer), table: (String::new(), Vec::new()) }
    }

    fn map(&mut self, map: &MapEvent) -> io::Result<()> {
        if map.shows_nothing() {
            return Ok(());
        }
        for row in map.rows.iter() {
            let (key, cell) = &*row;
            let (columns, lines) = values(map.aggregation, cell);
            let header = std::iter::once("map".to_string()).chain(map.key_names.iter().cloned()).chain(columns);
            let table = (map.name.clone(), header.collect());
            if self.table != table {
                line(&mut self.writer, table.1.iter().map(|name| name.clone().into_bytes()))?;
                self.table = table;
            }
            for values in lines {
                let name = std::iter::once(map.name.clone().into_bytes());
                line(&mut self.writer, name.chain(key.iter().map(plain)).chain(values))?;
            }
        }
        Ok(())
    }
}

impl Sink for Csv {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        notices::tell_all_but_maps(event);
        match event {
            Event::Map(map) => self.map(map),
            Event::Text { .. }
            | Event::Value(_)
            | Event::Cleared(_)
            | Event::Attached(_)
            | Event::Trials(_)
            | Event::Ending
            | Event::Message { .. }
            | Event::Lost { .. }
            | Event::Problem { .. } => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn line(writer: &mut dyn Write, fields: impl Iterator<Item = Vec<u8>>) -> io::Result<()> {
    let fields: Vec<Vec<u8>> = fields.map(|field| quoted(&field)).collect();
    writer.write_all(&fields.join(&b","[..]))?;
    writer.write_all(b"\r\n")
}

/// A field; any bytes, as they are. Quoted where readers would end it, or take spaces off.
fn quoted(field: &[u8]) -> Vec<u8> {
    let is_plain = |byte: &u8| !matches!(byte, b',' | b'"' | b'\r' | b'\n' | 0);
    let has_spaces = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_whitespace);
    if field.iter().all(is_plain) && !has_spaces(field.first()) && !has_spaces(field.last()) {
        return field.to_vec();
    }
    let mut out = vec![b'"'];
    for byte in field {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
    out
}

/// The names of the columns of a cell, and its lines.
fn values(aggregation: Option<AggregationKind>, cell: &Cell) -> (Vec<String>, Vec<Vec<Vec<u8>>>) {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let number = |number: i128| number.to_string().into_bytes();
    match cell {
        Cell::Value(value) => (names(&["value"]), vec![vec![plain(value)]]),
        Cell::Number { value, signed } => {
            let row = AGGREGATIONS.iter().find(|row| Some(row.kind) == aggregation);
            (names(&[row.map_or("value", |row| row.name)]), vec![vec![number(integer(*value, *signed))]])
        }
        Cell::Stats { count, average, total, signed } => (
            names(&["count", "average", "total"]),
            vec![vec![number((*count).into()), number(integer(*average, *signed)), number(integer(*total, *signed))]],
        ),
        Cell::Quantiles { count, points, signed } => {
            let percentiles = points.iter().map(|(point, _)| format!("p{}", percent(*point)));
            let values = points.iter().map(|(_, value)| number(integer(*value, *signed)));
            let line = std::iter::once(number((*count).into())).chain(values).collect();
            (std::iter::once("count".to_string()).chain(percentiles).collect(), vec![line])
        }
        Cell::Hist { .. } | Cell::Lhist { .. } | Cell::Distribution { .. } => {
            let shown = Buckets::of(cell).map_or(Vec::new(), |buckets| buckets.shown());
            let end = |end: Option<i128>| end.map_or(Vec::new(), number);
            let line = |(from, to, count): &Bucket| vec![end(*from), end(*to), number(*count)];
            (names(&["min", "max", "count"]), shown.iter().map(line).collect())
        }
        Cell::Series { points, signed, .. } => {
            let line = |start: i64, value: i64| {
                vec![clock::format("%Y-%m-%d %H:%M:%S.%k", start).into_bytes(), number(integer(value, *signed))]
            };
            let lines = points.iter().filter_map(|point| Some(line(point.start, point.value?)));
            (names(&["interval_start", "value"]), lines.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader makes of a table: RFC 4180, chapter 2.
    fn read(text: &[u8]) -> Vec<Vec<Vec<u8>>> {
        let (mut lines, mut fields, mut field) = (Vec::new(), Vec::new(), Vec::new());
        let (mut at, mut is_quoted) = (0, false);
        while at < text.len() {
            match (is_quoted, &text[at..]) {
                (true, [b'"', b'"', ..]) => {
                    field.push(b'"');
                    at += 1;
                }
                (true, [b'"', ..]) => is_quoted = false,
                (false, [b'"', ..]) => {
                    assert!(field.is_empty(), "a quote inside of a plain field");
                    is_quoted = true;
                }
                (false, [b',', ..]) => fields.push(std::mem::take(&mut field)),
                (false, [b'\r', b'\n', ..]) => {
                    fields.push(std::mem::take(&mut field));
                    lines.push(std::mem::take(&mut fields));
                    at += 1;
                }
                (_, [byte, ..]) => field.push(*byte),
                (_, []) => {}
            }
            at += 1;
        }
        assert!(!is_quoted && field.is_empty() && fields.is_empty(), "the last line has no end");
        lines
    }

    #[test]
    fn any_bytes_come_back() {
        let all: Vec<u8> = (0..=255).collect();
        let texts = [&all[..], b"", b"\"", b"a,b", b" a ", b"\r\n", b"\n", b"\"\"", b",", b"\xff\xfe\0", b"plain"];
        let mut out = Vec::new();
        for text in texts {
            line(&mut out, [text.to_vec(), b"1".to_vec()].into_iter()).expect("memory takes all");
        }
        let expected: Vec<Vec<Vec<u8>>> = texts.iter().map(|text| vec![text.to_vec(), b"1".to_vec()]).collect();
        assert_eq!(read(&out), expected);
        assert_eq!(quoted(b"a\"b"), b"\"a\"\"b\"");
        assert_eq!(quoted(b"plain text"), b"plain text");
    }
}
