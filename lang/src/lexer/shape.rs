//! Marks what the grammar cannot tell apart: parentheses that open a cast or a type, and names of named arguments. Looks
//! ahead in the tokens; never changes any other token.

use std::collections::HashSet;

use super::token::Token;
use crate::builtins;
use crate::span::Span;

/// Names that are types wherever they stand in parentheses.
pub(super) const TYPE_WORDS: &[&str] = &[
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "string", "buffer", "inet",
    "void", "char", "short", "int", "long", "unsigned", "signed", "const", "volatile", "size_t", "ssize_t", "float",
    "double", "__int128",
];

/// Typedefs of the kernel whose names do not end with `_t`.
const TYPEDEFS: &[&str] = &[
    "u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "__u8", "__u16", "__u32", "__u64", "__s8", "__s16", "__s32",
    "__s64", "__le16", "__le32", "__le64", "__be16", "__be32", "__be64", "__sum16", "__wsum", "uint", "ulong",
    "ushort", "u_char", "u_short", "u_int", "u_long",
];

/// Names that the script itself gives a meaning.
#[derive(Default)]
struct Own {
    types: HashSet<String>,
    /// Macros, their parameters, and what `#define` names.
    values: HashSet<String>,
}

/// The names that a typedef gives: those that stand before what ends a declarator, outside of the members.
fn typedef_names(tokens: &[(Token, Span)]) -> Vec<String> {
    let mut depth = 0usize;
    let mut names = Vec::new();
    for pair in tokens.windows(2) {
        match (&pair[0].0, &pair[1].0) {
            (Token::LBrace, _) => depth += 1,
            (Token::RBrace, _) => depth = depth.saturating_sub(1),
            (Token::Semi, _) if depth == 0 => break,
            (Token::Ident(name), Token::Semi | Token::Comma | Token::LBracket | Token::RParen) if depth == 0 => {
                names.push(name.clone());
            }
            _ => {}
        }
    }
    names
}

impl Own {
    fn of(tokens: &[(Token, Span)]) -> Own {
        let mut own = Own::default();
        let name = |at: usize| match tokens.get(at) {
            Some((Token::Ident(name), _)) => Some(name.clone()),
            _ => None,
        };
        for (at, (token, _)) in tokens.iter().enumerate() {
            match token {
                Token::Struct | Token::Union | Token::Enum => own.types.extend(name(at + 1)),
                Token::Macro => {
                    own.values.extend(name(at + 1));
                    let parameters = tokens[at + 1..].iter().take_while(|(token, _)| *token != Token::LBrace);
                    own.values.extend(parameters.filter_map(|(token, _)| match token {
                        Token::Ident(name) => Some(name.clone()),
                        _ => None,
                    }));
                }
                Token::Typedef => own.types.extend(typedef_names(&tokens[at + 1..])),
                Token::Directive(text) => {
                    let words = text.trim_start_matches('#').trim_start().strip_prefix("define");
                    let name = words.and_then(|rest| rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).nth(1));
                    own.values.extend(name.map(str::to_string));
                }
                _ => {}
            }
        }
        own
    }

    /// Whether a name in parentheses is a type also where an operator follows that stands between values as well.
    fn is_type(&self, name: &str) -> bool {
        let is_typedef = || name.ends_with("_t") || TYPEDEFS.contains(&name);
        !self.values.contains(name) && (self.types.contains(name) || is_typedef())
    }
}

pub fn shape(tokens: &mut [(Token, Span)]) {
    let own = Own::of(tokens);
    // Parentheses that are open, and whether the one that closed last was a cast: behind it a value begins.
    let mut open: Vec<usize> = Vec::new();
    let mut cast_ended = false;
    for at in 0..tokens.len() {
        if at > 0 && tokens[at - 1].0 == Token::RParen {
            cast_ended = open.pop().is_some_and(|from| tokens[from].0 == Token::CastOpen);
        }
        if let Token::Ident(word) = &tokens[at].0
            && at > 0
            && matches!(tokens[at - 1].0, Token::LParen | Token::Comma)
            && matches!(tokens.get(at + 1), Some((Token::Colon, _)))
        {
            tokens[at].0 = Token::ArgumentName(word.clone());
        }
        if tokens[at].0 != Token::LParen {
            continue;
        }
        open.push(at);
        let before = at.checked_sub(1).map(|n| &tokens[n].0);
        match before {
            Some(Token::SizeOf | Token::OffsetOf | Token::TypeOf | Token::TypeInfo) => {
                if type_end(tokens, at + 1).is_some_and(|end| {
                    let ends = matches!(tokens.get(end).map(|t| &t.0), Some(Token::RParen | Token::Comma));
                    ends && !is_builtin_word(tokens, at + 1, end)
                }) {
                    tokens[at].0 = Token::TypeOpen;
                }
            }
            // After a value a parenthesis is a call, or a mistake.
            Some(Token::RParen) if !cast_ended => {}
            Some(Token::Ident(_) | Token::RBracket) => {}
            _ => {
                if is_cast(tokens, at + 1, &own) {
                    tokens[at].0 = Token::CastOpen;
                }
            }
        }
    }
}

/// Where the type that begins at `at` ends, if one does.
fn type_end(tokens: &[(Token, Span)], at: usize) -> Option<usize> {
    let token = |n: usize| tokens.get(n).map(|t| &t.0);
    let mut end = match token(at)? {
        Token::Struct | Token::Union | Token::Enum => match token(at + 1)? {
            Token::Ident(_) => at + 2,
            _ => return None,
        },
        Token::TypeOf => {
            let mut depth = 0usize;
            let mut n = at + 1;
            loop {
                match token(n)? {
                    Token::LParen | Token::CastOpen | Token::TypeOpen => depth += 1,
                    Token::RParen if depth > 0 => {
                        depth -= 1;
                        if depth == 0 {
                            break;
                        }
                    }
                    _ if depth == 0 => return None,
                    _ => {}
                }
                n += 1;
            }
            n + 1
        }
        Token::Ident(_) => {
            let mut n = at + 1;
            // `unsigned long long`, `const char`
            while let Some(Token::Ident(word)) = token(n) {
                if !TYPE_WORDS.contains(&word.as_str()) {
                    break;
                }
                n += 1;
            }
            if let Some(Token::Ident(first)) = token(at)
                && matches!(first.as_str(), "const" | "volatile")
                && let Some(Token::Struct | Token::Union | Token::Enum) = token(at + 1)
            {
                n = at + 3;
            }
            n
        }
        _ => return None,
    };
    loop {
        match token(end) {
            Some(Token::Star) => end += 1,
            Some(Token::LBracket) => match (token(end + 1), token(end + 2)) {
                (Some(Token::RBracket), _) => end += 2,
                (Some(Token::Int(_)), Some(Token::RBracket)) => end += 3,
                _ => return None,
            },
            _ => return Some(end),
        }
    }
}

/// True where `sizeof(x)` names a builtin value, not a type.
fn is_builtin_word(tokens: &[(Token, Span)], at: usize, end: usize) -> bool {
    end == at + 1 && matches!(&tokens[at].0, Token::Ident(word) if builtins::named(word).is_some())
}

fn is_cast(tokens: &[(Token, Span)], at: usize, own: &Own) -> bool {
    let Some(end) = type_end(tokens, at) else { return false };
    if !matches!(tokens.get(end).map(|t| &t.0), Some(Token::RParen)) {
        return false;
    }
    if let Token::Ident(word) = &tokens[at].0 {
        if TYPE_WORDS.contains(&word.as_str()) {
            return true;
        }
        if builtins::named(word).is_some() {
            return false;
        }
        let suffixed = end > at + 1;
        if let Some(Token::Minus | Token::Star | Token::Ampersand) = tokens.get(end + 1).map(|t| &t.0)
            && own.is_type(word)
        {
            return true;
        }
        // `(name) x` is a cast only if what follows can begin an operand and cannot continue an expression.
        let operand_follows = matches!(
            tokens.get(end + 1).map(|t| &t.0),
            Some(
                Token::Ident(_)
                    | Token::Variable(_)
                    | Token::Map(_)
                    | Token::Positional(_)
                    | Token::PositionalText(_)
                    | Token::PositionalCount
                    | Token::Int(_)
                    | Token::Duration(_)
                    | Token::Str(_)
                    | Token::LParen
                    | Token::Bang
                    | Token::Tilde
                    | Token::SizeOf
                    | Token::OffsetOf
            )
        );
        return suffixed || operand_follows;
    }
    true
}
