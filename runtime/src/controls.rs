//! Control characters in what traced programs, files and scripts choose: a terminal would obey them.

use std::sync::Arc;

use crate::event::{Frame, Value};

/// The value with the control characters of its strings and names as `\x1b`: traced programs choose them, and a terminal
/// would obey. Line feeds and tabs stay.
pub fn without_controls(value: Value) -> Value {
    match value {
        Value::Str(bytes) => Value::Str(escape_controls(bytes)),
        Value::Named { text, number } => Value::Named { text: escape_text(text), number },
        Value::Symbol(text) => Value::Symbol(escape_text(text)),
        Value::Stack { frames, mode, user } => {
            let escaped = |frame: &Frame| Frame {
                symbol: frame.symbol.clone().map(escape_text),
                module: frame.module.clone().map(escape_text),
                line: frame.line.clone().map(escape_text),
                ..frame.clone()
            };
            Value::Stack { frames: frames.iter().map(escaped).collect(), mode, user }
        }
        Value::Tuple(parts) => Value::Tuple(parts.into_iter().map(without_controls).collect()),
        Value::Record(parts) => {
            Value::Record(parts.into_iter().map(|(name, part)| (name, without_controls(part))).collect())
        }
        Value::Array(parts) => Value::Array(parts.into_iter().map(without_controls).collect()),
        Value::Int(_) | Value::Uint(_) | Value::Bool(_) | Value::Buffer(_) | Value::Pointer(_) | Value::Enum { .. } => {
            value
        }
    }
}

fn escape_text(text: Arc<str>) -> Arc<str> {
    if text.chars().any(is_control) {
        String::from_utf8_lossy(&escape_controls(text.as_bytes().to_vec())).into()
    } else {
        text
    }
}

fn is_control(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
}

/// Bytes that are no UTF-8 are escaped as well: alone, some of them are controls.
pub fn escape_controls(bytes: Vec<u8>) -> Vec<u8> {
    if std::str::from_utf8(&bytes).is_ok_and(|text| !text.chars().any(is_control)) {
        return bytes;
    }
    let escape = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut buffer = [0; 4];
            if is_control(c) { out.push_str(&escape(c.encode_utf8(&mut buffer).as_bytes())) } else { out.push(c) }
        }
        out.push_str(&escape(chunk.invalid()));
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_no_controls() {
        let shown = |bytes: &[u8]| String::from_utf8(escape_controls(bytes.to_vec())).expect("text");
        assert_eq!(shown("sch\u{f6}n\t1\n".as_bytes()), "sch\u{f6}n\t1\n");
        assert_eq!(shown(b"\x1b[2Jx\x07\r\x7f"), "\\x1b[2Jx\\x07\\x0d\\x7f");
        // C1, as UTF-8 and alone.
        assert_eq!(shown(b"\xc2\x9b2J"), "\\xc2\\x9b2J");
        assert_eq!(shown(b"\x9b2J"), "\\x9b2J");
    }
}
