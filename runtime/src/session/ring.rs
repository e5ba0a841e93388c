//! The ring buffer through which the programs send their records, and its reader.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use aya::maps::{Map as AyaMap, MapData, RingBuf};

use super::{Session, SessionError};
use crate::maps::LiveMap;
use crate::output::Sink;

/// Records that wait in the tool's memory to be printed are in blocks: a million of 100 bytes find room.
const BLOCK_BYTES: usize = 256 << 10;
const MOST_BLOCKS: usize = 512;

/// Bytes of a record's length.
const LENGTH_BYTES: usize = 4;

/// At most so long records stay in the buffer while others are printed.
const LONGEST_STAY: Duration = Duration::from_millis(1);

/// Bytes that programs may send in a microsecond, on few processors: a small buffer must be emptied more often.
const BYTES_A_MICROSECOND: u32 = 500;

pub(super) struct Ring {
    buffer: RingBuf<MapData>,
    /// How long records stay there while others are printed. To a reader that has everything the kernel tells each record by an
    /// interrupt, which costs the traced as much as five records.
    stay: Duration,
}

impl Ring {
    pub fn new(map: &LiveMap) -> Result<Ring, SessionError> {
        let fd = map.fd().try_clone_to_owned().map_err(|error| SessionError::System("dup", error))?;
        let data = MapData::from_fd(fd).map_err(SessionError::Ring)?;
        let buffer = RingBuf::try_from(AyaMap::RingBuf(data)).map_err(SessionError::Ring)?;
        let stay = Duration::from_micros((map.object.entries / BYTES_A_MICROSECOND / 4).into()).min(LONGEST_STAY);
        Ok(Ring { buffer, stay })
    }

    pub fn as_raw_fd(&self) -> RawFd {
        self.buffer.as_fd().as_raw_fd()
    }
}

/// Records that are to be printed, one behind the other, each with its length before it.
#[derive(Default)]
struct Waiting {
    /// The oldest first, which has been read up to `read`.
    blocks: VecDeque<Vec<u8>>,
    read: usize,
}

impl Waiting {
    /// A record is copied out before it is looked at, so that its room is free while it is printed: a burst goes into the tool's
    /// memory at once, and is printed from there.
    fn take_from(&mut self, ring: &mut Ring) {
        while self.blocks.len() < MOST_BLOCKS
            && let Some(record) = ring.buffer.next()
        {
            let bytes = LENGTH_BYTES + record.len();
            if self.blocks.back().is_none_or(|block| block.capacity() - block.len() < bytes) {
                self.blocks.push_back(Vec::with_capacity(bytes.max(BLOCK_BYTES)));
            }
            let block = self.blocks.back_mut().expect("there is one");
            block.extend_from_slice(&(record.len() as u32).to_ne_bytes());
            block.extend_from_slice(&record);
        }
    }

    fn next(&mut self) -> Option<&[u8]> {
        if self.blocks.front().is_some_and(|block| self.read == block.len()) {
            self.blocks.pop_front();
            self.read = 0;
        }
        let (length, rest) = self.blocks.front()?[self.read..].split_first_chunk::<LENGTH_BYTES>()?;
        let record = &rest[..u32::from_ne_bytes(*length) as usize];
        self.read += LENGTH_BYTES + record.len();
        Some(record)
    }
}

impl Session<'_> {
    /// Hands on every event that is in the buffer.
    pub(super) fn drain(&mut self, sink: &mut dyn Sink) -> Result<(), SessionError> {
        while self.take_records(sink)? {}
        Ok(())
    }

    /// Hands on the events that are in the buffer, and those that come while it does as long as there is something to do; whether there
    /// were any.
    pub(super) fn take_records(&mut self, sink: &mut dyn Sink) -> Result<bool, SessionError> {
        let Some(mut ring) = self.ring.take() else { return Ok(false) };
        let mut waiting = Waiting::default();
        let mut result = Ok(false);
        let mut taken: Option<Instant> = None;
        loop {
            if taken.is_none_or(|at| at.elapsed() >= ring.stay) {
                waiting.take_from(&mut ring);
                // What the records point at was mapped before they were sent.
                self.note_mappings();
                taken = Some(Instant::now());
            }
            let Some(record) = waiting.next() else { break };
            result = self.record(record, sink).map(|()| true);
            if result.is_err() {
                break;
            }
        }
        self.ring = Some(ring);
        let had_any = result?;
        self.packets.flush()?;
        Ok(had_any)
    }
}
