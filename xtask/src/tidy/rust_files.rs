//! How a Rust file looks as a whole: its header, length and name, and `unwrap` outside tests.
//! Formatting is rustfmt's and lints are clippy's; no rule here repeats one of theirs.

use super::Finding;
use super::files::TextFile;
use super::rust_code::{code_lines, test_lines};

const LONGEST_FILE_LINES: usize = 700;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"];

/// Every file opens with what it holds and what it must never do.
pub fn header(file: &TextFile) -> Vec<Finding> {
    let opening = file.header().next().unwrap_or_default();
    if !file.is_rust() || !opening.is_empty() {
        return Vec::new();
    }
    vec![file.finding(1, "the file must open with `//!`: say what it holds and what it must never do")]
}

/// A long file is split, or says why it is long.
pub fn length(file: &TextFile) -> Vec<Finding> {
    let count = file.text.lines().count();
    if !file.is_rust() || count <= LONGEST_FILE_LINES || file.header().any(|line| line.starts_with("Length:")) {
        return Vec::new();
    }
    vec![file.finding(
        0,
        format!(
            "{count} lines, more than {LONGEST_FILE_LINES}: split it, or give the reason in a header line \
             `//! Length: ...`"
        ),
    )]
}

/// A file is named after what it holds, and `foo.rs` stands beside `foo/`.
pub fn name(file: &TextFile) -> Vec<Finding> {
    let Some(path) = file.path.strip_suffix(".rs") else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    if file.name() == "mod.rs" {
        let module = path.trim_end_matches("/mod");
        findings.push(file.finding(0, format!("no `mod.rs`: move it to {module}.rs")));
    }
    for word in path.split(['/', '_']).filter(|word| EMPTY_NAMES.contains(word)) {
        findings.push(file.finding(0, format!("`{word}` says nothing: name the file after what it holds")));
    }
    findings
}

/// `unwrap` only in tests.
pub fn unwraps(file: &TextFile) -> Vec<Finding> {
    if !file.is_rust() || file.is_test() {
        return Vec::new();
    }
    let code = code_lines(&file.text);
    let in_test = test_lines(&code);
    let lines = code.iter().zip(in_test).enumerate();
    lines
        .filter(|(_, (line, in_test))| !in_test && line.contains(".unwrap()"))
        .map(|(index, _)| {
            file.finding(index + 1, "`unwrap` outside tests: give an error, or `expect(\"why it cannot be\")`")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(findings: &[Finding]) -> Vec<usize> {
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_file_opens_with_its_purpose() {
        assert_eq!(lines(&header(&TextFile::new("lang/src/a.rs", "use b;\n"))), [1]);
        assert_eq!(lines(&header(&TextFile::new("lang/src/a.rs", "//!\n"))), [1]);
        assert_eq!(lines(&header(&TextFile::new("lang/src/a.rs", "//! Holds a.\n"))), []);
        assert_eq!(lines(&header(&TextFile::new("README.md", "# rtrace\n"))), []);
    }

    #[test]
    fn a_long_file_gives_its_reason() {
        let long = "x\n".repeat(LONGEST_FILE_LINES);
        assert_eq!(length(&TextFile::new("lang/src/a.rs", &long)), []);
        assert_eq!(lines(&length(&TextFile::new("lang/src/a.rs", &format!("//! A.\n{long}")))), [0]);
        let reason = format!("//! A.\n//! Length: one table.\n{long}");
        assert_eq!(length(&TextFile::new("lang/src/a.rs", &reason)), []);
    }

    #[test]
    fn names_say_something() {
        assert_eq!(lines(&name(&TextFile::new("lang/src/parser/mod.rs", ""))), [0]);
        assert_eq!(lines(&name(&TextFile::new("lang/src/string_utils.rs", ""))), [0]);
        assert_eq!(lines(&name(&TextFile::new("lang/src/common/cells.rs", ""))), [0]);
        assert_eq!(name(&TextFile::new("lang/src/commons.rs", "")), []);
    }

    #[test]
    fn unwrap_is_for_tests() {
        let text =
            "//! .unwrap()\nfn f() { a.unwrap() }\n// .unwrap()\n#[cfg(test)]\nmod tests { fn g() { b.unwrap() } }\n";
        assert_eq!(lines(&unwraps(&TextFile::new("lang/src/a.rs", text))), [2]);
        assert_eq!(unwraps(&TextFile::new("tests/src/a.rs", text)), []);
        assert_eq!(unwraps(&TextFile::new("lang/src/a.rs", "a.unwrap_or(1)")), []);
    }
}
