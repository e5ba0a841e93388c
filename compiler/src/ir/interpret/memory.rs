//! Simulated memory: regions of bytes that know which of them were written. An address is the number of a region and an
//! offset into it; every access is checked against both. Knows no maps and no helpers.

use super::Space;

/// Addresses have the top bit, as those of kernels do; then 31 bits of region and 32 of offset.
const KERNEL: u64 = 1 << 63;

#[derive(Clone, Debug)]
pub struct Region {
    bytes: Vec<u8>,
    written: Vec<bool>,
    /// False once it was given back: every use of it is an error from then on.
    live: bool,
}

impl Region {
    pub fn of(bytes: Vec<u8>) -> Region {
        Region { written: vec![true; bytes.len()], bytes, live: true }
    }

    /// Bytes that are an error to read before they are written.
    pub fn unwritten(bytes: usize) -> Region {
        Region { bytes: vec![0; bytes], written: vec![false; bytes], live: true }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Memory {
    regions: Vec<(Space, Region)>,
}

impl Memory {
    /// Adds a region; gives its address.
    pub fn add(&mut self, space: Space, region: Region) -> u64 {
        self.regions.push((space, region));
        KERNEL | (self.regions.len() as u64) << 32
    }

    /// Memory that only probe reads reach; gives its address.
    pub fn add_kernel(&mut self, bytes: Vec<u8>) -> u64 {
        self.add(Space::Object, Region::of(bytes))
    }

    /// The region of an address, and the offset; None for what is no address of ours.
    fn find(&self, address: u64) -> Option<(usize, usize)> {
        if address & KERNEL == 0 {
            return None;
        }
        let number = ((address & !KERNEL) >> 32).checked_sub(1)? as usize;
        (number < self.regions.len()).then_some((number, (address & 0xffff_ffff) as usize))
    }

    /// The same, for an access of that many bytes that must be allowed.
    fn checked(&self, address: u64, bytes: usize, space: Option<Space>) -> Result<(usize, usize), String> {
        let (number, offset) = self.find(address).ok_or_else(|| format!("{address:#x} is no address"))?;
        let (found, region) = &self.regions[number];
        if !region.live {
            return Err(format!("use of {found:?} memory that was given back"));
        }
        if space.is_some_and(|space| space != *found) {
            return Err(format!("an address of {found:?} memory where {space:?} is meant"));
        }
        if offset + bytes > region.bytes.len() {
            return Err(format!("{bytes} bytes at {offset} of {} bytes of {found:?}", region.bytes.len()));
        }
        Ok((number, offset))
    }

    /// The bytes there, which must have been written.
    pub fn read(&self, address: u64, bytes: usize, space: Option<Space>) -> Result<&[u8], String> {
        let (number, offset) = self.checked(address, bytes, space)?;
        let (found, region) = &self.regions[number];
        match region.written[offset..offset + bytes].iter().position(|written| !written) {
            Some(at) => Err(format!("byte {} of {found:?} is read before it is written", offset + at)),
            None => Ok(&region.bytes[offset..offset + bytes]),
        }
    }

    pub fn write(&mut self, address: u64, bytes: &[u8], space: Option<Space>) -> Result<(), String> {
        let (number, offset) = self.checked(address, bytes.len(), space)?;
        let region = &mut self.regions[number].1;
        region.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        region.written[offset..offset + bytes.len()].fill(true);
        Ok(())
    }

    /// That so many bytes could be written there.
    pub fn check_room(&self, address: u64, bytes: usize) -> Result<(), String> {
        self.checked(address, bytes, None).map(|_| ())
    }

    /// A number of 1, 2, 4 or 8 bytes.
    pub fn load(&self, address: u64, bytes: u8, space: Space) -> Result<u64, String> {
        check_alignment(address, bytes, space)?;
        let mut word = [0; 8];
        word[..usize::from(bytes)].copy_from_slice(self.read(address, usize::from(bytes), Some(space))?);
        Ok(u64::from_le_bytes(word))
    }

    pub fn store(&mut self, address: u64, bytes: u8, value: u64, space: Space) -> Result<(), String> {
        check_alignment(address, bytes, space)?;
        self.write(address, &value.to_le_bytes()[..usize::from(bytes)], Some(space))
    }

    /// As many bytes as the kernel's fault-safe read gets: None where it faults.
    pub fn probe(&self, address: u64, bytes: usize) -> Option<&[u8]> {
        self.read(address, bytes, None).ok()
    }

    /// Takes a region back; gives its bytes.
    pub fn release(&mut self, address: u64) -> Vec<u8> {
        match self.find(address) {
            Some((number, 0)) => {
                let region = &mut self.regions[number].1;
                region.live = false;
                std::mem::take(&mut region.bytes)
            }
            _ => Vec::new(),
        }
    }

    /// Regions of that space that were not given back.
    pub fn held(&self, space: Space) -> usize {
        self.regions.iter().filter(|(found, region)| *found == space && region.live).count()
    }

    /// All bytes of a region, written or not.
    pub fn bytes(&self, address: u64) -> &[u8] {
        self.find(address).map_or(&[], |(number, _)| &self.regions[number].1.bytes)
    }
}

/// The kernel's verifier refuses misaligned access to the stack everywhere; ours is aligned everywhere.
fn check_alignment(address: u64, bytes: u8, space: Space) -> Result<(), String> {
    match space {
        Space::Stack | Space::MapValue | Space::Record | Space::MapKey if !address.is_multiple_of(u64::from(bytes)) => {
            Err(format!("a misaligned access of {bytes} bytes"))
        }
        Space::Stack | Space::MapValue | Space::Record | Space::MapKey | Space::Context | Space::Object => Ok(()),
    }
}
