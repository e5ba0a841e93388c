//! Values of several parts, and blocks that have a value: records, `{ ...; e }`, `if` as an expression, and what an
//! aggregation holds while the script runs.

use std::borrow::Cow;
use std::sync::Arc;

use crate::aggregations::{Aggregation, AggregationKind, AggregationPart};
use crate::ast;
use crate::calls;
use crate::diagnostic::{Code, Diagnostic};
use crate::hir::{Expr, ExprKind, LocalId, MapId, Stmt, StmtKind, texts};
use crate::span::Span;
use crate::types::Type;

use super::body::Body;
use super::maps::unify;
use super::operators::one_of_both;

/// Texts of names take so much of the global data at most; arrays of more than 4 MiB are refused by the kernel.
const MOST_TEXT_BYTES: u64 = 2 << 20;

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

    /// The value as it stands among values of that type: a name among strings is a string, and the parts of records are in the
    /// order of the names there, `(b = 1, a = 2)` is `(a = 2, b = 1)`.
    pub fn fitted(&mut self, value: Expr, wanted: &Type) -> Expr {
        if let Type::Str(_) = wanted {
            return self.as_text(value);
        }
        if fits_as_it_is(&value.ty, wanted) {
            return value;
        }
        let (first, value) = self.once(value);
        let value = self.fitted_parts(value, wanted);
        self.after(first, value)
    }

    /// The parts of a value that is kept somewhere, as they stand among values of that type.
    fn fitted_parts(&mut self, value: Expr, wanted: &Type) -> Expr {
        if fits_as_it_is(&value.ty, wanted) {
            return value;
        }
        if value.ty.has_text() {
            return self.as_text(value);
        }
        let (span, wanted_parts) = (value.span, wanted.parts());
        let (own, own_names, names) = (value.ty.parts(), names_of(&value.ty), names_of(wanted));
        let mut parts = Vec::new();
        for (number, name) in names.iter().enumerate() {
            let same = own_names.iter().position(|own| name.is_some() && own == name);
            let at = same.unwrap_or(number);
            let offset = own[..at].iter().map(Type::stored_bytes).sum();
            let kind = ExprKind::Part { base: Box::new(value.clone()), offset };
            parts.push(self.fitted_parts(Expr { kind, ty: own[at].clone(), span }, &wanted_parts[number]));
        }
        let types = parts.iter().map(|part| part.ty.clone());
        let ty = match wanted {
            Type::Record(wanted) => Type::Record(wanted.iter().map(|(name, _)| name.clone()).zip(types).collect()),
            _ => Type::Tuple(types.collect()),
        };
        Expr { kind: ExprKind::Tuple(parts), ty, span }
    }

    /// Two values, one of which is to be taken, with a type that holds both; None where there is no such type.
    pub fn joined(&mut self, a: Expr, b: Expr) -> Option<(Expr, Expr, Type)> {
        let b = self.fitted(b, &a.ty);
        let ty = unify(&a.ty, &b.ty)?;
        let (a, b) = (self.fitted(a, &ty), self.fitted(b, &ty));
        let ty = unify(&a.ty, &b.ty)?;
        Some((a, b, ty))
    }

    /// A name as the string that it is; any other value as it is.
    pub fn as_text(&mut self, value: Expr) -> Expr {
        if !value.ty.has_text() {
            return value;
        }
        let span = value.span;
        let Some(texts) = texts(self.checker.sites, &value.ty) else { return value };
        let mut known = match (&value.kind, value.constant()) {
            (ExprKind::Site, _) => self.group.sites.iter().map(|site| site.index()).collect(),
            (_, Some(number @ 0..)) => vec![(number as usize).min(texts.len() - 1)],
            _ => Vec::new(),
        };
        known.dedup_by_key(|at| texts[*at]);
        if let [only] = known[..] {
            let ty = Type::Str(self.checker.items.settings.room_of(texts[only]));
            return Expr { kind: ExprKind::Str(texts[only].as_bytes().into()), ty, span };
        }
        let longest = texts.iter().max_by_key(|text| text.len()).copied().unwrap_or_default();
        let room = self.checker.items.settings.room_of(longest);
        let all = texts.len() as u64 * u64::from(room);
        if all > MOST_TEXT_BYTES {
            return self.fail(
                Diagnostic::error(
                    Code::TooLarge,
                    span,
                    format!("the names of {} probes are strings here", texts.len()),
                )
                .label(format!("a table of {all} bytes, of at most {MOST_TEXT_BYTES}"))
                .help("names take no table where they are printed, are keys, or are compared with a text by `==`"),
            );
        }
        Expr { kind: ExprKind::Convert(Box::new(value)), ty: Type::Str(room), span }
    }

    /// An expression that may stand in several places and gives what this one gave once, after the statements.
    pub fn once(&mut self, value: Expr) -> (Vec<Stmt>, Expr) {
        if value.ty == Type::Unknown || matches!(value.kind, ExprKind::Int(_) | ExprKind::Str(_) | ExprKind::Local(_)) {
            return (Vec::new(), value);
        }
        self.kept(value)
    }

    /// The same in a variable of its own, whatever the expression is.
    pub fn kept(&mut self, value: Expr) -> (Vec<Stmt>, Expr) {
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
        if then.ty == Type::Unknown || otherwise.ty == Type::Unknown || condition.ty == Type::Unknown {
            return unknown;
        }
        let (a, b) = (then.ty.clone(), otherwise.ty.clone());
        let Some((then, otherwise, ty)) = self.joined(then, otherwise) else {
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
                    .help("count(), sum(), avg(), min(), max() and stats() of a key can be read; print(@map) shows all of any map"),
            );
            return None;
        }
        if !self.need_helper(&format!("reading a {name}()"), calls::MAP_LOOKUP_PERCPU_ELEM, span) {
            return None;
        }
        Some(if aggregation.signed { Type::I64 } else { Type::U64 })
    }

    pub fn aggregation_value(&mut self, aggregation: Aggregation, map: MapId, key: Vec<Expr>, span: Span) -> Expr {
        if aggregation.kind == AggregationKind::Stats {
            return self.stats_value(aggregation, map, key, span);
        }
        match self.readable(aggregation, span) {
            Some(ty) => Expr { kind: ExprKind::AggregationValue { map, key, part: AggregationPart::Value }, ty, span },
            None => Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span },
        }
    }

    /// A record of what a stats() holds.
    fn stats_value(&mut self, aggregation: Aggregation, map: MapId, key: Vec<Expr>, span: Span) -> Expr {
        if !self.need_helper("reading a stats()", calls::MAP_LOOKUP_PERCPU_ELEM, span) {
            return Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span };
        }
        let mut first = Vec::new();
        let mut kept = Vec::new();
        for part in key {
            let (statements, part) = self.once(part);
            first.extend(statements);
            kept.push(part);
        }
        let number = if aggregation.signed { Type::I64 } else { Type::U64 };
        let (names, parts): (Vec<_>, Vec<_>) = [
            ("count", AggregationPart::Count, Type::U64),
            ("average", AggregationPart::Value, number.clone()),
            ("total", AggregationPart::Total, number),
        ]
        .into_iter()
        .map(|(name, part, ty)| {
            let kind = ExprKind::AggregationValue { map, key: kept.clone(), part };
            ((Arc::from(name), ty.clone()), Expr { kind, ty, span })
        })
        .unzip();
        let record = Expr { kind: ExprKind::Tuple(parts), ty: Type::Record(names.into()), span };
        self.after(first, record)
    }
}

/// Whether a value of its own type stands among values of the other one without a change; also where nothing makes it fit.
fn fits_as_it_is(own: &Type, wanted: &Type) -> bool {
    match (own, wanted) {
        (Type::Record(own), Type::Record(wanted)) if own.len() == wanted.len() => {
            let of = |name: &str| own.iter().find(|(known, _)| **known == *name).map(|(_, ty)| ty);
            wanted.iter().any(|(name, _)| of(name).is_none())
                || own.iter().zip(wanted.iter()).all(|((a, own), (b, wanted))| a == b && fits_as_it_is(own, wanted))
        }
        (Type::Tuple(own), Type::Tuple(wanted)) if own.len() == wanted.len() => {
            own.iter().zip(wanted.iter()).all(|(own, wanted)| fits_as_it_is(own, wanted))
        }
        (own, Type::Str(_)) => !own.has_text(),
        _ => true,
    }
}

/// The names of a record's parts; a tuple's have none.
fn names_of(ty: &Type) -> Vec<Option<Arc<str>>> {
    match ty {
        Type::Record(parts) => parts.iter().map(|(name, _)| Some(name.clone())).collect(),
        _ => vec![None; ty.parts().len()],
    }
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
