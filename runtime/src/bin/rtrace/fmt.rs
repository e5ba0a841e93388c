//! `rtrace fmt`: scripts in one style, printed or in place. Decides nothing about the style; never leaves half a file.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use clap::Parser;

use rtrace_lang::pretty::{Refusal, format};
use rtrace_lang::source::Source;

use crate::arguments::Origin;
use crate::script::{fail, read, report};

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
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,

    /// Print nothing: write the files themselves, `-` still to standard output
    #[arg(short, long)]
    in_place: bool,

    /// Change nothing: name each script that is not in the style, with the first line that differs
    #[arg(long, conflicts_with = "in_place")]
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
    let statuses = arguments.files.iter().map(|file| one(file, &arguments));
    statuses.fold(0, i32::max)
}

fn one(file: &str, arguments: &Arguments) -> i32 {
    if file != "-" && Path::new(file).is_dir() {
        return fail(&format!("{file} is a directory"), &[format!("name its scripts: `rtrace fmt -i {file}/*.rt`")]);
    }
    let origin = if file == "-" { Origin::StandardInput } else { Origin::File(file) };
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
    let written = if file == "-" || !arguments.in_place {
        match std::io::stdout().write_all(formatted.as_bytes()) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    } else if text != formatted {
        replace(Path::new(file), &formatted)
    } else {
        Ok(())
    };
    match written {
        Ok(()) => 0,
        Err(error) => fail(&format!("cannot write {name}: {error}"), &[]),
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

/// Replaces a file at once: whoever opens it sees all of the old text or all of the new. Its owner and mode stay; where
/// the path is a symbolic link, the file behind it is replaced.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let file = fs::canonicalize(file)?;
    let metadata = fs::metadata(&file)?;
    if !metadata.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    if metadata.permissions().readonly() {
        return Err(std::io::Error::other("it is read-only"));
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let temporary = file.with_file_name(format!(".{name}.{}", std::process::id()));
    let result = write_beside(&temporary, text, &metadata).and_then(|()| fs::rename(&temporary, &file));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}

fn write_beside(temporary: &Path, text: &str, like: &fs::Metadata) -> std::io::Result<()> {
    let mut out = OpenOptions::new().write(true).create_new(true).open(temporary)?;
    out.write_all(text.as_bytes())?;
    let made = out.metadata()?;
    if (made.uid(), made.gid()) != (like.uid(), like.gid()) {
        chown(temporary, Some(like.uid()), Some(like.gid()))?;
    }
    out.set_permissions(like.permissions())?;
    out.sync_all()
}
