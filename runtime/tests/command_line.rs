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

/// What is said on stderr, and the status; standard input is empty.
fn told(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtrace"));
    let output = command.args(arguments).stdin(std::process::Stdio::null()).output().expect("rtrace starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn words_that_are_no_scripts() {
    for (word, help) in [
        ("help", "the option is written `rtrace --help`"),
        ("version", "the option is written `rtrace --version`"),
        ("list", "the option is written `rtrace --list`"),
        ("reprot", "did you mean `report`?"),
        ("zzzzz", "`rtrace --help` lists commands"),
    ] {
        let (status, errors) = told(&[word]);
        assert_eq!(status, Some(1), "{word}");
        assert!(errors.starts_with(&format!("error: cannot read {word}: ")) && errors.contains(help), "{errors}");
    }
    let (_, errors) = told(&["dir/reprot"]);
    assert!(!errors.contains("help"), "a path is no command: {errors}");
}

#[test]
fn what_is_missing_where_there_is_no_script() {
    let (status, errors) = told(&["-p", "4000000000"]);
    assert_eq!((status, errors.as_str()), (Some(1), "error: there is no process 4000000000\n"));
    for words in [&[][..], &["--duration", "1s"]] {
        let (status, errors) = told(words);
        assert_eq!(status, Some(1));
        assert!(errors.starts_with("error: there is no script") && errors.contains("-e PROGRAM"), "{errors}");
    }
}

#[test]
fn a_command_that_takes_a_shell() {
    let (status, errors) = told(&["-q", "-e", "BEGIN { }", "-c", "frobnicate | it's"]);
    assert_eq!(status, Some(1));
    assert!(errors.contains("open quote"), "{errors}");
    let (_, errors) = told(&["-q", "-e", "BEGIN { }", "-c", "frobnicate 'a b' && true"]);
    assert!(errors.contains("means nothing: -c \"sh -c 'frobnicate '\\''a b'\\'' && true'\""), "{errors}");
    let (_, errors) = told(&["-q", "-e", "BEGIN { }", "-c", "frobnicate"]);
    assert!(errors.contains("cannot find `frobnicate`") && !errors.contains("shell"), "{errors}");
}

#[test]
fn recordings_that_go_nowhere() {
    let (status, errors) = told(&["profile", "-o", "-"]);
    assert_eq!(status, Some(1));
    assert!(errors.contains("name it *.svg") && errors.contains("without -o the call tree is printed"), "{errors}");
}
