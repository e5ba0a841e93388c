//! Values of several parts, and blocks that have a value: records, `{ ...; e }`, `if` as an expression, and what an
//! aggregation holds while the script runs.

use std::borrow::Cow;
use std::sync::Arc;

use crate::aggregations::{Aggregation, AggregationKind};
use crate::ast;
use crate::calls;
use crate::diagnostic::{Code, Diagnostic};
use crate::hir::{Expr, ExprKind, LocalId, MapId, Stmt, StmtKind};
use crate::span::Span;
use crate::types::Type;

use super::body::Body;
use super::maps::unify;
use super::operators::one_of_both;

impl Body<'_, '_, '_> {
    /// `(x = 1, y = 2)`
    pub fn record_value(&mut self, parts: &[(ast::Name, ast::Expr)], span: Span) -> Expr {
        let unknown = Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span };
        let mut names: Vec<Arc<str>> = Vec::new();
        let mut values = Vec::new();
        for (name, e) in parts {
            if names.iter().any(|known| **known == *name.text) {
                return self.fail(
                    Diagnostic::error(Code::TypeMismatch, name.span, format!("the record has `{}` twice", name.text))
                        .label("named before")
                        .help("each part of a record has a name of its own"),
                );
            }
            names.push(name.text.as_str().into());
            values.push(self.expr(e));
        }
        if values.iter().any(|value| value.ty == Type::Unknown) || !values.iter().all(|value| self.storable(value)) {
            return unknown;
        }
        let ty = Type::Record(names.into_iter().zip(values.iter().map(|value| value.ty.clone())).collect());
        Expr { kind: ExprKind::Tuple(values), ty, span }
    }

    /// The value with the parts of its records in the order of those names in that type: `(b = 1, a = 2)` is `(a = 2, b = 1)`.
    pub fn in_order_of(&mut self, value: Expr, wanted: &Type) -> Expr {
        if in_order(&value.ty, wanted).is_none_or(|ty| ty == value.ty) {
            return value;
        }
        let (first, value) = self.once(value);
        let value = ordered(value, wanted);
        self.after(first, value)
    }

    /// An expression that may stand in several places and gives what this one gave once, after the statements.
    pub fn once(&mut self, value: Expr) -> (Vec<Stmt>, Expr) {
        if value.ty == Type::Unknown || matches!(value.kind, ExprKind::Int(_) | ExprKind::Str(_) | ExprKind::Local(_)) {
            return (Vec::new(), value);
        }
        let span = value.span;
        let local = self.hidden("once", &value.ty);
        let ty = self.local_type(local);
        let statements = vec![Stmt { kind: StmtKind::SetLocal { local, value }, span }];
        (statements, Expr { kind: ExprKind::Local(local), ty, span })
    }

    /// The value, behind statements that it needs.
    pub fn after(&mut self, statements: Vec<Stmt>, value: Expr) -> Expr {
        if statements.is_empty() {
            return value;
        }
        let (ty, span) = (value.ty.clone(), value.span);
        Expr { kind: ExprKind::Block { statements, value: Box::new(value) }, ty, span }
    }

    /// `{ statements; value }`
    pub fn block_value(&mut self, block: &ast::Block, span: Span) -> Expr {
        self.scoped(|inner| {
            let (before, last) = value_of(block);
            let statements = inner.statements(before);
            let Some(value) = last else { return inner.no_value(block.span) };
            let value = inner.expr(&value);
            let value = inner.after(statements, value);
            Expr { span, ..value }
        })
    }

    fn no_value(&mut self, span: Span) -> Expr {
        self.fail(
            Diagnostic::error(Code::TypeMismatch, span, "the block has no value")
                .label("its last statement ends with a `;`")
                .help("end it with an expression without a semicolon: `{ $x + 1 }`"),
        )
    }

    /// `if c { a } else { b }` as a value: a variable that either side sets.
    pub fn if_value(&mut self, inner: &ast::If, span: Span) -> Expr {
        let unknown = Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span };
        let condition = self.condition(&inner.condition);
        // With a condition that is known the other side need not fit.
        if let (ast::ExprKind::Comptime(_), Some(n)) = (&inner.condition.kind, condition.constant()) {
            return match (n != 0, &inner.otherwise) {
                (true, _) => self.block_value(&inner.then, span),
                (false, Some(otherwise)) => self.block_value(otherwise, span),
                (false, None) => self.no_value(span),
            };
        }
        let Some(otherwise) = &inner.otherwise else {
            return self.fail(
                Diagnostic::error(Code::TypeMismatch, span, "an `if` that gives a value needs an `else`")
                    .label("has no value where the condition is false")
                    .help("if $x > 1 { 2 } else { 3 }"),
            );
        };
        let (then, otherwise) = (self.block_value(&inner.then, span), self.block_value(otherwise, span));
        let otherwise = self.in_order_of(otherwise, &then.ty);
        if then.ty == Type::Unknown || otherwise.ty == Type::Unknown || condition.ty == Type::Unknown {
            return unknown;
        }
        let Some(ty) = unify(&then.ty, &otherwise.ty) else {
            let (a, b) = (then.ty.clone(), otherwise.ty.clone());
            return self.fail(
                Diagnostic::error(Code::TypeMismatch, span, format!("the two values are of type {a:#} and {b:#}"))
                    .label("both sides of an `if` give one type")
                    .help(one_of_both(&a, &b)),
            );
        };
        let local = self.hidden("if", &ty);
        let ty = self.local_type(local);
        let set = |local: LocalId, value: Expr| {
            let span = value.span;
            vec![Stmt { kind: StmtKind::SetLocal { local, value }, span }]
        };
        let kind = StmtKind::If { condition, then: set(local, then), otherwise: set(local, otherwise) };
        let value = Box::new(Expr { kind: ExprKind::Local(local), ty: ty.clone(), span });
        Expr { kind: ExprKind::Block { statements: vec![Stmt { kind, span }], value }, ty, span }
    }

    /// What an aggregation holds, where a program can read it as a number; otherwise says why not.
    pub fn readable(&mut self, aggregation: Aggregation, span: Span) -> Option<Type> {
        let readable = match aggregation.kind {
            AggregationKind::Count
            | AggregationKind::Sum
            | AggregationKind::Avg
            | AggregationKind::Min
            | AggregationKind::Max => true,
            AggregationKind::Stats
            | AggregationKind::Stddev
            | AggregationKind::Hist
            | AggregationKind::Lhist
            | AggregationKind::Quantize
            | AggregationKind::Lquantize
            | AggregationKind::Llquantize
            | AggregationKind::Quantiles
            | AggregationKind::Tseries => false,
        };
        let name = aggregation.row().name;
        if !readable {
            self.report(
                Diagnostic::error(Code::TypeMismatch, span, format!("a {name}() is no number that a probe can read"))
                    .label(format!("holds {name}()"))
                    .help("count(), sum(), avg(), min() and max() can be read; print(@map) shows any of them"),
            );
            return None;
        }
        if !self.need_helper(&format!("reading a {name}()"), calls::MAP_LOOKUP_PERCPU_ELEM, span) {
            return None;
        }
        Some(if aggregation.signed { Type::I64 } else { Type::U64 })
    }

    pub fn aggregation_value(&mut self, aggregation: Aggregation, map: MapId, key: Vec<Expr>, span: Span) -> Expr {
        match self.readable(aggregation, span) {
            Some(ty) => Expr { kind: ExprKind::AggregationValue { map, key }, ty, span },
            None => Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span },
        }
    }
}

/// The type with the parts of its records in the order of the other one's; None where their names differ.
fn in_order(own: &Type, wanted: &Type) -> Option<Type> {
    match (own, wanted) {
        (Type::Record(own), Type::Record(wanted)) if own.len() == wanted.len() => {
            let part = |(name, wanted): &(Arc<str>, Type)| {
                let (_, own) = own.iter().find(|(known, _)| known == name)?;
                Some((name.clone(), in_order(own, wanted)?))
            };
            Some(Type::Record(wanted.iter().map(part).collect::<Option<_>>()?))
        }
        (Type::Tuple(own), Type::Tuple(wanted)) if own.len() == wanted.len() => {
            let parts = own.iter().zip(wanted.iter()).map(|(own, wanted)| in_order(own, wanted));
            Some(Type::Tuple(parts.collect::<Option<_>>()?))
        }
        _ => Some(own.clone()),
    }
}

/// The parts of a value that is kept somewhere, put together in that order.
fn ordered(value: Expr, wanted: &Type) -> Expr {
    let Some(ty) = in_order(&value.ty, wanted).filter(|ty| *ty != value.ty) else { return value };
    let span = value.span;
    let names = |ty: &Type| match ty {
        Type::Record(parts) => parts.iter().map(|(name, _)| Some(name.clone())).collect(),
        _ => vec![None; ty.parts().len()],
    };
    let (own, own_names) = (value.ty.parts(), names(&value.ty));
    let wanted_parts = wanted.parts();
    let part = |(number, name): (usize, Option<Arc<str>>)| {
        let at = if name.is_some() { own_names.iter().position(|own| *own == name).unwrap_or(number) } else { number };
        let offset = own[..at].iter().map(Type::stored_bytes).sum();
        let kind = ExprKind::Part { base: Box::new(value.clone()), offset };
        ordered(Expr { kind, ty: own[at].clone(), span }, &wanted_parts[number])
    };
    let parts = names(wanted).into_iter().enumerate().map(part).collect();
    Expr { kind: ExprKind::Tuple(parts), ty, span }
}

/// What stands last in a block and may be its value, and the statements before it. An `if` or a block that stands last needs no
/// semicolon, so that the grammar takes it for a statement.
pub(super) fn value_of(block: &ast::Block) -> (&[ast::Stmt], Option<Cow<'_, ast::Expr>>) {
    if let Some(value) = &block.value {
        return (&block.statements, Some(Cow::Borrowed(value)));
    }
    let Some((last, before)) = block.statements.split_last() else { return (&[], None) };
    let kind = match &last.kind {
        ast::StmtKind::If(inner) => ast::ExprKind::If(inner.clone()),
        ast::StmtKind::Block(inner) => ast::ExprKind::Block(inner.clone()),
        _ => return (&block.statements, None),
    };
    (before, Some(Cow::Owned(ast::Expr { kind, span: last.span })))
}

/// Whether a block ends with a value on all of its ways.
pub(super) fn gives_value(block: &ast::Block) -> bool {
    if block.value.is_some() {
        return true;
    }
    match block.statements.last().map(|last| &last.kind) {
        Some(ast::StmtKind::If(inner)) => gives_value(&inner.then) && inner.otherwise.as_ref().is_some_and(gives_value),
        Some(ast::StmtKind::Block(inner)) => gives_value(inner),
        _ => false,
    }
}
