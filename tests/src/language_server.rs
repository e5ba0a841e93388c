//! The language server, asked as an editor asks: initialize, open, change, completion, hover, signature, definition,
//! formatting, shutdown.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::environment::Programs;

const NAME: &str = "file:///nowhere/script.rt";

const TEXT: &str = "interval:s:1 {\n    $task = curtask;\n  @bytes[comm] = hist(nsecs, 2);\n    print($task.mm);\n}\n";

/// Answers are for somebody who types. Measured: below 5 ms, but the first that reads the kernel's types.
const LATEST: Duration = Duration::from_millis(1000);

struct Editor {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    number: u64,
}

impl Editor {
    fn send(&mut self, message: &Value) -> Result<()> {
        let text = message.to_string();
        write!(self.input, "Content-Length: {}\r\n\r\n{text}", text.len())?;
        Ok(self.input.flush()?)
    }

    fn receive(&mut self) -> Result<Value> {
        let mut length = 0;
        loop {
            let mut line = String::new();
            ensure!(self.output.read_line(&mut line)? > 0, "the server has closed its output");
            match line.trim_end().split_once(": ") {
                Some(("Content-Length", number)) => length = number.parse()?,
                Some(_) => {}
                None => break,
            }
        }
        let mut bytes = vec![0; length];
        self.output.read_exact(&mut bytes)?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    fn tell(&mut self, method: &str, parameters: Value) -> Result<()> {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": parameters }))
    }

    /// The result of a request, which comes in time.
    fn ask(&mut self, method: &str, parameters: Value) -> Result<Value> {
        self.number += 1;
        let start = Instant::now();
        self.send(&json!({ "jsonrpc": "2.0", "id": self.number, "method": method, "params": parameters }))?;
        let answer = self.receive()?;
        ensure!(answer["id"] == self.number, "{method} is answered with {answer}");
        ensure!(answer["error"].is_null(), "{method} fails: {answer}");
        ensure!(start.elapsed() < LATEST, "{method} took {:?}", start.elapsed());
        Ok(answer["result"].clone())
    }

    /// The same of a place in the text.
    fn ask_at(&mut self, method: &str, line: u32, character: u32) -> Result<Value> {
        let place = json!({ "line": line, "character": character });
        self.ask(method, json!({ "textDocument": { "uri": NAME }, "position": place }))
    }

    /// The messages on the text as it is now.
    fn diagnostics(&mut self) -> Result<Vec<Value>> {
        let told = self.receive()?;
        ensure!(told["method"] == "textDocument/publishDiagnostics", "not told what is wrong, but {told}");
        ensure!(told["params"]["uri"] == NAME, "told of another text: {told}");
        Ok(told["params"]["diagnostics"].as_array().context("no list")?.clone())
    }
}

fn labels(answer: &Value) -> Vec<&str> {
    let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item["label"].as_str()).collect()
}

pub fn check(programs: &Programs) -> Result<()> {
    let mut child = Command::new(&programs.rtrace)
        .arg("lsp")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start rtrace")?;
    let input = child.stdin.take().context("no pipe")?;
    let output = BufReader::new(child.stdout.take().context("no pipe")?);
    let mut editor = Editor { input, output, number: 0 };
    let answer = editor.ask("initialize", json!({ "processId": null, "rootUri": null, "capabilities": {} }))?;
    ensure!(answer["serverInfo"]["name"] == "rtrace", "it is {answer}");
    editor.tell("initialized", json!({}))?;

    let document = json!({ "uri": NAME, "languageId": "rtrace", "version": 1, "text": TEXT });
    editor.tell("textDocument/didOpen", json!({ "textDocument": document }))?;
    let found = editor.diagnostics()?;
    ensure!(found.is_empty(), "a script without a mistake has {found:?}");

    // A member, then a builtin, in texts that are not whole.
    let answer = editor.ask_at("textDocument/completion", 3, 18)?;
    ensure!(labels(&answer).contains(&"mm"), "members are {answer}");
    let answer = editor.ask_at("textDocument/completion", 2, 20)?;
    ensure!(labels(&answer).contains(&"hist("), "builtins are {answer}");
    let hover = editor.ask_at("textDocument/hover", 2, 18)?;
    let shown = hover["contents"]["value"].as_str().unwrap_or_default();
    ensure!(shown.contains("hist(value, bits = 0)") && shown.contains("histogram"), "hist is {hover}");
    let hover = editor.ask_at("textDocument/hover", 3, 17)?;
    ensure!(hover["contents"]["value"].as_str().is_some_and(|ty| ty.contains("struct mm_struct *")), "mm is {hover}");
    let help = editor.ask_at("textDocument/signatureHelp", 2, 24)?;
    ensure!(help["signatures"][0]["label"] == "hist(value, bits = 0)", "the signature is {help}");
    let place = editor.ask_at("textDocument/definition", 3, 12)?;
    ensure!(place["range"]["start"] == json!({ "line": 1, "character": 4 }), "$task is from {place}");
    let edits = editor.ask("textDocument/formatting", json!({ "textDocument": { "uri": NAME }, "options": {} }))?;
    let new = edits[0]["newText"].as_str().context("nothing is formatted")?;
    ensure!(new == TEXT.replace("  @bytes", "    @bytes"), "formatted it is {new}");

    // A mistake behind a character of two units, and the same text without it.
    let change =
        |text: &str| json!({ "textDocument": { "uri": NAME, "version": 2 }, "contentChanges": [{ "text": text }] });
    editor.tell("textDocument/didChange", change("BEGIN { /* \u{1f600} */ @ = conut(); }\n"))?;
    let found = editor.diagnostics()?;
    let [mistake] = &found[..] else { anyhow::bail!("not one mistake, but {found:?}") };
    ensure!(mistake["code"] == "R0011" && mistake["severity"] == 1, "the mistake is {mistake}");
    ensure!(mistake["range"]["start"] == json!({ "line": 0, "character": 21 }), "the mistake is at {mistake}");
    ensure!(mistake["message"].as_str().is_some_and(|text| text.contains("did you mean")), "no help: {mistake}");
    editor.tell("textDocument/didChange", change("BEGIN { @ = count(); }\n"))?;
    ensure!(editor.diagnostics()?.is_empty(), "the mistake stays");

    // Where there are very many, some come, and the rest with the next letters. Small kernels have fewer.
    for (text, least) in [("rawtracepoint:", 500), ("rawtracepoint:sys_ent", 1)] {
        editor.tell("textDocument/didChange", change(text))?;
        editor.diagnostics()?;
        let answer = editor.ask_at("textDocument/completion", 0, text.len() as u32)?;
        let count = labels(&answer).len();
        ensure!((least..=1000).contains(&count), "{text} has {count} answers");
        ensure!(answer["isIncomplete"] == (count == 1000), "{text} is answered with {answer}");
        ensure!(count == 1000 || labels(&answer).contains(&"rawtracepoint:sys_enter"), "{text}: {answer}");
    }

    editor.ask("shutdown", Value::Null)?;
    editor.tell("exit", Value::Null)?;
    let status = child.wait()?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}
