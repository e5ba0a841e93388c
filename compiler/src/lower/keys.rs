//! Keys of maps. One that may hold long strings is kept short, and where a string is longer than its head the whole key is put
//! into a map beside (`rtrace_lang::keys`).

use rtrace_lang::calls;
use rtrace_lang::hir::{BinaryOp, Expr, ExprKind, MapId};
use rtrace_lang::keys::{self, HEAD_BYTES, SHORT_BYTES, Segment};
use rtrace_lang::limits::MAX_KEY_BYTES;
use rtrace_lang::types::Type;

use crate::ir::{Value, ValueKind};
use crate::object::{ErrorKind, START_OFFSET};

use super::turns::Turn;
use super::{Lower, Place};

/// Odd, with their bits well mixed: each word spreads over the whole hash.
const MIXER: u64 = 0x9e37_79b9_7f4a_7c15;
const SECOND_MIXER: u64 = 0xc2b2_ae3d_27d4_eb4f;

/// A bit in each byte of a word: the lowest, and the highest.
const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Most rounds of the loop that hashes a string: the verifier goes through each.
const MOST_HASH_ROUNDS: u32 = 128;

/// Bytes behind a string that the last step of its hash may look at: less than a step of the largest string.
const MOST_OVERRUN: u32 = MAX_KEY_BYTES / MOST_HASH_ROUNDS;

fn words(capacity: u32) -> u32 {
    capacity.div_ceil(8)
}

/// Words of a string that each round of its hash takes.
fn step(capacity: u32) -> u32 {
    words(capacity).div_ceil(MOST_HASH_ROUNDS)
}

/// A key in memory.
#[derive(Clone, Copy)]
pub(super) struct Key {
    place: Place,
    /// As helpers take it.
    pub pointer: Value,
    /// The map that it is a key of.
    pub turn: Turn,
    /// Where its strings that may be long lie, each at its place in the whole key.
    whole: Option<Place>,
}

impl Lower<'_> {
    /// The key of a map, built in temporary memory.
    pub(super) fn key(&mut self, map: MapId, key: &[Expr]) -> Key {
        let kept = &self.hir.maps[map.index()];
        let (types, bytes, whole_bytes) = (kept.key.clone(), kept.kept_key_bytes(), kept.key_bytes());
        let is_short = kept.has_short_keys();
        let place = self.temporary(bytes);
        let whole = is_short.then(|| self.scratch_memory(whole_bytes + MOST_OVERRUN));
        match whole {
            Some(whole) => self.write_short_parts(key, types.iter(), place, whole),
            None => self.write_parts(key, types.iter(), place),
        }
        Key { place, pointer: self.pointer(place), turn: self.turn_of(map), whole }
    }

    fn write_short_parts<'t>(
        &mut self,
        parts: &[Expr],
        types: impl Iterator<Item = &'t Type>,
        mut place: Place,
        mut whole: Place,
    ) {
        for (part, ty) in parts.iter().zip(types) {
            self.write_short(part, ty, place, whole);
            place = place.at(keys::short_bytes(std::slice::from_ref(ty)));
            whole = whole.at(ty.stored_bytes());
        }
    }

    fn write_short(&mut self, e: &Expr, ty: &Type, place: Place, whole: Place) {
        match (ty, &e.kind) {
            _ if !keys::has_text(ty) => self.write_as(e, ty, place),
            (Type::Tuple(types), ExprKind::Tuple(parts)) => self.write_short_parts(parts, types.iter(), place, whole),
            (Type::Record(types), ExprKind::Tuple(parts)) => {
                self.write_short_parts(parts, types.iter().map(|(_, ty)| ty), place, whole);
            }
            (Type::Str(capacity), ExprKind::Local(local)) if e.ty.size() <= *capacity => {
                let own = e.ty.size();
                match self.memory_of(*local).filter(|_| own >= HEAD_BYTES && words(own).is_multiple_of(step(own))) {
                    Some(kept) => self.shorten(kept, own, place, Some(whole)),
                    None => self.write_and_shorten(e, *capacity, place, whole),
                }
            }
            (Type::Str(capacity), _) => self.write_and_shorten(e, *capacity, place, whole),
            _ => {
                self.write_as(e, ty, whole);
                self.shorten_all(&keys::segments(std::slice::from_ref(ty)), whole, place);
            }
        }
    }

    fn write_and_shorten(&mut self, e: &Expr, capacity: u32, place: Place, whole: Place) {
        self.write_string(e, capacity, whole, HEAD_BYTES);
        self.shorten(whole, capacity, place, None);
    }

    fn shorten_all(&mut self, segments: &[Segment], mut whole: Place, mut place: Place) {
        for segment in segments {
            match segment {
                Segment::Same(bytes) => self.copy(whole, place, *bytes),
                Segment::Text(capacity) => self.shorten(whole, *capacity, place, None),
            }
            whole = whole.at(segment.whole_bytes());
            place = place.at(segment.short_bytes());
        }
    }

    /// Writes the short form of a string, whose head is padded. `copy`: where a copy goes if it is longer than its head.
    fn shorten(&mut self, string: Place, capacity: u32, place: Place, copy: Option<Place>) {
        self.copy(string, place, HEAD_BYTES);
        let last = self.b.load(string.base, string.offset + HEAD_BYTES as i32 - 1, 1, false);
        let (long, short, after) = (self.b.block(), self.b.block(), self.b.block());
        self.b.branch_nonzero(last, long, short);
        self.b.enter(short);
        self.fill_zero(place.at(HEAD_BYTES), SHORT_BYTES - HEAD_BYTES);
        self.b.jump(after, &[]);
        self.b.enter(long);
        if let Some(copy) = copy {
            self.copy(string, copy, capacity.next_multiple_of(8));
        }
        let (first, second) = self.hash_string(string, capacity);
        // Never zero, which stands for a string that is all in its head.
        let second = self.b.binary_int(BinaryOp::BitOr, second, 1);
        self.b.store(place.base, place.offset + HEAD_BYTES as i32, 8, first);
        self.b.store(place.base, place.offset + HEAD_BYTES as i32 + 8, 8, second);
        self.b.jump(after, &[]);
        self.b.enter(after);
    }

    /// 128 bits of hash of a string's bytes. They differ from run to run, so that nobody can prepare two strings that share
    /// them.
    fn hash_string(&mut self, string: Place, capacity: u32) -> (Value, Value) {
        let (words, step) = (words(capacity), step(capacity));
        let seed = self.b.map_value_address(self.shared.globals_map, START_OFFSET);
        let seed = self.b.load(seed, 0, 8, false);
        let string = self.pointer(string);
        let zero = self.b.int(0);
        let (head, index) = self.b.block_with(ValueKind::Int);
        let (first, second) = (self.b.value(ValueKind::Int), self.b.value(ValueKind::Int));
        self.b.function.blocks[head.index()].params.extend([first, second]);
        let (body, end) = (self.b.block(), self.b.block());
        let (done, first_hash) = self.b.block_with(ValueKind::Int);
        let second_hash = self.b.value(ValueKind::Int);
        self.b.function.blocks[done.index()].params.push(second_hash);
        self.b.jump(head, &[zero, seed, seed]);
        self.b.enter_unsealed(head);
        // Whole steps, until one holds the NUL, which the last does at the latest.
        let last = self.b.int(i64::from((words - 1) / step * step) * 8);
        self.b.branch(BinaryOp::LessUnsigned, index, last, body, end);
        self.b.enter(body);
        let at = self.b.pointer_add(string, index);
        let mut any_nul = None;
        for number in 0..step {
            let word = self.b.load(at, number as i32 * 8, 8, false);
            let nul = self.nul_bits(word);
            any_nul = Some(match any_nul {
                None => nul,
                Some(before) => self.b.binary(BinaryOp::BitOr, before, nul),
            });
        }
        let more = self.b.block();
        self.b.branch_nonzero(any_nul.expect("a step has words"), end, more);
        self.b.enter(more);
        let mut hashes = (first, second);
        for number in 0..step {
            // Loaded again: a large string has more words in a step than there are registers.
            let word = self.b.load(at, number as i32 * 8, 8, false);
            hashes = self.mix_both(hashes, word);
        }
        let next = self.b.binary_int(BinaryOp::Add, index, i64::from(step) * 8);
        self.b.jump(head, &[next, hashes.0, hashes.1]);
        self.b.seal(head);
        // The rest, word by word; what follows the NUL does not count.
        self.b.enter(end);
        let at = self.b.pointer_add(string, index);
        let mut hashes = (first, second);
        for number in 0..step {
            let word = self.b.load(at, number as i32 * 8, 8, false);
            let nul = self.nul_bits(word);
            let (stop, go_on) = (self.b.block(), self.b.block());
            self.b.branch_nonzero(nul, stop, go_on);
            self.b.enter(stop);
            let negated = self.b.binary(BinaryOp::Subtract, zero, nul);
            let lowest = self.b.binary(BinaryOp::BitAnd, nul, negated);
            let below = self.b.binary_int(BinaryOp::Subtract, lowest, 1);
            let counted = self.b.binary(BinaryOp::BitAnd, word, below);
            let ended = self.mix_both(hashes, counted);
            self.b.jump(done, &[ended.0, ended.1]);
            self.b.enter(go_on);
            hashes = self.mix_both(hashes, word);
        }
        self.b.jump(done, &[hashes.0, hashes.1]);
        self.b.enter(done);
        (first_hash, second_hash)
    }

    /// Not zero if a byte of the word is; the lowest bit that is set is then the highest of the first such byte.
    fn nul_bits(&mut self, word: Value) -> Value {
        let less = self.b.binary_int(BinaryOp::Subtract, word, LOW_BITS as i64);
        let inverse = self.b.binary_int(BinaryOp::BitXor, word, -1);
        let high = self.b.binary_int(BinaryOp::BitAnd, inverse, HIGH_BITS as i64);
        self.b.binary(BinaryOp::BitAnd, less, high)
    }

    fn mix_both(&mut self, (first, second): (Value, Value), word: Value) -> (Value, Value) {
        (self.mix_with(first, word, MIXER), self.mix_with(second, word, SECOND_MIXER))
    }

    /// A hash with one word more.
    pub(super) fn mix(&mut self, hash: Value, word: Value) -> Value {
        self.mix_with(hash, word, MIXER)
    }

    fn mix_with(&mut self, hash: Value, word: Value, mixer: u64) -> Value {
        let mixed = self.b.binary(BinaryOp::BitXor, hash, word);
        let mixed = self.b.binary_int(BinaryOp::Multiply, mixed, mixer as i64);
        let high = self.b.binary_int(BinaryOp::ShiftRightUnsigned, mixed, 32);
        self.b.binary(BinaryOp::BitXor, mixed, high)
    }

    /// Runs `then` where a string of the key is longer than its head, and goes on.
    fn if_long(&mut self, segments: &[Segment], key: Place, then: impl FnOnce(&mut Self)) {
        let mut at = key;
        let mut any = None;
        for segment in segments {
            if let Segment::Text(_) = segment {
                let hash = self.b.load(at.base, at.offset + HEAD_BYTES as i32 + 8, 8, false);
                any = Some(match any {
                    None => hash,
                    Some(before) => self.b.binary(BinaryOp::BitOr, before, hash),
                });
            }
            at = at.at(segment.short_bytes());
        }
        let Some(any) = any else { return };
        let (long, after) = (self.b.block(), self.b.block());
        self.b.branch_nonzero(any, long, after);
        self.b.enter(long);
        then(self);
        self.b.jump(after, &[]);
        self.b.enter(after);
    }

    /// Puts the whole key beside, where the short one does not say it all. Comes after the entry itself is made: see
    /// `forget_key`.
    pub(super) fn keep_key(&mut self, map: MapId, key: Key) {
        let (Some(whole), Some(beside)) = (key.whole, self.beside(key.turn)) else { return };
        let segments = keys::segments(&self.hir.maps[map.index()].key);
        self.if_long(&segments, key.place, |lower| {
            // An entry that is set again has its whole key already.
            let known = lower.look_up_on(beside, key.pointer);
            let (new, after) = (lower.b.block(), lower.b.block());
            lower.b.branch_nonzero(known, after, new);
            lower.b.enter(new);
            lower.store_key(&segments, map, beside, key, whole);
            lower.b.jump(after, &[]);
            lower.b.enter(after);
        });
    }

    fn store_key(&mut self, segments: &[Segment], map: MapId, beside: Turn, key: Key, whole: Place) {
        let bytes = segments.iter().map(|segment| segment.whole_bytes()).sum();
        let value = self.scratch_memory(bytes);
        let (mut from, mut written, mut to) = (key.place, whole, value);
        for segment in segments {
            match segment {
                Segment::Same(bytes) => self.copy(from, to, *bytes),
                Segment::Text(capacity) => {
                    self.fill_zero(to, segment.whole_bytes());
                    self.read_kept(written, *capacity, to);
                }
            }
            from = from.at(segment.short_bytes());
            written = written.at(segment.whole_bytes());
            to = to.at(segment.whole_bytes());
        }
        let (value, any) = (self.pointer(value), self.b.int(0));
        let result = self.call_on(beside, calls::MAP_UPDATE_ELEM, &[key.pointer, value, any]);
        let (failed, after) = (self.b.block(), self.b.block());
        self.b.branch_nonzero(result, failed, after);
        self.b.enter(failed);
        let span = self.b.span;
        self.count_error(ErrorKind::KeyCut(map), span);
        self.b.jump(after, &[]);
        self.b.enter(after);
    }

    /// Removes the whole key after its entry. Another processor may have made the entry anew meanwhile: then it is put
    /// back, whichever of the two came first.
    pub(super) fn forget_key(&mut self, map: MapId, key: Key) {
        let (Some(whole), Some(beside)) = (key.whole, self.beside(key.turn)) else { return };
        let segments = keys::segments(&self.hir.maps[map.index()].key);
        self.if_long(&segments, key.place, |lower| {
            lower.call_on(beside, calls::MAP_DELETE_ELEM, &[key.pointer]);
            let again = lower.look_up_on(key.turn, key.pointer);
            let (back, after) = (lower.b.block(), lower.b.block());
            lower.b.branch_nonzero(again, back, after);
            lower.b.enter(back);
            lower.store_key(&segments, map, beside, key, whole);
            lower.b.jump(after, &[]);
            lower.b.enter(after);
        });
    }

    /// The whole key of a kept one, padded.
    pub(super) fn whole_key(&mut self, map: MapId, of: Turn, kept: Value, to: Place) {
        let key = Place { base: kept, offset: 0 };
        let segments = keys::segments(&self.hir.maps[map.index()].key);
        let (mut from, mut written) = (key, to);
        for segment in &segments {
            match segment {
                Segment::Same(bytes) => self.copy(from, written, *bytes),
                Segment::Text(_) => {
                    self.copy(from, written, HEAD_BYTES);
                    self.fill_zero(written.at(HEAD_BYTES), segment.whole_bytes() - HEAD_BYTES);
                }
            }
            from = from.at(segment.short_bytes());
            written = written.at(segment.whole_bytes());
        }
        let Some(beside) = self.beside(of) else { return };
        let bytes = segments.iter().map(|segment| segment.whole_bytes()).sum();
        self.if_long(&segments, key, |lower| {
            let found = lower.look_up_on(beside, kept);
            let (yes, after) = (lower.b.block(), lower.b.block());
            lower.b.branch_nonzero(found, yes, after);
            lower.b.enter(yes);
            lower.copy(Place { base: found, offset: 0 }, to, bytes);
            lower.b.jump(after, &[]);
            lower.b.enter(after);
        });
    }
}
