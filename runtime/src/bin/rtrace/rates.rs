//! `--check-rate`: the script runs for a moment with its output counted and not sent, and what would print more often than
//! anybody can read is warned of.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rtrace_lang::diagnostic::{Code, Diagnostic};
use rtrace_lang::hir::{Hir, StmtKind, for_each_statement};
use rtrace_lang::limits::MOST_PRINTS_A_SECOND;
use rtrace_lang::target::ProgramKind;
use rtrace_runtime::driver::counting;
use rtrace_runtime::event::Event;
use rtrace_runtime::output::{Sink, notices};
use rtrace_runtime::session::{Session, SessionError, SessionOptions};

use crate::bug_report::BugReport;
use crate::script::{Prepared, fail, report, session_error};

/// Warns of what prints too often. Gives the exit status where nothing is left to run: a mistake, or Ctrl-C.
pub fn check(prepared: &Prepared, period: Duration, bug: &mut BugReport) -> Result<(), i32> {
    let hir = &prepared.object.manifest.hir;
    let firing = records_of_events(hir);
    if firing.is_empty() {
        return Ok(());
    }
    if hir.uses().changes_processes {
        let help = "it would change what processes do twice: take out `--check-rate`, or what changes them".to_string();
        return Err(fail("--check-rate runs the script once more before it runs", &[help]));
    }
    let source = &prepared.options.source;
    let compiled = counting(hir.clone(), &prepared.machine).map_err(|diagnostics| {
        report(&diagnostics, source);
        1
    })?;
    let options = SessionOptions {
        quiet: false,
        progress: false,
        recording: None,
        is_last: false,
        duration: Some(period),
        count: None,
        ..prepared.options.clone()
    };
    let failed = |error: SessionError, bug: &mut BugReport| {
        bug.note_error(&error);
        session_error(&error, source, prepared.options.verbose)
    };
    let mut session = Session::load(&prepared.machine, compiled.object, options).map_err(|error| failed(error, bug))?;
    let mut span = Attached::default();
    session.run(None, &mut span).map_err(|error| failed(error, bug))?;
    let lasted = span.lasted();
    if lasted < period && !session.exit_called() {
        // The process that is followed has ended, or somebody wants an end.
        return Err(0);
    }
    if lasted < period {
        // What it prints till then is all that it ever prints.
        if !prepared.options.quiet {
            notices::tell(&format!("Checked: it ends itself after {lasted:.3?}\n"));
        }
        return Ok(());
    }
    let seconds = lasted.as_secs_f64();
    let mut warnings = Vec::new();
    let mut all = 0;
    for (number, count) in session.counts_of_records().into_iter().enumerate() {
        if !firing.contains(&number) {
            continue;
        }
        let rate = (count as f64 / seconds).round() as u64;
        all += rate;
        if rate > MOST_PRINTS_A_SECOND {
            warnings.push(warning(hir, number, rate));
        }
    }
    warnings.sort_by_key(|warning| warning.span.start);
    report(&warnings, source);
    if !prepared.options.quiet {
        let plural = if all == 1 { "" } else { "s" };
        notices::tell(&format!("Checked for {period:?}: it prints {} time{plural} a second\n", grouped(all)));
    }
    Ok(())
}

/// The records of what is printed whenever a probe fires, not once or by a timer of the tool.
fn records_of_events(hir: &Hir) -> HashSet<usize> {
    let mut records = HashSet::new();
    for program in hir.programs.iter().filter(|program| program.kind != ProgramKind::TestRun) {
        for body in program.bodies() {
            for_each_statement(body, &mut |statement| {
                if let StmtKind::Emit { record, .. } = &statement.kind
                    && hir.records[record.index()].kind.is_output()
                {
                    records.insert(record.index());
                }
            });
        }
    }
    records
}

fn warning(hir: &Hir, record: usize, rate: u64) -> Diagnostic {
    let message = format!("this would print {} times a second", grouped(rate));
    Diagnostic::warning(Code::PrintsOften, hir.records[record].span, message)
        .label(format!("more than {} times", grouped(MOST_PRINTS_A_SECOND)))
        .help("count in a map, which is printed at the end: `@[comm] = count();`")
        .help("or choose events by a predicate, or print one of many: `if (@n++ % 1000 == 0) { ... }`")
}

/// With a comma for each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Notes how long everything was attached, and drops the rest.
#[derive(Default)]
struct Attached {
    from: Option<Instant>,
    to: Option<Instant>,
}

impl Attached {
    fn lasted(&self) -> Duration {
        self.from.zip(self.to).map_or(Duration::ZERO, |(from, to)| to - from)
    }
}

impl Sink for Attached {
    fn event(&mut self, event: &Event) -> std::io::Result<()> {
        match event {
            Event::Attached(_) => self.from = Some(Instant::now()),
            Event::Ending => self.to = Some(Instant::now()),
            Event::Text { .. }
            | Event::Value(_)
            | Event::Map(_)
            | Event::Cleared(_)
            | Event::Trials(_)
            | Event::Message { .. }
            | Event::Lost { .. }
            | Event::Problem { .. } => {}
        }
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        let shown: Vec<String> = [0, 999, 1000, 123_456, 1_234_567].map(grouped).into();
        assert_eq!(shown, ["0", "999", "1,000", "123,456", "1,234,567"]);
    }
}
