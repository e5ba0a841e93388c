//! The types of D's translated arguments: what their members are in the kernel's own structs. `X` stands for the object
//! that a probe gives.

/// A type of D.
pub struct Translator {
    pub name: &'static str,
    /// Names of members, and what they stand for.
    pub members: &'static [(&'static str, &'static str)],
    /// Where the members are that it does not have itself.
    pub rest: Option<&'static Translator>,
}

impl Translator {
    /// All members.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        let rest = self.rest.map_or(&[][..], |rest| rest.members);
        let own = self.members;
        let is_rest = move |(name, _): &&(&str, &str)| !own.iter().any(|(known, _)| known == name);
        own.iter().chain(rest.iter().filter(is_rest)).copied()
    }
}

/// A process, from a `struct task_struct *`.
pub static PSINFO: Translator = Translator {
    name: "psinfo_t",
    members: &[
        ("pr_addr", "(uint64)X"),
        ("pr_egid", "X.cred.egid.val"),
        ("pr_euid", "X.cred.euid.val"),
        ("pr_fname", "X.comm"),
        ("pr_gid", "X.cred.gid.val"),
        ("pr_nlwp", "X.signal.nr_threads"),
        ("pr_pgid", "X.signal.pids[2].numbers[0].nr"),
        ("pr_pid", "X.tgid"),
        ("pr_ppid", "X.real_parent.tgid"),
        ("pr_sid", "X.signal.pids[3].numbers[0].nr"),
        ("pr_uid", "X.cred.uid.val"),
    ],
    rest: None,
};

/// A thread, from a `struct task_struct *`. States are D's: sleeping 1, running 2, a zombie 3, stopped 4.
pub static LWPSINFO: Translator = Translator {
    name: "lwpsinfo_t",
    members: &[
        ("pr_addr", "(uint64)X"),
        ("pr_lwpid", "X.pid"),
        ("pr_name", "X.comm"),
        ("pr_onpro", "(if comptime defined(X.cpu) { X.cpu } else { X.thread_info.cpu })"),
        ("pr_pri", "X.prio"),
        (
            "pr_sname",
            "((X.exit_state & 0x30) != 0 ? \"Z\" : (TASK_STATE & 0xc) != 0 ? \"T\" : (TASK_STATE & 0x3) != 0 ? \"S\" : \"R\")",
        ),
        (
            "pr_state",
            "((X.exit_state & 0x30) != 0 ? 3 : (TASK_STATE & 0xc) != 0 ? 4 : (TASK_STATE & 0x3) != 0 ? 1 : 2)",
        ),
    ],
    rest: None,
};

/// The current process, as `curpsinfo`: its numbers are those that `pid` has, and its memory can be read.
pub static CURPSINFO: Translator = Translator {
    name: "psinfo_t",
    members: &[("pr_pid", "pid"), ("pr_ppid", "ppid"), ("pr_psargs", "execargs")],
    rest: Some(&PSINFO),
};

/// The current thread, as `curlwpsinfo`.
pub static CURLWPSINFO: Translator =
    Translator { name: "lwpsinfo_t", members: &[("pr_lwpid", "tid")], rest: Some(&LWPSINFO) };

/// A transfer, from a `struct request *`.
pub static BUFINFO: Translator = Translator {
    name: "bufinfo_t",
    members: &[
        ("b_bcount", "X.__data_len"),
        ("b_blkno", "X.__sector"),
        ("b_bufsize", "X.__data_len"),
        ("b_edev", "((DISK.major << 20) | DISK.first_minor)"),
        ("b_flags", "((X.cmd_flags & 1) != 0 ? B_WRITE : B_READ)"),
        ("b_iodone", "(uint64)X.end_io"),
        ("b_lblkno", "X.__sector"),
    ],
    rest: None,
};

/// A disk, from a `struct request *`.
pub static DEVINFO: Translator = Translator {
    name: "devinfo_t",
    members: &[
        ("dev_major", "DISK.major"),
        ("dev_minor", "DISK.first_minor"),
        ("dev_name", "DISK.disk_name"),
        ("dev_pathname", "(\"/dev/\" + str(DISK.disk_name))"),
        ("dev_statname", "DISK.disk_name"),
    ],
    rest: None,
};

/// The file that a transfer reads or writes by way of the page cache, from a `struct request *`. What goes past the cache, and what
/// belongs to the file system itself, has no file that the kernel knows of.
pub static FILEINFO: Translator = Translator {
    name: "fileinfo_t",
    members: &[
        ("fi_fs", "(HAS_FILE ? str(FILE_INODE.i_sb.s_type.name) : \"<none>\")"),
        ("fi_name", "(HAS_FILE ? str(FILE_ENTRY.d_name.name) : \"<none>\")"),
        (
            "fi_offset",
            "(HAS_FILE ? (FILE_INDEX + ((uint64)X.bio.bi_io_vec.bv_page - (uint64)FILE_PAGE) / sizeof(struct page)) * 4096 + X.bio.bi_io_vec.bv_offset : 0)",
        ),
    ],
    rest: None,
};

/// The file that a process has open, from a `struct file *` that may be null: where there is none, its members are D's for that.
/// Paths are those that the kernel itself gives: of what has no directory entry, such as a pipe, they are no place but a name.
pub static OPEN_FILE: Translator = Translator {
    name: "fileinfo_t",
    members: &[
        ("fi_dirname", "(X == 0 ? \"<none>\" : dirname(OPEN_PATH))"),
        ("fi_fs", "(X == 0 ? \"<none>\" : str(OPEN_FS))"),
        (
            "fi_mount",
            "(X == 0 ? \"<none>\" : IS_PLACELESS ? \"<unknown>\" : path((mnt = X.f_path.mnt, dentry = X.f_path.mnt.mnt_root)))",
        ),
        ("fi_name", "(X == 0 ? \"<none>\" : str(OPEN_ENTRY.d_name.name))"),
        ("fi_offset", "(X == 0 ? 0 : X.f_pos)"),
        ("fi_oflags", "(X == 0 ? 0 : X.f_flags)"),
        ("fi_pathname", "(X == 0 ? \"<none>\" : OPEN_PATH)"),
    ],
    rest: None,
};

/// Finds the file of the descriptor X, as `$file`. A process that ends has no files any more.
pub const OPENED: &str = "{
    let $number = (int32)(X);
    let $files = curtask.files;
    let $table = $files ? $files.fdt : (struct fdtable *)0;
    let $file = $table && $number >= 0 && $number < $table.max_fds ? $table.fd[$number] : (struct file *)0;
    0
}";

/// A packet, from a `struct sk_buff *`.
pub static PKTINFO: Translator = Translator { name: "pktinfo_t", members: &[("pkt_addr", "(uint64)X")], rest: None };

/// A connection, from a `struct sock *`.
pub static CSINFO: Translator =
    Translator { name: "csinfo_t", members: &[("cs_addr", "(uint64)X"), ("cs_cid", "(uint64)X")], rest: None };

/// A packet of either version of IP, from a `struct sk_buff *` whose header is written.
pub static IPINFO: Translator = Translator {
    name: "ipinfo_t",
    members: &[
        ("ip_daddr", "(IS_V4 ? ntop(IPV4.daddr) : ntop(IPV6.daddr.in6_u.u6_addr8))"),
        ("ip_plength", "(IS_V4 ? ntohs(IPV4.tot_len) - IPV4.ihl * 4 : ntohs(IPV6.payload_len))"),
        ("ip_saddr", "(IS_V4 ? ntop(IPV4.saddr) : ntop(IPV6.saddr.in6_u.u6_addr8))"),
        ("ip_ver", "(IS_V4 ? 4 : 6)"),
    ],
    rest: None,
};

/// A packet of version 4 that leaves, from a `struct sk_buff *`: its length is not yet written.
pub static IPINFO_LEAVING: Translator =
    Translator { name: "ipinfo_t", members: &[("ip_plength", "(X.len - IPV4.ihl * 4)")], rest: Some(&IPINFO) };

/// A packet of version 6 whose header is not yet written, from its `struct flowi6 *`.
pub static IPINFO_FLOW: Translator = Translator {
    name: "ipinfo_t",
    members: &[
        ("ip_daddr", "ntop(X.daddr.in6_u.u6_addr8)"),
        ("ip_plength", "args.skb.len"),
        ("ip_saddr", "ntop(X.saddr.in6_u.u6_addr8)"),
        ("ip_ver", "6"),
    ],
    rest: None,
};

/// What a socket sends, from a `struct sock *`: the header is not yet written.
pub static IPINFO_SENT: Translator = Translator {
    name: "ipinfo_t",
    members: &[("ip_daddr", REMOTE), ("ip_saddr", LOCAL), ("ip_ver", VERSION)],
    rest: None,
};

/// What a socket receives, from a `struct sock *`.
pub static IPINFO_RECEIVED: Translator = Translator {
    name: "ipinfo_t",
    members: &[("ip_daddr", LOCAL), ("ip_saddr", REMOTE), ("ip_ver", VERSION)],
    rest: None,
};

/// An interface, from a `struct net_device *`.
pub static IFINFO: Translator = Translator {
    name: "ifinfo_t",
    members: &[("if_addr", "(uint64)X"), ("if_local", "((X.flags & 8) != 0 ? 1 : 0)"), ("if_name", "X.name")],
    rest: None,
};

/// A header of version 4, from a `struct sk_buff *`; zeros where the packet is of version 6.
pub static IPV4INFO: Translator = Translator {
    name: "ipv4info_t",
    members: &[
        ("ipv4_checksum", "(IS_V4 ? ntohs(IPV4.check) : 0)"),
        ("ipv4_daddr", "ntop(IS_V4 ? IPV4.daddr : 0)"),
        ("ipv4_dst", "(IS_V4 ? IPV4.daddr : 0)"),
        ("ipv4_flags", "(IS_V4 ? ntohs(IPV4.frag_off) >> 13 : 0)"),
        ("ipv4_hdr", "(IS_V4 ? (uint64)IPV4 : 0)"),
        ("ipv4_ident", "(IS_V4 ? ntohs(IPV4.id) : 0)"),
        ("ipv4_ihl", "(IS_V4 ? IPV4.ihl * 4 : 0)"),
        ("ipv4_length", "(IS_V4 ? ntohs(IPV4.tot_len) : 0)"),
        ("ipv4_offset", "(IS_V4 ? ntohs(IPV4.frag_off) & 0x1fff : 0)"),
        ("ipv4_protocol", "(IS_V4 ? IPV4.protocol : 0)"),
        (
            "ipv4_protostr",
            "(IS_V4 ? IPV4.protocol == 6 ? \"TCP\" : IPV4.protocol == 17 ? \"UDP\" : IPV4.protocol == 1 ? \"ICMP\" : \"other\" : \"\")",
        ),
        ("ipv4_saddr", "ntop(IS_V4 ? IPV4.saddr : 0)"),
        ("ipv4_src", "(IS_V4 ? IPV4.saddr : 0)"),
        ("ipv4_tos", "(IS_V4 ? IPV4.tos : 0)"),
        ("ipv4_ttl", "(IS_V4 ? IPV4.ttl : 0)"),
        ("ipv4_ver", "(IS_V4 ? 4 : 0)"),
    ],
    rest: None,
};

/// A header of version 6, from a `struct sk_buff *`; zeros where the packet is of version 4.
pub static IPV6INFO: Translator = Translator {
    name: "ipv6info_t",
    members: &[
        ("ipv6_daddr", "(IS_V4 ? ntop(0) : ntop(IPV6.daddr.in6_u.u6_addr8))"),
        ("ipv6_hdr", "(IS_V4 ? 0 : (uint64)IPV6)"),
        ("ipv6_hlim", "(IS_V4 ? 0 : IPV6.hop_limit)"),
        ("ipv6_nexthdr", "(IS_V4 ? 0 : IPV6.nexthdr)"),
        ("ipv6_plen", "(IS_V4 ? 0 : ntohs(IPV6.payload_len))"),
        ("ipv6_saddr", "(IS_V4 ? ntop(0) : ntop(IPV6.saddr.in6_u.u6_addr8))"),
        ("ipv6_ver", "(IS_V4 ? 0 : 6)"),
    ],
    rest: None,
};

/// A connection of TCP, from a `struct sock *`.
pub static TCPSINFO: Translator = Translator {
    name: "tcpsinfo_t",
    members: &[
        ("tcps_addr", "(uint64)X"),
        ("tcps_cwnd", "((struct tcp_sock *)X).snd_cwnd"),
        ("tcps_cwnd_ssthresh", "((struct tcp_sock *)X).snd_ssthresh"),
        ("tcps_laddr", LOCAL),
        ("tcps_lport", "X.__sk_common.skc_num"),
        ("tcps_mss", "((struct tcp_sock *)X).mss_cache"),
        ("tcps_raddr", REMOTE),
        ("tcps_rcv_ws", "((struct tcp_sock *)X).rx_opt.rcv_wscale"),
        ("tcps_rnxt", "((struct tcp_sock *)X).rcv_nxt"),
        ("tcps_rport", "ntohs(X.__sk_common.skc_dport)"),
        ("tcps_rwnd", "((struct tcp_sock *)X).rcv_wnd"),
        ("tcps_snd_ws", "((struct tcp_sock *)X).rx_opt.snd_wscale"),
        ("tcps_snxt", "((struct tcp_sock *)X).snd_nxt"),
        ("tcps_state", "X.__sk_common.skc_state"),
        ("tcps_suna", "((struct tcp_sock *)X).snd_una"),
        ("tcps_swnd", "((struct tcp_sock *)X).snd_wnd"),
    ],
    rest: None,
};

/// A connection whose state changes: it is the one that the event tells.
pub static TCPSINFO_NEW: Translator =
    Translator { name: "tcpsinfo_t", members: &[("tcps_state", "args.newstate")], rest: Some(&TCPSINFO) };

/// The state before it changed.
pub static TCPLSINFO: Translator = Translator { name: "tcplsinfo_t", members: &[("tcps_state", "X")], rest: None };

/// A header of TCP, from a `struct sk_buff *`.
pub static TCPINFO: Translator = Translator {
    name: "tcpinfo_t",
    members: &[
        ("tcp_ack", "ntohl(TCP.ack_seq)"),
        ("tcp_checksum", "ntohs(TCP.check)"),
        ("tcp_dport", "ntohs(TCP.dest)"),
        ("tcp_flags", "((uint8 *)TCP)[13]"),
        ("tcp_hdr", "(uint64)TCP"),
        ("tcp_offset", "TCP.doff * 4"),
        ("tcp_seq", "ntohl(TCP.seq)"),
        ("tcp_sport", "ntohs(TCP.source)"),
        ("tcp_urgent", "ntohs(TCP.urg_ptr)"),
        ("tcp_window", "ntohs(TCP.window)"),
    ],
    rest: None,
};

/// The ports of what a socket sends, from a `struct sock *`.
pub static TCPINFO_SENT: Translator = Translator {
    name: "tcpinfo_t",
    members: &[("tcp_dport", "ntohs(X.__sk_common.skc_dport)"), ("tcp_sport", "X.__sk_common.skc_num")],
    rest: None,
};

/// The ports of what a socket receives, from a `struct sock *`.
pub static TCPINFO_RECEIVED: Translator = Translator {
    name: "tcpinfo_t",
    members: &[("tcp_dport", "X.__sk_common.skc_num"), ("tcp_sport", "ntohs(X.__sk_common.skc_dport)")],
    rest: None,
};

/// A header of UDP, from a `struct sk_buff *`.
pub static UDPINFO: Translator = Translator {
    name: "udpinfo_t",
    members: &[
        ("udp_checksum", "ntohs(UDP.check)"),
        ("udp_dport", "ntohs(UDP.dest)"),
        ("udp_hdr", "(uint64)UDP"),
        ("udp_length", "ntohs(UDP.len)"),
        ("udp_sport", "ntohs(UDP.source)"),
    ],
    rest: None,
};

const LOCAL: &str = "(X.__sk_common.skc_family == 2 ? ntop(X.__sk_common.skc_rcv_saddr) : ntop(X.__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8))";
const REMOTE: &str =
    "(X.__sk_common.skc_family == 2 ? ntop(X.__sk_common.skc_daddr) : ntop(X.__sk_common.skc_v6_daddr.in6_u.u6_addr8))";
const VERSION: &str = "(X.__sk_common.skc_family == 2 ? 4 : 6)";

/// Words that stand for longer texts in what members mean.
pub static WORDS: &[(&str, &str)] = &[
    ("DISK", "(if comptime defined(X.rq_disk) { X.rq_disk } else { X.q.disk })"),
    (
        "FILE_ENTRY",
        "((struct dentry *)((uint64)FILE_INODE.i_dentry.first - (if comptime defined(((struct dentry *)0).d_u) { offsetof(struct dentry, d_u.d_alias) } else { offsetof(struct dentry, d_alias) })))",
    ),
    ("FILE_INDEX", "(if comptime defined(FILE_PAGE.index) { FILE_PAGE.index } else { FILE_PAGE.__folio_index })"),
    ("FILE_INODE", "FILE_PAGE.mapping.host"),
    // A page of a larger one points to the first, with the lowest bit set.
    ("FILE_PAGE", "((struct page *)((PAGE_HEAD & 1) != 0 ? PAGE_HEAD - 1 : (uint64)X.bio.bi_io_vec.bv_page))"),
    (
        "HAS_FILE",
        "(X.bio != 0 && X.__data_len != 0 && X.bio.bi_io_vec != 0 && X.bio.bi_io_vec.bv_page != 0 && FILE_PAGE.mapping != 0 \
         && ((uint64)FILE_PAGE.mapping & 3) == 0 && FILE_INODE.i_dentry.first != 0)",
    ),
    ("IPV4", "((struct iphdr *)(X.head + X.network_header))"),
    ("IPV6", "((struct ipv6hdr *)(X.head + X.network_header))"),
    ("IS_V4", "(*(uint8 *)(X.head + X.network_header) >> 4 == 4)"),
    // Its dentry is a root, and not that of its mount: it was made for the file alone.
    ("IS_PLACELESS", "(OPEN_ENTRY == OPEN_ENTRY.d_parent && OPEN_ENTRY != X.f_path.mnt.mnt_root)"),
    ("OPEN_ENTRY", "X.f_path.dentry"),
    ("OPEN_FS", "X.f_path.mnt.mnt_sb.s_type.name"),
    ("OPEN_NUMBER", "lltostr(OPEN_ENTRY.d_inode.i_ino)"),
    (
        "OPEN_PATH",
        "(!IS_PLACELESS ? path(X.f_path) + (OPEN_ENTRY.d_hash.pprev == 0 && OPEN_ENTRY != OPEN_ENTRY.d_parent ? \" (deleted)\" : \"\") \
         : str(OPEN_FS) == \"pipefs\" ? \"pipe:[\" + OPEN_NUMBER + \"]\" \
         : str(OPEN_FS) == \"sockfs\" ? \"socket:[\" + OPEN_NUMBER + \"]\" \
         : str(OPEN_FS) == \"tmpfs\" ? \"/\" + str(OPEN_ENTRY.d_name.name) + \" (deleted)\" \
         : \"anon_inode:\" + str(OPEN_ENTRY.d_name.name))",
    ),
    (
        "PAGE_HEAD",
        "(if comptime defined(X.bio.bi_io_vec.bv_page.compound_head) { (uint64)X.bio.bi_io_vec.bv_page.compound_head } \
         else { (uint64)X.bio.bi_io_vec.bv_page.compound_info })",
    ),
    ("TASK_STATE", "(if comptime defined(X.state) { X.state } else { X.__state })"),
    ("TCP", "((struct tcphdr *)(X.head + X.transport_header))"),
    ("UDP", "((struct udphdr *)(X.head + X.transport_header))"),
];
