//! Events: built in place in a reservation of the ring buffer. A record is a word with its number, then its parts.

use rtrace_lang::calls;
use rtrace_lang::hir::{BinaryOp, Expr, ExprKind, KernelText, RecordId};
use rtrace_lang::types::Type;

use crate::ir::{Memory, Value};
use crate::object::{EXIT_CALLED, EXIT_OFFSET, RESULT_OFFSET, SPECULATIONS_OFFSET, STOPPED_OFFSET};

use super::{Lower, Place};

/// Low bits of a speculation's number that count; the processor stands above them.
const COUNT_BITS: i64 = 20;

/// A part of a record before the record is reserved.
enum Ready {
    Number(Value),
    Built(Place),
    /// Built where it travels.
    InPlace,
}

/// Whether the expression changes a variable, a map or the system.
fn changes(e: &Expr) -> bool {
    let own = matches!(
        e.kind,
        ExprKind::UpdateLocal { .. }
            | ExprKind::UpdateMap { .. }
            | ExprKind::Delete { .. }
            | ExprKind::Signal { .. }
            | ExprKind::WriteUser { .. }
            | ExprKind::CopyBytes { .. }
            | ExprKind::Block { .. }
    );
    let mut found = own;
    e.for_each_part(&mut |part| found |= changes(part));
    found
}

impl Lower<'_> {
    pub(super) fn emit(&mut self, record: RecordId, parts: &[Expr]) {
        let changes = parts.iter().any(changes);
        // Numbers first: what they take (look-ups, reads) happens before the reservation is held. Everything else is
        // built in place, unless a part changes what another one may read: then all are evaluated in their order, and
        // also where the record is lost.
        let parts_ready: Vec<Ready> = parts
            .iter()
            .map(|part| {
                if part.ty.is_scalar() && part.ty.stored_bytes() == 8 {
                    Ready::Number(self.value(part))
                } else if changes {
                    let place = self.temporary(part.ty.stored_bytes());
                    self.write(part, place);
                    Ready::Built(place)
                } else {
                    Ready::InPlace
                }
            })
            .collect();
        if self.options.counts_output && self.hir.records[record.index()].kind.is_output() {
            return self.count(record);
        }
        let bytes = 8 + parts.iter().map(|part| part.ty.stored_bytes()).sum::<u32>();
        self.reserve(record, bytes, |lower, place| {
            let mut at = 8;
            for (part, ready) in parts.iter().zip(parts_ready) {
                match (ready, &part.ty) {
                    (Ready::Number(value), _) => lower.b.store(place.base, place.offset + at as i32, 8, value),
                    (Ready::Built(from), _) => lower.copy(from, place.at(at), part.ty.stored_bytes()),
                    (Ready::InPlace, Type::Str(capacity)) => lower.write_string(part, *capacity, place.at(at), 0),
                    (Ready::InPlace, _) => lower.write(part, place.at(at)),
                }
                at += part.ty.stored_bytes();
            }
        });
    }

    /// Reserves a record, lets `fill` write what follows its number, and sends it; counts it as lost where the buffer is
    /// full.
    fn reserve(&mut self, record: RecordId, bytes: u32, fill: impl FnOnce(&mut Self, Place)) {
        let ring = self.shared.ring.expect("a program with records has a ring buffer");
        let (map, size, flags) = (self.b.map(ring), self.b.int(i64::from(bytes)), self.b.int(0));
        let pointer = self.b.call_nullable(calls::RINGBUF_RESERVE, &[map, size, flags], Memory::Record);
        let (have, lost, after) = (self.b.block(), self.b.block(), self.b.block());
        self.b.branch_nonzero(pointer, have, lost);
        self.b.enter(lost);
        self.count(record);
        // While a record is held no two states are alike to older verifiers (6.1, not 6.12; each reservation has its number), so
        // they must compare here, or the paths double with each record.
        self.b.checkpoint();
        self.b.jump(after, &[]);
        self.b.enter(have);
        let number = self.header(record);
        self.b.store(pointer, 0, 8, number);
        fill(self, Place { base: pointer, offset: 0 });
        let flags = self.b.int(0);
        self.b.call(calls::RINGBUF_SUBMIT, &[pointer, flags]);
        self.b.jump(after, &[]);
        self.b.enter(after);
    }

    fn count(&mut self, record: RecordId) {
        let counter = self.b.map_value_address(self.shared.globals_map, self.shared.globals.lost + record.0 * 8);
        let one = self.b.int(1);
        self.b.atomic_add(counter, 0, one);
    }

    /// The number of the record, with the number of the speculation that it belongs to above it.
    fn header(&mut self, record: RecordId) -> Value {
        let number = self.b.int(i64::from(record.0));
        let place = self.program.speculation.and_then(|local| self.memory_of(local));
        match place {
            Some(place) if self.hir.records[record.index()].kind.is_printed() => {
                let speculation = self.b.load(place.base, place.offset, 8, false);
                let above = self.b.binary_int(BinaryOp::ShiftLeft, speculation, 32);
                self.b.binary(BinaryOp::BitOr, above, number)
            }
            _ => number,
        }
    }

    /// A number for a new speculation: another one than any that is still held back.
    pub(super) fn speculation(&mut self) -> Value {
        let counter = self.b.map_value_address(self.shared.globals_map, SPECULATIONS_OFFSET);
        let before = self.b.load(counter, 0, 8, false);
        let one = self.b.int(1);
        self.b.atomic_add(counter, 0, one);
        // Two processors may have read the same count.
        let low = self.b.binary_int(BinaryOp::BitAnd, before, (1 << COUNT_BITS) - 1);
        let cpu = self.b.call(calls::GET_SMP_PROCESSOR_ID, &[]);
        let cpu = self.b.binary_int(BinaryOp::Add, cpu, 1);
        let high = self.b.binary_int(BinaryOp::ShiftLeft, cpu, COUNT_BITS);
        let both = self.b.binary(BinaryOp::BitOr, high, low);
        self.b.extend(both, 4, false)
    }

    /// Text that the kernel formats; of strings it is given the addresses.
    pub(super) fn kernel_line(&mut self, to: KernelText, format: &[u8], values: &[Expr]) {
        let values: Vec<Value> = values
            .iter()
            .map(|value| match value.ty {
                Type::Str(_) => {
                    let place = self.kept(value);
                    let pointer = self.pointer(place);
                    self.b.address(pointer)
                }
                _ => self.value(value),
            })
            .collect();
        let offset = self.shared.global_bytes(format);
        let text = [self.b.map_value_address(self.shared.globals_map, offset), self.b.int(format.len() as i64)];
        match to {
            KernelText::TraceBuffer => {
                self.b.call(calls::TRACE_PRINTK, &[&text[..], &values[..]].concat());
            }
            KernelText::Iterator => {
                let bytes = values.len() as u32 * 8;
                let place = self.temporary(bytes.max(8));
                for (value, at) in values.iter().zip((0..).step_by(8)) {
                    self.b.store(place.base, place.offset + at, 8, *value);
                }
                let step = self.program.layout.step.clone().expect("an iterator steps");
                let output = self.output(&step);
                // No values, no place for them.
                let data = if values.is_empty() { self.b.int(0) } else { self.pointer(place) };
                let bytes = self.b.int(i64::from(bytes));
                self.b.call(calls::SEQ_PRINTF, &[output, text[0], text[1], data, bytes]);
            }
        }
    }

    /// Leaves what a test returns where the tool finds it.
    pub(super) fn result(&mut self, value: &Expr) {
        let value = self.value(value);
        let place = self.b.map_value_address(self.shared.globals_map, RESULT_OFFSET);
        self.b.store(place, 0, 8, value);
    }

    /// Notes in the global data that the tool is to end, so that it does even if the event is lost, and leaves.
    pub(super) fn exit(&mut self, record: RecordId, code: &Expr) {
        let code = self.value(code);
        let code = self.b.binary_int(BinaryOp::BitAnd, code, 0xff);
        let word = self.b.binary_int(BinaryOp::BitOr, code, EXIT_CALLED as i64);
        let place = self.b.map_value_address(self.shared.globals_map, EXIT_OFFSET);
        self.b.store(place, 0, 8, word);
        let (stopped, yes) = (self.b.map_value_address(self.shared.globals_map, STOPPED_OFFSET), self.b.int(1));
        self.b.store(stopped, 0, 8, yes);
        self.reserve(record, 16, |lower, place| lower.b.store(place.base, place.offset + 8, 8, code));
        self.leave();
    }
}
