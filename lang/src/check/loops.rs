//! Loops: over numbers, over the entries of a map, as long as a condition holds, and written out.

use crate::ast;
use crate::calls;
use crate::diagnostic::{Code, Diagnostic};
use crate::hir::{Expr, ExprKind, LoopKind, MapValue, Stmt, StmtKind};
use crate::limits::MOST_UNROLLED;
use crate::span::Span;
use crate::types::Type;

use super::body::Body;

impl Body<'_, '_, '_> {
    pub fn while_loop(&mut self, condition: &ast::Expr, body: &ast::Block, span: Span, out: &mut Vec<Stmt>) {
        let condition = self.condition(condition);
        let body = self.loop_body(body);
        self.push(out, StmtKind::Loop { kind: LoopKind::While(condition), body }, span);
    }

    pub fn range_loop(
        &mut self,
        variable: &ast::Name,
        (from, to): (&ast::Expr, &ast::Expr),
        body: &ast::Block,
        span: Span,
        out: &mut Vec<Stmt>,
    ) {
        let (from, to) = (self.bound(from), self.bound(to));
        let (variable, body) = self.scoped(|inner| {
            let variable = inner.declare(&variable.text, &Type::I64);
            (variable, inner.loop_body(body))
        });
        self.push(out, StmtKind::Loop { kind: LoopKind::Range { variable, from, to }, body }, span);
    }

    fn bound(&mut self, e: &ast::Expr) -> Expr {
        let value = self.expr(e);
        if value.ty == Type::Unknown || value.ty.is_integer() {
            return value;
        }
        let ty = value.ty.clone();
        self.fail(
            Diagnostic::error(Code::TypeMismatch, e.span, format!("a loop counts integers, not {ty:#}"))
                .label(format!("of type {ty:#}"))
                .help("for $i : 0..10 { ... }"),
        )
    }

    pub fn map_loop(
        &mut self,
        variables: &[ast::Name],
        map: &ast::Expr,
        body: &ast::Block,
        span: Span,
        out: &mut Vec<Stmt>,
    ) {
        if !matches!(map.kind, ast::ExprKind::Map { .. }) {
            self.report(
                Diagnostic::error(Code::TypeMismatch, map.span, "a loop goes over a map or over numbers")
                    .label("neither a map nor `from..to`")
                    .help("for $kv : @map { ... } or for $i : 0..10 { ... }"),
            );
            return;
        }
        if !self.need_helper("a loop over a map", calls::FOR_EACH_MAP_ELEM, span) {
            return;
        }
        let Some(id) = self.map_argument(map) else { return };
        let keys = self.checker.maps.key(id).map(<[Type]>::to_vec);
        let key = match keys.as_deref() {
            None => Type::Unknown,
            Some([]) => {
                let name = self.checker.maps.name(id).to_string();
                self.report(
                    Diagnostic::error(Code::TypeMismatch, map.span, format!("@{name} has no keys to go through"))
                        .label("a map without keys holds one value")
                        .help(format!("use its value: `@{name}`")),
                );
                return;
            }
            Some([one]) => one.clone(),
            Some(several) => Type::Tuple(several.into()),
        };
        let value = match self.checker.maps.value(id).cloned() {
            None => Type::Unknown,
            Some(MapValue::Plain(ty)) => ty,
            Some(MapValue::Aggregation(aggregation)) => match self.readable(aggregation, map.span) {
                Some(ty) => ty,
                None => return,
            },
        };
        let (kind, body) = self.scoped(|inner| match variables {
            [both] => {
                let (key_local, value_local) = (inner.hidden("key", &key), inner.hidden("value", &value));
                let ty = Type::Tuple([key.clone(), value.clone()].into());
                let is_known = key != Type::Unknown && value != Type::Unknown;
                let both_local = inner.declare(&both.text, if is_known { &ty } else { &Type::Unknown });
                let mut statements = Vec::new();
                let part = |local, ty: &Type| Expr { kind: ExprKind::Local(local), ty: ty.clone(), span: both.span };
                let parts = vec![part(key_local, &key), part(value_local, &value)];
                let entry = Expr { kind: ExprKind::Tuple(parts), ty, span: both.span };
                inner.push(&mut statements, StmtKind::SetLocal { local: both_local, value: entry }, both.span);
                statements.extend(inner.loop_body(body));
                (LoopKind::Map { map: id, key: key_local, value: value_local }, statements)
            }
            several => {
                let key = inner.declare(&several[0].text, &key);
                let value = inner.declare(&several[1].text, &value);
                (LoopKind::Map { map: id, key, value }, inner.loop_body(body))
            }
        });
        self.push(out, StmtKind::Loop { kind, body }, span);
    }

    pub fn unroll(&mut self, count: &ast::Expr, body: &ast::Block, span: Span, out: &mut Vec<Stmt>) {
        let value = self.expr(count);
        let count = match value.constant() {
            Some(n) if (1..=i64::from(MOST_UNROLLED)).contains(&n) => n as u32,
            None if value.ty == Type::Unknown => 1,
            constant => {
                let (code, label) = match constant {
                    Some(n) => (Code::BadValue, format!("{n} times")),
                    None => (Code::NotConstant, "known only when the probe fires".to_string()),
                };
                self.report(
                    Diagnostic::error(code, value.span, format!("unroll takes a constant from 1 to {MOST_UNROLLED}"))
                        .label(label)
                        .help("a loop takes any number: for $i : 0..$n { ... }"),
                );
                1
            }
        };
        let body = self.loop_body(body);
        self.push(out, StmtKind::Loop { kind: LoopKind::Unroll(count), body }, span);
    }
}
