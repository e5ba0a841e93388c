//! The text of `perf script`: for each sample a line that says whose it is and of which event, then its stack, the innermost
//! frame first. Each kind of event is a map; a sample weighs one.

use std::collections::BTreeMap;

use crate::output::stacks::{FrameKind, Label, Stack, StackFrame, StackMap};

use super::LineError;

/// Addresses from here on are the kernel's.
const KERNEL_FROM: u64 = 0xffff_8000_0000_0000;

/// Files of a process in brackets; what else is in brackets is the kernel or a module of its.
const NOT_OF_KERNEL: &[&str] = &["[unknown]", "[vdso]", "[vsyscall]", "[heap]", "[stack]", "[anon]"];

/// Whether the first line is a sample's.
pub fn is_one(text: &str) -> bool {
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#'));
    first.is_some_and(|line| header(line).is_some())
}

pub fn read(text: &str) -> Result<Vec<StackMap>, LineError> {
    // Kinds of events in the order in which they come.
    let mut events: Vec<(String, BTreeMap<Stack, i64>)> = Vec::new();
    let mut sample: Option<Sample> = None;
    for (number, line) in text.lines().enumerate() {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            add(&mut events, sample.take());
        } else if let Some(found) = header(line) {
            add(&mut events, sample.replace(found));
        } else if let Some(sample) = &mut sample {
            match frame(line) {
                Some(frame) => sample.frames.push(frame),
                // What an event says of itself may go on for several lines before the stack.
                None if sample.frames.is_empty() => {}
                None => {
                    let what = "a frame is an address, a function and a file in parentheses".to_string();
                    return Err(LineError(number + 1, what));
                }
            }
        } else {
            let what = "a sample begins with a program, its process, a time and an event".to_string();
            return Err(LineError(number + 1, what));
        }
    }
    add(&mut events, sample);
    let map = |(name, stacks): (String, BTreeMap<Stack, i64>)| StackMap {
        name,
        unit: "count".to_string(),
        stacks: stacks.into_iter().collect(),
    };
    Ok(events.into_iter().map(map).collect())
}

struct Sample {
    comm: String,
    /// `pid`, `tid` and `cpu`, as far as the line has them.
    attributes: Vec<Label>,
    event: String,
    /// The innermost first.
    frames: Vec<StackFrame>,
}

fn add(events: &mut Vec<(String, BTreeMap<Stack, i64>)>, sample: Option<Sample>) {
    let Some(Sample { comm, attributes, event, mut frames }) = sample else { return };
    frames.reverse();
    let labels = vec![Label { name: "comm".to_string(), text: comm, number: None }];
    let at = events.iter().position(|(name, _)| *name == event).unwrap_or_else(|| {
        events.push((event, BTreeMap::new()));
        events.len() - 1
    });
    *events[at].1.entry(Stack { labels, frames, attributes }).or_insert(0) += 1;
}

/// `COMM PID[/TID] [CPU] TIME: [PERIOD] EVENT: ...`; a program's name may have spaces in it.
fn header(line: &str) -> Option<Sample> {
    let mut words: Vec<(usize, &str)> = Vec::new();
    for word in line.split_whitespace() {
        words.push((word.as_ptr() as usize - line.as_ptr() as usize, word));
    }
    let is_time = |word: &str| {
        word.strip_suffix(':').is_some_and(|number| {
            number.contains('.') && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        })
    };
    let time = words.iter().position(|(_, word)| is_time(word))?;
    let is_cpu = |word: &str| word.starts_with('[') && word.ends_with(']');
    let before = words[time.checked_sub(1)?].1;
    let cpu = is_cpu(before).then(|| before.trim_matches(['[', ']']));
    let process = time.checked_sub(if cpu.is_some() { 2 } else { 1 })?;
    let (process_at, numbers) = words[process];
    // A number alone is the thread's.
    let (pid, tid) = numbers.split_once('/').map_or((None, numbers), |(pid, tid)| (Some(pid), tid));
    let mut attributes = Vec::new();
    for (name, text) in [("pid", pid), ("tid", Some(tid)), ("cpu", cpu)] {
        let Some(text) = text else { continue };
        let number: i64 = text.parse().ok()?;
        attributes.push(Label { name: name.to_string(), text: number.to_string(), number: Some(number) });
    }
    let comm = line[..process_at].trim();
    if comm.is_empty() {
        return None;
    }
    let after = &words[time + 1..];
    let after = if after.first()?.1.bytes().all(|byte| byte.is_ascii_digit()) { &after[1..] } else { after };
    let event = after.first()?.1.strip_suffix(':')?;
    let (event_at, word) = after[0];
    // Without a call chain the place is on the same line.
    let frames = frame(&line[event_at + word.len()..]).into_iter().collect();
    // `cycles:u` counts what `cycles` does; what is before a colon is not always the name (`sched:sched_switch`).
    Some(Sample { comm: comm.to_string(), attributes, event: event.trim_end_matches(':').to_string(), frames })
}

/// `ADDRESS FUNCTION+OFFSET (FILE)`
fn frame(line: &str) -> Option<StackFrame> {
    let (address, rest) = line.trim().split_once(' ')?;
    let address = u64::from_str_radix(address.trim_start_matches("0x"), 16).ok()?;
    let (name, file) = rest.trim_end().strip_suffix(')')?.rsplit_once(" (")?;
    // Of a module's function perf says so in brackets.
    let name = name.trim();
    let name = match name.rsplit_once("+0x") {
        Some((name, offset)) if u64::from_str_radix(offset, 16).is_ok() => name,
        Some(_) | None => name,
    };
    let kind = match file {
        "inlined" => FrameKind::Inlined,
        _ if file.starts_with("/tmp/perf-") && file.ends_with(".map") => FrameKind::Jit,
        _ if address >= KERNEL_FROM => FrameKind::Kernel,
        _ if file.starts_with('[') && !NOT_OF_KERNEL.contains(&file) => FrameKind::Kernel,
        _ => FrameKind::User,
    };
    let name = match (name, file) {
        ("[unknown]", "[unknown]") => format!("{address:#x}"),
        ("[unknown]", file) => format!("[{}]", file.trim_matches(['[', ']']).rsplit('/').next().unwrap_or(file)),
        (name, _) => name.to_string(),
    };
    let module = (!matches!(file, "inlined" | "[unknown]")).then(|| file.into());
    Some(StackFrame { name, address, module, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# captured on: some day
workload 24796 54395.796200:    5025125 cpu-clock:pppH: 
\t            1734 burn_most+0x40 (/opt/workload)
\t            180f run_burn+0x41 (/opt/workload)

Web Content 10/12 [001] 54395.801342: cycles: 
\tffffffff81000010 do_syscall_64+0x10 ([kernel.kallsyms])
\t    7f0000000010 [unknown] (/usr/lib/libc.so.6)
\t    7f0000000020 outer(int) (inlined)
\t    7f0000000030 compiled+0x1 (/tmp/perf-10.map)

swapper     0 [000] 54395.9: cycles:  ffffffff81000020 cpu_idle+0x1 ([kernel.kallsyms])
";

    #[test]
    fn samples_of_two_events() {
        assert!(is_one(TEXT));
        let maps = read(TEXT).unwrap_or_default();
        let shown = |map: &StackMap| -> Vec<String> {
            let frame = |frame: &StackFrame| format!("{} {:?}", frame.name, frame.kind);
            let stack = |(stack, weight): &(Stack, i64)| {
                let frames: Vec<String> = stack.frames.iter().map(frame).collect();
                let whose = stack.attributes.iter().map(|label| format!(" {} {}", label.name, label.text));
                let whose: String = whose.collect();
                format!("{weight} {}{whose}: {}", stack.labels[0].text, frames.join(", "))
            };
            map.stacks.iter().map(stack).collect()
        };
        assert_eq!(maps[0].name, "cpu-clock:pppH");
        assert_eq!(shown(&maps[0]), ["1 workload tid 24796: run_burn User, burn_most User"]);
        assert_eq!(maps[1].name, "cycles");
        let content = "1 Web Content pid 10 tid 12 cpu 1: compiled Jit, outer(int) Inlined, [libc.so.6] User, do_syscall_64 Kernel";
        assert_eq!(shown(&maps[1]), [content, "1 swapper tid 0 cpu 0: cpu_idle Kernel"]);
    }

    #[test]
    fn what_is_no_sample() {
        for text in ["main;f 12\n", "a b c\n", "1.5: x 1\n", "\n"] {
            assert!(!is_one(text), "{text:?}");
        }
        let damaged = format!("{TEXT}\nrubbish\n");
        assert_eq!(read(&damaged).err().map(|error| error.0), Some(14));
    }
}
