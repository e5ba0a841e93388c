//! `profile`: samples every processor, or one process, at a steady rate. Also reads the rates that `interval` shares.

use std::os::fd::BorrowedFd;

use aya_obj::generated::{perf_sw_ids, perf_type_id};
use rtrace_lang::probe::ProbeSpec;
use rtrace_lang::target::{Attach, ProbeSite, ProgramKind, ResolveError, ResolveErrorKind, ResolveOptions};

use crate::counters;
use crate::listing::ListedProbe;
use crate::machine::Machine;
use crate::provider::{AttachError, Documentation, Link, Provider, empty_layout, wrong_form};

pub static PROFILE: Profile = Profile;

/// The kernel does not sample the CPU clock faster (kernel/events/core.c, `perf_swevent_start_hrtimer`).
const SHORTEST_PERIOD_NS: u64 = 10_000;

pub struct Profile;

impl Provider for Profile {
    fn name(&self) -> &'static str {
        "profile"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["p"]
    }

    fn documentation(&self) -> &'static Documentation {
        &Documentation {
            summary: "Fires on every processor at a rate: the base of profilers.",
            usage: &["profile:hz:COUNT", "profile:s:COUNT", "profile:ms:COUNT", "profile:us:COUNT", "profile:10ms"],
            example: "profile:hz:99 { @[kstack] = count(); }",
        }
    }

    fn has_kernel_points(&self) -> bool {
        false
    }

    fn resolve(&self, _: &Machine, spec: &ProbeSpec, options: &ResolveOptions) -> Result<Vec<ProbeSite>, ResolveError> {
        let rate = parse_rate(self, spec)?;
        let (period, frequency) = match rate {
            Rate::Hertz(count) => (count, true),
            Rate::Nanoseconds(count) => (count, false),
        };
        if rate.nanoseconds() < SHORTEST_PERIOD_NS {
            let mut error = wrong_form(self, "shorter than 10 microseconds", Some(spec.parts.len()));
            error.message = "the processors can't be sampled that often".to_string();
            error.help = vec!["The shortest period is 10 us, the highest rate 100000 Hz.".to_string()];
            if let [number] = &spec.parts[..]
                && number.bytes().all(|byte| byte.is_ascii_digit())
            {
                error.help.push(format!("So many times a second is `{}:hz:{number}`.", self.name()));
            }
            return Err(error);
        }
        let name = format!("{}:{}", self.name(), spec.parts.join(":"));
        Ok(vec![ProbeSite {
            name: name.into(),
            function: self.name().into(),
            provider: self.name(),
            program: ProgramKind::PerfEvent,
            layout: empty_layout(),
            selector: None,
            attach: Attach::PerfEvent {
                kind: perf_type_id::PERF_TYPE_SOFTWARE as u32,
                config: perf_sw_ids::PERF_COUNT_SW_CPU_CLOCK as u64,
                period,
                frequency,
                pid: options.only_pid(),
            },
        }])
    }

    fn list(&self, _: &Machine, _: &[String], _: bool) -> Result<Vec<ListedProbe>, ResolveError> {
        Ok(list_units(self.name()))
    }

    fn attach(
        &self,
        _: &Machine,
        program: BorrowedFd<'_>,
        sites: &[(u64, &ProbeSite)],
    ) -> Result<Vec<Link>, AttachError> {
        counters::attach(program, sites)
    }
}

/// How often a timer fires.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rate {
    Hertz(u64),
    Nanoseconds(u64),
}

impl Rate {
    /// The period, at least 1.
    pub(crate) fn nanoseconds(self) -> u64 {
        match self {
            Rate::Hertz(count) => (1_000_000_000 / count).max(1),
            Rate::Nanoseconds(count) => count,
        }
    }
}

const UNITS: [&str; 8] = ["hz", "s", "ms", "us", "ns", "m", "h", "d"];
/// Those that are listed.
const USUAL: [&str; 4] = ["hz", "s", "ms", "us"];

/// Reads `hz:99`, `ms:10`, `10ms`, `99hz` and the bare number of nanoseconds.
pub(crate) fn parse_rate(provider: &dyn Provider, spec: &ProbeSpec) -> Result<Rate, ResolveError> {
    let (unit, count, at) = match spec.parts.as_slice() {
        [] => return Err(wrong_form(provider, "a rate is missing", None)),
        [both] => {
            let split = both.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(both.len());
            let (count, unit) = both.split_at(split);
            if count.is_empty() {
                return Err(wrong_form(provider, "a count is missing", Some(1)));
            }
            (if unit.is_empty() { "ns" } else { unit }, count, 1)
        }
        [unit, count] => (unit.as_str(), count.as_str(), 2),
        [_, _, ..] => return Err(wrong_form(provider, "too many parts", Some(3))),
    };
    let number: Option<u64> = count.replace('_', "").parse().ok();
    let Some(number) = number.filter(|number| *number > 0) else {
        return Err(wrong_form(provider, "no whole number above zero", Some(at)));
    };
    let scale = match unit.to_ascii_lowercase().as_str() {
        "hz" if number <= 1_000_000_000 => return Ok(Rate::Hertz(number)),
        "d" => 86_400_000_000_000,
        "h" => 3_600_000_000_000,
        "m" => 60_000_000_000,
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" => 1_000,
        "ns" => 1,
        unit => {
            let label = if unit == "hz" { "more than 1000000000" } else { "no unit of time" };
            let mut error = wrong_form(provider, label, Some(1));
            error.help.push(format!("Units are {}.", UNITS.join(", ")));
            return Err(error);
        }
    };
    // A period beyond what fits 63 bits (292 years) never comes.
    number.checked_mul(scale).filter(|period| i64::try_from(*period).is_ok()).map(Rate::Nanoseconds).ok_or_else(|| {
        ResolveError {
            kind: ResolveErrorKind::Form,
            message: format!("{} can't wait that long", provider.name()),
            label: "too long".to_string(),
            help: vec!["The longest is 292 years.".to_string()],
            part: Some(at),
        }
    })
}

pub(crate) fn list_units(provider: &str) -> Vec<ListedProbe> {
    let named = |unit: &&str| ListedProbe { name: format!("{provider}:{unit}:"), arguments: Vec::new() };
    USUAL.iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtrace_lang::span::Span;

    fn rate(text: &str) -> Option<Rate> {
        parse_rate(&PROFILE, &ProbeSpec::parse(text, Span::default())).ok()
    }

    #[test]
    fn rates_in_all_forms() {
        assert_eq!(rate("profile:hz:99"), Some(Rate::Hertz(99)));
        assert_eq!(rate("profile:99hz"), Some(Rate::Hertz(99)));
        assert_eq!(rate("p:ms:10"), Some(Rate::Nanoseconds(10_000_000)));
        assert_eq!(rate("p:1s"), Some(Rate::Nanoseconds(1_000_000_000)));
        assert_eq!(rate("p:1_000_000"), Some(Rate::Nanoseconds(1_000_000)));
        assert_eq!(rate("p:2m"), Some(Rate::Nanoseconds(120_000_000_000)));
        for wrong in ["p", "p:hz", "p:hz:0", "p:hz:1:2", "p:5w", "p:s:99999999999", "p:hz:x", "p:"] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn follows_the_process() {
        let spec = ProbeSpec::parse("profile:hz:99", Span::default());
        let options = ResolveOptions { pid: Some(7), ..ResolveOptions::default() };
        let sites = PROFILE.resolve(&Machine::new(), &spec, &options).unwrap();
        let wanted = Attach::PerfEvent { kind: 1, config: 0, period: 99, frequency: true, pid: Some(7) };
        assert_eq!((sites.len(), &*sites[0].name, &sites[0].attach), (1, "profile:hz:99", &wanted));
    }
}
