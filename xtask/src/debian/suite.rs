//! A private apt for one Debian release: its own lists, cache and (empty) list of installed packages.
//! It must never write outside the directory of guests, and says so when it could not check a signature.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::sources::{self, Archives, Source, Trust};
use crate::process;
use crate::workspace;

const MACHINE_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The release whose keyring package is asked for newer keys than the machine has.
const KEYRING_SUITE: &str = "trixie";

/// A release that packages can be fetched from.
pub struct Suite {
    name: String,
    directory: PathBuf,
}

impl Suite {
    /// Opens a release (`bookworm`, `sid`), fetching its package lists unless they are there.
    pub fn open(name: &str) -> Result<Self> {
        let suite = Self::at(name);
        if suite.directory.join("complete").exists() {
            return Ok(suite);
        }
        let archives = machine_archives()?;
        let first = match fs::exists(MACHINE_KEYRING) {
            Ok(true) => Trust::Keyring(MACHINE_KEYRING.to_string()),
            _ => archives.main.signed_by.clone().map_or(Trust::Machine, Trust::Keyring),
        };
        let Err(error) = suite.update(&archives, &first) else {
            return Ok(suite);
        };
        if !is_about_signatures(&error) {
            return Err(error);
        }
        if let Ok(keyring) = newer_keyring(name, &archives, &first)
            && suite.update(&archives, &Trust::Keyring(keyring)).is_ok()
        {
            return Ok(suite);
        }
        eprintln!("note: no keyring here verifies Debian {name}: its packages are used unverified");
        suite.update(&archives, &Trust::Unchecked)?;
        Ok(suite)
    }

    /// The names of the packages that match an extended regular expression.
    pub fn search(&self, pattern: &str) -> Result<Vec<String>> {
        let text = process::output(self.apt("apt-cache").args(["search", "--names-only", pattern]))?;
        Ok(text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_string).collect())
    }

    /// Fetches packages, without what they depend on, into an empty directory; gives the files.
    pub fn download(&self, packages: &[&str], into: &Path) -> Result<Vec<PathBuf>> {
        self.fetch(into, |command| {
            command.arg("download").args(packages).current_dir(into);
        })
    }

    /// Fetches packages with everything that they depend on into an empty directory; gives the files.
    pub fn download_with_dependencies(&self, packages: &[&str], into: &Path) -> Result<Vec<PathBuf>> {
        self.fetch(into, |command| {
            command.arg(format!("-oDir::Cache::archives={}", into.display()));
            command.args(["--yes", "--no-install-recommends", "--download-only", "install"]).args(packages);
        })
    }

    fn fetch(&self, into: &Path, complete: impl Fn(&mut Command)) -> Result<Vec<PathBuf>> {
        let attempt = || {
            workspace::create_empty_directory(into)?;
            workspace::create_directory(&into.join("partial"))?;
            let mut command = self.apt("apt-get");
            complete(&mut command);
            process::output(&mut command)
        };
        if attempt().is_err() {
            // Lists that were fetched days ago name versions which the archive has replaced since.
            process::output(self.apt("apt-get").arg("update"))?;
            attempt()?;
        }
        let mut files = Vec::new();
        for entry in fs::read_dir(into).with_context(|| format!("cannot list {}", into.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                files.push(path);
            }
        }
        files.sort();
        if files.is_empty() {
            bail!("apt fetched no package of Debian {} into {}", self.name, into.display());
        }
        Ok(files)
    }

    fn at(name: &str) -> Self {
        Self { name: name.to_string(), directory: workspace::guests().join("apt").join(name) }
    }

    /// Writes the sources and fetches the lists; without the security archive when the release has none.
    fn update(&self, archives: &Archives, trust: &Trust) -> Result<()> {
        workspace::create_directory(&self.directory.join("lists/partial"))?;
        workspace::create_directory(&self.directory.join("cache/archives/partial"))?;
        fs::write(self.directory.join("status"), "")?;
        eprintln!("fetching the package lists of Debian {}", self.name);
        let attempt = |with_security| {
            let text = sources::derive(archives, &self.name, with_security, trust);
            fs::write(self.directory.join("archive.sources"), text)?;
            process::output(self.apt("apt-get").args(["update", "--error-on=any"]))
        };
        // sid and releases past their support have no security archive.
        let has_security = archives.security.is_some() && self.name != "sid";
        if !(has_security && attempt(true).is_ok()) {
            attempt(false)?;
        }
        fs::write(self.directory.join("complete"), "")?;
        Ok(())
    }

    /// An apt program that reads the machine's configuration (proxies, timeouts) but keeps all state here.
    fn apt(&self, program: &str) -> Command {
        let directory = self.directory.display();
        let options = [
            format!("Dir::State={directory}"),
            format!("Dir::State::lists={directory}/lists"),
            format!("Dir::State::status={directory}/status"),
            format!("Dir::Cache={directory}/cache"),
            // These two would save a second a call, and take 80 MB a release.
            "Dir::Cache::pkgcache=".to_string(),
            "Dir::Cache::srcpkgcache=".to_string(),
            format!("Dir::Etc::sourcelist={directory}/archive.sources"),
            "Dir::Etc::sourceparts=/dev/null".to_string(),
            "Dir::Etc::preferences=/dev/null".to_string(),
            "Dir::Etc::preferencesparts=/dev/null".to_string(),
            // A checkout below a home directory is closed to apt's own user.
            "APT::Sandbox::User=root".to_string(),
            "APT::Architecture=amd64".to_string(),
            "Debug::NoLocking=1".to_string(),
            "Acquire::Languages=none".to_string(),
            "Acquire::GzipIndexes=true".to_string(),
            "Acquire::Retries=3".to_string(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_string(),
            "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false".to_string(),
        ];
        let mut command = Command::new(program);
        command.arg("-q").args(options.iter().map(|option| format!("-o{option}"))).env("LC_ALL", "C");
        command
    }
}

/// Unpacks packages into a directory, sparing what nobody runs.
pub fn unpack(packages: &[PathBuf], into: &Path) -> Result<()> {
    workspace::create_directory(into)?;
    for package in packages {
        let archive = into.join("package.tar");
        let output = fs::File::create(&archive).with_context(|| format!("cannot create {}", archive.display()))?;
        let mut extract = process::command("dpkg-deb", ["--fsys-tarfile"]);
        let status = extract.arg(package).stdout(output).status().context("cannot run `dpkg-deb`")?;
        if !status.success() {
            bail!(
                "`dpkg-deb` cannot read {}: delete {} and try again",
                package.display(),
                workspace::guests().display()
            );
        }
        let mut tar = process::command("tar", ["--extract", "--keep-directory-symlink", "--no-same-owner"]);
        tar.args(["--exclude=./usr/share/doc", "--exclude=./usr/share/man", "--exclude=./usr/share/locale"]);
        process::output(tar.arg("--file").arg(&archive).arg("--directory").arg(into))?;
        fs::remove_file(&archive)?;
    }
    Ok(())
}

/// Debian's keyring as a newer release has it, for a release whose keys the machine is too old to know.
fn newer_keyring(for_suite: &str, archives: &Archives, trust: &Trust) -> Result<String> {
    if for_suite == KEYRING_SUITE {
        bail!("the keyring is looked for in {KEYRING_SUITE} itself");
    }
    let suite = Suite::at(KEYRING_SUITE);
    if !suite.directory.join("complete").exists() {
        suite.update(archives, trust)?;
    }
    let directory = workspace::guests().join("keyring");
    let packages = suite.download(&["debian-archive-keyring"], &directory.join("packages"))?;
    unpack(&packages, &directory)?;
    // Newer releases name it .pgp.
    for name in ["debian-archive-keyring.pgp", "debian-archive-keyring.gpg"] {
        let path = directory.join("usr/share/keyrings").join(name);
        if path.exists() {
            return Ok(path.display().to_string());
        }
    }
    bail!("the package debian-archive-keyring has no keyring file")
}

fn is_about_signatures(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    ["NO_PUBKEY", "EXPKEYSIG", "not signed", "couldn't be verified", "could not be verified", "Missing key"]
        .iter()
        .any(|sign| text.contains(sign))
}

fn machine_archives() -> Result<Archives> {
    let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let codename = codename.unwrap_or("sid").trim_matches('"').to_string();
    let sources = machine_sources();
    sources::archives(&sources, &codename).with_context(|| {
        format!(
            "no Debian archive (release {codename}, component main) is among apt's sources\n  help: guests are made of \
             Debian packages; add Debian's archive to /etc/apt/sources.list.d"
        )
    })
}

fn machine_sources() -> Vec<Source> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let mut sources = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => sources.extend(sources::parse_stanzas(&text)),
            Some("list") => sources.extend(sources::parse_lines(&text)),
            _ => {}
        }
    }
    sources
}
