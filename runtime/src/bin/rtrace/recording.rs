//! Recordings of stacks: whose they are, for how long, where they go. `rtrace profile` and `rtrace flame` are scripts that are made and
//! run here as the command line would, or files that are shown without tracing anything.

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;

use rtrace_runtime::output::flame_graph::Style;
use rtrace_runtime::output::notices;
use rtrace_runtime::output::stack_files::{Form, StackFile};
use rtrace_runtime::output::stacks::StackMap;
use rtrace_runtime::recordings;

use crate::arguments::{self, Arguments, Origin};
use crate::script::{self, fail, print};

/// What is behind the options of each command.
pub const FORMS: &str = "The form of the result follows the file's name:\n  \
    .svg     an interactive flame graph\n  \
    .html    the graph with a search field and a table of functions, in one page\n  \
    .folded  folded stacks, a line each, for other tools\n  \
    .pb.gz   a profile for `go tool pprof` and Pyroscope\n  \
    .txt     a call tree, which is printed where no file is named";

/// Whose stacks, and where they go.
#[derive(Args, Debug)]
pub struct Recording {
    /// Only this process, or thread of the kernel
    #[arg(short, long, value_name = "PID", conflicts_with = "command")]
    pub pid: Option<u32>,

    /// Run a command, and record it until it ends
    #[arg(short, long = "cmd", value_name = "COMMAND")]
    pub command: Option<String>,

    /// Its children, too, those there are and those to come
    #[arg(long)]
    pub children: bool,

    /// How long; until Ctrl-C without it
    #[arg(short, long, value_name = "TIME")]
    pub duration: Option<String>,

    /// Where the result goes
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Show the script and stop
    #[arg(long)]
    pub script: bool,
}

impl Recording {
    /// Of one process.
    pub fn is_of_process(&self) -> bool {
        self.pid.is_some() || self.command.is_some()
    }
}

/// How many rows a map of stacks holds: those of a busy machine in some minutes.
pub const MOST_STACKS: u32 = 65_536;

/// How a script begins whose maps are to hold that many keys.
pub fn holding(keys: u32) -> String {
    format!("config = {{ max_map_keys = {keys} }}\n\n")
}

/// Runs a script that makes one map of stacks, with further words of the command line; gives the exit status.
pub fn run(recording: &Recording, more: &[&str], script: &str, style: Style) -> i32 {
    if recording.script {
        return print(script.as_bytes());
    }
    let output = recording.output.as_deref();
    let form = match form(output) {
        Ok(form) => form,
        Err(status) => return status,
    };
    let mut arguments = match Arguments::read(command_line(recording, more).into_iter()) {
        Ok(arguments) => arguments,
        Err(error) => return arguments::answer(&error),
    };
    if !std::io::stderr().is_terminal() {
        begin(recording, more);
    }
    arguments.stack_file = Some(StackFile { form, style });
    let status = script::run(&arguments, Origin::Text(script));
    if let (0, Some(file)) = (status, output) {
        tell(file);
    }
    status
}

/// Says what is recorded where no line of a terminal shows that. A command is seen to run.
fn begin(recording: &Recording, more: &[&str]) {
    let what = match (recording.pid, &recording.command) {
        (_, Some(_)) => return,
        (Some(pid), None) => format!("process {pid}"),
        (None, None) => match more.windows(2).find(|pair| matches!(pair[0], "--cgroup" | "--container")) {
            Some(pair) => format!("the {} {}", pair[0].trim_start_matches('-'), pair[1]),
            None => "the machine".to_string(),
        },
    };
    let end = match &recording.duration {
        Some(time) => format!("for {time}, or until Ctrl-C"),
        None => "until Ctrl-C".to_string(),
    };
    notices::tell(&format!("Recording {what} {end}\n"));
}

/// The form of a file, or the exit status.
pub fn form(file: Option<&Path>) -> Result<Form, i32> {
    Form::of(file).ok_or_else(|| {
        let mut help = vec!["name it *.svg, *.html, *.folded, *.pb.gz or *.txt".to_string()];
        if file == Some(Path::new("-")) {
            help.push(
                "without -o the call tree is printed, and `rtrace profile --script` is what other forms are made of: \
                `rtrace -f folded -e SCRIPT`"
                    .to_string(),
            );
        }
        fail("the name of the file does not say what is to be written", &help)
    })
}

fn command_line(recording: &Recording, more: &[&str]) -> Vec<String> {
    // The script is given beside the words.
    let mut line = vec!["rtrace".to_string(), "-q".to_string()];
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            line.extend([name.to_string(), value]);
        }
    };
    option("-p", recording.pid.map(|pid| pid.to_string()));
    option("-c", recording.command.clone());
    option("--duration", recording.duration.clone());
    option("-o", recording.output.as_ref().map(|file| file.display().to_string()));
    line.extend(recording.children.then(|| "--children".to_string()));
    line.extend(more.iter().map(|word| word.to_string()));
    line
}

/// Says where the result is. An empty file is no result: nothing was recorded, and that was told.
fn tell(file: &Path) {
    let Ok(metadata) = fs::metadata(file) else { return };
    if metadata.is_file() && metadata.len() == 0 {
        // What remains is an empty file.
        let _ = fs::remove_file(file);
    } else {
        notices::tell(&format!("{}\n", file.display()));
    }
}

/// A map of stacks of a file, or the exit status.
pub fn read(file: &Path, sample: Option<&str>) -> Result<StackMap, i32> {
    let recording = recordings::read(file).map_err(|error| fail(&error.to_string(), &error.help()))?;
    let others = recording.maps.len() - 1;
    match recording.map(sample) {
        Ok(map) => {
            if others > 0 && sample.is_none() {
                let plural = if others == 1 { "" } else { "s" };
                notices::tell(&format!(
                    "{}: showing {}, one of {} kinds of samples; --sample NAME shows the other{plural}\n",
                    file.display(),
                    map.name,
                    others + 1
                ));
            }
            Ok(map)
        }
        Err(names) => {
            let message = format!("{} has no samples called {}", file.display(), sample.unwrap_or_default());
            Err(fail(&message, &[format!("there are: {}", names.join(", "))]))
        }
    }
}

/// Writes bytes where they go; gives the exit status.
pub fn write(bytes: &[u8], output: Option<&Path>) -> i32 {
    let written = match output {
        Some(file) => fs::write(file, bytes).map_err(|error| format!("cannot write {}: {error}", file.display())),
        None => return print(bytes),
    };
    match (written, output) {
        (Err(message), _) => fail(&message, &[]),
        (Ok(()), Some(file)) => {
            tell(file);
            0
        }
        (Ok(()), None) => 0,
    }
}
