//! Functions of the running kernel whose names or places differ from kernel to kernel: one that the compiler has given
//! another name (`f.isra.0`), an address, an offset behind the entry.

use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rtrace_lang::target::{Feature, Target};
use rtrace_probes::Machine;
use rtrace_probes::kernel::perf::{self, PerfKind, PerfScope};

use crate::child::Child;
use crate::directives::{Workload, WorkloadMode};
use crate::environment::Programs;
use crate::workload;

const FUNCTIONS: &str = "/sys/kernel/tracing/available_filter_functions";
/// The same with addresses, from 6.5 on.
const ADDRESSES: &str = "/sys/kernel/tracing/available_filter_functions_addrs";
/// The functions that something is attached to, one a line.
const ENABLED: &str = "/sys/kernel/tracing/enabled_functions";

/// Compilers name copies of a function that take fewer arguments, that are for certain arguments, and parts of functions so.
const SUFFIXES: [&str; 3] = [".isra.0", ".constprop.0", ".part.0"];

/// So many functions of each kind are looked at for one that will do.
const CANDIDATES: usize = 40;

/// Attaches to such functions of this kernel by their names in the source: of each kind to one that the kernel's types know by
/// that name, and to one that they do not, as far as there are any.
pub fn check_renamed(programs: &Programs, has_fentry: bool) -> Result<()> {
    let text = fs::read_to_string(FUNCTIONS).with_context(|| format!("cannot read {FUNCTIONS}"))?;
    let names: Vec<&str> = text.lines().filter(|line| !line.contains('[')).collect();
    let is_alone = |name: &&str| {
        let has =
            |other: &&&str| **other == *name || other.strip_prefix(*name).is_some_and(|rest| rest.starts_with('.'));
        names.iter().filter(has).count() == 1
    };
    let machine = Machine::new();
    let mut tried = 0;
    for suffix in SUFFIXES {
        let renamed = names.iter().filter_map(|name| name.strip_suffix(suffix)).filter(|name| !name.contains('.'));
        let (typed, untyped): (Vec<&str>, Vec<&str>) =
            renamed.take(CANDIDATES).filter(is_alone).partition(|name| machine.has_kernel_function(name));
        for function in typed.first().into_iter().chain(untyped.first()) {
            check_one(programs, "kprobe", function, suffix)?;
            if has_fentry {
                check_one(programs, "fentry", function, suffix)?;
            }
            tried += 1;
        }
    }
    ensure!(tried > 0, "this kernel has no function of another name");
    Ok(())
}

fn check_one(programs: &Programs, provider: &str, function: &str, suffix: &str) -> Result<()> {
    let mut command = Command::new(&programs.rtrace);
    command.args(["-v", "-e", &format!("{provider}:{function} {{ @ = count(); }}")]);
    let child = Child::start(&mut command, Instant::now() + Duration::from_secs(60))?;
    child.await_error("Attached ")?.with_context(|| format!("{provider}:{function} did not attach"))?;
    child.signal(libc::SIGINT);
    let ended = child.finish()?;
    let errors = String::from_utf8_lossy(&ended.errors);
    // A function that BTF does not know either is a probe of that name.
    let instead = if provider == "fentry" { ", since fentry does not work here" } else { "" };
    let lines = [
        format!("symbol of {provider}:{function} in this kernel: {function}{suffix}"),
        format!("attached by single kprobes{instead}: {provider}:{function}{suffix}"),
    ];
    if !ended.status.success() || !errors.lines().any(|line| lines.iter().any(|wanted| line == wanted)) {
        bail!("it ended with {}, and says none of {lines:?}:\n{errors}", ended.status);
    }
    Ok(())
}

/// A name that several functions have: fentry is at one of them and says so, kprobes are at all of them.
pub fn check_shared(programs: &Programs) -> Result<()> {
    let text = fs::read_to_string(FUNCTIONS).with_context(|| format!("cannot read {FUNCTIONS}"))?;
    let mut names: Vec<&str> = text.lines().filter(|line| !line.contains('[')).collect();
    names.sort_unstable();
    let machine = Machine::new();
    let shared = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
    let typed: Vec<&str> = shared.clone().filter(|name| machine.has_kernel_function(name)).take(CANDIDATES).collect();
    for function in &typed {
        let script = format!("fentry:{function} {{ }} BEGIN {{ }} interval:ms:1 {{ exit(); }}");
        let mut command = Command::new(&programs.rtrace);
        let ended =
            Child::start(command.args(["-v", "-e", &script]), Instant::now() + Duration::from_secs(60))?.finish()?;
        let errors = String::from_utf8_lossy(&ended.errors);
        // A kprobe stands in where a trampoline does not take the arguments; kernels before 6.6 do not tell.
        if errors.contains("warning: more than one function is called ") {
            ensure!(ended.status.success(), "it ended with {}: {errors}", ended.status);
            // The types of some kernels leave such functions out.
            break;
        }
        let is_silent = errors.contains("attached by trampolines") && tells_shared_names(function);
        ensure!(!is_silent, "fentry:{function} is at one of several and does not say so: {errors}");
        ensure!(Some(function) != typed.last() || !tells_shared_names(function), "fentry takes none of {typed:?}");
    }
    // One that a pattern finds together with another name.
    let with_another = |name: &&str| {
        let first = names.partition_point(|other| other < name);
        let mut others = names[first..].iter().take_while(|other| other.starts_with(name));
        let count = others.clone().count();
        others.any(|other| other != name) && count < CANDIDATES
    };
    let name = shared.clone().find(with_another).context("no name of several functions begins another name")?;
    let count = names.iter().filter(|other| **other == name).count();
    let scripts = [
        format!("kprobe:{name}* {{ @ = count(); }}"),
        format!("kprobe:{name}* {{ @[func] = count(); }}"),
        format!("kretprobe:{name}* {{ @[func] = count(); }}"),
    ];
    let single = [format!("kprobe:{name} {{ @ = count(); }}"), format!("kretprobe:{name} {{ @ = count(); }}")];
    let has_multi = machine.has(Feature::KprobeMulti) && Path::new(ADDRESSES).exists();
    for script in scripts.iter().filter(|_| has_multi).chain(single.iter().filter(|_| tells_shared_names(name))) {
        let mut command = Command::new(&programs.rtrace);
        let child = Child::start(command.args(["-e", script]), Instant::now() + Duration::from_secs(60))?;
        child.await_error("Attached ")?.with_context(|| format!("{script} did not attach"))?;
        let found = enabled(name)?;
        child.signal(libc::SIGINT);
        child.finish()?;
        ensure!(found == count, "{script}: {found} of {count} functions are traced");
        // The kernel takes its time to let go of them, and the next script is to attach to them itself.
        let deadline = Instant::now() + Duration::from_secs(60);
        while enabled(name)? > 0 {
            ensure!(Instant::now() < deadline, "{script}: the functions are still traced");
            sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// How many functions of that name something is attached to.
fn enabled(name: &str) -> Result<usize> {
    let enabled = fs::read_to_string(ENABLED).with_context(|| format!("cannot read {ENABLED}"))?;
    Ok(enabled.lines().filter(|line| line.split_whitespace().next() == Some(name)).count())
}

/// Whether this kernel refuses a kprobe by a name that several functions have.
fn tells_shared_names(function: &str) -> bool {
    let name = CString::new(function).expect("no NUL");
    let kind = PerfKind::Kprobe { function: &name, offset: 0, is_return: false };
    let event = perf::perf_event_open(kind, PerfScope::Cpu(0));
    event.is_err_and(|error| error.errno() == Some(libc::EADDRNOTAVAIL))
}

/// Reads that are counted, and their size.
const READS: u32 = 100;
const BYTES: u32 = 512;

/// Where an instruction may begin behind the entry, on kernels whose functions begin with a mark and on others: what follows
/// the place that is kept for tracers.
const OFFSETS: [u32; 3] = [9, 5, 4];

/// Times that a device of the module tun is opened.
const OPENS: u32 = 10;

/// Attaches behind the entry of a function of a module, named with its module.
pub fn check_module_places(programs: &Programs) -> Result<()> {
    let opens = ["opens".to_string(), OPENS.to_string(), "/dev/net/tun".to_string()];
    for offset in OFFSETS {
        let script = format!("kprobe:tun:tun_chr_open+{offset} {{ @[func] = count(); }}");
        if let Some(found) = count(programs, &opens, &["-e", &script])? {
            ensure!(found == format!("@[tun_chr_open]: {OPENS}"), "at +{offset}: found {found}");
            return Ok(());
        }
    }
    bail!("tun_chr_open can be probed at none of the offsets {OFFSETS:?}")
}

/// Attaches to `vfs_read` at its address, at its return by address, and behind its entry.
pub fn check_places(programs: &Programs) -> Result<()> {
    let symbols = fs::read_to_string("/proc/kallsyms").context("cannot read /proc/kallsyms")?;
    let address = symbols.lines().find_map(|line| line.strip_suffix(" T vfs_read"));
    let address = address.context("the kernel has no vfs_read")?;
    let by_address = format!(
        "kprobe:0x{address} {{ @entered[func] = count(); @bytes = sum(arg2); }} kretprobe:0x{address} {{ @left[retval] = count(); }}"
    );
    let bytes = READS * BYTES;
    let expected = format!("@bytes: {bytes}\n@entered[vfs_read]: {READS}\n@left[{BYTES}]: {READS}");
    let found = count_reads(programs, &["--unsafe", "-e", &by_address])?.context("it did not attach by address")?;
    if found != expected {
        bail!("by address: expected\n{expected}\nfound\n{found}");
    }
    for offset in OFFSETS {
        let script = format!("kprobe:vfs_read+{offset} {{ @ = count(); }}");
        if let Some(found) = count_reads(programs, &["-e", &script])? {
            let expected = format!("@: {READS}");
            return if found == expected { Ok(()) } else { bail!("at +{offset}: expected {expected}, found {found}") };
        }
    }
    bail!("vfs_read can be probed at none of the offsets {OFFSETS:?}")
}

/// What a script prints of a process that reads; None where the kernel refuses the place.
fn count_reads(programs: &Programs, words: &[&str]) -> Result<Option<String>> {
    count(programs, &["reads".to_string(), READS.to_string(), BYTES.to_string()], words)
}

fn count(programs: &Programs, arguments: &[String], words: &[&str]) -> Result<Option<String>> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let wanted = Workload { mode: WorkloadMode::Process, program: "workload".into(), arguments: arguments.to_vec() };
    let mut waiting = workload::start(&wanted, programs, deadline)?;
    let mut command = Command::new(&programs.rtrace);
    command.args(["-p", &waiting.pid.to_string()]).args(words);
    let child = Child::start(&mut command, deadline)?;
    if child.await_error("Attached ")?.is_none() {
        return Ok(None);
    }
    waiting.go()?;
    child.signal(libc::SIGINT);
    let ended = child.finish()?;
    waiting.finish()?;
    Ok(Some(String::from_utf8_lossy(&ended.output).trim().to_string()))
}
