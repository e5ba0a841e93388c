//! Whatever is typed, the way from text to object never stops the tool: random words and random bytes end in an object or
//! in messages, and the kernel takes the objects. What the messages say is tested elsewhere.

use std::cell::Cell;
use std::path::Path;
use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use rtrace_compiler::encode::disassemble;
use rtrace_compiler::object::elf;
use rtrace_lang::check::CheckOptions;
use rtrace_lang::diagnostic::render;
use rtrace_lang::source::Source;
use rtrace_lang::target::fake::FakeTarget;
use rtrace_probes::Machine;
use rtrace_runtime::driver::{Stage, drive};
use rtrace_runtime::session::{Session, SessionOptions};
use rtrace_tests::environment::Environment;
use rtrace_tests::stages::described_machine;

/// Words of the language, and names of the described machine.
const WORDS: &[&str] = &[
    "BEGIN",
    "END",
    "kprobe:vfs_read",
    "kretprobe:vfs_*",
    "tracepoint:syscalls:sys_enter_openat",
    "fentry:vfs_read",
    "tracepoint:sched:sched_switch",
    "profile:hz:99",
    "interval:s:1",
    "uprobe:/usr/bin/app:main",
    "{",
    "}",
    "{",
    "}",
    "(",
    ")",
    "(",
    ")",
    "[",
    "]",
    "/",
    "/",
    ";",
    ";",
    ";",
    ",",
    ",",
    "<",
    ">",
    "=",
    "=",
    "==",
    "!=",
    "<=",
    ">=",
    "+",
    "-",
    "*",
    "%",
    "&",
    "|",
    "^",
    "~",
    "!",
    "<<",
    ">>",
    "&&",
    "||",
    "?",
    ":",
    "++",
    "--",
    "+=",
    "-=",
    "/=",
    "<<=",
    ".",
    "->",
    "$a",
    "$a",
    "$b",
    "$1",
    "@",
    "@x",
    "@x",
    "@y",
    "0",
    "1",
    "7",
    "0xff",
    "18446744073709551615",
    "1e6",
    "5ms",
    "\"\"",
    "\"text\"",
    "\"%d %s\\n\"",
    "'a'",
    "if",
    "else",
    "return",
    "while",
    "for",
    "let",
    "unroll",
    "config",
    "struct",
    "struct task_struct *",
    "(uint8)",
    "(int32)",
    "count()",
    "sum",
    "min",
    "avg",
    "hist",
    "lhist",
    "quantize",
    "llquantize",
    "quantiles",
    "tseries",
    "stddev",
    "printa",
    "normalize",
    "trunc",
    "top: 5",
    "by: \"key\"",
    "stats",
    "printf",
    "print",
    "clear",
    "zero",
    "delete",
    "has_key",
    "len",
    "exit",
    "exit()",
    "str",
    "ksym",
    "kstack",
    "ustack",
    "comm",
    "pid",
    "tid",
    "nsecs",
    "cpu",
    "probe",
    "func",
    "args",
    "args.filename",
    "arg0",
    "retval",
    "curtask",
    "curtask.pid",
    "sizeof",
    "// x\n",
    "/* x */",
    "#",
    "\\",
    "\u{e4}",
    "\n",
];

/// Pieces that are whole, so that soups get further than the parser.
const PIECES: &[&str] = &[
    "BEGIN { $a = 1; ",
    "kprobe:vfs_read { ",
    "tracepoint:syscalls:sys_enter_openat / pid == 1 / { ",
    "profile:hz:99 < ",
    "} ",
    "> ",
    "@x = count(); ",
    "@x[$a] = 1; ",
    "@y[comm] = hist(nsecs); ",
    "@x++; ",
    "@ = @x; ",
    "$a = $a + @y; ",
    "$a = comm; ",
    "$b = (1, \"x\"); ",
    "if ($a) { ",
    "} else { ",
    "printf(\"%d\\n\", $a); ",
    "print(@x); ",
    "print($b); ",
    "exit(); ",
    "return; ",
    "delete(@x[1]); ",
    "$a /= $a; ",
    "@y = (uint8)arg0; ",
    "@z[kstack] = count(); ",
    "@s = str(args.filename); ",
    "$c = curtask.real_parent.pid; ",
    "@t[ustack, comm] = sum($a); ",
    "clear(@x); ",
];

/// Where a clause may stand, and what its statements may use then.
const PROBES: &[&str] = &[
    "BEGIN",
    "END",
    "interval:s:1",
    "profile:hz:99",
    "kprobe:vfs_read",
    "kretprobe:vfs_read",
    "kprobe:vfs_*, END",
    "tracepoint:syscalls:sys_enter_openat",
    "tracepoint:syscalls:sys_enter_*",
    "tracepoint:sched:sched_switch",
    "fentry:vfs_read",
    "fexit:vfs_read",
    "rawtracepoint:sched_switch",
    "uprobe:/usr/bin/app:main",
];

/// Statements that go together: every map keeps one type.
const STATEMENTS: &[&str] = &[
    "@c = count();",
    "@ck[comm, pid] = count();",
    "@x[$a] = nsecs;",
    "@x[tid]++;",
    "$a = @x[$a];",
    "@h = hist($a);",
    "@l[func] = lhist($a, 0, 100, 5);",
    "@h3[comm] = hist($a, 3);",
    "@h5 = hist(-$a, 5);",
    "@q[pid] = quantize($a, $a - 5);",
    "@ll[comm, $a] = llquantize(-$a, 10, 0, 6, 20, 2);",
    "@lq = lquantize($a, -5, 5);",
    "@quantiles[func] = quantiles(nsecs - 5);",
    "@quantiles2 = quantiles(-$a, \"50,99.9\");",
    "@deviation[comm] = stddev(-$a);",
    "@series[pid] = tseries($a, 10ms, 30, \"avg\");",
    "@series2 = tseries($a, 1s, 1365, \"max\");",
    "@series3 = tseries(nsecs, 3ms, 7);",
    "printa(\"%s %@d\\n\", @h3); normalize(@h3, $a + 1); trunc(@q, $a);",
    "print(@q, 5, by: \"key\", order: \"desc\");",
    "@s[cpu] = stats(@x[1] - 5);",
    "$b = (2, comm);",
    "@pair = $b;",
    "print($b);",
    "printf(\"%s %d %s\\n\", comm, $a++, probe);",
    "print(@c);",
    "if ($a > 5) { return; }",
    "if (delete(@x[1])) { exit(); }",
    "@k[kstack] = count();",
    "@u[ustack(3), comm] = sum($a);",
    "@m = max(-$a);",
    "$t = comm;",
    "@t[$t] = curtask.pid;",
    "$a /= @x[2];",
    "@e += elapsed >> $a;",
    "@text = $a ? comm : \"none\";",
    "clear(@x);",
    "@args[arg0] = count();",
    "@file[str(args.filename)] = count();",
    "@ret = sum(retval);",
    "@deep = curtask.real_parent.tgid;",
];

fn clauses() -> impl Strategy<Value = String> {
    let clause = (
        prop::sample::select(PROBES),
        prop::sample::select(vec!["", "", "/ pid == 7 /", "/ comm == \"x\" && @x[tid] /"]),
        prop::collection::vec(prop::sample::select(STATEMENTS), 0..12),
    )
        .prop_map(|(probe, predicate, body)| {
            format!("{probe} {predicate} {{ $a = 3; $b = (1, \"x\"); {} }}\n", body.join(" "))
        });
    let last = "END { @x[0] = 1; @c = count(); }\n";
    prop::collection::vec(clause, 1..4).prop_map(move |clauses| clauses.concat() + last)
}

fn soup() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => clauses(),
        3 => prop::collection::vec(prop::sample::select(PIECES), 0..20).prop_map(|words| words.concat()),
        3 => prop::collection::vec(prop::sample::select(WORDS), 0..30).prop_map(|words| words.join(" ")),
        2 => (
            prop::collection::vec(prop::sample::select(PIECES), 0..8),
            prop::collection::vec(prop::sample::select(WORDS), 0..6),
            prop::collection::vec(prop::sample::select(PIECES), 0..8),
        )
            .prop_map(|(before, words, after)| before.concat() + &words.join(" ") + &after.concat()),
        1 => prop::collection::vec(any::<char>(), 0..40).prop_map(|characters| characters.into_iter().collect()),
    ]
}

fn target() -> &'static FakeTarget {
    static TARGET: OnceLock<FakeTarget> = OnceLock::new();
    TARGET.get_or_init(|| {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
        described_machine(&cases).expect("the described machine")
    })
}

/// Takes the text as far as it goes, with everything that is shown on the way; true if it makes an object.
fn cook(script: &str) -> bool {
    let mut source = Source::new("soup.rt", script);
    let driven = drive(&mut source, target(), &CheckOptions::default(), Stage::Compile);
    for diagnostic in &driven.diagnostics {
        render(diagnostic, &source, false);
        // What a mistake leaves without a type is no second mistake.
        assert!(!diagnostic.label.contains("type unknown"), "an echo: {diagnostic:?}");
    }
    assert_eq!(driven.has_errors(), driven.compiled.is_none(), "an object, or a reason why there is none");
    let is_whole = driven.compiled.is_some();
    if let Some(compiled) = driven.compiled {
        compiled.object.programs.iter().for_each(|program| drop(disassemble(&program.instructions)));
        elf::write(&compiled.object, &source);
    }
    is_whole
}

#[test]
fn no_text_stops_the_tool() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(3000);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 4096, ..Config::default() };
    let whole = Cell::new(0);
    let result = TestRunner::new(config).run(&soup(), |script| {
        whole.set(whole.get() + u32::from(cook(&script)));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    println!("{} of {cases} made an object", whole.get());
    assert!(whole.get() > cases / 50, "the soups are too thin: {} of {cases} compile", whole.get());
}

/// Clauses of every kind of probe that this machine has: loaded, never attached.
#[test]
fn the_kernel_refuses_no_clause() {
    let environment = Environment::detect().expect("an environment");
    if let Some(reason) = environment.reason_to_skip(1, &[]).expect("the tier is required") {
        println!("skipped: {reason}");
        return;
    }
    let machine = Machine::new();
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 512, ..Config::default() };
    let loaded = Cell::new(0);
    let result = TestRunner::new(config).run(&clauses(), |script| {
        let mut source = Source::new("soup.rt", script);
        let driven = drive(&mut source, &machine, &CheckOptions::default(), Stage::Compile);
        let Some(compiled) = driven.compiled else { return Ok(()) };
        match Session::load(&machine, compiled.object, SessionOptions::default()) {
            Ok(_) => loaded.set(loaded.get() + 1),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    println!("{} of {cases} were loaded", loaded.get());
}
