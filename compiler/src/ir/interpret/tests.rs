//! Faults are found, each by a function that commits one; and a function that commits none runs.

use rtrace_lang::calls;
use rtrace_lang::hir::{BinaryOp, Hir};

use super::{Environment, Simulation};
use crate::ir::{Builder, Function, MapRef, Memory, Value, ValueKind};
use crate::object::{Globals, Manifest, MapKind, MapObject, Object};

fn object() -> Object {
    let map = |name: &str, kind, key_bytes, value_bytes, entries| MapObject {
        name: name.to_string(),
        kind,
        key_bytes,
        value_bytes,
        entries,
        allocate_on_use: false,
        is_mapped: false,
        whole_keys: None,
        turns: None,
    };
    Object {
        programs: Vec::new(),
        maps: vec![
            map("numbers", MapKind::Hash, 8, 8, 1),
            map("globals", MapKind::Array, 4, 16, 1),
            map("events", MapKind::RingBuffer, 0, 0, 4096),
        ],
        manifest: Manifest {
            hir: Hir::default().into(),
            globals: Globals { bytes: vec![7; 16], ..Globals::default() },
            ring: Some(2),
            globals_map: 1,
            stacks: None,
            unwind: None,
            cgroup: None,
            tree: None,
        },
    }
}

fn function(stack_bytes: u32, build: impl FnOnce(&mut Builder) -> Value) -> Function {
    let mut b = Builder::new("test");
    let value = build(&mut b);
    b.ret(value);
    let mut function = b.function;
    function.stack_bytes = stack_bytes;
    function
}

fn run(stack_bytes: u32, build: impl FnOnce(&mut Builder) -> Value) -> Result<u64, String> {
    let mut simulation = Simulation::new(&object(), Environment::default());
    simulation.run(&function(stack_bytes, build)).map_err(|fault| fault.what)
}

fn fault(stack_bytes: u32, expected: &str, build: impl FnOnce(&mut Builder) -> Value) {
    let what = run(stack_bytes, build).expect_err(expected);
    assert!(what.contains(expected), "{what}");
}

/// A key of 8 bytes on the stack.
fn key(b: &mut Builder, value: i64) -> Value {
    let (place, value) = (b.stack_address(0), b.int(value));
    b.store(place, 0, 8, value);
    place
}

#[test]
fn memory_is_checked() {
    fault(8, "read before it is written", |b| {
        let place = b.stack_address(0);
        b.load(place, 0, 8, false)
    });
    fault(8, "8 bytes at 8 of 8", |b| {
        let (place, eight) = (b.stack_address(0), b.int(8));
        let beyond = b.pointer_add(place, eight);
        b.store(beyond, 0, 8, eight);
        eight
    });
    fault(16, "misaligned", |b| {
        let (place, value) = (b.stack_address(0), b.int(1));
        b.store(place, 4, 8, value);
        value
    });
    assert_eq!(
        run(0, |b| {
            let place = b.map_value_address(MapRef(1), 8);
            b.load(place, 0, 2, false)
        }),
        Ok(0x0707)
    );
    fault(0, "the value's address", |b| b.map_value_address(MapRef(0), 0));
}

#[test]
fn null_is_not_followed() {
    fault(8, "is null", |b| {
        let (key, map) = (key(b, 1), b.map(MapRef(0)));
        let found = b.call_nullable(calls::MAP_LOOKUP_ELEM, &[map, key], Memory::MapValue);
        b.load(found, 0, 8, false)
    });
}

#[test]
fn records_are_sent_once() {
    let reserve = |b: &mut Builder| {
        let (map, size, flags) = (b.map(MapRef(2)), b.int(16), b.int(0));
        let record = b.call_nullable(calls::RINGBUF_RESERVE, &[map, size, flags], Memory::Record);
        b.store(record, 0, 8, flags);
        (record, flags)
    };
    fault(0, "neither sent", |b| reserve(b).1);
    fault(0, "given back", |b| {
        let (record, flags) = reserve(b);
        b.call(calls::RINGBUF_SUBMIT, &[record, flags]);
        b.store(record, 8, 8, flags);
        flags
    });
    let mut simulation = Simulation::new(&object(), Environment::default());
    let sent = function(0, |b| {
        let (record, flags) = reserve(b);
        let five = b.int(5);
        b.store(record, 8, 4, five);
        b.call(calls::RINGBUF_SUBMIT, &[record, flags]);
        flags
    });
    assert_eq!(simulation.run(&sent), Ok(0));
    assert_eq!(simulation.records, [[0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]]);
}

#[test]
fn maps_fill_up() {
    let mut simulation = Simulation::new(&object(), Environment::default());
    let mut update = |key_value: i64| {
        let update = function(8, |b| {
            let (key, map, flags) = (key(b, key_value), b.map(MapRef(0)), b.int(0));
            b.call(calls::MAP_UPDATE_ELEM, &[map, key, key, flags])
        });
        simulation.run(&update).unwrap() as i64
    };
    assert_eq!((update(1), update(1), update(2)), (0, 0, -7));
    let entries = simulation.maps.entries(MapRef(0), &simulation.memory);
    assert_eq!(entries, [(1u64.to_le_bytes().to_vec(), 1u64.to_le_bytes().to_vec())]);
}

#[test]
fn what_processors_do_not_have() {
    fault(0, "signed division", |b| {
        let (a, c) = (b.int(1), b.int(2));
        b.binary(BinaryOp::DivideSigned, a, c)
    });
    fault(0, "a shift by 64", |b| {
        let (a, c) = (b.int(1), b.int(64));
        b.binary(BinaryOp::ShiftLeft, a, c)
    });
    fault(0, "division by zero", |b| {
        let (a, c) = (b.int(1), b.int(0));
        b.binary(BinaryOp::DivideUnsigned, a, c)
    });
}

#[test]
fn endless_loops_end() {
    let mut b = Builder::new("test");
    let (head, index) = b.block_with(ValueKind::Int);
    let zero = b.int(0);
    b.jump(head, &[zero]);
    b.enter_unsealed(head);
    let next = b.binary_int(BinaryOp::Add, index, 1);
    b.jump(head, &[next]);
    b.seal(head);
    let fault = Simulation::new(&object(), Environment::default()).run(&b.function).unwrap_err();
    assert_eq!(fault.what, "it does not end");
}

#[test]
fn probe_reads_reach_kernel_memory_and_nothing_else() {
    let mut simulation = Simulation::new(&object(), Environment::default());
    let address = simulation.memory.add_kernel(b"kernel text\0rest".to_vec());
    let read = function(16, |b| {
        let (place, zero, size, from) = (b.stack_address(0), b.int(0), b.int(16), b.int(address as i64));
        b.store(place, 0, 8, zero);
        b.store(place, 8, 8, zero);
        b.call(calls::PROBE_READ_KERNEL_STR, &[place, size, from])
    });
    assert_eq!(simulation.run(&read), Ok(12));
    let nowhere = function(8, |b| {
        let (place, size, from) = (b.stack_address(0), b.int(8), b.int(4096));
        b.call(calls::PROBE_READ_KERNEL, &[place, size, from]);
        b.load(place, 0, 8, false)
    });
    assert_eq!(simulation.run(&nowhere), Ok(0));
}
