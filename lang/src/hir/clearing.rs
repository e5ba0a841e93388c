//! Maps that are cleared while probes fire, and the prints that show what is cleared next. Looks only.

use std::collections::{BTreeSet, HashMap};

use crate::target::Attach;

use super::{Hir, MapId, RecordId, RecordKind, Stmt, StmtKind, for_each_statement};

/// The maps that clear(), zero() and trunc() empty while other programs may be at work on them.
pub fn cleared_meanwhile(hir: &Hir) -> BTreeSet<MapId> {
    let mut maps = BTreeSet::new();
    for program in &hir.programs {
        let is_alone = |attach: &Attach| matches!(attach, Attach::Begin | Attach::End);
        if program.sites.iter().all(|site| is_alone(&hir.sites[site.index()].attach)) {
            continue;
        }
        for body in program.bodies() {
            for_each_statement(body, &mut |statement| maps.extend(cleared(hir, statement)));
        }
    }
    maps
}

/// Of records that print a map which the same block clears next, with nothing but output in between: the map, and the record
/// that clears it. What is printed is exactly what is cleared then.
pub fn prints_before_clears(hir: &Hir) -> HashMap<(RecordId, MapId), RecordId> {
    let mut pairs = HashMap::new();
    // What a speculation prints is printed later than it is cleared.
    for program in hir.programs.iter().filter(|program| program.speculation.is_none()) {
        for body in program.bodies() {
            pair(hir, body, &mut pairs);
            for_each_statement(body, &mut |statement| {
                if let StmtKind::If { then, otherwise, .. } = &statement.kind {
                    pair(hir, then, &mut pairs);
                    pair(hir, otherwise, &mut pairs);
                }
                if let StmtKind::Loop { body, .. } = &statement.kind {
                    pair(hir, body, &mut pairs);
                }
            });
        }
    }
    pairs
}

fn pair(hir: &Hir, statements: &[Stmt], pairs: &mut HashMap<(RecordId, MapId), RecordId>) {
    for (number, statement) in statements.iter().enumerate() {
        let Some(print) = emitted(statement) else { continue };
        let shown = shown(&hir.records[print.index()].kind);
        for next in &statements[number + 1..] {
            let Some(clear) = emitted(next) else { break };
            if let Some(map) = cleared(hir, next).filter(|map| shown.contains(map)) {
                pairs.entry((print, map)).or_insert(clear);
            }
        }
    }
}

fn emitted(statement: &Stmt) -> Option<RecordId> {
    if let StmtKind::Emit { record, .. } = &statement.kind { Some(*record) } else { None }
}

/// The maps that a record prints.
fn shown(kind: &RecordKind) -> &[MapId] {
    if let RecordKind::PrintMap { map, .. } = kind {
        std::slice::from_ref(map)
    } else if let RecordKind::PrintAggregations { maps, .. } = kind {
        maps
    } else {
        &[]
    }
}

/// The map that a statement empties.
fn cleared(hir: &Hir, statement: &Stmt) -> Option<MapId> {
    let StmtKind::Emit { record, parts } = &statement.kind else { return None };
    let kind = &hir.records[record.index()].kind;
    if let RecordKind::ClearMap(map) | RecordKind::ZeroMap(map) = kind {
        return Some(*map);
    }
    let keeps_none = parts.first().is_some_and(|count| count.constant() == Some(0));
    if let RecordKind::Truncate(map) = kind
        && keeps_none
    {
        Some(*map)
    } else {
        None
    }
}
