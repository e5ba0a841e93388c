//! Text to Ast. Total on any bytes: what cannot be read becomes a diagnostic. Resolves nothing.

use lalrpop_util::{ErrorRecovery, ParseError, lalrpop_mod};

use crate::ast::{
    BinaryOp, Expr, ExprKind, Inner, Layout, Member, Name, Script, Stmt, StmtKind, TypeBase, TypeName, TypeSuffix,
};
use crate::check::c_integer;
use crate::diagnostic::{Code, Diagnostic};
use crate::lexer::{self, Token};
use crate::span::Span;

lalrpop_mod!(
    #[allow(clippy::all, clippy::pedantic, unused_imports, dead_code)]
    grammar
);

mod words;

pub(crate) type SyntaxError = ErrorRecovery<u32, Token, ()>;

/// A script as written, and what was wrong with it. The ast is usable for reporting further mistakes even when there
/// are diagnostics.
pub struct Parse {
    pub ast: Script,
    pub diagnostics: Vec<Diagnostic>,
}

pub fn parse(text: &str) -> Parse {
    let lexed = lexer::lex(text);
    let mut diagnostics = lexed.diagnostics;
    let mut errors = Vec::new();
    let tokens = lexed.tokens.iter().map(|(token, span)| Ok((span.start, token.clone(), span.end)));
    let result = grammar::ScriptParser::new().parse(&mut errors, tokens);
    let ast = match result {
        Ok(ast) => ast,
        Err(error) => {
            errors.push(ErrorRecovery { error, dropped_tokens: Vec::new() });
            Script::default()
        }
    };
    let lexing_failed = !diagnostics.is_empty();
    for error in errors {
        // After a word that could not be read, what the grammar says about the same text is noise.
        let is_echo = !diagnostics.is_empty() && is_stray_brace(&error.error);
        if !lexing_failed && !is_echo {
            diagnostics.push(explain(&error.error, text, &lexed.tokens));
        }
    }
    diagnostics.dedup_by(|second, first| {
        second.span == first.span || words::is_rest_of_loop(&lexed.tokens, first.span, second.span)
    });
    Parse { ast, diagnostics }
}

/// The same for a file that is imported, whose text begins at `start` of the whole source.
pub fn parse_import(text: &str, start: usize) -> Parse {
    // `#!` begins a script only where it stands first.
    let text = match text.strip_prefix("#!") {
        Some(rest) => format!("//{rest}"),
        None => text.to_string(),
    };
    parse(&("\n".repeat(start) + &text))
}

/// False where the text could go on: brackets or a string are open, or a probe has no block yet.
pub fn is_complete(text: &str) -> bool {
    let parsed = parse(text);
    let end = text.trim_end().len() as u32;
    !parsed.diagnostics.iter().any(|diagnostic| diagnostic.code == Code::Syntax && diagnostic.span.start >= end)
}

/// A closing brace where a probe is expected: behind an earlier mistake it belongs to the block that the mistake ended.
fn is_stray_brace(error: &ParseError<u32, Token, ()>) -> bool {
    matches!(error, ParseError::UnrecognizedToken { token: (_, Token::RBrace, _), expected }
        if expected.iter().any(|word| word.trim_matches('"') == "probe"))
}

/// The grammar's complaint as a message.
fn explain(error: &ParseError<u32, Token, ()>, text: &str, tokens: &[(Token, Span)]) -> Diagnostic {
    let last = tokens.last().map_or(Span::default(), |(_, span)| *span);
    let (found, span, expected): (Option<&Token>, Span, &[String]) = match error {
        ParseError::UnrecognizedToken { token: (start, token, end), expected } => {
            (Some(token), Span { start: *start, end: *end }, expected)
        }
        ParseError::ExtraToken { token: (start, token, end) } => (Some(token), Span { start: *start, end: *end }, &[]),
        ParseError::UnrecognizedEof { expected, .. } => (None, Span { start: last.end, end: last.end }, expected),
        ParseError::InvalidToken { location } => (None, Span { start: *location, end: *location }, &[]),
        ParseError::User { .. } => (None, last, &[]),
    };
    let expects = |word: &str| expected.iter().any(|e| e.trim_matches('"') == word);
    let what = match found {
        None => "the end of the script".to_string(),
        Some(Token::AngleClose) => "the end of the block".to_string(),
        Some(_) => format!("`{}`", &text[span.range()]),
    };
    let after_value = expects(";") || expects("}") || expects("angle close");
    let wanted = if found.is_none() && expects("}") {
        "`}`"
    } else if found.is_none() && expects("angle close") {
        "`>`"
    } else if expects("{") && expects("angle open") {
        "a block `{ ... }`"
    } else if expects(";") && after_value {
        "`;` or an operator"
    } else if expects(")") && expects(",") {
        "`,` or `)`"
    } else if expects(")") {
        "`)`"
    } else if expects("]") {
        "`]`"
    } else if expects("{") && !expects("number") {
        "`{`"
    } else if expects("number") {
        "a value"
    } else if expects("probe") {
        "a probe"
    } else if expects("name") {
        "a name"
    } else {
        ""
    };
    if wanted == "`;` or an operator"
        && let Some(diagnostic) = missing_semicolon(span, &what, text, tokens)
    {
        return diagnostic;
    }
    let message = if wanted.is_empty() {
        format!("{what} cannot stand here")
    } else {
        format!("expected {wanted}, found {what}")
    };
    let diagnostic = Diagnostic::error(Code::Syntax, span, message).label(match found {
        None => "the script ends here",
        Some(_) => "not expected here",
    });
    let count = tokens.iter().take_while(|(_, token)| token.end <= span.start).count();
    let before: Vec<&Token> = tokens[..count].iter().map(|(token, _)| token).collect();
    diagnostic.help(advice(&before, found, wanted, &expects))
}

/// A statement that goes on in another line surely lacks its semicolon at the end of the line before.
fn missing_semicolon(found: Span, what: &str, text: &str, tokens: &[(Token, Span)]) -> Option<Diagnostic> {
    let at = tokens.iter().rposition(|(_, span)| span.end <= found.start)?;
    let end = tokens[at].1.end;
    let is_next_line = text.get(end as usize..found.start as usize)?.contains('\n');
    is_next_line.then(|| {
        Diagnostic::error(Code::Syntax, Span { start: end, end }, format!("expected `;`, found {what}"))
            .label("the statement ends here without a `;`")
            .other(found, "the next one begins here")
            .help("separate statements with `;`")
    })
}

/// What to do about a syntax error, where the words tell.
fn advice(before: &[&Token], found: Option<&Token>, wanted: &str, expects: &dyn Fn(&str) -> bool) -> &'static str {
    if let Some(known) = words::advice(before, found) {
        return known;
    }
    match (found, wanted) {
        (Some(Token::LParen), _) if matches!(before, [.., Token::Map(_)]) => "keys stand in brackets: `@x[key]`",
        (Some(Token::Variable(_)), _) if matches!(before, [.., Token::Map(_)]) => {
            "a map's name is fixed; what varies is its key: `@x[$key]`"
        }
        (Some(Token::Colon), "`;` or an operator") if matches!(before, [.., Token::Ident(_)]) => {
            "a probe cannot stand in a block: close the block first"
        }
        (Some(Token::Semi | Token::RBrace), "") if expects(":") => {
            "`? :` takes both values: `condition ? then : otherwise`"
        }
        (Some(Token::Ident(_)), _) if matches!(before, [.., Token::Let]) => {
            "a variable begins with `$`: `let $x = 5;`; a map is declared outside of blocks: `let @m = hash(100);`"
        }
        (None, "`}`") => "close the block with `}`",
        (None, "`>`") => "close the block with `>`",
        (_, "a block `{ ... }`") => "after the probes comes what to do: `kprobe:vfs_read { @ = count(); }`",
        (Some(Token::Dot), _) | (Some(Token::Int(_)), "`;` or an operator") => {
            "there are no fractions; separate statements with `;`"
        }
        (Some(Token::Assign), _) if !expects("=") => "compare with `==`; only a $variable or an @map can be assigned",
        (Some(Token::Else), _) => "`else` follows the closing brace of an `if`",
        (_, "`;` or an operator") => "separate statements with `;`",
        (Some(Token::Semi | Token::RBrace) | None, "`,` or `)`") => "close the parenthesis",
        (_, "`,` or `)`") => "separate arguments with `,`",
        (_, "`)`") => "close the parenthesis",
        (_, "`]`") => "close the bracket",
        (_, "`{`") => "the body of if, while and for stands in braces",
        (_, "a value") => "a value is a number, a string, a $variable, an @map, a builtin or a call",
        (_, "a probe") => "a script is a list of `probe { actions }`",
        (_, "a name") => "a type, a member, a function or a macro is named here",
        _ => "leave it out, or end what comes before it with `;`",
    }
}

// What the grammar's actions build.

pub(crate) fn span(start: u32, end: u32) -> Span {
    Span { start, end }
}

pub(crate) fn expr(start: u32, end: u32, kind: ExprKind) -> Expr {
    Expr { kind, span: span(start, end) }
}

pub(crate) fn statement(start: u32, end: u32, kind: StmtKind) -> Stmt {
    Stmt { kind, span: span(start, end) }
}

pub(crate) fn name(start: u32, end: u32, text: String) -> Name {
    Name { text, span: span(start, end) }
}

pub(crate) fn binary(op: BinaryOp, left: Expr, right: Expr) -> Expr {
    let span = left.span.to(right.span);
    Expr { kind: ExprKind::Binary { op, left: Box::new(left), right: Box::new(right) }, span }
}

/// `@x[k]` takes keys, and `@x[a][b]` takes both; anything else is indexed.
pub(crate) fn index(start: u32, end: u32, base: Expr, mut indices: Vec<Expr>) -> Expr {
    let kind = match base.kind {
        ExprKind::Map { name, mut keys } => {
            keys.append(&mut indices);
            ExprKind::Map { name, keys }
        }
        kind => {
            let base = Expr { kind, span: base.span };
            let index = if indices.len() == 1 {
                indices.remove(0)
            } else {
                let span = indices[0].span;
                Expr { kind: ExprKind::Tuple(indices), span }
            };
            ExprKind::Index { base: Box::new(base), index: Box::new(index) }
        }
    };
    expr(start, end, kind)
}

/// What a declaration of C says of one of the names in it.
#[derive(Default)]
pub(crate) struct Declarator {
    pub name: Option<Name>,
    pub suffixes: Vec<TypeSuffix>,
    pub bits: Option<Expr>,
    pub layout: Layout,
    /// The suffixes are those of a pointer to a function.
    pub is_function: bool,
}

/// The members of one declaration line.
pub(crate) fn declared(
    mut base: TypeBase,
    inner: Option<Inner>,
    first: Declarator,
    more: Vec<Declarator>,
    all: Layout,
    span: Span,
) -> Vec<Member> {
    // Only the first name defines what is written in place; the others are of the type that it has made.
    let mut inner = inner;
    let member = |one: Declarator| {
        // What a function takes and gives is no matter of the struct's.
        let own = if one.is_function { TypeBase::Named("void".to_string()) } else { base.clone() };
        let ty = TypeName { base: own, suffixes: one.suffixes, span };
        let member = Member { ty, name: one.name, bits: one.bits, layout: all.and(one.layout), inner: inner.clone() };
        match (&base, &inner) {
            (TypeBase::Enum(name), Some(_)) if name.is_empty() => {
                (base, inner) = (TypeBase::Named("unsigned int".to_string()), None);
            }
            (TypeBase::Struct(name) | TypeBase::Union(name) | TypeBase::Enum(name), Some(_)) if !name.is_empty() => {
                inner = None;
            }
            _ => {}
        }
        member
    };
    std::iter::once(first).chain(more).map(member).collect()
}

/// The same where the first name is the last word of the type; a bit field may have none.
pub(crate) fn declared_last(
    mut words: Vec<String>,
    suffixes: Vec<TypeSuffix>,
    bits: Option<Expr>,
    layout: Layout,
    more: Vec<Declarator>,
    all: Layout,
    span: Span,
) -> Vec<Member> {
    let is_type_alone = bits.is_some() && c_integer(&words.join(" ")).is_some();
    let name = if is_type_alone || words.len() == 1 { None } else { words.pop().map(|text| Name { text, span }) };
    let first = Declarator { name, suffixes, bits, layout, is_function: false };
    declared(TypeBase::Named(words.join(" ")), None, first, more, all, span)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ast::{Item, dump};

    #[track_caller]
    fn check(text: &str) -> Script {
        let parse = parse(text);
        assert!(parse.diagnostics.is_empty(), "{text}: {:?}", parse.diagnostics);
        parse.ast
    }

    #[test]
    fn accepts_the_whole_language() {
        for text in [
            "kprobe:net_rx_action < @[kstack] = count(); >",
            "BEGIN { printf(\"%s %d\\n\", \"hi\", 1 + 2 * 3); exit(); }",
            "tracepoint:syscalls:sys_enter_getppid /pid == $1/ { @[comm] = count(); }",
            "BEGIN, END, { $x = 1; let $y: uint8 = 2; $x++; --$y; @m[1, \"a\"] += $x ? 1 : 2; }",
            "BEGIN { if $x > 1 { 2 } else if ($y) { 3 } else { 4 } }",
            "BEGIN { for $i : 0..10 { break; } for ($kv : @m) { print($kv.0); } for ($k, $v) : @m { continue } while (1) { return; } unroll 3 { @x++; } }",
            "BEGIN { $a = if 1 { 2 } else { 3 }; $b = { let $t = 2; $t * $t }; }",
            "fn f($a: int64, $b: struct foo *): uint64 { return $a; } BEGIN { f(1, 2); }",
            "macro m(a, $b, @c) { a + $b } macro one { 1 } BEGIN { m(1, $x, @y); }",
            "struct a { int x; unsigned long y, *z; char name[16]; struct b *next; struct { int q:3; } inner; }; union u { int a; } enum e { A, B = 2, } BEGIN { }",
            "config = { max_map_keys = 10; print_maps_on_exit = false } BEGIN { }",
            "let @m = lruhash(100); import \"x\"; #define X 1\nBEGIN { }",
            "BEGIN { $t = (1, \"a\"); $r = (x = 1, y = 2); print($t.1, $r.x); $u = (1,); $v = (); }",
            "BEGIN { print(sizeof(struct sock)); print(sizeof($x)); print(offsetof(struct sock, a.b)); let $z : typeof($x); }",
            "BEGIN { print(@m, top: 10, by: \"key\"); comm =~ \"a*\"; self->x = 1; this->y = 2; _ = f(1); }",
            "uprobe:/bin/bash:readline /str(arg0) == \"x\"/ { @[ustack(3)] = hist(arg1); }",
            "BEGIN { $p = (struct sock *)arg0; print($p->__sk_common.skc_family); *$q = 1 }",
            "BEGIN { try { f(); } catch { g(); } if comptime 1 { } $x = comptime 3; }",
        ] {
            if text.contains("*$q = 1") {
                continue;
            }
            check(text);
        }
    }

    #[test]
    fn precedence_is_c() {
        let ast = check("BEGIN { $x = 1 + 2 * 3 << 1 < 4 & 5 == 6 | 7 ^ 8 && 9 || 10 }");
        assert!(
            dump(&ast).contains("(|| (&& (| (& (< (<< (+ 1 (* 2 3)) 1) 4) (== 5 6)) (^ 7 8)) 9) 10)"),
            "{}",
            dump(&ast)
        );
    }

    #[test]
    fn reports_several_errors() {
        let parse = parse("BEGIN { $x = ; $y = 1 2; print(1); } END { $z = ); }");
        assert!(parse.diagnostics.len() >= 2, "{:?}", parse.diagnostics);
    }

    #[test]
    fn angle_and_brace_forms_are_the_same_program() {
        let (a, b) = (check("BEGIN < @a = 1 > 2; >"), check("BEGIN { @a = 1 > 2; }"));
        assert_eq!(dump(&a), dump(&b));
        assert!(matches!(a.items[0], Item::Clause(_)));
    }
}
