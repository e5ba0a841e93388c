//! fentry and fexit on a kernel that refuses their programs: a kprobe or kretprobe stands in, whose registers have the
//! same arguments, or the return value.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rtrace_lang::probe::ProbeSpec;
use rtrace_lang::target::{
    Absence, Argument, Attach, Feature, Layout, ProbeSite, ResolveError, ResolveErrorKind, ResolveOptions, Target,
};

use super::{FEXIT, Trampoline};
use crate::kernel::btf::Kind;
use crate::kprobe::{KPROBE, KRETPROBE, Kprobe};
use crate::listing::ListedProbe;
use crate::machine::Machine;
use crate::provider::{AttachError, Link, Provider};

/// The probe that is at the same place.
fn kprobe(trampoline: &Trampoline) -> &'static Kprobe {
    if trampoline.is_return { &KRETPROBE } else { &KPROBE }
}

pub(super) fn stand_in(
    trampoline: &Trampoline,
    machine: &Machine,
    reason: &str,
    spec: &ProbeSpec,
    options: &ResolveOptions,
) -> Result<Vec<ProbeSite>, ResolveError> {
    if !machine.has(Feature::Kprobes) {
        return Err(unsupported(trampoline.name(), reason));
    }
    let kprobe = kprobe(trampoline);
    // An offset or an address would be one of a kprobe.
    if spec.parts.iter().any(|part| part.contains('+') || part.starts_with("0x")) {
        return Err(unsupported(trampoline.name(), reason));
    }
    let mut sites = kprobe.resolve(machine, &renamed(spec, kprobe.name()), options)?;
    for site in &mut sites {
        let place = site.name.strip_prefix(kprobe.name()).unwrap_or_default();
        let module = spec.parts.first().filter(|_| spec.parts.len() > 1).map(String::as_str);
        site.layout = Arc::new(layout(trampoline, machine, module, site));
        site.name = format!("{}{place}", trampoline.name()).into();
        site.provider = trampoline.name();
    }
    Ok(sites)
}

/// The names alone of what stands in.
pub(super) fn list(
    trampoline: &Trampoline,
    machine: &Machine,
    reason: &str,
    parts: &[String],
) -> Result<Vec<ListedProbe>, ResolveError> {
    if !machine.has(Feature::Kprobes) {
        return Err(unsupported(trampoline.name(), reason));
    }
    let kprobe = kprobe(trampoline);
    let mut listed = kprobe.list(machine, parts, false)?;
    for probe in &mut listed {
        probe.name.replace_range(..kprobe.name().len(), trampoline.name());
    }
    Ok(listed)
}

fn renamed(spec: &ProbeSpec, provider: &str) -> ProbeSpec {
    let text = format!("{provider}:{}", spec.parts.join(":"));
    ProbeSpec { text, provider: provider.to_string(), ..spec.clone() }
}

/// The arguments by their names alone, and the return value with its type.
fn layout(trampoline: &Trampoline, machine: &Machine, module: Option<&str>, site: &ProbeSite) -> Layout {
    let mut layout = Layout { registers: Vec::new(), ..Layout::clone(&site.layout) };
    if trampoline.is_return
        && let Some(Argument { ty, .. }) = &mut layout.return_value
    {
        let btf = match module {
            None | Some("vmlinux") => machine.btf().cloned(),
            Some(module) => machine.module_btf(module),
        };
        let returns = btf.and_then(|btf| Some(btf.prototype(btf.find(Kind::Func, &site.function)?.id)?.returns.ty));
        match returns {
            Some(returns) if returns.is_scalar() => *ty = returns,
            Some(_) => layout.return_value = None,
            None => {}
        }
    }
    layout
}

/// Why a stand-in for fexit has no arguments.
pub(crate) fn absence(site: &ProbeSite) -> Option<Absence> {
    let is_stand_in = site.provider == FEXIT.name() && matches!(site.attach, Attach::Kprobe { .. });
    is_stand_in.then(|| Absence {
        message: "fexit has no `args` here: the kernel refuses its programs, and a kretprobe stands in".to_string(),
        help: "`entry(args.NAME)` is what an argument was when the function was entered".to_string(),
    })
}

pub(super) fn attach(
    trampoline: &Trampoline,
    machine: &Machine,
    program: BorrowedFd<'_>,
    sites: &[(u64, &ProbeSite)],
) -> Result<Vec<Link>, AttachError> {
    let why = super::refusal(machine).unwrap_or(
        "fentry takes functions by their own names alone, and passes neither structs nor so many arguments on",
    );
    let stood_in = |error: AttachError| error.with_help(&format!("A kprobe stands in here: {why}."));
    kprobe(trampoline).attach(machine, program, sites).map_err(stood_in)
}

pub(super) fn unsupported(provider: &str, reason: &str) -> ResolveError {
    ResolveError {
        kind: ResolveErrorKind::Unsupported,
        message: format!("{provider} does not work here: {reason}"),
        label: "not offered by this kernel".to_string(),
        help: vec!["`tracepoint` and `rawtracepoint` have events at many of the same places.".to_string()],
        part: Some(0),
    }
}
