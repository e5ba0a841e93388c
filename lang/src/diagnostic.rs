//! What is wrong with a script, where, and what to do. Holds the data and the rendering; which mistakes exist is the
//! table in `diagnostic/codes.rs`.

pub mod codes;
mod render;

pub use codes::Code;
pub use render::render;

use crate::span::Span;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    Error,
    Warning,
}

/// A message with its place. The first line stands alone; the label says what is, the help says what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    pub code: Code,
    pub severity: Severity,
    pub message: String,
    pub span: Span,
    pub label: String,
    /// Further places that matter, each with what it is.
    pub others: Vec<(Span, String)>,
    pub help: Vec<String>,
    /// The fault is the machine's (a missing feature or privilege), not the script's: exit status 2.
    pub machine: bool,
}

impl Diagnostic {
    pub fn error(code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            severity: Severity::Error,
            message: message.into(),
            span,
            label: String::new(),
            others: Vec::new(),
            help: Vec::new(),
            machine: false,
        }
    }

    pub fn warning(code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, span, message) }
    }

    pub fn label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = label.into();
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help.push(help.into());
        self
    }

    pub fn other(mut self, span: Span, label: impl Into<String>) -> Diagnostic {
        self.others.push((span, label.into()));
        self
    }

    /// Marks the fault as the machine's.
    pub fn on_machine(mut self) -> Diagnostic {
        self.machine = true;
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// The candidates nearest to `word`, best first, at most three; none when nothing is near.
pub fn near_misses<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let allowed = (word.chars().count() / 3).max(1);
    let lower = word.to_lowercase();
    let mut found: Vec<(usize, &str)> = candidates
        .into_iter()
        .filter_map(|candidate| {
            let distance = edit_distance(&lower, &candidate.to_lowercase(), allowed)?;
            Some((distance, candidate))
        })
        .collect();
    found.sort();
    found.dedup();
    found.truncate(3);
    found.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Insertions, deletions, replacements and swaps of neighbours between two words; None above `most`.
pub fn edit_distance(a: &str, b: &str, most: usize) -> Option<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > most {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    let distance = above[b.len()];
    (distance <= most).then_some(distance)
}

/// "did you mean `a`, `b` or `c`?", or None without candidates.
pub fn did_you_mean(names: &[&str]) -> Option<String> {
    let (last, rest) = names.split_last()?;
    if rest.is_empty() {
        return Some(format!("did you mean `{last}`?"));
    }
    let rest: Vec<String> = rest.iter().map(|name| format!("`{name}`")).collect();
    Some(format!("did you mean {} or `{last}`?", rest.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_ordered() {
        assert_eq!(near_misses("cuont", ["count", "hist", "counts"]), ["count"]);
        assert_eq!(near_misses("nsec", ["nsecs", "sec", "x"]), ["nsecs", "sec"]);
        assert!(near_misses("zzz", ["count"]).is_empty());
    }

    #[test]
    fn distance_counts_swaps_as_one() {
        assert_eq!(edit_distance("ab", "ba", 3), Some(1));
        assert_eq!(edit_distance("kitten", "sitting", 3), Some(3));
        assert_eq!(edit_distance("kitten", "sitting", 2), None);
    }
}
