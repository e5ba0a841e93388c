//! Finds the Debian archive in the machine's own apt sources, and writes sources for another release from it.
//! Pure text work: it must never name a host of its own, so that mirrors and proxies of the machine keep working.

use std::fmt::Write;

/// One `deb` source: where, which release, signed by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub uri: String,
    pub suite: String,
    pub components: Vec<String>,
    pub signed_by: Option<String>,
}

/// The archive and, where the machine has it, the security archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archives {
    pub main: Source,
    pub security: Option<Source>,
}

/// How far the signatures of a release are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Against this keyring file.
    Keyring(String),
    /// Against whatever keys the machine's apt trusts.
    Machine,
    /// Not at all.
    Unchecked,
}

/// Reads a file in the `.sources` format: stanzas of `Field: value` lines with continuation lines.
pub fn parse_stanzas(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for stanza in text.split("\n\n") {
        let fields = stanza_fields(stanza);
        let words = |name: &str| -> Vec<String> {
            let value = fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
            value.map(|(_, value)| value.split_whitespace().map(str::to_string).collect()).unwrap_or_default()
        };
        if !words("Types").iter().any(|kind| kind == "deb") || words("Enabled").iter().any(|answer| answer == "no") {
            continue;
        }
        // A key may also stand in the field itself, spread over lines; only a file can be passed on.
        let signed_by = words("Signed-By").into_iter().next().filter(|path| path.starts_with('/'));
        for uri in words("URIs") {
            for suite in words("Suites") {
                sources.push(Source {
                    uri: uri.clone(),
                    suite,
                    components: words("Components"),
                    signed_by: signed_by.clone(),
                });
            }
        }
    }
    sources
}

/// Reads a file in the one-line format: `deb [options] uri suite components`.
pub fn parse_lines(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = line.strip_prefix("deb ") else {
            continue;
        };
        let (options, rest) = match rest.trim_start().strip_prefix('[') {
            Some(bracketed) => bracketed.split_once(']').unwrap_or(("", bracketed)),
            None => ("", rest),
        };
        let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
        let mut words = rest.split_whitespace();
        let (Some(uri), Some(suite)) = (words.next(), words.next()) else {
            continue;
        };
        sources.push(Source {
            uri: uri.to_string(),
            suite: suite.to_string(),
            components: words.map(str::to_string).collect(),
            signed_by: signed_by.map(str::to_string),
        });
    }
    sources
}

/// Chooses the Debian archive among the sources of a machine that runs the release `codename`.
///
/// Other vendors also call their suites by Debian's codenames, so a source signed by Debian's keyring, then one whose
/// address ends in `debian`, goes first.
pub fn archives(sources: &[Source], codename: &str) -> Option<Archives> {
    let names = [codename, "stable", "testing", "unstable", "sid", "oldstable"];
    let rank = |source: &&Source| {
        let signed = source.signed_by.as_deref().is_some_and(|path| path.contains("debian-archive"));
        let named = source.uri.trim_end_matches('/').ends_with("debian") || source.uri.contains("/debian.list");
        u8::from(signed) * 2 + u8::from(named)
    };
    let has_main = |source: &&Source| source.components.iter().any(|component| component == "main");
    // `max_by_key` gives the last of equals; reversed, the first one in the machine's order wins.
    let main = sources.iter().rev().filter(has_main).filter(|source| names.contains(&source.suite.as_str()));
    let main = main.max_by_key(rank)?.clone();
    let security = sources.iter().rev().filter(has_main);
    let security = security.filter(|source| {
        source.suite.strip_suffix("-security").is_some_and(|suite| names.contains(&suite))
            || source.suite.strip_suffix("/updates").is_some_and(|suite| names.contains(&suite))
    });
    let security = security.max_by_key(rank).cloned();
    Some(Archives { main, security })
}

/// The sources of another release, in the `.sources` format.
pub fn derive(archives: &Archives, suite: &str, with_security: bool, trust: &Trust) -> String {
    let mut text = String::new();
    let mut stanza = |uri: &str, suite: &str| {
        let _ = write!(text, "Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\n");
        match trust {
            Trust::Keyring(path) => _ = writeln!(text, "Signed-By: {path}"),
            Trust::Machine => {}
            Trust::Unchecked => _ = writeln!(text, "Trusted: yes"),
        }
        text.push('\n');
    };
    stanza(&archives.main.uri, suite);
    if let (true, Some(security)) = (with_security, &archives.security) {
        stanza(&security.uri, &format!("{suite}-security"));
    }
    text
}

fn stanza_fields(stanza: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in stanza.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_string(), value.trim().to_string()));
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANZAS: &str = "\
Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
";

    #[test]
    fn stanzas_give_one_source_for_each_suite() {
        let sources = parse_stanzas(STANZAS);
        let suites: Vec<&str> = sources.iter().map(|source| source.suite.as_str()).collect();
        assert_eq!(suites, ["bookworm", "bookworm-updates", "bookworm-security"]);
    }

    #[test]
    fn disabled_and_source_stanzas_are_left_out() {
        let text = "Types: deb-src\nURIs: http://a.example\nSuites: sid\nComponents: main\n\n\
                    Enabled: no\nTypes: deb\nURIs: http://a.example\nSuites: sid\nComponents: main\n";
        assert_eq!(parse_stanzas(text), []);
    }

    #[test]
    fn lines_with_options_and_comments_are_read() {
        let text = "# deb http://old.example/debian bookworm main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib # here\n";
        let source = Source {
            uri: "http://mirror.example/debian".into(),
            suite: "bookworm".into(),
            components: vec!["main".into(), "contrib".into()],
            signed_by: Some("/k.gpg".into()),
        };
        assert_eq!(parse_lines(text), [source]);
    }

    #[test]
    fn the_archive_is_found_beside_a_vendor_with_the_same_suite_name() {
        let mut sources = parse_lines("deb https://vendor.example/prod bookworm main\n");
        sources.extend(parse_stanzas(STANZAS));
        let archives = archives(&sources, "bookworm").expect("the archive is there");
        assert_eq!(archives.main.uri, "http://mirror.example/debian");
        assert_eq!(archives.security.expect("so is security").uri, "http://mirror.example/debian-security");
    }

    #[test]
    fn derived_sources_name_the_other_release() {
        let archives = archives(&parse_stanzas(STANZAS), "bookworm").expect("the archive is there");
        let text = derive(&archives, "trixie", true, &Trust::Unchecked);
        assert_eq!(
            text,
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie\nComponents: main\nTrusted: yes\n\n\
             Types: deb\nURIs: http://mirror.example/debian-security\nSuites: trixie-security\nComponents: main\n\
             Trusted: yes\n\n"
        );
    }
}
