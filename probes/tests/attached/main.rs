//! Small hand-made programs on real events of this very process, so that counts are exact. What this kernel or this
//! user may not do is skipped with a line that says so. Never looks at other processes' events, but for kprobes and
//! fentry, which count system-wide and are filtered in the program.
//!
//! Unsafe: system calls that make events, and functions whose names uprobes must find.

mod program;
mod usdt;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use program::{Count, load};
use rtrace_lang::probe::ProbeSpec;
use rtrace_lang::span::Span;
use rtrace_lang::target::{
    Attach, Feature, Location, MultiKind, ProbeSite, ProgramKind, ResolveErrorKind, ResolveOptions, Target,
};
use rtrace_probes::{Link, Machine, provider_named};

const TIMES: u64 = 100;

fn own_pid() -> u32 {
    std::process::id()
}

fn resolve(machine: &Machine, text: &str, options: &ResolveOptions) -> Option<Vec<ProbeSite>> {
    match machine.resolve(&ProbeSpec::parse(text, Span::default()), options) {
        Ok(sites) => Some(sites),
        Err(error) if matches!(error.kind, ResolveErrorKind::Unsupported | ResolveErrorKind::Privilege) => {
            println!("skipped {text}: {} ({})", error.message, error.help.join(" "));
            None
        }
        Err(error) => panic!("{text}: {error:?}"),
    }
}

/// None where programs may not be loaded at all. Tests of one process would count each other's events: they take turns.
fn alone() -> Option<MutexGuard<'static, ()>> {
    static ALONE: Mutex<()> = Mutex::new(());
    if !Machine::new().has(Feature::Helper(1)) {
        println!("skipped: programs may not be loaded here");
        return None;
    }
    // A test that has failed leaves it poisoned, and nothing behind.
    Some(ALONE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A loaded, attached program with its counts.
struct Running {
    count: Count,
    links: Vec<Link>,
    _program: OwnedFd,
}

/// None, with a line, where this user may not attach.
fn run(machine: &Machine, sites: &[ProbeSite]) -> Option<Running> {
    let (program, count) = load(machine, &sites[0], own_pid());
    let cookies: Vec<(u64, &ProbeSite)> = sites.iter().enumerate().map(|(at, site)| (at as u64 + 1, site)).collect();
    let provider = provider_named(sites[0].provider).unwrap();
    match provider.attach(machine, program.as_fd(), &cookies) {
        Ok(links) => Some(Running { count, links, _program: program }),
        Err(error) if error.source.is_privilege() => {
            println!("skipped: {error} ({})", error.help.join(" "));
            None
        }
        Err(error) => panic!("{error} {:?}", error.help),
    }
}

fn getppid() {
    // SAFETY: the call takes nothing and can't fail.
    unsafe { libc::syscall(libc::SYS_getppid) };
}

#[test]
fn system_calls_share_a_typed_raw_tracepoint() {
    let Some(_alone) = alone() else { return };
    let machine = Machine::new();
    for (event, uses_arguments) in [
        ("sys_enter_getppid", false),
        ("sys_exit_getppid", false),
        ("sys_enter_getppid", true),
        ("sys_exit_getppid", true),
    ] {
        let options = ResolveOptions { uses_arguments, ..ResolveOptions::default() };
        let Some(sites) = resolve(&machine, &format!("tracepoint:syscalls:{event}"), &options) else { return };
        assert!(matches!(sites[0].program, ProgramKind::Tracing { .. }), "{:?}", sites[0]);
        let Some(running) = run(&machine, &sites) else { return };
        (0..TIMES).for_each(|_| getppid());
        assert_eq!(running.count.hits(), TIMES, "{event}");
        assert!(running.links.iter().all(|link| !link.is_slow()));
    }
}

#[test]
fn one_attachment_for_all_system_calls() {
    let Some(_alone) = alone() else { return };
    let machine = Machine::new();
    let started = std::time::Instant::now();
    let Some(sites) = resolve(&machine, "t:syscalls:sys_enter_*", &ResolveOptions::default()) else { return };
    println!("{} system calls after {:?}", sites.len(), started.elapsed());
    let typed: Vec<ProbeSite> = sites.into_iter().filter(|site| site.selector.is_some()).collect();
    assert!(typed.len() > 250);
    let Some(running) = run(&machine, &typed) else { return };
    assert_eq!(running.links.len(), 1);
}

/// Every argument of every system call must be readable the way its layout says.
#[test]
fn the_verifier_takes_all_layouts_of_system_calls() {
    let Some(_alone) = alone() else { return };
    let machine = Machine::new();
    let options = ResolveOptions { uses_arguments: true, ..ResolveOptions::default() };
    let started = std::time::Instant::now();
    let Some(sites) = resolve(&machine, "tracepoint:syscalls:*", &options) else { return };
    println!("{} events with arguments after {:?}", sites.len(), started.elapsed());
    let mut seen = Vec::new();
    for site in sites {
        if seen.contains(&site.layout) {
            continue;
        }
        assert!(!site.layout.arguments.is_empty(), "{site:?}");
        load(&machine, &site, own_pid());
        seen.push(site.layout);
    }
    println!("{} layouts loaded", seen.len());
}

#[test]
fn raw_tracepoints_load_with_their_types() {
    let Some(_alone) = alone() else { return };
    let machine = Machine::new();
    let options = ResolveOptions { uses_arguments: true, ..ResolveOptions::default() };
    let Some(sites) = resolve(&machine, "rawtracepoint:*", &options) else { return };
    for site in &sites {
        load(&machine, site, own_pid());
    }
    println!("{} raw tracepoints loaded", sites.len());
    let Some(sites) = resolve(&machine, "rt:sys_enter", &options) else { return };
    let Some(running) = run(&machine, &sites) else { return };
    (0..TIMES).for_each(|_| getppid());
    assert!(running.count.hits() >= TIMES);
}

#[test]
fn tracepoints_with_and_without_fields() {
    let Some(_alone) = alone() else { return };
    let machine = Machine::new();
    for uses_arguments in [false, true] {
        let options = ResolveOptions { uses_arguments, ..ResolveOptions::default() };
        let Some(sites) = resolve(&machine, "tracepoint:raw_syscalls:sys_enter", &options) else { return };
        assert_eq!(matches!(sites[0].program, ProgramKind::Tracepoint), uses_arguments || machine.btf().is_none());
        let Some(running) = run(&machine, &sites) else { return };
        (0..TIMES).for_each(|_| getppid());
        let hits = running.count.hits();
        assert!((TIMES..TIMES + 50).contains(&hits), "{hits}");
        if uses_arguments {
            assert!(running.links.iter().all(Link::is_slow));
            assert!(sites[0].layout.arguments.iter().any(|argument| &*argument.name == "id"));
        }
    }
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn rtrace_attached_target(a: u64, b: u64) -> u64 {
    std::hint::black_box(a * 3 + b)
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn rtrace_attached_other(a: u64) -> u64 {
    std::hint::black_box(a.rotate_left(9))
}

#[test]
fn own_functions_in_both_forms() {
    let Some(_alone) = alone() else { return };
    let machine = Machine::new();
    for pid in [None, Some(own_pid())] {
        for (provider, register) in [("uprobe", "arg1"), ("uretprobe", "retval")] {
            let options = ResolveOptions { pid, ..ResolveOptions::default() };
            let text = format!("{provider}:/proc/self/exe:rtrace_attached_target");
            let Some(sites) = resolve(&machine, &text, &options) else { return };
            check_own_function(&machine, &sites, register);
            let mut single = sites.clone();
            single[0].program = ProgramKind::Kprobe { multi: MultiKind::Single, user: true };
            check_own_function(&machine, &single, register);
        }
    }
}

fn check_own_function(machine: &Machine, sites: &[ProbeSite], register: &str) {
    let Some(running) = run(machine, sites) else { return };
    let mut expected = 0;
    for number in 0..TIMES {
        let result = std::hint::black_box(rtrace_attached_target)(7, number);
        expected += if register == "retval" { result } else { number };
    }
    assert_eq!(running.count.hits(), TIMES, "{sites:?}");
    assert_eq!(running.count.register_sum(register), expected, "{sites:?}");
    if machine.has(Feature::AttachCookie) {
        assert_eq!(running.count.cookie_sum(), TIMES, "{sites:?}");
    }
}

#[test]
fn cookies_tell_the_functions_of_a_pattern() {
    let Some(_alone) = alone() else { return };
    let machine = Machine::new();
    let text = "u:/proc/self/exe:rtrace_attached_*";
    let Some(sites) = resolve(&machine, text, &ResolveOptions::default()) else { return };
    let names: Vec<&str> = sites.iter().map(|site| &*site.function).collect();
    assert_eq!(names, ["rtrace_attached_other", "rtrace_attached_target"]);
    let Some(running) = run(&machine, &sites) else { return };
    for number in 0..TIMES {
        std::hint::black_box(rtrace_attached_target)(number, 1);
        std::hint::black_box(rtrace_attached_other)(number);
    }
    assert_eq!(running.count.hits(), 2 * TIMES);
    if machine.has(Feature::AttachCookie) {
        assert_eq!(running.count.cookie_sum(), TIMES * (1 + 2));
    }
}

#[test]
fn the_processor_clock_samples_this_process() {
    let Some(_alone) = alone() else { return };
    let machine = Machine::new();
    let options = ResolveOptions { pid: Some(own_pid()), ..ResolveOptions::default() };
    let Some(sites) = resolve(&machine, "profile:hz:999", &options) else { return };
    let Some(running) = run(&machine, &sites) else { return };
    // A thread that did not exist when the program was attached.
    let spin = std::thread::spawn(|| {
        let until = std::time::Instant::now() + std::time::Duration::from_millis(300);
        while std::time::Instant::now() < until {}
    });
    spin.join().unwrap();
    println!("{} samples", running.count.hits());
    assert!(running.count.hits() > 20);
}

#[test]
fn page_faults_of_this_process() {
    let Some(_alone) = alone() else { return };
    const PAGES: usize = 64;
    let machine = Machine::new();
    let Some(sites) = resolve(&machine, "software:faults:1", &ResolveOptions::default()) else { return };
    assert_eq!(&*sites[0].name, "software:page-faults:1");
    let Some(running) = run(&machine, &sites) else { return };
    let bytes = PAGES * 4096;
    // SAFETY: a new mapping of our own, written to within its length and then removed.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let start = libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        assert_ne!(start, libc::MAP_FAILED);
        libc::madvise(start, bytes, libc::MADV_NOHUGEPAGE);
        (0..PAGES).for_each(|page| start.cast::<u8>().add(page * 4096).write_volatile(1));
        libc::munmap(start, bytes);
    }
    assert!(running.count.hits() >= PAGES as u64, "{}", running.count.hits());
}

fn getpgid() -> u64 {
    // SAFETY: the call takes a number and can't fail for the own process.
    unsafe { libc::getpgid(0) as u64 }
}

#[test]
fn kprobes_single_and_multi() {
    let Some(_alone) = alone() else { return };
    let machine = Machine::new();
    if !machine.has(Feature::Kprobes) {
        println!("skipped kprobe: this kernel has none");
        return;
    }
    let options = ResolveOptions { uses_numbers: true, ..ResolveOptions::default() };
    let group = getpgid();
    for text in ["kprobe:__x64_sys_getpgid", "kretprobe:__x64_sys_getpgid", "k:__x64_sys_getpgi*"] {
        let sites = resolve(&machine, text, &options).unwrap();
        let Some(running) = run(&machine, &sites) else { return };
        (0..TIMES).for_each(|_| _ = getpgid());
        assert_eq!(running.count.hits(), TIMES, "{text}");
        if text.starts_with("kret") {
            assert_eq!(running.count.register_sum("retval"), TIMES * group);
        }
    }
    for (provider, wanted) in [("kprobe", "kprobe:__x64_sys_getpgid"), ("kretprobe", "kretprobe:__x64_sys_getpgid")] {
        let sites = resolve(&machine, &format!("{provider}:__x64_sys_get*id"), &options).unwrap();
        assert!(sites.len() > 2, "{sites:?}");
        let multi = if machine.has(Feature::KprobeMulti) { MultiKind::KprobeMulti } else { MultiKind::Single };
        assert!(sites.iter().all(|site| site.program == ProgramKind::Kprobe { multi, user: false }));
        let Some(running) = run(&machine, &sites) else { return };
        println!("{} {provider}s in {} links", sites.len(), running.links.len());
        (0..TIMES).for_each(|_| _ = getpgid());
        assert_eq!(running.count.hits(), TIMES);
        if machine.has(Feature::AttachCookie) {
            let at = sites.iter().position(|site| &*site.name == wanted).unwrap() as u64;
            assert_eq!(running.count.cookie_sum(), TIMES * (at + 1));
        }
    }
    let near = machine.resolve(&ProbeSpec::parse("kprobe:vfs_raed", Span::default()), &options).unwrap_err();
    assert_eq!(near.kind, ResolveErrorKind::NotFound);
    assert!(near.help[0].contains("kprobe:vfs_read"), "{near:?}");
}

#[test]
fn kprobe_arguments_have_names() {
    let machine = Machine::new();
    if !machine.has(Feature::Kprobes) || machine.btf().is_none() {
        println!("skipped: this kernel has no kprobes or no BTF");
        return;
    }
    let options = ResolveOptions { uses_arguments: true, ..ResolveOptions::default() };
    let sites = resolve(&machine, "kprobe:vfs_read", &options).unwrap();
    let names: Vec<String> = sites[0].layout.arguments.iter().map(|a| format!("{} {}", a.ty, a.name)).collect();
    assert_eq!(names, ["struct file * file", "int8 * buf", "uint64 count", "int64 * pos"]);
}

#[test]
fn trampolines_count_and_see_arguments() {
    let Some(_alone) = alone() else { return };
    let machine = Machine::new();
    let options = ResolveOptions { uses_arguments: true, ..ResolveOptions::default() };
    let group = getpgid();
    for provider in ["fentry", "fexit"] {
        let Some(sites) = resolve(&machine, &format!("{provider}:__x64_sys_getpgid"), &options) else { return };
        assert_eq!(sites.len(), 1);
        let Some(running) = run(&machine, &sites) else { return };
        (0..TIMES).for_each(|_| _ = getpgid());
        assert_eq!(running.count.hits(), TIMES, "{provider}");
        if provider == "fexit" {
            assert_eq!(running.count.register_sum("retval"), TIMES * group);
        }
        if machine.has(Feature::TrampolineCookie) {
            assert_eq!(running.count.cookie_sum(), TIMES);
        }
    }
    let sites = resolve(&machine, "fexit:vfs_*", &options).unwrap();
    for site in &sites {
        load(&machine, site, own_pid());
    }
    println!("{} fexit programs loaded", sites.len());
}

#[test]
fn without_kprobes_the_message_leads_on() {
    let machine = Machine::new();
    if machine.has(Feature::Kprobes) {
        println!("skipped: this kernel has kprobes");
        return;
    }
    let options = ResolveOptions { uses_registers: true, ..ResolveOptions::default() };
    for function in ["vfs_read", "tcp_sendmsg", "net_rx_action", "do_sys_openat2"] {
        let spec = ProbeSpec::parse(&format!("kprobe:{function}"), Span::default());
        let error = machine.resolve(&spec, &options).unwrap_err();
        println!("{}\n  {}\n  {}", error.message, error.label, error.help.join("\n  "));
        assert_eq!(error.kind, ResolveErrorKind::Unsupported);
        assert!(error.message.contains("KPROBE"));
    }
}

#[test]
fn mistakes_have_good_messages() {
    let machine = Machine::new();
    for (text, kind) in [
        ("tracepiont:sched:sched_switch", ResolveErrorKind::UnknownProvider),
        ("tracepoint:sched:sched_swich", ResolveErrorKind::NotFound),
        ("tracepoint:sched_switch", ResolveErrorKind::Form),
        ("tracepoint:shced:sched_switch", ResolveErrorKind::NotFound),
        ("software:page-fault", ResolveErrorKind::NotFound),
        ("uprobe:/proc/self/exe:rtrace_attached_targte", ResolveErrorKind::NotFound),
        ("uprobe:/no/such/file:f", ResolveErrorKind::NotFound),
        ("uprobe:/etc/passwd:f", ResolveErrorKind::Form),
        ("uprobe:main", ResolveErrorKind::Form),
        ("rawtracepoint:sched_swich", ResolveErrorKind::NotFound),
        ("interval:5", ResolveErrorKind::Form),
        ("interval:w:5", ResolveErrorKind::Form),
        ("BEGIN:x", ResolveErrorKind::Form),
    ] {
        if text == "interval:5" {
            // Five nanoseconds are allowed.
            continue;
        }
        match machine.resolve(&ProbeSpec::parse(text, Span::default()), &ResolveOptions::default()) {
            Ok(sites) => panic!("{text}: {sites:?}"),
            Err(error) if error.kind == ResolveErrorKind::Privilege => println!("skipped {text}: {}", error.message),
            Err(error) => {
                println!(
                    "{text}\n  {}\n  {} (part {:?})\n  {}",
                    error.message,
                    error.label,
                    error.part,
                    error.help.join("\n  ")
                );
                assert_eq!(error.kind, kind, "{text}");
            }
        }
    }
}

#[test]
fn lists_what_can_be_used() {
    let machine = Machine::new();
    let started = std::time::Instant::now();
    let all = rtrace_probes::list(&machine, None, false, None).unwrap();
    println!("{} probes after {:?}", all.len(), started.elapsed());
    assert!(all.iter().any(|probe| probe.name == "software:cpu-clock:"));
    let own = rtrace_probes::list(&machine, Some("uprobe:/proc/self/exe:rtrace_attached_*"), false, None).unwrap();
    assert_eq!(own.len(), 2);
    if machine.tracefs().is_err() {
        println!("skipped: no tracefs");
        return;
    }
    let switch = rtrace_probes::list(&machine, Some("tracepoint:sched:sched_switch"), true, None).unwrap();
    assert_eq!(switch.len(), 1);
    assert_eq!(switch[0].arguments[0], "char prev_comm[16]");
    println!("{switch:#?}");
    assert!(!rtrace_probes::list(&machine, Some("*nanosleep*"), false, None).unwrap().is_empty());
}

#[test]
fn registers_are_where_the_layout_says() {
    let machine = Machine::new();
    let sites = resolve(&machine, "uprobe:/proc/self/exe:rtrace_attached_target", &ResolveOptions::default());
    let Some(sites) = sites else { return };
    assert!(matches!(&sites[0].attach, Attach::Uprobe { offset, .. } if *offset > 0));
    assert_eq!(sites[0].layout.registers[0].at, Location::Context { offset: 112 });
}
