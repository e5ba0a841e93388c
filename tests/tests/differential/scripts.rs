//! Generated scripts: one BEGIN clause over variables and maps of fixed names and types, which a prologue sets, and
//! functions that it calls. Every script is well typed; the only mistake that it may hold is a constant that does not fit
//! its place. Most scripts are short: what is wrong shows in few statements, and a kernel gets through more of them.

use proptest::prelude::*;

/// Gives every variable and map its type.
const PROLOGUE: &str = "$a = 1; $b = -7; $u = (uint64)18446744073709551615; $z = 0; $s = \"text\"; @i = 3; \
    @u = (uint64)9; @k[0] = 5; @m[1, \"two\"] = 7; @t = \"hello\"; @ts[0] = \"name\"; @cut = \"abcdefgh\"; \
    $r = (n = 1, t = \"record\"); $y = (int16[4])7; @r[0] = (n = 2, t = \"kept\"); @y = (uint8[8])9; ";

/// The variables of a function that are no parameters.
const FUNCTION_PROLOGUE: &str = "$u = (uint64)5; $z = 0; $r = (n = 3, t = \"in\"); $y = (int16[4])8; ";

/// What a function calls that may call no other, and names of numbers.
const MACROS: &str = "#define TWICE(x) ((x) * 2)\nenum color { RED, GREEN = 5, BLUE = -3 }\n\
    macro mix(a, b) { (a) ^ (b) }\nmacro pick(a, b) { a != 0 ? b : \"none\" }\n";

/// What a script may use that not every kernel has.
#[derive(Clone, Copy)]
pub struct Has {
    /// Values of other processors: aggregations can be read.
    pub other_cpus: bool,
    /// Loops of as many rounds as one likes, over maps, too.
    pub loops: bool,
}

impl Has {
    fn read_aggregation(self) -> impl Strategy<Value = String> {
        let read = prop::sample::select(vec!["count()", "sum(-7)", "sum((uint64)9)", "min($a)", "max($b)", "avg($u)"]);
        (read, expression()).prop_map(move |(call, key)| {
            let map: String = call.chars().filter(char::is_ascii_alphanumeric).collect();
            match self.other_cpus {
                true => {
                    format!("@{map} = {call}; @of_{map}[{key}] = {call}; $b = (int64)@{map} + (int64)@of_{map}[$a];")
                }
                false => format!("@{map} = {call};"),
            }
        })
    }

    /// Bodies whose result does not depend on the order of the entries.
    fn long_loop(self) -> impl Strategy<Value = String> {
        let bodies = prop::sample::select(vec![
            "for ($kv : @k) { $b += $kv.0 * 3 + $kv.1; }",
            "for ($key, $value) : @k { @sum = sum($key ^ $value); if ($key > $a) { continue; } $z += 1; }",
            "for ($kv : @m) { @by[$kv.0] = count(); }",
            "$b += len(@k);",
            "$b += strcontains(@t, @ts[0]);",
            "if ($s =~ \"*e?t*\") { $a += 1; }",
            "$z = @t !~ \"h*o\";",
            "for ($kv : @ts) { @words[$kv.1] = count(); }",
            "for ($kv : @r) { $b ^= $kv.1.n; @words[$kv.1.t] = count(); }",
        ]);
        bodies.prop_map(move |body| if self.loops { body.to_string() } else { "$b += 1;".to_string() })
    }
}

pub fn script(has: Has) -> impl Strategy<Value = String> {
    let body = move |least, most| prop::collection::vec(statement(has), least..most).prop_map(|all| all.join("\n"));
    let main = prop_oneof![4 => body(1, 4), 1 => body(4, 12)];
    (main, (body(0, 2), expression()), (body(0, 2), expression()), (body(0, 2), text())).prop_map(
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
        1 => prop::sample::select(vec![
            "RED", "GREEN", "BLUE", "0x1f", "0755", "1_000", "2e3", "3us", "true", "'a'", "sizeof(uint32)",
            "sizeof($y)", "(comptime (7 * 9))", "TWICE(21)", "sizeof(enum color)",
        ]).prop_map(str::to_string),
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
            "$r.t", "@r[$b].t",
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
    let part = prop::sample::select(vec!["$r.n", "@r[0].n", "@r[$a].n", "$y[1]"]).prop_map(str::to_string);
    let leaf = prop_oneof![3 => number(), 4 => place(), 1 => part];
    leaf.prop_recursive(4, 20, 3, |inner| {
        let binary = prop::sample::select(vec![
            "+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "^^",
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
            1 => inner.clone().prop_map(|index| format!("$y[({index}) & 7]")),
            1 => (array(), inner.clone(), inner.clone())
                .prop_map(|((ty, len), e, index)| format!("(({ty}[{len}])({e}))[({index}) & {}]", len - 1)),
            1 => (array(), inner.clone())
                .prop_map(|((ty, len), e)| format!("((int64)({ty}[{len}])({e}))")),
            1 => (inner.clone(), inner.clone(), 0u32..2).prop_map(|(a, b, n)| format!("({a}, {b}).{n}")),
            1 => (inner.clone(), text(), inner.clone(), text(), prop::sample::select(vec!["==", "!="]))
                .prop_map(|(a, s, b, t, op)| format!("(({a}, {s}) {op} ({b}, {t}))")),
            1 => inner.clone().prop_map(|e| format!("TWICE({e})")),
            1 => inner.clone().prop_map(|e| format!("((typeof($u))({e}))")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} ?: {b})")),
            2 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("outer({a}, {b})")),
            1 => (prop::sample::select(vec!["uint16", "uint32", "uint64"]), inner.clone())
                .prop_map(|(ty, e)| format!("bswap(({ty})({e}))")),
            1 => (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(c, a, b)| format!("(if ({c}) {{ {a} }} else {{ {b} }})")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({{ let $q = {a}; $q ^ {b} }})")),
        ]
    })
}

/// An element's type and a number of them that fill a word.
fn array() -> impl Strategy<Value = (&'static str, u32)> {
    prop::sample::select(vec![("uint8", 8), ("int16", 4), ("uint16", 4), ("int32", 2), ("uint64", 1)])
}

fn statement(has: Has) -> impl Strategy<Value = String> {
    let assign =
        prop::sample::select(vec!["=", "=", "=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="]);
    let fold =
        prop::sample::select(vec!["sum", "min", "max", "avg", "stats", "hist", "stddev", "quantize", "quantiles"]);
    let leaf = prop_oneof![
        6 => (place(), assign, expression()).prop_map(|(place, op, e)| format!("{place} {op} {e};")),
        1 => text().prop_map(|text| format!("$s = {text};")),
        1 => text().prop_map(|text| format!("@t = {text};")),
        1 => (expression(), text()).prop_map(|(key, text)| format!("@ts[{key}] = {text};")),
        1 => (expression(), text()).prop_map(|(n, text)| format!("$r = (n = {n}, t = {text});")),
        1 => (expression(), expression(), text()).prop_map(|(key, n, text)| format!("@r[{key}] = (n = {n}, t = {text});")),
        1 => expression().prop_map(|e| format!("$y = (int16[4])({e});")),
        1 => expression().prop_map(|e| format!("@y = (uint8[8])({e});")),
        1 => Just("print(($r, $y, @y));".to_string()),
        1 => (prop::sample::select(vec!["int8", "uint8", "int16", "uint16", "int32", "uint32", "uint64", "bool"]),
                expression(), expression(), place())
            .prop_map(|(ty, first, then, place)| {
                format!("if (1) {{ let $v: {ty} = {first}; $v = {then}; $v++; {place} = $v; }}")
            }),
        1 => expression().prop_map(|e| format!("_ = {e};")),
        1 => has.read_aggregation(),
        1 => has.long_loop(),
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
