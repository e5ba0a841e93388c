//! Types that the script defines: its structs, unions and enums become part of what the checker knows.

use std::sync::Arc;

use crate::ast::{self, ExprKind, Item, Member, Script, TypeBase, TypeName, UnaryOp};
use crate::constants;
use crate::diagnostic::{Code, Diagnostic};
use crate::hir::BinaryOp;
use crate::script_types::{NewField, ScriptTypes};
use crate::target::Target;
use crate::types::{Space, StructKind, Type};

use super::typenames::Resolver;

/// Bytes of a struct that a script may define: it is copied as a whole.
const LARGEST_STRUCT: u32 = 64 * 1024;

pub fn definitions(script: &Script, target: &dyn Target, diagnostics: &mut Vec<Diagnostic>) -> ScriptTypes {
    let mut definer = Definer { target, types: ScriptTypes::default(), diagnostics };
    for item in &script.items {
        match item {
            Item::Struct { is_union, name, members, is_packed, span } => {
                let kind = if *is_union { StructKind::Union } else { StructKind::Struct };
                definer.types.declare(kind, &name.text);
                let members = definer.members(members);
                let own = definer.types.add_struct(kind, &name.text, members, *is_packed);
                if own.size > LARGEST_STRUCT {
                    definer.diagnostics.push(
                        Diagnostic::error(Code::TooLarge, *span, format!("the struct takes {} bytes", own.size))
                            .label(format!("at most {LARGEST_STRUCT} bytes"))
                            .help("leave out the members behind the last that the script reads"),
                    );
                }
            }
            Item::Enum { name, members, .. } => {
                let mut known: Vec<(Arc<str>, i64)> = Vec::new();
                for (name, value) in members {
                    let value = match value {
                        None => known.last().map_or(0, |(_, last)| last.wrapping_add(1)),
                        Some(value) => definer.constant(value, &known),
                    };
                    known.push((name.text.as_str().into(), value));
                }
                definer.types.add_enum(name.as_ref().map_or("", |name| &name.text), known);
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
                NewField { name: name.into(), ty, bits: member.bits.map(|bits| bits.min(64) as u8) }
            })
            .collect()
    }

    fn member_type(&mut self, member: &Member) -> Type {
        let Some(nested) = &member.nested else { return self.resolve(&member.ty) };
        let (kind, name) = match &member.ty.base {
            TypeBase::Union(name) => (StructKind::Union, name.as_str()),
            TypeBase::Struct(name) | TypeBase::Enum(name) | TypeBase::Named(name) => {
                (StructKind::Struct, name.as_str())
            }
            TypeBase::TypeOf(_) => (StructKind::Struct, ""),
        };
        let members = self.members(nested);
        let own = Type::Struct(self.types.add_struct(kind, name, members, false));
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

    /// The value of an enumerator.
    fn constant(&mut self, e: &ast::Expr, known: &[(Arc<str>, i64)]) -> i64 {
        match &e.kind {
            ExprKind::Int(value) | ExprKind::Duration(value) => return *value as i64,
            ExprKind::Ident(name) => {
                let own = known.iter().find(|(known, _)| **known == **name).map(|(_, value)| *value);
                let before = || self.types.enumerator(name).map(|(value, _)| value);
                if let Some(value) = own.or_else(before).or_else(|| constants::named(name)) {
                    return value;
                }
            }
            ExprKind::Unary { op, operand } => {
                let value = self.constant(operand, known);
                match op {
                    UnaryOp::Negate => return value.wrapping_neg(),
                    UnaryOp::Complement => return !value,
                    UnaryOp::Not => return i64::from(value == 0),
                    UnaryOp::Dereference | UnaryOp::AddressOf => {}
                }
            }
            ExprKind::Binary { op, left, right } => {
                let (left, right) = (self.constant(left, known), self.constant(right, known));
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
                    _ => None,
                };
                if let Some(op) = op {
                    return op.apply(left, right);
                }
            }
            _ => {}
        }
        self.diagnostics.push(
            Diagnostic::error(Code::NotConstant, e.span, "an enumerator's value is a constant")
                .label("not known when the script is compiled")
                .help("write it with numbers, enumerators before it and operators"),
        );
        0
    }
}
