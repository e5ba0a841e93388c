//! Types for `-l`: `struct path`, with `-v` and its members as C declares them.

use rtrace_lang::probe::wildcard_match;
use rtrace_lang::target::Target;
use rtrace_lang::types::{StructKind, StructRef, Type};

use super::variable;
use crate::machine::Machine;
use crate::provider::is_pattern;

/// What a pattern of types names, such as `struct sock`, `union *` or `enum pid_type`: its lines, none where there is no
/// such type. None where the pattern is not one of types.
pub fn list_types(machine: &Machine, pattern: &str, verbose: bool) -> Option<Vec<String>> {
    let (word, name) = pattern.trim().split_once(char::is_whitespace)?;
    let name = name.trim();
    let kind = match word {
        "struct" => StructKind::Struct,
        "union" => StructKind::Union,
        "enum" => return Some(enumeration(machine, name, verbose)),
        _ => return None,
    };
    let mut names = if is_pattern(name) {
        let all = machine.type_names().into_iter().filter(|(tag, _)| *tag == kind.into());
        all.map(|(_, known)| known).filter(|known| wildcard_match(name, known)).collect()
    } else {
        vec![name.to_string()]
    };
    names.sort_unstable();
    names.dedup();
    let found = names.iter().filter_map(|name| machine.struct_named(kind, name));
    let mut lines = Vec::new();
    for of in found {
        if verbose {
            lines.push(format!("{word} {} {{", of.name));
            members(machine, &of, 1, &mut lines);
            lines.push(format!("}}; // {} bytes", of.size));
        } else {
            lines.push(format!("{word} {}", of.name));
        }
    }
    Some(lines)
}

/// The members, those of anonymous structs and unions in theirs.
fn members(machine: &Machine, of: &StructRef, depth: usize, lines: &mut Vec<String>) {
    let pad = "    ".repeat(depth);
    for field in machine.fields(of) {
        match &field.ty {
            Type::Struct(inner) if inner.name.is_empty() => {
                let word = match inner.kind {
                    StructKind::Struct => "struct",
                    StructKind::Union => "union",
                };
                lines.push(format!("{pad}{word} {{"));
                members(machine, inner, depth + 1, lines);
                let name = if field.name.is_empty() { String::new() } else { format!(" {}", field.name) };
                lines.push(format!("{pad}}}{name};"));
            }
            ty => {
                let bits = field.bit_width.map_or(String::new(), |width| format!(" : {width}"));
                lines.push(format!("{pad}{}{bits};", variable(&field.name, ty)));
            }
        }
    }
}

fn enumeration(machine: &Machine, name: &str, verbose: bool) -> Vec<String> {
    let Some(of) = machine.enum_named(name) else { return Vec::new() };
    if !verbose {
        return vec![format!("enum {name}")];
    }
    let mut lines = vec![format!("enum {name} {{")];
    lines.extend(machine.enumerators(&of).iter().map(|(name, value)| format!("    {name} = {value},")));
    lines.push("};".to_string());
    lines
}
