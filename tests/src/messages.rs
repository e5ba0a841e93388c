//! Messages as JSON (`--message-format json`): by their schema, and the same as those for people. And programs that the kernel
//! refuses, which are broken on purpose: where that is shown, and the report of it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rtrace_lang::check::moved::RENAMED;
use rtrace_lang::target::fake::FakeTarget;
use rtrace_runtime::driver::Stage;
use rtrace_runtime::output::messages::of_diagnostic;
use serde_json::Value;

use crate::case::{Case, Expected};
use crate::child::{Child, Ended};
use crate::environment::Programs;
use crate::schema::Schema;
use crate::stages;

type Check = fn(&Programs, &Path, &Schema) -> Result<()>;

/// The tests by their names.
pub const ALL: &[(&str, Check)] = &[
    ("command_line", check_command_line),
    ("notices", check_notices),
    ("refused", check_refused),
    ("bug_report", check_bug_report),
    ("moved_members", check_moved_members),
];

/// What the kernel has no part in, and takes over a minute where a processor computes in software.
pub const OUTSIDE_GUESTS: &[(&str, Check)] = &[("mistakes", check_mistakes)];

const PATIENCE: Duration = Duration::from_secs(60);

/// What the described machine says of a case's script: each message is by the schema, and all of them rendered are the
/// expected text.
pub fn check_case(case: &Case, target: &FakeTarget, schema: &Schema) -> Result<()> {
    let (source, driven) = stages::driven(case, target, Stage::Compile);
    let mut rendered = String::new();
    for diagnostic in &driven.diagnostics {
        let message = of_diagnostic(diagnostic, &source);
        schema.check(message.to_string().as_bytes())?;
        let text_of = |file: &str| source.files().find(|(name, ..)| *name == file).map(|(_, _, text)| text);
        check_places(&message, text_of)?;
        rendered.push_str(message["rendered"].as_str().context("no text")?);
    }
    let expected = std::fs::read_to_string(case.expected_path(Expected::Diagnostics))?;
    ensure!(rendered == expected, "rendered they are {rendered}");
    Ok(())
}

/// Each place of a message says what is there, and the message what to do.
fn check_words(message: &Value) -> Result<()> {
    let spans = message["spans"].as_array().context("no list")?;
    let labels = spans.iter().all(|span| span["label"].as_str().is_some_and(|label| !label.is_empty()));
    let help = message["help"].as_array().is_some_and(|help| !help.is_empty());
    ensure!(labels && help, "no label or no help: {message}");
    Ok(())
}

/// Bytes, lines and columns of a message mean the same places, and the first is where its text points.
fn check_places<'a>(message: &Value, text_of: impl Fn(&str) -> Option<&'a str>) -> Result<()> {
    check_words(message)?;
    let spans = message["spans"].as_array().context("no list")?;
    for span in spans {
        let file = span["file"].as_str().context("no file")?;
        let text = text_of(file).with_context(|| format!("there is no file {file}"))?;
        for (offset, line, column) in [("start", "line", "column"), ("end", "end_line", "end_column")] {
            let at = span[offset].as_u64().context("no offset")? as usize;
            let before = text.get(..at).with_context(|| format!("{at} is no place of {file}"))?;
            let start = before.rfind('\n').map_or(0, |newline| newline + 1);
            ensure!(span[line] == before.matches('\n').count() + 1, "{offset} is in another line: {span}");
            ensure!(span[column] == before[start..].chars().count() + 1, "{offset} is in another column: {span}");
        }
    }
    let primary: Vec<&Value> = spans.iter().filter(|span| span["primary"] == true).collect();
    ensure!(primary.len() == 1 && primary[0]["file"] == message["file"], "not one place: {message}");
    let rendered = message["rendered"].as_str().context("no text")?;
    let at = format!("{}:{}:", primary[0]["file"].as_str().unwrap_or_default(), primary[0]["line"]);
    ensure!(rendered.contains(&at), "{at} is not where the text points: {rendered}");
    for word in [&message["code"], &message["title"], &primary[0]["label"]] {
        // A label goes on in the next line where it is long.
        let first = word.as_str().and_then(|text| text.lines().next()).unwrap_or_default();
        ensure!(rendered.contains(first), "{first} is not in the text: {rendered}");
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<Ended> {
    Child::start(command.env("NO_COLOR", "1"), Instant::now() + PATIENCE)?.finish()
}

fn lines(ended: &Ended, schema: &Schema) -> Result<Vec<Value>> {
    schema.check(&ended.errors)?;
    let text = std::str::from_utf8(&ended.errors)?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Every mistaken script, with the machine as it is: lines of JSON that say what the text says.
fn check_mistakes(programs: &Programs, cases: &Path, schema: &Schema) -> Result<()> {
    let directory = cases.join("mistakes");
    let mut count = 0;
    for entry in std::fs::read_dir(&directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "rt") {
            continue;
        }
        count += 1;
        let name = path.file_name().context("a script has a name")?;
        let rtrace = || {
            let mut command = Command::new(&programs.rtrace);
            command.current_dir(&directory).arg("--check");
            command
        };
        let text = run(rtrace().arg(name))?;
        let json = run(rtrace().args(["--message-format", "json"]).arg(name))?;
        ensure!(text.status == json.status, "{name:?}: {} and {}", text.status, json.status);
        let messages = lines(&json, schema).with_context(|| format!("{name:?}"))?;
        messages.iter().try_for_each(check_words).with_context(|| format!("{name:?}"))?;
        let rendered: String = messages.iter().filter_map(|message| message["rendered"].as_str()).collect();
        let text = String::from_utf8_lossy(&text.errors);
        ensure!(rendered == text, "{name:?}: {rendered}\nand\n{text}");
        let has_error = messages.iter().any(|message| message["severity"] == "error");
        ensure!(has_error != json.status.success(), "{name:?} ended with {}, and has {messages:?}", json.status);
    }
    ensure!(count > 100, "only {count} mistaken scripts");
    Ok(())
}

/// Members that kernels renamed: this kernel has at least one of the names, and where a script uses another, it is told that one.
fn check_moved_members(programs: &Programs, _: &Path, schema: &Schema) -> Result<()> {
    let uses: Vec<(&str, &[&str], &str)> =
        RENAMED.iter().flat_map(|(of, places)| places.iter().map(move |place| (*of, *places, *place))).collect();
    // Each has a line of its own.
    let script: String = uses
        .iter()
        .map(|(of, _, place)| format!("BEGIN {{ print(sizeof(((struct {of} *)0)->{place})); }}\n"))
        .collect();
    let messages =
        lines(&run(Command::new(&programs.rtrace).args(["--message-format=json", "--check", "-e", &script]))?, schema)?;
    let told = |at: usize| messages.iter().find(|message| message["spans"][0]["line"] == at + 1);
    for (at, (of, places, place)) in uses.iter().enumerate() {
        let there: Vec<&str> = uses
            .iter()
            .enumerate()
            .filter(|(at, (other, known, _))| other == of && known == places && told(*at).is_none())
            .map(|(_, (.., place))| *place)
            .collect();
        ensure!(!there.is_empty(), "struct {of} has none of {places:?}");
        let first = place.split(['.', '-']).next().unwrap_or_default();
        if let Some(message) = told(at)
            && message["title"] == format!("struct {of} has no field `{first}`")
        {
            let help = message["help"][0].as_str().context("no help")?;
            let name = help.strip_prefix("here it is `").and_then(|names| names.split('`').next());
            // It may be a part of the way: the script goes on with the rest.
            let steps = |place: &str| format!(".{}.", place.replace("->", "."));
            let leads = name.is_some_and(|name| there.iter().any(|place| steps(place).contains(&steps(name))));
            ensure!(leads, "{of}.{place} is told {help}, and {there:?} are there");
        }
    }
    Ok(())
}

/// Mistakes on the command line, in a script of `-e`, and a script that nothing is wrong with.
fn check_command_line(programs: &Programs, _: &Path, schema: &Schema) -> Result<()> {
    let asked = |words: &[&str]| -> Result<(Option<i32>, Vec<Value>)> {
        let ended = run(Command::new(&programs.rtrace).arg("--message-format=json").args(words))?;
        Ok((ended.status.code(), lines(&ended, schema)?))
    };
    for (words, title) in [
        (&["--no-such"][..], "unexpected argument '--no-such' found"),
        (&["--check", "no/such/file.rt"], "cannot read no/such/file.rt: No such file or directory (os error 2)"),
        (&["-f", "xml", "-e", "BEGIN { }"], "there is no format `xml`"),
        (&["--dry-run"], "--message-format takes a script"),
    ] {
        let (status, messages) = asked(words)?;
        let titles: Vec<&Value> = messages.iter().map(|message| &message["title"]).collect();
        ensure!(status == Some(1) && titles == [title], "{words:?}: {status:?}, {messages:?}");
        ensure!(messages[0]["code"].is_null() && messages[0]["severity"] == "error", "{messages:?}");
    }
    let (status, messages) = asked(&["--check", "-e", "BEGIN { $unused = 1; prnt(1); }"])?;
    ensure!(status == Some(1) && messages.len() == 1, "{status:?}, {messages:?}");
    ensure!(messages[0]["code"] == "R0011" && messages[0]["spans"][0]["start"] == 21, "{messages:?}");
    let (status, messages) = asked(&["--check", "-e", "BEGIN { $unused = 1; }"])?;
    ensure!(status == Some(0) && messages.len() == 1 && messages[0]["severity"] == "warning", "{messages:?}");
    let checked =
        run(Command::new(&programs.rtrace).args(["--check", "--format", "json", "-e", "BEGIN { prnt(1); }"]))?;
    let messages = lines(&checked, schema)?;
    ensure!(messages.len() == 1 && messages[0]["code"] == "R0011", "{messages:?}");
    let (status, messages) = asked(&["--check", "-e", "BEGIN { print(1); }"])?;
    ensure!(status == Some(0) && messages.is_empty(), "{status:?}, {messages:?}");
    Ok(())
}

/// What is told while a script runs.
fn check_notices(programs: &Programs, _: &Path, schema: &Schema) -> Result<()> {
    let script = "BEGIN { warnf(\"so %d\", 1); @ = 1 / @zero; @zero = 0; print(2); exit(); }";
    let ended = run(Command::new(&programs.rtrace).args(["--message-format=json", "-f", "csv", "-e", script]))?;
    let messages = lines(&ended, schema)?;
    let all: Vec<(&str, &str)> = messages
        .iter()
        .map(|message| (message["severity"].as_str().unwrap_or(""), message["title"].as_str().unwrap_or("")))
        .collect();
    let expected = [
        ("warning", "so 1"),
        ("output", "2\n"),
        ("note", "Attached 1 probe"),
        ("warning", "division by zero, which gave 0"),
    ];
    ensure!(all == expected, "it told {all:?}");
    ensure!(messages[0]["spans"][0]["column"] == 9, "the place is {:?}", messages[0]["spans"]);
    Ok(())
}

/// A script of which the third line makes calls of helpers; the last of them is what is broken.
const BROKEN: &str = "BEGIN\n{\n    @last[pid] = 5;\n}\n";

fn broken(programs: &Programs, words: &[&str]) -> Result<Ended> {
    let mut command = Command::new(&programs.rtrace);
    run(command.args(["--break-program", "-e", BROKEN]).args(words))
}

/// The kernel really refuses the program: the message has the line of the script, what the verifier means, and the way on.
fn check_refused(programs: &Programs, _: &Path, schema: &Schema) -> Result<()> {
    let ended = broken(programs, &["--dry-run"])?;
    let errors = String::from_utf8_lossy(&ended.errors);
    ensure!(ended.status.code() == Some(2), "it ended with {}: {errors}", ended.status);
    for part in [
        "error[R0042]: the kernel refused the program of begin; this is a bug of rtrace, please report it\n",
        "program:3:",
        "3 │     @last[pid] = 5;\n",
        "a register is read here that may never have been written\n",
        "help: the verifier says: R1 !read_ok\n",
        "help: run the same with `--bug-report FILE`",
    ] {
        ensure!(errors.contains(part), "no {part:?} in {errors}");
    }
    ensure!(!errors.contains("processed "), "the whole log is shown: {errors}");
    let ended = broken(programs, &["--dry-run", "-v"])?;
    ensure!(String::from_utf8_lossy(&ended.errors).contains("processed "), "-v does not show the log");
    let ended = broken(programs, &["--dry-run", "--message-format", "json"])?;
    let messages = lines(&ended, schema)?;
    let [message] = &messages[..] else { anyhow::bail!("not one message: {messages:?}") };
    check_places(message, |_| Some(BROKEN))?;
    ensure!(message["code"] == "R0042" && message["machine"] == true, "it is {message}");
    ensure!(message["spans"][0]["line"] == 3, "it is at {:?}", message["spans"]);
    Ok(())
}

/// The report has what is needed, and nothing of the machine's.
fn check_bug_report(programs: &Programs, _: &Path, _: &Schema) -> Result<()> {
    let path = std::env::temp_dir().join(format!("rtrace-test-report-{}.txt", std::process::id()));
    let file = path.to_str().context("the path is text")?;
    let outcome = (|| {
        let ended = broken(programs, &["--dry-run", "--bug-report", file, "--duration", "7s", "a secret"])?;
        ensure!(ended.status.code() == Some(2), "it ended with {}", ended.status);
        let errors = String::from_utf8_lossy(&ended.errors).into_owned();
        ensure!(
            errors.contains(&format!("Report of a bug: {file}\n")),
            "it does not say where the report is: {errors}"
        );
        let report = std::fs::read_to_string(&path)?;
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        for part in [
            "==== command line\nrtrace --dry-run -f text --duration 7000ms -e ... ...\n",
            &format!("  kernel: {kernel}"),
            "  bpf_loop: ",
            "==== script program\nBEGIN\n{\n    @last[pid] = 5;\n}\n",
            "==== programs\nprogram ",
            "; 3:5 @last[pid] = 5",
            "==== error\n",
            "==== log of the verifier\n",
            "R1 !read_ok",
            "==== exit status\n2\n",
        ] {
            ensure!(report.contains(part), "no {part:?} in {report}");
        }
        ensure!(!report.contains("secret") && !report.contains(file), "it tells too much: {report}");
        // One of a script that runs well: what it prints may be wrong.
        let words = ["--bug-report", file, "-e", "BEGIN { exit(3); }"];
        let ended = run(Command::new(&programs.rtrace).args(words))?;
        let report = std::fs::read_to_string(&path)?;
        ensure!(ended.status.code() == Some(3) && report.contains("==== exit status\n3\n"), "the report is {report}");
        ensure!(!report.contains("==== error"), "the report is {report}");
        let ended = run(Command::new(&programs.rtrace).args(["--bug-report", "/no/such/file", "-e", "BEGIN { }"]))?;
        let errors = String::from_utf8_lossy(&ended.errors);
        ensure!(errors.contains("cannot write /no/such/file"), "it says {errors}");
        Ok(())
    })();
    let _ = std::fs::remove_file(&path);
    outcome
}
