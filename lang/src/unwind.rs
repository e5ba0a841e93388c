//! Ways up a stack: where the caller of each instruction of a file is found, in the form in which programs look it up.
//! Made from the unwind tables of files; read by the programs of `dw_ustack`. Also where the kernel notes what file a process has mapped.

use crate::check::moved::Members;
use crate::target::Target;
use crate::types::{StructKind, Type};

/// Bytes of a row: a word, above 32 bits how far it is from the file's first row, below them the number of its way. Sorted.
pub const ROW_BYTES: u32 = 8;

/// Bits of how far a row may be from the first one.
pub const FAR_BITS: u32 = 31;

/// Bytes of a way. That of number 0 is none.
pub const WAY_BYTES: u32 = 8;

/// Bytes of a mapping: where it starts and ends, where the file's first row is, and its rows: the number of the first, and above
/// 32 bits how many.
pub const MAPPING_BYTES: u32 = 32;

/// Bytes of what files are known by: the device as the kernel numbers it, and the inode.
pub const FILE_KEY_BYTES: u32 = 16;

/// Bytes of what is known of a file: its rows, as in a mapping, and what is added to the start of a mapping less the place in
/// the file that it begins with, which gives where the first row is.
pub const FILE_BYTES: u32 = 16;

// The kinds of ways, in their lowest 8 bits.
pub const UNKNOWN: u64 = 0;
pub const OUTERMOST: u64 = 1;
pub const FROM_STACK: u64 = 2;
pub const FROM_FRAME: u64 = 3;
pub const AT_FRAME: u64 = 4;
pub const LINKAGE: u64 = 5;
pub const SIGNAL: u64 = 6;

// Where the caller's frame pointer is, in the 8 bits above.
pub const BP_KEPT: u64 = 0;
pub const BP_AT_TOP: u64 = 1;
pub const BP_AT_FRAME: u64 = 2;

/// Offsets in the kernel's description of a mapping and of its file, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MappingFields {
    /// `vm_area_struct`: where it starts, the page of the file, the file.
    pub start: u32,
    pub page: u32,
    pub file: u32,
    /// `file`
    pub inode: u32,
    /// `inode`: its number, and what it is on.
    pub number: u32,
    pub on: u32,
    /// `super_block`
    pub device: u32,
}

impl MappingFields {
    /// None where the kernel's types do not tell.
    pub fn of(target: &dyn Target) -> Option<MappingFields> {
        let offset = |of: &str, name: &str, bytes: u32| {
            let of = target.struct_named(StructKind::Struct, of)?;
            let fields = |of: &_| target.fields(of);
            let member = Members(&fields).member(&of, name)?;
            let is_meant = match &member.ty {
                Type::Pointer { .. } => bytes == 8,
                ty => ty.is_integer() && ty.size() == bytes,
            };
            is_meant.then_some(member.bit_offset / 8)
        };
        Some(MappingFields {
            start: offset("vm_area_struct", "vm_start", 8)?,
            page: offset("vm_area_struct", "vm_pgoff", 8)?,
            file: offset("vm_area_struct", "vm_file", 8)?,
            inode: offset("file", "f_inode", 8)?,
            number: offset("inode", "i_ino", 8)?,
            on: offset("inode", "i_sb", 8)?,
            device: offset("super_block", "s_dev", 4)?,
        })
    }
}

/// Where the top of a function's frame is: just above the address that it returns to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameTop {
    /// The tables do not say, or say it in a way that is not followed.
    Unknown,
    /// Nothing has called this function.
    Outermost,
    /// So far from the stack pointer.
    Stack(i32),
    /// So far from the frame pointer.
    Frame(i32),
    /// What is read so far from the frame pointer: of functions that align their stack.
    AtFrame(i32),
    /// In an entry of the procedure linkage table: a word higher from that byte of the entry's 16 on.
    Linkage(i16),
    /// The kernel has called a signal handler; all registers lie on the stack.
    Signal,
}

/// Where the frame pointer of the caller is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallerBp {
    Kept,
    /// So far from the top of the frame.
    AtTop(i16),
    /// So far from the frame pointer.
    AtFrame(i16),
}

/// From an address of a file on, up to the next row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The file's own.
    pub address: u64,
    pub top: FrameTop,
    pub bp: CallerBp,
}

impl Row {
    /// Its way as programs read it: the kind, how the frame pointer is found, its distance (16 bits), the top's (32 bits).
    pub fn way(&self) -> u64 {
        let (bp_kind, mut bp_offset) = match self.bp {
            CallerBp::Kept => (BP_KEPT, 0),
            CallerBp::AtTop(offset) => (BP_AT_TOP, offset),
            CallerBp::AtFrame(offset) => (BP_AT_FRAME, offset),
        };
        let (kind, offset) = match self.top {
            FrameTop::Unknown => (UNKNOWN, 0),
            FrameTop::Outermost => (OUTERMOST, 0),
            FrameTop::Stack(offset) => (FROM_STACK, offset),
            FrameTop::Frame(offset) => (FROM_FRAME, offset),
            FrameTop::AtFrame(offset) => (AT_FRAME, offset),
            FrameTop::Linkage(from) => {
                bp_offset = from;
                (LINKAGE, 8)
            }
            FrameTop::Signal => (SIGNAL, 0),
        };
        let distances = u64::from(bp_offset as u16) << 16 | u64::from(offset as u32) << 32;
        kind | bp_kind << 8 | distances
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_distances_stay_in_their_bits() {
        let row = Row { address: 0x1000, top: FrameTop::AtFrame(-8), bp: CallerBp::AtTop(-16) };
        assert_eq!(row.way(), 0xffff_fff8_fff0_0104);
        let row = Row { address: 1, top: FrameTop::Linkage(11), bp: CallerBp::Kept };
        assert_eq!(row.way(), 0x0000_0008_000b_0005);
    }
}
