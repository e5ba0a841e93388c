//! `-l`: which probes there are.

use std::io::{BufWriter, Write};

use rtrace_lang::target::ResolveErrorKind;
use rtrace_probes::{Machine, list};

use crate::script::fail;

/// Lists the probes that match; gives the exit status.
pub fn run(pattern: Option<&str>, verbose: bool, pid: Option<u32>) -> i32 {
    let machine = Machine::new();
    let probes = match list(&machine, pattern, verbose, pid) {
        Ok(probes) => probes,
        Err(error) => {
            fail(&error.message, &error.help);
            return match error.kind {
                ResolveErrorKind::UnknownProvider | ResolveErrorKind::Form => 1,
                ResolveErrorKind::NotFound | ResolveErrorKind::Unsupported | ResolveErrorKind::Privilege => 2,
            };
        }
    };
    if probes.is_empty() {
        fail(&format!("no probe matches `{}`", pattern.unwrap_or("*")), &[]);
        return 2;
    }
    let mut out = BufWriter::new(std::io::stdout());
    for probe in probes {
        // Whoever reads may have seen enough.
        if writeln!(out, "{}", probe.name).is_err() {
            return 0;
        }
        for argument in &probe.arguments {
            let _ = writeln!(out, "    {argument}");
        }
    }
    let _ = out.flush();
    0
}
