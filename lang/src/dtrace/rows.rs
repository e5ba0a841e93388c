//! Every probe of D that we have: the probe of ours in its place, and what its arguments are there.

use super::translators::{
    BUFINFO, CSINFO, DEVINFO, FILEINFO, IFINFO, IPINFO, IPINFO_FLOW, IPINFO_LEAVING, IPINFO_RECEIVED, IPINFO_SENT,
    IPV4INFO, IPV6INFO, LWPSINFO, PKTINFO, PSINFO, TCPINFO, TCPINFO_RECEIVED, TCPINFO_SENT, TCPLSINFO, TCPSINFO,
    TCPSINFO_NEW, Translator, UDPINFO,
};

/// A probe of D.
pub struct Row {
    pub provider: &'static str,
    pub name: &'static str,
    /// Our probe; FUNCTION stands for D's function, or `*` where there is none, and MODULE for its module and a colon.
    pub probe: &'static str,
    /// What must hold for D's probe to fire; empty for nothing.
    pub when: &'static str,
    /// Names, and what they stand for there.
    pub values: &'static [(&'static str, &'static str)],
    /// The arguments that have members.
    pub arguments: &'static [Argument],
}

impl Row {
    /// True where D's probes are named as the kernel names its events: NAME stands for that in ours, and CATEGORY for the module.
    pub fn has_any_name(&self) -> bool {
        self.name == "*"
    }
}

/// A translated argument.
pub struct Argument {
    pub number: u32,
    pub ty: &'static Translator,
    /// The object that is translated.
    pub of: &'static str,
}

const fn row(
    provider: &'static str,
    name: &'static str,
    probe: &'static str,
    when: &'static str,
    values: &'static [(&'static str, &'static str)],
) -> Row {
    Row { provider, name, probe, when, values, arguments: &[] }
}

/// A row whose arguments have members.
const fn translated(arguments: &'static [Argument], row: Row) -> Row {
    Row { arguments, ..row }
}

const fn argument(number: u32, ty: &'static Translator, of: &'static str) -> Argument {
    Argument { number, ty, of }
}

/// The names of system calls: the fields of the events would take a program for each call.
const CALL: (&str, &str) = ("probefunc", "syscall_name(syscall_number)");

/// The signals of `signal_generate` go to this thread and process.
const SENT: &[(&str, &str)] = &[("arg0", "args.task.pid"), ("arg1", "args.task.pid"), ("arg2", "args.sig")];
const SENT_TO: &[Argument] = &[argument(0, &LWPSINFO, "args.task"), argument(1, &PSINFO, "args.task")];

/// `profile-N`: where the processor was, in the kernel or in a program.
pub static RATE: Row =
    row("profile", "", "", "", &[("arg0", "(usermode ? 0 : reg(\"ip\"))"), ("arg1", "(usermode ? reg(\"ip\") : 0)")]);

/// The functions of all classes of the scheduler that put a thread into a queue, or take it out.
const QUEUED: &[(&str, &str)] = &[("arg0", "args.p.pid"), ("arg1", "args.p.tgid")];
const OF_QUEUED: &[Argument] = &[argument(0, &LWPSINFO, "args.p"), argument(1, &PSINFO, "args.p")];

const MADE: &[(&str, &str)] = &[("arg0", "args.task.pid")];
const MADE_TASK: &[Argument] = &[argument(0, &PSINFO, "args.task")];

const TRANSFER: &[(&str, &str)] = &[("arg0", "args.rq")];
const OF_TRANSFER: &[Argument] =
    &[argument(0, &BUFINFO, "args.rq"), argument(1, &DEVINFO, "args.rq"), argument(2, &FILEINFO, "args.rq")];

/// The end of a wait for a lock, and what is known of it.
const CONTENTION: &str = "rawtracepoint:contention_end";
const WAITED: &[(&str, &str)] = &[("arg0", "(uint64)args.lock"), ("arg1", "(nsecs - entry(nsecs))")];
const WAITED_RW: &[(&str, &str)] = &[
    ("arg0", "(uint64)args.lock"),
    ("arg1", "(nsecs - entry(nsecs))"),
    ("arg2", "((entry(args.flags) & 4) != 0 ? 1 : 0)"),
];

const SET_STATE: &str = "rawtracepoint:inet_sock_set_state";

/// What events of a state tell, of a socket that sends.
const OF_STATE: &[Argument] = &[
    argument(1, &CSINFO, "args.sk"),
    argument(2, &IPINFO_SENT, "args.sk"),
    argument(3, &TCPSINFO_NEW, "args.sk"),
    argument(4, &TCPINFO_SENT, "args.sk"),
    argument(5, &TCPLSINFO, "args.oldstate"),
];

/// The packet and its connection, where both are there and the header of IP is not yet written.
const OF_SENT: &[Argument] = &[
    argument(0, &PKTINFO, "args.skb"),
    argument(1, &CSINFO, "args.sk"),
    argument(2, &IPINFO_LEAVING, "args.skb"),
    argument(3, &TCPSINFO, "args.sk"),
    argument(4, &TCPINFO, "args.skb"),
];

const OF_SENT_V6: &[Argument] = &[
    argument(0, &PKTINFO, "args.skb"),
    argument(1, &CSINFO, "args.sk"),
    argument(2, &IPINFO_FLOW, "args.fl6"),
    argument(3, &TCPSINFO, "args.sk"),
    argument(4, &TCPINFO, "args.skb"),
];

const OF_RECEIVED: &[Argument] = &[
    argument(0, &PKTINFO, "args.skb"),
    argument(1, &CSINFO, "args.sk"),
    argument(2, &IPINFO, "args.skb"),
    argument(3, &TCPSINFO, "args.sk"),
    argument(4, &TCPINFO, "args.skb"),
];

/// A packet that is answered with a reset, whose connection may be none.
const OF_REFUSED: &[Argument] = &[
    argument(0, &PKTINFO, "args.skb"),
    argument(1, &CSINFO, "args.sk"),
    argument(2, &IPINFO, "args.skb"),
    argument(4, &TCPINFO, "args.skb"),
];

const OF_RESET: &[Argument] = &[
    argument(1, &CSINFO, "args.sk"),
    argument(2, &IPINFO_RECEIVED, "args.sk"),
    argument(3, &TCPSINFO, "args.sk"),
    argument(4, &TCPINFO_RECEIVED, "args.sk"),
];

const OF_PACKET: &[Argument] = &[
    argument(0, &PKTINFO, "args.skb"),
    argument(1, &CSINFO, "args.skb.sk"),
    argument(2, &IPINFO, "args.skb"),
    argument(3, &IFINFO, "args.skb.dev"),
    argument(4, &IPV4INFO, "args.skb"),
    argument(5, &IPV6INFO, "args.skb"),
];

const OF_DATAGRAM: &[Argument] = &[
    argument(0, &PKTINFO, "args.skb"),
    argument(1, &CSINFO, "args.skb.sk"),
    argument(2, &IPINFO, "args.skb"),
    argument(4, &UDPINFO, "args.skb"),
];

const OF_DATAGRAM_RECEIVED: &[Argument] = &[
    argument(0, &PKTINFO, "args.skb"),
    argument(1, &CSINFO, "args.sk"),
    argument(2, &IPINFO, "args.skb"),
    argument(4, &UDPINFO, "args.skb"),
];

/// IPPROTO_TCP and IPPROTO_UDP.
const BY_TCP_HEADER: &str = "((struct iphdr *)(args.skb.head + args.skb.network_header)).protocol == 6";
const BY_TCP: &str = "args.sk.sk_protocol == 6";
const BY_UDP_SOCKET: &str = "args.sk.sk_protocol == 17";
const BY_UDP: &str = "args.skb.sk != 0 && args.skb.sk.sk_protocol == 17";

/// By provider.
pub static ROWS: &[Row] = &[
    row("dtrace", "BEGIN", "BEGIN", "", &[]),
    row("dtrace", "END", "END", "", &[]),
    row("fbt", "entry", "kprobe:MODULEFUNCTION", "", &[]),
    row("fbt", "return", "kretprobe:MODULEFUNCTION", "", &[("arg0", "retval"), ("arg1", "retval")]),
    translated(OF_TRANSFER, row("io", "start", "rawtracepoint:block_rq_issue", "", TRANSFER)),
    translated(OF_TRANSFER, row("io", "done", "rawtracepoint:block_rq_complete", "", TRANSFER)),
    translated(OF_PACKET, row("ip", "receive", "kprobe:ip_local_deliver", "", &[])),
    translated(OF_PACKET, row("ip", "receive", "kprobe:ip6_input", "", &[])),
    translated(OF_PACKET, row("ip", "send", "kprobe:ip_finish_output", "", &[])),
    translated(OF_PACKET, row("ip", "send", "kprobe:ip6_finish_output", "", &[])),
    // LCB_F_MUTEX, LCB_F_SPIN and LCB_F_RT; LCB_F_READ and LCB_F_WRITE.
    row(
        "lockstat",
        "adaptive-block",
        CONTENTION,
        "(entry(args.flags) & 0x21) == 0x20 || entry(args.flags) == 8",
        WAITED,
    ),
    row("lockstat", "adaptive-spin", CONTENTION, "(entry(args.flags) & 0x21) == 0x21", WAITED),
    row("lockstat", "rw-block", CONTENTION, "(entry(args.flags) & 6) != 0 && (entry(args.flags) & 1) == 0", WAITED_RW),
    row("lockstat", "rw-spin", CONTENTION, "(entry(args.flags) & 6) != 0 && (entry(args.flags) & 1) != 0", WAITED_RW),
    row("lockstat", "spin-spin", CONTENTION, "(entry(args.flags) & 0x27) == 1", WAITED),
    // CLONE_THREAD tells threads from processes.
    translated(
        MADE_TASK,
        row("proc", "create", "rawtracepoint:task_newtask", "(args.clone_flags & 0x10000) == 0", MADE),
    ),
    translated(
        MADE_TASK,
        row("proc", "lwp-create", "rawtracepoint:task_newtask", "(args.clone_flags & 0x10000) != 0", MADE),
    ),
    row("proc", "exec", "tracepoint:syscalls:sys_enter_execve", "", &[("arg0", "args.filename")]),
    row("proc", "exec-failure", "tracepoint:syscalls:sys_exit_execve", "args.ret < 0", &[("arg0", "(-args.ret)")]),
    row("proc", "exec-success", "tracepoint:sched:sched_process_exec", "", &[]),
    // CLD_EXITED, CLD_KILLED and CLD_DUMPED, from the status that wait(2) gives.
    row(
        "proc",
        "exit",
        "tracepoint:sched:sched_process_exit",
        "pid == tid",
        &[("arg0", "((curtask.exit_code & 0x7f) == 0 ? 1 : (curtask.exit_code & 0x80) == 0 ? 2 : 3)")],
    ),
    // The first that a new thread runs.
    row("proc", "start", "kprobe:schedule_tail", "pid == tid", &[]),
    row("proc", "lwp-start", "kprobe:schedule_tail", "", &[]),
    row("proc", "lwp-exit", "tracepoint:sched:sched_process_exit", "", &[]),
    translated(SENT_TO, row("proc", "signal-send", "rawtracepoint:signal_generate", "", SENT)),
    // TRACE_SIGNAL_IGNORED
    translated(SENT_TO, row("proc", "signal-discard", "rawtracepoint:signal_generate", "args.result == 1", SENT)),
    row(
        "proc",
        "signal-handle",
        "tracepoint:signal:signal_deliver",
        "",
        &[("arg0", "args.sig"), ("arg2", "args.sa_handler")],
    ),
    row("rawfbt", "entry", "kprobe:MODULEFUNCTION", "", &[]),
    row("rawfbt", "return", "kretprobe:MODULEFUNCTION", "", &[("arg0", "retval"), ("arg1", "retval")]),
    row("rawtp", "*", "rawtracepoint:NAME", "", &[]),
    translated(
        &[argument(0, &LWPSINFO, "args.next"), argument(1, &PSINFO, "args.next")],
        row(
            "sched",
            "off-cpu",
            "rawtracepoint:sched_switch",
            "",
            &[("arg0", "args.next.pid"), ("arg1", "args.next.tgid")],
        ),
    ),
    // The event comes while the thread before still runs.
    row(
        "sched",
        "on-cpu",
        "rawtracepoint:sched_switch",
        "",
        &[
            ("comm", "args.next.comm"),
            ("curtask", "args.next"),
            ("curthread", "args.next"),
            ("execname", "args.next.comm"),
            ("pid", "args.next.tgid"),
            ("tid", "args.next.pid"),
        ],
    ),
    translated(OF_QUEUED, row("sched", "enqueue", "kprobe:enqueue_task_*", "", QUEUED)),
    translated(OF_QUEUED, row("sched", "dequeue", "kprobe:dequeue_task_*", "", QUEUED)),
    translated(
        &[argument(0, &LWPSINFO, "curtask"), argument(1, &PSINFO, "curtask")],
        row("sched", "surrender", "tracepoint:syscalls:sys_enter_sched_yield", "", &[("arg0", "tid"), ("arg1", "pid")]),
    ),
    translated(
        &[argument(0, &LWPSINFO, "args.p"), argument(1, &PSINFO, "args.p")],
        row("sched", "wakeup", "rawtracepoint:sched_wakeup", "", &[("arg0", "args.p.pid"), ("arg1", "args.p.tgid")]),
    ),
    row("sdt", "*", "tracepoint:CATEGORY:NAME", "", &[]),
    row("syscall", "entry", "tracepoint:syscalls:sys_enter_FUNCTION", "", &[CALL]),
    row(
        "syscall",
        "return",
        "tracepoint:syscalls:sys_exit_FUNCTION",
        "",
        &[("errno", "(arg1 < 0 && arg1 >= -4095 ? -arg1 : 0)"), CALL],
    ),
    // TCP_SYN_SENT, TCP_SYN_RECV and TCP_ESTABLISHED of IPPROTO_TCP.
    translated(
        OF_STATE,
        row(
            "tcp",
            "accept-established",
            SET_STATE,
            "args.sk.sk_protocol == 6 && args.oldstate == 3 && args.newstate == 1",
            &[],
        ),
    ),
    translated(OF_REFUSED, row("tcp", "accept-refused", "kprobe:tcp_v4_send_reset", "args.skb != 0", &[])),
    translated(OF_REFUSED, row("tcp", "accept-refused", "kprobe:tcp_v6_send_reset", "args.skb != 0", &[])),
    translated(
        OF_STATE,
        row(
            "tcp",
            "connect-established",
            SET_STATE,
            "args.sk.sk_protocol == 6 && args.oldstate == 2 && args.newstate == 1",
            &[],
        ),
    ),
    translated(
        OF_RESET,
        row("tcp", "connect-refused", "rawtracepoint:tcp_receive_reset", "args.sk.__sk_common.skc_state == 2", &[]),
    ),
    translated(
        OF_STATE,
        row("tcp", "connect-request", SET_STATE, "args.sk.sk_protocol == 6 && args.newstate == 2", &[]),
    ),
    translated(OF_RECEIVED, row("tcp", "receive", "kprobe:tcp_rcv_established", "", &[])),
    translated(OF_RECEIVED, row("tcp", "receive", "kprobe:tcp_rcv_state_process", "", &[])),
    // What a listener and nobody's socket answer comes by here, too.
    translated(OF_SENT, row("tcp", "send", "kprobe:__ip_local_out", BY_TCP_HEADER, &[])),
    translated(OF_SENT_V6, row("tcp", "send", "kprobe:ip6_xmit", BY_TCP, &[])),
    translated(OF_STATE, row("tcp", "state-change", SET_STATE, BY_TCP, &[])),
    translated(OF_DATAGRAM_RECEIVED, row("udp", "receive", "kprobe:udp_queue_rcv_skb", BY_UDP_SOCKET, &[])),
    translated(OF_DATAGRAM_RECEIVED, row("udp", "receive", "kprobe:udpv6_queue_rcv_skb", BY_UDP_SOCKET, &[])),
    translated(OF_DATAGRAM, row("udp", "send", "kprobe:ip_send_skb", BY_UDP, &[])),
    translated(OF_DATAGRAM, row("udp", "send", "kprobe:ip6_send_skb", BY_UDP, &[])),
];
