//! `rtrace fmt` from the outside: printed, in place, `--check`, standard input, and everything that can be wrong with a file.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const UGLY: &str = "BEGIN{printf(\"hi\\n\");exit()} // bye";
const FINE: &str = "BEGIN { printf(\"hi\\n\"); exit() } // bye\n";

/// A directory that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("rtrace-fmt-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory for the test");
        Scratch(path)
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("a name in UTF-8").to_string()
    }

    /// The names of what is in the directory.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("the directory");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Ended {
    status: i32,
    out: String,
    err: String,
}

fn rtrace(words: &[&str], input: &[u8]) -> Ended {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rtrace"))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("rtrace starts");
    // A command that reads nothing has closed its input.
    let _ = child.stdin.take().expect("its input").write_all(input);
    let Output { status, stdout, stderr } = child.wait_with_output().expect("rtrace ends");
    Ended {
        status: status.code().expect("no signal"),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

fn text(file: &str) -> String {
    fs::read_to_string(file).expect("the file")
}

#[test]
fn files_are_printed() {
    let scratch = Scratch::new("printed");
    let (a, b) = (scratch.file("a.rt", UGLY), scratch.file("b.rt", "BEGIN { $x = ; }\n"));
    let ended = rtrace(&["fmt", &a, &b, &a], b"");
    assert_eq!((ended.status, ended.out), (1, format!("{FINE}{FINE}")));
    assert!(ended.err.contains(&format!("{b}:1:14")), "{}", ended.err);
    assert_eq!(text(&a), UGLY, "the file stays");
}

#[test]
fn files_in_place() {
    let scratch = Scratch::new("place");
    let (a, b) = (scratch.file("a.rt", UGLY), scratch.file("b.rt", FINE));
    let before = fs::metadata(&b).expect("b").ino();
    let ended = rtrace(&["fmt", "--in-place", &a, &b], b"");
    assert_eq!((ended.status, ended.out.as_str(), ended.err.as_str()), (0, "", ""));
    assert_eq!((text(&a).as_str(), text(&b).as_str()), (FINE, FINE));
    assert_eq!(fs::metadata(&b).expect("b").ino(), before, "what is in the style is not written");
    assert_eq!(scratch.names(), ["a.rt", "b.rt"], "nothing is left behind");
}

#[test]
fn to_a_file() {
    let scratch = Scratch::new("output");
    let (ugly, there) = (scratch.file("a.rt", UGLY), scratch.file("there.rt", "old"));
    fs::set_permissions(&there, fs::Permissions::from_mode(0o640)).expect("a mode");
    let mut opened = fs::File::open(&there).expect("there");
    let made = scratch.0.join("new.rt").display().to_string();
    for words in [
        &["fmt", "-o", &there, &ugly][..],
        &["--fmt", "-o", &made, &ugly],
        &["fmt", "-e", UGLY, "--output", &there],
        &["-o", &made, "-e", UGLY, "--fmt"],
        &[&ugly, "--fmt", "-o", &there],
    ] {
        let output = if words.contains(&there.as_str()) { &there } else { &made };
        let ended = rtrace(words, b"");
        assert_eq!((ended.status, ended.out.as_str(), ended.err.as_str()), (0, "", ""), "{words:?}");
        assert_eq!(text(output), FINE, "{words:?}");
        fs::write(output, "old").expect("a file");
    }
    assert_eq!(fs::metadata(&there).expect("there").permissions().mode() & 0o7777, 0o640);
    let mut old = String::new();
    opened.read_to_string(&mut old).expect("text");
    assert_eq!(old, "old", "whoever reads the old text goes on reading that");
    assert_eq!(text(&ugly), UGLY, "the script stays");
    // Nothing is written of a mistake, nor left behind.
    let ended = rtrace(&["fmt", "-o", &there, "-e", "BEGIN {"], b"");
    assert_eq!((ended.status, text(&there).as_str()), (1, "old"));
    assert!(ended.err.contains("program:1:8"), "{}", ended.err);
    assert_eq!(scratch.names(), ["a.rt", "new.rt", "there.rt"]);
    // A device is written to, and is no file to be replaced.
    let ended = rtrace(&["fmt", "-o", "/dev/full", &ugly], b"");
    assert_eq!(ended.status, 1);
    assert!(ended.err.starts_with("error: cannot write /dev/full: No space left"), "{}", ended.err);
    let ended = rtrace(&["fmt", "-o", "/dev/stdout", &ugly], b"");
    assert_eq!((ended.status, ended.out.as_str()), (0, FINE));
}

#[test]
fn a_script_of_the_command_line() {
    for words in [["fmt", "-e", UGLY], ["--fmt", "-e", UGLY], ["-e", UGLY, "--fmt"]] {
        let ended = rtrace(&words, b"");
        assert_eq!((ended.status, ended.out.as_str(), ended.err.as_str()), (0, FINE, ""), "{words:?}");
    }
}

#[test]
fn mode_and_symbolic_links_stay() {
    let scratch = Scratch::new("mode");
    let file = scratch.file("a.rt", UGLY);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o751)).expect("a mode");
    let link = scratch.0.join("link.rt");
    symlink("a.rt", &link).expect("a link");
    let ended = rtrace(&["fmt", "-i", link.to_str().expect("UTF-8")], b"");
    assert_eq!((ended.status, ended.err.as_str()), (0, ""));
    assert!(fs::symlink_metadata(&link).expect("the link").is_symlink());
    assert_eq!(text(&file), FINE);
    assert_eq!(fs::metadata(&file).expect("the file").permissions().mode() & 0o7777, 0o751);
}

#[test]
fn a_read_only_file_is_left_alone() {
    let scratch = Scratch::new("readonly");
    let file = scratch.file("a.rt", UGLY);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).expect("a mode");
    let ended = rtrace(&["fmt", "-i", &file], b"");
    assert_eq!(ended.status, 1);
    assert_eq!(ended.err, format!("error: cannot write {file}: it is read-only\n"));
    assert_eq!(text(&file), UGLY);
}

#[test]
fn check_changes_nothing() {
    let scratch = Scratch::new("check");
    let fine = scratch.file("fine.rt", FINE);
    let ugly = scratch.file("ugly.rt", format!("// first\n\n{UGLY}\n"));
    let ended = rtrace(&["fmt", "--check", &fine, &ugly], b"");
    assert_eq!((ended.status, ended.out.as_str()), (1, ""));
    assert_eq!(
        ended.err,
        format!(
            "{ugly}:3: not in the style\n    -BEGIN{{printf(\"hi\\n\");exit()}} // bye\n    +BEGIN {{ printf(\"hi\\n\"); \
             exit() }} // bye\n"
        )
    );
    assert_eq!(text(&ugly), format!("// first\n\n{UGLY}\n"));
    let ended = rtrace(&["fmt", "--check", &fine], b"");
    assert_eq!((ended.status, ended.err.as_str()), (0, ""));
    let ended = rtrace(&["fmt", "--check", "-"], UGLY.as_bytes());
    assert_eq!((ended.status, ended.out.as_str()), (1, ""));
    assert!(ended.err.starts_with("stdin:1: not in the style\n"), "{}", ended.err);
}

#[test]
fn check_shows_white_space() {
    let scratch = Scratch::new("space");
    let file = scratch.file("a.rt", "BEGIN { }\r\n");
    let ended = rtrace(&["fmt", "--check", &file], b"");
    assert_eq!(ended.err, format!("{file}:1: not in the style\n    -BEGIN {{ }}\\r\n    +BEGIN {{ }}\n"));
    let file = scratch.file("b.rt", "BEGIN { }");
    let ended = rtrace(&["fmt", "--check", &file], b"");
    assert_eq!((ended.status, ended.err), (1, format!("{file}:2: not in the style\n    +\n")));
}

#[test]
fn standard_input_to_standard_output() {
    let ended = rtrace(&["fmt", "-"], UGLY.as_bytes());
    assert_eq!((ended.status, ended.out.as_str(), ended.err.as_str()), (0, FINE, ""));
    let ended = rtrace(&["fmt", "-"], b"BEGIN {");
    assert_eq!((ended.status, ended.out.as_str()), (1, ""));
    assert!(ended.err.contains("stdin:1:8"), "{}", ended.err);
}

#[test]
fn a_mistake_leaves_its_file_and_no_other() {
    let scratch = Scratch::new("mistake");
    let (broken, ugly) = (scratch.file("broken.rt", "BEGIN { $x = ; }\n"), scratch.file("ugly.rt", UGLY));
    let ended = rtrace(&["fmt", "-i", &broken, &ugly], b"");
    assert_eq!(ended.status, 1);
    assert!(ended.err.starts_with("error[R0005]: expected a value"), "{}", ended.err);
    assert!(ended.err.contains(&format!("{broken}:1:14")), "{}", ended.err);
    assert_eq!(text(&broken), "BEGIN { $x = ; }\n");
    assert_eq!(text(&ugly), FINE);
}

#[test]
fn what_is_no_script() {
    let scratch = Scratch::new("none");
    let directory = scratch.0.to_str().expect("UTF-8").to_string();
    let bytes = scratch.file("bytes.rt", b"BEGIN {\n\xff}\n");
    for (words, wanted) in [
        (vec!["fmt"], "<FILE>".to_string()),
        (vec!["fmt", "--chek", "a.rt"], "--check".to_string()),
        (vec!["fmt", "--check", "-i", "a.rt"], "cannot be used with".to_string()),
        (
            vec!["fmt", "-o", "/nowhere/a.rt", "-e", "BEGIN { }"],
            "error: cannot write /nowhere/a.rt: No such".to_string(),
        ),
        (vec!["fmt", "-o", "x.rt", &bytes, &bytes], "error: x.rt cannot hold 2 scripts".to_string()),
        (vec!["fmt", "-i", "-e", "BEGIN { }"], "cannot be used with".to_string()),
        (vec!["-q", "--fmt"], "error: --fmt is of a script".to_string()),
        (vec!["fmt", "/nowhere.rt"], "error: cannot read /nowhere.rt: No such file".to_string()),
        (vec!["fmt", &directory], format!("error: {directory} is a directory\n  = help: name its scripts")),
        (vec!["fmt", &bytes], format!("error: {bytes}:2: the script is not UTF-8 text")),
    ] {
        let ended = rtrace(&words, b"");
        assert_eq!((ended.status, ended.out.as_str()), (1, ""), "{words:?}");
        assert!(ended.err.contains(&wanted), "{words:?}: {}", ended.err);
    }
    assert_eq!(fs::read(&bytes).expect("the file"), b"BEGIN {\n\xff}\n");
}

#[test]
fn help_names_it() {
    assert!(rtrace(&["--help"], b"").out.contains("rtrace fmt FILE..."));
    let ended = rtrace(&["fmt", "--help"], b"");
    assert_eq!(ended.status, 0);
    assert!(ended.out.contains("Usage: rtrace fmt [OPTIONS] [FILE]..."), "{}", ended.out);
}
