//! Generated scripts: one BEGIN clause over variables and maps of fixed names and types, which a prologue sets, and
//! functions that it calls. Every script is well typed; the only mistake that it may hold is a constant division by zero.

use proptest::prelude::*;

/// Gives every variable and map its type.
const PROLOGUE: &str = "$a = 1; $b = -7; $u = (uint64)18446744073709551615; $z = 0; $s = \"text\"; @i = 3; \
    @u = (uint64)9; @k[0] = 5; @m[1, \"two\"] = 7; @t = \"hello\"; @ts[0] = \"name\"; @cut = \"abcdefgh\"; ";

/// The variables of a function that are no parameters.
const FUNCTION_PROLOGUE: &str = "$u = (uint64)5; $z = 0; ";

/// What a function calls that may call no other.
const MACROS: &str = "macro mix(a, b) { (a) ^ (b) }\nmacro pick(a, b) { a != 0 ? b : \"none\" }\n";

pub fn script() -> impl Strategy<Value = String> {
    let body = |least, most| prop::collection::vec(statement(), least..most).prop_map(|all| all.join("\n"));
    (body(1, 12), (body(0, 3), expression()), (body(0, 3), expression()), (body(0, 3), text())).prop_map(
        |(main, (outer, outer_result), (inner, inner_result), (words, words_result))| {
            // A function leaves with a value, and calls only those below it.
            let leaves = |body: &str, result: &str| {
                body.replace("return;", &format!("return {result};")).replace("exit(3);", &format!("return {result};"))
            };
            let lower = |text: String| text.replace("outer(", "inner(");
            let lowest = |text: String| text.replace("outer(", "mix(").replace("words(", "pick(");
            let inner = lowest(format!("{} return {inner_result};", leaves(&inner, "$b")));
            let words = lowest(format!("{} return {words_result};", leaves(&words, "$s")));
            let outer = lower(format!("{} return {outer_result};", leaves(&outer, "7")));
            format!(
                "{MACROS}fn inner($a: int64, $b: int64): int64 {{ $s = \"inner\"; {FUNCTION_PROLOGUE} {inner} }}\n\
                 fn words($a, $s) {{ $b = 3; {FUNCTION_PROLOGUE} {words} }}\n\
                 fn outer($a, $b: int64): int64 {{ $s = \"outer\"; {FUNCTION_PROLOGUE} {outer} }}\n\
                 BEGIN {{\n{PROLOGUE}\n{main}\n}}"
            )
        },
    )
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0i64..10).prop_map(|n| n.to_string()),
        2 => prop::sample::select(vec![
            "63", "64", "65", "127", "128", "255", "256", "32767", "32768", "65535", "65536", "2147483647",
            "2147483648", "4294967295", "4294967296", "9223372036854775807", "9223372036854775808",
            "18446744073709551615", "-1", "-2", "-64", "-128", "-129", "-32769", "-2147483648", "-2147483649",
            "(-9223372036854775807 - 1)",
        ]).prop_map(str::to_string),
        1 => any::<i64>().prop_map(|n| if n == i64::MIN { "0".to_string() } else { n.to_string() }),
    ]
}

fn place() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "$a",
        "$b",
        "$u",
        "$z",
        "@i",
        "@u",
        "@k[0]",
        "@k[1]",
        "@k[$a]",
        "@m[1, \"two\"]",
        "@m[$b, $s]",
    ])
    .prop_map(str::to_string)
}

fn text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => prop::sample::select(vec![
            "\"\"", "\"a\"", "\"text\"", "\"hello\"", "\"1234567\"", "\"12345678\"", "\"abcdefgh\"", "\"abcdefghi\"",
            "\"a text that is longer than two words of memory\"", "$s", "@t", "@ts[0]", "@ts[$a]", "@cut", "comm",
        ]).prop_map(str::to_string),
        1 => "[a-z]{0,20}".prop_map(|text| format!("{text:?}")),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            3 => (simple(), inner.clone(), inner.clone())
                .prop_map(|(condition, then, otherwise)| format!("({condition} ? {then} : {otherwise})")),
            1 => (simple(), inner).prop_map(|(a, text)| format!("words({a}, {text})")),
        ]
    })
}

/// A number without strings in it: strings are made of them.
fn simple() -> impl Strategy<Value = String> {
    prop_oneof![
        number(),
        place(),
        (place(), prop::sample::select(vec!["<", "<=", "==", "!=", ">", ">="]), number())
            .prop_map(|(left, op, right)| format!("({left} {op} {right})")),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![3 => number(), 4 => place()];
    leaf.prop_recursive(5, 40, 3, |inner| {
        let binary = prop::sample::select(vec![
            "+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "==", "!=", "<", "<=", ">", ">=", "&&", "||",
        ]);
        let cast = prop::sample::select(vec![
            "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        ]);
        let step = prop::sample::select(vec![("++", ""), ("--", ""), ("", "++"), ("", "--")]);
        prop_oneof![
            8 => (inner.clone(), binary, inner.clone()).prop_map(|(left, op, right)| format!("({left} {op} {right})")),
            2 => (prop::sample::select(vec!["-", "~", "!"]), inner.clone()).prop_map(|(op, e)| format!("({op}({e}))")),
            3 => (cast, inner.clone()).prop_map(|(ty, e)| format!("(({ty})({e}))")),
            2 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(c, a, b)| format!("({c} ? {a} : {b})")),
            2 => (place(), step).prop_map(|(place, (before, after))| format!("({before}{place}{after})")),
            1 => inner.clone().prop_map(|key| format!("@k[{key}]")),
            1 => (inner.clone(), text()).prop_map(|(key, text)| format!("@m[{key}, {text}]")),
            1 => inner.clone().prop_map(|key| format!("has_key(@k, {key})")),
            1 => inner.clone().prop_map(|key| format!("delete(@k[{key}])")),
            2 => (text(), prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]), text())
                .prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            1 => text().prop_map(|text| format!("strlen({text})")),
            1 => (text(), text(), 0u32..12).prop_map(|(a, b, n)| format!("strncmp({a}, {b}, {n})")),
            1 => (text(), text()).prop_map(|(a, b)| format!("strlen({a} + {b})")),
            1 => inner.clone().prop_map(|index| format!("$s[{index}]")),
            2 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("outer({a}, {b})")),
            1 => (prop::sample::select(vec!["uint16", "uint32", "uint64"]), inner.clone())
                .prop_map(|(ty, e)| format!("bswap(({ty})({e}))")),
            1 => (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(c, a, b)| format!("(if ({c}) {{ {a} }} else {{ {b} }})")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({{ let $q = {a}; $q ^ {b} }})")),
        ]
    })
}

fn statement() -> impl Strategy<Value = String> {
    let assign =
        prop::sample::select(vec!["=", "=", "=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="]);
    let fold =
        prop::sample::select(vec!["sum", "min", "max", "avg", "stats", "hist", "stddev", "quantize", "quantiles"]);
    let leaf = prop_oneof![
        6 => (place(), assign, expression()).prop_map(|(place, op, e)| format!("{place} {op} {e};")),
        1 => text().prop_map(|text| format!("$s = {text};")),
        1 => text().prop_map(|text| format!("@t = {text};")),
        1 => (expression(), text()).prop_map(|(key, text)| format!("@ts[{key}] = {text};")),
        1 => prop::sample::select(vec!["@n = count();", "@c[$a] = count();", "@cs[$s] = count();"]).prop_map(str::to_string),
        3 => (fold.clone(), expression()).prop_map(|(fold, e)| format!("@{fold} = {fold}({e});")),
        2 => (fold, expression(), expression()).prop_map(|(fold, key, e)| format!("@{fold}_of[{key}] = {fold}({e});")),
        1 => expression().prop_map(|e| format!("@l = lhist({e}, -10, 100, 7);")),
        1 => expression().prop_map(|e| format!("@lu = lhist((uint64)({e}), 5, 1000, 33);")),
        1 => expression().prop_map(|e| format!("@fine = hist({e}, 3);")),
        1 => expression().prop_map(|e| format!("@squares = stddev((uint64)({e}));")),
        1 => (expression(), expression()).prop_map(|(e, weight)| format!("@q = quantize({e}, {weight});")),
        1 => (expression(), expression()).prop_map(|(e, weight)| format!("@lq = lquantize({e}, -9, 90, 8, {weight});")),
        1 => (expression(), expression())
            .prop_map(|(key, e)| format!("@ll[{key}] = llquantize({e}, 10, 0, 5, 20, {key});")),
        1 => expression().prop_map(|e| format!("@lu2 = llquantize((uint64)({e}), 2, 3, 60);")),
        1 => expression().prop_map(|key| format!("delete(@k[{key}]);")),
        1 => (text(), expression()).prop_map(|(text, key)| format!("delete(@m[{key}, {text}]);")),
        1 => Just("delete(@i);".to_string()),
        3 => (expression(), expression()).prop_map(|(a, b)| format!("printf(\"%d %u\\n\", {a}, {b});")),
        2 => (expression(), text(), expression())
            .prop_map(|(a, text, b)| format!("printf(\"%d %s %x\\n\", {a}, {text}, {b});")),
        1 => (expression(), text()).prop_map(|(a, text)| format!("print(({a}, {text}));")),
        1 => expression().prop_map(|a| format!("@tuple = ({a}, 5, \"x\");")),
        1 => (expression(), text()).prop_map(|(a, text)| format!("@by[({a}, {text})] = count();")),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let block = prop::collection::vec(inner.clone(), 0..4).prop_map(|statements| statements.join(" "));
        let last = prop::sample::select(vec!["", "", "", "", "", "", "", "return;", "exit(3);"]);
        let leaves = prop::sample::select(vec!["", "", "break;", "continue;"]);
        // Few rounds, whose number is known or not.
        let rounds = prop_oneof![
            2 => (0i64..4).prop_map(|n| format!("0..{n}")),
            2 => expression().prop_map(|e| format!("0..({e} & 3)")),
            1 => (expression(), 0i64..3).prop_map(|(e, n)| format!("({e} & 7)..{n}")),
        ];
        prop_oneof![
            2 => (rounds, expression(), leaves.clone(), block.clone()).prop_map(|(rounds, e, leave, body)| {
                format!("for $n : {rounds} {{ $a = $a + $n; if ({e}) {{ {leave} }} {body} }}")
            }),
            1 => (expression(), leaves, block.clone()).prop_map(|(e, leave, body)| {
                format!("while (@w++ < 4 && {e}) {{ {body} if ({e}) {{ {leave} }} $b += 1; }}")
            }),
            1 => (1u32..4, block.clone()).prop_map(|(n, body)| format!("unroll {n} {{ {body} }}")),
            2 => (expression(), block.clone()).prop_map(|(e, then)| format!("if ({e}) {{ {then} }}")),
            2 => (expression(), block.clone(), block.clone(), last)
                .prop_map(|(e, then, other, last)| format!("if ({e}) {{ {then} {last} }} else {{ {other} }}")),
        ]
    })
}
