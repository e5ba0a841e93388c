//! Calls of builtin functions, as values and as statements.

use crate::aggregations;
use crate::ast;
use crate::builtins::{self, Builtin, Intrinsic, Lowering};
use crate::calls;
use crate::constants;
use crate::diagnostic::{Code, Diagnostic, did_you_mean, near_misses};
use crate::expand::THREAD;
use crate::format::{ConversionKind, Piece, Takes};
use crate::hir::{Expr, ExprKind, KernelText, MapId, RecordKind, Stmt, StmtKind};
use crate::span::Span;
use crate::types::{Shown, SymbolPart, Type};

use super::body::Body;
use super::names::StackKind;
use super::typenames::named_type;

impl Body<'_, '_, '_> {
    /// The row of a function, with the number of its arguments checked.
    fn function(&mut self, name: &ast::Name, arguments: &[ast::Argument], span: Span) -> Option<&'static Builtin> {
        let Some(row) = builtins::named(&name.text) else {
            if aggregations::named(&name.text).is_some() {
                self.aggregation_out_of_place(&name.text, span);
                return None;
            }
            let names = builtins::all()
                .filter(|row| !row.bare || row.arguments.1 > 0)
                .map(|row| row.name)
                .chain(self.checker.items.functions.keys().copied())
                .chain(self.checker.items.macros.iter().copied())
                .chain(aggregations::AGGREGATIONS.iter().map(|row| row.name));
            let mut diagnostic =
                Diagnostic::error(Code::UnknownFunction, name.span, format!("there is no function `{}`", name.text))
                    .label("not a function");
            let instead = builtins::instead_of(&name.text).map(str::to_string);
            diagnostic = match instead.or_else(|| did_you_mean(&near_misses(&name.text, names))) {
                Some(help) => diagnostic.help(help),
                None => diagnostic.help("`:builtins` at the prompt lists all functions; `fn` defines a new one"),
            };
            self.report(diagnostic);
            return None;
        };
        let about = format!("{}: {}", row.signature, row.doc);
        if !self.takes_as_many(row.name, row.arguments, arguments.len(), &about, span) {
            return None;
        }
        if row.lowering != Lowering::Intrinsic(Intrinsic::Print) && !self.no_names(row.name, arguments) {
            return None;
        }
        if row.is_unsafe && !self.checker.options.allow_unsafe {
            let written = self.as_written(row, name.span);
            self.report(
                Diagnostic::error(Code::Unsafe, span, format!("{}() changes the system", written.name))
                    .label("unsafe")
                    .help("allow it with `--unsafe`"),
            );
            return None;
        }
        Some(row)
    }

    /// Whether a function that takes between so many arguments is given as many as it takes; otherwise it is reported.
    pub fn takes_as_many(
        &mut self,
        name: &str,
        (least, most): (usize, usize),
        given: usize,
        about: &str,
        span: Span,
    ) -> bool {
        if (least..=most).contains(&given) {
            return true;
        }
        let count = |n: usize| format!("{n} argument{}", if n == 1 { "" } else { "s" });
        let what = match (least, most) {
            (0, 0) => "no argument".to_string(),
            (a, usize::MAX) => format!("at least {}", count(a)),
            (a, b) if a == b => count(a),
            (0, b) => format!("at most {}", count(b)),
            (a, b) if b == a + 1 => format!("{a} or {b} arguments"),
            (a, b) => format!("{a} to {b} arguments"),
        };
        self.report(
            Diagnostic::error(Code::Arguments, span, format!("{name}() takes {what}, not {given}"))
                .label(format!("given {given}"))
                .help(about),
        );
        false
    }

    pub fn call(&mut self, name: &ast::Name, arguments: &[ast::Argument], span: Span) -> Expr {
        let unknown = Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span };
        if self.is_function(&name.text) {
            return self.function_call(name, arguments, span);
        }
        let Some(row) = self.function(name, arguments, span) else { return unknown };
        let intrinsic = match row.lowering {
            Lowering::Intrinsic(intrinsic) => intrinsic,
            Lowering::Helper { .. } => return self.builtin(row, span),
            Lowering::Macro(_) => return unknown,
        };
        // For messages alone.
        let written = self.as_written(row, name.span);
        match intrinsic {
            Intrinsic::Str => self.str(written, arguments, span),
            Intrinsic::Allocate => self.allocated(&arguments[0].value, span),
            Intrinsic::Delete | Intrinsic::HasKey => self.keyed(intrinsic, arguments, span),
            Intrinsic::Len if !matches!(arguments[0].value.kind, ast::ExprKind::Map { .. }) => {
                self.length(written, &arguments[0].value, span)
            }
            Intrinsic::Len => match self.map_argument(&arguments[0].value) {
                Some(map) => {
                    if self.checker.last_round && self.checker.maps.key(map).is_none_or(<[Type]>::is_empty) {
                        return self.fail(
                            Diagnostic::error(Code::TypeMismatch, span, "len() takes a map with keys")
                                .label("has no keys")
                                .help("`@x[pid] = count();` makes one with keys, and len(@x) counts them"),
                        );
                    }
                    if !self.need_helper("len() of a map", calls::FOR_EACH_MAP_ELEM, span) {
                        return unknown;
                    }
                    Expr { kind: ExprKind::Len { map }, ty: Type::I64, span }
                }
                None => unknown,
            },
            Intrinsic::KernelStack | Intrinsic::UserStack | Intrinsic::UserStackByTables if arguments.is_empty() => {
                self.builtin(row, span)
            }
            Intrinsic::KernelStack => self.stack_call(StackKind::Kernel, arguments, span),
            Intrinsic::UserStack => self.stack_call(StackKind::User, arguments, span),
            Intrinsic::UserStackByTables => self.stack_call(StackKind::UserByTables, arguments, span),
            Intrinsic::Nsecs => match arguments.first().map(|argument| &argument.value.kind) {
                None => self.builtin(row, span),
                Some(ast::ExprKind::Ident(clock)) => {
                    let clock = clock.clone();
                    self.clock_of(&clock, span)
                }
                Some(_) => self.clock_of("?", span),
            },
            Intrinsic::KernelSymbol | Intrinsic::UserSymbol => {
                self.symbol(written, &arguments[0].value, intrinsic == Intrinsic::UserSymbol, SymbolPart::Name, span)
            }
            Intrinsic::KernelModule | Intrinsic::UserModule => {
                self.symbol(written, &arguments[0].value, intrinsic == Intrinsic::UserModule, SymbolPart::Module, span)
            }
            Intrinsic::Func => match arguments.first() {
                Some(address) => self.symbol(written, &address.value, false, SymbolPart::Name, span),
                None => self.builtin(row, span),
            },
            Intrinsic::UserAddress => match string_literal(&arguments[0].value) {
                Some(name) => self.address_of_symbol(&name, arguments[0].value.span, span),
                None => self.symbol(written, &arguments[0].value, true, SymbolPart::Name, span),
            },
            Intrinsic::KernelAddress => {
                let Some(symbol) = string_literal(&arguments[0].value) else {
                    return self.fail(
                        Diagnostic::error(Code::NotConstant, arguments[0].value.span, "kaddr() takes a name in quotes")
                            .label("not a string")
                            .help("kaddr(\"jiffies\")"),
                    );
                };
                match self.checker.target.kernel_symbol(&symbol) {
                    Some(address) => Expr { kind: ExprKind::Int(address as i64), ty: Type::U64, span },
                    None => self.fail(
                        Diagnostic::error(
                            Code::UnknownName,
                            arguments[0].value.span,
                            format!("the kernel has no symbol `{symbol}`"),
                        )
                        .label("not in /proc/kallsyms")
                        .help("reading addresses takes CAP_SYSLOG, or root; some kernels list functions only")
                        .on_machine(),
                    ),
                }
            }
            Intrinsic::Signal | Intrinsic::SignalThread => {
                let value = match string_literal(&arguments[0].value) {
                    Some(name) => {
                        let full = if name.starts_with("SIG") { name.clone() } else { format!("SIG{name}") };
                        match constants::named(&full) {
                            Some(number) => Expr::int(number, span),
                            None => return self.unknown_signal(&full, &name, arguments[0].value.span),
                        }
                    }
                    None => self.expr(&arguments[0].value),
                };
                if value.ty != Type::Unknown && !value.ty.is_integer() {
                    return self.wrong_type(written, &value, "a signal's number or name");
                }
                let thread = intrinsic == Intrinsic::SignalThread;
                Expr { kind: ExprKind::Signal { number: Box::new(value), thread }, ty: Type::I64, span }
            }
            Intrinsic::Known(known) => self.known(known, row, arguments, span),
            Intrinsic::CgroupPath => {
                let hierarchies = match arguments.get(1) {
                    Some(pattern) => match self.literal(written, &pattern.value) {
                        Some(pattern) => Some(pattern.into()),
                        None => return unknown,
                    },
                    None => None,
                };
                let value = self.expr(&arguments[0].value);
                self.shown(written, value, Shown::CgroupPath(hierarchies), span)
            }
            Intrinsic::ProcessId | Intrinsic::ThreadId if !arguments.is_empty() => match &arguments[0].value.kind {
                ast::ExprKind::Ident(name) if name == "init" => self.process_id(intrinsic, None, span),
                ast::ExprKind::Ident(name) if name == "curr_ns" => self.builtin(row, span),
                _ => self.fail(
                    Diagnostic::error(Code::BadValue, arguments[0].value.span, "there is no such namespace")
                        .label("not a namespace")
                        .help(row.signature),
                ),
            },
            Intrinsic::Args
            | Intrinsic::Comm
            | Intrinsic::CurrentTask
            | Intrinsic::Caller
            | Intrinsic::Elapsed
            | Intrinsic::OpenFiles
            | Intrinsic::PossibleCpus
            | Intrinsic::ProcessNamespace
            | Intrinsic::Probe
            | Intrinsic::ReturnValue
            | Intrinsic::SystemCallNumber
            | Intrinsic::ProcessId
            | Intrinsic::ThreadId
            | Intrinsic::ProbeEvent
            | Intrinsic::ProbeFunction
            | Intrinsic::ProbeModule
            | Intrinsic::WallClock
            | Intrinsic::Clear
            | Intrinsic::Exit
            | Intrinsic::Denormalize
            | Intrinsic::Commit
            | Intrinsic::Discard
            | Intrinsic::Speculate
            | Intrinsic::Entry
            | Intrinsic::Speculation
            | Intrinsic::Normalize
            | Intrinsic::Print
            | Intrinsic::Printa
            | Intrinsic::Printf
            | Intrinsic::PrintJoined
            | Intrinsic::Truncate
            | Intrinsic::Unwatch
            | Intrinsic::System
            | Intrinsic::Cat
            | Intrinsic::Reopen
            | Intrinsic::DebugLine
            | Intrinsic::Packet
            | Intrinsic::ErrorMessage
            | Intrinsic::WarningMessage
            | Intrinsic::Time
            | Intrinsic::StaticAssert
            | Intrinsic::UserName
            | Intrinsic::UserCaller
            | Intrinsic::UserMode
            | Intrinsic::UserRegisters
            | Intrinsic::Zero => self.builtin(row, span),
            Intrinsic::Buffer
            | Intrinsic::ByteSwap
            | Intrinsic::CompareStrings
            | Intrinsic::Concatenate
            | Intrinsic::CopyBytes
            | Intrinsic::ErrorText
            | Intrinsic::Inet
            | Intrinsic::KernelPointer
            | Intrinsic::Mac
            | Intrinsic::Register
            | Intrinsic::SignalName
            | Intrinsic::StringLength
            | Intrinsic::SystemCallName
            | Intrinsic::TimeText
            | Intrinsic::Override
            | Intrinsic::WriteUser
            | Intrinsic::UserPointer => self.function_value(intrinsic, written, arguments, span),
        }
    }

    /// The builtin that the script has in that place: the one that this is a part of, where that is a macro.
    fn as_written(&self, row: &'static Builtin, place: Span) -> &'static Builtin {
        self.checker.written.get(&place).copied().unwrap_or(row)
    }

    fn unknown_signal(&mut self, full: &str, written: &str, span: Span) -> Expr {
        let near = near_misses(full, constants::names().filter(|name| name.starts_with("SIG")));
        let help = did_you_mean(&near).unwrap_or_else(|| "signal(\"TERM\") or signal(15)".to_string());
        self.fail(
            Diagnostic::error(Code::UnknownName, span, format!("there is no signal `{written}`"))
                .label("not a signal")
                .help(help),
        )
    }

    pub fn wrong_type(&mut self, row: &Builtin, value: &Expr, wanted: &str) -> Expr {
        self.fail(
            Diagnostic::error(
                Code::TypeMismatch,
                value.span,
                format!("{}() takes {wanted}, not {:#}", row.name, value.ty),
            )
            .label(format!("of type {:#}", value.ty))
            .help(row.signature),
        )
    }

    fn str(&mut self, row: &'static Builtin, arguments: &[ast::Argument], span: Span) -> Expr {
        let value = self.expr(&arguments[0].value);
        let limit = arguments.get(1).map(|argument| self.expr(&argument.value));
        if value.ty == Type::Unknown || limit.as_ref().is_some_and(|limit| limit.ty == Type::Unknown) {
            return Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span };
        }
        if let Some(limit) = &limit {
            if !limit.ty.is_integer() {
                return self.wrong_type(row, &limit.clone(), "a length");
            }
            if limit.constant().is_some_and(|n| n < 0) {
                return self.fail(
                    Diagnostic::error(Code::BadValue, limit.span, "a length below zero")
                        .label("negative")
                        .help("without a length, the whole string is read"),
                );
            }
        }
        let value = self.as_text(value);
        // A string stays one, or what it begins with; a number from the command line becomes its digits.
        if let Type::Str(own) = value.ty {
            return match limit {
                Some(limit) => self.start_of(value, own, limit, span),
                None => value,
            };
        }
        if let (ast::ExprKind::Positional(number), Some(_)) = (&arguments[0].value.kind, value.constant()) {
            let text = number.checked_sub(1).and_then(|n| self.checker.options.positional.get(n as usize)).cloned();
            let bytes: std::sync::Arc<[u8]> = text.unwrap_or_default().into_bytes().into();
            let ty = Type::Str(bytes.len() as u32 + 1);
            return Expr { kind: ExprKind::Str(bytes), ty, span };
        }
        let space = match &value.ty {
            Type::Pointer { space, .. } => *space,
            ty if ty.is_integer() => self.register_space(),
            _ => return self.wrong_type(row, &value, "a pointer"),
        };
        let most = self.checker.items.settings.string_bytes();
        let known = limit.as_ref().and_then(Expr::constant);
        let capacity = known.map_or(most, |n| n.clamp(1, most.into()) as u32);
        let limit = limit.filter(|limit| limit.constant().is_none()).map(Box::new);
        Expr { kind: ExprKind::ReadString { pointer: Box::new(value), space, limit }, ty: Type::Str(capacity), span }
    }

    /// `delete(@m[k])`, `delete(@m, k)` and `has_key(@m, k)`.
    fn keyed(&mut self, intrinsic: Intrinsic, arguments: &[ast::Argument], span: Span) -> Expr {
        let unknown = Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span };
        let ast::ExprKind::Map { name, keys } = &arguments[0].value.kind else {
            return self.fail(
                Diagnostic::error(Code::TypeMismatch, arguments[0].value.span, "this takes a map")
                    .label("not a map")
                    .help("delete(@x[key]) or delete(@x, key)"),
            );
        };
        let mut all = keys.clone();
        if let Some(key) = arguments.get(1) {
            match &key.value.kind {
                ast::ExprKind::Tuple(parts) => all.extend(parts.iter().cloned()),
                _ => all.push(key.value.clone()),
            }
        }
        let (map, key) = self.map_place(name, &all, arguments[0].value.span);
        if self.checker.maps.value(map).is_none() {
            return if self.checker.last_round { self.unknown_map(name, arguments[0].value.span) } else { unknown };
        }
        if key.iter().any(|part| part.ty == Type::Unknown) {
            return unknown;
        }
        let kind =
            if intrinsic == Intrinsic::Delete { ExprKind::Delete { map, key } } else { ExprKind::HasKey { map, key } };
        Expr { kind, ty: Type::Bool, span }
    }

    /// The map that an argument names as a whole.
    pub fn map_argument(&mut self, e: &ast::Expr) -> Option<MapId> {
        let (name, keys) = match &e.kind {
            ast::ExprKind::Map { name, keys } if !name.starts_with(THREAD) => (name, keys),
            _ => {
                self.report(
                    Diagnostic::error(Code::TypeMismatch, e.span, "this takes a map")
                        .label("not a map")
                        .help("maps begin with `@`"),
                );
                return None;
            }
        };
        if !keys.is_empty() {
            self.report(
                Diagnostic::error(Code::TypeMismatch, e.span, "this takes a whole map")
                    .label("one entry of a map")
                    .help(format!("write `@{name}`; delete() removes one entry")),
            );
            return None;
        }
        let map = self.checker.maps.id(name, e.span);
        if self.checker.maps.value(map).is_none() {
            if self.checker.last_round {
                self.unknown_map(name, e.span);
            }
            return None;
        }
        Some(map)
    }

    /// A call that is a statement of its own kind; false if it is an expression like others.
    pub fn statement_call(
        &mut self,
        name: &ast::Name,
        arguments: &[ast::Argument],
        span: Span,
        out: &mut Vec<Stmt>,
    ) -> bool {
        if self.is_function(&name.text) {
            return false;
        }
        let Some(Builtin { lowering: Lowering::Intrinsic(intrinsic), .. }) = builtins::named(&name.text) else {
            return false;
        };
        let intrinsic = *intrinsic;
        let statement = matches!(
            intrinsic,
            Intrinsic::Printf
                | Intrinsic::PrintJoined
                | Intrinsic::System
                | Intrinsic::Reopen
                | Intrinsic::Print
                | Intrinsic::Printa
                | Intrinsic::Normalize
                | Intrinsic::Denormalize
                | Intrinsic::Truncate
                | Intrinsic::Unwatch
                | Intrinsic::Speculate
                | Intrinsic::Commit
                | Intrinsic::Discard
                | Intrinsic::Clear
                | Intrinsic::Zero
                | Intrinsic::Exit
                | Intrinsic::Cat
                | Intrinsic::DebugLine
                | Intrinsic::Packet
                | Intrinsic::ErrorMessage
                | Intrinsic::WarningMessage
                | Intrinsic::Time
                | Intrinsic::StaticAssert
        );
        if !statement || self.function(name, arguments, span).is_none() {
            return statement;
        }
        let kind = match intrinsic {
            Intrinsic::Printf
            | Intrinsic::PrintJoined
            | Intrinsic::System
            | Intrinsic::Reopen
            | Intrinsic::Cat
            | Intrinsic::DebugLine
            | Intrinsic::ErrorMessage
            | Intrinsic::WarningMessage => self.formatted(intrinsic, arguments, span),
            Intrinsic::Time => self.time(arguments, span),
            Intrinsic::Packet => self.packet(arguments, span),
            Intrinsic::StaticAssert => {
                self.static_assert(arguments, span);
                None
            }
            Intrinsic::Print => self.print(arguments, span),
            Intrinsic::Printa => self.printa(arguments, span),
            Intrinsic::Normalize => self.normalize(arguments, span),
            Intrinsic::Denormalize => self.denormalize(arguments, span),
            Intrinsic::Truncate => self.truncate(arguments, span),
            Intrinsic::Unwatch => self.unwatch(arguments, span),
            Intrinsic::Speculate | Intrinsic::Commit | Intrinsic::Discard => {
                self.speculative(intrinsic, arguments, span)
            }
            Intrinsic::Clear => self.map_argument(&arguments[0].value).map(|map| {
                let record = self.record(RecordKind::ClearMap(map), Vec::new(), span);
                StmtKind::Emit { record, parts: Vec::new() }
            }),
            Intrinsic::Zero => self.map_argument(&arguments[0].value).map(|map| {
                let record = self.record(RecordKind::ZeroMap(map), Vec::new(), span);
                StmtKind::Emit { record, parts: Vec::new() }
            }),
            _ => self.exit(arguments, span),
        };
        if let Some(kind) = kind {
            out.push(Stmt { kind, span });
        }
        true
    }

    fn unwatch(&mut self, arguments: &[ast::Argument], span: Span) -> Option<StmtKind> {
        let address = self.expr(&arguments[0].value);
        if address.ty == Type::Unknown {
            return None;
        }
        if !address.ty.is_integer() && !matches!(address.ty, Type::Pointer { .. }) {
            let row = builtins::named("unwatch").expect("unwatch has a row");
            self.wrong_type(row, &address, "an address");
            return None;
        }
        let record = self.record(RecordKind::Unwatch, vec![Type::U64], span);
        Some(StmtKind::Emit { record, parts: vec![address] })
    }

    fn exit(&mut self, arguments: &[ast::Argument], span: Span) -> Option<StmtKind> {
        let code = match arguments.first() {
            Some(argument) => self.expr(&argument.value),
            None => Expr::int(0, span),
        };
        if code.ty == Type::Unknown {
            return None;
        }
        if !code.ty.is_integer() {
            let row = builtins::named("exit").expect("exit has a row");
            self.wrong_type(row, &code, "a number");
            return None;
        }
        let record = self.record(RecordKind::Exit, vec![Type::I64], span);
        Some(StmtKind::Exit { record, code })
    }

    fn time(&mut self, arguments: &[ast::Argument], span: Span) -> Option<StmtKind> {
        let format = match arguments.first().map(|argument| &argument.value) {
            None => "%H:%M:%S\n".to_string(),
            Some(ast::Expr { kind: ast::ExprKind::Str(text), .. }) => String::from_utf8_lossy(text).into_owned(),
            Some(other) => {
                self.report(
                    Diagnostic::error(Code::NotConstant, other.span, "the format must be a string in quotes")
                        .label("not a string in quotes")
                        .help("time(\"%H:%M:%S\\n\")"),
                );
                return None;
            }
        };
        let record = self.record(RecordKind::Time(format), Vec::new(), span);
        Some(StmtKind::Emit { record, parts: Vec::new() })
    }

    /// Whether a format has as many conversions as values are given for it; otherwise it is reported.
    pub fn as_many_as_conversions(&mut self, pieces: &[Piece], values: usize, span: Span) -> bool {
        let conversions = pieces.iter().filter_map(Piece::conversion).count();
        if conversions == values {
            return true;
        }
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let given = match values {
            1 => "1 value is".to_string(),
            n => format!("{n} values are"),
        };
        let message = format!("the format has {} and {given} given", count(conversions, "conversion"));
        self.report(
            Diagnostic::error(Code::Format, span, message)
                .label("these do not match")
                .help("each %d, %s and so on takes one value; a percent sign itself is %%"),
        );
        false
    }

    fn formatted(&mut self, intrinsic: Intrinsic, arguments: &[ast::Argument], span: Span) -> Option<StmtKind> {
        let format = &arguments[0].value;
        let ast::ExprKind::Str(text) = &format.kind else {
            self.report(
                Diagnostic::error(Code::NotConstant, format.span, "the format must be a string in quotes")
                    .label("not a string in quotes")
                    .help("print(value) prints any value"),
            );
            return None;
        };
        let pieces = self.format(text, format.span)?;
        let conversions: Vec<_> = pieces.iter().filter_map(Piece::conversion).cloned().collect();
        if conversions.iter().any(|conversion| conversion.aggregation) {
            self.report(
                Diagnostic::error(Code::Format, format.span, "`@` in a format shows a map, which only printa() does")
                    .label("in this format")
                    .help("printa(\"%s %@d\\n\", @calls) goes through the entries of a map"),
            );
            return None;
        }
        let mut values: Vec<Expr> = arguments[1..].iter().map(|argument| self.expr(&argument.value)).collect();
        if !self.as_many_as_conversions(&pieces, values.len(), span) {
            return None;
        }
        for (conversion, value) in conversions.iter().zip(&values) {
            if value.ty == Type::Unknown {
                return None;
            }
            if !self.storable(value) {
                return None;
            }
            let (fits, wanted) = match conversion.kind.takes() {
                Takes::Anything => (true, "anything"),
                Takes::Bytes => (matches!(value.ty, Type::Buffer(_) | Type::Str(_) | Type::Array { .. }), "bytes"),
                Takes::Number | Takes::Named => {
                    let is_named = matches!(value.ty, Type::Pointer { .. } | Type::Symbol { .. } | Type::Shown(_));
                    (value.ty.is_integer() || is_named, "a number")
                }
            };
            if !fits {
                let ty = value.ty.clone();
                self.report(
                    Diagnostic::error(
                        Code::Format,
                        value.span,
                        format!("{} takes {wanted}, not {ty:#}", conversion.kind.written()),
                    )
                    .label(format!("of type {ty:#}"))
                    .help("%s prints any value"),
                );
                return None;
            }
        }
        for (conversion, value) in conversions.iter().zip(&mut values) {
            if let ConversionKind::Named(named) = conversion.kind
                && matches!(
                    value.ty,
                    Type::Pointer { .. } | Type::Int { .. } | Type::Bool | Type::Enum(_) | Type::Timestamp(_)
                )
            {
                let (ty, span) = (named_type(named), value.span);
                *value = Expr { kind: ExprKind::Convert(Box::new(value.clone())), ty, span };
            }
        }
        if intrinsic == Intrinsic::DebugLine {
            return self.kernel_line(KernelText::TraceBuffer, &pieces, values, span);
        }
        if intrinsic == Intrinsic::Printf && self.is_pinned() {
            return self.kernel_line(KernelText::Iterator, &pieces, values, span);
        }
        let parts = values.iter().map(|value| value.ty.clone()).collect();
        let kind = match intrinsic {
            Intrinsic::Printf => RecordKind::Printf(pieces),
            Intrinsic::PrintJoined => RecordKind::Join(pieces),
            Intrinsic::Cat => RecordKind::Cat(pieces),
            Intrinsic::Reopen => RecordKind::Reopen(pieces),
            Intrinsic::ErrorMessage | Intrinsic::WarningMessage => {
                RecordKind::Message { is_error: intrinsic == Intrinsic::ErrorMessage, pieces }
            }
            _ => RecordKind::System(pieces),
        };
        let record = self.record(kind, parts, span);
        Some(StmtKind::Emit { record, parts: values })
    }
}

fn string_literal(e: &ast::Expr) -> Option<String> {
    match &e.kind {
        ast::ExprKind::Str(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}
