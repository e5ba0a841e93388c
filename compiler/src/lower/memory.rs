//! Values written into memory: keys, map values, records. Every part takes a multiple of 8 bytes, padded with zeros.

use rtrace_lang::calls;
use rtrace_lang::hir::{Expr, ExprKind};
use rtrace_lang::types::Type;

use crate::ir::Value;

use super::{Lower, Place};

/// Up to that many bytes are zeroed or copied word by word; beyond, a helper call is shorter and faster.
const MOST_INLINE_BYTES: u32 = 128;

impl Lower<'_> {
    /// Writes a value as its own type says.
    pub(super) fn write(&mut self, e: &Expr, place: Place) {
        let ty = e.ty.clone();
        self.write_as(e, &ty, place);
    }

    /// Writes a value as the type that a map, a key or a variable has: strings are padded to its capacity.
    pub(super) fn write_as(&mut self, e: &Expr, ty: &Type, place: Place) {
        match (ty, &e.kind) {
            (Type::Str(capacity), _) => self.write_string(e, *capacity, place, true),
            (Type::Tuple(types), ExprKind::Tuple(parts)) => {
                let mut at = 0;
                for (part, ty) in parts.iter().zip(types.iter()) {
                    self.write_as(part, ty, place.at(at));
                    at += ty.stored_bytes();
                }
            }
            (Type::Tuple(_), ExprKind::MapGet { map, key }) => self.copy_from_map(*map, key, ty.stored_bytes(), place),
            (Type::Tuple(_), ExprKind::Local(local)) => {
                let from = Place { base: self.scratch, offset: self.strings[local] as i32 };
                self.copy(from, place, ty.stored_bytes());
            }
            (Type::Tuple(_), ExprKind::Ternary { condition, then, otherwise }) => {
                self.either(
                    condition,
                    |lower| lower.write_as(then, ty, place),
                    |lower| lower.write_as(otherwise, ty, place),
                );
            }
            (Type::Stack { user: true, .. } | Type::Symbol { user: true }, ExprKind::MapGet { map, key }) => {
                self.copy_from_map(*map, key, 16, place);
            }
            _ => {
                let value = self.value(e);
                self.b.store(place.base, place.offset, 8, value);
                if let Type::Stack { user: true, .. } | Type::Symbol { user: true } = ty {
                    // What resolves the addresses later: the process they were taken in.
                    let both = self.b.call(calls::GET_CURRENT_PID_TGID, &[]);
                    let process = self.b.binary_int(rtrace_lang::hir::BinaryOp::ShiftRightUnsigned, both, 32);
                    self.b.store(place.base, place.offset + 8, 8, process);
                }
            }
        }
    }

    /// Runs one of the two, and goes on.
    pub(super) fn either(&mut self, condition: &Expr, then: impl FnOnce(&mut Self), otherwise: impl FnOnce(&mut Self)) {
        let (yes, no, after) = (self.b.block(), self.b.block(), self.b.block());
        self.condition(condition, yes, no);
        self.b.enter(yes);
        then(self);
        self.b.jump(after, &[]);
        self.b.enter(no);
        otherwise(self);
        self.b.jump(after, &[]);
        self.b.enter(after);
    }

    pub(super) fn fill_zero(&mut self, place: Place, bytes: u32) {
        if bytes <= MOST_INLINE_BYTES {
            let zero = self.b.int(0);
            for at in (0..bytes).step_by(8) {
                self.b.store(place.base, place.offset + at as i32, 8, zero);
            }
        } else {
            // A read from an address that is never mapped fails at once and leaves zeros.
            let (pointer, size) = (self.pointer(place), self.b.int(i64::from(bytes)));
            let nowhere = self.b.int(0);
            self.b.call(calls::PROBE_READ_KERNEL, &[pointer, size, nowhere]);
        }
    }

    pub(super) fn copy(&mut self, from: Place, to: Place, bytes: u32) {
        if bytes <= MOST_INLINE_BYTES {
            for at in (0..bytes as i32).step_by(8) {
                let word = self.b.load(from.base, from.offset + at, 8, false);
                self.b.store(to.base, to.offset + at, 8, word);
            }
        } else {
            let (from, to, size) = (self.pointer(from), self.pointer(to), self.b.int(i64::from(bytes)));
            let from = self.b.address(from);
            self.b.call(calls::PROBE_READ_KERNEL, &[to, size, from]);
        }
    }

    /// Copies a map's value, or zeros where the key is missing.
    pub(super) fn copy_from_map(&mut self, map: rtrace_lang::hir::MapId, key: &[Expr], bytes: u32, to: Place) {
        let found = self.look_up(map, key);
        let (yes, no, after) = (self.b.block(), self.b.block(), self.b.block());
        self.b.branch_nonzero(found, yes, no);
        self.b.enter(yes);
        self.copy(Place { base: found, offset: 0 }, to, bytes);
        self.b.jump(after, &[]);
        self.b.enter(no);
        self.fill_zero(to, bytes);
        self.b.jump(after, &[]);
        self.b.enter(after);
    }

    /// The key of a map, built in temporary memory.
    pub(super) fn key(&mut self, map: rtrace_lang::hir::MapId, key: &[Expr]) -> Value {
        let types = self.hir.maps[map.index()].key.clone();
        let place = self.temporary(types.iter().map(Type::stored_bytes).sum());
        let mut at = 0;
        for (part, ty) in key.iter().zip(&types) {
            self.write_as(part, ty, place.at(at));
            at += ty.stored_bytes();
        }
        self.pointer(place)
    }
}
