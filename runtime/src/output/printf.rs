//! Applies a format string to finished values, as printf(3) does.

pub use rtrace_lang::format::apply::escaped;
use rtrace_lang::format::{Conversion, ConversionKind, Piece, Takes, apply};

use crate::controls::escape_controls;
use crate::event::Value;

use super::text::render;

pub fn format(pieces: &[Piece], values: &[Value]) -> Vec<u8> {
    format_for(pieces, values, false)
}

/// `for_terminal`: the values have no control characters, and none may come of `%c`.
pub fn format_for(pieces: &[Piece], values: &[Value], for_terminal: bool) -> Vec<u8> {
    let mut line = Line::new(for_terminal);
    let mut values = values.iter();
    for piece in pieces {
        match piece {
            Piece::Text(text) => line.text(text),
            Piece::Conversion(conversion) => {
                if let Some(value) = values.next() {
                    line.convert(conversion, value);
                }
            }
        }
    }
    line.finish()
}

/// What a format makes, piece by piece.
pub struct Line {
    out: Vec<u8>,
    for_terminal: bool,
    /// What `%c` gave and nothing else has followed: several of them may be the bytes of one character.
    characters: Vec<u8>,
}

impl Line {
    pub fn new(for_terminal: bool) -> Line {
        Line { out: Vec::new(), for_terminal, characters: Vec::new() }
    }

    pub fn text(&mut self, text: &[u8]) {
        self.end_characters();
        self.out.extend_from_slice(text);
    }

    pub fn convert(&mut self, conversion: &Conversion, value: &Value) {
        if self.for_terminal && conversion.kind == ConversionKind::Character {
            return convert(conversion, value, &mut self.characters);
        }
        self.end_characters();
        convert(conversion, value, &mut self.out);
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.end_characters();
        self.out
    }

    fn end_characters(&mut self) {
        self.out.extend(escape_controls(std::mem::take(&mut self.characters)));
    }
}

fn convert(conversion: &Conversion, value: &Value, out: &mut Vec<u8>) {
    match conversion.kind.takes() {
        Takes::Anything | Takes::Named => apply::text(conversion, render(value), out),
        Takes::Bytes => apply::text(conversion, bytes(conversion.kind, value), out),
        Takes::Number => apply::number(conversion, number_of(value), matches!(value, Value::Uint(_)), out),
    }
}

/// The bytes of a value, as %r and its kin show them.
fn bytes(kind: ConversionKind, value: &Value) -> Vec<u8> {
    let bytes = match value {
        Value::Str(bytes) | Value::Buffer(bytes) => bytes.clone(),
        Value::Array(parts) => parts.iter().map(|part| number_of(part) as u8).collect(),
        other => render(other),
    };
    apply::bytes(kind, &bytes)
}

fn number_of(value: &Value) -> i64 {
    match value {
        Value::Int(n) => *n,
        Value::Uint(n) | Value::Pointer(n) => *n as i64,
        Value::Bool(b) => i64::from(*b),
        Value::Enum { number, .. } | Value::Named { number, .. } => *number,
        Value::Str(_)
        | Value::Buffer(_)
        | Value::Stack { .. }
        | Value::Symbol(_)
        | Value::Tuple(_)
        | Value::Record(_)
        | Value::Array(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtrace_lang::format::parse_format;

    #[track_caller]
    fn check(text: &str, values: &[Value], expected: &str) {
        let pieces = parse_format(text.as_bytes()).expect("a good format");
        assert_eq!(String::from_utf8_lossy(&format(&pieces, values)), expected);
    }

    #[test]
    fn numbers() {
        check(
            "%d|%5d|%-5d|%05d",
            &[Value::Int(-3), Value::Int(-3), Value::Int(-3), Value::Int(-3)],
            "-3|   -3|-3   |-0003",
        );
        check("%x %#x %X %o", &[Value::Int(255), Value::Int(255), Value::Int(255), Value::Int(8)], "ff 0xff FF 10");
        check("% d %+d %.3d", &[Value::Int(5), Value::Int(5), Value::Int(5)], " 5 +5 005");
        check("%hhd %u %lu", &[Value::Int(255), Value::Int(-1), Value::Int(-1)], "-1 4294967295 18446744073709551615");
        check("%llu", &[Value::Uint(u64::MAX)], "18446744073709551615");
        check("%c%c", &[Value::Int(104), Value::Int(105)], "hi");
        check("%p", &[Value::Pointer(4096)], "0x1000");
    }

    #[test]
    fn a_terminal_gets_no_controls_of_numbers() {
        let shown = |text: &[u8], numbers: &[i64], for_terminal| {
            let values: Vec<Value> = numbers.iter().copied().map(Value::Int).collect();
            String::from_utf8(format_for(&parse_format(text).expect("a good format"), &values, for_terminal))
        };
        assert_eq!(shown(b"%c%c%c", &[27, 91, 109], true), Ok("\\x1b[m".to_string()));
        assert_eq!(shown(b"%c%c%c", &[27, 91, 109], false), Ok("\x1b[m".to_string()));
        // A character in two bytes, half of it, and what the script has written itself.
        assert_eq!(
            shown(b"%c%c\x1b[1m|%c|%c", &[0xc3, 0xa9, 0xc3, 10], true),
            Ok("\u{e9}\x1b[1m|\\xc3|\n".to_string())
        );
    }

    #[test]
    fn texts() {
        let text = || Value::Str(b"abc".to_vec());
        check("%s|%5s|%-5s|%.2s", &[text(), text(), text(), text()], "abc|  abc|abc  |ab");
        check("%s", &[Value::Tuple(vec![Value::Int(1), text()])], "(1, abc)");
    }
}
