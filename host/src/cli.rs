//! The command line: every option on one page, as `--help` shows them.
//!
//! This module and those below it are the only ones that print. Parsing decides nothing: each command
//! turns its options into a request and hands over.

mod check;
mod compile;
#[cfg(feature = "demo")]
mod demo;
#[cfg(feature = "demo")]
mod emulator;
mod group;
mod run;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Request;
use crate::exit::{EXIT_CODES, Exit, Failure};

/// Forwards Alibaba Cloud audit logs from SLS to a SIEM, through sandboxed WASM plugins.
///
/// Without a command it runs: joins the consumer group, passes every log through the plugins, delivers
/// to the sinks, and saves a checkpoint only for what was delivered.
#[derive(Debug, Parser)]
#[command(name = "forwarder", version, after_help = EXIT_CODES)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    run: ConfigArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the config, load the plugins, ask sinks and SLS; tell everything that is wrong at once
    Check(ConfigArgs),
    /// Show how far the consumer group is, move it, or delete it
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// Compile the plugin on standard input to standard output, within limits; this program runs it for itself
    #[command(hide = true, name = crate::wiring::transform::COMPILE_PLUGIN)]
    CompilePlugin(compile::CompileArgs),
    /// Show the whole path on this machine: an SLS, this program with a plugin, HEC and syslog receivers
    #[cfg(feature = "demo")]
    Demo(demo::DemoArgs),
    /// Serve an SLS for development: no cloud account needed
    #[cfg(feature = "demo")]
    Emulator(emulator::EmulatorArgs),
}

/// What to read, change and deliver.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// The config file (TOML); without one, the source comes from SLS_ENDPOINT, SLS_AK_ID, SLS_AK_KEY,
    /// SLS_PROJECT, SLS_LOGSTORE and SLS_CG
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A plugin to append to the chain: a file, or a name in a plugin folder; may be repeated
    #[arg(long, value_name = "PLUGIN")]
    plugin: Vec<String>,
    /// A sink to add: stdout:, file:PATH, hec+https://HOST:8088?token_env=NAME,
    /// syslog+tls://HOST:6514; may be repeated; never with a token in it
    #[arg(long, value_name = "URL")]
    sink: Vec<String>,
    /// How much to log: error, warn, info, debug, trace, or directives like info,forwarder_sls=debug
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How to write log lines: text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Where locks, dead letters and compiled plugins are kept
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl ConfigArgs {
    fn into_request(self) -> Request {
        Request {
            file: self.config,
            plugins: self.plugin,
            sinks: self.sink,
            log_level: self.log_level,
            log_format: self.log_format,
            state_dir: self.state_dir,
            sinks_optional: false,
        }
    }
}

/// Reads the command line, does what it says, and tells how it went.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(usage) => {
            // `--help` and `--version` are errors to the parser, with an exit code of 0.
            let _ = usage.print();
            return if usage.exit_code() == 0 { Exit::Success } else { Exit::Usage }.into();
        }
    };
    let outcome = match cli.command {
        None => run::run(&cli.run.into_request()),
        Some(Command::Check(args)) => check::check(&args.into_request()),
        Some(Command::Group(command)) => group::group(command),
        Some(Command::CompilePlugin(args)) => compile::compile(&args),
        #[cfg(feature = "demo")]
        Some(Command::Demo(args)) => demo::demo(&args),
        #[cfg(feature = "demo")]
        Some(Command::Emulator(args)) => emulator::emulator(args),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            complain(&failure);
            failure.exit.into()
        }
    }
}

/// Prints a failure under one lock, so that its lines stay together.
fn complain(failure: &Failure) {
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "{failure}");
}

/// Prints one line of a command's result. A reader that has left wants no more of it.
fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}
