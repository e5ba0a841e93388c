//! Functions whose values are known when a script is compiled: questions about types, about the command line, and about
//! the machine.

use std::sync::Arc;

use crate::ast;
use crate::builtins::{Builtin, Known};
use crate::diagnostic::{Code, Diagnostic};
use crate::hir::{Expr, ExprKind};
use crate::settings::Settings;
use crate::span::Span;
use crate::target::Attach;
use crate::types::Type;

use super::body::Body;

impl Body<'_, '_, '_> {
    pub fn known(&mut self, known: Known, row: &'static Builtin, arguments: &[ast::Argument], span: Span) -> Expr {
        let unknown = Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span };
        match known {
            Known::IsArray
            | Known::IsInteger
            | Known::IsLiteral
            | Known::IsPointer
            | Known::IsScalar
            | Known::IsString
            | Known::IsUnsigned => {
                if let ast::ExprKind::Map { name, keys } = &arguments[0].value.kind
                    && keys.is_empty()
                {
                    let key = self.checker.maps.named(name).and_then(|map| self.checker.maps.key(map));
                    match key {
                        // A whole map is no value.
                        Some([_, ..]) => return boolean(false, span),
                        // Its other uses tell whether it has keys.
                        None if !self.checker.last_round => return unknown,
                        Some([]) | None => {}
                    }
                }
                let value = self.expr(&arguments[0].value);
                let answer = match (known, &value.ty) {
                    (_, Type::Unknown) => return unknown,
                    (Known::IsArray, ty) => matches!(ty, Type::Array { .. }),
                    (Known::IsInteger, ty) => matches!(ty, Type::Int { .. } | Type::Timestamp(_)),
                    (Known::IsPointer, ty) => matches!(ty, Type::Pointer { .. }),
                    (Known::IsString, ty) => matches!(ty, Type::Str(_)) || ty.has_text(),
                    (Known::IsUnsigned, ty) => matches!(ty, Type::Int { signed: false, .. } | Type::Timestamp(_)),
                    (Known::IsLiteral, _) => is_literal(&arguments[0].value.kind),
                    (_, ty) => ty.is_scalar() && !ty.has_text(),
                };
                boolean(answer, span)
            }
            Known::AssertString => {
                let value = self.expr(&arguments[0].value);
                match self.as_text(value.clone()).ty {
                    Type::Unknown | Type::Str(_) => {
                        let nothing = ExprKind::Block { statements: Vec::new(), value: Box::new(Expr::int(0, span)) };
                        Expr { kind: nothing, ty: Type::Void, span }
                    }
                    _ => self.wrong_type(row, &value, "a string"),
                }
            }
            Known::StringCapacity => {
                let value = self.expr(&arguments[0].value);
                let value = self.as_text(value);
                match value.ty {
                    Type::Unknown => value,
                    Type::Str(bytes) => Expr::int(i64::from(bytes), span),
                    _ => self.wrong_type(row, &value, "a string"),
                }
            }
            Known::Defined => {
                let (before, maps) = (self.checker.diagnostics.len(), self.checker.maps.len());
                let value = self.expr(&arguments[0].value);
                // Asking for a map makes none.
                self.checker.maps.forget_unknown(maps);
                let has_mistake = self.checker.diagnostics.drain(before..).any(|diagnostic| diagnostic.is_error());
                match value.ty {
                    Type::Unknown if !has_mistake => unknown,
                    _ => boolean(!has_mistake, span),
                }
            }
            Known::DefaultLength => Expr::int(i64::from(self.checker.items.settings.max_strlen), span),
            Known::Config => self.config(span),
            Known::Fail => self.failure(arguments, span),
            Known::Child => match self.checker.options.child {
                Some(pid) => Expr { ty: Type::U32, ..Expr::int(i64::from(pid), span) },
                None => {
                    self.report(
                        Diagnostic::warning(Code::PositionalMissing, span, "there is no command, so cpid is 0")
                            .label("reads as 0")
                            .help("start one with `-c COMMAND`"),
                    );
                    Expr { ty: Type::U32, ..Expr::int(0, span) }
                }
            },
            Known::HasChild => boolean(self.checker.options.child.is_some(), span),
            Known::Cgroup => {
                let Some(path) = self.literal(row, &arguments[0].value) else { return unknown };
                match self.checker.target.cgroup_id(&path) {
                    Some(id) => Expr { kind: ExprKind::Int(id as i64), ty: Type::U64, span },
                    None => self.fail(
                        Diagnostic::error(
                            Code::UnknownName,
                            arguments[0].value.span,
                            format!("there is no cgroup {path}"),
                        )
                        .label("no such directory")
                        .help("cgroups are directories below /sys/fs/cgroup"),
                    ),
                }
            }
            Known::KernelFunction => {
                let Some(name) = self.literal(row, &arguments[0].value) else { return unknown };
                boolean(self.checker.target.has_kernel_function(&name), span)
            }
            Known::KernelFunctionAllowed => boolean(false, span),
            Known::NetworkAddress => self.network_address(row, &arguments[0].value, span),
            Known::ProbeProvider => self.text(self.group.provider, span),
            Known::ProbeType => {
                let site = self.group.sites.first().map(|site| &self.checker.sites[site.index()].attach);
                let is_special = matches!(site, Some(Attach::Begin | Attach::End));
                self.text(if is_special { "special" } else { self.group.provider }, span)
            }
            Known::Option => self.option(arguments, span),
        }
    }

    /// The text of an argument that must stand in quotes.
    pub fn literal(&mut self, row: &'static Builtin, e: &ast::Expr) -> Option<String> {
        if let ast::ExprKind::Str(text) = &e.kind {
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        if let ast::ExprKind::Positional(_) = &e.kind
            && let ExprKind::Str(text) = self.expr(e).kind
        {
            return Some(String::from_utf8_lossy(&text).into_owned());
        }
        self.report(
            Diagnostic::error(Code::NotConstant, e.span, format!("{}() takes a string in quotes", row.name))
                .label("not a string in quotes")
                .help(row.signature),
        );
        None
    }

    fn text(&mut self, text: &str, span: Span) -> Expr {
        self.string(text.as_bytes(), span)
    }

    /// All settings as a record.
    fn config(&mut self, span: Span) -> Expr {
        let Settings {
            max_map_keys,
            max_strlen,
            max_cat_bytes,
            print_maps_on_exit,
            missing_probes,
            stack_mode,
            show_debug_info,
            cpp_demangle,
            max_probes,
            max_bpf_progs,
            perf_rb_pages,
            str_trunc_trailer,
        } = self.checker.items.settings.clone();
        let number = |value: u64| Expr { ty: Type::U64, ..Expr::int(value as i64, span) };
        let settings = &self.checker.items.settings;
        let text = |value: &str| {
            let ty = Type::Str(settings.room_of(value));
            Expr { kind: ExprKind::Str(value.as_bytes().into()), ty, span }
        };
        let parts: Vec<(Arc<str>, Expr)> = [
            ("max_map_keys", number(max_map_keys)),
            ("max_strlen", number(u64::from(max_strlen))),
            ("max_cat_bytes", number(max_cat_bytes)),
            ("print_maps_on_exit", boolean(print_maps_on_exit, span)),
            ("missing_probes", text(missing_probes.name())),
            ("stack_mode", text(stack_mode.name())),
            ("show_debug_info", boolean(show_debug_info, span)),
            ("cpp_demangle", boolean(cpp_demangle, span)),
            ("max_probes", number(max_probes)),
            ("max_bpf_progs", number(max_bpf_progs)),
            ("perf_rb_pages", number(u64::from(perf_rb_pages))),
            ("str_trunc_trailer", text(&str_trunc_trailer)),
        ]
        .map(|(name, value)| (Arc::from(name), value))
        .into();
        let ty = Type::Record(parts.iter().map(|(name, value)| (name.clone(), value.ty.clone())).collect());
        Expr { kind: ExprKind::Tuple(parts.into_iter().map(|(_, value)| value).collect()), ty, span }
    }

    /// `pton("10.0.0.1")`: the address as bytes, in the order of networks.
    fn network_address(&mut self, row: &'static Builtin, e: &ast::Expr, span: Span) -> Expr {
        match self.literal(row, e) {
            Some(text) => self.address_bytes(&text, e.span, span),
            None => Expr { ty: Type::Unknown, ..Expr::int(0, span) },
        }
    }

    /// The bytes of an address that is written as text.
    fn address_bytes(&mut self, text: &str, place: Span, span: Span) -> Expr {
        let bytes: Vec<u8> = match text.parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V4(address)) => address.octets().to_vec(),
            Ok(std::net::IpAddr::V6(address)) => address.octets().to_vec(),
            Err(_) => {
                return self.fail(
                    Diagnostic::error(Code::BadValue, place, format!("{text:?} is no address of the internet"))
                        .label("neither of version 4 nor of version 6")
                        .help("pton(\"10.0.0.1\") or pton(\"::1\")"),
                );
            }
        };
        let ty = Type::Array { of: Arc::new(Type::Int { bytes: 1, signed: false }), len: bytes.len() as u32 };
        Expr { kind: ExprKind::Str(bytes.into()), ty, span }
    }

    /// An address that is compared with a text is compared with the address that the text means.
    pub fn meant_as_address(&mut self, e: Expr, other: &Type) -> Expr {
        let (Type::Inet, ExprKind::Str(text)) = (other, &e.kind) else { return e };
        let text = String::from_utf8_lossy(text).into_owned();
        let bytes = self.address_bytes(&text, e.span, e.span);
        match bytes.ty {
            Type::Unknown => bytes,
            _ => self.inet_of(None, &bytes, e.span).unwrap_or(bytes),
        }
    }

    /// `typeinfo(e)`: the number of the type in the kernel's BTF where it has one, and its names.
    pub fn type_info(&mut self, ty: &Type, span: Span) -> Expr {
        let (id, base) = match ty {
            Type::Unknown => return Expr { ty: Type::Unknown, ..Expr::int(0, span) },
            Type::Struct(of) => (of.id, "struct"),
            Type::Enum(of) => (of.id, "enum"),
            Type::Bool => (0, "bool"),
            Type::Int { .. } | Type::Timestamp(_) => (0, "int"),
            Type::Str(_) => (0, "string"),
            Type::Pointer { .. } => (0, "pointer"),
            Type::Array { .. } => (0, "array"),
            Type::Tuple(_) => (0, "tuple"),
            Type::Record(_) => (0, "record"),
            Type::Void
            | Type::Buffer(_)
            | Type::Stack { .. }
            | Type::Symbol { .. }
            | Type::ProbeName
            | Type::FunctionName
            | Type::ModuleName
            | Type::EventName
            | Type::Shown(_)
            | Type::Inet => (0, "value"),
        };
        let parts = [
            ("btf_id", Expr::int(i64::from(id), span)),
            ("base_type", self.text(base, span)),
            ("full_type", self.text(&format!("{ty:#}"), span)),
        ];
        let ty = Type::Record(parts.iter().map(|(name, value)| (Arc::from(*name), value.ty.clone())).collect());
        Expr { kind: ExprKind::Tuple(parts.into_iter().map(|(_, value)| value).collect()), ty, span }
    }
}

fn boolean(value: bool, span: Span) -> Expr {
    Expr { ty: Type::Bool, ..Expr::int(i64::from(value), span) }
}

fn is_literal(kind: &ast::ExprKind) -> bool {
    matches!(kind, ast::ExprKind::Int(_) | ast::ExprKind::Duration(_) | ast::ExprKind::Bool(_) | ast::ExprKind::Str(_))
}
