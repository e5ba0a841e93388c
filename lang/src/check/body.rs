//! Statements of one program: scopes, variables, and what each statement becomes.

use std::collections::HashMap;

use crate::ast;
use crate::builtins::{self, Intrinsic, Lowering};
use crate::diagnostic::{Code, Diagnostic};
use crate::expand::CLAUSE;
use crate::hir::{Expr, ExprKind, Function, Local, LocalId, Record, RecordId, RecordKind, Stmt, StmtKind};
use crate::span::Span;
use crate::target::ProbeSite;
use crate::types::Type;

use super::Checker;
use super::calls::Functions;
use super::groups::Group;
use super::maps::unify;

pub(super) struct Body<'c, 'a, 'g> {
    pub checker: &'c mut Checker<'a>,
    pub group: &'g Group<'g>,
    number: usize,
    locals: Vec<Local>,
    /// Variables whose type is written: `let $x: uint8`.
    declared: HashMap<LocalId, Type>,
    scopes: Vec<HashMap<String, LocalId>>,
    /// Loops around the statement that is checked.
    loops: u32,
    pub(super) functions: Functions,
    /// See `Program::speculation`.
    pub(super) speculation: Option<LocalId>,
}

impl<'c, 'a, 'g> Body<'c, 'a, 'g> {
    pub fn new(checker: &'c mut Checker<'a>, number: usize, group: &'g Group<'g>) -> Self {
        Body {
            checker,
            group,
            number,
            locals: Vec::new(),
            declared: HashMap::new(),
            scopes: vec![HashMap::new()],
            loops: 0,
            functions: Functions::default(),
            speculation: None,
        }
    }

    pub fn into_parts(self) -> (Vec<Local>, Vec<Function>, Option<LocalId>) {
        (self.locals, self.functions.done, self.speculation)
    }

    /// One of the places that the program is for; the first stands for all where types are looked up.
    pub fn first_site(&self) -> Option<&'a ProbeSite> {
        self.group.sites.first().map(|site| &self.checker.sites[site.index()])
    }

    pub fn report(&mut self, diagnostic: Diagnostic) {
        self.checker.diagnostics.push(diagnostic);
    }

    /// Reports, and gives an expression that causes no further complaint.
    pub fn fail(&mut self, diagnostic: Diagnostic) -> Expr {
        let span = diagnostic.span;
        self.report(diagnostic);
        Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span }
    }

    pub fn not_yet(&mut self, span: Span, what: &str) -> Expr {
        self.fail(
            Diagnostic::error(Code::NotYet, span, format!("{what} cannot be run yet"))
                .label("part of the language, not of this version")
                .help("write it another way"),
        )
    }

    pub fn block(&mut self, block: &ast::Block) -> Vec<Stmt> {
        self.scoped(|body| {
            let mut out = body.statements(&block.statements);
            if let Some(value) = &block.value {
                body.effect(value, &mut out);
            }
            out
        })
    }

    pub fn statements(&mut self, statements: &[ast::Stmt]) -> Vec<Stmt> {
        let mut out = Vec::new();
        for statement in statements {
            self.statement(statement, &mut out);
        }
        out
    }

    pub fn push(&mut self, out: &mut Vec<Stmt>, kind: StmtKind, span: Span) {
        out.push(Stmt { kind, span });
    }

    fn statement(&mut self, statement: &ast::Stmt, out: &mut Vec<Stmt>) {
        let span = statement.span;
        match &statement.kind {
            ast::StmtKind::Expr(e) => self.effect(e, out),
            ast::StmtKind::Discard(e) => {
                let value = self.expr(e);
                self.push(out, StmtKind::Expr(value), span);
            }
            ast::StmtKind::Assign { target, op, value } => self.assign(target, *op, value, span, out),
            ast::StmtKind::Let { name, ty, value } => {
                let takes_first = ty.is_none() && value.is_none();
                let declared = ty.as_ref().map(|ty| self.type_name(ty));
                let mut value = match (value, &declared) {
                    (Some(value), _) => self.expr(value),
                    (None, Some(declared)) => zero(declared, span),
                    (None, None) => Expr { ty: Type::Unknown, ..Expr::int(0, span) },
                };
                if !self.storable(&value) {
                    value = Expr { ty: Type::Unknown, ..value };
                }
                if let Some(declared) = &declared {
                    value = self.convert(value, declared, span);
                }
                if self.scopes.last().expect("a block has a scope").contains_key(&name.text) {
                    self.report(
                        Diagnostic::error(Code::TypeMismatch, name.span, format!("`${}` is declared twice", name.text))
                            .label("declared before in this block")
                            .help("assign it without `let`"),
                    );
                }
                let local = match declared {
                    Some(_) => self.declare(&name.text, &value.ty),
                    None => self.declare_for(&name.text, &mut value),
                };
                if let Some(declared) = declared {
                    self.keep_type(local, declared);
                }
                if takes_first {
                    value = self.zero_of_untyped(local, span);
                }
                self.push(out, StmtKind::SetLocal { local, value }, span);
            }
            ast::StmtKind::If(inner) => self.if_statement(inner, span, out),
            ast::StmtKind::Block(block) => {
                let mut inner = self.block(block);
                out.append(&mut inner);
            }
            ast::StmtKind::Return(value) => self.return_statement(value.as_ref(), span, out),
            ast::StmtKind::Break if self.loops > 0 => self.push(out, StmtKind::Break, span),
            ast::StmtKind::Continue if self.loops > 0 => self.push(out, StmtKind::Continue, span),
            ast::StmtKind::Break | ast::StmtKind::Continue => {
                let word = if statement.kind == ast::StmtKind::Break { "break" } else { "continue" };
                self.report(
                    Diagnostic::error(Code::NotInLoop, span, format!("`{word}` outside a loop"))
                        .label("no loop around it")
                        .help("`return` leaves the probe"),
                );
            }
            ast::StmtKind::While { condition, body } => self.while_loop(condition, body, span, out),
            ast::StmtKind::ForRange { variable, from, to, body } => {
                self.range_loop(variable, (from, to), body, span, out);
            }
            ast::StmtKind::ForMap { variables, map, body } => self.map_loop(variables, map, body, span, out),
            ast::StmtKind::Unroll { count, body } => self.unroll(count, body, span, out),
            // What it names is read before.
            ast::StmtKind::Import(_) => {}
            ast::StmtKind::Try { .. } => drop(self.not_yet(span, "try")),
            ast::StmtKind::Error => {}
        }
    }

    /// What a variable holds that is declared with neither a type nor a value: its type is that of what is assigned to it.
    fn zero_of_untyped(&mut self, local: LocalId, span: Span) -> Expr {
        if self.local_type(local) == Type::Unknown {
            match self.checker.untyped_are_integers {
                true => self.widen_local(local, &Type::I64, span),
                false => self.checker.has_untyped = true,
            }
        }
        zero(&self.local_type(local), span)
    }

    fn if_statement(&mut self, inner: &ast::If, span: Span, out: &mut Vec<Stmt>) {
        let condition = self.condition(&inner.condition);
        // What a known condition leaves out is not looked at.
        if let (ast::ExprKind::Comptime(_), Some(holds)) = (&inner.condition.kind, condition.constant()) {
            let taken = if holds != 0 { Some(&inner.then) } else { inner.otherwise.as_ref() };
            out.append(&mut taken.map_or(Vec::new(), |block| self.block(block)));
            return;
        }
        let then = self.block(&inner.then);
        let otherwise = inner.otherwise.as_ref().map_or(Vec::new(), |block| self.block(block));
        self.push(out, StmtKind::If { condition, then, otherwise }, span);
    }

    /// A stack that stands alone is printed, as D does; whether it is one.
    fn stack_printed(&mut self, e: &ast::Expr, out: &mut Vec<Stmt>) -> bool {
        let name = match &e.kind {
            ast::ExprKind::Ident(name) => name,
            ast::ExprKind::Call { name, .. } if !self.is_function(&name.text) => &name.text,
            _ => return false,
        };
        let is_stack = builtins::named(name).is_some_and(|row| {
            matches!(
                row.lowering,
                Lowering::Intrinsic(Intrinsic::KernelStack | Intrinsic::UserStack | Intrinsic::UserStackByTables)
            )
        });
        if is_stack && let Some(kind) = self.print(&[ast::Argument { name: None, value: e.clone() }], e.span) {
            self.push(out, kind, e.span);
        }
        is_stack
    }

    /// An expression that stands as a statement.
    fn effect(&mut self, e: &ast::Expr, out: &mut Vec<Stmt>) {
        match &e.kind {
            ast::ExprKind::Call { name, arguments } => {
                if self.statement_call(name, arguments, e.span, out) || self.stack_printed(e, out) {
                    return;
                }
                let value = self.expr(e);
                self.push(out, StmtKind::Expr(value), e.span);
            }
            ast::ExprKind::Ident(name) if name == "exit" => {
                let name = ast::Name { text: name.clone(), span: e.span };
                self.statement_call(&name, &[], e.span, out);
            }
            ast::ExprKind::Step { .. } => {
                let value = self.expr(e);
                self.push(out, StmtKind::Expr(value), e.span);
            }
            // What a macro stands for, or a block as the value of a block: nobody asks for its value.
            ast::ExprKind::Block(block) => {
                let mut inner = self.scoped(|body| {
                    let mut inner = body.statements(&block.statements);
                    if let Some(value) = &block.value {
                        if has_effect(value) || matches!(value.kind, ast::ExprKind::Block(_) | ast::ExprKind::If(_)) {
                            body.effect(value, &mut inner);
                        } else if !body.stack_printed(value, &mut inner) {
                            let value = body.expr(value);
                            body.push(&mut inner, StmtKind::Expr(value), e.span);
                        }
                    }
                    inner
                });
                out.append(&mut inner);
            }
            ast::ExprKind::If(inner) => self.if_statement(inner, e.span, out),
            ast::ExprKind::Ternary { condition, then: Some(then), otherwise } => {
                let condition = self.condition(condition);
                let (mut yes, mut no) = (Vec::new(), Vec::new());
                self.effect(then, &mut yes);
                self.effect(otherwise, &mut no);
                self.push(out, StmtKind::If { condition, then: yes, otherwise: no }, e.span);
            }
            ast::ExprKind::Binary { op: ast::BinaryOp::Equal, left, .. }
                if matches!(left.kind, ast::ExprKind::Map { .. } | ast::ExprKind::Variable(_)) =>
            {
                let value = self.expr(e);
                self.report(
                    Diagnostic::warning(Code::Unused, e.span, "the comparison has no effect")
                        .label("its result is dropped")
                        .help("assign with a single `=`"),
                );
                self.push(out, StmtKind::Expr(value), e.span);
            }
            _ => {
                let value = self.expr(e);
                if value.ty != Type::Unknown && !has_effect(e) {
                    self.report(
                        Diagnostic::warning(Code::Unused, e.span, "the value is dropped")
                            .label("this has no effect")
                            .help("print it, or assign it to a $variable or an @map"),
                    );
                }
                self.push(out, StmtKind::Expr(value), e.span);
            }
        }
    }

    /// Runs `check` in a scope of its own.
    pub fn scoped<T>(&mut self, check: impl FnOnce(&mut Self) -> T) -> T {
        self.scopes.push(HashMap::new());
        let result = check(self);
        self.scopes.pop();
        result
    }

    /// The same for what sees none of the variables and loops around it.
    pub fn apart<T>(&mut self, check: impl FnOnce(&mut Self) -> T) -> T {
        let outer = (std::mem::replace(&mut self.scopes, vec![HashMap::new()]), std::mem::take(&mut self.loops));
        let result = check(self);
        (self.scopes, self.loops) = outer;
        result
    }

    /// The body of a loop, in which `break` and `continue` mean something.
    pub fn loop_body(&mut self, body: &ast::Block) -> Vec<Stmt> {
        self.loops += 1;
        let statements = self.block(body);
        self.loops -= 1;
        statements
    }

    /// Declares a variable in the innermost scope, of a type that also holds what earlier rounds have seen in it.
    pub fn declare(&mut self, name: &str, ty: &Type) -> LocalId {
        let id = self.hidden(name, ty);
        // What belongs to the clause is known in all of it.
        let scope = if name.starts_with(CLAUSE) { self.scopes.first_mut() } else { self.scopes.last_mut() };
        scope.expect("a block has a scope").insert(name.to_string(), id);
        id
    }

    /// A variable that no statement of the script can name.
    pub fn hidden(&mut self, name: &str, ty: &Type) -> LocalId {
        let id = LocalId(self.locals.len() as u32);
        let known = self.checker.local_types.get(&self.place(id)).cloned().unwrap_or(Type::Unknown);
        let ty = unify(&known, ty).unwrap_or_else(|| ty.clone());
        self.locals.push(Local { name: name.to_string(), ty: ty.clone(), allocated: None });
        self.remember(id, &ty);
        id
    }

    /// A variable whose memory is handed out: so many bytes of it, from its start.
    pub fn hidden_memory(&mut self, ty: &Type, bytes: u32) -> LocalId {
        let id = self.hidden("alloca", ty);
        self.locals[id.index()].allocated = Some(bytes);
        id
    }

    /// What tells a variable from those of other bodies.
    pub fn place(&self, id: LocalId) -> (usize, usize) {
        (self.number, id.index())
    }

    /// The same of the next one that comes into being.
    pub fn next_place(&self) -> (usize, usize) {
        (self.number, self.locals.len())
    }

    fn remember(&mut self, id: LocalId, ty: &Type) {
        let slot = self.checker.local_types.entry(self.place(id)).or_insert(Type::Unknown);
        if *slot != *ty {
            *slot = ty.clone();
            self.checker.changed = true;
        }
    }

    /// The variable of that name that is visible here.
    pub fn lookup(&self, name: &str) -> Option<LocalId> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name).copied())
    }

    /// Whether a variable of that name has come into being, here or in a block that is over.
    pub fn has_local(&self, name: &str) -> bool {
        self.locals.iter().any(|local| *local.name == *name)
    }

    pub fn visible_names(&self) -> Vec<String> {
        self.scopes.iter().flat_map(|scope| scope.keys().cloned()).collect()
    }

    pub fn local_type(&self, id: LocalId) -> Type {
        self.locals[id.index()].ty.clone()
    }

    /// Whatever is assigned to the variable becomes of that type; but strings in tuples and records grow as everywhere.
    pub fn keep_type(&mut self, id: LocalId, ty: Type) {
        if !matches!(ty, Type::Tuple(_) | Type::Record(_)) {
            self.declared.insert(id, ty);
        }
    }

    /// The type that is written where the variable is declared.
    pub fn declared_type(&self, id: LocalId) -> Option<Type> {
        self.declared.get(&id).cloned()
    }

    pub fn set_local_type(&mut self, id: LocalId, ty: &Type) {
        self.locals[id.index()].ty = ty.clone();
        self.remember(id, ty);
    }

    /// An assignment to a variable that exists: its type widens, or the mistake is reported.
    pub fn widen_local(&mut self, id: LocalId, ty: &Type, span: Span) {
        let old = self.local_type(id);
        self.checker.local_literals.remove(&self.place(id));
        match unify(&old, ty) {
            Some(new) => self.set_local_type(id, &new),
            None => {
                let name = self.locals[id.index()].name.clone();
                self.report(
                    Diagnostic::error(
                        Code::TypeMismatch,
                        span,
                        format!("${name} holds {old:#} and is assigned {ty:#}"),
                    )
                    .label(format!("of type {ty:#}"))
                    .help("a variable keeps one type; use another name"),
                );
            }
        }
    }

    /// A value that decides: integers, pointers and strings count, everything but zero (or the empty string) is true.
    pub fn condition(&mut self, e: &ast::Expr) -> Expr {
        let value = self.expr(e);
        if value.ty.is_scalar() || value.ty == Type::Unknown {
            return value;
        }
        let ty = value.ty.clone();
        self.fail(
            Diagnostic::error(Code::TypeMismatch, e.span, format!("a condition cannot be of type {ty:#}"))
                .label(format!("of type {ty:#}"))
                .help("compare it with something: `comm == \"bash\"`"),
        )
    }

    /// Whether what the program prints goes into the file of an iterator.
    pub fn is_pinned(&self) -> bool {
        self.group.layout.step.as_ref().is_some_and(|step| step.is_pinned)
    }

    /// Adds an event that this program sends.
    pub fn record(&mut self, kind: RecordKind, parts: Vec<Type>, span: Span) -> RecordId {
        if self.is_pinned() {
            self.report(
                Diagnostic::error(Code::NotHere, span, "rtrace has ended when a pinned iterator is read")
                    .label("is done by rtrace")
                    .help("printf() writes into the file that is read; `iter:KIND` alone goes through its objects at once"),
            );
        }
        let id = RecordId(self.checker.records.len() as u32);
        self.checker.records.push(Record { kind, parts, span });
        id
    }
}

/// The value of a variable before anything is assigned to it: all of its bytes are zero.
fn zero(ty: &Type, span: Span) -> Expr {
    let kind = match ty {
        Type::Str(_) => return Expr { kind: ExprKind::Str([].into()), ty: Type::Str(1), span },
        Type::Tuple(_) | Type::Record(_) => ExprKind::Tuple(ty.parts().iter().map(|part| zero(part, span)).collect()),
        Type::Array { .. } | Type::Struct(_) | Type::Buffer(_) | Type::Inet => {
            ExprKind::Str(vec![0; ty.size() as usize].into())
        }
        ty if ty.is_scalar() || *ty == Type::Unknown => ExprKind::Int(0),
        _ => return Expr::int(0, span),
    };
    Expr { kind, ty: ty.clone(), span }
}

/// True where the last thing that an expression does is done for its effect: a step, or a call. `@a && @b++` counts.
fn has_effect(e: &ast::Expr) -> bool {
    match &e.kind {
        ast::ExprKind::Step { .. } => true,
        ast::ExprKind::Call { name, .. } => {
            matches!(
                name.text.as_str(),
                "delete" | "signal" | "exit" | "print" | "printf" | "clear" | "zero" | "system"
            )
        }
        ast::ExprKind::Binary { op: ast::BinaryOp::And | ast::BinaryOp::Or, left: _, right } => has_effect(right),
        ast::ExprKind::Ternary { condition: _, then, otherwise } => {
            then.as_deref().is_some_and(has_effect) || has_effect(otherwise)
        }
        _ => false,
    }
}
