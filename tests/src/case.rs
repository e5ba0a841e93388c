//! Cases on disk: scripts below a directory, and the expected texts beside each. Reads; compares and runs nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};

use crate::directives::Directives;

/// A script with what is expected of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// The path below the directory of cases, without `.rt`: `language/arithmetic`.
    pub name: String,
    /// The directory in which it is run, and the script's path from there.
    pub directory: PathBuf,
    pub script: String,
    pub text: String,
    /// The expected texts: this path with each kind's extension.
    pub expectations: PathBuf,
    pub directives: Directives,
    /// Kinds of expected texts that are present, in the order of `EXPECTATIONS`.
    pub expected: Vec<Expected>,
    /// Held while the script runs: what it writes to files is not for two runs at once.
    pub running: Arc<Mutex<()>>,
}

/// A kind of expected text: the stage or the run that gives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    Ast,
    Hir,
    Ir,
    Bpf,
    Diagnostics,
    Output,
    Errors,
    Json,
}

/// Every kind with the extension of its file.
pub const EXPECTATIONS: &[(Expected, &str)] = &[
    (Expected::Ast, "ast"),
    (Expected::Hir, "hir"),
    (Expected::Ir, "ir"),
    (Expected::Bpf, "bpf"),
    (Expected::Diagnostics, "diag"),
    (Expected::Output, "out"),
    (Expected::Errors, "err"),
    (Expected::Json, "json"),
];

impl Expected {
    pub fn extension(self) -> &'static str {
        EXPECTATIONS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, extension)| *extension)
    }

    /// Whether the text comes from the pipeline alone, with the described machine.
    pub fn is_pure(self) -> bool {
        match self {
            Expected::Ast | Expected::Hir | Expected::Ir | Expected::Bpf | Expected::Diagnostics => true,
            Expected::Output | Expected::Errors | Expected::Json => false,
        }
    }
}

impl Case {
    /// Where the expected text of that kind is.
    pub fn expected_path(&self, kind: Expected) -> PathBuf {
        self.expectations.with_extension(kind.extension())
    }

    pub fn expects(&self, kind: Expected) -> bool {
        self.expected.contains(&kind)
    }

    /// True if the script is a mistaken one: a compilation must fail, so that there is nothing to load.
    pub fn is_mistaken(&self) -> Result<bool> {
        if self.expects(Expected::Diagnostics) {
            let text = read(&self.expected_path(Expected::Diagnostics))?;
            if text.lines().any(|line| line.starts_with("error[")) {
                return Ok(true);
            }
        }
        Ok(self.directives.exit != 0 && self.expects(Expected::Errors) && !self.expects(Expected::Output))
    }
}

/// All cases below a directory, in order.
pub fn cases(directory: &Path) -> Result<Vec<Case>> {
    let mut scripts = Vec::new();
    collect(directory, "", &mut scripts)?;
    scripts.sort();
    if scripts.is_empty() {
        bail!("there is no case below {}", directory.display());
    }
    scripts.into_iter().map(|script| case(directory, script)).collect()
}

/// The examples. Their directives and expected texts are not theirs to show: they are in `expectations`, the directives
/// in a file with the extension `case`.
pub fn examples(directory: &Path, expectations: &Path) -> Result<Vec<Case>> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let mut scripts = Vec::new();
    collect(directory, "", &mut scripts)?;
    scripts.sort();
    let mut cases = Vec::new();
    for script in scripts {
        let base = expectations.join(&script);
        let directives = read(&base.with_extension("case"))?;
        let text = read(&directory.join(&script))?;
        let mut case = build(directory, script, text, &directives, base)?;
        case.name = format!("examples/{}", case.name);
        cases.push(case);
    }
    Ok(cases)
}

fn case(directory: &Path, script: String) -> Result<Case> {
    let path = directory.join(&script);
    let text = read(&path)?;
    let directives = text.clone();
    build(directory, script, text, &directives, path)
}

fn build(directory: &Path, script: String, text: String, directives: &str, expectations: PathBuf) -> Result<Case> {
    let directives = Directives::parse(directives).with_context(|| script.clone())?;
    let present = EXPECTATIONS.iter().filter(|(_, extension)| expectations.with_extension(extension).exists());
    let expected = present.map(|(kind, _)| *kind).collect();
    let name = script.trim_end_matches(".rt").to_string();
    Ok(Case {
        name,
        directory: directory.to_path_buf(),
        script,
        text,
        expectations,
        directives,
        expected,
        running: Arc::default(),
    })
}

fn collect(directory: &Path, prefix: &str, scripts: &mut Vec<String>) -> Result<()> {
    let context = || format!("cannot list {}", directory.display());
    for entry in fs::read_dir(directory).with_context(context)? {
        let entry = entry.with_context(context)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if entry.file_type().with_context(context)?.is_dir() {
            collect(&entry.path(), &format!("{path}/"), scripts)?;
        } else if name.ends_with(".rt") {
            scripts.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
