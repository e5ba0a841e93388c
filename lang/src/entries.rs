//! `entry(e)`: what `e` was when the call was entered that now returns. Each use becomes a clause of its own at the
//! entry, which keeps the value for the thread, and a variable at the return. Rewrites the script before it is checked;
//! resolves no name.

use crate::ast::rewrite::{Rewrite, walk_expr};
use crate::ast::{
    BinaryOp, Block, Clause, Expr, ExprKind, If, Item, Name, Script, Step, Stmt, StmtKind, TypeBase, TypeName, UnaryOp,
};
use crate::diagnostic::{Code, Diagnostic};
use crate::expand::THREAD;
use crate::probe::ProbeSpec;
use crate::span::Span;
use crate::target::{Feature, Target};

/// What begins the names of the maps that keep values between entry and return. No script can write such a name.
pub const KEPT: &str = "entry ";

/// Providers of returns, with those of the entries that belong to them.
const RETURNS: &[(&str, &str)] = &[
    ("kretprobe", "kprobe"),
    ("kr", "kprobe"),
    ("uretprobe", "uprobe"),
    ("ur", "uprobe"),
    ("fexit", "fentry"),
    ("kretfunc", "fentry"),
];

/// Events of the end of a wait for a lock, with those of its beginning, and what names the lock in both. A task may wait for one
/// lock while it waits for another, and begin to wait for the same one twice: the later beginning counts.
const WAITS: &[(&str, &str, &str)] = &[
    ("rawtracepoint:contention_end", "rawtracepoint:contention_begin", "lock"),
    ("rt:contention_end", "rawtracepoint:contention_begin", "lock"),
    ("tracepoint:lock:contention_end", "tracepoint:lock:contention_begin", "lock_addr"),
    ("t:lock:contention_end", "tracepoint:lock:contention_begin", "lock_addr"),
];

/// What begins the names of the events of system calls that return, and of those that are entered.
const SYSCALL_EXIT: &str = "sys_exit_";
const SYSCALL_ENTER: &str = "sys_enter_";

/// Puts the clauses of entries before the clauses that ask for them. Where a kretprobe stands in for fexit, its arguments by
/// name are what they were at the entry.
pub fn add(script: &mut Script, target: &dyn Target, diagnostics: &mut Vec<Diagnostic>) {
    let mut items = Vec::new();
    let mut clauses = 0;
    for mut item in std::mem::take(&mut script.items) {
        match &mut item {
            Item::Clause(clause) => {
                if clause.probes.iter().all(is_fexit) && kretprobes_stand_in(target) {
                    clause.predicate.iter_mut().for_each(|predicate| Arguments.expr(predicate));
                    Arguments.block(&mut clause.body);
                }
                let mut found = Uses { clause: clauses, lock: lock_of(clause), expressions: Vec::new() };
                if let Some(predicate) = &mut clause.predicate {
                    found.expr(predicate);
                }
                found.block(&mut clause.body);
                if !found.expressions.is_empty() {
                    clauses += 1;
                    // A clause with a probe that is no return is not looked at any further.
                    let Some(entry) = at_entry(clause, &found, diagnostics) else { continue };
                    items.push(Item::Clause(entry));
                    at_return(clause, &found);
                }
            }
            Item::Function { .. }
            | Item::Macro { .. }
            | Item::Struct { .. }
            | Item::Typedef { .. }
            | Item::Enum { .. }
            | Item::Config { .. }
            | Item::Import { .. }
            | Item::MapDeclaration { .. }
            | Item::Directive { .. } => {}
        }
        items.push(item);
    }
    script.items = items;
}

fn kretprobes_stand_in(target: &dyn Target) -> bool {
    !target.has(Feature::Trampolines) && target.has(Feature::Kprobes)
}

fn is_fexit(spec: &ProbeSpec) -> bool {
    matches!(spec.provider.to_ascii_lowercase().as_str(), "fexit" | "kretfunc")
}

/// Asks for arguments as they were at the entry.
struct Arguments;

impl Rewrite for Arguments {
    fn expr(&mut self, e: &mut Expr) {
        match &e.kind {
            ExprKind::Call { name, .. } if name.text == "entry" => {}
            ExprKind::Field { base, .. } if base.kind == ExprKind::Ident("args".to_string()) => {
                *e = expr(call("entry", vec![e.clone()]), e.span);
            }
            _ => walk_expr(self, e),
        }
    }
}

/// The expressions that a clause asks for, each once; their uses are replaced by variables.
struct Uses {
    /// The number of the clause among those that have some.
    clause: usize,
    /// Of ends of waits, the argument that says for what.
    lock: Option<&'static str>,
    expressions: Vec<Expr>,
}

impl Rewrite for Uses {
    fn expr(&mut self, e: &mut Expr) {
        match &e.kind {
            ExprKind::Call { name, arguments } if name.text == "entry" && arguments.len() == 1 => {
                let wanted = &arguments[0].value;
                let number = match self.expressions.iter().position(|known| same(known, wanted)) {
                    Some(number) => number,
                    None => {
                        self.expressions.push(wanted.clone());
                        self.expressions.len() - 1
                    }
                };
                e.kind = ExprKind::Variable(variable(number));
            }
            _ => walk_expr(self, e),
        }
    }
}

/// Whether two expressions are written alike.
fn same(a: &Expr, b: &Expr) -> bool {
    /// Takes away the places.
    struct Nowhere;
    impl Rewrite for Nowhere {
        fn expr(&mut self, e: &mut Expr) {
            e.span = Span::default();
            if let ExprKind::Call { name, .. } | ExprKind::Field { name, .. } = &mut e.kind {
                name.span = Span::default();
            }
            walk_expr(self, e);
        }
    }
    let (mut a, mut b) = (a.clone(), b.clone());
    Nowhere.expr(&mut a);
    Nowhere.expr(&mut b);
    a == b
}

fn variable(number: usize) -> String {
    format!("{KEPT}{number}")
}

/// The clause that keeps the values: one deeper for each call that the thread is in.
fn at_entry(clause: &Clause, uses: &Uses, diagnostics: &mut Vec<Diagnostic>) -> Option<Clause> {
    let (mut probes, mut all_return) = (Vec::new(), true);
    for spec in &clause.probes {
        match entry_of(spec) {
            Some(entry) => probes.push(entry),
            None => {
                all_return = false;
                diagnostics.push(
                    Diagnostic::error(Code::NotHere, uses.expressions[0].span, "entry() has no value in this probe")
                        .label("what was it when the call was entered?")
                        .other(spec.span, "no return of a call")
                        .help("entry() is there in kretprobe, uretprobe, fexit, tracepoint:syscalls:sys_exit_* and tracepoint:lock:contention_end"),
                );
            }
        }
    }
    let span = uses.expressions[0].span;
    let mut statements: Vec<Stmt> = uses
        .expressions
        .iter()
        .enumerate()
        .map(|(number, e)| {
            let target = kept(uses, number, e.span);
            statement(StmtKind::Assign { target, op: None, value: e.clone() }, e.span)
        })
        .collect();
    if uses.lock.is_none() {
        statements.push(step(Step::Increment, uses.clause, span));
    }
    let body = Block { statements, value: None, span };
    all_return.then_some(Clause { probes, predicate: None, body, span: clause.span })
}

/// The probe at the entry of what the probe is the return of.
fn entry_of(spec: &ProbeSpec) -> Option<ProbeSpec> {
    let (_, rest) = spec.text.split_once(':')?;
    if let Some((_, begin, _)) = WAITS.iter().find(|(end, _, _)| *end == spec.text) {
        return Some(ProbeSpec::parse(begin, spec.span));
    }
    let provider = spec.provider.to_ascii_lowercase();
    if let Some((_, entry)) = RETURNS.iter().find(|(name, _)| *name == provider) {
        return Some(ProbeSpec::parse(&format!("{entry}:{rest}"), spec.span));
    }
    // D's `pid$target:libc:malloc:return`.
    if provider.starts_with("pid")
        && let [_, _, event] = spec.parts.as_slice()
        && event == "return"
    {
        let all = spec.text.strip_suffix(event.as_str())?;
        return Some(ProbeSpec::parse(&format!("{all}entry"), spec.span));
    }
    let is_exit = matches!(provider.as_str(), "tracepoint" | "t")
        && spec.parts.first().is_some_and(|category| category == "syscalls")
        && spec.parts.get(1).is_some_and(|event| event.starts_with(SYSCALL_EXIT));
    is_exit
        .then(|| ProbeSpec::parse(&format!("tracepoint:{}", rest.replacen(SYSCALL_EXIT, SYSCALL_ENTER, 1)), spec.span))
}

/// Lets the clause begin with the values; a call that had begun before the entry was traced has none and is passed over.
fn at_return(clause: &mut Clause, uses: &Uses) {
    let span = uses.expressions[0].span;
    let none = match uses.lock {
        None => {
            let (depth, zero) = (expr(depth(uses.clause), span), expr(ExprKind::Int(0), span));
            ExprKind::Binary { op: BinaryOp::Equal, left: Box::new(depth), right: Box::new(zero) }
        }
        Some(_) => {
            let known = expr(call("has_key", vec![map(uses, 0, Vec::new(), span), key(uses, span)]), span);
            ExprKind::Unary { op: UnaryOp::Not, operand: Box::new(known) }
        }
    };
    let leave = Block { statements: vec![statement(StmtKind::Return(None), span)], value: None, span };
    let passed = If { condition: Box::new(expr(none, span)), then: leave, otherwise: None };
    let mut statements = vec![statement(StmtKind::If(passed), span)];
    if uses.lock.is_none() {
        statements.push(step(Step::Decrement, uses.clause, span));
    }
    for (number, e) in uses.expressions.iter().enumerate() {
        let name = Name { text: variable(number), span: e.span };
        let value = Some(kept(uses, number, e.span));
        statements.push(statement(StmtKind::Let { name, ty: None, value }, e.span));
        let forget = call("delete", vec![kept(uses, number, e.span)]);
        statements.push(statement(StmtKind::Discard(expr(forget, e.span)), e.span));
    }
    if let Some(predicate) = clause.predicate.take() {
        let span = predicate.span;
        let unmet = ExprKind::Unary { op: UnaryOp::Not, operand: Box::new(predicate) };
        let leave = Block { statements: vec![statement(StmtKind::Return(None), span)], value: None, span };
        let passed = If { condition: Box::new(expr(unmet, span)), then: leave, otherwise: None };
        statements.push(statement(StmtKind::If(passed), span));
    }
    statements.append(&mut clause.body.statements);
    clause.body.statements = statements;
}

fn expr(kind: ExprKind, span: Span) -> Expr {
    Expr { kind, span }
}

fn call(name: &str, arguments: Vec<Expr>) -> ExprKind {
    let name = Name { text: name.to_string(), span: arguments[0].span };
    let arguments = arguments.into_iter().map(|value| crate::ast::Argument { name: None, value }).collect();
    ExprKind::Call { name, arguments }
}

fn statement(kind: StmtKind, span: Span) -> Stmt {
    Stmt { kind, span }
}

/// How many calls of the clause's functions the thread is in.
fn depth(clause: usize) -> ExprKind {
    ExprKind::Map { name: format!("{THREAD}{KEPT}{clause}"), keys: Vec::new() }
}

fn step(step: Step, clause: usize, span: Span) -> Stmt {
    let target = Box::new(expr(depth(clause), span));
    statement(StmtKind::Expr(expr(ExprKind::Step { step, prefix: false, target }, span)), span)
}

/// The argument that names the lock, where all probes of the clause are ends of waits.
fn lock_of(clause: &Clause) -> Option<&'static str> {
    let mut locks = clause.probes.iter().map(|spec| WAITS.iter().find(|(end, _, _)| *end == spec.text));
    let (_, _, lock) = locks.next()??;
    locks.all(|other| other.is_some_and(|(_, _, name)| name == lock)).then_some(*lock)
}

/// The kept value of one expression, for the innermost call of the running thread, or its wait for that lock.
fn kept(uses: &Uses, number: usize, span: Span) -> Expr {
    map(uses, number, keys(uses, span), span)
}

fn map(uses: &Uses, number: usize, keys: Vec<Expr>, span: Span) -> Expr {
    expr(ExprKind::Map { name: format!("{KEPT}{}.{number}", uses.clause), keys }, span)
}

/// The keys as one.
fn key(uses: &Uses, span: Span) -> Expr {
    expr(ExprKind::Tuple(keys(uses, span)), span)
}

/// The task, and which of its calls or waits.
fn keys(uses: &Uses, span: Span) -> Vec<Expr> {
    let word = TypeName { base: TypeBase::Named("uint64".to_string()), suffixes: Vec::new(), span };
    let task = Box::new(expr(ExprKind::Ident("curtask".to_string()), span));
    let inner = match uses.lock {
        None => depth(uses.clause),
        Some(lock) => {
            let base = Box::new(expr(ExprKind::Ident("args".to_string()), span));
            let lock = ExprKind::Field { base, name: Name { text: lock.to_string(), span } };
            ExprKind::Cast { ty: word.clone(), operand: Box::new(expr(lock, span)) }
        }
    };
    vec![expr(ExprKind::Cast { ty: word, operand: task }, span), expr(inner, span)]
}
