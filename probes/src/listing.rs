//! What `-l` shows: every probe that matches a pattern, a line each, with its arguments on request. Resolves as a
//! script would, so that what is listed is what can be used.

mod types;

use rtrace_lang::dtrace;
use rtrace_lang::probe::{ProbeSpec, glob_match, wildcard_match};
use rtrace_lang::span::Span;
use rtrace_lang::target::{Argument, ProbeSite, ResolveError, ResolveErrorKind, ResolveOptions, Target};
use rtrace_lang::types::Type;

pub use types::list_types;

use crate::d_names;
use crate::machine::Machine;
use crate::provider::{PROVIDERS, Provider, is_pattern, provider_named, providers_matching};

/// One probe.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ListedProbe {
    /// `tracepoint:sched:sched_switch`
    pub name: String,
    /// `char prev_comm[16]`, one each; empty unless they were asked for.
    pub arguments: Vec<String>,
}

impl ListedProbe {
    pub(crate) fn named(name: String) -> ListedProbe {
        ListedProbe { name, arguments: Vec::new() }
    }
}

/// The probes that match, sorted, without duplicates. Without a pattern all probes of the kernel. A text without a colon is
/// a provider's name, or is looked for in whole names; a pattern without one is of whole names, or of what is behind a colon.
pub fn list(
    machine: &Machine,
    pattern: Option<&str>,
    verbose: bool,
    pid: Option<u32>,
) -> Result<Vec<ListedProbe>, ResolveError> {
    let pattern = pattern.map(str::trim).filter(|pattern| !pattern.is_empty());
    // As in a script.
    let of_process = pattern.zip(pid).map(|(pattern, pid)| pattern.replace("$target", &pid.to_string()));
    let mut found = match of_process.as_deref().or(pattern) {
        None | Some("*") => everything(machine, verbose, &["*"]),
        // `tick-5s`
        Some(pattern)
            if dtrace::meanings(&ProbeSpec::parse(pattern, Span::default())).is_some_and(|m| !m.is_empty()) =>
        {
            matching(machine, pattern, verbose, pid)?
        }
        Some(pattern) if !pattern.contains(':') => match provider_named(pattern) {
            Some(provider) => provider.list_of_process(machine, &[], verbose, pid)?,
            None if is_pattern(pattern) => everything(machine, verbose, &[pattern, &format!("*:{pattern}")]),
            None => everything(machine, verbose, &[&format!("*{pattern}*")]),
        },
        Some(pattern) => matching(machine, pattern, verbose, pid)?,
    };
    // Most come sorted, provider by provider, which this kind of sorting makes use of.
    found.sort();
    found.dedup();
    Ok(found)
}

/// Probes of all providers whose full name matches one of the patterns; providers that can't say are left out.
fn everything(machine: &Machine, verbose: bool, patterns: &[&str]) -> Vec<ListedProbe> {
    let is_whole = patterns == ["*"];
    let is_meant = |name: &str| patterns.iter().any(|pattern| wildcard_match(pattern, name));
    let mut found = Vec::new();
    for provider in PROVIDERS.iter().filter(|provider| provider.has_kernel_points()) {
        // Arguments take long, and most probes will not match.
        let Ok(listed) = provider.list(machine, &[], verbose && is_whole) else { continue };
        found.extend(listed.into_iter().filter(|probe| is_meant(&probe.name)));
    }
    if !verbose || is_whole {
        return found;
    }
    let with_arguments = |probe: ListedProbe| {
        let listed = matching(machine, &probe.name, true, None).ok().filter(|listed| listed.len() == 1);
        listed.and_then(|mut listed| listed.pop()).unwrap_or(probe)
    };
    found.into_iter().map(with_arguments).collect()
}

fn matching(
    machine: &Machine,
    pattern: &str,
    verbose: bool,
    pid: Option<u32>,
) -> Result<Vec<ListedProbe>, ResolveError> {
    let spec = ProbeSpec::parse(pattern, Span::default());
    if let Some(meanings) = dtrace::meanings(&spec) {
        let ours = meanings.iter().map(|meaning| of_meaning(machine, &meaning.spec, verbose, pid));
        return Ok(ours.collect::<Result<Vec<_>, _>>()?.concat());
    }
    let mut parts = spec.parts.clone();
    // `software:` and `tracepoint:sched:` stand for all there is behind the colon.
    if parts.last().is_some_and(String::is_empty) {
        parts.pop();
    }
    let providers = providers_matching(&spec.provider);
    if providers.is_empty() {
        let options = ResolveOptions { uses_arguments: verbose, pid, with_aliases: true, ..ResolveOptions::default() };
        return match d_names::resolve(machine, &spec, &options) {
            Some(Err(error)) if error.kind != ResolveErrorKind::NotFound => Err(error),
            Some(Err(_)) | None => Ok(Vec::new()),
            Some(Ok(sites)) => Ok(sites.iter().map(|site| listed(site, verbose)).collect()),
        };
    }
    let mut found = Vec::new();
    let mut first_error = None;
    // Those whose probes are made of numbers list their forms, whatever is asked for: beside others only those that match.
    let is_meant = |probe: &ListedProbe| providers.len() == 1 || wildcard_match(&format!("{pattern}*"), &probe.name);
    for provider in &providers {
        match provider.list_of_process(machine, &parts, verbose, pid) {
            Ok(listed) if provider.has_kernel_points() => found.extend(listed),
            Ok(listed) => found.extend(listed.into_iter().filter(is_meant)),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    match first_error {
        // Nothing that matches is an answer.
        Some(error) if found.is_empty() && providers.len() == 1 && error.kind != ResolveErrorKind::NotFound => {
            Err(error)
        }
        _ => Ok(found),
    }
}

/// Those of ours that one of D's stands for: all that match, or the rate itself where that is what it says.
fn of_meaning(
    machine: &Machine,
    spec: &ProbeSpec,
    verbose: bool,
    pid: Option<u32>,
) -> Result<Vec<ListedProbe>, ResolveError> {
    if providers_matching(&spec.provider).iter().all(|provider| !provider.has_kernel_points()) {
        return Ok(machine.resolve(spec, &ResolveOptions::default())?.iter().map(|site| listed(site, false)).collect());
    }
    let mut found = matching(machine, &spec.text, verbose, pid)?;
    if let Some(only) = &spec.only {
        found.retain(|probe| glob_match(only, probe.name.rsplit(':').next().unwrap_or_default()));
    }
    Ok(found)
}

/// A provider's listing by resolving: missing parts up to `arity` are wildcards.
pub(crate) fn by_resolving(
    provider: &dyn Provider,
    machine: &Machine,
    parts: &[String],
    arity: usize,
    verbose: bool,
) -> Result<Vec<ListedProbe>, ResolveError> {
    let options = ResolveOptions { uses_arguments: verbose, ..ResolveOptions::default() };
    let sites = resolved(provider, machine, parts, arity, &options)?;
    Ok(sites.iter().map(|site| listed(site, verbose)).collect())
}

/// What a listing asks a provider for.
pub(crate) fn specification(provider: &dyn Provider, parts: &[String], arity: usize) -> ProbeSpec {
    let mut parts = parts.to_vec();
    while parts.len() < arity {
        parts.push("*".to_string());
    }
    let text = format!("{}:{}", provider.name(), parts.join(":"));
    ProbeSpec { text, label: None, provider: provider.name().to_string(), parts, only: None, span: Span::default() }
}

/// The sites of a listing; none where nothing matches.
pub(crate) fn resolved(
    provider: &dyn Provider,
    machine: &Machine,
    parts: &[String],
    arity: usize,
    options: &ResolveOptions,
) -> Result<Vec<ProbeSite>, ResolveError> {
    match provider.resolve(machine, &specification(provider, parts, arity), options) {
        Ok(sites) => Ok(sites),
        Err(error) if error.kind == ResolveErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

pub(crate) fn listed(site: &ProbeSite, verbose: bool) -> ListedProbe {
    let mut arguments = Vec::new();
    if verbose {
        arguments.extend(site.layout.arguments.iter().map(declaration));
        // Those of functions say nothing of what is in them.
        let described = site.layout.registers.iter().filter(|_| site.provider == "usdt");
        arguments.extend(described.map(declaration));
        // A plain register says nothing; a typed return value does.
        let typed = site.layout.return_value.iter().filter(|_| !site.layout.arguments.is_empty());
        arguments.extend(typed.map(declaration));
    }
    ListedProbe { name: site.name.to_string(), arguments }
}

/// An argument as C declares it.
fn declaration(argument: &Argument) -> String {
    let mut suffix = String::new();
    let mut ty = &argument.ty;
    while let Type::Array { of, len } = ty {
        suffix.push_str(&format!("[{len}]"));
        ty = of;
    }
    match ty {
        Type::Str(_) if matches!(argument.at, rtrace_lang::target::Location::DataLocation { .. }) => {
            format!("char {}[]", argument.name)
        }
        Type::Pointer { to, .. } if matches!(argument.at, rtrace_lang::target::Location::DataLocation { .. }) => {
            format!("{} {}[]", c_name(to), argument.name)
        }
        Type::Str(len) => format!("char {}{suffix}[{len}]", argument.name),
        Type::Buffer(len) => format!("unsigned char {}{suffix}[{len}]", argument.name),
        _ => {
            let text = c_name(ty);
            let space = if text.ends_with('*') { "" } else { " " };
            format!("{text}{space}{}{suffix}", argument.name)
        }
    }
}

fn c_name(ty: &Type) -> String {
    match ty {
        Type::Int { bytes: 1, signed: true } => "char".to_string(),
        Type::Int { bytes: 1, signed: false } => "unsigned char".to_string(),
        Type::Int { bytes: 2, signed: true } => "short".to_string(),
        Type::Int { bytes: 2, signed: false } => "unsigned short".to_string(),
        Type::Int { bytes: 4, signed: true } => "int".to_string(),
        Type::Int { bytes: 4, signed: false } => "unsigned int".to_string(),
        Type::Int { signed: true, .. } => "long".to_string(),
        Type::Int { signed: false, .. } => "unsigned long".to_string(),
        Type::Pointer { to, .. } => {
            let to = c_name(to);
            format!("{to}{}*", if to.ends_with('*') { "" } else { " " })
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtrace_lang::target::Location;
    use rtrace_lang::types::Space;

    #[test]
    fn arguments_read_as_c() {
        let of = |ty: Type| declaration(&Argument { name: "x".into(), ty, at: Location::Context { offset: 0 } });
        assert_eq!(of(Type::Str(16)), "char x[16]");
        assert_eq!(of(Type::pointer(Type::Int { bytes: 1, signed: true }, Space::User)), "char *x");
        assert_eq!(of(Type::Array { of: Type::U64.into(), len: 6 }), "unsigned long x[6]");
    }
}
