//! Which names come near one that does not exist: slips of the keyboard, and names about the same thing. Used for
//! messages only.

use std::collections::{BTreeSet, HashMap};

/// Words of kernel functions, and the words under which tracepoints have the same thing.
static RELATED: &[(&str, &[&str])] = &[
    ("action", &["softirq"]),
    ("alloc", &["kmalloc", "kmem"]),
    ("bio", &["block"]),
    ("blk", &["block", "rq"]),
    ("execve", &["exec"]),
    ("fault", &["exceptions", "page"]),
    ("irq", &["handler"]),
    ("kfree", &["kmem"]),
    ("kmalloc", &["kmem"]),
    ("rx", &["napi", "receive", "netif"]),
    ("schedule", &["sched", "switch"]),
    ("sleep", &["nanosleep"]),
    ("softirq", &["irq"]),
    ("tx", &["xmit"]),
    ("unlink", &["unlinkat"]),
];

/// Up to `limit` of the names that differ from `wanted` by little, nearest first.
pub(crate) fn near_misses<'a>(wanted: &str, names: impl Iterator<Item = &'a str>, limit: usize) -> Vec<String> {
    let most = (wanted.len() / 3).clamp(1, 4);
    let mut found = BTreeSet::new();
    for name in names {
        if let Some(distance) = distance(wanted, name, most) {
            found.insert((distance, name));
            if found.len() > limit {
                found.pop_last();
            }
        }
    }
    found.into_iter().map(|(_, name)| name.to_string()).collect()
}

/// The same for a pattern that matches nothing: names that begin nearly as it does where its only `*` is at its end,
/// and otherwise those that are nearly what is left of it without its stars.
pub(crate) fn near_matches<'a>(pattern: &str, names: impl Iterator<Item = &'a str>, limit: usize) -> Vec<String> {
    let wanted = pattern.replace('*', "");
    let is_start = pattern.strip_suffix('*').is_some_and(|start| start == wanted);
    if wanted.is_empty() {
        return Vec::new();
    }
    if !is_start {
        return near_misses(&wanted, names, limit);
    }
    let start = |name: &'a str| name.get(..wanted.len().min(name.len())).unwrap_or(name);
    let mut starts: Vec<&str> = names.map(start).collect();
    starts.sort_unstable();
    starts.dedup();
    near_misses(&wanted, starts.into_iter(), limit).into_iter().map(|start| format!("{start}*")).collect()
}

/// The edit distance in bytes (insertions, removals, replacements, and swaps of neighbours), if it is at most `most`.
fn distance(from: &str, to: &str, most: usize) -> Option<usize> {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    if from.len().abs_diff(to.len()) > most {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = Vec::with_capacity(to.len() + 1);
        row.push(i + 1);
        for (j, b) in to.iter().enumerate() {
            let replaced = last[j] + usize::from(a != b);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        if row.iter().all(|cost| *cost > most) {
            return None;
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|distance| *distance <= most)
}

/// Most probes of one category that a message names.
const MOST_OF_A_CATEGORY: usize = 2;

/// Up to `limit` of the probes (as `category`, `event` and the full name) that are about the same thing as the function
/// `wanted`, best first.
pub(crate) fn related<'a>(
    wanted: &str,
    probes: impl Iterator<Item = (&'a str, &'a str, String)>,
    limit: usize,
) -> Vec<String> {
    let wanted_words: Vec<&str> = words(wanted).collect();
    let mut found: Vec<(i32, bool, &str, String)> = Vec::new();
    for (category, event, name) in probes {
        let is_exit = event.starts_with("sys_exit_");
        let core = event.strip_prefix("sys_enter_").or_else(|| event.strip_prefix("sys_exit_")).unwrap_or(event);
        let event_words: Vec<&str> = words(core).collect();
        let (mut score, mut matched, mut by_relation) = (0, 0, false);
        for word in &wanted_words {
            let related = RELATED.iter().find(|(known, _)| known == word).map_or(&[][..], |(_, related)| related);
            score += if event_words.contains(word) {
                matched += 1;
                100
            } else if event_words.iter().any(|other| related.contains(other)) {
                matched += 1;
                by_relation = true;
                60
            } else if category == *word {
                40
            } else if related.contains(&category) {
                by_relation = true;
                30
            } else {
                0
            };
        }
        if score == 0 {
            continue;
        }
        // Of equal matches the one that says least else is nearest; a system call is the stablest of all.
        score -= 12 * (event_words.len() as i32 - matched);
        score += if core.len() < event.len() { 15 } else { 0 };
        score -= i32::from(is_exit);
        found.push((score, by_relation, category, name));
    }
    found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.3.cmp(&b.3)));
    let best = found.first().map_or(0, |probe| probe.0);
    // A common word alone (`read`) makes nothing near beside a better match; a word from the table does.
    found.retain(|(score, by_relation, ..)| *by_relation || score * 10 >= best * 8);
    let mut names = Vec::new();
    let mut of_category: HashMap<&str, usize> = HashMap::new();
    for (_, _, category, name) in found {
        let count = of_category.entry(category).or_default();
        *count += 1;
        if *count <= MOST_OF_A_CATEGORY && names.len() < limit {
            names.push(name);
        }
    }
    names
}

/// Words that a function's name may hold and that say nothing of what it is about.
const EMPTY_WORDS: [&str; 8] = ["do", "sys", "x64", "ia32", "se", "vfs", "kernel", "impl"];

/// The words of a name; numbers and single letters say nothing.
fn words(name: &str) -> impl Iterator<Item = &str> {
    let says = |word: &&str| word.len() > 1 && !word.starts_with(|c: char| c.is_ascii_digit());
    name.split(['_', '.', ':', '-']).filter(says).filter(|word| !EMPTY_WORDS.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found() {
        let names = ["sys_enter_open", "sys_enter_openat", "sys_exit_openat", "sched_switch"];
        assert_eq!(near_misses("sys_entre_openat", names.into_iter(), 2), ["sys_enter_openat", "sys_enter_open"]);
        assert!(near_misses("x", names.into_iter(), 2).is_empty());
    }

    #[test]
    fn patterns_lead_to_patterns() {
        let names = ["vfs_read", "vfs_readv", "vfs_write", "ksys_read"];
        assert_eq!(near_matches("vfs_raed*", names.into_iter(), 3), ["vfs_read*"]);
        assert_eq!(near_matches("*kyss_read", names.into_iter(), 3), ["ksys_read", "vfs_read"]);
        assert!(near_matches("*", names.into_iter(), 3).is_empty());
    }

    #[test]
    fn functions_lead_to_events() {
        let events = [
            ("syscalls", "sys_enter_read"),
            ("syscalls", "sys_exit_read"),
            ("syscalls", "sys_enter_readv"),
            ("napi", "napi_poll"),
            ("irq", "softirq_entry"),
            ("irq", "irq_handler_entry"),
            ("tcp", "tcp_probe"),
        ];
        let all = || events.iter().map(|(category, event)| (*category, *event, format!("{category}:{event}")));
        assert_eq!(related("vfs_read", all(), 2), ["syscalls:sys_enter_read", "syscalls:sys_exit_read"]);
        let network = related("net_rx_action", all(), 3);
        assert_eq!(network, ["irq:softirq_entry", "napi:napi_poll"]);
        assert_eq!(related("tcp_sendmsg", all(), 1), ["tcp:tcp_probe"]);
    }
}
