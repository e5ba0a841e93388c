//! Where the arguments of a statically defined probe are: `-4@%eax 8@-20(%rbp)`, as the assembler of x86-64 writes its
//! operands, or `8@[sp, 16]` as that of arm64 does. Parses text and nothing more.

use rtrace_lang::target::UserAddress;

/// The assemblers whose operands are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assembler {
    X86,
    Arm64,
}

/// One argument.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operand {
    /// 1, 2, 4 or 8.
    pub bytes: u8,
    pub signed: bool,
    pub place: Place,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    Constant(i64),
    /// Where in the registers of the context it begins, as a byte offset.
    Register(u32),
    Memory(UserAddress),
    /// In memory, at a symbol of the program and a number; an address that is relative to the symbol.
    Symbol {
        name: String,
        address: UserAddress,
    },
    /// It can't be had, because it `is ...`.
    Unavailable(String),
}

/// Behind the registers of x86-64 in `struct pt_regs`, and of arm64 in `struct user_pt_regs`.
pub const X86_INSTRUCTION_POINTER: u32 = 128;
pub const ARM64_INSTRUCTION_POINTER: u32 = 256;
const ARM64_STACK_POINTER: u32 = 248;

/// All arguments of a probe, in order.
pub fn operands(assembler: Assembler, text: &str) -> Vec<Operand> {
    split(text).into_iter().map(|operand| parse(assembler, operand)).collect()
}

/// At white space outside of brackets: `4@w0 8@[sp, 16]` are two.
fn split(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = None;
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match start {
            Some(from) if c.is_whitespace() && depth == 0 => {
                found.push(&text[from..at]);
                start = None;
            }
            None if !c.is_whitespace() => start = Some(at),
            Some(_) | None => {}
        }
    }
    found.extend(start.map(|from| &text[from..]));
    found
}

fn parse(assembler: Assembler, text: &str) -> Operand {
    let unavailable = |reason: &str| Operand { bytes: 8, signed: true, place: Place::Unavailable(reason.to_string()) };
    // The size was left out by the first tools, whose arguments were all of a word.
    let (size, place) = text.split_once('@').unwrap_or(("-8", text));
    if size.ends_with('f') {
        return unavailable("is a floating-point number, which programs in the kernel can't compute with");
    }
    let Some(bytes) = size.parse::<i64>().ok().filter(|size| matches!(size.abs(), 1 | 2 | 4 | 8)) else {
        return unavailable(&format!("has the size `{size}`, which is no word"));
    };
    let place = match assembler {
        Assembler::X86 => x86(place.trim()),
        Assembler::Arm64 => arm64(place.trim()),
    };
    let place = place.unwrap_or_else(|| Place::Unavailable(format!("is at `{text}`, a form that is not known")));
    Operand { bytes: bytes.unsigned_abs() as u8, signed: bytes < 0, place }
}

const VECTOR: &str = "is in a vector register, which programs in the kernel don't see";

fn x86(text: &str) -> Option<Place> {
    if let Some(constant) = text.strip_prefix('$') {
        return number(constant).map(Place::Constant);
    }
    if text.starts_with("%fs:") || text.starts_with("%gs:") || text.contains("@tpoff") {
        return Some(Place::Unavailable("is a variable of its thread, which probes don't reach".to_string()));
    }
    if let Some(register) = text.strip_prefix('%') {
        let is_vector = ["xmm", "ymm", "zmm", "mm", "st", "k"].iter().any(|kind| register.starts_with(kind));
        return match x86_register(register) {
            Some(offset) => Some(Place::Register(offset)),
            None => is_vector.then(|| Place::Unavailable(VECTOR.to_string())),
        };
    }
    let (displacement, inside) = match text.find('(') {
        Some(open) => (&text[..open], Some(text[open + 1..].strip_suffix(')')?)),
        None => (text, None),
    };
    let mut address = UserAddress::default();
    let mut is_relative = false;
    if let Some(inside) = inside {
        let mut parts = inside.split(',').map(str::trim);
        let register = |name: &str| x86_register(name.strip_prefix('%')?);
        match parts.next() {
            Some("%rip" | "%eip") => is_relative = true,
            Some("") | None => {}
            Some(base) => address.base = Some(register(base)?),
        }
        if let Some(index) = parts.next() {
            let scale = parts.next().map_or(Some(1), |scale| scale.parse().ok())?;
            address.index = Some((register(index)?, scale));
        }
        if parts.next().is_some() {
            return None;
        }
    }
    let (symbol, number) = sum(displacement.trim())?;
    address.displacement = number;
    match symbol {
        Some(name) => Some(Place::Symbol { name: name.to_string(), address }),
        // A distance from an instruction without a name: which one is not said.
        None if is_relative => None,
        None => Some(Place::Memory(address)),
    }
}

/// Where a register, or its part of that name, is in `struct pt_regs` (arch/x86/include/asm/ptrace.h).
fn x86_register(name: &str) -> Option<u32> {
    /// Those with parts of their own names: `rax`, `eax`, `ax`, `al`, `ah`.
    const LETTERS: [(&str, u32); 4] = [("a", 80), ("b", 40), ("c", 88), ("d", 96)];
    /// `rsi`, `esi`, `si`, `sil`
    const POINTERS: [(&str, u32); 4] = [("si", 104), ("di", 112), ("bp", 32), ("sp", 152)];
    const NUMBERS: [u32; 8] = [72, 64, 56, 48, 24, 16, 8, 0];
    if let Some(number) = name.strip_prefix('r')
        && let Ok(number) = number.trim_end_matches(['d', 'w', 'b']).parse::<usize>()
    {
        let part = number.to_string().len() + 1;
        return if name.len() - part <= 1 { NUMBERS.get(number.checked_sub(8)?).copied() } else { None };
    }
    if matches!(name, "rip" | "eip" | "ip") {
        return Some(X86_INSTRUCTION_POINTER);
    }
    for (letter, offset) in LETTERS {
        match name.strip_suffix('x').or_else(|| name.strip_suffix('l').filter(|name| name.len() == 1)) {
            Some(rest) if rest.trim_start_matches(['r', 'e']) == letter && rest.len() <= 2 => return Some(offset),
            Some(_) | None => {}
        }
        if name.strip_suffix('h') == Some(letter) {
            return Some(offset + 1);
        }
    }
    let whole = name.strip_suffix('l').filter(|name| name.len() == 2).unwrap_or(name);
    let whole = if whole.len() == 3 { whole.strip_prefix(['r', 'e'])? } else { whole };
    POINTERS.iter().find(|(known, _)| *known == whole).map(|(_, offset)| *offset)
}

fn arm64(text: &str) -> Option<Place> {
    let Some(inside) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) else {
        if matches!(text, "xzr" | "wzr") {
            return Some(Place::Constant(0));
        }
        if let Some(offset) = arm64_register(text) {
            return Some(Place::Register(offset));
        }
        if let Some(constant) = number(text.strip_prefix('#').unwrap_or(text)) {
            return Some(Place::Constant(constant));
        }
        let is_vector = text.strip_prefix(['v', 'q', 'd', 's', 'h']).is_some_and(|rest| rest.parse::<u8>().is_ok());
        return is_vector.then(|| Place::Unavailable(VECTOR.to_string()));
    };
    let mut parts = inside.split(',').map(str::trim);
    let mut address = UserAddress { base: Some(arm64_register(parts.next()?)?), ..UserAddress::default() };
    if let Some(second) = parts.next() {
        match number(second.strip_prefix('#').unwrap_or(second)) {
            Some(displacement) => address.displacement = displacement,
            // The upper half of a 32-bit index would have to be left out.
            None if second.starts_with('x') => {
                let scale = match parts.next() {
                    None => 1,
                    Some(shift) => {
                        let shift = shift.strip_prefix("lsl")?.trim();
                        1u8.checked_shl(shift.strip_prefix('#').unwrap_or(shift).parse().ok().filter(|n| *n < 5)?)?
                    }
                };
                address.index = Some((arm64_register(second)?, scale));
            }
            None => return None,
        }
    }
    parts.next().is_none().then_some(Place::Memory(address))
}

/// Where a register is in `struct user_pt_regs` (arch/arm64/include/uapi/asm/ptrace.h).
fn arm64_register(name: &str) -> Option<u32> {
    match name {
        "sp" | "wsp" => return Some(ARM64_STACK_POINTER),
        "fp" => return Some(29 * 8),
        "lr" => return Some(30 * 8),
        _ => {}
    }
    let number: u32 = name.strip_prefix(['x', 'w'])?.parse().ok()?;
    (number <= 30).then_some(number * 8)
}

/// A sum of numbers and at most one symbol: `8+counter`, `-20`, `table-8`.
fn sum(text: &str) -> Option<(Option<&str>, i64)> {
    let mut symbol = None;
    let mut total = 0i64;
    let mut rest = text;
    while !rest.is_empty() {
        let (sign, term) = match rest.strip_prefix('-') {
            Some(term) => (-1, term),
            None => (1, rest.strip_prefix('+').unwrap_or(rest)),
        };
        let end = term.find(['+', '-']).unwrap_or(term.len());
        let (term, behind) = term.split_at(end);
        match number(term) {
            Some(number) => total = total.wrapping_add(number.wrapping_mul(sign)),
            None if sign > 0 && symbol.is_none() && is_symbol(term) => symbol = Some(term),
            None => return None,
        }
        rest = behind;
    }
    Some((symbol, total))
}

fn is_symbol(text: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '$');
    text.chars().all(is_part) && text.starts_with(|c: char| !c.is_ascii_digit())
}

fn number(text: &str) -> Option<i64> {
    let (text, sign) = text.strip_prefix('-').map_or((text, 1), |text| (text, -1));
    // Constants of 64 bits are written unsigned as well.
    let magnitude = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok()?,
        None if text.starts_with(|c: char| c.is_ascii_digit()) => text.parse().ok()?,
        None => return None,
    };
    Some((magnitude as i64).wrapping_mul(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(assembler: Assembler, text: &str) -> Place {
        parse(assembler, text).place
    }

    fn memory(base: Option<u32>, index: Option<(u32, u8)>, displacement: i64) -> Place {
        Place::Memory(UserAddress { base, index, displacement })
    }

    #[test]
    fn sizes_and_signs() {
        let sizes = |text| {
            let operand = parse(Assembler::X86, text);
            (operand.bytes, operand.signed)
        };
        assert_eq!(
            [sizes("-4@%eax"), sizes("8@$5"), sizes("1@%al"), sizes("%rdi")],
            [(4, true), (8, false), (1, false), (8, true)]
        );
        for text in ["4f@%xmm0", "16@%rax", "x@%rax", "-3@%rax"] {
            assert!(matches!(place(Assembler::X86, text), Place::Unavailable(_)), "{text}");
        }
    }

    #[test]
    fn registers_of_x86() {
        let all = [
            ("%rax", 80),
            ("%eax", 80),
            ("%ax", 80),
            ("%al", 80),
            ("%ah", 81),
            ("%bl", 40),
            ("%rbx", 40),
            ("%ecx", 88),
            ("%dh", 97),
            ("%rsi", 104),
            ("%esi", 104),
            ("%si", 104),
            ("%sil", 104),
            ("%edi", 112),
            ("%rbp", 32),
            ("%rsp", 152),
            ("%r8", 72),
            ("%r9d", 64),
            ("%r10w", 56),
            ("%r11b", 48),
            ("%r15d", 0),
            ("%rip", 128),
        ];
        for (text, offset) in all {
            assert_eq!(place(Assembler::X86, &format!("8@{text}")), Place::Register(offset), "{text}");
        }
        for text in ["%xmm1", "%r16", "%r8dd", "%rl", "%e", "%foo", "%rex", "%il", "%"] {
            assert!(matches!(place(Assembler::X86, &format!("8@{text}")), Place::Unavailable(_)), "{text}");
        }
    }

    #[test]
    fn memory_of_x86() {
        let of = |text: &str| place(Assembler::X86, &format!("4@{text}"));
        assert_eq!(of("-20(%rbp)"), memory(Some(32), None, -20));
        assert_eq!(of("(%rax,%rbx,8)"), memory(Some(80), Some((40, 8)), 0));
        assert_eq!(of("0x10(%rsp, %rcx)"), memory(Some(152), Some((88, 1)), 16));
        assert_eq!(of("4(,%rdx,4)"), memory(None, Some((96, 4)), 4));
        assert_eq!(of("8-4(%rdi)"), memory(Some(112), None, 4));
        let symbol = |name: &str, address| Place::Symbol { name: name.to_string(), address };
        let moved = |displacement| UserAddress { displacement, ..UserAddress::default() };
        assert_eq!(of("counter(%rip)"), symbol("counter", moved(0)));
        assert_eq!(of("counter+8(%rip)"), symbol("counter", moved(8)));
        assert_eq!(of("4+counter.1-12"), symbol("counter.1", moved(-8)));
        assert_eq!(of("table(,%rax,4)"), symbol("table", UserAddress { index: Some((80, 4)), ..moved(0) }));
        for wrong in ["%fs:8", "x@tpoff(%rax)", "4(%rip)", "(%rax", "a+b(%rax)", "(%rax,%rbx,8,9)", "-x(%rax)"] {
            assert!(matches!(of(wrong), Place::Unavailable(_)), "{wrong}");
        }
    }

    #[test]
    fn constants_of_x86() {
        let of = |text: &str| place(Assembler::X86, &format!("-8@{text}"));
        assert_eq!([of("$5"), of("$-1"), of("$0x10")], [5, -1, 16].map(Place::Constant));
        assert_eq!(of("$18446744073709551615"), Place::Constant(-1));
    }

    #[test]
    fn operands_of_arm64() {
        let of = |text: &str| place(Assembler::Arm64, &format!("-4@{text}"));
        assert_eq!([of("x0"), of("w1"), of("x30"), of("sp")], [0, 8, 240, 248].map(Place::Register));
        assert_eq!([of("5"), of("#-3"), of("wzr")], [5, -3, 0].map(Place::Constant));
        assert_eq!(of("[sp, 16]"), memory(Some(248), None, 16));
        assert_eq!(of("[x29, #-8]"), memory(Some(232), None, -8));
        assert_eq!(of("[x0]"), memory(Some(0), None, 0));
        assert_eq!(of("[x1, x2, lsl #3]"), memory(Some(8), Some((16, 8)), 0));
        for wrong in ["v0", "d8", "x31", "[x0, w1, sxtw 2]", "[x0, #:lo12:name]", "[", "[x1, x2, lsl 9]"] {
            assert!(matches!(of(wrong), Place::Unavailable(_)), "{wrong}");
        }
        assert_eq!(operands(Assembler::Arm64, " 4@w0  8@[sp, 16] -1@w2").len(), 3);
    }

    #[test]
    fn nothing_is_no_argument() {
        assert!(operands(Assembler::X86, "").is_empty() && operands(Assembler::X86, "  ").is_empty());
    }
}
