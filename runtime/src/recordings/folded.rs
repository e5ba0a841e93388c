//! Folded stacks, `outermost;...;innermost WEIGHT`. Marks behind names, as flamegraph.pl has them, say whose a frame is.

use std::collections::BTreeMap;

use crate::output::stacks::{FrameKind, Stack, StackFrame, StackMap};

use super::LineError;

/// What marks a frame at the end of its name.
const MARKS: &[(&str, FrameKind)] =
    &[("_[k]", FrameKind::Kernel), ("_[i]", FrameKind::Inlined), ("_[j]", FrameKind::Jit)];

pub fn read(text: &str) -> Result<Vec<StackMap>, LineError> {
    let mut stacks: BTreeMap<Stack, i64> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: &str| LineError(number + 1, what.to_string());
        let (names, weight) =
            line.rsplit_once(' ').ok_or_else(|| wrong("a line is a stack, a space and its weight"))?;
        let weight: f64 = weight.parse().map_err(|_| wrong("the line ends with no number, the weight of its stack"))?;
        if !(0.0..=i64::MAX as f64).contains(&weight) {
            return Err(wrong("a weight is a number from 0 on"));
        }
        let frames = names.trim_end().split(';').map(frame).collect();
        let sum = stacks.entry(Stack { labels: Vec::new(), frames, attributes: Vec::new() }).or_insert(0);
        *sum = sum.saturating_add(weight.round() as i64);
    }
    let stacks: Vec<(Stack, i64)> = stacks.into_iter().filter(|(_, weight)| *weight > 0).collect();
    if stacks.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![StackMap { name: "samples".to_string(), unit: "count".to_string(), stacks }])
}

fn frame(name: &str) -> StackFrame {
    let marked = MARKS.iter().find_map(|(mark, kind)| Some((name.strip_suffix(mark)?, *kind)));
    let (name, kind) = marked.unwrap_or((name, FrameKind::User));
    StackFrame { name: name.to_string(), address: 0, module: None, kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_others() {
        let text =
            "# a comment\n\nmain;read;sys_read_[k] 3\nmain;read;sys_read_[k] 2\nmain;operator new(int) 1.6\nidle 0\n";
        let maps = read(text).unwrap_or_default();
        let names = |(stack, weight): &(Stack, i64)| {
            let names: Vec<&str> = stack.frames.iter().map(|frame| frame.name.as_str()).collect();
            (names.join(" > "), *weight)
        };
        let found: Vec<(String, i64)> = maps[0].stacks.iter().map(names).collect();
        assert_eq!(found, [("main > operator new(int)".to_string(), 2), ("main > read > sys_read".to_string(), 5)]);
        assert_eq!(maps[0].stacks[1].0.frames[2].kind, FrameKind::Kernel);
    }

    #[test]
    fn mistakes_have_their_line() {
        for (text, line) in [("a;b 1\na;b\n", 2), ("a;b x\n", 1), ("a;b -1\n", 1), ("a;b nan\n", 1)] {
            assert_eq!(read(text).err().map(|error| error.0), Some(line), "{text:?}");
        }
    }
}
