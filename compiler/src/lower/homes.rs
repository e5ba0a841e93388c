//! Which functions a program consists of before anything is lowered: the program itself, its functions, and the bodies of
//! loops that are called. Which variables several of them mention.

use std::collections::{HashMap, HashSet};

use rtrace_lang::hir::{Expr, ExprKind, LocalId, LoopKind, Program, Stmt, StmtKind, for_each_statement};

use super::apart::Apart;
use super::loops::{enters_functions, is_called, rounds_of};

/// What is known of the functions of a program.
pub(super) struct Homes {
    /// Variables that lie in memory: more than one function mentions them, or they have an address.
    pub shared: HashSet<LocalId>,
    /// There is no function but the program itself.
    pub is_alone: bool,
    /// A loop that the verifier follows round by round enters other functions.
    pub follows_calls: bool,
    /// How often the verifier comes to each function of the script, for plain loops around its calls.
    pub rounds: Vec<u64>,
}

/// Stands for a function that there is not: what it mentions lies in memory.
const ELSEWHERE: usize = usize::MAX;

/// Plain loops of more rounds keep the variables that they change in memory. The verifier follows such a loop round by
/// round, and the values that it knows of variables in registers make each round and each way through it another one.
const MOST_FOLLOWED_ROUNDS: u64 = 16;

/// Which functions mention each variable; the program itself is 0.
struct Walk<'a> {
    program: &'a Program,
    of: HashMap<LocalId, HashSet<usize>>,
    /// Functions beside the program itself so far.
    functions: usize,
    apart: &'a Apart,
    follows_calls: bool,
    rounds: Vec<u64>,
}

pub(super) fn homes(program: &Program, apart: &Apart) -> Homes {
    let mut walk = Walk {
        program,
        of: HashMap::new(),
        functions: 0,
        apart,
        follows_calls: false,
        rounds: vec![0; program.functions.len()],
    };
    if let Some(local) = program.speculation {
        // Everything that is printed reads it.
        walk.note(local, ELSEWHERE);
    }
    if let Some(predicate) = &program.predicate {
        walk.expr(predicate, 0, 1);
    }
    walk.block(&program.body, 0, 1);
    // Each function calls only those before it: callers first, so that it is known how often each is come to.
    for (number, function) in program.functions.iter().enumerate().rev() {
        walk.functions += 1;
        let here = walk.functions;
        function.parameters.iter().for_each(|local| walk.note(*local, here));
        walk.block(&function.body, here, walk.rounds[number].max(1));
    }
    let shared = walk
        .of
        .into_iter()
        .filter(|(_, functions)| functions.len() > 1 || functions.contains(&ELSEWHERE))
        .map(|(local, _)| local)
        .collect();
    let rounds = walk.rounds.into_iter().map(|rounds| rounds.max(1)).collect();
    Homes { shared, is_alone: walk.functions == 0, follows_calls: walk.follows_calls, rounds }
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
                    let rounds = if self.apart.is_global(*id) { 1 } else { rounds };
                    self.rounds[id.index()] = self.rounds[id.index()].saturating_add(rounds);
                }
                StmtKind::Expr(_)
                | StmtKind::SetMap { .. }
                | StmtKind::Aggregate { .. }
                | StmtKind::Emit { .. }
                | StmtKind::KernelLine { .. }
                | StmtKind::Exit { .. }
                | StmtKind::Result(_)
                | StmtKind::Break
                | StmtKind::Continue
                | StmtKind::Return => statement.for_each_expr(&mut |e| self.expr(e, here, rounds)),
            }
        }
    }

    fn repeat(&mut self, kind: &LoopKind, body: &[Stmt], here: usize, rounds: u64) {
        let is_called = is_called(kind, body, rounds, self.apart);
        let (inside, rounds_inside) = if is_called {
            self.functions += 1;
            (self.functions, 1)
        } else {
            (here, rounds_of(kind, rounds))
        };
        let is_followed = !is_called && !matches!(kind, LoopKind::Unroll(_));
        // The rounds of one that a helper does not call are followed, too.
        self.follows_calls |= is_called && !self.apart.has_helper && !matches!(kind, LoopKind::Map { .. });
        self.follows_calls |= is_followed && enters_functions(body, rounds_inside, self.apart);
        if !is_called && rounds_inside / rounds > MOST_FOLLOWED_ROUNDS {
            self.note_changed(body);
        }
        if let LoopKind::Range { from, to, .. } = kind {
            self.expr(from, here, rounds);
            self.expr(to, here, rounds);
        }
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
    }

    /// Puts the variables into memory that the statements change.
    fn note_changed(&mut self, body: &[Stmt]) {
        let mut changed = Vec::new();
        for_each_statement(body, &mut |statement| {
            if let StmtKind::SetLocal { local, .. } = &statement.kind {
                changed.push(*local);
            }
            statement.for_each_expr(&mut |e| updates(e, &mut changed));
        });
        changed.into_iter().for_each(|local| self.note(local, ELSEWHERE));
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
            ExprKind::Len { .. } => self.functions += 1,
            // So is the way up a stack by tables.
            ExprKind::StackByTables { .. } => {
                self.functions += 1;
                self.follows_calls |= !self.apart.has_helper;
            }
            _ => {}
        }
        e.for_each_part(&mut |part| self.expr(part, here, rounds));
    }
}

/// Adds the variables that an expression changes; not those that statements inside it do.
fn updates(e: &Expr, changed: &mut Vec<LocalId>) {
    if let ExprKind::UpdateLocal { local, .. } = &e.kind {
        changed.push(*local);
    }
    e.for_each_part(&mut |part| updates(part, changed));
}
