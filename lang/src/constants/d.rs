//! Constants of D's translated arguments: B_* of `bufinfo_t`, and the states of `lwpsinfo_t`.
//! Data only; sorted by name.

use super::Row;

pub static ROWS: &[Row] =
    &[("B_READ", 0x40), ("B_WRITE", 0x100), ("SRUN", 2), ("SSLEEP", 1), ("SSTOP", 4), ("SZOMB", 3)];
