//! `#define`: a name for an expression, with or without parameters, as C's headers write them.

use crate::ast::{Block, Expr, ExprKind, Item, Stmt, StmtKind};
use crate::parse::parse;
use crate::span::Span;

use super::Macro;

/// What turns an expression into a script, and how many bytes stand before it.
const BEFORE: &str = "END{_=(";
const AFTER: &str = ")}";

/// The macro of a directive; None for other directives, and for definitions of what is no expression (an include guard,
/// an attribute): using those is an error at the place of use.
pub fn read(text: &str, span: Span) -> Option<Macro> {
    let rest = text.trim_start_matches('#').trim_start().strip_prefix("define")?.trim_start();
    let name_end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let (name, mut rest) = rest.split_at(name_end);
    let mut parameters = Vec::new();
    if let Some(inside) = rest.strip_prefix('(') {
        let (list, behind) = inside.split_once(')')?;
        for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            parameters.push(Expr { kind: ExprKind::Ident(word.to_string()), span });
        }
        rest = behind;
    }
    let start = span.start as usize + (text.len() - rest.len());
    let value = without_comments(rest);
    if name.is_empty() || value.trim().is_empty() || start < BEFORE.len() {
        return None;
    }
    // Parsed where it stands, so that messages point there.
    let script = format!("{}{BEFORE}{value}{AFTER}", " ".repeat(start - BEFORE.len()));
    let mut parsed = parse(&script);
    if !parsed.diagnostics.is_empty() || parsed.ast.items.len() != 1 {
        return None;
    }
    let Some(Item::Clause(clause)) = parsed.ast.items.pop() else { return None };
    let mut statements = clause.body.statements;
    match (statements.pop(), statements.is_empty()) {
        (Some(Stmt { kind: StmtKind::Discard(value), .. }), true) => Some(Macro {
            name: name.to_string(),
            parameters,
            body: Block { statements: Vec::new(), value: Some(Box::new(value)), span },
            is_define: true,
        }),
        _ => None,
    }
}

/// The text with its comments and the ends of continued lines blanked out: everything else keeps its place.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("\\\n") {
            2
        } else if rest.starts_with("\\\r\n") {
            3
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.extend(std::iter::repeat_n(' ', length));
        rest = &rest[length..];
    }
    out
}
