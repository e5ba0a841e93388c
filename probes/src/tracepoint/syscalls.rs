//! System call events through the two typed raw tracepoints `sys_enter` and `sys_exit`: one program sees all calls and
//! tells them apart by number. Offsets are those of `struct pt_regs` on x86-64 (arch/x86/include/asm/ptrace.h); the
//! prototypes are `(struct pt_regs *regs, long id)` and `(struct pt_regs *regs, long ret)`
//! (include/trace/events/syscalls.h).
//!
//! Where a task may be taken off in the middle of a raw tracepoint's program, events of others would be passed over. There
//! the program is a kprobe of the kernel's function that fires the event (kernel/entry/syscall-common.c), whose
//! parameters are the same.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, LazyLock};

use aya_obj::generated::bpf_prog_type;
use rtrace_lang::target::{
    Argument, Attach, Feature, Layout, Location, MultiKind, ProbeSite, ProgramKind, Target, TracingKind, Word,
};
use rtrace_lang::types::Type;

use super::{bare_site, fields};
use crate::kernel::bpf::{self, ProgramConfig};
use crate::kernel::btf::Kind;
use crate::kernel::features::RETURN_ZERO;
use crate::kernel::syscalls as numbers;
use crate::kernel::tracefs::FormatField;
use crate::kprobe;
use crate::machine::Machine;
use crate::provider::{AttachError, Link};

/// Where the arguments of a 64-bit system call are: di si dx r10 r8 r9.
const ARGUMENT_OFFSETS: [u32; 6] = [112, 104, 96, 56, 72, 64];
const ORIG_AX_OFFSET: u32 = 120;
const CS_OFFSET: u32 = 136;

/// The code segment of 64-bit user code (`__USER_CS`): calls of 32-bit programs have numbers of their own.
const USER_CODE_SEGMENT: u64 = 0x33;

/// The functions that fire the two events.
const FUNCTIONS: [&str; 2] = ["trace_syscall_enter", "trace_syscall_exit"];

/// What a program is attached to, which has two parameters: the registers of the call, and its number or result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// The typed raw tracepoint of that id. Its context is an array of the parameters.
    Event { btf_id: u32 },
    /// A kprobe of the function that fires the event. Its context are the processor's registers, two of which hold the
    /// parameters.
    Function,
}

impl Way {
    /// Where the pointer to the registers of the call is.
    fn registers(self, offset: u32) -> Location {
        match self {
            Way::Event { .. } => Location::Behind { pointer: 0, offset, direct: true },
            Way::Function => Location::Behind { pointer: kprobe::ARGUMENT_OFFSETS[0], offset, direct: false },
        }
    }

    /// Where the number of a call that begins, or the result of one that ends, is.
    fn second(self) -> Location {
        let offset = match self {
            Way::Event { .. } => 8,
            Way::Function => kprobe::ARGUMENT_OFFSETS[1],
        };
        Location::Context { offset }
    }
}

/// One event of one system call.
struct Call {
    number: u64,
    is_exit: bool,
}

/// The site of an event of a system call, with its arguments by name where the fields of the event's record are given. None where
/// its number is not known, or the types of the kernel are not.
pub(super) fn site(machine: &Machine, event: &str, format: Option<&[FormatField]>) -> Option<ProbeSite> {
    let call = Call::of_event(event)?;
    let way = call.way(machine)?;
    let layout = match format {
        Some(format) => Arc::new(call.layout(machine, way, format)),
        None => call.bare_layout(way),
    };
    let (program, attach) = match way {
        Way::Event { btf_id } => (
            ProgramKind::Tracing { attach: TracingKind::RawTracepoint, btf_id },
            Attach::RawTracepoint { event: call.raw_event().into() },
        ),
        Way::Function => (
            ProgramKind::Kprobe { multi: MultiKind::Single, user: false },
            Attach::Kprobe { function: call.function().into(), offset: 0, is_return: false, is_matched: false },
        ),
    };
    Some(ProbeSite { program, layout, selector: Some(call.number), attach, ..bare_site("syscalls", event) })
}

/// Attaches to the function that fires the event, and to the event a program that does nothing: without one the kernel does not
/// come to the function.
pub(super) fn attach_to_function(
    machine: &Machine,
    program: BorrowedFd<'_>,
    site: &ProbeSite,
) -> Result<Vec<Link>, AttachError> {
    let is_exit = matches!(&site.attach, Attach::Kprobe { function, .. } if **function == *FUNCTIONS[1]);
    let event: &CStr = if is_exit { c"sys_exit" } else { c"sys_enter" };
    let mut links = kprobe::attach_single(machine, program, 0, site)?;
    let empty = bpf::program_load(&ProgramConfig {
        program_type: bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT,
        instructions: &RETURN_ZERO,
        name: "rtrace_event",
        ..ProgramConfig::default()
    });
    let event = empty.and_then(|empty| bpf::raw_tracepoint_open(Some(event), empty.fd.as_fd(), None));
    links.push(Link::quick(event.map_err(|error| AttachError::new(site, error))?));
    Ok(links)
}

impl Call {
    /// The call of `sys_enter_NAME` or `sys_exit_NAME`; None where the number is not known.
    fn of_event(event: &str) -> Option<Call> {
        let (name, is_exit) = match event.strip_prefix("sys_enter_") {
            Some(name) => (name, false),
            None => (event.strip_prefix("sys_exit_")?, true),
        };
        Some(Call { number: numbers::number(name)?, is_exit })
    }

    fn raw_event(&self) -> &'static str {
        if self.is_exit { "sys_exit" } else { "sys_enter" }
    }

    fn function(&self) -> &'static str {
        FUNCTIONS[usize::from(self.is_exit)]
    }

    /// What a program attaches to; None without BTF.
    fn way(&self, machine: &Machine) -> Option<Way> {
        let btf = machine.btf()?;
        if machine.avoids_raw_tracepoints()
            && machine.has(Feature::Kprobes)
            && btf.find(Kind::Func, self.function()).is_some()
        {
            return Some(Way::Function);
        }
        btf.trace_events().get(self.raw_event()).map(|btf_id| Way::Event { btf_id: *btf_id })
    }

    /// The layout for a clause that uses no arguments, one for all calls.
    fn bare_layout(&self, way: Way) -> Arc<Layout> {
        static OF_EVENTS: LazyLock<[Arc<Layout>; 2]> = LazyLock::new(|| both(Way::Event { btf_id: 0 }));
        static OF_FUNCTIONS: LazyLock<[Arc<Layout>; 2]> = LazyLock::new(|| both(Way::Function));
        let both = match way {
            Way::Event { .. } => &OF_EVENTS,
            Way::Function => &OF_FUNCTIONS,
        };
        both[usize::from(self.is_exit)].clone()
    }

    /// The layout with the fields of the event's format file.
    fn layout(&self, machine: &Machine, way: Way, format: &[FormatField]) -> Layout {
        let mut registers = ARGUMENT_OFFSETS.into_iter();
        let arguments = format
            .iter()
            .filter_map(|field| {
                let (ty, at) = match field.name.as_str() {
                    "__syscall_nr" | "nr" if field.offset == 8 => {
                        (Type::Int { bytes: 4, signed: true }, number_word(way, self.is_exit).at)
                    }
                    _ if self.is_exit => (Type::I64, way.second()),
                    _ => (fields::register_type(machine, field), way.registers(registers.next()?)),
                };
                Some(Argument { name: field.name.as_str().into(), ty, at })
            })
            .collect();
        Layout { arguments, ..bare(way, self.is_exit) }
    }
}

/// Of calls that begin, and of those that end.
fn both(way: Way) -> [Arc<Layout>; 2] {
    [false, true].map(|is_exit| Arc::new(bare(way, is_exit)))
}

fn bare(way: Way, is_exit: bool) -> Layout {
    // The result stands for both of D's arguments of a return.
    let places: Vec<Location> = match is_exit {
        true => vec![way.second(); 2],
        false => ARGUMENT_OFFSETS.into_iter().map(|offset| way.registers(offset)).collect(),
    };
    let register = |(index, at)| Argument { name: format!("arg{index}").into(), ty: Type::I64, at };
    Layout {
        registers: places.into_iter().enumerate().map(register).collect(),
        selector: Some(number_word(way, is_exit)),
        guard: Some((Word { at: way.registers(CS_OFFSET), bytes: 2 }, USER_CODE_SEGMENT)),
        ..Layout::default()
    }
}

/// The number of the call. In `orig_ax` only the lower half counts: programs may leave anything in the upper one.
fn number_word(way: Way, is_exit: bool) -> Word {
    match is_exit {
        true => Word { at: way.registers(ORIG_AX_OFFSET), bytes: 4 },
        false => Word { at: way.second(), bytes: 8 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::tracefs::parse_format;

    #[test]
    fn calls_by_event() {
        let call = Call::of_event("sys_enter_openat").unwrap();
        assert_eq!((call.number, call.raw_event(), call.function()), (257, "sys_enter", "trace_syscall_enter"));
        assert!(Call::of_event("sys_exit_no_such_call").is_none());
    }

    #[test]
    fn results_of_both_ways() {
        let format = parse_format(
            "\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;\n\
            \tfield:long ret;\toffset:16;\tsize:8;\tsigned:1;\n",
        );
        let call = Call::of_event("sys_exit_openat").unwrap();
        let places = |way| call.layout(&Machine::new(), way, &format).arguments.into_iter().map(|found| found.at);
        let of_event = [Location::Behind { pointer: 0, offset: 120, direct: true }, Location::Context { offset: 8 }];
        let of_function =
            [Location::Behind { pointer: 112, offset: 120, direct: false }, Location::Context { offset: 104 }];
        assert!(places(Way::Event { btf_id: 1 }).eq(of_event));
        assert!(places(Way::Function).eq(of_function));
    }

    #[test]
    fn arguments_are_registers_of_the_declared_type() {
        let text = "\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;\n\
            \tfield:int dfd;\toffset:16;\tsize:8;\tsigned:0;\n\
            \tfield:const char * filename;\toffset:24;\tsize:8;\tsigned:0;\n";
        let call = Call::of_event("sys_enter_openat").unwrap();
        let layout = call.layout(&Machine::new(), Way::Event { btf_id: 1 }, &parse_format(text));
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
