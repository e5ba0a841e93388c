//! Ast to Hir: resolves names and probes, infers types across all probes, and finds every mistake of the user. A Hir
//! comes out only when there is none. Asks the machine through `Target` alone; never does IO.

mod aggregate;
mod assign;
mod body;
mod call;
mod definitions;
mod expr;
mod fields;
mod functions;
mod groups;
mod loops;
mod maps;
mod names;
mod operators;
mod printing;
mod typenames;
mod values;

use std::collections::HashMap;

use crate::ast::{self, ExprKind, Item, Script};
use crate::diagnostic::{Code, Diagnostic, did_you_mean, near_misses};
use crate::expand::expand;
use crate::hir::{Hir, Local, Program, Record, Settings, verify};
use crate::limits::LARGEST_MAX_STRLEN;
use crate::script_types::ScriptTypes;
use crate::span::Span;
use crate::target::{Feature, ProbeSite, Target};
use crate::types::Type;

use groups::Group;
use maps::MapTable;
pub(crate) use typenames::c_integer;

/// What the command line adds to the script.
#[derive(Clone, Debug, Default)]
pub struct CheckOptions {
    pub settings: Settings,
    /// Only this process (`-p`, or the child of `-c`); also `$target`.
    pub pid: Option<u32>,
    /// `$1` and so on.
    pub positional: Vec<String>,
    pub allow_unsafe: bool,
}

/// A program, if the script has no mistake, and everything that is to be said about the script.
pub struct Check {
    pub hir: Option<Hir>,
    pub diagnostics: Vec<Diagnostic>,
}

/// Rounds of inference before the types must stand. A type only ever widens, so real scripts take two or three.
const MOST_ROUNDS: usize = 16;

pub fn check(ast: &Script, target: &dyn Target, options: &CheckOptions) -> Check {
    let mut diagnostics = Vec::new();
    let ast = &expand(ast, &mut diagnostics);
    let types = definitions::definitions(ast, target, &mut diagnostics);
    let settings = items(ast, options.settings.clone(), &mut diagnostics);
    let mut sites: Vec<ProbeSite> = Vec::new();
    let mut groups = Vec::new();
    for item in &ast.items {
        if let Item::Clause(clause) = item {
            groups::of_clause(clause, target, options, &mut sites, &mut groups, &mut diagnostics);
        }
    }
    if groups.is_empty() && diagnostics.is_empty() {
        let span = ast.items.first().map(ast::Item::span).unwrap_or_default();
        diagnostics.push(
            Diagnostic::error(Code::NoProbes, span, "the script has no probe")
                .label("nothing to trace")
                .help("write at least `BEGIN { ... }`"),
        );
    }
    let mut checker = Checker {
        target,
        options,
        settings,
        types,
        maps: MapTable::default(),
        records: Vec::new(),
        diagnostics: Vec::new(),
        local_types: HashMap::new(),
        doubtful: Vec::new(),
        changed: false,
        last_round: false,
    };
    let mut programs = Vec::new();
    for round in 0..MOST_ROUNDS {
        checker.changed = false;
        checker.last_round = round + 1 == MOST_ROUNDS;
        checker.start_round();
        programs = groups.iter().enumerate().map(|(number, group)| checker.program(number, group)).collect();
        if checker.last_round {
            break;
        }
        if !checker.changed {
            // One more, in which what is still unknown is an error.
            checker.last_round = true;
            checker.start_round();
            programs = groups.iter().enumerate().map(|(number, group)| checker.program(number, group)).collect();
            break;
        }
    }
    let maps =
        checker.maps.finish(&mut checker.diagnostics, checker.settings.max_map_keys, || target.has(Feature::LargeKeys));
    diagnostics.append(&mut checker.diagnostics);
    let is_echo = |d: &Diagnostic| d.code == Code::UnknownMap && checker.doubtful.contains(&d.span);
    if diagnostics.iter().any(|d| d.is_error() && !is_echo(d)) {
        diagnostics.retain(|d| !is_echo(d));
    }
    dedup(&mut diagnostics);
    let settings = checker.settings.clone();
    let records = std::mem::take(&mut checker.records);
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Check { hir: None, diagnostics };
    }
    let hir = Hir { sites, programs, maps, records, types: checker.types, settings };
    if cfg!(debug_assertions)
        && let Err(breach) = verify(&hir)
    {
        panic!("the checker made a program that is not well formed: {breach}\n{}", crate::hir::dump(&hir));
    }
    Check { hir: Some(hir), diagnostics }
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

/// Settings, and the items that are no clauses.
fn items(ast: &Script, mut settings: Settings, diagnostics: &mut Vec<Diagnostic>) -> Settings {
    let mut not_yet = |span, what: &str| {
        diagnostics.push(
            Diagnostic::error(Code::NotYet, span, format!("{what} cannot be run yet"))
                .label("part of the language, not of this version")
                .help("write it out where it is used"),
        );
    };
    let mut config = Vec::new();
    for item in &ast.items {
        match item {
            Item::Clause(_) | Item::Macro { .. } | Item::Struct { .. } | Item::Enum { .. } => {}
            Item::Function { span, .. } => not_yet(*span, "a function"),
            Item::Import { span, .. } => not_yet(*span, "an import"),
            Item::MapDeclaration { span, .. } => not_yet(*span, "a map declaration"),
            // Types come from the kernel itself, so headers have nothing to add; definitions are expanded.
            Item::Directive { .. } => {}
            Item::Config { settings, .. } => config.extend(settings),
        }
    }
    for (name, value) in config {
        setting(name, value, &mut settings, diagnostics);
    }
    settings
}

/// Names of the config block that are known; those that change nothing here are accepted for scripts of others.
const SETTINGS: &[&str] = &[
    "max_map_keys",
    "max_strlen",
    "print_maps_on_exit",
    "cache_user_symbols",
    "cpp_demangle",
    "lazy_symbolication",
    "license",
    "log_size",
    "max_bpf_progs",
    "max_probes",
    "max_cat_bytes",
    "missing_probes",
    "on_stack_limit",
    "perf_rb_pages",
    "show_debug_info",
    "stack_mode",
    "str_trunc_trailer",
    "use_blazesym",
];

fn setting(name: &ast::Name, value: &ast::Expr, settings: &mut Settings, diagnostics: &mut Vec<Diagnostic>) {
    let lower = name.text.to_ascii_lowercase();
    let lower = lower.strip_prefix("bpftrace_").unwrap_or(&lower);
    let number = match &value.kind {
        ExprKind::Int(n) => Some(*n),
        _ => None,
    };
    let mut wrong = |what: &str| {
        diagnostics
            .push(Diagnostic::error(Code::BadValue, value.span, format!("`{lower}` takes {what}")).label("this value"));
    };
    match (lower, number, &value.kind) {
        ("max_map_keys", Some(n), _) if n > 0 && n <= u64::from(u32::MAX) => settings.max_map_keys = n,
        ("max_map_keys", _, _) => wrong("a number from 1 to 4294967295"),
        ("max_strlen", Some(n), _) if n > 0 && n <= u64::from(LARGEST_MAX_STRLEN) => settings.max_strlen = n as u32,
        ("max_strlen", _, _) => wrong(&format!("a number from 1 to {LARGEST_MAX_STRLEN}")),
        ("max_cat_bytes", Some(n), _) => settings.max_cat_bytes = n,
        ("max_cat_bytes", _, _) => wrong("a number of bytes"),
        ("print_maps_on_exit", _, ExprKind::Bool(on)) => settings.print_maps_on_exit = *on,
        ("print_maps_on_exit", Some(n), _) if n < 2 => settings.print_maps_on_exit = n == 1,
        ("print_maps_on_exit", _, _) => wrong("true or false"),
        (known, _, _) if SETTINGS.contains(&known) => {}
        _ => {
            let mut diagnostic =
                Diagnostic::error(Code::Config, name.span, format!("there is no setting `{}`", name.text))
                    .label("not a setting");
            if let Some(help) = did_you_mean(&near_misses(lower, SETTINGS.iter().copied())) {
                diagnostic = diagnostic.help(help);
            }
            diagnostics.push(diagnostic);
        }
    }
}

/// The state of one run of the checker.
struct Checker<'a> {
    target: &'a dyn Target,
    options: &'a CheckOptions,
    settings: Settings,
    /// What the script itself defines.
    types: ScriptTypes,
    maps: MapTable,
    records: Vec<Record>,
    diagnostics: Vec<Diagnostic>,
    /// What earlier rounds found out about the locals of each program, in the order of their declaration.
    local_types: HashMap<(usize, usize), Type>,
    /// Where a map is called unknown that is assigned after all: an echo, if there is any other mistake.
    doubtful: Vec<Span>,
    /// A type has widened in this round.
    changed: bool,
    /// Types stand; what is unknown is an error.
    last_round: bool,
}

impl Checker<'_> {
    fn start_round(&mut self) {
        self.records.clear();
        self.diagnostics.clear();
        self.doubtful.clear();
    }

    fn program(&mut self, number: usize, group: &Group) -> Program {
        let mut body = body::Body::new(self, number, group);
        let predicate = group.clause.predicate.as_ref().map(|predicate| body.condition(predicate));
        let statements = body.block(&group.clause.body);
        let locals: Vec<Local> = body.into_locals();
        Program {
            name: group.name.clone(),
            kind: group.kind,
            layout: group.layout.clone(),
            sites: group.sites.clone(),
            dispatch: group.dispatch,
            pid: group.pid,
            locals,
            predicate,
            body: statements,
            span: group.clause.span,
        }
    }
}
