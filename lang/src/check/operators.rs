//! Operators: which types they take, whether they are signed, and what constants give at once.

use std::collections::HashSet;

use crate::ast::{self, BinaryOp as Op, UnaryOp};
use crate::diagnostic::{Code, Diagnostic};
use crate::hir::{BinaryOp, Expr, ExprKind, site_name};
use crate::span::Span;
use crate::target::ProbeSite;
use crate::types::Type;

use super::body::Body;

/// Larger values take too many instructions to compare.
const MOST_COMPARED_BYTES: u32 = 1024;

/// What can be done with a value that is no integer, where one is wanted.
pub fn instead_of_number(ty: &Type) -> &'static str {
    match ty {
        Type::Str(_) => "strings are compared, joined with `+` and printed; strlen() tells the length",
        Type::Tuple(_) => "take a part of it: `.0`",
        Type::Record(_) => "take a part of it by its name",
        Type::Struct(_) => "take a member of it",
        Type::Array { .. } => "take an element of it: `[0]`",
        _ => "it can be printed, kept in a map, and be a key of one",
    }
}

/// True for strings, and for names that are strings where one is wanted.
fn is_text(ty: &Type) -> bool {
    matches!(ty, Type::Str(_)) || ty.has_text()
}

/// How two values that do not fit become one.
pub fn one_of_both(a: &Type, b: &Type) -> &'static str {
    match (a, b) {
        (Type::Str(_), other) | (other, Type::Str(_)) if other.is_integer() => "lltostr() makes a string of a number",
        _ => "where they stay two, a statement for each does it: `if (...) { ... } else { ... }`",
    }
}

impl Body<'_, '_, '_> {
    /// The operation of an arithmetic operator; None for those that compare or decide.
    pub fn arithmetic(&mut self, op: Op, signed: bool) -> Option<BinaryOp> {
        Some(match (op, signed) {
            (Op::Add, _) => BinaryOp::Add,
            (Op::Subtract, _) => BinaryOp::Subtract,
            (Op::Multiply, _) => BinaryOp::Multiply,
            (Op::Divide, true) => BinaryOp::DivideSigned,
            (Op::Divide, false) => BinaryOp::DivideUnsigned,
            (Op::Remainder, true) => BinaryOp::RemainderSigned,
            (Op::Remainder, false) => BinaryOp::RemainderUnsigned,
            (Op::BitAnd, _) => BinaryOp::BitAnd,
            (Op::BitOr, _) => BinaryOp::BitOr,
            (Op::BitXor, _) => BinaryOp::BitXor,
            (Op::ShiftLeft, _) => BinaryOp::ShiftLeft,
            (Op::ShiftRight, true) => BinaryOp::ShiftRightSigned,
            (Op::ShiftRight, false) => BinaryOp::ShiftRightUnsigned,
            (
                Op::Or
                | Op::Xor
                | Op::And
                | Op::Equal
                | Op::NotEqual
                | Op::Match
                | Op::NotMatch
                | Op::Less
                | Op::LessEqual
                | Op::Greater
                | Op::GreaterEqual,
                _,
            ) => return None,
        })
    }

    pub fn binary(&mut self, op: Op, left: &ast::Expr, right: &ast::Expr, span: Span) -> Expr {
        if matches!(op, Op::And | Op::Or) {
            let left = Box::new(self.condition(left));
            let right = Box::new(self.condition(right));
            if left.ty == Type::Unknown || right.ty == Type::Unknown {
                return Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span };
            }
            let kind = if op == Op::And { ExprKind::And(left, right) } else { ExprKind::Or(left, right) };
            return Expr { kind, ty: Type::Bool, span };
        }
        if op == Op::Xor {
            let not = |e: &ast::Expr| {
                let kind = ast::ExprKind::Unary { op: ast::UnaryOp::Not, operand: Box::new(e.clone()) };
                ast::Expr { kind, span: e.span }
            };
            return self.binary(Op::NotEqual, &not(left), &not(right), span);
        }
        let (mut left, mut right) = (self.expr(left), self.expr(right));
        // `@x = @x + 1` may be all that says what @x holds, or a variable that is declared without a type.
        if !self.checker.last_round && !matches!(op, Op::Equal | Op::NotEqual) {
            let is_open =
                |e: &Expr| matches!(e.kind, ExprKind::MapGet { .. } | ExprKind::Local(_)) && e.ty == Type::Unknown;
            let grows_from = |ty: &Type| match ty {
                Type::Str(_) if op == Op::Add => Some(Type::Str(1)),
                ty if ty.is_integer() => Some(Type::I64),
                _ => None,
            };
            if is_open(&left) {
                left.ty = grows_from(&right.ty).unwrap_or(Type::Unknown);
            } else if is_open(&right) {
                right.ty = grows_from(&left.ty).unwrap_or(Type::Unknown);
            }
        }
        if matches!(op, Op::Equal | Op::NotEqual) {
            let (of_left, of_right) = (left.ty.clone(), right.ty.clone());
            (left, right) = (self.meant_as_address(left, &of_right), self.meant_as_address(right, &of_left));
        }
        if left.ty == Type::Unknown || right.ty == Type::Unknown {
            return Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span };
        }
        // As in C, what is left of a text of the script behind so many bytes.
        if let (Op::Add, ExprKind::Str(text), Some(from @ 0..)) = (op, &left.kind, right.constant())
            && let (Type::Str(_), true) = (&left.ty, right.ty.is_integer())
        {
            return self.string(&text[text.len().min(from as usize)..], span);
        }
        match op {
            // Expanded before, as a call of glob().
            Op::Match | Op::NotMatch => return self.not_yet(span, "matching a glob"),
            Op::Add if is_text(&left.ty) && is_text(&right.ty) => return self.concatenate(left, right, span),
            Op::Equal | Op::NotEqual | Op::Less | Op::LessEqual | Op::Greater | Op::GreaterEqual => {
                return self.comparison(op, left, right, span);
            }
            _ => {}
        }
        if let Some(result) = self.pointer_arithmetic(op, &left, &right, span) {
            return result;
        }
        for side in [&left, &right] {
            if !side.ty.is_integer() {
                let ty = side.ty.clone();
                return self.fail(
                    Diagnostic::error(
                        Code::TypeMismatch,
                        side.span,
                        format!("`{}` takes integers, not {ty:#}", op.symbol()),
                    )
                    .label(format!("of type {ty:#}"))
                    .help(instead_of_number(&ty)),
                );
            }
        }
        // A shift takes its signedness from what is shifted alone.
        let unsigned = if op == Op::ShiftRight || op == Op::ShiftLeft {
            wide_unsigned(&left.ty)
        } else {
            wide_unsigned(&left.ty) || wide_unsigned(&right.ty)
        };
        let Some(operation) = self.arithmetic(op, !unsigned) else {
            return self.not_yet(span, "this operator");
        };
        if matches!(op, Op::Divide | Op::Remainder) && right.constant() == Some(0) {
            return self.fail(
                Diagnostic::error(Code::BadValue, right.span, "division by zero")
                    .label("always zero")
                    .help("a division by a zero that comes up while tracing gives 0 and is counted"),
            );
        }
        let ty = if unsigned { Type::U64 } else { Type::I64 };
        if let (Some(a), Some(b)) = (left.constant(), right.constant()) {
            return Expr { kind: ExprKind::Int(operation.apply(a, b)), ty, span };
        }
        Expr { kind: ExprKind::Binary { op: operation, left: Box::new(left), right: Box::new(right) }, ty, span }
    }

    /// Pointers move by whole elements; two of them give their distance in bytes' elements.
    fn pointer_arithmetic(&mut self, op: Op, left: &Expr, right: &Expr, span: Span) -> Option<Expr> {
        let (pointer, number) = match (op, &left.ty, &right.ty) {
            (Op::Add | Op::Subtract, Type::Pointer { .. }, ty) if ty.is_integer() => (left, right),
            (Op::Add, ty, Type::Pointer { .. }) if ty.is_integer() => (right, left),
            (Op::Subtract, Type::Pointer { .. }, Type::Pointer { .. }) => {
                return Some(Expr {
                    kind: ExprKind::Binary {
                        op: BinaryOp::Subtract,
                        left: Box::new(left.clone()),
                        right: Box::new(right.clone()),
                    },
                    ty: Type::I64,
                    span,
                });
            }
            // Masks and the like of an address give a number.
            (_, Type::Pointer { .. }, _) | (_, _, Type::Pointer { .. }) => {
                let left = Expr { ty: as_number(&left.ty), ..left.clone() };
                let right = Expr { ty: as_number(&right.ty), ..right.clone() };
                if !left.ty.is_integer() || !right.ty.is_integer() {
                    return None;
                }
                let operation = self.arithmetic(op, false)?;
                return Some(Expr {
                    kind: ExprKind::Binary { op: operation, left: Box::new(left), right: Box::new(right) },
                    ty: Type::U64,
                    span,
                });
            }
            _ => return None,
        };
        let Type::Pointer { to, .. } = &pointer.ty else { return None };
        let scaled = in_bytes(number.clone(), to);
        let op = if op == Op::Add { BinaryOp::Add } else { BinaryOp::Subtract };
        Some(Expr {
            kind: ExprKind::Binary { op, left: Box::new(pointer.clone()), right: Box::new(scaled) },
            ty: pointer.ty.clone(),
            span,
        })
    }

    fn comparison(&mut self, op: Op, left: Expr, right: Expr, span: Span) -> Expr {
        if let Some(same) = self.same(op, &left, &right, span) {
            return same;
        }
        if is_text(&left.ty) && is_text(&right.ty) {
            let (left, right) = (self.as_text(left), self.as_text(right));
            if let (ExprKind::Str(a), ExprKind::Str(b), Op::Equal | Op::NotEqual) = (&left.kind, &right.kind, op) {
                let is_same = until_nul(a) == until_nul(b);
                return Expr { ty: Type::Bool, ..Expr::int(i64::from(is_same == (op == Op::Equal)), span) };
            }
            let order = |a: Expr, b: Expr| Expr {
                kind: ExprKind::StringOrder { left: Box::new(a), right: Box::new(b), limit: None },
                ty: Type::I64,
                span,
            };
            let (order, op) = match op {
                Op::Less => (order(left, right), BinaryOp::LessSigned),
                Op::LessEqual => (order(left, right), BinaryOp::LessEqualSigned),
                Op::Greater => (order(right, left), BinaryOp::LessSigned),
                Op::GreaterEqual => (order(right, left), BinaryOp::LessEqualSigned),
                _ => {
                    let negated = op == Op::NotEqual;
                    let kind = ExprKind::StrEqual { negated, left: Box::new(left), right: Box::new(right) };
                    return Expr { kind, ty: Type::Bool, span };
                }
            };
            let kind = ExprKind::Binary { op, left: Box::new(order), right: Box::new(Expr::int(0, span)) };
            return Expr { kind, ty: Type::Bool, span };
        }
        let comparable =
            |ty: &Type| ty.is_integer() || matches!(ty, Type::Pointer { .. } | Type::Symbol { .. } | Type::Shown(_));
        for (side, other) in [(&left, &right), (&right, &left)] {
            if !comparable(&side.ty) {
                let (ty, with) = (side.ty.clone(), other.ty.clone());
                let help = match (&ty, &with) {
                    (Type::Str(_), Type::Pointer { .. } | Type::Int { .. }) if other.constant().is_none() => {
                        "read the string that it points to: `str(arg0) == \"text\"`"
                    }
                    (Type::ProbeName, _) => "it is compared with a text: `probe == \"begin\"`",
                    (Type::Str(_), _) => "a string is compared with a string: `comm == \"bash\"`",
                    _ => instead_of_number(&ty),
                };
                return self.fail(
                    Diagnostic::error(Code::TypeMismatch, span, format!("{ty:#} cannot be compared with {with:#}"))
                        .label(format!("{:#} and {:#}", left.ty, right.ty))
                        .help(help),
                );
            }
        }
        let unsigned = |ty: &Type| wide_unsigned(ty) || matches!(ty, Type::Pointer { .. } | Type::Symbol { .. });
        let signed = !(unsigned(&left.ty) || unsigned(&right.ty));
        if !matches!(op, Op::Equal | Op::NotEqual) {
            self.mixed_signs(op, &left, &right);
        }
        let (operation, left, right) = match (op, signed) {
            (Op::Equal, _) => (BinaryOp::Equal, left, right),
            (Op::NotEqual, _) => (BinaryOp::NotEqual, left, right),
            (Op::Less, true) => (BinaryOp::LessSigned, left, right),
            (Op::Less, false) => (BinaryOp::LessUnsigned, left, right),
            (Op::LessEqual, true) => (BinaryOp::LessEqualSigned, left, right),
            (Op::LessEqual, false) => (BinaryOp::LessEqualUnsigned, left, right),
            (Op::Greater, true) => (BinaryOp::LessSigned, right, left),
            (Op::Greater, false) => (BinaryOp::LessUnsigned, right, left),
            (_, true) => (BinaryOp::LessEqualSigned, right, left),
            (_, false) => (BinaryOp::LessEqualUnsigned, right, left),
        };
        if let (Some(a), Some(b)) = (left.constant(), right.constant()) {
            return Expr { kind: ExprKind::Int(operation.apply(a, b)), ty: Type::Bool, span };
        }
        Expr {
            kind: ExprKind::Binary { op: operation, left: Box::new(left), right: Box::new(right) },
            ty: Type::Bool,
            span,
        }
    }

    /// A value below zero, compared with an unsigned one, counts as a very large one.
    fn mixed_signs(&mut self, op: Op, left: &Expr, right: &Expr) {
        for (side, other) in [(left, right), (right, left)] {
            let may_be_negative =
                matches!(side.ty, Type::Int { signed: true, .. }) && side.constant().is_none_or(|value| value < 0);
            if may_be_negative && wide_unsigned(&other.ty) {
                let (signed, unsigned) = (side.ty.clone(), other.ty.clone());
                self.report(
                    Diagnostic::warning(
                        Code::MixedSigns,
                        side.span,
                        format!("`{}` compares a signed number with an unsigned one", op.symbol()),
                    )
                    .label(format!("{signed:#}: below zero it counts as more than 9223372036854775807"))
                    .other(other.span, format!("{unsigned:#}"))
                    .help("cast the unsigned one, `(int64)...`, where it is the sign that counts"),
                );
            }
        }
    }

    /// `==` and `!=` of values of several words, which are the same if all their parts are; and of a probe's name.
    fn same(&mut self, op: Op, left: &Expr, right: &Expr, span: Span) -> Option<Expr> {
        let negated = match op {
            Op::Equal => false,
            Op::NotEqual => true,
            _ => return None,
        };
        let is_name =
            |ty: &Type| matches!(ty, Type::ProbeName | Type::FunctionName | Type::ModuleName | Type::EventName);
        match (left, right) {
            (name, Expr { kind: ExprKind::Str(text), .. }) | (Expr { kind: ExprKind::Str(text), .. }, name)
                if is_name(&name.ty) =>
            {
                return Some(match name.kind {
                    ExprKind::Site => self.is_site(&name.ty, text, negated, span),
                    _ => self.is_named(name, text, negated, span),
                });
            }
            _ if is_name(&left.ty) && left.ty == right.ty => return Some(equal(left, right, negated, span)),
            _ => {}
        }
        let is_wide = |ty: &Type| {
            matches!(
                ty,
                Type::Tuple(_) | Type::Record(_) | Type::Array { .. } | Type::Struct(_) | Type::Buffer(_) | Type::Inet
            )
        };
        if !is_wide(&left.ty) || !is_wide(&right.ty) {
            return None;
        }
        let (left, right, ty) = self.joined(left.clone(), right.clone())?;
        if ty.stored_bytes() > MOST_COMPARED_BYTES {
            return Some(
                self.fail(
                    Diagnostic::error(
                        Code::TooLarge,
                        span,
                        format!("values of {} bytes are compared", ty.stored_bytes()),
                    )
                    .label(format!("at most {MOST_COMPARED_BYTES} bytes"))
                    .help("compare the parts that matter"),
                ),
            );
        }
        let (left, right) = (Box::new(left), Box::new(right));
        Some(Expr { kind: ExprKind::Same { negated, left, right, ty }, ty: Type::Bool, span })
    }

    /// Whether a site shows that name in values of a type. A function of several names has each of them.
    fn has_name(&self, site: &ProbeSite, ty: &Type, text: &[u8]) -> bool {
        let Some(name) = site_name(site, ty) else { return false };
        let is_alias =
            |text: &[u8]| std::str::from_utf8(text).is_ok_and(|text| self.checker.target.is_alias(site, text));
        name.as_bytes() == text || *ty == Type::FunctionName && is_alias(text)
    }

    /// Whether a name that was kept is that one, which is a question of the first site of each name that it may have.
    fn is_named(&mut self, kept: &Expr, text: &[u8], negated: bool, span: Span) -> Expr {
        let mut names = HashSet::new();
        let sites = self.checker.sites.iter().enumerate();
        let firsts: Vec<usize> = sites
            .filter(|(_, site)| self.has_name(site, &kept.ty, text) && names.insert(site_name(site, &kept.ty)))
            .map(|(first, _)| first)
            .collect();
        let is_one = firsts.iter().map(|first| equal(kept, &Expr::int(*first as i64, span), false, span));
        let either = |left, right| Expr { kind: ExprKind::Or(Box::new(left), Box::new(right)), ty: Type::Bool, span };
        negated_if(negated, is_one.reduce(either).unwrap_or(Expr { ty: Type::Bool, ..Expr::int(0, span) }))
    }

    /// Whether the site that fired has that name, which is a question of its number.
    fn is_site(&mut self, ty: &Type, text: &[u8], negated: bool, span: Span) -> Expr {
        let mut found = Expr { ty: Type::Bool, ..Expr::int(0, span) };
        for id in &self.group.sites {
            let site = &self.checker.sites[id.index()];
            if !self.has_name(site, ty, text) {
                continue;
            }
            if self.group.sites.len() == 1 {
                found = Expr { ty: Type::Bool, ..Expr::int(1, span) };
                break;
            }
            let fired = Expr { kind: ExprKind::Site, ty: Type::I64, span };
            let number = self.checker.numbers[id.index()];
            let (left, right) = (Box::new(fired), Box::new(Expr::int(i64::from(number.0), span)));
            let is_this = Expr { kind: ExprKind::Binary { op: BinaryOp::Equal, left, right }, ty: Type::Bool, span };
            found = match found.constant() {
                Some(_) => is_this,
                None => Expr { kind: ExprKind::Or(Box::new(found), Box::new(is_this)), ty: Type::Bool, span },
            };
        }
        negated_if(negated, found)
    }

    pub fn unary(&mut self, op: UnaryOp, operand: &ast::Expr, span: Span) -> Expr {
        if op == UnaryOp::AddressOf {
            let value = self.expr(operand);
            if value.ty.has_text() {
                let text = self.as_text(value);
                let (first, text) = self.kept(text);
                let address = self.address_of(text, span);
                return self.after(first, address);
            }
            let has_memory = match &value.kind {
                ExprKind::Deref { bits: None, .. } | ExprKind::Local(_) | ExprKind::MapGet { .. } => true,
                ExprKind::Context(_) => !value.ty.is_scalar(),
                _ => false,
            };
            return match value.ty {
                Type::Unknown => value,
                _ if has_memory => self.address_of(value, span),
                _ => self.fail(
                    Diagnostic::error(Code::TypeMismatch, span, "this has no address")
                        .label("not in memory")
                        .help("`&` takes a $variable, an @map, or a field behind a pointer"),
                ),
            };
        }
        let value = if op == UnaryOp::Not { self.condition(operand) } else { self.expr(operand) };
        if value.ty == Type::Unknown {
            return value;
        }
        if op == UnaryOp::Not {
            if let Some(n) = value.constant() {
                return Expr { kind: ExprKind::Int(i64::from(n == 0)), ty: Type::Bool, span };
            }
            return Expr { kind: ExprKind::Not(Box::new(value)), ty: Type::Bool, span };
        }
        if op == UnaryOp::Dereference {
            return self.dereference(value, span);
        }
        if !value.ty.is_integer() {
            let ty = value.ty.clone();
            return self.fail(
                Diagnostic::error(Code::TypeMismatch, span, format!("`{}` takes an integer, not {ty:#}", op.symbol()))
                    .label(format!("of type {ty:#}"))
                    .help(instead_of_number(&ty)),
            );
        }
        let unsigned = wide_unsigned(&value.ty);
        let ty = if unsigned && op == UnaryOp::Complement { Type::U64 } else { Type::I64 };
        if let Some(n) = value.constant() {
            let n = if op == UnaryOp::Negate { n.wrapping_neg() } else { !n };
            return Expr { kind: ExprKind::Int(n), ty, span };
        }
        let value = Box::new(value);
        let kind = if op == UnaryOp::Negate { ExprKind::Negate(value) } else { ExprKind::Complement(value) };
        Expr { kind, ty, span }
    }
}

/// Only 64-bit unsigned operands make an operation unsigned; narrower ones fit a signed 64-bit integer.
fn wide_unsigned(ty: &Type) -> bool {
    match ty {
        Type::Int { bytes: 8, signed: false } | Type::Timestamp(_) => true,
        Type::Enum(e) => e.size == 8 && !e.signed,
        _ => false,
    }
}

/// How many bytes so many elements of a type are.
pub fn in_bytes(number: Expr, of: &Type) -> Expr {
    let size = i64::from(of.size().max(1));
    let span = number.span;
    match number.constant() {
        Some(n) => Expr::int(n.wrapping_mul(size), span),
        None if size == 1 => number,
        None => Expr {
            kind: ExprKind::Binary {
                op: BinaryOp::Multiply,
                left: Box::new(number),
                right: Box::new(Expr::int(size, span)),
            },
            ty: Type::I64,
            span,
        },
    }
}

/// The bytes of a string up to its end.
fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn as_number(ty: &Type) -> Type {
    match ty {
        Type::Pointer { .. } => Type::U64,
        other => other.clone(),
    }
}

/// `==` or `!=` of two numbers.
fn equal(left: &Expr, right: &Expr, negated: bool, span: Span) -> Expr {
    let op = if negated { BinaryOp::NotEqual } else { BinaryOp::Equal };
    let (left, right) = (Box::new(left.clone()), Box::new(right.clone()));
    Expr { kind: ExprKind::Binary { op, left, right }, ty: Type::Bool, span }
}

/// A comparison, or the opposite.
fn negated_if(negated: bool, found: Expr) -> Expr {
    let span = found.span;
    match (negated, found.constant()) {
        (false, _) => found,
        (true, Some(known)) => Expr { ty: Type::Bool, ..Expr::int(i64::from(known == 0), span) },
        (true, None) => Expr { kind: ExprKind::Not(Box::new(found)), ty: Type::Bool, span },
    }
}
