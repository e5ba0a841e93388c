//! Macros and `#define`s: their uses are replaced by what they stand for, before anything is checked. Replaces text of
//! the script by other text of the script; resolves no name of the language. `=~`, `self->x` and `this->x` become what the
//! checker knows.

mod builtin;
mod define;
mod substitute;
mod thread_arrays;

use std::collections::{HashMap, HashSet};

use crate::ast::rewrite::{Rewrite, walk_expr, walk_type};
use crate::ast::{
    Argument, BinaryOp, Block, Expr, ExprKind, Inner, Item, Member, Name, Script, TypeName, TypeSuffix, UnaryOp,
};
use crate::builtins::{self, Builtin, Lowering};
use crate::diagnostic::{Code, Diagnostic};
use crate::dtrace;
use crate::span::Span;

pub(crate) use builtin::Place;

/// What begins the names of a thread's own variables, which are maps; and of a clause's, which are variables.
pub const THREAD: &str = "self->";
pub const CLAUSE: &str = "this->";

/// The name of a map as the script writes it.
pub fn written_map(name: &str) -> String {
    if name.starts_with(THREAD) { name.to_string() } else { format!("@{name}") }
}

/// A macro of the script, or a `#define`.
struct Macro {
    name: String,
    parameters: Vec<Expr>,
    body: Block,
    /// A `#define` may use what its place has; a macro sees its parameters only.
    is_define: bool,
}

/// Macros that expand macros that expand macros: deeper than anyone writes, and short of exhausting the stack.
const MOST_DEPTH: usize = 64;

/// Expressions that all expansions of a script may make together: a few lines can otherwise stand for billions.
const MOST_EXPANSIONS: usize = 100_000;

/// The script with all macros and definitions expanded; its other items as they were.
pub fn expand(script: &Script, diagnostics: &mut Vec<Diagnostic>) -> (Script, Written) {
    let mut macros: HashMap<String, Vec<Macro>> = HashMap::new();
    for item in &script.items {
        let found = match item {
            Item::Macro { name, parameters, body, .. } => parameters_are_names(parameters, diagnostics).then(|| {
                Macro { name: name.text.clone(), parameters: parameters.clone(), body: body.clone(), is_define: false }
            }),
            Item::Directive { text, span } => define::read(text, *span).map(|mut found| {
                dtrace::translate_block(&mut found.body, diagnostics);
                found
            }),
            Item::Clause(_)
            | Item::Function { .. }
            | Item::Struct { .. }
            | Item::Typedef { .. }
            | Item::Enum { .. }
            | Item::Config { .. }
            | Item::Import { .. }
            | Item::MapDeclaration { .. } => None,
        };
        if let Some(found) = found {
            let all = macros.entry(found.name.clone()).or_default();
            if found.is_define {
                // The last definition counts, as in C.
                all.clear();
            }
            all.push(found);
        }
    }
    let mut script = script.clone();
    let enumerators = enumerators(&script);
    let thread_arrays = thread_arrays::of(&mut script);
    let mut expander = Expander {
        macros: &macros,
        enumerators,
        thread_arrays,
        diagnostics,
        open: Vec::new(),
        written: Written::new(),
        expansions: 0,
    };
    for item in &mut script.items {
        match item {
            Item::Clause(clause) => {
                if let Some(predicate) = &mut clause.predicate {
                    expander.expr(predicate);
                }
                expander.block(&mut clause.body);
            }
            Item::Function { body, .. } => expander.block(body),
            Item::Config { settings, .. } => settings.iter_mut().for_each(|(_, value)| expander.expr(value)),
            Item::MapDeclaration { arguments, .. } => {
                arguments.iter_mut().for_each(|argument| expander.expr(argument));
            }
            Item::Enum { members, .. } => {
                members.iter_mut().filter_map(|(_, value)| value.as_mut()).for_each(|value| expander.expr(value));
            }
            Item::Struct { members, .. } | Item::Typedef { members, .. } => expander.members(members),
            Item::Macro { .. } | Item::Import { .. } | Item::Directive { .. } => {}
        }
    }
    (script, expander.written)
}

fn enumerators(script: &Script) -> HashSet<String> {
    let mut found = HashSet::new();
    script.items.iter().for_each(|item| match item {
        Item::Enum { members, .. } => found.extend(members.iter().map(|(name, _)| name.text.clone())),
        Item::Struct { members, .. } | Item::Typedef { members, .. } => enumerators_in(members, &mut found),
        Item::Clause(_)
        | Item::Function { .. }
        | Item::Config { .. }
        | Item::Import { .. }
        | Item::MapDeclaration { .. }
        | Item::Macro { .. }
        | Item::Directive { .. } => {}
    });
    found
}

fn enumerators_in(members: &[Member], found: &mut HashSet<String>) {
    for member in members {
        match &member.inner {
            Some(Inner::Members(members, _)) => enumerators_in(members, found),
            Some(Inner::Enumerators(members)) => found.extend(members.iter().map(|(name, _)| name.text.clone())),
            None => {}
        }
    }
}

fn parameters_are_names(parameters: &[Expr], diagnostics: &mut Vec<Diagnostic>) -> bool {
    let wrong = parameters.iter().find(|parameter| match &parameter.kind {
        ExprKind::Ident(_) | ExprKind::Variable(_) => false,
        ExprKind::Map { keys, .. } => !keys.is_empty(),
        _ => true,
    });
    if let Some(wrong) = wrong {
        diagnostics.push(
            Diagnostic::error(Code::Syntax, wrong.span, "a macro's parameter is a name")
                .label("no name")
                .help("macro add(a, $b, @c) { ... }: an expression, a variable and a map"),
        );
    }
    wrong.is_none()
}

/// Builtins that are macros, by the places where the script has them: whatever they expand to stands there, too.
pub type Written = HashMap<Span, &'static Builtin>;

struct Expander<'a> {
    macros: &'a HashMap<String, Vec<Macro>>,
    /// Enumerators of the script, which go before the builtins.
    enumerators: HashSet<String>,
    /// Names of `self->x[key]`.
    thread_arrays: HashSet<String>,
    diagnostics: &'a mut Vec<Diagnostic>,
    /// The macros that are being expanded: names and numbers of arguments.
    open: Vec<String>,
    written: Written,
    expansions: usize,
}

impl Rewrite for Expander<'_> {
    fn expr(&mut self, e: &mut Expr) {
        if let ExprKind::Binary { op: op @ (BinaryOp::Match | BinaryOp::NotMatch), left, right } = &e.kind {
            let argument = |e: &Expr| Argument { name: None, value: e.clone() };
            let name = Name { text: "glob".to_string(), span: e.span };
            let kind = ExprKind::Call { name, arguments: vec![argument(left), argument(right)] };
            let call = Expr { kind, span: e.span };
            let kind = match op {
                BinaryOp::Match => call.kind,
                _ => ExprKind::Unary { op: UnaryOp::Not, operand: Box::new(call) },
            };
            *e = Expr { kind, span: e.span };
        }
        if let ExprKind::Call { name, arguments } = &mut e.kind
            && (name.text.as_str(), arguments.len()) == ("comm", 1)
            && !self.macros.contains_key("comm")
        {
            name.text = "pid2execname".to_string();
        }
        if let ExprKind::Index { base, index } = &e.kind
            && let Some(name) = thread_arrays::name(base).filter(|name| self.thread_arrays.contains(*name))
        {
            e.kind = ExprKind::Map { name: format!("{THREAD}{name}"), keys: vec![(**index).clone()] };
        }
        if let ExprKind::Field { base, name } = &e.kind
            && let ExprKind::Ident(of) = &base.kind
        {
            match of.as_str() {
                "self" => e.kind = ExprKind::Map { name: format!("{THREAD}{}", name.text), keys: Vec::new() },
                "this" => e.kind = ExprKind::Variable(format!("{CLAUSE}{}", name.text)),
                _ => {}
            }
        }
        let (name, arguments): (Name, Vec<Expr>) = match &e.kind {
            ExprKind::Ident(name) if self.is_macro(name) => (Name { text: name.clone(), span: e.span }, Vec::new()),
            ExprKind::Call { name, arguments } if self.is_macro(&name.text) => {
                (name.clone(), arguments.iter().map(|argument| argument.value.clone()).collect())
            }
            _ => return walk_expr(self, e),
        };
        if let Some(expanded) = self.expand(&name, arguments, e.span) {
            *e = expanded;
        }
    }

    fn type_name(&mut self, ty: &mut TypeName) {
        for suffix in &mut ty.suffixes {
            if let TypeSuffix::Named(name) = suffix
                && self.macros.contains_key(name.as_str())
            {
                let length = Name { text: name.clone(), span: ty.span };
                *suffix = match self.expand(&length, Vec::new(), ty.span) {
                    Some(Expr { kind: ExprKind::Int(length), .. }) => TypeSuffix::Array(Some(length)),
                    Some(computed) => TypeSuffix::Computed(Box::new(computed)),
                    None => continue,
                };
            }
        }
        walk_type(self, ty);
    }
}

impl Expander<'_> {
    fn is_macro(&self, name: &str) -> bool {
        let is_builtin = || {
            !self.enumerators.contains(name)
                && builtins::named(name).is_some_and(|row| matches!(row.lowering, Lowering::Macro(_)))
        };
        self.macros.contains_key(name) || is_builtin()
    }

    /// The types of a struct's members.
    fn members(&mut self, members: &mut [Member]) {
        for member in members {
            self.type_name(&mut member.ty);
            member.bits.iter_mut().for_each(|bits| self.expr(bits));
            match &mut member.inner {
                Some(Inner::Members(members, _)) => self.members(members),
                Some(Inner::Enumerators(members)) => {
                    members.iter_mut().filter_map(|(_, value)| value.as_mut()).for_each(|value| self.expr(value));
                }
                None => {}
            }
        }
    }

    fn expand(&mut self, name: &Name, mut arguments: Vec<Expr>, span: Span) -> Option<Expr> {
        let builtin = match self.macros.contains_key(&name.text) {
            true => Vec::new(),
            false => builtin::macros_of(&name.text, span),
        };
        // One form of a macro may stand for another one.
        let form = format!("{}/{}", name.text, arguments.len());
        let is_recursive = self.open.contains(&form);
        if is_recursive || self.open.len() >= MOST_DEPTH {
            self.diagnostics.push(
                Diagnostic::error(Code::Macro, span, format!("the macro `{}` expands to itself", name.text))
                    .label("used inside its own expansion")
                    .help("a loop repeats: for $i : 0..10 { ... }"),
            );
            return Some(nothing(span));
        }
        self.expansions += 1;
        if self.expansions > MOST_EXPANSIONS {
            if self.expansions == MOST_EXPANSIONS + 1 {
                self.diagnostics.push(
                    Diagnostic::error(Code::Macro, span, format!("more than {MOST_EXPANSIONS} macros are expanded"))
                        .label("here")
                        .help("a function (`fn`) is called, not expanded: it may be used any number of times"),
                );
            }
            return None;
        }
        let all = self.macros.get(&name.text).unwrap_or(&builtin);
        let Some(found) = all.iter().filter(|one| fits(one, &arguments)).max_by_key(|one| strictness(one)) else {
            // A wrong number of arguments of a builtin is found where those of all builtins are.
            let counts = builtins::named(&name.text).map(|row| row.arguments).filter(|_| !builtin.is_empty());
            if counts.is_none_or(|(least, most)| (least..=most).contains(&arguments.len())) {
                self.diagnostics.push(mismatch(name, all, &arguments, span));
                return Some(nothing(span));
            }
            return None;
        };
        // What is passed belongs to the place of the call: it is expanded there.
        arguments.iter_mut().for_each(|argument| self.expr(argument));
        let mut body = substitute::substitute(found, &arguments, self.expansions, self.diagnostics);
        if let Some(row) = builtins::named(&name.text).filter(|_| !builtin.is_empty()) {
            // What a builtin's text uses in its turn stands at the same place.
            self.written.entry(span).or_insert(row);
        }
        self.open.push(form);
        self.block(&mut body);
        self.open.pop();
        if body.statements.is_empty()
            && let Some(value) = body.value
        {
            return Some(Expr { span, ..*value });
        }
        Some(Expr { kind: ExprKind::Block(body), span })
    }
}

/// Stands for what could not be expanded, which is reported.
fn nothing(span: Span) -> Expr {
    Expr { kind: ExprKind::Int(0), span }
}

/// Whether the arguments are what the parameters ask for: a variable for `$b`, a map for `@c`, anything for `a`.
fn fits(candidate: &Macro, arguments: &[Expr]) -> bool {
    candidate.parameters.len() == arguments.len()
        && candidate.parameters.iter().zip(arguments).all(|(parameter, argument)| match &parameter.kind {
            ExprKind::Variable(_) => matches!(argument.kind, ExprKind::Variable(_)),
            ExprKind::Map { .. } => matches!(&argument.kind, ExprKind::Map { keys, .. } if keys.is_empty()),
            _ => true,
        })
}

/// Parameters that ask for more go before those that take anything.
fn strictness(candidate: &Macro) -> usize {
    candidate.parameters.iter().filter(|parameter| !matches!(parameter.kind, ExprKind::Ident(_))).count()
}

fn mismatch(name: &Name, all: &[Macro], arguments: &[Expr], span: Span) -> Diagnostic {
    let forms: Vec<String> = all
        .iter()
        .map(|one| {
            let parameters: Vec<String> = one
                .parameters
                .iter()
                .map(|parameter| match &parameter.kind {
                    ExprKind::Ident(name) => name.clone(),
                    ExprKind::Variable(name) => format!("${name}"),
                    ExprKind::Map { name, .. } => format!("@{name}"),
                    _ => "?".to_string(),
                })
                .collect();
            format!("`{}({})`", one.name, parameters.join(", "))
        })
        .collect();
    let count = arguments.len();
    Diagnostic::error(Code::Macro, span, format!("the macro `{}` does not take these arguments", name.text))
        .label(format!("given {count} argument{}", if count == 1 { "" } else { "s" }))
        .help(format!("its forms: {}; `$x` takes a variable, `@x` a whole map", forms.join(", ")))
}
