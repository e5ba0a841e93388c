//! Places in a text as editors count them: lines, and in a line 16-bit units. Neither is ever out of the text.

use serde_json::{Value, json};

use rtrace_lang::span::Span;

/// The byte at a place; the end of its line where the line is shorter.
pub fn offset(text: &str, place: &Value) -> usize {
    let line = place["line"].as_u64().unwrap_or(0) as usize;
    let units = place["character"].as_u64().unwrap_or(0) as usize;
    let Some(start) = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).nth(line) else {
        return text.len();
    };
    let mut left = units;
    for (at, c) in text[start..].char_indices() {
        if left == 0 || c == '\n' {
            return start + at;
        }
        left = left.saturating_sub(c.len_utf16());
    }
    text.len()
}

pub fn position(text: &str, at: usize) -> Value {
    let before = &text[..at.min(text.len())];
    let line = before.matches('\n').count();
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    json!({ "line": line, "character": before[start..].encode_utf16().count() })
}

pub fn range(text: &str, span: Span) -> Value {
    json!({ "start": position(text, span.range().start), "end": position(text, span.range().end) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        let text = "a\u{e4}\u{1f600}b\nsecond\n";
        for (at, line, character) in [(0, 0, 0), (3, 0, 2), (7, 0, 4), (8, 0, 5), (9, 1, 0), (15, 1, 6), (16, 2, 0)] {
            let place = json!({ "line": line, "character": character });
            assert_eq!(position(text, at), place);
            assert_eq!(offset(text, &place), at);
        }
        assert_eq!(offset(text, &json!({ "line": 0, "character": 99 })), 8);
        assert_eq!(offset(text, &json!({ "line": 99, "character": 0 })), text.len());
    }
}
