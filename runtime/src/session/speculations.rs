//! What was printed for speculations and is held back, record by record, until each is committed or discarded.

use std::collections::HashMap;

use rtrace_lang::hir::NO_SPECULATION;

/// Bytes that are held back at most; what comes beyond is dropped and counted.
const MOST_BYTES: usize = 64 << 20;

#[derive(Default)]
pub struct Speculations {
    held: HashMap<u32, Vec<Vec<u8>>>,
    bytes: usize,
    /// Records that there was no room for.
    pub dropped: u64,
}

impl Speculations {
    /// Keeps a record if it belongs to a speculation, which stands above the number of the record in its first word, and
    /// tells whether it did.
    pub fn hold(&mut self, record: &[u8]) -> bool {
        let speculation = number(record, 4);
        if speculation == 0 {
            return false;
        }
        if speculation == NO_SPECULATION {
            return true;
        }
        if self.bytes + record.len() > MOST_BYTES {
            self.dropped += 1;
            return true;
        }
        self.bytes += record.len();
        let mut kept = record.to_vec();
        kept[4..8].fill(0);
        self.held.entry(speculation).or_default().push(kept);
        true
    }

    /// What was held back for a speculation, which is forgotten.
    pub fn take(&mut self, speculation: u64) -> Vec<Vec<u8>> {
        let speculation = u32::try_from(speculation).unwrap_or(0);
        let records = self.held.remove(&speculation).unwrap_or_default();
        self.bytes -= records.iter().map(Vec::len).sum::<usize>();
        records
    }
}

fn number(record: &[u8], at: usize) -> u32 {
    record.get(at..at + 4).map_or(0, |bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(speculation: u32) -> Vec<u8> {
        [7u32.to_le_bytes(), speculation.to_le_bytes()].concat()
    }

    #[test]
    fn records_are_held_until_they_are_taken() {
        let mut speculations = Speculations::default();
        assert!(!speculations.hold(&record(0)));
        assert!(speculations.hold(&record(3)) && speculations.hold(&record(3)) && speculations.hold(&record(4)));
        assert!(speculations.hold(&record(NO_SPECULATION)));
        assert_eq!(speculations.take(3), [record(0), record(0)]);
        assert_eq!(speculations.take(3), Vec::<Vec<u8>>::new());
        assert_eq!(speculations.bytes, 8);
    }
}
