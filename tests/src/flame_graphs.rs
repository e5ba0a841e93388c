//! `rtrace flame` on programs of known shape: what waits, what allocates, what runs and waits in turns, and what has changed from
//! one recording to another; and files of others, which are drawn as they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::directory::Directory;
use crate::environment::{Need, Programs};
use crate::formats::{frames, read_flame_graph};
use crate::profiles::through;
use crate::terminal::Terminal;

type Check = fn(&Programs) -> Result<()>;

/// Each with its name, and what it takes of the kernel.
pub const ALL: &[(&str, &[Need], Check)] = &[
    ("off_cpu", &[Need::MapLoops], check_off_cpu),
    ("wakers", &[Need::MapLoops], check_wakers),
    ("memory", &[Need::MapLoops], check_memory),
    ("hot_cold", &[Need::MapLoops], check_hot_cold),
    ("difference", &[], check_difference),
    ("imports", &[], check_imports),
    ("report", &[], check_report),
    ("walk", &[], check_walk),
    ("page", &[], check_page),
    ("recording_line", &[], check_recording_line),
    ("mistakes", &[], check_mistakes),
];

/// Runs `rtrace flame` and gives its status, stdout and stderr.
fn flame(programs: &Programs, words: &[&str]) -> Result<(bool, String, String)> {
    let output = Command::new(&programs.rtrace)
        .env("PATH", &programs.workloads)
        .arg("flame")
        .args(words)
        .output()
        .context("cannot start rtrace")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.success(), text(&output.stdout), text(&output.stderr)))
}

/// Records into a file, and gives its text.
fn record(programs: &Programs, words: &[&str], path: &Path) -> Result<String> {
    Ok(record_and_hear(programs, words, path)?.text)
}

/// The text of a file, and what the command and rtrace have printed.
struct Recorded {
    text: String,
    output: String,
    errors: String,
}

/// Records into a file. It tells of the file, and of no stack that is lost.
fn record_and_hear(programs: &Programs, words: &[&str], path: &Path) -> Result<Recorded> {
    let path_text = path.display().to_string();
    let (succeeded, output, errors) = flame(programs, &[words, &["-o", &path_text]].concat())?;
    ensure!(succeeded && errors.contains(&path_text) && !errors.contains("could not be taken"), "{words:?}: {errors}");
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path_text}: {errors}"))?;
    Ok(Recorded { text, output, errors })
}

/// Microseconds.
const NAP: f64 = 50_000.0;

/// 22 sleeps of 50 ms, of which 20 are in one function, and two in another.
fn check_off_cpu(programs: &Programs) -> Result<()> {
    let directory = Directory::create("off-cpu")?;
    let path = directory.path.join("out.folded");
    let Recorded { text, output, errors } =
        record_and_hear(programs, &["off-cpu", "-c", "workload naps 20 50000"], &path)?;
    let told = errors.lines().find(|line| line.contains("waits left out"));
    let mut left_out: f64 = told.and_then(|line| line.rsplit(' ').next()).map_or(Ok(0.0), str::parse)?;
    let times: Vec<f64> = output.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    for (function, microseconds) in ["nap_here", "nap_there"].iter().zip(times) {
        let slept = through(&text, &[function]);
        // The kernel may run no programs for some tasks, and so none when a thread comes back where one of those was: that is told.
        let missing = ((microseconds - slept) / NAP).round().max(0.0);
        left_out -= missing;
        let error = (slept + missing * NAP) / microseconds - 1.0;
        ensure!(error.abs() < 0.02, "{function}: {slept} us, but it slept for {microseconds}: {text}");
        ensure!(slept + missing * NAP > 99_000.0, "{function}: {slept} us");
        ensure!(left_out >= 0.0, "{function}: {missing} more naps are missing than was told: {errors}");
    }
    // A thread that never comes back to a processor has waited all the same; shorter waits are left out.
    let words = ["off-cpu", "--min", "120ms", "-d", "1s", "-c", "workload naps 1 5000000"];
    let text = record(programs, &words, &path)?;
    let slept = through(&text, &["nap_here"]) / 1000.0;
    // Until the recording ends, which takes its time on a busy machine: well before the sleep would.
    ensure!((500.0..2500.0).contains(&slept), "a sleep without an end: {slept} ms: {text}");
    let words = ["off-cpu", "--min", "200ms", "-c", "workload naps 3 100000"];
    let path = directory.path.join("none.folded");
    let path_text = path.display().to_string();
    let (_, _, errors) = flame(programs, &[&words[..], &["-o", &path_text]].concat())?;
    ensure!(errors.contains("there is nothing to show") && !path.exists(), "waits that are too short: {errors}");
    Ok(())
}

/// A thread that waits for another: the time has both stacks.
fn check_wakers(programs: &Programs) -> Result<()> {
    let directory = Directory::create("wakers")?;
    let path = directory.path.join("out.folded");
    let words = ["off-cpu", "--wakers", "-c", "workload wakes 20"];
    let Recorded { text, output, .. } = record_and_hear(programs, &words, &path)?;
    let waited: f64 = output.split_whitespace().nth(1).context("no time")?.parse()?;
    let both: f64 = text
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(stack, _)| {
            // From the thread that waits to the innermost frame, and on the other side out again.
            let mut frames = stack.split(';');
            ["sleeper", "wait_here", "woken by", "workload", "wake_here", "main"]
                .iter()
                .all(|wanted| frames.any(|frame| frame == *wanted))
        })
        .filter_map(|(_, weight)| weight.parse::<f64>().ok())
        .sum();
    // Between the waits it runs, for a while where processors are busy.
    let (all, least) = (through(&text, &["sleeper", "wait_here"]), 350_000.0);
    ensure!(both > all * 0.98 && both > least && all < waited * 1.01, "{both} of {all} of {waited} us: {text}");
    Ok(())
}

/// 1000 times 100 bytes that stay, of which each fourth grows to 200, and as many that are given back.
fn check_memory(programs: &Programs) -> Result<()> {
    let directory = Directory::create("memory")?;
    let path = directory.path.join("out.folded");
    let expected: &[(&str, [f64; 3])] = &[
        ("allocated", [100_000.0, 100_000.0, 50_000.0]),
        ("calls", [1000.0, 1000.0, 250.0]),
        ("held", [75_000.0, 0.0, 50_000.0]),
    ];
    for (of, weights) in expected {
        let words = ["memory", "--of", of, "-c", "workload-pie allocations 1000 100"];
        let text = record(programs, &words, &path)?;
        let found =
            ["allocate_kept", "allocate_freed", "grow_kept"].map(|name| through(&text, &["run_allocations", name]));
        ensure!(found == *weights, "{of}: {found:?} instead of {weights:?}: {text}");
    }
    // Two children of a shell, each the same, at the same addresses.
    let path_of = programs.workloads.join("workload-pie");
    let twice = format!("{0} allocations 1000 100; {0} allocations 1000 100; :", path_of.display());
    let shell = format!("/bin/sh -c '{twice}'");
    for (of, weights) in expected {
        let text = record(programs, &["memory", "--of", of, "--children", "-c", &shell], &path)?;
        let found =
            ["allocate_kept", "allocate_freed", "grow_kept"].map(|name| through(&text, &["run_allocations", name]));
        // Nothing is shared by the two: what one has freed the other still holds.
        ensure!(found == weights.map(|weight| 2.0 * weight), "{of}, children: {found:?}: {text}");
    }
    let text = record(programs, &["memory", "--of", "faults", "-c", "workload faults 1000"], &path)?;
    let found = through(&text, &["run_faults"]);
    ensure!((1000.0..1020.0).contains(&found), "{found} page faults: {text}");
    let text = record(programs, &["memory", "--of", "mapped", "-c", "workload maps 100"], &path)?;
    let found = through(&text, &["run_maps"]).max(through(&text, &["syscall"]));
    ensure!(found == 6_553_600.0, "{found} bytes mapped: {text}");
    Ok(())
}

/// Rounds of 10 ms on a processor and 30 ms off it. About a quarter is red, the rest is blue.
fn check_hot_cold(programs: &Programs) -> Result<()> {
    let directory = Directory::create("hot-cold")?;
    let path = directory.path.join("out.svg");
    let recorded = record_and_hear(programs, &["hot-cold", "-F", "997", "-c", "workload rounds 30"], &path)?;
    let output = recorded.output;
    // Where others want the processor a sleep takes longer.
    let slept: f64 = output.split_whitespace().nth(1).context("no time")?.parse()?;
    let expected = 300_000.0 / (300_000.0 + slept);
    let widths = read_flame_graph(&path)?;
    let width = |name: &str| widths.get(name).copied().with_context(|| format!("no frame {name} among {widths:?}"));
    let share = width("burn_most")? / width("all")?;
    ensure!((share - expected).abs() < 0.05, "a share of {share} on processors instead of {expected}");
    let mut all = frames(&path)?;
    // The widest of a name: to go to sleep also takes a moment on a processor.
    all.sort_by(|one, other| other.width.total_cmp(&one.width));
    for (name, is_cold) in [("off CPU", true), ("nap_here", true), ("on CPU", false), ("burn_most", false)] {
        let frame = all.iter().find(|frame| frame.name == name).with_context(|| format!("no frame {name}"))?;
        let [red, _, blue] = frame.color;
        ensure!((blue > red) == is_cold, "{name} has the colour {:?}", frame.color);
    }
    Ok(())
}

/// Of two runs one has more in one function: nothing else has changed.
fn check_difference(programs: &Programs) -> Result<()> {
    let directory = Directory::create("difference")?;
    let [before, after, graph] = ["before.folded", "after.pb.gz", "graph.svg"].map(|name| directory.path.join(name));
    record(programs, &["memory", "-c", "workload-pie allocations 1000 100:200"], &before)?;
    let after_text = after.display().to_string();
    let words = ["memory", "-c", "workload-pie allocations 1000 100:600", "-o", &after_text];
    ensure!(flame(programs, &words)?.0, "the second run cannot be recorded");
    let before_text = before.display().to_string();
    record(programs, &["diff", "--absolute", &before_text, &after_text], &graph)?;
    let changed: BTreeMap<String, [u8; 3]> = frames(&graph)?
        .into_iter()
        .filter(|frame| frame.name != "all" && !frame.title.ends_with("; 0.00%)"))
        .map(|frame| (frame.name, frame.color))
        .collect();
    // The function itself, and what has called it.
    let leaf = changed.get("grow_kept").with_context(|| format!("it is not among {changed:?}"))?;
    ensure!(leaf[0] > leaf[2], "what grew is not red: {leaf:?}");
    let others: Vec<&String> = changed.keys().filter(|name| name.starts_with("allocate")).collect();
    ensure!(others.is_empty(), "{others:?} have not changed");
    // By shares the others have shrunk: 40 % of the whole each before, 28.57 % after.
    record(programs, &["diff", &before_text, &after_text], &graph)?;
    let shrunk = frames(&graph)?.into_iter().find(|frame| frame.name == "allocate_freed");
    let shrunk = shrunk.context("there is no frame allocate_freed")?;
    ensure!(shrunk.title.contains("28.57%; -11.43%"), "{}", shrunk.title);
    ensure!(shrunk.color[2] > shrunk.color[0], "what shrank is not blue: {:?}", shrunk.color);
    check_difference_forms(programs, &directory, &before_text, &after_text)
}

/// The same difference as folded stacks, as a table and as a page.
fn check_difference_forms(programs: &Programs, directory: &Directory, before: &str, after: &str) -> Result<()> {
    let folded = record(programs, &["diff", "--absolute", before, after], &directory.path.join("out.folded"))?;
    let grown = folded.lines().any(|line| line.ends_with("grow_kept 50000 150000"));
    let same = folded.lines().any(|line| line.ends_with("allocate_kept 100000 100000"));
    ensure!(grown && same, "{folded}");
    let (succeeded, table, errors) = flame(programs, &["diff", before, after])?;
    ensure!(succeeded, "{errors}");
    // What has changed most in itself is the first line below the heads.
    let first = table.lines().nth(4).unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    ensure!(
        words.starts_with(&["20.00", "%", "42.86", "%", "+22.86", "%"]) && words.ends_with(&["grow_kept"]),
        "{table}"
    );
    let page = record(programs, &["diff", before, after], &directory.path.join("out.html"))?;
    let row = "<td class=\"number\">+22.86 %</td><td class=\"number\">150000</td>";
    ensure!(page.contains(row) && page.contains("<title>grow_kept (150,000 bytes, 42.86%; +22.86%)</title>"), "{page}");
    Ok(())
}

const PERF_SCRIPT: &str = "\
serve 7/8 [001] 12.345678:     250000 cycles:u: 
\t            1010 inner+0x10 (/opt/serve)
\t            1020 <script>alert(1)</script>+0x1 (/opt/serve)
\t            1030 main+0x1 (/opt/serve)

serve 7/8 [001] 12.345679:     250000 cycles:u: 
\tffffffff81000010 do_syscall_64+0x10 ([kernel.kallsyms])
\t            1030 main+0x1 (/opt/serve)

serve 7/8 [001] 12.345680:     250000 cycles:u: 
\t            1010 inner+0x10 (/opt/serve)
\t            1030 main+0x1 (/opt/serve)

serve 7/8 [001] 12.345681:     250000 cycles:u: 
\t            1010 inner+0x10 (/opt/serve)
\t            1030 main+0x1 (/opt/serve)
";

/// perf's text becomes folded stacks, those a profile of pprof's, and that a graph: each holds the same.
fn check_imports(programs: &Programs) -> Result<()> {
    let directory = Directory::create("imports")?;
    let [perf, folded, profile, again, graph] = ["perf.txt", "a.folded", "b.pb.gz", "c.folded", "d.svg"]
        .map(|name| directory.path.join(name).display().to_string());
    fs::write(&perf, PERF_SCRIPT)?;
    for (from, to) in [(&perf, &folded), (&folded, &profile), (&profile, &again), (&perf, &graph)] {
        let (succeeded, _, errors) = flame(programs, &["on-cpu", "--from", from, "-o", to])?;
        ensure!(succeeded, "{from} to {to}: {errors}");
    }
    let expected = "serve;main;<script>alert(1)</script>;inner 1\nserve;main;do_syscall_64 1\nserve;main;inner 2\n";
    for path in [&folded, &again] {
        let text = fs::read_to_string(path)?;
        ensure!(text == expected, "{path}: {text}");
    }
    // The hostile name stays text: `read_flame_graph` counts the scripts.
    let widths = read_flame_graph(Path::new(&graph))?;
    let width = |name: &str| widths.get(name).copied().with_context(|| format!("no frame {name} among {widths:?}"));
    for (name, share) in [("<script>alert(1)</script>", 0.25), ("do_syscall_64", 0.25), ("inner", 0.75), ("main", 1.0)]
    {
        ensure!((width(name)? / width("all")? - share).abs() < 0.001, "{name} has not {share} of the width");
    }
    let (_, tree, _) = flame(programs, &["on-cpu", "--from", &perf])?;
    ensure!(tree.starts_with("cycles:u: 4\n100.00 %          4  serve\n"), "{tree}");
    Ok(())
}

/// `rtrace report`: shares, callers, search, and parts of keys.
fn check_report(programs: &Programs) -> Result<()> {
    let directory = Directory::create("report")?;
    let perf = directory.path.join("perf.txt").display().to_string();
    fs::write(&perf, PERF_SCRIPT.replacen("serve", "other", 1))?;
    let report = |words: &[&str]| -> Result<(bool, String)> {
        let output = Command::new(&programs.rtrace).args(["report", &perf]).args(words).output()?;
        let bytes = if output.status.success() { output.stdout } else { output.stderr };
        Ok((output.status.success(), String::from_utf8_lossy(&bytes).into_owned()))
    };
    let whole = "cycles:u: 4\n\n     own                   total  function\n \
        75.00 %          3   75.00 %          3  inner\n \
        25.00 %          1   25.00 %          1  do_syscall_64\n  \
        0.00 %          0  100.00 %          4  main\n";
    let (_, text) = report(&["--top", "3"])?;
    ensure!(text.starts_with(whole) && text.contains("\n(1 more; --top 4 shows all)\n"), "{text}");
    let callers = " 75.00 %          3  inner\n \
        50.00 %          2    main\n \
        25.00 %          1    <script>alert(1)</script>\n \
        25.00 %          1      main\n";
    let (_, text) = report(&["--callers"])?;
    ensure!(text.contains(callers), "{text}");
    let (_, text) = report(&["--search", "script"])?;
    ensure!(text.starts_with("cycles:u: 1 of 4 (25.00 %) in stacks with `script`\n"), "{text}");
    let (_, text) = report(&["--by", "comm"])?;
    let (serve, other) = (text.find("== comm serve: 3 (75.00 %)"), text.find("== comm other: 1 (25.00 %)"));
    ensure!(serve.is_some() && serve < other, "{text}");
    let (_, text) = report(&["--by", "tid"])?;
    ensure!(text.contains("\n== tid 8: 4 (100.00 %)\n"), "{text}");
    let (succeeded, text) = report(&["--by", "colour"])?;
    ensure!(!succeeded && text.contains("there are: comm, cpu, pid, tid"), "{text}");
    Ok(())
}

/// On a terminal a line tells how far it is, which goes away; elsewhere there is none.
fn check_recording_line(programs: &Programs) -> Result<()> {
    let directory = Directory::create("recording-line")?;
    let path = directory.path.join("out.folded").display().to_string();
    let mut burning = Command::new(programs.workloads.join("workload"))
        .args(["burn", "20000"])
        .spawn()
        .context("cannot start the workload")?;
    let pid = burning.id().to_string();
    let checked = (|| {
        let words = ["profile", "-p", &pid, "-d", "4s", "-o", &path];
        let mut terminal = Terminal::new(programs, "recording-line", &words, (24, 80))?;
        let shown = terminal.wait("line", |contents| {
            let samples = contents.split(" s: ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
            contents.contains("[######") && samples.is_some_and(|samples| samples > 10)
        });
        shown?;
        let line = terminal.contents().lines().next().unwrap_or_default().to_string();
        ensure!(line.contains(" of 4 s: ") && line.contains(" stacks, ") && line.contains(" lost"), "{line}");
        terminal.ended()?;
        // Nothing of it is left.
        let contents = terminal.contents();
        ensure!(contents.trim_end().ends_with(&path) && !contents.contains(" lost"), "the screen shows {contents}");
        let (succeeded, output, errors) = flame(programs, &["on-cpu", "-p", &pid, "-d", "1s", "-o", &path])?;
        let is_plain = !errors.contains('\r') && errors.trim_end().ends_with(&path);
        ensure!(succeeded && output.is_empty() && is_plain, "without a terminal: {errors}");
        check_line_of_command(programs, &path)
    })();
    burning.kill()?;
    burning.wait()?;
    checked
}

/// With a command there is a line where its output goes elsewhere, and none where it goes to the terminal.
fn check_line_of_command(programs: &Programs, path: &str) -> Result<()> {
    let shell = Programs { rtrace: "/bin/sh".into(), ..programs.clone() };
    for (elsewhere, has_line) in [("> /dev/null", true), ("", false)] {
        let rtrace = programs.rtrace.display();
        let text = format!("exec {rtrace} profile -c 'workload burn 3000' -o {path} {elsewhere}");
        let mut terminal = Terminal::new(&shell, "line-of-command", &["-c", &text], (24, 80))?;
        // On a slow machine the first line, which has no samples yet, stays until the end.
        terminal.wait("line", |contents| contents.contains("Ctrl-C ends it") || contents.contains(path))?;
        let contents = terminal.contents();
        ensure!(contents.contains("Ctrl-C ends it") == has_line, "{elsewhere:?}: the screen shows {contents}");
        terminal.wait("result", |contents| contents.contains(path))?;
        terminal.ended()?;
        ensure!(terminal.contents().trim() == path, "{elsewhere:?}: at the end it shows {}", terminal.contents());
    }
    Ok(())
}

/// A page with a graph: hostile names are text in it, and it loads nothing.
fn check_page(programs: &Programs) -> Result<()> {
    let directory = Directory::create("page")?;
    let [perf, page] = ["perf.txt", "out.html"].map(|name| directory.path.join(name).display().to_string());
    fs::write(&perf, PERF_SCRIPT.replacen("inner+", "\"><img src=http://example.com/x onerror='alert(1)'>+", 1))?;
    let (succeeded, _, errors) = flame(programs, &["on-cpu", "--from", &perf, "-o", &page])?;
    ensure!(succeeded, "{errors}");
    let text = fs::read_to_string(&page)?;
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() };
    let document = roxmltree::Document::parse_with_options(&text, options)?;
    let elements = || document.descendants().filter(|node| node.is_element());
    const ACTIVE: &[&str] = &["img", "iframe", "link", "object", "embed", "a", "use", "image", "base", "form"];
    for node in elements() {
        let name = node.tag_name().name();
        ensure!(!ACTIVE.contains(&name), "the page has an element {name}");
        for attribute in node.attributes() {
            let (name, value) = (attribute.name(), attribute.value());
            ensure!(!matches!(name, "src" | "href" | "style" | "action") && !name.starts_with("on"), "{name}={value}");
            ensure!(
                !value.contains("://") && (!value.contains("url(") || value == "url(#background)"),
                "{name}={value}"
            );
        }
        let is_code = matches!(name, "script" | "style");
        let code: String = node.children().filter_map(|child| child.text()).filter(|_| is_code).collect();
        for word in ["url(", "@import", "fetch(", "XMLHttpRequest", "import(", "WebSocket", ".src"] {
            // A remark is no code.
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            let code: String = lines.collect();
            ensure!(!code.contains(word), "the code has {word}");
        }
    }
    let policy =
        elements().filter_map(|node| node.attribute("content")).any(|text| text.starts_with("default-src 'none'"));
    ensure!(policy, "the page has no policy");
    // The graph's own script and that of the page, and what both are about.
    ensure!(elements().filter(|node| node.tag_name().name() == "script").count() == 2, "it has other scripts");
    let rows: Vec<Vec<&str>> = elements()
        .filter(|node| node.tag_name().name() == "tr")
        .map(|row| row.children().filter_map(|cell| cell.text()).collect())
        .collect();
    let hostile = "\"><img src=http://example.com/x onerror='alert(1)'>";
    ensure!(rows[1] == ["50.00 %", "2", "50.00 %", "2", "inner"], "{rows:?}");
    ensure!(rows.contains(&vec!["25.00 %", "1", "25.00 %", "1", hostile]), "{rows:?}");
    ensure!(rows.contains(&vec!["0.00 %", "0", "100.00 %", "4", "main"]), "{rows:?}");
    let titles: Vec<&str> =
        elements().filter(|node| node.tag_name().name() == "title").filter_map(|node| node.text()).collect();
    ensure!(titles.contains(&"main (4 samples, 100.00%)"), "{titles:?}");
    Ok(())
}

/// `rtrace report` on a terminal of 80 columns: keys open the tree, and however it ends the terminal is as before.
fn check_walk(programs: &Programs) -> Result<()> {
    const SIZE: (u16, u16) = (24, 80);
    let directory = Directory::create("walk")?;
    let perf = directory.path.join("perf.txt").display().to_string();
    // A name that would clear the screen and set the title of the window.
    let hostile = PERF_SCRIPT.replacen("inner+0x10", "\x1b[2J\x1b]0;pwned\x07evil+0x10", 1);
    fs::write(&perf, hostile.replacen("7/8 [001]", "7/9 [000]", 1))?;
    let mut terminal = Terminal::new(programs, "walk", &["report", &perf], SIZE)?;
    terminal.shows("100.00 %   0.00 % + serve")?;
    ensure!(terminal.contents().starts_with("cycles:u: 4 | calls | sorted by total"), "{}", terminal.contents());
    // What has no choice is opened at once; then down to the first function that has been called.
    terminal.keys("\r")?;
    terminal.shows("100.00 %   0.00 %   - main")?;
    terminal.shows("50.00 %  50.00 %       inner")?;
    ensure!(!terminal.contents().contains("evil"), "it is open already: {}", terminal.contents());
    terminal.keys("\x1b[B\x1b[B\x1b[B\x1b[B\x1b[C")?;
    let chosen = terminal.wait("open line", |contents| contents.contains("evil"));
    chosen.with_context(|| format!("reversed are {:?}", terminal.reversed()))?;
    // The escapes are spaces: all lines are where they were.
    ensure!(terminal.contents().contains("[2J ]0:pwned evil"), "{}", terminal.contents());
    for (keys, shown) in [
        ("2", "50.00 %  50.00 % + inner"),
        ("3", "| callees |"),
        ("4", "|main"),
        ("1bbb", "| calls by tid |"),
        ("\r", "tid 8"),
        ("/syscall\r", "1 (25.00 %) in stacks with `syscall`"),
        ("\x1b", "| calls by tid |"),
        // Whole, also in 80 columns.
        ("?", "only stacks with such a function; Esc shows all"),
        ("?", "| calls by tid |"),
    ] {
        terminal.keys(keys)?;
        terminal.shows(shown).with_context(|| format!("after {keys:?}"))?;
    }
    terminal.keys("q")?;
    terminal.ended()?;
    terminal.is_restored()?;
    // Ctrl-C as a key and a signal from outside.
    for how in ["a key", "a signal"] {
        let mut terminal = Terminal::new(programs, "walk", &["report", &perf, "--callers", "--by", "cpu"], SIZE)?;
        terminal.shows("| callers by cpu |")?;
        if how == "a key" {
            terminal.keys("\x03")?;
        } else {
            terminal.signal(libc::SIGTERM);
        }
        terminal.ended()?;
        terminal.is_restored().with_context(|| how.to_string())?;
    }
    // A window that is closed: nobody could end it any more.
    let mut terminal = Terminal::new(programs, "walk", &["report", &perf], SIZE)?;
    terminal.shows("| calls |")?;
    terminal.hang_up()?;
    terminal.ended()?;
    let mut terminal = Terminal::new(programs, "walk", &["report", &perf, "--stdio"], SIZE)?;
    terminal.ended()?;
    ensure!(!terminal.contents().contains("| calls |"), "--stdio shows {}", terminal.contents());
    terminal.shows("  main")?;
    Ok(())
}

/// What cannot be read or written is told with its place, and what to do.
fn check_mistakes(programs: &Programs) -> Result<()> {
    let directory = Directory::create("mistakes")?;
    let file = |name: &str, bytes: &[u8]| -> Result<String> {
        let path = directory.path.join(name);
        fs::write(&path, bytes)?;
        Ok(path.display().to_string())
    };
    let cases: &[(&[u8], &str)] = &[
        (b"a;b 1\na;b one\n", ":2: the line ends with no number"),
        (b"", ": it holds no samples"),
        (b"\x0a\x01\xff\x02", ": the profile is damaged"),
        (b"\x1f\x8bnonsense", "cannot read "),
    ];
    for (bytes, expected) in cases {
        let path = file("input", bytes)?;
        let (succeeded, output, errors) = flame(programs, &["on-cpu", "--from", &path])?;
        ensure!(!succeeded && output.is_empty() && errors.contains(expected), "{bytes:?}: {errors}");
    }
    let path = file("input", b"a;b 1\n")?;
    for (words, expected) in [
        (&["on-cpu", "--from", &path, "-o", "x.png"][..], "name it *.svg, *.html, *.folded, *.pb.gz or *.txt"),
        (&["on-cpu", "--from", &path, "--sample", "x"], "there are: samples"),
        (&["memory"], "name a process with -p, or a command with -c"),
        (&["diff", &path, &path, "-o", "x.pb.gz"], "name it *.svg, *.html, *.folded or *.txt"),
        (&["off-cpu", "--children", "-c", "workload naps 1 1"], "without its children"),
    ] {
        let (succeeded, _, errors) = flame(programs, words)?;
        ensure!(!succeeded && errors.contains(expected), "{words:?}: {errors}");
    }
    Ok(())
}
