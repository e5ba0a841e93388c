//! What runs before a program's body: which process is meant, whether the event is meant at all, and which site fired.

use rtrace_lang::calls;
use rtrace_lang::hir::{BinaryOp, Dispatch, RecordKind};
use rtrace_lang::limits::PROCESS_NUMBERS;
use rtrace_lang::target::{Location, Processes, ProgramKind, Step, Word};
use rtrace_lang::types::Type;

use crate::ir::{Memory, Value};
use crate::object::{EXIT_OFFSET, STOPPED_OFFSET};

use super::Lower;

/// Largest selector that gets a table: system calls have numbers below 1,000.
const LARGEST_TABLE: u64 = 4096;

impl Lower<'_> {
    pub(super) fn entry(&mut self) {
        if self.detaches_slowly() || self.may_be_ended() {
            let stopped = self.b.map_value_address(self.shared.globals_map, STOPPED_OFFSET);
            let stopped = self.b.load(stopped, 0, 8, false);
            let (go, leave) = (self.b.block(), self.b.block());
            self.b.branch_nonzero(stopped, leave, go);
            self.b.enter(leave);
            self.ask_for_the_tasks_stack();
            self.leave();
            self.b.enter(go);
        }
        if let Some((word, wanted)) = &self.program.layout.guard {
            let found = self.word(word);
            self.only_if_equal(found, *wanted as i64);
        }
        if let Some(step) = self.program.layout.step.clone() {
            self.step(&step);
        }
        match self.program.dispatch {
            Dispatch::Known => {
                let number = self.program.sites.first().map(|site| self.hir.numbers[site.index()]);
                self.site = number.map(|number| self.b.int(i64::from(number.0)));
            }
            Dispatch::Cookie => {
                let cookie = self.b.call(calls::GET_ATTACH_COOKIE, &[self.context]);
                self.site = Some(self.b.binary_int(BinaryOp::Add, cookie, self.cookie_distance));
            }
            Dispatch::Selector => self.select_site(),
        }
        if let Some(processes) = self.program.processes {
            let both = self.process_and_thread();
            let process = self.b.binary_int(BinaryOp::ShiftRightUnsigned, both, 32);
            self.only_of(process, processes);
        }
        if self.program.in_cgroup {
            let map = self.shared.cgroup();
            let (map, first) = (self.b.map(map), self.b.int(0));
            let found = self.b.call(calls::CURRENT_TASK_UNDER_CGROUP, &[map, first]);
            self.only_if_equal(found, 1);
        }
    }

    /// Keeps the kernel from giving a program of user code a stack of the processor's, which it does from Linux 6.13 on where a program
    /// takes 64 bytes: in such programs a task may be taken off, and the next one would write into the same stack. It gives none
    /// to programs with a tail call (kernel/bpf/verifier.c, `check_max_stack_depth`). This one comes when nothing counts any
    /// more, and leads nowhere.
    fn ask_for_the_tasks_stack(&mut self) {
        if let ProgramKind::Kprobe { user: true, multi } = self.program.kind {
            let map = self.shared.no_programs(multi);
            let (map, first) = (self.b.map(map), self.b.int(0));
            self.b.call(calls::TAIL_CALL, &[self.context, map, first]);
        }
    }

    /// The process above 32 bits of the thread, by the numbers of the tool's process namespace; 0 for a task that is not
    /// in it.
    pub(super) fn process_and_thread(&mut self) -> Value {
        let Some(namespace) = self.options.process_namespace else {
            return self.b.call(calls::GET_CURRENT_PID_TGID, &[]);
        };
        // The thread's number lies before that of its process. The helper clears both where it fails.
        let place = self.temporary(8);
        let zero = self.b.int(0);
        self.b.store(place.base, place.offset, 8, zero);
        let (device, inode) = (self.b.int(namespace.device as i64), self.b.int(namespace.inode as i64));
        let (pointer, size) = (self.pointer(place), self.b.int(8));
        self.b.call(calls::GET_NS_CURRENT_PID_TGID, &[device, inode, pointer, size]);
        self.b.load(place.base, place.offset, 8, false)
    }

    /// Leaves where there is no object, or one of another process, or exit() was called: the kernel goes on with the
    /// walk until the tool's read is satisfied. Each object that is left writes a byte, where nobody else reads it.
    fn step(&mut self, step: &Step) {
        let called = self.b.map_value_address(self.shared.globals_map, EXIT_OFFSET);
        let called = self.b.load(called, 0, 8, false);
        self.only_if_equal(called, 0);
        for offset in &step.objects {
            let object = self.context_word(*offset);
            let (go, leave) = (self.b.block(), self.b.block());
            self.b.branch_nonzero(object, go, leave);
            self.b.enter(leave);
            self.leave();
            self.b.enter(go);
        }
        if let Some((task, offset, processes)) = step.process {
            // As a number: the verifier computes with no pointer that may be null.
            let context = self.context;
            let context = self.b.address(context);
            let address = self.b.binary_int(BinaryOp::Add, context, i64::from(task));
            let task = self.read_kernel_word(address, 8, false);
            let address = self.b.binary_int(BinaryOp::Add, task, i64::from(offset));
            let found = self.read_kernel_word(address, 4, false);
            self.only_of(found, processes);
        }
        if step.is_pinned {
            return;
        }
        let output = self.output(step);
        let place = self.temporary(8);
        let zero = self.b.int(0);
        self.b.store(place.base, place.offset, 8, zero);
        let (pointer, size) = (self.pointer(place), self.b.int(1));
        self.b.call(calls::SEQ_WRITE, &[output, pointer, size]);
    }

    /// The file that is read while an iterator walks.
    pub(super) fn output(&mut self, step: &Step) -> Value {
        let context = self.context;
        let meta = self.b.load_pointer(context, 0, Memory::Object);
        self.b.load_pointer(meta, step.output as i32, Memory::Object)
    }

    /// Leaves where the process of that number is not meant.
    fn only_of(&mut self, process: Value, wanted: Processes) {
        match wanted {
            Processes::One(pid) => self.only_if_equal(process, i64::from(pid)),
            Processes::Tree => {
                let map = self.shared.tree();
                let start = self.b.map_value_address(map, 0);
                let process = self.b.bounded(process, PROCESS_NUMBERS - 1);
                let place = self.b.pointer_add(start, process);
                let found = self.b.load(place, 0, 1, false);
                self.only_if_equal(found, 1);
            }
        }
    }

    /// True where an attachment goes on for a while after the tool has let go of it: events that come then do not count.
    fn detaches_slowly(&self) -> bool {
        match self.program.kind {
            ProgramKind::Kprobe { .. } | ProgramKind::Tracepoint => true,
            ProgramKind::TestRun
            | ProgramKind::RawTracepoint
            | ProgramKind::Tracing { .. }
            | ProgramKind::PerfEvent => false,
        }
    }

    /// True where exit() ends the session: what comes after it does not count, though the tool has yet to hear of it.
    fn may_be_ended(&self) -> bool {
        let is_fired = self.program.kind != ProgramKind::TestRun && self.program.layout.step.is_none();
        is_fired && self.hir.records.iter().any(|record| matches!(record.kind, RecordKind::Exit))
    }

    fn only_if_equal(&mut self, found: Value, wanted: i64) {
        let wanted = self.b.int(wanted);
        let (go, leave) = (self.b.block(), self.b.block());
        self.b.branch(BinaryOp::Equal, found, wanted, go, leave);
        self.b.enter(leave);
        self.leave();
        self.b.enter(go);
    }

    fn select_site(&mut self) {
        let Some(word) = &self.program.layout.selector else { return };
        let number = self.word(word);
        let selected: Vec<(u64, u32)> = self
            .program
            .sites
            .iter()
            .filter_map(|site| Some((self.hir.sites[site.index()].selector?, self.hir.numbers[site.index()].0)))
            .collect();
        if let [(wanted, site)] = selected[..] {
            self.only_if_equal(number, wanted as i64);
            self.site = Some(self.b.int(i64::from(site)));
            return;
        }
        // A table of site ids plus one, indexed by the number.
        let entries = selected.iter().map(|(n, _)| *n).filter(|n| *n < LARGEST_TABLE).max().unwrap_or(0) + 1;
        let mut table = vec![0u8; entries as usize * 4];
        for (number, site) in &selected {
            if *number < entries {
                let at = *number as usize * 4;
                table[at..at + 4].copy_from_slice(&(site + 1).to_le_bytes());
            }
        }
        let offset = self.shared.table(table);
        let last = self.b.int(entries as i64 - 1);
        let (inside, outside) = (self.b.block(), self.b.block());
        self.b.branch(BinaryOp::LessEqualUnsigned, number, last, inside, outside);
        self.b.enter(outside);
        self.leave();
        self.b.enter(inside);
        let site = self.entry_of_table(offset, number, entries as u32 - 1);
        let (selected, other) = (self.b.block(), self.b.block());
        self.b.branch_nonzero(site, selected, other);
        self.b.enter(other);
        self.leave();
        self.b.enter(selected);
        self.site = Some(self.b.binary_int(BinaryOp::Subtract, site, 1));
    }

    /// A bare number in the context.
    fn word(&mut self, word: &Word) -> Value {
        match word.at {
            Location::Context { offset } => {
                let value = self.context_word(offset);
                self.b.extend(value, word.bytes, false)
            }
            Location::Behind { pointer, offset, direct } => self.behind(pointer, offset, direct, word.bytes, false),
            Location::ContextCopy { .. }
            | Location::DataLocation { .. }
            | Location::UserMemory(_)
            | Location::UserAddress(_) => {
                unreachable!("a selector is a number that can be loaded")
            }
        }
    }

    /// A 64-bit word of a context that is an array of such words or a register file.
    pub(super) fn context_word(&mut self, offset: u32) -> Value {
        let context = self.context;
        self.b.load(context, offset as i32, 8, false)
    }

    /// A value behind a pointer of the context.
    pub(super) fn behind(&mut self, pointer: u32, offset: u32, direct: bool, bytes: u8, signed: bool) -> Value {
        let context = self.context;
        if direct {
            let object = self.b.load_pointer(context, pointer as i32, Memory::Object);
            return self.b.load(object, offset as i32, bytes, signed);
        }
        let pointer = self.context_word(pointer);
        let address = self.b.binary_int(BinaryOp::Add, pointer, i64::from(offset));
        self.read_kernel_word(address, bytes, signed)
    }

    /// Reads a number of kernel memory that can always be read (part of the event itself).
    pub(super) fn read_kernel_word(&mut self, address: Value, bytes: u8, signed: bool) -> Value {
        let place = self.temporary(8);
        let zero = self.b.int(0);
        self.b.store(place.base, place.offset, 8, zero);
        let (pointer, size) = (self.pointer(place), self.b.int(i64::from(bytes)));
        self.b.call(calls::PROBE_READ_KERNEL, &[pointer, size, address]);
        self.b.load(place.base, place.offset, bytes, signed)
    }

    /// The id of the site that fired.
    pub(super) fn site(&mut self) -> Value {
        match self.site {
            Some(site) => site,
            None => self.b.int(0),
        }
    }

    /// The id of the site that fired, or of the first of the same name, where the type shows a name.
    pub(super) fn site_as(&mut self, ty: &Type) -> Value {
        let site = self.site();
        let named = self.shared.numbers_as(self.hir, ty);
        let sites = &self.program.sites;
        let numbers: Vec<(u32, u32)> =
            sites.iter().map(|site| (self.hir.numbers[site.index()].0, named[site.index()].0)).collect();
        let distance = |(from, to): &(u32, u32)| i64::from(*to) - i64::from(*from);
        let first = numbers.first().map_or(0, distance);
        if numbers.iter().all(|pair| distance(pair) == first) {
            return if first == 0 { site } else { self.b.binary_int(BinaryOp::Add, site, first) };
        }
        let (least, most) =
            numbers.iter().fold((u32::MAX, 0), |(least, most), (from, _)| (least.min(*from), most.max(*from)));
        let mut table = vec![0u8; (most - least + 1) as usize * 4];
        for (from, to) in numbers {
            let at = (from - least) as usize * 4;
            table[at..at + 4].copy_from_slice(&to.to_le_bytes());
        }
        let offset = self.shared.table(table);
        let number = self.b.binary_int(BinaryOp::Subtract, site, i64::from(least));
        self.entry_of_table(offset, number, most - least)
    }

    /// A number of 32 bits in a table in the global data whose last entry has that number.
    fn entry_of_table(&mut self, offset: u32, number: Value, last: u32) -> Value {
        let start = self.b.map_value_address(self.shared.globals_map, offset);
        let number = self.b.bounded(number, last);
        let scaled = self.b.binary_int(BinaryOp::ShiftLeft, number, 2);
        let entry = self.b.pointer_add(start, scaled);
        self.b.load(entry, 0, 4, false)
    }
}
