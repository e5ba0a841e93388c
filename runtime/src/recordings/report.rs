//! A recording as text for people: which functions it was in, and who called them. What a line means stands above it.

use std::collections::{BTreeMap, BTreeSet};

use crate::output::folded::names;
use crate::output::stacks::{Label, Stack, StackMap};
use crate::output::tree;

/// What is shown of a recording.
#[derive(Clone, Default, Debug)]
pub struct ReportOptions {
    /// The part of the key that it is split by, such as `comm`.
    pub by: Option<String>,
    /// The tree begins with the functions in which it was, and goes on to who called them.
    pub callers: bool,
    pub sort: Sort,
    /// Only stacks with a function whose name has this in it.
    pub search: Option<String>,
    /// So many functions.
    pub top: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Sort {
    /// By what a function was in itself.
    #[default]
    Own,
    /// By what it and all that it called were in.
    Total,
    Name,
}

/// The report; or the parts of the keys that there are, where it should be split by another.
pub fn report(map: &StackMap, options: &ReportOptions) -> Result<String, Vec<String>> {
    let whole = weight(&map.stacks);
    let is_meant = |(stack, _): &&(Stack, i64)| match &options.search {
        Some(text) => stack.frames.iter().any(|frame| frame.name.contains(text.as_str())),
        None => true,
    };
    let stacks: Vec<(Stack, i64)> = map.stacks.iter().filter(is_meant).cloned().collect();
    let mut text = match &options.search {
        Some(search) => {
            let found = weight(&stacks);
            format!("{}: {found} of {whole} ({:.2} %) in stacks with `{search}`\n", map.name, share(found, whole))
        }
        None => format!("{}: {whole}\n", map.name),
    };
    let Some(by) = &options.by else {
        sections(&StackMap { stacks, ..map.clone() }, whole, options, &mut text);
        return Ok(text);
    };
    let mut parts: BTreeMap<String, Vec<(Stack, i64)>> = BTreeMap::new();
    let mut known = BTreeSet::new();
    for (stack, weight) in stacks {
        known.extend(parts_of(&stack).map(|label| label.name.clone()));
        let part = parts_of(&stack).find(|label| label.name == *by).map(|label| label.text.clone());
        if let Some(part) = part {
            parts.entry(part).or_default().push((stack, weight));
        }
    }
    if parts.is_empty() && !known.contains(by) {
        return Err(known.into_iter().collect());
    }
    let mut parts: Vec<(String, Vec<(Stack, i64)>)> = parts.into_iter().collect();
    parts.sort_by_key(|(name, stacks)| (std::cmp::Reverse(weight(stacks)), name.clone()));
    for (name, stacks) in parts {
        let part = weight(&stacks);
        text.push_str(&format!("\n== {by} {name}: {part} ({:.2} %)\n", share(part, whole)));
        sections(&StackMap { stacks, ..map.clone() }, whole, options, &mut text);
    }
    Ok(text)
}

/// What a recording can be split by.
pub fn parts_of(stack: &Stack) -> impl Iterator<Item = &Label> {
    stack.labels.iter().chain(&stack.attributes)
}

/// All stacks together.
pub fn weight(stacks: &[(Stack, i64)]) -> i64 {
    stacks.iter().fold(0, |sum, (_, weight)| sum.saturating_add(*weight))
}

pub fn share(part: i64, whole: i64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

/// Functions as a table, then the tree. Shares are those of the whole recording.
fn sections(map: &StackMap, whole: i64, options: &ReportOptions, text: &mut String) {
    let mut functions = functions(map);
    match options.sort {
        Sort::Own => functions.sort_by_key(|function| (-function.own, -function.total)),
        Sort::Total => functions.sort_by_key(|function| (-function.total, -function.own)),
        Sort::Name => {}
    }
    text.push_str("\n     own                   total  function\n");
    for Function { name, own, total } in functions.iter().take(options.top) {
        let (own_share, total_share) = (share(*own, whole), share(*total, whole));
        text.push_str(&format!("{own_share:>6.2} % {own:>10}  {total_share:>6.2} % {total:>10}  {name}\n"));
    }
    if functions.len() > options.top {
        text.push_str(&format!("({} more; --top {} shows all)\n", functions.len() - options.top, functions.len()));
    }
    let title = if options.callers { "Callers: each function, and below it who called it" } else { "Calls" };
    text.push_str(&format!("\n{title}\n"));
    let shown = if options.callers { inverted(map) } else { map.clone() };
    text.push_str(&tree::calls(&shown, whole));
}

pub struct Function {
    pub name: String,
    pub own: i64,
    pub total: i64,
}

/// All functions by their names. One that calls itself counts once in each stack.
pub fn functions(map: &StackMap) -> Vec<Function> {
    let mut found: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for (stack, weight) in &map.stacks {
        let frames = names(&Stack { labels: Vec::new(), ..stack.clone() }, None);
        if let Some(last) = frames.last() {
            let own = &mut found.entry(last.clone()).or_default().0;
            *own = own.saturating_add(*weight);
        }
        for name in frames.into_iter().collect::<BTreeSet<String>>() {
            let total = &mut found.entry(name).or_default().1;
            *total = total.saturating_add(*weight);
        }
    }
    found.into_iter().map(|(name, (own, total))| Function { name, own, total }).collect()
}

/// The innermost frames first, and nothing but frames.
fn inverted(map: &StackMap) -> StackMap {
    let turned = |(stack, weight): &(Stack, i64)| {
        let frames = stack.frames.iter().rev().cloned().collect();
        (Stack { labels: Vec::new(), frames, attributes: Vec::new() }, *weight)
    };
    StackMap { stacks: map.stacks.iter().map(turned).collect(), ..map.clone() }
}
