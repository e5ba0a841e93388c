//! Scripts in one style: [`format`]. Works on the words of a script and on what stands between them, so that comments,
//! empty lines and the spelling of literals survive. Changes nothing but white space and semicolons that mean nothing,
//! and proves it for each script before it answers. Never does IO.

mod blocks;
mod elements;
mod items;
mod printer;
mod roles;
mod spacing;

use crate::ast::dump;
use crate::diagnostic::Diagnostic;
use crate::lexer::{Token, Trivia, lex};
use crate::parse::parse;

use elements::elements;
use printer::Printer;

/// Columns of a line. Longer lists are broken at their commas, and longer blocks are spread over lines.
const WIDTH: usize = 100;

/// Why a script was not formatted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The script has mistakes.
    Mistakes(Vec<Diagnostic>),
    /// The result would not have been the same script: a bug of the formatter. Says what differs.
    Damage(&'static str),
}

/// The script in the one style. Lines end in `\n`, whatever they ended in before.
pub fn format(text: &str) -> Result<String, Refusal> {
    let parsed = parse(text);
    if !parsed.diagnostics.is_empty() {
        return Err(Refusal::Mistakes(parsed.diagnostics));
    }
    let unix = text.replace("\r\n", "\n");
    let mut printer = Printer::new(&unix, elements(&unix));
    printer.script();
    let out = printer.finish();
    match difference(text, &out) {
        None => Ok(out),
        Some(what) => Err(Refusal::Damage(what)),
    }
}

/// What of the script is not the same in both texts, white space and empty statements aside.
fn difference(before: &str, after: &str) -> Option<&'static str> {
    let (old, new) = (parse(before), parse(after));
    if !new.diagnostics.is_empty() {
        return Some("the result has a syntax error");
    }
    if dump(&old.ast).replace("\\r\\n", "\\n") != dump(&new.ast).replace("\\r\\n", "\\n") {
        return Some("the meaning of the script");
    }
    if words(before) != words(after) {
        return Some("the words of the script");
    }
    if between(before) != between(after) {
        return Some("the comments or the preprocessor lines");
    }
    None
}

/// The tokens without the semicolons, as they are written.
fn words(text: &str) -> Vec<String> {
    let tokens = lex(text).tokens;
    let kept = tokens.iter().filter(|(token, _)| *token != Token::Semi);
    kept.map(|(_, span)| text[span.range()].replace("\r\n", "\n").trim_end().to_string()).collect()
}

/// Comments and preprocessor lines, without the white space at both ends of each line.
fn between(text: &str) -> Vec<Vec<&str>> {
    let trivia = lex(text).trivia;
    let kept = trivia.iter().filter(|(kind, _)| *kind != Trivia::Semicolon);
    kept.map(|(_, span)| text[span.range()].trim_end().lines().map(str::trim).collect()).collect()
}

#[cfg(test)]
mod tests;
