//! Names of functions as compilers mangle them, and as people write them.

/// True if `wanted` is what a mangled name says: `ns::f(int)`, or `ns::f`.
pub fn is_demangled(wanted: &str, mangled: &str) -> bool {
    demangled(mangled).iter().any(|name| name == wanted)
}

/// What a mangled name says: with its parameters and without, where it has them. Nothing for a plain name.
pub fn demangled(mangled: &str) -> Vec<String> {
    let mut found = Vec::new();
    if mangled.starts_with("_R") || mangled.starts_with("_ZN") {
        // Without the hash, which no one writes.
        found.extend(rustc_demangle::try_demangle(mangled).ok().map(|name| format!("{name:#}")));
    }
    if mangled.starts_with("_Z") {
        let symbol = cpp_demangle::Symbol::new(mangled).ok();
        if let Some(text) = symbol.and_then(|symbol| symbol.demangle().ok()) {
            found.extend(text.strip_suffix(parameters(&text)).map(str::to_string));
            found.push(text);
        }
    }
    found.dedup();
    found
}

/// The parameters at the end of a demangled C++ name: `(int, char const*) const`.
fn parameters(text: &str) -> &str {
    let Some(end) = text.rfind(')') else { return "" };
    let mut depth = 0;
    for (at, c) in text[..=end].char_indices().rev() {
        match c {
            ')' => depth += 1,
            '(' if depth == 1 => return &text[at..],
            '(' => depth -= 1,
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demangled_names() {
        assert!(is_demangled("ns::f", "_ZN2ns1fEi"));
        assert!(is_demangled("ns::f(int)", "_ZN2ns1fEi"));
        assert!(!is_demangled("ns::g", "_ZN2ns1fEi"));
        assert!(demangled("main").is_empty());
        assert_eq!(parameters("a::operator()(int, void (*)(char)) const"), "(int, void (*)(char)) const");
    }
}
