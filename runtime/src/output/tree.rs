//! Maps of stacks as call trees, for reading in a terminal: each function with its share, those that it calls below it,
//! the largest first. Written at the end.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::event::Event;

use super::folded::names;
use super::stacks::{StackMap, Stacks};
use super::{Sink, notices};

/// Of the whole; what is smaller is left out, and told.
const LEAST_SHARE: f64 = 0.005;

pub struct Tree {
    writer: Box<dyn Write>,
    stacks: Stacks,
}

impl Tree {
    pub fn new(writer: Box<dyn Write>) -> Tree {
        Tree { writer, stacks: Stacks::default() }
    }
}

impl Sink for Tree {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        notices::tell_all_but_maps(event);
        self.stacks.event(event);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.stacks.others().iter().for_each(|what| notices::tell(&notices::warning(what, None)));
        let (maps, problems) = self.stacks.take();
        problems.iter().for_each(|what| notices::tell(&notices::warning(what, None)));
        let text: String = maps.iter().map(tree).collect();
        self.writer.write_all(text.as_bytes())?;
        self.writer.flush()
    }
}

/// A function where it was called from.
#[derive(Default)]
struct Node {
    weight: i64,
    calls: BTreeMap<String, Node>,
}

fn tree(map: &StackMap) -> String {
    let mut root = Node::default();
    for (stack, weight) in &map.stacks {
        root.weight = root.weight.saturating_add(*weight);
        let mut node = &mut root;
        for name in names(stack, None) {
            node = node.calls.entry(name).or_default();
            node.weight = node.weight.saturating_add(*weight);
        }
    }
    let mut text = format!("{}: {}\n", map.name, root.weight);
    let mut left_out = 0;
    lines(&root, root.weight, 0, &mut text, &mut left_out);
    if left_out > 0 {
        let plural = if left_out == 1 { "" } else { "s" };
        text.push_str(&format!("({left_out} function{plural} of less than {} % left out)\n", LEAST_SHARE * 100.0));
    }
    text
}

fn lines(node: &Node, whole: i64, depth: usize, text: &mut String, left_out: &mut usize) {
    let mut calls: Vec<(&String, &Node)> = node.calls.iter().collect();
    calls.sort_by_key(|(name, call)| (std::cmp::Reverse(call.weight), *name));
    for (name, call) in calls {
        let share = call.weight as f64 / whole as f64;
        if share < LEAST_SHARE {
            *left_out += 1;
            continue;
        }
        let indent = "  ".repeat(depth);
        text.push_str(&format!("{:>6.2} % {:>10}  {indent}{name}\n", share * 100.0, call.weight));
        lines(call, whole, depth + 1, text, left_out);
    }
}
