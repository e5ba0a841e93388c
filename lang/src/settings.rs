//! The settings of a script: what its config block and the command line decide, and one row for each name that the block
//! may have. Messages and the documentation follow from the rows.

use crate::ast::ExprKind;
use crate::limits::{DEFAULT_MAX_CAT_BYTES, DEFAULT_MAX_MAP_KEYS, DEFAULT_MAX_STRLEN, LARGEST_MAX_STRLEN, MAX_PROBES};
use crate::types::StackMode;

/// What the config block and the command line decide.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    pub max_map_keys: u64,
    pub max_strlen: u32,
    pub max_cat_bytes: u64,
    pub print_maps_on_exit: bool,
    pub missing_probes: MissingProbes,
    pub stack_mode: StackMode,
    pub show_debug_info: bool,
    pub cpp_demangle: bool,
    /// Probes that the script may attach to.
    pub max_probes: u64,
    /// Programs that it may load.
    pub max_bpf_progs: u64,
    /// What is printed behind a string that was cut at max_strlen.
    pub str_trunc_trailer: String,
    /// Pages of the buffer through which events travel; 0 leaves its size to the compiler.
    pub perf_rb_pages: u32,
}

/// What becomes of a probe that this machine does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MissingProbes {
    #[default]
    Error,
    Warn,
    Ignore,
}

impl MissingProbes {
    const ALL: [MissingProbes; 3] = [MissingProbes::Error, MissingProbes::Warn, MissingProbes::Ignore];

    /// As scripts write it.
    pub fn name(self) -> &'static str {
        match self {
            MissingProbes::Error => "error",
            MissingProbes::Warn => "warn",
            MissingProbes::Ignore => "ignore",
        }
    }

    pub fn named(name: &str) -> Option<MissingProbes> {
        MissingProbes::ALL.into_iter().find(|chosen| chosen.name() == name)
    }
}

impl Settings {
    /// The room of a string that is read: one byte more than strings have, which tells that it was cut, and the NUL. The largest,
    /// as large as keys may be, have neither.
    pub fn string_bytes(&self) -> u32 {
        (self.max_strlen + 2).min(LARGEST_MAX_STRLEN)
    }

    /// The room of a text that rtrace gives and that max_strlen does not bound: not the room of strings that may have been cut.
    pub fn room_of(&self, text: &str) -> u32 {
        let room = text.len() as u32 + 1;
        room + u32::from(room == self.string_bytes())
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_map_keys: DEFAULT_MAX_MAP_KEYS,
            max_strlen: DEFAULT_MAX_STRLEN,
            max_cat_bytes: DEFAULT_MAX_CAT_BYTES,
            print_maps_on_exit: true,
            missing_probes: MissingProbes::default(),
            stack_mode: StackMode::default(),
            show_debug_info: false,
            cpp_demangle: true,
            max_probes: MAX_PROBES as u64,
            max_bpf_progs: MAX_PROBES as u64,
            str_trunc_trailer: "..".to_string(),
            perf_rb_pages: 0,
        }
    }
}

/// A row of the table.
#[derive(Debug)]
pub struct Setting {
    pub name: &'static str,
    /// The values that it has, as a message names them.
    pub takes: &'static str,
    pub doc: &'static str,
    /// Sets it; false for a value that it does not take.
    pub set: fn(&mut Settings, &ExprKind) -> bool,
    /// Its value, as a script writes it.
    pub written: fn(&Settings) -> String,
}

pub static SETTINGS: &[Setting] = &[
    Setting {
        name: "cpp_demangle",
        takes: "true or false",
        doc: "Whether functions of programs are named as their source has them.",
        set: |settings, value| truth(value).map(|on| settings.cpp_demangle = on).is_some(),
        written: |settings| settings.cpp_demangle.to_string(),
    },
    Setting {
        name: "max_cat_bytes",
        takes: "a number of bytes",
        doc: "The most that `cat()` prints of a file.",
        set: |settings, value| number(value, 0, u64::MAX).map(|n| settings.max_cat_bytes = n).is_some(),
        written: |settings| settings.max_cat_bytes.to_string(),
    },
    Setting {
        name: "max_map_keys",
        takes: "a number from 1 to 4294967295",
        doc: "Entries of each map with keys that has no declaration.",
        set: |settings, value| number(value, 1, u32::MAX.into()).map(|n| settings.max_map_keys = n).is_some(),
        written: |settings| settings.max_map_keys.to_string(),
    },
    Setting {
        name: "max_bpf_progs",
        takes: "a number of 1 or more",
        doc: "Programs that the script may load: one for each clause, and more where a clause has probes of several kinds.",
        set: |settings, value| number(value, 1, u64::MAX).map(|n| settings.max_bpf_progs = n).is_some(),
        written: |settings| settings.max_bpf_progs.to_string(),
    },
    Setting {
        name: "max_probes",
        takes: "a number from 1 to 65536",
        doc: "Probes that the script may attach to.",
        set: |settings, value| number(value, 1, MAX_PROBES as u64).map(|n| settings.max_probes = n).is_some(),
        written: |settings| settings.max_probes.to_string(),
    },
    Setting {
        name: "max_strlen",
        takes: "a number from 1 to 65536",
        doc: "Bytes that `str()` and `buf()` read where the script does not say; the NUL counts.",
        set: |settings, value| {
            number(value, 1, LARGEST_MAX_STRLEN.into()).map(|n| settings.max_strlen = n as u32).is_some()
        },
        written: |settings| settings.max_strlen.to_string(),
    },
    Setting {
        name: "missing_probes",
        takes: "error, warn or ignore",
        doc: "What becomes of a probe that the machine does not have: the script is refused, or runs without it.",
        set: |settings, value| {
            let found = word(value).and_then(MissingProbes::named);
            found.map(|chosen| settings.missing_probes = chosen).is_some()
        },
        written: |settings| settings.missing_probes.name().to_string(),
    },
    Setting {
        name: "perf_rb_pages",
        takes: "a number from 0 to 65536",
        doc: "Pages of 4 KiB of the buffer through which events travel, as a power of two; 0 is 1024, or 64 where only BEGIN, END and \
              timers print, and more where four of the script's largest records take more. There is room for one in any case.",
        set: |settings, value| number(value, 0, 65536).map(|n| settings.perf_rb_pages = n as u32).is_some(),
        written: |settings| settings.perf_rb_pages.to_string(),
    },
    Setting {
        name: "print_maps_on_exit",
        takes: "true or false",
        doc: "Whether all maps are printed when the script ends.",
        set: |settings, value| truth(value).map(|on| settings.print_maps_on_exit = on).is_some(),
        written: |settings| settings.print_maps_on_exit.to_string(),
    },
    Setting {
        name: "show_debug_info",
        takes: "true or false",
        doc: "Whether frames of processes are shown with their lines of source code, and with the functions that were inlined there.",
        set: |settings, value| truth(value).map(|on| settings.show_debug_info = on).is_some(),
        written: |settings| settings.show_debug_info.to_string(),
    },
    Setting {
        name: "stack_mode",
        takes: "bpftrace, perf, raw or build_id",
        doc: "How stacks are printed where the script does not say.",
        set: |settings, value| word(value).and_then(StackMode::named).map(|mode| settings.stack_mode = mode).is_some(),
        written: |settings| settings.stack_mode.name().to_string(),
    },
    Setting {
        name: "str_trunc_trailer",
        takes: "a string",
        doc: "What is printed behind a string that was cut at `max_strlen`.",
        set: |settings, value| text(value).map(|text| settings.str_trunc_trailer = text).is_some(),
        written: |settings| settings.str_trunc_trailer.clone(),
    },
];

/// A setting of bpftrace that changes nothing here: scripts may have it.
#[derive(Debug)]
pub struct Idle {
    pub name: &'static str,
    pub takes: &'static str,
    /// Why it decides nothing.
    pub why: &'static str,
    pub fits: fn(&ExprKind) -> bool,
}

const LICENSES: [&str; 6] =
    ["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"];

pub static IDLE: &[Idle] = &[
    Idle {
        name: "cache_user_symbols",
        takes: "PER_PID, PER_PROGRAM or NONE",
        why: "Programs of one file share their symbols always.",
        fits: |value| is_one_of(value, &["PER_PID", "PER_PROGRAM", "NONE"]),
    },
    Idle {
        name: "lazy_symbolication",
        takes: "true or false",
        why: "Names are looked up when they are shown, of processes that end before that when they end.",
        fits: |value| truth(value).is_some(),
    },
    Idle {
        name: "license",
        takes: "one of the licenses that the kernel counts as GPL, such as \"GPL\"",
        why: "Programs are loaded as GPL, which all of these are to the kernel.",
        fits: |value| is_one_of(value, &LICENSES),
    },
    Idle {
        name: "log_size",
        takes: "a number of bytes",
        why: "The verifier's log is read whole.",
        fits: |value| number(value, 0, u64::MAX).is_some(),
    },
    Idle {
        name: "on_stack_limit",
        takes: "a number of bytes",
        why: "What is large is kept beside the stack by itself.",
        fits: |value| number(value, 0, u64::MAX).is_some(),
    },
    Idle { name: "unstable_dw_ustack", takes: STABILITY, why: "It is part of the language.", fits: is_stability },
    Idle {
        name: "unstable_import_statement",
        takes: STABILITY,
        why: "It is part of the language.",
        fits: is_stability,
    },
    Idle { name: "unstable_tseries", takes: STABILITY, why: "It is part of the language.", fits: is_stability },
    Idle { name: "unstable_typeinfo", takes: STABILITY, why: "It is part of the language.", fits: is_stability },
    Idle {
        name: "use_blazesym",
        takes: "true or false",
        why: "There is one way to look up symbols.",
        fits: |value| truth(value).is_some(),
    },
];

const STABILITY: &str = "enable, warn or error";

fn is_stability(value: &ExprKind) -> bool {
    is_one_of(value, &["enable", "warn", "error"])
}

fn is_one_of(value: &ExprKind, words: &[&str]) -> bool {
    word(value).is_some_and(|word| words.contains(&word))
}

/// Settings that bpftrace once had: a script that still has them gets a warning.
pub const BYGONE: &[&str] = &[
    "max_type_res_iterations",
    "symbol_source",
    "unstable_addr",
    "unstable_import",
    "unstable_macro",
    "unstable_map_decl",
];

/// Names that settings once had in bpftrace, and what they are called now.
pub const RENAMED: &[(&str, &str)] = &[
    ("cat_bytes_max", "max_cat_bytes"),
    ("map_keys_max", "max_map_keys"),
    ("no_cpp_demangle", "cpp_demangle"),
    ("strlen", "max_strlen"),
];

/// Every name that a config block may have.
pub fn names() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|setting| setting.name).chain(IDLE.iter().map(|idle| idle.name))
}

/// What begins the names of settings in the environment.
const PREFIXES: [&str; 2] = ["BPFTRACE_", "RTRACE_"];

/// A setting of the environment, which goes before that of the script.
#[derive(Clone, PartialEq, Debug)]
pub struct Override {
    name: &'static str,
    value: ExprKind,
}

impl Override {
    pub fn apply(&self, settings: &mut Settings) {
        if let Some(setting) = SETTINGS.iter().find(|setting| setting.name == self.name) {
            (setting.set)(settings, &self.value);
        }
    }
}

/// The settings among the variables of an environment (`BPFTRACE_MAX_STRLEN=200`), or what is wrong with one.
pub fn of_environment(variables: impl Iterator<Item = (String, String)>) -> Result<Vec<Override>, String> {
    let mut found = Vec::new();
    for (variable, text) in variables {
        let Some(name) = PREFIXES.iter().find_map(|prefix| variable.strip_prefix(prefix)) else { continue };
        let name = name.to_ascii_lowercase();
        let value = match (text.parse(), text.parse()) {
            (Ok(n), _) => ExprKind::Int(n),
            (_, Ok(on)) => ExprKind::Bool(on),
            (Err(_), Err(_)) => ExprKind::Ident(text.clone()),
        };
        let setting = SETTINGS.iter().find(|setting| setting.name == name);
        let idle = IDLE.iter().find(|idle| idle.name == name);
        let (takes, fits) = match (setting, idle) {
            (Some(setting), _) => (setting.takes, (setting.set)(&mut Settings::default(), &value)),
            (None, Some(idle)) => (idle.takes, (idle.fits)(&value)),
            (None, None) => continue,
        };
        if !fits {
            return Err(format!("{variable} is {takes}, not `{text}`"));
        }
        found.extend(setting.map(|setting| Override { name: setting.name, value }));
    }
    Ok(found)
}

/// A text, or what of the environment looks like something else.
fn text(value: &ExprKind) -> Option<String> {
    match value {
        ExprKind::Str(text) => Some(String::from_utf8_lossy(text).into_owned()),
        ExprKind::Ident(word) => Some(word.clone()),
        ExprKind::Int(number) => Some(number.to_string()),
        ExprKind::Bool(on) => Some(on.to_string()),
        _ => None,
    }
}

fn number(value: &ExprKind, least: u64, most: u64) -> Option<u64> {
    match value {
        ExprKind::Int(n) if (least..=most).contains(n) => Some(*n),
        _ => None,
    }
}

fn truth(value: &ExprKind) -> Option<bool> {
    match value {
        ExprKind::Bool(on) => Some(*on),
        ExprKind::Int(n) if *n < 2 => Some(*n == 1),
        _ => None,
    }
}

/// A bare word, or a word in quotes.
fn word(value: &ExprKind) -> Option<&str> {
    match value {
        ExprKind::Ident(word) => Some(word),
        ExprKind::Str(text) => std::str::from_utf8(text).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_takes_its_own_default() {
        for setting in SETTINGS {
            let written = (setting.written)(&Settings::default());
            let value = match (written.parse(), written.parse()) {
                (Ok(n), _) => ExprKind::Int(n),
                (_, Ok(on)) => ExprKind::Bool(on),
                (Err(_), Err(_)) => ExprKind::Ident(written),
            };
            let mut settings = Settings::default();
            assert!((setting.set)(&mut settings, &value), "{}", setting.name);
            assert_eq!(settings, Settings::default(), "{}", setting.name);
        }
    }

    #[test]
    fn settings_of_the_environment() {
        let read = |name: &str, value: &str| of_environment([(name.to_string(), value.to_string())].into_iter());
        let set = |name: &str, value: &str| {
            let mut settings = Settings::default();
            read(name, value).unwrap().iter().for_each(|found| found.apply(&mut settings));
            settings
        };
        assert_eq!(set("BPFTRACE_MAX_STRLEN", "200").max_strlen, 200);
        assert_eq!(set("RTRACE_STACK_MODE", "perf").stack_mode, StackMode::Perf);
        assert!(!set("BPFTRACE_PRINT_MAPS_ON_EXIT", "0").print_maps_on_exit);
        assert_eq!(set("BPFTRACE_LOG_SIZE", "4096"), Settings::default());
        assert!(read("BPFTRACE_LOG_SIZE", "none").is_err());
        assert_eq!(set("MAX_STRLEN", "200"), Settings::default());
        let wrong = read("BPFTRACE_MAX_STRLEN", "many").unwrap_err();
        assert_eq!(wrong, "BPFTRACE_MAX_STRLEN is a number from 1 to 65536, not `many`");
    }

    #[test]
    fn the_bounds_are_those_that_are_told() {
        let set = |name: &str, n: u64| {
            let setting = SETTINGS.iter().find(|setting| setting.name == name).expect("a row");
            (setting.set)(&mut Settings::default(), &ExprKind::Int(n))
        };
        assert!(set("max_strlen", 1) && set("max_strlen", 65_536));
        assert!(!set("max_strlen", 0) && !set("max_strlen", 65_537));
        assert!(set("max_map_keys", 4_294_967_295) && !set("max_map_keys", 4_294_967_296));
        assert!(!set("print_maps_on_exit", 2));
    }
}
