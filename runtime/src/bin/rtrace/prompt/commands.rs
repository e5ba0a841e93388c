//! The commands of the prompt, a row each, and what they do.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use rtrace_lang::aggregations::AGGREGATIONS;
use rtrace_lang::builtins;
use rtrace_lang::diagnostic::{did_you_mean, near_misses};
use rtrace_lang::hir::Table;
use rtrace_runtime::event::Event;
use rtrace_runtime::output::Sink;
use rtrace_runtime::output::flame::Flame;
use rtrace_runtime::session::Interrupt;

use crate::emit::STAGES;
use crate::listing;
use crate::script::{self, fail};

use super::complete::type_of_value;
use super::programs::Program;
use super::text::{duration, valued};
use super::{Flow, Prompt};

/// What a command takes, for completion.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    Program,
    StageAndProgram,
    Map,
    MapAndFile,
    File,
    Probes,
    Builtin,
    Expression,
}

pub struct Command {
    pub name: &'static str,
    pub words: &'static str,
    pub takes: Takes,
    pub doc: &'static str,
    pub run: fn(&mut Prompt, &str) -> Flow,
}

pub static COMMANDS: &[Command] = &[
    Command { name: ":list", words: "", takes: Takes::Nothing, doc: "the programs, and what they are", run: list },
    Command {
        name: ":stop",
        words: "[p1]",
        takes: Takes::Program,
        doc: "end a program, or all: its maps are printed",
        run: stop,
    },
    Command { name: ":start", words: "p1", takes: Takes::Program, doc: "run a stopped program again", run: start },
    Command {
        name: ":edit",
        words: "p1",
        takes: Takes::Program,
        doc: "change a program: the new one takes its place",
        run: edit,
    },
    Command {
        name: ":wait",
        words: "[p1]",
        takes: Takes::Program,
        doc: "wait until a program has ended, or all",
        run: wait,
    },
    Command { name: ":sleep", words: "1s", takes: Takes::Nothing, doc: "wait so long", run: sleep },
    Command { name: ":clear", words: "[@x]", takes: Takes::Map, doc: "empty a map, or all", run: clear },
    Command { name: ":top", words: "@x [5]", takes: Takes::Map, doc: "the largest entries of a map", run: top },
    Command {
        name: ":watch",
        words: "@x [1s] [TIMES]",
        takes: Takes::Map,
        doc: "show a map again and again, until Ctrl-C",
        run: watch,
    },
    Command {
        name: ":flame",
        words: "@x FILE",
        takes: Takes::MapAndFile,
        doc: "a map of stacks as a flame graph",
        run: flame,
    },
    Command { name: ":probes", words: "PATTERN", takes: Takes::Probes, doc: "the probes that match", run: probes },
    Command {
        name: ":fields",
        words: "PROBE",
        takes: Takes::Probes,
        doc: "the arguments of probes, the definition of `struct NAME`",
        run: fields,
    },
    Command { name: ":type", words: "EXPRESSION", takes: Takes::Expression, doc: "the type of a value", run: type_of },
    Command { name: ":doc", words: "NAME", takes: Takes::Builtin, doc: "what a builtin does", run: doc },
    Command {
        name: ":builtins",
        words: "",
        takes: Takes::Nothing,
        doc: "all builtin values and functions",
        run: all_builtins,
    },
    Command {
        name: ":emit",
        words: "STAGE [p1]",
        takes: Takes::StageAndProgram,
        doc: "a stage of the compilation: ast, hir, ir, bpf, asm, manifest or verifier",
        run: emit,
    },
    Command { name: ":save", words: "FILE", takes: Takes::File, doc: "write the programs to a script", run: save },
    Command { name: ":load", words: "FILE", takes: Takes::File, doc: "run a script", run: load },
    Command { name: ":help", words: "[NAME]", takes: Takes::Builtin, doc: "this text, or the same as :doc", run: help },
    Command {
        name: ":quit",
        words: "",
        takes: Takes::Nothing,
        doc: "end all programs and leave (or Ctrl-D)",
        run: |_, _| Flow::Leave,
    },
];

/// A command by its name, or by its beginning where that is of one alone.
pub fn named(name: &str) -> Option<&'static Command> {
    let mut near = COMMANDS.iter().filter(|command| command.name.starts_with(name));
    let first = near.next()?;
    (first.name == name || near.next().is_none() || name.len() == 2).then_some(first)
}

pub fn run(prompt: &mut Prompt, line: &str) -> Flow {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match named(name) {
        Some(command) => (command.run)(prompt, rest.trim()),
        None => {
            let near = near_misses(name, COMMANDS.iter().map(|command| command.name));
            let help = did_you_mean(&near).unwrap_or_else(|| ":help lists the commands".to_string());
            fail(&format!("there is no command {name}"), &[help]);
            Flow::Stay
        }
    }
}

fn list(prompt: &mut Prompt, words: &str) -> Flow {
    if !words.is_empty() {
        fail(":list shows the programs", &[format!("for probes: :probes {words}")]);
        return Flow::Stay;
    }
    if prompt.programs.all.is_empty() {
        prompt.print("no programs\n");
    }
    for program in &prompt.programs.all {
        let text = program.text.split_whitespace().collect::<Vec<_>>().join(" ");
        prompt.print(&format!("{:<4} {:<12} {text}\n", program.name, program.state()));
    }
    for (map, programs) in prompt.programs.shared_by_several() {
        prompt.print(&format!("{map} is shared by {}\n", programs.join(", ")));
    }
    Flow::Stay
}

/// Tells what there is instead.
fn no_program(prompt: &Prompt, name: &str) -> Flow {
    let names: Vec<&str> = prompt.programs.all.iter().map(|program| program.name.as_str()).collect();
    let help = match names.is_empty() {
        true => vec!["none is there; one that stays: interval:s:1 { print(\"tick\"); }".to_string()],
        false => vec![format!("programs: {}", names.join(", "))],
    };
    let message = if name.is_empty() { "which program?".to_string() } else { format!("there is no program {name}") };
    fail(&message, &help);
    Flow::Stay
}

fn stop(prompt: &mut Prompt, name: &str) -> Flow {
    if name.is_empty() {
        prompt.programs.stop_all();
        return Flow::Stay;
    }
    match prompt.programs.named(name) {
        Some(program) => {
            program.stop();
            Flow::Stay
        }
        None => no_program(prompt, name),
    }
}

fn start(prompt: &mut Prompt, name: &str) -> Flow {
    match prompt.programs.named(name) {
        Some(program) if program.is_running() => {
            fail(&format!("{name} is running"), &[]);
            Flow::Stay
        }
        Some(program) => {
            let text = program.text.clone();
            prompt.programs.run_as(&prompt.arguments, name, &text);
            Flow::Stay
        }
        None => no_program(prompt, name),
    }
}

fn edit(prompt: &mut Prompt, name: &str) -> Flow {
    match prompt.programs.named(name) {
        Some(program) => Flow::Edit { name: name.to_string(), text: program.text.clone() },
        None => no_program(prompt, name),
    }
}

/// How often what is waited for is looked at.
const LOOK: Duration = Duration::from_millis(20);

fn wait(prompt: &mut Prompt, name: &str) -> Flow {
    if !name.is_empty() && prompt.programs.named(name).is_none() {
        return no_program(prompt, name);
    }
    let interrupt = Interrupt::awaited();
    let is_meant = |program: &super::programs::Program| name.is_empty() || program.name == name;
    while prompt.programs.all.iter().any(|program| is_meant(program) && program.is_running()) && !interrupt.within(LOOK)
    {
    }
    Flow::Stay
}

fn sleep(_: &mut Prompt, words: &str) -> Flow {
    match duration(words) {
        Some(nanoseconds) => _ = Interrupt::awaited().within(Duration::from_nanos(nanoseconds)),
        None => _ = fail(":sleep takes a duration, such as 500ms or 2s", &[]),
    }
    Flow::Stay
}

fn clear(prompt: &mut Prompt, words: &str) -> Flow {
    let name = (!words.is_empty()).then_some(words);
    let count: usize = prompt.programs.running().filter_map(|(_, remote)| remote.clear(name)).sum();
    if count == 0 {
        prompt.no_map(name.unwrap_or("@"));
    }
    Flow::Stay
}

fn top(prompt: &mut Prompt, words: &str) -> Flow {
    let (map, count) = words.split_once(char::is_whitespace).unwrap_or((words, "5"));
    match count.trim().parse() {
        Ok(count) if map.starts_with('@') => {
            // The largest first.
            let table = Table { top: Some(count), descending: true, ..Table::default() };
            prompt.show_map(map, None, table);
        }
        Ok(_) | Err(_) => _ = fail(":top takes a map and a number: :top @x 5", &[]),
    }
    Flow::Stay
}

/// A map is shown this often where nothing is said.
const PERIOD: Duration = Duration::from_secs(1);

fn watch(prompt: &mut Prompt, words: &str) -> Flow {
    let mut words = words.split_whitespace();
    let map = words.next().unwrap_or_default();
    let rest: Vec<&str> = words.collect();
    let period = rest.iter().find_map(|word| duration(word)).map_or(PERIOD, Duration::from_nanos);
    let times = rest.iter().find_map(|word| word.parse::<u64>().ok()).unwrap_or(u64::MAX);
    if !map.starts_with('@') || rest.iter().any(|word| duration(word).is_none() && word.parse::<u64>().is_err()) {
        fail(":watch takes a map, and a period: :watch @x 500ms", &[]);
        return Flow::Stay;
    }
    let interrupt = Interrupt::awaited();
    let mut shown = 0;
    for _ in 0..times {
        let Some(text) = prompt.map_text(map, None, Table::default()) else { break };
        if prompt.is_terminal {
            // Back to where the last one began; what is longer than the window scrolls.
            let up = if shown > 0 { format!("\x1b[{shown}A\r") } else { String::new() };
            prompt.print(&format!("{up}\x1b[J{text}"));
            shown = text.lines().count();
        } else {
            prompt.print(&text);
        }
        if interrupt.within(period) {
            break;
        }
    }
    Flow::Stay
}

/// Takes events and shows none.
struct Nothing;

impl Sink for Nothing {
    fn event(&mut self, _: &Event) -> std::io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn flame(prompt: &mut Prompt, words: &str) -> Flow {
    let (map, file) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
    let file = file.trim();
    if !map.starts_with('@') || file.is_empty() {
        fail(":flame takes a map and a file: :flame @x out.svg", &[]);
        return Flow::Stay;
    }
    let mut maps: Vec<_> = prompt
        .programs
        .running()
        .filter_map(|(_, remote)| remote.maps(Some(map), Table::default()))
        .flatten()
        .collect();
    let Some(event) = maps.pop() else {
        prompt.no_map(map);
        return Flow::Stay;
    };
    let written = Flame::new(Box::new(Nothing), Path::new(file)).and_then(|mut flame| {
        flame.event(&Event::Map(event))?;
        flame.finish()
    });
    match written {
        Ok(()) if Path::new(file).exists() => prompt.print(&format!("{file}\n")),
        // Why there is none has been told.
        Ok(()) => {}
        Err(error) => _ = fail(&format!("cannot write {file}: {error}"), &[]),
    }
    Flow::Stay
}

fn probes(prompt: &mut Prompt, words: &str) -> Flow {
    listing::run(&prompt.arguments, (!words.is_empty()).then_some(words));
    Flow::Stay
}

fn fields(prompt: &mut Prompt, words: &str) -> Flow {
    match words.is_empty() {
        true => _ = fail(":fields takes a probe, or `struct NAME`", &[]),
        false => {
            let mut arguments = prompt.arguments.clone();
            arguments.verbose = true;
            listing::run(&arguments, Some(words));
        }
    }
    Flow::Stay
}

fn type_of(prompt: &mut Prompt, words: &str) -> Flow {
    if words.is_empty() {
        fail(":type takes a value: :type curtask.mm", &[]);
        return Flow::Stay;
    }
    let fixed = prompt.programs.sharing(None).fixed;
    match type_of_value(&valued(words), prompt.completion.machine(), prompt.arguments.pid, &fixed) {
        Some(ty) => prompt.print(&format!("{ty:#}\n")),
        None => prompt.explain_expression(words),
    }
    Flow::Stay
}

fn doc(prompt: &mut Prompt, name: &str) -> Flow {
    if name.is_empty() {
        fail(":doc takes a name: :doc hist", &[":builtins lists them".to_string()]);
        return Flow::Stay;
    }
    let name = name.trim_end_matches("()");
    let aggregation = AGGREGATIONS.iter().find(|row| row.name == name);
    let found = aggregation
        .map(|row| (row.signature, row.doc, row.example))
        .or_else(|| builtins::named(name).map(|row| (row.signature, row.doc, row.example)));
    match found {
        Some((signature, doc, example)) => prompt.print(&format!("{signature}\n    {doc}\n\n    {example}\n")),
        None => {
            let names = builtins::all().map(|row| row.name).chain(AGGREGATIONS.iter().map(|row| row.name));
            let near = near_misses(name, names);
            fail(&format!("there is no builtin `{name}`"), &did_you_mean(&near).into_iter().collect::<Vec<_>>());
        }
    }
    Flow::Stay
}

fn all_builtins(prompt: &mut Prompt, _: &str) -> Flow {
    let aggregations = AGGREGATIONS.iter().map(|row| (row.signature, row.doc));
    let all = builtins::all().map(|row| (row.signature, row.doc)).chain(aggregations);
    let text: String = all.map(|(signature, doc)| format!("{signature:<44} {doc}\n")).collect();
    prompt.print(&text);
    Flow::Stay
}

fn emit(prompt: &mut Prompt, words: &str) -> Flow {
    if words.is_empty() {
        fail(":emit takes a stage: :emit asm", &[format!("stages: {}", STAGES.join(", "))]);
        return Flow::Stay;
    }
    let (stage, name) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
    let of = |program: &Program| (program.name.clone(), program.text.clone());
    let found = match name.trim() {
        "" => prompt.programs.over.clone().or_else(|| prompt.programs.all.last().map(of)),
        name => prompt.programs.all.iter().find(|program| program.name == name).map(of),
    };
    let Some((name, text)) = found else { return no_program(prompt, name.trim()) };
    // The program has compiled: what is left to fail is the name of the stage, which is told.
    let _ = script::emit_text(&prompt.arguments, &name, &text, stage, prompt.programs.sharing(Some(&name)));
    Flow::Stay
}

fn save(prompt: &mut Prompt, file: &str) -> Flow {
    if file.is_empty() || prompt.programs.all.is_empty() {
        let message = if file.is_empty() { ":save takes a file" } else { "there is no program to save" };
        fail(message, &[]);
        return Flow::Stay;
    }
    let text: String = prompt.programs.all.iter().map(|program| format!("{}\n", program.text.trim_end())).collect();
    // A script that is there is not lost.
    let written = std::fs::File::create_new(file).and_then(|mut file| file.write_all(text.as_bytes()));
    match written {
        Ok(()) => prompt.print(&format!("{file}: {} programs\n", prompt.programs.all.len())),
        Err(error) => _ = fail(&format!("cannot write {file}: {error}"), &[]),
    }
    Flow::Stay
}

fn load(prompt: &mut Prompt, file: &str) -> Flow {
    match script::read(crate::arguments::Origin::File(file)) {
        Ok((_, text)) => prompt.programs.run(&prompt.arguments, text.trim_end()),
        Err(message) => _ = fail(&message, &[]),
    }
    Flow::Stay
}

fn help(prompt: &mut Prompt, name: &str) -> Flow {
    if !name.is_empty() && !name.starts_with(':') {
        return doc(prompt, name);
    }
    let mut text = "\
A program stays while you go on:     tracepoint:sched:sched_switch { @[comm] = count(); }
Values and maps are answered:        @    @[\"bash\"]    1 << 20    sizeof(struct sock)
Tab completes, Ctrl-R searches what was typed before, an unfinished block goes on in the next line.

"
    .to_string();
    for command in COMMANDS {
        text.push_str(&format!("  {:<24} {}\n", format!("{} {}", command.name, command.words), command.doc));
    }
    prompt.print(&text);
    Flow::Stay
}
