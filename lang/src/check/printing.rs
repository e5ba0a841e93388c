//! What shows maps and what decides how they are shown: print(), printa(), normalize(), denormalize(), trunc().

use crate::ast;
use crate::builtins::{self, Builtin};
use crate::diagnostic::{Code, Diagnostic, did_you_mean, near_misses};
use crate::expand::THREAD;
use crate::format::{Conversion, Piece, Takes, parse_format};
use crate::hir::{Expr, ExprKind, MapId, MapValue, RecordKind, SortBy, StmtKind, Table};
use crate::span::Span;
use crate::types::Type;

use super::body::Body;

/// Names of print()'s arguments behind the map, in their order; only the first two have a place without a name.
const PRINT_ARGUMENTS: [&str; 4] = ["top", "div", "by", "order"];

impl Body<'_, '_, '_> {
    /// True if no argument has a name; otherwise says that they have none.
    pub fn no_names(&mut self, function: &str, arguments: &[ast::Argument]) -> bool {
        let Some(name) = arguments.iter().find_map(|argument| argument.name.as_ref()) else { return true };
        self.report(
            Diagnostic::error(Code::Arguments, name.span, format!("{function}() has no argument names"))
                .label("a name")
                .help("give the value alone; print() of a map takes names"),
        );
        false
    }

    pub fn print(&mut self, arguments: &[ast::Argument], span: Span) -> Option<StmtKind> {
        if let ast::ExprKind::Map { keys, name } = &arguments[0].value.kind
            && keys.is_empty()
            && !name.starts_with(THREAD)
            && arguments[0].name.is_none()
        {
            let map = self.map_argument(&arguments[0].value)?;
            let table = self.table(&arguments[1..])?;
            let record = self.record(RecordKind::PrintMap { map, table }, Vec::new(), span);
            return Some(StmtKind::Emit { record, parts: Vec::new() });
        }
        if !self.no_names("print", &arguments[..1]) {
            return None;
        }
        if arguments.len() > 1 {
            self.report(
                Diagnostic::error(Code::Arguments, span, "print() of a value takes nothing else")
                    .label(format!("given {} arguments", arguments.len()))
                    .help("several values print as a tuple: print((1, 2))"),
            );
            return None;
        }
        let value = self.expr(&arguments[0].value);
        if value.ty == Type::Unknown || !self.storable(&value) {
            return None;
        }
        let record = self.record(RecordKind::Print, vec![value.ty.clone()], span);
        Some(StmtKind::Emit { record, parts: vec![value] })
    }

    /// `top, div`, and the rest by name.
    fn table(&mut self, arguments: &[ast::Argument]) -> Option<Table> {
        let mut table = Table::default();
        let mut given: [Option<Span>; 4] = [None; 4];
        let mut names_began = false;
        for (place, argument) in arguments.iter().enumerate() {
            let span = argument.name.as_ref().map_or(argument.value.span, |name| name.span);
            let number = match &argument.name {
                Some(name) => {
                    names_began = true;
                    self.print_argument(name)?
                }
                None if names_began => {
                    self.report(
                        Diagnostic::error(Code::Arguments, span, "a value without a name behind one with a name")
                            .label("which argument is this?")
                            .help("values without names come first: print(@m, 10, div: 1000)"),
                    );
                    return None;
                }
                None if place < 2 => place,
                None => {
                    self.report(
                        Diagnostic::error(Code::Arguments, span, "print() takes two values without names")
                            .label("a third one")
                            .help("print(@m, 10, 1000, by: \"key\", order: \"desc\")"),
                    );
                    return None;
                }
            };
            if let Some(first) = given[number] {
                self.report(
                    Diagnostic::error(
                        Code::Arguments,
                        span,
                        format!("`{}` of print() is given twice", PRINT_ARGUMENTS[number]),
                    )
                    .label("again")
                    .other(first, "first here")
                    .help("leave one of them out"),
                );
                return None;
            }
            given[number] = Some(span);
            match number {
                // Of 0 bpftrace shows all.
                0 => table.top = Some(self.print_number(&argument.value, "top", 0)?).filter(|top| *top > 0),
                1 => table.divisor = self.print_number(&argument.value, "div", 1)?,
                2 => {
                    let by = [("key", SortBy::Key), ("value", SortBy::Value)];
                    table.by = self.choice(&argument.value, "by", &by)?;
                }
                _ => {
                    let order = [("asc", false), ("desc", true)];
                    table.descending = self.choice(&argument.value, "order", &order)?;
                }
            }
        }
        Some(table)
    }

    fn print_argument(&mut self, name: &ast::Name) -> Option<usize> {
        let number = PRINT_ARGUMENTS.iter().position(|known| *known == name.text);
        if number.is_none() {
            let help = did_you_mean(&near_misses(&name.text, PRINT_ARGUMENTS.iter().copied()))
                .unwrap_or_else(|| "print(@map, top: 10, by: \"key\", order: \"desc\", div: 1000)".to_string());
            self.report(
                Diagnostic::error(Code::Arguments, name.span, format!("print() has no argument `{}`", name.text))
                    .label("no such argument")
                    .help(help),
            );
        }
        number
    }

    fn print_number(&mut self, e: &ast::Expr, name: &str, least: i64) -> Option<u64> {
        let value = self.expr(e);
        match value.constant() {
            Some(n) if n >= least => Some(n as u64),
            Some(n) => {
                self.report(
                    Diagnostic::error(
                        Code::BadValue,
                        value.span,
                        format!("{name} of print() is at least {least}, not {n}"),
                    )
                    .label("too small")
                    .help("print(@map, top, div)"),
                );
                None
            }
            None if value.ty == Type::Unknown => None,
            None => {
                self.report(
                    Diagnostic::error(Code::NotConstant, value.span, format!("{name} of print() must be a constant"))
                        .label("known only when the probe fires")
                        .help("a number, or one from the command line: `$1`"),
                );
                None
            }
        }
    }

    fn choice<T: Copy>(&mut self, e: &ast::Expr, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let text = match &e.kind {
            ast::ExprKind::Str(text) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        };
        let found = choices.iter().find(|(choice, _)| *choice == text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<String> = choices.iter().map(|(choice, _)| format!("\"{choice}\"")).collect();
            let names = names.join(" or ");
            self.report(
                Diagnostic::error(Code::BadValue, e.span, format!("{name} of print() is {names}"))
                    .label("neither of them")
                    .help(format!("for example `{name}: \"{}\"`", choices[0].0)),
            );
        }
        found
    }

    /// normalize(@map, n)
    pub fn normalize(&mut self, arguments: &[ast::Argument], span: Span) -> Option<StmtKind> {
        let row = builtins::named("normalize").expect("normalize has a row");
        let map = self.map_argument(&arguments[0].value)?;
        let number = self.number(row, &arguments[1].value)?;
        if let Some(n) = number.constant().filter(|n| *n <= 0 && number.ty != Type::U64) {
            self.report(
                Diagnostic::error(Code::BadValue, number.span, format!("normalize() cannot divide by {n}"))
                    .label("not above 0")
                    .help(row.signature),
            );
            return None;
        }
        Some(self.with_number(RecordKind::Normalize(map), number, span))
    }

    /// denormalize(@map)
    pub fn denormalize(&mut self, arguments: &[ast::Argument], span: Span) -> Option<StmtKind> {
        let map = self.map_argument(&arguments[0].value)?;
        let record = self.record(RecordKind::Denormalize(map), Vec::new(), span);
        Some(StmtKind::Emit { record, parts: Vec::new() })
    }

    /// trunc(@map, n)
    pub fn truncate(&mut self, arguments: &[ast::Argument], span: Span) -> Option<StmtKind> {
        let row = builtins::named("trunc").expect("trunc has a row");
        let map = self.map_argument(&arguments[0].value)?;
        let number = match arguments.get(1) {
            Some(argument) => self.number(row, &argument.value)?,
            None => Expr::int(0, span),
        };
        Some(self.with_number(RecordKind::Truncate(map), number, span))
    }

    fn number(&mut self, row: &Builtin, e: &ast::Expr) -> Option<Expr> {
        let number = self.expr(e);
        if number.ty == Type::Unknown {
            return None;
        }
        if !number.ty.is_integer() {
            self.wrong_type(row, &number, "a number");
            return None;
        }
        Some(number)
    }

    /// An event with a number as its only part.
    fn with_number(&mut self, kind: RecordKind, number: Expr, span: Span) -> StmtKind {
        let ty = if number.ty == Type::U64 { Type::U64 } else { Type::I64 };
        let record = self.record(kind, vec![ty], span);
        StmtKind::Emit { record, parts: vec![number] }
    }

    /// printa("format", @a, @b) and printa(@a).
    pub fn printa(&mut self, arguments: &[ast::Argument], span: Span) -> Option<StmtKind> {
        let (pieces, rest) = match &arguments[0].value.kind {
            ast::ExprKind::Str(text) => (Some(self.format(text, arguments[0].value.span)?), &arguments[1..]),
            _ => (None, arguments),
        };
        if rest.is_empty() {
            self.report(
                Diagnostic::error(Code::Arguments, span, "printa() prints maps, and is given none")
                    .label("no map")
                    .help("printa(\"%s %@d\\n\", @calls)"),
            );
            return None;
        }
        let maps = rest.iter().map(|argument| self.map_argument(&argument.value)).collect::<Option<Vec<MapId>>>()?;
        let keys = self.joined_keys(&maps, rest)?;
        if let Some(pieces) = &pieces {
            self.match_columns(pieces, &keys, &maps, rest, arguments[0].value.span)?;
        }
        let record = self.record(RecordKind::PrintAggregations { maps, pieces }, Vec::new(), span);
        Some(StmtKind::Emit { record, parts: Vec::new() })
    }

    /// Reads a format, or says what is wrong with it.
    pub fn format(&mut self, text: &[u8], span: Span) -> Option<Vec<Piece>> {
        match parse_format(text) {
            Ok(pieces) => Some(pieces),
            Err(bad) => {
                self.report(
                    Diagnostic::error(Code::Format, span, bad.message)
                        .label(format!("at character {} of this format", bad.offset + 1))
                        .help("conversions are %d %i %u %x %X %o %c %C %p %s %S %r %a %A %k %Y %T; a percent sign itself is %%"),
                );
                None
            }
        }
    }

    /// The keys that all maps of one printa() share.
    fn joined_keys(&mut self, maps: &[MapId], arguments: &[ast::Argument]) -> Option<Vec<Type>> {
        let keys = self.checker.maps.key(maps[0])?.to_vec();
        for (map, argument) in maps.iter().zip(arguments).skip(1) {
            let other = self.checker.maps.key(*map)?.to_vec();
            let alike = keys.len() == other.len() && keys.iter().zip(&other).all(|(a, b)| join(a, b));
            if !alike {
                let (first, this) = (self.checker.maps.name(maps[0]), self.checker.maps.name(*map));
                let list = |keys: &[Type]| match keys {
                    [] => "no keys".to_string(),
                    some => some.iter().map(|ty| format!("{ty:#}")).collect::<Vec<_>>().join(", "),
                };
                let message = format!("@{first} and @{this} have different keys, and cannot share lines");
                let label = format!("keys here: {}", list(&other));
                self.report(
                    Diagnostic::error(Code::KeyMismatch, argument.value.span, message)
                        .label(label)
                        .other(arguments[0].value.span, format!("keys here: {}", list(&keys)))
                        .help("print them one after the other"),
                );
                return None;
            }
        }
        Some(keys)
    }

    /// Each conversion takes the next part of the key, one with `@` the value of the next map.
    fn match_columns(
        &mut self,
        pieces: &[Piece],
        keys: &[Type],
        maps: &[MapId],
        arguments: &[ast::Argument],
        span: Span,
    ) -> Option<()> {
        let conversions: Vec<&Conversion> = pieces.iter().filter_map(Piece::conversion).collect();
        let (values, parts): (Vec<&Conversion>, Vec<&Conversion>) =
            conversions.into_iter().partition(|conversion| conversion.aggregation);
        let fail = |body: &mut Self, message: String, help: &str| {
            body.report(Diagnostic::error(Code::Format, span, message).label("in this format").help(help));
            None
        };
        if parts.len() > keys.len() {
            let message = format!("the format shows {} parts of the key, and there are {}", parts.len(), keys.len());
            return fail(
                self,
                message,
                "%@d shows the value of a map, every other conversion the next part of its key",
            );
        }
        if maps.len() > 1 && values.len() > maps.len() {
            let message = format!("the format shows {} values, and {} maps are given", values.len(), maps.len());
            return fail(self, message, "each %@d shows the value of the next map");
        }
        for (conversion, ty) in parts.iter().zip(keys) {
            if !takes(conversion, ty) {
                let message = format!("{} cannot show a key of type {ty:#}", conversion.kind.written());
                let help = match conversion.kind.takes() {
                    Takes::Named => "a key can be what it stands for itself: `@[ksym(arg0)]`, `@[usym(arg0)]`",
                    Takes::Anything | Takes::Bytes | Takes::Number => "%s shows any key",
                };
                return fail(self, message, help);
            }
        }
        for (number, conversion) in values.iter().enumerate() {
            let number = number.min(maps.len() - 1);
            let Some(MapValue::Plain(ty)) = self.checker.maps.value(maps[number]) else { continue };
            let ty = ty.clone();
            if !takes(conversion, &ty) {
                let name = self.checker.maps.name(maps[number]).to_string();
                let wanted = conversion.kind.written().replace('%', "%@");
                let mut diagnostic =
                    Diagnostic::error(Code::Format, span, format!("{wanted} cannot show @{name}, which holds {ty:#}"))
                        .label("in this format")
                        .help("%@s shows any value");
                if let Some(argument) = arguments.get(number) {
                    diagnostic = diagnostic.other(argument.value.span, "this map");
                }
                self.report(diagnostic);
                return None;
            }
        }
        Some(())
    }

    /// `pcap()`
    pub fn packet(&mut self, arguments: &[ast::Argument], span: Span) -> Option<StmtKind> {
        let row = builtins::named("pcap").expect("pcap has a row");
        let path = &arguments[0].value;
        let ast::ExprKind::Str(text) = &path.kind else {
            self.report(
                Diagnostic::error(Code::NotConstant, path.span, "the file must be a string in quotes")
                    .label("not a string in quotes")
                    .help(row.signature),
            );
            return None;
        };
        let bytes = self.expr(&arguments[1].value);
        let length = arguments.get(2).map_or_else(|| Expr::int(0, span), |argument| self.expr(&argument.value));
        if !matches!(bytes.ty, Type::Buffer(_) | Type::Unknown) {
            self.wrong_type(row, &bytes, "bytes, which buf() gives");
            return None;
        }
        if !length.ty.is_integer() && length.ty != Type::Unknown {
            self.wrong_type(row, &length, "a number");
            return None;
        }
        if bytes.ty == Type::Unknown || length.ty == Type::Unknown {
            return None;
        }
        let path = String::from_utf8_lossy(text).into_owned();
        let parts =
            vec![self.clock(span), Expr { kind: ExprKind::Convert(Box::new(length)), ty: Type::U64, span }, bytes];
        let types = parts.iter().map(|part| part.ty.clone()).collect();
        let record = self.record(RecordKind::Packet { path }, types, span);
        Some(StmtKind::Emit { record, parts })
    }
}

/// True if keys of these types are compared with each other.
fn join(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Str(_), Type::Str(_)) => true,
        (a, b) if a.is_integer() && b.is_integer() => true,
        (a, b) => a == b,
    }
}

fn takes(conversion: &Conversion, ty: &Type) -> bool {
    match conversion.kind.takes() {
        // A key holds the number alone.
        Takes::Named => matches!(ty, Type::Symbol { .. } | Type::Shown(_)),
        Takes::Anything => true,
        Takes::Bytes => matches!(ty, Type::Buffer(_) | Type::Str(_) | Type::Array { .. }),
        Takes::Number => ty.is_integer() || matches!(ty, Type::Pointer { .. } | Type::Symbol { .. } | Type::Shown(_)),
    }
}
