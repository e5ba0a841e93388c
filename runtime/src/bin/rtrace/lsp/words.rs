//! What a word in a text is: for those who point at it, and where it was made.

use serde_json::{Value, json};

use rtrace_lang::aggregations::AGGREGATIONS;
use rtrace_lang::builtins;
use rtrace_lang::lexer::{self, Token};
use rtrace_lang::span::Span;

use crate::prompt::complete::Completion;

/// The token at a place, and its number among all.
fn token_at(tokens: &[(Token, Span)], at: usize) -> Option<usize> {
    tokens.iter().position(|(_, span)| span.range().start <= at && at < span.range().end)
}

/// Documentation of a builtin, or the type of what is there.
pub fn hover(completion: &Completion, text: &str, at: usize) -> Value {
    let tokens = lexer::lex(text).tokens;
    let Some(number) = token_at(&tokens, at) else { return Value::Null };
    let (token, span) = &tokens[number];
    let is_member = number > 0 && matches!(tokens[number - 1].0, Token::Dot | Token::Arrow);
    let shown = match token {
        Token::Ident(name) if !is_member => builtin(name),
        _ => None,
    };
    let shown = shown.or_else(|| {
        let ty = completion.type_at(&text[..span.range().end])?;
        Some(format!("```c\n{ty:#} {}\n```", &text[span.range()]))
    });
    match shown {
        Some(shown) => {
            json!({ "contents": { "kind": "markdown", "value": shown }, "range": super::range(text, *span) })
        }
        None => Value::Null,
    }
}

fn builtin(name: &str) -> Option<String> {
    let aggregation = AGGREGATIONS.iter().find(|row| row.name == name);
    let (signature, doc, example) = aggregation
        .map(|row| (row.signature, row.doc, row.example))
        .or_else(|| builtins::named(name).map(|row| (row.signature, row.doc, row.example)))?;
    Some(format!("```c\n{signature}\n```\n{doc}\n```\n{example}\n```"))
}

/// Where a variable or a map first stands, or a function, a macro or a type of the script is defined.
pub fn definition(text: &str, at: usize) -> Option<Span> {
    let tokens = lexer::lex(text).tokens;
    let (token, _) = &tokens[token_at(&tokens, at)?];
    match token {
        Token::Map(_) | Token::Variable(_) => tokens.iter().find(|(other, _)| other == token).map(|(_, span)| *span),
        Token::Ident(_) => tokens.windows(2).find_map(|pair| {
            let [(before, _), (name, span)] = pair else { return None };
            let defines = matches!(before, Token::Fn | Token::Macro | Token::Struct | Token::Union | Token::Enum);
            (defines && name == token).then_some(*span)
        }),
        _ => None,
    }
}
