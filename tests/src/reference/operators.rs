//! The document about operators: the levels of precedence, and what each operator gives.

use rtrace_lang::precedence::{Grouping, LEVELS, Level};

use super::{cell, head};

pub fn operators() -> String {
    let mut out = head(
        "Operators",
        "`lang/src/precedence.rs`",
        "From those that bind most closely to those that bind least. A test parses each pair and compares.\n\n\
         | level | operator | gives | groups |\n| ---: | --- | --- | --- |",
    );
    for (number, level) in LEVELS.iter().enumerate() {
        for (written, doc) in level.operators {
            let line =
                [&(number + 1).to_string(), &format!("`{}`", cell(written)), &cell(doc), groups(level)].join(" | ");
            out.push_str(&format!("| {line} |\n"));
        }
    }
    out
}

fn groups(level: &Level) -> &'static str {
    match level.grouping {
        Grouping::Behind => "behind its operand",
        Grouping::Before => "before its operand",
        Grouping::Left => "to the left",
        Grouping::Right => "to the right",
        Grouping::Alone => "a statement",
    }
}
