//! Files of packets, as tcpdump and Wireshark read them. The format: pcap with times in nanoseconds
//! (draft-ietf-opsawg-pcap), link type Ethernet.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

const MAGIC: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
const LONGEST: u32 = 256 << 10;
const ETHERNET: u32 = 1;

/// The files that a session writes, by the names that the script gives them; each is made anew with its first packet.
#[derive(Default)]
pub struct Packets {
    files: HashMap<String, BufWriter<File>>,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", .path.display())]
pub struct PacketError {
    path: PathBuf,
    source: io::Error,
}

impl Packets {
    /// Appends a packet: `bytes` of it are there, and it had `length`. The time in nanoseconds since 1970.
    pub fn append(&mut self, path: &str, time: i64, bytes: &[u8], length: u64) -> Result<(), PacketError> {
        self.try_append(path, time, bytes, length).map_err(|source| PacketError { path: path.into(), source })
    }

    fn try_append(&mut self, path: &str, time: i64, bytes: &[u8], length: u64) -> io::Result<()> {
        if !self.files.contains_key(path) {
            let mut file = BufWriter::new(File::create(path)?);
            file.write_all(&header())?;
            self.files.insert(path.to_string(), file);
        }
        let file = self.files.get_mut(path).expect("it is there now");
        let there = bytes.len() as u32;
        let length = u32::try_from(length).unwrap_or(u32::MAX).max(there);
        let (seconds, nanoseconds) = (time.div_euclid(1_000_000_000), time.rem_euclid(1_000_000_000));
        for word in [seconds as u32, nanoseconds as u32, there, length] {
            file.write_all(&word.to_le_bytes())?;
        }
        file.write_all(bytes)
    }

    /// Writes out what is still held back.
    pub fn flush(&mut self) -> Result<(), PacketError> {
        for (path, file) in &mut self.files {
            file.flush().map_err(|source| PacketError { path: path.into(), source })?;
        }
        Ok(())
    }
}

/// What a file begins with: no zone, no accuracy said.
fn header() -> Vec<u8> {
    let mut header = MAGIC.to_le_bytes().to_vec();
    header.extend(VERSION.iter().flat_map(|number| number.to_le_bytes()));
    header.extend([0, 0, LONGEST, ETHERNET].iter().flat_map(|word: &u32| word.to_le_bytes()));
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_two_packets() {
        let directory = std::env::temp_dir().join(format!("rtrace-packets-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let path = directory.join("two.pcap");
        let mut packets = Packets::default();
        let name = path.to_str().expect("a plain name");
        packets.append(name, 1_000_000_002, b"abc", 60).expect("written");
        packets.append(name, 3, b"defg", 0).expect("written");
        packets.flush().expect("written");
        let bytes = std::fs::read(&path).expect("a file");
        std::fs::remove_dir_all(&directory).expect("removed");
        assert_eq!(bytes.len(), 24 + 16 + 3 + 16 + 4);
        assert_eq!(bytes[..8], [0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0]);
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        assert_eq!([word(24), word(28), word(32), word(36)], [1, 2, 3, 60]);
        assert_eq!((word(43 + 8), word(43 + 12), &bytes[59..]), (4, 4, &b"defg"[..]));
    }

    #[test]
    fn a_directory_that_is_missing() {
        let error = Packets::default().append("/no/such/directory/x.pcap", 0, b"", 0).expect_err("no directory");
        assert!(error.to_string().starts_with("cannot write /no/such/directory/x.pcap: No such file"));
    }
}
