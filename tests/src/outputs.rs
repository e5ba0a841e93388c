//! What becomes of much output, and of output on terminals of any size: counted exactly with two processors, kept whole,
//! on a disk that fills while it is written, and the same in every width and locale.
//!
//! Unsafe: openpty(3), for a terminal of a given size.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::child::Child;
use crate::directory::Directory;
use crate::endings;
use crate::environment::Programs;

type Check = fn(&Programs) -> Result<()>;

/// The tests by their names.
pub const ALL: &[(&str, Check)] = &[
    ("burst_of_two_processors", check_burst),
    ("widths", check_widths),
    ("filling_disk", check_filling_disk),
    ("steady_errors", check_steady_errors),
    ("commands_of_a_terminal", check_commands),
    ("many_keys", check_many_keys),
];

/// What takes a processor that does not compute in software.
pub const OUTSIDE_GUESTS: &[(&str, Check)] =
    &[("a_million_lines", check_million), ("short_ticks", check_short), ("held_up_ticks", check_held_up)];

const PATIENCE: Duration = Duration::from_secs(120);

/// Threads on both processors fire both probes while nobody reads.
fn check_burst(programs: &Programs) -> Result<()> {
    endings::count_burst(programs, &["threads", "2", "50000"], 100_000)
}

/// A million events of two threads, one after the other without a pause, are all printed; where the machine is too busy
/// to read them in time, those that were lost are told exactly.
fn check_million(programs: &Programs) -> Result<()> {
    const EVENTS: u64 = 1_000_000;
    let workload = programs.workloads.join("workload");
    let mut lost = 0;
    for _ in 0..5 {
        let mut command = Command::new(&programs.rtrace);
        command.args(["-f", "json", "-e"]);
        command.arg("tracepoint:syscalls:sys_enter_getppid { printf(\"%d %d\\n\", tid, nsecs); }");
        command.args(["-c", &format!("{} threads 2 {}", workload.display(), EVENTS / 2)]);
        let ended = Child::start(&mut command, Instant::now() + PATIENCE)?.finish()?;
        let output = String::from_utf8_lossy(&ended.output);
        let printed = output.lines().filter(|line| line.starts_with("{\"type\": \"printf\"")).count() as u64;
        let told = output.lines().rfind(|line| line.starts_with("{\"type\": \"lost_events\""));
        lost = match told {
            Some(line) => serde_json::from_str::<serde_json::Value>(line)?["count"].as_u64().context("no count")?,
            None => 0,
        };
        if printed + lost != EVENTS || !ended.status.success() {
            bail!("{EVENTS} fired, {printed} were printed and {lost} are told as lost; {}", ended.status);
        }
        if lost == 0 {
            return Ok(());
        }
    }
    bail!("of each of five runs some were lost, {lost} of the last one")
}

/// Ten thousand ticks a second are run.
fn check_short(programs: &Programs) -> Result<()> {
    let script = "interval:us:100 { @++; } END { printf(\"ticks %d of %d\\n\", @, elapsed / 100000); clear(@); }";
    let mut command = Command::new(&programs.rtrace);
    command.args(["-e", script, "--duration", "2s"]);
    let ended = Child::start(&mut command, Instant::now() + PATIENCE)?.finish()?;
    let (ran, passed) = all_are_there(&ended.output, &ended.errors)?;
    // Of a wake-up each millisecond or two, each with one tick, it would be a tenth.
    if ran < passed / 2 {
        bail!("{ran} of {passed} ticks ran");
    }
    Ok(())
}

/// Ticks that come while nobody reads the output are made up for, up to a number, and the others are told: none goes missing.
fn check_held_up(programs: &Programs) -> Result<()> {
    let script = "interval:us:100 { @++; printf(\"%0400d\\n\", 1); } \
                  END { printf(\"ticks %d of %d\\n\", @, elapsed / 100000); clear(@); }";
    let child = Command::new(&programs.rtrace)
        .args(["-e", script, "--duration", "4s"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    std::thread::sleep(Duration::from_millis(2500));
    let ended = child.wait_with_output()?;
    all_are_there(&ended.stdout, &ended.stderr)?;
    Ok(())
}

/// The ticks that the script says have run, and those that are told as missed, are as many as have passed. How many ran, and
/// how many have passed.
fn all_are_there(output: &[u8], errors: &[u8]) -> Result<(u64, u64)> {
    let (output, errors) = (String::from_utf8_lossy(output), String::from_utf8_lossy(errors));
    let counts =
        output.lines().find_map(|line| line.strip_prefix("ticks ")?.split_once(" of ")).context("no counts")?;
    let (ran, passed): (u64, u64) = (counts.0.parse()?, counts.1.parse()?);
    let missed =
        errors.lines().find_map(|line| line.strip_prefix("warning: missed ")?.split_once(" ticks of interval:us:100"));
    let missed: u64 = missed.map_or(Ok(0), |(number, _)| number.parse())?;
    // The clock of the script begins a little before the timer.
    if (ran + missed).abs_diff(passed) > passed / 20 {
        bail!("{ran} ran and {missed} were missed, of {passed}");
    }
    Ok((ran, passed))
}

/// What goes wrong at every tick is told once a second at most, with how often it did since then, and at the end in total;
/// each place of the script by itself.
fn check_steady_errors(programs: &Programs) -> Result<()> {
    const SECOND: Duration = Duration::from_millis(900);
    // Where a script goes wrong, and how often in a tick.
    const PLACES: &[(&str, u64)] =
        &[("1 / @zero", 1), ("2 / @zero", 1), ("*(uint64 *)@zero", 1), ("$bytes[@nine]", 1), ("@all[$i] = 1;", 3)];
    let script = "config = { max_map_keys = 2 } \
                  BEGIN { @zero = 0; @nine = 9; } \
                  interval:ms:10 { @ticks++; $bytes = (uint8[8])@ticks; \
                  $sum = 1 / @zero + 2 / @zero + *(uint64 *)@zero + $bytes[@nine]; for $i : 0..5 { @all[$i] = 1; } \
                  if (elapsed > 3500000000) { exit(); } } \
                  END { printf(\"ticks %d\\n\", @ticks); clear(@ticks); clear(@all); clear(@zero); clear(@nine); }";
    let mut child = Command::new(&programs.rtrace)
        .args(["-q", "-e", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut told: BTreeMap<String, Vec<(Instant, String)>> = BTreeMap::new();
    let mut warning = String::new();
    for line in BufReader::new(child.stderr.take().context("no stderr")?).lines() {
        let line = line?;
        match line.strip_prefix("  --> ").and_then(|place| place.split_once(": ")) {
            Some((_, place)) => told.entry(place.to_string()).or_default().push((Instant::now(), warning.clone())),
            None => warning = line,
        }
    }
    let ended = child.wait_with_output()?;
    let output = String::from_utf8_lossy(&ended.stdout);
    let ticks: u64 = output.trim().strip_prefix("ticks ").context("no count of ticks")?.parse()?;
    if told.len() != PLACES.len() {
        bail!("told are {:?}", told.keys());
    }
    for (place, in_a_tick) in PLACES {
        let told = told.get(*place).with_context(|| format!("nothing is told of `{place}`"))?;
        let counts = told.iter().map(|(_, warning)| {
            let (_, count) = warning.rsplit_once(" (").context("no count")?;
            let (count, rest) = count.split_once(' ').context("no number")?;
            Ok((count.parse::<u64>()?, rest))
        });
        let counts: Vec<(u64, &str)> = counts.collect::<Result<_>>()?;
        let ((total, last), running) = counts.split_last().context("nothing is told")?;
        let sum: u64 = running.iter().map(|(count, _)| count).sum();
        if *total != ticks * in_a_tick
            || *last != "times in total)"
            || running.iter().any(|(_, rest)| *rest != "times)")
        {
            bail!("`{place}` went wrong {ticks} times {in_a_tick}, and told is {told:?}");
        }
        let while_running = &told[..running.len()];
        if !(2..=3).contains(&running.len()) || sum > *total {
            bail!("`{place}` is told so often in 3.5 s: {told:?}");
        }
        if while_running.windows(2).any(|pair| pair[1].0 - pair[0].0 < SECOND) {
            bail!("`{place}` is told more than once in a second: {told:?}");
        }
    }
    Ok(())
}

/// So many keys that two threads read them are all shown once, in the order of their values and then of the keys.
fn check_many_keys(programs: &Programs) -> Result<()> {
    const KEYS: i64 = 100_000;
    let workload = programs.workloads.join("workload");
    let script = "config = { max_map_keys = 120000 } \
                  tracepoint:syscalls:sys_enter_getppid /@calls < 100000/ { @[@calls - 50000] = sum((int64)@calls % 7 - 3); @calls++; } \
                  END { clear(@calls); }";
    let mut command = Command::new(&programs.rtrace);
    command.args(["-q", "-e", script, "-c", &format!("{} threads 1 {KEYS}", workload.display())]);
    let ended = Child::start(&mut command, Instant::now() + PATIENCE)?.finish()?;
    let mut expected: Vec<(i64, i64)> = (0..KEYS).map(|call| (call % 7 - 3, call - KEYS / 2)).collect();
    expected.sort_unstable();
    let expected = expected.into_iter().map(|(value, key)| format!("@[{key}]: {value}"));
    let output = String::from_utf8_lossy(&ended.output);
    let shown: Vec<&str> = output.lines().filter(|line| !line.is_empty()).collect();
    let differing = expected.zip(&shown).enumerate().find(|(_, (expected, shown))| expected != *shown);
    if shown.len() as i64 != KEYS || differing.is_some() || !ended.status.success() {
        bail!("{} lines, the first that differs is {differing:?}; {}", shown.len(), ended.status);
    }
    Ok(())
}

/// A small file system of its own fills while rtrace writes: what was written stays, the rest is told.
fn check_filling_disk(programs: &Programs) -> Result<()> {
    const BYTES: u64 = 64 * 1024;
    let directory = Directory::create("filling")?;
    let (disk, kept) = (directory.path.join("disk"), directory.path.join("kept"));
    fs::create_dir(&disk)?;
    let script = "interval:ms:1 { @n++; printf(\"line %d %r\\n\", @n, buf(curtask, 500)); }";
    // The mount is that of a namespace, and goes with it.
    let line = format!(
        "mount -t tmpfs -o size={BYTES} none '{0}' && '{1}' -q -o '{0}/out' -e '{script}'; status=$?; cp '{0}/out' '{2}'; exit $status",
        disk.display(),
        programs.rtrace.display(),
        kept.display()
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &line]);
    let ended = Child::start(&mut command, Instant::now() + PATIENCE)?.finish()?;
    let errors = String::from_utf8_lossy(&ended.errors);
    if ended.status.code() != Some(1) || !errors.contains("cannot write the output: No space left") {
        bail!("it ended with {} and said: {errors}", ended.status);
    }
    let text = fs::read_to_string(&kept)?;
    if text.len() as u64 > BYTES || (text.len() as u64) < BYTES / 2 {
        bail!("{} of {BYTES} bytes were written", text.len());
    }
    for (number, line) in text.lines().enumerate().take(text.lines().count() - 1) {
        if !line.starts_with(&format!("line {} ", number + 1)) {
            bail!("line {} is `{line}`", number + 1);
        }
    }
    Ok(())
}

/// On a terminal, control characters are escaped where they are shown: a command, and the name of a file, have them as they are.
fn check_commands(programs: &Programs) -> Result<()> {
    let directory = Directory::create("commands")?;
    let path = directory.path.join("a\u{1}b");
    fs::write(&path, "of the file\n")?;
    let script = format!(
        "BEGIN {{ $text = \"a\\x01b\"; printf(\"<%s>\", $text); system(\"printf %%s '%s' | od -An -tx1\", $text); \
         cat(\"{}/%s\", $text); exit(); }}",
        directory.path.display()
    );
    let shown = on_terminal(programs, &["--unsafe", "-q", "-e", &script], 80, "C")?;
    let words: Vec<&str> = shown.split_whitespace().collect();
    if words != ["<a\\x01b>", "61", "01", "62", "of", "the", "file"] {
        bail!("it shows {shown}");
    }
    Ok(())
}

/// What is printed does not depend on the width of a terminal, and of the locale only what bars are drawn with: it can be
/// copied and compared.
fn check_widths(programs: &Programs) -> Result<()> {
    let script = "BEGIN { @h[\"gr\\xc3\\xbc\\xc3\\x9f\"] = hist(5); @h[\"gr\\xc3\\xbc\\xc3\\x9f\"] = hist(900); \
                  @l = lhist(7, 0, 50, 5); @q = quantize(3); @t = tseries(4, 1h, 2); \
                  @[\"a key of more than forty columns, whatever they are\", 12345678] = count(); \
                  @s = stats(5); printf(\"%-30s|%30s|\\n\", \"\\xc3\\xa4\", \"right\"); exit(); }";
    let piped = Child::start(Command::new(&programs.rtrace).args(["-q", "-e", script]), Instant::now() + PATIENCE)?;
    let piped = String::from_utf8_lossy(&piped.finish()?.output).into_owned();
    if !piped.contains("@@@@@@@@@@@@@@@@@@@@") || !piped.contains("gr\u{fc}\u{df}") {
        bail!("a pipe is given {piped}");
    }
    let plain: &[&str] = &["-q", "-e", script];
    let ascii: &[&str] = &["--ascii", "-q", "-e", script];
    for (columns, locale, words) in [
        (40, "C", plain),
        (40, "C.UTF-8", plain),
        (200, "C", plain),
        (200, "C.UTF-8", plain),
        (200, "C.UTF-8", ascii),
        (0, "C", plain),
    ] {
        let shown = on_terminal(programs, words, columns, locale)?;
        let has_blocks = locale != "C" && words == plain;
        let in_ascii = shown.replace('\u{2588}', "@").replace(|c| ('\u{2589}'..='\u{258f}').contains(&c), " ");
        // The head of a series has the time of day.
        if without_times(&in_ascii) != without_times(&piped) || shown.contains('\u{2588}') != has_blocks {
            bail!("{words:?}, {columns} columns and LANG={locale} show:\n{shown}\na pipe is given:\n{piped}");
        }
    }
    Ok(())
}

fn without_times(text: &str) -> String {
    text.lines().filter(|line| !line.contains(':') || line.starts_with('@')).collect::<Vec<_>>().join("\n")
}

/// What rtrace shows on a terminal of so many columns.
fn on_terminal(programs: &Programs, words: &[&str], columns: u16, locale: &str) -> Result<String> {
    let (mut master, mut slave) = (0, 0);
    let size = libc::winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let null = std::ptr::null_mut();
    // SAFETY: the call writes two descriptors and reads the size, which are there; it takes no name or modes.
    let result = unsafe { libc::openpty(&mut master, &mut slave, null, null.cast(), &size) };
    if result != 0 {
        return Err(std::io::Error::last_os_error()).context("cannot open a terminal");
    }
    // SAFETY: both descriptors are new and ours.
    let (mut master, slave) = unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    // SAFETY: flags of our own descriptor.
    unsafe { libc::fcntl(master.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
    let mut child = Command::new(&programs.rtrace)
        .args(words)
        .env("LANG", locale)
        .env("LC_ALL", locale)
        .env("TERM", "xterm-256color")
        .stdin(Stdio::null())
        .stdout(slave)
        .stderr(Stdio::null())
        .spawn()?;
    let mut shown = Vec::new();
    let mut bytes = [0; 4096];
    // Reading fails when the child has closed the other side.
    while let Ok(count) = master.read(&mut bytes) {
        if count == 0 {
            break;
        }
        shown.extend_from_slice(&bytes[..count]);
    }
    child.wait()?;
    Ok(String::from_utf8_lossy(&shown).replace("\r\n", "\n"))
}
