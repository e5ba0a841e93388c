//! Format strings of printf and its kin: read once when the script is checked, applied by the printer, or by the checker to what is
//! constant. Holds no values.

pub mod apply;

/// A piece of a format string.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    Text(Vec<u8>),
    Conversion(Conversion),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conversion {
    pub left: bool,
    pub plus: bool,
    pub space: bool,
    pub alternate: bool,
    pub zero: bool,
    pub width: u32,
    pub precision: Option<u32>,
    /// Bits that the length modifier leaves of an integer: 8, 16 or 64.
    pub bits: u8,
    /// Without a length: what 32 bits hold is of 32 bits.
    pub is_plain: bool,
    /// `@`: the value of a map that printa() goes through, not a part of its key.
    pub aggregation: bool,
    pub kind: ConversionKind,
}

impl Piece {
    pub fn conversion(&self) -> Option<&Conversion> {
        match self {
            Piece::Conversion(conversion) => Some(conversion),
            Piece::Text(_) => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConversionKind {
    /// %d %i
    Signed,
    /// %u
    Unsigned,
    /// %x
    Hexadecimal,
    /// %X
    UpperHexadecimal,
    /// %o
    Octal,
    /// %c
    Character,
    /// %p
    Pointer,
    /// %s: any value as print() shows it.
    Text,
    /// %r: bytes, those that are no printable ASCII as \xNN.
    Bytes,
    /// %rx: all bytes as \xNN.
    EscapedBytes,
    /// %rh: bytes in hexadecimal, separated by spaces.
    HexBytes,
    /// %C: a character; one that is no printable ASCII as \\xNN.
    EscapedCharacter,
    /// A number that is shown as what it stands for.
    Named(Named),
}

/// What a number stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Named {
    /// %gr: the flags of an allocation in the kernel.
    AllocationFlags,
    /// %a: an address of the kernel.
    KernelSymbol,
    /// %A: an address of the current process.
    UserSymbol,
    /// %Y: nanoseconds since 1970, as local time: year, month, day and time of day.
    Date,
    /// %T: the same as in the head of a mail.
    MailDate,
}

/// What a conversion can show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    Anything,
    Bytes,
    Number,
    /// A number, or what has a name already.
    Named,
}

impl ConversionKind {
    pub fn takes(self) -> Takes {
        match self {
            ConversionKind::Text => Takes::Anything,
            ConversionKind::Bytes | ConversionKind::EscapedBytes | ConversionKind::HexBytes => Takes::Bytes,
            ConversionKind::Signed
            | ConversionKind::Unsigned
            | ConversionKind::Hexadecimal
            | ConversionKind::UpperHexadecimal
            | ConversionKind::Octal
            | ConversionKind::Character
            | ConversionKind::EscapedCharacter
            | ConversionKind::Pointer => Takes::Number,
            ConversionKind::Named(_) => Takes::Named,
        }
    }

    /// As it is written, without flags.
    pub fn written(self) -> &'static str {
        match self {
            ConversionKind::Signed => "%d",
            ConversionKind::Unsigned => "%u",
            ConversionKind::Hexadecimal => "%x",
            ConversionKind::UpperHexadecimal => "%X",
            ConversionKind::Octal => "%o",
            ConversionKind::Character => "%c",
            ConversionKind::Pointer => "%p",
            ConversionKind::Text => "%s",
            ConversionKind::Bytes => "%r",
            ConversionKind::EscapedBytes => "%rx",
            ConversionKind::HexBytes => "%rh",
            ConversionKind::EscapedCharacter => "%C",
            ConversionKind::Named(Named::AllocationFlags) => "%gr",
            ConversionKind::Named(Named::KernelSymbol) => "%a",
            ConversionKind::Named(Named::UserSymbol) => "%A",
            ConversionKind::Named(Named::Date) => "%Y",
            ConversionKind::Named(Named::MailDate) => "%T",
        }
    }
}

/// What is wrong with a format string, at a byte offset into it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadFormat {
    pub offset: usize,
    pub message: String,
}

/// Largest width or precision: wider output is surely a slip.
const LARGEST_WIDTH: u32 = 4096;

/// Digits of an address.
const POINTER_WIDTH: u32 = 16;

pub fn parse_format(text: &[u8]) -> Result<Vec<Piece>, BadFormat> {
    let mut pieces = Vec::new();
    let mut plain = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if text[at] != b'%' {
            plain.push(text[at]);
            at += 1;
            continue;
        }
        let start = at;
        at += 1;
        if text.get(at) == Some(&b'%') {
            plain.push(b'%');
            at += 1;
            continue;
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        let mut conversion = Conversion {
            left: false,
            plus: false,
            space: false,
            alternate: false,
            zero: false,
            width: 0,
            precision: None,
            bits: 64,
            is_plain: false,
            aggregation: false,
            kind: ConversionKind::Text,
        };
        loop {
            match text.get(at) {
                Some(b'-') => conversion.left = true,
                Some(b'+') => conversion.plus = true,
                Some(b' ') => conversion.space = true,
                Some(b'#') => conversion.alternate = true,
                Some(b'0') => conversion.zero = true,
                Some(b'@') => conversion.aggregation = true,
                _ => break,
            }
            at += 1;
        }
        conversion.width = number(text, &mut at, start)?;
        // D's width of a pointer.
        if text.get(at) == Some(&b'?') {
            at += 1;
            conversion.width = POINTER_WIDTH;
        }
        // D has it before and behind the width.
        if text.get(at) == Some(&b'@') {
            at += 1;
            conversion.aggregation = true;
        }
        if text.get(at) == Some(&b'.') {
            at += 1;
            conversion.precision = Some(number(text, &mut at, start)?);
        }
        conversion.bits = match (text.get(at), text.get(at + 1)) {
            (Some(b'h'), Some(b'h')) => {
                at += 2;
                8
            }
            (Some(b'h'), _) => {
                at += 1;
                16
            }
            (Some(b'l'), Some(b'l')) => {
                at += 2;
                64
            }
            (Some(b'l' | b'z' | b'j' | b't'), _) => {
                at += 1;
                64
            }
            _ => {
                conversion.is_plain = true;
                64
            }
        };
        conversion.kind = match text.get(at) {
            Some(b'd' | b'i') => ConversionKind::Signed,
            Some(b'u') => ConversionKind::Unsigned,
            Some(b'x') => ConversionKind::Hexadecimal,
            Some(b'X') => ConversionKind::UpperHexadecimal,
            Some(b'o') => ConversionKind::Octal,
            Some(b'c') => ConversionKind::Character,
            Some(b'p') => ConversionKind::Pointer,
            // D's word for a stack.
            Some(b's' | b'k') => ConversionKind::Text,
            Some(b'C') => ConversionKind::EscapedCharacter,
            Some(b'S') => ConversionKind::Bytes,
            Some(b'a') => ConversionKind::Named(Named::KernelSymbol),
            Some(b'A') => ConversionKind::Named(Named::UserSymbol),
            Some(b'Y') => ConversionKind::Named(Named::Date),
            Some(b'T') => ConversionKind::Named(Named::MailDate),
            Some(b'r') => match text.get(at + 1) {
                Some(b'x') => {
                    at += 1;
                    ConversionKind::EscapedBytes
                }
                Some(b'h') => {
                    at += 1;
                    ConversionKind::HexBytes
                }
                _ => ConversionKind::Bytes,
            },
            Some(b'g') if text.get(at + 1) == Some(&b'r') => {
                at += 1;
                ConversionKind::Named(Named::AllocationFlags)
            }
            Some(other) => {
                return Err(BadFormat {
                    offset: start,
                    message: format!("`%{}` is no conversion", char::from(*other).escape_default()),
                });
            }
            None => {
                return Err(BadFormat { offset: start, message: "the format ends inside a conversion".to_string() });
            }
        };
        at += 1;
        pieces.push(Piece::Conversion(conversion));
    }
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

fn number(text: &[u8], at: &mut usize, start: usize) -> Result<u32, BadFormat> {
    let mut value = 0u32;
    while let Some(digit) = text.get(*at).filter(|byte| byte.is_ascii_digit()) {
        value = value * 10 + u32::from(digit - b'0');
        if value > LARGEST_WIDTH {
            return Err(BadFormat { offset: start, message: format!("a width above {LARGEST_WIDTH}") });
        }
        *at += 1;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces() {
        let pieces = parse_format(b"a%-5dx%%%08llx%s").expect("a good format");
        assert_eq!(pieces.len(), 5);
        let Piece::Conversion(c) = &pieces[1] else { panic!() };
        assert!(c.left && c.width == 5 && c.kind == ConversionKind::Signed);
        assert_eq!(pieces[2], Piece::Text(b"x%".to_vec()));
        assert!(parse_format(b"%").is_err());
        assert!(parse_format(b"%q").is_err());
    }
}
