//! From the probes of a clause to programs: resolves each specification and puts the sites that one program can serve
//! together. Knows nothing of statements beyond which builtins they name.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use crate::ast::rewrite::{Rewrite, walk_expr};
use crate::ast::{self, Clause, Expr, ExprKind, Item, Script, TypeBase, TypeName};
use crate::builtins;
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::hir::{Dispatch, Program, SiteId};
use crate::probe::ProbeSpec;
use crate::settings::MissingProbes;
use crate::span::Span;
use crate::target::{
    Attach, Layout, ProbeSite, Processes, ProgramKind, ResolveError, ResolveErrorKind, ResolveOptions, Target,
};

use super::CheckOptions;
use super::items::Items;
use super::typenames::{c_integer, is_word};

/// What becomes one program.
pub struct Group<'a> {
    pub clause: &'a Clause,
    pub name: String,
    pub kind: ProgramKind,
    pub layout: Arc<Layout>,
    pub sites: Vec<SiteId>,
    pub dispatch: Dispatch,
    pub processes: Option<Processes>,
    pub in_cgroup: bool,
    /// The provider of its sites.
    pub provider: &'static str,
}

impl Group<'_> {
    /// Whether the context is what the probe's processor had in its registers. The kprobe behind an event is none of the script's.
    pub fn has_registers(&self) -> bool {
        match self.kind {
            ProgramKind::Kprobe { .. } => self.provider != "tracepoint",
            ProgramKind::PerfEvent => true,
            ProgramKind::TestRun
            | ProgramKind::Tracepoint
            | ProgramKind::RawTracepoint
            | ProgramKind::Tracing { .. } => false,
        }
    }
}

/// Which values of its probe a clause names, in functions that it calls, too.
struct Uses<'a> {
    items: &'a Items<'a>,
    /// Functions that were looked through.
    called: Vec<&'a str>,
    arguments: bool,
    registers: bool,
    /// Arguments by their numbers.
    numbers: bool,
    site: bool,
    /// It names types that each program may have of its own.
    types: bool,
    /// It names symbols, which are found by the site's own address.
    symbols: bool,
}

/// Appends the sites and the programs of a clause.
pub fn of_clause<'a>(
    clause: &'a Clause,
    items: &Items<'a>,
    target: &dyn Target,
    options: &CheckOptions,
    sites: &mut Vec<(ProbeSite, Span)>,
    groups: &mut Vec<Group<'a>>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let uses = uses(clause, items);
    let resolve_options = ResolveOptions {
        pid: options.pid,
        children: options.children,
        uses_registers: uses.registers,
        uses_numbers: uses.numbers,
        uses_arguments: uses.arguments,
        allow_unsafe: options.allow_unsafe,
        mangled_names: !items.settings.cpp_demangle,
        with_aliases: false,
    };
    let first_group = groups.len();
    let mut placer = Placer { clause, uses: &uses, target, options, sites, groups, first_group, known: HashMap::new() };
    for spec in &clause.probes {
        let spec = with_parameters(spec, options);
        let found = match target.resolve(&spec, &resolve_options) {
            Ok(found) => found,
            Err(error) => {
                let is_missing = error.kind == ResolveErrorKind::NotFound;
                let explained = explain(&spec, error);
                match items.settings.missing_probes {
                    MissingProbes::Warn if is_missing => {
                        diagnostics.push(Diagnostic { severity: Severity::Warning, ..explained });
                    }
                    MissingProbes::Ignore if is_missing => {}
                    MissingProbes::Error | MissingProbes::Warn | MissingProbes::Ignore => diagnostics.push(explained),
                }
                continue;
            }
        };
        let count = placer.sites.len() + found.len();
        let most = items.settings.max_probes;
        if count as u64 > most {
            diagnostics.push(
                Diagnostic::error(Code::TooManyProbes, spec.span, format!("the script would attach to {count} probes"))
                    .label(format!("{} of them match this", found.len()))
                    .help(format!("`max_probes` lets it attach to {most}; narrow the wildcard")),
            );
            continue;
        }
        if options.in_cgroup && found.iter().any(|site| matches!(site.attach, Attach::Iterator { .. })) {
            diagnostics.push(no_cgroup(&spec));
            continue;
        }
        if let Some(pid) = options.only_process()
            && let Some(first) = found.first()
            && found.iter().all(|site| target.is_in_reach(site, pid) == Some(false))
        {
            diagnostics.push(out_of_reach(&spec, first, pid));
        }
        for site in found {
            placer.place(site, spec.span);
        }
    }
}

/// A probe of a file that the process has not loaded.
fn out_of_reach(spec: &ProbeSpec, site: &ProbeSite, pid: u32) -> Diagnostic {
    let file = match &site.attach {
        Attach::Uprobe { path, .. } => path.display().to_string(),
        _ => site.name.to_string(),
    };
    Diagnostic::warning(Code::CannotFire, spec.span, format!("process {pid} has not loaded {file}"))
        .label("cannot fire there")
        .help("it fires once the process loads that file; for other processes leave out `-p`")
        .on_machine()
}

/// More programs than the script may load: the clause that takes most of them is at fault.
pub fn too_many(groups: &[Group], programs: &[Program], most: u64) -> Option<Diagnostic> {
    let running = programs.iter().filter(|program| !program.never_runs()).count();
    if running as u64 <= most {
        return None;
    }
    let count_of = |clause: &Clause| groups.iter().filter(|group| std::ptr::eq(group.clause, clause)).count();
    let (count, clause) =
        groups.iter().map(|group| (count_of(group.clause), group.clause)).rev().max_by_key(|(n, _)| *n)?;
    let span = clause.probes.first().map(|spec| spec.span).unwrap_or(clause.span);
    let message = format!("the script takes {running} programs");
    Some(
        Diagnostic::error(Code::TooManyProbes, span, message)
            .label(format!("{count} of them for this clause"))
            .help(format!("`max_bpf_progs` lets it load {most}: raise it, narrow a wildcard, or have fewer clauses")),
    )
}

/// Whether all that the script attaches to stays when it has ended.
pub fn are_pins(groups: &[Group], sites: &[ProbeSite]) -> bool {
    let is_pin = |site: &SiteId| matches!(&sites[site.index()].attach, Attach::Iterator { pin: Some(_), .. });
    groups.iter().flat_map(|group| &group.sites).all(is_pin)
}

/// A pinned iterator stays when the script has ended, which it does at once: other probes would see nothing.
pub fn only_pins(groups: &[Group], sites: &[ProbeSite], diagnostics: &mut Vec<Diagnostic>) {
    let pin = |site: &SiteId| match &sites[site.index()].attach {
        Attach::Iterator { pin, .. } => pin.as_ref(),
        _ => None,
    };
    let mut pins = groups.iter().flat_map(|group| &group.sites).filter_map(pin);
    let (Some(first), other) = (pins.next(), groups.iter().find(|group| pin(&group.sites[0]).is_none())) else {
        return;
    };
    if let Some(other) = other {
        let span = other.clause.probes.first().map(|spec| spec.span).unwrap_or_default();
        diagnostics.push(
            Diagnostic::error(Code::NotHere, span, "a script with a pinned iterator has no other probes")
                .label("would end before it fires")
                .help("rtrace ends when it has pinned the iterator: make two scripts of it"),
        );
    }
    if pins.any(|pin| pin == first) {
        let span = groups[0].clause.probes.first().map(|spec| spec.span).unwrap_or_default();
        diagnostics.push(
            Diagnostic::error(Code::NotHere, span, format!("two iterators are pinned to {}", first.display()))
                .label("one of them")
                .help("each has a file of its own"),
        );
    }
}

/// The names of the maps in clauses that came to no group, and in functions, which such clauses may call.
pub fn unchecked_maps(script: &Script, groups: &[Group]) -> HashSet<String> {
    struct Maps(HashSet<String>);

    impl Rewrite for Maps {
        fn expr(&mut self, e: &mut Expr) {
            if let ExprKind::Map { name, .. } = &e.kind {
                self.0.insert(name.clone());
            }
            walk_expr(self, e);
        }
    }

    let has_group = |clause: &Clause| groups.iter().any(|group| std::ptr::eq(group.clause, clause));
    let mut maps = Maps(HashSet::new());
    let mut is_complete = true;
    for item in &script.items {
        if let Item::Clause(clause) = item
            && !has_group(clause)
        {
            is_complete = false;
            maps.block(&mut clause.body.clone());
        }
    }
    for item in &script.items {
        if let Item::Function { body, .. } = item
            && !is_complete
        {
            maps.block(&mut body.clone());
        }
    }
    maps.0
}

/// Puts the sites of a clause into groups.
struct Placer<'a, 'b> {
    clause: &'a Clause,
    uses: &'b Uses<'b>,
    target: &'b dyn Target,
    options: &'b CheckOptions,
    /// Each with the specification that means it.
    sites: &'b mut Vec<(ProbeSite, Span)>,
    groups: &'b mut Vec<Group<'a>>,
    /// The first group of this clause.
    first_group: usize,
    /// Its sites by their names, and by how many of the same name come before: one name may stand for several places.
    known: HashMap<(Arc<str>, u32), SiteId>,
}

impl Placer<'_, '_> {
    /// Puts a site into a group of this clause, or opens one.
    fn place(&mut self, site: ProbeSite, spec: Span) {
        let Placer { clause, uses, target, options, sites, groups, first_group, known } = self;
        let (first_group, id) = (*first_group, SiteId(sites.len() as u32));
        let is_special = matches!(site.attach, Attach::Begin | Attach::End);
        let mut key = (site.name.clone(), 0);
        while let Some(named) = known.get(&key) {
            if !is_special && is_same_place(&sites[named.index()].0.attach, &site.attach) {
                return;
            }
            key.1 += 1;
        }
        known.insert(key, id);
        let is_of_tool = match &site.attach {
            Attach::Begin
            | Attach::End
            | Attach::Trial(_)
            | Attach::Timer { .. }
            | Attach::Signal { .. }
            | Attach::Iterator { .. } => true,
            Attach::Kprobe { .. }
            | Attach::Uprobe { .. }
            | Attach::Tracepoint { .. }
            | Attach::RawTracepoint { .. }
            | Attach::Trampoline
            | Attach::PerfEvent { .. }
            | Attach::Watchpoint { .. } => false,
        };
        let one = if options.children { Some(Processes::Tree) } else { options.pid.map(Processes::One) };
        let processes = match &site.attach {
            // Here the attachment itself follows a process, but not what this forks.
            Attach::Uprobe { .. } | Attach::PerfEvent { .. } | Attach::Watchpoint { .. } => {
                one.filter(|_| options.children)
            }
            // It runs in the tool's own process; the layout says which tasks are meant.
            Attach::Iterator { .. } => None,
            Attach::Begin | Attach::End | Attach::Trial(_) | Attach::Timer { .. } | Attach::Signal { .. } => None,
            Attach::Kprobe { .. } | Attach::Tracepoint { .. } | Attach::RawTracepoint { .. } | Attach::Trampoline => {
                one.filter(|_| !options.all_tasks)
            }
        };
        let alone = match site.program {
            // A test run has no cookie, and a typed program attaches to one function.
            ProgramKind::TestRun => true,
            ProgramKind::Kprobe { .. }
            | ProgramKind::Tracepoint
            | ProgramKind::RawTracepoint
            | ProgramKind::Tracing { .. }
            | ProgramKind::PerfEvent => {
                let asks_cookie = uses.site && site.selector.is_none();
                uses.symbols || asks_cookie && site.program.cookie_feature().is_some_and(|feature| !target.has(feature))
            }
        };
        let fits = |group: &Group| {
            !alone
                && group.kind == site.program
                && group.processes == processes
                && group.provider == site.provider
                && (!uses.types || program(&sites[group.sites[0].index()].0) == program(&site))
                && if uses.arguments || uses.registers || uses.numbers {
                    Arc::ptr_eq(&group.layout, &site.layout) || group.layout == site.layout
                } else {
                    group.layout.selector == site.layout.selector
                        && group.layout.guard == site.layout.guard
                        && group.layout.step == site.layout.step
                }
        };
        if let Some(group) = groups[first_group..].iter_mut().find(|group| fits(group)) {
            group.sites.push(id);
            if group.dispatch == Dispatch::Known && uses.site {
                group.dispatch = Dispatch::Cookie;
            }
        } else {
            let dispatch = if site.layout.selector.is_some() { Dispatch::Selector } else { Dispatch::Known };
            groups.push(Group {
                clause,
                name: format!("{}_{}", site.provider.to_ascii_lowercase(), groups.len()),
                kind: site.program,
                layout: site.layout.clone(),
                sites: vec![id],
                dispatch,
                processes,
                in_cgroup: options.in_cgroup && !is_of_tool,
                provider: site.provider,
            });
        }
        sites.push((site, spec));
    }
}

/// Whether two sites of one name are one place, however they were found.
fn is_same_place(one: &Attach, other: &Attach) -> bool {
    match (one, other) {
        (
            Attach::Kprobe { function, offset, is_return, is_matched: _ },
            Attach::Kprobe { function: of_other, offset: at, is_return: returns, is_matched: _ },
        ) => (function, offset, is_return) == (of_other, at, returns),
        (one, other) => one == other,
    }
}

fn no_cgroup(spec: &ProbeSpec) -> Diagnostic {
    Diagnostic::error(Code::NotHere, spec.span, format!("`{}` cannot be restricted to a cgroup", spec.text))
        .label("goes through objects, in no task of the cgroup")
        .help("leave out --cgroup and --container, or choose the objects in the predicate")
}

/// The program that a user-space probe is in.
fn program(site: &ProbeSite) -> Option<&Path> {
    match &site.attach {
        Attach::Uprobe { path, .. } => Some(path),
        Attach::Begin
        | Attach::End
        | Attach::Trial(_)
        | Attach::Timer { .. }
        | Attach::Signal { .. }
        | Attach::Kprobe { .. }
        | Attach::Tracepoint { .. }
        | Attach::RawTracepoint { .. }
        | Attach::Trampoline
        | Attach::Iterator { .. }
        | Attach::PerfEvent { .. }
        | Attach::Watchpoint { .. } => None,
    }
}

/// The specification with `$1` and its kin replaced by the parameters' texts.
fn with_parameters(spec: &ProbeSpec, options: &CheckOptions) -> ProbeSpec {
    if !spec.text.contains('$') {
        return spec.clone();
    }
    let mut text = spec.text.clone();
    for (number, value) in options.positional.iter().enumerate().rev() {
        text = text.replace(&format!("${}", number + 1), value);
    }
    if let Some(pid) = options.pid {
        text = text.replace("$target", &pid.to_string());
    }
    ProbeSpec::parse(&text, spec.span)
}

/// A target's refusal as a message about the part at fault.
fn explain(spec: &ProbeSpec, error: ResolveError) -> Diagnostic {
    let (code, machine) = match error.kind {
        ResolveErrorKind::UnknownProvider => (Code::UnknownProvider, false),
        ResolveErrorKind::Form => (Code::ProbeForm, false),
        ResolveErrorKind::NotFound => (Code::ProbeNotFound, true),
        ResolveErrorKind::Unsupported => (Code::ProbeUnsupported, true),
        ResolveErrorKind::Privilege => (Code::Privilege, true),
    };
    let mut diagnostic = Diagnostic::error(code, part_span(spec, error.part), error.message).label(error.label);
    diagnostic.help = error.help;
    if error.kind == ResolveErrorKind::NotFound && diagnostic.help.is_empty() {
        diagnostic.help.extend(error.part.and_then(|part| how_to_list(spec, part)));
    }
    diagnostic.machine = machine;
    diagnostic
}

/// How to see what there is where nothing is near to what was asked for.
fn how_to_list(spec: &ProbeSpec, part: usize) -> Option<String> {
    let before = spec.parts.get(..part.checked_sub(1)?)?;
    let words: Vec<&str> = std::iter::once(spec.provider.as_str()).chain(before.iter().map(String::as_str)).collect();
    let is_plain = |word: &&str| !word.contains(['"', '\'', '*']);
    words.iter().all(is_plain).then(|| format!("`rtrace -l '{}:*'` lists those that there are.", words.join(":")))
}

/// The place of a part of the specification; the whole one where quotes or parameters have moved it.
fn part_span(spec: &ProbeSpec, part: Option<usize>) -> Span {
    let Some(part) = part else { return spec.span };
    let written = (spec.span.end - spec.span.start) as usize;
    if spec.text.len() != written || spec.text.contains(['"', '$', '=']) {
        return spec.span;
    }
    let mut start = 0;
    for (number, piece) in spec.text.split(':').enumerate() {
        if number == part && !piece.is_empty() {
            let from = spec.span.start as usize + start;
            return Span::new(from, from + piece.len());
        }
        start += piece.len() + 1;
    }
    spec.span
}

/// Walks a clause for the builtins that decide how it is attached.
fn uses<'a>(clause: &Clause, items: &'a Items<'a>) -> Uses<'a> {
    let mut uses = Uses {
        items,
        called: Vec::new(),
        arguments: false,
        registers: false,
        numbers: false,
        site: false,
        types: false,
        symbols: false,
    };
    if let Some(predicate) = &clause.predicate {
        in_expr(predicate, &mut uses);
    }
    in_block(&clause.body, &mut uses);
    uses
}

fn in_block(block: &ast::Block, uses: &mut Uses<'_>) {
    for statement in &block.statements {
        in_statement(&statement.kind, uses);
    }
    if let Some(value) = &block.value {
        in_expr(value, uses);
    }
}

fn in_if(inner: &ast::If, uses: &mut Uses<'_>) {
    in_expr(&inner.condition, uses);
    in_block(&inner.then, uses);
    if let Some(otherwise) = &inner.otherwise {
        in_block(otherwise, uses);
    }
}

fn in_statement(kind: &ast::StmtKind, uses: &mut Uses<'_>) {
    use ast::StmtKind as S;
    match kind {
        S::Expr(e) | S::Discard(e) => in_expr(e, uses),
        S::Assign { target, value, .. } => {
            in_expr(target, uses);
            in_expr(value, uses);
        }
        S::Let { name: _, ty, value } => {
            ty.iter().for_each(|ty| in_type(ty, uses));
            value.iter().for_each(|e| in_expr(e, uses));
        }
        S::If(inner) => in_if(inner, uses),
        S::While { condition, body } => {
            in_expr(condition, uses);
            in_block(body, uses);
        }
        S::ForRange { from, to, body, .. } => {
            in_expr(from, uses);
            in_expr(to, uses);
            in_block(body, uses);
        }
        S::ForMap { map, body, .. } => {
            in_expr(map, uses);
            in_block(body, uses);
        }
        S::Unroll { count, body } => {
            in_expr(count, uses);
            in_block(body, uses);
        }
        S::Return(value) => value.iter().for_each(|e| in_expr(e, uses)),
        S::Block(block) => in_block(block, uses),
        S::Try { body, catch } => {
            in_block(body, uses);
            in_block(catch, uses);
        }
        S::Break | S::Continue | S::Import(_) | S::Error => {}
    }
}

fn in_expr(e: &ast::Expr, uses: &mut Uses<'_>) {
    match &e.kind {
        ExprKind::Ident(name) => match name.as_str() {
            "args" | "retval" => uses.arguments = true,
            "probe" | "func" | "probemod" | "probefunc" | "probename" => uses.site = true,
            "ctx" | "usermode" => uses.registers = true,
            name if builtins::argument_number(name).is_some() => uses.numbers = true,
            _ => {}
        },
        ExprKind::Call { arguments, name } => {
            if matches!(name.text.as_str(), "probe" | "func") {
                uses.site = true;
            }
            if name.text == "reg" {
                uses.registers = true;
            }
            if name.text == "uaddr" {
                uses.symbols = true;
            }
            arguments.iter().for_each(|argument| in_expr(&argument.value, uses));
            if let Some(function) = uses.items.functions.get(name.text.as_str())
                && !uses.called.contains(&function.name.text.as_str())
            {
                uses.called.push(&function.name.text);
                in_block(function.body, uses);
            }
        }
        ExprKind::Map { keys, .. } => keys.iter().for_each(|key| in_expr(key, uses)),
        ExprKind::Field { base, .. } | ExprKind::TupleField { base, .. } => in_expr(base, uses),
        ExprKind::Index { base, index } => {
            in_expr(base, uses);
            in_expr(index, uses);
        }
        ExprKind::Cast { ty, operand } => {
            in_type(ty, uses);
            in_expr(operand, uses);
        }
        ExprKind::Unary { operand, .. } => in_expr(operand, uses),
        ExprKind::Step { target, .. } => in_expr(target, uses),
        ExprKind::Binary { left, right, .. } => {
            in_expr(left, uses);
            in_expr(right, uses);
        }
        ExprKind::Ternary { condition, then, otherwise } => {
            in_expr(condition, uses);
            then.iter().for_each(|then| in_expr(then, uses));
            in_expr(otherwise, uses);
        }
        ExprKind::SizeOf(inner)
        | ExprKind::OffsetOf { of: inner, .. }
        | ExprKind::TypeInfo(inner)
        | ExprKind::Comptime(inner) => {
            in_expr(inner, uses);
        }
        ExprKind::Tuple(parts) => parts.iter().for_each(|part| in_expr(part, uses)),
        ExprKind::Record(parts) => parts.iter().for_each(|(_, part)| in_expr(part, uses)),
        ExprKind::Block(block) => in_block(block, uses),
        ExprKind::If(inner) => in_if(inner, uses),
        ExprKind::Int(_)
        | ExprKind::Duration(_)
        | ExprKind::Bool(_)
        | ExprKind::Str(_)
        | ExprKind::Variable(_)
        | ExprKind::Positional(_)
        | ExprKind::PositionalText(_)
        | ExprKind::PositionalCount => {}
        ExprKind::SizeOfType(ty)
        | ExprKind::OffsetOfType { ty, .. }
        | ExprKind::TypeInfoType(ty)
        | ExprKind::TypeArgument(ty) => in_type(ty, uses),
    }
}

fn in_type(ty: &TypeName, uses: &mut Uses<'_>) {
    match &ty.base {
        TypeBase::Struct(_) | TypeBase::Union(_) | TypeBase::Enum(_) => uses.types = true,
        TypeBase::Named(words) => uses.types |= c_integer(words).is_none() && !is_word(words),
        TypeBase::TypeOf(e) => in_expr(e, uses),
    }
}
