//! `fail("format", constants)`: a message of the script's own about the script, put together when it is checked.

use crate::ast;
use crate::diagnostic::{Code, Diagnostic};
use crate::format::{Conversion, Piece, Takes, apply};
use crate::hir::{Expr, ExprKind};
use crate::span::Span;
use crate::types::Type;

use super::body::Body;

impl Body<'_, '_, '_> {
    /// Refuses the script with the message; what is wrong with the message itself is told in its place.
    pub fn failure(&mut self, arguments: &[ast::Argument], span: Span) -> Expr {
        match self.failure_text(arguments, span) {
            Ok(message) => self.fail(
                Diagnostic::error(Code::BadValue, span, message)
                    .label("this is reached")
                    .help("`if comptime ...` around it decides when the script is compiled"),
            ),
            Err(unknown) => unknown,
        }
    }

    fn failure_text(&mut self, arguments: &[ast::Argument], span: Span) -> Result<String, Expr> {
        let unknown = || Expr { ty: Type::Unknown, ..Expr::int(0, span) };
        let row = crate::builtins::named("fail").expect("fail has a row");
        let Some((format, values)) = arguments.split_first() else { return Err(unknown()) };
        if self.literal(row, &format.value).is_none() {
            return Err(unknown());
        }
        let ast::ExprKind::Str(text) = &format.value.kind else { return Err(unknown()) };
        let Some(pieces) = self.format(text, format.value.span) else { return Err(unknown()) };
        let values: Vec<Expr> = values.iter().map(|value| self.expr(&value.value)).collect();
        if values.iter().any(|value| value.ty == Type::Unknown) {
            return Err(unknown());
        }
        if !self.as_many_as_conversions(&pieces, values.len(), span) {
            return Err(unknown());
        }
        let mut out = Vec::new();
        let mut values = values.iter();
        for piece in &pieces {
            match (piece, piece.conversion().and_then(|_| values.next())) {
                (Piece::Conversion(conversion), Some(value)) => self.convert_constant(conversion, value, &mut out)?,
                (Piece::Text(text), _) => out.extend_from_slice(text),
                (Piece::Conversion(_), None) => unreachable!("each has its value"),
            }
        }
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    fn convert_constant(&mut self, conversion: &Conversion, value: &Expr, out: &mut Vec<u8>) -> Result<(), Expr> {
        match (conversion.kind.takes(), &value.kind) {
            (Takes::Number, ExprKind::Int(number)) => {
                apply::number(conversion, *number, value.ty == Type::U64, out);
            }
            (Takes::Anything, ExprKind::Int(number)) => {
                let text = match value.ty {
                    Type::Bool => (*number != 0).to_string(),
                    _ if value.ty == Type::U64 => (*number as u64).to_string(),
                    _ => number.to_string(),
                };
                apply::text(conversion, text.into_bytes(), out);
            }
            (Takes::Anything, ExprKind::Str(text)) => apply::text(conversion, text.to_vec(), out),
            (Takes::Bytes, ExprKind::Str(text)) => {
                apply::text(conversion, apply::bytes(conversion.kind, text), out);
            }
            (_, ExprKind::Int(_) | ExprKind::Str(_)) => {
                let (written, ty) = (conversion.kind.written(), value.ty.clone());
                return Err(self.fail(
                    Diagnostic::error(Code::Format, value.span, format!("{written} of fail() does not take {ty:#}"))
                        .label(format!("of type {ty:#}"))
                        .help("%d shows a number, %s a string"),
                ));
            }
            _ => {
                return Err(self.fail(
                    Diagnostic::error(
                        Code::NotConstant,
                        value.span,
                        "fail() shows constants: it is met before the script runs",
                    )
                    .label("not a constant")
                    .help("errorf() prints an error while the script runs, and `exit(1)` ends it"),
                ));
            }
        }
        Ok(())
    }
}
