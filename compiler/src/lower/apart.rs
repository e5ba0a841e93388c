//! Which bodies of loops and functions of the script can be functions that the kernel verifies by themselves, where no helper calls
//! the bodies. Such a global function gets numbers alone, and so no context: all else it finds in the scratch memory.

use rtrace_lang::hir::{Expr, ExprKind, FunctionId, LoopKind, Program, Stmt, StmtKind, for_each_statement};

/// What is lowered as functions beside a program.
pub(super) struct Apart {
    /// A helper calls the bodies of loops.
    pub has_helper: bool,
    /// By number: the functions of the script that can stand alone.
    alone: Vec<bool>,
}

impl Apart {
    pub fn new(program: &Program, has_helper: bool) -> Apart {
        let mut apart = Apart { has_helper, alone: Vec::new() };
        // Each calls only those before it.
        for function in &program.functions {
            let is_alone = !has_helper && apart.stands_alone(&function.body);
            apart.alone.push(is_alone);
        }
        apart
    }

    pub fn is_global(&self, function: FunctionId) -> bool {
        self.alone[function.index()]
    }

    /// Whether the body of a loop can be a function that is called for each round.
    pub fn can_call(&self, kind: &LoopKind, body: &[Stmt]) -> bool {
        if self.has_helper {
            return true;
        }
        let condition = match kind {
            LoopKind::While(condition) => Some(condition),
            LoopKind::Range { .. } | LoopKind::Map { .. } | LoopKind::Unroll(_) => None,
        };
        self.stands_alone(body) && !condition.is_some_and(|condition| self.expr_needs_frame(condition))
    }

    fn stands_alone(&self, statements: &[Stmt]) -> bool {
        let mut is_alone = true;
        for_each_statement(statements, &mut |statement| {
            is_alone &= match &statement.kind {
                StmtKind::Call(function) => self.alone[function.index()],
                // The first is what an iterator prints; the second is called by a helper, which hands the frame on.
                StmtKind::KernelLine { .. } | StmtKind::Loop { kind: LoopKind::Map { .. }, .. } => false,
                StmtKind::Expr(_)
                | StmtKind::SetLocal { .. }
                | StmtKind::SetMap { .. }
                | StmtKind::Aggregate { .. }
                | StmtKind::Emit { .. }
                | StmtKind::Exit { .. }
                | StmtKind::Result(_)
                | StmtKind::If { .. }
                | StmtKind::Loop { .. }
                | StmtKind::Break
                | StmtKind::Continue
                | StmtKind::Return => true,
            };
            statement.for_each_expr(&mut |e| is_alone &= !self.expr_needs_frame(e));
        });
        is_alone
    }

    /// Whether an expression reads the context, or is counted by a helper.
    fn expr_needs_frame(&self, e: &Expr) -> bool {
        let mut found = match &e.kind {
            ExprKind::Context(_)
            | ExprKind::ContextPointer
            | ExprKind::Stack { .. }
            | ExprKind::Caller { .. }
            | ExprKind::Override(_)
            | ExprKind::Len { .. } => true,
            ExprKind::Block { statements, .. } => !self.stands_alone(statements),
            _ => false,
        };
        e.for_each_part(&mut |part| found |= self.expr_needs_frame(part));
        found
    }
}
