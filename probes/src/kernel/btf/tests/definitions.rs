//! What C calls the types of a blob that has all forms of declarations.

use super::Writer;
use crate::kernel::btf::{Btf, Kind};

impl Writer {
    fn named(&mut self, kind: u32, name: &str, to: u32) -> u32 {
        self.record(name, kind, false, 0, to, &[])
    }

    fn pointer(&mut self, to: u32) -> u32 {
        self.named(2, "", to)
    }

    fn array(&mut self, of: u32, length: u32) -> u32 {
        self.record("", 3, false, 0, 0, &[of, 1, length])
    }

    fn function(&mut self, returns: u32, parameters: &[(&str, u32)]) -> u32 {
        let tail: Vec<u32> = parameters.iter().flat_map(|(name, id)| [self.string(name), *id]).collect();
        self.record("", 13, false, parameters.len() as u32, returns, &tail)
    }

    /// A struct (4) or union (5) of names, types, first bits and, for bit fields, widths.
    fn members(&mut self, kind: u32, name: &str, bytes: u32, members: &[(&str, u32, u32, u32)]) -> u32 {
        let words = |(name, id, bit, width): &(&str, u32, u32, u32)| [self.string(name), *id, width << 24 | bit];
        let tail: Vec<u32> = members.iter().flat_map(words).collect();
        self.record(name, kind, true, members.len() as u32, bytes, &tail)
    }

    fn enumeration(&mut self, name: &str, is_signed: bool, bytes: u32, values: &[(&str, u32)]) -> u32 {
        let tail: Vec<u32> = values.iter().flat_map(|(name, value)| [self.string(name), *value]).collect();
        self.record(name, 6, is_signed, values.len() as u32, bytes, &tail)
    }

    fn enumeration64(&mut self, name: &str, is_signed: bool, values: &[(&str, u64)]) -> u32 {
        let words = |(name, value): &(&str, u64)| [self.string(name), *value as u32, (*value >> 32) as u32];
        let tail: Vec<u32> = values.iter().flat_map(words).collect();
        self.record(name, 19, is_signed, values.len() as u32, 8, &tail)
    }
}

/// `int` is 1 and `char` is 2.
fn begun() -> Writer {
    let mut writer = Writer::new();
    assert_eq!(writer.record("int", 1, false, 0, 4, &[1 << 24 | 32]), 1);
    assert_eq!(writer.record("char", 1, false, 0, 1, &[8]), 2);
    writer
}

fn defined(writer: Writer, kind: Kind, name: &str) -> String {
    let btf = Btf::from_bytes(writer.finish(), 0).unwrap();
    btf.definition(&btf.find(kind, name).unwrap()).unwrap()
}

/// One member of that type, as it is declared.
fn declared(make: impl FnOnce(&mut Writer) -> u32) -> String {
    let mut writer = begun();
    let id = make(&mut writer);
    writer.members(5, "holder", 8, &[("x", id, 0, 0)]);
    let text = defined(writer, Kind::Union, "holder");
    let member = text.strip_prefix("union holder {\n\t").and_then(|rest| rest.strip_suffix("\n};"));
    member.unwrap_or(&text).to_string()
}

#[test]
fn names_and_pointers() {
    assert_eq!(declared(|_| 1), "int x;");
    assert_eq!(declared(|to| to.named(8, "pid_t", 1)), "pid_t x;");
    assert_eq!(declared(|to| to.pointer(0)), "void *x;");
    let pointer = declared(|to| {
        let one = to.pointer(1);
        to.pointer(one)
    });
    assert_eq!(pointer, "int **x;");
    assert_eq!(declared(|to| to.record("pool", 7, false, 0, 0, &[])), "struct pool x;");
    assert_eq!(declared(|to| to.record("pool", 7, true, 0, 0, &[])), "union pool x;");
    assert_eq!(declared(|to| to.named(16, "double", 8)), "double x;");
}

#[test]
fn qualifiers_stand_at_what_they_qualify() {
    assert_eq!(declared(|to| to.named(10, "", 0)), "const void x;");
    let both = declared(|to| {
        let volatile = to.named(9, "", 1);
        to.named(10, "", volatile)
    });
    assert_eq!(both, "volatile const int x;");
    let pointers = declared(|to| {
        let inner = to.named(10, "", 2);
        let pointer = to.pointer(inner);
        let constant = to.named(10, "", pointer);
        let outer = to.pointer(constant);
        to.named(11, "", outer)
    });
    assert_eq!(pointers, "const char * const * restrict x;");
    let tagged = declared(|to| {
        let tag = to.named(18, "user", 2);
        to.pointer(tag)
    });
    assert_eq!(tagged, "char __attribute__((btf_type_tag(\"user\"))) *x;");
    let attribute = declared(|to| {
        let tag = to.record("noderef", 18, true, 0, 1, &[]);
        to.pointer(tag)
    });
    assert_eq!(attribute, "int __attribute__((noderef)) *x;");
}

#[test]
fn arrays() {
    let of_arrays = declared(|to| {
        let inner = to.array(1, 3);
        to.array(inner, 2)
    });
    assert_eq!(of_arrays, "int x[2][3];");
    let to_array = declared(|to| {
        let array = to.array(1, 3);
        to.pointer(array)
    });
    assert_eq!(to_array, "int (*x)[3];");
    let of_pointers = declared(|to| {
        let pointer = to.pointer(1);
        // As gcc writes it: the qualifier of what is in the array, once more.
        let array = to.array(pointer, 0);
        to.named(10, "", array)
    });
    assert_eq!(of_pointers, "int *x[0];");
    let from_pointers = declared(|to| {
        let pointer = to.pointer(1);
        let array = to.array(pointer, 4);
        to.pointer(array)
    });
    assert_eq!(from_pointers, "int *(*x)[4];");
}

#[test]
fn functions() {
    let plain = declared(|to| {
        let function = to.function(0, &[]);
        to.pointer(function)
    });
    assert_eq!(plain, "void (*x)(void);");
    let named = declared(|to| {
        let text = to.named(10, "", 2);
        let text = to.pointer(text);
        let array = to.array(1, 4);
        let array = to.pointer(array);
        let pointer = to.pointer(1);
        let function = to.function(pointer, &[("format", text), ("", array), ("", 0)]);
        let never_returns = to.named(9, "", function);
        to.pointer(never_returns)
    });
    assert_eq!(named, "int * (*x)(const char *format, int(*)[4], ...);");
    let table = declared(|to| {
        let function = to.function(0, &[("", 1)]);
        let pointer = to.pointer(function);
        let constant = to.named(10, "", pointer);
        to.array(constant, 4)
    });
    assert_eq!(table, "void (* const x[4])(int);");
    let returned = declared(|to| {
        let inner = to.function(1, &[("", 2)]);
        let pointer = to.pointer(inner);
        let outer = to.function(pointer, &[("", 1)]);
        to.pointer(outer)
    });
    assert_eq!(returned, "int (* (*x)(int))(char);");
}

#[test]
fn what_has_no_name_is_defined_in_place() {
    let mut writer = begun();
    let state = writer.enumeration("", false, 4, &[("OFF", 0), ("ON", 1)]);
    let inner = writer.members(5, "", 4, &[("word", 1, 0, 0), ("state", state, 0, 0)]);
    let slots = writer.members(4, "", 4, &[("", inner, 0, 0)]);
    let slots = writer.array(slots, 2);
    writer.members(4, "outer", 8, &[("slots", slots, 0, 0)]);
    let expected = "struct outer {\n\tstruct {\n\t\tunion {\n\t\t\tint word;\n\t\t\tenum {\n\t\t\t\tOFF = 0,\n\t\t\t\tON = 1,\n\
                    \t\t\t} state;\n\t\t};\n\t} slots[2];\n};";
    assert_eq!(defined(writer, Kind::Struct, "outer"), expected);
}

#[test]
fn layouts() {
    let of = |bytes: u32, members: &[(&str, u32, u32, u32)]| {
        let mut writer = begun();
        assert_eq!(writer.pointer(0), 3);
        writer.members(4, "it", bytes, members);
        let text = defined(writer, Kind::Struct, "it");
        let inside = text.strip_prefix("struct it {").expect("its name");
        inside.replace("\n\t", " ").replace('\n', "")
    };
    assert_eq!(of(0, &[]), "};");
    assert_eq!(of(4, &[]), " int: 32;};");
    // A hole that the alignment of the next member makes is not written, nor one at the end.
    assert_eq!(of(24, &[("a", 2, 0, 0), ("b", 3, 64, 0), ("c", 1, 128, 0)]), " char a; void *b; int c;};");
    // Two bytes where one would do; a member on the next word, a struct on the next cache line.
    assert_eq!(of(8, &[("a", 2, 0, 0), ("b", 2, 16, 0), ("c", 1, 32, 0)]), " char a; short: 0; char b; int c;};");
    assert_eq!(of(24, &[("a", 1, 0, 0), ("b", 1, 128, 0)]), " int a; long: 64; int b; long: 0;};");
    assert_eq!(of(32, &[("a", 3, 0, 0), ("b", 1, 64, 0)]), " void *a; int b; long: 64; long: 64;};");
    assert_eq!(of(5, &[("a", 2, 0, 0), ("b", 1, 8, 0)]), " char a; int b;} __attribute__((packed));");
    // Bit fields, and bits that are left out between them.
    let bits = [("a", 1, 0, 3), ("b", 1, 3, 1), ("c", 1, 10, 4), ("d", 2, 32, 0)];
    assert_eq!(of(8, &bits), " int a: 3; int b: 1; char: 4; char: 2; int c: 4; int: 0; char d;};");
}

#[test]
fn enumerations() {
    let mut writer = begun();
    writer.enumeration("signs", true, 4, &[("LAST", (-2_i32) as u32)]);
    writer.enumeration("masks", false, 4, &[("ALL", u32::MAX)]);
    writer.enumeration("small", false, 1, &[("ONE", 1)]);
    writer.enumeration("word", false, 8, &[("TWO", 2)]);
    writer.enumeration64("wide", false, &[("TOP", u64::MAX)]);
    writer.enumeration64("narrow", true, &[("THREE", 3)]);
    writer.enumeration("nothing", false, 4, &[]);
    let btf = Btf::from_bytes(writer.finish(), 0).unwrap();
    let of = |kind, name| btf.definition(&btf.find(kind, name).unwrap()).unwrap();
    assert_eq!(of(Kind::Enum, "signs"), "enum signs {\n\tLAST = -2,\n};");
    assert_eq!(of(Kind::Enum, "masks"), "enum masks {\n\tALL = 4294967295,\n};");
    assert_eq!(of(Kind::Enum, "small"), "enum small {\n\tONE = 1,\n} __attribute__((mode(byte)));");
    assert_eq!(of(Kind::Enum, "word"), "enum word {\n\tTWO = 2,\n} __attribute__((mode(word)));");
    assert_eq!(of(Kind::Enum64, "wide"), "enum wide {\n\tTOP = 18446744073709551615ULL,\n};");
    assert_eq!(of(Kind::Enum64, "narrow"), "enum narrow {\n\tTHREE = 3LL,\n} __attribute__((mode(word)));");
    assert_eq!(of(Kind::Enum, "nothing"), "enum nothing;");
    assert!(btf.definition(&btf.find(Kind::Int, "int").unwrap()).is_none());
}

#[test]
fn types_that_have_themselves_in_them_end() {
    let mut writer = begun();
    assert_eq!(writer.members(4, "", 8, &[("", 4, 0, 0), ("", 3, 0, 0)]), 3);
    assert_eq!(writer.array(4, 2), 4);
    assert_eq!(writer.function(0, &[("", 6), ("", 6)]), 5);
    assert_eq!(writer.pointer(5), 6);
    writer.members(4, "it", u32::MAX, &[("a", 3, 0, 0), ("b", 4, 0, 0), ("c", 6, 0xff_ffff, 0)]);
    let text = defined(writer, Kind::Struct, "it");
    assert!(text.contains("void (*c)(void (*)(void), void (*)(void));"), "{text}");
}
