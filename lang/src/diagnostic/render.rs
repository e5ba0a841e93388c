//! Diagnostics as text for a terminal. The one file that knows codespan-reporting.

use codespan_reporting::diagnostic::{Diagnostic as Rendered, Label};
use codespan_reporting::files::SimpleFiles;
use codespan_reporting::term;

use super::{Diagnostic, Severity};
use crate::source::Source;
use crate::span::Span;

/// The message as rustc would show it: code, place, source line, label, help. Ends with an empty line.
pub fn render(diagnostic: &Diagnostic, source: &Source, colour: bool) -> String {
    let mut files = SimpleFiles::new();
    let known: Vec<(usize, usize, &str)> =
        source.files().map(|(name, start, text)| (files.add(name, text), start, text)).collect();
    let place = |span: Span| {
        let (file, start, text) = known[source.file_of(span.start)];
        let boundary = |at: usize| {
            let mut at = at.saturating_sub(start).min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        (file, boundary(span.start as usize)..boundary(span.end as usize))
    };
    let (file, range) = place(diagnostic.span);
    let mut labels = vec![Label::primary(file, range).with_message(visible(&diagnostic.label))];
    for (span, label) in &diagnostic.others {
        let (file, range) = place(*span);
        labels.push(Label::secondary(file, range).with_message(visible(label)));
    }
    let start = match diagnostic.severity {
        Severity::Error => Rendered::error(),
        Severity::Warning => Rendered::warning(),
    };
    let rendered = start
        .with_code(diagnostic.code.name())
        .with_message(visible(&diagnostic.message))
        .with_labels(labels)
        .with_notes(diagnostic.help.iter().map(|help| format!("help: {}", visible(help))).collect());
    let config = term::Config::default();
    let mut out = Vec::new();
    let result = if colour {
        let mut writer = codespan_reporting::term::termcolor::Ansi::new(&mut out);
        term::emit_to_write_style(&mut writer, &config, &files, &rendered)
    } else {
        let mut writer = codespan_reporting::term::termcolor::NoColor::new(&mut out);
        term::emit_to_write_style(&mut writer, &config, &files, &rendered)
    };
    match result {
        Ok(()) => String::from_utf8_lossy(&out).into_owned(),
        Err(_) => format!("error[{}]: {}\n", diagnostic.code.name(), diagnostic.message),
    }
}

/// Files and programs choose some of the names in a message: without the control characters that a terminal would obey.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_control() && c != '\n' => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}
