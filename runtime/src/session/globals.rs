//! The global data of a running program, seen through a mapping: single words are read and written without touching
//! their neighbours, which programs may be counting up.
//! Unsafe: maps the memory of a BPF array.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

pub struct GlobalData {
    address: *mut libc::c_void,
    bytes: usize,
}

impl GlobalData {
    /// Maps the only value of an array map that was made with BPF_F_MMAPABLE.
    pub fn map(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<GlobalData> {
        // SAFETY: asks for a new mapping; nothing that exists is touched.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(GlobalData { address, bytes })
    }

    fn cell(&self, offset: u32) -> &AtomicU64 {
        let offset = offset as usize;
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.bytes, "a word of the global data");
        // SAFETY: inside the mapping, aligned, and lives as long as self; programs access it as whole words too.
        unsafe { &*self.address.cast::<u8>().add(offset).cast::<AtomicU64>() }
    }

    pub fn get(&self, offset: u32) -> u64 {
        self.cell(offset).load(Ordering::Acquire)
    }

    pub fn set(&self, offset: u32, value: u64) {
        self.cell(offset).store(value, Ordering::Release);
    }
}

/// Single bytes, of a map that has one for each number.
impl GlobalData {
    fn byte_cell(&self, offset: u32) -> &AtomicU8 {
        assert!((offset as usize) < self.bytes, "a byte of the map");
        // SAFETY: inside the mapping, and lives as long as self.
        unsafe { &*self.address.cast::<u8>().add(offset as usize).cast::<AtomicU8>() }
    }

    pub fn byte(&self, offset: u32) -> u8 {
        self.byte_cell(offset).load(Ordering::Acquire)
    }

    pub fn set_byte(&self, offset: u32, value: u8) {
        self.byte_cell(offset).store(value, Ordering::Release);
    }
}

impl Drop for GlobalData {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference into it outlives self.
        unsafe {
            libc::munmap(self.address, self.bytes);
        }
    }
}
