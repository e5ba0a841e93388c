//! What became of `test:` and `bench:` probes as text, in bpftrace's form.

use rtrace_lang::target::Trial;

use crate::event::TrialEvent;

pub fn text(event: &TrialEvent, colour: bool) -> String {
    let painted =
        |number: u8, text: &str| if colour { format!("\x1b[{number}m{text}\x1b[0m") } else { text.to_string() };
    let (green, red) = (|text: &str| painted(32, text), |text: &str| painted(31, text));
    let rule = green("[==========]");
    match event {
        TrialEvent::Started { trial: Trial::Test, count } => format!("{rule} Running {}.\n", tests(*count)),
        TrialEvent::Started { trial: Trial::Bench, count: _ } => {
            format!("{:<41}{:<15}Iterations\n{}\n", "Benchmark", "Time(ns)", "-".repeat(66))
        }
        TrialEvent::Tested { name, nanoseconds, has_passed, output } => {
            let verdict = if *has_passed { green("[       OK ]") } else { red("[  FAILED  ]") };
            let mut output = String::from_utf8_lossy(output).into_owned();
            if !output.is_empty() && !output.ends_with('\n') {
                output.push('\n');
            }
            format!("{} {name}\n{output}{verdict} {name} ({})\n", green("[ RUN      ]"), time(*nanoseconds))
        }
        TrialEvent::Measured { name, nanoseconds, runs } => format!("{name:<40} {nanoseconds:<14} {runs}\n"),
        TrialEvent::Finished { trial: Trial::Bench, .. } => String::new(),
        TrialEvent::Finished { trial: Trial::Test, passed, failed } => {
            let mut out = format!("{rule} {} ran.\n", tests(passed + failed.len()));
            out.push_str(&format!("{} {}.\n", green("[  PASSED  ]"), tests(*passed)));
            if !failed.is_empty() {
                out.push_str(&format!("{} {}, listed below:\n", red("[  FAILED  ]"), tests(failed.len())));
            }
            failed.iter().for_each(|name| out.push_str(&format!("{} {name}\n", red("[  FAILED  ]"))));
            out
        }
    }
}

fn tests(count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} test{plural}")
}

/// In the largest unit of which there are at least ten.
fn time(nanoseconds: u64) -> String {
    match nanoseconds {
        0..10_000 => format!("{nanoseconds} ns"),
        10_000..10_000_000 => format!("{} \u{3bc}s", nanoseconds / 1000),
        _ => format!("{} ms", nanoseconds / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_pass_and_fail() {
        let one = |nanoseconds: u64, has_passed: bool, output: &[u8]| {
            let event = TrialEvent::Tested { name: "a".into(), nanoseconds, has_passed, output: output.to_vec() };
            text(&event, false)
        };
        assert_eq!(one(900, true, b""), "[ RUN      ] a\n[       OK ] a (900 ns)\n");
        assert_eq!(one(12_345, false, b"x"), "[ RUN      ] a\nx\n[  FAILED  ] a (12 \u{3bc}s)\n");
        let end = TrialEvent::Finished { trial: Trial::Test, passed: 1, failed: vec!["b".into(), "c".into()] };
        assert_eq!(
            text(&end, false),
            "[==========] 3 tests ran.\n[  PASSED  ] 1 test.\n[  FAILED  ] 2 tests, listed below:\n[  FAILED  ] b\n[  FAILED  ] c\n"
        );
        let end = TrialEvent::Finished { trial: Trial::Test, passed: 0, failed: Vec::new() };
        assert!(text(&end, true).ends_with("\x1b[32m[  PASSED  ]\x1b[0m 0 tests.\n"));
    }

    #[test]
    fn measurements_are_a_table() {
        let head = text(&TrialEvent::Started { trial: Trial::Bench, count: 1 }, false);
        let row = text(&TrialEvent::Measured { name: "add".into(), nanoseconds: 44, runs: 40_000 }, false);
        let head = head.lines().next().expect("a line");
        assert_eq!(row.find("44"), head.find("Time"));
        assert_eq!(row.find("40000"), head.find("Iterations"));
    }
}
