//! Programs and libraries that get another file under their path while they are traced, by an update for instance. What is
//! attached stays with the old file, which processes that run it still have; what starts from the path is not traced.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rtrace_lang::hir::Hir;
use rtrace_lang::target::Attach;
use rtrace_probes::elf::file_of;

/// A file that is attached to.
pub struct TracedFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    is_replaced: bool,
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(file_of(path)).ok().map(|data| (data.dev(), data.ino()))
}

/// The files of all user-space probes that follow no process: one that runs keeps its files.
pub fn traced_files(hir: &Hir) -> Vec<TracedFile> {
    let mut paths = BTreeSet::new();
    for site in &hir.sites {
        if let Attach::Uprobe { path, pid: None, .. } = &site.attach {
            paths.insert(path.as_path());
        }
    }
    let file = |path: &Path| {
        let identity = identity(path)?;
        Some(TracedFile { path: path.to_path_buf(), identity, is_replaced: false })
    };
    paths.into_iter().filter_map(file).collect()
}

/// What is to be told of files that are other ones since the last time.
pub fn newly_replaced(files: &mut [TracedFile]) -> Vec<String> {
    let mut messages = Vec::new();
    for file in files.iter_mut().filter(|file| !file.is_replaced) {
        // A file that is gone for a moment is about to be replaced.
        if identity(&file.path).is_some_and(|identity| identity != file.identity) {
            file.is_replaced = true;
            messages.push(format!(
                "{} was replaced: what starts from it now is not traced, until the script is started again",
                file.path.display()
            ));
        }
    }
    messages
}
