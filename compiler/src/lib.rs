//! Compiles a checked program to eBPF: Hir -> Ir -> passes -> instructions -> Object. Pure: never does IO. Knows kernels
//! only through `CompileOptions`.
#![forbid(unsafe_code)]

pub mod encode;
pub mod ir;
mod keep;
mod link;
mod lower;
pub mod machine;
pub mod object;
pub mod passes;
mod regalloc;
mod select;
mod session;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rtrace_lang::diagnostic::{Code, Diagnostic};
use rtrace_lang::hir::{Dispatch, Hir};
use rtrace_lang::limits::MOST_PER_CPU_BYTES;
use rtrace_lang::span::Span;
use rtrace_lang::target::ProcessNamespace;
use rtrace_lang::unwind::MappingFields;

use lower::Scratch;
use object::{Manifest, Object, ProgramObject};

/// Programs that are worth a thread.
const LEAST_FOR_A_THREAD: usize = 16;

/// What the kernel offers that changes the code. Everything off gives code for the oldest kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CompileOptions {
    /// Atomic operations that give the old value.
    pub atomic_fetch: bool,
    /// Maps may take their elements on use in every kind of program.
    pub map_allocator: bool,
    /// The helper that calls a function for each round of a loop.
    pub loop_helper: bool,
    /// Where programs can ask the kernel what a process has mapped.
    pub mapping_fields: Option<MappingFields>,
    /// Where it is not the first process namespace whose numbers count.
    pub process_namespace: Option<ProcessNamespace>,
    /// Processors: parts of a value that is kept for each of them.
    pub cpus: u32,
    /// The number by which programs call `bpf_session_is_return`, where a program may run at entries and returns.
    pub session_call: Option<u32>,
    /// Programs of other objects may put values into the script's maps.
    pub shares_maps: bool,
    /// Output is not sent but counted, by the counter of its record.
    pub counts_output: bool,
}

/// An object, and what the stages on the way to it looked like.
pub struct Compiled {
    pub object: Object,
    /// One function for each program, after all passes.
    pub functions: Vec<ir::Function>,
    /// Time that each pass took over all programs, in the order of `passes::PASSES`.
    pub pass_times: Vec<(&'static str, Duration)>,
}

/// Compiles a program. The only mistakes of the user that are left are sizes beyond the kernel's limits.
pub fn compile(hir: Arc<Hir>, options: &CompileOptions) -> Result<Compiled, Vec<Diagnostic>> {
    // Two programs in one take more of the stack than each by itself.
    if options.session_call.is_some()
        && let Ok(compiled) = compile_for(hir.clone(), options)
    {
        return Ok(compiled);
    }
    compile_for(hir, &CompileOptions { session_call: None, ..*options })
}

fn compile_for(hir: Arc<Hir>, options: &CompileOptions) -> Result<Compiled, Vec<Diagnostic>> {
    match compile_with(hir.clone(), options, Scratch::PerCpu)? {
        Some(compiled) => Ok(compiled),
        None => Ok(compile_with(hir, options, Scratch::ByCpu)?.expect("it takes any size")),
    }
}

/// None if the scratch memory is too large for that kind of map.
fn compile_with(
    hir: Arc<Hir>,
    options: &CompileOptions,
    scratch: Scratch,
) -> Result<Option<Compiled>, Vec<Diagnostic>> {
    let mut shared = lower::Shared::new(&hir, options, scratch);
    let sessions = if options.session_call.is_some() { hir.sessions() } else { Vec::new() };
    // Programs share what lowering fills; what comes after is each one's own.
    let mut lowered = Vec::new();
    for (number, program) in hir.programs.iter().enumerate() {
        let cookie = sessions.iter().find(|session| session.returns == number).map_or(0, |session| session.distance);
        let function = lower::lower(&hir, program, cookie, options, &mut shared);
        check(&function, "lowering");
        lowered.push(function);
    }
    let mut programs: Vec<Option<ProgramObject>> = Vec::new();
    let mut functions = Vec::new();
    let mut diagnostics = Vec::new();
    let mut pass_times: Vec<(&'static str, Duration)> =
        passes::PASSES.iter().map(|(name, _)| (*name, Duration::ZERO)).collect();
    for (program, finished) in hir.programs.iter().zip(finish_all(lowered, options.cpus)) {
        for ((_, time), of_program) in pass_times.iter_mut().zip(finished.pass_times) {
            *time += of_program;
        }
        shared.scratch_bytes = shared.scratch_bytes.max(finished.scratch_bytes);
        match finished.linked {
            Ok(linked) => programs.push(Some(ProgramObject {
                name: program.name.clone(),
                kind: program.kind,
                sites: program.sites.clone(),
                wants_cookie: program.dispatch == Dispatch::Cookie,
                depth: linked.depth,
                instructions: linked.instructions,
                relocations: linked.relocations,
                lines: linked.lines,
                functions: linked.functions,
            })),
            Err(error) => {
                diagnostics.push(too_large(program.span, &error));
                programs.push(None);
            }
        }
        functions.push(finished.function);
    }
    for session in &sessions {
        let (entries, returns) = (programs[session.entries].take(), programs[session.returns].take());
        let (Some(entries), Some(returns), Some(call)) = (entries, returns, options.session_call) else { continue };
        let span = hir.programs[session.entries].span;
        match session::join(entries, returns, call, span) {
            Ok(joined) => programs[session.entries] = Some(joined),
            Err(error) => diagnostics.push(too_large(span, &error)),
        }
    }
    let programs = programs.into_iter().flatten().collect();
    if scratch == Scratch::PerCpu && shared.scratch_bytes > MOST_PER_CPU_BYTES {
        return Ok(None);
    }
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    shared.finish();
    let manifest = Manifest {
        hir,
        globals: shared.globals.clone(),
        ring: shared.ring.map(|map| map.0),
        globals_map: shared.globals_map.0,
        stacks: shared.stacks_map().map(|map| map.0),
        unwind: shared.unwind_maps(),
        cgroup: shared.cgroup_map().map(|map| map.0),
        tree: shared.tree_map().map(|map| map.0),
    };
    Ok(Some(Compiled { object: Object { programs, maps: shared.maps, manifest }, functions, pass_times }))
}

fn too_large(span: Span, error: &str) -> Diagnostic {
    Diagnostic::error(Code::TooLarge, span, format!("the program does not fit: {error}"))
        .label("this clause")
        .help("split the clause, or use shorter keys and fewer variables at once")
}

/// A program after lowering: all that is left to do with it.
struct Finished {
    function: ir::Function,
    scratch_bytes: u32,
    linked: Result<link::Linked, String>,
    pass_times: Vec<Duration>,
}

fn finish(mut function: ir::Function) -> Finished {
    let mut pass_times = Vec::new();
    for (name, pass) in passes::PASSES {
        let start = Instant::now();
        function.for_each(&mut |function| pass(function));
        pass_times.push(start.elapsed());
        check(&function, name);
    }
    let scratch_bytes = keep::run(&mut function);
    check(&function, "keep");
    let linked = link::link(&function);
    Finished { function, scratch_bytes, linked, pass_times }
}

/// Many programs on all processors; in their order.
fn finish_all(lowered: Vec<ir::Function>, cpus: u32) -> Vec<Finished> {
    let share = lowered.len().div_ceil(cpus.max(1) as usize).max(LEAST_FOR_A_THREAD);
    let mut left = lowered.into_iter();
    let mut shares: Vec<Vec<ir::Function>> = Vec::new();
    while left.len() > 0 {
        shares.push(left.by_ref().take(share).collect());
    }
    let own = shares.pop().unwrap_or_default();
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            shares.into_iter().map(|share| scope.spawn(|| share.into_iter().map(finish).collect::<Vec<_>>())).collect();
        let own: Vec<Finished> = own.into_iter().map(finish).collect();
        let of_threads = threads.into_iter().flat_map(|thread| match thread.join() {
            Ok(finished) => finished,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        of_threads.chain(own).collect()
    })
}

/// The functions as they are before all passes, for the judges of the passes.
pub fn lowered(hir: &Hir, options: &CompileOptions) -> Vec<ir::Function> {
    let mut shared = lower::Shared::new(hir, options, Scratch::PerCpu);
    hir.programs.iter().map(|program| lower::lower(hir, program, 0, options, &mut shared)).collect()
}

/// A breach of what the representation promises is our bug: found in debug builds, before the kernel sees it.
fn check(function: &ir::Function, after: &str) {
    if cfg!(debug_assertions)
        && let Err(breach) = ir::verify(function)
    {
        panic!("after {after}: {breach}\n{}", ir::dump(function));
    }
}
