//! Maps of stacks as a profile of pprof's: the messages of profile.proto (github.com/google/pprof), compressed by gzip. Each map
//! is a type of sample; the other parts of a key are labels.

use std::collections::HashMap;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::clock;

use super::stacks::{FrameKind, Stack, StackFrame, StackMap};

/// `started` in nanoseconds since 1970.
pub fn profile(maps: &[StackMap], started: i64) -> io::Result<Vec<u8>> {
    let mut profile = Profile::default();
    profile.maps(maps);
    let bytes = profile.encode(started, clock::now() - started);
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&bytes)?;
    packed.finish()
}

/// A message in protobuf's encoding. Fields that are zero are left out, as in proto3.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: u64) {
        if value != 0 {
            self.varint(field << 3);
            self.varint(value);
        }
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn packed(&mut self, field: u64, values: impl Iterator<Item = u64>) {
        let mut inner = Message::default();
        values.for_each(|value| inner.varint(value));
        self.bytes(field, &inner.0);
    }
}

/// Things that are referred to by number, in the order of their numbers, which count from one.
struct Numbered<T>(HashMap<T, u64>);

impl<T> Default for Numbered<T> {
    fn default() -> Numbered<T> {
        Numbered(HashMap::new())
    }
}

impl<T: Eq + std::hash::Hash + Clone> Numbered<T> {
    fn id(&mut self, what: &T) -> u64 {
        let next = self.0.len() as u64 + 1;
        *self.0.entry(what.clone()).or_insert(next)
    }

    fn all(&self) -> Vec<(&T, u64)> {
        let mut all: Vec<(&T, u64)> = self.0.iter().map(|(what, id)| (what, *id)).collect();
        all.sort_by_key(|(_, id)| *id);
        all
    }
}

/// A place in a function; its function's name and its file by their numbers.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Location {
    address: u64,
    function: u64,
    mapping: u64,
}

#[derive(Default)]
struct Profile {
    /// All but the empty string, whose number is 0.
    strings: Numbered<String>,
    /// Names, by their numbers.
    functions: Numbered<u64>,
    mappings: Numbered<u64>,
    locations: Numbered<Location>,
    sample_types: Vec<Message>,
    samples: Vec<Message>,
}

/// No library, by its name: readers call a profile by the file of its first mapping.
fn is_program(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or_default();
    file.starts_with('/') && !name.ends_with(".so") && !name.contains(".so.")
}

impl Profile {
    fn string(&mut self, text: &str) -> u64 {
        if text.is_empty() { 0 } else { self.strings.id(&text.to_string()) }
    }

    fn maps(&mut self, maps: &[StackMap]) {
        for map in maps {
            let mut message = Message::default();
            let name = map.name.trim_start_matches('@');
            message.number(1, self.string(if name.is_empty() { "samples" } else { name }));
            message.number(2, self.string(&map.unit));
            self.sample_types.push(message);
        }
        let frames = maps.iter().flat_map(|map| &map.stacks).flat_map(|(stack, _)| &stack.frames);
        for file in frames.filter_map(|frame| frame.module.as_deref()).filter(|file| is_program(file)) {
            self.mappings.id(&self.strings.id(&file.to_string()));
        }
        for (number, map) in maps.iter().enumerate() {
            for (stack, weight) in &map.stacks {
                let values = (0..maps.len()).map(|other| if other == number { *weight as u64 } else { 0 });
                self.sample(stack, values);
            }
        }
    }

    fn sample(&mut self, stack: &Stack, values: impl Iterator<Item = u64>) {
        let locations: Vec<u64> = stack.frames.iter().rev().map(|frame| self.location(frame)).collect();
        let mut message = Message::default();
        message.packed(1, locations.into_iter());
        message.packed(2, values);
        for label in &stack.labels {
            let mut inner = Message::default();
            inner.number(1, self.string(&label.name));
            // Readers take a label without a text and without a number other than 0 for none.
            match label.number.filter(|number| *number != 0) {
                Some(number) => inner.number(3, number as u64),
                None => inner.number(2, self.string(if label.text.is_empty() { "\"\"" } else { &label.text })),
            }
            message.bytes(3, &inner.0);
        }
        self.samples.push(message);
    }

    fn location(&mut self, frame: &StackFrame) -> u64 {
        let module = frame.module.as_deref();
        let file = module.or((frame.kind == FrameKind::Kernel).then_some("[kernel.kallsyms]")).unwrap_or_default();
        let mapping = if file.is_empty() { 0 } else { self.mappings.id(&self.strings.id(&file.to_string())) };
        let function = self.functions.id(&self.strings.id(&frame.name));
        self.locations.id(&Location { address: frame.address, function, mapping })
    }

    fn encode(&self, started: i64, duration: i64) -> Vec<u8> {
        let mut profile = Message::default();
        self.sample_types.iter().for_each(|message| profile.bytes(1, &message.0));
        self.samples.iter().for_each(|message| profile.bytes(2, &message.0));
        for (file, id) in self.mappings.all() {
            let mut message = Message::default();
            message.number(1, id);
            message.number(5, *file);
            // Its functions have their names: nobody needs to look for them.
            message.number(7, 1);
            profile.bytes(3, &message.0);
        }
        for (location, id) in self.locations.all() {
            let mut line = Message::default();
            line.number(1, location.function);
            let mut message = Message::default();
            message.number(1, id);
            message.number(2, location.mapping);
            message.number(3, location.address);
            message.bytes(4, &line.0);
            profile.bytes(4, &message.0);
        }
        for (name, id) in self.functions.all() {
            let mut message = Message::default();
            message.number(1, id);
            message.number(2, *name);
            message.number(3, *name);
            profile.bytes(5, &message.0);
        }
        profile.bytes(6, b"");
        self.strings.all().iter().for_each(|(text, _)| profile.bytes(6, text.as_bytes()));
        profile.number(9, started as u64);
        profile.number(10, duration.max(0) as u64);
        // Every event was taken. Readers that add profiles up (Pyroscope) demand to know.
        if let Some(first) = self.sample_types.first() {
            profile.bytes(11, &first.0);
            profile.number(12, 1);
        }
        profile.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_the_first_mapping() {
        let frame = |file: &str| {
            let module = Some(file.into());
            StackFrame { name: "f".into(), address: 1, kind: FrameKind::User, module }
        };
        let frames = ["/lib/libc.so.6", "[vdso]", "/usr/bin/x", "/lib/libm.so"].map(frame).into();
        let stack = Stack { labels: Vec::new(), frames, attributes: Vec::new() };
        let map = StackMap { name: String::new(), unit: String::new(), stacks: vec![(stack, 1)] };
        let mut profile = Profile::default();
        profile.maps(&[map]);
        let strings: HashMap<u64, String> =
            profile.strings.all().into_iter().map(|(text, id)| (id, text.clone())).collect();
        let files: Vec<&str> = profile.mappings.all().into_iter().map(|(file, _)| strings[file].as_str()).collect();
        assert_eq!(files, ["/usr/bin/x", "/lib/libm.so", "[vdso]", "/lib/libc.so.6"]);
    }

    #[test]
    fn numbers_of_any_size() {
        let mut message = Message::default();
        message.number(1, 150);
        message.number(2, 0);
        message.number(16, 1);
        message.packed(3, [1, u64::MAX].into_iter());
        let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(message.0, [&[8, 0x96, 1, 0x80, 1, 1, 0x1a, 11, 1][..], &largest].concat());
    }
}
