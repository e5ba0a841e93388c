//! From DWARF's entries to the language's types. Follows references between entries; only a struct that is merely
//! declared is looked up by its name, and only once its members are asked for.

use std::collections::HashMap;
use std::sync::Arc;

use gimli::{AttributeValue, Operation};
use rtrace_lang::types::{EnumRef, Field, Space, StructKind, StructRef, Type};

use super::DebugInfo;
use super::search::Sought;
use super::view::{Entry, View};
use crate::kernel::btf::SOURCE_SHIFT;

/// How deep a chain of types is followed.
const MAX_DEPTH: u32 = 32;

/// What makes two entries the same type: units that include one header each have an entry of their own.
#[derive(PartialEq, Eq, Hash)]
struct Identity {
    tag: u16,
    name: String,
    size: u32,
    line: u64,
    /// Set for what has no name: it is only the same as itself.
    at: Option<usize>,
}

/// The numbers that types got, and the entries that they stand for.
#[derive(Default)]
pub struct Ids {
    by_identity: HashMap<Identity, u32>,
    entries: Vec<usize>,
}

impl DebugInfo {
    /// None where there are more types than numbers.
    fn id_of(&self, entry: &Entry<'_>, name: &str) -> Option<u32> {
        let at = entry.at();
        let identity = Identity {
            tag: entry.tag().0,
            name: name.to_string(),
            size: entry.size(),
            line: entry.number(gimli::DW_AT_decl_line).unwrap_or(0),
            at: name.is_empty().then_some(at),
        };
        let mut ids = self.ids.lock().expect("no holder panics");
        let next = ids.entries.len() as u32;
        let number = *ids.by_identity.entry(identity).or_insert(next);
        if number == next {
            ids.entries.push(at);
        }
        (number < 1 << SOURCE_SHIFT).then_some(number | self.source << SOURCE_SHIFT)
    }

    fn entry_of_id<'a>(&'a self, view: &View<'a>, id: u32) -> Option<Entry<'a>> {
        let number = id & ((1 << SOURCE_SHIFT) - 1);
        let at = *self.ids.lock().expect("no holder panics").entries.get(number as usize)?;
        view.entry(at)
    }

    /// The type that an entry has; `Type::Void` where it has none.
    pub(super) fn type_of<'a>(&'a self, view: &View<'a>, of: &Entry<'a>) -> Type {
        self.target_type(view, of, 0)
    }

    fn target_type<'a>(&'a self, view: &View<'a>, of: &Entry<'a>, depth: u32) -> Type {
        view.type_of(of).map_or(Type::Void, |target| self.convert(view, &target, depth))
    }

    /// The language's type for an entry; `const`, `volatile` and typedefs are looked through.
    pub(super) fn convert<'a>(&'a self, view: &View<'a>, entry: &Entry<'a>, depth: u32) -> Type {
        if depth > MAX_DEPTH {
            return Type::Void;
        }
        match entry.tag() {
            gimli::DW_TAG_base_type => base_type(entry, &view.name(entry)),
            gimli::DW_TAG_pointer_type | gimli::DW_TAG_reference_type | gimli::DW_TAG_rvalue_reference_type => {
                Type::pointer(self.target_type(view, entry, depth + 1), Space::User)
            }
            gimli::DW_TAG_typedef
            | gimli::DW_TAG_const_type
            | gimli::DW_TAG_volatile_type
            | gimli::DW_TAG_restrict_type
            | gimli::DW_TAG_atomic_type => self.target_type(view, entry, depth + 1),
            gimli::DW_TAG_structure_type | gimli::DW_TAG_class_type | gimli::DW_TAG_union_type => {
                self.struct_ref(view, entry).map_or(Type::Void, Type::Struct)
            }
            gimli::DW_TAG_enumeration_type => self.enum_ref(view, entry).map_or(Type::Void, Type::Enum),
            gimli::DW_TAG_array_type => self.array(view, entry, depth),
            gimli::DW_TAG_ptr_to_member_type => Type::Buffer(16),
            _ => Type::Void,
        }
    }

    fn array<'a>(&'a self, view: &View<'a>, entry: &Entry<'a>, depth: u32) -> Type {
        let mut element = self.target_type(view, entry, depth + 1);
        if entry.has(gimli::DW_AT_GNU_vector) {
            let size = lengths(view, entry).into_iter().fold(element.size(), u32::saturating_mul);
            return Type::Buffer(size);
        }
        // The last length belongs to the innermost array.
        for (number, len) in lengths(view, entry).into_iter().rev().enumerate() {
            let is_text = number == 0 && len > 0 && view.type_of(entry).is_some_and(|of| is_char(view, of));
            element = if is_text { Type::Str(len) } else { Type::Array { of: Arc::new(element), len } };
        }
        element
    }

    /// None for an entry of another kind.
    pub(super) fn struct_ref<'a>(&self, view: &View<'a>, entry: &Entry<'a>) -> Option<StructRef> {
        let kind = match entry.tag() {
            gimli::DW_TAG_structure_type | gimli::DW_TAG_class_type => StructKind::Struct,
            gimli::DW_TAG_union_type => StructKind::Union,
            _ => return None,
        };
        let name = view.name(entry);
        let id = self.id_of(entry, &name)?;
        Some(StructRef { kind, name: name.into(), id, size: entry.size() })
    }

    /// None for an entry of another kind.
    pub(super) fn enum_ref<'a>(&self, view: &View<'a>, entry: &Entry<'a>) -> Option<EnumRef> {
        if entry.tag() != gimli::DW_TAG_enumeration_type {
            return None;
        }
        let name = view.name(entry);
        let id = self.id_of(entry, &name)?;
        let size = match entry.size() {
            size @ (1 | 2 | 8) => size as u8,
            _ => 4,
        };
        Some(EnumRef { name: name.into(), id, size, signed: is_signed_enum(view, entry) })
    }

    /// The members of a struct or union in order; those of a base class as an anonymous member.
    pub fn members(&self, id: u32) -> Vec<Field> {
        let view = View::new(self);
        let Some(mut entry) = self.entry_of_id(&view, id) else { return Vec::new() };
        if entry.has(gimli::DW_AT_declaration)
            && let Some(sought) = Sought::of_tag(entry.tag())
            && let Some(found) = self.find(&view, Some(entry.start()), sought, &view.name(&entry))
            && let Some(complete) = view.entry(found.at)
        {
            entry = complete;
        }
        self.member_entries(&view, &entry).iter().filter_map(|member| self.field(&view, member)).collect()
    }

    pub(super) fn member_entries<'a>(&'a self, view: &View<'a>, of: &Entry<'a>) -> Vec<Entry<'a>> {
        let is_member = |child: &Entry<'_>| match child.tag() {
            // A static member of a class is elsewhere.
            gimli::DW_TAG_member => !child.has(gimli::DW_AT_external) && !child.has(gimli::DW_AT_declaration),
            gimli::DW_TAG_inheritance => child.has(gimli::DW_AT_data_member_location),
            _ => false,
        };
        let mut members = view.children(of);
        members.retain(is_member);
        members
    }

    pub(super) fn field<'a>(&'a self, view: &View<'a>, entry: &Entry<'a>) -> Option<Field> {
        let ty = self.type_of(view, entry);
        let name = if entry.tag() == gimli::DW_TAG_member { view.name(entry) } else { String::new() };
        let start = member_location(entry)?.checked_mul(8)?;
        let number = |attribute| entry.number(attribute).and_then(|number| u32::try_from(number).ok());
        let width = number(gimli::DW_AT_bit_size);
        let bit_offset = match (width, number(gimli::DW_AT_data_bit_offset), number(gimli::DW_AT_bit_offset)) {
            (Some(_), Some(offset), _) => offset,
            // Before version 4: counted from the most significant bit of a unit of that many bytes.
            (Some(width), None, Some(offset)) => {
                let unit = number(gimli::DW_AT_byte_size).unwrap_or(ty.size());
                unit.checked_mul(8)?.checked_add(start)?.checked_sub(offset.checked_add(width)?)?
            }
            (Some(_) | None, _, _) => start,
        };
        Some(Field { name: name.into(), ty, bit_offset, bit_width: width.and_then(|width| u8::try_from(width).ok()) })
    }

    /// Names and values of an enum in order.
    pub fn enumerators_of(&self, id: u32) -> Vec<(Arc<str>, i64)> {
        let view = View::new(self);
        let Some(entry) = self.entry_of_id(&view, id) else { return Vec::new() };
        let children = view.children(&entry);
        children.iter().filter_map(|child| Some((view.name(child).into(), enumerator_value(child)?))).collect()
    }
}

/// The value of an enumerator; None for an entry of another kind.
pub(super) fn enumerator_value(entry: &Entry<'_>) -> Option<i64> {
    if entry.tag() != gimli::DW_TAG_enumerator {
        return None;
    }
    // Compilers write negative numbers as such; data of a fixed size have no sign.
    match entry.raw.attr_value(gimli::DW_AT_const_value)? {
        AttributeValue::Sdata(value) => Some(value),
        value => value.udata_value().map(|value| value as i64),
    }
}

fn is_signed_enum<'a>(view: &View<'a>, entry: &Entry<'a>) -> bool {
    match view.type_of(entry) {
        Some(underlying) => base_type(&underlying, "").is_signed(),
        None => view.children(entry).iter().filter_map(enumerator_value).any(|value| value < 0),
    }
}

fn base_type(entry: &Entry<'_>, name: &str) -> Type {
    let Some(AttributeValue::Encoding(encoding)) = entry.raw.attr_value(gimli::DW_AT_encoding) else {
        return Type::Buffer(entry.size());
    };
    match (encoding, entry.size()) {
        (gimli::DW_ATE_boolean, 1) => Type::Bool,
        // Compilers differ in whether they call `char` signed; it is text in either case.
        (gimli::DW_ATE_signed_char | gimli::DW_ATE_unsigned_char, 1) if name == "char" => {
            Type::Int { bytes: 1, signed: true }
        }
        (gimli::DW_ATE_signed | gimli::DW_ATE_signed_char, bytes @ (1 | 2 | 4 | 8)) => {
            Type::Int { bytes: bytes as u8, signed: true }
        }
        (
            gimli::DW_ATE_unsigned | gimli::DW_ATE_unsigned_char | gimli::DW_ATE_boolean | gimli::DW_ATE_UTF,
            bytes @ (1 | 2 | 4 | 8),
        ) => Type::Int { bytes: bytes as u8, signed: false },
        (_, bytes) => Type::Buffer(bytes),
    }
}

fn is_char<'a>(view: &View<'a>, mut of: Entry<'a>) -> bool {
    for _ in 0..MAX_DEPTH {
        match of.tag() {
            gimli::DW_TAG_base_type => return view.name(&of) == "char",
            gimli::DW_TAG_typedef | gimli::DW_TAG_const_type | gimli::DW_TAG_volatile_type => {
                let Some(next) = view.type_of(&of) else { return false };
                of = next;
            }
            _ => return false,
        }
    }
    false
}

/// The lengths of an array's dimensions, outermost first; 0 where only the running program knows.
fn lengths<'a>(view: &View<'a>, array: &Entry<'a>) -> Vec<u32> {
    let length = |range: &Entry<'_>| {
        let count = range.number(gimli::DW_AT_count);
        let count = count.or_else(|| range.number(gimli::DW_AT_upper_bound)?.checked_add(1));
        count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
    };
    let children = view.children(array);
    children.iter().filter(|child| child.tag() == gimli::DW_TAG_subrange_type).map(length).collect()
}

/// Bytes from the start of the struct; 0 where nothing is said, as for members of unions.
fn member_location(entry: &Entry<'_>) -> Option<u32> {
    let value = match entry.raw.attr_value(gimli::DW_AT_data_member_location) {
        None => return Some(0),
        // Version 2 has an expression that adds to the address of the struct.
        Some(AttributeValue::Exprloc(expression)) => {
            match expression.operations(entry.unit.encoding()).next().ok()?? {
                Operation::PlusConstant { value } => value,
                _ => return None,
            }
        }
        Some(value) => value.udata_value()?,
    };
    u32::try_from(value).ok()
}
