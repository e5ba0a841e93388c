//! Bytes of keys, map values and records to finished values. Asks the symbol tables; knows no system call.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rtrace_lang::hir::Hir;
use rtrace_lang::target::Target;
use rtrace_lang::types::{StackMode, SymbolPart, Type};

use crate::event::{Frame, Value};
use crate::names::{self, Names};
use crate::symbols::{KernelSymbols, MappedCode, MappingEvent, Unknown, UserSymbols};

/// Gives the frames of the stack of that hash; None where it is not kept.
pub type StackReader<'a> = dyn Fn(u64) -> Option<Vec<u64>> + 'a;

/// Turns bytes into values, and remembers symbols.
pub struct Decoder {
    hir: Arc<Hir>,
    kernel: KernelSymbols,
    user: UserSymbols,
    enumerators: HashMap<u32, Vec<(Arc<str>, i64)>>,
    names: Names,
    stacks: HashMap<(u64, u64), Arc<[Frame]>>,
}

/// The value at the start of `bytes`, of a type that takes nothing else to be shown.
pub fn simple(ty: &Type, bytes: &[u8]) -> Option<Value> {
    let first = word(bytes, 0);
    Some(match ty {
        Type::Bool => Value::Bool(first != 0),
        Type::Int { signed: true, .. } => Value::Int(first as i64),
        Type::Int { signed: false, .. } | Type::Timestamp(_) => Value::Uint(first),
        Type::Pointer { .. } => Value::Pointer(first),
        Type::Str(capacity) => Value::Str(text(bytes, *capacity)),
        Type::Buffer(capacity) => {
            let length = (first as usize).min(*capacity as usize).min(bytes.len().saturating_sub(8));
            Value::Buffer(bytes.get(8..8 + length).unwrap_or(&[]).to_vec())
        }
        _ => return None,
    })
}

/// The bytes of a string up to its NUL.
fn text(bytes: &[u8], capacity: u32) -> Vec<u8> {
    let bytes = &bytes[..bytes.len().min(capacity as usize)];
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes[..end].to_vec()
}

pub fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).map_or(0, |word| u64::from_le_bytes(word.try_into().expect("8 bytes")))
}

impl Decoder {
    pub fn new(hir: Arc<Hir>) -> Decoder {
        Decoder {
            kernel: KernelSymbols::new(),
            user: UserSymbols::named(!hir.settings.cpp_demangle),
            hir,
            enumerators: HashMap::new(),
            names: Names::default(),
            stacks: HashMap::new(),
        }
    }

    /// Notes what is mapped in a process while it lives, so that its addresses can be named when it is gone.
    pub fn note_process(&mut self, pid: u32) {
        self.user.note_process(pid);
    }

    /// A file that processes will have mapped, as the tool itself names it.
    pub fn expect_file(&mut self, path: &Path) {
        self.user.expect_file(path);
    }

    /// A process whose addresses were shown without names, since nobody knows what it has mapped.
    pub fn take_unknown(&mut self) -> Option<Unknown> {
        self.user.take_unknown()
    }

    /// Looks the names of many addresses of the kernel up at once, where each look takes long.
    pub fn name_kernel(&mut self, addresses: impl FnOnce() -> Vec<u64>) {
        if self.kernel.takes_long() {
            self.kernel.resolve(&addresses());
        }
    }

    /// Takes in what the kernel says of a process's code.
    pub fn note_mapping(&mut self, event: MappingEvent) {
        self.user.note_mapping(event);
    }

    /// The code that a process has mapped, as far as it was noted.
    pub fn code(&self, pid: u32) -> Vec<MappedCode> {
        self.user.code(pid)
    }

    /// Whether it is a string that has the room for one that was cut.
    pub fn may_be_cut(&self, ty: &Type) -> bool {
        matches!(ty, Type::Str(capacity) if *capacity == self.hir.settings.string_bytes())
    }

    /// The value at the start of `bytes`, which hold at least `ty.stored_bytes()`.
    pub fn value(&mut self, ty: &Type, bytes: &[u8], target: &dyn Target, stacks: &StackReader<'_>) -> Value {
        if let Some(mut value) = simple(ty, bytes) {
            let most = self.hir.settings.max_strlen as usize;
            if let Value::Str(text) = &mut value
                && self.may_be_cut(ty)
                && text.len() > most
            {
                text.truncate(most);
                text.extend(self.hir.settings.str_trunc_trailer.bytes());
            }
            return value;
        }
        let first = word(bytes, 0);
        match ty {
            Type::Enum(of) => {
                let types = &self.hir.types;
                let known = || types.enumerators(of).map_or_else(|| target.enumerators(of), <[_]>::to_vec);
                let names = self.enumerators.entry(of.id).or_insert_with(known);
                let name = names.iter().find(|(_, number)| *number == first as i64).map(|(name, _)| name.clone());
                Value::Enum { name, number: first as i64 }
            }
            Type::Shown(shown) => Value::Named { text: self.names.show(shown, first, target), number: first as i64 },
            Type::Inet => Value::Symbol(names::internet(first, bytes.get(8..24).unwrap_or(&[])).into()),
            Type::Stack { user, mode, frames: most } => {
                let pid = user.then(|| word(bytes, 8));
                let mut frames = self.stack(first, pid, stacks);
                if !user && frames.len() > *most as usize {
                    frames = frames[..*most as usize].into();
                }
                if let (StackMode::BuildId, Some(pid)) = (mode, pid) {
                    frames = self.with_build_ids(pid as u32, &frames);
                }
                Value::Stack { frames, mode: *mode, user: *user }
            }
            Type::Symbol { user, part } => {
                let found = match user {
                    true => self.user.resolve(word(bytes, 8) as u32, &[first]),
                    false => self.kernel.resolve(&[first]),
                };
                let text = found.into_iter().next().flatten().and_then(|symbol| match part {
                    SymbolPart::Name => symbol.name,
                    SymbolPart::Module => {
                        symbol.module.as_deref().map(file_name).or_else(|| (!user).then(|| "vmlinux".into()))
                    }
                });
                let number = || if first == 0 { "0".into() } else { format!("{first:#x}").into() };
                Value::Symbol(text.unwrap_or_else(number))
            }
            Type::ProbeName => {
                Value::Symbol(self.hir.sites.get(first as usize).map_or_else(|| "?".into(), |site| site.name.clone()))
            }
            Type::FunctionName => Value::Symbol(
                self.hir.sites.get(first as usize).map_or_else(|| "?".into(), |site| site.function.clone()),
            ),
            Type::ModuleName => Value::Symbol(
                self.hir.sites.get(first as usize).map_or_else(|| "?".into(), |site| site.module().into()),
            ),
            Type::EventName => {
                Value::Symbol(self.hir.sites.get(first as usize).map_or_else(|| "?".into(), |site| site.event().into()))
            }
            Type::Tuple(parts) => {
                let mut at = 0;
                let mut values = Vec::new();
                for part in parts.iter() {
                    values.push(self.value(part, &bytes[at.min(bytes.len())..], target, stacks));
                    at += part.stored_bytes() as usize;
                }
                Value::Tuple(values)
            }
            Type::Record(parts) => {
                let mut at = 0;
                let mut values = Vec::new();
                for (name, part) in parts.iter() {
                    values.push((name.clone(), self.value(part, &bytes[at.min(bytes.len())..], target, stacks)));
                    at += part.stored_bytes() as usize;
                }
                Value::Record(values)
            }
            Type::Struct(_) | Type::Array { .. } => self.plain(ty, bytes, target),
            Type::Void
            | Type::Unknown
            | Type::Bool
            | Type::Int { .. }
            | Type::Timestamp(_)
            | Type::Str(_)
            | Type::Buffer(_)
            | Type::Pointer { .. } => Value::Buffer(bytes.to_vec()),
        }
    }

    /// A value as C lays it out: numbers take no more bytes than they need.
    fn plain(&mut self, ty: &Type, bytes: &[u8], target: &dyn Target) -> Value {
        match ty {
            Type::Struct(of) => {
                let fields = self.hir.types.fields(of).map_or_else(|| target.fields(of), <[_]>::to_vec);
                let mut values = Vec::new();
                for field in &fields {
                    let start = (field.bit_offset / 8) as usize;
                    let value = match field.bit_width {
                        None => self.plain(&field.ty, bytes.get(start..).unwrap_or(&[]), target),
                        Some(width) => {
                            let raw = unaligned(bytes.get(start..).unwrap_or(&[]), 8) >> (field.bit_offset % 8);
                            let unused = 64 - u32::from(width);
                            let number = if field.ty.is_signed() {
                                (raw << unused) as i64 >> unused
                            } else {
                                (raw << unused >> unused) as i64
                            };
                            self.number(&field.ty, number, target)
                        }
                    };
                    match value {
                        // What has no name of its own is reached through the struct around it.
                        Value::Record(inner) if field.name.is_empty() => values.extend(inner),
                        value => values.push((field.name.clone(), value)),
                    }
                }
                Value::Record(values)
            }
            Type::Array { of, len } => {
                let size = of.size() as usize;
                let element = |number: usize| bytes.get(number * size..).unwrap_or(&[]);
                Value::Array((0..*len as usize).map(|number| self.plain(of, element(number), target)).collect())
            }
            Type::Str(capacity) => Value::Str(text(bytes, *capacity)),
            Type::Buffer(length) => Value::Buffer(bytes[..bytes.len().min(*length as usize)].to_vec()),
            _ => {
                let raw = unaligned(bytes, ty.size() as usize);
                let unused = 64 - (ty.size().clamp(1, 8) * 8);
                let number = if ty.is_signed() { (raw << unused) as i64 >> unused } else { raw as i64 };
                self.number(ty, number, target)
            }
        }
    }

    /// A number as its type shows it.
    fn number(&mut self, ty: &Type, number: i64, target: &dyn Target) -> Value {
        self.value(ty, &number.to_le_bytes(), target, &|_| None)
    }

    /// The values that follow one another in a key or a record.
    pub fn values(
        &mut self,
        types: &[Type],
        bytes: &[u8],
        target: &dyn Target,
        stacks: &StackReader<'_>,
    ) -> Vec<Value> {
        let mut at = 0;
        types
            .iter()
            .map(|ty| {
                let value = self.value(ty, &bytes[at.min(bytes.len())..], target, stacks);
                at += ty.stored_bytes() as usize;
                value
            })
            .collect()
    }

    fn stack(&mut self, hash: u64, pid: Option<u64>, stacks: &StackReader<'_>) -> Arc<[Frame]> {
        let key = (hash, pid.unwrap_or(u64::MAX));
        if let Some(frames) = self.stacks.get(&key) {
            return frames.clone();
        }
        let addresses = if hash == 0 { None } else { stacks(hash) }.unwrap_or_default();
        let symbols = match pid {
            None => self.kernel.resolve(&addresses),
            Some(pid) => self.user.resolve(pid as u32, &addresses),
        };
        let frames: Arc<[Frame]> = addresses
            .iter()
            .zip(symbols)
            .skip_while(|(_, symbol)| {
                pid.is_none() && symbol.as_ref().and_then(|symbol| symbol.name.as_deref()).is_some_and(is_own_frame)
            })
            .map(|(address, symbol)| Frame {
                address: *address,
                symbol: symbol.as_ref().map(|symbol| symbol.shown.clone()),
                module: symbol.and_then(|symbol| symbol.module),
                build_id: None,
                line: None,
                is_inlined: false,
            })
            .collect();
        let frames = match pid {
            Some(pid) if self.hir.settings.show_debug_info => self.with_lines(pid as u32, &frames),
            Some(_) | None => frames,
        };
        self.stacks.insert(key, frames.clone());
        frames
    }

    /// The same frames with their lines, and those of inlined functions between them.
    fn with_lines(&mut self, pid: u32, frames: &[Frame]) -> Arc<[Frame]> {
        // All but the first are where a call returns to: the call is before.
        let places: Vec<u64> = frames
            .iter()
            .enumerate()
            .map(|(number, frame)| frame.address.saturating_sub(u64::from(number > 0)))
            .collect();
        let places = self.user.source_places(pid, &places);
        let mut all = Vec::with_capacity(frames.len());
        for (frame, place) in frames.iter().zip(places) {
            all.extend(place.inlined.into_iter().map(|(name, line)| Frame {
                symbol: Some(name.into()),
                line: line.map(Arc::from),
                is_inlined: true,
                ..frame.clone()
            }));
            all.push(Frame { line: place.line.map(Arc::from), ..frame.clone() });
        }
        all.into()
    }

    /// The same frames by their places in the files of a process.
    fn with_build_ids(&mut self, pid: u32, frames: &[Frame]) -> Arc<[Frame]> {
        let addresses: Vec<u64> = frames.iter().map(|frame| frame.address).collect();
        let places = self.user.build_ids(pid, &addresses);
        frames.iter().zip(places).map(|(frame, place)| Frame { build_id: place, ..frame.clone() }).collect()
    }
}

/// A module of the kernel by its name, a file without its directories.
fn file_name(module: &str) -> Arc<str> {
    module.rsplit('/').next().unwrap_or(module).into()
}

/// A number of up to 8 bytes; those that are missing are zero.
fn unaligned(bytes: &[u8], size: usize) -> u64 {
    let mut word = [0; 8];
    let size = size.min(8).min(bytes.len());
    word[..size].copy_from_slice(&bytes[..size]);
    u64::from_le_bytes(word)
}

/// Frames of the program that took the stack and of what called it: a stack begins where the event happened.
fn is_own_frame(name: &str) -> bool {
    ["bpf_prog_", "bpf_trace_run", "__bpf_trace_", "bpf_trampoline_", "__traceiter_", "bpf_loop", "bpf_for_each_"]
        .iter()
        .any(|own| name.starts_with(own))
}
