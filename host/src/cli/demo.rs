//! `forwarder demo`: the whole path on one screen, nothing of it pretended.
//!
//! An SLS emulator holds realistic logs; this very program runs against it as a child process, with a
//! plugin, and delivers over real sockets to a HEC and a syslog receiver. Every log carries a number, so
//! the end is a comparison of sets and not of counts.

mod child;
mod report;
mod sample_logs;
mod servers;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, interval};

use self::child::Forwarder;
use self::report::Report;
use self::sample_logs::SampleLogs;
use self::servers::{DemoServers, SEED};
use super::run::runtime;
use super::say;
use crate::exit::{Exit, Failure};
use crate::problem::Problem;
use crate::shutdown::Signals;

/// Without progress for so long, the demo gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the demo looks, and how often it says so where lines stay.
const LOOK: Duration = Duration::from_millis(100);
const SAY: Duration = Duration::from_secs(1);

/// What is shown.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// The plugin that edits the logs: a file, or a name in a plugin folder
    #[arg(long, value_name = "PLUGIN", default_value = "audit")]
    plugin: String,
    /// Logs to send
    #[arg(long, default_value_t = 200_000)]
    logs: u64,
    /// Let the HEC receiver discard one event, to see that this is noticed
    #[arg(long)]
    lose_one: bool,
    /// Leave everything running at the end, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// Runs the demo; fails unless every log is accounted for.
pub(super) fn demo(args: &DemoArgs) -> Result<Exit, Failure> {
    runtime()?.block_on(Box::pin(show(args)))
}

async fn show(args: &DemoArgs) -> Result<Exit, Failure> {
    let mut signals = Signals::of_terminal()
        .map_err(|cause| Failure::internal("cannot listen to signals", cause))?;
    say(format_args!("generating {} audit logs …", args.logs));
    let sample_logs = SampleLogs::pick(SEED);
    let servers = DemoServers::build(args.logs, &sample_logs).await?;
    if args.lose_one {
        servers.splunk.faults().discard_one();
    }
    let (mut forwarder, config) = start(args, &servers)?;
    say(format_args!(
        "SLS at {}, Splunk HEC at {}, syslog at {}",
        servers.sls.endpoint(),
        servers.splunk.url(),
        servers.siem.url()
    ));
    say(format_args!("running: forwarder --config {} --plugin {}", config, args.plugin));

    let began = Instant::now();
    let watched = tokio::select! {
        watched = watch(&servers, &mut forwarder) => watched,
        signal = signals.next() => Err(Failure::internal("stopped by", signal)),
    };
    let took = watched?.duration_since(began);
    let (cpu, memory) = (forwarder.cpu_time(), forwarder.peak_memory());
    let report = Report::new(&servers, took, cpu, memory);
    for sample_log in sample_logs.all() {
        say(format_args!("\n{}", report::sample_log(&sample_log)));
    }
    say(format_args!("\n{}\n", report.text()));
    if args.keep {
        say("everything is left running; Ctrl-C ends it");
        signals.next().await;
    }
    let code = forwarder.terminate().await;
    verdict(&report, code)
}

fn start(args: &DemoArgs, servers: &DemoServers) -> Result<(Forwarder, String), Failure> {
    let failed = |cause: io::Error| Failure::internal("cannot start the forwarder", cause);
    let config = servers.write_config().map_err(failed)?;
    let secrets = servers.secrets();
    let secrets: Vec<_> = secrets.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let log = servers.folder().join("forwarder.log");
    let forwarder = Forwarder::start(&config, &args.plugin, &secrets, &log).map_err(failed)?;
    Ok((forwarder, config.display().to_string()))
}

/// Shows progress until every log is behind a checkpoint; returns when that was. Fails if the forwarder
/// ends or nothing moves.
async fn watch(servers: &DemoServers, forwarder: &mut Forwarder) -> Result<Instant, Failure> {
    let began = Instant::now();
    let mut screen = Screen::new();
    let mut look = interval(LOOK);
    let mut moved = (Progress::default(), began);
    loop {
        look.tick().await;
        let now = Progress::of(servers);
        if now != moved.0 {
            moved = (now, Instant::now());
        }
        screen.show(&now, began.elapsed(), servers.logs);
        if now.backlog == Some(0) {
            screen.end(&now, began.elapsed(), servers.logs);
            return Ok(Instant::now());
        }
        let stuck = match (forwarder.has_ended(), moved.1.elapsed() > PATIENCE) {
            (true, _) => "the forwarder ended early",
            (_, true) => "nothing has moved for a while",
            _ => continue,
        };
        let problem =
            Problem::new(stuck).help(format!("its log ends with\n{}", forwarder.last_words()));
        return Err(Failure::new(Exit::Unaccounted, problem));
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    splunk: u64,
    siem: u64,
    backlog: Option<u64>,
}

impl Progress {
    fn of(servers: &DemoServers) -> Self {
        let (splunk, siem) =
            (servers.splunk.tally().distinct_ids, servers.siem.tally().distinct_ids);
        Self { splunk, siem, backlog: servers.backlog() }
    }
}

/// One line that changes on a terminal, and a line a second anywhere else.
struct Screen {
    changes: bool,
    said: Duration,
}

impl Screen {
    fn new() -> Self {
        Self { changes: io::stdout().is_terminal(), said: Duration::ZERO }
    }

    fn show(&mut self, progress: &Progress, after: Duration, logs: u64) {
        if self.changes {
            let _ = write!(io::stdout(), "\r{}", line(progress, after, logs));
            let _ = io::stdout().flush();
        } else if after >= self.said + SAY {
            self.said = after;
            say(line(progress, after, logs));
        }
    }

    fn end(&self, progress: &Progress, after: Duration, logs: u64) {
        let start = if self.changes { "\r" } else { "" };
        say(format_args!("{start}{}", line(progress, after, logs)));
    }
}

fn line(progress: &Progress, after: Duration, logs: u64) -> String {
    let waiting = progress.backlog.map_or_else(|| "-".to_owned(), |groups| groups.to_string());
    let Progress { splunk, siem, .. } = progress;
    let seconds = after.as_secs_f64();
    format!(
        "{seconds:5.1} s  HEC {splunk:>7} of {logs}  syslog {siem:>7} of {logs}  log groups before a checkpoint {waiting:>5}"
    )
}

fn verdict(report: &Report, code: io::Result<Option<i32>>) -> Result<Exit, Failure> {
    let unaccounted = |message: String| Failure::new(Exit::Unaccounted, Problem::new(message));
    if !report.is_complete() {
        return Err(unaccounted(format!("not every log is accounted for: {}", report.complaint())));
    }
    match code {
        Ok(Some(0)) => {
            say("every log is accounted for");
            Ok(Exit::Success)
        }
        Ok(code) => Err(unaccounted(format!("the forwarder ended with {code:?} instead of 0"))),
        Err(cause) => Err(unaccounted(format!("the forwarder could not be stopped: {cause}"))),
    }
}
