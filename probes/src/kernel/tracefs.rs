//! The tracing file system: which events there are, their numbers and the layout of their records. Reads files and
//! parses them; knows neither the language's types nor any provider. Never writes to it. Format files:
//! Documentation/trace/events.rst.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use super::KernelError;
use super::functions::FunctionList;
use super::system;

/// Where it is mounted; the second place is the one of kernels before 4.1 and of habit.
const MOUNT_POINTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

pub struct Tracefs {
    root: PathBuf,
    /// Names of the events of each category that was asked for, sorted.
    events: Mutex<HashMap<String, Arc<[String]>>>,
    categories: OnceLock<Vec<String>>,
    dynamic_events: OnceLock<Vec<String>>,
}

impl Tracefs {
    /// The mounted tracefs; mounts it where it is not and the caller may. Takes a few microseconds otherwise.
    pub fn open() -> Result<Tracefs, KernelError> {
        let mut denied = None;
        for point in MOUNT_POINTS {
            match Path::new(point).join("events").metadata() {
                Ok(_) => return Ok(Tracefs::at(point)),
                Err(error) if system::is_denied(&error) => denied = Some((point, error)),
                Err(_) => {}
            }
        }
        if let Some((point, source)) = denied {
            return Err(KernelError::File { path: point.into(), source });
        }
        let point = Path::new(MOUNT_POINTS[0]);
        system::mount("tracefs", point)?;
        match point.join("events").metadata() {
            Ok(_) => Ok(Tracefs::at(MOUNT_POINTS[0])),
            Err(source) => Err(KernelError::File { path: point.join("events"), source }),
        }
    }

    fn at(root: &str) -> Tracefs {
        Tracefs {
            root: root.into(),
            events: Mutex::new(HashMap::new()),
            categories: OnceLock::new(),
            dynamic_events: OnceLock::new(),
        }
    }

    /// Categories of events (`sched`, `syscalls`), sorted.
    pub fn categories(&self) -> Result<&[String], KernelError> {
        if let Some(known) = self.categories.get() {
            return Ok(known);
        }
        let found = directories(&self.root.join("events"))?;
        Ok(self.categories.get_or_init(|| found))
    }

    /// The events of a category, sorted; None where there is no such category.
    pub fn events(&self, category: &str) -> Result<Option<Arc<[String]>>, KernelError> {
        if category.is_empty() || category.contains('/') || category.starts_with('.') {
            return Ok(None);
        }
        if let Some(known) = self.events.lock().expect("no holder panics").get(category) {
            return Ok(Some(known.clone()));
        }
        let found: Arc<[String]> = match directories(&self.root.join("events").join(category)) {
            Ok(found) => found.into(),
            Err(KernelError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        self.events.lock().expect("no holder panics").insert(category.to_string(), found.clone());
        Ok(Some(found))
    }

    pub fn has_event(&self, category: &str, event: &str) -> bool {
        let plain = |name: &str| !name.is_empty() && !name.contains('/') && !name.starts_with('.');
        plain(category) && plain(event) && self.event_directory(category, event).join("format").exists()
    }

    fn event_directory(&self, category: &str, event: &str) -> PathBuf {
        self.root.join("events").join(category).join(event)
    }

    /// The event's number, which perf_event_open takes. None where the event can't be attached to (the `ftrace`
    /// category has events without that file).
    pub fn event_id(&self, category: &str, event: &str) -> Result<Option<u32>, KernelError> {
        let path = self.event_directory(category, event).join("id");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(KernelError::File { path, source }),
        }
    }

    /// The text of an event's `format` file.
    pub fn format_text(&self, category: &str, event: &str) -> Result<String, KernelError> {
        let path = self.event_directory(category, event).join("format");
        fs::read_to_string(&path).map_err(|source| KernelError::File { path, source })
    }

    /// The fields of the event's record, without those that all events have.
    pub fn format(&self, category: &str, event: &str) -> Result<Vec<FormatField>, KernelError> {
        Ok(parse_format(&self.format_text(category, event)?))
    }

    /// Categories and events that a user has made (kprobe_events, uprobe_events, synthetic_events): no tracepoint
    /// stands behind them, whatever their name.
    pub fn is_dynamic(&self, category: &str, event: &str) -> bool {
        let lines = self.dynamic_events.get_or_init(|| {
            let text = fs::read_to_string(self.root.join("dynamic_events")).unwrap_or_default();
            // `p:kprobes/name place args`, `s:synthetic/name args`
            let name = |line: &str| Some(line.split_once(':')?.1.split_whitespace().next()?.to_string());
            text.lines().filter_map(name).collect()
        });
        matches!(category, "kprobes" | "uprobes" | "eprobes" | "synthetic" | "ftrace")
            || lines.iter().any(|line| line.split_once('/') == Some((category, event)))
    }

    /// Functions that ftrace, and with it kprobes, fentry and kprobe_multi, can attach to.
    pub fn filter_functions(&self) -> Result<FunctionList, KernelError> {
        Ok(FunctionList::new(self.read("available_filter_functions")?, false))
    }

    /// The same with their addresses, which the kernel takes half as long again to write; an error before 6.5.
    pub fn filter_function_addresses(&self) -> Result<FunctionList, KernelError> {
        Ok(FunctionList::new(self.read("available_filter_functions_addrs")?, true))
    }

    fn read(&self, name: &str) -> Result<String, KernelError> {
        let path = self.root.join(name);
        fs::read_to_string(&path).map_err(|source| KernelError::File { path, source })
    }
}

/// Names of the directories in a directory, sorted.
fn directories(path: &Path) -> Result<Vec<String>, KernelError> {
    let failed = |source| KernelError::File { path: path.to_path_buf(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// How a field's data lie in the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldPlace {
    /// In place.
    Plain,
    /// A word that says where, from the start of the record.
    DataLocation,
    /// A word that says where, from the end of that word.
    RelativeLocation,
}

/// One field of an event's record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormatField {
    pub name: String,
    /// The C type without the name, the length of an array and qualifiers: `unsigned int`, `struct sock *`.
    pub type_text: String,
    /// As the kernel writes it: `char prev_comm[16]`.
    pub declaration: String,
    pub is_array: bool,
    pub place: FieldPlace,
    /// From the start of the record, bytes.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
    pub signed: bool,
}

/// The fields of a `format` file, in order; lines that don't look like one are passed over.
pub fn parse_format(text: &str) -> Vec<FormatField> {
    text.lines().filter_map(parse_field).filter(|field| !field.name.starts_with("common_")).collect()
}

/// `field:char prev_comm[16]; offset:8; size:16; signed:0;`, with tabs between the parts.
fn parse_field(line: &str) -> Option<FormatField> {
    let rest = line.trim_start().strip_prefix("field:")?;
    let mut parts = rest.split(';').map(str::trim);
    let declaration = parts.next()?;
    let (mut offset, mut size, mut signed) = (None, None, false);
    for part in parts {
        match part.split_once(':') {
            Some(("offset", number)) => offset = number.parse().ok(),
            Some(("size", number)) => size = number.parse().ok(),
            Some(("signed", number)) => signed = number == "1",
            _ => {}
        }
    }
    let (place, plain) = match declaration.split_once(' ') {
        Some(("__data_loc", rest)) => (FieldPlace::DataLocation, rest),
        Some(("__rel_loc", rest)) => (FieldPlace::RelativeLocation, rest),
        _ => (FieldPlace::Plain, declaration),
    };
    // `char name[16]`, but `__data_loc char[] name`.
    let (head, name, is_array) = if plain.ends_with(']') {
        let bracket = plain.rfind('[')?;
        let head = plain[..bracket].trim_end();
        let at = name_start(head);
        (&head[..at], &head[at..], true)
    } else {
        let at = name_start(plain);
        let head = plain[..at].trim_end();
        match head.strip_suffix(']').and_then(|head| head.rfind('[')) {
            Some(bracket) => (&head[..bracket], &plain[at..], true),
            None => (head, &plain[at..], false),
        }
    };
    let type_text = type_words(head);
    if name.is_empty() || type_text.is_empty() {
        return None;
    }
    Some(FormatField {
        name: name.to_string(),
        type_text,
        declaration: declaration.to_string(),
        is_array,
        place,
        offset: offset?,
        size: size?,
        signed,
    })
}

/// Where the identifier begins that a declaration ends with.
fn name_start(text: &str) -> usize {
    text.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |at| at + 1)
}

/// The words of a C type, one space between, without qualifiers and address spaces.
fn type_words(text: &str) -> String {
    let spaced = text.replace('*', " * ");
    let kept: Vec<&str> = spaced
        .split_whitespace()
        .filter(|word| {
            !matches!(*word, "const" | "volatile" | "restrict" | "__user" | "__rcu" | "__percpu" | "__seg_gs")
        })
        .collect();
    kept.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWITCH: &str = "name: sched_switch\nID: 372\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;\n\
        \tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;\n\
        \tfield:const struct sock *const sk;\toffset:32;\tsize:8;\tsigned:0;\n\
        \tfield:__data_loc char[] name;\toffset:40;\tsize:4;\tsigned:0;\n\
        \tfield:__rel_loc u32[] list;\toffset:44;\tsize:4;\tsigned:0;\n\
        \tfield:unsigned long args[6];\toffset:48;\tsize:48;\tsigned:0;\n\n\
        print fmt: \"prev_comm=%s\", REC->prev_comm\n";

    #[test]
    fn fields_without_the_common_ones() {
        let fields = parse_format(SWITCH);
        let all: Vec<_> =
            fields.iter().map(|f| (&f.name[..], &f.type_text[..], f.is_array, f.offset, f.size)).collect();
        assert_eq!(
            all,
            [
                ("prev_comm", "char", true, 8, 16),
                ("prev_pid", "pid_t", false, 24, 4),
                ("sk", "struct sock *", false, 32, 8),
                ("name", "char", true, 40, 4),
                ("list", "u32", true, 44, 4),
                ("args", "unsigned long", true, 48, 48),
            ]
        );
        assert_eq!(fields[0].declaration, "char prev_comm[16]");
        assert_eq!(fields[3].place, FieldPlace::DataLocation);
        assert_eq!(fields[4].place, FieldPlace::RelativeLocation);
        assert!(fields[1].signed);
    }

    #[test]
    fn odd_lines_are_passed_over() {
        assert!(parse_format("field:;\tfield\nfield:int;offset:1;\nfield:int x;size:4;").is_empty());
    }
}
