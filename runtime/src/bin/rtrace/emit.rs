//! `--emit`: the stages of a compilation as text, and the object as an ELF file.

use rtrace_compiler::encode::disassemble;
use rtrace_compiler::object::{Object, elf};
use rtrace_compiler::{Compiled, ir};
use rtrace_lang::source::Source;
use rtrace_lang::{ast, hir};
use rtrace_runtime::driver::Driven;
use rtrace_runtime::output::notices;

use crate::arguments;
use crate::script::{fail, near_and_all, print};

/// The stages by name, but for `elf=FILE`.
pub const STAGES: &[&str] = &["ast", "hir", "ir", "bpf", "asm", "manifest"];

/// Prints a stage; gives the exit status.
pub fn run(stage: &str, driven: &Driven, source: &Source) -> i32 {
    let out = match (stage, &driven.hir, &driven.compiled) {
        ("ast", ..) => ast::dump(&driven.ast),
        ("hir", Some(hir), _) => hir::dump(hir),
        ("ir", _, Some(compiled)) => compiled.functions.iter().map(ir::dump).collect(),
        ("bpf", _, Some(compiled)) => words(compiled),
        ("asm", _, Some(compiled)) => assembly(&compiled.object, source),
        ("manifest", _, Some(compiled)) => manifest(compiled, source),
        (stage, _, Some(compiled)) if stage.starts_with("elf=") => {
            let path = &stage[4..];
            let bytes = elf::write(&compiled.object, source);
            return match std::fs::write(path, bytes) {
                Ok(()) => 0,
                Err(error) => fail(&format!("cannot write {path}: {error}"), &[]),
            };
        }
        _ => {
            let mut help = near_and_all(stage, "stages", &[STAGES, &["elf=FILE"]].concat());
            if arguments::duration(stage).is_ok() {
                help.insert(
                    0,
                    format!("-d prints a stage of the compilation; `--duration {stage}` ends a script after that time"),
                );
            }
            return fail(&format!("there is no stage `{stage}`"), &help);
        }
    };
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
