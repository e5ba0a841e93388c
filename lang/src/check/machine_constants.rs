//! Constants of the kernel's sources in which kernels differ: asked of the machine, or found in its types. What the tables of
//! `constants` have is no business of this file.

use crate::target::Target;
use crate::types::{StructKind, Type};

/// A constant that is the length of an array in a struct or union of the kernel.
struct Length {
    name: &'static str,
    kind: StructKind,
    of: &'static str,
    member: &'static str,
    /// What is added to the length.
    more: i64,
}

const fn length(name: &'static str, of: &'static str, member: &'static str) -> Length {
    Length { name, kind: StructKind::Struct, of, member, more: 0 }
}

/// Of a name that stands here twice the first that the kernel has counts. MAX_ORDER is missing on purpose: it was one more than
/// the largest order before 6.4 and the largest from there on, and types look the same in both.
const LENGTHS: &[Length] = &[
    Length { kind: StructKind::Union, ..length("DNAME_INLINE_LEN", "shortname_store", "string") },
    // Before 6.15.
    length("DNAME_INLINE_LEN", "dentry", "d_iname"),
    length("KSYM_NAME_LEN", "kallsym_iter", "name"),
    Length { more: -1, ..length("MAX_PAGE_ORDER", "zone", "free_area") },
    length("MODULE_NAME_LEN", "module", "name"),
    length("NR_PAGE_ORDERS", "zone", "free_area"),
    // Stacks of interrupts and of tasks are as large as one another on x86-64 (arch/x86/include/asm/page_64_types.h): four
    // pages, eight with KASAN.
    length("THREAD_SIZE", "irq_stack", "stack"),
];

/// The value of a constant in which kernels differ.
pub fn machine_constant(target: &dyn Target, name: &str) -> Option<i64> {
    match name {
        "HZ" | "CONFIG_HZ" => return target.tick_rate(),
        "NR_CPUS" | "CONFIG_NR_CPUS" => return target.most_cpus(),
        _ => {}
    }
    if name.trim_start_matches('_').starts_with("GFP_") {
        let flags = target.allocation_flags();
        return flags.iter().find(|(known, _)| **known == *name).map(|(_, value)| *value as i64);
    }
    if let Some(found) = LENGTHS.iter().filter(|row| row.name == name).find_map(|row| row.value(target)) {
        return Some(found);
    }
    // REQ_SYNC is the bit that the enumerator __REQ_SYNC numbers.
    let (bit, _) = name.strip_prefix("REQ_").and_then(|_| target.enumerator(&format!("__{name}")))?;
    1i64.checked_shl(u32::try_from(bit).ok()?)
}

impl Length {
    fn value(&self, target: &dyn Target) -> Option<i64> {
        let of = target.struct_named(self.kind, self.of)?;
        target.fields(&of).iter().find(|field| *field.name == *self.member).and_then(|field| match &field.ty {
            Type::Array { len, .. } => Some(i64::from(*len) + self.more),
            // An array of characters.
            Type::Str(bytes) => Some(i64::from(*bytes) + self.more),
            _ => None,
        })
    }
}

/// Names that are asked of the machine, for messages about those that are near.
pub fn machine_names() -> impl Iterator<Item = &'static str> {
    ["HZ", "CONFIG_HZ", "NR_CPUS", "CONFIG_NR_CPUS"].into_iter().chain(LENGTHS.iter().map(|row| row.name))
}
