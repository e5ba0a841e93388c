//! Every kind of mistake that rtrace reports: one row each. Holds no logic beyond looking a row up.

macro_rules! codes {
    ($($variant:ident = $name:literal, $title:literal, $explanation:literal, $example:literal;)*) => {
        /// The kind of a diagnostic.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        pub enum Code {
            $($variant,)*
        }

        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// `R0042`
            pub fn name(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }

            pub fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)* }
            }

            pub fn explanation(self) -> &'static str {
                match self { $(Code::$variant => $explanation,)* }
            }

            /// A script that is refused with this code.
            pub fn example(self) -> &'static str {
                match self { $(Code::$variant => $example,)* }
            }
        }
    };
}

codes! {
    UnknownCharacter = "R0001", "unknown character",
        "The text contains a character that is no part of the language.",
        "BEGIN { print(1 § 2); }";
    UnterminatedText = "R0002", "text without an end",
        "A string, a character or a comment is opened and never closed. A string ends on its own line.",
        "BEGIN { printf(\"hi); }";
    BadNumber = "R0003", "malformed number",
        "Numbers are decimal, 0x, 0o (or a leading 0), 0b, may hold _ between digits, take an exponent (2e6), a duration (250ms) or a size (4K). There are no fractions.",
        "BEGIN { print(12abc); }";
    BadEscape = "R0004", "unknown escape",
        "Strings know \\n \\t \\r \\\" \\\\ \\' \\0, up to three octal digits and \\x with two hexadecimal digits.",
        "BEGIN { printf(\"\\q\"); }";
    Syntax = "R0005", "syntax error",
        "The words are known, but not in this order.",
        "BEGIN { if } ";
    NestedTooDeep = "R0006", "nested too deep",
        "Brackets and blocks nest to a fixed depth, and an expression has a largest length, so that no input can exhaust the tool.",
        "";
    NotYet = "R0007", "not supported yet",
        "The construct is part of the language, and this version cannot run it.",
        "BEGIN { try { print(1); } catch { print(2); } }";
    Macro = "R0009", "wrong use of a macro",
        "A macro takes the arguments that one of its forms asks for, sees only what it is given, and cannot expand to itself.",
        "macro twice(a) { a + a } BEGIN { print(twice(1, 2)); }";
    NoProbes = "R0008", "no probes",
        "A script needs at least one probe with a block.",
        "// nothing";
    UnknownName = "R0010", "unknown name",
        "A bare word must be a builtin, a constant or an enumerator.",
        "BEGIN { print(pdi); }";
    UnknownFunction = "R0011", "unknown function",
        "No builtin function has this name.",
        "BEGIN { prnt(1); }";
    UnknownVariable = "R0012", "variable used before it has a value",
        "A $variable lives in the block that first assigns it, from there on.",
        "BEGIN { print($x); }";
    UnknownField = "R0013", "no such field",
        "The struct has no member of this name. Kernels rename members and move them into other structs: where \
         this one has it under another name, in a struct inside or behind a pointer, the message names the place.",
        "BEGIN { print(curtask.com); }";
    UnknownType = "R0014", "unknown type",
        "The kernel's BTF and the script know no type of this name.",
        "BEGIN { print(sizeof(struct no_such_struct)); }";
    UnknownMap = "R0015", "map is never assigned",
        "A map gets its type from an assignment somewhere in the script.",
        "BEGIN { print(@nothing); }";
    Arguments = "R0020", "wrong arguments",
        "The function takes another number or other types of arguments.",
        "BEGIN { @ = hist(); }";
    TypeMismatch = "R0021", "types do not fit",
        "The operation needs another type, or two uses of a name disagree about its type.",
        "BEGIN { @x = 1; @x = \"a\"; }";
    KeyMismatch = "R0022", "keys do not fit",
        "All uses of a map take the same number and types of keys.",
        "BEGIN { @x[1] = 1; @x = 1; }";
    Format = "R0023", "format and arguments disagree",
        "Each conversion of a format string takes one argument of its kind.",
        "BEGIN { printf(\"%d %d\\n\", 1); }";
    AggregationPlace = "R0024", "aggregation out of place",
        "count(), sum(), hist() and their kin stand alone on the right side of an assignment to a map.",
        "BEGIN { $x = count(); }";
    NotConstant = "R0025", "not a constant",
        "This argument must be known when the script is compiled.",
        "BEGIN { $a = rand; @ = lhist(1, 0, $a, 1); }";
    NotAssignable = "R0026", "cannot be assigned",
        "Only $variables and @maps can be assigned.",
        "BEGIN { pid = 1; }";
    BadValue = "R0027", "value out of range",
        "The value is outside what the operation takes.",
        "BEGIN { @ = lhist(1, 10, 0, 1); }";
    NotInLoop = "R0028", "outside a loop",
        "break and continue belong into a loop.",
        "BEGIN { break; }";
    Recursion = "R0029", "a function that calls itself",
        "The kernel's stack for programs is small, so functions do not call themselves, directly or through others.",
        "fn f($n: int64): int64 { return f($n - 1); } BEGIN { print(f(3)); }";
    UnknownProvider = "R0030", "unknown provider",
        "The first part of a probe names its provider: kprobe, tracepoint, uprobe and so on.",
        "kprob:vfs_read { }";
    ProbeForm = "R0031", "malformed probe",
        "Each provider takes its own number and form of parts.",
        "tracepoint:sched { }";
    ProbeNotFound = "R0032", "no such probe",
        "Nothing on this machine matches the probe.",
        "tracepoint:syscalls:sys_enter_raed { }";
    ProbeUnsupported = "R0033", "the kernel cannot do it",
        "The running kernel lacks what the probe or the builtin needs.",
        "kprobe:vfs_read { print(arg0); }";
    Privilege = "R0034", "privilege missing",
        "Tracing takes CAP_BPF and CAP_PERFMON, or root.",
        "";
    NotHere = "R0035", "not available in this probe",
        "The builtin has no value in probes of this kind.",
        "BEGIN { print(arg0); }";
    TooManyProbes = "R0036", "too many probes",
        "A wildcard matches more probes than one script may attach to, or the script takes more programs than it may load.",
        "";
    Unsafe = "R0037", "unsafe action",
        "What changes the system needs --unsafe.",
        "BEGIN { system(\"ls\"); }";
    TooLarge = "R0040", "too large",
        "A value, a key or a program does not fit the kernel's limits.",
        "";
    DeclaredTwice = "R0041", "declared twice",
        "A map, a function or a variable of a block is declared once.",
        "let @m = hash(10); let @m = hash(20); BEGIN { @m[1] = 1; }";
    Refused = "R0042", "program that the kernel refuses",
        "The verifier of the kernel takes no program in which it cannot see that all is safe. What rtrace makes should always be such a program: a refusal is a bug of rtrace. `--bug-report FILE` writes what a report of it needs.",
        "";
    AttachFailed = "R0043", "probe that the kernel does not attach to",
        "The program is loaded, and the kernel does not let it be attached to a probe that is there: a privilege or a device may be missing, or the kernel protects the function.",
        "";
    Unused = "R0050", "no effect",
        "The statement computes a value and drops it.",
        "BEGIN { 1 + 1; }";
    UnusedVariable = "R0054", "variable that is never read",
        "The variable gets values and nothing reads one. Often a name is misspelt, or the line that used it is gone. A name that begins with an underscore is not asked about.",
        "BEGIN { $count = 5; }";
    NeverTrue = "R0055", "predicate that is never true",
        "The predicate is false whatever happens, so that the clause never runs.",
        "BEGIN /1 > 2/ { print(1); }";
    LeftBehind = "R0056", "entries that are left behind",
        "A time is kept for each thread and never taken out: threads that end leave theirs behind, until the map is full.",
        "kprobe:vfs_read { @start[tid] = nsecs; } kretprobe:vfs_read /@start[tid]/ { @ = hist(nsecs - @start[tid]); }";
    PrintsOften = "R0057", "output that comes too often to be read",
        "`--check-rate` has counted how often the statement would print. What is printed for each event costs much more than what is counted in a map, and may be lost. Count in a map and print that, choose events by a predicate, or print one of many.",
        "";
    MixedSigns = "R0058", "comparison of signed with unsigned",
        "One side is a uint64, and so the comparison is unsigned, as in C: a value below zero on the other side counts as a very large one. A cast of the unsigned side to int64 makes it signed.",
        "BEGIN { $left = 5 - 8; if ($left < nsecs) { print($left); } }";
    NeverShown = "R0059", "map that is never shown",
        "The map is written, and nothing reads or prints it: maps are not printed at the end of this script, or this one is emptied before.",
        "config = { print_maps_on_exit = false } BEGIN { @reads = count(); }";
    CannotFire = "R0060", "probe that cannot fire",
        "`-p` restricts the script to a process in which this probe has nothing to fire at: it has not loaded the file, or the predicate asks for another process.",
        "";
    PositionalMissing = "R0051", "missing parameter",
        "A positional parameter that is not given is 0, or an empty string.",
        "BEGIN { print($1); }";
    Import = "R0053", "an import that failed",
        "import \"path\"; reads another script, a header with structs and definitions, or all of a directory. Paths are relative to the file that imports.",
        "import \"no/such/file.rt\"; BEGIN { }";
    Config = "R0052", "unknown setting",
        "The config block knows max_map_keys, max_strlen, print_maps_on_exit and their kin.",
        "config = { no_such = 1 } BEGIN { }";
}

impl Code {
    /// The row of a code's name, in any case.
    pub fn named(name: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.name().eq_ignore_ascii_case(name))
    }
}
