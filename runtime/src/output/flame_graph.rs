//! A map of stacks as a flame graph, an SVG file that a browser shows, searches and zooms without anything else: of one
//! recording, of two compared, or of time on and off processors. How it is drawn is inferno's; this says what and in which colours.

use std::io;

use inferno::flamegraph::color::{Color, MultiPalette, Palette, PaletteMap};
use inferno::flamegraph::{Options, from_lines};

use super::folded::lines;
use super::stacks::{FrameKind, Stack, StackMap};

/// What marks a frame for its colour; a mark is not shown.
const KERNEL_MARK: &str = "_[k]";
const INLINED_MARK: &str = "_[i]";
const JIT_MARK: &str = "_[j]";
const COLD_MARK: &str = "_[w]";

/// The outermost frame of what waited, in a graph of time on and off processors.
pub const OFF_CPU: &str = "off CPU";
/// What is between the stack of a thread that waited and that of who woke it.
pub const WOKEN_BY: &str = "woken by";
/// The outermost frame of what ran there.
pub const ON_CPU: &str = "on CPU";

/// What is above the graph and in its frames.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Style {
    pub title: String,
    /// What the weights count, in the plural.
    pub unit: String,
    pub hues: Hues,
}

/// What the colours tell apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hues {
    /// Whose code it is: the kernel's orange, inlined aqua, made by a just-in-time compiler green, with `::` in its name
    /// yellow, others red.
    Origin,
    /// Time on processors red, time off them blue.
    HotCold,
}

impl Style {
    /// For a map of a script.
    pub fn of(map: &StackMap) -> Style {
        Style { title: map.name.clone(), unit: "total".to_string(), hues: Hues::Origin }
    }
}

/// The graph as the bytes of its file.
pub fn graph(map: &StackMap, style: &Style) -> io::Result<Vec<u8>> {
    let marked = |(stack, weight): &(Stack, i64)| (marked(stack, style.hues), *weight);
    let map =
        StackMap { name: map.name.clone(), unit: map.unit.clone(), stacks: map.stacks.iter().map(marked).collect() };
    let text = lines(&map, None);
    let mut palette = PaletteMap::default();
    let mut options = options(style);
    if style.hues == Hues::HotCold {
        for name in text.lines().filter_map(|line| line.rsplit_once(' ')).flat_map(|(stack, _)| stack.split(';')) {
            palette.insert(name, temperature(name));
        }
        options.palette_map = Some(&mut palette);
    }
    draw(options, &text)
}

/// Of lines of `STACK BEFORE AFTER`: frames are as wide as after, red where they have grown, blue where they have shrunk.
pub(super) fn difference(lines: &str, style: &Style) -> io::Result<Vec<u8>> {
    draw(options(style), lines)
}

fn options(style: &Style) -> Options<'static> {
    let mut options = Options::default();
    options.title = style.title.clone();
    options.colors = Palette::Multi(MultiPalette::Java);
    // The same name has the same colour in each graph.
    options.hash = true;
    options.count_name = style.unit.clone();
    options
}

fn draw(mut options: Options<'_>, lines: &str) -> io::Result<Vec<u8>> {
    let mut svg = Vec::new();
    from_lines(&mut options, lines.lines(), &mut svg).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(svg)
}

/// The stack with the marks that its frames' colours follow.
fn marked(stack: &Stack, hues: Hues) -> Stack {
    let mut stack = stack.clone();
    let is_cold = hues == Hues::HotCold && stack.labels.first().is_some_and(|label| label.text == OFF_CPU);
    for frame in &mut stack.frames {
        frame.name.push_str(match frame.kind {
            _ if is_cold => COLD_MARK,
            FrameKind::Kernel => KERNEL_MARK,
            FrameKind::Inlined => INLINED_MARK,
            FrameKind::Jit => JIT_MARK,
            FrameKind::User => "",
        });
    }
    if is_cold {
        for label in &mut stack.labels {
            label.text.push_str(COLD_MARK);
        }
    }
    stack
}

/// A red, or for what is cold a blue, that the name alone decides.
fn temperature(name: &str) -> Color {
    let hash = name.bytes().fold(7u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let shade = (hash % 90) as u8;
    if name.ends_with(COLD_MARK) {
        Color::new(80 + shade, 120 + shade, 250)
    } else {
        Color::new(250, 80 + shade, 60 + shade)
    }
}
