//! What an operator sees of a plugin in `/metrics`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use forwarder_plugin::{OnError, PluginOptions};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::support::{guest, load, numbered};

/// Keeps counters, by name and labels.
#[derive(Default)]
struct Counters(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels: Vec<_> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Counter::from_arc(self.0.lock().unwrap().entry(name).or_default().clone())
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// The counters after a guest that traps on poisoned rows has run over 1,000 rows, two of them poisoned.
fn counted(on_error: OnError) -> Vec<(String, u64)> {
    let counters = Counters::default();
    metrics::with_local_recorder(&counters, || {
        let options = PluginOptions { on_error, ..PluginOptions::default() };
        let plugin = load(&guest("unreachable"), options).unwrap();
        plugin.worker().apply(&mut numbered(1000, &[3, 900]), None, &mut |_| true).unwrap();
    });
    let counters = counters.0.into_inner().unwrap();
    counters.into_iter().map(|(name, count)| (name, count.load(Ordering::Relaxed))).collect()
}

#[test]
fn calls_faults_and_rows_are_counted() {
    let expected = [
        // 30 parts of 32 rows without a poisoned one, 31 rows next to each of the two.
        ("forwarder_plugin_calls_total{plugin=guest,outcome=ok}", 92),
        ("forwarder_plugin_calls_total{plugin=guest,outcome=trapped}", 6),
        ("forwarder_plugin_instances_retired_total{plugin=guest,reason=fault}", 6),
        ("forwarder_plugin_rows_rejected_total{plugin=guest}", 2),
    ];
    assert_eq!(counted(OnError::DeadLetter), expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn rows_at_fault_are_counted_by_what_becomes_of_them() {
    let at_fault = |on_error| {
        let counters = counted(on_error);
        let found = counters.into_iter().find(|(name, _)| name.contains("rows_at_fault"));
        found.unwrap_or_default()
    };
    let name =
        |policy| format!("forwarder_plugin_rows_at_fault_total{{plugin=guest,policy={policy}}}");
    assert_eq!(at_fault(OnError::Pass), (name("pass"), 2));
    assert_eq!(at_fault(OnError::Drop), (name("drop"), 2));
}
