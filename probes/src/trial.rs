//! `test:NAME` and `bench:NAME`: programs that the tool runs itself, where `--test` and `--bench` ask for them.

use std::os::fd::BorrowedFd;

use rtrace_lang::probe::ProbeSpec;
use rtrace_lang::target::{Attach, ProbeSite, ProgramKind, ResolveError, ResolveOptions, Trial};

use crate::listing::ListedProbe;
use crate::machine::Machine;
use crate::provider::{AttachError, Documentation, Link, Provider, empty_layout, is_pattern, wrong_form};

pub static TEST: OnTrial = OnTrial {
    trial: Trial::Test,
    documentation: &Documentation {
        summary: "Runs once with `--test`, and not otherwise. It passes if it returns nothing or 0, and calls neither `errorf()` nor `exit()` with another number.",
        usage: &["test:NAME"],
        example: "macro half(n) { (n) / 2 } test:halves { return half(7) != 3; } BEGIN { print(half(8)); }",
    },
};

pub static BENCH: OnTrial = OnTrial {
    trial: Trial::Bench,
    documentation: &Documentation {
        summary: "Runs many times with `--bench`, and not otherwise: the kernel measures how long it takes on average.",
        usage: &["bench:NAME"],
        example: "bench:counting { @[cpu] = count(); } BEGIN { print(1); }",
    },
};

pub struct OnTrial {
    trial: Trial,
    documentation: &'static Documentation,
}

impl Provider for OnTrial {
    fn name(&self) -> &'static str {
        self.trial.name()
    }

    fn documentation(&self) -> &'static Documentation {
        self.documentation
    }

    fn has_kernel_points(&self) -> bool {
        false
    }

    fn resolve(&self, _: &Machine, spec: &ProbeSpec, _: &ResolveOptions) -> Result<Vec<ProbeSite>, ResolveError> {
        let name = match spec.parts.as_slice() {
            [name] if !name.is_empty() && !is_pattern(name) => name,
            [] => return Err(wrong_form(self, "its name is missing", None)),
            [_] => return Err(wrong_form(self, "a name of its own, no pattern", Some(1))),
            [_, ..] => return Err(wrong_form(self, "too many parts", Some(2))),
        };
        Ok(vec![ProbeSite {
            name: format!("{}:{name}", self.name()).into(),
            function: name.as_str().into(),
            provider: self.name(),
            program: ProgramKind::TestRun,
            layout: empty_layout(),
            selector: None,
            attach: Attach::Trial(self.trial),
        }])
    }

    /// Scripts make them.
    fn list(&self, _: &Machine, _: &[String], _: bool) -> Result<Vec<ListedProbe>, ResolveError> {
        Ok(Vec::new())
    }

    /// There is nothing to attach to.
    fn attach(&self, _: &Machine, _: BorrowedFd<'_>, _: &[(u64, &ProbeSite)]) -> Result<Vec<Link>, AttachError> {
        Ok(Vec::new())
    }
}
