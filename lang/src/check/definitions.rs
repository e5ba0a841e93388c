//! Types that the script defines: its structs, unions and enums become part of what the checker knows.

use std::sync::Arc;

use crate::ast::{self, ExprKind, Inner, Item, Member, Script, TypeBase, TypeName, TypeSuffix, UnaryOp};
use crate::constants;
use crate::diagnostic::{Code, Diagnostic};
use crate::hir::BinaryOp;
use crate::script_types::{NewField, ScriptTypes};
use crate::span::Span;
use crate::target::Target;
use crate::types::{EnumRef, Space, StructKind, Type};

use super::typenames::{Resolver, c_wide};

/// Bytes of a struct that a script may define: more than any of the kernel's has.
const LARGEST_STRUCT: u32 = 1024 * 1024;

pub fn definitions(script: &Script, target: &dyn Target, diagnostics: &mut Vec<Diagnostic>) -> ScriptTypes {
    let mut definer = Definer { target, types: ScriptTypes::default(), diagnostics };
    for item in &script.items {
        match item {
            Item::Struct { is_union, name, members, layout, span } => {
                let kind = if *is_union { StructKind::Union } else { StructKind::Struct };
                if !definer.types.is_open(kind, &name.text) {
                    definer.types.declare(kind, &name.text);
                }
                let members = definer.members(members);
                let own = definer.types.add_struct(kind, &name.text, members, *layout);
                if own.size > LARGEST_STRUCT {
                    definer.diagnostics.push(
                        Diagnostic::error(Code::TooLarge, *span, format!("the struct takes {} bytes", own.size))
                            .label(format!("at most {LARGEST_STRUCT} bytes"))
                            .help("leave out the members behind the last that the script reads"),
                    );
                }
            }
            Item::Enum { name, members, .. } => {
                definer.enumeration(name.as_ref().map_or("", |name| &name.text), members);
            }
            Item::Typedef { members, .. } => {
                for member in members {
                    let Some(name) = &member.name else { continue };
                    let alignment = definer.alignment_of(&member.ty);
                    let ty = match definer.declared_later(member, script) {
                        Some(own) => definer.resolver().suffixed(own, &member.ty),
                        None => definer.member_type(member),
                    };
                    definer.types.add_typedef(&name.text, ty, alignment);
                }
            }
            Item::Clause(_)
            | Item::Function { .. }
            | Item::Macro { .. }
            | Item::Config { .. }
            | Item::Import { .. }
            | Item::MapDeclaration { .. }
            | Item::Directive { .. } => {}
        }
    }
    definer.types
}

struct Definer<'a> {
    target: &'a dyn Target,
    types: ScriptTypes,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Definer<'_> {
    fn members(&mut self, members: &[Member]) -> Vec<NewField> {
        members
            .iter()
            .map(|member| {
                let ty = self.member_type(member);
                let name = member.name.as_ref().map_or("", |name| &name.text);
                let bits = member
                    .bits
                    .as_ref()
                    .map(|bits| self.resolver().constant(bits, &[], "the width of a bit field").clamp(0, 64) as u8);
                NewField {
                    name: name.into(),
                    alignment: self.alignment_of(&member.ty),
                    ty,
                    bits,
                    layout: member.layout,
                }
            })
            .collect()
    }

    fn member_type(&mut self, member: &Member) -> Type {
        let (kind, name) = match &member.ty.base {
            TypeBase::Union(name) => (StructKind::Union, name.as_str()),
            TypeBase::Struct(name) | TypeBase::Enum(name) | TypeBase::Named(name) => {
                (StructKind::Struct, name.as_str())
            }
            TypeBase::TypeOf(_) => (StructKind::Struct, ""),
        };
        let own = match &member.inner {
            None => return self.resolve(&member.ty),
            Some(Inner::Members(members, layout)) => {
                let members = self.members(members);
                Type::Struct(self.types.add_struct(kind, name, members, *layout))
            }
            Some(Inner::Enumerators(members)) => Type::Enum(self.enumeration(name, members)),
        };
        let suffixes = TypeName { base: TypeBase::Named(String::new()), ..member.ty.clone() };
        self.resolver().suffixed(own, &suffixes)
    }

    fn resolve(&mut self, name: &TypeName) -> Type {
        let resolved = self.resolver().resolve(name);
        // A mistake is reported; a number in its place keeps the rest readable.
        if resolved == Type::Unknown { Type::U64 } else { resolved }
    }

    fn resolver(&mut self) -> Resolver<'_> {
        Resolver {
            target: self.target,
            site: None,
            types: &self.types,
            diagnostics: self.diagnostics,
            space: Space::Unknown,
            takes_opaque: true,
            max_strlen: crate::limits::DEFAULT_MAX_STRLEN,
            string_bytes: crate::limits::DEFAULT_MAX_STRLEN,
        }
    }

    /// The struct that a typedef names before its members are known, as headers of C do.
    fn declared_later(&mut self, member: &Member, script: &Script) -> Option<Type> {
        let (kind, tag) = match (&member.ty.base, &member.inner) {
            (TypeBase::Struct(tag), None) => (StructKind::Struct, tag),
            (TypeBase::Union(tag), None) => (StructKind::Union, tag),
            _ => return None,
        };
        if let Some(known) = self.types.struct_named(kind, tag) {
            return Some(Type::Struct(known));
        }
        let is_own = script.items.iter().any(|item| {
            matches!(item, Item::Struct { is_union, name, .. }
                if name.text == *tag && *is_union == (kind == StructKind::Union))
        });
        if is_own {
            self.types.declare(kind, tag);
            return self.types.struct_named(kind, tag).map(Type::Struct);
        }
        // Nothing is known of it; pointers to it may be kept all the same.
        self.target.struct_named(kind, tag).is_none().then_some(Type::Void)
    }

    /// Where the words of the type say it alone.
    fn alignment_of(&self, name: &TypeName) -> Option<u32> {
        let TypeBase::Named(words) = &name.base else { return None };
        let of_typedef = || self.types.typedef_named(words).and_then(|(_, alignment)| alignment);
        c_wide(words).or_else(of_typedef).filter(|_| !name.suffixes.contains(&TypeSuffix::Pointer))
    }

    fn enumeration(&mut self, name: &str, members: &[(ast::Name, Option<ast::Expr>)]) -> EnumRef {
        let mut known: Vec<(Arc<str>, i64)> = Vec::new();
        for (name, value) in members {
            let value = match value {
                None => known.last().map_or(0, |(_, last)| last.wrapping_add(1)),
                Some(value) => self.resolver().constant(value, &known, "an enumerator's value"),
            };
            known.push((name.text.as_str().into(), value));
        }
        self.types.add_enum(name, known)
    }
}

impl Resolver<'_> {
    /// What is known before anything is checked: `what` says of what it is the value, `known` are enumerators before it.
    pub fn constant(&mut self, e: &ast::Expr, known: &[(Arc<str>, i64)], what: &str) -> i64 {
        match &e.kind {
            ExprKind::Int(value) | ExprKind::Duration(value) => return *value as i64,
            ExprKind::Bool(value) => return i64::from(*value),
            ExprKind::Ident(name) => {
                let own = known.iter().find(|(known, _)| **known == **name).map(|(_, value)| *value);
                let before = || self.types.enumerator(name).map(|(value, _)| value);
                if let Some(value) = own.or_else(before).or_else(|| constants::named(name)) {
                    return value;
                }
            }
            ExprKind::SizeOfType(ty) => return i64::from(self.resolve(ty).size()),
            ExprKind::Unary { op, operand } => {
                let value = self.constant(operand, known, what);
                match op {
                    UnaryOp::Negate => return value.wrapping_neg(),
                    UnaryOp::Complement => return !value,
                    UnaryOp::Not => return i64::from(value == 0),
                    UnaryOp::Dereference | UnaryOp::AddressOf => {}
                }
            }
            ExprKind::Ternary { condition, then, otherwise } => {
                let holds = self.constant(condition, known, what);
                return match then {
                    _ if holds == 0 => self.constant(otherwise, known, what),
                    Some(then) => self.constant(then, known, what),
                    None => holds,
                };
            }
            ExprKind::Binary { op, left, right } => {
                let (left, right) = (self.constant(left, known, what), self.constant(right, known, what));
                let op = match op {
                    ast::BinaryOp::Add => Some(BinaryOp::Add),
                    ast::BinaryOp::Subtract => Some(BinaryOp::Subtract),
                    ast::BinaryOp::Multiply => Some(BinaryOp::Multiply),
                    ast::BinaryOp::BitOr => Some(BinaryOp::BitOr),
                    ast::BinaryOp::BitAnd => Some(BinaryOp::BitAnd),
                    ast::BinaryOp::BitXor => Some(BinaryOp::BitXor),
                    ast::BinaryOp::ShiftLeft => Some(BinaryOp::ShiftLeft),
                    ast::BinaryOp::ShiftRight => Some(BinaryOp::ShiftRightSigned),
                    ast::BinaryOp::Divide => Some(BinaryOp::DivideSigned),
                    ast::BinaryOp::Remainder => Some(BinaryOp::RemainderSigned),
                    ast::BinaryOp::Equal => Some(BinaryOp::Equal),
                    ast::BinaryOp::NotEqual => Some(BinaryOp::NotEqual),
                    ast::BinaryOp::Less => Some(BinaryOp::LessSigned),
                    ast::BinaryOp::LessEqual => Some(BinaryOp::LessEqualSigned),
                    ast::BinaryOp::Greater => return i64::from(left > right),
                    ast::BinaryOp::GreaterEqual => return i64::from(left >= right),
                    ast::BinaryOp::And => return i64::from(left != 0 && right != 0),
                    ast::BinaryOp::Or => return i64::from(left != 0 || right != 0),
                    ast::BinaryOp::Xor | ast::BinaryOp::Match | ast::BinaryOp::NotMatch => None,
                };
                if let Some(op) = op {
                    return op.apply(left, right);
                }
            }
            _ => {}
        }
        self.diagnostics.push(
            Diagnostic::error(Code::NotConstant, e.span, format!("{what} is a constant"))
                .label("not known when the script is compiled")
                .help("write it with numbers, enumerators before it and operators"),
        );
        0
    }

    /// The error of an array that would have less than no elements.
    pub fn negative_length(&mut self, span: Span) -> Type {
        self.diagnostics.push(
            Diagnostic::error(Code::BadValue, span, "an array has no length below zero")
                .label("below zero")
                .help("write how many elements it has"),
        );
        Type::Unknown
    }
}
