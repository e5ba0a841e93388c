//! `rtrace profile`: where a process, a command or the whole machine spends its time on processors. It is a script of one
//! probe, which is made and run here as the command line would.

use std::path::{Path, PathBuf};

use clap::Parser;

use rtrace_runtime::output::notices;

use crate::arguments::{Arguments, Origin};
use crate::script::{self, fail};

/// Sample what runs on the processors, with kernel and user stacks, and show where the time goes
#[derive(Parser, Debug)]
#[command(
    name = "rtrace profile",
    bin_name = "rtrace profile",
    disable_version_flag = true,
    after_help = "The form of the result follows the file's name:\n  \
        .svg     an interactive flame graph\n  \
        .folded  folded stacks, a line each, for other tools\n  \
        .pb.gz   a profile for `go tool pprof` and Pyroscope\n  \
        .txt     a call tree, which is printed where no file is named\n\n\
        Examples:\n  \
        rtrace profile -p 1234 -d 30s -o hot.svg\n  \
        rtrace profile -c 'make -j8' -o make.svg\n  \
        rtrace profile -d 10s"
)]
struct Words {
    /// Only this process, or thread of the kernel
    #[arg(short, long, value_name = "PID", conflicts_with_all = ["command", "cgroup", "container"])]
    pid: Option<u32>,

    /// Run a command, and sample it until it ends
    #[arg(short, long = "cmd", value_name = "COMMAND", conflicts_with_all = ["cgroup", "container"])]
    command: Option<String>,

    /// Only the tasks of a cgroup (version 2) and those below it
    #[arg(long, value_name = "PATH", conflicts_with = "container")]
    cgroup: Option<String>,

    /// Only the tasks of a container
    #[arg(long, value_name = "ID")]
    container: Option<String>,

    /// How long; until Ctrl-C without it
    #[arg(short, long, value_name = "TIME")]
    duration: Option<String>,

    /// Samples a second on each processor; not in step with what happens every 10 ms
    #[arg(short = 'F', long = "frequency", value_name = "HZ", default_value_t = 99, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    frequency: u32,

    /// Stacks of the kernel alone
    #[arg(long, conflicts_with = "user")]
    kernel: bool,

    /// Stacks of processes alone
    #[arg(long)]
    user: bool,

    /// Stacks of processes by their unwind tables: where they keep no frame pointers; with -p or -c
    #[arg(long, conflicts_with_all = ["kernel", "cgroup", "container"])]
    dwarf: bool,

    /// Where the result goes
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Show the script and stop
    #[arg(long)]
    script: bool,
}

/// Samples and writes the result; gives the exit status.
pub fn run(words: impl Iterator<Item = String>) -> i32 {
    let words = match Words::try_parse_from(words) {
        Ok(words) => words,
        Err(error) => {
            let is_mistake = error.use_stderr();
            let _ = error.print();
            return i32::from(is_mistake);
        }
    };
    let script = script(&words);
    if words.script {
        print!("{script}");
        return 0;
    }
    let Some(form) = form(words.output.as_deref()) else {
        let help = "name it *.svg, *.folded, *.pb.gz or *.txt".to_string();
        return fail("the name of the file does not say what is to be written", &[help]);
    };
    let arguments = match Arguments::read(command_line(&words, &form).into_iter()) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return 1;
        }
    };
    let status = script::run(&arguments, Origin::Text(&script));
    if let (0, Some(file)) = (status, words.output.as_deref().filter(|file| file.exists())) {
        notices::tell(&format!("{}\n", file.display()));
    }
    status
}

/// How the command line says in which form a file is written.
type Form = Vec<String>;

fn form(file: Option<&Path>) -> Option<Form> {
    let Some(file) = file else { return Some(vec!["-f".to_string(), "tree".to_string()]) };
    let name = file.display().to_string();
    let into = |format: &str| vec!["-f".to_string(), format.to_string(), "-o".to_string(), name.clone()];
    match () {
        () if name.ends_with(".svg") => {
            // What is beside the graph is nothing but the map.
            Some(["--flame", &name, "-o", "/dev/null"].map(str::to_string).to_vec())
        }
        () if name.ends_with(".folded") => Some(into("folded")),
        () if name.ends_with(".pb.gz") => Some(into("pprof")),
        () if name.ends_with(".txt") => Some(into("tree")),
        () => None,
    }
}

fn command_line(words: &Words, form: &Form) -> Vec<String> {
    // The script is given beside the words.
    let mut line = vec!["rtrace".to_string(), "-q".to_string()];
    let mut option = |name: &str, value: &Option<String>| {
        if let Some(value) = value {
            line.extend([name.to_string(), value.clone()]);
        }
    };
    option("-p", &words.pid.map(|pid| pid.to_string()));
    option("-c", &words.command);
    option("--cgroup", &words.cgroup);
    option("--container", &words.container);
    option("--duration", &words.duration);
    line.extend(form.iter().cloned());
    line
}

fn script(words: &Words) -> String {
    let user_stack = if words.dwarf { "dw_ustack" } else { "ustack" };
    let stacks = match (words.kernel, words.user) {
        (true, _) => "kstack".to_string(),
        (_, true) => user_stack.to_string(),
        (false, false) => format!("{user_stack}, kstack"),
    };
    // What idles is on no processor.
    let predicate = if words.pid.is_none() && words.command.is_none() { " /pid != 0/" } else { "" };
    format!("profile:hz:{}{predicate} {{ @on_cpu[comm, {stacks}] = count(); }}\n", words.frequency)
}
