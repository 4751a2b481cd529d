//! Every metric of this crate: names, labels, meaning. Names are an interface.
//!
//! Counted per answer, never per log; the handles are looked up once per shard.

use metrics::{Counter, Gauge, Label, Unit, counter, describe_counter, describe_gauge, gauge};

/// Seconds between now and when the service received what is pulled next; 0 at the end of the shard.
pub const LAG_SECONDS: &str = "forwarder_lag_seconds";
/// Pulls by outcome: `data`, `empty`, or the kind of error.
pub(crate) const PULLS: &str = "forwarder_pulls_total";
/// Bytes pulled, as they travelled.
pub(crate) const PULLED_PACKED_BYTES: &str = "forwarder_pulled_packed_bytes_total";
/// Log groups pulled.
pub(crate) const PULLED_GROUPS: &str = "forwarder_pulled_groups_total";
/// Lines on which the service-side filter failed.
pub(crate) const FILTER_FAILED_LINES: &str = "forwarder_filter_failed_lines_total";
/// Heartbeats by outcome: `ok`, or the kind of error.
pub(crate) const HEARTBEATS: &str = "forwarder_heartbeats_total";
/// Positions that were no longer valid and were replaced; data may have been lost.
pub const INVALID_CURSOR_RESETS: &str = "forwarder_invalid_cursor_resets_total";
/// How often this consumer lost its membership in the group.
pub const MEMBERSHIP_LOST: &str = "forwarder_membership_lost_total";
/// Shards this consumer works on.
pub const SHARDS_HELD: &str = "forwarder_shards_held";

/// Label: the source's name in the configuration.
pub const SOURCE: &str = "source";
/// Label: the shard's number.
pub const SHARD: &str = "shard";
/// Label: how something ended.
pub const OUTCOME: &str = "outcome";

/// Describes the metrics to the recorder. Call once, after the recorder is installed.
pub fn describe() {
    describe_gauge!(LAG_SECONDS, Unit::Seconds, "Age of what is pulled next; 0 at the end.");
    describe_gauge!(SHARDS_HELD, "Shards this consumer works on.");
    describe_counter!(PULLS, "Pulls, by outcome.");
    describe_counter!(PULLED_PACKED_BYTES, Unit::Bytes, "Bytes pulled, as they travelled.");
    describe_counter!(PULLED_GROUPS, "Log groups pulled.");
    describe_counter!(FILTER_FAILED_LINES, "Lines on which the service-side filter failed.");
    describe_counter!(HEARTBEATS, "Heartbeats, by outcome.");
    describe_counter!(INVALID_CURSOR_RESETS, "Invalid positions replaced; data may be lost.");
    describe_counter!(MEMBERSHIP_LOST, "Times this consumer lost its membership.");
}

/// Handles of one shard under one lease.
pub(crate) struct ShardMetrics {
    labels: [Label; 2],
    lag: Gauge,
    data: Counter,
    empty: Counter,
    packed: Counter,
    groups: Counter,
    failed_lines: Counter,
}

impl ShardMetrics {
    pub(crate) fn new(source: &str, shard: u32) -> Self {
        let labels = [Label::new(SOURCE, source.to_owned()), Label::new(SHARD, shard.to_string())];
        let pulls = |outcome: &'static str| {
            counter!(PULLS, [labels.as_slice(), &[Label::new(OUTCOME, outcome)]].concat())
        };
        Self {
            lag: gauge!(LAG_SECONDS, labels.to_vec()),
            data: pulls("data"),
            empty: pulls("empty"),
            packed: counter!(PULLED_PACKED_BYTES, labels.to_vec()),
            groups: counter!(PULLED_GROUPS, labels.to_vec()),
            failed_lines: counter!(FILTER_FAILED_LINES, labels.to_vec()),
            labels,
        }
    }

    pub(crate) fn pulled(&self, packed: u64, groups: u64) {
        self.data.increment(1);
        self.packed.increment(packed);
        self.groups.increment(groups);
    }

    pub(crate) fn pulled_nothing(&self) {
        self.empty.increment(1);
    }

    pub(crate) fn pull_failed(&self, kind: &'static str) {
        let labels = [self.labels.as_slice(), &[Label::new(OUTCOME, kind)]].concat();
        counter!(PULLS, labels).increment(1);
    }

    pub(crate) fn filter_failed(&self, lines: u64) {
        self.failed_lines.increment(lines);
    }

    #[expect(clippy::cast_precision_loss, reason = "seconds of lag are far below 2^52")]
    pub(crate) fn lag(&self, seconds: i64) {
        self.lag.set(seconds.max(0) as f64);
    }

    pub(crate) fn cursor_reset(&self) {
        counter!(INVALID_CURSOR_RESETS, self.labels.to_vec()).increment(1);
    }
}

/// Handles of one membership.
pub(crate) struct GroupMetrics {
    source: String,
    beats: Counter,
    held: Gauge,
}

impl GroupMetrics {
    pub(crate) fn new(source: &str) -> Self {
        let source = source.to_owned();
        Self {
            beats: counter!(HEARTBEATS, SOURCE => source.clone(), OUTCOME => "ok"),
            held: gauge!(SHARDS_HELD, SOURCE => source.clone()),
            source,
        }
    }

    pub(crate) fn beat(&self) {
        self.beats.increment(1);
    }

    pub(crate) fn beat_failed(&self, kind: &'static str) {
        counter!(HEARTBEATS, SOURCE => self.source.clone(), OUTCOME => kind).increment(1);
    }

    pub(crate) fn membership_lost(&self) {
        counter!(MEMBERSHIP_LOST, SOURCE => self.source.clone()).increment(1);
    }

    pub(crate) fn holds(&self, shards: usize) {
        self.held.set(f64::from(u32::try_from(shards).unwrap_or(u32::MAX)));
    }
}
