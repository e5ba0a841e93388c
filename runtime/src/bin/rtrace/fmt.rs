//! `rtrace fmt`: scripts in one style, printed or in place. Decides nothing about the style; never leaves half a file.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use clap::Parser;

use rtrace_lang::pretty::{Refusal, format};
use rtrace_lang::source::Source;

use crate::arguments::Origin;
use crate::script::{fail, print, read, report};

/// Print scripts in one style: four spaces, one statement a line, every comment kept. What a script means never changes.
#[derive(Parser, Debug)]
#[command(
    name = "rtrace fmt",
    bin_name = "rtrace fmt",
    disable_version_flag = true,
    after_help = "A script with a mistake is left as it is, and the mistake is shown.\n\
        Exit status: 0; 1 for a mistake in a script, for a file that cannot be read or written,\n\
        and with --check for a script that is not in the style.\n\
        A script that is called `fmt` runs as `rtrace ./fmt`."
)]
pub struct Arguments {
    /// The scripts; `-` is standard input
    #[arg(value_name = "FILE", required_unless_present = "program")]
    files: Vec<String>,

    /// The script itself
    #[arg(short = 'e', value_name = "PROGRAM", allow_hyphen_values = true, conflicts_with = "files")]
    program: Option<String>,

    /// Print nothing: write the files themselves, `-` still to standard output
    #[arg(short, long, conflicts_with = "program")]
    in_place: bool,

    /// Write the script to FILE, all of it or nothing; of one script
    #[arg(short, long, value_name = "FILE", conflicts_with = "in_place")]
    output: Option<PathBuf>,

    /// Change nothing: name each script that is not in the style, with the first line that differs
    #[arg(long, conflicts_with_all = ["in_place", "output"])]
    check: bool,
}

/// Its definition, for the manual.
pub fn command() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

/// Formats all files; gives the exit status.
pub fn run(words: impl Iterator<Item = String>) -> i32 {
    let arguments: Arguments = match crate::arguments::parsed(words) {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    run_all(&arguments)
}

/// `--fmt` among the other options, as in bpftrace; gives the exit status.
pub fn run_option(arguments: &crate::arguments::Arguments) -> i32 {
    let (program, output) = (arguments.program.clone(), arguments.output.clone());
    let files = if program.is_some() { Vec::new() } else { arguments.words.clone() };
    if program.is_none() && files.is_empty() {
        return fail("--fmt is of a script", &["name its file, or give it with -e".to_string()]);
    }
    run_all(&Arguments { files, program, in_place: false, output, check: false })
}

fn run_all(arguments: &Arguments) -> i32 {
    if let (Some(output), 2..) = (&arguments.output, arguments.files.len()) {
        let help = "`-i` writes each to where it is".to_string();
        return fail(&format!("{} cannot hold {} scripts", output.display(), arguments.files.len()), &[help]);
    }
    if let Some(program) = &arguments.program {
        return one(Origin::Text(program), arguments);
    }
    let of = |file: &String| one(if file == "-" { Origin::StandardInput } else { Origin::File(file) }, arguments);
    arguments.files.iter().map(of).fold(0, i32::max)
}

fn one(origin: Origin<'_>, arguments: &Arguments) -> i32 {
    let file = origin.file().map(Path::new);
    if let Some(file) = file.filter(|file| file.is_dir()) {
        let file = file.display();
        return fail(&format!("{file} is a directory"), &[format!("name its scripts: `rtrace fmt -i {file}/*.rt`")]);
    }
    let (name, text) = match read(origin) {
        Ok(read) => read,
        Err(message) => return fail(&message, &[]),
    };
    let formatted = match format(&text) {
        Ok(formatted) => formatted,
        Err(Refusal::Mistakes(mistakes)) => {
            report(&mistakes, &Source::new(name, text));
            return 1;
        }
        Err(Refusal::Damage(what)) => {
            let help = "this is a bug in rtrace: please report it with the script".to_string();
            return fail(&format!("{name} is left as it is: formatting would change {what}"), &[help]);
        }
    };
    if arguments.check {
        let difference = difference(&name, &text, &formatted);
        let _ = std::io::stderr().write_all(difference.as_bytes());
        return i32::from(text != formatted);
    }
    let (written, place) = match (&arguments.output, file) {
        (Some(output), _) => (write(output, &formatted), output.as_path()),
        (None, Some(file)) if arguments.in_place && text == formatted => (Ok(()), file),
        (None, Some(file)) if arguments.in_place => (replace(file, &formatted), file),
        (None, _) => return print(formatted.as_bytes()),
    };
    match written {
        Ok(()) => 0,
        Err(error) => fail(&format!("cannot write {}: {error}", place.display()), &[]),
    }
}

/// The first line that differs, before and after; empty if none does.
fn difference(name: &str, before: &str, after: &str) -> String {
    if before == after {
        return String::new();
    }
    let (mut old, mut new) = (before.split('\n'), after.split('\n'));
    let mut number = 1;
    loop {
        let (old, new) = (old.next(), new.next());
        if old == new {
            number += 1;
            continue;
        }
        let mut out = format!("{name}:{number}: not in the style\n");
        for (sign, line) in [('-', old), ('+', new)] {
            if let Some(line) = line {
                out.push_str(&format!("    {sign}{}\n", line.replace('\r', "\\r")));
            }
        }
        return out;
    }
}

/// Writes a file that may not be there yet, or be a device, which nothing can replace.
fn write(file: &Path, text: &str) -> io::Result<()> {
    match fs::metadata(file) {
        Ok(metadata) if metadata.is_file() => replace(file, text),
        Ok(_) => fs::write(file, text),
        // Behind a symbolic link it would be made where that leads.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !file.is_symlink() => rename_over(file, text, None),
        Err(error) => Err(error),
    }
}

/// Replaces a file at once: whoever opens it sees all of the old text or all of the new. Its owner and mode stay; where
/// the path is a symbolic link, the file behind it is replaced.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let file = fs::canonicalize(file)?;
    let metadata = fs::metadata(&file)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if metadata.permissions().readonly() {
        return Err(io::Error::other("it is read-only"));
    }
    rename_over(&file, text, Some(&metadata))
}

fn rename_over(file: &Path, text: &str, like: Option<&fs::Metadata>) -> io::Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let temporary = file.with_file_name(format!(".{name}.{}", std::process::id()));
    let result = write_beside(&temporary, text, like).and_then(|()| fs::rename(&temporary, file));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}

fn write_beside(temporary: &Path, text: &str, like: Option<&fs::Metadata>) -> io::Result<()> {
    let mut out = OpenOptions::new().write(true).create_new(true).open(temporary)?;
    out.write_all(text.as_bytes())?;
    if let Some(like) = like {
        let made = out.metadata()?;
        if (made.uid(), made.gid()) != (like.uid(), like.gid()) {
            chown(temporary, Some(like.uid()), Some(like.gid()))?;
        }
        out.set_permissions(like.permissions())?;
    }
    out.sync_all()
}
