//! A kernel that lists more functions than most have, so that looking for names must be quick: rtrace sees all text
//! symbols of the running kernel as functions that can be traced, in a namespace whose files of tracefs say so.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::child::Child;
use crate::directory::Directory;
use crate::environment::Programs;
use crate::terminal::Terminal;

/// Fewer show nothing.
const FEWEST: usize = 30_000;
/// Several times what it takes on an idle machine, and a hundredth of what a search through all types for each takes.
const NEAR: Duration = Duration::from_millis(400);
const LISTING: Duration = Duration::from_millis(500);
const LISTING_WITH_ARGUMENTS: Duration = Duration::from_secs(4);
const TRIES: u32 = 4;
/// Guests compute in software.
const IN_GUEST: u32 = 12;
/// Kilobytes; the list alone has nine thousand, of which two copies are there while it is read.
const PROMPT: u64 = 40 * 1024;

/// Near names, listings and the prompt's completion keep to their budgets.
pub fn check(programs: &Programs, in_guest: bool) -> Result<()> {
    let directory = Directory::create("large-kernel")?;
    let (programs, functions) = large_kernel(programs, &directory)?;
    let slower = if in_guest { IN_GUEST } else { 1 };

    let (_, errors, elapsed) = run(&programs, &["-e", "kprobe:vfs_raed { @ = count(); }"])?;
    ensure!(errors.contains("Did you mean `kprobe:vfs_read`"), "{errors}");
    ensure!(elapsed < NEAR * slower, "names near one of {functions} took {elapsed:?}");

    let listings =
        [("-l", "kprobe:*", LISTING), ("-l", "fentry:*", LISTING), ("-lv", "kprobe:*", LISTING_WITH_ARGUMENTS)];
    for (option, pattern, budget) in listings {
        let (output, errors, elapsed) = quickest(&programs, &[option, pattern], budget * slower)?;
        let listed = output.lines().filter(|line| line.starts_with(&pattern[..pattern.len() - 1])).count();
        // A kernel leaves some out of what it lists, and fentry takes only what its types describe.
        let fewest = if pattern.starts_with("kprobe") { functions / 10 * 9 } else { FEWEST / 4 };
        ensure!(listed > fewest, "{option} {pattern} lists {listed} of {functions}: {errors}");
        println!("{option} {pattern} of {functions} functions: {elapsed:?}");
        ensure!(elapsed < budget * slower, "{option} {pattern} took {elapsed:?}");
    }

    let mut terminal = Terminal::new(&programs, "large-kernel", &[], (40, 100))?;
    terminal.edits(">")?;
    terminal.keys("kprobe:vfs_rea")?;
    terminal.shows("kprobe:vfs_rea")?;
    terminal.keys("\t")?;
    terminal.shows("kprobe:vfs_readv")?;
    let most = terminal.most_memory()?;
    ensure!(most < PROMPT, "the prompt took {most} KiB for {functions} functions");
    terminal.keys("\x03")?;
    terminal.edits(">")?;
    terminal.keys("\x04")?;
    terminal.ended()
}

/// The tool in such a namespace, and how many functions there are.
fn large_kernel(programs: &Programs, directory: &Directory) -> Result<(Programs, usize)> {
    let symbols = fs::read_to_string("/proc/kallsyms").context("cannot read /proc/kallsyms")?;
    let (mut names, mut addresses) = (String::new(), String::new());
    // `ffffffff81000000 T name`, and `[module]` behind a tab.
    for line in symbols.lines() {
        let mut words = line.split_whitespace();
        let (Some(address), Some("t" | "T"), Some(name)) = (words.next(), words.next(), words.next()) else { continue };
        let module = words.next().map(|module| format!(" {module}")).unwrap_or_default();
        names.push_str(&format!("{name}{module}\n"));
        addresses.push_str(&format!("{address} {name}{module}\n"));
    }
    let mut functions: Vec<&str> = names.lines().filter_map(|line| line.split(' ').next()).collect();
    functions.sort_unstable();
    functions.dedup();
    let functions = functions.len();
    ensure!(functions > FEWEST, "this kernel has {functions} functions");

    let at = |name: &str| directory.path.join(name);
    fs::write(at("names"), names)?;
    fs::write(at("addresses"), addresses)?;
    // Where the kernel has no kprobes, one that has is seen.
    fs::create_dir_all(at("devices/kprobe"))?;
    fs::write(at("devices/kprobe/type"), "8\n")?;
    let tool = at("rtrace");
    let script = format!(
        "#!/bin/sh\n\
         PATH=/usr/sbin:/usr/bin:/sbin:/bin\n\
         exec unshare -m sh -ec '\n\
         cd {directory}; t=/sys/kernel/tracing; d=/sys/bus/event_source/devices\n\
         [ -e $t/events ] || mount -t tracefs tracefs $t\n\
         mount --bind names $t/available_filter_functions\n\
         [ ! -e $t/available_filter_functions_addrs ] || mount --bind addresses $t/available_filter_functions_addrs\n\
         if [ ! -e $d/kprobe ]; then\n\
           for name in $(ls $d); do ln -sfn \"$(readlink -f $d/$name)\" devices/$name; done\n\
           mount --bind devices $d\n\
         fi\n\
         exec {rtrace} \"$@\"' sh \"$@\"\n",
        directory = directory.path.display(),
        rtrace = programs.rtrace.display(),
    );
    fs::write(&tool, script)?;
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755))?;
    Ok((Programs { rtrace: tool, workloads: programs.workloads.clone() }, functions))
}

/// The first run that keeps to the budget, or the last of a few: the machine may be busy with something else.
fn quickest(programs: &Programs, words: &[&str], budget: Duration) -> Result<(String, String, Duration)> {
    let mut last = run(programs, words)?;
    for _ in 1..TRIES {
        if last.2 < budget {
            break;
        }
        last = run(programs, words)?;
    }
    Ok(last)
}

/// What it printed and said, and how long it took with making the namespace.
fn run(programs: &Programs, words: &[&str]) -> Result<(String, String, Duration)> {
    let start = Instant::now();
    let ended = Child::start(Command::new(&programs.rtrace).args(words), start + Duration::from_secs(120))?.finish()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(&ended.output), text(&ended.errors), start.elapsed()))
}
