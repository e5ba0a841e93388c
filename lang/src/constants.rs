//! Constants of the kernel's interface to programs, and of its own headers, by name: a script that uses them needs no
//! header on the machine. Values are those of x86-64. Pure data: it must never ask the machine.
//!
//! What only an enum of the kernel defines is not here, since BTF has it; the exception are [`enumerated`] names that
//! scripts lean on. HZ and GFP_* are asked of the machine, since kernels differ in them.

mod d;
mod enumerators;
mod errors;
mod events;
mod files;
mod filesystems;
mod flags;
mod kernel;
mod links;
mod memory;
mod processes;
mod protocols;
mod ranges;
mod signals;
mod sockets;

/// A name and its value; one that does not fit is in [`UNSIGNED`] and has the same 64 bits.
type Row = (&'static str, i64);

/// What a family is about, and its rows.
type Family = (&'static str, &'static [Row]);

/// Macros whose values no kernel may change.
static FIXED: &[Family] = &[
    ("D's arguments", d::ROWS),
    ("Errors", errors::ROWS),
    ("Waiting, measuring and BPF", events::ROWS),
    ("Files", files::ROWS),
    ("File systems", filesystems::ROWS),
    ("Flags of calls about files", flags::ROWS),
    ("Links", links::ROWS),
    ("Memory", memory::ROWS),
    ("Processes", processes::ROWS),
    ("Protocols", protocols::ROWS),
    ("Ranges, limits and units", ranges::ROWS),
    ("Signals", signals::ROWS),
    ("Sockets", sockets::ROWS),
];

/// What the running kernel may know better.
static ENUMERATED: &[Family] = &[("Enumerators", enumerators::ROWS), ("The kernel itself", kernel::ROWS)];

/// Names whose value is above the largest signed one.
const UNSIGNED: &[&str] =
    &["PR_SET_PTRACER_ANY", "RLIM_INFINITY", "SIZE_MAX", "U64_MAX", "UINT64_MAX", "ULLONG_MAX", "ULONG_MAX"];

/// The value of a constant, wherever it comes from.
pub fn named(name: &str) -> Option<i64> {
    fixed(name).or_else(|| enumerated(name))
}

/// The value of a macro that is the same on all kernels, and in the BTF of none.
pub fn fixed(name: &str) -> Option<i64> {
    search(FIXED, name)
}

/// The value of an enumerator, or of a macro that kernels have turned into one: to be used where BTF has no such name.
pub fn enumerated(name: &str) -> Option<i64> {
    search(ENUMERATED, name)
}

/// Whether the value is to be read as an unsigned number of 64 bits.
pub fn is_unsigned(name: &str) -> bool {
    UNSIGNED.contains(&name)
}

/// All names, family by family.
pub fn names() -> impl Iterator<Item = &'static str> {
    families().flat_map(|(_, names)| names)
}

/// What each family is about, and its names.
pub fn families() -> impl Iterator<Item = (&'static str, impl Iterator<Item = &'static str>)> {
    FIXED.iter().chain(ENUMERATED).map(|(about, rows)| (*about, rows.iter().map(|(name, _)| *name)))
}

fn search(tables: &[Family], name: &str) -> Option<i64> {
    // No constant begins with a small letter; most words of a script do.
    if name.starts_with(|first: char| first.is_ascii_lowercase()) {
        return None;
    }
    tables.iter().find_map(|(_, rows)| {
        let at = rows.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
        Some(rows[at].1)
    })
}

#[cfg(test)]
mod tests;
