//! Expressions that fit a register.

use rtrace_lang::calls;
use rtrace_lang::hir::{BinaryOp, BitField, Expr, ExprKind, LocalId};
use rtrace_lang::span::Span;
use rtrace_lang::target::{Location, ProgramKind, UserAddress};
use rtrace_lang::types::{Space, Type};

use crate::ir::{Block, Memory, Value, ValueKind, Variable};
use crate::object::{ErrorKind, START_OFFSET, WALL_OFFSET};

use super::memory::read_helper;
use super::{Lower, Place};

pub(super) fn variable(local: LocalId) -> Variable {
    Variable(local.0)
}

impl Lower<'_> {
    /// The value of a scalar expression, 64 bits wide.
    pub(super) fn value(&mut self, e: &Expr) -> Value {
        let outer = std::mem::replace(&mut self.b.span, e.span);
        let value = self.value_inner(e);
        self.b.span = outer;
        value
    }

    fn value_inner(&mut self, e: &Expr) -> Value {
        match &e.kind {
            ExprKind::Int(value) => self.b.int(*value),
            ExprKind::Local(local) => self.get_local(*local),
            ExprKind::MapGet { map, key } => self.get_map(*map, key),
            ExprKind::HasKey { map, key } => self.has_key(*map, key),
            ExprKind::Delete { map, key } => self.delete(*map, key),
            ExprKind::Len { map } => self.length(*map),
            ExprKind::Binary { op, left, right } => {
                let (left, right_value) = (self.value(left), self.value(right));
                self.arithmetic(*op, left, right_value, right.constant(), e)
            }
            ExprKind::StrEqual { negated, left, right } => self.strings_equal(left, right, *negated),
            ExprKind::Same { negated, left, right, ty } => self.same(left, right, ty, *negated),
            ExprKind::Negate(inner) => {
                let value = self.value(inner);
                let zero = self.b.int(0);
                self.b.binary(BinaryOp::Subtract, zero, value)
            }
            ExprKind::Complement(inner) => {
                let value = self.value(inner);
                self.b.binary_int(BinaryOp::BitXor, value, -1)
            }
            ExprKind::Not(inner) => {
                let value = self.value(inner);
                self.b.binary_int(BinaryOp::Equal, value, 0)
            }
            ExprKind::And(..) | ExprKind::Or(..) => {
                let (yes, no) = (self.b.block(), self.b.block());
                let (after, result) = self.b.block_with(ValueKind::Int);
                self.condition(e, yes, no);
                for (block, value) in [(yes, 1), (no, 0)] {
                    self.b.enter(block);
                    let value = self.b.int(value);
                    self.b.jump(after, &[value]);
                }
                self.b.enter(after);
                result
            }
            ExprKind::Ternary { condition, then, otherwise } => {
                let (yes, no) = (self.b.block(), self.b.block());
                let (after, result) = self.b.block_with(ValueKind::Int);
                self.condition(condition, yes, no);
                for (block, arm) in [(yes, then), (no, otherwise)] {
                    self.b.enter(block);
                    let value = self.value(arm);
                    self.b.jump(after, &[value]);
                }
                self.b.enter(after);
                result
            }
            ExprKind::Convert(inner) => {
                let value = match &inner.ty {
                    Type::Array { .. } => {
                        let place = self.place_of(inner);
                        self.b.load(place.base, place.offset, 8, false)
                    }
                    _ => self.value(inner),
                };
                self.convert(value, &e.ty)
            }
            ExprKind::UpdateLocal { local, op, operand, old } => {
                let before = self.get_local(*local);
                let operand_value = self.value(operand);
                let after = self.arithmetic(*op, before, operand_value, operand.constant(), e);
                self.put_local(*local, after);
                if *old { before } else { after }
            }
            ExprKind::UpdateMap { map, key, op, operand, old } => self.update_map(*map, key, *op, operand, *old, e),
            ExprKind::Helper { id, shift, bits } => {
                let mut value = match *id {
                    calls::GET_NS_CURRENT_PID_TGID => self.process_and_thread(),
                    id => self.b.call(id, &[]),
                };
                if *shift > 0 {
                    value = self.b.binary_int(BinaryOp::ShiftRightUnsigned, value, i64::from(*shift));
                } else if *bits < 64 {
                    value = self.b.extend(value, bits / 8, false);
                }
                value
            }
            ExprKind::Context(location) => self.context_value(location, &e.ty),
            ExprKind::ContextPointer => {
                let context = self.context;
                self.b.address(context)
            }
            ExprKind::Deref { pointer, offset, bits } => self.deref(pointer, *offset, *bits, e),
            ExprKind::CurrentTask => self.b.call(calls::GET_CURRENT_TASK, &[]),
            ExprKind::TaskRegister { offset } => {
                let task = self.b.call_pointer(calls::GET_CURRENT_TASK_BTF, &[], Memory::Object);
                let kept = self.b.call_pointer(calls::TASK_PT_REGS, &[task], Memory::Object);
                self.b.load(kept, *offset as i32, 8, false)
            }
            ExprKind::Speculation => self.speculation(),
            ExprKind::StartTime => self.global_word(START_OFFSET),
            ExprKind::WallOffset => self.global_word(WALL_OFFSET),
            ExprKind::Site => self.site_as(&e.ty),
            ExprKind::Caller { user } => self.caller(*user),
            ExprKind::Stack { user, frames } => self.stack(*user, *frames, e.span),
            ExprKind::StackByTables { frames, registers } => self.stack_by_tables(*frames, registers, e.span),
            ExprKind::Signal { number, thread } => {
                let number = self.value(number);
                self.b.call(if *thread { calls::SEND_SIGNAL_THREAD } else { calls::SEND_SIGNAL }, &[number])
            }
            ExprKind::Override(value) => {
                let value = self.value(value);
                self.b.call(calls::OVERRIDE_RETURN, &[self.context, value])
            }
            ExprKind::CopyBytes { from, to, length, most } => self.copy_bytes(from, to, length, *most, e.span),
            ExprKind::WriteUser { address, buffer } => self.write_user(address, buffer),
            ExprKind::Part { base, offset } => {
                let place = self.place_of(base).at(*offset);
                self.b.load(place.base, place.offset, 8, false)
            }
            ExprKind::Member { base, offset, bits } => {
                let place = self.place_of(base).at(*offset);
                self.member(place, *bits, &e.ty)
            }
            ExprKind::Block { statements, value } => {
                self.statements(statements);
                self.value(value)
            }
            ExprKind::Element { base, index } => self.element(base, index, e),
            ExprKind::AddressOf(inner) => self.address_of(inner),
            ExprKind::Length(inner) => match &inner.ty {
                Type::Stack { .. } => self.stack_length(inner),
                Type::Str(room) if *room == self.hir.settings.string_bytes() => {
                    // Not the byte that tells that it was cut.
                    let length = self.string_length(inner);
                    self.at_most(length, self.hir.settings.max_strlen)
                }
                _ => self.string_length(inner),
            },
            ExprKind::StringOrder { left, right, limit } => self.string_order(left, right, *limit),
            ExprKind::ByteSwap { value, bytes } => {
                let value = self.value(value);
                let swapped = self.b.byte_swap(value, *bytes);
                self.b.extend(swapped, *bytes, e.ty.is_signed())
            }
            ExprKind::AggregationValue { map, key, part } => self.aggregation_value(*map, key, *part),
            ExprKind::Str(_)
            | ExprKind::ReadString { .. }
            | ExprKind::Comm
            | ExprKind::Concatenate(..)
            | ExprKind::ReadBytes { .. }
            | ExprKind::Inet { .. }
            | ExprKind::Tuple(_) => {
                unreachable!("{} does not fit a register", e.ty)
            }
        }
    }

    /// A word at the start of the global data.
    pub(super) fn global_word(&mut self, offset: u32) -> Value {
        let place = self.b.map_value_address(self.shared.globals_map, offset);
        self.b.load(place, 0, 8, false)
    }

    /// Goes to `yes` if the value is not zero, else to `no`; evaluates no more than needed.
    pub(super) fn condition(&mut self, e: &Expr, yes: Block, no: Block) {
        match &e.kind {
            ExprKind::And(left, right) | ExprKind::Or(left, right) => {
                let (middle, decided) = (self.b.block(), self.b.block());
                if let ExprKind::And(..) = e.kind {
                    self.condition(left, middle, decided);
                    self.b.enter(decided);
                    self.b.jump(no, &[]);
                } else {
                    self.condition(left, decided, middle);
                    self.b.enter(decided);
                    self.b.jump(yes, &[]);
                }
                self.b.enter(middle);
                let (inner_yes, inner_no) = (self.b.block(), self.b.block());
                self.condition(right, inner_yes, inner_no);
                self.b.enter(inner_yes);
                self.b.jump(yes, &[]);
                self.b.enter(inner_no);
                self.b.jump(no, &[]);
            }
            ExprKind::Not(inner) => self.condition(inner, no, yes),
            ExprKind::Binary { op, left, right } if op.is_comparison() => {
                let (left, right) = (self.value(left), self.value(right));
                self.b.branch(*op, left, right, yes, no);
            }
            _ => {
                let value = self.value(e);
                self.b.branch_nonzero(value, yes, no);
            }
        }
    }

    /// An operation as the language defines it: division by zero gives 0 and is counted, wide shifts give 0 or the sign.
    pub(super) fn arithmetic(
        &mut self,
        op: BinaryOp,
        left: Value,
        right: Value,
        right_constant: Option<i64>,
        e: &Expr,
    ) -> Value {
        let right_constant = right_constant.or_else(|| self.b.constant(right));
        match op {
            BinaryOp::DivideSigned
            | BinaryOp::DivideUnsigned
            | BinaryOp::RemainderSigned
            | BinaryOp::RemainderUnsigned => match right_constant {
                // The checker refuses those that it sees; others only turn out to be constant.
                Some(0) => {
                    self.count_error(ErrorKind::DivisionByZero, e.span);
                    self.b.int(0)
                }
                Some(_) => self.divide(op, left, right),
                None => self.if_found(
                    right,
                    |lower, right| lower.divide(op, left, right),
                    |lower| {
                        lower.count_error(ErrorKind::DivisionByZero, e.span);
                        lower.b.int(0)
                    },
                ),
            },
            BinaryOp::ShiftLeft | BinaryOp::ShiftRightUnsigned => match right_constant {
                Some(n) if (0..64).contains(&n) => self.b.binary(op, left, right),
                Some(_) => self.b.int(0),
                None => {
                    let masked = self.b.binary_int(BinaryOp::BitAnd, right, 63);
                    let shifted = self.b.binary(op, left, masked);
                    let sixty_four = self.b.int(64);
                    let narrow = self.b.binary(BinaryOp::LessUnsigned, right, sixty_four);
                    self.b.binary(BinaryOp::Multiply, shifted, narrow)
                }
            },
            BinaryOp::ShiftRightSigned => match right_constant {
                Some(n) => {
                    let by = self.b.int((n as u64).min(63) as i64);
                    self.b.binary(op, left, by)
                }
                None => {
                    // min(right, 63) without a branch: all ones where it is wide.
                    let last = self.b.int(63);
                    let wide = self.b.binary(BinaryOp::LessUnsigned, last, right);
                    let zero = self.b.int(0);
                    let mask = self.b.binary(BinaryOp::Subtract, zero, wide);
                    let by = self.b.binary(BinaryOp::BitOr, right, mask);
                    let by = self.b.binary_int(BinaryOp::BitAnd, by, 63);
                    self.b.binary(op, left, by)
                }
            },
            BinaryOp::Add
            | BinaryOp::Subtract
            | BinaryOp::Multiply
            | BinaryOp::BitAnd
            | BinaryOp::BitOr
            | BinaryOp::BitXor
            | BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::LessSigned
            | BinaryOp::LessUnsigned
            | BinaryOp::LessEqualSigned
            | BinaryOp::LessEqualUnsigned => self.b.binary(op, left, right),
        }
    }

    /// Division by what is not zero. The instruction set of all kernels divides without signs only, so signs are taken
    /// off and put back: the quotient truncates toward zero, the remainder has the sign of the dividend.
    pub(super) fn divide(&mut self, op: BinaryOp, left: Value, right: Value) -> Value {
        let unsigned = match op {
            BinaryOp::DivideSigned => BinaryOp::DivideUnsigned,
            BinaryOp::RemainderSigned => BinaryOp::RemainderUnsigned,
            _ => return self.b.binary(op, left, right),
        };
        let left_sign = self.b.binary_int(BinaryOp::ShiftRightSigned, left, 63);
        let right_sign = self.b.binary_int(BinaryOp::ShiftRightSigned, right, 63);
        let left = self.negate_if(left, left_sign);
        let right = self.negate_if(right, right_sign);
        let result = self.b.binary(unsigned, left, right);
        let sign = match op {
            BinaryOp::DivideSigned => self.b.binary(BinaryOp::BitXor, left_sign, right_sign),
            _ => left_sign,
        };
        self.negate_if(result, sign)
    }

    /// `sign` is 0 or all ones.
    fn negate_if(&mut self, value: Value, sign: Value) -> Value {
        let flipped = self.b.binary(BinaryOp::BitXor, value, sign);
        self.b.binary(BinaryOp::Subtract, flipped, sign)
    }

    fn convert(&mut self, value: Value, ty: &Type) -> Value {
        match ty {
            Type::Bool => self.b.binary_int(BinaryOp::NotEqual, value, 0),
            Type::Int { bytes, signed } => self.b.extend(value, *bytes, *signed),
            Type::Enum(of) => self.b.extend(value, of.size, of.signed),
            _ => value,
        }
    }

    /// The first word of a variable.
    fn get_local(&mut self, local: LocalId) -> Value {
        match self.memory_of(local) {
            Some(place) => self.b.load(place.base, place.offset, 8, false),
            None => self.b.read(variable(local)),
        }
    }

    /// A scalar in memory, as C lays it out.
    fn member(&mut self, place: Place, bits: Option<BitField>, ty: &Type) -> Value {
        let bytes = ty.size().clamp(1, 8) as u8;
        match bits {
            None => self.b.load(place.base, place.offset, bytes, ty.is_signed()),
            Some(bits) => {
                let word = self.b.load(place.base, place.offset, bytes, false);
                self.bit_field(word, bits, ty)
            }
        }
    }

    /// The bits of a field in a word.
    fn bit_field(&mut self, word: Value, bits: BitField, ty: &Type) -> Value {
        let up = self.b.binary_int(BinaryOp::ShiftLeft, word, 64 - i64::from(bits.shift) - i64::from(bits.width));
        let op = if ty.is_signed() { BinaryOp::ShiftRightSigned } else { BinaryOp::ShiftRightUnsigned };
        self.b.binary_int(op, up, 64 - i64::from(bits.width))
    }

    pub(super) fn set_local(&mut self, local: LocalId, value: &Expr) {
        if let Some(place) = self.memory_of(local) {
            let ty = self.program.locals[local.index()].ty.clone();
            self.write_as(value, &ty, place);
            return;
        }
        let value = self.value(value);
        self.b.write(variable(local), value);
    }

    /// A scalar in the context.
    fn context_value(&mut self, location: &Location, ty: &Type) -> Value {
        let (bytes, signed) = (ty.size().clamp(1, 8) as u8, ty.is_signed());
        match location {
            Location::Context { offset } => match self.program.kind {
                // The record of a tracepoint is packed; the other contexts are arrays of words.
                ProgramKind::Tracepoint => {
                    let context = self.context;
                    self.b.load(context, *offset as i32, bytes, signed)
                }
                ProgramKind::TestRun
                | ProgramKind::Kprobe { .. }
                | ProgramKind::RawTracepoint
                | ProgramKind::Tracing { .. }
                | ProgramKind::PerfEvent => {
                    let mut value = self.context_word(*offset / 8 * 8);
                    let before = i64::from(*offset % 8 * 8);
                    if before > 0 {
                        value = self.b.binary_int(BinaryOp::ShiftRightUnsigned, value, before);
                    }
                    self.b.extend(value, bytes, signed)
                }
            },
            Location::ContextCopy { offset } => {
                let context = self.context;
                let context = self.b.address(context);
                let address = self.b.binary_int(BinaryOp::Add, context, i64::from(*offset));
                self.read_kernel_word(address, bytes, signed)
            }
            Location::Behind { pointer, offset, direct } => self.behind(*pointer, *offset, *direct, bytes, signed),
            Location::DataLocation { offset, base } => {
                let address = self.data_location(*offset, *base);
                // A number from here on: for the verifier it still is a pointer to the context, to which no index may be added.
                let place = self.scratch_memory(8);
                self.b.store(place.base, place.offset, 8, address);
                self.b.load(place.base, place.offset, 8, false)
            }
            Location::UserMemory(address) => {
                let address = self.user_address(address);
                let place = self.read_word(address, Space::User, bytes, self.b.span);
                self.b.load(place.base, place.offset, bytes, signed)
            }
            Location::UserAddress(address) => {
                let address = self.user_address(address);
                self.b.extend(address, bytes, signed)
            }
        }
    }

    /// Where a value lies that the context holds or leads to.
    pub(super) fn context_address(&mut self, location: &Location) -> Value {
        match location {
            Location::Context { offset } | Location::ContextCopy { offset } => {
                let context = self.context;
                let context = self.b.address(context);
                self.b.binary_int(BinaryOp::Add, context, i64::from(*offset))
            }
            Location::Behind { pointer, offset, .. } => {
                let pointer = self.context_word(*pointer);
                self.b.binary_int(BinaryOp::Add, pointer, i64::from(*offset))
            }
            Location::DataLocation { offset, base } => self.data_location(*offset, *base),
            Location::UserMemory(address) | Location::UserAddress(address) => self.user_address(address),
        }
    }

    fn user_address(&mut self, address: &UserAddress) -> Value {
        let UserAddress { base, index, displacement } = *address;
        let mut sum = self.b.int(displacement);
        if let Some(base) = base {
            let base = self.context_word(base);
            sum = self.b.binary_int(BinaryOp::Add, base, displacement);
        }
        if let Some((index, scale)) = index {
            let index = self.context_word(index);
            let scaled = self.b.binary_int(BinaryOp::Multiply, index, i64::from(scale));
            sum = self.b.binary(BinaryOp::Add, sum, scaled);
        }
        sum
    }

    pub(super) fn address_of(&mut self, e: &Expr) -> Value {
        match &e.kind {
            ExprKind::Deref { pointer, offset, .. } => self.place_address(pointer, *offset).0,
            ExprKind::Context(location) => self.context_address(location),
            ExprKind::MapGet { map, key } if !matches!(e.ty, Type::Buffer(_)) => {
                let found = self.look_up(*map, key);
                let slot = self.scratch_memory(8);
                self.b.store(slot.base, slot.offset, 8, found);
                self.b.load(slot.base, slot.offset, 8, false)
            }
            _ => {
                let place = self.kept(e);
                // The length of raw bytes goes before them.
                let place = if let Type::Buffer(_) = e.ty { place.at(8) } else { place };
                let pointer = self.pointer(place);
                // Through memory it becomes a number, which may be computed with; the verifier bounds pointers.
                let slot = self.scratch_memory(8);
                self.b.store(slot.base, slot.offset, 8, pointer);
                self.b.load(slot.base, slot.offset, 8, false)
            }
        }
    }

    /// An element of a kept string or array by a number that is not known.
    fn element(&mut self, base: &Expr, index: &Expr, e: &Expr) -> Value {
        let index = self.value(index);
        let place = self.kept(base);
        let (count, skipped) = match &base.ty {
            Type::Array { len, .. } => (*len, 0),
            // Its length goes before its bytes.
            Type::Buffer(capacity) => (*capacity, 8),
            other => (other.size(), 0),
        };
        let last = self.b.int(i64::from(count) - 1);
        let (inside, outside) = (self.b.block(), self.b.block());
        let (after, result) = self.b.block_with(ValueKind::Int);
        self.b.branch(BinaryOp::LessEqualUnsigned, index, last, inside, outside);
        self.b.enter(outside);
        if let Type::Array { .. } = base.ty {
            self.count_error(ErrorKind::Index, e.span);
        }
        let zero = self.b.int(0);
        self.b.jump(after, &[zero]);
        self.b.enter(inside);
        let bytes = e.ty.size().clamp(1, 8);
        let pointer = self.pointer(place.at(skipped));
        let index = self.b.bounded(index, count.saturating_sub(1));
        let scaled = self.b.binary_int(BinaryOp::Multiply, index, i64::from(bytes));
        let pointer = self.b.pointer_add(pointer, scaled);
        let value = self.b.load(pointer, 0, bytes as u8, e.ty.is_signed());
        self.b.jump(after, &[value]);
        self.b.enter(after);
        result
    }

    /// The address of the data that a `__data_loc` word tells.
    pub(super) fn data_location(&mut self, offset: u32, base: u32) -> Value {
        let context = self.context;
        let word = self.b.load(context, offset as i32, 4, false);
        let from = self.b.binary_int(BinaryOp::BitAnd, word, 0xffff);
        // Right before its use: of a number that was kept elsewhere the verifier forgets this.
        let from = self.b.bounded(from, 0xffff);
        let address = self.b.address(context);
        let from = self.b.binary_int(BinaryOp::Add, from, i64::from(base));
        self.b.binary(BinaryOp::Add, address, from)
    }

    /// The address that a place expression means, and the memory it is in.
    pub(super) fn place_address(&mut self, pointer: &Expr, offset: i64) -> (Value, Space) {
        let space = match &pointer.ty {
            Type::Pointer { space, .. } => *space,
            _ => Space::Unknown,
        };
        let base = self.value(pointer);
        (self.b.binary_int(BinaryOp::Add, base, offset), space)
    }

    /// A scalar in kernel or user memory, read safely: what cannot be read is 0 and counted.
    fn deref(&mut self, pointer: &Expr, offset: i64, bits: Option<BitField>, e: &Expr) -> Value {
        let (address, space) = self.place_address(pointer, offset);
        let bytes = e.ty.size().clamp(1, 8);
        let place = self.read_word(address, space, bytes as u8, e.span);
        let Some(bits) = bits else {
            // Six bytes of a device's address, say: what was not read is zero.
            let whole = if bytes.is_power_of_two() { bytes } else { 8 };
            return self.b.load(place.base, place.offset, whole as u8, e.ty.is_signed());
        };
        let word = self.b.load(place.base, place.offset, 8, false);
        self.bit_field(word, bits, &e.ty)
    }

    /// Reads up to 8 bytes of kernel or user memory; what can't be read is 0 and counted.
    fn read_word(&mut self, address: Value, space: Space, bytes: u8, span: Span) -> Place {
        let place = self.temporary(8);
        // The helper leaves zeros where it fails; the bytes that it does not write are zeroed before.
        if bytes < 8 {
            let zero = self.b.int(0);
            self.b.store(place.base, place.offset, 8, zero);
        }
        let (pointer, size) = (self.pointer(place), self.b.int(i64::from(bytes)));
        let result = self.b.call(read_helper(space), &[pointer, size, address]);
        self.if_negative(result, |lower| lower.count_error(ErrorKind::Read(read_helper(space)), span));
        place
    }
}
