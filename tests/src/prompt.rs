//! The prompt: a dialogue through pipes, and a real terminal whose screen is read.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::environment::Programs;
use crate::terminal::Terminal;

/// Lines and columns of the terminal.
const SIZE: (u16, u16) = (50, 120);

/// Lines that are typed, and what is in the output behind that of the line before.
const DIALOGUE: &[(&str, &[&str])] = &[
    ("1 << 20", &["1048576\n"]),
    ("sizeof(struct task_struct) > 1000", &["true\n"]),
    ("interval:ms:10 { @ = count(); @k[1, \"a\"] = sum(2); @once[\"b\"] = 7; }", &["p1: 1 probe\n"]),
    (":sleep 100ms", &[]),
    ("@once", &["@once[b]: 7\n"]),
    ("@once[\"b\"]", &["@once[b]: 7\n"]),
    ("@once[\"c\"]", &["@once[c] is not set\n"]),
    ("@k[1, \"a\"]", &["@k[1, a]: "]),
    // Messages show what was typed, and nothing around it.
    ("nsecs + frob", &["nothing is called `frob`", "prompt:1:9\n", "1 │ nsecs + frob\n"]),
    ("list", &["`list` is no value\n", "the command has a colon: :list\n"]),
    ("help", &["A program stays while you go on"]),
    ("@onec", &["no program that runs has a map @onec\n", "did you mean `@once`?\n"]),
    (":type curtask.mm", &["struct mm_struct *\n"]),
    (":type curtask.frob", &["struct task_struct has no field `frob`"]),
    (":doc hist", &["hist(value, bits = 0)\n"]),
    (":doc hits", &["there is no builtin `hits`\n", "did you mean `hist`?\n"]),
    // A mistake, and a block over several lines; what runs stays.
    ("interval:ms:10 { @ = conut(); }", &["there is no function `conut`"]),
    ("BEGIN\n{\n  printf(\"in %d lines\\n\", 4);\n}", &["in 4 lines\n"]),
    ("printf(\"%s\\n\", \"an action\")", &["an action\n"]),
    ("5 +\n", &["expected a value"]),
    (":list", &["p1   1 probe      interval:ms:10 { @ = count();"]),
    (":clear @once", &[]),
    (":sleep 100ms", &[]),
    (":top @k 1", &["@k[1, a]: "]),
    (":watch @once 20ms 2", &["@once[b]: 7\n@once[b]: 7\n"]),
    (":emit hir p1", &["program interval_0"]),
    (":emit", &[":emit takes a stage", "stages: ast"]),
    ("help hist", &["hist(value, bits = 0)\n"]),
    ("interval:ms:10 { @n++; if (@n == 3) { exit(); } }", &["p2: 1 probe\n"]),
    (":wait p2", &["@n: 3\n", "p2 has ended\n"]),
    (":stop p1", &["@once[b]: 7\n"]),
    (":list", &["p1   stopped", "p2   stopped"]),
    (":start p1", &["p1: 1 probe\n"]),
    (":frobnicate", &["there is no command :frobnicate\n"]),
    (":stop p7", &["there is no program p7\n", "programs: p1, p2\n"]),
    // What ends by itself is no program that stays.
    ("BEGIN { @x = 5; }", &["@x: 5\n"]),
    (":emit hir", &["program begin_0"]),
    (":emit verifier", &["program begin_0\n", "processed "]),
];

/// Each line is answered, in its order, whatever came of those before.
pub fn check_dialogue(programs: &Programs) -> Result<()> {
    let mut child = Command::new(&programs.rtrace)
        .args(["--no-warnings"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start rtrace")?;
    let mut input = child.stdin.take().context("no pipe")?;
    let saved = std::env::temp_dir().join(format!("rtrace-test-{}.rt", std::process::id()));
    for (line, _) in DIALOGUE {
        writeln!(input, "{line}\n")?;
    }
    writeln!(input, ":save {}\nBEGIN {{ @x = 1;", saved.display())?;
    drop(input);
    let output = child.wait_with_output()?;
    let text = std::fs::read_to_string(&saved);
    let _ = std::fs::remove_file(&saved);
    let (out, err) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success(), "it ended with {}\n{out}\n{err}", output.status);
    let (mut at_out, mut at_err) = (0, 0);
    for (line, expected) in DIALOGUE {
        for expected in *expected {
            if let Some(at) = out[at_out..].find(expected) {
                at_out += at + expected.len();
            } else if let Some(at) = err[at_err..].find(expected) {
                at_err += at + expected.len();
            } else {
                bail!("{line}: no {expected:?} in\n{}\nor\n{}", &out[at_out..], &err[at_err..]);
            }
        }
    }
    ensure!(err.contains("expected `}`, found the end of the script"), "the open block at the end is lost: {err}");
    let text = text.context("nothing was saved")?;
    let second = "interval:ms:10 { @n++; if (@n == 3) { exit(); } }\n";
    ensure!(text.starts_with("interval:ms:10 { @ = count();") && text.ends_with(second), "it saved {text}");
    Ok(())
}

/// Two programs print while a third is typed, whose line stays whole.
pub fn check_terminal(programs: &Programs) -> Result<()> {
    let mut terminal = Terminal::new(programs, "terminal", &[], SIZE)?;
    terminal.shows("type a program, or :help")?;
    terminal.edits(">")?;
    terminal.keys("interval:ms:50 { @a = count(); printf(\"tick\\n\"); }\r")?;
    terminal.shows("p1: 1 probe")?;
    terminal.keys("interval:ms:70 { @b = count(); printf(\"tock\\n\"); }\r")?;
    terminal.shows("p2: 1 probe")?;
    terminal.keys("interval:s:100 { @c = co")?;
    terminal.wait("ticks and tocks", |contents| {
        let printed = contents.lines().skip_while(|line| !line.contains("p2: 1 probe"));
        let (ticks, tocks): (Vec<&str>, Vec<&str>) =
            printed.filter(|line| line.starts_with('t')).partition(|line| *line == "tick");
        ticks.len() > 2 && tocks.len() > 2
    })?;
    terminal.edits("> interval:s:100 { @c = co")?;
    // Words that fit are shown, and what is printed goes on below them.
    terminal.keys("\t")?;
    terminal.wait("ticks behind the words that fit", |contents| {
        let behind = contents.lines().skip_while(|line| !line.contains("container_of"));
        behind.filter(|line| *line == "tick").count() > 2
    })?;
    terminal.edits("> interval:s:100 { @c = co")?;
    terminal.keys("unt(); }\r")?;
    terminal.shows("p3: 1 probe")?;
    terminal.keys(":stop p1\r")?;
    terminal.shows("@a: ")?;
    terminal.keys(":stop p2\r")?;
    terminal.shows("@b: ")?;
    terminal.keys("\x0c")?;
    terminal.edits(">")?;
    terminal.keys("@c\r")?;
    terminal.shows("@c: 0")?;
    // Ctrl-C ends the watch, then the line, and Ctrl-D the prompt.
    terminal.keys(":watch @c 50ms\r")?;
    std::thread::sleep(Duration::from_millis(300));
    terminal.keys("\x03")?;
    terminal.edits(">")?;
    terminal.keys("half a li")?;
    terminal.edits("> half a li")?;
    terminal.keys("\x03")?;
    terminal.edits(">")?;
    terminal.keys("\x04")?;
    terminal.ended()?;
    let history = std::fs::read_to_string(terminal.state.join("rtrace/history")).context("no history")?;
    ensure!(history.contains(":watch @c 50ms"), "the history holds {history}");
    Ok(())
}

/// What is typed, the key of completion at its end, and what the line is then or the screen shows.
const COMPLETED: &[(&str, &str)] = &[
    ("tracepoint:sched:sched_sw", "tracepoint:sched:sched_switch"),
    ("tracepoint:sched:sched_switch { @[args.next_co", "> tracepoint:sched:sched_switch { @[args.next_comm"),
    (
        "interval:s:1 { $task = curtask; print($task->real_par",
        "> interval:s:1 { $task = curtask; print($task->real_parent",
    ),
    ("interval:s:1 { print(curtask.mm.arg_st", "> interval:s:1 { print(curtask.mm.arg_start"),
    ("interval:s:1 { $longer = 1; print($lon", "> interval:s:1 { $longer = 1; print($longer"),
    ("strncm", "> strncmp("),
    ("software:cpu-cl", "software:cpu-clock:"),
    (":hel", "> :help"),
    (":probes softw", "> :probes software:"),
    (":type curtask.exit_co", "> :type curtask.exit_code"),
];

/// The tab key finds probes, members of arguments and structs, builtins, variables and commands.
pub fn check_completion(programs: &Programs) -> Result<()> {
    let mut terminal = Terminal::new(programs, "completion", &[], SIZE)?;
    terminal.edits(">")?;
    for (typed, shown) in COMPLETED {
        terminal.keys(typed)?;
        terminal.shows(typed)?;
        terminal.keys("\t")?;
        terminal.shows(shown).with_context(|| format!("{typed} and a tab"))?;
        terminal.keys("\x03")?;
        terminal.edits(">")?;
        terminal.keys("\x0c")?;
        terminal.edits(">")?;
    }
    Ok(())
}

/// Programs that name one map have one map: each adds to it, the last prints it, and types stand.
pub fn check_shared(programs: &Programs) -> Result<()> {
    let mut terminal = Terminal::new(programs, "shared", &[], SIZE)?;
    terminal.edits(">")?;
    terminal.keys("interval:ms:10 { @n[1] = count(); @long[\"a key of more than forty-eight bytes, so that it is kept beside\"] = 7; }\r")?;
    terminal.shows("p1: 1 probe")?;
    terminal.keys("interval:ms:10 { @n[2] = count(); @seen = @long[\"a key of more than forty-eight bytes, so that it is kept beside\"]; }\r")?;
    terminal.shows("p2: 1 probe")?;
    terminal.keys(":list\r")?;
    terminal.shows("@n is shared by p1, p2")?;
    terminal.shows("@long is shared by p1, p2")?;
    // Each has fired by then.
    std::thread::sleep(Duration::from_millis(100));
    terminal.keys("\x0c@n\r")?;
    terminal.wait("the rows of both, once", |contents| {
        let rows = |key: &str| contents.lines().filter(|line| line.starts_with(key)).count();
        rows("@n[1]: ") == 1 && rows("@n[2]: ") == 1 && rows("p1:") == 0
    })?;
    terminal.keys("@seen\r")?;
    terminal.shows("@seen: 7")?;
    terminal.keys("len(@n) + 40\r")?;
    terminal.shows("42")?;
    // The program that prints has no map of its own.
    terminal.keys("interval:ms:10 { printf(\"%d keys\\n\", len(@n) + 100); exit(); }\r")?;
    terminal.shows("102 keys")?;
    for (line, shown) in [
        ("interval:ms:10 { @n = count(); }", "@n has keys of type int64 in p1, which runs: `@n[1] = count()`"),
        ("interval:ms:10 { @n[3] = sum(1); }", "@n has count() in p1, which runs: `@n[1] = count()`"),
        ("interval:ms:10 { @n[3] = count(); clear(@n); }", "@n is of a program that runs, and this one would clear it"),
    ] {
        terminal.keys(&format!("\x0c{line}\r"))?;
        terminal.shows(shown)?;
        terminal.edits(">")?;
    }
    terminal.keys("\x0c:stop p1\r")?;
    terminal.keys(":list\r")?;
    terminal.shows("p1   stopped")?;
    let printed = terminal.contents().lines().any(|line| line.starts_with("@n["));
    ensure!(!printed, "p1 prints what p2 still has: {}", terminal.contents());
    terminal.keys("\x0c:stop p2\r")?;
    terminal.shows("@n[1]: ")?;
    terminal.shows("@n[2]: ")?;
    // Nobody has the name any more.
    terminal.keys("interval:ms:10 { @n = 5; }\r")?;
    terminal.shows("p4: 1 probe")?;
    terminal.keys(":quit\r")?;
    terminal.ended()
}

/// Keys that come while a command runs are those of the next lines, and are not shown before.
pub fn check_keys(programs: &Programs) -> Result<()> {
    let mut terminal = Terminal::new(programs, "keys", &[], SIZE)?;
    terminal.edits(">")?;
    terminal.keys("interval:ms:10 { @n[1] = 5; }\r")?;
    terminal.shows("p1: 1 probe")?;
    terminal.keys("\x0c:watch @n 50ms 20\r")?;
    terminal.shows("@n[1]: 5")?;
    terminal.keys("1000 + 2")?;
    std::thread::sleep(Duration::from_millis(300));
    terminal.read();
    ensure!(!terminal.contents().contains("1000"), "keys are shown too early: {}", terminal.contents());
    terminal.edits("> 1000 + 2")?;
    terminal.keys("34\r")?;
    terminal.shows("1234")?;
    // All at once, as from a clipboard.
    terminal.keys(":sleep 200ms\r2000 + 1\r3000 + 1\r4000 +")?;
    terminal.shows("2001")?;
    terminal.shows("3001")?;
    terminal.edits("> 4000 +")?;
    terminal.keys("\x03")?;
    // The first time only.
    terminal.shows("(:quit or Ctrl-D leaves)")?;
    terminal.edits(">")?;
    // What is typed before Ctrl-C goes with the command.
    terminal.keys("\x0c")?;
    terminal.wait("an empty screen", |contents| contents.trim_end() == ">")?;
    terminal.keys(":watch @n 50ms\r")?;
    terminal.shows("@n[1]: 5")?;
    terminal.keys("lost\x03")?;
    terminal.edits(">")?;
    terminal.keys("\x04")?;
    terminal.ended()?;
    terminal.is_restored()
}
