//! Marks what the grammar cannot tell apart: parentheses that open a cast or a type, and names of named arguments. Looks
//! ahead in the tokens; never changes any other token.

use super::token::Token;
use crate::builtins;
use crate::span::Span;

/// Names that are types wherever they stand in parentheses.
const TYPE_WORDS: &[&str] = &[
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "string", "buffer", "inet",
    "void", "char", "short", "int", "long", "unsigned", "signed", "const", "volatile", "size_t", "ssize_t",
];

pub fn shape(tokens: &mut [(Token, Span)]) {
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
                if is_cast(tokens, at + 1) {
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

fn is_cast(tokens: &[(Token, Span)], at: usize) -> bool {
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
        // `(name) x` is a cast only if what follows can begin an operand and cannot continue an expression.
        let suffixed = end > at + 1;
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
