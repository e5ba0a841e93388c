//! Generated programs give the same maps, records and errors whichever way they are run: by a reading of the language's
//! rules, by the interpreter before and after the passes, and by the kernel; and the kernel refuses none.
//! PROPTEST_CASES says how many; a script that once failed is kept below as a test of its own.

mod evaluate;
mod kernel;
mod outcome;
mod scripts;

use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError};
use rtrace_compiler::ir::interpret::{Environment, Simulation};
use rtrace_compiler::ir::{Function, MapRef, dump};
use rtrace_compiler::object::Object;
use rtrace_lang::calls;
use rtrace_lang::check::CheckOptions;
use rtrace_lang::diagnostic::{Code, Diagnostic};
use rtrace_lang::hir::Hir;
use rtrace_lang::source::Source;
use rtrace_lang::target::fake::FakeTarget;
use rtrace_lang::target::{Feature, Target};
use rtrace_probes::Machine;
use rtrace_runtime::driver::{Driven, Stage, drive, lowered};
use rtrace_tests::environment::Environment as TestEnvironment;

use outcome::Outcome;

/// The name of the current thread, padded as the kernel keeps it.
fn comm() -> [u8; 16] {
    let name = std::fs::read("/proc/thread-self/comm").expect("a thread has a name");
    let mut comm = [0; 16];
    let name = name.strip_suffix(b"\n").unwrap_or(&name);
    comm[..name.len()].copy_from_slice(name);
    comm
}

/// None for the one mistake that a generated script may have.
fn compiled(script: &str, target: &dyn Target) -> Result<Option<Driven>, TestCaseError> {
    let driven = drive(&mut Source::new("generated", script), target, &CheckOptions::default(), Stage::Compile);
    let errors: Vec<&Diagnostic> = driven.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).collect();
    if errors.iter().all(|error| error.code == Code::BadValue || error.code == Code::TooLarge) {
        return Ok(if errors.is_empty() { Some(driven) } else { None });
    }
    Err(TestCaseError::fail(format!("{errors:#?}")))
}

fn interpreted(hir: &Hir, object: &Object, function: &Function) -> Result<Outcome, TestCaseError> {
    let mut simulation = Simulation::new(object, Environment { comm: comm(), ..Environment::default() });
    if let Err(fault) = simulation.run(function) {
        return Err(TestCaseError::fail(format!("{fault}\n{}", dump(function))));
    }
    let entries = |number: usize| simulation.maps.entries(MapRef(number as u32), &simulation.memory);
    Ok(Outcome::decode(hir, object, entries, &simulation.records))
}

fn expected(hir: &Hir) -> Outcome {
    let name = comm();
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    evaluate::evaluate(hir, &name[..end])
}

/// All the ways that need no kernel.
fn check_pure(script: &str, target: &dyn Target) -> Result<(), TestCaseError> {
    let Some(driven) = compiled(script, target)? else { return Ok(()) };
    let (hir, compiled) = (driven.hir.expect("checked"), driven.compiled.expect("compiled"));
    let expected = expected(&hir);
    let before = interpreted(&hir, &compiled.object, &lowered(&hir, target)[0])?;
    prop_assert_eq!(&before, &expected, "lowering differs from the language");
    let after = interpreted(&hir, &compiled.object, &compiled.functions[0])?;
    prop_assert_eq!(&after, &expected, "the passes change the meaning");
    Ok(())
}

fn check_kernel(script: &str, machine: &Machine) -> Result<(), TestCaseError> {
    let Some(driven) = compiled(script, machine)? else { return Ok(()) };
    let (hir, compiled) = (driven.hir.expect("checked"), driven.compiled.expect("compiled"));
    match kernel::run(machine, &hir, &compiled.object) {
        Ok(found) => prop_assert_eq!(&found, &expected(&hir), "the kernel computes something else"),
        Err(error) => return Err(TestCaseError::fail(format!("{error:?}"))),
    }
    Ok(())
}

/// What scripts may use that are to run on that machine.
fn has(target: &dyn Target) -> scripts::Has {
    scripts::Has {
        other_cpus: target.has(Feature::Helper(calls::MAP_LOOKUP_PERCPU_ELEM)),
        loops: target.has(Feature::Helper(calls::FOR_EACH_MAP_ELEM)) && target.has(Feature::Helper(calls::LOOP)),
    }
}

fn config(cases: u32) -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(cases);
    Config { cases, failure_persistence: None, max_shrink_iters: 4096, ..Config::default() }
}

fn described() -> &'static [FakeTarget; 2] {
    static TARGETS: OnceLock<[FakeTarget; 2]> = OnceLock::new();
    TARGETS.get_or_init(|| {
        let all =
            FakeTarget::parse("cpus 1\nfeature AtomicFetch MapAllocator CpuV4 Helper(164) Helper(181) Helper(195)")
                .expect("a description");
        [all, FakeTarget::parse("cpus 1").expect("a description")]
    })
}

/// Why the kernel can't be asked here, if it can't; printed.
fn is_skipped() -> bool {
    let environment = TestEnvironment::detect().expect("an environment");
    let reason = environment.reason_to_skip(1, &[]).expect("the tier is required");
    if let Some(reason) = &reason {
        println!("skipped: {reason}");
    }
    reason.is_some()
}

#[test]
fn generated_programs_mean_what_the_language_says() {
    for target in described() {
        let mut runner = proptest::test_runner::TestRunner::new(config(400));
        if let Err(error) = runner.run(&scripts::script(has(target)), |script| check_pure(&script, target)) {
            panic!("{error}");
        }
    }
}

#[test]
fn generated_programs_do_the_same_in_the_kernel() {
    if is_skipped() {
        return;
    }
    let machine = Machine::new();
    let cases = config(300).cases;
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
    let part = || {
        let mut runner = proptest::test_runner::TestRunner::new(Config { cases: cases.div_ceil(threads), ..config(0) });
        if let Err(error) = runner.run(&scripts::script(has(&machine)), |script| check_kernel(&script, &machine)) {
            panic!("{error}");
        }
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(part))));
}

/// Scripts that once gave something else, made as small as they get.
const ONCE_WRONG: &[&str] = &[
    // A variable read behind a branch without arguments: the compiler stopped.
    "BEGIN { $a = 1; @h = hist(5); @l = lhist(3, -10, 100, 7); print($a); }",
    "BEGIN { @a = stddev(-9223372036854775808); @a = stddev(-9223372036854775808); @a = stddev(5); }",
    "BEGIN { @a = quantiles(-9223372036854775808); @a = quantiles(63); @a = quantiles(64); @a = quantiles(-1); }",
    "BEGIN { @a[1] = llquantize(-99, 10, 1, 5, 100, 3); @a[1] = llquantize(1000000, 10, 1, 5, 100, -2); }",
    // Divisors that turn out to be constant were not counted, or not noticed.
    "BEGIN { @i = 1; @i /= (int8)(256 & 65280); }",
    "BEGIN { $a = 1; @u = (uint64)9; if (0) { @u /= ($a << -1); } }",
    "BEGIN { $a = 1; $z = 0; @u = (uint64)9; if ($z == 0) { $z = $a - 1; } @u /= $z; @u %= $z * $a; }",
    // Arguments were evaluated out of their order.
    "BEGIN { $z = 0; printf(\"%d %s %x\\n\", 0, ($z ? \"\" : \"a\"), (++$z)); }",
    "BEGIN { @z = 0; print((@z++, @z ? \"one\" : \"none\", @z)); }",
    // Rounds of a number that is not known, with a call in them: refused by 5.10.
    "fn words($a) { @avg = avg($a ^ 5); return $a; } BEGIN { @k[0] = 5; $a = 1;
     for $n : (@k[0] & 1)..2 { $a = $a + $n; @by[words($a < 62761)] = count(); } }",
    // Kernel 6.1 refused an element whose index it knew to be outside, on a way that is never taken.
    "BEGIN { @i = 3; $s = \"text\"; $z = @i; @m[1, \"two\"] = 7; for $n : 0..3 { delete(@m[$s[--$z], \"\"]); } }",
    // And a slot of a histogram whose number lay on the stack, where it forgets the bounds.
    "BEGIN { $a = 1; @i = 3; $s = \"text\"; $z = @i; unroll 3 { @fine = hist(@i ? 8 : $a, 3); $a = $a + $z + strlen($s); @fine = hist($z ? $a : @i, 3); } }",
    // Kernel 6.1 left out the slots of all values but 0, the length of a string that could not be read.
    "fn words($a, $s) { $b = 3; $r = (n = 3, t = \"in\"); while (@w++ < 4 && strlen(\"\" + (0 != 0 ? @ts[0] : \"none\"))) { $b += 1; } return $r.t; }
     BEGIN { $b = -7; @k[0] = 5; @m[1, \"two\"] = 7; @t = \"hello\"; @ts[0] = \"name\"; @cut = \"abcdefgh\"; $y = (int16[4])7; @y = (uint8[8])9;
     while (@w++ < 4 && 0) { $b += 1; }
     @ll[strlen(words(0, @t) + \"\")] = llquantize(strlen(words(0, \"\") + \"\"), 10, 0, 5, 20, strlen(words(0, ((@k[0] < 0x1f) ? @t : \"\")) + \"\"));
     @ts[(((!(3)), \"\") == ($b, words(@k[0], \"xtzdfpdw\")))] = \"\"; }",
    // Kernel 6.1 left out the ways on which a number of the caller had another value before the call.
    "fn outer($a): int64 { for $n : 0..3 { @fine = hist(bswap((uint64)(@i)), 3); @r[0] = (n = (@i ?: 0)); } return -3; }
     BEGIN { $a = 1; @i = 3; @k[0] = 5; @m[1, \"two\"] = 7; @r[0] = (n = 2);
     @hist = hist((((int8)(@m[1, \"two\"])) & outer(((int8)($a))))); }",
];

#[test]
fn what_was_wrong_once() {
    let machine = (!is_skipped()).then(Machine::new);
    for script in ONCE_WRONG {
        let checked = described().iter().try_for_each(|target| check_pure(script, target));
        let checked = checked.and_then(|()| machine.as_ref().map_or(Ok(()), |machine| check_kernel(script, machine)));
        if let Err(error) = checked {
            panic!("{script}\n{error}");
        }
    }
}
