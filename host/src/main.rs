//! The `forwarder` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    forwarder::allocator::set_up();
    forwarder::cli::main(std::env::args_os())
}
