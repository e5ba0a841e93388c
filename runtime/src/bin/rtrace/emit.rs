//! `--emit`: the stages of a compilation as text, and the object as an ELF file.

use rtrace_compiler::encode::disassemble;
use rtrace_compiler::object::{Object, elf};
use rtrace_compiler::{Compiled, ir};
use rtrace_lang::source::Source;
use rtrace_lang::{ast, hir};
use rtrace_runtime::driver::{Driven, Stage};
use rtrace_runtime::output::notices;
use rtrace_runtime::session::Session;

use crate::arguments;
use crate::script::{fail, near_and_all, print};

/// The stages by name, but for `elf=FILE`.
pub const STAGES: &[&str] = &["ast", "hir", "ir", "bpf", "asm", "manifest", VERIFIER];

/// What the kernel's verifier says, which it is asked for.
pub const VERIFIER: &str = "verifier";

/// Stages of bpftrace's `-d`, and what comes nearest to each.
const OF_BPFTRACE: &[(&str, &str)] =
    &[("parse", "ast"), ("types", "hir"), ("codegen", "ir"), ("codegen-opt", "ir"), ("dis", "asm")];

/// Stages of bpftrace's that are none here, and where to look.
const ELSEWHERE: &[(&str, &str)] =
    &[("libbpf", "programs are loaded without it: `-v` says what is loaded, and how it is attached")];

/// The stages that `--emit` names, or the exit status.
pub fn stages(asked: &str) -> Result<Vec<&str>, i32> {
    if asked.starts_with("elf=") {
        return Ok(vec![asked]);
    }
    let mut stages = Vec::new();
    for name in asked.split(',') {
        let meant = OF_BPFTRACE.iter().find(|(theirs, _)| *theirs == name).map_or(name, |(_, ours)| ours);
        match STAGES.iter().find(|stage| **stage == meant) {
            Some(stage) => stages.push(*stage),
            // What rtrace does itself takes no privilege.
            None if name == "all" => stages.extend(STAGES.iter().filter(|stage| **stage != VERIFIER)),
            None => return Err(no_stage(name)),
        }
    }
    Ok(stages)
}

fn no_stage(name: &str) -> i32 {
    let mut help = near_and_all(name, "stages", &[STAGES, &["all", "elf=FILE"]].concat());
    if let Some((_, place)) = ELSEWHERE.iter().find(|(theirs, _)| *theirs == name) {
        help = vec![place.to_string()];
    }
    if arguments::duration(name).is_ok() {
        let end = format!("-d prints a stage of the compilation; `--duration {name}` ends a script after that time");
        help.insert(0, end);
    }
    fail(&format!("there is no stage `{name}`"), &help)
}

/// How far a script must be taken for them.
pub fn needed(stages: &[&str]) -> Stage {
    let of = |stage: &&str| match *stage {
        "ast" => Stage::Parse,
        "hir" => Stage::Check,
        _ => Stage::Compile,
    };
    stages.iter().map(of).max().unwrap_or(Stage::Compile)
}

/// Prints stages, all but the verifier's; gives the exit status.
pub fn run(stages: &[&str], driven: &Driven, source: &Source) -> i32 {
    let mut out = String::new();
    for stage in stages {
        if *stage == VERIFIER {
            continue;
        }
        if stages.len() > 1 {
            out.push_str(&format!("==== {stage}\n"));
        }
        match (*stage, &driven.hir, &driven.compiled) {
            ("ast", ..) => out.push_str(&ast::dump(&driven.ast)),
            ("hir", Some(hir), _) => out.push_str(&hir::dump(hir)),
            ("ir", _, Some(compiled)) => out.extend(compiled.functions.iter().map(ir::dump)),
            ("bpf", _, Some(compiled)) => out.push_str(&words(compiled)),
            ("asm", _, Some(compiled)) => out.push_str(&assembly(&compiled.object, source)),
            ("manifest", _, Some(compiled)) => out.push_str(&manifest(compiled, source)),
            (elf, _, Some(compiled)) => {
                let path = elf.trim_start_matches("elf=");
                let bytes = elf::write(&compiled.object, source);
                return match std::fs::write(path, bytes) {
                    Ok(()) => 0,
                    Err(error) => fail(&format!("cannot write {path}: {error}"), &[]),
                };
            }
            // Where the script has no mistake, all that it was taken to is there.
            (_, _, None) => {}
        }
    }
    print(out.as_bytes())
}

/// Prints what the verifier said of each program; gives the exit status.
pub fn verifier(stages: &[&str], session: &Session<'_>) -> i32 {
    let mut out = String::new();
    if stages.len() > 1 {
        out.push_str(&format!("==== {VERIFIER}\n"));
    }
    for (name, log) in session.verifier_logs() {
        out.push_str(&format!("program {name}\n{log}"));
    }
    print(out.as_bytes())
}

/// What `-v` says of the programs, on stderr.
pub fn sizes(compiled: &Compiled) {
    let mut text = String::new();
    for program in &compiled.object.programs {
        text.push_str(&format!(
            "program {}: {} instructions, {} site{}\n",
            program.name,
            program.instructions.len(),
            program.sites.len(),
            if program.sites.len() == 1 { "" } else { "s" }
        ));
    }
    for (pass, time) in &compiled.pass_times {
        text.push_str(&format!("pass {pass}: {} us\n", time.as_micros()));
    }
    notices::tell(&text);
}

/// The instructions as the kernel gets them, a word a line.
fn words(compiled: &Compiled) -> String {
    let mut out = String::new();
    for program in &compiled.object.programs {
        out.push_str(&format!("program {}\n", program.name));
        for word in &program.instructions {
            out.push_str(&format!("{word:016x}\n"));
        }
    }
    out
}

/// The instructions as text, with the lines of the script that they come from.
pub fn assembly(object: &Object, source: &Source) -> String {
    let mut out = String::new();
    for program in &object.programs {
        out.push_str(&format!("program {}\n", program.name));
        for line in disassemble(&program.instructions).lines() {
            let number = line.trim_start().split(':').next().and_then(|number| number.parse::<u32>().ok());
            if let Some((_, span)) = program.lines.iter().find(|(at, _)| Some(*at) == number) {
                let place = source.locate(*span);
                out.push_str(&format!("; {}:{} {}\n", place.line, place.column, place.text));
            }
            out.push_str(&format!("{line}\n"));
        }
    }
    out
}

fn manifest(compiled: &Compiled, source: &Source) -> String {
    let object = &compiled.object;
    let hir = &object.manifest.hir;
    let mut out = String::new();
    for (number, map) in object.maps.iter().enumerate() {
        out.push_str(&format!(
            "map {number} {}: {:?}, key {} bytes, value {} bytes, {} entries\n",
            map.name, map.kind, map.key_bytes, map.value_bytes, map.entries
        ));
    }
    for program in &object.programs {
        out.push_str(&format!(
            "program {}: {:?}, {} instructions\n",
            program.name,
            program.kind,
            program.instructions.len()
        ));
        for site in &program.sites {
            out.push_str(&format!("  site {} {}\n", site.0, hir.sites[site.index()].name));
        }
    }
    for (number, record) in hir.records.iter().enumerate() {
        let bytes = 8 + record.parts.iter().map(|part| part.stored_bytes()).sum::<u32>();
        let place = source.locate(record.span);
        out.push_str(&format!("record {number}: {bytes} bytes, at {}:{}\n", place.line, place.column));
    }
    for (site, offset) in &object.manifest.globals.errors {
        let place = source.locate(site.span);
        out.push_str(&format!("error counter + {offset}: {:?} at {}:{}\n", site.kind, place.line, place.column));
    }
    out
}
