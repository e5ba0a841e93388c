//! An object as a relocatable ELF file of the form that libbpf, bpftool and llvm-objdump read. Decides nothing about the
//! programs; never reads a file.
//!
//! What a loader that is not rtrace finds: each program with its type in the name of its section, and every map.
//! Maps that programs address directly (the global data, script maps without keys) are sections of data, which libbpf
//! makes maps of; all others are defined in `.maps`. What such a loader must still do: write the time of the boot clock
//! to byte 8 of `globals` if the script asks for `elapsed`; run programs of the section `raw_tp` itself (BEGIN, END and
//! timers, which are test runs); attach programs whose section names no target, with the cookies that the script's sites
//! need; and read the records and the maps as the manifest says.

use std::collections::BTreeMap;

use object::write::{Object as File, Relocation, SectionId, Symbol, SymbolId, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
};
use rtrace_lang::source::Source;
use rtrace_lang::target::{Attach, MultiKind, ProbeSite, ProgramKind, TracingKind};

use super::btf::{self, Linkage, SectionPart, TypeId, Types};
use super::{MapKind, MapObject, Object, ProgramObject};

/// A 64-bit immediate load takes an address (Documentation/bpf/llvm_reloc.rst).
const R_BPF_64_64: u32 = 1;

/// What the kernel must hear to lend its tracing helpers.
const LICENSE: &[u8] = b"GPL\0";

/// BPF_F_NO_PREALLOC (include/uapi/linux/bpf.h)
const NO_PREALLOC: u32 = 1;

/// The object of that script as a file.
pub fn write(object: &Object, source: &Source) -> Vec<u8> {
    let mut writer = Writer {
        out: File::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little),
        types: Types::default(),
        symbols: Vec::new(),
    };
    let license = writer.out.add_section(Vec::new(), b"license".to_vec(), SectionKind::Data);
    writer.out.append_section_data(license, LICENSE, 1);
    let int = writer.types.int();
    writer.maps(object, int);
    writer.programs(object, int, source);
    let types = writer.types.bytes();
    writer.section_of_bytes(".BTF", &types);
    writer.out.write().expect("all names and sizes are small, and every relocation is one that ELF has")
}

struct Writer {
    out: File<'static>,
    types: Types,
    /// The symbol of each map.
    symbols: Vec<SymbolId>,
}

impl Writer {
    fn section_of_bytes(&mut self, name: &str, bytes: &[u8]) {
        let section = self.out.add_section(Vec::new(), name.as_bytes().to_vec(), SectionKind::Other);
        self.out.append_section_data(section, bytes, 4);
    }

    fn symbol(&mut self, name: &str, kind: SymbolKind, section: SectionId, offset: u64, bytes: u64) -> SymbolId {
        self.out.add_symbol(Symbol {
            name: btf::identifier(name).into_bytes(),
            value: offset,
            size: bytes,
            kind,
            scope: SymbolScope::Dynamic,
            weak: false,
            section: SymbolSection::Section(section),
            flags: SymbolFlags::None,
        })
    }

    fn maps(&mut self, object: &Object, int: TypeId) {
        let word = self.types.unsigned_long();
        let mut section = None;
        let mut parts = Vec::new();
        let mut end = 0;
        for (number, map) in object.maps.iter().enumerate() {
            if is_data(map) {
                let initial = (number as u32 == object.manifest.globals_map).then_some(&object.manifest.globals.bytes);
                self.data(map, initial.map_or(&[], Vec::as_slice), int, word);
                continue;
            }
            let definition = self.definition(map, int);
            let bytes = definition.1 * 8;
            let variable = self.types.variable(&map.name, definition.0);
            parts.push(SectionPart { variable, offset: end, bytes });
            let section =
                *section.get_or_insert_with(|| self.out.add_section(Vec::new(), b".maps".to_vec(), SectionKind::Data));
            self.out.append_section_data(section, &vec![0; bytes as usize], 8);
            let symbol = self.symbol(&map.name, SymbolKind::Data, section, u64::from(end), u64::from(bytes));
            self.symbols.push(symbol);
            end += bytes;
        }
        if !parts.is_empty() {
            self.types.section(".maps", end, &parts);
        }
    }

    /// The struct that tells what a map is, and how many members it has. A number is the length of an array that a
    /// member points to (libbpf's `__uint`).
    fn definition(&mut self, map: &MapObject, int: TypeId) -> (TypeId, u32) {
        let mut numbers = vec![("type", map.kind.number()), ("max_entries", map.entries)];
        if map.key_bytes > 0 {
            numbers.extend([("key_size", map.key_bytes), ("value_size", map.value_bytes)]);
        }
        if map.allocate_on_use {
            numbers.push(("map_flags", NO_PREALLOC));
        }
        let members: Vec<(&str, TypeId)> = numbers
            .iter()
            .map(|(name, number)| {
                let array = self.types.array(int, int, *number);
                (*name, self.types.pointer(array))
            })
            .collect();
        (self.types.struct_of_pointers(&members), members.len() as u32)
    }

    /// A map with one value that programs address directly.
    fn data(&mut self, map: &MapObject, initial: &[u8], int: TypeId, word: TypeId) {
        let mut bytes = initial.to_vec();
        bytes.resize(map.value_bytes as usize, 0);
        let name = format!(".data.{}", btf::identifier(&map.name));
        let section = self.out.add_section(Vec::new(), name.as_bytes().to_vec(), SectionKind::Data);
        self.out.append_section_data(section, &bytes, 8);
        let symbol = self.symbol(&map.name, SymbolKind::Data, section, 0, bytes.len() as u64);
        self.symbols.push(symbol);
        let of = match map.value_bytes / 8 {
            1 => word,
            length => self.types.array(word, int, length),
        };
        let variable = self.types.variable(&map.name, of);
        self.types.section(&name, map.value_bytes, &[SectionPart { variable, offset: 0, bytes: map.value_bytes }]);
    }

    fn programs(&mut self, object: &Object, int: TypeId, source: &Source) {
        let word = self.types.unsigned_long();
        let signatures = self.types.signatures(int, word);
        // Programs of one kind and target share their section, as libbpf expects: each is found by its symbol.
        let mut sections: BTreeMap<String, Vec<&ProgramObject>> = BTreeMap::new();
        for program in &object.programs {
            let sites: Vec<&ProbeSite> =
                program.sites.iter().map(|site| &object.manifest.hir.sites[site.index()]).collect();
            sections.entry(section_name(program.kind, &sites)).or_default().push(program);
        }
        let (mut functions, mut lines) = (btf::words(&[8]), btf::words(&[16]));
        for (name, programs) in sections {
            let section = self.out.add_section(Vec::new(), name.as_bytes().to_vec(), SectionKind::Text);
            let (mut section_functions, mut section_lines) = (Vec::new(), Vec::new());
            for program in programs {
                let start = self.program(program, section) as u32;
                for function in &program.functions {
                    // What helpers call back must not be visible outside.
                    let is_global = function.instruction == 0 || function.is_global;
                    let linkage = if is_global { Linkage::Global } else { Linkage::Static };
                    let number = self.types.function(&function.name, signatures.of(function), linkage).0;
                    section_functions.push([start + function.instruction * 8, number]);
                }
                for mut line in btf::lines(&mut self.types, program, source) {
                    // Bytes in the file, instructions in the kernel.
                    line.0[0] = start + line.0[0] * 8;
                    section_lines.push(line.0);
                }
            }
            let section_name = self.types.section_name(&name);
            functions.extend(btf::words(&[section_name, section_functions.len() as u32]));
            functions.extend(btf::words(section_functions.as_flattened()));
            if !section_lines.is_empty() {
                lines.extend(btf::words(&[section_name, section_lines.len() as u32]));
                lines.extend(btf::words(section_lines.as_flattened()));
            }
        }
        let mut extension = btf::header();
        let (functions_bytes, lines_bytes) = (functions.len() as u32, lines.len() as u32);
        extension.extend(btf::words(&[24, 0, functions_bytes, functions_bytes, lines_bytes]));
        extension.extend(functions);
        extension.extend(lines);
        self.section_of_bytes(".BTF.ext", &extension);
    }

    /// Appends a program to a section; gives its offset.
    fn program(&mut self, program: &ProgramObject, section: SectionId) -> u64 {
        let mut instructions = program.instructions.clone();
        for relocation in &program.relocations {
            let at = relocation.instruction as usize;
            // The register stays; which kind of reference it is the loader sees from the symbol. The number that is
            // added to the symbol's address stands in the first half.
            let offset = if relocation.value { instructions[at + 1] >> 32 } else { 0 };
            instructions[at] = instructions[at] & 0x0fff | offset << 32;
            instructions[at + 1] = 0;
        }
        let bytes: Vec<u8> = instructions.iter().flat_map(|instruction| instruction.to_le_bytes()).collect();
        let start = self.out.append_section_data(section, &bytes, 8);
        self.symbol(&program.name, SymbolKind::Text, section, start, bytes.len() as u64);
        for relocation in &program.relocations {
            let relocation = Relocation {
                offset: start + u64::from(relocation.instruction) * 8,
                symbol: self.symbols[relocation.map as usize],
                addend: 0,
                flags: RelocationFlags::Elf { r_type: R_BPF_64_64 },
            };
            self.out.add_relocation(section, relocation).expect("ELF has this relocation");
        }
        start
    }
}

/// Whether programs address the map's only value directly.
fn is_data(map: &MapObject) -> bool {
    match map.kind {
        MapKind::Array => map.entries == 1,
        MapKind::PerCpuArray
        | MapKind::Hash
        | MapKind::PerCpuHash
        | MapKind::LruHash
        | MapKind::LruPerCpuHash
        | MapKind::TaskStorage
        | MapKind::RingBuffer
        | MapKind::Cgroups
        | MapKind::Programs => false,
    }
}

/// The name by which libbpf knows the type of a program, with the target that it attaches to where one name says it
/// (Documentation/bpf/libbpf/program_types.rst).
fn section_name(kind: ProgramKind, sites: &[&ProbeSite]) -> String {
    let returns = sites.first().is_some_and(|site| match &site.attach {
        Attach::Kprobe { is_return, .. } | Attach::Uprobe { is_return, .. } => *is_return,
        Attach::Begin
        | Attach::End
        | Attach::Trial(_)
        | Attach::Timer { .. }
        | Attach::Signal { .. }
        | Attach::Tracepoint { .. }
        | Attach::RawTracepoint { .. }
        | Attach::Trampoline
        | Attach::Iterator { .. }
        | Attach::PerfEvent { .. }
        | Attach::Watchpoint { .. } => false,
    });
    let r = if returns { "ret" } else { "" };
    let (prefix, target) = match kind {
        ProgramKind::TestRun => ("raw_tp".to_string(), None),
        ProgramKind::Kprobe { multi: MultiKind::Single, user: false } => {
            (format!("k{r}probe"), common(sites, function))
        }
        ProgramKind::Kprobe { multi: MultiKind::Single, user: true } => (format!("u{r}probe"), None),
        ProgramKind::Kprobe { multi: MultiKind::KprobeMulti, user: _ } => {
            (format!("k{r}probe.multi"), common(sites, function))
        }
        ProgramKind::Kprobe { multi: MultiKind::KprobeSession, user: _ } => {
            ("kprobe.session".to_string(), common(sites, function))
        }
        ProgramKind::Kprobe { multi: MultiKind::UprobeMulti, user: _ } => (format!("u{r}probe.multi"), None),
        ProgramKind::Tracepoint => ("tracepoint".to_string(), common(sites, event_path)),
        ProgramKind::RawTracepoint => ("raw_tp".to_string(), common(sites, raw_event)),
        ProgramKind::Tracing { attach: TracingKind::RawTracepoint, btf_id: _ } => {
            ("tp_btf".to_string(), common(sites, raw_event))
        }
        ProgramKind::Tracing { attach: TracingKind::Fentry, btf_id: _ } => {
            ("fentry".to_string(), common(sites, |site| Some(site.function.to_string())))
        }
        ProgramKind::Tracing { attach: TracingKind::Fexit, btf_id: _ } => {
            ("fexit".to_string(), common(sites, |site| Some(site.function.to_string())))
        }
        ProgramKind::Tracing { attach: TracingKind::Iterator, btf_id: _ } => {
            ("iter".to_string(), common(sites, |site| Some(site.function.to_string())))
        }
        ProgramKind::PerfEvent => ("perf_event".to_string(), None),
    };
    match target {
        Some(target) => format!("{prefix}/{target}"),
        None => prefix,
    }
}

/// What all sites agree on.
fn common(sites: &[&ProbeSite], of: impl Fn(&ProbeSite) -> Option<String>) -> Option<String> {
    let first = of(sites.first()?)?;
    sites.iter().all(|site| of(site).as_ref() == Some(&first)).then_some(first)
}

fn function(site: &ProbeSite) -> Option<String> {
    match &site.attach {
        Attach::Kprobe { function, offset: 0, .. } => Some(function.to_string()),
        // libbpf takes an offset at the entry only.
        Attach::Kprobe { function, offset, is_return: false, is_matched: _ } => Some(format!("{function}+{offset}")),
        Attach::Kprobe { .. }
        | Attach::Begin
        | Attach::End
        | Attach::Trial(_)
        | Attach::Timer { .. }
        | Attach::Signal { .. }
        | Attach::Uprobe { .. }
        | Attach::Tracepoint { .. }
        | Attach::RawTracepoint { .. }
        | Attach::Trampoline
        | Attach::Iterator { .. }
        | Attach::PerfEvent { .. }
        | Attach::Watchpoint { .. } => None,
    }
}

fn raw_event(site: &ProbeSite) -> Option<String> {
    match &site.attach {
        Attach::RawTracepoint { event } => Some(event.to_string()),
        Attach::Begin
        | Attach::End
        | Attach::Trial(_)
        | Attach::Timer { .. }
        | Attach::Signal { .. }
        | Attach::Kprobe { .. }
        | Attach::Uprobe { .. }
        | Attach::Tracepoint { .. }
        | Attach::Trampoline
        | Attach::Iterator { .. }
        | Attach::PerfEvent { .. }
        | Attach::Watchpoint { .. } => None,
    }
}

/// `category/event`, from the site's full name.
fn event_path(site: &ProbeSite) -> Option<String> {
    let (category, event) = site.name.strip_prefix("tracepoint:")?.split_once(':')?;
    Some(format!("{category}/{event}"))
}
