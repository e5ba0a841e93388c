//! Attaches to places in programs: with one link for all those of a file, or with a perf event for each.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rtrace_lang::target::{Attach, MultiKind, ProbeSite, ProgramKind};

use crate::elf::file_of;
use crate::kernel::bpf::{self, UprobeTargets};
use crate::kernel::perf::{self, PerfKind, PerfScope};
use crate::provider::{AttachError, Link, link_perf_event};

/// Attaches a program to sites of programs, which are all of one kind.
pub(crate) fn attach(program: BorrowedFd<'_>, sites: &[(u64, &ProbeSite)]) -> Result<Vec<Link>, AttachError> {
    let Some((_, first)) = sites.first() else { return Ok(Vec::new()) };
    match first.program {
        ProgramKind::Kprobe { multi: MultiKind::UprobeMulti, user: _ } => attach_multi(program, sites),
        ProgramKind::Kprobe {
            multi: MultiKind::Single | MultiKind::KprobeMulti | MultiKind::KprobeSession,
            user: _,
        } => sites.iter().map(|(cookie, site)| attach_single(program, *cookie, site)).collect(),
        ProgramKind::TestRun
        | ProgramKind::Tracepoint
        | ProgramKind::RawTracepoint
        | ProgramKind::Tracing { .. }
        | ProgramKind::PerfEvent => Ok(Vec::new()),
    }
}

/// One place of a link for many.
struct Place<'a> {
    offset: u64,
    cookie: u64,
    /// 0 for none.
    semaphore: u64,
    site: &'a ProbeSite,
}

fn attach_multi(program: BorrowedFd<'_>, sites: &[(u64, &ProbeSite)]) -> Result<Vec<Link>, AttachError> {
    type Group<'a> = (&'a Path, bool, Option<u32>);
    let mut groups: BTreeMap<Group<'_>, Vec<Place<'_>>> = BTreeMap::new();
    for (cookie, site) in sites {
        if let Attach::Uprobe { path, offset, is_return, pid, semaphore } = &site.attach {
            let place = Place { offset: *offset, cookie: *cookie, semaphore: semaphore.unwrap_or(0), site };
            groups.entry((path.as_path(), *is_return, *pid)).or_default().push(place);
        }
    }
    let mut links = Vec::new();
    for ((path, is_return, pid), places) in groups {
        let offsets: Vec<u64> = places.iter().map(|place| place.offset).collect();
        let cookies: Vec<u64> = places.iter().map(|place| place.cookie).collect();
        let has_semaphores = places.iter().any(|place| place.semaphore != 0);
        let semaphores = places.iter().map(|place| place.semaphore).filter(|_| has_semaphores);
        let ref_ctr_offsets: Vec<u64> = semaphores.collect();
        let path = c_path(path);
        let targets = UprobeTargets {
            path: &path,
            offsets: &offsets,
            cookies: &cookies,
            ref_ctr_offsets: &ref_ctr_offsets,
            pid: pid.map(|pid| pid as i32),
            is_return,
        };
        let link = bpf::link_create_uprobe_multi(program, &targets);
        links.push(Link::slow(link.map_err(|error| AttachError::new(places[0].site, error))?));
    }
    Ok(links)
}

fn attach_single(program: BorrowedFd<'_>, cookie: u64, site: &ProbeSite) -> Result<Link, AttachError> {
    let Attach::Uprobe { path, offset, is_return, pid, semaphore } = &site.attach else {
        unreachable!("resolving gives uprobe sites this attachment")
    };
    let path = c_path(path);
    let ref_ctr_offset = semaphore.unwrap_or(0);
    let kind = PerfKind::Uprobe { path: &path, offset: *offset, ref_ctr_offset, is_return: *is_return };
    // Every CPU runs the program, whichever the event was opened on.
    let scope = pid.map_or(PerfScope::Cpu(0), PerfScope::Process);
    perf::perf_event_open(kind, scope).and_then(|event| link_perf_event(program, event, cookie, true)).map_err(
        // Kernels differ: perf-based uprobes have taken CAP_PERFMON and, before and after, CAP_SYS_ADMIN.
        |error| AttachError::new(site, error),
    )
}

fn c_path(path: &Path) -> CString {
    CString::new(file_of(path).as_os_str().as_bytes()).unwrap_or_default()
}
