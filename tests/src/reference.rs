//! The documents in `docs/reference` and the files for editors, made from the tables of the code. Holds how each is laid out
//! and nothing of what it says: that stands in the rows.

mod builtins;
mod codes;
mod constants;
pub mod editors;
mod operators;
mod probes;
mod settings;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::expectation::difference;

/// A document: its name below `docs`, and what makes its text.
pub struct Document {
    pub name: &'static str,
    pub text: fn() -> String,
}

pub const DOCUMENTS: &[Document] = &[
    Document { name: "reference/aggregations.md", text: builtins::aggregations },
    Document { name: "reference/builtins.md", text: builtins::builtins },
    Document { name: "reference/codes.md", text: codes::codes },
    Document { name: "reference/constants.md", text: constants::constants },
    Document { name: "reference/operators.md", text: operators::operators },
    Document { name: "reference/probes.md", text: probes::probes },
    Document { name: "reference/settings.md", text: settings::settings },
    Document { name: "editors/vim/ftdetect/rtrace.vim", text: editors::vim_detection },
    Document { name: "editors/vim/syntax/rtrace.vim", text: editors::vim_syntax },
    Document { name: "editors/vscode/language-configuration.json", text: editors::brackets },
    Document { name: "editors/vscode/package.json", text: editors::package },
    Document { name: "editors/vscode/syntaxes/rtrace.tmLanguage.json", text: editors::grammar },
];

const DIRECTORY: &str = "docs";

/// What makes the documents anew.
const COMMAND: &str = "cargo xtask docs";

impl Document {
    /// Fails where the file does not say what the tables give.
    pub fn check(&self, root: &Path) -> Result<()> {
        let path = root.join(DIRECTORY).join(self.name);
        let found = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let made = (self.text)();
        if found == made {
            return Ok(());
        }
        let changes = difference(&found, &made);
        let lines: Vec<&str> = changes.lines().filter(|line| !line.starts_with(' ')).collect();
        bail!("{DIRECTORY}/{} is not what the tables give; `{COMMAND}` writes it:\n{}", self.name, lines.join("\n"))
    }

    pub fn write(&self, root: &Path) -> Result<()> {
        let path = root.join(DIRECTORY).join(self.name);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        fs::write(&path, (self.text)()).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The title, where the document comes from, and what it is about.
fn head(title: &str, table: &str, about: &str) -> String {
    format!("<!-- Made by `{COMMAND}` from {table}: change it there. -->\n\n# {title}\n\n{about}\n")
}

/// A text that stands as it is, a line each.
fn verbatim(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_string() } else { format!("    {line}\n") }).collect()
}

/// A cell of a table: a bar would end it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Names in a paragraph, a space between two, in lines of at most 120 bytes.
fn paragraph(names: impl Iterator<Item = impl AsRef<str>>) -> String {
    const MOST_BYTES: usize = 120;
    let mut out = String::new();
    let mut width = 0;
    for name in names {
        let name = name.as_ref();
        if width > 0 && width + 1 + name.len() > MOST_BYTES {
            out.push('\n');
            width = 0;
        } else if width > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(name);
        width += name.len();
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_paragraph_are_not_too_long() {
        let text = paragraph(std::iter::repeat_n("0123456789", 30));
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().all(|line| line.len() <= 120), "{text}");
        assert_eq!(text.split_whitespace().count(), 30);
    }

    #[test]
    fn a_bar_does_not_end_a_cell() {
        assert_eq!(cell("a || b"), "a \\|\\| b");
    }
}
