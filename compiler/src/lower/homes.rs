//! Which functions a program consists of before anything is lowered: the program itself, its functions, and the bodies of
//! loops that a helper calls. Which variables several of them mention, and how deep they call one another.

use std::collections::{HashMap, HashSet};

use rtrace_lang::hir::{Expr, ExprKind, LocalId, LoopKind, Program, Stmt, StmtKind};

use super::loops::{is_called, rounds_of};

/// What is known of the functions of a program.
pub(super) struct Homes {
    /// Variables that more than one function mentions.
    pub shared: HashSet<LocalId>,
    /// Functions that run at once at most, the program itself included.
    pub depth: u32,
}

/// Stands for a function that there is not.
const ELSEWHERE: usize = usize::MAX;

/// Which functions mention each variable; the program itself is 0.
struct Walk<'a> {
    program: &'a Program,
    of: HashMap<LocalId, HashSet<usize>>,
    functions: usize,
    has_helper: bool,
    /// Functions around the place that is looked at, and the most of them so far.
    depth: u32,
    most_depth: u32,
    /// The depth of each function of the script.
    depths: Vec<u32>,
}

pub(super) fn homes(program: &Program, has_helper: bool) -> Homes {
    let mut walk =
        Walk { program, of: HashMap::new(), functions: 0, has_helper, depth: 1, most_depth: 1, depths: Vec::new() };
    if let Some(local) = program.speculation {
        // Everything that is printed reads it.
        walk.note(local, 0);
        walk.note(local, ELSEWHERE);
    }
    for function in &program.functions {
        walk.functions += 1;
        let here = walk.functions;
        walk.most_depth = 1;
        function.parameters.iter().for_each(|local| walk.note(*local, here));
        walk.block(&function.body, here, 1);
        walk.depths.push(walk.most_depth);
    }
    walk.most_depth = 1;
    if let Some(predicate) = &program.predicate {
        walk.expr(predicate, 0, 1);
    }
    walk.block(&program.body, 0, 1);
    let shared = walk.of.into_iter().filter(|(_, functions)| functions.len() > 1).map(|(local, _)| local).collect();
    Homes { shared, depth: walk.most_depth }
}

impl Walk<'_> {
    fn note(&mut self, local: LocalId, here: usize) {
        self.of.entry(local).or_default().insert(here);
    }

    fn block(&mut self, statements: &[Stmt], here: usize, rounds: u64) {
        for statement in statements {
            match &statement.kind {
                StmtKind::SetLocal { local, value } => {
                    self.note(*local, here);
                    self.expr(value, here, rounds);
                }
                StmtKind::If { condition, then, otherwise } => {
                    self.expr(condition, here, rounds);
                    self.block(then, here, rounds);
                    self.block(otherwise, here, rounds);
                }
                StmtKind::Loop { kind, body } => self.repeat(kind, body, here, rounds),
                StmtKind::Call(id) => {
                    let function = &self.program.functions[id.index()];
                    // The caller sets the parameters and reads the result, from memory.
                    for local in function.parameters.iter().copied().chain(function.result) {
                        self.note(local, here);
                    }
                    self.most_depth = self.most_depth.max(self.depth + self.depths[id.index()]);
                }
                StmtKind::Expr(_)
                | StmtKind::SetMap { .. }
                | StmtKind::Aggregate { .. }
                | StmtKind::Emit { .. }
                | StmtKind::Exit { .. }
                | StmtKind::Break
                | StmtKind::Continue
                | StmtKind::Return => statement.for_each_expr(&mut |e| self.expr(e, here, rounds)),
            }
        }
    }

    fn repeat(&mut self, kind: &LoopKind, body: &[Stmt], here: usize, rounds: u64) {
        let is_called = is_called(kind, rounds, self.has_helper);
        let (inside, rounds_inside) = if is_called {
            self.functions += 1;
            (self.functions, 1)
        } else {
            (here, rounds_of(kind, rounds))
        };
        let below = u32::from(is_called);
        if let LoopKind::Range { from, to, .. } = kind {
            self.expr(from, here, rounds);
            self.expr(to, here, rounds);
        }
        self.depth += below;
        self.most_depth = self.most_depth.max(self.depth);
        match kind {
            LoopKind::While(condition) => self.expr(condition, inside, rounds_inside),
            LoopKind::Range { variable, .. } => self.note(*variable, inside),
            LoopKind::Map { key, value, .. } => {
                self.note(*key, inside);
                self.note(*value, inside);
            }
            LoopKind::Unroll(_) => {}
        }
        self.block(body, inside, rounds_inside);
        self.depth -= below;
    }

    fn expr(&mut self, e: &Expr, here: usize, rounds: u64) {
        match &e.kind {
            ExprKind::Local(local) | ExprKind::UpdateLocal { local, .. } => self.note(*local, here),
            // What has an address lies in memory.
            ExprKind::AddressOf(inner) => {
                if let ExprKind::Local(local) = &inner.kind {
                    self.note(*local, ELSEWHERE);
                }
            }
            ExprKind::Block { statements, .. } => self.block(statements, here, rounds),
            // Counts by a loop with nothing in it.
            ExprKind::Len { .. } => self.most_depth = self.most_depth.max(self.depth + 1),
            _ => {}
        }
        e.for_each_part(&mut |part| self.expr(part, here, rounds));
    }
}
