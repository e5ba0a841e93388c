//! Events as text for people, in the form that bpftrace has made usual.

use std::io::{self, Write};

use rtrace_lang::aggregations::percent;
use rtrace_lang::types::StackMode;

use crate::event::{Cell, Event, Frame, MapEvent, TextKind, Value};

use super::{Bars, Sink, distribution, histogram, notices, printf, series, trials};

pub struct Text {
    writer: io::BufWriter<Box<dyn Write>>,
    bars: Bars,
    /// Of what passes and what fails.
    colour: bool,
}

impl Text {
    pub fn new(writer: Box<dyn Write>, bars: Bars) -> Text {
        // Blocks are drawn on terminals alone.
        let colour = bars != Bars::Ascii && std::env::var_os("NO_COLOR").is_none();
        Text { colour, writer: io::BufWriter::with_capacity(64 * 1024, writer), bars }
    }

    fn map(&mut self, map: &MapEvent) -> io::Result<()> {
        if map.shows_nothing() {
            return Ok(());
        }
        let mut out = Vec::new();
        for row in map.rows.iter() {
            let (key, cell) = &*row;
            out.clear();
            out.extend_from_slice(map.name.as_bytes());
            if map.keyed {
                out.push(b'[');
                add_keys(&mut out, key);
                out.push(b']');
            }
            match cell {
                Cell::Value(_) | Cell::Number { .. } | Cell::Stats { .. } | Cell::Quantiles { .. } => {
                    out.extend_from_slice(b": ");
                    add_body(&mut out, cell, self.bars);
                }
                Cell::Hist { .. } | Cell::Lhist { .. } | Cell::Distribution { .. } | Cell::Series { .. } => {
                    out.extend_from_slice(b":\n");
                    add_body(&mut out, cell, self.bars);
                }
            }
            out.push(b'\n');
            // The other one looks at each byte, and most rows need none changed.
            match std::str::from_utf8(&out) {
                Ok(_) => self.writer.write_all(&out)?,
                Err(_) => self.writer.write_all(String::from_utf8_lossy(&out).as_bytes())?,
            }
        }
        Ok(())
    }
}

impl Sink for Text {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Text { kind: TextKind::System, text } => {
                self.writer.write_all(text)?;
                // As bpftrace ends it, whether the command's own text ends with a line or not.
                self.writer.write_all(b"\n")
            }
            Event::Text { text, .. } => self.writer.write_all(text),
            Event::Value(value) => {
                self.writer.write_all(&render(value))?;
                self.writer.write_all(b"\n")
            }
            Event::Map(map) => self.map(map),
            Event::Trials(of) => {
                let text = trials::text(of, self.colour);
                self.writer.write_all(text.as_bytes())?;
                // Somebody waits for the next.
                self.writer.flush()
            }
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

/// The number that a cell's 64 bits are.
pub(super) fn integer(value: i64, signed: bool) -> i128 {
    if signed { value.into() } else { (value as u64).into() }
}

/// A key as it is printed between brackets.
pub fn keys(parts: &[Value]) -> String {
    let mut out = Vec::new();
    add_keys(&mut out, parts);
    String::from_utf8_lossy(&out).into_owned()
}

fn add_keys(out: &mut Vec<u8>, parts: &[Value]) {
    add_list(out, parts, b", ");
}

fn add_list(out: &mut Vec<u8>, parts: &[Value], between: &[u8]) {
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            out.extend_from_slice(between);
        }
        add(out, part);
    }
}

/// Adds what a formatted text says.
fn add_text(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("memory takes all that is written to it");
}

/// There may be millions.
fn add_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
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
    let mut out = Vec::new();
    add_body(&mut out, cell, Bars::Ascii);
    String::from_utf8_lossy(&out).into_owned()
}

fn add_body(out: &mut Vec<u8>, cell: &Cell, bars: Bars) {
    let number = |out: &mut Vec<u8>, value: i64, signed: bool| match signed {
        true => add_number(out, value),
        false => add_number(out, value as u64),
    };
    match cell {
        Cell::Value(value) => add(out, value),
        Cell::Number { value, signed } => number(out, *value, *signed),
        Cell::Stats { count, average, total, signed } => {
            add_text(out, format_args!("{{ .count = {count}, .average = "));
            number(out, *average, *signed);
            out.extend_from_slice(b", .total = ");
            number(out, *total, *signed);
            out.extend_from_slice(b" }");
        }
        Cell::Quantiles { count, points, signed } => {
            add_text(out, format_args!("{{ .count = {count}"));
            for (point, value) in points {
                add_text(out, format_args!(", .p{} = ", percent(*point)));
                number(out, *value, *signed);
            }
            out.extend_from_slice(b" }");
        }
        Cell::Hist { buckets, bits, divisor } => {
            out.extend(histogram::powers(buckets, *bits, *divisor, bars).into_bytes())
        }
        Cell::Lhist { buckets, min, max, step, divisor } => {
            out.extend(histogram::linear(buckets, (*min, *max, *step), *divisor, bars).into_bytes());
        }
        Cell::Distribution { rows, divisor } => out.extend(distribution::picture(rows, *divisor, bars).into_bytes()),
        Cell::Series { interval, points, signed } => {
            out.extend(series::picture(*interval, points, *signed).into_bytes());
        }
    }
}

/// A value as print() shows it.
pub(super) fn render(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    add(&mut out, value);
    out
}

fn add(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Int(n) | Value::Enum { name: None, number: n } => add_number(out, *n),
        Value::Uint(n) => add_number(out, *n),
        Value::Bool(b) => add_text(out, format_args!("{b}")),
        Value::Str(bytes) => out.extend_from_slice(bytes),
        Value::Buffer(bytes) => out.extend(printf::escaped(bytes, false)),
        Value::Pointer(address) => add_text(out, format_args!("{address:#x}")),
        Value::Enum { name: Some(name), .. } | Value::Symbol(name) | Value::Named { text: name, .. } => {
            out.extend_from_slice(name.as_bytes());
        }
        Value::Stack { frames, mode, .. } => {
            // Raw addresses and build ids have no line for a function within another.
            let is_shown = |frame: &&Frame| match mode {
                StackMode::Bpftrace | StackMode::Perf => true,
                StackMode::Raw | StackMode::BuildId => !frame.is_inlined,
            };
            out.push(b'\n');
            for frame in frames.iter().filter(is_shown) {
                out.extend(frame_line(frame, *mode).into_bytes());
            }
        }
        Value::Tuple(parts) => {
            out.push(b'(');
            add_list(out, parts, b", ");
            out.push(b')');
        }
        Value::Record(parts) => {
            out.extend_from_slice(b"{ ");
            for (number, (name, part)) in parts.iter().enumerate() {
                if number > 0 {
                    out.extend_from_slice(b", ");
                }
                if !name.is_empty() {
                    add_text(out, format_args!(".{name} = "));
                }
                add(out, part);
            }
            out.extend_from_slice(b" }");
        }
        Value::Array(parts) => {
            out.push(b'[');
            add_list(out, parts, b",");
            out.push(b']');
        }
    }
}
