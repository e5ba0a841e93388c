//! Names of functions of D (the language, not the tracer), from its mangled symbols: https://dlang.org/spec/abi.html#name_mangling.
//!
//! Written out are the modules, types and functions that a function is in and its template's arguments, as its compiler's own
//! demangler has them; its own parameters are not.

/// Types in types: a symbol of more is damaged, or meant to be.
const MOST_DEPTH: u32 = 200;
/// What back references unfold to grows without bound.
const MOST_BYTES: usize = 64 << 10;

/// `_D3std5stdio__T7writelnTAyaZQnFNfQjZv` is `std.stdio.writeln!(immutable(char)[]).writeln`; None for what is no such symbol.
pub fn demangle(mangled: &str) -> Option<String> {
    if mangled == "_Dmain" {
        return Some("D main".to_string());
    }
    let rest = mangled.strip_prefix("_D")?;
    if !mangled.is_ascii() || !rest.starts_with(|c: char| c.is_ascii_digit() || c == '_' || c == 'Q') {
        return None;
    }
    let mut reader = Reader { text: mangled.as_bytes(), at: 2, depth: 0, written: 0 };
    let name = reader.qualified(true)?;
    // What follows is the type, of which a function's has been read as far as its parameters, or `Z` for what has none.
    if reader.peek()? != b'Z' {
        reader.ty()?;
    } else {
        reader.at += 1;
    }
    (reader.at == reader.text.len() || reader.peek() == Some(b'.')).then_some(name)
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    depth: u32,
    /// Bytes of names so far, of those that went into others as well.
    written: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn eat(&mut self, wanted: &str) -> bool {
        let is_there = self.rest().starts_with(wanted.as_bytes());
        if is_there {
            self.at += wanted.len();
        }
        is_there
    }

    fn number(&mut self) -> Option<usize> {
        self.digits(u8::is_ascii_digit)?.parse().ok()
    }

    /// The letters of that kind that come next; None where there are none.
    fn digits(&mut self, is_digit: impl Fn(&u8) -> bool) -> Option<&str> {
        let count = self.rest().iter().take_while(|byte| is_digit(byte)).count();
        let begun = self.at;
        self.at += count;
        std::str::from_utf8(self.text.get(begun..self.at)?).ok().filter(|text| !text.is_empty())
    }

    /// Reads something at the place that a back reference at the current one means, and goes on behind the reference.
    fn back<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let reference = self.at;
        self.at += 1;
        let mut distance = 0usize;
        loop {
            let digit = self.next()?;
            let is_last = digit.is_ascii_lowercase();
            if !is_last && !digit.is_ascii_uppercase() {
                return None;
            }
            distance = distance.checked_mul(26)?.checked_add(usize::from(digit.to_ascii_uppercase() - b'A'))?;
            if is_last {
                break;
            }
        }
        let behind = self.at;
        self.at = reference.checked_sub(distance).filter(|at| *at < reference)?;
        let found = self.deeper(read);
        self.at = behind;
        found
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth == MOST_DEPTH {
            return None;
        }
        self.depth += 1;
        let found = read(self);
        self.depth -= 1;
        found
    }

    /// Names with dots between. The parameters of functions that others are in are written; of the last one only unless `is_last_bare`.
    fn qualified(&mut self, is_last_bare: bool) -> Option<String> {
        let mut name = String::new();
        let mut parameters = String::new();
        while self.is_symbol() {
            let part = self.symbol()?;
            // An enclosing function without a name of its own: `__S12`.
            let is_placeholder = part.strip_prefix("__S").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
            if !(is_placeholder && part.len() > 3) {
                name += &std::mem::take(&mut parameters);
                if !name.is_empty() {
                    name.push('.');
                }
                name += &part;
            }
            parameters = self.function_of_name().unwrap_or_default();
            self.written += name.len();
            if self.written > MOST_BYTES {
                return None;
            }
        }
        if !is_last_bare {
            name += &parameters;
        }
        (!name.is_empty()).then_some(name)
    }

    /// Whether a name begins here.
    fn is_symbol(&mut self) -> bool {
        match self.peek() {
            Some(b'0'..=b'9') => true,
            Some(b'_') => self.rest().starts_with(b"__T") || self.rest().starts_with(b"__U"),
            // The same letter refers to types.
            Some(b'Q') => {
                let at = self.at;
                let is_name = self.back(|reader| Some(matches!(reader.peek(), Some(b'0'..=b'9'))));
                self.at = at;
                is_name == Some(true)
            }
            _ => false,
        }
    }

    fn symbol(&mut self) -> Option<String> {
        match self.peek()? {
            b'Q' => self.back(Self::symbol),
            b'_' if self.is_symbol() => self.deeper(Self::template),
            b'_' => None,
            _ => {
                let length = self.number()?;
                if length == 0 {
                    // Something without a name.
                    return Some(String::new());
                }
                let end = self.at.checked_add(length).filter(|end| *end <= self.text.len())?;
                let part = &self.text[self.at..end];
                // Before 2018 templates had their lengths before them.
                if part.len() > 4 && (part.starts_with(b"__T") || part.starts_with(b"__U")) && part[3].is_ascii_digit()
                {
                    let name = self.deeper(Self::template)?;
                    return (self.at == end).then_some(name);
                }
                self.at = end;
                let name = std::str::from_utf8(part).ok()?;
                Some(match name {
                    "__ctor" => "this".to_string(),
                    "__dtor" => "~this".to_string(),
                    "__postblit" => "this(this)".to_string(),
                    _ => name.to_string(),
                })
            }
        }
    }

    /// `__T7writelnTAyaZ`
    fn template(&mut self) -> Option<String> {
        self.at += 3;
        let mut name = self.symbol()?;
        let mut arguments: Vec<String> = Vec::new();
        while !self.eat("Z") {
            // Of a specialised parameter.
            self.eat("H");
            arguments.push(match self.next()? {
                b'T' => self.ty()?,
                b'V' => {
                    let kind = self.peek()?;
                    let ty = self.ty()?;
                    // What a back reference is to is not written in its letter.
                    self.value(if kind == b'Q' { letter_of(&ty) } else { kind }, &ty)?
                }
                b'S' => self.alias()?,
                b'X' => {
                    let length = self.number()?;
                    let end = self.at.checked_add(length).filter(|end| *end <= self.text.len())?;
                    let part = std::str::from_utf8(&self.text[self.at..end]).ok()?.to_string();
                    self.at = end;
                    part
                }
                _ => return None,
            });
        }
        name += &format!("!({})", arguments.join(", "));
        Some(name)
    }

    /// A symbol that is an argument of a template.
    fn alias(&mut self) -> Option<String> {
        if self.eat("_D") {
            let name = self.qualified(false)?;
            if !self.eat("Z") {
                self.ty()?;
            }
            return Some(name);
        }
        self.qualified(false)
    }

    /// The type of a function whose name came just before, as its parameters; nothing is read where it is none, or the last of all.
    fn function_of_name(&mut self) -> Option<String> {
        let begun = self.at;
        let read = |reader: &mut Self| {
            if reader.eat("M") {
                // What a member may do with its object.
                while reader.modifier().is_some() {}
            }
            Some(format!("({})", reader.function()?.1))
        };
        let found = self.deeper(read);
        // A function's type without its result; with one it is what the whole symbol is of.
        if found.is_none() {
            self.at = begun;
        }
        found
    }

    /// The convention, attributes and parameters of a function; not its result.
    fn function(&mut self) -> Option<(&'static str, String)> {
        let convention = match self.next()? {
            b'F' => "",
            b'U' => "extern(C) ",
            b'W' => "extern(Windows) ",
            b'V' => "extern(Pascal) ",
            b'R' => "extern(C++) ",
            b'Y' => "extern(Objective-C) ",
            _ => return None,
        };
        while self.peek() == Some(b'N') {
            // These are of a parameter.
            if matches!(self.text.get(self.at + 1), Some(b'g' | b'h' | b'k' | b'n')) {
                break;
            }
            self.at += 2;
        }
        let mut parameters: Vec<String> = Vec::new();
        loop {
            match self.peek()? {
                b'Z' => break,
                b'X' => {
                    let last = parameters.pop().unwrap_or_default();
                    parameters.push(last + "...");
                    break;
                }
                b'Y' => {
                    parameters.push("...".to_string());
                    break;
                }
                _ => parameters.push(self.parameter()?),
            }
        }
        self.at += 1;
        Some((convention, parameters.join(", ")))
    }

    fn parameter(&mut self) -> Option<String> {
        let mut text = String::new();
        loop {
            text += match self.peek()? {
                b'I' => "in ",
                b'J' => "out ",
                b'K' => "ref ",
                b'L' => "lazy ",
                b'M' => "scope ",
                b'N' if self.text.get(self.at + 1) == Some(&b'k') => {
                    self.at += 1;
                    "return "
                }
                _ => break,
            };
            self.at += 1;
        }
        Some(text + &self.ty()?)
    }

    /// `const`, and others that are written around what they are of.
    fn modifier(&mut self) -> Option<&'static str> {
        let word = match self.peek()? {
            b'x' => "const",
            b'y' => "immutable",
            b'O' => "shared",
            b'N' if self.text.get(self.at + 1) == Some(&b'g') => {
                self.at += 1;
                "inout"
            }
            _ => return None,
        };
        self.at += 1;
        Some(word)
    }

    fn ty(&mut self) -> Option<String> {
        let text = self.deeper(Self::ty_within)?;
        self.written += text.len();
        (self.written <= MOST_BYTES).then_some(text)
    }

    fn ty_within(&mut self) -> Option<String> {
        if let Some(word) = self.modifier() {
            return Some(format!("{word}({})", self.ty()?));
        }
        let letter = self.peek()?;
        match letter {
            b'Q' => return self.back(Self::ty),
            b'F' | b'U' | b'W' | b'V' | b'R' | b'Y' => return self.function_type("function"),
            _ => self.at += 1,
        }
        Some(match letter {
            b'A' => format!("{}[]", self.ty()?),
            b'G' => {
                let length = self.number()?;
                format!("{}[{length}]", self.ty()?)
            }
            b'H' => {
                let key = self.ty()?;
                format!("{}[{key}]", self.ty()?)
            }
            b'P' if matches!(self.peek(), Some(b'F' | b'U' | b'W' | b'V' | b'R' | b'Y')) => {
                return self.function_type("function");
            }
            b'P' => format!("{}*", self.ty()?),
            b'D' => {
                let mut behind = String::new();
                while let Some(word) = self.modifier() {
                    behind = format!("{behind} {word}");
                }
                let delegate = match self.peek()? {
                    b'Q' => self.back(|reader| reader.function_type("delegate"))?,
                    _ => self.function_type("delegate")?,
                };
                delegate + &behind
            }
            b'C' | b'S' | b'E' | b'T' => return self.qualified(false),
            b'B' => {
                let mut parts = Vec::new();
                while !self.eat("Z") {
                    parts.push(self.parameter()?);
                }
                format!("tuple({})", parts.join(", "))
            }
            b'N' => match self.next()? {
                b'h' => format!("__vector({})", self.ty()?),
                b'n' => "noreturn".to_string(),
                _ => return None,
            },
            b'z' => match self.next()? {
                b'i' => "cent".to_string(),
                b'k' => "ucent".to_string(),
                _ => return None,
            },
            _ => BASIC.iter().find(|(basic, _)| *basic == letter)?.1.to_string(),
        })
    }

    /// `void function(int)`
    fn function_type(&mut self, word: &str) -> Option<String> {
        let (convention, parameters) = self.function()?;
        Some(format!("{convention}{} {word}({parameters})", self.ty()?))
    }

    /// An argument that is a value, of a type that begins with that letter.
    fn value(&mut self, kind: u8, ty: &str) -> Option<String> {
        match self.peek()? {
            b'n' => {
                self.at += 1;
                Some("null".to_string())
            }
            b'i' | b'N' | b'0'..=b'9' => {
                let sign = if self.eat("N") { "-" } else { "" };
                self.eat("i");
                self.integer(kind, sign)
            }
            b'e' => {
                self.at += 1;
                self.float()
            }
            b'c' => {
                self.at += 1;
                let real = self.float()?;
                self.eat("c").then_some(())?;
                Some(format!("{real}+{}i", self.float()?))
            }
            b'a' | b'w' | b'd' => self.string(),
            b'A' => {
                self.at += 1;
                let count = self.number()?;
                let is_map = kind == b'H';
                let mut parts = Vec::new();
                for _ in 0..count {
                    let key = self.deeper(|reader| reader.value(0, ""))?;
                    parts.push(match is_map {
                        true => format!("{key}:{}", self.deeper(|reader| reader.value(0, ""))?),
                        false => key,
                    });
                }
                Some(format!("[{}]", parts.join(", ")))
            }
            b'S' => {
                self.at += 1;
                let count = self.number()?;
                let mut parts = Vec::new();
                for _ in 0..count {
                    parts.push(self.deeper(|reader| reader.value(0, ""))?);
                }
                Some(format!("{ty}({})", parts.join(", ")))
            }
            b'f' => {
                self.at += 1;
                self.alias()
            }
            _ => None,
        }
    }

    fn integer(&mut self, kind: u8, sign: &str) -> Option<String> {
        let text = self.digits(u8::is_ascii_digit)?;
        Some(match kind {
            b'b' => (text != "0").to_string(),
            b'a' | b'u' | b'w' => {
                let number: u32 = text.parse().ok()?;
                match char::from_u32(number) {
                    Some(shown) if (' '..='~').contains(&shown) => format!("'{shown}'"),
                    _ if kind == b'a' => format!("'\\x{number:02x}'"),
                    _ if kind == b'u' => format!("'\\u{number:04x}'"),
                    _ => format!("'\\U{number:08x}'"),
                }
            }
            b'h' | b't' | b'k' => format!("{sign}{text}u"),
            b'l' => format!("{sign}{text}L"),
            b'm' => format!("{sign}{text}uL"),
            _ => format!("{sign}{text}"),
        })
    }

    /// `NINF`, `NAN`, or hexadecimal digits with an exponent: `18P3` is `0x1.8p3`.
    fn float(&mut self) -> Option<String> {
        for (written, shown) in [("NAN", "NaN"), ("NINF", "-Inf"), ("INF", "Inf")] {
            if self.eat(written) {
                return Some(shown.to_string());
            }
        }
        let sign = if self.eat("N") { "-" } else { "" };
        let digits = self.digits(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(byte))?.to_string();
        self.eat("P").then_some(())?;
        let exponent_sign = if self.eat("N") { "-" } else { "" };
        let exponent = self.number()?;
        let (first, others) = digits.split_at(1);
        Some(format!("{sign}0x{first}.{others}p{exponent_sign}{exponent}"))
    }

    /// `a3_616263` is `"abc"`.
    fn string(&mut self) -> Option<String> {
        let width = self.next()?;
        let length = self.number()?;
        self.eat("_").then_some(())?;
        let digits = self.text.get(self.at..self.at.checked_add(length.checked_mul(2)?)?)?;
        self.at += digits.len();
        let mut text = String::from("\"");
        for pair in digits.chunks_exact(2) {
            let byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
            match byte {
                b'\t' => text += "\\t",
                b'\n' => text += "\\n",
                b'\r' => text += "\\r",
                0x0c => text += "\\f",
                0x0b => text += "\\v",
                b' '..=b'~' => text.push(char::from(byte)),
                _ => text += &format!("\\x{}", std::str::from_utf8(pair).ok()?),
            }
        }
        text.push('"');
        if width != b'a' {
            text.push(char::from(width));
        }
        Some(text)
    }
}

const BASIC: &[(u8, &str)] = &[
    (b'v', "void"),
    (b'g', "byte"),
    (b'h', "ubyte"),
    (b's', "short"),
    (b't', "ushort"),
    (b'i', "int"),
    (b'k', "uint"),
    (b'l', "long"),
    (b'm', "ulong"),
    (b'f', "float"),
    (b'd', "double"),
    (b'e', "real"),
    (b'o', "ifloat"),
    (b'p', "idouble"),
    (b'j', "ireal"),
    (b'q', "cfloat"),
    (b'r', "cdouble"),
    (b'c', "creal"),
    (b'b', "bool"),
    (b'a', "char"),
    (b'u', "wchar"),
    (b'w', "dchar"),
    (b'n', "typeof(null)"),
];

fn letter_of(ty: &str) -> u8 {
    BASIC.iter().find(|(_, name)| *name == ty).map_or(0, |(letter, _)| *letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As binutils writes them, without the last function's parameters and with functions' types as in D; names of libgphobos among them.
    const NAMES: &[(&str, &str)] = &[
        ("_Dmain", "D main"),
        ("_D3app3runFiZi", "app.run"),
        ("_D3app3runFiZ5innerMFZv", "app.run(int).inner"),
        ("_D3std3net4curl4HTTP19clearSessionCookiesMFZv", "std.net.curl.HTTP.clearSessionCookies"),
        (
            "_D3std10checkedint5Abort__T10onOverflowVAyaa1_2dTxmTmZQBbFNfxmmZm",
            "std.checkedint.Abort.onOverflow!(\"-\", const(ulong), ulong).onOverflow",
        ),
        (
            "_D3std6format__T7sformatTaTxdZQoFNkMAaMAxaxdZ4Sink3putMFNaNbNfMQyZv",
            "std.format.sformat!(char, const(double)).sformat(return scope char[], scope const(char)[], const(double)).Sink.put",
        ),
        (
            "_D3std3utf__T10byCodeUnitTAaZQqFQgZ14ByCodeUnitImpl7opSliceMFNaNbNiNfmmZSQCtQCs__TQCrTQCiZQCzFQCqZQCl",
            "std.utf.byCodeUnit!(char[]).byCodeUnit(char[]).ByCodeUnitImpl.opSlice",
        ),
        (
            "_D3std3uni__T16SliceOverIndexedTSQBfQBe8GraphemeZQBk11__xopEqualsMxFKxSQCrQCq__TQCpTQCaZQCxZb",
            "std.uni.SliceOverIndexed!(std.uni.Grapheme).SliceOverIndexed.__xopEquals",
        ),
        ("_D2rt8lifetime9unqualifyFNaNbNiNkMNgC8TypeInfoZNgQn", "rt.lifetime.unqualify"),
        ("_D3std11parallelism__T3runTDFZvZQkFQiZv", "std.parallelism.run!(void delegate()).run"),
        ("_D3std5stdio17LockingTextReader10__postblitMFZv", "std.stdio.LockingTextReader.this(this)"),
        ("_D3app1S6__ctorMFiZS3app1S", "app.S.this"),
        ("_D3app__T1fVki16Vbi1Vai65VlN3Z1fFZv", "app.f!(16u, true, 'A', -3L).f"),
        ("_D3app__T1fVdeN18PN3VdeNANZ1fFZv", "app.f!(-0x1.8p-3, NaN).f"),
        ("_D3app__T1fVHiiA1i1i2VwnZ1fFZv", "app.f!([1:2], null).f"),
        ("_D3app__T1fVG2iA2i1i2Z1fFZv", "app.f!([1, 2]).f"),
        ("_D3app__T1fVS3app1SS2i1a1_78Z1fFZv", "app.f!(app.S(1, \"x\")).f"),
        ("_D3app__T1fS_D3app1gFiZvZ1fFZv", "app.f!(app.g(int)).f"),
        ("_D3app__T1fX4mainZ1fFZv", "app.f!(main).f"),
        ("_D3app__T1fTHAyaiTPFNbiZvTG4kZ1fFZv", "app.f!(int[immutable(char)[]], void function(int), uint[4]).f"),
        // Before 2018.
        ("_D1y20__T5fffffVS1y1US1i4Z5fffffFZv", "y.fffff!(y.U(4)).fffff"),
        ("_D3app15__T1fVAyaa1_78Z1fFZv", "app.f!(\"x\").f"),
    ];

    #[test]
    fn names() {
        for (mangled, name) in NAMES {
            assert_eq!(demangle(mangled).unwrap_or_default(), *name, "{mangled}");
        }
    }

    #[test]
    fn other_names_are_none() {
        for mangled in
            ["", "_D", "_Debug", "_D3app", "_D3app3runFiZ", "_D9app", "_DTi16_D4core7disableMFZv", "_Z3addii"]
        {
            assert_eq!(demangle(mangled), None, "{mangled}");
        }
    }

    /// Whatever a symbol is damaged to, reading it ends, and soon.
    #[test]
    fn damaged_names() {
        let started = std::time::Instant::now();
        for (mangled, _) in NAMES {
            for at in 0..mangled.len() {
                demangle(&mangled[..at]);
                for byte in *b"019AQZFMNSTV_axz" {
                    let mut damaged = mangled.as_bytes().to_vec();
                    damaged[at] = byte;
                    demangle(std::str::from_utf8(&damaged).unwrap());
                }
            }
        }
        // Back references to what has two of them each: twice as long at each step.
        let mut grown = "_D1a1bFSQf".to_string();
        for _ in 0..200 {
            grown += "BQcQcZ";
        }
        demangle(&grown);
        demangle(&format!("_D1aF{}", "S1aF".repeat(5000)));
        demangle(&format!("_D1aF{}", "A".repeat(50_000)));
        assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    }
}
