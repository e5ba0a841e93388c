//! Probe specifications: `provider:part:part`, as written. Splits the text and nothing more; which probes exist is the
//! target's to say.

use crate::span::Span;

/// One probe as the script names it. The parts after the provider keep their wildcards; quotes are removed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ProbeSpec {
    /// The whole text as written, without white space around it.
    pub text: String,
    /// A label before `=`, accepted and not used.
    pub label: Option<String>,
    pub provider: String,
    pub parts: Vec<String>,
    /// Of what the last part matches as a pattern, only what matches this one of D's, as well.
    pub only: Option<String>,
    pub span: Span,
}

impl ProbeSpec {
    /// Splits `text` at the colons outside double quotes.
    pub fn parse(text: &str, span: Span) -> ProbeSpec {
        let text = text.trim();
        let mut parts = vec![String::new()];
        let mut quoted = false;
        for c in text.chars() {
            match c {
                '"' => quoted = !quoted,
                ':' if !quoted => parts.push(String::new()),
                _ => parts.last_mut().expect("starts with one part").push(c),
            }
        }
        let mut provider = parts.remove(0);
        let mut label = None;
        if let Some((before, after)) = provider.split_once('=') {
            label = Some(before.to_string());
            provider = after.to_string();
        }
        ProbeSpec { text: text.to_string(), label, provider, parts, only: None, span }
    }
}

/// True if `text` matches `pattern`, in which `*` stands for any run of characters.
pub fn wildcard_match(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut restart: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            restart = Some((p + 1, t));
            p += 1;
        } else if p < pattern.len() && pattern[p] == text[t] {
            p += 1;
            t += 1;
        } else if let Some((after_star, from)) = restart {
            p = after_star;
            t = from + 1;
            restart = Some((after_star, t));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// True if `text` matches a pattern of D's: `*`, `?` for one character, `[a-z]` and `[!a-z]` for one of these or of others, and a
/// backslash before one of them that is meant itself.
pub fn glob_match(pattern: &str, text: &str) -> bool {
    let mut left = pattern.chars();
    let (Some(first), rest) = (left.next(), left.as_str()) else { return text.is_empty() };
    let mut characters = text.chars();
    let next = characters.next();
    let after = characters.as_str();
    match first {
        '*' => glob_match(rest, text) || next.is_some() && glob_match(pattern, after),
        '?' => next.is_some() && glob_match(rest, after),
        '[' => match (class(rest), next) {
            (Some((set, negated, rest)), Some(next)) => is_in(set, next) != negated && glob_match(rest, after),
            (Some(_), None) => false,
            (None, _) => next == Some('[') && glob_match(rest, after),
        },
        '\\' if !rest.is_empty() => {
            let mut escaped = rest.chars();
            escaped.next() == next && glob_match(escaped.as_str(), after)
        }
        plain => next == Some(plain) && glob_match(rest, after),
    }
}

/// What stands between the brackets of a pattern, whether it is the opposite that is meant, and what follows; None without an end.
fn class(pattern: &str) -> Option<(&str, bool, &str)> {
    let (set, rest) = pattern.split_once(']').filter(|(set, _)| !set.is_empty())?;
    let opposite = set.strip_prefix('!').filter(|set| !set.is_empty());
    Some((opposite.unwrap_or(set), opposite.is_some(), rest))
}

fn is_in(set: &str, c: char) -> bool {
    let set: Vec<char> = set.chars().collect();
    let mut at = 0;
    while let Some(first) = set.get(at) {
        match (set.get(at + 1), set.get(at + 2)) {
            (Some('-'), Some(last)) if (*first..=*last).contains(&c) => return true,
            (Some('-'), Some(_)) => at += 3,
            _ if *first == c => return true,
            _ => at += 1,
        }
    }
    false
}

/// Whether a pattern of D's has what only D's have; and then the widest pattern of ours that matches all that it does.
pub fn widened(pattern: &str) -> Option<String> {
    let special =
        pattern.find(['?', '\\']).into_iter().chain(pattern.find('[').filter(|at| class(&pattern[at + 1..]).is_some()));
    let from = special.min()?;
    Some(format!("{}*", &pattern[..from]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_outside_quotes() {
        let spec = ProbeSpec::parse("uprobe:\"/tmp/a b:c\":f", Span::default());
        assert_eq!(spec.provider, "uprobe");
        assert_eq!(spec.parts, ["/tmp/a b:c", "f"]);
    }

    #[test]
    fn matches_patterns_of_d() {
        for (pattern, text) in [
            ("ope?", "open"),
            ("[f-h]etp?id", "getpgid"),
            ("*[!a-f]", "read_x"),
            ("a\\*b", "a*b"),
            ("*a*b*", "xxaxxbxx"),
            ("operator[]", "operator[]"),
            ("[a-]", "-"),
        ] {
            assert!(glob_match(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("ope?", "ope"), ("ope?", "openat"), ("[!g]et", "get"), ("[f-h]et", "set"), ("a\\*b", "axb"), ("", "x")]
        {
            assert!(!glob_match(pattern, text), "{pattern} {text}");
        }
        assert_eq!(widened("sys_[a-c]x*").as_deref(), Some("sys_*"));
        assert_eq!(widened("operator[]"), None);
    }

    #[test]
    fn matches_wildcards() {
        assert!(wildcard_match("sys_enter_*", "sys_enter_read"));
        assert!(wildcard_match("*_*_r*d", "sys_enter_read"));
        assert!(!wildcard_match("sys_exit_*", "sys_enter_read"));
        assert!(wildcard_match("*", ""));
    }
}
