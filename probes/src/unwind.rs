//! The unwind table of a program or library (`.eh_frame`) as rows: for each of its instructions, where the caller is. Reads
//! files only. What is said in a way that programs cannot follow becomes a row that says so.

use std::path::Path;

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EndianSlice, Expression, LittleEndian, Operation, Register, RegisterRule,
    UnwindContext, UnwindExpression, UnwindSection, UnwindTableRow, X86_64,
};
use object::{Object, ObjectSection};

use rtrace_lang::unwind::{CallerBp, FrameTop, Row};

use crate::elf::ElfError;
use crate::kernel::mapping::FileBytes;

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// The rows of a file, by address; none where it has no table, or is for another processor.
pub fn rows(path: &Path) -> Result<Vec<Row>, ElfError> {
    let failed = |source| ElfError::File { path: path.to_path_buf(), source };
    let bytes = FileBytes::open(path).map_err(failed)?;
    let object = object::File::parse(bytes.as_slice())
        .map_err(|error| ElfError::NotAnElf { path: path.to_path_buf(), reason: error.to_string() })?;
    // Rows are those of 64-bit programs of this machine.
    if object.architecture() != object::Architecture::X86_64 {
        return Ok(Vec::new());
    }
    let Some(section) = object.section_by_name(".eh_frame") else { return Ok(Vec::new()) };
    let Ok(data) = section.uncompressed_data() else { return Ok(Vec::new()) };
    let mut bases = BaseAddresses::default().set_eh_frame(section.address());
    if let Some(text) = object.section_by_name(".text") {
        bases = bases.set_text(text.address());
    }
    Ok(of_section(&EhFrame::new(&data, LittleEndian), &bases))
}

fn of_section(frames: &EhFrame<Bytes<'_>>, bases: &BaseAddresses) -> Vec<Row> {
    // Where functions begin, each with its rows.
    let mut functions: Vec<(u64, u64, Vec<Row>)> = Vec::new();
    let mut context = UnwindContext::new();
    let mut entries = frames.entries(bases);
    // What is damaged ends the table.
    while let Ok(Some(entry)) = entries.next() {
        let gimli::CieOrFde::Fde(partial) = entry else { continue };
        let Ok(function) = partial.parse(EhFrame::cie_from_offset) else { continue };
        let (start, end) = (function.initial_address(), function.end_address());
        let is_signal = function.is_signal_trampoline();
        let mut of_function = Vec::new();
        if let Ok(mut table) = function.rows(frames, bases, &mut context) {
            while let Ok(Some(row)) = table.next_row() {
                of_function.push(way(row, is_signal, frames));
            }
        }
        // Functions that the linker has thrown away have no address.
        if start > 0 && start < end && !of_function.is_empty() {
            functions.push((start, end, of_function));
        }
    }
    functions.sort_by_key(|(start, _, _)| *start);
    let mut all: Vec<Row> = Vec::new();
    for (number, (_, end, rows)) in functions.iter().enumerate() {
        for row in rows {
            push(&mut all, *row);
        }
        if functions.get(number + 1).is_none_or(|(next, _, _)| next > end) {
            push(&mut all, Row { address: *end, top: FrameTop::Unknown, bp: CallerBp::Kept });
        }
    }
    all
}

/// Neighbours that say the same are one row. The rows stay sorted whatever the table says.
fn push(all: &mut Vec<Row>, row: Row) {
    let is_new = all.last().is_none_or(|last| last.address < row.address && (last.top, last.bp) != (row.top, row.bp));
    if is_new {
        all.push(row);
    }
}

fn way(row: &UnwindTableRow<usize>, is_signal: bool, frames: &EhFrame<Bytes<'_>>) -> Row {
    let address = row.start_address();
    if is_signal {
        return Row { address, top: FrameTop::Signal, bp: CallerBp::Kept };
    }
    let (top, bp) = (top(row, frames), caller_bp(row, frames));
    match (top, bp) {
        (top, Some(bp)) => Row { address, top, bp },
        (FrameTop::Outermost, None) => Row { address, top: FrameTop::Outermost, bp: CallerBp::Kept },
        (_, None) => Row { address, top: FrameTop::Unknown, bp: CallerBp::Kept },
    }
}

fn top(row: &UnwindTableRow<usize>, frames: &EhFrame<Bytes<'_>>) -> FrameTop {
    match row.register(X86_64::RA) {
        Some(RegisterRule::Offset(-8)) => {}
        Some(RegisterRule::Undefined) => return FrameTop::Outermost,
        Some(_) | None => return FrameTop::Unknown,
    }
    let known = match row.cfa() {
        CfaRule::RegisterAndOffset { register: X86_64::RSP, offset } => i32::try_from(*offset).map(FrameTop::Stack),
        CfaRule::RegisterAndOffset { register: X86_64::RBP, offset } => i32::try_from(*offset).map(FrameTop::Frame),
        CfaRule::RegisterAndOffset { .. } => return FrameTop::Unknown,
        CfaRule::Expression(expression) => return top_of_expression(&operations(expression, frames)),
    };
    known.unwrap_or(FrameTop::Unknown)
}

/// The expressions that compilers and linkers write.
fn top_of_expression(operations: &[Operation<Bytes<'_>>]) -> FrameTop {
    match operations {
        [Operation::RegisterOffset { register: X86_64::RBP, offset, .. }, Operation::Deref { .. }] => {
            i32::try_from(*offset).map_or(FrameTop::Unknown, FrameTop::AtFrame)
        }
        // rsp + 8 + ((rip & 15) >= n) * 8
        [
            Operation::RegisterOffset { register: X86_64::RSP, offset: 8, .. },
            Operation::RegisterOffset { register: RIP, offset: 0, .. },
            Operation::UnsignedConstant { value: 15 },
            Operation::And,
            Operation::UnsignedConstant { value: from @ 0..=15 },
            Operation::Ge,
            Operation::UnsignedConstant { value: 3 },
            Operation::Shl,
            Operation::Plus,
        ] => FrameTop::Linkage(*from as i16),
        _ => FrameTop::Unknown,
    }
}

/// The instruction pointer has the number of what is returned to.
const RIP: Register = X86_64::RA;

/// None where it is kept in a way that is not followed.
fn caller_bp(row: &UnwindTableRow<usize>, frames: &EhFrame<Bytes<'_>>) -> Option<CallerBp> {
    match row.register(X86_64::RBP) {
        None | Some(RegisterRule::SameValue | RegisterRule::Undefined) => Some(CallerBp::Kept),
        Some(RegisterRule::Offset(offset)) => i16::try_from(offset).ok().map(CallerBp::AtTop),
        Some(RegisterRule::Expression(expression)) => match &operations(&expression, frames)[..] {
            [Operation::RegisterOffset { register: X86_64::RBP, offset, .. }] => {
                i16::try_from(*offset).ok().map(CallerBp::AtFrame)
            }
            _ => None,
        },
        Some(_) => None,
    }
}

fn operations<'a>(expression: &UnwindExpression<usize>, frames: &EhFrame<Bytes<'a>>) -> Vec<Operation<Bytes<'a>>> {
    let encoding = gimli::Encoding { address_size: 8, format: gimli::Format::Dwarf32, version: 4 };
    let Ok(Expression(bytes)) = expression.get(frames) else { return Vec::new() };
    let mut operations = Expression(bytes).operations(encoding);
    let mut all = Vec::new();
    while let Ok(Some(operation)) = operations.next() {
        all.push(operation);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_ours_has_a_row_for_each_instruction() {
        let path = std::env::current_exe().unwrap();
        let rows = rows(&path).unwrap();
        assert!(rows.is_sorted_by(|a, b| a.address < b.address));
        let known = |row: &&Row| matches!(row.top, FrameTop::Stack(_) | FrameTop::Frame(_));
        assert!(rows.iter().filter(known).count() * 10 > rows.len() * 8, "{} rows", rows.len());
        // The start of a program is called by nobody.
        assert!(rows.iter().any(|row| row.top == FrameTop::Outermost));
        // At the first instruction of a function there is nothing on the stack but where it returns to.
        let function = a_program_of_ours_has_a_row_for_each_instruction as *const () as u64;
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let base = maps.lines().find(|line| line.ends_with(path.to_str().unwrap())).unwrap();
        let base = u64::from_str_radix(base.split('-').next().unwrap(), 16).unwrap();
        let at = rows.partition_point(|row| row.address <= function - base);
        assert_eq!(rows[at - 1].top, FrameTop::Stack(8));
    }

    #[test]
    fn files_without_a_table() {
        assert!(rows(Path::new("/proc/self/maps")).is_err());
        assert!(rows(Path::new("/nonexistent")).is_err());
    }
}
