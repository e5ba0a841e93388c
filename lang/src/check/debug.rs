//! `debugf()`: a line for the kernel's own trace buffer.

use crate::diagnostic::{Code, Diagnostic};
use crate::format::{Conversion, ConversionKind, Piece};
use crate::hir::{Expr, StmtKind};
use crate::span::Span;
use crate::types::Type;

use super::body::Body;

impl Body<'_, '_, '_> {
    pub(super) fn debug_line(&mut self, pieces: &[Piece], values: Vec<Expr>, span: Span) -> Option<StmtKind> {
        let strings = values.iter().filter(|value| matches!(value.ty, Type::Str(_))).count();
        if strings > 1 {
            return self.refuse("debugf() takes one string".to_string(), "more than one string", span);
        }
        let mut format = Vec::new();
        let mut types = values.iter().map(|value| &value.ty);
        for piece in pieces {
            match piece {
                Piece::Text(text) if text.contains(&b'%') => {
                    return self.refuse("debugf() writes no percent signs".to_string(), "`%%` in its format", span);
                }
                Piece::Text(text) => format.extend_from_slice(text),
                Piece::Conversion(conversion) => {
                    let Some(written) = types.next().and_then(|ty| written(conversion, ty)) else {
                        let said = format!("debugf() has no {} of this form", conversion.kind.written());
                        return self.refuse(said, "%d %u %x %p of numbers, %s of a string; no widths", span);
                    };
                    format.extend_from_slice(written);
                }
            }
        }
        if !format.ends_with(b"\n") {
            format.push(b'\n');
        }
        format.push(0);
        Some(StmtKind::DebugLine { format, values })
    }

    fn refuse(&mut self, message: String, label: &str, span: Span) -> Option<StmtKind> {
        self.report(
            Diagnostic::error(Code::Format, span, message)
                .label(label)
                .help("the kernel formats this line, and knows no more; printf() does"),
        );
        None
    }
}

/// A conversion as all kernels know it.
fn written(conversion: &Conversion, ty: &Type) -> Option<&'static [u8]> {
    let plain = conversion.width == 0 && conversion.precision.is_none() && !conversion.plus && !conversion.space;
    let is_number = ty.is_integer() || matches!(ty, Type::Pointer { .. });
    match conversion.kind {
        _ if !plain => None,
        ConversionKind::Signed if is_number => Some(b"%lld"),
        ConversionKind::Unsigned if is_number => Some(b"%llu"),
        ConversionKind::Hexadecimal if is_number && conversion.alternate => Some(b"0x%llx"),
        ConversionKind::Hexadecimal if is_number => Some(b"%llx"),
        ConversionKind::Pointer if is_number => Some(b"0x%llx"),
        ConversionKind::Text if matches!(ty, Type::Str(_)) => Some(b"%s"),
        ConversionKind::Text if is_number && ty.is_signed() => Some(b"%lld"),
        ConversionKind::Text if is_number => Some(b"%llu"),
        ConversionKind::Signed
        | ConversionKind::Unsigned
        | ConversionKind::Hexadecimal
        | ConversionKind::UpperHexadecimal
        | ConversionKind::Octal
        | ConversionKind::Character
        | ConversionKind::Pointer
        | ConversionKind::Text
        | ConversionKind::Bytes
        | ConversionKind::EscapedBytes
        | ConversionKind::HexBytes
        | ConversionKind::EscapedCharacter
        | ConversionKind::Named(_) => None,
    }
}
