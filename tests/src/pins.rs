//! Iterators that are pinned to a file: rtrace has ended when the file is read, and what is read is what printf() wrote.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rtrace_probes::kernel::bpf::{MapConfig, map_create, map_update};

use crate::child::Child;
use crate::directory::Directory;
use crate::environment::Programs;

/// All conversions that there are, of numbers, texts and addresses, with and without a width.
const LINE: &str = concat!(
    r#"printf("%s|%-6s|%d|%5d|%-5d|%05d|%+d|%u|%x|%#x|%X|%p|%%\n", "#,
    r#"ctx.task.comm, str("ab"), ctx.task.tgid == PID, -7, -7, -7, 7, 7, 255, 255, 255, 4096); printf("no values\n");"#,
);

const EXPECTED: &str = "|ab    |1|   -7|-7   |-0007|+7|7|ff|0xff|FF|0x1000|%\nno values\n";

pub fn check(programs: &Programs) -> Result<()> {
    let directory = Directory::create("pins")?;
    // BPF_MAP_TYPE_ARRAY (include/uapi/linux/bpf.h)
    let config = MapConfig { kind: 2, key_bytes: 4, value_bytes: 8, entries: 3, name: "pins", ..MapConfig::default() };
    let map = map_create(&config)?;
    map_update(map.as_fd(), &1_u32.to_ne_bytes(), &11_u64.to_ne_bytes(), 0)?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("map_id:")).context("the map has no number")?.trim();

    let pid = std::process::id().to_string();
    let of_tasks = format!("iter:task:rtrace_tasks {{ {} }}", LINE.replace("PID", &pid));
    let of_map = format!(
        "fn line($key: uint32, $value: uint64) {{ printf(\"%u %llu\\n\", $key, $value); }} \
         iter:bpf_map_elem:{id}:rtrace_map {{ if (ctx.key != 0) {{ line(*(uint32 *)ctx.key, *(uint64 *)ctx.value); }} }}"
    );
    fs::write(directory.path.join("tasks.rt"), of_tasks)?;
    fs::write(directory.path.join("map.rt"), of_map)?;
    // The file system is that of a namespace, and what is pinned goes with it.
    let script = format!(
        "set -e; cd {}; mount -t bpf bpf /sys/fs/bpf; {rtrace} -p {pid} tasks.rt; {rtrace} map.rt\n\
         cat /sys/fs/bpf/rtrace_tasks > first; cat /sys/fs/bpf/rtrace_tasks > second; cat /sys/fs/bpf/rtrace_map > map\n\
         if {rtrace} map.rt 2> again; then exit 9; fi; rm /sys/fs/bpf/rtrace_map; {rtrace} -q map.rt 2> quiet",
        directory.path.display(),
        rtrace = programs.rtrace.display(),
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script]);
    let ended = Child::start(&mut command, Instant::now() + Duration::from_secs(60))?.finish()?;
    let (output, errors) = (String::from_utf8_lossy(&ended.output), String::from_utf8_lossy(&ended.errors));
    ensure!(ended.status.success() && output.trim().is_empty(), "{}: {output}\n{errors}", ended.status);
    let told = "Pinned to /sys/fs/bpf/rtrace_tasks: `cat /sys/fs/bpf/rtrace_tasks` goes through it";
    ensure!(errors.contains(told), "it does not tell where it is: {errors}");

    let read = |name: &str| fs::read_to_string(directory.path.join(name)).with_context(|| name.to_string());
    let tasks = read("first")?;
    let threads = fs::read_dir("/proc/self/task")?.count();
    // Each thread has a line of its own; others may have ended by now, or begun.
    ensure!(threads > 0 && tasks.matches(EXPECTED).count() == tasks.lines().count() / 2, "the tasks are {tasks}");
    let comm = fs::read_to_string("/proc/self/comm")?;
    ensure!(tasks.contains(&format!("{}{EXPECTED}", comm.trim())), "no line of {comm} in {tasks}");
    ensure!(read("second")?.contains(EXPECTED), "the file cannot be read a second time");
    let map = read("map")?;
    ensure!(map == "0 0\n1 11\n2 0\n", "the map is {map}");
    let again = read("again")?;
    ensure!(again.contains("`rm /sys/fs/bpf/rtrace_map` ends what it is"), "a second one says {again}");
    let quiet = read("quiet")?;
    ensure!(quiet.is_empty(), "-q says {quiet}");
    Ok(())
}
