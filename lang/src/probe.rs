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
        ProbeSpec { text: text.to_string(), label, provider, parts, span }
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
    fn matches_wildcards() {
        assert!(wildcard_match("sys_enter_*", "sys_enter_read"));
        assert!(wildcard_match("*_*_r*d", "sys_enter_read"));
        assert!(!wildcard_match("sys_exit_*", "sys_enter_read"));
        assert!(wildcard_match("*", ""));
    }
}
