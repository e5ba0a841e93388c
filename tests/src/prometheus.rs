//! A real Prometheus scrapes a script while it runs, and is asked what it has stored. Skipped where it is not installed.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::directory::Directory;
use crate::environment::{Programs, on_path};
use crate::scrapes;

const TIMEOUT: Duration = Duration::from_secs(90);

/// The calls have the names alpha, beta and gamma, the numbers 0 to 3, the depths 0 to 11.
const SCRIPT: &str = "uprobe:workload:workload_call {\n\
      @calls[str(arg0)] = count();\n\
      @depths = sum(arg2);\n\
      @sizes[arg1 % 2] = hist(arg2);\n\
      @mean[str(arg0)] = avg(arg2);\n\
      @whole = stats(arg2);\n\
    }";

const CALLS: u32 = 12;

/// What is asked, and the answer.
const QUERIES: &[(&str, f64)] = &[
    ("rtrace_calls_total{str_arg0=\"alpha\"}", 4.0),
    ("sum(rtrace_calls_total)", 12.0),
    ("rtrace_depths_total", 66.0),
    // The depths of odd numbers are 1, 3, 5, 7, 9 and 11.
    ("rtrace_sizes_bucket{arg1_2=\"1\",le=\"3.0\"} or rtrace_sizes_bucket{arg1_2=\"1\",le=\"3\"}", 2.0),
    ("rtrace_sizes_bucket{arg1_2=\"1\",le=\"+Inf\"}", 6.0),
    ("rtrace_sizes_count{arg1_2=\"0\"}", 6.0),
    // 0, 3, 6 and 9.
    ("rtrace_mean{str_arg0=\"alpha\"}", 4.0),
    ("rtrace_whole_sum / rtrace_whole_count", 5.5),
];

/// The server's program: the one that the environment names, or that is on the PATH.
pub fn server() -> Option<PathBuf> {
    std::env::var_os("RTRACE_PROMETHEUS").map(PathBuf::from).or_else(|| on_path("prometheus"))
}

/// Starts both, lets the workload run, and waits until what was scraped is what happened.
pub fn check(programs: &Programs) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    let (mut waiting, child, address) = scrapes::serve(programs, SCRIPT, CALLS, deadline)?;
    waiting.go()?;
    let directory = Directory::create("prometheus")?;
    let configuration = directory.path.join("prometheus.yml");
    fs::write(
        &configuration,
        format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\n\
             scrape_configs: [{{ job_name: rtrace, static_configs: [{{ targets: ['{address}'] }}] }}]\n"
        ),
    )?;
    // A port that was free a moment ago.
    let own = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let mut server = Command::new(server().context("there is no Prometheus")?)
        .arg(format!("--config.file={}", configuration.display()))
        .arg(format!("--storage.tsdb.path={}", directory.path.join("data").display()))
        .arg(format!("--web.listen-address={own}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let result = await_answers(&own, deadline);
    server.kill()?;
    server.wait()?;
    child.signal(libc::SIGINT);
    child.finish()?;
    waiting.finish()?;
    result
}

/// Asks until all answers are right, or the time is over.
fn await_answers(server: &str, deadline: Instant) -> Result<()> {
    loop {
        let answers: Vec<Option<f64>> = QUERIES.iter().map(|(query, _)| ask(server, query).ok().flatten()).collect();
        let wrong = QUERIES.iter().zip(&answers).find(|((_, value), answer)| **answer != Some(*value));
        match wrong {
            None => return Ok(()),
            Some(((query, value), answer)) if Instant::now() > deadline => {
                bail!("Prometheus says that {query} is {answer:?}, not {value}");
            }
            Some(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// The value of the only series that a query gives.
fn ask(server: &str, query: &str) -> Result<Option<f64>> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET /api/v1/query?query={encoded} HTTP/1.0\r\nHost: {server}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("the answer has no head")?;
    let body: Value = serde_json::from_str(body)?;
    let series = body["data"]["result"].as_array().context("the answer has no series")?;
    match &series[..] {
        [one] => Ok(one["value"][1].as_str().and_then(|text| text.parse().ok())),
        _ => Ok(None),
    }
}
