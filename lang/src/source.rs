//! The text of a script with what it imports behind it, as one text in which spans count. Knows which file a place is in.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::span::Span;

/// A script's text, file by file; the script itself is the first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    text: String,
    files: Vec<File>,
    below: PathBuf,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct File {
    name: String,
    range: Range<usize>,
    /// Where each line begins, in the whole text.
    lines: Vec<usize>,
}

/// Where a place of the script is. Lines and columns count from one, columns in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Located<'a> {
    pub file: &'a str,
    pub line: u32,
    pub column: u32,
    /// The first line of what the span holds.
    pub text: &'a str,
    /// The whole line in which the span begins.
    pub whole_line: &'a str,
}

impl Default for Source {
    fn default() -> Source {
        Source::new("", "")
    }
}

impl Source {
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Source {
        let mut source = Source { text: text.into(), files: Vec::new(), below: PathBuf::new() };
        source.add(name.into(), 0);
        source
    }

    /// The same script, if its name starts in that directory and not where rtrace runs.
    pub fn found_below(mut self, directory: &Path) -> Source {
        self.below = directory.to_path_buf();
        self
    }

    /// The directory in which the names of files start.
    pub fn below(&self) -> &Path {
        &self.below
    }

    /// Everything from `start` on is a file.
    fn add(&mut self, name: String, start: usize) {
        let newlines = self.text[start..].bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(start).chain(newlines.map(|(at, _)| start + at + 1)).collect();
        self.files.push(File { name, range: start..self.text.len(), lines });
    }

    /// The name of the script itself.
    pub fn name(&self) -> &str {
        &self.files[0].name
    }

    /// The text of the script itself.
    pub fn main_text(&self) -> &str {
        &self.text[self.files[0].range.clone()]
    }

    /// Appends an imported file; gives where its text begins.
    pub fn import(&mut self, name: impl Into<String>, text: &str) -> usize {
        self.text.push('\n');
        let start = self.text.len();
        self.text.push_str(text);
        self.add(name.into(), start);
        start
    }

    /// Name, beginning and text of each file.
    pub fn files(&self) -> impl Iterator<Item = (&str, usize, &str)> {
        self.files.iter().map(|file| (file.name.as_str(), file.range.start, &self.text[file.range.clone()]))
    }

    /// Which of `files` holds the place.
    pub fn file_of(&self, offset: u32) -> usize {
        self.files.partition_point(|file| file.range.start <= offset as usize).saturating_sub(1)
    }

    /// What the span holds.
    pub fn text_of(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or("")
    }

    pub fn locate(&self, span: Span) -> Located<'_> {
        let file = &self.files[self.file_of(span.start)];
        let mut at = (span.start as usize).clamp(file.range.start, file.range.end);
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let line = file.lines.partition_point(|start| *start <= at);
        let start = file.lines[line - 1];
        Located {
            file: &file.name,
            line: line as u32,
            column: self.text[start..at].chars().count() as u32 + 1,
            text: self.text.get(span.range()).unwrap_or("").lines().next().unwrap_or(""),
            whole_line: self.text[start..file.range.end].lines().next().unwrap_or(""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_in_their_files() {
        let mut source = Source::new("a", "one\ntwo");
        let start = source.import("b", "three\nfour five");
        assert_eq!(source.main_text(), "one\ntwo");
        let two = source.locate(Span::new(4, 7));
        assert_eq!((two.file, two.line, two.column, two.text), ("a", 2, 1, "two"));
        let five = source.locate(Span::new(start + 11, start + 15));
        assert_eq!((five.file, five.line, five.column, five.text), ("b", 2, 6, "five"));
        assert_eq!(five.whole_line, "four five");
        // The end of the first file is still in it.
        assert_eq!(source.locate(Span::new(7, 7)).file, "a");
    }
}
