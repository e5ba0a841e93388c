//! What stands behind a script on the command line: `VALUE`, `--name`, `--name=VALUE`. What they mean is the script's to
//! say.

use rtrace_lang::check::ScriptOption;
use rtrace_lang::diagnostic::{did_you_mean, near_misses};

use crate::script::{fail, print};

/// A parameter with a name, and its value where it has one.
type Named = (String, Option<String>);

/// Those with names, and the others, in order. After `--` none has a name.
pub fn split(words: &[String]) -> (Vec<Named>, Vec<String>) {
    let (mut named, mut positional) = (Vec::new(), Vec::new());
    let mut names_end = false;
    for word in words {
        match word.strip_prefix("--") {
            Some("") if !names_end => names_end = true,
            Some(rest) if !names_end => named.push(match rest.split_once('=') {
                Some((name, value)) => (name.to_string(), Some(value.to_string())),
                None => (rest.to_string(), None),
            }),
            _ => positional.push(word.clone()),
        }
    }
    (named, positional)
}

/// Refuses a name that the script does not ask for, and answers `--help`; gives the exit status.
pub fn answer(named: &[Named], options: &[ScriptOption], script: &str) -> Option<i32> {
    let unknown = named.iter().find(|(name, _)| !options.iter().any(|option| option.name == *name))?;
    if unknown.0 == "help" {
        return Some(print(help(options, script).as_bytes()));
    }
    let names: Vec<String> = options.iter().map(|option| format!("--{}", option.name)).collect();
    let written = format!("--{}", unknown.0);
    let help = match did_you_mean(&near_misses(&written, names.iter().map(String::as_str))) {
        Some(help) => help,
        None if names.is_empty() => "the script asks for none by name: getopt(\"name\")".to_string(),
        None => format!("parameters of the script: {}", names.join(", ")),
    };
    Some(fail(&format!("{script} has no parameter {written}"), &[help]))
}

/// The parameters of a script, a line each.
fn help(options: &[ScriptOption], script: &str) -> String {
    let mut out = format!("parameters of {script}:\n");
    for option in options {
        let written = match &option.default {
            Some(default) => format!("--{}={default}", option.name),
            None => format!("--{}", option.name),
        };
        out.push_str(&format!("  {written:<24} {}\n", option.help));
    }
    if options.is_empty() {
        out.push_str("  none by name\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_values() {
        let words: Vec<String> = ["a", "--n=1", "--b", "-c", "--", "--d"].map(String::from).to_vec();
        let (named, positional) = split(&words);
        assert_eq!(named, [("n".to_string(), Some("1".to_string())), ("b".to_string(), None)]);
        assert_eq!(positional, ["a", "-c", "--d"]);
    }
}
