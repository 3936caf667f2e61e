//! The `dev-stack` command: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    dev_stack::cli::main()
}
