//! What a text that is being typed is: a command, a program, an expression, or the beginning of one. Runs nothing.

use rtrace_lang::ast::{Expr, Item, StmtKind};
use rtrace_lang::lexer::{self, Token};
use rtrace_lang::parse::{is_complete, parse};
use rtrace_lang::span::Span;
use rtrace_probes::provider_named;

/// What stands before an expression to make it a script, and after it.
pub const BEFORE: &str = "BEGIN{$__value=";
const AFTER: &str = "\n;}";

/// What a whole text asks for.
pub enum Meaning {
    Program,
    /// A value to be printed.
    Expression(Expr),
    /// Statements without a probe.
    Statements,
    /// None of these: a script that says what is wrong.
    Mistake(String),
}

pub fn meaning(text: &str) -> Meaning {
    let parsed = parse(text);
    if parsed.diagnostics.is_empty() && !parsed.ast.items.is_empty() {
        return Meaning::Program;
    }
    if let Some(expression) = expression(text) {
        return Meaning::Expression(expression);
    }
    match parse(&statements(text)).diagnostics.is_empty() {
        true => Meaning::Statements,
        false if begins_program(text) => Meaning::Mistake(text.to_string()),
        false => Meaning::Mistake(statements(text)),
    }
}

/// What stands before statements to make them a script.
pub const BEFORE_STATEMENTS: &str = "BEGIN { ";

/// The statements as a script.
pub fn statements(text: &str) -> String {
    format!("{BEFORE_STATEMENTS}{text}\n}}")
}

/// A script in which `$__value` is the expression.
pub fn valued(text: &str) -> String {
    format!("{BEFORE}{text}{AFTER}")
}

/// The text as an expression, if it is one and no more.
pub fn expression(text: &str) -> Option<Expr> {
    // `f();` is a statement.
    if text.trim_end().ends_with(';') {
        return None;
    }
    let parsed = parse(&valued(text));
    let [Item::Clause(clause)] = &parsed.ast.items[..] else { return None };
    match (&clause.body.statements[..], parsed.diagnostics.is_empty()) {
        ([statement], true) => match &statement.kind {
            StmtKind::Assign { op: None, value, .. } => Some(value.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// Nanoseconds, of a text such as `500ms`.
pub fn duration(text: &str) -> Option<u64> {
    match expression(text)?.kind {
        rtrace_lang::ast::ExprKind::Duration(nanoseconds) => Some(nanoseconds),
        _ => None,
    }
}

/// False where the text could go on. An empty line ends what the grammar still waits for.
pub fn is_whole(text: &str) -> bool {
    let trimmed = text.trim();
    if trimmed.is_empty() || trimmed == "?" || trimmed.starts_with(':') || text.ends_with('\n') {
        return true;
    }
    // A provider alone is a value's name as well as the beginning of a probe.
    if provider_named(trimmed).is_some() {
        return false;
    }
    is_complete(text) || expression(text).is_some() || parse(&statements(text)).diagnostics.is_empty()
}

/// True if the text begins like a program: the words at its top are probes.
pub fn begins_program(text: &str) -> bool {
    let first = text.trim_start();
    let word: String = first.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == '*').collect();
    let next = first[word.len()..].trim_start().chars().next();
    text.contains('{') || next == Some(':') || provider_named(&word).is_some()
}

/// The tokens of a text and what stands between them, as a program or as an expression.
pub fn lex(text: &str) -> lexer::Lexed {
    if begins_program(text) {
        return lexer::lex(text);
    }
    let mut lexed = lexer::lex(&format!("{BEFORE}{text}"));
    let start = BEFORE.len() as u32;
    let shifted = |span: Span| Span { start: span.start - start, end: span.end - start };
    lexed.tokens = shift(lexed.tokens, start, shifted);
    lexed.trivia = shift(lexed.trivia, start, shifted);
    lexed
}

fn shift<T>(parts: Vec<(T, Span)>, start: u32, shifted: impl Fn(Span) -> Span) -> Vec<(T, Span)> {
    let behind = parts.into_iter().filter(|(_, span)| span.start >= start);
    behind.map(|(part, span)| (part, shifted(span))).collect()
}

/// Open blocks at the end of the text, and where the last statement or clause begins.
pub fn depth(text: &str) -> (usize, usize) {
    let (mut depth, mut start) = (0usize, 0usize);
    for (token, span) in lex(text).tokens {
        match token {
            Token::LBrace | Token::AngleOpen => depth += 1,
            Token::RBrace | Token::AngleClose => depth = depth.saturating_sub(1),
            Token::Semi => {}
            _ => continue,
        }
        start = span.end as usize;
    }
    (depth, start.min(text.len()))
}
