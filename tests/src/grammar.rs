//! The files for editors give each word the colour of what the lexer reads there. The TextMate grammar is followed by a
//! reader of its own, a line at a time as editors do it; the syntax file by Vim itself, where there is one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use regex::Regex;
use rtrace_lang::aggregations::AGGREGATIONS;
use rtrace_lang::builtins;
use rtrace_lang::dtrace::ROWS;
use rtrace_lang::lexer::{Token, Trivia, lex};
use rtrace_lang::parse::parse;
use rtrace_probes::provider_named;
use serde_json::Value;

use crate::environment::on_path;
use crate::reference::editors;

/// What a word is, and what the files call that: the grammar's scopes begin so, Vim's groups are these.
struct Kind {
    name: &'static str,
    scopes: &'static [&'static str],
    groups: &'static [&'static str],
}

macro_rules! kinds {
    ($($name:ident: $scopes:expr, $groups:expr;)*) => {
        $(static $name: Kind = Kind { name: stringify!($name), scopes: $scopes, groups: $groups };)*
    };
}

kinds! {
    COMMENT: &["comment."], &["rtraceComment"];
    STRING: &["string."], &["rtraceString"];
    NUMBER: &["constant.numeric"], &["rtraceNumber"];
    VALUE: &["constant.language"], &["rtraceValue"];
    VARIABLE: &["variable.other.rtrace"], &["rtraceVariable"];
    PARAMETER: &["variable.parameter"], &["rtraceVariable"];
    MAP: &["variable.other.map"], &["rtraceMap"];
    KEYWORD: &["keyword.control"], &["rtraceKeyword"];
    AGGREGATION: &["support.function.aggregation"], &["rtraceAggregation"];
    BUILTIN: &["support.function.rtrace", "support.variable"], &["rtraceFunction", "rtraceBuiltin"];
    PROBE: &["entity.name.function.probe"], &["rtraceProbe"];
    PREPROCESSOR: &["meta.preprocessor"], &["rtracePreprocessor"];
}

/// The words of a script that have a colour: where each begins, and what it is.
fn expected(text: &str) -> Vec<(usize, &'static Kind)> {
    let lexed = lex(text);
    let mut words = Vec::new();
    let mut before = None;
    for (token, span) in &lexed.tokens {
        let start = span.range().start;
        let written = &text[span.range()];
        let kind = match token {
            // Names of one's own and providers of D's in a program are known where they are resolved.
            Token::Probe(_) if is_known(written) => Some(&PROBE),
            Token::Probe(_) => None,
            Token::Str(_) => Some(&STRING),
            Token::Int(_) if written.starts_with('\'') => Some(&STRING),
            Token::Int(_) | Token::Duration(_) => Some(&NUMBER),
            Token::True | Token::False => Some(&VALUE),
            Token::Variable(_) => Some(&VARIABLE),
            Token::Map(_) => Some(&MAP),
            Token::Positional(_) | Token::PositionalText(_) | Token::PositionalCount => Some(&PARAMETER),
            Token::Directive(_) => Some(&PREPROCESSOR),
            // What belongs to a value has its name, whatever else is called so.
            Token::Ident(_) | Token::ArgumentName(_) if matches!(before, Some(Token::Dot | Token::Arrow)) => None,
            Token::Ident(name) if AGGREGATIONS.iter().any(|row| row.name == name) => Some(&AGGREGATION),
            Token::Ident(name) if builtins::named(name).is_some() || builtins::argument_number(name).is_some() => {
                Some(&BUILTIN)
            }
            _ if editors::keywords().contains(written) && !matches!(before, Some(Token::Dot | Token::Arrow)) => {
                Some(&KEYWORD)
            }
            _ => None,
        };
        words.extend(kind.map(|kind| (start, kind)));
        before = Some(token.clone());
    }
    let comments = lexed.trivia.iter().filter(|(trivia, _)| *trivia == Trivia::Comment);
    words.extend(comments.map(|(_, span)| (span.range().start, &COMMENT)));
    words.sort_by_key(|(start, _)| *start);
    words
}

/// Whether the probe is named by a provider.
fn is_known(probe: &str) -> bool {
    let is_provider = |name: &str| provider_named(name).is_some() || ROWS.iter().any(|row| row.provider == name);
    matches!(probe, "BEGIN" | "END") || probe.split_once(':').is_some_and(|(name, _)| is_provider(name))
}

struct Rule {
    name: String,
    begin: Regex,
    /// What it ends with, where it goes on until then.
    end: Option<Regex>,
    inner: Vec<Rule>,
}

/// Words are those of ASCII, as in the language.
fn compiled(pattern: &str) -> Result<Regex> {
    Regex::new(&pattern.replace("\\b", "(?-u:\\b)")).with_context(|| pattern.to_string())
}

fn rules(grammar: &Value) -> Result<Vec<Rule>> {
    let text = |value: &Value| value.as_str().map(str::to_string);
    let patterns = grammar["patterns"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rule = |value: &Value| {
        let begin = text(&value["match"]).or(text(&value["begin"])).context("a rule without a pattern")?;
        let end = text(&value["end"]).map(|end| compiled(&end)).transpose()?;
        ensure!(end.is_some() == value["match"].is_null(), "a rule with a beginning and no end: {value}");
        let name = text(&value["name"]).context("a rule without a name")?;
        Ok(Rule { name, begin: compiled(&begin)?, end, inner: rules(value)? })
    };
    patterns.iter().map(rule).collect()
}

/// The scope at each byte of a text.
fn scopes<'a>(rules: &'a [Rule], text: &str) -> Vec<&'a str> {
    let mut scopes = vec![""; text.len()];
    // The rule that goes on from the line before.
    let mut open: Option<&Rule> = None;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let words = line.trim_end_matches(['\n', '\r']);
        let mut at = 0;
        loop {
            let first = |rules: &'a [Rule]| {
                let found = rules.iter().filter_map(|rule| Some((rule, rule.begin.find_at(words, at)?)));
                // The first of those that begin at one place counts.
                found.min_by_key(|(_, found)| found.start())
            };
            if let Some(rule) = open {
                let end = rule.end.as_ref().and_then(|end| end.find_at(words, at));
                let inner = first(&rule.inner).filter(|(_, inner)| end.is_none_or(|end| inner.start() < end.start()));
                let to = match (&inner, end) {
                    (Some((_, inner)), _) => inner.end(),
                    (None, Some(end)) => end.end(),
                    (None, None) => words.len(),
                };
                scopes[start + at..start + to].fill(&rule.name);
                at = to;
                match (inner, end) {
                    (Some(_), _) => continue,
                    (None, Some(_)) => open = None,
                    (None, None) => break,
                }
            } else {
                let Some((rule, found)) = first(rules).filter(|(_, found)| found.start() < words.len()) else { break };
                scopes[start + found.start()..start + found.end()].fill(&rule.name);
                // Nothing is at an empty place.
                at = found.end().max(found.start() + 1).min(words.len());
                open = rule.end.is_some().then_some(rule);
            }
        }
        start += line.len();
    }
    scopes
}

/// All scripts below the directories that have no mistake of form.
fn scripts(directories: &[&Path]) -> Result<Vec<(PathBuf, String)>> {
    let mut open: Vec<PathBuf> = directories.iter().map(|directory| directory.to_path_buf()).collect();
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rt") {
                let text = std::fs::read_to_string(&path)?;
                if parse(&text).diagnostics.is_empty() {
                    found.push((path, text));
                }
            }
        }
    }
    ensure!(found.len() >= 40, "only {} scripts", found.len());
    Ok(found)
}

fn at_line(text: &str, place: usize) -> (usize, &str) {
    let line = text[..place].matches('\n').count();
    (line + 1, text.lines().nth(line).unwrap_or(""))
}

/// Every word of every script has the scope of its kind.
pub fn check(directories: &[&Path]) -> Result<()> {
    let grammar: Value = serde_json::from_str(&editors::grammar()).context("the grammar is no JSON")?;
    for (name, text) in [("package.json", editors::package()), ("language-configuration.json", editors::brackets())] {
        let _: Value = serde_json::from_str(&text).with_context(|| format!("{name} is no JSON"))?;
    }
    let rules = rules(&grammar)?;
    let mut wrong = Vec::new();
    let mut count = 0;
    for (path, text) in scripts(directories)? {
        let scopes = scopes(&rules, &text);
        for (place, kind) in expected(&text) {
            count += 1;
            if !kind.scopes.iter().any(|scope| scopes[place].starts_with(scope)) {
                let (line, whole) = at_line(&text, place);
                wrong.push(format!("{}:{line}: {} is `{}`: {whole}", path.display(), kind.name, scopes[place]));
            }
        }
    }
    ensure!(count > 5000, "only {count} words");
    if !wrong.is_empty() {
        bail!("{} of {count} words have another scope:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
    }
    Ok(())
}

/// Where Vim is installed.
pub fn vim() -> Option<PathBuf> {
    on_path("vim")
}

/// The same by Vim, of the examples.
pub fn check_vim(examples: &Path) -> Result<()> {
    let directory = std::env::temp_dir().join(format!("rtrace-test-vim-{}", std::process::id()));
    let outcome = ask_vim(examples, &directory);
    let _ = std::fs::remove_dir_all(&directory);
    outcome
}

fn ask_vim(examples: &Path, directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory.join("syntax"))?;
    std::fs::write(directory.join("syntax/rtrace.vim"), editors::vim_syntax())?;
    let mut wanted = Vec::new();
    let mut script = format!("set runtimepath^={}\nsyntax on\nlet groups = []\n", directory.display());
    for (path, text) in scripts(&[examples])? {
        script.push_str(&format!("edit! {}\nset syntax=rtrace\n", path.canonicalize()?.display()));
        for (place, kind) in expected(&text) {
            let line = text[..place].matches('\n').count() + 1;
            let column = place - text[..place].rfind('\n').map_or(0, |newline| newline + 1) + 1;
            script.push_str(&format!("call add(groups, synIDattr(synID({line}, {column}, 1), 'name'))\n"));
            wanted.push((path.clone(), at_line(&text, place).1.to_string(), column, kind));
        }
    }
    let (asks, answers) = (directory.join("asks.vim"), directory.join("answers"));
    script.push_str(&format!("call writefile(groups, '{}')\nqall!\n", answers.display()));
    std::fs::write(&asks, script)?;
    let status = Command::new("vim")
        .args(["-N", "-u", "NONE", "-i", "NONE", "-n", "-es", "-S"])
        .arg(&asks)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("cannot start vim")?;
    let answered = std::fs::read_to_string(&answers).with_context(|| format!("vim ended with {status}"))?;
    let answered: Vec<&str> = answered.lines().collect();
    ensure!(answered.len() == wanted.len(), "{} answers to {} questions", answered.len(), wanted.len());
    let mut wrong = Vec::new();
    for ((path, line, column, kind), group) in wanted.iter().zip(&answered) {
        if !kind.groups.contains(group) {
            wrong.push(format!("{}: {} is `{group}` at {column}: {line}", path.display(), kind.name));
        }
    }
    if !wrong.is_empty() {
        bail!(
            "{} of {} words have another group:\n{}",
            wrong.len(),
            wanted.len(),
            wrong[..wrong.len().min(40)].join("\n")
        );
    }
    Ok(())
}
