//! Every kind of mistake in the table of codes has a script that makes it: the row's own example, which must show what
//! it promises, or a case. A row that no script reaches is a failure.

use std::fs;
use std::sync::Arc;

use anyhow::{Result, bail};
use rtrace_lang::check::CheckOptions;
use rtrace_lang::diagnostic::Code;
use rtrace_lang::source::Source;
use rtrace_lang::target::Feature;
use rtrace_lang::target::fake::FakeTarget;
use rtrace_runtime::driver::{Stage, drive};

use crate::case::{Case, Expected};
use crate::plan::Test;

/// Codes that need a machine no test has, each with the reason.
const UNREACHABLE: &[(Code, &str)] = &[
    (Code::Privilege, "tests run with all privileges, and the described machine has none to miss"),
    (Code::Refused, "the kernel takes all programs: `messages::refused` breaks one"),
    (Code::PrintsOften, "it is counted: `rates::warned` has it"),
];

/// A test for each code.
pub fn tests(cases: &[Case], target: &Arc<FakeTarget>) -> Result<Vec<Test>> {
    let mut said = String::new();
    for case in cases {
        for kind in [Expected::Diagnostics, Expected::Errors] {
            if case.expects(kind) {
                said.push_str(&fs::read_to_string(case.expected_path(kind))?);
            }
        }
    }
    let tests = Code::ALL.iter().map(|code| {
        let has_case = said.contains(&format!("[{}]", code.name()));
        let target = target.clone();
        Test::pure(format!("codes::{}", code.name()), move || check(*code, has_case, &target))
    });
    Ok(tests.collect())
}

fn check(code: Code, has_case: bool, target: &FakeTarget) -> Result<()> {
    if !code.example().is_empty() && !shows(code, target) {
        bail!("the example of {} is not refused with it: {}", code.name(), code.example());
    }
    let excuse = UNREACHABLE.iter().find(|(known, _)| *known == code);
    match (has_case || !code.example().is_empty(), excuse) {
        (false, None) => bail!("no case and no example makes the mistake {} ({})", code.name(), code.title()),
        (true, Some(_)) => bail!("{} is reached now: take it off the list of those that are not", code.name()),
        (true, None) | (false, Some(_)) => Ok(()),
    }
}

/// Whether the row's example is answered with the code, on the described machine or on one that lacks kprobes.
fn shows(code: Code, target: &FakeTarget) -> bool {
    let without = target.clone().with_feature(Feature::Kprobes, false);
    [target, &without].iter().any(|target| {
        let driven =
            drive(&mut Source::new("example", code.example()), *target, &CheckOptions::default(), Stage::Compile);
        driven.diagnostics.iter().any(|diagnostic| diagnostic.code == code)
    })
}
