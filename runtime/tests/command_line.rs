//! What the command says of itself: the manual page, completions of shells, and what the kernel can do.

use std::process::{Command, Output};

fn rtrace(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rtrace")).args(arguments).output().expect("rtrace starts")
}

fn text(arguments: &[&str]) -> String {
    let output = rtrace(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The long options that the help shows.
fn options() -> Vec<String> {
    let help = text(&["--help"]);
    let words = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let mut options: Vec<String> =
        words.filter(|word| word.starts_with("--") && word.len() > 3).map(str::to_string).collect();
    options.sort_unstable();
    options.dedup();
    assert!(options.len() > 15, "{options:?}");
    options
}

#[test]
fn all_options_are_in_the_manual_and_completed() {
    let (man, bash, zsh, fish) = (
        text(&["--manual", "man"]).replace("\\-", "-"),
        text(&["--manual", "bash"]),
        text(&["--manual", "zsh"]),
        text(&["--manual", "fish"]),
    );
    for option in options() {
        assert!(man.contains(&option), "no {option} in the manual page");
        assert!(bash.contains(&option), "no {option} for bash");
        assert!(zsh.contains(&option), "no {option} for zsh");
        assert!(fish.contains(&format!("-l {}", &option[2..])), "no {option} for fish");
    }
}

#[test]
fn what_the_kernel_can_do() {
    let info = text(&["--info"]);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel");
    assert!(info.contains(&format!("  kernel: {kernel}")), "{info}");
    let build = format!("  build: {}-linux-", std::env::consts::ARCH);
    assert!(info.contains(&build) && info.contains("\n  types of modules (BTF): "), "{info}");
    let (_, features) = info.split_once("\nFeatures\n").expect("a part on features");
    if features.starts_with("  not known.") {
        println!("skipped: programs may not be loaded here");
        return;
    }
    assert!(features.starts_with("  instructions of a program: at most "), "{info}");
    let has = |info: &str, name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(&format!("  {name}: ")));
        let answer = line.unwrap_or_else(|| panic!("no line of {name}: {info}"));
        assert!(answer == "yes" || answer.starts_with("no (without it: "), "{name}: {answer}");
        answer == "yes"
    };
    for name in ["bpf_d_path", "bpf_get_func_ip", "bpf_loop", "kprobes", "iterators"] {
        has(&info, name);
    }
    // A session takes what its links are.
    assert!(!has(&info, "kprobe_session") || has(&info, "kprobe_multi") && has(&info, "kprobes"), "{info}");
    let without = text(&["--info", "--without", "kprobe_multi"]);
    assert!(!has(&without, "kprobe_multi") && !has(&without, "kprobe_session"), "{without}");
}

#[test]
fn wrong_times_and_counts_are_mistakes() {
    for arguments in [["--duration", "1x"], ["--duration", "0s"], ["--count", "0"], ["--count", "x"]] {
        let output = rtrace(&[&arguments[..], &["-e", "BEGIN { }"]].concat());
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    }
}
