//! Numbers that a script writes out take the width of what else a variable or a map holds: `$port = 0` makes no `uint16` wider. What is
//! computed is 64 bits wide all the same.

use crate::hir::{Expr, LocalId, MapId, MapValue};
use crate::span::Span;
use crate::types::Type;

use super::body::Body;
use super::expr::cut;

/// The numbers that a variable or a map is assigned, as long as all of them are written out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Literals {
    least: i64,
    most: i64,
}

impl Literals {
    fn one(number: i64) -> Literals {
        Literals { least: number, most: number }
    }

    fn and(self, number: i64) -> Literals {
        Literals { least: self.least.min(number), most: self.most.max(number) }
    }

    /// Whether integers of that type, one of less than 64 bits, hold them.
    fn fit(self, ty: &Type) -> bool {
        let is_narrow = matches!(ty, Type::Int { bytes, .. } if *bytes < 8);
        is_narrow && [self.least, self.most].iter().all(|number| cut(*number, ty) == *number)
    }
}

/// The number, where the script writes one without a type.
fn literal(value: &Expr) -> Option<Literals> {
    value.constant().filter(|_| value.ty == Type::I64).map(Literals::one)
}

impl Body<'_, '_, '_> {
    /// A new variable of that name, for that value.
    pub fn declare_for(&mut self, name: &str, value: &mut Expr) -> LocalId {
        let place = self.next_place();
        match (literal(value), self.checker.local_types.get(&place)) {
            (Some(number), Some(known)) if number.fit(known) => value.ty = known.clone(),
            (Some(number), None) => {
                self.checker.local_literals.insert(place, number);
            }
            _ => {}
        }
        if let Some(known) = self.checker.local_types.get(&place).cloned() {
            *value = self.fitted(value.clone(), &known);
        }
        self.declare(name, &value.ty)
    }

    /// A variable that exists is assigned the value: its type widens, or the mistake is reported.
    pub fn assign_local(&mut self, local: LocalId, value: &mut Expr, span: Span) {
        let place = self.place(local);
        let known = self.checker.local_literals.get(&place).copied();
        if let Some(number) = literal(value) {
            if number.fit(&self.local_type(local)) {
                value.ty = self.local_type(local);
                return;
            }
            if let Some(known) = known {
                self.checker.local_literals.insert(place, known.and(number.least));
                return;
            }
        }
        if known.is_some_and(|known| known.fit(&value.ty)) {
            self.checker.local_literals.remove(&place);
            self.set_local_type(local, &value.ty);
            return;
        }
        self.widen_local(local, &value.ty, span);
    }

    /// A map is assigned the value.
    pub fn assign_map(&mut self, map: MapId, value: &Expr) {
        let known = self.checker.maps.literals(map);
        let Some(number) = literal(value) else {
            match known {
                Some(known) if known.fit(&value.ty) => {
                    self.checker.maps.narrow(map, &value.ty);
                    self.checker.changed = true;
                }
                _ => self.set_map_type(map, MapValue::Plain(value.ty.clone()), value.span),
            }
            return;
        };
        let is_first = self.checker.maps.value(map).is_none();
        if let Some(MapValue::Plain(ty)) = self.checker.maps.value(map)
            && number.fit(ty)
        {
            return;
        }
        self.set_map_type(map, MapValue::Plain(value.ty.clone()), value.span);
        let all = known.map(|known| known.and(number.least)).or(is_first.then_some(number));
        self.checker.maps.set_literals(map, all);
    }
}
