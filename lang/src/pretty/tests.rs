//! What the pairs of `lang/tests/formatting` cannot show: line ends, empty texts, and that a changed script is noticed.

use super::*;
use crate::diagnostic::Code;

#[track_caller]
fn check(before: &str, after: &str) {
    assert_eq!(format(before).as_deref(), Ok(after));
    assert_eq!(format(after).as_deref(), Ok(after), "a second time");
}

#[test]
fn line_ends_become_line_feeds() {
    check("BEGIN\r\n{\r\n\t// c\r\n\texit();\r\n}\r\n", "BEGIN {\n    // c\n    exit();\n}\n");
    check("#define N \\\r\n 1\r\nBEGIN { @ = N; }\r\n", "#define N \\\n 1\nBEGIN { @ = N; }\n");
    check("#if 0\r\n  x \r\n#endif\r\n/* a\r\n b */\r\nEND { }", "#if 0\n  x \n#endif\n/* a\n b */\nEND { }\n");
}

#[test]
fn ends_of_the_text() {
    check("", "");
    check("\n \n", "");
    check(";", "");
    check("\n\n  // c  \n\n", "// c\n");
    check("/* c */ BEGIN { }", "/* c */ BEGIN { }\n");
    check("\n\n\nBEGIN { }\n\n\n", "BEGIN { }\n");
    check("#!/usr/bin/rtrace  \nBEGIN { }", "#!/usr/bin/rtrace\nBEGIN { }\n");
    // Not the first line: to rtrace it is a preprocessor line, and it must not become the first.
    check("\n\n#!x\nBEGIN { }", "\n#!x\nBEGIN { }\n");
    check("kprobe:f < exit() >", "kprobe:f < exit() >\n");
}

#[test]
fn a_continued_line_does_not_reach_further() {
    check("#define A \\\n\nBEGIN { }", "#define A \\\n\nBEGIN { }\n");
    check("#define A // \\\n\nBEGIN { }", "#define A // \\\n\nBEGIN { }\n");
    check("#define A \\\n\n\n\n// c\nBEGIN { }", "#define A \\\n\n// c\nBEGIN { }\n");
    check("// not continued \\\nBEGIN { }", "// not continued \\\nBEGIN { }\n");
}

#[test]
fn white_space_of_all_kinds_goes() {
    check("BEGIN\u{a0}{\u{2003}exit\u{b}();\r}", "BEGIN { exit(); }\n");
}

#[test]
fn a_block_of_a_hundred_columns_stays_on_its_line() {
    for (width, fits) in [(100, true), (101, false)] {
        let name = "a".repeat(width - "BEGIN { @ = ; }".len());
        let one_line = format!("BEGIN {{ @ = {name}; }}\n");
        let several = format!("BEGIN {{\n    @ = {name};\n}}\n");
        check(&one_line, if fits { &one_line } else { &several });
    }
}

#[test]
fn a_list_breaks_where_it_would_pass_a_hundred_columns() {
    for (width, fits) in [(100, true), (101, false)] {
        let name = "a".repeat(width - "    f(1, g($x, ), 2);".len());
        let one_line = format!("BEGIN {{\n    f(1, g($x, {name}), 2);\n}}\n");
        let several = format!("BEGIN {{\n    f(1, g($x, {name}),\n        2);\n}}\n");
        check(&one_line, if fits { &one_line } else { &several });
    }
}

#[test]
fn the_deepest_nesting_and_the_longest_expression() {
    let nested = |open: &str, close: &str| {
        let depth = crate::limits::MAX_NESTING - 2;
        format!("BEGIN {{ {}1{} }}", open.repeat(depth), close.repeat(depth))
    };
    let chain = format!("BEGIN {{ $x = 1{}; }}", " + f(1)".repeat(500));
    for text in [nested("(", ")"), nested("if (1) { ", "}"), nested("if 1 { let $x = 1; ", "} else { f(); } "), chain] {
        let once = format(&text).expect("a script without mistakes");
        assert_eq!(format(&once).as_deref(), Ok(once.as_str()), "a second time");
    }
}

#[test]
fn mistakes_are_shown_where_they_are() {
    let Err(Refusal::Mistakes(mistakes)) = format("BEGIN {\r\n $x = ; }") else { panic!("no mistake") };
    assert_eq!((mistakes[0].code, mistakes[0].span.start), (Code::Syntax, 15));
}

#[test]
fn another_script_is_noticed() {
    for (before, after, wanted) in [
        ("BEGIN { 1 }", "BEGIN { 1; }", Some("the meaning of the script")),
        ("BEGIN { 1; }", "BEGIN { ; 1;;\n}", None),
        ("BEGIN { @ = 0x10; }", "BEGIN { @ = 16; }", Some("the words of the script")),
        ("struct a { struct { int x; } b; }", "struct a { struct { int y; } b; }", Some("the words of the script")),
        ("// a\nBEGIN { }", "// a\n//\nBEGIN { }", Some("the comments or the preprocessor lines")),
        ("BEGIN { /* a */ }", "BEGIN { /* b */ }", Some("the comments or the preprocessor lines")),
        ("BEGIN { /* a\n b */ }", "BEGIN { /* a\n   b */ }", None),
        ("#if 0\n#endif\nEND { }", "#if 1\n#endif\nEND { }", Some("the comments or the preprocessor lines")),
        ("BEGIN { }", "BEGIN {", Some("the result has a syntax error")),
    ] {
        assert_eq!(difference(before, after), wanted, "{before:?} {after:?}");
    }
}
