//! What debug information adds to user-space probes: `args`, the type of `retval`, the program's types by their names,
//! and why one of them is not there.

use std::path::Path;
use std::sync::Arc;

use rtrace_lang::target::{Absence, Argument, Attach, Layout, Location, ProbeSite, TypeTag};
use rtrace_lang::types::{EnumRef, Type};

use crate::dwarf::{DebugError, DebugInfo, Parameter, Passed, Sought};
use crate::elf::Binary;
use crate::kprobe::{ARGUMENT_OFFSETS, RETURN_OFFSET, bare_entry_layout};
use crate::machine::Machine;

/// What works without types.
const WITHOUT: &str = "arg0, arg1, ... work without";

/// What compilers append to the names of variants of a function whose parameters they changed.
const VARIANTS: &[&str] = &[".isra.", ".constprop.", ".part.", ".cold"];

fn is_variant(function: &str) -> bool {
    VARIANTS.iter().any(|variant| function.contains(variant))
}

/// The layout of a function's entry or return with types; None where nothing is known of the code at that offset of
/// the file, or nothing more than the registers.
pub fn layout(machine: &Machine, binary: &Binary, function: &str, offset: u64, is_return: bool) -> Option<Arc<Layout>> {
    if is_variant(function) {
        return None;
    }
    let info = machine.debug_info(binary.path()).ok()?;
    let function = info.function_at(binary.address_at(offset)?)?;
    if is_return {
        let ty = Some(function.returns).filter(Type::is_scalar)?;
        let at = Location::Context { offset: RETURN_OFFSET };
        let return_value = Some(Argument { name: "retval".into(), ty, at });
        return Some(Arc::new(Layout { return_value, ..Layout::default() }));
    }
    let mut arguments = Vec::new();
    for parameter in function.parameters {
        if let Passed::Register(number) = parameter.passed
            && let Some(offset) = ARGUMENT_OFFSETS.get(number as usize)
            && !parameter.name.is_empty()
        {
            let at = Location::Context { offset: *offset };
            arguments.push(Argument { name: parameter.name.into(), ty: parameter.ty, at });
        }
    }
    (!arguments.is_empty()).then(|| Arc::new(Layout { arguments, ..bare_entry_layout() }))
}

/// The program that a site is in, and the address there.
fn place(site: &ProbeSite) -> Option<(&Path, Option<u64>)> {
    match &site.attach {
        Attach::Uprobe { path, offset, .. } => {
            Some((path, Binary::open(path).ok().and_then(|binary| binary.address_at(*offset))))
        }
        Attach::Begin
        | Attach::End
        | Attach::Trial(_)
        | Attach::Timer { .. }
        | Attach::Signal { .. }
        | Attach::Kprobe { .. }
        | Attach::Tracepoint { .. }
        | Attach::RawTracepoint { .. }
        | Attach::Trampoline
        | Attach::Iterator { .. }
        | Attach::PerfEvent { .. }
        | Attach::Watchpoint { .. } => None,
    }
}

fn info_of(machine: &Machine, site: &ProbeSite) -> Option<(Arc<DebugInfo>, Option<u64>)> {
    let (path, address) = place(site)?;
    Some((machine.debug_info(path).ok()?, address))
}

pub fn type_named(machine: &Machine, site: &ProbeSite, tag: TypeTag, name: &str) -> Option<Type> {
    let (info, address) = info_of(machine, site)?;
    let sought = match tag {
        TypeTag::Struct => Sought::Struct,
        TypeTag::Union => Sought::Union,
        TypeTag::Enum => Sought::Enum,
        TypeTag::Plain => Sought::Typedef,
    };
    info.type_named(sought, name, address)
}

pub fn enumerator_named(machine: &Machine, site: &ProbeSite, name: &str) -> Option<(i64, EnumRef)> {
    let (info, address) = info_of(machine, site)?;
    info.enumerator_named(name, address)
}

pub fn struct_names(machine: &Machine, site: &ProbeSite) -> Vec<String> {
    info_of(machine, site).map_or_else(Vec::new, |(info, _)| info.struct_names())
}

/// Why an entry has no `args`, or not that argument; None where there is nothing to explain.
pub fn absence(machine: &Machine, site: &ProbeSite, argument: Option<&str>) -> Option<Absence> {
    let (path, address) = place(site)?;
    let name = &site.function;
    let because = |message: String, help: &str| Some(Absence { message, help: help.to_string() });
    if is_return(site) {
        return because(
            "`args` is there where a function is entered, not where it returns".to_string(),
            "entry(args.NAME) is what an argument was when the call began",
        );
    }
    if is_variant(name) {
        return because(
            format!("`{name}` is a variant of a function, with parameters that the compiler changed"),
            WITHOUT,
        );
    }
    let info = match machine.debug_info(path) {
        Ok(info) => info,
        Err(DebugError::None) => {
            let help = format!("build it with -g, or install the package with its debug information; {WITHOUT}");
            return because(format!("{} has no debug information, which `args` needs", path.display()), &help);
        }
        Err(DebugError::Unreadable { reason }) => {
            return because(format!("the debug information that `args` needs can't be read: {reason}"), WITHOUT);
        }
    };
    let Some(function) = address.and_then(|address| info.function_at(address)) else {
        if address.is_some_and(|address| info.is_split_at(address)) {
            let message = format!("the debug information of {} is in .dwo files, which are not read", path.display());
            return because(message, &format!("build it without -gsplit-dwarf; {WITHOUT}"));
        }
        let message = format!("the debug information of {} has no function that begins there", path.display());
        return because(message, &format!("`args` is there at the start of functions that it has; {WITHOUT}"));
    };
    let Some(argument) = argument.or(function.parameters.first().map(|first| &*first.name)) else {
        return because(format!("`{name}` takes no arguments"), "its debug information says so");
    };
    let Some(parameter) = function.parameters.iter().find(|parameter| parameter.name == argument) else {
        let is_there = |parameter: &Parameter| matches!(parameter.passed, Passed::Register(_));
        if function.parameters.iter().any(is_there) {
            return None;
        }
        return because(format!("`{name}` has no argument `{argument}`, and none that is available"), WITHOUT);
    };
    let reason = match parameter.passed {
        Passed::Register(_) => return None,
        Passed::VectorRegister => "is a floating-point number, which is passed in a vector register",
        Passed::ByValue => "is no single word, and passed by value",
        Passed::Stack => "is passed on the stack, behind the six that are in registers",
        Passed::Unknown => "is passed in a way that the debug information does not tell",
    };
    because(format!("`{argument}` of `{name}` is not available: it {reason}"), WITHOUT)
}

fn is_return(site: &ProbeSite) -> bool {
    matches!(site.attach, Attach::Uprobe { is_return: true, .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_of_functions() {
        assert!(is_variant("read_all.isra.0") && is_variant("read_all.constprop.0.isra.0") && is_variant("main.cold"));
        assert!(!is_variant("read_all") && !is_variant("main.main"));
    }
}
