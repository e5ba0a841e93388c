//! Properties that hold for every text: the lexer, the parser, the checker and the rendering of messages never panic,
//! and every message points into the text. Texts are arbitrary bytes, soups of the language's words, and programs that
//! are built from its forms; the machine is a described one.

#[path = "properties/formatting.rs"]
mod formatting;

use proptest::prelude::*;
use proptest::sample::select;

use rtrace_lang::ast;
use rtrace_lang::check::{CheckOptions, check};
use rtrace_lang::diagnostic::{Diagnostic, render};
use rtrace_lang::hir;
use rtrace_lang::parse::parse;
use rtrace_lang::source::Source;
use rtrace_lang::target::fake::FakeTarget;

/// Words that begin, end and fill the language's forms.
const WORDS: &[&str] = &[
    "BEGIN",
    "END",
    "kprobe:vfs_read",
    "tracepoint:syscalls:sys_enter_*",
    "uprobe:app:main",
    "interval:s:1",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "<",
    ">",
    "/",
    ";",
    ",",
    ":",
    "?",
    "=",
    "==",
    "=~",
    "+=",
    "++",
    "--",
    "+",
    "-",
    "*",
    "%",
    "!",
    "~",
    "&&",
    "||",
    "<<",
    ">>",
    "..",
    ".",
    "->",
    "$x",
    "$1",
    "$#",
    "@",
    "@m",
    "@x[1]",
    "0",
    "1",
    "0x10",
    "12abc",
    "1.5",
    "5ms",
    "\"text\"",
    "\"%d %s\\n\"",
    "\"open",
    "'c'",
    "'",
    "\\",
    "#",
    "#!",
    "//",
    "/*",
    "*/",
    "if",
    "else",
    "while",
    "for",
    "unroll",
    "break",
    "continue",
    "return",
    "let",
    "fn",
    "macro",
    "struct",
    "union",
    "enum",
    "import",
    "config",
    "try",
    "catch",
    "comptime",
    "sizeof",
    "offsetof",
    "typeof",
    "typeinfo",
    "true",
    "_",
    "self",
    "this",
    "args",
    "args.fd",
    "pid",
    "comm",
    "nsecs",
    "kstack",
    "ustack",
    "curtask",
    "arg0",
    "retval",
    "func",
    "probe",
    "count()",
    "hist",
    "lhist",
    "quantize",
    "llquantize",
    "quantiles",
    "tseries",
    "printa",
    "normalize",
    "trunc",
    "sum",
    "print",
    "printf",
    "clear",
    "delete",
    "has_key",
    "str",
    "exit()",
    "uint8",
    "struct task_struct",
    "task_struct",
    "é",
    "\u{0}",
    "\t",
    "\n",
    "\r\n",
];

fn target() -> FakeTarget {
    FakeTarget::parse(include_str!("../../tests/fake-target.txt")).expect("the description is well formed")
}

/// Everything that must hold of what is said about a text.
fn check_messages(text: &str, diagnostics: &[Diagnostic]) -> Result<(), TestCaseError> {
    let source = Source::new("script.rt", text);
    for diagnostic in diagnostics {
        let spans = std::iter::once(diagnostic.span).chain(diagnostic.others.iter().map(|(span, _)| *span));
        for span in spans {
            prop_assert!(span.start <= span.end, "{:?} is reversed", span);
            prop_assert!(span.end as usize <= text.len(), "{:?} is outside of {} bytes", span, text.len());
        }
        prop_assert!(!diagnostic.message.is_empty());
        let shown = render(diagnostic, &source, false);
        prop_assert!(shown.contains(diagnostic.code.name()), "{}", shown);
        prop_assert!(!render(diagnostic, &source, true).is_empty());
    }
    Ok(())
}

/// A text through the parser, and, where it has no mistake, through the checker.
fn drive(text: &str) -> Result<(), TestCaseError> {
    let parsed = parse(text);
    check_messages(text, &parsed.diagnostics)?;
    let _ = ast::dump(&parsed.ast);
    if parsed.diagnostics.iter().any(Diagnostic::is_error) {
        return Ok(());
    }
    let options = CheckOptions { positional: vec!["7".into(), "text".into()], pid: Some(1), ..CheckOptions::default() };
    for allow_unsafe in [false, true] {
        let checked = check(&parsed.ast, &target(), &CheckOptions { allow_unsafe, ..options.clone() });
        check_messages(text, &checked.diagnostics)?;
        let has_error = checked.diagnostics.iter().any(Diagnostic::is_error);
        prop_assert_eq!(checked.hir.is_none(), has_error, "a program is there exactly if there is no error");
        if let Some(hir) = &checked.hir {
            hir::verify(hir).map_err(TestCaseError::fail)?;
            let _ = hir::dump(hir);
        }
    }
    Ok(())
}

/// Expressions of all forms, well typed or not.
fn expression() -> impl Strategy<Value = String> {
    let leaf = select(vec![
        "0",
        "1",
        "-1",
        "7",
        "18446744073709551615",
        "\"text\"",
        "true",
        "$x",
        "$y",
        "$1",
        "$2",
        "$#",
        "@",
        "@m",
        "@k[1]",
        "@s[\"a\"]",
        "pid",
        "tid",
        "comm",
        "cpu",
        "nsecs",
        "elapsed",
        "rand",
        "arg0",
        "retval",
        "args.fd",
        "args.count",
        "curtask",
        "curtask.pid",
        "curtask->real_parent.comm",
        "kstack",
        "ustack(3)",
        "func",
        "probe",
        "PIDTYPE_PID",
        "str(arg0)",
        "kaddr(\"jiffies\")",
        "ksym(arg1)",
        "sizeof(struct task_struct)",
        "offsetof(struct file, f_pos)",
        "count()",
        "has_key(@k, 1)",
        "len(@k)",
        "$target",
        "nothing",
    ])
    .prop_map(str::to_string);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let operator = select(vec![
            "+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "=~",
        ]);
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            (select(vec!["-", "!", "~", "*", "&", "(uint8)", "(int64)", "(struct task_struct *)"]), inner.clone())
                .prop_map(|(op, a)| format!("{op}({a})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}, {b})")),
            (select(vec!["@m", "@k", "@s", "@t"]), inner.clone()).prop_map(|(map, a)| format!("{map}[{a}]")),
            (inner.clone(), select(vec!["0", "1", "9"])).prop_map(|(a, n)| format!("({a}).{n}")),
            (inner, select(vec!["pid", "comm", "f_path", "no_such"])).prop_map(|(a, f)| format!("({a})->{f}")),
        ]
    })
}

fn statement() -> impl Strategy<Value = String> {
    let place = select(vec!["$x", "$y", "@", "@m", "@k[1]", "@s[comm]", "@t[1, 2]", "pid", "_"]);
    let aggregation = select(vec![
        "count()",
        "sum(E)",
        "avg(E)",
        "min(E)",
        "max(E)",
        "stats(E)",
        "hist(E)",
        "hist(E, 3)",
        "lhist(E, 0, 100, 10)",
        "stddev(E)",
        "quantize(E, E)",
        "lquantize(E, 0, 100)",
        "llquantize(E, 10, 0, 3)",
        "quantiles(E)",
        "tseries(E, 1s, 20)",
    ]);
    let simple = prop_oneof![
        (place.clone(), select(vec!["=", "+=", "-=", "/=", "<<=", "^="]), expression())
            .prop_map(|(p, op, e)| format!("{p} {op} {e};")),
        (place.clone(), aggregation, expression()).prop_map(|(p, a, e)| format!("{p} = {};", a.replace('E', &e))),
        (place.clone(), select(vec!["++", "--"])).prop_map(|(p, step)| format!("{p}{step};")),
        (
            select(vec![
                "print",
                "printa",
                "normalize",
                "trunc",
                "clear",
                "zero",
                "exit",
                "str",
                "delete",
                "signal",
                "hist",
                "nothing"
            ]),
            expression()
        )
            .prop_map(|(f, e)| format!("{f}({e});")),
        (
            select(vec!["\"%d\\n\"", "\"%s %d\\n\"", "\"\"", "\"%5.2s|%-08llx\\n\"", "\"%\""]),
            expression(),
            expression()
        )
            .prop_map(|(f, a, b)| format!("printf({f}, {a}, {b});")),
        (expression(), select(vec!["", ": uint8", ": string", ": struct task_struct *"]))
            .prop_map(|(e, ty)| format!("let $x{ty} = {e};")),
        expression().prop_map(|e| format!("{e};")),
        select(vec!["return;", "break;", "continue;", "exit();", ";"]).prop_map(str::to_string),
    ];
    simple.prop_recursive(2, 8, 3, |inner| {
        let block = proptest::collection::vec(inner, 0..3).prop_map(|list| list.join(" "));
        prop_oneof![
            (expression(), block.clone(), block.clone())
                .prop_map(|(e, a, b)| format!("if ({e}) {{ {a} }} else {{ {b} }}")),
            block.clone().prop_map(|a| format!("{{ {a} }}")),
            block.prop_map(|a| format!("while (1) {{ {a} }}")),
        ]
    })
}

fn program() -> impl Strategy<Value = String> {
    let probe = select(vec![
        "BEGIN",
        "END",
        "interval:s:1",
        "kprobe:vfs_read",
        "kprobe:vfs_*",
        "kretprobe:vfs_read",
        "fentry:vfs_read",
        "fexit:vfs_*",
        "tracepoint:syscalls:sys_enter_read",
        "tracepoint:syscalls:sys_*",
        "tracepoint:sched:sched_switch",
        "rawtracepoint:sched_switch",
        "uprobe:app:main",
        "uretprobe:app:*",
        "profile:hz:99",
        "software:page-faults:1",
        "kprobe:no_such",
        "BEGIN, END",
    ]);
    let predicate = proptest::option::of(expression());
    let clause =
        (probe, predicate, proptest::collection::vec(statement(), 0..5)).prop_map(|(probe, predicate, body)| {
            let predicate = predicate.map_or(String::new(), |e| format!(" /{e}/"));
            format!("{probe}{predicate} {{ {} }}", body.join(" "))
        });
    proptest::collection::vec(clause, 1..4).prop_map(|clauses| clauses.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in any::<String>()) {
        drive(&text)?;
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drive(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn a_soup_of_words(words in proptest::collection::vec(select(WORDS), 0..40), glue in select(vec!["", " ", "\n"])) {
        drive(&words.join(glue))?;
    }

    #[test]
    fn a_soup_in_a_block(words in proptest::collection::vec(select(WORDS), 0..24)) {
        drive(&format!("BEGIN {{ {} }}", words.join(" ")))?;
    }

    #[test]
    fn programs_of_all_forms(text in program()) {
        drive(&text)?;
    }

    #[test]
    fn damaged_programs(text in program(), at in any::<prop::sample::Index>(), junk in select(WORDS)) {
        let mut at = at.index(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        drive(&format!("{}{junk}{}", &text[..at], &text[at..]))?;
        drive(&text[..at])?;
    }
}
