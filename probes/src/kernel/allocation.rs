//! Flags of the kernel's memory allocations (GFP_*), whose values differ between kernels: read from what the running one prints
//! them with, the format of the event `kmem:kmalloc`.

use std::sync::Arc;

use super::KernelError;
use super::tracefs::Tracefs;

/// Names and values, in the order in which the kernel looks for them: those of several bits first.
pub fn flags(tracefs: &Tracefs) -> Result<Vec<(Arc<str>, u64)>, KernelError> {
    let text = tracefs.format_text("kmem", "kmalloc")?;
    let flags = table(&text);
    if flags.is_empty() {
        let (what, reason) = ("the format of kmem:kmalloc".to_string(), "it names no flags".to_string());
        return Err(KernelError::Malformed { what, reason });
    }
    Ok(flags)
}

/// The rows of `__print_flags(REC->gfp_flags, "|", {VALUE, "NAME"}, ...)`.
fn table(format: &str) -> Vec<(Arc<str>, u64)> {
    let rows = format.split_once("__print_flags(REC->gfp_flags").map_or("", |(_, rows)| rows);
    let rows = rows.split('{').skip(1).filter_map(|row| row.split_once('}').map(|(row, _)| row));
    let row = |row: &str| {
        let (value, name) = row.rsplit_once(',')?;
        let name = name.trim().strip_prefix('"')?.strip_suffix('"')?;
        let mut rest = Rest { text: value.as_bytes() };
        let value = rest.either()?;
        (rest.next().is_none() && value != 0).then(|| (Arc::from(name), value))
    };
    rows.filter_map(row).collect()
}

/// What is left of a constant expression of C, of the operators that flags are made with.
struct Rest<'a> {
    text: &'a [u8],
}

impl Rest<'_> {
    /// The next character that is no space.
    fn next(&mut self) -> Option<u8> {
        self.text = self.text.trim_ascii_start();
        self.text.first().copied()
    }

    fn take(&mut self, wanted: &[u8]) -> bool {
        self.next();
        match self.text.strip_prefix(wanted) {
            Some(rest) => {
                self.text = rest;
                true
            }
            None => false,
        }
    }

    /// `a | b`
    fn either(&mut self) -> Option<u64> {
        let mut value = self.both()?;
        while self.take(b"|") {
            value |= self.both()?;
        }
        Some(value)
    }

    /// `a & b`
    fn both(&mut self) -> Option<u64> {
        let mut value = self.shifted()?;
        while self.take(b"&") {
            value &= self.shifted()?;
        }
        Some(value)
    }

    /// `a << b`
    fn shifted(&mut self) -> Option<u64> {
        let mut value = self.single()?;
        while self.take(b"<<") {
            value = value.checked_shl(u32::try_from(self.single()?).ok()?)?;
        }
        Some(value)
    }

    /// A number, `~a`, `(a)` or `(type)a`.
    fn single(&mut self) -> Option<u64> {
        if self.take(b"~") {
            return Some(!self.single()?);
        }
        if self.take(b"(") {
            if self.next()?.is_ascii_alphabetic() {
                let end = self.text.iter().position(|byte| *byte == b')')?;
                self.text = &self.text[end + 1..];
                return self.single();
            }
            let value = self.either()?;
            return self.take(b")").then_some(value);
        }
        let length = self.text.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let (number, rest) = self.text.split_at(length);
        self.text = rest;
        let number = std::str::from_utf8(number).ok()?.trim_end_matches(['u', 'U', 'l', 'L']);
        match number.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => number.parse().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_old_and_new_kernels() {
        let old = r#"print fmt: "%s", (REC->gfp_flags) ? __print_flags(REC->gfp_flags, "|", {(unsigned long)(((((( gfp_t)(0x400u|0x800u)) | (( gfp_t)0x40u)) | (( gfp_t)0)) & ~(( gfp_t)0x400u))), "GFP_A"}, {(unsigned long)(( gfp_t)0x100u), "__GFP_ZERO"}, {(unsigned long)(( gfp_t)0), "__GFP_NOTHING"} ) : "none""#;
        let new = r#"print fmt: "%s", (REC->gfp_flags) ? __print_flags(REC->gfp_flags, "|", {( unsigned long)((( gfp_t)(((((1UL))) << (10))|((((1UL))) << (11)))) | (( gfp_t)((((1UL))) << (6)))), "GFP_A"}, {( unsigned long)(( gfp_t)((((1UL))) << (8))), "__GFP_ZERO"} ) : "none""#;
        let zero = (Arc::from("__GFP_ZERO"), 0x100);
        assert_eq!(table(old), [(Arc::from("GFP_A"), 0x840), zero.clone()]);
        assert_eq!(table(new), [(Arc::from("GFP_A"), 0xc40), zero]);
        assert_eq!(table("nothing of the kind"), []);
    }
}
