//! `cargo xtask tidy`: the project's rules that no compiler checks, each a function over files in `tidy/`.
//! It must never change a file; what to do stands in the message.

mod expectations;
mod files;
mod layers;
mod rust_code;
mod rust_files;
mod unsafe_code;
mod words;

use std::fmt;

use anyhow::{Result, bail};

use files::TextFile;

use crate::workspace;

/// A broken rule: where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub path: String,
    /// Counted from 1; 0 for the file as a whole.
    pub line: usize,
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.path, self.message),
            line => write!(formatter, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// A rule over one file.
type Check = fn(&TextFile) -> Vec<Finding>;

/// Every rule over single files; rules over several files are called in `findings`.
const CHECKS: &[Check] = &[
    layers::manifest_dependencies,
    layers::source_dependencies,
    layers::entry_points,
    layers::error_types,
    rust_files::header,
    rust_files::length,
    rust_files::name,
    rust_files::unwraps,
    unsafe_code::forbidden,
    unsafe_code::declared,
    unsafe_code::justified,
    words::forbidden,
];

/// Checks the checkout and prints what is wrong.
pub fn main() -> Result<()> {
    let files = files::collect(&workspace::root())?;
    let findings = findings(&files);
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => bail!("tidy has 1 finding in {} files", files.len()),
        count => bail!("tidy has {count} findings in {} files", files.len()),
    }
}

fn findings(files: &[TextFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        for check in CHECKS {
            findings.extend(check(file));
        }
    }
    findings.extend(expectations::orphans(files));
    findings.sort();
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_as_compilers_write_them() {
        let mut finding = Finding { path: "lang/src/lib.rs".into(), line: 3, message: "no".into() };
        assert_eq!(finding.to_string(), "lang/src/lib.rs:3: no");
        finding.line = 0;
        assert_eq!(finding.to_string(), "lang/src/lib.rs: no");
    }
}
