//! Programs of another Debian release, unpacked beside all their libraries and started through their own loader.
//! Nothing is installed; a program's directory can be moved or copied into a guest, since its wrapper finds itself
//! (without starting anything, which would count in a measurement; so it must not be called through a link).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::suite::{Suite, unpack};
use crate::workspace;

/// What to unpack: `binary` is the path inside the package.
pub struct Program {
    pub name: &'static str,
    pub suite: &'static str,
    pub package: &'static str,
    pub binary: &'static str,
}

const LIBRARY_DIRECTORIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
const LOADER: &str = "ld-linux-x86-64.so.2";

/// The program's wrapper, fetched and unpacked if it is not there yet. Call it with the cache locked.
pub fn program(program: &Program) -> Result<PathBuf> {
    let directory = workspace::guests().join("programs").join(program.name);
    let wrapper = directory.join("run");
    if wrapper.exists() {
        return Ok(wrapper);
    }
    eprintln!("fetching {} of Debian {}", program.package, program.suite);
    workspace::create_empty_directory(&directory)?;
    let archives = directory.join("packages");
    let packages = Suite::open(program.suite)?.download_with_dependencies(&[program.package], &archives)?;
    let root = directory.join("root");
    unpack(&packages, &root)?;
    fs::remove_dir_all(&archives)?;
    let text = wrapper_text(&root, program)?;
    // The wrapper marks a complete directory, so it appears last and at once.
    let unfinished = directory.join("run.unfinished");
    fs::write(&unfinished, text).with_context(|| format!("cannot write {}", unfinished.display()))?;
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755))?;
    fs::rename(&unfinished, &wrapper)?;
    Ok(wrapper)
}

fn wrapper_text(root: &Path, program: &Program) -> Result<String> {
    if !root.join(program.binary).is_file() {
        bail!("the package {} has no {}", program.package, program.binary);
    }
    let loader = LIBRARY_DIRECTORIES.iter().find(|directory| root.join(directory).join(LOADER).is_file());
    let loader = loader.with_context(|| format!("the packages of {} have no {LOADER}", program.package))?;
    let library_path: Vec<String> =
        LIBRARY_DIRECTORIES.iter().map(|directory| format!("\"$root\"/{directory}")).collect();
    Ok(format!(
        "#!/bin/sh\nroot=${{0%/*}}/root\n\
         exec \"$root\"/{loader}/{LOADER} --library-path {} \"$root\"/{} \"$@\"\n",
        library_path.join(":"),
        program.binary
    ))
}
