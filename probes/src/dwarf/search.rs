//! Types and enumerators by their names: first in the unit of the function that asks, then in all others. What was
//! found, or not, is remembered.

use std::collections::BTreeSet;

use memchr::memmem;
use rtrace_lang::types::{EnumRef, Type};

use super::DebugInfo;
use super::convert::enumerator_value;
use super::view::{Unit, View};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sought {
    Struct,
    Union,
    Enum,
    Typedef,
    Enumerator,
}

impl Sought {
    fn is(self, tag: gimli::DwTag) -> bool {
        match self {
            Sought::Struct => matches!(tag, gimli::DW_TAG_structure_type | gimli::DW_TAG_class_type),
            Sought::Union => tag == gimli::DW_TAG_union_type,
            Sought::Enum => tag == gimli::DW_TAG_enumeration_type,
            Sought::Typedef => matches!(tag, gimli::DW_TAG_typedef | gimli::DW_TAG_base_type),
            Sought::Enumerator => tag == gimli::DW_TAG_enumerator,
        }
    }

    pub fn of_tag(tag: gimli::DwTag) -> Option<Sought> {
        [Sought::Struct, Sought::Union, Sought::Enum].into_iter().find(|sought| sought.is(tag))
    }
}

/// A question that was answered: the unit that was looked through first, and what was sought there.
pub type Known = (Option<usize>, Sought, String);

/// Where an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// In `.debug_info`.
    pub at: usize,
    /// The enum that an enumerator is of.
    parent: Option<usize>,
}

impl DebugInfo {
    /// The type of that name, as the function at the address sees it.
    pub fn type_named(&self, sought: Sought, name: &str, address: Option<u64>) -> Option<Type> {
        let view = View::new(self);
        let found = self.find(&view, self.unit_at(&view, address), sought, name)?;
        Some(self.convert(&view, &view.entry(found.at)?, 0))
    }

    /// The value of an enumerator and the enum that has it.
    pub fn enumerator_named(&self, name: &str, address: Option<u64>) -> Option<(i64, EnumRef)> {
        let view = View::new(self);
        let found = self.find(&view, self.unit_at(&view, address), Sought::Enumerator, name)?;
        let value = enumerator_value(&view.entry(found.at)?)?;
        Some((value, self.enum_ref(&view, &view.entry(found.parent?)?)?))
    }

    /// Names of structs and unions, for a near-miss search.
    pub fn struct_names(&self) -> Vec<String> {
        let view = View::new(self);
        let mut names = BTreeSet::new();
        for start in self.unit_starts(&view) {
            let Some(unit) = view.unit(*start) else { continue };
            // A unit that can't be read has no more names.
            let _ = view.each(&unit, &|tag| Sought::Struct.is(tag) || Sought::Union.is(tag), &mut |glance| {
                names.insert(glance.name);
                false
            });
        }
        names
            .into_iter()
            .filter(|name| !name.is_empty())
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect()
    }

    fn unit_at(&self, view: &View<'_>, address: Option<u64>) -> Option<usize> {
        self.units_of(view, address?).first().copied()
    }

    /// The complete entry of that name.
    pub(super) fn find(&self, view: &View<'_>, first: Option<usize>, sought: Sought, name: &str) -> Option<Found> {
        let key = (first, sought, name.to_string());
        if let Some(known) = self.known.lock().expect("no holder panics").get(&key) {
            return *known;
        }
        let found = self.search(view, first, sought, name);
        self.known.lock().expect("no holder panics").insert(key, found);
        found
    }

    fn search(&self, view: &View<'_>, first: Option<usize>, sought: Sought, name: &str) -> Option<Found> {
        if !self.has_text(name) {
            return None;
        }
        let others = self.unit_starts(view).iter().copied().filter(|start| Some(*start) != first);
        first.into_iter().chain(others).find_map(|start| {
            // Many units are seen once here and never again: the view does not keep them.
            let header = view.dwarf.unit_header(gimli::DebugInfoOffset(start)).ok()?;
            find_in(view, &view.dwarf.unit(header).ok()?, sought, name)
        })
    }

    /// False where the name is nowhere at all: that is found out in a fraction of the time.
    fn has_text(&self, name: &str) -> bool {
        if name.is_empty() {
            return false;
        }
        let finder = memmem::Finder::new(name.as_bytes());
        let sections = [gimli::SectionId::DebugStr, gimli::SectionId::DebugInfo];
        sections.into_iter().any(|section| finder.find(self.section(section)).is_some())
    }
}

fn find_in<'a>(view: &View<'a>, unit: &Unit<'a>, sought: Sought, name: &str) -> Option<Found> {
    let mut found = None;
    let mut parent = None;
    let wanted = |tag| sought.is(tag) || sought == Sought::Enumerator && tag == gimli::DW_TAG_enumeration_type;
    // What can't be read ends the unit.
    let _ = view.each(unit, &wanted, &mut |glance| {
        if !sought.is(glance.tag) {
            parent = Some(glance.at);
        } else if glance.name == name.as_bytes() && !glance.is_declaration {
            found = Some(Found { at: glance.at, parent });
        }
        found.is_some()
    });
    found
}
