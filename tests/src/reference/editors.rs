//! Files for editors: a TextMate grammar, which VS Code and others read, and a syntax file of Vim. Words come from the tables;
//! the patterns of both are here, in the words that Oniguruma, JavaScript and Rust's regex have in common.

use std::collections::BTreeSet;

use rtrace_lang::aggregations::AGGREGATIONS;
use rtrace_lang::builtins;
use rtrace_lang::dtrace;
use rtrace_probes::PROVIDERS;
use serde_json::{Value, json};

use super::COMMAND;

/// The table of tokens as it is written: its words are the keywords.
const TOKENS: &str = include_str!("../../../lang/src/lexer/token.rs");

/// Names of types that the language has itself.
const TYPES: &[&str] = &[
    "bool", "char", "int", "int16", "int32", "int64", "int8", "long", "short", "string", "uint16", "uint32", "uint64",
    "uint8", "unsigned", "void",
];

/// Probes whose last part may hold a slash: it begins no predicate.
const WITH_PATHS: &[&str] = &["uprobe", "uretprobe", "usdt", "iter"];

/// Words that stand for values.
const VALUES: &[&str] = &["true", "false"];

pub fn keywords() -> BTreeSet<&'static str> {
    let words = TOKENS.lines().filter_map(|line| line.trim().strip_prefix("#[token(\"")?.strip_suffix("\")]"));
    words.filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()) && !VALUES.contains(word)).collect()
}

/// Those that are called, and those that may stand alone.
fn builtin_words() -> (BTreeSet<&'static str>, BTreeSet<&'static str>) {
    // `argN` is a pattern of its own.
    let rows =
        || builtins::all().filter(|row| row.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    let is_keyword = |name: &&str| keywords().contains(name);
    let functions = rows().filter(|row| !row.bare).map(|row| row.name).filter(|name| !is_keyword(name)).collect();
    (functions, rows().filter(|row| row.bare).map(|row| row.name).filter(|name| !is_keyword(name)).collect())
}

fn aggregations() -> BTreeSet<&'static str> {
    AGGREGATIONS.iter().map(|row| row.name).collect()
}

/// Providers by all their names: those whose probes may name paths, and the others. Names of D's are among these.
fn providers() -> (BTreeSet<&'static str>, BTreeSet<&'static str>) {
    let mut names: (BTreeSet<&str>, BTreeSet<&str>) = Default::default();
    for provider in PROVIDERS {
        let set = if WITH_PATHS.contains(&provider.name()) { &mut names.0 } else { &mut names.1 };
        set.insert(provider.name());
        set.extend(provider.aliases());
    }
    names.1.extend(dtrace::ROWS.iter().map(|row| row.provider));
    (names.0, names.1)
}

/// One of the words, the longest first: a shorter one may be the beginning of a longer one.
fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut words: Vec<&str> = words.into_iter().collect();
    words.sort_by_key(|word| (std::cmp::Reverse(word.len()), *word));
    words.join("|")
}

fn rule(name: &str, pattern: String) -> Value {
    json!({ "name": format!("{name}.rtrace"), "match": pattern })
}

/// What the grammar knows, in the order in which it is tried.
pub fn grammar() -> String {
    let (with_paths, others) = providers();
    let (functions, values) = builtin_words();
    let words = |words: BTreeSet<&str>| format!("\\b(?:{})\\b", one_of(words));
    let patterns = json!([
        rule("comment.line.double-slash", "//.*".to_string()),
        { "name": "comment.block.rtrace", "begin": "/\\*", "end": "\\*/" },
        rule("meta.preprocessor", "^[ \\t]*#.*".to_string()),
        {
            "name": "string.quoted.double.rtrace", "begin": "\"", "end": "\"|$",
            "patterns": [
                rule("constant.character.escape", "\\\\.".to_string()),
                rule("constant.other.placeholder", "%[-+ #0]*(?:\\*|[0-9]+)?(?:\\.[0-9]+)?(?:hh|h|ll|l|z|j|t|q)?(?:r|rx|rh|gr|[a-zA-Z%@])".to_string()),
            ],
        },
        rule("string.quoted.single", "'(?:\\\\[^']*|[^'\\\\])'".to_string()),
        // A part in quotes may hold anything.
        rule("entity.name.function.probe", format!("\\b(?:{}):(?:\"[^\"]*\"|[^ \\t,;{{<\"])*", one_of(with_paths))),
        rule("entity.name.function.probe", format!("\\b(?:{}):(?:\"[^\"]*\"|[^ \\t,;{{</\"])+", one_of(others))),
        rule("entity.name.function.probe", "\\b(?:BEGIN|END)\\b".to_string()),
        rule("entity.name.function.probe", "\\bpid(?:\\$target|[0-9]+):[^ \\t,;{</]+".to_string()),
        rule("entity.name.function.probe", "\\b(?:profile|tick)-[0-9][0-9a-z]*".to_string()),
        rule("variable.parameter", "\\$(?:#|\\$?[0-9]+)".to_string()),
        rule("variable.other", "\\$[a-zA-Z_][a-zA-Z0-9_]*".to_string()),
        rule("variable.other.map", "@[a-zA-Z_]?[a-zA-Z0-9_]*".to_string()),
        rule("keyword.operator", "\\.\\.".to_string()),
        rule("variable.other.member", "(?:->|\\.)[ \\t]*[a-zA-Z_][a-zA-Z0-9_]*".to_string()),
        rule("constant.numeric", "\\b[0-9][0-9a-zA-Z_]*".to_string()),
        rule("constant.language", words(VALUES.iter().copied().collect())),
        rule("keyword.control", words(keywords())),
        rule("support.function.aggregation", words(aggregations())),
        rule("support.function", words(functions)),
        rule("support.variable", words(values)),
        rule("support.variable", "\\barg[0-9]+\\b".to_string()),
        rule("storage.type", words(TYPES.iter().copied().collect())),
        rule("variable.other.name", "\\b[a-zA-Z_][a-zA-Z0-9_]*".to_string()),
        rule("keyword.operator", "[-+*/%&|^~!<>=?:]+".to_string()),
    ]);
    let grammar = json!({
        "information_for_contributors": [format!("Made by `{COMMAND}` from the tables of the code: change it there.")],
        "name": "rtrace",
        "scopeName": "source.rtrace",
        "fileTypes": ["rt", "bt"],
        "firstLineMatch": "^#!.*\\b(?:rtrace|bpftrace)\\b",
        "patterns": patterns,
    });
    pretty(&grammar)
}

/// What VS Code asks of an extension that is a language without code.
pub fn package() -> String {
    pretty(&json!({
        "name": "rtrace",
        "displayName": "rtrace",
        "description": "Scripts of rtrace and bpftrace: colours, brackets and comments",
        "version": "0.1.0",
        "publisher": "rtrace",
        "license": "MIT OR Apache-2.0",
        "engines": { "vscode": "^1.60.0" },
        "categories": ["Programming Languages"],
        "contributes": {
            "languages": [{
                "id": "rtrace",
                "aliases": ["rtrace"],
                "extensions": [".rt", ".bt"],
                "firstLine": "^#!.*\\b(?:rtrace|bpftrace)\\b",
                "configuration": "./language-configuration.json",
            }],
            "grammars": [{
                "language": "rtrace",
                "scopeName": "source.rtrace",
                "path": "./syntaxes/rtrace.tmLanguage.json",
            }],
        },
    }))
}

pub fn brackets() -> String {
    pretty(&json!({
        "comments": { "lineComment": "//", "blockComment": ["/*", "*/"] },
        "brackets": [["{", "}"], ["[", "]"], ["(", ")"]],
        "autoClosingPairs": [
            { "open": "{", "close": "}" },
            { "open": "[", "close": "]" },
            { "open": "(", "close": ")" },
            { "open": "\"", "close": "\"", "notIn": ["string", "comment"] },
        ],
        "surroundingPairs": [["{", "}"], ["[", "]"], ["(", ")"], ["\"", "\""]],
        "wordPattern": "[@$]?[a-zA-Z_][a-zA-Z0-9_]*|[0-9][0-9a-zA-Z_]*",
        "indentationRules": { "increaseIndentPattern": "\\{[^}]*$", "decreaseIndentPattern": "^\\s*\\}" },
    }))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

pub fn vim_detection() -> String {
    format!(
        "\" Made by `{COMMAND}`.\n\
         autocmd BufRead,BufNewFile *.rt,*.bt setfiletype rtrace\n\
         autocmd BufRead,BufNewFile * if getline(1) =~# '^#!.*\\<\\(rtrace\\|bpftrace\\)\\>' | setfiletype rtrace | endif\n"
    )
}

pub fn vim_syntax() -> String {
    let (with_paths, others) = providers();
    let (functions, values) = builtin_words();
    let mut out = format!(
        "\" Made by `{COMMAND}` from the tables of the code: change it there.\n\
         if exists('b:current_syntax')\n  finish\nendif\n\n\
         setlocal commentstring=//\\ %s\n\
         syntax case match\nsyntax sync minlines=100\n\n"
    );
    // Of several that match at a place Vim takes the last one.
    for (group, words) in [
        ("rtraceKeyword", keywords()),
        ("rtraceValue", VALUES.iter().copied().collect()),
        ("rtraceType", TYPES.iter().copied().collect()),
        ("rtraceAggregation", aggregations()),
        ("rtraceFunction", functions),
        ("rtraceBuiltin", values),
    ] {
        for line in super::paragraph(words.into_iter()).lines() {
            // `contained` and its kin are options of Vim's there, so that each word is matched as a pattern.
            out.push_str(&format!("syntax match {group} /\\v<({})>/\n", line.replace(' ', "|")));
        }
    }
    let alternatives = |words: BTreeSet<&str>| one_of(words);
    out.push_str(&format!(
        r#"syntax match rtraceBuiltin /\v<arg\d+>/
syntax match rtraceNumber /\v<\d\w*/
syntax match rtraceMember /\v(-\>|\.)\s*\zs\h\w*/
syntax match rtraceVariable /\v\$(#|\$?\d+|\h\w*)/
syntax match rtraceMap /\v\@\w*/
syntax match rtraceProbe /\v<({}):[^[:space:],;{{<]*/
syntax match rtraceProbe /\v<({}):[^[:space:],;{{<\/]+/
syntax match rtraceProbe /\v<pid(\$target|\d+):[^[:space:],;{{<\/]+/
syntax match rtraceProbe /\v<(BEGIN|END)>/
syntax match rtraceProbe /\v<(profile|tick)-\d\w*/
syntax match rtracePreprocessor /\v^\s*#.*/
syntax match rtraceEscape contained /\v\\./
syntax match rtracePlaceholder contained /\v\%[-+ #0]*(\*|\d+)?(\.\d+)?[hlzjtq]*(rx|rh|gr|\a|\%)/
syntax region rtraceString start=/"/ skip=/\\./ end=/"/ oneline contains=rtraceEscape,rtracePlaceholder
syntax match rtraceString /\v'(\\[^']*|[^'\\])'/
syntax match rtraceComment /\v\/\/.*/
syntax region rtraceComment start=/\/\*/ end=/\*\//

"#,
        alternatives(with_paths),
        alternatives(others)
    ));
    for (group, linked) in [
        ("rtraceKeyword", "Keyword"),
        ("rtraceValue", "Boolean"),
        ("rtraceType", "Type"),
        ("rtraceAggregation", "Function"),
        ("rtraceFunction", "Function"),
        ("rtraceBuiltin", "Constant"),
        ("rtraceNumber", "Number"),
        ("rtraceVariable", "Identifier"),
        ("rtraceMap", "Identifier"),
        ("rtraceProbe", "Special"),
        ("rtracePreprocessor", "PreProc"),
        ("rtraceEscape", "SpecialChar"),
        ("rtracePlaceholder", "SpecialChar"),
        ("rtraceString", "String"),
        ("rtraceComment", "Comment"),
    ] {
        out.push_str(&format!("highlight default link {group} {linked}\n"));
    }
    out.push_str("\nlet b:current_syntax = 'rtrace'\n");
    out
}
