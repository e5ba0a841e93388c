//! The line that is being edited: colours, matching brackets, hints, completion, and when a text is whole.

use std::borrow::Cow;

use rustyline::highlight::CmdKind;
use rustyline::hint::{Hint, HistoryHinter};
use rustyline::validate::{ValidationContext, ValidationResult};
use rustyline::{Context, Helper};

use rtrace_lang::aggregations::AGGREGATIONS;
use rtrace_lang::builtins;
use rtrace_lang::lexer::{Token, Trivia};

use super::complete::{Candidate, Completion};
use super::text::{is_whole, lex};

const PROBE: &str = "\x1b[36m";
const TEXT: &str = "\x1b[32m";
const NUMBER: &str = "\x1b[33m";
const NAME: &str = "\x1b[34m";
const KEYWORD: &str = "\x1b[35m";
const COMMENT: &str = "\x1b[2m";
const BUILTIN: &str = "\x1b[1m";
const BRACKET: &str = "\x1b[1;7m";
const PLAIN: &str = "\x1b[0m";

pub struct Editor {
    pub completion: Completion,
    pub history: HistoryHinter,
    pub is_coloured: bool,
}

/// What is shown behind the cursor.
pub struct Shown {
    text: String,
    /// What the arrow to the right takes over.
    taken: Option<String>,
}

impl Hint for Shown {
    fn display(&self) -> &str {
        &self.text
    }

    fn completion(&self) -> Option<&str> {
        self.taken.as_deref()
    }
}

impl Helper for Editor {}

impl rustyline::validate::Validator for Editor {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match is_whole(context.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

impl rustyline::completion::Completer for Editor {
    type Candidate = Candidate;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Candidate>)> {
        Ok(self.completion.complete(&line[..at]))
    }
}

impl rustyline::completion::Candidate for Candidate {
    fn display(&self) -> &str {
        self.shown()
    }

    fn replacement(&self) -> &str {
        &self.text
    }
}

impl rustyline::hint::Hinter for Editor {
    type Hint = Shown;

    fn hint(&self, line: &str, at: usize, context: &Context<'_>) -> Option<Shown> {
        if at < line.len() {
            return None;
        }
        self.completion.read_ahead(line);
        if let Some(signature) = signature(line) {
            return Some(Shown { text: format!("   {signature}"), taken: None });
        }
        let before = self.history.hint(line, at, context)?;
        Some(Shown { text: before.clone(), taken: Some(before) })
    }
}

/// The signature of the function whose arguments are being typed.
pub fn signature(line: &str) -> Option<&'static str> {
    let mut open: Vec<Option<String>> = Vec::new();
    let mut last = None;
    for (token, _) in lex(line).tokens {
        match &token {
            Token::LParen | Token::TypeOpen | Token::CastOpen => open.push(last.take()),
            Token::RParen => _ = open.pop(),
            _ => {}
        }
        last = match token {
            Token::Ident(name) => Some(name),
            _ => None,
        };
    }
    let name = open.pop()??;
    let aggregation = AGGREGATIONS.iter().find(|row| row.name == name).map(|row| row.signature);
    aggregation.or_else(|| builtins::named(&name).map(|row| row.signature))
}

impl rustyline::highlight::Highlighter for Editor {
    fn highlight<'l>(&self, line: &'l str, at: usize) -> Cow<'l, str> {
        if !self.is_coloured || line.is_empty() {
            return Cow::Borrowed(line);
        }
        if line.trim_start().starts_with(':') {
            let end = line.trim_end().find(char::is_whitespace).unwrap_or(line.len());
            return Cow::Owned(format!("{KEYWORD}{}{PLAIN}{}", &line[..end], &line[end..]));
        }
        let lexed = lex(line);
        let matching = brackets(&lexed.tokens, at);
        let mut parts: Vec<(usize, usize, &str)> = Vec::new();
        for (token, span) in &lexed.tokens {
            let range = span.range();
            let colour = if matching.contains(&range.start) { Some(BRACKET) } else { colour(token) };
            if let Some(colour) = colour {
                parts.push((range.start, range.end, colour));
            }
        }
        for (trivia, span) in &lexed.trivia {
            if *trivia == Trivia::Comment {
                parts.push((span.range().start, span.range().end, COMMENT));
            }
        }
        parts.sort_unstable();
        let mut out = String::new();
        let mut done = 0;
        for (start, end, colour) in parts {
            // What the lexer has put in is not in the line.
            let (Some(before), Some(word)) = (line.get(done..start), line.get(start..end)) else { continue };
            out.push_str(before);
            out.push_str(&format!("{colour}{word}{PLAIN}"));
            done = end;
        }
        out.push_str(&line[done..]);
        Cow::Owned(out)
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        match self.is_coloured {
            true => Cow::Owned(format!("{COMMENT}{hint}{PLAIN}")),
            false => Cow::Borrowed(hint),
        }
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        self.is_coloured
    }
}

fn colour(token: &Token) -> Option<&'static str> {
    match token {
        Token::Probe(_) => Some(PROBE),
        Token::Str(_) => Some(TEXT),
        Token::Int(_) | Token::Duration(_) | Token::True | Token::False => Some(NUMBER),
        Token::Variable(_) | Token::Map(_) | Token::Positional(_) => Some(NAME),
        Token::Break
        | Token::Comptime
        | Token::Config
        | Token::Continue
        | Token::Else
        | Token::Enum
        | Token::Fn
        | Token::For
        | Token::If
        | Token::Directive(_) => Some(KEYWORD),
        Token::Ident(name) => {
            let is_known = builtins::named(name).is_some() || AGGREGATIONS.iter().any(|row| row.name == name);
            is_known.then_some(BUILTIN)
        }
        _ => None,
    }
}

/// Where the bracket at the cursor, or before it, and its partner are.
fn brackets(tokens: &[(Token, rtrace_lang::span::Span)], at: usize) -> Vec<usize> {
    let mut open = Vec::new();
    let mut pairs = Vec::new();
    for (token, span) in tokens {
        match token {
            Token::LParen | Token::CastOpen | Token::TypeOpen | Token::LBrace | Token::LBracket => {
                open.push(span.range().start);
            }
            Token::RParen | Token::RBrace | Token::RBracket => {
                pairs.extend(open.pop().map(|from| (from, span.range().start)));
            }
            _ => {}
        }
    }
    let is_at = |place: usize| place == at || place + 1 == at;
    let pair = pairs.into_iter().rfind(|(from, to)| is_at(*from) || is_at(*to));
    pair.map_or_else(Vec::new, |(from, to)| vec![from, to])
}
