//! `self:signal:NAME`: the tool itself has received a signal. The tool runs the program, so that a script can be told
//! from outside to print, to clear or to start counting.

use std::os::fd::BorrowedFd;

use rtrace_lang::names;
use rtrace_lang::probe::ProbeSpec;
use rtrace_lang::target::{Attach, ProbeSite, ProgramKind, ResolveError, ResolveErrorKind, ResolveOptions};

use crate::listing::ListedProbe;
use crate::machine::Machine;
use crate::nearest::near_misses;
use crate::provider::{AttachError, Documentation, Link, Provider, empty_layout, not_found, wrong_form};

pub static SELF: OwnSignal = OwnSignal;

pub struct OwnSignal;

impl Provider for OwnSignal {
    fn name(&self) -> &'static str {
        "self"
    }

    fn documentation(&self) -> &'static Documentation {
        &Documentation {
            summary: "Fires when rtrace itself receives the signal: `kill -USR1` of its pid makes a script print, say.",
            usage: &["self:signal:SIGUSR1"],
            example: "profile:hz:99 { @[comm] = count(); } self:signal:SIGUSR1 { print(@); clear(@); }",
        }
    }

    fn has_kernel_points(&self) -> bool {
        false
    }

    fn resolve(&self, _: &Machine, spec: &ProbeSpec, _: &ResolveOptions) -> Result<Vec<ProbeSite>, ResolveError> {
        let name = match spec.parts.as_slice() {
            [kind, name] if kind == "signal" && !name.is_empty() => name.as_str(),
            [] => return Err(wrong_form(self, "which signal is missing", None)),
            [kind] | [kind, _] if kind == "signal" => {
                return Err(wrong_form(self, "the name of the signal is missing", Some(1)));
            }
            [_, _, _, ..] => return Err(wrong_form(self, "too many parts", Some(3))),
            [_, ..] => return Err(wrong_form(self, "not `signal`", Some(1))),
        };
        let Some(number) = number(name) else {
            let upper = name.to_ascii_uppercase();
            let near = near_misses(&upper, (1..=names::SIGNALS).filter_map(names::signal_name), 3);
            return Err(ResolveError {
                kind: ResolveErrorKind::Form,
                label: "no such signal".to_string(),
                ..not_found(format!("there is no signal `{name}`"), &near, Some(2))
            });
        };
        if let Some(reason) = reserved(number) {
            let mut error = wrong_form(self, reason, Some(2));
            error.message = format!("no clause can run for `{name}`");
            error.help = vec!["Programs are free to use SIGUSR1 and SIGUSR2.".to_string()];
            return Err(error);
        }
        let name = names::signal_name(number.into()).unwrap_or(name);
        Ok(vec![ProbeSite {
            name: format!("{}:signal:{name}", self.name()).into(),
            function: name.into(),
            provider: self.name(),
            program: ProgramKind::TestRun,
            layout: empty_layout(),
            selector: None,
            attach: Attach::Signal { number },
        }])
    }

    fn list(&self, _: &Machine, _: &[String], _: bool) -> Result<Vec<ListedProbe>, ResolveError> {
        let free = (1..=names::SIGNALS).filter(|number| reserved(*number as i32).is_none());
        let name = |name| ListedProbe { name: format!("{}:signal:{name}", self.name()), arguments: Vec::new() };
        Ok(free.filter_map(names::signal_name).map(name).collect())
    }

    /// There is nothing to attach to.
    fn attach(&self, _: &Machine, _: BorrowedFd<'_>, _: &[(u64, &ProbeSite)]) -> Result<Vec<Link>, AttachError> {
        Ok(Vec::new())
    }
}

/// `SIGUSR1`, and as kill(1) takes it `USR1`; in any case of letters.
fn number(name: &str) -> Option<i32> {
    let upper = name.to_ascii_uppercase();
    let wanted = upper.strip_prefix("SIG").unwrap_or(&upper);
    (1..=names::SIGNALS)
        .find(|number| names::signal_name(*number).and_then(|known| known.strip_prefix("SIG")) == Some(wanted))
        .map(|number| number as i32)
}

/// Why a signal cannot be waited for.
fn reserved(number: i32) -> Option<&'static str> {
    match number {
        libc::SIGKILL | libc::SIGSTOP => Some("the kernel delivers it to no program"),
        libc::SIGINT | libc::SIGTERM => Some("it ends rtrace, and END runs"),
        libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL | libc::SIGTRAP => {
            Some("it is what a fault of rtrace's own would send")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name() {
        assert_eq!(number("SIGUSR1"), Some(libc::SIGUSR1));
        assert_eq!(number("usr2"), Some(libc::SIGUSR2));
        assert_eq!(number("SIGNOT"), None);
    }
}
