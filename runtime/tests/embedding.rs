//! The example of a program that has rtrace in it: what a script prints and keeps comes as values, and its mistakes as
//! text.

#[path = "../examples/embedded.rs"]
#[allow(dead_code)]
mod embedded;

use std::borrow::Cow;
use std::time::Duration;

use rtrace_runtime::event::{Cell, Value};

#[test]
fn values_and_maps_arrive() {
    let script = "BEGIN { print((1, \"two\")); @calls[\"a\"] = count(); @calls[\"a\"] = count(); exit(); }";
    let collected = match embedded::collect(script, Duration::from_secs(20)) {
        Ok(collected) => collected,
        Err(message) if message.contains("does not let rtrace load") => {
            println!("skipped: {message}");
            return;
        }
        Err(message) => panic!("{message}"),
    };
    assert_eq!(collected.values, [Value::Tuple(vec![Value::Int(1), Value::Str(b"two".to_vec())])]);
    assert_eq!(collected.maps.len(), 1);
    assert_eq!(collected.maps[0].name, "@calls");
    let rows: Vec<_> = collected.maps[0].rows.iter().map(Cow::into_owned).collect();
    let [(key, Cell::Number { value: 2, .. })] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!(key[..], [Value::Str(b"a".to_vec())]);
}

#[test]
fn a_mistake_is_told() {
    let message = embedded::collect("BEGIN { nothing_of_this_name(); }", Duration::from_secs(1)).err();
    assert!(message.is_some_and(|message| message.contains("error[R") && message.contains("embedded:1:9")));
}

#[test]
fn it_ends_in_time() {
    let started = std::time::Instant::now();
    match embedded::collect("interval:ms:10 { @ = count(); }", Duration::from_millis(100)) {
        Ok(_) => assert!((100..5000).contains(&started.elapsed().as_millis())),
        Err(message) => println!("skipped: {message}"),
    }
}
