//! Messages as JSON for editors and other programs, an object each: docs/messages.schema.json describes it.

use rtrace_lang::diagnostic::{Diagnostic, Severity, render};
use rtrace_lang::source::Source;
use rtrace_lang::span::Span;
use serde_json::{Value, json};

use super::notices::{Level, Notice};

/// A message about the text of a script.
pub fn of_diagnostic(diagnostic: &Diagnostic, source: &Source) -> Value {
    let primary = (diagnostic.span, diagnostic.label.as_str(), true);
    let others = diagnostic.others.iter().map(|(span, label)| (*span, label.as_str(), false));
    let spans: Vec<Value> = std::iter::once(primary).chain(others).map(|part| span(source, part)).collect();
    json!({
        "code": diagnostic.code.name(),
        "severity": match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "title": diagnostic.message,
        "file": source.locate(diagnostic.span).file,
        "spans": spans,
        "help": diagnostic.help,
        "notes": [format!("{}: {}", diagnostic.code.title(), diagnostic.code.explanation())],
        "machine": diagnostic.machine,
        "rendered": render(diagnostic, source, false),
    })
}

/// Anything else that the tool says.
pub fn of_notice(notice: &Notice) -> Value {
    let at = |place: &crate::event::Place| {
        json!({
            "file": &*place.file, "line": place.line, "column": place.column, "label": place.text, "primary": true
        })
    };
    json!({
        "code": null,
        "severity": match notice.level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
            Level::Output => "output",
        },
        "title": notice.message,
        "file": notice.place.as_ref().map(|place| &*place.file),
        "spans": notice.place.iter().map(at).collect::<Vec<Value>>(),
        "help": notice.help,
        "notes": [],
        "machine": false,
        "rendered": notice.text(),
    })
}

/// A part of a file: bytes count from its start, lines and columns from one, columns in characters.
fn span(source: &Source, (span, label, is_primary): (Span, &str, bool)) -> Value {
    let (_, start, text) = source.files().nth(source.file_of(span.start)).expect("a script is at least one file");
    let inside = |at: u32| {
        let mut at = (at as usize).saturating_sub(start).min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let (from, to) = (inside(span.start), inside(span.end));
    let place = |at: usize| source.locate(Span::new(start + at, start + at));
    let (first, last) = (place(from), place(to));
    json!({
        "file": first.file,
        "start": from,
        "end": to,
        "line": first.line,
        "column": first.column,
        "end_line": last.line,
        "end_column": last.column,
        "label": label,
        "primary": is_primary,
    })
}
