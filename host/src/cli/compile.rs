//! `forwarder compile-plugin`: the compiler process. A plugin that is not in the cache is compiled by this
//! program as a child of itself, so that what a hostile one makes the compiler do is bounded by the kernel and
//! ends with that child. It reads no configuration and inherits no environment.

use std::io;
use std::time::Duration;

use clap::Args;

use crate::exit::{Exit, Failure};

/// What compiling may use up.
#[derive(Debug, Args)]
pub(super) struct CompileArgs {
    /// CPU time in seconds
    cpu: u64,
    /// Memory in bytes
    memory: u64,
}

/// Compiles one component.
pub(super) fn compile(args: &CompileArgs) -> Result<Exit, Failure> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    forwarder_plugin::serve(Duration::from_secs(args.cpu), args.memory, &mut input, &mut output)
        .map_err(|cause| Failure::internal("the compiler process cannot work", cause))?;
    Ok(Exit::Success)
}
