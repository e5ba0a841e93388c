//! `uprobe` and `uretprobe`: functions of programs and libraries. All sites of one file share one `uprobe_multi` link
//! where the kernel has it: perf-based ones take 100 ms each to end.

mod attach;
mod line;
mod symbol;
mod typed;

pub(crate) use attach::attach;
pub(crate) use symbol::{offsets_of, symbol_named};
pub(crate) use typed::{absence, enumerator_named, struct_names, type_named};

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rtrace_lang::probe::ProbeSpec;
use rtrace_lang::target::{
    Attach, Feature, MultiKind, ProbeSite, ProgramKind, ResolveError, ResolveErrorKind, ResolveOptions, Target,
};

use crate::elf::{Binary, ElfError, Function, Language, Located, near_names, shown_name};

use crate::kernel::system;
use crate::kprobe::{entry_layout, parse_number, return_layout};
use crate::listing::{self, ListedProbe};
use crate::machine::Machine;
use crate::nearest::{near_matches, near_misses};
use crate::provider::{AttachError, Documentation, Link, Provider, is_pattern, no_privilege, not_found, wrong_form};

use line::Line;

pub static UPROBE: Uprobe = Uprobe { is_return: false };
pub static URETPROBE: Uprobe = Uprobe { is_return: true };

pub struct Uprobe {
    is_return: bool,
}

/// What the parts of a specification ask for.
struct Wanted<'a> {
    /// Empty for the executable of the process that is followed.
    target: &'a str,
    function: &'a str,
    /// Bytes into the function.
    offset: u64,
    /// Functions that match a pattern are of this language.
    language: Option<Language>,
    /// Instead of a function.
    line: Option<Line<'a>>,
    /// The part that has the function.
    part: usize,
}

/// Libraries that have become a part of the C library (glibc 2.34), whose functions are found there.
const MERGED: [&str; 5] = ["libpthread", "libdl", "librt", "libutil", "libanl"];
const MERGED_INTO: &str = "libc";

impl Provider for Uprobe {
    fn name(&self) -> &'static str {
        if self.is_return { "uretprobe" } else { "uprobe" }
    }

    fn aliases(&self) -> &'static [&'static str] {
        if self.is_return { &["ur"] } else { &["u"] }
    }

    fn documentation(&self) -> &'static Documentation {
        if self.is_return {
            &Documentation {
                summary: "Fires when a function of a program or library returns, with `retval`.",
                usage: &[
                    "uretprobe:PATH:FUNCTION",
                    "uretprobe:LIBRARY:FUNCTION",
                    "uretprobe:FUNCTION",
                    "pid$target:LIBRARY:FUNCTION:return",
                ],
                example: "uretprobe:libc:malloc { @failed[retval == 0] = count(); }",
            }
        } else {
            &Documentation {
                summary: "Fires when a function of a program or library is entered, with `arg0` to `arg5`, and `args` \
                          where it has debug information.",
                usage: &[
                    "uprobe:PATH:FUNCTION",
                    "uprobe:LIBRARY:FUNCTION",
                    "uprobe:PATH:FUNCTION+OFFSET",
                    "uprobe:PATH:0xADDRESS",
                    "uprobe:PATH@FILE:LINE",
                    "uprobe:PATH@FILE:LINE:COLUMN",
                    "uprobe:FUNCTION",
                    "pid$target:LIBRARY:FUNCTION:entry",
                ],
                example: "uprobe:libc:malloc { @bytes = hist(arg0); }",
            }
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
        let wanted = self.parse(spec, options)?;
        let found = self.sites(machine, &wanted, options);
        if let Err(error) = &found
            && error.kind == ResolveErrorKind::NotFound
            && is_merged(wanted.target)
            && let Ok(sites) = self.sites(machine, &Wanted { target: MERGED_INTO, ..wanted }, options)
        {
            return Ok(sites);
        }
        found
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
        let options = ResolveOptions { uses_arguments: verbose, pid, with_aliases: true, ..ResolveOptions::default() };
        let resolved = |arity| listing::resolved(self, machine, parts, arity, &options);
        let sites = match (parts, pid) {
            ([], None) => resolved(0)?,
            // A script means a function of the process; a listing may mean a file, too.
            ([_], Some(_)) => match resolved(1)? {
                none if none.is_empty() => resolved(2)?,
                found => found,
            },
            _ => resolved(2)?,
        };
        Ok(sites.iter().map(|site| listing::listed(site, verbose)).collect())
    }

    fn attach(
        &self,
        _: &Machine,
        program: BorrowedFd<'_>,
        sites: &[(u64, &ProbeSite)],
    ) -> Result<Vec<Link>, AttachError> {
        attach::attach(program, sites)
    }
}

pub(crate) fn multi_kind(machine: &Machine, options: &ResolveOptions) -> MultiKind {
    let follows = || options.only_pid().is_none() || machine.features().uprobe_multi_follows_process();
    if machine.has(Feature::UprobeMulti) && follows() { MultiKind::UprobeMulti } else { MultiKind::Single }
}

fn is_merged(library: &str) -> bool {
    MERGED
        .iter()
        .any(|merged| library.strip_prefix(merged).is_some_and(|rest| rest.is_empty() || rest.starts_with(".so")))
}

/// A place in a file that a program is attached to.
struct Point {
    /// As the specification, or the symbol table, writes it.
    written: String,
    function: String,
    /// In the file.
    offset: u64,
    /// Where the function is entered, and the kernel waits for its return.
    is_return: bool,
}

impl Uprobe {
    fn sites(
        &self,
        machine: &Machine,
        wanted: &Wanted<'_>,
        options: &ResolveOptions,
    ) -> Result<Vec<ProbeSite>, ResolveError> {
        let located = machine.locate(wanted.target, options.pid).map_err(|error| bad_target(self.name(), &error))?;
        let is_search = is_pattern(wanted.target);
        let multi = multi_kind(machine, options);
        let mut sites = Vec::new();
        let mut first_error = None;
        for file in &located {
            match self.sites_in(machine, file, wanted, options, multi) {
                Ok(found) => sites.extend(found),
                // Of many files, those without such a function are not meant.
                Err(error) if is_search => first_error = first_error.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        match first_error {
            Some(error) if sites.is_empty() => Err(error),
            _ => Ok(sites),
        }
    }

    fn parse<'a>(&self, spec: &'a ProbeSpec, options: &ResolveOptions) -> Result<Wanted<'a>, ResolveError> {
        let mut language = None;
        let (target, function, part) = match spec.parts.as_slice() {
            [function] if options.pid.is_some() => ("", function, 1),
            [target, number, rest @ ..]
                if rest.len() < 2 && line::parse(target, number, rest.first().map(String::as_str)).is_some() =>
            {
                return self.parse_line(target, number, rest.first().map(String::as_str), options);
            }
            [target, function] => (target.as_str(), function, 2),
            // Of a name it does not matter: names are compared demangled.
            [target, word, function] if Language::named(word).is_some() => {
                language = Language::named(word);
                (target.as_str(), function, 3)
            }
            [] => return Err(wrong_form(self, "a program and a function are missing", None)),
            [_] => return Err(wrong_form(self, "only one part", Some(1))),
            [_, _, ..] => return Err(wrong_form(self, "too many parts", Some(3))),
        };
        if target.is_empty() && options.pid.is_none() {
            return Err(wrong_form(self, "a program is missing", Some(1)));
        }
        if target == "*" && options.pid.is_none() {
            let mut error = wrong_form(self, "every program there is", Some(1));
            error.help.push("Name a process with -p to search all that it has mapped.".to_string());
            return Err(error);
        }
        let (function, offset) = match function.rsplit_once('+') {
            // `operator+` and the like are names.
            Some((name, offset)) if parse_number(offset).is_some() => (name, parse_number(offset).unwrap_or_default()),
            Some(_) | None => (function.as_str(), 0),
        };
        if function.is_empty() {
            return Err(wrong_form(self, "a function is missing", Some(part)));
        }
        if self.is_return && offset > 0 {
            return Err(wrong_form(self, "a return has no offset", Some(part)));
        }
        if offset > 0 && is_pattern(function) {
            return Err(wrong_form(self, "an offset needs one function", Some(part)));
        }
        Ok(Wanted { target, function, offset, language, line: None, part })
    }

    fn parse_line<'a>(
        &self,
        target: &'a str,
        number: &'a str,
        column: Option<&str>,
        options: &ResolveOptions,
    ) -> Result<Wanted<'a>, ResolveError> {
        let Some((target, line)) = line::parse(target, number, column) else {
            return Err(wrong_form(self, "no line", Some(2)));
        };
        if self.is_return {
            return Err(wrong_form(self, "a line does not return", Some(2)));
        }
        if target.is_empty() && options.pid.is_none() {
            return Err(wrong_form(self, "a program is missing", Some(1)));
        }
        Ok(Wanted { target, function: "", offset: 0, language: None, line: Some(line), part: 2 })
    }

    fn sites_in(
        &self,
        machine: &Machine,
        file: &Located,
        wanted: &Wanted<'_>,
        options: &ResolveOptions,
        multi: MultiKind,
    ) -> Result<Vec<ProbeSite>, ResolveError> {
        let path = Arc::new(file.path.clone());
        let binary = match Binary::open(&file.path) {
            Ok(binary) => binary,
            Err(ElfError::NotAnElf { .. }) if options.allow_unsafe && wanted.function.starts_with("0x") => {
                return self.in_any_file(file, wanted, options, multi);
            }
            Err(error) => return Err(bad_target(self.name(), &error)),
        };
        // Debug information is opened for scripts that name what it has.
        let layout = |function: &str, offset: u64| {
            let typed = options
                .uses_arguments
                .then(|| typed::layout(machine, &binary, function, offset, self.is_return))
                .flatten();
            typed.unwrap_or_else(if self.is_return { return_layout } else { entry_layout })
        };
        let make = |point: Point| {
            let source = wanted.line.map(|line| format!("@{}", line.file)).unwrap_or_default();
            ProbeSite {
                name: format!("{}:{}{source}:{}", self.name(), file.name.display(), point.written).into(),
                function: if options.mangled_names {
                    point.function.as_str().into()
                } else {
                    shown_name(&point.function).into()
                },
                provider: self.name(),
                program: ProgramKind::Kprobe { multi, user: true },
                layout: layout(&point.function, point.offset),
                selector: None,
                attach: Attach::Uprobe {
                    path: path.clone(),
                    offset: point.offset,
                    is_return: point.is_return,
                    pid: options.only_pid(),
                    semaphore: None,
                },
            }
        };
        Ok(self.points(machine, &binary, file, wanted, options)?.into_iter().map(make).collect())
    }

    /// An offset into a file that is no program: whoever maps it to run it knows what is there.
    fn in_any_file(
        &self,
        file: &Located,
        wanted: &Wanted<'_>,
        options: &ResolveOptions,
        multi: MultiKind,
    ) -> Result<Vec<ProbeSite>, ResolveError> {
        let offset = hexadecimal(self, wanted)?;
        Ok(vec![ProbeSite {
            name: format!("{}:{}:{}", self.name(), file.name.display(), wanted.function).into(),
            function: wanted.function.into(),
            provider: self.name(),
            program: ProgramKind::Kprobe { multi, user: true },
            layout: if self.is_return { return_layout() } else { entry_layout() },
            selector: None,
            attach: Attach::Uprobe {
                path: Arc::new(file.path.clone()),
                offset,
                is_return: self.is_return,
                pid: options.only_pid(),
                semaphore: None,
            },
        }])
    }

    fn points(
        &self,
        machine: &Machine,
        binary: &Binary,
        file: &Located,
        wanted: &Wanted<'_>,
        options: &ResolveOptions,
    ) -> Result<Vec<Point>, ResolveError> {
        if let Some(line) = wanted.line {
            let written = line.column.map_or(line.line.to_string(), |column| format!("{}:{column}", line.line));
            let addresses = line::addresses(machine, binary, line)?;
            let functions = binary.functions_at(&addresses.iter().copied().collect());
            let point = |address: u64| {
                let function = functions.get(&address).map_or("?", |function| &function.name).to_string();
                let offset = binary.file_offset(address)?;
                Some(Point { written: written.clone(), function, offset, is_return: false })
            };
            return Ok(addresses.into_iter().filter_map(point).collect());
        }
        if wanted.function.starts_with("0x") {
            let address = hexadecimal(self, wanted)?;
            let function = binary.function_at(address);
            let offset = self.checked(binary, function.as_ref(), address, wanted, options)?;
            let written = wanted.function.to_string();
            let function = function.map_or_else(|| written.clone(), |function| function.name);
            return Ok(vec![Point { written, function, offset, is_return: self.is_return }]);
        }
        let is_go = self.is_return && binary.is_go();
        if is_pattern(wanted.function) {
            return self.matching(binary, wanted, is_go, options.with_aliases);
        }
        if binary.is_chosen_at_start(wanted.function) {
            return Err(chosen_at_start(file, wanted));
        }
        let functions = binary.functions_named(wanted.function);
        let Some(function) = functions.first() else { return Err(no_such_function(self, binary, file, wanted)) };
        if wanted.offset > 0 {
            let address = function.address.saturating_add(wanted.offset);
            let offset = self.checked(binary, Some(function), address, wanted, options)?;
            let written = format!("{}+{}", wanted.function, wanted.offset);
            return Ok(vec![Point { written, function: function.name.clone(), offset, is_return: false }]);
        }
        // Overloads share a demangled name, and parts of a program may have functions of one name.
        let mut places: Vec<(u64, bool, &str)> = Vec::new();
        for function in &functions {
            let offsets = self.offsets(binary, function, is_go).into_iter();
            places.extend(offsets.map(|(offset, is_return)| (offset, is_return, &*function.name)));
        }
        places.sort_unstable();
        places.dedup_by_key(|(offset, ..)| *offset);
        if places.is_empty() {
            let message = format!("where `{}` returns can't be found in its code", wanted.function);
            let mut error = not_found(message, &[], Some(wanted.part));
            error.help.push("The kernel's own probes of returns crash programs of Go, which this one is.".to_string());
            return Err(error);
        }
        let point = |(offset, is_return, function): (u64, bool, &str)| Point {
            written: wanted.function.to_string(),
            function: function.to_string(),
            offset,
            is_return,
        };
        Ok(places.into_iter().map(point).collect())
    }

    /// Where in the file the program is attached for a function, and whether the kernel then waits for its return. Go
    /// moves its stacks, and with them the return addresses that the kernel puts there: its returns are instructions.
    fn offsets(&self, binary: &Binary, function: &Function, is_go: bool) -> Vec<(u64, bool)> {
        if is_go {
            let returns = binary.returns(function).unwrap_or_default();
            return returns.into_iter().filter_map(|at| Some((binary.file_offset(at)?, false))).collect();
        }
        binary.file_offset(function.address).map(|offset| (offset, self.is_return)).into_iter().collect()
    }

    /// All functions that match a pattern, each place once under the plainest of its names that do; or, for listings, under each.
    fn matching(
        &self,
        binary: &Binary,
        wanted: &Wanted<'_>,
        is_go: bool,
        with_aliases: bool,
    ) -> Result<Vec<Point>, ResolveError> {
        let mut by_offset: BTreeMap<(u64, &str), (Point, &Function)> = BTreeMap::new();
        let is_meant = |function: &&Function| {
            wanted.language.is_none_or(|language| Language::of(&function.name) == Some(language))
        };
        for function in binary.functions_matching(wanted.function).into_iter().filter(is_meant) {
            for (offset, is_return) in self.offsets(binary, function, is_go) {
                let name = &function.name;
                let point = || (Point { written: name.clone(), function: name.clone(), offset, is_return }, function);
                match by_offset.entry((offset, if with_aliases { name } else { "" })) {
                    Entry::Occupied(mut known) if function.plainness() < known.get().1.plainness() => {
                        known.insert(point());
                    }
                    Entry::Occupied(_) => {}
                    Entry::Vacant(new) => {
                        new.insert(point());
                    }
                }
            }
        }
        if by_offset.is_empty() {
            let message = format!("no function of {} matches `{}`", binary.path().display(), wanted.function);
            let names = binary.functions().iter().filter(is_meant).map(|function| function.name.as_str());
            let near = near_matches(wanted.function, names, 3);
            let path = binary.path().display();
            let near: Vec<String> = near.iter().map(|name| format!("{}:{path}:{name}", self.name())).collect();
            return Err(not_found(message, &near, Some(wanted.part)));
        }
        let mut points: Vec<Point> = by_offset.into_values().map(|(point, _)| point).collect();
        points.sort_by(|a, b| a.written.cmp(&b.written));
        Ok(points)
    }

    /// The file offset of an address inside a function, if a breakpoint there is safe.
    fn checked(
        &self,
        binary: &Binary,
        function: Option<&Function>,
        address: u64,
        wanted: &Wanted<'_>,
        options: &ResolveOptions,
    ) -> Result<u64, ResolveError> {
        let refuse = |message: String, label: &str, help: &str| ResolveError {
            kind: ResolveErrorKind::Form,
            message,
            label: label.to_string(),
            help: vec![help.to_string()],
            part: Some(wanted.part),
        };
        let Some(offset) = binary.file_offset(address) else {
            let message = format!("{address:#x} is not in the code of {}", binary.path().display());
            return Err(refuse(message, "no code", "Give the address as the file's symbol table would."));
        };
        let allow = "A probe there may break the program; allow it with --unsafe.";
        match function {
            _ if options.allow_unsafe => {}
            None => {
                return Err(refuse(format!("no function has the address {address:#x}"), "outside of functions", allow));
            }
            Some(function) if address >= function.address + function.size && address != function.address => {
                let message = format!("`{}` is only {} bytes long", function.name, function.size);
                return Err(refuse(message, "beyond the function", allow));
            }
            Some(function) if !binary.is_instruction(function, address) => {
                let message = format!("no instruction of `{}` begins there", function.name);
                let mut error = refuse(message, "inside an instruction", allow);
                if let Some((before, next)) = binary.instructions_at(function, address) {
                    let form = |at: u64| {
                        let offset = at - function.address;
                        if offset == 0 {
                            format!("`{}`", function.name)
                        } else {
                            format!("`{}+{offset}`", function.name)
                        }
                    };
                    let nearest =
                        if before == next { form(before) } else { format!("{} and {}", form(before), form(next)) };
                    error.help.insert(0, format!("The nearest that begin are at {nearest}."));
                }
                return Err(error);
            }
            Some(_) => {}
        }
        Ok(offset)
    }
}

/// The address or offset that stands for a function.
fn hexadecimal(provider: &Uprobe, wanted: &Wanted<'_>) -> Result<u64, ResolveError> {
    let number = parse_number(wanted.function);
    number.ok_or_else(|| wrong_form(provider, "no hexadecimal address", Some(wanted.part)))
}

/// Nothing runs under the name itself but the code that chooses, once.
fn chosen_at_start(file: &Located, wanted: &Wanted<'_>) -> ResolveError {
    let function = wanted.function;
    ResolveError {
        kind: ResolveErrorKind::Unsupported,
        message: format!(
            "`{function}` of {} is one of several functions, chosen when a program starts",
            file.name.display()
        ),
        label: "bound to one for this processor (IFUNC)".to_string(),
        help: vec![format!(
            "Name the function that is chosen: `rtrace -l 'uprobe:{}:*{function}*'` lists those that the file has names for; \
             gdb's `info symbol {function}` in a running program tells which it is.",
            file.name.display()
        )],
        part: Some(wanted.part),
    }
}

fn no_such_function(provider: &Uprobe, binary: &Binary, file: &Located, wanted: &Wanted<'_>) -> ResolveError {
    let is_demangled = wanted.function.contains("::");
    let names: Vec<String> = if is_demangled {
        binary.demangled_names()
    } else {
        binary.functions().iter().map(|function| function.name.clone()).collect()
    };
    let near = near_misses(wanted.function, names.iter().map(String::as_str), 3);
    let quote = if is_demangled { "\"" } else { "" };
    let full = |function: &String| format!("{}:{}:{quote}{function}{quote}", provider.name(), file.name.display());
    let near: Vec<String> = near.iter().map(full).collect();
    let message = format!("{} has no function `{}`", file.name.display(), wanted.function);
    let mut error = not_found(message, &near, Some(wanted.part));
    error.label = "no such function".to_string();
    if binary.functions().is_empty() {
        error.help.push("It has no symbols: it is stripped.".to_string());
    }
    error
}

pub(crate) fn bad_target(provider: &str, error: &ElfError) -> ResolveError {
    match error {
        ElfError::File { path, source } if system::is_denied(source) => no_privilege(
            format!("{provider} needs to read {}, which is not permitted", path.display()),
            "the capability CAP_DAC_READ_SEARCH",
            Some(1),
        ),
        ElfError::File { .. } | ElfError::NotFound { .. } | ElfError::Archive { .. } => {
            let mut found = not_found(error.to_string(), &near_names(error), Some(1));
            found.label = "no such file".to_string();
            found.help.push("Give a path, a program on the PATH, or the name of a library (`libc`).".to_string());
            found
        }
        ElfError::NotAnElf { .. } => {
            let mut found = not_found(error.to_string(), &[], Some(1));
            found.kind = ResolveErrorKind::Form;
            found.label = "not a program".to_string();
            found
                .help
                .push("With --unsafe a probe may be at an offset in any file: `0x1234` for a function.".to_string());
            found
        }
    }
}
