//! Object files: what stands in them, and that the tools which people use on such files accept them. A tool or privilege
//! that is missing is a printed skip; what rtrace itself makes of an object is tested elsewhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use object::{Object as _, ObjectSection, ObjectSymbol, RelocationFlags, SymbolKind};
use rtrace_compiler::object::elf;
use rtrace_lang::check::CheckOptions;
use rtrace_lang::source::Source;
use rtrace_lang::target::Target;
use rtrace_probes::Machine;
use rtrace_runtime::driver::{Stage, drive};
use rtrace_tests::stages::described_machine;

const SCRIPT: &str = r#"
BEGIN { @x = 1; @y[1, "a"] = count(); @["a"]++; printf("%d\n", @x); }
interval:s:1 { @z = hist(@x); @text = "text"; }
rawtracepoint:sched_switch { @q[kstack] = count(); }
profile:hz:9 { @p[ustack] = count(); }
END { @x += elapsed; }
"#;

fn write(target: &dyn Target, script: &str) -> Vec<u8> {
    let mut source = Source::new("script.rt", script);
    let driven = drive(&mut source, target, &CheckOptions::default(), Stage::Compile);
    assert!(!driven.has_errors(), "{:?}", driven.diagnostics);
    elf::write(&driven.compiled.expect("compiled").object, &source)
}

fn described(script: &str) -> Vec<u8> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    write(&described_machine(&cases).expect("the described machine"), script)
}

/// A directory that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("rtrace-elf-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory for the test");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the tool prints; None, with a printed line, where it is not there.
fn tool(name: &str, arguments: &[&str]) -> Option<String> {
    let Ok(output) = Command::new(name).args(arguments).output() else {
        println!("skipped: {name} is not installed");
        return None;
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{name} {arguments:?}: {said}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn sections_symbols_and_relocations() {
    let bytes = described(SCRIPT);
    let file = object::File::parse(&*bytes).unwrap();
    assert_eq!(file.architecture(), object::Architecture::Bpf);
    let sections: Vec<&str> = file.sections().filter_map(|section| section.name().ok()).collect();
    for name in ["license", ".maps", ".data.globals", ".data.at_x", "raw_tp", "perf_event", ".BTF", ".BTF.ext"] {
        assert!(sections.contains(&name), "no {name} in {sections:?}");
    }
    assert!(sections.iter().any(|name| name.ends_with("/sched_switch")), "{sections:?}");
    assert_eq!(file.section_by_name("license").unwrap().data().unwrap(), b"GPL\0");
    // Programs fill their sections without gap or overlap.
    let section = file.section_by_name("raw_tp").unwrap();
    let mut programs: Vec<(u64, u64)> = file
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.section_index() == Some(section.index()))
        .map(|symbol| (symbol.address(), symbol.size()))
        .collect();
    programs.sort_unstable();
    assert_eq!(programs.len(), 3, "BEGIN, the timer and END");
    assert_eq!(programs.iter().map(|(start, _)| *start).sum::<u64>(), programs[1].0 + programs[2].0);
    assert_eq!(programs.iter().map(|(_, size)| *size).sum::<u64>(), section.size());
    let data = section.data().unwrap();
    let mut referenced = 0;
    for (offset, relocation) in section.relocations() {
        let RelocationFlags::Elf { r_type } = relocation.flags() else { panic!("{relocation:?}") };
        assert_eq!(r_type, 1, "R_BPF_64_64");
        let load = &data[offset as usize..offset as usize + 16];
        assert_eq!((load[0], load[1] >> 4), (0x18, 0), "a load whose kind of source the loader sets");
        referenced += 1;
    }
    assert!(referenced > 5);
}

#[test]
fn the_same_script_gives_the_same_bytes() {
    assert_eq!(described(SCRIPT), described(SCRIPT));
}

#[test]
fn targets_are_in_the_names_of_sections() {
    let bytes = described("kprobe:vfs_read { @ = count(); } kretprobe:vfs_read { @b = count(); }");
    let file = object::File::parse(&*bytes).unwrap();
    let sections: Vec<&str> = file.sections().filter_map(|section| section.name().ok()).collect();
    let has = |names: &[&str]| names.iter().any(|name| sections.contains(name));
    assert!(has(&["kprobe/vfs_read", "kprobe.multi/vfs_read", "fentry/vfs_read"]), "{sections:?}");
    assert!(has(&["kretprobe/vfs_read", "kretprobe.multi/vfs_read", "fexit/vfs_read"]), "{sections:?}");
}

#[test]
fn tools_read_it() {
    let scratch = Scratch::new("tools");
    let path = |name: &str| scratch.0.join(name).display().to_string();
    std::fs::write(path("script.o"), described(SCRIPT)).unwrap();
    if let Some(types) = tool("bpftool", &["btf", "dump", "file", &path("script.o")]) {
        for part in ["FUNC 'begin_0'", "DATASEC '.maps'", "VAR 'at_y'", "DATASEC '.data.globals'"] {
            assert!(types.contains(part), "no {part} in {types}");
        }
        tool("bpftool", &["gen", "object", &path("linked.o"), &path("script.o")]);
        let skeleton = tool("bpftool", &["gen", "skeleton", &path("linked.o")]).unwrap();
        for part in ["struct bpf_map *at_y;", "struct bpf_program *begin_0;", "unsigned long at_x;"] {
            assert!(skeleton.contains(part), "no {part}");
        }
    }
    if let Some(text) = tool("llvm-objdump", &["-d", &path("script.o")]) {
        assert!(text.contains("<begin_0>:") && text.contains("call ") && text.contains("exit"), "{text}");
    }
    if let Some(text) = tool("llvm-objdump", &["-t", &path("script.o")]) {
        assert!(text.lines().any(|line| line.contains(" F raw_tp") && line.ends_with("begin_0")), "{text}");
    }
}

/// The programs as libbpf loads them: in a mount namespace of its own, so that nothing stays behind.
#[test]
fn a_foreign_loader_loads_it() {
    let scratch = Scratch::new("load");
    let file = scratch.0.join("script.o");
    std::fs::write(&file, write(&Machine::new(), SCRIPT)).unwrap();
    let pins = scratch.0.join("pins");
    std::fs::create_dir(&pins).unwrap();
    let mounted = format!("mount -t bpf bpf {0}", pins.display());
    let possible = Command::new("unshare").args(["-m", "sh", "-c", &mounted]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        println!("skipped: no BPF file system can be mounted here");
        return;
    }
    if tool("bpftool", &["version"]).is_none() {
        return;
    }
    let load = format!("{mounted} && bpftool prog loadall {} {1}/p && ls {1}/p", file.display(), pins.display());
    let loaded = tool("unshare", &["-m", "sh", "-c", &load]).unwrap();
    assert_eq!(loaded.split_whitespace().count(), 5, "{loaded}");
}
