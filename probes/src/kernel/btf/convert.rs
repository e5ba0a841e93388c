//! From BTF records to the language's types. Never looks a name up; it follows ids.

use std::sync::Arc;

use rtrace_lang::types::{EnumRef, Field, Space, StructKind, StructRef, Type};

use super::{Btf, Kind, Record, SOURCE_SHIFT};

/// How deep a chain of types is followed: the kernel's own limit is 32 (kernel/bpf/btf.c, `MAX_RESOLVE_DEPTH`).
pub(super) const MAX_DEPTH: u32 = 32;

/// Bits of the word of an integer (include/uapi/linux/btf.h).
const INT_SIGNED: u32 = 1 << 24;
const INT_BOOL: u32 = 1 << 26;

/// Bytes of a member, an enumerator of both sizes, and a parameter.
pub(super) const MEMBER: usize = 12;
const ENUMERATOR: usize = 8;
pub(super) const ENUMERATOR64: usize = 12;
pub(super) const PARAMETER: usize = 8;

/// What a function takes and gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prototype {
    pub parameters: Vec<Parameter>,
    /// `Type::Void` for nothing; its name is empty.
    pub returns: Parameter,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parameter {
    /// May be empty.
    pub name: Arc<str>,
    pub ty: Type,
    pub access: Access,
}

/// How a typed program may load such a word from its context (kernel/bpf/btf.c, `btf_ctx_access`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// As it is.
    Load,
    /// A pointer to integers: newer kernels let it be loaded as it is.
    LoadIfIntegerPointer,
    /// Not at all.
    Never,
}

impl Btf {
    /// The id as it leaves this module: with the number of the blob that has the type.
    fn outer_id(&self, id: u32) -> u32 {
        if id < self.first_id { id } else { id | self.source << SOURCE_SHIFT }
    }

    /// The language's type for that id; `const`, `volatile` and typedefs are looked through.
    pub fn type_of(&self, id: u32) -> Type {
        self.convert(id, 0)
    }

    fn convert(&self, id: u32, depth: u32) -> Type {
        if id == 0 || depth > MAX_DEPTH {
            return Type::Void;
        }
        let Some(record) = self.record(id) else { return Type::Void };
        match record.kind {
            Kind::Int => self.integer(&record),
            Kind::Ptr => {
                let (to, space) = self.pointee(record.size_or_type);
                Type::pointer(self.convert(to, depth + 1), space)
            }
            Kind::Array => {
                let (element, len) = (record.word(0, 0, 0), record.word(0, 0, 2));
                match self.convert(element, depth + 1) {
                    // A flexible array member has no length of its own and is no buffer.
                    Type::Int { bytes: 1, signed: true } if len > 0 && self.is_char(element) => Type::Str(len),
                    of => Type::Array { of: Arc::new(of), len },
                }
            }
            Kind::Struct | Kind::Union => Type::Struct(self.struct_ref(&record).expect("the kind was just seen")),
            Kind::Enum | Kind::Enum64 => Type::Enum(self.enum_ref(&record).expect("the kind was just seen")),
            Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag => {
                self.convert(record.size_or_type, depth + 1)
            }
            Kind::Float => Type::Buffer(record.size_or_type),
            Kind::Fwd | Kind::Func | Kind::FuncProto | Kind::Var | Kind::Datasec | Kind::DeclTag => Type::Void,
        }
    }

    fn integer(&self, record: &Record<'_>) -> Type {
        let word = record.word(0, 0, 0);
        match record.size_or_type {
            1 if word & INT_BOOL != 0 => Type::Bool,
            // Compilers differ in whether they call `char` signed; it is text in either case.
            1 if self.name(record) == "char" => Type::Int { bytes: 1, signed: true },
            bytes @ (1 | 2 | 4 | 8) => Type::Int { bytes: bytes as u8, signed: word & INT_SIGNED != 0 },
            bytes => Type::Buffer(bytes),
        }
    }

    fn is_char(&self, id: u32) -> bool {
        self.strip(id).is_some_and(|record| record.kind == Kind::Int && self.name(&record) == "char")
    }

    /// The type behind typedefs and qualifiers.
    pub(super) fn strip(&self, mut id: u32) -> Option<Record<'_>> {
        for _ in 0..MAX_DEPTH {
            let record = self.record(id)?;
            match record.kind {
                Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag => {
                    id = record.size_or_type;
                }
                _ => return Some(record),
            }
        }
        None
    }

    /// What a pointer points to, without the tags that stand between.
    fn pointee(&self, mut id: u32) -> (u32, Space) {
        let mut space = Space::Kernel;
        for _ in 0..MAX_DEPTH {
            match self.record(id) {
                Some(tag) if tag.kind == Kind::TypeTag => {
                    if self.name(&tag) == "user" {
                        space = Space::User;
                    }
                    id = tag.size_or_type;
                }
                _ => break,
            }
        }
        (id, space)
    }

    /// None for a record of another kind.
    pub fn struct_ref(&self, record: &Record<'_>) -> Option<StructRef> {
        let kind = match record.kind {
            Kind::Struct => StructKind::Struct,
            Kind::Union => StructKind::Union,
            _ => return None,
        };
        let name = Arc::from(self.name(record));
        Some(StructRef { kind, name, id: self.outer_id(record.id), size: record.size_or_type })
    }

    /// None for a record of another kind.
    pub fn enum_ref(&self, record: &Record<'_>) -> Option<EnumRef> {
        if !matches!(record.kind, Kind::Enum | Kind::Enum64) {
            return None;
        }
        let name = Arc::from(self.name(record));
        let size = record.size_or_type as u8;
        Some(EnumRef { name, id: self.outer_id(record.id), size, signed: self.is_signed_enum(record) })
    }

    /// BTF of kernels before 6.0 does not tell; there a small negative number does.
    pub(super) fn is_signed_enum(&self, record: &Record<'_>) -> bool {
        const SMALLEST: i32 = -4096;
        let is_negative = |index| (SMALLEST..0).contains(&(record.word(index, ENUMERATOR, 1) as i32));
        record.flag
            || record.kind == Kind::Enum
                && (0..record.tail.len() / ENUMERATOR).any(is_negative)
                && !self.has_signed_enums()
    }

    /// Whether BTF tells which enums are signed.
    fn has_signed_enums(&self) -> bool {
        let is_told = |record: Record<'_>| record.kind == Kind::Enum64 || record.kind == Kind::Enum && record.flag;
        match &self.base {
            Some(base) => base.has_signed_enums(),
            None => *self.has_signed_enums.get_or_init(|| self.records().any(is_told)),
        }
    }

    /// The members of a struct or union in order; none for another kind.
    pub fn members(&self, id: u32) -> Vec<Field> {
        let Some(record) = self.record(id) else { return Vec::new() };
        if !matches!(record.kind, Kind::Struct | Kind::Union) {
            return Vec::new();
        }
        (0..record.tail.len() / MEMBER)
            .map(|index| {
                let name = Arc::from(self.string(record.word(index, MEMBER, 0)));
                let member_type = record.word(index, MEMBER, 1);
                let ty = self.convert(member_type, 0);
                let (bit_offset, bit_width) = self.member_place(&record, index);
                Field { name, ty, bit_offset, bit_width }
            })
            .collect()
    }

    /// The first bit of a member of a struct or union, and how many it has where it is a bit field.
    pub(super) fn member_place(&self, record: &Record<'_>, index: usize) -> (u32, Option<u8>) {
        let place = record.word(index, MEMBER, 2);
        if record.flag {
            let width = (place >> 24) as u8;
            return (place & 0x00ff_ffff, (width > 0).then_some(width));
        }
        // Without the flag a bit field's place and width are those of its own integer type.
        match self.strip(record.word(index, MEMBER, 1)) {
            Some(int) if int.kind == Kind::Int => {
                let word = int.word(0, 0, 0);
                let width = word & 0xff;
                // A `bool` takes one bit of its byte and is no bit field.
                let is_part = word & INT_BOOL == 0 && width < int.size_or_type.saturating_mul(8);
                (place.saturating_add(word >> 16 & 0xff), is_part.then_some(width as u8))
            }
            _ => (place, None),
        }
    }

    /// Names and values of an enum in order; none for another kind.
    pub fn enumerators_of(&self, id: u32) -> Vec<(Arc<str>, i64)> {
        let Some(record) = self.record(id) else { return Vec::new() };
        self.enumerator_words(&record).map(|(name, value)| (Arc::from(self.string(name)), value)).collect()
    }

    /// Name offsets and values of an enum.
    pub(super) fn enumerator_words<'a>(&'a self, record: &'a Record<'a>) -> impl Iterator<Item = (u32, i64)> + 'a {
        let part = match record.kind {
            Kind::Enum => ENUMERATOR,
            Kind::Enum64 => ENUMERATOR64,
            _ => usize::MAX,
        };
        let signed = self.is_signed_enum(record);
        (0..record.tail.len() / part).map(move |index| {
            let low = record.word(index, part, 1);
            let value = match record.kind {
                Kind::Enum64 => i64::from(low) | i64::from(record.word(index, part, 2)) << 32,
                _ if signed => i64::from(low as i32),
                _ => i64::from(low),
            };
            (record.word(index, part, 0), value)
        })
    }

    /// The value of an enumerator and the enum that has it, of this blob only.
    pub fn enumerator_named(&self, name: &str) -> Option<(i64, EnumRef)> {
        let known = self.enumerators.lock().expect("no holder panics").get(name).copied();
        let found = match known {
            Some(found) => found,
            None => {
                let found = self.search_enumerator(name);
                self.enumerators.lock().expect("no holder panics").insert(Box::from(name), found);
                found
            }
        };
        let (value, id) = found?;
        Some((value, self.enum_ref(&self.record(id)?)?))
    }

    fn search_enumerator(&self, name: &str) -> Option<(i64, u32)> {
        let own = super::string_offset(self.strings(), name).map(|at| at + self.first_string);
        let inherited = self.base.as_ref().and_then(|base| super::string_offset(base.strings(), name));
        let wanted = own.or(inherited)?;
        for record in self.records().filter(|record| matches!(record.kind, Kind::Enum | Kind::Enum64)) {
            let value = self.enumerator_words(&record).find(|(at, _)| *at == wanted).map(|(_, value)| value);
            if let Some(value) = value {
                return Some((value, record.id));
            }
        }
        None
    }

    /// What a function (`FUNC`), a function type or a pointer to one, or a typedef of those takes and gives.
    pub fn prototype(&self, id: u32) -> Option<Prototype> {
        let mut record = self.strip(id)?;
        for _ in 0..MAX_DEPTH {
            match record.kind {
                Kind::FuncProto => {
                    let parameter = |name: u32, id: u32| Parameter {
                        name: Arc::from(self.string(name)),
                        ty: self.parameter_type(id),
                        access: self.access(id),
                    };
                    let parameters = (0..record.tail.len() / PARAMETER)
                        .map(|index| parameter(record.word(index, PARAMETER, 0), record.word(index, PARAMETER, 1)))
                        .collect();
                    return Some(Prototype { parameters, returns: parameter(0, record.size_or_type) });
                }
                Kind::Func | Kind::Ptr => record = self.strip(record.size_or_type)?,
                _ => return None,
            }
        }
        None
    }

    /// The sizes of a function's parameters in bytes, without their types; 0 for a union, and for one of no type, which is the
    /// `...` of a variadic function: trampolines take neither. None for what is no function.
    pub fn parameter_sizes(&self, id: u32) -> Option<impl Iterator<Item = u32>> {
        let function = self.record(id).filter(|record| record.kind == Kind::Func)?;
        let prototype = self.record(function.size_or_type).filter(|record| record.kind == Kind::FuncProto)?;
        let count = prototype.tail.len() / PARAMETER;
        let size = move |index| {
            let id = prototype.word(index, PARAMETER, 1);
            let is_union = self.strip(id).is_some_and(|record| record.kind == Kind::Union);
            if is_union { 0 } else { self.size_of(id) }
        };
        Some((0..count).map(size))
    }

    /// Whether a function returns a struct or union, as a whole.
    pub fn returns_struct(&self, id: u32) -> bool {
        let function = self.record(id).filter(|record| record.kind == Kind::Func);
        let prototype = function.and_then(|function| self.record(function.size_or_type));
        let returned = prototype.and_then(|prototype| self.strip(prototype.size_or_type));
        returned.is_some_and(|record| matches!(record.kind, Kind::Struct | Kind::Union))
    }

    /// Bytes of a value of that type; 0 where it has none.
    pub(super) fn size_of(&self, mut id: u32) -> u32 {
        let mut count = 1_u32;
        for _ in 0..MAX_DEPTH {
            let Some(record) = self.strip(id) else { return 0 };
            let bytes = match record.kind {
                Kind::Array => {
                    count = count.saturating_mul(record.word(0, 0, 2));
                    id = record.word(0, 0, 0);
                    continue;
                }
                Kind::Int | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Float => record.size_or_type,
                Kind::Ptr => 8,
                Kind::Fwd
                | Kind::Typedef
                | Kind::Volatile
                | Kind::Const
                | Kind::Restrict
                | Kind::Func
                | Kind::FuncProto
                | Kind::Var
                | Kind::Datasec
                | Kind::DeclTag
                | Kind::TypeTag => 0,
            };
            return bytes.saturating_mul(count);
        }
        0
    }

    /// Where the kernel's BTF carries no address-space tags, a parameter that points to plain data may well point into
    /// user memory: the address decides. Structs are nearly always the kernel's own.
    fn parameter_type(&self, id: u32) -> Type {
        match self.type_of(id) {
            Type::Pointer { to, space: Space::Kernel } if !matches!(*to, Type::Struct(_)) && !self.has_user_tags() => {
                Type::Pointer { to, space: Space::Unknown }
            }
            other => other,
        }
    }

    fn access(&self, id: u32) -> Access {
        let Some(record) = self.strip(id) else { return Access::Never };
        match record.kind {
            Kind::Int | Kind::Enum | Kind::Enum64 => Access::Load,
            Kind::Ptr if record.size_or_type == 0 => Access::Load,
            Kind::Ptr => match self.strip(record.size_or_type).map(|to| to.kind) {
                Some(Kind::Struct | Kind::Union) => Access::Load,
                Some(Kind::Int) => Access::LoadIfIntegerPointer,
                // `const void *` ends in no record: 6.12 still refuses it, unlike `void *`.
                Some(_) | None => Access::Never,
            },
            _ => Access::Never,
        }
    }

    pub(super) fn has_user_tags(&self) -> bool {
        match &self.base {
            Some(base) => base.has_user_tags(),
            None => *self.has_user_tags.get_or_init(|| self.find(Kind::TypeTag, "user").is_some()),
        }
    }
}
