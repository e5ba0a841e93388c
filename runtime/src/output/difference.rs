//! What has changed from one recording to another, in the forms of files: a graph, a page, folded stacks with two weights, or a
//! table of functions as text. There is no profile of pprof's: that tool compares profiles itself.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::flame_graph::{self, Style};
use super::flame_page::{self, Row};
use super::folded::line;
use super::stacks::StackMap;
use crate::recordings::report::{functions, share, weight};

/// How the weights of two recordings are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// By their shares: the first recording is scaled so that the totals are the same.
    Shares,
    /// As they are.
    Weights,
}

/// What is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DifferenceForm {
    Svg,
    Page,
    /// Lines of `STACK BEFORE AFTER`, as difffolded.pl writes them.
    Folded,
    Table,
}

/// How the names of files end.
const ENDINGS: &[(&str, DifferenceForm)] = &[
    (".svg", DifferenceForm::Svg),
    (".html", DifferenceForm::Page),
    (".folded", DifferenceForm::Folded),
    (".txt", DifferenceForm::Table),
];

impl DifferenceForm {
    /// None for a name that says nothing; without a file it is a table.
    pub fn of(file: Option<&Path>) -> Option<DifferenceForm> {
        let Some(file) = file else { return Some(DifferenceForm::Table) };
        let name = file.as_os_str().to_string_lossy();
        ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, form)| *form)
    }
}

/// The file's bytes.
pub fn difference(
    before: &StackMap,
    after: &StackMap,
    by: Comparison,
    form: DifferenceForm,
    style: &Style,
) -> io::Result<Vec<u8>> {
    let graph = || flame_graph::difference(&compared(before, after, by), style);
    match form {
        DifferenceForm::Svg => graph(),
        DifferenceForm::Page => {
            let rows: Vec<Row> = changes(before, after, by).iter().map(|change| row(change, by)).collect();
            flame_page::page_of(&graph()?, weight(&after.stacks), &rows, "change", style)
        }
        DifferenceForm::Folded => Ok(compared(before, after, by).into_bytes()),
        DifferenceForm::Table => Ok(table(&changes(before, after, by), by, style).into_bytes()),
    }
}

/// Lines of `STACK BEFORE AFTER`.
fn compared(before: &StackMap, after: &StackMap, by: Comparison) -> String {
    let mut weights: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for (stack, weight) in &before.stacks {
        let sum = &mut weights.entry(line(stack, None)).or_default().0;
        *sum = sum.saturating_add(*weight);
    }
    for (stack, weight) in &after.stacks {
        let sum = &mut weights.entry(line(stack, None)).or_default().1;
        *sum = sum.saturating_add(*weight);
    }
    let total = |map: &StackMap| map.stacks.iter().map(|(_, weight)| i128::from(*weight)).sum::<i128>();
    let (whole_before, whole_after) = match by {
        Comparison::Shares => (total(before).max(1), total(after)),
        Comparison::Weights => (1, 1),
    };
    let scaled = |weight: i64| (i128::from(weight) * whole_after + whole_before / 2) / whole_before;
    weights.iter().map(|(stack, (before, after))| format!("{stack} {} {after}\n", scaled(*before))).collect()
}

/// A function in both recordings: percent of the whole by shares, otherwise weights.
struct Change {
    name: String,
    own: [f64; 2],
    total: [f64; 2],
    /// What it weighs in the second one.
    weights: [i64; 2],
}

impl Change {
    fn own_change(&self) -> f64 {
        self.own[1] - self.own[0]
    }

    fn total_change(&self) -> f64 {
        self.total[1] - self.total[0]
    }
}

/// All functions of both; those first that have changed most in themselves.
fn changes(before: &StackMap, after: &StackMap, by: Comparison) -> Vec<Change> {
    let mut found: BTreeMap<String, Change> = BTreeMap::new();
    for (side, map) in [before, after].into_iter().enumerate() {
        let whole = weight(&map.stacks);
        let measure = |weight: i64| match by {
            Comparison::Shares => share(weight, whole),
            Comparison::Weights => weight as f64,
        };
        for function in functions(map) {
            let change = found.entry(function.name.clone()).or_insert_with(|| Change {
                name: function.name.clone(),
                own: [0.0; 2],
                total: [0.0; 2],
                weights: [0; 2],
            });
            change.own[side] = measure(function.own);
            change.total[side] = measure(function.total);
            if side == 1 {
                change.weights = [function.own, function.total];
            }
        }
    }
    let mut changes: Vec<Change> = found.into_values().collect();
    changes.sort_by(|one, other| {
        let key = |change: &Change| (change.own_change().abs(), change.total_change().abs());
        let ((own, total), (other_own, other_total)) = (key(one), key(other));
        other_own.total_cmp(&own).then(other_total.total_cmp(&total))
    });
    changes
}

/// With its sign, so that what has not changed is told from what shrank.
fn signed(change: f64, by: Comparison) -> String {
    match by {
        Comparison::Shares => format!("{change:+.2} %"),
        Comparison::Weights => format!("{change:+.0}"),
    }
}

fn row(change: &Change, by: Comparison) -> Row {
    Row {
        own: (signed(change.own_change(), by), change.weights[0]),
        total: (signed(change.total_change(), by), change.weights[1]),
        name: change.name.clone(),
    }
}

fn table(changes: &[Change], by: Comparison, style: &Style) -> String {
    let value = |value: f64| match by {
        Comparison::Shares => format!("{value:.2} %"),
        Comparison::Weights => format!("{value:.0}"),
    };
    let mut text = format!(
        "{}\n\n{:>36}  {:>36}\n{:>12}{:>12}{:>12}  {:>12}{:>12}{:>12}  function\n",
        style.title, "own", "total", "before", "after", "change", "before", "after", "change"
    );
    for change in changes {
        let [own, total] = [(change.own, change.own_change()), (change.total, change.total_change())].map(
            |([before, after], by_how_much)| {
                format!("{:>12}{:>12}{:>12}", value(before), value(after), signed(by_how_much, by))
            },
        );
        text.push_str(&format!("{own}  {total}  {}\n", change.name));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::flame_graph::Hues;
    use crate::output::stacks::{FrameKind, Stack, StackFrame};

    fn map(stacks: &[(&[&str], i64)]) -> StackMap {
        let frame =
            |name: &&str| StackFrame { name: name.to_string(), address: 0, module: None, kind: FrameKind::User };
        let stack = |(names, weight): &(&[&str], i64)| {
            (Stack { labels: Vec::new(), frames: names.iter().map(frame).collect(), attributes: Vec::new() }, *weight)
        };
        StackMap { name: "@".into(), unit: "count".into(), stacks: stacks.iter().map(stack).collect() }
    }

    #[test]
    fn recordings_of_different_lengths_are_compared_by_their_shares() {
        let before = map(&[(&["main", "f"], 100), (&["main", "g"], 100), (&["main", "gone"], 200)]);
        let after = map(&[(&["main", "f"], 400), (&["main", "g"], 200), (&["main", "new"], 200)]);
        let shares = compared(&before, &after, Comparison::Shares);
        assert_eq!(shares, "main;f 200 400\nmain;g 200 200\nmain;gone 400 0\nmain;new 0 200\n");
        let weights = compared(&before, &after, Comparison::Weights);
        assert_eq!(weights, "main;f 100 400\nmain;g 100 200\nmain;gone 200 0\nmain;new 0 200\n");
    }

    #[test]
    fn tables() {
        let before = map(&[(&["main", "f"], 100), (&["main", "g"], 300)]);
        let after = map(&[(&["main", "f"], 600), (&["main", "g"], 600)]);
        let style = Style { title: "a with b".into(), unit: "samples".into(), hues: Hues::Origin };
        let lines = |by| {
            let text = table(&changes(&before, &after, by), by, &style);
            text.lines().skip(4).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(
            lines(Comparison::Shares),
            [
                "25.00 % 50.00 % +25.00 % 25.00 % 50.00 % +25.00 % f",
                "75.00 % 50.00 % -25.00 % 75.00 % 50.00 % -25.00 % g",
                "0.00 % 0.00 % +0.00 % 100.00 % 100.00 % +0.00 % main"
            ]
        );
        assert_eq!(
            lines(Comparison::Weights),
            ["100 600 +500 100 600 +500 f", "300 600 +300 300 600 +300 g", "0 0 +0 400 1200 +800 main"]
        );
    }
}
