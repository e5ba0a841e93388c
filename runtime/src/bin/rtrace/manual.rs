//! The manual page and the completions of shells, made from the definitions of the command line and of the settings.

use std::io::{self, Write};

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use rtrace_lang::settings::SETTINGS;

use crate::arguments::{Arguments, Manual};
use crate::{flame, fmt, lsp, profile, report};

/// Variables that are no settings of scripts.
const VARIABLES: &[(&str, &str)] = &[
    ("RTRACE_COLOR, BPFTRACE_COLOR", "Colours of messages: `auto`, `always` or `never`."),
    ("NO_COLOR", "There are no colours if it is set."),
    ("RTRACE_BTF, BPFTRACE_BTF", "A file with the types of the kernel, in place of /sys/kernel/btf/vmlinux."),
    ("LC_ALL, LC_CTYPE, LANG", "Bars are drawn with block characters on a terminal where the locale is one of UTF-8."),
    ("TZ", "The zone of the times that are shown."),
    ("XDG_STATE_HOME", "Where the prompt keeps its history: below it, or below ~/.local/state."),
];

pub fn run(manual: Manual) -> i32 {
    let mut out = Vec::new();
    let mut completions = |shell| generate(shell, &mut whole(), "rtrace", &mut out);
    match manual {
        Manual::Man => {
            if let Err(error) = page(&mut out) {
                return crate::script::fail(&error.to_string(), &[]);
            }
        }
        Manual::Bash => completions(Shell::Bash),
        Manual::Zsh => completions(Shell::Zsh),
        Manual::Fish => completions(Shell::Fish),
    }
    crate::script::print(&out)
}

/// The command with those that have words of their own.
fn whole() -> Command {
    Arguments::command().subcommands(commands())
}

/// Those that have words of their own.
pub fn commands() -> [Command; 5] {
    let named = |command: Command, name: &'static str, about: &'static str| command.name(name).about(about);
    [
        named(profile::command(), "profile", "Where time goes on processors, as a flame graph, a profile or a tree"),
        named(flame::command(), "flame", "Flame graphs of five kinds"),
        named(report::command(), "report", "A recording as text, or on the screen"),
        named(fmt::command(), "fmt", "Scripts in one style"),
        named(lsp::command(), "lsp", "A language server for editors"),
    ]
}

fn page(out: &mut dyn Write) -> io::Result<()> {
    let mut command = whole();
    command.build();
    let man = Man::new(command.clone());
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    // Each with its own words: there are no pages beside this one.
    for command in commands() {
        options(command, "rtrace", out)?;
    }
    environment(out)?;
    man.render_extra_section(out)?;
    man.render_version_section(out)
}

/// The options of a command, and of those below it.
fn options(command: Command, above: &str, out: &mut dyn Write) -> io::Result<()> {
    let name = format!("{above} {}", command.get_name());
    let mut roff = Roff::default();
    roff.control("SH", [name.to_uppercase().as_str()]);
    roff.text([roman(command.get_about().map(ToString::to_string).unwrap_or_default())]);
    roff.to_writer(out)?;
    let below: Vec<Command> = command.get_subcommands().cloned().collect();
    let mut own = Vec::new();
    Man::new(command).render_options_section(&mut own)?;
    // A section of this one, not one beside it.
    out.write_all(String::from_utf8_lossy(&own).replace(".SH OPTIONS", ".SS Options").as_bytes())?;
    below.into_iter().try_for_each(|command| options(command, &name, out))
}

fn environment(out: &mut dyn Write) -> io::Result<()> {
    let mut roff = Roff::default();
    roff.control("SH", ["ENVIRONMENT"]);
    let mut entry = |name: &str, text: &str| {
        roff.control("TP", []);
        roff.text([bold(name)]);
        roff.text([roman(text)]);
    };
    for (name, text) in VARIABLES {
        entry(name, text);
    }
    for setting in SETTINGS {
        let name = setting.name.to_uppercase();
        entry(&format!("RTRACE_{name}, BPFTRACE_{name}"), &format!("{} It is {}.", setting.doc, setting.takes));
    }
    roff.to_writer(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generated(shell: Shell) -> String {
        let mut out = Vec::new();
        generate(shell, &mut whole(), "rtrace", &mut out);
        String::from_utf8(out).expect("scripts of shells are text")
    }

    #[test]
    fn the_page_has_all_commands_and_variables() {
        let mut out = Vec::new();
        page(&mut out).expect("memory takes all that is written to it");
        let page = String::from_utf8(out).expect("a page is text");
        for heading in [
            "RTRACE PROFILE",
            "RTRACE FLAME",
            "RTRACE FLAME OFF-CPU",
            "RTRACE REPORT",
            "RTRACE FMT",
            "RTRACE LSP",
            "ENVIRONMENT",
        ] {
            assert!(page.contains(heading), "{heading} is not in {page}");
        }
        for word in ["RTRACE_MAX_STRLEN, BPFTRACE_MAX_STRLEN", "BPFTRACE_BTF", "NO_COLOR"] {
            assert!(page.contains(word), "{word}");
        }
    }

    #[test]
    fn shells_know_the_commands_and_their_words() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = generated(shell);
            for word in ["profile", "flame", "off-cpu", "report", "callers", "fmt", "lsp", "probe-filter"] {
                assert!(script.contains(word), "{word} for {shell}");
            }
        }
    }
}
