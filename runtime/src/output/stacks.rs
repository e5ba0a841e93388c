//! The stacks that maps have in their keys, with a weight each: what flame graphs and profiles are made of. Keeps the
//! last that was shown of each map, and what was shown before the script cleared it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rtrace_lang::aggregations::AggregationKind;

use crate::event::{Cell, Event, Frame, MapEvent, Value};

use super::text::render;

/// A key: its stacks as one, and its other parts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Stack {
    pub labels: Vec<Label>,
    /// The outermost first; those of the kernel behind those of the process.
    pub frames: Vec<StackFrame>,
    /// What else a recording says of the sample, such as its processor. It is shown in no frame.
    pub attributes: Vec<Label>,
}

/// A part of a key that is no stack.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Label {
    pub name: String,
    pub text: String,
    /// Where it is a number and is shown as one.
    pub number: Option<i64>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct StackFrame {
    /// The function's; where it is unknown its file in brackets, or its address.
    pub name: String,
    pub address: u64,
    pub module: Option<Arc<str>>,
    pub kind: FrameKind,
}

/// Whose code a frame is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FrameKind {
    User,
    Kernel,
    /// Inlined in the function of the frame before.
    Inlined,
    /// Made by a just-in-time compiler.
    Jit,
}

/// A map with stacks in its keys.
#[derive(Default)]
struct Collected {
    aggregation: Option<AggregationKind>,
    before: BTreeMap<Stack, i64>,
    last: BTreeMap<Stack, i64>,
}

/// A map as a whole, its weights positive. What was recorded by others has the same form.
#[derive(Clone, PartialEq, Debug)]
pub struct StackMap {
    pub name: String,
    /// What the weights count (`count`, `microseconds`); empty where that is not known.
    pub unit: String,
    pub stacks: Vec<(Stack, i64)>,
}

impl StackMap {
    /// Stacks that differ in nothing else are one.
    pub fn without_attributes(self) -> StackMap {
        let mut stacks = BTreeMap::new();
        for (stack, weight) in self.stacks {
            add(&mut stacks, Stack { attributes: Vec::new(), ..stack }, weight);
        }
        StackMap { stacks: stacks.into_iter().collect(), ..self }
    }
}

#[derive(Default)]
pub struct Stacks {
    maps: BTreeMap<String, Collected>,
    without_stacks: BTreeSet<String>,
    without_weights: BTreeSet<String>,
}

impl Stacks {
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Map(map) => self.map(map),
            Event::Cleared(name) => {
                if let Some(collected) = self.maps.get_mut(name) {
                    for (stack, weight) in std::mem::take(&mut collected.last) {
                        add(&mut collected.before, stack, weight);
                    }
                }
            }
            Event::Text { .. }
            | Event::Value(_)
            | Event::Attached(_)
            | Event::Trials(_)
            | Event::Ending
            | Event::Message { .. }
            | Event::Lost { .. }
            | Event::Problem { .. } => {}
        }
    }

    fn map(&mut self, map: &MapEvent) {
        if map.is_unset {
            return;
        }
        let mut last = BTreeMap::new();
        for row in map.rows.iter() {
            let (key, cell) = &*row;
            let Some(stack) = stack(&map.key_names, key) else {
                self.without_stacks.insert(map.name.clone());
                return;
            };
            let Some(weight) = weight(cell) else {
                self.without_weights.insert(map.name.clone());
                return;
            };
            add(&mut last, stack, weight);
        }
        // A map that has become empty is known by what it had before.
        if !last.is_empty() || self.maps.contains_key(&map.name) {
            let collected = self.maps.entry(map.name.clone()).or_default();
            (collected.aggregation, collected.last) = (map.aggregation, last);
        }
    }

    /// The maps without stacks, a sentence each.
    pub fn others(&self) -> Vec<String> {
        self.without_stacks.iter().map(|name| format!("{name} is left out: its keys hold no stack")).collect()
    }

    /// All maps of stacks by their names, and what they lack: a sentence each.
    pub fn take(&mut self) -> (Vec<StackMap>, Vec<String>) {
        let mut left_out: Vec<String> = Vec::new();
        let no_weight =
            |name| format!("{name} is left out: its values are no numbers that stacks could be weighted by");
        left_out.extend(self.without_weights.iter().map(no_weight));
        let mut maps = Vec::new();
        for (name, collected) in std::mem::take(&mut self.maps) {
            let mut all = collected.before;
            for (stack, weight) in collected.last {
                add(&mut all, stack, weight);
            }
            let negative = all.values().filter(|weight| **weight < 0).count();
            if negative > 0 {
                let plural = if negative == 1 { "" } else { "s" };
                left_out.push(format!("{negative} stack{plural} of {name} left out: the value is negative"));
            }
            let stacks: Vec<(Stack, i64)> = all.into_iter().filter(|(_, weight)| *weight > 0).collect();
            if !stacks.is_empty() {
                maps.push(StackMap { name, unit: unit(collected.aggregation).to_string(), stacks });
            }
        }
        if maps.is_empty() {
            left_out.push("there is nothing to show: no map with a stack in its key has a value".to_string());
        }
        (maps, left_out)
    }
}

fn add(stacks: &mut BTreeMap<Stack, i64>, stack: Stack, weight: i64) {
    let sum = stacks.entry(stack).or_insert(0);
    *sum = sum.saturating_add(weight);
}

/// What the numbers of a map count, as far as that is known.
fn unit(aggregation: Option<AggregationKind>) -> &'static str {
    match aggregation {
        None
        | Some(
            AggregationKind::Count
            | AggregationKind::Hist
            | AggregationKind::Lhist
            | AggregationKind::Quantize
            | AggregationKind::Lquantize
            | AggregationKind::Llquantize
            | AggregationKind::Quantiles,
        ) => "count",
        Some(
            AggregationKind::Sum
            | AggregationKind::Avg
            | AggregationKind::Min
            | AggregationKind::Max
            | AggregationKind::Stats
            | AggregationKind::Stddev
            | AggregationKind::Tseries,
        ) => "",
    }
}

/// None for a key without a stack.
fn stack(names: &[String], key: &[Value]) -> Option<Stack> {
    let mut parts = Parts::default();
    for (number, part) in key.iter().enumerate() {
        parts.add(names.get(number).map_or("", String::as_str), part);
    }
    let Parts { mut labels, mut since, tasks } = parts;
    labels.append(&mut since);
    let mut tasks = tasks.into_iter();
    let mut frames: Vec<StackFrame> = tasks.next()?.frames().collect();
    for task in tasks {
        let label =
            |label: &Label| StackFrame { name: label.text.clone(), address: 0, module: None, kind: FrameKind::User };
        frames.extend(task.labels.iter().map(label));
        // Upside down: the innermost frames of both meet.
        frames.extend(task.frames().rev());
    }
    Some(Stack { labels, frames, attributes: Vec::new() })
}

/// A key, part by part. With a second stack of the process or of the kernel another task begins.
#[derive(Default)]
struct Parts {
    labels: Vec<Label>,
    tasks: Vec<Task>,
    /// What has come since the last stack.
    since: Vec<Label>,
}

/// The stacks of one task, and what is between them and those before.
#[derive(Default)]
struct Task {
    labels: Vec<Label>,
    user: Option<Vec<StackFrame>>,
    kernel: Option<Vec<StackFrame>>,
}

impl Task {
    fn frames(self) -> impl DoubleEndedIterator<Item = StackFrame> {
        self.user.into_iter().flatten().chain(self.kernel.into_iter().flatten())
    }

    fn stack(&mut self, is_user: bool) -> &mut Option<Vec<StackFrame>> {
        if is_user { &mut self.user } else { &mut self.kernel }
    }
}

impl Parts {
    fn add(&mut self, name: &str, part: &Value) {
        match part {
            Value::Stack { frames, user, .. } => {
                let since = std::mem::take(&mut self.since);
                if self.tasks.last_mut().is_none_or(|task| task.stack(*user).is_some()) {
                    self.tasks.push(Task { labels: since, ..Task::default() });
                } else if let [_, .., task] = &mut self.tasks[..] {
                    task.labels.extend(since);
                } else {
                    self.labels.extend(since);
                }
                let frames = frames.iter().rev().map(|frame| stack_frame(frame, *user)).collect();
                if let Some(task) = self.tasks.last_mut() {
                    *task.stack(*user) = Some(frames);
                }
            }
            Value::Tuple(inner) => inner.iter().for_each(|part| self.add(name, part)),
            Value::Record(inner) => inner.iter().for_each(|(name, part)| self.add(name, part)),
            Value::Int(number) => self.label(name, part, Some(*number)),
            Value::Uint(number) => self.label(name, part, i64::try_from(*number).ok()),
            Value::Bool(_)
            | Value::Str(_)
            | Value::Buffer(_)
            | Value::Pointer(_)
            | Value::Enum { .. }
            | Value::Named { .. }
            | Value::Symbol(_)
            | Value::Array(_) => self.label(name, part, None),
        }
    }

    fn label(&mut self, name: &str, part: &Value, number: Option<i64>) {
        let text = String::from_utf8_lossy(&render(part)).into_owned();
        let into = if self.tasks.is_empty() { &mut self.labels } else { &mut self.since };
        into.push(Label { name: name.to_string(), text, number });
    }
}

fn stack_frame(frame: &Frame, is_user: bool) -> StackFrame {
    let kind = match (is_user, &frame.symbol) {
        (false, _) => FrameKind::Kernel,
        (true, _) if frame.is_inlined => FrameKind::Inlined,
        // A function with a name that is in no file.
        (true, Some(_)) if frame.module.is_none() => FrameKind::Jit,
        (true, _) => FrameKind::User,
    };
    let name = match &frame.symbol {
        Some(symbol) if frame.is_inlined => symbol.to_string(),
        // Of `name+offset`.
        Some(symbol) => symbol.rsplit_once('+').map_or(&**symbol, |(name, _)| name).to_string(),
        None => format!("{:#x}", frame.address),
    };
    StackFrame { name, address: frame.address, module: frame.module.clone(), kind }
}

/// A value in one field; stacks on one line, as in folded stacks.
pub fn plain(value: &Value) -> Vec<u8> {
    match value {
        Value::Stack { frames, .. } => one_line(frames).into_bytes(),
        Value::Int(_)
        | Value::Uint(_)
        | Value::Bool(_)
        | Value::Str(_)
        | Value::Buffer(_)
        | Value::Pointer(_)
        | Value::Enum { .. }
        | Value::Named { .. }
        | Value::Symbol(_)
        | Value::Tuple(_)
        | Value::Record(_)
        | Value::Array(_) => render(value),
    }
}

/// Stacks on one line, the outermost frame first, as a value among others.
pub fn one_line(frames: &[Frame]) -> String {
    let names: Vec<String> = frames.iter().rev().map(|frame| stack_frame(frame, true).name).collect();
    names.join(";")
}

/// What an entry weighs: its number; of histograms how many values they hold; of stats the total.
fn weight(cell: &Cell) -> Option<i64> {
    let number =
        |value: i64, signed: bool| if signed { value } else { i64::try_from(value as u64).unwrap_or(i64::MAX) };
    let counts = |counts: &mut dyn Iterator<Item = i128>, divisor: u64| {
        let sum: i128 = counts.sum::<i128>() / i128::from(divisor.max(1));
        Some(sum.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    };
    match cell {
        Cell::Value(Value::Int(value)) => Some(*value),
        Cell::Value(Value::Uint(value)) => Some(number(*value as i64, false)),
        Cell::Value(_) | Cell::Series { .. } => None,
        Cell::Number { value, signed } => Some(number(*value, *signed)),
        Cell::Stats { total, signed, .. } => Some(number(*total, *signed)),
        Cell::Hist { buckets, divisor, .. } | Cell::Lhist { buckets, divisor, .. } => {
            counts(&mut buckets.iter().map(|count| i128::from(*count)), *divisor)
        }
        Cell::Distribution { rows, divisor } => counts(&mut rows.iter().map(|row| i128::from(row.count)), *divisor),
        Cell::Quantiles { count, .. } => Some(number(*count as i64, false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtrace_lang::types::StackMode;

    #[test]
    fn a_second_stack_is_upside_down_on_the_first() {
        let taken = |user: bool, addresses: &[u64]| {
            let frame = |address: &u64| Frame {
                address: *address,
                symbol: None,
                module: None,
                build_id: None,
                line: None,
                is_inlined: false,
            };
            Value::Stack { frames: addresses.iter().map(frame).collect(), mode: StackMode::Bpftrace, user }
        };
        let text = |text: &str| Value::Str(text.as_bytes().to_vec());
        let shown = |key: &[Value]| {
            let stack = stack(&[], key).expect("it has a stack");
            let labels = stack.labels.iter().map(|label| label.text.clone());
            labels.chain(stack.frames.iter().map(|frame| frame.name.clone())).collect::<Vec<_>>().join(" ")
        };
        let first = [text("a"), taken(true, &[2, 1]), text("b"), taken(false, &[4, 3])];
        assert_eq!(shown(&first), "a b 0x1 0x2 0x3 0x4");
        let both = [&first[..], &[text("c"), taken(true, &[6, 5]), taken(false, &[8, 7]), text("d")]].concat();
        assert_eq!(shown(&both), "a b d 0x1 0x2 0x3 0x4 c 0x8 0x7 0x6 0x5");
    }

    fn shown(counts: &[(u64, i64)]) -> Event {
        let row = |(address, value): &(u64, i64)| {
            let frame =
                Frame { address: *address, symbol: None, module: None, build_id: None, line: None, is_inlined: false };
            let stack = Value::Stack { frames: [frame].into(), mode: StackMode::Bpftrace, user: true };
            (vec![stack], Cell::Number { value: *value, signed: true })
        };
        Event::Map(MapEvent {
            name: "@".into(),
            keyed: true,
            key_names: vec!["ustack".into()],
            aggregation: Some(AggregationKind::Count),
            rows: counts.iter().map(row).collect(),
            is_unset: false,
            at_end: false,
        })
    }

    #[test]
    fn what_was_cleared_counts_and_what_was_shown_twice_does_not() {
        let mut stacks = Stacks::default();
        let cleared = Event::Cleared("@".into());
        for event in [shown(&[(1, 4)]), shown(&[(1, 6), (2, 1)]), cleared.clone(), shown(&[(1, 3)]), shown(&[(1, 5)])] {
            stacks.event(&event);
        }
        let (maps, problems) = stacks.take();
        let weights: Vec<(u64, i64)> =
            maps[0].stacks.iter().map(|(s, weight)| (s.frames[0].address, *weight)).collect();
        assert_eq!(weights, [(1, 11), (2, 1)]);
        assert!(problems.is_empty());
        // Cleared at the end: what it had is still there.
        let mut stacks = Stacks::default();
        [shown(&[(1, 4)]), cleared, shown(&[])].iter().for_each(|event| stacks.event(event));
        assert_eq!(stacks.take().0[0].stacks[0].1, 4);
    }
}
