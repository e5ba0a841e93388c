//! Constants in scripts: which table a name is looked up in, of which type it is, and what a misspelt one is answered.

use rtrace_lang::check::{Check, CheckOptions, check};
use rtrace_lang::parse::parse;
use rtrace_lang::target::fake::FakeTarget;

/// A kernel whose BTF has names that constants have too.
const MACHINE: &str = "\
cpus 1
enum any int
    TASK_COMM_LEN 32
    SOCK_STREAM 1
    AF_INET 99
";

fn checked(text: &str) -> Check {
    let target = FakeTarget::parse(MACHINE).expect("the description is well formed");
    let parsed = parse(text);
    assert!(parsed.diagnostics.is_empty(), "{text}");
    check(&parsed.ast, &target, &CheckOptions::default())
}

fn hir(text: &str) -> String {
    let checked = checked(text);
    assert!(checked.diagnostics.is_empty(), "{text}: {:?}", checked.diagnostics);
    format!("{:?}", checked.hir.expect("there is no mistake").programs)
}

fn help(text: &str) -> String {
    let checked = checked(text);
    assert_eq!(checked.diagnostics.len(), 1, "{text}");
    checked.diagnostics[0].help.join("\n")
}

#[test]
fn the_kernel_is_asked_first_where_it_may_know_better() {
    assert!(hir("BEGIN { print(TASK_COMM_LEN); }").contains("Int(32)"));
    assert!(hir("BEGIN { print(SOCK_STREAM); }").contains("Enum("));
    assert!(hir("BEGIN { print(SOCK_DGRAM); }").contains("Int(2)"));
    assert!(!hir("BEGIN { print(SOCK_DGRAM); }").contains("Enum("));
}

#[test]
fn fixed_values_are_the_same_on_all_kernels() {
    let text = hir("BEGIN { print(AF_INET + 40); }");
    assert!(text.contains("Int(42)") && !text.contains("Enum("), "{text}");
}

#[test]
fn the_largest_numbers_are_unsigned() {
    assert!(hir("BEGIN { @ = ULONG_MAX; }").contains("Int(-1), ty: Int { bytes: 8, signed: false }"));
    assert!(hir("BEGIN { @ = LONG_MAX; }").contains("ty: Int { bytes: 8, signed: true }"));
}

#[test]
fn misspelt_constants_are_recognized() {
    assert_eq!(help("BEGIN { print(O_CREATE); }"), "did you mean `O_CREAT` or `IN_CREATE`?");
    assert!(help("BEGIN { print(AF_INTE); }").starts_with("did you mean `AF_INET`"));
    assert_eq!(help("BEGIN { print(null); }"), "did you mean `NULL`?");
    assert_eq!(help("BEGIN { print(pdi); }"), "did you mean `pid`?");
    assert_eq!(help("BEGIN { print(foo); }"), "variables begin with `$`, maps with `@`");
    assert_eq!(help("BEGIN { $null = 1; print(null); }"), "the variable is written `$null`");
}
