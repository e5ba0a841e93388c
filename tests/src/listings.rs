//! What command lines answer about probes: listings of them, and what is said of those that are not there, where the answer
//! depends on options, on a process or on where the code of a program lies.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rtrace_probes::elf::Binary;

use crate::child::Child;
use crate::directives::{Workload, WorkloadMode};
use crate::directory::Directory;
use crate::environment::{Need, Programs};
use crate::workload;

/// A command line and its answer. `WORKLOADS` stands for the directory of the workloads, `PID` for the process of one, `INSIDE`
/// for an address within the first instruction of `FIRST`, `LIST` for a file with `LISTED`.
pub struct Asked {
    pub name: &'static str,
    pub tier: u8,
    pub needs: &'static [Need],
    words: &'static [&'static str],
    status: i32,
    /// All that it prints.
    shown: &'static [&'static str],
    /// Parts of what it says on stderr; nothing where there are none.
    told: &'static [&'static str],
}

/// A function that begins with an instruction of several bytes, and the program that has it.
const FIRST: &str = "_ZN5shape5widthEv";
const FIRST_OF: &str = "workload-lean";

/// Functions in the form of tracefs' list; the kernel has some of them, and more that begin alike.
const LISTED: &str = "gone_long_ago\ngone_since\ntun_chr_open [tun]\nvfs_read\nvfs_write\n";

const CALLS: &str = "pid$target:a.out:workload_call:entry { }";
const CALL: &str = "uprobe:WORKLOADS/workload:workload_call";
const COMMAND: &str = "WORKLOADS/workload calls 1";

const fn asked(name: &'static str, words: &'static [&'static str], shown: &'static [&'static str]) -> Asked {
    Asked { name, tier: 2, needs: &[], words, status: 0, shown, told: &[] }
}

const fn refused(name: &'static str, words: &'static [&'static str], told: &'static [&'static str]) -> Asked {
    Asked { name, tier: 2, needs: &[], words, status: 2, shown: &[], told }
}

pub const ALL: &[Asked] = &[
    asked("function_of_process", &["-l", "uprobe:workload_call", "-p", "PID"], &[CALL]),
    asked("target", &["-l", "pid$target:a.out:workload_call:entry", "-p", "PID"], &[CALL]),
    asked("target_of_command", &["-l", "-e", CALLS, "-c", COMMAND], &[CALL]),
    asked("checked_with_command", &["--check", "-e", CALLS, "-c", COMMAND], &[]),
    asked(
        "cpp",
        &["-l", "uprobe:WORKLOADS/workload:cpp:*"],
        &[
            "uprobe:WORKLOADS/workload:_ZN5shape4areaEPKc",
            "uprobe:WORKLOADS/workload:_ZN5shape4areaEi",
            "uprobe:WORKLOADS/workload:_ZN5shape5widthEv",
        ],
    ),
    asked("rust", &["-l", "uprobe:WORKLOADS/workload:rust:*"], &["uprobe:WORKLOADS/workload:_RNvC6circle6radius"]),
    asked(
        "aliases",
        &["-l", "uprobe:WORKLOADS/workload:*alias_chosen*"],
        &[
            "uprobe:WORKLOADS/workload:_alias_chosen",
            "uprobe:WORKLOADS/workload:alias_chosen",
            "uprobe:WORKLOADS/workload:alias_chosen_as_well",
        ],
    ),
    asked("tick", &["-l", "tick-5s"], &["interval:5000000000"]),
    asked("profile", &["-l", "profile-99"], &["profile:hz:99"]),
    asked("pattern_of_d", &["-l", "syscall::getp[p-q]?d:entry"], &["tracepoint:syscalls:sys_enter_getppid"]),
    refused(
        "nothing_of_d",
        &["--check", "-e", "syscall::op[a-d]?x:entry { }"],
        &["nothing matches `sys_enter_op[a-d]?x`"],
    ),
    refused(
        "system_of_a_category",
        &["--check", "-e", "tracepoint:schedule:* { }"],
        &["`schedule`", "Did you mean `sched`"],
    ),
    Asked {
        status: 1,
        ..refused(
            "provider_of_others",
            &["--check", "-e", "asyncwatchpoint:0x1000:8:w { }"],
            &["Did you mean `watchpoint`"],
        )
    },
    // One of them takes a union as it is, which trampolines do not.
    Asked {
        tier: 3,
        needs: &[Need::Fentry],
        ..asked("union_argument", &["--dry-run", "-e", "fexit:sidtab_* { }"], &[])
    },
    // It returns a struct, and may not be probed.
    Asked {
        tier: 3,
        needs: &[Need::Fentry],
        ..refused(
            "stand_in_is_refused",
            &["-e", "fentry:irqentry_enter { }"],
            &["can't attach to fentry:irqentry_enter", "A kprobe stands in here: fentry takes functions"],
        )
    },
    refused("category", &["--check", "-e", "tracepoint:schd:* { }"], &["no tracepoint category `schd`", "`sched`"]),
    refused("categories", &["--check", "-e", "tracepoint:schd*:* { }"], &["category matches `schd*`", "`sche*`"]),
    refused("program", &["--check", "-e", "uprobe:workloadd:main { }"], &["`workloadd`", "Did you mean `workload`"]),
    refused(
        "file",
        &["--check", "-e", "uprobe:WORKLOADS/worklod:main { }"],
        &["worklod: No such file", "Did you mean `WORKLOADS/workload`"],
    ),
    Asked {
        status: 1,
        ..refused(
            "inside_instruction",
            &["--check", "-e", "uprobe:workload-lean:INSIDE { }"],
            &["The nearest that begin are at `_ZN5shape5widthEv` and `_ZN5shape5widthEv+"],
        )
    },
    refused(
        "no_kprobes",
        &["--without", "kprobes", "--without", "fentry", "-l", "kprobe:*"],
        &["this kernel has no kprobes"],
    ),
    Asked {
        tier: 3,
        needs: &[Need::Fentry],
        ..asked("kprobe_by_fentry", &["--without", "kprobes", "-l", "kprobe:vfs_readli*"], &["kprobe:vfs_readlink"])
    },
    Asked {
        tier: 3,
        needs: &[Need::Kprobes],
        ..refused(
            "none_traceable",
            &["--check", "-e", "kprobe:exc_page_f* { }"],
            &["none of the functions that match `exc_page_f*`", "`exc_page_fault` matches", "noinstr"],
        )
    },
    Asked {
        tier: 3,
        needs: &[Need::Fentry],
        ..refused(
            "none_traceable_by_fentry",
            &["--check", "-e", "fentry:exc_page_f* { }"],
            &["none of the functions that match `exc_page_f*`", "`exc_page_fault` matches", "noinstr"],
        )
    },
    Asked {
        tier: 3,
        needs: &[Need::Kprobes],
        ..asked(
            "listed_functions",
            &["--traceable-functions", "LIST", "-l", "kprobe:vfs_*"],
            &["kprobe:vfs_read", "kprobe:vfs_write"],
        )
    },
    Asked {
        tier: 3,
        needs: &[Need::Kprobes],
        ..asked(
            "listed_functions_of_module",
            &["--traceable-functions", "LIST", "-l", "kprobe:tun:*"],
            &["kprobe:tun:tun_chr_open"],
        )
    },
    Asked {
        tier: 3,
        needs: &[Need::Fentry],
        ..asked(
            "listed_functions_by_fentry",
            &["--traceable-functions", "LIST", "-l", "fentry:vfs_*"],
            &["fentry:vfs_read", "fentry:vfs_write"],
        )
    },
    Asked {
        tier: 3,
        needs: &[Need::Kprobes],
        ..refused(
            "not_listed",
            &["--traceable-functions", "LIST", "--check", "-e", "kprobe:vfs_readv* { }"],
            &["none of the functions that match `vfs_readv*` can be traced", "`vfs_readv` matches"],
        )
    },
    Asked {
        status: 1,
        ..refused(
            "no_list",
            &["--traceable-functions", "/nowhere/functions", "-l", "kprobe:*"],
            &["cannot read /nowhere/functions: No such file"],
        )
    },
    Asked {
        tier: 3,
        needs: &[Need::Kprobes],
        ..refused(
            "refused_by_the_kernel",
            &["--traceable-functions", "LIST", "-e", "kprobe:gone_s* { }"],
            &[
                "error[R0032]: nothing that `kprobe:gone_s*` matches can be traced",
                "not let `kprobe:gone_since` be probed",
            ],
        )
    },
    Asked {
        tier: 3,
        needs: &[Need::Kprobes],
        ..refused(
            "all_refused_by_the_kernel",
            &["--traceable-functions", "LIST", "-e", "kprobe:gone_* { } kretprobe:gone_* { }"],
            &["error[R0032]: nothing that `kprobe:gone_*` matches can be traced", "does not let any of 2 be probed"],
        )
    },
    Asked {
        tier: 3,
        needs: &[Need::Kprobes],
        ..asked(
            "some_refused_by_the_kernel",
            &[
                "-q",
                "--traceable-functions",
                "LIST",
                "-e",
                "kprobe:*e* { } kretprobe:*e* { } interval:ms:50 { exit() } END { print(1) }",
            ],
            &["1", "", ""],
        )
    },
    Asked {
        tier: 3,
        needs: &[Need::TunTypes],
        ..asked(
            "types_of_module",
            &["-lv", "struct tun_p*i"],
            &["tun: struct tun_pi {", "\t__u16 flags;", "\t__be16 proto;", "};", ""],
        )
    },
    Asked {
        tier: 3,
        needs: &[Need::Fentry, Need::TunTypes],
        ..refused(
            "near_in_module",
            &["--check", "-e", "fentry:tun:tun_chr_opne { }"],
            &["no kernel function `tun_chr_opne`", "`fentry:tun:tun_chr_open`"],
        )
    },
];

impl Asked {
    pub fn check(&self, programs: &Programs) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let process = match self.words.contains(&"PID") {
            true => {
                let arguments = vec!["calls".to_string(), "1".to_string()];
                let wanted = Workload { mode: WorkloadMode::Process, program: "workload".into(), arguments };
                Some(workload::start(&wanted, programs, deadline)?)
            }
            false => None,
        };
        let directory = programs.workloads.display().to_string();
        let inside = address_inside(programs)?;
        let pid = process.as_ref().map_or(String::new(), |process| process.pid.to_string());
        let files = Directory::create(self.name)?;
        let list = files.path.join("functions");
        fs::write(&list, LISTED)?;
        let list = list.display().to_string();
        let filled = |text: &&str| {
            let text = text.replace("WORKLOADS", &directory).replace("PID", &pid).replace("INSIDE", &inside);
            text.replace("LIST", &list)
        };
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(&programs.rtrace);
        command.args(self.words.iter().map(filled)).env("PATH", format!("{directory}:{path}"));
        let ended = Child::start(&mut command, deadline)?.finish()?;
        if let Some(mut process) = process {
            process.go()?;
            process.finish()?;
        }
        let (output, errors) = (String::from_utf8_lossy(&ended.output), String::from_utf8_lossy(&ended.errors));
        ensure!(ended.status.code() == Some(self.status), "it ended with {}: {errors}", ended.status);
        let shown: Vec<String> = self.shown.iter().map(filled).collect();
        ensure!(output.lines().eq(shown.iter()), "it prints\n{output}and not {shown:?}");
        for part in self.told.iter().map(filled) {
            ensure!(errors.contains(&part), "it does not say `{part}`, but\n{errors}");
        }
        ensure!(!self.told.is_empty() || errors.is_empty(), "it says\n{errors}");
        Ok(())
    }
}

/// Within the first instruction of `FIRST`.
fn address_inside(programs: &Programs) -> Result<String> {
    let binary = Binary::open(&programs.workloads.join(FIRST_OF))?;
    let function = binary.functions_named(FIRST).first().map(|function| function.address);
    Ok(format!("{:#x}", function.context("the workload has no such function")? + 2))
}
