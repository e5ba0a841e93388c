//! Blocks between lines of three backquotes in a document. Knows nothing of what they hold.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

const FENCE: &str = "```";

/// A block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fence {
    /// What stands behind the first backquotes.
    pub info: String,
    /// Of the first backquotes, counted from 1.
    pub line: usize,
    pub text: String,
    /// Nothing but empty lines stands between it and the block before it.
    pub follows: bool,
}

impl Fence {
    /// As it stands in the document.
    fn written(&self) -> String {
        format!("{FENCE}{}\n{}{FENCE}\n", self.info, self.text)
    }
}

pub fn fences(text: &str) -> Result<Vec<Fence>> {
    let mut fences = Vec::new();
    let mut follows = false;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(info) = line.strip_prefix(FENCE) else {
            follows &= line.is_empty();
            continue;
        };
        let mut fence = Fence { info: info.trim().to_string(), line: number + 1, text: String::new(), follows };
        loop {
            match lines.next() {
                Some((_, FENCE)) => break,
                Some((_, line)) => fence.text.extend([line, "\n"]),
                None => bail!("the block of line {} has no end", fence.line),
            }
        }
        fences.push(fence);
        follows = true;
    }
    Ok(fences)
}

/// Writes another text into the block that follows the other one.
pub fn rewrite(document: &Path, before: &Fence, block: &Fence, text: &str) -> Result<()> {
    // Tests of one document run side by side.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let old = fs::read_to_string(document)?;
    let lost = || format!("{} has changed under the tests", document.display());
    let start = old.find(&before.written()).with_context(lost)?;
    let at = start + old[start..].find(&block.written()).with_context(lost)?;
    let new = Fence { text: text.to_string(), ..block.clone() };
    let behind = &old[at + block.written().len()..];
    fs::write(document, format!("{}{}{behind}", &old[..at], new.written()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_a_document() {
        let found = fences("a\n```text\n1\n\n2\n```\n\n```\n```\nb\n```x y\n```\n").expect("well formed");
        let parts: Vec<_> = found.iter().map(|f| (f.info.as_str(), f.line, f.text.as_str(), f.follows)).collect();
        assert_eq!(parts, [("text", 2, "1\n\n2\n", false), ("", 8, "", true), ("x y", 11, "", false)]);
        assert!(fences("```text\n1\n").is_err());
    }
}
