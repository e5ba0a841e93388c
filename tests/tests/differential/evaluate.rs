//! Runs a checked program as the language's text says that it behaves: a tree walk over the Hir, one event, one
//! processor. Knows nothing of how programs are compiled.

use std::collections::BTreeMap;

use rtrace_lang::aggregations::{Aggregation, AggregationPart, Fold, Shape};
use rtrace_lang::hir::{BinaryOp, Expr, ExprKind, Hir, LocalId, LoopKind, MapId, MapValue, Program, Stmt, StmtKind};
use rtrace_lang::span::Span;
use rtrace_lang::types::Type;

use super::outcome::{Datum, Outcome};

/// What the first program leaves behind.
pub fn evaluate(hir: &Hir, comm: &[u8]) -> Outcome {
    let program = &hir.programs[0];
    let mut evaluator = Evaluator {
        hir,
        program,
        comm,
        locals: program.locals.iter().map(|local| zero(&local.ty)).collect(),
        outcome: Outcome::default(),
    };
    for map in &hir.maps {
        let mut rows = BTreeMap::new();
        if map.key.is_empty() {
            rows.insert(Vec::new(), zero_value(&map.value));
        }
        evaluator.outcome.maps.insert(map.name.clone(), rows);
    }
    let _ = evaluator.block(&program.body);
    evaluator.outcome
}

fn zero(ty: &Type) -> Datum {
    match ty {
        Type::Str(_) => Datum::Str(Vec::new()),
        Type::Tuple(parts) => Datum::Tuple(parts.iter().map(zero).collect()),
        Type::Record(parts) => Datum::Tuple(parts.iter().map(|(_, ty)| zero(ty)).collect()),
        Type::Array { .. } => Datum::Bytes(vec![0; ty.size() as usize]),
        _ => Datum::Int(0),
    }
}

fn zero_value(value: &MapValue) -> Vec<Datum> {
    match value {
        MapValue::Plain(ty) => vec![zero(ty)],
        MapValue::Aggregation(aggregation) => vec![Datum::Int(0); aggregation.slots() as usize],
    }
}

/// Why statements are not carried on with.
enum Leaves {
    Program,
    Function,
    Loop,
    Round,
}

struct Evaluator<'a> {
    hir: &'a Hir,
    program: &'a Program,
    comm: &'a [u8],
    locals: Vec<Datum>,
    outcome: Outcome,
}

impl Evaluator<'_> {
    fn block(&mut self, statements: &[Stmt]) -> Result<(), Leaves> {
        statements.iter().try_for_each(|statement| self.statement(statement))
    }

    fn statement(&mut self, statement: &Stmt) -> Result<(), Leaves> {
        match &statement.kind {
            StmtKind::Expr(e) => {
                self.value(e);
            }
            StmtKind::SetLocal { local, value } => {
                let value = self.value(value);
                self.set_local(*local, value);
            }
            StmtKind::SetMap { map, key, value } => {
                let value = self.value(value);
                let key = self.key(*map, key);
                self.set_map(*map, key, value);
            }
            StmtKind::Aggregate { map, key, value, weight } => {
                let value = value.as_ref().map_or(1, |value| self.int(value));
                let weight = weight.as_ref().map_or(1, |weight| self.int(weight));
                let key = self.key(*map, key);
                let MapValue::Aggregation(aggregation) = self.hir.maps[map.index()].value else {
                    panic!("an aggregation into a plain map")
                };
                let slots =
                    self.rows(*map).entry(key).or_insert_with(|| zero_value(&MapValue::Aggregation(aggregation)));
                fold(&aggregation, slots, value, weight);
            }
            StmtKind::KernelLine { values, .. } => values.iter().for_each(|value| drop(self.value(value))),
            StmtKind::Emit { record, parts } => {
                let parts: Vec<Datum> = parts.iter().map(|part| kept(&self.value(part), &part.ty)).collect();
                self.outcome.records.push((u64::from(record.0), parts));
            }
            StmtKind::Exit { record, code } => {
                let code = self.int(code) & 0xff;
                self.outcome.records.push((u64::from(record.0), vec![Datum::Int(code)]));
                return Err(Leaves::Program);
            }
            StmtKind::If { condition, then, otherwise } => {
                let taken = if self.int(condition) != 0 { then } else { otherwise };
                return self.block(taken);
            }
            StmtKind::Loop { kind, body } => return self.repeat(kind, body),
            StmtKind::Break => return Err(Leaves::Loop),
            StmtKind::Continue => return Err(Leaves::Round),
            StmtKind::Call(function) => {
                let function = &self.program.functions[function.index()];
                match self.block(&function.body) {
                    Ok(()) | Err(Leaves::Function) => {}
                    Err(leaves) => return Err(leaves),
                }
            }
            StmtKind::Result(value) => drop(self.value(value)),
            StmtKind::Return => return Err(Leaves::Function),
        }
        Ok(())
    }

    fn repeat(&mut self, kind: &LoopKind, body: &[Stmt]) -> Result<(), Leaves> {
        if let LoopKind::Map { map, key, value } = kind {
            return self.for_each_entry(*map, *key, *value, body);
        }
        let (mut from, mut to) = match kind {
            LoopKind::Range { from, to, .. } => (self.int(from), self.int(to)),
            LoopKind::Unroll(count) => (0, i64::from(*count)),
            LoopKind::While(_) => (0, 1),
            LoopKind::Map { .. } => unreachable!("walked above"),
        };
        while from < to {
            match kind {
                LoopKind::While(condition) => {
                    if self.int(condition) == 0 {
                        break;
                    }
                    to += 1;
                }
                LoopKind::Range { variable, .. } => self.set_local(*variable, Datum::Int(from)),
                LoopKind::Unroll(_) | LoopKind::Map { .. } => {}
            }
            match self.block(body) {
                Err(Leaves::Loop) => break,
                Err(leaves @ (Leaves::Program | Leaves::Function)) => return Err(leaves),
                Ok(()) | Err(Leaves::Round) => from += 1,
            }
        }
        Ok(())
    }

    fn for_each_entry(&mut self, map: MapId, key: LocalId, value: LocalId, body: &[Stmt]) -> Result<(), Leaves> {
        for (keys, values) in self.rows(map).clone() {
            let keys = if let [one] = &keys[..] { one.clone() } else { Datum::Tuple(keys) };
            self.set_local(key, keys);
            self.set_local(value, values[0].clone());
            match self.block(body) {
                Err(Leaves::Loop) => break,
                Err(leaves @ (Leaves::Program | Leaves::Function)) => return Err(leaves),
                Ok(()) | Err(Leaves::Round) => {}
            }
        }
        Ok(())
    }

    /// What an aggregation holds now; 0 where it has seen nothing.
    fn aggregated(&mut self, map: MapId, key: &Vec<Datum>) -> i64 {
        let MapValue::Aggregation(aggregation) = self.hir.maps[map.index()].value else { panic!("a plain map") };
        let slots: Vec<i64> = match self.rows(map).get(key) {
            Some(slots) => slots.iter().map(|slot| if let Datum::Int(n) = slot { *n } else { 0 }).collect(),
            None => return 0,
        };
        match aggregation.row().fold {
            Fold::Count | Fold::Sum | Fold::Min | Fold::Max => slots[0],
            Fold::CountAndSum if slots[0] == 0 => 0,
            Fold::CountAndSum if aggregation.signed => slots[1].wrapping_div(slots[0]),
            Fold::CountAndSum => (slots[1] as u64 / slots[0] as u64) as i64,
            Fold::Squares | Fold::Powers | Fold::MirroredPowers | Fold::Magnitudes | Fold::Series | Fold::Linear => {
                panic!("not generated")
            }
        }
    }

    fn set_local(&mut self, local: LocalId, value: Datum) {
        self.locals[local.index()] = kept(&value, &self.program.locals[local.index()].ty);
    }

    fn set_map(&mut self, map: MapId, key: Vec<Datum>, value: Datum) {
        let MapValue::Plain(ty) = &self.hir.maps[map.index()].value else { panic!("a value into an aggregation") };
        let value = kept(&value, ty);
        self.rows(map).insert(key, vec![value]);
    }

    fn rows(&mut self, map: MapId) -> &mut BTreeMap<Vec<Datum>, Vec<Datum>> {
        self.outcome.maps.get_mut(&self.hir.maps[map.index()].name).expect("every map has rows")
    }

    fn key(&mut self, map: MapId, key: &[Expr]) -> Vec<Datum> {
        let types = &self.hir.maps[map.index()].key;
        key.iter().zip(types).map(|(part, ty)| kept(&self.value(part), ty)).collect()
    }

    /// A missing key reads as zero.
    fn get(&mut self, map: MapId, key: &Vec<Datum>) -> Datum {
        let zero = zero_value(&self.hir.maps[map.index()].value);
        self.rows(map).get(key).unwrap_or(&zero)[0].clone()
    }

    fn int(&mut self, e: &Expr) -> i64 {
        match self.value(e) {
            Datum::Int(value) => value,
            other => panic!("{other:?} is no number"),
        }
    }

    fn text(&mut self, e: &Expr) -> Vec<u8> {
        match self.value(e) {
            Datum::Str(text) => text,
            other => panic!("{other:?} is no string"),
        }
    }

    /// Division by zero gives 0 and is counted; everything else `BinaryOp` says.
    fn apply(&mut self, op: BinaryOp, left: i64, right: i64, span: Span) -> i64 {
        let divides = matches!(
            op,
            BinaryOp::DivideSigned | BinaryOp::DivideUnsigned | BinaryOp::RemainderSigned | BinaryOp::RemainderUnsigned
        );
        if divides && right == 0 {
            *self.outcome.errors.entry((span.start, span.end)).or_default() += 1;
        }
        op.apply(left, right)
    }

    fn value(&mut self, e: &Expr) -> Datum {
        let truth = |holds: bool| Datum::Int(i64::from(holds));
        match &e.kind {
            ExprKind::Int(value) => Datum::Int(*value),
            ExprKind::Str(text) => Datum::Str(text.to_vec()),
            ExprKind::Local(local) => self.locals[local.index()].clone(),
            ExprKind::MapGet { map, key } => {
                let key = self.key(*map, key);
                self.get(*map, &key)
            }
            ExprKind::HasKey { map, key } => {
                let key = self.key(*map, key);
                truth(self.rows(*map).contains_key(&key))
            }
            ExprKind::Delete { map, key } => {
                let key = self.key(*map, key);
                let removed = self.rows(*map).remove(&key).is_some();
                if self.hir.maps[map.index()].key.is_empty() {
                    let zero = zero_value(&self.hir.maps[map.index()].value);
                    self.rows(*map).insert(key, zero);
                }
                truth(removed)
            }
            ExprKind::Binary { op, left, right } => {
                let (left, right) = (self.int(left), self.int(right));
                Datum::Int(self.apply(*op, left, right, e.span))
            }
            ExprKind::StrEqual { negated, left, right } => {
                let (left, right) = (self.text(left), self.text(right));
                truth((left == right) != *negated)
            }
            ExprKind::Negate(inner) => Datum::Int(self.int(inner).wrapping_neg()),
            ExprKind::Complement(inner) => Datum::Int(!self.int(inner)),
            ExprKind::Not(inner) => truth(self.int(inner) == 0),
            ExprKind::And(left, right) => truth(self.int(left) != 0 && self.int(right) != 0),
            ExprKind::Or(left, right) => truth(self.int(left) != 0 || self.int(right) != 0),
            ExprKind::Ternary { condition, then, otherwise } => {
                let taken = if self.int(condition) != 0 { then } else { otherwise };
                self.value(taken)
            }
            ExprKind::Convert(inner) => match (self.value(inner), &e.ty) {
                (Datum::Int(value), Type::Array { .. }) => {
                    Datum::Bytes(value.to_le_bytes()[..e.ty.size() as usize].to_vec())
                }
                (Datum::Int(value), ty) => Datum::Int(converted(value, ty)),
                (Datum::Bytes(bytes), Type::Int { .. }) => Datum::Int(converted(number(&bytes, &Type::U64), &e.ty)),
                (other, _) => other,
            },
            ExprKind::UpdateLocal { local, op, operand, old } => {
                let Datum::Int(before) = self.locals[local.index()] else { panic!("an update of a string") };
                let operand = self.int(operand);
                let after = self.apply(*op, before, operand, e.span);
                self.set_local(*local, Datum::Int(after));
                Datum::Int(if *old { before } else { after })
            }
            ExprKind::UpdateMap { map, key, op, operand, old } => {
                let operand = self.int(operand);
                let key = self.key(*map, key);
                let Datum::Int(before) = self.get(*map, &key) else { panic!("an update of a string") };
                let after = self.apply(*op, before, operand, e.span);
                self.set_map(*map, key, Datum::Int(after));
                Datum::Int(if *old { before } else { after })
            }
            ExprKind::Comm => Datum::Str(self.comm.to_vec()),
            ExprKind::Block { statements, value } => {
                assert!(self.block(statements).is_ok(), "not generated: a block with a value that is left");
                self.value(value)
            }
            ExprKind::Length(inner) => Datum::Int(self.text(inner).len() as i64),
            ExprKind::StringOrder { left, right, limit } => {
                let cut = |text: Vec<u8>| {
                    text.into_iter().take(limit.map_or(usize::MAX, |n| n as usize)).collect::<Vec<u8>>()
                };
                let (left, right) = (cut(self.text(left)), cut(self.text(right)));
                Datum::Int(left.cmp(&right) as i64)
            }
            ExprKind::Concatenate(left, right) => {
                let (left, right) = (self.text(left), self.text(right));
                Datum::Str([left, right].concat())
            }
            ExprKind::ByteSwap { value, bytes } => {
                let swapped = (self.int(value) as u64).swap_bytes() >> (64 - u32::from(*bytes) * 8);
                Datum::Int(converted(swapped as i64, &e.ty))
            }
            ExprKind::Element { base, index } => {
                let index = self.int(index);
                let text = match self.value(base) {
                    Datum::Bytes(bytes) => {
                        let size = e.ty.size() as usize;
                        let element = usize::try_from(index).ok().and_then(|at| bytes.chunks_exact(size).nth(at));
                        if element.is_none() {
                            *self.outcome.errors.entry((e.span.start, e.span.end)).or_default() += 1;
                        }
                        return Datum::Int(element.map_or(0, |bytes| number(bytes, &e.ty)));
                    }
                    Datum::Str(text) => text,
                    other => panic!("{other:?} has no elements"),
                };
                Datum::Int(usize::try_from(index).ok().and_then(|at| text.get(at)).map_or(0, |byte| i64::from(*byte)))
            }
            ExprKind::Tuple(parts) => Datum::Tuple(parts.iter().map(|part| self.value(part)).collect()),
            ExprKind::Len { map } => Datum::Int(self.rows(*map).len() as i64),
            ExprKind::Part { base, offset } => {
                let bytes = self.value(base).encode(&base.ty);
                Datum::decode(&bytes[*offset as usize..], &e.ty)
            }
            ExprKind::Member { base, offset, bits: None } => match self.value(base) {
                Datum::Bytes(bytes) => {
                    let at = *offset as usize;
                    Datum::Int(number(&bytes[at..at + e.ty.size() as usize], &e.ty))
                }
                other => panic!("{other:?} has no elements"),
            },
            ExprKind::Same { negated, left, right, ty } => {
                let (left, right) = (self.value(left).encode(ty), self.value(right).encode(ty));
                truth((left == right) != *negated)
            }
            ExprKind::AggregationValue { map, key, part: AggregationPart::Value } => {
                let key = self.key(*map, key);
                Datum::Int(self.aggregated(*map, &key))
            }
            ExprKind::AggregationValue { .. }
            | ExprKind::Helper { .. }
            | ExprKind::Context(_)
            | ExprKind::ContextPointer
            | ExprKind::Deref { .. }
            | ExprKind::ReadString { .. }
            | ExprKind::CurrentTask
            | ExprKind::TaskRegister { .. }
            | ExprKind::StartTime
            | ExprKind::Site
            | ExprKind::Caller { .. }
            | ExprKind::Stack { .. }
            | ExprKind::StackByTables { .. }
            | ExprKind::Member { .. }
            | ExprKind::AddressOf(_)
            | ExprKind::ReadBytes { .. }
            | ExprKind::Inet { .. }
            | ExprKind::Signal { .. }
            | ExprKind::Override(_)
            | ExprKind::WriteUser { .. }
            | ExprKind::CopyBytes { .. }
            | ExprKind::WallOffset
            | ExprKind::Speculation => panic!("not generated: {e:?}"),
        }
    }
}

/// The value as a place of that type keeps it.
fn kept(value: &Datum, ty: &Type) -> Datum {
    Datum::decode(&value.encode(ty), ty)
}

/// Integers are cut and extended.
fn converted(value: i64, ty: &Type) -> i64 {
    match ty {
        Type::Bool => i64::from(value != 0),
        Type::Int { bytes: 1, signed: true } => i64::from(value as i8),
        Type::Int { bytes: 1, signed: false } => i64::from(value as u8),
        Type::Int { bytes: 2, signed: true } => i64::from(value as i16),
        Type::Int { bytes: 2, signed: false } => i64::from(value as u16),
        Type::Int { bytes: 4, signed: true } => i64::from(value as i32),
        Type::Int { bytes: 4, signed: false } => i64::from(value as u32),
        _ => value,
    }
}

/// An integer as it lies in memory.
fn number(bytes: &[u8], ty: &Type) -> i64 {
    let mut word = [0; 8];
    let size = bytes.len().min(8);
    word[..size].copy_from_slice(&bytes[..size]);
    converted(i64::from_le_bytes(word), ty)
}

fn fold(aggregation: &Aggregation, slots: &mut [Datum], value: i64, weight: i64) {
    let slot = |number: usize| match slots[number] {
        Datum::Int(value) => value,
        _ => panic!("slots are numbers"),
    };
    // Order of the values: unsigned ones above all others are large, not negative.
    let rank = |value: i64| if aggregation.signed { i128::from(value) } else { i128::from(value as u64) };
    let changes: Vec<(usize, i64)> = match aggregation.row().fold {
        Fold::Count | Fold::Sum if aggregation.is_marked => vec![(0, slot(0).wrapping_add(value)), (1, 1)],
        Fold::Count | Fold::Sum => vec![(0, slot(0).wrapping_add(value))],
        Fold::CountAndSum => vec![(0, slot(0) + 1), (1, slot(1).wrapping_add(value))],
        Fold::Min if slot(1) != 0 && rank(slot(0)) <= rank(value) => Vec::new(),
        Fold::Max if slot(1) != 0 && rank(slot(0)) >= rank(value) => Vec::new(),
        Fold::Min | Fold::Max => vec![(0, value), (1, 1)],
        Fold::Squares => {
            let wide = u128::from(slot(2) as u64) | u128::from(slot(3) as u64) << 64;
            let square = rank(value).unsigned_abs().pow(2);
            let wide = wide.wrapping_add(square);
            let sum = slot(1).wrapping_add(value);
            vec![(0, slot(0) + 1), (1, sum), (2, wide as i64), (3, (wide >> 64) as i64)]
        }
        Fold::Powers => {
            let bucket = match rank(value) {
                negative if negative < 0 => 0,
                positive => 1 + powers(positive, aggregation.power_bits()),
            };
            vec![(bucket, slot(bucket) + 1)]
        }
        Fold::MirroredPowers => {
            let behind = if rank(value) < 0 { aggregation.one_sign() as usize } else { 0 };
            let bucket = behind + powers(rank(value).abs(), aggregation.power_bits());
            vec![(bucket, slot(bucket).wrapping_add(weight))]
        }
        Fold::Magnitudes => {
            let Shape::Magnitudes(magnitudes) = aggregation.shape else { panic!("it has its magnitudes") };
            let behind = if rank(value) < 0 { aggregation.one_sign() as usize } else { 0 };
            // The last bucket that begins at the value or below it.
            let size = rank(value).abs();
            let bucket = (0..magnitudes.buckets()).rev().find(|n| i128::from(magnitudes.start(*n)) <= size);
            let bucket = behind + bucket.unwrap_or(0) as usize;
            vec![(bucket, slot(bucket).wrapping_add(weight))]
        }
        Fold::Series => panic!("not generated"),
        Fold::Linear => {
            let (min, max, step) = aggregation.linear();
            let bucket = if rank(value) < rank(min) {
                0
            } else if rank(value) >= rank(max) {
                aggregation.slots() as usize - 1
            } else {
                1 + ((rank(value) - rank(min)) / i128::from(step)) as usize
            };
            vec![(bucket, slot(bucket).wrapping_add(weight))]
        }
    };
    for (number, value) in changes {
        slots[number] = Datum::Int(value);
    }
}

/// The bucket of a size where each power of two has 2^bits of them: counts those below it.
fn powers(size: i128, bits: u32) -> usize {
    let exact = 1i128 << bits;
    if size < exact {
        return size as usize;
    }
    let power = size.ilog2();
    let width = 1i128 << (power - bits);
    let inside = (size - (1i128 << power)) / width;
    (exact as usize) + ((power - bits) as usize) * exact as usize + inside as usize
}
