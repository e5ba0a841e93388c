//! `rtrace flame`: flame graphs of five kinds. Each records by a script, or draws what was recorded before.

mod scripts;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use rtrace_runtime::output::difference::{self, Comparison, DifferenceForm};
use rtrace_runtime::output::flame_graph::{Hues, Style};
use rtrace_runtime::output::stack_files::StackFile;

use crate::arguments::parsed;
use crate::profile::{self, Profile};
use crate::recording::{self, FORMS, Recording};
use crate::script::fail;

/// Flame graphs: where programs run, where they wait, what they allocate, and what has changed
#[derive(Parser, Debug)]
#[command(
    name = "rtrace flame",
    bin_name = "rtrace flame",
    disable_version_flag = true,
    after_help = format!("{FORMS}\n\n\
        Examples:\n  \
        rtrace flame on-cpu -p 1234 -d 30s -o hot.svg\n  \
        rtrace flame on-cpu --from perf.txt -o hot.svg\n  \
        rtrace flame off-cpu -c 'make -j8' -o waits.svg\n  \
        rtrace flame memory --of held -p 1234 -d 60s -o leaks.svg\n  \
        rtrace flame diff before.folded after.folded -o change.svg")
)]
struct Words {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Subcommand, Debug)]
enum Kind {
    /// Where time goes on processors, by samples; as `rtrace profile`
    OnCpu(OnCpu),
    /// Where threads wait, by the time that they are blocked
    OffCpu(OffCpu),
    /// Where a process takes memory
    Memory(Memory),
    /// Time on processors and time blocked in one graph, coloured apart
    HotCold(HotCold),
    /// What has changed from one recording to another: red grew, blue shrank
    Diff(Diff),
}

#[derive(Args, Debug)]
struct OnCpu {
    #[command(flatten)]
    profile: Profile,

    /// Trace nothing: draw the samples of a file (perf script's text, folded stacks, a profile of pprof's)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pid", "command", "cgroup", "container", "duration", "script", "kernel", "user"])]
    from: Option<PathBuf>,

    /// Of a file with several kinds of samples, those of this name
    #[arg(long, value_name = "NAME", requires = "from")]
    sample: Option<String>,
}

#[derive(Args, Debug)]
struct OffCpu {
    #[command(flatten)]
    recording: Recording,

    #[command(flatten)]
    waits: Waits,

    /// Above each stack that of the thread that woke it, upside down
    #[arg(long)]
    wakers: bool,
}

/// Which waits count.
#[derive(Args, Debug)]
pub struct Waits {
    /// Only waits of so long or longer: 500us, 1ms, 2s
    #[arg(long, value_name = "TIME", value_parser = microseconds)]
    min: Option<u64>,

    /// States that count: S sleeps, D waits for a device or a lock, T is stopped, I idles in the kernel, R could run and has
    /// no processor
    #[arg(long, value_name = "STATES", value_delimiter = ',', default_value = "S,D,T,I")]
    states: Vec<WaitState>,
}

/// A state as ps shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum WaitState {
    S,
    D,
    T,
    I,
    R,
}

#[derive(Args, Debug)]
struct Memory {
    #[command(flatten)]
    recording: Recording,

    /// What the frames are as wide as
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = MemoryMeasure::Allocated)]
    of: MemoryMeasure,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum MemoryMeasure {
    /// Bytes that malloc and its kin gave
    Allocated,
    /// Calls of malloc and its kin
    Calls,
    /// Bytes that were given while it was recorded and not freed: candidates for leaks
    Held,
    /// Bytes that mmap was asked for
    Mapped,
    /// Page faults
    Faults,
}

#[derive(Args, Debug)]
struct HotCold {
    #[command(flatten)]
    recording: Recording,

    #[command(flatten)]
    waits: Waits,

    /// Samples a second on each processor
    #[arg(short = 'F', long = "frequency", value_name = "HZ", default_value_t = 99, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    frequency: u32,
}

#[derive(Args, Debug)]
struct Diff {
    /// The recording to compare with
    before: PathBuf,

    /// The recording that is drawn
    after: PathBuf,

    /// Of files with several kinds of samples, those of this name
    #[arg(long, value_name = "NAME")]
    sample: Option<String>,

    /// Compare the weights as they are, not by their shares of the whole
    #[arg(long)]
    absolute: bool,

    /// Where the result goes: *.svg, *.html, *.folded (stacks with both weights) or *.txt (a table of functions, which is printed
    /// where no file is named)
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Its definition, for the manual.
pub fn command() -> clap::Command {
    <Words as clap::CommandFactory>::command()
}

/// Records or reads, and draws; gives the exit status.
pub fn run(words: impl Iterator<Item = String>) -> i32 {
    let words: Words = match parsed(words) {
        Ok(words) => words,
        Err(status) => return status,
    };
    if let Kind::OffCpu(OffCpu { recording, .. }) | Kind::HotCold(HotCold { recording, .. }) = &words.kind
        && recording.children
    {
        let help = "`rtrace flame on-cpu`, `rtrace flame memory` and `rtrace profile` take --children".to_string();
        return fail("waits are recorded of one process, without its children, or of all tasks", &[help]);
    }
    match &words.kind {
        Kind::OnCpu(on_cpu) => match &on_cpu.from {
            Some(_) => drawn(on_cpu).unwrap_or_else(|status| status),
            None => profile::record(&on_cpu.profile),
        },
        Kind::OffCpu(OffCpu { recording, waits, wakers }) => {
            let script = scripts::off_cpu(waits, recording.is_of_process(), *wakers);
            recording::run(recording, &["--all-tasks"], &script, style("Off-CPU", "microseconds", Hues::Origin))
        }
        Kind::Memory(Memory { recording, of }) => {
            if !recording.is_of_process() {
                let help = "name a process with -p, or a command with -c".to_string();
                return fail("memory is recorded of one process", &[help]);
            }
            let (title, unit) = scripts::memory_title(*of);
            recording::run(recording, &[], &scripts::memory(*of, recording.children), style(title, unit, Hues::Origin))
        }
        Kind::HotCold(HotCold { recording, waits, frequency }) => {
            let script = scripts::hot_cold(waits, *frequency, recording.is_of_process());
            recording::run(recording, &["--all-tasks"], &script, style("Hot/cold", "microseconds", Hues::HotCold))
        }
        Kind::Diff(diff) => compared(diff).unwrap_or_else(|status| status),
    }
}

fn style(title: &str, unit: &str, hues: Hues) -> Style {
    Style { title: title.to_string(), unit: unit.to_string(), hues }
}

fn drawn(on_cpu: &OnCpu) -> Result<i32, i32> {
    let Some(file) = &on_cpu.from else { return Ok(0) };
    let output = on_cpu.profile.recording.output.as_deref();
    let form = recording::form(output)?;
    let map = recording::read(file, on_cpu.sample.as_deref())?.without_attributes();
    let unit = if map.unit == "count" || map.unit.is_empty() { "samples".to_string() } else { map.unit.clone() };
    let style = Style { unit, ..profile::style() };
    let bytes = StackFile { form, style }.bytes(&[map], 0).map_err(|error| fail(&error.to_string(), &[]))?;
    Ok(recording::write(&bytes, output))
}

fn compared(diff: &Diff) -> Result<i32, i32> {
    let output = diff.output.as_deref();
    let form = DifferenceForm::of(output).ok_or_else(|| {
        let help = "name it *.svg, *.html, *.folded or *.txt".to_string();
        fail("the name of the file does not say how two recordings are compared", &[help])
    })?;
    let (before, after) =
        (recording::read(&diff.before, diff.sample.as_deref())?, recording::read(&diff.after, diff.sample.as_deref())?);
    // Of what is only counted nobody says what it is.
    let unit = if after.unit.is_empty() || after.unit == "count" { "total" } else { &after.unit };
    let title = format!("{} compared with {}", diff.after.display(), diff.before.display());
    let by = if diff.absolute { Comparison::Weights } else { Comparison::Shares };
    let style = style(&title, unit, Hues::Origin);
    let bytes =
        difference::difference(&before, &after, by, form, &style).map_err(|error| fail(&error.to_string(), &[]))?;
    Ok(recording::write(&bytes, output))
}

/// `500us`, `1ms`, `2s`.
fn microseconds(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "us" => 1,
        "ms" => 1000,
        "s" => 1_000_000,
        _ => return Err("times end with us, ms or s: 1ms".to_string()),
    };
    let number: u64 = number.parse().map_err(|_| "a time is a whole number and its unit: 1ms".to_string())?;
    number.checked_mul(scale).filter(|all| *all < 1 << 40).ok_or_else(|| "the time is too long".to_string())
}
