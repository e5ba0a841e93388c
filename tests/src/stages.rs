//! Tier 0: the texts of the pipeline's stages for a case, with the described machine. Pure but for reading the
//! description.

use std::path::Path;

use anyhow::{Context, Result, bail};
use rtrace_compiler::encode::disassemble;
use rtrace_compiler::ir;
use rtrace_lang::check::CheckOptions;
use rtrace_lang::diagnostic::render;
use rtrace_lang::source::Source;
use rtrace_lang::target::fake::FakeTarget;
use rtrace_lang::{ast, hir};
use rtrace_runtime::driver::{Driven, Stage, drive};

use crate::case::{Case, Expected};
use crate::directives::WorkloadMode;

/// The pid that a followed process has in the described machine.
const PID: u32 = 1234;

/// Reads the described machine, `fake-target.txt` beside the directory of cases.
pub fn described_machine(cases: &Path) -> Result<FakeTarget> {
    let path = cases.with_file_name("fake-target.txt");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    FakeTarget::parse(&text).with_context(|| path.display().to_string())
}

/// What the stage gives for the case.
pub fn text(case: &Case, kind: Expected, target: &FakeTarget) -> Result<String> {
    let stage = match kind {
        Expected::Ast => Stage::Parse,
        Expected::Hir => Stage::Check,
        Expected::Ir | Expected::Bpf | Expected::Diagnostics => Stage::Compile,
        Expected::Output | Expected::Errors | Expected::Json => bail!("a run gives this text, not a stage"),
    };
    let (source, driven) = driven(case, target, stage);
    if kind == Expected::Diagnostics {
        return Ok(diagnostics(&source, &driven));
    }
    if driven.has_errors() {
        bail!("the script does not compile:\n{}", diagnostics(&source, &driven));
    }
    match (kind, &driven.hir, &driven.compiled) {
        (Expected::Ast, ..) => Ok(ast::dump(&driven.ast)),
        (Expected::Hir, Some(hir), _) => Ok(hir::dump(hir)),
        (Expected::Ir, _, Some(compiled)) => Ok(compiled.functions.iter().map(ir::dump).collect()),
        (Expected::Bpf, _, Some(compiled)) => {
            let programs = compiled.object.programs.iter();
            Ok(programs.map(|p| format!("program {}\n{}", p.name, disassemble(&p.instructions))).collect())
        }
        _ => bail!("the stage gave nothing, and no reason"),
    }
}

/// The case's script as far as that stage.
pub fn driven(case: &Case, target: &FakeTarget, stage: Stage) -> (Source, Driven) {
    let mut source = Source::new(&*case.script, &*case.text).found_below(&case.directory);
    let driven = drive(&mut source, target, &options(case), stage);
    (source, driven)
}

fn diagnostics(source: &Source, driven: &Driven) -> String {
    driven.diagnostics.iter().map(|diagnostic| render(diagnostic, source, false)).collect()
}

fn options(case: &Case) -> CheckOptions {
    let directives = &case.directives;
    let followed = directives.workload.as_ref().is_some_and(|workload| workload.mode != WorkloadMode::Beside);
    CheckOptions {
        pid: followed.then_some(PID),
        positional: directives.arguments.clone(),
        allow_unsafe: directives.flags.iter().any(|flag| flag == "--unsafe"),
        ..CheckOptions::default()
    }
}
