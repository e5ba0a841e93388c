//! A statically defined probe of this very program.
//!
//! Unsafe: the instruction that is the probe, and the note that describes it.

use rtrace_lang::target::{MultiKind, ProgramKind, ResolveErrorKind, ResolveOptions};
use rtrace_probes::Machine;

use crate::{alone, own_pid, resolve, run};

/// Fires `rtrace_attached:fired` with its number.
#[inline(never)]
fn fire(number: u64) {
    // SAFETY: one instruction that does nothing; what describes it goes into a section that is not loaded.
    unsafe {
        std::arch::asm!(
            "990: nop",
            ".pushsection .note.stapsdt,\"\",\"note\"",
            ".balign 4",
            ".4byte 992f-991f, 994f-993f, 3",
            "991: .asciz \"stapsdt\"",
            "992: .balign 4",
            "993: .8byte 990b, 0, 0",
            ".asciz \"rtrace_attached\"",
            ".asciz \"fired\"",
            ".asciz \"8@%rdi\"",
            "994: .balign 4",
            ".popsection",
            in("rdi") number,
            options(att_syntax, nostack, preserves_flags)
        );
    }
}

#[test]
fn arguments_are_read_in_both_ways_of_attaching() {
    let Some(_alone) = alone() else { return };
    let machine = Machine::new();
    let options = ResolveOptions { pid: Some(own_pid()), ..ResolveOptions::default() };
    let Some(mut sites) = resolve(&machine, "usdt:/proc/self/exe:fired", &options) else { return };
    assert_eq!(sites.len(), 1, "{sites:?}");
    let found = sites[0].program;
    for multi in [MultiKind::UprobeMulti, MultiKind::Single] {
        let program = ProgramKind::Kprobe { multi, user: true };
        if multi == MultiKind::UprobeMulti && program != found {
            println!("skipped: no uprobe_multi");
            continue;
        }
        sites[0].program = program;
        let Some(running) = run(&machine, &sites) else { return };
        (1..=100).for_each(fire);
        assert_eq!((running.count.hits(), running.count.register_sum("arg0")), (100, 5050), "{multi:?}");
    }
}

#[test]
fn probes_of_this_process() {
    let machine = Machine::new();
    let options = ResolveOptions { pid: Some(own_pid()), ..ResolveOptions::default() };
    let names = |text: &str| {
        let sites = resolve(&machine, text, &options).unwrap_or_default();
        sites.iter().map(|site| site.event().to_string()).collect::<Vec<_>>()
    };
    for text in ["usdt:*:fired", "usdt:fired", "usdt::rtrace_attached:f*", "usdt:rtrace_attached:fired"] {
        assert_eq!(names(text), ["fired"], "{text}");
    }
    let spec = rtrace_lang::probe::ProbeSpec::parse("usdt:*:fierd", Default::default());
    let error = rtrace_lang::target::Target::resolve(&machine, &spec, &options).unwrap_err();
    assert_eq!(error.kind, ResolveErrorKind::NotFound);
    assert!(error.help[0].contains("rtrace_attached:fired"), "{error:?}");

    let listed = rtrace_probes::list(&machine, Some("usdt:*:fi*"), true, Some(own_pid()));
    let listed = listed.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].arguments, ["unsigned long arg0"]);
}
