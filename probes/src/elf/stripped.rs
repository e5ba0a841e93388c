//! Names of functions that a file's own tables no longer have: in its `.gnu_debugdata`, a small compressed ELF file in it
//! that Fedora and others leave there, or in a file of its own with the debug information.

use std::io::Read;
use std::ops::Range;

use object::{Object, ObjectSection};

use super::{Binary, Function, functions_of};
use crate::dwarf;
use crate::kernel::mapping::FileBytes;

const COMPRESSED_SECTION: &str = ".gnu_debugdata";
/// More than the largest of them: what unpacks to more is not one.
const MOST_BYTES: u64 = 256 << 20;

/// The functions that are named elsewhere and are wanted; none if the file has its own full symbol table.
pub fn functions(
    binary: &Binary,
    object: &object::File<'_>,
    is_wanted: &impl Fn(&[u8], Range<u64>) -> bool,
) -> Vec<Function> {
    if object.symbol_table().is_some() {
        return Vec::new();
    }
    let mut found = Vec::new();
    if let Some(bytes) = compressed(object)
        && let Ok(inner) = object::File::parse(&*bytes)
    {
        found.extend(functions_of(&inner, is_wanted));
    }
    for path in dwarf::debug_files(binary.path(), object) {
        let Ok(bytes) = FileBytes::open(&path) else { continue };
        let Ok(other) = object::File::parse(bytes.as_slice()) else { continue };
        // A file of another build would give wrong addresses.
        if other.build_id().ok() == object.build_id().ok() && other.symbol_table().is_some() {
            found.extend(functions_of(&other, is_wanted));
            break;
        }
    }
    found
}

fn compressed(object: &object::File<'_>) -> Option<Vec<u8>> {
    let section = object.section_by_name(COMPRESSED_SECTION)?;
    let mut bytes = Vec::new();
    lzma_rust2::XzReader::new(section.data().ok()?, true).take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
