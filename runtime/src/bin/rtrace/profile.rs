//! `rtrace profile`: where a process, a command or the whole machine spends its time on processors. It is a script of one
//! probe.

use clap::{Args, Parser};

use rtrace_runtime::output::flame_graph::{Hues, Style};

use crate::arguments::parsed;
use crate::recording::{self, FORMS, MOST_STACKS, Recording, holding};

/// Sample what runs on the processors, with kernel and user stacks, and show where the time goes
#[derive(Parser, Debug)]
#[command(
    name = "rtrace profile",
    bin_name = "rtrace profile",
    disable_version_flag = true,
    after_help = format!("{FORMS}\n\n\
        Examples:\n  \
        rtrace profile -p 1234 -d 30s -o hot.svg\n  \
        rtrace profile -c 'make -j8' -o make.svg\n  \
        rtrace profile -d 10s")
)]
struct Words {
    #[command(flatten)]
    profile: Profile,
}

/// What is sampled, and how often.
#[derive(Args, Debug)]
pub struct Profile {
    #[command(flatten)]
    pub recording: Recording,

    /// Only the tasks of a cgroup (version 2) and those below it
    #[arg(long, value_name = "PATH", conflicts_with_all = ["container", "pid", "command"])]
    cgroup: Option<String>,

    /// Only the tasks of a container
    #[arg(long, value_name = "ID", conflicts_with_all = ["pid", "command"])]
    container: Option<String>,

    /// Samples a second on each processor; not in step with what happens every 10 ms
    #[arg(short = 'F', long = "frequency", value_name = "HZ", default_value_t = 99, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    frequency: u32,

    /// Stacks of the kernel alone
    #[arg(long, conflicts_with = "user")]
    kernel: bool,

    /// Stacks of processes alone
    #[arg(long)]
    user: bool,

    /// Stacks of processes by their unwind tables: where they keep no frame pointers
    #[arg(long, conflicts_with = "kernel")]
    dwarf: bool,
}

/// Its definition, for the manual.
pub fn command() -> clap::Command {
    <Words as clap::CommandFactory>::command()
}

/// Samples and writes the result; gives the exit status.
pub fn run(words: impl Iterator<Item = String>) -> i32 {
    parsed(words).map_or_else(|status| status, |words: Words| record(&words.profile))
}

/// What `rtrace profile` and `rtrace flame on-cpu` do.
pub fn record(profile: &Profile) -> i32 {
    let more: Vec<&str> = [("--cgroup", &profile.cgroup), ("--container", &profile.container)]
        .into_iter()
        .filter_map(|(name, value)| Some([name, value.as_deref()?]))
        .flatten()
        .collect();
    recording::run(&profile.recording, &more, &script(profile), style())
}

pub fn style() -> Style {
    Style { title: "On-CPU".to_string(), unit: "samples".to_string(), hues: Hues::Origin }
}

fn script(profile: &Profile) -> String {
    let user_stack = if profile.dwarf { "dw_ustack" } else { "ustack" };
    let stacks = match (profile.kernel, profile.user) {
        (true, _) => "kstack".to_string(),
        (_, true) => user_stack.to_string(),
        (false, false) => format!("{user_stack}, kstack"),
    };
    // What idles is on no processor.
    let predicate = if profile.recording.is_of_process() { "" } else { " /pid != 0/" };
    let sample = format!("profile:hz:{}{predicate} {{ @on_cpu[comm, {stacks}] = count(); }}\n", profile.frequency);
    holding(MOST_STACKS) + &sample
}
