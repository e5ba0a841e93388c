//! Golden cases: every construct of the language, before and after.

use super::*;

#[track_caller]
fn check(before: &str, after: &str) {
    match format(before) {
        Ok(out) => assert_eq!(out, after, "\n--- got\n{out}--- want\n{after}"),
        Err(refusal) => panic!("{refusal:?}"),
    }
    assert_eq!(format(after).as_deref(), Ok(after), "a second time");
}

#[test]
fn first() {
    check("BEGIN{exit( )}", "BEGIN { exit() }\n");
}
