//! `usdt`: probes that programs and libraries define themselves, and describe in `.note.stapsdt`. Where they are and what
//! arguments they have is read from the file; attaching is that of uprobes, with the semaphore as the reference counter.

mod operand;

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use object::Architecture;
use rtrace_lang::probe::{ProbeSpec, wildcard_match};
use rtrace_lang::target::{
    Absence, Argument, Attach, Layout, Location, ProbeSite, ProgramKind, ResolveError, ResolveErrorKind,
    ResolveOptions, UserAddress,
};
use rtrace_lang::types::Type;

use crate::elf::{Binary, Located, Note};
use crate::listing::{self, ListedProbe};
use crate::machine::Machine;
use crate::nearest::near_misses;
use crate::provider::{AttachError, Documentation, Link, Provider, is_pattern, not_found, wrong_form};
use crate::uprobe;

use operand::{ARM64_INSTRUCTION_POINTER, Assembler, Operand, Place, X86_INSTRUCTION_POINTER};

pub static USDT: Usdt = Usdt;

pub struct Usdt;

/// What the parts of a specification ask for.
struct Wanted<'a> {
    target: &'a str,
    namespace: &'a str,
    name: &'a str,
    /// The part that has the name.
    part: usize,
}

impl Wanted<'_> {
    fn matches(&self, note: &Note) -> bool {
        let matches_name = wildcard_match(self.name, &note.name);
        // D writes `query-start`, and the notes have `query__start`.
        let as_in_d = || self.name.contains('-') && wildcard_match(&self.name.replace('-', "__"), &note.name);
        wildcard_match(self.namespace, &note.namespace) && (matches_name || as_in_d())
    }
}

impl Provider for Usdt {
    fn name(&self) -> &'static str {
        "usdt"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["U"]
    }

    fn documentation(&self) -> &'static Documentation {
        &Documentation {
            summary: "Fires at a place that a program or library itself has marked as a probe (`<sys/sdt.h>`), with its \
                      arguments as `arg0`, `arg1`, ...",
            usage: &[
                "usdt:PATH:NAME",
                "usdt:PATH:NAMESPACE:NAME",
                "usdt:LIBRARY:NAME",
                "usdt:*:NAME",
                "usdt:NAMESPACE:NAME",
                "usdt:NAME",
            ],
            example: "usdt:/usr/bin/python3:function__return { @[str(arg1)] = count(); }",
        }
    }

    fn has_kernel_points(&self) -> bool {
        false
    }

    fn resolve(
        &self,
        machine: &Machine,
        spec: &ProbeSpec,
        options: &ResolveOptions,
    ) -> Result<Vec<ProbeSite>, ResolveError> {
        let (wanted, located) = self.find_files(machine, spec, options.pid)?;
        let is_search = is_pattern(wanted.target);
        let mut sites = Vec::new();
        let mut others = Vec::new();
        for file in &located {
            let binary = match Binary::open(&file.path) {
                Ok(binary) => binary,
                Err(_) if is_search => continue,
                Err(error) => return Err(uprobe::bad_target(self.name(), &error)),
            };
            let notes = binary.notes();
            sites.extend(self.sites_in(machine, file, &binary, &notes, &wanted, options));
            if sites.is_empty() {
                others.extend(notes.into_iter().map(|note| (file.clone(), note)));
            }
        }
        if sites.is_empty() { Err(self.no_such_probe(&wanted, &located, &others)) } else { Ok(sites) }
    }

    fn list(&self, machine: &Machine, parts: &[String], verbose: bool) -> Result<Vec<ListedProbe>, ResolveError> {
        self.list_of_process(machine, parts, verbose, None)
    }

    fn list_of_process(
        &self,
        machine: &Machine,
        parts: &[String],
        verbose: bool,
        pid: Option<u32>,
    ) -> Result<Vec<ListedProbe>, ResolveError> {
        let arity = match (parts.len(), pid) {
            (0, None) => 0,
            (_, Some(_)) => 1,
            (_, None) => 2,
        };
        let sites =
            listing::resolved(self, machine, parts, arity, &ResolveOptions { pid, ..ResolveOptions::default() })?;
        Ok(sites.iter().map(|site| listing::listed(site, verbose)).collect())
    }

    fn attach(
        &self,
        _: &Machine,
        program: BorrowedFd<'_>,
        sites: &[(u64, &ProbeSite)],
    ) -> Result<Vec<Link>, AttachError> {
        uprobe::attach(program, sites)
    }
}

impl Usdt {
    /// What is wanted, and the files that may have it.
    fn find_files<'a>(
        &self,
        machine: &Machine,
        spec: &'a ProbeSpec,
        pid: Option<u32>,
    ) -> Result<(Wanted<'a>, Vec<Located>), ResolveError> {
        let wanted = self.parse(spec, pid)?;
        let missing = match machine.locate(wanted.target, pid) {
            Ok(located) => return Ok((wanted, located)),
            Err(error) => uprobe::bad_target(self.name(), &error),
        };
        // Of a process the file may be left out: then the first part is the namespace.
        if let ([namespace, name], Some(_)) = (spec.parts.as_slice(), pid)
            && !namespace.contains('/')
            && let Ok(located) = machine.locate("*", pid)
        {
            return Ok((Wanted { target: "*", namespace, name, part: 2 }, located));
        }
        Err(missing)
    }

    fn parse<'a>(&self, spec: &'a ProbeSpec, pid: Option<u32>) -> Result<Wanted<'a>, ResolveError> {
        let any = |text: &'a str| if text.is_empty() { "*" } else { text };
        let wanted = match spec.parts.as_slice() {
            [name] if pid.is_some() => Wanted { target: "*", namespace: "*", name, part: 1 },
            [target, name] => Wanted { target, namespace: "*", name, part: 2 },
            [target, namespace, name] => Wanted { target, namespace: any(namespace), name, part: 3 },
            [] => return Err(wrong_form(self, "a program and a name are missing", None)),
            [_] => return Err(wrong_form(self, "only one part", Some(1))),
            [_, _, _, ..] => return Err(wrong_form(self, "too many parts", Some(4))),
        };
        if wanted.name.is_empty() {
            return Err(wrong_form(self, "a name is missing", Some(wanted.part)));
        }
        if pid.is_none() && matches!(wanted.target, "" | "*") {
            let label = if wanted.target.is_empty() { "a program is missing" } else { "every program there is" };
            let mut error = wrong_form(self, label, Some(1));
            error.help.push("Name a process with -p to search all that it has mapped.".to_string());
            return Err(error);
        }
        Ok(Wanted { target: any(wanted.target), ..wanted })
    }

    fn sites_in(
        &self,
        machine: &Machine,
        file: &Located,
        binary: &Binary,
        notes: &[Note],
        wanted: &Wanted<'_>,
        options: &ResolveOptions,
    ) -> Vec<ProbeSite> {
        let path = Arc::new(file.path.clone());
        let multi = uprobe::multi_kind(machine, options);
        let mut layouts: HashMap<Layout, Arc<Layout>> = HashMap::new();
        let mut sites = Vec::new();
        let notes: Vec<&Note> = notes.iter().filter(|note| wanted.matches(note)).collect();
        let functions = binary.functions_at(&notes.iter().map(|note| note.address).collect());
        for note in notes {
            let Some(offset) = binary.file_offset(note.address) else { continue };
            let layout = layout(binary, note);
            let shared = layouts.entry(layout).or_insert_with_key(|layout| Arc::new(layout.clone()));
            let function = functions.get(&note.address).map_or(&*note.name, |function| &function.name);
            sites.push(ProbeSite {
                name: format!("usdt:{}:{}:{}", file.name.display(), note.namespace, note.name).into(),
                function: function.into(),
                provider: self.name(),
                program: ProgramKind::Kprobe { multi, user: true },
                layout: shared.clone(),
                selector: None,
                attach: Attach::Uprobe {
                    path: path.clone(),
                    offset,
                    is_return: false,
                    pid: options.only_pid(),
                    semaphore: note.semaphore.and_then(|address| binary.data_offset(address)),
                },
            });
        }
        sites
    }

    fn no_such_probe(&self, wanted: &Wanted<'_>, located: &[Located], others: &[(Located, Note)]) -> ResolveError {
        let files = match located {
            [file] => file.name.display().to_string(),
            _ => format!("what matches `{}`", wanted.target),
        };
        if others.is_empty() {
            let mut error = not_found(format!("{files} has no USDT probes"), &[], Some(1));
            error.label = "none in there".to_string();
            error.help = vec![
                "Programs have them if they were built with them; those of a library are in the library's file."
                    .to_string(),
                "With -p, `usdt:*:NAME` searches all that a process has mapped.".to_string(),
            ];
            return error;
        }
        let what = if is_pattern(wanted.name) || is_pattern(wanted.namespace) && wanted.namespace != "*" {
            format!("no USDT probe of {files} matches `{}`", wanted.name)
        } else if wanted.namespace == "*" {
            format!("{files} has no USDT probe `{}`", wanted.name)
        } else {
            format!("{files} has no USDT probe `{}:{}`", wanted.namespace, wanted.name)
        };
        let sought = wanted.name.replace('-', "__");
        let names = others.iter().map(|(_, note)| note.name.as_str());
        let near = near_misses(&sought, names, 3);
        let full = |name: &String| {
            let (file, note) = others.iter().find(|(_, note)| note.name == *name)?;
            Some(format!("usdt:{}:{}:{}", file.name.display(), note.namespace, note.name))
        };
        let near: Vec<String> = near.iter().filter_map(full).collect();
        let mut error = not_found(what, &near, Some(wanted.part));
        if near.is_empty() {
            let mut names: Vec<&str> = others.iter().map(|(_, note)| note.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            const MOST: usize = 12;
            let more = if names.len() > MOST { ", ..." } else { "" };
            names.truncate(MOST);
            error.help.push(format!("Its probes: {}{more}.", names.join(", ")));
        }
        debug_assert_eq!(error.kind, ResolveErrorKind::NotFound);
        error
    }
}

fn assembler(binary: &Binary) -> Option<Assembler> {
    match binary.architecture() {
        Architecture::X86_64 | Architecture::I386 | Architecture::X86_64_X32 => Some(Assembler::X86),
        Architecture::Aarch64 => Some(Assembler::Arm64),
        _ => None,
    }
}

fn operands(binary: &Binary, note: &Note) -> Vec<Operand> {
    assembler(binary).map_or_else(Vec::new, |assembler| operand::operands(assembler, &note.arguments))
}

/// The arguments that can be read.
fn layout(binary: &Binary, note: &Note) -> Layout {
    let mut registers = Vec::new();
    for (index, operand) in operands(binary, note).into_iter().enumerate() {
        let ty = Type::Int { bytes: operand.bytes, signed: operand.signed };
        if let Ok(at) = location(binary, note, operand.place) {
            registers.push(Argument { name: format!("arg{index}").into(), ty, at });
        }
    }
    Layout { registers, ..Layout::default() }
}

/// Where an argument is when the probe fires, or why that can't be told.
fn location(binary: &Binary, note: &Note, place: Place) -> Result<Location, String> {
    match place {
        Place::Constant(value) => {
            Ok(Location::UserAddress(UserAddress { displacement: value, ..UserAddress::default() }))
        }
        Place::Register(offset) => Ok(Location::Context { offset }),
        Place::Memory(address) => Ok(Location::UserMemory(address)),
        Place::Unavailable(reason) => Err(reason),
        Place::Symbol { name, address } => {
            let Some(symbol) = binary.symbol(&name) else {
                return Err(format!("is at `{name}`, which the symbol table does not have"));
            };
            let displacement = address.displacement.wrapping_add(symbol.address as i64);
            if !binary.is_relocatable() {
                return Ok(Location::UserMemory(UserAddress { displacement, ..address }));
            }
            if address.base.is_some() || address.index.is_some() {
                return Err(format!("is at an address that is computed from `{name}`, which is loaded anywhere"));
            }
            // The instruction pointer says where the file is loaded.
            let base = match assembler(binary) {
                Some(Assembler::X86) | None => X86_INSTRUCTION_POINTER,
                Some(Assembler::Arm64) => ARM64_INSTRUCTION_POINTER,
            };
            let displacement = displacement.wrapping_sub(note.address as i64);
            Ok(Location::UserMemory(UserAddress { base: Some(base), index: None, displacement }))
        }
    }
}

/// Why a site has no argument of that name.
pub(crate) fn absence(site: &ProbeSite, argument: Option<&str>) -> Option<Absence> {
    let Attach::Uprobe { path, offset, .. } = &site.attach else { return None };
    let binary = Binary::open(path).ok()?;
    let event = site.event();
    let is_here = |note: &Note| note.name == event && binary.file_offset(note.address) == Some(*offset);
    let note = binary.notes().into_iter().find(is_here)?;
    let operands = operands(&binary, &note);
    let count = match operands.len() {
        0 => "no arguments".to_string(),
        1 => "one argument, arg0".to_string(),
        count => format!("the arguments arg0 to arg{}", count - 1),
    };
    let number = argument.and_then(|name| name.strip_prefix("arg")?.parse::<usize>().ok());
    let Some(number) = number else {
        let message = "the arguments of usdt probes have no names".to_string();
        return Some(Absence { message, help: format!("`{event}` has {count}") });
    };
    let Some(operand) = operands.into_iter().nth(number) else {
        let message = format!("`{event}` has no arg{number}");
        return Some(Absence { message, help: format!("it has {count}") });
    };
    let reason = location(&binary, &note, operand.place).err()?;
    let message = format!("arg{number} of `{event}` is not available: it {reason}");
    Some(Absence { message, help: format!("its arguments are described as `{}`", note.arguments) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtrace_lang::span::Span;

    fn parse(text: &str, pid: Option<u32>) -> Result<[String; 3], ResolveErrorKind> {
        let spec = ProbeSpec::parse(text, Span::default());
        let wanted = USDT.parse(&spec, pid).map_err(|error| error.kind)?;
        Ok([wanted.target, wanted.namespace, wanted.name].map(str::to_string))
    }

    #[test]
    fn forms() {
        let of = |parts: [&str; 3]| Ok(parts.map(str::to_string));
        assert_eq!(parse("usdt:/bin/app:start", None), of(["/bin/app", "*", "start"]));
        assert_eq!(parse("usdt:/bin/app:ns:start", None), of(["/bin/app", "ns", "start"]));
        assert_eq!(parse("U:/bin/app::start", None), of(["/bin/app", "*", "start"]));
        assert_eq!(parse("usdt:*:start", Some(1)), of(["*", "*", "start"]));
        assert_eq!(parse("usdt::ns:start", Some(1)), of(["*", "ns", "start"]));
        assert_eq!(parse("usdt:start", Some(1)), of(["*", "*", "start"]));
        for wrong in ["usdt", "usdt:x", "usdt:/bin/app:", "usdt:*:x", "usdt::x", "usdt:a:b:c:d"] {
            assert_eq!(parse(wrong, None), Err(ResolveErrorKind::Form), "{wrong}");
        }
    }

    #[test]
    fn names_as_in_d() {
        let note = Note {
            namespace: "postgresql".to_string(),
            name: "query__start".to_string(),
            address: 0,
            semaphore: None,
            arguments: String::new(),
        };
        let matches = |name| Wanted { target: "", namespace: "*", name, part: 2 }.matches(&note);
        assert!(matches("query__start") && matches("query-start") && matches("query-*") && matches("*"));
        assert!(!matches("query_start") && !matches("query-done"));
    }
}
