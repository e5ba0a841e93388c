//! The words of a script with the comments and the line breaks before each. Semicolons become a mark on the word that they
//! follow, so that a comment between the two changes nothing. Prints nothing.

use crate::ast::Layout;
use crate::lexer::{Token, Trivia, lex};

use super::roles::{Role, assign};

pub struct Comment<'a> {
    pub text: &'a str,
    /// Line breaks between what stands before the comment and the comment.
    pub line_breaks: usize,
}

/// A token, a line of the preprocessor (as a `Directive`), or an attribute (as a `Layout`).
pub struct Element<'a> {
    pub token: Token,
    pub text: &'a str,
    pub start: usize,
    pub end: usize,
    /// What stands before it.
    pub comments: Vec<Comment<'a>>,
    /// Line breaks between the last comment, or the element before, and this one.
    pub line_breaks: usize,
    /// A semicolon follows.
    pub has_semicolon: bool,
    pub role: Role,
    /// Of an opening bracket the closing one, and the other way round; of all others the element itself.
    pub partner: usize,
}

pub struct Elements<'a> {
    pub list: Vec<Element<'a>>,
    /// Comments behind the last element.
    pub last: Vec<Comment<'a>>,
}

enum Piece {
    Token(Token),
    Comment,
    Semicolon,
}

/// The elements of a script without mistakes.
pub fn elements(text: &str) -> Elements<'_> {
    let lexed = lex(text);
    let mut pieces: Vec<(usize, usize, Piece)> = Vec::new();
    for (token, span) in lexed.tokens {
        let piece = if token == Token::Semi { Piece::Semicolon } else { Piece::Token(token) };
        pieces.push((span.start as usize, span.end as usize, piece));
    }
    for (trivia, span) in lexed.trivia {
        let piece = match trivia {
            Trivia::Comment => Piece::Comment,
            Trivia::Lines => Piece::Token(Token::Directive(String::new())),
            Trivia::Attribute => Piece::Token(Token::Layout(Layout::default())),
            Trivia::Semicolon => Piece::Semicolon,
        };
        pieces.push((span.start as usize, span.end as usize, piece));
    }
    pieces.sort_by_key(|(start, ..)| *start);

    let mut list: Vec<Element> = Vec::new();
    let mut comments = Vec::new();
    let (mut line_breaks, mut end_before) = (0, 0);
    for (start, end, piece) in pieces {
        let gap = &text[end_before..start];
        line_breaks = line_breaks.max(gap.matches('\n').count());
        // Lines of the preprocessor reach to the end of the line.
        let end = start + text[start..end].trim_end().len();
        end_before = end;
        let text = &text[start..end];
        match piece {
            Piece::Semicolon => {
                if let Some(last) = list.last_mut() {
                    last.has_semicolon = true;
                }
                continue;
            }
            Piece::Comment => comments.push(Comment { text, line_breaks }),
            Piece::Token(token) => list.push(Element {
                token,
                text,
                start,
                end,
                comments: std::mem::take(&mut comments),
                line_breaks,
                has_semicolon: false,
                role: Role::Plain,
                partner: list.len(),
            }),
        }
        line_breaks = 0;
    }
    assign(&mut list);
    Elements { list, last: comments }
}
