//! Expected texts under tests/cases that no script has any more.
//! What the texts should say is the test runner's business.

use super::Finding;
use super::files::TextFile;

const CASES: &str = "tests/cases/";
const SCRIPTS: &[&str] = &["rt", "d", "case"];

/// The stages whose output can be expected.
const EXPECTATIONS: &[&str] = &["ast", "hir", "ir", "bpf", "asm", "manifest", "diag", "out", "err", "json"];

/// Each expected text stands beside the script it belongs to: `foo.out` or `foo.x.out` beside `foo.rt`.
pub fn orphans(files: &[TextFile]) -> Vec<Finding> {
    let cases: Vec<&TextFile> = files.iter().filter(|file| file.path.starts_with(CASES)).collect();
    let scripts: Vec<&str> = cases
        .iter()
        .filter_map(|file| file.path.rsplit_once('.'))
        .filter(|(_, extension)| SCRIPTS.contains(extension))
        .map(|(stem, _)| stem)
        .collect();
    let mut findings = Vec::new();
    for file in cases {
        let Some((_, extension)) = file.path.rsplit_once('.') else {
            continue;
        };
        let has_script = scripts.iter().any(|script| {
            let rest = file.path.strip_prefix(script);
            rest.is_some_and(|rest| rest.starts_with('.'))
        });
        if EXPECTATIONS.contains(&extension) && !has_script {
            findings.push(file.finding(0, "no script has this expected text: delete it, or name it after its script"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expected_text_has_its_script() {
        let paths = [
            "tests/cases/a/count.rt",
            "tests/cases/a/count.out",
            "tests/cases/a/count.guest.out",
            "tests/cases/a/counter.out",
            "tests/cases/b/count.out",
            "tests/cases/b/README.md",
        ];
        let files: Vec<TextFile> = paths.iter().map(|path| TextFile::new(path, "")).collect();
        let found: Vec<String> = orphans(&files).into_iter().map(|finding| finding.path).collect();
        assert_eq!(found, ["tests/cases/a/counter.out", "tests/cases/b/count.out"]);
    }
}
