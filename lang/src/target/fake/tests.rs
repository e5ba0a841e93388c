//! Tests of the described machine: what its text means, and that its sites are shaped like real ones.

use super::*;
use crate::span::Span;
use crate::target::{Attach, Location, MultiKind, ProgramKind, ResolveErrorKind};

const TEXT: &str = "\
cpus 2
feature Kprobes KprobeMulti Trampolines Helper(174)
symbol jiffies 0xffff   # a comment
typedef pid_t int
enum color unsigned int
    RED 0
    GREEN 1
struct task 64
    0 pid_t pid
    4:3+2 unsigned int flags
    8 union .either
    16 char[16] comm
    32 struct task * parent
union .either 8
    0 long number
function vfs_read(struct task * file, size_t count) long
function vfs_write(struct task * file) long
typedef size_t unsigned long
syscall openat 257 (int dfd, char * filename)
tracepoint sched:sched_switch 316
    8 char[16] prev_comm
    24 data_loc name
binary /usr/bin/app
    0x1140 main
";

fn target() -> FakeTarget {
    FakeTarget::parse(TEXT).expect("the text above is well formed")
}

fn resolve(text: &str, options: &ResolveOptions) -> Result<Vec<ProbeSite>, ResolveError> {
    target().resolve(&ProbeSpec::parse(text, Span::default()), options)
}

#[test]
fn types_are_as_described() {
    let target = target();
    let task = target.struct_named(StructKind::Struct, "task").expect("described");
    let fields: Vec<String> = target
        .fields(&task)
        .iter()
        .map(|field| format!("{} {} {} {:?}", field.ty, field.name, field.bit_offset, field.bit_width))
        .collect();
    assert_eq!(
        fields,
        [
            "int32 pid 0 None",
            "uint32 flags 35 Some(2)",
            "union  64 None",
            "string[16] comm 128 None",
            "struct task * parent 256 None"
        ]
    );
    assert_eq!(target.enumerator("GREEN").map(|(value, of)| (value, of.to_owned().name)), Some((1, "color".into())));
    assert_eq!(target.type_named("pid_t"), Some(Type::Int { bytes: 4, signed: true }));
    assert!(target.has(Feature::Helper(174)) && !target.has(Feature::UprobeMulti));
    let names: Vec<String> = target.type_names().iter().map(|(tag, name)| tag.written(name)).collect();
    assert_eq!(names, ["struct task", "enum color", "pid_t", "size_t"]);
}

#[test]
fn mistakes_have_a_line() {
    for (text, line) in [("cpus x", 1), ("\nstruct a 8\n    0 nothing b", 3), ("no entry", 1), ("feature X", 1)] {
        assert_eq!(FakeTarget::parse(text).map_err(|bad| bad.line).err(), Some(line), "{text}");
    }
}

#[test]
fn wildcards_and_arguments() {
    let options = ResolveOptions { uses_arguments: true, ..ResolveOptions::default() };
    let sites = resolve("kprobe:vfs_*", &options).expect("two functions");
    assert_eq!(sites.len(), 2);
    assert_eq!(sites[0].program, ProgramKind::Kprobe { multi: MultiKind::KprobeMulti, user: false });
    assert_eq!(sites[0].layout.arguments[1].at, Location::Context { offset: 104 });
    let sites = resolve("t:syscalls:sys_*_openat", &options).expect("both events");
    assert_eq!(sites.iter().map(|site| &*site.function).collect::<Vec<_>>(), ["sys_enter_openat", "sys_exit_openat"]);
    assert_eq!(sites[0].selector, Some(257));
    let sites = resolve("fexit:vfs_read", &options).expect("a function");
    assert_eq!(sites[0].layout.return_value.as_ref().map(|value| &value.at), Some(&Location::Context { offset: 16 }));
}

#[test]
fn an_event_without_fields_is_raw() {
    let sites = resolve("tracepoint:sched:sched_switch", &ResolveOptions::default()).expect("an event");
    assert_eq!(sites[0].attach, Attach::RawTracepoint { event: "sched_switch".into() });
}

#[test]
fn what_is_not_described_is_not_found() {
    let kind = |text| resolve(text, &ResolveOptions::default()).map_err(|error| error.kind).err();
    assert_eq!(kind("kprob:vfs_read"), Some(ResolveErrorKind::UnknownProvider));
    assert_eq!(kind("kprobe:vfs_raed"), Some(ResolveErrorKind::NotFound));
    assert_eq!(kind("tracepoint:sched"), Some(ResolveErrorKind::Form));
    assert_eq!(kind("uprobe:app:main"), None);
}
