//! System call events through the two typed raw tracepoints `sys_enter` and `sys_exit`: one program sees all calls and
//! tells them apart by number. Offsets are those of `struct pt_regs` on x86-64 (arch/x86/include/asm/ptrace.h); the
//! prototypes are `(struct pt_regs *regs, long id)` and `(struct pt_regs *regs, long ret)`
//! (include/trace/events/syscalls.h).

use std::sync::{Arc, LazyLock};

use rtrace_lang::target::{Argument, Layout, Location, Word};
use rtrace_lang::types::Type;

use super::fields;
use crate::kernel::syscalls as numbers;
use crate::kernel::tracefs::FormatField;
use crate::machine::Machine;

/// Where the arguments of a 64-bit system call are: di si dx r10 r8 r9.
const ARGUMENT_OFFSETS: [u32; 6] = [112, 104, 96, 56, 72, 64];
const ORIG_AX_OFFSET: u32 = 120;
const CS_OFFSET: u32 = 136;

/// The code segment of 64-bit user code (`__USER_CS`): calls of 32-bit programs have numbers of their own.
const USER_CODE_SEGMENT: u64 = 0x33;

/// The second word of both contexts.
const SECOND: Location = Location::Context { offset: 8 };

/// One event of one system call.
pub(super) struct Call {
    pub(super) number: u64,
    is_exit: bool,
}

impl Call {
    /// The call of `sys_enter_NAME` or `sys_exit_NAME`; None where the number is not known.
    pub(super) fn of_event(event: &str) -> Option<Call> {
        let (name, is_exit) = match event.strip_prefix("sys_enter_") {
            Some(name) => (name, false),
            None => (event.strip_prefix("sys_exit_")?, true),
        };
        Some(Call { number: numbers::number(name)?, is_exit })
    }

    pub(super) fn raw_event(&self) -> &'static str {
        if self.is_exit { "sys_exit" } else { "sys_enter" }
    }

    /// What a typed program attaches to; None without BTF.
    pub(super) fn btf_id(&self, machine: &Machine) -> Option<u32> {
        machine.btf()?.trace_events().get(self.raw_event()).copied()
    }

    /// The layout for a clause that uses no arguments, one for all calls.
    pub(super) fn bare_layout(&self) -> Arc<Layout> {
        static ENTER: LazyLock<Arc<Layout>> = LazyLock::new(|| Arc::new(bare(false)));
        static EXIT: LazyLock<Arc<Layout>> = LazyLock::new(|| Arc::new(bare(true)));
        if self.is_exit { EXIT.clone() } else { ENTER.clone() }
    }

    /// The layout with the fields of the event's format file.
    pub(super) fn layout(&self, machine: &Machine, format: &[FormatField]) -> Layout {
        let mut registers = ARGUMENT_OFFSETS.into_iter();
        let arguments = format
            .iter()
            .filter_map(|field| {
                let (ty, at) = match field.name.as_str() {
                    "__syscall_nr" | "nr" if field.offset == 8 => {
                        (Type::Int { bytes: 4, signed: true }, number_word(self.is_exit).at)
                    }
                    _ if self.is_exit => (Type::I64, SECOND),
                    _ => (fields::register_type(machine, field), in_registers(registers.next()?)),
                };
                Some(Argument { name: field.name.as_str().into(), ty, at })
            })
            .collect();
        Layout { arguments, ..bare(self.is_exit) }
    }
}

fn bare(is_exit: bool) -> Layout {
    // The result stands for both of D's arguments of a return.
    let places: Vec<Location> =
        if is_exit { vec![SECOND; 2] } else { ARGUMENT_OFFSETS.into_iter().map(in_registers).collect() };
    let register = |(index, at)| Argument { name: format!("arg{index}").into(), ty: Type::I64, at };
    Layout {
        registers: places.into_iter().enumerate().map(register).collect(),
        selector: Some(number_word(is_exit)),
        guard: Some((Word { at: in_registers(CS_OFFSET), bytes: 2 }, USER_CODE_SEGMENT)),
        ..Layout::default()
    }
}

fn in_registers(offset: u32) -> Location {
    Location::Behind { pointer: 0, offset, direct: true }
}

/// The number of the call. In `orig_ax` only the lower half counts: programs may leave anything in the upper one.
fn number_word(is_exit: bool) -> Word {
    if is_exit { Word { at: in_registers(ORIG_AX_OFFSET), bytes: 4 } } else { Word { at: SECOND, bytes: 8 } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::tracefs::parse_format;

    #[test]
    fn calls_by_event() {
        let call = Call::of_event("sys_enter_openat").unwrap();
        assert_eq!((call.number, call.raw_event()), (257, "sys_enter"));
        assert!(Call::of_event("sys_exit_no_such_call").is_none());
    }

    #[test]
    fn arguments_are_registers_of_the_declared_type() {
        let text = "\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;\n\
            \tfield:int dfd;\toffset:16;\tsize:8;\tsigned:0;\n\
            \tfield:const char * filename;\toffset:24;\tsize:8;\tsigned:0;\n";
        let layout = Call::of_event("sys_enter_openat").unwrap().layout(&Machine::new(), &parse_format(text));
        let shown: Vec<String> = layout.arguments.iter().map(|a| format!("{} {} {:?}", a.ty, a.name, a.at)).collect();
        assert_eq!(
            shown,
            [
                "int32 __syscall_nr Context { offset: 8 }",
                "int32 dfd Behind { pointer: 0, offset: 112, direct: true }",
                "int8 * filename Behind { pointer: 0, offset: 104, direct: true }",
            ]
        );
    }
}
