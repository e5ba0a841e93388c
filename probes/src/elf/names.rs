//! Names of functions as compilers mangle them, and as people write them.

use std::borrow::Cow;

use super::dlang;

/// True if `wanted` is what a mangled name says: `ns::f(int)`, or `ns::f`.
pub fn is_demangled(wanted: &str, mangled: &str) -> bool {
    demangled(mangled).iter().any(|name| name == wanted)
}

/// A language whose compilers mangle names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Language {
    Cpp,
    Rust,
}

impl Language {
    /// As specifications write it.
    pub fn named(name: &str) -> Option<Language> {
        match name {
            "cpp" => Some(Language::Cpp),
            "rust" => Some(Language::Rust),
            _ => None,
        }
    }

    /// The language that a function is written in, as far as its name tells.
    pub fn of(mangled: &str) -> Option<Language> {
        // Rust's older names look like those of C++, and end with a hash.
        let is_rust = mangled.starts_with("_R") || mangled.starts_with("_ZN");
        if is_rust && rustc_demangle::try_demangle(mangled).is_ok() {
            return Some(Language::Rust);
        }
        let is_cpp = mangled.starts_with("_Z") && cpp_demangle::Symbol::new(mangled).is_ok();
        is_cpp.then_some(Language::Cpp)
    }
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
    found.extend(dlang::demangle(mangled));
    found.dedup();
    found
}

/// A function's name as it is shown: as its source has it where that is known, with the parameters of C++.
pub fn shown(mangled: &str) -> Cow<'_, str> {
    let names = demangled(mangled);
    // Rust's older names look like those of C++; a name of C++ comes without its parameters first.
    let name = if mangled.starts_with("_ZN") && rustc_demangle::try_demangle(mangled).is_ok() {
        names.into_iter().next()
    } else {
        names.into_iter().last()
    };
    name.map_or(Cow::Borrowed(mangled), Cow::Owned)
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
    fn shown_names() {
        for (mangled, name) in [
            ("main", "main"),
            ("_ZN2ns1fEi", "ns::f(int)"),
            ("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "core::fmt::Formatter::pad"),
            ("_RNvC7mycrate3foo", "mycrate::foo"),
            ("_D3app3runFiZi", "app.run"),
            ("main.(*server).handle", "main.(*server).handle"),
        ] {
            assert_eq!(shown(mangled), name);
        }
    }

    #[test]
    fn languages() {
        for (mangled, language) in [
            ("main", None),
            ("_ZN2ns1fEi", Some(Language::Cpp)),
            ("_Z3addii", Some(Language::Cpp)),
            ("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", Some(Language::Rust)),
            ("_RNvC7mycrate3foo", Some(Language::Rust)),
            ("_Zebra", None),
            ("_D3app3runFiZi", None),
        ] {
            assert_eq!(Language::of(mangled), language, "{mangled}");
        }
    }

    #[test]
    fn demangled_names() {
        assert!(is_demangled("ns::f", "_ZN2ns1fEi"));
        assert!(is_demangled("ns::f(int)", "_ZN2ns1fEi"));
        assert!(!is_demangled("ns::g", "_ZN2ns1fEi"));
        assert!(demangled("main").is_empty());
        assert!(is_demangled("std.stdio.writeln", "_D3std5stdio7writelnFZv"));
        for name in ["_D", "_D3", "_D9short", "_D3std9__T3addZv", "_D3stdQeZv", "_Do_something"] {
            assert!(demangled(name).is_empty(), "{name}");
        }
        assert_eq!(parameters("a::operator()(int, void (*)(char)) const"), "(int, void (*)(char)) const");
    }
}
