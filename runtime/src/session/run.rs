//! The life of a session: BEGIN, attach, events as they come, detach, END, and the maps at the end.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::time::{Duration, Instant};

use rtrace_compiler::object::{EXIT_CALLED, EXIT_OFFSET};
use rtrace_lang::diagnostic::Severity;
use rtrace_lang::hir::{Hir, MapId, Owner, RecordId, RecordKind, SiteId, Table};
use rtrace_lang::names;
use rtrace_lang::settings::MissingProbes;
use rtrace_lang::span::Span;
use rtrace_lang::target::{Attach, MultiKind, ProbeSite, ProgramKind};
use rtrace_lang::types::Type;
use rtrace_probes::kernel::bpf::{self, TestRun};
use rtrace_probes::kernel::system;
use rtrace_probes::provider_named;

use crate::child::Child;
use crate::clock;
use crate::controls::{escape_controls, without_controls};
use crate::decode::word;
use crate::event::{Event, MapEvent, TextKind, Value};
use crate::maps;
use crate::metrics::MetricsServer;
use crate::output::{Sink, notices, printf, prometheus};
use crate::signals::{self, Ending};
use crate::symbols::MappingEvents;

use super::attaching::{LeftOut, attach_to_all, nothing_attached, tell_left_out};
use super::progress::Progress;
use super::recording::RecordingLine;
use super::replaced::traced_files;
use super::tree;
use super::unloaded::traced_modules;
use super::wakeups::Wakeup;
use super::ways::Ways;
use super::{Session, SessionError, ends_by_itself, pins, refusal};

/// How a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// What exit() was called with; 0 otherwise.
    pub code: i32,
    /// The status of the command of `-c`.
    pub child: Option<i32>,
}

/// How often what needs no descriptor is looked at: a call of exit() whose event was lost, and output to write out.
const TICK: Duration = Duration::from_millis(100);

/// What went wrong is told no more often than that while the script runs.
const BETWEEN_PROBLEMS: Duration = Duration::from_secs(1);

/// Objects that an iterator goes through between two looks at its events: few enough for all of them to fit the buffer.
const OBJECTS_AT_ONCE: usize = 64;

/// Processes that are looked at between two looks at the events.
const PROCESSES_AT_ONCE: usize = 32;

/// Pause of the reader after events: an event is shown at most this much later, and the next ones come together.
const BREATH: Duration = Duration::from_millis(2);

/// Pause after news of what any process maps: shorter than most processes live, since their files are opened while they do, and
/// long enough for many that start at the same time to be taken in together.
const GLANCE: Duration = Duration::from_micros(500);

impl Session<'_> {
    /// Runs to the end: exit(), a signal, the end of the command or of the process.
    pub fn run(&mut self, mut child: Option<Child>, sink: &mut dyn Sink) -> Result<Ended, SessionError> {
        let ending = match &self.requests {
            Some(requests) => requests.asked().map(Ending::Asked),
            None => child
                .as_ref()
                .map(Child::descriptor)
                .transpose()
                .and_then(|command| Ending::by_signals(command, &signals_of(&self.hir))),
        };
        let ending = ending.map_err(|error| SessionError::System("signalfd", error))?;
        let followed = match self.options.pid {
            Some(pid) => {
                self.decoder.note_process(pid);
                Some(signals::process_fd(pid).map_err(|error| SessionError::System("pidfd_open", error))?)
            }
            None => None,
        };
        let process = child.as_ref().map(|child| child.pid).or(self.options.pid);
        // The news of one are also that of its children to come.
        let is_one = child.is_some() || !self.options.children;
        let follows_others = self.options.all_tasks || !self.options.unwound.is_empty();
        self.follow_mappings(process.filter(|_| is_one && !follows_others));
        self.start_unwind_tables(child.as_ref());
        self.run_all(|attach| matches!(attach, Attach::Begin))?;
        self.drain(sink)?;
        let wakeups = self.wakeups()?;
        let mut has_passed = true;
        if !self.exit_called() && !self.has_printed_enough() {
            let is_stopped = self.attach(&ending, process)?;
            let is_over = is_stopped || self.iterate(sink, &ending)?;
            if !self.options.quiet && !is_stopped && self.options.trial.is_none() {
                sink.event(&Event::Attached(self.site_count())).map_err(SessionError::Output)?;
                for pin in pins(&self.hir) {
                    let pin = pin.display();
                    notices::tell(&format!("Pinned to {pin}: `cat {pin}` goes through it, `rm {pin}` ends it\n"));
                }
            }
            if let Some(child) = &mut child
                && !is_stopped
            {
                child.go();
            }
            if let Some(trial) = self.options.trial
                && !is_over
            {
                has_passed = self.run_trials(trial, sink)?;
            } else if !is_over && (!ends_by_itself(&self.hir) || child.is_some()) {
                self.events(sink, &ending, &wakeups, child.as_ref(), followed.as_ref().map(|fd| fd.as_raw_fd()))?;
            }
        } else if !self.options.quiet {
            sink.event(&Event::Attached(self.site_count())).map_err(SessionError::Output)?;
        }
        // A child process may hold what is open now for a while.
        self.metrics = None;
        self.detach();
        self.drain(sink)?;
        self.is_ending = true;
        self.run_all(|attach| matches!(attach, Attach::End))?;
        self.drain(sink)?;
        self.note_mappings();
        if let Some(child) = &mut child {
            child.ask_to_end(ending.pass_on());
        }
        // A command that takes its time keeps nobody from reading the results.
        self.print_at_end(sink)?;
        let child_status = child.as_mut().map(Child::finish);
        if let Some(number) = child.and_then(|child| child.ended_by)
            && !self.options.quiet
        {
            let name = names::signal_name(number.into()).unwrap_or_default();
            notices::tell(&format!("The command was ended by signal {number} ({name})\n"));
        }
        if self.options.is_last {
            ending.keep_blocked();
        }
        let code = (self.globals.get(EXIT_OFFSET) & 0xff) as i32;
        Ok(Ended { code: if has_passed { code } else { 1 }, child: child_status })
    }

    /// Waits for events until something ends the session.
    fn events(
        &mut self,
        sink: &mut dyn Sink,
        ending: &Ending,
        wakeups: &[(Vec<usize>, Wakeup)],
        child: Option<&Child>,
        followed: Option<RawFd>,
    ) -> Result<(), SessionError> {
        let mut fds = vec![ending.as_raw_fd()];
        fds.extend(wakeups.iter().map(|(_, wakeup)| wakeup.as_raw_fd()));
        let ring_at = self.ring.as_ref().map(|ring| {
            fds.push(ring.as_raw_fd());
            fds.len() - 1
        });
        let mappings_at = fds.len();
        let follows_all = self.mappings.as_ref().is_some_and(MappingEvents::are_of_all);
        if self.unwind.is_some() || follows_all {
            fds.extend(self.mappings.iter().flat_map(MappingEvents::fds));
        }
        let processes_at = fds.len();
        fds.extend(child.map(Child::as_raw_fd));
        fds.extend(followed);
        let metrics_at = fds.len();
        fds.extend(self.metrics.iter().flat_map(MetricsServer::fds));
        let end = self.options.duration.map(|duration| Instant::now() + duration);
        self.recording = self.options.recording.clone().map(|unit| RecordingLine::new(unit, self.options.duration));
        let mut last_noted = Instant::now();
        let mut last_told = Instant::now();
        // Before it runs the command the child is a copy of the tool: where the kernel tells what it maps, /proc is not
        // asked.
        // Those that were there before, a few at a time: nothing tells what they map.
        let mut earlier = if follows_all { system::processes() } else { Vec::new() };
        let looked_at = child.filter(|_| self.mappings.is_none());
        if let Some(child) = looked_at {
            self.decoder.note_process(child.pid);
        }
        loop {
            self.draw_recording();
            sink.flush().map_err(SessionError::Output)?;
            let tick = if earlier.is_empty() { TICK } else { BREATH };
            let left = end.map_or(tick, |end| end.saturating_duration_since(Instant::now()).min(tick));
            let ready = signals::wait(&fds, left).map_err(|error| SessionError::System("poll", error))?;
            self.run_due(wakeups, |number| ready[1 + number], ending, sink)?;
            if ring_at.is_some_and(|at| ready[at]) {
                self.take_records(sink)?;
                // A reader that is always there first is woken for every single event, at the expense of the traced.
                if !self.exit_called() {
                    std::thread::sleep(BREATH);
                }
            }
            // The command maps its libraries after it has started: look again while it is young.
            if let Some(child) = looked_at
                && last_noted.elapsed() >= TICK
            {
                last_noted = Instant::now();
                self.decoder.note_process(child.pid);
            }
            self.note_mappings();
            self.answer_programs();
            for pid in earlier.split_off(earlier.len().saturating_sub(PROCESSES_AT_ONCE)) {
                self.decoder.note_process(pid);
            }
            if ready[mappings_at..processes_at].iter().any(|ready| *ready) {
                // Those of one process stay ready when the thread has ended that they were opened for.
                std::thread::sleep(if follows_all { GLANCE } else { BREATH });
            }
            if last_told.elapsed() >= BETWEEN_PROBLEMS {
                last_told = Instant::now();
                for problem in self.new_problems() {
                    self.clear_recording();
                    sink.event(&problem).map_err(SessionError::Output)?;
                }
            }
            if ready[0] {
                self.answer_requests()?;
            }
            if ready[metrics_at..].iter().any(|ready| *ready) {
                self.answer_scrapes()?;
            }
            let process_ended = ready[processes_at..metrics_at].iter().any(|ready| *ready);
            if followed.is_some() && process_ended && !self.options.quiet {
                notices::tell(&format!("Process {} has ended\n", self.options.pid.unwrap_or_default()));
            }
            let is_late = end.is_some_and(|end| Instant::now() >= end);
            let is_over = process_ended || is_late || self.exit_called() || self.has_printed_enough();
            if (ready[0] && ending.take()) || is_over {
                self.recording = None;
                // A signal that the ended process has sent may have come after the wait.
                for (programs, wakeup) in wakeups {
                    if matches!(wakeup, Wakeup::Signal(_)) && wakeup.take() > 0 {
                        programs.iter().try_for_each(|program| self.test_run(*program))?;
                    }
                }
                return Ok(());
            }
        }
    }

    /// Gives the maps of the script to all who ask for them. What is no metric is told once.
    fn answer_scrapes(&mut self) -> Result<(), SessionError> {
        let waiting = self.metrics.as_mut().map(MetricsServer::take).unwrap_or_default();
        if waiting.is_empty() {
            return Ok(());
        }
        let mut maps = Vec::new();
        for number in self.shown_maps() {
            maps.push(self.map_event(MapId(number as u32), &Table::default())?);
        }
        let (text, left_out) = prometheus::exposition(maps.iter());
        for what in left_out {
            if self.told_of_metrics.insert(what.clone()) && !self.options.quiet {
                notices::warn(&format!("--listen: {what}"));
            }
        }
        for request in waiting {
            // Whoever has gone does without.
            let _ = request.send(text.clone());
        }
        Ok(())
    }

    /// The maps of the script, in the order of their names. What belongs to a thread goes away with it.
    pub(super) fn shown_maps(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.hir.maps.len()).collect();
        order.retain(|number| self.hir.maps[*number].owner == Owner::Script);
        order.sort_by(|a, b| self.hir.maps[*a].name.cmp(&self.hir.maps[*b].name));
        order
    }

    /// Runs the programs whose site is of that kind, in their order; none after a call of exit().
    fn run_all(&mut self, wanted: impl Fn(&Attach) -> bool) -> Result<(), SessionError> {
        for number in 0..self.programs.len() {
            let sites = &self.object.programs[number].sites;
            let is_wanted = sites.iter().any(|site| wanted(&self.hir.sites[site.index()].attach));
            if is_wanted {
                self.test_run(number)?;
            }
        }
        Ok(())
    }

    pub(super) fn test_run(&self, program: usize) -> Result<(), SessionError> {
        bpf::program_test_run(self.programs[program].fd.as_fd(), TestRun::default())?;
        Ok(())
    }

    /// Attaches every program. True if a signal has ended it before it was done.
    fn attach(&mut self, ending: &Ending, process: Option<u32>) -> Result<bool, SessionError> {
        if let (Some(map), Some(process)) = (self.object.manifest.tree, process) {
            self.links.extend(tree::follow(self.machine, self.maps[map as usize].fd(), process)?);
        }
        self.files = traced_files(&self.hir);
        let mut ways = Ways::default();
        let mut left = LeftOut::default();
        let mut sites_of: HashMap<Span, usize> = HashMap::new();
        for program in &self.hir.programs {
            *sites_of.entry(program.span).or_default() += program.sites.len();
        }
        let progress = Progress::new(self.site_count(), self.options.progress);
        for ((program, loaded), clause) in self.object.programs.iter().zip(&self.programs).zip(&self.hir.programs) {
            // Only who asks for it pays for a cookie.
            let wants_cookie = program.wants_cookie;
            let number = |site: &SiteId| if wants_cookie { u64::from(self.hir.numbers[site.index()].0) } else { 0 };
            let sites: Vec<(u64, &ProbeSite)> =
                program.sites.iter().map(|site| (number(site), &self.hir.sites[site.index()])).collect();
            let Some((_, first)) = sites.first() else { continue };
            if matches!(
                first.attach,
                Attach::Begin | Attach::End | Attach::Trial(_) | Attach::Timer { .. } | Attach::Signal { .. }
            ) {
                continue;
            }
            let provider = provider_named(first.provider).expect("a site is of a provider");
            let is_one_of_many = sites_of.get(&clause.span).is_some_and(|count| *count > 1);
            let at_once = if attaches_singly(program.kind, first) { 1 } else { sites.len() };
            for sites in sites.chunks(at_once) {
                if ending.take() {
                    return Ok(true);
                }
                let links = attach_to_all(provider, self.machine, loaded.fd.as_fd(), sites, is_one_of_many, &mut left)
                    .map_err(|error| refusal::of_probe(error, clause.span, &self.options.source))?;
                if links.is_empty() && matches!(first.attach, Attach::Kprobe { .. }) {
                    self.left_out.extend(sites.iter().map(|(_, site)| site.name.clone()));
                }
                if self.options.verbose && !links.is_empty() {
                    ways.note(program.kind, sites.iter().map(|(_, site)| *site), &links);
                }
                match first.attach {
                    // The file keeps it.
                    Attach::Iterator { pin: Some(_), .. } => drop(links),
                    Attach::Iterator { .. } => self.iterators.extend(links),
                    _ => self.links.extend(links),
                }
                progress.advance(sites.len());
            }
        }
        drop(progress);
        self.left_out.append(&mut left.missing);
        if self.options.verbose {
            tell_left_out(&self.left_out, self.machine);
        }
        if !left.refused.is_empty() {
            let names = left.refused.join(", ");
            notices::warn(&format!("left out, since the kernel cannot trace them: {names}"));
            self.left_out.append(&mut left.refused);
        }
        self.modules = traced_modules(&self.hir, self.machine);
        for site in self.hir.sites.iter().filter(|site| self.machine.is_one_of_several(site)) {
            let function = &site.function;
            notices::warn(&format!(
                "more than one function is called {function}: {} is at one of them; `kprobe:0xADDRESS` with --unsafe tells them apart",
                site.name
            ));
        }
        notices::tell(&ways.text());
        self.miss_what_is_left_out()?;
        Ok(false)
    }

    /// A specification of which nothing could be attached is a missing probe.
    fn miss_what_is_left_out(&self) -> Result<(), SessionError> {
        if self.left_out.is_empty() {
            return Ok(());
        }
        let mut missing = nothing_attached(&self.hir, &self.left_out, &self.options.source);
        // Nothing at all is none of what a script may do without.
        let policy = if self.site_count() == 0 { MissingProbes::Error } else { self.hir.settings.missing_probes };
        match policy {
            MissingProbes::Error => match missing.pop() {
                None => Ok(()),
                Some(last) => {
                    notices::report(&missing, &self.options.source, false);
                    Err(SessionError::NothingAttached { diagnostic: Box::new(last) })
                }
            },
            MissingProbes::Warn => {
                for diagnostic in &mut missing {
                    diagnostic.severity = Severity::Warning;
                    diagnostic.help.clear();
                }
                notices::report(&missing, &self.options.source, false);
                Ok(())
            }
            MissingProbes::Ignore => Ok(()),
        }
    }

    /// Lets each iterator go through its objects, and shows what comes of it as it comes. True if the script is over.
    fn iterate(&mut self, sink: &mut dyn Sink, ending: &Ending) -> Result<bool, SessionError> {
        for link in std::mem::take(&mut self.iterators) {
            let link = link.fds().next().expect("an iterator is one link");
            let mut file = File::from(bpf::iterator_create(link)?);
            loop {
                // Each object writes a byte.
                let mut objects = [0; OBJECTS_AT_ONCE];
                let count = match file.read(&mut objects) {
                    Ok(count) => count,
                    // The kernel takes a break after a million objects that wrote nothing.
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => continue,
                    Err(error) => return Err(SessionError::System("reading an iterator", error)),
                };
                self.drain(sink)?;
                if self.exit_called() || self.has_printed_enough() || ending.take() {
                    return Ok(true);
                }
                if count == 0 {
                    break;
                }
            }
        }
        Ok(false)
    }

    /// `--count`: what comes behind is not shown.
    fn has_printed_enough(&self) -> bool {
        !self.is_ending && self.options.count.is_some_and(|count| self.printed >= count)
    }

    /// The script has ended itself.
    pub fn exit_called(&self) -> bool {
        self.globals.get(EXIT_OFFSET) & EXIT_CALLED != 0
    }

    pub(super) fn record(&mut self, bytes: &[u8], sink: &mut dyn Sink) -> Result<(), SessionError> {
        if self.has_printed_enough() {
            return Ok(());
        }
        if self.speculations.hold(bytes) {
            return Ok(());
        }
        let hir = self.hir.clone();
        let id = RecordId(word(bytes, 0) as u32);
        let Some(record) = hir.records.get(id.index()) else { return Ok(()) };
        self.hold_what_is_cleared_next(id)?;
        let event = match &record.kind {
            RecordKind::Printf(pieces) => {
                let values = self.values(&record.parts, &bytes[8..]);
                let text = printf::format_for(pieces, &values, self.options.for_terminal);
                Event::Text { kind: TextKind::Printf, text }
            }
            RecordKind::Join(pieces) => {
                let values = self.values(&record.parts, &bytes[8..]);
                let text = printf::format_for(pieces, &values, self.options.for_terminal);
                Event::Text { kind: TextKind::Join, text }
            }
            RecordKind::Print => {
                Event::Value(self.values(&record.parts, &bytes[8..]).pop().unwrap_or(Value::Tuple(Vec::new())))
            }
            RecordKind::PrintMap { map, table } => {
                let at = self.shown_at(*map);
                Event::Map(self.map_event_of(*map, at, table)?)
            }
            RecordKind::PrintAggregations { maps, pieces } => {
                Event::Text { kind: TextKind::Printf, text: self.joined(maps, pieces.as_deref())? }
            }
            RecordKind::Normalize(map) => {
                let (divisor, signed) = (word(bytes, 8), record.parts.contains(&Type::I64));
                if divisor > 0 && !(signed && (divisor as i64) < 0) {
                    self.normals[map.index()] = divisor;
                    return Ok(());
                }
                let message = format!("normalize() cannot divide by {}: it does nothing", divisor as i64);
                Event::Problem {
                    message,
                    helper: None,
                    place: Some(self.place(record.span)),
                    count: 1,
                    in_total: false,
                }
            }
            RecordKind::Denormalize(map) => {
                self.normals[map.index()] = 1;
                return Ok(());
            }
            RecordKind::Truncate(map) => {
                let count = word(bytes, 8);
                let unsigned = record.parts.contains(&Type::U64);
                let count = if unsigned { count.min(i64::MAX as u64) } else { count };
                return if count == 0 { self.clear_by(id, *map) } else { self.truncate(*map, count as i64) };
            }
            RecordKind::ClearMap(map) => {
                self.clear_by(id, *map)?;
                Event::Cleared(hir.maps[map.index()].written())
            }
            RecordKind::ZeroMap(map) => {
                self.zero_by(id, *map)?;
                Event::Cleared(hir.maps[map.index()].written())
            }
            RecordKind::Commit => {
                let held = self.speculations.take(word(bytes, 8));
                return held.iter().try_for_each(|record| self.record(record, sink));
            }
            RecordKind::Discard => {
                self.speculations.take(word(bytes, 8));
                return Ok(());
            }
            RecordKind::Unwatch => {
                let address = word(bytes, 8);
                self.links.retain(|link| link.watched() != Some(address));
                return Ok(());
            }
            RecordKind::Exit => return Ok(()),
            RecordKind::Time(format) => {
                Event::Text { kind: TextKind::Time, text: clock::format(format, clock::now()).into_bytes() }
            }
            RecordKind::Message { is_error, pieces } => Event::Message {
                is_error: *is_error,
                text: printf::format(pieces, &self.exact_values(&record.parts, &bytes[8..])),
                place: self.place(record.span),
            },
            RecordKind::Cat(pieces) => {
                let path = printf::format(pieces, &self.exact_values(&record.parts, &bytes[8..]));
                let Some(text) = contents(&path, self.hir.settings.max_cat_bytes) else { return Ok(()) };
                let text = if self.options.for_terminal { escape_controls(text) } else { text };
                Event::Text { kind: TextKind::Cat, text }
            }
            RecordKind::Packet { path } => {
                let time = clock::wall_of_boot(word(bytes, 8));
                let there = (word(bytes, 24) as usize).min(bytes.len().saturating_sub(32));
                return Ok(self.packets.append(path, time, &bytes[32..32 + there], word(bytes, 16))?);
            }
            RecordKind::Reopen(pieces) => {
                let path = printf::format(pieces, &self.exact_values(&record.parts, &bytes[8..]));
                let path = std::path::Path::new(OsStr::from_bytes(&path));
                let there = (!path.as_os_str().is_empty()).then_some(path);
                let Err(error) = sink.reopen(there).map_err(SessionError::Output)? else { return Ok(()) };
                let text = format!("freopen() cannot write to {}: {error}", path.display());
                Event::Message { is_error: false, text: text.into_bytes(), place: self.place(record.span) }
            }
            RecordKind::System(pieces) => {
                let command = printf::format(pieces, &self.exact_values(&record.parts, &bytes[8..]));
                // The command may look at both.
                sink.flush().map_err(SessionError::Output)?;
                self.packets.flush()?;
                Event::Text { kind: TextKind::System, text: system(&command) }
            }
        };
        self.printed += match &event {
            Event::Text { .. } | Event::Value(_) | Event::Map(_) | Event::Message { .. } => 1,
            Event::Cleared(_)
            | Event::Attached(_)
            | Event::Trials(_)
            | Event::Ending
            | Event::Lost { .. }
            | Event::Problem { .. } => 0,
        };
        sink.event(&event).map_err(SessionError::Output)
    }

    /// The values of a key or a record, as they are shown.
    pub(super) fn values(&mut self, types: &[Type], bytes: &[u8]) -> Vec<Value> {
        let values = self.exact_values(types, bytes);
        if self.options.for_terminal { values.into_iter().map(without_controls).collect() } else { values }
    }

    /// The values as they are.
    fn exact_values(&mut self, types: &[Type], bytes: &[u8]) -> Vec<Value> {
        let stacks = self.object.manifest.stacks.map(|number| &self.maps[number as usize]);
        let cpus = self.cpus;
        self.decoder.values(types, bytes, self.machine, &|hash| frames(stacks?, hash, cpus))
    }

    /// All maps in the order of their names, and what went wrong.
    fn print_at_end(&mut self, sink: &mut dyn Sink) -> Result<(), SessionError> {
        sink.event(&Event::Ending).map_err(SessionError::Output)?;
        // A pinned iterator has not run yet, and what tests leave is nobody's result.
        if self.hir.settings.print_maps_on_exit && self.options.trial.is_none() && pins(&self.hir).next().is_none() {
            let mut order = self.shown_maps();
            order.retain(|number| {
                let id = MapId(*number as u32);
                !shown_by_the_script(&self.hir, id) && !self.is_used_elsewhere(id)
            });
            for number in order {
                let event = self.map_event(MapId(number as u32), &Table::default())?;
                sink.event(&Event::Map(MapEvent { at_end: true, ..event })).map_err(SessionError::Output)?;
            }
        }
        sink.flush().map_err(SessionError::Output)?;
        for problem in self.all_problems() {
            sink.event(&problem).map_err(SessionError::Output)?;
        }
        sink.finish().map_err(SessionError::Output)
    }
}

/// Whether each site of such a program, of which this is the first, is attached by a call of its own.
fn attaches_singly(kind: ProgramKind, first: &ProbeSite) -> bool {
    match kind {
        ProgramKind::Kprobe { multi: MultiKind::Single, user: _ } | ProgramKind::Tracepoint => first.selector.is_none(),
        ProgramKind::Kprobe {
            multi: MultiKind::KprobeMulti | MultiKind::KprobeSession | MultiKind::UprobeMulti,
            user: _,
        }
        | ProgramKind::TestRun
        | ProgramKind::RawTracepoint
        | ProgramKind::Tracing { .. }
        | ProgramKind::PerfEvent => false,
    }
}

/// Whether printa() names the map: then it is not printed once more at the end, as in D.
fn shown_by_the_script(hir: &Hir, map: MapId) -> bool {
    hir.records
        .iter()
        .any(|record| matches!(&record.kind, RecordKind::PrintAggregations { maps, .. } if maps.contains(&map)))
}

/// The frames of the stack of that hash.
fn frames(stacks: &maps::LiveMap, hash: u64, cpus: u32) -> Option<Vec<u64>> {
    let value = stacks.get(&hash.to_le_bytes(), cpus).ok()??;
    let count = (word(&value, 0) as usize).min(value.len() / 8 - 1);
    Some((1..=count).map(|number| word(&value, number * 8)).collect())
}

/// The first bytes of a file; a file that cannot be read is told on stderr, and is no reason to end.
fn contents(path: &[u8], most: u64) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path));
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
    if let Err(error) = read {
        notices::warn(&format!("cat() cannot read {}: {error}", path.display()));
        // What there was before it failed.
        return (!bytes.is_empty()).then_some(bytes);
    }
    Some(bytes)
}

/// Runs a shell command; gives what it printed.
fn system(command: &[u8]) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    match Command::new("/bin/sh").arg("-c").arg(std::ffi::OsStr::from_bytes(command)).output() {
        Ok(output) => output.stdout,
        Err(error) => format!("cannot run the shell: {error}\n").into_bytes(),
    }
}

/// Signals that the script has probes for.
fn signals_of(hir: &Hir) -> Vec<i32> {
    let signal = |site: &ProbeSite| match site.attach {
        Attach::Signal { number } => Some(number),
        _ => None,
    };
    hir.sites.iter().filter_map(signal).collect()
}
