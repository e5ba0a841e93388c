//! Encoded instructions as text, one a line, in the notation of the kernel's own verifier.

use std::fmt::Write;

/// Both halves of a 16-byte load are one line.
pub fn disassemble(instructions: &[u64]) -> String {
    let mut out = String::new();
    let mut at = 0;
    while at < instructions.len() {
        let word = instructions[at];
        let opcode = word as u8;
        let (to, from) = ((word >> 8) as u8 & 15, (word >> 12) as u8 & 15);
        let (offset, immediate) = ((word >> 16) as i16, (word >> 32) as i32);
        let _ = write!(out, "{at:4}: ({opcode:02x}) ");
        if opcode == 0x18 {
            let high = instructions.get(at + 1).map_or(0, |next| next >> 32);
            let _ = match from {
                1 => writeln!(out, "r{to} = map[{immediate}]"),
                2 => writeln!(out, "r{to} = map_value[{immediate}] + {high}"),
                4 => writeln!(out, "r{to} = function at {}", at as i64 + 1 + i64::from(immediate)),
                _ => writeln!(out, "r{to} = {:#x} ll", u64::from(immediate as u32) | high << 32),
            };
            at += 2;
            continue;
        }
        let source = if opcode & 8 != 0 { format!("r{from}") } else { immediate.to_string() };
        let size = ["u32", "u16", "u8", "u64"][usize::from(opcode >> 3 & 3)];
        let _ = match opcode & 7 {
            1 => writeln!(out, "r{to} = *({size} *)(r{from} {offset:+})"),
            2 => writeln!(out, "*({size} *)(r{to} {offset:+}) = {immediate}"),
            3 if opcode & 0xe0 == 0xc0 && immediate & 1 != 0 => {
                writeln!(out, "r{from} = atomic_fetch_add(({size} *)(r{to} {offset:+}), r{from})")
            }
            3 if opcode & 0xe0 == 0xc0 => writeln!(out, "lock *({size} *)(r{to} {offset:+}) += r{from}"),
            3 => writeln!(out, "*({size} *)(r{to} {offset:+}) = r{from}"),
            4 if opcode >> 4 == 0xd => writeln!(out, "r{to} = be{immediate} r{to}"),
            4 | 7 => {
                let name = if opcode & 7 == 4 { "w" } else { "r" };
                let source = if opcode & 8 != 0 { format!("{name}{from}") } else { source };
                let op = match opcode >> 4 {
                    0x0 => "+=",
                    0x1 => "-=",
                    0x2 => "*=",
                    0x3 => "/=",
                    0x4 => "|=",
                    0x5 => "&=",
                    0x6 => "<<=",
                    0x7 => ">>=",
                    0x9 => "%=",
                    0xa => "^=",
                    0xb => "=",
                    0xc => "s>>=",
                    _ => "?=",
                };
                writeln!(out, "{name}{to} {op} {source}")
            }
            5 => match opcode >> 4 {
                0x0 => writeln!(out, "goto {}", at as i64 + 1 + i64::from(offset)),
                0x8 => writeln!(out, "call {immediate}"),
                0x9 => writeln!(out, "exit"),
                code => {
                    let op = match code {
                        0x1 => "==",
                        0x2 => ">",
                        0x3 => ">=",
                        0x5 => "!=",
                        0x6 => "s>",
                        0x7 => "s>=",
                        0xa => "<",
                        0xb => "<=",
                        0xc => "s<",
                        0xd => "s<=",
                        _ => "?",
                    };
                    writeln!(out, "if r{to} {op} {source} goto {}", at as i64 + 1 + i64::from(offset))
                }
            },
            _ => writeln!(out, "?"),
        };
        at += 1;
    }
    out
}
