//! The way of a script from text to object. The only file that calls the parser, the checker and the compiler; the
//! command, the prompt and the tests all come here.

use std::sync::Arc;

use rtrace_compiler::ir::Function;
use rtrace_compiler::{CompileOptions, Compiled, compile};
use rtrace_lang::ast::Script;
use rtrace_lang::calls;
use rtrace_lang::check::{CheckOptions, ScriptOption, check};
use rtrace_lang::diagnostic::Diagnostic;
use rtrace_lang::hir::Hir;
use rtrace_lang::parse::parse;
use rtrace_lang::source::Source;
use rtrace_lang::target::{Feature, Target};
use rtrace_lang::unwind::MappingFields;

use crate::imports;

/// How far the driver goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    Parse,
    Check,
    Compile,
}

/// What came of a script. Each stage is there if the ones before it found no mistake.
pub struct Driven {
    pub ast: Script,
    pub hir: Option<Arc<Hir>>,
    pub compiled: Option<Compiled>,
    /// Parameters that the script asks for by name.
    pub options: Vec<ScriptOption>,
    pub diagnostics: Vec<Diagnostic>,
}

impl Driven {
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Takes the script as far as `stage`; what it imports is added to the source.
pub fn drive(source: &mut Source, target: &dyn Target, options: &CheckOptions, stage: Stage) -> Driven {
    let parsed = parse(source.main_text());
    let mut driven =
        Driven { ast: parsed.ast, hir: None, compiled: None, options: Vec::new(), diagnostics: parsed.diagnostics };
    if stage < Stage::Check || driven.has_errors() {
        return driven;
    }
    driven.ast = imports::resolve(driven.ast, source, &mut driven.diagnostics);
    if driven.has_errors() {
        return driven;
    }
    let checked = check(&driven.ast, target, options);
    driven.diagnostics.extend(checked.diagnostics);
    driven.options = checked.options;
    driven.hir = checked.hir.map(Arc::new);
    if stage < Stage::Compile || driven.has_errors() {
        return driven;
    }
    if let Some(hir) = &driven.hir {
        let options = CompileOptions { shares_maps: options.shares_maps, ..compile_options(hir, target) };
        match compile(hir.clone(), &options) {
            Ok(compiled) => driven.compiled = Some(compiled),
            Err(diagnostics) => driven.diagnostics.extend(diagnostics),
        }
    }
    driven
}

/// The program with its output counted and not sent.
pub fn counting(hir: Arc<Hir>, target: &dyn Target) -> Result<Compiled, Vec<Diagnostic>> {
    let options = CompileOptions { counts_output: true, ..compile_options(&hir, target) };
    compile(hir, &options)
}

/// The functions of a program before all passes.
pub fn lowered(hir: &Hir, target: &dyn Target) -> Vec<Function> {
    rtrace_compiler::lowered(hir, &compile_options(hir, target))
}

/// Asks the machine for the features that matter to this program; each costs a probe, so a small script asks for none.
fn compile_options(hir: &Hir, target: &dyn Target) -> CompileOptions {
    let uses = hir.uses();
    CompileOptions {
        atomic_fetch: (uses.map_updates || uses.wide_sums || uses.user_code) && target.has(Feature::AtomicFetch),
        map_allocator: (uses.stacks || uses.large_cells) && target.has(Feature::MapAllocator),
        loop_helper: uses.loops && target.has(Feature::Helper(calls::LOOP)),
        mapping_fields: (uses.unwind_tables && target.has(Feature::Helper(calls::FIND_VMA)))
            .then(|| MappingFields::of(target))
            .flatten(),
        process_namespace: target.process_namespace(),
        cpus: target.possible_cpus(),
        session_call: (!hir.sessions().is_empty() && target.has(Feature::KprobeSession))
            .then(|| target.kernel_call(calls::SESSION_IS_RETURN))
            .flatten(),
        counts_output: false,
        shares_maps: false,
    }
}
