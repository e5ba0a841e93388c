//! What processes map while they run, told by the kernel as it happens: addresses of those that have ended keep their
//! names. A perf event that counts nothing carries the news, in a small buffer for each processor. Where the kernel does
//! not allow it there is no news; /proc has to do then.
//! Unsafe: opens perf events and reads the buffers that it shares with the kernel.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use aya_obj::generated::{perf_event_attr, perf_sw_ids, perf_type_id};

use super::vdso;

/// Pages of one buffer, a power of two: room for the mappings of some 200 libraries between two looks.
const PAGES: usize = 8;

/// The same where all processes are followed: for some hundred programs that start between two looks on one processor.
const PAGES_FOR_ALL: usize = 128;

/// Pages of all buffers together, about, where there are many processors.
const PAGES_IN_ALL: usize = 8192;

// Offsets in the first page of a buffer (include/uapi/linux/perf_event.h, `struct perf_event_mmap_page`).
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;

// Kinds of records, and a mark on one of them.
const RECORD_LOST: u32 = 2;
const RECORD_COMM: u32 = 3;
const RECORD_EXIT: u32 = 4;
const RECORD_FORK: u32 = 7;
const RECORD_MMAP2: u32 = 10;
const COMM_IS_EXEC: u16 = 1 << 13;

/// PERF_SAMPLE_TIME: the time ends each record, so that those of several processors can be put in order.
const SAMPLE_TIME: u64 = 1 << 2;

/// Something that changed the code of a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MappingEvent {
    /// It runs another program: nothing of what was mapped is there any more.
    Exec {
        pid: u32,
    },
    /// A new process, with all that its parent has mapped.
    Forked {
        pid: u32,
        parent: u32,
    },
    Mapped {
        pid: u32,
        mapping: NewMapping,
    },
    /// Its first thread has ended, and all others with it as a rule.
    Ended {
        pid: u32,
    },
}

impl MappingEvent {
    /// The process.
    pub fn pid(&self) -> u32 {
        match self {
            MappingEvent::Exec { pid }
            | MappingEvent::Forked { pid, .. }
            | MappingEvent::Mapped { pid, .. }
            | MappingEvent::Ended { pid } => *pid,
        }
    }
}

/// Code of a file, mapped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewMapping {
    pub start: u64,
    pub bytes: u64,
    pub file_offset: u64,
    /// Major and minor number, in the upper and lower half.
    pub device: u64,
    pub inode: u64,
    pub path: PathBuf,
}

/// The news of one process and of those that it makes, or of all.
pub struct MappingEvents {
    are_of_all: bool,
    buffers: Vec<Buffer>,
    /// Records that there was no room for.
    lost: u64,
}

impl MappingEvents {
    /// Follows a process from now on, or all of them. An error where the kernel does not allow it.
    pub fn follow(pid: Option<u32>, cpus: u32) -> io::Result<MappingEvents> {
        // Powers of two.
        let share = PAGES_IN_ALL / (cpus.max(1) as usize).next_power_of_two();
        let pages = if pid.is_some() { PAGES } else { share.clamp(PAGES, PAGES_FOR_ALL) };
        let mut buffers = Vec::new();
        for cpu in 0..cpus {
            match open(pid, cpu) {
                Ok(event) => buffers.push(Buffer::map(event, pages)?),
                // A processor that is offline.
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(MappingEvents { are_of_all: pid.is_none(), buffers, lost: 0 })
    }

    /// Whether all processes are followed.
    pub fn are_of_all(&self) -> bool {
        self.are_of_all
    }

    /// Ready when there is news.
    pub fn fds(&self) -> impl Iterator<Item = RawFd> {
        self.buffers.iter().map(|buffer| buffer.event.as_raw_fd())
    }

    /// How much of the news the kernel had no room for, so far.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// What has happened since the last call, in its order.
    pub fn read(&mut self) -> Vec<MappingEvent> {
        let mut records: Vec<(u64, MappingEvent)> = Vec::new();
        for buffer in &mut self.buffers {
            buffer.take(&mut |record| {
                records.extend(parse(record));
                self.lost += lost_in(record);
            });
        }
        records.sort_by_key(|(time, _)| *time);
        records.into_iter().map(|(_, event)| event).collect()
    }
}

fn open(pid: Option<u32>, cpu: u32) -> io::Result<OwnedFd> {
    // SAFETY: perf_event_attr is a struct of plain integers; all zeroes is a value of it.
    let mut attribute: perf_event_attr = unsafe { std::mem::zeroed() };
    attribute.size = size_of::<perf_event_attr>() as u32;
    attribute.type_ = perf_type_id::PERF_TYPE_SOFTWARE as u32;
    attribute.config = perf_sw_ids::PERF_COUNT_SW_DUMMY as u64;
    attribute.sample_type = SAMPLE_TIME;
    attribute.set_sample_id_all(1);
    attribute.set_exclude_kernel(1);
    attribute.set_inherit(pid.is_some().into());
    attribute.set_mmap(1);
    attribute.set_mmap2(1);
    attribute.set_task(1);
    attribute.set_comm(1);
    attribute.set_comm_exec(1);
    // Whoever waits is woken for each record.
    attribute.set_watermark(1);
    attribute.__bindgen_anon_2.wakeup_watermark = 1;
    let flags = u64::from(aya_obj::generated::PERF_FLAG_FD_CLOEXEC);
    let pid = pid.map_or(-1, |pid| pid as i32);
    // SAFETY: the attribute is live and `size` is its length.
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, &raw mut attribute, pid, cpu as i32, -1, flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The buffer of one processor: a page of counters, then the data, which the kernel writes round and round.
struct Buffer {
    address: *mut libc::c_void,
    page_bytes: usize,
    /// Of data.
    pages: usize,
    /// The event lives as long as its buffer.
    event: OwnedFd,
}

impl Buffer {
    fn map(event: OwnedFd, pages: usize) -> io::Result<Buffer> {
        // SAFETY: asks for a number.
        let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        // SAFETY: asks for a new mapping; nothing that exists is touched.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                (1 + pages) * page_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                event.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Buffer { address, page_bytes, pages, event })
    }

    fn counter(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: inside the first page, aligned, and lives as long as self; the kernel reads and writes whole words.
        unsafe { &*self.address.cast::<u8>().add(offset).cast::<AtomicU64>() }
    }

    /// Hands out each record, and makes room for new ones.
    fn take(&mut self, visit: &mut dyn FnMut(&[u8])) {
        let data_bytes = (self.pages * self.page_bytes) as u64;
        let head = self.counter(DATA_HEAD).load(Ordering::Acquire);
        let mut tail = self.counter(DATA_TAIL).load(Ordering::Relaxed);
        while tail + 8 <= head {
            // Type, mark and length; a record's start is aligned, so that these 8 bytes lie in one piece.
            let header = self.copy(tail % data_bytes, 8);
            let bytes = u64::from(u16::from_le_bytes([header[6], header[7]]));
            if bytes < 8 || tail + bytes > head {
                break;
            }
            let first = bytes.min(data_bytes - tail % data_bytes);
            let mut record = self.copy(tail % data_bytes, first as usize);
            record.extend(self.copy(0, (bytes - first) as usize));
            visit(&record);
            tail += bytes;
        }
        self.counter(DATA_TAIL).store(head, Ordering::Release);
    }

    fn copy(&self, offset: u64, bytes: usize) -> Vec<u8> {
        assert!(offset as usize + bytes <= self.pages * self.page_bytes, "inside the data");
        let mut copy = vec![0; bytes];
        // SAFETY: inside the mapping; the kernel does not write between the tail and the head.
        unsafe {
            let from = self.address.cast::<u8>().add(self.page_bytes + offset as usize);
            std::ptr::copy_nonoverlapping(from, copy.as_mut_ptr(), bytes);
        }
        copy
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference into it outlives self.
        unsafe {
            libc::munmap(self.address, (1 + self.pages) * self.page_bytes);
        }
    }
}

/// Time and meaning of a record; None for those that tell nothing about code of files.
fn parse(record: &[u8]) -> Option<(u64, MappingEvent)> {
    let half = |at: usize| Some(u32::from_le_bytes(record.get(at..at + 4)?.try_into().ok()?));
    let word = |at: usize| Some(u64::from_le_bytes(record.get(at..at + 8)?.try_into().ok()?));
    let marks = u16::from_le_bytes([*record.get(4)?, *record.get(5)?]);
    let (pid, time) = (half(8)?, word(record.len().checked_sub(8)?)?);
    match half(0)? {
        RECORD_COMM if marks & COMM_IS_EXEC != 0 => Some((time, MappingEvent::Exec { pid })),
        RECORD_EXIT => (half(16)? == pid).then_some((time, MappingEvent::Ended { pid })),
        // A new thread is one as well.
        RECORD_FORK => {
            let parent = half(12)?;
            (parent != pid).then_some((time, MappingEvent::Forked { pid, parent }))
        }
        RECORD_MMAP2 => {
            let name = record.get(72..record.len() - 8)?.split(|byte| *byte == 0).next()?;
            let mapping = NewMapping {
                start: word(16)?,
                bytes: word(24)?,
                file_offset: word(32)?,
                device: u64::from(half(40)?) << 32 | u64::from(half(44)?),
                inode: word(48)?,
                path: PathBuf::from(OsString::from_vec(name.to_vec())),
            };
            let is_code = mapping.inode != 0 || mapping.path.as_os_str() == vdso::NAME;
            is_code.then_some((time, MappingEvent::Mapped { pid, mapping }))
        }
        _ => None,
    }
}

/// How many records were lost before this one: 0 unless it is the one that tells that.
fn lost_in(record: &[u8]) -> u64 {
    let kind = record.get(..4).map_or(0, |kind| u32::from_le_bytes(kind.try_into().expect("4 bytes")));
    let count = record.get(16..24).map_or(0, |count| u64::from_le_bytes(count.try_into().expect("8 bytes")));
    if kind == RECORD_LOST { count } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::Child;

    #[test]
    fn a_command_tells_what_it_runs() {
        let mut child = Child::hold("/bin/cat /dev/null").unwrap();
        let mut events = match MappingEvents::follow(Some(child.pid), 256) {
            Ok(events) => events,
            Err(error) => {
                println!("skipped: perf events are refused here: {error}");
                return;
            }
        };
        child.go();
        let mut ended = libc::pollfd { fd: child.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one descriptor of ours.
        unsafe { libc::poll(&raw mut ended, 1, 10_000) };
        assert_eq!(child.finish(), 0);
        let found = events.read();
        assert_eq!(found.first(), Some(&MappingEvent::Exec { pid: child.pid }));
        let is_program = |event: &MappingEvent| match event {
            MappingEvent::Mapped { mapping, .. } => mapping.path.ends_with("cat") && mapping.bytes > 0,
            MappingEvent::Exec { .. } | MappingEvent::Forked { .. } | MappingEvent::Ended { .. } => false,
        };
        assert!(found.iter().any(is_program), "{found:?}");
        assert_eq!(found.last(), Some(&MappingEvent::Ended { pid: child.pid }));
        let is_vdso = |event: &MappingEvent| matches!(event, MappingEvent::Mapped { mapping, .. } if mapping.path.as_os_str() == vdso::NAME);
        assert!(found.iter().any(is_vdso), "{found:?}");
        assert!(events.read().is_empty());
    }

    #[test]
    fn other_records_are_passed_over() {
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&[99, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }
    #[test]
    fn lost_records_are_counted() {
        let record = |kind: u8| [[kind, 0, 0, 0, 0, 0, 32, 0], [5; 8], [7, 1, 0, 0, 0, 0, 0, 0], [9; 8]].concat();
        assert_eq!((lost_in(&record(2)), parse(&record(2))), (263, None));
        assert_eq!((lost_in(&record(10)), lost_in(&[2])), (0, 0));
    }
}
