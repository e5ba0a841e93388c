//! Structs, unions and enums that a script defines itself, laid out as C does on x86-64. Holds data and looks it up; what
//! a member's type means is the checker's to find out.

use std::sync::Arc;

use crate::ast::Layout;
use crate::target::TypeTag;
use crate::types::{EnumRef, Field, StructKind, StructRef, Type};

/// Types of the script have numbers from here on; those of the kernel's BTF are far below.
const FIRST_ID: u32 = 1 << 31;

#[derive(Clone, PartialEq, Debug, Default)]
pub struct ScriptTypes {
    structs: Vec<ScriptStruct>,
    enums: Vec<ScriptEnum>,
    typedefs: Vec<ScriptTypedef>,
}

#[derive(Clone, PartialEq, Debug)]
struct ScriptTypedef {
    name: Arc<str>,
    ty: Type,
    /// Bytes that its address is a multiple of, where the type does not say it.
    alignment: Option<u32>,
}

#[derive(Clone, PartialEq, Debug)]
struct ScriptStruct {
    own: StructRef,
    fields: Vec<Field>,
    /// Bytes that its address is a multiple of.
    alignment: u32,
    /// Its members are not known yet.
    is_open: bool,
}

#[derive(Clone, PartialEq, Debug)]
struct ScriptEnum {
    own: EnumRef,
    members: Vec<(Arc<str>, i64)>,
}

/// A member before it has its place.
pub struct NewField {
    pub name: Arc<str>,
    pub ty: Type,
    /// Width of a bit field.
    pub bits: Option<u8>,
    /// What its address is a multiple of where the type does not say it.
    pub alignment: Option<u32>,
    pub layout: Layout,
}

impl ScriptTypes {
    /// Adds a struct or a union and gives its members their places.
    pub fn add_struct(&mut self, kind: StructKind, name: &str, members: Vec<NewField>, layout: Layout) -> StructRef {
        let mut fields = Vec::new();
        let (mut end_bits, mut alignment) = (0u32, layout.aligned.max(1));
        for member in members {
            let packed = layout.is_packed || member.layout.is_packed;
            let natural = if packed { 1 } else { member.alignment.unwrap_or_else(|| self.alignment(&member.ty)) };
            let (bytes, own_alignment) = (member.ty.size(), natural.max(member.layout.aligned));
            let unit_bits = (bytes * 8).max(8);
            let start = match (kind, member.bits) {
                (StructKind::Union, _) => 0,
                // A field of no bits closes its unit.
                (StructKind::Struct, Some(0)) => end_bits.next_multiple_of(unit_bits),
                (StructKind::Struct, Some(width)) => {
                    let last = end_bits + u32::from(width) - 1;
                    let fits = packed || end_bits / unit_bits == last / unit_bits;
                    if fits { end_bits } else { end_bits.next_multiple_of(unit_bits) }
                }
                (StructKind::Struct, None) => end_bits.next_multiple_of(own_alignment * 8),
            };
            let width = member.bits.map_or(bytes.saturating_mul(8), u32::from);
            end_bits = end_bits.max(start.saturating_add(width));
            // A bit field without a name is a gap, which asks for no alignment.
            let is_gap = member.bits.is_some() && member.name.is_empty();
            if !is_gap {
                alignment = alignment.max(own_alignment);
                fields.push(Field { name: member.name, ty: member.ty, bit_offset: start, bit_width: member.bits });
            }
        }
        let size = end_bits.div_ceil(8).next_multiple_of(alignment);
        // A struct that is named before is the one that its own members may point to.
        let declared = self
            .structs
            .iter()
            .position(|one| !name.is_empty() && one.is_open && one.own.kind == kind && *one.own.name == *name);
        let number = declared.unwrap_or(self.structs.len());
        let own = StructRef { kind, name: name.into(), id: FIRST_ID + number as u32, size };
        let row = ScriptStruct { own: own.clone(), fields, alignment, is_open: false };
        match declared {
            Some(number) => self.structs[number] = row,
            None => self.structs.push(row),
        }
        own
    }

    /// Makes a struct known by its name, so that its own members can point to it.
    pub fn declare(&mut self, kind: StructKind, name: &str) {
        let own = StructRef { kind, name: name.into(), id: FIRST_ID + self.structs.len() as u32, size: 0 };
        self.structs.push(ScriptStruct { own, fields: Vec::new(), alignment: 1, is_open: true });
    }

    /// True while the members of a struct of that name are not known yet.
    pub fn is_open(&self, kind: StructKind, name: &str) -> bool {
        self.structs.iter().any(|one| one.is_open && one.own.kind == kind && *one.own.name == *name)
    }

    pub fn add_typedef(&mut self, name: &str, ty: Type, alignment: Option<u32>) {
        self.typedefs.push(ScriptTypedef { name: name.into(), ty, alignment });
    }

    /// The type, as it is now, and its alignment where the type does not say it.
    pub fn typedef_named(&self, name: &str) -> Option<(Type, Option<u32>)> {
        let found = self.typedefs.iter().rev().find(|one| *one.name == *name)?;
        let ty = match &found.ty {
            Type::Struct(of) => Type::Struct(self.current(of)),
            other => other.clone(),
        };
        Some((ty, found.alignment))
    }

    /// The struct as it is now: a pointer to it may be older than its members.
    pub fn current(&self, of: &StructRef) -> StructRef {
        self.found(of).map_or_else(|| of.clone(), |found| found.own.clone())
    }

    pub fn add_enum(&mut self, name: &str, members: Vec<(Arc<str>, i64)>) -> EnumRef {
        let signed = members.iter().any(|(_, value)| *value < 0);
        let wide = members.iter().any(|(_, value)| i32::try_from(*value).is_err() && u32::try_from(*value).is_err());
        let id = FIRST_ID + self.enums.len() as u32;
        let own = EnumRef { name: name.into(), id, size: if wide { 8 } else { 4 }, signed };
        self.enums.push(ScriptEnum { own: own.clone(), members });
        own
    }

    fn alignment(&self, ty: &Type) -> u32 {
        match ty {
            Type::Struct(of) => match self.found(of) {
                Some(found) => found.alignment,
                // A struct of the kernel's, whose members are not at hand: most hold a pointer.
                None => 8.min(of.size.max(1).next_power_of_two()),
            },
            Type::Array { of, .. } => self.alignment(of),
            Type::Str(_) | Type::Buffer(_) => 1,
            other => other.size().clamp(1, 8),
        }
    }

    fn found(&self, of: &StructRef) -> Option<&ScriptStruct> {
        self.structs.get(of.id.checked_sub(FIRST_ID)? as usize)
    }

    pub fn struct_named(&self, kind: StructKind, name: &str) -> Option<StructRef> {
        let found = self.structs.iter().rev().find(|one| one.own.kind == kind && *one.own.name == *name);
        found.map(|one| one.own.clone())
    }

    pub fn names(&self) -> impl Iterator<Item = (TypeTag, &str)> {
        let structs = self.structs.iter().map(|one| (one.own.kind.into(), &*one.own.name));
        let enums = self.enums.iter().map(|one| (TypeTag::Enum, &*one.own.name));
        let typedefs = self.typedefs.iter().map(|one| (TypeTag::Plain, &*one.name));
        structs.chain(enums).chain(typedefs).filter(|(_, name)| !name.is_empty())
    }

    /// None for a struct that the script does not define.
    pub fn fields(&self, of: &StructRef) -> Option<&[Field]> {
        self.found(of).map(|found| found.fields.as_slice())
    }

    pub fn enum_named(&self, name: &str) -> Option<EnumRef> {
        self.enums.iter().rev().find(|one| *one.own.name == *name).map(|one| one.own.clone())
    }

    pub fn enumerators(&self, of: &EnumRef) -> Option<&[(Arc<str>, i64)]> {
        let found = self.enums.get(of.id.checked_sub(FIRST_ID)? as usize)?;
        Some(&found.members)
    }

    pub fn enumerator(&self, name: &str) -> Option<(i64, EnumRef)> {
        self.enums.iter().find_map(|one| {
            let (_, value) = one.members.iter().find(|(known, _)| **known == *name)?;
            Some((*value, one.own.clone()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, bytes: u8, bits: Option<u8>) -> NewField {
        let ty = Type::Int { bytes, signed: false };
        NewField { name: name.into(), ty, bits, alignment: None, layout: Layout::default() }
    }

    fn places(types: &ScriptTypes, of: &StructRef) -> Vec<u32> {
        types.fields(of).expect("a struct of the script").iter().map(|field| field.bit_offset).collect()
    }

    #[test]
    fn members_are_where_c_puts_them() {
        let mut types = ScriptTypes::default();
        let members = || vec![field("a", 1, None), field("b", 4, None), field("c", 2, None), field("d", 8, None)];
        let plain = types.add_struct(StructKind::Struct, "plain", members(), Layout::default());
        assert_eq!((places(&types, &plain), plain.size), (vec![0, 32, 64, 128], 24));
        let packed = types.add_struct(StructKind::Struct, "packed", members(), Layout { is_packed: true, aligned: 0 });
        assert_eq!((places(&types, &packed), packed.size), (vec![0, 8, 40, 56], 15));
        let union = types.add_struct(StructKind::Union, "union", members(), Layout::default());
        assert_eq!((places(&types, &union), union.size), (vec![0; 4], 8));
        let bits = vec![field("a", 4, Some(3)), field("b", 4, Some(30)), field("c", 1, None)];
        let bits = types.add_struct(StructKind::Struct, "bits", bits, Layout::default());
        assert_eq!((places(&types, &bits), bits.size), (vec![0, 32, 64], 12));
        let nested = vec![field("a", 1, None), NewField { ty: Type::Struct(plain), ..field("p", 1, None) }];
        let nested = types.add_struct(StructKind::Struct, "nested", nested, Layout::default());
        assert_eq!((places(&types, &nested), nested.size), (vec![0, 64], 32));
    }
}
