//! The difference of two outputs, line by line, and the file beside a script that says why it may be there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What a file says: the reason, a line, and below it the difference.
#[derive(Default)]
pub struct Noted {
    pub reason: String,
    pub difference: String,
}

/// A script without the file may show no difference.
pub fn read(script: &Path) -> Result<Noted> {
    let path = path_of(script);
    if !path.exists() {
        return Ok(Noted::default());
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (reason, difference) = text.split_once('\n').unwrap_or((&text, ""));
    Ok(Noted { reason: reason.to_string(), difference: difference.to_string() })
}

pub fn write(script: &Path, reason: &str, difference: &str) -> Result<()> {
    let path = path_of(script);
    if difference.is_empty() {
        return fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()));
    }
    fs::write(&path, format!("{reason}\n{difference}")).with_context(|| format!("cannot write {}", path.display()))
}

fn path_of(script: &Path) -> PathBuf {
    script.with_extension("differences")
}

/// Lines that only the first has, behind `- `, and those that only the second has, behind `+ `.
pub fn between(ours: &[String], theirs: &[String]) -> String {
    // How many lines are common to what follows each pair of places.
    let mut common = vec![vec![0u32; theirs.len() + 1]; ours.len() + 1];
    for (i, our) in ours.iter().enumerate().rev() {
        for (j, their) in theirs.iter().enumerate().rev() {
            common[i][j] = if our == their { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, String::new());
    while i < ours.len() || j < theirs.len() {
        match (ours.get(i), theirs.get(j)) {
            (Some(our), Some(their)) if our == their => (i, j) = (i + 1, j + 1),
            (Some(our), their) if their.is_none() || common[i + 1][j] >= common[i][j + 1] => {
                out.push_str(&format!("- {our}\n"));
                i += 1;
            }
            (_, their) => {
                out.extend(their.map(|their| format!("+ {their}\n")));
                j += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_side() {
        let lines = |text: &str| text.split(' ').map(str::to_string).collect::<Vec<_>>();
        assert_eq!(between(&lines("a b c"), &lines("a b c")), "");
        assert_eq!(between(&lines("a x c"), &lines("a c d")), "- x\n+ d\n");
        assert_eq!(between(&lines("a"), &lines("b")), "- a\n+ b\n");
    }
}
