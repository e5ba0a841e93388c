//! The manual page and the completions of shells, made from the definition of the command line.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::arguments::{Arguments, Manual};

pub fn run(manual: Manual) -> i32 {
    let mut command = Arguments::command();
    let mut out = Vec::new();
    let mut completions = |shell| generate(shell, &mut command, "rtrace", &mut out);
    match manual {
        Manual::Man => {
            if let Err(error) = clap_mangen::Man::new(command).render(&mut out) {
                return crate::script::fail(&error.to_string(), &[]);
            }
        }
        Manual::Bash => completions(Shell::Bash),
        Manual::Zsh => completions(Shell::Zsh),
        Manual::Fish => completions(Shell::Fish),
    }
    crate::script::print(&out)
}
