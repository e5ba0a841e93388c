//! `rtrace lsp`: the language server of editors, over standard input and output. Answers come from the tables and the
//! completion of the prompt; nothing is loaded or attached.

mod positions;
mod words;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use lsp_server::{Connection, ErrorCode, Message, Notification, Request, Response};
use serde_json::{Value, json};

use rtrace_lang::check::CheckOptions;
use rtrace_lang::diagnostic::{Diagnostic, Severity};
use rtrace_lang::pretty;
use rtrace_lang::source::Source;
use rtrace_lang::span::Span;
use rtrace_probes::Machine;
use rtrace_runtime::driver::{Stage, drive};

use crate::prompt::complete::Completion;
use crate::prompt::editor::signature;
use crate::script::fail;

use positions::{offset, position, range};

/// More than that nobody reads: the editor asks again with the next letter. A kernel has 60,000 functions, 8 MB as answers.
const MOST_ITEMS: usize = 1000;

/// How the protocol numbers them.
const ERROR: u32 = 1;
const WARNING: u32 = 2;

/// Its definition, for the manual: it takes no words.
pub fn command() -> clap::Command {
    clap::Command::new("lsp")
}

/// Serves one editor until it says that it is done; gives the exit status.
pub fn run() -> i32 {
    let (connection, threads) = Connection::stdio();
    let outcome = serve(&connection);
    drop(connection);
    let written = threads.join();
    match (outcome, written) {
        (Ok(()), Ok(())) => 0,
        (Err(error), _) => fail(&format!("the editor broke off: {error}"), &[]),
        (_, Err(error)) => fail(&format!("cannot write to the editor: {error}"), &[]),
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn serve(connection: &Connection) -> Result<(), Failure> {
    let capabilities = json!({
        "textDocumentSync": 1,
        "completionProvider": { "triggerCharacters": [".", ">", ":", "$", "@"] },
        "hoverProvider": true,
        "signatureHelpProvider": { "triggerCharacters": ["(", ","] },
        "definitionProvider": true,
        "documentFormattingProvider": true,
    });
    let (id, _) = connection.initialize_start()?;
    let server = json!({ "name": "rtrace", "version": env!("CARGO_PKG_VERSION") });
    connection.initialize_finish(id, json!({ "capabilities": capabilities, "serverInfo": server }))?;
    let mut machine = Machine::new();
    machine.compile_only();
    let mut server = Server { documents: HashMap::new(), completion: Completion::new(machine, None) };
    for message in &connection.receiver {
        match message {
            Message::Request(request) => {
                if connection.handle_shutdown(&request)? {
                    return Ok(());
                }
                connection.sender.send(server.answer(request).into())?;
            }
            Message::Notification(notification) => {
                if let Some(told) = server.note(notification) {
                    connection.sender.send(told.into())?;
                }
            }
            Message::Response(_) => {}
        }
    }
    Ok(())
}

struct Server {
    /// Texts by the names that the editor has for them.
    documents: HashMap<String, String>,
    completion: Completion,
}

impl Server {
    /// Takes in a text; gives what is wrong with it.
    fn note(&mut self, notification: Notification) -> Option<Notification> {
        let parameters = notification.params;
        let document = &parameters["textDocument"];
        let name = document["uri"].as_str()?.to_string();
        match notification.method.as_str() {
            "textDocument/didOpen" => {
                self.documents.insert(name.clone(), document["text"].as_str()?.to_string());
            }
            "textDocument/didChange" => {
                // Each is the whole text.
                let last = parameters["contentChanges"].as_array()?.last()?;
                self.documents.insert(name.clone(), last["text"].as_str()?.to_string());
            }
            "textDocument/didClose" => {
                self.documents.remove(&name);
                let nothing = json!({ "uri": name, "diagnostics": [] });
                return Some(Notification::new("textDocument/publishDiagnostics".to_string(), nothing));
            }
            _ => return None,
        }
        let found = self.diagnostics(&name);
        let told = json!({ "uri": name, "diagnostics": found });
        Some(Notification::new("textDocument/publishDiagnostics".to_string(), told))
    }

    fn answer(&mut self, request: Request) -> Response {
        let (id, parameters) = (request.id, request.params);
        let name = parameters["textDocument"]["uri"].as_str().unwrap_or_default();
        let Some(text) = self.documents.get(name) else {
            return Response::new_err(id, ErrorCode::InvalidParams as i32, format!("the text {name} is not open"));
        };
        let at = offset(text, &parameters["position"]);
        let answer = match request.method.as_str() {
            "textDocument/completion" => self.complete(text, at),
            "textDocument/hover" => words::hover(&self.completion, text, at),
            "textDocument/signatureHelp" => signature_help(&text[..at]),
            "textDocument/definition" => match words::definition(text, at) {
                Some(span) => json!({ "uri": name, "range": range(text, span) }),
                None => Value::Null,
            },
            "textDocument/formatting" => formatted(text),
            other => {
                let message = format!("{other} is not served");
                return Response::new_err(id, ErrorCode::MethodNotFound as i32, message);
            }
        };
        Response::new_ok(id, answer)
    }

    /// What the checker says of a text, without what it says of other files.
    fn diagnostics(&self, name: &str) -> Vec<Value> {
        let text = &self.documents[name];
        let path = name.strip_prefix("file://").unwrap_or(name);
        let directory = Path::new(path).parent().map_or_else(PathBuf::new, Path::to_path_buf);
        let mut source = Source::new(path, text).found_below(&directory);
        let options = CheckOptions { allow_unsafe: true, ..CheckOptions::default() };
        let driven = drive(&mut source, self.completion.machine(), &options, Stage::Check);
        let is_here = |span: Span| span.range().end <= text.len();
        let here = driven.diagnostics.iter().filter(|diagnostic| is_here(diagnostic.span));
        let shown = |diagnostic: &Diagnostic| {
            let mut message = diagnostic.message.clone();
            if !diagnostic.label.is_empty() {
                message.push_str(&format!(": {}", diagnostic.label));
            }
            diagnostic.help.iter().for_each(|help| message.push_str(&format!("\nhelp: {help}")));
            let others = diagnostic.others.iter().filter(|(span, _)| is_here(*span));
            let others: Vec<Value> = others
                .map(|(span, label)| json!({ "location": { "uri": name, "range": range(text, *span) }, "message": label }))
                .collect();
            let severity = match diagnostic.severity {
                Severity::Error => ERROR,
                Severity::Warning => WARNING,
            };
            json!({
                "range": range(text, diagnostic.span),
                "severity": severity,
                "code": diagnostic.code.name(),
                "source": "rtrace",
                "message": message,
                "relatedInformation": others,
            })
        };
        here.map(shown).collect()
    }

    fn complete(&self, text: &str, at: usize) -> Value {
        let (start, found) = self.completion.complete(&text[..at]);
        let place = json!({ "start": position(text, start), "end": position(text, at) });
        let is_incomplete = found.len() > MOST_ITEMS;
        let items = found.into_iter().take(MOST_ITEMS).map(|found| {
            json!({
                "label": found.text,
                "detail": found.shown(),
                "textEdit": { "range": place, "newText": found.text },
            })
        });
        json!({ "isIncomplete": is_incomplete, "items": items.collect::<Vec<Value>>() })
    }
}

fn signature_help(before: &str) -> Value {
    match signature(before) {
        Some(signature) => json!({ "signatures": [{ "label": signature }], "activeSignature": 0 }),
        None => Value::Null,
    }
}

/// The whole text in the one style; nothing where it has a mistake, which is told already.
fn formatted(text: &str) -> Value {
    match pretty::format(text) {
        Ok(new) if new != text => {
            let whole = json!({ "start": position(text, 0), "end": position(text, text.len()) });
            json!([{ "range": whole, "newText": new }])
        }
        Ok(_) | Err(_) => json!([]),
    }
}
