//! Words of DTrace, SystemTap, awk and C that are no words here, and what stands in their place. Only for messages.

/// Sorted by name.
const ABSENT: &[(&str, &str)] = &[
    (
        "MAX_ORDER",
        "`NR_PAGE_ORDERS` is the number of orders, `MAX_PAGE_ORDER` the largest: MAX_ORDER was either, by the kernel's age",
    ),
    ("breakpoint", "nothing here stops the kernel; `print(kstack)` shows where it is"),
    ("chill", "nothing here makes the kernel wait"),
    ("cmdline_str", "`execargs` is the command line of the process"),
    ("curcpu", "`cpu` is the number of the processor"),
    ("epid", "`probe` is the full name of the probe"),
    ("ftruncate", "`rtrace -o FILE` writes to a new file, `freopen()` adds to one"),
    ("gettimeofday_ms", "`walltimestamp / 1000000` are milliseconds since 1970"),
    ("gettimeofday_ns", "`walltimestamp` are nanoseconds since 1970"),
    ("gettimeofday_s", "`walltimestamp / 1000000000` are seconds since 1970"),
    ("gettimeofday_us", "`walltimestamp / 1000` are microseconds since 1970"),
    ("jstack", "`ustack` names the functions of Java where the machine writes a map of them (perf-map-agent)"),
    ("kernel_string", "`str(kptr(address))` reads a string of the kernel"),
    ("length", "`strlen(string)`, `len(@map)`"),
    ("malloc", "`alloca(bytes)` is memory of the clause; maps grow as they are written"),
    ("memcpy", "`buf(address, bytes)` takes bytes from memory, `bcopy()` copies them into memory of `alloca()`"),
    ("next", "`return` leaves the clause"),
    ("panic", "nothing here stops the kernel"),
    ("pn", "`probe` is the full name of the probe"),
    ("pp", "`probe` is the full name of the probe"),
    ("print_backtrace", "`print(kstack)`"),
    ("print_stack", "`print(kstack)`"),
    ("print_ubacktrace", "`print(ustack)`"),
    ("printd", "`join(array, separator)`, or printf()"),
    ("println", "`print(value)` ends the line"),
    ("puts", "`print(value)`"),
    ("setopt", "`rtrace` takes options on its command line, and a script a `config = { }` block"),
    ("sprint", "printf() prints; `+` joins strings, `lltostr(n)` makes one of a number"),
    ("sprintf", "printf() prints; `+` joins strings, `lltostr(n)` makes one of a number"),
    ("strcmp", "`==`, `<` and `>` compare strings"),
    ("strcpy", "`=` copies a string"),
    ("task_current", "`curtask` is the current task"),
    ("thread_indent", "`self->depth++` counts calls"),
    ("user_string", "`str(uptr(address))` reads a string of the process"),
];

/// What stands in the place of a word that many know from elsewhere.
pub fn instead_of(name: &str) -> Option<&'static str> {
    ABSENT.binary_search_by(|(known, _)| known.cmp(&name)).ok().map(|at| ABSENT[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtins;

    #[test]
    fn words_are_sorted_and_absent() {
        assert!(ABSENT.is_sorted_by(|(a, _), (b, _)| a < b));
        assert!(ABSENT.iter().all(|(name, _)| builtins::named(name).is_none()));
    }
}
