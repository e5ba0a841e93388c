//! Tests of the tables: their order, and values written by hand. It must never hold a value that was copied from a table.

use std::collections::HashSet;

use super::*;

#[test]
fn tables_are_sorted_so_that_they_can_be_searched() {
    for (about, rows) in FIXED.iter().chain(ENUMERATED) {
        assert!(rows.is_sorted_by(|a, b| a.0 < b.0), "{about}");
    }
}

#[test]
fn a_name_has_one_value() {
    let mut seen = HashSet::new();
    for name in names() {
        assert!(seen.insert(name), "{name} is there twice");
        assert!(named(name).is_some(), "{name}");
    }
    assert!(seen.len() > 2500);
}

#[test]
fn names_begin_with_a_capital_or_an_underscore() {
    for name in names() {
        assert!(name.starts_with(|first: char| first.is_ascii_uppercase() || first == '_'), "{name}");
    }
}

#[test]
fn what_kernels_differ_in_is_left_out() {
    for name in ["HZ", "GFP_KERNEL", "DNAME_INLINE_LEN", "BPF_MAP_TYPE_HASH", "REQ_OP_READ", "pid", "af_inet", ""] {
        assert_eq!(named(name), None, "{name}");
    }
}

#[test]
fn enumerators_are_no_fixed_values() {
    for name in ["IPPROTO_TCP", "SOCK_STREAM", "TCP_ESTABLISHED", "TASK_RUNNING", "TASK_COMM_LEN", "VM_READ"] {
        assert!(fixed(name).is_none() && enumerated(name).is_some(), "{name}");
    }
    for name in ["AF_INET", "O_CREAT", "EPERM", "PAGE_SIZE", "SOCK_CLOEXEC", "TCP_NODELAY"] {
        assert!(fixed(name).is_some() && enumerated(name).is_none(), "{name}");
    }
}

#[test]
fn what_does_not_fit_is_unsigned() {
    for name in UNSIGNED {
        assert_eq!(named(name), Some(-1), "{name}");
    }
    assert!(is_unsigned("ULONG_MAX") && !is_unsigned("LONG_MAX"));
}

#[test]
fn errors_and_signals() {
    check(&[
        ("EPERM", 1),
        ("ENOENT", 2),
        ("EAGAIN", 11),
        ("EWOULDBLOCK", 11),
        ("EINVAL", 22),
        ("ENOSYS", 38),
        ("ECONNREFUSED", 111),
        ("ERESTARTSYS", 512),
        ("ENOTSUPP", 524),
        ("SIGHUP", 1),
        ("SIGKILL", 9),
        ("SIGCHLD", 17),
        ("SIGSYS", 31),
        ("SIGRTMIN", 32),
        ("SIG_BLOCK", 0),
        ("SIG_SETMASK", 2),
        ("SA_RESTART", 0x1000_0000),
        ("SA_SIGINFO", 4),
        ("SI_USER", 0),
        ("SI_TKILL", -6),
        ("SEGV_MAPERR", 1),
    ]);
}

#[test]
fn sockets_protocols_and_links() {
    check(&[
        ("AF_UNIX", 1),
        ("AF_INET", 2),
        ("AF_INET6", 10),
        ("AF_NETLINK", 16),
        ("AF_VSOCK", 40),
        ("PF_PACKET", 17),
        ("SOCK_STREAM", 1),
        ("SOCK_DGRAM", 2),
        ("SOCK_NONBLOCK", 0o4000),
        ("SOL_SOCKET", 1),
        ("SOL_TCP", 6),
        ("SOL_NETLINK", 270),
        ("SO_REUSEADDR", 2),
        ("SO_KEEPALIVE", 9),
        ("SO_REUSEPORT", 15),
        ("IPPROTO_IP", 0),
        ("IPPROTO_ICMP", 1),
        ("IPPROTO_TCP", 6),
        ("IPPROTO_UDP", 17),
        ("IPPROTO_ICMPV6", 58),
        ("MSG_PEEK", 2),
        ("MSG_DONTWAIT", 0x40),
        ("MSG_NOSIGNAL", 0x4000),
        ("MSG_ZEROCOPY", 0x400_0000),
        ("SHUT_RD", 0),
        ("SHUT_RDWR", 2),
        ("TCP_ESTABLISHED", 1),
        ("TCP_LISTEN", 10),
        ("TCP_NEW_SYN_RECV", 12),
        ("TCPF_LISTEN", 1 << 10),
        ("TCP_NODELAY", 1),
        ("TCP_CONGESTION", 13),
        ("TCP_FASTOPEN", 23),
        ("IPV6_V6ONLY", 26),
        ("INADDR_LOOPBACK", 0x7f00_0001),
        ("ETH_P_IP", 0x0800),
        ("ETH_P_ARP", 0x0806),
        ("ETH_P_IPV6", 0x86dd),
        ("ETH_P_ALL", 3),
        ("ARPHRD_ETHER", 1),
        ("ARPHRD_LOOPBACK", 772),
        ("IFF_UP", 1),
        ("IFF_LOOPBACK", 8),
        ("IFF_PROMISC", 0x100),
        ("IFNAMSIZ", 16),
        ("NETLINK_ROUTE", 0),
        ("NETLINK_GENERIC", 16),
    ]);
}

#[test]
fn files_and_file_systems() {
    check(&[
        ("O_RDONLY", 0),
        ("O_WRONLY", 1),
        ("O_RDWR", 2),
        ("O_CREAT", 0o100),
        ("O_TRUNC", 0o1000),
        ("O_APPEND", 0o2000),
        ("O_NONBLOCK", 0o4000),
        ("O_LARGEFILE", 0o100000),
        ("O_DIRECTORY", 0o200000),
        ("O_CLOEXEC", 0o2000000),
        ("O_TMPFILE", 0o20200000),
        ("AT_FDCWD", -100),
        ("AT_SYMLINK_NOFOLLOW", 0x100),
        ("AT_EMPTY_PATH", 0x1000),
        ("F_SETFD", 2),
        ("F_SETLK", 6),
        ("F_DUPFD_CLOEXEC", 1030),
        ("FD_CLOEXEC", 1),
        ("LOCK_EX", 2),
        ("LOCK_UN", 8),
        ("S_IFMT", 0o170000),
        ("S_IFREG", 0o100000),
        ("S_IFDIR", 0o40000),
        ("S_ISUID", 0o4000),
        ("S_IRWXU", 0o700),
        ("S_IRUGO", 0o444),
        ("SEEK_SET", 0),
        ("SEEK_END", 2),
        ("DT_DIR", 4),
        ("DT_REG", 8),
        ("RWF_NOWAIT", 8),
        ("RENAME_NOREPLACE", 1),
        ("FALLOC_FL_KEEP_SIZE", 1),
        ("FALLOC_FL_PUNCH_HOLE", 2),
        ("STATX_SIZE", 0x200),
        ("IN_MODIFY", 2),
        ("IN_CREATE", 0x100),
        ("FAN_OPEN", 0x20),
        ("MS_RDONLY", 1),
        ("MS_BIND", 4096),
        ("MS_PRIVATE", 1 << 18),
        ("MNT_DETACH", 2),
        ("FS_IMMUTABLE_FL", 0x10),
        ("EXT4_SUPER_MAGIC", 0xef53),
        ("TMPFS_MAGIC", 0x0102_1994),
        ("FMODE_WRITE", 2),
        ("FMODE_EXEC", 0x20),
    ]);
}

#[test]
fn memory_and_processes() {
    check(&[
        ("MAP_SHARED", 1),
        ("MAP_ANONYMOUS", 0x20),
        ("MAP_HUGETLB", 0x40000),
        ("PROT_READ", 1),
        ("PROT_EXEC", 4),
        ("MADV_DONTNEED", 4),
        ("MADV_HUGEPAGE", 14),
        ("MS_SYNC", 4),
        ("MCL_FUTURE", 2),
        ("IPC_CREAT", 0o1000),
        ("VM_READ", 1),
        ("VM_GROWSDOWN", 0x100),
        ("CLONE_VM", 0x100),
        ("CLONE_THREAD", 0x10000),
        ("CLONE_NEWNS", 0x20000),
        ("CLONE_NEWUSER", 0x1000_0000),
        ("RLIMIT_NOFILE", 7),
        ("RLIMIT_MEMLOCK", 8),
        ("PR_SET_NAME", 15),
        ("PR_SET_SECCOMP", 22),
        ("PTRACE_ATTACH", 16),
        ("PTRACE_SEIZE", 0x4206),
        ("FUTEX_WAIT", 0),
        ("FUTEX_WAKE", 1),
        ("FUTEX_PRIVATE_FLAG", 128),
        ("CAP_NET_ADMIN", 12),
        ("CAP_SYS_ADMIN", 21),
        ("CAP_BPF", 39),
        ("SCHED_FIFO", 1),
        ("SCHED_IDLE", 5),
        ("WNOHANG", 1),
        ("WUNTRACED", 2),
        ("CLOCK_MONOTONIC", 1),
        ("IOPRIO_CLASS_SHIFT", 13),
        ("IOPRIO_CLASS_IDLE", 3),
        ("TASK_RUNNING", 0),
        ("TASK_UNINTERRUPTIBLE", 2),
        ("__TASK_STOPPED", 4),
        ("TASK_DEAD", 0x80),
        ("TASK_IDLE", 0x402),
        ("PF_EXITING", 4),
        ("PF_WQ_WORKER", 0x20),
        ("PF_KTHREAD", 0x20_0000),
    ]);
}

#[test]
fn events_and_ranges() {
    check(&[
        ("EPOLLIN", 1),
        ("EPOLLOUT", 4),
        ("EPOLLET", 1 << 31),
        ("EPOLL_CTL_ADD", 1),
        ("POLLIN", 1),
        ("POLLHUP", 0x10),
        ("PERF_FLAG_FD_CLOEXEC", 8),
        ("PERF_RECORD_MISC_KERNEL", 1),
        ("INT_MAX", i64::from(i32::MAX)),
        ("INT_MIN", i64::from(i32::MIN)),
        ("UINT_MAX", i64::from(u32::MAX)),
        ("LONG_MAX", i64::MAX),
        ("LONG_MIN", i64::MIN),
        ("CHAR_BIT", 8),
        ("PATH_MAX", 4096),
        ("NAME_MAX", 255),
        ("NULL", 0),
        ("PAGE_SIZE", 4096),
        ("PAGE_MASK", !0xfff),
        ("NSEC_PER_SEC", 1_000_000_000),
        ("NSEC_PER_MSEC", 1_000_000),
        ("MINORMASK", (1 << 20) - 1),
        ("TASK_COMM_LEN", 16),
    ]);
}

fn check(values: &[(&str, i64)]) {
    for (name, value) in values {
        assert_eq!(named(name), Some(*value), "{name}");
    }
}
