//! A flame graph of characters: the outermost function in the first row, and in each row below it what those above have called, as wide as
//! it weighs.

use super::calls::{Direction, Paths, Tree};
use crate::recordings::report::Sort;

/// A piece of a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    pub x: usize,
    pub width: usize,
    /// None for all stacks together.
    pub node: Option<usize>,
    pub is_chosen: bool,
}

pub struct Flame {
    pub tree: Tree,
    /// What is as wide as the window; None is all.
    zoomed: Option<usize>,
    pub chosen: Option<usize>,
}

impl Flame {
    pub fn new(paths: &Paths, stacks: &[usize], by: Option<usize>) -> Flame {
        Flame { tree: Tree::new(paths, Direction::Calls, stacks, by, Sort::Total), zoomed: None, chosen: None }
    }

    fn below(&mut self, paths: &Paths, node: Option<usize>) -> Vec<usize> {
        match node {
            Some(node) => self.tree.below(paths, node),
            None => self.tree.roots.clone(),
        }
    }

    fn parent(&self, node: Option<usize>) -> Option<Option<usize>> {
        node.map(|node| self.tree.nodes[node].parent)
    }

    /// To who called it, unless that is not in the window.
    pub fn up(&mut self) {
        if self.chosen != self.zoomed
            && let Some(parent) = self.parent(self.chosen)
        {
            self.chosen = parent;
        }
    }

    /// To what it called most.
    pub fn down(&mut self, paths: &Paths) {
        let below = self.below(paths, self.chosen);
        self.chosen = below.first().copied().or(self.chosen);
    }

    /// To what the same function called more, or less.
    pub fn aside(&mut self, paths: &Paths, is_right: bool) {
        if self.chosen == self.zoomed {
            return;
        }
        let Some(parent) = self.parent(self.chosen) else { return };
        let beside = self.below(paths, parent);
        let Some(at) = beside.iter().position(|node| Some(*node) == self.chosen) else { return };
        let to = if is_right { Some(at + 1) } else { at.checked_sub(1) };
        self.chosen = to.and_then(|to| beside.get(to)).copied().or(self.chosen);
    }

    pub fn zoom_in(&mut self) {
        self.zoomed = self.chosen;
    }

    pub fn zoom_out(&mut self) {
        self.zoomed = self.parent(self.zoomed).flatten();
    }

    /// The rows that fit into a window, with what is chosen among them.
    pub fn rows(&mut self, paths: &Paths, whole: i64, width: usize, height: usize) -> Vec<Vec<Piece>> {
        let mut above = vec![self.zoomed];
        while let Some(parent) = self.parent(above[above.len() - 1]) {
            above.push(parent);
        }
        let piece = |node, x, width| Piece { x, width, node, is_chosen: false };
        let mut rows: Vec<Vec<Piece>> = above.iter().rev().map(|node| vec![piece(*node, 0, width)]).collect();
        loop {
            let mut row = Vec::new();
            for Piece { x, width, node, .. } in rows[rows.len() - 1].clone() {
                let total = node.map_or(whole, |node| self.tree.nodes[node].total).max(1);
                let column = |weight: i64| (weight as f64 / total as f64 * width as f64).round() as usize;
                let mut before = 0;
                for below in self.below(paths, node) {
                    let start = column(before);
                    before += self.tree.nodes[below].total;
                    // What is narrower than a character is left out.
                    if column(before) > start {
                        row.push(piece(Some(below), x + start, column(before) - start));
                    }
                }
            }
            if row.is_empty() {
                break;
            }
            rows.push(row);
        }
        let depth = self.chosen.map_or(0, |node| self.tree.nodes[node].depth + 1);
        let first = (depth + 2).saturating_sub(height).min(rows.len().saturating_sub(height));
        let mut rows: Vec<Vec<Piece>> = rows.into_iter().skip(first).take(height).collect();
        for piece in rows.iter_mut().flatten() {
            piece.is_chosen = piece.node == self.chosen;
        }
        rows
    }
}
