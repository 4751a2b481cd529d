//! What people type: `cargo xtask demo`, `test`, `check`, `plugins`, `bench`.
//!
//! Each task installs what it lacks, says what it is doing, and is safe to run twice. Cargo is called from here
//! and never from a build script.

#![expect(clippy::print_stdout, reason = "a command line speaks")]

mod arrows;
mod bench;
mod check;
mod circles;
mod daemons;
mod demo;
mod guests;
mod shell;
mod test;
mod tools;
mod words;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the forwarder project")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the whole path on this machine: an embedded SLS, the forwarder with a plugin, receivers.
    Demo(demo::Options),
    /// Run the tests; ends with a list of what was not run and why.
    Test(test::Options),
    /// Format, lints, which crate may import which, licences and sources of dependencies.
    Check,
    /// Build the plugins and the guests of the tests for WebAssembly.
    Plugins,
    /// Measure throughput of the release binary compared with the native limit.
    Bench(bench::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().task {
        Task::Demo(options) => demo::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Check => check::run(),
        Task::Plugins => guests::build().map(|()| ExitCode::SUCCESS),
        Task::Bench(options) => bench::run(&options),
    }
}
