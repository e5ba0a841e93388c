//! Which tests a directory of cases makes: one for each expected text of a stage, one for loading, one for each run.
//! Runs none by itself.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rtrace_lang::target::fake::FakeTarget;

use crate::case::{self, Case, Expected};
use crate::environment::{Environment, Need, Programs};
use crate::other_files::Place;
use crate::schema::{self, Schema};
use crate::tasks::{self, CgroupBy};
use crate::{
    archives, bpf_programs, builtins, clearing, codes, documents, ended_processes, endings, expectation, flame_graphs,
    foreign_maps, formats, forms, grammar, kernel_functions, language_server, large_kernel, leftovers, listings,
    messages, modules, other_files, outputs, packets, pictures, pins, profiles, prometheus, prompt, rates,
    real_programs, reference, run, scale, scrapes, stages, typed_lines,
};

/// What became of a test.
pub enum Outcome {
    Passed,
    Skipped(String),
}

/// A test: its name, its tier, and what runs it.
pub struct Test {
    pub name: String,
    pub tier: u8,
    run: Box<dyn FnOnce() -> Result<Outcome> + Send>,
}

impl Test {
    /// A test that needs nothing of the machine.
    pub fn pure(name: String, test: impl FnOnce() -> Result<()> + Send + 'static) -> Test {
        Test { name, tier: 0, run: Box::new(move || test().map(|()| Outcome::Passed)) }
    }

    pub fn run(self) -> Result<Outcome> {
        (self.run)()
    }
}

/// What all tests share.
pub struct Plan {
    pub environment: Arc<Environment>,
    pub programs: Arc<Programs>,
}

impl Plan {
    /// The tests of the cases in `directory` and of the examples, of these tiers.
    pub fn tests(&self, directory: &Path, tiers: &dyn Fn(u8) -> bool) -> Result<Vec<Test>> {
        let mut tests = Vec::new();
        let target = if tiers(0) { Some(Arc::new(stages::described_machine(directory)?)) } else { None };
        let cases = case::cases(directory)?;
        // `tests/cases`, `examples` and `docs` have the same root, here and in guests.
        let root = directory.parent().and_then(Path::parent).context("the cases are in no checkout")?;
        let schema = Arc::new(Schema::read(root, schema::OUTPUT)?);
        let messages = Arc::new(Schema::read(root, schema::MESSAGES)?);
        if let Some(target) = &target {
            tests.extend(codes::tests(&cases, target)?);
        }
        for case in cases {
            let case = Arc::new(case);
            if let Some(target) = target.as_ref().filter(|_| case.expects(Expected::Diagnostics)) {
                let (case, target, messages) = (case.clone(), target.clone(), messages.clone());
                let name = format!("{}::messages", case.name);
                tests.push(Test::pure(name, move || messages::check_case(&case, &target, &messages)));
            }
            self.of_case(case, target.as_ref(), &schema, &mut tests)?;
        }
        if tiers(0) {
            let scripts = directory.to_path_buf();
            let coloured = root.join("examples");
            tests.push(Test::pure("editors::grammar".to_string(), move || grammar::check(&[&coloured, &scripts])));
            let coloured = root.join("examples");
            let by_vim = move || grammar::check_vim(&coloured);
            tests.push(self.gated("editors::vim".to_string(), 0, vec![Need::Vim], by_vim));
        }
        let outside_guests = if self.environment.in_guest { &[][..] } else { messages::OUTSIDE_GUESTS };
        for (name, check) in messages::ALL.iter().chain(outside_guests) {
            let (programs, cases, messages) = (self.programs.clone(), directory.to_path_buf(), messages.clone());
            let told = move || check(&programs, &cases, &messages);
            tests.push(self.gated(format!("messages::{name}"), 2, Vec::new(), told));
        }
        // In a guest that computes in software nothing is sure to come often.
        if !self.environment.in_guest {
            let programs = self.programs.clone();
            let rates = move || rates::check(&programs);
            tests.push(self.gated("rates::warned".to_string(), 2, Vec::new(), rates));
        }
        for document in reference::DOCUMENTS {
            let root = root.to_path_buf();
            tests.push(Test::pure(format!("reference::{}", document.name), move || document.check(&root)));
        }
        for (name, tier, needs, test) in documents::tests(root, &self.programs)? {
            tests.push(self.gated(name, tier, needs, test));
        }
        for example in case::examples(&root.join("examples"), &directory.join("examples"))? {
            self.of_case(Arc::new(example), None, &schema, &mut tests)?;
        }
        for (name, needs, load) in builtins::tests(&self.programs) {
            tests.push(self.gated(name, 1, needs, load));
        }
        for (name, signal) in [("interrupted", libc::SIGINT), ("terminated", libc::SIGTERM), ("killed", libc::SIGKILL)]
        {
            let programs = self.programs.clone();
            let nothing_left = move || leftovers::check(&programs, signal);
            tests.push(self.gated(format!("leftovers::{name}"), 2, Vec::new(), nothing_left));
            let programs = self.programs.clone();
            let lowered = move || leftovers::check_semaphore(&programs, signal);
            tests.push(self.gated(format!("leftovers::semaphore_{name}"), 2, Vec::new(), lowered));
        }
        let outside_guests = if self.environment.in_guest { &[][..] } else { endings::OUTSIDE_GUESTS };
        for (name, check) in endings::ALL.iter().chain(outside_guests) {
            let programs = self.programs.clone();
            tests.push(self.gated(format!("endings::{name}"), 2, Vec::new(), move || check(&programs)));
        }
        let programs = self.programs.clone();
        let any_time = move || leftovers::check_any_time(&programs);
        tests.push(self.gated("leftovers::any_time".to_string(), 2, Vec::new(), any_time));
        let programs = self.programs.clone();
        let replaced = move || leftovers::check_replaced(&programs);
        tests.push(self.gated("leftovers::replaced".to_string(), 2, Vec::new(), replaced));
        for (name, place, needs) in
            [("other_root", Place::OtherRoot, vec![Need::OtherRoot]), ("deleted", Place::Deleted, Vec::new())]
        {
            let programs = self.programs.clone();
            let followed = move || other_files::check(&programs, place);
            tests.push(self.gated(format!("other_files::{name}"), 2, needs, followed));
        }
        let programs = self.programs.clone();
        let named = move || ended_processes::check(&programs);
        tests.push(self.gated("ended_processes::named".to_string(), 3, vec![Need::OtherRoot], named));
        let programs = self.programs.clone();
        let named = move || ended_processes::check_command(&programs);
        tests.push(self.gated("ended_processes::command".to_string(), 2, vec![Need::OtherRoot], named));
        let programs = self.programs.clone();
        let told = move || ended_processes::check_refused(&programs);
        // Without it probes are perf events, which Debian's kernels refuse whoever has lost that capability.
        tests.push(self.gated("ended_processes::refused".to_string(), 3, vec![Need::UprobeMulti], told));
        let programs = self.programs.clone();
        let named = move || other_files::check_debuginfo(&programs);
        tests.push(self.gated("other_files::debuginfo".to_string(), 2, Vec::new(), named));
        for (name, by) in [("cgroup", CgroupBy::Path), ("container", CgroupBy::Container)] {
            let programs = self.programs.clone();
            let counted = move || tasks::check_cgroup(&programs, by);
            tests.push(self.gated(format!("tasks::{name}"), 2, vec![Need::Cgroups], counted));
        }
        let (programs, in_guest) = (self.programs.clone(), self.environment.in_guest);
        let many = move || scale::check_uprobes(&programs, in_guest);
        tests.push(self.gated("scale::uprobes".to_string(), 2, vec![Need::UprobeMulti], many));
        let programs = self.programs.clone();
        let named = move || large_kernel::check(&programs, in_guest);
        tests.push(self.gated("scale::large_kernel".to_string(), 2, Vec::new(), named));
        let programs = self.programs.clone();
        let cleared = move || clearing::check(&programs, in_guest);
        tests.push(self.gated("clearing::nothing_is_lost".to_string(), 2, Vec::new(), cleared));
        let programs = self.programs.clone();
        let foreign = move || foreign_maps::check(&programs);
        tests.push(self.gated("foreign_maps::entries".to_string(), 2, vec![Need::MapEntries], foreign));
        let programs = self.programs.clone();
        let mapped = move || archives::check(&programs);
        tests.push(self.gated("archives::mapped".to_string(), 2, Vec::new(), mapped));
        let programs = self.programs.clone();
        let addressed = move || forms::check_addresses(&programs);
        tests.push(self.gated("forms::addresses".to_string(), 2, Vec::new(), addressed));
        let programs = self.programs.clone();
        let named = move || forms::check_library(&programs);
        tests.push(self.gated("forms::library".to_string(), 2, Vec::new(), named));
        let programs = self.programs.clone();
        let walked = move || forms::check_iterators(&programs);
        tests.push(self.gated("forms::iterators".to_string(), 3, Vec::new(), walked));
        let programs = self.programs.clone();
        let sockets = move || foreign_maps::check_sockets(&programs);
        tests.push(self.gated("foreign_maps::sockets".to_string(), 2, vec![Need::MapEntries], sockets));
        let programs = self.programs.clone();
        let traced = move || bpf_programs::check(&programs);
        tests.push(self.gated("bpf_programs::traced".to_string(), 3, vec![Need::Fentry], traced));
        let programs = self.programs.clone();
        let loaded = move || bpf_programs::check_verifier_log(&programs);
        tests.push(self.gated("bpf_programs::verifier_log".to_string(), 2, Vec::new(), loaded));
        let programs = self.programs.clone();
        let pinned = move || pins::check(&programs);
        tests.push(self.gated("pins::iterators".to_string(), 2, vec![Need::MapEntries], pinned));
        let programs = self.programs.clone();
        let framed = move || bpf_programs::check_frames(&programs);
        tests.push(self.gated("bpf_programs::frames".to_string(), 2, Vec::new(), framed));
        for (provider, needs) in
            [("kprobe", vec![Need::Kprobes, Need::Tun]), ("fentry", vec![Need::Fentry, Need::TunTypes])]
        {
            let programs = self.programs.clone();
            let unloaded = move || modules::check_unloaded(&programs, provider);
            tests.push(self.gated(format!("modules::unloaded_{provider}"), 3, needs, unloaded));
        }
        let programs = self.programs.clone();
        let environment = self.environment.clone();
        let renamed = move || {
            let has_fentry = environment.reason_to_skip(3, &[Need::Fentry])?.is_none();
            kernel_functions::check_renamed(&programs, has_fentry)
        };
        tests.push(self.gated("kernel_functions::renamed".to_string(), 3, vec![Need::Kprobes], renamed));
        let programs = self.programs.clone();
        let shared = move || kernel_functions::check_shared(&programs);
        let needs = vec![Need::Kprobes, Need::Fentry];
        tests.push(self.gated("kernel_functions::shared".to_string(), 3, needs, shared));
        for asked in listings::ALL {
            let programs = self.programs.clone();
            let answered = move || asked.check(&programs);
            tests.push(self.gated(format!("listings::{}", asked.name), asked.tier, asked.needs.to_vec(), answered));
        }
        let programs = self.programs.clone();
        let places = move || kernel_functions::check_places(&programs);
        tests.push(self.gated("kernel_functions::places".to_string(), 3, vec![Need::Kprobes], places));
        let programs = self.programs.clone();
        let places = move || kernel_functions::check_module_places(&programs);
        let needs = vec![Need::Kprobes, Need::Tun];
        tests.push(self.gated("kernel_functions::module_places".to_string(), 3, needs, places));
        let programs = self.programs.clone();
        let bar = move || scale::check_bar(&programs);
        tests.push(self.gated("scale::bar".to_string(), 3, vec![Need::Kprobes], bar));
        let programs = self.programs.clone();
        let numbered = move || tasks::check_namespace(&programs);
        tests.push(self.gated("tasks::namespace".to_string(), 2, vec![Need::Namespaces], numbered));
        for (name, needs, check) in [
            ("dialogue", Vec::new(), prompt::check_dialogue as fn(&Programs) -> Result<()>),
            ("terminal", Vec::new(), prompt::check_terminal),
            ("completion", Vec::new(), prompt::check_completion),
            ("shared", vec![Need::MapLoops], prompt::check_shared),
            ("keys", Vec::new(), prompt::check_keys),
        ] {
            let programs = self.programs.clone();
            tests.push(self.gated(format!("prompt::{name}"), 2, needs, move || check(&programs)));
        }
        let programs = self.programs.clone();
        let python = move || real_programs::check_python(&programs);
        tests.push(self.gated("real_programs::python".to_string(), 2, vec![Need::Python], python));
        let (programs, examples) = (self.programs.clone(), root.join("examples"));
        let python_example = move || real_programs::check_python_example(&programs, &examples);
        tests.push(self.gated("real_programs::python_example".to_string(), 2, vec![Need::Python], python_example));
        let (programs, examples) = (self.programs.clone(), root.join("examples"));
        let postgresql = move || real_programs::check_postgresql(&programs, &examples);
        tests.push(self.gated("real_programs::postgresql".to_string(), 2, vec![Need::Postgresql], postgresql));
        let (programs, examples) = (self.programs.clone(), root.join("examples"));
        let shown = move || typed_lines::check_bash(&programs, &examples);
        tests.push(self.gated("typed_lines::bash".to_string(), 2, vec![Need::Bash], shown));
        let (programs, examples) = (self.programs.clone(), root.join("examples"));
        let shown = move || typed_lines::check_openssl(&programs, &examples);
        tests.push(self.gated("typed_lines::openssl".to_string(), 2, vec![Need::Openssl], shown));
        let (programs, examples) = (self.programs.clone(), root.join("examples"));
        let shown = move || typed_lines::check_gnutls(&programs, &examples);
        tests.push(self.gated("typed_lines::gnutls".to_string(), 2, vec![Need::Gnutls], shown));
        let programs = self.programs.clone();
        let served = move || language_server::check(&programs);
        tests.push(self.gated("language_server::dialogue".to_string(), 2, Vec::new(), served));
        let programs = self.programs.clone();
        let profiled = move || profiles::check(&programs);
        tests.push(self.gated("profiles::shares".to_string(), 2, Vec::new(), profiled));
        let programs = self.programs.clone();
        let by_tables = move || profiles::check_tables(&programs);
        tests.push(self.gated("profiles::tables".to_string(), 2, Vec::new(), by_tables));
        let programs = self.programs.clone();
        for (name, needs, check) in flame_graphs::ALL {
            let programs = self.programs.clone();
            tests.push(self.gated(format!("flame_graphs::{name}"), 2, needs.to_vec(), move || check(&programs)));
        }
        for (name, check) in pictures::ALL {
            let programs = self.programs.clone();
            let seen = move || check(&programs);
            tests.push(self.gated(format!("pictures::{name}"), 2, vec![Need::Browser], seen));
        }
        let storm = self.programs.clone();
        let received = move || packets::check_bridge(&storm);
        tests.push(self.gated("packets::bridge".to_string(), 3, vec![Need::Kprobes], received));
        let pprof = move || formats::check_pprof(&programs);
        tests.push(self.gated("formats::pprof".to_string(), 2, Vec::new(), pprof));
        let programs = self.programs.clone();
        let go = move || formats::check_go_pprof(&programs);
        tests.push(self.gated("formats::go_pprof".to_string(), 2, vec![Need::Go], go));
        let programs = self.programs.clone();
        let flame = move || formats::check_flame(&programs);
        tests.push(self.gated("formats::flame".to_string(), 2, Vec::new(), flame));
        let programs = self.programs.clone();
        let scrapes = move || scrapes::check(&programs);
        tests.push(self.gated("formats::prometheus".to_string(), 2, Vec::new(), scrapes));
        let programs = self.programs.clone();
        let promtool = move || scrapes::check_by_promtool(&programs);
        tests.push(self.gated("formats::promtool".to_string(), 2, vec![Need::Promtool], promtool));
        let programs = self.programs.clone();
        let stored = move || prometheus::check(&programs);
        tests.push(self.gated("formats::prometheus_server".to_string(), 2, vec![Need::Prometheus], stored));
        let outside = if in_guest { &[] } else { outputs::OUTSIDE_GUESTS };
        for (name, check) in outputs::ALL.iter().chain(outside) {
            let programs = self.programs.clone();
            tests.push(self.gated(format!("outputs::{name}"), 2, Vec::new(), move || check(&programs)));
        }
        let programs = self.programs.clone();
        let node = move || real_programs::check_node(&programs);
        tests.push(self.gated("real_programs::node".to_string(), 2, vec![Need::Node], node));
        tests.retain(|test| tiers(test.tier));
        Ok(tests)
    }

    fn of_case(
        &self,
        case: Arc<Case>,
        target: Option<&Arc<FakeTarget>>,
        schema: &Arc<Schema>,
        tests: &mut Vec<Test>,
    ) -> Result<()> {
        if let Some(target) = target {
            for kind in case.expected.iter().copied().filter(|kind| kind.is_pure()) {
                tests.push(pure(case.clone(), kind, target.clone()));
            }
        }
        let is_run = case.expects(Expected::Output) || case.expects(Expected::Errors) || case.expects(Expected::Json);
        let is_mistaken = case.is_mistaken()?;
        if case.directives.described_only {
            if is_run {
                bail!("{} is for the described machine only, and expects a run", case.name);
            }
            return Ok(());
        }
        if !is_mistaken {
            let (of_case, programs) = (case.clone(), self.programs.clone());
            let load = move || run::load(&of_case, &programs);
            tests.push(self.gated(format!("{}::load", case.name), 1, case.directives.needs.clone(), load));
        }
        // One run serves the text and the errors.
        let outputs: &[Option<Expected>] = match (case.expects(Expected::Output), case.expects(Expected::Json)) {
            (true, true) => &[Some(Expected::Output), Some(Expected::Json)],
            (true, false) => &[Some(Expected::Output)],
            (false, true) => &[Some(Expected::Json)],
            (false, false) if is_run => &[None],
            (false, false) => &[],
        };
        for stdout in outputs.iter().copied() {
            let name = format!("{}::{}", case.name, stdout.unwrap_or(Expected::Errors).extension());
            let (of_case, programs) = (case.clone(), self.programs.clone());
            let attached = move || run::attached(&of_case, &programs, stdout);
            tests.push(self.gated(name, case.directives.tier, case.directives.needs.clone(), attached));
        }
        let has_format = case.directives.flags.iter().any(|flag| flag == "-f");
        // The kernel has no part in the form of the lines: what runs outside of guests as well is checked there.
        let runs_outside = case.directives.tier < 3 && case.directives.needs.is_empty();
        let is_checked_outside = self.environment.in_guest && runs_outside;
        if is_run && !is_mistaken && !has_format && !is_checked_outside {
            let (of_case, programs, schema) = (case.clone(), self.programs.clone(), schema.clone());
            let by_schema = move || run::by_schema(&of_case, &programs, &schema);
            let name = format!("{}::schema", case.name);
            tests.push(self.gated(name, case.directives.tier, case.directives.needs.clone(), by_schema));
        }
        Ok(())
    }

    /// A test that needs the kernel: it may be skipped, where that is no failure.
    fn gated(
        &self,
        name: String,
        tier: u8,
        needs: Vec<Need>,
        test: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Test {
        let environment = self.environment.clone();
        let run = move || match environment.reason_to_skip(tier, &needs)? {
            Some(reason) => Ok(Outcome::Skipped(reason)),
            None => test().map(|()| Outcome::Passed),
        };
        Test { name, tier, run: Box::new(run) }
    }
}

fn pure(case: Arc<Case>, kind: Expected, target: Arc<FakeTarget>) -> Test {
    let name = format!("{}::{}", case.name, kind.extension());
    Test::pure(name, move || expectation::compare(&case, kind, &stages::text(&case, kind, &target)?))
}
