//! The command line. Decides nothing beyond what its words mean.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use rtrace_lang::target::Trial;
use rtrace_runtime::output::buffering::Buffering;
use rtrace_runtime::output::stack_files::StackFile;

use crate::script;

/// A tracing language for Linux: scripts become eBPF, and what they collect is printed.
#[derive(Parser, Clone, Debug)]
#[command(
    name = "rtrace",
    version,
    disable_version_flag = true,
    after_help = "Examples:\n  \
        rtrace -e 'BEGIN { printf(\"hi\\n\"); exit(); }'\n  \
        rtrace -e 'tracepoint:syscalls:sys_enter_* { @[probe] = count(); }' -c 'ls /'\n  \
        rtrace -l 'tracepoint:sched:*'\n  \
        rtrace -lv 'struct task_struct'\n  \
        rtrace profile -p 1234 -d 30s -o hot.svg   (see rtrace profile --help)\n  \
        rtrace flame off-cpu -p 1234 -o wait.svg   (flame graphs of five kinds; see rtrace flame --help)\n  \
        rtrace report hot.pb.gz                    (a recording as text; see rtrace report --help)\n  \
        rtrace fmt FILE...                         (scripts in one style; see rtrace fmt --help)\n  \
        rtrace lsp                                 (a language server for editors)\n\n\
        Without FILE and -e, rtrace reads programs at a prompt.\n\
        Exit status: 0, or what exit() was called with; 1 for a mistake in the script or on the command line;\n\
        2 for a machine that cannot do it (a missing privilege or kernel feature, a probe that does not exist)."
)]
pub struct Arguments {
    /// A script file (`-` for standard input), then its parameters $1, $2, ...; with -e only parameters
    #[arg(value_name = "FILE | PARAMETER", allow_hyphen_values = false)]
    pub words: Vec<String>,

    /// The program itself
    #[arg(short = 'e', value_name = "PROGRAM", allow_hyphen_values = true)]
    pub program: Option<String>,

    /// List probes, all or those that match (with -v their arguments); what a script would attach to (a FILE, or -e);
    /// types (`struct path`, with -v their members)
    #[arg(short = 'l', long = "list", value_name = "PATTERN", num_args = 0..=1)]
    pub list: Option<Option<String>>,

    /// Only this process; ends with it
    #[arg(short = 'p', long = "pid", value_name = "PID", conflicts_with = "command")]
    pub pid: Option<u32>,

    /// For dw_ustack: have the unwind tables of this process at hand from its first stack on, not only from its second
    #[arg(long = "dwarf-pid", value_name = "PID")]
    pub dwarf_pids: Vec<u32>,

    /// With -p and -c: its children too, those there are and those to come, and theirs
    #[arg(long)]
    pub children: bool,

    /// Probes of the kernel fire in all tasks: of -p and -c the script looks at $target itself
    #[arg(long)]
    pub all_tasks: bool,

    /// Only the tasks of a cgroup (version 2) and those below it: its directory, or its path below their mount
    #[arg(long, value_name = "PATH", conflicts_with = "container")]
    pub cgroup: Option<PathBuf>,

    /// Only the tasks of a container, by its id or the beginning of it
    #[arg(long, value_name = "ID")]
    pub container: Option<String>,

    /// Run a command, trace it, and end with it
    #[arg(short = 'c', long = "cmd", value_name = "COMMAND")]
    pub command: Option<String>,

    /// Write what the script prints to a file
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Write the maps of stacks as a flame graph to FILE at the end
    #[arg(long, value_name = "FILE")]
    pub flame: Option<PathBuf>,

    /// Serve the maps to Prometheus while the script runs, at http://HOST:PORT/metrics
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,

    /// The form of the output: text, json, csv, folded, pprof, tree or prometheus
    #[arg(short = 'f', long = "format", value_name = "FORMAT", default_value = "text")]
    pub format: String,

    /// When output is written: `line` as it comes, `full` when the buffer is full, `none` each event on its own
    #[arg(short = 'B', value_name = "MODE", value_enum)]
    pub buffering: Option<BufferMode>,

    /// Draw bars with `@` on a terminal, too, whose locale has block characters
    #[arg(long)]
    pub ascii: bool,

    /// Say nothing but what the script prints, and problems
    #[arg(short = 'q', long = "quiet")]
    pub quiet: bool,

    /// Say nothing of what in a script is only likely to be a mistake
    #[arg(long)]
    pub no_warnings: bool,

    /// Say more: programs, their sizes, and the verifier's log of a refused one
    #[arg(short = 'v', long = "verbose")]
    pub verbose: bool,

    /// Compile, and load nothing: takes no privilege
    #[arg(long, conflicts_with_all = ["dry_run", "emit"])]
    pub check: bool,

    /// The form of messages on stderr: text, or json, an object a line for editors
    #[arg(long, value_name = "FORM", value_enum, default_value_t = MessageForm::Text)]
    pub message_format: MessageForm,

    /// Before the script runs, count for a second (or TIME) how often it would print, and warn of what prints too often
    #[arg(long, value_name = "TIME", value_parser = duration, num_args = 0..=1, require_equals = true,
        default_missing_value = "1s", conflicts_with_all = ["command", "check", "emit"])]
    pub check_rate: Option<Duration>,

    /// Write to FILE what a report of a bug needs: versions, the script, its programs, what the kernel says of them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["check", "emit"])]
    pub bug_report: Option<PathBuf>,

    /// Compile and load, do not attach
    #[arg(long)]
    pub dry_run: bool,

    /// Run the `test:` probes of the script, once each, and say which pass
    #[arg(long, conflicts_with_all = ["bench", "mode"])]
    pub test: bool,

    /// Run the `bench:` probes of the script many times, and say how long each takes
    #[arg(long, conflicts_with = "mode")]
    pub bench: bool,

    /// As in bpftrace: `test` and `bench` are --test and --bench, `codegen` is the usual one
    #[arg(long, value_name = "MODE", value_enum, hide = true)]
    pub mode: Option<Mode>,

    /// Only probes whose full names fit this regular expression
    #[arg(long, value_name = "REGEX")]
    pub probe_filter: Option<String>,

    /// Take the functions that kprobes may probe from FILE, in the form of tracefs' available_filter_functions
    #[arg(long, value_name = "FILE")]
    pub traceable_functions: Option<PathBuf>,

    /// Allow what changes the system
    #[arg(long = "unsafe")]
    pub allow_unsafe: bool,

    /// Look for files with debug information in these directories first, by build id, by path and by name
    #[arg(long, value_name = "DIR[:DIR]")]
    pub debuginfo: Option<String>,

    /// Print stages of the compilation and stop: ast, hir, ir, bpf, asm, manifest, or several with commas between, or all;
    /// verifier loads the programs and prints what the kernel's verifier says; elf=FILE writes an object file
    #[arg(long, value_name = "STAGE", alias = "debug", short_alias = 'd')]
    pub emit: Option<String>,

    /// For debugging: go on as if the kernel lacked a feature, such as kprobes, kprobe_multi, uprobe_multi, fentry, or a
    /// helper by its name (loop); may be given several times
    #[arg(long, alias = "no-feature", value_name = "FEATURE", value_delimiter = ',')]
    pub without: Vec<String>,

    /// End after so long: 10s, 500ms, 5m or 1h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,

    /// End when the script has printed so often: each printf(), print() and so on counts one, the maps at the end do not
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// Show what this kernel can do and lacks
    #[arg(long)]
    pub info: bool,

    /// Print the manual page, or the completions of a shell
    #[arg(long, value_name = "WHICH", value_enum)]
    pub manual: Option<Manual>,

    /// End with the status of the command of -c
    #[arg(long)]
    pub propagate_exit: bool,

    /// Explain a code such as R0032
    #[arg(long, value_name = "CODE")]
    pub explain: Option<String>,

    /// What becomes of the map of stacks, instead of the format; of no option here, but of `rtrace profile` and `flame`
    #[arg(skip)]
    pub stack_file: Option<StackFile>,

    /// For tests: an instruction of each program is changed, so that the kernel refuses it
    #[arg(long, hide = true)]
    pub break_program: bool,

    /// As in bpftrace: `rtrace fmt`
    #[arg(long, hide = true)]
    pub fmt: bool,

    /// As in bpftrace, where failed reads and missing keys are only told with it: here they always are
    #[arg(short = 'k', long = "warnings", hide = true, conflicts_with = "no_warnings")]
    _warnings: bool,

    /// As in bpftrace, where it changes nothing either
    #[arg(short = 'b', long = "btf", hide = true)]
    _btf: bool,

    /// As in bpftrace: semaphores of USDT probes are raised for every process in any case
    #[arg(long = "usdt-file-activation", hide = true)]
    _usdt_file_activation: bool,

    /// As in bpftrace, for headers of the kernel: its types are known without them
    #[arg(short = 'I', value_name = "DIR", hide = true)]
    _include_directories: Vec<String>,

    /// Print the version
    #[arg(short = 'V', long = "version", action = clap::ArgAction::Version)]
    version: Option<bool>,
}

/// `-B`
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum BufferMode {
    Line,
    Full,
    None,
}

impl From<BufferMode> for Buffering {
    fn from(mode: BufferMode) -> Buffering {
        match mode {
            BufferMode::Line => Buffering::Line,
            BufferMode::Full => Buffering::Full,
            BufferMode::None => Buffering::None,
        }
    }
}

/// `--message-format`
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum MessageForm {
    Text,
    Json,
}

/// `--mode`
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Mode {
    Codegen,
    Test,
    Bench,
    CompilerBench,
    Format,
}

/// What is made from this definition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Manual {
    Man,
    Bash,
    Zsh,
    Fish,
}

/// `10s`, `500ms`, `5m`, `1h`; a number alone is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let milliseconds = match unit {
        "ms" => 1,
        "s" | "" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("times end with ms, s, m or h: 10s".to_string()),
    };
    let number: u64 = number.parse().map_err(|_| "a time is a whole number and its unit: 10s".to_string())?;
    number
        .checked_mul(milliseconds)
        .filter(|all| (1..=u64::from(u32::MAX) * 1000).contains(all))
        .map(Duration::from_millis)
        .ok_or_else(|| "the time must be more than nothing, and less than 136 years".to_string())
}

/// Where the script comes from.
#[derive(Clone, Copy)]
pub enum Origin<'a> {
    Text(&'a str),
    File(&'a str),
    StandardInput,
}

impl<'a> Origin<'a> {
    pub fn file(self) -> Option<&'a str> {
        if let Origin::File(file) = self { Some(file) } else { None }
    }
}

impl Arguments {
    /// The command line's words. `-lv PATTERN` would be a list of what matches `v`: it means `-l -v PATTERN`.
    pub fn read(words: impl Iterator<Item = String>) -> Result<Arguments, clap::Error> {
        let mut is_file_of_elf = false;
        let separate = |word: String| match word.as_str() {
            _ if std::mem::take(&mut is_file_of_elf) => vec![format!("elf={word}")],
            "-lv" => vec!["-l".to_string(), "-v".to_string()],
            // bpftrace's name.
            "--emit-elf" => {
                is_file_of_elf = true;
                vec!["--emit".to_string()]
            }
            _ => vec![word],
        };
        Arguments::try_parse_from(words.flat_map(separate))
    }

    /// Whether words that may be no command line ask for messages as JSON: their mistakes are told so, too.
    pub fn ask_for_json(words: impl Iterator<Item = String>) -> bool {
        let words: Vec<String> = words.collect();
        words.iter().any(|word| word == "--message-format=json")
            || words.windows(2).any(|pair| pair[0] == "--message-format" && pair[1] == "json")
    }

    /// None: nothing is given, and programs are read at the prompt.
    pub fn origin(&self) -> Option<Origin<'_>> {
        match (&self.program, self.words.first().map(String::as_str)) {
            (Some(text), _) => Some(Origin::Text(text)),
            (None, Some("-")) => Some(Origin::StandardInput),
            (None, Some(file)) => Some(Origin::File(file)),
            (None, None) => None,
        }
    }

    /// Which of the probes are run that wait to be asked for.
    pub fn trial(&self) -> Option<Trial> {
        match self.mode {
            _ if self.test => Some(Trial::Test),
            _ if self.bench => Some(Trial::Bench),
            Some(Mode::Test) => Some(Trial::Test),
            Some(Mode::Bench) => Some(Trial::Bench),
            Some(Mode::Codegen | Mode::CompilerBench | Mode::Format) | None => None,
        }
    }

    /// `$1` and so on.
    pub fn parameters(&self) -> &[String] {
        if self.program.is_some() { &self.words } else { self.words.get(1..).unwrap_or_default() }
    }
}

/// The words of a command of its own, such as `rtrace profile`; of a mistake, or of a request for help, the exit status.
pub fn parsed<Words: Parser>(words: impl Iterator<Item = String>) -> Result<Words, i32> {
    Words::try_parse_from(words).map_err(|error| answer(&error))
}

/// Tells a mistake of the command line on stderr, or prints the help or the version that it asks for; gives the exit status.
pub fn answer(error: &clap::Error) -> i32 {
    let printed = error.print().and_then(|()| std::io::stdout().flush());
    if error.use_stderr() { 1 } else { script::is_written(printed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        for text in ["", "s", "0s", "-1s", "1.5s", "1d", "18446744073709551616", "18446744073709551615h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
