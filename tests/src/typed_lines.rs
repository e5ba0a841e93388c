//! The examples that show what people read and type: lines of bash, and what goes over TLS. With the distribution's bash, OpenSSL and a
//! program that uses GnuTLS, where they are installed.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rtrace_probes::elf::Binary;

use crate::child::Child;
use crate::directory::Directory;
use crate::environment::Programs;

const PATIENCE: Duration = Duration::from_secs(60);

fn has(program: &str, function: &str) -> Option<PathBuf> {
    let path = fs::canonicalize(program).ok()?;
    Binary::open(&path).is_ok_and(|binary| !binary.functions_named(function).is_empty()).then_some(path)
}

/// A bash that reads its lines itself.
pub fn bash() -> Option<PathBuf> {
    has("/bin/bash", "readline")
}

/// OpenSSL's command, where its library is one of its own.
pub fn openssl() -> Option<PathBuf> {
    has("/usr/lib/x86_64-linux-gnu/libssl.so.3", "SSL_read")?;
    fs::canonicalize("/usr/bin/openssl").ok()
}

fn uses_gnutls(binary: &Binary) -> bool {
    binary.libraries().iter().any(|name| name.starts_with("libgnutls."))
}

/// Wget, where it uses GnuTLS, and a server for it.
pub fn wget() -> Option<PathBuf> {
    openssl()?;
    has("/usr/lib/x86_64-linux-gnu/libgnutls.so.30", "gnutls_record_recv")?;
    let path = fs::canonicalize("/usr/bin/wget").ok()?;
    Binary::open(&path).is_ok_and(|binary| uses_gnutls(&binary)).then_some(path)
}

fn example(programs: &Programs, examples: &Path, name: &str, pid: u32, deadline: Instant) -> Result<Child> {
    let mut command = Command::new(&programs.rtrace);
    let tracer = Child::start(command.arg(examples.join(name)).args(["-p", &pid.to_string()]), deadline)?;
    tracer.await_error("Attached ")?.context("the example did not attach")?;
    Ok(tracer)
}

/// Lines come from a pipe: an interactive bash reads them as those of a terminal.
pub fn check_bash(programs: &Programs, examples: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut command = Command::new(bash().context("there is no bash")?);
    let mut shell = Child::start(command.args(["--norc", "--noprofile", "-i"]).env("HISTFILE", "/dev/null"), deadline)?;
    let tracer = example(programs, examples, "shelllines.rt", shell.pid(), deadline)?;
    // The one that it waits for already is not shown.
    shell.send_line("echo the first")?;
    shell.await_output("the first")?;
    shell.send_line("echo a line that is typed")?;
    shell.await_output("a line that is typed")?;
    shell.send_line("exit")?;
    let pid = shell.pid();
    shell.finish()?;
    let ended = tracer.finish()?;
    let output = String::from_utf8_lossy(&ended.output);
    let lines: Vec<String> =
        output.lines().map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")).collect();
    let user = std::env::var("USER").unwrap_or_else(|_| "root".to_string());
    for typed in ["echo a line that is typed", "exit"] {
        ensure!(lines.contains(&format!("{user} {pid} {typed}")), "there is no `{typed}` of {user} in {output}");
    }
    Ok(())
}

/// A server of OpenSSL's that takes connections, and its port.
fn start_server(openssl: &Path, directory: &Directory, options: &[&str], deadline: Instant) -> Result<(Child, String)> {
    let (key, certificate) = (directory.path.join("key.pem"), directory.path.join("certificate.pem"));
    let mut command = Command::new(openssl);
    command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-keyout"]);
    let made = Child::start(command.arg(&key).arg("-out").arg(&certificate), deadline)?.finish()?;
    ensure!(made.status.success(), "no certificate: {}", String::from_utf8_lossy(&made.errors));
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let mut command = Command::new(openssl);
    command.args(["s_server", "-accept", &port, "-key"]).arg(&key).arg("-cert").arg(&certificate).args(options);
    command.current_dir(&directory.path);
    let server = Child::start(&mut command, deadline)?;
    server.await_output("ACCEPT")?;
    Ok((server, port))
}

fn lines_with_single_spaces(output: &str) -> Vec<String> {
    output.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// A server of OpenSSL's, which shows what it is sent and sends what is typed, and a client of it.
pub fn check_openssl(programs: &Programs, examples: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let openssl = openssl().context("there is no OpenSSL")?;
    let directory = Directory::create("openssl")?;
    let (mut server, port) = start_server(&openssl, &directory, &[], deadline)?;
    let tracer = example(programs, examples, "tlsreads.rt", server.pid(), deadline)?;
    let mut command = Command::new(&openssl);
    command.args(["s_client", "-quiet", "-connect", &format!("127.0.0.1:{port}")]);
    let mut client = Child::start(&mut command, deadline)?;
    client.send_line("nobody else reads this")?;
    server.await_output("nobody else reads this")?;
    server.send_line("nor this")?;
    client.await_output("nor this")?;
    client.signal(libc::SIGTERM);
    client.finish()?;
    server.signal(libc::SIGTERM);
    server.finish()?;
    let ended = tracer.finish()?;
    let output = String::from_utf8_lossy(&ended.output);
    let lines = lines_with_single_spaces(&output);
    for expected in ["openssl read 23 nobody else reads this\\x0a", "openssl write 9 nor this\\x0a"] {
        ensure!(lines.iter().any(|line| line == expected), "there is no `{expected}` in {output}");
    }
    Ok(())
}

/// A page that wget fetches by GnuTLS from a server of OpenSSL's.
pub fn check_gnutls(programs: &Programs, examples: &Path) -> Result<()> {
    const PAGE: &str = "not for you";
    let deadline = Instant::now() + PATIENCE;
    let (openssl, wget) = (openssl().context("there is no OpenSSL")?, wget().context("there is no wget")?);
    let directory = Directory::create("gnutls")?;
    fs::write(directory.path.join("page.txt"), PAGE)?;
    let here = directory.path.display();
    // Its pages are the files of the directory.
    let (server, port) = start_server(&openssl, &directory, &["-WWW"], deadline)?;
    let fetch =
        format!("{} -q --no-check-certificate -O {here}/fetched https://127.0.0.1:{port}/page.txt", wget.display());
    let mut command = Command::new(&programs.rtrace);
    let ended = Child::start(command.arg(examples.join("tlsreads.rt")).args(["-c", &fetch]), deadline)?.finish()?;
    server.signal(libc::SIGTERM);
    server.finish()?;
    let fetched = fs::read_to_string(directory.path.join("fetched"))?;
    ensure!(fetched == PAGE, "wget has fetched {fetched}");
    let output = String::from_utf8_lossy(&ended.output);
    let lines = lines_with_single_spaces(&output);
    let asked = |line: &String| line.starts_with("wget write ") && line.contains("GET /page.txt HTTP/1.1");
    ensure!(lines.iter().any(asked), "there is no question of wget's in {output}");
    let answered = |line: &String| line.starts_with("wget read ") && line.contains(PAGE);
    ensure!(lines.iter().any(answered), "there is no answer to wget in {output}");
    Ok(())
}
