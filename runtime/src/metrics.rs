//! Serves maps over HTTP while a script runs. A thread for each connection reads the request and writes the response;
//! what is in it comes from the session, which alone reads maps. A client that is slow holds up nobody.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::output::prometheus::CONTENT_TYPE;

/// Connections at once; others are turned away.
const MOST_CONNECTIONS: usize = 16;

/// Bytes of a request's head.
const LONGEST_HEAD: usize = 8 << 10;

/// How long a client may take to send its request, and for each part of the response.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the session may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Somebody who waits for the text of the metrics.
pub type Request = Sender<String>;

pub struct MetricsServer {
    listener: TcpListener,
    requests: Receiver<Request>,
    /// A byte comes with each request.
    wakeups: UnixStream,
    shared: Arc<Shared>,
}

/// What the threads of connections have; as many hold it as there are, and the server.
struct Shared {
    requests: Sender<Request>,
    wakeups: UnixStream,
}

impl MetricsServer {
    /// Listens at `HOST:PORT`; port 0 is any that is free.
    pub fn new(address: &str) -> io::Result<MetricsServer> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let (sender, requests) = channel();
        let (wakeups, waker) = UnixStream::pair()?;
        wakeups.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let shared = Arc::new(Shared { requests: sender, wakeups: waker });
        Ok(MetricsServer { listener, requests, wakeups, shared })
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Ready when somebody connects, and when somebody waits for an answer.
    pub fn fds(&self) -> [RawFd; 2] {
        [self.listener.as_raw_fd(), self.wakeups.as_raw_fd()]
    }

    /// Takes in who has connected, and gives all who wait for an answer.
    pub fn take(&mut self) -> Vec<Request> {
        while let Ok((stream, _)) = self.listener.accept() {
            let shared = self.shared.clone();
            let is_full = Arc::strong_count(&shared) > MOST_CONNECTIONS + 1;
            // Where there is no thread to be had the connection is closed.
            let _ = std::thread::Builder::new().name("metrics".to_string()).spawn(move || {
                // A client that goes away does without.
                let _ = serve(stream, &shared, is_full);
            });
        }
        let mut bytes = [0; 64];
        while self.wakeups.read(&mut bytes).is_ok_and(|count| count > 0) {}
        self.requests.try_iter().collect()
    }
}

fn serve(mut stream: TcpStream, shared: &Shared, is_full: bool) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    if is_full {
        return respond(&mut stream, "503 Service Unavailable", "text/plain", "too many connections\n", false);
    }
    let head = head(&mut stream)?;
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version)) = (method, target, version) else {
        return respond(&mut stream, "400 Bad Request", "text/plain", "this is no request of HTTP\n", false);
    };
    if !version.starts_with("HTTP/1.") {
        return respond(&mut stream, "400 Bad Request", "text/plain", "this is no request of HTTP/1\n", false);
    }
    let only_head = method == "HEAD";
    if method != "GET" && !only_head {
        return respond(&mut stream, "405 Method Not Allowed", "text/plain", "only GET and HEAD\n", false);
    }
    match target.split('?').next() {
        Some("/metrics") => {
            let (sender, answer) = channel();
            // Without a session both fail, and nobody answers.
            let _ = shared.requests.send(sender);
            let _ = (&shared.wakeups).write(&[1]);
            match answer.recv_timeout(ANSWER) {
                Ok(text) => respond(&mut stream, "200 OK", CONTENT_TYPE, &text, only_head),
                Err(_) => {
                    respond(&mut stream, "503 Service Unavailable", "text/plain", "the script has ended\n", only_head)
                }
            }
        }
        Some("/") => respond(&mut stream, "200 OK", "text/plain", "rtrace: the maps are at /metrics\n", only_head),
        Some(_) | None => respond(&mut stream, "404 Not Found", "text/plain", "the maps are at /metrics\n", only_head),
    }
}

/// A request up to its empty line.
fn head(stream: &mut TcpStream) -> io::Result<String> {
    let started = Instant::now();
    let mut head = Vec::new();
    let mut bytes = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut bytes)?;
        if count == 0 {
            break;
        }
        head.extend_from_slice(&bytes[..count]);
        if head.len() > LONGEST_HEAD || started.elapsed() > PATIENCE {
            return Err(ErrorKind::InvalidData.into());
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn respond(stream: &mut TcpStream, status: &str, kind: &str, text: &str, only_head: bool) -> io::Result<()> {
    let length = text.len();
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{allow}Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    if !only_head {
        stream.write_all(text.as_bytes())?;
    }
    stream.flush()
}
