//! Names of a program's functions and variables: where one is in its file, and while it runs (`uaddr()`).

use std::fs;
use std::path::Path;

use rtrace_lang::target::{Absence, Attach, ProbeSite, ProgramSymbol, UserAddress};

use crate::elf::{Binary, Symbol};
use crate::machine::Machine;

/// Of the instruction pointer in `struct pt_regs` (arch/x86/include/asm/ptrace.h).
const INSTRUCTION_POINTER: u32 = 128;

/// The symbol of the site's own file, or of another one (`FILE:NAME`).
pub fn symbol_named(machine: &Machine, site: &ProbeSite, name: &str) -> Result<ProgramSymbol, Absence> {
    let absent = |message: String, help: &str| Absence { message, help: help.to_string() };
    let Attach::Uprobe { path, offset, is_return, pid, .. } = &site.attach else {
        return Err(absent(format!("there is no program that has `{name}`"), "uprobe, uretprobe and usdt have one"));
    };
    let (binary, shown, name, is_own) = match name.rsplit_once(':').filter(|(file, _)| !file.ends_with(':')) {
        None => (Binary::open(path), path.display().to_string(), name, true),
        Some((file, name)) => {
            let located =
                machine.locate(file, *pid).map_err(|error| absent(error.to_string(), "a path, or a library's name"))?;
            let first = located.first().expect("never empty");
            (Binary::open(&first.path), first.name.display().to_string(), name, first.path == **path)
        }
    };
    let binary = binary.map_err(|error| absent(error.to_string(), "its symbol table is needed"))?;
    let Some(Symbol { address, bytes }) = binary.symbol(name) else {
        let help = "its symbol table has its functions and variables; what is local may be stripped, or be there twice";
        return Err(absent(format!("{shown} has no symbol `{name}`"), help));
    };
    let at = |displacement: u64| UserAddress { displacement: displacement as i64, ..UserAddress::default() };
    if !binary.is_relocatable() {
        return Ok(ProgramSymbol { address: at(address), bytes });
    }
    // At a return the instruction pointer is in the caller, wherever that is.
    if is_own
        && !is_return
        && let Some(own) = binary.address_at(*offset)
    {
        let address = UserAddress { base: Some(INSTRUCTION_POINTER), ..at(address.wrapping_sub(own)) };
        return Ok(ProgramSymbol { address, bytes });
    }
    if let Some(bias) = pid.and_then(|pid| load_bias(pid, &binary, Path::new(&shown))) {
        return Ok(ProgramSymbol { address: at(address.wrapping_add(bias)), bytes });
    }
    let help = "follow one process with -p, or ask where a function of that file is entered";
    Err(absent(format!("the address of `{name}` is not known here: {shown} is loaded anywhere"), help))
}

/// Where in a file the functions of a name are entered; nothing where the file can't be read.
pub fn offsets_of(path: &Path, function: &str) -> Vec<u64> {
    let Ok(binary) = Binary::open(path) else { return Vec::new() };
    binary.functions_named(function).iter().filter_map(|function| binary.file_offset(function.address)).collect()
}

/// What is added to the addresses in a file where a process has mapped it.
fn load_bias(pid: u32, binary: &Binary, path: &Path) -> Option<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let shown = fs::read_link(path).ok();
    maps.lines().find_map(|line| {
        // `7f00-7f01 r-xp 00001000 08:01 1234    /usr/lib/x.so`
        let name = Path::new(line.find('/').map(|at| &line[at..])?);
        if name != path && name != real && Some(name) != shown.as_deref() {
            return None;
        }
        let mut words = line.split_whitespace();
        let (range, permissions, offset) = (words.next()?, words.next()?, words.next()?);
        if !permissions.contains('x') {
            return None;
        }
        let start = u64::from_str_radix(range.split('-').next()?, 16).ok()?;
        binary.bias_of_code(start, u64::from_str_radix(offset, 16).ok()?)
    })
}
