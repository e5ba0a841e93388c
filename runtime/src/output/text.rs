//! Events as text for people, in the form that bpftrace has made usual.

use std::io::{self, Write};

use rtrace_lang::aggregations::percent;
use rtrace_lang::types::StackMode;

use crate::event::{Cell, Event, Frame, MapEvent, Value};

use super::{Sink, distribution, histogram, notices, printf, series};

pub struct Text {
    writer: io::BufWriter<Box<dyn Write>>,
}

impl Text {
    pub fn new(writer: Box<dyn Write>) -> Text {
        Text { writer: io::BufWriter::with_capacity(64 * 1024, writer) }
    }

    fn map(&mut self, map: &MapEvent) -> io::Result<()> {
        for (key, cell) in &map.rows {
            let name = if map.keyed { format!("{}[{}]", map.name, keys(key)) } else { map.name.clone() };
            match cell {
                Cell::Value(_) | Cell::Number { .. } | Cell::Stats { .. } | Cell::Quantiles { .. } => {
                    writeln!(self.writer, "{name}: {}", body(cell))?;
                }
                Cell::Hist { .. } | Cell::Lhist { .. } | Cell::Distribution { .. } | Cell::Series { .. } => {
                    let picture = body(cell);
                    // Of a histogram without values nothing is shown.
                    if !picture.is_empty() {
                        writeln!(self.writer, "{name}:\n{picture}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Sink for Text {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Text { text, .. } => self.writer.write_all(text),
            Event::Value(value) => {
                self.writer.write_all(&render(value))?;
                self.writer.write_all(b"\n")
            }
            Event::Map(map) => self.map(map),
            Event::Ending => self.writer.write_all(b"\n\n"),
            Event::Cleared(_) => Ok(()),
            Event::Attached(_) | Event::Message { .. } | Event::Lost { .. } | Event::Problem { .. } => {
                // What was printed before belongs before it.
                self.writer.flush()?;
                notices::tell_event(event);
                Ok(())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn number(value: i64, signed: bool) -> String {
    integer(value, signed).to_string()
}

/// The number that a cell's 64 bits are.
pub(super) fn integer(value: i64, signed: bool) -> i128 {
    if signed { value.into() } else { (value as u64).into() }
}

/// A key as it is printed between brackets.
pub fn keys(parts: &[Value]) -> String {
    parts.iter().map(|part| String::from_utf8_lossy(&render(part)).into_owned()).collect::<Vec<_>>().join(", ")
}

/// A frame of a stack, as its mode prints it.
fn frame_line(frame: &Frame, mode: StackMode) -> String {
    let address = frame.address;
    let line = frame.line.as_ref().map_or(String::new(), |line| format!("@{line}"));
    match (mode, &frame.symbol, &frame.build_id) {
        (StackMode::Bpftrace, Some(symbol), _) if frame.is_inlined => format!("        [inlined] {symbol}{line}\n"),
        (StackMode::Bpftrace, Some(symbol), _) => format!("        {symbol}{line}\n"),
        (StackMode::Bpftrace, None, _) => format!("        {address:#x}\n"),
        (StackMode::Perf, Some(symbol), _) if frame.is_inlined => format!("\t{address:x} {symbol} (inlined)\n"),
        (StackMode::Perf, symbol, _) => {
            let symbol = symbol.as_deref().unwrap_or("[unknown]");
            let module =
                frame.module.as_deref().unwrap_or(if address >> 63 == 1 { "[kernel.kallsyms]" } else { "[unknown]" });
            format!("\t{address:x} {symbol} ({module})\n")
        }
        (StackMode::BuildId, _, Some(place)) => format!("{place}\n"),
        (StackMode::Raw | StackMode::BuildId, ..) => format!("{address:x}\n"),
    }
}

/// What a map shows of one entry; pictures end with their last line.
pub(super) fn body(cell: &Cell) -> String {
    match cell {
        Cell::Value(value) => String::from_utf8_lossy(&render(value)).into_owned(),
        Cell::Number { value, signed } => number(*value, *signed),
        Cell::Stats { count, average, total, signed } => format!(
            "{{ .count = {count}, .average = {}, .total = {} }}",
            number(*average, *signed),
            number(*total, *signed)
        ),
        Cell::Quantiles { count, points, signed } => {
            let points: Vec<String> = points
                .iter()
                .map(|(point, value)| format!(", .p{} = {}", percent(*point), number(*value, *signed)))
                .collect();
            format!("{{ .count = {count}{} }}", points.concat())
        }
        Cell::Hist { buckets, bits, divisor } => histogram::powers(buckets, *bits, *divisor),
        Cell::Lhist { buckets, min, max, step, divisor } => histogram::linear(buckets, (*min, *max, *step), *divisor),
        Cell::Distribution { rows, divisor } => distribution::picture(rows, *divisor),
        Cell::Series { interval, points, signed } => series::picture(*interval, points, *signed),
    }
}

/// A value as print() shows it.
pub(super) fn render(value: &Value) -> Vec<u8> {
    match value {
        Value::Int(n) => n.to_string().into_bytes(),
        Value::Uint(n) => n.to_string().into_bytes(),
        Value::Bool(b) => b.to_string().into_bytes(),
        Value::Str(bytes) => bytes.clone(),
        Value::Buffer(bytes) => printf::escaped(bytes, false),
        Value::Pointer(address) => format!("{address:#x}").into_bytes(),
        Value::Enum { name: Some(name), .. } => name.as_bytes().to_vec(),
        Value::Enum { name: None, number } => number.to_string().into_bytes(),
        Value::Symbol(name) | Value::Named { text: name, .. } => name.as_bytes().to_vec(),
        Value::Stack { frames, mode, .. } => {
            // Raw addresses and build ids have no line for a function within another.
            let is_shown = |frame: &&Frame| match mode {
                StackMode::Bpftrace | StackMode::Perf => true,
                StackMode::Raw | StackMode::BuildId => !frame.is_inlined,
            };
            let lines = frames.iter().filter(is_shown).map(|frame| frame_line(frame, *mode));
            std::iter::once("\n".to_string()).chain(lines).collect::<String>().into_bytes()
        }
        Value::Tuple(parts) => {
            let mut out = b"(".to_vec();
            for (number, part) in parts.iter().enumerate() {
                if number > 0 {
                    out.extend_from_slice(b", ");
                }
                out.extend(render(part));
            }
            out.push(b')');
            out
        }
        Value::Record(parts) => {
            let mut out = b"{ ".to_vec();
            for (number, (name, part)) in parts.iter().enumerate() {
                if number > 0 {
                    out.extend_from_slice(b", ");
                }
                if !name.is_empty() {
                    out.extend(format!(".{name} = ").into_bytes());
                }
                out.extend(render(part));
            }
            out.extend_from_slice(b" }");
            out
        }
        Value::Array(parts) => {
            let mut out = b"[".to_vec();
            for (number, part) in parts.iter().enumerate() {
                if number > 0 {
                    out.push(b',');
                }
                out.extend(render(part));
            }
            out.push(b']');
            out
        }
    }
}
