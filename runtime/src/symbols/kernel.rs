//! Kernel addresses to names. A small program of our own has the kernel format them (`%pS`), which takes microseconds;
//! /proc/kallsyms, which takes the kernel 65 ms to write, serves kernels without that helper (before 5.13) and very long
//! lists.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use aya_obj::generated::{bpf_map_type, bpf_prog_type};
use rtrace_probes::kernel::bpf::{self, MapConfig, ProgramConfig, TestRun};
use rtrace_probes::kernel::{KernelError, symbols};

use super::Symbol;

/// Addresses of one run of the program. Its length grows with them: 15 instructions each.
const BATCH: usize = 64;

/// Bytes of one formatted symbol: longer names (Rust's) are cut, which then leaves them unresolved.
const TEXT_BYTES: usize = 256;

/// From so many addresses on, reading all symbols once is cheaper than looking each up.
const WHOLE_TABLE_FROM: usize = 8192;

/// Names that are remembered; a run that prints more distinct addresses resolves some of them again.
const MOST_KNOWN: usize = 65_536;

/// The table of kernel symbols.
#[derive(Default)]
pub struct KernelSymbols {
    known: HashMap<u64, Option<Symbol>>,
    formatter: Formatter,
}

#[derive(Default)]
enum Formatter {
    #[default]
    NotTried,
    Loaded(Program),
    /// This kernel or this user may not.
    Refused,
}

impl KernelSymbols {
    pub fn new() -> KernelSymbols {
        KernelSymbols::default()
    }

    /// The symbol that each address lies in, in the same order.
    pub fn resolve(&mut self, addresses: &[u64]) -> Vec<Option<Symbol>> {
        let mut wanted: Vec<u64> =
            addresses.iter().copied().filter(|address| !self.known.contains_key(address)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        if self.known.len() + wanted.len() > MOST_KNOWN {
            self.known.clear();
            wanted = addresses.to_vec();
            wanted.sort_unstable();
            wanted.dedup();
        }
        if !wanted.is_empty() {
            let found = self.look_up(&wanted);
            self.known.extend(wanted.into_iter().zip(found));
        }
        addresses.iter().map(|address| self.known.get(address).cloned().flatten()).collect()
    }

    /// Whether each look reads the table of all symbols, so that many addresses are better asked for at once.
    pub fn takes_long(&mut self) -> bool {
        self.try_formatter();
        matches!(self.formatter, Formatter::Refused)
    }

    fn try_formatter(&mut self) {
        if let Formatter::NotTried = self.formatter {
            self.formatter = Program::load().map_or(Formatter::Refused, Formatter::Loaded);
        }
    }

    fn look_up(&mut self, addresses: &[u64]) -> Vec<Option<Symbol>> {
        if addresses.len() < WHOLE_TABLE_FROM {
            self.try_formatter();
            if let Formatter::Loaded(program) = &self.formatter
                && let Ok(found) = program.format(addresses)
            {
                return found;
            }
        }
        from_table(addresses)
    }
}

/// From /proc/kallsyms; without the privilege to see addresses nothing is found.
fn from_table(addresses: &[u64]) -> Vec<Option<Symbol>> {
    let Ok(found) = symbols::symbols_at(addresses) else { return vec![None; addresses.len()] };
    let convert =
        |symbol: symbols::KernelSymbol| Symbol::new(Some(&symbol.name), symbol.offset, symbol.module.map(Arc::from));
    found.into_iter().map(|symbol| symbol.map(convert)).collect()
}

/// `name+0x12/0x34` or `name+0x12/0x34 [module]`; None for what the kernel does not know and prints as a number.
fn parse_symbol(text: &str) -> Option<Symbol> {
    let (place, module) = match text.split_once(" [") {
        Some((place, module)) => (place, Some(module.strip_suffix(']')?.split(' ').next()?.into())),
        None => (text, None),
    };
    let (name, numbers) = place.rsplit_once("+0x")?;
    let (offset, _) = numbers.split_once("/0x")?;
    Some(Symbol::new(Some(name), u64::from_str_radix(offset, 16).ok()?, module))
}

/// A loaded program and the one value of its array: a count, the addresses, and the texts.
struct Program {
    program: OwnedFd,
    values: OwnedFd,
    /// The program names this one by number; it must live as long.
    _format: OwnedFd,
}

const ADDRESSES_AT: usize = 8;
const TEXTS_AT: usize = ADDRESSES_AT + BATCH * 8;
const VALUE_BYTES: usize = TEXTS_AT + BATCH * TEXT_BYTES;

impl Program {
    fn load() -> Result<Program, KernelError> {
        /// include/uapi/linux/bpf.h: the helper takes its format only from a map that no one can change.
        const BPF_F_RDONLY_PROG: u32 = 1 << 7;
        const FORMAT: &[u8; 4] = b"%pS\0";
        let array = |bytes: usize, flags: u32, name: &'static str| {
            bpf::map_create(&MapConfig {
                kind: bpf_map_type::BPF_MAP_TYPE_ARRAY as u32,
                key_bytes: 4,
                value_bytes: bytes as u32,
                entries: 1,
                flags,
                name,
                btf: None,
                inner: None,
            })
        };
        let format = array(FORMAT.len(), BPF_F_RDONLY_PROG, "rtrace_format")?;
        bpf::map_update(format.as_fd(), &[0; 4], FORMAT, 0)?;
        bpf::map_freeze(format.as_fd())?;
        let values = array(VALUE_BYTES, 0, "rtrace_symbols")?;
        let instructions = assemble(&values, &format);
        let config = ProgramConfig {
            program_type: bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT,
            instructions: &instructions,
            name: "rtrace_symbols",
            ..ProgramConfig::default()
        };
        let program = bpf::program_load(&config)?.fd;
        Ok(Program { program, values, _format: format })
    }

    fn format(&self, addresses: &[u64]) -> Result<Vec<Option<Symbol>>, KernelError> {
        let mut found = Vec::with_capacity(addresses.len());
        let mut value = vec![0_u8; VALUE_BYTES];
        for batch in addresses.chunks(BATCH) {
            value.fill(0);
            value[..8].copy_from_slice(&(batch.len() as u64).to_ne_bytes());
            for (place, address) in value[ADDRESSES_AT..TEXTS_AT].chunks_exact_mut(8).zip(batch) {
                place.copy_from_slice(&address.to_ne_bytes());
            }
            bpf::map_update(self.values.as_fd(), &[0; 4], &value, 0)?;
            bpf::program_test_run(self.program.as_fd(), TestRun::default())?;
            bpf::map_lookup(self.values.as_fd(), &[0; 4], &mut value)?;
            let texts = value[TEXTS_AT..].chunks_exact(TEXT_BYTES).take(batch.len());
            found.extend(texts.map(|text| {
                let end = text.iter().position(|byte| *byte == 0)?;
                parse_symbol(std::str::from_utf8(&text[..end]).ok()?)
            }));
        }
        Ok(found)
    }
}

/// `for (i = 0; i < BATCH && i < count; i++) bpf_snprintf(texts[i], TEXT_BYTES, "%pS", &addresses[i], 8)`, unrolled.
fn assemble(values: &OwnedFd, format: &OwnedFd) -> Vec<u64> {
    const SNPRINTF: i32 = 165;
    /// A two-word load whose source register says that it is the address of a map's first value.
    const LOAD_64: u8 = 0x18;
    const MAP_VALUE: u8 = 2;
    const LOAD: u8 = 0x79;
    const MOVE: u8 = 0xbf;
    const SET: u8 = 0xb7;
    const ADD: u8 = 0x07;
    const JUMP_IF_NOT_ABOVE: u8 = 0xb5;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    /// Instructions of one call.
    const STEP: i16 = 11;
    let code = |code: u8, destination: u8, source: u8, offset: i16, immediate: i32| {
        u64::from(code)
            | u64::from(destination) << 8
            | u64::from(source) << 12
            | u64::from(offset as u16) << 16
            | u64::from(immediate as u32) << 32
    };
    let mut program = vec![code(LOAD_64, 6, MAP_VALUE, 0, values.as_raw_fd()), 0, code(LOAD, 7, 6, 0, 0)];
    for index in 0..BATCH {
        // To the end, over this call and all later ones.
        let to_end = (BATCH - index) as i16 * STEP - 1;
        program.extend([
            code(JUMP_IF_NOT_ABOVE, 7, 0, to_end, index as i32),
            code(MOVE, 1, 6, 0, 0),
            code(ADD, 1, 0, 0, (TEXTS_AT + index * TEXT_BYTES) as i32),
            code(SET, 2, 0, 0, TEXT_BYTES as i32),
            code(LOAD_64, 3, MAP_VALUE, 0, format.as_raw_fd()),
            0,
            code(MOVE, 4, 6, 0, 0),
            code(ADD, 4, 0, 0, (ADDRESSES_AT + index * 8) as i32),
            code(SET, 5, 0, 0, 8),
            code(CALL, 0, 0, 0, SNPRINTF),
            // Keeps each step a whole number of words with the two of the load.
            code(SET, 0, 0, 0, 0),
        ]);
    }
    program.extend([code(SET, 0, 0, 0, 0), code(EXIT, 0, 0, 0, 0)]);
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_prints() {
        let symbol = parse_symbol("nf_hook_slow+0x12/0xe0 [nf_tables]").unwrap();
        assert_eq!((&*symbol.shown, symbol.module.as_deref()), ("nf_hook_slow+18", Some("nf_tables")));
        assert_eq!(parse_symbol("vfs_read+0x0/0x360").unwrap().shown.as_ref(), "vfs_read+0");
        assert_eq!(parse_symbol("0x1234"), None);
        assert_eq!(parse_symbol("0xffffffffff600000"), None);
        assert_eq!(parse_symbol(""), None);
    }

    #[test]
    fn both_ways_agree() {
        let Ok(Some(start)) = symbols::address_of("vfs_read") else {
            println!("skipped: no kernel addresses to be seen");
            return;
        };
        let addresses: Vec<u64> = (0..200).map(|index| start + index * 64).chain([1, start]).collect();
        let started = std::time::Instant::now();
        let table = from_table(&addresses);
        println!("table: {:?}", started.elapsed());
        assert_eq!(table[0].as_ref().map(|symbol| &*symbol.shown), Some("vfs_read+0"));
        assert_eq!(table[200], None);
        let mut symbols = KernelSymbols::new();
        let started = std::time::Instant::now();
        let found = symbols.resolve(&addresses);
        println!("program: {:?}", started.elapsed());
        if matches!(symbols.formatter, Formatter::Refused) {
            println!("skipped: this kernel has no bpf_snprintf, or programs may not be loaded");
        }
        assert_eq!(found, table);
        assert_eq!(symbols.resolve(&[start]), [table[0].clone()]);
    }
}
