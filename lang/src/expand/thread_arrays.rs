//! `self->x[key]`: which variables of a thread are arrays. Those are that some statement of the script assigns by a key; of
//! all others `[ ]` takes a piece of the value.

use std::collections::HashSet;

use crate::ast::rewrite::{Rewrite, walk_expr, walk_statement};
use crate::ast::{Expr, ExprKind, Item, Script, Stmt, StmtKind};

/// The names of a script's arrays. Nothing is rewritten.
pub fn of(script: &mut Script) -> HashSet<String> {
    let mut found = Found(HashSet::new());
    for item in &mut script.items {
        match item {
            Item::Clause(clause) => found.block(&mut clause.body),
            Item::Function { body, .. } | Item::Macro { body, .. } => found.block(body),
            Item::Config { .. }
            | Item::MapDeclaration { .. }
            | Item::Enum { .. }
            | Item::Struct { .. }
            | Item::Typedef { .. }
            | Item::Import { .. }
            | Item::Directive { .. } => {}
        }
    }
    found.0
}

/// The name behind `self->`, if the expression is such a variable.
pub fn name(e: &Expr) -> Option<&str> {
    match &e.kind {
        ExprKind::Field { base, name } => match &base.kind {
            ExprKind::Ident(of) if of == "self" => Some(&name.text),
            _ => None,
        },
        _ => None,
    }
}

struct Found(HashSet<String>);

impl Found {
    fn target(&mut self, target: &Expr) {
        if let ExprKind::Index { base, .. } = &target.kind {
            self.0.extend(name(base).map(str::to_string));
        }
    }
}

impl Rewrite for Found {
    fn expr(&mut self, e: &mut Expr) {
        if let ExprKind::Step { target, .. } = &e.kind {
            self.target(target);
        }
        walk_expr(self, e);
    }

    fn statement(&mut self, statement: &mut Stmt) {
        if let StmtKind::Assign { target, .. } = &statement.kind {
            self.target(target);
        }
        walk_statement(self, statement);
    }
}
