//! Tests of the lexer: what each place makes of the same characters.

use super::*;

fn kinds(text: &str) -> Vec<Token> {
    let lexed = lex(text);
    assert!(lexed.diagnostics.is_empty(), "{:?}", lexed.diagnostics);
    lexed.tokens.into_iter().map(|(token, _)| token).collect()
}

#[test]
fn angle_block_closes_at_a_statement() {
    let tokens = kinds("BEGIN < @a = 1 > 2; >");
    assert_eq!(tokens[1], Token::AngleOpen);
    assert!(tokens.contains(&Token::Greater));
    assert_eq!(tokens.last(), Some(&Token::AngleClose));
}

#[test]
fn angle_block_without_last_semicolon() {
    let tokens = kinds("kprobe:f < @[kstack] = count() >\n");
    assert_eq!(tokens.last(), Some(&Token::AngleClose));
}

#[test]
fn predicate_may_divide() {
    let tokens = kinds("BEGIN /pid / 2 == 1/ { }");
    assert_eq!(tokens.iter().filter(|t| **t == Token::Slash).count(), 1);
    assert!(tokens.contains(&Token::PredicateClose));
}

#[test]
fn casts_are_told_from_parentheses() {
    assert!(kinds("BEGIN { (uint8)1; }").contains(&Token::CastOpen));
    assert!(kinds("BEGIN { (struct sock *)arg0; }").contains(&Token::CastOpen));
    assert!(kinds("BEGIN { (pid_t)$x; }").contains(&Token::CastOpen));
    assert!(!kinds("BEGIN { (pid) - 1; }").contains(&Token::CastOpen));
    assert!(!kinds("BEGIN { ($x) + 1; }").contains(&Token::CastOpen));
    assert!(kinds("BEGIN { (u64)*$p; }").contains(&Token::CastOpen));
    assert!(kinds("struct x { int a; } BEGIN { (x)&$p; }").contains(&Token::CastOpen));
    assert!(!kinds("#define page_t 5\nBEGIN { (page_t) - 1; }").contains(&Token::CastOpen));
    assert!(!kinds("macro m(a_t) { (a_t) * 2 } BEGIN { m(1); }").contains(&Token::CastOpen));
}

#[test]
fn paths_are_told_from_predicates() {
    let has_predicate = |text: &str| kinds(text).contains(&Token::PredicateOpen);
    for probe in ["uprobe:/bin/x:f", "label=uprobe:/bin/x:f", "u*:/bin/x:f", "US*:/bin/x:p:n", "l=ur*:/bin/x:f"] {
        assert!(!has_predicate(&format!("{probe} {{ }}")), "{probe}");
        assert!(has_predicate(&format!("{probe} /pid == 1/ {{ }}")), "{probe}");
    }
    for probe in ["BEGIN", "l=BEGIN", "k*:f", "interval:s:1"] {
        assert!(has_predicate(&format!("{probe}/pid == 1/ {{ }}")), "{probe}");
    }
}

#[test]
fn probes_keep_their_characters() {
    let tokens = kinds("uprobe:/bin/ls:f+4,tracepoint:sys*:* { }");
    let Token::Probe(first) = &tokens[0] else { panic!("{:?}", tokens[0]) };
    assert_eq!(first.parts, ["/bin/ls", "f+4"]);
}

#[test]
fn any_bytes_are_survived() {
    for text in
        ["", "\"", "'", "/*", "BEGIN", "BEGIN /", "BEGIN { \"", "{", "}", "<", "\u{1F600}", "a:b:\"c", "BEGIN { $", "#"]
    {
        lex(text);
    }
}
