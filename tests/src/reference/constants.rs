//! The document about constants: the names of each family.

use rtrace_lang::constants;

use super::{head, paragraph};

pub fn constants() -> String {
    let families: Vec<(&str, Vec<&str>)> =
        constants::families().map(|(about, names)| (about, names.collect())).collect();
    let count: usize = families.iter().map(|(_, names)| names.len()).sum();
    let about = format!(
        "The {count} constants that are built in. [Constants](../constants.md) says where their values come from, and which other\n\
         names a script may use.\n\n| family | names |\n| --- | ---: |"
    );
    let mut out = head("Constants", "the tables in `lang/src/constants/`", &about);
    for (about, names) in &families {
        out.push_str(&format!("| {about} | {} |\n", names.len()));
    }
    for (about, names) in families {
        out.push_str(&format!("\n## {about}\n\n{}", paragraph(names.iter().map(|name| format!("`{name}`")))));
    }
    out
}
