//! The sinks of the configuration, set up; and how the pipeline serves them.

use std::error::Error;
use std::sync::Arc;

use forwarder_connector::Sink;
use forwarder_pipeline::{DeliverySettings, RejectLimit, RetryPolicy};
use forwarder_sinks::file::{FileSink, StdoutSink};
use forwarder_sinks::hec::HecSink;
use forwarder_sinks::syslog::{SyslogSettings, SyslogSink};

use crate::config::sink::{DeliveryConfig, SinkConfig, SinkKind};
use crate::exit::{Exit, Failure};
use crate::instance::host_name;
use crate::problem::Problem;

/// Sets up a sink; connects to nothing yet. Must be called on a runtime. Blocks on reading certificates.
///
/// # Errors
/// Certificates or keys cannot be used.
pub fn new(config: &SinkConfig) -> Result<Arc<dyn Sink>, Failure> {
    let (name, max_body) = (config.name.as_str(), config.delivery.max_body);
    let sink: Result<Arc<dyn Sink>, Box<dyn Error>> = match &config.kind {
        SinkKind::Hec(hec) => shared(HecSink::new(name, max_body, (**hec).clone())),
        SinkKind::Syslog(syslog) => shared(SyslogSink::new(name, max_body, with_own_name(syslog))),
        SinkKind::File(path) => Ok(Arc::new(FileSink::new(name, max_body, path))),
        SinkKind::Stdout => Ok(Arc::new(StdoutSink::new(name, max_body))),
    };
    sink.map_err(|cause| {
        let problem = Problem::new(format!("sink `{name}` cannot be set up: {cause}"));
        Failure::new(Exit::Config, problem)
    })
}

fn shared<S: Sink + 'static, E: Error + 'static>(
    sink: Result<S, E>,
) -> Result<Arc<dyn Sink>, Box<dyn Error>> {
    Ok(Arc::new(sink?))
}

/// Messages name this host as their sender unless the configuration does.
fn with_own_name(settings: &SyslogSettings) -> SyslogSettings {
    let mut settings = settings.clone();
    settings.messages.header = settings.messages.header.with_own_name(host_name);
    settings
}

/// How the pipeline serves a sink.
pub fn delivery(config: &DeliveryConfig, max_reject_ratio: f64) -> DeliverySettings {
    DeliverySettings {
        concurrency: config.in_flight,
        ordered: config.ordered,
        linger: config.linger,
        retry: RetryPolicy {
            first: config.retry_min,
            longest: config.retry_max,
            // `retry_max` says how soon a repaired sink is to be noticed.
            first_hold: RetryPolicy::default().first_hold.min(config.retry_max),
            longest_hold: RetryPolicy::default().longest_hold.min(2 * config.retry_max),
            ..RetryPolicy::default()
        },
        refusals: RejectLimit { max_ratio: max_reject_ratio, ..RejectLimit::default() },
    }
}

/// Says early which sinks do not answer. That stops nothing: their rows wait.
pub async fn report_who_is_down(sinks: &[Arc<dyn Sink>]) {
    let probes = sinks.iter().map(async |sink| (sink, sink.reachable().await));
    for (sink, answer) in futures_util::future::join_all(probes).await {
        let (sink, delivered_means) = (sink.name(), sink.delivered_means());
        match answer {
            Ok(()) => tracing::info!(sink, delivered_means, "sink answers"),
            Err(cause) => {
                tracing::warn!(sink, %cause, "sink does not answer yet, its logs will wait")
            }
        }
    }
}
