//! Every metric of this crate: names, labels, and handles that are looked up once and counted per batch.
//!
//! Names are an interface; `tests/stories/metrics.rs` lists them.

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use tokio::time::Instant;

use crate::position::ShardId;

const SOURCE: &str = "source";
const SHARD: &str = "shard";
const SINK: &str = "sink";
const PLUGIN: &str = "plugin";
const ROUTE: &str = "route";
const REASON: &str = "reason";
const OUTCOME: &str = "outcome";
const STAGE: &str = "stage";
const KIND: &str = "kind";
const NAME: &str = "name";

/// Logs pulled, by source and shard.
pub const PULLED_RECORDS: &str = "forwarder_pulled_records_total";
const PULLED_BYTES: &str = "forwarder_pulled_bytes_total";
const BLOCKS_WITHOUT_LOGS: &str = "forwarder_pulled_blocks_without_logs_total";
const SETTLED_RECORDS: &str = "forwarder_settled_records_total";
const OPEN_BATCHES: &str = "forwarder_open_batches";
/// 1 while a shard is paused and needs operator action, by source and shard.
pub const SHARD_HOLDING: &str = "forwarder_shard_holding";
const CHECKPOINT_AGE: &str = "forwarder_checkpoint_age_seconds";
const CHECKPOINTS: &str = "forwarder_checkpoints_total";
const ROUTED_RECORDS: &str = "forwarder_routed_records_total";
const UNKNOWN_LABEL_RECORDS: &str = "forwarder_unknown_label_records_total";
/// Rows that a sink took responsibility for, by sink.
pub const DELIVERED_RECORDS: &str = "forwarder_delivered_records_total";
const DELIVERED_BYTES: &str = "forwarder_delivered_bytes_total";
const DELIVERY_SECONDS: &str = "forwarder_delivery_seconds";
const DELIVERY_RETRIES: &str = "forwarder_delivery_retries_total";
const BLANK_RECORDS: &str = "forwarder_blank_records_total";
const UNCONFIRMED_RECORDS: &str = "forwarder_unconfirmed_records";
/// 1 while a sink is paused and needs operator action, by sink.
pub const SINK_HOLDING: &str = "forwarder_sink_holding";
/// Rows put aside, by who refused them.
pub const DEAD_LETTER_RECORDS: &str = "forwarder_dead_letter_records_total";
/// 1 while dead letters cannot be written.
pub const DEAD_LETTER_HOLDING: &str = "forwarder_dead_letter_holding";
const UNMATCHED: &str = "forwarder_unmatched";
/// Bytes between pull and settle.
pub const IN_FLIGHT_BYTES: &str = "forwarder_in_flight_bytes";
const BACKPRESSURE_SECONDS: &str = "forwarder_backpressure_seconds_total";

/// Waiting for bytes of the budget before a pull.
pub(crate) const STAGE_PULL: &str = "pull";
/// Waiting for a place in the queue of the compute threads.
pub(crate) const STAGE_COMPUTE: &str = "compute";
/// Waiting for a place in the queue of a sink.
pub(crate) const STAGE_SINK: &str = "sink";

/// Describes each metric to the recorder. Call once, after a recorder is installed.
pub fn describe() {
    let counters = [
        (PULLED_RECORDS, Unit::Count, "logs pulled"),
        (PULLED_BYTES, Unit::Bytes, "decompressed bytes pulled"),
        (BLOCKS_WITHOUT_LOGS, Unit::Count, "blocks pulled whose log groups hold no log"),
        (
            SETTLED_RECORDS,
            Unit::Count,
            "rows settled, by outcome; once per sink they were routed to",
        ),
        (CHECKPOINTS, Unit::Count, "safe points by what came of saving them"),
        (ROUTED_RECORDS, Unit::Count, "rows matched by each route, numbered from 1 in file order"),
        (UNKNOWN_LABEL_RECORDS, Unit::Count, "rows whose label no route names"),
        (DELIVERED_RECORDS, Unit::Count, "rows a sink took responsibility for"),
        (DELIVERED_BYTES, Unit::Bytes, "encoded bytes a sink took responsibility for"),
        (DELIVERY_RETRIES, Unit::Count, "requests that had to be repeated, by reason"),
        (BLANK_RECORDS, Unit::Count, "rows in which nothing was left to send"),
        (
            DEAD_LETTER_RECORDS,
            Unit::Count,
            "rows that went to the dead letters, by who refused them",
        ),
    ];
    for (name, unit, text) in counters {
        describe_counter!(name, unit, text);
    }
    let gauges = [
        (OPEN_BATCHES, Unit::Count, "batches between pull and settle"),
        (SHARD_HOLDING, Unit::Count, "1 while the shard is paused and needs operator action"),
        (
            CHECKPOINT_AGE,
            Unit::Seconds,
            "age of the oldest block that the checkpoint does not cover",
        ),
        (
            UNCONFIRMED_RECORDS,
            Unit::Count,
            "rows that the receiver has accepted and not yet confirmed; no checkpoint passes them",
        ),
        (SINK_HOLDING, Unit::Count, "1 while the sink is paused and needs operator action"),
        (DEAD_LETTER_HOLDING, Unit::Count, "1 while dead letters cannot be written"),
        (
            UNMATCHED,
            Unit::Count,
            "1 if a `when`, plugin or route matched none of its first 10,000 rows, until it does",
        ),
        (IN_FLIGHT_BYTES, Unit::Bytes, "bytes between pull and settle"),
        (BACKPRESSURE_SECONDS, Unit::Seconds, "time spent waiting for room, by stage; only rises"),
    ];
    for (name, unit, text) in gauges {
        describe_gauge!(name, unit, text);
    }
    describe_histogram!(DELIVERY_SECONDS, Unit::Seconds, "one request to a sink, answer included");
}

/// Bytes between pull and settle, over all sources.
pub(crate) fn in_flight_bytes() -> Gauge {
    gauge!(IN_FLIGHT_BYTES)
}

/// Whether something has matched nothing so far.
pub(crate) fn unmatched(kind: &'static str, name: &str) -> Gauge {
    gauge!(UNMATCHED, KIND => kind, NAME => name.to_owned())
}

/// Whether dead letters cannot be written.
pub(crate) fn dead_letter_holding() -> Gauge {
    gauge!(DEAD_LETTER_HOLDING)
}

/// Rows that a plugin sent to the dead letters.
pub(crate) fn plugin_dead_letters(plugin: &str) -> Counter {
    counter!(DEAD_LETTER_RECORDS, PLUGIN => plugin.to_owned(), REASON => "rejected")
}

/// Says whether a shard is paused, while no run over it can.
pub(crate) fn shard_holding(shard: &ShardId, holds: bool) {
    let labels = [(SOURCE, shard.source.to_string()), (SHARD, shard.shard.to_string())];
    gauge!(SHARD_HOLDING, &labels).set(f64::from(u8::from(holds)));
}

/// What is counted per shard.
#[derive(Debug, Clone)]
pub(crate) struct ShardMeters {
    pub(crate) pulled_records: Counter,
    pub(crate) pulled_bytes: Counter,
    pub(crate) delivered: Counter,
    pub(crate) dead_lettered: Counter,
    pub(crate) filtered: Counter,
    pub(crate) blocks_without_logs: Counter,
    pub(crate) open_batches: Gauge,
    pub(crate) holding: Gauge,
    pub(crate) checkpoint_age: Gauge,
    pub(crate) checkpoints_saved: Counter,
    pub(crate) checkpoints_refused: Counter,
    pub(crate) checkpoints_failed: Counter,
}

impl ShardMeters {
    pub(crate) fn new(shard: &ShardId) -> Self {
        let labels = || [(SOURCE, shard.source.to_string()), (SHARD, shard.shard.to_string())];
        let with = |outcome: &str| {
            let [source, shard] = labels();
            [source, shard, (OUTCOME, outcome.to_owned())]
        };
        Self {
            pulled_records: counter!(PULLED_RECORDS, &labels()),
            pulled_bytes: counter!(PULLED_BYTES, &labels()),
            delivered: counter!(SETTLED_RECORDS, &with("delivered")),
            dead_lettered: counter!(SETTLED_RECORDS, &with("dead_lettered")),
            filtered: counter!(SETTLED_RECORDS, &with("filtered")),
            blocks_without_logs: counter!(BLOCKS_WITHOUT_LOGS, &labels()),
            open_batches: gauge!(OPEN_BATCHES, &labels()),
            holding: gauge!(SHARD_HOLDING, &labels()),
            checkpoint_age: gauge!(CHECKPOINT_AGE, &labels()),
            checkpoints_saved: counter!(CHECKPOINTS, &with("saved")),
            checkpoints_refused: counter!(CHECKPOINTS, &with("refused")),
            checkpoints_failed: counter!(CHECKPOINTS, &with("failed")),
        }
    }

    /// Nothing of the shard is in our hands at the moment. Whether it holds is said apart.
    pub(crate) fn at_rest(&self) {
        for gauge in [&self.open_batches, &self.checkpoint_age] {
            gauge.set(0.0);
        }
    }
}

/// What is counted per sink.
#[derive(Debug, Clone)]
pub(crate) struct SinkMeters {
    pub(crate) delivered_records: Counter,
    pub(crate) delivered_bytes: Counter,
    pub(crate) seconds: Histogram,
    pub(crate) retried: Counter,
    pub(crate) held: Counter,
    pub(crate) rejected: Counter,
    pub(crate) divided: Counter,
    pub(crate) blank: Counter,
    pub(crate) unconfirmed: Gauge,
    pub(crate) holding: Gauge,
    pub(crate) refused_letters: Counter,
    pub(crate) unfit_letters: Counter,
}

impl SinkMeters {
    pub(crate) fn new(sink: &str) -> Self {
        let sink = || sink.to_owned();
        let because = |reason: &str| [(SINK, sink()), (REASON, reason.to_owned())];
        Self {
            delivered_records: counter!(DELIVERED_RECORDS, SINK => sink()),
            delivered_bytes: counter!(DELIVERED_BYTES, SINK => sink()),
            seconds: histogram!(DELIVERY_SECONDS, SINK => sink()),
            retried: counter!(DELIVERY_RETRIES, &because("retry")),
            held: counter!(DELIVERY_RETRIES, &because("hold")),
            rejected: counter!(DELIVERY_RETRIES, &because("reject")),
            divided: counter!(DELIVERY_RETRIES, &because("divide")),
            blank: counter!(BLANK_RECORDS, SINK => sink()),
            unconfirmed: gauge!(UNCONFIRMED_RECORDS, SINK => sink()),
            holding: gauge!(SINK_HOLDING, SINK => sink()),
            refused_letters: counter!(DEAD_LETTER_RECORDS, &because("refused")),
            unfit_letters: counter!(DEAD_LETTER_RECORDS, &because("unfit")),
        }
    }
}

/// What is counted while rows are routed: one counter per rule, the last rule included.
#[derive(Debug, Clone)]
pub(crate) struct RouteMeters {
    pub(crate) matched: Vec<Counter>,
    pub(crate) unknown_label: Counter,
}

impl RouteMeters {
    pub(crate) fn new(rules: usize) -> Self {
        let matched =
            (1..=rules).map(|number| counter!(ROUTED_RECORDS, ROUTE => number.to_string()));
        Self { matched: matched.collect(), unknown_label: counter!(UNKNOWN_LABEL_RECORDS) }
    }
}

/// Counts the time until it is dropped as backpressure, whether the wait ended or was given up.
#[derive(Debug)]
pub(crate) struct Waiting {
    since: Instant,
    stage: &'static str,
}

impl Waiting {
    pub(crate) const fn since(since: Instant, stage: &'static str) -> Self {
        Self { since, stage }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // The counters of the `metrics` crate hold whole numbers only. Fractions of seconds need a gauge,
        // one that is never lowered.
        gauge!(BACKPRESSURE_SECONDS, STAGE => self.stage)
            .increment(self.since.elapsed().as_secs_f64());
    }
}
