//! The few other things asked of the system: its processors, its file systems, its build configuration. Nothing about
//! BPF.
//!
//! Unsafe: mount(2), fstatfs(2), setrlimit(2).

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use rtrace_lang::limits::MAX_PROBES;
use rtrace_lang::target::{FIRST_PROCESS_NAMESPACE, ProcessNamespace};

use super::KernelError;

/// Mounts a file system that has no device, such as tracefs.
pub fn mount(kind: &str, at: &Path) -> Result<(), KernelError> {
    let path = |text: &[u8]| CString::new(text).map_err(|_| KernelError::Call { call: "mount", errno: libc::EINVAL });
    let (kind, at) = (path(kind.as_bytes())?, path(at.as_os_str().as_encoded_bytes())?);
    // SAFETY: both strings are live and end with NUL; this file system takes no data.
    let result = unsafe { libc::mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) };
    if result == 0 { Ok(()) } else { Err(KernelError::last("mount")) }
}

/// The file system that an open file is of (statfs(2)).
pub(crate) fn file_system(file: &File) -> Option<libc::c_long> {
    let mut found = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the kernel writes the structure, which is there, where it reports no error.
    let result = unsafe { libc::fstatfs(file.as_raw_fd(), found.as_mut_ptr()) };
    // SAFETY: it is written.
    (result == 0).then(|| unsafe { found.assume_init() }.f_type)
}

/// The processes that there are, kernel threads among them.
pub fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Descriptors that are enough for two each of the most probes that a script may have.
const MANY_FILES: libc::rlim_t = 2 * MAX_PROBES as libc::rlim_t + 1024;

/// Lets the process open as many files as it may. A refusal is ignored: who then opens too many is told so.
pub fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct is live.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 || limit.rlim_cur >= MANY_FILES {
        return;
    }
    let higher = libc::rlimit { rlim_cur: MANY_FILES, rlim_max: limit.rlim_max.max(MANY_FILES) };
    let allowed = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
    // SAFETY: the structs are live.
    unsafe {
        if libc::setrlimit(libc::RLIMIT_NOFILE, &higher) != 0 {
            libc::setrlimit(libc::RLIMIT_NOFILE, &allowed);
        }
    }
}

/// Descriptors that the tool may have.
pub fn file_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct is live; a call that fails leaves it as it is.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

/// The process namespace of this process, unless it is the first one.
pub fn process_namespace() -> Option<ProcessNamespace> {
    let found = fs::metadata("/proc/self/ns/pid").ok()?;
    let device = u64::from(libc::major(found.dev())) << 20 | u64::from(libc::minor(found.dev()));
    (found.ino() != FIRST_PROCESS_NAMESPACE).then_some(ProcessNamespace { device, inode: found.ino() })
}

/// Ticks of the kernel's timer in a second: the coarse clocks move with each.
pub fn tick_rate() -> Option<i64> {
    let mut resolution = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes the structure, which is there.
    let result = unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &mut resolution) };
    let nanoseconds = resolution.tv_sec * 1_000_000_000 + resolution.tv_nsec;
    (result == 0 && nanoseconds > 0).then(|| (1_000_000_000 + nanoseconds / 2) / nanoseconds)
}

/// Processors that the kernel is built for; the file has the largest number that one of them may have.
pub fn most_cpus() -> Option<i64> {
    let last: i64 = fs::read_to_string("/sys/devices/system/cpu/kernel_max").ok()?.trim().parse().ok()?;
    Some(last + 1)
}

/// Processors that are running.
pub fn online_cpus() -> Result<Vec<u32>, KernelError> {
    cpu_list("/sys/devices/system/cpu/online")
}

/// Processors that may ever run; their numbers need not be consecutive, but per-CPU values have room for each number
/// up to the largest.
pub fn possible_cpus() -> Result<Vec<u32>, KernelError> {
    cpu_list("/sys/devices/system/cpu/possible")
}

fn cpu_list(path: &str) -> Result<Vec<u32>, KernelError> {
    let text = fs::read_to_string(path).map_err(|source| KernelError::File { path: path.into(), source })?;
    parse_cpu_list(&text).ok_or_else(|| KernelError::Malformed {
        what: path.to_string(),
        reason: format!("no CPU list: {}", text.trim()),
    })
}

/// Numbers and ranges with commas between: `0-3,6`.
fn parse_cpu_list(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?);
    }
    Some(cpus)
}

/// What the kernel's build configuration says of an option: `Some("y")`, `Some("m")`, `Some("n")` for one that is off,
/// and None where there is no configuration to read.
pub fn config_option(option: &str) -> Option<String> {
    let text = config_text()?;
    let set = text.lines().find_map(|line| line.strip_prefix(option)?.strip_prefix('='));
    Some(set.unwrap_or("n").to_string())
}

fn config_text() -> Option<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let release = release.trim();
    let plain = [format!("/boot/config-{release}"), format!("/lib/modules/{release}/config")];
    plain.iter().find_map(|path| fs::read_to_string(path).ok()).or_else(unpacked_config)
}

/// /proc/config.gz through gzip(1): this is only asked for a message.
fn unpacked_config() -> Option<String> {
    if !Path::new("/proc/config.gz").exists() {
        return None;
    }
    let output = Command::new("gzip").args(["-dc", "/proc/config.gz"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// True for an error that a missing privilege gives.
pub fn is_denied(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        assert_eq!(parse_cpu_list("0-2,5\n"), Some(vec![0, 1, 2, 5]));
        assert_eq!(parse_cpu_list("0\n"), Some(vec![0]));
        assert_eq!(parse_cpu_list("\n"), None);
    }
}
