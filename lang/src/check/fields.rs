//! Fields, elements and what pointers point to.

use std::sync::Arc;

use crate::ast;
use crate::builtins::{self, Intrinsic, Lowering};
use crate::diagnostic::{Code, Diagnostic, did_you_mean, near_misses};
use crate::hir::{BinaryOp, BitField, Expr, ExprKind};
use crate::span::Span;
use crate::target::{Absence, Attach, Location, ProgramKind, ProgramSymbol};
use crate::types::{Field, Space, StructRef, Type};

use super::body::Body;
use super::moved::Members;
use super::operators::instead_of_number;

impl Body<'_, '_, '_> {
    pub fn field(&mut self, base: &ast::Expr, name: &ast::Name, span: Span) -> Expr {
        if matches!(&base.kind, ast::ExprKind::Ident(word) if word == "args") {
            return self.argument(name, span);
        }
        let value = self.expr(base);
        let (pointer, offset, of) = match value.ty.clone() {
            Type::Unknown => return value,
            Type::Pointer { to, .. } => match &*to {
                Type::Struct(of) => {
                    let of = of.clone();
                    (value, 0, of)
                }
                other => {
                    let other = other.clone();
                    return self.no_struct(span, &Type::pointer(other, Space::Unknown));
                }
            },
            Type::Struct(of) => match value.kind {
                ExprKind::Deref { pointer, offset, .. } => (*pointer, offset, of),
                _ => return self.member(value, &of, name, span),
            },
            Type::Record(parts) => return self.record_part(value, &parts, name, span),
            other => return self.no_struct(span, &other),
        };
        let Some(found) = self.find_field(&of, &name.text) else {
            return self.no_field(&of, name);
        };
        let ty = Type::clone(&found.ty);
        let (offset, bits) = storage(offset, &found, &ty);
        // What hangs off a pointer keeps its own space; what lies inside stays in its parent's.
        Expr { kind: ExprKind::Deref { pointer: Box::new(pointer), offset, bits }, ty, span }
    }

    /// A field of a struct that is kept in a variable, a map or a tuple.
    fn member(&mut self, base: Expr, of: &StructRef, name: &ast::Name, span: Span) -> Expr {
        let Some(found) = self.find_field(of, &name.text) else { return self.no_field(of, name) };
        let ty = found.ty.clone();
        let (offset, bits) = storage(0, &found, &ty);
        Expr { kind: ExprKind::Member { base: Box::new(base), offset: offset as u32, bits }, ty, span }
    }

    fn record_part(&mut self, base: Expr, parts: &[(Arc<str>, Type)], name: &ast::Name, span: Span) -> Expr {
        let Some(index) = parts.iter().position(|(known, _)| **known == *name.text) else {
            let names: Vec<&str> = parts.iter().map(|(name, _)| &**name).collect();
            let mut diagnostic =
                Diagnostic::error(Code::UnknownField, name.span, format!("the record has no part `{}`", name.text))
                    .label("no such part");
            diagnostic = match did_you_mean(&near_misses(&name.text, names.iter().copied())) {
                Some(help) => diagnostic.help(help),
                None => diagnostic.help(format!("its parts: {}", names.join(", "))),
            };
            return self.fail(diagnostic);
        };
        if let ExprKind::Tuple(values) = base.kind {
            return values.into_iter().nth(index).expect("a record has a value for each of its names");
        }
        let offset = parts[..index].iter().map(|(_, ty)| ty.stored_bytes()).sum();
        Expr { kind: ExprKind::Part { base: Box::new(base), offset }, ty: parts[index].1.clone(), span }
    }

    fn no_struct(&mut self, span: Span, ty: &Type) -> Expr {
        let help = match ty {
            Type::Str(_) => "parts of a string are taken by functions: substr(), strlen(), basename()",
            Type::Tuple(_) => "parts of a tuple are numbered from 0: `@x.0`",
            _ => "say what it points to: `((struct task_struct *)x).pid`",
        };
        self.fail(
            Diagnostic::error(Code::TypeMismatch, span, format!("{ty:#} has no fields"))
                .label(format!("of type {ty:#}"))
                .help(help),
        )
    }

    fn no_field(&mut self, of: &StructRef, name: &ast::Name) -> Expr {
        let ty = Type::Struct(of.clone());
        let fields = |of: &StructRef| self.fields_of(of);
        let members = Members(&fields);
        let moved = members.help(of, &name.text);
        let names: Vec<Arc<str>> = members.all(of).into_iter().map(|field| field.name).collect();
        let mut diagnostic =
            Diagnostic::error(Code::UnknownField, name.span, format!("{ty:#} has no field `{}`", name.text))
                .label("no such field");
        let near = did_you_mean(&near_misses(&name.text, names.iter().map(|name| &**name)));
        diagnostic = match moved.or(near) {
            Some(help) => diagnostic.help(help),
            None if names.is_empty() => diagnostic.help("this type is known by its name only"),
            None => {
                let some: Vec<&str> = names.iter().take(12).map(|name| &**name).collect();
                let more = if names.len() > 12 { ", ..." } else { "" };
                diagnostic.help(format!("its fields: {}{more}", some.join(", ")))
            }
        };
        self.fail(diagnostic)
    }

    fn fields_of(&self, of: &StructRef) -> Vec<Field> {
        match self.checker.types.fields(of) {
            Some(fields) => fields.to_vec(),
            None => self.checker.target.fields(of),
        }
    }

    fn find_field(&self, of: &StructRef, name: &str) -> Option<Field> {
        Members(&|of| self.fields_of(of)).member(of, name)
    }

    /// `args.name`
    fn argument(&mut self, name: &ast::Name, span: Span) -> Expr {
        let layout = self.group.layout.clone();
        if let Some(argument) = layout.arguments.iter().find(|argument| *argument.name == *name.text) {
            return Expr { kind: ExprKind::Context(argument.at.clone()), ty: argument.ty.clone(), span };
        }
        if let Some(found) = self.common_field(name, span) {
            return found;
        }
        if let Some(absence) = self.absence(Some(&name.text)) {
            return self.absent(absence, name.span);
        }
        if layout.arguments.is_empty() {
            let provider = self.group.provider;
            let help = match provider {
                "kretprobe" | "uretprobe" => {
                    format!("`entry(args.{})` is what the argument was when the function was entered", name.text)
                }
                _ => "tracepoint, rawtracepoint, fentry and fexit have `args`, and uprobe where the program has debug \
                      information; kprobe and uprobe have arg0, arg1, ..."
                    .to_string(),
            };
            return self.fail(
                Diagnostic::error(Code::NotHere, span, format!("{provider} probes have no `args`"))
                    .label("not available here")
                    .help(help),
            );
        }
        let names: Vec<&str> = layout.arguments.iter().map(|argument| &*argument.name).collect();
        let mut diagnostic =
            Diagnostic::error(Code::UnknownField, name.span, format!("the probe has no argument `{}`", name.text))
                .label("no such argument");
        diagnostic = match did_you_mean(&near_misses(&name.text, names.iter().copied())) {
            Some(help) => diagnostic.help(help),
            None => diagnostic.help(format!("its arguments: {}", names.join(", "))),
        };
        self.fail(diagnostic)
    }

    /// A field that all tracepoints have. The kernel shows programs none of them (`tp_prog_is_valid_access` in
    /// kernel/trace/bpf_trace.c), but two are known otherwise.
    fn common_field(&mut self, name: &ast::Name, span: Span) -> Option<Expr> {
        if self.group.provider != "tracepoint" {
            return None;
        }
        let mut ids = Vec::new();
        for site in &self.group.sites {
            if let Attach::Tracepoint { id } = self.checker.sites[site.index()].attach {
                ids.push(id);
            }
        }
        ids.dedup();
        match (name.text.as_str(), &ids[..]) {
            ("common_pid", _) => {
                let task = ast::Expr { kind: ast::ExprKind::Ident("curtask".to_string()), span };
                let pid = ast::Name { text: "pid".to_string(), span };
                Some(self.field(&task, &pid, span))
            }
            ("common_type", [id]) => Some(Expr { ty: Type::U64, ..Expr::int(i64::from(*id), span) }),
            ("common_type" | "common_flags" | "common_preempt_count", _) => Some(self.fail(
                Diagnostic::error(Code::NotHere, name.span, format!("the kernel keeps `{}` from programs", name.text))
                    .label("not available here")
                    .help("`args.common_pid` and, of a single event, `args.common_type` are known; `probe` names the event"),
            )),
            _ => None,
        }
    }

    /// What the machine has to say about `args` that are not there.
    pub fn absence(&self, argument: Option<&str>) -> Option<Absence> {
        self.checker.target.absence(self.first_site()?, argument)
    }

    pub fn absent(&mut self, absence: Absence, span: Span) -> Expr {
        let Absence { message, help } = absence;
        self.fail(Diagnostic::error(Code::NotHere, span, message).label("not available here").help(help))
    }

    pub fn tuple_field(&mut self, base: &ast::Expr, index: u32, span: Span) -> Expr {
        let value = self.expr(base);
        match (&value.ty, value.kind) {
            (Type::Unknown, kind) => Expr { kind, ty: Type::Unknown, span },
            (Type::Tuple(parts), kind) => {
                let Some(ty) = parts.get(index as usize).cloned() else {
                    let count = parts.len();
                    return self.fail(
                        Diagnostic::error(Code::UnknownField, span, format!("the tuple has no part {index}"))
                            .label(format!("it has {count}, counted from 0"))
                            .help(format!("the last is `.{}`", count.saturating_sub(1))),
                    );
                };
                if let ExprKind::Tuple(values) = kind {
                    return values.into_iter().nth(index as usize).expect("a tuple has a value for each of its types");
                }
                let offset = parts[..index as usize].iter().map(Type::stored_bytes).sum();
                let base = Box::new(Expr { kind, ty: value.ty.clone(), span: base.span });
                Expr { kind: ExprKind::Part { base, offset }, ty, span }
            }
            (Type::Int { .. }, ExprKind::Int(_)) => self.fail(
                Diagnostic::error(Code::BadNumber, span, "there are no fractions")
                    .label("not an integer")
                    .help("scale the numbers: microseconds instead of milliseconds"),
            ),
            (ty, _) => {
                let message = format!("{ty:#} has no part {index}");
                self.fail(
                    Diagnostic::error(Code::TypeMismatch, span, message)
                        .label("not a tuple")
                        .help("a tuple is written `(pid, comm)`, and its parts `.0` and `.1`"),
                )
            }
        }
    }

    /// `base[index]` of an array or a pointer.
    pub fn element(&mut self, base: &ast::Expr, index: &ast::Expr, span: Span) -> Expr {
        if let ast::ExprKind::Ident(name) = &base.kind {
            match builtins::named(name).map(|row| row.lowering) {
                Some(Lowering::Intrinsic(Intrinsic::OpenFiles)) => return self.open_files_alone(span),
                Some(Lowering::Intrinsic(Intrinsic::UserRegisters)) => return self.user_register(index, span),
                _ => {}
            }
        }
        let value = self.expr(base);
        let value = self.as_text(value);
        let index = self.expr(index);
        if value.ty == Type::Unknown || index.ty == Type::Unknown {
            return Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span };
        }
        if !index.ty.is_integer() {
            let ty = index.ty.clone();
            return self.fail(
                Diagnostic::error(Code::TypeMismatch, index.span, format!("an index is an integer, not {ty:#}"))
                    .label(format!("of type {ty:#}"))
                    .help(instead_of_number(&ty)),
            );
        }
        let (pointer, offset, of, length) = match (value.ty.clone(), value.kind.clone()) {
            (Type::Pointer { to, .. }, _) => (value, 0, to, None),
            // One without a length is as long as what its struct was made for.
            (Type::Array { of, len }, ExprKind::Deref { pointer, offset, .. }) => {
                (*pointer, offset, of, (len > 0).then_some(len))
            }
            (Type::Str(len), ExprKind::Deref { pointer, offset, .. }) => {
                (*pointer, offset, Arc::new(Type::Int { bytes: 1, signed: true }), Some(len))
            }
            (Type::Str(_) | Type::Buffer(_), kind) => {
                let base = Box::new(Expr { kind, ty: value.ty.clone(), span: base.span });
                let kind = ExprKind::Element { base, index: Box::new(index) };
                return Expr { kind, ty: Type::Int { bytes: 1, signed: false }, span };
            }
            (Type::Array { of, len }, kind) => {
                let base = Expr { kind, ty: value.ty.clone(), span: base.span };
                return self.kept_element(base, &of, len, &index, span);
            }
            (ty, _) => {
                return self.fail(
                    Diagnostic::error(Code::TypeMismatch, span, format!("{ty:#} has no elements"))
                        .label(format!("of type {ty:#}"))
                        .help("keys of a map stand behind its name: `@x[key]`"),
                );
            }
        };
        if let (Some(length), Some(n)) = (length, index.constant())
            && (n < 0 || n >= i64::from(length))
        {
            return self.outside(n, length, index.span);
        }
        let size = i64::from(of.size());
        let (pointer, offset) = match index.constant() {
            Some(n) => (pointer, offset + n * size),
            None => {
                let moved = Expr {
                    kind: ExprKind::Binary {
                        op: BinaryOp::Multiply,
                        left: Box::new(index),
                        right: Box::new(Expr::int(size, span)),
                    },
                    ty: Type::I64,
                    span,
                };
                let ty = pointer.ty.clone();
                let kind = ExprKind::Binary { op: BinaryOp::Add, left: Box::new(pointer), right: Box::new(moved) };
                (Expr { kind, ty, span }, offset)
            }
        };
        Expr { kind: ExprKind::Deref { pointer: Box::new(pointer), offset, bits: None }, ty: Type::clone(&of), span }
    }

    fn outside(&mut self, index: i64, length: u32, span: Span) -> Expr {
        let help = match length.checked_sub(1) {
            Some(last) => format!("the last is `[{last}]`"),
            None => "it has none that could be read".to_string(),
        };
        self.fail(
            Diagnostic::error(Code::BadValue, span, format!("index {index} is outside the array"))
                .label(format!("the array has {length} elements, counted from 0"))
                .help(help),
        )
    }

    /// An element of an array that is kept in a variable, a map or a tuple.
    fn kept_element(&mut self, base: Expr, of: &Type, length: u32, index: &Expr, span: Span) -> Expr {
        match index.constant() {
            Some(n) if (0..i64::from(length)).contains(&n) => {
                let offset = n as u32 * of.size();
                Expr { kind: ExprKind::Member { base: Box::new(base), offset, bits: None }, ty: of.clone(), span }
            }
            Some(n) => self.outside(n, length, index.span),
            None if of.is_scalar() => {
                let kind = ExprKind::Element { base: Box::new(base), index: Box::new(index.clone()) };
                Expr { kind, ty: of.clone(), span }
            }
            None => self.not_yet(span, "an index that is not constant into an array of structs that is kept"),
        }
    }

    /// `*pointer`
    pub fn dereference(&mut self, mut value: Expr, span: Span) -> Expr {
        // A bare address, such as kaddr() gives, is one of a word.
        if value.ty == Type::U64 {
            value.ty = Type::pointer(Type::U64, Space::Unknown);
        }
        let Type::Pointer { to, .. } = value.ty.clone() else {
            let ty = value.ty.clone();
            return self.fail(
                Diagnostic::error(Code::TypeMismatch, span, format!("`*` takes a pointer, not {ty:#}"))
                    .label(format!("of type {ty:#}"))
                    .help("say what it points to: `*(uint64 *)x`"),
            );
        };
        if *to == Type::Void {
            return self.fail(
                Diagnostic::error(Code::TypeMismatch, span, "`*` of a void pointer")
                    .label("points to nothing known")
                    .help("say what it points to: `*(uint64 *)x`"),
            );
        }
        let ty = match &*to {
            Type::Struct(of) => Type::Struct(self.checker.types.current(of)),
            other => other.clone(),
        };
        Expr { kind: ExprKind::Deref { pointer: Box::new(value), offset: 0, bits: None }, ty, span }
    }

    pub fn offset_of(&mut self, ty: Type, path: &[ast::Name], span: Span) -> Expr {
        let mut ty = match ty {
            Type::Pointer { to, .. } => Type::clone(&to),
            other => other,
        };
        let mut bits = 0;
        for name in path {
            let Type::Struct(of) = &ty else {
                return if ty == Type::Unknown {
                    Expr { kind: ExprKind::Int(0), ty, span }
                } else {
                    self.no_struct(span, &ty.clone())
                };
            };
            let of = of.clone();
            let Some(found) = self.find_field(&of, &name.text) else { return self.no_field(&of, name) };
            bits += found.bit_offset;
            ty = found.ty;
        }
        Expr::int(i64::from(bits / 8), span)
    }

    /// `uaddr("symbol")`, with the place of the name
    pub fn address_of_symbol(&mut self, name: &str, at: Span, span: Span) -> Expr {
        let site = match self.group.kind {
            ProgramKind::Kprobe { user: true, .. } => self.first_site(),
            ProgramKind::Kprobe { user: false, .. }
            | ProgramKind::TestRun
            | ProgramKind::Tracepoint
            | ProgramKind::RawTracepoint
            | ProgramKind::Tracing { .. }
            | ProgramKind::PerfEvent => None,
        };
        let Some(site) = site else { return self.not_here("uaddr()", "uprobe, uretprobe and usdt probes", span) };
        match self.checker.target.program_symbol(site, name) {
            Ok(ProgramSymbol { address, bytes }) => {
                let to = match bytes {
                    1 | 2 | 4 | 8 => Type::Int { bytes: bytes as u8, signed: true },
                    // A string, an array, code: bytes.
                    _ => Type::Int { bytes: 1, signed: true },
                };
                let kind = ExprKind::Context(Location::UserAddress(address));
                Expr { kind, ty: Type::pointer(to, Space::User), span }
            }
            Err(absence) => self.absent(absence, at),
        }
    }

    /// Where a pointer in one of this probe's registers points to.
    pub fn register_space(&self) -> Space {
        match self.group.kind {
            ProgramKind::Kprobe { user: true, .. } => Space::User,
            ProgramKind::Kprobe { user: false, .. }
            | ProgramKind::TestRun
            | ProgramKind::Tracepoint
            | ProgramKind::RawTracepoint
            | ProgramKind::Tracing { .. }
            | ProgramKind::PerfEvent => Space::Unknown,
        }
    }
}

/// The byte offset of a member, and where its bits are in its storage unit.
fn storage(base: i64, found: &Field, ty: &Type) -> (i64, Option<BitField>) {
    let Some(width) = found.bit_width else {
        return (base + i64::from(found.bit_offset / 8), None);
    };
    let unit_bits = ty.size().max(1) * 8;
    let mut start = found.bit_offset / unit_bits * unit_bits;
    if found.bit_offset + u32::from(width) > start + unit_bits {
        // The field straddles two units (a packed struct): begin at its own byte.
        start = found.bit_offset / 8 * 8;
    }
    let shift = (found.bit_offset - start) as u8;
    (base + i64::from(start / 8), Some(BitField { shift, width }))
}
