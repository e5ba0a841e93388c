//! Events where tracefs may not be read or is not mounted, as the kernel's types and the table of system calls have them:
//! enough to compile a script, not to attach it.
//!
//! An event's record is `struct trace_event_raw_CLASS` (include/trace/trace_events.h). An event is a class of its own, or one of
//! several that share one; which of these it is the types don't say. Those whose functions take what the event passes on may be,
//! and the one that is named most like the event is the likeliest. The fields of the others are taken besides, so that nothing
//! that is there is refused.

use std::sync::Arc;

use rtrace_lang::limits::DEFAULT_MAX_STRLEN;
use rtrace_lang::probe::wildcard_match;
use rtrace_lang::target::{Argument, Attach, Layout, Location, ProbeSite, ProgramKind, ResolveOptions, Target};
use rtrace_lang::types::{Field, StructKind, Type};

use super::fields::LOCATION_BYTES;
use super::{bare_site, syscalls};
use crate::kernel::btf::{Btf, Kind};
use crate::kernel::syscalls as numbers;
use crate::kernel::tracefs::{FormatField, parse_format};
use crate::machine::Machine;
use crate::provider::is_pattern;

/// The record of a class, and the function that writes one.
const RECORD: &str = "trace_event_raw_";
const WRITER: &str = "trace_event_raw_event_";

/// What all records have, and the room for data of any length.
const COMMON: [&str; 2] = ["ent", "__data"];

/// The sites of a specification; None where tracefs alone would tell: which events a category has.
pub(super) fn sites(
    machine: &Machine,
    category: &str,
    event: &str,
    options: &ResolveOptions,
) -> Option<Vec<ProbeSite>> {
    if category == "syscalls" {
        return calls(machine, event, options.uses_arguments);
    }
    // Which category an event is of its name alone tells: `sched_*`.
    let is_of_category = event.strip_prefix(category).is_some_and(|rest| rest.starts_with('_'));
    if is_pattern(category) || is_pattern(event) && !is_of_category {
        return None;
    }
    let known = machine.btf()?.trace_events().keys();
    let mut events: Vec<&str> = known.map(String::as_str).filter(|known| wildcard_match(event, known)).collect();
    events.sort_unstable();
    let site = |event: &str| {
        if !options.uses_arguments {
            return Some(bare_site(category, event));
        }
        let layout = Layout { arguments: arguments(machine, event)?, ..Layout::default() };
        // Nobody attaches it.
        let (layout, attach) = (Arc::new(layout), Attach::Tracepoint { id: 0 });
        Some(ProbeSite { program: ProgramKind::Tracepoint, layout, attach, ..bare_site(category, event) })
    };
    let sites: Vec<ProbeSite> = events.into_iter().filter_map(site).collect();
    (!sites.is_empty()).then_some(sites)
}

/// The events of system calls from the table of their numbers; None where none matches or BTF is missing too.
fn calls(machine: &Machine, pattern: &str, uses_arguments: bool) -> Option<Vec<ProbeSite>> {
    let of_name = |name| [(format!("sys_enter_{name}"), name), (format!("sys_exit_{name}"), name)];
    let mut events: Vec<(String, &str)> = numbers::names().flat_map(of_name).collect();
    events.retain(|(event, _)| wildcard_match(pattern, event));
    events.sort_unstable();
    let site = |(event, name): &(String, &str)| {
        let format = if uses_arguments { Some(format_of_call(event, name)?) } else { None };
        syscalls::site(machine, event, format.as_deref())
    };
    let sites: Option<Vec<ProbeSite>> = events.iter().map(site).collect();
    sites.filter(|sites| !sites.is_empty())
}

/// What the format file of a call's event would say; None where the parameters of the call are not known.
fn format_of_call(event: &str, name: &str) -> Option<Vec<FormatField>> {
    let mut text = "field:int __syscall_nr;offset:8;size:4;signed:1;\n".to_string();
    let declarations: Vec<&str> = match event.starts_with("sys_exit_") {
        true => vec!["long ret"],
        false => numbers::parameters(name)?.split(", ").filter(|parameter| !parameter.is_empty()).collect(),
    };
    for (index, declaration) in declarations.into_iter().enumerate() {
        text += &format!("field:{declaration};offset:{};size:8;signed:0;\n", 16 + 8 * index);
    }
    Some(parse_format(&text))
}

/// The fields of an event's record; None where none is known.
fn arguments(machine: &Machine, event: &str) -> Option<Vec<Argument>> {
    let mut found: Vec<Argument> = Vec::new();
    for class in classes(machine.btf()?, event) {
        let Some(record) = machine.struct_named(StructKind::Struct, &format!("{RECORD}{class}")) else { continue };
        for field in machine.fields(&record).iter().filter(|field| !COMMON.contains(&&*field.name)) {
            let argument = argument(field);
            if !found.iter().any(|known| known.name == argument.name) {
                found.push(argument);
            }
        }
    }
    (!found.is_empty()).then_some(found)
}

/// The classes that an event may be of, the likeliest first.
fn classes<'a>(btf: &'a Btf, event: &'a str) -> Vec<&'a str> {
    if btf.find(Kind::Struct, &format!("{RECORD}{event}")).is_some() {
        return vec![event];
    }
    let types = |id: u32| -> Option<Vec<Type>> {
        // The first is the program's own.
        let parameters = btf.prototype(id)?.parameters.into_iter().skip(1);
        Some(parameters.map(|parameter| parameter.ty).collect())
    };
    let Some(passed) = btf.trace_events().get(event).and_then(|id| types(*id)) else { return Vec::new() };
    let writers = btf.beginning_with(WRITER, Kind::Func).into_iter();
    // A class of the name of an event is that event's own.
    let shared = writers.filter(|(class, _)| !btf.trace_events().contains_key(*class));
    let fitting = shared.filter(|(_, id)| types(*id).as_ref() == Some(&passed));
    let mut classes: Vec<&str> = fitting.map(|(class, _)| class).collect();
    let common = |class: &str| class.bytes().zip(event.bytes()).take_while(|(one, other)| one == other).count();
    classes.sort_by_key(|class| std::cmp::Reverse(common(class)));
    classes
}

/// A member of a record. The types have of data of any length only where they are: they are text for most events.
fn argument(field: &Field) -> Argument {
    let offset = field.bit_offset / 8;
    let data = |name: &str, base: u32| Argument {
        name: name.into(),
        ty: Type::Str(DEFAULT_MAX_STRLEN),
        at: Location::DataLocation { offset, base },
    };
    if let Some(name) = field.name.strip_prefix("__data_loc_") {
        return data(name, 0);
    }
    if let Some(name) = field.name.strip_prefix("__rel_loc_") {
        return data(name, offset + LOCATION_BYTES);
    }
    Argument { name: field.name.clone(), ty: field.ty.clone(), at: Location::Context { offset } }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::fields;
    use super::*;

    fn places(arguments: Vec<Argument>) -> BTreeMap<Arc<str>, Location> {
        arguments.into_iter().map(|argument| (argument.name, argument.at)).collect()
    }

    #[test]
    fn parameters_of_calls() {
        let names = |event: &str, name: &str| -> Vec<String> {
            format_of_call(event, name).unwrap().into_iter().map(|field| field.name).collect()
        };
        assert_eq!(names("sys_enter_openat", "openat"), ["__syscall_nr", "dfd", "filename", "flags", "mode"]);
        assert_eq!(names("sys_enter_getpid", "getpid"), ["__syscall_nr"]);
        assert_eq!(names("sys_exit_openat", "openat"), ["__syscall_nr", "ret"]);
        assert!(format_of_call("sys_enter_no_such_call", "no_such_call").is_none());
    }

    /// What the running kernel's format files say, for every event of which anything is known here.
    #[test]
    fn as_tracefs_tells() {
        let machine = Machine::new();
        let (Ok(tracefs), Some(btf)) = (machine.tracefs(), machine.btf()) else {
            println!("skipped: no tracefs or no BTF here");
            return;
        };
        let (mut compared, mut calls) = (0, 0);
        for category in tracefs.categories().unwrap().iter().filter(|category| *category != "ftrace") {
            // Some of each category: each takes ten milliseconds.
            for event in tracefs.events(category).unwrap().unwrap().iter().step_by(3) {
                let format = tracefs.format(category, event).unwrap();
                if category == "syscalls" {
                    let name = event.trim_start_matches("sys_enter_").trim_start_matches("sys_exit_");
                    let declared = |fields: &[FormatField]| -> Vec<String> {
                        fields.iter().skip(1).map(|field| field.declaration.clone()).collect()
                    };
                    let known = format_of_call(event, name).is_some_and(|known| declared(&known) == declared(&format));
                    calls += usize::from(known);
                } else if btf.trace_events().contains_key(event.as_str())
                    && !tracefs.is_dynamic(category, event)
                    && let Some(known) = arguments(&machine, event)
                {
                    let told = places(fields::arguments(&machine, &format, fields::space_of(category)));
                    let known = places(known);
                    let is_certain = classes(btf, event).len() == 1;
                    let fits =
                        if is_certain { known == told } else { told.keys().all(|name| known.contains_key(name)) };
                    assert!(fits, "{category}:{event}: {known:?}, not {told:?}");
                    compared += 1;
                }
            }
        }
        println!("{compared} events and {calls} of system calls");
        // Other kernels rename a parameter here and there.
        assert!(compared > 150 && calls > 150, "{compared} events and {calls} of system calls");
    }
}
