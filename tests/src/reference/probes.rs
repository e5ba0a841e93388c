//! The document about probes: one paragraph for each provider. Its examples are scripts that the tests of documents load.

use rtrace_lang::dtrace::{self, Translator};
use rtrace_probes::{PROVIDERS, Provider};

use super::{cell, head, verbatim};

/// What an example needs beyond the right to load programs, as the cases name it.
const NEEDS: &[(&str, &str)] =
    &[("fentry", "fentry"), ("fexit", "fentry"), ("kprobe", "kprobes"), ("kretprobe", "kprobes"), ("usdt", "python")];

pub fn probes() -> String {
    let mut out = head(
        "Probes",
        "`probes/src/`, each provider's documentation",
        "A probe is `provider:part:part`. `*` in a part stands for any text where probes have names. `rtrace -l 'PATTERN'` lists the probes of\n\
         this machine, with `-lv` and their arguments.\n\n| provider | short | fires |\n| --- | --- | --- |",
    );
    for provider in PROVIDERS {
        let short: Vec<String> = provider.aliases().iter().map(|alias| format!("`{alias}`")).collect();
        let summary = cell(provider.documentation().summary);
        out.push_str(&format!(
            "| [{0}](#{1}) | {2} | {summary} |\n",
            provider.name(),
            provider.name().to_lowercase(),
            short.join(", ")
        ));
    }
    for provider in PROVIDERS {
        out.push_str(&entry(*provider));
    }
    out.push_str(&of_d());
    out
}

/// The names that D has for probes.
fn of_d() -> String {
    let mut out = String::from(
        "\n## D's names\n\nProbes may be written as D does, `provider:module:function:name`; an empty part stands for anything; of\n\
         patterns there are `*`, `?`, `[a-z]` and `[!a-z]`, in functions and names. Each is one of the\n\
         probes above, and `arg0` or `args[0]`, `errno` and the like mean what stands in the table. Beside them there are `profile-997` and `tick-5s`\n\
         with D's units.\n\n| D | probe | fires when | values |\n| --- | --- | --- | --- |\n",
    );
    let mut types: Vec<&Translator> = Vec::new();
    for row in dtrace::ROWS {
        let function = if row.probe.contains("FUNCTION") { "FUNCTION" } else { "" };
        let category = if row.probe.contains("CATEGORY") { "CATEGORY" } else { "" };
        let name = if row.has_any_name() { "NAME" } else { row.name };
        let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{}`", cell(text)) };
        let mut values: Vec<String> =
            row.values.iter().map(|(name, text)| format!("`{name}` is {}", code(text))).collect();
        for argument in row.arguments {
            if !types.iter().any(|known| std::ptr::eq(*known, argument.ty)) {
                types.push(argument.ty);
            }
            values.push(format!("`args[{}]` is `{}` of {}", argument.number, argument.ty.name, code(argument.of)));
        }
        out.push_str(&format!(
            "| `{}:{category}:{function}:{name}` | {} | {} | {} |\n",
            row.provider,
            code(row.probe),
            code(row.when),
            values.join(", ")
        ));
    }
    out.push_str(
        "\n`args[N]->member` has these members; `curpsinfo` and `curlwpsinfo` have those of `psinfo_t` and `lwpsinfo_t` in every probe,\n\
         and `curpsinfo->pr_psargs`; `fds[N]` has all those of `fileinfo_t`. What a type lacks in one probe, the kernel does not know there.\n\n",
    );
    types.push(&dtrace::OPEN_FILE);
    types.sort_by_key(|ty| ty.name);
    for alike in types.chunk_by(|a, b| a.name == b.name) {
        let mut names: Vec<&str> = alike.iter().flat_map(|ty| ty.all()).map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        out.push_str(&format!("- `{}`: `{}`\n", alike[0].name, names.join("` `")));
    }
    out.push_str("\n```rtrace\nsyscall::open*:return /errno/ { @[execname, probefunc, errno] = count(); }\n```\n");
    out
}

fn entry(provider: &dyn Provider) -> String {
    let documentation = provider.documentation();
    let needs = NEEDS.iter().find(|(name, _)| *name == provider.name());
    let options = needs.map_or(String::new(), |(_, need)| format!(" needs={need}"));
    format!(
        "\n## {}\n\n{}\n\n{}\n```rtrace{options}\n{}\n```\n",
        provider.name(),
        documentation.summary,
        verbatim(&documentation.usage.join("\n")),
        documentation.example
    )
}
