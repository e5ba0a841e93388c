//! `--flame`: the maps of stacks as flame graphs, beside what the format writes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::event::Event;

use super::flame_graph::{self, Style};
use super::stacks::{StackMap, Stacks};
use super::{Sink, notices};

pub struct Flame {
    inner: Box<dyn Sink>,
    path: PathBuf,
    stacks: Stacks,
}

impl Flame {
    /// Makes the file at once: that it cannot be written is known before anything is traced.
    pub fn new(inner: Box<dyn Sink>, path: &Path) -> io::Result<Flame> {
        File::create(path)?;
        Ok(Flame { inner, path: path.to_path_buf(), stacks: Stacks::default() })
    }
}

impl Sink for Flame {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.stacks.event(event);
        self.inner.event(event)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }

    fn reopen(&mut self, path: Option<&Path>) -> io::Result<io::Result<()>> {
        self.inner.reopen(path)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.inner.finish()?;
        let (maps, problems) = self.stacks.take();
        for what in problems {
            notices::warn(&format!("--flame: {what}"));
        }
        let mut is_unused = true;
        for map in &maps {
            let path = if maps.len() == 1 { self.path.clone() } else { path_of(&self.path, &map.name) };
            write(map, &path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
            is_unused &= path != self.path;
            if maps.len() > 1 {
                notices::tell(&format!("Flame graph of {}: {}\n", map.name, path.display()));
            }
        }
        // An empty file is no graph. What is no plain file, such as a device, was not made here.
        if is_unused && fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.is_file()) {
            fs::remove_file(&self.path)?;
        }
        Ok(())
    }
}

/// `out.svg` for the map `@`, `out-name.svg` for others.
fn path_of(path: &Path, map: &str) -> PathBuf {
    let name = map.trim_start_matches('@');
    if name.is_empty() {
        return path.to_path_buf();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map_or(String::new(), |extension| format!(".{}", extension.to_string_lossy()));
    path.with_file_name(format!("{stem}-{name}{extension}"))
}

fn write(map: &StackMap, path: &Path) -> io::Result<()> {
    fs::write(path, flame_graph::graph(map, &Style::of(map))?)
}
