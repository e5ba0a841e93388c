//! Compares a text with the expected one, or with UPDATE_EXPECT=1 rewrites the expected one. Compares exactly, and says
//! where the texts part.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::case::{Case, Expected};

/// True where expected texts are to be rewritten.
pub fn is_update() -> bool {
    std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value != "0" && !value.is_empty())
}

/// Fails with the difference if the text is not the expected one.
pub fn compare(case: &Case, kind: Expected, actual: &str) -> Result<()> {
    let path = case.expected_path(kind);
    let expected = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if expected == actual {
        return Ok(());
    }
    if is_update() {
        return fs::write(&path, actual).with_context(|| format!("cannot write {}", path.display()));
    }
    bail!(
        "{}.{} differs (UPDATE_EXPECT=1 rewrites it):\n{}",
        case.name,
        kind.extension(),
        difference(&expected, actual)
    )
}

/// Lines that are only expected with `-`, lines that only came with `+`, others with a space.
pub fn difference(expected: &str, actual: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (lines(expected), lines(actual));
    // The longest common subsequence, from the end: texts here are a few hundred lines at most.
    let mut longest = vec![vec![0u32; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i][j] =
                if a[i] == b[j] { longest[i + 1][j + 1] + 1 } else { longest[i + 1][j].max(longest[i][j + 1]) };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut out = String::new();
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            out.push_str(&format!(" {}\n", a[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < a.len() && (j == b.len() || longest[i + 1][j] >= longest[i][j + 1]) {
            out.push_str(&format!("-{}\n", a[i]));
            i += 1;
        } else {
            out.push_str(&format!("+{}\n", b[j]));
            j += 1;
        }
    }
    out
}

/// Lines; a missing line break at the end shows.
fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.split('\n').collect();
    match lines.last() {
        Some(&"") => {
            lines.pop();
        }
        _ => lines.push("(no line break at the end)"),
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_show_both_sides() {
        assert_eq!(difference("a\nb\nc\n", "a\nx\nc\n"), " a\n-b\n+x\n c\n");
        assert_eq!(difference("a\n", "a"), " a\n+(no line break at the end)\n");
        assert_eq!(difference("", "a\n"), "+a\n");
    }
}
