//! A recording as a tree that is only as large as what is open of it: of a node one keeps which stacks go through it and where, and
//! finds what is below it when somebody asks.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use crate::output::folded;
use crate::output::stacks::{FrameKind, StackMap};
use crate::recordings::report::{Sort, parts_of};

/// What is below a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Whole stacks, from the outermost function on.
    Calls,
    /// Each function, and below it who called it.
    Callers,
    /// Each function, and below it what it called, wherever it was itself called from.
    Callees,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name {
    pub text: String,
    /// None of what is no function.
    pub kind: Option<FrameKind>,
}

/// A stack, its names as numbers.
struct Path {
    weight: i64,
    /// Other parts of the key, then the functions from the outermost on.
    steps: Vec<usize>,
    /// How many of them are no functions.
    labels: usize,
    /// What the recording can be split by: a part's number and its name.
    parts: Vec<(usize, usize)>,
}

/// All stacks of a recording.
pub struct Paths {
    pub names: Vec<Name>,
    paths: Vec<Path>,
    /// The parts that samples can be split by.
    pub parts: Vec<String>,
    pub whole: i64,
}

impl Paths {
    pub fn new(map: &StackMap) -> Paths {
        let mut paths = Paths { names: Vec::new(), paths: Vec::new(), parts: Vec::new(), whole: 0 };
        let mut known: HashMap<(String, bool), usize> = HashMap::new();
        for (stack, weight) in &map.stacks {
            let mut number = |text: String, kind: Option<FrameKind>| {
                // A function that is inlined in some places is the same one.
                *known.entry((text, kind.is_some())).or_insert_with_key(|(text, _)| {
                    paths.names.push(Name { text: text.clone(), kind });
                    paths.names.len() - 1
                })
            };
            let kinds = stack.labels.iter().map(|_| None).chain(stack.frames.iter().map(|frame| Some(frame.kind)));
            // A stack without frames has a name all the same.
            let kinds = kinds.chain([Some(FrameKind::User)]);
            let steps =
                folded::names(stack, None).into_iter().zip(kinds).map(|(text, kind)| number(text, kind)).collect();
            let mut parts = Vec::new();
            for label in parts_of(stack) {
                let at = paths.parts.iter().position(|part| *part == label.name).unwrap_or_else(|| {
                    paths.parts.push(label.name.clone());
                    paths.parts.len() - 1
                });
                parts.push((at, number(format!("{} {}", folded::name(&label.name), folded::name(&label.text)), None)));
            }
            paths.whole = paths.whole.saturating_add(*weight);
            paths.paths.push(Path { weight: *weight, steps, labels: stack.labels.len(), parts });
        }
        paths
    }

    pub fn is_match(&self, name: usize, search: &str) -> bool {
        !search.is_empty() && self.names[name].kind.is_some() && self.names[name].text.contains(search)
    }

    /// The stacks with such a function in them; all where nothing is sought.
    pub fn matching(&self, search: &str) -> Vec<usize> {
        let is_meant = |path: &Path| search.is_empty() || path.steps.iter().any(|name| self.is_match(*name, search));
        (0..self.paths.len()).filter(|number| is_meant(&self.paths[*number])).collect()
    }

    pub fn weight(&self, stacks: &[usize]) -> i64 {
        stacks.iter().fold(0, |sum: i64, stack| sum.saturating_add(self.paths[*stack].weight))
    }
}

/// Where a stack goes through a node.
#[derive(Clone, Copy)]
struct Hit {
    stack: usize,
    at: usize,
    /// The function at which the tree began was the innermost one.
    is_own: bool,
}

pub struct Node {
    pub name: usize,
    pub total: i64,
    pub own: i64,
    pub depth: usize,
    pub parent: Option<usize>,
    pub is_open: bool,
    /// It is a part that the recording is split by, and has whole stacks below it.
    is_part: bool,
    hits: Vec<Hit>,
    below: Option<Vec<usize>>,
}

/// Nodes are named by their numbers.
pub struct Tree {
    pub direction: Direction,
    pub nodes: Vec<Node>,
    pub roots: Vec<usize>,
    pub sort: Sort,
}

impl Tree {
    /// Of some stacks, split by a part of the samples.
    pub fn new(paths: &Paths, direction: Direction, stacks: &[usize], by: Option<usize>, sort: Sort) -> Tree {
        let mut tree = Tree { direction, nodes: Vec::new(), roots: Vec::new(), sort };
        tree.roots = match by {
            None => {
                let found = first_steps(paths, direction, stacks.iter().copied());
                tree.add(paths, found, None)
            }
            Some(by) => {
                let mut found: BTreeMap<usize, Vec<Hit>> = BTreeMap::new();
                for stack in stacks {
                    let parts = paths.paths[*stack].parts.iter().find(|(part, _)| *part == by);
                    if let Some((_, name)) = parts {
                        found.entry(*name).or_default().push(Hit { stack: *stack, at: 0, is_own: false });
                    }
                }
                let roots = tree.add(paths, found, None);
                roots.iter().for_each(|root| tree.nodes[*root].is_part = true);
                roots
            }
        };
        tree
    }

    fn add(&mut self, paths: &Paths, found: BTreeMap<usize, Vec<Hit>>, parent: Option<usize>) -> Vec<usize> {
        let depth = parent.map_or(0, |parent| self.nodes[parent].depth + 1);
        let mut added = Vec::new();
        for (name, hits) in found {
            let sum = |is_meant: &dyn Fn(&Hit) -> bool| {
                let weights = hits.iter().filter(|hit| is_meant(hit)).map(|hit| paths.paths[hit.stack].weight);
                weights.fold(0, i64::saturating_add)
            };
            let (total, own) = (sum(&|_| true), sum(&|hit| hit.is_own));
            let node = Node { name, total, own, depth, parent, is_open: false, is_part: false, hits, below: None };
            added.push(self.nodes.len());
            self.nodes.push(node);
        }
        self.order(paths, &mut added);
        added
    }

    fn order(&self, paths: &Paths, nodes: &mut [usize]) {
        let node = |number: &usize| &self.nodes[*number];
        let name = |number: &usize| &paths.names[self.nodes[*number].name].text;
        match self.sort {
            Sort::Own => nodes.sort_by_key(|of| (Reverse(node(of).own), Reverse(node(of).total), name(of))),
            Sort::Total => nodes.sort_by_key(|of| (Reverse(node(of).total), Reverse(node(of).own), name(of))),
            Sort::Name => nodes.sort_by_key(name),
        }
    }

    pub fn sort_by(&mut self, paths: &Paths, sort: Sort) {
        self.sort = sort;
        let mut roots = std::mem::take(&mut self.roots);
        self.order(paths, &mut roots);
        self.roots = roots;
        for number in 0..self.nodes.len() {
            if let Some(mut below) = self.nodes[number].below.take() {
                self.order(paths, &mut below);
                self.nodes[number].below = Some(below);
            }
        }
    }

    fn next(&self, paths: &Paths, hit: &Hit) -> Option<usize> {
        let path = &paths.paths[hit.stack];
        match self.direction {
            Direction::Calls | Direction::Callees => Some(hit.at + 1).filter(|at| *at < path.steps.len()),
            Direction::Callers => hit.at.checked_sub(1).filter(|at| *at >= path.labels),
        }
    }

    pub fn has_below(&self, paths: &Paths, node: usize) -> bool {
        let node = &self.nodes[node];
        node.is_part || node.hits.iter().any(|hit| self.next(paths, hit).is_some())
    }

    pub fn below(&mut self, paths: &Paths, node: usize) -> Vec<usize> {
        if let Some(below) = &self.nodes[node].below {
            return below.clone();
        }
        let from = &self.nodes[node];
        let found = if from.is_part {
            first_steps(paths, self.direction, from.hits.iter().map(|hit| hit.stack))
        } else {
            let mut found: BTreeMap<usize, Vec<Hit>> = BTreeMap::new();
            for hit in &from.hits {
                let Some(at) = self.next(paths, hit) else { continue };
                let steps = &paths.paths[hit.stack].steps;
                let is_own = match self.direction {
                    Direction::Calls | Direction::Callees => at + 1 == steps.len(),
                    Direction::Callers => hit.is_own,
                };
                found.entry(steps[at]).or_default().push(Hit { at, is_own, ..*hit });
            }
            found
        };
        let below = self.add(paths, found, Some(node));
        self.nodes[node].below = Some(below.clone());
        below
    }
}

/// Where a tree of some stacks begins. A function that calls itself counts once in each.
fn first_steps(paths: &Paths, direction: Direction, stacks: impl Iterator<Item = usize>) -> BTreeMap<usize, Vec<Hit>> {
    let mut found: BTreeMap<usize, Vec<Hit>> = BTreeMap::new();
    for stack in stacks {
        let path = &paths.paths[stack];
        let last = path.steps.len() - 1;
        let mut begin = |at: usize| {
            let is_own = match direction {
                Direction::Calls => at == last,
                Direction::Callers | Direction::Callees => path.steps[at] == path.steps[last],
            };
            let hits = found.entry(path.steps[at]).or_default();
            if hits.last().is_none_or(|hit| hit.stack != stack) {
                hits.push(Hit { stack, at, is_own });
            }
        };
        match direction {
            Direction::Calls => begin(0),
            Direction::Callees => (path.labels..=last).for_each(begin),
            Direction::Callers => (path.labels..=last).rev().for_each(begin),
        }
    }
    found
}
