//! A kprobe on a kernel that has none: fentry where it will do, and otherwise a message that leads on.

use rtrace_lang::target::{Feature, ProbeSite, ResolveError, ResolveErrorKind, ResolveOptions, Target};

use super::{FENTRY, FEXIT, Kprobe, Wanted, missing};
use crate::kernel::system;
use crate::listing::ListedProbe;
use crate::machine::Machine;
use crate::nearest::related;
use crate::provider::{Provider, quoted_list};
use crate::tracepoint;

/// Most probes that the message names.
const NEAREST: usize = 5;

pub(super) fn stand_in(
    kprobe: &Kprobe,
    machine: &Machine,
    wanted: &Wanted<'_>,
    options: &ResolveOptions,
) -> Result<Vec<ProbeSite>, ResolveError> {
    let is_entry = wanted.offset == 0 && super::parse_address(wanted.function).is_none();
    if is_entry && !options.uses_registers && machine.has(Feature::Trampolines) {
        let trampoline = if kprobe.is_return { &FEXIT } else { &FENTRY };
        let sites = trampoline.sites(machine, wanted.module, wanted.function, options, kprobe.name());
        let is_listed = || machine.traceable_set().is_none_or(|list| list.contains(wanted.function));
        if !wanted.is_pattern() && !is_listed() {
            let parts = super::compiled_parts(machine, wanted.function);
            if !parts.is_empty() {
                return Err(renamed(wanted, &parts));
            }
        }
        if !sites.is_empty() {
            return Ok(sites);
        }
        return Err(missing::no_such_function(kprobe, machine, wanted));
    }
    Err(unsupported(kprobe, machine, wanted, is_entry))
}

/// What stands in, under the names of kprobes.
pub(super) fn list(
    kprobe: &Kprobe,
    machine: &Machine,
    wanted: &Wanted<'_>,
    parts: &[String],
) -> Result<Vec<ListedProbe>, ResolveError> {
    if !machine.has(Feature::Trampolines) {
        return Err(unsupported(kprobe, machine, wanted, false));
    }
    let trampoline = if kprobe.is_return { &FEXIT } else { &FENTRY };
    let mut listed = trampoline.list(machine, parts, false)?;
    for probe in &mut listed {
        probe.name.replace_range(..trampoline.name().len(), kprobe.name());
    }
    Ok(listed)
}

/// Trampolines take a function by the name that the kernel's types have, and there is none of that name.
fn renamed(wanted: &Wanted<'_>, parts: &[&str]) -> ResolveError {
    let function = wanted.function;
    ResolveError {
        kind: ResolveErrorKind::Unsupported,
        message: format!("the compiler has made {} of `{function}`", quoted_list(parts.iter().copied())),
        label: "needs kprobes".to_string(),
        help: vec!["fentry, which stands in for kprobes here, takes functions by their own names alone.".to_string()],
        part: Some(wanted.part),
    }
}

fn unsupported(kprobe: &Kprobe, machine: &Machine, wanted: &Wanted<'_>, is_entry: bool) -> ResolveError {
    let reason = match system::config_option("CONFIG_KPROBES").as_deref() {
        Some("y") => "CONFIG_KPROBE_EVENTS is not set",
        Some(_) => "CONFIG_KPROBES is not set",
        None => "it is built without CONFIG_KPROBES or CONFIG_KPROBE_EVENTS",
    };
    let mut help = Vec::new();
    if is_entry && machine.has(Feature::Trampolines) {
        let instead = if kprobe.is_return { "fexit" } else { "fentry" };
        help.push(format!(
            "`{instead}:{}` works here: use `args.NAME` and `retval` instead of registers.",
            wanted.function
        ));
    }
    let events = tracepoint::all_events(machine);
    let probes = events
        .iter()
        .map(|(category, event)| (category.as_str(), event.as_str(), format!("tracepoint:{category}:{event}")));
    let near = related(wanted.function, probes, NEAREST);
    if near.is_empty() {
        help.push("`rtrace -l` lists the probes that this kernel has.".to_string());
    } else {
        help.push(format!("The nearest probes of this kernel: {}.", quoted_list(near.iter().map(String::as_str))));
    }
    ResolveError {
        kind: ResolveErrorKind::Unsupported,
        message: format!("this kernel has no kprobes: {reason}"),
        label: "needs kprobes".to_string(),
        help,
        part: Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kprobe::{KPROBE, KRETPROBE};
    use rtrace_lang::target::ProgramKind;

    #[test]
    fn trampolines_stand_in_where_they_work() {
        let machine = Machine::new();
        if !machine.has(Feature::Trampolines) {
            println!("skipped: this kernel refuses fentry programs");
            return;
        }
        let wanted = Wanted { module: None, function: "vfs_read", offset: 0, part: 1 };
        for (kprobe, name) in [(&KPROBE, "kprobe:vfs_read"), (&KRETPROBE, "kretprobe:vfs_read")] {
            let sites = stand_in(kprobe, &machine, &wanted, &ResolveOptions::default()).unwrap();
            assert_eq!((sites.len(), &*sites[0].name, sites[0].provider), (1, name, kprobe.name()));
            assert!(matches!(sites[0].program, ProgramKind::Tracing { .. }));
            let options = ResolveOptions { uses_registers: true, ..ResolveOptions::default() };
            let error = stand_in(kprobe, &machine, &wanted, &options).unwrap_err();
            assert_eq!(error.kind, ResolveErrorKind::Unsupported);
            assert!(error.help[0].contains(":vfs_read` works here"), "{error:?}");
        }
    }
}
