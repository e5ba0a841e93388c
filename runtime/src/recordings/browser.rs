//! What `rtrace report` shows of a recording on a terminal, and what keys do to it. Nothing is drawn here, and no terminal is known.

mod calls;
mod flame;

pub use calls::{Direction, Name};
pub use flame::Piece;

use calls::{Paths, Tree};
use flame::Flame;

use super::report::{Sort, share};
use crate::output::stacks::StackMap;

/// More rows than anybody reads, which opening everything makes.
const MOST_OPENED: usize = 1000;

/// A key of a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Tab,
    Backspace,
    Escape,
    Character(char),
}

/// All keys and what they do.
pub const KEYS: &[(&str, &str)] = &[
    ("Up Down PgUp PgDn Home End", "move"),
    ("Right Enter", "open; in the flame graph Enter zooms in"),
    ("Left Backspace", "close, or go up; Backspace zooms out"),
    ("e", "open the heaviest way down"),
    ("E", "open everything below"),
    ("c", "close all"),
    ("Tab 1 2 3 4", "calls, callers, callees, flame graph"),
    ("s", "sort by total, own or name"),
    ("b", "split by comm, tid, cpu: what the recording has"),
    ("/", "only stacks with such a function; Esc shows all"),
    ("n N", "the next and the last line with that name"),
    ("?", "this list"),
    ("q Ctrl-C", "leave"),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    Tree(Direction),
    Flame,
}

/// In the order in which they follow each other.
pub const VIEWS: &[(View, &str)] = &[
    (View::Tree(Direction::Calls), "calls"),
    (View::Tree(Direction::Callers), "callers"),
    (View::Tree(Direction::Callees), "callees"),
    (View::Flame, "flame graph"),
];

/// A line of a tree.
#[derive(Clone, PartialEq, Debug)]
pub struct Row<'a> {
    pub name: &'a Name,
    pub depth: usize,
    /// Per cent of the whole recording.
    pub total: f64,
    pub own: f64,
    /// `+` can be opened, `-` is open.
    pub mark: char,
    pub is_chosen: bool,
    pub is_match: bool,
}

pub struct Browser {
    title: String,
    paths: Paths,
    view: usize,
    /// One for each direction, in the order of the views.
    trees: Vec<Tree>,
    flame: Flame,
    /// The lines of the tree that is shown, and the one that is chosen.
    lines: Vec<usize>,
    at: usize,
    by: Option<usize>,
    search: String,
    /// What is being typed behind `/`.
    typed: Option<String>,
    found: i64,
    shows_keys: bool,
}

impl Browser {
    /// Begins with calls or callers, sorted by what each is in total or by what is asked for.
    pub fn new(map: &StackMap, view: View, sort: Option<Sort>, by: Option<&str>, search: &str) -> Browser {
        let paths = Paths::new(map);
        let all: Vec<usize> = paths.matching("");
        let sorts = [Sort::Total, Sort::Own, Sort::Total].map(|usual| sort.unwrap_or(usual));
        let trees = VIEWS.iter().zip(sorts).filter_map(|((view, _), sort)| match view {
            View::Tree(direction) => Some(Tree::new(&paths, *direction, &[], None, sort)),
            View::Flame => None,
        });
        let mut browser = Browser {
            title: map.name.clone(),
            view: VIEWS.iter().position(|(other, _)| *other == view).unwrap_or_default(),
            trees: trees.collect(),
            flame: Flame::new(&paths, &all, None),
            lines: Vec::new(),
            at: 0,
            by: by.and_then(|by| paths.parts.iter().position(|part| part == by)),
            search: search.to_string(),
            typed: None,
            found: 0,
            shows_keys: false,
            paths,
        };
        browser.start();
        browser
    }

    /// Begins anew, with what is sought and split by.
    fn start(&mut self) {
        let stacks = self.paths.matching(&self.search);
        self.found = self.paths.weight(&stacks);
        for tree in &mut self.trees {
            *tree = Tree::new(&self.paths, tree.direction, &stacks, self.by, tree.sort);
        }
        self.flame = Flame::new(&self.paths, &stacks, self.by);
        self.at = 0;
        self.list();
    }

    /// Finds the lines of the tree that is shown; the chosen one stays it.
    fn list(&mut self) {
        let chosen = self.lines.get(self.at).copied();
        self.lines.clear();
        let Some(tree) = self.trees.get_mut(self.view) else { return };
        let mut left: Vec<usize> = tree.roots.iter().rev().copied().collect();
        while let Some(node) = left.pop() {
            self.lines.push(node);
            if tree.nodes[node].is_open {
                left.extend(tree.below(&self.paths, node).into_iter().rev());
            }
        }
        let same = chosen.and_then(|chosen| self.lines.iter().position(|node| *node == chosen));
        self.at = same.unwrap_or(self.at).min(self.lines.len().saturating_sub(1));
    }

    pub fn view(&self) -> View {
        VIEWS[self.view].0
    }

    /// What is shown, and how.
    pub fn title(&self) -> String {
        let mut title = format!("{}: {}", self.title, self.paths.whole);
        if !self.search.is_empty() {
            let found = share(self.found, self.paths.whole);
            title.push_str(&format!(" | {} ({found:.2} %) in stacks with `{}`", self.found, self.search));
        }
        title.push_str(&format!(" | {}", VIEWS[self.view].1));
        if let Some(by) = self.by {
            title.push_str(&format!(" by {}", self.paths.parts[by]));
        }
        if let Some(tree) = self.trees.get(self.view) {
            let order = match tree.sort {
                Sort::Own => "own",
                Sort::Total => "total",
                Sort::Name => "name",
            };
            title.push_str(&format!(" | sorted by {order}"));
        }
        title
    }

    /// The last line of the window: what is typed, or what the chosen line weighs.
    pub fn status(&self) -> String {
        if let Some(typed) = &self.typed {
            return format!("/{typed}");
        }
        let (tree, node) = match self.trees.get(self.view) {
            Some(tree) => (tree, self.lines.get(self.at).copied()),
            None => (&self.flame.tree, self.flame.chosen),
        };
        let of = |weight| format!("{weight} ({:.2} %)", share(weight, self.paths.whole));
        match node.map(|node| &tree.nodes[node]) {
            Some(node) => {
                format!("total {}, own {}: {}", of(node.total), of(node.own), self.paths.names[node.name].text)
            }
            None if self.found == 0 => format!("no function has `{}` in its name; Esc shows all", self.search),
            None => format!("all: {}", of(self.found)),
        }
    }

    pub fn shows_keys(&self) -> bool {
        self.shows_keys
    }

    /// The lines of the tree that fit into a window.
    pub fn rows(&mut self, height: usize) -> Vec<Row<'_>> {
        let Some(tree) = self.trees.get(self.view) else { return Vec::new() };
        let first = self.at.saturating_sub(height / 2).min(self.lines.len().saturating_sub(height));
        let row = |(at, number): (usize, &usize)| {
            let node = &tree.nodes[*number];
            Row {
                name: &self.paths.names[node.name],
                depth: node.depth,
                total: share(node.total, self.paths.whole),
                own: share(node.own, self.paths.whole),
                mark: match (node.is_open, tree.has_below(&self.paths, *number)) {
                    (true, _) => '-',
                    (false, true) => '+',
                    (false, false) => ' ',
                },
                is_chosen: at == self.at,
                is_match: self.paths.is_match(node.name, &self.search),
            }
        };
        self.lines.iter().enumerate().skip(first).take(height).map(row).collect()
    }

    /// The pieces of the flame graph that fit into a window, row by row.
    pub fn pieces(&mut self, width: usize, height: usize) -> Vec<Vec<Piece>> {
        self.flame.rows(&self.paths, self.found, width, height)
    }

    /// Of a piece: its name, and whether that is sought.
    pub fn piece_name(&self, piece: &Piece) -> Option<(&Name, bool)> {
        let name = self.flame.tree.nodes[piece.node?].name;
        Some((&self.paths.names[name], self.paths.is_match(name, &self.search)))
    }

    /// In a window of so many lines. False: it is to end.
    pub fn press(&mut self, key: Key, height: usize) -> bool {
        if self.typed.is_some() {
            self.typing(key);
            return true;
        }
        if self.shows_keys {
            self.shows_keys = false;
            return true;
        }
        match key {
            Key::Character('q') => return false,
            Key::Character('?') => self.shows_keys = true,
            Key::Character('/') => self.typed = Some(String::new()),
            Key::Tab => self.show((self.view + 1) % VIEWS.len()),
            Key::Character(digit @ '1'..='4') => self.show(digit as usize - '1' as usize),
            Key::Character('b') => self.split(),
            Key::Escape if !self.search.is_empty() => {
                self.search.clear();
                self.start();
            }
            _ => match self.view() {
                View::Tree(_) => self.press_in_tree(key, height),
                View::Flame => self.press_in_flame(key),
            },
        }
        true
    }

    fn typing(&mut self, key: Key) {
        let Some(typed) = &mut self.typed else { return };
        match key {
            Key::Character(character) => typed.push(character),
            Key::Backspace => _ = typed.pop(),
            Key::Escape => self.typed = None,
            Key::Enter => {
                self.search = self.typed.take().unwrap_or_default();
                self.start();
            }
            Key::Up
            | Key::Down
            | Key::Left
            | Key::Right
            | Key::PageUp
            | Key::PageDown
            | Key::Home
            | Key::End
            | Key::Tab => {}
        }
    }

    fn show(&mut self, view: usize) {
        if view != self.view {
            self.view = view;
            self.lines.clear();
            self.at = 0;
            self.list();
        }
    }

    /// By the next part of the samples, or by none.
    fn split(&mut self) {
        let next = self.by.map_or(0, |by| by + 1);
        self.by = (next < self.paths.parts.len()).then_some(next);
        self.start();
    }

    fn press_in_flame(&mut self, key: Key) {
        match key {
            Key::Up => self.flame.up(),
            Key::Down => self.flame.down(&self.paths),
            Key::Left => self.flame.aside(&self.paths, false),
            Key::Right => self.flame.aside(&self.paths, true),
            Key::Enter => self.flame.zoom_in(),
            Key::Backspace | Key::Escape => self.flame.zoom_out(),
            Key::PageUp | Key::PageDown | Key::Home | Key::End | Key::Tab | Key::Character(_) => {}
        }
    }

    fn press_in_tree(&mut self, key: Key, height: usize) {
        let last = self.lines.len().saturating_sub(1);
        match key {
            Key::Up => self.at = self.at.saturating_sub(1),
            Key::Down => self.at = (self.at + 1).min(last),
            Key::PageUp => self.at = self.at.saturating_sub(height.max(1)),
            Key::PageDown => self.at = (self.at + height.max(1)).min(last),
            Key::Home => self.at = 0,
            Key::End => self.at = last,
            Key::Right => self.open(),
            Key::Enter => {
                if self.is_open() {
                    self.close();
                } else {
                    self.open();
                }
            }
            Key::Left | Key::Backspace => self.close(),
            Key::Character('e') => self.open_heaviest(),
            Key::Character('E') => self.open_all(),
            Key::Character('c') => self.close_all(),
            Key::Character('s') => self.sort(),
            Key::Character('n') => self.go_to_match(true),
            Key::Character('N') => self.go_to_match(false),
            Key::Character(_) | Key::Tab | Key::Escape => {}
        }
    }

    fn is_open(&self) -> bool {
        let node = self.lines.get(self.at);
        node.is_some_and(|node| self.trees.get(self.view).is_some_and(|tree| tree.nodes[*node].is_open))
    }

    /// Opens the chosen line, and what is below it as long as there is no choice.
    fn open(&mut self) {
        let (Some(tree), Some(node)) = (self.trees.get_mut(self.view), self.lines.get(self.at)) else { return };
        let mut node = *node;
        loop {
            let below = tree.below(&self.paths, node);
            tree.nodes[node].is_open = !below.is_empty();
            match below[..] {
                [only] => node = only,
                _ => break,
            }
        }
        self.list();
    }

    fn open_heaviest(&mut self) {
        let (Some(tree), Some(node)) = (self.trees.get_mut(self.view), self.lines.get(self.at)) else { return };
        let mut node = *node;
        loop {
            let below = tree.below(&self.paths, node);
            let heaviest = below.iter().copied().max_by_key(|below| (tree.nodes[*below].total, *below));
            tree.nodes[node].is_open = heaviest.is_some();
            match heaviest {
                Some(heaviest) => node = heaviest,
                None => break,
            }
        }
        self.list();
        self.at = self.lines.iter().position(|other| *other == node).unwrap_or(self.at);
    }

    fn open_all(&mut self) {
        let (Some(tree), Some(node)) = (self.trees.get_mut(self.view), self.lines.get(self.at)) else { return };
        let mut left = std::collections::VecDeque::from([*node]);
        let mut opened = 0;
        while let Some(node) = left.pop_front()
            && opened < MOST_OPENED
        {
            let below = tree.below(&self.paths, node);
            tree.nodes[node].is_open = !below.is_empty();
            opened += below.len();
            left.extend(below);
        }
        self.list();
    }

    /// Closes the chosen line; where it is closed, goes to the one that it is below of.
    fn close(&mut self) {
        let (Some(tree), Some(node)) = (self.trees.get_mut(self.view), self.lines.get(self.at)) else { return };
        if tree.nodes[*node].is_open {
            tree.nodes[*node].is_open = false;
        } else if let Some(parent) = tree.nodes[*node].parent {
            self.at = self.lines.iter().position(|other| *other == parent).unwrap_or(self.at);
        }
        self.list();
    }

    fn close_all(&mut self) {
        let Some(tree) = self.trees.get_mut(self.view) else { return };
        tree.nodes.iter_mut().for_each(|node| node.is_open = false);
        self.at = 0;
        self.lines.clear();
        self.list();
    }

    fn sort(&mut self) {
        let Some(tree) = self.trees.get_mut(self.view) else { return };
        let next = match tree.sort {
            Sort::Total => Sort::Own,
            Sort::Own => Sort::Name,
            Sort::Name => Sort::Total,
        };
        tree.sort_by(&self.paths, next);
        self.list();
    }

    fn go_to_match(&mut self, is_forward: bool) {
        let Some(tree) = self.trees.get(self.view) else { return };
        let is_match = |at: &usize| self.paths.is_match(tree.nodes[self.lines[*at]].name, &self.search);
        let found =
            if is_forward { (self.at + 1..self.lines.len()).find(is_match) } else { (0..self.at).rev().find(is_match) };
        self.at = found.unwrap_or(self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recordings::perf_script;

    const TEXT: &str = "\
serve 7/8 [001] 1.5: cycles: 
\t1010 inner+0x10 (/opt/serve)
\t1020 middle+0x1 (/opt/serve)
\t1030 main+0x1 (/opt/serve)

serve 7/8 [000] 1.6: cycles: 
\tffffffff81000010 do_syscall_64+0x10 ([kernel.kallsyms])
\t1030 main+0x1 (/opt/serve)

serve 7/9 [001] 1.7: cycles: 
\t1010 inner+0x10 (/opt/serve)
\t1030 main+0x1 (/opt/serve)

serve 7/9 [001] 1.8: cycles: 
\t1010 inner+0x10 (/opt/serve)
\t1010 inner+0x20 (/opt/serve)
\t1030 main+0x1 (/opt/serve)
";

    fn browser() -> Browser {
        let map = perf_script::read(TEXT).ok().and_then(|maps| maps.into_iter().next()).expect("it is perf's text");
        Browser::new(&map, View::Tree(Direction::Calls), None, None, "")
    }

    fn press(browser: &mut Browser, keys: &[Key]) {
        keys.iter().for_each(|key| assert!(browser.press(*key, 10)));
    }

    fn press_text(browser: &mut Browser, keys: &str) {
        keys.chars().for_each(|key| assert!(browser.press(Key::Character(key), 10)));
    }

    /// `MARK NAME TOTAL OWN` of each line; `>` in front of the chosen one.
    fn shown(browser: &mut Browser) -> Vec<String> {
        let line = |row: &Row| {
            let indent = "  ".repeat(row.depth);
            let chosen = if row.is_chosen { ">" } else { "" };
            format!("{chosen}{indent}{} {} {:.0} {:.0}", row.mark, row.name.text, row.total, row.own)
        };
        browser.rows(20).iter().map(line).collect()
    }

    #[test]
    fn the_tree_of_calls_opens_and_closes() {
        let mut browser = browser();
        assert_eq!(shown(&mut browser), [">+ serve 100 0"]);
        // What has no choice is opened at once.
        press(&mut browser, &[Key::Enter]);
        let opened =
            [">- serve 100 0", "  - main 100 0", "    + inner 50 25", "      do_syscall_64 25 25", "    + middle 25 0"];
        assert_eq!(shown(&mut browser), opened);
        press(&mut browser, &[Key::Down, Key::Down, Key::Right]);
        assert_eq!(shown(&mut browser)[2..4], [">    - inner 50 25", "        inner 25 25"]);
        press(&mut browser, &[Key::Left, Key::Left, Key::Left]);
        let closed = ["- serve 100 0", ">  + main 100 0"];
        assert_eq!(shown(&mut browser), closed);
        assert_eq!(browser.status(), "total 4 (100.00 %), own 0 (0.00 %): main");
        press_text(&mut browser, "cE");
        assert_eq!(shown(&mut browser).len(), 7);
        press_text(&mut browser, "ce");
        let way = ["- serve 100 0", "  - main 100 0", "    - inner 50 25", ">        inner 25 25"];
        assert_eq!(shown(&mut browser)[..4], way);
        assert!(!browser.press(Key::Character('q'), 10));
    }

    #[test]
    fn callers_and_callees_of_each_function() {
        let mut browser = browser();
        press(&mut browser, &[Key::Tab]);
        let callers = [">+ inner 75 75", "+ do_syscall_64 25 25", "  main 100 0", "+ middle 25 0"];
        assert_eq!(shown(&mut browser), callers);
        press(&mut browser, &[Key::Right]);
        let opened = [">- inner 75 75", "  + inner 25 25", "    main 25 25", "  + middle 25 25"];
        assert_eq!(shown(&mut browser)[..4], opened);
        // A function that calls itself counts once.
        press_text(&mut browser, "3");
        let callees = [">+ main 100 0", "+ inner 75 75", "  do_syscall_64 25 25", "+ middle 25 0"];
        assert_eq!(shown(&mut browser), callees);
        press_text(&mut browser, "ss");
        assert_eq!(shown(&mut browser)[0], "  do_syscall_64 25 25");
        assert!(browser.title().ends_with("| callees | sorted by name"));
    }

    #[test]
    fn search_and_parts() {
        let mut browser = browser();
        press_text(&mut browser, "/midx");
        assert_eq!(browser.status(), "/midx");
        press(&mut browser, &[Key::Backspace, Key::Enter]);
        assert_eq!(browser.title(), "cycles: 4 | 1 (25.00 %) in stacks with `mid` | calls | sorted by total");
        press_text(&mut browser, "en");
        press_text(&mut browser, "N");
        assert_eq!(shown(&mut browser)[2], ">    - middle 25 0");
        press(&mut browser, &[Key::Escape]);
        // comm, pid, tid, cpu.
        press_text(&mut browser, "bbb");
        assert_eq!(shown(&mut browser), [">+ tid 8 50 0", "+ tid 9 50 0"]);
        press_text(&mut browser, "b2");
        assert_eq!(shown(&mut browser), [">+ cpu 1 75 0", "+ cpu 0 25 0"]);
        press(&mut browser, &[Key::Down, Key::Enter]);
        assert_eq!(shown(&mut browser)[1..], [">- cpu 0 25 0", "  + do_syscall_64 25 25", "    main 25 0"]);
        press_text(&mut browser, "b/nothing");
        press(&mut browser, &[Key::Enter]);
        assert!(shown(&mut browser).is_empty());
        assert!(browser.status().starts_with("no function has `nothing`"));
    }

    #[test]
    fn the_flame_graph_fits_its_window() {
        let mut browser = browser();
        press_text(&mut browser, "4");
        let shown = |browser: &mut Browser, height| -> Vec<String> {
            let rows = browser.pieces(80, height);
            let piece = |piece: &Piece| {
                let name = browser.piece_name(piece).map_or("all", |(name, _)| &name.text);
                let chosen = if piece.is_chosen { ">" } else { "" };
                format!("{chosen}{name} {}+{}", piece.x, piece.width)
            };
            rows.iter().map(|row| row.iter().map(piece).collect::<Vec<_>>().join(" ")).collect()
        };
        let whole = [
            ">all 0+80",
            "serve 0+80",
            "main 0+80",
            "inner 0+40 do_syscall_64 40+20 middle 60+20",
            "inner 0+20 inner 60+20",
        ];
        assert_eq!(shown(&mut browser, 10), whole);
        assert_eq!(shown(&mut browser, 2), whole[..2]);
        press(&mut browser, &[Key::Down, Key::Down, Key::Down, Key::Right, Key::Right]);
        assert_eq!(shown(&mut browser, 2), ["inner 0+40 do_syscall_64 40+20 >middle 60+20", "inner 0+20 inner 60+20"]);
        press(&mut browser, &[Key::Enter, Key::Left, Key::Up]);
        let zoomed = ["all 0+80", "serve 0+80", "main 0+80", ">middle 0+80", "inner 0+80"];
        assert_eq!(shown(&mut browser, 10), zoomed);
        press(&mut browser, &[Key::Backspace]);
        assert_eq!(shown(&mut browser, 10)[3..4], ["inner 0+40 do_syscall_64 40+20 >middle 60+20"]);
    }
}
