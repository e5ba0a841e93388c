//! Expressions: what each form means and of which type it is.

use crate::ast;
use crate::diagnostic::{Code, Diagnostic, did_you_mean, near_misses};
use crate::expand::{CLAUSE, THREAD, written_map};
use crate::hir::{BinaryOp, Expr, ExprKind, LocalId, MapValue, Stmt, StmtKind};
use crate::span::Span;
use crate::types::Type;

use super::body::Body;
use super::maps::widened;
use super::operators::{instead_of_number, one_of_both};
use super::options;

impl Body<'_, '_, '_> {
    pub fn expr(&mut self, e: &ast::Expr) -> Expr {
        let span = e.span;
        match &e.kind {
            ast::ExprKind::Int(value) => {
                let ty = if *value > i64::MAX as u64 { Type::U64 } else { Type::I64 };
                Expr { kind: ExprKind::Int(*value as i64), ty, span }
            }
            ast::ExprKind::Duration(value) => Expr::int(*value as i64, span),
            ast::ExprKind::Bool(value) => Expr { kind: ExprKind::Int(i64::from(*value)), ty: Type::Bool, span },
            ast::ExprKind::Str(value) => self.string(value, span),
            ast::ExprKind::Ident(name) => self.name(name, span),
            ast::ExprKind::Variable(name) => self.variable(name, span),
            ast::ExprKind::Map { name, keys } => self.map_value(name, keys, span),
            ast::ExprKind::Positional(number) => self.positional(*number, span),
            ast::ExprKind::PositionalText(number) => {
                let text = self.parameter(*number, span).unwrap_or_default();
                self.string(text.as_bytes(), span)
            }
            ast::ExprKind::PositionalCount => Expr::int(self.checker.options.positional.len() as i64, span),
            ast::ExprKind::Call { name, arguments } => self.call(name, arguments, span),
            ast::ExprKind::Field { base, name } => self.field(base, name, span),
            ast::ExprKind::TupleField { base, index } => self.tuple_field(base, *index, span),
            ast::ExprKind::Index { base, index } => self.element(base, index, span),
            ast::ExprKind::Unary { op, operand } => self.unary(*op, operand, span),
            ast::ExprKind::Step { step, prefix, target } => self.step(*step, *prefix, target, span),
            ast::ExprKind::Binary { op, left, right } => self.binary(*op, left, right, span),
            ast::ExprKind::Ternary { condition, then, otherwise } => {
                self.ternary(condition, then.as_deref(), otherwise, span)
            }
            ast::ExprKind::Cast { ty, operand } => {
                let ty = self.type_name(ty);
                let value = self.expr(operand);
                self.convert(value, &ty, span)
            }
            ast::ExprKind::SizeOfType(ty) => {
                let ty = self.type_name(ty);
                Expr::int(i64::from(ty.size()), span)
            }
            ast::ExprKind::SizeOf(inner) => {
                let value = self.expr(inner);
                Expr::int(i64::from(value.ty.size()), span)
            }
            ast::ExprKind::OffsetOfType { ty, path } => {
                let ty = self.type_name(ty);
                self.offset_of(ty, path, span)
            }
            ast::ExprKind::OffsetOf { of, path } => {
                let value = self.expr(of);
                self.offset_of(value.ty, path, span)
            }
            ast::ExprKind::TypeInfoType(ty) => {
                let ty = self.type_name(ty);
                self.type_info(&ty, span)
            }
            ast::ExprKind::TypeInfo(inner) => {
                let ty = self.expr(inner).ty;
                self.type_info(&ty, span)
            }
            ast::ExprKind::Tuple(parts) => {
                let parts: Vec<Expr> = parts.iter().map(|part| self.expr(part)).collect();
                if parts.iter().any(|part| part.ty == Type::Unknown) {
                    return Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span };
                }
                for part in &parts {
                    if !self.storable(part) {
                        return Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span };
                    }
                }
                let ty = Type::Tuple(parts.iter().map(|part| part.ty.clone()).collect());
                Expr { kind: ExprKind::Tuple(parts), ty, span }
            }
            ast::ExprKind::Record(parts) => self.record_value(parts, span),
            ast::ExprKind::Block(block) => self.block_value(block, span),
            ast::ExprKind::If(inner) => self.if_value(inner, span),
            ast::ExprKind::Comptime(inner) => {
                let value = self.expr(inner);
                if value.constant().is_none() && value.ty != Type::Unknown {
                    return self.fail(
                        Diagnostic::error(Code::NotConstant, span, "this is not known when the script is compiled")
                            .label("not a constant")
                            .help("without `comptime` it is computed when the probe fires"),
                    );
                }
                value
            }
            ast::ExprKind::TypeArgument(_) => self.not_yet(span, "a type as a value"),
        }
    }

    pub fn string(&mut self, value: &[u8], span: Span) -> Expr {
        let most = self.checker.items.settings.max_strlen;
        if value.len() as u64 >= u64::from(most) {
            return self.fail(
                Diagnostic::error(Code::TooLarge, span, format!("the string has {} bytes", value.len()))
                    .label(format!("strings hold {} bytes and a NUL", most - 1))
                    .help(format!("raise it: `config = {{ max_strlen = {} }}`", (value.len() + 1).next_power_of_two())),
            );
        }
        let ty = Type::Str(value.len() as u32 + 1);
        Expr { kind: ExprKind::Str(value.into()), ty, span }
    }

    fn variable(&mut self, name: &str, span: Span) -> Expr {
        // Where the script has such a variable in another block, it is meant.
        if !self.has_local(name) {
            if name == "target" {
                return Expr::int(i64::from(self.checker.options.pid.unwrap_or(0)), span);
            }
            if let Some((_, value)) = self.checker.options.of_tool.iter().find(|(known, _)| *known == name) {
                return Expr::int(*value, span);
            }
        }
        match self.lookup(name) {
            Some(local) => {
                let ty = self.declared_type(local).unwrap_or_else(|| self.local_type(local));
                Expr { kind: ExprKind::Local(local), ty, span }
            }
            None => {
                let names = self.visible_names();
                let written = if name.starts_with(CLAUSE) { name.to_string() } else { format!("${name}") };
                let mut diagnostic =
                    Diagnostic::error(Code::UnknownVariable, span, format!("`{written}` has no value here"))
                        .label("not assigned before, in this block or around it");
                let near: Vec<String> =
                    near_misses(name, names.iter().map(String::as_str)).iter().map(|near| format!("${near}")).collect();
                let near: Vec<&str> = near.iter().map(String::as_str).collect();
                diagnostic = match did_you_mean(&near) {
                    _ if self.has_local(name) => diagnostic
                        .help(format!("a variable ends with the block in which it is assigned first: write `let {written};` before that block")),
                    Some(help) => diagnostic.help(help),
                    None => diagnostic.help(format!("assign it first: `{written} = 0;`; what probes share is an @map")),
                };
                self.fail(diagnostic)
            }
        }
    }

    fn map_value(&mut self, name: &str, keys: &[ast::Expr], span: Span) -> Expr {
        let (map, key) = self.map_place(name, keys, span);
        let ty = match self.checker.maps.value(map) {
            Some(MapValue::Plain(ty)) => ty.clone(),
            Some(MapValue::Aggregation(aggregation)) => {
                let aggregation = *aggregation;
                return self.aggregation_value(aggregation, map, key, span);
            }
            None => {
                if self.checker.last_round {
                    return self.unknown_map(name, span);
                }
                Type::Unknown
            }
        };
        Expr { kind: ExprKind::MapGet { map, key }, ty, span }
    }

    pub fn unknown_map(&mut self, name: &str, span: Span) -> Expr {
        // Its assignment, or the probe of that, has a mistake of its own, which is said there.
        if self.checker.maps.is_assigned(name) || self.checker.unchecked_maps.contains(name) {
            self.checker.doubtful.push(span);
        }
        let names: Vec<String> = self.checker.maps.names().map(str::to_string).collect();
        let mut diagnostic =
            Diagnostic::error(Code::UnknownMap, span, format!("{} is never assigned", written_map(name)))
                .label("no statement of the script gives it a value");
        let near: Vec<String> =
            near_misses(name, names.iter().map(String::as_str)).iter().map(|near| written_map(near)).collect();
        let near: Vec<&str> = near.iter().map(String::as_str).collect();
        if let Some(help) = did_you_mean(&near) {
            diagnostic = diagnostic.help(help);
        } else {
            diagnostic = diagnostic.help(match name.starts_with(THREAD) {
                true => format!("assign it somewhere: `{name} = nsecs;`"),
                false => format!("assign it somewhere: `@{name} = count();`"),
            });
        }
        self.fail(diagnostic)
    }

    /// The text of a parameter; None, with a warning, where it is not given.
    fn parameter(&mut self, number: u32, span: Span) -> Option<String> {
        let Some(text) = number.checked_sub(1).and_then(|n| self.checker.options.positional.get(n as usize)).cloned()
        else {
            self.report(
                Diagnostic::warning(Code::PositionalMissing, span, format!("the parameter ${number} is not given"))
                    .label("reads as 0, or as an empty string")
                    .help("give it behind the script: `rtrace FILE VALUE`"),
            );
            return None;
        };
        Some(text)
    }

    fn positional(&mut self, number: u32, span: Span) -> Expr {
        match self.parameter(number, span) {
            None => Expr::int(0, span),
            Some(text) => match options::number(&text) {
                Some(value) => Expr::int(value, span),
                None => self.string(text.as_bytes(), span),
            },
        }
    }

    fn ternary(&mut self, condition: &ast::Expr, then: Option<&ast::Expr>, otherwise: &ast::Expr, span: Span) -> Expr {
        let condition_value = self.condition(condition);
        // `a ?: b` evaluates `a` once.
        let (first, condition_value) = match then {
            Some(_) => (Vec::new(), condition_value),
            None => self.once(condition_value),
        };
        let then = match then {
            Some(then) => self.expr(then),
            None => condition_value.clone(),
        };
        let otherwise = self.expr(otherwise);
        if then.ty == Type::Unknown || otherwise.ty == Type::Unknown || condition_value.ty == Type::Unknown {
            return Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span };
        }
        let (a, b) = (then.ty.clone(), otherwise.ty.clone());
        let Some((then, otherwise, ty)) = self.joined(then, otherwise) else {
            return self.fail(
                Diagnostic::error(Code::TypeMismatch, span, format!("the two values are of type {a:#} and {b:#}"))
                    .label("both sides of `:` take one type")
                    .help(one_of_both(&a, &b)),
            );
        };
        let kind = ExprKind::Ternary {
            condition: Box::new(condition_value),
            then: Box::new(then),
            otherwise: Box::new(otherwise),
        };
        self.after(first, Expr { kind, ty, span })
    }

    /// The value as that type: integers are cut and extended, integers and pointers change into each other.
    pub fn convert(&mut self, value: Expr, ty: &Type, span: Span) -> Expr {
        if value.ty == *ty || value.ty == Type::Unknown || *ty == Type::Unknown {
            return Expr { ty: if value.ty == Type::Unknown { Type::Unknown } else { ty.clone() }, ..value };
        }
        if let (Type::Tuple(_) | Type::Record(_), Type::Tuple(_) | Type::Record(_)) = (ty, &value.ty) {
            let value = self.fitted(value, ty);
            if super::maps::unify(ty, &value.ty).is_some() {
                return value;
            }
            return self.cannot_become(value, ty, span);
        }
        // Bytes that are read are read into the room that they are given.
        if let (Type::Buffer(_), Type::Buffer(_), ExprKind::ReadBytes { .. }) = (ty, &value.ty, &value.kind) {
            return Expr { ty: ty.clone(), ..value };
        }
        let ty = match (ty, &value.ty) {
            // An array without a length takes the one of its value.
            (Type::Array { of, len: 0 }, from) => Type::Array { of: of.clone(), len: from.size() / of.size().max(1) },
            // A pointer that comes from a register points where the register does.
            (Type::Pointer { to, .. }, Type::Pointer { space, .. }) => Type::Pointer { to: to.clone(), space: *space },
            (Type::Pointer { to, .. }, _) => Type::Pointer { to: to.clone(), space: self.register_space() },
            _ => ty.clone(),
        };
        let value = if let Type::Str(_) = ty { self.as_text(value) } else { value };
        let fits = match (&ty, &value.ty) {
            (Type::Str(_), Type::Str(_)) => true,
            // The bytes of a text, and of a string that has as many.
            (Type::Array { of, .. }, Type::Str(_)) if matches!(**of, Type::Int { bytes: 1, .. }) => {
                return self.bytes_of(value, ty, span);
            }
            // The bytes of a number, and the other way round.
            (Type::Array { .. }, from) if from.is_integer() => ty.size() <= 8,
            (to, Type::Array { of, .. }) if to.is_integer() => of.is_integer() && value.ty.size() <= 8,
            (to, from) => to.is_scalar() && from.is_scalar() && !matches!(from, Type::Stack { .. }),
        };
        if !fits {
            return self.cannot_become(value, &ty, span);
        }
        if let (ExprKind::Int(number), true) = (&value.kind, ty.is_integer()) {
            return Expr { kind: ExprKind::Int(cut(*number, &ty)), ty, span };
        }
        Expr { kind: ExprKind::Convert(Box::new(value)), ty, span }
    }

    /// The bytes of a string, in an array of bytes that are zero behind its end.
    fn bytes_of(&mut self, value: Expr, ty: Type, span: Span) -> Expr {
        if let ExprKind::Str(text) = &value.kind {
            let mut bytes = text.to_vec();
            bytes.resize(ty.size() as usize, 0);
            return Expr { kind: ExprKind::Str(bytes.into()), ty, span };
        }
        if ty.size() > value.ty.size() {
            let (from, room) = (value.ty.clone(), value.ty.size());
            return self.fail(
                Diagnostic::error(Code::TypeMismatch, span, format!("{from:#} cannot become {ty:#}"))
                    .label(format!("has room for {room} bytes"))
                    .help("without a length, `(uint8[])`, the array takes that of the string"),
            );
        }
        let (first, kept) = self.once(value);
        let pointer = Box::new(self.address_of(kept, span));
        let bytes = Expr { kind: ExprKind::Deref { pointer, offset: 0, bits: None }, ty, span };
        self.after(first, bytes)
    }

    fn cannot_become(&mut self, value: Expr, ty: &Type, span: Span) -> Expr {
        let from = value.ty;
        self.fail(
            Diagnostic::error(Code::TypeMismatch, span, format!("{from:#} cannot become {ty:#}"))
                .label(format!("of type {from:#}"))
                .help("casts go between integers and pointers, and integers and arrays of up to 8 bytes"),
        )
    }

    fn step(&mut self, step: ast::Step, prefix: bool, target: &ast::Expr, span: Span) -> Expr {
        let op = match step {
            ast::Step::Increment => ast::BinaryOp::Add,
            ast::Step::Decrement => ast::BinaryOp::Subtract,
        };
        match &target.kind {
            ast::ExprKind::Variable(name) => {
                let value = self.variable(name, target.span);
                let ExprKind::Local(local) = value.kind else { return value };
                if value.ty == Type::Unknown {
                    return value;
                }
                if !value.ty.is_integer() && !matches!(value.ty, Type::Pointer { .. }) {
                    let ty = value.ty.clone();
                    return self.fail(
                        Diagnostic::error(
                            Code::TypeMismatch,
                            span,
                            format!("${name} holds {ty:#} and cannot be stepped"),
                        )
                        .label(format!("of type {ty:#}"))
                        .help(instead_of_number(&ty)),
                    );
                }
                let by = match &value.ty {
                    Type::Pointer { to, .. } => i64::from(to.size().max(1)),
                    _ => 1,
                };
                let op = if op == ast::BinaryOp::Add { BinaryOp::Add } else { BinaryOp::Subtract };
                if let Some(declared) = self.declared_type(local).filter(Type::is_integer) {
                    return self.narrow_step(local, &declared, op, prefix, span);
                }
                let ty = widened(&value.ty);
                self.widen_local(local, &ty, span);
                Expr {
                    kind: ExprKind::UpdateLocal { local, op, operand: Box::new(Expr::int(by, span)), old: !prefix },
                    ty,
                    span,
                }
            }
            ast::ExprKind::Map { name, keys } => {
                let (map, key) = self.map_place(name, keys, target.span);
                match self.update_map(map, key, op, Expr::int(1, span), !prefix, span) {
                    Some(update) => update,
                    None => Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span },
                }
            }
            _ => self.fail(
                Diagnostic::error(Code::NotAssignable, target.span, "this cannot be counted up or down")
                    .label("neither a $variable nor an @map")
                    .help("count up a $variable or an @map"),
            ),
        }
    }
}

impl Body<'_, '_, '_> {
    /// A step of a variable of a declared type, whose value is cut to it.
    fn narrow_step(&mut self, local: LocalId, ty: &Type, op: BinaryOp, prefix: bool, span: Span) -> Expr {
        let now = Expr { kind: ExprKind::Local(local), ty: ty.clone(), span };
        let (mut statements, before) = match prefix {
            true => (Vec::new(), now.clone()),
            false => {
                let old = self.hidden("old", ty);
                let kept = Stmt { kind: StmtKind::SetLocal { local: old, value: now.clone() }, span };
                (vec![kept], Expr { kind: ExprKind::Local(old), ty: ty.clone(), span })
            }
        };
        let kind = ExprKind::Binary { op, left: Box::new(now), right: Box::new(Expr::int(1, span)) };
        let value = self.convert(Expr { kind, ty: Type::I64, span }, ty, span);
        statements.push(Stmt { kind: StmtKind::SetLocal { local, value }, span });
        self.after(statements, before)
    }
}

/// An integer cut to the type's width and extended again.
pub(super) fn cut(value: i64, ty: &Type) -> i64 {
    if *ty == Type::Bool {
        return i64::from(value != 0);
    }
    match (ty.size(), ty.is_signed()) {
        (1, true) => i64::from(value as i8),
        (1, false) => i64::from(value as u8),
        (2, true) => i64::from(value as i16),
        (2, false) => i64::from(value as u16),
        (4, true) => i64::from(value as i32),
        (4, false) => i64::from(value as u32),
        _ => value,
    }
}
