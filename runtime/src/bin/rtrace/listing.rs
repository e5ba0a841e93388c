//! `-l`: which probes there are, what types look like, and what a script would attach to.

use std::collections::HashSet;
use std::io::{BufWriter, IsTerminal, Write};

use rtrace_lang::check::CheckOptions;
use rtrace_lang::source::Source;
use rtrace_lang::target::ResolveErrorKind;
use rtrace_probes::{ListedProbe, list, list_types};
use rtrace_runtime::controls::escape_controls;
use rtrace_runtime::driver::{Stage, drive};

use crate::arguments::{Arguments, Origin};
use crate::parameters;
use crate::script::{self, fail};

/// Lists the probes that match; gives the exit status.
pub fn run(arguments: &Arguments, pattern: Option<&str>) -> i32 {
    let (verbose, pid) = (arguments.verbose, arguments.pid);
    let machine = match script::machine(arguments) {
        Ok(machine) => machine,
        Err(status) => return status,
    };
    if let Some(lines) = pattern.and_then(|pattern| list_types(&machine, pattern, verbose)) {
        if lines.is_empty() {
            fail(&format!("the kernel has no type `{}`", pattern.unwrap_or_default()), &[]);
            return 2;
        }
        return show(lines.into_iter().map(|name| ListedProbe { name, arguments: Vec::new() }));
    }
    let probes = match list(&machine, pattern, verbose, pid) {
        Ok(probes) => probes,
        Err(error) => {
            fail(&error.message, &error.help);
            return match error.kind {
                ResolveErrorKind::UnknownProvider | ResolveErrorKind::Form => 1,
                ResolveErrorKind::NotFound | ResolveErrorKind::Unsupported | ResolveErrorKind::Privilege => 2,
            };
        }
    };
    if probes.is_empty() {
        fail(&format!("no probe matches `{}`", pattern.unwrap_or("*")), &[]);
        return 2;
    }
    show(probes.into_iter())
}

/// Lists what a script would attach to, in its order; gives the exit status.
pub fn of_script(arguments: &Arguments, origin: Origin<'_>) -> i32 {
    let (name, text) = match script::read(origin) {
        Ok(source) => source,
        Err(message) => return fail(&message, &[]),
    };
    let mut machine = match script::machine(arguments) {
        Ok(machine) => machine,
        Err(status) => return status,
    };
    let child = match script::held_command(arguments) {
        Ok(child) => child,
        Err(status) => return status,
    };
    if let Some(child) = &child {
        machine.expect_program(child.pid, child.program.clone());
    }
    let pid = arguments.pid.or(child.as_ref().map(|child| child.pid));
    // Where -l has taken the file, all words are parameters.
    let words = if let Some(Some(_)) = arguments.list { &arguments.words } else { arguments.parameters() };
    let (named, positional) = parameters::split(words);
    let options = CheckOptions {
        pid,
        child: child.as_ref().map(|child| child.pid),
        positional,
        named,
        allow_unsafe: arguments.allow_unsafe,
        ..CheckOptions::default()
    };
    let mut source = Source::new(&name, &text);
    let driven = drive(&mut source, &machine, &options, Stage::Check);
    script::report(&driven.diagnostics, &source);
    let Some(hir) = driven.hir else {
        let is_mistake = driven.diagnostics.iter().any(|diagnostic| diagnostic.is_error() && !diagnostic.machine);
        return if is_mistake { 1 } else { 2 };
    };
    let mut known = HashSet::new();
    let sites = hir.sites.iter().filter(|site| known.insert(site.name.clone()));
    show(sites.map(|site| {
        // Each is looked up once more for its arguments, which only -v shows.
        let listed = match arguments.verbose {
            true => list(&machine, Some(&site.name), true, pid).unwrap_or_default(),
            false => Vec::new(),
        };
        let found = listed.into_iter().find(|listed| *listed.name == *site.name);
        ListedProbe { name: site.name.to_string(), arguments: found.map_or_else(Vec::new, |found| found.arguments) }
    }))
}

/// A line each, and the arguments below.
fn show(probes: impl Iterator<Item = ListedProbe>) -> i32 {
    let stdout = std::io::stdout();
    // Files choose the names of their functions.
    let is_terminal = stdout.is_terminal();
    let shown = |line: String| if is_terminal { escape_controls(line.into_bytes()) } else { line.into_bytes() };
    let mut out = BufWriter::new(stdout);
    let mut write = |line: String| out.write_all(&shown(line + "\n"));
    let written = probes.into_iter().try_for_each(|probe| {
        write(probe.name)?;
        probe.arguments.into_iter().try_for_each(|argument| write(format!("    {argument}")))
    });
    script::is_written(written.and_then(|()| out.flush()))
}
