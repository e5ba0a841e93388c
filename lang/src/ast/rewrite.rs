//! Walks over every part of a script that can be replaced. Knows no meaning: what is replaced by what is for others to
//! say.

use super::{Block, Expr, ExprKind, If, Name, Stmt, StmtKind, TypeBase, TypeName, TypeSuffix};

/// What is done to each part; a method that wants the parts below changed as well calls the walk of that name.
pub trait Rewrite {
    fn expr(&mut self, e: &mut Expr) {
        walk_expr(self, e);
    }

    fn statement(&mut self, statement: &mut Stmt) {
        walk_statement(self, statement);
    }

    /// The name of a variable, where it is used or declared.
    fn variable(&mut self, _: &mut String) {}

    /// The name of a type, where it is no keyword.
    fn type_name(&mut self, ty: &mut TypeName) {
        walk_type(self, ty);
    }

    /// Opens and closes what a block holds.
    fn block(&mut self, block: &mut Block) {
        walk_block(self, block);
    }
}

pub fn walk_block<R: Rewrite + ?Sized>(rewrite: &mut R, block: &mut Block) {
    for statement in &mut block.statements {
        rewrite.statement(statement);
    }
    if let Some(value) = &mut block.value {
        rewrite.expr(value);
    }
}

fn walk_name<R: Rewrite + ?Sized>(rewrite: &mut R, name: &mut Name) {
    rewrite.variable(&mut name.text);
}

fn walk_if<R: Rewrite + ?Sized>(rewrite: &mut R, inner: &mut If) {
    rewrite.expr(&mut inner.condition);
    rewrite.block(&mut inner.then);
    if let Some(otherwise) = &mut inner.otherwise {
        rewrite.block(otherwise);
    }
}

pub fn walk_type<R: Rewrite + ?Sized>(rewrite: &mut R, ty: &mut TypeName) {
    if let TypeBase::TypeOf(e) = &mut ty.base {
        rewrite.expr(e);
    }
    for suffix in &mut ty.suffixes {
        if let TypeSuffix::Computed(length) = suffix {
            rewrite.expr(length);
        }
    }
}

pub fn walk_statement<R: Rewrite + ?Sized>(rewrite: &mut R, statement: &mut Stmt) {
    match &mut statement.kind {
        StmtKind::Expr(e) | StmtKind::Discard(e) => rewrite.expr(e),
        StmtKind::Assign { target, value, .. } => {
            rewrite.expr(target);
            rewrite.expr(value);
        }
        StmtKind::Let { name, ty, value } => {
            if let Some(ty) = ty {
                rewrite.type_name(ty);
            }
            if let Some(value) = value {
                rewrite.expr(value);
            }
            walk_name(rewrite, name);
        }
        StmtKind::If(inner) => walk_if(rewrite, inner),
        StmtKind::While { condition, body } => {
            rewrite.expr(condition);
            rewrite.block(body);
        }
        StmtKind::ForRange { variable, from, to, body } => {
            rewrite.expr(from);
            rewrite.expr(to);
            walk_name(rewrite, variable);
            rewrite.block(body);
        }
        StmtKind::ForMap { variables, map, body } => {
            rewrite.expr(map);
            variables.iter_mut().for_each(|name| walk_name(rewrite, name));
            rewrite.block(body);
        }
        StmtKind::Unroll { count, body } => {
            rewrite.expr(count);
            rewrite.block(body);
        }
        StmtKind::Return(value) => value.iter_mut().for_each(|value| rewrite.expr(value)),
        StmtKind::Block(block) => rewrite.block(block),
        StmtKind::Try { body, catch } => {
            rewrite.block(body);
            rewrite.block(catch);
        }
        StmtKind::Break | StmtKind::Continue | StmtKind::Import(_) | StmtKind::Error => {}
    }
}

pub fn walk_expr<R: Rewrite + ?Sized>(rewrite: &mut R, e: &mut Expr) {
    match &mut e.kind {
        ExprKind::Int(_)
        | ExprKind::Duration(_)
        | ExprKind::Bool(_)
        | ExprKind::Str(_)
        | ExprKind::Ident(_)
        | ExprKind::Positional(_)
        | ExprKind::PositionalText(_)
        | ExprKind::PositionalCount => {}
        ExprKind::Variable(name) => rewrite.variable(name),
        ExprKind::Map { keys, .. } => keys.iter_mut().for_each(|key| rewrite.expr(key)),
        ExprKind::Call { arguments, .. } => {
            arguments.iter_mut().for_each(|argument| rewrite.expr(&mut argument.value));
        }
        ExprKind::Field { base, .. } | ExprKind::TupleField { base, .. } => rewrite.expr(base),
        ExprKind::Index { base, index } => {
            rewrite.expr(base);
            rewrite.expr(index);
        }
        ExprKind::Unary { operand, .. } => rewrite.expr(operand),
        ExprKind::Step { target, .. } => rewrite.expr(target),
        ExprKind::Binary { left, right, .. } => {
            rewrite.expr(left);
            rewrite.expr(right);
        }
        ExprKind::Ternary { condition, then, otherwise } => {
            rewrite.expr(condition);
            then.iter_mut().for_each(|then| rewrite.expr(then));
            rewrite.expr(otherwise);
        }
        ExprKind::Cast { ty, operand } => {
            rewrite.type_name(ty);
            rewrite.expr(operand);
        }
        ExprKind::SizeOfType(ty) | ExprKind::TypeInfoType(ty) | ExprKind::TypeArgument(ty) => rewrite.type_name(ty),
        ExprKind::OffsetOfType { ty, .. } => rewrite.type_name(ty),
        ExprKind::SizeOf(inner)
        | ExprKind::OffsetOf { of: inner, .. }
        | ExprKind::TypeInfo(inner)
        | ExprKind::Comptime(inner) => rewrite.expr(inner),
        ExprKind::Tuple(parts) => parts.iter_mut().for_each(|part| rewrite.expr(part)),
        ExprKind::Record(parts) => parts.iter_mut().for_each(|(_, part)| rewrite.expr(part)),
        ExprKind::Block(block) => rewrite.block(block),
        ExprKind::If(inner) => walk_if(rewrite, inner),
    }
}
