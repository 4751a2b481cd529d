//! `[[sink]]`: what all sinks have in common, and the choice between them by `type`.

use std::path::PathBuf;
use std::time::Duration;

use forwarder_sinks::hec::HecSettings;
use forwarder_sinks::syslog::SyslogSettings;

use super::raw::{Context, Section};
use super::{hec, syslog};

/// One destination.
#[derive(Debug, Clone)]
pub struct SinkConfig {
    /// What it is called in routes, metrics and logs.
    pub name: String,
    /// The protocol and its settings.
    pub kind: SinkKind,
    /// How bodies are filled and how many are in flight.
    pub delivery: DeliveryConfig,
}

/// What a sink speaks.
#[derive(Debug, Clone)]
pub enum SinkKind {
    /// Splunk's HTTP Event Collector.
    Hec(Box<HecSettings>),
    /// Syslog over TCP or TLS.
    Syslog(Box<SyslogSettings>),
    /// JSON lines appended to a file.
    File(PathBuf),
    /// JSON lines on standard output.
    Stdout,
}

/// How bodies are filled and how many are in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryConfig {
    /// Largest body before compression, in bytes.
    pub max_body: usize,
    /// How long a body that is not full waits for more while others are in flight.
    pub linger: Duration,
    /// How many bodies may be in flight at once.
    pub in_flight: usize,
    /// Whether the receiver sees the order of each shard: one body in flight per shard.
    pub ordered: bool,
    /// First wait after a refusal that may pass; grows to `retry_max`.
    pub retry_min: Duration,
    /// Longest wait between two attempts.
    pub retry_max: Duration,
}

/// A sink's own part of the defaults.
struct Defaults {
    max_body: usize,
    in_flight: usize,
}

#[derive(Clone, Copy)]
enum Type {
    Hec,
    Syslog,
    File,
    Stdout,
}

const TYPES: &[(&str, Type)] =
    &[("hec", Type::Hec), ("syslog", Type::Syslog), ("file", Type::File), ("stdout", Type::Stdout)];

/// Checks one `[[sink]]`.
pub(super) fn check(mut section: Section, cx: &mut Context<'_>) -> Option<SinkConfig> {
    if !section.has("type") {
        let help = "add `type = \"hec\"`, \"syslog\", \"file\" or \"stdout\"";
        cx.error(&section.at_key("type"), "`type` is missing", help);
        return None; // without it, nothing else can be checked
    }
    let kind = section.choice("type", TYPES, cx)?.value;
    let name = section.required("name", cx).map(|found| found.value);
    let defaults = match kind {
        // Splunk takes far more, but servers set to 2 MB exist.
        Type::Hec => Defaults { max_body: 1_000_000, in_flight: 8 },
        // One connection, on which bodies follow each other without waiting.
        Type::Syslog => Defaults { max_body: 262_144, in_flight: 8 },
        Type::File | Type::Stdout => Defaults { max_body: 1_000_000, in_flight: 1 },
    };
    let delivery = delivery(&mut section, &defaults, cx);
    let kind = match kind {
        Type::Hec => hec::check(&mut section, cx).map(|hec| SinkKind::Hec(Box::new(hec))),
        Type::Syslog => syslog::check(&mut section, delivery.retry_max, cx)
            .map(|syslog| SinkKind::Syslog(Box::new(syslog))),
        Type::File => section.required("path", cx).map(|path| SinkKind::File(path.value.into())),
        Type::Stdout => Some(SinkKind::Stdout),
    };
    section.finish(cx);
    Some(SinkConfig { name: name?, kind: kind?, delivery })
}

fn delivery(section: &mut Section, defaults: &Defaults, cx: &mut Context<'_>) -> DeliveryConfig {
    const SECOND: Duration = Duration::from_secs(1);
    let max_body = section.size("max_body", 4_096..=64 << 20, cx);
    let linger = section.duration("linger", Duration::ZERO..=60 * SECOND, cx);
    let in_flight = section.whole("in_flight", 1..=256, cx).map_or(defaults.in_flight, |f| f.value);
    let retry_min = section.duration("retry_min", SECOND / 1000..=600 * SECOND, cx);
    let retry_max = section.duration("retry_max", SECOND / 1000..=3600 * SECOND, cx);
    let retry_min = retry_min.map_or(SECOND / 2, |found| found.value);
    DeliveryConfig {
        max_body: max_body.map_or(defaults.max_body, |found| found.value),
        linger: linger.map_or(Duration::from_millis(20), |found| found.value),
        in_flight,
        ordered: section.flag("ordered", cx).is_some_and(|found| found.value),
        retry_min,
        retry_max: retry_max.map_or(30 * SECOND, |found| found.value).max(retry_min),
    }
}
