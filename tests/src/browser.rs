//! A browser without a window, told what to do over a pipe in the protocol of its developer tools. It loads pages, moves the mouse,
//! types, evaluates expressions, and takes pictures.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::directory::Directory;

const NAMES: &[&str] = &["chromium-headless-shell", "chromium"];

/// Where it is on the PATH.
pub fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    NAMES.iter().find_map(|name| directories.iter().map(|directory| directory.join(name)).find(|path| path.is_file()))
}

/// One page of it.
pub struct Browser {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    session: String,
    last: u64,
    /// What the next window that asks for a text is answered.
    pub reply: Option<String>,
    /// The addresses that were asked for, the page's own among them.
    pub requests: Vec<String>,
}

/// Red, green and blue.
pub type Colour = [u8; 3];

/// What is seen.
pub struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<Colour>,
}

impl Browser {
    /// What it keeps of its own is in that directory.
    pub fn start(directory: &Directory) -> Result<Browser> {
        let program = program().context("there is no browser")?;
        let mut command = Command::new("sh");
        // Its end of the pipe is descriptors 3 and 4.
        command.args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh"]).arg(program);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
        command.args(["--remote-debugging-pipe", "--window-size=1300,900", "--force-color-profile=srgb"]);
        command.arg(format!("--user-data-dir={}", directory.path.join("browser").display()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start the browser")?;
        let (commands, answers) = (child.stdin.take().context("no pipe")?, child.stdout.take().context("no pipe")?);
        let mut browser = Browser {
            child,
            commands,
            answers: BufReader::new(answers),
            session: String::new(),
            last: 0,
            reply: None,
            requests: Vec::new(),
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))?;
        let attached =
            browser.call("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}))?;
        browser.session = attached["sessionId"].as_str().context("no session")?.to_string();
        for domain in ["Page", "Network", "Runtime"] {
            browser.call(&format!("{domain}.enable"), json!({}))?;
        }
        Ok(browser)
    }

    /// The answer to a command; what happens meanwhile is noted.
    fn call(&mut self, method: &str, parameters: Value) -> Result<Value> {
        self.last += 1;
        let number = self.last;
        self.send(number, method, parameters)?;
        loop {
            let message = self.receive()?;
            if message["id"] == number {
                ensure!(message["error"].is_null(), "{method}: {}", message["error"]);
                return Ok(message["result"].clone());
            }
        }
    }

    fn send(&mut self, number: u64, method: &str, parameters: Value) -> Result<()> {
        let mut message = json!({"id": number, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.commands.write_all(message.to_string().as_bytes())?;
        self.commands.write_all(b"\0")?;
        Ok(())
    }

    fn receive(&mut self) -> Result<Value> {
        let mut bytes = Vec::new();
        self.answers.read_until(0, &mut bytes)?;
        ensure!(bytes.pop() == Some(0), "the browser has ended");
        let message: Value = serde_json::from_slice(&bytes)?;
        match message["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                let address = &message["params"]["request"]["url"];
                self.requests.push(address.as_str().unwrap_or_default().to_string());
            }
            Some("Runtime.exceptionThrown") => bail!("the page fails: {}", message["params"]),
            Some("Page.javascriptDialogOpening") => {
                let reply = self.reply.take().with_context(|| format!("unexpected: {}", message["params"]))?;
                // Its answer is passed over, as it has a number of its own.
                self.last += 1;
                self.send(self.last, "Page.handleJavaScriptDialog", json!({"accept": true, "promptText": reply}))?;
            }
            _ => {}
        }
        Ok(message)
    }

    /// Loads a file, and waits until it is there.
    pub fn open(&mut self, path: &Path) -> Result<()> {
        self.requests.clear();
        let loaded = self.call("Page.navigate", json!({"url": format!("file://{}", path.display())}))?;
        ensure!(loaded["errorText"].is_null(), "{}: {}", path.display(), loaded["errorText"]);
        while self.evaluate("document.readyState")? != "complete" {}
        Ok(())
    }

    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let result = self.call("Runtime.evaluate", json!({"expression": expression, "returnByValue": true}))?;
        ensure!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        Ok(result["result"]["value"].clone())
    }

    pub fn text(&mut self, expression: &str) -> Result<String> {
        Ok(self.evaluate(expression)?.as_str().unwrap_or_default().to_string())
    }

    /// The rectangle of an element on the screen: left, top, width and height.
    pub fn place(&mut self, element: &str) -> Result<[f64; 4]> {
        let place =
            self.evaluate(&format!("(r => [r.x, r.y, r.width, r.height])(({element}).getBoundingClientRect())"))?;
        serde_json::from_value(place).with_context(|| format!("{element} has no place"))
    }

    /// Moves the mouse over an element.
    pub fn hover(&mut self, element: &str) -> Result<()> {
        self.mouse("mouseMoved", element)
    }

    pub fn click(&mut self, element: &str) -> Result<()> {
        self.hover(element)?;
        self.mouse("mousePressed", element)?;
        self.mouse("mouseReleased", element)
    }

    fn mouse(&mut self, what: &str, element: &str) -> Result<()> {
        let [left, top, width, height] = self.place(element)?;
        let button = if what == "mouseMoved" { "none" } else { "left" };
        let at =
            json!({"type": what, "x": left + width / 2.0, "y": top + height / 2.0, "button": button, "clickCount": 1});
        self.call("Input.dispatchMouseEvent", at).map(drop)
    }

    /// Types into what has the focus.
    pub fn keys(&mut self, text: &str) -> Result<()> {
        self.call("Input.insertText", json!({"text": text})).map(drop)
    }

    /// The window as it is seen.
    pub fn picture(&mut self) -> Result<Picture> {
        let taken = self.call("Page.captureScreenshot", json!({"format": "png"}))?;
        let bytes = STANDARD.decode(taken["data"].as_str().context("no picture")?)?;
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info()?;
        let mut buffer = vec![0; reader.output_buffer_size().context("a picture that is too large")?];
        let frame = reader.next_frame(&mut buffer)?;
        let channels = frame.color_type.samples();
        ensure!(channels >= 3 && frame.bit_depth == png::BitDepth::Eight, "{frame:?}");
        let pixels = buffer[..frame.buffer_size()].chunks_exact(channels).map(|bytes| [bytes[0], bytes[1], bytes[2]]);
        Ok(Picture { width: frame.width as usize, height: frame.height as usize, pixels: pixels.collect() })
    }
}

impl Picture {
    pub fn at(&self, column: f64, row: f64) -> Result<Colour> {
        let (column, row) = (column as usize, row as usize);
        ensure!(column < self.width && row < self.height, "{column}, {row} is outside of the picture");
        Ok(self.pixels[row * self.width + column])
    }

    /// How many points of a rectangle have another colour there.
    pub fn differences(&self, other: &Picture, [left, top, width, height]: [f64; 4]) -> Result<usize> {
        let mut differences = 0;
        for row in top as usize..(top + height) as usize {
            for column in left as usize..(left + width) as usize {
                let point = (column as f64, row as f64);
                differences += usize::from(self.at(point.0, point.1)? != other.at(point.0, point.1)?);
            }
        }
        Ok(differences)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
