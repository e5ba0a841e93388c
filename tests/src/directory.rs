//! A directory for the files of one test, which goes away with its value.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

pub struct Directory {
    pub path: PathBuf,
}

impl Directory {
    pub fn create(name: &str) -> Result<Directory> {
        let path = std::env::temp_dir().join(format!("rtrace-{name}-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Directory { path })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What can't be removed stays in the directory for such files.
        let _ = fs::remove_dir_all(&self.path);
    }
}
