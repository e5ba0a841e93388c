//! Strings: read into memory, and compared.

use rtrace_lang::calls;
use rtrace_lang::hir::{BinaryOp, Expr, ExprKind, texts};
use rtrace_lang::limits::COMM_BYTES;
use rtrace_lang::types::{Shown, Space, Type};

use crate::ir::{Value, ValueKind};
use crate::object::ErrorKind;

use super::{Lower, Place};

/// Strings up to that many words are compared without a loop.
const MOST_UNROLLED_WORDS: u32 = 16;

impl Lower<'_> {
    /// Writes a string of at most `capacity` bytes, its NUL included. Within its first `padded` bytes, a multiple of 8, what
    /// follows the NUL is zero, so that equal strings are equal bytes there.
    pub(super) fn write_string(&mut self, e: &Expr, capacity: u32, place: Place, padded: u32) {
        let room = capacity.next_multiple_of(8);
        match &e.kind {
            ExprKind::Str(text) => {
                let text = &text[..text.len().min(capacity.saturating_sub(1) as usize)];
                let mut bytes = text.to_vec();
                bytes.push(0);
                bytes.resize(bytes.len().next_multiple_of(8), 0);
                if padded > bytes.len() as u32 {
                    self.fill_zero(place.at(bytes.len() as u32), padded - bytes.len() as u32);
                }
                for (number, word) in bytes.chunks_exact(8).enumerate() {
                    let word = i64::from_le_bytes(word.try_into().expect("chunks of 8"));
                    let word = self.b.int(word);
                    self.b.store(place.base, place.offset + number as i32 * 8, 8, word);
                }
            }
            ExprKind::Comm => {
                // Kernels from 6.0 to 6.1 leave what follows the NUL as it was.
                self.fill_zero(place, padded);
                if room < COMM_BYTES {
                    let whole = self.temporary(COMM_BYTES);
                    self.fill_zero(whole, COMM_BYTES);
                    self.comm(whole);
                    self.copy(whole, place, room);
                } else {
                    self.comm(place);
                }
            }
            ExprKind::ReadString { pointer, space, limit } => {
                let Type::Str(own) = e.ty else { unreachable!("a string has a capacity") };
                let address = self.value(pointer);
                let size = match limit {
                    Some(limit) => self.bounded_size(limit, own.min(capacity)),
                    None => self.b.int(i64::from(own.min(capacity))),
                };
                self.read_string(address, *space, size, place, padded, e);
            }
            ExprKind::Deref { pointer, offset, .. } => {
                let (address, space) = self.place_address(pointer, *offset);
                let size = self.b.int(i64::from(e.ty.size().min(capacity)));
                self.read_string(address, space, size, place, padded, e);
            }
            ExprKind::Context(location) => {
                let address = self.context_address(location);
                let size = self.b.int(i64::from(e.ty.size().min(capacity)));
                self.read_string(address, Space::Kernel, size, place, padded, e);
            }
            ExprKind::Local(local) => {
                let own = self.program.locals[local.index()].ty.stored_bytes();
                let from = self.place_of(e);
                self.copy_string(from, own, place, room, padded);
            }
            ExprKind::Part { .. } => {
                let from = self.place_of(e);
                self.copy_string(from, e.ty.stored_bytes(), place, room, padded);
            }
            ExprKind::Member { .. } => {
                let from = self.place_of(e);
                let from = self.pointer(from);
                let address = self.b.address(from);
                let size = self.b.int(i64::from(e.ty.size().min(capacity)));
                self.read_string(address, Space::Kernel, size, place, padded, e);
            }
            ExprKind::Block { statements, value } => {
                self.statements(statements);
                self.write_string(value, capacity, place, padded);
            }
            ExprKind::Concatenate(left, right) => self.concatenate(left, right, place, room, padded),
            ExprKind::MapGet { map, key } => {
                let own = e.ty.stored_bytes();
                self.copy_from_map(*map, key, own.min(room), place);
                if padded > own {
                    self.fill_zero(place.at(own), padded - own);
                }
            }
            ExprKind::Ternary { condition, then, otherwise } => self.either(
                condition,
                |lower| lower.write_string(then, capacity, place, padded),
                |lower| lower.write_string(otherwise, capacity, place, padded),
            ),
            ExprKind::Convert(name) if name.ty.has_text() => {
                let address = self.text_address(name, e.ty.size());
                let size = self.b.int(i64::from(e.ty.size().min(capacity)));
                self.read_string(address, Space::Kernel, size, place, padded, e);
            }
            ExprKind::Convert(inner) => self.write_string(inner, capacity, place, padded),
            _ => unreachable!("not a string: {e:?}"),
        }
    }

    /// Where the text of a name stands, in a table of texts that have so much room each.
    fn text_address(&mut self, name: &Expr, room: u32) -> Value {
        let mut number = self.value(name);
        if let Type::Shown(Shown::ErrorText) = name.ty {
            // Errors may be below zero.
            let sign = self.b.binary_int(BinaryOp::ShiftRightSigned, number, 63);
            let other = self.b.binary(BinaryOp::BitXor, number, sign);
            number = self.b.binary(BinaryOp::Subtract, other, sign);
        }
        let texts = texts(&self.hir.sites, &name.ty).unwrap_or_default();
        let mut table = Vec::new();
        for text in &texts {
            table.extend_from_slice(text.as_bytes());
            table.resize(table.len() + room as usize - text.len(), 0);
        }
        let offset = self.shared.table(table);
        let start = self.b.map_value_address(self.shared.globals_map, offset);
        let number = self.at_most(number, texts.len() as u32 - 1);
        let distance = self.b.binary_int(BinaryOp::Multiply, number, i64::from(room));
        let text = self.b.pointer_add(start, distance);
        self.b.address(text)
    }

    /// Copies a kept string of `own` bytes into `room`.
    pub(super) fn copy_string(&mut self, from: Place, own: u32, place: Place, room: u32, padded: u32) {
        self.copy(from, place, own.min(room));
        if room < own {
            // Cut: the last byte ends it.
            let zero = self.b.int(0);
            self.b.store(place.base, place.offset + room as i32 - 1, 1, zero);
        } else if padded > own {
            self.fill_zero(place.at(own), padded - own);
        }
    }

    /// Both strings, one behind the other: put together in the scratch memory, then copied.
    fn concatenate(&mut self, left: &Expr, right: &Expr, place: Place, room: u32, padded: u32) {
        let (Type::Str(a), Type::Str(b)) = (&left.ty, &right.ty) else { unreachable!("two strings") };
        let (a, b) = (*a, *b);
        let whole = self.scratch_memory(a + b);
        self.fill_zero(whole, (a + b).next_multiple_of(8).min(padded));
        let (first, second) = (self.scratch_memory(a), self.scratch_memory(b));
        self.write_string(left, a, first, 0);
        self.write_string(right, b, second, 0);
        let end = self.read_kept(first, a, whole);
        let end = self.b.bounded(end, a - 1);
        let start = self.pointer(whole);
        let joint = self.b.pointer_add(start, end);
        let (size, second) = (self.b.int(i64::from(b)), self.pointer(second));
        let second = self.b.address(second);
        self.b.call(calls::PROBE_READ_KERNEL_STR, &[joint, size, second]);
        self.copy_string(whole, (a + b).next_multiple_of(8), place, room, padded);
    }

    /// Copies a kept string of that capacity; gives its length without the NUL, which is below the capacity.
    pub(super) fn read_kept(&mut self, from: Place, capacity: u32, to: Place) -> Value {
        let (to, from, size) = (self.pointer(to), self.pointer(from), self.b.int(i64::from(capacity)));
        let from = self.b.address(from);
        let length = self.b.call(calls::PROBE_READ_KERNEL_STR, &[to, size, from]);
        let length = self.b.binary_int(BinaryOp::Subtract, length, 1);
        // An error becomes 0 without a branch. Kernel 6.1 may take the way of a constant 0 for all ways behind calls, and
        // leave out what only other lengths reach.
        let error = self.b.binary_int(BinaryOp::ShiftRightSigned, length, 63);
        let good = self.b.binary_int(BinaryOp::BitXor, error, -1);
        self.b.binary(BinaryOp::BitAnd, length, good)
    }

    pub(super) fn string_length(&mut self, e: &Expr) -> Value {
        let Type::Str(capacity) = e.ty else { unreachable!("a string has a capacity") };
        let place = self.kept(e);
        let copy = self.scratch_memory(capacity);
        self.read_kept(place, capacity, copy)
    }

    /// -1, 0 or 1: which of two strings comes first.
    pub(super) fn string_order(&mut self, left: &Expr, right: &Expr, limit: Option<u32>) -> Value {
        let capacity = left.ty.size().max(right.ty.size()).min(limit.map_or(u32::MAX, |limit| limit + 1));
        let (first, second) = (self.scratch_memory(capacity), self.scratch_memory(capacity));
        self.write_cut(left, capacity, first);
        self.write_cut(right, capacity, second);
        self.first_difference(first, second, capacity.div_ceil(8), |lower, a, b| {
            // The first byte is the highest once the bytes are in the other order.
            let (a, b) = (lower.b.byte_swap(a, 8), lower.b.byte_swap(b, 8));
            let less = lower.b.binary(BinaryOp::LessUnsigned, a, b);
            let twice = lower.b.binary_int(BinaryOp::Multiply, less, -2);
            lower.b.binary_int(BinaryOp::Add, twice, 1)
        })
    }

    /// Writes a string, padded, of which only the first bytes may fit.
    fn write_cut(&mut self, e: &Expr, capacity: u32, place: Place) {
        if e.ty.size() <= capacity {
            return self.write_string(e, capacity, place, capacity.next_multiple_of(8));
        }
        let whole = self.kept(e);
        self.fill_zero(place, capacity.next_multiple_of(8));
        self.read_kept(whole, capacity, place);
    }

    fn comm(&mut self, place: Place) {
        let (pointer, size) = (self.pointer(place), self.b.int(i64::from(COMM_BYTES)));
        // Fails only without a current task, and then writes zeros.
        self.b.call(calls::GET_CURRENT_COMM, &[pointer, size]);
    }

    #[allow(clippy::too_many_arguments)] // where from, how much, where to: one read
    fn read_string(&mut self, address: Value, space: Space, size: Value, place: Place, padded: u32, e: &Expr) {
        if padded > 0 {
            self.fill_zero(place, padded);
        } else {
            // An empty string where the read fails before it writes.
            let zero = self.b.int(0);
            self.b.store(place.base, place.offset, 8, zero);
        }
        let helper = match space {
            // What a kernel type calls a pointer may point to user memory: not all kernels mark those.
            Space::Kernel | Space::Unknown => calls::PROBE_READ_STR,
            Space::User => calls::PROBE_READ_USER_STR,
        };
        let pointer = self.pointer(place);
        let result = self.b.call(helper, &[pointer, size, address]);
        self.if_negative(result, |lower| lower.count_error(ErrorKind::Read(helper), e.span));
    }

    /// The limit, at least 1 and at most `most`.
    fn bounded_size(&mut self, limit: &Expr, most: u32) -> Value {
        let limit = self.value(limit);
        // The NUL takes a byte in any case.
        let is_none = self.b.binary_int(BinaryOp::Equal, limit, 0);
        let size = self.b.binary(BinaryOp::Add, limit, is_none);
        self.at_most(size, most)
    }

    /// 1 if the strings are equal (or differ, when negated), else 0.
    pub(super) fn strings_equal(&mut self, left: &Expr, right: &Expr, negated: bool) -> Value {
        let (left, right) = if let ExprKind::Str(_) = left.kind { (right, left) } else { (left, right) };
        if let ExprKind::Str(text) = &right.kind {
            let Type::Str(capacity) = left.ty else { unreachable!("strings are compared with strings") };
            if text.len() as u32 >= capacity {
                // Evaluated for what it does, then unequal whatever it is.
                let place = self.temporary(capacity);
                self.write_string(left, capacity, place, 0);
                return self.b.int(i64::from(negated));
            }
            return self.equals_literal(left, text, negated);
        }
        let (Type::Str(a), Type::Str(b)) = (&left.ty, &right.ty) else { unreachable!("two strings") };
        let capacity = *a.max(b);
        let (first, second) = (self.temporary(capacity), self.temporary(capacity));
        let room = capacity.next_multiple_of(8);
        self.write_string(left, capacity, first, room);
        self.write_string(right, capacity, second, room);
        let words = capacity.div_ceil(8);
        let difference = if words <= MOST_UNROLLED_WORDS {
            let mut all = None;
            for number in 0..words as i32 {
                let a = self.b.load(first.base, first.offset + number * 8, 8, false);
                let b = self.b.load(second.base, second.offset + number * 8, 8, false);
                let differ = self.b.binary(BinaryOp::BitXor, a, b);
                all = Some(match all {
                    None => differ,
                    Some(before) => self.b.binary(BinaryOp::BitOr, before, differ),
                });
            }
            all.unwrap_or_else(|| self.b.int(0))
        } else {
            self.first_difference(first, second, words, |lower, _, _| lower.b.int(1))
        };
        let op = if negated { BinaryOp::NotEqual } else { BinaryOp::Equal };
        self.b.binary_int(op, difference, 0)
    }

    /// Compares as many bytes as the text has, with its NUL, and reads no more of the other string.
    fn equals_literal(&mut self, e: &Expr, text: &[u8], negated: bool) -> Value {
        let bytes = text.len() as u32 + 1;
        // One byte more, so that a longer string does not end where the text does.
        let capacity = (bytes + 1).min(e.ty.size()).max(bytes);
        let room = match e.kind {
            ExprKind::Comm => COMM_BYTES,
            _ => capacity,
        };
        let place = self.temporary(room);
        self.write_string(e, room, place, room.next_multiple_of(8));
        let mut wanted = text.to_vec();
        wanted.push(0);
        let mut all = None;
        for (number, chunk) in wanted.chunks(8).enumerate() {
            let mut word = [0u8; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let mut found = self.b.load(place.base, place.offset + number as i32 * 8, 8, false);
            if chunk.len() < 8 {
                let mask = (1i64 << (chunk.len() * 8)) - 1;
                found = self.b.binary_int(BinaryOp::BitAnd, found, mask);
            }
            let differ = self.b.binary_int(BinaryOp::BitXor, found, i64::from_le_bytes(word));
            all = Some(match all {
                None => differ,
                Some(before) => self.b.binary(BinaryOp::BitOr, before, differ),
            });
        }
        let difference = all.expect("a text has at least its NUL");
        let op = if negated { BinaryOp::NotEqual } else { BinaryOp::Equal };
        self.b.binary_int(op, difference, 0)
    }

    /// What `differ_value` makes of the first two words that differ, of so many; 0 where none do.
    fn first_difference(
        &mut self,
        first: Place,
        second: Place,
        words: u32,
        differ_value: impl FnOnce(&mut Self, Value, Value) -> Value,
    ) -> Value {
        let (first, second) = (self.pointer(first), self.pointer(second));
        let (head, index) = self.b.block_with(ValueKind::Int);
        let (body, equal, next, differ) = (self.b.block(), self.b.block(), self.b.block(), self.b.block());
        let (after, result) = self.b.block_with(ValueKind::Int);
        let zero = self.b.int(0);
        self.b.jump(head, &[zero]);
        self.b.enter_unsealed(head);
        let end = self.b.int(i64::from(words) * 8);
        self.b.branch(BinaryOp::LessUnsigned, index, end, body, equal);
        self.b.enter(body);
        let a = self.b.pointer_add(first, index);
        let a = self.b.load(a, 0, 8, false);
        let b = self.b.pointer_add(second, index);
        let b = self.b.load(b, 0, 8, false);
        self.b.branch(BinaryOp::Equal, a, b, next, differ);
        self.b.enter(next);
        let following = self.b.binary_int(BinaryOp::Add, index, 8);
        self.b.jump(head, &[following]);
        self.b.seal(head);
        self.b.enter(differ);
        let value = differ_value(self, a, b);
        self.b.jump(after, &[value]);
        self.b.enter(equal);
        let zero = self.b.int(0);
        self.b.jump(after, &[zero]);
        self.b.enter(after);
        result
    }
}
