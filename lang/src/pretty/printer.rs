//! The text as it grows: words, comments, line breaks and indentation. Knows no construct of the language but brackets.

use super::WIDTH;
use super::blocks::Body;
use super::elements::{Comment, Element, Elements};
use super::roles::{Role, closes, opens};
use super::spacing::{Gap, gap, may_break};
use crate::lexer::Token;

/// Spaces of one level.
const INDENT: usize = 4;

pub struct Printer<'a> {
    text: &'a str,
    pub elements: Vec<Element<'a>>,
    last: Vec<Comment<'a>>,
    pub out: String,
    /// The indentation of the line that is being written.
    pub level: usize,
    /// Everything goes on one line, as long as it may become.
    pub is_flat: bool,
    /// What was written last is a preprocessor line that ends in a backslash: an empty line must follow.
    pub is_continued: bool,
}

impl<'a> Printer<'a> {
    pub fn new(text: &'a str, elements: Elements<'a>) -> Printer<'a> {
        Printer {
            text,
            elements: elements.list,
            last: elements.last,
            out: String::new(),
            level: 0,
            is_flat: false,
            is_continued: false,
        }
    }

    pub fn finish(mut self) -> String {
        let end = self.out.trim_end().len();
        self.out.truncate(end);
        if end > 0 {
            self.out.push('\n');
        }
        self.out
    }

    pub fn token(&self, at: usize) -> Option<&Token> {
        self.elements.get(at).map(|element| &element.token)
    }

    pub fn partner(&self, at: usize) -> usize {
        self.elements[at].partner
    }

    pub fn write(&mut self, at: usize) {
        self.out.push_str(self.elements[at].text);
    }

    /// Whether both elements stood on the same line.
    pub fn stood_together(&self, first: usize, last: usize) -> bool {
        !self.text[self.elements[first].start..self.elements[last].end].contains('\n')
    }

    /// Characters of the line so far.
    pub fn column(&self) -> usize {
        self.out.rsplit('\n').next().map_or(0, |line| line.chars().count())
    }

    /// Tries to write something on one line; undoes it where it does not fit.
    pub fn attempt(&mut self, write: impl FnOnce(&mut Self), behind: usize) -> bool {
        let (start, level, was_flat) = (self.out.len(), self.level, self.is_flat);
        self.is_flat = true;
        write(self);
        self.is_flat = was_flat;
        let fits = !self.out[start..].contains('\n') && self.column() + behind <= WIDTH;
        if !fits {
            self.out.truncate(start);
            self.level = level;
        }
        fits
    }

    fn break_line(&mut self, level: usize, is_blank: bool) {
        let is_blank = is_blank || self.is_continued;
        self.is_continued = false;
        self.out.push_str(if is_blank { "\n\n" } else { "\n" });
        self.out.extend(std::iter::repeat_n(' ', level * INDENT));
        self.level = level;
    }

    /// A comment that begins its line may have a column of stars, which follows it.
    fn comment(&mut self, text: &str, begins_line: bool) {
        let mut lines = text.split('\n');
        self.out.push_str(lines.next().unwrap_or(""));
        let rest: Vec<&str> = lines.collect();
        let has_stars = begins_line && rest.iter().all(|line| line.trim_start().starts_with('*'));
        for line in rest {
            self.out.push('\n');
            if has_stars {
                self.out.extend(std::iter::repeat_n(' ', self.level * INDENT + 1));
                self.out.push_str(line.trim());
            } else {
                self.out.push_str(line);
            }
        }
    }

    /// The gap before an element that begins a line, with its comments. Behind the last element it stands for the end.
    /// No empty line stands behind an opening brace and before a closing one.
    pub fn lines(&mut self, at: usize, comment_level: usize, level: usize, after_brace: bool) {
        let (comments, line_breaks) = match self.elements.get_mut(at) {
            Some(element) => (std::mem::take(&mut element.comments), element.line_breaks),
            None => (std::mem::take(&mut self.last), 0),
        };
        let before_brace = self.token(at).is_some_and(closes);
        // Nothing of another line stands in this one.
        let mut is_fresh = self.out.is_empty();
        let mut must_break = before_brace;
        for (n, comment) in comments.iter().enumerate() {
            let begins_line = self.out.is_empty() || comment.line_breaks > 0 || n > 0 && is_line(&comments[n - 1]);
            if begins_line && !self.out.is_empty() {
                self.break_line(comment_level, comment.line_breaks > 1 && !(n == 0 && after_brace));
                is_fresh = true;
            } else if !begins_line {
                self.out.push(' ');
            }
            self.comment(comment.text, begins_line);
            must_break = before_brace || is_line(comment);
        }
        let Some(element) = self.elements.get_mut(at) else { return };
        let follows_brace = comments.is_empty() && after_brace;
        element.comments = comments;
        if self.out.is_empty() {
            return;
        }
        if line_breaks > 0 || must_break || !is_fresh {
            self.break_line(level, line_breaks > 1 && !before_brace && !follows_brace);
        } else {
            self.out.push(' ');
        }
    }

    /// The gap before an element that goes on in the line, with its comments. A line break of the user's stays where
    /// `keeps_break`.
    pub fn inline(&mut self, at: usize, gap: Gap, keeps_break: bool, comment_level: usize, level: usize) {
        let comments = std::mem::take(&mut self.elements[at].comments);
        let line_breaks = self.elements[at].line_breaks;
        let (mut must_break, mut begins_line) = (false, false);
        for comment in &comments {
            begins_line = comment.line_breaks > 0 || must_break;
            if begins_line {
                self.break_line(comment_level, false);
            } else if !self.out.ends_with(['(', '[']) {
                self.out.push(' ');
            }
            self.comment(comment.text, begins_line);
            must_break = is_line(comment);
        }
        let stays = line_breaks > 0 && (keeps_break || begins_line);
        let is_closed = matches!(self.elements[at].token, Token::RParen | Token::RBracket | Token::Comma);
        if must_break || stays || gap == Gap::Break {
            self.break_line(level, false);
        } else if comments.is_empty() && gap == Gap::Space || !comments.is_empty() && !is_closed {
            self.out.push(' ');
        }
        self.elements[at].comments = comments;
    }

    /// The words from `from` to before `to`: an expression, a type, a head. `base` is the level of the construct, line
    /// breaks go one deeper; `has_gap` if the gap before the first is to be written too.
    pub fn run(&mut self, from: usize, to: usize, base: usize, has_gap: bool) {
        // The level of the line in which each open bracket stands.
        let mut open: Vec<usize> = Vec::new();
        let mut at = from;
        while at < to {
            if at > from || has_gap {
                let inner = open.last().map_or(base, |level| *level) + 1;
                let is_end = closes(&self.elements[at].token) && !open.is_empty();
                let level = if is_end { inner - 1 } else { inner };
                let (gap, keeps_break) = self.between(at, !open.is_empty());
                self.inline(at, gap, keeps_break, inner, level);
            }
            let is_block = self.elements[at].token == Token::LBrace;
            if is_block && self.elements[at].role == Role::Members {
                at = self.members(at);
                continue;
            }
            if is_block && self.elements[at].role == Role::Enumerators {
                let end = self.partner(at) + 1;
                self.blocks(at, end, self.level, Body::Enumerators);
                at = end;
                continue;
            }
            if is_block || self.elements[at].token == Token::If {
                at = self.compound(at);
                continue;
            }
            if opens(&self.elements[at].token) {
                open.push(self.level);
            } else if closes(&self.elements[at].token) {
                open.pop();
            }
            self.write(at);
            at += 1;
        }
    }

    /// The gap before an element in a run, and whether a line break in it stays.
    fn between(&self, at: usize, in_brackets: bool) -> (Gap, bool) {
        let (left, right) = (&self.elements[at - 1], &self.elements[at]);
        let keeps_break = may_break(left, right);
        let is_part = left.token == Token::Comma && in_brackets && !closes(&right.token);
        let is_list = is_part && !self.is_flat && right.comments.is_empty();
        if is_list && right.line_breaks == 0 && self.column() + 1 + self.part_width(at) > WIDTH {
            return (Gap::Break, keeps_break);
        }
        (gap(left, right), keeps_break)
    }

    /// The width of a part of a list with the comma or the brackets behind it, or up to the first line break in it.
    fn part_width(&self, from: usize) -> usize {
        let mut width = self.elements[from].text.chars().count();
        let mut depth = usize::from(opens(&self.elements[from].token));
        let mut has_ended = false;
        for pair in self.elements[from..].windows(2) {
            let (left, right) = (&pair[0], &pair[1]);
            let is_break = right.line_breaks > 0 && may_break(left, right) || !right.comments.is_empty();
            if left.has_semicolon {
                return width + 1;
            }
            has_ended |= depth == 0 && (right.token == Token::Comma || closes(&right.token));
            if is_break || has_ended && !closes(&right.token) && right.token != Token::Comma {
                break;
            }
            width += right.text.chars().count() + usize::from(gap(left, right) == Gap::Space);
            if right.token == Token::LBrace || has_ended && right.token == Token::Comma {
                break;
            }
            if opens(&right.token) {
                depth += 1;
            } else if closes(&right.token) && !has_ended {
                depth -= 1;
            }
        }
        width
    }
}

/// A comment that reaches to the end of its line.
fn is_line(comment: &Comment) -> bool {
    comment.text.starts_with("//")
}
