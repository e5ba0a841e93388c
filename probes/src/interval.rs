//! `interval`: fires once, not on each processor, at a steady rate. The tool keeps the time and runs the program
//! itself: a slow timer of the kernel's on an idle processor may be late or never fire.

use std::os::fd::BorrowedFd;

use rtrace_lang::probe::ProbeSpec;
use rtrace_lang::target::{Attach, ProbeSite, ProgramKind, ResolveError, ResolveOptions};

use crate::listing::ListedProbe;
use crate::machine::Machine;
use crate::profile::{list_units, parse_rate};
use crate::provider::{AttachError, Documentation, Link, Provider, empty_layout};

pub static INTERVAL: Interval = Interval;

pub struct Interval;

impl Provider for Interval {
    fn name(&self) -> &'static str {
        "interval"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["i"]
    }

    fn documentation(&self) -> &'static Documentation {
        &Documentation {
            summary: "Fires once each interval, for output in between.",
            usage: &["interval:s:COUNT", "interval:ms:COUNT", "interval:us:COUNT", "interval:hz:COUNT", "interval:1s"],
            example: "profile:hz:99 { @ = count(); } interval:s:1 { print(@); clear(@); }",
        }
    }

    fn has_kernel_points(&self) -> bool {
        false
    }

    fn resolve(&self, _: &Machine, spec: &ProbeSpec, _: &ResolveOptions) -> Result<Vec<ProbeSite>, ResolveError> {
        let nanoseconds = parse_rate(self, spec)?.nanoseconds();
        let name = format!("{}:{}", self.name(), spec.parts.join(":"));
        Ok(vec![ProbeSite {
            name: name.into(),
            function: self.name().into(),
            provider: self.name(),
            program: ProgramKind::TestRun,
            layout: empty_layout(),
            selector: None,
            attach: Attach::Timer { nanoseconds },
        }])
    }

    fn list(&self, _: &Machine, _: &[String], _: bool) -> Result<Vec<ListedProbe>, ResolveError> {
        Ok(list_units(self.name()))
    }

    /// There is nothing to attach to.
    fn attach(&self, _: &Machine, _: BorrowedFd<'_>, _: &[(u64, &ProbeSite)]) -> Result<Vec<Link>, AttachError> {
        Ok(Vec::new())
    }
}
