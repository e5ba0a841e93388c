//! Runs a program in the real kernel: its maps made small, its first program loaded and run once. Attaches nothing.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya::maps::{Map, MapData, RingBuf};
use aya_obj::generated::bpf_prog_type;
use rtrace_compiler::object::btf::{self, DebugInfo};
use rtrace_compiler::object::{MapKind, MapObject, Object};
use rtrace_lang::hir::Hir;
use rtrace_lang::source::Source;
use rtrace_lang::target::Target;
use rtrace_probes::Machine;
use rtrace_probes::kernel::KernelError;
use rtrace_probes::kernel::bpf;

use super::outcome::Outcome;

/// Small, so that thousands of programs can be tried; no generated script sets as many keys or sends as much.
const ENTRIES: u32 = 128;
const RING_BYTES: u32 = 256 * 1024;

pub fn run(machine: &Machine, hir: &Hir, object: &Object) -> Result<Outcome, KernelError> {
    let maps: Vec<OwnedFd> = object.maps.iter().map(create).collect::<Result<_, _>>()?;
    bpf::map_update(maps[object.manifest.globals_map as usize].as_fd(), &[0; 4], &object.manifest.globals.bytes, 0)?;
    let program = &object.programs[0];
    let mut instructions = program.instructions.clone();
    for relocation in &program.relocations {
        let at = relocation.instruction as usize;
        let fd = maps[relocation.map as usize].as_raw_fd() as u32;
        instructions[at] = instructions[at] & 0xffff_ffff | u64::from(fd) << 32;
    }
    let debug = DebugInfo::of(program, &Source::new("generated", ""));
    let btf = bpf::btf_load(&btf::btf(&debug))?;
    let loaded = bpf::program_load(&bpf::ProgramConfig {
        program_type: bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT,
        instructions: &instructions,
        name: &program.name,
        btf_fd: Some(btf.as_fd()),
        func_info: &debug.func_info,
        ..Default::default()
    })?;
    bpf::program_test_run(loaded.fd.as_fd(), bpf::TestRun::default())?;
    let cpus = machine.possible_cpus() as usize;
    let entries = |number: usize| entries(&object.maps[number], &maps[number], cpus);
    let ring = object.manifest.ring.map(|number| records(&maps[number as usize]));
    Ok(Outcome::decode(hir, object, entries, &ring.unwrap_or_default()))
}

fn create(map: &MapObject) -> Result<OwnedFd, KernelError> {
    let entries = match map.kind {
        MapKind::Hash | MapKind::PerCpuHash | MapKind::LruHash | MapKind::LruPerCpuHash => map.entries.min(ENTRIES),
        MapKind::RingBuffer => map.entries.min(RING_BYTES),
        MapKind::Array | MapKind::PerCpuArray | MapKind::TaskStorage | MapKind::Cgroups | MapKind::Programs => {
            map.entries
        }
    };
    bpf::map_create(&bpf::MapConfig {
        kind: map.kind.number(),
        key_bytes: map.key_bytes,
        value_bytes: map.value_bytes,
        entries,
        flags: 0,
        name: "rtrace_tests",
        btf: None,
        inner: None,
    })
}

/// Keys and values; of the values of all processors that of the one which has run the program.
fn entries(map: &MapObject, fd: &OwnedFd, cpus: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let part = map.value_bytes.next_multiple_of(8) as usize;
    let all = if map.kind.is_per_cpu() { part * cpus } else { map.value_bytes as usize };
    let mut rows = Vec::new();
    bpf::map_lookup_batch(fd.as_fd(), map.key_bytes as usize, all, &mut |key, value| {
        let mut used = value.chunks_exact(part.min(all)).filter(|part| part.iter().any(|byte| *byte != 0));
        let one = used.next().unwrap_or(&value[..part.min(all)]);
        assert!(used.next().is_none(), "one processor has run the program");
        rows.push((key.to_vec(), one.to_vec()));
    })
    .expect("a map can be read");
    rows
}

fn records(fd: &OwnedFd) -> Vec<Vec<u8>> {
    let data = MapData::from_fd(fd.try_clone().expect("a descriptor")).expect("a map");
    let mut ring = RingBuf::try_from(Map::RingBuf(data)).expect("a ring buffer");
    let mut records = Vec::new();
    while let Some(record) = ring.next() {
        records.push(record.to_vec());
    }
    records
}
