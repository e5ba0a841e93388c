//! The kernels that guests boot: which Debian release has which, and their images, fetched once.
//! A kernel is only unpacked, never installed; the machine's own kernel is never looked at here.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::debian::{Suite, unpack};
use crate::process;
use crate::workspace;

/// A kernel version of interest and the release that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    pub version: &'static str,
    pub suite: &'static str,
    /// The package that holds the image, up to the version; it ends in `-cloud-amd64`.
    package_prefix: &'static str,
    /// Where the release moves on: another version is used, with a note, when this one is gone.
    rolling: bool,
}

/// All kernels, oldest first. Debian's cloud kernels have NVMe and ext4 built in, so they boot without an initramfs.
pub const KERNELS: &[Kernel] = &[
    Kernel { version: "5.10", suite: "bullseye", package_prefix: "linux-image-", rolling: false },
    Kernel { version: "6.1", suite: "bookworm", package_prefix: "linux-image-", rolling: false },
    Kernel { version: "6.12", suite: "trixie", package_prefix: "linux-image-", rolling: false },
    // sid splits the image from the modules.
    Kernel { version: "7.2", suite: "sid", package_prefix: "linux-binary-", rolling: true },
];

/// Modules that tests load, by their places below the directory of modules. What a kernel has built in is no module.
const MODULES: &[&str] = &[
    "kernel/drivers/net/tun.ko",
    "kernel/fs/fuse/fuse.ko",
    "kernel/fs/fuse/cuse.ko",
    // A bridge whose packets a rule of nftables' changes, and what that needs.
    "kernel/crypto/crc32c_generic.ko",
    "kernel/lib/libcrc32c.ko",
    "kernel/net/llc/llc.ko",
    "kernel/net/802/stp.ko",
    "kernel/net/bridge/bridge.ko",
    "kernel/net/bridge/br_netfilter.ko",
    "kernel/drivers/net/veth.ko",
    "kernel/net/netfilter/nfnetlink.ko",
    "kernel/net/ipv4/netfilter/nf_defrag_ipv4.ko",
    "kernel/net/ipv6/netfilter/nf_defrag_ipv6.ko",
    "kernel/net/netfilter/nf_conntrack.ko",
    "kernel/net/netfilter/nf_nat.ko",
    "kernel/net/netfilter/nf_tables.ko",
    "kernel/net/netfilter/nft_chain_nat.ko",
    "kernel/net/netfilter/nft_nat.ko",
];

/// The file beside the kept modules that says which were asked for.
const MODULES_LIST: &str = "list";

/// How the packages with the modules begin where they are not in that of the image.
const MODULES_PREFIX: &str = "linux-modules-";

const PACKAGE_SUFFIX: &str = "-cloud-amd64";

/// Looks a kernel up by its version as typed, such as `6.12`.
pub fn parse(version: &str) -> Result<Kernel, String> {
    KERNELS.iter().find(|kernel| kernel.version == version).copied().ok_or_else(|| {
        let known: Vec<&str> = KERNELS.iter().map(|kernel| kernel.version).collect();
        format!("no guest has this kernel; there are {}", known.join(", "))
    })
}

/// The kernel's image, fetched if it is not there yet. Call it with the cache locked.
pub fn image(kernel: Kernel) -> Result<PathBuf> {
    let directory = directory(kernel);
    let image = directory.join("vmlinuz");
    if image.exists() && has_modules(kernel) {
        return Ok(image);
    }
    let suite = Suite::open(kernel.suite)?;
    let package = choose(kernel, &suite.search(&format!("^{}[0-9].*{PACKAGE_SUFFIX}$", kernel.package_prefix))?)?;
    eprintln!("fetching {package} of Debian {}", kernel.suite);
    workspace::create_empty_directory(&directory)?;
    let with_modules = package.replacen(kernel.package_prefix, MODULES_PREFIX, 1);
    let packages = match suite.search(&format!("^{}$", with_modules.replace('+', "[+]")))?.is_empty() {
        true => vec![package.as_str()],
        false => vec![package.as_str(), with_modules.as_str()],
    };
    let files = suite.download(&packages, &directory.join("packages"))?;
    let unpacked = directory.join("unpacked");
    unpack(&files, &unpacked)?;
    let found = find_image(&unpacked)?.with_context(|| format!("the package {package} has no kernel image"))?;
    fs::write(directory.join("package"), format!("{package}\n"))?;
    let unfinished = directory.join("vmlinuz.unfinished");
    fs::copy(&found, &unfinished).with_context(|| format!("cannot copy {}", found.display()))?;
    // All modules take 80 MB, and guests load few.
    keep_modules(kernel, &unpacked)?;
    fs::remove_dir_all(&unpacked)?;
    fs::remove_dir_all(directory.join("packages"))?;
    fs::rename(&unfinished, &image)?;
    Ok(image)
}

fn directory(kernel: Kernel) -> PathBuf {
    workspace::guests().join("kernels").join(kernel.version)
}

/// The directory of the modules that guests may load.
fn modules_directory(kernel: Kernel) -> PathBuf {
    directory(kernel).join("modules")
}

fn has_modules(kernel: Kernel) -> bool {
    let list = fs::read_to_string(modules_directory(kernel).join(MODULES_LIST));
    list.is_ok_and(|list| list.lines().eq(MODULES.iter().copied()))
}

/// The files of those modules.
pub fn modules(kernel: Kernel) -> Vec<PathBuf> {
    let entries = fs::read_dir(modules_directory(kernel)).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|kind| kind == "ko")).collect()
}

/// Keeps the modules that tests load, unpacked.
fn keep_modules(kernel: Kernel, unpacked: &Path) -> Result<()> {
    let roots = ["lib/modules", "usr/lib/modules"].map(|root| unpacked.join(root));
    let releases = roots.iter().filter_map(|root| fs::read_dir(root).ok()).flatten();
    let releases: Vec<PathBuf> = releases.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let to = modules_directory(kernel);
    workspace::create_empty_directory(&to)?;
    for place in MODULES {
        let file = to.join(Path::new(place).file_name().unwrap_or_default());
        let packed = |release: &PathBuf| release.join(format!("{place}.xz"));
        if let Some(plain) = releases.iter().map(|release| release.join(place)).find(|path| path.exists()) {
            fs::copy(&plain, &file).with_context(|| format!("cannot copy {}", plain.display()))?;
        } else if let Some(packed) = releases.iter().map(packed).find(|path| path.exists()) {
            process::output(process::command("xz", ["--decompress", "--keep"]).arg(&packed))?;
            let plain = packed.with_extension("");
            fs::copy(&plain, &file).with_context(|| format!("cannot copy {}", plain.display()))?;
        }
    }
    fs::write(to.join(MODULES_LIST), MODULES.join("\n"))?;
    Ok(())
}

/// The newest package of the kernel's version, or of any version where the release rolls on.
fn choose(kernel: Kernel, packages: &[String]) -> Result<String> {
    let version = |package: &str| -> String {
        let rest = package.strip_prefix(kernel.package_prefix).unwrap_or(package);
        rest.strip_suffix(PACKAGE_SUFFIX).unwrap_or(rest).to_string()
    };
    let newest = |wanted: &str| {
        let matching = packages.iter().filter(|package| version(package).starts_with(wanted));
        matching.max_by(|left, right| compare_versions(&version(left), &version(right))).cloned()
    };
    if let Some(package) = newest(&format!("{}.", kernel.version)) {
        return Ok(package);
    }
    match newest("") {
        Some(package) if kernel.rolling => {
            eprintln!("note: Debian {} has no kernel {} any more: using {package}", kernel.suite, kernel.version);
            Ok(package)
        }
        _ => {
            bail!("Debian {} has no package {}{}*{PACKAGE_SUFFIX}", kernel.suite, kernel.package_prefix, kernel.version)
        }
    }
}

/// Compares versions run by run: digits as numbers, everything else as text.
fn compare_versions(left: &str, right: &str) -> Ordering {
    runs(left).cmp(&runs(right))
}

/// The digits of a version as numbers and what stands between as text, in order.
fn runs(version: &str) -> Vec<(u64, String)> {
    let mut runs = Vec::new();
    for character in version.chars() {
        let digit = character.to_digit(10).map(u64::from);
        match (digit, runs.last_mut()) {
            (Some(digit), Some((number, text))) if String::is_empty(text) => *number = *number * 10 + digit,
            (Some(digit), _) => runs.push((digit, String::new())),
            (None, Some((0, text))) if !text.is_empty() => text.push(character),
            (None, _) => runs.push((0, character.to_string())),
        }
    }
    runs
}

/// Searches `boot/vmlinuz-*` and `usr/lib/modules/*/vmlinuz`.
fn find_image(unpacked: &Path) -> Result<Option<PathBuf>> {
    for (directory, depth) in [("boot", 0), ("usr/lib/modules", 1), ("lib/modules", 1)] {
        let directory = unpacked.join(directory);
        if !directory.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let candidate = if depth == 0 { path } else { path.join("vmlinuz") };
            let name = candidate.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("vmlinuz") && candidate.is_file() {
                return Ok(Some(candidate));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn the_newest_package_of_the_version_is_chosen() {
        let kernel = parse("6.12").expect("a known kernel");
        let packages = names(&[
            "linux-image-6.12.94+deb13-cloud-amd64",
            "linux-image-6.12.107+deb13-cloud-amd64",
            "linux-image-6.13.1+deb13-cloud-amd64",
        ]);
        assert_eq!(choose(kernel, &packages).expect("there is one"), "linux-image-6.12.107+deb13-cloud-amd64");
    }

    #[test]
    fn a_version_is_not_a_prefix_of_another() {
        let kernel = parse("6.1").expect("a known kernel");
        let packages = names(&["linux-image-6.12.94+deb13-cloud-amd64", "linux-image-6.1.0-50-cloud-amd64"]);
        assert_eq!(choose(kernel, &packages).expect("there is one"), "linux-image-6.1.0-50-cloud-amd64");
    }

    #[test]
    fn a_rolling_release_gives_what_it_has() {
        let packages = names(&["linux-binary-7.4.2+deb15-cloud-amd64"]);
        let kernel = parse("7.2").expect("a known kernel");
        assert_eq!(choose(kernel, &packages).expect("there is one"), packages[0]);
        let kernel = parse("5.10").expect("a known kernel");
        assert!(choose(kernel, &names(&["linux-image-6.1.0-50-cloud-amd64"])).is_err());
    }

    #[test]
    fn an_unknown_kernel_names_the_known_ones() {
        assert_eq!(parse("4.4"), Err("no guest has this kernel; there are 5.10, 6.1, 6.12, 7.2".to_string()));
    }
}
