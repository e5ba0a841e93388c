//! The documents about builtins and aggregations: one paragraph for each row. Decides nothing but the order.

use rtrace_lang::aggregations::AGGREGATIONS;
use rtrace_lang::builtins::{self, Builtin, Lowering};

use super::{head, paragraph, verbatim};

pub fn builtins() -> String {
    let (bare, functions): (Vec<&Builtin>, Vec<&Builtin>) = builtins::all().partition(|row| row.bare);
    let mut out = head(
        "Builtins",
        "the tables in `lang/src/builtins/`",
        "Bare words may stand without parentheses; functions are called. `= x` in a signature is what holds where the argument is\n\
         left out. `argN` (`arg0`, `arg1` ...) is an argument of the probe by its number. Each example is a whole script, and a\n\
         test loads it.",
    );
    for (title, mut rows) in [("Bare words", bare), ("Functions", functions)] {
        rows.sort_by_key(|row| row.name);
        out.push_str(&format!("\n## {title}\n\n{}", paragraph(rows.iter().map(|row| link(row.name)))));
        for row in rows {
            out.push_str(&entry(row.name, row.signature, row.doc));
            if row.is_unsafe {
                out.push_str("Needs `--unsafe`.\n");
            }
            match row.lowering {
                Lowering::Macro(_) => out.push_str("It is a macro, written in the language.\n"),
                Lowering::Helper { .. } | Lowering::Intrinsic(_) => {}
            }
            out.push_str(&format!("\n{}", verbatim(row.example)));
        }
    }
    out
}

/// A word that leads to the row's paragraph.
fn link(name: &str) -> String {
    format!("[{name}](#{name})")
}

fn entry(name: &str, signature: &str, doc: &str) -> String {
    format!("\n### {name}\n\n{}\n{doc}\n", verbatim(signature))
}

pub fn aggregations() -> String {
    let mut out = head(
        "Aggregations",
        "`lang/src/aggregations.rs`",
        "They stand alone on the right side of an assignment to a map: `@x = count();`. Each processor keeps a part of its own;\n\
         the parts are put together when the map is read or printed. [The language](../language.md#aggregations) shows some of\n\
         them at work.",
    );
    out.push_str(&format!("\n{}", paragraph(AGGREGATIONS.iter().map(|row| link(row.name)))));
    for row in AGGREGATIONS {
        out.push_str(&entry(row.name, row.signature, row.doc));
        out.push_str(&format!("\n{}", verbatim(row.example)));
    }
    out
}
