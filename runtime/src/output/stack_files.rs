//! Maps of stacks as a file, whose name says its form. `rtrace profile` and `rtrace flame` write nothing else.

use std::io::{self, Write};
use std::path::Path;

use super::at_end::AtEnd;
use super::flame_graph::{self, Style};
use super::stacks::StackMap;
use super::{Sink, flame_page, folded, pprof, tree};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Svg,
    Page,
    Folded,
    Pprof,
    Tree,
}

/// How the names of files end.
const ENDINGS: &[(&str, Form)] = &[
    (".svg", Form::Svg),
    (".html", Form::Page),
    (".folded", Form::Folded),
    (".pb.gz", Form::Pprof),
    (".txt", Form::Tree),
];

impl Form {
    /// None for a name that says nothing; without a file it is a tree.
    pub fn of(file: Option<&Path>) -> Option<Form> {
        let Some(file) = file else { return Some(Form::Tree) };
        let name = file.as_os_str().to_string_lossy();
        ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, form)| *form)
    }
}

/// What becomes of the one map of a recording.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StackFile {
    pub form: Form,
    pub style: Style,
}

impl StackFile {
    pub fn sink(&self, writer: Box<dyn Write>) -> Box<dyn Sink> {
        let file = self.clone();
        Box::new(AtEnd::new(writer, move |maps, started| file.bytes(maps, started)))
    }

    /// The file's bytes, of a recording that began so many nanoseconds after 1970; none where there is no map.
    pub fn bytes(&self, maps: &[StackMap], started: i64) -> io::Result<Vec<u8>> {
        let named = |map: &StackMap| match map.unit.as_str() {
            "" => StackMap { unit: self.style.unit.clone(), ..map.clone() },
            _ => map.clone(),
        };
        let maps: Vec<StackMap> = maps.iter().map(named).collect();
        match self.form {
            Form::Svg => maps.first().map_or(Ok(Vec::new()), |map| flame_graph::graph(map, &self.style)),
            Form::Page => maps.first().map_or(Ok(Vec::new()), |map| flame_page::page(map, &self.style)),
            Form::Folded => folded::folded(&maps, started),
            Form::Pprof => pprof::profile(&maps, started),
            Form::Tree => tree::trees(&maps, started),
        }
    }
}
