//! The command line of `cargo xtask`: everything that developers and CI run, in one place.
//! It only parses arguments and hands over; it must never hold the work itself.

mod bench;
mod bpftrace;
mod ci;
mod compare;
mod debian;
mod docs;
mod fuzz;
mod host_packages;
mod kernels;
mod process;
mod tidy;
mod vm;
mod workloads;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The exit status for a guest that failed on its own account, as opposed to the command inside it.
const GUEST_FAILURE_STATUS: u8 = 125;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Everything that developers and CI run on rtrace")]
struct CommandLine {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Boot a Debian kernel in QEMU and run a command in it; its exit status is passed on
    Vm(vm::VmArguments),
    /// Install and fetch everything that the guests and the tests need, without running anything
    Setup,
    /// Build tests/workloads: the programs whose events the tests count
    Workloads,
    /// Check the project's own rules: layers, headers, lengths, names, unsafe code, expected texts
    Tidy,
    /// Write the documents that are made from the tables of the code
    Docs(docs::DocsArguments),
    /// Run every check and every tier of tests, guests included
    Ci(ci::CiArguments),
    /// Take generated scripts through all stages, on this kernel and on those of guests
    Fuzz(fuzz::FuzzArguments),
    /// Measure rtrace beside bpftrace: whole runs, and the cost of an event
    Bench(bench::BenchArguments),
    /// Compare what rtrace and bpftrace print for the scripts of tests/compare
    Compare(compare::CompareArguments),
    /// Fetch the releases of bpftrace that benchmarks compare with, and print where they are
    Bpftrace,
}

fn main() -> ExitCode {
    let outcome = match CommandLine::parse().task {
        Task::Vm(arguments) => {
            return vm::main(arguments).unwrap_or_else(|error| {
                report(&error);
                ExitCode::from(GUEST_FAILURE_STATUS)
            });
        }
        Task::Setup => vm::setup(),
        Task::Workloads => workloads::build().map(print_paths),
        Task::Bpftrace => bpftrace::fetch().map(print_paths),
        Task::Fuzz(arguments) => fuzz::main(&arguments),
        Task::Bench(arguments) => bench::main(&arguments),
        Task::Compare(arguments) => compare::main(&arguments),
        Task::Docs(arguments) => docs::main(&arguments),
        Task::Tidy => tidy::main(),
        Task::Ci(arguments) => ci::main(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn print_paths(paths: Vec<PathBuf>) {
    for path in paths {
        println!("{}", path.display());
    }
}

fn report(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
