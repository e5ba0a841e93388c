//! `--bug-report FILE`: all that somebody needs who has not the machine. What may be a secret of the machine's is left out but
//! for the script itself, which the first lines say.

use std::fmt::Write as _;
use std::path::PathBuf;

use rtrace_compiler::object::Object;
use rtrace_runtime::output::notices;
use rtrace_runtime::session::SessionError;

use crate::arguments::Arguments;
use crate::script::{Prepared, fail};
use crate::{emit, info};

/// A report that is written when the script is over; nothing where none is wanted.
pub struct BugReport(Option<Begun>);

struct Begun {
    path: PathBuf,
    /// What is known before the kernel is asked.
    text: String,
    errors: String,
}

impl BugReport {
    /// Makes the file, so that it is known at once if that is not possible.
    pub fn begun(arguments: &Arguments, prepared: &Prepared) -> Result<BugReport, i32> {
        let Some(path) = &arguments.bug_report else { return Ok(BugReport(None)) };
        if let Err(error) = std::fs::File::create(path) {
            return Err(fail(&format!("cannot write {}: {error}", path.display()), &[]));
        }
        let source = &prepared.options.source;
        let mut text = "A report of rtrace. It holds the script and what its programs look like; of the command line it leaves out\n\
                        commands, numbers of processes, names of files and parameters. Read it before you send it.\n"
            .to_string();
        let mut part = |title: &str, body: &str| _ = write!(text, "\n==== {title}\n{}\n", body.trim_end());
        part("command line", &command_line(arguments));
        part("machine", &info::report(&prepared.machine));
        for (name, _, body) in source.files() {
            part(&format!("script {name}"), body);
        }
        part("programs", &emit::assembly(&prepared.object, source));
        Ok(BugReport(Some(Begun { path: path.clone(), text, errors: String::new() })))
    }

    pub fn note_error(&mut self, error: &SessionError) {
        let Some(begun) = &mut self.0 else { return };
        let _ = write!(begun.errors, "\n==== error\n{error}\n");
        for help in error.help() {
            let _ = writeln!(begun.errors, "  {help}");
        }
        if let SessionError::Refused { log, .. } = error {
            let _ = write!(begun.errors, "\n==== log of the verifier\n{}\n", log.trim_end());
        }
    }

    /// Writes it, and tells where.
    pub fn finish(self, status: i32) {
        let Some(Begun { path, text, errors }) = self.0 else { return };
        match std::fs::write(&path, format!("{text}{errors}\n==== exit status\n{status}\n")) {
            Ok(()) => notices::tell(&format!("Report of a bug: {}\n", path.display())),
            Err(error) => _ = fail(&format!("cannot write {}: {error}", path.display()), &[]),
        }
    }
}

/// The options, with dots for what they are given: it is named, and what it says stays here.
fn command_line(arguments: &Arguments) -> String {
    let given = [
        ("-p ...", arguments.pid.is_some()),
        ("-c ...", arguments.command.is_some()),
        ("--children", arguments.children),
        ("--all-tasks", arguments.all_tasks),
        ("--cgroup ...", arguments.cgroup.is_some()),
        ("--container ...", arguments.container.is_some()),
        ("-o ...", arguments.output.is_some()),
        ("--flame ...", arguments.flame.is_some()),
        ("--listen ...", arguments.listen.is_some()),
        ("-v", arguments.verbose),
        ("-q", arguments.quiet),
        ("--unsafe", arguments.allow_unsafe),
        ("--dry-run", arguments.dry_run),
    ];
    let mut words: Vec<String> = vec!["rtrace".to_string()];
    words.extend(given.iter().filter(|(_, is_given)| *is_given).map(|(word, _)| word.to_string()));
    words.extend(arguments.without.iter().map(|feature| format!("--without {feature}")));
    words.push(format!("-f {}", arguments.format));
    words.extend(arguments.duration.map(|time| format!("--duration {}ms", time.as_millis())));
    words.extend(arguments.count.map(|count| format!("--count {count}")));
    words.push(if arguments.program.is_some() { "-e ..." } else { "FILE" }.to_string());
    words.extend(arguments.parameters().iter().map(|_| "...".to_string()));
    words.join(" ")
}

/// Changes the instruction behind the last call of each program: it reads a register that no call leaves readable, which
/// every kernel refuses.
pub fn break_programs(object: &mut Object) {
    const CALL: u64 = 0x85;
    /// The first of two that belong together.
    const LOAD_WIDE: u64 = 0x18;
    /// r0 = r1
    const READ: u64 = 0x10bf;
    for program in &mut object.programs {
        let opcodes: Vec<u64> = program.instructions.iter().map(|instruction| instruction & 0xff).collect();
        let last = opcodes.windows(2).rposition(|pair| pair[0] == CALL && pair[1] != LOAD_WIDE);
        if let Some(last) = last {
            program.instructions[last + 1] = READ;
        }
    }
}
