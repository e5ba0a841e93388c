//! Words that no file may have: paths of one machine, hosts, and marks of unfinished work.
//! The table is split with `concat!`, since this file is checked like any other.

use super::Finding;
use super::files::TextFile;
use super::rust_code::code_lines;

struct Forbidden {
    word: &'static str,
    /// Only as code, not in comments and literals.
    only_code: bool,
    message: &'static str,
}

const MACHINE_PATH: &str = "a path of one machine: use a path relative to the checkout or the target directory";

const FORBIDDEN: &[Forbidden] = &[
    Forbidden { word: concat!("/wo", "rk/"), only_code: false, message: MACHINE_PATH },
    Forbidden { word: concat!("/ho", "me/"), only_code: false, message: MACHINE_PATH },
    Forbidden { word: concat!("/Us", "ers/"), only_code: false, message: MACHINE_PATH },
    Forbidden {
        word: concat!("deb.", "debian"),
        only_code: false,
        message: "the name of a host: derive it from the machine's own apt sources",
    },
    Forbidden {
        word: concat!("FIX", "ME"),
        only_code: false,
        message: "unfinished work: finish it, or open an issue and say what is so today",
    },
    Forbidden { word: "todo!", only_code: true, message: "unfinished work: finish it, or give an error" },
    Forbidden { word: "unimplemented!", only_code: true, message: "unfinished work: finish it, or give an error" },
    Forbidden { word: "dbg!", only_code: true, message: "a debugging aid: remove it" },
];

/// None of the forbidden words is in the file.
pub fn forbidden(file: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let code = if file.is_rust() { code_lines(&file.text) } else { Vec::new() };
    for (index, line) in file.text.lines().enumerate() {
        for forbidden in FORBIDDEN {
            let code_line = code.get(index).map_or("", String::as_str);
            let searched = if forbidden.only_code { code_line } else { line };
            if occurs(searched, forbidden.word) {
                findings.push(file.finding(index + 1, format!("`{}`: {}", forbidden.word, forbidden.message)));
            }
        }
    }
    findings
}

/// Whether the word starts somewhere that is not the middle of a longer word or path.
fn occurs(line: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || matches!(character, '_' | '.' | '-' | '}' | '~');
    line.match_indices(word).any(|(start, _)| !line[..start].ends_with(is_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(findings: &[Finding]) -> Vec<usize> {
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn machine_paths_are_found_in_any_file() {
        let text = format!("see {}shared\n", concat!("/wo", "rk/"));
        assert_eq!(lines(&forbidden(&TextFile::new("README.md", &text))), [1]);
        assert_eq!(forbidden(&TextFile::new("README.md", "net/work/queue and tests/workloads\n")), []);
    }

    #[test]
    fn marks_of_unfinished_work_are_found_in_code() {
        assert_eq!(lines(&forbidden(&TextFile::new("lang/src/a.rs", "//! x\nfn f() { todo!() }\n"))), [2]);
        assert_eq!(forbidden(&TextFile::new("lang/src/a.rs", "//! no todo!\n")), []);
    }
}
