//! `cargo xtask compare`: scripts of our own, run by rtrace and by bpftrace on this machine, whose output must be the same:
//! as text, as JSON, and as text on a terminal with the script on standard input. Where it differs, a file beside the
//! script says why, and has the difference. It compares what is printed; what goes to standard error is each program's own.

mod difference;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::bpftrace;
use crate::process;
use crate::workloads;
use crate::workspace;

/// Where the scripts are, below the root of the checkout.
const DIRECTORY: &str = "tests/compare";

/// What a script may take, in seconds.
const PATIENCE: &str = "60";

#[derive(Args)]
pub struct CompareArguments {
    /// Only scripts whose name contains TEXT; may be given several times
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,

    /// Compare with this program instead of fetching bpftrace
    #[arg(long, value_name = "PATH")]
    peer: Option<PathBuf>,

    /// Write the differences that there are into the files, below the reasons that stand there
    #[arg(long)]
    update: bool,
}

/// A way of running a script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Text,
    Json,
    /// Text on a terminal, the script on standard input.
    Terminal,
}

impl Form {
    const ALL: [Form; 3] = [Form::Text, Form::Json, Form::Terminal];

    fn name(self) -> &'static str {
        match self {
            Form::Text => "text",
            Form::Json => "json",
            Form::Terminal => "terminal",
        }
    }
}

/// A script, and how it is run: lines of its beginning such as `// command: calls 3`.
struct Script {
    path: PathBuf,
    name: String,
    text: String,
}

impl Script {
    fn read(path: PathBuf, workload: &Path) -> Result<Script> {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Script { path, name, text: text.replace("WORKLOAD", &workload.to_string_lossy()) })
    }

    fn directive(&self, name: &str) -> Option<&str> {
        let start = format!("// {name}");
        let rest = self.text.lines().find_map(|line| line.strip_prefix(start.as_str()))?;
        Some(rest.strip_prefix(": ").unwrap_or(rest))
    }

    /// The lines that the program prints, and its exit status as the last.
    fn lines(&self, program: &Path, form: Form, workload: &Path) -> Result<Vec<String>> {
        let file = workspace::target().join("compare").join(format!("{}.rt", self.name));
        fs::write(&file, &self.text).with_context(|| format!("cannot write {}", file.display()))?;
        let mut words: Vec<String> = vec![program.to_string_lossy().into_owned()];
        words.extend(self.directive("flags").iter().flat_map(|flags| flags.split(' ')).map(str::to_string));
        if let Some(command) = self.directive("command") {
            words.extend(["-c".to_string(), format!("{} {command}", workload.display())]);
        }
        let arguments = self.directive("arguments").iter().flat_map(|all| all.split(' ')).map(str::to_string).collect();
        let output = match form {
            Form::Text | Form::Json => {
                words.extend(["-f".to_string(), form.name().to_string(), file.to_string_lossy().into_owned()]);
                run(&[words, arguments].concat())?
            }
            Form::Terminal => {
                words.push("-".to_string());
                let quoted: Vec<String> = [words, arguments]
                    .concat()
                    .iter()
                    .map(|word| format!("'{}'", word.replace('\'', "'\\''")))
                    .collect();
                // Of another locale only rtrace makes use: its bars are blocks then.
                let line = format!("LC_ALL=C {} < '{}' 2> /dev/null", quoted.join(" "), file.display());
                run(&["script", "-q", "-e", "-c", &line, "/dev/null"].map(str::to_string))?
            }
        };
        let text = String::from_utf8_lossy(&output.0).replace("\r\n", "\n");
        let text = text.replace(&*workload.to_string_lossy(), "WORKLOAD");
        let mut lines: Vec<String> = match form {
            Form::Text | Form::Terminal => text.split('\n').map(str::to_string).collect(),
            Form::Json => {
                text.lines().filter(|line| !line.contains("\"attached_probes\"")).map(str::to_string).collect()
            }
        };
        if self.directive("sort").is_some() {
            if form == Form::Json {
                let parts = lines.iter().flat_map(|line| line.split([',', '{', '}']));
                lines = parts.map(|part| part.trim().to_string()).collect();
            }
            lines.sort();
        }
        lines.push(format!("exit status {}", output.1));
        Ok(lines)
    }
}

/// Runs a program; gives what it printed and its exit status.
fn run(words: &[String]) -> Result<(Vec<u8>, i32)> {
    let mut command = Command::new("timeout");
    command.arg(PATIENCE).args(words).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("cannot run {}", process::describe(&command)))?;
    Ok((output.stdout, output.status.code().unwrap_or(-1)))
}

pub fn main(arguments: &CompareArguments) -> Result<()> {
    process::show(
        process::command(workspace::cargo(), ["build", "--package", "rtrace-runtime"]).current_dir(workspace::root()),
    )?;
    let rtrace = workspace::target().join("debug/rtrace");
    let peer = match &arguments.peer {
        Some(path) => path.clone(),
        None => bpftrace::fetch()?.into_iter().next().context("bpftrace is not to be had")?,
    };
    workloads::build()?;
    let workload = workloads::directory().join("workload");
    workspace::create_directory(&workspace::target().join("compare"))?;
    let (mut same, mut explained, mut wrong) = (0, 0, Vec::new());
    for path in scripts(&arguments.only)? {
        let script = Script::read(path, &workload)?;
        let found = differences(&script, &rtrace, &peer, &workload)?;
        let noted = difference::read(&script.path)?;
        if arguments.update && found != noted.difference {
            difference::write(&script.path, &noted.reason, &found)?;
        }
        let is_explained = !noted.reason.is_empty() && (arguments.update || found == noted.difference);
        match (found.is_empty(), is_explained) {
            (true, _) if noted.difference.is_empty() || arguments.update => same += 1,
            (false, true) => {
                explained += 1;
                println!("{}: {}", script.name, noted.reason);
            }
            (true | false, _) => {
                println!("{}: NOT EXPECTED\n{found}", script.name);
                wrong.push(script.name);
            }
        }
    }
    println!("{same} scripts print the same, {explained} differ as expected, {} otherwise", wrong.len());
    if wrong.is_empty() { Ok(()) } else { bail!("{} print what was not expected", wrong.join(", ")) }
}

/// What differs, each form under its name; a terminal only where it shows other differences than a file.
fn differences(script: &Script, rtrace: &Path, peer: &Path, workload: &Path) -> Result<String> {
    let mut all = String::new();
    let mut in_file = String::new();
    for form in Form::ALL {
        let found = difference::between(&script.lines(rtrace, form, workload)?, &script.lines(peer, form, workload)?);
        let is_told = form == Form::Terminal && found == in_file;
        if !found.is_empty() && !is_told {
            all.push_str(&format!("[{}]\n{found}", form.name()));
        }
        if form == Form::Text {
            in_file = found;
        }
    }
    Ok(all)
}

fn scripts(only: &[String]) -> Result<Vec<PathBuf>> {
    let directory = workspace::root().join(DIRECTORY);
    let mut paths: Vec<PathBuf> = fs::read_dir(&directory)
        .with_context(|| format!("cannot list {}", directory.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rt"))
        .filter(|path| only.is_empty() || only.iter().any(|text| path.to_string_lossy().contains(text.as_str())))
        .collect();
    paths.sort();
    if paths.is_empty() {
        bail!("no script has such a name");
    }
    Ok(paths)
}
