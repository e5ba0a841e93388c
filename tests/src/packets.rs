//! The case of docs/packets.md, in a guest: a storm of packets through a bridge makes ksoftirqd busy, and what rtrace shows of it has
//! the functions that the document names.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::child::Child;
use crate::directory::Directory;
use crate::environment::Programs;
use crate::profiles::through;

/// The storm lasts longer than all that is done with it, and is ended then.
const SECONDS: &str = "120";
const TIMEOUT: Duration = Duration::from_secs(150);

/// Receptions after which it is a storm.
const MANY: u64 = 5000;

/// What a packet passes, from the outermost function on. `br_pass_frame_up` ends with a jump, and has no frame everywhere.
const WAY: &[&str] = &[
    "net_rx_action",
    "br_handle_frame",
    "br_nf_pre_routing",
    "br_nf_pre_routing_finish",
    "br_handle_frame_finish",
    "ip_rcv",
    "ip_forward",
];

pub fn check_bridge(programs: &Programs) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    let storm = Child::start(Command::new(programs.workloads.join("storm")).arg(SECONDS), deadline)?;
    let last = std::thread::available_parallelism()?.get() - 1;
    let thread = thread_named(&format!("ksoftirqd/{last}"))?;
    let before = received(last)?;
    while received(last)? < before + MANY {
        ensure!(Instant::now() + TIMEOUT / 2 < deadline, "the last processor receives no packets");
        std::thread::sleep(Duration::from_millis(100));
    }
    let directory = Directory::create("packets")?;
    let path = directory.path.join("out.folded").display().to_string();
    rtrace(programs, &["profile", "-p", &thread, "-d", "4s", "-o", &path])?;
    let text = fs::read_to_string(&path).context("nothing was recorded")?;
    let (all, bridge) =
        (through(&text, &[]), through(&text, &["net_rx_action", "br_handle_frame", "br_nf_pre_routing"]));
    ensure!(all > 50.0 && bridge / all > 0.1, "{bridge} of {all} samples are in the bridge: {text}");
    for (function, way) in [("ip_forward", WAY), ("br_pass_frame_up", &WAY[..5])] {
        let script = format!("kprobe:{function} {{ @[kstack] = count(); }}");
        let text = rtrace(programs, &["-f", "folded", "--duration", "2s", "-e", &script])?;
        let has_passed = |stack: &str| {
            let mut frames = stack.split(';');
            way.iter().all(|wanted| frames.any(|frame| frame == *wanted)) && stack.ends_with(function)
        };
        let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        let passed: u64 =
            lines.filter(|(stack, _)| has_passed(stack)).filter_map(|(_, count)| count.parse::<u64>().ok()).sum();
        ensure!(passed > 100, "{passed} packets took that way to {function}: {text}");
    }
    storm.signal(libc::SIGTERM);
    let ended = storm.finish()?;
    ensure!(ended.errors.is_empty(), "{}", String::from_utf8_lossy(&ended.errors));
    Ok(())
}

fn rtrace(programs: &Programs, words: &[&str]) -> Result<String> {
    let output = Command::new(&programs.rtrace).args(words).output().context("cannot start rtrace")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{words:?} ended with {}: {errors}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

fn thread_named(name: &str) -> Result<String> {
    for entry in fs::read_dir("/proc")?.flatten() {
        if fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name) {
            return Ok(entry.file_name().to_string_lossy().into_owned());
        }
    }
    bail!("there is no {name}")
}

/// How often a processor has looked for packets.
fn received(processor: usize) -> Result<u64> {
    let text = fs::read_to_string("/proc/softirqs")?;
    let line = text.lines().find(|line| line.trim_start().starts_with("NET_RX:")).context("no NET_RX")?;
    let count = line.split_whitespace().nth(processor + 1).context("no such processor")?;
    Ok(count.parse()?)
}
