//! Lines of printa(): by a format, or in the columns that D has.

use rtrace_lang::format::{Conversion, ConversionKind, Piece};

use crate::event::{Cell, Value};

use super::printf::Line;
use super::text::{body, render};

/// One line by a format: each conversion takes the next part of the key, one with `@` the next value. A single value is
/// shown as often as it is asked for.
pub fn line(pieces: &[Piece], key: &[Value], cells: &[Cell], for_terminal: bool) -> Vec<u8> {
    let mut line = Line::new(for_terminal);
    let (mut key, mut number) = (key.iter(), 0);
    for piece in pieces {
        match piece {
            Piece::Text(text) => line.text(text),
            Piece::Conversion(conversion) if conversion.aggregation => {
                if let Some(cell) = cells.get(number.min(cells.len() - 1)) {
                    value(conversion, cell, &mut line);
                }
                number += 1;
            }
            Piece::Conversion(conversion) => {
                if let Some(part) = key.next() {
                    line.convert(conversion, part);
                }
            }
        }
    }
    line.finish()
}

fn value(conversion: &Conversion, cell: &Cell, line: &mut Line) {
    match cell {
        Cell::Value(value) => line.convert(conversion, value),
        Cell::Number { value, signed: true } => line.convert(conversion, &Value::Int(*value)),
        Cell::Number { value, signed: false } => line.convert(conversion, &Value::Uint(*value as u64)),
        Cell::Stats { .. } | Cell::Quantiles { .. } => {
            let text = Value::Str(body(cell).into_bytes());
            line.convert(&Conversion { kind: ConversionKind::Text, precision: None, ..conversion.clone() }, &text);
        }
        Cell::Hist { .. } | Cell::Lhist { .. } | Cell::Distribution { .. } | Cell::Series { .. } => {
            // A picture begins on a line of its own, and the format goes on behind it.
            line.text(b"\n");
            line.text(body(cell).as_bytes());
        }
    }
}

/// One line without a format: numbers to the right, all other keys to the left.
pub fn columns(key: &[Value], cells: &[Cell], out: &mut Vec<u8>) {
    for part in key {
        let text = String::from_utf8_lossy(&render(part)).into_owned();
        let column = match part {
            Value::Int(_) | Value::Uint(_) => format!(" {text:>16}"),
            Value::Bool(_)
            | Value::Str(_)
            | Value::Buffer(_)
            | Value::Pointer(_)
            | Value::Enum { .. }
            | Value::Named { .. }
            | Value::Stack { .. }
            | Value::Symbol(_)
            | Value::Tuple(_)
            | Value::Record(_)
            | Value::Array(_) => format!("  {text:<50}"),
        };
        out.extend_from_slice(column.as_bytes());
    }
    for cell in cells {
        match cell {
            Cell::Value(_) | Cell::Number { .. } => {
                out.extend_from_slice(format!(" {:>16}", body(cell)).as_bytes());
            }
            Cell::Stats { .. } | Cell::Quantiles { .. } => {
                out.extend_from_slice(format!(" {}", body(cell)).as_bytes());
            }
            Cell::Hist { .. } | Cell::Lhist { .. } | Cell::Distribution { .. } | Cell::Series { .. } => {
                out.push(b'\n');
                out.extend_from_slice(body(cell).as_bytes());
            }
        }
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtrace_lang::format::parse_format;

    #[test]
    fn a_line() {
        let pieces = parse_format(b"%-4s|%@5d|%5@d|%d\n").expect("a good format");
        let key = [Value::Str(b"ab".to_vec()), Value::Int(7)];
        let cells = [Cell::Number { value: -3, signed: true }, Cell::Number { value: -1, signed: false }];
        let out = line(&pieces, &key, &cells, false);
        assert_eq!(String::from_utf8_lossy(&out), "ab  |   -3|18446744073709551615|7\n");
    }
}
