//! Words and signs of other languages that a script has by mistake, and what is written here. Only for messages.

use crate::lexer::Token;

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
const VARIABLE: &str = "a variable begins with `$` and comes into being as it is assigned: `$x = 5;`, or with a type `let $x: int32 = 5;`";

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
        ([.., Token::Ident(_)], Some(Token::Str(_))) => Some("what a function takes stands in parentheses: `printf(\"%d\\n\", 5)`"),
        ([.., Token::Str(_), Token::Dot], Some(_)) | ([.., Token::Str(_)], Some(Token::Dot)) => Some("`+` joins strings"),
        ([.., Token::Variable(_)] | [.., Token::Map(_)], Some(Token::Colon)) => Some("`=` assigns: `$x = 5;`"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted_so_that_they_can_be_searched() {
        assert!(WORDS.is_sorted_by(|a, b| a.0 < b.0));
    }
}
