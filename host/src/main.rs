//! The `forwarder` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    forwarder::cli::main(std::env::args_os())
}
