//! Once a minute one line of the log says how the process is: rates, lag, what is paused, dead letters.
//!
//! For those who read the log and have no dashboard. The figures are those of `/metrics`, read from its text, so that
//! the two cannot differ.

use std::collections::BTreeSet;
use std::time::Duration;

use forwarder_pipeline::metrics as pipeline;
use forwarder_plugin::metrics as plugin;
use forwarder_sls::metrics as sls;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::time::{Instant, MissedTickBehavior};

/// How many of the paused shards and sinks are named.
const NAMED: usize = 5;

/// Logs a line every `interval`, for as long as the process runs; never, if it is zero.
pub async fn report(metrics: PrometheusHandle, interval: Duration) {
    if interval.is_zero() {
        return;
    }
    let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut before, mut since) = (Figures::default(), Instant::now());
    loop {
        let now = ticks.tick().await;
        let figures = Figures::read(&metrics.render());
        figures.log(&before, now.duration_since(since));
        (before, since) = (figures, now);
    }
}

/// What one look at the metrics shows.
#[derive(Debug, Clone, PartialEq, Default)]
struct Figures {
    /// Logs pulled since the start.
    pulled: f64,
    /// Rows that sinks took responsibility for since the start.
    delivered: f64,
    /// Rows put aside since the start.
    dead_letters: f64,
    /// Seconds that the shard furthest behind is behind; `None` before anything was pulled.
    lag: Option<f64>,
    /// Shards that this process works on.
    shards: f64,
    /// Bytes between pull and settle.
    in_flight: f64,
    /// What is paused and needs an operator.
    paused: BTreeSet<String>,
}

impl Figures {
    /// Reads the text that `/metrics` serves.
    fn read(exposition: &str) -> Self {
        let mut figures = Self::default();
        for (name, labels, value) in exposition.lines().filter_map(sample) {
            match name {
                pipeline::PULLED_RECORDS => figures.pulled += value,
                pipeline::DELIVERED_RECORDS => figures.delivered += value,
                pipeline::DEAD_LETTER_RECORDS => figures.dead_letters += value,
                sls::LAG_SECONDS => {
                    figures.lag = Some(figures.lag.map_or(value, |lag| lag.max(value)))
                }
                sls::SHARDS_HELD => figures.shards += value,
                pipeline::IN_FLIGHT_BYTES => figures.in_flight += value,
                _ if value > 0.0 => figures.paused.extend(paused_by(name, labels)),
                _ => {}
            }
        }
        figures
    }

    fn log(&self, before: &Self, elapsed: Duration) {
        let rate = |now: f64, then: f64| ((now - then) / elapsed.as_secs_f64()).round() as u64;
        let mut paused: Vec<&str> = self.paused.iter().map(String::as_str).take(NAMED).collect();
        if self.paused.len() > NAMED {
            paused.push("…");
        }
        tracing::info!(
            pulled_per_second = rate(self.pulled, before.pulled),
            delivered_per_second = rate(self.delivered, before.delivered),
            lag_seconds = self.lag.map(|lag| lag.round() as u64),
            shards = self.shards as u64,
            in_flight_bytes = self.in_flight as u64,
            dead_letters = self.dead_letters as u64,
            paused = self.paused.len(),
            paused_names = (!paused.is_empty()).then(|| paused.join(", ")),
            "status"
        );
    }
}

/// Name, labels and value of a line of the exposition; nothing for its comments.
fn sample(line: &str) -> Option<(&str, &str, f64)> {
    let (metric, value) = line.rsplit_once(' ').filter(|_| !line.starts_with('#'))?;
    let (name, labels) = metric.split_once('{').unwrap_or((metric, ""));
    Some((name, labels.trim_end_matches('}'), value.parse().ok()?))
}

/// What is paused while this metric is not 0, such as `shard audit/3`.
fn paused_by(metric: &str, labels: &str) -> Option<String> {
    let what = match metric {
        pipeline::SHARD_HOLDING => "shard",
        pipeline::SINK_HOLDING => "sink",
        pipeline::DEAD_LETTER_HOLDING => "dead letters",
        plugin::SUSPENDED => "plugin",
        _ => return None,
    };
    Some(format!("{what} {}", labels_of(labels)).trim_end().to_owned())
}

/// The values of labels, as `audit/3`.
fn labels_of(labels: &str) -> String {
    // Names of sources and sinks hold no quotes.
    let values: Vec<&str> = labels.split('"').skip(1).step_by(2).collect();
    values.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_sums_over_shards_and_sinks_and_the_longest_lag() {
        let exposition = "\
            # HELP forwarder_pulled_records_total logs pulled\n\
            # TYPE forwarder_pulled_records_total counter\n\
            forwarder_pulled_records_total{source=\"audit\",shard=\"0\"} 100\n\
            forwarder_pulled_records_total{source=\"audit\",shard=\"1\"} 20\n\
            forwarder_delivered_records_total{sink=\"splunk\"} 90\n\
            forwarder_dead_letter_records_total{sink=\"splunk\",reason=\"refused\"} 1\n\
            forwarder_lag_seconds{source=\"audit\",shard=\"0\"} 2.5\n\
            forwarder_lag_seconds{source=\"audit\",shard=\"1\"} 70\n\
            forwarder_shards_held{source=\"audit\"} 2\n\
            forwarder_in_flight_bytes 4096\n\
            forwarder_shard_holding{source=\"audit\",shard=\"0\"} 0\n\
            forwarder_shard_holding{source=\"audit\",shard=\"1\"} 1\n\
            forwarder_sink_holding{sink=\"splunk\"} 1\n\
            forwarder_plugin_suspended{plugin=\"audit\"} 1\n\
            forwarder_dead_letter_holding 1\n\n";
        let figures = Figures::read(exposition);
        let paused = ["dead letters", "plugin audit", "shard audit/1", "sink splunk"];
        assert_eq!(
            figures,
            Figures {
                pulled: 120.0,
                delivered: 90.0,
                dead_letters: 1.0,
                lag: Some(70.0),
                shards: 2.0,
                in_flight: 4096.0,
                paused: paused.map(str::to_owned).into(),
            }
        );
    }

    #[test]
    fn nothing_was_pulled_yet() {
        assert_eq!(Figures::read(""), Figures::default());
    }
}
