//! Profiles of pprof's: the messages of profile.proto (github.com/google/pprof), unpacked. Each type of sample is a map. Nothing in a
//! profile is trusted: what it refers to and does not have is an error.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::output::stacks::{FrameKind, Label, Stack, StackFrame, StackMap};

use super::Recording;

type Result<T> = std::result::Result<T, &'static str>;

/// How files are called that are the kernel.
const KERNEL_FILES: &[&str] = &["[kernel.kallsyms]", "[kernel]", "[vmlinux]"];

#[derive(Clone, Copy)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// A message's fields, with their numbers.
struct Message<'a>(Vec<(u64, Field<'a>)>);

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or("a number has no end")?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number is too long")
}

fn skip<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8]> {
    let (inner, rest) = bytes.split_at_checked(count).ok_or("a field has no end")?;
    *bytes = rest;
    Ok(inner)
}

impl<'a> Message<'a> {
    fn parse(mut bytes: &'a [u8]) -> Result<Message<'a>> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes)?;
            match tag & 7 {
                0 => fields.push((tag >> 3, Field::Number(varint(&mut bytes)?))),
                1 => _ = skip(&mut bytes, 8)?,
                2 => {
                    let length = usize::try_from(varint(&mut bytes)?).map_err(|_| "a field has no end")?;
                    fields.push((tag >> 3, Field::Bytes(skip(&mut bytes, length)?)));
                }
                5 => _ = skip(&mut bytes, 4)?,
                _ => return Err("a field has an unknown kind"),
            }
        }
        Ok(Message(fields))
    }

    fn all(&self, wanted: u64) -> impl Iterator<Item = Field<'a>> {
        self.0.iter().filter(move |(number, _)| *number == wanted).map(|(_, field)| *field)
    }

    /// 0 where it is missing.
    fn number(&self, wanted: u64) -> u64 {
        let last = self.all(wanted).filter_map(|field| match field {
            Field::Number(number) => Some(number),
            Field::Bytes(_) => None,
        });
        last.last().unwrap_or(0)
    }

    fn bytes(&self, wanted: u64) -> Vec<&'a [u8]> {
        let bytes = |field| match field {
            Field::Bytes(bytes) => Some(bytes),
            Field::Number(_) => None,
        };
        self.all(wanted).filter_map(bytes).collect()
    }

    fn messages(&self, wanted: u64) -> Result<Vec<Message<'a>>> {
        self.bytes(wanted).into_iter().map(Message::parse).collect()
    }

    /// Numbers, one after the other or packed.
    fn numbers(&self, wanted: u64) -> Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for field in self.all(wanted) {
            match field {
                Field::Number(number) => numbers.push(number),
                Field::Bytes(mut bytes) => {
                    while !bytes.is_empty() {
                        numbers.push(varint(&mut bytes)?);
                    }
                }
            }
        }
        Ok(numbers)
    }
}

/// What samples refer to.
struct Tables {
    strings: Vec<String>,
    /// The frames of a location, the innermost first.
    locations: HashMap<u64, Vec<StackFrame>>,
}

impl Tables {
    fn read(profile: &Message<'_>) -> Result<Tables> {
        let strings = profile.bytes(6).into_iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
        let mut tables = Tables { strings, locations: HashMap::new() };
        let mut files: HashMap<u64, Arc<str>> = HashMap::new();
        for mapping in profile.messages(3)? {
            files.insert(mapping.number(1), tables.string(mapping.number(5))?.into());
        }
        let mut functions = HashMap::new();
        for function in profile.messages(5)? {
            functions.insert(function.number(1), tables.string(function.number(2))?.to_string());
        }
        for location in profile.messages(4)? {
            let address = location.number(3);
            let module = files.get(&location.number(2)).filter(|file| !file.is_empty()).cloned();
            let is_kernel = module.as_deref().is_some_and(|file| KERNEL_FILES.contains(&file));
            let mut frames = Vec::new();
            for line in location.messages(4)? {
                let name = functions.get(&line.number(1)).ok_or("a function is missing")?.clone();
                frames.push(StackFrame { name, address, module: module.clone(), kind: FrameKind::Inlined });
            }
            if frames.is_empty() {
                let name = match &module {
                    Some(file) => format!("[{}]", file.rsplit('/').next().unwrap_or(file)),
                    None => format!("{address:#x}"),
                };
                frames.push(StackFrame { name, address, module, kind: FrameKind::User });
            }
            // All but the last are inlined in it.
            if let Some(last) = frames.last_mut() {
                last.kind = if is_kernel { FrameKind::Kernel } else { FrameKind::User };
            }
            tables.locations.insert(location.number(1), frames);
        }
        Ok(tables)
    }

    fn string(&self, number: u64) -> Result<&str> {
        let at = usize::try_from(number).map_err(|_| "a string is missing")?;
        // A profile without any strings has the empty one.
        match self.strings.get(at) {
            Some(text) => Ok(text),
            None if number == 0 => Ok(""),
            None => Err("a string is missing"),
        }
    }

    fn stack(&self, sample: &Message<'_>) -> Result<Stack> {
        let mut frames = Vec::new();
        for location in sample.numbers(1)? {
            frames.extend_from_slice(self.locations.get(&location).ok_or("a location is missing")?);
        }
        frames.reverse();
        let mut labels = Vec::new();
        for label in sample.messages(3)? {
            let text = self.string(label.number(2))?.to_string();
            let number = label.number(3) as i64;
            let (text, number) = if text.is_empty() { (number.to_string(), Some(number)) } else { (text, None) };
            labels.push(Label { name: self.string(label.number(1))?.to_string(), text, number });
        }
        Ok(Stack { labels, frames, attributes: Vec::new() })
    }
}

pub fn read(bytes: &[u8]) -> Result<Recording> {
    let profile = Message::parse(bytes)?;
    let tables = Tables::read(&profile)?;
    let mut types = Vec::new();
    for kind in profile.messages(1)? {
        types.push((tables.string(kind.number(1))?.to_string(), tables.string(kind.number(2))?.to_string()));
    }
    let mut stacks: Vec<BTreeMap<Stack, i64>> = vec![BTreeMap::new(); types.len()];
    for sample in profile.messages(2)? {
        let values = sample.numbers(2)?;
        if values.len() != types.len() {
            return Err("a sample has not as many values as there are types");
        }
        let stack = tables.stack(&sample)?;
        for (stacks, value) in stacks.iter_mut().zip(values) {
            if value as i64 > 0 {
                let sum = stacks.entry(stack.clone()).or_insert(0);
                *sum = sum.saturating_add(value as i64);
            }
        }
    }
    let default = tables.string(profile.number(14))?;
    let mut maps = Vec::new();
    for ((name, unit), stacks) in types.into_iter().zip(stacks) {
        if !stacks.is_empty() {
            maps.push(StackMap { name, unit, stacks: stacks.into_iter().collect() });
        }
    }
    // As pprof has it: the one that the profile names, or the last.
    let named = maps.iter().position(|map| !default.is_empty() && map.name == default);
    let default = named.unwrap_or(maps.len().saturating_sub(1));
    Ok(Recording { maps, default })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> (Vec<StackMap>, Vec<u8>) {
        let frame = |name: &str, address, kind, module: Option<&str>| StackFrame {
            name: name.into(),
            address,
            module: module.map(Arc::from),
            kind,
        };
        let stack = Stack {
            labels: vec![
                Label { name: "comm".into(), text: "a b".into(), number: None },
                Label { name: "pid".into(), text: "7".into(), number: Some(7) },
            ],
            frames: vec![
                frame("main", 1, FrameKind::User, Some("/bin/x")),
                frame("sys_read", 2, FrameKind::Kernel, Some("[kernel.kallsyms]")),
            ],
            attributes: Vec::new(),
        };
        let map = |name: &str, unit: &str| StackMap {
            name: name.into(),
            unit: unit.into(),
            stacks: vec![(stack.clone(), i64::MAX)],
        };
        let maps = vec![map("bytes", ""), map("calls", "count")];
        let packed = crate::output::pprof::profile(&maps, 0).expect("memory can be written to");
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*packed), &mut bytes).expect("it is gzip");
        (maps, bytes)
    }

    #[test]
    fn what_we_write_is_read_again() {
        let (maps, bytes) = written();
        let recording = read(&bytes).expect("the profile is sound");
        assert_eq!(recording.maps, maps);
        assert_eq!(recording.map(None).map(|map| map.name), Ok("calls".to_string()));
    }

    #[test]
    fn no_damage_is_fatal() {
        let (_, bytes) = written();
        for at in 0..bytes.len() {
            let _ = read(&bytes[..at]);
            for value in [0, 0x7f, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                let _ = read(&damaged);
            }
        }
    }
}
