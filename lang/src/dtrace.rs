//! D's names of probes, `provider:module:function:name`: each stands for a probe of ours, and the names that D gives its
//! values there for expressions of ours. Rewrites the script before anything is resolved; asks no machine.

use crate::ast::rewrite::{Rewrite, walk_expr};
use crate::ast::{BinaryOp, Clause, Expr, ExprKind, Item, Script, Stmt, StmtKind};
use crate::diagnostic::{Code, Diagnostic, did_you_mean, near_misses};
use crate::expand::Place;
use crate::parse::parse;
use crate::probe::{ProbeSpec, wildcard_match};
use crate::span::Span;

/// A probe of D.
pub struct Row {
    pub provider: &'static str,
    pub name: &'static str,
    /// Our probe; FUNCTION stands for D's function, or `*` where there is none, and MODULE for its module and a colon.
    pub probe: &'static str,
    /// What must hold for D's probe to fire; empty for nothing.
    pub when: &'static str,
    /// Names, and what they stand for there.
    pub values: &'static [(&'static str, &'static str)],
}

const fn row(
    provider: &'static str,
    name: &'static str,
    probe: &'static str,
    when: &'static str,
    values: &'static [(&'static str, &'static str)],
) -> Row {
    Row { provider, name, probe, when, values }
}

/// The names of system calls, from the contexts of `sys_enter` and `sys_exit`: the fields of the events are in another
/// place for each call, which would take a program for each.
const ENTERED: (&str, &str) = ("probefunc", "syscall_name(((uint64 *)ctx)[1])");
const LEFT: (&str, &str) = ("probefunc", "syscall_name(((struct pt_regs *)((uint64 *)ctx)[0])->orig_ax)");

/// The signals of `signal_generate` go to this thread and process.
const SENT: &[(&str, &str)] = &[("arg0", "args.pid"), ("arg1", "args.pid"), ("arg2", "args.sig")];

/// States of a TCP socket that go over into another one.
const STATES: &[(&str, &str)] = &[("arg3", "args.newstate"), ("arg5", "args.oldstate")];

const SET_STATE: &str = "tracepoint:sock:inet_sock_set_state";

/// Every probe of D that we have, by provider.
pub static ROWS: &[Row] = &[
    row("dtrace", "BEGIN", "BEGIN", "", &[]),
    row("dtrace", "END", "END", "", &[]),
    row("fbt", "entry", "kprobe:MODULEFUNCTION", "", &[]),
    row("fbt", "return", "kretprobe:MODULEFUNCTION", "", &[("arg0", "retval"), ("arg1", "retval")]),
    row("io", "start", "tracepoint:block:block_rq_issue", "", &[]),
    row("io", "done", "tracepoint:block:block_rq_complete", "", &[]),
    // CLONE_THREAD tells threads from processes.
    row("proc", "create", "tracepoint:task:task_newtask", "(args.clone_flags & 0x10000) == 0", &[("arg0", "args.pid")]),
    row(
        "proc",
        "lwp-create",
        "tracepoint:task:task_newtask",
        "(args.clone_flags & 0x10000) != 0",
        &[("arg0", "args.pid")],
    ),
    row("proc", "exec", "tracepoint:syscalls:sys_enter_execve", "", &[("arg0", "args.filename")]),
    row("proc", "exec-failure", "tracepoint:syscalls:sys_exit_execve", "args.ret < 0", &[("arg0", "(-args.ret)")]),
    row("proc", "exec-success", "tracepoint:sched:sched_process_exec", "", &[]),
    // CLD_EXITED, CLD_KILLED and CLD_DUMPED, from the status that wait(2) gives.
    row(
        "proc",
        "exit",
        "tracepoint:sched:sched_process_exit",
        "pid == tid",
        &[("arg0", "((curtask.exit_code & 0x7f) == 0 ? 1 : (curtask.exit_code & 0x80) == 0 ? 2 : 3)")],
    ),
    row("proc", "lwp-exit", "tracepoint:sched:sched_process_exit", "", &[]),
    row("proc", "signal-send", "tracepoint:signal:signal_generate", "", SENT),
    // TRACE_SIGNAL_IGNORED
    row("proc", "signal-discard", "tracepoint:signal:signal_generate", "args.result == 1", SENT),
    row(
        "proc",
        "signal-handle",
        "tracepoint:signal:signal_deliver",
        "",
        &[("arg0", "args.sig"), ("arg2", "args.sa_handler")],
    ),
    row("sched", "off-cpu", "rawtracepoint:sched_switch", "", &[("arg0", "args.next.pid"), ("arg1", "args.next.tgid")]),
    // The event comes while the thread before still runs.
    row(
        "sched",
        "on-cpu",
        "rawtracepoint:sched_switch",
        "",
        &[
            ("comm", "args.next.comm"),
            ("curtask", "args.next"),
            ("curthread", "args.next"),
            ("execname", "args.next.comm"),
            ("pid", "args.next.tgid"),
            ("tid", "args.next.pid"),
        ],
    ),
    row("sched", "wakeup", "rawtracepoint:sched_wakeup", "", &[("arg0", "args.p.pid"), ("arg1", "args.p.tgid")]),
    row("syscall", "entry", "tracepoint:syscalls:sys_enter_FUNCTION", "", &[ENTERED]),
    row(
        "syscall",
        "return",
        "tracepoint:syscalls:sys_exit_FUNCTION",
        "",
        &[("errno", "(arg1 < 0 && arg1 >= -4095 ? -arg1 : 0)"), LEFT],
    ),
    // TCP_SYN_SENT, TCP_SYN_RECV and TCP_ESTABLISHED of IPPROTO_TCP.
    row(
        "tcp",
        "accept-established",
        SET_STATE,
        "args.protocol == 6 && args.oldstate == 3 && args.newstate == 1",
        STATES,
    ),
    row(
        "tcp",
        "connect-established",
        SET_STATE,
        "args.protocol == 6 && args.oldstate == 2 && args.newstate == 1",
        STATES,
    ),
    row("tcp", "connect-request", SET_STATE, "args.protocol == 6 && args.newstate == 2", STATES),
    row("tcp", "state-change", SET_STATE, "args.protocol == 6", STATES),
];

/// Units of `profile-N` and `tick-N`, with the nanoseconds of one; the first is what is meant without any.
const UNITS: &[(&str, u64)] = &[
    ("hz", 0),
    ("ns", 1),
    ("nsec", 1),
    ("us", 1_000),
    ("usec", 1_000),
    ("ms", 1_000_000),
    ("msec", 1_000_000),
    ("s", 1_000_000_000),
    ("sec", 1_000_000_000),
    ("m", 60_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("hour", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("day", 86_400_000_000_000),
];

/// What a specification in D's manner stands for.
pub struct Meaning {
    pub spec: ProbeSpec,
    /// None for a rate of time, which has no values of its own.
    row: Option<&'static Row>,
}

impl Meaning {
    /// True where our probe fires while another process runs than the one that D means.
    fn is_of_another_process(&self) -> bool {
        self.row.is_some_and(|row| row.values.iter().any(|(name, _)| *name == "pid"))
    }
}

/// The probes of ours that a specification of D means; None where it is none of D's. Empty where D's provider has no
/// such probe, or we have none in its place.
pub fn meanings(spec: &ProbeSpec) -> Option<Vec<Meaning>> {
    let rate = match spec.parts.as_slice() {
        [] => rate(&spec.provider),
        [_, _, name] if spec.provider.eq_ignore_ascii_case("profile") => rate(name),
        _ => None,
    };
    if let Some(text) = rate {
        return Some(vec![Meaning { spec: replaced(spec, &text), row: None }]);
    }
    let provider = spec.provider.as_str();
    if !ROWS.iter().any(|row| row.provider == provider) {
        return None;
    }
    // Without the four parts of D the name is no name of D's.
    let [module, function, name] = spec.parts.as_slice() else { return Some(Vec::new()) };
    let any = |part: &str| if part.is_empty() { "*".to_string() } else { part.to_string() };
    let module = if matches!(module.as_str(), "" | "*" | "vmlinux") { String::new() } else { format!("{module}:") };
    let matching = ROWS.iter().filter(|row| row.provider == provider && wildcard_match(&any(name), row.name));
    // Only these have functions.
    let is_function = |row: &&Row| row.probe.contains("FUNCTION") || matches!(function.as_str(), "" | "*");
    let meaning = |row: &'static Row| Meaning {
        spec: replaced(spec, &row.probe.replace("MODULE", &module).replace("FUNCTION", &any(function))),
        row: Some(row),
    };
    Some(matching.filter(is_function).map(meaning).collect())
}

fn replaced(spec: &ProbeSpec, text: &str) -> ProbeSpec {
    ProbeSpec { label: spec.label.clone(), ..ProbeSpec::parse(text, spec.span) }
}

/// `profile-997`, `tick-5s`: our probe of that rate.
fn rate(name: &str) -> Option<String> {
    let (provider, rate) = match (name.strip_prefix("profile-"), name.strip_prefix("tick-")) {
        (Some(rate), _) => ("profile", rate),
        (None, Some(rate)) => ("interval", rate),
        (None, None) => return None,
    };
    let digits = rate.find(|c: char| !c.is_ascii_digit()).unwrap_or(rate.len());
    let (count, unit) = rate.split_at(digits);
    let (_, nanoseconds) = match unit {
        "" => UNITS.first()?,
        unit => UNITS.iter().find(|(known, _)| *known == unit.to_ascii_lowercase())?,
    };
    let count: u64 = count.parse().ok()?;
    Some(match nanoseconds {
        0 => format!("{provider}:hz:{count}"),
        nanoseconds => format!("{provider}:{}", count.checked_mul(*nanoseconds)?),
    })
}

/// Replaces D's probes in a script by ours. A clause with several becomes a clause for each that has values of its own.
/// `follows`: only one process is traced.
pub fn translate(script: &mut Script, follows: bool, diagnostics: &mut Vec<Diagnostic>) {
    let mut items = Vec::new();
    for item in std::mem::take(&mut script.items) {
        match item {
            Item::Clause(clause) => items.extend(clauses(clause, follows, diagnostics).into_iter().map(Item::Clause)),
            other => items.push(other),
        }
    }
    script.items = items;
}

fn clauses(clause: Clause, follows: bool, diagnostics: &mut Vec<Diagnostic>) -> Vec<Clause> {
    let mut parts: Vec<(Option<&'static Row>, Vec<ProbeSpec>)> = Vec::new();
    let mut add = |row: Option<&'static Row>, spec: ProbeSpec| match parts
        .iter_mut()
        .find(|(known, _)| row.map(std::ptr::from_ref) == known.map(std::ptr::from_ref))
    {
        Some((_, specs)) => specs.push(spec),
        None => parts.push((row, vec![spec])),
    };
    for spec in &clause.probes {
        match meanings(spec) {
            None => add(None, spec.clone()),
            Some(found) if found.is_empty() => diagnostics.push(absent(spec)),
            Some(found) if follows && found.iter().any(Meaning::is_of_another_process) => {
                diagnostics.push(follows_another(spec));
            }
            Some(found) => found.into_iter().for_each(|meaning| add(meaning.row, meaning.spec)),
        }
    }
    let with = |(row, probes): (Option<&'static Row>, Vec<ProbeSpec>)| {
        let mut part = Clause { probes, ..clause.clone() };
        if let Some(row) = row {
            give(row, &mut part);
        }
        part
    };
    parts.into_iter().map(with).collect()
}

/// Lets a clause of one probe of D have its values, and fire only when D's would.
fn give(row: &'static Row, clause: &mut Clause) {
    let mut values = Values { row };
    clause.predicate.iter_mut().for_each(|predicate| values.expr(predicate));
    values.block(&mut clause.body);
    if row.when.is_empty() {
        return;
    }
    let span = clause.predicate.as_ref().map_or(clause.probes[0].span, |predicate| predicate.span);
    let when = expression(row.when, span);
    clause.predicate = Some(match clause.predicate.take() {
        None => when,
        Some(own) => {
            Expr { kind: ExprKind::Binary { op: BinaryOp::And, left: Box::new(when), right: Box::new(own) }, span }
        }
    });
}

/// Replaces names by what a row says that they stand for.
struct Values {
    row: &'static Row,
}

impl Values {
    fn of(&self, name: &str, span: Span) -> Option<Expr> {
        if let Some((_, text)) = self.row.values.iter().find(|(known, _)| *known == name) {
            return Some(expression(text, span));
        }
        let text = match name {
            "probeprov" => self.row.provider,
            "probename" => self.row.name,
            _ => return None,
        };
        Some(Expr { kind: ExprKind::Str(text.as_bytes().to_vec()), span })
    }
}

impl Rewrite for Values {
    fn expr(&mut self, e: &mut Expr) {
        let name = match &e.kind {
            ExprKind::Ident(name) => Some(name.clone()),
            // args[0] is arg0.
            ExprKind::Index { base, index } => match (&base.kind, &index.kind) {
                (ExprKind::Ident(base), ExprKind::Int(index)) if base == "args" => Some(format!("arg{index}")),
                _ => None,
            },
            _ => None,
        };
        match name {
            Some(name) => match self.of(&name, e.span) {
                Some(value) => *e = value,
                None if matches!(e.kind, ExprKind::Index { .. }) => e.kind = ExprKind::Ident(name),
                None => {}
            },
            None => walk_expr(self, e),
        }
    }
}

/// A row's text as an expression that stands, for every message, where it is used.
fn expression(text: &str, span: Span) -> Expr {
    let mut items = parse(&format!("END{{_=({text});}}")).ast.items;
    let Some(Item::Clause(clause)) = items.pop() else { unreachable!("{text} is an expression") };
    let mut statements = clause.body.statements;
    let Some(Stmt { kind: StmtKind::Discard(mut value), .. }) = statements.pop() else {
        unreachable!("{text} is an expression")
    };
    Place { span }.expr(&mut value);
    value
}

fn follows_another(spec: &ProbeSpec) -> Diagnostic {
    Diagnostic::error(
        Code::NotHere,
        spec.span,
        format!("`{}` cannot be restricted to one process or cgroup", spec.text),
    )
    .label("fires while the thread before still runs, which is the one that -p, -c and --cgroup look at")
    .help("leave them out, and write the process into the predicate: `/pid == 1234/`")
}

fn absent(spec: &ProbeSpec) -> Diagnostic {
    let names: Vec<&str> = ROWS.iter().filter(|row| row.provider == spec.provider).map(|row| row.name).collect();
    let wanted = spec.parts.last().map_or("", String::as_str);
    let diagnostic = Diagnostic::error(
        Code::ProbeForm,
        spec.span,
        format!("there is nothing in the place of D's probe `{}`", spec.text),
    )
    .label("not one of those that are translated");
    let diagnostic = match did_you_mean(&near_misses(wanted, names.iter().copied())) {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    };
    let form = if matches!(spec.provider.as_str(), "fbt" | "syscall") { "FUNCTION" } else { "" };
    let forms: Vec<String> = names.iter().map(|name| format!("`{}::{form}:{name}`", spec.provider)).collect();
    diagnostic.help(format!("of {} there are {}", spec.provider, forms.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(text: &str) -> Option<Vec<String>> {
        let found = meanings(&ProbeSpec::parse(text, Span::default()))?;
        Some(found.into_iter().map(|meaning| meaning.spec.text).collect())
    }

    #[test]
    fn each_row_is_written_correctly() {
        for row in ROWS {
            for text in row.values.iter().map(|(_, text)| *text).chain([row.when]).filter(|text| !text.is_empty()) {
                assert!(parse(&format!("END{{_=({text});}}")).diagnostics.is_empty(), "{text}");
                expression(text, Span::default());
            }
        }
        assert!(ROWS.is_sorted_by(|a, b| a.provider <= b.provider));
    }

    #[test]
    fn names_of_four_parts() {
        let one = |text: &str| Some(vec![text.to_string()]);
        assert_eq!(probes("syscall::open*:entry"), one("tracepoint:syscalls:sys_enter_open*"));
        assert_eq!(probes("syscall::read:return"), one("tracepoint:syscalls:sys_exit_read"));
        assert_eq!(probes("syscall:::entry"), one("tracepoint:syscalls:sys_enter_*"));
        assert_eq!(probes("fbt:vmlinux:vfs_read:entry"), one("kprobe:vfs_read"));
        assert_eq!(probes("fbt:nfs:nfs_*:return"), one("kretprobe:nfs:nfs_*"));
        assert_eq!(probes("dtrace:::BEGIN"), one("BEGIN"));
        assert_eq!(probes("syscall::read:").map(|found| found.len()), Some(2));
        assert_eq!(probes("proc:::no-such"), Some(Vec::new()));
        assert_eq!(probes("proc::function:exit"), Some(Vec::new()));
        assert_eq!(probes("tracepoint:sched:sched_switch"), None);
    }

    #[test]
    fn rates() {
        let one = |text: &str| Some(vec![text.to_string()]);
        assert_eq!(probes("profile-99"), one("profile:hz:99"));
        assert_eq!(probes("profile-1ms"), one("profile:1000000"));
        assert_eq!(probes("tick-5s"), one("interval:5000000000"));
        assert_eq!(probes("profile:::tick-2m"), one("interval:120000000000"));
        assert_eq!(probes("tick-10hz"), one("interval:hz:10"));
        assert_eq!(probes("tick-5w"), None);
        assert_eq!(probes("profile:hz:99"), None);
    }
}
