//! Maps of stacks as folded stacks, a line each: `outermost;...;innermost WEIGHT`. flamegraph.pl, inferno and speedscope read
//! them. Written at the end: lines of one map that was printed twice would count twice.

use std::collections::BTreeMap;
use std::io;

use super::stacks::{Stack, StackMap};

pub fn folded(maps: &[StackMap], _: i64) -> io::Result<Vec<u8>> {
    let text: String = match maps {
        [map] => lines(map, None),
        maps => maps.iter().map(|map| lines(map, Some(&map.name))).collect(),
    };
    Ok(text.into_bytes())
}

/// The lines of a map, in their order. Where there are several maps their names are the outermost frames.
pub fn lines(map: &StackMap, root: Option<&str>) -> String {
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for (stack, weight) in &map.stacks {
        // Stacks that differ in offsets alone are one line.
        let sum = sums.entry(line(stack, root)).or_insert(0);
        *sum = sum.saturating_add(*weight);
    }
    sums.iter().map(|(line, weight)| format!("{line} {weight}\n")).collect()
}

pub fn line(stack: &Stack, root: Option<&str>) -> String {
    names(stack, root).join(";")
}

/// What a stack is from its root on: other parts of its key, then the functions.
pub fn names(stack: &Stack, root: Option<&str>) -> Vec<String> {
    let labels = stack.labels.iter().map(|label| label.text.as_str());
    let mut names: Vec<String> = root.into_iter().chain(labels).map(name).collect();
    if stack.frames.is_empty() {
        names.push("[unknown]".to_string());
    }
    names.extend(stack.frames.iter().map(|frame| name(&frame.name)));
    names
}

/// A frame's name without what would end it, or the line.
pub fn name(text: &str) -> String {
    let mut name: String = text
        .chars()
        .map(|c| match c {
            ';' => ':',
            // The last two are in no XML.
            c if c.is_control() || c.is_whitespace() || matches!(c, '\u{fffe}' | '\u{ffff}') => ' ',
            c => c,
        })
        .collect();
    name = name.trim().to_string();
    // A number behind a space at the end of a line is read as its weight.
    if let Some((_, last)) = name.rsplit_once(' ')
        && last.chars().all(|c| c.is_ascii_digit() || c == '.')
    {
        let at = name.len() - last.len() - 1;
        name.replace_range(at..=at, "_");
    }
    if name.is_empty() { "-".to_string() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::stacks::{FrameKind, Label, StackFrame};

    fn stack(labels: &[&str], frames: &[(&str, u64)]) -> Stack {
        let label = |text: &&str| Label { name: "comm".into(), text: text.to_string(), number: None };
        let frame = |(name, address): &(&str, u64)| StackFrame {
            name: name.to_string(),
            address: *address,
            module: None,
            kind: FrameKind::User,
        };
        Stack {
            labels: labels.iter().map(label).collect(),
            frames: frames.iter().map(frame).collect(),
            attributes: Vec::new(),
        }
    }

    #[test]
    fn hostile_names_keep_to_their_frames() {
        assert_eq!(name("a;b\nc\r\td"), "a:b c  d");
        assert_eq!(name("worker 3"), "worker_3");
        assert_eq!(name("f() 1.5"), "f()_1.5");
        assert_eq!(name("operator()(int) const"), "operator()(int) const");
        assert_eq!(name("\n"), "-");
    }

    #[test]
    fn stacks_that_read_alike_are_one_line() {
        let stacks = vec![
            (stack(&["b"], &[("main", 1), ("f", 2)]), 3),
            (stack(&["b"], &[("main", 1), ("f", 9)]), 4),
            (stack(&["a"], &[]), 1),
        ];
        let map = StackMap { name: "@".into(), unit: String::new(), stacks };
        assert_eq!(lines(&map, None), "a;[unknown] 1\nb;main;f 7\n");
        assert_eq!(lines(&map, Some("@m")), "@m;a;[unknown] 1\n@m;b;main;f 7\n");
    }
}
