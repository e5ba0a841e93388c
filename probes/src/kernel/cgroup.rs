//! Cgroups of version 2, found by their directories or by the containers that they are of.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::system;

/// Digits that the beginning of a container's id must have at least.
const LEAST_DIGITS: usize = 4;
/// Digits of a container's id in the name of a directory. Shorter words of these letters are other names.
const LEAST_ID: usize = 12;
/// Most candidates that a message names.
const MOST_NAMED: usize = 5;

/// A cgroup, held by its open directory.
#[derive(Clone, Debug)]
pub struct Cgroup {
    pub path: PathBuf,
    directory: Arc<File>,
}

/// Why there is no such cgroup.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CgroupError {
    pub message: String,
    /// What to do, a sentence each.
    pub help: Vec<String>,
    /// The command line is wrong, not the machine.
    pub is_mistake: bool,
}

impl CgroupError {
    fn machine(message: String, help: &str) -> CgroupError {
        CgroupError { message, help: vec![help.to_string()], is_mistake: false }
    }
}

impl Cgroup {
    /// The cgroup of a directory, whose name is whole or begins where cgroups of version 2 are mounted.
    pub fn at(path: &Path) -> Result<Cgroup, CgroupError> {
        let mount = mount_point();
        let below = mount.as_ref().map(|mount| mount.join(path.strip_prefix("/").unwrap_or(path)));
        let (found, directory) = match (File::open(path), below) {
            (Ok(directory), _) if kind(&directory) != Kind::Other => (path.to_path_buf(), directory),
            (first, Some(below)) => match (first, File::open(&below)) {
                (_, Ok(directory)) => (below, directory),
                (Ok(directory), Err(_)) => (path.to_path_buf(), directory),
                (Err(error), Err(_)) => return Err(cannot_open(path, &error, mount.as_deref())),
            },
            (Ok(directory), None) => (path.to_path_buf(), directory),
            (Err(error), None) => return Err(cannot_open(path, &error, None)),
        };
        let help = || match &mount {
            Some(mount) => format!("cgroups of version 2 are the directories below {}", mount.display()),
            None => "mount them: `mount -t cgroup2 none /sys/fs/cgroup`".to_string(),
        };
        let is_directory = directory.metadata().is_ok_and(|found| found.is_dir());
        let what = match kind(&directory) {
            Kind::Version2 if is_directory => return Ok(Cgroup { path: found, directory: Arc::new(directory) }),
            Kind::Version2 => "is a file of a cgroup, not its directory",
            Kind::Version1 => "is a cgroup of version 1, which programs cannot be restricted to",
            Kind::Other => "is not a cgroup",
        };
        Err(CgroupError::machine(format!("{} {what}", found.display()), &help()))
    }

    /// The cgroup of a container, by its id or the beginning of it.
    pub fn of_container(id: &str) -> Result<Cgroup, CgroupError> {
        let id = id.to_ascii_lowercase();
        if id.len() < LEAST_DIGITS || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(CgroupError {
                message: format!("`{id}` is not the id of a container"),
                help: vec![
                    format!(
                        "an id is at least {LEAST_DIGITS} hexadecimal digits, as `docker ps`, `podman ps` and `crictl ps` show it"
                    ),
                    "a container that is known by a name alone has a cgroup, too: --cgroup PATH".to_string(),
                ],
                is_mistake: true,
            });
        }
        let Some(mount) = mount_point() else {
            let message = "no cgroups of version 2 are mounted, by which containers are found".to_string();
            return Err(CgroupError::machine(message, "mount them: `mount -t cgroup2 none /sys/fs/cgroup`"));
        };
        let mut found = Vec::new();
        search(&mount, &id, &mut found);
        found.sort();
        match found.as_slice() {
            [] => Err(CgroupError::machine(
                format!("no cgroup below {} is of a container `{id}`", mount.display()),
                "the container must run; `docker ps`, `podman ps` or `crictl ps` show the ids",
            )),
            [only] => Cgroup::at(only),
            several => {
                let mut help: Vec<String> =
                    several.iter().take(MOST_NAMED).map(|path| path.display().to_string()).collect();
                if several.len() > MOST_NAMED {
                    help.push(format!("and {} more", several.len() - MOST_NAMED));
                }
                help.push("give more of its id, or one of these with --cgroup".to_string());
                let message = format!("{} containers have an id that begins with `{id}`", several.len());
                Err(CgroupError { message, help, is_mistake: true })
            }
        }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

fn cannot_open(path: &Path, error: &io::Error, mount: Option<&Path>) -> CgroupError {
    let message = match error.kind() {
        io::ErrorKind::NotFound => format!("there is no cgroup {}", path.display()),
        _ => format!("cannot open {}: {error}", path.display()),
    };
    let help = match mount {
        Some(mount) => format!("a cgroup is a directory below {}", mount.display()),
        None => "no cgroups of version 2 are mounted here: `mount -t cgroup2 none /sys/fs/cgroup`".to_string(),
    };
    CgroupError::machine(message, &help)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Version2,
    Version1,
    Other,
}

/// What file system an open directory is of.
fn kind(directory: &File) -> Kind {
    match system::file_system(directory) {
        Some(libc::CGROUP2_SUPER_MAGIC) => Kind::Version2,
        Some(libc::CGROUP_SUPER_MAGIC) => Kind::Version1,
        Some(_) | None => Kind::Other,
    }
}

/// Where cgroups of version 2 are mounted.
pub fn mount_point() -> Option<PathBuf> {
    mount_in(&fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// The fifth word of a line of mountinfo is the place, the one behind ` - ` the kind (proc_pid_mountinfo(5)).
fn mount_in(mounts: &str) -> Option<PathBuf> {
    let line =
        mounts.lines().find(|line| line.split_once(" - ").is_some_and(|(_, rest)| rest.starts_with("cgroup2 ")))?;
    Some(PathBuf::from(line.split(' ').nth(4)?.replace("\\040", " ")))
}

/// Appends the cgroups of containers whose id begins so; not those inside of one.
fn search(directory: &Path, id: &str, found: &mut Vec<PathBuf>) {
    for entry in directory.read_dir().into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        if is_of_container(&entry.file_name().to_string_lossy(), id) {
            found.push(path);
        } else {
            search(&path, id, found);
        }
    }
}

/// `docker-ID.scope`, `cri-containerd-ID.scope`, `libpod-ID.scope`, `ID`; not `libpod-conmon-ID.scope`, where the monitor
/// of a container is.
fn is_of_container(name: &str, id: &str) -> bool {
    let is_id = |word: &str| word.len() >= LEAST_ID && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    !name.contains("conmon") && words.any(|word| is_id(word) && word.to_ascii_lowercase().starts_with(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_containers() {
        let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        for name in ["docker-ID.scope", "cri-containerd-ID.scope", "crio-ID.scope", "libpod-ID.scope", "ID"] {
            assert!(is_of_container(&name.replace("ID", id), "0123456"), "{name}");
            assert!(!is_of_container(&name.replace("ID", id), "1234"), "{name}");
        }
        assert!(!is_of_container(&format!("libpod-conmon-{id}.scope"), "0123"));
        assert!(!is_of_container("cafe.service", "cafe"));
    }

    #[test]
    fn the_mount_of_version_2() {
        let mounts = "36 25 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      37 25 0:31 / /sys/fs/cgroup/unified rw,relatime shared:5 - cgroup2 none rw\n";
        assert_eq!(mount_in(mounts), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(mount_in("36 25 0:30 / /cgroup2 rw - tmpfs cgroup2 rw\n"), None);
    }
}
