//! Builtins that the language itself can express: each is a macro, written in the language. A row's name, parameters and
//! kinds of parameters are those of its macro.

use super::{Builtin, Lowering};

pub(super) const fn row(
    name: &'static str,
    arguments: (usize, usize),
    signature: &'static str,
    doc: &'static str,
    example: &'static str,
    text: &'static str,
) -> Builtin {
    Builtin {
        name,
        arguments,
        bare: arguments.0 == 0,
        signature,
        doc,
        example,
        is_unsafe: false,
        lowering: Lowering::Macro(text),
    }
}

pub static MACROS: &[Builtin] = &[
    row(
        "S_ISBLK",
        (1, 1),
        "S_ISBLK(mode): bool",
        "Whether a file's mode is that of a block device.",
        "BEGIN { print(S_ISBLK(S_IFBLK | 0o600)); }",
        "macro S_ISBLK(mode) { ((mode) & S_IFMT) == S_IFBLK }",
    ),
    row(
        "S_ISCHR",
        (1, 1),
        "S_ISCHR(mode): bool",
        "Whether a file's mode is that of a character device.",
        "BEGIN { print(S_ISCHR(S_IFCHR | 0o600)); }",
        "macro S_ISCHR(mode) { ((mode) & S_IFMT) == S_IFCHR }",
    ),
    row(
        "S_ISDIR",
        (1, 1),
        "S_ISDIR(mode): bool",
        "Whether a file's mode is that of a directory.",
        "BEGIN { print(S_ISDIR(S_IFDIR | 0o600)); }",
        "macro S_ISDIR(mode) { ((mode) & S_IFMT) == S_IFDIR }",
    ),
    row(
        "S_ISFIFO",
        (1, 1),
        "S_ISFIFO(mode): bool",
        "Whether a file's mode is that of a pipe.",
        "BEGIN { print(S_ISFIFO(S_IFIFO | 0o600)); }",
        "macro S_ISFIFO(mode) { ((mode) & S_IFMT) == S_IFIFO }",
    ),
    row(
        "S_ISLNK",
        (1, 1),
        "S_ISLNK(mode): bool",
        "Whether a file's mode is that of a symbolic link.",
        "BEGIN { print(S_ISLNK(S_IFLNK | 0o600)); }",
        "macro S_ISLNK(mode) { ((mode) & S_IFMT) == S_IFLNK }",
    ),
    row(
        "S_ISREG",
        (1, 1),
        "S_ISREG(mode): bool",
        "Whether a file's mode is that of a regular file.",
        "BEGIN { print(S_ISREG(S_IFREG | 0o600)); }",
        "macro S_ISREG(mode) { ((mode) & S_IFMT) == S_IFREG }",
    ),
    row(
        "S_ISSOCK",
        (1, 1),
        "S_ISSOCK(mode): bool",
        "Whether a file's mode is that of a socket.",
        "BEGIN { print(S_ISSOCK(S_IFSOCK | 0o600)); }",
        "macro S_ISSOCK(mode) { ((mode) & S_IFMT) == S_IFSOCK }",
    ),
    row(
        "assert",
        (2, 2),
        "assert(condition, \"message\")",
        "Where the condition is false: prints the message as an error and ends with status 1.",
        "BEGIN { assert(1 < 2, \"order\"); }",
        "macro assert(condition, message) { if (!(condition)) { errorf(message); exit(1); } }",
    ),
    row(
        "basename",
        (1, 1),
        "basename(path): string",
        "What follows the last slash of a path.",
        "BEGIN { print(basename(\"/usr/bin/ls\")); }",
        "macro basename(path) { let $path = path; substr($path, rindex($path, \"/\") + 1) }",
    ),
    row(
        "container_of",
        (3, 3),
        "container_of(pointer, type, member): type *",
        "The struct of which the pointer points to that member.",
        "BEGIN { print(container_of(&curtask.pid, typeof(struct task_struct), pid).comm); }",
        "macro container_of(pointer, type, member) { (type *)((uint8 *)(pointer) - offsetof(type, member)) }",
    ),
    row(
        "copyin",
        (2, 2),
        "copyin(address, bytes): buffer",
        "Raw bytes of the process, as D calls it.",
        "tracepoint:syscalls:sys_enter_write { printf(\"%r\\n\", copyin(args.buf, 16)); }",
        "macro copyin(address, bytes) { buf(uptr(address), bytes) }",
    ),
    row(
        "copyinstr",
        (1, 2),
        "copyinstr(address, bytes = max_strlen): string",
        "A string of the process, as D calls it.",
        "tracepoint:syscalls:sys_enter_openat { print(copyinstr(args.filename)); }",
        "macro copyinstr(address) { str(uptr(address)) } macro copyinstr(address, bytes) { str(uptr(address), bytes + 1) }",
    ),
    row(
        "dirname",
        (1, 1),
        "dirname(path): string",
        "What precedes the last slash of a path.",
        "BEGIN { print(dirname(\"/usr/bin/ls\")); }",
        "macro dirname(path) { let $path = path; let $at = rindex($path, \"/\");
            $at > 0 ? substr($path, 0, $at) : ($at == 0 ? \"/\" : \".\") }",
    ),
    row(
        "execargs",
        (0, 0),
        "execargs: string",
        "The command line of the current process, 32 parts at most, with a space between; empty for threads of the kernel.",
        "tracepoint:sched:sched_process_exec { printf(\"%d %s\\n\", pid, execargs); }",
        "macro execargs() {
            let $memory = curtask.mm;
            let $at = $memory ? $memory.arg_start : 0;
            let $end = $memory ? $memory.arg_end : 0;
            let $all = $at < $end ? str(uptr($at)) : \"\";
            $at = $at + strlen($all) + 1;
            for $number : 1..32 {
                if ($at >= $end) { break; }
                let $part = str(uptr($at));
                $at = $at + strlen($part) + 1;
                $all = $all + \" \" + $part;
            }
            $all
        }",
    ),
    row(
        "execname",
        (0, 0),
        "execname: string[16]",
        "The name of the current thread, as D calls it.",
        "BEGIN { printf(\"%d\\n\", execname == comm); }",
        "macro execname { comm }",
    ),
    row(
        "find",
        (3, 3),
        "find(@map, key, $variable): bool",
        "Puts an entry's value into the variable, if there is such an entry, and tells whether there is.",
        "BEGIN { @x[1] = 7; let $v = 0; if (find(@x, 1, $v)) { print($v); } }",
        "macro find(@map, key, $out) {
            let $key = key; let $has = has_key(@map, $key); if ($has) { $out = @map[$key]; } $has
        }",
    ),
    row(
        "glob",
        (2, 2),
        "glob(string, pattern): bool",
        "Whether the string matches the pattern: `*` stands for any text, `?` for any character. `=~` is short for it.",
        "BEGIN { print(glob(\"ksoftirqd/0\", \"ksoft*/?\")); }",
        "macro glob(string, pattern) {
            let $s = string; let $p = pattern; let $i = 0; let $j = 0; let $star = -1; let $mark = 0; let $ok = true;
            while ($s[$i] != 0) {
                if ($p[$j] == 42) { $star = $j; $j = $j + 1; $mark = $i; }
                else if ($p[$j] == 63 || $p[$j] == $s[$i]) { $i = $i + 1; $j = $j + 1; }
                else if ($star >= 0) { $j = $star + 1; $mark = $mark + 1; $i = $mark; }
                else { $ok = false; break; }
            }
            while ($ok && $p[$j] == 42) { $j = $j + 1; }
            $ok && $p[$j] == 0
        }",
    ),
    row(
        "htonl",
        (1, 1),
        "htonl(number): uint32",
        "The number in the byte order of networks.",
        "BEGIN { printf(\"%x\\n\", htonl(1)); }",
        "macro htonl(number) { bswap((uint32)number) }",
    ),
    row(
        "htons",
        (1, 1),
        "htons(number): uint16",
        "The number in the byte order of networks.",
        "BEGIN { printf(\"%x\\n\", htons(1)); }",
        "macro htons(number) { bswap((uint16)number) }",
    ),
    row(
        "index",
        (2, 3),
        "index(string, part, from = 0): int64",
        "Where the part first stands in the string, from a place on, counted from 0; -1 where it does not.",
        "BEGIN { print(index(\"abcabc\", \"c\")); }",
        "macro index(string, part) { strstr(string, part) }
         macro index(string, part, from) {
             let $s = string; let $from = (from) < 0 ? 0 : (from); let $length = strlen($s);
             if ($from > $length) { $from = $length; }
             let $at = strstr(substr($s, $from), part);
             $at < 0 ? -1 : $at + $from
         }",
    ),
    row(
        "is_err",
        (1, 1),
        "is_err(pointer): bool",
        "Whether a pointer of the kernel is an error number (include/linux/err.h).",
        "BEGIN { print(is_err(curtask)); }",
        "macro is_err(pointer) { (uint64)pointer >= 0xfffffffffffff001 }",
    ),
    row(
        "join",
        (1, 2),
        "join(argv, separator = \" \")",
        "Prints the strings of an array of pointers that ends with a null: up to 16 of them.",
        "tracepoint:syscalls:sys_enter_execve { join(args.argv); }",
        JOIN,
    ),
    row(
        "leader_comm",
        (0, 1),
        "leader_comm(task = curtask): string[16]",
        "The name of the first thread of the current process, or of a task's.",
        "BEGIN { print(leader_comm); }",
        "macro leader_comm { curtask.group_leader.comm } macro leader_comm(task) { ((struct task_struct *)(task)).group_leader.comm }",
    ),
    row(
        "leader_tid",
        (0, 1),
        "leader_tid(task = curtask): int64",
        "The thread id of the first thread of the current process, or of a task's.",
        "BEGIN { printf(\"%d\\n\", leader_tid == pid); }",
        "macro leader_tid { curtask.group_leader.pid } macro leader_tid(task) { ((struct task_struct *)(task)).group_leader.pid }",
    ),
    row(
        "memcmp",
        (3, 3),
        "memcmp(a, b, bytes): int64",
        "Compares memory behind two pointers, or two strings, arrays, tuples: 0 where it is equal, else the difference of the first bytes that differ.",
        "BEGIN { print(memcmp(curtask, curtask, 16)); }",
        "macro memcmp(a, b, bytes) {
            let $a = if comptime is_scalar(a) { (uint8 *)a } else { let $value = a; (uint8 *)&$value };
            let $b = if comptime is_scalar(b) { (uint8 *)b } else { let $value = b; (uint8 *)&$value };
            let $difference = 0;
            for $i : 0..bytes {
                $difference = *($a + $i) - *($b + $i);
                if ($difference != 0) { break; }
            }
            $difference
        }",
    ),
    row(
        "ntohl",
        (1, 1),
        "ntohl(number): uint32",
        "A number that came in the byte order of networks.",
        "BEGIN { printf(\"%x\\n\", ntohl(0x1000000)); }",
        "macro ntohl(number) { bswap((uint32)number) }",
    ),
    row(
        "ntohs",
        (1, 1),
        "ntohs(number): uint16",
        "A number that came in the byte order of networks.",
        "BEGIN { printf(\"%x\\n\", ntohs(0x100)); }",
        "macro ntohs(number) { bswap((uint16)number) }",
    ),
    row(
        "path",
        (1, 2),
        "path(struct path): string",
        "The path of a file from the root of its mount namespace: 48 directories deep at most.",
        "BEGIN { print(path(curtask.fs.pwd)); }",
        "macro path(where) {
            let $dentry = where.dentry;
            let $mount = container_of(where.mnt, typeof(struct mount), mnt);
            let $path = \"\";
            for $i : 0..96 {
                if ($dentry == $mount.mnt.mnt_root || $dentry == $dentry.d_parent) {
                    if ($mount == $mount.mnt_parent) { break; }
                    $dentry = $mount.mnt_mountpoint;
                    $mount = $mount.mnt_parent;
                } else {
                    $path = \"/\" + str($dentry.d_name.name) + $path;
                    $dentry = $dentry.d_parent;
                }
            }
            $path == \"\" ? \"/\" : $path
        }
        macro path(where, bytes) { substr(path(where), 0, bytes) }",
    ),
    row(
        "pcomm",
        (0, 1),
        "pcomm(task = curtask): string[16]",
        "The name of the parent of the current process, or of a task's.",
        "BEGIN { print(pcomm); }",
        "macro pcomm { curtask.real_parent.comm } macro pcomm(task) { ((struct task_struct *)(task)).real_parent.comm }",
    ),
    row(
        "percpu_kaddr",
        (1, 2),
        "percpu_kaddr(\"symbol\", cpu = the current one): uint64",
        "The address of a processor's own copy of a kernel variable.",
        "BEGIN { print(percpu_kaddr(\"runqueues\", 0) != 0); }",
        "macro percpu_kaddr(symbol) { percpu_kaddr(symbol, cpu) }
         macro percpu_kaddr(symbol, number) { kaddr(symbol) + *(uint64 *)(kaddr(\"__per_cpu_offset\") + (number) * 8) }",
    ),
    row(
        "pid2execname",
        (1, 1),
        "pid2execname(pid): string[16]",
        "The name of the process or thread of that number, as SystemTap calls it; N/A where there is none.",
        "BEGIN { print(pid2execname(1)); }",
        "macro pid2execname(pid) { let $task = pid2task(pid); if ($task) { $task.comm } else { \"N/A\" } }",
    ),
    row(
        "pid2task",
        (1, 1),
        "pid2task(pid): struct task_struct *",
        "The process or thread of that number, as SystemTap calls it; 0 where there is none. In a container numbers are those of rtrace's own namespace, which is known to probes that fire in it.",
        "BEGIN { print(pid2task(pid).tgid == pid); }",
        // The numbers of a namespace are indices of a radix tree (kernel/pid.c, include/linux/xarray.h): nodes are told from what
        // stands in them by two bits of their address, and a node's `shift` are the bits of an index below it.
        "macro pid2task(pid) {
            let $number = (uint64)(pid);
            let $own = curtask.thread_pid;
            let $of = kptr((struct upid *)((uint64)$own + offsetof(struct pid, numbers)));
            for $level : 0..$own.level { if ($of.ns.ns.inum == pidns) { break; } $of++; }
            let $entry = $of.ns.ns.inum == pidns ? (uint64)$of.ns.idr.idr_rt.xa_head : 0;
            let $above = ($entry & 3) == 2 ? $number >> (kptr((struct xa_node *)($entry - 2)).shift + 6) : 1;
            if ($above != 0) { $entry = 0; }
            for $i : 0..6 {
                if (($entry & 3) != 2) { break; }
                let $node = kptr((struct xa_node *)($entry - 2));
                $entry = (uint64)$node.slots[($number >> $node.shift) & 63];
            }
            let $found = $entry ? (uint64)kptr((struct pid *)$entry).tasks[0].first : 0;
            kptr((struct task_struct *)($found ? $found - offsetof(struct task_struct, pid_links) : 0))
        }",
    ),
    row(
        "ppid",
        (0, 1),
        "ppid(task = curtask): int64",
        "The process id of the parent of the current process, or of a task's.",
        "BEGIN { printf(\"%d\\n\", ppid(curtask) == ppid); }",
        "macro ppid { curtask.real_parent.tgid } macro ppid(task) { ((struct task_struct *)(task)).real_parent.tgid }",
    ),
    row(
        "rindex",
        (2, 3),
        "rindex(string, character, from = the end): int64",
        "Where the character last stands in the string, up to a place, counted from 0; -1 where it does not.",
        "BEGIN { print(rindex(\"abcabc\", \"c\")); }",
        "macro rindex(string, character) {
            let $s = string; let $last = -1;
            let $c = if comptime is_integer(character) { character } else { let $t = character; $t[0] };
            for $i : 0..strlen($s) { if ($s[$i] == $c) { $last = $i; } }
            $last
        }
        macro rindex(string, character, from) {
            let $from = from; $from < 0 ? -1 : rindex(substr(string, 0, $from + 1), character)
        }",
    ),
    row(
        "skboutput",
        (4, 4),
        "skboutput(\"file\", skb, length, offset): int64",
        "Appends so many bytes of a struct sk_buff to a file, as pcap() does: those of its linear part, at most max_strlen. Gives 0.",
        "kprobe:__dev_queue_xmit { skboutput(\"/tmp/sent.pcap\", arg0, 256, 0); }",
        "macro skboutput(file, skb, length, offset) {
            let $skb = (struct sk_buff *)(skb);
            let $offset = (int64)(offset);
            let $left = (int64)$skb.len - (int64)$skb.data_len - $offset;
            let $size = (int64)(length) < $left ? (int64)(length) : $left;
            let $start = (uint64)$skb.data + $offset;
            pcap(file, buf(kptr($start), $size > 0 ? $size : 0), (int64)$skb.len - $offset);
            0
        }",
    ),
    row(
        "socket_cookie",
        (1, 1),
        "socket_cookie(sock): uint64",
        "The number that the kernel gave a socket; 0 where nobody has asked for it yet.",
        "kprobe:tcp_sendmsg { @[socket_cookie(arg0)] = count(); }",
        "macro socket_cookie(sock) { ((struct sock *)(sock)).__sk_common.skc_cookie.counter }",
    ),
    row(
        "strchr",
        (2, 2),
        "strchr(string, character): string",
        "The rest of the string from the first such character on; empty where there is none.",
        "BEGIN { print(strchr(\"abcabc\", \"b\")); }",
        "macro strchr(string, character) {
            let $s = string; let $at = strstr($s, character); $at < 0 ? \"\" : substr($s, $at)
        }",
    ),
    row(
        "strcontains",
        (2, 2),
        "strcontains(string, part): bool",
        "Whether the part stands in the string.",
        "BEGIN { print(strcontains(\"abcabc\", \"ca\")); }",
        "macro strcontains(string, part) { strstr(string, part) >= 0 }",
    ),
    row(
        "stringof",
        (1, 1),
        "stringof(value): string",
        "The string that a value is or points to, as D calls it.",
        "BEGIN { print(stringof(curtask.comm)); }",
        "macro stringof(value) { str(value) }",
    ),
    row(
        "strjoin",
        (2, 2),
        "strjoin(a, b): string",
        "Both strings, one behind the other. `+` is short for it.",
        "BEGIN { print(strjoin(\"ab\", \"cd\")); }",
        "macro strjoin(a, b) { str_concat(a, b) }",
    ),
    row(
        "strrchr",
        (2, 2),
        "strrchr(string, character): string",
        "The rest of the string from the last such character on; empty where there is none.",
        "BEGIN { print(strrchr(\"abcabc\", \"b\")); }",
        "macro strrchr(string, character) {
            let $s = string; let $at = rindex($s, character); $at < 0 ? \"\" : substr($s, $at)
        }",
    ),
    row(
        "strstr",
        (2, 2),
        "strstr(string, part): int64",
        "Where the part first stands in the string, counted from 0; -1 where it does not.",
        "BEGIN { print(strstr(\"abcabc\", \"ca\")); }",
        "macro strstr(string, part) {
            let $s = string;
            let $p = if comptime is_integer(part) { let $c = (uint64)(part); str(&$c, 2) } else { part };
            let $length = strlen($p); let $found = -1;
            for $i : 0..(strlen($s) - $length + 1) {
                let $same = 0;
                while ($same < $length && $s[$i + $same] == $p[$same]) { $same = $same + 1; }
                if ($same == $length) { $found = $i; break; }
            }
            $found
        }",
    ),
    row(
        "strtok",
        (2, 2),
        "strtok(string, separators): string",
        "The next part of a string between separators; 0 as the string goes on with the last one, thread by thread.",
        "BEGIN { print(strtok(\"a,b\", \",\")); print(strtok(0, \",\")); }",
        "macro strtok(string, separators) {
            let $separators = separators;
            if comptime is_str(string) { self->strtok = string; }
            let $rest = self->strtok;
            let $length = strlen($rest);
            let $start = 0;
            let $among = 0;
            while ($start < $length) {
                $among = 0;
                for $i : 0..strlen($separators) { if ($separators[$i] == $rest[$start]) { $among = 1; } }
                if (!$among) { break; }
                $start = $start + 1;
            }
            let $end = $start;
            while ($end < $length) {
                $among = 0;
                for $i : 0..strlen($separators) { if ($separators[$i] == $rest[$end]) { $among = 1; } }
                if ($among) { break; }
                $end = $end + 1;
            }
            self->strtok = $end < $length ? substr($rest, $end + 1) : \"\";
            substr($rest, $start, $end - $start)
        }",
    ),
    row(
        "substr",
        (2, 3),
        "substr(string, start, length = all): string",
        "A part of a string, from a place that is counted from 0; below 0 it is counted from the end.",
        "BEGIN { print(substr(\"abcdef\", 2, 3)); }",
        "macro substr(string, start) {
             let $s = string; let $from = (int64)(start);
             if ($from < 0) { $from = $from + strlen($s); if ($from < 0) { $from = 0; } }
             str(&$s + $from)
         }
         macro substr(string, start, length) {
             let $s = string; let $from = (int64)(start);
             if ($from < 0) { $from = $from + strlen($s); if ($from < 0) { $from = 0; } }
             str(&$s + $from, length + 1)
         }",
    ),
    row(
        "timestamp",
        (0, 0),
        "timestamp: uint64",
        "Nanoseconds of a clock that never goes back, as D calls it.",
        "BEGIN { printf(\"%d\\n\", timestamp > 0); }",
        "macro timestamp { nsecs(monotonic) }",
    ),
    row(
        "trace",
        (1, 1),
        "trace(value)",
        "Prints a value, as D calls it.",
        "BEGIN { trace(1); }",
        "macro trace(value) { print(value) }",
    ),
    row(
        "tracemem",
        (2, 3),
        "tracemem(address, bytes, shown = all)",
        "Prints raw bytes in hexadecimal, or the first of them.",
        "BEGIN { tracemem(curtask, 16); }",
        "macro tracemem(address, bytes) { printf(\"%rx\\n\", buf(address, bytes)) }
         macro tracemem(address, bytes, shown) { let $shown = shown; tracemem(address, $shown < (bytes) ? $shown : (bytes)) }",
    ),
    row(
        "vtimestamp",
        (0, 0),
        "vtimestamp: uint64",
        "Nanoseconds that the current thread has run, up to the last tick or switch.",
        "BEGIN { printf(\"%d\\n\", vtimestamp > 0); }",
        "macro vtimestamp { curtask.se.sum_exec_runtime }",
    ),
];

const JOIN: &str = "macro join(argv) { join(argv, \" \") }
    macro join(argv, separator) {
        let $a = (uint64)argv;
        let $p0 = *(uint64 *)$a;
        let $p1 = $p0 ? *(uint64 *)($a + 8) : 0;
        let $p2 = $p1 ? *(uint64 *)($a + 16) : 0;
        let $p3 = $p2 ? *(uint64 *)($a + 24) : 0;
        let $p4 = $p3 ? *(uint64 *)($a + 32) : 0;
        let $p5 = $p4 ? *(uint64 *)($a + 40) : 0;
        let $p6 = $p5 ? *(uint64 *)($a + 48) : 0;
        let $p7 = $p6 ? *(uint64 *)($a + 56) : 0;
        let $p8 = $p7 ? *(uint64 *)($a + 64) : 0;
        let $p9 = $p8 ? *(uint64 *)($a + 72) : 0;
        let $p10 = $p9 ? *(uint64 *)($a + 80) : 0;
        let $p11 = $p10 ? *(uint64 *)($a + 88) : 0;
        let $p12 = $p11 ? *(uint64 *)($a + 96) : 0;
        let $p13 = $p12 ? *(uint64 *)($a + 104) : 0;
        let $p14 = $p13 ? *(uint64 *)($a + 112) : 0;
        let $p15 = $p14 ? *(uint64 *)($a + 120) : 0;
        print_joined(\"%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s\\n\",
            $p0 ? str($p0) : \"\", $p1 ? separator : \"\", $p1 ? str($p1) : \"\", $p2 ? separator : \"\",
            $p2 ? str($p2) : \"\", $p3 ? separator : \"\", $p3 ? str($p3) : \"\", $p4 ? separator : \"\",
            $p4 ? str($p4) : \"\", $p5 ? separator : \"\", $p5 ? str($p5) : \"\", $p6 ? separator : \"\",
            $p6 ? str($p6) : \"\", $p7 ? separator : \"\", $p7 ? str($p7) : \"\", $p8 ? separator : \"\",
            $p8 ? str($p8) : \"\", $p9 ? separator : \"\", $p9 ? str($p9) : \"\", $p10 ? separator : \"\",
            $p10 ? str($p10) : \"\", $p11 ? separator : \"\", $p11 ? str($p11) : \"\", $p12 ? separator : \"\",
            $p12 ? str($p12) : \"\", $p13 ? separator : \"\", $p13 ? str($p13) : \"\", $p14 ? separator : \"\",
            $p14 ? str($p14) : \"\", $p15 ? separator : \"\", $p15 ? str($p15) : \"\");
    }";
