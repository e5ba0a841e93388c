//! What may stand where the cursor is: commands, probes, builtins, members, variables, maps, files. Prints nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use rtrace_lang::aggregations::AGGREGATIONS;
use rtrace_lang::ast::Item;
use rtrace_lang::builtins;
use rtrace_lang::check::{CheckOptions, FixedMap};
use rtrace_lang::hir::{StmtKind, for_each_statement};
use rtrace_lang::lexer::Token;
use rtrace_lang::parse::parse;
use rtrace_lang::source::Source;
use rtrace_lang::target::{ResolveOptions, Target};
use rtrace_lang::types::Type;
use rtrace_probes::{Machine, PROVIDERS, Provider, list, provider_named};
use rtrace_runtime::driver::{Stage, drive};

use super::commands::{self, Takes};
use super::names::Names;
use super::text::{begins_program, depth, lex, valued};

/// Words of the language that begin or join statements.
const KEYWORDS: &[&str] = &[
    "break", "comptime", "config", "continue", "else", "enum", "fn", "for", "if", "import", "let", "macro", "offsetof",
    "return", "sizeof", "struct", "typeof", "union", "unroll", "while",
];

/// A word that may stand there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Candidate {
    /// What replaces the word at the cursor.
    pub text: String,
    /// As it is shown among others, where that is more.
    explained: Option<String>,
}

impl Candidate {
    fn plain(text: impl Into<String>) -> Candidate {
        Candidate { text: text.into(), explained: None }
    }

    fn explained(text: String, explained: String) -> Candidate {
        Candidate { text, explained: Some(explained) }
    }

    /// As it is shown among others.
    pub fn shown(&self) -> &str {
        self.explained.as_deref().unwrap_or(&self.text)
    }
}

/// What the prompt has by now.
#[derive(Default)]
pub struct Known {
    pub programs: Vec<String>,
    /// With their `@`.
    pub maps: BTreeSet<String>,
    /// Maps that the next program shares.
    pub fixed: Vec<FixedMap>,
}

/// Shared with threads that read lists of probes ahead.
#[derive(Clone)]
pub struct Completion(Arc<Shared>);

struct Shared {
    machine: Machine,
    known: Mutex<Known>,
    /// All probes of a provider, once they have been asked for.
    probes: Mutex<HashMap<&'static str, Arc<Names>>>,
    pid: Option<u32>,
}

impl Completion {
    pub fn new(machine: Machine, pid: Option<u32>) -> Completion {
        let (known, probes) = (Mutex::default(), Mutex::default());
        Completion(Arc::new(Shared { machine, known, probes, pid }))
    }

    pub fn machine(&self) -> &Machine {
        &self.0.machine
    }

    pub fn update(&self, known: Known) {
        *self.0.known.lock().expect("no holder panics") = known;
    }

    /// Where the word at the end of `text` begins, and what may stand there, sorted.
    pub fn complete(&self, text: &str) -> (usize, Vec<Candidate>) {
        let trimmed = text.trim_start();
        let (start, mut found) = match trimmed.starts_with(':') {
            true => self.of_command(text, text.len() - trimmed.len()),
            false => self.of_program(text),
        };
        found.sort_unstable();
        found.dedup();
        (start, found)
    }

    fn of_command(&self, text: &str, start: usize) -> (usize, Vec<Candidate>) {
        let Some(space) = text[start..].find(char::is_whitespace).map(|at| start + at) else {
            let names = commands::COMMANDS.iter().map(|command| command.name);
            let named = names.filter(|name| name.starts_with(&text[start..])).map(Candidate::plain);
            return (start, named.collect());
        };
        let Some(command) = commands::named(&text[start..space]) else { return (text.len(), Vec::new()) };
        let word = text.rfind(char::is_whitespace).map_or(text.len(), |at| at + 1);
        let typed = &text[word..];
        let is_first = text[space..word].trim().is_empty();
        let found = match (command.takes, is_first) {
            (Takes::Nothing, _) => Vec::new(),
            (Takes::Program, _) | (Takes::StageAndProgram, false) => {
                let known = self.0.known.lock().expect("no holder panics");
                known.programs.iter().filter(|name| name.starts_with(typed)).map(Candidate::plain).collect()
            }
            (Takes::StageAndProgram, true) => {
                let stages = crate::emit::STAGES.iter().filter(|stage| stage.starts_with(typed));
                stages.map(|stage| Candidate::plain(*stage)).collect()
            }
            (Takes::Map | Takes::MapAndFile, true) => self.maps(typed),
            (Takes::Map, false) => Vec::new(),
            (Takes::File, _) | (Takes::MapAndFile, false) => files(typed),
            (Takes::Probes, _) => self.probes(typed),
            (Takes::Builtin, _) => builtin_words(typed),
            (Takes::Expression, _) => {
                let start = text.len() - typed.len();
                let (at, found) = self.of_program(&text[space + 1..]);
                return (if at == 0 { start } else { space + 1 + at }, found);
            }
        };
        (word, found)
    }

    fn of_program(&self, text: &str) -> (usize, Vec<Candidate>) {
        let (depth, start) = depth(text);
        let is_program = begins_program(text);
        // Where a predicate has begun, its words are values.
        let in_predicate = text[start..].split_whitespace().skip(1).any(|word| word.starts_with('/'));
        if depth == 0 && !in_predicate && (is_program || start > 0) {
            let word = text.rfind([' ', '\t', '\n', ',', '}', ';']).map_or(0, |at| at + 1);
            return (word, self.probes(&text[word..]));
        }
        let name = text.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(0, |at| at + 1);
        let (before, typed) = text.split_at(name);
        if let Some(base) = before.strip_suffix("->").or_else(|| before.strip_suffix('.')) {
            let base = &base[expression_start(base)..];
            let members = self.members(text, depth, start, base);
            return (name, members.into_iter().filter(|found| found.text.starts_with(typed)).collect());
        }
        if before.ends_with('$') {
            let variables = lex(text).tokens.into_iter().filter_map(|(token, span)| match token {
                // The word that is being typed is no candidate.
                Token::Variable(name) if (span.end as usize) < text.len() => Some(Candidate::plain(format!("${name}"))),
                _ => None,
            });
            let typed = &text[name - 1..];
            return (name - 1, variables.filter(|found| found.text.starts_with(typed)).collect());
        }
        if before.ends_with('@') {
            let typed = &text[name - 1..];
            let of_text = lex(text).tokens.into_iter().filter_map(|(token, span)| match token {
                Token::Map(name) if (span.end as usize) < text.len() => Some(Candidate::plain(format!("@{name}"))),
                _ => None,
            });
            let mut found: Vec<Candidate> = of_text.filter(|found| found.text.starts_with(typed)).collect();
            found.extend(self.maps(typed));
            return (name - 1, found);
        }
        if typed.is_empty() && depth == 0 {
            return (name, Vec::new());
        }
        let mut found = builtin_words(typed);
        found.extend(KEYWORDS.iter().filter(|word| word.starts_with(typed)).map(|word| Candidate::plain(*word)));
        if before.trim().is_empty() && depth == 0 {
            found.extend(self.probes(typed));
        }
        (name, found)
    }

    fn maps(&self, typed: &str) -> Vec<Candidate> {
        let known = self.0.known.lock().expect("no holder panics");
        known.maps.iter().filter(|name| name.starts_with(typed)).map(Candidate::plain).collect()
    }

    /// Probes that begin so, up to the next colon.
    fn probes(&self, typed: &str) -> Vec<Candidate> {
        let Some((provider, rest)) = typed.split_once(':') else {
            let names = PROVIDERS.iter().map(|provider| provider.name()).filter(|name| name.starts_with(typed));
            // BEGIN and END are whole.
            let whole = |name: &str| name.chars().all(|c| c.is_ascii_uppercase());
            let found = names.map(|name| Candidate::plain(if whole(name) { name.into() } else { format!("{name}:") }));
            return found.collect();
        };
        let Some(known) = provider_named(provider) else { return Vec::new() };
        if !known.has_kernel_points() {
            // A program's path, and behind the next colon what is in it.
            if !rest.contains(':') {
                let found = files(rest).into_iter();
                let whole = |path: String| if path.ends_with('/') { path } else { format!("{path}:") };
                return found
                    .map(|file| {
                        let shown = file.shown().to_string();
                        Candidate::explained(format!("{provider}:{}", whole(file.text)), shown)
                    })
                    .collect();
            }
            let listed = list(&self.0.machine, Some(&format!("{typed}*")), false, self.0.pid).unwrap_or_default();
            let names =
                listed.into_iter().filter_map(|probe| probe.name.split_once(':').map(|(_, rest)| rest.to_string()));
            return names.map(|name| Candidate::plain(format!("{provider}:{name}"))).collect();
        }
        let all = self.all_probes(known.name());
        let wanted = format!("{}:{rest}", known.name());
        let mut found: Vec<Candidate> = Vec::new();
        for name in all.beginning(&wanted) {
            let end = name[wanted.len()..].find(':').map_or(name.len(), |at| wanted.len() + at + 1);
            let text = format!("{provider}{}", &name[known.name().len()..end]);
            if found.last().is_none_or(|last| last.text != text) {
                found.push(Candidate::plain(text));
            }
        }
        found
    }

    fn all_probes(&self, provider: &'static str) -> Arc<Names> {
        let mut known = self.0.probes.lock().expect("no holder panics");
        let read = || {
            let listed = list(&self.0.machine, Some(provider), false, self.0.pid).unwrap_or_default();
            Arc::new(Names::of(listed))
        };
        known.entry(provider).or_insert_with(read).clone()
    }

    /// Reads the list of probes that the text is about to ask for, in a thread of its own.
    pub fn read_ahead(&self, text: &str) {
        let word = text.rfind([' ', '\t', '\n', ',', '}', ';']).map_or(text, |at| &text[at + 1..]);
        let Some(provider) = provider_of(word) else { return };
        // Whoever holds the lock reads a list: the next key asks again.
        let is_due = self.0.probes.try_lock().is_ok_and(|known| !known.contains_key(provider.name()));
        if provider.has_kernel_points() && is_due {
            let all = self.clone();
            // Without a thread it is read when it is asked for.
            let _ = std::thread::Builder::new().spawn(move || drop(all.all_probes(provider.name())));
        }
    }

    /// What may follow `base.` or `base->` in the statement that begins at `start`.
    fn members(&self, text: &str, depth: usize, start: usize, base: &str) -> Vec<Candidate> {
        if base == "args" {
            return self.arguments(text);
        }
        match self.typed(text, depth, start, base) {
            Some(ty) => self.of_type(&ty).into_iter().map(|(name, ty)| shown(name, &ty)).collect(),
            None => Vec::new(),
        }
    }

    /// Arguments of the probe whose block is open at the end of the text.
    fn arguments(&self, text: &str) -> Vec<Candidate> {
        let mut clause = 0;
        let mut open = 0usize;
        for (token, span) in lex(text).tokens {
            match token {
                Token::LBrace | Token::AngleOpen => open += 1,
                Token::RBrace | Token::AngleClose => {
                    open = open.saturating_sub(1);
                    if open == 0 {
                        clause = span.end as usize;
                    }
                }
                _ => {}
            }
        }
        let header = text[clause..].split(['{', '/']).next().unwrap_or_default();
        // A path has slashes; then the brace alone ends it.
        let header = if header.contains(':') { text[clause..].split('{').next().unwrap_or_default() } else { header };
        let header = header.split(" /").next().unwrap_or_default();
        let parsed = parse(&format!("{header} {{ }}"));
        let Some(Item::Clause(clause)) = parsed.ast.items.first() else { return Vec::new() };
        let options = ResolveOptions { uses_arguments: true, pid: self.0.pid, ..ResolveOptions::default() };
        let sites = clause.probes.first().map(|spec| self.0.machine.resolve(spec, &options));
        let Some(Ok(sites)) = sites else { return Vec::new() };
        let arguments = sites.first().map(|site| site.layout.arguments.clone()).unwrap_or_default();
        arguments.iter().map(|argument| shown(argument.name.to_string(), &argument.ty)).collect()
    }

    /// The type of the variable, the map or the member that the text ends with.
    pub fn type_at(&self, text: &str) -> Option<Type> {
        let (depth, start) = depth(text);
        self.typed(text, depth, start, &text[expression_start(text)..])
    }

    /// The type of an expression in that statement, if the checker can tell.
    fn typed(&self, text: &str, depth: usize, start: usize, base: &str) -> Option<Type> {
        let script = match depth {
            0 => valued(base),
            _ => format!("{} $__value = {base}; {}", &text[..start], "}".repeat(depth)),
        };
        type_of_value(
            &script,
            &self.0.machine,
            self.0.pid,
            &self.0.known.lock().expect("no holder panics").fixed.clone(),
        )
        .or_else(|| {
            let at = base.rfind("->").max(base.rfind('.'))?;
            let (head, name) = (&base[..at], base[at..].trim_start_matches(['-', '>', '.']));
            let of = self.typed(text, depth, start, head)?;
            self.of_type(&of).into_iter().find(|(member, _)| member == name).map(|(_, ty)| ty)
        })
    }

    /// Members by name, those of anonymous members included.
    fn of_type(&self, ty: &Type) -> Vec<(String, Type)> {
        match ty {
            Type::Pointer { to, .. } => self.of_type(to),
            Type::Struct(of) => {
                let fields = self.0.machine.fields(of).into_iter();
                fields
                    .flat_map(|field| match field.name.is_empty() {
                        true => self.of_type(&field.ty),
                        false => vec![(field.name.to_string(), field.ty)],
                    })
                    .collect()
            }
            Type::Record(parts) => parts.iter().map(|(name, ty)| (name.to_string(), ty.clone())).collect(),
            Type::Tuple(parts) => parts.iter().enumerate().map(|(n, ty)| (n.to_string(), ty.clone())).collect(),
            Type::Void
            | Type::Bool
            | Type::Int { .. }
            | Type::Enum(_)
            | Type::Str(_)
            | Type::Buffer(_)
            | Type::Array { .. }
            | Type::Stack { .. }
            | Type::Symbol { .. }
            | Type::ProbeName
            | Type::FunctionName
            | Type::ModuleName
            | Type::EventName
            | Type::Timestamp(_)
            | Type::Shown(_)
            | Type::Inet
            | Type::Unknown => Vec::new(),
        }
    }
}

/// The provider that a word names, or will: `kp` can only become `kprobe:`.
fn provider_of(word: &str) -> Option<&'static dyn Provider> {
    if let Some((provider, _)) = word.split_once(':') {
        return provider_named(provider);
    }
    let mut meant = PROVIDERS.iter().filter(|provider| word.len() >= 2 && provider.name().starts_with(word));
    let first = meant.next().copied();
    first.filter(|_| meant.next().is_none())
}

/// The type of `$__value` in a script; None where there is a mistake in it.
pub fn type_of_value(script: &str, machine: &Machine, pid: Option<u32>, fixed: &[FixedMap]) -> Option<Type> {
    let options = CheckOptions { pid, allow_unsafe: true, fixed_maps: fixed.to_vec(), ..CheckOptions::default() };
    let driven = drive(&mut Source::new("prompt", script), machine, &options, Stage::Check);
    let hir = driven.hir?;
    let mut found = None;
    for program in &hir.programs {
        let number = program.locals.iter().rposition(|local| local.name == "__value");
        for_each_statement(&program.body, &mut |statement| match &statement.kind {
            // A variable is 64 bits wide; what it gets may be narrower.
            StmtKind::SetLocal { local, value } if Some(local.index()) == number => found = Some(value.ty.clone()),
            _ => {}
        });
        found = found.or_else(|| number.map(|number| program.locals[number].ty.clone()));
    }
    found
}

fn shown(name: String, ty: &Type) -> Candidate {
    let explained = format!("{name}  {ty:#}");
    Candidate::explained(name, explained)
}

/// Values, functions and aggregations, with their signatures.
fn builtin_words(typed: &str) -> Vec<Candidate> {
    let row = |name: &str, signature: &str| {
        let call = if signature.contains('(') && !signature.contains("[(") { "(" } else { "" };
        Candidate::explained(format!("{name}{call}"), signature.to_string())
    };
    let builtins = builtins::all().map(|builtin| (builtin.name, builtin.signature));
    let aggregations = AGGREGATIONS.iter().map(|aggregation| (aggregation.name, aggregation.signature));
    let all = builtins.chain(aggregations);
    all.filter(|(name, _)| name.starts_with(typed) && !typed.is_empty()).map(|(name, sign)| row(name, sign)).collect()
}

/// Where the expression at the end of the text begins: names, members, calls and indices.
fn expression_start(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut open) = (bytes.len(), 0usize);
    while at > 0 {
        let byte = bytes[at - 1];
        match byte {
            b')' | b']' => open += 1,
            b'(' | b'[' if open == 0 => break,
            b'(' | b'[' => open -= 1,
            _ if open > 0 => {}
            b'.' | b'_' | b'$' | b'@' => {}
            b'>' if at > 1 && bytes[at - 2] == b'-' => at -= 1,
            _ if byte.is_ascii_alphanumeric() => {}
            _ => break,
        }
        at -= 1;
    }
    at
}

/// Files and directories that begin so.
fn files(typed: &str) -> Vec<Candidate> {
    let (directory, name) = typed.rfind('/').map_or(("", typed), |at| typed.split_at(at + 1));
    let Ok(entries) = std::fs::read_dir(if directory.is_empty() { "." } else { directory }) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let Ok(file) = entry.file_name().into_string() else { continue };
        if !file.starts_with(name) || (name.is_empty() && file.starts_with('.')) {
            continue;
        }
        let end = if entry.path().is_dir() { "/" } else { "" };
        found.push(Candidate::explained(format!("{directory}{file}{end}"), format!("{file}{end}")));
    }
    found
}
