//! Scripts in documents: each block marked `rtrace` is loaded, and is run where a block with its output follows it. Empty
//! lines do not count there, and nothing else is compared loosely.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use regex::Regex;

use crate::case::{Case, Expected};
use crate::directives::{Directives, split_words};
use crate::environment::{Need, Programs};
use crate::{expectation, run};

mod fences;

use fences::{Fence, fences};

/// Where documents are, from the root of the checkout.
const PLACES: &[&str] = &["README.md", "docs"];

/// How blocks begin: a script, what it prints, and what it says on stderr.
const SCRIPT: &str = "rtrace";
const OUTPUT: &str = "text";
const ERRORS: &str = "text stderr";

/// A test: its name, its tier, what it needs, and what runs it.
pub type Test = (String, u8, Vec<Need>, Box<dyn FnOnce() -> Result<()> + Send>);

/// A script in a document.
#[derive(Debug)]
struct Example {
    document: PathBuf,
    /// The document and the line.
    name: String,
    directives: Directives,
    /// The block of the script, then those of what it prints.
    script: Fence,
    output: Option<Fence>,
    errors: Option<Fence>,
    /// The files of its document, which it may import.
    files: Arc<Vec<(String, String)>>,
}

/// The tests of all documents below the root.
pub fn tests(root: &Path, programs: &Arc<Programs>) -> Result<Vec<Test>> {
    let mut documents = Vec::new();
    for place in PLACES {
        collect(root, place, &mut documents)?;
    }
    documents.sort();
    let mut tests: Vec<Test> = Vec::new();
    for document in documents {
        let path = root.join(&document);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for example in examples(&path, &document, &text)? {
            let example = Arc::new(example);
            let needs = example.directives.needs.clone();
            if !example.is_refused() {
                let (loaded, programs) = (example.clone(), programs.clone());
                let load = move || loaded.placed()?.load(&programs);
                tests.push((format!("documents::{}::load", example.name), 1, needs.clone(), Box::new(load)));
            }
            if example.output.is_some() || example.errors.is_some() {
                let (name, tier) = (format!("documents::{}::out", example.name), example.directives.tier);
                let programs = programs.clone();
                tests.push((name, tier, needs, Box::new(move || example.run(&programs))));
            }
        }
    }
    Ok(tests)
}

fn collect(root: &Path, place: &str, documents: &mut Vec<String>) -> Result<()> {
    let path = root.join(place);
    if path.is_dir() {
        for entry in fs::read_dir(&path).with_context(|| format!("cannot list {}", path.display()))? {
            collect(root, &format!("{place}/{}", entry?.file_name().to_string_lossy()), documents)?;
        }
    } else if place.ends_with(".md") && path.exists() {
        documents.push(place.to_string());
    }
    Ok(())
}

/// The scripts of a document.
fn examples(path: &Path, document: &str, text: &str) -> Result<Vec<Example>> {
    let fences = fences(text).with_context(|| document.to_string())?;
    let mut files = Vec::new();
    let mut examples = Vec::new();
    let mut rest = fences.as_slice();
    while let [script, behind @ ..] = rest {
        rest = behind;
        let Some((SCRIPT, options)) = script.info.split_once(' ').or(Some((script.info.as_str(), ""))) else {
            continue;
        };
        let name = format!("{document}:{}", script.line);
        let words = split_words(options).with_context(|| name.clone())?;
        if let [word] = words.as_slice()
            && let Some(file) = word.strip_prefix("file=")
        {
            files.push((file.to_string(), script.text.clone()));
            continue;
        }
        let lines: Vec<String> = words.iter().map(|word| format!("//! {}\n", word.replacen('=', ": ", 1))).collect();
        let directives = Directives::parse(&lines.concat()).with_context(|| name.clone())?;
        let (mut output, mut errors) = (None, None);
        while let [next, behind @ ..] = rest {
            match next.info.as_str() {
                OUTPUT if next.follows && output.is_none() => output = Some(next.clone()),
                ERRORS if next.follows && errors.is_none() => errors = Some(next.clone()),
                _ => break,
            }
            rest = behind;
        }
        examples.push((name, directives, script.clone(), output, errors));
    }
    let files = Arc::new(files);
    let example = |(name, directives, script, output, errors)| Example {
        document: path.to_path_buf(),
        name,
        directives,
        script,
        output,
        errors,
        files: files.clone(),
    };
    Ok(examples.into_iter().map(example).collect())
}

impl Example {
    /// Whether the script is one that rtrace refuses.
    fn is_refused(&self) -> bool {
        self.directives.exit != 0 && self.errors.is_some() && self.output.is_none()
    }

    /// Writes it, what is expected of it, and what it imports into a directory of its own.
    fn placed(&self) -> Result<Placed> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rtrace-documents-{}-{number}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let mut directives = self.directives.clone();
        // Documents have lines that end with a line feed alone.
        directives.replace.push((Regex::new(r"\r\n")?, "\n".to_string()));
        directives.replace.push((Regex::new(r"(?m)^\n")?, String::new()));
        let mut case = Case {
            name: self.name.clone(),
            directory: path.clone(),
            script: "script.rt".to_string(),
            text: self.script.text.clone(),
            expectations: path.join("script"),
            directives,
            expected: Vec::new(),
            running: Arc::default(),
        };
        let placed = Directory(path);
        for (kind, fence) in [(Expected::Output, &self.output), (Expected::Errors, &self.errors)] {
            if let Some(fence) = fence {
                let lines = fence.text.lines().filter(|line| !line.is_empty());
                placed.write(
                    &format!("script.{}", kind.extension()),
                    &lines.map(|l| format!("{l}\n")).collect::<String>(),
                )?;
                case.expected.push(kind);
            }
        }
        placed.write(&case.script, &case.text)?;
        for (name, text) in self.files.iter() {
            placed.write(name, text)?;
        }
        Ok(Placed { case, _directory: placed })
    }

    fn run(&self, programs: &Programs) -> Result<()> {
        let placed = self.placed()?;
        let stdout = self.output.as_ref().map(|_| Expected::Output);
        let outcome = run::attached(&placed.case, programs, stdout);
        if expectation::is_update() {
            for (kind, fence) in [(Expected::Output, &self.output), (Expected::Errors, &self.errors)] {
                if let Some(fence) = fence {
                    let text = fs::read_to_string(placed.case.expected_path(kind))?;
                    fences::rewrite(&self.document, &self.script, fence, &text)?;
                }
            }
        }
        outcome.with_context(|| format!("the script:\n{}", self.script.text))
    }
}

/// An example on disk, as long as this value lives.
struct Placed {
    case: Case,
    _directory: Directory,
}

impl Placed {
    fn load(&self, programs: &Programs) -> Result<()> {
        run::load(&self.case, programs).with_context(|| format!("the script:\n{}", self.case.text))
    }
}

struct Directory(PathBuf);

impl Directory {
    fn write(&self, name: &str, text: &str) -> Result<()> {
        if name.contains('/') {
            bail!("`{name}` is no plain name of a file");
        }
        fs::write(self.0.join(name), text).with_context(|| format!("cannot write {name}"))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left in a directory for temporary files must not hide the outcome of the test.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples_of(text: &str) -> Result<Vec<Example>> {
        examples(Path::new("a.md"), "a.md", text)
    }

    #[test]
    fn scripts_have_options_and_output() {
        let text = "# A\n```rtrace args=\"1 2\" needs=loops\nBEGIN { }\n```\n\n```text\n1\n```\n```text stderr\n2\n```\n\
                    words\n```text\nno output\n```\n```rtrace\nEND { }\n```\nwords\n```text\nnot its output\n```\n\
                    ```rtrace file=lib.rt\nfn f() { }\n```\n```\nno script\n```\n";
        let found = examples_of(text).expect("well formed");
        assert_eq!(found.iter().map(|example| example.name.as_str()).collect::<Vec<_>>(), ["a.md:2", "a.md:16"]);
        assert_eq!(found[0].directives.arguments, ["1", "2"]);
        assert_eq!(found[0].directives.needs, [Need::Loops]);
        assert_eq!(found[0].output.as_ref().map(|fence| fence.text.as_str()), Some("1\n"));
        assert_eq!(found[0].errors.as_ref().map(|fence| fence.text.as_str()), Some("2\n"));
        assert!(found[1].output.is_none());
        assert_eq!(*found[1].files, [("lib.rt".to_string(), "fn f() { }\n".to_string())]);
    }

    #[test]
    fn mistakes_are_found() {
        assert!(examples_of("```rtrace\nBEGIN { }\n").is_err());
        assert!(examples_of("```rtrace nothing=1\nBEGIN { }\n```\n").is_err());
    }
}
