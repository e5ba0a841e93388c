//! Where things are: the checkout, the target directory, and the cache of guests below it.
//! It only computes paths and creates directories; it must never read or change their contents.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root of the checkout, the directory of the workspace's `Cargo.toml`.
pub fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or(manifest.clone(), Path::to_path_buf)
}

/// Cargo's target directory: `CARGO_TARGET_DIR` where it is set, else `target` in the checkout.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) if !directory.is_empty() => root().join(directory),
        _ => root().join("target"),
    }
}

/// What guests need and what they leave: kernels, QEMU, package lists. Safe to delete at any time.
pub fn guests() -> PathBuf {
    target().join("vm")
}

/// `cargo` as it was called, so that a toolchain chosen by the caller stays chosen.
pub fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// Creates a directory with its parents, naming it in the error.
pub fn create_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create the directory {}", path.display()))
}

/// Creates `path` as an empty directory, removing what was there before.
pub fn create_empty_directory(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    create_directory(path)
}

/// Holds the cache for one process at a time, so that two tasks never fetch the same thing at once.
/// The lock ends with the returned file.
pub fn lock_guests() -> Result<File> {
    let directory = guests();
    create_directory(&directory)?;
    let path = directory.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}
