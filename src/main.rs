//! The `sweepfs` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    sweepfs::cli::main()
}
