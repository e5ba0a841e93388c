//! Statically defined probes of a file: what `<sys/sdt.h>` puts into `.note.stapsdt`.

use object::{Object, ObjectSection};

use super::Binary;

const SECTION: &str = ".note.stapsdt";
/// Moves with the code when a file is prelinked, while the addresses in the notes stay.
const BASE_SECTION: &str = ".stapsdt.base";
const OWNER: &[u8] = b"stapsdt\0";
const KIND: u32 = 3;

/// One place of a statically defined probe.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Note {
    /// `postgresql`
    pub namespace: String,
    /// `query__start`
    pub name: String,
    /// The file's own address of the instruction.
    pub address: u64,
    /// The file's own address of the counter that says whether somebody looks.
    pub semaphore: Option<u64>,
    /// `8@%rax -4@$5`
    pub arguments: String,
}

impl Binary {
    /// The statically defined probes, sorted, without duplicates. What is damaged is left out.
    pub fn notes(&self) -> Vec<Note> {
        let Ok(object) = object::File::parse(self.bytes.as_slice()) else { return Vec::new() };
        let Some(section) = object.section_by_name(SECTION) else { return Vec::new() };
        let Ok(bytes) = section.uncompressed_data() else { return Vec::new() };
        let base = object.section_by_name(BASE_SECTION).map(|section| section.address());
        let mut notes = parse(&bytes, if object.is_64() { 8 } else { 4 }, base);
        notes.sort_unstable();
        notes.dedup();
        notes
    }
}

/// The notes of a section with addresses of that many bytes, of a little-endian file.
fn parse(bytes: &[u8], word: usize, base: Option<u64>) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut rest = bytes;
    while let Some(frame) = Frame::first(rest) {
        if frame.owner == OWNER && frame.kind == KIND {
            notes.extend(describe(frame.description, word, base));
        }
        rest = frame.behind;
    }
    notes
}

/// One note of any kind, and what is behind it.
struct Frame<'a> {
    owner: &'a [u8],
    kind: u32,
    description: &'a [u8],
    behind: &'a [u8],
}

impl Frame<'_> {
    fn first(bytes: &[u8]) -> Option<Frame<'_>> {
        let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let (owner_bytes, description_bytes, kind) = (number(0)? as usize, number(4)? as usize, number(8)?);
        let owner = bytes.get(12..12usize.checked_add(owner_bytes)?)?;
        let start = 12 + owner_bytes.next_multiple_of(4);
        let end = start.checked_add(description_bytes)?;
        let description = bytes.get(start..end)?;
        let behind = bytes.get(end.next_multiple_of(4)..).unwrap_or_default();
        Some(Frame { owner, kind, description, behind })
    }
}

fn describe(bytes: &[u8], word: usize, base: Option<u64>) -> Option<Note> {
    let number = |index: usize| {
        let mut wide = [0; 8];
        wide[..word].copy_from_slice(bytes.get(index * word..(index + 1) * word)?);
        Some(u64::from_le_bytes(wide))
    };
    let (address, noted_base, semaphore) = (number(0)?, number(1)?, number(2)?);
    let moved = base.map_or(0, |base| base.wrapping_sub(noted_base));
    let mut texts = bytes.get(3 * word..)?.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text));
    let (namespace, name, arguments) = (texts.next()?, texts.next()?, texts.next()?);
    Some(Note {
        namespace: namespace.into_owned(),
        name: name.into_owned(),
        address: address.wrapping_add(moved),
        semaphore: (semaphore != 0).then(|| semaphore.wrapping_add(moved)),
        // Nothing is written as `:` where the assembler wants something to be there.
        arguments: if arguments == ":" { String::new() } else { arguments.into_owned() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(owner: &[u8], numbers: [u64; 3], texts: &[u8]) -> Vec<u8> {
        let description_bytes = 24 + texts.len();
        let mut bytes = Vec::new();
        for number in [owner.len() as u32, description_bytes as u32, KIND] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(owner);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        numbers.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        bytes.extend(texts);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn notes_are_moved_with_their_base() {
        let mut bytes = note(b"GNU\0", [1, 2, 3], b"a\0b\0c\0");
        bytes.extend(note(OWNER, [0x1000, 0x5000, 0], b"app\0start\0-4@%eax\0"));
        bytes.extend(note(OWNER, [0x1010, 0x5000, 0x7000], b"app\0stop\0:\0"));
        let notes = parse(&bytes, 8, Some(0x5100));
        assert_eq!(notes.len(), 2);
        assert_eq!((notes[0].address, notes[0].semaphore, &*notes[0].arguments), (0x1100, None, "-4@%eax"));
        assert_eq!((notes[1].address, notes[1].semaphore, &*notes[1].arguments), (0x1110, Some(0x7100), ""));
        assert_eq!((&*notes[1].namespace, &*notes[1].name), ("app", "stop"));
        assert_eq!(parse(&bytes, 8, None)[1].semaphore, Some(0x7000));
    }

    #[test]
    fn damaged_notes_are_harmless() {
        let bytes = note(OWNER, [0x1000, 0, 0], b"app\0start\0-4@%eax\0");
        for length in 0..bytes.len() {
            parse(&bytes[..length], 8, None);
        }
        let mut huge = bytes.clone();
        huge[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(parse(&huge, 8, None).is_empty());
        assert!(parse(&note(OWNER, [0; 3], b"app\0start"), 8, None).is_empty());
    }
}
