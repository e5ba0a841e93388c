//! Ast to Hir: resolves names and probes, infers types across all probes, and finds every mistake of the user. A Hir
//! comes out only when there is none. Asks the machine through `Target` alone; never does IO.

mod aggregate;
mod allocated;
mod assign;
mod body;
mod call;
mod calls;
mod d_arrays;
mod definitions;
mod expr;
mod failure;
mod fields;
mod functions;
mod groups;
mod items;
mod kernel_lines;
mod known;
mod literals;
mod loops;
mod machine_constants;
mod maps;
pub mod moved;
mod names;
mod operators;
mod options;
mod printing;
mod speculation;
mod stacks;
mod trials;
mod typenames;
mod values;
mod warnings;

use std::collections::{HashMap, HashSet};

use crate::ast::{self, Clause, Item, Script};
use crate::diagnostic::{Code, Diagnostic};
use crate::dtrace;
use crate::entries;
use crate::expand::{Written, expand};
use crate::hir::{Hir, Program, Record, SiteId, verify};
use crate::script_types::ScriptTypes;
use crate::settings::{Override, Settings};
use crate::span::Span;
use crate::target::{Feature, ProbeSite, Target, Trial};
use crate::types::Type;

use groups::Group;
use items::Items;
use literals::Literals;
pub use maps::FixedMap;
use maps::MapTable;
pub use options::ScriptOption;
pub(crate) use typenames::c_integer;
use warnings::Shown;

/// What the command line adds to the script.
#[derive(Clone, Debug, Default)]
pub struct CheckOptions {
    pub settings: Settings,
    /// Settings that go before those of the script.
    pub overrides: Vec<Override>,
    /// Only this process (`-p`, or the child of `-c`); also `$target`.
    pub pid: Option<u32>,
    /// Only tasks of one cgroup and those below it (`--cgroup`, `--container`); which one, the runtime knows.
    pub in_cgroup: bool,
    /// The descendants of the process, too (`--children`).
    pub children: bool,
    /// Probes of the kernel fire in other tasks than those of `pid` as well (`--all-tasks`).
    pub all_tasks: bool,
    /// D's macro variables: numbers of the tool itself, such as `$pid`. A variable of the script goes before them.
    pub of_tool: Vec<(&'static str, i64)>,
    /// `$1` and so on.
    pub positional: Vec<String>,
    /// `--name` and `--name=VALUE` behind the script.
    pub named: Vec<(String, Option<String>)>,
    /// The process of `-c`.
    pub child: Option<u32>,
    pub allow_unsafe: bool,
    /// Maps of other programs that this one uses where it names them.
    pub fixed_maps: Vec<FixedMap>,
    /// Other programs may use its maps.
    pub shares_maps: bool,
    /// Others ask for its maps while it runs.
    pub serves_maps: bool,
    /// Which of the probes that wait for it are run (`--test`, `--bench`).
    pub trial: Option<Trial>,
}

impl CheckOptions {
    /// The one process that is traced, if there is no more than one, and the program that it runs is known.
    pub fn only_process(&self) -> Option<u32> {
        self.pid.filter(|_| self.child.is_none() && !self.children && !self.all_tasks)
    }
}

/// A program, if the script has no mistake, and everything that is to be said about the script.
pub struct Check {
    pub hir: Option<Hir>,
    /// Parameters that the script asks for by name.
    pub options: Vec<ScriptOption>,
    pub diagnostics: Vec<Diagnostic>,
}

/// Rounds of inference before the types must stand. A type only ever widens, so real scripts take two or three.
const MOST_ROUNDS: usize = 16;

/// Rounds after which a string that still grows gets all the room that one can have: a loop adds to it.
const ROUNDS_OF_GROWTH: usize = 6;

pub fn check(script: &Script, target: &dyn Target, options: &CheckOptions) -> Check {
    let mut diagnostics = Vec::new();
    let mut translated = script.clone();
    let left_out = trials::leave_out(&mut translated, options.trial);
    dtrace::translate(
        &mut translated,
        options.pid.is_some() && !options.all_tasks || options.in_cgroup,
        &mut diagnostics,
    );
    let (mut expanded, written) = expand(&translated, &mut diagnostics);
    entries::add(&mut expanded, target, &mut diagnostics);
    let ast = &expanded;
    let types = definitions::definitions(ast, target, &mut diagnostics);
    let items = items::items(ast, options, &mut diagnostics);
    let mut placed: Vec<(ProbeSite, Span)> = Vec::new();
    let mut groups = Vec::new();
    for item in &ast.items {
        if let Item::Clause(clause) = item {
            groups::of_clause(clause, &items, target, options, &mut placed, &mut groups, &mut diagnostics);
        }
    }
    let (sites, specified): (Vec<ProbeSite>, Vec<Span>) = placed.into_iter().unzip();
    groups::only_pins(&groups, &sites, &mut diagnostics);
    if groups.is_empty() && !diagnostics.iter().any(Diagnostic::is_error) {
        let clause = ast.items.iter().find(|item| matches!(item, Item::Clause(_)));
        let span = clause.or(ast.items.first()).map(ast::Item::span).unwrap_or_default();
        diagnostics.push(match clause {
            Some(_) => Diagnostic::error(Code::ProbeNotFound, span, "this machine has none of the script's probes")
                .label("nothing to trace")
                .help("`missing_probes = \"error\"` in the config block says why each is missing; `--probe-filter` leaves out what does not fit")
                .on_machine(),
            None if !left_out.is_empty() => {
                let names: Vec<&str> = left_out.iter().map(|(trial, _)| trial.name()).collect();
                Diagnostic::error(Code::NoProbes, left_out[0].1, "the script has no probe but those that wait to be asked for")
                    .label("nothing to trace")
                    .help(format!("run them with `--{}`", names.join("` or `--")))
            }
            None => Diagnostic::error(Code::NoProbes, span, "the script has no probe")
                .label("nothing to trace")
                .help("write at least `BEGIN { ... }`"),
        });
    }
    let numbers = Hir::numbers(&sites);
    let mut checker = Checker {
        target,
        options,
        sites: &sites,
        numbers: &numbers,
        written,
        script_options: Vec::new(),
        items,
        types,
        maps: MapTable::with(&options.fixed_maps),
        records: Vec::new(),
        diagnostics: Vec::new(),
        local_types: HashMap::new(),
        local_literals: HashMap::new(),
        unchecked_maps: groups::unchecked_maps(ast, &groups),
        doubtful: Vec::new(),
        changed: false,
        strings_grow: false,
        has_untyped: false,
        untyped_are_integers: false,
        last_round: false,
    };
    let mut programs = Vec::new();
    for round in 0..MOST_ROUNDS {
        checker.changed = false;
        checker.strings_grow = round >= ROUNDS_OF_GROWTH;
        checker.last_round = round + 1 == MOST_ROUNDS;
        checker.start_round();
        programs = groups.iter().enumerate().map(|(number, group)| checker.program(number, group)).collect();
        if checker.last_round {
            break;
        }
        if !checker.changed && checker.has_untyped {
            checker.untyped_are_integers = true;
        } else if !checker.changed {
            // One more, in which what is still unknown is an error.
            checker.last_round = true;
            checker.start_round();
            programs = groups.iter().enumerate().map(|(number, group)| checker.program(number, group)).collect();
            break;
        }
    }
    let maps =
        checker.maps.finish(&mut checker.diagnostics, &checker.items.maps, checker.items.settings.max_map_keys, || {
            target.has(Feature::LargeKeys)
        });
    diagnostics.append(&mut checker.diagnostics);
    let is_echo = |d: &Diagnostic| d.code == Code::UnknownMap && checker.doubtful.contains(&d.span);
    if diagnostics.iter().any(|d| d.is_error() && !is_echo(d)) {
        diagnostics.retain(|d| !is_echo(d));
    }
    if !diagnostics.iter().any(Diagnostic::is_error) {
        let shown = match checker.items.settings.print_maps_on_exit {
            _ if groups::are_pins(&groups, &sites) => Shown::OnlyByPrintf,
            true => Shown::AtTheEnd,
            false => Shown::Nowhere,
        };
        diagnostics.append(&mut warnings::warnings(script, shown, options));
        let all = || groups.iter().map(|group| group.clause).zip(&programs);
        // Where each site has a program of its own, a predicate may choose among them.
        let running: HashSet<*const Clause> =
            all().filter(|(_, program)| !program.never_runs()).map(|(clause, _)| clause as *const Clause).collect();
        let idle = all().filter(|(clause, _)| !running.contains(&(*clause as *const Clause)));
        diagnostics
            .extend(idle.filter_map(|(clause, program)| warnings::never_true(clause.predicate.as_ref(), program)));
    }
    if !diagnostics.iter().any(Diagnostic::is_error) {
        diagnostics.extend(groups::too_many(&groups, &programs, checker.items.settings.max_bpf_progs));
    }
    dedup(&mut diagnostics);
    explain_builtins(&mut diagnostics, &checker.written);
    let settings = checker.items.settings.clone();
    let records = std::mem::take(&mut checker.records);
    let options = std::mem::take(&mut checker.script_options);
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Check { hir: None, options, diagnostics };
    }
    let types = checker.types;
    let hir = Hir { sites, specified, numbers, programs, maps, records, types, settings };
    if cfg!(debug_assertions)
        && let Err(breach) = verify(&hir)
    {
        panic!("the checker made a program that is not well formed: {breach}\n{}", crate::hir::dump(&hir));
    }
    Check { hir: Some(hir), options, diagnostics }
}

/// What is wrong within what a builtin expands to is not in the script: what the builtin takes is.
fn explain_builtins(diagnostics: &mut [Diagnostic], written: &Written) {
    for diagnostic in diagnostics.iter_mut().filter(|diagnostic| diagnostic.code == Code::TypeMismatch) {
        let Some(row) = written.get(&diagnostic.span) else { continue };
        let named = format!("{}(", row.name);
        if !diagnostic.message.contains(&named) && !diagnostic.help.iter().any(|help| help.contains(&named)) {
            diagnostic.help.push(format!("{}: {}", row.signature, row.doc));
        }
    }
}

/// A clause of several programs is checked once for each: what they say alike is said once.
fn dedup(diagnostics: &mut Vec<Diagnostic>) {
    let mut kept: Vec<Diagnostic> = Vec::new();
    for diagnostic in diagnostics.drain(..) {
        if !kept.iter().any(|k| k.code == diagnostic.code && k.span == diagnostic.span) {
            kept.push(diagnostic);
        }
    }
    kept.sort_by_key(|d| (d.span.start, d.span.end));
    *diagnostics = kept;
}

/// The state of one run of the checker.
struct Checker<'a> {
    target: &'a dyn Target,
    options: &'a CheckOptions,
    items: Items<'a>,
    sites: &'a [ProbeSite],
    numbers: &'a [SiteId],
    /// Builtins that the script has in the places of what they expand to.
    written: Written,
    script_options: Vec<ScriptOption>,
    /// What the script itself defines.
    types: ScriptTypes,
    maps: MapTable,
    records: Vec<Record>,
    diagnostics: Vec<Diagnostic>,
    /// What earlier rounds found out about the locals of each program, in the order of their declaration.
    local_types: HashMap<(usize, usize), Type>,
    /// Of the same variables those that are assigned nothing but numbers that are written out.
    local_literals: HashMap<(usize, usize), Literals>,
    /// What stands in clauses that are checked for no probe.
    unchecked_maps: HashSet<String>,
    /// Where a map is called unknown that is assigned after all: an echo, if there is any other mistake.
    doubtful: Vec<Span>,
    /// A type has widened in this round.
    changed: bool,
    /// Types stand; what is unknown is an error.
    last_round: bool,
    /// Types have widened for so long that what a string is joined to has no bound but the largest.
    strings_grow: bool,
    /// A variable was declared without a type, and nothing that is assigned to it has told one so far.
    has_untyped: bool,
    /// Nothing will tell it: it is a number.
    untyped_are_integers: bool,
}

impl Checker<'_> {
    fn start_round(&mut self) {
        self.records.clear();
        self.diagnostics.clear();
        self.doubtful.clear();
        self.has_untyped = false;
        self.script_options.clear();
    }

    fn program(&mut self, number: usize, group: &Group) -> Program {
        let mut body = body::Body::new(self, number, group);
        let predicate = group.clause.predicate.as_ref().map(|predicate| body.condition(predicate));
        let statements = body.block(&group.clause.body);
        let (locals, functions, speculation) = body.into_parts();
        Program {
            name: group.name.clone(),
            kind: group.kind,
            layout: group.layout.clone(),
            sites: group.sites.clone(),
            dispatch: group.dispatch,
            processes: group.processes,
            in_cgroup: group.in_cgroup,
            locals,
            functions,
            speculation,
            predicate,
            body: statements,
            span: group.clause.span,
        }
    }
}
