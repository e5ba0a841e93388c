//! Plain maps: reading, setting, changing and deleting entries. A map without keys is one value at a known address.

use rtrace_lang::calls;
use rtrace_lang::hir::{BinaryOp, Expr, MapId, MapValue, Owner};
use rtrace_lang::types::Type;

use crate::ir::{Block, MapRef, Memory, Value, ValueKind};
use crate::object::ErrorKind;

use super::keys::Key;
use super::{Lower, Place};

/// BPF_ANY and BPF_NOEXIST (include/uapi/linux/bpf.h)
const ANY: i64 = 0;
const NO_EXIST: i64 = 1;
/// BPF_LOCAL_STORAGE_GET_F_CREATE
const CREATE: i64 = 1;

impl Lower<'_> {
    /// Whether an entry may be missing: the map has keys, or its values belong to threads.
    pub(super) fn is_keyed(&self, map: MapId) -> bool {
        let map = &self.hir.maps[map.index()];
        !map.key.is_empty() || map.owner == Owner::Thread
    }

    /// The value's address, or null where the key is missing.
    pub(super) fn look_up(&mut self, map: MapId, key: &[Expr]) -> Value {
        if !self.is_keyed(map) {
            return self.only_value(map);
        }
        if self.hir.maps[map.index()].owner == Owner::Thread {
            return self.of_thread(map, 0);
        }
        let key = self.key(map, key);
        self.look_up_on(key.turn, key.pointer)
    }

    /// The address of the running thread's value, or null.
    fn of_thread(&mut self, map: MapId, flags: i64) -> Value {
        let task = self.b.call_pointer(calls::GET_CURRENT_TASK_BTF, &[], Memory::Object);
        let (map, initial, flags) = (self.b.map(MapRef(map.0)), self.b.int(0), self.b.int(flags));
        self.b.call_nullable(calls::TASK_STORAGE_GET, &[map, task, initial, flags], Memory::MapValue)
    }

    pub(super) fn get_map(&mut self, map: MapId, key: &[Expr]) -> Value {
        let found = self.look_up(map, key);
        if !self.is_keyed(map) {
            return self.b.load(found, 0, 8, false);
        }
        self.if_found(found, |lower, found| lower.b.load(found, 0, 8, false), |lower| lower.b.int(0))
    }

    pub(super) fn has_key(&mut self, map: MapId, key: &[Expr]) -> Value {
        if !self.is_keyed(map) {
            return self.b.int(1);
        }
        let found = self.look_up(map, key);
        self.if_found(found, |lower, _| lower.b.int(1), |lower| lower.b.int(0))
    }

    /// 1 if there was an entry.
    pub(super) fn delete(&mut self, map: MapId, key: &[Expr]) -> Value {
        if !self.is_keyed(map) {
            let value = match &self.hir.maps[map.index()].value {
                MapValue::Plain(_) => self.only_value(map),
                // The tool clears the parts of all processors.
                MapValue::Aggregation(_) => return self.b.int(0),
            };
            let map = &self.hir.maps[map.index()];
            let bytes = map.mark_offset().map_or(map.value.bytes(), |mark| mark + 8);
            self.fill_zero(Place { base: value, offset: 0 }, bytes);
            return self.b.int(1);
        }
        if self.hir.maps[map.index()].owner == Owner::Thread {
            let found = self.of_thread(map, 0);
            let bytes = self.hir.maps[map.index()].value.bytes();
            return self.if_found(
                found,
                |lower, found| {
                    lower.fill_zero(Place { base: found, offset: 0 }, bytes);
                    lower.b.int(1)
                },
                |lower| lower.b.int(0),
            );
        }
        let key = self.key(map, key);
        let result = self.call_on(key.turn, calls::MAP_DELETE_ELEM, &[key.pointer]);
        self.forget_key(map, key);
        self.b.binary_int(BinaryOp::Equal, result, 0)
    }

    pub(super) fn set_map(&mut self, map: MapId, key: &[Expr], value: &Expr) {
        let MapValue::Plain(ty) = self.hir.maps[map.index()].value.clone() else {
            unreachable!("the checker sets plain maps only")
        };
        if !self.is_keyed(map) {
            let base = self.only_value(map);
            if let Type::Str(_) | Type::Tuple(_) = ty {
                // Built aside, because the value may be read while it is written.
                let place = self.temporary(ty.stored_bytes());
                self.write_as(value, &ty, place);
                self.copy(place, Place { base, offset: 0 }, ty.stored_bytes());
            } else {
                self.write_as(value, &ty, Place { base, offset: 0 });
            }
            self.mark(map, base);
            return;
        }
        let place = self.temporary(ty.stored_bytes());
        self.write_as(value, &ty, place);
        if self.hir.maps[map.index()].owner == Owner::Thread {
            let full = self.b.block();
            let entry = self.thread_entry(map, full);
            self.copy(place, Place { base: entry, offset: 0 }, ty.stored_bytes());
            self.b.jump(full, &[]);
            self.b.enter(full);
            return;
        }
        let key = self.key(map, key);
        let value = self.pointer(place);
        self.store_entry(map, key, value, ANY);
    }

    /// Says that a map without keys has a value.
    fn mark(&mut self, map: MapId, value: Value) {
        if let Some(offset) = self.hir.maps[map.index()].mark_offset() {
            let one = self.b.int(1);
            self.b.store(value, offset as i32, 8, one);
        }
    }

    /// Puts an entry into a map with keys; counts where there is no room.
    fn store_entry(&mut self, map: MapId, key: Key, value: Value, flags: i64) {
        let flags_value = self.b.int(flags);
        let result = self.call_on(key.turn, calls::MAP_UPDATE_ELEM, &[key.pointer, value, flags_value]);
        if flags == ANY {
            let span = self.b.span;
            // Before 6.4 the call gives 32 bits, so that an error is not negative as a 64-bit number.
            let (failed, after) = (self.b.block(), self.b.block());
            self.b.branch_nonzero(result, failed, after);
            self.b.enter(failed);
            self.count_error(ErrorKind::MapFull(map), span);
            self.b.jump(after, &[]);
            self.b.enter(after);
        }
        self.keep_key(map, key);
    }

    /// The address of the running thread's value, which is made of zeros where it is missing. Goes to `full` where
    /// the kernel has no memory for it, which is counted.
    fn thread_entry(&mut self, map: MapId, full: Block) -> Value {
        let found = self.of_thread(map, CREATE);
        let (made, none) = (self.b.block(), self.b.block());
        self.b.branch_nonzero(found, made, none);
        self.b.enter(none);
        let span = self.b.span;
        self.count_error(ErrorKind::MapFull(map), span);
        self.b.jump(full, &[]);
        self.b.enter(made);
        found
    }

    /// The address of the entry, which is made of zeros where it is missing. Goes to `full` where there is no room for
    /// it, which is counted.
    pub(super) fn entry_or_new(&mut self, map: MapId, key: Key, bytes: u32, full: Block) -> Value {
        let found = self.look_up_on(key.turn, key.pointer);
        let (have, make) = (self.b.block(), self.b.block());
        let (after, entry) = self.b.block_with(ValueKind::Pointer(Memory::MapValue));
        self.b.branch_nonzero(found, have, make);
        self.b.enter(have);
        self.b.jump(after, &[found]);
        self.b.enter(make);
        let zeros = self.shared.zeros(bytes);
        let zeros = self.b.map_value_address(self.shared.globals_map, zeros);
        // Another processor may have been faster: that is as good.
        self.store_entry(map, key, zeros, NO_EXIST);
        let again = self.look_up_on(key.turn, key.pointer);
        let (made, none) = (self.b.block(), self.b.block());
        self.b.branch_nonzero(again, made, none);
        self.b.enter(none);
        let span = self.b.span;
        self.count_error(ErrorKind::MapFull(map), span);
        self.b.jump(full, &[]);
        self.b.enter(made);
        self.b.jump(after, &[again]);
        self.b.enter(after);
        entry
    }

    /// `@m[k] op= e`: one step for addition and subtraction, so that no update is lost.
    pub(super) fn update_map(
        &mut self,
        map: MapId,
        key: &[Expr],
        op: BinaryOp,
        operand: &Expr,
        old: bool,
        e: &Expr,
    ) -> Value {
        let constant = operand.constant();
        let operand = self.value(operand);
        if !self.is_keyed(map) {
            let place = self.only_value(map);
            let value = self.update_at(place, op, operand, constant, old, e);
            self.mark(map, place);
            return value;
        }
        let full = self.b.block();
        let (after, result) = self.b.block_with(ValueKind::Int);
        let entry = if self.hir.maps[map.index()].owner == Owner::Thread {
            self.thread_entry(map, full)
        } else {
            let key = self.key(map, key);
            self.entry_or_new(map, key, 8, full)
        };
        let value = self.update_at(entry, op, operand, constant, old, e);
        self.b.jump(after, &[value]);
        self.b.enter(full);
        let zero = self.b.int(0);
        self.b.jump(after, &[zero]);
        self.b.enter(after);
        result
    }

    fn update_at(
        &mut self,
        place: Value,
        op: BinaryOp,
        operand: Value,
        constant: Option<i64>,
        old: bool,
        e: &Expr,
    ) -> Value {
        let addend = match op {
            BinaryOp::Add => operand,
            BinaryOp::Subtract => match constant {
                Some(n) => self.b.int(n.wrapping_neg()),
                None => {
                    let zero = self.b.int(0);
                    self.b.binary(BinaryOp::Subtract, zero, operand)
                }
            },
            _ => {
                let before = self.b.load(place, 0, 8, false);
                let after = self.arithmetic(op, before, operand, constant, e);
                self.b.store(place, 0, 8, after);
                return if old { before } else { after };
            }
        };
        if self.options.atomic_fetch {
            // Without a reader of the result this becomes a plain atomic addition.
            let before = self.b.atomic_fetch_add(place, 0, addend);
            return if old { before } else { self.b.binary(BinaryOp::Add, before, addend) };
        }
        let before = self.b.load(place, 0, 8, false);
        self.b.atomic_add(place, 0, addend);
        if old { before } else { self.b.binary(BinaryOp::Add, before, addend) }
    }
}
