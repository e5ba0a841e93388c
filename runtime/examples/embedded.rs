//! rtrace in a program of one's own: a script is compiled, loaded and attached in this process, and what it collects
//! comes as values. Takes root, or the capabilities that rtrace takes.

use std::io;
use std::time::Duration;

use rtrace_lang::check::CheckOptions;
use rtrace_lang::diagnostic::render;
use rtrace_lang::source::Source;
use rtrace_probes::Machine;
use rtrace_runtime::driver::{Stage, drive};
use rtrace_runtime::event::{Event, MapEvent, Value};
use rtrace_runtime::output::Sink;
use rtrace_runtime::session::{Session, SessionOptions};

/// Keeps what the script prints by print(), and its maps at the end.
#[derive(Default)]
pub struct Collected {
    pub values: Vec<Value>,
    pub maps: Vec<MapEvent>,
}

impl Sink for Collected {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Value(value) => self.values.push(value.clone()),
            Event::Map(map) => self.maps.push(map.clone()),
            Event::Text { .. }
            | Event::Cleared(_)
            | Event::Attached(_)
            | Event::Trials(_)
            | Event::Ending
            | Event::Message { .. }
            | Event::Lost { .. }
            | Event::Problem { .. } => {}
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a script until it calls exit(), or for that long.
pub fn collect(script: &str, most: Duration) -> Result<Collected, String> {
    let machine = Machine::new();
    let mut source = Source::new("embedded", script);
    let driven = drive(&mut source, &machine, &CheckOptions::default(), Stage::Compile);
    let Some(compiled) = driven.compiled else {
        return Err(driven.diagnostics.iter().map(|diagnostic| render(diagnostic, &source, false)).collect());
    };
    let options = SessionOptions { source, quiet: true, duration: Some(most), ..SessionOptions::default() };
    let mut session = Session::load(&machine, compiled.object, options).map_err(|error| error.to_string())?;
    let mut collected = Collected::default();
    session.run(None, &mut collected).map_err(|error| error.to_string())?;
    Ok(collected)
}

fn main() {
    let script = "BEGIN { print((1, \"two\")); } tracepoint:syscalls:sys_enter_* { @calls[comm] = count(); }";
    match collect(script, Duration::from_secs(1)) {
        Ok(collected) => {
            println!("{:?}", collected.values);
            for map in &collected.maps {
                println!("{} has {} entries", map.name, map.rows.len());
            }
        }
        Err(message) => eprint!("{message}"),
    }
}
