//! Names of numbers that the kernel gives: errors, signals, system calls. Values are those of x86-64. Pure data: it must
//! never ask the machine.

mod errors;
mod syscalls;

use errors::{ERRORS, KERNEL_ERRORS};
use syscalls::SYSCALLS;

/// The text that the C library has for an error number, such as "No such file or directory"; the number is positive.
pub fn errno_text(number: i64) -> Option<&'static str> {
    let at = ERRORS.binary_search_by_key(&number, |(known, _, _)| *known).ok()?;
    Some(ERRORS[at].2)
}

/// The name of an error number, such as "ENOENT"; the number is positive. Those that stay inside the kernel have one too.
pub fn errno_name(number: i64) -> Option<&'static str> {
    if let Ok(at) = ERRORS.binary_search_by_key(&number, |(known, _, _)| *known) {
        return Some(ERRORS[at].1);
    }
    let at = KERNEL_ERRORS.binary_search_by_key(&number, |(known, _)| *known).ok()?;
    Some(KERNEL_ERRORS[at].1)
}

/// The name of a signal, such as "SIGKILL"; real-time signals have none.
pub fn signal_name(number: i64) -> Option<&'static str> {
    let at = usize::try_from(number).ok()?.checked_sub(1)?;
    SIGNAL_NAMES.get(at).copied()
}

/// The name of a system call, such as "openat".
pub fn syscall_name(number: i64) -> Option<&'static str> {
    let at = SYSCALLS.binary_search_by_key(&number, |(known, _)| *known).ok()?;
    Some(SYSCALLS[at].1)
}

/// The number of a system call. The table is searched from its begin: a script names few calls.
pub fn syscall_number(name: &str) -> Option<i64> {
    SYSCALLS.iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
}

/// What `errno_text` has for each number from 0 on; last, what stands for all others.
pub fn errno_texts() -> Vec<&'static str> {
    let last = ERRORS.last().map_or(0, |(number, _, _)| *number);
    let mut all = numbered(last, errno_text, "Unknown error");
    all[0] = "Success";
    all
}

/// What `signal_name` has for each number from 0 on; last, what stands for all others.
pub fn signal_names() -> Vec<&'static str> {
    numbered(SIGNALS, signal_name, "Unknown signal")
}

/// What `syscall_name` has for each number from 0 on; last, what stands for all others.
pub fn syscall_names() -> Vec<&'static str> {
    let last = SYSCALLS.last().map_or(0, |(number, _)| *number);
    numbered(last, syscall_name, "Unknown system call")
}

fn numbered(last: i64, name: impl Fn(i64) -> Option<&'static str>, of_others: &'static str) -> Vec<&'static str> {
    (0..=last + 1).map(|number| name(number).unwrap_or(of_others)).collect()
}

/// The number of the last signal that has a name.
pub const SIGNALS: i64 = SIGNAL_NAMES.len() as i64;

/// From 1 on (include/uapi/asm-generic/signal.h).
const SIGNAL_NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constants;

    #[test]
    fn tables_are_sorted_so_that_they_can_be_searched() {
        assert!(ERRORS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(KERNEL_ERRORS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(SYSCALLS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn errors_have_names_and_texts() {
        assert_eq!(errno_text(2), Some("No such file or directory"));
        assert_eq!(errno_text(11), Some("Resource temporarily unavailable"));
        assert_eq!(errno_text(110), Some("Connection timed out"));
        assert_eq!(errno_name(1), Some("EPERM"));
        assert_eq!(errno_name(11), Some("EAGAIN"));
        assert_eq!(errno_name(35), Some("EDEADLK"));
        assert_eq!(errno_name(133), Some("EHWPOISON"));
        assert_eq!(errno_name(512), Some("ERESTARTSYS"));
        for nothing in [0, -2, 41, 58, 134, 512] {
            assert_eq!(errno_text(nothing), None, "{nothing}");
        }
        assert_eq!((errno_name(0), errno_name(520), errno_name(4095)), (None, None, None));
    }

    #[test]
    fn names_and_constants_agree() {
        for (number, name, _) in ERRORS {
            assert_eq!(constants::fixed(name), Some(*number), "{name}");
        }
        for (number, name) in KERNEL_ERRORS {
            assert_eq!(constants::fixed(name), Some(*number), "{name}");
        }
        for number in 1..=31 {
            let name = signal_name(number).unwrap();
            assert_eq!(constants::fixed(name), Some(number), "{name}");
        }
    }

    #[test]
    fn signals_have_names() {
        assert_eq!(signal_name(9), Some("SIGKILL"));
        assert_eq!(signal_name(31), Some("SIGSYS"));
        assert_eq!((signal_name(0), signal_name(-9), signal_name(32)), (None, None, None));
    }

    #[test]
    fn system_calls_have_names_and_numbers() {
        let some = [
            (0, "read"),
            (1, "write"),
            (59, "execve"),
            (156, "_sysctl"),
            (231, "exit_group"),
            (257, "openat"),
            (321, "bpf"),
            (332, "statx"),
            (334, "rseq"),
            (335, "uretprobe"),
            (424, "pidfd_send_signal"),
            (462, "mseal"),
            (463, "setxattrat"),
            (466, "removexattrat"),
            (467, "open_tree_attr"),
            (468, "file_getattr"),
            (469, "file_setattr"),
        ];
        for (number, name) in some {
            assert_eq!(syscall_name(number), Some(name));
            assert_eq!(syscall_number(name), Some(number));
        }
        for nothing in [-1, 400, 512, 1_000_000] {
            assert_eq!(syscall_name(nothing), None, "{nothing}");
        }
        assert_eq!(syscall_number("no_such_call"), None);
        for (number, name) in SYSCALLS {
            assert_eq!(syscall_number(name), Some(*number), "two calls are called {name}");
        }
    }
}
