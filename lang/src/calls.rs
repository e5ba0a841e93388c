//! Numbers of the kernel's BPF helpers that programs call (include/uapi/linux/bpf.h, `__BPF_FUNC_MAPPER`). Holds numbers
//! only; which kernel has which helper is probed elsewhere.

/// A function of the kernel that is no helper: whether a program that runs at entries and returns runs at a return.
pub const SESSION_IS_RETURN: &str = "bpf_session_is_return";

pub const MAP_LOOKUP_ELEM: u32 = 1;
pub const MAP_UPDATE_ELEM: u32 = 2;
pub const MAP_DELETE_ELEM: u32 = 3;
/// Reads kernel or user memory, told apart by the address.
pub const PROBE_READ: u32 = 4;
pub const KTIME_GET_NS: u32 = 5;
pub const TRACE_PRINTK: u32 = 6;
pub const GET_PRANDOM_U32: u32 = 7;
pub const GET_SMP_PROCESSOR_ID: u32 = 8;
/// Goes on with a program of a map, if there is one.
pub const TAIL_CALL: u32 = 12;
pub const GET_CURRENT_PID_TGID: u32 = 14;
pub const GET_CURRENT_UID_GID: u32 = 15;
pub const GET_CURRENT_COMM: u32 = 16;
pub const GET_CURRENT_TASK: u32 = 35;
pub const PROBE_WRITE_USER: u32 = 36;
/// 1 if the current task is in the cgroup that a map holds, or below it.
pub const CURRENT_TASK_UNDER_CGROUP: u32 = 37;
pub const GET_NUMA_NODE_ID: u32 = 42;
/// Like `PROBE_READ`, for strings.
pub const PROBE_READ_STR: u32 = 45;
pub const OVERRIDE_RETURN: u32 = 58;
pub const GET_STACK: u32 = 67;
pub const GET_CURRENT_CGROUP_ID: u32 = 80;
pub const SEND_SIGNAL: u32 = 109;
pub const PROBE_READ_USER: u32 = 112;
pub const PROBE_READ_KERNEL: u32 = 113;
pub const PROBE_READ_USER_STR: u32 = 114;
pub const PROBE_READ_KERNEL_STR: u32 = 115;
pub const SEND_SIGNAL_THREAD: u32 = 117;
pub const JIFFIES64: u32 = 118;
/// Like `GET_CURRENT_PID_TGID`, as a process namespace numbers them.
pub const GET_NS_CURRENT_PID_TGID: u32 = 120;
pub const KTIME_GET_BOOT_NS: u32 = 125;
/// Appends to the file that an iterator's reader reads.
pub const SEQ_PRINTF: u32 = 126;
pub const SEQ_WRITE: u32 = 127;
pub const RINGBUF_RESERVE: u32 = 131;
pub const RINGBUF_SUBMIT: u32 = 132;
/// The value that belongs to a thread.
pub const TASK_STORAGE_GET: u32 = 156;
/// Like `GET_CURRENT_TASK`, as a pointer whose type the verifier knows.
pub const GET_CURRENT_TASK_BTF: u32 = 158;
/// Calls a function for each entry of a map.
pub const FOR_EACH_MAP_ELEM: u32 = 164;
pub const GET_ATTACH_COOKIE: u32 = 174;
/// The registers with which a task entered the kernel.
pub const TASK_PT_REGS: u32 = 175;
/// Calls a function with the mapping that an address of a task lies in.
pub const FIND_VMA: u32 = 180;
/// Calls a function that many times.
pub const LOOP: u32 = 181;
/// The value of one processor.
pub const MAP_LOOKUP_PERCPU_ELEM: u32 = 195;
pub const KTIME_GET_TAI_NS: u32 = 208;

/// The kernel's name of a helper whose failures are told, without its `bpf_`.
pub fn name(helper: u32) -> Option<&'static str> {
    Some(match helper {
        MAP_UPDATE_ELEM => "map_update_elem",
        PROBE_READ => "probe_read",
        PROBE_READ_STR => "probe_read_str",
        PROBE_READ_USER => "probe_read_user",
        PROBE_READ_KERNEL => "probe_read_kernel",
        PROBE_READ_USER_STR => "probe_read_user_str",
        PROBE_READ_KERNEL_STR => "probe_read_kernel_str",
        _ => return None,
    })
}
