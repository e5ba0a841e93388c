//! Maps of stacks as call trees, for reading in a terminal: each function with its share, those that it calls below it,
//! the largest first. Written at the end.

use std::collections::BTreeMap;
use std::io;

use super::folded::names;
use super::stacks::StackMap;

/// Of the whole; what is smaller is left out, and told.
const LEAST_SHARE: f64 = 0.005;

pub fn trees(maps: &[StackMap], _: i64) -> io::Result<Vec<u8>> {
    Ok(maps.iter().map(tree).collect::<String>().into_bytes())
}

/// A function where it was called from.
#[derive(Default)]
struct Node {
    weight: i64,
    calls: BTreeMap<String, Node>,
}

fn tree(map: &StackMap) -> String {
    let whole = map.stacks.iter().fold(0, |sum: i64, (_, weight)| sum.saturating_add(*weight));
    format!("{}: {whole}\n{}", map.name, calls(map, whole))
}

/// The lines of a tree, their shares those of a whole of which the map may be a part.
pub fn calls(map: &StackMap, whole: i64) -> String {
    let mut root = Node::default();
    for (stack, weight) in &map.stacks {
        let mut node = &mut root;
        for name in names(stack, None) {
            node = node.calls.entry(name).or_default();
            node.weight = node.weight.saturating_add(*weight);
        }
    }
    let mut text = String::new();
    let mut left_out = 0;
    lines(&root, whole, 0, &mut text, &mut left_out);
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
        let share = call.weight as f64 / whole.max(1) as f64;
        if share < LEAST_SHARE {
            *left_out += 1;
            continue;
        }
        let indent = "  ".repeat(depth);
        text.push_str(&format!("{:>6.2} % {:>10}  {indent}{name}\n", share * 100.0, call.weight));
        lines(call, whole, depth + 1, text, left_out);
    }
}
