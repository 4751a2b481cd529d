//! The plugin that most will run, with its defaults, over logs as the vendor's services write them.

use std::collections::BTreeMap;
use std::path::Path;

use forwarder_emulator::log_group::EncodedGroup;
use forwarder_emulator::samples::Samples;
use forwarder_emulator::state::logstore::Placement;
use forwarder_receivers::hec::Mode;
use forwarder_record::encode::{Log, LogGroup};
use forwarder_tests::{Forwarder, LOGSTORE, PATIENCE, PROJECT, World};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn audit_events_arrive_as_the_json_they_are_and_all_others_as_they_came() {
    const LOGS: u64 = 2_000;
    let world = World::with_mode(4, Mode::Events).await;
    // Some of the events are cut off in the middle, as it happens.
    let samples = Samples::audit(7).broken_every(50);
    for group in samples.groups(LOGS) {
        world.sls.put(PROJECT, LOGSTORE, Placement::Balanced, [group]).unwrap();
    }
    let mut stored = BTreeMap::new();
    world.sls.inspect(|service| {
        for shard in service.logstore(PROJECT, LOGSTORE).unwrap().shards() {
            for log in shard.groups().flat_map(|group| group.logs()) {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let fields: BTreeMap<String, String> = log
                    .contents()
                    .map(|pair| pair.map(|(key, value)| (text(key), text(value))).unwrap())
                    .collect();
                stored.insert(fields["seq"].clone(), fields);
            }
        }
    });
    let config = world.config("forwarder.toml", "");
    let mut forwarder =
        world.start(&config, &["--plugin", Forwarder::plugin("audit").to_str().unwrap()]);
    world.hec.wait_for(LOGS, PATIENCE).await.unwrap();
    world.settled().await;

    let (mut nested, mut broken) = (0, 0);
    for event in world.hec.received().events.iter() {
        let sent = stored.remove(event.event["seq"].as_str().unwrap()).expect("each once");
        for (key, text) in &sent {
            let arrived = &event.event[key];
            let is_event = event.event["__topic__"] == "actiontrail_audit_event" && key == "event";
            match serde_json::from_str::<Value>(text) {
                Ok(json) if is_event => {
                    assert_eq!(*arrived, json);
                    nested += 1;
                }
                Err(_) if is_event => {
                    assert_eq!(arrived, text, "what is not JSON stays text");
                    broken += 1;
                }
                _ => assert_eq!(arrived, text, "{key}"),
            }
        }
    }
    assert!(stored.is_empty(), "{} are missing", stored.len());
    assert!(nested > 500 && broken > 0, "{nested} and {broken}");
    let counted = [("plugin", "audit")];
    let counted = forwarder.metrics().await.sum("forwarder_plugin_not_json_total", &counted);
    assert_eq!(counted, f64::from(broken));
    assert_eq!(forwarder.terminate().await, Some(0));
}

/// The part of an example between its source and its sinks.
fn transforms_of(example: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples").join(example);
    let text = std::fs::read_to_string(path).unwrap();
    let start = text.find("[[transform]]").unwrap();
    let end = text.find("[[sink]]").unwrap();
    text[start..end].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_filtering_drops_quiet_reads_and_keeps_those_that_failed() {
    let world = World::with_mode(1, Mode::Events).await;
    let errors = [None, Some(""), Some("NoPermission")];
    let kinds = ["Write", "Read"].map(|rw| errors.map(|error| (rw, error)));
    let mut expected = Vec::new();
    for (rw, error) in kinds.into_iter().flatten() {
        let mut event = json!({ "eventName": "x", "eventRW": rw });
        if let Some(error) = error {
            event["errorCode"] = error.into();
        }
        let contents = vec![("event".to_owned(), event.to_string())];
        let group = LogGroup {
            topic: "actiontrail_audit_event".into(),
            source: "actiontrail_internal".into(),
            tags: Vec::new(),
            logs: vec![Log { time: 1_767_323_045, nanos: None, contents }],
        };
        let group = EncodedGroup::from_encoded(&group.encode()).unwrap();
        world.sls.put(PROJECT, LOGSTORE, Placement::Balanced, [group]).unwrap();
        if rw == "Write" || error.is_some_and(|error| !error.is_empty()) {
            expected.push(event);
        }
    }
    let plugins = Forwarder::plugin("audit").parent().unwrap().to_owned();
    std::os::unix::fs::symlink(plugins, world.folder().join("plugins")).unwrap();
    let config = world.config("forwarder.toml", &transforms_of("failed-reads.toml"));
    let forwarder = world.start(&config, &[]);
    world.settled().await;
    assert_eq!(forwarder.terminate().await, Some(0));
    let received = world.hec.received();
    let arrived: Vec<&Value> = received.events.iter().map(|event| &event.event["event"]).collect();
    assert_eq!(arrived, expected.iter().collect::<Vec<_>>());
    assert!(received.events.iter().all(|event| event.event.get("rw").is_none()));
}
