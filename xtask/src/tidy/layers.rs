//! Which part of rtrace may know which: dependencies, entry points, kinds of errors.
//! The table here is the one in ARCHITECTURE.md; neither may change without the other.

use super::Finding;
use super::files::TextFile;
use super::rust_code::{code_lines, has_word, test_lines};

/// A package's directory and the packages it may use. Directories that are not here may use all.
const ARROWS: &[(&str, &[&str])] = &[
    ("lang", &[]),
    ("compiler", &["lang"]),
    ("probes", &["lang"]),
    ("runtime", &["lang", "compiler", "probes"]),
    ("xtask", &[]),
];

/// The packages that the arrows are about.
const PACKAGES: &[&str] = &["lang", "compiler", "probes", "runtime", "tests"];

/// The one file that calls the entry points of the pipeline, and the directories that must go through it.
const DRIVER: &str = "runtime/src/driver.rs";
const BEHIND_THE_DRIVER: &[&str] = &["runtime", "tests", "benches"];

/// The entry points, as code that is not in the driver must not have them.
const ENTRY_POINTS: &[&str] = &[
    "rtrace_lang::parse(",
    "rtrace_lang::check(",
    "rtrace_lang::parser::parse(",
    "rtrace_lang::checker::check(",
    "rtrace_compiler::compile(",
];

/// Where `anyhow` may be: libraries have errors that name what failed.
const ANYHOW_PLACES: &[&str] = &["runtime/src/bin/", "xtask/", "tests/", "benches/", "fuzz/"];

/// Dependencies in a package's manifest follow the arrows.
pub fn manifest_dependencies(file: &TextFile) -> Vec<Finding> {
    let Some(allowed) = allowed(file).filter(|_| file.name() == "Cargo.toml") else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let mut in_dependencies = false;
    for (index, line) in file.text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        if line.trim_start().starts_with('[') {
            in_dependencies = line.contains("dependencies");
        }
        for package in PACKAGES.iter().filter(|package| !allowed.contains(package)) {
            if in_dependencies && line.contains(&format!("rtrace-{package}")) {
                findings.push(file.finding(index + 1, forbidden_arrow(file, package, allowed)));
            }
        }
    }
    findings
}

/// Names of packages in a package's sources follow the arrows.
pub fn source_dependencies(file: &TextFile) -> Vec<Finding> {
    let Some(allowed) = allowed(file).filter(|_| file.is_rust()) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (index, line) in code_lines(&file.text).iter().enumerate() {
        // A package's own name is how its binary and its tests call it.
        for package in PACKAGES.iter().filter(|package| !allowed.contains(package) && **package != file.package()) {
            if has_word(line, &format!("rtrace_{package}")) {
                findings.push(file.finding(index + 1, forbidden_arrow(file, package, allowed)));
            }
        }
    }
    findings
}

/// Only the driver runs the pipeline.
pub fn entry_points(file: &TextFile) -> Vec<Finding> {
    if !file.is_rust() || file.path == DRIVER || !BEHIND_THE_DRIVER.contains(&file.package()) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (index, line) in code_lines(&file.text).iter().enumerate() {
        for entry_point in ENTRY_POINTS.iter().filter(|entry_point| line.contains(**entry_point)) {
            let name = entry_point.trim_end_matches('(');
            findings.push(file.finding(index + 1, format!("only {DRIVER} calls `{name}`: call the driver instead")));
        }
    }
    findings
}

/// Libraries do not use `anyhow`.
pub fn error_types(file: &TextFile) -> Vec<Finding> {
    if !file.is_rust() || ANYHOW_PLACES.iter().any(|place| file.path.starts_with(place)) {
        return Vec::new();
    }
    let code = code_lines(&file.text);
    let in_test = test_lines(&code);
    let lines = code.iter().zip(in_test).enumerate();
    lines
        .filter(|(_, (line, in_test))| !in_test && has_word(line, "anyhow"))
        .map(|(index, _)| {
            file.finding(index + 1, "`anyhow` in a library: use an error type that names the system call or the path")
        })
        .collect()
}

fn allowed(file: &TextFile) -> Option<&'static [&'static str]> {
    ARROWS.iter().find(|(package, _)| *package == file.package()).map(|(_, allowed)| *allowed)
}

fn forbidden_arrow(file: &TextFile, package: &str, allowed: &[&str]) -> String {
    let may = if allowed.is_empty() { "no other package".to_string() } else { allowed.join(", ") };
    format!("{} must not know {package}: it may use {may}; meet in data that lang defines", file.package())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(findings: &[Finding]) -> Vec<usize> {
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn manifests_follow_the_arrows() {
        let text = "[package]\nname = \"rtrace-compiler\"\n[dependencies]\nrtrace-lang.workspace = true\n\
                    rtrace-probes.workspace = true\n[dev-dependencies]\nother = { package = \"rtrace-runtime\" }\n";
        assert_eq!(lines(&manifest_dependencies(&TextFile::new("compiler/Cargo.toml", text))), [5, 7]);
        assert_eq!(lines(&manifest_dependencies(&TextFile::new("runtime/Cargo.toml", text))), [7]);
        assert_eq!(lines(&manifest_dependencies(&TextFile::new("tests/Cargo.toml", text))), []);
    }

    #[test]
    fn sources_follow_the_arrows() {
        let text = "//! rtrace_probes in a comment\nuse rtrace_lang::Hir;\nuse rtrace_probes::Machine;\n";
        assert_eq!(lines(&source_dependencies(&TextFile::new("compiler/src/lib.rs", text))), [3]);
        assert_eq!(lines(&source_dependencies(&TextFile::new("runtime/src/lib.rs", text))), []);
        assert_eq!(lines(&source_dependencies(&TextFile::new("lang/src/lib.rs", text))), [3]);
    }

    #[test]
    fn only_the_driver_calls_the_pipeline() {
        let text = "//! x\nfn f() { rtrace_lang::parse(text); }\n";
        assert_eq!(lines(&entry_points(&TextFile::new("runtime/src/repl.rs", text))), [2]);
        assert_eq!(lines(&entry_points(&TextFile::new("runtime/src/driver.rs", text))), []);
        assert_eq!(lines(&entry_points(&TextFile::new("lang/src/parser.rs", text))), []);
    }

    #[test]
    fn libraries_have_their_own_errors() {
        let text = "//! x\nuse anyhow::Result;\n#[cfg(test)]\nmod tests { use anyhow::Result; }\n";
        assert_eq!(lines(&error_types(&TextFile::new("probes/src/lib.rs", text))), [2]);
        assert_eq!(lines(&error_types(&TextFile::new("runtime/src/bin/rtrace/main.rs", text))), []);
    }
}
