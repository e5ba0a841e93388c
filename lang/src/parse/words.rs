//! Words and signs of other languages that a script has by mistake, and what is written here. Only for messages.

use crate::lexer::Token;
use crate::span::Span;

/// Words that mean something else here, or nothing, before what cannot stand behind them; sorted.
const WORDS: &[(&str, &str)] = &[
    ("and", "`&&` joins two conditions"),
    ("auto", VARIABLE),
    ("case", CHOICE),
    ("char", VARIABLE),
    ("const", VARIABLE),
    ("def", FUNCTION),
    ("do", "`while (condition) { ... }` asks before each round; there is no loop that asks behind it"),
    ("elif", ELSE_IF),
    ("elseif", ELSE_IF),
    ("elsif", ELSE_IF),
    ("foreach", LOOP),
    ("func", FUNCTION),
    ("function", FUNCTION),
    ("global", "maps are there for all probes without being declared: `@x = 5;`"),
    ("int", VARIABLE),
    ("int32", VARIABLE),
    ("int64", VARIABLE),
    ("local", VARIABLE),
    ("long", VARIABLE),
    ("match", CHOICE),
    ("my", VARIABLE),
    ("not", "`!` negates a condition"),
    ("or", "`||` joins two conditions"),
    ("probe", "a probe is named alone: `BEGIN { ... }`, `kprobe:vfs_read { ... }`"),
    ("string", VARIABLE),
    ("switch", CHOICE),
    ("uint32", VARIABLE),
    ("uint64", VARIABLE),
    ("unsigned", VARIABLE),
    ("var", VARIABLE),
];

const CHOICE: &str = "`if ($x == 1) { ... } else if ($x == 2) { ... } else { ... }` chooses among values";
const ELSE_IF: &str = "`else if` is two words";
const FUNCTION: &str = "a function is `fn name($a: int64) { ... }`";
const LOOP: &str = "`for $i : 0..5 { ... }` goes through numbers, `for $kv : @map { ... }` through a map, and `while (condition) { ... }` goes on \
                    as long as a condition holds";
const VARIABLE: &str =
    "a variable begins with `$` and comes into being as it is assigned: `$x = 5;`, or with a type `let $x: int32 = 5;`";

/// What to do about the tokens up to the one that cannot stand there, where they look like something of another language.
pub fn advice(before: &[&Token], found: Option<&Token>) -> Option<&'static str> {
    let word = |name: &str| WORDS.binary_search_by(|(known, _)| (*known).cmp(name)).ok().map(|at| WORDS[at].1);
    match (before, found) {
        // `for $i in`, `for i : 0..5`, `for (i = 0; ...)`, `for ($i = 0; ...)`
        ([.., Token::For, Token::Variable(_)] | [.., Token::For, Token::LParen, Token::Variable(_)], Some(_))
        | ([.., Token::For] | [.., Token::For, Token::LParen], Some(Token::Ident(_))) => Some(LOOP),
        // `1 and 2`
        (_, Some(Token::Ident(name))) if name == "and" || name == "or" => word(name),
        ([.., Token::Ident(name)], Some(_)) if word(name).is_some() => word(name),
        // Outside of blocks each word is a probe.
        ([.., Token::Probe(probe)], Some(_)) if probe.parts.is_empty() => word(&probe.provider),
        // `elif (pid == 2) {`
        ([.., Token::RParen], Some(Token::LBrace)) => before_parentheses(before).and_then(word),
        ([.., Token::Ident(_)], Some(Token::Str(_))) => {
            Some("what a function takes stands in parentheses: `printf(\"%d\\n\", 5)`")
        }
        ([.., Token::Str(_), Token::Dot], Some(_)) | ([.., Token::Str(_)], Some(Token::Dot)) => {
            Some("`+` joins strings")
        }
        ([.., Token::Variable(_)] | [.., Token::Map(_)], Some(Token::Colon)) => Some("`=` assigns: `$x = 5;`"),
        _ => None,
    }
}

/// The word before the parentheses that end there.
fn before_parentheses<'a>(tokens: &[&'a Token]) -> Option<&'a str> {
    let mut open = 0;
    let begin = tokens.iter().rposition(|token| {
        match token {
            Token::RParen => open += 1,
            Token::LParen => open -= 1,
            _ => {}
        }
        open == 0
    })?;
    match tokens.get(begin.checked_sub(1)?)? {
        Token::Ident(name) => Some(name),
        _ => None,
    }
}

/// Whether what cannot stand at `second` is what is left of the head of a loop whose begin, at `first`, was not understood.
pub fn is_rest_of_loop(tokens: &[(Token, Span)], first: Span, second: Span) -> bool {
    let begin = tokens.partition_point(|(_, span)| span.start < first.start);
    let end = tokens.partition_point(|(_, span)| span.start < second.start);
    let head = &tokens[begin.saturating_sub(3)..begin];
    head.iter().any(|(token, _)| *token == Token::For)
        && matches!(tokens.get(end), Some((Token::RParen, _)))
        && !tokens[begin..end].iter().any(|(token, _)| matches!(token, Token::LBrace | Token::RBrace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted_so_that_they_can_be_searched() {
        assert!(WORDS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn what_other_languages_have_is_known() {
        for (text, advice) in [
            ("BEGIN { for $i in 0..5 { } }", LOOP),
            ("BEGIN { for (i = 0; i < 5; i++) { } }", LOOP),
            ("BEGIN { for ($i = 0; $i < 5; $i++) { } }", LOOP),
            ("BEGIN { for i : 0..5 { } }", LOOP),
            ("BEGIN { foreach $kv : @m { } }", LOOP),
            ("BEGIN { if (pid == 1) { } elif (pid == (2)) { } }", ELSE_IF),
            ("BEGIN { if (1) { } elseif 2 { } }", ELSE_IF),
            ("BEGIN { switch (pid) { } }", CHOICE),
            ("BEGIN { int n = 5; }", VARIABLE),
            ("BEGIN { var $n = 5; }", VARIABLE),
            ("function twice(n) { }", FUNCTION),
            ("def twice(n) { }", FUNCTION),
            ("BEGIN { print(1 and 2); }", "`&&` joins two conditions"),
            ("BEGIN { print(not 2); }", "`!` negates a condition"),
            ("BEGIN { $x := 5; }", "`=` assigns: `$x = 5;`"),
            ("BEGIN { $x = \"a\" . \"b\"; }", "`+` joins strings"),
            ("BEGIN { printf \"a\"; }", "what a function takes stands in parentheses: `printf(\"%d\\n\", 5)`"),
        ] {
            let diagnostics = crate::parse::parse(text).diagnostics;
            assert_eq!(diagnostics[0].help, [advice], "{text}: {diagnostics:?}");
        }
    }

    #[test]
    fn a_loop_that_is_not_understood_is_told_once() {
        for text in ["BEGIN { for (i = 0; i < 5; i++) { } }", "BEGIN { for ($i = 0; $i < 5; $i++) { print($i); } }"] {
            assert_eq!(crate::parse::parse(text).diagnostics.len(), 1, "{text}");
        }
        assert_eq!(crate::parse::parse("BEGIN { for $i in 5 { } print(); $x = ); }").diagnostics.len(), 2);
    }
}
