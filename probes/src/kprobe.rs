//! `kprobe` and `kretprobe`: the entry and the return of nearly any kernel function. Many functions share one
//! `kprobe_multi` link where the kernel has it. On a kernel without kprobes an fentry program stands in as long as the
//! clause reads no registers, and otherwise the message names what exists instead.

mod absent;
mod missing;

pub(crate) use missing::{no_such_module, untraceable};

use std::ffi::CString;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, LazyLock};

use rtrace_lang::probe::{ProbeSpec, wildcard_match};
use rtrace_lang::target::{
    Argument, Attach, Feature, Layout, Location, MultiKind, ProbeSite, ProgramKind, ResolveError, ResolveOptions,
    Target,
};
use rtrace_lang::types::Type;

use crate::fentry::{self, FENTRY, FEXIT};
use crate::kernel::KernelError;
use crate::kernel::bpf::{self, KprobeTargets};
use crate::kernel::btf::{Kind, Parameter};
use crate::kernel::functions::ListedFunction;
use crate::kernel::perf::{self, PerfKind, PerfScope};
use crate::kernel::symbols;
use crate::listing::{self, ListedProbe};
use crate::machine::Machine;
use crate::provider::{AttachError, Documentation, Link, Provider, full_name, is_pattern, link_perf_event, wrong_form};

pub static KPROBE: Kprobe = Kprobe { is_return: false };
pub static KRETPROBE: Kprobe = Kprobe { is_return: true };

/// Where a function's first six arguments are in `struct pt_regs`: di si dx cx r8 r9 (arch/x86/include/asm/ptrace.h).
pub(crate) const ARGUMENT_OFFSETS: [u32; 6] = [112, 104, 96, 88, 72, 64];

/// Bytes of the longest mark that a function begins with.
const LARGEST_MARK: u64 = 16;

/// Where its return value is: ax.
pub(crate) const RETURN_OFFSET: u32 = 80;

pub struct Kprobe {
    is_return: bool,
}

/// What the parts of a specification ask for.
struct Wanted<'a> {
    module: Option<&'a str>,
    function: &'a str,
    /// Bytes into the function.
    offset: u64,
    /// The part that has the function.
    part: usize,
}

impl Wanted<'_> {
    fn is_pattern(&self) -> bool {
        is_pattern(self.function) || self.module.is_some_and(is_pattern)
    }
}

impl Provider for Kprobe {
    fn name(&self) -> &'static str {
        if self.is_return { "kretprobe" } else { "kprobe" }
    }

    fn aliases(&self) -> &'static [&'static str] {
        if self.is_return { &["kr"] } else { &["k"] }
    }

    fn documentation(&self) -> &'static Documentation {
        if self.is_return {
            &Documentation {
                summary: "Fires when a kernel function returns, with `retval`.",
                usage: &["kretprobe:FUNCTION", "kretprobe:MODULE:FUNCTION"],
                example: "kretprobe:vfs_read { @bytes = hist(retval); }",
            }
        } else {
            &Documentation {
                summary: "Fires when a kernel function is entered, with `arg0` to `arg5` and `args.NAME`.",
                usage: &["kprobe:FUNCTION", "kprobe:MODULE:FUNCTION", "kprobe:FUNCTION+OFFSET", "kprobe:0xADDRESS"],
                example: "kprobe:vfs_read { @[comm] = count(); }",
            }
        }
    }

    fn resolve(
        &self,
        machine: &Machine,
        spec: &ProbeSpec,
        options: &ResolveOptions,
    ) -> Result<Vec<ProbeSite>, ResolveError> {
        let wanted = self.parse(spec)?;
        if !machine.has(Feature::Kprobes) {
            return absent::stand_in(self, machine, &wanted, options);
        }
        if let Some(address) = parse_address(wanted.function) {
            return self.at_address(spec, address, options);
        }
        if wanted.is_pattern() {
            return self.matching(machine, &wanted, options);
        }
        // One that needs no perf event, where those are refused.
        let is_plain = wanted.module.is_none() && wanted.offset == 0;
        let multi = match is_plain && machine.privileges().lacks_perf_events() && machine.has(Feature::KprobeMulti) {
            true => MultiKind::KprobeMulti,
            false => MultiKind::Single,
        };
        if !exists(machine, wanted.module, wanted.function) {
            let parts = compiled_parts(machine, wanted.function);
            if parts.is_empty() || wanted.offset > 0 {
                return Err(missing::no_such_function(self, machine, &wanted));
            }
            let site = |part: &str| {
                let name = format!("{}:{part}", self.name());
                self.site(machine, &wanted, part, name, multi, options)
            };
            return Ok(parts.into_iter().map(site).collect());
        }
        let name = format!("{}:{}", self.name(), spec.parts.join(":"));
        // Where the kernel itself has none of that name the list is read.
        let is_of_kernel = || machine.has_kernel_function(wanted.function);
        let listed = || if is_of_kernel() { None } else { module_of(machine, wanted.function) };
        let module = wanted.module.or_else(listed);
        let wanted = Wanted { module, ..wanted };
        let site = self.site(machine, &wanted, wanted.function, name, multi, options);
        Ok(vec![site])
    }

    fn list(&self, machine: &Machine, parts: &[String], verbose: bool) -> Result<Vec<ListedProbe>, ResolveError> {
        let spec = listing::specification(self, parts, 1);
        let wanted = self.parse(&spec)?;
        if !machine.has(Feature::Kprobes) {
            return absent::list(self, machine, &wanted, parts);
        }
        if verbose || !wanted.is_pattern() {
            return listing::by_resolving(self, machine, parts, 1, verbose);
        }
        // The sites of all functions would take five times the memory of their names.
        let names =
            self.matches(machine, &wanted).into_iter().map(|(name, module)| full_name(self.name(), module, name));
        Ok(names.map(ListedProbe::named).collect())
    }

    fn attach(
        &self,
        machine: &Machine,
        program: BorrowedFd<'_>,
        sites: &[(u64, &ProbeSite)],
    ) -> Result<Vec<Link>, AttachError> {
        let Some((_, first)) = sites.first() else { return Ok(Vec::new()) };
        match first.program {
            ProgramKind::Kprobe { multi: MultiKind::KprobeMulti | MultiKind::KprobeSession, user: _ } => {
                self.attach_multi(machine, program, sites)
            }
            ProgramKind::Kprobe { multi: MultiKind::Single | MultiKind::UprobeMulti, user: _ } => {
                let links = sites.iter().map(|(cookie, site)| attach_single(machine, program, *cookie, site));
                Ok(links.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
            }
            ProgramKind::Tracing { .. } => fentry::attach_trampolines(machine, program, sites),
            ProgramKind::TestRun | ProgramKind::Tracepoint | ProgramKind::RawTracepoint | ProgramKind::PerfEvent => {
                Ok(Vec::new())
            }
        }
    }
}

impl Kprobe {
    fn parse<'a>(&self, spec: &'a ProbeSpec) -> Result<Wanted<'a>, ResolveError> {
        let (module, function, part) = match spec.parts.as_slice() {
            [function] => (None, function, 1),
            [module, function] => (Some(module.as_str()), function, 2),
            [] => return Err(wrong_form(self, "a function is missing", None)),
            [_, _, ..] => return Err(wrong_form(self, "too many parts", Some(3))),
        };
        let (function, offset) = match function.split_once('+') {
            None => (function.as_str(), 0),
            Some((function, offset)) => match parse_number(offset) {
                Some(offset) => (function, offset),
                None => return Err(wrong_form(self, "no offset in bytes", Some(part))),
            },
        };
        if function.is_empty() || module.is_some_and(str::is_empty) {
            return Err(wrong_form(self, "a name is missing", Some(part)));
        }
        if self.is_return && offset > 0 {
            return Err(wrong_form(self, "a return has no offset", Some(part)));
        }
        if offset > 0 && is_pattern(function) {
            return Err(wrong_form(self, "an offset needs one function", Some(part)));
        }
        Ok(Wanted { module, function, offset, part })
    }

    fn at_address(
        &self,
        spec: &ProbeSpec,
        address: u64,
        options: &ResolveOptions,
    ) -> Result<Vec<ProbeSite>, ResolveError> {
        if !options.allow_unsafe {
            let mut error = wrong_form(self, "an address", Some(spec.parts.len()));
            error.message = "a probe at a bare address can crash the kernel".to_string();
            error.help = vec!["Allow it with --unsafe.".to_string()];
            return Err(error);
        }
        Ok(vec![ProbeSite {
            name: format!("{}:{}", self.name(), spec.parts.join(":")).into(),
            function: function_at(address).unwrap_or_else(|| format!("{address:#x}")).into(),
            provider: self.name(),
            program: ProgramKind::Kprobe { multi: MultiKind::Single, user: false },
            layout: if self.is_return { return_layout() } else { entry_layout() },
            selector: None,
            attach: Attach::Kprobe {
                function: "".into(),
                offset: address,
                is_return: self.is_return,
                is_matched: false,
            },
        }])
    }

    /// All functions that match a pattern, each with the module that it is asked for by; sorted.
    fn matches<'a>(&self, machine: &'a Machine, wanted: &Wanted<'a>) -> Vec<(&'a str, Option<&'a str>)> {
        let is_meant = |name: &&str| wildcard_match(wanted.function, name) && !machine.is_blacklisted(name);
        let is_of_module = |module: Option<&str>| {
            wanted.module.is_none_or(|wanted| wildcard_match(wanted, module.unwrap_or("vmlinux")))
        };
        let mut found: Vec<(&str, Option<&str>)> = match (machine.traceable_set(), wanted.module) {
            (Some(list), Some(_)) => {
                let functions = list.functions().filter(|function| is_of_module(function.module));
                let named = functions.map(|function| (function.name, Some(function.module.unwrap_or(KERNEL))));
                named.filter(|(name, _)| is_meant(name)).collect()
            }
            (Some(_) | None, module) => function_names(machine).filter(is_meant).map(|name| (name, module)).collect(),
        };
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The sites of all functions that match a pattern.
    fn matching(
        &self,
        machine: &Machine,
        wanted: &Wanted<'_>,
        options: &ResolveOptions,
    ) -> Result<Vec<ProbeSite>, ResolveError> {
        // Addresses are what many functions are attached by: with them one list does.
        machine.traceable_addresses();
        let found = self.matches(machine, wanted);
        if found.is_empty() {
            return Err(missing::nothing_matches(self, machine, wanted));
        }
        // The kernel takes many functions by names alone.
        let is_multi = found.len() > 1 && wanted.module.is_none() && machine.has(Feature::KprobeMulti);
        let multi = if is_multi { MultiKind::KprobeMulti } else { MultiKind::Single };
        let site = |(name, module): (&str, Option<&str>)| {
            let full = full_name(self.name(), module, name);
            let of_module = module.or_else(|| module_of(machine, name));
            let wanted = Wanted { module: of_module, ..*wanted };
            let mut site = self.site(machine, &wanted, name, full, multi, options);
            if let Attach::Kprobe { is_matched, .. } = &mut site.attach {
                *is_matched = true;
            }
            site
        };
        Ok(found.into_iter().map(site).collect())
    }

    fn site(
        &self,
        machine: &Machine,
        wanted: &Wanted<'_>,
        function: &str,
        name: String,
        multi: MultiKind,
        options: &ResolveOptions,
    ) -> ProbeSite {
        let layout = if self.is_return {
            return_layout()
        } else if options.uses_arguments && wanted.offset == 0 {
            with_arguments(machine, wanted.module, function)
        } else {
            entry_layout()
        };
        let function: Arc<str> = function.into();
        ProbeSite {
            name: name.into(),
            function: function.clone(),
            provider: self.name(),
            program: ProgramKind::Kprobe { multi, user: false },
            layout,
            selector: None,
            attach: Attach::Kprobe {
                function: symbol(wanted.module, function),
                offset: wanted.offset,
                is_return: self.is_return,
                is_matched: false,
            },
        }
    }

    fn attach_multi(
        &self,
        machine: &Machine,
        program: BorrowedFd<'_>,
        sites: &[(u64, &ProbeSite)],
    ) -> Result<Vec<Link>, AttachError> {
        // A session has the returns of the same functions behind their entries.
        let is_entry = |site: &ProbeSite| matches!(site.attach, Attach::Kprobe { is_return: false, .. });
        let entries = sites.iter().take_while(|(_, site)| is_entry(site)).count();
        let is_session = entries > 0 && entries < sites.len();
        let sites = if is_session { &sites[..entries] } else { sites };
        let mut cookies: Vec<u64> = sites.iter().map(|(cookie, _)| *cookie).collect();
        // The kernel finds a cookie by the function's first instruction, and lists the one behind it where functions begin
        // with a mark (endbr64): addresses serve only where the sites need not be told apart.
        let is_told_apart = cookies.iter().any(|cookie| *cookie != 0);
        if !is_told_apart {
            cookies.clear();
        }
        let addresses: Option<Vec<u64>> = match is_told_apart {
            true => None,
            false => {
                let listed = sites.iter().map(|(_, site)| listed_addresses(machine, site));
                listed.collect::<Option<Vec<_>>>().map(|listed| listed.concat())
            }
        };
        let symbols: Vec<CString>;
        let targets = match &addresses {
            // The kernel then does not look through all of its symbols for them.
            Some(addresses) => KprobeTargets::Addresses(addresses),
            None => {
                symbols = sites.iter().map(|(_, site)| c_string(&site.function)).collect();
                KprobeTargets::Symbols(&symbols)
            }
        };
        let (_, first) = sites.first().expect("the caller has seen the first");
        let moment = match (is_session, self.is_return) {
            (true, _) => bpf::Moment::Both,
            (false, true) => bpf::Moment::Return,
            (false, false) => bpf::Moment::Entry,
        };
        let attach = |targets, cookies: &[u64]| {
            let link = bpf::link_create_kprobe_multi(program, targets, cookies, moment);
            link.map(Link::slow).map_err(|error| AttachError::new(first, error))
        };
        let mut links = vec![attach(targets, &cookies)?];
        // By a symbol the kernel takes the first of several functions of that name.
        if is_told_apart
            && let (cookies, others) = others_of_the_names(machine, sites)
            && !others.is_empty()
        {
            links.push(attach(KprobeTargets::Addresses(&others), &cookies)?);
        }
        Ok(links)
    }
}

/// What the kernel itself is called where a module is named.
pub(crate) const KERNEL: &str = "vmlinux";

/// The kernel takes a module's function by both names.
pub(crate) fn symbol(module: Option<&str>, function: Arc<str>) -> Arc<str> {
    match module {
        Some(module) if module != KERNEL => format!("{module}:{function}").into(),
        Some(_) | None => function,
    }
}

/// The addresses of a site's function and of others of that name, where the kernel lists them.
fn listed_addresses(machine: &Machine, site: &ProbeSite) -> Option<Vec<u64>> {
    let Attach::Kprobe { function, .. } = &site.attach else { return None };
    let (module, _) = function.split_once(':').unzip();
    let named = machine.traceable_addresses()?.named(&site.function);
    let addresses: Vec<u64> = named
        .filter(|found| module.is_none() || found.module == module)
        .map(|found| found.address)
        .collect::<Option<_>>()?;
    (!addresses.is_empty()).then_some(addresses)
}

/// Where functions have the name of a site's, all but the first of each name: their cookies and where they begin.
fn others_of_the_names(machine: &Machine, sites: &[(u64, &ProbeSite)]) -> (Vec<u64>, Vec<u64>) {
    let listed =
        |(cookie, site): &(u64, &ProbeSite)| Some((*cookie, site.function.clone(), listed_addresses(machine, site)?));
    let shared: Vec<_> = sites.iter().filter_map(listed).filter(|(_, _, listed)| listed.len() > 1).collect();
    if shared.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let places = symbols::places_of(shared.iter().map(|(_, name, _)| &**name)).unwrap_or_default();
    let others = shared.iter().flat_map(|(cookie, name, listed)| {
        // What is listed is the place for tracers, behind a mark (endbr64) where functions begin with one.
        let is_listed = |place: &&u64| listed.iter().any(|listed| (**place..**place + LARGEST_MARK).contains(listed));
        let found = places.get(&**name).into_iter().flatten().filter(is_listed);
        found.skip(1).map(|place| (*cookie, *place))
    });
    others.unzip()
}

/// Names of functions that may be traced, as far as the kernel tells.
fn function_names<'a>(machine: &'a Machine) -> Box<dyn Iterator<Item = &'a str> + 'a> {
    if let Some(list) = machine.traceable_set() {
        return Box::new(list.iter());
    }
    match machine.btf() {
        Some(btf) => Box::new(btf.records().filter(|record| record.kind == Kind::Func).map(|record| btf.name(&record))),
        None => Box::new(std::iter::empty()),
    }
}

/// The module that has the only function of that name, where the list is read; None for one of the kernel itself.
fn module_of<'a>(machine: &'a Machine, function: &'a str) -> Option<&'a str> {
    let mut named = machine.traceable_set()?.named(function);
    let first = named.next()?;
    if named.next().is_none() { first.module } else { None }
}

/// What the compiler has made of a function: copies for certain arguments, and parts (GCC's names for them).
fn compiled_parts<'a>(machine: &'a Machine, function: &str) -> Vec<&'a str> {
    let is_part = |name: &&str| {
        let suffix = name.strip_prefix(function).and_then(|rest| rest.strip_prefix('.'));
        suffix.is_some_and(|suffix| ["isra", "constprop", "part"].iter().any(|kind| suffix.starts_with(kind)))
    };
    let mut parts: Vec<&str> =
        machine.traceable_set().map_or_else(Vec::new, |list| list.iter().filter(is_part).collect());
    parts.dedup();
    parts
}

pub(crate) fn attach_single(
    machine: &Machine,
    program: BorrowedFd<'_>,
    cookie: u64,
    site: &ProbeSite,
) -> Result<Vec<Link>, AttachError> {
    let Attach::Kprobe { function, offset, is_return, is_matched } = &site.attach else {
        unreachable!("resolving gives kprobe sites this attachment")
    };
    let attach_by = |kind: PerfKind<'_>| {
        // Every CPU runs the program, whichever the event was opened on.
        let event = perf::perf_event_open(kind, PerfScope::Cpu(0))?;
        link_perf_event(program, event, cookie, true)
    };
    let attach_at = |address: u64| attach_by(PerfKind::KprobeAddress { address, is_return: *is_return });
    let attach_to = |symbol: &str| match symbol.is_empty() {
        true => attach_at(*offset),
        false => attach_by(PerfKind::Kprobe { function: &c_string(symbol), offset: *offset, is_return: *is_return }),
    };
    let attach = || match attach_to(function) {
        // BTF knows the function by its own name, whatever the compiler has made of it.
        Err(error) if error.errno() == Some(libc::ENOENT) && *offset == 0 => {
            match compiled_parts(machine, function).as_slice() {
                [] => Err(error),
                parts => {
                    let attach_to_part = |part: &&str| {
                        let mut link = attach_to(part)?;
                        link.rename(part);
                        Ok(link)
                    };
                    parts.iter().map(attach_to_part).collect()
                }
            }
        }
        // Several functions have the name, and all of them are meant.
        Err(error) if error.errno() == Some(libc::EADDRNOTAVAIL) && *offset == 0 && !function.contains(':') => {
            let places = symbols::places_of(std::iter::once(&**function))?.remove(&**function).unwrap_or_default();
            let attached = places.into_iter().map(attach_at);
            let links: Vec<Link> = attached.filter(|link| !is_kept_from_probes(link)).collect::<Result<_, _>>()?;
            if links.is_empty() { Err(error) } else { Ok(links) }
        }
        result => result.map(|link| vec![link]),
    };
    attach().or_else(|error: KernelError| {
        let is_refused = matches!(
            error.errno(),
            Some(libc::EADDRNOTAVAIL | libc::EINVAL | libc::ENOENT | libc::EILSEQ | libc::EOPNOTSUPP)
        );
        if *is_matched && is_refused {
            return Ok(Vec::new());
        }
        let help = match error.errno() {
            Some(libc::EADDRNOTAVAIL) => Some("More than one function has this name; choose one by its address."),
            Some(libc::EILSEQ) => Some("No instruction begins at this offset."),
            Some(libc::EINVAL | libc::ENOENT) if *offset > 0 => {
                Some("The kernel does not let this function be probed, or has no instruction at this offset.")
            }
            Some(libc::EINVAL | libc::ENOENT) => Some(missing::KEPT),
            _ => None,
        };
        let attached = AttachError::new(site, error);
        Err(match help {
            Some(help) => attached.with_help(help),
            None => attached,
        })
    })
}

/// Whether the kernel lets no probe be there.
fn is_kept_from_probes(attached: &Result<Link, KernelError>) -> bool {
    attached.as_ref().is_err_and(|error| matches!(error.errno(), Some(libc::EINVAL | libc::ENOENT | libc::EOPNOTSUPP)))
}

fn c_string(name: &str) -> CString {
    CString::new(name).unwrap_or_default()
}

/// A function that can be named: BTF knows most, ftrace's list others; of the rest the kernel is asked, since reading its
/// table of symbols takes longest.
fn exists(machine: &Machine, module: Option<&str>, function: &str) -> bool {
    let in_vmlinux = || machine.btf().is_some_and(|btf| btf.find(Kind::Func, function).is_some());
    let in_module = |module| machine.module_btf(module).is_some_and(|btf| btf.find(Kind::Func, function).is_some());
    let known = match module {
        None | Some("vmlinux") => in_vmlinux(),
        Some(module) => in_module(module),
    };
    let is_of_module = |found: ListedFunction<'_>| module.is_none_or(|module| found.module.unwrap_or(KERNEL) == module);
    known
        || machine.traceable_set().is_some_and(|list| list.named(function).any(is_of_module))
        || is_probed(machine, &symbol(module, function.into()))
}

/// Whether the kernel knows the function.
fn is_probed(machine: &Machine, function: &str) -> bool {
    if machine.features().may_not_load() {
        return symbols::has_function(function).unwrap_or(false);
    }
    presence(function) != Presence::Absent
}

/// What the kernel has of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Presence {
    There,
    /// More than one function has it. Kernels before 6.6 do not tell.
    Shared,
    Absent,
}

/// Asks the kernel for a kprobe: it makes one, or refuses it for its name or for another reason.
pub(crate) fn presence(function: &str) -> Presence {
    let name = c_string(function);
    let kind = PerfKind::Kprobe { function: &name, offset: 0, is_return: false };
    match perf::perf_event_open(kind, PerfScope::Cpu(0)) {
        Ok(_) => Presence::There,
        Err(error) => match error.errno() {
            Some(libc::ENOENT) => Presence::Absent,
            Some(libc::EADDRNOTAVAIL) => Presence::Shared,
            _ => Presence::There,
        },
    }
}

/// The function that has the address; None where the kernel hides where its functions are.
fn function_at(address: u64) -> Option<String> {
    symbols::symbols_at(&[address]).ok()?.pop()?.map(|symbol| symbol.name)
}

fn parse_address(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// A decimal or, with `0x`, hexadecimal number.
pub(crate) fn parse_number(text: &str) -> Option<u64> {
    parse_address(text).or_else(|| text.parse().ok())
}

/// `arg0` to `arg5` of a function in user code or in the kernel, whose calling conventions agree on these.
pub(crate) fn entry_layout() -> Arc<Layout> {
    static LAYOUT: LazyLock<Arc<Layout>> = LazyLock::new(|| Arc::new(bare_entry_layout()));
    LAYOUT.clone()
}

pub(crate) fn bare_entry_layout() -> Layout {
    let register = |(index, offset): (usize, u32)| Argument {
        name: format!("arg{index}").into(),
        ty: Type::I64,
        at: Location::Context { offset },
    };
    Layout { registers: ARGUMENT_OFFSETS.into_iter().enumerate().map(register).collect(), ..Layout::default() }
}

/// `retval`
pub(crate) fn return_layout() -> Arc<Layout> {
    static LAYOUT: LazyLock<Arc<Layout>> = LazyLock::new(|| {
        let at = Location::Context { offset: RETURN_OFFSET };
        let return_value = Some(Argument { name: "retval".into(), ty: Type::I64, at });
        Arc::new(Layout { return_value, ..Layout::default() })
    });
    LAYOUT.clone()
}

/// The registers, and by their names and types those parameters that are in one.
fn with_arguments(machine: &Machine, module: Option<&str>, function: &str) -> Arc<Layout> {
    let of = |btf: &crate::kernel::btf::Btf| btf.find(Kind::Func, function).and_then(|record| btf.prototype(record.id));
    let prototype = match module {
        None | Some("vmlinux") => machine.btf().and_then(|btf| of(btf)),
        Some(module) => machine.module_btf(module).and_then(|btf| of(&btf)),
    };
    // A function that is named without its module.
    let in_module = |name: &String| machine.module_btf(name).and_then(|btf| of(&btf));
    let prototype = match module {
        None => prototype.or_else(|| machine.module_names().iter().find_map(in_module)),
        Some(_) => prototype,
    };
    let Some(prototype) = prototype else { return entry_layout() };
    let mut arguments = Vec::new();
    for (Parameter { name, ty, access: _ }, offset) in prototype.parameters.into_iter().zip(ARGUMENT_OFFSETS) {
        // A struct takes no, one or two registers; what follows it can't be told.
        if !ty.is_scalar() {
            break;
        }
        if !name.is_empty() {
            arguments.push(Argument { name, ty, at: Location::Context { offset } });
        }
    }
    Arc::new(Layout { arguments, ..bare_entry_layout() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtrace_lang::span::Span;
    use rtrace_lang::target::ResolveErrorKind;

    fn parse(text: &str) -> Result<(Option<String>, String, u64), ResolveErrorKind> {
        let spec = ProbeSpec::parse(text, Span::default());
        let provider = if text.starts_with("kr") { &KRETPROBE } else { &KPROBE };
        let wanted = provider.parse(&spec).map_err(|error| error.kind)?;
        Ok((wanted.module.map(str::to_string), wanted.function.to_string(), wanted.offset))
    }

    #[test]
    fn forms() {
        assert_eq!(parse("kprobe:vfs_read"), Ok((None, "vfs_read".into(), 0)));
        assert_eq!(parse("kprobe:ext4:ext4_read+0x10"), Ok((Some("ext4".into()), "ext4_read".into(), 16)));
        for wrong in ["kprobe", "kprobe:", "kprobe:a:b:c", "kprobe:f+x", "kretprobe:f+4", "kprobe:f*+4", "kprobe::f"] {
            assert_eq!(parse(wrong), Err(ResolveErrorKind::Form), "{wrong}");
        }
    }

    #[test]
    fn registers_of_the_calling_convention() {
        let layout = entry_layout();
        assert_eq!(layout.registers.len(), 6);
        assert_eq!(layout.registers[3].at, Location::Context { offset: 88 });
        // Linux, x86-64: `struct pt_regs` has the same order as `struct user_regs_struct`.
        assert_eq!(std::mem::offset_of!(libc::user_regs_struct, rdi), 112);
        assert_eq!(std::mem::offset_of!(libc::user_regs_struct, rcx), 88);
        assert_eq!(std::mem::offset_of!(libc::user_regs_struct, r9), 64);
        assert_eq!(std::mem::offset_of!(libc::user_regs_struct, r10), 56);
        assert_eq!(std::mem::offset_of!(libc::user_regs_struct, rax), 80);
        assert_eq!(std::mem::offset_of!(libc::user_regs_struct, orig_rax), 120);
        assert_eq!(std::mem::offset_of!(libc::user_regs_struct, cs), 136);
    }
}
