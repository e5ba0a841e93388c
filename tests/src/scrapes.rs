//! `--listen`: the maps over HTTP while a script runs, read by a strict reader, and by promtool where it is installed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::child::Child;
use crate::directives::{Workload, WorkloadMode};
use crate::environment::{Programs, on_path};
use crate::formats::exposition;
use crate::workload::{self, Waiting};

const TIMEOUT: Duration = Duration::from_secs(60);

/// All kinds of metrics; the calls have the names alpha, beta and gamma, the numbers 0 to 3, the depths 0 to 11.
const SCRIPT: &str = "uprobe:workload:workload_call {\n\
      @ = count();\n\
      @calls[str(arg0), \"a\\\"b\\\\\\n\"] = count();\n\
      @depth[arg1 % 2] = hist(arg2);\n\
      @steps = lhist(arg2, 2, 10, 4);\n\
      @whole = stats(arg2);\n\
      @parts = quantiles(arg1);\n\
      @last = arg1;\n\
      @stacks[ustack(1)] = sum(arg2);\n\
      @text = \"no number\";\n\
    }";

const CALLS: u32 = 12;

/// What Prometheus comes with: the program that the environment names, or that is on the PATH.
pub fn promtool() -> Option<PathBuf> {
    std::env::var_os("RTRACE_PROMTOOL").map(PathBuf::from).or_else(|| on_path("promtool"))
}

/// Scrapes a script while it runs, and reads what comes.
pub fn check(programs: &Programs) -> Result<()> {
    let text = scrape_a_script(programs)?;
    let samples = exposition::read(&text).with_context(|| text.clone())?;
    let expected = [
        ("rtrace_map_total", 12.0),
        ("rtrace_calls_total str_arg0=alpha key1=a\"b\\\n", 4.0),
        ("rtrace_calls_total str_arg0=gamma key1=a\"b\\\n", 4.0),
        // The depths of odd numbers are 1, 3, 5, 7, 9 and 11.
        ("rtrace_depth_bucket arg1_2=1 le=0", 0.0),
        ("rtrace_depth_bucket arg1_2=1 le=3", 2.0),
        ("rtrace_depth_bucket arg1_2=1 le=7", 4.0),
        ("rtrace_depth_bucket arg1_2=1 le=inf", 6.0),
        ("rtrace_depth_count arg1_2=1", 6.0),
        ("rtrace_steps_bucket le=1", 2.0),
        ("rtrace_steps_bucket le=5", 6.0),
        ("rtrace_steps_bucket le=9", 10.0),
        ("rtrace_steps_bucket le=inf", 12.0),
        ("rtrace_whole_sum", 66.0),
        ("rtrace_whole_count", 12.0),
        ("rtrace_parts quantile=0.5", 1.0),
        ("rtrace_parts_count", 12.0),
        ("rtrace_last", 3.0),
        ("rtrace_stacks_total ustack_1=workload_call", 66.0),
    ];
    for (series, value) in expected {
        if samples.get(series) != Some(&value) {
            bail!("{series} is {:?}, not {value}, in\n{text}", samples.get(series));
        }
    }
    if text.contains("rtrace_text") {
        bail!("a text is no metric:\n{text}");
    }
    Ok(())
}

/// What Prometheus itself thinks of it.
pub fn check_by_promtool(programs: &Programs) -> Result<()> {
    let text = scrape_a_script(programs)?;
    let promtool = promtool().context("there is no promtool")?;
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn()?;
    process.stdin.take().context("no pipe")?.write_all(text.as_bytes())?;
    let output = process.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        bail!("promtool ends with {}:\n{said}\n{text}", output.status);
    }
    Ok(())
}

/// Starts the script beside a workload that waits to make so many calls; gives both, and the address that the maps are served at.
pub fn serve(programs: &Programs, script: &str, calls: u32, deadline: Instant) -> Result<(Waiting, Child, String)> {
    let wanted = Workload {
        mode: WorkloadMode::Process,
        program: "workload".into(),
        arguments: vec!["calls".into(), calls.to_string()],
    };
    let waiting = workload::start(&wanted, programs, deadline)?;
    let mut command = Command::new(&programs.rtrace);
    command.env("PATH", &programs.workloads).args(["--listen", "127.0.0.1:0"]);
    command.args(["-p", &waiting.pid.to_string(), "-e", script]);
    let child = Child::start(&mut command, deadline)?;
    let line = child.await_error("Serving http://")?.context("it does not serve")?;
    let address = line.trim_start_matches("Serving http://").trim_end_matches("/metrics").to_string();
    child.await_error("Attached ")?.context("it did not attach")?;
    Ok((waiting, child, address))
}

/// The last scrape before the end, which has all calls.
fn scrape_a_script(programs: &Programs) -> Result<String> {
    let deadline = Instant::now() + TIMEOUT;
    let (mut waiting, child, address) = serve(programs, SCRIPT, CALLS, deadline)?;
    // Before anything has happened, too, it is well formed; and a client that says nothing keeps nobody waiting.
    let silent = TcpStream::connect(&address)?;
    let (status, text) = ask(&address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")?;
    if status != "200 OK" || exposition::read(&text)?.get("rtrace_map_total") != Some(&0.0) {
        bail!("the first answer is {status}:\n{text}");
    }
    for (request, expected) in [
        ("GET / HTTP/1.0\r\n\r\n", "200 OK"),
        ("GET /metrics?x=1 HTTP/1.1\r\n\r\n", "200 OK"),
        ("HEAD /metrics HTTP/1.1\r\n\r\n", "200 OK"),
        ("GET /other HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        ("nothing\r\n\r\n", "400 Bad Request"),
    ] {
        let (status, _) = ask(&address, request)?;
        if status != expected {
            bail!("{request:?} is answered with {status}, not {expected}");
        }
    }
    waiting.go()?;
    let text = ask(&address, "GET /metrics HTTP/1.1\r\n\r\n")?.1;
    drop(silent);
    child.signal(libc::SIGINT);
    let ended = child.finish()?;
    waiting.finish()?;
    let errors = String::from_utf8_lossy(&ended.errors);
    let told = errors.lines().filter(|line| line.starts_with("warning: --listen: @text is left out")).count();
    if !ended.status.success() || told != 1 {
        bail!("it ended with {}, and told {told} times of what is no metric:\n{errors}", ended.status);
    }
    if TcpStream::connect(&address).is_ok() {
        bail!("somebody still listens at {address}");
    }
    Ok(text)
}

/// The status and the text of an answer.
fn ask(address: &str, request: &str) -> Result<(String, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, text) = answer.split_once("\r\n\r\n").context("the answer has no head")?;
    let status = head.lines().next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).context("no status")?;
    let is_head = request.starts_with("HEAD");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).context("no length")?;
    if !is_head && length.parse() != Ok(text.len()) {
        bail!("the answer has {} bytes and says {length}", text.len());
    }
    if status == "200 OK" && request.contains("/metrics") && !head.contains("text/plain; version=0.0.4") {
        bail!("the answer does not say what it is: {head}");
    }
    Ok((status.to_string(), text.to_string()))
}
