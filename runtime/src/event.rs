//! What a session hands to its output: finished values and whole maps. Holds no kernel or map types.

use std::sync::Arc;

use rtrace_lang::aggregations::AggregationKind;
use rtrace_lang::target::Trial;
use rtrace_lang::types::StackMode;

pub use crate::rows::{Row, Rows};

/// A value as it is shown.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Value {
    Int(i64),
    Uint(u64),
    Bool(bool),
    /// Bytes up to the NUL.
    Str(Vec<u8>),
    Buffer(Vec<u8>),
    Pointer(u64),
    /// A number with its name, where it has one.
    Enum {
        name: Option<Arc<str>>,
        number: i64,
    },
    /// A number that is shown as what it stands for.
    Named {
        text: Arc<str>,
        number: i64,
    },
    /// Innermost frame first.
    Stack {
        frames: Arc<[Frame]>,
        mode: StackMode,
        /// Of a process, not of the kernel.
        user: bool,
    },
    /// A symbol, or an address in hexadecimal.
    Symbol(Arc<str>),
    Tuple(Vec<Value>),
    /// Of a record or a struct: names and values, in order. Parts of a struct without a name have an empty one.
    Record(Vec<(Arc<str>, Value)>),
    Array(Vec<Value>),
}

/// One frame of a stack.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Frame {
    pub address: u64,
    /// `name+offset`, `[file]+0xoffset`, or None where nothing is known.
    pub symbol: Option<Arc<str>>,
    /// The kernel module, or the file.
    pub module: Option<Arc<str>>,
    /// The build id of its file and the offset there, where the stack is printed so.
    pub build_id: Option<Arc<str>>,
    /// `file.c:12`, where the script asks for lines and they are known.
    pub line: Option<Arc<str>>,
    /// Of a function that the compiler has inlined in that of the next frame; it has the same address.
    pub is_inlined: bool,
}

/// A value of a map.
#[derive(Clone, PartialEq, Debug)]
pub enum Cell {
    Value(Value),
    /// count, sum, min, max and avg: one number.
    Number {
        value: i64,
        signed: bool,
    },
    Stats {
        count: u64,
        average: i64,
        total: i64,
        signed: bool,
    },
    /// Buckets: the first for negative values, then those of `power_range` with so many bits. Counts are shown divided.
    Hist {
        buckets: Vec<u64>,
        bits: u32,
        divisor: u64,
    },
    /// Below `min`, then steps, then the rest.
    Lhist {
        buckets: Vec<u64>,
        min: i64,
        max: i64,
        step: i64,
        divisor: u64,
    },
    /// quantize, lquantize and llquantize: the rows that are shown, counts divided.
    Distribution {
        rows: Vec<Bucket>,
        divisor: u64,
    },
    /// Percentiles in thousandths, each with its value.
    Quantiles {
        count: u64,
        points: Vec<(u32, i64)>,
        signed: bool,
    },
    /// Intervals of so many nanoseconds, the oldest first.
    Series {
        interval: u64,
        points: Vec<Point>,
        signed: bool,
    },
}

/// A bucket of a histogram, with its smallest and its largest value, where it has one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bucket {
    /// As D writes it.
    pub label: String,
    pub from: Option<i128>,
    pub to: Option<i128>,
    pub count: i64,
}

/// An interval of a time series.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Point {
    /// Nanoseconds since 1970.
    pub start: i64,
    /// None where nothing happened.
    pub value: Option<i64>,
}

/// A map as a whole.
#[derive(Clone, PartialEq, Debug)]
pub struct MapEvent {
    /// With its `@`.
    pub name: String,
    pub keyed: bool,
    /// What the parts of a key are in the script: `comm`; `key0` and so on where that is no name of one part.
    pub key_names: Vec<String>,
    /// None where it holds plain values.
    pub aggregation: Option<AggregationKind>,
    /// In the order in which they are shown.
    pub rows: Rows,
    /// A map without keys that nothing has entered, or nothing since it was cleared: its row has zeros.
    pub is_unset: bool,
    /// One of those that are shown when the script is over.
    pub at_end: bool,
}

impl MapEvent {
    /// As in bpftrace a map without a value is shown where the script asks for it, and not at the end; pictures need values.
    pub fn shows_nothing(&self) -> bool {
        let is_picture = match self.aggregation {
            Some(
                AggregationKind::Hist
                | AggregationKind::Lhist
                | AggregationKind::Quantize
                | AggregationKind::Lquantize
                | AggregationKind::Llquantize
                | AggregationKind::Tseries,
            ) => true,
            Some(
                AggregationKind::Count
                | AggregationKind::Sum
                | AggregationKind::Avg
                | AggregationKind::Min
                | AggregationKind::Max
                | AggregationKind::Stats
                | AggregationKind::Stddev
                | AggregationKind::Quantiles,
            )
            | None => false,
        };
        self.rows.is_empty() || self.is_unset && (self.at_end || is_picture)
    }
}

/// Which action printed a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TextKind {
    /// printf() and printa()
    Printf,
    /// join(); it ends with a line feed.
    Join,
    Time,
    Cat,
    System,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// Finished text.
    Text {
        kind: TextKind,
        text: Vec<u8>,
    },
    /// print(value)
    Value(Value),
    Map(MapEvent),
    /// The script has emptied a map of that name, or set it to zero.
    Cleared(String),
    /// Probes are attached, that many.
    Attached(usize),
    /// What becomes of `test:` and `bench:` probes.
    Trials(TrialEvent),
    /// The streamed output is over; what follows is printed at the end.
    Ending,
    /// errorf() and warnf(): a message of the script's.
    Message {
        is_error: bool,
        text: Vec<u8>,
        place: Place,
    },
    /// Events of that place were lost: the buffer was full.
    Lost {
        count: u64,
        /// Parts of them were told before.
        in_total: bool,
        place: Place,
    },
    /// Something else that the numbers do not hold: failed reads, full maps. A message with its place in the script.
    Problem {
        message: String,
        /// The kernel's function that failed, where that is known.
        helper: Option<Helper>,
        place: Option<Place>,
        count: u64,
        in_total: bool,
    },
}

/// Probes that are run one by one because they are asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TrialEvent {
    /// So many are there.
    Started {
        trial: Trial,
        count: usize,
    },
    Tested {
        name: String,
        nanoseconds: u64,
        has_passed: bool,
        output: Vec<u8>,
    },
    /// The mean of so many runs.
    Measured {
        name: String,
        nanoseconds: u64,
        runs: u64,
    },
    Finished {
        trial: Trial,
        passed: usize,
        failed: Vec<String>,
    },
}

/// A helper of the kernel's, and what it gives where it fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Helper {
    pub name: &'static str,
    pub error: i32,
}

/// A place in the script, lines and columns counted from one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub file: Arc<str>,
    pub line: u32,
    pub column: u32,
    /// The text of the statement or expression.
    pub text: String,
}
