//! The checkout's text files, as the rules see them: a path relative to the root, and the text.
//! Build output, version control and files that are no text are left out; nothing is ever cached.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Finding;

/// A file of the checkout.
#[derive(Debug, Clone)]
pub struct TextFile {
    /// Relative to the root, with `/`.
    pub path: String,
    pub text: String,
}

impl TextFile {
    #[cfg(test)]
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_string(), text: text.to_string() }
    }

    /// The package's directory: the first part of the path.
    pub fn package(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    /// The last part of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether all of the file is for tests.
    pub fn is_test(&self) -> bool {
        let directories = ["tests", "benches", "fuzz"];
        self.path.split('/').any(|part| directories.contains(&part)) || self.name() == "tests.rs"
    }

    /// The lines of the `//!` comment at the top.
    pub fn header(&self) -> impl Iterator<Item = &str> {
        self.text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim)
    }

    /// A finding in this file; lines count from 1.
    pub fn finding(&self, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, message: message.into() }
    }
}

/// Directories that hold nothing written by people.
const SKIPPED: &[&str] = &[".git", ".cache", "target"];

/// Larger files are data.
const LARGEST_TEXT_BYTES: u64 = 1 << 20;

/// All text files below the root, in order.
pub fn collect(root: &Path) -> Result<Vec<TextFile>> {
    let mut files = Vec::new();
    collect_directory(root, "", &mut files)?;
    files.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(files)
}

fn collect_directory(directory: &Path, prefix: &str, files: &mut Vec<TextFile>) -> Result<()> {
    let context = || format!("cannot read {}", directory.display());
    for entry in fs::read_dir(directory).with_context(context)? {
        let entry = entry.with_context(context)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().with_context(context)?;
        if SKIPPED.contains(&name.as_str()) || kind.is_symlink() {
            continue;
        }
        let path = format!("{prefix}{name}");
        if kind.is_dir() {
            collect_directory(&entry.path(), &format!("{path}/"), files)?;
        } else if entry.metadata().with_context(context)?.len() <= LARGEST_TEXT_BYTES
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            files.push(TextFile { path, text });
        }
    }
    Ok(())
}
