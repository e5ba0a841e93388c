//! Maps that are printed and cleared a hundred times a second while two threads count in them as fast as they can: all that was
//! printed together is all that was counted.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::environment::Programs;

const THREADS: u64 = 2;
/// Calls of each thread.
const CALLS: u64 = 200_000;
/// The same in a guest, which computes in software.
const CALLS_IN_GUEST: u64 = 20_000;
/// Fewer would be no test of what happens in between: a machine that is slow at printing gets more calls to count meanwhile.
const LEAST_ROUNDS: usize = 5;
/// How often the calls are doubled for that.
const DOUBLINGS: u32 = 5;

/// Of each kind of map, some by keys that are kept short.
const SCRIPT: &str = r#"
    uprobe:workload:hit {
        @count = count(); @plain++; @hist = hist(arg0); @total = sum(1);
        @by[arg0] = count(); @steps[arg0]++; @zeroed[arg0] = count();
        @long[arg0, "a text of more than the forty-eight bytes that a key keeps of it"] = count();
        @shared[arg0] = quantiles(arg0);
        @recent[arg0]++;
    }
    let @recent = lruhash(1000);
    interval:ms:10 {
        print(@count); clear(@count);
        print(@plain); print(@hist); print(@by); print(@steps);
        clear(@plain); clear(@hist); clear(@by); clear(@steps);
        print(@total); zero(@total);
        print(@zeroed); zero(@zeroed);
        print(@long); printf("in between\n"); clear(@long);
        print(@shared); clear(@shared);
        print(@recent); clear(@recent);
    }
"#;
const MAPS: [&str; 10] =
    ["@count", "@plain", "@hist", "@total", "@by", "@steps", "@zeroed", "@long", "@shared", "@recent"];

pub fn check(programs: &Programs, in_guest: bool) -> Result<()> {
    let least = if in_guest { CALLS_IN_GUEST } else { CALLS };
    let mut rounds = 0;
    for calls in (0..=DOUBLINGS).map(|doubled| least << doubled) {
        rounds = rounds_of(programs, calls)?;
        if rounds >= LEAST_ROUNDS {
            return Ok(());
        }
    }
    bail!("a map was printed {rounds} times while {} calls were counted", THREADS * (least << DOUBLINGS))
}

/// How often the map that was printed least was printed, if all of them have counted every call.
fn rounds_of(programs: &Programs, calls: u64) -> Result<usize> {
    let output = Command::new(&programs.rtrace)
        .env("PATH", &programs.workloads)
        .args(["-f", "json", "-e", SCRIPT, "-c", &format!("workload hits {THREADS} {calls}")])
        .output()
        .context("cannot start rtrace")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && errors.is_empty(), "it ended with {}: {errors}", output.status);
    let mut sums: BTreeMap<String, (u64, usize)> = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let event: Value = serde_json::from_str(line).with_context(|| line.to_string())?;
        let Some(maps) = event["data"].as_object() else { continue };
        for (name, value) in maps.iter().filter(|(name, _)| name.starts_with('@')) {
            let (sum, rounds) = sums.entry(name.clone()).or_default();
            *sum += counted(value)?;
            *rounds += 1;
        }
    }
    let mut least_rounds = usize::MAX;
    for map in MAPS {
        let (sum, rounds) = sums.get(map).copied().unwrap_or_default();
        ensure!(sum == THREADS * calls, "{map}: {sum} of {} were printed, in {rounds} rounds", THREADS * calls);
        least_rounds = least_rounds.min(rounds);
    }
    Ok(least_rounds)
}

/// What a map has counted: a number, counts of buckets, or those of each key.
fn counted(value: &Value) -> Result<u64> {
    match value {
        Value::Number(number) => number.as_u64().context("a count is a whole number"),
        Value::Array(buckets) => {
            buckets.iter().map(|bucket| bucket["count"].as_u64().context("a bucket has a count")).sum()
        }
        Value::Object(keys) => match keys.get("count") {
            Some(count) => counted(count),
            None => keys.values().map(counted).sum(),
        },
        other => bail!("{other} is no count"),
    }
}
