//! The document about messages: one paragraph for each code.

use rtrace_lang::diagnostic::Code;

use super::{head, verbatim};

pub fn codes() -> String {
    let mut out = head(
        "Messages",
        "`lang/src/diagnostic/codes.rs`",
        "Each message about a script has a code. `rtrace --explain R0032` says what stands here. The example is a script that is\n\
         answered with the code; a test sees to it.",
    );
    let mut codes = Code::ALL.to_vec();
    codes.sort_by_key(|code| code.name());
    for code in codes {
        out.push_str(&format!("\n## {}: {}\n\n{}\n", code.name(), code.title(), code.explanation()));
        if !code.example().is_empty() {
            out.push_str(&format!("\n{}", verbatim(code.example())));
        }
    }
    out
}
