//! Copies into the memory that alloca() gave. A pointer is a number that the script may have computed, so each copy finds out which
//! memory it is in; nothing else is ever written.

use rtrace_lang::hir::{BinaryOp, Expr, ExprKind, LocalId};
use rtrace_lang::span::Span;
use rtrace_lang::types::{Space, Type};

use crate::ir::{Value, ValueKind};
use crate::object::ErrorKind;

use super::Lower;
use super::memory::read_helper;

impl Lower<'_> {
    /// 1 where all of the bytes are there afterwards.
    pub(super) fn copy_bytes(&mut self, from: &Expr, to: &Expr, length: &Expr, most: u32, span: Span) -> Value {
        let space = match &from.ty {
            Type::Pointer { space, .. } => *space,
            _ => Space::Unknown,
        };
        let (address, target, length) = (self.value(from), self.value(to), self.value(length));
        let (outside, unread) = (self.b.block(), self.b.block());
        let (end, result) = self.b.block_with(ValueKind::Int);
        let fits = self.b.block();
        let limit = self.b.int(i64::from(most));
        self.b.branch(BinaryOp::LessEqualUnsigned, length, limit, fits, outside);
        self.b.enter(fits);
        for (number, local) in self.program.locals.iter().enumerate() {
            let Some(bytes) = local.allocated else { continue };
            let id = LocalId(number as u32);
            let place = self.memory_of(id).expect("an array lies in memory");
            let own = self.address_of(&Expr { kind: ExprKind::Local(id), ty: local.ty.clone(), span });
            let at = self.b.binary(BinaryOp::Subtract, target, own);
            let (inside, copy, next) = (self.b.block(), self.b.block(), self.b.block());
            let end_of_it = self.b.int(i64::from(bytes));
            self.b.branch(BinaryOp::LessUnsigned, at, end_of_it, inside, next);
            self.b.enter(inside);
            let left = self.b.binary(BinaryOp::Subtract, end_of_it, at);
            self.b.branch(BinaryOp::LessEqualUnsigned, length, left, copy, outside);
            self.b.enter(copy);
            let half = bytes.next_power_of_two();
            let at = self.b.bounded(at, half - 1);
            let pointer = self.pointer(place);
            let pointer = self.b.pointer_add(pointer, at);
            let length = self.b.bounded(length, half);
            let failed = self.b.call(read_helper(space), &[pointer, length, address]);
            let (good, zero, one) = (self.b.block(), self.b.int(0), self.b.int(1));
            self.b.branch(BinaryOp::LessSigned, failed, zero, unread, good);
            self.b.enter(good);
            self.b.jump(end, &[one]);
            self.b.enter(next);
        }
        self.b.jump(outside, &[]);
        self.b.enter(outside);
        self.count_error(ErrorKind::Copy, span);
        let zero = self.b.int(0);
        self.b.jump(end, &[zero]);
        self.b.enter(unread);
        self.count_error(ErrorKind::Read(read_helper(space)), span);
        let zero = self.b.int(0);
        self.b.jump(end, &[zero]);
        self.b.enter(end);
        result
    }
}
