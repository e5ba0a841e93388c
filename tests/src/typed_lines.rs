//! The examples that show what people read and type: lines of bash, and what goes over TLS. With the distribution's bash and OpenSSL,
//! where they are installed.

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

/// A server of OpenSSL's, which shows what it is sent and sends what is typed, and a client of it.
pub fn check_openssl(programs: &Programs, examples: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let openssl = openssl().context("there is no OpenSSL")?;
    let directory = Directory::create("openssl")?;
    let (key, certificate) = (directory.path.join("key.pem"), directory.path.join("certificate.pem"));
    let mut command = Command::new(&openssl);
    command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-keyout"]);
    let made = Child::start(command.arg(&key).arg("-out").arg(&certificate), deadline)?.finish()?;
    ensure!(made.status.success(), "no certificate: {}", String::from_utf8_lossy(&made.errors));
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let mut command = Command::new(&openssl);
    command.args(["s_server", "-accept", &port, "-key"]).arg(&key).arg("-cert").arg(&certificate);
    let mut server = Child::start(&mut command, deadline)?;
    server.await_output("ACCEPT")?;
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
    let lines: Vec<String> = output.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for expected in ["openssl read 23 nobody else reads this\\x0a", "openssl write 9 nor this\\x0a"] {
        ensure!(lines.iter().any(|line| line == expected), "there is no `{expected}` in {output}");
    }
    Ok(())
}
