//! Reads the description of a `FakeTarget`. Names are collected first, so that types may be used before the line that
//! describes them.

use std::collections::HashMap;
use std::sync::Arc;

use super::{FakeBinary, FakeEnum, FakeFunction, FakeStruct, FakeSyscall, FakeTarget, FakeTracepoint};
use crate::check::c_integer;
use crate::limits::DEFAULT_MAX_STRLEN;
use crate::target::{Argument, Feature, Location};
use crate::types::{EnumRef, Field, Space, StructKind, StructRef, Type};

/// What is wrong with a description.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadDescription {
    /// Counted from one.
    pub line: usize,
    pub message: String,
}

impl std::fmt::Display for BadDescription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for BadDescription {}

/// Names of all features that have no number.
const FEATURES: &[(&str, Feature)] = &[
    ("Kprobes", Feature::Kprobes),
    ("KprobeMulti", Feature::KprobeMulti),
    ("KprobeSession", Feature::KprobeSession),
    ("UprobeMulti", Feature::UprobeMulti),
    ("Trampolines", Feature::Trampolines),
    ("Iterators", Feature::Iterators),
    ("MapAllocator", Feature::MapAllocator),
    ("TaskStorage", Feature::TaskStorage),
    ("LargeKeys", Feature::LargeKeys),
    ("AttachCookie", Feature::AttachCookie),
    ("TrampolineCookie", Feature::TrampolineCookie),
    ("RawTracepointCookie", Feature::RawTracepointCookie),
    ("RawTracepointNoPreempt", Feature::RawTracepointNoPreempt),
    ("AtomicFetch", Feature::AtomicFetch),
    ("CpuV4", Feature::CpuV4),
];

/// The numbers of types begin here, those of functions and events at the next thousands.
const FIRST_TYPE: u32 = 1000;
const FIRST_FUNCTION: u32 = 2000;
const FIRST_EVENT: u32 = 3000;

type Result<T> = std::result::Result<T, String>;

pub(super) fn read(text: &str) -> std::result::Result<FakeTarget, BadDescription> {
    let mut reader = Reader { target: FakeTarget { cpus: 1, ..FakeTarget::default() }, names: Names::default() };
    let lines: Vec<(usize, &str)> = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.split('#').next().unwrap_or_default().trim_end()))
        .filter(|(_, line)| !line.is_empty())
        .collect();
    for pass in [Reader::collect, Reader::describe] {
        reader.target = FakeTarget { cpus: 1, ..FakeTarget::default() };
        let mut open = "";
        for (line, text) in &lines {
            let inner = text.starts_with([' ', '\t']);
            if !inner {
                open = text;
            }
            pass(&mut reader, open, inner.then(|| text.trim_start()))
                .map_err(|message| BadDescription { line: *line, message })?;
        }
    }
    Ok(reader.target)
}

/// What the first pass has found: the types that lines may name.
#[derive(Default)]
struct Names {
    structs: HashMap<(StructKind, String), StructRef>,
    enums: HashMap<String, EnumRef>,
    typedefs: HashMap<String, String>,
}

struct Reader {
    target: FakeTarget,
    names: Names,
}

impl Reader {
    /// The first pass: names of types.
    fn collect(&mut self, entry: &str, inner: Option<&str>) -> Result<()> {
        if inner.is_some() {
            return Ok(());
        }
        let (word, rest) = split_word(entry);
        match word {
            "struct" | "union" => {
                let (name, bytes) = split_word(rest);
                let kind = if word == "struct" { StructKind::Struct } else { StructKind::Union };
                let id = FIRST_TYPE + (self.names.structs.len() + self.names.enums.len()) as u32;
                // A name that begins with a dot is this text's own: the type itself is anonymous.
                let shown = if name.starts_with('.') { "" } else { name };
                let of = StructRef { kind, name: shown.into(), id, size: number(bytes)? as u32 };
                if self.names.structs.insert((kind, name.to_string()), of).is_some() {
                    return Err(format!("{word} {name} is described twice"));
                }
            }
            "enum" => {
                let (name, ty) = split_word(rest);
                let Some(Type::Int { bytes, signed }) = c_integer(ty) else {
                    return Err(format!("`{ty}` is no integer type of C"));
                };
                let id = FIRST_TYPE + (self.names.structs.len() + self.names.enums.len()) as u32;
                self.names.enums.insert(name.to_string(), EnumRef { name: name.into(), id, size: bytes, signed });
            }
            "typedef" => {
                let (name, ty) = split_word(rest);
                self.names.typedefs.insert(name.to_string(), ty.to_string());
            }
            _ => {}
        }
        Ok(())
    }

    /// The second pass: everything.
    fn describe(&mut self, entry: &str, inner: Option<&str>) -> Result<()> {
        let (word, rest) = split_word(entry);
        if let Some(inner) = inner {
            return self.member(word, inner);
        }
        match word {
            "cpus" => self.target.cpus = number(rest)? as u32,
            "feature" => {
                for name in rest.split_whitespace() {
                    self.target.features.insert(feature(name)?);
                }
            }
            "symbol" => {
                let (name, address) = split_word(rest);
                self.target.symbols.push((name.to_string(), number(address)?));
            }
            "typedef" => {
                let (name, ty) = split_word(rest);
                let ty = self.ty(ty, Space::Kernel)?;
                self.target.typedefs.push((name.to_string(), ty));
            }
            "enum" => {
                let of = self.names.enums[split_word(rest).0].clone();
                self.target.enums.push(FakeEnum { of, members: Vec::new() });
            }
            "struct" | "union" => {
                let kind = if word == "struct" { StructKind::Struct } else { StructKind::Union };
                let of = self.names.structs[&(kind, split_word(rest).0.to_string())].clone();
                self.target.structs.push(FakeStruct { of, fields: Vec::new() });
            }
            "function" => {
                let btf_id = FIRST_FUNCTION + self.target.functions.len() as u32;
                let function = self.function(rest, btf_id)?;
                self.target.functions.push(function);
            }
            "rawtracepoint" => {
                let btf_id = FIRST_EVENT + self.target.raw_tracepoints.len() as u32;
                let event = self.function(rest, btf_id)?;
                self.target.raw_tracepoints.push(event);
            }
            "tracepoint" => {
                let (name, id) = split_word(rest);
                let (category, event) = name.split_once(':').ok_or("a tracepoint is written `category:event`")?;
                self.target.tracepoints.push(FakeTracepoint {
                    category: category.to_string(),
                    event: event.to_string(),
                    id: number(id)? as u32,
                    arguments: Vec::new(),
                });
            }
            "syscall" => {
                let (head, parameters, _) = signature(rest)?;
                let (name, nr) = split_word(head);
                let parameters = self.parameters(parameters, Space::User)?;
                self.target.syscalls.push(FakeSyscall { name: name.to_string(), number: number(nr)?, parameters });
            }
            "binary" => {
                self.target.binaries.push(FakeBinary { path: rest.trim().to_string(), functions: Vec::new() });
            }
            _ => return Err(format!("`{word}` begins no entry")),
        }
        Ok(())
    }

    /// An indented line of the entry that begins with `word`.
    fn member(&mut self, word: &str, line: &str) -> Result<()> {
        match word {
            "struct" | "union" => {
                let field = self.field(line)?;
                self.target.structs.last_mut().ok_or("a member of nothing")?.fields.push(field);
            }
            "enum" => {
                let (name, value) = split_word(line);
                let value = value.trim().parse().map_err(|_| format!("`{value}` is no value"))?;
                self.target.enums.last_mut().ok_or("a member of nothing")?.members.push((name.into(), value));
            }
            "tracepoint" => {
                let argument = self.tracepoint_field(line)?;
                self.target.tracepoints.last_mut().ok_or("a member of nothing")?.arguments.push(argument);
            }
            "binary" => {
                let (offset, name) = split_word(line);
                let function = (number(offset)?, name.trim().to_string());
                self.target.binaries.last_mut().ok_or("a member of nothing")?.functions.push(function);
            }
            _ => return Err(format!("`{word}` has no members")),
        }
        Ok(())
    }

    /// `16 pid_t pid`, `48:3+2 unsigned int policy`, `16 union .addresses`
    fn field(&self, line: &str) -> Result<Field> {
        let (place, declared) = split_word(line);
        let (offset, bits) = match place.split_once(':') {
            None => (number(place)?, None),
            Some((offset, bits)) => {
                let (shift, width) = bits.split_once('+').ok_or("a bit field is written `offset:shift+width`")?;
                (number(offset)?, Some((number(shift)?, number(width)?)))
            }
        };
        let (ty, name) = self.declaration(declared, Space::Kernel)?;
        let ty = text_or(ty);
        let (shift, width) = bits.unwrap_or_default();
        Ok(Field { name, ty, bit_offset: (offset * 8 + shift) as u32, bit_width: bits.map(|_| width as u8) })
    }

    fn tracepoint_field(&self, line: &str) -> Result<Argument> {
        let (offset, declared) = split_word(line);
        let offset = number(offset)? as u32;
        let (word, name) = split_word(declared);
        let base = match word {
            "data_loc" => Some(0),
            "rel_loc" => Some(offset + 4),
            _ => None,
        };
        if let Some(base) = base {
            let at = Location::DataLocation { offset, base };
            let Some((of, name)) = name.trim().rsplit_once(' ') else {
                return Ok(Argument { name: name.trim().into(), ty: Type::Str(DEFAULT_MAX_STRLEN), at });
            };
            return Ok(Argument {
                name: name.into(),
                ty: Type::pointer(self.ty(of, Space::Kernel)?, Space::Kernel),
                at,
            });
        }
        let (ty, name) = self.declaration(declared, Space::Kernel)?;
        let ty = text_or(ty);
        Ok(Argument { name, ty, at: Location::Context { offset } })
    }

    /// `[module:]name(type name, ...) type`
    fn function(&self, text: &str, btf_id: u32) -> Result<FakeFunction> {
        let (head, parameters, returns) = signature(text)?;
        let (module, name) = match head.split_once(':') {
            Some((module, name)) => (Some(module.to_string()), name),
            None => (None, head),
        };
        let parameters = self.parameters(parameters, Space::Kernel)?;
        let returns = if returns.is_empty() { Type::Void } else { self.ty(returns, Space::Kernel)? };
        Ok(FakeFunction { module, name: name.to_string(), parameters, returns, btf_id })
    }

    fn parameters(&self, text: &str, space: Space) -> Result<Vec<(Arc<str>, Type)>> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| self.declaration(part, space).map(|(ty, name)| (name, ty))).collect()
    }

    /// A type and a name. The name is missing only behind an anonymous struct.
    fn declaration(&self, text: &str, space: Space) -> Result<(Type, Arc<str>)> {
        let text = text.trim();
        if text.rsplit(' ').next().is_some_and(|last| last.starts_with('.')) {
            return Ok((self.ty(text, space)?, "".into()));
        }
        let (ty, name) = text.rsplit_once(' ').ok_or_else(|| format!("`{text}` is no type and name"))?;
        Ok((self.ty(ty, space)?, name.into()))
    }

    fn ty(&self, text: &str, space: Space) -> Result<Type> {
        let text = text.trim();
        if let Some(inner) = text.strip_suffix(']') {
            let (of, length) = inner.rsplit_once('[').ok_or_else(|| format!("`{text}` is no type"))?;
            return Ok(Type::Array { of: Arc::new(self.ty(of, space)?), len: number(length)? as u32 });
        }
        if let Some(pointed) = text.strip_suffix('*') {
            return Ok(Type::pointer(self.ty(pointed, space)?, space));
        }
        let unknown = || format!("there is no type `{text}`");
        let (word, rest) = split_word(text);
        let tagged = |kind| self.names.structs.get(&(kind, rest.trim().to_string())).cloned().map(Type::Struct);
        match word {
            "void" if rest.is_empty() => return Ok(Type::Void),
            "bool" if rest.is_empty() => return Ok(Type::Bool),
            "struct" => return tagged(StructKind::Struct).ok_or_else(unknown),
            "union" => return tagged(StructKind::Union).ok_or_else(unknown),
            "enum" => return self.names.enums.get(rest.trim()).cloned().map(Type::Enum).ok_or_else(unknown),
            _ => {}
        }
        if let Some(ty) = c_integer(text) {
            return Ok(ty);
        }
        let means = self.names.typedefs.get(text).ok_or_else(unknown)?;
        if self.names.typedefs.contains_key(means.as_str()) {
            return Err(format!("the typedef `{text}` names another typedef"));
        }
        self.ty(means, space)
    }
}

/// An array of `char` is text, as the readers of real types see it.
fn text_or(ty: Type) -> Type {
    match &ty {
        Type::Array { of, len } if **of == Type::Int { bytes: 1, signed: true } => Type::Str(*len),
        _ => ty,
    }
}

fn feature(name: &str) -> Result<Feature> {
    if let Some(helper) = name.strip_prefix("Helper(").and_then(|rest| rest.strip_suffix(')')) {
        return Ok(Feature::Helper(number(helper)? as u32));
    }
    let found = FEATURES.iter().find(|(known, _)| *known == name);
    found.map(|(_, feature)| *feature).ok_or_else(|| format!("there is no feature `{name}`"))
}

/// What stands before, in and behind the parentheses.
fn signature(text: &str) -> Result<(&str, &str, &str)> {
    let broken = || format!("`{text}` has no parentheses");
    let (head, rest) = text.split_once('(').ok_or_else(broken)?;
    let (parameters, returns) = rest.split_once(')').ok_or_else(broken)?;
    Ok((head.trim(), parameters.trim(), returns.trim()))
}

fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

fn number(text: &str) -> Result<u64> {
    let text = text.trim();
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("`{text}` is no number"))
}
