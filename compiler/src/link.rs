//! A function with its callbacks and subprograms as one program: each is encoded by itself, then they follow one another
//! and the addresses of callbacks and subprograms are put in. Knows no function's content.

use rtrace_lang::limits::{BPF_STACK_BYTES, MOST_FUNCTIONS_AT_ONCE};
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
    /// The program itself first, then its callbacks, then its subprograms with theirs.
    pub functions: Vec<FunctionStart>,
    pub depth: Depth,
}

/// Functions that run at once, and the bytes of stack that they take together.
#[derive(Clone, Copy, Default, Debug)]
pub struct Depth {
    pub functions: u32,
    pub bytes: u32,
}

impl Depth {
    /// What the kernel allows, in words where it is too much.
    pub fn check(self) -> Result<(), String> {
        if self.functions > MOST_FUNCTIONS_AT_ONCE {
            return Err(format!(
                "its functions and loops are {} deep, and the kernel allows {MOST_FUNCTIONS_AT_ONCE}",
                self.functions
            ));
        }
        if self.bytes > BPF_STACK_BYTES {
            return Err(format!(
                "its functions and loops take {} bytes of stack together, and the kernel gives {BPF_STACK_BYTES}",
                self.bytes
            ));
        }
        Ok(())
    }

    pub fn below(self, above: Depth) -> Depth {
        Depth { functions: self.functions + above.functions, bytes: self.bytes + above.bytes }
    }

    pub fn max(self, other: Depth) -> Depth {
        Depth { functions: self.functions.max(other.functions), bytes: self.bytes.max(other.bytes) }
    }
}

/// A function with its callbacks, in its place.
struct Placed {
    start: u32,
    depth: Depth,
    /// Each subprogram that is called: the instruction, its number, and what runs above it.
    calls: Vec<(u32, u32, Depth)>,
}

/// Encodes a function and everything below it. An error is one of size, in words.
pub fn link(function: &Function) -> Result<Linked, String> {
    let mut linked = Linked::default();
    let program = linked.append(function)?;
    // The kernel takes no function that is never called, so only those that are come in: each calls only those before it.
    let mut wanted = vec![false; function.subprograms.len()];
    program.calls.iter().for_each(|(_, number, _)| wanted[*number as usize] = true);
    let mut subprograms: Vec<Option<Placed>> = wanted.iter().map(|_| None).collect();
    for number in (0..wanted.len()).rev() {
        if wanted[number] {
            let placed = linked.append(&function.subprograms[number])?;
            placed.calls.iter().for_each(|(_, number, _)| wanted[*number as usize] = true);
            subprograms[number] = Some(placed);
        }
    }
    let mut depths: Vec<Depth> = Vec::new();
    for placed in &subprograms {
        let depth = placed.as_ref().map_or(Depth::default(), |placed| linked.connect(placed, &subprograms, &depths));
        depths.push(depth);
    }
    linked.depth = linked.connect(&program, &subprograms, &depths);
    linked.depth.check()?;
    Ok(linked)
}

impl Linked {
    /// Appends a function, then its callbacks.
    fn append(&mut self, function: &Function) -> Result<Placed, String> {
        let selected = select::select(function);
        let allocation = regalloc::allocate(&selected).map_err(|error| error.to_string())?;
        let encoded = encode::encode(&selected, &allocation).map_err(|error| error.to_string())?;
        let start = self.instructions.len() as u32;
        let (name, is_global) = (function.name.clone(), function.is_global);
        self.functions.push(FunctionStart { instruction: start, name, is_global });
        self.instructions.extend(encoded.instructions);
        self.relocations.extend(
            encoded
                .relocations
                .into_iter()
                .map(|relocation| Relocation { instruction: start + relocation.instruction, ..relocation }),
        );
        self.lines.extend(encoded.lines.into_iter().map(|(at, span)| (start + at, span)));
        // As the kernel counts it (kernel/bpf/verifier.c, round_up_stack_depth).
        let own = Depth { functions: 1, bytes: encoded.stack_bytes.max(1).next_multiple_of(32) };
        let mut placed = Placed {
            start,
            depth: own,
            calls: encoded.calls.into_iter().map(|(at, number)| (start + at, number, own)).collect(),
        };
        let mut starts = Vec::new();
        for callback in &function.callbacks {
            let callback = self.append(callback)?;
            starts.push(callback.start);
            placed.depth = placed.depth.max(callback.depth.below(own));
            placed.calls.extend(callback.calls.iter().map(|(at, number, above)| (*at, *number, above.below(own))));
        }
        for (at, callback) in encoded.callbacks {
            self.point(start + at, starts[callback as usize]);
        }
        Ok(placed)
    }

    /// Puts the places of subprograms into the calls of a function; gives how deep it goes.
    fn connect(&mut self, function: &Placed, subprograms: &[Option<Placed>], depths: &[Depth]) -> Depth {
        let mut depth = function.depth;
        for (at, number, above) in &function.calls {
            let called = subprograms[*number as usize].as_ref().expect("what is called was appended");
            self.point(*at, called.start);
            depth = depth.max(depths[*number as usize].below(*above));
        }
        depth
    }

    /// Puts the place of a function into an instruction: relative to the one behind it, or behind its first half.
    fn point(&mut self, at: u32, function: u32) {
        let distance = i64::from(function) - i64::from(at) - 1;
        self.instructions[at as usize] |= u64::from(distance as i32 as u32) << 32;
    }
}
