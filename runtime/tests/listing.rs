//! `-l` through the command: what a script would attach to, and types. Probes that need no tracefs, so that the tests
//! run wherever there is a kernel.

use std::process::{Command, Output};

fn rtrace(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rtrace")).args(arguments).output().expect("rtrace starts")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_script_lists_what_it_would_attach_to() {
    let listed = rtrace(&["-l", "-e", "BEGIN { } profile-99, tick-5s, software:cs:10 { } profile-99 { } END { }"]);
    assert_eq!(text(&listed), "begin\nprofile:hz:99\ninterval:5000000000\nsoftware:context-switches:10\nend\n");
    assert_eq!(listed.status.code(), Some(0));
}

#[test]
fn a_file_with_parameters_is_a_script() {
    let file = std::env::temp_dir().join(format!("rtrace-listing-{}.rt", std::process::id()));
    std::fs::write(&file, "profile:hz:$1 { }").expect("a file in the temporary directory");
    let listed = rtrace(&["-l", file.to_str().expect("a path"), "77"]);
    std::fs::remove_file(&file).expect("it was written");
    assert_eq!(text(&listed), "profile:hz:77\n");
}

#[test]
fn a_mistake_in_the_script_is_told() {
    let listed = rtrace(&["-l", "-e", "profile:hz:0 { }"]);
    assert_eq!((listed.status.code(), text(&listed).as_str()), (Some(1), ""));
    assert!(String::from_utf8_lossy(&listed.stderr).contains("no whole number above zero"));
}

#[test]
fn types_are_shown_as_c_declares_them() {
    if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        println!("skipped: this kernel shows no types");
        return;
    }
    let shown = |pattern: &str| text(&rtrace(&["-lv", pattern]));
    let path = "vmlinux: struct path {\n\tstruct vfsmount *mnt;\n\tstruct dentry *dentry;\n};\n\n";
    assert_eq!(shown("struct path"), path);
    let processes = "vmlinux: enum pid_type {\n\tPIDTYPE_PID = 0,\n\tPIDTYPE_TGID = 1,\n\tPIDTYPE_PGID = 2,\n\
                     \tPIDTYPE_SID = 3,\n\tPIDTYPE_MAX = 4,\n};\n\n";
    assert_eq!(shown("enum pid_type"), processes);
    // Typedefs, functions, bit fields, and types without a name where they are.
    let packets = shown("struct sk_buff");
    for part in ["\n\tunion {\n\t\tstruct {\n\t\t\tstruct sk_buff *next;\n", "ktime_t tstamp;", "__u8 cloned: 1;"] {
        assert!(packets.contains(part), "{part} in {packets}");
    }
    assert!(packets.contains("\t\t\tvoid (*destructor)(struct sk_buff *);\n"), "{packets}");
    assert!(shown("union bpf_attr").contains("\tstruct {\n\t\t__u32 map_type;\n"));
    // In the order of their texts, an empty line behind each.
    let several = shown("struct list_h*");
    assert!(
        several
            .starts_with("vmlinux: struct list_head {\n\tstruct list_head *next;\n\tstruct list_head *prev;\n};\n\n")
    );
    assert_eq!(text(&rtrace(&["-l", "enum pid_typ*"])), "enum pid_type\n");
    assert_eq!(text(&rtrace(&["-l", "struct task_struct"])), "struct task_struct\n");
    assert_eq!(rtrace(&["-l", "struct no_such_struct"]).status.code(), Some(2));
}

/// Without a colon a pattern is of whole names, or of what is behind a colon; a text is looked for anywhere.
#[test]
fn patterns_without_a_provider() {
    let listed = |pattern: &str| text(&rtrace(&["-l", pattern]));
    let (by_event, by_name) = (listed("page-f*"), listed("soft*page-f*"));
    assert_eq!((by_event.as_str(), by_name.as_str()), ("software:page-faults:\n", "software:page-faults:\n"));
    assert_eq!(listed("age-fault").lines().filter(|line| line.starts_with("software:")).count(), 1);
    assert_eq!(listed("age-fault*"), "");
}

#[test]
fn types_of_another_kernel() {
    let directory = env!("CARGO_TARGET_TMPDIR");
    let object = format!("{directory}/types.o");
    assert!(rtrace(&["--emit-elf", &object, "-e", "BEGIN { @ = 1; }"]).status.success());
    let sizes = |types: &str, of: &str| {
        let script = format!("BEGIN {{ print(sizeof({of})); }}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_rtrace"));
        command.env("RTRACE_BTF", types).args(["--check", "-e", &script]).output().expect("rtrace starts")
    };
    // As a section of an ELF file: here that of a program of ours, which has no types of the kernel.
    let missing = sizes(&object, "struct task_struct");
    assert!(String::from_utf8_lossy(&missing.stderr).contains("task_struct"), "{missing:?}");
    assert_eq!(missing.status.code(), Some(1));
    let this = "/sys/kernel/btf/vmlinux";
    if std::path::Path::new(this).exists() {
        assert_eq!(sizes(this, "struct task_struct").status.code(), Some(0));
    }
    for (file, reason) in [("/bin/sh", "no section .BTF"), ("/proc/self/status", "BTF magic"), ("/nowhere", "No such")]
    {
        let refused = sizes(file, "int");
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(told.contains(file) && told.contains(reason), "{told}");
        assert_ne!(refused.status.code(), Some(0));
    }
}

#[test]
fn stages_of_bpftrace() {
    let script = "BEGIN { @ = 1 + 2; }";
    let emitted = |stages: &str| text(&rtrace(&["-d", stages, "-e", script]));
    for (theirs, ours) in
        [("parse", "ast"), ("types", "hir"), ("codegen", "ir"), ("codegen-opt", "ir"), ("dis", "asm"), ("ast", "ast")]
    {
        let shown = emitted(theirs);
        assert_eq!(shown, text(&rtrace(&["--emit", ours, "-e", script])), "{theirs}");
        assert!(shown.to_lowercase().contains("begin"), "{theirs}: {shown}");
    }
    let headed = |stage: &str| format!("==== {stage}\n{}", emitted(stage));
    assert_eq!(emitted("types,dis"), headed("hir") + &headed("asm"));
    let all: String = ["ast", "hir", "ir", "bpf", "asm", "manifest"].into_iter().map(headed).collect();
    assert_eq!(emitted("all"), all);
    for (stage, help) in [("libbpf", "`-v` says"), ("cogen", "stages: ast,"), ("ast,", "stages: ast,")] {
        let refused = rtrace(&["-d", stage, "-e", script]);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(told.starts_with("error: there is no stage `") && told.contains(help), "{stage}: {told}");
        assert_eq!(refused.status.code(), Some(1));
    }
}
