//! This machine as the checker sees it. Holds what was read of the kernel so far and reads nothing before it is asked:
//! making one takes no time, and a script of `BEGIN` alone never opens a file.

mod sources;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use rtrace_lang::probe::ProbeSpec;
use rtrace_lang::target::{
    Absence, Attach, Feature, Flags, Location, ProbeSite, ProcessNamespace, ProgramSymbol, ResolveError,
    ResolveErrorKind, ResolveOptions, Target, TypeTag,
};
use rtrace_lang::types::{EnumRef, Field, Space, StructKind, StructRef, Type};

use crate::elf::{ElfError, Located, has_mapped, locate, locate_expected};
use crate::kernel::btf::{Access, Btf, Kind};
use crate::kernel::features::{self, Features};
use crate::kernel::functions::FunctionList;
use crate::kernel::privileges::Privileges;
use crate::kernel::tracefs::Tracefs;
use crate::kernel::{KernelError, allocation, symbols, system};
use crate::kprobe::{self, Presence};
use crate::nearest::near_misses;
use crate::provider::{PROVIDERS, no_privilege, not_found, providers_matching};
use crate::{d_names, fentry, provider, uprobe, usdt};
use sources::{Origin, Source};

/// Whether a probe of that name is meant.
type Filter = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// By a program and a function's name.
type NamedOffsets = HashMap<(Arc<PathBuf>, String), Vec<u64>>;

/// The running kernel and its programs.
#[derive(Default)]
pub struct Machine {
    btf: OnceLock<Option<Arc<Btf>>>,
    /// Whether these are not the running kernel's.
    has_types_of_file: bool,
    /// Types beside the kernel's own, in the order in which they were asked for; the place is one less than the number
    /// of the source.
    sources: Mutex<Vec<Source>>,
    tracefs: OnceLock<Result<Tracefs, KernelError>>,
    features: Features,
    possible_cpus: OnceLock<u32>,
    process_namespace: OnceLock<Option<ProcessNamespace>>,
    allocation_flags: OnceLock<Flags>,
    traceable: OnceLock<Option<FunctionList>>,
    traceable_addresses: OnceLock<Option<FunctionList>>,
    kernel_functions: OnceLock<Vec<(u32, u32)>>,
    filter: Option<Filter>,
    blacklist: OnceLock<HashSet<String>>,
    addresses: Mutex<HashMap<String, Option<u64>>>,
    /// Where in a program functions of a name are entered.
    named_offsets: Mutex<NamedOffsets>,
    /// Functions for trampolines whose names others have, too.
    shared_names: Mutex<HashSet<String>>,
    /// What patterns match of BPF programs, and the kernel does not let be traced.
    left_out: Mutex<BTreeSet<String>>,
    privileges: OnceLock<Privileges>,
    /// A process that does not run its program yet.
    expected: Option<(u32, PathBuf)>,
    is_for_compiling: bool,
}

impl Machine {
    pub fn new() -> Machine {
        Machine::default()
    }

    /// A machine whose kernel counts as one that lacks the features of these names. Gives the first name that is none.
    pub fn without(names: &[String]) -> Result<Machine, &str> {
        let machine = Machine::new();
        for name in names {
            machine.features.leave_out(features::named(name).ok_or(name.as_str())?);
        }
        Ok(machine)
    }

    /// Takes the kernel's types from that file: BTF, or an ELF file with a section of it.
    pub fn use_types_of(&mut self, path: &Path) -> Result<(), KernelError> {
        self.btf = OnceLock::from(Some(Arc::new(Btf::open(path)?)));
        self.has_types_of_file = true;
        Ok(())
    }

    /// Takes the functions that kprobes may probe from that list, in the form of tracefs' `available_filter_functions`.
    pub fn use_traceable_functions(&self, text: String) {
        let _ = self.traceable.set(Some(FunctionList::new(text, false)));
        let _ = self.traceable_addresses.set(None);
    }

    /// From now on nothing is to be attached: what only privileges would tell is taken from what everybody may read.
    pub fn compile_only(&mut self) {
        self.is_for_compiling = true;
    }

    pub(crate) fn is_for_compiling(&self) -> bool {
        self.is_for_compiling
    }

    /// Leaves out probes whose names do not fit.
    pub fn use_filter(&mut self, fits: impl Fn(&str) -> bool + Send + Sync + 'static) {
        self.filter = Some(Box::new(fits));
    }

    fn filtered(&self, mut sites: Vec<ProbeSite>) -> Vec<ProbeSite> {
        if let Some(fits) = &self.filter {
            // As in bpftrace these two always run.
            sites.retain(|site| matches!(site.attach, Attach::Begin | Attach::End) || fits(&site.name));
        }
        sites
    }

    /// The process will run that program: until then it has mapped something else.
    pub fn expect_program(&mut self, pid: u32, program: PathBuf) {
        self.expected = Some((pid, program));
    }

    /// Whether this process may load programs.
    pub fn may_load(&self) -> bool {
        !self.features.may_not_load()
    }

    /// What keeps this process from tracing.
    pub fn privileges(&self) -> &Privileges {
        self.privileges.get_or_init(Privileges::read)
    }

    /// The files that the target of a user-space probe means.
    pub(crate) fn locate(&self, target: &str, pid: Option<u32>) -> Result<Vec<Located>, ElfError> {
        match &self.expected {
            Some((expected, program)) if pid == Some(*expected) => locate_expected(target, program),
            Some(_) | None => locate(target, pid),
        }
    }

    /// The kernel's own types; None where it shows none (CONFIG_DEBUG_INFO_BTF).
    pub fn btf(&self) -> Option<&Arc<Btf>> {
        self.btf.get_or_init(|| Btf::open_vmlinux().ok().map(Arc::new)).as_ref()
    }

    pub fn tracefs(&self) -> Result<&Tracefs, &KernelError> {
        self.tracefs.get_or_init(Tracefs::open).as_ref()
    }

    /// What ftrace can attach to; None where the kernel does not tell.
    pub(crate) fn traceable_set(&self) -> Option<&FunctionList> {
        if let Some(Some(known)) = self.traceable_addresses.get() {
            return Some(known);
        }
        let read = || self.tracefs().ok()?.filter_functions().ok();
        self.traceable.get_or_init(read).as_ref()
    }

    /// The same with addresses; None where the kernel does not list them.
    pub(crate) fn traceable_addresses(&self) -> Option<&FunctionList> {
        let read = || self.tracefs().ok()?.filter_function_addresses().ok();
        self.traceable_addresses.get_or_init(read).as_ref()
    }

    /// The functions of the kernel itself that fentry can attach to, by name: where the name is in its BTF, and the id.
    pub(crate) fn kernel_functions(&self, btf: &Btf) -> &[(u32, u32)] {
        self.kernel_functions.get_or_init(|| fentry::traceable_functions(self, btf))
    }

    /// Whether a kprobe on the function is forbidden; only known where debugfs is mounted.
    pub(crate) fn is_blacklisted(&self, function: &str) -> bool {
        let names = self.blacklist.get_or_init(|| {
            let text = std::fs::read_to_string("/sys/kernel/debug/kprobes/blacklist").unwrap_or_default();
            // `0xffffffff81000000-0xffffffff81000040`, a tab, and the name.
            text.lines().filter_map(|line| line.split_whitespace().nth(1).map(str::to_string)).collect()
        });
        names.contains(function)
    }

    /// The module that the function of a kprobe is in; None for functions of the kernel itself, and other probes.
    pub fn module_of(&self, site: &ProbeSite) -> Option<String> {
        let Attach::Kprobe { function, .. } = &site.attach else { return None };
        if let Some((module, _)) = function.split_once(':') {
            return Some(module.to_string());
        }
        // Where a wildcard has read the list it is asked first: it is sorted, and the kernel's types are not.
        let is_listed =
            [&self.traceable, &self.traceable_addresses].iter().any(|list| matches!(list.get(), Some(Some(_))));
        if function.is_empty() || !is_listed && self.has_kernel_function(function) {
            return None;
        }
        let mut modules = self.traceable_set()?.named(function).map(|found| found.module);
        let first = modules.next()??;
        modules.all(|module| module.is_some()).then(|| first.to_string())
    }

    /// What the kernel has under a name that a trampoline is asked for by; None where it cannot be asked.
    pub(crate) fn presence(&self, function: &str) -> Option<Presence> {
        if !self.has(Feature::Kprobes) || self.privileges().lacks_perf_events() {
            return None;
        }
        let presence = kprobe::presence(function);
        if presence == Presence::Shared {
            self.shared_names.lock().expect("no holder panics").insert(function.to_string());
        }
        Some(presence)
    }

    /// Whether the kernel has several functions of the name of a trampoline's, of which it takes one.
    pub fn is_one_of_several(&self, site: &ProbeSite) -> bool {
        let is_trampoline = matches!(site.attach, Attach::Trampoline);
        is_trampoline && self.shared_names.lock().expect("no holder panics").contains(&*site.function)
    }

    pub(crate) fn note_left_out(&self, name: String) {
        self.left_out.lock().expect("no holder panics").insert(name);
    }

    /// The functions of BPF programs that patterns match, and that the kernel does not let be traced.
    pub fn left_out(&self) -> Vec<String> {
        self.left_out.lock().expect("no holder panics").iter().cloned().collect()
    }

    /// Whether raw tracepoints pass over events here, and what stands in for them, which takes perf events, may be used.
    pub fn avoids_raw_tracepoints(&self) -> bool {
        !self.has(Feature::RawTracepointNoPreempt) && !self.privileges().lacks_perf_events()
    }

    pub(crate) fn features(&self) -> &Features {
        &self.features
    }

    /// Where a word of a typed program's context is, by the way that it can be read here.
    pub(crate) fn context_word(&self, access: Access, offset: u32) -> Location {
        let can_load = match access {
            Access::Load => true,
            Access::LoadIfIntegerPointer => self.btf().is_some_and(|btf| self.features.loads_integer_pointers(btf)),
            Access::Never => false,
        };
        if can_load { Location::Context { offset } } else { Location::ContextCopy { offset } }
    }

    /// What a C type's words mean: `unsigned long`, `struct sock *`, `pid_t`. Pointers point into `space`.
    pub(crate) fn c_type(&self, text: &str, space: Space) -> Option<Type> {
        let text = text.trim();
        if let Some(pointed) = text.strip_suffix('*') {
            let to = self.c_type(pointed, space).unwrap_or(Type::Void);
            return Some(Type::pointer(to, space));
        }
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "struct" => self.struct_named(StructKind::Struct, rest).map(Type::Struct),
            "union" => self.struct_named(StructKind::Union, rest).map(Type::Struct),
            "enum" => self.enum_named(rest).map(Type::Enum),
            "void" => Some(Type::Void),
            _ => self.type_named(text),
        }
    }
}

/// C's base types and the names that mean the same in every kernel. Compound names have their words sorted.
fn base_type(name: &str) -> Option<Type> {
    let mut words: Vec<&str> = name.split_whitespace().collect();
    words.sort_unstable();
    let (bytes, signed) = match words.join(" ").as_str() {
        "bool" | "_Bool" => return Some(Type::Bool),
        "char" | "char signed" | "s8" | "__s8" | "int8_t" => (1, true),
        "char unsigned" | "u8" | "__u8" | "uint8_t" | "u_char" | "unchar" => (1, false),
        "short" | "int short" | "short signed" | "int short signed" | "s16" | "__s16" | "int16_t" => (2, true),
        "short unsigned" | "int short unsigned" | "u16" | "__u16" | "uint16_t" | "u_short" | "ushort" => (2, false),
        "int" | "signed" | "int signed" | "s32" | "__s32" | "int32_t" | "pid_t" => (4, true),
        "unsigned" | "int unsigned" | "u32" | "__u32" | "uint32_t" | "uint" | "u_int" | "uid_t" | "gid_t" => (4, false),
        "__be16" | "__le16" | "__sum16" => (2, false),
        "__be32" | "__le32" | "__wsum" => (4, false),
        "__be64" | "__le64" => (8, false),
        "long"
        | "int long"
        | "long signed"
        | "int long signed"
        | "long long"
        | "int long long"
        | "long long signed"
        | "int long long signed"
        | "s64"
        | "__s64"
        | "int64_t"
        | "ssize_t"
        | "loff_t"
        | "off_t"
        | "intptr_t"
        | "ptrdiff_t" => (8, true),
        "long unsigned"
        | "int long unsigned"
        | "long long unsigned"
        | "int long long unsigned"
        | "u64"
        | "__u64"
        | "uint64_t"
        | "size_t"
        | "uintptr_t"
        | "ulong"
        | "u_long" => (8, false),
        _ => return None,
    };
    Some(Type::Int { bytes, signed })
}

/// Names of providers that are nearly that one; the letters' case does not count.
fn near_providers(written: &str) -> Vec<String> {
    let names = PROVIDERS.iter().flat_map(|p| std::iter::once(p.name()).chain(p.aliases().iter().copied()));
    let names: Vec<(String, &str)> =
        names.filter(|name| name.len() > 2).map(|name| (name.to_ascii_lowercase(), name)).collect();
    let written = written.to_ascii_lowercase();
    let mut near = near_misses(&written, names.iter().map(|(small, _)| small.as_str()), 2);
    if near.is_empty() {
        // `asyncwatchpoint`
        near = names.iter().map(|(small, _)| small).filter(|small| written.contains(*small)).cloned().collect();
        near.sort_by_key(|name| std::cmp::Reverse(name.len()));
        near.truncate(1);
    }
    near.iter()
        .filter_map(|near| names.iter().find(|(small, _)| small == near))
        .map(|(_, name)| (*name).into())
        .collect()
}

impl Target for Machine {
    fn resolve(&self, spec: &ProbeSpec, options: &ResolveOptions) -> Result<Vec<ProbeSite>, ResolveError> {
        let providers = providers_matching(&spec.provider);
        if providers.is_empty() {
            if let Some(found) = d_names::resolve(self, spec, options) {
                return found;
            }
            let near = near_providers(&spec.provider);
            let mut error = not_found(format!("there is no probe provider `{}`", spec.provider), &near, Some(0));
            error.kind = ResolveErrorKind::UnknownProvider;
            error.label = "no such provider".to_string();
            let all: Vec<&str> = PROVIDERS.iter().map(|provider| provider.name()).collect();
            error.help.push(format!("Providers are {}.", all.join(", ")));
            return Err(error);
        }
        let mut sites = Vec::new();
        let mut first_error = None;
        for provider in providers {
            match provider.resolve(self, spec, options) {
                Ok(found) => sites.extend(found),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        match first_error {
            // Of a pattern of providers, those without such a probe are not meant.
            Some(error) if sites.is_empty() => Err(error),
            _ => Ok(self.filtered(provider::narrowed(sites, spec)?)),
        }
    }

    fn struct_named(&self, kind: StructKind, name: &str) -> Option<StructRef> {
        let wanted = match kind {
            StructKind::Struct => Kind::Struct,
            StructKind::Union => Kind::Union,
        };
        let btf = self.btf()?;
        if let Some(record) = btf.find(wanted, name) {
            return btf.struct_ref(&record);
        }
        self.module_names().iter().find_map(|module| {
            let btf = self.module_btf(module)?;
            btf.struct_ref(&btf.find(wanted, name)?)
        })
    }

    fn type_named(&self, name: &str) -> Option<Type> {
        if let Some(base) = base_type(name) {
            return Some(base);
        }
        let btf = self.btf()?;
        Some(btf.type_of(btf.find(Kind::Typedef, name)?.id))
    }

    fn enum_named(&self, name: &str) -> Option<EnumRef> {
        let btf = self.btf()?;
        btf.enum_ref(&btf.find(Kind::Enum, name).or_else(|| btf.find(Kind::Enum64, name))?)
    }

    fn fields(&self, of: &StructRef) -> Vec<Field> {
        match self.origin(of.id) {
            Some(Origin::Kernel(btf, id)) => btf.members(id),
            Some(Origin::Program(info)) => info.members(of.id),
            None => Vec::new(),
        }
    }

    fn enumerators(&self, of: &EnumRef) -> Vec<(Arc<str>, i64)> {
        match self.origin(of.id) {
            Some(Origin::Kernel(btf, id)) => btf.enumerators_of(id),
            Some(Origin::Program(info)) => info.enumerators_of(of.id),
            None => Vec::new(),
        }
    }

    fn enumerator(&self, name: &str) -> Option<(i64, EnumRef)> {
        self.btf()?.enumerator_named(name)
    }

    fn kernel_symbol(&self, name: &str) -> Option<u64> {
        let mut known = self.addresses.lock().expect("no holder panics");
        if let Some(address) = known.get(name) {
            return *address;
        }
        let address = symbols::address_of(name).ok().flatten();
        known.insert(name.to_string(), address);
        address
    }

    fn cgroup_id(&self, path: &str) -> Option<u64> {
        // The id is the number of the directory's inode, on 64-bit kernels (fs/kernfs/dir.c).
        std::fs::metadata(path).ok().filter(std::fs::Metadata::is_dir).map(|found| found.ino())
    }

    fn process_namespace(&self) -> Option<ProcessNamespace> {
        *self.process_namespace.get_or_init(system::process_namespace)
    }

    fn allocation_flags(&self) -> Flags {
        let read =
            || self.tracefs().ok().and_then(|tracefs| allocation::flags(tracefs).ok()).unwrap_or_default().into();
        self.allocation_flags.get_or_init(read).clone()
    }

    fn tick_rate(&self) -> Option<i64> {
        system::tick_rate()
    }

    fn most_cpus(&self) -> Option<i64> {
        system::most_cpus()
    }

    fn has_kernel_function(&self, name: &str) -> bool {
        self.btf().is_some_and(|btf| btf.find(Kind::Func, name).is_some())
    }

    fn kernel_call(&self, name: &str) -> Option<u32> {
        Some(self.btf()?.find(Kind::Func, name)?.id)
    }

    fn has(&self, feature: Feature) -> bool {
        let answer = self.features.has(feature, || self.btf().map(Arc::as_ref));
        // Who may load nothing cannot ask: what is missing then is the privilege, which loading names.
        let is_assumed = match feature {
            Feature::Helper(_) => true,
            Feature::Trampolines | Feature::Iterators => self.is_for_compiling,
            _ => false,
        };
        answer || is_assumed && self.features.may_not_load()
    }

    fn type_names(&self) -> Vec<(TypeTag, String)> {
        let Some(btf) = self.btf() else { return Vec::new() };
        let tagged = btf.records().filter_map(|record| {
            let tag = match record.kind {
                Kind::Struct => TypeTag::Struct,
                Kind::Union => TypeTag::Union,
                Kind::Enum | Kind::Enum64 => TypeTag::Enum,
                Kind::Typedef => TypeTag::Plain,
                _ => return None,
            };
            let name = btf.name(&record);
            (!name.is_empty()).then(|| (tag, name.to_string()))
        });
        tagged.collect()
    }

    fn possible_cpus(&self) -> u32 {
        *self.possible_cpus.get_or_init(|| {
            // Without /sys the number of online processors is the best guess; too few of them would lose counts.
            let fallback = || std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
            system::possible_cpus().ok().and_then(|cpus| cpus.into_iter().max()).map_or_else(fallback, |cpu| cpu + 1)
        })
    }

    fn is_in_reach(&self, site: &ProbeSite, pid: u32) -> Option<bool> {
        match &site.attach {
            Attach::Uprobe { path, .. } => has_mapped(pid, path),
            _ => None,
        }
    }

    fn program_type(&self, site: &ProbeSite, tag: TypeTag, name: &str) -> Option<Type> {
        uprobe::type_named(self, site, tag, name)
    }

    fn program_enumerator(&self, site: &ProbeSite, name: &str) -> Option<(i64, EnumRef)> {
        uprobe::enumerator_named(self, site, name)
    }

    fn program_struct_names(&self, site: &ProbeSite) -> Vec<String> {
        uprobe::struct_names(self, site)
    }

    fn program_symbol(&self, site: &ProbeSite, name: &str) -> Result<ProgramSymbol, Absence> {
        uprobe::symbol_named(self, site, name)
    }

    fn is_alias(&self, site: &ProbeSite, name: &str) -> bool {
        let Attach::Uprobe { path, offset, .. } = &site.attach else { return false };
        let mut known = self.named_offsets.lock().expect("no holder panics");
        let offsets = known.entry((path.clone(), name.to_string())).or_insert_with(|| uprobe::offsets_of(path, name));
        offsets.contains(offset)
    }

    fn absence(&self, site: &ProbeSite, argument: Option<&str>) -> Option<Absence> {
        match site.provider {
            "usdt" => usdt::absence(site, argument),
            "fexit" => fentry::absent::absence(site),
            _ => uprobe::absence(self, site, argument),
        }
    }
}

impl Machine {
    /// tracefs, or why a specification that needs it can't be resolved.
    pub(crate) fn tracefs_for(&self, provider: &str) -> Result<&Tracefs, ResolveError> {
        self.tracefs().map_err(|error| {
            if error.is_privilege() {
                let message = format!("{provider} needs to read /sys/kernel/tracing, which is not permitted");
                return no_privilege(message, "the capability CAP_DAC_READ_SEARCH", Some(0));
            }
            ResolveError {
                kind: ResolveErrorKind::Unsupported,
                message: format!("{provider} needs tracefs, which is not mounted ({error})"),
                label: "no tracing file system".to_string(),
                help: vec!["Mount it: mount -t tracefs tracefs /sys/kernel/tracing".to_string()],
                part: Some(0),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_types_in_any_order_of_words() {
        let machine = Machine::new();
        assert_eq!(machine.type_named("long unsigned int"), Some(Type::U64));
        assert_eq!(machine.type_named("unsigned long"), Some(Type::U64));
        assert_eq!(machine.c_type("char * *", Space::User).map(|ty| ty.to_string()), Some("int8 * *".to_string()));
    }

    #[test]
    fn a_new_machine_opens_nothing() {
        let started = std::time::Instant::now();
        let machine = Machine::new();
        let spec = ProbeSpec::parse("begin", Default::default());
        let sites = machine.resolve(&spec, &ResolveOptions::default()).unwrap();
        println!("BEGIN resolved after {:?}", started.elapsed());
        assert_eq!(&*sites[0].name, "begin");
        assert!(machine.btf.get().is_none() && machine.tracefs.get().is_none());
    }
}
