//! D's words that the language itself can express and that have no other home: macros, as those of `macros`.

use super::macros::row;
use super::{Builtin, needs_unsafe};

pub static D_WORDS: &[Builtin] = &[
    row(
        "cleanpath",
        (1, 1),
        "cleanpath(path): string",
        "The path without `.`, `..` and doubled slashes, as far as its text tells: links are not followed.",
        "BEGIN { print(cleanpath(\"/usr/./lib//x/../y\")); }",
        "macro cleanpath(path) {
            let $path = path;
            let $length = strlen($path);
            let $whole = \"\";
            let $at = 0;
            while ($at < $length) {
                let $end = $at;
                while ($end < $length && $path[$end] != 47) { $end = $end + 1; }
                let $part = substr($path, $at, $end - $at);
                if ($part == \"..\" && $path[0] == 47) {
                    let $last = rindex($whole, \"/\");
                    $whole = $last > 0 ? substr($whole, 0, $last) : \"\";
                } else if ($part != \"\" && $part != \".\") {
                    $whole = $whole == \"\" && $path[0] != 47 ? $part : $whole + \"/\" + $part;
                }
                $at = $end + 1;
            }
            $whole == \"\" ? ($path[0] == 47 ? \"/\" : \".\") : $whole
        }",
    ),
    row(
        "copyinto",
        (3, 3),
        "copyinto(address, bytes, destination): bool",
        "Copies memory of the process into memory of alloca(): bcopy() with its arguments in D's order.",
        "tracepoint:syscalls:sys_enter_write { let $p = alloca(8); copyinto(args.buf, 8, $p); @[str($p, 8)] = count(); }",
        "macro copyinto(address, bytes, destination) { bcopy(uptr(address), destination, bytes) }",
    ),
    needs_unsafe(row(
        "copyout",
        (3, 3),
        "copyout(source, address, bytes): bool",
        "Writes memory of the current process, as D calls it: write_user() with its arguments in D's order.",
        "tracepoint:syscalls:sys_enter_read { copyout(\"x\", args.buf, 1); }",
        "macro copyout(source, address, bytes) { write_user(address, source, bytes) }",
    )),
    needs_unsafe(row(
        "copyoutstr",
        (3, 3),
        "copyoutstr(string, address, most): bool",
        "Writes a string with its NUL into the current process, at most so many bytes, as D calls it.",
        "tracepoint:syscalls:sys_enter_read { copyoutstr(comm, args.buf, 16); }",
        "macro copyoutstr(string, address, most) {
            let $string = string;
            let $length = strlen($string) + 1;
            write_user(address, $string, $length < (most) ? $length : (most))
        }",
    )),
    row(
        "curthread",
        (0, 0),
        "curthread: struct task_struct *",
        "The current task in the kernel, as D calls it.",
        "BEGIN { printf(\"%d\\n\", curthread == curtask); }",
        "macro curthread { curtask }",
    ),
    row(
        "cwd",
        (0, 0),
        "cwd: string",
        "The working directory of the current process.",
        "BEGIN { print(cwd); }",
        "macro cwd { path(curtask.fs.pwd) }",
    ),
    row(
        "d_path",
        (1, 1),
        "d_path(struct path *): string",
        "The path of a file, as D calls it.",
        "BEGIN { print(d_path(&curtask.fs.pwd)); }",
        "macro d_path(where) { path((struct path *)(where)) }",
    ),
    row(
        "errno",
        (0, 0),
        "errno: int64",
        "The error of the system call that returns, 0 where it has succeeded: in `sys_exit` tracepoints and D's `syscall:::return`.",
        "tracepoint:syscalls:sys_exit_read { @[errno] = count(); }",
        "macro errno {
            if comptime !defined(args.ret) {
                fail(\"errno is known where a system call returns: in sys_exit tracepoints and D's syscall:::return\");
            }
            let $result = if comptime defined(args.ret) { args.ret } else { 0 };
            $result < 0 && $result >= -4095 ? -$result : 0
        }",
    ),
    row(
        "getmajor",
        (1, 1),
        "getmajor(device): uint64",
        "The major number of a device (`dev_t` of the kernel: include/linux/kdev_t.h).",
        "BEGIN { printf(\"%d\\n\", getmajor(8388609)); }",
        "macro getmajor(device) { (uint64)(uint32)(device) >> 20 }",
    ),
    row(
        "getminor",
        (1, 1),
        "getminor(device): uint64",
        "The minor number of a device (`dev_t` of the kernel: include/linux/kdev_t.h).",
        "BEGIN { printf(\"%d\\n\", getminor(8388609)); }",
        "macro getminor(device) { (uint64)(device) & 0xfffff }",
    ),
    row(
        "htonll",
        (1, 1),
        "htonll(number): uint64",
        "The number in the byte order of networks.",
        "BEGIN { printf(\"%x\\n\", htonll(1)); }",
        "macro htonll(number) { bswap((uint64)(number)) }",
    ),
    row(
        "inet_ntoa",
        (1, 1),
        "inet_ntoa(address of 4 bytes): inet",
        "An address of the internet in memory, version 4, as D calls it.",
        "BEGIN { let $a = pton(\"10.0.0.1\"); print(inet_ntoa(&$a)); }",
        "macro inet_ntoa(address) { ntop(*(uint32 *)(address)) }",
    ),
    row(
        "inet_ntoa6",
        (1, 1),
        "inet_ntoa6(address of 16 bytes): inet",
        "An address of the internet in memory, version 6, as D calls it.",
        "BEGIN { let $a = pton(\"::1\"); print(inet_ntoa6(&$a)); }",
        "macro inet_ntoa6(address) { ntop(*(uint8[16] *)(address)) }",
    ),
    row(
        "inet_ntop",
        (2, 2),
        "inet_ntop(family, address of its bytes): inet",
        "An address of the internet in memory, of the family AF_INET or AF_INET6, as D calls it.",
        "BEGIN { let $a = pton(\"10.0.0.1\"); print(inet_ntop(AF_INET, &$a)); }",
        "macro inet_ntop(family, address) {
            let $address = (uint64)(address);
            (family) == 2 ? ntop(*(uint32 *)$address) : ntop(*(uint8[16] *)$address)
        }",
    ),
    row(
        "link_ntop",
        (2, 2),
        "link_ntop(type, address of 6 bytes): macaddr",
        "The address of a network device in memory, as D calls it. The type is passed over: all are shown as Ethernet's.",
        "BEGIN { print(link_ntop(1, curtask.comm)); }",
        "macro link_ntop(type, address) { macaddr(address) }",
    ),
    row(
        "lltostr",
        (1, 2),
        "lltostr(number, base = 10): string",
        "The digits of a number, with its sign; in a base up to 16 those of the number without a sign, as D does it.",
        "BEGIN { print(lltostr(-42) + \" \" + lltostr(255, 16)); }",
        "macro lltostr(number) {
            let $number = (int64)(number);
            let $left = (uint64)($number < 0 ? -$number : $number);
            let $text = \"\";
            for $digit : 0..20 {
                $text = substr(\"0123456789\", $left % 10, 1) + $text;
                $left = $left / 10;
                if ($left == 0) { break; }
            }
            $number < 0 ? \"-\" + $text : $text
        }
        macro lltostr(number, base) {
            let $left = (uint64)(number);
            let $base = (uint64)(base);
            let $text = \"\";
            for $digit : 0..64 {
                $text = substr(\"0123456789abcdef\", $left % $base, 1) + $text;
                $left = $left / $base;
                if ($left == 0) { break; }
            }
            $text
        }",
    ),
    row(
        "mutex_owned",
        (1, 1),
        "mutex_owned(struct mutex *): bool",
        "Whether the current task holds the mutex.",
        "kretprobe:mutex_lock { @ = count(); } kprobe:mutex_unlock { print(mutex_owned(arg0)); }",
        "macro mutex_owned(mutex) { mutex_owner(mutex) == curtask }",
    ),
    row(
        "mutex_owner",
        (1, 1),
        "mutex_owner(struct mutex *): struct task_struct *",
        "The task that holds the mutex, or 0.",
        "kprobe:mutex_lock { @[mutex_owner(arg0).comm] = count(); }",
        "macro mutex_owner(mutex) { (struct task_struct *)(((struct mutex *)(mutex)).owner.counter & ~7) }",
    ),
    row(
        "ntohll",
        (1, 1),
        "ntohll(number): uint64",
        "A number that came in the byte order of networks.",
        "BEGIN { printf(\"%x\\n\", ntohll(1)); }",
        "macro ntohll(number) { bswap((uint64)(number)) }",
    ),
    row(
        "progenyof",
        (1, 1),
        "progenyof(pid): bool",
        "Whether the current process is that one or descends from it: 64 generations are looked at.",
        "BEGIN { printf(\"%d\\n\", progenyof(pid)); }",
        "macro progenyof(ancestor) {
            let $ancestor = (int64)(ancestor);
            let $found = (int64)pid == $ancestor;
            let $task = curtask.group_leader;
            for $generation : 0..64 {
                if ($found || $task.tgid == 0) { break; }
                $task = $task.real_parent;
                $found = $task.tgid == $ancestor;
            }
            $found
        }",
    ),
    needs_unsafe(row(
        "raise",
        (1, 1),
        "raise(number or \"NAME\")",
        "Sends a signal to the current process, as D calls it.",
        "BEGIN { raise(0); }",
        "macro raise(number) { signal(number) }",
    )),
    row(
        "root",
        (0, 0),
        "root: string",
        "The root directory of the current process.",
        "BEGIN { print(root); }",
        "macro root { path(curtask.fs.root) }",
    ),
    row(
        "stack",
        (0, 1),
        "stack(frames = 127): kstack",
        "The kernel stack, as D calls it. As a statement it prints the stack.",
        "profile:hz:99 { @[stack(5)] = count(); }",
        "macro stack { kstack } macro stack(frames) { kstack(frames) }",
    ),
    row(
        "stackdepth",
        (0, 0),
        "stackdepth: int64",
        "Frames of the kernel stack.",
        "tracepoint:syscalls:sys_enter_read { @ = max(stackdepth); }",
        "macro stackdepth { len(kstack) }",
    ),
    needs_unsafe(row(
        "stop",
        (0, 0),
        "stop()",
        "Stops the current process, until it gets SIGCONT.",
        "tracepoint:syscalls:sys_enter_read { if (comm == \"no such name\") { stop(); } }",
        "macro stop() { signal(\"STOP\") }",
    )),
    row(
        "sym",
        (1, 1),
        "sym(address): ksym",
        "A kernel address that prints as its symbol, as D calls it; func(address) is the same.",
        "profile:hz:99 { @[sym(reg(\"ip\"))] = count(); }",
        "macro sym(address) { ksym(address) }",
    ),
    row(
        "ufunc",
        (1, 1),
        "ufunc(address): usym",
        "An address of the current process that prints as its symbol, as D calls it.",
        "profile:hz:99 { @[ufunc(reg(\"ip\"))] = count(); }",
        "macro ufunc(address) { usym(address) }",
    ),
    row(
        "ustackdepth",
        (0, 0),
        "ustackdepth: int64",
        "Frames of the user stack.",
        "tracepoint:syscalls:sys_enter_read { @ = max(ustackdepth); }",
        "macro ustackdepth { len(ustack) }",
    ),
];
