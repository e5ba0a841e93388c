//! D's names of probes of a process: `pid123:libc:malloc:entry`, and `postgresql123:::query-start` for what the program
//! itself defines. The number at the end of the provider says which process is meant.

use std::path::Path;

use rtrace_lang::probe::{ProbeSpec, glob_match, widened};
use rtrace_lang::target::{ProbeSite, ResolveError, ResolveErrorKind, ResolveOptions};

use crate::machine::Machine;
use crate::provider::{Provider, is_pattern, narrowed, not_found};
use crate::uprobe::{UPROBE, URETPROBE};
use crate::usdt::USDT;

/// What stands for the executable, as in D.
const EXECUTABLE: &str = "a.out";

/// The sites of a specification in D's form; None if it is in none.
pub fn resolve(
    machine: &Machine,
    spec: &ProbeSpec,
    options: &ResolveOptions,
) -> Option<Result<Vec<ProbeSite>, ResolveError>> {
    let (name, process) = split(&spec.provider)?;
    let Some(pid) = process else { return Some(Err(no_process(spec))) };
    if !Path::new("/proc").join(pid.to_string()).exists() {
        let mut error = not_found(format!("there is no process {pid}"), &[], Some(0));
        error.label = "no such process".to_string();
        return Some(Err(error));
    }
    let [module, function, event] = spec.parts.as_slice() else {
        return Some(Err(wrong_form(spec, "three parts follow the provider", None)));
    };
    let options =
        ResolveOptions { pid: Some(pid), children: options.children && options.pid == Some(pid), ..options.clone() };
    Some(if name == "pid" {
        of_function(machine, spec, module, function, event, &options)
    } else {
        of_program(machine, name, module, function, event, &options)
    })
}

/// The name before the process, and the process; `$target` where there is none. None if it is no such name.
fn split(provider: &str) -> Option<(&str, Option<u32>)> {
    if let Some(name) = provider.strip_suffix("$target") {
        return (!name.is_empty()).then_some((name, None));
    }
    let name = provider.trim_end_matches(|c: char| c.is_ascii_digit());
    let pid = provider[name.len()..].parse().ok()?;
    (!name.is_empty()).then_some((name, Some(pid)))
}

fn of_function(
    machine: &Machine,
    spec: &ProbeSpec,
    module: &str,
    function: &str,
    event: &str,
    options: &ResolveOptions,
) -> Result<Vec<ProbeSite>, ResolveError> {
    let function = if function.is_empty() { "*" } else { function };
    let (provider, function): (&dyn Provider, String) = match event {
        "entry" => (&UPROBE, function.to_string()),
        "return" => (&URETPROBE, function.to_string()),
        offset => match u64::from_str_radix(offset.strip_prefix("0x").unwrap_or(offset), 16) {
            Ok(offset) => (&UPROBE, format!("{function}+{offset}")),
            Err(_) => return Err(wrong_form(spec, "`entry`, `return`, or an offset in hexadecimal digits", Some(3))),
        },
    };
    let wide = widened(&function);
    let only = wide.is_some().then(|| function.clone());
    let plain = plain(provider.name(), &[&target(module), wide.as_deref().unwrap_or(&function)]);
    narrowed(provider.resolve(machine, &plain, options)?, &ProbeSpec { only, ..plain })
}

fn of_program(
    machine: &Machine,
    namespace: &str,
    module: &str,
    function: &str,
    event: &str,
    options: &ResolveOptions,
) -> Result<Vec<ProbeSite>, ResolveError> {
    let event = if event.is_empty() { "*" } else { event };
    let spec = plain(USDT.name(), &[&target(module), namespace, event]);
    let mut sites = USDT.resolve(machine, &spec, options)?;
    if !function.is_empty() {
        sites.retain(|site| glob_match(function, &site.function));
        if sites.is_empty() {
            return Err(not_found(format!("the probe `{event}` is in no function `{function}`"), &[], Some(2)));
        }
    }
    Ok(sites)
}

/// The file that a module means.
fn target(module: &str) -> String {
    match module {
        "" => "*".to_string(),
        EXECUTABLE => String::new(),
        pattern if is_pattern(pattern) && !pattern.starts_with(['/', '*']) => format!("*/{pattern}"),
        name => name.to_string(),
    }
}

fn plain(provider: &str, parts: &[&str]) -> ProbeSpec {
    ProbeSpec {
        text: format!("{provider}:{}", parts.join(":")),
        label: None,
        provider: provider.to_string(),
        parts: parts.iter().map(|part| part.to_string()).collect(),
        only: None,
        span: Default::default(),
    }
}

fn no_process(spec: &ProbeSpec) -> ResolveError {
    ResolveError {
        kind: ResolveErrorKind::Form,
        message: format!("`{}` needs a process", spec.provider),
        label: "no process is followed".to_string(),
        help: vec!["Name one with -p, or start a command with -c.".to_string()],
        part: Some(0),
    }
}

fn wrong_form(spec: &ProbeSpec, label: &str, part: Option<usize>) -> ResolveError {
    let name = spec.provider.trim_end_matches(|c: char| c.is_ascii_digit());
    let form = match name {
        "pid" => "pid$target:MODULE:FUNCTION:entry".to_string(),
        name => format!("{name}$target:MODULE:FUNCTION:NAME"),
    };
    ResolveError {
        kind: ResolveErrorKind::Form,
        message: format!("probes of a process are written `{form}`"),
        label: label.to_string(),
        help: vec!["MODULE and FUNCTION may be empty, for all of them.".to_string()],
        part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_names() {
        assert_eq!(split("pid12"), Some(("pid", Some(12))));
        assert_eq!(split("postgresql7"), Some(("postgresql", Some(7))));
        assert_eq!(split("pid$target"), Some(("pid", None)));
        assert_eq!(split("kprobe"), None);
        assert_eq!(split("12"), None);
    }

    #[test]
    fn modules() {
        assert_eq!(target(""), "*");
        assert_eq!(target("a.out"), "");
        assert_eq!(target("libc*"), "*/libc*");
        assert_eq!(target("libc.so.6"), "libc.so.6");
    }

    #[test]
    fn functions_of_this_process() {
        let machine = Machine::new();
        let of = |text: &str| {
            let text = text.replace("PID", &std::process::id().to_string());
            resolve(&machine, &ProbeSpec::parse(&text, Default::default()), &ResolveOptions::default())
        };
        let sites = of("pidPID:libc:malloc:entry").unwrap().unwrap();
        assert_eq!((sites[0].provider, &*sites[0].function), ("uprobe", "malloc"));
        assert_eq!(of("pidPID:libc:malloc:return").unwrap().unwrap()[0].provider, "uretprobe");
        assert!(of("pidPID::malloc:entry").unwrap().unwrap().iter().any(|site| site.name.contains("libc")));
        assert!(!of("pidPID:a.out:*functions_of_this_process*:entry").unwrap().unwrap().is_empty());
        let by_pattern = of("pidPID:libc:m[a-b]ll?c:entry").unwrap().unwrap();
        assert_eq!((by_pattern.len(), &*by_pattern[0].function), (1, "malloc"));
        assert_eq!(of("pidPID:libc:mallo?c:entry").unwrap().unwrap_err().kind, ResolveErrorKind::NotFound);
        for wrong in ["pidPID:libc:malloc", "pidPID:libc:malloc:middle", "pid$target:libc:malloc:entry"] {
            assert_eq!(of(wrong).unwrap().unwrap_err().kind, ResolveErrorKind::Form, "{wrong}");
        }
        assert_eq!(of("pid4000000:libc:malloc:entry").unwrap().unwrap_err().kind, ResolveErrorKind::NotFound);
        assert!(of("kprobe:x").is_none());
    }
}
