//! What is said of kernel functions and modules that are not there, or that the kernel lets nobody trace.

use rtrace_lang::probe::wildcard_match;
use rtrace_lang::target::ResolveError;

use super::{KERNEL, Kprobe, Wanted, function_names};
use crate::kernel::symbols;
use crate::machine::Machine;
use crate::nearest::{near_matches, near_misses};
use crate::provider::{Provider, is_pattern, not_found, quoted_list};

/// So many functions are named that match and cannot be traced.
const NAMED: usize = 3;

/// Why the kernel lets a function be traced by nothing.
pub(super) const KEPT: &str =
    "The kernel keeps this function from being probed (noinstr, NOKPROBE_SYMBOL, or code that kprobes run on).";

/// Nothing matches a pattern: the module is at fault, where there is none of that name.
pub(super) fn nothing_matches(kprobe: &Kprobe, machine: &Machine, wanted: &Wanted<'_>) -> ResolveError {
    if let Some(error) = wanted.module.and_then(|module| no_such_module(machine, module, kprobe.name())) {
        return error;
    }
    if let Some(error) = untraceable(wanted.module, wanted.function, wanted.part) {
        return error;
    }
    let near = near_matches(wanted.function, function_names(machine), 3);
    let near: Vec<String> = near.iter().map(|function| format!("{}:{function}", kprobe.name())).collect();
    let message = match wanted.module {
        None => format!("no kernel function matches `{}`", wanted.function),
        Some(module) => format!("no function of `{module}` matches `{}`", wanted.function),
    };
    not_found(message, &near, Some(wanted.part))
}

pub(super) fn no_such_function(kprobe: &Kprobe, machine: &Machine, wanted: &Wanted<'_>) -> ResolveError {
    if let Some(error) = wanted.module.and_then(|module| no_such_module(machine, module, kprobe.name())) {
        return error;
    }
    let near = near_misses(wanted.function, function_names(machine), 3);
    let near: Vec<String> = near.iter().map(|function| format!("{}:{function}", kprobe.name())).collect();
    let mut error = not_found(format!("there is no kernel function `{}`", wanted.function), &near, Some(wanted.part));
    error.label = "no such function".to_string();
    if near.is_empty() {
        error.help.push("A function that the compiler has inlined everywhere can't be traced.".to_string());
    }
    error
}

/// The error for a pattern that matches functions of which none can be traced; None where it matches none at all.
pub(crate) fn untraceable(module: Option<&str>, pattern: &str, part: usize) -> Option<ResolveError> {
    // Not all kernels show the types of functions that can't be traced.
    let matching = symbols::functions_matching(pattern, module).unwrap_or_default();
    let named = quoted_list(matching.iter().take(NAMED).map(String::as_str));
    let label = match matching.len() {
        0 => return None,
        1 => format!("{named} matches, and is kept from being probed"),
        count if count > NAMED => format!("{named} and {} more match, and are kept from being probed", count - NAMED),
        _ => format!("{named} match, and are kept from being probed"),
    };
    let mut error = not_found(format!("none of the functions that match `{pattern}` can be traced"), &[], Some(part));
    error.label = label;
    error.help.push(KEPT.replace("this function", "such functions"));
    Some(error)
}

/// The error for a module, or a pattern of modules, that the kernel has not loaded.
pub(crate) fn no_such_module(machine: &Machine, module: &str, provider: &str) -> Option<ResolveError> {
    // Modules that are built in have a directory there too, if they have parameters; all that are loaded have this file.
    let entries = std::fs::read_dir("/sys/module").into_iter().flatten().flatten();
    let loaded = entries.filter(|entry| entry.path().join("refcnt").exists());
    let mut names: Vec<String> = loaded.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.extend(machine.module_names());
    names.push(KERNEL.to_string());
    if names.iter().any(|name| wildcard_match(module, name)) {
        return None;
    }
    let near: Vec<String> = near_matches(module, names.iter().map(String::as_str), 3);
    let near: Vec<String> = near.iter().map(|module| format!("{provider}:{module}")).collect();
    let message = match is_pattern(module) {
        true => format!("no loaded module matches `{module}`"),
        false => format!("the module `{module}` is not loaded"),
    };
    let mut error = not_found(message, &near, Some(1));
    error.label = "no such module".to_string();
    error.help.push("/proc/modules lists what is loaded; functions of the kernel itself take no module.".to_string());
    Some(error)
}
