//! Functions of the script: what a call of one becomes, and what its body is in the program that calls it.

use std::collections::HashMap;

use crate::ast;
use crate::diagnostic::{Code, Diagnostic};
use crate::hir::{Expr, ExprKind, Function, FunctionId, LocalId, Stmt, StmtKind};
use crate::span::Span;
use crate::target::Trial;
use crate::types::Type;

use super::body::Body;
use super::values::{gives_value, value_of};

/// The functions of one program.
#[derive(Default)]
pub struct Functions {
    pub done: Vec<Function>,
    ids: HashMap<String, FunctionId>,
    /// Those whose bodies are being checked, outermost first.
    open: Vec<Open>,
    /// Calls so far.
    calls: u32,
}

struct Open {
    name: String,
    declared: Option<Type>,
    result: Option<LocalId>,
}

impl Body<'_, '_, '_> {
    /// Whether the script defines a function of that name.
    pub fn is_function(&self, name: &str) -> bool {
        self.checker.items.functions.contains_key(name)
    }

    /// `f(a, b)`: the parameters are set, the function runs, and what it gives is read.
    pub fn function_call(&mut self, name: &ast::Name, arguments: &[ast::Argument], span: Span) -> Expr {
        let unknown = Expr { kind: ExprKind::Int(0), ty: Type::Unknown, span };
        self.functions.calls += 1;
        let declared = &self.checker.items.functions[name.text.as_str()];
        let (defined, parameters) = (declared.name.span, declared.parameters);
        let names = |parameters: &[ast::Parameter]| {
            parameters.iter().map(|parameter| format!("${}", parameter.name.text)).collect::<Vec<_>>().join(", ")
        };
        if parameters.len() != arguments.len() {
            let count = |n: usize| format!("{n} argument{}", if n == 1 { "" } else { "s" });
            let message = format!("{}() takes {}, not {}", name.text, count(parameters.len()), arguments.len());
            return self.fail(
                Diagnostic::error(Code::Arguments, span, message)
                    .label(format!("given {}", arguments.len()))
                    .other(defined, "defined here")
                    .help(format!("call it as it is defined: {}({})", name.text, names(parameters))),
            );
        }
        if self.functions.open.iter().any(|open| open.name == name.text) {
            return self.fail(
                Diagnostic::error(Code::Recursion, span, format!("{}() calls itself", name.text))
                    .label("a call inside its own body")
                    .other(defined, "defined here")
                    .help("a loop repeats: while ($x > 0) { ... }"),
            );
        }
        let calls_before = self.functions.calls;
        let types: Vec<Option<Type>> =
            parameters.iter().map(|parameter| parameter.ty.as_ref().map(|ty| self.type_name(ty))).collect();
        let mut values = Vec::new();
        for (argument, ty) in arguments.iter().zip(&types) {
            let value = self.expr(&argument.value);
            values.push(match ty {
                Some(ty) => self.convert(value, ty, argument.value.span),
                None => value,
            });
        }
        // An argument that calls a function may set the parameters of this one.
        let mut statements = Vec::new();
        if self.functions.calls != calls_before && values.len() > 1 {
            for value in &mut values {
                let (mut first, once) = self.once(value.clone());
                statements.append(&mut first);
                *value = once;
            }
        }
        let id = match self.functions.ids.get(&name.text) {
            Some(id) => *id,
            None => self.function_body(&name.text, &types, &values),
        };
        if values.iter().any(|value| value.ty == Type::Unknown) || !values.iter().all(|value| self.storable(value)) {
            return unknown;
        }
        let function = &self.functions.done[id.index()];
        let (parameters, result) = (function.parameters.clone(), function.result);
        for (local, value) in parameters.into_iter().zip(values) {
            let span = value.span;
            let value = self.fitted(value, &self.local_type(local));
            self.widen_local(local, &value.ty, span);
            statements.push(Stmt { kind: StmtKind::SetLocal { local, value }, span });
        }
        statements.push(Stmt { kind: StmtKind::Call(id), span });
        let Some(result) = result else {
            return Expr {
                kind: ExprKind::Block { statements, value: Box::new(Expr::int(0, span)) },
                ty: Type::Void,
                span,
            };
        };
        let ty = self.local_type(result);
        let value = Expr { kind: ExprKind::Local(result), ty: ty.clone(), span };
        // The next call gives its result in the same place.
        let (mut kept, value) = if ty.is_scalar() {
            (Vec::new(), value)
        } else {
            let local = self.hidden("given", &ty);
            let ty = self.local_type(local);
            let set = Stmt { kind: StmtKind::SetLocal { local, value }, span };
            (vec![set], Expr { kind: ExprKind::Local(local), ty, span })
        };
        statements.append(&mut kept);
        self.after(statements, value)
    }

    /// Checks the body of a function at its first call in this program.
    fn function_body(&mut self, name: &str, types: &[Option<Type>], values: &[Expr]) -> FunctionId {
        let declared = &self.checker.items.functions[name];
        let (parameters, block, span) = (declared.parameters, declared.body, declared.name.span);
        let result_type = declared.result.map(|ty| self.type_name(ty));
        let open = Open { name: name.to_string(), declared: result_type.clone(), result: None };
        let (parameters, body) = self.apart(|inner| {
            let parameters: Vec<LocalId> = parameters
                .iter()
                .zip(types.iter().zip(values))
                .map(|(parameter, (ty, value))| {
                    let local = inner.declare(&parameter.name.text, ty.as_ref().unwrap_or(&value.ty));
                    if let Some(ty) = ty {
                        inner.keep_type(local, ty.clone());
                    }
                    local
                })
                .collect();
            inner.functions.open.push(open);
            let result_type = result_type.filter(|ty| *ty != Type::Void);
            if let Some(ty) = &result_type {
                inner.result_local(ty);
            }
            // Only where a result is asked for is an `if` that stands last a value.
            let takes_last = block.value.is_some() || result_type.is_some() && gives_value(block);
            let (before, last) = if takes_last { value_of(block) } else { (&block.statements[..], None) };
            let mut body = inner.scoped(|inner| {
                let mut body = inner.statements(before);
                match last {
                    Some(value) => inner.last_value(&value, &mut body),
                    None => inner.needs_result(block, span),
                }
                body
            });
            body.push(Stmt { kind: StmtKind::Return, span: block.span });
            (parameters, body)
        });
        let open = self.functions.open.pop().expect("it was opened above");
        let id = FunctionId(self.functions.done.len() as u32);
        let result = open.result;
        self.functions.done.push(Function { name: name.to_string(), parameters, result, body, span });
        self.functions.ids.insert(name.to_string(), id);
        id
    }

    /// The last expression of a function without a semicolon: what it gives, if that is a value.
    fn last_value(&mut self, value: &ast::Expr, body: &mut Vec<Stmt>) {
        let is_void = self.functions.open.last().is_some_and(|open| open.declared == Some(Type::Void));
        let mut effect = Vec::new();
        let is_statement = match &value.kind {
            ast::ExprKind::Call { name, arguments } if !self.is_function(&name.text) => {
                self.statement_call(name, arguments, value.span, &mut effect)
            }
            _ => false,
        };
        if is_statement {
            body.append(&mut effect);
            return;
        }
        let e = self.expr(value);
        if is_void || e.ty == Type::Void {
            self.push(body, StmtKind::Expr(e), value.span);
        } else {
            self.set_result(e, value.span, body);
        }
    }

    /// A function that is declared with a result must come to a `return` with one.
    fn needs_result(&mut self, block: &ast::Block, span: Span) {
        let Some(open) = self.functions.open.last() else { return };
        if open.declared.as_ref().is_some_and(|ty| *ty != Type::Void) && !always_returns(&block.statements) {
            let message = format!("{}() can end without a value", open.name);
            self.report(
                Diagnostic::error(Code::TypeMismatch, span, message)
                    .label("declared with a result")
                    .help("end it with `return VALUE;`"),
            );
        }
    }

    /// `return;` and `return e;`
    pub fn return_statement(&mut self, value: Option<&ast::Expr>, span: Span, out: &mut Vec<Stmt>) {
        let declared = self.functions.open.last().map(|open| open.declared.clone());
        match (value, declared) {
            (None, Some(Some(ty))) if ty != Type::Void => self.report(
                Diagnostic::error(Code::TypeMismatch, span, format!("the function gives a value of type {ty:#}"))
                    .label("returns none")
                    .help("write `return VALUE;`"),
            ),
            (None, _) => {}
            (Some(value), Some(Some(Type::Void))) => {
                let value = self.expr(value);
                self.report(
                    Diagnostic::error(Code::TypeMismatch, value.span, "the function gives no value")
                        .label("returns one")
                        .help("write `return;`, or give the function a result: `fn f($x: int64): int64 { ... }`"),
                );
            }
            (Some(value), Some(_)) => {
                let e = self.expr(value);
                self.set_result(e, value.span, out);
            }
            (Some(value), None) => {
                let value = self.expr(value);
                let is_number = value.ty.is_scalar() && value.ty != Type::Unknown;
                let kind = if is_number && self.group.provider == Trial::Test.name() {
                    StmtKind::Result
                } else {
                    StmtKind::Expr
                };
                self.push(out, kind(value), span);
            }
        }
        self.push(out, StmtKind::Return, span);
    }

    /// Puts what the function gives where its caller finds it.
    fn set_result(&mut self, value: Expr, span: Span, out: &mut Vec<Stmt>) {
        if value.ty == Type::Unknown || !self.storable(&value) {
            return;
        }
        let declared = self.functions.open.last().and_then(|open| open.declared.clone());
        let value = match declared {
            Some(ty) => self.convert(value, &ty, span),
            None => value,
        };
        let local = self.result_local(&value.ty);
        let value = self.fitted(value, &self.local_type(local));
        self.widen_local(local, &value.ty, span);
        out.push(Stmt { kind: StmtKind::SetLocal { local, value }, span });
    }

    /// The variable that holds what the innermost function gives.
    fn result_local(&mut self, ty: &Type) -> LocalId {
        let open = self.functions.open.last().expect("a function is open");
        if let Some(local) = open.result {
            return local;
        }
        let local = self.hidden("result", ty);
        self.functions.open.last_mut().expect("a function is open").result = Some(local);
        local
    }
}

/// Whether the last of these statements is a `return` on all ways.
fn always_returns(statements: &[ast::Stmt]) -> bool {
    let ends = |block: &ast::Block| always_returns(&block.statements);
    match statements.last().map(|statement| &statement.kind) {
        Some(ast::StmtKind::Return(_)) => true,
        Some(ast::StmtKind::If(inner)) => ends(&inner.then) && inner.otherwise.as_ref().is_some_and(ends),
        Some(ast::StmtKind::Block(block)) => ends(block),
        _ => false,
    }
}
