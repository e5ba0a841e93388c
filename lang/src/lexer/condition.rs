//! Conditions of `#if`: whether a part of a script is meant. Knows the names that the script has defined.

use std::collections::HashMap;

/// Names that are defined from the start. Types come from the kernel's BTF, so scripts need not define any.
const BUILT_IN: &[(&str, &str)] = &[("BPFTRACE_HAVE_BTF", "1"), ("RTRACE", "1")];

/// What `#define` has defined: names and texts.
pub struct Defined {
    texts: HashMap<String, String>,
}

impl Default for Defined {
    fn default() -> Defined {
        Defined { texts: BUILT_IN.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect() }
    }
}

impl Defined {
    pub fn define(&mut self, name: &str, text: &str) {
        self.texts.insert(name.to_string(), text.to_string());
    }

    pub fn forget(&mut self, name: &str) {
        self.texts.remove(name);
    }

    pub fn has(&self, name: &str) -> bool {
        self.texts.contains_key(name)
    }

    /// Whether the condition holds. What it cannot read is false, as an unknown name is in C.
    pub fn holds(&self, condition: &str) -> bool {
        let mut reader = Reader { words: words(condition), at: 0, defined: self, depth: 0 };
        reader.binary(0) != 0
    }
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if ["&&", "||", "==", "!=", "<=", ">="].iter().any(|two| rest.starts_with(two)) {
            2
        } else {
            first.len_utf8()
        };
        words.push(rest[..length].to_string());
        rest = rest[length..].trim_start();
    }
    words
}

struct Reader<'a> {
    words: Vec<String>,
    at: usize,
    defined: &'a Defined,
    /// Names that stand for names that stand for names.
    depth: usize,
}

/// Operators from the weakest to the strongest.
const LEVELS: &[&[&str]] = &[&["||"], &["&&"], &["==", "!="], &["<", "<=", ">", ">="], &["+", "-"]];

impl Reader<'_> {
    fn next(&mut self) -> Option<String> {
        let word = self.words.get(self.at).cloned();
        self.at += 1;
        word
    }

    fn takes(&mut self, wanted: &str) -> bool {
        let found = self.words.get(self.at).is_some_and(|word| word == wanted);
        if found {
            self.at += 1;
        }
        found
    }

    fn binary(&mut self, level: usize) -> i64 {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1);
        while let Some(operator) = operators.iter().find(|operator| self.takes(operator)) {
            let right = self.binary(level + 1);
            left = match *operator {
                "||" => i64::from(left != 0 || right != 0),
                "&&" => i64::from(left != 0 && right != 0),
                "==" => i64::from(left == right),
                "!=" => i64::from(left != right),
                "<" => i64::from(left < right),
                "<=" => i64::from(left <= right),
                ">" => i64::from(left > right),
                ">=" => i64::from(left >= right),
                "+" => left.wrapping_add(right),
                _ => left.wrapping_sub(right),
            };
        }
        left
    }

    fn unary(&mut self) -> i64 {
        let Some(word) = self.next() else { return 0 };
        match word.as_str() {
            "!" => i64::from(self.unary() == 0),
            "(" => {
                let value = self.binary(0);
                self.takes(")");
                value
            }
            "defined" => {
                let has_parenthesis = self.takes("(");
                let name = self.next().unwrap_or_default();
                if has_parenthesis {
                    self.takes(")");
                }
                i64::from(self.defined.has(&name))
            }
            // The running kernel is not known here: what a newer one needs is meant.
            "LINUX_VERSION_CODE" => i64::MAX,
            "KERNEL_VERSION" => {
                let mut parts = [0; 3];
                self.takes("(");
                for part in &mut parts {
                    *part = self.binary(2);
                    self.takes(",");
                }
                self.takes(")");
                (parts[0] << 16) + (parts[1] << 8) + parts[2]
            }
            word => match super::parse_number(word) {
                Ok(super::Number::Int(value) | super::Number::Duration(value)) => value as i64,
                Err(_) => match self.defined.texts.get(word) {
                    Some(text) if self.depth < 8 => {
                        let mut inner =
                            Reader { words: words(text), at: 0, defined: self.defined, depth: self.depth + 1 };
                        inner.binary(0)
                    }
                    _ => 0,
                },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        let mut defined = Defined::default();
        defined.define("N", "3");
        for (condition, expected) in [
            ("1", true),
            ("0", false),
            ("defined(N) && N >= 3", true),
            ("defined N", true),
            ("!defined(BPFTRACE_HAVE_BTF)", false),
            ("UNKNOWN", false),
            ("N == 2 || (N + 1) == 4", true),
            ("LINUX_VERSION_CODE >= KERNEL_VERSION(5, 15, 0)", true),
        ] {
            assert_eq!(defined.holds(condition), expected, "{condition}");
        }
    }
}
