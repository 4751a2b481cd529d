//! `cargo xtask bench`: throughput of the release binary compared with the native limit, on the committed corpus.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::{guests, shell};

/// Options of the bench.
#[derive(Args)]
pub(crate) struct Options {
    /// Only jobs whose name contains this.
    #[arg(long)]
    job: Option<String>,
    /// Raw megabytes that each job pulls.
    #[arg(long, default_value_t = 1000)]
    megabytes: u64,
}

/// Builds what is measured and measures it.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    guests::plugins()?;
    let mut build = shell::cargo();
    build.args(["build", "--locked", "--release", "--workspace", "--bin", "forwarder"]);
    shell::run("build the forwarder", &mut build)?;

    let mut bench = shell::cargo();
    bench.args(["bench", "--locked", "--profile", "release", "--quiet"]);
    bench.args(["--workspace", "--bench", "throughput"]);
    bench.env("BENCH_MEGABYTES", options.megabytes.to_string());
    if let Some(job) = &options.job {
        bench.env("BENCH_JOB", job);
    }
    shell::run("measure", &mut bench)?;
    Ok(ExitCode::SUCCESS)
}
