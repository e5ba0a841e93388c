//! The Hir as text: maps, records and programs, one statement a line, every expression with the types that matter.

use std::fmt::Write;

use crate::aggregations::AggregationPart;
use crate::target::Processes;

use super::{Dispatch, Expr, ExprKind, Hir, KernelText, LoopKind, MapId, MapValue, RecordKind, Stmt, StmtKind, Table};

pub fn dump(hir: &Hir) -> String {
    let mut out = String::new();
    for map in &hir.maps {
        let key: Vec<String> = map.key.iter().map(ToString::to_string).collect();
        let value = match &map.value {
            MapValue::Plain(ty) => ty.to_string(),
            MapValue::Aggregation(a) => {
                let shape = a.to_string().replacen("()", "", 1);
                format!("{shape} of {}", if a.signed { "int64" } else { "uint64" })
            }
        };
        let evicts = if map.evicts { ", gives up old ones" } else { "" };
        let _ = writeln!(out, "map @{}[{}]: {value}, {} entries{evicts}", map.name, key.join(", "), map.entries);
    }
    for (number, record) in hir.records.iter().enumerate() {
        let parts: Vec<String> = record.parts.iter().map(ToString::to_string).collect();
        let _ = writeln!(out, "record {number} {} ({})", record_name(&record.kind), parts.join(", "));
    }
    for program in &hir.programs {
        let sites: Vec<&str> = program.sites.iter().take(4).map(|site| &*hir.sites[site.index()].name).collect();
        let more =
            if program.sites.len() > 4 { format!(" and {} more", program.sites.len() - 4) } else { String::new() };
        let dispatch = match program.dispatch {
            Dispatch::Known => "",
            Dispatch::Cookie => " by cookie",
            Dispatch::Selector => " by selector",
        };
        let _ = writeln!(out, "program {} {}{more}{dispatch}", program.name, sites.join(" "));
        match program.processes {
            Some(Processes::One(pid)) => drop(writeln!(out, "  only pid {pid}")),
            Some(Processes::Tree) => drop(writeln!(out, "  only the process tree")),
            None => {}
        }
        if program.in_cgroup {
            let _ = writeln!(out, "  only in the cgroup");
        }
        for (number, local) in program.locals.iter().enumerate() {
            let _ = writeln!(out, "  local {number} ${}: {}", local.name, local.ty);
        }
        let dumper = Dumper { hir };
        for (number, function) in program.functions.iter().enumerate() {
            let parameters: Vec<String> = function.parameters.iter().map(|local| format!("${}", local.0)).collect();
            let result = function.result.map_or(String::new(), |local| format!(": ${}", local.0));
            let _ = writeln!(out, "  function {number} {}({}){result}", function.name, parameters.join(", "));
            dumper.block(&function.body, 2, &mut out);
        }
        if let Some(predicate) = &program.predicate {
            let _ = writeln!(out, "  when {}", dumper.text(predicate));
        }
        dumper.block(&program.body, 1, &mut out);
    }
    out
}

fn record_name(kind: &RecordKind) -> String {
    match kind {
        RecordKind::Printf(_) => "printf".to_string(),
        RecordKind::Join(_) => "join".to_string(),
        RecordKind::System(_) => "system".to_string(),
        RecordKind::Reopen(_) => "freopen".to_string(),
        RecordKind::Cat(_) => "cat".to_string(),
        RecordKind::Packet { path } => format!("packet for {path:?}"),
        RecordKind::Message { is_error, .. } => if *is_error { "errorf" } else { "warnf" }.to_string(),
        RecordKind::Time(format) => format!("time {format:?}"),
        RecordKind::Print => "print".to_string(),
        RecordKind::PrintMap { map, table: Table { top, by, descending, divisor } } => {
            let order = if *descending { ", descending" } else { "" };
            format!("print map {} top {top:?} by {by:?}{order} div {divisor}", map.0)
        }
        RecordKind::PrintAggregations { maps, pieces } => {
            let maps: Vec<String> = maps.iter().map(|map| map.0.to_string()).collect();
            format!("printa maps {} {pieces:?}", maps.join(", "))
        }
        RecordKind::Normalize(map) => format!("normalize map {}", map.0),
        RecordKind::Denormalize(map) => format!("denormalize map {}", map.0),
        RecordKind::Truncate(map) => format!("truncate map {}", map.0),
        RecordKind::ClearMap(map) => format!("clear map {}", map.0),
        RecordKind::ZeroMap(map) => format!("zero map {}", map.0),
        RecordKind::Commit => "commit".to_string(),
        RecordKind::Discard => "discard".to_string(),
        RecordKind::Unwatch => "unwatch".to_string(),
        RecordKind::Exit => "exit".to_string(),
    }
}

struct Dumper<'a> {
    hir: &'a Hir,
}

impl Dumper<'_> {
    fn block(&self, statements: &[Stmt], depth: usize, out: &mut String) {
        let pad = "  ".repeat(depth);
        for statement in statements {
            let line = match &statement.kind {
                StmtKind::Expr(e) => self.text(e),
                StmtKind::SetLocal { local, value } => format!("${} = {}", local.0, self.text(value)),
                StmtKind::SetMap { map, key, value } => format!("{} = {}", self.place(*map, key), self.text(value)),
                StmtKind::Aggregate { map, key, value, weight } => format!(
                    "{} << {}{}",
                    self.place(*map, key),
                    value.as_ref().map_or("1".to_string(), |value| self.text(value)),
                    weight.as_ref().map_or(String::new(), |weight| format!(" times {}", self.text(weight)))
                ),
                StmtKind::KernelLine { to, format, values } => {
                    let to = match to {
                        KernelText::TraceBuffer => "debug line",
                        KernelText::Iterator => "line",
                    };
                    format!("{to} {:?} ({})", String::from_utf8_lossy(format), self.list(values))
                }
                StmtKind::Emit { record, parts } => format!("emit {} ({})", record.0, self.list(parts)),
                StmtKind::Result(value) => format!("result {}", self.text(value)),
                StmtKind::Exit { code, .. } => format!("exit {}", self.text(code)),
                StmtKind::If { condition, then, otherwise } => {
                    let _ = writeln!(out, "{pad}if {}", self.text(condition));
                    self.block(then, depth + 1, out);
                    if !otherwise.is_empty() {
                        let _ = writeln!(out, "{pad}else");
                        self.block(otherwise, depth + 1, out);
                    }
                    continue;
                }
                StmtKind::Loop { kind, body } => {
                    let _ = writeln!(out, "{pad}{}", self.head(kind));
                    self.block(body, depth + 1, out);
                    continue;
                }
                StmtKind::Break => "break".to_string(),
                StmtKind::Continue => "continue".to_string(),
                StmtKind::Call(function) => format!("call function {}", function.0),
                StmtKind::Return => "return".to_string(),
            };
            let _ = writeln!(out, "{pad}{line}");
        }
    }

    fn head(&self, kind: &LoopKind) -> String {
        match kind {
            LoopKind::While(condition) => format!("while {}", self.text(condition)),
            LoopKind::Range { variable, from, to } => {
                format!("for ${} : {}..{}", variable.0, self.text(from), self.text(to))
            }
            LoopKind::Map { map, key, value } => {
                format!("for (${}, ${}) : {}", key.0, value.0, self.place(*map, &[]))
            }
            LoopKind::Unroll(count) => format!("unroll {count}"),
        }
    }

    fn place(&self, map: MapId, key: &[Expr]) -> String {
        let name = &self.hir.maps[map.index()].name;
        if key.is_empty() { format!("@{name}") } else { format!("@{name}[{}]", self.list(key)) }
    }

    fn list(&self, parts: &[Expr]) -> String {
        parts.iter().map(|part| self.text(part)).collect::<Vec<_>>().join(", ")
    }

    fn text(&self, e: &Expr) -> String {
        match &e.kind {
            ExprKind::Int(value) => value.to_string(),
            ExprKind::Str(value) => format!("{:?}", String::from_utf8_lossy(value)),
            ExprKind::Local(local) => format!("${}", local.0),
            ExprKind::MapGet { map, key } => self.place(*map, key),
            ExprKind::HasKey { map, key } => format!("has_key({})", self.place(*map, key)),
            ExprKind::Delete { map, key } => format!("delete({})", self.place(*map, key)),
            ExprKind::Len { map } => format!("len({})", self.place(*map, &[])),
            ExprKind::Binary { op, left, right } => {
                format!("({} {} {})", op.symbol(), self.text(left), self.text(right))
            }
            ExprKind::StrEqual { negated, left, right } => {
                format!("({} {} {})", if *negated { "str!=" } else { "str==" }, self.text(left), self.text(right))
            }
            ExprKind::Same { negated, left, right, ty } => {
                let op = if *negated { "differs" } else { "same" };
                format!("({op} {} {}: {ty})", self.text(left), self.text(right))
            }
            ExprKind::Negate(inner) => format!("(- {})", self.text(inner)),
            ExprKind::Complement(inner) => format!("(~ {})", self.text(inner)),
            ExprKind::Not(inner) => format!("(! {})", self.text(inner)),
            ExprKind::And(left, right) => format!("(&& {} {})", self.text(left), self.text(right)),
            ExprKind::Or(left, right) => format!("(|| {} {})", self.text(left), self.text(right)),
            ExprKind::Ternary { condition, then, otherwise } => {
                format!("(? {} {} {})", self.text(condition), self.text(then), self.text(otherwise))
            }
            ExprKind::Convert(inner) => format!("({} {})", e.ty, self.text(inner)),
            ExprKind::UpdateLocal { local, op, operand, old } => {
                format!("({}${} {}= {})", if *old { "old " } else { "" }, local.0, op.symbol(), self.text(operand))
            }
            ExprKind::UpdateMap { map, key, op, operand, old } => format!(
                "({}{} {}= {})",
                if *old { "old " } else { "" },
                self.place(*map, key),
                op.symbol(),
                self.text(operand)
            ),
            ExprKind::Helper { id, shift, bits } => format!("helper {id} >> {shift} : {bits}"),
            ExprKind::Context(location) => format!("context {location:?}: {}", e.ty),
            ExprKind::ContextPointer => "context".to_string(),
            ExprKind::Deref { pointer, offset, bits } => {
                let bits = bits.map_or(String::new(), |bits| format!(" bits {}+{}", bits.shift, bits.width));
                format!("[{} + {offset}]{bits}: {}", self.text(pointer), e.ty)
            }
            ExprKind::ReadString { pointer, space, limit } => {
                let limit = limit.as_ref().map_or(String::new(), |limit| format!(", {}", self.text(limit)));
                format!("str({}{limit}): {} {space:?}", self.text(pointer), e.ty)
            }
            ExprKind::Comm => "comm".to_string(),
            ExprKind::CurrentTask => "curtask".to_string(),
            ExprKind::TaskRegister { offset } => format!("register of the task at {offset}"),
            ExprKind::Speculation => "speculation".to_string(),
            ExprKind::StartTime => "start time".to_string(),
            ExprKind::WallOffset => "wall offset".to_string(),
            ExprKind::Site => "site".to_string(),
            ExprKind::Caller { user } => if *user { "ucaller" } else { "caller" }.to_string(),
            ExprKind::Stack { user, frames } => format!("{}({frames})", if *user { "ustack" } else { "kstack" }),
            ExprKind::StackByTables { frames, .. } => format!("dw_ustack({frames})"),
            ExprKind::Signal { number, thread } => {
                format!("signal{}({})", if *thread { "_thread" } else { "" }, self.text(number))
            }
            ExprKind::Override(value) => format!("override({})", self.text(value)),
            ExprKind::CopyBytes { from, to, length, most } => {
                format!("copy({}, {}, {}, at most {most})", self.text(from), self.text(to), self.text(length))
            }
            ExprKind::WriteUser { address, buffer } => {
                format!("write_user({}, {})", self.text(address), self.text(buffer))
            }
            ExprKind::Tuple(parts) => format!("({})", self.list(parts)),
            ExprKind::Part { base, offset } => format!("{}.+{offset}: {}", self.text(base), e.ty),
            ExprKind::Member { base, offset, bits } => {
                let bits = bits.map_or(String::new(), |bits| format!(" bits {}+{}", bits.shift, bits.width));
                format!("{}.+{offset}{bits}: {}", self.text(base), e.ty)
            }
            ExprKind::Block { statements, value } => {
                let mut inner = String::new();
                self.block(statements, 0, &mut inner);
                format!("{{ {}; {} }}", inner.trim_end().replace('\n', "; "), self.text(value))
            }
            ExprKind::Element { base, index } => format!("{}[{}]", self.text(base), self.text(index)),
            ExprKind::AddressOf(inner) => format!("&{}", self.text(inner)),
            ExprKind::Length(inner) => format!("length({})", self.text(inner)),
            ExprKind::StringOrder { left, right, limit } => {
                let limit = limit.map_or(String::new(), |limit| format!(", {limit}"));
                format!("order({}, {}{limit})", self.text(left), self.text(right))
            }
            ExprKind::Concatenate(left, right) => format!("(str+ {} {})", self.text(left), self.text(right)),
            ExprKind::ByteSwap { value, bytes } => format!("swap{bytes}({})", self.text(value)),
            ExprKind::ReadBytes { pointer, length } => {
                format!("buf({}, {}): {}", self.text(pointer), self.text(length), e.ty)
            }
            ExprKind::Inet { family, address, bytes } => {
                format!("inet({}, {}, {bytes})", self.text(family), self.text(address))
            }
            ExprKind::AggregationValue { map, key, part } => {
                let part = match part {
                    AggregationPart::Value => "value",
                    AggregationPart::Count => "count",
                    AggregationPart::Total => "total",
                };
                format!("{part}({})", self.place(*map, key))
            }
        }
    }
}
