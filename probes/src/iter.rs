//! `iter`: goes once through all objects of a kind that the kernel keeps (tasks, their files and mappings, sockets, BPF
//! programs), when everything is attached. The tool makes the kernel walk; the context is a struct `bpf_iter__NAME`.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use rtrace_lang::probe::{ProbeSpec, wildcard_match};
use rtrace_lang::target::{
    Argument, Attach, Feature, Layout, Location, ProbeSite, Processes, ProgramKind, ResolveError, ResolveErrorKind,
    ResolveOptions, Step, Target, TracingKind,
};
use rtrace_lang::types::{Field, StructKind, Type};

use crate::kernel::KernelError;
use crate::kernel::bpf;
use crate::kernel::btf::{Btf, Kind};
use crate::kernel::system;
use crate::listing::{self, ListedProbe};
use crate::machine::Machine;
use crate::nearest::near_misses;
use crate::provider::{AttachError, Documentation, Link, Provider, is_pattern, may_not_load, not_found, wrong_form};

pub static ITER: Iter = Iter;

/// The struct that is an iterator's context, and the function that its programs attach to, begin so
/// (include/linux/bpf.h, `DEFINE_BPF_ITER_FUNC`).
const CONTEXT: &str = "bpf_iter__";
const FUNCTION: &str = "bpf_iter_";

/// Where pins are, if they are not named by a whole path.
const PINS: &str = "/sys/fs/bpf";

/// Kinds whose objects are the entries of one map.
const OF_ONE_MAP: &[&str] = &["bpf_map_elem", "bpf_sk_storage_map", "sockmap"];

pub struct Iter;

impl Provider for Iter {
    fn name(&self) -> &'static str {
        "iter"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["it"]
    }

    fn documentation(&self) -> &'static Documentation {
        &Documentation {
            summary: "Fires once for each object of a kind, when everything is attached; the object is in `ctx`.",
            usage: &[
                "iter:KIND",
                "iter:KIND:FILE",
                "iter:bpf_map_elem:MAP",
                "iter:bpf_map_elem:MAP:FILE",
                "iter:sockmap:MAP",
            ],
            example: r#"iter:task { printf("%d %s\n", ctx.task.pid, ctx.task.comm); }"#,
        }
    }

    fn resolve(
        &self,
        machine: &Machine,
        spec: &ProbeSpec,
        options: &ResolveOptions,
    ) -> Result<Vec<ProbeSite>, ResolveError> {
        let is_of_one_map = |kind: &String| OF_ONE_MAP.contains(&kind.as_str());
        let (pattern, map, pin) = match spec.parts.as_slice() {
            parts if parts.iter().any(String::is_empty) => {
                return Err(wrong_form(self, "not a kind of objects", None));
            }
            [kind] => (kind, None, None),
            [kind, map] if is_of_one_map(kind) => (kind, Some(map.as_str()), None),
            [kind, map, pin] if is_of_one_map(kind) => (kind, Some(map.as_str()), Some(pin)),
            [kind, pin] => (kind, None, Some(pin)),
            parts => return Err(wrong_form(self, "not a kind of objects", (parts.len() > 2).then_some(3))),
        };
        if let Some(map) = map {
            bpf::map_named(map).map_err(|error| no_such_map(map, &error))?;
        }
        let pin: Option<Arc<Path>> = pin.map(|pin| Path::new(PINS).join(pin).into());
        if pin.is_some() && is_pattern(pattern) {
            let mut error = wrong_form(self, "several kinds and one file", Some(1));
            error.message = "a pinned iterator goes through objects of one kind".to_string();
            return Err(error);
        }
        let Some(btf) = machine.btf() else {
            return Err(unsupported("this kernel has no BTF (CONFIG_DEBUG_INFO_BTF)"));
        };
        if !machine.has(Feature::Iterators) {
            if machine.features().may_not_load() {
                return Err(may_not_load(self.name()));
            }
            return Err(unsupported("this kernel refuses programs of iterators"));
        }
        let kinds = kinds(btf);
        let matching = kinds.iter().filter(|(kind, _)| wildcard_match(pattern, kind));
        let mut sites = Vec::new();
        let mut first_error = None;
        for (kind, btf_id) in matching {
            match site(machine, kind, *btf_id, (map, pin.as_ref()), options) {
                Ok(site) => sites.push(site),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        match first_error {
            Some(error) if sites.is_empty() || !is_pattern(pattern) => Err(error),
            None if sites.is_empty() => {
                let names = || kinds.iter().map(|(kind, _)| *kind);
                let near: Vec<String> =
                    near_misses(pattern, names(), 3).iter().map(|kind| format!("{}:{kind}", self.name())).collect();
                let mut error = not_found(format!("this kernel has no iterator over `{pattern}`"), &near, Some(1));
                error.help.push(format!("Iterators are {}.", names().collect::<Vec<_>>().join(", ")));
                Err(error)
            }
            Some(_) | None => Ok(sites),
        }
    }

    fn list(&self, machine: &Machine, parts: &[String], verbose: bool) -> Result<Vec<ListedProbe>, ResolveError> {
        listing::by_resolving(self, machine, parts, 1, verbose)
    }

    fn attach(
        &self,
        _: &Machine,
        program: BorrowedFd<'_>,
        sites: &[(u64, &ProbeSite)],
    ) -> Result<Vec<Link>, AttachError> {
        let mut links = Vec::new();
        for (_, site) in sites {
            let Attach::Iterator { pid, map, pin } = &site.attach else { continue };
            let failed = |error| AttachError::new(site, error);
            let map = map.as_ref().map(|map| bpf::map_named(map)).transpose().map_err(failed)?;
            let info = match &map {
                Some(map) => vec![map.as_raw_fd() as u32],
                None => link_info(&site.function, *pid),
            };
            let link = bpf::link_create_iterator(program, &info);
            let link = link.map_err(|error| match error.errno() {
                // Which of both a map of another kind is refused with differs.
                Some(libc::EINVAL | libc::EBADF) if map.is_some() => failed(error).with_help(match &*site.function {
                    "sockmap" => "The kernel goes through the sockets of sockmaps and sockhashes alone.",
                    "bpf_sk_storage_map" => "The kernel goes through what maps of a socket's own storage hold alone.",
                    _ => "The kernel goes through the entries of hash maps and arrays alone.",
                }),
                _ => failed(error),
            })?;
            if let Some(pin) = pin {
                if pin.starts_with(PINS) && !is_for_pins(Path::new(PINS)) {
                    // Pinning says what is wrong where this is refused.
                    let _ = system::mount("bpf", Path::new(PINS));
                }
                bpf::pin(link.as_fd(), pin).map_err(|error| not_pinned(failed(error), pin))?;
            }
            links.push(Link::quick(link));
        }
        Ok(links)
    }
}

/// Whether it is in a file system whose files are BPF objects.
fn is_for_pins(directory: &Path) -> bool {
    let found = File::open(directory).ok().and_then(|directory| system::file_system(&directory));
    found == Some(libc::BPF_FS_MAGIC)
}

/// What to do about it.
fn not_pinned(mut error: AttachError, pin: &Path) -> AttachError {
    let (shown, directory) = (pin.display(), pin.parent().unwrap_or(Path::new("/")));
    let help = match error.source.errno() {
        Some(libc::EEXIST) => format!("There is a file of that name: `rm {shown}` ends what it is."),
        _ if !directory.is_dir() => format!("There is no directory {}: `mkdir` makes it.", directory.display()),
        _ if !is_for_pins(directory) => format!(
            "Pins are files of the kernel's file system for BPF: `mount -t bpf bpf {PINS}` where it is not mounted."
        ),
        _ => return error,
    };
    error.help = vec![help];
    error
}

fn no_such_map(map: &str, error: &KernelError) -> ResolveError {
    let message = match error.errno() {
        Some(libc::ENOENT) if map.parse::<u32>().is_ok() => format!("there is no map with the number {map}"),
        Some(libc::ENOENT) => format!("no map is pinned to {map}"),
        _ => format!("the map {map} cannot be had: {error}"),
    };
    let mut error = not_found(message, &[], Some(2));
    error.label = "no such map".to_string();
    error.help.push(
        "A map is named by its number, or by the file that it is pinned to; `bpftool map` lists them.".to_string(),
    );
    error
}

/// The words of `union bpf_iter_link_info` (include/uapi/linux/bpf.h) that say which objects are meant.
fn link_info(kind: &str, pid: Option<u32>) -> Vec<u32> {
    /// BPF_CGROUP_ITER_DESCENDANTS_PRE: the whole tree, since the directory to begin at is not given.
    const WHOLE_TREE: u32 = 2;
    match (kind, pid) {
        ("cgroup", _) => vec![WHOLE_TREE, 0, 0, 0],
        // 6.1 goes through the files of a process twice when it is asked for one: the program leaves out the others.
        ("task_file", _) => Vec::new(),
        // The thread, the process, and a descriptor of it.
        (_, Some(pid)) => vec![0, pid, 0],
        (_, None) => Vec::new(),
    }
}

/// Kinds of objects and the BTF ids of their functions, by name.
fn kinds(btf: &Btf) -> Vec<(&str, u32)> {
    let contexts = btf.beginning_with(CONTEXT, Kind::Struct);
    let functions: HashMap<&str, u32> = btf.beginning_with(FUNCTION, Kind::Func).into_iter().collect();
    let mut kinds: Vec<(&str, u32)> =
        contexts.into_iter().filter_map(|(kind, _)| Some((kind, *functions.get(kind)?))).collect();
    kinds.sort_unstable();
    kinds.dedup_by_key(|(kind, _)| *kind);
    kinds
}

fn site(
    machine: &Machine,
    kind: &str,
    btf_id: u32,
    (map, pin): (Option<&str>, Option<&Arc<Path>>),
    options: &ResolveOptions,
) -> Result<ProbeSite, ResolveError> {
    let members = members(machine, &format!("{CONTEXT}{kind}"));
    let is_object = |field: &&Field| &*field.name != "meta" && matches!(field.ty, Type::Pointer { .. });
    let objects: Vec<&Field> = members.iter().filter(is_object).collect();
    if map.is_none() && OF_ONE_MAP.contains(&kind) {
        let mut error = unsupported("its objects are the entries of one map");
        error.message = format!("iter:{kind} goes through one map, and none is named");
        error.label = "an iterator over one map".to_string();
        error.help = vec![format!(
            "Name it by its number or by the file that it is pinned to: `iter:{kind}:12`; `bpftool map` lists them."
        )];
        error.part = Some(1);
        return Err(error);
    }
    let task = objects.iter().find(|field| points_to(&field.ty, "task_struct"));
    let process = match (options.pid, task) {
        (None, _) => None,
        // The tree goes by the numbers of the namespace, objects by those of the kernel.
        (Some(_), Some(_)) if options.children && machine.process_namespace().is_some() => {
            let mut error = unsupported("not of a process tree in a process namespace");
            error.message =
                format!("iter:{kind} cannot be restricted to a process and its children in a process namespace");
            error.help = vec!["Leave out --children, -p and -c.".to_string()];
            return Err(error);
        }
        (Some(pid), Some(task)) => {
            let tgid =
                members_of(machine, "task_struct", "tgid").ok_or_else(|| unsupported("task_struct has no tgid"))?;
            let wanted = if options.children { Processes::Tree } else { Processes::One(pid) };
            Some((task.bit_offset / 8, tgid, wanted))
        }
        (Some(_), None) => {
            let mut error = unsupported("not of one process");
            error.message = format!("the objects of iter:{kind} do not belong to a process");
            error.label = "follows no process".to_string();
            error.help = vec!["Leave out -p and -c.".to_string()];
            error.part = Some(1);
            return Err(error);
        }
    };
    let argument = |field: &Field| Argument {
        name: field.name.clone(),
        ty: field.ty.clone(),
        at: Location::ContextCopy { offset: field.bit_offset / 8 },
    };
    let layout = Layout {
        arguments: members.iter().map(argument).collect(),
        step: Some(Step {
            objects: objects.iter().map(|field| field.bit_offset / 8).collect(),
            output: members_of(machine, "bpf_iter_meta", "seq").unwrap_or(0),
            process,
            is_pinned: pin.is_some(),
        }),
        ..Layout::default()
    };
    Ok(ProbeSite {
        name: match map {
            None => format!("{}:{kind}", ITER.name()).into(),
            Some(map) => format!("{}:{kind}:{map}", ITER.name()).into(),
        },
        function: kind.into(),
        provider: ITER.name(),
        program: ProgramKind::Tracing { attach: TracingKind::Iterator, btf_id },
        layout: Arc::new(layout),
        selector: None,
        attach: Attach::Iterator { pid: options.only_pid(), map: map.map(Into::into), pin: pin.cloned() },
    })
}

/// The members of a struct by name, those of anonymous unions among them, each at its place in the struct.
fn members(machine: &Machine, name: &str) -> Vec<Field> {
    fn flat(machine: &Machine, of: &rtrace_lang::types::StructRef, base: u32, into: &mut Vec<Field>) {
        for mut field in machine.fields(of) {
            field.bit_offset += base;
            match &field.ty {
                Type::Struct(inner) if field.name.is_empty() => flat(machine, inner, field.bit_offset, into),
                // The unnamed bits that fill a word.
                _ if field.name.is_empty() => {}
                _ => into.push(field),
            }
        }
    }
    let mut found = Vec::new();
    if let Some(of) = machine.struct_named(StructKind::Struct, name) {
        flat(machine, &of, 0, &mut found);
    }
    found
}

/// The offset of a member in bytes.
fn members_of(machine: &Machine, name: &str, member: &str) -> Option<u32> {
    members(machine, name).iter().find(|field| &*field.name == member).map(|field| field.bit_offset / 8)
}

fn points_to(ty: &Type, name: &str) -> bool {
    match ty {
        Type::Pointer { to, .. } => matches!(&**to, Type::Struct(of) if &*of.name == name),
        _ => false,
    }
}

fn unsupported(reason: &str) -> ResolveError {
    ResolveError {
        kind: ResolveErrorKind::Unsupported,
        message: format!("iter does not work here: {reason}"),
        label: "not offered by this kernel".to_string(),
        help: vec!["/proc has much of what iterators go through.".to_string()],
        part: Some(0),
    }
}
