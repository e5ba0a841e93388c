//! The programs of a prompt: each runs in a thread of its own from the line that it was typed in until it is stopped or
//! ends by itself.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rtrace_lang::check::FixedMap;
use rtrace_lang::hir::cleared_meanwhile;
use rtrace_lang::target::Attach;
use rtrace_runtime::event::Event;
use rtrace_runtime::output::{Sink, notices};
use rtrace_runtime::session::{
    Remote, Requests, Session, SessionError, SharedMap, SharedStacks, ends_by_itself, pins, remote,
};

use crate::arguments::Arguments;
use crate::script::{Prepared, Sharing, Typed, fail, prepare, session_error};

use super::printer::Printer;
use super::text::{BEFORE_STATEMENTS, statements};

/// How often what a program does is looked at while the prompt waits for it.
const LOOK: Duration = Duration::from_millis(20);

pub struct Program {
    /// `p1`
    pub name: String,
    pub text: String,
    running: Option<Running>,
}

struct Running {
    remote: Remote,
    thread: JoinHandle<()>,
    started: Started,
}

/// What a program tells once everything is attached.
struct Started {
    /// Probes that are attached.
    probes: usize,
    shared: Vec<SharedMap>,
    stacks: Option<SharedStacks>,
}

impl Program {
    pub fn is_running(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.thread.is_finished())
    }

    pub fn remote(&self) -> Option<&Remote> {
        self.running.as_ref().filter(|running| !running.thread.is_finished()).map(|running| &running.remote)
    }

    fn started(&self) -> Option<&Started> {
        self.running.as_ref().filter(|running| !running.thread.is_finished()).map(|running| &running.started)
    }

    pub fn state(&self) -> String {
        match &self.running {
            Some(running) if !running.thread.is_finished() => {
                format!("{} probe{}", running.started.probes, if running.started.probes == 1 { "" } else { "s" })
            }
            Some(_) | None => "stopped".to_string(),
        }
    }

    /// Ends it, if it runs, and waits until it has printed its maps.
    pub fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.remote.end();
            // A panic has been told by the thread.
            let _ = running.thread.join();
        }
    }
}

pub struct Programs {
    pub all: Vec<Program>,
    /// The last that was typed, its name and its text, if it has ended by itself.
    pub over: Option<(String, String)>,
    pub printer: Printer,
    /// The number of the last name.
    named: u32,
}

impl Programs {
    pub fn new(printer: Printer) -> Programs {
        Programs { all: Vec::new(), over: None, printer, named: 0 }
    }

    pub fn named(&mut self, name: &str) -> Option<&mut Program> {
        self.all.iter_mut().find(|program| program.name == name)
    }

    pub fn running(&self) -> impl Iterator<Item = (&Program, &Remote)> {
        self.all.iter().filter_map(|program| Some((program, program.remote()?)))
    }

    /// Runs a text. What ends by itself is over when this returns; anything else stays, under a name. A mistake is
    /// told, and changes nothing.
    pub fn run(&mut self, arguments: &Arguments, text: &str) {
        self.run_shared(arguments, text, self.sharing(None));
    }

    /// Runs statements without a probe.
    pub fn run_statements(&mut self, arguments: &Arguments, typed: &str) {
        let typed_at = Typed { text: typed.to_string(), at: BEFORE_STATEMENTS.len() };
        let sharing = Sharing { typed: Some(typed_at), ..self.sharing(None) };
        self.run_shared(arguments, &statements(typed), sharing);
    }

    fn run_shared(&mut self, arguments: &Arguments, text: &str, sharing: Sharing) {
        let name = format!("p{}", self.named + 1);
        let Ok(mut prepared) = prepare(arguments, &name, text, sharing) else { return };
        if self.clears_what_is_shared(&prepared) {
            return;
        }
        if ends_by_itself(&prepared.object.manifest.hir) {
            // What stays when it has ended is told.
            prepared.options.quiet = pins(&prepared.object.manifest.hir).next().is_none();
            self.over = Some((name, text.to_string()));
            let _ = run_here(*prepared, Box::new(self.printer.lines()));
            return;
        }
        if let Some(running) = start(*prepared, &name, &self.printer) {
            self.named += 1;
            self.over = None;
            self.tell_started(&name, &running);
            self.all.push(Program { name, text: text.to_string(), running: Some(running) });
        }
    }

    /// Runs a text under the name of a program that is there, in its place once it compiles.
    pub fn run_as(&mut self, arguments: &Arguments, name: &str, text: &str) {
        let Ok(prepared) = prepare(arguments, name, text, self.sharing(Some(name))) else { return };
        if self.clears_what_is_shared(&prepared) {
            return;
        }
        if ends_by_itself(&prepared.object.manifest.hir) {
            fail(&format!("this ends by itself, and does not stay as {name}"), &[]);
            return;
        }
        if let Some(program) = self.named(name) {
            program.stop();
        }
        let Some(running) = start(*prepared, name, &self.printer) else { return };
        self.tell_started(name, &running);
        if let Some(program) = self.named(name) {
            (program.text, program.running) = (text.to_string(), Some(running));
        }
    }

    /// What a new program takes of those that run; not of the one in whose place it comes.
    pub fn sharing(&self, replaced: Option<&str>) -> Sharing {
        let mut sharing = Sharing { is_on: true, ..Sharing::default() };
        for program in self.all.iter().filter(|program| Some(program.name.as_str()) != replaced) {
            let Some(started) = program.started() else { continue };
            for shared in &started.shared {
                if sharing.maps.iter().any(|known| known.map.name == shared.map.name) {
                    continue;
                }
                sharing.fixed.push(FixedMap {
                    map: shared.map.clone(),
                    by: program.name.clone(),
                    text: shared.text.clone(),
                    help: format!("use another name, or end that program first: `:stop {}`", program.name),
                });
                sharing.maps.push(shared.clone());
            }
            sharing.stacks = sharing.stacks.or_else(|| started.stacks.clone());
        }
        sharing
    }

    /// Whether a program before that one has the same map of that name.
    pub fn has_before(&self, program: &Program, map: &str) -> bool {
        let of =
            |program: &Program| program.started()?.shared.iter().find(|shared| shared.map.written() == map).cloned();
        let Some(own) = of(program) else { return false };
        let before = self.all.iter().take_while(|other| other.name != program.name);
        before.filter_map(of).any(|other| other.is(&own))
    }

    /// Maps that several programs use, and which.
    pub fn shared_by_several(&self) -> Vec<(String, Vec<String>)> {
        let mut found: Vec<(SharedMap, Vec<String>)> = Vec::new();
        for program in &self.all {
            for shared in program.started().iter().flat_map(|started| &started.shared) {
                match found.iter_mut().find(|(known, _)| known.is(shared)) {
                    Some((_, programs)) => programs.push(program.name.clone()),
                    None => found.push((shared.clone(), vec![program.name.clone()])),
                }
            }
        }
        found.retain(|(_, programs)| programs.len() > 1);
        found.into_iter().map(|(shared, programs)| (shared.map.written(), programs)).collect()
    }

    /// Tells of a program that clears a map of another one while probes fire: only one that has the map for itself can do so.
    fn clears_what_is_shared(&self, prepared: &Prepared) -> bool {
        let hir = &prepared.object.manifest.hir;
        let cleared = cleared_meanwhile(hir);
        let map = prepared
            .options
            .shared
            .iter()
            .find(|shared| cleared.iter().any(|map| hir.maps[map.index()].written() == shared.map.written()));
        if let Some(map) = map {
            let name = map.map.written();
            let help = format!("empty it with `:clear {name}`, or use another name");
            fail(&format!("{name} is of a program that runs, and this one would clear it while probes fire"), &[help]);
        }
        map.is_some()
    }

    fn tell_started(&self, name: &str, running: &Running) {
        let plural = if running.started.probes == 1 { "" } else { "s" };
        let _ = self.printer.print(format!("{name}: {} probe{plural}\n", running.started.probes).as_bytes());
    }

    pub fn stop_all(&mut self) {
        self.all.iter_mut().for_each(Program::stop);
    }
}

/// Runs a program that ends by itself to its end.
pub fn run_here(prepared: Prepared, writer: Box<dyn std::io::Write>) -> Result<(), ()> {
    let Prepared { machine, object, options, format, bars } = prepared;
    let mut sink = OfProgram { inner: (format.make)(writer, bars), is_text: format.name == "text", attached: None };
    let (source, verbose) = (options.source.clone(), options.verbose);
    let session = Session::load(&machine, object, options);
    match session.and_then(|mut session| session.run(None, &mut sink)) {
        Ok(_) => Ok(()),
        Err(error) => {
            session_error(&error, &source, verbose);
            Err(())
        }
    }
}

/// Starts a thread; back when everything is attached. None if that failed, or the program has ended already.
fn start(prepared: Prepared, name: &str, printer: &Printer) -> Option<Running> {
    let is_signal = |attach: &Attach| matches!(attach, Attach::Signal { .. });
    if prepared.object.manifest.hir.sites.iter().any(|site| is_signal(&site.attach)) {
        let help = "write the script to a file and run it: rtrace FILE".to_string();
        fail("a signal to rtrace itself would end the prompt", &[help]);
        return None;
    }
    let (remote, requests) = match remote() {
        Ok(both) => both,
        Err(error) => {
            fail(&format!("cannot run a program beside the prompt: {error}"), &[]);
            return None;
        }
    };
    let (attached, is_attached) = channel();
    let of_thread = (name.to_string(), printer.clone());
    let spawned = std::thread::Builder::new().spawn(move || {
        let (name, printer) = of_thread;
        run(prepared, requests, attached, &name, &printer);
    });
    let thread = match spawned {
        Ok(thread) => thread,
        Err(error) => {
            fail(&format!("cannot run a program beside the prompt: {error}"), &[]);
            return None;
        }
    };
    loop {
        match is_attached.recv_timeout(LOOK) {
            Ok(started) => return Some(Running { remote, thread, started }),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let _ = thread.join();
                return None;
            }
        }
    }
}

fn run(prepared: Prepared, requests: Requests, attached: Sender<Started>, name: &str, printer: &Printer) {
    let Prepared { machine, object, mut options, format, bars } = prepared;
    // It is said in the prompt's own words.
    (options.quiet, options.progress) = (false, false);
    let writer = Box::new(printer.lines());
    let mut sink = OfProgram { inner: (format.make)(writer, bars), is_text: format.name == "text", attached: None };
    let (source, verbose) = (options.source.clone(), options.verbose);
    let session = Session::load(&machine, object, options);
    let outcome = session.and_then(|mut session| {
        let asked = requests.asked_flag();
        let started = Started { probes: 0, shared: session.shared_maps(), stacks: session.shared_stacks() };
        sink.attached = Some((attached, started));
        session.answer(requests);
        session.run(None, &mut sink).map(|_| asked)
    });
    drop(sink);
    match outcome {
        Ok(asked) if asked.is_ended() => {}
        Ok(_) => notices::tell(&format!("{name} has ended\n")),
        // Whoever reads has seen enough.
        Err(SessionError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        Err(error) => _ = session_error(&error, &source, verbose),
    }
}

/// What a program prints, without what only frames the output of a whole script.
struct OfProgram {
    inner: Box<dyn Sink>,
    is_text: bool,
    /// Who waits for it, and what it is told.
    attached: Option<(Sender<Started>, Started)>,
}

impl Sink for OfProgram {
    fn event(&mut self, event: &Event) -> std::io::Result<()> {
        match event {
            Event::Attached(count) => {
                if let Some((attached, started)) = self.attached.take() {
                    let _ = attached.send(Started { probes: *count, ..started });
                }
                Ok(())
            }
            Event::Ending if self.is_text => Ok(()),
            Event::Text { .. }
            | Event::Value(_)
            | Event::Map(_)
            | Event::Cleared(_)
            | Event::Trials(_)
            | Event::Ending
            | Event::Message { .. }
            | Event::Lost { .. }
            | Event::Problem { .. } => self.inner.event(event),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }

    fn finish(&mut self) -> std::io::Result<()> {
        self.inner.finish()
    }
}
