//! What a provider is, and the list of all providers. Knows none of them more closely.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, LazyLock};

use rtrace_lang::probe::{ProbeSpec, glob_match, wildcard_match};
use rtrace_lang::target::{Layout, ProbeSite, ResolveError, ResolveErrorKind, ResolveOptions};

use crate::kernel::privileges::Privileges;
use crate::kernel::{KernelError, bpf, perf};
use crate::listing::ListedProbe;
use crate::machine::Machine;
use crate::{
    begin_end, fentry, hardware, interval, iter, kprobe, own_signal, profile, rawtracepoint, software, tracepoint,
    trial, uprobe, usdt, watchpoint,
};

/// A kind of probes: `kprobe`, `tracepoint`.
pub trait Provider: Sync {
    /// The full name, as site names begin with it.
    fn name(&self) -> &'static str;

    /// Other names that scripts may use.
    fn aliases(&self) -> &'static [&'static str] {
        &[]
    }

    fn documentation(&self) -> &'static Documentation;

    /// True where the kernel itself decides which probes there are, so that a listing of everything shows them.
    fn has_kernel_points(&self) -> bool {
        true
    }

    /// All sites that the specification means, never none. Its provider part names this provider.
    fn resolve(
        &self,
        machine: &Machine,
        spec: &ProbeSpec,
        options: &ResolveOptions,
    ) -> Result<Vec<ProbeSite>, ResolveError>;

    /// The probes whose parts match, for `-l`; missing parts match everything. With `verbose` each has its arguments.
    fn list(&self, machine: &Machine, parts: &[String], verbose: bool) -> Result<Vec<ListedProbe>, ResolveError>;

    /// The same of a process, which some providers look into.
    fn list_of_process(
        &self,
        machine: &Machine,
        parts: &[String],
        verbose: bool,
        _pid: Option<u32>,
    ) -> Result<Vec<ListedProbe>, ResolveError> {
        self.list(machine, parts, verbose)
    }

    /// Attaches a loaded program to the sites, which are all of this provider and of one `ProgramKind`. The number of
    /// each is its cookie. Dropping the links detaches. On an error nothing stays attached.
    fn attach(
        &self,
        machine: &Machine,
        program: BorrowedFd<'_>,
        sites: &[(u64, &ProbeSite)],
    ) -> Result<Vec<Link>, AttachError>;
}

/// What help and documentation say of a provider.
#[derive(Clone, Copy, Debug)]
pub struct Documentation {
    /// A sentence.
    pub summary: &'static str,
    /// The forms of a specification, one each.
    pub usage: &'static [&'static str],
    /// A one-liner that works on most machines.
    pub example: &'static str,
}

/// Every provider, in the order in which they are listed.
pub static PROVIDERS: &[&dyn Provider] = &[
    &begin_end::BEGIN,
    &trial::BENCH,
    &begin_end::END,
    &fentry::FENTRY,
    &fentry::FEXIT,
    &hardware::HARDWARE,
    &interval::INTERVAL,
    &iter::ITER,
    &kprobe::KPROBE,
    &kprobe::KRETPROBE,
    &profile::PROFILE,
    &rawtracepoint::RAWTRACEPOINT,
    &own_signal::SELF,
    &software::SOFTWARE,
    &trial::TEST,
    &tracepoint::TRACEPOINT,
    &uprobe::UPROBE,
    &uprobe::URETPROBE,
    &usdt::USDT,
    &watchpoint::WATCHPOINT,
];

/// The provider of that name or alias, in any case of letters.
pub fn provider_named(name: &str) -> Option<&'static dyn Provider> {
    // `U` is usdt, and `u` is uprobe: one-letter aliases keep their case.
    let matches = |known: &str| if name.len() == 1 { known == name } else { known.eq_ignore_ascii_case(name) };
    PROVIDERS
        .iter()
        .copied()
        .find(|provider| matches(provider.name()) || provider.aliases().iter().any(|alias| matches(alias)))
}

/// The providers that a pattern or a plain name means.
pub(crate) fn providers_matching(pattern: &str) -> Vec<&'static dyn Provider> {
    if pattern.contains('*') {
        let pattern = pattern.to_ascii_lowercase();
        let matches = |name: &str| wildcard_match(&pattern, &name.to_ascii_lowercase());
        PROVIDERS.iter().copied().filter(|provider| matches(provider.name())).collect()
    } else {
        provider_named(pattern).into_iter().collect()
    }
}

/// An attachment; it lasts as long as this value.
#[derive(Debug)]
pub struct Link {
    fds: Vec<OwnedFd>,
    is_slow: bool,
    /// The address that it watches.
    watched: Option<u64>,
    /// The symbol of a function that is not there under its own name.
    renamed: Option<Arc<str>>,
}

impl Link {
    /// An attachment that ends at once when its descriptor is closed.
    pub fn quick(fd: OwnedFd) -> Link {
        Link { fds: vec![fd], is_slow: false, watched: None, renamed: None }
    }

    /// An attachment whose end takes the kernel tens of milliseconds.
    pub(crate) fn slow(fd: OwnedFd) -> Link {
        Link { fds: vec![fd], is_slow: true, watched: None, renamed: None }
    }

    /// The descriptors that hold the attachment: closing all copies of all of them ends it.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.fds.iter().map(OwnedFd::as_fd)
    }

    pub(crate) fn watch(&mut self, address: u64) {
        self.watched = Some(address);
    }

    /// The address that a watchpoint watches.
    pub fn watched(&self) -> Option<u64> {
        self.watched
    }

    pub(crate) fn rename(&mut self, symbol: &str) {
        self.renamed = Some(symbol.into());
    }

    /// What the compiler has called the function, where that is another name.
    pub fn renamed(&self) -> Option<&Arc<str>> {
        self.renamed.as_ref()
    }

    /// True if closing the descriptors waits for the kernel (60-130 ms each, one after the other), so that a process of
    /// its own should do it.
    pub fn is_slow(&self) -> bool {
        self.is_slow
    }
}

/// Attaches to an open perf event: through a link with a cookie, or before 5.15 without.
pub(crate) fn link_perf_event(
    program: BorrowedFd<'_>,
    event: OwnedFd,
    cookie: u64,
    is_slow: bool,
) -> Result<Link, KernelError> {
    match bpf::link_create_perf_event(program, event.as_fd(), cookie) {
        Ok(link) => {
            perf::enable(event.as_fd())?;
            Ok(Link { fds: vec![link], is_slow, watched: None, renamed: None })
        }
        Err(error) if error.errno() == Some(libc::EINVAL) => {
            perf::set_program(event.as_fd(), program)?;
            perf::enable(event.as_fd())?;
            Ok(Link { fds: vec![event], is_slow, watched: None, renamed: None })
        }
        Err(error) => Err(error),
    }
}

/// Why a program could not be attached.
#[derive(Debug, thiserror::Error)]
#[error("can't attach to {site}: {source}")]
pub struct AttachError {
    /// The full name of the site.
    pub site: Arc<str>,
    pub source: KernelError,
    /// What to do, a sentence each.
    pub help: Vec<String>,
}

impl AttachError {
    pub(crate) fn new(site: &ProbeSite, source: KernelError) -> AttachError {
        let help = match source.errno() {
            Some(libc::EPERM | libc::EACCES) => Privileges::read().help(source.is_of_perf_event()),
            Some(libc::EMFILE) => vec!["Raise the limit on open files (`ulimit -n`).".to_string()],
            _ => Vec::new(),
        };
        AttachError { site: site.name.clone(), source, help }
    }

    pub(crate) fn with_help(mut self, help: &str) -> AttachError {
        self.help.push(help.to_string());
        self
    }
}

/// The layout of a program that finds nothing in its context.
pub(crate) fn empty_layout() -> Arc<Layout> {
    static EMPTY: LazyLock<Arc<Layout>> = LazyLock::new(Arc::default);
    EMPTY.clone()
}

/// The error for a specification with the wrong number or form of parts.
pub(crate) fn wrong_form(provider: &dyn Provider, label: impl Into<String>, part: Option<usize>) -> ResolveError {
    let Documentation { usage, example, .. } = provider.documentation();
    ResolveError {
        kind: ResolveErrorKind::Form,
        message: format!("{} is written `{}`", provider.name(), usage.first().copied().unwrap_or_default()),
        label: label.into(),
        help: match usage {
            [] | [_] => vec![format!("For example: {example}")],
            [_, rest @ ..] => vec![format!("Other forms: {}.", quoted_list(rest.iter().copied()))],
        },
        part,
    }
}

/// `a`, `b` and `c` in backquotes.
pub(crate) fn quoted_list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The error for something that a missing privilege hides.
pub(crate) fn no_privilege(message: String, capabilities: &str, part: Option<usize>) -> ResolveError {
    ResolveError {
        kind: ResolveErrorKind::Privilege,
        message,
        label: "not permitted".to_string(),
        help: vec![format!("Run as root, or with {capabilities}.")],
        part,
    }
}

/// The error where whether the kernel offers the provider can't be found out, since no program may be loaded.
pub(crate) fn may_not_load(provider: &str) -> ResolveError {
    let message = format!("{provider} needs to load BPF programs, which is not permitted");
    no_privilege(message, "the capabilities CAP_BPF and CAP_PERFMON", Some(0))
}

/// The error for a name that does not exist, with the names that come close.
pub(crate) fn not_found(message: String, near: &[String], part: Option<usize>) -> ResolveError {
    let help = match near {
        [] => Vec::new(),
        near => vec![format!("Did you mean {}?", quoted_list(near.iter().map(String::as_str)))],
    };
    ResolveError { kind: ResolveErrorKind::NotFound, message, label: "no such probe".to_string(), help, part }
}

/// The name of a probe on a kernel function, with the module that it is asked for by.
pub(crate) fn full_name(provider: &str, module: Option<&str>, function: &str) -> String {
    match module {
        None => format!("{provider}:{function}"),
        Some(module) => format!("{provider}:{module}:{function}"),
    }
}

/// The sites that a pattern of D's leaves of those that the wider one has found.
pub(crate) fn narrowed(mut sites: Vec<ProbeSite>, spec: &ProbeSpec) -> Result<Vec<ProbeSite>, ResolveError> {
    if let Some(only) = &spec.only {
        sites.retain(|site| glob_match(only, site.event()));
        if sites.is_empty() {
            return Err(not_found(format!("nothing matches `{only}`"), &[], Some(spec.parts.len())));
        }
    }
    Ok(sites)
}

pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains('*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_are_distinct() {
        let mut all: Vec<&str> = Vec::new();
        for provider in PROVIDERS {
            all.push(provider.name());
            all.extend(provider.aliases());
            assert!(!provider.documentation().usage.is_empty());
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn providers_by_alias() {
        assert_eq!(provider_named("T").map(|p| p.name()), None);
        assert_eq!(provider_named("t").map(|p| p.name()), Some("tracepoint"));
        assert_eq!(provider_named("Kretfunc").map(|p| p.name()), Some("fexit"));
        assert_eq!(providers_matching("k*be").len(), 2);
    }
}
