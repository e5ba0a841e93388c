//! Functions of the running kernel whose names or places differ from kernel to kernel: one that the compiler has given
//! another name (`f.isra.0`), an address, an offset behind the entry.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::child::Child;
use crate::directives::{Workload, WorkloadMode};
use crate::environment::Programs;
use crate::workload;

const FUNCTIONS: &str = "/sys/kernel/tracing/available_filter_functions";

/// Compilers name copies of a function that take fewer arguments so.
const SUFFIX: &str = ".isra.0";

/// Attaches to one such function of this kernel by its name in the source.
pub fn check_renamed(programs: &Programs) -> Result<()> {
    let text = fs::read_to_string(FUNCTIONS).with_context(|| format!("cannot read {FUNCTIONS}"))?;
    let names: Vec<&str> = text.lines().filter(|line| !line.contains('[')).collect();
    let is_alone = |name: &&str| {
        let has =
            |other: &&&str| **other == *name || other.strip_prefix(*name).is_some_and(|rest| rest.starts_with('.'));
        names.iter().filter(has).count() == 1
    };
    let renamed = names.iter().filter_map(|name| name.strip_suffix(SUFFIX));
    let function = renamed.take(20).find(is_alone).context("this kernel has no function of another name")?;
    let mut command = Command::new(&programs.rtrace);
    command.args(["-v", "-e", &format!("kprobe:{function} {{ @ = count(); }}")]);
    let child = Child::start(&mut command, Instant::now() + Duration::from_secs(60))?;
    child.await_error("Attached ")?.context("it did not attach")?;
    child.signal(libc::SIGINT);
    let ended = child.finish()?;
    let errors = String::from_utf8_lossy(&ended.errors);
    // A function that BTF does not know either is a probe of that name.
    let lines = [
        format!("symbol of kprobe:{function} in this kernel: {function}{SUFFIX}"),
        format!("attached by single kprobes: kprobe:{function}{SUFFIX}"),
    ];
    if !ended.status.success() || !errors.lines().any(|line| lines.iter().any(|wanted| line == wanted)) {
        bail!("it ended with {}, and says none of {lines:?}:\n{errors}", ended.status);
    }
    Ok(())
}

/// Reads that are counted, and their size.
const READS: u32 = 100;
const BYTES: u32 = 512;

/// Where an instruction may begin behind the entry, on kernels whose functions begin with a mark and on others: what follows
/// the place that is kept for tracers.
const OFFSETS: [u32; 3] = [9, 5, 4];

/// Attaches to `vfs_read` at its address, at its return by address, and behind its entry.
pub fn check_places(programs: &Programs) -> Result<()> {
    let symbols = fs::read_to_string("/proc/kallsyms").context("cannot read /proc/kallsyms")?;
    let address = symbols.lines().find_map(|line| line.strip_suffix(" T vfs_read"));
    let address = address.context("the kernel has no vfs_read")?;
    let by_address = format!(
        "kprobe:0x{address} {{ @entered = count(); @bytes = sum(arg2); }} kretprobe:0x{address} {{ @left[retval] = count(); }}"
    );
    let bytes = READS * BYTES;
    let expected = format!("@bytes: {bytes}\n@entered: {READS}\n@left[{BYTES}]: {READS}");
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
    let deadline = Instant::now() + Duration::from_secs(60);
    let wanted = Workload {
        mode: WorkloadMode::Process,
        program: "workload".into(),
        arguments: vec!["reads".into(), READS.to_string(), BYTES.to_string()],
    };
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
