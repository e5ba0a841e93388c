//! Names of types as written: keywords of the language, C's names, and what the machine knows.

use crate::ast::{TypeBase, TypeName, TypeSuffix};
use crate::diagnostic::{Code, Diagnostic, did_you_mean, near_misses};
use crate::limits::LARGEST_MAX_STRLEN;
use crate::types::{StructKind, Type};
use std::sync::Arc;

use super::body::Body;

/// The types that the language names itself.
const WORDS: &[(&str, Type)] = &[
    ("bool", Type::Bool),
    ("int8", Type::Int { bytes: 1, signed: true }),
    ("int16", Type::Int { bytes: 2, signed: true }),
    ("int32", Type::Int { bytes: 4, signed: true }),
    ("int64", Type::I64),
    ("uint8", Type::Int { bytes: 1, signed: false }),
    ("uint16", Type::Int { bytes: 2, signed: false }),
    ("uint32", Type::U32),
    ("uint64", Type::U64),
    ("void", Type::Void),
    ("char", Type::Int { bytes: 1, signed: true }),
    ("signed char", Type::Int { bytes: 1, signed: true }),
    ("unsigned char", Type::Int { bytes: 1, signed: false }),
    ("short", Type::Int { bytes: 2, signed: true }),
    ("unsigned short", Type::Int { bytes: 2, signed: false }),
    ("int", Type::Int { bytes: 4, signed: true }),
    ("unsigned", Type::U32),
    ("unsigned int", Type::U32),
    ("long", Type::I64),
    ("unsigned long", Type::U64),
    ("long long", Type::I64),
    ("unsigned long long", Type::U64),
];

impl Body<'_, '_, '_> {
    /// The type of that name; `Unknown` after a mistake that is reported.
    pub fn type_name(&mut self, name: &TypeName) -> Type {
        let mut ty = match &name.base {
            TypeBase::Struct(tag) => self.tagged(StructKind::Struct, tag, name),
            TypeBase::Union(tag) => self.tagged(StructKind::Union, tag, name),
            TypeBase::Enum(tag) => match self.checker.target.enum_named(tag) {
                Some(found) => Type::Enum(found),
                None => self.unknown_type(&format!("enum {tag}"), name, None),
            },
            TypeBase::Named(words) => self.named_type(words, name),
            TypeBase::TypeOf(e) => {
                self.expr(e).ty
            }
        };
        let space = self.register_space();
        for (number, suffix) in name.suffixes.iter().enumerate() {
            ty = match suffix {
                _ if ty == Type::Unknown => Type::Unknown,
                TypeSuffix::Pointer => Type::pointer(ty, space),
                TypeSuffix::Array(Some(n)) if number == 0 && self.is_string_word(name) => {
                    Type::Str((*n).clamp(1, u64::from(LARGEST_MAX_STRLEN)) as u32)
                }
                TypeSuffix::Array(Some(n)) => Type::Array { of: Arc::new(ty), len: (*n).min(1 << 20) as u32 },
                TypeSuffix::Array(None) => {
                    self.not_yet(name.span, "an array type without a length");
                    Type::Unknown
                }
            };
        }
        ty
    }

    fn is_string_word(&self, name: &TypeName) -> bool {
        matches!(&name.base, TypeBase::Named(word) if word == "string")
    }

    fn tagged(&mut self, kind: StructKind, tag: &str, name: &TypeName) -> Type {
        if let Some(found) = self.checker.target.struct_named(kind, tag) {
            return Type::Struct(found);
        }
        let word = if kind == StructKind::Struct { "struct" } else { "union" };
        let names = self.checker.target.struct_names();
        let near: Vec<String> =
            near_misses(tag, names.iter().map(String::as_str)).iter().map(|near| format!("{word} {near}")).collect();
        let near: Vec<&str> = near.iter().map(String::as_str).collect();
        let help = did_you_mean(&near);
        self.unknown_type(&format!("{word} {tag}"), name, help)
    }

    fn named_type(&mut self, words: &str, name: &TypeName) -> Type {
        let plain: Vec<&str> = words.split(' ').filter(|word| !matches!(*word, "const" | "volatile")).collect();
        let plain = plain.join(" ");
        if plain == "string" {
            return Type::Str(self.checker.settings.max_strlen);
        }
        if let Some((_, ty)) = WORDS.iter().find(|(word, _)| *word == plain) {
            return ty.clone();
        }
        // C allows the words of an integer type in any order.
        if let Some(ty) = c_integer(&plain) {
            return ty;
        }
        if let Some(ty) = self.checker.target.type_named(&plain) {
            return ty;
        }
        for kind in [StructKind::Struct, StructKind::Union] {
            if let Some(found) = self.checker.target.struct_named(kind, &plain) {
                return Type::Struct(found);
            }
        }
        let help = did_you_mean(&near_misses(&plain, WORDS.iter().map(|(word, _)| *word)));
        self.unknown_type(&plain, name, help)
    }

    fn unknown_type(&mut self, what: &str, name: &TypeName, help: Option<String>) -> Type {
        let mut diagnostic = Diagnostic::error(Code::UnknownType, name.span, format!("there is no type `{what}`"))
            .label("not in the kernel's BTF");
        diagnostic = diagnostic.help(help.unwrap_or_else(|| "types come from the running kernel's BTF".to_string()));
        self.report(diagnostic);
        Type::Unknown
    }
}

/// C's integer types, their words in any order.
pub(crate) fn c_integer(words: &str) -> Option<Type> {
    let (mut unsigned, mut longs, mut short, mut char) = (false, 0, false, false);
    for word in words.split(' ') {
        match word {
            "unsigned" => unsigned = true,
            "signed" | "int" => {}
            "long" => longs += 1,
            "short" => short = true,
            "char" => char = true,
            _ => return None,
        }
    }
    let bytes = match (char, short, longs) {
        (true, false, 0) => 1,
        (false, true, 0) => 2,
        (false, false, 0) => 4,
        (false, false, 1 | 2) => 8,
        _ => return None,
    };
    Some(Type::Int { bytes, signed: !unsigned })
}
