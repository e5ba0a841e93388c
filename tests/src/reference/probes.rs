//! The document about probes: one paragraph for each provider. Its examples are scripts that the tests of documents load.

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
