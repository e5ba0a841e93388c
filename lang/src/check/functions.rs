//! Functions of strings, bytes, addresses and numbers that print as what they stand for.

use crate::ast;
use crate::builtins::{Builtin, Intrinsic};
use crate::calls;
use crate::diagnostic::{Code, Diagnostic, did_you_mean, near_misses};
use crate::hir::{BinaryOp, Expr, ExprKind};
use crate::span::Span;
use crate::target::{Feature, Location, ProgramKind};
use crate::types::{Clock, Shown, Space, SymbolPart, Type};

use super::body::Body;

/// Registers by name, with their offsets in `struct pt_regs` (arch/x86/include/asm/ptrace.h).
const REGISTERS: &[(&str, u32)] = &[
    ("r15", 0),
    ("r14", 8),
    ("r13", 16),
    ("r12", 24),
    ("bp", 32),
    ("bx", 40),
    ("r11", 48),
    ("r10", 56),
    ("r9", 64),
    ("r8", 72),
    ("ax", 80),
    ("cx", 88),
    ("dx", 96),
    ("si", 104),
    ("di", 112),
    ("orig_ax", 120),
    ("ip", 128),
    ("cs", 136),
    ("flags", 144),
    ("sp", 152),
    ("ss", 160),
];

const AF_INET: i64 = 2;
const AF_INET6: i64 = 10;

fn unknown(span: Span) -> Expr {
    Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span }
}

/// What has a length.
const WITH_LENGTH: &str = "a map, a stack, a string, an array or a tuple";

/// Bytes of a tracepoint's data (`__data_loc`) whose length only the record knows: the upper half of the word that says where
/// they are (include/trace/stages/stage1_struct_define.h).
fn data_bytes(value: &Expr) -> Option<Expr> {
    let ExprKind::Context(Location::DataLocation { offset, .. }) = value.kind else { return None };
    let length = Location::Context { offset: offset + 2 };
    Some(Expr { kind: ExprKind::Context(length), ty: Type::Int { bytes: 2, signed: false }, span: value.span })
}

/// A number and a constant.
fn computed(op: BinaryOp, left: Expr, right: i64, span: Span) -> Expr {
    let kind = ExprKind::Binary { op, left: Box::new(left), right: Box::new(Expr::int(right, span)) };
    Expr { kind, ty: Type::I64, span }
}

impl Body<'_, '_, '_> {
    /// What a function of this file gives.
    pub fn function_value(
        &mut self,
        intrinsic: Intrinsic,
        row: &'static Builtin,
        arguments: &[ast::Argument],
        span: Span,
    ) -> Expr {
        if intrinsic == Intrinsic::Register {
            return self.register_named(&arguments[0].value, span);
        }
        if intrinsic == Intrinsic::TimeText {
            return self.time_text(row, arguments, span);
        }
        let mut values: Vec<Expr> = arguments.iter().map(|argument| self.expr(&argument.value)).collect();
        if let Intrinsic::Buffer | Intrinsic::CompareStrings | Intrinsic::Concatenate | Intrinsic::StringLength =
            intrinsic
        {
            values = values.into_iter().map(|value| self.as_text(value)).collect();
        }
        if values.iter().any(|value| value.ty == Type::Unknown) {
            return unknown(span);
        }
        let first = values[0].clone();
        match intrinsic {
            Intrinsic::ByteSwap => match first.ty.clone() {
                ty @ Type::Int { bytes: bytes @ (2 | 4 | 8), .. } => {
                    let ty = Type::Int { bytes, signed: ty.is_signed() };
                    Expr { kind: ExprKind::ByteSwap { value: Box::new(first), bytes }, ty, span }
                }
                ty if ty.is_integer() && ty.size() == 1 => first,
                _ => self.wrong_type(row, &first, "an integer"),
            },
            Intrinsic::StringLength => match &first.ty {
                Type::Str(_) => match &first.kind {
                    ExprKind::Str(text) => Expr::int(text.len() as i64, span),
                    _ => Expr { kind: ExprKind::Length(Box::new(first)), ty: Type::I64, span },
                },
                _ => self.wrong_type(row, &first, "a string"),
            },
            Intrinsic::Concatenate => self.concatenate(first, values[1].clone(), span),
            Intrinsic::CompareStrings => {
                for value in &values[..2] {
                    if !matches!(value.ty, Type::Str(_)) {
                        return self.wrong_type(row, &value.clone(), "two strings");
                    }
                }
                let limit = match values[2].constant() {
                    Some(n @ 0..=65536) => n as u32,
                    _ => {
                        return self.fail(
                            Diagnostic::error(Code::NotConstant, values[2].span, "the length is a constant above 0")
                                .label("not such a number")
                                .help(row.signature),
                        );
                    }
                };
                let (left, right) = (Box::new(first), Box::new(values[1].clone()));
                Expr { kind: ExprKind::StringOrder { left, right, limit: Some(limit) }, ty: Type::I64, span }
            }
            Intrinsic::ErrorText => self.shown(row, first, Shown::ErrorText, span),
            Intrinsic::SignalName => self.shown(row, first, Shown::SignalName, span),
            Intrinsic::SystemCallName => self.shown(row, first, Shown::SystemCallName, span),
            Intrinsic::KernelPointer => self.in_space(row, first, Space::Kernel, span),
            Intrinsic::UserPointer => self.in_space(row, first, Space::User, span),
            Intrinsic::Mac => match self.bytes_at(&first) {
                Some((pointer, _)) => Expr {
                    kind: ExprKind::Deref { pointer: Box::new(pointer), offset: 0, bits: None },
                    ty: Type::Shown(Shown::Mac),
                    span,
                },
                None => self.wrong_type(row, &first, "six bytes in memory"),
            },
            Intrinsic::CopyBytes => self.copy_bytes(row, &values, span),
            Intrinsic::Override => self.override_return(row, first, span),
            Intrinsic::WriteUser => {
                let (source, length) = (values[1].clone(), values[2].clone());
                let buffer = match source.kind {
                    // Of bytes that are read for this no more are read than are written.
                    ExprKind::ReadBytes { pointer, .. } if length.ty.is_integer() => {
                        let kind = ExprKind::ReadBytes { pointer, length: Box::new(length) };
                        Expr { kind, ty: source.ty, span: source.span }
                    }
                    _ if matches!(source.ty, Type::Buffer(_)) => {
                        return self.wrong_type(row, &source, "a pointer, a string or buf() itself");
                    }
                    _ => self.buffer(row, source, Some(length), span),
                };
                if buffer.ty == Type::Unknown {
                    return buffer;
                }
                if !self.checker.target.has(Feature::Helper(calls::PROBE_WRITE_USER)) {
                    let what = "programs write the memory of processes";
                    return self.not_allowed(what, "a kernel in lockdown, or without CAP_SYS_ADMIN, refuses it", span);
                }
                let kind = ExprKind::WriteUser { address: Box::new(first), buffer: Box::new(buffer) };
                Expr { kind, ty: Type::Bool, span }
            }
            Intrinsic::Buffer => self.buffer(row, first, values.get(1).cloned(), span),
            Intrinsic::Inet => self.inet(row, &values, span),
            _ => unreachable!("{} is not of this file", row.name),
        }
    }

    /// `len()` of what is no map.
    pub fn length(&mut self, row: &'static Builtin, e: &ast::Expr, span: Span) -> Expr {
        let value = self.expr(e);
        let value = self.as_text(value);
        match &value.ty {
            Type::Unknown => value,
            Type::Stack { .. } | Type::Str(_) => Expr { kind: ExprKind::Length(Box::new(value)), ty: Type::I64, span },
            Type::Array { len, .. } => Expr::int(i64::from(*len), span),
            Type::Tuple(_) | Type::Record(_) => Expr::int(value.ty.parts().len() as i64, span),
            Type::Pointer { to, .. } => {
                let element = i64::from(to.size().max(1));
                match data_bytes(&value) {
                    Some(bytes) if element == 1 => bytes,
                    Some(bytes) => computed(BinaryOp::DivideUnsigned, bytes, element, span),
                    None => self.wrong_type(row, &value, WITH_LENGTH),
                }
            }
            _ => self.wrong_type(row, &value, WITH_LENGTH),
        }
    }

    pub fn concatenate(&mut self, left: Expr, right: Expr, span: Span) -> Expr {
        let (left, right) = (self.as_text(left), self.as_text(right));
        let (Type::Str(a), Type::Str(b)) = (&left.ty, &right.ty) else {
            let wrong = if matches!(left.ty, Type::Str(_)) { right } else { left };
            let ty = wrong.ty.clone();
            return self.fail(
                Diagnostic::error(
                    Code::TypeMismatch,
                    wrong.span,
                    format!("a string is joined with a string, not {ty:#}"),
                )
                .label(format!("of type {ty:#}"))
                .help("printf(\"%s%d\", ...) puts different values together"),
            );
        };
        if let (ExprKind::Str(a), ExprKind::Str(b)) = (&left.kind, &right.kind) {
            return self.string(&[&a[..], &b[..]].concat(), span);
        }
        let most = self.checker.items.settings.string_bytes();
        let capacity = if self.checker.strings_grow { most } else { (a + b - 1).min(most) };
        Expr { kind: ExprKind::Concatenate(Box::new(left), Box::new(right)), ty: Type::Str(capacity), span }
    }

    fn not_allowed(&mut self, what: &str, why: &str, span: Span) -> Expr {
        self.fail(
            Diagnostic::error(Code::ProbeUnsupported, span, format!("this kernel does not let {what}"))
                .label("not on this kernel")
                .help(why)
                .on_machine(),
        )
    }

    fn override_return(&mut self, row: &'static Builtin, value: Expr, span: Span) -> Expr {
        if !matches!(self.group.kind, ProgramKind::Kprobe { user: false, .. }) || self.group.provider != "kprobe" {
            return self.not_here("override()", "kprobe probes", span);
        }
        if !value.ty.is_integer() {
            return self.wrong_type(row, &value, "a number");
        }
        if !self.checker.target.has(Feature::Helper(calls::OVERRIDE_RETURN)) {
            let why = "it is built without CONFIG_BPF_KPROBE_OVERRIDE";
            return self.not_allowed("programs keep functions from running", why, span);
        }
        Expr { kind: ExprKind::Override(Box::new(value)), ty: Type::I64, span }
    }

    pub fn shown(&mut self, row: &'static Builtin, value: Expr, shown: Shown, span: Span) -> Expr {
        if value.ty == Type::Unknown {
            return value;
        }
        if !value.ty.is_integer() {
            return self.wrong_type(row, &value, "a number");
        }
        Expr { kind: ExprKind::Convert(Box::new(value)), ty: Type::Shown(shown), span }
    }

    fn in_space(&mut self, row: &'static Builtin, value: Expr, space: Space, span: Span) -> Expr {
        let ty = match &value.ty {
            Type::Pointer { to, .. } => Type::Pointer { to: to.clone(), space },
            ty if ty.is_integer() => Type::pointer(Type::Void, space),
            _ => return self.wrong_type(row, &value, "a pointer"),
        };
        Expr { kind: ExprKind::Convert(Box::new(value)), ty, span }
    }

    /// A pointer to the bytes of a value, and how many there are where its type says so.
    pub fn bytes_at(&mut self, value: &Expr) -> Option<(Expr, Option<u32>)> {
        match &value.ty {
            Type::Pointer { .. } => Some((value.clone(), None)),
            Type::Array { .. } | Type::Str(_) | Type::Struct(_) | Type::Buffer(_) => {
                Some((self.address_of(value.clone(), value.span), Some(value.ty.size())))
            }
            ty if ty.is_integer() && ty.size() == 8 && value.constant().is_none() => {
                Some((Expr { ty: Type::pointer(Type::Void, self.register_space()), ..value.clone() }, None))
            }
            _ => None,
        }
    }

    /// The address of a value in memory.
    pub fn address_of(&mut self, value: Expr, span: Span) -> Expr {
        let to = match &value.ty {
            Type::Str(_) | Type::Buffer(_) => Type::Int { bytes: 1, signed: true },
            Type::Array { of, .. } => Type::clone(of),
            other => other.clone(),
        };
        let space = match &value.kind {
            ExprKind::Deref { pointer, .. } => match &pointer.ty {
                Type::Pointer { space, .. } => *space,
                _ => Space::Unknown,
            },
            _ => Space::Kernel,
        };
        Expr { kind: ExprKind::AddressOf(Box::new(value)), ty: Type::pointer(to, space), span }
    }

    /// What a string begins with: with its NUL as many bytes as the limit says, of a text in the script without one.
    pub fn start_of(&mut self, value: Expr, own: u32, limit: Expr, span: Span) -> Expr {
        let known = limit.constant();
        if let (ExprKind::Str(text), Some(n)) = (&value.kind, known) {
            let text = &text[..text.len().min(n as usize)];
            let ty = Type::Str(text.len() as u32 + 1);
            return Expr { kind: ExprKind::Str(text.into()), ty, span };
        }
        let ty = Type::Str(known.map_or(own, |n| n.clamp(1, own.into()) as u32));
        let pointer = Box::new(self.address_of(value, span));
        let limit = known.is_none().then(|| Box::new(limit));
        Expr { kind: ExprKind::ReadString { pointer, space: Space::Kernel, limit }, ty, span }
    }

    fn buffer(&mut self, row: &'static Builtin, value: Expr, length: Option<Expr>, span: Span) -> Expr {
        let Some((pointer, size)) = self.bytes_at(&value) else {
            return self.wrong_type(row, &value, "a pointer or an array");
        };
        let most = self.checker.items.settings.max_strlen;
        let length = match (length.or_else(|| data_bytes(&value)), size) {
            (Some(length), _) if !length.ty.is_integer() => return self.wrong_type(row, &length, "a length"),
            (Some(length), _) => length,
            (None, Some(size)) => Expr::int(i64::from(size), span),
            (None, None) => {
                return self.fail(
                    Diagnostic::error(Code::Arguments, span, "buf() of a pointer needs a length")
                        .label("how many bytes?")
                        .help(row.signature),
                );
            }
        };
        let capacity = match length.constant() {
            Some(n) => n.clamp(1, i64::from(most)) as u32,
            None => most,
        };
        let kind = ExprKind::ReadBytes { pointer: Box::new(pointer), length: Box::new(length) };
        Expr { kind, ty: Type::Buffer(capacity), span }
    }

    fn inet(&mut self, row: &'static Builtin, values: &[Expr], span: Span) -> Expr {
        let (family, address) = match values {
            [family, address] if family.ty.is_integer() => (Some(family.clone()), address),
            [family, _] => return self.wrong_type(row, &family.clone(), "a family such as AF_INET"),
            _ => (None, &values[0]),
        };
        let address = address.clone();
        match self.inet_of(family, &address, span) {
            Some(inet) => inet,
            None => self.wrong_type(row, &address, "a number, or 4 or 16 bytes in memory"),
        }
    }

    /// An address of the internet from a number or bytes in memory; None if it is neither.
    pub fn inet_of(&mut self, family: Option<Expr>, address: &Expr, span: Span) -> Option<Expr> {
        let size = match &address.ty {
            Type::Array { .. } | Type::Str(_) | Type::Buffer(_) => address.ty.size(),
            Type::Struct(of) => of.size,
            Type::Pointer { to, .. } if matches!(**to, Type::Array { .. } | Type::Struct(_)) => to.size(),
            ty if ty.is_integer() => 0,
            _ => 1,
        };
        let (bytes, own_family) = match size {
            0 => (0, AF_INET),
            4 => (4, AF_INET),
            16 => (16, AF_INET6),
            _ => return None,
        };
        let address = match bytes {
            0 => address.clone(),
            _ => self.bytes_at(address)?.0,
        };
        let family = Box::new(family.unwrap_or_else(|| Expr::int(own_family, span)));
        Some(Expr { kind: ExprKind::Inet { family, address: Box::new(address), bytes }, ty: Type::Inet, span })
    }

    fn time_text(&mut self, row: &'static Builtin, arguments: &[ast::Argument], span: Span) -> Expr {
        let ast::ExprKind::Str(format) = &arguments[0].value.kind else {
            return self.fail(
                Diagnostic::error(Code::NotConstant, arguments[0].value.span, "the format must be a string in quotes")
                    .label("not a string in quotes")
                    .help(row.signature),
            );
        };
        let format = String::from_utf8_lossy(format).into_owned();
        let value = self.expr(&arguments[1].value);
        if value.ty == Type::Unknown {
            return value;
        }
        let format = format.into();
        let shown = match value.ty {
            Type::Timestamp(Clock::Monotonic) => {
                return self.fail(
                    Diagnostic::error(
                        Code::TypeMismatch,
                        value.span,
                        "strftime() takes no time of the monotonic clock",
                    )
                    .label("stands still in suspend: it has no date")
                    .help("`nsecs` and `nsecs(tai)` have one, and `walltimestamp`"),
                );
            }
            Type::Timestamp(Clock::Tai) => Shown::AtomicTime(format),
            Type::Timestamp(Clock::Wall) => Shown::Date(format),
            _ => Shown::Time(format),
        };
        self.shown(row, value, shown, span)
    }

    /// An address that prints as what lies there.
    pub fn symbol(&mut self, row: &Builtin, address: &ast::Expr, user: bool, part: SymbolPart, span: Span) -> Expr {
        let value = self.expr(address);
        if value.ty == Type::Unknown {
            return value;
        }
        if !value.ty.is_integer() && !matches!(value.ty, Type::Pointer { .. }) {
            return self.wrong_type(row, &value, "an address");
        }
        Expr { kind: ExprKind::Convert(Box::new(value)), ty: Type::Symbol { user, part }, span }
    }

    fn register_named(&mut self, e: &ast::Expr, span: Span) -> Expr {
        let ast::ExprKind::Str(name) = &e.kind else {
            return self.fail(
                Diagnostic::error(Code::NotConstant, e.span, "reg() takes a name in quotes")
                    .label("not a string in quotes")
                    .help("reg(\"ip\")"),
            );
        };
        let name = String::from_utf8_lossy(name).into_owned();
        let Some((_, offset)) = REGISTERS.iter().find(|(known, _)| *known == name) else {
            let names = REGISTERS.iter().map(|(name, _)| *name);
            let help = did_you_mean(&near_misses(&name, names.clone()))
                .unwrap_or_else(|| format!("registers: {}", names.collect::<Vec<_>>().join(", ")));
            return self.fail(
                Diagnostic::error(Code::BadValue, e.span, format!("there is no register `{name}`"))
                    .label("not a register")
                    .help(help),
            );
        };
        self.register_at(*offset, "reg()", span)
    }

    /// A register of the context, where it has registers.
    pub fn register_at(&mut self, offset: u32, what: &str, span: Span) -> Expr {
        match self.group.has_registers() {
            true => Expr { kind: ExprKind::Context(Location::Context { offset }), ty: Type::U64, span },
            false if self.group.kind == ProgramKind::TestRun => {
                let provider = self.group.provider;
                self.fail(
                    Diagnostic::error(Code::NotHere, span, format!("{what} has no value in {provider} probes"))
                        .label("nothing is interrupted here")
                        .help("rtrace runs this probe itself; `profile:hz:99` interrupts what the processors run, and has its registers"),
                )
            }
            false => self.not_here(what, "kprobe, uprobe, profile, software and hardware probes", span),
        }
    }

    /// What is on top of the user stack: at the first instruction of a function, where it returns to.
    pub fn return_address(&mut self, span: Span) -> Expr {
        let top = self.register_at(152, "ucaller", span);
        let pointer = Expr { ty: Type::pointer(Type::U64, Space::User), ..top };
        Expr { kind: ExprKind::Deref { pointer: Box::new(pointer), offset: 0, bits: None }, ty: Type::U64, span }
    }

    /// Whether the processor was in a program: the lowest bits of the code segment are the privilege.
    pub fn user_mode(&mut self, span: Span) -> Expr {
        let segment = self.register_at(136, "usermode", span);
        if segment.ty == Type::Unknown {
            return segment;
        }
        let privilege = computed(BinaryOp::BitAnd, segment, 3, span);
        computed(BinaryOp::Equal, privilege, 3, span)
    }

    pub fn static_assert(&mut self, arguments: &[ast::Argument], span: Span) {
        let value = self.expr(&arguments[0].value);
        let message = match &arguments[1].value.kind {
            ast::ExprKind::Str(text) => String::from_utf8_lossy(text).into_owned(),
            _ => "static_assert() does not hold".to_string(),
        };
        match value.constant() {
            Some(0) => self.report(
                Diagnostic::error(Code::BadValue, span, message)
                    .label("does not hold")
                    .help("the script itself asks for this before it runs"),
            ),
            Some(_) => {}
            None if value.ty == Type::Unknown => {}
            None => self.report(
                Diagnostic::error(Code::NotConstant, value.span, "static_assert() takes a constant")
                    .label("known only when the probe fires")
                    .help("assert() is checked while the script runs"),
            ),
        }
    }
}
