//! One look into debug information: entries by their offset in `.debug_info`, each unit parsed once. Parsing itself is
//! gimli's.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use gimli::{AttributeValue, DebugInfoOffset, DwAt, EndianSlice, LittleEndian, UnitOffset, UnitType};

use super::DebugInfo;

pub type Slice<'a> = EndianSlice<'a, LittleEndian>;
pub type Unit<'a> = gimli::Unit<Slice<'a>>;
type RawEntry<'a> = gimli::DebuggingInformationEntry<Slice<'a>>;
type Value<'a> = AttributeValue<Slice<'a>>;

/// How long a chain of references is followed.
const MOST_LINKS: usize = 32;

pub struct View<'a> {
    info: &'a DebugInfo,
    pub dwarf: gimli::Dwarf<Slice<'a>>,
    units: RefCell<HashMap<usize, Rc<Unit<'a>>>>,
}

/// An entry and the unit that it is in.
#[derive(Clone)]
pub struct Entry<'a> {
    pub unit: Rc<Unit<'a>>,
    pub raw: RawEntry<'a>,
}

/// What `View::each` shows of an entry.
pub struct Glance<'a> {
    pub tag: gimli::DwTag,
    /// In `.debug_info`.
    pub at: usize,
    /// Empty for none.
    pub name: &'a [u8],
    pub is_declaration: bool,
}

impl<'a> View<'a> {
    pub fn new(info: &'a DebugInfo) -> View<'a> {
        let section = |id: gimli::SectionId| Ok(EndianSlice::new(info.section(id), LittleEndian));
        let dwarf: Result<_, gimli::Error> = gimli::Dwarf::load(section);
        View { info, dwarf: dwarf.expect("no section fails to load"), units: RefCell::default() }
    }

    /// The unit that begins at an offset of `.debug_info`.
    pub fn unit(&self, start: usize) -> Option<Rc<Unit<'a>>> {
        if let Some(known) = self.units.borrow().get(&start) {
            return Some(known.clone());
        }
        let header = self.dwarf.unit_header(DebugInfoOffset(start)).ok()?;
        let unit = Rc::new(self.dwarf.unit(header).ok()?);
        self.units.borrow_mut().insert(start, unit.clone());
        Some(unit)
    }

    /// The entry at an offset of `.debug_info`.
    pub fn entry(&self, at: usize) -> Option<Entry<'a>> {
        let starts = self.info.unit_starts(self);
        let start = starts[..starts.partition_point(|start| *start <= at)].last()?;
        let unit = self.unit(*start)?;
        let raw = unit.entry(UnitOffset(at - start)).ok()?;
        Some(Entry { unit, raw })
    }

    pub fn children(&self, of: &Entry<'a>) -> Vec<Entry<'a>> {
        let mut found = Vec::new();
        let Ok(mut tree) = of.unit.entries_tree(Some(of.raw.offset())) else { return found };
        let Ok(root) = tree.root() else { return found };
        let mut children = root.children();
        while let Ok(Some(child)) = children.next() {
            found.push(Entry { unit: of.unit.clone(), raw: child.entry().clone() });
        }
        found
    }

    /// What an attribute of an entry refers to.
    pub fn target(&self, of: &Entry<'a>, attribute: DwAt) -> Option<Entry<'a>> {
        self.entry(match of.raw.attr_value(attribute)? {
            AttributeValue::UnitRef(offset) => of.start().checked_add(offset.0)?,
            AttributeValue::DebugInfoRef(offset) => offset.0,
            AttributeValue::DebugTypesRef(signature) => self.type_unit(signature)?,
            _ => return None,
        })
    }

    /// The type in a unit of its own (`-fdebug-types-section` of version 5).
    fn type_unit(&self, wanted: gimli::DebugTypeSignature) -> Option<usize> {
        let mut headers = self.dwarf.units();
        while let Ok(Some(header)) = headers.next() {
            if let UnitType::Type { type_signature, type_offset } = header.type_()
                && type_signature == wanted
            {
                return header.debug_info_offset()?.0.checked_add(type_offset.0);
            }
        }
        None
    }

    /// The attribute of the entry, or of what it is an instance or a definition of.
    pub fn inherited(&self, of: &Entry<'a>, attribute: DwAt) -> Option<(Entry<'a>, Value<'a>)> {
        let mut of = of.clone();
        for _ in 0..MOST_LINKS {
            if let Some(value) = of.raw.attr_value(attribute) {
                return Some((of, value));
            }
            of = self
                .target(&of, gimli::DW_AT_abstract_origin)
                .or_else(|| self.target(&of, gimli::DW_AT_specification))?;
        }
        None
    }

    /// The entry's name; empty for none.
    pub fn name(&self, of: &Entry<'a>) -> String {
        let found = self.inherited(of, gimli::DW_AT_name);
        let text = found.and_then(|(of, value)| self.dwarf.attr_string(&of.unit, value).ok());
        text.map_or_else(String::new, |text| String::from_utf8_lossy(text.slice()).into_owned())
    }

    /// The entry of the type.
    pub fn type_of(&self, of: &Entry<'a>) -> Option<Entry<'a>> {
        let (of, _) = self.inherited(of, gimli::DW_AT_type)?;
        self.target(&of, gimli::DW_AT_type)
    }

    pub fn address(&self, of: &Entry<'a>, attribute: DwAt) -> Option<u64> {
        self.dwarf.attr_address(&of.unit, of.raw.attr_value(attribute)?).ok().flatten()
    }

    /// Shows all entries of the given tags in one unit, in order, until `see` gives true.
    pub fn each(
        &self,
        unit: &Unit<'a>,
        wanted: &dyn Fn(gimli::DwTag) -> bool,
        see: &mut dyn FnMut(Glance<'a>) -> bool,
    ) -> Result<(), gimli::Error> {
        let start = unit.header.debug_info_offset().map_or(0, |offset| offset.0);
        let mut entries = unit.entries_raw(None)?;
        while !entries.is_empty() {
            let at = start + entries.next_offset().0;
            let Some(abbreviation) = entries.read_abbreviation()? else { continue };
            if !wanted(abbreviation.tag()) {
                entries.skip_attributes(abbreviation.attributes())?;
                continue;
            }
            let mut glance = Glance { tag: abbreviation.tag(), at, name: &[], is_declaration: false };
            for form in abbreviation.attributes() {
                let attribute = entries.read_attribute(*form)?;
                match attribute.name() {
                    gimli::DW_AT_name => {
                        glance.name = self.dwarf.attr_string(unit, attribute.value()).map_or(&[], |text| text.slice());
                    }
                    gimli::DW_AT_declaration => glance.is_declaration = true,
                    _ => {}
                }
            }
            if see(glance) {
                break;
            }
        }
        Ok(())
    }
}

impl<'a> Entry<'a> {
    /// Where its unit begins.
    pub fn start(&self) -> usize {
        self.unit.header.debug_info_offset().map_or(0, |offset| offset.0)
    }

    /// In `.debug_info`.
    pub fn at(&self) -> usize {
        self.start() + self.raw.offset().0
    }

    pub fn tag(&self) -> gimli::DwTag {
        self.raw.tag()
    }

    pub fn number(&self, attribute: DwAt) -> Option<u64> {
        self.raw.attr_value(attribute)?.udata_value()
    }

    pub fn has(&self, attribute: DwAt) -> bool {
        self.raw.has_attr(attribute)
    }

    /// Bytes of a type.
    pub fn size(&self) -> u32 {
        self.number(gimli::DW_AT_byte_size).and_then(|size| u32::try_from(size).ok()).unwrap_or(0)
    }
}
