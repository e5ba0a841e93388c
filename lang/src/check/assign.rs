//! Assignments to variables and maps.

use crate::aggregations;
use crate::ast;
use crate::diagnostic::{Code, Diagnostic};
use crate::expand::{THREAD, written_map};
use crate::hir::{Expr, ExprKind, MapId, MapValue, Stmt, StmtKind};
use crate::span::Span;
use crate::target::Feature;
use crate::types::Type;

use super::body::Body;
use super::maps::widened;
use super::operators::{in_bytes, instead_of_number};

impl Body<'_, '_, '_> {
    pub fn assign(
        &mut self,
        target: &ast::Expr,
        op: Option<ast::BinaryOp>,
        value: &ast::Expr,
        span: Span,
        out: &mut Vec<Stmt>,
    ) {
        let kind = match &target.kind {
            ast::ExprKind::Variable(name) => {
                let mut value = match op {
                    Some(op) => self.binary(op, target, value, span),
                    None => self.expr(value),
                };
                if !self.storable(&value) {
                    return;
                }
                let local = match self.lookup(name) {
                    Some(local) => {
                        if let Some(declared) = self.declared_type(local) {
                            value = self.convert(value, &declared, span);
                        }
                        value = self.fitted(value, &self.local_type(local));
                        self.assign_local(local, &mut value, span);
                        local
                    }
                    None if op.is_some() => return,
                    None => self.declare_for(name, &mut value),
                };
                StmtKind::SetLocal { local, value }
            }
            ast::ExprKind::Map { name, keys } => {
                let (map, key) = self.map_place(name, keys, target.span);
                self.checker.maps.note_assigned(map);
                match (op, &value.kind) {
                    (None, ast::ExprKind::Call { name: function, arguments })
                        if aggregations::named(&function.text).is_some() =>
                    {
                        let Some(kind) = self.aggregate(map, key, function, arguments, value.span) else { return };
                        kind
                    }
                    (None, ast::ExprKind::Ident(function)) if aggregations::named(function).is_some() => {
                        let function = ast::Name { text: function.clone(), span: value.span };
                        let Some(kind) = self.aggregate(map, key, &function, &[], value.span) else { return };
                        kind
                    }
                    (None, _) => {
                        let mut value = self.expr(value);
                        if !self.storable(&value) {
                            return;
                        }
                        if let Some(MapValue::Plain(known)) = self.checker.maps.value(map).cloned() {
                            value = self.fitted(value, &known);
                        }
                        self.assign_map(map, &value);
                        StmtKind::SetMap { map, key, value }
                    }
                    (Some(op), _) => {
                        let operand = self.expr(value);
                        match self.update_map(map, key, op, operand, false, span) {
                            Some(update) => StmtKind::Expr(update),
                            None => return,
                        }
                    }
                }
            }
            _ => {
                self.expr(value);
                self.report(
                    Diagnostic::error(Code::NotAssignable, target.span, "this cannot be assigned")
                        .label("neither a $variable nor an @map")
                        .help("assign to a $variable or an @map; to compare, write `==`"),
                );
                return;
            }
        };
        out.push(Stmt { kind, span });
    }

    /// The map and its keys, their types agreed with its other uses.
    pub fn map_place(&mut self, name: &str, keys: &[ast::Expr], span: Span) -> (MapId, Vec<Expr>) {
        let map = self.checker.maps.id(name, span);
        let mut key = Vec::new();
        // The storage of a task has no keys.
        if name.starts_with(THREAD) && (!keys.is_empty() || !self.checker.target.has(Feature::TaskStorage)) {
            key.push(Expr { kind: ExprKind::CurrentTask, ty: Type::U64, span });
        }
        for e in keys {
            let part = self.expr(e);
            match part.kind {
                // A tuple as the only key is the same as its parts.
                ExprKind::Tuple(parts) if keys.len() == 1 && matches!(part.ty, Type::Tuple(_)) => key.extend(parts),
                kind if keys.len() == 1 && matches!(part.ty, Type::Tuple(_)) => {
                    let tuple = Expr { kind, ty: part.ty, span: part.span };
                    key.extend(self.parts_of(tuple));
                }
                kind => key.push(Expr { kind, ty: part.ty, span: part.span }),
            }
        }
        for part in &key {
            self.storable(part);
        }
        if let Some(known) = self.checker.maps.key(map).map(<[Type]>::to_vec) {
            let ordered = key.into_iter().enumerate();
            key = ordered.map(|(at, part)| self.fitted(part, known.get(at).unwrap_or(&Type::Unknown))).collect();
        }
        let types: Vec<(Type, Span)> = key.iter().map(|part| (part.ty.clone(), part.span)).collect();
        match self.checker.maps.unify_key(map, &types, span) {
            Ok(changed) => self.checker.changed |= changed,
            Err(diagnostic) => self.report(*diagnostic),
        }
        (map, key)
    }

    /// The parts of a tuple that is kept somewhere, which is evaluated once.
    fn parts_of(&mut self, tuple: Expr) -> Vec<Expr> {
        let (mut first, tuple) = self.once(tuple);
        let Type::Tuple(types) = tuple.ty.clone() else { return vec![tuple] };
        let mut offset = 0;
        let mut parts = Vec::new();
        for ty in types.iter() {
            let kind = ExprKind::Part { base: Box::new(tuple.clone()), offset };
            let part = Expr { kind, ty: ty.clone(), span: tuple.span };
            parts.push(self.after(std::mem::take(&mut first), part));
            offset += ty.stored_bytes();
        }
        parts
    }

    pub fn set_map_type(&mut self, map: MapId, value: MapValue, span: Span) {
        match self.checker.maps.unify_value(map, value, span) {
            Ok(changed) => self.checker.changed |= changed,
            Err(diagnostic) => self.report(*diagnostic),
        }
    }

    /// True if a value of this type can be kept in a map, a key or an event; otherwise it says why not.
    pub fn storable(&mut self, value: &Expr) -> bool {
        let ok = match &value.ty {
            Type::Void => false,
            Type::Struct(_) | Type::Array { .. } | Type::Buffer(_) => true,
            Type::Tuple(parts) => !parts.contains(&Type::Void),
            Type::Record(_) => true,
            Type::Bool
            | Type::Int { .. }
            | Type::Enum(_)
            | Type::Str(_)
            | Type::Pointer { .. }
            | Type::Stack { .. }
            | Type::Symbol { .. }
            | Type::ProbeName
            | Type::FunctionName
            | Type::ModuleName
            | Type::EventName
            | Type::Timestamp(_)
            | Type::Shown(_)
            | Type::Inet
            | Type::Unknown => true,
        };
        if !ok {
            self.report(
                Diagnostic::error(Code::TypeMismatch, value.span, "this has no value")
                    .label("gives nothing that could be kept")
                    .help("call it as a statement of its own"),
            );
        }
        ok
    }

    /// `@m[k] op= e` as an expression.
    pub fn update_map(
        &mut self,
        map: MapId,
        key: Vec<Expr>,
        op: ast::BinaryOp,
        operand: Expr,
        old: bool,
        span: Span,
    ) -> Option<Expr> {
        if let Some(MapValue::Aggregation(aggregation)) = self.checker.maps.value(map) {
            let row = aggregation.row();
            let name = self.checker.maps.name(map).to_string();
            self.report(
                Diagnostic::error(
                    Code::TypeMismatch,
                    span,
                    format!("@{name} holds {}() and cannot be changed by hand", row.name),
                )
                .label("an aggregation")
                .help(format!("add to it with `@{name} = {}`, or use another map", row.signature)),
            );
            return None;
        }
        if operand.ty == Type::Unknown {
            return None;
        }
        if !operand.ty.is_integer() {
            let ty = operand.ty.clone();
            self.report(
                Diagnostic::error(
                    Code::TypeMismatch,
                    operand.span,
                    format!("`{}=` takes an integer, not {ty:#}", op.symbol()),
                )
                .label(format!("of type {ty:#}"))
                .help(instead_of_number(&ty)),
            );
            return None;
        }
        let before = match self.checker.maps.value(map) {
            Some(MapValue::Plain(ty)) => ty.clone(),
            _ => Type::I64,
        };
        if !before.is_integer() && !matches!(before, Type::Pointer { .. } | Type::Unknown) {
            self.report(
                Diagnostic::error(
                    Code::TypeMismatch,
                    span,
                    format!(
                        "{} holds {before:#}, which cannot be computed with",
                        written_map(self.checker.maps.name(map))
                    ),
                )
                .label(format!("holds {before:#}"))
                .help(instead_of_number(&before)),
            );
            return None;
        }
        // A pointer moves by what it points to.
        let operand = match (&before, op) {
            (Type::Pointer { to, .. }, ast::BinaryOp::Add | ast::BinaryOp::Subtract) => in_bytes(operand, to),
            _ => operand,
        };
        self.set_map_type(map, MapValue::Plain(widened(&operand.ty)), span);
        let signed = operand.ty.is_signed() && before.is_signed();
        let ty = match self.checker.maps.value(map) {
            Some(MapValue::Plain(ty)) => ty.clone(),
            _ => Type::I64,
        };
        let op = self.arithmetic(op, signed || operand.ty != Type::U64 && before != Type::U64)?;
        Some(Expr { kind: ExprKind::UpdateMap { map, key, op, operand: Box::new(operand), old }, ty, span })
    }
}
