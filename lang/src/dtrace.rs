//! D's names of probes, `provider:module:function:name`: each stands for a probe of ours, and the names that D gives its
//! values there for expressions of ours. Rewrites the script before anything is resolved; asks no machine.

use crate::ast::rewrite::{Rewrite, walk_expr};
use crate::ast::{BinaryOp, Block, Clause, Expr, ExprKind, Item, Name, Script, Stmt, StmtKind};
use crate::diagnostic::{Code, Diagnostic, did_you_mean, near_misses};
use crate::expand::Place;
use crate::parse::parse;
use crate::probe::{ProbeSpec, glob_match, widened};
use crate::span::Span;

mod rows;
mod translators;

use rows::RATE;
pub use rows::{Argument, ROWS, Row};
use translators::{CURLWPSINFO, CURPSINFO, OPENED, WORDS};
pub use translators::{OPEN_FILE, Translator};

/// Units of `profile-N` and `tick-N`, with the nanoseconds of one; the first is what is meant without any.
const UNITS: &[(&str, u64)] = &[
    ("hz", 0),
    ("ns", 1),
    ("nsec", 1),
    ("us", 1_000),
    ("usec", 1_000),
    ("ms", 1_000_000),
    ("msec", 1_000_000),
    ("s", 1_000_000_000),
    ("sec", 1_000_000_000),
    ("m", 60_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("hour", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("day", 86_400_000_000_000),
];

/// What a specification in D's manner stands for.
pub struct Meaning {
    pub spec: ProbeSpec,
    /// None for a tick, which has no values of its own.
    row: Option<&'static Row>,
}

impl Meaning {
    /// True where our probe fires while another process runs than the one that D means.
    fn is_of_another_process(&self) -> bool {
        self.row.is_some_and(|row| row.values.iter().any(|(name, _)| *name == "pid"))
    }
}

/// The probes of ours that a specification of D means; None where it is none of D's. Empty where D's provider has no
/// such probe, or we have none in its place.
pub fn meanings(spec: &ProbeSpec) -> Option<Vec<Meaning>> {
    let rate = match spec.parts.as_slice() {
        [] => rate(&spec.provider),
        [_, _, name] if spec.provider.eq_ignore_ascii_case("profile") => rate(name),
        _ => None,
    };
    if let Some(text) = rate {
        let row = text.starts_with(RATE.provider).then_some(&RATE);
        return Some(vec![Meaning { spec: replaced(spec, &text), row }]);
    }
    let provider = spec.provider.as_str();
    if !ROWS.iter().any(|row| row.provider == provider) {
        return None;
    }
    // Without the four parts of D the name is no name of D's.
    let [module, function, name] = spec.parts.as_slice() else { return Some(Vec::new()) };
    let any = |part: &str| if part.is_empty() { "*".to_string() } else { part.to_string() };
    let category = any(module);
    let module = if matches!(module.as_str(), "" | "*" | "vmlinux") { String::new() } else { format!("{module}:") };
    let is_named = |row: &&Row| row.has_any_name() || glob_match(&any(name), row.name);
    let matching = ROWS.iter().filter(|row| row.provider == provider && is_named(row));
    // Only these have functions.
    let is_function = |row: &&Row| row.probe.contains("FUNCTION") || matches!(function.as_str(), "" | "*");
    let meaning = |row: &'static Row| {
        let last = if row.has_any_name() { any(name) } else { any(function) };
        let with = |last: &str| {
            let text = row.probe.replace("MODULE", &module).replace("CATEGORY", &category);
            text.replace("FUNCTION", last).replace("NAME", last)
        };
        let wide = widened(&last);
        let only = wide.is_some().then(|| with(&last).rsplit(':').next().unwrap_or_default().to_string());
        Meaning { spec: ProbeSpec { only, ..replaced(spec, &with(wide.as_deref().unwrap_or(&last))) }, row: Some(row) }
    };
    Some(matching.filter(is_function).map(meaning).collect())
}

fn replaced(spec: &ProbeSpec, text: &str) -> ProbeSpec {
    ProbeSpec { label: spec.label.clone(), ..ProbeSpec::parse(text, spec.span) }
}

/// `profile-997`, `tick-5s`: our probe of that rate.
fn rate(name: &str) -> Option<String> {
    let (provider, rate) = match (name.strip_prefix("profile-"), name.strip_prefix("tick-")) {
        (Some(rate), _) => ("profile", rate),
        (None, Some(rate)) => ("interval", rate),
        (None, None) => return None,
    };
    let digits = rate.find(|c: char| !c.is_ascii_digit()).unwrap_or(rate.len());
    let (count, unit) = rate.split_at(digits);
    let (_, nanoseconds) = match unit {
        "" => UNITS.first()?,
        unit => UNITS.iter().find(|(known, _)| *known == unit.to_ascii_lowercase())?,
    };
    let count: u64 = count.parse().ok()?;
    Some(match nanoseconds {
        0 => format!("{provider}:hz:{count}"),
        nanoseconds => format!("{provider}:{}", count.checked_mul(*nanoseconds)?),
    })
}

/// Replaces D's probes in a script by ours. A clause with several becomes a clause for each that has values of its own.
/// `follows`: only one process is traced.
pub fn translate(script: &mut Script, follows: bool, diagnostics: &mut Vec<Diagnostic>) {
    let mut items = Vec::new();
    for item in std::mem::take(&mut script.items) {
        match item {
            Item::Clause(mut clause) => {
                Current { diagnostics }.clause(&mut clause);
                items.extend(clauses(clause, follows, diagnostics).into_iter().map(Item::Clause));
            }
            mut other => {
                if let Item::Function { body, .. } | Item::Macro { body, .. } = &mut other {
                    Current { diagnostics }.block(body);
                }
                items.push(other);
            }
        }
    }
    script.items = items;
}

fn clauses(clause: Clause, follows: bool, diagnostics: &mut Vec<Diagnostic>) -> Vec<Clause> {
    let mut parts: Vec<(Option<&'static Row>, Vec<ProbeSpec>)> = Vec::new();
    let mut add = |row: Option<&'static Row>, spec: ProbeSpec| match parts
        .iter_mut()
        .find(|(known, _)| row.map(std::ptr::from_ref) == known.map(std::ptr::from_ref))
    {
        Some((_, specs)) => specs.push(spec),
        None => parts.push((row, vec![spec])),
    };
    for spec in &clause.probes {
        match meanings(spec) {
            None => add(None, spec.clone()),
            Some(found) if found.is_empty() => diagnostics.push(absent(spec)),
            Some(found) if follows && found.iter().any(Meaning::is_of_another_process) => {
                diagnostics.push(follows_another(spec));
            }
            Some(found) => found.into_iter().for_each(|meaning| add(meaning.row, meaning.spec)),
        }
    }
    let with = |(row, probes): (Option<&'static Row>, Vec<ProbeSpec>)| {
        let mut part = Clause { probes, ..clause.clone() };
        if let Some(row) = row {
            give(row, &mut part, diagnostics);
        }
        part
    };
    parts.into_iter().map(with).collect()
}

/// Lets a clause of one probe of D have its values, and fire only when D's would.
fn give(row: &'static Row, clause: &mut Clause, diagnostics: &mut Vec<Diagnostic>) {
    let mut values = Values { row, diagnostics };
    clause.predicate.iter_mut().for_each(|predicate| values.expr(predicate));
    values.block(&mut clause.body);
    if row.when.is_empty() {
        return;
    }
    let span = clause.predicate.as_ref().map_or(clause.probes[0].span, |predicate| predicate.span);
    let when = expression(row.when, span);
    clause.predicate = Some(match clause.predicate.take() {
        None => when,
        Some(own) => {
            Expr { kind: ExprKind::Binary { op: BinaryOp::And, left: Box::new(when), right: Box::new(own) }, span }
        }
    });
}

/// Replaces what D has in every probe in a block that is not a clause's own, such as that of a definition.
pub fn translate_block(block: &mut Block, diagnostics: &mut Vec<Diagnostic>) {
    Current { diagnostics }.block(block);
}

/// Replaces `curpsinfo`, `curlwpsinfo` and `fds[n]`, which are there in every probe, by what their members stand for.
struct Current<'a> {
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Current<'_> {
    fn clause(&mut self, clause: &mut Clause) {
        clause.predicate.iter_mut().for_each(|predicate| self.expr(predicate));
        self.block(&mut clause.body);
    }
}

impl Rewrite for Current<'_> {
    fn expr(&mut self, e: &mut Expr) {
        if let ExprKind::Field { base, name } = &mut e.kind
            && let ExprKind::Index { base: array, index } = &mut base.kind
            && matches!(&array.kind, ExprKind::Ident(array) if array == "fds")
        {
            self.expr(index);
            *e = open_file(index, name, e.span, self.diagnostics);
            return;
        }
        if let ExprKind::Field { base, name } = &e.kind
            && let ExprKind::Ident(object) = &base.kind
        {
            let ty = match object.as_str() {
                "curpsinfo" => Some(&CURPSINFO),
                "curlwpsinfo" => Some(&CURLWPSINFO),
                _ => None,
            };
            if let Some(ty) = ty {
                *e = member(ty, "curtask", name, e.span, self.diagnostics);
                return;
            }
        }
        walk_expr(self, e);
    }
}

/// What begins the names of the variables that `fds[n]` takes: no script can write them.
const OPEN_FILES: &str = "fds->";

/// `fds[index].name`: a block that finds the file once, and what the member is of it.
fn open_file(index: &Expr, name: &Name, span: Span, diagnostics: &mut Vec<Diagnostic>) -> Expr {
    let Expr { kind: ExprKind::Block(mut block), .. } = expression(OPENED, span) else {
        unreachable!("the text is a block")
    };
    let value = member(&OPEN_FILE, "$file", name, span, diagnostics);
    if value.kind == ExprKind::Int(0) {
        return value;
    }
    block.value = Some(Box::new(value));
    OwnVariables.block(&mut block);
    // What the script has written keeps its own variables.
    Words { object: index.clone(), span }.statement(&mut block.statements[0]);
    Expr { kind: ExprKind::Block(block), span }
}

/// Gives all variables names that are `fds`'s own.
struct OwnVariables;

impl Rewrite for OwnVariables {
    fn variable(&mut self, name: &mut String) {
        name.insert_str(0, OPEN_FILES);
    }
}

/// What a member of a translated argument stands for.
fn member(ty: &'static Translator, of: &str, name: &Name, span: Span, diagnostics: &mut Vec<Diagnostic>) -> Expr {
    if let Some((_, text)) = ty.all().find(|(known, _)| *known == name.text) {
        let mut value = expression(text, span);
        Words { object: expression(of, span), span }.expr(&mut value);
        return value;
    }
    let names: Vec<&str> = ty.all().map(|(known, _)| known).collect();
    let diagnostic =
        Diagnostic::error(Code::UnknownName, name.span, format!("{} has no member `{}`", ty.name, name.text))
            .label("not one of those that are translated");
    let diagnostic = match did_you_mean(&near_misses(&name.text, names.iter().copied())) {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    };
    diagnostics.push(diagnostic.help(format!("there are {}", names.join(", "))));
    Expr { kind: ExprKind::Int(0), span }
}

/// Replaces the words of translators, and `X` by the object that is translated.
struct Words {
    object: Expr,
    span: Span,
}

impl Rewrite for Words {
    fn expr(&mut self, e: &mut Expr) {
        let ExprKind::Ident(name) = &e.kind else { return walk_expr(self, e) };
        if name == "X" {
            *e = self.object.clone();
        } else if let Some((_, text)) = WORDS.iter().find(|(word, _)| word == name) {
            *e = expression(text, self.span);
            walk_expr(self, e);
        }
    }
}

/// Replaces names by what a row says that they stand for.
struct Values<'a> {
    row: &'static Row,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Values<'_> {
    fn of(&self, name: &str, span: Span) -> Option<Expr> {
        if let Some((_, text)) = self.row.values.iter().find(|(known, _)| *known == name) {
            return Some(expression(text, span));
        }
        let text = match name {
            "probeprov" => self.row.provider,
            // Each rate is a name of its own.
            "probename" if self.row.name.is_empty() || self.row.has_any_name() => return None,
            "probename" => self.row.name,
            _ => {
                let number: u32 = name.strip_prefix("arg")?.parse().ok()?;
                let argument = self.argument(number)?;
                return Some(expression(argument.of, span));
            }
        };
        Some(Expr { kind: ExprKind::Str(text.as_bytes().to_vec()), span })
    }

    fn argument(&self, number: u32) -> Option<&'static Argument> {
        self.row.arguments.iter().find(|argument| argument.number == number)
    }
}

/// The number of `arg0` or `args[0]`.
fn argument_number(e: &Expr) -> Option<u32> {
    match &e.kind {
        ExprKind::Ident(name) => name.strip_prefix("arg")?.parse().ok(),
        ExprKind::Index { base, index } => match (&base.kind, &index.kind) {
            (ExprKind::Ident(base), ExprKind::Int(index)) if base == "args" => u32::try_from(*index).ok(),
            _ => None,
        },
        _ => None,
    }
}

impl Rewrite for Values<'_> {
    fn expr(&mut self, e: &mut Expr) {
        if let ExprKind::Field { base, name } = &e.kind
            && let Some(argument) = argument_number(base).and_then(|number| self.argument(number))
        {
            *e = member(argument.ty, argument.of, name, e.span, self.diagnostics);
            return;
        }
        let name = match (&e.kind, argument_number(e)) {
            (ExprKind::Ident(name), _) => Some(name.clone()),
            // args[0] is arg0.
            (_, Some(number)) => Some(format!("arg{number}")),
            _ => None,
        };
        match name {
            Some(name) => match self.of(&name, e.span) {
                Some(value) => *e = value,
                None if matches!(e.kind, ExprKind::Index { .. }) => e.kind = ExprKind::Ident(name),
                None => {}
            },
            None => walk_expr(self, e),
        }
    }
}

/// A row's text as an expression that stands, for every message, where it is used.
pub fn expression(text: &str, span: Span) -> Expr {
    let mut items = parse(&format!("END{{_=({text});}}")).ast.items;
    let Some(Item::Clause(clause)) = items.pop() else { unreachable!("{text} is an expression") };
    let mut statements = clause.body.statements;
    let Some(Stmt { kind: StmtKind::Discard(mut value), .. }) = statements.pop() else {
        unreachable!("{text} is an expression")
    };
    Place { span }.expr(&mut value);
    value
}

fn follows_another(spec: &ProbeSpec) -> Diagnostic {
    Diagnostic::error(
        Code::NotHere,
        spec.span,
        format!("`{}` cannot be restricted to one process or cgroup", spec.text),
    )
    .label("fires while the thread before still runs, which is the one that -p, -c and --cgroup look at")
    .help("leave them out, and write the process into the predicate: `/pid == 1234/`")
}

fn absent(spec: &ProbeSpec) -> Diagnostic {
    let names: Vec<&str> = ROWS.iter().filter(|row| row.provider == spec.provider).map(|row| row.name).collect();
    let wanted = spec.parts.last().map_or("", String::as_str);
    if spec.provider == "dtrace" && wanted == "ERROR" {
        return Diagnostic::error(Code::ProbeForm, spec.span, "D's probe `dtrace:::ERROR` has none in its place")
            .label("no probe fires where an action fails")
            .help(
                "an action that fails (a read, a division by zero) gives 0, and is counted and told on stderr, with its place in the script, \
                 while the script runs; `--message-format json` gives that as lines for programs",
            );
    }
    let diagnostic = Diagnostic::error(
        Code::ProbeForm,
        spec.span,
        format!("there is nothing in the place of D's probe `{}`", spec.text),
    )
    .label("not one of those that are translated");
    let near = near_misses(wanted, names.iter().copied().filter(|name| *name != "*"));
    let diagnostic = match did_you_mean(&near) {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    };
    let form = |name: &&str| match spec.provider.as_str() {
        "fbt" | "rawfbt" | "syscall" => format!("`{}::FUNCTION:{name}`", spec.provider),
        "sdt" => "`sdt:CATEGORY::EVENT`".to_string(),
        "rawtp" => "`rawtp:::EVENT`".to_string(),
        provider => format!("`{provider}:::{name}`"),
    };
    let forms: Vec<String> = names.iter().map(form).collect();
    diagnostic.help(format!("of {} there are {}", spec.provider, forms.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(text: &str) -> Option<Vec<String>> {
        let found = meanings(&ProbeSpec::parse(text, Span::default()))?;
        Some(found.into_iter().map(|meaning| meaning.spec.text).collect())
    }

    #[test]
    fn patterns_and_events() {
        let of = |text: &str| {
            let found = meanings(&ProbeSpec::parse(text, Span::default())).unwrap().remove(0).spec;
            (found.text, found.only)
        };
        let plain = |text: &str| (text.to_string(), None);
        assert_eq!(of("sdt:sched::sched_switch"), plain("tracepoint:sched:sched_switch"));
        assert_eq!(of("sdt:::"), plain("tracepoint:*:*"));
        assert_eq!(of("rawtp:::sched_*"), plain("rawtracepoint:sched_*"));
        assert_eq!(of("rawfbt:tun:tun_chr_open:return"), plain("kretprobe:tun:tun_chr_open"));
        let by_class = ("tracepoint:syscalls:sys_enter_*".to_string(), Some("sys_enter_[a-c]*".to_string()));
        assert_eq!(of("syscall::[a-c]*:entry"), by_class);
        assert_eq!(of("fbt::vfs_rea?:e?try"), ("kprobe:vfs_rea*".to_string(), Some("vfs_rea?".to_string())));
    }

    #[test]
    fn each_row_is_written_correctly() {
        for row in ROWS {
            for text in row.values.iter().map(|(_, text)| *text).chain([row.when]).filter(|text| !text.is_empty()) {
                assert!(parse(&format!("END{{_=({text});}}")).diagnostics.is_empty(), "{text}");
                expression(text, Span::default());
            }
        }
        assert!(ROWS.is_sorted_by(|a, b| a.provider <= b.provider));
        let types = ROWS.iter().flat_map(|row| row.arguments).map(|argument| argument.ty);
        for ty in types.chain([&CURPSINFO, &CURLWPSINFO, &OPEN_FILE]) {
            assert!(ty.members.is_sorted_by(|a, b| a.0 < b.0), "{}", ty.name);
            for (_, text) in ty.all() {
                expression(text, Span::default());
            }
        }
    }

    #[test]
    fn names_of_four_parts() {
        let one = |text: &str| Some(vec![text.to_string()]);
        assert_eq!(probes("syscall::open*:entry"), one("tracepoint:syscalls:sys_enter_open*"));
        assert_eq!(probes("syscall::read:return"), one("tracepoint:syscalls:sys_exit_read"));
        assert_eq!(probes("syscall:::entry"), one("tracepoint:syscalls:sys_enter_*"));
        assert_eq!(probes("fbt:vmlinux:vfs_read:entry"), one("kprobe:vfs_read"));
        assert_eq!(probes("fbt:nfs:nfs_*:return"), one("kretprobe:nfs:nfs_*"));
        assert_eq!(probes("dtrace:::BEGIN"), one("BEGIN"));
        assert_eq!(probes("syscall::read:").map(|found| found.len()), Some(2));
        assert_eq!(probes("proc:::no-such"), Some(Vec::new()));
        assert_eq!(probes("proc::function:exit"), Some(Vec::new()));
        assert_eq!(probes("tracepoint:sched:sched_switch"), None);
    }

    #[test]
    fn rates() {
        let one = |text: &str| Some(vec![text.to_string()]);
        assert_eq!(probes("profile-99"), one("profile:hz:99"));
        assert_eq!(probes("profile-1ms"), one("profile:1000000"));
        assert_eq!(probes("tick-5s"), one("interval:5000000000"));
        assert_eq!(probes("profile:::tick-2m"), one("interval:120000000000"));
        assert_eq!(probes("tick-10hz"), one("interval:hz:10"));
        assert_eq!(probes("tick-5w"), None);
        assert_eq!(probes("profile:hz:99"), None);
    }
}
