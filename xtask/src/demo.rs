//! `cargo xtask demo`: build what is needed, then let the program show itself.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::{guests, shell};

/// Options of the demo; they are handed on to `forwarder demo`.
#[derive(Args)]
pub(crate) struct Options {
    /// Let the receiver discard one event, to see that the demo notices.
    #[arg(long)]
    lose_one: bool,
    /// Leave everything running at the end, until Ctrl-C.
    #[arg(long)]
    keep: bool,
}

/// Builds the plugins and the program and runs the demo; its exit code is ours.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    guests::plugins()?;
    let mut build = shell::cargo();
    build.args(["build", "--locked", "--release", "--workspace", "--bin", "forwarder"]);
    shell::run("build the forwarder", &mut build)?;

    let mut demo = std::process::Command::new(shell::target().join("release/forwarder"));
    demo.current_dir(shell::root()).arg("demo");
    demo.arg("--plugin").arg(shell::target().join("wasm32-wasip2/plugin/audit.wasm"));
    demo.args(options.lose_one.then_some("--lose-one"));
    demo.args(options.keep.then_some("--keep"));
    let code = demo.status()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
