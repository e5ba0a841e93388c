//! Programs of the distribution that have statically defined probes: Python and PostgreSQL. Their events are made here
//! and counted exactly. What is not installed is skipped.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rtrace_probes::elf::Binary;

use crate::child::Child;
use crate::directory::Directory;
use crate::environment::Programs;

const TIMEOUT: Duration = Duration::from_secs(120);

/// PostgreSQL refuses to run as root.
const NOBODY: u32 = 65534;

fn has_probes(path: &Path) -> bool {
    Binary::open(path).is_ok_and(|binary| !binary.notes().is_empty())
}

/// The distribution's Python, if it was built with probes.
pub fn python() -> Option<PathBuf> {
    let path = fs::canonicalize("/usr/bin/python3").ok()?;
    has_probes(&path).then_some(path)
}

/// The directory of PostgreSQL's programs, of the newest version that was built with probes.
pub fn postgresql() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions.flatten().map(|entry| entry.path().join("bin")).collect();
    found.retain(|bin| has_probes(&bin.join("postgres")) && bin.join("pgbench").is_file());
    found.sort_unstable();
    found.pop()
}

/// Counts the returns of a function of a script by its file and the line that it returns in, and the imports of a
/// module. (Python 3.11 has `function__entry`, and does not fire it for most calls.)
pub fn check_python(programs: &Programs) -> Result<()> {
    let python = python().context("there is no Python with probes")?;
    let directory = Directory::create("python")?;
    let file = directory.path.join("calls.py");
    fs::write(&file, "import rtrace_module\n\n\nfor i in range(7):\n    rtrace_module.rtrace_work(i)\n")?;
    let module = directory.path.join("rtrace_module.py");
    fs::write(&module, "def rtrace_work(n):\n    return n + 1\n")?;
    let path = python.display();
    let script = format!(
        "usdt:{path}:python:function__return /str(arg1) == \"rtrace_work\"/ {{ @[str(arg0), arg2] = count(); }}\n\
         usdt:{path}:import__find__load__done /str(arg0) == \"rtrace_module\"/ {{ @found[arg1] = count(); }}"
    );
    let mut command = Command::new(&programs.rtrace);
    command.arg("-c").arg(format!("{path} {}", file.display())).arg("-e").arg(script);
    let ended = Child::start(&mut command, Instant::now() + TIMEOUT)?.finish()?;
    let output = String::from_utf8_lossy(&ended.output);
    let expected = [format!("@[{}, 2]: 7", module.display()), "@found[1]: 1".to_string()];
    let found: Vec<&str> = output.lines().filter(|line| line.starts_with('@')).collect();
    if found != expected {
        bail!("expected {expected:?}, found {found:?}\n{}", String::from_utf8_lossy(&ended.errors));
    }
    Ok(())
}

/// Node.js, where it is installed.
pub fn node() -> Option<PathBuf> {
    let path = PathBuf::from("/usr/bin/node");
    path.is_file().then_some(path)
}

/// A function of JavaScript that was compiled while it ran has its name in stacks, from the file that Node.js writes.
pub fn check_node(programs: &Programs) -> Result<()> {
    const CALLS: u32 = 20_000;
    let node = node().context("there is no Node.js")?;
    let directory = Directory::create("node")?;
    let file = directory.path.join("work.js");
    let text = format!(
        "function rtraceWork(n) {{ let sum = 0; for (let i = 0; i < n; i++) sum += process.ppid; return sum; }}\n\
         for (let round = 0; round < {}; round++) rtraceWork(100);\n",
        CALLS / 100
    );
    fs::write(&file, text)?;
    // Each look at the property is a system call.
    let script = "tracepoint:syscalls:sys_enter_getppid { @[ustack(20)] = count(); @all = count(); @pid = pid; }";
    let mut command = Command::new(&programs.rtrace);
    command.current_dir(&directory.path).args(["-f", "json", "-e", script, "-c"]);
    command.arg(format!("{} --perf-basic-prof {}", node.display(), file.display()));
    let ended = Child::start(&mut command, Instant::now() + TIMEOUT)?.finish()?;
    let output = String::from_utf8_lossy(&ended.output);
    let (mut named, mut all) = (0, 0);
    for line in output.lines().filter(|line| line.starts_with("{\"type\": \"map\"")) {
        let line: serde_json::Value = serde_json::from_str(line)?;
        if let Some(count) = line["data"]["@all"].as_u64() {
            all = count;
        }
        if let Some(pid) = line["data"]["@pid"].as_u64() {
            // Node.js leaves it behind.
            fs::remove_file(format!("/tmp/perf-{pid}.map"))?;
        }
        for (stack, count) in line["data"]["@"].as_object().into_iter().flatten() {
            if stack.lines().any(|frame| frame.starts_with("JS:") && frame.contains("rtraceWork")) {
                named += count.as_u64().unwrap_or(0);
            }
        }
    }
    // It is interpreted first.
    if all < CALLS.into() || named < u64::from(CALLS) / 2 {
        bail!(
            "{all} calls, {named} of them with the name of the function:\n{}",
            String::from_utf8_lossy(&ended.errors)
        );
    }
    Ok(())
}

/// The example that counts calls of functions shows one that is called often.
pub fn check_python_example(programs: &Programs, examples: &Path) -> Result<()> {
    const CALLS: u32 = 20_000;
    let python = python().context("there is no Python with probes")?;
    let directory = Directory::create("python-example")?;
    let file = directory.path.join("calls.py");
    let text = format!("def rtrace_work(n):\n    return n + 1\n\n\nfor i in range({CALLS}):\n    rtrace_work(i)\n");
    fs::write(&file, text)?;
    let mut command = Command::new(&programs.rtrace);
    command.arg("-c").arg(format!("{} {}", python.display(), file.display())).arg(examples.join("pythoncalls.rt"));
    let ended = Child::start(&mut command, Instant::now() + TIMEOUT)?.finish()?;
    let output = String::from_utf8_lossy(&ended.output);
    let expected = format!("@calls[{}, rtrace_work]: {CALLS}", file.display());
    let shown = output.lines().filter(|line| line.starts_with("@calls[")).count();
    if !output.lines().any(|line| line == expected) || shown > 30 {
        bail!("there is no `{expected}` in {shown} lines\n{output}{}", String::from_utf8_lossy(&ended.errors));
    }
    Ok(())
}

/// Shows the texts of queries, and counts as many latencies as pgbench reports queries.
pub fn check_postgresql(programs: &Programs, examples: &Path) -> Result<()> {
    const TEXT: &str = "SELECT 40 + 2 AS rtrace_query;";
    let bin = postgresql().context("there is no PostgreSQL with probes")?;
    let deadline = Instant::now() + TIMEOUT;
    let directory = Directory::create("postgresql")?;
    give_away(&directory)?;
    let server = Server::start(&bin, &directory.path, deadline)?;
    let path = bin.join("postgres");
    let path = path.display();
    let script = format!(
        "usdt:{path}:postgresql:query__start {{ @start[pid] = nsecs; @text[str(arg0)] = count(); }}\n\
         usdt:{path}:postgresql:query-done /@start[pid]/ {{\n\
           @latency = hist(nsecs - @start[pid]); @done[str(arg0)] = count(); delete(@start[pid]);\n\
         }}"
    );
    let tracer = Child::start(Command::new(&programs.rtrace).arg("-e").arg(script), deadline)?;
    tracer.await_error("Attached ")?.context("it did not attach")?;
    // The example follows the server, whose backends are its children.
    let server_pid = server.child.pid().to_string();
    let mut example = Command::new(&programs.rtrace);
    example.args(["--children", "-p", &server_pid]).arg(examples.join("pgqueries.rt"));
    let example = Child::start(&mut example, deadline)?;
    example.await_error("Attached ")?.context("the example did not attach")?;
    let queries = directory.path.join("query.sql");
    fs::write(&queries, format!("{TEXT}\n"))?;
    let mut bench = server.client(&bin.join("pgbench"));
    bench.args(["--no-vacuum", "--client=2", "--transactions=30", "--file"]).arg(&queries).arg("postgres");
    let report = finish(&mut bench, deadline)?;
    tracer.signal(libc::SIGINT);
    let ended = tracer.finish()?;
    example.signal(libc::SIGINT);
    let of_example = example.finish()?;
    server.stop()?;
    let reported = report
        .lines()
        .find_map(|line| line.strip_prefix("number of transactions actually processed: "))
        .with_context(|| format!("pgbench reports no number:\n{report}"))?;
    let reported: u64 = reported.split('/').next().unwrap_or_default().parse()?;
    let output = String::from_utf8_lossy(&ended.output);
    for expected in [format!("@text[{TEXT}\n]: {reported}"), format!("@done[{TEXT}\n]: {reported}")] {
        // pgbench sends the line as it stands in the file, with or without its end.
        if !output.contains(&expected) && !output.contains(&expected.replace('\n', "")) {
            bail!("there is no `{expected}` in\n{output}{}", String::from_utf8_lossy(&ended.errors));
        }
    }
    // `[64K, 128K)      12 |@@@@@     |`
    let buckets = output.lines().filter_map(|line| line.strip_suffix('|')?.split('|').next()?.split(')').nth(1));
    let counted: u64 = buckets.filter_map(|count| count.trim().parse::<u64>().ok()).sum();
    let shown = String::from_utf8_lossy(&of_example.output);
    // The sum of its times follows.
    if !shown.contains(&format!("@total[{TEXT}")) || !shown.contains("@microseconds:\n") {
        bail!("the example shows no time of `{TEXT}`:\n{shown}{}", String::from_utf8_lossy(&of_example.errors));
    }
    if reported != 60 || counted != reported {
        bail!("pgbench reports {reported} queries of 60, and the histogram has {counted}\n{output}");
    }
    Ok(())
}

/// A server of its own, without a network, as a user without rights.
struct Server {
    child: Child,
    directory: PathBuf,
}

impl Server {
    fn start(bin: &Path, directory: &Path, deadline: Instant) -> Result<Server> {
        let data = directory.join("data");
        let mut init = unprivileged(&bin.join("initdb"), directory);
        init.args(["--no-sync", "--auth=trust", "--username=rtrace", "--no-locale", "--encoding=UTF8", "--pgdata"]);
        finish(init.arg(&data), deadline)?;
        let mut command = unprivileged(&bin.join("postgres"), directory);
        command.arg("-D").arg(&data).arg("-k").arg(directory).args(["-F", "-c", "listen_addresses="]);
        let child = Child::start(&mut command, deadline)?;
        let server = Server { child, directory: directory.to_path_buf() };
        // It says on stderr that it is ready, in a line that begins with the time: it is asked instead.
        loop {
            let mut ready = server.client(&bin.join("pg_isready"));
            if Child::start(&mut ready, deadline)?.finish()?.status.success() {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn client(&self, program: &Path) -> Command {
        let mut command = unprivileged(program, &self.directory);
        command.env("PGHOST", &self.directory).env("PGUSER", "rtrace");
        command
    }

    /// SIGINT is its fast shutdown.
    fn stop(self) -> Result<()> {
        self.child.signal(libc::SIGINT);
        let ended = self.child.finish()?;
        if !ended.status.success() {
            bail!("PostgreSQL ended with {}:\n{}", ended.status, String::from_utf8_lossy(&ended.errors));
        }
        Ok(())
    }
}

fn unprivileged(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).env("LC_ALL", "C").env("HOME", directory);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Runs a program to its end, which must be a good one, and gives its output.
fn finish(command: &mut Command, deadline: Instant) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let ended = Child::start(command, deadline)?.finish()?;
    if !ended.status.success() {
        bail!("{name} ended with {}:\n{}", ended.status, String::from_utf8_lossy(&ended.errors));
    }
    Ok(String::from_utf8_lossy(&ended.output).into_owned())
}

/// Gives a directory to the user that the server runs as.
fn give_away(directory: &Directory) -> Result<()> {
    if is_root() {
        chown(&directory.path, Some(NOBODY), Some(NOBODY))?;
    }
    fs::set_permissions(&directory.path, fs::Permissions::from_mode(0o700))?;
    Ok(())
}
