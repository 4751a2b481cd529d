//! `cargo xtask bench`: to be filled once the program runs end to end.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

/// Options of the bench.
#[derive(Args)]
pub(crate) struct Options {}

/// Runs the bench.
pub(crate) fn run(_options: &Options) -> Result<ExitCode> {
    anyhow::bail!("not there yet")
}
