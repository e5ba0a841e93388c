//! `watchpoint`: an address is written, read or run, found by the processor's own debug registers. Follows one process,
//! or watches an address of the kernel.

use std::os::fd::BorrowedFd;

use rtrace_lang::probe::ProbeSpec;
use rtrace_lang::target::{
    Attach, ProbeSite, ProgramKind, ResolveError, ResolveErrorKind, ResolveOptions, Target, WatchMode,
};

use crate::counters;
use crate::kernel::KernelError;
use crate::kernel::perf::PerfKind;
use crate::listing::ListedProbe;
use crate::machine::Machine;
use crate::provider::{AttachError, Documentation, Link, Provider, empty_layout, not_found, wrong_form};

pub static WATCHPOINT: Watchpoint = Watchpoint;

/// The upper half of the addresses is the kernel's.
const FIRST_KERNEL_ADDRESS: u64 = 1 << 63;

pub struct Watchpoint;

impl Provider for Watchpoint {
    fn name(&self) -> &'static str {
        "watchpoint"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["w"]
    }

    fn documentation(&self) -> &'static Documentation {
        &Documentation {
            summary: "Fires when LENGTH bytes (1, 2, 4 or 8) at an address are written (`w`), read or written (`rw`), or run (`x`): of a \
                      process with -p or -c, else of the kernel.",
            usage: &["watchpoint:0xADDRESS:LENGTH:MODE", "watchpoint:KERNELSYMBOL:LENGTH:MODE"],
            example: "watchpoint:0xffffffff82000000:8:w { @[kstack] = count(); }",
        }
    }

    fn has_kernel_points(&self) -> bool {
        false
    }

    fn resolve(
        &self,
        machine: &Machine,
        spec: &ProbeSpec,
        options: &ResolveOptions,
    ) -> Result<Vec<ProbeSite>, ResolveError> {
        let [place, length, mode] = spec.parts.as_slice() else {
            return Err(wrong_form(self, "an address, a length and a mode", None));
        };
        let address = match number(place) {
            Some(address) => address,
            None if place.starts_with(|c: char| c.is_ascii_digit()) || place.is_empty() => {
                return Err(wrong_form(self, "no address", Some(1)));
            }
            None => machine.kernel_symbol(place).ok_or_else(|| {
                let mut error = not_found(format!("the kernel has no symbol `{place}`"), &[], Some(1));
                error.help.push("An address is written `0x1234`.".to_string());
                error
            })?,
        };
        let bytes = match length.as_str() {
            "1" => 1,
            "2" => 2,
            "4" => 4,
            "8" => 8,
            _ => return Err(wrong_form(self, "the length is 1, 2, 4 or 8", Some(2))),
        };
        let mode = match mode.as_str() {
            "w" => WatchMode::Write,
            "rw" | "wr" => WatchMode::ReadWrite,
            "x" => WatchMode::Execute,
            "r" => {
                let mut error = wrong_form(self, "not offered by x86", Some(3));
                error.message = "the processor cannot watch reads alone".to_string();
                error.help = vec!["`rw` fires at reads and at writes.".to_string()];
                return Err(error);
            }
            _ => return Err(wrong_form(self, "the mode is w, rw or x", Some(3))),
        };
        if mode != WatchMode::Execute && !address.is_multiple_of(u64::from(bytes)) {
            let mut error = wrong_form(self, format!("not a multiple of {bytes}"), Some(1));
            error.message = "the processor watches aligned addresses only".to_string();
            error.help = vec!["Watch fewer bytes, or several aligned places.".to_string()];
            return Err(error);
        }
        if address < FIRST_KERNEL_ADDRESS && options.pid.is_none() {
            return Err(ResolveError {
                kind: ResolveErrorKind::Form,
                message: "an address of a program means nothing without the process".to_string(),
                label: "not an address of the kernel".to_string(),
                help: vec!["Say which process: `-p PID`, or `-c COMMAND`.".to_string()],
                part: Some(1),
            });
        }
        Ok(vec![ProbeSite {
            name: format!("{}:{}", self.name(), spec.parts.join(":")).into(),
            function: place.as_str().into(),
            provider: self.name(),
            program: ProgramKind::PerfEvent,
            layout: empty_layout(),
            selector: None,
            attach: Attach::Watchpoint { address, bytes, mode, pid: options.only_pid() },
        }])
    }

    fn list(&self, _: &Machine, _: &[String], _: bool) -> Result<Vec<ListedProbe>, ResolveError> {
        let form = |usage: &&str| ListedProbe { name: usage.to_string(), arguments: Vec::new() };
        Ok(self.documentation().usage.iter().map(form).collect())
    }

    fn attach(
        &self,
        _: &Machine,
        program: BorrowedFd<'_>,
        sites: &[(u64, &ProbeSite)],
    ) -> Result<Vec<Link>, AttachError> {
        let mut links = Vec::new();
        for (cookie, site) in sites {
            let Attach::Watchpoint { address, bytes, mode, pid } = site.attach else { continue };
            let failed = |source: KernelError| match source.errno() {
                Some(libc::ENOSPC) => AttachError::new(site, source)
                    .with_help("The processor watches 4 addresses at a time, those of debuggers included."),
                Some(libc::ENODEV | libc::EOPNOTSUPP | libc::ENOENT) => {
                    AttachError::new(site, KernelError::Absent("this machine has no watchpoints".to_string()))
                }
                _ => AttachError::new(site, source),
            };
            let event = PerfKind::Breakpoint { address, bytes, mode };
            let first = links.len();
            counters::attach_scopes(program, event, pid, *cookie, false, &mut links).map_err(failed)?;
            links[first..].iter_mut().for_each(|link| link.watch(address));
        }
        Ok(links)
    }
}

fn number(text: &str) -> Option<u64> {
    let text = text.replace('_', "");
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
