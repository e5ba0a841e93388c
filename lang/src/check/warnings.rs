//! What a script without a mistake may yet not mean: variables and maps that nothing reads, predicates that never hold, entries
//! of threads that stay behind. Reads the script as it is written, before macros are expanded.

use std::collections::HashSet;

use crate::ast::rewrite::{Rewrite, walk_block, walk_expr, walk_statement};
use crate::ast::{BinaryOp, Block, Expr, ExprKind, Item, Script, Stmt, StmtKind};
use crate::diagnostic::{Code, Diagnostic};
use crate::hir::Program;
use crate::span::Span;

use super::CheckOptions;

/// Words for a point in time.
const TIMES: &[&str] = &["nsecs", "elapsed", "timestamp", "vtimestamp", "walltimestamp"];
/// Calls that take entries out of a map, or keep them from staying.
const REMOVALS: &[&str] = &["delete", "clear", "zero", "trunc"];

/// Where the maps of a script are shown that nothing prints.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    AtTheEnd,
    Nowhere,
    /// Nowhere, and they cannot be printed: an iterator that is pinned writes what printf() says.
    OnlyByPrintf,
}

pub fn warnings(script: &Script, shown: Shown, options: &CheckOptions) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut maps = Maps::default();
    for item in &script.items {
        match item {
            Item::Clause(clause) => {
                let mut variables = Variables::default();
                if let Some(mut predicate) = clause.predicate.clone() {
                    variables.expr(&mut predicate);
                    maps.expr(&mut predicate);
                    found.extend(other_process(&predicate, options));
                }
                variables.of_body(&clause.body, &mut found);
                maps.is_end = clause.probes.iter().any(|probe| probe.provider == "END");
                maps.block(&mut clause.body.clone());
                maps.is_end = false;
            }
            Item::Function { body, .. } => {
                Variables::default().of_body(body, &mut found);
                maps.block(&mut body.clone());
            }
            Item::Macro { body, .. } => maps.block(&mut body.clone()),
            _ => {}
        }
    }
    maps.left_behind(&mut found);
    // Elsewhere than in this script, what another program of the prompt has, or who asks for the metrics.
    if !options.shares_maps && !options.serves_maps {
        maps.never_shown(shown, &mut found);
    }
    found
}

/// A part of a predicate that asks for another process than the only one that is traced.
fn other_process(predicate: &Expr, options: &CheckOptions) -> Option<Diagnostic> {
    let only = options.only_process()?;
    let ExprKind::Binary { op, left, right } = &predicate.kind else { return None };
    let asks = |side: &Expr| match &side.kind {
        ExprKind::Ident(name) => name == "pid",
        ExprKind::Call { name, arguments } => name.text == "pid" && arguments.is_empty(),
        _ => false,
    };
    match (op, &left.kind, &right.kind) {
        (BinaryOp::And, ..) => other_process(left, options).or_else(|| other_process(right, options)),
        (BinaryOp::Equal, _, ExprKind::Int(asked)) if asks(left) && *asked != u64::from(only) => Some(
            Diagnostic::warning(Code::CannotFire, predicate.span, format!("only process {only} is traced"))
                .label("asks for another one, and is never true")
                .help("the predicate or `-p` can go: each alone chooses a process"),
        ),
        _ => None,
    }
}

/// The predicate of a clause that is known to be false. One that depends on a parameter switches the clause off on purpose.
pub fn never_true(written: Option<&Expr>, program: &Program) -> Option<Diagnostic> {
    let predicate = program.predicate.as_ref().filter(|_| program.never_runs())?;
    let mut parameters = Parameters(false);
    parameters.expr(&mut written?.clone());
    (!parameters.0).then(|| {
        Diagnostic::warning(Code::NeverTrue, predicate.span, "this predicate is never true")
            .label("always false")
            .help("the clause never runs; take it out, or mend the condition")
    })
}

/// Whether an expression asks for a parameter of the script.
struct Parameters(bool);

impl Rewrite for Parameters {
    fn expr(&mut self, e: &mut Expr) {
        self.0 |= match &e.kind {
            ExprKind::Positional(_)
            | ExprKind::PositionalText(_)
            | ExprKind::PositionalCount
            | ExprKind::Comptime(_) => true,
            ExprKind::Call { name, .. } => name.text == "getopt",
            _ => false,
        };
        walk_expr(self, e);
    }
}

/// The variables of one clause or function.
#[derive(Default)]
struct Variables {
    set: Vec<(String, Span)>,
    read: HashSet<String>,
}

impl Variables {
    fn of_body(mut self, body: &Block, found: &mut Vec<Diagnostic>) {
        self.block(&mut body.clone());
        let mut said = HashSet::new();
        for (name, span) in &self.set {
            if !self.read.contains(name) && !name.starts_with('_') && said.insert(name.clone()) {
                found.push(
                    Diagnostic::warning(Code::UnusedVariable, *span, format!("`${name}` is never read"))
                        .label("gets a value for nothing")
                        .help(format!("use it, take it out, or call it `$_{name}`")),
                );
            }
        }
    }
}

impl Rewrite for Variables {
    fn statement(&mut self, statement: &mut Stmt) {
        match &mut statement.kind {
            StmtKind::Assign { target: Expr { kind: ExprKind::Variable(name), span }, value, .. } => {
                self.set.push((name.clone(), *span));
                self.expr(value);
            }
            StmtKind::Let { name, ty, value } => {
                self.set.push((name.text.clone(), name.span));
                if let Some(ty) = ty {
                    self.type_name(ty);
                }
                if let Some(value) = value {
                    self.expr(value);
                }
            }
            _ => walk_statement(self, statement),
        }
    }

    fn expr(&mut self, e: &mut Expr) {
        if let ExprKind::Variable(name) = &e.kind {
            self.read.insert(name.clone());
        }
        walk_expr(self, e);
    }
}

/// Maps: which are written, which remember a time for each thread, and what becomes of that.
#[derive(Default)]
struct Maps {
    written: Vec<(String, Span)>,
    times: Vec<(String, Span)>,
    read: HashSet<String>,
    removed: HashSet<String>,
    /// Emptied when the script ends, before maps are printed.
    emptied: HashSet<String>,
    /// In a clause of END.
    is_end: bool,
}

impl Maps {
    fn never_shown(&self, shown: Shown, found: &mut Vec<Diagnostic>) {
        let mut said = HashSet::new();
        for (name, span) in &self.written {
            let is_shown = self.read.contains(name) || shown == Shown::AtTheEnd && !self.emptied.contains(name);
            if is_shown || !said.insert(name) {
                continue;
            }
            let help = match shown {
                Shown::AtTheEnd => format!("`print(@{name});` before END empties it"),
                Shown::Nowhere => format!("`print(@{name});` where it is to be shown"),
                Shown::OnlyByPrintf => "a pinned iterator writes what its printf() says, and no map".to_string(),
            };
            found.push(
                Diagnostic::warning(
                    Code::NeverShown,
                    *span,
                    format!("`@{name}` is written, and never read or printed"),
                )
                .label("for nothing")
                .help(help),
            );
        }
    }

    fn left_behind(&self, found: &mut Vec<Diagnostic>) {
        let mut said = HashSet::new();
        for (name, span) in &self.times {
            if self.read.contains(name) && !self.removed.contains(name) && said.insert(name) {
                found.push(
                    Diagnostic::warning(Code::LeftBehind, *span, format!("entries of `@{name}` are never taken out"))
                        .label("stays when the thread has ended")
                        .help(format!("`delete(@{name}, tid)` where it has been used; or `self->{name}`, which goes with its thread")),
                );
            }
        }
    }
}

/// Whether the expression is a point in time.
fn is_time(e: &Expr) -> bool {
    match &e.kind {
        ExprKind::Ident(name) => TIMES.contains(&name.as_str()),
        ExprKind::Call { name, .. } => TIMES.contains(&name.text.as_str()),
        _ => false,
    }
}

impl Rewrite for Maps {
    fn statement(&mut self, statement: &mut Stmt) {
        match &mut statement.kind {
            StmtKind::Assign { target: Expr { kind: ExprKind::Map { name, keys }, span }, op, value } => {
                let is_of_thread = matches!(&keys[..], [Expr { kind: ExprKind::Ident(key), .. }] if key == "tid");
                if op.is_none() && is_of_thread && is_time(value) {
                    self.times.push((name.clone(), *span));
                }
                self.written.push((name.clone(), *span));
                keys.iter_mut().for_each(|key| self.expr(key));
                self.expr(value);
            }
            StmtKind::Expr(Expr { kind: ExprKind::Step { target, .. }, span }) => match &mut target.kind {
                ExprKind::Map { name, keys } => {
                    self.written.push((name.clone(), *span));
                    keys.iter_mut().for_each(|key| self.expr(key));
                }
                _ => self.expr(target),
            },
            _ => walk_statement(self, statement),
        }
    }

    fn block(&mut self, block: &mut Block) {
        walk_block(self, block);
    }

    fn expr(&mut self, e: &mut Expr) {
        match &mut e.kind {
            ExprKind::Map { name, keys } => {
                self.read.insert(name.clone());
                keys.iter_mut().for_each(|key| self.expr(key));
            }
            ExprKind::Call { name, arguments } => {
                let removes = REMOVALS.contains(&name.text.as_str());
                for argument in arguments {
                    let ExprKind::Map { name: map, keys } = &mut argument.value.kind else {
                        self.expr(&mut argument.value);
                        continue;
                    };
                    // A map as a whole may be taken anywhere by what is called.
                    if removes || keys.is_empty() {
                        self.removed.insert(map.clone());
                    }
                    if removes && self.is_end && keys.is_empty() {
                        self.emptied.insert(map.clone());
                    }
                    if !removes {
                        self.read.insert(map.clone());
                    }
                    keys.iter_mut().for_each(|key| self.expr(key));
                }
            }
            _ => walk_expr(self, e),
        }
    }
}
