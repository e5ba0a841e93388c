//! Forms of probes that no script can have once and for all: the address of a function in a program, a library by its name, and
//! iterators over what is there because this test has made it.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rtrace_probes::elf::Binary;

use crate::child::Child;
use crate::directives::{Workload, WorkloadMode};
use crate::directory::Directory;
use crate::environment::Programs;
use crate::workload;

const PATIENCE: Duration = Duration::from_secs(60);

/// Calls that are counted.
const CALLS: u32 = 12;

/// `uprobe:PROGRAM:0xADDRESS`, at the entry and at the return, in a program that is loaded at its own addresses and in one
/// that is loaded anywhere.
pub fn check_addresses(programs: &Programs) -> Result<()> {
    for program in ["workload", "workload-pie"] {
        let path = programs.workloads.join(program);
        let binary = Binary::open(&path)?;
        let function = binary.functions_named("workload_call").first().map(|function| function.address);
        let address = function.context("there is no such function")?;
        let script = format!(
            "uprobe:{program}:{address:#x} {{ @entered[func] = count(); @numbers = sum((int32)arg1); }} \
             uretprobe:{program}:{address:#x} {{ @returned = sum((int32)retval); }}"
        );
        // Numbers go round 0, 1, 2, 3, and are doubled.
        let numbers = CALLS / 4 * 6;
        let expected = format!("@entered[workload_call]: {CALLS}\n@numbers: {numbers}\n@returned: {}", 2 * numbers);
        let arguments = vec!["calls".into(), CALLS.to_string()];
        let wanted = Workload { mode: WorkloadMode::Process, program: program.into(), arguments };
        let found = traced(programs, &wanted, &script).with_context(|| script.clone())?;
        ensure!(found == expected, "{program} at {address:#x}: expected\n{expected}\nfound\n{found}");
    }
    Ok(())
}

/// Probes in a library that is named as libraries are: without a directory, and without what follows its name.
pub fn check_library(programs: &Programs) -> Result<()> {
    let directory = Directory::create("library")?;
    fs::copy(programs.workloads.join("workload-pie"), directory.path.join("librtracetest.so.3"))?;
    let there = Programs { rtrace: programs.rtrace.clone(), workloads: directory.path.clone() };
    let script = "usdt:librtracetest:workload:tick { @by_name = count(); } usdt:librtracetest.so.3:tick { @by_file = count(); } \
                  uprobe:librtracetest:fire_probes { @function = count(); } pid$target:librtracetest.so:fire_probes:return { @returned = count(); }";
    let wanted = Workload {
        mode: WorkloadMode::Process,
        program: "librtracetest.so.3".into(),
        arguments: vec!["usdt".into(), "5".into()],
    };
    let found = traced(&there, &wanted, script)?;
    let expected = "@by_file: 5\n@by_name: 5\n@function: 5\n@returned: 5";
    ensure!(found == expected, "expected\n{expected}\nfound\n{found}");
    Ok(())
}

/// What a script prints of a workload that it follows.
fn traced(programs: &Programs, wanted: &Workload, script: &str) -> Result<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut waiting = workload::start(wanted, programs, deadline)?;
    let mut command = Command::new(&programs.rtrace);
    let tracer = Child::start(command.args(["-p", &waiting.pid.to_string(), "-e", script]), deadline)?;
    let is_attached = tracer.await_error("Attached ")?.is_some();
    if is_attached {
        waiting.go()?;
        tracer.signal(libc::SIGINT);
    }
    let ended = tracer.finish()?;
    let errors = String::from_utf8_lossy(&ended.errors);
    ensure!(is_attached && ended.status.success(), "it ended with {}: {errors}", ended.status);
    waiting.finish()?;
    Ok(String::from_utf8_lossy(&ended.output).trim().to_string())
}

/// A kind of objects, a clause that counts the one that must be there, and how often it must be, if that is known.
struct Kind {
    name: &'static str,
    /// All kernels that rtrace runs on have it.
    is_old: bool,
    predicate: &'static str,
    count: Option<u32>,
}

const fn old(name: &'static str, predicate: &'static str, count: Option<u32>) -> Kind {
    Kind { name, is_old: true, predicate, count }
}

const fn new(name: &'static str, predicate: &'static str, count: Option<u32>) -> Kind {
    Kind { name, is_old: false, predicate, count }
}

/// `$1` and `$2` are the ports of a socket that waits for connections and of one for datagrams, `$3` is the process of this test.
const KINDS: &[Kind] = &[
    // It listens (TCP_LISTEN).
    old("tcp", "ctx.sk_common.skc_num == $1 && ctx.sk_common.skc_state == 10", Some(1)),
    old("udp", "ctx.udp_sk.inet.sk.__sk_common.skc_num == $2", Some(1)),
    // Who has called listen().
    new("unix", "ctx.unix_sk.sk.sk_peer_pid != 0 && ctx.unix_sk.sk.sk_peer_pid.numbers[0].nr == $3", Some(1)),
    new("ksym", "str(ctx.ksym.name) == \"vfs_read\"", Some(1)),
    // The script's own.
    old("bpf_map", "str(ctx.map.name) == \"at_bpf_map\"", Some(1)),
    old("bpf_prog", "str(ctx.prog.aux.attach_func_name) == \"bpf_iter_bpf_prog\"", Some(1)),
    // BPF_LINK_TYPE_ITER
    new("bpf_link", "ctx.link.type == 4", Some(1)),
    new("cgroup", "ctx.cgroup.level == 0", Some(1)),
    // Those of the kernel itself have no number.
    old("netlink", "ctx.sk.portid == 0", None),
    // The way to this machine itself.
    old("ipv6_route", "ctx.rt.fib6_dst.plen == 128", None),
];

/// Each kind of objects that this kernel goes through, one of which is known to be there.
pub fn check_iterators(programs: &Programs) -> Result<()> {
    let directory = Directory::create("iterators")?;
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let _unix = UnixListener::bind(directory.path.join("socket"))?;
    let parameters = [tcp.local_addr()?.port(), udp.local_addr()?.port()].map(|port| port.to_string());
    let run = |words: &[&str]| -> Result<(String, String)> {
        let mut command = Command::new(&programs.rtrace);
        let ended = Child::start(command.args(words), Instant::now() + PATIENCE)?.finish()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_string();
        ensure!(ended.status.success(), "{words:?}: {}", text(&ended.errors));
        Ok((text(&ended.output), text(&ended.errors)))
    };
    let (listed, _) = run(&["-l", "iter:*"])?;
    let mut missing = Vec::new();
    for kind in KINDS {
        let (name, predicate) = (kind.name, kind.predicate);
        if !listed.lines().any(|line| line == format!("iter:{name}")) {
            ensure!(!kind.is_old, "there is no iterator over {name} in {listed}");
            missing.push(name);
            continue;
        }
        let script = format!("iter:{name} /{predicate}/ {{ @{name}++; }}");
        let (output, errors) =
            run(&["-q", "-e", &script, &parameters[0], &parameters[1], &std::process::id().to_string()])?;
        let found: Option<u32> = output.strip_prefix(&format!("@{name}: ")).and_then(|count| count.parse().ok());
        let is_right = match kind.count {
            Some(count) => found == Some(count),
            None => found.is_some_and(|found| found > 0),
        };
        ensure!(is_right && errors.is_empty(), "{script} prints {output:?}, and says {errors:?}");
    }
    println!("this kernel does not go through {missing:?}");
    Ok(())
}
