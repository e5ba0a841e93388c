//! Text to tokens. `logos` splits the text into words; this file knows the places where the same characters mean different
//! things (probe specifications, predicates, angle blocks, casts) and marks them, so that the grammar needs no
//! look-ahead. Never fails: what it cannot read becomes a diagnostic and an `Error` token.

mod c;
mod condition;
mod number;
mod shape;
pub mod token;

pub use number::{Number, parse_number};
pub use token::Token;

use logos::Logos;

use crate::diagnostic::{Code, Diagnostic};
use crate::limits::MAX_NESTING;
use crate::probe::{ProbeSpec, wildcard_match};
use crate::span::Span;

use condition::Defined;

/// Tokens with their places, what stands between them, and what was wrong with the text.
pub struct Lexed {
    pub tokens: Vec<(Token, Span)>,
    pub trivia: Vec<(Trivia, Span)>,
    pub diagnostics: Vec<Diagnostic>,
}

/// Text that is no token and no white space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trivia {
    Comment,
    /// Lines that the lexer obeys itself: `#if` and its kin with what they leave out, and `#!`.
    Lines,
    /// One of C's attributes that changes nothing.
    Attribute,
    /// A semicolon between two items.
    Semicolon,
}

pub fn lex(text: &str) -> Lexed {
    let mut lexer = Lexer {
        text,
        at: 0,
        tokens: Vec::new(),
        trivia: Vec::new(),
        diagnostics: Vec::new(),
        depth: 0,
        run: 0,
        defined: Default::default(),
        conditions: 0,
        defines_c: false,
    };
    lexer.script();
    shape::shape(&mut lexer.tokens);
    Lexed { tokens: lexer.tokens, trivia: lexer.trivia, diagnostics: lexer.diagnostics }
}

/// The word behind the `#`, and what follows it.
fn directive_words(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches('#').trim_start();
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    let rest = text[end..].trim_start();
    (&text[..end], rest.split("//").next().unwrap_or(rest).trim_end())
}

/// Whether the parts of the probe that the text begins with may be paths.
fn takes_paths(text: &str) -> bool {
    let word = &text[..text.find(|c: char| c.is_whitespace() || ":/{".contains(c)).unwrap_or(text.len())];
    // `label=uprobe`
    let provider = word.split_once('=').map_or(word, |(_, provider)| provider).to_ascii_lowercase();
    let with_paths = ["uprobe", "u", "uretprobe", "ur", "usdt", "iter", "it"];
    // `u*` stands for nothing else.
    let pattern = provider.starts_with('u') && with_paths.iter().any(|name| wildcard_match(&provider, name));
    pattern || with_paths.contains(&provider.as_str())
}

/// Most tokens between two statement ends: the depth of the longest chain of operators.
const LONGEST_EXPRESSION: usize = 3000;

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<(Token, Span)>,
    trivia: Vec<(Trivia, Span)>,
    diagnostics: Vec<Diagnostic>,
    /// Open brackets of all kinds.
    depth: usize,
    /// Tokens since the last statement end.
    run: usize,
    defined: Defined,
    /// `#if`s that are open here.
    conditions: usize,
    /// In a definition of a type of C's.
    defines_c: bool,
}

/// How a block that follows a probe list is written.
enum BlockForm {
    Braces,
    Angles,
}

impl Lexer<'_> {
    fn script(&mut self) {
        // A byte order mark, which some editors write.
        self.at = self.text.len() - self.text.trim_start_matches('\u{feff}').len();
        if self.text[self.at..].starts_with("#!") {
            self.at = self.text.find('\n').unwrap_or(self.text.len());
            self.trivia.push((Trivia::Lines, Span::new(0, self.at)));
        }
        while self.skip_blank() {
            if self.diagnostics.len() > 20 {
                return;
            }
            self.item();
        }
        if self.conditions > 0 {
            let end = self.text.trim_end().len();
            self.report(
                Diagnostic::error(Code::Syntax, Span::new(end, end), "an `#if` has no `#endif`")
                    .label("the script ends here")
                    .help("close it with a line `#endif`"),
            );
        }
    }

    /// Skips white space and comments; false at the end of the text.
    fn skip_blank(&mut self) -> bool {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            let start = self.at;
            if trimmed.starts_with("//") {
                self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            } else if let Some(comment) = trimmed.strip_prefix("/*") {
                match comment.find("*/") {
                    Some(end) => self.at += end + 4,
                    None => {
                        self.report(
                            Diagnostic::error(
                                Code::UnterminatedText,
                                Span::new(self.at, self.at + 2),
                                "the comment has no end",
                            )
                            .label("opened here")
                            .help("close it with `*/`"),
                        );
                        self.at = self.text.len();
                    }
                }
            } else {
                return !trimmed.is_empty();
            }
            self.trivia.push((Trivia::Comment, Span::new(start, self.at)));
        }
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn push(&mut self, token: Token, start: usize, end: usize) {
        self.tokens.push((token, Span::new(start, end)));
    }

    /// One item of a script: a directive, a definition, or a probe list with its block.
    fn item(&mut self) {
        let rest = &self.text[self.at..];
        if rest.starts_with('#') {
            self.directive();
            return;
        }
        let word_end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let after = rest[word_end..].trim_start().chars().next();
        if c::is_declaration(rest) {
            self.declaration();
            return;
        }
        let definition = match &rest[..word_end] {
            "struct" | "union" | "enum" | "fn" | "macro" | "import" | "let" | "typedef" => after != Some(':'),
            "config" => after == Some('='),
            _ => false,
        };
        if definition {
            self.definition();
        } else if rest.starts_with(';') {
            // A stray semicolon after a definition or a block is accepted.
            self.trivia.push((Trivia::Semicolon, Span::new(self.at, self.at + 1)));
            self.at += 1;
        } else {
            self.clause();
        }
    }

    fn directive(&mut self) {
        let start = self.at;
        loop {
            let line_end = self.text[self.at..].find('\n').map_or(self.text.len(), |n| self.at + n);
            let continued = self.text[self.at..line_end].trim_end_matches('\r').ends_with('\\');
            self.at = line_end;
            if !continued || line_end == self.text.len() {
                break;
            }
            self.at += 1;
        }
        let text = self.text[start..self.at].trim_end();
        let (word, rest) = directive_words(text);
        let tokens = self.tokens.len();
        match word {
            "if" | "ifdef" | "ifndef" => {
                self.conditions += 1;
                self.choose(word, rest, start);
            }
            // The part before was meant.
            "else" | "elif" if self.conditions > 0 => self.skip_parts(start, true),
            "endif" if self.conditions > 0 => self.conditions -= 1,
            "else" | "elif" | "endif" => self.report(
                Diagnostic::error(Code::Syntax, Span::new(start, self.at), format!("`#{word}` without an `#if`"))
                    .label("no `#if` is open here")
                    .help("a part that may be left out begins with `#if`, `#ifdef` or `#ifndef`"),
            ),
            "define" => {
                let name_end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
                self.defined.define(&rest[..name_end], &rest[name_end..]);
                self.push(Token::Directive(text.to_string()), start, self.at);
            }
            "undef" => self.defined.forget(rest),
            _ => self.push(Token::Directive(text.to_string()), start, self.at),
        }
        if self.tokens.len() == tokens {
            self.trivia.push((Trivia::Lines, Span::new(start, self.at)));
        }
    }

    /// Goes on behind an `#if` whose condition holds, and at the next part of it otherwise.
    fn choose(&mut self, word: &str, rest: &str, start: usize) {
        let name = rest.split_whitespace().next().unwrap_or("");
        let holds = match word {
            "ifdef" => self.defined.has(name),
            "ifndef" => !self.defined.has(name),
            _ => self.defined.holds(rest),
        };
        if !holds {
            self.skip_parts(start, false);
        }
    }

    /// Skips lines up to the end of the `#if`, or up to a part of it that is meant where none was before.
    fn skip_parts(&mut self, start: usize, was_meant: bool) {
        let mut depth = 0;
        while self.at < self.text.len() {
            let line_start = self.at;
            let line_end = self.text[self.at..].find('\n').map_or(self.text.len(), |n| self.at + n + 1);
            self.at = line_end;
            let line = self.text[line_start..line_end].trim();
            if !line.starts_with('#') {
                continue;
            }
            let (word, rest) = directive_words(line);
            match word {
                "if" | "ifdef" | "ifndef" => depth += 1,
                "endif" if depth == 0 => {
                    self.conditions -= 1;
                    return;
                }
                "endif" => depth -= 1,
                "else" if depth == 0 && !was_meant => return,
                "elif" if depth == 0 && !was_meant && self.defined.holds(rest) => return,
                _ => {}
            }
        }
        self.report(
            Diagnostic::error(Code::Syntax, Span::new(start, start + 1), "this `#if` has no `#endif`")
                .label("opened here")
                .help("close it with a line `#endif`"),
        );
    }

    /// `fn`, `macro`, `struct` and the like: ordinary tokens up to the closing brace or semicolon.
    fn definition(&mut self) {
        // What a typedef names stands behind the members.
        let ends_at_brace = !self.text[self.at..].starts_with("typedef");
        self.defines_c =
            ["struct", "union", "enum", "typedef"].iter().any(|word| self.text[self.at..].starts_with(word));
        self.definition_to_its_end(ends_at_brace);
        self.defines_c = false;
    }

    fn definition_to_its_end(&mut self, ends_at_brace: bool) {
        let mut depth = 0usize;
        loop {
            match self.defines_c {
                true => self.attributes_and_qualifiers(),
                false => self.attributes(),
            }
            let Some(token) = self.word() else { return };
            match token {
                Token::LBrace | Token::LParen | Token::LBracket => depth += 1,
                Token::RBrace => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 && ends_at_brace {
                        self.attributes();
                        // `struct x { };` and `config = { };` may end with a semicolon.
                        return;
                    }
                }
                Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
                Token::Semi if depth == 0 => return,
                _ => {}
            }
        }
    }

    fn clause(&mut self) {
        self.probe_list();
        if !self.skip_blank() {
            return;
        }
        if self.text[self.at..].starts_with('/') {
            self.push(Token::PredicateOpen, self.at, self.at + 1);
            self.at += 1;
            if !self.predicate() {
                return;
            }
        }
        if !self.skip_blank() {
            return;
        }
        match self.text.as_bytes()[self.at] {
            b'<' => {
                self.push(Token::AngleOpen, self.at, self.at + 1);
                self.at += 1;
                self.block(BlockForm::Angles);
            }
            b'{' => {
                self.word();
                self.block(BlockForm::Braces);
            }
            _ => {
                // Not a block: the grammar says so at this very place.
                if self.word().is_none() {
                    self.at = self.text.len();
                }
                self.skip_to_next_item();
            }
        }
    }

    /// After something that is no block: goes on behind the next closing brace, so that later clauses are still read.
    fn skip_to_next_item(&mut self) {
        self.at = self.text[self.at..].find('}').map_or(self.text.len(), |n| self.at + n + 1);
    }

    /// Probe specifications, each a token, separated by commas. Ends before the predicate or the block.
    fn probe_list(&mut self) {
        loop {
            if !self.skip_blank() {
                return;
            }
            let start = self.at;
            let end = self.probe_end();
            if end > start {
                let spec = ProbeSpec::parse(&self.text[start..end], Span::new(start, end));
                self.push(Token::Probe(spec), start, end);
                self.at = end;
            }
            if !self.skip_blank() {
                return;
            }
            if self.text[self.at..].starts_with(',') {
                self.push(Token::Comma, self.at, self.at + 1);
                self.at += 1;
            } else {
                return;
            }
        }
    }

    /// Where the specification that begins here ends: at a comma, a brace, an angle that opens a block, or at white
    /// space. Quotes may hold all of these.
    fn probe_end(&mut self) -> usize {
        let mut quoted_from = None;
        // Where the parts are no paths, a slash opens the predicate even without white space before it.
        let takes_paths = takes_paths(&self.text[self.at..]);
        for (offset, c) in self.text[self.at..].char_indices() {
            let here = self.at + offset;
            match c {
                '/' if quoted_from.is_none() && !takes_paths => return here,
                '"' => quoted_from = if quoted_from.is_some() { None } else { Some(here) },
                '\n' if quoted_from.is_some() => break,
                _ if quoted_from.is_some() => {}
                ',' | '{' | '}' | ';' | '<' => return here,
                c if c.is_whitespace() => return here,
                _ => {}
            }
        }
        if let Some(from) = quoted_from {
            let end = self.text[from..].find('\n').map_or(self.text.len(), |n| from + n);
            self.report(
                Diagnostic::error(
                    Code::UnterminatedText,
                    Span::new(from, end),
                    "the quoted part of the probe has no end",
                )
                .label("opened here")
                .help("close it with `\"` on the same line"),
            );
            return end;
        }
        self.text.len()
    }

    /// The tokens of a predicate up to the `/` that a block follows; false at the end of the text.
    fn predicate(&mut self) -> bool {
        let opened = self.at - 1;
        loop {
            if !self.skip_blank() {
                self.report(
                    Diagnostic::error(
                        Code::Syntax,
                        Span::new(opened, opened + 1),
                        "the predicate does not end with `/` and a block",
                    )
                    .label("opened here")
                    .help("a predicate is `/ condition /` before the block: `probe /pid == 1/ { ... }`"),
                );
                return false;
            }
            if self.text[self.at..].starts_with('/') {
                let (slash, trivia) = (self.at, self.trivia.len());
                self.at += 1;
                self.skip_blank();
                let closes = self.text[self.at..].starts_with(['{', '<']);
                self.at = slash;
                self.trivia.truncate(trivia);
                if closes {
                    self.push(Token::PredicateClose, slash, slash + 1);
                    self.at = slash + 1;
                    return true;
                }
            }
            if self.word().is_none() {
                return false;
            }
        }
    }

    /// The tokens of a block whose opening is read, up to its end.
    fn block(&mut self, form: BlockForm) {
        // Brackets that are open inside this block.
        let mut open: Vec<Token> = Vec::new();
        loop {
            if !self.skip_blank() {
                return;
            }
            if let BlockForm::Angles = form
                && open.is_empty()
                && self.text[self.at..].starts_with('>')
                && self.angle_closes()
            {
                self.push(Token::AngleClose, self.at, self.at + 1);
                self.at += 1;
                return;
            }
            let Some(token) = self.word() else { return };
            match token {
                Token::LBrace | Token::LParen | Token::LBracket => open.push(token),
                Token::RParen | Token::RBracket => {
                    open.pop();
                }
                Token::RBrace => {
                    if !open.contains(&Token::LBrace) {
                        if let BlockForm::Braces = form {
                            return;
                        }
                    } else {
                        // An unclosed parenthesis inside does not swallow the end of the block.
                        while let Some(bracket) = open.pop() {
                            if bracket == Token::LBrace {
                                break;
                            }
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether the `>` here stands where a statement could begin, or at the end of the whole text.
    fn angle_closes(&self) -> bool {
        let at_statement = matches!(self.tokens.last(), Some((Token::Semi | Token::RBrace | Token::AngleOpen, _)));
        at_statement || self.text[self.at + 1..].trim().is_empty()
    }

    /// Reads one ordinary token and pushes it; None at the end of the text.
    fn word(&mut self) -> Option<Token> {
        self.qualifiers();
        if !self.skip_blank() {
            return None;
        }
        let mut words = Token::lexer(&self.text[self.at..]);
        let found = words.next()?;
        let span = words.span();
        let (start, mut end) = (self.at + span.start, self.at + span.end);
        let slice = &self.text[start..end];
        let token = match found {
            Ok(Token::QuoteStart) => {
                let (token, after) = self.string(start);
                end = after;
                token
            }
            Ok(Token::CharStart) => {
                let (token, after) = self.character(start);
                end = after;
                token
            }
            Ok(Token::NumberText) => match parse_number(slice) {
                Ok(Number::Int(value)) => Token::Int(value),
                Ok(Number::Duration(value)) => Token::Duration(value),
                Err(reason) => {
                    self.report(
                        Diagnostic::error(Code::BadNumber, Span::new(start, end), format!("`{slice}` is no number"))
                            .label(reason.label)
                            .help(reason.help),
                    );
                    Token::Int(0)
                }
            },
            Ok(token) if self.is_of_c(&token, slice) => Token::Ident(slice.to_string()),
            Ok(token) => token,
            Err(()) => {
                let c = self.text[start..].chars().next().unwrap_or('?');
                end = start + c.len_utf8();
                self.report(
                    Diagnostic::error(
                        Code::UnknownCharacter,
                        Span::new(start, end),
                        format!(
                            "`{}` is no part of the language",
                            if c.is_control() { c.escape_debug().to_string() } else { c.to_string() }
                        ),
                    )
                    .label("this character")
                    .help(match c {
                        '`' => "`kaddr(\"name\")` is the address of a variable of the kernel: `*(uint64 *)kaddr(\"jiffies\")`",
                        '#' => "comments begin with `//`; `#define` and `#if` stand at the start of a line",
                        '\\' => "a line needs no mark to go on in the next",
                        _ => "outside strings and comments a script is plain ASCII",
                    }),
                );
                Token::Error
            }
        };
        self.at = end;
        self.count(&token, start, end);
        self.push(token.clone(), start, end);
        Some(token)
    }

    /// Keeps nesting and the length of expressions within what the later stages can recurse into.
    fn count(&mut self, token: &Token, start: usize, end: usize) {
        self.run += 1;
        match token {
            Token::LBrace | Token::LParen | Token::LBracket => self.depth += 1,
            Token::RBrace | Token::RParen | Token::RBracket => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if matches!(token, Token::Semi | Token::LBrace | Token::RBrace) {
            self.run = 0;
        }
        if self.depth > MAX_NESTING || self.run > LONGEST_EXPRESSION {
            let (message, help) = if self.depth > MAX_NESTING {
                (format!("brackets nest deeper than {MAX_NESTING}"), "split the expression with a `$variable`")
            } else {
                (format!("an expression of more than {LONGEST_EXPRESSION} words"), "split it into several statements")
            };
            self.report(
                Diagnostic::error(Code::NestedTooDeep, Span::new(start, end), message).label("here").help(help),
            );
            // What follows would only repeat this.
            self.at = self.text.len();
            self.tokens.clear();
            self.depth = 0;
            self.run = 0;
        }
    }

    /// The string whose opening quote is at `start`, and the offset behind it.
    fn string(&mut self, start: usize) -> (Token, usize) {
        let bytes = self.text.as_bytes();
        let mut value = Vec::new();
        let mut at = start + 1;
        while at < bytes.len() {
            match bytes[at] {
                b'"' => return (Token::Str(value), at + 1),
                b'\n' => break,
                b'\\' => at = self.escape(at, &mut value),
                byte => {
                    value.push(byte);
                    at += 1;
                }
            }
        }
        self.report(
            Diagnostic::error(Code::UnterminatedText, Span::new(start, at), "the string has no end")
                .label("opened here")
                .help("close it with `\"` on the same line; write a line break as `\\n`"),
        );
        (Token::Str(value), at)
    }

    fn character(&mut self, start: usize) -> (Token, usize) {
        let bytes = self.text.as_bytes();
        let mut value = Vec::new();
        let mut at = start + 1;
        while at < bytes.len() && bytes[at] != b'\'' && bytes[at] != b'\n' {
            if bytes[at] == b'\\' {
                at = self.escape(at, &mut value);
            } else {
                value.push(bytes[at]);
                at += 1;
            }
        }
        let closed = bytes.get(at) == Some(&b'\'');
        let end = if closed { at + 1 } else { at };
        if !closed || value.len() != 1 {
            self.report(
                Diagnostic::error(
                    Code::UnterminatedText,
                    Span::new(start, end),
                    "single quotes hold exactly one character",
                )
                .label("here")
                .help("a string takes double quotes: \"text\""),
            );
        }
        (Token::Int(u64::from(value.first().copied().unwrap_or(0))), end)
    }

    /// The escape whose backslash is at `at`; gives the offset behind it.
    fn escape(&mut self, at: usize, value: &mut Vec<u8>) -> usize {
        let bytes = self.text.as_bytes();
        let simple = match bytes.get(at + 1) {
            Some(b'n') => Some(b'\n'),
            Some(b't') => Some(b'\t'),
            Some(b'r') => Some(b'\r'),
            Some(b'a') => Some(7),
            Some(b'e') => Some(27),
            Some(b'"') => Some(b'"'),
            Some(b'\'') => Some(b'\''),
            Some(b'\\') => Some(b'\\'),
            _ => None,
        };
        if let Some(byte) = simple {
            value.push(byte);
            return at + 2;
        }
        let digits = |from: usize, most: usize, radix: u32| {
            let mut end = from;
            while end < bytes.len() && end < from + most && (bytes[end] as char).is_digit(radix) {
                end += 1;
            }
            end
        };
        let octal_end = digits(at + 1, 3, 8);
        if octal_end > at + 1 {
            let number = u32::from_str_radix(&self.text[at + 1..octal_end], 8).unwrap_or(0);
            value.push(number as u8);
            return octal_end;
        }
        if bytes.get(at + 1) == Some(&b'x') {
            let hex_end = digits(at + 2, 2, 16);
            if hex_end > at + 2 {
                value.push(u8::from_str_radix(&self.text[at + 2..hex_end], 16).unwrap_or(0));
                return hex_end;
            }
        }
        let end = self.text[at + 1..].chars().next().map_or(at + 1, |c| at + 1 + c.len_utf8());
        if bytes.get(at + 1) != Some(&b'\n') {
            self.report(
                Diagnostic::error(
                    Code::BadEscape,
                    Span::new(at, end),
                    format!("`{}` is no escape", &self.text[at..end]),
                )
                .label("unknown escape")
                .help("escapes are \\n \\t \\r \\\" \\\\ \\' \\ooo (octal) and \\xhh; a backslash itself is `\\\\`"),
            );
            return end;
        }
        at + 1
    }
}

#[cfg(test)]
mod tests;
