//! `--info`: what this kernel, and whoever asks, can do and lacks. Each answer is found out by trying.

use std::fmt::Write as _;
use std::fs;

use rtrace_lang::calls;
use rtrace_lang::target::{Feature, Target};
use rtrace_probes::Machine;
use rtrace_probes::kernel::calls::{D_PATH, GET_FUNC_IP};
use rtrace_probes::kernel::features::most_instructions;
use rtrace_probes::kernel::privileges::Lockdown;
use rtrace_probes::kernel::system;
use rtrace_runtime::output::FORMATS;

use crate::arguments::Arguments;
use crate::script::{machine, print};

/// A feature, its name, and what scripts lack without it.
const FEATURES: &[(Feature, &str, &str)] = &[
    (Feature::Kprobes, "kprobes", "kprobe and kretprobe"),
    (Feature::KprobeMulti, "kprobe_multi", "wildcards of kprobes attach one by one"),
    (Feature::KprobeSession, "kprobe_session", "kprobe and kretprobe of the same wildcard attach one after the other"),
    (Feature::UprobeMulti, "uprobe_multi", "wildcards of uprobes attach one by one"),
    (Feature::Trampolines, "trampolines", "fentry and fexit"),
    (Feature::Iterators, "iterators", "iter"),
    (Feature::Helper(calls::LOOP), "bpf_loop", "loops of more than a few rounds whose number is not known"),
    (Feature::Helper(calls::FOR_EACH_MAP_ELEM), "bpf_for_each_map_elem", "for over a map"),
    (Feature::Helper(calls::MAP_LOOKUP_PERCPU_ELEM), "bpf_map_lookup_percpu_elem", "aggregations read in probes"),
    (Feature::Helper(calls::KTIME_GET_TAI_NS), "bpf_ktime_get_tai_ns", "nsecs(tai)"),
    (Feature::Helper(D_PATH), "bpf_d_path", "nothing is missing: path() follows the names itself"),
    (
        Feature::Helper(GET_FUNC_IP),
        "bpf_get_func_ip",
        "nothing is missing: func and probe are known from the attachment",
    ),
    (Feature::Helper(calls::OVERRIDE_RETURN), "bpf_override_return", "override()"),
    (Feature::TaskStorage, "task storage", "self->x is kept in a hash of threads"),
    (Feature::MapAllocator, "map allocator", "large cells of maps take their memory at the start"),
    (Feature::LargeKeys, "large keys", "keys of more than 512 bytes are cut"),
    (Feature::AttachCookie, "attach cookies", "a program for each probe of a wildcard"),
    (
        Feature::RawTracepointNoPreempt,
        "raw tracepoints without preemption",
        "kprobes of system calls, perf tracepoints of other events",
    ),
    (Feature::AtomicFetch, "atomic fetch", "@x++ gives no value that is exact among processors"),
];

pub fn run(arguments: &Arguments) -> i32 {
    machine(arguments).map_or_else(|status| status, |machine| print(report(&machine).as_bytes()))
}

/// What it was built for, and how: the same of each build from the same source.
fn build() -> String {
    let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    let checked = if cfg!(debug_assertions) { ", with debug assertions" } else { "" };
    format!("{}-{}-{libc}{checked}", std::env::consts::ARCH, std::env::consts::OS)
}

pub fn report(machine: &Machine) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "  {key}: {value}");
    };
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_string();
    let yes_or_no = |is: bool| if is { "yes" } else { "no" };
    line("rtrace", env!("CARGO_PKG_VERSION"));
    line("build", &build());
    line("kernel", &file("/proc/sys/kernel/osrelease"));
    line("architecture", std::env::consts::ARCH);
    line("processors", &system::possible_cpus().map_or(0, |cpus| cpus.len()).to_string());
    let formats: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
    line("formats", &formats.join(" "));
    line("types of the kernel (BTF)", yes_or_no(machine.btf().is_some()));
    let modules = match machine.module_names().len() {
        0 => "no: none is loaded that has them".to_string(),
        count => format!("yes, of {count}"),
    };
    line("types of modules (BTF)", &modules);
    line("tracefs", yes_or_no(machine.tracefs().is_ok()));
    let may_load = machine.may_load();
    line("programs may be loaded", yes_or_no(may_load));
    line("perf events may be opened", yes_or_no(may_load && !machine.privileges().lacks_perf_events()));
    let lockdown = match machine.privileges().lockdown {
        None => "no",
        Some(Lockdown::Integrity) => "integrity",
        Some(Lockdown::Confidentiality) => "confidentiality: no memory of the kernel, no kprobes",
    };
    line("locked down", lockdown);
    let mut report = format!("System\n{text}\nFeatures\n");
    if !may_load {
        let help = machine.privileges().help(false).join(" ");
        let _ = writeln!(report, "  not known. {help}");
    } else {
        let _ = writeln!(report, "  instructions of a program: at most {}", most_instructions());
        for (feature, name, without) in FEATURES {
            let has = machine.has(*feature);
            let lacks = if has { String::new() } else { format!(" (without it: {without})") };
            let _ = writeln!(report, "  {name}: {}{lacks}", yes_or_no(has));
        }
    }
    report
}
