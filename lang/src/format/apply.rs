//! Conversions of printf(3): a number or a text, as a conversion shows it. What a value of the script is as a text, its
//! printer knows.

use super::{Conversion, ConversionKind};

/// A number, by a conversion that takes numbers. `is_unsigned` is what its type says.
pub fn number(conversion: &Conversion, number: i64, is_unsigned: bool, out: &mut Vec<u8>) {
    // A negative number that an `int` holds is one, as in C and in bpftrace; no digit of a larger one is lost.
    let is_int = conversion.is_plain && !is_unsigned && i32::try_from(number).is_ok();
    let bits = if is_int { 32 } else { conversion.bits };
    let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
    let unsigned = number as u64 & mask;
    match conversion.kind {
        ConversionKind::Character => pad(conversion, b"", &[number as u8], false, out),
        ConversionKind::EscapedCharacter => pad(conversion, b"", &escaped(&[number as u8], false), false, out),
        ConversionKind::Signed => {
            let shift = 64 - u32::from(conversion.bits);
            let signed = number << shift >> shift;
            // An unsigned value that does not fit is shown as what it is.
            let (negative, magnitude) = match is_unsigned && conversion.bits == 64 {
                true => (false, number as u64),
                false => (signed < 0, signed.unsigned_abs()),
            };
            let sign: &[u8] = match (negative, conversion.plus, conversion.space) {
                (true, _, _) => b"-",
                (false, true, _) => b"+",
                (false, false, true) => b" ",
                (false, false, false) => b"",
            };
            digits(conversion, sign, magnitude.to_string(), out);
        }
        ConversionKind::Unsigned => digits(conversion, b"", unsigned.to_string(), out),
        ConversionKind::Hexadecimal => {
            let prefix: &[u8] = if conversion.alternate && unsigned != 0 { b"0x" } else { b"" };
            digits(conversion, prefix, format!("{unsigned:x}"), out);
        }
        ConversionKind::UpperHexadecimal => {
            let prefix: &[u8] = if conversion.alternate && unsigned != 0 { b"0X" } else { b"" };
            digits(conversion, prefix, format!("{unsigned:X}"), out);
        }
        ConversionKind::Octal => {
            let prefix: &[u8] = if conversion.alternate && unsigned != 0 { b"0" } else { b"" };
            digits(conversion, prefix, format!("{unsigned:o}"), out);
        }
        ConversionKind::Pointer => digits(conversion, b"0x", format!("{number:x}"), out),
        ConversionKind::Text
        | ConversionKind::Bytes
        | ConversionKind::EscapedBytes
        | ConversionKind::HexBytes
        | ConversionKind::Named(_) => unreachable!("these take no numbers"),
    }
}

/// A text, cut at the precision.
pub fn text(conversion: &Conversion, mut text: Vec<u8>, out: &mut Vec<u8>) {
    if let Some(precision) = conversion.precision {
        text.truncate(whole_characters(&text, precision as usize));
    }
    pad(conversion, b"", &text, false, out);
}

/// Bytes, as %r and its kin show them.
pub fn bytes(kind: ConversionKind, bytes: &[u8]) -> Vec<u8> {
    if kind == ConversionKind::HexBytes {
        let parts: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        return parts.join(" ").into_bytes();
    }
    escaped(bytes, kind == ConversionKind::EscapedBytes)
}

/// Bytes as text: those that are no printable ASCII, or all of them, as \xNN.
pub fn escaped(bytes: &[u8], all: bool) -> Vec<u8> {
    bytes
        .iter()
        .flat_map(|byte| match byte {
            b' '..=b'~' if !all => vec![*byte],
            _ => format!("\\x{byte:02x}").into_bytes(),
        })
        .collect()
}

/// The most bytes up to `most` that end with a whole character of UTF-8.
fn whole_characters(text: &[u8], most: usize) -> usize {
    if most >= text.len() {
        return text.len();
    }
    // A character has at most three bytes behind its first.
    let is_inside = |at: usize| text[at] & 0xc0 == 0x80;
    let start = (most.saturating_sub(3)..=most).rev().find(|at| !is_inside(*at)).unwrap_or(most);
    if start < most && std::str::from_utf8(&text[start..most]).is_err_and(|error| error.error_len().is_none()) {
        return start;
    }
    most
}

/// Digits with their precision: that many at least, filled with zeros, which then do not fill the width.
fn digits(conversion: &Conversion, prefix: &[u8], digits: String, out: &mut Vec<u8>) {
    let least = conversion.precision.unwrap_or(1) as usize;
    let digits = if digits == "0" && least == 0 { String::new() } else { format!("{digits:0>least$}") };
    let zeros = conversion.zero && !conversion.left && conversion.precision.is_none();
    pad(conversion, prefix, digits.as_bytes(), zeros, out);
}

fn pad(conversion: &Conversion, prefix: &[u8], text: &[u8], zeros: bool, out: &mut Vec<u8>) {
    let width = conversion.width as usize;
    let length = prefix.len() + String::from_utf8_lossy(text).chars().count();
    let fill = width.saturating_sub(length);
    if !conversion.left && !zeros {
        out.extend(std::iter::repeat_n(b' ', fill));
    }
    out.extend_from_slice(prefix);
    if zeros {
        out.extend(std::iter::repeat_n(b'0', fill));
    }
    out.extend_from_slice(text);
    if conversion.left {
        out.extend(std::iter::repeat_n(b' ', fill));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_shown_whole_or_not_at_all() {
        let text = "a\u{e9}\u{20ac}z".as_bytes();
        let kept: Vec<usize> = (0..=text.len() + 1).map(|most| whole_characters(text, most)).collect();
        assert_eq!(kept, [0, 1, 1, 3, 3, 3, 6, 7, 7]);
        assert_eq!([0, 1, 2, 3].map(|most| whole_characters(b"\xff\xfe\x80\x80", most)), [0, 1, 2, 3]);
    }
}
