//! Where `unsafe` may stand and what it must say: nowhere in lang and compiler, elsewhere declared and justified.
//! Whether a justification is true is for the reviewer.

use super::Finding;
use super::files::TextFile;
use super::rust_code::{code_lines, has_word};

/// Packages that have no unsafe code at all, by the compiler's own word.
const SAFE_PACKAGES: &[&str] = &["lang", "compiler"];

const FORBID: &str = "#![forbid(unsafe_code)]";

/// The roots of lang and compiler forbid unsafe code.
pub fn forbidden(file: &TextFile) -> Vec<Finding> {
    let roots = ["src/lib.rs", "src/main.rs"];
    let is_root = roots.iter().any(|root| file.path == format!("{}/{root}", file.package()));
    if !is_root || !SAFE_PACKAGES.contains(&file.package()) || file.text.lines().any(|line| line.trim() == FORBID) {
        return Vec::new();
    }
    vec![file.finding(1, format!("{} has no unsafe code: add `{FORBID}` below the header", file.package()))]
}

/// A file with unsafe code says in its header why it needs it.
pub fn declared(file: &TextFile) -> Vec<Finding> {
    if !file.is_rust() || file.header().any(|line| line.starts_with("Unsafe:")) {
        return Vec::new();
    }
    let code = code_lines(&file.text);
    let Some(first) = code.iter().position(|line| has_word(line, "unsafe")) else {
        return Vec::new();
    };
    let message = if SAFE_PACKAGES.contains(&file.package()) {
        format!("`unsafe` in {}: such code belongs to probes or runtime", file.package())
    } else {
        "`unsafe` in a file that does not declare it: move it to one that does, or add a header line \
         `//! Unsafe: why`"
            .to_string()
    };
    vec![file.finding(first + 1, message)]
}

/// Each unsafe block and implementation has a `// SAFETY:` comment before it.
pub fn justified(file: &TextFile) -> Vec<Finding> {
    if !file.is_rust() {
        return Vec::new();
    }
    let code = code_lines(&file.text);
    let text: Vec<&str> = file.text.lines().collect();
    let mut findings = Vec::new();
    for (index, line) in code.iter().enumerate() {
        let opens_block = line.match_indices("unsafe").any(|(start, word)| {
            let rest = line[start + word.len()..].trim_start();
            let next = code.get(index + 1).map_or("", |next| next.trim_start());
            has_word(&line[start..], word)
                && (rest.starts_with('{') || rest.starts_with("impl") || (rest.is_empty() && next.starts_with('{')))
        });
        if opens_block && has_word(line, "unsafe") && !has_safety_comment(&text, &code, index) {
            findings.push(file.finding(index + 1, "an unsafe block without `// SAFETY:`: say why it is sound"));
        }
    }
    findings
}

/// Looks up from a line over the rest of its statement to the comment before it.
fn has_safety_comment(text: &[&str], code: &[String], index: usize) -> bool {
    if text[index].contains("// SAFETY:") {
        return true;
    }
    let mut line = index;
    while line > 0 {
        line -= 1;
        let comment = text[line].trim_start();
        if comment.starts_with("//") {
            let block = text[..=line].iter().rev().take_while(|line| line.trim_start().starts_with("//"));
            return block.into_iter().any(|line| line.trim_start().starts_with("// SAFETY:"));
        }
        // A line that ends another statement, or opens a block around this one, ends the search.
        if code[line].trim_end().ends_with([';', '}', '{']) || code[line].trim().is_empty() {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(findings: &[Finding]) -> Vec<usize> {
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn pure_packages_forbid_unsafe_code() {
        assert_eq!(lines(&forbidden(&TextFile::new("lang/src/lib.rs", "//! x\n"))), [1]);
        assert_eq!(forbidden(&TextFile::new("lang/src/lib.rs", "//! x\n#![forbid(unsafe_code)]\n")), []);
        assert_eq!(forbidden(&TextFile::new("lang/src/lexer.rs", "//! x\n")), []);
        assert_eq!(forbidden(&TextFile::new("probes/src/lib.rs", "//! x\n")), []);
    }

    #[test]
    fn unsafe_code_is_declared() {
        let text = "//! x\n// unsafe\nfn f() { unsafe { g() } }\n";
        assert_eq!(lines(&declared(&TextFile::new("probes/src/a.rs", text))), [3]);
        assert_eq!(declared(&TextFile::new("probes/src/a.rs", &format!("//! Unsafe: system calls.\n{text}"))), []);
        assert_eq!(declared(&TextFile::new("probes/src/a.rs", "#![forbid(unsafe_code)]\n")), []);
    }

    #[test]
    fn unsafe_blocks_are_justified() {
        let bad = "fn f() {\n    // fast\n    unsafe { g() }\n}\n";
        assert_eq!(lines(&justified(&TextFile::new("probes/src/a.rs", bad))), [3]);
        let good = "fn f() {\n    // SAFETY: g takes\n    // anything.\n    let x =\n        unsafe { g() };\n}\n";
        assert_eq!(justified(&TextFile::new("probes/src/a.rs", good)), []);
        let other = "fn f() {\n    // SAFETY: g takes anything.\n    unsafe { g() };\n    unsafe { h() };\n}\n";
        assert_eq!(lines(&justified(&TextFile::new("probes/src/a.rs", other))), [4]);
        let function = "unsafe fn f() {}\nunsafe extern \"C\" { fn g(); }\n";
        assert_eq!(justified(&TextFile::new("probes/src/a.rs", function)), []);
        assert_eq!(lines(&justified(&TextFile::new("probes/src/a.rs", "unsafe impl Send for A {}\n"))), [1]);
    }
}
