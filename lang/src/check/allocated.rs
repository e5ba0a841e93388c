//! D's scratch memory: `alloca()`, which is a variable without a name, and `bcopy()` into it.

use std::sync::Arc;

use crate::ast;
use crate::builtins::Builtin;
use crate::diagnostic::{Code, Diagnostic};
use crate::hir::{Expr, ExprKind, Stmt, StmtKind};
use crate::limits::MOST_ALLOCATED_BYTES;
use crate::span::Span;
use crate::types::{Space, Type};

use super::body::Body;

const BYTE: Type = Type::Int { bytes: 1, signed: false };

impl Body<'_, '_, '_> {
    /// `alloca(bytes)`: the address of a variable, once it is zeroed.
    pub fn allocated(&mut self, bytes: &ast::Expr, span: Span) -> Expr {
        let value = self.expr(bytes);
        if value.ty == Type::Unknown {
            return value;
        }
        let Some(n) = value.constant().filter(|_| value.ty.is_integer()) else {
            return self.fail(
                Diagnostic::error(Code::NotConstant, bytes.span, "the size of memory is a constant")
                    .label("known only when the probe fires")
                    .help("take as much as there may be: `alloca(256)`; bcopy() and copyinto() take a number that is not known"),
            );
        };
        let Some(n) = u32::try_from(n).ok().filter(|n| (1..=MOST_ALLOCATED_BYTES).contains(n)) else {
            return self.fail(
                Diagnostic::error(Code::BadValue, bytes.span, format!("alloca() cannot give {n} bytes"))
                    .label("out of range")
                    .help(format!("it gives 1 to {MOST_ALLOCATED_BYTES} bytes")),
            );
        };
        // Where a place in it and a length are cut to powers of two, both together stay inside.
        let room = n.next_power_of_two() * 2;
        let ty = Type::Array { of: Arc::new(BYTE), len: room };
        let local = self.hidden_memory(&ty, n);
        let zeros = Expr { kind: ExprKind::Str(vec![0; room as usize].into()), ty: ty.clone(), span };
        let clear = Stmt { kind: StmtKind::SetLocal { local, value: zeros }, span };
        let memory = Expr { kind: ExprKind::Local(local), ty, span };
        let address =
            Expr { kind: ExprKind::AddressOf(Box::new(memory)), ty: Type::pointer(BYTE, Space::Kernel), span };
        self.after(vec![clear], address)
    }

    /// `bcopy(source, destination, bytes)`
    pub fn copy_bytes(&mut self, row: &'static Builtin, values: &[Expr], span: Span) -> Expr {
        let [source, destination, length] = values else { unreachable!("their number has been checked") };
        let found = match &source.kind {
            // Bytes that are read only for this are read where they go.
            ExprKind::ReadBytes { pointer, .. } => Some((Expr::clone(pointer), None)),
            _ if matches!(source.ty, Type::Buffer(_)) => None,
            _ => self.bytes_at(source),
        };
        let Some((from, size)) = found else {
            return self.wrong_type(row, source, "a pointer, a string or an array");
        };
        let is_pointer = match &destination.ty {
            Type::Pointer { space, .. } => *space != Space::User,
            ty => ty.is_integer() && ty.size() == 8 && destination.constant().is_none(),
        };
        if !is_pointer {
            return self.wrong_type(row, destination, "a pointer from alloca() as the second");
        }
        if !length.ty.is_integer() {
            return self.wrong_type(row, length, "a number of bytes");
        }
        if let (Some(n), Some(size)) = (length.constant(), size)
            && !(0..=i64::from(size)).contains(&n)
        {
            return self.fail(
                Diagnostic::error(Code::BadValue, length.span, format!("bcopy() cannot take {n} bytes of {size}"))
                    .label("more than the source has")
                    .help(row.signature),
            );
        }
        let kind = ExprKind::CopyBytes {
            from: Box::new(from),
            to: Box::new(destination.clone()),
            length: Box::new(length.clone()),
            most: size.unwrap_or(MOST_ALLOCATED_BYTES),
        };
        Expr { kind, ty: Type::Bool, span }
    }
}
