//! A function and its callbacks as one program: each is encoded by itself, then they follow one another and the addresses
//! of callbacks are put in. Knows no function's content.

use rtrace_lang::span::Span;

use crate::ir::Function;
use crate::object::{FunctionStart, Relocation};
use crate::{encode, regalloc, select};

/// What the kernel gets of one program.
#[derive(Default)]
pub struct Linked {
    pub instructions: Vec<u64>,
    pub relocations: Vec<Relocation>,
    pub lines: Vec<(u32, Span)>,
    /// The program itself first, then its callbacks.
    pub functions: Vec<FunctionStart>,
}

/// Encodes a function and everything below it. An error is one of size, in words.
pub fn link(function: &Function) -> Result<Linked, String> {
    let mut linked = Linked::default();
    linked.append(function)?;
    Ok(linked)
}

impl Linked {
    /// Appends a function, then its callbacks; gives the number of its first instruction.
    fn append(&mut self, function: &Function) -> Result<u32, String> {
        let selected = select::select(function);
        let allocation = regalloc::allocate(&selected).map_err(|error| error.to_string())?;
        let encoded = encode::encode(&selected, &allocation).map_err(|error| error.to_string())?;
        let start = self.instructions.len() as u32;
        self.functions.push(FunctionStart { instruction: start, name: function.name.clone() });
        self.instructions.extend(encoded.instructions);
        self.relocations.extend(
            encoded
                .relocations
                .into_iter()
                .map(|relocation| Relocation { instruction: start + relocation.instruction, ..relocation }),
        );
        self.lines.extend(encoded.lines.into_iter().map(|(at, span)| (start + at, span)));
        let starts =
            function.callbacks.iter().map(|callback| self.append(callback)).collect::<Result<Vec<u32>, String>>()?;
        for (at, callback) in encoded.callbacks {
            let at = start + at;
            // Relative to the instruction behind the first half of the load.
            let distance = i64::from(starts[callback as usize]) - i64::from(at) - 1;
            self.instructions[at as usize] |= u64::from(distance as i32 as u32) << 32;
        }
        Ok(start)
    }
}
