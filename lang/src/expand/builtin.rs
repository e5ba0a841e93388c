//! Builtins that are macros. Their text is the tool's own: what they expand to stands, for every message, where they are
//! used.

use crate::ast::rewrite::{Rewrite, walk_block, walk_expr, walk_statement, walk_type};
use crate::ast::{Block, Expr, ExprKind, Item, Stmt, TypeName};
use crate::builtins::{self, Lowering};
use crate::parse::parse;
use crate::span::Span;

use super::Macro;

/// The macros of a builtin, for a use at that place; none where it is no macro.
pub fn macros_of(name: &str, span: Span) -> Vec<Macro> {
    let Some(Lowering::Macro(text)) = builtins::named(name).map(|row| row.lowering) else { return Vec::new() };
    let mut found = Vec::new();
    for item in parse(text).ast.items {
        if let Item::Macro { name, parameters, mut body, .. } = item {
            Place { span }.block(&mut body);
            found.push(Macro { name: name.text, parameters, body, is_define: false });
        }
    }
    found
}

/// Moves everything to one place.
pub struct Place {
    pub span: Span,
}

impl Rewrite for Place {
    fn expr(&mut self, e: &mut Expr) {
        e.span = self.span;
        match &mut e.kind {
            ExprKind::Call { name, .. } | ExprKind::Field { name, .. } => name.span = self.span,
            ExprKind::OffsetOfType { path, .. } | ExprKind::OffsetOf { path, .. } => {
                path.iter_mut().for_each(|name| name.span = self.span);
            }
            _ => {}
        }
        walk_expr(self, e);
    }

    fn statement(&mut self, statement: &mut Stmt) {
        statement.span = self.span;
        walk_statement(self, statement);
    }

    fn type_name(&mut self, ty: &mut TypeName) {
        ty.span = self.span;
        walk_type(self, ty);
    }

    fn block(&mut self, block: &mut Block) {
        block.span = self.span;
        walk_block(self, block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_macro_is_written_correctly() {
        for row in builtins::all() {
            let Lowering::Macro(text) = row.lowering else { continue };
            let parsed = parse(text);
            assert!(parsed.diagnostics.is_empty(), "{}: {:?}", row.name, parsed.diagnostics);
            let found = macros_of(row.name, Span::default());
            assert!(found.iter().all(|one| one.name == row.name), "{}", row.name);
            let counts = found.iter().map(|one| one.parameters.len());
            assert_eq!(
                (counts.clone().min(), counts.max()),
                (Some(row.arguments.0), Some(row.arguments.1)),
                "{}",
                row.name
            );
        }
    }
}
