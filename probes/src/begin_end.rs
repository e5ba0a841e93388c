//! `BEGIN` and `END`: before the first and after the last event. The tool runs their programs itself.

use std::os::fd::BorrowedFd;

use rtrace_lang::probe::ProbeSpec;
use rtrace_lang::target::{Attach, ProbeSite, ProgramKind, ResolveError, ResolveOptions};

use crate::listing::ListedProbe;
use crate::machine::Machine;
use crate::provider::{AttachError, Documentation, Link, Provider, empty_layout, wrong_form};

pub static BEGIN: Edge = Edge {
    name: "BEGIN",
    attach: Attach::Begin,
    documentation: &Documentation {
        summary: "Runs once, before anything is traced.",
        usage: &["BEGIN"],
        example: r#"BEGIN { printf("tracing\n"); }"#,
    },
};

pub static END: Edge = Edge {
    name: "END",
    attach: Attach::End,
    documentation: &Documentation {
        summary: "Runs once, after the last probe is detached.",
        usage: &["END"],
        example: r#"END { printf("done\n"); }"#,
    },
};

pub struct Edge {
    name: &'static str,
    attach: Attach,
    documentation: &'static Documentation,
}

impl Provider for Edge {
    fn name(&self) -> &'static str {
        self.name
    }

    fn documentation(&self) -> &'static Documentation {
        self.documentation
    }

    fn has_kernel_points(&self) -> bool {
        false
    }

    fn resolve(&self, _: &Machine, spec: &ProbeSpec, _: &ResolveOptions) -> Result<Vec<ProbeSite>, ResolveError> {
        if !spec.parts.is_empty() {
            return Err(wrong_form(self, "takes nothing after its name", Some(1)));
        }
        Ok(vec![ProbeSite {
            // As bpftrace names the probe, however a script spells it.
            name: self.name.to_ascii_lowercase().into(),
            function: self.name.into(),
            provider: self.name,
            program: ProgramKind::TestRun,
            layout: empty_layout(),
            selector: None,
            attach: self.attach.clone(),
        }])
    }

    fn list(&self, _: &Machine, parts: &[String], _: bool) -> Result<Vec<ListedProbe>, ResolveError> {
        Ok(if parts.is_empty() {
            vec![ListedProbe { name: self.name.to_string(), arguments: Vec::new() }]
        } else {
            Vec::new()
        })
    }

    /// There is nothing to attach to.
    fn attach(&self, _: &Machine, _: BorrowedFd<'_>, _: &[(u64, &ProbeSite)]) -> Result<Vec<Link>, AttachError> {
        Ok(Vec::new())
    }
}
