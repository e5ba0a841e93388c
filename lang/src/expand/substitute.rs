//! A macro's body with its parameters replaced. Variables of the body get names that no script can write, so that they
//! never meet those of the place of use.

use std::collections::HashMap;

use crate::ast::rewrite::{Rewrite, walk_expr, walk_type};
use crate::ast::{Block, Expr, ExprKind, TypeBase, TypeName};
use crate::diagnostic::{Code, Diagnostic};

use super::Macro;

pub fn substitute(found: &Macro, arguments: &[Expr], number: usize, diagnostics: &mut Vec<Diagnostic>) -> Block {
    let mut substitution = Substitution {
        expressions: HashMap::new(),
        variables: HashMap::new(),
        maps: HashMap::new(),
        suffix: (!found.is_define).then(|| format!("'{number}")),
        name: &found.name,
        diagnostics,
    };
    for (parameter, argument) in found.parameters.iter().zip(arguments) {
        match (&parameter.kind, &argument.kind) {
            (ExprKind::Variable(name), ExprKind::Variable(given)) => {
                substitution.variables.insert(name, given);
            }
            (ExprKind::Map { name, .. }, ExprKind::Map { name: given, .. }) => {
                substitution.maps.insert(name, given);
            }
            (ExprKind::Ident(name), _) => {
                substitution.expressions.insert(name, argument);
            }
            _ => unreachable!("the arguments fit the parameters"),
        }
    }
    let mut body = found.body.clone();
    substitution.block(&mut body);
    body
}

struct Substitution<'a> {
    expressions: HashMap<&'a str, &'a Expr>,
    variables: HashMap<&'a str, &'a str>,
    maps: HashMap<&'a str, &'a str>,
    /// What variables of the body's own get behind their names; None where they are those of the place of use.
    suffix: Option<String>,
    name: &'a str,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Rewrite for Substitution<'_> {
    fn expr(&mut self, e: &mut Expr) {
        match &mut e.kind {
            ExprKind::Ident(name) => {
                if let Some(argument) = self.expressions.get(name.as_str()) {
                    *e = (*argument).clone();
                }
            }
            ExprKind::Map { name, .. } if self.suffix.is_some() => {
                match self.maps.get(name.as_str()) {
                    Some(given) => *name = given.to_string(),
                    None => self.diagnostics.push(
                        Diagnostic::error(
                            Code::Macro,
                            e.span,
                            format!("the macro `{}` uses a map that it is not given", self.name),
                        )
                        .label("no parameter")
                        .help(format!("pass it: `macro {}(@{name}) {{ ... }}`", self.name)),
                    ),
                }
                walk_expr(self, e);
            }
            ExprKind::OffsetOfType { path, .. } | ExprKind::OffsetOf { path, .. } => {
                for name in path {
                    if let Some(Expr { kind: ExprKind::Ident(given), .. }) = self.expressions.get(name.text.as_str()) {
                        name.text.clone_from(given);
                    }
                }
                walk_expr(self, e);
            }
            _ => walk_expr(self, e),
        }
    }

    fn variable(&mut self, name: &mut String) {
        match (self.variables.get(name.as_str()), &self.suffix) {
            (Some(given), _) => *name = given.to_string(),
            (None, Some(suffix)) => name.push_str(suffix),
            (None, None) => {}
        }
    }

    fn type_name(&mut self, ty: &mut TypeName) {
        if let TypeBase::Named(name) = &ty.base
            && let Some(argument) = self.expressions.get(name.as_str())
        {
            ty.base = TypeBase::TypeOf(Box::new((*argument).clone()));
            return;
        }
        walk_type(self, ty);
    }
}
