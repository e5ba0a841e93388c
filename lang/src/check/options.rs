//! `getopt()`: parameters of the command line that have names, and what a script says of its own ones.

use crate::ast;
use crate::diagnostic::{Code, Diagnostic};
use crate::hir::Expr;
use crate::lexer::{Number, parse_number};
use crate::span::Span;
use crate::types::Type;

use super::body::Body;

/// A parameter that a script asks for by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScriptOption {
    pub name: String,
    /// The value without it, as the script writes it; None for what is there or not.
    pub default: Option<String>,
    pub help: String,
}

impl Body<'_, '_, '_> {
    /// `getopt("name")`, `getopt("name", default)`, `getopt("name", default, "help")`.
    pub fn option(&mut self, arguments: &[ast::Argument], span: Span) -> Expr {
        let unknown = Expr { ty: Type::Unknown, ..Expr::int(0, span) };
        let row = crate::builtins::named("getopt").expect("getopt has a row");
        let Some(name) = self.literal(row, &arguments[0].value) else { return unknown };
        let help = match arguments.get(2) {
            Some(help) => match self.literal(row, &help.value) {
                Some(help) => help,
                None => return unknown,
            },
            None => String::new(),
        };
        let default = arguments.get(1).map(|default| default.value.clone());
        let shown = default.as_ref().and_then(|default| match &default.kind {
            ast::ExprKind::Bool(_) => None,
            ast::ExprKind::Str(text) => Some(format!("{:?}", String::from_utf8_lossy(text))),
            ast::ExprKind::Int(n) | ast::ExprKind::Duration(n) => Some(n.to_string()),
            _ => Some("...".to_string()),
        });
        let option = ScriptOption { name: name.clone(), default: shown, help };
        if !self.checker.script_options.iter().any(|known| known.name == name) {
            self.checker.script_options.push(option);
        }
        let given = self.checker.options.named.iter().rev().find(|(known, _)| *known == name).cloned();
        let default = match default {
            Some(default) => self.expr(&default),
            None => Expr { ty: Type::Bool, ..Expr::int(0, span) },
        };
        let Some((_, value)) = given else { return Expr { span, ..default } };
        let wrong = |what: &str| {
            Diagnostic::error(Code::BadValue, span, format!("--{name} takes {what}"))
                .label(match &value {
                    Some(value) => format!("given {value:?}"),
                    None => "given without a value".to_string(),
                })
                .help(format!("--{name}=VALUE"))
        };
        match (&default.ty, value.as_deref()) {
            (Type::Unknown, _) => unknown,
            (Type::Bool, None | Some("true" | "1")) => Expr { ty: Type::Bool, ..Expr::int(1, span) },
            (Type::Bool, Some("false" | "0")) => Expr { ty: Type::Bool, ..Expr::int(0, span) },
            (Type::Bool, Some(_)) => self.fail(wrong("true or false, or nothing")),
            (Type::Str(_), Some(text)) => self.string(text.as_bytes(), span),
            (Type::Str(_), None) => self.fail(wrong("a text")),
            (_, Some(text)) => match number(text) {
                Some(n) => Expr { ty: default.ty.clone(), ..Expr::int(n, span) },
                None => self.fail(wrong("a number")),
            },
            (_, None) => self.fail(wrong("a number")),
        }
    }
}

/// A number of the command line, as the language writes numbers.
pub fn number(text: &str) -> Option<i64> {
    let (digits, is_negative) = match text.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match parse_number(digits) {
        Ok(Number::Int(n) | Number::Duration(n)) => {
            Some(if is_negative { (n as i64).wrapping_neg() } else { n as i64 })
        }
        Err(_) => None,
    }
}
