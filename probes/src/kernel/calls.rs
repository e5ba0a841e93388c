//! Names of the helpers that a tracing program may call, and the first kernel release with each, for messages only:
//! whether a kernel has one is found out by trying (`features`). Numbers: include/uapi/linux/bpf.h.

use aya_obj::generated::bpf_prog_type;

pub const D_PATH: u32 = 147;
pub const GET_FUNC_IP: u32 = 173;
pub const GET_ATTACH_COOKIE: u32 = 174;

/// Number, name without `bpf_`, first release.
static HELPERS: &[(u32, &str, &str)] = &[
    (1, "map_lookup_elem", "3.19"),
    (2, "map_update_elem", "3.19"),
    (3, "map_delete_elem", "3.19"),
    (4, "probe_read", "4.1"),
    (5, "ktime_get_ns", "4.1"),
    (6, "trace_printk", "4.1"),
    (7, "get_prandom_u32", "4.1"),
    (8, "get_smp_processor_id", "4.1"),
    (12, "tail_call", "4.2"),
    (14, "get_current_pid_tgid", "4.2"),
    (15, "get_current_uid_gid", "4.2"),
    (16, "get_current_comm", "4.2"),
    (22, "perf_event_read", "4.3"),
    (25, "perf_event_output", "4.4"),
    (27, "get_stackid", "4.6"),
    (35, "get_current_task", "4.8"),
    (36, "probe_write_user", "4.8"),
    (37, "current_task_under_cgroup", "4.9"),
    (42, "get_numa_node_id", "4.10"),
    (45, "probe_read_str", "4.11"),
    (46, "get_socket_cookie", "4.12"),
    (55, "perf_event_read_value", "4.15"),
    (56, "perf_prog_read_value", "4.15"),
    (58, "override_return", "4.16"),
    (67, "get_stack", "4.18"),
    (80, "get_current_cgroup_id", "4.18"),
    (87, "map_push_elem", "4.20"),
    (88, "map_pop_elem", "4.20"),
    (89, "map_peek_elem", "4.20"),
    (93, "spin_lock", "5.1"),
    (94, "spin_unlock", "5.1"),
    (105, "strtol", "5.2"),
    (106, "strtoul", "5.2"),
    (109, "send_signal", "5.3"),
    (111, "skb_output", "5.5"),
    (112, "probe_read_user", "5.5"),
    (113, "probe_read_kernel", "5.5"),
    (114, "probe_read_user_str", "5.5"),
    (115, "probe_read_kernel_str", "5.5"),
    (117, "send_signal_thread", "5.6"),
    (118, "jiffies64", "5.6"),
    (119, "read_branch_records", "5.6"),
    (120, "get_ns_current_pid_tgid", "5.7"),
    (121, "xdp_output", "5.7"),
    (123, "get_current_ancestor_cgroup_id", "5.7"),
    (125, "ktime_get_boot_ns", "5.8"),
    (126, "seq_printf", "5.8"),
    (127, "seq_write", "5.8"),
    (130, "ringbuf_output", "5.8"),
    (131, "ringbuf_reserve", "5.8"),
    (132, "ringbuf_submit", "5.8"),
    (133, "ringbuf_discard", "5.8"),
    (134, "ringbuf_query", "5.8"),
    (136, "skc_to_tcp6_sock", "5.9"),
    (137, "skc_to_tcp_sock", "5.9"),
    (141, "get_task_stack", "5.9"),
    (147, "d_path", "5.10"),
    (148, "copy_from_user", "5.10"),
    (149, "snprintf_btf", "5.10"),
    (153, "per_cpu_ptr", "5.10"),
    (154, "this_cpu_ptr", "5.10"),
    (156, "task_storage_get", "5.11"),
    (157, "task_storage_delete", "5.11"),
    (158, "get_current_task_btf", "5.11"),
    (160, "ktime_get_coarse_ns", "5.11"),
    (164, "for_each_map_elem", "5.13"),
    (165, "snprintf", "5.13"),
    (169, "timer_init", "5.15"),
    (170, "timer_set_callback", "5.15"),
    (171, "timer_start", "5.15"),
    (172, "timer_cancel", "5.15"),
    (173, "get_func_ip", "5.15"),
    (174, "get_attach_cookie", "5.15"),
    (175, "task_pt_regs", "5.15"),
    (176, "get_branch_snapshot", "5.16"),
    (177, "trace_vprintk", "5.16"),
    (179, "kallsyms_lookup_name", "5.16"),
    (180, "find_vma", "5.17"),
    (181, "loop", "5.17"),
    (182, "strncmp", "5.17"),
    (183, "get_func_arg", "5.17"),
    (184, "get_func_ret", "5.17"),
    (185, "get_func_arg_cnt", "5.17"),
    (191, "copy_from_user_task", "5.18"),
    (194, "kptr_xchg", "5.19"),
    (195, "map_lookup_percpu_elem", "5.19"),
    (197, "dynptr_from_mem", "5.19"),
    (198, "ringbuf_reserve_dynptr", "5.19"),
    (199, "ringbuf_submit_dynptr", "5.19"),
    (200, "ringbuf_discard_dynptr", "5.19"),
    (201, "dynptr_read", "5.19"),
    (202, "dynptr_write", "5.19"),
    (203, "dynptr_data", "5.19"),
    (208, "ktime_get_tai_ns", "6.1"),
    (209, "user_ringbuf_drain", "6.1"),
    (210, "cgrp_storage_get", "6.2"),
    (211, "cgrp_storage_delete", "6.2"),
];

/// The helper's name without `bpf_`, and the first kernel release that has it. A number that is not in the table is
/// answered as unknown.
pub fn helper_name(number: u32) -> (&'static str, &'static str) {
    match HELPERS.binary_search_by_key(&number, |row| row.0) {
        Ok(at) => (HELPERS[at].1, HELPERS[at].2),
        Err(_) => ("unknown helper", "unknown"),
    }
}

/// The number of the helper of that name.
pub fn helper_named(name: &str) -> Option<u32> {
    HELPERS.iter().find(|(_, known, _)| *known == name).map(|(number, _, _)| *number)
}

/// The type of program that has to be asked about the helper; all types of tracing share the others.
pub(super) fn program_type(number: u32) -> bpf_prog_type {
    match number {
        D_PATH => bpf_prog_type::BPF_PROG_TYPE_TRACING,
        _ => bpf_prog_type::BPF_PROG_TYPE_KPROBE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_for_the_search() {
        assert!(HELPERS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(helper_name(174), ("get_attach_cookie", "5.15"));
        assert_eq!(helper_name(0), ("unknown helper", "unknown"));
    }
}
