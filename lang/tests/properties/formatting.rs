//! Properties of the formatter: for every script without mistakes it answers, its answer is the same script with the same
//! comments, and formatting that once more changes nothing. Scripts are random ones, all of the repository's, and both with
//! white space and comments thrown in.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::select;

use rtrace_lang::ast;
use rtrace_lang::lexer::{Token, Trivia, lex};
use rtrace_lang::parse::parse;
use rtrace_lang::pretty::{Refusal, format};

use super::program;

/// What is thrown between two words.
const FILLERS: &[&str] = &[
    "",
    "",
    "",
    " ",
    "\n",
    "\t\n\n\n",
    "\r\n",
    " /* c */ ",
    " /* c */\n",
    "\n/* a\n * b\n */\n",
    " // c\n",
    "\n\n// c\n\n",
];

fn comments(text: &str) -> Vec<String> {
    let trivia = lex(text).trivia;
    let comments = trivia.iter().filter(|(kind, _)| *kind == Trivia::Comment);
    comments.map(|(_, span)| text[span.range()].lines().map(str::trim).collect::<Vec<_>>().join("\n")).collect()
}

/// Checks all that must hold; false if the script has mistakes.
fn hold(text: &str) -> Result<bool, TestCaseError> {
    let once = match format(text) {
        Ok(once) => once,
        Err(Refusal::Mistakes(mistakes)) => {
            prop_assert!(!parse(text).diagnostics.is_empty(), "{:?}", mistakes);
            return Ok(false);
        }
        Err(Refusal::Damage(what)) => return Err(TestCaseError::fail(format!("{what} is damaged: {text:?}"))),
    };
    let dump = |text: &str| ast::dump(&parse(text).ast).replace("\\r\\n", "\\n");
    prop_assert_eq!(dump(text), dump(&once), "another script: {:?}", once);
    prop_assert_eq!(comments(text), comments(&once), "other comments: {:?}", once);
    match format(&once) {
        Ok(twice) => prop_assert_eq!(&twice, &once, "not the same a second time; from {:?}", text),
        Err(refusal) => return Err(TestCaseError::fail(format!("{refusal:?}: {once:?}"))),
    }
    prop_assert!(once.is_empty() || once.ends_with('\n') && !once.ends_with("\n\n"), "{:?}", once);
    prop_assert!(!once.contains("\r\n"));
    Ok(true)
}

/// The script with something thrown in before each word; a comment may stand there but behind `config`.
fn spread(text: &str, fillers: &[&str]) -> String {
    let tokens = lex(text).tokens;
    let (mut out, mut end) = (String::new(), 0);
    for (n, (_, span)) in tokens.iter().enumerate() {
        let filler = fillers[n % fillers.len()];
        let is_name = n > 0 && tokens[n - 1].0 == Token::Config;
        out.push_str(&text[end..span.start as usize]);
        out.push_str(if is_name || n == 0 { "" } else { filler });
        out.push_str(&text[span.range()]);
        end = span.end as usize;
    }
    out.push_str(&text[end..]);
    out
}

/// The script with white space only where words would merge.
fn squeeze(text: &str) -> String {
    let tokens = lex(text).tokens;
    let (mut out, mut end) = (String::new(), 0);
    for (n, (token, span)) in tokens.iter().enumerate() {
        let (gap, word) = (&text[end..span.start as usize], &text[span.range()]);
        let is_apart = |c: char| c.is_alphanumeric() || "_$@".contains(c);
        let merges = match (out.chars().next_back(), word.chars().next()) {
            (Some(left), Some(right)) => is_apart(left) == is_apart(right),
            (None, _) | (_, None) => false,
        };
        let is_head = matches!(token, Token::Directive(_) | Token::PredicateOpen | Token::AngleClose)
            || n > 0 && matches!(tokens[n - 1].0, Token::Directive(_) | Token::Probe(_) | Token::PredicateOpen);
        out.push_str(if gap.trim().is_empty() && !merges && !is_head { "" } else { gap });
        out.push_str(word);
        end = span.end as usize;
    }
    out.push_str(&text[end..]);
    out
}

fn scripts_below(directory: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            scripts_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rt") {
            found.push(path);
        }
    }
}

/// The scripts of the repository that have no syntax error.
fn corpus() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut paths = Vec::new();
    for directory in ["tests/cases", "examples", "benches", "lang/tests/formatting"] {
        scripts_below(&root.join(directory), &mut paths);
    }
    let texts = paths.iter().filter_map(|path| String::from_utf8(std::fs::read(path).expect("a file")).ok());
    texts.filter(|text| parse(text).diagnostics.is_empty()).collect()
}

#[test]
fn all_scripts_of_the_repository() {
    let corpus = corpus();
    assert!(corpus.len() > 100, "{} scripts", corpus.len());
    for text in corpus {
        match hold(&text) {
            Ok(formatted) => assert!(formatted),
            Err(error) => panic!("{error}\n{text}"),
        }
    }
}

/// `NAME.before.rt` becomes `NAME.after.rt`.
#[test]
fn every_construct() {
    let mut paths = Vec::new();
    scripts_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formatting"), &mut paths);
    paths.retain(|path| path.to_string_lossy().ends_with(".before.rt"));
    assert!(paths.len() > 4, "{paths:?}");
    for path in paths {
        let after = PathBuf::from(path.to_string_lossy().replace(".before.rt", ".after.rt"));
        let before = std::fs::read_to_string(&path).expect("a script");
        let formatted = match format(&before) {
            Ok(formatted) => formatted,
            Err(refusal) => panic!("{}: {refusal:?}", path.display()),
        };
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&after, &formatted).expect("the expected text is written");
        }
        let wanted = std::fs::read_to_string(&after).unwrap_or_default();
        assert_eq!(formatted, wanted, "{}: UPDATE_EXPECT=1 rewrites it", after.display());
    }
}

#[test]
fn examples_are_in_the_one_style() {
    let mut paths = Vec::new();
    scripts_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples"), &mut paths);
    assert!(!paths.is_empty());
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a script");
        assert_eq!(format(&text).as_deref(), Ok(text.as_str()), "{}: run `rtrace fmt -i` on it", path.display());
    }
}

#[test]
fn scripts_of_the_repository_squeezed() {
    for text in corpus() {
        let squeezed = squeeze(&text);
        match hold(&squeezed) {
            Ok(formatted) => assert!(formatted, "{squeezed}\n{:?}", parse(&squeezed).diagnostics),
            Err(error) => panic!("{error}\n{squeezed}"),
        }
    }
}

#[test]
fn what_is_thrown_in_is_legal() {
    let all: Vec<String> = corpus().iter().map(|text| spread(text, FILLERS)).collect();
    for text in &all {
        assert!(parse(text).diagnostics.is_empty(), "{:?}\n{text}", parse(text).diagnostics);
    }
}

/// Most random scripts have no mistake; if more than half had one, these properties would say little.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { failure_persistence: None, max_global_rejects: config.cases, ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_scripts(text in program()) {
        prop_assume!(hold(&text)?);
        prop_assert!(hold(&squeeze(&text))?);
    }

    #[test]
    fn random_scripts_spread(text in program(), fillers in proptest::collection::vec(select(FILLERS), 1..40)) {
        prop_assume!(parse(&text).diagnostics.is_empty());
        prop_assert!(hold(&spread(&text, &fillers))?);
    }

    #[test]
    fn scripts_of_the_repository_spread(text in select(corpus()), fillers in proptest::collection::vec(select(FILLERS), 1..80)) {
        prop_assert!(hold(&spread(&text, &fillers))?);
    }

    #[test]
    fn any_bytes(text in any::<String>()) {
        hold(&text)?;
    }
}
