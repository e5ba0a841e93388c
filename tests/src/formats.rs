//! Formats that are no text to compare: profiles of pprof's and flame graphs, read again by readers that rtrace has no part in.

pub mod exposition;
mod pprof;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::child::{Child, Ended};
use crate::directives::{Workload, WorkloadMode};
use crate::directory::Directory;
use crate::environment::{Programs, on_path};
use crate::workload;

const TIMEOUT: Duration = Duration::from_secs(60);

/// What a name in a profile may try.
const HOSTILE: &str = "<script>alert('&;\\\"')</script>";

/// Traces ten calls of a chain of functions.
fn trace(programs: &Programs, arguments: &[&str], script: &str) -> Result<Ended> {
    let deadline = Instant::now() + TIMEOUT;
    let wanted = Workload {
        mode: WorkloadMode::Process,
        program: "workload".into(),
        arguments: vec!["chain".into(), "10".into()],
    };
    let mut waiting = workload::start(&wanted, programs, deadline)?;
    let mut command = Command::new(&programs.rtrace);
    command.env("PATH", &programs.workloads).args(arguments).args(["-p", &waiting.pid.to_string(), "-e", script]);
    let child = Child::start(&mut command, deadline)?;
    child.await_error("Attached ")?.context("it did not attach")?;
    waiting.go()?;
    child.signal(libc::SIGINT);
    let ended = child.finish()?;
    waiting.finish()?;
    if !ended.status.success() {
        bail!("it ended with {}:\n{}", ended.status, String::from_utf8_lossy(&ended.errors));
    }
    Ok(ended)
}

/// `-f pprof`: two maps, one with other parts of its key.
pub fn check_pprof(programs: &Programs) -> Result<()> {
    let script = "uprobe:workload:middle_function+4 {\n\
                    @[ustack(4), comm, arg0 % 2] = count();\n\
                    @numbers[ustack(2), \"a;b\"] = sum(arg0);\n\
                    printf(\"not in the profile\\n\");\n\
                  }";
    let ended = trace(programs, &["-f", "pprof"], script)?;
    let profile = pprof::read(&ended.output)?;
    let types = [("samples", "count"), ("numbers", "")];
    let found: Vec<(&str, &str)> = profile.types.iter().map(|(name, unit)| (name.as_str(), unit.as_str())).collect();
    if found != types {
        bail!("the types of samples are {found:?}");
    }
    if profile.period != (profile.types[0].clone(), 1) {
        bail!("the period is {:?}", profile.period);
    }
    // A constant is no name: it is called by its place.
    let expected = [
        "[0, 55] middle_function outer_function key1=a;b",
        "[5, 0] middle_function outer_function run_chain main comm=workload arg0 % 2=0",
        "[5, 0] middle_function outer_function run_chain main comm=workload arg0 % 2=1",
    ];
    let mut samples = profile.samples.clone();
    samples.sort_unstable();
    if samples != expected {
        bail!("the samples are {samples:#?}");
    }
    let file = fs::canonicalize(programs.workloads.join("workload"))?.display().to_string();
    if profile.files != [file.as_str()] {
        bail!("the mapped files are {:?}, not {file}", profile.files);
    }
    if profile.time <= 0 || profile.duration <= 0 {
        bail!("it was taken at {} for {} ns", profile.time, profile.duration);
    }
    Ok(())
}

/// Go's pprof: the program that the environment names, or the tool of a `go` that is on the PATH.
pub fn go_pprof() -> Option<Command> {
    if let Some(path) = std::env::var_os("RTRACE_PPROF") {
        return Some(Command::new(path));
    }
    let mut command = Command::new(on_path("go")?);
    command.args(["tool", "pprof"]);
    Some(command)
}

/// What `go tool pprof` reads in a profile.
pub fn check_go_pprof(programs: &Programs) -> Result<()> {
    let script = "uprobe:workload:middle_function+4 {\n\
                    @[ustack(4), comm] = count();\n\
                    @numbers[ustack(2), \"a;b\"] = sum(arg0);\n\
                  }";
    let ended = trace(programs, &["-f", "pprof"], script)?;
    let directory = Directory::create("pprof")?;
    let path = directory.path.join("out.pb.gz");
    fs::write(&path, &ended.output)?;
    let mut command = go_pprof().context("there is no pprof")?;
    // It keeps what it has built and downloaded at home.
    command.arg("-raw").arg(&path).env("HOME", &directory.path);
    let output = command.output().context("cannot run pprof")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = text.lines().map(words).collect();
    let file = fs::canonicalize(programs.workloads.join("workload"))?.display().to_string();
    let expected = [
        "PeriodType: samples count",
        "Period: 1",
        "samples/count numbers/",
        "10 0: 1 2 3 4",
        "comm:[workload]",
        "0 55: 1 2",
        "key1:[a;b]",
    ];
    let is_told = |part: &&&str| !lines.iter().any(|line| line == **part);
    if let Some(missing) = expected.iter().find(is_told) {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("`{missing}` is not in what it reads:\n{text}\n{errors}");
    }
    for (number, name) in (1..).zip(["middle_function", "outer_function", "run_chain", "main"]) {
        let is_there =
            |line: &String| line.starts_with(&format!("{number}: 0x")) && line.contains(&format!(" {name} "));
        if !lines.iter().any(is_there) {
            bail!("{name} is not location {number} in what it reads:\n{text}");
        }
    }
    if !lines.iter().any(|line| line.starts_with("1: 0x0/0x0/0x0 ") && line.contains(&file)) {
        bail!("{file} is no mapping in what it reads:\n{text}");
    }
    Ok(())
}

/// `--flame`: two files, one for each map of stacks.
pub fn check_flame(programs: &Programs) -> Result<()> {
    let directory = Directory::create("flame")?;
    let path = directory.path.join("out.svg");
    let script = format!(
        "uprobe:workload:middle_function+4 {{\n\
           @[ustack(4), arg0 <= 7 ? \"{HOSTILE}\" : \"few\"] = count();\n\
           @other[ustack(1)] = sum(arg0);\n\
           @calls = count();\n\
         }}"
    );
    let ended = trace(programs, &["--flame", &path.display().to_string()], &script)?;
    let output = String::from_utf8_lossy(&ended.output);
    if !output.contains("@calls: 10") {
        bail!("the format's own output is missing: {output}");
    }
    let other = directory.path.join("out-other.svg");
    let errors = String::from_utf8_lossy(&ended.errors);
    let told =
        [("@", &path), ("@other", &other)].map(|(map, path)| format!("Flame graph of {map}: {}", path.display()));
    if !told.iter().all(|line| errors.lines().any(|other| other == line)) {
        bail!("it does not tell of both files: {errors}");
    }
    let widths = read_flame_graph(&path)?;
    let all = *widths.get("all").context("there is no frame around all")?;
    // Of `;` a frame's name has a colon.
    let hostile = HOSTILE.replace(';', ":").replace("\\\"", "\"");
    for (name, part) in [(hostile.as_str(), 0.7), ("few", 0.3)] {
        let width = widths.get(name).with_context(|| format!("there is no frame {name} among {widths:?}"))?;
        if (width / all - part).abs() > 0.001 {
            bail!("the frame {name} has {width} of {all}, not {part} of it");
        }
    }
    let widths = read_flame_graph(&other)?;
    if widths.get("middle_function") != widths.get("all") {
        bail!("the only frame is not as wide as all: {widths:?}");
    }
    Ok(())
}

/// The widths of all frames by their names; of a name that is there several times together.
pub fn read_flame_graph(path: &Path) -> Result<BTreeMap<String, f64>> {
    let mut widths: BTreeMap<String, f64> = BTreeMap::new();
    for frame in frames(path)? {
        *widths.entry(frame.name).or_insert(0.0) += frame.width;
    }
    Ok(widths)
}

/// A frame of a flame graph.
pub struct GraphFrame {
    pub name: String,
    /// The name, and what it weighs.
    pub title: String,
    /// Per cent of the whole.
    pub width: f64,
    /// Red, green and blue.
    pub color: [u8; 3],
}

/// All frames of a flame graph, which has no script but its own.
pub fn frames(path: &Path) -> Result<Vec<GraphFrame>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..roxmltree::ParsingOptions::default() };
    let document = roxmltree::Document::parse_with_options(&text, options)?;
    let scripts = document.descendants().filter(|node| node.tag_name().name() == "script").count();
    if scripts != 1 {
        bail!("{} has {scripts} scripts", path.display());
    }
    let mut frames = Vec::new();
    for node in document.descendants().filter(|node| node.tag_name().name() == "title") {
        let frame = node.parent().into_iter().flat_map(|group| group.children());
        let Some(rectangle) = frame.into_iter().find(|node| node.tag_name().name() == "rect") else { continue };
        let title = node.text().unwrap_or_default().to_string();
        let name = title.rsplit_once(" (").map_or("", |(name, _)| name).to_string();
        let width = rectangle.attribute("width").unwrap_or_default().trim_end_matches('%').parse()?;
        let fill = rectangle.attribute("fill").and_then(|fill| fill.strip_prefix("rgb(")?.strip_suffix(')'));
        let parts: Vec<u8> = fill.unwrap_or_default().split(',').filter_map(|part| part.parse().ok()).collect();
        let color = <[u8; 3]>::try_from(parts).ok().with_context(|| format!("{name} has no colour"))?;
        frames.push(GraphFrame { name, title, width, color });
    }
    Ok(frames)
}
