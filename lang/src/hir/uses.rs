//! Which constructs a program uses that ask something of the kernel. Looks only.

use std::collections::HashSet;

use crate::aggregations::Fold;
use crate::target::ProgramKind;

use super::{Expr, ExprKind, Hir, LoopKind, MapValue, Program, Stmt, StmtKind};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Uses {
    /// `@x++` and the like.
    pub map_updates: bool,
    /// `kstack`, `ustack`
    pub stacks: bool,
    /// Events are sent by probes that fire on their own, at whatever rate.
    pub streams: bool,
    /// `while`, and `for` over numbers; the way up a stack by tables.
    pub loops: bool,
    /// `dw_ustack`
    pub unwind_tables: bool,
    /// Probes in programs and libraries.
    pub user_code: bool,
    /// An aggregation is read inside a program.
    pub aggregation_values: bool,
    /// A map with keys has cells that are better taken when they are used.
    pub large_cells: bool,
    /// Sums of more than 64 bits.
    pub wide_sums: bool,
    /// It changes what processes do: `signal()`, `override()`, `write_user()`.
    pub changes_processes: bool,
}

impl Hir {
    pub fn uses(&self) -> Uses {
        let mut uses = Uses::default();
        for program in &self.programs {
            let fires = program.kind != ProgramKind::TestRun;
            uses.user_code |= matches!(program.kind, ProgramKind::Kprobe { user: true, .. });
            program.predicate.iter().for_each(|predicate| predicate.note_uses(fires, &mut uses));
            program.bodies().for_each(|body| note_block(body, fires, &mut uses));
        }
        for map in &self.maps {
            uses.large_cells |= map.has_large_cells();
            uses.wide_sums |= match &map.value {
                MapValue::Aggregation(aggregation) => aggregation.row().fold == Fold::Squares,
                MapValue::Plain(_) => false,
            };
        }
        uses
    }
}

/// The programs that put values into each map as an aggregation.
pub fn aggregating_programs(hir: &Hir) -> Vec<Vec<&Program>> {
    let mut programs = vec![Vec::new(); hir.maps.len()];
    for program in &hir.programs {
        let mut maps = HashSet::new();
        for body in program.bodies() {
            for_each_statement(body, &mut |statement| {
                if let StmtKind::Aggregate { map, .. } = &statement.kind {
                    maps.insert(*map);
                }
            });
        }
        maps.into_iter().for_each(|map| programs[map.index()].push(program));
    }
    programs
}

/// Calls `f` with each statement, those inside statements and expressions included, outer ones first.
pub fn for_each_statement(statements: &[Stmt], f: &mut dyn FnMut(&Stmt)) {
    for statement in statements {
        f(statement);
        match &statement.kind {
            StmtKind::If { then, otherwise, .. } => {
                for_each_statement(then, f);
                for_each_statement(otherwise, f);
            }
            StmtKind::Loop { body, .. } => for_each_statement(body, f),
            StmtKind::Expr(_)
            | StmtKind::SetLocal { .. }
            | StmtKind::SetMap { .. }
            | StmtKind::Aggregate { .. }
            | StmtKind::Emit { .. }
            | StmtKind::KernelLine { .. }
            | StmtKind::Exit { .. }
            | StmtKind::Result(_)
            | StmtKind::Break
            | StmtKind::Continue
            | StmtKind::Call(_)
            | StmtKind::Return => {}
        }
        statement.for_each_expr(&mut |e| e.for_each_statement(f));
    }
}

fn note_block(statements: &[Stmt], fires: bool, uses: &mut Uses) {
    for statement in statements {
        match &statement.kind {
            StmtKind::If { then, otherwise, .. } => {
                note_block(then, fires, uses);
                note_block(otherwise, fires, uses);
            }
            StmtKind::Loop { kind, body } => {
                uses.loops |= matches!(kind, LoopKind::While(_) | LoopKind::Range { .. });
                // A loop sends at a rate of its own, whatever runs it.
                note_block(body, true, uses);
            }
            StmtKind::Expr(_)
            | StmtKind::SetLocal { .. }
            | StmtKind::SetMap { .. }
            | StmtKind::Aggregate { .. }
            | StmtKind::Emit { .. }
            | StmtKind::KernelLine { .. }
            | StmtKind::Exit { .. }
            | StmtKind::Result(_)
            | StmtKind::Break
            | StmtKind::Continue
            | StmtKind::Call(_)
            | StmtKind::Return => {}
        }
        uses.streams |= fires && matches!(statement.kind, StmtKind::Emit { .. });
        statement.for_each_expr(&mut |e| e.note_uses(fires, uses));
    }
}

impl Stmt {
    /// Calls `f` with each expression of the statement itself, not of statements inside it.
    pub fn for_each_expr(&self, f: &mut dyn FnMut(&Expr)) {
        match &self.kind {
            StmtKind::Expr(e)
            | StmtKind::SetLocal { value: e, .. }
            | StmtKind::Exit { code: e, .. }
            | StmtKind::Result(e) => f(e),
            StmtKind::SetMap { key, value, .. } => {
                key.iter().for_each(&mut *f);
                f(value);
            }
            StmtKind::Aggregate { key, value, weight, .. } => {
                key.iter().for_each(&mut *f);
                value.iter().chain(weight).for_each(f);
            }
            StmtKind::Emit { parts, .. } | StmtKind::KernelLine { values: parts, .. } => parts.iter().for_each(f),
            StmtKind::If { condition, .. } | StmtKind::Loop { kind: LoopKind::While(condition), .. } => f(condition),
            StmtKind::Loop { kind: LoopKind::Range { from, to, .. }, .. } => {
                f(from);
                f(to);
            }
            StmtKind::Loop { kind: LoopKind::Map { .. } | LoopKind::Unroll(_), .. }
            | StmtKind::Break
            | StmtKind::Continue
            | StmtKind::Call(_)
            | StmtKind::Return => {}
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
            | ExprKind::TaskRegister { .. }
            | ExprKind::Speculation
            | ExprKind::StartTime
            | ExprKind::WallOffset
            | ExprKind::Site
            | ExprKind::Caller { .. }
            | ExprKind::Stack { .. } => {}
            ExprKind::MapGet { key, .. }
            | ExprKind::HasKey { key, .. }
            | ExprKind::Delete { key, .. }
            | ExprKind::AggregationValue { key, .. } => key.iter().for_each(f),
            ExprKind::Binary { left, right, .. }
            | ExprKind::Element { base: left, index: right }
            | ExprKind::StringOrder { left, right, .. }
            | ExprKind::Concatenate(left, right)
            | ExprKind::ReadBytes { pointer: left, length: right }
            | ExprKind::Inet { family: left, address: right, .. }
            | ExprKind::StrEqual { left, right, .. }
            | ExprKind::Same { left, right, .. }
            | ExprKind::And(left, right)
            | ExprKind::WriteUser { address: left, buffer: right }
            | ExprKind::Or(left, right) => {
                f(left);
                f(right);
            }
            ExprKind::Negate(inner)
            | ExprKind::Complement(inner)
            | ExprKind::Not(inner)
            | ExprKind::Convert(inner)
            | ExprKind::Signal { number: inner, .. }
            | ExprKind::Override(inner)
            | ExprKind::AddressOf(inner)
            | ExprKind::Length(inner)
            | ExprKind::ByteSwap { value: inner, .. }
            | ExprKind::Deref { pointer: inner, .. }
            | ExprKind::Part { base: inner, .. }
            | ExprKind::Member { base: inner, .. }
            // The statements of a block are no parts: see `note_block`.
            | ExprKind::Block { value: inner, .. }
            | ExprKind::UpdateLocal { operand: inner, .. } => f(inner),
            ExprKind::CopyBytes { from, to, length, .. } => {
                f(from);
                f(to);
                f(length);
            }
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
            ExprKind::StackByTables { registers, .. } => registers.iter().for_each(f),
        }
    }

    /// The same for the statements of blocks in an expression.
    fn for_each_statement(&self, f: &mut dyn FnMut(&Stmt)) {
        if let ExprKind::Block { statements, .. } = &self.kind {
            for_each_statement(statements, f);
        }
        self.for_each_part(&mut |part| part.for_each_statement(f));
    }

    fn note_uses(&self, fires: bool, uses: &mut Uses) {
        uses.map_updates |= matches!(self.kind, ExprKind::UpdateMap { .. });
        uses.changes_processes |=
            matches!(self.kind, ExprKind::Signal { .. } | ExprKind::Override(_) | ExprKind::WriteUser { .. });
        uses.aggregation_values |= matches!(self.kind, ExprKind::AggregationValue { .. });
        let by_tables = matches!(self.kind, ExprKind::StackByTables { .. });
        uses.stacks |= by_tables || matches!(self.kind, ExprKind::Stack { .. });
        uses.loops |= by_tables;
        uses.unwind_tables |= by_tables;
        if let ExprKind::Block { statements, .. } = &self.kind {
            note_block(statements, fires, uses);
        }
        self.for_each_part(&mut |part| part.note_uses(fires, uses));
    }
}
