//! The document about the config block: one row for each setting.

use rtrace_lang::settings::{BYGONE, IDLE, SETTINGS, Settings};

use super::{cell, head, paragraph};

pub fn settings() -> String {
    let mut out = head(
        "Settings",
        "`lang/src/settings.rs`",
        "What a [config block](../language.md#settings) may set. Capitals do not matter, and `BPFTRACE_` may stand in front.\n\n\
         | setting | takes | without it | what it decides |\n| --- | --- | --- | --- |",
    );
    for setting in SETTINGS {
        let without = (setting.written)(&Settings::default());
        let line = [setting.name, setting.takes, &without, setting.doc].map(cell);
        out.push_str(&format!("| `{}` | {} | `{}` | {} |\n", line[0], line[1], line[2], line[3]));
    }
    out.push_str("\nScripts for bpftrace may also have these, which change nothing here:\n\n");
    out.push_str("| setting | takes | why it changes nothing |\n| --- | --- | --- |\n");
    for idle in IDLE {
        let line = [idle.name, idle.takes, idle.why].map(cell);
        out.push_str(&format!("| `{}` | {} | {} |\n", line[0], line[1], line[2]));
    }
    out.push_str("\nThose that bpftrace once had are warned of:\n\n");
    out.push_str(&paragraph(BYGONE.iter().map(|name| format!("`{name}`"))));
    out
}
