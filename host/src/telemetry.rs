//! What the program says about itself: log lines and metrics. Both are installed once, here.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use thiserror::Error;
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Registry, fmt};

use crate::config::process::{LogConfig, LogFormat};
use crate::log_file::RotatingFile;

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
    /// Somebody else has set up logging in this process.
    #[error("logging was set up twice: {0}")]
    Installed(#[from] TryInitError),
    /// Somebody else has set up metrics in this process.
    #[error("metrics were set up twice")]
    MetricsInstalled,
    /// The bounds of a histogram are wrong: a mistake of ours.
    #[error("a histogram has no bounds: {0}")]
    Buckets(#[from] BuildError),
}

/// Sends log lines to standard error, and to the file if one is configured.
///
/// # Errors
/// The file cannot be written, or logging is set up already.
pub fn install_log(config: &LogConfig) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder().parse(&config.level)?;
    let file = match &config.file {
        None => None,
        Some(path) => {
            let process = std::process::id();
            let file = RotatingFile::open(path, process, config.max_size, config.max_files)
                .map_err(|cause| TelemetryError::File { path: path.clone(), cause })?;
            Some(lines(config.format, false, file))
        }
    };
    let console = lines(config.format, io::stderr().is_terminal(), io::stderr);
    Registry::default().with(filter).with(console).with(file).try_init()?;
    Ok(())
}

fn lines<S, W>(format: LogFormat, colours: bool, to: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    match format {
        LogFormat::Text => fmt::layer().with_ansi(colours).with_writer(to).boxed(),
        LogFormat::Json => {
            fmt::layer().json().flatten_event(true).with_ansi(false).with_writer(to).boxed()
        }
    }
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
    forwarder_pipeline::describe_metrics();
    forwarder_sls::metrics::describe();
    forwarder_plugin::metrics::describe();
    metrics::describe_counter!(
        TRUNCATED_RECORDS,
        "rows whose end was cut off to fit a sink's limit"
    );
    metrics::describe_counter!(
        AMBIGUOUS_RECORDS,
        "rows a reader of the sink cannot take apart for certain"
    );
    metrics::describe_gauge!("forwarder_build_info", "always 1; the labels say which build runs");
    metrics::gauge!("forwarder_build_info", "version" => VERSION, "commit" => COMMIT).set(1.0);
    Ok(handle)
}

/// Rows whose end was cut off, by sink.
pub(crate) const TRUNCATED_RECORDS: &str = "forwarder_truncated_records_total";

/// Rows in the sample's unescaped form that hold the separator, by sink.
pub(crate) const AMBIGUOUS_RECORDS: &str = "forwarder_ambiguous_records_total";

/// The version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from, where the build says so.
pub const COMMIT: &str = match option_env!("FORWARDER_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};
