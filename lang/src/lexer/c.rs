//! What headers of C have beside types: functions, variables, attributes and qualifiers. Passes over what a script has no use
//! for.

use super::number::{Number, parse_number};
use super::shape::TYPE_WORDS;
use super::{Lexer, Token, Trivia};
use crate::ast::Layout;
use crate::span::Span;

/// What says of a type of C how it may be used, and nothing of its shape; and what the kernel's headers mark its pointers with.
const QUALIFIERS: &[&str] = &[
    "const",
    "volatile",
    "restrict",
    "__const",
    "__volatile__",
    "__restrict",
    "__restrict__",
    "__extension__",
    "__user",
    "__kernel",
    "__iomem",
    "__percpu",
    "__rcu",
    "__bitwise",
    "__force",
];

/// Words of C that a definition of types may have and the language has, too.
const WORDS: &[&str] = &["struct", "union", "enum", "typedef", "sizeof", "typeof"];

impl Lexer<'_> {
    /// Whether a word of the language is a name here: of a field, or in a definition of C's, which has words of its own.
    pub(super) fn is_of_c(&self, token: &Token, word: &str) -> bool {
        let is_word = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let before = self.tokens.last().map(|(token, _)| token);
        let is_field = matches!(before, Some(Token::Dot | Token::Arrow));
        // The kernel has enumerators of these names.
        let is_value =
            matches!(token, Token::True | Token::False) && !matches!(before, Some(Token::LBrace | Token::Comma));
        let is_name = self.defines_c && !WORDS.contains(&word) && !is_value;
        is_word && !matches!(token, Token::Ident(_)) && (is_field || is_name)
    }

    /// A function or a variable of C's, of which a script has no use: passed over up to its end.
    pub(super) fn declaration(&mut self) {
        let (start, tokens) = (self.at, self.tokens.len());
        let mut depth = 0usize;
        while let Some(token) = self.word() {
            match token {
                Token::LBrace => depth += 1,
                Token::RBrace => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && matches!(token, Token::RBrace | Token::Semi) {
                break;
            }
        }
        let rest = self.text[self.at..].trim_start();
        if rest.starts_with(';') {
            self.at = self.text.len() - rest.len() + 1;
        }
        self.tokens.truncate(tokens);
        self.trivia.retain(|(_, span)| (span.start as usize) < start);
        self.trivia.push((Trivia::Lines, Span::new(start, self.at)));
    }

    /// C's attributes: of all of them only `packed` and `aligned` change what a struct looks like.
    pub(super) fn attributes(&mut self) {
        while self.skip_blank() {
            let start = self.at;
            match first_word(&self.text[start..]) {
                "__attribute__" | "__aligned" => {}
                // The kernel's word for the attribute.
                word @ "__packed" => {
                    self.at += word.len();
                    self.push(Token::Layout(Layout { is_packed: true, aligned: 0 }), start, self.at);
                    continue;
                }
                _ => return,
            }
            let mut depth = 0usize;
            let open = self.text[start..].find('(').map_or(self.text.len(), |n| start + n);
            let closed = self.text[open..].char_indices().find_map(|(offset, c)| {
                match c {
                    '(' => depth += 1,
                    ')' => depth -= 1,
                    _ => {}
                }
                (depth == 0).then_some(open + offset + 1)
            });
            self.at = closed.unwrap_or(self.text.len());
            match layout(&self.text[start..self.at]) {
                Some(layout) => self.push(Token::Layout(layout), start, self.at),
                None => self.trivia.push((Trivia::Attribute, Span::new(start, self.at))),
            }
        }
    }

    /// What a script's type says behind a name of C's, or a star, of how it may be used: `(struct file const *)`.
    pub(super) fn qualifiers(&mut self) {
        use Token::{Enum, Ident, Star, Struct, Union};
        let is_within_type = matches!(&*self.tokens, [.., (Star, _)] | [.., (Struct | Union | Enum, _), (Ident(_), _)]);
        while is_within_type && self.skip_blank() {
            let (start, word) = (self.at, first_word(&self.text[self.at..]));
            if !matches!(word, "const" | "volatile") {
                return;
            }
            self.at += word.len();
            self.trivia.push((Trivia::Attribute, Span::new(start, self.at)));
        }
    }

    /// Attributes, and qualifiers among them: of what C defines.
    pub(super) fn attributes_and_qualifiers(&mut self) {
        loop {
            self.attributes();
            let word = first_word(&self.text[self.at..]);
            if !QUALIFIERS.contains(&word) {
                return;
            }
            let start = self.at;
            self.at += word.len();
            self.trivia.push((Trivia::Attribute, Span::new(start, self.at)));
        }
    }
}

/// The word that a text begins with.
fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// Whether an item of C begins here that defines no type: a function, its prototype, a variable, or a struct that is only named.
pub fn is_declaration(text: &str) -> bool {
    let head = text.split(['{', ';', '(', '=', ':', '/', '<', ',', '"', '@']).next().unwrap_or("");
    let words: Vec<&str> =
        head.split(|c: char| c.is_whitespace() || c == '*').filter(|word| !word.is_empty()).collect();
    let behind = text[head.len()..].chars().next();
    match words[..] {
        ["static" | "extern" | "inline" | "__inline" | "__inline__", _, ..] => behind != Some(':'),
        ["struct" | "union" | "enum", _] => behind == Some(';'),
        ["struct" | "union", _, _, ..] => behind == Some('(') && !head.contains("__attribute__"),
        ["fn" | "macro" | "let" | "import" | "config" | "enum" | "typedef", ..] => false,
        // A probe is one word.
        [first, _, ..] => behind == Some('(') && (TYPE_WORDS.contains(&first) || first.ends_with("_t")),
        _ => false,
    }
}

/// What an attribute says of the place of a member, if it does.
pub fn layout(attribute: &str) -> Option<Layout> {
    let aligned = attribute.split_once("aligned").map(|(_, rest)| {
        let digits = rest.trim_start_matches('_').trim_start().trim_start_matches('(').trim_start();
        let end = digits.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(digits.len());
        match parse_number(&digits[..end]) {
            Ok(Number::Int(bytes)) if bytes.is_power_of_two() && bytes <= 1 << 20 => bytes as u32,
            // As much as any type needs.
            _ => 16,
        }
    });
    let layout = Layout { is_packed: attribute.contains("packed"), aligned: aligned.unwrap_or(0) };
    (layout != Layout::default()).then_some(layout)
}
