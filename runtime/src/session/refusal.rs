//! What the kernel does not take: programs that the verifier refuses and probes that are not attached to, each with its place
//! in the script, in words for people.

use rtrace_compiler::object::{Object, ProgramObject};
use rtrace_lang::diagnostic::{Code, Diagnostic};
use rtrace_lang::source::Source;
use rtrace_lang::span::Span;
use rtrace_probes::AttachError;
use rtrace_probes::kernel::KernelError;
use rtrace_probes::kernel::privileges::{Lockdown, Privileges};
use rtrace_probes::kernel::system;

use super::SessionError;

/// What the verifier writes, and what it means. The first that is found in its reason counts.
const MEANINGS: &[(&str, &str)] = &[
    ("too large. Processed", "the verifier gives up: there are too many ways through the program"),
    ("jumps is too complex", "the verifier gives up: there are too many branches"),
    ("combined stack size", "the functions that run at once take more stack than the kernel has for a program"),
    ("call stack", "more functions run at once than the kernel allows"),
    ("back-edge", "the kernel allows no loop here"),
    ("infinite loop", "the verifier sees no end of the loop here"),
    ("unknown func", "this kernel lacks a helper function that is called here"),
    ("cannot use helper", "a helper function that is called here is not allowed in probes of this kind"),
    ("program of this type cannot", "what is done here is not allowed in probes of this kind"),
    ("GPL", "a helper function is allowed only to programs under the GPL"),
    ("_or_null", "memory is used here of which the verifier does not see that it is there"),
    ("invalid access to map value", "the verifier cannot see that the access stays in the map's memory"),
    ("invalid access to memory", "the verifier cannot see that the access stays in its memory"),
    ("unbounded memory access", "the verifier knows no upper bound of a length or a place here"),
    ("min value is negative", "the verifier believes that a length or a place may be negative here"),
    ("math between", "a pointer is computed with here in a way that the kernel does not allow"),
    ("pointer arithmetic", "a pointer is computed with here in a way that the kernel does not allow"),
    ("!read_ok", "a register is read here that may never have been written"),
    ("invalid indirect read from stack", "memory of the stack is passed on here that may never have been written"),
    ("invalid read from stack", "memory of the stack is read here that may never have been written"),
    ("invalid bpf_context access", "what the kernel hands to probes of this kind has nothing at that place"),
    ("invalid mem access", "memory is read or written here through something that is no pointer to it"),
    ("Unreleased reference", "something that was reserved is not given back on every way"),
    ("unreachable insn", "the program has instructions that nothing leads to"),
    ("unknown opcode", "this kernel does not know an instruction here"),
    ("expected=", "a helper function is called here with an argument of another kind than it takes"),
];

/// Tells a missing privilege from a bug of ours, and what the verifier said.
pub fn of_program(error: KernelError, object: &Object, program: &ProgramObject) -> SessionError {
    let sites = &object.manifest.hir.sites;
    let probe = program.sites.first().map_or_else(String::new, |site| sites[site.index()].name.to_string());
    match error {
        // The verifier may have taken it, and have said so.
        error if matches!(error.errno(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)) => {
            let span =
                program.sites.first().map_or_else(Span::default, |site| object.manifest.hir.specified[site.index()]);
            no_room(&error, object.programs.len(), &probe, span)
        }
        KernelError::Refused { log, .. } if !log.is_empty() => {
            let said = reason(&log);
            let privileges = Privileges::read();
            let is_locked = privileges.lockdown == Some(Lockdown::Confidentiality) && said.contains("bpf_probe_read");
            let (message, help) = match is_locked {
                true => (
                    format!(
                        "the program of {probe} reads the kernel's memory, which this kernel is locked down against"
                    ),
                    privileges.help(false),
                ),
                false => (
                    format!("the kernel refused the program of {probe}; this is a bug of rtrace, please report it"),
                    vec![
                        "run the same with `--bug-report FILE`, which writes what a report needs into the file"
                            .to_string(),
                    ],
                ),
            };
            let mut diagnostic = Diagnostic::error(Code::Refused, span(&log, program), message)
                .label(meaning(said))
                .help(format!("the verifier says: {said}"));
            diagnostic.help.extend(help);
            let diagnostic = diagnostic.help("its whole log comes with `-v`").on_machine();
            SessionError::Refused { diagnostic: Box::new(diagnostic), log }
        }
        error if matches!(error.errno(), Some(libc::EPERM | libc::EACCES)) => SessionError::Privilege(error),
        error => SessionError::Kernel(error),
    }
}

/// Nothing is wrong with the program: there are too many of them, or too little memory.
fn no_room(error: &KernelError, programs: usize, probe: &str, span: Span) -> SessionError {
    let fewer = "a narrower wildcard, or fewer clauses, take fewer programs".to_string();
    let help = match error.errno() {
        Some(libc::EMFILE) => {
            let limit = system::file_limit();
            vec![format!("raise the limit of open files, which is {limit} (`ulimit -n`)"), fewer]
        }
        Some(libc::ENFILE) => {
            vec!["raise the machine's limit of open files (`sysctl fs.file-max`)".to_string(), fewer]
        }
        _ => vec!["free memory of the kernel's, or of the control group that rtrace is in".to_string(), fewer],
    };
    let mut diagnostic =
        Diagnostic::error(Code::TooManyProbes, span, format!("cannot load the program of {probe}: {error}"))
            .label(format!("the script takes {programs} programs"))
            .on_machine();
    diagnostic.help = help;
    SessionError::NoRoom { diagnostic: Box::new(diagnostic) }
}

/// A probe of the clause that is there could not be attached to.
pub fn of_probe(error: AttachError, clause: Span, source: &Source) -> SessionError {
    // The first line of a clause names its probes, or the first of them.
    let first = source.text_of(clause).lines().next().unwrap_or_default();
    let end = first.find('{').unwrap_or(first.len());
    let probes = first[..end].trim_end().len() as u32;
    let span = Span { start: clause.start, end: clause.start + probes };
    let mut diagnostic =
        Diagnostic::error(Code::AttachFailed, span, error.to_string()).label("named here").on_machine();
    diagnostic.help.clone_from(&error.help);
    SessionError::Attach { diagnostic: Box::new(diagnostic), error }
}

/// The last thing that the verifier says before its counts: why it refused.
fn reason(log: &str) -> &str {
    let is_count = |line: &str| {
        line.is_empty()
            || line.starts_with("processed ")
            || line.starts_with("verification time")
            || line.starts_with("stack depth")
    };
    log.lines().rev().map(str::trim).find(|line| !is_count(line)).unwrap_or("")
}

fn meaning(said: &str) -> &'static str {
    let known = MEANINGS.iter().find(|(words, _)| said.contains(words));
    known.map_or("the verifier does not see that this is safe", |(_, meaning)| *meaning)
}

/// The part of the script that the refused instruction belongs to; all of the clause where the verifier names none.
fn span(log: &str, program: &ProgramObject) -> Span {
    let number = log.lines().rev().find_map(|line| {
        let (number, rest) = line.trim().split_once(':')?;
        if rest.trim_start().starts_with('(') { number.parse::<u32>().ok() } else { None }
    });
    let at = number.and_then(|number| program.lines.iter().rev().find(|(at, _)| *at <= number));
    at.or(program.lines.first()).map_or_else(Span::default, |(_, span)| *span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_what_stands_before_the_counts() {
        let log = "0: (79) r6 = *(u64 *)(r1 +0)\n1: (71) r0 = *(u8 *)(r6 +0)\nR6 invalid mem access 'scalar'\n\
                   processed 2 insns (limit 1000000) max_states_per_insn 0\n";
        assert_eq!(reason(log), "R6 invalid mem access 'scalar'");
        assert!(meaning(reason(log)).contains("no pointer"));
        assert_eq!(meaning("something new"), "the verifier does not see that this is safe");
    }
}
