//! Where a function's parameters are when it is entered: the calling convention of System V for x86-64 (its psABI,
//! 3.2.3), told from the types that DWARF has.

use gimli::AttributeValue;
use rtrace_lang::types::Type;

use super::DebugInfo;
use super::view::{Entry, View};

/// Registers that carry integers and pointers.
const REGISTERS: u32 = 6;

/// Bytes of a struct that is passed in registers.
const LARGEST_IN_REGISTERS: u32 = 16;

/// How deep structs in structs are looked into.
const DEEPEST: u32 = 16;

/// A value of the old floating-point unit: it goes into no register that carries arguments.
const LONG_DOUBLE: &str = "long double";

/// What a function takes and gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    pub name: String,
    pub parameters: Vec<Parameter>,
    /// `Type::Void` for nothing.
    pub returns: Type,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parameter {
    /// May be empty.
    pub name: String,
    pub ty: Type,
    pub passed: Passed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passed {
    /// In the register of that number, in the order of the convention.
    Register(u32),
    /// A floating-point number.
    VectorRegister,
    /// A struct, or another value that is no single word.
    ByValue,
    /// The registers were all taken.
    Stack,
    /// The function, or its language, has a convention of its own.
    Unknown,
}

/// What a value takes up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    /// A register for a scalar.
    Integer,
    /// A vector register for a floating-point number.
    Vector,
    /// A struct in registers, so many of which are those for integers.
    Parts { integers: u32 },
    /// A copy on the stack.
    Memory,
    /// A pointer to a copy (a C++ object with a copy constructor).
    Reference,
    /// A C++ object that is a copy or a pointer to one; its constructors would say which.
    Unclear,
}

impl DebugInfo {
    pub(super) fn function<'a>(&'a self, view: &View<'a>, entry: &Entry<'a>) -> Function {
        let returns = self.type_of(view, entry);
        let class_of_result = view.type_of(entry).map(|of| match self.class_of(view, &of, &returns) {
            // Nothing of that size is returned in registers.
            Class::Unclear if returns.size() > LARGEST_IN_REGISTERS => Class::Memory,
            class => class,
        });
        let language = language(entry);
        // A function that only its own program calls may have a convention that the compiler made up.
        let is_private = matches!(
            view.inherited(entry, gimli::DW_AT_calling_convention).map(|(_, value)| value),
            Some(AttributeValue::CallingConvention(gimli::DW_CC_nocall))
        );
        let is_rust = language == Some(gimli::DW_LANG_Rust);
        // Rust follows C for scalars; how it passes and returns structs is its own affair.
        let by_own_rules =
            |class| class == Class::Unclear || is_rust && !matches!(class, Class::Integer | Class::Vector);
        let mut is_known =
            !is_private && language != Some(gimli::DW_LANG_Go) && !class_of_result.is_some_and(by_own_rules);
        // The caller says where a large result goes.
        let is_float = view.type_of(entry).is_some_and(|of| is_float(&stripped(view, of)));
        let mut taken = u32::from(!is_float && matches!(class_of_result, Some(Class::Memory | Class::Reference)));
        let children = view.children(entry);
        let parameters = children.iter().filter(|child| child.tag() == gimli::DW_TAG_formal_parameter).map(|child| {
            let ty = self.type_of(view, child);
            let class = view.type_of(child).map_or(Class::Memory, |of| self.class_of(view, &of, &ty));
            is_known &= !by_own_rules(class);
            let passed = if is_known { pass(class, &mut taken) } else { Passed::Unknown };
            Parameter { name: view.name(child), ty, passed }
        });
        let parameters = parameters.collect();
        Function { name: view.name(entry), parameters, returns }
    }

    fn class_of<'a>(&'a self, view: &View<'a>, entry: &Entry<'a>, ty: &Type) -> Class {
        let entry = &stripped(view, entry.clone());
        match entry.raw.attr_value(gimli::DW_AT_calling_convention) {
            Some(AttributeValue::CallingConvention(gimli::DW_CC_pass_by_reference)) => return Class::Reference,
            Some(_) => {}
            None if self.is_plain(view, entry, 0) => {}
            None => return Class::Unclear,
        }
        if ty.is_scalar() {
            return Class::Integer;
        }
        if entry.has(gimli::DW_AT_GNU_vector) || is_float(entry) && view.name(entry) != LONG_DOUBLE {
            return Class::Vector;
        }
        let size = ty.size();
        let mut has_integer = [false; 2];
        if size > LARGEST_IN_REGISTERS
            || entry.has(gimli::DW_AT_declaration)
            || !self.mark_integers(view, entry, 0, &mut has_integer, 0)
        {
            return Class::Memory;
        }
        let words = &has_integer[..size.div_ceil(8) as usize];
        Class::Parts { integers: words.iter().filter(|integer| **integer).count() as u32 }
    }

    /// False for an object of C++ that may not be copied byte by byte: it has a constructor, a destructor or virtual
    /// functions, or a part of it has.
    fn is_plain<'a>(&'a self, view: &View<'a>, of: &Entry<'a>, depth: u32) -> bool {
        let of = stripped(view, of.clone());
        match of.tag() {
            _ if depth > DEEPEST => false,
            gimli::DW_TAG_array_type => {
                view.type_of(&of).is_none_or(|element| self.is_plain(view, &element, depth + 1))
            }
            gimli::DW_TAG_structure_type | gimli::DW_TAG_class_type | gimli::DW_TAG_union_type => {
                let name = view.name(&of);
                let constructor = name.split('<').next().unwrap_or_default();
                let is_special = |child: &Entry<'a>| {
                    let name = view.name(child);
                    child.tag() == gimli::DW_TAG_subprogram
                        && (name == constructor || name.starts_with('~') || child.has(gimli::DW_AT_virtuality))
                };
                let part_is_plain =
                    |member: &Entry<'a>| view.type_of(member).is_none_or(|of| self.is_plain(view, &of, depth + 1));
                !view.children(&of).iter().any(is_special) && self.member_entries(view, &of).iter().all(part_is_plain)
            }
            _ => true,
        }
    }

    /// Marks the words of a value that have a part of an integer; the value begins at `offset` in them. False where
    /// it does not go into registers at all.
    fn mark_integers<'a>(
        &'a self,
        view: &View<'a>,
        of: &Entry<'a>,
        offset: u32,
        words: &mut [bool; 2],
        depth: u32,
    ) -> bool {
        let of = stripped(view, of.clone());
        let size = self.convert(view, &of, 0).size();
        if offset.saturating_add(size) > LARGEST_IN_REGISTERS || depth > DEEPEST {
            return false;
        }
        match of.tag() {
            gimli::DW_TAG_structure_type | gimli::DW_TAG_class_type | gimli::DW_TAG_union_type => {
                self.member_entries(view, &of).iter().all(|member| {
                    let Some(field) = self.field(view, member) else { return false };
                    let at = offset + field.bit_offset / 8;
                    match view.type_of(member) {
                        Some(_) if field.bit_width.is_some() && at < LARGEST_IN_REGISTERS => {
                            words[(at / 8) as usize] = true;
                            true
                        }
                        Some(of) if field.bit_width.is_none() => self.mark_integers(view, &of, at, words, depth + 1),
                        Some(_) | None => false,
                    }
                })
            }
            gimli::DW_TAG_array_type => {
                let Some(element) = view.type_of(&of) else { return false };
                let step = self.convert(view, &element, 0).size().max(1);
                (0..size / step)
                    .all(|index| self.mark_integers(view, &element, offset + index * step, words, depth + 1))
            }
            // In a packed struct.
            _ if !offset.is_multiple_of(size.max(1)) => false,
            _ if is_float(&of) => view.name(&of) != LONG_DOUBLE,
            _ => {
                for at in (offset..offset + size).step_by(8) {
                    words[(at / 8) as usize] = true;
                }
                true
            }
        }
    }
}

fn pass(class: Class, taken: &mut u32) -> Passed {
    match class {
        Class::Vector => Passed::VectorRegister,
        // After an unclear one nothing is known; it is not asked for here.
        Class::Memory | Class::Unclear => Passed::ByValue,
        Class::Integer if *taken < REGISTERS => {
            *taken += 1;
            Passed::Register(*taken - 1)
        }
        Class::Integer => Passed::Stack,
        Class::Reference => {
            *taken = (*taken + 1).min(REGISTERS);
            Passed::ByValue
        }
        // A struct goes into registers as a whole or not at all.
        Class::Parts { integers } => {
            if *taken + integers <= REGISTERS {
                *taken += integers;
            }
            Passed::ByValue
        }
    }
}

/// The type behind typedefs and qualifiers.
fn stripped<'a>(view: &View<'a>, mut entry: Entry<'a>) -> Entry<'a> {
    const MOST: u32 = 32;
    for _ in 0..MOST {
        let is_name = matches!(
            entry.tag(),
            gimli::DW_TAG_typedef
                | gimli::DW_TAG_const_type
                | gimli::DW_TAG_volatile_type
                | gimli::DW_TAG_restrict_type
                | gimli::DW_TAG_atomic_type
        );
        match view.type_of(&entry).filter(|_| is_name) {
            Some(next) => entry = next,
            None => break,
        }
    }
    entry
}

fn is_float(entry: &Entry<'_>) -> bool {
    matches!(
        entry.raw.attr_value(gimli::DW_AT_encoding),
        Some(AttributeValue::Encoding(gimli::DW_ATE_float | gimli::DW_ATE_complex_float))
    )
}

fn language(entry: &Entry<'_>) -> Option<gimli::DwLang> {
    let root = entry.unit.entry(entry.unit.header.root_offset()).ok()?;
    match root.attr_value(gimli::DW_AT_language)? {
        AttributeValue::Language(language) => Some(language),
        _ => None,
    }
}
