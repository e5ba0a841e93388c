//! Recordings of stacks that are read from files, whoever wrote them: folded stacks, the text of `perf script`, profiles of pprof's.
//! All become maps of stacks, as scripts make them; nothing is drawn here.

pub mod browser;
mod folded;
mod perf_script;
mod pprof;
pub mod report;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::output::stacks::StackMap;

/// More than any recording that one would look at, and less than a small file may claim to hold.
const MOST_BYTES: u64 = 1 << 30;

#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, io::Error),
    #[error("{0}: unpacked it has more than 1 GiB")]
    TooLarge(PathBuf),
    #[error("{0}: it holds no samples")]
    Empty(PathBuf),
    #[error("{file}:{line}: {what}")]
    Line { file: PathBuf, line: usize, what: String },
    #[error("{0}: the profile is damaged: {1}")]
    Profile(PathBuf, &'static str),
}

impl RecordingError {
    /// What to do about it.
    pub fn help(&self) -> Vec<String> {
        match self {
            RecordingError::Read(..) | RecordingError::TooLarge(_) | RecordingError::Profile(..) => Vec::new(),
            RecordingError::Empty(_) | RecordingError::Line { .. } => {
                vec![
                    "read are folded stacks (`a;b;c 12`), the text of `perf script`, and profiles of pprof's: of what rtrace \
                     writes, *.folded and *.pb.gz"
                        .to_string(),
                ]
            }
        }
    }
}

/// A mistake in a line, counted from one.
struct LineError(usize, String);

/// A recording. Each of its maps has stacks; there is at least one.
#[derive(Debug)]
pub struct Recording {
    pub maps: Vec<StackMap>,
    /// The one that is meant where nobody says which.
    pub default: usize,
}

impl Recording {
    /// The map of a name, or the one that is meant; else the names that there are.
    pub fn map(mut self, name: Option<&str>) -> Result<StackMap, Vec<String>> {
        let at = match name {
            None => Some(self.default),
            Some(name) => self.maps.iter().position(|map| map.name == name),
        };
        match at {
            Some(at) => Ok(self.maps.swap_remove(at)),
            None => Err(self.maps.into_iter().map(|map| map.name).collect()),
        }
    }
}

pub fn read(path: &Path) -> Result<Recording, RecordingError> {
    let bytes = fs::read(path).map_err(|error| RecordingError::Read(path.to_path_buf(), error))?;
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) { unpacked(path, &bytes)? } else { bytes };
    let in_line = |LineError(line, what)| RecordingError::Line { file: path.to_path_buf(), line, what };
    let text = String::from_utf8_lossy(&bytes);
    let default = 0;
    let recording = if perf_script::is_one(&text) {
        Recording { maps: perf_script::read(&text).map_err(in_line)?, default }
    } else if bytes.iter().any(|byte| *byte < 0x20 && !byte.is_ascii_whitespace()) {
        // Every profile has such characters, the lengths of its parts; of texts only those with odd names have.
        match (pprof::read(&bytes), folded::read(&text)) {
            (Ok(recording), _) => recording,
            (Err(_), Ok(maps)) => Recording { maps, default },
            (Err(what), Err(_)) => return Err(RecordingError::Profile(path.to_path_buf(), what)),
        }
    } else {
        Recording { maps: folded::read(&text).map_err(in_line)?, default }
    };
    if recording.maps.is_empty() { Err(RecordingError::Empty(path.to_path_buf())) } else { Ok(recording) }
}

fn unpacked(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, RecordingError> {
    let mut all = Vec::new();
    let count = MultiGzDecoder::new(bytes)
        .take(MOST_BYTES + 1)
        .read_to_end(&mut all)
        .map_err(|error| RecordingError::Read(path.to_path_buf(), error))?;
    if count as u64 > MOST_BYTES { Err(RecordingError::TooLarge(path.to_path_buf())) } else { Ok(all) }
}
