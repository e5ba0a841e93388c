//! The lines `//! name: value` at the top of a case's script: how it is run and what it needs. Never runs anything.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use regex::Regex;

use crate::environment::Need;

/// How a case is run. Everything that is not said has the value that most cases want.
#[derive(Clone, Debug)]
pub struct Directives {
    /// Positional parameters of the script.
    pub arguments: Vec<String>,
    /// Options of rtrace.
    pub flags: Vec<String>,
    pub workload: Option<Workload>,
    /// The exit status that is expected.
    pub exit: i32,
    pub needs: Vec<Need>,
    /// The tier of its run: 2, or 3 for what looks at the whole system.
    pub tier: u8,
    /// The output's lines are sorted before they are compared.
    pub sort: bool,
    /// What is inherently variable, and the text that stands for it.
    pub replace: Vec<(Regex, String)>,
    pub timeout: Option<Duration>,
    /// Only described: its probes exist in the described machine alone, so it is never loaded.
    pub described_only: bool,
    /// Ctrl-C comes once rtrace is attached.
    pub interrupt: bool,
}

/// Variants of the workload: loaded anywhere in memory, stripped, without frame pointers, marked as one of Go.
const VARIANTS: [&str; 5] = ["pie", "split", "stripped", "lean", "go"];

/// The program whose events a case counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Workload {
    pub mode: WorkloadMode,
    /// `workload`, or `workload-pie`.
    pub program: String,
    pub arguments: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WorkloadMode {
    /// Started before rtrace, which follows it with -p; runs once rtrace is attached.
    Process,
    /// Run by rtrace with -c.
    Command,
    /// Like `Process` without -p: its pid is the script's first parameter.
    Beside,
}

impl Default for Directives {
    fn default() -> Directives {
        Directives {
            arguments: Vec::new(),
            flags: Vec::new(),
            workload: None,
            exit: 0,
            needs: Vec::new(),
            tier: 2,
            sort: false,
            replace: Vec::new(),
            timeout: None,
            described_only: false,
            interrupt: false,
        }
    }
}

impl Directives {
    /// Reads the directives of a script: the lines that begin with `//!`, before its first other line.
    pub fn parse(script: &str) -> Result<Directives> {
        let mut directives = Directives::default();
        for line in script.lines() {
            let line = line.trim();
            if line.is_empty() || line.starts_with("#!") || line.starts_with("//") && !line.starts_with("//!") {
                continue;
            }
            let Some(text) = line.strip_prefix("//!") else { break };
            directives.line(text.trim()).with_context(|| format!("in the directive `{line}`"))?;
        }
        Ok(directives)
    }

    fn line(&mut self, text: &str) -> Result<()> {
        let (name, value) = text.split_once(':').map_or((text, ""), |(name, value)| (name.trim(), value.trim()));
        if value.is_empty() != matches!(name, "sort" | "described" | "interrupt") {
            bail!("`{name}` {} a value", if value.is_empty() { "needs" } else { "takes no" });
        }
        match name {
            "args" => self.arguments = split_words(value)?,
            "flags" => self.flags = split_words(value)?,
            "workload" => self.set_workload(WorkloadMode::Process, value)?,
            "command" => self.set_workload(WorkloadMode::Command, value)?,
            "beside" => self.set_workload(WorkloadMode::Beside, value)?,
            "exit" => self.exit = value.parse().context("not a status")?,
            "needs" => {
                for word in value.split([' ', ',']).filter(|word| !word.is_empty()) {
                    self.needs.push(Need::named(word)?);
                }
            }
            "tier" => match value {
                "2" => self.tier = 2,
                "3" => self.tier = 3,
                _ => bail!("a case runs in tier 2 or 3"),
            },
            "sort" => self.sort = true,
            "replace" => {
                let (pattern, text) = value.split_once("=>").context("it is written `REGEX => TEXT`")?;
                self.replace.push((Regex::new(pattern.trim())?, text.trim().to_string()));
            }
            "timeout" => self.timeout = Some(Duration::from_secs(value.parse().context("not a number of seconds")?)),
            "described" => self.described_only = true,
            "interrupt" => self.interrupt = true,
            _ => bail!("there is no such directive"),
        }
        Ok(())
    }

    fn set_workload(&mut self, mode: WorkloadMode, value: &str) -> Result<()> {
        if self.workload.is_some() {
            bail!("a case has one workload");
        }
        let mut words = split_words(value)?;
        let is_variant = words.first().is_some_and(|word| VARIANTS.contains(&word.as_str()));
        let program = if is_variant { format!("workload-{}", words.remove(0)) } else { "workload".to_string() };
        self.workload = Some(Workload { mode, program, arguments: words });
        Ok(())
    }
}

/// Words separated by spaces; double quotes keep spaces together.
pub fn split_words(text: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    if quoted {
        bail!("a quote has no end");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_at_the_top_count() {
        let text = "// about\n//! args: 1 \"two three\" \"\"\n//! needs: kprobes, fentry\n//! exit: 2\n//! sort\n\
                    //! replace: 0x[0-9a-f]+ => ADDRESS\nBEGIN { }\n//! exit: 3\n";
        let directives = Directives::parse(text).expect("well formed");
        assert_eq!(directives.arguments, ["1", "two three", ""]);
        assert_eq!(directives.needs, [Need::Kprobes, Need::Fentry]);
        assert_eq!((directives.exit, directives.sort, directives.tier), (2, true, 2));
        assert_eq!(directives.replace[0].1, "ADDRESS");
    }

    #[test]
    fn workloads_have_a_mode() {
        let mode = |text: &str| Directives::parse(text).expect("well formed").workload.expect("one is given");
        let workload = mode("//! workload: getppid 1000");
        assert_eq!((workload.mode, workload.program.as_str()), (WorkloadMode::Process, "workload"));
        let workload = mode("//! command: pie chain 2");
        assert_eq!((workload.mode, workload.program.as_str()), (WorkloadMode::Command, "workload-pie"));
        assert_eq!(workload.arguments, ["chain", "2"]);
    }

    #[test]
    fn mistakes_are_found() {
        for text in ["//! no_such: 1", "//! exit: x", "//! sort: 1", "//! args:", "//! tier: 1", "//! needs: magic"] {
            assert!(Directives::parse(text).is_err(), "{text}");
        }
    }
}
