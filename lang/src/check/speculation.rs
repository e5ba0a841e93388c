//! Speculations: what a path prints is held back until it is known whether the path matters.

use crate::ast;
use crate::builtins::{self, Intrinsic};
use crate::hir::{Expr, ExprKind, NO_SPECULATION, RecordKind, StmtKind};
use crate::span::Span;
use crate::types::Type;

use super::body::Body;

impl Body<'_, '_, '_> {
    /// `speculate(id)`, `commit(id)` and `discard(id)`.
    pub fn speculative(&mut self, intrinsic: Intrinsic, arguments: &[ast::Argument], span: Span) -> Option<StmtKind> {
        let (name, record) = match intrinsic {
            Intrinsic::Commit => ("commit", Some(RecordKind::Commit)),
            Intrinsic::Discard => ("discard", Some(RecordKind::Discard)),
            _ => ("speculate", None),
        };
        let id = self.expr(&arguments[0].value);
        if id.ty == Type::Unknown {
            return None;
        }
        if !id.ty.is_integer() {
            let row = builtins::named(name).expect("it has a row");
            self.wrong_type(row, &id, "the number that speculation() gives");
            return None;
        }
        let Some(record) = record else { return Some(self.speculate(id, span)) };
        let record = self.record(record, vec![Type::I64], span);
        Some(StmtKind::Emit { record, parts: vec![id] })
    }

    /// From here on what the clause prints belongs to the speculation; to none that is ever committed if its number is 0.
    fn speculate(&mut self, id: Expr, span: Span) -> StmtKind {
        let local = match self.speculation {
            Some(local) => local,
            None => self.hidden("speculation", &Type::I64),
        };
        self.speculation = Some(local);
        let (first, id) = self.once(id);
        let nowhere = Box::new(Expr::int(i64::from(NO_SPECULATION), span));
        let kind = ExprKind::Ternary { condition: Box::new(id.clone()), then: Box::new(id), otherwise: nowhere };
        let value = self.after(first, Expr { kind, ty: Type::I64, span });
        StmtKind::SetLocal { local, value }
    }
}
