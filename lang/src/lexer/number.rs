//! Numbers as they are written: bases, separators, exponents, durations and sizes. Holds no other token.

/// A literal's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Number {
    Int(u64),
    /// Nanoseconds.
    Duration(u64),
}

/// What is wrong with a literal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadNumber {
    pub label: String,
    pub help: String,
}

/// Suffixes that C allows and that change nothing.
const C_SUFFIXES: &[&str] = &["u", "l", "ul", "lu", "ll", "ull", "llu"];

const DURATIONS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

const SIZES: &[(&str, u64)] = &[
    ("K", 1 << 10),
    ("M", 1 << 20),
    ("G", 1 << 30),
    ("T", 1 << 40),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads a literal that begins with a digit.
pub fn parse_number(text: &str) -> Result<Number, BadNumber> {
    let bad = |label: &str, help: &str| BadNumber { label: label.to_string(), help: help.to_string() };
    let too_large = || bad("does not fit 64 bits", "the largest is 18446744073709551615, which is 0xffffffffffffffff");
    let lower = text.to_ascii_lowercase();
    for (prefix, radix, name) in [("0x", 16, "hexadecimal"), ("0o", 8, "octal"), ("0b", 2, "binary")] {
        if let Some(digits) = lower.strip_prefix(prefix) {
            let end = digits.find(|c: char| !(c.is_digit(radix) || c == '_')).unwrap_or(digits.len());
            let (digits, suffix) = digits.split_at(end);
            let digits: String = digits.chars().filter(|c| *c != '_').collect();
            if digits.is_empty() || !(suffix.is_empty() || C_SUFFIXES.contains(&suffix)) {
                let help = format!(
                    "digits of base {radix} come after `{prefix}`, with `_` between them where that helps to read"
                );
                return Err(bad(&format!("not a {name} number"), &help));
            }
            return u64::from_str_radix(&digits, radix).map(Number::Int).map_err(|_| too_large());
        }
    }
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '_')).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    let octal = digits.len() > 1 && digits.starts_with('0');
    if octal && (suffix.is_empty() || C_SUFFIXES.contains(&suffix.to_ascii_lowercase().as_str())) {
        return match u64::from_str_radix(&digits, 8) {
            Ok(value) => Ok(Number::Int(value)),
            Err(_) => Err(BadNumber {
                label: "a number with a leading 0 is octal".to_string(),
                help: format!("for the decimal number write `{}`", digits.trim_start_matches('0')),
            }),
        };
    }
    let value: u64 = digits.parse().map_err(|_| too_large())?;
    if suffix.is_empty() || C_SUFFIXES.contains(&suffix.to_ascii_lowercase().as_str()) {
        return Ok(Number::Int(value));
    }
    if let Some((_, scale)) = DURATIONS.iter().find(|(name, _)| *name == suffix) {
        return value.checked_mul(*scale).map(Number::Duration).ok_or_else(too_large);
    }
    if let Some((_, scale)) = SIZES.iter().find(|(name, _)| *name == suffix) {
        return value.checked_mul(*scale).map(Number::Int).ok_or_else(too_large);
    }
    if let Some(exponent) = suffix.strip_prefix(['e', 'E'])
        && let Ok(exponent) = exponent.parse::<u32>()
    {
        return 10u64
            .checked_pow(exponent)
            .and_then(|scale| value.checked_mul(scale))
            .map(Number::Int)
            .ok_or_else(too_large);
    }
    Err(BadNumber {
        label: format!("`{suffix}` is no suffix"),
        help: "suffixes are ns us ms s m h d for durations, K M G T for sizes, and C's u and l".to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let int = |text| parse_number(text) == Ok(Number::Int(0x1f));
        for text in ["31", "0x1f", "0X1F", "0o37", "037", "0b1_1111", "3_1", "31UL", "0x1fu"] {
            assert!(int(text), "{text}");
        }
        assert_eq!(parse_number("2e6"), Ok(Number::Int(2_000_000)));
        assert_eq!(parse_number("250ms"), Ok(Number::Duration(250_000_000)));
        assert_eq!(parse_number("4K"), Ok(Number::Int(4096)));
        assert_eq!(parse_number("18446744073709551615"), Ok(Number::Int(u64::MAX)));
        for text in ["12abc", "08", "0x", "0b2", "18446744073709551616", "9e99"] {
            assert!(parse_number(text).is_err(), "{text}");
        }
    }
}
