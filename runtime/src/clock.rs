//! Times as strftime(3) writes them, in the machine's time zone.
//! Unsafe: reads clocks and calls the C library.

use std::ffi::{CStr, CString};

/// Longest text that a format may give: what is longer is cut to nothing by strftime(3).
const LONGEST_TEXT: usize = 4096;

/// Nanoseconds of a clock.
fn read(clock: libc::clockid_t) -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes the specification.
    unsafe { libc::clock_gettime(clock, &mut now) };
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// What makes nanoseconds since 1970 of nanoseconds of the boot clock.
pub fn boot_to_wall() -> i64 {
    read(libc::CLOCK_REALTIME) - read(libc::CLOCK_BOOTTIME)
}

/// Nanoseconds since 1970 of a point of the boot clock.
pub fn wall_of_boot(nanoseconds: u64) -> i64 {
    (nanoseconds as i64).wrapping_add(boot_to_wall())
}

/// Nanoseconds since 1970 of a point of the clock of atomic time, which is ahead by the leap seconds that the kernel was told of.
pub fn wall_of_tai(nanoseconds: u64) -> i64 {
    const SECOND: i64 = 1_000_000_000;
    let ahead = read(libc::CLOCK_TAI) - read(libc::CLOCK_REALTIME);
    // Whole seconds, but for what passes between the two.
    let seconds = (ahead + SECOND / 2).div_euclid(SECOND);
    (nanoseconds as i64).wrapping_sub(seconds * SECOND)
}

/// Now, in nanoseconds since 1970.
pub fn now() -> i64 {
    read(libc::CLOCK_REALTIME)
}

/// The time in that format. Beyond strftime(3): `%f` are six digits of microseconds, `%l` three of milliseconds, `%k`
/// nine of nanoseconds.
pub fn format(format: &str, nanoseconds: i64) -> String {
    let (seconds, below) = (nanoseconds.div_euclid(1_000_000_000), nanoseconds.rem_euclid(1_000_000_000));
    let mut own = String::new();
    let mut characters = format.chars();
    while let Some(c) = characters.next() {
        if c != '%' {
            own.push(c);
            continue;
        }
        match characters.next() {
            Some('f') => own.push_str(&format!("{:06}", below / 1000)),
            Some('l') => own.push_str(&format!("{:03}", below / 1_000_000)),
            Some('k') => own.push_str(&format!("{below:09}")),
            Some(other) => own.extend(['%', other]),
            None => own.push_str("%%"),
        }
    }
    // A format that gives nothing and one that gives too much are told apart by a character that is always there.
    own.push('.');
    let Ok(own) = CString::new(own) else { return String::new() };
    let mut text = vec![0u8; LONGEST_TEXT];
    let seconds: libc::time_t = seconds;
    // SAFETY: a zeroed tm is valid; localtime_r fills it; strftime writes at most the given bytes, with a NUL.
    let length = unsafe {
        let mut parts: libc::tm = std::mem::zeroed();
        libc::localtime_r(&seconds, &mut parts);
        libc::strftime(text.as_mut_ptr().cast(), text.len(), own.as_ptr(), &parts)
    };
    match CStr::from_bytes_until_nul(&text) {
        Ok(text) if length > 0 => text.to_string_lossy().trim_end_matches('.').to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_of_seconds() {
        assert_eq!(format("%S.%f %l %k %%", 5_123_456_789), "05.123456 123 123456789 %");
        assert_eq!(format("", 0), "");
    }
}
