//! Diagnostics as text for a terminal. The one file that knows codespan-reporting.

use codespan_reporting::diagnostic::{Diagnostic as Rendered, Label};
use codespan_reporting::files::SimpleFile;
use codespan_reporting::term;

use super::{Diagnostic, Severity};

/// The message as rustc would show it: code, place, source line, label, help. Ends with an empty line.
pub fn render(diagnostic: &Diagnostic, file_name: &str, text: &str, colour: bool) -> String {
    let clamp = |range: std::ops::Range<usize>| {
        let boundary = |mut at: usize| {
            at = at.min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        boundary(range.start)..boundary(range.end)
    };
    let mut labels = vec![Label::primary((), clamp(diagnostic.span.range())).with_message(&diagnostic.label)];
    for (span, label) in &diagnostic.others {
        labels.push(Label::secondary((), clamp(span.range())).with_message(label));
    }
    let start = match diagnostic.severity {
        Severity::Error => Rendered::error(),
        Severity::Warning => Rendered::warning(),
    };
    let rendered = start
        .with_code(diagnostic.code.name())
        .with_message(&diagnostic.message)
        .with_labels(labels)
        .with_notes(diagnostic.help.iter().map(|help| format!("help: {help}")).collect());
    let file = SimpleFile::new(file_name, text);
    let config = term::Config::default();
    let mut out = Vec::new();
    let result = if colour {
        let mut writer = codespan_reporting::term::termcolor::Ansi::new(&mut out);
        term::emit_to_write_style(&mut writer, &config, &file, &rendered)
    } else {
        let mut writer = codespan_reporting::term::termcolor::NoColor::new(&mut out);
        term::emit_to_write_style(&mut writer, &config, &file, &rendered)
    };
    match result {
        Ok(()) => String::from_utf8_lossy(&out).into_owned(),
        Err(_) => format!("error[{}]: {}\n", diagnostic.code.name(), diagnostic.message),
    }
}
