//! The items of a script: clauses, definitions, settings, imports, lines of the preprocessor.

use super::WIDTH;
use super::blocks::Body;
use super::printer::Printer;
use super::spacing::Gap;
use crate::lexer::Token;

impl Printer<'_> {
    pub fn script(&mut self) {
        let mut at = 0;
        while at < self.elements.len() {
            self.lines(at, 0, 0, false);
            at = self.item(at);
        }
        self.lines(at, 0, 0, false);
    }

    /// Writes an item; gives the index behind it.
    fn item(&mut self, at: usize) -> usize {
        let all = self.elements.len();
        match &self.elements[at].token {
            Token::Probe(_) => self.clause(at),
            Token::Import | Token::Let | Token::Typedef => {
                let end = self.end_of(at, all, |element| element.has_semicolon);
                self.run(at, end, 0, false);
                self.out.push(';');
                end
            }
            Token::Struct | Token::Union => self.definition(at, Body::Members),
            Token::Enum => self.definition(at, Body::Enumerators),
            Token::Config => self.definition(at, Body::Settings),
            Token::Fn | Token::Macro => self.definition(at, Body::Statements),
            _ => {
                // Only the first line of a script begins a script with `#!`.
                if self.out.is_empty() && self.elements[at].start > 0 && self.elements[at].text.starts_with("#!") {
                    self.out.push('\n');
                }
                self.write(at);
                self.is_continued = self.elements[at].text.ends_with('\\');
                at + 1
            }
        }
    }

    /// A head and a block, and the attributes behind it.
    fn definition(&mut self, start: usize, body: Body) -> usize {
        let open = self.brace(start);
        self.run(start, open, 0, false);
        self.inline(open, Gap::Space, false, 0, 0);
        let mut end = self.partner(open) + 1;
        self.blocks(open, end, 0, body);
        let behind = end;
        while matches!(self.token(end), Some(Token::Layout(_))) {
            end += 1;
        }
        self.run(behind, end, 0, true);
        // C's habit: it means nothing here.
        if matches!(body, Body::Members | Body::Enumerators) && self.elements[end - 1].has_semicolon {
            self.out.push(';');
        }
        end
    }

    fn clause(&mut self, start: usize) -> usize {
        let mut at = start;
        while matches!(self.token(at), Some(Token::Probe(_) | Token::Comma)) {
            at += 1;
        }
        self.probes(start, at);
        if self.token(at) == Some(&Token::PredicateOpen) {
            self.inline(at, Gap::Space, false, 0, 0);
            let end = self.partner(at) + 1;
            self.run(at, end, 0, false);
            at = end;
        }
        self.inline(at, Gap::Space, false, 0, 0);
        let end = self.partner(at) + 1;
        self.blocks(at, end, 0, Body::Statements);
        end
    }

    /// The probes of a clause: on one line, or each on its own where they stood on several lines or are too long.
    fn probes(&mut self, from: usize, to: usize) {
        let list = &self.elements[from..to];
        let last = list.iter().rposition(|element| element.token != Token::Comma).unwrap_or(0);
        let width: usize = list.iter().map(|element| element.text.chars().count() + 1).sum();
        let is_one_line = self.stood_together(from, from + last) && width <= WIDTH;
        for at in from..to {
            if at > from {
                let gap = match self.token(at) {
                    Some(Token::Comma) => Gap::Nothing,
                    _ if is_one_line => Gap::Space,
                    _ => Gap::Break,
                };
                self.inline(at, gap, false, 0, 0);
            }
            self.write(at);
        }
    }
}
