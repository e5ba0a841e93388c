//! The reader on a small blob made here, and on the running kernel's types where they are there.

use rtrace_lang::types::{Space, StructKind, Type};

use super::{Access, Btf, Kind};

mod definitions;

/// Writes a blob; ids count from 1 in the order of the calls.
#[derive(Default)]
struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

impl Writer {
    fn new() -> Writer {
        Writer { strings: vec![0], ..Writer::default() }
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        at
    }

    fn record(&mut self, name: &str, kind: u32, flag: bool, count: u32, size_or_type: u32, tail: &[u32]) -> u32 {
        let name = self.string(name);
        for word in [name, kind << 24 | count | u32::from(flag) << 31, size_or_type].iter().chain(tail) {
            self.types.extend_from_slice(&word.to_ne_bytes());
        }
        self.count += 1;
        self.count
    }

    fn finish(self) -> Vec<u8> {
        let mut blob = 0xeb9f_u16.to_ne_bytes().to_vec();
        blob.extend([1, 0]);
        let words = [24, 0, self.types.len() as u32, self.types.len() as u32, self.strings.len() as u32];
        blob.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        blob.extend(self.types);
        blob.extend(self.strings);
        blob
    }
}

fn small_blob() -> Vec<u8> {
    let mut writer = Writer::new();
    let int = writer.record("int", 1, false, 0, 4, &[1 << 24 | 32]);
    let char_id = writer.record("char", 1, false, 0, 1, &[8]);
    let comm = writer.record("", 3, false, 0, 0, &[char_id, int, 16]);
    let (next, pid, flag) = (writer.string("next"), writer.string("pid"), writer.string("flag"));
    let name = writer.string("comm");
    let struct_id = 5;
    assert_eq!(writer.record("", 2, false, 0, struct_id, &[]), 4);
    let members = [next, 4, 0, pid, int, 64, flag, int, 3 << 24 | 96, name, comm, 128];
    assert_eq!(writer.record("task", 4, true, 4, 32, &members), struct_id);
    let user_tag = writer.record("user", 18, false, 0, char_id, &[]);
    let user_pointer = writer.record("", 2, false, 0, user_tag, &[]);
    let (task, path) = (writer.string("task"), writer.string("path"));
    let prototype = writer.record("", 13, false, 2, int, &[task, 4, path, user_pointer]);
    writer.record("do_open", 12, false, 1, prototype, &[]);
    let (first, second) = (writer.string("FIRST"), writer.string("LAST"));
    writer.record("state", 6, true, 2, 4, &[first, 3, second, (-2_i32) as u32]);
    let big = writer.string("BIG");
    writer.record("wide", 19, false, 1, 8, &[big, 1, 2]);
    let event_pointer = writer.record("", 2, false, 0, prototype, &[]);
    writer.record("btf_trace_open", 8, false, 0, event_pointer, &[]);
    writer.finish()
}

#[test]
fn finds_types_by_name() {
    let btf = Btf::from_bytes(small_blob(), 0).unwrap();
    let task = btf.find(Kind::Struct, "task").unwrap();
    assert_eq!((task.id, task.size_or_type), (5, 32));
    assert!(btf.find(Kind::Union, "task").is_none());
    assert!(btf.find(Kind::Struct, "tas").is_none());
    assert_eq!(btf.trace_events()["open"], 13);
}

#[test]
fn members_carry_places_and_widths() {
    let btf = Btf::from_bytes(small_blob(), 0).unwrap();
    let fields = btf.members(5);
    let names: Vec<&str> = fields.iter().map(|field| &*field.name).collect();
    assert_eq!(names, ["next", "pid", "flag", "comm"]);
    let Type::Pointer { to, space: Space::Kernel } = &fields[0].ty else { panic!("{:?}", fields[0]) };
    let Type::Struct(task) = &**to else { panic!("{to:?}") };
    assert_eq!((task.kind, &*task.name, task.size), (StructKind::Struct, "task", 32));
    assert_eq!((fields[1].bit_offset, fields[1].bit_width), (64, None));
    assert_eq!((fields[2].bit_offset, fields[2].bit_width), (96, Some(3)));
    assert_eq!((fields[3].bit_offset, fields[3].ty.clone()), (128, Type::Str(16)));
}

#[test]
fn prototypes_know_user_pointers() {
    let btf = Btf::from_bytes(small_blob(), 0).unwrap();
    let function = btf.find(Kind::Func, "do_open").unwrap();
    let prototype = btf.prototype(function.id).unwrap();
    assert_eq!(prototype.returns.ty, Type::Int { bytes: 4, signed: true });
    assert_eq!(&*prototype.parameters[1].name, "path");
    assert_eq!(prototype.parameters[1].ty, Type::pointer(Type::Int { bytes: 1, signed: true }, Space::User));
    let access: Vec<Access> = prototype.parameters.iter().map(|parameter| parameter.access).collect();
    assert_eq!(access, [Access::Load, Access::LoadIfIntegerPointer]);
    assert_eq!(btf.prototype(13).unwrap(), prototype);
}

#[test]
fn many_names_are_found_as_few_are() {
    let few = Btf::open_vmlinux().unwrap();
    let many = Btf::open_vmlinux().unwrap();
    let records = || few.records().filter(|record| record.name_offset != 0);
    let step = records().count() / super::names::MOST_WALKS;
    let mut found = 0;
    for record in records().step_by(step) {
        let walked = few.search(record.kind, few.name(&record)).unwrap();
        let known = many.find(record.kind, few.name(&record)).unwrap();
        assert_eq!((walked, few.name(&record)), (known.id, many.name(&known)));
        found += 1;
    }
    assert!(found >= super::names::MOST_WALKS && many.names.get().is_some() && few.names.get().is_none());
    // The table itself, with all kinds that a name has.
    for record in records().step_by(step) {
        for kind in [Kind::Struct, Kind::Func, Kind::Typedef, Kind::Enum] {
            let walked = few.search(kind, few.name(&record));
            assert_eq!(walked, many.find(kind, few.name(&record)).map(|known| known.id), "{}", few.name(&record));
        }
    }
    assert!(many.find(Kind::Func, "no_such_function").is_none());
}

#[test]
fn enumerators_keep_their_sign() {
    let btf = Btf::from_bytes(small_blob(), 0).unwrap();
    assert_eq!(btf.enumerator_named("LAST").unwrap().0, -2);
    assert_eq!(btf.enumerator_named("BIG").unwrap().0, 1 | 2 << 32);
    assert!(btf.enumerator_named("task").is_none());
}

/// Kernels that tell which enums are signed have large values in the others; of those that do not, nobody knows.
#[test]
fn unsigned_enumerators_stay_positive() {
    let value = |has_signed: bool| {
        let mut writer = Writer::new();
        let (mask, last) = (writer.string("MASK"), writer.string("LAST"));
        writer.record("masks", 6, false, 1, 4, &[mask, u32::MAX]);
        writer.record("signs", 6, has_signed, 1, 4, &[last, 1]);
        Btf::from_bytes(writer.finish(), 0).unwrap().enumerator_named("MASK").unwrap().0
    };
    assert_eq!((value(true), value(false)), (i64::from(u32::MAX), -1));
}

#[test]
fn damaged_blobs_are_errors_or_end_early() {
    let blob = small_blob();
    for length in 0..blob.len() {
        if let Ok(btf) = Btf::from_bytes(blob[..length].to_vec(), 0) {
            btf.records().count();
        }
    }
    for at in 0..blob.len() {
        let mut damaged = blob.clone();
        damaged[at] ^= 0xff;
        let Ok(btf) = Btf::from_bytes(damaged, 0) else { continue };
        for record in btf.records() {
            btf.type_of(record.id);
            btf.members(record.id);
            btf.prototype(record.id);
            btf.definition(&record);
        }
        btf.enumerator_named("LAST");
        btf.find(Kind::Struct, "task");
    }
}

#[test]
fn reads_the_running_kernel() {
    let Ok(btf) = Btf::open_vmlinux() else {
        println!("skipped: this kernel shows no BTF");
        return;
    };
    let started = std::time::Instant::now();
    let task = btf.find(Kind::Struct, "task_struct").unwrap();
    println!("task_struct: id {} after {:?}", task.id, started.elapsed());
    let fields = btf.members(task.id);
    println!("members after {:?}", started.elapsed());
    let comm = fields.iter().find(|field| &*field.name == "comm").unwrap();
    assert_eq!(comm.ty, Type::Str(16));
    let pid = fields.iter().find(|field| &*field.name == "pid").unwrap();
    assert_eq!(pid.ty, Type::Int { bytes: 4, signed: true });
    let events = btf.trace_events();
    println!("{} events after {:?}", events.len(), started.elapsed());
    let sys_enter = btf.prototype(events["sys_enter"]).unwrap();
    assert_eq!(sys_enter.parameters.len(), 3);
    let Type::Pointer { to, .. } = &sys_enter.parameters[1].ty else { panic!("{sys_enter:?}") };
    assert!(matches!(&**to, Type::Struct(regs) if &*regs.name == "pt_regs"));
    assert!(btf.enumerator_named("BPF_MAP_TYPE_HASH").is_some_and(|(value, _)| value == 1));
    println!("user tags: {} after {:?}", btf.has_user_tags(), started.elapsed());
}

#[test]
fn names_that_begin_alike() {
    let btf = Btf::from_bytes(small_blob(), 0).unwrap();
    assert_eq!(btf.beginning_with("btf_trace_", Kind::Typedef), [("open", 13)]);
    assert_eq!(btf.beginning_with("tas", Kind::Struct), [("k", 5)]);
    assert!(btf.beginning_with("tas", Kind::Union).is_empty() && btf.beginning_with("ask", Kind::Struct).is_empty());
    let Ok(kernel) = Btf::open_vmlinux() else { return };
    let walked: Vec<(&str, u32)> = kernel
        .records()
        .filter(|record| record.kind == Kind::Func)
        .filter_map(|record| Some((kernel.name(&record).strip_prefix("vfs_")?, record.id)))
        .collect();
    assert_eq!(kernel.beginning_with("vfs_", Kind::Func), walked);
    assert!(walked.len() > 20);
}
