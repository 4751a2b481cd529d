//! The names that dashboards and alerts are built on.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use forwarder_pipeline::{MatchWatch, Matcher};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::world::{Plot, hold, rows};

/// Remembers names and labels.
#[derive(Default)]
struct Names {
    described: Mutex<BTreeSet<String>>,
    used: Mutex<BTreeSet<String>>,
    shapes: Mutex<BTreeSet<String>>,
}

impl Names {
    fn describe(&self, name: &KeyName) {
        self.described.lock().unwrap().insert(name.as_str().to_owned());
    }

    fn register(&self, key: &Key, kind: &str) {
        let labels: Vec<_> = key.labels().map(|label| label.key()).collect();
        let shape = format!("{kind} {}{{{}}}", key.name(), labels.join(","));
        self.used.lock().unwrap().insert(key.name().to_owned());
        self.shapes.lock().unwrap().insert(shape.replace("{}", ""));
    }
}

impl Recorder for Names {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.register(key, "counter");
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.register(key, "gauge");
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.register(key, "histogram");
        Histogram::noop()
    }
}

const NAMES: &str = "\
counter forwarder_blank_records_total{sink}
counter forwarder_checkpoints_total{source,shard,outcome}
counter forwarder_dead_letter_records_total{plugin,reason}
counter forwarder_dead_letter_records_total{sink,reason}
counter forwarder_delivered_bytes_total{sink}
counter forwarder_delivered_records_total{sink}
counter forwarder_delivery_retries_total{sink,reason}
counter forwarder_pulled_blocks_without_logs_total{source,shard}
counter forwarder_pulled_bytes_total{source,shard}
counter forwarder_pulled_records_total{source,shard}
counter forwarder_routed_records_total{route}
counter forwarder_settled_records_total{source,shard,outcome}
counter forwarder_unknown_label_records_total
gauge forwarder_backpressure_seconds_total{stage}
gauge forwarder_checkpoint_age_seconds{source,shard}
gauge forwarder_dead_letter_holding
gauge forwarder_in_flight_bytes
gauge forwarder_open_batches{source,shard}
gauge forwarder_shard_holding{source,shard}
gauge forwarder_sink_holding{sink}
gauge forwarder_unconfirmed_records{sink}
gauge forwarder_unmatched{kind,name}
histogram forwarder_delivery_seconds{sink}";

#[test]
fn names_and_labels_are_an_interface() {
    let names = Names::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    metrics::with_local_recorder(&names, || {
        forwarder_pipeline::metrics::describe();
        runtime.block_on(a_bad_day());
    });
    let shapes = names.shapes.lock().unwrap();
    let shapes = shapes.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
    assert_eq!(shapes, NAMES);
    let (described, used) = (names.described.lock().unwrap(), names.used.lock().unwrap());
    assert_eq!(*described, *used, "each is described, and nothing else is");
}

/// Everything that is counted happens once.
async fn a_bad_day() {
    drop(MatchWatch::new(Matcher::Route, "1"));
    let world = Plot::new().sink("splunk").budget(2_000).start();
    world.dead_letters.is_full.store(true, Ordering::SeqCst);
    world.sink("splunk").answers(|_| hold());
    let shard = world.shard(7);
    shard.put(["bad-0"]);
    for row in rows(1..=50) {
        shard.put([row]);
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.dead_letters.is_full.store(false, Ordering::SeqCst);
    world.sink("splunk").is_well();
    shard.until_saved("51").await;
}
