//! Types and parameters out of debug information that the tests write themselves, in one unit or several.

use gimli::write::{
    Address, AttributeValue, DebugInfoRef, Dwarf, EndianVec, LineProgram, Sections as Written, Unit, UnitEntryId,
    UnitId,
};
use gimli::{DwAt, DwTag, Encoding, Format, LittleEndian};
use rtrace_lang::types::{Field, Type};

use super::*;

const SOURCE: u32 = 3;
const INT: Type = Type::Int { bytes: 4, signed: true };

/// Debug information that is being written, unit after unit.
struct Writer {
    dwarf: Dwarf,
    unit: UnitId,
}

type Attributes<'a> = &'a [(DwAt, AttributeValue)];

impl Writer {
    fn new() -> Writer {
        let mut dwarf = Dwarf::new();
        let unit = dwarf.units.add(empty_unit());
        Writer { dwarf, unit }
    }

    fn next_unit(&mut self) {
        self.unit = self.dwarf.units.add(empty_unit());
    }

    /// An entry directly below the unit.
    fn add(&mut self, tag: DwTag, name: &str, attributes: Attributes<'_>) -> UnitEntryId {
        let root = self.dwarf.units.get(self.unit).root();
        self.add_to(root, tag, name, attributes)
    }

    fn add_to(&mut self, parent: UnitEntryId, tag: DwTag, name: &str, attributes: Attributes<'_>) -> UnitEntryId {
        let unit = self.dwarf.units.get_mut(self.unit);
        let id = unit.add(parent, tag);
        let entry = unit.get_mut(id);
        if !name.is_empty() {
            entry.set(gimli::DW_AT_name, AttributeValue::String(name.into()));
        }
        for (attribute, value) in attributes {
            entry.set(*attribute, value.clone());
        }
        id
    }

    fn base(&mut self, name: &str, encoding: gimli::DwAte, bytes: u64) -> UnitEntryId {
        let attributes = [(gimli::DW_AT_encoding, AttributeValue::Encoding(encoding)), size(bytes)];
        self.add(gimli::DW_TAG_base_type, name, &attributes)
    }

    fn int(&mut self) -> UnitEntryId {
        self.base("int", gimli::DW_ATE_signed, 4)
    }

    fn structure(&mut self, name: &str, bytes: u64, members: &[(&str, UnitEntryId, u64)]) -> UnitEntryId {
        let of = self.add(gimli::DW_TAG_structure_type, name, &[size(bytes)]);
        for (name, ty, at) in members {
            self.add_to(of, gimli::DW_TAG_member, name, &[ty_is(*ty), at_byte(*at)]);
        }
        of
    }

    /// A function with that result, at that address.
    fn function(
        &mut self,
        address: u64,
        result: Option<UnitEntryId>,
        parameters: &[(&str, UnitEntryId)],
    ) -> UnitEntryId {
        let place = [
            (gimli::DW_AT_low_pc, AttributeValue::Address(Address::Constant(address))),
            (gimli::DW_AT_high_pc, AttributeValue::Udata(16)),
        ];
        let root = self.dwarf.units.get(self.unit).root();
        for (attribute, value) in &place {
            self.dwarf.units.get_mut(self.unit).get_mut(root).set(*attribute, value.clone());
        }
        let function = self.add(gimli::DW_TAG_subprogram, "f", &place);
        if let Some(result) = result {
            self.dwarf
                .units
                .get_mut(self.unit)
                .get_mut(function)
                .set(gimli::DW_AT_type, AttributeValue::UnitRef(result));
        }
        for (name, ty) in parameters {
            self.add_to(function, gimli::DW_TAG_formal_parameter, name, &[ty_is(*ty)]);
        }
        function
    }

    fn finish(mut self) -> DebugInfo {
        let mut written = Written::new(EndianVec::new(LittleEndian));
        self.dwarf.write(&mut written).unwrap();
        let mut parts = Vec::new();
        let each: gimli::write::Result<()> = written.for_each(|id, bytes| {
            parts.push((id.name().to_string(), bytes.slice().to_vec()));
            Ok(())
        });
        each.unwrap();
        DebugInfo::of_sections(Sections::of_parts(parts.into_iter()), SOURCE)
    }
}

fn empty_unit() -> Unit {
    Unit::new(Encoding { format: Format::Dwarf32, version: 5, address_size: 8 }, LineProgram::none())
}

fn size(bytes: u64) -> (DwAt, AttributeValue) {
    (gimli::DW_AT_byte_size, AttributeValue::Udata(bytes))
}

fn ty_is(ty: UnitEntryId) -> (DwAt, AttributeValue) {
    (gimli::DW_AT_type, AttributeValue::UnitRef(ty))
}

fn at_byte(at: u64) -> (DwAt, AttributeValue) {
    (gimli::DW_AT_data_member_location, AttributeValue::Udata(at))
}

fn number(attribute: DwAt, value: u64) -> (DwAt, AttributeValue) {
    (attribute, AttributeValue::Udata(value))
}

fn fields(info: &DebugInfo, name: &str) -> Vec<Field> {
    let Some(Type::Struct(of)) = info.type_named(Sought::Struct, name, None) else { panic!("no struct {name}") };
    info.members(of.id)
}

/// The parameters of the only function, which is at 0x1000.
fn passed(info: &DebugInfo) -> Vec<(String, Passed)> {
    let function = info.function_at(0x1000).unwrap();
    function.parameters.into_iter().map(|parameter| (parameter.name, parameter.passed)).collect()
}

#[test]
fn base_types() {
    let mut writer = Writer::new();
    let char_type = writer.base("char", gimli::DW_ATE_unsigned_char, 1);
    let types = [
        ("a", writer.base("signed char", gimli::DW_ATE_signed_char, 1), "int8"),
        ("b", writer.base("unsigned short", gimli::DW_ATE_unsigned, 2), "uint16"),
        ("c", writer.base("long", gimli::DW_ATE_signed, 8), "int64"),
        ("d", writer.base("_Bool", gimli::DW_ATE_boolean, 1), "bool"),
        ("e", writer.base("char16_t", gimli::DW_ATE_UTF, 2), "uint16"),
        ("f", writer.base("double", gimli::DW_ATE_float, 8), "buffer[8]"),
        ("g", writer.base("__int128", gimli::DW_ATE_signed, 16), "buffer[16]"),
        ("h", char_type, "int8"),
        ("i", writer.add(gimli::DW_TAG_pointer_type, "", &[ty_is(char_type)]), "int8 *"),
        ("j", writer.add(gimli::DW_TAG_pointer_type, "", &[]), "void *"),
    ];
    let members: Vec<(&str, UnitEntryId, u64)> = types.iter().map(|(name, ty, _)| (*name, *ty, 0)).collect();
    writer.structure("all", 64, &members);
    let info = writer.finish();
    for (field, (name, _, expected)) in fields(&info, "all").iter().zip(&types) {
        assert_eq!((&*field.name, field.ty.to_string().as_str()), (*name, *expected));
    }
}

#[test]
fn arrays_and_text() {
    let mut writer = Writer::new();
    let (letter, int) = (writer.base("char", gimli::DW_ATE_signed_char, 1), writer.int());
    let constant = writer.add(gimli::DW_TAG_const_type, "", &[ty_is(letter)]);
    let mut array = |of: UnitEntryId, lengths: &[Option<u64>]| {
        let array = writer.add(gimli::DW_TAG_array_type, "", &[ty_is(of)]);
        for length in lengths {
            let bound: Vec<_> = length.iter().map(|length| number(gimli::DW_AT_upper_bound, length - 1)).collect();
            writer.add_to(array, gimli::DW_TAG_subrange_type, "", &bound);
        }
        array
    };
    let members = [
        ("text", array(constant, &[Some(16)]), 0),
        ("lines", array(letter, &[Some(3), Some(16)]), 16),
        ("grid", array(int, &[Some(2), Some(3)]), 64),
        ("rest", array(letter, &[None]), 88),
    ];
    writer.structure("s", 88, &members);
    let info = writer.finish();
    let types: Vec<String> = fields(&info, "s").iter().map(|field| field.ty.to_string()).collect();
    assert_eq!(types, ["string[16]", "string[16][3]", "int32[3][2]", "int8[0]"]);
}

#[test]
fn bit_fields_of_both_kinds() {
    let mut writer = Writer::new();
    let int = writer.int();
    let of = writer.structure("s", 8, &[("plain", int, 0)]);
    let new = [ty_is(int), number(gimli::DW_AT_bit_size, 5), number(gimli::DW_AT_data_bit_offset, 35)];
    writer.add_to(of, gimli::DW_TAG_member, "new", &new);
    // The same bits, counted from the other end of the unit of four bytes at byte 4.
    let old = [
        ty_is(int),
        at_byte(4),
        size(4),
        number(gimli::DW_AT_bit_size, 5),
        number(gimli::DW_AT_bit_offset, 32 - 3 - 5),
    ];
    writer.add_to(of, gimli::DW_TAG_member, "old", &old);
    let info = writer.finish();
    let found: Vec<(u32, Option<u8>)> =
        fields(&info, "s").iter().map(|field| (field.bit_offset, field.bit_width)).collect();
    assert_eq!(found, [(0, None), (35, Some(5)), (35, Some(5))]);
}

#[test]
fn enums() {
    let mut writer = Writer::new();
    let plain = writer.add(gimli::DW_TAG_enumeration_type, "plain", &[size(4)]);
    let value = |value: AttributeValue| [(gimli::DW_AT_const_value, value)];
    writer.add_to(plain, gimli::DW_TAG_enumerator, "LOW", &value(AttributeValue::Data1(0)));
    writer.add_to(plain, gimli::DW_TAG_enumerator, "HIGH", &value(AttributeValue::Data1(200)));
    let mixed = writer.add(gimli::DW_TAG_enumeration_type, "mixed", &[size(4)]);
    writer.add_to(mixed, gimli::DW_TAG_enumerator, "BELOW", &value(AttributeValue::Sdata(-3)));
    let info = writer.finish();
    let (value, of) = info.enumerator_named("HIGH", None).unwrap();
    assert_eq!((value, &*of.name, of.signed), (200, "plain", false));
    assert_eq!(info.enumerators_of(of.id), [("LOW".into(), 0), ("HIGH".into(), 200)]);
    let (value, of) = info.enumerator_named("BELOW", None).unwrap();
    assert_eq!((value, &*of.name, of.signed), (-3, "mixed", true));
    assert_eq!(info.enumerator_named("NOWHERE", None), None);
    // Part of a name is no name.
    assert_eq!(info.enumerator_named("HIG", None), None);
}

#[test]
fn one_struct_of_several_units() {
    let mut writer = Writer::new();
    let declared =
        writer.add(gimli::DW_TAG_structure_type, "thing", &[(gimli::DW_AT_declaration, AttributeValue::FlagPresent)]);
    let pointer = writer.add(gimli::DW_TAG_pointer_type, "", &[ty_is(declared)]);
    writer.function(0x1000, None, &[("thing", pointer)]);
    for address in [0x2000, 0x3000] {
        writer.next_unit();
        let int = writer.int();
        let thing = writer.structure("thing", 4, &[("number", int, 0)]);
        let pointer = writer.add(gimli::DW_TAG_pointer_type, "", &[ty_is(thing)]);
        writer.function(address, None, &[("thing", pointer)]);
    }
    let info = writer.finish();
    let parameter = |address| info.function_at(address).unwrap().parameters[0].ty.clone();
    assert_eq!(parameter(0x2000), parameter(0x3000));
    // What is only declared has the members of the complete one.
    let Type::Pointer { to, space } = parameter(0x1000) else { panic!("no pointer") };
    let Type::Struct(of) = &*to else { panic!("no struct") };
    assert_eq!(space, rtrace_lang::types::Space::User);
    assert_eq!(of.id >> crate::kernel::btf::SOURCE_SHIFT, SOURCE);
    assert_eq!(
        info.members(of.id).iter().map(|field| (&*field.name, &field.ty)).collect::<Vec<_>>(),
        [("number", &INT)]
    );
    assert_eq!(info.struct_names(), ["thing"]);
    assert!(info.function_at(0x1008).is_none() && info.function_at(0x9000).is_none());
}

#[test]
fn the_unit_of_the_function_goes_first() {
    let mut writer = Writer::new();
    for (address, bytes) in [(0x1000, 4), (0x2000, 8)] {
        let int = writer.int();
        writer.structure("thing", bytes, &[("number", int, 0)]);
        writer.function(address, None, &[]);
        writer.next_unit();
    }
    let info = writer.finish();
    let bytes = |address| info.type_named(Sought::Struct, "thing", address).map(|ty| ty.size());
    assert_eq!((bytes(Some(0x1000)), bytes(Some(0x2000)), bytes(None)), (Some(4), Some(8), Some(4)));
    assert_eq!(info.type_named(Sought::Union, "thing", Some(0x1000)), None);
}

#[test]
fn an_instance_has_the_names_of_its_origin() {
    let mut writer = Writer::new();
    let int = writer.int();
    let origin = writer.add(gimli::DW_TAG_subprogram, "inlined", &[ty_is(int)]);
    let parameter = writer.add_to(origin, gimli::DW_TAG_formal_parameter, "count", &[ty_is(int)]);
    let unit = writer.unit;
    writer.next_unit();
    let function = writer.function(0x1000, None, &[]);
    let origin_is =
        |entry| [(gimli::DW_AT_abstract_origin, AttributeValue::DebugInfoRef(DebugInfoRef::Entry(unit, entry)))];
    writer.dwarf.units.get_mut(writer.unit).get_mut(function).delete(gimli::DW_AT_name);
    let [(attribute, value)] = origin_is(origin);
    writer.dwarf.units.get_mut(writer.unit).get_mut(function).set(attribute, value);
    writer.add_to(function, gimli::DW_TAG_formal_parameter, "", &origin_is(parameter));
    let info = writer.finish();
    let function = info.function_at(0x1000).unwrap();
    assert_eq!(function.returns, INT);
    let expected = Parameter { name: "count".to_string(), ty: INT, passed: Passed::Register(0) };
    assert_eq!(function.parameters, [expected]);
}

#[test]
fn where_parameters_are() {
    let mut writer = Writer::new();
    let (int, double) = (writer.int(), writer.base("double", gimli::DW_ATE_float, 8));
    let wide = writer.base("__int128", gimli::DW_ATE_signed, 16);
    // In two words for integers, one of each, and too large for any.
    let two = writer.structure("two", 16, &[("a", int, 0), ("b", int, 8)]);
    let mixed = writer.structure("mixed", 16, &[("a", double, 0), ("b", int, 8)]);
    let large = writer.structure("large", 24, &[("a", int, 0)]);
    let parameters =
        [("a", double), ("b", mixed), ("c", int), ("d", large), ("e", two), ("f", wide), ("g", int), ("h", int)];
    writer.function(0x1000, None, &parameters);
    let expected = [
        ("a", Passed::VectorRegister),
        ("b", Passed::ByValue),
        ("c", Passed::Register(1)),
        ("d", Passed::ByValue),
        ("e", Passed::ByValue),
        // Of the six registers two are left: it takes them, and nothing is left for the rest.
        ("f", Passed::ByValue),
        ("g", Passed::Stack),
        ("h", Passed::Stack),
    ];
    assert_eq!(passed(&writer.finish()), expected.map(|(name, passed)| (name.to_string(), passed)));
}

#[test]
fn a_large_result_takes_the_first_register() {
    let with_result = |bytes: u64| {
        let mut writer = Writer::new();
        let int = writer.int();
        let result = writer.structure("result", bytes, &[("a", int, 0)]);
        writer.function(0x1000, Some(result), &[("x", int)]);
        passed(&writer.finish())[0].1
    };
    assert_eq!((with_result(16), with_result(24)), (Passed::Register(0), Passed::Register(1)));
    let mut writer = Writer::new();
    let (int, long_double) = (writer.int(), writer.base("long double", gimli::DW_ATE_float, 16));
    writer.function(0x1000, Some(long_double), &[("x", int), ("y", long_double), ("z", int)]);
    let expected = [("x", Passed::Register(0)), ("y", Passed::ByValue), ("z", Passed::Register(1))];
    assert_eq!(passed(&writer.finish()), expected.map(|(name, passed)| (name.to_string(), passed)));
}

#[test]
fn objects_of_cpp() {
    let with_method = |method: &str, convention: Option<gimli::DwCc>| {
        let mut writer = Writer::new();
        let int = writer.int();
        let text = writer.structure("text<char>", 32, &[("length", int, 0)]);
        writer.add_to(text, gimli::DW_TAG_subprogram, method, &[]);
        if let Some(convention) = convention {
            let value = AttributeValue::CallingConvention(convention);
            writer.dwarf.units.get_mut(writer.unit).get_mut(text).set(gimli::DW_AT_calling_convention, value);
        }
        // What has such an object as a part is one, too.
        let order = writer.structure("order", 32, &[("text", text, 0)]);
        writer.function(0x1000, None, &[("object", if convention.is_some() { text } else { order }), ("n", int)]);
        passed(&writer.finish())[1].1
    };
    assert_eq!(with_method("text", None), Passed::Unknown);
    assert_eq!(with_method("~text", None), Passed::Unknown);
    assert_eq!(with_method("length_of", None), Passed::Register(0));
    assert_eq!(with_method("text", Some(gimli::DW_CC_pass_by_reference)), Passed::Register(1));
    assert_eq!(with_method("text", Some(gimli::DW_CC_pass_by_value)), Passed::Register(0));
}

#[test]
fn other_conventions_are_not_guessed() {
    let of_language = |language: gimli::DwLang, with_struct: bool| {
        let mut writer = Writer::new();
        let root = writer.dwarf.units.get(writer.unit).root();
        let value = AttributeValue::Language(language);
        writer.dwarf.units.get_mut(writer.unit).get_mut(root).set(gimli::DW_AT_language, value);
        let int = writer.int();
        let pair = writer.structure("pair", 16, &[("a", int, 0), ("b", int, 8)]);
        writer.function(0x1000, None, &[("x", if with_struct { pair } else { int }), ("y", int)]);
        passed(&writer.finish())[1].1
    };
    assert_eq!(of_language(gimli::DW_LANG_C11, true), Passed::Register(2));
    assert_eq!(of_language(gimli::DW_LANG_Rust, false), Passed::Register(1));
    assert_eq!(of_language(gimli::DW_LANG_Rust, true), Passed::Unknown);
    assert_eq!(of_language(gimli::DW_LANG_Go, false), Passed::Unknown);
}

#[test]
fn damaged_information_is_no_panic() {
    let mut writer = Writer::new();
    let int = writer.int();
    let array = writer.add(gimli::DW_TAG_array_type, "", &[ty_is(int)]);
    writer.add_to(array, gimli::DW_TAG_subrange_type, "", &[number(gimli::DW_AT_upper_bound, 1)]);
    let thing = writer.structure("thing", 16, &[("number", int, 0), ("numbers", array, 4)]);
    let bits = [ty_is(int), at_byte(12), size(4), number(gimli::DW_AT_bit_size, 5), number(gimli::DW_AT_bit_offset, 3)];
    writer.add_to(thing, gimli::DW_TAG_member, "bits", &bits);
    writer.function(0x1000, Some(int), &[("x", thing), ("y", int)]);
    let info = writer.finish();
    let names = [".debug_info", ".debug_abbrev", ".debug_str", ".debug_line"];
    let whole: Vec<(String, Vec<u8>)> =
        names.iter().map(|name| (name.to_string(), info.sections.get(name).to_vec())).collect();
    for damaged in 0..whole[0].1.len() {
        for value in [0, 1, 5, 0x13, 0x7f, 0xff] {
            let mut parts = whole.clone();
            parts[0].1[damaged] = value;
            let info = DebugInfo::of_sections(Sections::of_parts(parts.into_iter()), SOURCE);
            info.function_at(0x1000);
            if let Some(Type::Struct(of)) = info.type_named(Sought::Struct, "thing", Some(0x1000)) {
                info.members(of.id);
            }
        }
    }
    assert!(!whole[0].1.is_empty());
}
