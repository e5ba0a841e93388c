//! Where types come from beside the kernel's own: its modules, debug information of programs, and BPF programs in the kernel. The upper
//! bits of a type's id name the source.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Machine;
use crate::dwarf::{DebugError, DebugInfo};
use crate::kernel::KernelError;
use crate::kernel::bpf::{self, InKernel};
use crate::kernel::btf::{BTF_DIRECTORY, Btf, SOURCE_SHIFT};

/// Sources of types that an id has room to name.
const MOST_SOURCES: u32 = (1 << (32 - SOURCE_SHIFT)) - 1;

/// Where types come from.
pub(super) enum Source {
    Module {
        name: String,
        btf: Option<Arc<Btf>>,
    },
    Program {
        path: PathBuf,
        info: Result<Arc<DebugInfo>, DebugError>,
    },
    /// A BPF program in the kernel; its descriptor keeps it there.
    InKernel {
        id: u32,
        fd: Arc<OwnedFd>,
        btf: Arc<Btf>,
    },
}

impl Source {
    fn module_name(&self) -> Option<&str> {
        match self {
            Source::Module { name, btf: _ } => Some(name),
            Source::Program { .. } | Source::InKernel { .. } => None,
        }
    }
}

/// The source that an id belongs to, and the id in it where that is not the same.
pub(super) enum Origin {
    Kernel(Arc<Btf>, u32),
    Program(Arc<DebugInfo>),
}

impl Machine {
    /// The types of a module.
    pub fn module_btf(&self, module: &str) -> Option<Arc<Btf>> {
        let base = self.btf()?.clone();
        // Those of modules count on from the kernel's own, byte for byte.
        if self.has_types_of_file {
            return None;
        }
        let mut sources = self.sources.lock().expect("no holder panics");
        let known = sources.iter().find_map(|source| match source {
            Source::Module { name, btf } if name == module => Some(btf.clone()),
            Source::Module { .. } | Source::Program { .. } | Source::InKernel { .. } => None,
        });
        if let Some(known) = known {
            return known;
        }
        let number = sources.len() as u32 + 1;
        let is_plain = !module.is_empty() && !module.contains('/') && module != "vmlinux" && number <= MOST_SOURCES;
        let btf = if is_plain { Btf::open_module(module, base, number).ok().map(Arc::new) } else { None };
        sources.push(Source::Module { name: module.to_string(), btf: btf.clone() });
        btf
    }

    /// The debug information of a program, opened once.
    pub(crate) fn debug_info(&self, program: &Path) -> Result<Arc<DebugInfo>, DebugError> {
        let mut sources = self.sources.lock().expect("no holder panics");
        let known = sources.iter().find_map(|source| match source {
            Source::Program { path, info } if path == program => Some(info.clone()),
            Source::Program { .. } | Source::Module { .. } | Source::InKernel { .. } => None,
        });
        if let Some(known) = known {
            return known;
        }
        let number = sources.len() as u32 + 1;
        let info = if number <= MOST_SOURCES {
            DebugInfo::open(program, number).map(Arc::new)
        } else {
            Err(DebugError::Unreadable { reason: "the script names too many programs".to_string() })
        };
        sources.push(Source::Program { path: program.to_path_buf(), info: info.clone() });
        info
    }

    /// The types of a BPF program that is in the kernel, and the number of their source; None where they can't be read.
    pub(crate) fn types_of_program(&self, program: &InKernel) -> Option<(Arc<Btf>, u32)> {
        let mut sources = self.sources.lock().expect("no holder panics");
        let known = sources.iter().enumerate().find_map(|(at, source)| match source {
            Source::InKernel { id: known, btf, fd: _ } if *known == program.id => Some((btf.clone(), at as u32 + 1)),
            Source::InKernel { .. } | Source::Module { .. } | Source::Program { .. } => None,
        });
        if known.is_some() {
            return known;
        }
        let number = sources.len() as u32 + 1;
        if number > MOST_SOURCES {
            return None;
        }
        let btf = Arc::new(Btf::from_bytes(bpf::btf_bytes(program.btf).ok()?, number).ok()?);
        sources.push(Source::InKernel { id: program.id, fd: program.fd.clone(), btf: btf.clone() });
        Some((btf, number))
    }

    /// Modules that have types of their own.
    pub fn module_names(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(BTF_DIRECTORY) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).filter(|n| n != "vmlinux").collect();
        names.sort_unstable();
        names
    }

    pub(super) fn origin(&self, id: u32) -> Option<Origin> {
        let number = id & ((1 << SOURCE_SHIFT) - 1);
        let Some(source) = (id >> SOURCE_SHIFT).checked_sub(1) else {
            return Some(Origin::Kernel(self.btf()?.clone(), number));
        };
        let sources = self.sources.lock().expect("no holder panics");
        match sources.get(source as usize)? {
            Source::Module { name: _, btf } => Some(Origin::Kernel(btf.clone()?, number)),
            Source::InKernel { btf, .. } => Some(Origin::Kernel(btf.clone(), number)),
            Source::Program { path: _, info } => Some(Origin::Program(info.clone().ok()?)),
        }
    }

    /// The number of a module's blob in the ids of its types; None where it was never asked for.
    pub(crate) fn module_source(&self, module: &str) -> Option<u32> {
        let sources = self.sources.lock().expect("no holder panics");
        sources.iter().position(|source| source.module_name() == Some(module)).map(|at| at as u32 + 1)
    }

    /// What the kernel takes as `attach_btf_id` and `attach_btf_obj_fd` for the id in a `ProgramKind::Tracing`: a
    /// module's id goes with its BTF object, one of a BPF program with that program (`attach_prog_fd`, the same place).
    pub fn btf_attachment(&self, btf_id: u32) -> Result<(u32, Option<OwnedFd>), KernelError> {
        let number = btf_id & ((1 << SOURCE_SHIFT) - 1);
        let Some(module) = (btf_id >> SOURCE_SHIFT).checked_sub(1) else { return Ok((number, None)) };
        let name = match self.sources.lock().expect("no holder panics").get(module as usize) {
            Some(Source::InKernel { fd, .. }) => {
                let program = fd
                    .try_clone()
                    .map_err(|error| KernelError::Call { call: "dup", errno: error.raw_os_error().unwrap_or(0) })?;
                return Ok((number, Some(program)));
            }
            Some(Source::Module { name, btf: _ }) => name.clone(),
            Some(Source::Program { .. }) | None => String::new(),
        };
        Ok((number, Some(bpf::btf_of_module(&name)?)))
    }
}
