//! A library that lies in an archive, as in an application of Android: this process maps its code from the archive and calls it.
//!
//! Unsafe: mmap(2) of that code, and calls of it.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rawzip::{CompressionMethod, ZipArchiveWriter};
use rtrace_probes::elf::Binary;

use crate::child::Child;
use crate::directory::Directory;
use crate::environment::Programs;

/// A function that uses no other and no memory, the program that has it, and what it returns.
const FUNCTION: &str = "_ZN5shape5widthEv";
const PROGRAM: &str = "workload-lean";
const RESULT: u64 = 3;

const CALLS: u64 = 7;

/// The archive's names: stored, with debug information, and compressed.
const STORED: &str = "lib/x86_64/libshape.so";
const TYPED: &str = "lib/x86_64/libtyped.so";
const PACKED: &str = "lib/x86_64/libpacked.so";

const PAGE: u64 = 4096;

pub fn check(programs: &Programs) -> Result<()> {
    let directory = Directory::create("archives")?;
    let archive = directory.path.join("app.apk");
    let read = |program: &str| fs::read(programs.workloads.join(program)).with_context(|| program.to_string());
    let lean = read(PROGRAM)?;
    write(&archive, &[(STORED, &lean, true), (TYPED, &read("workload")?, true), (PACKED, &lean, false)])?;
    let shown = archive.display();

    let member = archive.with_file_name(format!("app.apk!/{STORED}"));
    let binary = Binary::open(&member)?;
    let function = binary.functions_named(FUNCTION).first().map(|function| function.address);
    let offset = function.and_then(|address| binary.file_offset(address)).context("there is no such function")?;
    let script = format!(
        "uprobe:\"{shown}!/{STORED}\":{FUNCTION} {{ @entered[func] = count(); }} \
         uretprobe:\"{shown}!/{STORED}\":\"shape::width\" {{ @left[retval] = count(); }} \
         uprobe:{shown}:{offset:#x} {{ @at = count(); }}"
    );
    let mut command = Command::new(&programs.rtrace);
    let tracer = Child::start(command.args(["--unsafe", "-e", &script]), Instant::now() + Duration::from_secs(60))?;
    tracer.await_error("Attached ")?.context("it did not attach")?;
    call(&archive, offset)?;
    tracer.signal(libc::SIGINT);
    let ended = tracer.finish()?;
    let (output, errors) = (String::from_utf8_lossy(&ended.output), String::from_utf8_lossy(&ended.errors));
    let lines: Vec<&str> = output.lines().filter(|line| !line.is_empty()).collect();
    let expected =
        [format!("@at: {CALLS}"), format!("@entered[shape::width()]: {CALLS}"), format!("@left[{RESULT}]: {CALLS}")];
    ensure!(lines == expected, "it prints {lines:?}, not {expected:?}, and says\n{errors}");

    let typed = format!("uprobe:\"{shown}!/{TYPED}\":workload_call {{ @[args.number] = count(); }}");
    let output = Command::new(&programs.rtrace).args(["--dry-run", "-e", &typed]).output()?;
    ensure!(output.status.success(), "with debug information: {}", String::from_utf8_lossy(&output.stderr));
    for (name, told) in [(PACKED, "is compressed in it"), ("lib/x86_64/libshap.so", STORED)] {
        let script = format!("uprobe:\"{shown}!/{name}\":{FUNCTION} {{ }}");
        let output = Command::new(&programs.rtrace).args(["--dry-run", "-e", &script]).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(2) && errors.contains(told), "{name}: it says {errors}");
    }
    Ok(())
}

/// An archive of these files, each stored or compressed.
fn write(archive: &Path, files: &[(&str, &[u8], bool)]) -> Result<()> {
    let mut writer = ZipArchiveWriter::new(File::create(archive)?);
    for (name, bytes, is_stored) in files {
        let method = if *is_stored { CompressionMethod::STORE } else { CompressionMethod::DEFLATE };
        let (mut entry, config) = writer.new_file(*name).compression_method(method).start()?;
        // What says that it is compressed is never unpacked here.
        let mut data = config.wrap(&mut entry);
        data.write_all(bytes)?;
        let (_, descriptor) = data.finish()?;
        entry.finish(descriptor)?;
    }
    writer.finish()?;
    Ok(())
}

/// Maps the code at that offset of the file, and calls it.
fn call(archive: &Path, offset: u64) -> Result<()> {
    let file = File::open(archive)?;
    let start = offset / PAGE * PAGE;
    let length = 2 * PAGE as usize;
    let protection = libc::PROT_READ | libc::PROT_EXEC;
    // SAFETY: a new private mapping at an address of the kernel's choice; the result is checked.
    let code = unsafe {
        libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_PRIVATE, file.as_raw_fd(), start as libc::off_t)
    };
    ensure!(code != libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
    // SAFETY: the function is at that place of the mapping, takes nothing, and uses no memory.
    let function: extern "C" fn() -> u64 =
        unsafe { std::mem::transmute(code.cast::<u8>().add((offset - start) as usize)) };
    let results: Vec<u64> = (0..CALLS).map(|_| function()).collect();
    // SAFETY: the mapping from above, whose function nobody calls any more.
    unsafe { libc::munmap(code, length) };
    ensure!(results.iter().all(|result| *result == RESULT), "the mapped code gives {results:?}");
    Ok(())
}
