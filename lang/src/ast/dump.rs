//! The Ast as text, one statement a line, expressions in prefix form. For people and tests; reading it back is not meant.

use std::fmt::Write;

use super::{Block, Expr, ExprKind, If, Item, Script, Step, Stmt, StmtKind, TypeBase, TypeName, TypeSuffix};

pub fn dump(script: &Script) -> String {
    let mut out = String::new();
    for item in &script.items {
        dump_item(item, &mut out);
    }
    out
}

fn dump_item(item: &Item, out: &mut String) {
    match item {
        Item::Clause(clause) => {
            let probes: Vec<&str> = clause.probes.iter().map(|probe| probe.text.as_str()).collect();
            let _ = writeln!(out, "clause {}", probes.join(", "));
            if let Some(predicate) = &clause.predicate {
                let _ = writeln!(out, "  when {}", text(predicate));
            }
            block(&clause.body, 1, out);
        }
        Item::Function { name, parameters, result, body, .. } => {
            let parameters: Vec<String> = parameters
                .iter()
                .map(|p| {
                    format!(
                        "${}{}",
                        p.name.text,
                        p.ty.as_ref().map_or(String::new(), |ty| format!(": {}", ty_text(ty)))
                    )
                })
                .collect();
            let result = result.as_ref().map_or(String::new(), |ty| format!(": {}", ty_text(ty)));
            let _ = writeln!(out, "fn {}({}){result}", name.text, parameters.join(", "));
            block(body, 1, out);
        }
        Item::Macro { name, parameters, body, .. } => {
            let parameters: Vec<String> = parameters.iter().map(text).collect();
            let _ = writeln!(out, "macro {}({})", name.text, parameters.join(", "));
            block(body, 1, out);
        }
        Item::Struct { is_union, name, members, .. } => {
            let _ = writeln!(out, "{} {}", if *is_union { "union" } else { "struct" }, name.text);
            for member in members {
                let name = member.name.as_ref().map_or("", |name| name.text.as_str());
                let bits = member.bits.as_ref().map_or(String::new(), |bits| format!(" : {}", text(bits)));
                let _ = writeln!(out, "  {} {name}{bits}", ty_text(&member.ty));
            }
        }
        Item::Enum { name, members, .. } => {
            let _ = writeln!(out, "enum {}", name.as_ref().map_or("", |name| name.text.as_str()));
            for (name, value) in members {
                let value = value.as_ref().map_or(String::new(), |value| format!(" = {}", text(value)));
                let _ = writeln!(out, "  {}{value}", name.text);
            }
        }
        Item::Typedef { members, .. } => {
            for member in members {
                let name = member.name.as_ref().map_or("", |name| name.text.as_str());
                let _ = writeln!(out, "typedef {} {name}", ty_text(&member.ty));
            }
        }
        Item::Config { settings, .. } => {
            let _ = writeln!(out, "config");
            for (name, value) in settings {
                let _ = writeln!(out, "  {} = {}", name.text, text(value));
            }
        }
        Item::Import { path, .. } => {
            let _ = writeln!(out, "import {path:?}");
        }
        Item::MapDeclaration { map, kind, arguments, .. } => {
            let arguments: Vec<String> = arguments.iter().map(text).collect();
            let _ = writeln!(out, "let @{} = {}({})", map.text, kind.text, arguments.join(", "));
        }
        Item::Directive { text, .. } => {
            let _ = writeln!(out, "directive {text:?}");
        }
    }
}

fn block(block: &Block, depth: usize, out: &mut String) {
    for statement in &block.statements {
        dump_statement(statement, depth, out);
    }
    if let Some(value) = &block.value {
        let _ = writeln!(out, "{}value {}", "  ".repeat(depth), text(value));
    }
}

fn dump_if(inner: &If, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    let _ = writeln!(out, "{pad}if {}", text(&inner.condition));
    block(&inner.then, depth + 1, out);
    if let Some(otherwise) = &inner.otherwise {
        let _ = writeln!(out, "{pad}else");
        block(otherwise, depth + 1, out);
    }
}

fn dump_statement(statement: &Stmt, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    let line = match &statement.kind {
        StmtKind::Expr(e) => text(e),
        StmtKind::Discard(e) => format!("discard {}", text(e)),
        StmtKind::Assign { target, op, value } => {
            format!("{} {}= {}", text(target), op.map_or("", |op| op.symbol()), text(value))
        }
        StmtKind::Let { name, ty, value } => format!(
            "let ${}{}{}",
            name.text,
            ty.as_ref().map_or(String::new(), |ty| format!(": {}", ty_text(ty))),
            value.as_ref().map_or(String::new(), |value| format!(" = {}", text(value)))
        ),
        StmtKind::If(inner) => return dump_if(inner, depth, out),
        StmtKind::While { condition, body } => {
            let _ = writeln!(out, "{pad}while {}", text(condition));
            return block(body, depth + 1, out);
        }
        StmtKind::ForRange { variable, from, to, body } => {
            let _ = writeln!(out, "{pad}for ${} : {} .. {}", variable.text, text(from), text(to));
            return block(body, depth + 1, out);
        }
        StmtKind::ForMap { variables, map, body } => {
            let names: Vec<String> = variables.iter().map(|name| format!("${}", name.text)).collect();
            let _ = writeln!(out, "{pad}for {} : {}", names.join(", "), text(map));
            return block(body, depth + 1, out);
        }
        StmtKind::Unroll { count, body } => {
            let _ = writeln!(out, "{pad}unroll {}", text(count));
            return block(body, depth + 1, out);
        }
        StmtKind::Block(inner) => {
            let _ = writeln!(out, "{pad}block");
            return block(inner, depth + 1, out);
        }
        StmtKind::Try { body, catch } => {
            let _ = writeln!(out, "{pad}try");
            block(body, depth + 1, out);
            let _ = writeln!(out, "{pad}catch");
            return block(catch, depth + 1, out);
        }
        StmtKind::Break => "break".to_string(),
        StmtKind::Continue => "continue".to_string(),
        StmtKind::Return(value) => format!("return {}", value.as_ref().map_or(String::new(), text)),
        StmtKind::Import(path) => format!("import {path:?}"),
        StmtKind::Error => "error".to_string(),
    };
    let _ = writeln!(out, "{pad}{}", line.trim_end());
}

fn ty_text(ty: &TypeName) -> String {
    let mut out = match &ty.base {
        TypeBase::Struct(name) => format!("struct {name}"),
        TypeBase::Union(name) => format!("union {name}"),
        TypeBase::Enum(name) => format!("enum {name}"),
        TypeBase::Named(name) => name.clone(),
        TypeBase::TypeOf(e) => format!("typeof({})", text(e)),
    };
    for suffix in &ty.suffixes {
        match suffix {
            TypeSuffix::Pointer => out.push('*'),
            TypeSuffix::Named(length) => out.push_str(&format!("[{length}]")),
            TypeSuffix::Computed(length) => out.push_str(&format!("[{}]", text(length))),
            TypeSuffix::Array(length) => {
                let _ = write!(out, "[{}]", length.map_or(String::new(), |n| n.to_string()));
            }
        }
    }
    out
}

fn all(parts: &[Expr]) -> String {
    parts.iter().map(text).collect::<Vec<_>>().join(" ")
}

/// One expression in prefix form.
fn text(e: &Expr) -> String {
    match &e.kind {
        ExprKind::Int(n) => n.to_string(),
        ExprKind::Duration(n) => format!("{n}ns"),
        ExprKind::Bool(b) => b.to_string(),
        ExprKind::Str(s) => format!("{:?}", String::from_utf8_lossy(s)),
        ExprKind::Ident(name) => name.clone(),
        ExprKind::Variable(name) => format!("${name}"),
        ExprKind::Map { name, keys } if keys.is_empty() => format!("@{name}"),
        ExprKind::Map { name, keys } => format!("@{name}[{}]", all(keys)),
        ExprKind::Positional(n) => format!("${n}"),
        ExprKind::PositionalText(n) => format!("$${n}"),
        ExprKind::PositionalCount => "$#".to_string(),
        ExprKind::Call { name, arguments } => {
            let arguments: Vec<String> = arguments
                .iter()
                .map(|a| {
                    format!("{}{}", a.name.as_ref().map_or(String::new(), |n| format!("{}: ", n.text)), text(&a.value))
                })
                .collect();
            format!("(call {}{}{})", name.text, if arguments.is_empty() { "" } else { " " }, arguments.join(" "))
        }
        ExprKind::Field { base, name } => format!("(. {} {})", text(base), name.text),
        ExprKind::TupleField { base, index } => format!("(. {} {index})", text(base)),
        ExprKind::Index { base, index } => format!("(index {} {})", text(base), text(index)),
        ExprKind::Unary { op, operand } => format!("({} {})", op.symbol(), text(operand)),
        ExprKind::Step { step, prefix, target } => {
            let word = match step {
                Step::Increment => "++",
                Step::Decrement => "--",
            };
            format!("({}{word} {})", if *prefix { "pre" } else { "post" }, text(target))
        }
        ExprKind::Binary { op, left, right } => format!("({} {} {})", op.symbol(), text(left), text(right)),
        ExprKind::Ternary { condition, then, otherwise } => {
            let then = then.as_ref().map_or("=".to_string(), |then| text(then));
            format!("(? {} {then} {})", text(condition), text(otherwise))
        }
        ExprKind::Cast { ty, operand } => format!("(cast {} {})", ty_text(ty), text(operand)),
        ExprKind::SizeOfType(ty) => format!("(sizeof {})", ty_text(ty)),
        ExprKind::SizeOf(e) => format!("(sizeof {})", text(e)),
        ExprKind::OffsetOfType { ty, path } => {
            format!("(offsetof {} {})", ty_text(ty), path.iter().map(|n| n.text.as_str()).collect::<Vec<_>>().join("."))
        }
        ExprKind::OffsetOf { of, path } => {
            format!("(offsetof {} {})", text(of), path.iter().map(|n| n.text.as_str()).collect::<Vec<_>>().join("."))
        }
        ExprKind::TypeInfoType(ty) => format!("(typeinfo {})", ty_text(ty)),
        ExprKind::TypeInfo(e) => format!("(typeinfo {})", text(e)),
        ExprKind::Tuple(parts) => format!("(tuple {})", all(parts)),
        ExprKind::Record(parts) => {
            let parts: Vec<String> = parts.iter().map(|(name, e)| format!("{}={}", name.text, text(e))).collect();
            format!("(record {})", parts.join(" "))
        }
        ExprKind::Block(inner) => {
            let mut out = String::new();
            block(inner, 0, &mut out);
            format!("{{ {} }}", out.trim_end().replace('\n', "; "))
        }
        ExprKind::If(inner) => {
            let mut out = String::new();
            dump_if(inner, 0, &mut out);
            format!("{{ {} }}", out.trim_end().replace('\n', "; "))
        }
        ExprKind::Comptime(e) => format!("(comptime {})", text(e)),
        ExprKind::TypeArgument(ty) => format!("(type {})", ty_text(ty)),
    }
}
