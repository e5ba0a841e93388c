//! Types as C declares them, from the records themselves, so that typedefs, qualifiers and functions stay what they were
//! called. A definition has the layout that the compiler has given it: what stands nowhere in its source, such as the holes
//! before aligned members, is written as bit fields without a name.

use std::collections::HashMap;

use super::convert::{ENUMERATOR64, MAX_DEPTH, MEMBER, PARAMETER};
use super::{Btf, Kind, Record};

/// Bits of a hole: only damaged data have a longer one, and it would be written out.
const LONGEST_HOLE: u64 = 1 << 20;

/// What fills holes, and its bits.
const FILLERS: [(&str, u64); 4] = [("long", 64), ("int", 32), ("short", 16), ("char", 8)];

impl Btf {
    /// `struct path {`, its members a line each, `};`. None for what is no struct, union or enum.
    pub fn definition(&self, record: &Record<'_>) -> Option<String> {
        let mut writer = Writer { btf: self, alignments: HashMap::new(), open: Vec::new() };
        let text = match record.kind {
            Kind::Struct | Kind::Union => writer.structure(record, 0),
            Kind::Enum | Kind::Enum64 => writer.enumeration(record, 0),
            _ => return None,
        };
        Some(text + ";")
    }
}

struct Writer<'a> {
    btf: &'a Btf,
    alignments: HashMap<u32, u32>,
    /// Types without a name that are being written, which no type has in itself unless data are damaged.
    open: Vec<u32>,
}

impl Writer<'_> {
    fn structure(&mut self, record: &Record<'_>, level: usize) -> String {
        let is_struct = record.kind == Kind::Struct;
        let alignment = self.layout(record);
        let is_packed = is_struct && alignment.is_none();
        let mut text = tagged(if is_struct { "struct" } else { "union" }, self.btf.name(record)) + " {";
        let line = |text: &mut String, what: &str| text.push_str(&format!("\n{}{what};", "\t".repeat(level + 1)));
        let (mut at, mut is_behind_bits) = (0_u64, false);
        for part in 0..record.tail.len() / MEMBER {
            let name = self.btf.string(record.word(part, MEMBER, 0));
            let id = record.word(part, MEMBER, 1);
            let (start, width) = self.btf.member_place(record, part);
            let needed = if is_packed { 1 } else { self.alignment(id) };
            for hole in holes(at, u64::from(start), needed, is_behind_bits && width.is_some()) {
                line(&mut text, &hole);
            }
            let declared = self.declared(id, name, level + 1);
            match width {
                Some(width) => line(&mut text, &format!("{declared}: {width}")),
                None => line(&mut text, &declared),
            }
            let bits = width.map_or_else(|| u64::from(self.btf.size_of(id)) * 8, u64::from);
            (at, is_behind_bits) = (u64::from(start) + bits, width.is_some());
        }
        if is_struct {
            let end = u64::from(record.size_or_type) * 8;
            for hole in holes(at, end, alignment.unwrap_or(1), false) {
                line(&mut text, &hole);
            }
        }
        // One that has nothing in it is a line.
        if text.contains('\n') || record.size_or_type > 0 {
            text.push('\n');
            text.push_str(&"\t".repeat(level));
        }
        text.push('}');
        if is_packed {
            text.push_str(" __attribute__((packed))");
        }
        text
    }

    fn enumeration(&mut self, record: &Record<'_>, level: usize) -> String {
        let mut text = tagged("enum", self.btf.name(record));
        let is_signed = self.btf.is_signed_enum(record);
        let mut values = self.btf.enumerator_words(record).peekable();
        if values.peek().is_none() {
            return text;
        }
        text.push_str(" {");
        for (name, value) in values {
            let value = match (record.kind, is_signed) {
                (Kind::Enum64, true) => format!("{value}LL"),
                (Kind::Enum64, false) => format!("{}ULL", value as u64),
                (_, true | false) => value.to_string(),
            };
            text.push_str(&format!("\n{}{} = {value},", "\t".repeat(level + 1), self.btf.string(name)));
        }
        text.push_str(&format!("\n{}}}", "\t".repeat(level)));
        let has_wide_value =
            || (0..record.tail.len() / ENUMERATOR64).any(|part| record.word(part, ENUMERATOR64, 2) != 0);
        match record.size_or_type {
            1 => text.push_str(" __attribute__((mode(byte)))"),
            8 if record.kind == Kind::Enum || !has_wide_value() => text.push_str(" __attribute__((mode(word)))"),
            _ => {}
        }
        text
    }

    /// A variable, a member or a parameter of that type; without a name the type itself. It is made from the name outward, as
    /// C is read: `name`, `name[4]`, `*name[4]`, `(*name[4])(int)`, and what is left stands before it.
    fn declared(&mut self, mut id: u32, name: &str, level: usize) -> String {
        let mut declarator = name.to_string();
        let mut qualifiers = String::new();
        let before = |left: &str, declarator: &str| {
            let is_close = declarator.is_empty()
                || declarator.starts_with(' ')
                || name.is_empty() && declarator.starts_with(['(', '[']);
            format!("{left}{}{declarator}", if is_close { "" } else { " " })
        };
        let mut base = "void".to_string();
        for _ in 0..MAX_DEPTH {
            let Some(record) = self.btf.record(id) else { break };
            match record.kind {
                Kind::Const => qualifiers.insert_str(0, "const "),
                Kind::Volatile => qualifiers.insert_str(0, "volatile "),
                Kind::Restrict => qualifiers.insert_str(0, "restrict "),
                Kind::TypeTag => {
                    let tag = self.btf.name(&record);
                    let tag = if record.flag { tag.to_string() } else { format!("btf_type_tag(\"{tag}\")") };
                    declarator = before(&format!(" __attribute__(({tag}))"), &declarator);
                }
                Kind::Ptr if qualifiers.is_empty() => declarator.insert(0, '*'),
                Kind::Ptr => {
                    declarator = before(&format!("* {}", std::mem::take(&mut qualifiers).trim_end()), &declarator)
                }
                // Compilers repeat the qualifiers of what is in an array at the array.
                Kind::Array => {
                    qualifiers.clear();
                    if declarator.starts_with('*') {
                        declarator = format!("({declarator})");
                    }
                    declarator.push_str(&format!("[{}]", record.word(0, 0, 2)));
                    id = record.word(0, 0, 0);
                    continue;
                }
                // They say `volatile` of a function that does not return.
                Kind::FuncProto => {
                    qualifiers.clear();
                    if declarator.starts_with('*') {
                        declarator = format!(" ({declarator})");
                    }
                    declarator.push_str(&self.parameters(&record, level));
                }
                _ => {
                    base = self.base(&record, level);
                    break;
                }
            }
            id = record.size_or_type;
        }
        before(&(qualifiers + &base), &declarator)
    }

    fn parameters(&mut self, prototype: &Record<'_>, level: usize) -> String {
        let count = prototype.tail.len() / PARAMETER;
        let id = |part: usize| prototype.word(part, PARAMETER, 1);
        if count == 0 || count == 1 && id(0) == 0 || self.open.contains(&prototype.id) {
            return "(void)".to_string();
        }
        self.open.push(prototype.id);
        let parameters: Vec<String> = (0..count)
            .map(|part| match id(part) {
                0 if part + 1 == count => "...".to_string(),
                id => self.declared(id, self.btf.string(prototype.word(part, PARAMETER, 0)), level),
            })
            .collect();
        self.open.pop();
        format!("({})", parameters.join(", "))
    }

    /// What a declaration begins with: a name, or the definition of what has none.
    fn base(&mut self, record: &Record<'_>, level: usize) -> String {
        let name = self.btf.name(record);
        match record.kind {
            Kind::Int | Kind::Float | Kind::Typedef => name.to_string(),
            Kind::Struct | Kind::Union if name.is_empty() && !self.open.contains(&record.id) => {
                self.open.push(record.id);
                let text = self.structure(record, level);
                self.open.pop();
                text
            }
            Kind::Enum | Kind::Enum64 if name.is_empty() => self.enumeration(record, level),
            Kind::Struct => tagged("struct", name),
            Kind::Union => tagged("union", name),
            Kind::Enum | Kind::Enum64 => tagged("enum", name),
            Kind::Fwd => tagged(if record.flag { "union" } else { "struct" }, name),
            _ => "void".to_string(),
        }
    }

    /// The alignment of a struct or union; None where a member or the end is not aligned, so that it must be packed.
    fn layout(&mut self, record: &Record<'_>) -> Option<u32> {
        let mut largest = 1;
        for part in 0..record.tail.len() / MEMBER {
            let alignment = self.alignment(record.word(part, MEMBER, 1));
            let (start, width) = self.btf.member_place(record, part);
            if width.is_none() && !start.is_multiple_of(8 * alignment) {
                return None;
            }
            largest = largest.max(alignment);
        }
        record.size_or_type.is_multiple_of(largest).then_some(largest)
    }

    /// What a type is aligned to, in bytes.
    fn alignment(&mut self, id: u32) -> u32 {
        let Some(record) = self.btf.strip(id) else { return 1 };
        if let Some(known) = self.alignments.get(&record.id) {
            return *known;
        }
        // Also of damaged data that have themselves in them.
        self.alignments.insert(record.id, 1);
        let alignment = match record.kind {
            Kind::Int | Kind::Enum | Kind::Enum64 | Kind::Float => record.size_or_type.clamp(1, 8),
            Kind::Ptr => 8,
            Kind::Array => self.alignment(record.word(0, 0, 0)),
            Kind::Struct | Kind::Union => self.layout(&record).unwrap_or(1),
            _ => 1,
        };
        self.alignments.insert(record.id, alignment);
        alignment
    }
}

fn tagged(word: &str, name: &str) -> String {
    if name.is_empty() { word.to_string() } else { format!("{word} {name}") }
}

/// The bit fields without a name that fill the bits from `at` to `end`, where what stands there is aligned to `alignment`
/// bytes: none where the compiler leaves that hole by itself.
fn holes(mut at: u64, end: u64, alignment: u32, is_between_bits: bool) -> Vec<String> {
    let mut fields = Vec::new();
    if at >= end || end - at > LONGEST_HOLE {
        return fields;
    }
    // Whole ones of the largest that has a boundary in the hole; `long: 0` goes on to that boundary.
    let fits = |(_, bits): &&(&str, u64)| at.next_multiple_of(*bits) <= end;
    let (filler, bits) = *FILLERS.iter().find(fits).unwrap_or(&FILLERS[FILLERS.len() - 1]);
    let boundary = at.next_multiple_of(bits);
    if boundary > at && boundary <= end {
        let is_left_by_itself = match boundary == end {
            true => at.next_multiple_of(u64::from(alignment) * 8) == end,
            // A field that has room before the boundary would go there.
            false => end - boundary > boundary - at,
        };
        if is_between_bits {
            fields.push(format!("{filler}: {}", boundary - at));
        } else if !is_left_by_itself {
            fields.push(format!("{filler}: 0"));
        }
        at = boundary;
    }
    while at < end {
        let rest = (end - at).min(bits);
        let smallest = FILLERS.iter().rev().find(|(_, bits)| *bits >= rest).map_or(filler, |(name, _)| name);
        fields.push(format!("{smallest}: {rest}"));
        at += rest;
    }
    fields
}
