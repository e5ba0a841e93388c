//! Programs whose debug sections are compressed by zstd, as they are without that: for readers that cannot unpack it.

use std::path::Path;

use object::{CompressionFormat, Object, ObjectSection, SectionIndex};

use crate::kernel::mapping::FileBytes;

/// Fields of the header of a 64-bit ELF file, and of those of its sections (elf(5)).
const SECTIONS_AT: usize = 0x28;
const SECTION_BYTES: usize = 0x3a;
const FLAGS: usize = 8;
const OFFSET: usize = 24;
const SIZE: usize = 32;

const SHF_COMPRESSED: u64 = 1 << 11;

/// The file with these sections unpacked behind its end; None where it has none, or is no such file.
pub fn unpacked(path: &Path) -> Option<Vec<u8>> {
    unpacked_bytes(FileBytes::open(path).ok()?.as_slice())
}

fn unpacked_bytes(bytes: &[u8]) -> Option<Vec<u8>> {
    let object = object::File::parse(bytes).ok()?;
    if !object.is_64() || !object.is_little_endian() {
        return None;
    }
    let packed = |section: &object::Section<'_, '_>| {
        section.compressed_file_range().is_ok_and(|range| range.format == CompressionFormat::Zstandard)
    };
    let numbers: Vec<SectionIndex> = object.sections().filter(packed).map(|section| section.index()).collect();
    if numbers.is_empty() {
        return None;
    }
    let table = number(bytes, SECTIONS_AT)? as usize;
    let each = usize::from(u16::from_le_bytes(bytes.get(SECTION_BYTES..SECTION_BYTES + 2)?.try_into().ok()?));
    let mut whole = bytes.to_vec();
    for index in numbers {
        let header = table + index.0 * each;
        let contents = object.section_by_index(index).ok()?.uncompressed_data().ok()?;
        let flags = number(bytes, header + FLAGS)? & !SHF_COMPRESSED;
        // Readers expect words in their places.
        whole.resize(whole.len().next_multiple_of(16), 0);
        for (field, value) in [(FLAGS, flags), (OFFSET, whole.len() as u64), (SIZE, contents.len() as u64)] {
            whole[header + field..header + field + 8].copy_from_slice(&value.to_le_bytes());
        }
        whole.extend_from_slice(&contents);
    }
    Some(whole)
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_compressed_stays() {
        assert!(unpacked(Path::new("/proc/self/exe")).is_none());
        assert!(unpacked(Path::new("/etc/passwd")).is_none());
        assert!(unpacked(Path::new("/nowhere/at/all")).is_none());
    }
}
