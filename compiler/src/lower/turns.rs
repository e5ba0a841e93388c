//! The kernel's map that a map of the script is in just now: two take turns where the script clears it while probes fire.

use rtrace_lang::calls;
use rtrace_lang::hir::MapId;

use crate::ir::{MapRef, Memory, Value, ValueKind};

use super::Lower;

/// One of the two, or the only one.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    first: MapRef,
    second: Option<Second>,
}

/// The other one, and what is not zero where it is meant.
#[derive(Clone, Copy)]
struct Second {
    map: MapRef,
    is_meant: Value,
}

impl Lower<'_> {
    /// The one that programs use from here on.
    pub(super) fn turn_of(&mut self, map: MapId) -> Turn {
        let first = MapRef(map.0);
        let second = self.shared.turns(map).map(|turns| {
            let word = self.b.map_value_address(self.shared.globals_map, turns.word);
            Second { map: MapRef(turns.other), is_meant: self.b.load(word, 0, 8, false) }
        });
        Turn { first, second }
    }

    /// Which of the two it is; 0 where there is but one.
    pub(super) fn which(&mut self, turn: Turn) -> Value {
        turn.second.map_or_else(|| self.b.int(0), |second| second.is_meant)
    }

    /// The one that `which` gave.
    pub(super) fn same_turn(&self, map: MapId, is_meant: Value) -> Turn {
        let second = self.shared.turns(map).map(|turns| Second { map: MapRef(turns.other), is_meant });
        Turn { first: MapRef(map.0), second }
    }

    /// The one beside it that has the whole keys.
    pub(super) fn beside(&self, turn: Turn) -> Option<Turn> {
        let first = self.shared.whole_keys(turn.first)?;
        let second = turn.second.map(|second| Second {
            map: self.shared.whole_keys(second.map).expect("both have short keys"),
            is_meant: second.is_meant,
        });
        Some(Turn { first, second })
    }

    /// A helper call on it that gives a number.
    pub(super) fn call_on(&mut self, turn: Turn, helper: u32, arguments: &[Value]) -> Value {
        self.on_either(turn, ValueKind::Int, |lower, map| {
            let map = lower.b.map(map);
            lower.b.call(helper, &[&[map], arguments].concat())
        })
    }

    /// One that gives a pointer to a value, or null.
    pub(super) fn look_up_in(&mut self, turn: Turn, helper: u32, arguments: &[Value]) -> Value {
        self.on_either(turn, ValueKind::Nullable(Memory::MapValue), |lower, map| {
            let map = lower.b.map(map);
            lower.b.call_nullable(helper, &[&[map], arguments].concat(), Memory::MapValue)
        })
    }

    /// The value of a map without keys.
    pub(super) fn only_value(&mut self, map: MapId) -> Value {
        let turn = self.turn_of(map);
        let kind = ValueKind::Pointer(Memory::MapValue);
        self.on_either(turn, kind, |lower, map| lower.b.map_value_address(map, 0))
    }

    /// Calls by each of the two are calls of their own: the kernel compiles a call on one map better than one on two.
    fn on_either(&mut self, turn: Turn, kind: ValueKind, mut f: impl FnMut(&mut Self, MapRef) -> Value) -> Value {
        let Some(second) = turn.second else { return f(self, turn.first) };
        let (one, other) = (self.b.block(), self.b.block());
        let (after, result) = self.b.block_with(kind);
        self.b.branch_nonzero(second.is_meant, other, one);
        for (block, map) in [(one, turn.first), (other, second.map)] {
            self.b.enter(block);
            let value = f(self, map);
            self.b.jump(after, &[value]);
        }
        self.b.enter(after);
        result
    }

    pub(super) fn look_up_on(&mut self, turn: Turn, key: Value) -> Value {
        self.look_up_in(turn, calls::MAP_LOOKUP_ELEM, &[key])
    }
}
