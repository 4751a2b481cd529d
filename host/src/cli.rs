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
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::Request;
use crate::console::Console;
use crate::exit::{EXIT_CODES, Exit, Failure};
use crate::printable::printable_lines;

/// Forwards Alibaba Cloud audit logs from SLS to a SIEM, through sandboxed WASM plugins.
///
/// Without a command it runs: joins the consumer group, passes every log through the plugins, delivers
/// to the sinks, and saves a checkpoint only for what was delivered.
#[derive(Debug, Parser)]
#[command(name = "forwarder", version = crate::telemetry::BUILD, after_help = EXIT_CODES)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    run: ConfigArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the config, load the plugins, ask sinks and SLS; report every problem at once
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

/// Reads the command line, does what it says, and reports how it went.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(usage) => {
            // `--help` and `--version` are errors to the parser, with an exit code of 0.
            note_output(usage.print());
            let usual = if usage.exit_code() == 0 { Exit::Success } else { Exit::Usage };
            return end(with_output(Ok(usual)), None);
        }
    };
    // A run may end because nothing reads what it prints; the commands wait as every program does.
    let patience = cli.command.is_none().then_some(LAST_WORDS);
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
    end(with_output(outcome), patience)
}

fn end(outcome: Result<Exit, Failure>, patience: Option<Duration>) -> ExitCode {
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            complain(&failure, patience);
            failure.exit.into()
        }
    }
}

/// How long the end of a run waits for its errors to be printed.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Prints a failure in one piece, so that its lines stay together; waits for that no longer than `patience`.
fn complain(failure: &Failure, patience: Option<Duration>) {
    let text = failure.to_string();
    let (done, printed) = mpsc::sync_channel(1);
    let printing = std::thread::Builder::new().spawn(move || {
        let _ = Console::stderr().and_then(|mut console| console.write_all(text.as_bytes()));
        let _ = done.send(());
    });
    if printing.is_ok() {
        let _ = match patience {
            Some(patience) => printed.recv_timeout(patience).ok(),
            None => printed.recv().ok(),
        };
    }
}

/// Why standard output did not take a line, unless its reader has left.
static OUTPUT_LOST: OnceLock<String> = OnceLock::new();

/// Whether the reader of standard output has left.
static READER_LEFT: AtomicBool = AtomicBool::new(false);

/// Prints one line of a command's result. A reader that has left wants no more of it; any other error is
/// reported when the command ends.
fn say(line: impl Display) {
    note_output(writeln!(io::stdout(), "{}", printable_lines(&line.to_string())));
}

fn note_output(written: io::Result<()>) {
    match written {
        Ok(()) => {}
        Err(cause) if cause.kind() == ErrorKind::BrokenPipe => {
            READER_LEFT.store(true, Ordering::Relaxed);
        }
        Err(cause) => {
            let _ = OUTPUT_LOST.set(cause.to_string());
        }
    }
}

/// Whether it is worth saying more.
fn has_reader() -> bool {
    !READER_LEFT.load(Ordering::Relaxed)
}

/// A command whose result could not be printed has failed.
fn with_output(outcome: Result<Exit, Failure>) -> Result<Exit, Failure> {
    match (outcome, OUTPUT_LOST.get()) {
        (Ok(_), Some(cause)) => Err(Failure::internal("cannot write to standard output", cause)),
        (outcome, _) => outcome,
    }
}
