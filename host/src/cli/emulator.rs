//! `forwarder emulator`: an SLS for development, on this machine.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use forwarder_emulator::faults::Injection;
use forwarder_emulator::sign_check::SignatureCheck;
use forwarder_emulator::{GroupSize, Options};
use forwarder_sls::{AccessKey, Chain};

use super::run::runtime;
use super::say;
use crate::config::secret;
use crate::exit::{Exit, Failure};
use crate::problem::{Place, Problem};
use crate::shutdown::Signals;

/// What the emulator holds and how it behaves.
#[derive(Debug, Args)]
pub(super) struct EmulatorArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// The project
    #[arg(long, default_value = "demo")]
    project: String,
    /// Its logstore
    #[arg(long, default_value = "audit")]
    logstore: String,
    /// The logstore's shards
    #[arg(long, default_value_t = 4)]
    shards: u32,
    /// JSON lines to load, one flattened log each; may be repeated
    #[arg(long, value_name = "FILE")]
    load: Vec<PathBuf>,
    /// Audit logs to generate
    #[arg(long, value_name = "LOGS", default_value_t = 0)]
    samples: u64,
    /// What the generated logs follow from: the same seed gives the same logs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Accept only requests that are signed with the key in SLS_AK_ID and SLS_AK_KEY
    #[arg(long)]
    check_signatures: bool,
    /// Create projects and logstores when they are first named
    #[arg(long)]
    create_missing: bool,
    /// Something to go wrong, as CALL:FAULT or CALL:FAULT*TIMES, for example pull-logs:503*2; may be
    /// repeated
    #[arg(long, value_name = "FAULT")]
    fault: Vec<Injection>,
}

/// Serves until it is stopped.
pub(super) fn emulator(args: EmulatorArgs) -> Result<Exit, Failure> {
    let signatures = signatures(args.check_signatures)?;
    let (project, logstore) = (args.project.clone(), args.logstore.clone());
    let options = Options {
        listen: args.listen,
        project: args.project,
        logstore: args.logstore,
        shards: args.shards,
        load: args.load,
        samples: args.samples,
        seed: args.seed,
        group_size: GroupSize::default(),
        signatures,
        create_missing: args.create_missing,
        faults: args.fault,
    };
    runtime()?.block_on(async move {
        let mut signals = Signals::of_terminal()
            .map_err(|cause| Failure::internal("cannot listen to signals", cause))?;
        let emulator = options
            .start()
            .await
            .map_err(|cause| Failure::new(Exit::Config, Problem::new(Chain(&cause).to_string())))?;
        say(format_args!("serving project `{project}`, logstore `{logstore}`; to read it:"));
        say(format_args!("  export SLS_ENDPOINT={}", emulator.endpoint()));
        say(format_args!("  export SLS_PROJECT={project} SLS_LOGSTORE={logstore} SLS_CG=dev"));
        say("  export SLS_AK_ID=any SLS_AK_KEY=any");
        say("  forwarder --sink stdout:");
        signals.next().await;
        Ok(Exit::Success)
    })
}

fn signatures(strict: bool) -> Result<SignatureCheck, Failure> {
    if !strict {
        return Ok(SignatureCheck::Off);
    }
    let variable = |name: &str| {
        secret::process(name).ok_or_else(|| {
            let at = Place::CommandLine("--check-signatures".to_owned());
            let problem = Problem::new(format!("`{name}` is not set")).at(&at);
            Failure::new(Exit::Config, problem.help("set the key that clients will sign with"))
        })
    };
    let key = AccessKey::new(variable("SLS_AK_ID")?, variable("SLS_AK_KEY")?);
    Ok(SignatureCheck::Strict(match secret::process("SLS_SECURITY_TOKEN") {
        Some(token) => key.with_token(token),
        None => key,
    }))
}
