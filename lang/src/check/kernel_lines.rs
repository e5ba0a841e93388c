//! What the kernel itself formats, with the conversions that it knows: the lines of debugf(), and what printf() writes into
//! the file of an iterator.

use crate::diagnostic::{Code, Diagnostic};
use crate::format::{Conversion, ConversionKind, Piece};
use crate::hir::{Expr, KernelText, StmtKind};
use crate::span::Span;
use crate::types::Type;

use super::body::Body;

/// The most that the kernel takes at once (include/linux/bpf.h, `MAX_BPRINTF_VARARGS`).
const MOST_VALUES: usize = 12;

impl Body<'_, '_, '_> {
    pub(super) fn kernel_line(
        &mut self,
        to: KernelText,
        pieces: &[Piece],
        values: Vec<Expr>,
        span: Span,
    ) -> Option<StmtKind> {
        let is_debug = to == KernelText::TraceBuffer;
        let strings = values.iter().filter(|value| matches!(value.ty, Type::Str(_))).count();
        if is_debug && strings > 1 {
            return self.refuse(to, "takes at most one string", "more than one string", span);
        }
        if values.len() > MOST_VALUES {
            return self.refuse(to, "takes at most twelve values", "more than twelve values", span);
        }
        let mut format = Vec::new();
        let mut types = values.iter().map(|value| &value.ty);
        for piece in pieces {
            match piece {
                Piece::Text(text) if is_debug && text.contains(&b'%') => {
                    return self.refuse(to, "writes no percent signs", "`%%` in its format", span);
                }
                Piece::Text(text) if !text.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) => {
                    return self.refuse(to, "writes ASCII alone", "other characters in its format", span);
                }
                Piece::Text(text) => {
                    for byte in text {
                        format.push(*byte);
                        if *byte == b'%' {
                            format.push(b'%');
                        }
                    }
                }
                Piece::Conversion(conversion) => {
                    let written = types.next().and_then(|ty| written(to, conversion, ty));
                    let Some(written) = written else {
                        let said = format!("has no {} of this form", conversion.kind.written());
                        let known = match to {
                            KernelText::TraceBuffer => "%d %u %x %p of numbers, %s of a string; no widths",
                            KernelText::Iterator => "%d %u %x %X %p of numbers, %s of strings and numbers, widths",
                        };
                        return self.refuse(to, &said, known, span);
                    };
                    format.extend_from_slice(written.as_bytes());
                }
            }
        }
        if is_debug && !format.ends_with(b"\n") {
            format.push(b'\n');
        }
        format.push(0);
        Some(StmtKind::KernelLine { to, format, values })
    }

    fn refuse(&mut self, to: KernelText, what: &str, label: &str, span: Span) -> Option<StmtKind> {
        let (who, help) = match to {
            KernelText::TraceBuffer => ("debugf()", "the kernel formats this line, and knows no more; printf() does"),
            KernelText::Iterator => (
                "printf() of a pinned iterator",
                "the kernel formats what is read, and knows no more; without a pin printf() does",
            ),
        };
        self.report(Diagnostic::error(Code::Format, span, format!("{who} {what}")).label(label).help(help));
        None
    }
}

/// A conversion as all kernels know it.
fn written(to: KernelText, conversion: &Conversion, ty: &Type) -> Option<String> {
    let Conversion { left, plus, space, alternate, zero, width, precision, bits, is_plain: _, aggregation: _, kind } =
        conversion;
    let is_plain = *width == 0 && !plus && !space;
    if precision.is_some() || to == KernelText::TraceBuffer && !is_plain {
        return None;
    }
    let is_number = ty.is_integer() || matches!(ty, Type::Pointer { .. });
    let letters = match kind {
        _ if *bits < 64 => return None,
        ConversionKind::Signed if is_number => "lld",
        ConversionKind::Unsigned if is_number => "llu",
        ConversionKind::Hexadecimal | ConversionKind::Pointer if is_number => "llx",
        ConversionKind::UpperHexadecimal if is_number && to == KernelText::Iterator => "llX",
        ConversionKind::Text if matches!(ty, Type::Str(_)) => "s",
        ConversionKind::Text if is_number && ty.is_signed() => "lld",
        ConversionKind::Text if is_number => "llu",
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
        | ConversionKind::Named(_) => return None,
    };
    // The kernel has no `#`.
    let has_prefix = *kind == ConversionKind::Pointer || *kind == ConversionKind::Hexadecimal && *alternate;
    if has_prefix {
        return is_plain.then(|| format!("0x%{letters}"));
    }
    let flags = [(*left, '-'), (*plus, '+'), (*space, ' '), (*zero && !left, '0')];
    let flags: String = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| *flag).collect();
    let width = if *width > 0 { width.to_string() } else { String::new() };
    Some(format!("%{flags}{width}{letters}"))
}
