//! From the fields of a format file to arguments: their types and where they are in the record.

use std::sync::Arc;

use rtrace_lang::limits::DEFAULT_MAX_STRLEN;
use rtrace_lang::target::{Argument, Location};
use rtrace_lang::types::{Space, Type};

use crate::kernel::tracefs::{FieldPlace, FormatField};
use crate::machine::Machine;

/// Bytes of a `__data_loc` word.
pub(super) const LOCATION_BYTES: u32 = 4;

/// Where the pointers in a category's records point: only those of system calls are the caller's.
pub(super) fn space_of(category: &str) -> Space {
    if category == "syscalls" { Space::User } else { Space::Kernel }
}

/// The arguments that a perf tracepoint's context holds.
pub(super) fn arguments(machine: &Machine, fields: &[FormatField], space: Space) -> Vec<Argument> {
    fields
        .iter()
        .map(|field| {
            let (ty, at) = match field.place {
                FieldPlace::Plain => (plain_type(machine, field, space), Location::Context { offset: field.offset }),
                FieldPlace::DataLocation => {
                    (data_type(machine, field, space), Location::DataLocation { offset: field.offset, base: 0 })
                }
                FieldPlace::RelativeLocation => {
                    let base = field.offset + LOCATION_BYTES;
                    (data_type(machine, field, space), Location::DataLocation { offset: field.offset, base })
                }
            };
            Argument { name: field.name.as_str().into(), ty, at }
        })
        .collect()
}

/// The type of a field that lies in the record itself. The file's size decides where names and sizes disagree.
fn plain_type(machine: &Machine, field: &FormatField, space: Space) -> Type {
    let declared = machine.c_type(&field.type_text, space);
    if field.is_array {
        let is_text = field.type_text == "char";
        let of = declared.unwrap_or(Type::Int { bytes: 1, signed: false });
        return match of.size() {
            _ if is_text => Type::Str(field.size),
            0 => Type::Buffer(field.size),
            size if !field.size.is_multiple_of(size) => Type::Buffer(field.size),
            size => Type::Array { of: Arc::new(of), len: field.size / size },
        };
    }
    match declared {
        Some(ty) if ty.size() == field.size => ty,
        Some(_) | None => match field.size {
            bytes @ (1 | 2 | 4 | 8) => Type::Int { bytes: bytes as u8, signed: field.signed },
            bytes => Type::Buffer(bytes),
        },
    }
}

/// The type of data whose length only the record knows.
fn data_type(machine: &Machine, field: &FormatField, space: Space) -> Type {
    if field.type_text == "char" {
        return Type::Str(DEFAULT_MAX_STRLEN);
    }
    let of = machine.c_type(&field.type_text, space).unwrap_or(Type::Int { bytes: 1, signed: false });
    Type::pointer(of, Space::Kernel)
}

/// The type of a system call's argument: as declared, and of the size that the declaration has, though the record
/// keeps each as a whole register.
pub(super) fn register_type(machine: &Machine, field: &FormatField) -> Type {
    match machine.c_type(&field.type_text, Space::User) {
        Some(ty) if ty.is_scalar() => ty,
        Some(_) | None => Type::Int { bytes: 8, signed: field.signed },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::tracefs::parse_format;

    #[test]
    fn records_become_arguments() {
        let text = "\tfield:char comm[16];\toffset:8;\tsize:16;\tsigned:0;\n\
            \tfield:pid_t pid;\toffset:24;\tsize:4;\tsigned:1;\n\
            \tfield:unsigned long args[6];\toffset:32;\tsize:48;\tsigned:0;\n\
            \tfield:__data_loc char[] name;\toffset:80;\tsize:4;\tsigned:0;\n\
            \tfield:__rel_loc u8[] data;\toffset:84;\tsize:4;\tsigned:0;\n\
            \tfield:odd_thing_t odd;\toffset:88;\tsize:12;\tsigned:0;\n\
            \tfield:bool ok;\toffset:100;\tsize:1;\tsigned:0;\n";
        let found = arguments(&Machine::new(), &parse_format(text), Space::Kernel);
        let types: Vec<String> = found.iter().map(|argument| format!("{} {}", argument.ty, argument.name)).collect();
        let wanted = [
            "string[16] comm",
            "int32 pid",
            "uint64[6] args",
            "string[1024] name",
            "uint8 * data",
            "buffer[12] odd",
            "bool ok",
        ];
        assert_eq!(types, wanted);
        assert_eq!(found[3].at, Location::DataLocation { offset: 80, base: 0 });
        assert_eq!(found[4].at, Location::DataLocation { offset: 84, base: 88 });
    }
}
