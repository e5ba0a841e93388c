//! The scripts of `rtrace flame`. `--script` shows them; each leaves one map of stacks.

use super::{MemoryMeasure, WaitState, Waits};

use rtrace_runtime::output::flame_graph::{OFF_CPU, ON_CPU, WOKEN_BY};

use crate::recording::{MOST_STACKS, holding};

/// How many pieces of memory may be held at a time.
const MOST_PIECES: u32 = 1 << 18;

/// Time blocked, in microseconds. It belongs to the stack at which a thread has left its processor.
pub fn off_cpu(waits: &Waits, is_of_process: bool, wakers: bool) -> String {
    waiting(waits, is_of_process, "", "@off_cpu[", wakers)
}

/// Samples on processors, as the time that each stands for, beside time blocked.
pub fn hot_cold(waits: &Waits, frequency: u32, is_of_process: bool) -> String {
    let whose = if is_of_process { "pid == $target" } else { "pid != 0" };
    let sample = 1_000_000 / frequency;
    let running = format!(
        "profile:hz:{frequency} /{whose}/ {{\n    @time[\"{ON_CPU}\", comm, ustack, kstack] = sum({sample});\n}}\n\n"
    );
    waiting(waits, is_of_process, &running, &format!("@time[\"{OFF_CPU}\", "), false)
}

/// `sum` is a map and the beginning of its key; other clauses come before. The probes are raw tracepoints: programs at others are
/// passed over by the kernel on a processor that was interrupted in a system call on maps, and so may miss switches.
fn waiting(waits: &Waits, is_of_process: bool, others: &str, sum: &str, wakers: bool) -> String {
    let whose = if is_of_process { "pid == $target" } else { "args.prev.pid != 0" };
    let counted = |sum: String| match waits.min {
        Some(least) => format!("if ($waited >= {least}) {{ {sum} = sum($waited); }}"),
        None => format!("{sum} = sum($waited);"),
    };
    let key = |thread: &str| {
        let waker = format!(", \"{WOKEN_BY}\", @waker[{thread}], @waker_user[{thread}], @waker_kernel[{thread}]");
        format!("{sum}@names[{thread}], @user[{thread}], @kernel[{thread}]{}]", if wakers { &waker } else { "" })
    };
    let waking = "\n// Somebody wakes it.\n\
                  rawtracepoint:sched_waking /@start[args.p.pid]/ {\n    \
                      @waker[args.p.pid] = comm;\n    \
                      @waker_user[args.p.pid] = ustack;\n    \
                      @waker_kernel[args.p.pid] = kstack;\n\
                  }\n";
    format!(
        "{before}{others}\
         // A thread is back on a processor.\n\
         rawtracepoint:sched_switch /@start[args.next.pid]/ {{\n    \
             $thread = args.next.pid;\n    \
             $waited = (nsecs - @start[$thread]) / 1000;\n    \
             {back}\n    \
             delete(@start, $thread);\n\
         }}\n\n\
         // It leaves one.\n\
         rawtracepoint:sched_switch /{whose}/ {{\n    \
             $thread = args.prev.pid;\n    \
             if (@start[$thread]) {{\n        \
                 // It was back, unseen: for how long it had waited is not known.\n        \
                 @unseen++;\n        \
                 delete(@start, $thread);\n    \
             }}\n    \
             $state = {state};\n    \
             if ({states}) {{\n        \
                 @start[$thread] = nsecs;\n        \
                 @names[$thread] = comm;\n        \
                 @user[$thread] = ustack;\n        \
                 @kernel[$thread] = kstack;\n    \
             }}\n\
         }}\n{waking}\n\
         // What still waits has waited until now.\n\
         END {{\n    \
             if (@unseen) {{\n        \
                 warnf(\"waits left out, since the kernel ran no program when the thread was back: %d\", @unseen);\n    \
             }}\n    \
             for $wait : @start {{\n        \
                 $waited = (nsecs - $wait.1) / 1000;\n        \
                 {end}\n    \
             }}\n    \
             clear(@unseen);\n    clear(@start);\n    clear(@names);\n    clear(@user);\n    clear(@kernel);\n\
             {clear_wakers}\
         }}\n",
        before = holding(MOST_STACKS),
        waking = if wakers { waking } else { "" },
        clear_wakers =
            if wakers { "    clear(@waker);\n    clear(@waker_user);\n    clear(@waker_kernel);\n" } else { "" },
        back = counted(key("$thread")),
        end = counted(key("$wait.0")),
        state = STATE,
        states = states(&waits.states),
    )
}

/// The state in which a thread leaves its processor. Kernels before 5.18 do not pass it, those before 5.14 have another name for it.
const STATE: &str = "if comptime defined(args.prev_state) { args.prev_state }\n        \
                     else if comptime defined(args.prev.__state) { args.prev.__state }\n        \
                     else { args.prev.state }";

/// What of `$state` counts, by the kernel's bits (TASK_* in its sched.h).
fn states(states: &[WaitState]) -> String {
    let has = |state| states.contains(&state);
    // Asleep; stopped by a signal, by a debugger, or parked.
    let mut bits = if has(WaitState::S) { 0x1 } else { 0 } | if has(WaitState::T) { 0x4c } else { 0 };
    let mut all = Vec::new();
    // Who idles has the bit of D and one that says that no load counts. Sleeping locks and the freezer have bits of their own.
    match (has(WaitState::D), has(WaitState::I)) {
        (true, true) => bits |= 0x9002,
        (true, false) => all.push("($state & 0x9002 != 0 && $state & 0x402 != 0x402)".to_string()),
        (false, true) => all.push("$state & 0x402 == 0x402".to_string()),
        (false, false) => {}
    }
    if bits != 0 {
        all.insert(0, format!("$state & {bits:#x} != 0"));
    }
    // Who had to make room does not wait, whatever its state.
    let blocked = format!("!args.preempt && ({})", all.join(" || "));
    let runnable = "args.preempt || $state & 0x90ff == 0";
    match (all.is_empty(), has(WaitState::R)) {
        (true, _) => runnable.to_string(),
        (false, false) => blocked,
        (false, true) => format!("{runnable} || {}", all.join(" || ")),
    }
}

/// What is above a graph of memory, and what it counts.
pub fn memory_title(of: MemoryMeasure) -> (&'static str, &'static str) {
    match of {
        MemoryMeasure::Allocated => ("Memory allocated", "bytes"),
        MemoryMeasure::Calls => ("Allocations", "calls"),
        MemoryMeasure::Held => ("Memory held", "bytes"),
        MemoryMeasure::Mapped => ("Memory mapped", "bytes"),
        MemoryMeasure::Faults => ("Page faults", "faults"),
    }
}

/// With children an address is one of a process.
pub fn memory(of: MemoryMeasure, children: bool) -> String {
    let piece = |address: &str| if children { format!("(pid, {address})") } else { address.to_string() };
    match of {
        MemoryMeasure::Allocated => allocations(MOST_STACKS, "@allocated[ustack] = sum(self->bytes);", ""),
        MemoryMeasure::Calls => allocations(MOST_STACKS, "@calls[ustack] = count();", ""),
        MemoryMeasure::Held => {
            let freed = piece("arg0");
            let behind = format!(
                "\nuprobe:libc:free,\nuprobe:libc:realloc {{\n    \
                     delete(@bytes, {freed});\n    delete(@stacks, {freed});\n\
                 }}\n\n\
                 END {{\n    \
                     for $piece : @bytes {{ @held[@stacks[$piece.0]] = sum($piece.1); }}\n    \
                     clear(@bytes);\n    clear(@stacks);\n\
                 }}\n"
            );
            let key = if children { "pid, $at" } else { "$at" };
            let taken = format!("@bytes[{key}] = self->bytes;\n    @stacks[{key}] = ustack;");
            allocations(MOST_PIECES, &taken, &behind)
        }
        MemoryMeasure::Mapped => {
            holding(MOST_STACKS) + "tracepoint:syscalls:sys_enter_mmap { @mapped[ustack] = sum(args.len); }\n"
        }
        MemoryMeasure::Faults => holding(MOST_STACKS) + "software:page-faults:1 { @faults[ustack] = count(); }\n",
    }
}

/// At the return of what allocates, `taken`, with the memory's address in `$at`. One that calls another counts once.
fn allocations(keys: u32, taken: &str, behind: &str) -> String {
    let at = |of: &str| if taken.contains("$at") { format!("    $at = {of};\n") } else { String::new() };
    format!(
        "{before}uprobe:libc:malloc {{ self->bytes = arg0; self->asked = 1; }}\n\
         uprobe:libc:calloc {{ self->bytes = arg0 * arg1; self->asked = 1; }}\n\
         uprobe:libc:realloc,\n\
         uprobe:libc:memalign,\n\
         uprobe:libc:aligned_alloc {{ self->bytes = arg1; self->asked = 1; }}\n\
         uprobe:libc:posix_memalign {{ self->bytes = arg2; self->asked = 1; self->into = arg0; }}\n\n\
         uretprobe:libc:malloc,\n\
         uretprobe:libc:calloc,\n\
         uretprobe:libc:realloc,\n\
         uretprobe:libc:memalign,\n\
         uretprobe:libc:aligned_alloc /self->asked == 1 && retval != 0/ {{\n{plain}    {taken}\n    self->asked = 0;\n}}\n\n\
         uretprobe:libc:posix_memalign /self->asked == 1 && (retval & 0xffffffff) == 0/ {{\n{aligned}    {taken}\n    \
         self->asked = 0;\n}}\n{behind}",
        before = holding(keys),
        plain = at("retval"),
        aligned = at("*(uint64 *)self->into"),
    )
}
