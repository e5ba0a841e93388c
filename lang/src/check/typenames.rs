//! Names of types as written: keywords of the language, C's names, and what the script and the machine know.

use std::sync::Arc;

use crate::ast::{TypeBase, TypeName, TypeSuffix};
use crate::constants;
use crate::diagnostic::{Code, Diagnostic, did_you_mean, near_misses};
use crate::format::Named;
use crate::limits::LARGEST_MAX_STRLEN;
use crate::script_types::ScriptTypes;
use crate::target::{Attach, ProbeSite, Target, TypeTag};
use crate::types::{Shown, Space, StructKind, SymbolPart, Type};

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
    // What count() and its kin give when they are read.
    ("count_t", Type::I64),
    ("sum_t", Type::I64),
    ("min_t", Type::I64),
    ("max_t", Type::I64),
    ("avg_t", Type::I64),
    ("usum_t", Type::U64),
    ("umin_t", Type::U64),
    ("umax_t", Type::U64),
    ("uavg_t", Type::U64),
    // Typedefs of C that mean the same on every Linux of this architecture.
    ("int8_t", Type::Int { bytes: 1, signed: true }),
    ("int16_t", Type::Int { bytes: 2, signed: true }),
    ("int32_t", Type::Int { bytes: 4, signed: true }),
    ("int64_t", Type::I64),
    ("uint8_t", Type::Int { bytes: 1, signed: false }),
    ("uint16_t", Type::Int { bytes: 2, signed: false }),
    ("uint32_t", Type::U32),
    ("uint64_t", Type::U64),
    ("size_t", Type::U64),
    ("ssize_t", Type::I64),
    ("uintptr_t", Type::U64),
    ("intptr_t", Type::I64),
];

impl Body<'_, '_, '_> {
    /// The type of that name; `Unknown` after a mistake that is reported.
    pub fn type_name(&mut self, name: &TypeName) -> Type {
        if let TypeBase::TypeOf(e) = &name.base {
            let of = match &e.kind {
                crate::ast::ExprKind::TypeArgument(inner) => self.type_name(inner),
                _ => self.expr(e).ty,
            };
            return self.resolver().suffixed(of, name);
        }
        self.resolver().resolve(name)
    }

    fn resolver(&mut self) -> Resolver<'_> {
        let space = self.register_space();
        let site = self.first_site();
        Resolver {
            target: self.checker.target,
            site,
            types: &self.checker.types,
            diagnostics: &mut self.checker.diagnostics,
            space,
            takes_opaque: false,
            max_strlen: self.checker.items.settings.max_strlen,
            string_bytes: self.checker.items.settings.string_bytes(),
        }
    }
}

/// What is needed to find a type by its name.
pub(super) struct Resolver<'a> {
    pub target: &'a dyn Target,
    /// Whose program may know the type: None outside of clauses.
    pub site: Option<&'a ProbeSite>,
    pub types: &'a ScriptTypes,
    pub diagnostics: &'a mut Vec<Diagnostic>,
    /// Where pointers of a type that is written here point to.
    pub space: Space,
    /// A pointer may point to a struct of which nothing is known, as C allows it in a struct.
    pub takes_opaque: bool,
    /// The room of a buffer and of a string whose length is not said.
    pub max_strlen: u32,
    pub string_bytes: u32,
}

impl Resolver<'_> {
    pub fn resolve(&mut self, name: &TypeName) -> Type {
        let ty = match &name.base {
            TypeBase::Struct(tag) => self.tagged(StructKind::Struct, tag, name),
            TypeBase::Union(tag) => self.tagged(StructKind::Union, tag, name),
            TypeBase::Enum(tag) => match self.enum_named(tag).or_else(|| self.of_program(TypeTag::Enum, tag)) {
                Some(found) => found,
                None => self.unknown_tagged(TypeTag::Enum, tag, name),
            },
            TypeBase::Named(words) => self.named_type(words, name),
            // Only a body of statements has values to take the type of.
            TypeBase::TypeOf(_) => self.unknown_type("typeof", name, None),
        };
        self.suffixed(ty, name)
    }

    /// The type with the pointers and arrays that are written behind it.
    pub fn suffixed(&mut self, mut ty: Type, name: &TypeName) -> Type {
        let is_string = matches!(&name.base, TypeBase::Named(word) if word == "string");
        let is_buffer = matches!(&name.base, TypeBase::Named(word) if word == "buffer");
        let is_char = matches!(&name.base, TypeBase::Named(word) if word == "char" || word == "int8");
        // Arrays of arrays: the last length belongs to the innermost.
        let pointers = name.suffixes.iter().take_while(|suffix| **suffix == TypeSuffix::Pointer).count();
        let (first, rest) = name.suffixes.split_at(pointers);
        let arrays = rest.iter().take_while(|suffix| **suffix != TypeSuffix::Pointer).count();
        let (lengths, after) = rest.split_at(arrays);
        let in_order = first.iter().chain(lengths.iter().rev()).chain(after);
        for (number, suffix) in in_order.enumerate() {
            if ty == Type::Unknown {
                return ty;
            }
            let length = match suffix {
                TypeSuffix::Pointer => {
                    ty = Type::pointer(ty, self.space);
                    continue;
                }
                // A last member without a length has no bytes of its own.
                TypeSuffix::Array(length) => length.unwrap_or(0),
                TypeSuffix::Named(word) => match self.length(word, name) {
                    Some(length) => length,
                    None => return Type::Unknown,
                },
                TypeSuffix::Computed(e) => match u64::try_from(self.constant(e, &[], "an array's length")) {
                    Ok(length) => length,
                    Err(_) => return self.negative_length(e.span),
                },
            };
            let length = length.min(1 << 20) as u32;
            ty = match number {
                0 if is_string => Type::Str(length.clamp(1, LARGEST_MAX_STRLEN)),
                0 if is_buffer => Type::Buffer(length.clamp(1, LARGEST_MAX_STRLEN)),
                0 if is_char && length > 0 => Type::Str(length),
                _ => Type::Array { of: Arc::new(ty), len: length },
            };
        }
        ty
    }

    fn length(&mut self, word: &str, name: &TypeName) -> Option<u64> {
        let known = constants::named(word)
            .or_else(|| self.types.enumerator(word).map(|(value, _)| value))
            .or_else(|| self.target.enumerator(word).map(|(value, _)| value));
        if known.is_none_or(|length| length < 0) {
            self.diagnostics.push(
                Diagnostic::error(Code::NotConstant, name.span, format!("`{word}` is no known length"))
                    .label("of this array")
                    .help(format!("define it before: `#define {word} 16`")),
            );
        }
        known.and_then(|length| u64::try_from(length).ok())
    }

    fn of_program(&self, tag: TypeTag, name: &str) -> Option<Type> {
        self.target.program_type(self.site?, tag, name)
    }

    fn enum_named(&self, tag: &str) -> Option<Type> {
        self.types.enum_named(tag).or_else(|| self.target.enum_named(tag)).map(Type::Enum)
    }

    fn struct_named(&self, kind: StructKind, tag: &str) -> Option<Type> {
        self.types.struct_named(kind, tag).or_else(|| self.target.struct_named(kind, tag)).map(Type::Struct)
    }

    fn tagged(&mut self, kind: StructKind, tag: &str, name: &TypeName) -> Type {
        if let Some(found) = self.struct_named(kind, tag).or_else(|| self.of_program(kind.into(), tag)) {
            return found;
        }
        if self.takes_opaque && name.suffixes.first() == Some(&TypeSuffix::Pointer) {
            return Type::Void;
        }
        self.unknown_tagged(kind.into(), tag, name)
    }

    fn named_type(&mut self, words: &str, name: &TypeName) -> Type {
        let plain: Vec<&str> = words.split(' ').filter(|word| !matches!(*word, "const" | "volatile")).collect();
        let plain = plain.join(" ");
        if plain == "string" || plain == "buffer" {
            return if plain == "string" { Type::Str(self.string_bytes) } else { Type::Buffer(self.max_strlen) };
        }
        if let Some((_, ty)) = WORDS.iter().find(|(word, _)| *word == plain) {
            return ty.clone();
        }
        // C allows the words of an integer type in any order.
        if let Some(ty) = c_integer(&plain) {
            return ty;
        }
        if let Some((ty, _)) = self.types.typedef_named(&plain) {
            return ty;
        }
        // Numbers that programs of the kernel cannot compute with are bytes, as in the kernel's own types.
        if let Some(bytes) = c_wide(&plain) {
            return Type::Buffer(bytes);
        }
        if let Some(ty) = self.target.type_named(&plain) {
            return ty;
        }
        for kind in [StructKind::Struct, StructKind::Union] {
            if let Some(found) = self.struct_named(kind, &plain) {
                return found;
            }
        }
        if let Some(found) = self.enum_named(&plain) {
            return found;
        }
        for tag in [TypeTag::Plain, TypeTag::Struct, TypeTag::Union, TypeTag::Enum] {
            if let Some(found) = self.of_program(tag, &plain) {
                return found;
            }
        }
        self.unknown_tagged(TypeTag::Plain, &plain, name)
    }

    /// The types whose names are near, as they are written: those of the tag that was written first.
    fn near_types(&self, tag: TypeTag, name: &str) -> Vec<String> {
        let words = WORDS.iter().map(|(word, _)| (TypeTag::Plain, word.to_string()));
        let structs = self.site.map_or_else(Vec::new, |site| self.target.program_struct_names(site));
        let own = self.types.names().map(|(tag, name)| (tag, name.to_string()));
        let mut all: Vec<(TypeTag, String)> = words.chain(own).chain(self.target.type_names()).collect();
        all.extend(structs.into_iter().map(|name| (TypeTag::Struct, name)));
        let near = near_misses(name, all.iter().map(|(_, name)| name.as_str()));
        let tag_of = |near: &str| {
            let tags = all.iter().filter(|(_, name)| name == near).map(|(tag, _)| *tag);
            tags.clone().find(|other| *other == tag).or(tags.clone().next()).unwrap_or(tag)
        };
        near.into_iter().map(|near| tag_of(near).written(near)).collect()
    }

    fn unknown_tagged(&mut self, tag: TypeTag, sought: &str, name: &TypeName) -> Type {
        let near = self.near_types(tag, sought);
        let help = did_you_mean(&near.iter().map(String::as_str).collect::<Vec<_>>());
        self.unknown_type(&tag.written(sought), name, help)
    }

    fn unknown_type(&mut self, what: &str, name: &TypeName, help: Option<String>) -> Type {
        // Only the sites of user-space probes are in a program that could have types.
        let program = self.site.filter(|site| matches!(site.attach, Attach::Uprobe { .. }));
        let is_in_program = program.is_some();
        let otherwise = if program.is_some_and(|site| self.target.program_struct_names(site).is_empty()) {
            "the program has no debug information with structs: build it with -g, or install the package with it; or define \
             the type in the script: `struct NAME { int a; };`"
        } else {
            "define it in the script: `struct NAME { int a; };`"
        };
        self.diagnostics.push(
            Diagnostic::error(Code::UnknownType, name.span, format!("there is no type `{what}`"))
                .label(if is_in_program {
                    "neither in the script, nor in the kernel's BTF, nor in the program's debug information"
                } else {
                    "neither in the script nor in the kernel's BTF"
                })
                .help(help.unwrap_or_else(|| otherwise.to_string())),
        );
        Type::Unknown
    }
}

/// True for a type that the language names itself.
pub(super) fn is_word(name: &str) -> bool {
    name == "string" || name == "buffer" || WORDS.iter().any(|(word, _)| *word == name)
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

/// C's types of numbers that have no integer type: their bytes, which are also their alignment.
pub(super) fn c_wide(words: &str) -> Option<u32> {
    match words {
        "float" => Some(4),
        "double" => Some(8),
        "long double" | "__int128" | "unsigned __int128" | "__int128 unsigned" | "signed __int128" => Some(16),
        _ => None,
    }
}

/// The type as which a number prints what it stands for.
pub(super) fn named_type(named: Named) -> Type {
    match named {
        Named::AllocationFlags => Type::Shown(Shown::AllocationFlags),
        Named::KernelSymbol => Type::Symbol { user: false, part: SymbolPart::Name },
        Named::UserSymbol => Type::Symbol { user: true, part: SymbolPart::Name },
        Named::Date => Type::Shown(Shown::Date("%Y %b %e %H:%M:%S".into())),
        Named::MailDate => Type::Shown(Shown::Date("%a, %d %b %Y %H:%M:%S %z".into())),
    }
}
