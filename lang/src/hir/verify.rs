//! What holds in every Hir that the checker hands out. Run after each check in debug builds; a breach is a bug of the
//! checker, never the user's.

use super::{Expr, ExprKind, Hir, LoopKind, MapId, MapValue, Program, Stmt, StmtKind, for_each_statement};
use crate::types::Type;

/// The first breach found, in words.
pub fn verify(hir: &Hir) -> Result<(), String> {
    for map in &hir.maps {
        if map.key.contains(&Type::Unknown) || map.value == MapValue::Plain(Type::Unknown) {
            return Err(format!("map @{} has no type", map.name));
        }
    }
    for program in &hir.programs {
        if program.sites.is_empty() {
            return Err(format!("program {} has no site", program.name));
        }
        for site in &program.sites {
            let site = hir.sites.get(site.index()).ok_or("a site out of range")?;
            if site.program != program.kind {
                return Err(format!("program {} and its site {} differ in kind", program.name, site.name));
            }
        }
        if let Some(predicate) = &program.predicate {
            expr(hir, program, predicate)?;
        }
        program.bodies().try_for_each(|body| block(hir, program, body))?;
        for (number, function) in program.functions.iter().enumerate() {
            let mut calls_later = false;
            for_each_statement(&function.body, &mut |statement| {
                calls_later |= matches!(&statement.kind, StmtKind::Call(called) if called.index() >= number);
            });
            if calls_later {
                return Err(format!("{}() calls a function that is not before it", function.name));
            }
        }
    }
    Ok(())
}

fn block(hir: &Hir, program: &Program, statements: &[Stmt]) -> Result<(), String> {
    statements.iter().try_for_each(|statement| self::statement(hir, program, statement))
}

fn statement(hir: &Hir, program: &Program, statement: &Stmt) -> Result<(), String> {
    match &statement.kind {
        StmtKind::Expr(e) => expr(hir, program, e),
        StmtKind::SetLocal { local, value } => {
            let local = program.locals.get(local.index()).ok_or("a local out of range")?;
            if local.ty.is_scalar() != value.ty.is_scalar() {
                return Err(format!("${} is {} and is set to {}", local.name, local.ty, value.ty));
            }
            expr(hir, program, value)
        }
        StmtKind::SetMap { map, key, value } => {
            keys(hir, program, *map, key)?;
            if let MapValue::Aggregation(_) = &hir.maps[map.index()].value {
                return Err("an aggregation is set like a value".to_string());
            }
            expr(hir, program, value)
        }
        StmtKind::Aggregate { map, key, value, weight } => {
            keys(hir, program, *map, key)?;
            let MapValue::Aggregation(_) = &hir.maps[map.index()].value else {
                return Err("a plain map is used as an aggregation".to_string());
            };
            value.iter().chain(weight).try_for_each(|value| expr(hir, program, value))
        }
        StmtKind::Emit { record, parts } => {
            let record = hir.records.get(record.index()).ok_or("a record out of range")?;
            if record.parts.len() != parts.len() {
                return Err("a record and its parts differ in number".to_string());
            }
            parts.iter().try_for_each(|part| expr(hir, program, part))
        }
        StmtKind::KernelLine { values, .. } => values.iter().try_for_each(|value| expr(hir, program, value)),
        StmtKind::Exit { code, .. } => expr(hir, program, code),
        StmtKind::Result(value) => expr(hir, program, value),
        StmtKind::If { condition, then, otherwise } => {
            expr(hir, program, condition)?;
            block(hir, program, then)?;
            block(hir, program, otherwise)
        }
        StmtKind::Loop { kind, body } => {
            match kind {
                LoopKind::While(condition) => expr(hir, program, condition)?,
                LoopKind::Range { from, to, .. } => {
                    expr(hir, program, from)?;
                    expr(hir, program, to)?;
                }
                LoopKind::Map { map, .. } => {
                    let map = hir.maps.get(map.index()).ok_or("a map out of range")?;
                    if map.key.is_empty() {
                        return Err(format!("a loop over @{}, which has no keys", map.name));
                    }
                }
                LoopKind::Unroll(_) => {}
            }
            block(hir, program, body)
        }
        StmtKind::Call(function) => {
            program.functions.get(function.index()).map(|_| ()).ok_or_else(|| "a function out of range".to_string())
        }
        StmtKind::Break | StmtKind::Continue | StmtKind::Return => Ok(()),
    }
}

fn keys(hir: &Hir, program: &Program, map: MapId, key: &[Expr]) -> Result<(), String> {
    let map = hir.maps.get(map.index()).ok_or("a map out of range")?;
    if map.key.len() != key.len() {
        return Err(format!("@{} takes {} keys and gets {}", map.name, map.key.len(), key.len()));
    }
    key.iter().try_for_each(|part| expr(hir, program, part))
}

fn expr(hir: &Hir, program: &Program, e: &Expr) -> Result<(), String> {
    if e.ty == Type::Unknown {
        return Err(format!("an expression at {:?} has no type", e.span));
    }
    match &e.kind {
        ExprKind::Int(_) if !e.ty.is_scalar() => Err(format!("an integer of type {}", e.ty)),
        ExprKind::Int(_)
        | ExprKind::Str(_)
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
        | ExprKind::Stack { .. } => Ok(()),
        ExprKind::StackByTables { registers, .. } => {
            registers.iter().try_for_each(|register| expr(hir, program, register))
        }
        ExprKind::Local(local) => {
            program.locals.get(local.index()).map(|_| ()).ok_or_else(|| "a local out of range".to_string())
        }
        ExprKind::MapGet { map, key }
        | ExprKind::HasKey { map, key }
        | ExprKind::Delete { map, key }
        | ExprKind::AggregationValue { map, key, .. } => keys(hir, program, *map, key),
        ExprKind::Binary { left, right, .. } => {
            if !left.ty.is_scalar() || !right.ty.is_scalar() {
                return Err(format!("an operation on {} and {}", left.ty, right.ty));
            }
            expr(hir, program, left)?;
            expr(hir, program, right)
        }
        ExprKind::Element { base: left, index: right }
        | ExprKind::StringOrder { left, right, .. }
        | ExprKind::Concatenate(left, right)
        | ExprKind::ReadBytes { pointer: left, length: right }
        | ExprKind::Inet { family: left, address: right, .. }
        | ExprKind::StrEqual { left, right, .. }
        | ExprKind::Same { left, right, .. }
        | ExprKind::And(left, right)
        | ExprKind::WriteUser { address: left, buffer: right }
        | ExprKind::Or(left, right) => {
            expr(hir, program, left)?;
            expr(hir, program, right)
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
        | ExprKind::Deref { pointer: inner, .. } => expr(hir, program, inner),
        ExprKind::CopyBytes { from, to, length, .. } => {
            [from, to, length].into_iter().try_for_each(|part| expr(hir, program, part))
        }
        ExprKind::ReadString { pointer, limit, .. } => {
            expr(hir, program, pointer)?;
            limit.iter().try_for_each(|limit| expr(hir, program, limit))
        }
        ExprKind::Ternary { condition, then, otherwise } => {
            expr(hir, program, condition)?;
            expr(hir, program, then)?;
            expr(hir, program, otherwise)
        }
        ExprKind::UpdateLocal { operand, .. } => expr(hir, program, operand),
        ExprKind::UpdateMap { map, key, operand, .. } => {
            keys(hir, program, *map, key)?;
            expr(hir, program, operand)
        }
        ExprKind::Tuple(parts) => parts.iter().try_for_each(|part| expr(hir, program, part)),
        ExprKind::Part { base, .. } | ExprKind::Member { base, .. } => {
            if base.ty.is_scalar() {
                return Err(format!("a part of {}", base.ty));
            }
            expr(hir, program, base)
        }
        ExprKind::Block { statements, value } => {
            block(hir, program, statements)?;
            expr(hir, program, value)
        }
    }
}
