//! A session that runs in a thread of its own, seen from another one, which looks into its maps, empties them and ends
//! it. The session answers between its events.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rtrace_lang::hir::{MapId, Table};

use crate::event::MapEvent;
use crate::signals::{self, Asked};

use super::{Session, SessionError};

/// How long a session may take to answer: it may be printing much.
const PATIENCE: Duration = Duration::from_secs(10);

enum Request {
    Maps { name: Option<String>, table: Table, answer: Sender<Vec<MapEvent>> },
    Clear { name: Option<String>, answer: Sender<usize> },
}

/// The asking side.
pub struct Remote {
    requests: Sender<Request>,
    wakeups: UnixStream,
    is_ended: Arc<AtomicBool>,
}

/// The session's side.
pub struct Requests {
    requests: Receiver<Request>,
    asked: Asked,
}

/// Both sides of a new connection.
pub fn remote() -> std::io::Result<(Remote, Requests)> {
    let (sender, receiver) = channel();
    let (theirs, ours) = UnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    ours.set_nonblocking(true)?;
    let is_ended = Arc::new(AtomicBool::new(false));
    let asked = Asked { wakeups: theirs, is_ended: is_ended.clone() };
    Ok((Remote { requests: sender, wakeups: ours, is_ended }, Requests { requests: receiver, asked }))
}

impl Remote {
    /// Ends the session in good order.
    pub fn end(&self) {
        self.is_ended.store(true, Ordering::Release);
        self.wake();
    }

    /// The map of that name (with its `@`), or all of the script's. None where the session has ended.
    pub fn maps(&self, name: Option<&str>, table: Table) -> Option<Vec<MapEvent>> {
        let (answer, answered) = channel();
        self.requests.send(Request::Maps { name: name.map(str::to_string), table, answer }).ok()?;
        self.wake();
        answered.recv_timeout(PATIENCE).ok()
    }

    /// Empties that map, or all; gives how many.
    pub fn clear(&self, name: Option<&str>) -> Option<usize> {
        let (answer, answered) = channel();
        self.requests.send(Request::Clear { name: name.map(str::to_string), answer }).ok()?;
        self.wake();
        answered.recv_timeout(PATIENCE).ok()
    }

    fn wake(&self) {
        // A full stream wakes as well.
        let _ = (&self.wakeups).write(&[1]);
    }
}

/// Tells whether the other side has ended the session.
pub struct EndedBy(Arc<AtomicBool>);

impl EndedBy {
    pub fn is_ended(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Requests {
    pub fn asked_flag(&self) -> EndedBy {
        EndedBy(self.asked.is_ended.clone())
    }

    /// What ends the session.
    pub(super) fn asked(&self) -> std::io::Result<Asked> {
        Ok(Asked { wakeups: self.asked.wakeups.try_clone()?, is_ended: self.asked.is_ended.clone() })
    }
}

impl Session<'_> {
    /// Lets another thread ask, and end the session, which signals then do not.
    pub fn answer(&mut self, requests: Requests) {
        signals::block_ending();
        self.requests = Some(requests);
    }

    pub(super) fn answer_requests(&mut self) -> Result<(), SessionError> {
        let Some(requests) = &mut self.requests else { return Ok(()) };
        let mut bytes = [0; 64];
        while requests.asked.wakeups.read(&mut bytes).is_ok_and(|count| count > 0) {}
        let waiting: Vec<Request> = requests.requests.try_iter().collect();
        for request in waiting {
            // Whoever has gone does without.
            match request {
                Request::Maps { name, table, answer } => {
                    let mut events = Vec::new();
                    for map in self.maps_named(name.as_deref()) {
                        events.push(self.map_event(map, &table)?);
                    }
                    let _ = answer.send(events);
                }
                Request::Clear { name, answer } => {
                    let maps = self.maps_named(name.as_deref());
                    maps.iter().try_for_each(|map| self.clear(*map))?;
                    let _ = answer.send(maps.len());
                }
            }
        }
        Ok(())
    }

    /// The script's map of that name, or all of them.
    fn maps_named(&self, name: Option<&str>) -> Vec<MapId> {
        let is_meant = |number: &usize| name.is_none_or(|name| self.hir.maps[*number].written() == name);
        self.shown_maps().into_iter().filter(is_meant).map(|number| MapId(number as u32)).collect()
    }
}
