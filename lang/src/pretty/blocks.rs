//! Blocks and what is in them: statements, members of structs, settings, enumerators. Decides what stays on one line.

use super::elements::Element;
use super::printer::Printer;
use super::roles::Role;
use super::spacing::Gap;
use crate::lexer::Token;

/// What stands between two braces.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Statements,
    Members,
    Settings,
    Enumerators,
}

/// One statement, member, setting or enumerator: the elements from `start` to before `end`.
struct Entry {
    start: usize,
    end: usize,
    /// `if`, a loop, a block: ends with its brace.
    is_compound: bool,
    has_semicolon: bool,
}

/// Most entries of a block on one line.
const MOST_ON_A_LINE: usize = 2;

impl Printer<'_> {
    /// A statement that ends with a block, or a block alone, from its first word on; gives the index behind it.
    pub fn compound(&mut self, start: usize) -> usize {
        let base = self.level;
        let end = self.compound_end(start);
        let open = self.brace(start);
        if open > start {
            self.write(start);
            self.run(start + 1, open, base, true);
            self.inline(open, Gap::Space, false, base, base);
        }
        self.blocks(open, end, base, Body::Statements);
        end
    }

    /// The members of a struct or union in a struct; gives the index behind them.
    pub fn members(&mut self, open: usize) -> usize {
        let end = self.partner(open) + 1;
        self.blocks(open, end, self.level, Body::Members);
        end
    }

    /// Blocks with `else` or `catch` between them, from the first brace to before `end`.
    pub fn blocks(&mut self, open: usize, end: usize, base: usize, body: Body) {
        let behind = usize::from(self.elements[end - 1].has_semicolon);
        let is_short = self.stood_together(open, end - 1) && self.are_short(open, end, body);
        if !(is_short && self.attempt(|printer| printer.chain(open, end, base, body), behind)) {
            self.chain(open, end, base, body);
        }
    }

    fn chain(&mut self, mut open: usize, end: usize, base: usize, body: Body) {
        loop {
            self.body(open, base, body);
            let mut at = self.partner(open) + 1;
            if at >= end {
                return;
            }
            self.inline(at, Gap::Space, false, base, base);
            self.write(at);
            at += 1;
            open = self.brace(at);
            if open > at {
                self.inline(at, Gap::Space, false, base, base);
                self.write(at);
                self.run(at + 1, open, base, true);
            }
            self.inline(open, Gap::Space, false, base, base);
        }
    }

    /// One block with its braces.
    fn body(&mut self, open: usize, base: usize, body: Body) {
        let close = self.partner(open);
        let entries = self.entries(open, body);
        self.write(open);
        if entries.is_empty() && self.elements[close].comments.is_empty() {
            self.out.push(' ');
            self.write(close);
            return;
        }
        for (n, entry) in entries.iter().enumerate() {
            if self.is_flat {
                self.inline(entry.start, Gap::Space, false, base, base);
            } else {
                self.lines(entry.start, base + 1, base + 1, n == 0);
            }
            self.entry(entry);
        }
        if self.is_flat {
            self.inline(close, Gap::Space, false, base, base);
        } else {
            self.lines(close, base + 1, base, entries.is_empty());
        }
        self.write(close);
    }

    fn entry(&mut self, entry: &Entry) {
        if entry.is_compound {
            self.compound(entry.start);
        } else {
            self.run(entry.start, entry.end, self.level, false);
            if entry.has_semicolon {
                self.out.push(';');
            }
        }
    }

    fn entries(&self, open: usize, body: Body) -> Vec<Entry> {
        let close = self.partner(open);
        let mut entries = Vec::new();
        let mut start = open + 1;
        while start < close {
            let is_compound = body == Body::Statements && begins_compound(&self.elements[start]);
            let end = match body {
                Body::Statements if is_compound => self.compound_end(start),
                Body::Statements | Body::Members | Body::Settings => {
                    self.end_of(start, close, |element| element.has_semicolon)
                }
                Body::Enumerators => self.end_of(start, close, |element| element.token == Token::Comma),
            };
            let has_semicolon = match body {
                Body::Statements => self.elements[end - 1].has_semicolon || self.is_action(start, end),
                Body::Members | Body::Settings => true,
                Body::Enumerators => false,
            };
            entries.push(Entry { start, end, is_compound, has_semicolon });
            start = end;
        }
        entries
    }

    /// The index behind the first element, outside of inner brackets, that ends something; at most `limit`.
    pub fn end_of(&self, start: usize, limit: usize, ends: impl Fn(&Element) -> bool) -> usize {
        let mut at = start;
        while at < limit {
            at = self.partner(at).max(at);
            at += 1;
            if ends(&self.elements[at - 1]) {
                break;
            }
        }
        at
    }

    /// True for a statement that is no expression: a semicolon behind it never changes the value of its block.
    fn is_action(&self, start: usize, end: usize) -> bool {
        let first = &self.elements[start].token;
        if matches!(first, Token::Let | Token::Break | Token::Continue | Token::Return | Token::Import) {
            return true;
        }
        let is_assignment = |element: &Element| element.token.is_assignment();
        let found = self.end_of(start, end, is_assignment);
        is_assignment(&self.elements[found - 1])
    }

    /// The first opening brace from `from` on, outside of other brackets.
    pub fn brace(&self, from: usize) -> usize {
        let mut at = from;
        while at < self.elements.len() && self.elements[at].token != Token::LBrace {
            at = self.partner(at).max(at) + 1;
        }
        at
    }

    /// Behind the last block of a statement that ends with one.
    fn compound_end(&self, start: usize) -> usize {
        let mut end = self.partner(self.brace(start)) + 1;
        while matches!(self.token(end), Some(Token::Else | Token::Catch)) && !self.elements[end - 1].has_semicolon {
            end = self.partner(self.brace(end)) + 1;
        }
        end
    }

    /// True if all blocks from the brace `open` to before `end` may stand on one line.
    fn are_short(&self, open: usize, end: usize, body: Body) -> bool {
        let most = if body == Body::Enumerators { usize::MAX } else { MOST_ON_A_LINE };
        let mut open = open;
        while open < end {
            let close = self.partner(open);
            let has_block = self.elements[open + 1..close].iter().any(|element| element.token == Token::LBrace);
            if has_block || self.entries(open, body).len() > most {
                return false;
            }
            open = self.brace(close + 1);
        }
        true
    }
}

fn begins_compound(element: &Element) -> bool {
    let is_word =
        matches!(element.token, Token::If | Token::While | Token::For | Token::Unroll | Token::Try | Token::LBrace);
    is_word && !matches!(element.role, Role::Members | Role::Enumerators)
}
