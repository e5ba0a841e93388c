//! Values written into memory: keys, map values, records. Every part takes a multiple of 8 bytes, padded with zeros.

use rtrace_lang::calls;
use rtrace_lang::hir::{BinaryOp, Expr, ExprKind};
use rtrace_lang::span::Span;
use rtrace_lang::types::{Space, Type};

use crate::ir::{Value, ValueKind};
use crate::object::ErrorKind;

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
        let is_wide = !ty.is_scalar() || ty.stored_bytes() > 8;
        match (ty, &e.kind) {
            (_, ExprKind::Block { statements, value }) => {
                self.statements(statements);
                self.write_as(value, ty, place);
            }
            (Type::Str(capacity), _) => self.write_string(e, *capacity, place, ty.stored_bytes()),
            (Type::Tuple(types), ExprKind::Tuple(parts)) => self.write_parts(parts, types.iter(), place),
            (Type::Record(types), ExprKind::Tuple(parts)) => {
                self.write_parts(parts, types.iter().map(|(_, ty)| ty), place);
            }
            // Strings inside may have more room here than where they come from.
            (Type::Tuple(_) | Type::Record(_), _) if e.ty != *ty => {
                let from = self.place_of(e);
                self.widen(from, &e.ty, ty, place);
            }
            (_, ExprKind::MapGet { map, key }) if is_wide => self.copy_from_map(*map, key, ty.stored_bytes(), place),
            (_, ExprKind::Ternary { condition, then, otherwise }) if is_wide => {
                self.either(
                    condition,
                    |lower| lower.write_as(then, ty, place),
                    |lower| lower.write_as(otherwise, ty, place),
                );
            }
            (_, ExprKind::Local(_) | ExprKind::Part { .. } | ExprKind::Member { .. }) if is_wide => {
                let from = self.place_of(e);
                self.copy_from(from, place, ty);
            }
            // The bytes of a number.
            (Type::Array { .. }, ExprKind::Convert(inner)) => {
                let value = self.value(inner);
                self.b.store(place.base, place.offset, 8, value);
                self.clear_behind(place, ty.size());
            }
            // Bytes that are known.
            (Type::Struct(_) | Type::Array { .. } | Type::Buffer(_) | Type::Inet, ExprKind::Str(bytes))
                if bytes.iter().all(|byte| *byte == 0) =>
            {
                self.fill_zero(place, ty.stored_bytes());
            }
            (Type::Array { .. }, ExprKind::Str(bytes)) => {
                for (number, word) in bytes.chunks(8).enumerate() {
                    let mut padded = [0; 8];
                    padded[..word.len()].copy_from_slice(word);
                    let word = self.b.int(i64::from_le_bytes(padded));
                    self.b.store(place.base, place.offset + number as i32 * 8, 8, word);
                }
            }
            (Type::Buffer(capacity), ExprKind::ReadBytes { pointer, length }) => {
                self.write_buffer(pointer, length, *capacity, place, e.span);
            }
            (Type::Buffer(capacity), ExprKind::Deref { pointer, offset, .. }) => {
                let (address, space) = self.place_address(pointer, *offset);
                let length = self.b.int(i64::from(*capacity));
                self.b.store(place.base, place.offset, 8, length);
                self.read_bytes(address, space, *capacity, place.at(8), e.span);
            }
            (Type::Struct(_) | Type::Array { .. }, ExprKind::Context(location)) => {
                let address = self.context_address(location);
                self.read_bytes(address, Space::Kernel, ty.size(), place, e.span);
            }
            (Type::Inet, ExprKind::Inet { family, address, bytes }) => {
                self.write_inet(family, address, *bytes, place, e.span);
            }
            (Type::Struct(_) | Type::Array { .. }, ExprKind::Deref { pointer, offset, .. }) => {
                let (address, space) = self.place_address(pointer, *offset);
                self.read_bytes(address, space, ty.size(), place, e.span);
            }
            _ => {
                let value = self.value(e);
                self.b.store(place.base, place.offset, 8, value);
                if let Type::Stack { user: true, .. } | Type::Symbol { user: true, .. } = ty {
                    // What resolves the addresses later: the process they were taken in.
                    let both = self.process_and_thread();
                    let process = self.b.binary_int(BinaryOp::ShiftRightUnsigned, both, 32);
                    self.b.store(place.base, place.offset + 8, 8, process);
                }
            }
        }
    }

    /// The length, then that many bytes; of what cannot be read there are none.
    fn write_buffer(&mut self, pointer: &Expr, length: &Expr, capacity: u32, place: Place, span: Span) {
        let space = match &pointer.ty {
            Type::Pointer { space, .. } => *space,
            _ => Space::Unknown,
        };
        let (address, length) = (self.value(pointer), self.value(length));
        let size = self.at_most(length, capacity);
        self.b.store(place.base, place.offset, 8, size);
        // Equal buffers are equal bytes, also as keys.
        self.fill_zero(place.at(8), capacity.next_multiple_of(8));
        let to = self.pointer(place.at(8));
        let result = self.b.call(read_helper(space), &[to, size, address]);
        self.if_negative(result, |lower| {
            lower.count_error(ErrorKind::Read(read_helper(space)), span);
            let zero = lower.b.int(0);
            lower.b.store(place.base, place.offset, 8, zero);
        });
    }

    /// Writes a buffer into the memory of the process; 1 where all of it went there.
    pub(super) fn write_user(&mut self, address: &Expr, buffer: &Expr) -> Value {
        let Type::Buffer(capacity) = buffer.ty else { unreachable!("the checker makes it a buffer") };
        let address = self.value(address);
        let place = self.kept(buffer);
        let from = self.pointer(place.at(8));
        let (some, after) = (self.b.block(), self.b.block());
        let (end, result) = self.b.block_with(ValueKind::Int);
        let known = match &buffer.kind {
            ExprKind::ReadBytes { length, .. } => length.constant(),
            _ => None,
        };
        let length = match known {
            Some(known) => self.b.int(known.clamp(0, i64::from(capacity))),
            None => {
                // Bounded where it is used: older verifiers forget the bounds of what they put aside.
                let length = self.b.load(place.base, place.offset, 8, false);
                self.b.bounded(length, capacity)
            }
        };
        // The helper takes no length of 0, and the verifier of 6.1 does not learn from `!= 0` that it is more.
        let zero = self.b.int(0);
        self.b.branch(BinaryOp::LessUnsigned, zero, length, some, after);
        self.b.enter(after);
        let nothing = self.b.int(0);
        self.b.jump(end, &[nothing]);
        self.b.enter(some);
        let failed = self.b.call(calls::PROBE_WRITE_USER, &[address, from, length]);
        let done = self.b.binary_int(BinaryOp::Equal, failed, 0);
        self.b.jump(end, &[done]);
        self.b.enter(end);
        result
    }

    fn write_inet(&mut self, family: &Expr, address: &Expr, bytes: u32, place: Place, span: Span) {
        let (family, value) = (self.value(family), self.value(address));
        self.b.store(place.base, place.offset, 8, family);
        self.fill_zero(place.at(8), 16);
        if bytes == 0 {
            self.b.store(place.base, place.offset + 8, 4, value);
            return;
        }
        let space = match &address.ty {
            Type::Pointer { space, .. } => *space,
            _ => Space::Unknown,
        };
        self.read_bytes(value, space, bytes, place.at(8), span);
    }

    pub(super) fn write_parts<'t>(&mut self, parts: &[Expr], types: impl Iterator<Item = &'t Type>, place: Place) {
        let mut at = 0;
        for (part, ty) in parts.iter().zip(types) {
            self.write_as(part, ty, place.at(at));
            at += ty.stored_bytes();
        }
    }

    /// Copies a kept value into one of a wider type, part by part.
    fn widen(&mut self, from: Place, own: &Type, wanted: &Type, to: Place) {
        let (own_parts, wanted_parts) = (own.parts(), wanted.parts());
        if own_parts.is_empty() {
            match wanted {
                Type::Str(capacity) => {
                    let room = capacity.next_multiple_of(8);
                    self.copy_string(from, own.stored_bytes(), to, room, room);
                }
                _ => self.copy_from(from, to, wanted),
            }
            return;
        }
        let (mut read, mut written) = (0, 0);
        for (own, wanted) in own_parts.iter().zip(&wanted_parts) {
            self.widen(from.at(read), own, wanted, to.at(written));
            read += own.stored_bytes();
            written += wanted.stored_bytes();
        }
    }

    /// The memory in which a value of several words lies; it is put into temporary memory if it does not.
    pub(super) fn place_of(&mut self, e: &Expr) -> Place {
        match &e.kind {
            ExprKind::Local(local) => match self.memory_of(*local) {
                Some(place) => place,
                None => self.written(e),
            },
            ExprKind::Part { base, offset } | ExprKind::Member { base, offset, .. } => self.place_of(base).at(*offset),
            _ => self.written(e),
        }
    }

    /// The same, never on the stack: there the kernel's verifier wants to know each place that is read.
    pub(super) fn kept(&mut self, e: &Expr) -> Place {
        match &e.kind {
            ExprKind::Local(local) if self.memory_of(*local).is_some() => self.place_of(e),
            _ => {
                let place = self.scratch_memory(e.ty.stored_bytes());
                self.write(e, place);
                place
            }
        }
    }

    fn written(&mut self, e: &Expr) -> Place {
        let place = self.temporary(e.ty.stored_bytes());
        self.write(e, place);
        place
    }

    /// Copies a value of that type: a struct inside another may begin anywhere and have any length.
    fn copy_from(&mut self, from: Place, to: Place, ty: &Type) {
        let is_aligned = from.offset % 8 == 0 && !matches!(ty, Type::Struct(_) | Type::Array { .. });
        if is_aligned {
            self.copy(from, to, ty.stored_bytes());
        } else {
            let address = self.pointer(from);
            let address = self.b.address(address);
            self.clear_tail(to, ty.size());
            let (to, size) = (self.pointer(to), self.b.int(i64::from(ty.size())));
            self.b.call(calls::PROBE_READ_KERNEL, &[to, size, address]);
        }
    }

    /// Zeroes what is left of a word of which that many bytes count.
    fn clear_behind(&mut self, place: Place, bytes: u32) {
        if bytes < 8 {
            let word = self.b.load(place.base, place.offset, 8, false);
            let word = self.b.binary_int(BinaryOp::BitAnd, word, (1 << (bytes * 8)) - 1);
            self.b.store(place.base, place.offset, 8, word);
        }
    }

    /// Whether two values are the same, both written as that type.
    pub(super) fn same(&mut self, left: &Expr, right: &Expr, ty: &Type, negated: bool) -> Value {
        let (a, b) = (self.temporary(ty.stored_bytes()), self.temporary(ty.stored_bytes()));
        self.write_as(left, ty, a);
        self.write_as(right, ty, b);
        let (differ, after) = (self.b.block(), self.b.block());
        let (end, result) = self.b.block_with(ValueKind::Int);
        for at in (0..ty.stored_bytes() as i32).step_by(8) {
            let next = self.b.block();
            let (x, y) = (self.b.load(a.base, a.offset + at, 8, false), self.b.load(b.base, b.offset + at, 8, false));
            self.b.branch(BinaryOp::Equal, x, y, next, differ);
            self.b.enter(next);
        }
        self.b.jump(after, &[]);
        self.b.enter(after);
        let value = self.b.int(i64::from(!negated));
        self.b.jump(end, &[value]);
        self.b.enter(differ);
        let value = self.b.int(i64::from(negated));
        self.b.jump(end, &[value]);
        self.b.enter(end);
        result
    }

    /// Zeroes the last word of that many bytes, where they do not fill it.
    fn clear_tail(&mut self, place: Place, bytes: u32) {
        if !bytes.is_multiple_of(8) {
            let zero = self.b.int(0);
            self.b.store(place.base, place.offset + (bytes / 8 * 8) as i32, 8, zero);
        }
    }

    /// Reads that many bytes safely; what cannot be read is zero and counted.
    pub(super) fn read_bytes(&mut self, address: Value, space: Space, bytes: u32, place: Place, span: Span) {
        self.clear_tail(place, bytes);
        let (pointer, size) = (self.pointer(place), self.b.int(i64::from(bytes)));
        let result = self.b.call(read_helper(space), &[pointer, size, address]);
        self.if_negative(result, |lower| lower.count_error(ErrorKind::Read(read_helper(space)), span));
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
}

/// The helper that copies memory from there safely.
pub(super) fn read_helper(space: Space) -> u32 {
    match space {
        Space::Kernel => calls::PROBE_READ_KERNEL,
        Space::User => calls::PROBE_READ_USER,
        Space::Unknown => calls::PROBE_READ,
    }
}
