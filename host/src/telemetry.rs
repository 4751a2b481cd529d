//! What the program says about itself: log lines and metrics. Both are installed once, here.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use thiserror::Error;
use tracing::Subscriber;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Registry, fmt};

use crate::config::process::{LogConfig, LogFormat};
use crate::console::Console;
use crate::log_file::RotatingFile;
use crate::log_queue::{DROPPED_LINES, LogQueue};
use crate::printable::PrintableWriter;

/// Why the log or the metrics could not be set up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The log file cannot be written.
    #[error("cannot write the log file `{}`: {cause}", path.display())]
    File {
        /// As configured, without the process id.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The level cannot be read. The configuration checks it first.
    #[error("cannot read the log level: {0}")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    /// Standard error cannot be written from a thread of its own.
    #[error("cannot write to standard error: {0}")]
    Console(#[from] io::Error),
    /// Logging is set up already in this process.
    #[error("logging was set up twice: {0}")]
    Installed(#[from] TryInitError),
    /// Metrics are set up already in this process.
    #[error("metrics were set up twice")]
    MetricsInstalled,
    /// The bounds of a histogram are wrong: a mistake of ours.
    #[error("a histogram has no bounds: {0}")]
    Buckets(#[from] BuildError),
}

/// What standard error is called in metrics and in the log.
const STDERR: &str = "stderr";

/// What the log file is called there.
const FILE: &str = "file";

/// How long the end of the process waits for lines that are not written yet.
const LAST_LINES: Duration = Duration::from_secs(3);

/// The log of the process. Dropping it waits, for a limited time, until its last lines are written.
#[derive(Debug)]
pub struct Log {
    queues: Vec<LogQueue>,
}

impl Drop for Log {
    fn drop(&mut self) {
        let deadline = Instant::now() + LAST_LINES;
        for queue in &self.queues {
            queue.flush(deadline);
        }
    }
}

/// Sends log lines to standard error, and to the file if one is configured. Neither keeps the thread that
/// logs waiting. Panics are log lines as well.
///
/// # Errors
/// The file cannot be written, or logging is set up already.
pub fn install_log(config: &LogConfig) -> Result<Log, TelemetryError> {
    let filter: Targets = config.level.parse()?;
    let console = LogQueue::start(STDERR, Console::stderr()?)?;
    let mut queues = vec![console.clone()];
    let file = match &config.file {
        None => None,
        Some(path) => {
            let process = std::process::id();
            let file = RotatingFile::open(path, process, config.max_size, config.max_files)
                .map_err(|cause| TelemetryError::File { path: path.clone(), cause })?;
            let file = LogQueue::start(FILE, file)?;
            queues.push(file.clone());
            Some(lines(config.format, false, file))
        }
    };
    let console = lines(config.format, io::stderr().is_terminal(), console);
    Registry::default().with(filter).with(console).with(file).try_init()?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(Log { queues })
}

fn lines<S>(format: LogFormat, colours: bool, to: LogQueue) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let colours = colours && format == LogFormat::Text;
    let to = PrintableWriter::new(to, colours);
    // The layer would print its own errors to standard error, and wait there.
    let layer = fmt::layer().log_internal_errors(false).with_writer(to);
    match format {
        LogFormat::Text => layer.with_ansi(colours).boxed(),
        LogFormat::Json => {
            // The innermost span is enough: spans repeat what a line needs of those around them.
            layer.json().flatten_event(true).with_span_list(false).with_ansi(false).boxed()
        }
    }
}

/// The standard library would print a panic to standard error, and wait there.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("of unknown kind");
    let place = panic.location().map(tracing::field::display);
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured)
        .then(|| tracing::field::display(&backtrace));
    let thread = std::thread::current();
    let thread = thread.name();
    tracing::error!(place, thread, backtrace, "panic (a bug in the forwarder): {message}");
}

/// Bounds of histograms of durations, in seconds: from a plugin call to a stalled request.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Collects metrics for `/metrics`.
///
/// # Errors
/// Metrics are set up already.
pub fn install_metrics() -> Result<PrometheusHandle, TelemetryError> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| TelemetryError::MetricsInstalled)?;
    forwarder_pipeline::metrics::describe();
    forwarder_sls::metrics::describe();
    forwarder_plugin::metrics::describe();
    forwarder_sinks::metrics::describe();
    metrics::describe_counter!(
        DROPPED_LINES,
        "lines of this program's own log that could not be written in time"
    );
    metrics::describe_gauge!("forwarder_build_info", "always 1; the labels say which build runs");
    metrics::gauge!("forwarder_build_info", "version" => VERSION, "commit" => COMMIT).set(1.0);
    Ok(handle)
}

/// How often histograms are folded, so that they stay small when they are not asked for.
const UPKEEP: Duration = Duration::from_secs(5);

/// Keeps the metrics small for as long as the process runs, whether they are served or not.
pub async fn keep_metrics_small(metrics: PrometheusHandle) {
    let mut upkeep = tokio::time::interval(UPKEEP);
    loop {
        upkeep.tick().await;
        metrics.run_upkeep();
        tracing::trace!("folded the histograms of the metrics");
    }
}

/// The version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from, as far as the build knows.
pub const COMMIT: &str = env!("FORWARDER_COMMIT");

/// Both, as `--version` prints them.
pub const BUILD: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("FORWARDER_COMMIT"), ")");
