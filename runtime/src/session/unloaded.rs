//! Modules of the kernel that are unloaded while functions of theirs are traced. The kernel takes such kprobes away without a
//! word; it keeps modules that fentry, fexit or kprobe_multi are attached to.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rtrace_lang::hir::Hir;
use rtrace_probes::Machine;

/// A module that is attached to.
pub struct TracedModule {
    name: String,
    probes: usize,
    /// Of its directory in /sys: a module that is loaded anew has another one.
    inode: u64,
    is_gone: bool,
}

fn inode(module: &str) -> Option<u64> {
    fs::metadata(Path::new("/sys/module").join(module)).ok().map(|data| data.ino())
}

/// The modules of all probes of the kernel's functions.
pub fn traced_modules(hir: &Hir, machine: &Machine) -> Vec<TracedModule> {
    let mut probes: BTreeMap<String, usize> = BTreeMap::new();
    for module in hir.sites.iter().filter_map(|site| machine.module_of(site)) {
        *probes.entry(module).or_default() += 1;
    }
    let module = |(name, probes): (String, usize)| {
        let inode = inode(&name)?;
        Some(TracedModule { name, probes, inode, is_gone: false })
    };
    probes.into_iter().filter_map(module).collect()
}

/// What is to be told of modules that have gone since the last time.
pub fn newly_unloaded(modules: &mut [TracedModule]) -> Vec<String> {
    let mut messages = Vec::new();
    for module in modules.iter_mut().filter(|module| !module.is_gone) {
        if inode(&module.name) != Some(module.inode) {
            module.is_gone = true;
            let probes = match module.probes {
                1 => "its probe is gone".to_string(),
                probes => format!("its {probes} probes are gone"),
            };
            messages.push(format!(
                "the module {} was unloaded: {probes}, also when it is loaded again, until the script is started again",
                module.name
            ));
        }
    }
    messages
}
