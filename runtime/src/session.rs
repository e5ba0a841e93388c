//! A program in the kernel: loaded, attached, run until it ends, and taken out again. Dropping a session detaches
//! everything. Formats nothing: what happens goes to a sink as events.

mod attaching;
mod globals;
mod load;
mod mapped;
mod progress;
mod recording;
mod refusal;
mod remote;
mod replaced;
mod report;
mod ring;
mod run;
mod shared;
mod speculations;
mod tables;
mod tree;
mod trials;
mod turns;
mod unloaded;
mod unwind;
mod wakeups;
mod ways;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rtrace_compiler::object::{Object, STOPPED_OFFSET};
use rtrace_lang::diagnostic::Diagnostic;
use rtrace_lang::hir::{Hir, SiteId};
use rtrace_lang::source::Source;
use rtrace_lang::target::{Attach, Trial};
use rtrace_probes::kernel::KernelError;
use rtrace_probes::kernel::bpf;
use rtrace_probes::kernel::cgroup::Cgroup;
use rtrace_probes::kernel::privileges::Privileges;
use rtrace_probes::kernel::system;
use rtrace_probes::{AttachError, Link, Machine};

use crate::child::ChildError;
use crate::decode::Decoder;
use crate::maps::LiveMap;
use crate::metrics::MetricsServer;
use crate::packets::{PacketError, Packets};
use crate::signals;
use crate::symbols::MappingEvents;

use globals::GlobalData;
use recording::RecordingLine;
use replaced::TracedFile;
use ring::Ring;
use speculations::Speculations;
use turns::Turns;
use unloaded::TracedModule;
use unwind::UnwindTables;

pub use crate::signals::Interrupt;
pub use remote::{Remote, Requests, remote};
pub use run::Ended;
pub use shared::{SharedMap, SharedStacks};

/// What the command line decides about a run.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// The script, for places in messages.
    pub source: Source,
    /// Ends with this process (`-p`).
    pub pid: Option<u32>,
    /// Its children, or those of the command, count as well.
    pub children: bool,
    /// So do all tasks, in probes of the kernel.
    pub all_tasks: bool,
    /// Processes whose unwind tables are read at the start, beside the one that is followed.
    pub unwound: Vec<u32>,
    /// Only tasks of this cgroup and those below it.
    pub cgroup: Option<Cgroup>,
    /// Says nothing of its own on stderr but problems.
    pub quiet: bool,
    /// Shows on the terminal how far attaching is.
    pub progress: bool,
    /// Shows on the terminal how much is recorded meanwhile, in this unit.
    pub recording: Option<String>,
    /// Shows the verifier's log of a refused program.
    pub verbose: bool,
    /// Keeps what the verifier says of each program, for `Session::verifier_logs`.
    pub verifier_log: bool,
    /// The tool ends with the session: once that is over, SIGINT and SIGTERM change nothing any more.
    pub is_last: bool,
    /// Ends after so long.
    pub duration: Option<Duration>,
    /// Ends when the script has printed so often.
    pub count: Option<u64>,
    /// Only the probes that wait to be asked for are run, and those that see it.
    pub trial: Option<Trial>,
    /// Strings are shown with their control characters escaped, which a terminal would obey.
    pub for_terminal: bool,
    /// Maps of other sessions that stand for those of the script with these names.
    pub shared: Vec<SharedMap>,
    /// Where other sessions keep stacks.
    pub shared_stacks: Option<SharedStacks>,
}

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("cannot make the map {name}: {}", reason(source))]
    Map { name: String, source: aya::maps::MapError },
    #[error("cannot open the ring buffer: {0}")]
    Ring(aya::maps::MapError),
    /// A missing privilege, or a kernel that lacks what the program needs.
    #[error("the kernel does not let rtrace load programs: {0}")]
    Privilege(KernelError),
    /// Our bug: the program is not what the verifier accepts.
    #[error("{}: {}", diagnostic.message, diagnostic.label)]
    Refused { diagnostic: Box<Diagnostic>, log: String },
    /// The process, or the machine, has no room for so many programs.
    #[error("{}", diagnostic.message)]
    NoRoom { diagnostic: Box<Diagnostic> },
    #[error("{0}")]
    Kernel(#[from] KernelError),
    #[error("{}", diagnostic.message)]
    Attach { diagnostic: Box<Diagnostic>, error: AttachError },
    /// The kernel lets nothing be traced that a specification matches.
    #[error("{}", diagnostic.message)]
    NothingAttached { diagnostic: Box<Diagnostic> },
    #[error("{0}")]
    Child(#[from] ChildError),
    #[error("{0}: {1}")]
    System(&'static str, std::io::Error),
    #[error("cannot write the output: {0}")]
    Output(std::io::Error),
    #[error("{0}")]
    Packet(#[from] PacketError),
}

/// What the kernel said, without aya's words around it.
fn reason(error: &aya::maps::MapError) -> String {
    match error {
        aya::maps::MapError::CreateError { io_error, .. } => io_error.to_string(),
        other => other.to_string(),
    }
}

impl SessionError {
    /// The exit status that the error means: 2 for what the machine cannot do.
    pub fn exit_status(&self) -> i32 {
        match self {
            SessionError::Child(_) => 1,
            SessionError::Output(_) | SessionError::Packet(_) => 1,
            SessionError::Map { .. }
            | SessionError::Ring(_)
            | SessionError::Privilege(_)
            | SessionError::Refused { .. }
            | SessionError::NoRoom { .. }
            | SessionError::Kernel(_)
            | SessionError::Attach { .. }
            | SessionError::NothingAttached { .. }
            | SessionError::System(..) => 2,
        }
    }

    /// Whoever runs the tool may not do it.
    pub fn is_privilege(&self) -> bool {
        match self {
            SessionError::Privilege(_) => true,
            SessionError::Map { source: aya::maps::MapError::CreateError { io_error, .. }, .. } => {
                matches!(io_error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
            }
            SessionError::Map { .. }
            | SessionError::Ring(_)
            | SessionError::Refused { .. }
            | SessionError::NoRoom { .. }
            | SessionError::Kernel(_)
            | SessionError::Attach { .. }
            | SessionError::NothingAttached { .. }
            | SessionError::Child(_)
            | SessionError::System(..)
            | SessionError::Output(_)
            | SessionError::Packet(_) => false,
        }
    }

    /// What to do about it, a sentence each.
    pub fn help(&self) -> Vec<String> {
        match self {
            SessionError::Privilege(_) => Privileges::read().help(false),
            SessionError::Map { source: aya::maps::MapError::CreateError { io_error, .. }, .. } => {
                match io_error.raw_os_error() {
                    Some(libc::EPERM | libc::EACCES) => Privileges::read().help(false),
                    Some(libc::E2BIG | libc::ENOMEM | libc::EINVAL) => {
                        vec!["the map may be too large: lower max_map_keys, or shorten its keys".to_string()]
                    }
                    _ => Vec::new(),
                }
            }
            SessionError::Attach { diagnostic, .. }
            | SessionError::NothingAttached { diagnostic }
            | SessionError::NoRoom { diagnostic }
            | SessionError::Refused { diagnostic, .. } => diagnostic.help.clone(),
            _ => Vec::new(),
        }
    }

    /// The same with its place in the script, where it has one.
    pub fn diagnostic(&self) -> Option<&Diagnostic> {
        match self {
            SessionError::Attach { diagnostic, .. }
            | SessionError::NothingAttached { diagnostic }
            | SessionError::NoRoom { diagnostic }
            | SessionError::Refused { diagnostic, .. } => Some(diagnostic),
            SessionError::Map { .. }
            | SessionError::Ring(_)
            | SessionError::Privilege(_)
            | SessionError::Kernel(_)
            | SessionError::Child(_)
            | SessionError::System(..)
            | SessionError::Output(_)
            | SessionError::Packet(_) => None,
        }
    }
}

/// More programs and probes may need more descriptors than a process has to begin with: one for each program, up to two for each
/// probe.
const FEW_PROBES: usize = 200;

/// A loaded program with its maps.
pub struct Session<'m> {
    machine: &'m Machine,
    hir: Arc<Hir>,
    object: Object,
    maps: Vec<LiveMap>,
    /// Of each map of the script: shared by all sessions that use it.
    users: Vec<Arc<()>>,
    ring: Option<Ring>,
    programs: Vec<bpf::LoadedProgram>,
    links: Vec<Link>,
    /// Names of sites of wildcards that the kernel does not let be probed.
    left_out: Vec<Arc<str>>,
    /// Those of iterators, which run when everything is attached.
    iterators: Vec<Link>,
    globals: GlobalData,
    decoder: Decoder,
    packets: Packets,
    /// What normalize() divides the values of each map by.
    normals: Vec<u64>,
    speculations: Speculations,
    turns: Turns,
    /// What counters said when they were last told: those of the global data by their offsets.
    told: HashMap<u32, u64>,
    /// Programs and libraries that are attached to, of all processes.
    files: Vec<TracedFile>,
    /// Modules of the kernel that are attached to.
    modules: Vec<TracedModule>,
    /// What the followed process maps, where user addresses are shown and the kernel tells.
    mappings: Option<MappingEvents>,
    /// The kernel would not give them.
    refused_news: bool,
    told_unknown: bool,
    /// By which programs go up its stacks, where the script asks for that.
    unwind: Option<UnwindTables>,
    /// Who asks for the maps while the script runs (`--listen`).
    metrics: Option<MetricsServer>,
    /// What of them is known to be no metric.
    told_of_metrics: HashSet<String>,
    /// Ticks of timers that came while the tool was held up.
    missed_ticks: BTreeMap<SiteId, u64>,
    /// The line on the terminal while something is recorded.
    recording: Option<RecordingLine>,
    /// Another thread that asks for maps and ends the session.
    requests: Option<Requests>,
    /// How often the script has printed.
    printed: u64,
    /// END and what follows is not counted.
    is_ending: bool,
    options: SessionOptions,
    cpus: u32,
}

/// True if nothing more can run when everything is attached and iterators have gone through what they go through.
pub fn ends_by_itself(hir: &Hir) -> bool {
    let is_done = |attach: &Attach| matches!(attach, Attach::Begin | Attach::End | Attach::Iterator { .. });
    hir.sites.iter().all(|site| is_done(&site.attach))
}

/// The files that iterators of the script are pinned to.
pub fn pins(hir: &Hir) -> impl Iterator<Item = &Path> {
    hir.sites.iter().filter_map(|site| match &site.attach {
        Attach::Iterator { pin, .. } => pin.as_deref(),
        _ => None,
    })
}

impl<'m> Session<'m> {
    /// Makes the maps and loads the programs; nothing is attached.
    pub fn load(machine: &'m Machine, object: Object, options: SessionOptions) -> Result<Session<'m>, SessionError> {
        let cpus = rtrace_lang::target::Target::possible_cpus(machine);
        let mut object = object;
        let shared::Lent { maps: lent, users } = shared::lent(&mut object, &options)?;
        let maps = load::maps(&object, lent)?;
        let globals = load::globals(&object, &maps)?;
        load::cgroup(&object, &maps, &options)?;
        if object.programs.len() + object.manifest.hir.sites.len() > FEW_PROBES {
            system::raise_file_limit();
        }
        let programs = load::programs(machine, &object, &maps, &options)?;
        let unwind = object.manifest.unwind.map(|at| UnwindTables::new(at, &maps)).transpose()?;
        let ring = match object.manifest.ring {
            Some(number) => Some(Ring::new(&maps[number as usize])?),
            None => None,
        };
        let hir = object.manifest.hir.clone();
        Ok(Session {
            machine,
            decoder: Decoder::new(hir.clone()),
            packets: Packets::default(),
            normals: vec![1; hir.maps.len()],
            speculations: Speculations::default(),
            turns: Turns::new(&hir),
            told: HashMap::new(),
            files: Vec::new(),
            modules: Vec::new(),
            hir,
            object,
            maps,
            users,
            ring,
            programs,
            mappings: None,
            refused_news: false,
            told_unknown: false,
            unwind,
            links: Vec::new(),
            left_out: Vec::new(),
            iterators: Vec::new(),
            globals,
            metrics: None,
            recording: None,
            told_of_metrics: HashSet::new(),
            missed_ticks: BTreeMap::new(),
            requests: None,
            printed: 0,
            is_ending: false,
            options,
            cpus,
        })
    }

    /// Serves the maps while the script runs.
    pub fn serve(&mut self, metrics: MetricsServer) {
        self.metrics = Some(metrics);
    }

    /// Each program by its name, and what the verifier said of it: nothing unless the options ask for it.
    pub fn verifier_logs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.object
            .programs
            .iter()
            .zip(&self.programs)
            .map(|(object, loaded)| (object.name.as_str(), loaded.log.as_str()))
    }

    /// Probes that the program attaches to, BEGIN and END among them.
    pub fn site_count(&self) -> usize {
        self.hir.sites.len() - self.left_out.len()
    }

    /// Lets go of all attachments. Events that still come from those that end slowly do not count from here on.
    fn detach(&mut self) {
        self.iterators.clear();
        let (slow, quick): (Vec<Link>, Vec<Link>) =
            std::mem::take(&mut self.links).into_iter().partition(Link::is_slow);
        // The child would hold these as well, and their programs do not look whether they are stopped.
        drop(quick);
        let fds: Vec<_> = slow.iter().flat_map(Link::fds).collect();
        if !fds.is_empty() {
            self.globals.set(STOPPED_OFFSET, 1);
            signals::close_elsewhere(&fds);
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.detach();
    }
}
