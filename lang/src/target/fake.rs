//! A machine that is described by a text: for tests and fuzzing, which must not depend on the kernel they run on. Does no
//! IO; the text comes from the caller. Its sites have layouts of the same shape as those of the real providers.
//!
//! The text has one entry a line, `#` begins a comment, and indented lines belong to the entry above them. Numbers are
//! decimal or, with `0x`, hexadecimal. A type is C's words or the language's, then stars, then a length in brackets.
//!
//! ```text
//! cpus 4
//! feature Kprobes UprobeMulti Helper(174)       names of `Feature`
//! symbol jiffies 0xffffffff82000000             name and address of a kernel symbol
//! typedef pid_t int                             a name, and the type that it means
//! enum pid_type unsigned int                    its name and the integer that holds it
//!     PIDTYPE_PID 0                             an enumerator and its value
//! struct task_struct 9792                       its name and bytes; `union` the same
//!     1264 pid_t pid                            offset in bytes, type, name
//!     48:3+2 unsigned int policy                a bit field: its unit's offset, the first bit in it, and its width
//!     16 union .addresses                       anonymous members are structs whose names begin with a dot
//! function vfs_read(struct file * file, size_t count) long
//! function nfs:nfs_read(void * data) int        in a module
//! tracepoint sched:sched_switch 316             category, event, and the number of its record
//!     8 char[16] prev_comm                      offset in the record, type, name
//!     24 data_loc name                          text of a length that only the record knows; also `rel_loc`
//! syscall openat 257 (int dfd, char * filename) number and arguments; makes sys_enter_openat and sys_exit_openat
//! rawtracepoint sched_switch(bool preempt, struct task_struct * prev)
//! binary /usr/bin/app                           a program
//!     0x1140 main                               file offset and name of a function
//! ```

mod read;
mod resolve;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Argument, Feature, ProbeSite, ResolveError, ResolveOptions, Target, TypeTag};
use crate::probe::ProbeSpec;
use crate::types::{EnumRef, Field, StructKind, StructRef, Type};

pub use read::BadDescription;

/// The machine of a description.
#[derive(Clone, Debug, Default)]
pub struct FakeTarget {
    cpus: u32,
    features: BTreeSet<Feature>,
    symbols: Vec<(String, u64)>,
    typedefs: Vec<(String, Type)>,
    enums: Vec<FakeEnum>,
    structs: Vec<FakeStruct>,
    functions: Vec<FakeFunction>,
    tracepoints: Vec<FakeTracepoint>,
    syscalls: Vec<FakeSyscall>,
    raw_tracepoints: Vec<FakeFunction>,
    binaries: Vec<FakeBinary>,
}

#[derive(Clone, Debug)]
struct FakeEnum {
    of: EnumRef,
    members: Vec<(Arc<str>, i64)>,
}

#[derive(Clone, Debug)]
struct FakeStruct {
    of: StructRef,
    fields: Vec<Field>,
}

/// A kernel function, or the traced code of a raw tracepoint.
#[derive(Clone, Debug)]
struct FakeFunction {
    module: Option<String>,
    name: String,
    parameters: Vec<(Arc<str>, Type)>,
    returns: Type,
    /// The number that a typed program attaches to.
    btf_id: u32,
}

#[derive(Clone, Debug)]
struct FakeTracepoint {
    category: String,
    event: String,
    id: u32,
    arguments: Vec<Argument>,
}

#[derive(Clone, Debug)]
struct FakeSyscall {
    name: String,
    number: u64,
    parameters: Vec<(Arc<str>, Type)>,
}

#[derive(Clone, Debug)]
struct FakeBinary {
    path: String,
    /// File offset and name.
    functions: Vec<(u64, String)>,
}

impl FakeTarget {
    /// Reads a description.
    pub fn parse(text: &str) -> Result<FakeTarget, BadDescription> {
        read::read(text)
    }

    /// The same machine with a feature more or less.
    pub fn with_feature(mut self, feature: Feature, has: bool) -> FakeTarget {
        if has {
            self.features.insert(feature);
        } else {
            self.features.remove(&feature);
        }
        self
    }
}

impl Target for FakeTarget {
    fn resolve(&self, spec: &ProbeSpec, options: &ResolveOptions) -> Result<Vec<ProbeSite>, ResolveError> {
        resolve::resolve(self, spec, options)
    }

    fn struct_named(&self, kind: StructKind, name: &str) -> Option<StructRef> {
        self.structs.iter().find(|found| found.of.kind == kind && *found.of.name == *name).map(|found| found.of.clone())
    }

    fn type_named(&self, name: &str) -> Option<Type> {
        self.typedefs.iter().find(|(known, _)| known == name).map(|(_, ty)| ty.clone())
    }

    fn enum_named(&self, name: &str) -> Option<EnumRef> {
        self.enums.iter().find(|found| *found.of.name == *name).map(|found| found.of.clone())
    }

    fn fields(&self, of: &StructRef) -> Vec<Field> {
        self.structs.iter().find(|found| found.of.id == of.id).map_or_else(Vec::new, |found| found.fields.clone())
    }

    fn enumerators(&self, of: &EnumRef) -> Vec<(Arc<str>, i64)> {
        self.enums.iter().find(|found| found.of.id == of.id).map_or_else(Vec::new, |found| found.members.clone())
    }

    fn enumerator(&self, name: &str) -> Option<(i64, EnumRef)> {
        self.enums.iter().find_map(|found| {
            let (_, value) = found.members.iter().find(|(known, _)| **known == *name)?;
            Some((*value, found.of.clone()))
        })
    }

    fn kernel_symbol(&self, name: &str) -> Option<u64> {
        self.symbols.iter().find(|(known, _)| known == name).map(|(_, address)| *address)
    }

    fn cgroup_id(&self, path: &str) -> Option<u64> {
        (path == "/sys/fs/cgroup").then_some(1)
    }

    fn has_kernel_function(&self, name: &str) -> bool {
        self.symbols.iter().any(|(known, _)| known == name)
    }

    fn kernel_call(&self, _name: &str) -> Option<u32> {
        Some(1)
    }

    fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    fn type_names(&self) -> Vec<(TypeTag, String)> {
        let structs = self.structs.iter().filter(|found| !found.of.name.is_empty());
        let structs = structs.map(|found| (found.of.kind.into(), found.of.name.to_string()));
        let enums = self.enums.iter().map(|found| (TypeTag::Enum, found.of.name.to_string()));
        let typedefs = self.typedefs.iter().map(|(name, _)| (TypeTag::Plain, name.clone()));
        structs.chain(enums).chain(typedefs).collect()
    }

    fn possible_cpus(&self) -> u32 {
        self.cpus
    }
}

#[cfg(test)]
mod tests;
