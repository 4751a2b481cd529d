//! Ships the JSON inside audit logs as JSON, and optionally drops events by name and lifts inner fields.
//!
//! Without config it does what the vendor's sample does by default: in ActionTrail logs, which have the topic
//! `actiontrail_audit_event` (delivered by a trail) or `actiontrail_event` (by the Log Audit Service), the
//! field `event` becomes nested JSON. Logs of other topics pass as they are. The topic is the one under which Log Service stored the log; a field named `__topic__` cannot
//! stand in for it.
//!
//! ```toml
//! [[transform]]
//! plugin = "audit.wasm"
//! [transform.config]
//! drop_events    = ["Describe*", "ListBuckets"]
//! drop_read_only = true
//! lift           = { user = "userIdentity.userName", client_ip = "sourceIpAddress" }
//! ```
//!
//! | key | default | meaning |
//! |---|---|---|
//! | `topics` | `["actiontrail_audit_event", "actiontrail_event"]` | the topics to work on; `["*"]` for every log |
//! | `fields` | `["event"]` | the fields that hold JSON and are shipped as JSON |
//! | `drop_events` | `[]` | drop events whose `eventName` is listed; a `*` at the end stands for any rest |
//! | `drop_read_only` | `false` | drop events whose `eventRW` is `Read` |
//! | `lift` | `{}` | new fields, each with the path of its value; missing values give no field |
//!
//! `eventName`, `eventRW` and what is lifted are looked up in the first of `fields`. A path is the names of
//! members and indexes of arrays with dots between; where a name holds a dot, write a list:
//! `lift = { bucket = ["referencedResources", "ACS::OSS::Bucket", "0"] }`. Lifted strings are sent as
//! text, anything else as its JSON text. What is lifted into `__time__` becomes the time of the event, for all sinks:
//! `lift = { "__time__" = "eventTime" }`; a log in which it is not a time becomes a dead letter. The setting
//! `time_field` of a sink keeps the log's own time there instead.
//!
//! Text that is not JSON stays text: the log continues and the forwarder counts it, field by field. Where
//! names are looked up, the plugin also says once in the log that events without a name were seen.
//! Unknown keys are refused.
//!
//! The forwarder does all JSON work; what crosses into the sandbox is topics and names.

mod config;

use forwarder_guest::{Batch, Format, log, plugin};

pub use config::Config;

/// Drops, lifts and nests, in that order.
pub fn audit(batch: &mut Batch<'_>, config: &Config) {
    let mut rows = rows_of_topics(batch, config);
    if config.drop_read_only {
        let read = |value: Option<&str>| value == Some("Read");
        let reads = batch.select_json_at(&config.main_field, &["eventRW"], &rows, read);
        take_out(batch, &mut rows, &reads);
    }
    if !config.drop_events.is_empty() {
        let named = rows_of_events(batch, config, &rows);
        take_out(batch, &mut rows, &named);
    }
    lift(batch, config, &rows);
    for field in &config.fields {
        if rows.len() == batch.rows() as usize {
            batch.nest(field);
        } else {
            batch.nest_at(field, &rows);
        }
    }
}

fn rows_of_topics(batch: &Batch<'_>, config: &Config) -> Vec<u32> {
    if config.every_topic() {
        return batch.all();
    }
    let topics = (0u32..).zip(batch.topics());
    topics.filter(|(_, topic)| config.topics.contains(topic)).map(|(row, _)| row).collect()
}

/// Of `rows`, those whose event is listed.
fn rows_of_events(batch: &Batch<'_>, config: &Config, rows: &[u32]) -> Vec<u32> {
    let mut nameless = 0usize;
    let listed = batch.select_json_at(&config.main_field, &["eventName"], rows, |name| {
        nameless += usize::from(name.is_none());
        name.is_some_and(|name| config.drop_events.iter().any(|listed| listed.matches(name)))
    });
    if nameless > 0 && config.first_nameless() {
        log::warn(format!(
            "{nameless} of {} audit logs of this slice have no `eventName` in `{}`, or it is not \
             JSON; they are not dropped, and this is said once",
            rows.len(),
            config.main_field
        ));
    }
    listed
}

/// Drops rows, and forgets them.
fn take_out(batch: &mut Batch<'_>, rows: &mut Vec<u32>, dropped: &[u32]) {
    batch.drop(dropped);
    let mut dropped = dropped.iter().peekable();
    rows.retain(|row| dropped.next_if_eq(&row).is_none());
}

fn lift(batch: &mut Batch<'_>, config: &Config, rows: &[u32]) {
    for (name, path) in &config.lift {
        let path: Vec<&str> = path.steps().collect();
        let values = batch.json_at(&config.main_field, &path, rows);
        let found =
            rows.iter().zip(&values).filter_map(|(&row, value)| Some((row, value.as_deref()?)));
        let (rows, values): (Vec<u32>, Vec<&str>) = found.unzip();
        batch.set(name, Format::Text, &rows, &values);
    }
}

plugin!(audit);
