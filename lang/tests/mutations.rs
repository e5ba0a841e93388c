//! Scripts of the repository, changed at random: words and bytes that are taken out, doubled, moved, and mixed with those of
//! other scripts. Whatever comes of it, nothing may panic, each message must point into the text, a program comes out
//! exactly if there is no error, and the formatter damages nothing.
//!
//! `RTRACE_TEXTS` says how many texts, `RTRACE_SEED` the number of the first: the same number is the same text, as long as the scripts are. `cargo xtask
//! fuzz --text N` runs it for long.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rtrace_lang::ast;
use rtrace_lang::check::{CheckOptions, check};
use rtrace_lang::diagnostic::{Diagnostic, render};
use rtrace_lang::hir;
use rtrace_lang::lexer::lex;
use rtrace_lang::parse::parse;
use rtrace_lang::pretty::{Refusal, format};
use rtrace_lang::source::Source;
use rtrace_lang::target::fake::FakeTarget;

/// Texts of a usual run of the tests.
const FEW: u64 = 3_000;

/// Longer scripts are left out, and longer texts cut: they take their time and are no stranger.
const LONGEST: usize = 4096;

/// No text of that length may take more of a processor's time, in a development build.
const MOST_TIME: Duration = Duration::from_secs(20);

/// What is put in where nothing of another script is.
const STRANGE: &[&str] = &[
    "\0",
    "\u{7f}",
    "é",
    "\u{1f600}",
    "\u{202e}",
    "\r",
    "\\\n",
    "\"",
    "'",
    "/*",
    "*/",
    "//",
    "#if",
    "#endif\n",
    "#define A A\n",
    "${",
    "@",
    "$",
    "@@",
    "$$",
    "..",
    "...",
    "->",
    "::",
    "<<<",
    ">>>",
    "=~",
    "0x",
    "0b2",
    "1e99",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "-1",
    "0",
    "4294967296",
    "1_000",
    "1K",
    "1us",
    "\"%s%d%n\"",
    "\"\\xff\"",
    "((((((((",
    "))))))))",
    "{{{{{{{{",
    "}}}}}}}}",
    "[[[[",
    "]]]]",
    "!!!!",
    "----",
    "- - -",
    "~",
    "?",
    ":",
    ";",
    ",",
    "/",
    "<",
    ">",
    "BEGIN",
    "kprobe:*",
    "uprobe::",
    "tracepoint:*:*",
    "END",
    "struct task_struct",
    "(struct task_struct *)",
    "(uint8[4])",
    "curtask",
    "args",
    "retval",
    "self->x",
    "this->x",
    "entry(",
    "macro ",
    "fn ",
    "import \"x\";",
    "let @",
    "comptime ",
];

/// A stream of numbers that its seed decides.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Below `end`, which is more than nothing.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// All scripts below the directories that have some.
fn scripts() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut open: Vec<PathBuf> = ["tests/cases", "examples", "benches"].map(|directory| root.join(directory)).into();
    let mut paths = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("the directory is there") {
            let path = entry.expect("it can be read").path();
            match path.is_dir() {
                true => open.push(path),
                false if path.extension().is_some_and(|extension| extension == "rt") => paths.push(path),
                false => {}
            }
        }
    }
    // The order of a directory is not the same everywhere.
    paths.sort();
    let texts = paths.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    texts.filter(|text| text.len() <= LONGEST).collect()
}

/// The words of a text with what stands before each.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut start) = (Vec::new(), 0);
    for (_, span) in lex(text).tokens {
        let end = span.range().end.min(text.len());
        if end > start && text.is_char_boundary(end) {
            words.push(text[start..end].to_string());
            start = end;
        }
    }
    words.push(text[start..].to_string());
    words
}

fn changed(scripts: &[Vec<String>], random: &mut Random) -> String {
    let mut words = scripts[random.below(scripts.len())].clone();
    for _ in 0..=random.below(6) {
        let other = &scripts[random.below(scripts.len())];
        let (at, from) = (random.below(words.len()), random.below(other.len()));
        let end = (at + 1 + random.below(8)).min(words.len());
        match random.below(10) {
            0 => drop(words.drain(at..end)),
            1 => words.splice(at..at, words[at..end].to_vec()).for_each(drop),
            2 => {
                let to = random.below(words.len());
                words.swap(at, to);
            }
            3 => words.insert(at, other[from].clone()),
            4 => words[at] = other[from].clone(),
            5 => words.insert(at, STRANGE[random.below(STRANGE.len())].to_string()),
            6 => words[at] = STRANGE[random.below(STRANGE.len())].to_string(),
            // One script goes over into another one.
            7 => {
                words.truncate(at);
                words.extend_from_slice(&other[from..]);
            }
            8 => words.truncate(at + 1),
            _ => {
                let mut bytes = std::mem::take(&mut words[at]).into_bytes();
                match bytes.is_empty() {
                    true => bytes.push(random.next() as u8),
                    false => {
                        let place = random.below(bytes.len());
                        bytes[place] = random.next() as u8;
                    }
                }
                words[at] = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
        if words.is_empty() {
            words.push(String::new());
        }
    }
    let mut text = words.concat();
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// All that must hold of a text.
fn hold(text: &str, target: &FakeTarget) {
    let parsed = parse(text);
    messages(text, &parsed.diagnostics);
    let _ = ast::dump(&parsed.ast);
    match format(text) {
        Ok(once) => assert_eq!(format(&once).as_deref(), Ok(once.as_str()), "not the same when formatted twice"),
        Err(Refusal::Mistakes(_)) => assert!(!parsed.diagnostics.is_empty(), "it is not formatted, and has no mistake"),
        Err(Refusal::Damage(what)) => panic!("the formatter damages {what}"),
    }
    if parsed.diagnostics.iter().any(Diagnostic::is_error) {
        return;
    }
    let options = CheckOptions {
        positional: vec!["7".into(), "text".into()],
        pid: Some(1),
        allow_unsafe: true,
        ..CheckOptions::default()
    };
    let checked = check(&parsed.ast, target, &options);
    messages(text, &checked.diagnostics);
    let has_error = checked.diagnostics.iter().any(Diagnostic::is_error);
    assert_eq!(checked.hir.is_none(), has_error, "a program is there exactly if there is no error");
    if let Some(hir) = &checked.hir {
        hir::verify(hir).expect("the program is well formed");
        let _ = hir::dump(hir);
    }
}

fn messages(text: &str, diagnostics: &[Diagnostic]) {
    let source = Source::new("script.rt", text);
    for diagnostic in diagnostics {
        let spans = std::iter::once(diagnostic.span).chain(diagnostic.others.iter().map(|(span, _)| *span));
        for span in spans {
            assert!(
                span.start <= span.end && span.end as usize <= text.len(),
                "{span:?} is outside of {} bytes",
                text.len()
            );
        }
        assert!(!diagnostic.message.is_empty(), "a message without words");
        assert!(render(diagnostic, &source, false).contains(diagnostic.code.name()), "the code is not shown");
    }
}

/// What the thread has had of processors; nothing where that is not known.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or_default())
}

fn number(variable: &str, usual: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect("it is a number"),
        Err(_) => usual,
    }
}

#[test]
fn changed_scripts_do_no_harm() {
    let (count, first) = (number("RTRACE_TEXTS", FEW), number("RTRACE_SEED", 1));
    let scripts: Arc<Vec<Vec<String>>> = Arc::new(scripts().iter().map(|text| words(text)).collect());
    assert!(scripts.len() > 100, "the scripts are not where they were");
    let next = Arc::new(AtomicU64::new(first));
    // The number of a text, what is wrong with it, and the text.
    let failures: Arc<Mutex<Vec<(u64, String, String)>>> = Arc::default();
    let slowest: Arc<Mutex<(Duration, u64)>> = Arc::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let started = Instant::now();
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let (scripts, next, failures, slowest) = (scripts.clone(), next.clone(), failures.clone(), slowest.clone());
            let work = move || {
                let target = FakeTarget::parse(include_str!("../../tests/fake-target.txt")).expect("it is well formed");
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed - first >= count || failures.lock().expect("no holder panics").len() >= 20 {
                        return;
                    }
                    if (seed - first).is_multiple_of(100_000) && seed > first {
                        println!("{} texts, {} s", seed - first, started.elapsed().as_secs());
                    }
                    let text = changed(&scripts, &mut Random(seed));
                    let start = processor_time();
                    let outcome = catch_unwind(AssertUnwindSafe(|| hold(&text, &target)));
                    let time = processor_time().saturating_sub(start);
                    {
                        let mut slowest = slowest.lock().expect("no holder panics");
                        *slowest = (*slowest).max((time, seed));
                    }
                    let wrong = match outcome {
                        Ok(()) if time > MOST_TIME => Some(format!("it takes {time:?}")),
                        Ok(()) => None,
                        Err(panic) => {
                            let words = panic.downcast_ref::<String>().cloned();
                            Some(
                                words
                                    .or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()))
                                    .unwrap_or_default(),
                            )
                        }
                    };
                    if let Some(wrong) = wrong {
                        failures.lock().expect("no holder panics").push((seed, wrong, text));
                    }
                }
            };
            // As much as the tool has.
            std::thread::Builder::new().stack_size(8 << 20).spawn(work).expect("a thread starts")
        })
        .collect();
    for worker in workers {
        worker.join().expect("a worker catches all panics");
    }
    let (time, seed) = *slowest.lock().expect("no holder panics");
    println!(
        "{count} texts from number {first} on in {:.0} s; the slowest, {seed}, took {time:?}",
        started.elapsed().as_secs_f64()
    );
    let failures = failures.lock().expect("no holder panics");
    let shown: String = failures
        .iter()
        .map(|(seed, wrong, text)| format!("\n==== RTRACE_SEED={seed} RTRACE_TEXTS=1: {wrong}\n{text}\n"))
        .collect();
    assert!(failures.is_empty(), "{} texts do harm:{shown}", failures.len());
}
