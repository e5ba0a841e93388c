//! What is typed while a command runs: it stays with the terminal, unseen, and is the beginning of the next line. Ctrl-C goes
//! to the command.
//!
//! Unsafe: tcgetattr(3) and tcsetattr(3).

use std::mem::MaybeUninit;

/// As long as it lives, the terminal of standard input shows no keys and keeps each as it is; nothing where there is no terminal.
pub struct Kept(Option<libc::termios>);

impl Kept {
    pub fn new() -> Kept {
        let mut modes = MaybeUninit::uninit();
        // SAFETY: the call writes the modes, and says whether it has.
        if unsafe { libc::tcgetattr(libc::STDIN_FILENO, modes.as_mut_ptr()) } != 0 {
            return Kept(None);
        }
        // SAFETY: they are written.
        let before = unsafe { modes.assume_init() };
        let mut modes = before;
        modes.c_iflag &= !libc::ICRNL;
        modes.c_lflag &= !(libc::ECHO | libc::ICANON);
        set(&modes);
        Kept(Some(before))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            set(before);
        }
    }
}

fn set(modes: &libc::termios) {
    // SAFETY: the modes are read. A terminal that is gone has none to set.
    unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSADRAIN, modes) };
}
