//! Which constructs a program uses that ask something of the kernel. Looks only.

use crate::target::ProgramKind;

use super::{Expr, ExprKind, Hir, MapId, Stmt, StmtKind};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Uses {
    /// `@x++` and the like.
    pub map_updates: bool,
    /// `kstack`, `ustack`
    pub stacks: bool,
    /// Events are sent by probes that fire on their own, at whatever rate.
    pub streams: bool,
}

impl Hir {
    pub fn uses(&self) -> Uses {
        let mut uses = Uses::default();
        for program in &self.programs {
            program.predicate.iter().for_each(|predicate| predicate.note_uses(&mut uses));
            note_block(&program.body, program.kind != ProgramKind::TestRun, &mut uses);
        }
        uses
    }
}

/// How many programs put values into the map as an aggregation.
pub fn aggregating_programs(hir: &Hir, map: MapId) -> usize {
    hir.programs.iter().filter(|program| aggregates(&program.body, map)).count()
}

fn aggregates(statements: &[Stmt], wanted: MapId) -> bool {
    statements.iter().any(|statement| match &statement.kind {
        StmtKind::Aggregate { map, .. } => *map == wanted,
        StmtKind::If { then, otherwise, .. } => aggregates(then, wanted) || aggregates(otherwise, wanted),
        StmtKind::Expr(_)
        | StmtKind::SetLocal { .. }
        | StmtKind::SetMap { .. }
        | StmtKind::Emit { .. }
        | StmtKind::Exit { .. }
        | StmtKind::Return => false,
    })
}

fn note_block(statements: &[Stmt], fires: bool, uses: &mut Uses) {
    for statement in statements {
        if let StmtKind::If { then, otherwise, .. } = &statement.kind {
            note_block(then, fires, uses);
            note_block(otherwise, fires, uses);
        }
        uses.streams |= fires && matches!(statement.kind, StmtKind::Emit { .. });
        statement.for_each_expr(&mut |e| e.note_uses(uses));
    }
}

impl Stmt {
    /// Calls `f` with each expression of the statement itself, not of statements inside it.
    pub fn for_each_expr(&self, f: &mut dyn FnMut(&Expr)) {
        match &self.kind {
            StmtKind::Expr(e) | StmtKind::SetLocal { value: e, .. } | StmtKind::Exit { code: e, .. } => f(e),
            StmtKind::SetMap { key, value, .. } => {
                key.iter().for_each(&mut *f);
                f(value);
            }
            StmtKind::Aggregate { key, value, .. } => {
                key.iter().for_each(&mut *f);
                value.iter().for_each(f);
            }
            StmtKind::Emit { parts, .. } => parts.iter().for_each(f),
            StmtKind::If { condition, .. } => f(condition),
            StmtKind::Return => {}
        }
    }
}

impl Expr {
    /// Calls `f` with each direct part of the expression.
    pub fn for_each_part(&self, f: &mut dyn FnMut(&Expr)) {
        match &self.kind {
            ExprKind::Int(_)
            | ExprKind::Str(_)
            | ExprKind::Local(_)
            | ExprKind::Len { .. }
            | ExprKind::Helper { .. }
            | ExprKind::Context(_)
            | ExprKind::ContextPointer
            | ExprKind::Comm
            | ExprKind::CurrentTask
            | ExprKind::StartTime
            | ExprKind::Site
            | ExprKind::Stack { .. } => {}
            ExprKind::MapGet { key, .. } | ExprKind::HasKey { key, .. } | ExprKind::Delete { key, .. } => {
                key.iter().for_each(f);
            }
            ExprKind::Binary { left, right, .. }
            | ExprKind::StrEqual { left, right, .. }
            | ExprKind::And(left, right)
            | ExprKind::Or(left, right) => {
                f(left);
                f(right);
            }
            ExprKind::Negate(inner)
            | ExprKind::Complement(inner)
            | ExprKind::Not(inner)
            | ExprKind::Convert(inner)
            | ExprKind::Signal(inner)
            | ExprKind::Deref { pointer: inner, .. }
            | ExprKind::UpdateLocal { operand: inner, .. } => f(inner),
            ExprKind::ReadString { pointer, limit, .. } => {
                f(pointer);
                limit.iter().for_each(|limit| f(limit));
            }
            ExprKind::Ternary { condition, then, otherwise } => {
                f(condition);
                f(then);
                f(otherwise);
            }
            ExprKind::UpdateMap { key, operand, .. } => {
                key.iter().for_each(&mut *f);
                f(operand);
            }
            ExprKind::Tuple(parts) => parts.iter().for_each(f),
        }
    }

    fn note_uses(&self, uses: &mut Uses) {
        uses.map_updates |= matches!(self.kind, ExprKind::UpdateMap { .. });
        uses.stacks |= matches!(self.kind, ExprKind::Stack { .. });
        self.for_each_part(&mut |part| part.note_uses(uses));
    }
}
