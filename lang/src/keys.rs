//! Keys as the kernel's maps keep them. Of a string that may be long they keep the beginning and a hash of all of it, so that a
//! key is small and quickly found; where a string does not fit, the whole key lies in a map beside, under the same short key.

use crate::types::Type;

/// Bytes of a string that its short form keeps; a string that ends within them is all there.
pub const HEAD_BYTES: u32 = 48;

/// Bytes of a string's short form: the head, then 16 bytes of hash, which are zero where the head is the whole string.
pub const SHORT_BYTES: u32 = HEAD_BYTES + 16;

/// What a key consists of, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Segment {
    /// That many bytes, which both forms have.
    Same(u32),
    /// A string of that capacity, which the short form has in `SHORT_BYTES`.
    Text(u32),
}

impl Segment {
    /// Bytes in the whole key.
    pub fn whole_bytes(self) -> u32 {
        match self {
            Segment::Same(bytes) => bytes,
            Segment::Text(capacity) => capacity.next_multiple_of(8),
        }
    }

    pub fn short_bytes(self) -> u32 {
        match self {
            Segment::Same(bytes) => bytes,
            Segment::Text(_) => SHORT_BYTES,
        }
    }
}

/// The segments of values that follow one another.
pub fn segments(types: &[Type]) -> Vec<Segment> {
    let mut all = Vec::new();
    types.iter().for_each(|ty| collect(ty, &mut all));
    all
}

fn collect(ty: &Type, all: &mut Vec<Segment>) {
    let parts = ty.parts();
    match ty {
        Type::Str(capacity) if *capacity > SHORT_BYTES => all.push(Segment::Text(*capacity)),
        _ if !parts.is_empty() => parts.iter().for_each(|part| collect(part, all)),
        _ => match all.last_mut() {
            Some(Segment::Same(bytes)) => *bytes += ty.stored_bytes(),
            Some(Segment::Text(_)) | None => all.push(Segment::Same(ty.stored_bytes())),
        },
    }
}

/// Whether values of that type have a short form that is another.
pub fn has_text(ty: &Type) -> bool {
    segments(std::slice::from_ref(ty)).iter().any(|segment| matches!(segment, Segment::Text(_)))
}

/// Bytes of the short form of values that follow one another.
pub fn short_bytes(types: &[Type]) -> u32 {
    segments(types).iter().map(|segment| segment.short_bytes()).sum()
}

/// The whole key of a short one. `kept` gives what lies beside under it; it is asked only where a string is longer than its
/// head. Such a string shows as its head and `...` where nothing lies there.
pub fn whole(types: &[Type], short: &[u8], kept: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let segments = segments(types);
    let mut heads = Vec::new();
    let mut rest = short;
    let mut is_cut = false;
    for segment in segments {
        let (part, behind) = rest.split_at((segment.short_bytes() as usize).min(rest.len()));
        rest = behind;
        let end = heads.len() + segment.whole_bytes() as usize;
        match segment {
            Segment::Same(_) => heads.extend_from_slice(part),
            Segment::Text(_) => {
                let (head, hash) = part.split_at((HEAD_BYTES as usize).min(part.len()));
                heads.extend_from_slice(head);
                if hash.iter().any(|byte| *byte != 0) {
                    is_cut = true;
                    heads.extend_from_slice(b"...");
                }
            }
        }
        heads.resize(end, 0);
    }
    if is_cut { kept(short).unwrap_or(heads) } else { heads }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Vec<Type> {
        vec![Type::I64, Type::Tuple(vec![Type::Str(16), Type::Str(1024)].into()), Type::U64]
    }

    #[test]
    fn parts_without_long_strings_are_joined() {
        assert_eq!(segments(&key()), [Segment::Same(24), Segment::Text(1024), Segment::Same(8)]);
        assert_eq!(short_bytes(&key()), 24 + 64 + 8);
        assert_eq!(segments(&[Type::Str(64), Type::I64]), [Segment::Same(72)]);
        assert!(has_text(&Type::Str(65)) && !has_text(&Type::Str(64)));
    }

    #[test]
    fn what_fits_its_head_is_all_there() {
        let mut short = vec![1; 24];
        short.extend(b"text");
        short.resize(24 + 64, 0);
        short.extend([2; 8]);
        let whole = whole(&key(), &short, |_| unreachable!("nothing is missing"));
        assert_eq!(whole.len(), 24 + 1024 + 8);
        assert_eq!((&whole[..24], &whole[24..29], &whole[24 + 1024..]), (&[1; 24][..], &b"text\0"[..], &[2; 8][..]));
    }

    #[test]
    fn a_longer_string_lies_beside_or_is_shown_as_cut() {
        let mut short = vec![b'x'; 24 + 48];
        short.extend([7; 16]);
        short.extend([2; 8]);
        assert_eq!(whole(&key(), &short, |key| Some(key.to_vec())), short);
        let cut = whole(&key(), &short, |_| None);
        assert_eq!(&cut[24 + 47..24 + 52], b"x...\0");
    }
}
