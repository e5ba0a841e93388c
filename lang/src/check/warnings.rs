//! What a script without a mistake may yet not mean: variables that nothing reads, predicates that never hold, entries of
//! threads that stay behind. Reads the script as it is written, before macros are expanded.

use std::collections::HashSet;

use crate::ast::rewrite::{Rewrite, walk_block, walk_expr, walk_statement};
use crate::ast::{Block, Expr, ExprKind, Item, Script, Stmt, StmtKind};
use crate::diagnostic::{Code, Diagnostic};
use crate::hir::Program;
use crate::span::Span;

/// Words for a point in time.
const TIMES: &[&str] = &["nsecs", "elapsed", "timestamp", "vtimestamp", "walltimestamp"];
/// Calls that take entries out of a map, or keep them from staying.
const REMOVALS: &[&str] = &["delete", "clear", "zero", "trunc"];

pub fn warnings(script: &Script) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut maps = Maps::default();
    for item in &script.items {
        match item {
            Item::Clause(clause) => {
                let mut variables = Variables::default();
                if let Some(mut predicate) = clause.predicate.clone() {
                    variables.expr(&mut predicate);
                    maps.expr(&mut predicate);
                }
                variables.of_body(&clause.body, &mut found);
                maps.block(&mut clause.body.clone());
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
    found
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

/// Maps that remember a time for each thread, and what becomes of it.
#[derive(Default)]
struct Maps {
    times: Vec<(String, Span)>,
    read: HashSet<String>,
    removed: HashSet<String>,
}

impl Maps {
    fn left_behind(self, found: &mut Vec<Diagnostic>) {
        let mut said = HashSet::new();
        for (name, span) in self.times {
            if self.read.contains(&name) && !self.removed.contains(&name) && said.insert(name.clone()) {
                found.push(
                    Diagnostic::warning(Code::LeftBehind, span, format!("entries of `@{name}` are never taken out"))
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
            StmtKind::Assign { target: Expr { kind: ExprKind::Map { name, keys }, span }, op: None, value } => {
                if matches!(&keys[..], [Expr { kind: ExprKind::Ident(key), .. }] if key == "tid") && is_time(value) {
                    self.times.push((name.clone(), *span));
                }
                keys.iter_mut().for_each(|key| self.expr(key));
                self.expr(value);
            }
            _ => walk_statement(self, statement),
        }
    }

    fn block(&mut self, block: &mut Block) {
        walk_block(self, block);
    }

    fn expr(&mut self, e: &mut Expr) {
        match &e.kind {
            ExprKind::Map { name, .. } => {
                self.read.insert(name.clone());
            }
            ExprKind::Call { name, arguments } => {
                // A map as a whole may be taken anywhere by what is called.
                for argument in arguments {
                    if let ExprKind::Map { name: map, keys } = &argument.value.kind
                        && (keys.is_empty() || REMOVALS.contains(&name.text.as_str()))
                    {
                        self.removed.insert(map.clone());
                    }
                }
            }
            _ => {}
        }
        walk_expr(self, e);
    }
}
